//! One row of the fleet: a sandbox and its mark, which says at a glance how it is.

use std::sync::Arc;

use crate::{
    base::{
        clock::Timestamp,
        id::{HubNumber, SessionId},
    },
    model::{
        sandbox::{Sandbox, State},
        session::{ExitStatus, Session, Status},
    },
};

/// What a row says at a glance. Marks differ in shape, not only in colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    Asks,
    /// It rang the bell or sent a notification that nobody has looked at since.
    Calls,
    Stuck,
    Failed,
    Working,
    Idle,
    Paused,
    Done,
    Unknown,
}

impl Mark {
    pub const ALL: &[Self] = &[
        Self::Asks,
        Self::Calls,
        Self::Stuck,
        Self::Failed,
        Self::Working,
        Self::Idle,
        Self::Paused,
        Self::Done,
        Self::Unknown,
    ];

    pub fn sign(self) -> char {
        match self {
            Self::Asks => '!',
            Self::Calls => '^',
            Self::Stuck => '~',
            Self::Failed => 'x',
            Self::Working => '*',
            Self::Idle => '.',
            Self::Paused => '=',
            Self::Done => '+',
            Self::Unknown => '?',
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Asks => "asks",
            Self::Calls => "calls",
            Self::Stuck => "stuck",
            Self::Failed => "failed",
            Self::Working => "working",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Unknown => "unknown",
        }
    }

    /// What it says, where it is explained.
    pub fn means(self) -> &'static str {
        match self {
            Self::Asks => "asks: waits for your answer",
            Self::Calls => "calls: rang or sent a notification",
            Self::Stuck => "stuck: does not get on by itself",
            Self::Failed => "failed",
            Self::Working => "working",
            Self::Idle => "idle: has nothing to do",
            Self::Paused => "paused",
            Self::Done => "done or stopped",
            Self::Unknown => "unknown: nothing tells",
        }
    }

    /// Whether a person should look.
    pub fn needs_someone(self) -> bool {
        matches!(self, Self::Asks | Self::Calls | Self::Stuck | Self::Failed)
    }

    /// The mark of one session, as long as its sandbox runs.
    fn of_session(session: &Session) -> Self {
        match (session.status, session.exit) {
            (Status::Waiting, _) => Self::Asks,
            (Status::Stuck, _) => Self::Stuck,
            (Status::Starting | Status::Working, _) => Self::Working,
            (Status::Idle, _) => Self::Idle,
            (Status::Exited, Some(ExitStatus::Code(0))) => Self::Done,
            // A shell ends with the code of the last command typed into it.
            (Status::Exited, Some(ExitStatus::Code(_))) if session.command.is_empty() => Self::Done,
            (Status::Exited, Some(_)) => Self::Failed,
            (Status::Exited, None) | (Status::Unknown, _) => Self::Unknown,
        }
    }

    fn of(sandbox: &Sandbox) -> Self {
        let alive = sandbox.sessions.iter().filter(|it| it.status != Status::Exited);
        match sandbox.state {
            _ if !sandbox.asks.is_empty() => Self::Asks,
            State::Creating => Self::Working,
            State::Paused => Self::Paused,
            State::Failed | State::Gone => Self::Failed,
            State::Unknown => Self::Unknown,
            State::Running => {
                alive.map(Self::of_session).min().unwrap_or_else(|| Self::of_end(sandbox))
            }
            State::Stopped => Self::of_end(sandbox),
        }
    }

    /// How the program ended that the sandbox was made for; what somebody stopped did not fail.
    fn of_end(sandbox: &Sandbox) -> Self {
        match sandbox.sessions.first() {
            _ if sandbox.stop_asked => Self::Done,
            Some(first) if first.status == Status::Exited => Self::of_session(first),
            _ if sandbox.state == State::Stopped => Self::Done,
            _ => Self::Unknown,
        }
    }
}

/// One sandbox in the list.
#[derive(Clone, Debug)]
pub struct Row {
    pub sandbox: Arc<Sandbox>,
    pub marked: bool,
    /// The session that called last, as long as nobody has looked at it.
    called: Option<SessionId>,
    mark: Mark,
    haystack: String,
    /// The hub it is of, where there is more than one.
    context: Option<Arc<str>>,
}

/// Adds a text in lower case; nearly all there is takes no memory of its own meanwhile.
fn push_lower(to: &mut String, text: &str) {
    if text.is_ascii() {
        let start = to.len();
        to.push_str(text);
        if let Some(added) = to.get_mut(start..) {
            added.make_ascii_lowercase();
        }
    } else {
        to.push_str(&text.to_lowercase());
    }
}

