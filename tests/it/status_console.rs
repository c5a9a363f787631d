//! The inspector: what a status stands on, in the console, and that it is asked for only while somebody looks.

use std::time::Duration;

use sandwatch::{
    app::{
        effect::Act,
        msg::{Msg, Reply},
    },
    base::clock::Timestamp,
    model::{
        process::{Doing, Process, Processes},
        session::Status,
        status::{Cause, Evidence, Explained, Source, Weight},
        syscall::{Syscall, SyscallEnd, SyscallPart},
    },
    runtime::Nudge,
};

use crate::app_support::{Console, START, day};

fn process(pid: u32, parent: u32, name: &str, doing: Doing) -> Process {
    Process {
        pid,
        parent,
        name: name.to_owned(),
        command: format!("{name} --run \u{202e}"),
        foreground: true,
        threads: 3,
        cpu: Duration::from_secs(61),
        doing,
        endless: true,
        keys: false,
        linked: false,
        on: None,
        call: Some("futex".to_owned()),
    }
}

fn evidence(source: Source, says: Option<Status>, words: &str) -> Evidence {
    Evidence {
        source,
        what: source.word().to_owned(),
        says,
        cause: None,
        since: Timestamp(START - 60_000),
        at: Timestamp(START),
        until: None,
        words: words.to_owned(),
    }
}

fn told(session: &str) -> Explained {
    let lock = "python3 (pid 41) waits for locks, in all of its 3 threads";
    let stuck = Evidence {
        cause: Some(Cause::Deadlock),
        ..evidence(Source::Runtime, Some(Status::Stuck), lock)
    };
    let claim = evidence(
        Source::Program,
        Some(Status::Working),
        "it says by OSC 7501 that it works\u{1b}[31m",
    );
    let silence = evidence(Source::Output, None, "it prints nothing any more");
    Explained {
        session: sandwatch::base::id::SessionId::parse(session).unwrap(),
        status: Status::Stuck,
        since: Some(Timestamp(START - 60_000)),
        why: lock.to_owned(),
        evidence: vec![
            (stuck, Weight::Decides),
            (claim, Weight::Outranked),
            (silence, Weight::Silent),
        ],
        processes: Processes {
            at: Some(Timestamp(START)),
            all: vec![
                process(40, 1, "bash", Doing::Child),
                process(41, 40, "python3", Doing::Lock),
            ],
            more: 2,
            notes: vec!["one can't be seen".to_owned()],
            apart: Some(Duration::from_millis(512)),
        },
        at: Timestamp(START),
    }
}

fn asked(acts: &[Act]) -> Option<String> {
    acts.iter().find_map(|it| match it {
        Act::Explain(session) => Some(session.to_string()),
        _ => None,
    })
}

/// What comes of waiting until then.
fn later(console: &mut Console, at: Duration) -> Vec<Act> {
    console.now = console.now.max(at);
    console.send(Msg::Tick)
}

fn inspecting(size: (u16, u16)) -> Console {
    let mut console = Console::with_fleet(size, day());
    let session = asked(&console.keys("w")).expect("the hub is asked");
    let reply = Reply::Explained(Box::new(told(&session)));
    console.answer(|it| matches!(it, Act::Explain(_)), reply);
    console
}

#[test]
fn the_inspector_shows_what_a_status_stands_on_and_what_fits() {
    for size in [(80, 24), (120, 40), (300, 100)] {
        let console = inspecting(size);
        let picture = console.picture();
        for words in [
            "INSPECTOR",
            "stuck for 1m: python3 (pid 41)",
            "what fits: q shows its screen",
            "decides",
            "outranked",
            "as of ",
            "read twice, 512 ms apart; ",
            " reads it anew",
        ] {
            assert!(picture.contains(words), "{words} is not in\n{picture}");
        }
        // The child stands behind its parent, and further in.
        let row = |name: &str| {
            let found = picture.lines().enumerate().find(|(_, it)| it.contains(name));
            let (at, line) = found.unwrap_or_else(|| panic!("{name} is not in\n{picture}"));
            (at, line.find(name).unwrap())
        };
        let (parent, child) = (row("bash --run"), row("python3 --run"));
        assert!(child.0 == parent.0 + 1 && child.1 > parent.1, "{picture}");
        // Columns of processes have names, and the row under the cursor is read whole below all rows.
        assert!(picture.contains("PID") && picture.contains("CALL"), "{picture}");
        assert_eq!(picture.matches("the status stands on it").count(), 1, "{picture}");
        // A program's words touch nothing.
        assert!(!picture.contains('\u{202e}') && !picture.contains('\u{1b}'), "{picture}");
    }
}

