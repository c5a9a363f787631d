//! The way out of a sandbox that shares the host's network: its programs connect to nothing themselves. The kernel holds
//! each `connect` and asks here, and what is for the proxy gets a connection that was made for it, in place of its own socket.
//! No port stays open for it, so that nobody else on the machine can come by one.
//!
//! Whatever a program does, it costs others nothing: calls are looked into one after the other at a rate, and the rest waits
//! in the kernel. What it has in its memory may lie on a disk that hangs, so that a look has a thread of its own, an end by the
//! clock, and few beside it. All of that is in the process of this one sandbox.

use std::{
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    net::sockopt,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::timeout,
};

use super::sys::{self, Question};
use crate::{
    base::{
        clock,
        limits::{CONNECTS_AT_ONCE_MAX, CONNECTS_BURST, CONNECTS_EVERY, GATE_LOOK_WITHIN},
    },
    driver::{Arrivals, PROXY},
};

/// The loopback answers at once, unless somebody keeps it from doing so.
const MADE_WITHIN: Duration = Duration::from_secs(1);
/// Strangers that may have come to a port before the one that it was opened for.
const STRANGERS_MAX: usize = 64;
/// What /proc says of a descriptor, in bytes; its flags come first.
const ABOUT_BYTES_MAX: u64 = 1024;

pub struct Connects {
    asked: AsyncFd<Arc<OwnedFd>>,
    turns: Turns,
    /// Being answered.
    answering: JoinSet<Option<TcpStream>>,
    /// For a thread each, which keeps its place for as long as it hangs.
    places: Arc<Semaphore>,
}

impl Connects {
    /// In a runtime.
    pub fn new(asked: OwnedFd) -> io::Result<Self> {
        let asked = sys::watched_shared(Arc::new(asked), Interest::READABLE)?;
        let places = Arc::new(Semaphore::new(CONNECTS_AT_ONCE_MAX));
        Ok(Self { asked, turns: Turns::default(), answering: JoinSet::new(), places })
    }
}

#[async_trait]
impl Arrivals for Connects {
    async fn next(&mut self) -> io::Result<tokio::net::TcpStream> {
        loop {
            tokio::select! {
                Some(answered) = self.answering.join_next() => {
                    let Ok(Some(stream)) = answered else { continue };
                    stream.set_nonblocking(true)?;
                    return tokio::net::TcpStream::from_std(stream);
                }
                question = question(&self.asked, &mut self.turns),
                    if self.answering.len() < CONNECTS_AT_ONCE_MAX =>
                {
                    let (question, asked) = (question?, Arc::clone(self.asked.get_ref()));
                    self.answering.spawn(answer(asked, question, Arc::clone(&self.places)));
                }
            }
        }
    }

    fn waited(&self) -> Option<Arc<AtomicU64>> {
        Some(Arc::clone(&self.turns.waited))
    }
}

/// So many calls are looked into at once, and then one each so often.
#[derive(Default)]
struct Turns {
    /// A `clock::monotonic`, from which on all of them may come at once.
    all_at: Duration,
    /// The next one waits already.
    waits: bool,
    /// Calls that waited.
    waited: Arc<AtomicU64>,
}

impl Turns {
    /// For how long the next one waits.
    fn wait(&self, now: Duration) -> Duration {
        let ahead = CONNECTS_EVERY * (CONNECTS_BURST - 1);
        self.all_at.saturating_sub(ahead).saturating_sub(now)
    }

    fn take(&mut self, now: Duration) {
        self.all_at = self.all_at.max(now) + CONNECTS_EVERY;
        self.waits = false;
    }

