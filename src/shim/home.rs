//! Notices that the shim's directory is gone, so that no sandbox outlives the state it belongs to.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::SPEC_FILE;
use crate::base::{
    fault::{Fault, Outcome},
    limits::HOME_LOOKED_AT_EVERY,
};

/// The directory, by name: a descriptor of it would hide its removal. It is looked at now and then, for
/// a user has few inotify instances (128 by default), and other programs need them.
pub struct Home {
    dir: PathBuf,
    identity: (u64, u64),
}

impl Home {
    pub fn watch(dir: &Path) -> Outcome<Self> {
        let identity = identity(dir)
            .ok_or_else(|| Fault::absent(format!("no such directory: {}", dir.display())))?;
        Ok(Self { dir: dir.to_owned(), identity })
    }

    /// Resolves when the directory is not there any more, is another one, or has lost its spec.
    pub async fn left(&self) {
        while identity(&self.dir) == Some(self.identity) && self.dir.join(SPEC_FILE).exists() {
            tokio::time::sleep(HOME_LOOKED_AT_EVERY).await;
        }
    }
}

fn identity(dir: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(dir).ok().map(|it| (it.dev(), it.ino()))
}
