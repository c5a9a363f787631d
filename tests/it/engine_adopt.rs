//! Shims outlive the engine that started them; the next one takes them over.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use prost::Message;
use rustix::process::Signal;
use sandwatch::{
    base::fault::{Fault, Kind, Outcome},
    driver::{Driver, Ground, Hosting, Place, fake::FakeDriver, registry::Registry},
    engine::{Engine, Options},
    model::{
        capability::Capabilities,
        check::Check,
        event::{Event, Level},
        sandbox::{Sandbox, SandboxSpec, State},
        session::ExitStatus,
    },
    runtime::{LeaseVerb, Runtime, WaitFor},
    wire::v1,
};

use crate::engine_support::{Instance, SOON, next, rows, who, whole_output};

/// The fake driver, held by shims; `stuck` makes its sweep fail.
#[derive(Clone, Default)]
struct Shimmed {
    stuck: Arc<AtomicBool>,
}

#[async_trait]
impl Driver for Shimmed {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn hosting(&self) -> Hosting {
        Hosting::Shim
    }
    fn capabilities(&self) -> Capabilities {
        FakeDriver::default().capabilities()
    }
    async fn probe(&self) -> Vec<Check> {
        Vec::new()
    }
    async fn create(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<Arc<dyn Place>> {
        FakeDriver::default().create(ground, spec).await
    }
    async fn sweep(&self, _ground: &Ground) -> Outcome<()> {
        match self.stuck.load(Ordering::SeqCst) {
            true => Err(Fault::failed("mount is busy")),
            false => Ok(()),
        }
    }
}

/// An engine whose sandboxes live in shims; what is left at the end goes with its directory.
struct Held {
    base: Instance,
    driver: Shimmed,
    engine: Option<(Engine, Arc<dyn Runtime>)>,
}

impl Held {
    async fn new() -> Self {
        let mut base = Instance::new().await;
        base.end();
        let mut held = Self { base, driver: Shimmed::default(), engine: None };
        held.restart().await;
        held
    }

    async fn restart(&mut self) {
        self.engine = None;
        let engine = Engine::open(Options {
            paths: self.base.paths(),
            drivers: Registry::default().with(self.driver.clone()),
            program: env!("CARGO_BIN_EXE_sandwatch").into(),
        });
        let engine = engine.await.unwrap();
        let client = engine.client(who("alice"));
        self.engine = Some((engine, client));
    }

    fn alice(&self) -> &dyn Runtime {
        self.engine.as_ref().unwrap().1.as_ref()
    }

    async fn run(&self, text: &str) -> Sandbox {
        self.alice().create(self.base.spec(&["sh", "-c", text])).await.unwrap()
    }

    fn shim_of(&self, sandbox: &Sandbox) -> u32 {
        let dir = self.base.paths().sandbox(&sandbox.id);
        pid_with_argument(&dir).expect("its shim runs")
    }
}

/// The process that was started with this argument.
fn pid_with_argument(argument: &Path) -> Option<u32> {
    let wanted = argument.as_os_str().as_encoded_bytes();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse::<u32>().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.split(|it| *it == 0).any(|it| it == wanted) {
            return Some(pid);
        }
    }
    None
}

fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn sandboxes_live_on_and_are_taken_over_with_everything() {
    let mut it = Held::new().await;
    let counts = "for i in $(seq 1 400); do echo n$i; sleep 0.005; done; exit 6";
    let mut sandboxes = Vec::new();
    for _ in 0..3 {
        sandboxes.push(it.run(counts).await);
    }
    let idle = it.run("cat").await;
    it.alice().lease(&idle.sessions[0].id, LeaseVerb::Take).await.unwrap();
    let ended = it.run("echo over; exit 9").await;
    it.alice().wait(&ended.sessions[0].id, WaitFor::Exit, Some(SOON)).await.unwrap();
    for _ in 0..4 {
        it.restart().await;
        let all = it.alice().list().await.unwrap();
        assert_eq!(all.len(), 5);
        let held = all.iter().find(|it| it.id == idle.id).unwrap();
        assert_eq!(held.state, State::Running);
        assert_eq!(held.sessions[0].lease.as_ref().unwrap().holder_name, "alice");
        let over = all.iter().find(|it| it.id == ended.id).unwrap();
        assert_eq!(over.sessions[0].exit, Some(ExitStatus::Code(9)));
    }
    for sandbox in &sandboxes {
        let id = &sandbox.sessions[0].id;
        it.alice().wait(id, WaitFor::Exit, Some(SOON)).await.unwrap();
        let text = whole_output(it.alice(), id).await;
        assert_eq!(text, (1..=400).map(|it| format!("n{it}\r\n")).collect::<String>());
        assert!(rows(it.alice(), id).await.iter().any(|it| it == "n400"));
    }
    assert!(whole_output(it.alice(), &ended.sessions[0].id).await.contains("over"));
    for sandbox in it.alice().list().await.unwrap() {
        it.alice().remove(&sandbox.id).await.unwrap();
    }
    assert_eq!(std::fs::read_dir(it.base.paths().sandboxes()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_lost_registry_is_rebuilt_from_living_shims() {
    let mut it = Held::new().await;
    let sandbox = it.run("cat").await;
    it.engine = None;
    for end in ["registry.db", "registry.db-wal", "registry.db-shm"] {
        drop(std::fs::remove_file(it.base.paths().state().join(end)));
    }
    it.restart().await;
    let all = it.alice().list().await.unwrap();
    assert_eq!((all.len(), &all[0].name, all[0].state), (1, &sandbox.name, State::Running));
    it.alice().input(&sandbox.sessions[0].id, "still here\r".into()).await.unwrap();
    it.alice().remove(&sandbox.id).await.unwrap();
}

#[tokio::test]
async fn a_shim_that_is_killed_takes_only_its_own_sandbox_and_everybody_is_told() {
    let mut it = Held::new().await;
    let (doomed, other) = (it.run("echo last; cat").await, it.run("cat").await);
    let id = &doomed.sessions[0].id;
    it.alice().wait(id, WaitFor::Text("last".to_owned()), Some(SOON)).await.unwrap();
    let mut events = it.alice().events().await.unwrap();
    let never = it.alice().wait(id, WaitFor::Text("never".to_owned()), Some(SOON));
    let killed = async { kill(it.shim_of(&doomed)) };
    let (never, ()) = tokio::join!(never, killed);
    assert_eq!(never.unwrap_err().kind(), Kind::Lost);
    let reason = loop {
        let event = next(&mut events, "the notice").await.unwrap().unwrap();
        match event {
            Event::Notice { notice, .. } if notice.sandbox.as_ref() == Some(&doomed.id) => {
                break notice.text;
            }
            _ => {}
        }
    };
    assert!(reason.contains("failed"), "{reason}");
    let state = async |it: &Held, id| {
        let all = it.alice().list().await.unwrap();
        all.into_iter().find(|it| it.id == id).unwrap().state
    };
    assert_eq!(state(&it, doomed.id.clone()).await, State::Failed);
    assert_eq!(state(&it, other.id.clone()).await, State::Running);
    assert!(whole_output(it.alice(), id).await.contains("last"));
    assert!(rows(it.alice(), id).await.iter().any(|it| it == "last"));
    kill(it.shim_of(&other));
    it.restart().await;
    assert_eq!(state(&it, other.id.clone()).await, State::Failed);
    for sandbox in [doomed, other] {
        it.alice().remove(&sandbox.id).await.unwrap();
    }
    assert_eq!(it.alice().list().await.unwrap(), []);
}

#[tokio::test]
async fn a_removal_that_fails_after_the_shim_has_ended_says_that_nothing_runs() {
    let it = Held::new().await;
    let sandbox = it.run("cat").await;
    it.driver.stuck.store(true, Ordering::SeqCst);
    it.alice().remove(&sandbox.id).await.unwrap_err();
    let found = &it.alice().list().await.unwrap()[0];
    assert_eq!(found.state, State::Failed, "{found:?}");
    assert!(found.notes.iter().any(|it| it.contains("mount is busy")), "{:?}", found.notes);
    it.driver.stuck.store(false, Ordering::SeqCst);
    it.alice().remove(&sandbox.id).await.unwrap();
}

#[tokio::test]
async fn scrollback_that_a_killed_shim_left_goes_with_its_sandbox() {
    let it = Held::new().await;
    let mut spec = it.base.spec(&["cat"]);
    spec.record = false;
    let sandbox = it.alice().create(spec).await.unwrap();
    let kept = || std::fs::read_dir(it.base.paths().recordings()).unwrap().count();
    assert_eq!(kept(), 1);
    kill(it.shim_of(&sandbox));
    crate::given::found("its end is noticed", async || {
        (it.alice().list().await.unwrap()[0].state == State::Failed).then_some(())
    })
    .await;
    it.alice().remove(&sandbox.id).await.unwrap();
    assert_eq!(kept(), 0);
}

#[tokio::test]
async fn a_sandbox_whose_making_was_not_noted_to_its_end_is_not_removed_while_its_shim_is_silent() {
    let mut it = Held::new().await;
    let sandbox = it.run("cat").await;
    it.engine = None;
    let registry = rusqlite::Connection::open(it.base.paths().registry()).unwrap();
    registry.busy_timeout(SOON).unwrap();
    let record: Vec<u8> =
        registry.query_row("SELECT record FROM sandbox", [], |row| row.get(0)).unwrap();
    let mut record = v1::Sandbox::decode(record.as_slice()).unwrap();
    record.state = v1::SandboxState::Creating.into();
    registry.execute("UPDATE sandbox SET record = ?1", [record.encode_to_vec()]).unwrap();
    drop(registry);
    let shim = it.shim_of(&sandbox);
    signal(shim, Signal::STOP);
    it.restart().await;
    assert_eq!(it.alice().list().await.unwrap()[0].state, State::Unknown);
    signal(shim, Signal::CONT);
    let id = &sandbox.sessions[0].id;
    crate::given::found("it answers again", async || {
        (it.alice().list().await.unwrap()[0].state == State::Running).then_some(())
    })
    .await;
    it.alice().input(id, "still here\r".into()).await.unwrap();
    it.alice().remove(&sandbox.id).await.unwrap();
}

/// Stands between a hub and a shim that lives; says something unreadable to the hub when told to.
struct Between {
    garble: tokio::sync::broadcast::Sender<()>,
}

impl Between {
    fn stand(dir: &Path) -> Self {
        let (socket, real) = (dir.join("shim.sock"), dir.join("real.sock"));
        std::fs::rename(&socket, &real).unwrap();
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let garble = tokio::sync::broadcast::Sender::new(1);
        let told = garble.clone();
        tokio::spawn(async move {
            while let Ok((mut hub, _)) = listener.accept().await {
                let (real, mut told) = (real.clone(), told.subscribe());
                tokio::spawn(async move {
                    let mut shim = tokio::net::UnixStream::connect(real).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut hub, &mut shim) => {}
                        _ = told.recv() => {
                            let said = [&7_u32.to_le_bytes()[..], b"garbage"].concat();
                            tokio::io::AsyncWriteExt::write_all(&mut hub, &said).await.unwrap();
                            drop(shim);
                            std::future::pending::<()>().await;
                        }
                    }
                });
            }
        });
        Self { garble }
    }
}

#[tokio::test]
async fn a_living_shim_that_says_what_cannot_be_read_is_asked_again_and_not_given_up() {
    let mut it = Held::new().await;
    let sandbox = it.run("cat").await;
    let id = &sandbox.sessions[0].id;
    it.engine = None;
    let between = Between::stand(&it.base.paths().sandbox(&sandbox.id));
    it.restart().await;
    let mut events = it.alice().events().await.unwrap();
    between.garble.send(()).unwrap();
    let mut states = Vec::new();
    while states.last() != Some(&State::Running) || !states.contains(&State::Unknown) {
        match next(&mut events, "it answers again").await.unwrap().unwrap() {
            Event::Changed { sandbox, .. } => states.push(sandbox.state),
            Event::Notice { notice, .. } => assert_ne!(notice.level, Level::Error, "{notice:?}"),
            _ => {}
        }
        assert!(!states.contains(&State::Failed), "{states:?}");
    }
    it.alice().input(id, "still here\r".into()).await.unwrap();
    it.alice().wait(id, WaitFor::Text("still here".to_owned()), Some(SOON)).await.unwrap();
    it.alice().remove(&sandbox.id).await.unwrap();
}

#[tokio::test]
async fn a_removed_sandbox_leaves_no_shim() {
    let it = Held::new().await;
    let sandbox = it.run("cat").await;
    let dir = it.base.paths().sandbox(&sandbox.id);
    assert!(pid_with_argument(&dir).is_some());
    it.alice().remove(&sandbox.id).await.unwrap();
    assert!(!dir.exists());
    // It says goodbye to its hub before it ends.
    while pid_with_argument(&dir).is_some() {
        tokio::task::yield_now().await;
    }
}
