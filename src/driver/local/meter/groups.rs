//! What control groups count, of version 2 and version 1.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{held::Held, micros};
use crate::{
    base::limits::{METER_LIMITS_EVERY, METER_MISSING_EVERY, METER_PRESSURE_EVERY},
    model::gauge::{Pressure, Usage},
};

/// A number from here on is the kernel's word for "no limit".
const NO_LIMIT: u64 = 1 << 60;
/// Longest file that is read, in bytes: `memory.stat` has some 2 KiB.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// How often a file is read, if not seldom.
const ALWAYS: u32 = 1;

/// One group of a sandbox.
pub struct Group {
    path: PathBuf,
    /// Of version 2.
    unified: bool,
    files: Vec<File>,
    readings: u32,
    /// How many files it keeps open, and how many more may stay so.
    open: usize,
    room: usize,
    /// What it had in memory when the rest was told of that.
    memory: Option<u64>,
}

/// One file of a group.
struct File {
    name: &'static str,
    held: Option<Held>,
    found: Found,
    /// What was in it when it was read last, and in which reading that was.
    bytes: Vec<u8>,
    read_in: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It was not read yet, or could not be.
    Unread,
    Read,
    /// It is not there.
    Missing,
}

impl Group {
    pub fn new(path: &Path) -> Self {
        let unified = path.join("cgroup.controllers").exists();
        let (path, files) = (path.to_owned(), Vec::new());
        Self { path, unified, files, readings: 0, open: 0, room: 0, memory: None }
    }

    /// How many files it keeps open.
    pub fn files(&self) -> usize {
        self.open
    }

    /// What is in a file, as it was when it was read last: that is so many readings ago at most.
    fn text(&mut self, name: &'static str, every: u32) -> Option<&str> {
        let at = self.files.iter().position(|it| it.name == name).unwrap_or_else(|| {
            let (held, found, bytes) = (None, Found::Unread, Vec::new());
            self.files.push(File { name, held, found, bytes, read_in: 0 });
            self.files.len() - 1
        });
        let file = self.files.get_mut(at)?;
        let ago = self.readings.wrapping_sub(file.read_in);
        let due = match file.found {
            Found::Unread => true,
            Found::Read => ago >= every,
            Found::Missing => ago >= METER_MISSING_EVERY,
        };
        if due {
            file.read_in = self.readings;
            let held = file.held.is_some();
            file.read(&self.path, held || self.room > 0);
            match (held, file.held.is_some()) {
                (true, false) => (self.open, self.room) = (self.open - 1, self.room + 1),
                (false, true) => (self.open, self.room) = (self.open + 1, self.room - 1),
                _ => {}
            }
        }
        let there = file.found == Found::Read;
        there.then(|| str::from_utf8(&file.bytes).ok())?
    }

    fn number(&mut self, name: &'static str, every: u32) -> Option<u64> {
        self.text(name, every)?.trim().parse().ok()
    }

    fn cpu_time(&mut self) -> Option<Duration> {
        match self.unified {
            true => named(self.text("cpu.stat", ALWAYS)?, "usage_usec").map(micros),
            false => self.number("cpuacct.usage", ALWAYS).map(Duration::from_nanos),
        }
    }

    fn disk(&mut self) -> Option<(u64, u64)> {
        if self.unified {
            let stat = self.text("io.stat", ALWAYS)?;
            // No line = nothing was read or written yet.
            return Some((sum(stat, "rbytes=").unwrap_or(0), sum(stat, "wbytes=").unwrap_or(0)));
        }
        let served = self.text("blkio.throttle.io_service_bytes", ALWAYS)?;
        let of = |word: &str| {
            let numbers = served.lines().filter_map(|it| {
                let mut fields = it.split_whitespace().skip(1);
                (fields.next()? == word).then(|| fields.next()?.parse::<u64>().ok())?
            });
            numbers.sum::<u64>()
        };
        Some((of("Read"), of("Write")))
    }

    /// How often that is read which goes with what is in memory: seldom where this is what it was.
    fn memory_every(&mut self, used: u64) -> u32 {
        let before = self.memory.replace(used);
        if before == Some(used) { METER_LIMITS_EVERY } else { ALWAYS }
    }
}

