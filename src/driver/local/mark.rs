//! How every process of a sandbox without namespaces is found, wherever it has got to: each bears a
//! bound that it inherits, can't change (the filter of system calls refuses that) and never meets.

use std::{fs, io};

use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getpid, pidfd_open, pidfd_send_signal, setrlimit,
};

use super::{pace::Pace, processes};
use crate::base::id::SandboxId;

/// The time that a real-time process may run without a rest. Nothing in a sandbox is one, and the
/// least of marks is 36,000 years.
pub const BOUND: Resource = Resource::Rttime;
/// As the kernel numbers it and calls it.
pub const BOUND_NUMBER: u64 = libc::RLIMIT_RTTIME as u64;
const BOUND_NAME: &str = "Max realtime timeout";
const LEAST: u64 = 1 << 60;

/// One sandbox's, different from every other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    pub fn fresh() -> Self {
        let sum = SandboxId::random().as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(LEAST | (sum & (LEAST - 1)))
    }

    /// From what `number` gave.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|it| *it >= LEAST).map(Self)
    }

    pub fn number(self) -> u64 {
        self.0
    }

    /// Puts it on this process, and so on everything that comes from it.
    pub fn put(self) -> io::Result<()> {
        setrlimit(BOUND, Rlimit { current: Some(self.0), maximum: Some(self.0) })
            .map_err(|error| io::Error::other(format!("marking its processes: {error}")))
    }

    fn is_on(self, pid: Pid) -> bool {
        let path = format!("/proc/{}/limits", pid.as_raw_nonzero());
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|it| it.strip_prefix(BOUND_NAME));
        // The second of the two figures is the one that can't be raised.
        line.and_then(|it| it.split_whitespace().nth(1)?.parse().ok()) == Some(self.0)
    }

    /// Kills all that bear it, but for this process; `true` when there were none.
    fn strike(self) -> bool {
        let mut none = true;
        for pid in processes::all().filter(|it| *it != getpid()) {
            if !self.is_on(pid) || processes::has_ended(pid) {
                continue;
            }
            none = false;
            let Ok(itself) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            // Its number may be another's since it was listed.
            if self.is_on(pid) {
                let _ = pidfd_send_signal(&itself, Signal::KILL);
            }
        }
        none
    }

    /// Kills all that bear it until none is left; only those that hang in the kernel hold it up.
    pub async fn end(self) {
        let mut pace = Pace::default();
        while !processes::aside(move || self.strike()).await.unwrap_or(false) {
            tokio::time::sleep(pace.next()).await;
        }
    }

    /// The same for a first process whose shim is gone: as far as it can in a while, then it ends too.
    #[expect(clippy::disallowed_methods, reason = "a process of its own with nothing else to do")]
    pub fn end_all_but_this(self) {
        const ROUNDS_MAX: usize = 128;
        let mut pace = Pace::default();
        for _ in 0..ROUNDS_MAX {
            if self.strike() {
                return;
            }
            std::thread::sleep(pace.next());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_differ_and_read_back() {
        let (one, two) = (Mark::fresh(), Mark::fresh());
        assert_ne!(one, two);
        assert_eq!(Mark::parse(&one.number().to_string()), Some(one));
        assert_eq!(Mark::parse("7"), None);
        assert!(!one.is_on(getpid()));
    }
}
