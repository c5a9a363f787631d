//! What lies over everything else: boxes, and the line being edited at the bottom.

use std::time::Duration;

use crate::{
    app::{
        asks::AllowBox,
        dialog::{Confirm, NewDialog},
        help::Help,
        line::Editor,
        palette::Palette,
        write::WriteBox,
    },
    base::id::{AskId, HubNumber, SandboxId, SessionId},
    model::check::Check,
};

/// What lies over everything else.
#[derive(Clone, Debug)]
pub enum Overlay {
    Help(Help),
    Palette(Palette),
    Notices {
        top: usize,
    },
    Info {
        sandbox: SandboxId,
        top: usize,
    },
    /// `None` until the hub has answered.
    Doctor {
        hub: HubNumber,
        checks: Option<Vec<Check>>,
        top: usize,
    },
    New(Box<NewDialog>),
    Confirm(Confirm),
    /// A word is to be typed before something risky is allowed.
    Allow(Box<AllowBox>),
    /// A rule, or what is allowed in place of what was asked for, is being written.
    Write(Box<WriteBox>),
    /// Somebody else holds the keyboard; take it from them?
    TakeOver {
        session: SessionId,
        holder: String,
        /// Nobody does any more, as the feed tells.
        free: bool,
        opened: Duration,
    },
}

/// What a line being edited is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// The filter of the fleet; what it was before and where the cursor was, for cancelling.
    Filter {
        before: String,
        at: Option<SandboxId>,
    },
    Command,
    Search,
    /// A pattern for the place that is open over fleet and panes.
    Find,
    /// Words that are looked for in files.
    FileWords,
    /// Where a file of this sandbox is copied to.
    FileTo {
        sandbox: SandboxId,
        path: Vec<u8>,
    },
    /// What the next snapshot of a sandbox is called.
    SnapshotName(SandboxId),
    /// What is typed into this session, with enter behind it.
    Nudge(SessionId),
    /// What is said to an agent with the answer that denies this ask, as it was on screen.
    DenySay {
        ask: AskId,
        digest: String,
    },
}

/// A line being edited in the bottom bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineMode {
    pub kind: LineKind,
    pub editor: Editor,
    /// Completions of the command line, and the one chosen.
    pub offers: Vec<String>,
    pub offered: Option<usize>,
    /// How far back in the history of commands; 0 = the line itself.
    pub back: usize,
}
