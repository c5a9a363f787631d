//! A session: one program on one PTY inside a sandbox.

use super::sandbox::words;
use crate::base::{
    clock::Timestamp,
    id::{ClientId, SandboxId, SessionId},
    units::Size,
};

words! {
    /// What the program does, as far as somebody can tell; `model::status` says how that is decided.
    Status {
        Starting = "starting",
        Working = "working",
        /// Waits for a person.
        Waiting = "waiting",
        Idle = "idle",
        Stuck = "stuck",
        Exited = "exited",
        /// Nobody can tell: nothing is known but that it is silent.
        Unknown = "unknown",
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl ExitStatus {
    /// The exit code a shell would show: 128+N for a signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// Program and arguments; empty = the sandbox's shell.
    pub command: Vec<String>,
    /// Absolute path inside; `None` = the workspace.
    pub cwd: Option<String>,
    /// Added to the sandbox's environment.
    pub env: Vec<(String, String)>,
    pub size: Size,
}

/// Who may type into a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub holder: ClientId,
    /// A name for people, e.g. `alice@laptop`.
    pub holder_name: String,
    pub since: Timestamp,
    /// Last key; the lease returns by itself after `limits::LEASE_IDLE` without one.
    pub used_at: Timestamp,
}

/// Whether what the agent in a session asks comes to whoever supervises it, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    pub reaches: bool,
    /// How that is known, or why it does not; one line.
    pub why: String,
}

/// One session as every console sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub sandbox: SandboxId,
    /// 1 for a sandbox's first session.
    pub ordinal: u32,
    pub command: Vec<String>,
    pub status: Status,
    /// What `status` stands on, one line.
    pub status_why: String,
    /// It is so since then; `None` = nothing is known.
    pub status_since: Option<Timestamp>,
    /// Process id as the host sees it; `None` where there is none to see.
    pub pid: Option<u32>,
    pub size: Size,
    /// Last title the program set, made safe to show.
    pub title: Option<String>,
    pub started_at: Timestamp,
    pub exit: Option<ExitStatus>,
    pub exited_at: Option<Timestamp>,
    pub lease: Option<Lease>,
    /// Bytes the program has printed so far.
    pub output_bytes: u64,
    pub last_output_at: Option<Timestamp>,
    /// Bytes that could not be journalled (full disk); 0 is the rule.
    pub journal_lost_bytes: u64,
    /// Bells since the start.
    pub bells: u64,
    pub recording: bool,
    /// `None` = no agent runs in it that is known as one, or it is too early to say.
    pub asking: Option<Asking>,
}

impl Session {
    /// The name a person types: the sandbox's for the first session, `name/2` for the second.
    pub fn name(&self, sandbox_name: &str) -> String {
        match self.ordinal {
            1 => sandbox_name.to_owned(),
            it => format!("{sandbox_name}/{it}"),
        }
    }

    /// How its agent asks, while it runs.
    pub fn asks_now(&self) -> Option<&Asking> {
        self.asking.as_ref().filter(|_| self.exit.is_none())
    }

    /// What a person should know of that.
    pub fn asking_note(&self, sandbox_name: &str) -> Option<String> {
        let asking = self.asks_now()?;
        let what = if asking.reaches { "asks reach us" } else { "asks are NOT reaching us" };
        Some(format!("{what}: {}: {}", self.name(sandbox_name), asking.why))
    }

    /// Whether its agent asks elsewhere, or nobody.
    pub fn asks_elsewhere(&self) -> bool {
        self.asks_now().is_some_and(|it| !it.reaches)
    }

    /// The name of the program that was started, without its path; `None` = the sandbox's shell.
    pub fn program(&self) -> Option<String> {
        let name = self.command.first()?.rsplit('/').next()?;
        Some(name.to_owned()).filter(|it| !it.is_empty())
    }

    /// Since when it is as it is; where that is not known, its last sign.
    pub fn since(&self) -> Timestamp {
        self.exited_at.or(self.status_since).unwrap_or_else(|| self.last_sign())
    }

    /// When it last printed or ended; when it started, if it never did.
    pub fn last_sign(&self) -> Timestamp {
        self.exited_at.or(self.last_output_at).unwrap_or(self.started_at)
    }
}
