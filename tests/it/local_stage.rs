//! Runs a test of the local driver in a process of its own: a sandbox is made by cloning the process
//! that holds it, and half of them are to be made by an ordinary user.

use std::{
    future::Future,
    io::Write,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use sandwatch::{
    base::{fault::Outcome, id::SandboxId},
    driver::{Changes, Driver, Ground, Kept, PipeIo, Place, Program, PtyIo, local::Local},
    model::{
        change::DiffRequest,
        sandbox::{SandboxSpec, Workspace, WorkspaceMode},
        session::ExitStatus,
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::given::{SOON, spec};
pub(crate) use crate::given::{session, soon};

/// Nobody's uid on any sane machine.
pub const USER: u32 = 12_345;
/// Nor this.
pub const OWN_USER: u32 = 12_346;
const WITHIN: Duration = Duration::from_secs(120);
const ON_STAGE: &str = "SANDWATCH_TEST_STAGE";

/// Where one scenario plays.
pub struct Stage {
    pub by_root: bool,
    /// Owned by who plays.
    pub home: PathBuf,
    pub workspace: PathBuf,
}

/// What is done to the world of a player before it plays, by a shell.
#[derive(Clone, Copy)]
pub enum Before<'a> {
    Nothing,
    /// By root, in a mount namespace of its own; root only.
    Root(&'a str),
    /// By the player, with all rights over a user and a mount namespace of its own, given up again.
    Owner(&'a str),
}

/// Plays a scenario as root and as an ordinary user (as whoever this is, when not root), each in a
/// process of its own. `name` is the test's full name.
pub fn on_stage<F: Future<Output = ()>>(name: &str, scenario: impl Fn(Stage) -> F) {
    if !played(scenario) {
        let root = rustix::process::geteuid().is_root();
        for user in if root { vec![None, Some(USER)] } else { vec![None] } {
            play(name, user, Before::Nothing);
        }
    }
}

/// Plays a scenario as an ordinary user whom no other test plays.
pub fn on_own_stage<F: Future<Output = ()>>(name: &str, scenario: impl Fn(Stage) -> F) {
    if !played(scenario) {
        play(name, rustix::process::geteuid().is_root().then_some(OWN_USER), Before::Nothing);
    }
}

/// Plays a scenario as an ordinary user, after something was done.
pub fn on_changed_stage<F: Future<Output = ()>>(
    name: &str,
    before: Before<'_>,
    scenario: impl Fn(Stage) -> F,
) {
    if !played(scenario) {
        play(name, rustix::process::geteuid().is_root().then_some(USER), before);
    }
}

/// Plays a scenario as root and as an ordinary user, after root did something; root only.
pub fn on_stages_changed_by_root<F: Future<Output = ()>>(
    name: &str,
    before: &str,
    scenario: impl Fn(Stage) -> F,
) {
    if played(scenario) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return crate::skip::not_on_this_host("root");
    }
    for user in [None, Some(USER)] {
        play(name, user, Before::Root(before));
    }
}

/// Plays it here, if this is the process for it.
fn played<F: Future<Output = ()>>(scenario: impl Fn(Stage) -> F) -> bool {
    let Ok(home) = std::env::var(ON_STAGE) else { return false };
    let home = PathBuf::from(home);
    let workspace = home.join("project");
    let by_root = rustix::process::geteuid().is_root();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scenario(Stage { by_root, home, workspace }));
    true
}

/// The words before those of the program, and whether they make it the user's.
fn prefix(user: Option<u32>, before: Before<'_>) -> Vec<String> {
    let user = user.map(|it| it.to_string());
    let become_user = user.iter().flat_map(|it| {
        ["setpriv", "--reuid", it, "--regid", it, "--clear-groups"].map(str::to_owned)
    });
    let drop_rights = ["setpriv", "--inh-caps=-all", "--ambient-caps=-all"].map(str::to_owned);
    let shell = |text: &str| ["sh", "-euc", text, "sh"].map(str::to_owned);
    let go_on = |text: &str| shell(&format!("{text}\nexec \"$@\""));
    let apart = |more: &[&str]| {
        let words = ["unshare", "--mount", "--propagation", "private"].iter().chain(more);
        words.map(|it| (*it).to_owned()).collect::<Vec<_>>()
    };
    match before {
        Before::Nothing => become_user.collect(),
        Before::Root(text) => {
            apart(&[]).into_iter().chain(go_on(text)).chain(become_user).collect()
        }
        Before::Owner(text) => become_user
            .chain(apart(&["--user", "--map-current-user", "--keep-caps"]))
            .chain(go_on(text))
            .chain(drop_rights)
            .collect(),
    }
}

fn play(name: &str, user: Option<u32>, before: Before<'_>) {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for directory in ["project", "state"] {
        std::fs::create_dir(home.path().join(directory)).unwrap();
    }
    std::fs::write(home.path().join("secret"), "the operator's").unwrap();
    std::fs::write(home.path().join("project/kept"), "as it was\n").unwrap();
    for path in ["", "project", "state", "secret", "project/kept"] {
        std::os::unix::fs::chown(home.path().join(path), user, user).unwrap();
    }
    // By descriptor: an ordinary user may have no way to the build directory.
    let this = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    rustix::io::fcntl_setfd(&this, rustix::io::FdFlags::empty()).unwrap();
    let mut line = prefix(user, before);
    line.push(format!("/proc/self/fd/{}", this.as_raw_fd()));
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).args(["--exact", name, "--nocapture", "--test-threads", "1"]);
    command.env(ON_STAGE, home.path()).env("HOME", home.path()).env("CANARY", "from-the-shell");
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let deadline = std::time::Instant::now() + WITHIN;
    let gather = |it: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            it.unwrap().read_to_end(&mut text).unwrap();
            text
        })
    };
    let out = gather(child.stdout.take().map(|it| Box::new(it) as _));
    let err = gather(child.stderr.take().map(|it| Box::new(it) as _));
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if std::time::Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = [out.join().unwrap(), err.join().unwrap()].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(ended.is_some_and(|it| it.success()), "as {user:?}: {ended:?}\n{text}");
    assert!(text.contains("1 passed"), "{name} is no test\n{text}");
    drop(std::io::stderr().flush());
}

