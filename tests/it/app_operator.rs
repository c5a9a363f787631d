//! What an operator lives through at the console: a lost link, a long scroll, the mouse.

use std::time::Duration;

use sandwatch::{
    app::{
        Act, Link, Msg, State,
        lost::LOST_FOR,
        msg::{Button, Mouse, MouseKind, Reply},
        state::{Hold, Place},
    },
    base::{clock::Timestamp, fault::Fault, id::SessionId, units::Size},
    model::{
        event::{Event, Level, SnapshotReason},
        history::{HistoryLine, HistoryMark, HistoryPage, SearchHit, SearchPage},
        output::Output,
        sandbox::Egress,
        session::Status,
    },
    runtime::LeaseVerb,
    vt::key::Mods,
};

use super::app_support::{Console, START, day, lease, sandbox, setup, shared};

fn down(console: &mut Console) -> Vec<Act> {
    let since = console.now;
    console.send(Msg::Link(Link::Down { since, why: "connection refused".to_owned() }))
}

fn said(console: &Console, words: &str) -> bool {
    console.state.notices.all().any(|it| it.text.contains(words))
}

#[test]
fn a_lost_link_keeps_the_pane_and_types_nothing_until_the_keyboard_is_ours_again() {
    let mut console = Console::with_fleet((100, 30), day());
    console.step_in();
    down(&mut console);
    assert!(console.picture().contains("no link: nothing is typed"), "{}", console.picture());
    assert_eq!(console.keys("x"), []);
    assert!(said(&console, "not typed"));
    let acts = console.send(Msg::Link(Link::Up(None)));
    let takes = |it: &Act| matches!(it, Act::Lease { verb: LeaseVerb::Take, .. });
    assert!(acts.iter().any(takes), "{acts:?}");
    assert!(said(&console, "reconnected"));
    let sandboxes = day();
    console.send(Msg::Event(Event::Snapshot {
        seq: 1,
        reason: SnapshotReason::Gap,
        sandboxes: shared(sandboxes),
    }));
    assert!(!said(&console, "fell behind"));
    // Still not ours: refused, not kept for later.
    assert_eq!(console.keys("y"), []);
    let acts = console.answer(takes, Reply::Lease(None));
    assert!(!acts.iter().any(|it| matches!(it, Act::Input { .. })), "{acts:?}");
    assert_eq!(console.state.grip.as_ref().unwrap().hold, Hold::Held);
    // In the middle of a line the rest of it is refused, too.
    assert_eq!(console.keys("z"), []);
    assert!(said(&console, "the rest is not sent"));
    console.now += LOST_FOR;
    assert!(matches!(&console.keys("z")[..], [Act::Input { bytes, .. }] if &bytes[..] == b"z"));
}

#[test]
fn a_keyboard_that_another_took_while_the_link_was_down_is_left_to_them() {
    let mut console = Console::with_fleet((100, 30), day());
    console.step_in();
    down(&mut console);
    console.send(Msg::Link(Link::Up(None)));
    let id =
        console.effects.iter().rev().find(|it| matches!(it.act, Act::Lease { .. })).unwrap().id;
    console.send(Msg::Done { id, result: Err(Fault::busy("held by bob")) });
    assert!(!console.state.is_typing() && console.state.overlay.is_none());
    assert!(said(&console, "took the keyboard meanwhile"));
}

#[test]
fn a_keyboard_left_without_a_link_is_given_back_with_the_next_list() {
    let mut console = Console::with_fleet((100, 30), day());
    console.step_in();
    down(&mut console);
    assert_eq!(console.keys("ctrl-q"), []);
    console.send(Msg::Link(Link::Up(None)));
    let mut sandboxes = day();
    sandboxes[0].sessions[0].lease = Some(lease("me", "me@here"));
    let list =
        Event::Snapshot { seq: 1, reason: SnapshotReason::Gap, sandboxes: shared(sandboxes) };
    let acts = console.send(Msg::Event(list));
    assert!(matches!(&acts[..], [Act::Lease { verb: LeaseVerb::Release, .. }]), "{acts:?}");
}

#[test]
fn a_link_whose_list_comes_first_is_back_all_the_same() {
    let mut console = Console::with_fleet((100, 30), day());
    console.step_in();
    down(&mut console);
    console.keys("ctrl-q");
    let mut sandboxes = day();
    sandboxes[0].sessions[0].lease = Some(lease("me", "me@here"));
    let list = |sandboxes| {
        Msg::Event(Event::Snapshot {
            seq: 1,
            reason: SnapshotReason::Gap,
            sandboxes: shared(sandboxes),
        })
    };
    assert_eq!(console.send(list(sandboxes)), []);
    assert!(!said(&console, "reconnected"));
    let acts = console.send(Msg::Link(Link::Up(None)));
    assert!(said(&console, "reconnected"));
    let gives_back = |it: &Act| matches!(it, Act::Lease { verb: LeaseVerb::Release, .. });
    assert!(acts.iter().any(gives_back), "{acts:?}");
    // What is missed later is news again.
    assert!(!said(&console, "fell behind"));
    console.send(list(day()));
    assert!(said(&console, "fell behind"));
}

