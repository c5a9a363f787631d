//! What the processes of a session do, and what each waits on, as /proc tells whoever started them. It looks, and
//! touches nothing.
//!
//! All that is read is a hostile program's: bounded, made visible, and never waited for without an end by whoever asked,
//! for a process can be made whose files in /proc can't be read to their end. A look that takes too long, or that nobody
//! waits for any more, ends at the next process, thread or descriptor.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use rustix::process::Pid;
use tokio::sync::Semaphore;

use super::{
    full::Disks,
    processes,
    sockets::Networks,
    syscalls::{Traced, Watches},
    waits::{self, Here, Wait},
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{
            LOOK_WITHIN, LOOKS_AT_ONCE, NAME_BYTES_MAX, PROCESS_COMMAND_BYTES_MAX,
            PROCESS_THREADS_MAX, PROCESSES_SHOWN_MAX,
        },
        text,
    },
    driver::Syscalls,
    model::process::{Doing, Process, Reading},
};

/// What the kernel counts processor time in for others, whatever it counts in itself.
const TICKS_PER_SECOND: u64 = 100;
/// Said where the kernel keeps the system call of a process to itself.
const NO_CALLS: &str =
    "what its processes wait on can't be seen: this kernel does not tell who does not trace them";

/// Looks at processes aside, few at a time: one that can't be looked at to its end holds up others that look, and nobody
/// else.
#[derive(Clone)]
pub struct Looker {
    turns: Arc<Semaphore>,
    disks: Disks,
    watches: Watches,
    traced: Traced,
}

impl Default for Looker {
    fn default() -> Self {
        let turns = Arc::new(Semaphore::new(LOOKS_AT_ONCE));
        let (disks, watches) = (Disks::default(), Watches::default());
        Self { turns, disks, watches, traced: Traced::default() }
    }
}

impl Looker {
    /// What the process that leads a session does, and all below it.
    pub async fn look(&self, leader: u32) -> Outcome<Reading> {
        let pid = i32::try_from(leader).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Fault::bug("a session is led by no process"))?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| Fault::bug("nobody may look at processes"))?;
        let (done, outcome) = tokio::sync::oneshot::channel();
        let traced = self.traced.clone();
        let looking = move || {
            let wanted = || !done.is_closed();
            let seen = Look { traced, ..Look::new(&wanted) }.at(pid);
            drop(turn);
            // Whoever asked may have left.
            drop(done.send(seen));
        };
        let fault = |error: &io::Error| Fault::io("looking at the session's processes", error);
        let started = std::thread::Builder::new().name("processes".to_owned()).spawn(looking);
        started.map_err(|error| fault(&error))?;
        let seen = outcome.await.map_err(|_| Fault::bug("looking at processes was cut short"))?;
        let mut seen = seen.map_err(|error| fault(&error))?;
        seen.full = self.disks.full(leader, &seen).await;
        Ok(seen)
    }

    /// What a process calls from now on that leads a session, or comes from the one that does.
    pub async fn syscalls(&self, leader: u32, pid: u32) -> Outcome<Syscalls> {
        self.watches.begin(leader, pid, self.traced.clone()).await
    }

    /// Lets go of all whose calls are looked at.
    pub async fn let_go(&self) {
        self.watches.end_all().await;
    }
}

/// A line of `stat`, as far as it says something of what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub state: u8,
    pub parent: i32,
    pub group: i32,
    /// The kernel's number of the terminal; 0 = none.
    pub terminal: i32,
    /// The group that has it.
    pub front: i32,
    ticks: u64,
    threads: u32,
}

