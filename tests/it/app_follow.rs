//! The first pane follows, empty panes fill, and nothing acts that can't be seen.

use std::sync::Arc;

use sandwatch::{
    app::{Act, Msg},
    base::id::{SandboxId, SessionId},
    model::{
        event::Event,
        sandbox::{self, Sandbox},
        session::Status,
    },
    vt::key::Stroke,
};

use super::app_support::{Console, day, preset, sandbox, session};

/// The bottom line.
fn bottom(console: &Console) -> String {
    console.picture().trim_end().lines().last().unwrap_or_default().to_owned()
}

/// Whether what the corner says of the panes is so.
fn corner_is_true(console: &Console) -> bool {
    let selected = console.state.fleet.current().map(|it| it.sandbox.id.clone());
    let shown = |slot: usize| {
        let session = console.state.session_in(slot)?;
        Some(console.state.fleet.session(session)?.0.sandbox.id.clone())
    };
    let line = bottom(console);
    if line.ends_with("FOLLOWING") {
        return selected == shown(0);
    }
    match line.rsplit_once("IN PANE ").map(|it| it.1.trim().parse::<usize>()) {
        Some(Ok(number)) => selected == shown(number - 1) && number > 1,
        _ => true,
    }
}

#[test]
fn the_first_pane_follows_after_fewer_panes_were_asked_for_from_another() {
    let mut console = Console::with_fleet((200, 40), day());
    console.keys("2 tab tab");
    let seen = console.state.focused_session().cloned();
    console.keys("1");
    assert_eq!(console.state.focused_session().cloned(), seen, "what is looked at stays");
    console.keys("tab");
    for _ in 0..3 {
        console.keys("j");
        let row = console.state.fleet.current().unwrap().leading().unwrap().id.clone();
        assert_eq!(console.state.session_in(0), Some(&row));
        assert!(bottom(&console).ends_with("FOLLOWING"), "{}", bottom(&console));
    }
}

#[test]
fn closing_the_first_pane_gives_its_place_to_the_next() {
    let mut console = Console::with_fleet((200, 40), day());
    console.keys("2 tab");
    let next = console.state.session_in(1).cloned();
    console.keys("x");
    assert_eq!(console.state.session_in(0).cloned(), next);
    assert_eq!(console.state.grid.tab().slots().len(), 1);
    console.keys("q g");
    assert_eq!(console.state.session_in(0).unwrap().as_str(), "api-refactor");
}

#[test]
fn the_pane_that_is_typed_into_stays_whatever_the_layout() {
    let mut console = Console::with_fleet((200, 40), day());
    console.keys("4 tab tab");
    console.step_in();
    let typed = console.state.grip.as_ref().unwrap().session.clone();
    for keys in ["ctrl-b 2", "ctrl-b 1", "ctrl-b 6", "ctrl-b 1"] {
        console.keys(keys);
        assert_eq!(console.state.grip.as_ref().map(|it| &it.session), Some(&typed), "{keys}");
        assert_eq!(console.state.focused_session(), Some(&typed), "{keys}");
    }
}

#[test]
fn whatever_is_done_to_panes_the_corner_says_what_is_so() {
    const KEYS: &[&str] = &[
        "1",
        "2",
        "4",
        "6",
        "tab",
        "tab tab",
        "backtab",
        "j",
        "k",
        "g",
        "G",
        "o",
        "x esc",
        "z",
        "T",
        "}",
        "{",
        "ctrl-b &",
        "ctrl-b x",
        "ctrl-b n",
        "]",
        "l q",
        "F",
        "q esc",
        "/ d enter",
        "esc",
        "ctrl-b f",
    ];
    for seed in 1..20_u64 {
        let mut console = Console::with_fleet((200, 40), day());
        let mut random = seed;
        let mut done = Vec::new();
        for _ in 0..60 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed);
            let keys = KEYS[usize::try_from(random >> 33).unwrap() % KEYS.len()];
            if console.keys(keys).contains(&Act::Quit) {
                break;
            }
            done.push(keys);
            let quiet = console.state.notices.showing().is_none();
            assert!(corner_is_true(&console), "{done:?} {quiet}: {}", console.picture());
        }
    }
}