impl File {
    /// It stays open where it `may`.
    fn read(&mut self, group: &Path, may: bool) {
        if let Some(held) = &self.held
            && held.read(&mut self.bytes, FILE_BYTES_MAX).is_ok()
        {
            return;
        }
        // It may be of a group that is gone, and another there by now.
        self.held = None;
        self.found = Found::Unread;
        match Held::open(&group.join(self.name)) {
            Ok(held) if held.read(&mut self.bytes, FILE_BYTES_MAX).is_ok() => {
                self.found = Found::Read;
                self.held = Some(held).filter(|_| may);
            }
            // Only what is not there is not looked for again at once.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.found = Found::Missing,
            _ => {}
        }
    }
}

/// Begins a reading of these groups of one sandbox with the time it had on processors; `None` where none of them counts it.
/// So many files more may stay open.
pub fn begin(groups: &mut [Group], room: &mut usize) -> Option<Duration> {
    for group in &mut *groups {
        group.readings = group.readings.wrapping_add(1);
    }
    // As below: of several that count it the last is believed.
    groups.iter_mut().rev().find_map(|group| {
        group.room = *room;
        let time = group.cpu_time();
        *room = group.room;
        time
    })
}

/// What was read from disks and written, in bytes: the kernel writes what a sandbox left to it also while that does nothing.
pub fn disk(groups: &mut [Group], room: &mut usize) -> Option<(u64, u64)> {
    groups.iter_mut().rev().find_map(|group| {
        group.room = *room;
        let disk = group.disk();
        *room = group.room;
        disk
    })
}

/// Reads the rest; what these groups don't count is `None`.
pub fn read(groups: &mut [Group], room: &mut usize) -> Usage {
    let mut usage = Usage::default();
    for group in groups {
        group.room = *room;
        usage.cpu_time = group.cpu_time().or(usage.cpu_time);
        if let Some(disk) = group.disk() {
            (usage.read_bytes, usage.write_bytes) = (Some(disk.0), Some(disk.1));
        }
        match group.unified {
            true => unified(&mut usage, group),
            false => legacy(&mut usage, group),
        }
        *room = group.room;
    }
    usage
}

