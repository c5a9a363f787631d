//! The shim's end of a sandbox: asks its init to start programs, hears how they end, watches it die.

use std::{
    collections::HashMap,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{oneshot, watch},
    time::timeout,
};

use super::{
    mark::{Hunt, Mark, Orphans},
    message::{Description, On, Order, Packet, Report, Word, receive, send},
    namespaces::Held,
    pace::Pace,
    sys, turns,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{ANSWER_WITHIN, RUNTIME_WITHIN, RUNTIME_WORDS_BYTES_MAX, WRITES_DOWN_WITHIN},
        text,
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
    /// The last number given away. Init is told the number with the order, and tells it with the end.
    last: u64,
    /// Ordered, and not known to have ended.
    running: HashMap<u64, oneshot::Sender<ExitStatus>>,
}

pub struct Link {
    pub pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    control: AsyncFd<OwnedFd>,
    mark: Option<Mark>,
    programs: Mutex<Programs>,
    life: watch::Sender<Life>,
    /// Who waits for what was to be done with the whole container.
    kept: Mutex<Option<oneshot::Sender<String>>>,
}

/// What a sandbox's first process says when it is built and locked in.
pub struct Ready {
    /// What it has to say of itself.
    pub notes: Vec<String>,
    /// What it opened inside.
    pub opened: Vec<OwnedFd>,
}

/// A program that init has started.
pub struct Begun {
    pub pid: Option<u32>,
    /// The other side of the terminal init made.
    pub terminal: Option<OwnedFd>,
    pub exit: oneshot::Receiver<ExitStatus>,
}

/// The number of a program; struck off again unless init gets the order.
struct Enlisted<'a> {
    link: &'a Link,
    number: u64,
    sent: bool,
}

impl Drop for Enlisted<'_> {
    fn drop(&mut self) {
        if !self.sent {
            self.link.programs().running.remove(&self.number);
        }
    }
}

impl Link {
    /// Tells the clone to go on and waits until it is ready.
    pub async fn open(held: Held, within: Duration) -> Outcome<(Arc<Self>, Ready)> {
        let fault = |error: io::Error| Fault::io("watching the sandbox", &error);
        let Held { pid, pidfd, control, mark } = held;
        let control =
            sys::watched(control, Interest::READABLE | Interest::WRITABLE).map_err(fault)?;
        let pidfd = sys::watched(pidfd, Interest::READABLE).map_err(fault)?;
        let (life, _) = watch::channel(Life::Runs);
        let link = Self {
            pid,
            pidfd,
            control,
            mark,
            programs: Mutex::default(),
            life,
            kept: Mutex::default(),
        };
        let ready = match timeout(within, link.handshake()).await {
            Ok(Ok(ready)) => ready,
            other => {
                link.kill();
                link.bury().await;
                return Err(match other {
                    Ok(Err(fault)) => fault,
                    _ => Fault::late("building the sandbox: it did not get ready in time"),
                });
            }
        };
        let link = Arc::new(link);
        // Ends by itself when init has died.
        drop(tokio::spawn(Arc::clone(&link).listen()));
        Ok((link, ready))
    }

