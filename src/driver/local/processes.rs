//! The processes of this host as /proc shows them: the tree below a sandbox's init, for pausing where
//! nothing can be frozen, and telling a recorded process from a later one with its number.
//!
//! A name in /proc may be any bytes. What can't be read is never taken for what is not there, and a
//! process has ended when its last thread has, whatever has become of its first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
};

use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, RawDir, SeekFrom, seek},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, test_kill_process},
};

use super::pace::Pace;
use crate::base::{
    clock,
    fault::{Fault, Outcome},
    limits::STOP_TAKEN_WITHIN,
};

/// Rounds of a walk: each catches what was born during the one before.
const ROUNDS_MAX: usize = 64;
/// Looks in a row that must find nothing before that is so. One is enough unless numbers start over
/// during it: they are given out upwards, and a look goes upwards too.
pub const CLEAN_LOOKS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    parent: i32,
    session: i32,
    state: u8,
    started: u64,
}

impl Entry {
    /// Its first thread has ended; others may run on.
    fn is_shell(self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Whether this says that a process is not there any more.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// What says so of one that is there still, for nobody has asked how it ended.
pub fn ended() -> io::Error {
    Errno::SRCH.into()
}

/// Takes in a file that has no length before it is read, as those in /proc; in few calls.
fn read_whole(path: &str) -> io::Result<Vec<u8>> {
    const AT_ONCE: usize = 4096;
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    loop {
        bytes.reserve(AT_ONCE);
        match rustix::io::read(&file, spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(bytes),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A file of a process in /proc; `None` when it is another user's, and hidden from this one.
pub fn read(pid: Pid, file: &str) -> io::Result<Option<Vec<u8>>> {
    match read_whole(&format!("/proc/{}/{file}", pid.as_raw_nonzero())) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            match test_kill_process(pid) {
                Err(Errno::PERM) => Ok(None),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

fn entry(pid: Pid) -> io::Result<Option<Entry>> {
    let Some(line) = read(pid, "stat")? else { return Ok(None) };
    parse(&line).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads a line of /proc/PID/stat; the name in it may hold anything, so it is cut at the last `)`.
fn parse(line: &[u8]) -> Option<Entry> {
    let (_, rest) = line.split_at_checked(line.iter().rposition(|it| *it == b')')? + 1)?;
    let fields: Vec<&str> = str::from_utf8(rest).ok()?.split_whitespace().collect();
    Some(Entry {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Shows every process of this host's, upwards and few at a time: what is shown was listed just before.
/// One that has ended by then, be it gone or not, may have left a child that was born since, and numbers
/// are given out upwards: what follows is listed anew, and it is shown again when it is still there. The
/// last other error is told when all have been shown.
pub fn each(mut show: impl FnMut(Pid) -> io::Result<()>) -> io::Result<()> {
    const LISTED_BYTES: usize = 1024;
    let all = rustix::fs::open(
        c"/proc",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut listed = [MaybeUninit::uninit(); LISTED_BYTES];
    let (mut at, mut ended, mut outcome) = (0, None, Ok(()));
    'anew: loop {
        let mut list = RawDir::new(&all, &mut listed);
        while let Some(item) = list.next() {
            let item = item?;
            let itself = at;
            at = item.next_entry_cookie();
            let number = item.file_name().to_str().ok().and_then(|it| it.parse().ok());
            let Some(pid) = number.and_then(Pid::from_raw) else { continue };
            match show(pid) {
                Err(error) if is_gone(&error) => {
                    if ended.replace(pid) != Some(pid) {
                        at = itself;
                        seek(&all, SeekFrom::Start(at))?;
                        continue 'anew;
                    }
                }
                Err(error) => outcome = Err(error),
                Ok(()) => {}
            }
        }
        return outcome;
    }
}

/// Shows every child of this process's, hidden in /proc or not, where the kernel tells them.
pub fn each_child(mut show: impl FnMut(Pid) -> io::Result<()>) -> io::Result<()> {
    let mut outcome = Ok(());
    for thread in fs::read_dir("/proc/self/task")? {
        let children = match fs::read_to_string(thread?.path().join("children")) {
            Err(error) if is_gone(&error) => continue,
            other => other?,
        };
        for pid in children.split_whitespace().filter_map(|it| Pid::from_raw(it.parse().ok()?)) {
            match show(pid) {
                Err(error) if !is_gone(&error) => outcome = Err(error),
                _ => {}
            }
        }
    }
    outcome
}

/// Whether it runs nothing any more, in any of its threads.
pub fn has_ended(itself: &OwnedFd) -> io::Result<bool> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut wanted = [PollFd::new(itself, PollFlags::IN)];
    Ok(poll(&mut wanted, Some(&at_once))? > 0)
}

/// Does what looks at every process of the host, on a thread for that: it can take long. Where no thread
/// can be had, for the operator's processes are at their bound, it is done here: that is when what
/// is in the way has to be ended.
pub async fn aside<T: Send + 'static>(work: impl Fn() -> T + Clone + Send + 'static) -> Outcome<T> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    // Whoever asked may have left.
    let here = work.clone();
    let helper = std::thread::Builder::new().spawn(move || drop(done.send(work())));
    if helper.is_err() {
        return Ok(here());
    }
    outcome.await.map_err(|_| Fault::bug("looking at processes: it was cut short"))
}

/// When a process was started, in the kernel's ticks: with its number this names it for ever. `None`
/// when there is none.
pub fn started(pid: Pid) -> io::Result<Option<u64>> {
    match entry(pid) {
        Err(error) if is_gone(&error) => Ok(None),
        found => Ok(found?.map(|it| it.started)),
    }
}

/// One process as it was when looked at.
#[derive(Clone, Copy, Debug)]
struct Seen {
    pid: Pid,
    started: u64,
    stopped: bool,
}

impl Seen {
    /// Signals this process and no other: a sandbox may make its numbers go round so fast that a
    /// process of the operator has one of them by now. It may have ended since it was listed.
    fn signal(self, signal: Signal) -> io::Result<()> {
        let itself = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(()),
            // gVisor's kernel has none.
            Err(Errno::NOSYS) => {
                if started(self.pid)? == Some(self.started) {
                    // It may have ended.
                    let _ = rustix::process::kill_process(self.pid, signal);
                }
                return Ok(());
            }
            other => other?,
        };
        if started(self.pid)? == Some(self.started) {
            match pidfd_send_signal(&itself, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// What is below a process.
struct Tree {
    /// Leaves before those they came from.
    seen: Vec<Seen>,
    /// Each that was seen has a parent that was seen, so that it is known where it belongs.
    whole: bool,
}

fn below(root: Pid) -> io::Result<Tree> {
    let mut children: BTreeMap<i32, Vec<Seen>> = BTreeMap::new();
    let mut all = BTreeSet::new();
    each(|pid| {
        if let Some((parent, seen)) = living(pid)? {
            all.insert(pid.as_raw_nonzero().get());
            children.entry(parent).or_default().push(seen);
        }
        Ok(())
    })?;
    let missed = |parent: i32| {
        let Some(pid) = Pid::from_raw(parent).filter(|_| !all.contains(&parent)) else {
            return false;
        };
        // One of another user's that this one may not see is none of the sandbox's.
        test_kill_process(pid) != Err(Errno::PERM)
    };
    let whole = !children.keys().any(|it| missed(*it));
    let mut seen = Vec::new();
    let mut next = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            next.push(child.pid.as_raw_nonzero().get());
            seen.push(child);
        }
    }
    seen.reverse();
    Ok(Tree { seen, whole })
}

/// Shows every process below this one, until one is taken.
pub fn each_below<T>(root: Pid, mut show: impl FnMut(Pid) -> Option<T>) -> io::Result<Option<T>> {
    Ok(below(root)?.seen.into_iter().find_map(|it| show(it.pid)))
}

/// The process that it comes from, while it lives.
pub fn parent(pid: Pid) -> Option<Pid> {
    entry(pid).ok().flatten().and_then(|it| Pid::from_raw(it.parent))
}

/// A process, with its parent; an error that says so when it has ended, `None` when it is hidden from
/// this one.
fn living(pid: Pid) -> io::Result<Option<(i32, Seen)>> {
    let Some(it) = entry(pid)? else { return Ok(None) };
    let mut stopped = it.state == b'T';
    if it.is_shell() {
        if has_ended(&pidfd_open(pid, PidfdFlags::empty())?)? {
            return Err(ended());
        }
        stopped = threads_are_stopped(pid)?;
    }
    Ok(Some((it.parent, Seen { pid, started: it.started, stopped })))
}

fn threads_are_stopped(pid: Pid) -> io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))? {
        let stat = match fs::read(thread?.path().join("stat")) {
            // It ran, so there may be another now.
            Err(error) if is_gone(&error) => return Ok(false),
            other => other?,
        };
        let it = parse(&stat).ok_or(io::ErrorKind::InvalidData)?;
        if it.state != b'T' && !it.is_shell() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Signals a process that this one has not reaped, and everything in the session it leads, until a look
/// finds nobody new.
pub fn signal_session(leader: Pid, signal: Signal) {
    // Ended is fine, and its number is its own.
    let _ = rustix::process::kill_process(leader, signal);
    let mut signalled = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let mut fresh = false;
        let listed = each(|pid| match entry(pid)? {
            Some(it) if it.session == leader.as_raw_nonzero().get() => {
                if signalled.insert((pid.as_raw_nonzero(), it.started)) {
                    fresh = true;
                    Seen { pid, started: it.started, stopped: false }.signal(signal)?;
                }
                if it.is_shell() { Err(ended()) } else { Ok(()) }
            }
            _ => Ok(()),
        });
        if listed.is_ok() && !fresh {
            return;
        }
    }
}

/// Processes that stood still by themselves, each with when it started.
pub type Asleep = BTreeSet<(i32, u64)>;

/// What stands still below a process, as a job does that was put aside with ^Z.
pub fn asleep_below(root: Pid) -> io::Result<Asleep> {
    let asleep = below(root)?.seen.into_iter().filter(|it| it.stopped);
    Ok(asleep.map(|it| (it.pid.as_raw_nonzero().get(), it.started)).collect())
}

/// Lets everything below a process go on but what was asleep, leaves first.
pub fn wake_below(root: Pid, asleep: &Asleep) -> io::Result<()> {
    let stopped = below(root)?.seen.into_iter();
    let stopped =
        stopped.filter(|it| !asleep.contains(&(it.pid.as_raw_nonzero().get(), it.started)));
    stopped.map(|it| it.signal(Signal::CONT)).fold(Ok(()), Result::and)
}

/// Asks everything below a process to end, each in the way it listens to: shells at a prompt ignore
/// the usual signal and go when their terminal hangs up.
pub fn ask_to_end_below(root: Pid) -> io::Result<()> {
    let mut outcome = Ok(());
    for seen in below(root)?.seen {
        if leads_namespace(seen.pid) {
            continue;
        }
        let signal = if ignores_term(seen.pid) { Signal::HUP } else { Signal::TERM };
        outcome = outcome.and(seen.signal(signal)).and(seen.signal(Signal::CONT));
    }
    outcome
}

/// Whether it is process 1 of a namespace below this one: it stands for those in it, which end with it.
fn leads_namespace(pid: Pid) -> bool {
    let status = read(pid, "status").ok().flatten().unwrap_or_default();
    let mut lines = status.split(|it| *it == b'\n');
    let numbers = lines.find_map(|it| str::from_utf8(it.strip_prefix(b"NSpid:")?).ok());
    let numbers: Vec<&str> = numbers.unwrap_or_default().split_whitespace().collect();
    numbers.len() > 1 && numbers.last() == Some(&"1")
}

fn ignores_term(pid: Pid) -> bool {
    const TERM_BIT: u64 = 1 << (libc::SIGTERM - 1);
    let status = read(pid, "status").ok().flatten().unwrap_or_default();
    let mut lines = status.split(|it| *it == b'\n');
    let mask = lines.find_map(|it| str::from_utf8(it.strip_prefix(b"SigIgn:")?).ok());
    mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).is_some_and(|it| it & TERM_BIT != 0)
}

/// Whether nothing runs below a process.
pub fn none_below(root: Pid) -> io::Result<bool> {
    for _ in 0..CLEAN_LOOKS {
        let tree = below(root)?;
        if !tree.seen.iter().all(|it| leads_namespace(it.pid)) || !tree.whole {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Stops everything below a process, until looks find nothing running; `false` when what is there
/// multiplies faster than it can be stopped. Parents first: a shell that still runs when its job is
/// stopped takes note of it.
pub fn stop_below(root: Pid) -> io::Result<bool> {
    let mut clean = 0;
    for _ in 0..ROUNDS_MAX {
        let tree = below(root)?;
        let running: Vec<Seen> = tree.seen.into_iter().rev().filter(|it| !it.stopped).collect();
        clean = if running.is_empty() && tree.whole { clean + 1 } else { 0 };
        if clean == CLEAN_LOOKS {
            return Ok(true);
        }
        for seen in running {
            seen.signal(Signal::STOP)?;
            await_stop(seen.pid);
        }
    }
    Ok(false)
}

/// Gives a process the time to take its stop before its children get theirs, on a machine with much to do as well. One that
/// hangs in the kernel can't: the next round looks at it again.
#[expect(
    clippy::disallowed_methods,
    reason = "stopping has a thread of its own, which draws nothing"
)]
fn await_stop(pid: Pid) {
    let (mut pace, until) = (Pace::default(), clock::monotonic() + STOP_TAKEN_WITHIN);
    loop {
        let hangs = entry(pid).is_ok_and(|it| it.is_none_or(|it| it.state == b'D'));
        match living(pid) {
            Ok(Some((_, it))) if !it.stopped && !hangs && clock::monotonic() < until => {
                std::thread::sleep(pace.next());
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_any_bytes_and_is_no_field() {
        let line =
            b"12 (a) S 1 (b)) \xff\xfe) T 7 12 13 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n";
        let it = parse(line).unwrap();
        assert_eq!((it.state, it.parent, it.session, it.started), (b'T', 7, 13, 4711));
        assert_eq!(parse(b"garbage"), None);
        assert_eq!(parse(b"garbage)"), None);
    }

    #[test]
    fn every_process_is_listed_and_this_one_lives() {
        let own = rustix::process::getpid();
        let (mut found, mut before) = (0, 0);
        each(|pid| {
            assert!(pid.as_raw_nonzero().get() > before, "not upwards");
            before = pid.as_raw_nonzero().get();
            found += usize::from(pid == own);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, 1);
        assert!(living(own).unwrap().is_some());
    }

    #[test]
    fn a_child_of_one_that_ended_since_it_was_listed_is_found() {
        a_child_is_found(true);
        a_child_is_found(false);
    }

    fn a_child_is_found(reaped: bool) {
        let sleeper = || std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        // Numbers start over now and then.
        for _ in 0..5 {
            let (mut ends, mut comes, mut found) = (sleeper(), None, false);
            let old = Pid::from_child(&ends);
            let itself = pidfd_open(old, PidfdFlags::empty()).unwrap();
            each(|pid| {
                if pid == old && comes.is_none() {
                    comes = Some(sleeper());
                    ends.kill()?;
                    poll(&mut [PollFd::new(&itself, PollFlags::IN)], None)?;
                    if reaped {
                        ends.wait()?;
                    }
                }
                found |= comes.as_ref().is_some_and(|it| pid == Pid::from_child(it));
                living(pid).map(drop)
            })
            .unwrap();
            let (mut comes, old) = (comes.unwrap(), ends.id());
            comes.kill().unwrap();
            comes.wait().unwrap();
            ends.wait().unwrap();
            if comes.id() > old {
                return assert!(found);
            }
        }
    }

    #[test]
    fn what_has_ended_is_told_from_what_is_not_there() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let itself = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert!(!has_ended(&itself).unwrap());
        child.kill().unwrap();
        poll(&mut [PollFd::new(&itself, PollFlags::IN)], None).unwrap();
        assert!(is_gone(&living(pid).unwrap_err()) && started(pid).unwrap().is_some());
        child.wait().unwrap();
        assert_eq!(started(pid).unwrap(), None);
        assert!(is_gone(&living(pid).unwrap_err()));
    }
}
