//! Sandboxes of scripted programs: no process, no file, no isolation. For demos and for tests of
//! everything above the driver; never offered unless asked for.

mod changes;
mod editor;
mod meter;
mod files;
mod program;
mod script;
mod shell;
mod terminal;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, duplex},
    sync::{oneshot, watch},
};

use super::{
    Changes, Driver, Ground, Hosting, Kept, Meter, PipeIo, Place, PlaceFacts, Program, PtyIo,
    Shelf, Stillness, Taken, TerminalUse,
    files::{Files, Way},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        units::Size,
    },
    model::{
        capability::Capabilities,
        change::DiffRequest,
        check::{Check, CheckStatus},
        sandbox::{Isolation, SandboxSpec},
        session::{ExitStatus, SessionSpec},
    },
};
use terminal::Terminal;

/// Bytes between a program and its host, each way; about what a kernel's PTY holds.
const PIPE_BYTES: usize = 16 * 1024;
const SIGTERM: i32 = 15;

/// What shall go wrong, for tests.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// `create` fails with this.
    pub create: Option<Fault>,
    /// `create` takes so long.
    pub create_delay: Duration,
    /// `spawn` fails with this.
    pub spawn: Option<Fault>,
    /// `remove` fails with this.
    pub remove: Option<Fault>,
    /// `sweep` fails with this.
    pub sweep: Option<Fault>,
}

/// The driver; clones share their sandboxes and faults.
#[derive(Clone, Default)]
pub struct FakeDriver {
    shared: Arc<Shared>,
    /// Snapshots of nothing and a script of changes, for the demo.
    staged: bool,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<Faults>,
    places: Mutex<HashMap<SandboxId, Arc<FakePlace>>>,
    trees: Mutex<HashMap<SandboxId, Arc<files::Tree>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeDriver {
    /// One whose sandboxes also have snapshots and changes to show, all of them made up.
    pub fn staged() -> Self {
        Self { staged: true, ..Self::default() }
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.shared.faults) = faults;
    }

    /// Makes a sandbox vanish as if its provider had dropped it.
    pub fn lose(&self, id: &SandboxId, reason: &str) {
        if let Some(place) = lock(&self.shared.places).remove(id) {
            place.end(Life::Gone(reason.to_owned()));
        }
    }

    /// Sandboxes that exist now.
    pub fn count(&self) -> usize {
        lock(&self.shared.places).len()
    }
}

fn capabilities(staged: bool) -> Capabilities {
    Capabilities {
        pty: true,
        exec: true,
        pause: true,
        stop: true,
        workspace_cow: true,
        workspace_rw: true,
        // There is no network to leave by.
        egress_deny: true,
        snapshot: staged,
        workspace_diff: staged,
        ..Capabilities::default()
    }
}

#[async_trait]
impl Driver for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn hosting(&self) -> Hosting {
        Hosting::Hub
    }

    fn meter(&self) -> Option<Box<dyn Meter>> {
        self.staged.then(|| Box::new(meter::FakeMeter) as Box<dyn Meter>)
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(self.staged)
    }

    async fn probe(&self) -> Vec<Check> {
        vec![Check {
            check: "driver.fake".to_owned(),
            status: CheckStatus::Ok,
            detail: "scripted programs, no isolation: for demos and tests".to_owned(),
            fix: None,
        }]
    }

    async fn create(&self, ground: &Ground, _spec: &SandboxSpec) -> Outcome<Arc<dyn Place>> {
        let faults = lock(&self.shared.faults).clone();
        if !faults.create_delay.is_zero() {
            tokio::time::sleep(faults.create_delay).await;
        }
        if let Some(fault) = faults.create {
            return Err(fault);
        }
        let place = Arc::new(FakePlace {
            id: ground.id.clone(),
            staged: self.staged,
            driver: self.shared.clone(),
            frozen: watch::Sender::new(false),
            life: watch::Sender::new(Life::Alive),
        });
        lock(&self.shared.places).insert(ground.id.clone(), place.clone());
        Ok(place)
    }

    async fn snapshot(
        &self,
        _ground: &Ground,
        _spec: &SandboxSpec,
        _shelf: &Shelf,
        like: Option<&Shelf>,
        _stillness: Stillness,
    ) -> Outcome<Taken> {
        if !self.staged {
            return Err(Fault::unsupported("the fake driver can't take snapshots"));
        }
        // The first has all, the next what changed since.
        let size_bytes = Some(if like.is_none() { 18_432 } else { 4_096 });
        Ok(Taken { size_bytes, ..Taken::default() })
    }

    async fn vacate(&self, ground: &Ground) -> Outcome<()> {
        if !self.staged {
            return Err(Fault::unsupported("the fake driver can't restore"));
        }
        if let Some(place) = lock(&self.shared.places).remove(&ground.id) {
            place.end(Life::Removed);
        }
        Ok(())
    }

    async fn changes(
        &self,
        of: &Kept,
        against: Option<&Shelf>,
        request: DiffRequest,
    ) -> Outcome<Changes> {
        if !self.staged {
            return Err(Fault::unsupported("the fake driver can't tell what changed"));
        }
        Ok(changes::changes(of, against.is_some(), &request))
    }

    fn files(&self, ground: &Ground, spec: &SandboxSpec, _way: Way) -> Outcome<Arc<dyn Files>> {
        use std::os::unix::ffi::OsStrExt;
        let workspace = spec.workspace.path.as_os_str().as_bytes();
        let mut trees = lock(&self.shared.trees);
        let tree = trees.entry(ground.id.clone());
        let tree = tree.or_insert_with(|| Arc::new(files::Tree::new(workspace)));
        Ok(Arc::new(Arc::clone(tree)))
    }

    async fn sweep(&self, ground: &Ground) -> Outcome<()> {
        lock(&self.shared.trees).remove(&ground.id);
        if let Some(fault) = lock(&self.shared.faults).sweep.clone() {
            return Err(fault);
        }
        if let Some(place) = lock(&self.shared.places).remove(&ground.id) {
            place.end(Life::Removed);
        }
        Ok(())
    }
}

