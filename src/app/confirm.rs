//! The box that asks before something is done to what is not in sight, or is lost.

use std::{path::PathBuf, time::Duration};

use crate::{
    base::id::{HubNumber, SandboxId, SessionId, SnapshotId},
    config::contexts::ContextName,
    model::{change::ApplyRequest, rule::RuleName},
    vt::key::Key,
};

/// What a box asks about before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Pause,
    Resume,
    Stop,
    Remove,
}

/// What is done once the box was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Verb {
        verb: Verb,
        targets: Vec<SandboxId>,
    },
    Restore {
        sandbox: SandboxId,
        to: SnapshotId,
        label: String,
    },
    Start(SandboxId),
    RemoveSnapshot {
        id: SnapshotId,
        what: String,
    },
    Apply {
        sandbox: SandboxId,
        directory: String,
        request: ApplyRequest,
    },
    TakeBack {
        sandbox: SandboxId,
        directory: String,
        overwrite: bool,
    },
    RemoveRule(HubNumber, RuleName),
    /// Take a hub out of this console.
    RemoveContext(ContextName),
    /// Type ctrl-c into it.
    Interrupt(SessionId),
    /// A copy that was edited, over what is there by now.
    WriteOver {
        sandbox: SandboxId,
        path: Vec<u8>,
        copy: PathBuf,
    },
    /// A file of a sandbox, over one of the operator's.
    CopyOver {
        sandbox: SandboxId,
        path: Vec<u8>,
        to: PathBuf,
    },
}

/// The key that takes the keyboard from another: never the one that steps in.
pub const TAKE_OVER_KEY: char = 't';

/// What a box that asks says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Says {
    /// What will be lost, in sentences: always whole.
    pub lines: Vec<String>,
    /// What it is done to, one row each: a word, and a name whose end tells most. As many as there is room for.
    pub names: Vec<(String, String)>,
    /// How many more there are.
    pub more: usize,
}

impl From<Vec<String>> for Says {
    fn from(lines: Vec<String>) -> Self {
        Self { lines, ..Self::default() }
    }
}

/// The box that asks before something is done to what is not in sight, or is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    pub deed: Deed,
    pub title: String,
    /// What the key does, in a word.
    pub word: &'static str,
    pub says: Says,
    /// The key that does it; never the one that opened the box.
    pub key: char,
    pub opened: Duration,
}

impl Confirm {
    /// `trigger` is the key that opened the box, if it was one.
    pub fn new(
        deed: Deed,
        (title, word): (String, &'static str),
        says: Says,
        trigger: Option<Key>,
        opened: Duration,
    ) -> Self {
        let taken = matches!(trigger, Some(Key::Char('y' | 'Y')));
        let key = if taken { 'o' } else { 'y' };
        Self { deed, title, word, says, key, opened }
    }
}
