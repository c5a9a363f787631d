//! What local sandboxes use, as their control groups count it and, for what these do not count, as their
//! processes add up. All of them are read in one pass: what is below each first process is found by one look at
//! /proc, and what costs more is read again only of processes that did something since.

mod groups;
mod held;
mod space;
mod table;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

use async_trait::async_trait;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, pidfd_open},
};

use self::{
    groups::Group,
    space::Space,
    table::{Process, Table},
};
use super::traces::Traces;
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{
            METER_FILES_MAX, METER_SHARES_EVERY, METER_SHARES_MAX, METER_SHARES_WITHIN,
            METERED_PROCESSES_MAX,
        },
    },
    driver::{Ground, Meter, Metered, net},
    model::gauge::{MeteredBy, Usage},
};

/// Reads on a thread that blocks nobody.
#[derive(Default)]
pub struct LocalMeter {
    reader: Reader,
}

#[async_trait]
impl Meter for LocalMeter {
    async fn read(&mut self, grounds: &[Ground], processes: bool) -> Vec<Outcome<Metered>> {
        let mut reader = std::mem::take(&mut self.reader);
        let wanted = grounds.to_vec();
        let read = tokio::task::spawn_blocking(move || {
            let read = reader.read(&wanted, processes);
            (reader, read)
        });
        match read.await {
            Ok((reader, read)) => {
                self.reader = reader;
                read
            }
            Err(error) => {
                let fault = Fault::bug(format!("reading what sandboxes use: {error}"));
                grounds.iter().map(|_| Err(fault.clone())).collect()
            }
        }
    }
}

#[derive(Default)]
struct Reader {
    known: HashMap<SandboxId, Known>,
    /// Whose shares of memory are read first: who waited longest.
    turn: usize,
    purse: Purse,
    space: Space,
    table: Table,
}

/// Time for what is dear: so much a round. What was spent beyond that is owed.
#[derive(Default)]
struct Purse {
    left: Duration,
    owed: Duration,
}

impl Purse {
    fn fill(&mut self) {
        self.left = METER_SHARES_WITHIN.saturating_sub(self.owed);
        self.owed = self.owed.saturating_sub(METER_SHARES_WITHIN);
    }

    fn is_empty(&self) -> bool {
        self.left.is_zero()
    }

    fn spend(&mut self, spent: Duration) {
        self.owed += spent.saturating_sub(self.left);
        self.left = self.left.saturating_sub(spent);
    }
}

/// What one round has for all sandboxes together.
struct Round<'a> {
    /// The first processes of all that are known.
    firsts: Vec<i32>,
    /// All processes were looked at.
    looked: bool,
    table: &'a mut Table,
    /// How many more files may stay open.
    room: usize,
    purse: &'a mut Purse,
    /// Somebody's shares of memory were to be read, and there was no time.
    denied: bool,
}

/// What is remembered of a sandbox between two readings.
struct Known {
    /// Its first process, and that process itself.
    first: i32,
    itself: OwnedFd,
    groups: Vec<Group>,
    /// Where its network is counted; `None` = nobody does yet.
    net: Option<File>,
    shares: Option<Shares>,
    /// What its processes read and wrote, as far as it was seen.
    disk: Option<(u64, u64)>,
    seen: HashMap<(i32, u64), Seen>,
}

/// Its shares of memory when they were last read.
#[derive(Clone, Copy)]
struct Shares {
    bytes: u64,
    /// What its processes had in memory then, shared or not.
    resident: u64,
    /// `clock::monotonic`.
    at: Duration,
    /// One of them did something since.
    stirred: bool,
}

/// One process when it was last looked at.
#[derive(Clone, Copy, Default)]
struct Seen {
    cpu_ticks: u64,
    disk: (u64, u64),
}

impl Reader {
    fn read(&mut self, grounds: &[Ground], processes: bool) -> Vec<Outcome<Metered>> {
        self.known.retain(|id, _| grounds.iter().any(|it| it.id == *id));
        self.purse.fill();
        let held = self.known.values().map(Known::files).sum::<usize>() + self.table.files();
        let mut round = Round {
            firsts: self.known.values().map(|it| it.first).collect(),
            looked: false,
            table: &mut self.table,
            room: files_max().saturating_sub(held),
            purse: &mut self.purse,
            denied: false,
        };
        let mut read: Vec<Option<Outcome<Metered>>> = grounds.iter().map(|_| None).collect();
        let count = grounds.len().max(1);
        let mut next = None;
        for at in (0..grounds.len()).map(|it| (it + self.turn) % count) {
            let Some(ground) = grounds.get(at) else { continue };
            let outcome = read_one(&mut self.known, ground, processes, &mut round);
            if round.denied {
                next.get_or_insert(at);
            }
            if let Some(place) = read.get_mut(at) {
                *place = Some(outcome);
            }
        }
        self.turn = next.unwrap_or(self.turn);
        // One look at all processes, and only if somebody needs it.
        if !round.looked {
            self.table = Table::default();
        }
        let space = self.space.read(grounds);
        let read = read.into_iter().zip(space).map(|(it, space)| {
            let mut metered = it.unwrap_or_else(|| Err(absent()))?;
            metered.usage.space_bytes = space;
            Ok(metered)
        });
        read.collect()
    }
}

