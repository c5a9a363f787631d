//! What comes right after an answer, and what calls the operator to the next ask.

use std::time::Duration;

use sandwatch::{
    app::{
        Act, Msg, chord::Chord, gate::HELD_FOR, lost::LOST_FOR, msg::Reply, state::Place,
        voice::RING_EVERY,
    },
    base::id::{AskId, SessionId},
    model::{
        ask::{Ask, AskKind, AskState, Revoked, RiskLevel, Scope},
        event::{Event, SnapshotReason},
        fact::Fact,
        sandbox::Sandbox,
    },
    runtime::AsksWanted,
    vt::key::{KeyPress, Stroke},
};

use super::{
    app_asks::{answered, asking, ended, is_asks, settle, shown, tell},
    app_support::{Console, ask, preset, shared},
};

const SIZE: (u16, u16) = (120, 36);

/// One that waits, of that much risk.
fn alone(level: RiskLevel) -> Vec<Sandbox> {
    let mut all = asking();
    all[0].asks = vec![ask("ask-1", "api-refactor", AskKind::Exec, "make", level)];
    all[1].asks.clear();
    all
}

fn only(level: RiskLevel) -> Console {
    let mut console = Console::with_fleet(SIZE, alone(level));
    console.keys("I I");
    settle(&mut console);
    console
}

fn held(console: &mut Console, key: &str) -> Vec<Act> {
    let chord = Chord::parse(key).unwrap();
    console.send(Msg::Key(KeyPress { key: chord.key, mods: chord.mods, stroke: Stroke::Repeat }))
}

/// Nothing is stepped into, opened, typed or answered.
fn is_quiet(console: &Console, acts: &[Act]) -> bool {
    let does = |it: &Act| {
        matches!(it, Act::Lease { .. } | Act::Input { .. } | Act::Open { .. } | Act::Decide { .. })
    };
    console.state.view().is_none()
        && console.state.overlay.is_none()
        && console.state.line.is_none()
        && !console.state.is_typing()
        && !acts.iter().any(does)
}

#[test]
fn a_second_or_held_key_after_the_last_answer_does_nothing_below() {
    type Way = (RiskLevel, &'static [&'static str], &'static str);
    let ways: [Way; 6] = [
        (RiskLevel::High, &["enter"], "enter"),
        (RiskLevel::Low, &["s"], "s"),
        (RiskLevel::Low, &["t"], "t"),
        (RiskLevel::Low, &["d"], "d"),
        (RiskLevel::Low, &["r", "n", "o", "enter"], "enter"),
        (RiskLevel::High, &["a", "a", "l", "l", "o", "w", "enter"], "enter"),
    ];
    for (level, keys, again) in ways {
        let answer = || {
            let mut console = only(level);
            let mut acts = console.keys(keys[0]);
            if keys.len() > 1 {
                settle(&mut console);
            }
            acts.extend(keys[1..].iter().flat_map(|it| console.key(it)));
            assert_eq!(answered(&acts).len(), 1, "{keys:?}");
            assert!(console.state.view().is_none(), "{keys:?}");
            console
        };
        // Pressed twice.
        let mut console = answer();
        let acts = console.keys(again);
        assert!(is_quiet(&console, &acts), "{keys:?}: {acts:?}");
        // Held on a terminal that does not say so: after half a second, then thirty times a second.
        let mut console = answer();
        let mut acts = Vec::new();
        for step in 0..60 {
            console.now += Duration::from_millis(if step == 0 { 660 } else { 33 });
            acts.extend(console.keys(again));
        }
        assert!(is_quiet(&console, &acts), "{keys:?}: {acts:?}");
        assert!(console.picture().contains("LOST"), "{}", console.picture());
        // And it is over after a pause.
        console.now += LOST_FOR;
        console.send(Msg::Tick);
        assert!(console.state.lost.is_none());
    }
    // One that somebody else answered, too.
    let mut console = only(RiskLevel::Low);
    tell(&mut console, 0, Vec::new());
    console.keys("enter");
    assert!(console.state.view().is_none());
    let acts = console.keys("enter");
    assert!(is_quiet(&console, &acts), "{acts:?}");
}

