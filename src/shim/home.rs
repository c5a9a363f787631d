//! Notices that the shim's directory is gone, so that no sandbox outlives the state it belongs to.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tokio::{sync::watch, time::timeout};

use super::SPEC_FILE;
use crate::base::{
    fault::{Fault, Outcome},
    limits::{HOME_LOOKED_AT_ALONE_EVERY, HOME_LOOKED_AT_EVERY},
};

/// The directory, by name: a descriptor of it would hide its removal. It is looked at now and then, for
/// a user has few inotify instances (128 by default), and other programs need them.
pub struct Home {
    dir: PathBuf,
    identity: (u64, u64),
    /// Connections that somebody has to the shim.
    connections: watch::Sender<usize>,
}

impl Home {
    pub fn watch(dir: &Path) -> Outcome<Self> {
        let identity = identity(dir)
            .map_err(|error| Fault::io(format_args!("looking at {}", dir.display()), &error))?;
        Ok(Self { dir: dir.to_owned(), identity, connections: watch::Sender::new(0) })
    }

    /// To be told how many connections there are: when that changes the shim is awake, and a hub that has ended
    /// may have ended because of what happened to the directory.
    pub fn connections(&self) -> &watch::Sender<usize> {
        &self.connections
    }

    /// Resolves when the directory is not there any more, is another one, or has lost its spec.
    pub async fn left(&self) {
        let mut connections = self.connections.subscribe();
        while self.is_there() {
            let every = match *connections.borrow_and_update() {
                0 => HOME_LOOKED_AT_ALONE_EVERY,
                _ => HOME_LOOKED_AT_EVERY,
            };
            // Whichever comes first.
            drop(timeout(every, connections.changed()).await);
        }
    }

    /// A disk that fails, or a limit that is reached, says nothing about what is there.
    fn is_there(&self) -> bool {
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let same = identity(&self.dir).map_or_else(|it| !gone(&it), |it| it == self.identity);
        let spec = std::fs::symlink_metadata(self.dir.join(SPEC_FILE));
        same && !spec.is_err_and(|it| gone(&it))
    }
}

fn identity(dir: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(dir).map(|it| (it.dev(), it.ino()))
}
