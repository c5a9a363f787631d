//! System calls of a process, as they are shown: what was called, with what, and what came of it.

use std::time::Duration;

use crate::base::clock::Timestamp;

/// One call. Its words are the program's own, bounded and safe to show; what was read or written is not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// The number of the thread, as the host has it.
    pub thread: u32,
    /// When it was begun.
    pub at: Timestamp,
    pub name: String,
    /// What it was called with, in words; `…` where that is not decoded.
    pub args: String,
    /// `None` = the thread is in it.
    pub end: Option<SyscallEnd>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallEnd {
    /// As the kernel gave it; an error is below 0.
    pub value: i64,
    /// What the error is called; `None` = it is none.
    pub error: Option<String>,
    /// How long it took, with what looking at it costs.
    pub took: Duration,
}

/// What a process called since the part before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyscallPart {
    /// Calls that ended, in the order of their ends.
    pub done: Vec<Syscall>,
    /// All that its threads are in now.
    pub waits: Vec<Syscall>,
    /// How many ended, with those that are left out.
    pub made: u64,
    /// Of those, the ones that are not here: there were too many.
    pub left_out: u64,
    /// Threads that are not looked at, for there are too many.
    pub unseen_threads: u32,
    /// Why nothing follows, for a person; `None` = more may.
    pub over: Option<String>,
}

impl SyscallEnd {
    /// The result as it is read best: an error by its name, what may be an address as one.
    pub fn words(&self) -> String {
        const ADDRESSES_FROM: u64 = 1 << 32;
        match &self.error {
            Some(name) => name.clone(),
            None if self.value.cast_unsigned() >= ADDRESSES_FROM => format!("{:#x}", self.value),
            None => self.value.to_string(),
        }
    }
}

impl Syscall {
    /// `name(what with)`.
    pub fn words(&self) -> String {
        format!("{}({})", self.name, self.args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_a_number_an_address_or_an_error_by_its_name() {
        let of = |value, error: Option<&str>| {
            let error = error.map(str::to_owned);
            SyscallEnd { value, error, took: Duration::ZERO }.words()
        };
        assert_eq!(of(3, None), "3");
        assert_eq!(of(0x7f00_1234_5000, None), "0x7f0012345000");
        assert_eq!(of(-2, Some("ENOENT")), "ENOENT");
        // No error is below this: it is an address high up.
        assert_eq!(of(-5000, None), "0xffffffffffffec78");
    }
}
