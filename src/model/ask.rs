//! An ask: something that a program in a sandbox may only do if a person says so, and what was said.

use super::{rule::RuleName, sandbox::words};
use crate::base::{
    clock::Timestamp,
    id::{AskId, SandboxId, SessionId, SnapshotId},
};

/// How long an answer for an hour holds.
const HOUR_MS: i64 = 3_600_000;

words! {
    /// What it is about.
    AskKind {
        /// A command to be run.
        Exec = "exec",
        /// A file to be written.
        File = "file",
        /// A connection to be made.
        Network = "network",
        /// A secret to be used.
        Credential = "credential",
        /// A call of a tool that is none of these.
        Tool = "tool",
        /// More rights from now on.
        Grant = "grant",
        /// A question to a person.
        Question = "question",
    }
}

words! {
    /// How far it is.
    AskState {
        /// The program waits for an answer.
        Pending = "pending",
        Allowed = "allowed",
        Denied = "denied",
        /// Nobody answered in time, which denied it.
        Expired = "expired",
        /// Who asked waits no more: it went away, was answered elsewhere, or has ended.
        Withdrawn = "withdrawn",
    }
}

words! {
    Verdict {
        Allow = "allow",
        Deny = "deny",
    }
}

words! {
    /// For what else an answer holds.
    Scope {
        /// For this ask alone.
        Once = "once",
        /// For the very same ask of the same sandbox, as long as the sandbox is there.
        Session = "session",
        /// The same for an hour.
        Hour = "1h",
        /// For all that a rule matches, which is made of it, in the sandboxes on the same workspace directory.
        Project = "project",
        /// The same in every sandbox.
        Always = "always",
    }
}

impl Scope {
    /// Until when an answer given at that time answers the very same as well; `None` = as long as the sandbox is there.
    pub fn until(self, at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once => Some(at),
            Self::Session | Self::Project | Self::Always => None,
            Self::Hour => Some(Timestamp(at.0.saturating_add(HOUR_MS))),
        }
    }

    /// Whether it is a rule that answers from then on, and no answer of before.
    pub fn is_rule(self) -> bool {
        matches!(self, Self::Project | Self::Always)
    }

    /// Whether it does now. A clock that was set back makes none last longer.
    pub fn holds(self, at: Timestamp, now: Timestamp) -> bool {
        self.until(at).is_none_or(|it| at <= now && now < it)
    }
}

words! {
    /// How much is at stake, as far as can be told from the request.
    RiskLevel {
        Low = "low",
        Medium = "medium",
        High = "high",
    }
}

/// What may go wrong, told from the request alone: it says what to look at, and never that it is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Risk {
    pub level: RiskLevel,
    /// In words, the gravest first.
    pub findings: Vec<String>,
}

/// What is wanted, in the words of who asks. All of it is a program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub kind: AskKind,
    /// What it is about, byte for byte: a command, a path, a host and port, a name.
    pub subject: String,
    /// What else belongs to it: names and values.
    pub details: Vec<(String, String)>,
    /// Why, as the agent says.
    pub reason: Option<String>,
    /// Which agent asks, as it says.
    pub agent: Option<String>,
}

impl Request {
    /// What is there to be looked through.
    pub fn bytes(&self) -> usize {
        let details: usize = self.details.iter().map(|(key, value)| key.len() + value.len()).sum();
        let said =
            [&self.reason, &self.agent].into_iter().flatten().map(String::len).sum::<usize>();
        self.subject.len() + details + said
    }
}

/// A request that waits, as the host of its sandbox tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub id: AskId,
    pub request: Request,
    /// The session that it comes from, as the system says; `None` = from no session's program.
    pub session: Option<SessionId>,
    pub created_at: Timestamp,
    /// It is denied then, whoever is there.
    pub deadline_at: Timestamp,
    /// How many ask for the very same; at least 1.
    pub askers: u32,
    /// What the host knows of it beside the request: names, and values that are the sandbox's own words.
    pub about: Vec<(String, String)>,
    /// Who asks can do what is allowed in other words than those it asked in.
    pub editable: bool,
}

/// An ask as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub asked: Asked,
    pub sandbox: SandboxId,
    /// As the sandbox was called then.
    pub sandbox_name: String,
    /// Of all that is asked for; who answers names it, and so answers what was shown.
    pub digest: String,
    pub risk: Risk,
    pub state: AskState,
    /// `None` while it waits, and when nobody decided.
    pub decision: Option<Decision>,
}

/// What a person decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub verdict: Verdict,
    pub scope: Scope,
    /// For the agent.
    pub message: Option<String>,
}

/// An answer with all that goes along with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub answer: Answer,
    /// What is allowed in place of what was asked for; `None` = just that.
    pub edit: Option<String>,
    /// The rule that is made of it, as text, where the scope is one of a rule; `None` = the one that is proposed.
    pub rule: Option<String>,
    /// The moment is kept first, and nothing is allowed if it can't be.
    pub snapshot: bool,
}

impl From<Answer> for Choice {
    fn from(answer: Answer) -> Self {
        Self { answer, edit: None, rule: None, snapshot: false }
    }
}

/// What came along with an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Besides {
    /// What was allowed in place of what was asked for.
    pub edit: Option<String>,
    /// The rule that was made.
    pub rule: Option<Made>,
    /// The snapshot that was taken first.
    pub snapshot: Option<SnapshotId>,
}

/// A rule that was made of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub name: RuleName,
    /// Its hash as it was made, by which it is known again, in lower hexadecimal digits; `None` = nobody kept it, so that
    /// no rule is known as the one that was made.
    pub sha256: Option<String>,
}

/// An answer, and whose it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub answer: Answer,
    /// For people.
    pub by: String,
    pub at: Timestamp,
    pub waited_ms: u64,
    /// How often it has answered since, where it holds on.
    pub uses: u64,
    /// Who took it back, so that it holds no more.
    pub revoked: Option<Revoked>,
    pub besides: Besides,
}

/// An answer that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// For people.
    pub by: String,
    pub at: Timestamp,
}

impl Decision {
    pub fn new(answer: Answer, by: String, at: Timestamp, waited_ms: u64) -> Self {
        Self { answer, by, at, waited_ms, uses: 0, revoked: None, besides: Besides::default() }
    }

    /// Whether it answers the very same now.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.answer.scope.holds(self.at, now)
    }
}
