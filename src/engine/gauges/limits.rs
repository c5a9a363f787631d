//! What is told without being asked: that something is near its limit, or was killed for one. Once each time, until it
//! is well below again.

use crate::{
    base::text::count,
    model::gauge::{HostGauge, Usage},
};

/// Of a limit, in percent: from here on it is told, and below the other it may be told again.
const NEAR: f64 = 90.0;
const CLEAR: f64 = 75.0;
/// Of a disk, in percent.
const DISK_NEAR: f64 = 95.0;
const DISK_CLEAR: f64 = 92.0;

/// What was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    memory: bool,
    pids: bool,
    disk: bool,
}

/// Whether this is news; `told` remembers.
fn crosses(
    told: &mut bool,
    used: Option<u64>,
    limit: Option<u64>,
    near: f64,
    clear: f64,
) -> Option<f64> {
    let (used, limit) = used.zip(limit.filter(|it| *it > 0))?;
    let percent = used as f64 / limit as f64 * 100.0;
    if *told {
        *told = percent >= clear;
        return None;
    }
    *told = percent >= near;
    told.then_some(percent)
}

impl Told {
    pub fn of_sandbox(&mut self, name: &str, before: &Usage, now: &Usage) -> Vec<String> {
        let mut words = Vec::new();
        let killed = now
            .oom_kills
            .zip(before.oom_kills)
            .and_then(|(now, before)| now.checked_sub(before).filter(|it| *it > 0));
        if let Some(killed) = killed {
            let killed = count(killed, "process");
            words.push(format!("{name} ran out of memory: the kernel killed {killed} of it"));
        }
        let (used, limit) = (now.memory_bytes, now.memory_limit_bytes);
        if let Some(percent) = crosses(&mut self.memory, used, limit, NEAR, CLEAR) {
            words.push(format!("{name} uses {percent:.0} % of the memory that it may"));
        }
        if let Some(percent) = crosses(&mut self.pids, now.pids, now.pids_limit, NEAR, CLEAR) {
            words.push(format!("{name} has {percent:.0} % of the processes that it may"));
        }
        words
    }

    pub fn of_host(&mut self, host: &HostGauge) -> Vec<String> {
        let mut words = Vec::new();
        let (used, total) = (host.memory_bytes, host.memory_total_bytes);
        if let Some(percent) = crosses(&mut self.memory, used, total, DISK_NEAR, NEAR) {
            words.push(format!("this machine uses {percent:.0} % of its memory"));
        }
        let total = host.disk_total_bytes;
        let used = total.zip(host.disk_free_bytes).map(|(all, free)| all.saturating_sub(free));
        if let Some(percent) = crosses(&mut self.disk, used, total, DISK_NEAR, DISK_CLEAR) {
            words.push(format!("the disk that sandboxes are kept on is {percent:.0} % full"));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_its_limit_is_told_once_until_it_is_well_below() {
        let usage = |used| Usage {
            memory_bytes: Some(used),
            memory_limit_bytes: Some(100),
            ..Usage::default()
        };
        let mut told = Told::default();
        let mut at = |used| told.of_sandbox("api", &Usage::default(), &usage(used)).len();
        let said: Vec<_> = [50, 89, 90, 95, 80, 91, 70, 90].map(&mut at).to_vec();
        assert_eq!(said, [0, 0, 1, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_kill_is_told_each_time_and_the_first_look_is_no_news() {
        let usage = |kills| Usage { oom_kills: kills, ..Usage::default() };
        let mut told = Told::default();
        assert!(told.of_sandbox("a", &usage(None), &usage(Some(3))).is_empty());
        let words = told.of_sandbox("a", &usage(Some(3)), &usage(Some(5)));
        assert_eq!(words, ["a ran out of memory: the kernel killed 2 processes of it"]);
        assert!(told.of_sandbox("a", &usage(Some(5)), &usage(Some(5))).is_empty());
    }

    #[test]
    fn without_a_limit_nothing_is_near_it() {
        let usage = Usage { memory_bytes: Some(u64::MAX), pids: Some(9), ..Usage::default() };
        assert!(Told::default().of_sandbox("a", &usage, &usage).is_empty());
        let zero = Usage { memory_limit_bytes: Some(0), ..usage };
        assert!(Told::default().of_sandbox("a", &zero, &zero).is_empty());
    }
}
