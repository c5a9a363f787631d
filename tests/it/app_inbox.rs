//! Where asks are seen: the bar, the list, and what is said of those that are over.

use std::time::Duration;

use sandwatch::{
    app::{
        Act, Msg,
        gate::HELD_FOR,
        msg::{Button, Mouse, MouseKind, Reply},
        state::Overlay,
        view::View,
    },
    base::id::{AskId, SandboxId},
    model::{
        ask::{AskKind, AskState, RiskLevel, Scope},
        event::{Event, SnapshotReason},
        session::Status,
    },
    vt::key::Mods,
};

use super::{
    app_asks::{answered, asking, ended, in_asks, is_asks, settle, shown, tell},
    app_support::{Console, ask, day, preset, sandbox, shared},
    app_views::said,
};

const SIZE: (u16, u16) = (120, 36);

fn waits(console: &mut Console, by: Duration) {
    console.now += by;
    console.send(Msg::Tick);
}

#[test]
fn a_bar_tells_of_the_oldest_in_every_place_and_while_typing() {
    let mut console = Console::with_fleet((80, 24), asking());
    for keys in ["", "tab", "l", "esc S", "esc d", "esc ?"] {
        console.keys(keys);
        let shown = console.picture();
        let bar = shown.lines().nth(22).unwrap();
        let wanted = "! 3 asks · exec · api-refactor cargo test";
        assert!(bar.contains(wanted) && bar.contains("denied in"), "{keys}: {bar}");
    }
    let mut console = Console::with_fleet((80, 24), asking());
    console.step_in();
    assert!(console.state.is_typing());
    let shown = console.picture();
    assert!(shown.lines().nth(22).unwrap().contains("! 3 asks · exec · api-refactor"), "{shown}");
    assert!(shown.lines().nth(22).unwrap().contains("ctrl-b a"), "{shown}");
    // What is typed goes to the program, letter by letter, and answers nothing.
    console.now += Duration::from_secs(5);
    for key in ["a", "s", "t", "d", "r", "I", "enter"] {
        let acts = console.keys(key);
        assert!(answered(&acts).is_empty() && console.state.view().is_none());
        assert!(acts.iter().any(|it| matches!(it, Act::Input { .. })), "{key}: {acts:?}");
        console.answer(|it| matches!(it, Act::Input { .. }), Reply::Nothing);
    }
    for size in [(59, 20), (30, 5), (20, 2), (80, 14)] {
        console.send(Msg::Resize(size.0, size.1));
        assert!(console.picture().contains("! 3 asks ·"), "{size:?}: {}", console.picture());
    }
}

#[test]
fn the_bar_has_two_rows_where_there_is_room_and_goes_with_the_last_ask() {
    let mut console = Console::with_fleet((120, 36), asking());
    let rows = |it: &Console| it.state.frame().asks.map_or(0, |it| it.height);
    assert_eq!(rows(&console), 2);
    console.send(Msg::Resize(100, 24));
    assert_eq!(rows(&console), 1);
    tell(&mut console, 0, Vec::new());
    assert!(console.picture().contains("! 2 asks · exec · docs-site · HIGH RISK"));
    tell(&mut console, 1, Vec::new());
    assert_eq!(rows(&console), 0);
}

#[test]
fn the_place_opens_by_key_by_command_and_from_a_pane_that_is_typed_into() {
    for keys in ["I", ": a s k s enter", "ctrl-k a s k s enter"] {
        let mut console = Console::with_fleet(SIZE, asking());
        let acts = console.keys(keys);
        assert!(matches!(console.state.view(), Some(View::Asks(_))), "{keys}");
        assert!(acts.iter().any(is_asks), "{keys}: {acts:?}");
        assert_eq!(shown(&console), None);
    }
    let mut console = Console::with_fleet(SIZE, asking());
    console.step_in();
    console.keys("ctrl-b a a");
    assert!(matches!(console.state.view(), Some(View::Asks(_))) && !console.state.is_typing());
    assert!(
        answered(&console.effects.iter().map(|it| it.act.clone()).collect::<Vec<_>>()).is_empty()
    );
    // The same key again reads the one under the cursor, and esc leads back step by step.
    console.keys("I");
    assert_eq!(shown(&console).as_deref(), Some("ask-1"));
    console.keys("esc");
    assert_eq!(shown(&console), None);
    console.keys("esc");
    assert!(console.state.view().is_none());
}

#[test]
fn oldest_first_and_rows_do_not_move_under_the_cursor() {
    let mut console = in_asks(SIZE);
    let rows = |console: &Console| {
        let inbox = console.state.inbox().unwrap();
        let ids: Vec<String> = inbox.rows.iter().map(|it| it.id.to_string()).collect();
        (ids.join(" "), inbox.current().unwrap().id.to_string())
    };
    assert_eq!(rows(&console), ("ask-1 ask-2 ask-3".to_owned(), "ask-1".to_owned()));
    console.keys("j");
    let asks = asking()[1].asks.clone();
    // One before it goes, one after it comes: it stays under the cursor.
    tell(&mut console, 0, vec![ask("ask-9", "api-refactor", AskKind::File, "x", RiskLevel::Low)]);
    assert_eq!(rows(&console), ("ask-2 ask-3 ask-9".to_owned(), "ask-2".to_owned()));
    // It goes itself: its row stays until the cursor leaves it.
    tell(&mut console, 1, asks[1..].to_vec());
    assert_eq!(rows(&console), ("ask-2 ask-3 ask-9".to_owned(), "ask-2".to_owned()));
    assert!(console.picture().contains("over"));
    console.keys("j");
    assert_eq!(rows(&console), ("ask-3 ask-9".to_owned(), "ask-3".to_owned()));
    console.keys("tab");
    assert!(console.picture().contains("allowed by bob"), "{}", console.picture());
}

