//! What is typed arrives whole and in order, or is refused from the first key that was lost on.

use sandwatch::{
    app::{
        Act, Effect, EffectId, Msg,
        lost::LOST_FOR,
        msg::Reply,
        state::{Hold, PENDING_MAX},
    },
    base::{fault::Fault, limits::INPUT_BYTES_MAX},
    model::event::Event,
};

use super::app_support::{Console, day, lease};

fn is_input(act: &Act) -> bool {
    matches!(act, Act::Input { .. })
}

/// What goes to the program, piece by piece.
fn pieces(acts: &[Act]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    for act in acts {
        if let Act::Input { bytes, .. } = act {
            pieces.push(&bytes[..]);
        }
    }
    pieces
}

fn stepped_in() -> Console {
    let mut console = Console::with_fleet((100, 30), day());
    console.step_in();
    console
}

fn newest_input(console: &Console) -> EffectId {
    console.effects.iter().rev().find(|it| is_input(&it.act)).unwrap().id
}

fn fail(console: &mut Console, id: EffectId, fault: Fault) {
    console.send(Msg::Done { id, result: Err(fault) });
}

fn says(console: &Console, words: &str) -> bool {
    console.state.notices.all().any(|it| it.text.contains(words))
}

#[test]
fn a_paste_goes_in_one_piece_whatever_was_typed_before_it() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("enter a b c");
    let long = "p".repeat(INPUT_BYTES_MAX - 100);
    console.send(Msg::Paste(long.clone()));
    console.send(Msg::Paste(long.clone()));
    console.keys("d");
    let lease = |it: &Act| matches!(it, Act::Lease { .. });
    let acts = console.answer(lease, Reply::Lease(None));
    let whole = pieces(&acts).concat();
    assert_eq!(whole, format!("abc{long}{long}d").as_bytes());
    for piece in pieces(&acts) {
        let pasted = std::str::from_utf8(piece).unwrap().matches('p').count();
        assert!(pasted.is_multiple_of(long.len()), "{pasted} bytes of a paste");
        assert!(piece.len() <= INPUT_BYTES_MAX);
    }
}

#[test]
fn behind_a_paste_that_is_refused_nothing_goes_until_a_pause() {
    let mut console = stepped_in();
    assert_eq!(console.send(Msg::Paste("p".repeat(INPUT_BYTES_MAX + 1))), []);
    assert!(says(&console, "not pasted"));
    assert_eq!(console.keys("x enter"), []);
    assert_eq!(console.send(Msg::Paste("short".to_owned())), []);
    console.now += LOST_FOR;
    assert_eq!(pieces(&console.keys("y")), [b"y"]);
}

#[test]
fn what_is_typed_in_a_terminal_that_is_too_small_is_missed_behind_it() {
    type Miss = fn(&mut Console);
    let ways: [(&str, Miss); 3] = [
        ("a key", |it| drop(it.keys("m"))),
        ("the prefix for the program", |it| drop(it.keys("ctrl-b ctrl-b"))),
        ("a paste", |it| drop(it.send(Msg::Paste("m".to_owned())))),
    ];
    for (what, miss) in ways {
        let mut console = stepped_in();
        assert_eq!(pieces(&console.keys("r")), [b"r"], "{what}");
        console.send(Msg::Resize(20, 3));
        assert!(console.state.frame().too_small);
        miss(&mut console);
        let acts = console.send(Msg::Resize(100, 30));
        assert!(!acts.iter().any(is_input), "{what}: {acts:?}");
        assert_eq!(console.keys("x enter"), [], "{what}");
        assert!(says(&console, "the rest is not sent"), "{what}");
        console.now += LOST_FOR;
        assert_eq!(pieces(&console.keys("y")), [b"y"], "{what}");
    }
    // Nothing was typed meanwhile: nothing is missed.
    let mut console = stepped_in();
    console.send(Msg::Resize(20, 3));
    console.send(Msg::Resize(100, 30));
    assert_eq!(pieces(&console.keys("y")), [b"y"]);
}

#[test]
fn what_failed_after_it_was_left_takes_nothing_from_the_next_step_in() {
    for early in [true, false] {
        let mut console = stepped_in();
        let old = console.keys("a");
        let failed = newest_input(&console);
        console.keys("ctrl-q");
        if early {
            fail(&mut console, failed, Fault::busy("the queue is full"));
        }
        console.step_in();
        if !early {
            fail(&mut console, failed, Fault::busy("the queue is full"));
        }
        assert!(says(&console, "the queue is full"));
        let new = console.keys("b");
        let run = |acts: &[Act]| match acts {
            [Act::Input { run, .. }] => *run,
            other => panic!("{other:?}"),
        };
        assert!(run(&new) > run(&old), "the same run is refused by what carries it");
        assert!(console.state.is_typing());
    }
}

#[test]
fn what_fails_twice_is_one_loss() {
    let mut console = stepped_in();
    console.keys("a");
    let first = newest_input(&console);
    console.keys("b");
    let second = newest_input(&console);
    fail(&mut console, first, Fault::busy("full"));
    console.now += LOST_FOR;
    fail(&mut console, second, Fault::busy("full"));
    assert_eq!(pieces(&console.keys("c")), [b"c"]);
}

#[test]
fn a_lapsed_keyboard_that_could_not_be_asked_for_is_asked_for_by_the_next_key() {
    let mut console = Console::with_fleet((100, 30), day());
    // With the size of the session, and that somebody is here, as much is under way as there may be.
    for _ in 2..PENDING_MAX {
        console.keys("p");
    }
    console.step_in();
    let mut mine = day().remove(0);
    for held in [Some(lease("me", "me@here")), None] {
        mine.sessions[0].lease = held;
        let sandbox = mine.clone().into();
        console.send(Msg::Event(Event::Changed { seq: 2, sandbox }));
    }
    let hold = |it: &Console| it.state.grip.as_ref().unwrap().hold;
    assert_eq!(console.keys("x"), []);
    assert_eq!(hold(&console), Hold::Lapsed);
    assert!(says(&console, "nothing more is sent"));
    let paused = |it: &&Effect| matches!(it.act, Act::Pause(_));
    let answered: Vec<_> = console.effects.iter().filter(paused).map(|it| it.id).take(8).collect();
    for id in answered {
        console.send(Msg::Done { id, result: Ok(Reply::Nothing) });
    }
    console.now += LOST_FOR;
    assert!(matches!(console.keys("y")[..], [Act::Lease { .. }]));
    assert_eq!(hold(&console), Hold::Asked);
    let asked = |it: &Act| matches!(it, Act::Lease { .. });
    assert_eq!(pieces(&console.answer(asked, Reply::Lease(None))), [b"y"]);
}