#[test]
fn a_key_that_repeats_steps_into_nothing() {
    for key in ["enter", "s", "t"] {
        let mut console = Console::with_fleet(SIZE, alone(RiskLevel::Low));
        for _ in 0..40 {
            console.now += Duration::from_millis(33);
            let acts = held(&mut console, key);
            assert!(is_quiet(&console, &acts), "{key}: {acts:?}");
        }
    }
}

#[test]
fn who_was_typing_is_told_that_the_keyboard_did_not_come_back() {
    let typing = || {
        let mut console = Console::with_fleet(SIZE, alone(RiskLevel::Low));
        console.step_in();
        assert!(console.state.is_typing());
        console.keys("ctrl-b a");
        assert!(console.state.inbox().is_some() && !console.state.is_typing());
        console
    };
    let mut console = typing();
    console.keys("enter");
    settle(&mut console);
    assert_eq!(answered(&console.keys("a")).len(), 1);
    let acts = console.text("ship it qDx");
    assert!(is_quiet(&console, &acts), "{acts:?}");
    assert!(console.picture().contains("you no longer type into"), "{}", console.picture());
    assert_eq!(console.state.place, Place::Panes);
    console.now += HELD_FOR;
    console.send(Msg::Tick);
    console.step_in();
    assert!(console.state.is_typing());
    // Who goes back without an answer, too.
    let mut console = typing();
    console.keys("esc");
    let acts = console.text("ship it qDx");
    assert!(is_quiet(&console, &acts), "{acts:?}");
    // Nobody else is kept waiting by that.
    let mut console = Console::with_fleet(SIZE, alone(RiskLevel::Low));
    console.keys("I esc");
    assert!(console.state.lost.is_none());
}

#[test]
fn other_keys_close_the_gate() {
    let mut console = only(RiskLevel::Low);
    console.send(Msg::Keymap(Ok(Box::new(preset("vim")))));
    console.now += HELD_FOR;
    assert!(answered(&console.keys("a")).is_empty(), "not drawn with those keys yet");
    settle(&mut console);
    assert_eq!(answered(&console.keys("a")).len(), 1);
}

fn rings(acts: &[Act]) -> bool {
    acts.contains(&Act::Bell)
}

fn more(id: &str) -> Ask {
    ask(id, "api-refactor", AskKind::File, id, RiskLevel::Low)
}

#[test]
fn every_new_ask_calls_the_operator_whatever_rings_besides() {
    let quiet = || {
        let mut console = Console::with_fleet(SIZE, asking());
        console.send(Msg::Focus(false));
        console.now += Duration::from_secs(9);
        console
    };
    let first = asking()[0].asks[0].clone();
    // A program that rings all the time.
    let mut console = quiet();
    let session = SessionId::parse("crawler").unwrap();
    let bell = Event::Said { seq: 2, session, fact: Fact::Bell };
    assert!(rings(&console.send(Msg::Event(bell))));
    assert!(rings(&tell(&mut console, 0, vec![first.clone(), more("ask-7")])));
    // Right after another: a little later, and once.
    let acts = tell(&mut console, 0, vec![first.clone(), more("ask-7"), more("ask-8")]);
    assert!(!rings(&acts));
    let at = console.state.wake_at().unwrap();
    assert!(at <= console.now + RING_EVERY);
    console.now = at;
    assert!(rings(&console.send(Msg::Tick)));
    console.now += RING_EVERY;
    assert!(!rings(&console.send(Msg::Tick)));
    // One for another that went: as many as before.
    assert!(rings(&tell(&mut console, 0, vec![first.clone(), more("ask-9"), more("ask-8")])));
    // One that went before it could be called for calls nobody.
    tell(&mut console, 0, vec![first.clone(), more("ask-10")]);
    tell(&mut console, 0, vec![first.clone()]);
    console.now += RING_EVERY;
    assert!(!rings(&console.send(Msg::Tick)));
    // After a gap, those that are new.
    let list = |more: Option<Ask>| {
        let mut all = asking();
        all[0].asks.extend(more);
        Msg::Event(Event::Snapshot { seq: 5, reason: SnapshotReason::Gap, sandboxes: shared(all) })
    };
    let mut console = quiet();
    assert!(!rings(&console.send(list(None))));
    assert!(rings(&console.send(list(Some(more("ask-7"))))));
    assert_eq!(shown(&console), None);
    // Those of the first list are on screen for who opens the console.
    assert!(!Console::with_fleet(SIZE, asking()).effects.iter().any(|it| it.act == Act::Bell));
}

