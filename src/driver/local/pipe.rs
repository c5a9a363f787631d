//! The pipes of a program without a terminal.

use std::{
    io,
    os::fd::OwnedFd,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::unix::pipe::{Receiver, Sender},
    sync::oneshot,
};

use crate::base::fault::{Fault, Outcome};

/// What a program prints. Whether it was read to its end is told once; dropped before, that is hung up on.
pub struct Output {
    pipe: Receiver,
    end: Option<oneshot::Sender<()>>,
}

/// Reading and writing end.
fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

fn fault(error: io::Error) -> Fault {
    Fault::io("opening a pipe", &error)
}

/// For a program's input: this side, and the program's.
pub fn input() -> Outcome<(Sender, OwnedFd)> {
    let (theirs, ours) = open().map_err(fault)?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(|error| fault(error.into()))?;
    Ok((Sender::from_owned_fd(ours).map_err(fault)?, theirs))
}

/// For a program's output: this side, the program's, and what tells of its end.
pub fn output() -> Outcome<(Output, OwnedFd, oneshot::Receiver<()>)> {
    let (ours, theirs) = open().map_err(fault)?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(|error| fault(error.into()))?;
    let (end, ended) = oneshot::channel();
    let pipe = Receiver::from_owned_fd(ours).map_err(fault)?;
    Ok((Output { pipe, end: Some(end) }, theirs, ended))
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.remaining();
        let read = ready!(Pin::new(&mut self.pipe).poll_read(context, into));
        let ended = read.is_ok() && before > 0 && into.remaining() == before;
        if let Some(end) = self.end.take_if(|_| ended) {
            // The program may be gone with its sandbox.
            let _ = end.send(());
        }
        Poll::Ready(read)
    }
}
