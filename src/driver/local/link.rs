//! The shim's end of a sandbox: asks its init to start programs, hears how they end, watches it die.

use std::{
    collections::HashMap,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{oneshot, watch},
    time::timeout,
};

use super::{
    mark::{Hunt, Mark, Orphans},
    message::{Description, Order, Packet, Report, Word, receive, send},
    namespaces::Held,
    sys,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::ANSWER_WITHIN,
    },
    model::session::ExitStatus,
};

/// How a sandbox's life stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    Runs,
    /// Without its first process, but with others, in words.
    Ends(String),
    Over(String),
}

#[derive(Default)]
struct Programs {
    /// Orders sent so far; init counts along.
    sent: u64,
    starting: HashMap<u64, oneshot::Sender<ExitStatus>>,
    running: HashMap<i32, oneshot::Sender<ExitStatus>>,
}

pub struct Link {
    pub pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    control: AsyncFd<OwnedFd>,
    mark: Option<Mark>,
    programs: Mutex<Programs>,
    life: watch::Sender<Life>,
}

/// A program that init has started.
pub struct Begun {
    pub pid: Option<u32>,
    /// The other side of the terminal init made.
    pub terminal: Option<OwnedFd>,
    pub exit: oneshot::Receiver<ExitStatus>,
}

impl Link {
    /// Tells the clone to go on and waits until it is ready.
    pub async fn open(held: Held) -> Outcome<Arc<Self>> {
        let fault = |error: io::Error| Fault::io("watching the sandbox", &error);
        let Held { pid, pidfd, control, mark } = held;
        let control =
            sys::watched(control, Interest::READABLE | Interest::WRITABLE).map_err(fault)?;
        let pidfd = sys::watched(pidfd, Interest::READABLE).map_err(fault)?;
        let (life, _) = watch::channel(Life::Runs);
        let link = Self { pid, pidfd, control, mark, programs: Mutex::default(), life };
        match timeout(ANSWER_WITHIN, link.handshake()).await {
            Ok(Ok(())) => {}
            other => {
                link.kill();
                link.bury().await;
                return Err(match other {
                    Ok(Err(fault)) => fault,
                    _ => Fault::late("building the sandbox: it did not get ready in time"),
                });
            }
        }
        let link = Arc::new(link);
        // Ends by itself when init has died.
        drop(tokio::spawn(Arc::clone(&link).listen()));
        Ok(link)
    }

    async fn handshake(&self) -> Outcome<()> {
        self.order(Order::Go, &[]).await?;
        match self.word().await {
            Ok(Some(Word::Ready)) => Ok(()),
            Ok(Some(Word::Failed(text))) => {
                Err(Fault::failed(format!("building the sandbox: {text}"))
                    .hint("`sandwatch doctor` tries each part of it on its own"))
            }
            _ => Err(Fault::failed("building the sandbox: its first process ended without a word")),
        }
    }

    async fn put(&self, order: Order, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = order.bytes();
        self.control.async_io(Interest::WRITABLE, |it| send(it.as_fd(), &bytes, descriptors)).await
    }

    async fn order(&self, order: Order, descriptors: &[BorrowedFd<'_>]) -> Outcome<()> {
        match timeout(ANSWER_WITHIN, self.put(order, descriptors)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Fault::lost(format!("asking the sandbox: {error}"))),
            Err(_) => Err(Fault::late("asking the sandbox: its first process does not listen")),
        }
    }

    /// The next word of init; `None` when it has hung up.
    async fn word(&self) -> io::Result<Option<Word>> {
        let packet = self.control.async_io(Interest::READABLE, |it| receive(it)).await?;
        Ok(Word::parse(&packet.bytes))
    }