/// An answer of bob's that holds on for the session.
fn standing() -> Ask {
    let mut it = ended("old-1", AskState::Allowed, Some("bob"));
    if let Some(decision) = &mut it.decision {
        (decision.answer.scope, decision.uses) = (Scope::Session, 3);
    }
    it
}

#[test]
fn an_answer_that_holds_on_is_told_with_its_uses_and_taken_back() {
    let mut console = Console::with_fleet(SIZE, asking());
    console.keys("I");
    let plain = ended("old-0", AskState::Allowed, Some("bob"));
    console.answer(is_asks, Reply::Asks(vec![standing(), plain]));
    // Not those that wait, and not one that held for itself alone.
    assert!(!console.keys("u").iter().any(|it| matches!(it, Act::Revoke(_))));
    console.keys("tab");
    assert!(console.picture().contains("allowed session ×3"), "{}", console.picture());
    assert!(held(&mut console, "u").is_empty());
    let acts = console.keys("u");
    let id = AskId::parse("old-1").unwrap();
    assert!(acts.contains(&Act::Revoke(id)), "{acts:?}");
    let mut gone = standing();
    let revoked = Revoked { by: "me@here".to_owned(), at: gone.asked.created_at };
    gone.decision.as_mut().unwrap().revoked = Some(revoked);
    console.answer(|it| matches!(it, Act::Revoke(_)), Reply::Ask(Box::new(gone)));
    assert!(!console.picture().contains("×3"), "{}", console.picture());
    console.keys("enter");
    let shown = console.picture();
    assert!(shown.contains("session, used 3 times, taken back by me@here"), "{shown}");
    console.keys("esc j");
    assert!(!console.keys("u").iter().any(|it| matches!(it, Act::Revoke(_))));
}

#[test]
fn of_those_that_end_only_they_are_asked_for() {
    let mut console = Console::with_fleet(SIZE, asking());
    let acts = tell(&mut console, 0, Vec::new());
    let only = AsksWanted::only([AskId::parse("ask-1").unwrap()]);
    assert!(acts.contains(&Act::Asks(only)), "{acts:?}");
    console.answer(is_asks, Reply::Asks(vec![ended("ask-1", AskState::Denied, Some("bob"))]));
    // The list is read when somebody looks at it, and keeps what was learnt since.
    let acts = console.keys("I");
    assert!(acts.iter().any(|it| matches!(it, Act::Asks(it) if it.ids.is_empty())), "{acts:?}");
    console.answer(is_asks, Reply::Asks(vec![standing()]));
    tell(&mut console, 1, asking()[1].asks[1..].to_vec());
    console.answer(is_asks, Reply::Asks(vec![ended("ask-2", AskState::Denied, Some("bob"))]));
    let ids: Vec<_> = console.state.asks.ended.iter().map(|it| it.asked.id.to_string()).collect();
    assert_eq!(ids, ["ask-2", "old-1"]);
    // What is answered here is known by the answer.
    let mut console = only_one();
    console.keys("a");
    let decided = ended("ask-1", AskState::Allowed, Some("me@here"));
    let acts = console.answer(|it| matches!(it, Act::Decide { .. }), Reply::Ask(Box::new(decided)));
    assert!(!acts.iter().any(is_asks), "{acts:?}");
}

fn only_one() -> Console {
    only(RiskLevel::Low)
}
