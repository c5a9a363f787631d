//! Work that `update` wants done, as data. The event loop starts it and reports back; nothing waits.

use std::{fmt, path::PathBuf};

use bytes::Bytes;

use crate::{
    app::files::FilesAct,
    base::{
        clock::Timestamp,
        id::{AskId, HubNumber, SandboxId, SessionId, SnapshotId},
        secret::Secret,
        units::Size,
    },
    config::{contexts::ContextName, schema::Prefs},
    model::{
        ask::Choice,
        change::{ApplyRequest, DiffRequest, Subject},
        gauge::PastWanted,
        history::{HistoryRequest, SearchRequest},
        replay::{FindRequest, Moment, Span},
        rule::{Domain, Question, RuleName},
        sandbox::SandboxSpec,
        session::SessionSpec,
        snapshot::SnapshotKind,
        timeline::TimelineRequest,
    },
    runtime::{AsksWanted, Fork, LeaseVerb, Nudge},
};

/// Names one effect; its `Msg::Done` carries the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(pub u64);

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    pub id: EffectId,
    pub act: Act,
}

/// A sandbox to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub spec: SandboxSpec,
    /// Variables of the operator's to pass on, by name: their values are read only when it is made.
    pub pass: Vec<String>,
}

/// What is done to contexts.toml.
#[derive(Clone, Debug, PartialEq)]
pub enum ContextChange {
    Add {
        name: ContextName,
        /// An address, or an invitation, which lets whoever has it in.
        place: Secret,
    },
    /// Keys to it are removed as well.
    Remove(ContextName),
}

/// What to do. All but the last group call the hub, and every call ends in one `Msg::Done` within
/// `base::limits::HUB_ANSWER_WITHIN` (more for what makes, changes or removes a sandbox), if only with a fault.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Watch a session from now on, with `Fidelity::Screen`: `Msg::Output` each, then one
    /// `Msg::OutputEnded`. Has no `Msg::Done`.
    Subscribe {
        session: SessionId,
        generation: u64,
    },
    /// Drop the subscription of that generation, if it is still there. Has no `Msg::Done`.
    Unsubscribe {
        session: SessionId,
        generation: u64,
    },

    /// Inputs of one session arrive in the order of their effects, and before anything else. When one
    /// fails, none of the same `run` behind it is sent.
    Input {
        session: SessionId,
        bytes: Bytes,
        run: u64,
    },
    /// Nothing more is typed into that session: it is gone. Has no `Msg::Done`.
    CloseLane(SessionId),
    /// For somebody who does not step in.
    Nudge {
        session: SessionId,
        what: Nudge,
    },
    Resize {
        session: SessionId,
        size: Size,
    },
    /// Answered with `Reply::Lease`.
    Lease {
        session: SessionId,
        verb: LeaseVerb,
    },
    /// Answered with `Reply::Sandbox`.
    Create(Box<Order>),
    /// Answered with `Reply::Session`.
    Open {
        sandbox: SandboxId,
        spec: SessionSpec,
    },
    Pause(SandboxId),
    Resume(SandboxId),
    Stop(SandboxId),
    Remove(SandboxId),
    /// Answered with `Reply::History`.
    History {
        session: SessionId,
        request: HistoryRequest,
    },
    /// Answered with `Reply::Search`.
    Search {
        session: SessionId,
        request: SearchRequest,
    },
    /// Answered with `Reply::Checks`.
    Doctor,

    /// Answered with `Reply::Snapshots`.
    Snapshots,
    /// Answered with `Reply::Snapshot`.
    Snapshot {
        sandbox: SandboxId,
        name: Option<String>,
        kind: SnapshotKind,
    },
    RemoveSnapshot(SnapshotId),
    /// Answered with `Reply::Sandbox`.
    Restore {
        sandbox: SandboxId,
        /// `None` = what it is now.
        to: Option<SnapshotId>,
    },
    /// Answered with `Reply::Sandbox`.
    Fork {
        from: Subject,
        how: Fork,
    },
    /// Answered with `Reply::Diff`.
    Diff {
        of: Subject,
        request: DiffRequest,
    },
    /// Answered with `Reply::Applied`.
    Apply {
        sandbox: SandboxId,
        request: ApplyRequest,
    },
    /// Answered with `Reply::Applied`.
    TakeBack {
        sandbox: SandboxId,
        overwrite: bool,
    },
    /// Answered with `Reply::Asks`: those that have ended.
    Asks(AsksWanted),
    /// Answered with `Reply::Ask`: its answer holds no more.
    Revoke(AskId),
    /// Answered with `Reply::Ask`.
    Decide {
        ask: AskId,
        /// Of what was on screen.
        digest: String,
        choice: Box<Choice>,
    },
    /// Ask for readings of gauges round after round, or no longer: `Msg::Gauges` each. Has no `Msg::Done`.
    WatchGauges(bool),
    /// Look at what a process calls, and at no other: `Msg::Syscalls` of that generation each; or at none. Has no `Msg::Done`.
    WatchSyscalls {
        of: Option<(SessionId, u32)>,
        generation: u64,
    },
    /// Answered with `Reply::GaugePast`.
    GaugePast(PastWanted),
    /// Answered with `Reply::Rules`.
    Rules,
    /// Answered with `Reply::Proposal`.
    Propose(Box<Question>),
    /// Answered with `Reply::Rule`.
    AddRule {
        text: String,
        domain: Domain,
    },
    /// Answered with `Reply::Rule`.
    RemoveRule(RuleName),
    /// Answered with `Reply::Traffic`.
    Traffic(SandboxId),
    /// Answered with `Reply::Explained`.
    Explain(SessionId),
    /// What the place of files wants; answered with `Reply::Files` where it says so.
    Files(Box<FilesAct>),
    /// What names no thing of a hub, of that one of several.
    Of(HubNumber, Box<Act>),
    /// Answered with `Reply::Timeline`.
    Timeline(Box<TimelineRequest>),
    /// Answered with `Reply::Replay`.
    Replay {
        session: SessionId,
        moment: Moment,
    },
    /// Answered with `Reply::Found`.
    FindInTime {
        session: SessionId,
        request: FindRequest,
    },
    /// Write a part of a recording to a file that is not there yet.
    Export {
        session: SessionId,
        span: Span,
        path: PathBuf,
    },
    /// Somebody is here; answered with `Reply::Sign`.
    Sign(Timestamp),
    /// Looks through the whole record; answered with `Reply::Audit`.
    Audit,
    /// Answered with `Reply::Nothing`.
    Contexts(Box<ContextChange>),
    /// Ends an effect that only reads; it has no `Msg::Done` any more, unless that is on its way.
    Cancel(EffectId),

    /// Write to the operator's clipboard (OSC 52). Answered, so that a failure can be said.
    Clipboard(String),
    /// Read a key file by name; answered with `Msg::Keymap` as well as `Msg::Done`.
    LoadKeymap(String),
    /// Use a theme by name; answered with `Msg::Theme` as well as `Msg::Done`.
    LoadTheme(String),
    /// Remember what the operator chose. Answered.
    SavePrefs(Prefs),
    /// The rest have no answer.
    SetTitle(String),
    Bell,
    /// A desktop notification; both texts are safe to show.
    Notify {
        title: String,
        body: String,
    },
    /// Capture the mouse, or leave it to the terminal.
    CaptureMouse(bool),
    /// Forget what the terminal shows and draw it whole.
    Redraw,
    /// Hubs that are looked for are looked for at once.
    LookNow,
    Suspend,
    Quit,
}

