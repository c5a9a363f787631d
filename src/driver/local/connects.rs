//! The way out of a sandbox that shares the host's network: its programs connect to nothing themselves. The kernel holds
//! each `connect` and asks here, and what is for the proxy gets a connection that was made for it, in place of its own socket.
//! No port stays open for it, so that nobody else on the machine can come by one.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::JoinSet,
};

use super::sys::{self, Question};
use crate::{
    base::limits::CONNECTS_AT_ONCE_MAX,
    driver::{Arrivals, PROXY},
};

/// The loopback answers at once, unless somebody keeps it from doing so.
const MADE_WITHIN: Duration = Duration::from_secs(1);
/// Strangers that may have come to a port before the one that it was opened for.
const STRANGERS_MAX: usize = 64;

pub struct Connects {
    asked: AsyncFd<Arc<OwnedFd>>,
    /// Being answered, each on a thread: what a program has in its memory may lie on a disk that hangs.
    answering: JoinSet<Option<TcpStream>>,
}

impl Connects {
    /// In a runtime.
    pub fn new(asked: OwnedFd) -> io::Result<Self> {
        let asked = sys::watched_shared(Arc::new(asked), Interest::READABLE)?;
        Ok(Self { asked, answering: JoinSet::new() })
    }
}

#[async_trait]
impl Arrivals for Connects {
    async fn next(&mut self) -> io::Result<tokio::net::TcpStream> {
        loop {
            tokio::select! {
                Some(answered) = self.answering.join_next() => {
                    let Ok(Some(stream)) = answered else { continue };
                    stream.set_nonblocking(true)?;
                    return tokio::net::TcpStream::from_std(stream);
                }
                question = question(&self.asked), if self.answering.len() < CONNECTS_AT_ONCE_MAX => {
                    let (question, asked) = (question?, Arc::clone(self.asked.get_ref()));
                    self.answering.spawn_blocking(move || answer(&asked, &question));
                }
            }
        }
    }
}

/// Waits for the next call.
async fn question(asked: &AsyncFd<Arc<OwnedFd>>) -> io::Result<Question> {
    loop {
        let mut ready = asked.readable().await?;
        let taken = ready.try_io(|asked| {
            let mut wanted = [PollFd::new(asked.get_ref(), PollFlags::IN)];
            poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
            let [wanted] = wanted;
            // Taking one waits for one: not before one is there.
            match wanted.revents().contains(PollFlags::IN) {
                true => sys::question(asked.get_ref().as_fd()).map(Some),
                false if wanted.revents().contains(PollFlags::HUP) => Ok(None),
                false => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        match taken {
            Ok(Ok(Some(question))) => return Ok(question),
            // No program is left that could call.
            Ok(Ok(None)) => std::future::pending().await,
            // Who called is gone.
            Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
}

/// Answers a call: what is not for the proxy reaches nothing.
fn answer(asked: &OwnedFd, question: &Question) -> Option<TcpStream> {
    let outcome = connect(asked, question);
    let error = match &outcome {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EACCES),
    };
    // Who called may be gone, and then its end of the connection is, too.
    sys::answer(asked.as_fd(), question, error).and(outcome).ok()
}

fn connect(asked: &OwnedFd, question: &Question) -> io::Result<TcpStream> {
    let to = address(question)?;
    // Else it may have been another's memory, which has its number now.
    sys::still_asks(asked.as_fd(), question)?;
    if to != PROXY {
        return Err(Errno::NETUNREACH.into());
    }
    let flags = flags(question)?;
    let (ours, theirs) = connection()?;
    theirs.set_nonblocking(flags.contains(OFlags::NONBLOCK))?;
    sys::put_in_place(asked.as_fd(), question, theirs.as_fd(), flags.contains(OFlags::CLOEXEC))?;
    Ok(ours)
}

/// Where a program wants to connect to. It may change what it said meanwhile: that is heeded by nobody.
fn address(question: &Question) -> io::Result<SocketAddr> {
    let memory = File::open(format!("/proc/{}/mem", question.pid))?;
    let mut bytes = [0; size_of::<libc::sockaddr_in>()];
    let [_, at, length, ..] = question.arguments;
    if length < bytes.len() as u64 {
        return Err(Errno::INVAL.into());
    }
    memory.read_exact_at(&mut bytes, at).map_err(|_| Errno::FAULT)?;
    let [f0, f1, p0, p1, a, b, c, d, ..] = bytes;
    if i32::from(u16::from_ne_bytes([f0, f1])) != libc::AF_INET {
        return Err(Errno::NETUNREACH.into());
    }
    Ok((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p0, p1])).into())
}

/// How it has its socket open.
fn flags(question: &Question) -> io::Result<OFlags> {
    let [descriptor, ..] = question.arguments;
    let about = fs::read_to_string(format!("/proc/{}/fdinfo/{}", question.pid, descriptor as u32));
    let about = about.map_err(|_| Errno::BADF)?;
    let flags = about.lines().find_map(|it| it.strip_prefix("flags:"));
    let flags = flags.and_then(|it| u32::from_str_radix(it.trim(), 8).ok());
    flags.map(OFlags::from_bits_retain).ok_or_else(|| Errno::BADF.into())
}

/// Both ends of a new connection over the host's loopback, and of no other.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let theirs = TcpStream::connect_timeout(&listener.local_addr()?, MADE_WITHIN)?;
    let wanted = theirs.local_addr()?;
    listener.set_nonblocking(true)?;
    for _ in 0..STRANGERS_MAX {
        let (ours, from) = listener.accept()?;
        if from == wanted {
            ours.set_nonblocking(true)?;
            return Ok((ours, theirs));
        }
    }
    Err(Errno::AGAIN.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_each_others_and_no_port_stays_open() {
        let (mut ours, mut theirs) = connection().unwrap();
        theirs.write_all(b"there").unwrap();
        drop(theirs.shutdown(std::net::Shutdown::Write));
        ours.set_nonblocking(false).unwrap();
        let mut heard = String::new();
        ours.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "there");
        let port = ours.local_addr().unwrap();
        assert!(TcpStream::connect(port).is_err());
    }
}
