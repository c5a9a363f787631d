//! Whatever comes in whatever order: the core of the console stays sound and can be drawn.

use std::time::Duration;

use proptest::prelude::*;
use sandwatch::{
    app::{
        Act, Link, Msg,
        msg::{Button, DiffRead, Mouse, MouseKind, Reply},
    },
    base::{fault::Fault, id::SandboxId},
    model::{
        change::{Applied, AppliedPath, ChangeStatus, Verdict},
        event::{Event, SnapshotReason},
        history::{HistoryLine, HistoryMark, HistoryPage},
        session::{ExitStatus, Status},
    },
    vt::key::{Key, KeyPress, Mods, Stroke},
};

use super::{
    app_support::{Console, START, day, lease, sandbox, session, shared},
    app_update::changed,
    app_views,
};

fn any_key() -> impl Strategy<Value = Msg> {
    let key = prop_oneof![
        8 => proptest::char::range(' ', '~').prop_map(Key::Char),
        2 => Just(Key::Enter),
        2 => Just(Key::Esc),
        1 => Just(Key::Tab),
        1 => Just(Key::Up),
        1 => Just(Key::PageUp),
        1 => Just(Key::Backspace),
        1 => Just(Key::Char('界')),
    ];
    (key, any::<u8>(), any::<bool>()).prop_map(|(key, mods, release)| {
        let mods = Mods { ctrl: mods % 5 == 0, alt: mods % 11 == 0, ..Mods::default() };
        let stroke = if release && mods.alt { Stroke::Release } else { Stroke::Press };
        Msg::Key(KeyPress { key, mods, stroke })
    })
}

fn any_event() -> impl Strategy<Value = Msg> {
    (0..8_usize, 0..7_u8, any::<bool>()).prop_map(|(at, what, flag)| {
        let status = Status::ALL[at % Status::ALL.len()];
        let name = format!("box-{at}");
        let id = SandboxId::parse(&name).unwrap();
        let mut it = sandbox(&name, "claude", status);
        if flag {
            it.sessions.push(session(&format!("{name}-2"), &id, 2, "bash", Status::Idle));
        }
        match what {
            0 => Msg::Event(Event::Removed { seq: 2, id }),
            1 => Msg::Event(Event::Snapshot {
                seq: 2,
                reason: SnapshotReason::Gap,
                sandboxes: shared(vec![it]),
            }),
            2 => {
                it.sessions[0].lease = Some(lease(if flag { "me" } else { "bob" }, "bob"));
                changed(it)
            }
            3 => {
                it.sessions[0].exit = Some(ExitStatus::Signal(9));
                it.sessions[0].status = Status::Exited;
                changed(it)
            }
            _ => changed(it),
        }
    })
}

fn any_msg() -> impl Strategy<Value = Msg> {
    let mouse = (0..8_u8, 0..130_u16, 0..45_u16).prop_map(|(kind, column, row)| {
        let kind = match kind {
            0 => MouseKind::Down(Button::Left),
            1 => MouseKind::Up(Button::Left),
            2 => MouseKind::Drag(Button::Left),
            3 => MouseKind::WheelUp,
            4 => MouseKind::WheelDown,
            5 => MouseKind::Moved,
            6 => MouseKind::Down(Button::Right),
            _ => MouseKind::WheelLeft,
        };
        Msg::Mouse(Mouse { kind, column, row, mods: Mods::default() })
    });
    prop_oneof![
        10 => any_key(),
        4 => any_event(),
        3 => mouse,
        1 => (0..200_u16, 0..70_u16).prop_map(|(x, y)| Msg::Resize(x, y)),
        1 => "\\PC{0,20}".prop_map(Msg::Paste),
        1 => any::<bool>().prop_map(Msg::Focus),
        1 => Just(Msg::Tick),
        1 => any::<bool>().prop_map(|up| Msg::Link(if up {
            Link::Up(None)
        } else {
            Link::Down { since: Duration::ZERO, why: "x".to_owned() }
        })),
        1 => Just(Msg::Agents(vec!["claude".to_owned()])),
    ]
}

