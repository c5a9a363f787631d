//! One live local sandbox, as the trait `Place` has it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::timeout;

use super::{
    cgroup::Groups,
    doing::Looker,
    env,
    link::{Begun, Life, Link},
    memory::Sleeper,
    message::{Description, On},
    pace::Pace,
    pipe,
    processes::{self, Asleep},
    remove, terminal, weak,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::DEATH_WITHIN,
        units::Size,
    },
    driver::{Doors, Memory, PipeIo, Place, PlaceFacts, Program, PtyIo, Slept, Syscalls},
    model::{process::Reading, sandbox::Isolation, session::SessionSpec},
};

pub(super) const FIRST_STAYS: &str = "its first process does not die";
/// What to do about a sandbox whose processes do not end in time.
pub(super) const LATE_HINT: &str =
    "try again; a process may hang in the kernel, for example on a dead network drive";

pub struct LocalPlace {
    pub(super) link: Arc<Link>,
    pub(super) groups: Groups,
    pub(super) facts: PlaceFacts,
    /// Its root directory, where it has one of its own.
    pub(super) root: Option<OwnedFd>,
    pub(super) doors: Mutex<Option<Doors>>,
    pub(super) directory: PathBuf,
    /// Where programs start that name no directory.
    pub(super) home: PathBuf,
    pub(super) env: Vec<(String, String)>,
    /// What the first program is that nobody names, where an image has one; after it, and else, the shell.
    pub(super) first: Mutex<Vec<String>>,
    pub(super) shell: String,
    pub(super) paused: AtomicBool,
    /// What no resume wakes, where there is no control group to freeze.
    pub(super) asleep: Mutex<Asleep>,
    /// Stopped on purpose: its end is no news.
    pub(super) stopping: AtomicBool,
    pub(super) emptying: Mutex<Option<JoinHandle<()>>>,
    pub(super) looker: Looker,
    /// What starts and keeps its programs where those can be written down.
    pub(super) sleeper: Option<Sleeper>,
}

impl Drop for LocalPlace {
    /// Its process is about to end, and what is being deleted is to be gone then.
    fn drop(&mut self) {
        let emptying = self.emptying.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        drop(emptying.map(JoinHandle::join));
    }
}

impl LocalPlace {
    fn describe(&self, spec: &SessionSpec) -> Description {
        let mut command = spec.command.clone();
        if command.is_empty() {
            command =
                std::mem::take(&mut *self.first.lock().unwrap_or_else(PoisonError::into_inner));
        }
        if command.is_empty() {
            command.push(self.shell.clone());
        }
        let cwd = spec.cwd.clone().unwrap_or_else(|| self.home.display().to_string());
        let own = [("PWD".to_owned(), cwd.clone())];
        Description { cwd, command, env: env::merged([&self.env, &spec.env, &own]) }
    }

    fn awake(&self) -> Outcome<()> {
        if self.paused.load(Ordering::SeqCst) {
            return Err(Fault::busy("the sandbox is paused").hint("resume it first"));
        }
        Ok(())
    }

    /// Its terminals are its own.
    fn has_namespaces(&self) -> bool {
        self.facts.isolation != Some(Isolation::Landlock)
    }

    /// Its processes are none of this kernel's.
    fn has_a_kernel(&self) -> bool {
        self.facts.isolation == Some(Isolation::Gvisor)
    }

    async fn start_on_terminal(&self, what: &Description, size: Size) -> Outcome<(Begun, PtyIo)> {
        if self.has_namespaces() {
            let on = On::NewTerminal { cols: size.cols(), rows: size.rows() };
            let mut begun = self.link.start(on, what, &[], Vec::new()).await?;
            let outer = begun.terminal.take();
            let outer = outer.ok_or_else(|| Fault::bug("a program came without its terminal"))?;
            return Ok((begun, terminal::open(outer)?));
        }
        let (outer, inner) = weak::terminal(size)?;
        let begun = self.link.start(On::Terminal, what, &[inner.as_fd()], Vec::new()).await?;
        Ok((begun, terminal::open(outer)?))
    }

