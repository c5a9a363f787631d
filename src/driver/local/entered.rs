//! Ways out of a network that something else has made, and that has nothing in it but a loopback: a copy of this process
//! goes there, opens them, and hands them back. Root alone may.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{Pid, WaitOptions, waitpid},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{
    env,
    gate::{self, Family},
    message::{Word, receive, send},
    namespaces, sys,
};
use crate::{
    base::fault::{Fault, Outcome},
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
    let (opened, note) = opened_there(network, way).map_err(fault)?;
    let Some(doors) = gate::doors(opened, first, family) else {
        return Ok(Err(note.unwrap_or_else(|| gate::CLOSED.to_owned())));
    };
    let mut env = Vec::new();
    if matches!(doors.way, Way::Proxy(_)) {
        env::get_out_by(&mut env, PROXY);
    }
    Ok(Ok(Entered { doors, note, env }))
}

fn opened_there(
    network: BorrowedFd<'_>,
    way: super::blueprint::WayOut,
) -> io::Result<(Vec<OwnedFd>, Option<String>)> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let Some(child) = sys::fork()? else {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            sys::reset_signals();
            let outcome = there(network, way);
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
    let packet = receive(&ours);
    // It ends with its word.
    let _ = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
    let packet = packet?;
    match Word::parse(&packet.bytes) {
        Some(Word::Ready(note)) => Ok((packet.descriptors, (!note.is_empty()).then_some(note))),
        Some(Word::Failed(words)) => Err(io::Error::other(words)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn there(
    network: BorrowedFd<'_>,
    way: super::blueprint::WayOut,
) -> io::Result<(Vec<OwnedFd>, Option<String>)> {
    move_into_link_name_space(network, Some(LinkNameSpaceType::Network))?;
    namespaces::start_loopback()?;
    Ok(gate::open(way))
}
