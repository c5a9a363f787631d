//! Tracing a process by the kernel's own means, each step as one small safe function. No policy here.
//!
//! All steps of one process are done by one and the same thread. When that ends, by whatever end, the kernel lets go of
//! all that it traced: nothing here asks for the traced to end with it.
#![allow(unsafe_code, reason = "thin wrappers over system calls, each with its argument")]

use std::io;

use libc::{c_int, c_long};

/// Requests (linux/ptrace.h).
const SYSCALL: c_long = 24;
const DETACH: c_long = 17;
const GET_EVENT_MESSAGE: c_long = 0x4201;
const SEIZE: c_long = 0x4206;
const INTERRUPT: c_long = 0x4207;
const LISTEN: c_long = 0x4208;
const GET_SYSCALL_INFO: c_long = 0x420e;
/// Options: calls are told from signals; threads that are started are traced, too; so is what a program becomes.
const MARK_CALLS: usize = 1;
const WITH_CLONES: usize = 1 << 3;
const WITH_EXEC: usize = 1 << 4;
/// Kinds of stops (linux/ptrace.h).
const EVENT_CLONE: c_int = 3;
const EVENT_EXEC: c_int = 4;
const EVENT_STOP: c_int = 128;
/// What is set in the signal of a stop at a call.
const AT_A_CALL: c_int = 0x80;
/// Bytes of `struct ptrace_syscall_info`.
const INFO_BYTES: usize = 88;

/// What became of a thread that is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Ended,
    /// It enters a call, or leaves one: `place`.
    AtCall,
    /// A signal is about to reach it.
    Signalled(c_int),
    /// It was interrupted, or has just begun.
    Stands,
    /// A signal holds all of its process still.
    Stopped,
    /// It started a thread.
    Cloned,
    /// It has become another program: all other threads of its process have ended.
    Became,
}

/// Where a thread stands that is at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `machine` = of which kind of processor the call is, as auditing numbers them.
    Enters {
        machine: u32,
        number: u64,
        args: [u64; 6],
    },
    Leaves {
        value: i64,
        failed: bool,
    },
    Elsewhere,
}

fn ask(request: c_long, thread: c_int, at: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: what is written to by a request is at `data`, and every caller here gives the address of a live buffer of the
    // size that goes with the request; the others take plain numbers.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, request, thread, at, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Traces a thread from now on, by the thread that calls this. It goes on running.
pub fn seize(thread: c_int) -> io::Result<()> {
    ask(SEIZE, thread, 0, MARK_CALLS | WITH_CLONES | WITH_EXEC).map(drop)
}

/// Has a thread that runs stand for a moment.
pub fn interrupt(thread: c_int) -> io::Result<()> {
    ask(INTERRUPT, thread, 0, 0).map(drop)
}

/// Lets a thread that stands go on to its next call, with this signal; 0 = none.
pub fn go_on(thread: c_int, signal: c_int) -> io::Result<()> {
    ask(SYSCALL, thread, 0, usize::try_from(signal).unwrap_or_default()).map(drop)
}

/// Leaves a thread that a signal holds still as it is, until another signal lets it go on.
pub fn leave_still(thread: c_int) -> io::Result<()> {
    ask(LISTEN, thread, 0, 0).map(drop)
}

/// Traces a thread that stands no longer, and lets it go on with this signal; 0 = none.
pub fn let_go(thread: c_int, signal: c_int) -> io::Result<()> {
    ask(DETACH, thread, 0, usize::try_from(signal).unwrap_or_default()).map(drop)
}

/// The number that goes with an event: of the thread that was started, or that became another program.
pub fn message(thread: c_int) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    ask(GET_EVENT_MESSAGE, thread, 0, (&raw mut message).addr())?;
    Ok(message)
}

/// Where a thread stands.
pub fn place(thread: c_int) -> io::Result<Place> {
    let mut info = [0_u8; INFO_BYTES];
    let given = ask(GET_SYSCALL_INFO, thread, INFO_BYTES, (&raw mut info).addr())?;
    let info = info.get(..usize::try_from(given).unwrap_or(INFO_BYTES)).unwrap_or(&info);
    Ok(read_place(info).unwrap_or(Place::Elsewhere))
}