    /// Stops every process by signals; `again` when that was done before.
    async fn halt(&self, again: bool) -> Outcome<()> {
        let first = self.link.pid;
        self.looker.let_go().await;
        if !again {
            let asleep = looking(move || processes::asleep_below(first)).await?;
            *self.asleep.lock().unwrap_or_else(PoisonError::into_inner) = asleep;
        }
        if looking(move || processes::stop_below(first)).await? {
            return Ok(());
        }
        Err(Fault::busy("pausing the sandbox: processes start faster than they can be stopped"))
    }

    /// Ends every process now, paused or not, and waits until that is so.
    async fn kill(&self) -> Outcome<()> {
        self.stopping.store(true, Ordering::SeqCst);
        self.link.kill();
        self.groups.let_die();
        if timeout(DEATH_WITHIN, self.link.over()).await.is_err() {
            let left = match &*self.link.life().borrow() {
                Life::Ends(left) => left.clone(),
                _ => FIRST_STAYS.to_owned(),
            };
            return Err(Fault::late(format!("ending the sandbox: {left}")).hint(LATE_HINT));
        }
        self.groups.remove().await
    }

    async fn ask_to_end(&self, grace: Duration) {
        let first = self.link.pid;
        let asked = async {
            if self.has_a_kernel() {
                if let Err(fault) = self.link.ask_to_end().await {
                    tracing::warn!(%fault, "a sandbox was not asked to end");
                }
            } else if let Err(fault) = looking(move || processes::ask_to_end_below(first)).await {
                tracing::warn!(%fault, "not all of a sandbox was asked to end");
            }
            self.none_left().await;
        };
        // Too late is what the kill is for.
        drop(timeout(grace, asked).await);
    }

    /// Waits until no process is left but the first, and the end of each program has been told.
    async fn none_left(&self) {
        let first = self.link.pid;
        let mut pace = Pace::default();
        loop {
            let idle = self.sleeper.as_ref().is_none_or(Sleeper::runs_nothing);
            let told = idle && self.link.runs_nothing();
            let so = told
                && (self.has_a_kernel()
                    || looking(move || processes::none_below(first)).await.unwrap_or(false));
            if so {
                return;
            }
            tokio::time::sleep(pace.next()).await;
        }
    }
}

/// Walks the processes of the host, aside.
async fn looking<T: Send + 'static>(
    walk: impl Fn() -> io::Result<T> + Clone + Send + 'static,
) -> Outcome<T> {
    let outcome = processes::aside(walk).await?;
    outcome.map_err(|error| Fault::io("looking at the sandbox's processes", &error))
}

#[async_trait]
impl Place for LocalPlace {
    fn facts(&self) -> PlaceFacts {
        self.facts.clone()
    }

    fn can_ask(&self) -> bool {
        // It has a copy of /etc of its own.
        self.has_namespaces()
    }

    fn root(&self) -> Option<OwnedFd> {
        self.root.as_ref().and_then(|it| it.try_clone().ok())
    }

    fn doors(&self) -> Option<Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn memory(&self) -> Option<&dyn Memory> {
        self.sleeper.as_ref().map(|_| self as &dyn Memory)
    }

    async fn spawn(&self, spec: &SessionSpec) -> Outcome<Program<PtyIo>> {
        self.awake()?;
        if let Some(sleeper) = &self.sleeper {
            return sleeper.spawn(&self.link, spec, self.describe(spec)).await;
        }
        let (begun, io) = self.start_on_terminal(&self.describe(spec), spec.size).await?;
        Ok(Program { pid: begun.pid, io, exit: begun.exit })
    }

