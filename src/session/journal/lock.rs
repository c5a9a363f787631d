//! Tells a live recording from a finished one: its writer holds a lock that dies with it.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

use crate::base::fault::{Fault, Outcome};

/// Held by the one writer of a recording.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a recording's directory; `Busy` while another writer lives.
    pub fn take(dir: &Path) -> Outcome<Self> {
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|it| Fault::io(format!("opening {}", path.display()), &it))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(Fault::busy(format!("recording in use: {}", dir.display())))
            }
            Err(error) => Err(Fault::io(format!("locking {}", path.display()), &error.into())),
        }
    }
}

/// Tells whether a writer lives. When that can't be told, it is taken to live.
pub fn is_live(dir: &Path) -> bool {
    match File::open(dir.join("lock")) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}