    fn programs(&self) -> MutexGuard<'_, Programs> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn listen(self: Arc<Self>) {
        while let Ok(Some(word)) = self.word().await {
            match word {
                Word::Started { number, pid } => {
                    let mut programs = self.programs();
                    if let Some(exit) = programs.starting.remove(&number) {
                        programs.running.insert(pid, exit);
                    }
                }
                Word::Exited { pid, code } => self.ended(pid, ExitStatus::Code(code)),
                Word::Killed { pid, signal } => self.ended(pid, ExitStatus::Signal(signal)),
                Word::Ready | Word::Failed(_) => {}
            }
        }
        let reason = self.bury().await;
        if let Some(mark) = self.mark {
            // A program may have ended it, to be nobody's.
            let mut hunt = Hunt::new(mark, Orphans::Ours);
            while let Some(left) = hunt.look().await {
                self.life.send_replace(Life::Ends(left));
                hunt.rest().await;
            }
        }
        *self.programs() = Programs::default();
        self.life.send_replace(Life::Over(reason));
    }

    fn ended(&self, pid: i32, status: ExitStatus) {
        if let Some(exit) = self.programs().running.remove(&pid) {
            // Nobody may be waiting any more.
            let _ = exit.send(status);
        }
    }

    /// Passes on how a program ended; has it killed when nobody waits for that. Ends with the program.
    async fn attend(
        self: Arc<Self>,
        number: u64,
        ended: oneshot::Receiver<ExitStatus>,
        mut exit: oneshot::Sender<ExitStatus>,
    ) {
        tokio::select! {
            biased;
            status = ended => if let Ok(status) = status {
                // Nobody may be waiting any more.
                let _ = exit.send(status);
            },
            // However long it takes: a paused first process reads nothing, and must hear of it then. One
            // that is gone has taken the program along.
            () = exit.closed() => drop(self.put(Order::End { number }, &[]).await),
        }
    }

    /// Waits for init to be gone and reaps it; says how it ended.
    async fn bury(&self) -> String {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let ended = self.pidfd.async_io(Interest::READABLE, |it| {
            match rustix::process::waitid(WaitId::PidFd(it.as_fd()), options) {
                Ok(Some(status)) => Ok(Some(status)),
                Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                Err(_) => Ok(None),
            }
        });
        match ended.await {
            Ok(Some(status)) => match (status.terminating_signal(), status.exit_status()) {
                (Some(libc::SIGKILL), _) => "its first process was killed".to_owned(),
                (Some(signal), _) => format!("signal {signal} ended its first process"),
                (_, code) => format!("its first process ended with {}", code.unwrap_or(0)),
            },
            _ => "its first process is gone".to_owned(),
        }
    }

    /// Whether the end of every program has been told.
    pub fn runs_nothing(&self) -> bool {
        self.programs().running.is_empty()
    }

    pub fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Ends everything at once; `life` tells when that is so.
    pub fn kill(&self) {
        // Dead already is as good.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Has init start a program and waits until the program has taken over.
    pub async fn start(
        self: &Arc<Self>,
        order: Order,
        what: &Description,
        streams: &[BorrowedFd<'_>],
    ) -> Outcome<Begun> {
        if let Life::Over(reason) = &*self.life.borrow() {
            return Err(Fault::lost(format!(
                "starting a program: the sandbox has ended: {reason}"
            )));
        }
        let description = memory_file(&what.bytes())
            .map_err(|error| Fault::io("describing the program", &error))?;
        let (ours, theirs) = super::namespaces::pair()?;
        let (ended_in, ended) = oneshot::channel();
        rustix::net::sockopt::set_socket_passcred(&ours, true)
            .map_err(|error| Fault::io("asking for a process id", &error.into()))?;
        let mut descriptors = vec![description.as_fd(), theirs.as_fd()];
        descriptors.extend(streams);
        let number = {
            let mut programs = self.programs();
            programs.sent += 1;
            let number = programs.sent;
            programs.starting.insert(number, ended_in);
            number
        };
        // The number is init's too from here on, whatever becomes of the rest.
        if let Err(fault) = self.order(order, &descriptors).await {
            self.programs().starting.remove(&number);
            return Err(fault);
        }
        drop(descriptors);
        drop(theirs);
        // From here on, leaving without `exit` ends the program.
        let (exit_in, exit) = oneshot::channel();
        drop(tokio::spawn(Arc::clone(self).attend(number, ended, exit_in)));
        let reports = sys::watched(ours, Interest::READABLE)
            .map_err(|error| Fault::io("hearing from the program", &error))?;
        let reported = timeout(ANSWER_WITHIN, hear(&reports, what)).await;
        let (pid, terminal) = reported.map_err(|_| {
            Fault::late(format!("starting {}: no word from the sandbox", shown(what)))
        })??;
        Ok(Begun { pid, terminal, exit })
    }
}

fn shown(what: &Description) -> &str {
    what.command.first().map_or("nothing", String::as_str)
}

/// Reads a program's reports until it has been replaced, or says why not.
async fn hear(
    reports: &AsyncFd<OwnedFd>,
    what: &Description,
) -> Outcome<(Option<u32>, Option<OwnedFd>)> {
    let mut here = None;
    loop {
        let Packet { bytes, descriptors, sender } = reports
            .async_io(Interest::READABLE, |it| receive(it))
            .await
            .map_err(|error| Fault::io(format!("starting {}", shown(what)), &error))?;
        if bytes.is_empty() {
            // Closed by becoming the program, or by dying before that.
            return here.ok_or_else(|| {
                Fault::failed(format!("starting {}: ended before it began", shown(what)))
            });
        }
        match Report::parse(&bytes) {
            Some(Report::Here) => here = Some((sender, descriptors.into_iter().next())),
            Some(Report::NoDirectory(errno)) => {
                let error = io::Error::from_raw_os_error(errno);
                return Err(Fault::absent(format!(
                    "entering {} in the sandbox: {error}",
                    what.cwd
                )));
            }
            Some(Report::NoProgram(errno)) => return Err(no_program(shown(what), errno)),
            None => return Err(Fault::bug("a program's report makes no sense")),
        }
    }
}

fn no_program(program: &str, errno: i32) -> Fault {
    let error = io::Error::from_raw_os_error(errno);
    match errno {
        libc::ENOENT => Fault::absent(format!("starting {program}: not found in the sandbox")).hint(
            "programs come from /usr, /opt and the like, and from your home only when they are on PATH",
        ),
        libc::EACCES => Fault::denied(format!("starting {program}: {error}")),
        libc::EAGAIN => Fault::busy(format!("starting {program}: no process can be added"))
            .hint("end some, or allow more with --pids"),
        _ => Fault::failed(format!("starting {program}: {error}")),
    }
}

fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::memfd_create(c"program", flags)?);
    file.write_all(bytes)?;
    Ok(file.into())
}
