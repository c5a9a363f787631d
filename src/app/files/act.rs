//! What the place of files wants done, and what comes back.

use std::path::PathBuf;

use super::Preview;
use crate::{
    base::{fault::Fault, id::SandboxId},
    config::schema::Images,
    model::file::{Expected, FileEntry, Hit},
};

/// How a file is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// As text, where it is text.
    Text,
    /// As the bytes that it has.
    Hex,
}

/// Paths are absolute, as the sandbox sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesAct {
    /// Answered with `Listed`.
    List { sandbox: SandboxId, path: Vec<u8> },
    /// Answered with `Looked`.
    Look {
        sandbox: SandboxId,
        path: Vec<u8>,
        how: How,
        /// Its end instead of its beginning.
        end: bool,
        /// Columns and rows that a picture has room for.
        room: (u16, u16),
        /// How a picture is shown.
        images: Images,
    },
    /// Answered with `Found`.
    Find { sandbox: SandboxId, path: Vec<u8>, words: String },
    /// Instead of what was watched before: `Msg::Files` each time. Has no `Msg::Done`.
    Watch { sandbox: SandboxId, paths: Vec<Vec<u8>>, generation: u64 },
    /// Nothing is watched any more. Has no `Msg::Done`.
    Unwatch,
    /// Copies a file to a place of the operator's, or into it where that is a directory; over a file that is there only
    /// if that is wanted. Answered with `Copied` or `Exists`.
    Get { sandbox: SandboxId, path: Vec<u8>, to: PathBuf, over: bool },
    /// Copies a file to where it can be edited; answered with `Fetched`.
    Fetch { sandbox: SandboxId, path: Vec<u8> },
    /// Gives the terminal to the operator's editor; answered with `Edited`.
    Edit(PathBuf),
    /// Writes such a copy back; answered with `Written` or `Changed`.
    Send { sandbox: SandboxId, path: Vec<u8>, copy: PathBuf, expected: Expected },
    /// Deletes such a copy. Has no `Msg::Done`.
    Drop(PathBuf),
}

impl FilesAct {
    /// Whose files; `None` = the operator's own.
    pub fn sandbox(&self) -> Option<&SandboxId> {
        match self {
            Self::List { sandbox, .. }
            | Self::Look { sandbox, .. }
            | Self::Find { sandbox, .. }
            | Self::Watch { sandbox, .. }
            | Self::Get { sandbox, .. }
            | Self::Fetch { sandbox, .. }
            | Self::Send { sandbox, .. } => Some(sandbox),
            Self::Unwatch | Self::Edit(_) | Self::Drop(_) => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesReply {
    /// Directories first, in the order of names.
    Listed {
        entries: Vec<FileEntry>,
        more: bool,
    },
    Looked(Preview),
    Found {
        hits: Vec<Hit>,
        more: bool,
    },
    /// Where to, in words.
    Copied(String),
    /// It was not: there is a file of the operator's.
    Exists(PathBuf),
    Fetched {
        copy: PathBuf,
        version: Option<u64>,
    },
    Edited {
        /// It is another by now, or nobody knows.
        changed: bool,
        /// The editor did not end well, and why.
        wrong: Option<Fault>,
    },
    Written,
    /// It was not: what is there now is not what was read.
    Changed,
}

/// What an effect of the place was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesPending {
    List(Vec<u8>),
    Look(Vec<u8>),
    Find,
    /// What changed since the start.
    Marks,
    Get {
        sandbox: SandboxId,
        path: Vec<u8>,
    },
    Fetch {
        sandbox: SandboxId,
        path: Vec<u8>,
    },
    Edit {
        sandbox: SandboxId,
        path: Vec<u8>,
        copy: PathBuf,
        version: Option<u64>,
    },
    Send {
        sandbox: SandboxId,
        path: Vec<u8>,
        copy: PathBuf,
    },
}

/// From what is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesNews {
    pub generation: u64,
    /// Which of the directories changed, by their place; `Err` = it ended, and why.
    pub changed: Result<Vec<usize>, String>,
}
