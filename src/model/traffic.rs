//! What went out of a sandbox, or was kept from it.

use super::{ask::Verdict, sandbox::words};
use crate::base::{clock::Timestamp, text::count};

words! {
    /// How a connection stands.
    FlowState {
        /// A person or a rule is asked.
        Asked = "asked",
        /// It was let out, and goes on.
        Open = "open",
        /// It was let out, and has ended.
        Over = "over",
        /// It was kept in.
        Denied = "denied",
        /// It was let out and came to nothing: nobody answers there.
        Failed = "failed",
    }
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Grows with each; never the same in one sandbox.
    pub number: u64,
    pub started_at: Timestamp,
    /// `None` while it goes on.
    pub ended_at: Option<Timestamp>,
    /// `HOST:PORT`, as the program named it.
    pub place: String,
    /// The path of the program's file in the sandbox; `None` = not known.
    pub program: Option<String>,
    pub state: FlowState,
    /// Whose word it is, or what is the matter, for a person.
    pub why: String,
    /// By the program, and to it.
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

/// What there was of it since the sandbox was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The newest first; bounded.
    pub flows: Vec<Flow>,
    /// Connections let out, and kept in.
    pub allowed: u64,
    pub denied: u64,
    /// Of the denied, those of which no record was made: too many at once.
    pub unseen: u64,
    /// Questions for names that were not answered with an address.
    pub names_refused: u64,
    /// Packets that were dropped: of UDP, and of all else but TCP. `None` = can't be told.
    pub dropped: Option<(u64, u64)>,
}

/// What was decided at the way out without a person: of what is alike, all that came since it was told before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    /// `HOST:PORT`, as the program named it.
    pub place: String,
    /// The path of the program's file in the sandbox; `None` = not known.
    pub program: Option<String>,
    pub verdict: Verdict,
    /// An answer of before says so.
    pub standing: bool,
    /// Ids of the rules that say so; none = it is the word of the answer, of what the sandbox was made with, or of the
    /// way out itself.
    pub rules: Vec<String>,
    /// Whose word it is, for a person.
    pub why: String,
    /// How often, at least 1.
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// What a way out tells of that at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuledPart {
    /// Tells it from one before in the same sandbox.
    pub gate: u64,
    /// Grows with each; what has the same number is the same.
    pub number: u64,
    /// None = there is nothing more.
    pub ruled: Vec<Ruled>,
    /// Decisions since the one told before of which nothing is told, for there were too many kinds at once: that let out,
    /// and that kept in.
    pub left_out: (u64, u64),
}

impl Traffic {
    /// What there was in all, in one line.
    pub fn in_words(&self) -> String {
        let mut words = vec![
            format!("{} let out", count(self.allowed, "connection")),
            format!("{} kept in", self.denied),
        ];
        if self.unseen > 0 {
            words.push(format!("{} of them unseen: too many at once", self.unseen));
        }
        if self.names_refused > 0 {
            words.push(format!("{} refused", count(self.names_refused, "odd name lookup")));
        }
        match self.dropped {
            Some((0, 0)) => {}
            Some((udp, other)) => {
                words.push(format!("{} of UDP dropped, {other} of others", count(udp, "packet")));
            }
            None => words.push("dropped packets can't be told".to_owned()),
        }
        words.join(", ")
    }
}
