//! Where what is typed goes: a terminal of ours that `ssh` is given, where it is known how large it is to be, or a pipe.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{Mode, OFlags},
    pty::OpenptFlags,
    termios::Winsize,
};
use tokio::{io::AsyncWriteExt, process::ChildStdin, time::sleep};

use crate::base::{
    fault::{Fault, Outcome},
    limits::{GATEWAY_TYPED_BYTES_MAX, GATEWAY_TYPED_PAUSE},
    units::Size,
};

/// Where to what is typed goes.
pub struct Keyboard {
    /// Where it is known how large it is to be.
    pub terminal: Option<Terminal>,
    pub pipe: Option<ChildStdin>,
    pub types: bool,
}

impl Keyboard {
    /// Piece by piece: the other side keeps few of them, and hangs up on more.
    pub async fn type_in(&mut self, bytes: &[u8]) -> Outcome<()> {
        for piece in bytes.chunks(GATEWAY_TYPED_BYTES_MAX) {
            let fault = |error| Fault::io("typing into it", &error);
            match (&mut self.terminal, &mut self.pipe) {
                (Some(terminal), _) => terminal.write(piece).await?,
                (None, Some(pipe)) => pipe.write_all(piece).await.map_err(fault)?,
                (None, None) => return Err(Fault::bug("nothing to type into")),
            }
            if piece.len() == GATEWAY_TYPED_BYTES_MAX {
                sleep(GATEWAY_TYPED_PAUSE).await;
            }
        }
        Ok(())
    }
}

/// What `ssh` takes for the terminal of whoever types: how large it is, is what it tells the other side.
pub struct Terminal {
    ours: OwnedFd,
    /// The same, to be written to where nobody waits for it.
    writer: tokio::fs::File,
    pub theirs: Option<OwnedFd>,
}

impl Terminal {
    pub fn open(size: Size) -> Outcome<Self> {
        let made = || -> std::io::Result<Self> {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let ours = rustix::pty::openpt(flags)?;
            rustix::pty::grantpt(&ours)?;
            rustix::pty::unlockpt(&ours)?;
            let name = rustix::pty::ptsname(&ours, Vec::new())?;
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let theirs = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
            // Bytes as they are, and nothing back.
            let mut modes = rustix::termios::tcgetattr(&theirs)?;
            modes.make_raw();
            rustix::termios::tcsetattr(&theirs, rustix::termios::OptionalActions::Now, &modes)?;
            rustix::termios::tcsetwinsize(&theirs, winsize(size))?;
            let writer = tokio::fs::File::from_std(ours.try_clone()?.into());
            Ok(Self { ours, writer, theirs: Some(theirs) })
        };
        made().map_err(|error| Fault::io("making a terminal", &error))
    }

    pub fn resize(&self, size: Size, ssh: Option<u32>) {
        let resized = rustix::termios::tcsetwinsize(&self.ours, winsize(size));
        let ssh = ssh.and_then(|it| rustix::process::Pid::from_raw(it.cast_signed()));
        if let (Ok(()), Some(ssh)) = (resized, ssh) {
            // It looks again then. One that has ended will not.
            let _ = rustix::process::kill_process(ssh, rustix::process::Signal::WINCH);
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        let fault = |error| Fault::io("typing into it", &error);
        self.writer.write_all(bytes).await.map_err(fault)?;
        self.writer.flush().await.map_err(fault)
    }
}

fn winsize(size: Size) -> Winsize {
    Winsize { ws_row: size.rows(), ws_col: size.cols(), ws_xpixel: 0, ws_ypixel: 0 }
}