/// What became of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    Stopped,
    Removed,
    Gone(String),
}

/// One fake sandbox. Each program is a task that ends with it.
struct FakePlace {
    id: SandboxId,
    staged: bool,
    driver: Arc<Shared>,
    frozen: watch::Sender<bool>,
    life: watch::Sender<Life>,
}

impl FakePlace {
    /// Ends every program; a place that has ended does not change any more, but may be removed.
    fn end(&self, to: Life) {
        self.life.send_if_modified(|life| {
            let later = match life {
                Life::Alive => true,
                Life::Stopped => to != Life::Stopped,
                Life::Removed | Life::Gone(_) => false,
            };
            if later {
                *life = to;
            }
            later
        });
    }

    fn check_alive(&self) -> Outcome<()> {
        match &*self.life.borrow() {
            Life::Alive => Ok(()),
            Life::Stopped => Err(Fault::failed("the sandbox is stopped")),
            Life::Removed => Err(Fault::absent("the sandbox was removed")),
            Life::Gone(reason) => Err(Fault::absent(format!("the sandbox is gone: {reason}"))),
        }
    }

    fn start(
        &self,
        command: Vec<String>,
        mut terminal: Terminal,
    ) -> Outcome<oneshot::Receiver<ExitStatus>> {
        self.check_alive()?;
        if let Some(fault) = lock(&self.driver.faults).spawn.clone() {
            return Err(fault);
        }
        let mut life = self.life.subscribe();
        let (mut report, exit) = oneshot::channel();
        tokio::spawn(async move {
            let status = tokio::select! {
                status = program::run(&command, &mut terminal) => status,
                _ = life.wait_for(|it| *it != Life::Alive) => ExitStatus::Signal(SIGTERM),
                () = report.closed() => ExitStatus::Signal(SIGTERM),
            };
            // The end of the output comes first, as it does from a kernel.
            drop(terminal);
            let _nobody_waits = report.send(status);
        });
        Ok(exit)
    }
}

type Halves = (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

/// One direction: what is written to the second half is read from the first.
fn pipe() -> Halves {
    let (read, write): (DuplexStream, DuplexStream) = duplex(PIPE_BYTES);
    (Box::new(read), Box::new(write))
}

#[async_trait]
impl Place for FakePlace {
    fn facts(&self) -> PlaceFacts {
        PlaceFacts {
            isolation: Some(Isolation::None),
            raw_state: None,
            state: None,
            capabilities: capabilities(self.staged),
            notes: Vec::new(),
        }
    }

    async fn spawn(&self, spec: &SessionSpec) -> Outcome<Program<PtyIo>> {
        let (reader, output) = pipe();
        let (input, writer) = pipe();
        let size = watch::Sender::new(spec.size);
        let reads = Arc::new(AtomicBool::new(false));
        let terminal = Terminal {
            output,
            errors: None,
            input,
            size: size.subscribe(),
            frozen: self.frozen.subscribe(),
            typed: Vec::new(),
            reads: Arc::clone(&reads),
        };
        let exit = self.start(spec.command.clone(), terminal)?;
        let resize = move |wanted: Size| {
            size.send_if_modified(|it| std::mem::replace(it, wanted) != wanted);
            Ok(())
        };
        let terminal =
            move || TerminalUse { lines: None, read: Some(reads.load(Ordering::Relaxed)) };
        let (resize, terminal) = (Box::new(resize), Box::new(terminal));
        Ok(Program { pid: None, io: PtyIo { reader, writer, resize, terminal }, exit })
    }

    async fn exec(&self, spec: &SessionSpec) -> Outcome<Program<PipeIo>> {
        let (stdout, output) = pipe();
        let (stderr, errors) = pipe();
        let (input, stdin) = pipe();
        let terminal = Terminal {
            output,
            errors: Some(errors),
            input,
            size: watch::Sender::new(spec.size).subscribe(),
            frozen: self.frozen.subscribe(),
            typed: Vec::new(),
            reads: Arc::default(),
        };
        let exit = self.start(spec.command.clone(), terminal)?;
        Ok(Program { pid: None, io: PipeIo { stdin, stdout, stderr }, exit })
    }

    async fn pause(&self) -> Outcome<()> {
        self.check_alive()?;
        self.frozen.send_replace(true);
        Ok(())
    }

    async fn resume(&self) -> Outcome<()> {
        self.check_alive()?;
        self.frozen.send_replace(false);
        Ok(())
    }

    async fn stop(&self, _grace: Duration) -> Outcome<()> {
        self.end(Life::Stopped);
        Ok(())
    }

    async fn remove(&self) -> Outcome<()> {
        if let Some(fault) = lock(&self.driver.faults).remove.clone() {
            return Err(fault);
        }
        self.end(Life::Removed);
        lock(&self.driver.places).remove(&self.id);
        Ok(())
    }

    async fn gone(&self) -> String {
        let mut life = self.life.subscribe();
        let seen = life.wait_for(|it| matches!(it, Life::Gone(_))).await.map(|it| it.clone());
        match seen {
            Ok(Life::Gone(reason)) => reason,
            // Can't end otherwise while `self` holds the sender.
            _ => std::future::pending().await,
        }
    }
}