#[test]
fn running_through_the_fleet_watches_only_where_it_ends() {
    let mut console = Console::with_fleet((100, 30), day());
    console.now += Duration::from_secs(1);
    let watched =
        |acts: &[Act]| acts.iter().filter(|it| matches!(it, Act::Subscribe { .. })).count();
    // A single step shows at once.
    assert_eq!(watched(&console.keys("j")), 1);
    assert_eq!(watched(&console.keys("j j j")), 0);
    console.now = console.state.wake_at().unwrap();
    let acts = console.send(Msg::Tick);
    let nightly = SessionId::parse("nightly").unwrap();
    let there = |it: &Act| matches!(it, Act::Subscribe { session, .. } if *session == nightly);
    assert!(watched(&acts) == 1 && acts.iter().any(there), "{acts:?}");
    // Stepping in waits for nothing.
    console.keys("k k");
    assert_eq!(watched(&console.keys("enter")), 1);
}

#[test]
fn shell_runs_the_command_after_the_name() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys(":");
    console.text("shell crawler make 'all of it'");
    let acts = console.keys("enter");
    let wanted = ["make", "all of it"];
    assert!(
        matches!(&acts[..], [Act::Open { sandbox, spec }]
            if sandbox.as_str() == "crawler" && spec.command == wanted),
        "{acts:?}"
    );
}

#[test]
fn logs_of_a_name_shows_that_session() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys(":");
    console.text("logs crawler");
    console.keys("enter");
    assert_eq!(console.state.copy.as_ref().unwrap().session.as_str(), "crawler");
}

#[test]
fn the_time_in_the_list_is_how_long_nothing_was_heard() {
    let mut working = sandbox("monitor", "top", Status::Working);
    working.sessions[0].started_at = Timestamp(START - 15 * 60_000);
    let mut idle = working.clone();
    idle.sessions[0].status = Status::Idle;
    idle.sessions[0].last_output_at = Some(Timestamp(START - 3 * 60_000));
    let shown = |it| {
        let picture = Console::with_fleet((100, 30), vec![it]).picture();
        picture.lines().find(|it| it.starts_with('>')).unwrap().to_owned()
    };
    // Since when it is so counts before when it was heard last.
    let mut stuck = idle.clone();
    stuck.sessions[0].status = Status::Stuck;
    stuck.sessions[0].status_since = Some(Timestamp(START - 7 * 60_000));
    let stuck = shown(stuck);
    assert!(stuck.contains("7m") && stuck.starts_with(">~"), "{stuck}");
    let (working, idle) = (shown(working), shown(idle));
    assert!(working.contains("now") && !working.contains("15m"), "{working}");
    assert!(idle.contains("3m"), "{idle}");
}

#[test]
fn a_new_sandbox_asks_before_it_reaches_anybody() {
    assert_eq!(Console::new((100, 30)).state.config.new.egress, Egress::Ask);
    let mut console = Console::with_fleet((100, 30), Vec::new());
    let page = console.picture();
    assert!(page.contains("network ask"), "{page}");
    console.keys("n");
    let dialog = console.picture();
    assert!(dialog.contains("ask: each new host waits for your answer"), "{dialog}");
}

#[test]
fn scrollback_opened_before_the_picture_came_shows_the_live_screen_at_its_end() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("j j j l");
    let session = console.state.copy.as_ref().unwrap().session.clone();
    let generation = console.state.watches[&session].generation;
    let state = b"as it is now".as_slice().into();
    let output = Output::Keyframe { offset: 700, size: Size::DEFAULT, state, lost: 0 };
    // What is older is asked for once it is known where the picture begins.
    let asked = |it: &Act| matches!(it, Act::History { .. });
    assert!(!console.effects.iter().any(|it| asked(&it.act)));
    let acts = console.send(Msg::Output { session, generation, output });
    assert!(acts.iter().any(asked), "{acts:?}");
    let mark = HistoryMark { segment: 0, line: 3 };
    let line = HistoryLine { mark, formatted: b"nine minutes old".to_vec(), wrapped: false };
    let page = HistoryPage { lines: vec![line], at_start: true };
    console.answer(asked, Reply::History(page));
    let picture = console.picture();
    assert!(picture.contains("LOOKING BACK 0 lines up"), "{picture}");
    assert!(picture.contains("as it is now") && !picture.contains("nine minutes old"), "{picture}");
    console.keys("ctrl-u");
    assert!(console.picture().contains("nine minutes old"));
}