impl Act {
    /// The hub that is asked for it, where it is one of several that is.
    pub fn hub(&self) -> HubNumber {
        match self {
            Self::Of(hub, _) => *hub,
            Self::Subscribe { session, .. }
            | Self::Unsubscribe { session, .. }
            | Self::Input { session, .. }
            | Self::Nudge { session, .. }
            | Self::Resize { session, .. }
            | Self::Lease { session, .. }
            | Self::History { session, .. }
            | Self::Search { session, .. }
            | Self::Replay { session, .. }
            | Self::FindInTime { session, .. }
            | Self::Export { session, .. }
            | Self::CloseLane(session)
            | Self::Explain(session) => session.hub(),
            Self::Open { sandbox, .. }
            | Self::Pause(sandbox)
            | Self::Resume(sandbox)
            | Self::Stop(sandbox)
            | Self::Remove(sandbox)
            | Self::Snapshot { sandbox, .. }
            | Self::Restore { sandbox, .. }
            | Self::Apply { sandbox, .. }
            | Self::TakeBack { sandbox, .. }
            | Self::Traffic(sandbox) => sandbox.hub(),
            Self::RemoveSnapshot(snapshot) => snapshot.hub(),
            Self::Fork { from: of, .. } | Self::Diff { of, .. } => match of {
                Subject::Sandbox(id) => id.hub(),
                Subject::Snapshot(id) => id.hub(),
            },
            Self::Revoke(ask) | Self::Decide { ask, .. } => ask.hub(),
            Self::Propose(question) => match &**question {
                Question::Answer { ask, .. } => ask.hub(),
                Question::Rules { .. } | Question::Rule(_) => HubNumber::FIRST,
            },
            Self::Files(files) => files.sandbox().map_or(HubNumber::FIRST, SandboxId::hub),
            Self::GaugePast(wanted) => {
                wanted.sandbox.as_ref().map_or(HubNumber::FIRST, SandboxId::hub)
            }
            // Of all of them, of the first, or of none.
            _ => HubNumber::FIRST,
        }
    }
}
