//! One suite for every driver, chosen by capability: what it has must work, what it lacks must be
//! `Unsupported`. Each driver runs where it is hosted: in this process, or in a shim of its own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use sandwatch::{
    base::{
        clock,
        fault::Kind,
        id::{SandboxId, SessionId, SnapshotId},
        limits::STOP_GRACE,
        units::Size,
    },
    config::paths::Paths,
    driver::{
        Ground, Hosting, Kept, Shelf, Stillness, docker::Docker, fake::FakeDriver, local::Local,
        registry::Registry,
    },
    engine::shim_link::ShimLink,
    model::{
        change::{ApplyRequest, ChangeStatus, DiffPiece, DiffRequest},
        output::{Fidelity, From, Output},
        sandbox::{Isolation, SandboxSpec, State},
        session::{ExitStatus, SessionSpec},
    },
    runtime::{BoxStream, ExecOutput},
    session::{
        house::House,
        seat::{Seat, SeatEvent, SeatReport},
    },
    vt::Screen,
};

use crate::given::{PROGRAM, SOON, next, session, spec, watch};
use crate::{docker_stage, image_forms, runtimes};

/// One sandbox of one driver.
struct Stage {
    _temp: tempfile::TempDir,
    driver: Arc<dyn sandwatch::driver::Driver>,
    ground: Ground,
    seat: Arc<dyn Seat>,
    isolation: Option<Isolation>,
    project: std::path::PathBuf,
    recordings: std::path::PathBuf,
}

/// A sandbox, in the hub or behind a shim.
async fn seat(
    driver: &dyn sandwatch::driver::Driver,
    isolation: Option<Isolation>,
    ground: &Ground,
    project: &std::path::Path,
    recordings: &std::path::Path,
) -> Arc<dyn Seat> {
    let spec = SandboxSpec { isolation, ..spec(driver.name(), project, &["sh"]) };
    seat_of(driver, spec, ground, recordings).await
}

async fn seat_of(
    driver: &dyn sandwatch::driver::Driver,
    mut spec: SandboxSpec,
    ground: &Ground,
    recordings: &std::path::Path,
) -> Arc<dyn Seat> {
    if driver.name() == "docker" {
        docker_stage::name_engine(ground, &mut spec);
    }
    match driver.hosting() {
        Hosting::Hub => {
            let place = driver.create(ground, &spec).await.unwrap();
            Arc::new(House::new(ground.clone(), place, recordings.to_owned(), true))
        }
        Hosting::Elsewhere => panic!("such a sandbox is made where it is kept"),
        Hosting::Shim => {
            ShimLink::launch(PROGRAM.as_ref(), ground, recordings, (None, None), &spec)
                .await
                .unwrap()
                .into()
        }
    }
}

impl Stage {
    /// `subject` is a driver or, after a `_`, one of its grades.
    async fn new(registry: &Registry, subject: &str) -> Self {
        let (driver, grade) = subject.split_once('_').unwrap_or((subject, "auto"));
        let isolation = Isolation::from_word(grade);
        let temp = tempfile::tempdir().unwrap();
        let paths = Paths::under(&temp.path().join("home"));
        paths.prepare().unwrap();
        let project = temp.path().join("project");
        std::fs::create_dir(&project).unwrap();
        let id = SandboxId::random();
        let ground = Ground { dir: paths.sandbox(&id), id, name: "stage".to_owned(), from: None };
        std::fs::create_dir(&ground.dir).unwrap();
        let driver = registry.get(driver).unwrap();
        let recordings = paths.recordings();
        let seat = seat(&*driver, isolation, &ground, &project, &recordings).await;
        Self { _temp: temp, driver, ground, seat, isolation, project, recordings }
    }

    async fn open(&self, text: &str) -> SessionId {
        self.open_spec(session(&["sh", "-c", text])).await
    }

    async fn open_spec(&self, spec: SessionSpec) -> SessionId {
        self.seat.open(SessionId::random(), spec).await.unwrap().id
    }

    /// Everything a session prints, and how it ended.
    async fn whole(&self, id: &SessionId) -> (String, ExitStatus) {
        let request = watch(From::Start, Fidelity::Full);
        let mut stream = self.seat.output(id, request).await.unwrap();
        let mut text = Vec::new();
        loop {
            match next(&mut stream, "the end of the program").await.unwrap().unwrap() {
                Output::Chunk { bytes, .. } => text.extend_from_slice(&bytes),
                Output::Exit { status, .. } => {
                    return (String::from_utf8_lossy(&text).into_owned(), status);
                }
                _ => {}
            }
        }
    }