    /// Waits for the turn of one that is there. Whoever drops this has lost nothing.
    async fn come(&mut self) {
        let wait = self.wait(clock::monotonic());
        if wait == Duration::ZERO {
            return;
        }
        if !std::mem::replace(&mut self.waits, true) {
            self.waited.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(wait).await;
    }
}

/// Waits for the next call, and for its turn.
async fn question(asked: &AsyncFd<Arc<OwnedFd>>, turns: &mut Turns) -> io::Result<Question> {
    loop {
        let mut ready = asked.readable().await?;
        match ready.try_io(|asked| is_there(asked.get_ref())) {
            Ok(Ok(true)) => {}
            // No program is left that could call.
            Ok(Ok(false)) => return std::future::pending().await,
            Ok(Err(error)) => return Err(error),
            Err(_) => continue,
        }
        turns.come().await;
        // Taking one waits for one: not before one is there. The one from before may be gone.
        if !matches!(is_there(asked.get_ref()), Ok(true)) {
            continue;
        }
        match sys::question(asked.get_ref().as_fd()) {
            Ok(question) => {
                turns.take(clock::monotonic());
                return Ok(question);
            }
            // Who called is gone.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a call is there; `false` when there will be none any more.
fn is_there(asked: &OwnedFd) -> io::Result<bool> {
    let mut wanted = [PollFd::new(asked, PollFlags::IN)];
    poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    let [wanted] = wanted;
    match wanted.revents() {
        it if it.contains(PollFlags::IN) => Ok(true),
        it if it.contains(PollFlags::HUP) => Ok(false),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Answers a call, within a bounded time: what is not for the proxy reaches nothing.
async fn answer(
    asked: Arc<OwnedFd>,
    question: Question,
    places: Arc<Semaphore>,
) -> Option<TcpStream> {
    let on_time = Arc::clone(&asked);
    let looked = aside(places, GATE_LOOK_WITHIN, move || outcome(&on_time, &question));
    if let Some(outcome) = looked.await {
        return outcome;
    }
    // A look that comes to its end later finds that it was answered: the kernel takes neither a descriptor nor a word then.
    drop(sys::answer(asked.as_fd(), &question, libc::ETIMEDOUT));
    None
}

/// Does something that may hang, on a thread which nobody waits for: neither whoever is next nor the end of this process.
/// `None` when it was not done in time.
async fn aside<T: Send + 'static>(
    places: Arc<Semaphore>,
    within: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let working = async {
        let place = places.acquire_owned().await.ok()?;
        let (done, outcome) = oneshot::channel();
        let thread = std::thread::Builder::new().spawn(move || {
            drop(done.send(work()));
            drop(place);
        });
        thread.ok()?;
        outcome.await.ok()
    };
    timeout(within, working).await.ok().flatten()
}

fn outcome(asked: &OwnedFd, question: &Question) -> Option<TcpStream> {
    let outcome = connect(asked, question);
    let error = match &outcome {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EACCES),
    };
    let answered = sys::answer(asked.as_fd(), question, error);
    let (ours, theirs) = outcome.ok()?;
    if answered.is_err() {
        // Who called is gone.
        unmade(ours, theirs);
        return None;
    }
    Some(ours)
}

/// Both ends of what a program is given, which has its own copy of the second.
fn connect(asked: &OwnedFd, question: &Question) -> io::Result<(TcpStream, TcpStream)> {
    let caller = Caller::of(question.pid)?;
    // It is that thread's for good, if that is who asks still: else it may be another's, who has the number now.
    sys::still_asks(asked.as_fd(), question)?;
    if caller.address(question)? != PROXY {
        return Err(Errno::NETUNREACH.into());
    }
    let flags = caller.flags(question)?;
    let (ours, theirs) = connection()?;
    let close_on_exec = flags.contains(OFlags::CLOEXEC);
    let given = theirs
        .set_nonblocking(flags.contains(OFlags::NONBLOCK))
        .and_then(|()| sys::put_in_place(asked.as_fd(), question, theirs.as_fd(), close_on_exec));
    match given {
        Ok(()) => Ok((ours, theirs)),
        Err(error) => {
            unmade(ours, theirs);
            Err(error)
        }
    }
}

/// Ends a connection that nobody got, so that the kernel does not remember it for a minute, with its port.
fn unmade(ours: TcpStream, theirs: TcpStream) {
    let _ = sockopt::set_socket_linger(&ours, Some(Duration::ZERO));
    drop(ours);
    drop(theirs);
}

/// The thread that calls, by its directory in /proc: it names that thread for ever, and nobody who gets its number later.
struct Caller(OwnedFd);

impl Caller {
    fn of(pid: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, format!("/proc/{pid}"), flags, Mode::empty())?))
    }

    fn open(&self, file: &str) -> io::Result<std::fs::File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(openat(&self.0, file, flags, Mode::empty())?.into())
    }

