//! The shim: a process of its own that a hub may leave and come back to.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sandwatch::{
    base::{
        fault::{Fault, Kind},
        id::{SandboxId, SessionId},
        limits::RING_BYTES,
        units::Size,
    },
    driver::Ground,
    engine::shim_link::ShimLink,
    model::{
        output::{From, Output},
        sandbox::{SandboxSpec, Workspace, WorkspaceMode},
    },
    session::seat::{Seat, SeatEvent},
    shim::{listen, serve::serve},
    wire::shim::{Answer, Call, Frames, PROTOCOL, Welcome, answer, call, send},
};
use tokio::sync::watch;
use tokio_stream::StreamExt;

use crate::{
    given::{self, PROGRAM, session},
    session_place::{Bench, Outputs, SOON, found, full, numbers, screen, shell},
};

fn spec(driver: &str) -> SandboxSpec {
    let workspace = Workspace { path: PathBuf::new(), mode: WorkspaceMode::None };
    SandboxSpec { workspace, ..given::spec(driver, Path::new(""), &["count"]) }
}

struct Site {
    dir: tempfile::TempDir,
    ground: Ground,
}

impl Site {
    fn new() -> Self {
        Self::at("sandbox")
    }

    fn at(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ground = Ground {
            id: SandboxId::random(),
            name: "box".to_owned(),
            dir: dir.path().join(name),
            from: None,
        };
        std::fs::create_dir_all(&ground.dir).unwrap();
        Self { dir, ground }
    }

    async fn launch(&self, spec: &SandboxSpec) -> Box<dyn Seat> {
        let recordings = self.dir.path().join("recordings");
        ShimLink::launch(Path::new(PROGRAM), &self.ground, &recordings, (None, None), spec)
            .await
            .unwrap()
    }

    /// The process that has this directory in its command line.
    fn pid(&self) -> Option<rustix::process::Pid> {
        std::fs::read_dir("/proc").unwrap().find_map(|entry| {
            let entry = entry.ok()?;
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<_> = line.split(|it| *it == 0).collect();
            let own = words.get(1) == Some(&&b"shim"[..])
                && words.get(2) == Some(&self.ground.dir.as_os_str().as_encoded_bytes());
            own.then(|| rustix::process::Pid::from_raw(pid).unwrap())
        })
    }

    async fn ended(&self) {
        found("the shim ends", async || self.pid().is_none().then_some(())).await;
    }
}

