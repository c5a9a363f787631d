//! All processes of this host at one moment.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
    time::Duration,
};

use rustix::{
    fs::{Dir, Mode, OFlags},
    param::{clock_ticks_per_second, page_size},
    process::Pid,
};

use super::{super::processes, held::Held};

/// Longest line of /proc/PID/stat: a name of 64 bytes and some fifty numbers.
const STAT_BYTES_MAX: usize = 2048;

/// One process.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: i32,
    parent: i32,
    started: u64,
    /// It waits to be asked how it ended.
    pub ended: bool,
    /// It holds a kernel with processes that nobody else sees.
    pub opaque: bool,
    /// Its own time on processors, and that of those it waited for, in the kernel's ticks.
    pub cpu_ticks: u64,
    pub waited_ticks: u64,
    /// What it has in memory, shared or not.
    pub resident_bytes: u64,
}

impl Process {
    /// Names it for ever.
    pub fn key(&self) -> (i32, u64) {
        (self.pid, self.started)
    }

    /// From a line of /proc/PID/stat; the name in it may hold anything.
    fn parse(pid: i32, line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|it| *it == b'(')?;
        let close = line.iter().rposition(|it| *it == b')')?;
        let name = line.get(open + 1..close)?;
        let rest = str::from_utf8(line.get(close + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let mut number = |skipped: usize| fields.nth(skipped)?.parse::<u64>().ok();
        // utime, stime, cutime, cstime; starttime; rss.
        let [user, system] = [number(9)?, number(0)?];
        let [waited_user, waited_system] = [number(0)?, number(0)?];
        let started = number(4)?;
        let pages = number(1)?;
        Some(Self {
            pid,
            parent,
            started,
            ended: matches!(state, "Z" | "X"),
            opaque: name.starts_with(b"runsc"),
            cpu_ticks: user + system,
            waited_ticks: waited_user + waited_system,
            resident_bytes: pages * page_size() as u64,
        })
    }
}

pub fn time(ticks: u64) -> Duration {
    let per_second = clock_ticks_per_second().max(1);
    Duration::from_secs(ticks / per_second)
        + Duration::from_nanos(ticks % per_second * 1_000_000_000 / per_second)
}

/// Processes by what they come from, and by number.
#[derive(Default)]
pub struct Table {
    children: HashMap<i32, Vec<Process>>,
    all: HashMap<i32, Process>,
    files: HashMap<i32, Held>,
    /// How many had been started on this machine before they were listed.
    started: Option<u64>,
}

impl Table {
    /// Looks at all of them; so many files may stay open.
    pub fn look(&mut self, room: usize) -> io::Result<()> {
        self.children.clear();
        self.all.clear();
        // Nothing is new where nothing was started since.
        let started = started();
        let listed = match started.is_some() && started == self.started {
            true => self.files.keys().copied().collect(),
            false => list()?,
        };
        let mut files = std::mem::take(&mut self.files);
        let mut line = Vec::new();
        for pid in &listed {
            // A number that was given out anew is another file.
            let held = files.remove(pid).filter(|it| it.read(&mut line, STAT_BYTES_MAX).is_ok());
            let held = held.or_else(|| {
                let fresh = Held::open(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
                fresh.read(&mut line, STAT_BYTES_MAX).ok()?;
                Some(fresh)
            });
            // It may have ended by now.
            let Some(held) = held else { continue };
            if let Some(it) = Process::parse(*pid, &line) {
                self.children.entry(it.parent).or_default().push(it);
                self.all.insert(*pid, it);
            }
            if self.files.len() < room {
                self.files.insert(*pid, held);
            }
        }
        self.started = started.filter(|_| self.files.len() == listed.len());
        Ok(())
    }

    /// How many files it keeps open.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Time on processors of those that this one has waited for, in the kernel's ticks.
    pub fn waited_for_by(&self, pid: i32) -> u64 {
        self.all.get(&pid).map_or(0, |it| it.waited_ticks)
    }

    /// Those that come from this one, without itself.
    pub fn below(&self, first: i32) -> Vec<Process> {
        let (mut found, mut next) = (Vec::new(), vec![first]);
        // Numbers that were given out anew while they were listed could make a ring.
        let mut met = HashSet::from([first]);
        while let Some(parent) = next.pop() {
            let children = self.children.get(&parent).into_iter().flatten();
            for child in children.filter(|it| met.insert(it.pid)) {
                next.push(child.pid);
                found.push(*child);
            }
        }
        found
    }
}

/// The numbers of all.
fn list() -> io::Result<Vec<i32>> {
    let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let all = rustix::fs::open(c"/proc", how, Mode::empty())?;
    let numbers = Dir::new(all)?.filter_map(|it| it.ok()?.file_name().to_str().ok()?.parse().ok());
    Ok(numbers.collect())
}

/// How many were started on this machine so far; `None` where nobody counts them.
fn started() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let count = text.lines().find_map(|it| it.strip_prefix("processes "))?.trim().parse().ok();
    count.filter(|it| *it > 0)
}

/// Its share of memory: what it shares divided among those who do. `None` where this process may not look.
pub fn share(pid: i32) -> Option<u64> {
    let text = processes::read(Pid::from_raw(pid)?, "smaps_rollup").ok()??;
    let kib = field(&text, b"Pss:")?;
    kib.checked_mul(1024)
}

/// What it read from disks and wrote to them.
pub fn disk(pid: i32) -> Option<(u64, u64)> {
    let text = processes::read(Pid::from_raw(pid)?, "io").ok()??;
    Some((field(&text, b"read_bytes:")?, field(&text, b"write_bytes:")?))
}

fn field(text: &[u8], name: &[u8]) -> Option<u64> {
    let line = text.split(|it| *it == b'\n').find_map(|it| it.strip_prefix(name))?;
    str::from_utf8(line).ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_name() {
        let line =
            b"7 (a) S 9 (b)) R 3 7 7 0 -1 4 10 20 30 40 50 60 70 80 20 0 5 0 4711 9000 12 1 1\n";
        let it = Process::parse(7, line).unwrap();
        assert_eq!((it.pid, it.parent, it.started), (7, 3, 4711));
        assert_eq!((it.cpu_ticks, it.waited_ticks), (110, 150));
        assert_eq!(it.resident_bytes, 12 * page_size() as u64);
        assert!(!it.ended && !it.opaque);
        assert!(Process::parse(7, b"7 (runsc-sandbox) Z 3").is_none());
        assert!(Process::parse(7, b"garbage").is_none());
    }

    #[test]
    fn a_ring_of_parents_ends() {
        let one = |pid, parent| Process {
            pid,
            parent,
            started: 1,
            ended: false,
            opaque: false,
            cpu_ticks: 0,
            waited_ticks: 0,
            resident_bytes: 0,
        };
        let children =
            HashMap::from([(1, vec![one(2, 1)]), (2, vec![one(3, 2)]), (3, vec![one(2, 3)])]);
        let table = Table { children, ..Table::default() };
        assert_eq!(table.below(1).len(), 2);
    }

    #[test]
    fn this_process_has_a_share_and_a_place() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        assert!(share(own).unwrap() > 1 << 16);
        for room in [usize::MAX, 1, 0] {
            let mut table = Table::default();
            for _ in 0..2 {
                table.look(room).unwrap();
                assert!(table.children.values().flatten().any(|it| it.pid == own));
                assert!(table.files() <= room);
            }
        }
    }

    #[test]
    fn what_was_started_or_ended_since_is_seen() {
        let mut table = Table::default();
        table.look(usize::MAX).unwrap();
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        table.look(usize::MAX).unwrap();
        assert!(table.all.contains_key(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        table.look(usize::MAX).unwrap();
        assert!(!table.all.contains_key(&pid) && !table.files.contains_key(&pid));
    }
}
