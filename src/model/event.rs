//! The feed of changes: a snapshot, then numbered changes; a gap leads to a new snapshot.

use std::sync::Arc;

use super::{fact::Fact, sandbox::Sandbox, sandbox::words};
use crate::base::{
    clock::Timestamp,
    id::{HubNumber, SandboxId, SessionId},
};

words! {
    /// Why a snapshot was sent.
    SnapshotReason {
        /// First message of a subscription.
        First = "first",
        /// This subscriber was too slow and changes were dropped.
        Gap = "gap",
    }
}

words! {
    /// How much a notice matters.
    Level {
        Info = "info",
        Warning = "warning",
        Error = "error",
    }
}

/// Something a person should read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub at: Timestamp,
    pub level: Level,
    pub sandbox: Option<SandboxId>,
    /// One line, made safe to show.
    pub text: String,
}

/// One message of the feed. `seq` grows by one per change; a snapshot carries the last seq it holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Snapshot {
        seq: u64,
        reason: SnapshotReason,
        sandboxes: Vec<Arc<Sandbox>>,
    },
    /// The same of one of several hubs: what is known of the others stays. No hub sends it.
    Part {
        hub: HubNumber,
        reason: SnapshotReason,
        sandboxes: Vec<Arc<Sandbox>>,
    },
    /// A sandbox is new or different; this is all of it.
    Changed {
        seq: u64,
        sandbox: Arc<Sandbox>,
    },
    Removed {
        seq: u64,
        id: SandboxId,
    },
    Notice {
        seq: u64,
        notice: Notice,
    },
    /// A program said something (title, bell, notification, ...), seen by the hub for every session.
    Said {
        seq: u64,
        session: SessionId,
        fact: Fact,
    },
}
