//! What every runtime keeps: one list of cases, run against the engine in this process and against
//! the same engine behind a hub and a client.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use sandwatch::{
    base::{
        clock::Timestamp,
        fault::{Kind, Outcome},
        id::{HubNumber, SandboxId, SessionId, SnapshotId},
        limits::{HISTORY_LINES_MAX, STOP_GRACE},
        units::Size,
    },
    client::many::{Many, Opener},
    model::{
        change::{ApplyRequest, DiffRequest, Subject},
        event::{Event, Level, SnapshotReason},
        history::{HistoryRequest, SearchRequest},
        output::{Fidelity, From, Output},
        replay::{FindRequest, Moment, Span},
        sandbox::{Sandbox, State},
        session::{ExitStatus, Status},
        snapshot::SnapshotKind,
        status::Weight,
        timeline::{Happening, Kind as What, Mark, TimelineRequest},
    },
    runtime::{ExecOutput, Fork, HubSeen, LeaseVerb, Link, Runtime, WaitFor},
    vt::Screen,
};

use crate::{
    given::{soon, who},
    hub_support::{Hub, SOON, engine, next, printed, session, spec, watch},
    hubs_many::contact,
};

/// A hub that is reached at once.
struct Ready(Arc<dyn Runtime>);

#[async_trait::async_trait]
impl Opener for Ready {
    async fn open(&self) -> Outcome<Arc<dyn Runtime>> {
        Ok(self.0.clone())
    }
}

/// Two clients of one engine.
struct Stage {
    temp: tempfile::TempDir,
    alice: Arc<dyn Runtime>,
    bob: Arc<dyn Runtime>,
    _hub: Option<Hub>,
    /// What Alice's is one of.
    _whole: Option<Arc<dyn Runtime>>,
}

impl Stage {
    async fn alone() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let engine = engine(&temp.path().join("home")).await;
        let client = |name: &str| engine.client(who(name));
        Self { alice: client("alice"), bob: client("bob"), temp, _hub: None, _whole: None }
    }

    async fn behind_a_hub() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().join("home");
        let hub = Hub::start(&home, Arc::new(engine(&home).await)).await;
        let alice = Arc::new(hub.client("alice").await);
        let bob = Arc::new(hub.client("bob").await);
        Self { temp, alice, bob, _hub: Some(hub), _whole: None }
    }

    /// The last of so many hubs, which is seen by Bob with all the others.
    async fn of_many(count: u32) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut engines = Vec::new();
        for number in 0..count {
            engines.push(engine(&temp.path().join(format!("home{number}"))).await);
        }
        let all = |name: &str| {
            let contact = |number: usize| {
                contact(&format!("hub{number}"), Ready(engines[number].client(who(name))))
            };
            let many = Many::new(who(name).client, contact(0), None);
            many.keep((1..engines.len()).map(contact).collect()).unwrap();
            Arc::new(many)
        };
        let (alice, bob) = (all("alice"), all("bob"));
        let last = HubNumber(count - 1);
        for many in [&alice, &bob] {
            let up = |it: &HubSeen| matches!(it.link, Link::Up { .. });
            soon("all are reached", || many.hubs().unwrap().borrow().iter().all(up)).await;
        }
        let (alice, whole): (_, Arc<dyn Runtime>) = (alice.one(last).unwrap(), alice);
        let bob: Arc<dyn Runtime> = bob;
        let alice = if count == 1 { whole.clone() } else { alice };
        Self { alice, bob, temp, _hub: None, _whole: Some(whole) }
    }

    fn project(&self) -> PathBuf {
        let path = self.temp.path().join("project");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    async fn run(&self, command: &[&str]) -> Sandbox {
        self.alice.create(spec(&self.project(), command)).await.unwrap()
    }
}

