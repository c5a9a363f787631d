//! How many files may be open.
//!
//! Descriptors on their way through sockets are counted for all processes of a user together, and a process can
//! send none while there are more of them than files it may have open itself. So what serves (the hub, the
//! shims) may have as many as there can be, and a program in a sandbox half of that.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::OnceLock,
};

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// What programs may have open if they don't ask for more; `None` = no bound.
static USUAL: OnceLock<Option<u64>> = OnceLock::new();

/// Lets this process have as many open files as it may. `usual` is the bound that programs are to begin with;
/// `None` = the one that this process has until now. The first call decides.
pub fn raise(usual: Option<u64>) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    USUAL.get_or_init(|| usual.or(current));
    set(Rlimit { current: maximum, maximum })
}

/// What programs are to begin with, for a process that holds some.
pub fn usual() -> Option<u64> {
    *USUAL.get_or_init(|| getrlimit(Resource::Nofile).current)
}

/// Bounds this process, which is to become a program in a sandbox. It can't get out of it.
pub fn bound_program() -> io::Result<()> {
    set(of_program())
}

/// The bound on a program in a sandbox.
pub fn of_program() -> Rlimit {
    let maximum = getrlimit(Resource::Nofile).maximum.map(|it| it / 2);
    let current = [usual(), maximum].into_iter().flatten().min();
    Rlimit { current, maximum }
}

/// Sends bytes on a stream socket with one open file. They are to be few: none is sent or all are.
pub fn send_with(socket: impl AsFd, bytes: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives what is there, and the open file that comes with it. More files than one are closed.
pub fn receive_with(socket: impl AsFd, into: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(into)];
    let received = recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut file = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last();
        }
    }
    Ok((received.bytes, file))
}

fn set(bound: Rlimit) -> io::Result<()> {
    Ok(setrlimit(Resource::Nofile, bound)?)
}
