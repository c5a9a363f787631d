//! Who gets what is typed: the session that the screen names, or nobody.

use std::sync::Arc;

use sandwatch::{
    app::{
        Act, Msg,
        msg::{Button, Mouse, MouseKind, Reply},
        state::Place,
    },
    config::schema::Config,
    model::{
        event::Event,
        sandbox::Sandbox,
        session::{ExitStatus, Status},
    },
    runtime::LeaseVerb,
    vt::key::Mods,
};

use super::app_support::{Console, lease, sandbox};

fn changed(sandbox: Sandbox) -> Msg {
    Msg::Event(Event::Changed { seq: 2, sandbox: Arc::new(sandbox) })
}

fn mouse(kind: MouseKind, column: u16, row: u16) -> Msg {
    Msg::Mouse(Mouse { kind, column, row, mods: Mods::default() })
}

/// config.toml is read again, with another number of panes.
fn layout(console: &mut Console, layout: u8) {
    console.send(Msg::Config(Ok(Box::new(Config { layout, ..Config::default() }))));
}

/// Two panes: aa in the following one, bb in one of its own, which is typed into.
fn two(size: (u16, u16)) -> Console {
    let both = vec![sandbox("aa", "a", Status::Idle), sandbox("bb", "b", Status::Idle)];
    let mut console = Console::with_fleet(size, both);
    layout(&mut console, 2);
    console.keys("tab tab");
    assert_eq!(console.state.focused_session().unwrap().as_str(), "bb");
    console.step_in();
    console.effects.clear();
    console
}

fn typed_into(console: &Console) -> Option<&str> {
    console.state.grip.as_ref().map(|it| it.session.as_str())
}

fn is_given_back(console: &Console, name: &str) -> bool {
    let given = |it: &Act| matches!(it, Act::Lease { session, verb: LeaseVerb::Release } if session.as_str() == name);
    console.effects.iter().any(|it| given(&it.act))
}

fn is_asked_for(console: &Console) -> bool {
    let asked = |it: &Act| matches!(it, Act::Lease { verb, .. } if *verb != LeaseVerb::Release);
    console.effects.iter().any(|it| asked(&it.act))
}

#[test]
fn scrollback_ends_where_the_focus_leaves_its_pane() {
    for way in ["tab", ": filter enter esc", "click", "ctrl-k"] {
        let mut console = two((120, 40));
        console.keys("ctrl-b [");
        assert_eq!(console.state.mode(), "SCROLL");
        match way {
            "click" => {
                let (_, list) = console.state.frame().fleet.unwrap();
                console.send(mouse(MouseKind::Down(Button::Left), list.x + 2, list.y));
            }
            "ctrl-k" => {
                console.keys("ctrl-k");
                console.text("filter");
                console.keys("enter esc");
            }
            ": filter enter esc" => {
                console.keys(":");
                console.text("filter");
                console.keys("enter esc");
            }
            keys => drop(console.keys(keys)),
        }
        assert_eq!(console.state.place, Place::Fleet, "{way}");
        assert!(console.state.copy.is_none() && console.state.mode() == "NORMAL", "{way}");
        console.effects.clear();
        console.keys("j k G");
        assert!(!is_asked_for(&console) && !console.state.is_typing(), "{way}");
    }
}

#[test]
fn who_goes_to_the_fleet_from_a_line_or_the_palette_types_no_more() {
    for (size, words) in [((120, 40), "filter"), ((70, 24), "app.back"), ((70, 24), "filter")] {
        for palette in [false, true] {
            let mut console = two(size);
            console.keys(if palette { "ctrl-b p" } else { "ctrl-b :" });
            console.text(if words == "app.back" && palette { "back" } else { words });
            console.keys("enter");
            assert_eq!(console.state.place, Place::Fleet, "{words} {size:?}");
            console.keys("enter");
            assert!(is_given_back(&console, "bb"), "{words} {size:?}");
            let acts = console.keys("j q");
            assert!(!acts.iter().any(|it| matches!(it, Act::Input { .. })), "{words}: {acts:?}");
        }
    }
}

