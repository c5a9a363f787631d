//! What no safe crate offers: taking over descriptors that whoever started this process left open in it.
#![allow(unsafe_code, reason = "this is where it is argued")]

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{
        AddressFamily, SocketType,
        sockopt::{socket_acceptconn, socket_domain, socket_type},
    },
};

/// Takes a descriptor over, if it is a socket on which streams of bytes can be taken; else says what it is. Programs that
/// are started from here do not inherit it. For the start of the process, before it has opened anything that listens.
pub(super) fn listening(number: RawFd) -> Result<(OwnedFd, AddressFamily), &'static str> {
    // SAFETY: the call takes two integers and no pointer, and changes nothing.
    if number < 0 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err("is not open");
    }
    // SAFETY: it is open, as was just seen, and it is only looked at. Should something of this process own it, that
    // closes nothing in the meantime: there are no other threads yet.
    let looked_at = unsafe { BorrowedFd::borrow_raw(number) };
    match socket_type(looked_at) {
        Err(_) => return Err("is no socket"),
        Ok(SocketType::STREAM) => {}
        Ok(_) => return Err("is a socket of datagrams"),
    }
    if !socket_acceptconn(looked_at).unwrap_or(false) {
        return Err("is a socket that does not listen");
    }
    let family = socket_domain(looked_at).map_err(|_| "is a socket of no kind that is known")?;
    // SAFETY: it is open, and nothing of this process owns it: so far it has made no socket that listens.
    let taken = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&taken, FdFlags::CLOEXEC).map_err(|_| "can't be kept from others")?;
    Ok((taken, family))
}