/// Answers an effect as a hub might, or with a fault.
fn reply(act: &Act, good: bool) -> Option<Result<Reply, Fault>> {
    if matches!(act, Act::Subscribe { .. } | Act::Unsubscribe { .. } | Act::Cancel(_)) {
        return None;
    }
    if !good {
        return Some(Err(Fault::busy("held by bob")));
    }
    Some(Ok(match act {
        Act::Create(_) => Reply::Sandbox(Box::new(sandbox("made", "claude", Status::Working))),
        Act::Lease { .. } => Reply::Lease(None),
        Act::History { request, .. } => {
            let end = request.before.map_or(40, |it| it.line);
            let line = |line| HistoryLine {
                mark: HistoryMark { segment: 0, line },
                formatted: b"old".to_vec(),
                wrapped: false,
            };
            let lines = (end.saturating_sub(10)..end).map(line).collect();
            Reply::History(HistoryPage { lines, at_start: end <= 10 })
        }
        Act::Doctor => Reply::Checks(Vec::new()),
        Act::Snapshots => Reply::Snapshots(app_views::line()),
        Act::Snapshot { .. } => {
            Reply::Snapshot(Box::new(app_views::kept("made", Some("x"), None, 9)))
        }
        Act::Restore { sandbox: of, .. } => {
            Reply::Sandbox(Box::new(sandbox(of.as_str(), "claude", Status::Working)))
        }
        Act::Fork { .. } => Reply::Sandbox(Box::new(sandbox("fork", "claude", Status::Idle))),
        Act::Diff { request, .. } => Reply::Diff(Box::new(DiffRead {
            files: app_views::changes(),
            text: app_views::PATCH.into(),
            more: request.system,
            ..DiffRead::default()
        })),
        Act::Apply { request, .. } => {
            let of = |path: &Vec<u8>| AppliedPath {
                path: path.clone(),
                status: ChangeStatus::Modified,
                verdict: if request.overwrite { Verdict::Applied } else { Verdict::Conflict },
                note: None,
            };
            let paths = request.paths.iter().map(of).collect();
            Reply::Applied(Box::new(Applied { paths, git_left_out: 0 }))
        }
        Act::TakeBack { .. } => Reply::Applied(Box::default()),
        _ => Reply::Nothing,
    }))
}

/// Answers what was asked since, and what follows from the answers.
fn answered(console: &mut Console, since: usize, good: bool) {
    let mut next = since;
    while let Some(effect) = console.effects.get(next).cloned() {
        next += 1;
        if next > since + 40 {
            return;
        }
        if let Some(result) = reply(&effect.act, good) {
            console.send(Msg::Done { id: effect.id, result });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_keys_in_the_places_keep_the_state_sound_and_drawable(
        open in prop::sample::select(vec!["S", "d", "S enter", "S g d"]),
        messages in prop::collection::vec((any_msg(), any::<u8>()), 0..60)
    ) {
        let mut console = Console::with_fleet((90, 30), app_views::able());
        for key in open.split(' ') {
            let seen = console.effects.len();
            console.key(key);
            answered(&mut console, seen, true);
        }
        for (msg, answer) in messages {
            let seen = console.effects.len();
            console.send(msg);
            if answer % 4 == 0 {
                console.read();
            }
            if answer % 3 != 0 {
                answered(&mut console, seen, answer % 5 != 0);
            }
        }
        prop_assert_eq!(console.draw(), console.draw());
    }

    #[test]
    fn any_message_sequence_keeps_the_state_sound_and_drawable(
        messages in prop::collection::vec((any_msg(), any::<u8>()), 0..80)
    ) {
        let mut console = Console::with_fleet((120, 40), day());
        for (msg, answer) in messages {
            let seen = console.effects.len();
            console.send(msg);
            if answer % 3 != 0 {
                let fresh: Vec<_> = console.effects[seen..].to_vec();
                for effect in fresh {
                    if let Some(result) = reply(&effect.act, answer % 5 != 0) {
                        console.send(Msg::Done { id: effect.id, result });
                    }
                }
            }
            console.print("api-refactor", "x\x1b[2J界");
        }
        prop_assert_eq!(console.draw(), console.draw());
        prop_assert!(START > 0);
    }
}
