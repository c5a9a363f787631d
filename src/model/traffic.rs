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
    /// Connections that waited for their turn, for too many began at once.
    pub waited: u64,
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

/// What a way out has not told, or is not known to have told, for when it can't tell it any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuledKept {
    /// What was told last, with its number; nothing in it = it is known to have arrived, or nothing was told yet.
    pub told: RuledPart,
    /// All that would come behind it. These have no numbers.
    pub later: Vec<RuledPart>,
}

impl RuledKept {
    /// What of it is new to who has all up to this number of this way out, as one part; `None` = nothing, or it is from
    /// before what they have. Whoever has taken it finds nothing in it the next time.
    pub fn new_to(self, (gate, number): (u64, u64)) -> Option<RuledPart> {
        let RuledKept { told, later } = self;
        let mut new = RuledPart {
            gate: told.gate,
            number: told.number.checked_add(1)?,
            ..RuledPart::default()
        };
        let known = gate == told.gate;
        if known && number > told.number {
            return None;
        }
        let told = Some(told).filter(|it| !(known && number == it.number));
        for part in told.into_iter().chain(later) {
            new.ruled.extend(part.ruled);
            new.left_out.0 = new.left_out.0.saturating_add(part.left_out.0);
            new.left_out.1 = new.left_out.1.saturating_add(part.left_out.1);
        }
        (!new.ruled.is_empty()).then_some(new)
    }
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
        if self.waited > 0 {
            words.push(format!("{} waited for a turn", self.waited));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_new_once_to_who_has_less_and_never_to_who_has_more() {
        let part = |number, count| {
            let ruled = Ruled {
                place: "a.example:80".to_owned(),
                program: None,
                verdict: Verdict::Allow,
                standing: false,
                rules: Vec::new(),
                why: String::new(),
                count,
                first_at: Timestamp(1),
                last_at: Timestamp(2),
            };
            RuledPart { gate: 7, number, ruled: vec![ruled], left_out: (1, 2) }
        };
        let kept = RuledKept { told: part(3, 10), later: vec![part(0, 20), part(0, 30)] };
        let counts = |have| {
            let new = kept.clone().new_to(have)?;
            Some((
                new.number,
                new.ruled.iter().map(|it| it.count).collect::<Vec<_>>(),
                new.left_out,
            ))
        };
        assert_eq!(counts((7, 2)), Some((4, vec![10, 20, 30], (3, 6))));
        assert_eq!(counts((7, 3)), Some((4, vec![20, 30], (2, 4))));
        assert_eq!(counts((7, 4)), None);
        assert_eq!(counts((0, 0)), Some((4, vec![10, 20, 30], (3, 6))));
        assert_eq!(RuledKept::default().new_to((0, 0)), None);
    }
}
