//! Rules as people see them: where one is kept, how often it answered, and what a new one would do.

use std::path::PathBuf;

use super::{
    ask::{AskKind, AskState, Choice, Risk},
    sandbox::words,
};
use crate::base::{
    clock::Timestamp,
    id::{AskId, SandboxId},
};

words! {
    /// What a rule says, the strictest first.
    Ruling {
        Deny = "deny",
        Ask = "ask",
        Allow = "allow",
    }
}

/// For which sandboxes a rule is, and so in which file it is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// All of them: `policy.toml`.
    All,
    /// Those on this workspace directory. The file is the operator's, and not in that directory.
    Project(PathBuf),
}

/// Bytes of the id of a rule, at most.
pub const ID_BYTES_MAX: usize = 40;

/// Whether a text may be the id of a rule.
pub fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
}

/// Names one rule of all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    pub id: String,
    pub domain: Domain,
}

/// A rule in force, or over by its own time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRule {
    pub name: RuleName,
    /// The file that it is in.
    pub file: String,
    pub ruling: Ruling,
    /// What it is about, e.g. `command cargo test`.
    pub about: String,
    pub why: String,
    /// It holds until then; `None` = for good.
    pub until: Option<Timestamp>,
    /// How often it answered, and when last; what is not known is 0 and `None`.
    pub hits: u64,
    pub last_at: Option<Timestamp>,
}

/// All rules there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rulebook {
    /// In the order of their files.
    pub rules: Vec<KnownRule>,
    /// Files that can't be read or understood, and why.
    pub wrong: Vec<String>,
}

/// What somebody wants to know before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What this answer would do beside answering.
    Answer { ask: AskId, digest: String, choice: Choice },
    /// What these rules would do.
    Rules { text: String, domain: Domain },
    /// What a rule that is there does.
    Rule(RuleName),
}

/// What it would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// Of the other words in which something is allowed.
    pub risk: Option<Risk>,
    /// What rules say of them.
    pub notes: Vec<String>,
    /// The rules that would be made.
    pub drafts: Vec<Draft>,
}

/// A rule that is to be made, or is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub name: RuleName,
    /// Where it is written, or would be.
    pub file: String,
    /// In one line, to be edited.
    pub line: String,
    /// As it is written.
    pub text: String,
    /// What to think of before.
    pub notes: Vec<String>,
    /// Why it can't be made.
    pub refused: Option<String>,
    pub reach: Reach,
}

/// What of the record a rule answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// How many asks that have ended were looked at, the newest.
    pub looked_at: u32,
    /// Of those it matches: allowed, denied, and neither.
    pub allowed: u32,
    pub denied: u32,
    pub other: u32,
    /// The newest of them; bounded.
    pub matched: Vec<Match>,
}

impl Reach {
    pub fn count(&self) -> u32 {
        self.allowed.saturating_add(self.denied).saturating_add(self.other)
    }

    /// In a line.
    pub fn words(&self) -> String {
        let asks = match self.looked_at {
            0 => return "nothing was asked yet that it could have matched".to_owned(),
            1 => "the last ask".to_owned(),
            many => format!("the last {many} asks"),
        };
        match self.count() {
            0 => format!("of {asks} it would have matched none"),
            many => format!(
                "of {asks} it would have matched {many}: {} allowed, {} denied, {} not decided",
                self.allowed, self.denied, self.other
            ),
        }
    }
}

/// An ask that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pub ask: AskId,
    pub sandbox: SandboxId,
    pub sandbox_name: String,
    pub kind: AskKind,
    /// Safe to show, and cut.
    pub subject: String,
    pub state: AskState,
    /// Who decided; empty = nobody.
    pub by: String,
    pub at: Timestamp,
}
