//! Looking back: what opens it moves nothing, and what is pointed at, found and copied is what shows.

use std::sync::Arc;

use sandwatch::{
    app::{
        Act, Msg,
        msg::{Button, Mouse, MouseKind, Reply},
    },
    base::{id::SessionId, units::Size},
    model::{
        event::Event,
        history::{HistoryLine, HistoryMark, HistoryPage, HistoryRequest, SearchHit, SearchPage},
        output::Output,
        sandbox::Sandbox,
        session::Status,
    },
    runtime::LeaseVerb,
    vt::key::Mods,
};

use super::app_support::{Console, day, session};

fn changed(sandbox: Sandbox) -> Msg {
    Msg::Event(Event::Changed { seq: 2, sandbox: Arc::new(sandbox) })
}

/// The mouse at a cell of the first pane's body.
fn mouse(console: &Console, kind: MouseKind, column: u16, row: u16) -> Msg {
    let body = console.state.frame().panes[0].body;
    let (column, row) = (body.x + column, body.y + row);
    Msg::Mouse(Mouse { kind, column, row, mods: Mods::default() })
}

fn drag(console: &mut Console, from: (u16, u16), to: (u16, u16)) -> Vec<Act> {
    let kinds = [
        (MouseKind::Down(Button::Left), from),
        (MouseKind::Drag(Button::Left), to),
        (MouseKind::Up(Button::Left), to),
    ];
    let steps = kinds.map(|(kind, (column, row))| mouse(console, kind, column, row));
    steps.into_iter().flat_map(|it| console.send(it)).collect()
}

/// The first session of the day in this size, showing these lines and not yet typed into.
fn showing(size: (u16, u16), session: Size, lines: &[String]) -> Console {
    let mut all = day();
    all[0].sessions[0].size = session;
    let mut console = Console::with_fleet(size, all);
    console.print("api-refactor", &lines.join("\r\n"));
    console
}

fn rows(count: u16) -> Vec<String> {
    (0..count).map(|it| format!("row {it:02}")).collect()
}

fn following(console: &Console) -> &str {
    console.state.follow.as_ref().unwrap().as_str()
}

/// Where a text shows, from the top left of the first pane's body.
fn place_of(console: &Console, text: &str) -> (u16, u16) {
    let body = console.state.frame().panes[0].body;
    let picture = console.picture();
    let (y, line) = (0_u16..).zip(picture.lines()).find(|(_, it)| it.contains(text)).unwrap();
    let x = line.split(text).next().unwrap().chars().count();
    (u16::try_from(x).unwrap() - body.x, y - body.y)
}

#[test]
fn looking_back_while_typing_into_a_zoomed_pane_keeps_it_as_it_is() {
    for way in ["keys", "wheel", "drag"] {
        let mut console = showing((120, 40), Size::DEFAULT, &rows(5));
        console.step_in();
        console.keys("ctrl-b z");
        let size = console.effects.iter().rev().find_map(|it| match it.act {
            Act::Resize { size, .. } => Some(size),
            _ => None,
        });
        let mut mine = day().remove(0);
        mine.sessions[0].size = size.unwrap();
        console.send(changed(mine));
        let frame = console.state.frame().clone();
        console.effects.clear();
        match way {
            "keys" => drop(console.keys("ctrl-b [")),
            "wheel" => drop(console.send(mouse(&console, MouseKind::WheelUp, 3, 3))),
            _ => {
                console.send(mouse(&console, MouseKind::Down(Button::Left), 3, 1));
                console.send(mouse(&console, MouseKind::Drag(Button::Left), 8, 2));
            }
        }
        assert!(console.state.copy.is_some() && !console.state.is_typing(), "{way}");
        assert!(console.state.grid.tab().zoomed, "{way}: unzoomed");
        assert_eq!(*console.state.frame(), frame, "{way}");
        match way {
            "drag" => drop(console.send(mouse(&console, MouseKind::Up(Button::Left), 8, 2))),
            _ => drop(console.keys("G")),
        }
        console.answer(|it| matches!(it, Act::Lease { .. }), Reply::Lease(None));
        assert!(console.state.is_typing() && console.state.grid.tab().zoomed, "{way}");
        let resized = console.effects.iter().any(|it| matches!(it.act, Act::Resize { .. }));
        assert!(!resized, "{way}: {:?}", console.effects);
    }
}

#[test]
fn looking_back_into_another_session_gives_the_keyboard_back_and_leaves_it() {
    let mut console = showing((120, 40), Size::DEFAULT, &rows(5));
    console.step_in();
    console.keys("ctrl-b :");
    console.text("logs crawler");
    let acts = console.keys("enter");
    let given = |it: &Act| {
        matches!(it, Act::Lease { session, verb: LeaseVerb::Release }
        if session.as_str() == "api-refactor")
    };
    assert!(acts.iter().any(given), "{acts:?}");
    assert_eq!(console.state.copy.as_ref().unwrap().session.as_str(), "crawler");
    let acts = console.keys("G");
    assert!(!acts.iter().any(|it| matches!(it, Act::Lease { .. })), "{acts:?}");
    assert!(!console.state.is_typing());
}

