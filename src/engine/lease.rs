//! Who may type: the rules of the input lease, without any state or clock of its own.

use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{LEASE_IDLE, LEASE_TOLD_EVERY},
        units::human_duration,
    },
    model::session::Lease,
    runtime::{Identity, LeaseVerb},
};

/// The lease as long as it holds: one that was not used for `LEASE_IDLE` is free again.
pub(super) fn current(lease: Option<&Lease>, now: Timestamp) -> Option<&Lease> {
    lease.filter(|it| now.since(it.used_at) < LEASE_IDLE)
}

/// Tells whether `who` may type without asking: it is free or theirs.
pub(super) fn may_type(lease: Option<&Lease>, who: &Identity, now: Timestamp) -> bool {
    current(lease, now).is_none_or(|it| it.holder == who.client)
}

/// Whether whoever remembers a lease for the next hub should hear that it was used: once in a while is enough, for
/// keys are many, and what is remembered is never older than that.
pub(super) fn is_worth_telling(before: Timestamp, now: Timestamp) -> bool {
    let every = i64::try_from(LEASE_TOLD_EVERY.as_millis()).unwrap_or(i64::MAX);
    let turn = |it: Timestamp| it.0.div_euclid(every);
    turn(before) != turn(now)
}

/// What the lease is after a request; a refusal names the holder.
pub(super) fn decide(
    lease: Option<&Lease>,
    who: &Identity,
    verb: LeaseVerb,
    now: Timestamp,
) -> Outcome<Option<Lease>> {
    let held = current(lease, now);
    let mine = held.filter(|it| it.holder == who.client);
    let fresh = || Lease {
        holder: who.client.clone(),
        holder_name: who.name.clone(),
        since: mine.map_or(now, |it| it.since),
        used_at: now,
    };
    match (verb, held) {
        (LeaseVerb::Release, Some(_)) if mine.is_some() => Ok(None),
        (LeaseVerb::Release, _) => Ok(held.cloned()),
        (LeaseVerb::Take, Some(other)) if mine.is_none() => Err(refusal(other, now)),
        (LeaseVerb::Take | LeaseVerb::TakeOver, _) => Ok(Some(fresh())),
    }
}

/// Why somebody else can't type now.
pub(super) fn refusal(held: &Lease, now: Timestamp) -> Fault {
    let quiet = human_duration(now.since(held.used_at));
    Fault::busy(format!("{} holds the keyboard, last key {quiet} ago", held.holder_name)).hint(
        format!(
            "take it over, or wait: it returns by itself after {} without a key",
            human_duration(LEASE_IDLE)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{fault::Kind, id::ClientId};

    fn who(name: &str) -> Identity {
        Identity { client: ClientId::parse(name).unwrap(), name: name.to_owned(), peer: None }
    }

    const NOW: Timestamp = Timestamp(1_000_000);
    const LATER: Timestamp = Timestamp(1_000_000 + 121_000);

    #[test]
    fn one_holder_at_a_time_and_a_refusal_names_them() {
        let alice = decide(None, &who("alice"), LeaseVerb::Take, NOW).unwrap();
        let fault = decide(alice.as_ref(), &who("bob"), LeaseVerb::Take, NOW).unwrap_err();
        assert_eq!(fault.kind(), Kind::Busy);
        assert!(fault.message().contains("alice"));
        assert!(!may_type(alice.as_ref(), &who("bob"), NOW));
        let bob = decide(alice.as_ref(), &who("bob"), LeaseVerb::TakeOver, NOW).unwrap();
        assert_eq!(bob.unwrap().holder_name, "bob");
    }

    #[test]
    fn an_unused_lease_is_free_again() {
        let alice = decide(None, &who("alice"), LeaseVerb::Take, NOW).unwrap();
        assert!(may_type(alice.as_ref(), &who("bob"), LATER));
        let bob = decide(alice.as_ref(), &who("bob"), LeaseVerb::Take, LATER).unwrap();
        assert_eq!(bob.unwrap().since, LATER);
    }

    #[test]
    fn what_is_remembered_of_a_long_use_is_never_old_and_seldom_told() {
        for pause in [1, 7, 30, 119] {
            let (mut used, mut told, mut times) = (NOW, NOW, 0);
            for key in 1..=3600 / pause {
                let now = Timestamp(NOW.0 + key * pause * 1000);
                // As it stands when a hub dies right before this key.
                assert!(now.since(told) < LEASE_IDLE + LEASE_TOLD_EVERY, "{pause}");
                assert!(used.since(told) < LEASE_TOLD_EVERY, "{pause}");
                if is_worth_telling(used, now) {
                    (told, times) = (now, times + 1);
                }
                used = now;
            }
            assert!(times <= 3600 / 20, "{times}");
        }
    }

    #[test]
    fn taking_twice_keeps_the_start_and_releasing_anothers_changes_nothing() {
        let first = decide(None, &who("alice"), LeaseVerb::Take, NOW).unwrap();
        let soon = Timestamp(NOW.0 + 5000);
        let again = decide(first.as_ref(), &who("alice"), LeaseVerb::Take, soon).unwrap().unwrap();
        assert_eq!((again.since, again.used_at), (NOW, soon));
        let kept = decide(first.as_ref(), &who("bob"), LeaseVerb::Release, NOW).unwrap();
        assert_eq!(kept, first);
        assert_eq!(decide(first.as_ref(), &who("alice"), LeaseVerb::Release, NOW).unwrap(), None);
    }
}
