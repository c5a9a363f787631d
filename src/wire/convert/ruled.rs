//! What was decided at the way out of a sandbox without a person.

use super::ask::{verdict_in, verdict_out};
use crate::{
    base::{
        clock::Timestamp,
        limits::{GATE_TOLD_MAX, LINE_BYTES_MAX, RULES_NAMED_MAX},
        text::{cut, shown},
    },
    model::{
        ask::Verdict,
        traffic::{Ruled, RuledKept, RuledPart},
    },
    wire::shim,
};

/// Longest name of a place, and of a rule beside others, in bytes.
const PLACE_BYTES_MAX: usize = 512;
const RULE_BYTES_MAX: usize = 64;

impl From<&RuledPart> for shim::Ruled {
    fn from(told: &RuledPart) -> Self {
        Self {
            gate: told.gate,
            number: told.number,
            decided: told.ruled.iter().take(GATE_TOLD_MAX).map(Into::into).collect(),
            allowed_left_out: told.left_out.0,
            denied_left_out: told.left_out.1,
        }
    }
}

impl From<shim::Ruled> for RuledPart {
    fn from(wire: shim::Ruled) -> Self {
        let ruled = wire.decided.into_iter().take(GATE_TOLD_MAX).map(Into::into);
        Self {
            gate: wire.gate,
            number: wire.number,
            ruled: ruled.collect(),
            left_out: (wire.allowed_left_out, wire.denied_left_out),
        }
    }
}

impl From<&RuledKept> for shim::RuledKept {
    fn from(kept: &RuledKept) -> Self {
        let later = kept.later.iter().map(Into::into).collect();
        Self { told: Some((&kept.told).into()), later }
    }
}

impl From<shim::RuledKept> for RuledKept {
    fn from(wire: shim::RuledKept) -> Self {
        let later = wire.later.into_iter().map(Into::into).collect();
        Self { told: wire.told.map(Into::into).unwrap_or_default(), later }
    }
}

impl From<&Ruled> for shim::Decided {
    fn from(it: &Ruled) -> Self {
        let rules = it.rules.iter().take(RULES_NAMED_MAX);
        Self {
            place: cut(&it.place, PLACE_BYTES_MAX).to_owned(),
            program: it.program.as_deref().map(|it| cut(it, LINE_BYTES_MAX).to_owned()),
            verdict: verdict_out(it.verdict).into(),
            standing: it.standing,
            rules: rules.map(|it| cut(it, RULE_BYTES_MAX).to_owned()).collect(),
            why: cut(&it.why, LINE_BYTES_MAX).to_owned(),
            count: it.count,
            first_at_ms: it.first_at.0,
            last_at_ms: it.last_at.0,
        }
    }
}

impl From<shim::Decided> for Ruled {
    fn from(wire: shim::Decided) -> Self {
        let rules = wire.rules.iter().take(RULES_NAMED_MAX);
        Self {
            place: shown(&wire.place, PLACE_BYTES_MAX),
            program: wire.program.map(|it| shown(&it, LINE_BYTES_MAX)),
            verdict: verdict_in(wire.verdict).unwrap_or(Verdict::Deny),
            standing: wire.standing,
            rules: rules.map(|it| shown(it, RULE_BYTES_MAX)).collect(),
            why: shown(&wire.why, LINE_BYTES_MAX),
            count: wire.count.max(1),
            first_at: Timestamp(wire.first_at_ms),
            last_at: Timestamp(wire.last_at_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_comes_over_and_what_is_odd_promises_least() {
        let ruled = Ruled {
            place: "a.example:80".to_owned(),
            program: Some("/usr/bin/curl".to_owned()),
            verdict: Verdict::Allow,
            standing: false,
            rules: vec!["project:x".to_owned()],
            why: "rule project:x: so".to_owned(),
            count: 7,
            first_at: Timestamp(1),
            last_at: Timestamp(2),
        };
        let told = RuledPart { gate: u64::MAX, number: 3, ruled: vec![ruled], left_out: (5, 6) };
        assert_eq!(RuledPart::from(shim::Ruled::from(&told)), told);
        let odd = shim::Decided { place: "\u{1b}[31m".to_owned(), ..shim::Decided::default() };
        let odd = Ruled::from(odd);
        assert_eq!((odd.verdict, odd.count), (Verdict::Deny, 1));
        assert!(!odd.place.contains('\u{1b}'), "{odd:?}");
    }
}
