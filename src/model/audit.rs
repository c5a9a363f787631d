//! The audit record: who did what to what, one entry after the other, each holding the hash of the one before.

use std::{collections::BTreeMap, fmt};

use super::sandbox::words;
use crate::base::{
    clock::Timestamp,
    limits::{AUDIT_DETAILS_MAX, AUDIT_LIST_BYTES_MAX, AUDIT_TEXT_BYTES_MAX},
    text::cut,
};

words! {
    /// What was done.
    Action {
        /// A hub began.
        HubStarted = "hub.started",
        /// A program asked, and a person has to answer.
        AskAsked = "ask.asked",
        AskAllowed = "ask.allowed",
        AskDenied = "ask.denied",
        /// Nobody answered in time, which denied it.
        AskExpired = "ask.expired",
        /// Who asked waited no more.
        AskWithdrawn = "ask.withdrawn",
        /// An answer that held on was taken back.
        AskRevoked = "ask.revoked",
        /// What went out of a sandbox, or did not, without a person.
        EgressAllowed = "egress.allowed",
        EgressDenied = "egress.denied",
        /// Other rules are in force.
        PolicyChanged = "policy.changed",
        /// Rules that can't be read changed nothing.
        PolicyRefused = "policy.refused",
        /// Somebody stepped in.
        KeyboardTaken = "keyboard.taken",
        /// The same, while somebody else had it.
        KeyboardTakenOver = "keyboard.taken_over",
        KeyboardGivenBack = "keyboard.given_back",
        /// A line was typed into it from outside, by somebody who did not step in.
        KeyboardLineSent = "keyboard.line_sent",
        /// The same, an interrupt.
        KeyboardInterrupted = "keyboard.interrupted",
        SandboxCreated = "sandbox.created",
        SandboxAdopted = "sandbox.adopted",
        SandboxForked = "sandbox.forked",
        SandboxPaused = "sandbox.paused",
        SandboxResumed = "sandbox.resumed",
        SandboxStopped = "sandbox.stopped",
        SandboxRestored = "sandbox.restored",
        SandboxRemoved = "sandbox.removed",
        SecretsGiven = "secrets.given",
        SnapshotTaken = "snapshot.taken",
        SnapshotRemoved = "snapshot.removed",
        /// Changes were written to the real directory.
        WorkspaceApplied = "workspace.applied",
        /// What was written last was taken back.
        WorkspaceTakenBack = "workspace.taken_back",
        /// A program was told to run on a terminal of its own.
        SessionOpened = "session.opened",
        /// A program was told to run without one.
        ProgramRun = "program.run",
        /// The system calls of a process were looked at.
        SyscallsWatched = "syscalls.watched",
        /// A file or directory was written from outside.
        FileWritten = "file.written",
        RecordingRemoved = "recording.removed",
        /// Somebody is to come from elsewhere.
        MemberInvited = "member.invited",
        InviteWithdrawn = "invite.withdrawn",
        /// They came, and have a certificate.
        MemberEnrolled = "member.enrolled",
        CertificateRenewed = "certificate.renewed",
        MemberRoleChanged = "member.role_changed",
        MemberRevoked = "member.revoked",
        /// A client wanted what its role does not include, or too much of it.
        CallRefused = "call.refused",
        /// A connection from elsewhere was not let in.
        ConnectionRefused = "connection.refused",
    }
}

/// One detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(u64),
    List(Vec<String>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(bounded(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// Whole texts as long as they fit, the last one cut.
impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        let (mut left, mut kept) = (AUDIT_LIST_BYTES_MAX, Vec::new());
        for text in texts {
            if text.len() >= left {
                kept.push(format!("{}…", cut(&text, left)));
                break;
            }
            left -= text.len() + 1;
            kept.push(text);
        }
        Self::List(kept)
    }
}

/// What an entry tells, before it has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub at: Timestamp,
    /// Who, for people. `from` in the details is where they were, and no name can pretend that.
    pub actor: String,
    /// The word of an `Action`, or of one that only a newer version knows.
    pub action: String,
    /// What it was done to.
    pub subject: String,
    pub details: BTreeMap<String, Value>,
}

impl Act {
    /// Texts that are too long are cut, and end in `…`.
    pub fn new(at: Timestamp, actor: &str, action: Action, subject: &str) -> Self {
        Self {
            at,
            actor: bounded(actor),
            action: action.word().to_owned(),
            subject: bounded(subject),
            details: BTreeMap::new(),
        }
    }

    /// The same with one more detail; beyond the bound there is none.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        if self.details.len() < AUDIT_DETAILS_MAX {
            self.details.insert(key.to_owned(), value.into());
        }
        self
    }

    /// The same with a detail that need not be there.
    #[must_use]
    pub fn with_any(self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// A detail that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.details.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether it is about the sandbox of this name or id.
    pub fn is_about(&self, sandbox: &str) -> bool {
        ["sandbox", "sandbox_id"].iter().any(|it| self.text(it) == Some(sandbox))
    }
}

fn bounded(text: &str) -> String {
    if text.len() <= AUDIT_TEXT_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", cut(text, AUDIT_TEXT_BYTES_MAX - '…'.len_utf8()))
}

/// One entry of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place: the first is 1, and there are no gaps. Signed, so that what somebody forged can be named.
    pub seq: i64,
    pub act: Act,
    /// The hash of the one before, in hex; of the first, 64 zeros.
    pub prev: String,
    /// Of its place, all that it tells, and `prev`, in hex.
    pub hash: String,
}

/// The last entry. Who keeps it elsewhere finds out later whether anything up to it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// 0 = there is none yet.
    pub seq: i64,
    pub hash: String,
}

/// What the first entry has in place of the hash of the one before.
pub const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Head {
    /// Of a record with nothing in it.
    pub fn none() -> Self {
        Self { seq: 0, hash: NO_HASH.to_owned() }
    }

    /// Reads what `Display` writes: `SEQ:HASH`.
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, hash) = text.split_once(':')?;
        let seq = seq.parse().ok().filter(|it| *it >= 0)?;
        let hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        let fits = hash.len() == NO_HASH.len() && hash.bytes().all(hex);
        fits.then(|| Self { seq, hash: hash.to_owned() })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// Which entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditRequest {
    /// The newest so many of those that are meant; `None` = all.
    pub newest: Option<u32>,
    pub since: Option<Timestamp>,
    /// Those about the sandbox of this name or id.
    pub sandbox: Option<String>,
}

impl AuditRequest {
    pub fn means(&self, act: &Act) -> bool {
        self.since.is_none_or(|it| act.at >= it)
            && self.sandbox.as_ref().is_none_or(|it| act.is_about(it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "é".repeat(AUDIT_TEXT_BYTES_MAX);
        let mut act = Act::new(Timestamp(1), &long, Action::ProgramRun, &long);
        for key in std::iter::repeat_n("k", 3) {
            act = act.with(key, long.as_str());
        }
        for text in [act.actor.as_str(), &act.subject, act.text("k").unwrap()] {
            assert!(text.len() <= AUDIT_TEXT_BYTES_MAX && text.ends_with('…'), "{}", text.len());
        }
        let list = Value::from(vec!["a".to_owned(), "x".repeat(2 * AUDIT_LIST_BYTES_MAX)]);
        let Value::List(list) = list else { panic!("{list:?}") };
        assert!(list.len() == 2 && list[1].ends_with('…'));
        assert!(list[1].len() <= AUDIT_LIST_BYTES_MAX + 3);
        assert_eq!(Value::from(vec!["a".repeat(10); 3]), Value::List(vec!["a".repeat(10); 3]));
    }
}