    /// Waits until the screen of a session shows a text.
    async fn shows(&self, id: &SessionId, text: &str) {
        shows(&*self.seat, id, text).await;
    }

    async fn typed(&self, id: &SessionId, text: &str) {
        self.seat.input(id, Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
    }

    async fn exec(
        &self,
        text: &str,
        stdin: &[&str],
    ) -> BoxStream<sandwatch::base::fault::Outcome<ExecOutput>> {
        let pieces: Vec<Bytes> =
            stdin.iter().map(|it| Bytes::copy_from_slice(it.as_bytes())).collect();
        let spec = session(&["sh", "-c", text]);
        self.seat.exec(spec, Box::pin(tokio_stream::iter(pieces))).await.unwrap()
    }

    async fn report(&self, so: impl Fn(&SeatReport) -> bool) -> SeatReport {
        let mut events = self.seat.events().await.unwrap();
        loop {
            match next(&mut events, "a report as wanted").await.unwrap() {
                SeatEvent::Report(report) if so(&report) => return *report,
                SeatEvent::Gone { reason } => panic!("gone: {reason}"),
                _ => {}
            }
        }
    }

    async fn end(self) {
        self.seat.remove().await.unwrap();
        self.driver.sweep(&self.ground).await.unwrap();
    }
}

/// Waits until the screen of a session shows a text; all that it shows then.
async fn shows(seat: &dyn Seat, id: &SessionId, text: &str) -> Vec<String> {
    let mut stream = seat.output(id, watch(From::Now, Fidelity::Screen)).await.unwrap();
    let mut screen = Screen::new(Size::DEFAULT);
    while !screen.lines().iter().any(|it| it.contains(text)) {
        match next(&mut stream, text).await.unwrap().unwrap() {
            Output::Keyframe { size, state, .. } => screen = Screen::from_keyframe(size, &state),
            Output::Chunk { bytes, .. } => drop(screen.feed(&bytes)),
            Output::Resize { size, .. } => screen.resize(size),
            Output::Fact { .. } => {}
            Output::Exit { status, .. } => panic!("ended with {status:?}: {:?}", screen.lines()),
        }
    }
    screen.lines()
}

async fn collect(
    mut stream: BoxStream<sandwatch::base::fault::Outcome<ExecOutput>>,
) -> (String, String, ExitStatus) {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    loop {
        match next(&mut stream, "the end of the program").await.unwrap().unwrap() {
            ExecOutput::Stdout(bytes) => out.extend_from_slice(&bytes),
            ExecOutput::Stderr(bytes) => errors.extend_from_slice(&bytes),
            ExecOutput::Exit(status) => {
                let text = |it: Vec<u8>| String::from_utf8(it).unwrap();
                return (text(out), text(errors), status);
            }
        }
    }
}

async fn a_report_shows_what_create_made(stage: Stage) {
    let report = stage.report(|_| true).await;
    assert_eq!((report.sandbox, report.state), (stage.ground.id.clone(), State::Running));
    assert!(report.facts.isolation.is_some());
    assert!(stage.isolation.is_none_or(|it| report.facts.isolation == Some(it)));
    for ((word, promised), (_, there)) in
        stage.driver.capabilities().words().into_iter().zip(report.facts.capabilities.words())
    {
        // A grade that was asked for may lack what the driver's own has; what it has is tried all the same.
        let lacks: &[&str] = match stage.isolation {
            Some(Isolation::Gvisor) => &["limits.pids", "egress.ask"],
            Some(Isolation::Oci) => &["egress.ask", "gpu"],
            // The machine's, where it has any.
            _ => &["gpu"],
        };
        assert!(there || !promised || lacks.contains(&word), "{word} was promised");
    }
    stage.end().await;
}

async fn a_program_prints_and_ends_with_its_code(stage: Stage) {
    let cases = [
        ("echo hello; exit 3", "hello\r\n", ExitStatus::Code(3)),
        ("true", "", ExitStatus::Code(0)),
        ("kill -9 $$", "", ExitStatus::Signal(9)),
        ("seq 1 3", "1\r\n2\r\n3\r\n", ExitStatus::Code(0)),
    ];
    for (text, printed, status) in cases {
        let id = stage.open(text).await;
        assert_eq!(stage.whole(&id).await, (printed.to_owned(), status), "{text}");
        let seen = stage.report(|it| it.sessions.iter().any(|it| it.id == id && it.exit.is_some()));
        let session = seen.await.sessions.into_iter().find(|it| it.id == id).unwrap();
        assert_eq!(session.exit, Some(status), "{text}");
    }
    stage.end().await;
}

async fn a_program_that_is_not_there_is_told(stage: Stage) {
    let spec = session(&["surely-no-such-program"]);
    match stage.seat.open(SessionId::random(), spec).await {
        Err(fault) => assert!(fault.message().contains("surely-no-such-program"), "{fault}"),
        Ok(session) => assert_eq!(stage.whole(&session.id).await.1, ExitStatus::Code(127)),
    }
    stage.end().await;
}

async fn a_program_sees_its_size_and_every_resize(stage: Stage) {
    let size = Size::clamped(91, 17);
    let id = stage.open_spec(SessionSpec { size, ..session(&["sh"]) }).await;
    stage.typed(&id, "stty size\r").await;
    stage.shows(&id, "17 91").await;
    stage.seat.resize(&id, Size::clamped(120, 40)).await.unwrap();
    stage.typed(&id, "stty size\r").await;
    stage.shows(&id, "40 120").await;
    stage.end().await;
}

async fn a_program_without_a_terminal_has_three_streams(stage: Stage) {
    if !stage.driver.capabilities().exec {
        let stdin = Box::pin(tokio_stream::empty());
        let Err(fault) = stage.seat.exec(session(&["true"]), stdin).await else { panic!("ran") };
        assert_eq!(fault.kind(), Kind::Unsupported);
        return stage.end().await;
    }
    let (out, errors, status) =
        collect(stage.exec("echo out; echo oops >&2; exit 4", &[]).await).await;
    assert_eq!((out.as_str(), errors.as_str()), ("out\n", "oops\n"));
    assert_eq!(status, ExitStatus::Code(4));
    let (out, ..) = collect(stage.exec("cat", &["one ", "two"]).await).await;
    assert_eq!(out, "one two");
    stage.end().await;
}

async fn what_was_changed_is_told(stage: Stage) {
    let spec = spec(stage.driver.name(), &stage.project, &["sh"]);
    let of = Kept::Ground(stage.ground.clone(), Box::new(spec));
    let all = DiffRequest::default();
    if !stage.driver.capabilities().workspace_diff {
        let changes = stage.driver.changes(&of, None, all).await;
        assert_eq!(changes.err().map(|it| it.kind()), Some(Kind::Unsupported));
        let applied = stage.driver.apply(&stage.ground, clock::wall(), &ApplyRequest::default());
        assert_eq!(applied.unwrap_err().kind(), Kind::Unsupported);
        let taken_back = stage.driver.take_back(&stage.ground, false);
        assert_eq!(taken_back.unwrap_err().kind(), Kind::Unsupported);
        return stage.end().await;
    }
    collect(stage.exec("echo x > made", &[]).await).await;
    stage.driver.fetch(&of, None, &all).await.unwrap();
    let changes = stage.driver.changes(&of, None, all).await.unwrap();
    let pieces: Vec<_> = changes.map(Result::unwrap).collect();
    let [DiffPiece::File(made), DiffPiece::End { git_left_out: 0 }] = &pieces[..] else {
        panic!("{pieces:?}")
    };
    assert_eq!((made.path.as_slice(), made.status), (&b"made"[..], ChangeStatus::Added));
    the_whole_system_is_told_of(&stage, &of).await;
    let applied = stage.driver.apply(&stage.ground, clock::wall(), &ApplyRequest::default());
    assert_eq!(applied.unwrap().paths.len(), 1);
    let taken_back = stage.driver.take_back(&stage.ground, false).unwrap();
    assert_eq!((taken_back.paths.len(), taken_back.refused()), (1, false));
    stage.end().await;
}

/// What changed in all of a system, below these paths of it.
async fn told(
    stage: &Stage,
    of: &Kept,
    against: Option<&Shelf>,
    paths: &[&[u8]],
) -> Vec<(Vec<u8>, ChangeStatus)> {
    let paths = paths.iter().map(|it| it.to_vec()).collect();
    let request = DiffRequest { system: true, paths, ..DiffRequest::default() };
    stage.driver.fetch(of, against, &request).await.unwrap();
    let changes = stage.driver.changes(of, against, request).await.unwrap();
    let files = changes.filter_map(|it| match it.unwrap() {
        DiffPiece::File(it) => Some((it.path, it.status)),
        _ => None,
    });
    files.collect()
}

/// A moment is held against the start, and what goes on against the moment.
async fn what_a_moment_holds_is_told(stage: &Stage, spec: &SandboxSpec, shelf: &Shelf) {
    if !stage.driver.capabilities().workspace_diff {
        return;
    }
    let moment = Kept::Shelf(shelf.clone(), Box::new(spec.clone()));
    let now = Kept::Ground(stage.ground.clone(), Box::new(spec.clone()));
    let path = b"tmp/moment";
    let one = |status| vec![(path.to_vec(), status)];
    assert_eq!(told(stage, &moment, None, &[b"tmp"]).await, one(ChangeStatus::Added));
    assert_eq!(told(stage, &now, Some(shelf), &[b"tmp"]).await, one(ChangeStatus::Modified));
    assert_eq!(told(stage, &moment, Some(shelf), &[]).await, []);
    let workspace = |of| {
        let request = DiffRequest::default();
        async move {
            stage.driver.fetch(of, Some(shelf), &request).await.unwrap();
            let changes = stage.driver.changes(of, Some(shelf), request).await.unwrap();
            changes.map(Result::unwrap).collect::<Vec<_>>()
        }
    };
    collect(stage.exec("echo x > after", &[]).await).await;
    let pieces = workspace(&now).await;
    let [DiffPiece::File(after), DiffPiece::End { .. }] = &pieces[..] else { panic!("{pieces:?}") };
    assert_eq!((after.path.as_slice(), after.status), (&b"after"[..], ChangeStatus::Added));
    assert_eq!(workspace(&moment).await, [DiffPiece::End { git_left_out: 0 }]);
}

/// With the workspace in it, at its place; only what was asked for, also there.
async fn the_whole_system_is_told_of(stage: &Stage, of: &Kept) {
    let made = stage.project.join("made");
    let made = made.strip_prefix("/").unwrap().to_str().unwrap().as_bytes().to_vec();
    collect(stage.exec("mkdir -p /tmp/deep/er; echo y > /tmp/deep/er/here", &[]).await).await;
    let told = async |paths: &[&[u8]]| told(stage, of, None, paths).await;
    let there = (b"tmp/deep/er/here".to_vec(), ChangeStatus::Added);
    let made = (made, ChangeStatus::Added);
    let all = told(&[]).await;
    assert!(all.contains(&there) && all.contains(&made), "{all:?}");
    assert_eq!(told(&[b"tmp/deep"]).await, [there]);
    assert_eq!(told(&[&made.0]).await, [made]);
}

async fn a_moment_is_kept_and_begun_with(stage: Stage) {
    let can = stage.driver.capabilities().snapshot;
    let dir = stage.ground.dir.with_file_name("shelf");
    std::fs::create_dir(&dir).unwrap();
    let mut shelf = Shelf { id: SnapshotId::random(), dir, reference: None };
    let spec = spec(stage.driver.name(), &stage.project, &["sh"]);
    if !can {
        let kept = stage.driver.snapshot(&stage.ground, &spec, &shelf, None, Stillness::Live).await;
        assert_eq!(kept.unwrap_err().kind(), Kind::Unsupported);
        let vacated = stage.driver.vacate(&stage.ground).await;
        assert_eq!(vacated.unwrap_err().kind(), Kind::Unsupported);
        return stage.end().await;
    }
    collect(stage.exec("echo kept > /tmp/moment", &[]).await).await;
    let held = stage.seat.hold(false).await.unwrap();
    let kept = stage.driver.snapshot(&stage.ground, &spec, &shelf, None, Stillness::Live).await;
    drop(held);
    shelf.reference = kept.unwrap().reference;
    // It goes on, and what it does now is not kept.
    collect(stage.exec("echo later > /tmp/moment", &[]).await).await;
    what_a_moment_holds_is_told(&stage, &spec, &shelf).await;
    let ground = Ground {
        id: SandboxId::random(),
        name: "again".to_owned(),
        dir: stage.ground.dir.with_file_name("again"),
        from: Some(shelf.clone()),
    };
    std::fs::create_dir(&ground.dir).unwrap();
    // Twice in the same place: the second time it is made anew.
    for _ in 0..2 {
        let again =
            seat(&*stage.driver, stage.isolation, &ground, &stage.project, &stage.recordings).await;
        let command = session(&["sh", "-c", "cat /tmp/moment"]);
        let (out, ..) =
            collect(again.exec(command, Box::pin(tokio_stream::empty())).await.unwrap()).await;
        assert_eq!(out, "kept\n");
        again.vacate().await.unwrap();
        stage.driver.vacate(&ground).await.unwrap();
    }
    stage.driver.sweep(&ground).await.unwrap();
    stage.driver.forget(&shelf).await.unwrap();
    stage.driver.forget(&shelf).await.unwrap();
    let (out, ..) = collect(stage.exec("cat /tmp/moment", &[]).await).await;
    assert_eq!(out, "later\n");
    stage.end().await;
}

/// Counts what it is told, on its terminal.
const COUNTS: &str = "n=0; while read -r word; do n=$((n+1)); echo $word-$n; \
                      [ $word != size ] || stty size; done; exit 9";

async fn programs_are_kept_in_the_middle_of_what_they_do(stage: Stage) {
    if !stage.report(|_| true).await.facts.capabilities.snapshot_memory {
        assert_eq!(stage.seat.hold(true).await.err().unwrap().kind(), Kind::Unsupported);
        return stage.end().await;
    }
    let ended = stage.open("exit 3").await;
    stage.whole(&ended).await;
    let first = stage.open(COUNTS).await;
    stage.open("sleep 1000").await;
    stage.typed(&first, "one\n").await;
    stage.shows(&first, "one-1").await;
    let dir = stage.ground.dir.with_file_name("shelf");
    std::fs::create_dir(&dir).unwrap();
    let shelf = Shelf { id: SnapshotId::random(), dir, reference: None };
    let spec = spec(stage.driver.name(), &stage.project, &["sh"]);
    let spec = SandboxSpec { isolation: stage.isolation, awake: true, ..spec };
    let held = stage.seat.hold(true).await.unwrap();
    stage.typed(&first, "meanwhile\n").await;
    let written = Stillness::Written;
    let kept = stage.driver.snapshot(&stage.ground, &spec, &shelf, None, written).await.unwrap();
    assert!(kept.size_bytes.is_some_and(|it| it > 100_000), "{kept:?}");
    drop(held);
    stage.shows(&first, "meanwhile-2").await;
    let ground = Ground {
        id: SandboxId::random(),
        name: "again".to_owned(),
        dir: stage.ground.dir.with_file_name("again"),
        from: Some(shelf.clone()),
    };
    std::fs::create_dir(&ground.dir).unwrap();
    // Once more from what goes on from it.
    for turn in ["two", "three"] {
        let again = seat_of(&*stage.driver, spec.clone(), &ground, &stage.recordings).await;
        let mut events = again.events().await.unwrap();
        let report = loop {
            match next(&mut events, "a report").await.unwrap() {
                SeatEvent::Report(report) => break report,
                other => drop(other),
            }
        };
        let [counts, sleeps] = &report.sessions[..] else { panic!("{report:?}") };
        assert_eq!(counts.command, session(&["sh", "-c", COUNTS]).command);
        let screen = shows(&*again, &counts.id, "one-1").await;
        assert!(!screen.iter().any(|it| it.contains("meanwhile")), "{screen:?}");
        again.input(&counts.id, Bytes::from(format!("{turn}\n"))).await.unwrap();
        shows(&*again, &counts.id, &format!("{turn}-2")).await;
        again.resize(&counts.id, Size::clamped(97, 31)).await.unwrap();
        again.input(&counts.id, "size\n".into()).await.unwrap();
        shows(&*again, &counts.id, "31 97").await;
        // The end of input, and an interrupt.
        again.input(&counts.id, "\x04".into()).await.unwrap();
        again.input(&sleeps.id, "\x03".into()).await.unwrap();
        loop {
            let SeatEvent::Report(report) = next(&mut events, "both ends").await.unwrap() else {
                continue;
            };
            let ends: Vec<_> = report.sessions.iter().map(|it| it.exit).collect();
            let two = [Some(ExitStatus::Code(9)), Some(ExitStatus::Signal(2))];
            if ends == two {
                break;
            }
            assert!(ends.iter().zip(two).all(|(it, end)| it.is_none() || *it == end), "{ends:?}");
        }
        again.vacate().await.unwrap();
        stage.driver.vacate(&ground).await.unwrap();
    }
    stage.driver.sweep(&ground).await.unwrap();
    stage.driver.forget(&shelf).await.unwrap();
    stage.typed(&first, "last\n").await;
    stage.shows(&first, "last-3").await;
    stage.end().await;
}

async fn an_image_is_what_a_sandbox_stands_on(stage: Stage) {
    let offered = stage.report(|_| true).await.facts.capabilities.image;
    assert!(offered || !stage.driver.capabilities().image);
    if !offered || !image_forms::can() {
        return stage.end().await;
    }
    let ground = Ground {
        id: SandboxId::random(),
        name: "over".to_owned(),
        dir: stage.ground.dir.with_file_name("over"),
        from: None,
    };
    std::fs::create_dir(&ground.dir).unwrap();
    let image = image_forms::root(stage.project.parent().unwrap());
    let spec = SandboxSpec {
        isolation: stage.isolation,
        image: Some(image.display().to_string()),
        ..spec(stage.driver.name(), &stage.project, &["sh"])
    };
    let over = seat_of(&*stage.driver, spec, &ground, &stage.recordings).await;
    let look =
        session(&["sh", "-c", "readlink /bin/cat; id -u; pwd; echo x > made; echo y > /etc/y"]);
    let ran = over.exec(look, Box::pin(tokio_stream::empty())).await.unwrap();
    let (out, errors, status) = collect(ran).await;
    let found = format!("{}\n0\n{}\n", "busybox", stage.project.display());
    assert_eq!((out, errors, status), (found, String::new(), ExitStatus::Code(0)));
    assert!(!stage.project.join("made").exists() && !image.join("etc/y").exists());
    over.remove().await.unwrap();
    stage.driver.sweep(&ground).await.unwrap();
    stage.end().await;
}

async fn pause_stops_output_and_resume_loses_nothing(stage: Stage) {
    if !stage.driver.capabilities().pause {
        assert_eq!(stage.seat.pause().await.unwrap_err().kind(), Kind::Unsupported);
        return stage.end().await;
    }
    let id = stage.open("for i in $(seq 1 150); do echo n$i; sleep 0.01; done").await;
    stage.shows(&id, "n10").await;
    stage.seat.pause().await.unwrap();
    stage.seat.pause().await.unwrap();
    let bytes = |report: SeatReport| report.sessions[0].output_bytes;
    stage.report(|it| it.state == State::Paused).await;
    // What was on its way arrives; after that nothing does.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let then = bytes(stage.report(|_| true).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bytes(stage.report(|_| true).await), then);
    stage.seat.resume().await.unwrap();
    stage.seat.resume().await.unwrap();
    let (text, status) = stage.whole(&id).await;
    assert_eq!(text, (1..=150).map(|it| format!("n{it}\r\n")).collect::<String>());
    assert_eq!(status, ExitStatus::Code(0));
    stage.end().await;
}

async fn a_paused_sandbox_can_be_stopped_and_a_stopped_one_starts_nothing(stage: Stage) {
    if !stage.driver.capabilities().stop {
        assert_eq!(stage.seat.stop(STOP_GRACE).await.unwrap_err().kind(), Kind::Unsupported);
        return stage.end().await;
    }
    let id = stage.open("sleep 1000").await;
    if stage.driver.capabilities().pause {
        stage.seat.pause().await.unwrap();
    }
    stage.seat.stop(Duration::from_millis(200)).await.unwrap();
    stage.seat.stop(Duration::from_millis(200)).await.unwrap();
    let ended = |it: &SeatReport| it.sessions.iter().all(|it| it.exit.is_some());
    let report = stage.report(|it| it.state == State::Stopped && ended(it)).await;
    let session = report.sessions.iter().find(|it| it.id == id).unwrap();
    assert!(
        matches!(session.exit, Some(ExitStatus::Signal(_) | ExitStatus::Code(_))),
        "{session:?}"
    );
    assert!(stage.seat.open(SessionId::random(), session_sh()).await.is_err());
    stage.end().await;
}

fn session_sh() -> SessionSpec {
    session(&["sh"])
}

async fn remove_leaves_nothing_and_may_be_repeated(stage: Stage) {
    stage.open("sleep 1000").await;
    let report = stage.report(|it| !it.sessions.is_empty()).await;
    let pid = report.sessions[0].pid;
    stage.seat.remove().await.unwrap();
    for _ in 0..2 {
        match stage.seat.remove().await {
            Ok(()) => {}
            // Its host went with it.
            Err(fault) => assert!(matches!(fault.kind(), Kind::Lost | Kind::Absent), "{fault}"),
        }
        stage.driver.sweep(&stage.ground).await.unwrap();
    }
    if let Some(pid) = pid {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} lives");
    }
    if stage.driver.hosting() == Hosting::Shim {
        assert!(!stage.ground.dir.exists(), "its directory is left");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(stage.ground.id.as_str()), "a mount is left");
}