/// What changed in a local sandbox: nothing has to be brought here first, so nothing is waited for.
pub fn changes(ground: &Ground, spec: SandboxSpec, request: DiffRequest) -> Outcome<Changes> {
    let of = Kept::Ground(ground.clone(), Box::new(spec));
    let asked = std::pin::pin!(Local.changes(&of, None, request));
    match asked.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(changes) => changes,
        Poll::Pending => panic!("waited for"),
    }
}

impl Stage {
    pub fn ground(&self) -> Ground {
        let id = SandboxId::random();
        Ground {
            name: "box".to_owned(),
            dir: self.home.join("state").join(id.as_str()),
            id,
            from: None,
        }
    }

    pub fn spec(&self, mode: WorkspaceMode) -> SandboxSpec {
        SandboxSpec {
            workspace: Workspace { path: self.workspace.clone(), mode },
            env: vec![("EXTRA".to_owned(), "given".to_owned())],
            record: false,
            ..spec("local", &self.workspace, &["/bin/sh"])
        }
    }

    pub async fn place(&self, spec: &SandboxSpec) -> Arc<dyn Place> {
        self.try_place(&self.ground(), spec).await.unwrap_or_else(|it| panic!("{it}"))
    }

    pub async fn try_place(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<Arc<dyn Place>> {
        Local.create(ground, spec).await
    }
}

/// What a program without a terminal printed, both streams, and how it ended.
pub async fn run(place: &Arc<dyn Place>, command: &[&str]) -> (String, ExitStatus) {
    let program = place.exec(&session(command)).await.unwrap_or_else(|it| panic!("{it}"));
    let Program { io: PipeIo { stdin, mut stdout, mut stderr }, exit, .. } = program;
    drop(stdin);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (one, two) = tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
    one.unwrap();
    two.unwrap();
    out.extend(err);
    (String::from_utf8_lossy(&out).into_owned(), exit.await.unwrap())
}

/// What a shell script printed.
pub async fn sh(place: &Arc<dyn Place>, script: &str) -> String {
    run(place, &["/bin/sh", "-c", script]).await.0.trim_end().to_owned()
}

pub async fn python(place: &Arc<dyn Place>, script: &str) -> String {
    run(place, &["/usr/bin/python3", "-c", script]).await.0.trim_end().to_owned()
}

/// Reads a terminal until it has shown this; gives all it showed.
pub async fn until(io: &mut PtyIo, wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut chunk = [0_u8; 4096];
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            let count = io.reader.read(&mut chunk).await.unwrap();
            if count == 0 {
                break;
            }
            seen.extend(&chunk[..count]);
        }
    };
    let late = tokio::time::timeout(SOON, reading).await.is_err();
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(!late && text.contains(wanted), "no {wanted:?} in {text:?}");
    text
}

pub async fn type_in(io: &mut PtyIo, text: &str) {
    io.writer.write_all(text.as_bytes()).await.unwrap();
}

pub fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