macro_rules! cases {
    ($($case:ident)*) => {
        mod engine_alone {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Stage::alone().await).await;
            })*
        }
        mod engine_behind_hub_and_client {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Stage::behind_a_hub().await).await;
            })*
        }
        mod one_of_one {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Stage::of_many(1).await).await;
            })*
        }
    };
}
cases! {
    a_program_runs_prints_and_ends
    what_is_wrong_is_refused_by_kind
    what_is_not_there_is_absent
    the_feed_is_a_snapshot_and_then_changes
    typing_arrives_whole_and_in_order
    one_client_types_at_a_time
    a_keyframe_and_what_follows_is_the_whole_picture
    waiting_ends_when_it_happened_or_late
    a_program_without_a_terminal_keeps_its_streams_apart
    history_is_found_and_read_back
    recordings_outlive_their_sandbox
    what_happened_is_read_in_pages_followed_and_looked_at
    a_sandbox_is_paused_resumed_stopped_and_removed
    a_second_session_is_opened_and_resized
    a_watcher_that_does_not_read_holds_up_nobody
    the_hub_and_the_machine_are_described
    a_status_is_explained_as_long_as_the_session_is_known
}

macro_rules! cases_of_one_of_several {
    ($($case:ident)*) => {
        mod the_second_of_two {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Stage::of_many(2).await).await;
            })*
        }
    };
}
// Those that name nothing but what was made: all else Bob asks of the first, with which a feed begins as well.
cases_of_one_of_several! {
    a_program_runs_prints_and_ends
    typing_arrives_whole_and_in_order
    one_client_types_at_a_time
    a_keyframe_and_what_follows_is_the_whole_picture
    waiting_ends_when_it_happened_or_late
    a_program_without_a_terminal_keeps_its_streams_apart
    history_is_found_and_read_back
    recordings_outlive_their_sandbox
    a_sandbox_is_paused_resumed_stopped_and_removed
    a_second_session_is_opened_and_resized
    a_watcher_that_does_not_read_holds_up_nobody
    the_hub_and_the_machine_are_described
    a_status_is_explained_as_long_as_the_session_is_known
}

async fn a_program_runs_prints_and_ends(it: Stage) {
    let made = it.run(&["sh", "-c", "echo hello; exit 3"]).await;
    let id = &made.sessions[0].id;
    it.alice.wait(id, WaitFor::Exit, Some(SOON)).await.unwrap();
    let text = String::from_utf8(printed(&*it.bob, id).await).unwrap();
    assert!(text.contains("hello\r\n"), "{text}");
    let listed = it.bob.list().await.unwrap();
    assert_eq!((listed.len(), &listed[0].id), (1, &made.id));
}

async fn what_is_wrong_is_refused_by_kind(it: Stage) {
    let good = spec(&it.project(), &["idle"]);
    let mut bad = good.clone();
    bad.driver = "nosuch".to_owned();
    assert_eq!(it.alice.create(bad).await.unwrap_err().kind(), Kind::Invalid);
    let mut bad = good.clone();
    bad.name = Some("no/name".to_owned());
    assert_eq!(it.alice.create(bad).await.unwrap_err().kind(), Kind::Invalid);
    let mut bad = good.clone();
    bad.snapshot_every = Some(Duration::from_secs(60));
    assert_eq!(it.alice.create(bad).await.unwrap_err().kind(), Kind::Unsupported);
    let mut named = good;
    named.name = Some("one".to_owned());
    it.alice.create(named.clone()).await.unwrap();
    let fault = it.bob.create(named).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Busy, "{fault}");
    // The fake driver has no files to tell of.
    let one = it.alice.list().await.unwrap().remove(0).id;
    let applied = it.alice.apply(&one, ApplyRequest::default()).await;
    assert_eq!(applied.err().map(|it| it.kind()), Some(Kind::Unsupported));
    let taken_back = it.alice.take_back(&one, false).await;
    assert_eq!(taken_back.err().map(|it| it.kind()), Some(Kind::Unsupported));
    let kept = it.alice.snapshot(&one, None, SnapshotKind::Filesystem).await;
    assert_eq!(kept.err().map(|it| it.kind()), Some(Kind::Unsupported));
    assert_eq!(it.alice.snapshots().await, Ok(Vec::new()));
    let told = it.alice.diff(Subject::Sandbox(one.clone()), DiffRequest::default()).await;
    assert_eq!(told.err().map(|it| it.kind()), Some(Kind::Unsupported));
}