async fn a_hundred_kilobytes_of_input_arrive(stage: Stage) {
    let id = stage.open("stty raw -echo; echo ready; head -c 102400 | wc -c; exit 0").await;
    stage.shows(&id, "ready").await;
    let piece = Bytes::from(vec![b'x'; 4096]);
    for _ in 0..25 {
        let deadline = tokio::time::Instant::now() + SOON;
        while let Err(fault) = stage.seat.input(&id, piece.clone()).await {
            assert_eq!(fault.kind(), Kind::Busy);
            assert!(tokio::time::Instant::now() < deadline, "the program never reads on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let (text, _) = stage.whole(&id).await;
    assert!(text.contains("102400"), "{text:?}");
    stage.end().await;
}

async fn many_programs_run_side_by_side(stage: Stage) {
    let mut ids = Vec::new();
    for number in 0..8 {
        ids.push(stage.open(&format!("sleep 0.05; echo program {number}; exit {number}")).await);
    }
    for (number, id) in ids.iter().enumerate() {
        let status = ExitStatus::Code(i32::try_from(number).unwrap());
        assert_eq!(stage.whole(id).await, (format!("program {number}\r\n"), status));
    }
    let report = stage.report(|it| it.sessions.len() == 8).await;
    let ordinals: Vec<_> = report.sessions.iter().map(|it| it.ordinal).collect();
    assert_eq!(ordinals, (1..=8).collect::<Vec<u32>>());
    stage.end().await;
}

async fn a_flood_arrives_whole(stage: Stage) {
    let id = stage.open("seq 1 200000").await;
    let (text, status) = stage.whole(&id).await;
    assert_eq!(status, ExitStatus::Code(0));
    assert!(text.lines().zip(1..).all(|(line, number): (&str, u32)| line == number.to_string()));
    assert_eq!(text.lines().count(), 200_000);
    stage.end().await;
}

/// The suite, once for each driver that can run here.
macro_rules! suite {
    ($driver:ident: $registry:expr, $reason:expr) => {
        mod $driver {
            use super::*;
            suite!(@cases $driver, $registry, $reason;
                a_report_shows_what_create_made
                a_program_prints_and_ends_with_its_code
                a_program_that_is_not_there_is_told
                a_program_sees_its_size_and_every_resize
                a_program_without_a_terminal_has_three_streams
    what_was_changed_is_told
                a_moment_is_kept_and_begun_with
                programs_are_kept_in_the_middle_of_what_they_do
                an_image_is_what_a_sandbox_stands_on
                pause_stops_output_and_resume_loses_nothing
                a_paused_sandbox_can_be_stopped_and_a_stopped_one_starts_nothing
                remove_leaves_nothing_and_may_be_repeated
                a_hundred_kilobytes_of_input_arrive
                many_programs_run_side_by_side
                a_flood_arrives_whole
            );
        }
    };
    (@cases $driver:ident, $registry:expr, $reason:expr; $($case:ident)*) => {$(
        #[tokio::test]
        async fn $case() {
            if let Some(skip) = $reason {
                return skip();
            }
            let registry: Registry = $registry;
            super::$case(Stage::new(&registry, stringify!($driver)).await).await;
        }
    )*};
}

// Rootless or root, namespaces or landlock: there is always something to run in.
suite!(local: Registry::default().with(Local), None::<fn()>);
suite!(local_oci: Registry::default().with(Local), runtimes::reason(Isolation::Oci));
suite!(local_gvisor: Registry::default().with(Local), runtimes::reason(Isolation::Gvisor));
suite!(
    docker: Registry::default().with(Docker),
    docker_stage::reason()
);
suite!(fake: Registry::default().with(FakeDriver::default()), None::<fn()>);