impl Stat {
    /// The name in it may hold anything, so it is cut at the last `)`.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (_, rest) = line.split_at_checked(line.iter().rposition(|it| *it == b')')? + 1)?;
        let fields: Vec<&str> = str::from_utf8(rest).ok()?.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<i64>().ok();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: i32::try_from(number(1)?).ok()?,
            group: i32::try_from(number(2)?).ok()?,
            terminal: i32::try_from(number(4)?).ok()?,
            front: i32::try_from(number(5)?).ok()?,
            ticks: ticks(11)?.saturating_add(ticks(12)?),
            threads: u32::try_from(number(17)?).ok()?,
        })
    }

    fn cpu(self) -> Duration {
        Duration::from_millis(self.ticks.saturating_mul(1000 / TICKS_PER_SECOND))
    }
}

/// A file of a process, no more of it than that.
pub fn read(path: &str, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// One look: how long it goes on, and what is read but once for all of it.
pub struct Look<'a> {
    until: Duration,
    /// Whether somebody waits for what is seen.
    wanted: &'a dyn Fn() -> bool,
    over: bool,
    /// The system call of a thread could not be seen.
    pub hidden: bool,
    /// Processes with more threads than are looked at.
    cut: Vec<String>,
    pub networks: Networks,
    /// What stands for a moment because its calls are looked at.
    pub traced: Traced,
}

impl<'a> Look<'a> {
    pub fn new(wanted: &'a dyn Fn() -> bool) -> Self {
        let until = clock::monotonic() + LOOK_WITHIN;
        let (over, hidden, cut) = (false, false, Vec::new());
        let (networks, traced) = (Networks::default(), Traced::default());
        Self { until, wanted, over, hidden, cut, networks, traced }
    }

    /// Whether there is time to look at one more, and a reason to; once there is none it is so for good.
    pub fn goes_on(&mut self) -> bool {
        self.over = self.over || !(self.wanted)() || clock::monotonic() >= self.until;
        !self.over
    }

