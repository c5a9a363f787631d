//! A sandbox: what was asked for, and what is known of it now.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    ask::Ask,
    capability::Capabilities,
    secret::{Given, SecretUse},
    session::{Session, SessionSpec},
};
use crate::base::{
    clock::Timestamp,
    id::{SandboxId, SnapshotId},
    limits::{GPUS_MAX, NAME_BYTES_MAX},
    units::Size,
};

/// Writes an enum whose variants each have one word, with both directions from one table.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$each])* $variant,)* }

        impl $name {
            /// Every variant, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word used in JSON, on the command line and on screen.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The variant of a word; `None` when it is no such word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Where a sandbox is in its life, in our words; the driver's own word is `raw_state`.
    State {
        Creating = "creating",
        Running = "running",
        /// Every process frozen; nothing runs until resumed.
        Paused = "paused",
        /// No process left; files are still there.
        Stopped = "stopped",
        /// It did not start, or its shim died; `note` says why.
        Failed = "failed",
        /// The driver no longer knows it.
        Gone = "gone",
        /// The driver can't be asked right now.
        Unknown = "unknown",
    }
}

words! {
    /// What happens to writes in the workspace.
    WorkspaceMode {
        /// Copy-on-write: the sandbox sees the real tree, its changes stay apart.
        Cow = "cow",
        /// The real directory, writable.
        Rw = "rw",
        /// The real directory, read-only.
        Ro = "ro",
        /// No workspace at all.
        None = "none",
    }
}

words! {
    /// What network traffic may leave.
    Egress {
        /// Each new destination asks a person.
        Ask = "ask",
        /// Nothing but loopback inside the sandbox.
        Deny = "deny",
        /// The host's network, unrestricted.
        Allow = "allow",
    }
}

impl Egress {
    /// What a sandbox says that was to ask and can't; the words are here for all who say it.
    pub const ASK_IS_DENY: &str = "egress ask acts as deny";

    /// What it means.
    pub fn means(self) -> &'static str {
        match self {
            Self::Ask => "ask: each new host waits for your answer",
            Self::Deny => "deny: no network but loopback",
            Self::Allow => "allow: the host's network, unrestricted",
        }
    }
}

words! {
    /// How strongly a sandbox is kept apart, weakest first.
    Isolation {
        /// No isolation claimed (fake driver, foreign runtimes).
        None = "none",
        /// Landlock and seccomp only: same processes, network and file system view as the host.
        Landlock = "landlock",
        /// Own user, mount, pid, ipc, uts, cgroup and network namespaces, landlock and seccomp on top.
        Namespaces = "namespaces",
        /// A user-space kernel (runsc).
        Gvisor = "gvisor",
        /// An OCI runtime (runc, crun).
        Oci = "oci",
    }
}

impl Isolation {
    /// Those that can be asked for.
    pub const GRADES: [Self; 4] = [Self::Landlock, Self::Namespaces, Self::Oci, Self::Gvisor];
}

/// Directory the agent works in; it appears inside at the same path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    pub path: PathBuf,
    pub mode: WorkspaceMode,
}

/// Upper bounds on what a sandbox may use; `None` means no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ResourceLimits {
    /// Cores, e.g. 1.5.
    pub cpus: Option<f64>,
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Graphics processors; `None` means none.
    pub gpus: Option<Gpus>,
}

/// Graphics processors of the machine that a sandbox may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gpus {
    All,
    /// So many, of the driver's choice; at least 1.
    Count(u32),
}

impl Gpus {
    /// `all`, or a number that some machine can have.
    pub fn from_word(text: &str) -> Option<Self> {
        match text {
            "all" => Some(Self::All),
            _ => text.parse().ok().and_then(Self::count),
        }
    }

    /// So many; `None` = no machine has that many, or it is none at all.
    pub fn count(number: u32) -> Option<Self> {
        (1..=GPUS_MAX).contains(&number).then_some(Self::Count(number))
    }
}

