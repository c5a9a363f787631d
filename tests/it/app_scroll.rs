//! Looking back: what opens it moves nothing, and what is pointed at, found and copied is what shows.

use sandwatch::{
    app::{
        Act, Msg,
        msg::{Button, Mouse, MouseKind, Reply},
    },
    base::units::Size,
    model::{event::Event, sandbox::Sandbox},
    runtime::LeaseVerb,
    vt::key::Mods,
};

use super::app_support::{Console, day};

fn changed(sandbox: Sandbox) -> Msg {
    Msg::Event(Event::Changed { seq: 2, sandbox: Box::new(sandbox) })
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