#[test]
fn what_is_dragged_over_is_copied_in_a_session_higher_than_its_pane() {
    for typing in [false, true] {
        let mut console = showing((100, 30), Size::clamped(60, 50), &rows(48));
        if typing {
            console.step_in();
        }
        let (x, y) = place_of(&console, "row 40");
        let acts = drag(&mut console, (x, y), (x + 5, y + 1));
        let wanted = "row 40\nrow 41";
        let copied = |it: &Act| matches!(it, Act::Clipboard(text) if text == wanted);
        assert!(acts.iter().any(copied), "typing {typing}: {acts:?}");
    }
}

#[test]
fn a_click_in_a_session_higher_than_its_pane_hits_the_line_under_the_mouse() {
    let mut console = showing((100, 30), Size::clamped(60, 50), &rows(48));
    console.step_in();
    console.print("api-refactor", "\x1b[?1000h\x1b[?1006h");
    let (x, y) = place_of(&console, "row 40");
    let acts = console.send(mouse(&console, MouseKind::Down(Button::Left), x, y));
    let told = |it: &Act| matches!(it, Act::Input { bytes, .. } if bytes == "\x1b[<0;1;41M");
    assert!(acts.iter().any(told), "{acts:?}");
}

fn line(number: u32, text: &str, wrapped: bool) -> HistoryLine {
    let mark = HistoryMark { segment: 0, line: number };
    HistoryLine { mark, formatted: text.as_bytes().to_vec(), wrapped }
}

fn history(it: &Act) -> bool {
    matches!(it, Act::History { .. })
}

/// The one history that is asked for.
fn asked(acts: &[Act]) -> HistoryRequest {
    let mut found = acts.iter().filter_map(|it| match it {
        Act::History { request, .. } => Some(*request),
        _ => None,
    });
    let first = found.next();
    assert!(found.next().is_none(), "{acts:?}");
    first.unwrap_or_else(|| panic!("{acts:?}"))
}

#[test]
fn what_is_older_ends_where_the_frozen_picture_begins_whatever_is_printed_meanwhile() {
    let mut console = showing((100, 30), Size::DEFAULT, &rows(10));
    let id = SessionId::parse("api-refactor").unwrap();
    let frozen_at = console.state.watches[&id].next;
    let first = asked(&console.keys("l"));
    assert_eq!((first.before, first.until), (None, Some(frozen_at)));
    console.print("api-refactor", &rows(500).join("\r\n"));
    let lines = (100..500).map(|it| line(it, "older", false)).collect();
    console.answer(history, Reply::History(HistoryPage { lines, at_start: false }));
    let next = asked(&console.keys("g"));
    // The first lines there are.
    assert_eq!((next.before.unwrap().line, next.until), (400, Some(frozen_at)));
    console.keys("/");
    console.text("nowhere");
    let acts = console.keys("enter");
    let search = acts.iter().find_map(|it| match it {
        Act::Search { request, .. } => Some(request.until),
        _ => None,
    });
    assert_eq!(search, Some(Some(frozen_at)), "{acts:?}");
    // The next look back is into what is there by then.
    console.keys("G");
    let again = asked(&console.keys("l"));
    assert_eq!(again.until, Some(console.state.watches[&id].next));
}

#[test]
fn a_picture_that_is_held_back_is_no_part_of_what_was_frozen() {
    let mut console = showing((100, 30), Size::DEFAULT, &rows(10));
    let id = SessionId::parse("api-refactor").unwrap();
    let begin = "\x1b[?2026h";
    let shown = console.state.watches[&id].next + begin.len() as u64;
    console.print("api-refactor", &format!("{begin}{}", rows(50).join("\r\n")));
    assert_eq!(asked(&console.keys("l")).until, Some(shown));
    console.keys("G");
    // As little is one that came as a whole screen.
    let generation = console.state.watches[&id].generation;
    let state = begin.as_bytes().into();
    let output = Output::Keyframe { offset: 9000, size: Size::DEFAULT, state, lost: 0 };
    console.send(Msg::Output { session: id.clone(), generation, output });
    console.print("api-refactor", "more");
    assert_eq!(asked(&console.keys("l")).until, Some(shown));
    console.keys("G");
    console.print("api-refactor", "\x1b[?2026l");
    assert_eq!(asked(&console.keys("l")).until, Some(console.state.watches[&id].next));
}

