//! How many sandboxes of each hub are told of, where all together may be only so many: a hub with more than its share
//! takes nobody else's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    base::id::{HubNumber, SandboxId},
    model::sandbox::Sandbox,
};

#[derive(Debug, Default)]
struct Held {
    shown: BTreeSet<SandboxId>,
    left_out: u64,
}

/// What is told of, by hub.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    hubs: BTreeMap<HubNumber, Held>,
}

/// What comes of a sandbox that is new.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Shown,
    LeftOut,
    /// In the place of that one, of a hub with more than its share.
    InsteadOf(SandboxId),
}

impl Shares {
    pub(super) fn new(most: usize) -> Self {
        Self { most, hubs: BTreeMap::new() }
    }

    pub(super) fn come(&mut self, hub: HubNumber) {
        self.hubs.entry(hub).or_default();
    }

    pub(super) fn go(&mut self, hub: HubNumber) {
        self.hubs.remove(&hub);
    }

    pub(super) fn left_out(&self, hub: HubNumber) -> u64 {
        self.hubs.get(&hub).map_or(0, |it| it.left_out)
    }

    fn share(&self) -> usize {
        self.most / self.hubs.len().max(1)
    }

    fn all(&self) -> usize {
        self.hubs.values().map(|it| it.shown.len()).sum()
    }

    /// Takes the newest of the hub that has most, if that is more than its share.
    fn take_one(&mut self) -> Option<SandboxId> {
        let share = self.share();
        let held = self.hubs.values_mut().max_by_key(|it| it.shown.len())?;
        let gone = if held.shown.len() > share { held.shown.pop_last() } else { None };
        held.left_out += u64::from(gone.is_some());
        gone
    }

    /// A whole list of one hub: what of it is told, and which of other hubs are told no more.
    pub(super) fn list(
        &mut self,
        hub: HubNumber,
        mut sandboxes: Vec<Arc<Sandbox>>,
    ) -> (Vec<Arc<Sandbox>>, Vec<SandboxId>) {
        self.come(hub);
        let others = self.all() - self.hubs.get(&hub).map_or(0, |it| it.shown.len());
        let most = self.share().max(self.most.saturating_sub(others));
        let over = sandboxes.len().saturating_sub(most);
        sandboxes.truncate(most);
        let held = Held {
            shown: sandboxes.iter().map(|it| it.id.clone()).collect(),
            left_out: over as u64,
        };
        self.hubs.insert(hub, held);
        let mut gone = Vec::new();
        while self.all() > self.most
            && let Some(id) = self.take_one()
        {
            gone.push(id);
        }
        (sandboxes, gone)
    }

    /// One that is new or different.
    pub(super) fn change(&mut self, hub: HubNumber, id: &SandboxId) -> Place {
        self.come(hub);
        let (all, share) = (self.all(), self.share());
        let Some(held) = self.hubs.get_mut(&hub) else { return Place::LeftOut };
        if held.shown.contains(id) {
            return Place::Shown;
        }
        if all < self.most {
            held.shown.insert(id.clone());
            return Place::Shown;
        }
        if held.shown.len() >= share {
            // Counted once: its next change is of one that is counted.
            held.left_out = held.left_out.max(1);
            return Place::LeftOut;
        }
        match self.take_one() {
            Some(gone) => {
                self.hubs.entry(hub).or_default().shown.insert(id.clone());
                Place::InsteadOf(gone)
            }
            None => Place::LeftOut,
        }
    }

    /// One that is no more; whether it was told of.
    pub(super) fn remove(&mut self, hub: HubNumber, id: &SandboxId) -> bool {
        let Some(held) = self.hubs.get_mut(&hub) else { return false };
        let was_shown = held.shown.remove(id);
        if !was_shown {
            held.left_out = held.left_out.saturating_sub(1);
        }
        was_shown
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(hub: u32, number: u16) -> SandboxId {
        SandboxId::parse(&format!("s{number:05}")).unwrap().of_hub(HubNumber(hub))
    }

    fn shown(shares: &Shares, hub: u32) -> usize {
        shares.hubs.get(&HubNumber(hub)).map_or(0, |it| it.shown.len())
    }

    #[test]
    fn a_hub_with_very_many_leaves_the_others_their_share() {
        let mut shares = Shares::new(10);
        (0..3).for_each(|it| shares.come(HubNumber(it)));
        // As long as there is room, one may have it all.
        for number in 0..20 {
            shares.change(HubNumber(1), &id(1, number));
        }
        assert_eq!(shown(&shares, 1), 10);
        assert!(shares.left_out(HubNumber(1)) > 0);
        // Each other gets its third, of what that one has beyond its own.
        for number in 0..5 {
            let place = shares.change(HubNumber(2), &id(2, number));
            let fits = number < 3;
            assert_eq!(matches!(place, Place::InsteadOf(_)), fits, "{number}: {place:?}");
        }
        assert_eq!((shown(&shares, 1), shown(&shares, 2)), (7, 3));
        assert_eq!(shares.change(HubNumber(2), &id(2, 0)), Place::Shown);
        assert!(shares.remove(HubNumber(2), &id(2, 0)) && !shares.remove(HubNumber(2), &id(2, 4)));
        // What goes away with its hub is room for all.
        shares.go(HubNumber(1));
        assert_eq!(shares.change(HubNumber(2), &id(2, 9)), Place::Shown);
    }

    proptest! {
        #[test]
        fn never_are_more_told_of_than_fit_and_each_has_its_share(
            changes in proptest::collection::vec((0..4_u32, 0..40_u16, any::<bool>()), 0..300),
        ) {
            let mut shares = Shares::new(12);
            (0..4).for_each(|it| shares.come(HubNumber(it)));
            let mut told: BTreeSet<SandboxId> = BTreeSet::new();
            for (hub, number, comes) in changes {
                let (id, hub) = (id(hub, number), HubNumber(hub));
                if comes {
                    match shares.change(hub, &id) {
                        Place::Shown => drop(told.insert(id)),
                        Place::InsteadOf(gone) => {
                            prop_assert!(told.remove(&gone));
                            told.insert(id);
                        }
                        Place::LeftOut => {
                            let of = told.iter().filter(|it| it.hub() == hub).count();
                            prop_assert!(of >= 3, "{of}");
                        }
                    }
                } else {
                    prop_assert_eq!(shares.remove(hub, &id), told.remove(&id));
                }
                prop_assert!(told.len() <= 12);
            }
        }
    }
}