/// A number after a name, a line each.
fn named(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|it| {
        let (key, value) = it.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

/// Of numbers after names, in all lines.
fn sum(text: &str, name: &str) -> Option<u64> {
    let found = text.split_whitespace().filter_map(|it| it.strip_prefix(name)?.parse().ok());
    found.fold(None, |sum: Option<u64>, it: u64| Some(sum.unwrap_or(0).saturating_add(it)))
}

fn unified(usage: &mut Usage, group: &mut Group) {
    if let Some(stat) = group.text("cpu.stat", ALWAYS) {
        usage.throttled_time = named(stat, "throttled_usec").map(micros);
    }
    if let Some(max) = group.text("cpu.max", METER_LIMITS_EVERY) {
        let mut numbers = max.split_whitespace().map(|it| it.parse::<f64>().ok());
        let (quota, period) = (numbers.next().flatten(), numbers.next().flatten());
        usage.cpu_limit = quota.zip(period.filter(|it| *it > 0.0)).map(|(quota, of)| quota / of);
    }
    if let Some(used) = group.number("memory.current", ALWAYS) {
        let every = group.memory_every(used);
        let stat = group.text("memory.stat", every).unwrap_or_default();
        let idle = named(stat, "inactive_file").unwrap_or(0);
        usage.memory_bytes = Some(used.saturating_sub(idle));
        usage.cache_bytes = named(stat, "file");
        usage.memory_limit_bytes = group.number("memory.max", METER_LIMITS_EVERY);
        usage.oom_kills = group.text("memory.events", ALWAYS).and_then(|it| named(it, "oom_kill"));
    }
    if let Some(pids) = group.number("pids.current", ALWAYS) {
        let limit = group.number("pids.max", METER_LIMITS_EVERY);
        (usage.pids, usage.pids_limit) = but_first(pids, limit);
    }
    let mut some = |file| group.text(file, METER_PRESSURE_EVERY).and_then(Pressure::told);
    usage.pressure = Pressure {
        cpu: some("cpu.pressure"),
        memory: some("memory.pressure"),
        io: some("io.pressure"),
    };
}

fn legacy(usage: &mut Usage, group: &mut Group) {
    let quota = group
        .text("cpu.cfs_quota_us", METER_LIMITS_EVERY)
        .and_then(|it| it.trim().parse::<i64>().ok());
    if let (Some(quota), Some(period)) =
        (quota, group.number("cpu.cfs_period_us", METER_LIMITS_EVERY))
    {
        let (quota, period) = (Some(quota).filter(|it| *it > 0), Some(period).filter(|it| *it > 0));
        usage.cpu_limit = quota.zip(period).map(|(quota, period)| quota as f64 / period as f64);
        let stat = group.text("cpu.stat", ALWAYS).unwrap_or_default();
        usage.throttled_time = named(stat, "throttled_time").map(Duration::from_nanos);
    }
    if let Some(used) = group.number("memory.usage_in_bytes", ALWAYS) {
        let every = group.memory_every(used);
        let stat = group.text("memory.stat", every).unwrap_or_default();
        let idle = named(stat, "total_inactive_file").unwrap_or(0);
        usage.memory_bytes = Some(used.saturating_sub(idle));
        usage.cache_bytes = named(stat, "total_cache");
        usage.memory_limit_bytes =
            group.number("memory.limit_in_bytes", METER_LIMITS_EVERY).filter(|it| *it < NO_LIMIT);
        usage.oom_kills =
            group.text("memory.oom_control", ALWAYS).and_then(|it| named(it, "oom_kill"));
    }
    if let Some(pids) = group.number("pids.current", ALWAYS) {
        let limit = group.number("pids.max", METER_LIMITS_EVERY);
        (usage.pids, usage.pids_limit) = but_first(pids, limit);
    }
}

/// The first process is counted by the kernel and is not the sandbox's own.
fn but_first(pids: u64, limit: Option<u64>) -> (Option<u64>, Option<u64>) {
    (Some(pids.saturating_sub(1)), limit.map(|it| it.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(groups: &mut [Group], room: &mut usize) -> Usage {
        let time = begin(groups, room);
        let disk = disk(groups, room);
        let usage = super::read(groups, room);
        assert_eq!((time, disk), (usage.cpu_time, usage.read_bytes.zip(usage.write_bytes)));
        usage
    }

    fn group(files: &[(&str, &str)]) -> (tempfile::TempDir, Usage) {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(home.path().join(name), text).unwrap();
        }
        let group = || Group::new(home.path());
        let mut room = usize::MAX;
        let mut groups = [group()];
        let usage = read(&mut groups, &mut room);
        // Whether its files stay open or not.
        assert_eq!(read(&mut groups, &mut room), usage);
        assert_eq!(usize::MAX - room, groups.iter().map(Group::files).sum::<usize>());
        assert_eq!(read(&mut [group()], &mut 0), usage);
        (home, usage)
    }

    #[test]
    fn version_2_is_read() {
        let (_home, usage) = group(&[
            ("cgroup.controllers", "cpu io memory pids\n"),
            (
                "cpu.stat",
                "usage_usec 1500000\nuser_usec 1\nnr_throttled 3\nthrottled_usec 250000\n",
            ),
            ("cpu.max", "150000 100000\n"),
            ("memory.current", "1000000\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 5\nfile 300000\ninactive_file 200000\n"),
            ("memory.events", "low 0\noom 1\noom_kill 2\n"),
            ("pids.current", "4\n"),
            ("pids.max", "65\n"),
            ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n"),
            ("memory.pressure", "some avg10=1.50 avg60=0.0\nfull avg10=9.0\n"),
        ]);
        assert_eq!(usage.cpu_time, Some(Duration::from_millis(1500)));
        assert_eq!(usage.throttled_time, Some(Duration::from_millis(250)));
        assert_eq!(usage.cpu_limit, Some(1.5));
        assert_eq!((usage.memory_bytes, usage.cache_bytes), (Some(800_000), Some(300_000)));
        assert_eq!((usage.memory_limit_bytes, usage.oom_kills), (None, Some(2)));
        assert_eq!((usage.pids, usage.pids_limit), (Some(3), Some(64)));
        assert_eq!((usage.read_bytes, usage.write_bytes), (Some(11), Some(22)));
        assert_eq!(usage.pressure, Pressure { memory: Some(1.5), ..Pressure::default() });
    }

    #[test]
    fn version_1_is_read_and_what_is_not_counted_is_not_known() {
        let (_home, usage) = group(&[
            ("memory.usage_in_bytes", "4096\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.stat", "total_cache 7\ntotal_inactive_file 96\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
            ("cpu.cfs_quota_us", "-1\n"),
            ("cpu.cfs_period_us", "100000\n"),
            ("cpu.stat", "nr_periods 0\nthrottled_time 5\n"),
            (
                "blkio.throttle.io_service_bytes",
                "8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n",
            ),
        ]);
        assert_eq!((usage.memory_bytes, usage.memory_limit_bytes), (Some(4000), None));
        assert_eq!((usage.cpu_limit, usage.cpu_time, usage.oom_kills), (None, None, Some(1)));
        assert_eq!((usage.read_bytes, usage.write_bytes, usage.pids), (Some(5), Some(6), None));
    }

    #[test]
    fn nonsense_is_not_known() {
        let (_home, usage) = group(&[
            ("cgroup.controllers", ""),
            ("cpu.stat", "usage_usec x\n"),
            ("cpu.max", "5 0\n"),
            ("memory.current", "-3\n"),
            ("io.stat", "8:0 rbytes=99999999999999999999\n"),
        ]);
        assert_eq!((usage.cpu_time, usage.cpu_limit, usage.memory_bytes), (None, None, None));
        assert_eq!(usage.read_bytes, Some(0));
    }

    #[test]
    fn what_is_gone_is_not_known_and_what_is_there_again_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pids.current");
        let mut groups = [Group::new(home.path())];
        let mut pids = || read(&mut groups, &mut usize::MAX.clone()).pids;
        // Looked for again now and then, where it was not there.
        assert_eq!(pids(), None);
        fs::write(&path, "3\n").unwrap();
        assert!((0..METER_MISSING_EVERY).any(|_| pids() == Some(2)));
        fs::write(&path, "4\n").unwrap();
        assert_eq!(pids(), Some(3));
    }

    #[test]
    fn what_changes_seldom_is_read_seldom() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(home.path().join(name), text).unwrap();
        write("cgroup.controllers", "");
        write("memory.current", "100\n");
        let told = |number: u32| {
            write("memory.max", &format!("{number}\n"));
            write("memory.stat", &format!("file {number}\ninactive_file 0\n"));
            write("cpu.pressure", &format!("some avg10={number}.00\n"));
        };
        let mut groups = [Group::new(home.path())];
        let mut read = || {
            let usage = read(&mut groups, &mut usize::MAX.clone());
            (usage.memory_limit_bytes, usage.cache_bytes, usage.pressure.cpu)
        };
        told(1);
        assert_eq!(read(), (Some(1), Some(1), Some(1.0)));
        told(2);
        assert_eq!(read(), (Some(1), Some(1), Some(1.0)));
        assert_eq!(read(), (Some(1), Some(1), Some(2.0)));
        // What it has in memory is told with what that is.
        write("memory.current", "101\n");
        assert_eq!(read(), (Some(1), Some(2), Some(2.0)));
        told(3);
        assert!((0..METER_LIMITS_EVERY).any(|_| read() == (Some(3), Some(3), Some(3.0))));
    }

    #[test]
    fn a_file_that_can_not_be_read_any_more_is_opened_anew() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let there = PathBuf::from(format!("/proc/{}", child.id()));
        let mut group = Group::new(&there);
        group.room = 1;
        assert!(group.text("stat", ALWAYS).is_some());
        assert_eq!((group.files(), group.room), (1, 0));
        child.kill().unwrap();
        child.wait().unwrap();
        group.readings += 1;
        assert_eq!(group.text("stat", ALWAYS), None);
        assert_eq!((group.files(), group.room), (0, 1));
        group.path = PathBuf::from("/proc/self");
        group.files.clear();
        assert!(group.text("stat", ALWAYS).is_some());
    }
}
