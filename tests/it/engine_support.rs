//! An engine over the fake driver in a directory of its own, and helpers to watch it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use sandwatch::{
    base::{
        fault::Outcome,
        id::{ClientId, SessionId},
        units::Size,
    },
    config::paths::Paths,
    driver::{fake::FakeDriver, registry::Registry},
    engine::{Engine, Options},
    model::{
        output::{Fidelity, From, Output, OutputRequest},
        sandbox::{Egress, ResourceLimits, Sandbox, SandboxSpec, Workspace, WorkspaceMode},
        session::SessionSpec,
    },
    runtime::{BoxStream, Identity, Runtime},
    vt::Screen,
};
use tokio_stream::StreamExt;

/// Longest wait for anything that must happen; only a failure takes that long.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn who(name: &str) -> Identity {
    Identity { client: ClientId::parse(name).unwrap(), name: name.to_owned() }
}

/// One instance: a home, a workspace, an engine, and the fake driver under it.
pub(crate) struct Instance {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) fake: FakeDriver,
    pub(crate) engine: Option<Engine>,
    client: Option<Arc<dyn Runtime>>,
}

impl Instance {
    pub(crate) async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("project")).unwrap();
        let fake = FakeDriver::default();
        let engine = open(&temp.path().join("home"), &fake).await.unwrap();
        let client = Some(engine.client(who("alice")));
        Self { temp, fake, engine: Some(engine), client }
    }

    /// Drops the engine and everything that holds it.
    pub(crate) fn end(&mut self) {
        (self.engine, self.client) = (None, None);
        self.fake = FakeDriver::default();
    }

    /// Ends the engine as a crash would, and starts the next one on the same directories.
    pub(crate) async fn restart(&mut self) {
        self.end();
        let engine = open(&self.home(), &self.fake).await.unwrap();
        self.client = Some(engine.client(who("alice")));
        self.engine = Some(engine);
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.temp.path().join("home")
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths::under(&self.home())
    }

    /// The first client.
    pub(crate) fn alice(&self) -> &dyn Runtime {
        self.client.as_deref().unwrap()
    }

    pub(crate) fn client(&self, name: &str) -> Arc<dyn Runtime> {
        self.engine.as_ref().unwrap().client(who(name))
    }

    pub(crate) fn spec(&self, command: &[&str]) -> SandboxSpec {
        let path = self.temp.path().join("project");
        SandboxSpec {
            name: None,
            driver: "fake".to_owned(),
            isolation: None,
            image: None,
            workspace: Workspace { path, mode: WorkspaceMode::Cow },
            egress: Egress::Ask,
            allow: Vec::new(),
            limits: ResourceLimits::default(),
            env: Vec::new(),
            ttl: None,
            labels: BTreeMap::new(),
            record: true,
            remove_on_exit: false,
            first: session(command),
        }
    }

    pub(crate) async fn run(&self, command: &[&str]) -> Sandbox {
        self.alice().create(self.spec(command)).await.unwrap()
    }

    /// The newest picture of a sandbox once it is as wanted.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&[Sandbox]) -> bool) -> Vec<Sandbox> {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let all = self.alice().list().await.unwrap();
            if so(&all) {
                return all;
            }
            assert!(tokio::time::Instant::now() < deadline, "never: {what}: {all:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) async fn open(home: &std::path::Path, fake: &FakeDriver) -> Outcome<Engine> {
    Engine::open(Options {
        paths: Paths::under(home),
        drivers: Registry::default().with(fake.clone()),
        program: env!("CARGO_BIN_EXE_sandwatch").into(),
    })
    .await
}

pub(crate) fn session(command: &[&str]) -> SessionSpec {
    SessionSpec {
        command: command.iter().map(|it| (*it).to_owned()).collect(),
        cwd: None,
        env: Vec::new(),
        size: Size::DEFAULT,
    }
}

pub(crate) fn watch(from: From, fidelity: Fidelity) -> OutputRequest {
    OutputRequest { from, fidelity, every_at_least: None }
}

/// The next message, or a failure that says what was waited for.
pub(crate) async fn next<T>(stream: &mut BoxStream<T>, what: &str) -> Option<T> {
    tokio::time::timeout(SOON, stream.next()).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

/// All bytes a session prints until its end, from the start.
pub(crate) async fn whole_output(runtime: &dyn Runtime, id: &SessionId) -> String {
    let mut stream = runtime.output(id, watch(From::Start, Fidelity::Full)).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(message) = next(&mut stream, "the end of the output").await {
        match message.unwrap() {
            Output::Chunk { offset, bytes: chunk } => {
                assert_eq!(offset, bytes.len() as u64, "no byte skipped");
                bytes.extend_from_slice(&chunk);
            }
            Output::Exit { .. } => break,
            _ => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The rows a session shows now.
pub(crate) async fn rows(runtime: &dyn Runtime, id: &SessionId) -> Vec<String> {
    let shot = runtime.screen(id).await.unwrap();
    Screen::from_keyframe(shot.size, &shot.state).lines()
}

/// Waits until the screen shows a text.
pub(crate) async fn shows(runtime: &dyn Runtime, id: &SessionId, text: &str) {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let rows = rows(runtime, id).await;
        if rows.iter().any(|it| it.contains(text)) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{text:?} never on screen: {rows:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
