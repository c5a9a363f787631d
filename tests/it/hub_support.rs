//! A hub in this process over any directory, on a socket in a directory of its own.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use sandwatch::{
    base::{
        id::{ClientId, SessionId},
        units::Size,
    },
    client::{Client, Options},
    config::paths::Paths,
    driver::{fake::FakeDriver, registry::Registry},
    engine::Engine,
    hub,
    model::{
        output::{Fidelity, From, Output, OutputRequest},
        sandbox::{Egress, ResourceLimits, SandboxSpec, Workspace, WorkspaceMode},
        session::SessionSpec,
    },
    runtime::{BoxStream, Directory, Identity, Runtime},
};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_stream::StreamExt;

/// Longest wait for anything that must happen; only a failure takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn options(name: &str) -> Options {
    let identity = Identity { client: ClientId::parse(name).unwrap(), name: name.to_owned() };
    Options { identity, patience: Some(PATIENCE) }
}

/// A hub that serves until it is told to end.
pub(crate) struct Hub {
    pub(crate) paths: Paths,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Hub {
    pub(crate) async fn start(home: &Path, directory: Arc<dyn Directory>) -> Self {
        let paths = Paths::under(home);
        let claim = hub::claim(&paths).await.unwrap();
        let (stop, told) = oneshot::channel();
        let stopped = async move { drop(told.await) };
        let serving = tokio::spawn(async move { claim.serve(directory, stopped).await.unwrap() });
        let hub = Self { paths, stop: Some(stop), serving };
        soon("the hub's socket", || hub.paths.hub_socket().exists()).await;
        hub
    }

    pub(crate) async fn client(&self, name: &str) -> Client {
        Client::connect(&self.paths.hub_socket(), options(name)).await.unwrap()
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(PATIENCE, &mut self.serving).await.unwrap().unwrap();
    }
}

pub(crate) async fn engine(home: &Path) -> Engine {
    Engine::open(sandwatch::engine::Options {
        paths: Paths::under(home),
        drivers: Registry::default().with(FakeDriver::default()),
        program: env!("CARGO_BIN_EXE_sandwatch").into(),
    })
    .await
    .unwrap()
}

pub(crate) fn session(command: &[&str]) -> SessionSpec {
    SessionSpec {
        command: command.iter().map(|it| (*it).to_owned()).collect(),
        cwd: None,
        env: Vec::new(),
        size: Size::DEFAULT,
    }
}

pub(crate) fn spec(workspace: &Path, command: &[&str]) -> SandboxSpec {
    SandboxSpec {
        name: None,
        driver: "fake".to_owned(),
        isolation: None,
        image: None,
        workspace: Workspace { path: workspace.to_owned(), mode: WorkspaceMode::Cow },
        egress: Egress::Deny,
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

pub(crate) fn watch(from: From, fidelity: Fidelity) -> OutputRequest {
    OutputRequest { from, fidelity, every_at_least: None }
}

/// Waits until something is so.
pub(crate) async fn soon(what: &str, so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The next message, or a failure that says what was waited for.
pub(crate) async fn next<T>(stream: &mut BoxStream<T>, what: &str) -> Option<T> {
    tokio::time::timeout(PATIENCE, stream.next())
        .await
        .unwrap_or_else(|_| panic!("never came: {what}"))
}

/// All bytes a session prints until its end.
pub(crate) async fn printed(runtime: &dyn Runtime, id: &SessionId) -> Vec<u8> {
    let mut stream = runtime.output(id, watch(From::Start, Fidelity::Full)).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(message) = next(&mut stream, "the end of the output").await {
        match message.unwrap() {
            Output::Chunk { offset, bytes: chunk } => {
                assert_eq!(offset, bytes.len() as u64, "a byte was skipped");
                bytes.extend_from_slice(&chunk);
            }
            Output::Exit { .. } => break,
            _ => {}
        }
    }
    bytes
}