fn read_one(
    known: &mut HashMap<SandboxId, Known>,
    ground: &Ground,
    processes: bool,
    round: &mut Round<'_>,
) -> Outcome<Metered> {
    let failed = |error: io::Error| Fault::io("reading what a sandbox uses", &error);
    let known = match known.get_mut(&ground.id) {
        Some(known) if known.lives() => known,
        _ => {
            let Some(fresh) = Known::new(&ground.dir).map_err(failed)? else {
                known.remove(&ground.id);
                return Err(absent());
            };
            known.entry(ground.id.clone()).insert_entry(fresh).into_mut()
        }
    };
    let mut usage = groups::read(&mut known.groups, &mut round.room);
    (usage.rx_bytes, usage.tx_bytes) = known.net(&ground.dir).unzip();
    let lacking = usage.cpu_time.is_none()
        || usage.memory_bytes.is_none()
        || usage.pids.is_none()
        || usage.read_bytes.is_none();
    usage.by = Some(MeteredBy::Groups);
    let (mut all, mut ended) = (Vec::new(), 0);
    if lacking || processes {
        if !round.looked {
            let most = round.table.files() + round.room;
            round.table.look(&round.firsts, most).map_err(failed)?;
            round.room = most.saturating_sub(round.table.files());
            round.looked = true;
        }
        // The first process waits for whoever starts programs in it, and for what lost its parent.
        all = round.table.below(known.first);
        ended = round.table.waited_for_by(known.first);
    }
    if lacking {
        known.add_up(&mut usage, &all, ended, round);
    }
    let processes = if processes {
        let numbers = all.iter().filter_map(|it| u32::try_from(it.pid).ok());
        numbers.take(METERED_PROCESSES_MAX).collect()
    } else {
        Vec::new()
    };
    Ok(Metered { usage, processes, gpus: Vec::new() })
}

impl Known {
    /// `None` where its first process is not there.
    fn new(ground: &Path) -> io::Result<Option<Self>> {
        let traces = Traces::read(ground)?;
        let Some(first) = traces.first else { return Ok(None) };
        let Some(pid) = first.alive()? else { return Ok(None) };
        let Ok(itself) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(None) };
        // Its number may be another's since it was looked up.
        if first.alive()?.is_none() {
            return Ok(None);
        }
        let groups = traces.groups.iter().map(|it| Group::new(it)).collect();
        let (net, shares, disk, seen) = (None, None, None, HashMap::new());
        let it = Self { first: first.pid, itself, groups, net, shares, disk, seen };
        Ok(it.lives().then_some(it))
    }

    /// Whether its first process has not ended.
    fn lives(&self) -> bool {
        let mut asked = [PollFd::new(&self.itself, PollFlags::IN)];
        poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ended| ended == 0)
    }

    fn net(&mut self, ground: &Path) -> Option<(u64, u64)> {
        if self.net.is_none() {
            self.net = net::open(ground);
        }
        net::told(self.net.as_ref()?)
    }

    /// How many files it keeps open.
    fn files(&self) -> usize {
        let groups = self.groups.iter().map(Group::files).sum::<usize>();
        1 + usize::from(self.net.is_some()) + groups
    }

    /// Puts in what no control group counts.
    fn add_up(&mut self, usage: &mut Usage, all: &[Process], ended: u64, round: &mut Round<'_>) {
        // A kernel of its own has its processes to itself.
        let opaque = all.iter().any(|it| it.opaque);
        if usage.pids.is_none() && !opaque {
            usage.pids = Some(all.iter().filter(|it| !it.ended).count() as u64);
        }
        if usage.cpu_time.is_none() {
            let ticks: u64 = all.iter().map(|it| it.cpu_ticks + it.waited_ticks).sum();
            let ticks = ticks + ended;
            (usage.cpu_time, usage.by) = (Some(table::time(ticks)), Some(MeteredBy::Processes));
        }
        let busy: Vec<&Process> = all
            .iter()
            .filter(|it| self.seen.get(&it.key()).is_none_or(|of| of.cpu_ticks != it.cpu_ticks))
            .collect();
        if usage.memory_bytes.is_none() {
            let resident: u64 = all.iter().map(|it| it.resident_bytes).sum();
            let stirred = !busy.is_empty();
            usage.memory_bytes = Some(self.memory(all, resident, stirred, round));
            usage.by = Some(MeteredBy::Processes);
        }
        if usage.read_bytes.is_none() && !opaque {
            let mut sum = self.disk;
            for it in &busy {
                let before = self.seen.get(&it.key()).map_or((0, 0), |it| it.disk);
                if let Some(now) = table::disk(it.pid) {
                    let (read, write) = sum.unwrap_or_default();
                    let grown = |now: u64, before: u64| now.saturating_sub(before);
                    sum = Some((read + grown(now.0, before.0), write + grown(now.1, before.1)));
                    self.seen.insert(it.key(), Seen { cpu_ticks: it.cpu_ticks, disk: now });
                }
            }
            self.disk = sum;
            (usage.read_bytes, usage.write_bytes) = sum.unzip();
        }
        for it in all {
            self.seen.entry(it.key()).or_default().cpu_ticks = it.cpu_ticks;
        }
        if self.seen.len() > all.len() {
            let alive: HashSet<_> = all.iter().map(Process::key).collect();
            self.seen.retain(|key, _| alive.contains(key));
        }
    }

    /// What these have of memory: their shares when those were read, and what came or went since.
    fn memory(
        &mut self,
        all: &[Process],
        resident: u64,
        stirred: bool,
        round: &mut Round<'_>,
    ) -> u64 {
        let now = clock::monotonic();
        let due = self.shares.is_none_or(|it| {
            let old = now.saturating_sub(it.at) >= METER_SHARES_EVERY;
            it.resident != resident || (old && (it.stirred || stirred))
        });
        match (due, round.purse.is_empty()) {
            (true, false) => {
                let bytes = shares(all);
                round.purse.spend(clock::monotonic().saturating_sub(now));
                self.shares = Some(Shares { bytes, resident, at: now, stirred: false });
            }
            (true, true) => round.denied = true,
            (false, _) => {}
        }
        let Some(shares) = &mut self.shares else { return resident };
        shares.stirred |= stirred;
        (shares.bytes + resident).saturating_sub(shares.resident)
    }
}