#[test]
fn who_is_held_at_an_ask_is_answered_and_told_nothing() {
    let mut console = Console::with_fleet((120, 40), day());
    let session = asked(&console.keys("w")).unwrap();
    let mut held = told(&session);
    held.status = Status::Waiting;
    let asks = evidence(Source::Runtime, Some(Status::Waiting), "it is held until you answer");
    held.evidence = vec![(Evidence { cause: Some(Cause::Ask), ..asks }, Weight::Decides)];
    console.answer(|it| matches!(it, Act::Explain(_)), Reply::Explained(Box::new(held)));
    let picture = console.picture();
    assert!(picture.contains("what fits: I answers"), "{picture}");
    assert!(!picture.contains("sends it a line"), "{picture}");
}

#[test]
fn of_more_rows_than_there_is_room_for_it_is_said_which_are_shown() {
    let mut console = Console::with_fleet((80, 24), day());
    let session = asked(&console.keys("w")).unwrap();
    let mut many = told(&session);
    many.processes.all = (40..80).map(|pid| process(pid, 1, "worker", Doing::Timer)).collect();
    console.answer(|it| matches!(it, Act::Explain(_)), Reply::Explained(Box::new(many)));
    let picture = console.picture();
    assert!(picture.contains(" 1-") && picture.contains(" of 44\n"), "{picture}");
    console.keys("G");
    assert!(console.picture().contains("-44 of 44\n"), "{}", console.picture());
}

#[test]
fn one_row_is_read_whole_and_back_leads_out() {
    let mut console = inspecting((120, 40));
    console.keys("j enter");
    let picture = console.picture();
    assert!(picture.contains("somebody who is believed more says otherwise"), "{picture}");
    console.keys("esc");
    console.keys("G enter");
    let picture = console.picture();
    for words in ["41 on the host, of 40", "none: it waits for good", "futex"] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    console.keys("esc esc");
    assert!(!console.picture().contains("INSPECTOR"));
}

#[test]
fn it_is_asked_for_anew_only_while_somebody_looks() {
    let mut console = inspecting((120, 40));
    console.keys("G");
    let wake = console.state.wake_at().expect("it changes by itself");
    let acts = later(&mut console, wake);
    let session = asked(&acts).expect("it is asked for anew");
    // Not again before there is an answer.
    let wake = console.state.wake_at();
    if let Some(wake) = wake {
        assert_eq!(asked(&later(&mut console, wake)), None);
    }
    let reply = Reply::Explained(Box::new(told(&session)));
    console.answer(|it| matches!(it, Act::Explain(_)), reply);
    assert!(console.picture().contains("> 41"), "the cursor stays: {}", console.picture());
    // Somebody who is elsewhere is told nothing, and nothing is asked.
    console.send(Msg::Focus(false));
    for _ in 0..5 {
        let Some(wake) = console.state.wake_at() else { break };
        assert_eq!(asked(&later(&mut console, wake)), None);
    }
    console.send(Msg::Focus(true));
    console.keys("esc");
    for _ in 0..5 {
        let Some(wake) = console.state.wake_at() else { break };
        assert_eq!(asked(&later(&mut console, wake)), None);
    }
}

#[test]
fn a_pane_is_explained_by_its_own_session_and_a_failure_is_said() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("tab");
    let session = asked(&console.keys("w"));
    assert!(session.is_some());
    let fault = sandwatch::base::fault::Fault::late("the shim does not answer");
    let id = console.effects.iter().rev().find(|it| matches!(it.act, Act::Explain(_))).unwrap().id;
    console.send(Msg::Done { id, result: Err(fault) });
    let picture = console.picture();
    assert!(picture.contains("not known: the shim does not answer"), "{picture}");
}

/// What was sent to a session, if something was.
fn sent(acts: &[Act]) -> Option<Nudge> {
    acts.iter().find_map(|it| match it {
        Act::Nudge { what, .. } => Some(what.clone()),
        _ => None,
    })
}

