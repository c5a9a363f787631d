//! Everything that can reach the console, as data.

use std::{path::PathBuf, time::Duration};

use crate::{
    app::{
        effect::EffectId,
        files::{FilesNews, FilesReply},
        gate::Glimpse,
        hubs::Hub,
        keymap::Keymap,
    },
    base::{
        clock::{Timestamp, Zone},
        fault::{Fault, Outcome},
        id::{ClientId, SessionId},
    },
    config::schema::Config,
    model::{
        ask::Ask,
        audit::{Entry, Head},
        change::{Applied, FileChange},
        check::Check,
        event::{Event, Level},
        gauge::{Gauges, Past},
        history::{HistoryPage, SearchPage},
        member::Role,
        output::Output,
        replay::{FindPage, Replay},
        rule::{KnownRule, Proposal, Rulebook},
        sandbox::Sandbox,
        session::{Lease, Session},
        snapshot::Snapshot,
        status::Explained,
        syscall::SyscallPart,
        timeline::TimelinePage,
        traffic::Traffic,
    },
    runtime::Trips,
    vt::key::{KeyPress, Mods},
};

/// When a message came: both clocks, read once by the event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the console started; never goes backwards.
    pub since_start: Duration,
    pub wall: Timestamp,
}

/// One message for `update`.
#[derive(Clone, Debug)]
pub enum Msg {
    Key(KeyPress),
    Mouse(Mouse),
    Paste(String),
    /// The terminal gained or lost the focus.
    Focus(bool),
    /// Columns and rows of the terminal.
    Resize(u16, u16),
    /// A moment named by `State::wake_at` has come.
    Tick,
    /// From the hub's feed.
    Event(Event),
    /// From a subscription; `generation` is the one of its `Act::Subscribe`.
    Output {
        session: SessionId,
        generation: u64,
        output: Output,
    },
    /// A subscription ended: the program exited, the stream broke, or it never began.
    OutputEnded {
        session: SessionId,
        generation: u64,
        why: Option<Fault>,
    },
    /// A round of readings, or why there are no more.
    Gauges(Outcome<Box<Gauges>>),
    /// What a process called, or why it is not looked at; `generation` is the one of its `Act::WatchSyscalls`.
    Syscalls {
        generation: u64,
        part: Outcome<Box<SyscallPart>>,
    },
    /// From the directories that the place of files watches.
    Files(FilesNews),
    Link(Link),
    /// The feed of the only hub ended, and why; it is asked for again. What comes of it afterwards tells that it goes on.
    Silent(String),
    /// The hubs there are, where there may be several, and how each is reached.
    Hubs(Vec<Hub>),
    /// What we may do on the hub, where it is one.
    Role(Role),
    Done {
        id: EffectId,
        result: Outcome<Reply>,
    },
    /// A frame with this is on the terminal, as far as can be known; see `State::glimpse`.
    Drawn(Glimpse),
    /// config.toml was read again; a fault keeps the last good one.
    Config(Outcome<Box<Config>>),
    /// A key file was read again; a fault keeps the last good one.
    Keymap(Outcome<Box<Keymap>>),
    /// A theme file was read again (the drawing side holds the theme).
    Theme(Outcome<String>),
    /// Names of the keymaps and themes that can be chosen, for completion.
    Choices {
        keymaps: Vec<String>,
        themes: Vec<String>,
    },
    /// Agent programs found on PATH, best first, by the name typed in a shell.
    Agents(Vec<String>),
    /// Our own notice (a worker died, a file can't be watched).
    Notice(Level, String),
}

/// What came back from an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Nothing,
    Sandbox(Box<Sandbox>),
    Session(Box<Session>),
    Lease(Option<Lease>),
    History(HistoryPage),
    Search(SearchPage),
    Checks(Vec<Check>),
    Snapshots(Vec<Snapshot>),
    Snapshot(Box<Snapshot>),
    Diff(Box<DiffRead>),
    Applied(Box<Applied>),
    Asks(Vec<Ask>),
    Ask(Box<Ask>),
    Rules(Box<Rulebook>),
    Proposal(Box<Proposal>),
    /// The rule that was made or taken out.
    Rule(Option<Box<KnownRule>>),
    Traffic(Box<Traffic>),
    GaugePast(Box<Past>),
    Explained(Box<Explained>),
    Audit(Box<AuditRead>),
    Timeline(Box<TimelinePage>),
    Replay(Box<Replay>),
    Found(Box<FindPage>),
    /// The last sign before the one that was given.
    Sign(Option<Timestamp>),
    Files(Box<FilesReply>),
}

/// What was read of the audit record, up to the console's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRead {
    /// The newest, newest first.
    pub entries: Vec<Entry>,
    /// How many there are.
    pub count: u64,
    /// The last entry when all are as they were; else what is wrong with the first that is not.
    pub sound: Result<Head, String>,
}

/// What was read of a diff, up to the console's bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffRead {
    pub files: Vec<FileChange>,
    /// There are more files.
    pub more: bool,
    pub git_left_out: u64,
    /// The change itself, of the paths that were asked for.
    pub text: Vec<u8>,
    /// The text goes on.
    pub cut: bool,
}

/// How the hub is reached right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    Connecting,
    /// `None` until a round trip was measured.
    Up(Option<Trips>),
    /// Since when (on the console's own clock), and why.
    Down {
        since: Duration,
        why: String,
    },
}

/// One mouse event, in cells from the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mouse {
    pub kind: MouseKind,
    pub column: u16,
    pub row: u16,
    pub mods: Mods,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MouseKind {
    Down(Button),
    Up(Button),
    Drag(Button),
    Moved,
    WheelUp,
    WheelDown,
    WheelLeft,
    WheelRight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Button {
    Left,
    Middle,
    Right,
}

/// What the console must know before its first message.
#[derive(Clone, Debug)]
pub struct Setup {
    pub me: ClientId,
    /// For people, e.g. `alice@laptop`.
    pub name: String,
    /// Which hub, for the header, e.g. `local`.
    pub hub: String,
    /// Where new sandboxes work unless told otherwise.
    pub directory: PathBuf,
    /// The operator's home, if it is known.
    pub home: Option<PathBuf>,
    /// The driver of new sandboxes (`local`, or `fake` for the demo).
    pub driver: String,
    /// The hub is not this user's own one.
    pub elsewhere: bool,
    /// Columns and rows.
    pub size: (u16, u16),
    pub config: Config,
    pub keymap: Keymap,
    pub zone: Zone,
}
