//! A sandbox's life through the engine: made, watched, paused, stopped, removed, and every way
//! that can go wrong.

use std::{path::PathBuf, time::Duration};

use sandwatch::{
    base::{
        fault::{Fault, Kind},
        limits::{EVENTS_QUEUED_MAX, STOP_GRACE},
    },
    driver::fake::Faults,
    model::{
        event::{Event, SnapshotReason},
        replay::Span,
        sandbox::{Egress, Sandbox, State, WorkspaceMode},
        session::{ExitStatus, Status},
    },
    runtime::WaitFor,
};

use crate::engine_support::{Instance, SOON, next, open, session, shows, whole_output};
use crate::given;

#[tokio::test]
async fn a_sandbox_is_made_listed_and_says_what_it_printed() {
    let it = Instance::new().await;
    let sandbox = it.run(&["sh", "-c", "echo hello; exit 3"]).await;
    assert_eq!((sandbox.name.as_str(), sandbox.state), ("project", State::Running));
    let id = sandbox.sessions[0].id.clone();
    assert!(whole_output(it.alice(), &id).await.contains("hello\r\n"));
    let all = it.until("its end", |all| all[0].state == State::Stopped).await;
    assert_eq!(all[0].sessions[0].exit, Some(ExitStatus::Code(3)));
    assert_eq!(all[0].sessions[0].status, Status::Exited);
}

#[tokio::test]
async fn names_are_derived_and_never_given_twice() {
    let it = Instance::new().await;
    let names = [it.run(&["idle"]).await.name, it.run(&["idle"]).await.name];
    assert_eq!(names, ["project", "project-2"]);
    let mut spec = it.spec(&["idle"]);
    spec.name = Some("project".to_owned());
    let fault = it.alice().create(spec.clone()).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Busy);
    assert!(fault.message().contains("name in use: project"), "{fault}");
    spec.name = Some("No/Name".to_owned());
    assert_eq!(it.alice().create(spec).await.unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test]
async fn a_workspace_must_be_there_and_must_not_hold_the_hubs_own_state() {
    let it = Instance::new().await;
    let mut spec = it.spec(&["idle"]);
    spec.workspace.path = it.temp.path().join("nowhere");
    let fault = it.alice().create(spec.clone()).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Invalid);
    assert!(fault.hint_text().unwrap().contains("workspace none"), "{fault}");
    for dir in [it.temp.path().to_owned(), it.home().join("state/sandboxes"), PathBuf::from("/")] {
        spec.workspace.path = dir;
        assert_eq!(it.alice().create(spec.clone()).await.unwrap_err().kind(), Kind::Denied);
    }
    spec.workspace.mode = WorkspaceMode::None;
    it.alice().create(spec).await.unwrap();
}

#[tokio::test]
async fn what_a_driver_cannot_do_is_refused_with_words() {
    let it = Instance::new().await;
    let mut spec = it.spec(&["idle"]);
    spec.limits.memory_bytes = Some(1 << 30);
    let fault = it.alice().create(spec).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Unsupported);
    assert!(fault.message().contains("fake"), "{fault}");
    let mut spec = it.spec(&["idle"]);
    spec.driver = "e3b".to_owned();
    let fault = it.alice().create(spec).await.unwrap_err();
    assert!(fault.hint_text().unwrap().contains("fake"), "{fault:?}");
    let mut spec = it.spec(&["idle"]);
    spec.egress = Egress::Deny;
    it.alice().create(spec).await.unwrap();
}

#[tokio::test]
async fn a_creation_that_fails_at_any_step_leaves_nothing() {
    let it = Instance::new().await;
    let broken = Some(Fault::failed("no power"));
    let steps = [
        Faults { create: broken.clone(), ..Faults::default() },
        Faults { spawn: broken, ..Faults::default() },
    ];
    for faults in steps {
        it.fake.set_faults(faults);
        let fault = it.alice().create(it.spec(&["idle"])).await.unwrap_err();
        assert!(fault.message().contains("no power"), "{fault}");
        assert_eq!(it.alice().list().await.unwrap(), []);
        assert_eq!(it.fake.count(), 0);
        assert_eq!(std::fs::read_dir(it.paths().sandboxes()).unwrap().count(), 0);
    }
    it.fake.set_faults(Faults::default());
    assert_eq!(it.run(&["idle"]).await.name, "project", "the name is free again");
}