#[test]
fn what_others_answered_and_what_is_over_is_said() {
    let cases = [
        (AskState::Allowed, Some("bob"), "bob allowed exec of api-refactor: cargo test"),
        (AskState::Denied, Some("bob"), "bob denied"),
        (AskState::Expired, None, "nobody answered in time"),
        (AskState::Withdrawn, None, "withdrawn"),
    ];
    for (state, by, wanted) in cases {
        let mut console = Console::with_fleet(SIZE, asking());
        let acts = tell(&mut console, 0, Vec::new());
        assert!(acts.iter().any(is_asks), "{acts:?}");
        console.answer(is_asks, Reply::Asks(vec![ended("ask-1", state, by)]));
        assert!(said(&console).contains(wanted), "{}", said(&console));
    }
    // One whose end the hub has not written down yet is asked for again, and not for ever.
    let mut console = Console::with_fleet(SIZE, asking());
    tell(&mut console, 0, Vec::new());
    let mut asked = 0;
    while console.answer(is_asks, Reply::Asks(Vec::new())).iter().any(is_asks) {
        asked += 1;
        assert!(asked < 5);
    }
    assert!(said(&console).contains("waits no more"), "{}", said(&console));
    // With the whole list anew, too.
    let mut console = Console::with_fleet(SIZE, asking());
    let none = Event::Snapshot { seq: 5, reason: SnapshotReason::Gap, sandboxes: shared(day()) };
    assert!(console.send(Msg::Event(none)).iter().any(is_asks));
}

#[test]
fn a_new_ask_still_rings_and_the_title_counts() {
    let mut console = Console::with_fleet(SIZE, asking());
    assert!(
        console.effects.iter().any(|it| it.act == Act::SetTitle("(3 asks) sandwatch".to_owned()))
    );
    console.send(Msg::Focus(false));
    console.now += Duration::from_secs(9);
    let more = ask("ask-7", "api-refactor", AskKind::File, "x", RiskLevel::Low);
    let acts = tell(&mut console, 0, vec![asking()[0].asks[0].clone(), more]);
    assert!(acts.iter().any(|it| matches!(it, Act::Bell | Act::Notify { .. })), "{acts:?}");
    assert!(acts.contains(&Act::SetTitle("(4 asks) sandwatch".to_owned())), "{acts:?}");
}

#[test]
fn ended_ones_are_read_and_answer_nothing() {
    let mut console = in_asks(SIZE);
    console.keys("tab enter");
    settle(&mut console);
    assert_eq!(shown(&console).as_deref(), Some("old-1"));
    for key in ["a", "d"] {
        console.now += HELD_FOR;
        assert!(answered(&console.keys(key)).is_empty());
    }
    assert!(said(&console).contains("nothing is answered"), "{}", said(&console));
}

#[test]
fn a_click_reads_and_never_answers() {
    let mut console = in_asks((80, 24));
    let list = console.state.frame().view.unwrap().list.1;
    let mouse =
        |row| Mouse { kind: MouseKind::Down(Button::Left), column: 5, row, mods: Mods::default() };
    console.send(Msg::Mouse(mouse(list.y + 2)));
    assert_eq!(
        console.state.inbox().unwrap().current().unwrap().id,
        AskId::parse("ask-3").unwrap()
    );
    console.send(Msg::Mouse(mouse(list.y + 2)));
    assert_eq!(shown(&console).as_deref(), Some("ask-3"));
    settle(&mut console);
    for row in 0..24 {
        assert!(answered(&console.send(Msg::Mouse(mouse(row)))).is_empty());
    }
}

#[test]
fn the_times_of_asks_do_not_keep_an_idle_console_awake() {
    let mut console = Console::with_fleet(SIZE, asking());
    console.keys("j");
    waits(&mut console, Duration::from_secs(120));
    console.state.take_dirty();
    console.send(Msg::Tick);
    assert!(console.picture().contains("denied at "), "{}", console.picture());
    assert_eq!(console.state.wake_at(), None);
}

#[test]
fn the_asks_of_a_sandbox_that_is_removed_go_with_it() {
    let mut console = in_asks(SIZE);
    let id = SandboxId::parse("docs-site").unwrap();
    console.send(Msg::Event(Event::Removed { seq: 9, id }));
    assert_eq!(console.state.asks.waiting().len(), 1);
}

#[test]
fn every_preset_has_the_keys_of_asks() {
    for name in ["default", "vim", "tmux", "zellij", "k9s", "emacs"] {
        let mut console = Console::with_fleet(SIZE, asking());
        console.send(Msg::Keymap(Ok(Box::new(preset(name)))));
        console.keys("I I");
        assert_eq!(shown(&console).as_deref(), Some("ask-1"), "{name}");
        settle(&mut console);
        let acts = console.keys("s");
        assert_eq!(answered(&acts)[0].2.scope, Scope::Session, "{name}");
        let mut console = Console::with_fleet(SIZE, vec![sandbox("x", "bash", Status::Idle)]);
        console.send(Msg::Keymap(Ok(Box::new(preset(name)))));
        console.keys("tab I");
        assert!(matches!(console.state.view(), Some(View::Asks(_))), "{name}: from a pane");
        assert!(!matches!(console.state.overlay, Some(Overlay::Allow(_))));
    }
}