    async fn exec(&self, spec: &SessionSpec) -> Outcome<Program<PipeIo>> {
        self.awake()?;
        let (input, theirs) = pipe::input()?;
        let (output, out, output_read) = pipe::output()?;
        let (errors, err, errors_read) = pipe::output()?;
        let streams = [theirs.as_fd(), out.as_fd(), err.as_fd()];
        let outputs = vec![output_read, errors_read];
        let begun = self.link.start(On::Pipes, &self.describe(spec), &streams, outputs).await?;
        let io =
            PipeIo { stdin: Box::new(input), stdout: Box::new(output), stderr: Box::new(errors) };
        Ok(Program { pid: begun.pid, io, exit: begun.exit })
    }

    fn starved(&self) -> Option<u64> {
        self.groups.starved()
    }

    async fn processes(&self, leader: u32) -> Outcome<Reading> {
        if self.has_a_kernel() {
            let words =
                "its processes have a kernel of their own, which does not tell what they wait on";
            return Err(Fault::unsupported(words));
        }
        self.looker.look(leader).await
    }

    async fn syscalls(&self, leader: u32, pid: u32) -> Outcome<Syscalls> {
        if self.has_a_kernel() {
            let words =
                "its processes have a kernel of their own, which does not tell what they call";
            return Err(Fault::unsupported(words));
        }
        // One that is looked at is not seen to be held by a signal, and would not be let go on.
        self.awake()?;
        self.looker.syscalls(leader, pid).await
    }

    async fn pause(&self) -> Outcome<()> {
        let again = self.paused.swap(true, Ordering::SeqCst);
        let outcome = if self.groups.can_freeze() {
            self.groups.freeze(true).await
        } else {
            self.halt(again).await
        };
        if outcome.is_err() {
            // Half paused is worse than not at all; the first fault is the one to tell.
            drop(self.resume().await);
        }
        outcome
    }

    async fn resume(&self) -> Outcome<()> {
        if self.groups.can_freeze() {
            self.groups.freeze(false).await?;
        } else {
            // Leaves first: a shell that wakes before its job takes it for stopped.
            let first = self.link.pid;
            let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner).clone();
            looking(move || processes::wake_below(first, &asleep)).await?;
        }
        if let Some(sleeper) = &self.sleeper {
            sleeper.go_on(&self.link, &self.directory).await?;
        }
        self.paused.store(false, Ordering::SeqCst);
        Ok(())
    }

    async fn stop(&self, grace: Duration) -> Outcome<()> {
        self.stopping.store(true, Ordering::SeqCst);
        // The frozen hear nothing, and a pause is not to be undone just to be polite.
        if !self.paused.load(Ordering::SeqCst) && !grace.is_zero() {
            self.ask_to_end(grace).await;
        }
        self.kill().await
    }

    async fn remove(&self) -> Outcome<()> {
        self.kill().await?;
        remove::discard(&self.directory)?;
        if let Some(emptying) = remove::empty_trash(&self.directory) {
            *self.emptying.lock().unwrap_or_else(PoisonError::into_inner) = Some(emptying);
        }
        Ok(())
    }

    async fn gone(&self) -> String {
        let reason = self.link.over().await;
        if self.stopping.load(Ordering::SeqCst) {
            // Ended on purpose: whoever did it knows.
            std::future::pending::<()>().await;
        }
        reason
    }
}

#[async_trait]
impl Memory for LocalPlace {
    async fn keep(&self, programs: &(dyn Fn() -> Vec<Slept> + Send + Sync)) -> Outcome<()> {
        match &self.sleeper {
            Some(sleeper) => sleeper.keep(&self.link, &self.directory, programs).await,
            None => Err(Fault::bug("programs that can't be kept")),
        }
    }

    fn came_back(&self) -> Vec<Slept> {
        self.sleeper.as_ref().map(Sleeper::came_back).unwrap_or_default()
    }

    async fn rejoin(&self, slept: &Slept) -> Outcome<Program<PtyIo>> {
        match &self.sleeper {
            Some(sleeper) => sleeper.rejoin(slept).await,
            None => Err(Fault::bug("a program that never was")),
        }
    }
}
