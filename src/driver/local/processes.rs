//! The process tree below a sandbox's init as the host's /proc shows it: for pausing where nothing
//! can be frozen, and for telling a recorded process from a later one with its number.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::base::fault::{Fault, Outcome};

/// Rounds of a walk: each catches what was born during the one before.
const ROUNDS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    parent: i32,
    session: i32,
    state: u8,
    started: u64,
}

fn entry(pid: i32) -> Option<Entry> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a line of /proc/PID/stat; the name in it may hold anything, so it is cut at the last `)`.
fn parse(line: &str) -> Option<Entry> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Entry {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Every process of this host's.
pub fn all() -> impl Iterator<Item = Pid> {
    let items = fs::read_dir("/proc").into_iter().flatten().flatten();
    items.filter_map(|it| Pid::from_raw(it.file_name().to_str()?.parse().ok()?))
}

/// Whether it runs nothing any more: gone, or waiting to be reaped.
pub fn has_ended(pid: Pid) -> bool {
    entry(pid.as_raw_nonzero().get()).is_none_or(|it| matches!(it.state, b'Z' | b'X'))
}

/// Does what looks at every process of the host, on a thread for that: it can take long.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Outcome<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::bug(format!("looking at processes: {error}")))
}

/// When a process was started, in the kernel's ticks: with its number this names it for ever.
pub fn started(pid: Pid) -> Option<u64> {
    entry(pid.as_raw_nonzero().get()).map(|it| it.started)
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
    /// process of the operator has one of them by now.
    fn signal(self, signal: Signal) {
        let Ok(itself) = pidfd_open(self.pid, PidfdFlags::empty()) else { return };
        if started(self.pid) == Some(self.started) {
            // It may have ended since it was listed.
            let _ = pidfd_send_signal(&itself, signal);
        }
    }
}

/// Everything below a process, leaves before those they came from, with whether it is stopped.
fn below(root: Pid) -> Vec<Seen> {
    let mut children: BTreeMap<i32, Vec<Seen>> = BTreeMap::new();
    for pid in all() {
        let it = entry(pid.as_raw_nonzero().get()).filter(|it| it.state != b'Z');
        let Some(it) = it else { continue };
        let seen = Seen { pid, started: it.started, stopped: it.state == b'T' };
        children.entry(it.parent).or_default().push(seen);
    }
    let mut order = Vec::new();
    let mut next = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = next.pop() {
        for seen in children.remove(&parent).unwrap_or_default() {
            next.push(seen.pid.as_raw_nonzero().get());
            order.push(seen);
        }
    }
    order.reverse();
    order
}

/// Signals a process and everything in the session it leads, until a look finds nobody new.
pub fn signal_session(leader: Pid, signal: Signal) {
    let mut signalled = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let mut fresh = false;
        for pid in all() {
            let Some(it) = entry(pid.as_raw_nonzero().get()) else { continue };
            // One that has just been made for it has no session of its own yet.
            let led = it.session == leader.as_raw_nonzero().get() || pid == leader;
            if led && it.state != b'Z' && signalled.insert((pid.as_raw_nonzero(), it.started)) {
                Seen { pid, started: it.started, stopped: false }.signal(signal);
                fresh = true;
            }
        }
        if !fresh {
            return;
        }
    }
}

/// Signals everything below a process, leaves first.
pub fn signal_below(root: Pid, signal: Signal) {
    for seen in below(root) {
        seen.signal(signal);
    }
}

/// Asks everything below a process to end, each in the way it listens to: shells at a prompt ignore
/// the usual signal and go when their terminal hangs up.
pub fn ask_to_end_below(root: Pid) {
    for seen in below(root) {
        let signal = if ignores_term(seen.pid) { Signal::HUP } else { Signal::TERM };
        seen.signal(signal);
        seen.signal(Signal::CONT);
    }
}

fn ignores_term(pid: Pid) -> bool {
    const TERM_BIT: u64 = 1 << (libc::SIGTERM - 1);
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = fs::read_to_string(path).unwrap_or_default();
    let mask = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).is_some_and(|it| it & TERM_BIT != 0)
}

/// Whether nothing runs below a process.
pub fn none_below(root: Pid) -> bool {
    below(root).is_empty()
}

/// Stops everything below a process, until a look finds nothing running; `false` when what is there
/// multiplies faster than it can be stopped. Parents first: a shell that still runs when its job is
/// stopped takes note of it.
pub fn stop_below(root: Pid) -> bool {
    for _ in 0..ROUNDS_MAX {
        let running: Vec<Seen> = below(root).into_iter().rev().filter(|it| !it.stopped).collect();
        if running.is_empty() {
            return true;
        }
        for seen in running {
            seen.signal(Signal::STOP);
            await_stop(seen.pid);
        }
    }
    false
}

/// Gives a process the time to take its stop before its children get theirs. One that hangs in the
/// kernel can't: the next round looks at it again.
fn await_stop(pid: Pid) {
    const LOOKS_MAX: usize = 200;
    for _ in 0..LOOKS_MAX {
        match entry(pid.as_raw_nonzero().get()) {
            Some(it) if it.state != b'T' && it.state != b'Z' => std::thread::yield_now(),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_is_no_field() {
        let line = "12 (a) S 1 (b)) T 7 12 13 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let it = parse(line).unwrap();
        assert_eq!((it.state, it.parent, it.session, it.started), (b'T', 7, 13, 4711));
        assert_eq!(parse("garbage"), None);
    }
}
