//! How every process of a sandbox without namespaces is found, wherever it has got to: each bears a
//! bound that it inherits, can't change (the filter of system calls refuses that) and never meets.

use std::{collections::BTreeSet, io};

use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getpid, pidfd_open,
        pidfd_send_signal, setrlimit, waitid,
    },
};

use super::{pace::Pace, processes, sys};
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

    fn is_on(self, pid: Pid) -> io::Result<bool> {
        Ok(bound_of(pid)? == Some(self.0))
    }

    /// Kills a process that bears it, whatever state it seems to be in; `true` until it has ended, which
    /// is an error that says so.
    fn strike_one(self, pid: Pid) -> io::Result<bool> {
        if pid == getpid() || !self.is_on(pid)? {
            return Ok(false);
        }
        let itself = pidfd_open(pid, PidfdFlags::empty())?;
        // Its number may be another's since it was listed.
        if !self.is_on(pid)? {
            return Ok(false);
        }
        match pidfd_send_signal(&itself, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        if processes::has_ended(&itself)? { Err(processes::ended()) } else { Ok(true) }
    }

    /// Reaps those of this process's children that bear it; how many.
    fn bury(self) -> io::Result<usize> {
        /// As many as there are numbers for on most hosts; what is more is for the next look.
        const AT_ONCE_MAX: usize = 32 * 1024;
        for buried in 0..AT_ONCE_MAX {
            match sys::ended_child() {
                Ok(Some(pid)) if self.is_on(pid)? => {
                    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
                }
                Ok(_) => return Ok(buried),
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(buried),
                Err(error) => return Err(error),
            }
        }
        Ok(AT_ONCE_MAX)
    }

    /// Kills all that bear it, but for this process.
    fn strike(self, orphans: Orphans) -> Look {
        let mut look = Look { left: BTreeSet::new(), buried: 0, missed: None };
        let mut buried = Ok(());
        if orphans == Orphans::Ours {
            buried = self.bury().map(|it| look.buried = it);
        }
        let mut strike = |pid: Pid| {
            if self.strike_one(pid)? {
                look.left.insert(pid.as_raw_nonzero().get());
            }
            Ok(())
        };
        // Children first: who hurries is among them.
        let children = match orphans {
            Orphans::Ours => processes::each_child(&mut strike),
            Orphans::Others => Ok(()),
        };
        let all = processes::each(&mut strike);
        look.missed = buried.and(children).and(all).err();
        look
    }
}

/// Whether a process bears the mark of any sandbox, whoever made it.
pub fn is_any_on(pid: Pid) -> io::Result<bool> {
    Ok(bound_of(pid)?.is_some_and(|it| (LEAST..2 * LEAST).contains(&it)))
}

fn bound_of(pid: Pid) -> io::Result<Option<u64>> {
    match sys::hard_limit(pid, libc::RLIMIT_RTTIME) {
        // Another user's, or of another main group than this process: to be seen by everybody all the same.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(processes::read(pid, "limits")?.as_deref().and_then(bound_in))
        }
        other => other.map(Some),
    }
}

fn bound_in(limits: &[u8]) -> Option<u64> {
    let mut lines = limits.split(|it| *it == b'\n');
    let line = lines.find_map(|it| it.strip_prefix(BOUND_NAME.as_bytes()))?;
    // The second of the two figures is the one that can't be raised.
    str::from_utf8(line).ok()?.split_whitespace().nth(1)?.parse().ok()
}

struct Look {
    left: BTreeSet<i32>,
    /// Orphans that had ended. Nothing that makes others and ends can do so without leaving one.
    buried: usize,
    /// Why one that was there could not be looked at.
    missed: Option<io::Error>,
}

/// Whose orphans those of a sandbox become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// This process's: when it has no child any more, none of them is left.
    Ours,
    Others,
}

/// Kills what bears a mark until none is left.
pub struct Hunt {
    mark: Mark,
    orphans: Orphans,
    clean: usize,
    left: BTreeSet<i32>,
    pace: Pace,
}

impl Hunt {
    pub fn new(mark: Mark, orphans: Orphans) -> Self {
        Self { mark, orphans, clean: 0, left: BTreeSet::new(), pace: Pace::default() }
    }

