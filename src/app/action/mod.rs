//! What an action is, and where its keys count. The actions themselves are in `table`.

mod roles;
mod table;

pub use roles::TAKES;
pub use table::{ACTIONS, Action};

/// A layer of keys. Which ones are asked, and in which order, follows the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everywhere but while typing: into a pane, a line or a dialog.
    Global,
    /// The fleet list.
    List,
    /// Panes that are looked at, not typed into.
    Panes,
    /// A pane that is typed into: everything unbound here goes to the program.
    Pane,
    /// After the prefix.
    Prefix,
    /// Scrollback and copy mode.
    Scroll,
    /// The snapshots of a sandbox.
    Snapshots,
    /// What a sandbox changed.
    Diff,
    /// What waits for an answer, and what was answered.
    Asks,
    /// One ask, to be read and answered.
    Ask,
    /// Rules, what went out, the audit record.
    Records,
    /// What sandboxes and their host use.
    Gauges,
    /// The files of a sandbox.
    Files,
    /// What happened, beside the screen of the past.
    Timeline,
    /// All of these, asked after each.
    View,
    /// Dialogs, help and other boxes.
    Dialog,
    /// Boxes that only tell something; asked before those of all boxes.
    Read,
    /// A line being edited: filter, command, search, palette.
    Line,
}

impl Scope {
    pub const ALL: &[Self] = &[
        Self::Global,
        Self::List,
        Self::Panes,
        Self::Pane,
        Self::Prefix,
        Self::Scroll,
        Self::Snapshots,
        Self::Diff,
        Self::Asks,
        Self::Ask,
        Self::Records,
        Self::Gauges,
        Self::Files,
        Self::Timeline,
        Self::View,
        Self::Dialog,
        Self::Read,
        Self::Line,
    ];

    /// The table name in a key file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::List => "list",
            Self::Panes => "panes",
            Self::Pane => "pane",
            Self::Prefix => "prefix",
            Self::Scroll => "scroll",
            Self::Snapshots => "snapshots",
            Self::Diff => "diff",
            Self::Asks => "asks",
            Self::Ask => "ask",
            Self::Records => "records",
            Self::Gauges => "gauges",
            Self::Files => "files",
            Self::Timeline => "timeline",
            Self::View => "view",
            Self::Dialog => "dialog",
            Self::Read => "read",
            Self::Line => "line",
        }
    }

    /// Whether its keys are of one place over fleet and panes.
    pub fn is_of_a_place(self) -> bool {
        let of = [Self::Snapshots, Self::Diff, Self::Asks, Self::Ask, Self::Records];
        of.contains(&self) || matches!(self, Self::Gauges | Self::Files | Self::Timeline)
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.word() == word)
    }

    /// Where these keys work, in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Global => "everywhere but while typing",
            Self::List => "in the fleet",
            Self::Panes => "in a pane you watch",
            Self::Pane => "in a pane you type into",
            Self::Prefix => "after the prefix",
            Self::Scroll => "in scrollback",
            Self::Snapshots => "in snapshots",
            Self::Diff => "in what changed",
            Self::Asks => "in the list of asks",
            Self::Ask => "in an ask that you read",
            Self::Records => {
                "in rules, in what went out, in the audit record, in the inspector and in system calls"
            }
            Self::Gauges => "in gauges",
            Self::Files => "in files",
            Self::Timeline => "in the timeline",
            Self::View => {
                "in snapshots, in what changed, in asks, in rules, in gauges, in files and in the timeline"
            }
            Self::Dialog => "in a box",
            Self::Read => "in a box you only read",
            Self::Line => "in a line you edit",
        }
    }
}

/// What a slip of the finger would cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Risk {
    None,
    /// Asks once more, by another key, before it runs.
    Confirm,
}

/// One row of the table.
#[derive(Debug)]
pub struct ActionSpec {
    pub action: Action,
    /// What key files, the palette and the `:` line call it.
    pub id: &'static str,
    /// Where it makes most sense; its keys may be bound in any scope.
    pub scope: Scope,
    pub risk: Risk,
    pub title: &'static str,
    pub help: &'static str,
    /// Default keys; keymaps/default.toml is made from them.
    pub keys: &'static [(Scope, &'static str)],
    /// Short name on the `:` line and what it takes; `None` when only the id works there.
    pub command: Option<(&'static str, Argument)>,
}

/// What a `:` command takes after its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    Nothing,
    /// One of a fixed list of words or the names of files of that kind.
    Layout,
    Theme,
    Keymap,
    /// Words of the filter line.
    Filter,
    /// A program and its arguments; empty = the dialog asks.
    Program,
    /// A name shown in the fleet; empty = the one under the cursor.
    Sandbox,
    /// Such a name, and a program with its arguments; empty = a shell.
    SandboxProgram,
    /// Such a name, and one for what is made.
    SandboxName,
    /// Text to look for.
    Pattern,
    /// The context of a hub; empty = the one that is meant.
    Hub,
    /// What is done to contexts.toml.
    Context,
}

impl Argument {
    /// How it is written in help, e.g. `:layout 1|2|4|6`.
    pub fn usage(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Layout => "1|2|4|6",
            Self::Theme | Self::Keymap => "NAME",
            Self::Filter => "[WORDS]",
            Self::Program => "[COMMAND...]",
            Self::Sandbox => "[SANDBOX]",
            Self::SandboxProgram => "[SANDBOX [COMMAND...]]",
            Self::SandboxName => "[SANDBOX [NAME]]",
            Self::Pattern => "[TEXT]",
            Self::Hub => "[CONTEXT]",
            Self::Context => "add NAME INVITE|ADDRESS, rm NAME",
        }
    }
}

impl Action {
    /// Returns the row of the table; the macro writes enum and table in one order.
    #[expect(
        clippy::indexing_slicing,
        reason = "enum and table come from one list of equal length"
    )]
    pub fn spec(self) -> &'static ActionSpec {
        &ACTIONS[self as usize]
    }

    pub fn from_id(id: &str) -> Option<Self> {
        ACTIONS.iter().find(|spec| spec.id == id).map(|spec| spec.action)
    }

    /// The action of a `:` command, by its short name or its id.
    pub fn from_command(word: &str) -> Option<Self> {
        let named = |spec: &&ActionSpec| spec.command.is_some_and(|(name, _)| name == word);
        ACTIONS.iter().find(named).map(|spec| spec.action).or_else(|| Self::from_id(word))
    }
}
