//! Ways out of a network that something else has made, and that has nothing in it but a loopback: a copy of this process
//! goes there, opens them, and hands them back. Root alone may.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{Pid, Signal, WaitOptions, kill_process, waitpid},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{
    blueprint::WayOut,
    env,
    gate::{self, Family},
    message::{Word, receive, send},
    namespaces, sys,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::ENTERED_WITHIN,
    },
    driver::{Doors, PROXY, Way},
};

/// What was opened.
pub struct Entered {
    pub doors: Doors,
    /// What a person should know of it.
    pub note: Option<String>,
    /// What programs are to be told.
    pub env: Vec<(String, String)>,
}

/// Opens them in this network, in which the process is that has that number here; its programs are those of its namespace.
/// In a runtime, and not on the thread of it: blocks.
pub fn open(network: BorrowedFd<'_>, first: u32) -> Outcome<Result<Entered, String>> {
    let way = env::way_out()?;
    let fault = |error: io::Error| Fault::io("opening the way out of the container", &error);
    let lost = || fault(io::ErrorKind::NotFound.into());
    let first = i32::try_from(first).ok().and_then(Pid::from_raw).ok_or_else(lost)?;
    let family = Family::of_namespace(first).map_err(fault)?;
    let (opened, note) = by_a_copy(|| there(network, way), ENTERED_WITHIN).map_err(fault)?;
    let Some(doors) = gate::doors(opened, first, family) else {
        return Ok(Err(note.unwrap_or_else(|| gate::CLOSED.to_owned())));
    };
    let mut env = Vec::new();
    if matches!(doors.way, Way::Proxy(_)) {
        env::get_out_by(&mut env, PROXY);
    }
    Ok(Ok(Entered { doors, note, env }))
}

/// What was opened by a copy of this process, and what a person should know of it.
type Opened = (Vec<OwnedFd>, Option<String>);

/// Has a copy of this process do it; whatever holds that up, this ends by then.
fn by_a_copy(work: impl FnOnce() -> io::Result<Opened>, within: Duration) -> io::Result<Opened> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let Some(child) = sys::fork()? else {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            sys::reset_signals();
            let outcome = work();
            let (word, opened) = match outcome {
                Ok((opened, note)) => (Word::Ready(note.unwrap_or_default()), opened),
                Err(error) => (Word::Failed(error.to_string()), Vec::new()),
            };
            let opened: Vec<_> = opened.iter().map(AsFd::as_fd).collect();
            send(theirs.as_fd(), &word.bytes(), &opened).is_ok()
        }));
        sys::exit_now(i32::from(!matches!(done, Ok(true))))
    };
    drop(theirs);
    let packet = said_within(&ours, within).and_then(|()| receive(&ours));
    end(child, packet.is_ok());
    let packet = packet?;
    match Word::parse(&packet.bytes) {
        Some(Word::Ready(note)) => Ok((packet.descriptors, (!note.is_empty()).then_some(note))),
        Some(Word::Failed(words)) => Err(io::Error::other(words)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Waits until something was said, or whoever would have is gone.
fn said_within(ours: &OwnedFd, within: Duration) -> io::Result<()> {
    let until = clock::monotonic() + within;
    loop {
        let left = until.saturating_sub(clock::monotonic());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(ours, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes leave of the copy. One that has said its word ends by itself; one that the kernel does not let go of yet is waited for
/// by nobody but a thread of its own.
fn end(child: Pid, said: bool) {
    if !said {
        // It is this process's child, so that its number is nobody else's before it was waited for.
        let _ = kill_process(child, Signal::KILL);
    }
    let wait = move || {
        let _ = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
    };
    match said {
        true => wait(),
        false => drop(std::thread::Builder::new().spawn(wait)),
    }
}

fn there(network: BorrowedFd<'_>, way: WayOut) -> io::Result<Opened> {
    move_into_link_name_space(network, Some(LinkNameSpaceType::Network))?;
    namespaces::start_loopback()?;
    Ok(gate::open(way))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_hangs_is_ended_and_one_that_is_done_is_heard() {
        let (opened, note) = by_a_copy(|| Ok((Vec::new(), None)), ENTERED_WITHIN).unwrap();
        assert!(opened.is_empty() && note.is_none());
        let failed = by_a_copy(|| Err(io::Error::other("so it is")), ENTERED_WITHIN).unwrap_err();
        assert_eq!(failed.to_string(), "so it is");
        let (mut reader, writer) = io::pipe().unwrap();
        let hangs = || -> io::Result<Opened> {
            loop {
                std::thread::park();
            }
        };
        let error = by_a_copy(hangs, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // The copy had this end too, and has it no more.
        drop(writer);
        assert_eq!(io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
    }
}