    /// Where it wants to connect to. It may change what it said meanwhile: that is heeded by nobody.
    fn address(&self, question: &Question) -> io::Result<SocketAddr> {
        let memory = self.open("mem")?;
        let mut bytes = [0; size_of::<libc::sockaddr_in>()];
        let [_, at, length, ..] = question.arguments;
        if length < bytes.len() as u64 {
            return Err(Errno::INVAL.into());
        }
        memory.read_exact_at(&mut bytes, at).map_err(|_| Errno::FAULT)?;
        let [f0, f1, p0, p1, a, b, c, d, ..] = bytes;
        if i32::from(u16::from_ne_bytes([f0, f1])) != libc::AF_INET {
            return Err(Errno::NETUNREACH.into());
        }
        Ok((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p0, p1])).into())
    }

    /// How it has its socket open.
    fn flags(&self, question: &Question) -> io::Result<OFlags> {
        let [descriptor, ..] = question.arguments;
        let about = self.open(&format!("fdinfo/{}", descriptor as u32)).map_err(|_| Errno::BADF)?;
        let mut text = String::new();
        about.take(ABOUT_BYTES_MAX).read_to_string(&mut text)?;
        let flags = text.lines().find_map(|it| it.strip_prefix("flags:"));
        let flags = flags.and_then(|it| u32::from_str_radix(it.trim(), 8).ok());
        flags.map(OFlags::from_bits_retain).ok_or_else(|| Errno::BADF.into())
    }
}

/// Both ends of a new connection over the host's loopback, and of no other.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let theirs = TcpStream::connect_timeout(&listener.local_addr()?, MADE_WITHIN)?;
    let wanted = theirs.local_addr()?;
    listener.set_nonblocking(true)?;
    for _ in 0..STRANGERS_MAX {
        let (ours, from) = listener.accept()?;
        if from == wanted {
            ours.set_nonblocking(true)?;
            return Ok((ours, theirs));
        }
    }
    Err(Errno::AGAIN.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_each_others_and_no_port_stays_open() {
        let (mut ours, mut theirs) = connection().unwrap();
        theirs.write_all(b"there").unwrap();
        drop(theirs.shutdown(std::net::Shutdown::Write));
        ours.set_nonblocking(false).unwrap();
        let mut heard = String::new();
        ours.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "there");
        let port = ours.local_addr().unwrap();
        assert!(TcpStream::connect(port).is_err());
    }

    fn alone<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(work)
    }

    #[test]
    fn so_many_calls_come_at_once_and_then_one_each_so_often() {
        let (mut turns, now) = (Turns::default(), clock::monotonic() + Duration::from_secs(1000));
        let mut at_once = 0;
        while turns.wait(now) == Duration::ZERO {
            turns.take(now);
            at_once += 1;
        }
        assert_eq!((at_once, turns.wait(now)), (CONNECTS_BURST, CONNECTS_EVERY));
        // One that waits is counted once, however often whoever waits with it is called away.
        alone(async {
            for _ in 0..3 {
                let mut turn = std::pin::pin!(turns.come());
                let once =
                    std::future::poll_fn(|it| std::task::Poll::Ready(turn.as_mut().poll(it)));
                assert!(once.await.is_pending());
            }
        });
        assert_eq!(turns.waited.load(Ordering::Relaxed), 1);
        let later = now + CONNECTS_EVERY;
        assert_eq!(turns.wait(later), Duration::ZERO);
        turns.take(later);
        assert_eq!(turns.wait(later), CONNECTS_EVERY);
        assert_eq!(turns.wait(later + CONNECTS_EVERY * CONNECTS_BURST), Duration::ZERO);
    }

    #[test]
    fn looks_that_hang_hold_up_nobody_but_those_who_have_no_place_then() {
        alone(async {
            const SHORT: Duration = Duration::from_millis(50);
            let places = Arc::new(Semaphore::new(2));
            let work = || aside(Arc::clone(&places), SHORT, || ());
            let (held, holds) = std::sync::mpsc::sync_channel::<()>(1);
            let holds = Arc::new(std::sync::Mutex::new(holds));
            for _ in 0..2 {
                let holds = Arc::clone(&holds);
                let hangs = move || {
                    let _ = holds.lock().unwrap().recv();
                };
                assert!(aside(Arc::clone(&places), SHORT, hangs).await.is_none());
            }
            // Nothing is left to be looked into by, and that is said, too.
            assert!(work().await.is_none());
            drop(held);
            while work().await.is_none() {}
        });
    }

    #[test]
    fn a_caller_that_has_ended_is_nobody_else() {
        let mut sleeps = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let caller = Caller::of(sleeps.id()).unwrap();
        assert!(caller.open("mem").is_ok());
        sleeps.kill().unwrap();
        sleeps.wait().unwrap();
        // Whoever has its number by now.
        assert!(caller.open("mem").is_err());
    }
}
