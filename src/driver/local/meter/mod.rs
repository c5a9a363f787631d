//! What local sandboxes use, as their control groups count it and, for what these do not count, as their
//! processes add up. All of them are read in one pass: what is below each first process is found by one look at
//! /proc, and what costs more is read again only of processes that did something since.

mod groups;
mod held;
mod known;
mod space;
mod table;

use std::{collections::HashMap, io, time::Duration};

use async_trait::async_trait;

use self::{
    known::{Known, Purse},
    space::Space,
    table::Table,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{METER_FILES_MAX, METER_WHOLE_EVERY},
    },
    driver::{Ground, Meter, Metered},
    model::gauge::Usage,
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
    rounds: u32,
    purse: Purse,
    space: Space,
    table: Table,
}

/// What the control groups of a sandbox tell of it.
struct Glance {
    usage: Usage,
    /// Not just of its time on processors.
    whole: bool,
    /// What is left to be told by its processes.
    lacks: bool,
}

impl Reader {
    fn read(&mut self, grounds: &[Ground], processes: bool) -> Vec<Outcome<Metered>> {
        self.known.retain(|id, _| grounds.iter().any(|it| it.id == *id));
        // All that are quiet at once: one look at all processes serves them.
        let whole = processes || self.rounds.is_multiple_of(METER_WHOLE_EVERY);
        self.rounds = self.rounds.wrapping_add(1);
        let mut glances = self.glances(grounds, whole);
        let lack = glances.iter().flatten().any(|it| it.lacks);
        let looked = if lack || processes { self.look() } else { Ok(()) };
        self.purse.fill();
        // Whose shares of memory were to be read first, had there been time.
        let mut next = None;
        let count = grounds.len().max(1);
        for at in (0..grounds.len()).map(|it| (it + self.turn) % count) {
            let (Some(ground), Some(Ok(glance))) = (grounds.get(at), glances.get_mut(at)) else {
                continue;
            };
            let Some(known) = self.known.get_mut(&ground.id) else { continue };
            if !glance.whole || looked.is_err() {
                continue;
            }
            if glance.lacks && !known.add_up(&mut glance.usage, &self.table, &mut self.purse) {
                next.get_or_insert(at);
                // Else it could be quiet whenever it is its turn.
                known.forget();
                continue;
            }
            known.remember(glance);
        }
        self.turn = next.unwrap_or(self.turn);
        // It stays for those that are quiet now: they need it within a few rounds.
        if !processes && !self.known.values().any(Known::lacks) {
            self.table = Table::default();
        }
        let space = self.space.read(grounds);
        let read = grounds.iter().zip(glances).zip(space).map(|((ground, glance), space)| {
            let glance = glance?;
            if glance.lacks || processes {
                looked.clone()?;
            }
            let known = self.known.get(&ground.id).ok_or_else(absent)?;
            let usage = Usage { space_bytes: space, ..glance.usage };
            let processes = match processes {
                true => known.processes(&self.table),
                false => Vec::new(),
            };
            Ok(Metered { usage, processes, gpus: Vec::new() })
        });
        read.collect()
    }

    /// What their control groups tell.
    fn glances(&mut self, grounds: &[Ground], whole: bool) -> Vec<Outcome<Glance>> {
        let mut room = files_max().saturating_sub(self.files());
        let glance = |ground: &Ground| {
            let failed = |error: io::Error| Fault::io("reading what a sandbox uses", &error);
            let known = match self.known.get_mut(&ground.id) {
                Some(known) if known.lives() => known,
                _ => {
                    let Some(fresh) = Known::new(&ground.dir).map_err(failed)? else {
                        self.known.remove(&ground.id);
                        return Err(absent());
                    };
                    self.known.entry(ground.id.clone()).insert_entry(fresh).into_mut()
                }
            };
            Ok(known.glance(&ground.dir, whole, &mut room))
        };
        grounds.iter().map(glance).collect()
    }

    /// One look at all processes.
    fn look(&mut self) -> Outcome<()> {
        let room = files_max().saturating_sub(self.files()) + self.table.files();
        self.table.look(room).map_err(|error| Fault::io("looking at all processes", &error))
    }

    /// How many files it keeps open, beside the one of each sandbox.
    fn files(&self) -> usize {
        self.known.values().map(Known::files).sum::<usize>() + self.table.files()
    }
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

    use super::{
        super::traces::{First, Traces},
        *,
    };
    use crate::{base::limits::METER_WHOLE_EVERY, driver::net, model::gauge::MeteredBy};

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
        let traces = Traces { first: Some(First::of(pid).unwrap()), ..Traces::default() };
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

    #[test]
    fn of_what_is_quiet_only_the_time_is_read_each_time() {
        let home = tempfile::tempdir().unwrap();
        let group = home.path().join("group");
        std::fs::create_dir(&group).unwrap();
        let write = |name: &str, text: String| std::fs::write(group.join(name), text).unwrap();
        write("cgroup.controllers", String::new());
        let told = |micros: u64, pids: u64| {
            write("cpu.stat", format!("usage_usec {micros}\n"));
            write("pids.current", format!("{}\n", pids + 1));
        };
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let first = First::of(rustix::process::Pid::from_child(&child)).unwrap();
        let traces =
            Traces { first: Some(first), groups: vec![group.clone()], ..Traces::default() };
        traces.write(home.path()).unwrap();
        let ground = ground(home.path());
        let mut reader = Reader::default();
        let mut read = |processes| {
            let usage = reader.read(std::slice::from_ref(&ground), processes).remove(0)?.usage;
            Ok::<_, Fault>((usage.cpu_time.unwrap().as_micros(), usage.pids.unwrap()))
        };
        told(10_000, 1);
        assert_eq!(read(false).unwrap(), (10_000, 1));
        told(11_900, 2);
        for _ in 1..METER_WHOLE_EVERY {
            assert_eq!(read(false).unwrap(), (11_900, 1));
        }
        assert_eq!(read(false).unwrap(), (11_900, 2));
        // It did something.
        told(13_900, 3);
        assert_eq!(read(false).unwrap(), (13_900, 3));
        // Its processes are wanted.
        told(13_901, 4);
        assert_eq!(read(true).unwrap(), (13_901, 4));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(read(false).unwrap_err().kind(), crate::base::fault::Kind::Absent);
    }
}
