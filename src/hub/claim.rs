//! Being the hub: a lock on a file of the state directory, held as long as the process lives.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use tokio::net::UnixStream;

use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{HUB_DRAIN_WITHIN, HUB_LOOKS_FOR_ITS_HOME_EVERY},
    },
    config::paths::{Paths, SocketPath},
};

/// Pause between two looks at a lock that a hub on its way out still holds.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The right to be the hub of this instance; given back by the kernel however the process ends.
#[derive(Debug)]
pub struct Claim {
    socket: PathBuf,
    lock: File,
}

impl Claim {
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Resolves when the lock's file is gone: the instance was deleted, and nobody could find this
    /// hub any more, nor be kept from starting another.
    pub(super) async fn orphaned(&self) {
        while !self.is_orphaned() {
            tokio::time::sleep(HUB_LOOKS_FOR_ITS_HOME_EVERY).await;
        }
    }

    /// Whether another hub may be at this one's place: the lock keeps nobody away any more.
    pub(super) fn is_orphaned(&self) -> bool {
        self.lock.metadata().is_ok_and(|it| it.nlink() == 0)
    }
}

/// Becomes the hub, or says which process is. Waits for a hub that is just ending. Must come before
/// the registry is opened.
pub async fn claim(paths: &Paths) -> Outcome<Claim> {
    claim_at(paths, Place::Own).await
}

/// Whose the socket is, at which verbs look for the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The hub's: where one takes connections, a hub runs.
    Own,
    /// Whoever starts the hub has made it, and it takes connections whether a hub runs or not.
    Handed,
}

/// The same, with a socket that may have been handed down.
pub async fn claim_at(paths: &Paths, place: Place) -> Outcome<Claim> {
    paths.prepare()?;
    let path = paths.hub_lock();
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| Fault::io(format_args!("opening {}", path.display()), &error))?;
    let deadline = clock::monotonic() + HUB_DRAIN_WITHIN + LOOK_AGAIN;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => {
                let runs = place == Place::Own && answers(&paths.hub_socket()).await;
                if runs || clock::monotonic() > deadline {
                    return Err(taken(&mut lock));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(error) => {
                return Err(Fault::io(format_args!("locking {}", path.display()), &error.into()));
            }
        }
    }
    let written = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    if let Err(error) = written {
        // Only words rely on it, and on a full disk a hub is needed to make room.
        tracing::warn!(%error, path = %path.display(), "the lock does not say whose it is");
    }
    Ok(Claim { socket: paths.hub_socket(), lock })
}

/// Waits until the hub that was told to end has given its lock back.
pub async fn ended(paths: &Paths) -> Outcome<()> {
    let path = paths.hub_lock();
    let deadline = clock::monotonic() + HUB_DRAIN_WITHIN + LOOK_AGAIN;
    loop {
        // A lock that is not there is held by nobody.
        let Ok(lock) = File::open(&path) else { return Ok(()) };
        if flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(());
        }
        if clock::monotonic() > deadline {
            return Err(Fault::late("the hub was told to end and has not yet")
                .hint("sandwatch hub status says whether another one runs already"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn taken(lock: &mut File) -> Fault {
    let mut pid = String::new();
    let read = lock.rewind().and_then(|()| lock.take(32).read_to_string(&mut pid));
    let pid = pid.trim().parse::<u32>().ok().filter(|_| read.is_ok());
    let pid = pid.map_or_else(String::new, |pid| format!(": process {pid}"));
    Fault::busy(format!("a hub runs already{pid}")).hint("sandwatch hub status, sandwatch hub stop")
}

async fn answers(socket: &Path) -> bool {
    match SocketPath::open(socket) {
        Ok(short) => UnixStream::connect(short.path()).await.is_ok(),
        Err(_) => false,
    }
}
