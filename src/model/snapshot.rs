//! A snapshot: one moment of a sandbox's files, to go back to or to branch from.

use super::sandbox::{Workspace, words};
use crate::base::{
    clock::Timestamp,
    id::{SandboxId, SnapshotId},
    limits::NAME_BYTES_MAX,
};

words! {
    /// What a snapshot holds.
    SnapshotKind {
        /// Files; programs start anew from them.
        Filesystem = "filesystem",
        /// Files and running programs, which go on where they were.
        Memory = "memory",
    }
}

words! {
    /// Who wanted it. What a person asked for is never pruned.
    SnapshotCause {
        /// A person or script.
        Asked = "asked",
        /// The sandbox was restored to another moment; this is what it was before.
        Restore = "restore",
        /// A running sandbox was forked.
        Fork = "fork",
        /// Time.
        Timer = "timer",
    }
}

/// One moment of a sandbox. It outlives the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub id: SnapshotId,
    pub sandbox: SandboxId,
    /// As the sandbox was called then.
    pub sandbox_name: String,
    pub driver: String,
    /// A word a person gave it; unique among those of its sandbox.
    pub name: Option<String>,
    pub created_at: Timestamp,
    /// What it takes on disk beside other snapshots; `None` = the driver can't tell.
    pub size_bytes: Option<u64>,
    /// The moment before it in the life of its sandbox, or the one that was forked.
    pub parent: Option<SnapshotId>,
    pub kind: SnapshotKind,
    pub cause: SnapshotCause,
    pub workspace: Workspace,
    /// What a person should know: what it does not hold.
    pub notes: Vec<String>,
}

/// Tells whether a snapshot may have this name: 1 to 63 of `a-z A-Z 0-9 - _ .`, the first a letter or digit.
pub fn is_name(name: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    fits && name.bytes().all(plain)
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}
