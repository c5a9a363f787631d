//! What is decided at the way out without a person, kept until the hub has it in its record: of what is alike the first at
//! once, and then from time to time how often. A hub that is away is told when it is there again.

use std::{collections::HashMap, time::Duration};

use crate::{
    base::{
        clock::Timestamp,
        id::random_bytes,
        limits::{GATE_NOTED_EVERY, GATE_NOTED_MAX, GATE_TOLD_MAX},
    },
    model::{
        ask::Verdict,
        traffic::{Ruled, RuledKept, RuledPart},
    },
};

/// Whose word something is, when it is no person's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Word {
    /// For a person.
    pub words: String,
    /// The rules in files that say so.
    pub rules: Vec<String>,
}

impl Word {
    /// Of no rule.
    pub fn own(words: impl Into<String>) -> Self {
        Self { words: words.into(), rules: Vec::new() }
    }

    /// The same with more words behind it.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.words.push_str(more);
        self
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

/// What is alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    pub place: String,
    pub program: Option<String>,
    pub allowed: bool,
    /// An answer of before says so.
    pub standing: bool,
    pub word: Word,
}

impl Kind {
    /// So often, since it was told.
    fn came(&self, often: &Count) -> Ruled {
        Ruled {
            place: self.place.clone(),
            program: self.program.clone(),
            verdict: if self.allowed { Verdict::Allow } else { Verdict::Deny },
            standing: self.standing,
            rules: self.word.rules.clone(),
            why: self.word.words.clone(),
            count: often.count,
            first_at: often.first_at,
            last_at: often.last_at,
        }
    }
}

/// How often it came since it was told.
#[derive(Clone, Debug)]
struct Count {
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    /// `clock::monotonic`; `None` = never.
    told: Option<Duration>,
}

impl Count {
    /// When it is to be told.
    fn due(&self) -> Option<Duration> {
        let next = self.told.map_or(Duration::ZERO, |it| it + GATE_NOTED_EVERY);
        (self.count > 0).then_some(next)
    }
}

/// Of one gate.
#[derive(Debug)]
pub struct Noted {
    gate: u64,
    number: u64,
    kinds: HashMap<Kind, Count>,
    left_out: (u64, u64),
    /// What was told last, as long as the hub has not said that it has it.
    told: Option<RuledPart>,
}

impl Default for Noted {
    fn default() -> Self {
        let gate = u64::from_le_bytes(random_bytes());
        Self { gate, number: 0, kinds: HashMap::new(), left_out: (0, 0), told: None }
    }
}

impl Noted {
    /// Takes note of one. `now` is a `clock::monotonic`, as everywhere here.
    pub fn note(&mut self, kind: Kind, at: Timestamp) {
        if let Some(it) = self.kinds.get_mut(&kind) {
            if it.count == 0 {
                it.first_at = at;
            }
            (it.count, it.last_at) = (it.count.saturating_add(1), at);
            return;
        }
        // Each has room of its own: nobody hides what got out behind much that did not.
        let room = self.kinds.keys().filter(|it| it.allowed == kind.allowed).count();
        if room >= GATE_NOTED_MAX && !self.make_room(kind.allowed) {
            let (allowed, denied) = &mut self.left_out;
            let count = if kind.allowed { allowed } else { denied };
            *count = count.saturating_add(1);
            return;
        }
        self.kinds.insert(kind, Count { count: 1, first_at: at, last_at: at, told: None });
    }

    /// Forgets what was told and did not come again, the longest ago.
    fn make_room(&mut self, allowed: bool) -> bool {
        let told = self.kinds.iter().filter(|it| it.0.allowed == allowed && it.1.count == 0);
        let oldest = told.min_by_key(|it| it.1.told).map(|it| it.0.clone());
        oldest.and_then(|it| self.kinds.remove(&it)).is_some()
    }

    /// When there is something to tell; zero = now, `None` = there is nothing.
    pub fn due(&self) -> Option<Duration> {
        if self.told.is_some() {
            return Some(Duration::ZERO);
        }
        self.kinds.values().filter_map(Count::due).min()
    }

    /// The next part of what is to be told, to who has all up to this number of this gate. What is told and not known to
    /// have arrived is told again, as it was. With `all` nothing is kept for later.
    pub fn tell(&mut self, gate: u64, number: u64, all: bool, now: Duration) -> RuledPart {
        if let Some(told) = &self.told
            && (gate, number) != (self.gate, told.number)
        {
            return told.clone();
        }
        let due = |it: &Count| it.due().is_some_and(|due| all || due <= now);
        let due = self.kinds.iter_mut().filter(|it| due(it.1)).take(GATE_TOLD_MAX);
        let mut ruled: Vec<Ruled> = due
            .map(|(kind, it)| {
                let ruled = kind.came(it);
                (it.told, it.count) = (Some(now), 0);
                ruled
            })
            .collect();
        ruled.sort_by_key(|it| it.first_at);
        if ruled.is_empty() {
            self.told = None;
            return RuledPart { gate: self.gate, number: self.number, ..RuledPart::default() };
        }
        self.number += 1;
        let left_out = std::mem::take(&mut self.left_out);
        let told = RuledPart { gate: self.gate, number: self.number, ruled, left_out };
        self.told = Some(told.clone());
        told
    }