#[tokio::test]
async fn what_is_removed_while_it_is_made_is_made_first_and_then_gone() {
    let it = Instance::new().await;
    it.fake.set_faults(Faults { create_delay: Duration::from_millis(300), ..Faults::default() });
    let making = tokio::spawn({
        let (alice, spec) = (it.client("alice"), it.spec(&["idle"]));
        async move { alice.create(spec).await }
    });
    let all = it.until("it is being made", |all| !all.is_empty()).await;
    assert_eq!(all[0].state, State::Creating);
    it.alice().remove(&all[0].id).await.unwrap();
    assert_eq!(making.await.unwrap().unwrap().id, all[0].id);
    assert_eq!(it.alice().list().await.unwrap(), []);
    assert_eq!(std::fs::read_dir(it.paths().sandboxes()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_creation_that_cannot_be_undone_is_kept_until_it_can() {
    let mut it = Instance::new().await;
    let stuck = Faults {
        spawn: Some(Fault::failed("no power")),
        sweep: Some(Fault::failed("mount is busy")),
        ..Faults::default()
    };
    it.fake.set_faults(stuck.clone());
    it.alice().create(it.spec(&["idle"])).await.unwrap_err();
    let all = it.alice().list().await.unwrap();
    assert_eq!((all.len(), all[0].state), (1, State::Failed));
    assert!(all[0].notes.iter().any(|it| it.contains("mount is busy")), "{:?}", all[0].notes);
    assert_eq!(std::fs::read_dir(it.paths().sandboxes()).unwrap().count(), 1);
    // This hub goes on trying ...
    it.fake.set_faults(Faults::default());
    it.until("it is undone", <[_]>::is_empty).await;
    assert_eq!(std::fs::read_dir(it.paths().sandboxes()).unwrap().count(), 0);
    // ... and the next one takes it up.
    it.fake.set_faults(stuck);
    it.alice().create(it.spec(&["idle"])).await.unwrap_err();
    it.restart().await;
    assert_eq!(it.alice().list().await.unwrap(), []);
    assert_eq!(std::fs::read_dir(it.paths().sandboxes()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_removal_by_itself_that_fails_is_tried_again_later_and_told_once() {
    let it = Instance::new().await;
    let stuck = |words: &str| Faults { remove: Some(Fault::failed(words)), ..Faults::default() };
    it.fake.set_faults(stuck("mount is busy"));
    let mut events = it.alice().events().await.unwrap();
    let mut spec = it.spec(&["idle"]);
    spec.ttl = Some(Duration::from_millis(100));
    it.alice().create(spec).await.unwrap();
    let (mut told, mut changes) = (Vec::new(), 0);
    while told.len() < 2 {
        match next(&mut events, "both reasons").await.unwrap().unwrap() {
            Event::Notice { notice, .. } => told.push(notice.text),
            // Every try is a change; some of these are tries that had nothing new to say.
            Event::Changed { .. } if told.len() == 1 => changes += 1,
            _ => {}
        }
        if changes == 3 {
            it.fake.set_faults(stuck("disk is gone"));
        }
    }
    assert!(told[0].contains("mount is busy") && told[1].contains("disk is gone"), "{told:?}");
    it.fake.set_faults(Faults::default());
    it.until("removed", <[_]>::is_empty).await;
}

#[tokio::test]
async fn pause_resume_stop_and_remove_are_fine_when_already_so() {
    let it = Instance::new().await;
    let sandbox = it.run(&["count"]).await;
    let id = &sandbox.id;
    for _ in 0..2 {
        it.alice().pause(id).await.unwrap();
        assert_eq!(it.alice().list().await.unwrap()[0].state, State::Paused);
    }
    let fault = it.alice().open(id, session(&["sh"])).await.unwrap_err();
    assert!(fault.hint_text().unwrap().contains("resume"), "{fault:?}");
    for _ in 0..2 {
        it.alice().resume(id).await.unwrap();
        assert_eq!(it.alice().list().await.unwrap()[0].state, State::Running);
    }
    for _ in 0..2 {
        it.alice().stop(id, STOP_GRACE).await.unwrap();
        let sandbox = &it.alice().list().await.unwrap()[0];
        assert_eq!(sandbox.state, State::Stopped);
        assert!(sandbox.sessions[0].exit.is_some(), "{sandbox:?}");
    }
    for verb in [it.alice().pause(id).await, it.alice().resume(id).await] {
        assert!(verb.unwrap_err().message().contains("stopped"));
    }
    assert!(it.alice().open(id, session(&["sh"])).await.is_err());
    it.alice().remove(id).await.unwrap();
    assert_eq!(it.alice().remove(id).await.unwrap_err().kind(), Kind::Absent);
    assert_eq!(it.alice().list().await.unwrap(), []);
    assert_eq!(it.fake.count(), 0);
    assert_eq!(std::fs::read_dir(it.paths().sandboxes()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_hub_remembers_what_was_stopped_by_hand_and_what_ended_by_itself() {
    let mut it = Instance::new().await;
    let by_hand = it.run(&["count"]).await.id;
    let by_itself = it.run(&["migrate"]).await.id;
    it.alice().stop(&by_hand, STOP_GRACE).await.unwrap();
    let ended = |all: &[Sandbox]| all.iter().all(|it| it.state == State::Stopped);
    it.until("both have stopped", ended).await;
    // In a process of its own the hub before would have ended with all that it was writing.
    let registry = rusqlite::Connection::open(it.paths().registry()).unwrap();
    given::found("both are kept as stopped", async || {
        let count = "SELECT count(*) FROM sandbox WHERE state = 'stopped'";
        let kept: i64 = registry.query_row(count, [], |row| row.get(0)).ok()?;
        (kept == 2).then_some(())
    })
    .await;
    it.restart().await;
    let asked = async |id| {
        let all = it.alice().list().await.unwrap();
        all.iter().find(|it| it.id == id).unwrap().stop_asked
    };
    assert!(asked(by_hand).await);
    assert!(!asked(by_itself.clone()).await);
    it.alice().stop(&by_itself, STOP_GRACE).await.unwrap();
    assert!(asked(by_itself).await, "whoever stops it has seen how it ended");
}

#[tokio::test]
async fn pause_holds_the_output_and_resume_loses_nothing() {
    let it = Instance::new().await;
    let sandbox =
        it.run(&["sh", "-c", "for i in $(seq 1 200); do echo n$i; sleep 0.005; done"]).await;
    let session = &sandbox.sessions[0].id;
    shows(it.alice(), session, "n5").await;
    it.alice().pause(&sandbox.id).await.unwrap();
    let shown = it.alice().screen(session).await.unwrap().offset;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(it.alice().screen(session).await.unwrap().offset <= shown + 10);
    it.alice().resume(&sandbox.id).await.unwrap();
    let output = whole_output(it.alice(), session).await;
    let lines: Vec<_> = output.lines().map(str::to_owned).collect();
    assert_eq!(lines, (1..=200).map(|it| format!("n{it}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_removal_that_fails_is_told_kept_and_can_be_tried_again() {
    let it = Instance::new().await;
    let sandbox = it.run(&["idle"]).await;
    let stuck = Faults { remove: Some(Fault::failed("mount is busy")), ..Faults::default() };
    it.fake.set_faults(stuck);
    let fault = it.alice().remove(&sandbox.id).await.unwrap_err();
    assert!(fault.message().contains("mount is busy"), "{fault}");
    assert!(
        it.alice().list().await.unwrap()[0].notes.iter().any(|it| it.contains("mount is busy"))
    );
    it.fake.set_faults(Faults::default());
    it.alice().remove(&sandbox.id).await.unwrap();
    assert_eq!(it.alice().list().await.unwrap(), []);
}

#[tokio::test]
async fn a_sandbox_that_vanishes_has_failed_and_everybody_is_told_why() {
    let it = Instance::new().await;
    let sandbox = it.run(&["count"]).await;
    let mut events = it.alice().events().await.unwrap();
    it.fake.lose(&sandbox.id, "the provider dropped it");
    let mut noticed = false;
    while !noticed {
        let event = next(&mut events, "the notice").await.unwrap().unwrap();
        noticed = matches!(event, Event::Notice { notice, .. }
            if notice.text.contains("the provider dropped it") && notice.sandbox == Some(sandbox.id.clone()));
    }
    let all = it.until("failed", |all| all[0].state == State::Failed).await;
    assert_eq!(all[0].notes, ["the provider dropped it"]);
    assert_eq!(all[0].sessions[0].status, Status::Exited);
    it.alice().remove(&sandbox.id).await.unwrap();
}

#[tokio::test]
async fn with_rm_a_sandbox_goes_with_its_first_program_and_its_recording_stays() {
    let it = Instance::new().await;
    let mut spec = it.spec(&["sh", "-c", "sleep 0.05; echo last words; exit 5"]);
    spec.remove_on_exit = true;
    let sandbox = it.alice().create(spec).await.unwrap();
    let session = sandbox.sessions[0].id.clone();
    let waited = it.alice().wait(&session, WaitFor::Exit, Some(SOON));
    let output = whole_output(it.alice(), &session);
    let (waited, output) = tokio::join!(waited, output);
    waited.unwrap();
    assert!(output.contains("last words"));
    it.until("removed", <[_]>::is_empty).await;
    let recordings = it.alice().recordings().await.unwrap();
    assert_eq!(recordings.len(), 1);
    assert_eq!(recordings[0].exit, Some(ExitStatus::Code(5)));
    assert!(whole_output(it.alice(), &session).await.contains("last words"));
    let mut export = it.alice().export(&session, Span::default()).await.unwrap();
    let head = next(&mut export, "the head").await.unwrap().unwrap();
    assert!(head.starts_with(b"{"), "{head:?}");
}

#[tokio::test]
async fn a_sandbox_goes_when_its_time_is_over() {
    let it = Instance::new().await;
    let mut spec = it.spec(&["idle"]);
    spec.ttl = Some(Duration::from_millis(300));
    let gone = it.alice().create(spec).await.unwrap();
    let stays = it.run(&["idle"]).await;
    it.until("one left", |all| all.iter().all(|it| it.id != gone.id)).await;
    assert!(it.alice().list().await.unwrap().iter().any(|it| it.id == stays.id));
}

#[tokio::test]
async fn a_sandbox_runs_on_while_any_of_its_programs_does() {
    let it = Instance::new().await;
    let sandbox = it.run(&["sh"]).await;
    let second = it.alice().open(&sandbox.id, session(&["sh"])).await.unwrap();
    assert_eq!((second.ordinal, second.name("project")), (2, "project/2".to_owned()));
    it.alice().input(&sandbox.sessions[0].id, "exit 0\r".into()).await.unwrap();
    it.until("the first ended", |all| all[0].sessions[0].exit.is_some()).await;
    it.alice().input(&second.id, "echo still $((here))\r".into()).await.unwrap();
    shows(it.alice(), &second.id, "still").await;
    assert_eq!(it.alice().list().await.unwrap()[0].state, State::Running);
    it.alice().input(&second.id, "exit 7\r".into()).await.unwrap();
    let all = it.until("stopped", |all| all[0].state == State::Stopped).await;
    assert_eq!(all[0].sessions[1].exit, Some(ExitStatus::Code(7)));
}

#[tokio::test]
async fn waiting_ends_with_what_was_waited_for_or_in_time() {
    let it = Instance::new().await;
    let sandbox =
        it.run(&["sh", "-c", "echo -n re; sleep 0.05; echo ady; sleep 0.1; exit 0"]).await;
    let id = &sandbox.sessions[0].id;
    let text = |it: &str| WaitFor::Text(it.to_owned());
    it.alice().wait(id, text("^ready$"), Some(SOON)).await.unwrap();
    it.alice().wait(id, WaitFor::Exit, Some(SOON)).await.unwrap();
    it.alice().wait(id, WaitFor::Idle, Some(SOON)).await.unwrap();
    it.alice().wait(id, text("ready"), Some(SOON)).await.unwrap();
    let fault = it.alice().wait(id, text("never"), Some(SOON)).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Failed);
    assert_eq!(it.alice().wait(id, text("("), None).await.unwrap_err().kind(), Kind::Invalid);
    let idle = it.run(&["idle"]).await;
    let id = &idle.sessions[0].id;
    it.alice().wait(id, WaitFor::Idle, Some(SOON)).await.unwrap();
    let soon = Some(Duration::from_millis(30));
    assert_eq!(it.alice().wait(id, WaitFor::Exit, soon).await.unwrap_err().kind(), Kind::Late);
    assert_eq!(it.alice().wait(id, text("never"), soon).await.unwrap_err().kind(), Kind::Late);
}

#[tokio::test]
async fn the_feed_is_a_snapshot_then_numbered_changes() {
    let it = Instance::new().await;
    it.run(&["idle"]).await;
    let mut events = it.alice().events().await.unwrap();
    let first = next(&mut events, "the snapshot").await.unwrap().unwrap();
    let Event::Snapshot { seq, reason: SnapshotReason::First, sandboxes } = first else {
        panic!("{first:?}")
    };
    assert_eq!(sandboxes.len(), 1);
    let second = it.run(&["idle"]).await;
    it.alice().remove(&second.id).await.unwrap();
    let mut last = seq;
    loop {
        let event = next(&mut events, "the removal").await.unwrap().unwrap();
        let (Event::Snapshot { seq, .. }
        | Event::Changed { seq, .. }
        | Event::Removed { seq, .. }
        | Event::Notice { seq, .. }
        | Event::Said { seq, .. }) = &event
        else {
            panic!("{event:?}")
        };
        assert_eq!(*seq, last + 1, "{event:?}");
        last = *seq;
        if matches!(&event, Event::Removed { id, .. } if *id == second.id) {
            break;
        }
    }
}

#[tokio::test]
async fn a_client_too_slow_for_the_feed_is_resynced_and_told() {
    let it = Instance::new().await;
    let sandbox = it.run(&["sh"]).await;
    let mut events = it.alice().events().await.unwrap();
    for _ in 0..300 {
        let taken = it.alice().lease(&sandbox.sessions[0].id, sandwatch::runtime::LeaseVerb::Take);
        taken.await.unwrap();
        it.alice()
            .lease(&sandbox.sessions[0].id, sandwatch::runtime::LeaseVerb::Release)
            .await
            .unwrap();
    }
    // Merged to a few changes: this client has missed nothing.
    for _ in 0..3 {
        let event = next(&mut events, "a change").await.unwrap().unwrap();
        assert!(!matches!(event, Event::Snapshot { reason: SnapshotReason::Gap, .. }));
    }
    // Each is two changes at least.
    for number in 0..EVENTS_QUEUED_MAX / 2 + 8 {
        let mut spec = it.spec(&["idle"]);
        spec.name = Some(format!("many-{number}"));
        let made = it.alice().create(spec).await.unwrap();
        it.alice().remove(&made.id).await.unwrap();
    }
    let mut gaps = 0;
    let last = it.run(&["idle"]).await;
    loop {
        match next(&mut events, "the last one").await.unwrap().unwrap() {
            Event::Snapshot { reason: SnapshotReason::Gap, sandboxes, .. } => {
                gaps += 1;
                if sandboxes.iter().any(|it| it.id == last.id) {
                    break;
                }
            }
            Event::Changed { sandbox, .. } if sandbox.id == last.id => break,
            _ => {}
        }
    }
    assert!(gaps > 0, "so many changes are more than the queue holds");
}

#[tokio::test]
async fn an_unwritable_state_is_a_fault_with_a_way_out() {
    let it = Instance::new().await;
    let Err(fault) = open(std::path::Path::new("/proc/sandwatch"), &it.fake).await else {
        panic!("opened")
    };
    assert!(fault.hint_text().unwrap().contains("SANDWATCH_HOME"), "{fault:?}");
}