#[test]
fn back_to_live_is_one_key_even_after_a_far_search() {
    let mut console = Console::with_fleet((100, 30), day());
    console.print("api-refactor", "the newest");
    console.keys("l /");
    console.text("far");
    let acts = console.keys("enter");
    assert!(acts.iter().any(|it| matches!(it, Act::Search { .. })), "{acts:?}");
    let mark = HistoryMark { segment: 0, line: 3 };
    let line = HistoryLine { mark, formatted: b"far away".to_vec(), wrapped: false };
    let hits = vec![SearchHit { mark, text: "far away".to_owned() }];
    let found = Reply::Search(SearchPage { hits, next: None });
    console.answer(|it| matches!(it, Act::Search { .. }), found);
    let page = HistoryPage { lines: vec![line], at_start: false };
    console.answer(|it| matches!(it, Act::History { .. }), Reply::History(page));
    assert!(console.picture().contains("far away"));
    console.keys("G");
    let picture = console.picture();
    assert!(picture.contains("the newest") && picture.contains("FOLLOWING"), "{picture}");
}

#[test]
fn looking_back_while_typing_returns_to_typing() {
    let mut console = Console::with_fleet((100, 30), day());
    console.print("api-refactor", "hello");
    console.step_in();
    console.keys("ctrl-b [");
    assert!(!console.state.is_typing() && console.state.copy.is_some());
    let acts = console.keys("q");
    assert!(matches!(&acts[..], [Act::Lease { verb: LeaseVerb::Take, .. }]), "{acts:?}");
    // Leaving then goes back to where the pane was entered from.
    console.keys("ctrl-q");
    assert_eq!(console.state.place, Place::Fleet);
    // Who only watched goes on watching.
    console.keys("l q");
    assert!(!console.state.is_typing());
}

#[test]
fn the_way_out_of_a_pane_stays_in_sight_under_a_notice() {
    let mut console = Console::with_fleet((80, 24), day());
    console.step_in();
    console.send(Msg::Notice(Level::Error, "something long ".repeat(20)));
    let picture = console.picture();
    let last = picture.lines().last().unwrap();
    assert!(last.contains("something") && last.ends_with("ctrl-b d leave"), "{last}");
}

#[test]
fn remembered_panes_open_filled() {
    let mut setup = setup((160, 50));
    setup.config.layout = 4;
    let state = State::new(setup);
    let mut console = Console::of(state);
    let sandboxes = day();
    console.send(Msg::Event(Event::Snapshot {
        seq: 1,
        reason: SnapshotReason::First,
        sandboxes: shared(sandboxes),
    }));
    assert!(!console.picture().contains("empty"), "{}", console.picture());
}

fn click(kind: MouseKind, column: u16, row: u16) -> Msg {
    Msg::Mouse(Mouse { kind, column, row, mods: Mods::default() })
}

#[test]
fn the_border_of_the_fleet_is_dragged_with_the_mouse() {
    let mut console = Console::with_fleet((120, 30), day());
    let border = console.state.frame().divider.unwrap();
    console.send(click(MouseKind::Down(Button::Left), border.x, 5));
    console.send(click(MouseKind::Drag(Button::Left), 60, 6));
    console.send(click(MouseKind::Up(Button::Left), 60, 6));
    assert_eq!(console.state.frame().divider.unwrap().x, 60);
    assert!(console.state.copy.is_none());
    console.send(click(MouseKind::Down(Button::Left), 60, 5));
    console.send(click(MouseKind::Drag(Button::Left), 119, 6));
    let panes = console.state.frame().panes[0].body;
    assert!(panes.width >= 30, "{panes:?}");
}

#[test]
fn a_double_click_steps_in() {
    for (column, row) in [(4, 2), (60, 10)] {
        let mut console = Console::with_fleet((100, 30), day());
        for _ in 0..2 {
            console.send(click(MouseKind::Down(Button::Left), column, row));
            console.send(click(MouseKind::Up(Button::Left), column, row));
        }
        assert!(console.state.is_typing(), "{column},{row}");
        let mut console = Console::with_fleet((100, 30), day());
        for _ in 0..2 {
            console.send(click(MouseKind::Down(Button::Left), column, row));
            console.send(click(MouseKind::Up(Button::Left), column, row));
            console.now += Duration::from_secs(1);
        }
        assert!(!console.state.is_typing(), "{column},{row}");
    }
}

#[test]
fn typing_into_a_paused_sandbox_is_warned_of() {
    let mut console = Console::with_fleet((120, 30), day());
    console.keys("j j j j");
    assert!(console.picture().contains("PAUSED · watching"), "{}", console.picture());
    console.key("enter");
    console.answer(|it| matches!(it, Act::Lease { .. }), Reply::Lease(Some(lease("me", "me"))));
    assert!(!console.picture().contains("waits until"), "{}", console.picture());
    let acts = console.key("a");
    assert!(matches!(&acts[..], [Act::Input { .. }]), "{acts:?}");
    console.key("b");
    let picture = console.picture();
    assert!(picture.contains("PAUSED · you hold the keyboard"), "{picture}");
    assert!(picture.contains("nightly is paused: what you type waits"), "{picture}");
}