    /// All that is not known to have arrived.
    pub fn kept(&self) -> RuledKept {
        let nothing = RuledPart { gate: self.gate, number: self.number, ..RuledPart::default() };
        let came = self.kinds.iter().filter(|it| it.1.count > 0);
        let mut came: Vec<Ruled> = came.map(|(kind, often)| kind.came(often)).collect();
        came.sort_by_key(|it| it.first_at);
        let parts = came.chunks(GATE_TOLD_MAX);
        let mut later: Vec<RuledPart> =
            parts.map(|it| RuledPart { ruled: it.to_vec(), ..RuledPart::default() }).collect();
        if let Some(first) = later.first_mut() {
            first.left_out = self.left_out;
        }
        RuledKept { told: self.told.clone().unwrap_or(nothing), later }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(place: &str) -> Kind {
        let word = Word { words: "rule x: so".to_owned(), rules: vec!["x".to_owned()] };
        let program = Some("/usr/bin/curl".to_owned());
        Kind { place: place.to_owned(), program, allowed: true, standing: false, word }
    }

    fn second(it: u64) -> Duration {
        Duration::from_secs(it)
    }

    #[test]
    fn what_is_alike_is_told_at_once_and_then_from_time_to_time_with_its_number() {
        let mut noted = Noted::default();
        assert_eq!(noted.due(), None);
        noted.note(kind("a:1"), Timestamp(5));
        noted.note(kind("b:1"), Timestamp(4));
        assert_eq!(noted.due(), Some(Duration::ZERO));
        let told = noted.tell(0, 0, false, second(100));
        let places: Vec<_> = told.ruled.iter().map(|it| (it.place.as_str(), it.count)).collect();
        assert_eq!(places, [("b:1", 1), ("a:1", 1)]);
        for at in 10..1010 {
            noted.note(kind("a:1"), Timestamp(at));
        }
        // It was not heard, or by a hub that was killed before it wrote it down.
        assert_eq!(noted.tell(0, 0, false, second(101)), told);
        assert_eq!(noted.tell(told.gate.wrapping_add(1), 1, false, second(101)), told);
        let counts = |it: &Noted, have| {
            let new = it.kept().new_to(have).map(|it| it.ruled);
            new.unwrap_or_default().iter().map(|it| it.count).collect::<Vec<_>>()
        };
        // Whoever can't ask any more finds all that they do not have.
        assert_eq!(counts(&noted, (0, 0)), [1, 1, 1000]);
        assert_eq!(counts(&noted, (told.gate, told.number)), [1000]);
        let next = noted.tell(told.gate, told.number, false, second(102));
        assert!(next.ruled.is_empty(), "{next:?}");
        assert_eq!(counts(&noted, (told.gate, told.number)), [1000]);
        assert_eq!(noted.due(), Some(second(100) + GATE_NOTED_EVERY));
        let next = noted.tell(told.gate, told.number, false, second(100) + GATE_NOTED_EVERY);
        let [it] = next.ruled.as_slice() else { panic!("{next:?}") };
        assert_eq!((it.count, it.first_at, it.last_at), (1000, Timestamp(10), Timestamp(1009)));
        noted.note(kind("a:1"), Timestamp(2000));
        let last = noted.tell(next.gate, next.number, true, second(103));
        assert_eq!(last.ruled[0].count, 1, "nothing is kept for later by who leaves");
        assert!(noted.tell(last.gate, last.number, true, second(103)).ruled.is_empty());
        assert_eq!(noted.due(), None);
    }

    #[test]
    fn there_is_room_for_so_many_and_the_rest_is_counted() {
        let mut noted = Noted::default();
        for number in 0..GATE_NOTED_MAX + 7 {
            noted.note(kind(&format!("x:{number}")), Timestamp(1));
        }
        // What got out has its own room.
        noted.note(Kind { allowed: false, ..kind("z:1") }, Timestamp(1));
        let (mut have, mut count, mut left_out) = ((0, 0), 0, 0);
        loop {
            let told = noted.tell(have.0, have.1, false, second(1));
            if told.ruled.is_empty() {
                break;
            }
            assert!(told.ruled.len() <= GATE_TOLD_MAX && told.number == have.1 + 1);
            have = (told.gate, told.number);
            assert_eq!(told.left_out.1, 0);
            (count, left_out) = (count + told.ruled.len(), left_out + told.left_out.0);
        }
        assert_eq!((count, left_out), (GATE_NOTED_MAX + 1, 7));
        // What was told makes room for others.
        noted.note(kind("y:1"), Timestamp(2));
        assert_eq!(noted.tell(have.0, have.1, false, second(2)).ruled[0].place, "y:1");
        assert_eq!(noted.kinds.len(), GATE_NOTED_MAX + 1);
    }
}
