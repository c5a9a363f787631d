//! Who was refused: all of it counted, and some of it written down, so that nobody fills the record by knocking.

use std::collections::{BTreeMap, HashMap};

use crate::{
    base::{
        clock,
        limits::{AUDIT_REFUSALS_BURST, COUNTED_MAX},
    },
    engine::audit::{
        budget::Budget,
        words::{by_client, by_hub},
    },
    model::{
        audit::{Act, Action},
        member::Refused,
    },
    runtime::{
        Peer,
        access::{Refusal, RefusedWho},
    },
};

#[derive(Default)]
pub(super) struct Refusals {
    counts: BTreeMap<Refused, u64>,
    /// By why, and by whom where that is known.
    budgets: HashMap<(Refused, String), Budget>,
}

impl Refusals {
    /// Counts one; gives what is written down of it, if there is room for that.
    pub(super) fn count(&mut self, refusal: Refusal) -> Option<Act> {
        let Refusal { why, what, by } = refusal;
        *self.counts.entry(why).or_default() += 1;
        let of = match &by {
            RefusedWho::Client(who) => match &who.peer {
                Some(Peer::Certificate(bearer)) => bearer.member.to_string(),
                _ => String::new(),
            },
            RefusedWho::Stranger(_) => String::new(),
        };
        let mut key = (why, of);
        if self.budgets.len() >= COUNTED_MAX && !self.budgets.contains_key(&key) {
            key.1.clear();
        }
        let budget = self.budgets.entry(key).or_insert_with(|| Budget::of(AUDIT_REFUSALS_BURST));
        let before = budget.take(clock::monotonic())?;
        let act = match &by {
            RefusedWho::Client(who) => {
                by_client(who, Action::CallRefused, &what).with("why", why.word())
            }
            RefusedWho::Stranger(address) => {
                by_hub(Action::ConnectionRefused, address, why.word()).with("what", what)
            }
        };
        Some(act.with_any("left_out_before", Some(before).filter(|it| *it > 0)))
    }

    pub(super) fn counts(&self) -> Vec<(Refused, u64)> {
        self.counts.iter().map(|(why, count)| (*why, *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knocks_without_end_fills_no_record_and_is_counted() {
        let mut refusals = Refusals::default();
        let knock = || Refusal {
            why: Refused::Protocol,
            what: "x".to_owned(),
            by: RefusedWho::Stranger("::1".to_owned()),
        };
        let written = (0..100_000).filter_map(|_| refusals.count(knock())).count();
        assert!((1..100).contains(&written), "{written}");
        assert_eq!(refusals.counts(), [(Refused::Protocol, 100_000)]);
        // Nobody hides behind it.
        let other = Refusal { why: Refused::Revoked, ..knock() };
        assert!(refusals.count(other).is_some());
    }
}
