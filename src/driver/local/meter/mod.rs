//! What local sandboxes use, as their control groups count it and, for what these do not count, as their
//! processes add up. All of them are read in one pass: what is below each first process is found by one look at
//! /proc, and what costs more is read again only of processes that did something since.

mod groups;
mod held;
mod space;
mod table;

use std::{collections::HashMap, io, time::Duration};

use async_trait::async_trait;

use self::{
    groups::Group,
    held::Held,
    space::Space,
    table::{Process, Table},
};
use super::traces::Traces;
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{METER_FILES_MAX, METER_SHARES_MAX, METERED_PROCESSES_MAX},
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
    space: Space,
    table: Table,
}

/// What is remembered of a sandbox between two readings.
struct Known {
    /// Of its first process.
    first: i32,
    stat: Held,
    groups: Vec<Group>,
    /// Its shares of memory when they were last read, and what its processes had in memory then, in bytes.
    shares: Option<(u64, u64)>,
    /// What its processes read and wrote, as far as it was seen.
    disk: Option<(u64, u64)>,
    seen: HashMap<(i32, u64), Seen>,
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
        // One look at all processes, and only if somebody needs it.
        let mut looked = false;
        let held = self.known.values().map(Known::files).sum::<usize>() + self.table.files();
        let mut room = files_max().saturating_sub(held);
        let mut shares_left = METER_SHARES_MAX;
        let mut read: Vec<Option<Outcome<Metered>>> = grounds.iter().map(|_| None).collect();
        let count = grounds.len().max(1);
        self.turn = (self.turn + 1) % count;
        let turn = self.turn;
        for at in (0..grounds.len()).map(|it| (it + turn) % count) {
            let Some(ground) = grounds.get(at) else { continue };
            let outcome =
                self.read_one(ground, processes, (&mut looked, &mut room), &mut shares_left);
            if let Some(place) = read.get_mut(at) {
                *place = Some(outcome);
            }
        }
        if !looked {
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

    fn read_one(
        &mut self,
        ground: &Ground,
        processes: bool,
        (looked, room): (&mut bool, &mut usize),
        shares_left: &mut usize,
    ) -> Outcome<Metered> {
        let failed = |error: io::Error| Fault::io("reading what a sandbox uses", &error);
        let known = match self.known.get_mut(&ground.id) {
            Some(known) if known.lives() => known,
            _ => {
                let Some(known) = Known::new(&ground.dir).map_err(failed)? else {
                    self.known.remove(&ground.id);
                    return Err(absent());
                };
                self.known.entry(ground.id.clone()).insert_entry(known).into_mut()
            }
        };
        let mut usage = groups::read(&mut known.groups, room);
        (usage.rx_bytes, usage.tx_bytes) = net::read(&ground.dir).unzip();
        let lacking = usage.cpu_time.is_none()
            || usage.memory_bytes.is_none()
            || usage.pids.is_none()
            || usage.read_bytes.is_none();
        usage.by = Some(MeteredBy::Groups);
        let (mut all, mut ended) = (Vec::new(), 0);
        if lacking || processes {
            if !*looked {
                let before = self.table.files();
                self.table.look(before + *room).map_err(failed)?;
                *room = (before + *room).saturating_sub(self.table.files());
                *looked = true;
            }
            let (table, first) = (&self.table, known.first);
            // The first process waits for whoever starts programs in it, and for what lost its parent.
            (all, ended) = (table.below(first), table.waited_for_by(first));
        }
        if lacking {
            known.add_up(&mut usage, &all, ended, shares_left);
        }
        let processes = if processes {
            let numbers = all.iter().filter_map(|it| u32::try_from(it.pid).ok());
            numbers.take(METERED_PROCESSES_MAX).collect()
        } else {
            Vec::new()
        };
        Ok(Metered { usage, processes, gpus: Vec::new() })
    }
}

impl Known {
    /// `None` where its first process is not there.
    fn new(ground: &std::path::Path) -> io::Result<Option<Self>> {
        let traces = Traces::read(ground)?;
        let Some(first) = traces.first else { return Ok(None) };
        let Ok(stat) = Held::open(std::path::Path::new(&format!("/proc/{}/stat", first.pid)))
        else {
            return Ok(None);
        };
        // From here on the file is of that process and of no other.
        if first.alive()?.is_none() {
            return Ok(None);
        }
        let groups = traces.groups.iter().map(|it| Group::new(it)).collect();
        let seen = HashMap::new();
        let it = Self { first: first.pid, stat, groups, shares: None, disk: None, seen };
        Ok(it.lives().then_some(it))
    }

    /// Whether its first process is there.
    fn lives(&self) -> bool {
        self.stat.read(&mut Vec::new(), 1).is_ok()
    }

    /// How many files it keeps open.
    fn files(&self) -> usize {
        1 + self.groups.iter().map(Group::files).sum::<usize>()
    }

    /// Puts in what no control group counts.
    fn add_up(&mut self, usage: &mut Usage, all: &[Process], ended: u64, shares_left: &mut usize) {
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
            let changed = self.shares.is_none_or(|it| it.1 != resident) || !busy.is_empty();
            if changed && *shares_left > 0 {
                self.shares = Some((shares(all, shares_left), resident));
            }
            let (base, then) = self.shares.unwrap_or((resident, resident));
            usage.memory_bytes = Some((base + resident).saturating_sub(then));
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
            let alive: std::collections::HashSet<_> = all.iter().map(Process::key).collect();
            self.seen.retain(|key, _| alive.contains(key));
        }
    }
}

/// What processes have of memory, what they share divided among those who do; of the biggest only, if there is no
/// time for all.
fn shares(all: &[Process], left: &mut usize) -> u64 {
    let mut all: Vec<&Process> = all.iter().filter(|it| it.resident_bytes > 0).collect();
    all.sort_by_key(|it| std::cmp::Reverse(it.resident_bytes));
    let mut sum = 0;
    for it in all {
        let share = if *left > 0 {
            *left -= 1;
            table::share(it.pid)
        } else {
            None
        };
        sum += share.unwrap_or(it.resident_bytes);
    }
    sum
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