async fn what_is_not_there_is_absent(it: Stage) {
    let id = SandboxId::parse("nowhere").unwrap();
    let session_id = SessionId::parse("nobody").unwrap();
    let kept = SnapshotId::parse("never").unwrap();
    let runtime = &it.alice;
    let kinds = [
        runtime.pause(&id).await.unwrap_err().kind(),
        runtime.stop(&id, STOP_GRACE).await.unwrap_err().kind(),
        runtime.remove(&id).await.unwrap_err().kind(),
        runtime
            .diff(Subject::Sandbox(id.clone()), DiffRequest::default())
            .await
            .err()
            .unwrap()
            .kind(),
        runtime.open(&id, session(&["idle"])).await.unwrap_err().kind(),
        runtime.snapshot(&id, None, SnapshotKind::Filesystem).await.unwrap_err().kind(),
        runtime.remove_snapshot(&kept).await.unwrap_err().kind(),
        runtime.restore(&id, Some(&kept)).await.unwrap_err().kind(),
        runtime.fork(Subject::Snapshot(kept), Fork::default()).await.unwrap_err().kind(),
        runtime.screen(&session_id).await.unwrap_err().kind(),
        runtime.input(&session_id, Bytes::from_static(b"x")).await.unwrap_err().kind(),
        runtime.lease(&session_id, LeaseVerb::Take).await.unwrap_err().kind(),
        runtime.wait(&session_id, WaitFor::Exit, None).await.unwrap_err().kind(),
        runtime.explain(&session_id).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [Kind::Absent; 14]);
    let watched = runtime.output(&session_id, watch(From::Now, Fidelity::Screen)).await;
    assert_eq!(watched.err().map(|it| it.kind()), Some(Kind::Absent));
}

async fn the_feed_is_a_snapshot_and_then_changes(it: Stage) {
    let before = it.run(&["idle"]).await;
    let mut feed = it.bob.events().await.unwrap();
    let first = next(&mut feed, "a snapshot").await.unwrap().unwrap();
    let Event::Snapshot { seq: mut last, reason, sandboxes } = first else { panic!("{first:?}") };
    assert_eq!((reason, &sandboxes[0].id), (SnapshotReason::First, &before.id));
    let made = it.run(&["idle"]).await;
    it.alice.remove(&made.id).await.unwrap();
    let mut changed = false;
    loop {
        match next(&mut feed, "changes").await.unwrap().unwrap() {
            Event::Snapshot { .. } => panic!("a gap without a reason"),
            Event::Changed { seq, sandbox } => {
                assert!(seq > last);
                last = seq;
                changed |= sandbox.id == made.id;
            }
            Event::Removed { id, .. } if id == made.id => break,
            _ => {}
        }
    }
    assert!(changed);
}