    /// One look: what it left, in words; `None` when it is certain that there is nothing.
    pub async fn look(&mut self) -> Option<String> {
        let (mark, orphans) = (self.mark, self.orphans);
        match processes::aside(move || mark.strike(orphans)).await {
            Ok(look) => self.judge(look),
            Err(fault) => Some(fault.to_string()),
        }
    }

    pub async fn rest(&mut self) {
        tokio::time::sleep(self.pace.next()).await;
    }

    fn judge(&mut self, look: Look) -> Option<String> {
        if look.buried > 0 || !look.left.is_subset(&self.left) {
            // Where there are new ones, to be slow is to lose.
            self.pace = Pace::default();
        }
        self.left = look.left;
        if self.left.is_empty() && self.orphans == Orphans::Ours && has_no_child() {
            return None;
        }
        let clean = self.left.is_empty() && look.buried == 0 && look.missed.is_none();
        self.clean = if clean { self.clean + 1 } else { 0 };
        match look.missed {
            _ if !self.left.is_empty() => Some(in_words(&self.left)),
            Some(error) => Some(format!("looking for its processes: {error}")),
            None if self.clean >= processes::CLEAN_LOOKS => None,
            None => Some("its processes come and go too fast to see that none is left".to_owned()),
        }
    }

    /// The same for a first process whose shim is gone: as far as it can in a minute, then it ends too.
    #[expect(clippy::disallowed_methods, reason = "a process of its own with nothing else to do")]
    pub fn end_all_but_this(mut self) {
        const ROUNDS_MAX: usize = 1200;
        for _ in 0..ROUNDS_MAX {
            let look = self.mark.strike(self.orphans);
            if self.judge(look).is_none() {
                return;
            }
            std::thread::sleep(self.pace.next());
        }
    }
}

fn in_words(left: &BTreeSet<i32>) -> String {
    const NAMED_MAX: usize = 5;
    let named: Vec<String> = left.iter().take(NAMED_MAX).map(i32::to_string).collect();
    let more = if left.len() > NAMED_MAX { ", …" } else { "" };
    let processes = if left.len() == 1 { "process" } else { "processes" };
    format!("{} {processes} killed but not ended ({}{more})", left.len(), named.join(", "))
}

fn has_no_child() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Err(Errno::CHILD))
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
        assert!(!one.is_on(getpid()).unwrap());
    }

    #[test]
    fn what_everybody_sees_of_a_process_has_its_mark() {
        let limits = b"Limit  Soft Limit  Hard Limit  Units\nMax processes  7  8  processes\n\
            Max realtime timeout      1152921504606846977  1152921504606846978  us\n";
        assert_eq!(bound_in(limits), Some(LEAST + 2));
        assert_eq!(bound_in(b"Max realtime timeout      unlimited  unlimited  us\n"), None);
        let own = processes::read(getpid(), "limits").unwrap().unwrap();
        let asked = sys::hard_limit(getpid(), libc::RLIMIT_RTTIME).unwrap();
        assert_eq!(bound_in(&own).unwrap_or(libc::RLIM_INFINITY), asked);
    }

    #[test]
    fn an_end_is_only_believed_when_it_is_certain() {
        let look = |left: &[i32], buried, missed: Option<i32>| Look {
            left: left.iter().copied().collect(),
            buried,
            missed: missed.map(io::Error::from_raw_os_error),
        };
        let mut hunt = Hunt::new(Mark::fresh(), Orphans::Others);
        let words = hunt.judge(look(&[7], 0, None)).unwrap();
        assert_eq!(words, "1 process killed but not ended (7)");
        assert!(hunt.judge(look(&[], 0, None)).is_some());
        assert!(hunt.judge(look(&[], 1, None)).unwrap().contains("too fast"));
        assert!(hunt.judge(look(&[], 0, None)).is_some());
        let words = hunt.judge(look(&[], 0, Some(libc::EMFILE))).unwrap();
        assert!(words.contains("open files"), "{words}");
        for _ in 1..processes::CLEAN_LOOKS {
            assert!(hunt.judge(look(&[], 0, None)).is_some());
        }
        assert!(hunt.judge(look(&[], 0, None)).is_none());
    }
}
