//! How the entries of the audit record hang together, and how that is looked through. Pure: no clock, no disk.
//! docs/audit.md has the same in words and in Python.

use std::fmt;

use sha2::{Digest, Sha256};

use super::audit::{Act, Entry, Head, NO_HASH, Value};
use crate::base::text::hex;

/// What every hash begins with, so that it can be of nothing else.
const FORM: &str = "sandwatch-audit-1";

/// The entry that comes after `head`.
pub fn seal(head: &Head, act: Act) -> Entry {
    let seq = head.seq.saturating_add(1);
    let hash = hash(seq, &act, &head.hash);
    Entry { seq, act, prev: head.hash.clone(), hash }
}

/// Each part with its length in front, so that no two entries are alike by how they are put together.
fn hash(seq: i64, act: &Act, prev: &str) -> String {
    let mut hash = Sha256::new();
    let mut part = |it: &str| {
        hash.update((it.len() as u64).to_be_bytes());
        hash.update(it.as_bytes());
    };
    part(FORM);
    part(&seq.to_string());
    part(&act.at.rfc3339());
    part(&act.actor);
    part(&act.action);
    part(&act.subject);
    part(&act.details.len().to_string());
    // A map of these gives its keys in the order of their bytes.
    for (key, value) in &act.details {
        part(key);
        match value {
            Value::Text(text) => {
                part("text");
                part(text);
            }
            Value::Number(number) => {
                part("number");
                part(&number.to_string());
            }
            Value::List(texts) => {
                part("list");
                part(&texts.len().to_string());
                texts.iter().for_each(|it| part(it));
            }
        }
    }
    part(prev);
    hex(&hash.finalize())
}

/// The first thing that is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The place of the entry that is changed, missing or misplaced.
    pub seq: i64,
    /// In words, about that entry.
    pub why: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}: {}", self.seq, self.why)
    }
}

/// Looks through a record, one entry after the other.
#[derive(Clone, Debug)]
pub struct Verifier {
    head: Head,
    /// What somebody noted of it earlier.
    pin: Option<Head>,
}

impl Verifier {
    pub fn new(pin: Option<Head>) -> Self {
        Self { head: Head::none(), pin }
    }

    /// The place of the entry that is to come next.
    pub fn next(&self) -> i64 {
        self.head.seq.saturating_add(1)
    }

    /// Takes the next entry. After a flaw nothing that follows says anything.
    pub fn take(&mut self, entry: &Entry) -> Result<(), Flaw> {
        let (seq, before) = (entry.seq, self.head.seq);
        let flaw = |seq, why: String| Err(Flaw { seq, why });
        if seq > before + 1 {
            return flaw(before + 1, format!("it is missing, {seq} comes after {before}"));
        }
        if seq <= before {
            return flaw(seq, format!("it comes after {before}"));
        }
        if entry.hash != hash(seq, &entry.act, &entry.prev) {
            return flaw(seq, "its hash is not that of what it says".to_owned());
        }
        if entry.prev != self.head.hash {
            let why = "it does not follow from the one before it: one of the two was changed";
            return flaw(seq, why.to_owned());
        }
        if let Some(pin) = self.pin.as_ref().filter(|it| it.seq == seq && it.hash != entry.hash) {
            return flaw(seq, format!("it is another than the one that was noted: {}", pin.hash));
        }
        self.head = Head { seq, hash: entry.hash.clone() };
        Ok(())
    }

    /// Nothing comes any more; gives the last entry.
    pub fn end(self) -> Result<Head, Flaw> {
        match self.pin {
            Some(pin) if pin.seq > self.head.seq => {
                let why =
                    format!("it was noted and is missing, the record ends at {}", self.head.seq);
                Err(Flaw { seq: pin.seq, why })
            }
            Some(pin) if pin.seq == 0 && pin.hash != NO_HASH => {
                Err(Flaw { seq: 0, why: "what was noted is no entry".to_owned() })
            }
            _ => Ok(self.head),
        }
    }
}

#[cfg(test)]
mod tests;