async fn typing_arrives_whole_and_in_order(it: Stage) {
    let made = it.run(&["sh", "-c", "cat"]).await;
    let id = made.sessions[0].id.clone();
    for number in 0..200 {
        let line = Bytes::from(format!("line {number:03}\r"));
        it.alice.input(&id, line).await.unwrap();
    }
    it.alice.wait(&id, WaitFor::Text("line 199".to_owned()), Some(SOON)).await.unwrap();
    it.alice.stop(&made.id, STOP_GRACE).await.unwrap();
    let text = String::from_utf8_lossy(&printed(&*it.alice, &id).await).into_owned();
    let places: Vec<_> = (0..200).map(|at| text.find(&format!("line {at:03}"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
}

async fn one_client_types_at_a_time(it: Stage) {
    let made = it.run(&["sh", "-c", "cat"]).await;
    let id = &made.sessions[0].id;
    let lease = it.alice.lease(id, LeaseVerb::Take).await.unwrap().unwrap();
    assert_eq!(lease.holder.as_str(), "alice");
    let fault = it.bob.input(id, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Busy);
    assert!(fault.message().contains("alice"), "{fault}");
    assert_eq!(it.bob.lease(id, LeaseVerb::Take).await.unwrap_err().kind(), Kind::Busy);
    let lease = it.bob.lease(id, LeaseVerb::TakeOver).await.unwrap().unwrap();
    assert_eq!(lease.holder.as_str(), "bob");
    it.bob.input(id, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(it.alice.input(id, Bytes::new()).await.unwrap_err().kind(), Kind::Busy);
    it.bob.lease(id, LeaseVerb::Release).await.unwrap();
    it.alice.input(id, Bytes::from_static(b"y")).await.unwrap();
}

async fn a_keyframe_and_what_follows_is_the_whole_picture(it: Stage) {
    let loops = "for i in $(seq 1 2000); do echo line $i; done";
    let made = it.run(&["sh", "-c", loops]).await;
    let id = &made.sessions[0].id;
    let mut stream = it.bob.output(id, watch(From::Now, Fidelity::Screen)).await.unwrap();
    let mut screen: Option<Screen> = None;
    let mut at = 0;
    while let Some(message) = next(&mut stream, "output").await {
        match message.unwrap() {
            Output::Keyframe { offset, size, state, .. } => {
                screen = Some(Screen::from_keyframe(size, &state));
                at = offset;
            }
            Output::Chunk { offset, bytes } => {
                assert_eq!(offset, at, "a byte was skipped unsaid");
                at += bytes.len() as u64;
                screen.as_mut().unwrap().feed(&bytes);
            }
            Output::Exit { offset, .. } => {
                assert_eq!(offset, at);
                break;
            }
            _ => {}
        }
    }
    let shot = it.alice.screen(id).await.unwrap();
    let whole = Screen::from_keyframe(shot.size, &shot.state).lines();
    assert_eq!(screen.unwrap().lines(), whole);
    assert!(whole.iter().any(|line| line.contains("line 2000")), "{whole:#?}");
}

async fn waiting_ends_when_it_happened_or_late(it: Stage) {
    let made = it.run(&["sh"]).await;
    let id = &made.sessions[0].id;
    let short = Some(Duration::from_millis(50));
    let fault = it.alice.wait(id, WaitFor::Text("n[e]ver".to_owned()), short).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Late);
    assert_eq!(it.alice.wait(id, WaitFor::Exit, short).await.unwrap_err().kind(), Kind::Late);
    let fault = it.alice.wait(id, WaitFor::Text("(".to_owned()), short).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Invalid);
    it.alice.input(id, Bytes::from_static(b"exit 4\r")).await.unwrap();
    it.bob.wait(id, WaitFor::Exit, Some(SOON)).await.unwrap();
}

async fn a_program_without_a_terminal_keeps_its_streams_apart(it: Stage) {
    let made = it.run(&["idle"]).await;
    let nothing = Box::pin(tokio_stream::empty());
    let wanted = session(&["sh", "-c", "echo out; echo err >&2; exit 5"]);
    let mut stream = it.alice.exec(&made.id, wanted, nothing).await.unwrap();
    let (mut out, mut err, mut exit) = (Vec::new(), Vec::new(), None);
    while let Some(message) = next(&mut stream, "the end of an exec").await {
        match message.unwrap() {
            ExecOutput::Stdout(bytes) => out.extend_from_slice(&bytes),
            ExecOutput::Stderr(bytes) => err.extend_from_slice(&bytes),
            ExecOutput::Exit(status) => exit = Some(status),
        }
    }
    assert_eq!(exit, Some(ExitStatus::Code(5)));
    assert_eq!((out.as_slice(), err.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
}

async fn history_is_found_and_read_back(it: Stage) {
    let loops = "for i in $(seq 1 500); do echo line $i; done";
    let made = it.run(&["sh", "-c", loops]).await;
    let id = &made.sessions[0].id;
    it.alice.wait(id, WaitFor::Exit, Some(SOON)).await.unwrap();
    let request = HistoryRequest { before: None, until: None, lines: HISTORY_LINES_MAX };
    let page = it.alice.history(id, request).await.unwrap();
    assert!(page.lines.len() > 400 && page.lines.is_sorted_by_key(|it| it.mark));
    // As it was when a part of it had been printed.
    let request = HistoryRequest { until: Some(900), ..request };
    let part = it.bob.history(id, request).await.unwrap();
    assert!(!part.lines.is_empty() && part.lines.len() < 100, "{}", part.lines.len());
    assert_eq!(part.lines, page.lines[..part.lines.len()]);
    let request =
        SearchRequest { pattern: "line 1[0]0".to_owned(), before: None, until: None, hits: 10 };
    let found = it.bob.search(id, request.clone()).await.unwrap();
    assert!(found.hits[0].text.contains("line 100"), "{found:?}");
    let early = SearchRequest { until: Some(900), ..request.clone() };
    assert_eq!(it.bob.search(id, early).await.unwrap().hits, []);
    let broken = SearchRequest { pattern: "(".to_owned(), ..request };
    assert_eq!(it.bob.search(id, broken).await.unwrap_err().kind(), Kind::Invalid);
}

async fn recordings_outlive_their_sandbox(it: Stage) {
    let made = it.run(&["sh", "-c", "echo kept"]).await;
    let id = &made.sessions[0].id;
    it.alice.wait(id, WaitFor::Exit, Some(SOON)).await.unwrap();
    it.alice.remove(&made.id).await.unwrap();
    let kept = it.bob.recordings().await.unwrap();
    assert!(kept.iter().any(|it| it.session == *id), "{kept:?}");
    let mut stream = it.bob.export(id, Span::default()).await.unwrap();
    let mut cast = Vec::new();
    while let Some(piece) = next(&mut stream, "a recording").await {
        cast.extend_from_slice(&piece.unwrap());
    }
    let cast = String::from_utf8(cast).unwrap();
    assert!(cast.starts_with("{\"version\":3") && cast.contains("kept"), "{cast}");
    it.alice.remove_recording(id).await.unwrap();
    let kept = it.bob.recordings().await.unwrap();
    assert!(!kept.iter().any(|it| it.session == *id), "{kept:?}");
    assert_eq!(it.alice.remove_recording(id).await.unwrap_err().kind(), Kind::Absent);
    // One that is being written stays.
    let made = it.run(&["idle"]).await;
    let refused = it.alice.remove_recording(&made.sessions[0].id).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Busy, "{refused}");
}

async fn what_happened_is_read_in_pages_followed_and_looked_at(it: Stage) {
    let made = it.run(&["sh", "-c", "echo the needle; exit 3"]).await;
    let session = made.sessions[0].id.clone();
    let of = || TimelineRequest {
        sandbox: Some(made.name.clone()),
        most: 2,
        ..TimelineRequest::default()
    };
    let from = TimelineRequest { written_after: Some(Mark::default()), ..of() };
    let mut follow = it.bob.follow_timeline(from).await.unwrap();
    it.alice.wait(&session, WaitFor::Exit, Some(SOON)).await.unwrap();
    let mut seen = Vec::new();
    while !seen.iter().any(|it: &Happening| it.what == "session.ended") {
        seen.extend(next(&mut follow, "what happens").await.unwrap().unwrap().happenings);
    }
    // In pages, all of it once and in order.
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = it.bob.timeline(TimelineRequest { before, ..of() }).await.unwrap();
        assert!(page.happenings.len() <= 2 && page.happenings.is_sorted_by_key(|it| it.place));
        before = page.happenings.first().map(|it| it.place);
        all.splice(0..0, page.happenings);
        if !page.more {
            break;
        }
    }
    assert!(all.is_sorted_by_key(|it| it.place), "{all:?}");
    let whats: Vec<&str> = all.iter().map(|it| it.what.as_str()).collect();
    assert!(whats.contains(&"session.ended"), "{whats:?}");
    let only =
        TimelineRequest { session: Some(session.clone()), kinds: vec![What::Session], ..of() };
    let ended = it.alice.timeline(only).await.unwrap().happenings;
    assert_eq!(
        ended.last().map(|it| (it.what.as_str(), it.level)),
        Some(("session.ended", Level::Warning))
    );
    let nobody = TimelineRequest { sandbox: Some("nobody".to_owned()), ..of() };
    assert_eq!(it.alice.timeline(nobody).await.unwrap_err().kind(), Kind::Absent);
    // The screen then.
    let last = it.bob.replay(&session, Moment::At(Timestamp(i64::MAX))).await.unwrap();
    let screen = Screen::from_keyframe(last.size, &last.state);
    assert!(screen.lines().concat().contains("the needle"));
    let first = it.bob.replay(&session, Moment::Before(0)).await.unwrap();
    assert!(first.at_end && !first.steps.is_empty() && first.offset == 0, "{first:?}");
    let find =
        |pattern: &str| FindRequest { pattern: pattern.to_owned(), from: 0, backwards: false };
    let hit = it.bob.find(&session, find("NEEDLE".to_lowercase().as_str())).await.unwrap().hit;
    assert_eq!(hit.map(|it| it.line).as_deref(), Some("the needle"));
    assert_eq!(it.bob.find(&session, find("[")).await.unwrap_err().kind(), Kind::Invalid);
    // A sign is each operator's own, and no later than now.
    assert_eq!(it.alice.sign(Some(Timestamp(i64::MAX))).await.unwrap(), None);
    let before = it.alice.sign(None).await.unwrap().unwrap();
    assert!(before.0 < i64::MAX, "{before:?}");
    assert_eq!(it.alice.sign(Some(Timestamp(5))).await.unwrap(), Some(before));
    assert_eq!(it.alice.sign(None).await.unwrap(), Some(before), "it never goes back");
    assert_eq!(it.bob.sign(None).await.unwrap(), None);
}

async fn a_sandbox_is_paused_resumed_stopped_and_removed(it: Stage) {
    let made = it.run(&["idle"]).await;
    let state = || async { it.bob.list().await.unwrap().first().map(|it| it.state) };
    it.alice.pause(&made.id).await.unwrap();
    assert_eq!(state().await, Some(State::Paused));
    it.alice.resume(&made.id).await.unwrap();
    assert_eq!(state().await, Some(State::Running));
    it.alice.stop(&made.id, STOP_GRACE).await.unwrap();
    assert_eq!(state().await, Some(State::Stopped));
    it.alice.remove(&made.id).await.unwrap();
    assert_eq!(state().await, None);
}

async fn a_second_session_is_opened_and_resized(it: Stage) {
    let made = it.run(&["idle"]).await;
    let second = it.alice.open(&made.id, session(&["idle"])).await.unwrap();
    assert_eq!((second.ordinal, &second.sandbox), (2, &made.id));
    let size = Size::clamped(101, 33);
    it.alice.resize(&second.id, size).await.unwrap();
    assert_eq!(it.alice.screen(&second.id).await.unwrap().size, size);
}

async fn a_status_is_explained_as_long_as_the_session_is_known(it: Stage) {
    let made = it.run(&["sh"]).await;
    let id = &made.sessions[0].id;
    let becomes = async |status: Status| loop {
        let told = tokio::time::timeout(SOON, it.bob.explain(id)).await.unwrap().unwrap();
        if told.status == status {
            break told;
        }
        tokio::task::yield_now().await;
    };
    let told = becomes(Status::Idle).await;
    let decides = told.evidence.iter().filter(|it| it.1 == Weight::Decides);
    let words: Vec<&str> = decides.map(|it| it.0.words.as_str()).collect();
    assert_eq!((words, &told.session), (vec![told.why.as_str()], id));
    // A program by a script has no process, which is said.
    assert!(told.processes.all.is_empty() && !told.processes.notes.is_empty());
    it.alice.stop(&made.id, STOP_GRACE).await.unwrap();
    let told = becomes(Status::Exited).await;
    assert_eq!(told.evidence.last().map(|it| it.1), Some(Weight::Decides), "{told:?}");
}

async fn a_watcher_that_does_not_read_holds_up_nobody(it: Stage) {
    let made = it.run(&["sh", "-c", "for i in $(seq 1 60000); do echo some line $i; done"]).await;
    let id = &made.sessions[0].id;
    let stalled: Vec<_> = [
        it.bob.output(id, watch(From::Start, Fidelity::Full)).await.unwrap(),
        it.bob.output(id, watch(From::Now, Fidelity::Screen)).await.unwrap(),
    ]
    .into();
    let all = printed(&*it.bob, id).await;
    assert!(all.ends_with(b"some line 60000\r\n"), "{} bytes", all.len());
    drop(stalled);
}

async fn the_hub_and_the_machine_are_described(it: Stage) {
    it.run(&["idle"]).await;
    let status = it.alice.hub().await.unwrap();
    assert_eq!((status.pid, status.sandboxes, status.sessions), (std::process::id(), 1, 1));
    assert!(!it.alice.doctor().await.unwrap().is_empty());
}
