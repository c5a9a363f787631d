//! The terminal of a sandbox's main program. Everybody may watch it; one at a time types, and only who types resizes it. So it
//! is watched as a reader until somebody here steps in, and then attached to once more, as a typist: what is printed goes on
//! where it was.

mod attachment;
mod flow;
mod guard;
mod ssh;
mod terminal;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::duplex,
    sync::{oneshot, watch},
    time::{Instant, sleep},
};

pub use self::ssh::check;
use self::{
    attachment::{End, attach},
    flow::Flow,
    ssh::LOST,
};
use super::{
    remote::{Phase, Remote},
    watch::jittered,
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::{PTY_CHUNK_BYTES_MAX, RETRY_AFTER_MAX, RETRY_AFTER_MIN},
        units::Size,
    },
    driver::{Program, PtyIo, TerminalUse},
    model::session::ExitStatus,
};

/// How long it counts that somebody else types.
const OWNED_FOR: Duration = Duration::from_secs(10);

/// What is wanted of it from here, and what is known of whether it can be had.
pub struct Wanted {
    held: watch::Sender<bool>,
    /// When it was last seen that somebody else types.
    owned: Mutex<Option<Instant>>,
    /// It is seen: what is typed goes to what is shown.
    attached: AtomicBool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            held: watch::Sender::new(false),
            owned: Mutex::default(),
            attached: AtomicBool::new(false),
        }
    }
}

impl Wanted {
    pub fn keyboard(&self, held: bool) {
        self.held.send_if_modified(|it| std::mem::replace(it, held) != held);
    }

    fn owned(&self) -> MutexGuard<'_, Option<Instant>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody else types, as far as is known: until then, and then it is worth another try.
    fn owned_until(&self) -> Option<Instant> {
        self.owned().map(|it| it + OWNED_FOR)
    }

    fn is_owned(&self) -> bool {
        self.owned_until().is_some_and(|it| it > Instant::now())
    }

    fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }

    pub fn may_type(&self) -> Outcome<()> {
        if !self.is_attached() {
            return Err(Fault::busy(
                "its terminal is not seen just now, so nothing is typed into it",
            )
            .hint("its notes say why, if that lasts (sandwatch ls --json); try again"));
        }
        match self.is_owned() {
            false => Ok(()),
            true => Err(Fault::busy("another client of the gateway holds the keyboard")
                .hint("it is shown as it is; try again when the other has let go of it")),
        }
    }
}

pub fn program(remote: &Arc<Remote>, wanted: &Arc<Wanted>) -> Program<PtyIo> {
    let (reader, output) = duplex(PTY_CHUNK_BYTES_MAX);
    let (writer, keys) = duplex(PTY_CHUNK_BYTES_MAX);
    let (report, exit) = oneshot::channel();
    let (size, sizes) = watch::channel(None);
    let flow = Flow::new(Arc::clone(remote), Arc::clone(wanted), (output, keys), sizes);
    tokio::spawn(run(flow, report));
    // Only who holds the keyboard gets here.
    let resize = move |to: Size| {
        size.send_if_modified(|it| it.replace(to) != Some(to));
        Ok(())
    };
    let io = PtyIo {
        reader: Box::new(reader),
        writer: Box::new(writer),
        resize: Box::new(resize),
        terminal: Box::new(TerminalUse::default),
    };
    Program { pid: None, io, exit }
}

async fn run(mut flow: Flow, mut report: oneshot::Sender<ExitStatus>) {
    let status = tokio::select! {
        status = attend(&mut flow) => status,
        () = report.closed() => return,
    };
    flow.remote.differs(|seen| seen.terminal.take().is_some());
    drop(flow);
    let _nobody_waits = report.send(status);
}

/// Attaches again and again, until the program has ended.
async fn attend(flow: &mut Flow) -> ExitStatus {
    let remote = Arc::clone(&flow.remote);
    let begun = Begun { starts: remote.seen().starts, exit_code: remote.seen().exit_code };
    let mut pause = RETRY_AFTER_MIN;
    loop {
        let end = match remote.attached.clone().try_acquire_owned() {
            Ok(_turn) => attach(flow, &mut pause).await,
            Err(_) => Err(Fault::busy("too many terminals of this gateway are watched already")),
        };
        let (code, why) = match end {
            Ok(End::Otherwise) => continue,
            Ok(End::Ended(code, why)) => (code, why),
            Err(fault) => (LOST, fault.to_string()),
        };
        flow.lost();
        if let Some(status) = over(&remote, &begun, code).await {
            return status;
        }
        let why = if why.is_empty() { "it was closed there".to_owned() } else { why };
        remote.differs(|seen| {
            let why = Some(format!("its terminal is not seen just now: {why}"));
            std::mem::replace(&mut seen.terminal, why.clone()) != why
        });
        tokio::select! {
            () = sleep(jittered(pause)) => {}
            () = flow.refuse_typed() => {}
        }
        pause = (pause * 2).min(RETRY_AFTER_MAX);
    }
}

/// The start that is attended, as it was first seen.
struct Begun {
    starts: u32,
    /// Of a run before it, where one was told.
    exit_code: Option<i32>,
}

/// How the program ended, if it did: a terminal that was closed says nothing of that, nor does a sandbox that is not ready
/// for a while.
async fn over(remote: &Remote, begun: &Begun, code: i32) -> Option<ExitStatus> {
    match remote.confirm().await {
        Ok(told) => remote.take(&told),
        Err(fault) if fault.kind() == Kind::Absent => return Some(ExitStatus::Signal(9)),
        // Nobody knows.
        Err(_) => return None,
    }
    let seen = remote.seen();
    let another = seen.starts != begun.starts;
    let told = seen.exit_code.filter(|_| !another);
    let is_news = told.is_some() && told != begun.exit_code;
    if !another && !is_news && !matches!(seen.phase, Phase::Stopped | Phase::Error) {
        return None;
    }
    Some(match told.or((code != LOST).then_some(code)) {
        Some(code @ 129..=192) => ExitStatus::Signal(code - 128),
        Some(code) => ExitStatus::Code(code),
        // It was stopped, or nobody says.
        None => ExitStatus::Signal(15),
    })
}
