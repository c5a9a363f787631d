//! What a process calls, as it calls it: one thread for each process that is looked at, in the process that holds the
//! sandbox, which notes calls within a rate and never waits for whoever looks. Decision 0034.
//!
//! It ends when nobody takes what it tells, after a bound of time, with the process, and with the process that looks,
//! however that ends.

mod args;
mod names;
mod tracer;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
};

use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;

use self::tracer::Tracer;
pub use names::syscall as name;

use super::{pace::Pace, ptrace};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{
            LOOK_WITHIN, SYSCALLS_PART_EVERY, SYSCALLS_PART_MAX, SYSCALLS_WATCHED_MAX,
            SYSCALLS_WATCHES_MAX,
        },
    },
    driver::Syscalls,
    model::syscall::{Syscall, SyscallEnd, SyscallPart},
};

/// The threads that are traced from here, each with whether a signal holds it still: all that is traced looks stopped now
/// and then.
#[derive(Clone, Debug, Default)]
pub struct Traced(Arc<Mutex<BTreeMap<i32, bool>>>);

impl Traced {
    fn all(&self) -> MutexGuard<'_, BTreeMap<i32, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, thread: i32, held: bool) {
        self.all().insert(thread, held);
    }

    fn forget(&self, thread: i32) {
        self.all().remove(&thread);
    }

    /// Whether a thread that stands does so for a moment alone, because it is looked at.
    pub fn steps(&self, thread: i32) -> bool {
        self.all().get(&thread) == Some(&false)
    }
}

/// Looks at the calls of processes, of few at a time.
#[derive(Clone)]
pub struct Watches {
    turns: Arc<Semaphore>,
    /// Changes when all of them are to end.
    ends: watch::Sender<()>,
}

impl Default for Watches {
    fn default() -> Self {
        let turns = Arc::new(Semaphore::new(SYSCALLS_WATCHES_MAX));
        Self { turns, ends: watch::Sender::default() }
    }
}

impl Watches {
    /// What a process calls from now on that is `leader` or comes from it.
    pub async fn begin(&self, leader: u32, pid: u32, traced: Traced) -> Outcome<Syscalls> {
        let number =
            |it| i32::try_from(it).map_err(|_| Fault::invalid(format!("no process: {it}")));
        let (leader, pid) = (number(leader)?, number(pid)?);
        let turn = Arc::clone(&self.turns).try_acquire_owned().map_err(|_| {
            let words = format!("{SYSCALLS_WATCHES_MAX} processes of this sandbox are looked at");
            Fault::busy(words).hint("leave one of them")
        })?;
        let ends = self.ends.subscribe();
        let shared = Arc::new(Shared::default());
        let (begun, begins) = oneshot::channel();
        let its = Arc::clone(&shared);
        let tracing = move || {
            its.thread.store(ptrace::own(), Ordering::SeqCst);
            // Whoever asked may have left, and has it end then like one that leaves later.
            let why = match Tracer::begin(pid, leader, Arc::clone(&its), traced) {
                Ok(mut tracer) => {
                    drop(begun.send(Ok(())));
                    // That it has begun is told at once.
                    its.news.notify_one();
                    tracer.run()
                }
                Err(fault) => {
                    drop(begun.send(Err(fault)));
                    "it did not begin".to_owned()
                }
            };
            its.end(why);
            drop(turn);
        };
        let started = std::thread::Builder::new().name("syscalls".to_owned()).spawn(tracing);
        started.map_err(|error| Fault::io("looking at system calls", &error))?;
        let (parts, taken) = mpsc::channel(1);
        tokio::spawn(tell(shared, parts, ends));
        begins.await.map_err(|_| Fault::bug("looking at system calls was cut short"))??;
        Ok(Box::pin(ReceiverStream::new(taken)))
    }

    /// Lets all of them go, and waits until they are: what is looked at can't be held still by signals.
    pub async fn end_all(&self) {
        self.ends.send_replace(());
        let all = u32::try_from(SYSCALLS_WATCHES_MAX).unwrap_or(u32::MAX);
        if tokio::time::timeout(LOOK_WITHIN, self.turns.acquire_many(all)).await.is_err() {
            tracing::warn!("not all processes whose system calls are looked at were let go");
        }
    }
}

/// Hands out what was noted, as fast as it is taken and no faster than a person reads, and ends the tracing.
async fn tell(
    shared: Arc<Shared>,
    parts: mpsc::Sender<SyscallPart>,
    mut ends: watch::Receiver<()>,
) {
    let telling = async {
        loop {
            shared.news.notified().await;
            let Ok(room) = parts.reserve().await else { return };
            let part = shared.take();
            let is_over = part.over.is_some();
            room.send(part);
            if is_over {
                return;
            }
            tokio::time::sleep(SYSCALLS_PART_EVERY).await;
        }
    };
    let why = tokio::select! {
        () = telling => None,
        () = parts.closed() => None,
        Ok(()) = ends.changed() => Some("its sandbox is held still".to_owned()),
        () = tokio::time::sleep(SYSCALLS_WATCHED_MAX) => {
            let minutes = SYSCALLS_WATCHED_MAX.as_secs() / 60;
            Some(format!("it was looked at for {minutes} minutes, which is all"))
        }
    };
    // The process is let go before anybody is waited for.
    shared.stop().await;
    if let Some(why) = why {
        drop(parts.send(SyscallPart { over: Some(why), ..shared.take() }).await);
    }
}