#[test]
fn without_a_picture_to_come_there_is_still_what_is_older_and_the_picture_is_not_put_below_it() {
    let mut console = Console::with_fleet((100, 30), day());
    let id = SessionId::parse("api-refactor").unwrap();
    let generation = console.state.watches[&id].generation;
    assert!(!console.keys("l").iter().any(history));
    let broken = Msg::OutputEnded { session: id.clone(), generation, why: None };
    assert_eq!(asked(&console.send(broken)).until, None);
    let page = HistoryPage { lines: vec![line(3, "older", false)], at_start: true };
    console.answer(history, Reply::History(page));
    let output =
        Output::Keyframe { offset: 9, size: Size::DEFAULT, state: "newest".into(), lost: 0 };
    console.send(Msg::Output { session: id, generation, output });
    assert!(!console.picture().contains("newest"), "{}", console.picture());
    // Going on towards the present begins anew, from the picture.
    assert_eq!(asked(&console.keys("j")).until, Some(9));
    assert!(console.picture().contains("newest"), "{}", console.picture());
}

#[test]
fn a_line_that_was_wrapped_is_copied_as_one() {
    let text = format!("{} {}", "a".repeat(59), "b".repeat(70));
    let lines = [text.clone(), "next".to_owned()];
    let mut console = showing((100, 30), Size::clamped(60, 20), &lines);
    let (x, y) = place_of(&console, "aaa");
    let acts = drag(&mut console, (x, y), (x + 3, y + 3));
    let wanted = format!("{text}\nnext");
    assert!(acts.contains(&Act::Clipboard(wanted.clone())), "{acts:?}");
    // Half in the history and half on the screen it is one line as well.
    let mut console = showing((100, 30), Size::clamped(60, 20), &lines);
    console.keys("l");
    let page = HistoryPage { lines: vec![line(0, &"x".repeat(60), true)], at_start: true };
    console.answer(history, Reply::History(page));
    console.keys("g v j");
    let acts = console.keys("y");
    let copied =
        |it: &Act| matches!(it, Act::Clipboard(text) if text == &format!("{}a", "x".repeat(60)));
    assert!(acts.iter().any(copied), "{acts:?}");
}

#[test]
fn a_search_stops_at_the_match_that_the_hub_found() {
    let mut console = showing((100, 30), Size::DEFAULT, &rows(3));
    let found = |console: &mut Console, at: u32| {
        console.keys("l /");
        console.text("needle");
        console.keys("enter");
        let mark = HistoryMark { segment: 0, line: at };
        let hits = vec![SearchHit { mark, text: "needle".to_owned() }];
        let reply = Reply::Search(SearchPage { hits, next: None });
        console.answer(|it| matches!(it, Act::Search { .. }), reply);
        let lines = (0..60)
            .map(|it| match it {
                it if it > at + 1 => line(it, "nothing", false),
                10 | 30 => line(it, &format!("{it} has a needle"), false),
                39 => line(it, "a line that goes on", true),
                40 => line(it, " with a needle", false),
                44 => line(it, "half a nee", true),
                45 => line(it, "dle", false),
                it => line(it, "nothing", false),
            })
            .collect();
        console.answer(history, Reply::History(HistoryPage { lines, at_start: false }));
        let copy = console.state.copy.as_ref().unwrap();
        (copy.line(copy.cursor.line).unwrap().mark.unwrap().line, copy.cursor.column)
    };
    assert_eq!(found(&mut console, 30), (30, 9));
    let position = console.state.copy.as_ref().unwrap().match_position();
    assert_eq!(position, Some((1, None)));
    // The hub tells where a line begins that goes over several rows.
    for (at, place) in [(39, (40, 8)), (44, (44, 7))] {
        let mut console = showing((100, 30), Size::DEFAULT, &rows(3));
        assert_eq!(found(&mut console, at), place);
    }
}

#[test]
fn who_looks_back_with_the_wheel_is_not_drawn_to_a_session_asked_for_before() {
    for looks_back in [false, true] {
        let mut console = showing((100, 30), Size::DEFAULT, &rows(3));
        console.keys("s");
        let mut mine = day().remove(0);
        let opened = session("opened", &mine.id, 2, "bash", Status::Idle);
        let open = |it: &Act| matches!(it, Act::Open { .. });
        console.answer(open, Reply::Session(Box::new(opened.clone())));
        if looks_back {
            console.send(mouse(&console, MouseKind::WheelUp, 3, 3));
        }
        mine.sessions.push(opened);
        console.send(changed(mine));
        if looks_back {
            console.send(mouse(&console, MouseKind::WheelDown, 3, 3));
            assert!(console.state.copy.is_none());
        }
        let wanted = if looks_back { "api-refactor" } else { "opened" };
        assert_eq!(following(&console), wanted);
    }
}