#[test]
fn fewer_panes_leave_the_one_that_is_worked_in() {
    for (how, mode) in [("", "TYPING"), ("ctrl-b [", "SCROLL"), ("ctrl-q", "NORMAL")] {
        let mut console = two((120, 40));
        console.keys(how);
        layout(&mut console, 1);
        assert_eq!(console.state.grid.tab().slots().len(), 1);
        assert_eq!(console.state.focused_session().unwrap().as_str(), "bb", "{mode}");
        assert_eq!(console.state.mode(), mode);
        assert!(console.state.lost.is_none());
    }
    // Whoever is in the fleet keeps the pane that follows it.
    let mut console = two((120, 40));
    console.keys("ctrl-q esc 1 k");
    assert_eq!(console.state.focused_session().unwrap().as_str(), "aa");
    console.keys("j");
    assert_eq!(console.state.focused_session().unwrap().as_str(), "bb");
}

type Change = (&'static str, fn() -> Sandbox);

#[test]
fn a_keyboard_that_is_not_there_after_looking_back_is_lost() {
    let changes: [Change; 2] = [
        ("bb ended with exit code 3", || {
            let mut it = sandbox("bb", "b", Status::Exited);
            it.sessions[0].exit = Some(ExitStatus::Code(3));
            it
        }),
        ("bob@there holds the keyboard", || {
            let mut it = sandbox("bb", "b", Status::Idle);
            it.sessions[0].lease = Some(lease("bob", "bob@there"));
            it
        }),
    ];
    for (why, change) in changes {
        for way in ["key", "wheel", "drag"] {
            let mut console = two((120, 40));
            console.print("bb", "some words\r\nand more");
            let body = console.state.frame().panes[1].body;
            match way {
                "key" => drop(console.keys("ctrl-b [")),
                "wheel" => drop(console.send(mouse(MouseKind::WheelUp, body.x, body.y))),
                _ => {
                    console.send(mouse(MouseKind::Down(Button::Left), body.x, body.y));
                    console.send(mouse(MouseKind::Drag(Button::Left), body.x + 3, body.y));
                }
            }
            assert!(matches!(console.state.mode(), "SCROLL" | "SELECT"), "{way}");
            console.send(changed(change()));
            console.effects.clear();
            match way {
                "key" => drop(console.keys("q")),
                "wheel" => {
                    for _ in 0..3 {
                        console.send(mouse(MouseKind::WheelDown, body.x, body.y));
                    }
                }
                _ => drop(console.send(mouse(MouseKind::Up(Button::Left), body.x + 3, body.y))),
            }
            let lost = console.state.lost.as_ref().map(|it| it.why.clone());
            assert_eq!(lost.as_deref(), Some(why), "{way}");
            console.effects.clear();
            console.keys("z t s p x enter");
            assert!(console.effects.is_empty(), "{way} {why}: {:?}", console.effects);
            assert!(!console.state.grid.tab().zoomed, "{way}");
        }
    }
}

#[test]
fn scrollback_whose_session_goes_away_hands_its_keys_to_nobody() {
    let mut console = two((120, 40));
    console.keys("ctrl-b [");
    let id = sandbox("bb", "b", Status::Idle).id;
    console.send(Msg::Event(Event::Removed { seq: 3, id }));
    assert!(console.state.copy.is_none() && console.state.lost.is_some());
    console.effects.clear();
    console.keys("q q x D y");
    assert!(console.effects.is_empty(), "{:?}", console.effects);
}

#[test]
fn stepping_into_another_by_its_name_gives_the_first_keyboard_back() {
    let mut console = two((120, 40));
    console.keys("ctrl-b :");
    console.text("attach aa");
    console.keys("enter");
    assert_eq!(typed_into(&console), Some("aa"));
    assert!(is_given_back(&console, "bb"), "{:?}", console.effects);
    console.answer(
        |it| matches!(it, Act::Lease { verb: LeaseVerb::Take, .. }),
        Reply::Lease(Some(lease("me", "me@here"))),
    );
    let acts = console.keys("x");
    let into = |it: &Act| matches!(it, Act::Input { session, .. } if session.as_str() == "aa");
    assert!(acts.len() == 1 && into(&acts[0]), "{acts:?}");
    // The same one again keeps what it has.
    console.effects.clear();
    console.keys("ctrl-b :");
    console.text("attach aa");
    console.keys("enter");
    assert!(!is_given_back(&console, "aa") && typed_into(&console) == Some("aa"));
}