/// What the thread that traces and whoever tells of it share.
#[derive(Debug, Default)]
struct Shared {
    noted: Mutex<Noted>,
    news: Notify,
    /// Nobody looks any more.
    over: AtomicBool,
    /// The thread that traces; 0 = it has not begun.
    thread: AtomicI32,
}

#[derive(Debug, Default)]
struct Noted {
    part: SyscallPart,
    waits: BTreeMap<i32, Syscall>,
    unseen: u32,
    /// Why nothing is noted any more.
    ended: Option<String>,
}

impl Shared {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn enters(&self, thread: i32, call: Syscall) {
        self.noted().waits.insert(thread, call);
        self.news.notify_one();
    }

    fn leaves(&self, thread: i32, end: SyscallEnd) {
        let mut noted = self.noted();
        let Some(call) = noted.waits.remove(&thread) else { return };
        noted.part.made += 1;
        if noted.part.done.len() < SYSCALLS_PART_MAX {
            noted.part.done.push(Syscall { end: Some(end), ..call });
        } else {
            noted.part.left_out += 1;
        }
        drop(noted);
        self.news.notify_one();
    }

    /// A thread has ended.
    fn gone(&self, thread: i32) {
        self.noted().waits.remove(&thread);
        self.news.notify_one();
    }

    /// Only one thread is left; what it is in, it was in by another number.
    fn became(&self, was: i32, thread: i32) {
        let mut noted = self.noted();
        let call = noted.waits.remove(&was);
        noted.waits = call
            .map(|it| (thread, Syscall { thread: thread.cast_unsigned(), ..it }))
            .into_iter()
            .collect();
    }

    /// So many threads are not looked at now.
    fn unseen(&self, threads: u32) {
        self.noted().unseen = threads;
    }

    /// Nothing is noted any more.
    fn end(&self, why: String) {
        self.noted().ended = Some(why);
        self.news.notify_one();
    }

    fn take(&self) -> SyscallPart {
        let mut noted = self.noted();
        let waits = noted.waits.values().take(SYSCALLS_PART_MAX).cloned().collect();
        let (unseen_threads, over) = (noted.unseen, noted.ended.clone());
        SyscallPart { waits, unseen_threads, over, ..std::mem::take(&mut noted.part) }
    }

    /// Has the thread end, and waits until it has: it may be woken just before it begins to wait.
    async fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
        let woken = async {
            let mut pace = Pace::default();
            while self.noted().ended.is_none() {
                ptrace::wake(self.thread.load(Ordering::SeqCst));
                tokio::time::sleep(pace.next()).await;
            }
        };
        if tokio::time::timeout(LOOK_WITHIN, woken).await.is_err() {
            tracing::warn!("a thread that looks at system calls hangs in the kernel");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::Timestamp;

    fn call(thread: u32) -> Syscall {
        let (name, args) = ("read".to_owned(), "0".to_owned());
        Syscall { thread, at: Timestamp(0), name, args, end: None }
    }

    fn end() -> SyscallEnd {
        SyscallEnd { value: 0, error: None, took: Duration::ZERO }
    }

    #[test]
    fn more_calls_than_are_shown_are_counted_and_what_a_thread_is_in_is_there_all_the_same() {
        let shared = Shared::default();
        for _ in 0..SYSCALLS_PART_MAX + 5 {
            shared.enters(7, call(7));
            shared.leaves(7, end());
        }
        shared.enters(7, call(7));
        let part = shared.take();
        assert_eq!((part.done.len(), part.left_out), (SYSCALLS_PART_MAX, 5));
        assert_eq!((part.made, part.waits.len()), (SYSCALLS_PART_MAX as u64 + 5, 1));
        // It is waited in still, and what was told is not told again.
        let part = shared.take();
        assert_eq!((part.done.len(), part.made, part.waits.len()), (0, 0, 1));
        // What ends that was never seen to begin is nothing.
        shared.leaves(8, end());
        assert_eq!(shared.take().made, 0);
    }

    #[test]
    fn what_becomes_another_program_goes_on_by_the_number_of_its_process() {
        let shared = Shared::default();
        shared.enters(7, call(7));
        shared.enters(8, call(8));
        shared.became(8, 7);
        shared.leaves(7, end());
        let part = shared.take();
        assert_eq!((part.done.len(), part.done[0].thread, part.waits.len()), (1, 7, 0));
    }
}