#[test]
fn a_line_and_an_interrupt_reach_the_session_that_is_inspected() {
    let mut console = inspecting((120, 40));
    assert_eq!(sent(&console.keys("t")), None);
    let picture = console.picture();
    assert!(picture.contains("send a line: "), "{picture}");
    console.text("go on");
    assert_eq!(sent(&console.keys("enter")), Some(Nudge::Line("go on".to_owned())));
    let after = console.answer(|it| matches!(it, Act::Nudge { .. }), Reply::Nothing);
    // Nobody stepped in or out.
    assert!(!after.iter().any(|it| matches!(it, Act::Lease { .. })), "{after:?}");
    let picture = console.picture();
    assert!(picture.contains("the line was sent to "), "{picture}");
    // Nothing is not a line.
    console.keys("t");
    assert_eq!(sent(&console.keys("enter")), None);
    // An interrupt is asked about first.
    assert_eq!(sent(&console.keys("X")), None);
    assert!(console.picture().contains("ctrl-c is typed into "), "{}", console.picture());
    assert_eq!(sent(&console.keys("enter")), None);
    console.now += Duration::from_secs(1);
    assert_eq!(sent(&console.keys("y")), Some(Nudge::Interrupt));
}

fn watched(acts: &[Act]) -> Option<(Option<u32>, u64)> {
    acts.iter().find_map(|it| match it {
        Act::WatchSyscalls { of, generation } => {
            Some((of.as_ref().map(|(_, pid)| *pid), *generation))
        }
        _ => None,
    })
}

fn part(done: &str, waits: &str) -> SyscallPart {
    let call = |name: &str, end| Syscall {
        thread: 41,
        at: Timestamp(START),
        name: name.to_owned(),
        args: "3</etc/passwd\u{202e}>".to_owned(),
        end,
    };
    let took = Duration::from_millis(2);
    let end = SyscallEnd { value: -2, error: Some("ENOENT".to_owned()), took };
    SyscallPart {
        done: vec![call(done, Some(end))],
        waits: vec![call(waits, None)],
        made: 1,
        ..SyscallPart::default()
    }
}

#[test]
fn the_calls_of_the_process_under_the_cursor_are_shown_as_long_as_they_are_looked_at() {
    for size in [(80, 24), (120, 40)] {
        let mut console = inspecting(size);
        console.keys("G");
        let (of, generation) = watched(&console.keys("v")).expect("it is looked at");
        assert_eq!(of, Some(41));
        for at in 0..60 {
            let part = Ok(Box::new(part(&format!("call_{at}"), "futex")));
            console.send(Msg::Syscalls { generation, part });
        }
        let picture = console.picture();
        for words in ["SYSTEM CALLS", "process 41 of ", "slower", "call_59(", "ENOENT", "futex("] {
            assert!(picture.contains(words), "{words} is not in\n{picture}");
        }
        assert!(!picture.contains('\u{202e}'), "{picture}");
        // Who went back to an older one keeps it in sight.
        console.keys("g");
        console.send(Msg::Syscalls { generation, part: Ok(Box::new(part("late", "futex"))) });
        assert!(console.picture().contains("call_0("), "{}", console.picture());
        // What came of an older look is of that.
        console.send(Msg::Syscalls { generation: 0, part: Ok(Box::new(part("older", "futex"))) });
        console.keys("G");
        let picture = console.picture();
        assert!(!picture.contains("older(") && picture.contains("late("), "{picture}");
        assert_eq!(watched(&console.keys("esc")), Some((None, generation + 1)));
        assert!(console.picture().contains("INSPECTOR"), "{}", console.picture());
    }
}

#[test]
fn why_calls_can_t_be_looked_at_is_said_and_once_more_is_asked_for() {
    let mut console = inspecting((120, 40));
    // Of what is no process, the one that leads is meant.
    let (of, generation) = watched(&console.keys("v")).expect("it is looked at");
    assert_eq!(of, Some(41));
    let fault = sandwatch::base::fault::Fault::denied("this kernel does not let you").hint("ask");
    let acts = console.send(Msg::Syscalls { generation, part: Err(fault) });
    assert_eq!(watched(&acts), Some((None, generation + 1)));
    let picture = console.picture();
    assert!(picture.contains("over: this kernel does not let you: ask"), "{picture}");
    let acts = console.keys("R");
    assert_eq!(watched(&acts), Some((Some(41), generation + 2)));
}