#[test]
fn an_empty_pane_fills_as_soon_as_the_programs_of_a_new_sandbox_are_there() {
    let changed =
        |it: &Sandbox| Msg::Event(Event::Changed { seq: 2, sandbox: Arc::new(it.clone()) });
    let one = sandbox("one", "bash", Status::Idle);
    let mut console = Console::with_fleet((200, 60), vec![one]);
    console.keys("6");
    let mut three = sandbox("three", "bash", Status::Idle);
    let sessions = std::mem::take(&mut three.sessions);
    three.state = sandbox::State::Creating;
    console.send(changed(&three));
    assert_eq!(console.state.session_in(1), None);
    three.state = sandbox::State::Running;
    three.sessions = sessions;
    console.send(changed(&three));
    assert_eq!(console.state.session_in(1).map(SessionId::as_str), Some("three"));
    // Its programs begin anew, as after going back to a snapshot.
    let id = SandboxId::parse("three").unwrap();
    three.sessions = vec![session("three-again", &id, 1, "bash", Status::Idle)];
    console.send(changed(&three));
    assert_eq!(console.state.session_in(1).map(SessionId::as_str), Some("three-again"));
}

#[test]
fn in_a_terminal_that_is_too_small_only_what_leaves_it_acts() {
    for (columns, rows) in [(40, 10), (59, 15), (60, 14), (1, 1)] {
        let mut console = Console::with_fleet((120, 40), day());
        console.send(Msg::Resize(columns, rows));
        for keys in ["G", "x", "y", "n", "q", "enter", ":", "esc", "tab", "space", "s", "D", "?"] {
            assert_eq!(console.keys(keys), [], "{keys}");
            assert!(console.state.overlay.is_none() && console.state.line.is_none(), "{keys}");
            assert_eq!(console.state.fleet.cursor(), 0, "{keys}");
        }
        assert!(console.state.fleet.marked().is_empty());
        assert_eq!(console.keys("ctrl-l"), [Act::Redraw]);
        assert_eq!(console.keys("ctrl-c"), [Act::Quit]);
    }
    let console = Console::with_fleet((40, 10), day());
    let picture = console.picture();
    assert!(picture.contains("ctrl-c quits"), "{picture}");
    // A box that was open already is not answered either.
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("x");
    console.read();
    console.send(Msg::Resize(40, 10));
    assert_eq!(console.keys("y"), []);
    console.send(Msg::Resize(120, 40));
    console.read();
    assert!(console.state.overlay.is_some());
    assert_eq!(console.keys("y").len(), 1);
}

#[test]
fn what_is_typed_goes_to_a_program_only_while_its_pane_is_in_sight() {
    for name in ["default", "tmux", "zellij"] {
        let mut console = Console::with_fleet((120, 40), day());
        console.send(Msg::Keymap(Ok(Box::new(preset(name)))));
        console.print("api-refactor", "$ ");
        console.step_in();
        let prefix = console.state.keymap.prefix();
        console.send(Msg::Resize(40, 10));
        assert!(console.picture().contains("keys go nowhere"), "{}", console.picture());
        assert_eq!(console.text("rm -rf"), []);
        assert_eq!(console.keys("enter"), []);
        assert_eq!(console.send(Msg::Paste("ls".to_owned())), []);
        console.send(Msg::Resize(120, 40));
        // What comes at once is the end of it, and goes nowhere without its beginning.
        assert_eq!(console.keys("a"), [], "{name}");
        console.now += sandwatch::app::lost::LOST_FOR;
        assert_eq!(console.keys("a").len(), 1, "{name}");
        console.send(Msg::Resize(40, 10));
        let press = sandwatch::vt::key::KeyPress {
            key: prefix.key,
            mods: prefix.mods,
            stroke: Stroke::Press,
        };
        console.send(Msg::Key(press));
        let acts = console.keys("d");
        assert!(matches!(acts.as_slice(), [Act::Lease { .. }]), "{name} {acts:?}");
        assert!(console.state.grip.is_none());
    }
}
