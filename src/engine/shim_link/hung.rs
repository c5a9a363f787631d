//! A shim that lives and does not answer: waiting until it does, and ending it where that is asked for.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::{net::UnixStream, time::timeout};

use super::{ShimLink, connection::SOCKET_FILE};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{ANSWER_WITHIN, DEATH_WITHIN},
    },
    config::paths::SocketPath,
    driver::Ground,
    wire::shim::{self as wire, call},
};

impl ShimLink {
    /// Waits on one connection until the shim says anything or that connection ends: many tries would only
    /// queue up before it.
    pub async fn heard(ground: &Ground) {
        let (_, unknown) = tokio::sync::watch::channel(None);
        let link = Self::new(ground, unknown);
        if let Ok(mut connection) = link.begin(call::What::Ping(wire::Ping {})).await {
            // Whatever it says is looked at by who asks next.
            drop(connection.answer().await);
        }
    }

    /// Ends a shim at once, by the process that listens on its socket; what it held is the driver's to sweep.
    /// One that is dead is fine.
    pub async fn end(ground: &Ground) -> Outcome<()> {
        let fault = |error: io::Error| {
            Fault::io(
                format_args!("ending the shim of {}, which does not answer", ground.name),
                &error,
            )
        };
        let Some(process) = listening_process(&ground.dir).await.map_err(fault)? else {
            return Ok(());
        };
        pidfd_send_signal(&process, Signal::KILL).map_err(|it| fault(it.into()))?;
        // Aside, for it is a wait of the old kind; no longer than its bound.
        match tokio::task::spawn_blocking(move || has_ended(&process)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Fault::late(format!("the shim of {} does not die", ground.name))),
            Ok(Err(error)) => Err(fault(error)),
            Err(_) => Err(Fault::bug("waiting for a shim's end broke off")),
        }
    }
}

/// Waits for the end of a process that was killed; `false` when it does not come.
fn has_ended(process: &OwnedFd) -> io::Result<bool> {
    let within = Timespec { tv_sec: DEATH_WITHIN.as_secs().cast_signed(), tv_nsec: 0 };
    let mut wanted = [PollFd::new(process, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut wanted, Some(&within)))? > 0)
}

/// The process that listens on the socket in this directory; `None` when nobody does.
async fn listening_process(dir: &Path) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = listener(dir).await? else { return Ok(None) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // It listens still: so the number was its own, and no other's, when it was opened.
    match listener(dir).await? {
        Some(again) if again == pid => Ok(Some(process)),
        Some(_) => Err(io::Error::other("another process listens now")),
        None => Ok(None),
    }
}

/// Whoever listens: the kernel notes who that was, and takes connections for one that is stopped.
async fn listener(dir: &Path) -> io::Result<Option<Pid>> {
    let Ok(path) = SocketPath::open(&dir.join(SOCKET_FILE)) else { return Ok(None) };
    let connected = timeout(ANSWER_WITHIN, UnixStream::connect(path.path())).await;
    let stream = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let peer = stream.peer_cred()?;
    let own = rustix::process::geteuid().as_raw();
    if peer.uid() != own {
        return Err(io::Error::other("it is another user's"));
    }
    let pid = peer.pid().and_then(Pid::from_raw);
    pid.map(Some).ok_or_else(|| io::Error::other("its number is not known here"))
}
