//! A keyboard that goes away in the middle of a sentence: the rest of it commands nothing.

use std::sync::Arc;
use std::time::Duration;

use sandwatch::{
    app::{
        Act, Link, Msg,
        lost::{DEAF_FOR, LOST_FOR},
        msg::{Button, Mouse, MouseKind},
        state::{Overlay, Place},
    },
    base::{fault::Fault, id::SandboxId},
    model::{
        event::Event,
        sandbox::Sandbox,
        session::{ExitStatus, Status},
    },
    vt::key::Mods,
};

use super::app_support::{Console, day, lease};

fn changed(sandbox: Sandbox) -> Msg {
    Msg::Event(Event::Changed { seq: 2, sandbox: Arc::new(sandbox) })
}

fn ended() -> Msg {
    let mut mine = day().remove(0);
    mine.sessions[0].status = Status::Exited;
    mine.sessions[0].exit = Some(ExitStatus::Code(0));
    changed(mine)
}

fn taken() -> Msg {
    let mut mine = day().remove(0);
    mine.sessions[0].lease = Some(lease("bob", "bob@there"));
    changed(mine)
}

fn fail(console: &mut Console, wanted: impl Fn(&Act) -> bool, fault: Fault) {
    let id = console.effects.iter().rev().find(|it| wanted(&it.act)).unwrap().id;
    console.send(Msg::Done { id, result: Err(fault) });
}

type Loss = (&'static str, fn(&mut Console));

const LOSSES: &[Loss] = &[
    ("the program ends", |it| {
        it.send(ended());
    }),
    ("someone takes over", |it| {
        it.send(taken());
    }),
    ("the sandbox is removed", |it| {
        let id = SandboxId::parse("api-refactor").unwrap();
        it.send(Msg::Event(Event::Removed { seq: 3, id }));
    }),
    ("an input fails", |it| {
        it.keys("a");
        fail(it, |act| matches!(act, Act::Input { .. }), Fault::absent("no such session"));
    }),
    ("the link comes back and the keyboard is another's", |it| {
        let since = it.now;
        it.send(Msg::Link(Link::Down { since, why: "gone".to_owned() }));
        it.send(Msg::Link(Link::Up(None)));
        fail(it, |act| matches!(act, Act::Lease { .. }), Fault::busy("held by bob"));
    }),
];

/// A line that, read as commands, removes, stops, pauses, hides, and quits.
fn type_on(console: &mut Console) -> Vec<Act> {
    console.keys("D y D y enter p x y esc F i n ctrl-c q q ctrl-b x")
}

#[test]
fn what_is_typed_on_after_the_keyboard_was_lost_goes_nowhere() {
    for (how, lose) in LOSSES {
        let mut console = Console::with_fleet((100, 30), day());
        console.step_in();
        lose(&mut console);
        assert!(!console.state.is_typing(), "{how}");
        assert!(console.picture().contains("keys go nowhere"), "{how}: {}", console.picture());
        assert_eq!(type_on(&mut console), [], "{how}");
        assert_eq!(console.send(Msg::Paste("D\ny\n".to_owned())), [], "{how}");
        assert!(console.state.overlay.is_none() && console.state.fleet_shown, "{how}");
        assert_eq!(console.state.fleet.marked().len(), 0, "{how}");
    }
}

#[test]
fn keys_typed_behind_a_refused_step_in_answer_nothing() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("enter a");
    fail(&mut console, |act| matches!(act, Act::Lease { .. }), Fault::busy("held by bob"));
    for _ in 0..10 {
        console.now += DEAF_FOR;
        assert_eq!(console.keys("t"), []);
    }
    assert!(!console.picture().contains("t take over"), "{}", console.picture());
    console.now += LOST_FOR;
    console.send(Msg::Tick);
    assert!(console.picture().contains("t take over"), "{}", console.picture());
    assert!(matches!(console.keys("t")[..], [Act::Lease { .. }]));
}

#[test]
fn keys_count_again_after_a_pause_and_the_console_wakes_to_show_it() {
    let mut console = Console::with_fleet((100, 30), day());
    console.step_in();
    console.send(ended());
    // Every key starts the wait anew.
    for _ in 0..3 {
        console.now += LOST_FOR;
        console.now -= Duration::from_millis(2);
        console.keys("j");
    }
    assert_eq!(console.state.fleet.cursor(), 0);
    console.now = console.state.wake_at().unwrap();
    console.send(Msg::Tick);
    assert!(console.state.lost.is_none());
    assert!(!console.picture().contains("keys go nowhere"));
    assert!(console.picture().contains("ended with exit code 0"), "{}", console.picture());
    console.keys("j");
    assert_eq!(console.state.fleet.cursor(), 1);
}

#[test]
fn esc_and_enter_count_after_a_short_pause_and_a_click_at_once() {
    for key in ["esc", "enter"] {
        let mut console = Console::with_fleet((100, 30), day());
        console.step_in();
        console.send(ended());
        console.keys(key);
        assert!(console.state.lost.is_some(), "{key}");
        console.now += DEAF_FOR;
        assert_eq!(console.keys(key), []);
        assert!(console.state.lost.is_none() && !console.state.is_typing(), "{key}");
        console.keys("j");
        assert_eq!(console.state.fleet.cursor(), 1, "{key}");
    }
    let mut console = Console::with_fleet((100, 30), day());
    console.step_in();
    console.send(taken());
    let kind = MouseKind::Down(Button::Left);
    console.send(Msg::Mouse(Mouse { kind, column: 4, row: 3, mods: Mods::default() }));
    assert!(console.state.lost.is_none());
    assert_eq!((console.state.place, console.state.fleet.cursor()), (Place::Fleet, 1));
}

#[test]
fn leaving_on_purpose_holds_no_key_back() {
    for keys in ["ctrl-q", "ctrl-b d"] {
        let mut console = Console::with_fleet((100, 30), day());
        console.step_in();
        console.keys(keys);
        console.keys("j");
        assert_eq!(console.state.fleet.cursor(), 1, "{keys}");
    }
}

#[test]
fn a_loss_takes_no_keys_from_a_box_that_had_them() {
    let mut console = Console::with_fleet((100, 30), day());
    console.step_in();
    console.keys("ctrl-b p");
    console.send(ended());
    console.text("not");
    let Some(Overlay::Palette(palette)) = &console.state.overlay else { panic!("no palette") };
    assert_eq!(palette.line.text(), "not");
}

#[test]
fn a_box_that_removes_shows_its_key_once_it_hears_it() {
    let mut console = Console::with_fleet((100, 30), day());
    assert_eq!(console.keys("D y"), []);
    assert!(!console.picture().contains("y remove"), "{}", console.picture());
    console.now = console.state.wake_at().unwrap();
    console.send(Msg::Tick);
    assert!(console.picture().contains("y remove"), "{}", console.picture());
    assert!(matches!(console.keys("y")[..], [Act::Remove(_)]));
}