    /// Looks at the process that leads a session, and at all below it. Blocks on files of /proc. One that is over before its
    /// end is a fault: what it has not seen may be what counts.
    pub fn at(mut self, leader: Pid) -> io::Result<Reading> {
        let mut reading = Reading { at: clock::monotonic(), ..Reading::default() };
        let first = leader.as_raw_nonzero().get();
        let stat = stat(first)?;
        let mut next = vec![first];
        let mut listed: Option<BTreeMap<i32, Vec<i32>>> = None;
        while let Some(pid) = next.pop() {
            if reading.processes.len() >= PROCESSES_SHOWN_MAX {
                let rest = u32::try_from(next.len()).unwrap_or(u32::MAX);
                reading.more = reading.more.saturating_add(rest).saturating_add(1);
                break;
            }
            if !self.goes_on() {
                break;
            }
            // What has ended since is not there.
            let Some(seen) = self.process(pid, stat.front) else { continue };
            if seen.is_alive() {
                reading.slept.extend(self.sleeps(pid).map(|it| (seen.pid, it)));
            }
            reading.processes.push(seen);
            let mut below = match self.children(pid) {
                Some(it) => it,
                None => {
                    let all = match listed.take() {
                        Some(it) => it,
                        None => self.families()?,
                    };
                    let below = all.get(&pid).cloned().unwrap_or_default();
                    listed = Some(all);
                    below
                }
            };
            // The oldest is shown first, so it is taken last.
            below.sort_unstable_by(|one, other| other.cmp(one));
            let room = (4 * PROCESSES_SHOWN_MAX).saturating_sub(next.len());
            let cut = u32::try_from(below.len().saturating_sub(room)).unwrap_or(u32::MAX);
            reading.more = reading.more.saturating_add(cut);
            next.extend(below.into_iter().take(room));
        }
        if self.over {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.hidden {
            reading.notes.push(NO_CALLS.to_owned());
        }
        if let Some(first) = self.cut.first() {
            let others = match self.cut.len() {
                1 => String::new(),
                many => format!(" and of {} more", many - 1),
            };
            reading.notes.push(format!(
                "{PROCESS_THREADS_MAX} threads of {first}{others} were looked at, and what they started; what the rest does is not known"
            ));
        }
        Ok(reading)
    }

    /// Those that came from a process; `None` where the kernel does not list them.
    fn children(&mut self, pid: i32) -> Option<Vec<i32>> {
        let mut out = Vec::new();
        let mut told = false;
        for task in tasks(pid)? {
            if !self.goes_on() {
                break;
            }
            let path = task.path().join("children");
            let Ok(list) = read(&path.display().to_string(), 64 * 1024) else { continue };
            told = true;
            let list = String::from_utf8_lossy(&list).into_owned();
            out.extend(list.split_whitespace().filter_map(|it| it.parse::<i32>().ok()));
        }
        told.then_some(out)
    }

    /// How often the threads of a process went to sleep by themselves, and were not put aside for others.
    fn sleeps(&mut self, pid: i32) -> Option<u64> {
        let mut sum = 0_u64;
        for task in tasks(pid)? {
            if !self.goes_on() {
                return None;
            }
            let status = read(&task.path().join("status").display().to_string(), 8 * 1024).ok()?;
            let status = String::from_utf8_lossy(&status).into_owned();
            let count =
                status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"))?;
            sum = sum.checked_add(count.trim().parse().ok()?)?;
        }
        Some(sum)
    }

    /// Every process of this host that can be seen, by its parent.
    fn families(&mut self) -> io::Result<BTreeMap<i32, Vec<i32>>> {
        let mut out: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        processes::each(|pid| {
            if !self.goes_on() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if let Some(parent) = processes::parent(pid) {
                let below = out.entry(parent.as_raw_nonzero().get()).or_default();
                below.push(pid.as_raw_nonzero().get());
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// One process as it is; `None` when it is gone.
    fn process(&mut self, pid: i32, front: i32) -> Option<Process> {
        let stat = stat(pid).ok()?;
        let name = read(&format!("/proc/{pid}/comm"), NAME_BYTES_MAX).unwrap_or_default();
        let words = read(&format!("/proc/{pid}/cmdline"), PROCESS_COMMAND_BYTES_MAX);
        let words = words.unwrap_or_default();
        let words = words.strip_suffix(&[0]).unwrap_or(&words);
        let words: Vec<_> = words.split(|it| *it == 0).map(String::from_utf8_lossy).collect();
        let mut seen = Process {
            pid: pid.cast_unsigned(),
            parent: stat.parent.cast_unsigned(),
            name: text::shown(String::from_utf8_lossy(&name).trim_end(), NAME_BYTES_MAX),
            command: text::shown(&words.join(" "), PROCESS_COMMAND_BYTES_MAX),
            foreground: front > 0 && stat.group == front,
            threads: stat.threads,
            cpu: stat.cpu(),
            doing: Doing::Unknown,
            endless: false,
            keys: false,
            linked: false,
            on: None,
            call: None,
        };
        if matches!(stat.state, b'Z' | b'X') {
            // Its first thread has ended; others may run on.
            seen.doing = Doing::Zombie;
            if stat.threads <= 1 {
                return Some(seen);
            }
        }
        let has_more = usize::try_from(stat.threads).is_ok_and(|it| it > PROCESS_THREADS_MAX);
        if has_more {
            self.cut.push(format!("{} (pid {pid})", seen.name));
        }
        let mut waits = Vec::new();
        let mut here = Here::new(pid, stat.terminal, self);
        for task in tasks(pid)? {
            let Some(tid) = task.file_name().to_str().and_then(|it| it.parse::<i32>().ok()) else {
                continue;
            };
            waits.extend(waits::of_thread(&mut here, tid));
        }
        // What any of them waits for may be what all wait for.
        seen.keys = waits.iter().any(|it| it.keys);
        seen.linked = waits.iter().any(|it| it.linked);
        // The one that says most of what the whole does.
        if let Some(it) = waits.into_iter().max_by_key(Wait::tells) {
            seen.doing = it.doing;
            // What the others do that were not looked at, or whom they started, nobody knows.
            seen.endless = it.endless && !has_more;
            seen.on = it.on.map(|it| text::shown(&it, PROCESS_COMMAND_BYTES_MAX));
            seen.call = it.call.map(|it| text::shown(&it, NAME_BYTES_MAX));
        }
        Some(seen)
    }
}

fn stat(pid: i32) -> io::Result<Stat> {
    let line = read(&format!("/proc/{pid}/stat"), 4096)?;
    Stat::parse(&line).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Threads of a process, as many as are looked at.
fn tasks(pid: i32) -> Option<impl Iterator<Item = fs::DirEntry>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(tasks.filter_map(Result::ok).take(PROCESS_THREADS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_behind_any_name() {
        let line = b"12 (a) S 1) R 7 13 13 34816 14 0 1 2 3 4 150 50 0 0 20 0 3 0 4711 0 0";
        let it = Stat::parse(line).unwrap();
        assert_eq!(
            (it.state, it.parent, it.group, it.terminal, it.front),
            (b'R', 7, 13, 34816, 14)
        );
        assert_eq!(it.threads, 3);
        assert_eq!(it.cpu(), Duration::from_secs(200 / TICKS_PER_SECOND));
        for bad in [
            "",
            "12",
            "12 (a)",
            "12 (a) R 7 13",
            "12 (a) R x 13 13 0 0 0 0 0 0 0 1 1 0 0 0 0 1 0 9",
        ] {
            assert_eq!(Stat::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_look_that_is_given_up_ends_and_has_no_result() {
        let own = rustix::process::getpid();
        let times = std::cell::Cell::new(0);
        let wanted = || times.replace(times.get() + 1) < 2;
        let seen = Look::new(&wanted).at(own);
        assert_eq!(seen.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // It is not asked again what has been answered.
        assert_eq!(times.get(), 3);
        let late = Look { until: Duration::ZERO, ..Look::new(&|| true) };
        assert_eq!(late.at(own).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn one_that_was_stopped_and_goes_on_is_known_by_where_it_sleeps() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let own = Pid::from_raw(child.id().cast_signed()).unwrap();
        let signal = |it| rustix::process::kill_process(own, it).unwrap();
        let until = clock::monotonic() + Duration::from_secs(60);
        let becomes = |wanted: Doing| loop {
            let seen = Look::new(&|| true).at(own).unwrap().processes.remove(0);
            if seen.doing == wanted || clock::monotonic() > until {
                break seen;
            }
            std::thread::yield_now();
        };
        becomes(Doing::Timer);
        signal(rustix::process::Signal::STOP);
        becomes(Doing::Stopped);
        signal(rustix::process::Signal::CONT);
        let seen = becomes(Doing::Timer);
        drop(child.kill());
        drop(child.wait());
        assert_eq!(seen.doing, Doing::Timer, "{seen:?}");
    }

    #[test]
    fn a_child_that_sleeps_is_seen_to_sleep_below_its_parent() {
        let mut child =
            std::process::Command::new("sh").args(["-c", "sleep 1000; :"]).spawn().unwrap();
        let own = Pid::from_raw(child.id().cast_signed()).unwrap();
        let until = clock::monotonic() + Duration::from_secs(60);
        let seen = loop {
            let seen = Look::new(&|| true).at(own).unwrap().processes;
            let sleeps = |it: &Process| it.name == "sleep" && it.doing != Doing::Runs;
            let settled = seen.first().is_some_and(|it| it.doing == Doing::Child);
            if settled && seen.get(1).is_some_and(sleeps) || clock::monotonic() > until {
                break seen;
            }
            std::thread::yield_now();
        };
        if let Some(pid) = seen.get(1).and_then(|it| Pid::from_raw(it.pid.cast_signed())) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        drop(child.wait());
        let [shell, sleep] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((shell.doing, shell.endless), (Doing::Child, true), "{seen:?}");
        assert_eq!((sleep.doing, sleep.endless), (Doing::Timer, false), "{seen:?}");
        assert_eq!((sleep.parent, sleep.command.as_str()), (shell.pid, "sleep 1000"));
    }
}