async fn gone(events: &mut sandwatch::session::seat::BoxStream<SeatEvent>) -> String {
    let reason = async {
        while let Some(event) = events.next().await {
            if let SeatEvent::Gone { reason } = event {
                return reason;
            }
        }
        panic!("the feed ended without a word");
    };
    tokio::time::timeout(SOON, reason).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_outlives_its_hub_and_is_adopted_with_its_sessions() {
    let site = Site::new();
    let link = site.launch(&spec("fake")).await;
    let id = SessionId::random();
    link.open(id.clone(), session(&["count"])).await.unwrap();
    let mut outputs = Outputs(link.output(&id, full(From::Start)).await.unwrap());
    while !matches!(outputs.next().await, Some(Output::Chunk { .. })) {}
    drop((outputs, link));
    let link = ShimLink::adopt(&site.ground).await.unwrap();
    let mut events = link.events().await.unwrap();
    let Some(SeatEvent::Report(report)) = events.next().await else { panic!() };
    assert_eq!(report.sessions[0].id, id);
    let mut outputs = Outputs(link.output(&id, full(From::Start)).await.unwrap());
    let mut seen = String::new();
    while !seen.contains("line 3") {
        if let Some(Output::Chunk { bytes, .. }) = outputs.next().await {
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    link.remove().await.unwrap();
    assert_eq!(gone(&mut events).await, "it was removed");
    site.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_cannot_be_made_says_so_with_kind_and_hint() {
    let site = Site::new();
    let recordings = site.dir.path().join("recordings");
    let made = ShimLink::launch(
        Path::new(PROGRAM),
        &site.ground,
        &recordings,
        (None, None),
        &spec("nope"),
    )
    .await;
    let fault = made.err().unwrap();
    assert_eq!(fault.kind(), Kind::Invalid);
    assert!(fault.message().contains("no such driver"), "{fault}");
    assert!(fault.hint_text().is_some());
    site.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_no_shim_is_a_clear_error() {
    let site = Site::new();
    let recordings = site.dir.path().join("recordings");
    let spec = spec("fake");
    let made =
        ShimLink::launch(Path::new("/bin/true"), &site.ground, &recordings, (None, None), &spec);
    let fault = made.await.err().unwrap();
    assert!(fault.message().contains("the shim did not start"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_is_killed_is_told_with_the_signal() {
    let site = Site::new();
    let link = site.launch(&spec("fake")).await;
    let mut events = link.events().await.unwrap();
    rustix::process::kill_process(site.pid().unwrap(), rustix::process::Signal::KILL).unwrap();
    let reason = gone(&mut events).await;
    assert!(reason.contains("killed by signal 9"), "{reason}");
    let fault = link.resize(&SessionId::random(), Size::DEFAULT).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Lost);
    assert!(fault.message().contains("killed by signal 9"), "{fault}");
    let fault = ShimLink::adopt(&site.ground).await.err().unwrap();
    assert_eq!(fault.kind(), Kind::Lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_whose_directory_is_deleted_or_replaced_ends_itself() {
    for replaced in [false, true] {
        let site = Site::new();
        let link = site.launch(&spec("fake")).await;
        link.open(SessionId::random(), session(&["count"])).await.unwrap();
        assert!(site.pid().is_some());
        if replaced {
            std::fs::rename(&site.ground.dir, site.dir.path().join("elsewhere")).unwrap();
        } else {
            std::fs::remove_dir_all(&site.ground.dir).unwrap();
        }
        site.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_whose_time_is_over_ends() {
    let site = Site::new();
    let ttl = Some(Duration::from_millis(500));
    let link = site.launch(&SandboxSpec { ttl, ..spec("fake") }).await;
    let mut events = link.events().await.unwrap();
    gone(&mut events).await;
    site.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_path_may_be_longer_than_an_address_and_is_the_operators_alone() {
    let site = Site::at(&"deep/".repeat(40));
    let link = site.launch(&spec("fake")).await;
    let socket = site.ground.dir.join("shim.sock");
    assert!(socket.as_os_str().len() > 107);
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    ShimLink::adopt(&site.ground).await.unwrap();
    link.remove().await.unwrap();
    site.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_fails_at_something_is_not_lost() {
    let site = Site::new();
    let listener = listen(&site.ground.dir).unwrap();
    let sandbox = site.ground.id.to_string();
    let shim = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (reader, mut writer) = stream.into_split();
            // One that only looks whether somebody listens says nothing.
            let call = Frames::new(reader).next::<Call>().await.unwrap_or_default();
            let answer = match call.and_then(|it| it.what) {
                Some(call::What::Ping(_)) => answer::What::Welcome(Welcome {
                    protocol: PROTOCOL,
                    sandbox: sandbox.clone(),
                    ..Welcome::default()
                }),
                Some(call::What::Pause(_)) => {
                    answer::What::Fault((&Fault::lost("what it asked is gone")).into())
                }
                // Hangs up.
                _ => continue,
            };
            send(&mut writer, &Answer::from(answer)).await.unwrap();
        }
    });
    let link = ShimLink::adopt(&site.ground).await.unwrap();
    assert_eq!(link.pause().await, Err(Fault::lost("what it asked is gone")));
    let fault = link.resume().await.unwrap_err();
    assert_eq!((fault.kind(), fault.hint_text()), (Kind::Lost, None));
    assert_eq!(fault.message(), "the shim of box: the connection ended");
    shim.abort();
    assert!(shim.await.unwrap_err().is_cancelled());
    let fault = link.resume().await.unwrap_err();
    assert_eq!((fault.kind(), fault.hint_text()), (Kind::Lost, Some("sandwatch rm box")));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_socket_harms_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let site = Site::new();
    let link = site.launch(&spec("fake")).await;
    let socket = site.ground.dir.join("shim.sock");
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[4, 0, 0, 0, 9, 9, 9, 9], &[0; 4]]
    {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let read = stream.read_u32_le();
        let length = tokio::time::timeout(SOON, read).await.unwrap().unwrap();
        assert!(length > 0, "it is told what is wrong");
    }
    link.remove().await.unwrap();
    site.ended().await;
}

/// A shim's server in this process, over real PTYs.
fn served(bench: &Bench) -> (Ground, tokio::task::JoinHandle<()>) {
    let dir = bench.dir.path().join("sandbox");
    let ground =
        Ground { id: SandboxId::random(), name: "bench".to_owned(), dir: dir.clone(), from: None };
    let welcome = Welcome {
        protocol: PROTOCOL,
        version: "test".to_owned(),
        pid: 1,
        sandbox: ground.id.to_string(),
    };
    let seat: Arc<dyn Seat> = bench.house.clone();
    let listener = listen(&dir).unwrap();
    let serving = async move { serve(listener, seat, welcome, &watch::Sender::new(0)).await };
    (ground, tokio::spawn(serving))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_missing_however_often_the_hub_dies() {
    let bench = Bench::new(true);
    let (ground, _serving) = served(&bench);
    let wanted = numbers(300_000);
    assert!(wanted.len() > RING_BYTES);
    let id = SessionId::random();
    let mut seen = Vec::new();
    for life in 0..21 {
        let link = ShimLink::adopt(&ground).await.unwrap();
        if life == 0 {
            link.open(id.clone(), shell("seq 1 300000")).await.unwrap();
        }
        let request = full(From::Offset(seen.len() as u64));
        let mut outputs = Outputs(link.output(&id, request).await.unwrap());
        let until = if life == 20 { usize::MAX } else { seen.len() + 60_000 };
        while let Some(output) = outputs.next().await {
            match output {
                Output::Chunk { offset, bytes } => {
                    assert_eq!(offset, seen.len() as u64);
                    seen.extend_from_slice(&bytes);
                }
                Output::Keyframe { lost, .. } => assert_eq!(lost, 0),
                _ => {}
            }
            if seen.len() >= until {
                break;
            }
        }
    }
    assert!(seen == wanted.as_bytes(), "every number, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_typed_through_a_shim_are_echoed_and_do_not_wait_for_output() {
    let bench = Bench::new(false);
    let (ground, _serving) = served(&bench);
    let link = ShimLink::adopt(&ground).await.unwrap();
    let id = SessionId::random();
    link.open(id.clone(), shell("cat")).await.unwrap();
    // Watchers that never read.
    let mut stalled = Vec::new();
    for _ in 0..5 {
        let mut outputs = Outputs(link.output(&id, full(From::Now)).await.unwrap());
        outputs.next().await.unwrap();
        stalled.push(outputs);
    }
    let mut outputs = Outputs(link.output(&id, screen(From::Offset(0))).await.unwrap());
    for key in "hello".chars() {
        link.input(&id, key.to_string().into()).await.unwrap();
    }
    let mut seen = String::new();
    while !seen.contains("hello") {
        if let Some(Output::Chunk { bytes, .. }) = outputs.next().await {
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    let refused = link.input(&SessionId::random(), "x".into()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Absent);
    link.input(&id, "still works".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_through_a_shim_passes_everything_and_is_killed_with_its_caller() {
    use sandwatch::session::seat::ExecOutput;
    let bench = Bench::new(false);
    let (ground, _serving) = served(&bench);
    let link = ShimLink::adopt(&ground).await.unwrap();
    let input = vec![bytes::Bytes::from(vec![b'x'; 100_000]); 20];
    let stdin = Box::pin(tokio_stream::iter(input));
    let mut output = link.exec(shell("wc -c; exit 2"), stdin).await.unwrap();
    let mut stdout = Vec::new();
    let exit = loop {
        match output.next().await.unwrap().unwrap() {
            ExecOutput::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            ExecOutput::Stderr(_) => {}
            ExecOutput::Exit(status) => break status.code(),
        }
    };
    assert_eq!((stdout.trim_ascii(), exit), (&b"2000000"[..], 2));
    let stdin = Box::pin(tokio_stream::pending());
    let mut output = link.exec(shell("echo $$; exec sleep 1000"), stdin).await.unwrap();
    let Some(Ok(ExecOutput::Stdout(pid))) = output.next().await else { panic!() };
    let process = PathBuf::from(format!("/proc/{}", String::from_utf8_lossy(&pid).trim()));
    drop(output);
    found("the program is killed", async || (!process.exists()).then_some(())).await;
}
