//! System calls of a process.

use std::time::Duration;

use crate::{
    base::{
        clock::Timestamp,
        limits::{LINE_BYTES_MAX, NAME_BYTES_MAX, SYSCALL_ARGS_BYTES_MAX, SYSCALLS_PART_MAX},
        text::{cut, shown},
    },
    model::syscall::{Syscall, SyscallEnd, SyscallPart},
    wire::v1,
};

impl From<&Syscall> for v1::Syscall {
    fn from(it: &Syscall) -> Self {
        let end = it.end.as_ref().map(|it| v1::SyscallEnd {
            value: it.value,
            error: it.error.as_ref().map(|it| cut(it, NAME_BYTES_MAX).to_owned()),
            took_us: u64::try_from(it.took.as_micros()).unwrap_or(u64::MAX),
        });
        Self {
            thread: it.thread,
            at_ms: it.at.0,
            name: cut(&it.name, NAME_BYTES_MAX).to_owned(),
            args: cut(&it.args, SYSCALL_ARGS_BYTES_MAX).to_owned(),
            end,
        }
    }
}

impl From<v1::Syscall> for Syscall {
    fn from(wire: v1::Syscall) -> Self {
        let end = wire.end.map(|it| SyscallEnd {
            value: it.value,
            error: it.error.map(|it| shown(&it, NAME_BYTES_MAX)),
            took: Duration::from_micros(it.took_us),
        });
        Self {
            thread: wire.thread,
            at: Timestamp(wire.at_ms),
            name: shown(&wire.name, NAME_BYTES_MAX),
            args: shown(&wire.args, SYSCALL_ARGS_BYTES_MAX),
            end,
        }
    }
}

fn calls_out(all: &[Syscall]) -> Vec<v1::Syscall> {
    all.iter().take(SYSCALLS_PART_MAX).map(Into::into).collect()
}

fn calls_in(wire: Vec<v1::Syscall>) -> Vec<Syscall> {
    wire.into_iter().take(SYSCALLS_PART_MAX).map(Into::into).collect()
}

impl From<&SyscallPart> for v1::SyscallsResponse {
    fn from(it: &SyscallPart) -> Self {
        Self {
            done: calls_out(&it.done),
            waits: calls_out(&it.waits),
            made: it.made,
            left_out: it.left_out,
            unseen_threads: it.unseen_threads,
            over: it.over.as_ref().map(|it| cut(it, LINE_BYTES_MAX).to_owned()),
        }
    }
}

impl From<v1::SyscallsResponse> for SyscallPart {
    fn from(wire: v1::SyscallsResponse) -> Self {
        Self {
            done: calls_in(wire.done),
            waits: calls_in(wire.waits),
            made: wire.made,
            left_out: wire.left_out,
            unseen_threads: wire.unseen_threads,
            over: wire.over.map(|it| shown(&it, LINE_BYTES_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_arrives_as_it_was_told_and_too_much_of_it_does_not() {
        let took = Duration::from_micros(1500);
        let end = SyscallEnd { value: -2, error: Some("ENOENT".to_owned()), took };
        let call = |end| Syscall {
            thread: 7,
            at: Timestamp(1_700_000_000_000),
            name: "openat".to_owned(),
            args: "\"/etc/no\", read".to_owned(),
            end,
        };
        let part = SyscallPart {
            done: vec![call(Some(end))],
            waits: vec![call(None)],
            made: 9,
            left_out: 8,
            unseen_threads: 1,
            over: Some("the process has ended".to_owned()),
        };
        let mut wire = v1::SyscallsResponse::from(&part);
        assert_eq!(SyscallPart::from(wire.clone()), part);
        wire.done[0].args = "\x1b[2J".repeat(1000);
        wire.waits = vec![wire.waits[0].clone(); 10_000];
        let read = SyscallPart::from(wire);
        assert!(!read.done[0].args.contains('\x1b'));
        assert!(read.done[0].args.len() <= SYSCALL_ARGS_BYTES_MAX);
        assert_eq!(read.waits.len(), SYSCALLS_PART_MAX);
    }
}