/// Everything `run` asks for. Validated once, at the edge (`wire::convert`, `cli`).
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxSpec {
    /// Wanted name; `None` lets the hub choose one from the command or workspace.
    pub name: Option<String>,
    pub driver: String,
    /// `None` is `auto`: the strongest the driver has by default.
    pub isolation: Option<Isolation>,
    pub image: Option<String>,
    pub workspace: Workspace,
    pub egress: Egress,
    /// `HOST` or `HOST:PORT`, always allowed out.
    pub allow: Vec<String>,
    pub limits: ResourceLimits,
    /// Extra environment of every session; never the operator's own.
    pub env: Vec<(String, String)>,
    /// Removed this long after creation; `None` = never.
    pub ttl: Option<Duration>,
    pub labels: BTreeMap<String, String>,
    /// Keep a recording of every session.
    pub record: bool,
    /// Remove the sandbox when its first session ends.
    pub remove_on_exit: bool,
    /// The first session.
    pub first: SessionSpec,
    /// Where a driver on this machine looks for the operator's programs: the PATH of who asks, absolute
    /// entries, the first wins. Empty = the hub's own.
    pub search_path: Vec<PathBuf>,
    /// Files to begin with instead of the driver's own.
    pub from: Option<SnapshotId>,
    /// It begins with the running programs of that too, and starts none.
    pub awake: bool,
    /// A snapshot is taken by itself this often while programs run; `None` = never.
    pub snapshot_every: Option<Duration>,
    /// Credentials that its programs use and never see, and where each goes.
    pub secrets: Vec<SecretUse>,
    /// Their values, on the way to whoever puts them in. They are kept and sent on with nothing of the above.
    pub given: Vec<Given>,
}

impl SandboxSpec {
    /// Asks for nothing beyond that.
    pub fn bare(driver: &str, workspace: Workspace) -> Self {
        Self {
            name: None,
            driver: driver.to_owned(),
            isolation: None,
            image: None,
            workspace,
            egress: Egress::Deny,
            allow: Vec::new(),
            limits: ResourceLimits::default(),
            env: Vec::new(),
            ttl: None,
            labels: BTreeMap::new(),
            record: false,
            remove_on_exit: false,
            first: SessionSpec {
                command: Vec::new(),
                cwd: None,
                env: Vec::new(),
                size: Size::DEFAULT,
            },
            search_path: Vec::new(),
            from: None,
            awake: false,
            snapshot_every: None,
            secrets: Vec::new(),
            given: Vec::new(),
        }
    }
}

/// Tells whether a sandbox may have this name: 1 to 63 of `a-z 0-9 -`, not starting with a dash. It is a word
/// in commands, and `/` parts it from a session's ordinal.
pub fn is_name(name: &str) -> bool {
    let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    fits && name.bytes().all(plain) && !name.starts_with('-')
}

/// One sandbox as every console sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sandbox {
    pub id: SandboxId,
    pub name: String,
    pub driver: String,
    pub state: State,
    /// The driver's own word for the state; `None` when it has none.
    pub raw_state: Option<String>,
    /// Grade really in force; `None` until known.
    pub isolation: Option<Isolation>,
    pub created_at: Timestamp,
    pub labels: BTreeMap<String, String>,
    pub workspace: Workspace,
    pub egress: Egress,
    pub limits: ResourceLimits,
    pub capabilities: Capabilities,
    /// Oldest first; the first has ordinal 1.
    pub sessions: Vec<Session>,
    /// What waits for a person, oldest first.
    pub asks: Vec<Ask>,
    /// What a person should know: why it failed, what was asked for but is not in force. `told` has more.
    pub notes: Vec<String>,
    /// Somebody asked for its end: how its programs ended says nothing about them.
    pub stop_asked: bool,
    /// Snapshots of it that are kept.
    pub snapshots: u32,
    /// The moment it goes on from: its newest snapshot, or what it was restored to or forked from.
    pub moment: Option<SnapshotId>,
    /// How many times its changes were written to the real directory, or taken back.
    pub writes: u32,
}

impl Sandbox {
    /// All that a person should know: its notes, and how the agents in it ask.
    pub fn told(&self) -> Vec<String> {
        let asking = self.sessions.iter().filter_map(|it| it.asking_note(&self.name));
        self.notes.iter().cloned().chain(asking).collect()
    }
}
