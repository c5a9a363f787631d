//! What is remembered of one sandbox between two readings, and what its processes add up to.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
    process::{PidfdFlags, pidfd_open},
};

use super::{
    super::traces::Traces,
    Glance,
    groups::{self, Group},
    table::{self, Process, Table},
};
use crate::{
    base::{
        clock,
        limits::{
            METER_SHARES_EVERY, METER_SHARES_MAX, METER_SHARES_OF_ONE_WITHIN,
            METER_SHARES_OWED_MAX, METER_SHARES_REST, METER_SHARES_WITHIN, METER_STIRS,
            METERED_PROCESSES_MAX,
        },
    },
    driver::net,
    model::gauge::{MeteredBy, Usage},
};

/// Time for what is dear: so much a round. What was spent beyond that is owed.
#[derive(Default)]
pub struct Purse {
    left: Duration,
    owed: Duration,
}

impl Purse {
    pub fn fill(&mut self) {
        self.left = METER_SHARES_WITHIN.saturating_sub(self.owed);
        self.owed = self.owed.saturating_sub(METER_SHARES_WITHIN);
    }

    fn is_empty(&self) -> bool {
        self.left.is_zero()
    }

    fn spend(&mut self, spent: Duration) {
        let owed = self.owed + spent.saturating_sub(self.left);
        self.owed = owed.min(METER_SHARES_WITHIN * METER_SHARES_OWED_MAX);
        self.left = self.left.saturating_sub(spent);
    }
}

/// What is remembered of a sandbox between two readings.
pub struct Known {
    /// Its first process, and that process itself.
    pub first: i32,
    itself: OwnedFd,
    groups: Vec<Group>,
    /// Where its network is counted; `None` = nobody does yet.
    net: Option<File>,
    shares: Option<Shares>,
    /// What its processes read and wrote, as far as it was seen.
    disk: Option<(u64, u64)>,
    seen: HashMap<(i32, u64), Seen>,
    /// When it was read as a whole.
    last: Option<Last>,
}

/// The last reading of all that is read of it.
struct Last {
    usage: Usage,
    /// Its groups did not tell all of it.
    lacked: bool,
}

/// Its shares of memory when they were last read.
#[derive(Clone, Copy)]
struct Shares {
    bytes: u64,
    /// What its processes had in memory then, shared or not.
    resident: u64,
    /// `clock::monotonic`.
    at: Duration,
    /// How long that took.
    took: Duration,
    /// One of them did something since.
    stirred: bool,
}

/// One process when it was last looked at.
#[derive(Clone, Copy, Default)]
struct Seen {
    cpu_ticks: u64,
    disk: (u64, u64),
}

impl Known {
    /// `None` where its first process is not there.
    pub fn new(ground: &Path) -> io::Result<Option<Self>> {
        let traces = Traces::read(ground)?;
        let Some(first) = traces.first else { return Ok(None) };
        let Some(pid) = first.alive()? else { return Ok(None) };
        let Ok(itself) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(None) };
        // Its number may be another's since it was looked up.
        if first.alive()?.is_none() {
            return Ok(None);
        }
        let groups = traces.groups.iter().map(|it| Group::new(it)).collect();
        let it = Self {
            first: first.pid,
            itself,
            groups,
            net: None,
            shares: None,
            disk: None,
            seen: HashMap::new(),
            last: None,
        };
        Ok(it.lives().then_some(it))
    }

    /// Whether its first process has not ended.
    pub fn lives(&self) -> bool {
        let mut asked = [PollFd::new(&self.itself, PollFlags::IN)];
        retry_on_intr(|| poll(&mut asked, Some(&Timespec::default()))).is_ok_and(|ended| ended == 0)
    }

    /// What came and went over its network; the file of it stays open where there is room.
    fn net(&mut self, ground: &Path, room: &mut usize) -> Option<(u64, u64)> {
        if let Some(net) = &self.net {
            return net::told(net);
        }
        let net = net::open(ground)?;
        let told = net::told(&net);
        if *room > 0 {
            *room -= 1;
            self.net = Some(net);
        }
        told
    }

    /// How many files it keeps open, beside the one that is its first process.
    pub fn files(&self) -> usize {
        let groups = self.groups.iter().map(Group::files).sum::<usize>();
        usize::from(self.net.is_some()) + groups
    }

    /// What its groups tell, and its network. Of one that is quiet little is asked, unless it is to be read as a `whole`.
    pub fn glance(&mut self, ground: &Path, whole: bool, room: &mut usize) -> Glance {
        let time = groups::begin(&mut self.groups, room);
        let quiet = if whole { None } else { self.quiet(time) };
        let mut glance = match quiet {
            Some(mut usage) => {
                if let Some(disk) = groups::disk(&mut self.groups, room) {
                    (usage.read_bytes, usage.write_bytes) = (Some(disk.0), Some(disk.1));
                }
                Glance { usage, whole: false, lacks: false }
            }
            None => {
                let usage = groups::read(&mut self.groups, room);
                let usage = Usage { by: Some(MeteredBy::Groups), ..usage };
                Glance { usage, whole: true, lacks: lacks(&usage) }
            }
        };
        let net = self.net(ground, room);
        (glance.usage.rx_bytes, glance.usage.tx_bytes) = net.unzip();
        glance
    }

    /// What it used when it was read as a whole, where it did next to nothing since.
    fn quiet(&self, time: Option<Duration>) -> Option<Usage> {
        let last = self.last.as_ref()?;
        let since = time?.saturating_sub(last.usage.cpu_time?);
        (since < METER_STIRS).then_some(Usage { cpu_time: time, ..last.usage })
    }

    pub fn remember(&mut self, Glance { usage, lacks, .. }: &Glance) {
        self.last = Some(Last { usage: *usage, lacked: *lacks });
    }

    /// It is read as a whole the next time.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// Whether its groups don't tell all.
    pub fn lacks(&self) -> bool {
        self.last.as_ref().is_none_or(|it| it.lacked)
    }

    pub fn processes(&self, table: &Table) -> Vec<u32> {
        let all = table.below(self.first).into_iter();
        all.filter_map(|it| u32::try_from(it.pid).ok()).take(METERED_PROCESSES_MAX).collect()
    }

    /// Puts in what no control group counts, from a table of now. Tells whether there was time for all of it.
    pub fn add_up(&mut self, usage: &mut Usage, table: &Table, purse: &mut Purse) -> bool {
        // The first process waits for whoever starts programs in it, and for what lost its parent.
        let (all, ended) = (table.below(self.first), table.waited_for_by(self.first));
        let mut in_time = true;
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
            in_time = self.share(&all, resident, stirred, purse);
            usage.memory_bytes = Some(self.memory(resident));
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
        for it in &all {
            self.seen.entry(it.key()).or_default().cpu_ticks = it.cpu_ticks;
        }
        if self.seen.len() > all.len() {
            let alive: HashSet<_> = all.iter().map(Process::key).collect();
            self.seen.retain(|key, _| alive.contains(key));
        }
        in_time
    }

    /// Reads its shares of memory, where they may be others by now. Tells whether there was time for it.
    fn share(&mut self, all: &[Process], resident: u64, stirred: bool, purse: &mut Purse) -> bool {
        let now = clock::monotonic();
        let due = self.shares.is_none_or(|it| it.is_due(resident, stirred, now));
        let in_time = !due || !purse.is_empty();
        if due && in_time {
            let bytes = shares(all, now + METER_SHARES_OF_ONE_WITHIN);
            let took = clock::monotonic().saturating_sub(now);
            purse.spend(took);
            self.shares = Some(Shares { bytes, resident, at: now, took, stirred: false });
        } else if let Some(shares) = &mut self.shares {
            shares.stirred |= stirred;
        }
        in_time
    }

    /// What it has of memory: its shares when those were read, and what came or went since.
    fn memory(&self, resident: u64) -> u64 {
        let since = |it: Shares| (it.bytes + resident).saturating_sub(it.resident);
        self.shares.map_or(resident, since)
    }
}

