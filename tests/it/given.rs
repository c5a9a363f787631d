//! What every part of these tests starts from: specs, clients, and waits that only a failure ends.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sandwatch::{
    base::{
        id::{ClientId, SessionId},
        units::Size,
    },
    model::{
        output::{Fidelity, From, Output, OutputRequest},
        sandbox::{SandboxSpec, Workspace, WorkspaceMode},
        session::SessionSpec,
    },
    runtime::{BoxStream, Identity, Runtime},
};
use tokio_stream::StreamExt;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sandwatch");

/// Longest wait for anything that must happen; only a failure takes that long.
pub(crate) const SOON: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(crate) fn who(name: &str) -> Identity {
    Identity { client: ClientId::parse(name).unwrap(), name: name.to_owned(), peer: None }
}

pub(crate) fn session(command: &[&str]) -> SessionSpec {
    SessionSpec {
        command: command.iter().map(|it| (*it).to_owned()).collect(),
        cwd: None,
        env: Vec::new(),
        size: Size::DEFAULT,
    }
}

/// Recorded, without a network, over a copy of the workspace.
pub(crate) fn spec(driver: &str, workspace: &Path, command: &[&str]) -> SandboxSpec {
    let workspace = Workspace { path: workspace.to_owned(), mode: WorkspaceMode::Cow };
    let bare = SandboxSpec::bare(driver, workspace);
    SandboxSpec { record: true, first: session(command), ..bare }
}

pub(crate) fn watch(from: From, fidelity: Fidelity) -> OutputRequest {
    OutputRequest { from, fidelity, every_at_least: None }
}

/// The next message, or a failure that says what was waited for.
pub(crate) async fn next<T>(stream: &mut BoxStream<T>, what: &str) -> Option<T> {
    tokio::time::timeout(SOON, stream.next()).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

/// All bytes a session prints until its end, from the start.
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

/// Looks again and again until there is something to see.
pub(crate) async fn found<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let found = tokio::time::timeout(SOON, looking).await;
    found.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Waits, beside other tasks, until something is so.
pub(crate) async fn soon(what: &str, mut so: impl FnMut() -> bool) {
    found(what, async || so().then_some(())).await;
}

/// Waits until something is so; for tests without tasks.
#[track_caller]
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Runs, and is no corpse that nobody waited for.
pub(crate) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|it| it.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}
