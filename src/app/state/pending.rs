//! What the hub was asked for and has not answered yet.

use std::path::PathBuf;

use crate::{
    app::{files::FilesPending, records::Of},
    base::{
        clock::Timestamp,
        id::{AskId, SandboxId, SessionId, SnapshotId},
    },
    model::{change::ApplyRequest, rule::RuleName},
    runtime::LeaseVerb,
};

/// What an effect under way was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Only a failure is worth a word; these say of what.
    Quiet(String),
    /// One of many that are told together.
    Deed {
        batch: u64,
        name: String,
        doing: String,
    },
    Create,
    Open,
    Lease {
        session: SessionId,
        verb: LeaseVerb,
    },
    /// Typed in this run.
    Input {
        session: SessionId,
        run: u64,
    },
    /// Something that was sent to a session that nobody has stepped into.
    Sent {
        what: &'static str,
        /// What the session is called.
        to: String,
    },
    Older(SessionId),
    /// The first page there is.
    Oldest(SessionId),
    Jump {
        session: SessionId,
        hit: crate::model::history::HistoryMark,
        /// Counted from the newest.
        number: usize,
    },
    Search(SessionId),
    Doctor,
    /// Contexts.toml is changed; what is done and what was, in words.
    Contexts {
        doing: String,
        done: String,
    },
    Snapshots,
    Snapshot {
        sandbox: String,
    },
    RemoveSnapshot {
        what: String,
    },
    Restore {
        sandbox: String,
        to: String,
    },
    /// A snapshot of a stopped sandbox, and then back to that.
    Start {
        sandbox: String,
    },
    Fork {
        of: String,
    },
    /// What changed up to a row of the snapshots.
    Told(Option<SnapshotId>),
    Changes,
    /// The lines of one path.
    Lines(Vec<u8>),
    Apply {
        sandbox: SandboxId,
        directory: String,
        request: Box<ApplyRequest>,
    },
    TakeBack {
        sandbox: SandboxId,
        directory: String,
    },
    Asks {
        /// All of them, not only those that were missed.
        whole: bool,
    },
    Revoke(String),
    /// An answer to an ask; what it is about in words.
    Decide {
        ask: AskId,
        says: String,
    },
    /// What would be done by what is being written.
    Propose,
    /// A rule that is made; in words.
    AddRule,
    RemoveRule {
        id: String,
    },
    /// Rows of the place of that kind.
    Records(Of),
    /// What was used before.
    GaugePast,
    /// What the rule that is read does.
    RuleRead(RuleName),
    /// What happened, for the timeline; a screen of the past; a text in it; a gauge beside it.
    Timeline,
    Replay,
    FindInTime,
    TimelineGauge,
    /// A part of a recording; how to do that again, in words of the command line.
    Export {
        path: PathBuf,
        words: String,
    },
    /// When somebody was last here, and what happened since.
    Sign,
    Away(Timestamp),
    /// For the place of files.
    Files(FilesPending),
    Clipboard {
        lines: usize,
        /// The session whose program wrote it; `None` = the operator copied it.
        by: Option<SessionId>,
    },
}

impl Pending {
    /// Whether it is for the timeline, or for who was away.
    pub(in crate::app) fn is_of_timeline(&self) -> bool {
        matches!(
            self,
            Self::Timeline
                | Self::Replay
                | Self::FindInTime
                | Self::TimelineGauge
                | Self::Export { .. }
                | Self::Sign
                | Self::Away(_)
        )
    }

    /// Whether it is for gauges, for the lists of rules, of what went out and of the audit record, or for what is written
    /// there, or sent from there.
    pub(in crate::app) fn is_of_records(&self) -> bool {
        matches!(
            self,
            Self::Records(_)
                | Self::GaugePast
                | Self::RuleRead(_)
                | Self::RemoveRule { .. }
                | Self::Propose
                | Self::AddRule
                | Self::Sent { .. }
        )
    }
}

/// One thing done to many sandboxes; kept until the last has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) struct Deeds {
    pub done: &'static str,
    pub total: usize,
    pub left: usize,
    pub failed: usize,
}