/// Whether this is not all that is told of a sandbox.
fn lacks(usage: &Usage) -> bool {
    usage.cpu_time.is_none()
        || usage.memory_bytes.is_none()
        || usage.pids.is_none()
        || usage.read_bytes.is_none()
}

impl Shares {
    /// Whether they may be others by now, and it is not too soon to look.
    fn is_due(&self, resident: u64, stirred: bool, now: Duration) -> bool {
        let ago = now.saturating_sub(self.at);
        let stirred = ago >= METER_SHARES_EVERY && (self.stirred || stirred);
        (self.resident != resident || stirred) && ago >= self.took.saturating_mul(METER_SHARES_REST)
    }
}

/// What processes have of memory, what they share divided among those who do, as far as that is known until then.
fn shares(all: &[Process], until: Duration) -> u64 {
    let mut all: Vec<&Process> = all.iter().filter(|it| it.resident_bytes > 0).collect();
    all.sort_by_key(|it| std::cmp::Reverse(it.resident_bytes));
    let share = |(at, it): (usize, &&Process)| {
        let may = at < METER_SHARES_MAX && clock::monotonic() < until;
        let share = if may { table::share(it.pid) } else { None };
        share.unwrap_or(it.resident_bytes)
    };
    all.iter().enumerate().map(share).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_too_much_is_paid_back() {
        let mut purse = Purse::default();
        assert!(purse.is_empty());
        purse.fill();
        purse.spend(METER_SHARES_WITHIN / 2);
        assert!(!purse.is_empty());
        purse.spend(METER_SHARES_WITHIN * 3);
        for left in [false, false, true] {
            purse.fill();
            assert_eq!(!purse.is_empty(), left);
        }
    }

    #[test]
    fn one_that_is_dear_does_not_keep_others_waiting_for_ever() {
        let mut purse = Purse::default();
        purse.fill();
        purse.spend(METER_SHARES_WITHIN * 1000);
        let rounds = (0..).take_while(|_| {
            purse.fill();
            purse.is_empty()
        });
        assert!(rounds.count() <= METER_SHARES_OWED_MAX as usize);
    }

    #[test]
    fn shares_are_read_anew_where_they_may_be_others() {
        let at = Duration::from_secs(1000);
        let took = Duration::from_millis(1);
        let shares = Shares { bytes: 5, resident: 10, at, took, stirred: false };
        let (soon, rested) = (at + took, at + took * METER_SHARES_REST);
        assert!(!shares.is_due(10, true, rested) && shares.is_due(11, false, rested));
        // What took long is not done again at once.
        assert!(!shares.is_due(11, false, soon));
        let later = at + METER_SHARES_EVERY;
        assert!(shares.is_due(10, true, later) && !shares.is_due(10, false, later));
        assert!(Shares { stirred: true, ..shares }.is_due(10, false, later));
    }
}
