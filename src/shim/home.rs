//! Notices that the shim's directory is gone, so that no sandbox outlives the state it belongs to.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;

use super::SPEC_FILE;
use crate::base::fault::{Fault, Outcome};

/// The directory, watched. No descriptor of it is kept: that would hide its removal.
pub struct Home {
    dir: PathBuf,
    identity: (u64, u64),
    /// Inotify's descriptor: reading it is all that is done with it, as with a pipe.
    events: Receiver,
}

impl Home {
    pub fn watch(dir: &Path) -> Outcome<Self> {
        let doing = || format!("watching {}", dir.display());
        let identity = identity(dir)
            .ok_or_else(|| Fault::absent(format!("no such directory: {}", dir.display())))?;
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|it| Fault::io(doing(), &it.into()))?;
        let wanted = WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&events, dir, wanted).map_err(|it| Fault::io(doing(), &it.into()))?;
        let events =
            Receiver::from_owned_fd_unchecked(events).map_err(|it| Fault::io(doing(), &it))?;
        Ok(Self { dir: dir.to_owned(), identity, events })
    }

    /// Resolves when the directory is not there any more, is another one, or has lost its spec.
    pub async fn left(&self) {
        loop {
            if identity(&self.dir) != Some(self.identity) || !self.dir.join(SPEC_FILE).exists() {
                return;
            }
            if self.events.readable().await.is_err() {
                return;
            }
            // What happened does not matter: looking again tells.
            let mut buffer = [0; 1024];
            while self.events.try_read(&mut buffer).is_ok_and(|it| it > 0) {}
        }
    }
}

fn identity(dir: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(dir).ok().map(|it| (it.dev(), it.ino()))
}