impl Row {
    pub(super) fn new(sandbox: Arc<Sandbox>, marked: bool, called: Option<SessionId>) -> Self {
        let alive = |id: &SessionId| {
            sandbox.sessions.iter().any(|it| it.id == *id && it.status != Status::Exited)
        };
        let called = called.filter(alive);
        let mark = match Mark::of(&sandbox) {
            it @ (Mark::Working | Mark::Idle) if called.is_some() => it.min(Mark::Calls),
            it => it,
        };
        let words = sandbox.sessions.iter().flat_map(|it| &it.command).map(|it| it.len() + 1);
        let labels = sandbox.labels.iter().map(|it| it.0.len() + it.1.len() + 2);
        let room = sandbox.name.len() + words.chain(labels).sum::<usize>();
        let mut haystack = String::with_capacity(room);
        push_lower(&mut haystack, &sandbox.name);
        for session in &sandbox.sessions {
            for word in &session.command {
                haystack.push('\0');
                push_lower(&mut haystack, word);
            }
        }
        for (name, value) in &sandbox.labels {
            haystack.push('\0');
            push_lower(&mut haystack, name);
            haystack.push('=');
            push_lower(&mut haystack, value);
        }
        Self { sandbox, marked, called, mark, haystack, context: None }
    }

    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The mark of one of its sessions.
    pub fn mark_of(&self, session: &Session) -> Mark {
        match self.mark {
            Mark::Paused | Mark::Unknown => self.mark,
            _ if self.sandbox.stop_asked && session.status == Status::Exited => Mark::Done,
            _ if self.called.as_ref() == Some(&session.id) => Mark::Calls,
            _ => Mark::of_session(session),
        }
    }

    /// The hub it is of, where there is more than one.
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    pub(super) fn set_context(&mut self, name: Option<Arc<str>>) {
        self.context = name;
    }

    /// What its own hub calls it, for where that hub is named beside it.
    pub fn own_name(&self) -> &str {
        let name = self.sandbox.name.as_str();
        let own = self.context().and_then(|it| name.strip_suffix(it)?.strip_suffix('@'));
        own.filter(|_| self.sandbox.id.hub() != HubNumber::FIRST).unwrap_or(name)
    }

    /// Lower-case text that plain filter words look into.
    pub fn haystack(&self) -> &str {
        &self.haystack
    }

    /// The session to look at first: the one that needs someone most, else the first alive.
    pub fn leading(&self) -> Option<&Session> {
        let sessions = &self.sandbox.sessions;
        let alive = sessions.iter().filter(|it| it.status != Status::Exited);
        let calls = |it: &Session| self.called.as_ref() != Some(&it.id);
        alive.min_by_key(|it| (calls(it), Mark::of_session(it), it.ordinal)).or(sessions.first())
    }

    /// The session that called, and that nobody has looked at since.
    pub fn called(&self) -> Option<&SessionId> {
        self.called.as_ref()
    }

    pub(super) fn set_called(&mut self, session: Option<SessionId>) {
        self.called = session;
    }

    /// Whether it is stopped and its first command can be started again.
    pub fn is_startable(&self) -> bool {
        let can = self.sandbox.capabilities;
        self.sandbox.state == State::Stopped && (can.snapshot || can.start)
    }

    /// Whether a program of it prints just now, or it is being made.
    pub fn prints(&self) -> bool {
        let working = |it: &Session| matches!(it.status, Status::Working | Status::Starting);
        match self.sandbox.state {
            State::Running => self.leading().is_some_and(working),
            other => other == State::Creating,
        }
    }

    /// Whether it looks the same with this in place of what it has: the counters of what prints don't show.
    pub fn looks_like(&self, other: &Sandbox) -> bool {
        let mut like = Sandbox::clone(&self.sandbox);
        for (one, other) in like.sessions.iter_mut().zip(&other.sessions) {
            one.output_bytes = other.output_bytes;
            one.journal_lost_bytes = other.journal_lost_bytes;
            one.status_why.clone_from(&other.status_why);
            if one.status == Status::Working {
                one.last_output_at = other.last_output_at;
                one.status_since = other.status_since;
            }
            if let (Some(one), Some(other)) = (&mut one.lease, &other.lease) {
                one.used_at = other.used_at;
            }
        }
        like == *other
    }

    /// When it last printed or ended: what a list shows beside it. `None` while it prints, and where
    /// nothing is known of it.
    pub fn last_sign(&self) -> Option<Timestamp> {
        let session = self.leading().filter(|_| !self.prints())?;
        Some(session.since())
    }
}
