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
use crate::base::limits::{METER_STRANGE_AFTER, METER_STRANGE_EVERY};

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

/// What is remembered of a process.
#[derive(Default)]
struct Known {
    /// `None` = it could not be read yet.
    told: Option<Process>,
    held: Option<Held>,
    /// The first process of the sandbox that it is in; `None` = it is in none.
    of: Option<i32>,
    /// In how many looks it was in none.
    strange: u32,
}

/// Processes by number, and by what they come from.
#[derive(Default)]
pub struct Table {
    known: HashMap<i32, Known>,
    /// Parents and their children, in order.
    children: Vec<(i32, i32)>,
    looks: u32,
    /// How many had been started on this machine before they were listed.
    started: Option<u64>,
}

impl Table {
    /// Looks at those that come from the `wanted` of these first processes, and at what may; of others is known what was
    /// seen before. So many files may stay open.
    pub fn look(&mut self, firsts: &[i32], wanted: &HashSet<i32>, room: usize) -> io::Result<()> {
        // Nothing is new where nothing was started since.
        let started = started();
        if started.is_none() || started != self.started {
            let mut before = std::mem::take(&mut self.known);
            let listed = list()?.into_iter().map(|pid| (pid, before.remove(&pid)));
            self.known = listed.map(|(pid, known)| (pid, known.unwrap_or_default())).collect();
        }
        self.started = started;
        let every = self.looks.is_multiple_of(METER_STRANGE_EVERY);
        self.looks = self.looks.wrapping_add(1);
        let mut open = self.files();
        let mut line = Vec::new();
        let firsts: HashSet<i32> = firsts.iter().copied().collect();
        self.known.retain(|pid, it| {
            // Its sandbox is gone; with it are its processes, and their numbers may be given out anew.
            if it.of.is_some_and(|it| !firsts.contains(&it)) {
                (it.of, it.strange) = (None, 0);
            }
            let due = match it.of {
                Some(first) => wanted.contains(&first),
                None => it.strange < METER_STRANGE_AFTER || every,
            };
            if !due {
                return true;
            }
            open -= usize::from(it.held.is_some());
            // A number that was given out anew is another file.
            let held = it.held.take().filter(|it| it.read(&mut line, STAT_BYTES_MAX).is_ok());
            let held = held.or_else(|| {
                let fresh = Held::open(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
                fresh.read(&mut line, STAT_BYTES_MAX).ok()?;
                Some(fresh)
            });
            // It may have ended by now.
            let Some(held) = held else { return false };
            let told = Process::parse(*pid, &line).or(it.told);
            if it.told.map(|it| it.started) != told.map(|it| it.started) {
                (it.of, it.strange) = (None, 0);
            }
            it.told = told;
            it.held = Some(held).filter(|_| open < room);
            open += usize::from(it.held.is_some());
            true
        });
        let told = self.known.iter().filter_map(|(pid, it)| Some((it.told?.parent, *pid)));
        self.children = told.collect();
        self.children.sort_unstable();
        self.know(&firsts, every);
        Ok(())
    }

    /// Whose they are that were looked at and in no sandbox so far.
    fn know(&mut self, firsts: &HashSet<i32>, every: bool) {
        let known = &self.known;
        let looked_at = known
            .iter()
            .filter(|(_, it)| it.of.is_none() && (it.strange < METER_STRANGE_AFTER || every));
        let of: Vec<_> = looked_at.map(|(pid, _)| (*pid, self.first_of(*pid, firsts))).collect();
        for (pid, of) in of {
            let Some(it) = self.known.get_mut(&pid) else { continue };
            it.of = of;
            it.strange = if of.is_some() { 0 } else { it.strange.saturating_add(1) };
            if it.strange >= METER_STRANGE_AFTER {
                it.held = None;
            }
        }
    }

    /// Which of these a process comes from, or is.
    fn first_of(&self, pid: i32, firsts: &HashSet<i32>) -> Option<i32> {
        let mut at = pid;
        // Numbers that were given out anew while they were listed could make a ring.
        for _ in 0..self.known.len() {
            if firsts.contains(&at) {
                return Some(at);
            }
            let it = self.known.get(&at)?;
            if it.of.is_some() {
                return it.of;
            }
            at = it.told?.parent;
        }
        None
    }

    /// How many files it keeps open.
    pub fn files(&self) -> usize {
        self.known.values().filter(|it| it.held.is_some()).count()
    }

    /// Time on processors of those that this one has waited for, in the kernel's ticks.
    pub fn waited_for_by(&self, pid: i32) -> u64 {
        self.told(pid).map_or(0, |it| it.waited_ticks)
    }

    fn told(&self, pid: i32) -> Option<Process> {
        self.known.get(&pid)?.told
    }

    /// Those that come from this one, without itself.
    pub fn below(&self, first: i32) -> Vec<Process> {
        let (mut found, mut next) = (Vec::new(), vec![first]);
        // Numbers that were given out anew while they were listed could make a ring.
        let mut met = HashSet::from([first]);
        while let Some(parent) = next.pop() {
            let from = self.children.partition_point(|it| it.0 < parent);
            let children = self.children.iter().skip(from).take_while(|it| it.0 == parent);
            for (_, child) in children.filter(|it| met.insert(it.1)) {
                next.push(*child);
                found.extend(self.told(*child));
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
        let one = |pid, parent| {
            let told = Process {
                pid,
                parent,
                started: 1,
                ended: false,
                opaque: false,
                cpu_ticks: 0,
                waited_ticks: 0,
                resident_bytes: 0,
            };
            (pid, Known { told: Some(told), ..Known::default() })
        };
        let known = HashMap::from([one(2, 1), one(3, 2)]);
        let table = Table { known, children: vec![(1, 2), (2, 3), (3, 2)], ..Table::default() };
        assert_eq!(table.below(1).len(), 2);
    }

    fn own() -> i32 {
        rustix::process::getpid().as_raw_nonzero().get()
    }

    fn sleeps() -> (std::process::Child, i32) {
        let child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        (child, pid)
    }

    fn ends(mut child: std::process::Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn this_process_has_a_share_and_a_place() {
        assert!(share(own()).unwrap() > 1 << 16);
        let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
        for room in [usize::MAX, 1, 0] {
            let mut table = Table::default();
            for _ in 0..2 * METER_STRANGE_AFTER {
                table.look(&[parent], &[parent].into(), room).unwrap();
                assert!(table.below(parent).iter().any(|it| it.pid == own()));
                assert!(table.files() <= room);
            }
        }
    }

    #[test]
    fn what_was_started_or_ended_since_is_seen() {
        let (own, wanted) = (own(), [own()].into());
        let mut table = Table::default();
        for _ in 0..2 * METER_STRANGE_AFTER {
            table.look(&[own], &wanted, usize::MAX).unwrap();
            let (child, pid) = sleeps();
            table.look(&[own], &wanted, usize::MAX).unwrap();
            assert!(table.below(own).iter().any(|it| it.pid == pid));
            ends(child);
            table.look(&[own], &wanted, usize::MAX).unwrap();
            assert!(!table.known.contains_key(&pid));
        }
    }

    #[test]
    fn what_is_in_no_sandbox_is_passed_over_but_now_and_then() {
        let (child, pid) = sleeps();
        let mut table = Table::default();
        let mut looked = |firsts: &[i32]| {
            // To see whether it is read, or passed over.
            let resident = |it: &mut Process| std::mem::take(&mut it.resident_bytes);
            if let Some(it) = table.known.get_mut(&pid) {
                it.told.as_mut().map(resident);
            }
            let wanted = firsts.iter().copied().collect();
            table.look(firsts, &wanted, usize::MAX).unwrap();
            let it = table.known.get(&pid)?;
            Some((it.told.unwrap().resident_bytes > 0, it.held.is_some()))
        };
        for look in 1..=METER_STRANGE_AFTER {
            assert_eq!(looked(&[]), Some((true, look < METER_STRANGE_AFTER)));
        }
        assert_eq!(looked(&[]), Some((false, false)));
        // It was one of a sandbox all the time.
        assert!((0..METER_STRANGE_EVERY).any(|_| looked(&[own()]) == Some((true, true))));
        assert_eq!(looked(&[own()]), Some((true, true)));
        ends(child);
        assert_eq!(looked(&[own()]), None);
    }

    #[test]
    fn a_number_that_was_given_out_anew_is_in_no_sandbox_until_that_is_seen() {
        let (child, pid) = sleeps();
        let mut table = Table::default();
        table.look(&[own()], &[own()].into(), usize::MAX).unwrap();
        assert_eq!(table.known.get(&pid).unwrap().of, Some(own()));
        // As of another one that had this number.
        let it = table.known.get_mut(&pid).unwrap();
        (it.of, it.told.as_mut().unwrap().started) = (Some(1), 1);
        table.look(&[1, own()], &[own()].into(), usize::MAX).unwrap();
        assert_eq!(table.known.get(&pid).unwrap().of, Some(1));
        table.look(&[1, own()], &[1].into(), usize::MAX).unwrap();
        assert_eq!(table.known.get(&pid).unwrap().of, Some(own()));
        // The sandbox is gone.
        table.known.get_mut(&pid).unwrap().of = Some(1);
        table.look(&[own()], &HashSet::new(), usize::MAX).unwrap();
        assert_eq!(table.known.get(&pid).unwrap().of, Some(own()));
        ends(child);
    }

    #[test]
    fn of_a_sandbox_that_is_not_wanted_is_known_what_was_and_what_is_new() {
        let (child, pid) = sleeps();
        let mut table = Table::default();
        table.look(&[own()], &[own()].into(), usize::MAX).unwrap();
        assert!(table.below(own()).iter().any(|it| it.pid == pid));
        ends(child);
        let (child, new) = sleeps();
        // Nobody listed them anew in between.
        table.look(&[own()], &HashSet::new(), usize::MAX).unwrap();
        let below = |it: &Table| -> Vec<i32> { it.below(own()).iter().map(|it| it.pid).collect() };
        assert!(below(&table).contains(&new) && !below(&table).contains(&pid));
        ends(child);
        table.started = started();
        table.look(&[own()], &HashSet::new(), usize::MAX).unwrap();
        assert!(below(&table).contains(&new));
        table.look(&[own()], &[own()].into(), usize::MAX).unwrap();
        assert!(!below(&table).contains(&new));
    }
}