/// The structure as the kernel lays it out: what it is, the machine, two addresses, then what there is of it.
fn read_place(info: &[u8]) -> Option<Place> {
    let word = |at: usize| info.get(at..)?.first_chunk().map(|it| u64::from_ne_bytes(*it));
    let machine = info.get(4..)?.first_chunk().map(|it| u32::from_ne_bytes(*it))?;
    match info.first()? {
        1 => {
            let mut args = [0; 6];
            for (at, arg) in args.iter_mut().enumerate() {
                *arg = word(32 + 8 * at)?;
            }
            Some(Place::Enters { machine, number: word(24)?, args })
        }
        2 => Some(Place::Leaves { value: word(24)?.cast_signed(), failed: *info.get(32)? != 0 }),
        _ => None,
    }
}

/// Waits for the next of what the calling thread traces. `Interrupted` when it was woken, `ECHILD` when it traces nothing.
pub fn next() -> io::Result<(c_int, Event)> {
    let mut status: c_int = 0;
    // Only what this very thread traces: others of this process wait for children of their own.
    let flags = libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: `status` outlives the call.
    let thread = unsafe { libc::waitpid(-1, &raw mut status, flags) };
    if thread < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((thread, event(status)))
}

fn event(status: c_int) -> Event {
    if !libc::WIFSTOPPED(status) {
        return Event::Ended;
    }
    let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
    match event {
        EVENT_CLONE => Event::Cloned,
        EVENT_EXEC => Event::Became,
        EVENT_STOP if signal == libc::SIGTRAP => Event::Stands,
        EVENT_STOP => Event::Stopped,
        _ if signal == libc::SIGTRAP | AT_A_CALL => Event::AtCall,
        _ => Event::Signalled(signal),
    }
}

extern "C" fn heard(_: c_int) {}

/// Has `wake` end a wait of this process's threads, from now on.
pub fn may_be_woken() -> io::Result<()> {
    // SAFETY: all zeroes is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = heard as extern "C" fn(c_int) as usize;
    // SAFETY: the handler does nothing, so it may run anywhere; without SA_RESTART it ends the call it comes into.
    let result = unsafe { libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The number of the calling thread.
pub fn own() -> c_int {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// Ends the wait of a thread of this process, if it is in one.
pub fn wake(thread: c_int) {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: a signal to this very process, whose handler does nothing. The thread may have ended.
    unsafe { libc::syscall(libc::SYS_tgkill, own, thread, libc::SIGURG) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_of_a_call_is_read_and_half_of_it_is_not() {
        let mut info = [0_u8; INFO_BYTES];
        info[0] = 1;
        info[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        for at in 0..7_u64 {
            let from = 24 + 8 * usize::try_from(at).unwrap();
            info[from..from + 8].copy_from_slice(&(at + 10).to_ne_bytes());
        }
        let args = [11, 12, 13, 14, 15, 16];
        assert_eq!(read_place(&info), Some(Place::Enters { machine: 7, number: 10, args }));
        assert_eq!(read_place(&info[..79]), None);
        info[0] = 2;
        info[24..32].copy_from_slice(&(-2_i64).to_ne_bytes());
        info[32] = 1;
        assert_eq!(read_place(&info[..33]), Some(Place::Leaves { value: -2, failed: true }));
        info[0] = 0;
        assert_eq!((read_place(&info), read_place(&[])), (None, None));
    }

    #[test]
    fn stops_are_told_apart() {
        let stop = |signal: c_int, kind: c_int| event((kind << 16) | (signal << 8) | 0x7f);
        assert_eq!(stop(libc::SIGTRAP | AT_A_CALL, 0), Event::AtCall);
        assert_eq!(stop(libc::SIGTRAP, 0), Event::Signalled(libc::SIGTRAP));
        assert_eq!(stop(libc::SIGTRAP, EVENT_STOP), Event::Stands);
        assert_eq!(stop(libc::SIGSTOP, EVENT_STOP), Event::Stopped);
        assert_eq!(stop(libc::SIGTRAP, EVENT_CLONE), Event::Cloned);
        assert_eq!(stop(libc::SIGTRAP, EVENT_EXEC), Event::Became);
        assert_eq!((event(0), event(9)), (Event::Ended, Event::Ended));
    }
}
