//! The controlling side of a PTY as a stream.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

use super::sys;
use crate::{
    base::fault::{Fault, Outcome},
    driver::{PtyIo, TerminalUse},
};

struct Terminal(Arc<AsyncFd<OwnedFd>>);

/// Wraps the controlling side; `keeper` lives as long as any part of it.
pub fn open(controlling: OwnedFd) -> Outcome<PtyIo> {
    let fault = |error: io::Error| Fault::io("opening a terminal", &error);
    rustix::io::ioctl_fionbio(&controlling, true).map_err(|error| fault(error.into()))?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    let fd = Arc::new(sys::watched(controlling, interest).map_err(fault)?);
    let sized = Arc::clone(&fd);
    let set = Arc::clone(&fd);
    Ok(PtyIo {
        reader: Box::new(Terminal(Arc::clone(&fd))),
        writer: Box::new(Terminal(fd)),
        resize: Box::new(move |size| {
            let cells =
                Winsize { ws_row: size.rows(), ws_col: size.cols(), ws_xpixel: 0, ws_ypixel: 0 };
            tcsetwinsize(sized.as_fd(), cells)
                .map_err(|error| Fault::io("resizing a terminal", &error.into()))
        }),
        terminal: Box::new(move || TerminalUse {
            lines: tcgetattr(set.as_fd())
                .ok()
                .map(|it| it.local_modes.contains(LocalModes::ICANON)),
            read: None,
        }),
    })
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let read = ready.try_io(|it| {
                rustix::io::read(it.get_ref(), into.initialize_unfilled()).map_err(io::Error::from)
            });
            match read {
                Ok(Ok(count)) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // The other side has been closed by everyone who had it.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            let written =
                ready.try_io(|it| rustix::io::write(it.get_ref(), bytes).map_err(io::Error::from));
            match written {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(outcome) => return Poll::Ready(outcome),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