    async fn handshake(&self) -> Outcome<Ready> {
        self.order(Order::Go, &[]).await?;
        let packet = self.control.async_io(Interest::READABLE, |it| receive(it)).await;
        let (word, opened) =
            packet.map_or((None, Vec::new()), |it| (Word::parse(&it.bytes), it.descriptors));
        match word {
            Some(Word::Ready(notes)) => {
                Ok(Ready { notes: notes.lines().map(str::to_owned).collect(), opened })
            }
            Some(Word::Failed(text)) => Err(Fault::failed(format!("building the sandbox: {text}"))
                .hint("`sandwatch doctor` tries each part of it on its own")),
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
            Ok(Err(error)) => Err(not_asked(&error)),
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
                Word::Refused { number } => drop(self.programs().running.remove(&number)),
                Word::Exited { number, code } => self.ended(number, ExitStatus::Code(code)),
                Word::Killed { number, signal } => self.ended(number, ExitStatus::Signal(signal)),
                Word::Kept(words) => {
                    let waits = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
                    drop(waits.map(|it| it.send(words)));
                }
                Word::Ready(_) | Word::Failed(_) => {}
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
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.life.send_replace(Life::Over(reason));
    }

    fn ended(&self, number: u64, status: ExitStatus) {
        let waits = self.programs().running.remove(&number);
        if let Some(exit) = waits {
            // Nobody may be waiting any more.
            let _ = exit.send(status);
        }
    }

    fn enlist(&self) -> (Enlisted<'_>, oneshot::Receiver<ExitStatus>) {
        let (exit, ended) = oneshot::channel();
        let mut programs = self.programs();
        programs.last += 1;
        let number = programs.last;
        programs.running.insert(number, exit);
        drop(programs);
        (Enlisted { link: self, number, sent: false }, ended)
    }

    /// Passes on how a program ended, and has it killed with its session when nobody waits for that, or for the
    /// end of one of `streams` (each says when it was read to its end, and hangs up otherwise).
    async fn attend(
        self: Arc<Self>,
        number: u64,
        ended: oneshot::Receiver<ExitStatus>,
        mut exit: oneshot::Sender<ExitStatus>,
        streams: Vec<oneshot::Receiver<()>>,
    ) {
        let heard = tokio::select! {
            biased;
            status = ended => match status {
                Ok(status) => exit.send(status).is_ok(),
                // Refused, or gone with everything else.
                Err(_) => return,
            },
            () = exit.closed() => false,
        };
        let mut whole = heard;
        for stream in streams {
            whole = whole && stream.await.is_ok();
        }
        self.tell(if whole { Order::Done { number } } else { Order::End { number } }).await;
    }

    /// Says something that init must hear, however long it takes: while it is paused it reads nothing.
    async fn tell(&self, order: Order) {
        let mut pace = Pace::default();
        while let Err(error) = self.put(order, &[]).await
            && !has_hung_up(&error)
        {
            tokio::time::sleep(pace.next()).await;
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

    /// Has who keeps a container ask its programs to end.
    pub async fn ask_to_end(&self) -> Outcome<()> {
        self.order(Order::Leave, &[]).await
    }

    /// Has who keeps a container write it down with its programs, in an open directory; they stand still from then on.
    pub async fn keep(&self, directory: BorrowedFd<'_>) -> Outcome<()> {
        // Held still, written, and let go on if that failed.
        let within = WRITES_DOWN_WITHIN + 2 * RUNTIME_WITHIN + ANSWER_WITHIN;
        self.with_all(Order::Keep, &[directory], within).await
    }

    /// Has programs go on that stand still since they were written down.
    pub async fn go_on(&self) -> Outcome<()> {
        self.with_all(Order::GoOn, &[], RUNTIME_WITHIN + ANSWER_WITHIN).await
    }

    /// One at a time.
    async fn with_all(
        &self,
        order: Order,
        descriptors: &[BorrowedFd<'_>],
        within: Duration,
    ) -> Outcome<()> {
        let (done, words) = oneshot::channel();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        self.order(order, descriptors).await?;
        match timeout(within, words).await {
            Ok(Ok(words)) if words.is_empty() => Ok(()),
            Ok(Ok(words)) => Err(Fault::failed(text::shown(&words, RUNTIME_WORDS_BYTES_MAX))),
            Ok(Err(_)) => Err(Fault::lost("its first process is gone")),
            Err(_) => Err(Fault::late("its runtime did not answer in time")),
        }
    }

    /// Whether the end of every program has been told.
    pub fn runs_nothing(&self) -> bool {
        self.programs().running.is_empty()
    }

    pub fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Waits until nothing of it is left; says how its first process ended.
    pub async fn over(&self) -> String {
        match self.life().wait_for(|it| matches!(it, Life::Over(_))).await.as_deref() {
            Ok(Life::Over(reason)) => reason.clone(),
            _ => "nobody watches it any more".to_owned(),
        }
    }

    /// Ends everything at once; `life` tells when that is so.
    pub fn kill(&self) {
        // Dead already is as good.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Has init start a program and waits until the program has taken over. `outputs` tell when they were read
    /// to their end; one that hangs up before ends the program and its session, as does a dropped `exit`.
    pub async fn start(
        self: &Arc<Self>,
        on: On,
        what: &Description,
        streams: &[BorrowedFd<'_>],
        outputs: Vec<oneshot::Receiver<()>>,
    ) -> Outcome<Begun> {
        if let Life::Over(reason) = &*self.life.borrow() {
            return Err(Fault::lost(format!(
                "starting a program: the sandbox has ended: {reason}"
            )));
        }
        let description = memory_file(&what.bytes())
            .map_err(|error| Fault::io("describing the program", &error))?;
        let (ours, theirs) = super::namespaces::pair()?;
        rustix::net::sockopt::set_socket_passcred(&ours, true)
            .map_err(|error| Fault::io("asking for a process id", &error.into()))?;
        let mut descriptors = vec![description.as_fd(), theirs.as_fd()];
        descriptors.extend(streams);
        let (mut enlisted, ended) = self.enlist();
        let number = enlisted.number;
        self.order(Order::Start { number, on }, &descriptors).await?;
        enlisted.sent = true;
        drop(descriptors);
        drop(theirs);
        // From here on, leaving without `exit` ends the program, as soon as init comes to it.
        let (exit_in, exit) = oneshot::channel();
        drop(tokio::spawn(Arc::clone(self).attend(number, ended, exit_in, outputs)));
        let reports = sys::watched(ours, Interest::READABLE)
            .map_err(|error| Fault::io("hearing from the program", &error))?;
        let reported = timeout(ANSWER_WITHIN, hear(&reports, what)).await;
        let (pid, terminal) = reported.map_err(|_| {
            Fault::late(format!("starting {}: no word from the sandbox", shown(what)))
        })??;
        if let Some(pid) = pid {
            turns::program(pid);
        }
        Ok(Begun { pid, terminal, exit })
    }
}

fn has_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn not_asked(error: &io::Error) -> Fault {
    let asking = "asking the sandbox";
    match error.raw_os_error() {
        _ if has_hung_up(error) => Fault::lost(format!("{asking}: its first process is gone")),
        Some(libc::ETOOMANYREFS) => Fault::busy(format!(
            "{asking}: this user's programs have too many open files on their way to each other"
        ))
        .hint("a program in one of your sandboxes does that; `sandwatch stop` ends it with its sandbox"),
        _ => Fault::io(asking, error),
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
            Some(Report::Refused(words)) => {
                let words = text::shown(&words, RUNTIME_WORDS_BYTES_MAX);
                return Err(Fault::failed(format!("starting {}: {words}", shown(what))));
            }
            None => return Err(Fault::bug("a program's report makes no sense")),
        }
    }
}

pub fn no_program(program: &str, errno: i32) -> Fault {
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

pub fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::memfd_create(c"program", flags)?);
    file.write_all(bytes)?;
    Ok(file.into())
}