/// What processes have of memory, what they share divided among those who do.
fn shares(all: &[Process]) -> u64 {
    let mut all: Vec<&Process> = all.iter().filter(|it| it.resident_bytes > 0).collect();
    all.sort_by_key(|it| std::cmp::Reverse(it.resident_bytes));
    let share = |(at, it): (usize, &&Process)| {
        let share = if at < METER_SHARES_MAX { table::share(it.pid) } else { None };
        share.unwrap_or(it.resident_bytes)
    };
    all.iter().enumerate().map(share).sum()
}

/// How many files may stay open: of what this process may have, what is not missed elsewhere.
fn files_max() -> usize {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    most.map_or(METER_FILES_MAX, |it| (it as usize / 8).min(METER_FILES_MAX))
}

fn absent() -> Fault {
    Fault::absent("its first process is not there any more")
}

/// A number of the kernel's microseconds.
fn micros(number: u64) -> Duration {
    Duration::from_micros(number)
}

#[cfg(test)]
mod tests {
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    fn ground(dir: &std::path::Path) -> Ground {
        Ground { id: SandboxId::random(), name: "a".to_owned(), dir: dir.to_owned(), from: None }
    }

    #[test]
    fn what_is_not_there_any_more_is_said() {
        let home = tempfile::tempdir().unwrap();
        let ground = ground(home.path());
        let mut reader = Reader::default();
        let read = reader.read(std::slice::from_ref(&ground), false);
        assert_eq!(
            read.first().unwrap().as_ref().unwrap_err().kind(),
            crate::base::fault::Kind::Absent
        );
    }

    #[test]
    fn a_tree_of_processes_is_added_up() {
        let home = tempfile::tempdir().unwrap();
        // 32 MiB that are touched, and a child that computes for a moment.
        let script = "x=$(head -c 33554432 /dev/zero | tr '\\0' x); i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; read line";
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "exec 3<&0; sh -c \"$0\" <&3 & wait; kill -STOP $$", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(shell.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        let pid = rustix::process::Pid::from_child(&shell);
        let traces = Traces {
            first: Some(super::super::traces::First::of(pid).unwrap()),
            ..Traces::default()
        };
        traces.write(home.path()).unwrap();
        std::fs::write(home.path().join(net::NET_FILE), "12 34\n").unwrap();
        let ground = ground(home.path());
        let mut reader = Reader::default();
        let read = reader.read(std::slice::from_ref(&ground), true).remove(0).unwrap();
        let usage = read.usage;
        assert_eq!((usage.by, usage.pids), (Some(MeteredBy::Processes), Some(1)));
        assert_eq!((usage.rx_bytes, usage.tx_bytes), (Some(12), Some(34)));
        assert!(usage.cpu_time.unwrap() > Duration::from_millis(10), "{usage:?}");
        let memory = usage.memory_bytes.unwrap();
        assert!((32 << 20..256 << 20).contains(&memory), "{memory}");
        assert_eq!(read.processes.len(), 1);
        let again = reader.read(std::slice::from_ref(&ground), false).remove(0).unwrap();
        assert!(again.processes.is_empty() && again.usage.cpu_time >= usage.cpu_time);
        // It ends, and what it did is not forgotten with it.
        drop(shell.stdin.take());
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), stopped).unwrap();
        let last = reader.read(std::slice::from_ref(&ground), false).remove(0).unwrap().usage;
        assert!(last.cpu_time >= again.usage.cpu_time, "{last:?} after {again:?}");
        assert_eq!(last.pids, Some(0));
        shell.kill().unwrap();
        shell.wait().unwrap();
    }
}
