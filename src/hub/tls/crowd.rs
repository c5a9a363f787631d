//! How many connections of those that have not shown who they are, and of each who has: what is more is closed unheard, so
//! that no crowd keeps the hub from its work.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts of all and of each.
#[derive(Debug)]
pub(super) struct Crowd<Key> {
    all: usize,
    each: usize,
    /// Beyond so many in all, only who has fewer than so many gets one more.
    spared: Option<(usize, usize)>,
    counts: Mutex<HashMap<Key, usize>>,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    All,
    Each,
}

/// One of them; it has left when this is dropped.
#[derive(Debug)]
pub(super) struct Place<Key: Eq + Hash> {
    crowd: Arc<Crowd<Key>>,
    key: Key,
}

impl<Key: Eq + Hash + Clone> Crowd<Key> {
    pub(super) fn new(all: usize, each: usize, spared: Option<(usize, usize)>) -> Arc<Self> {
        Arc::new(Self { all, each, spared, counts: Mutex::default() })
    }

    pub(super) fn enter(self: &Arc<Self>, key: Key) -> Result<Place<Key>, Full> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.values().sum::<usize>();
        let of_this = counts.get(&key).copied().unwrap_or(0);
        if of_this >= self.each {
            return Err(Full::Each);
        }
        let spared = self.spared.is_some_and(|(freely, few)| here >= freely && of_this >= few);
        if here >= self.all || spared {
            return Err(Full::All);
        }
        counts.insert(key.clone(), of_this + 1);
        drop(counts);
        Ok(Place { crowd: Arc::clone(self), key })
    }
}

impl<Key: Eq + Hash> Drop for Place<Key> {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// What stands for one place to come from: of IPv6 a whole network, which one machine has.
pub(super) fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(it) => {
            let network = u128::from(it) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_what_leaves_makes_room() {
        let crowd = Crowd::new(3, 2, None);
        let first = crowd.enter("a").unwrap();
        let second = crowd.enter("a").unwrap();
        assert_eq!(crowd.enter("a").unwrap_err(), Full::Each);
        let third = crowd.enter("b").unwrap();
        assert_eq!(crowd.enter("c").unwrap_err(), Full::All);
        drop(first);
        assert!(crowd.enter("c").is_ok());
        drop((second, third));
        assert!(crowd.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn those_with_many_leave_room_for_those_with_few() {
        let crowd = Crowd::new(10, 6, Some((6, 2)));
        let all: Vec<_> = (0..6).map(|_| crowd.enter("a").unwrap()).collect();
        let mut few: Vec<_> = (0..2).map(|_| crowd.enter("b").unwrap()).collect();
        assert_eq!(crowd.enter("b").unwrap_err(), Full::All);
        few.extend((0..2).map(|_| crowd.enter("c").unwrap()));
        assert_eq!(crowd.enter("d").unwrap_err(), Full::All);
        drop(all);
        assert!(crowd.enter("b").is_ok());
    }

    #[test]
    fn one_network_is_one_place() {
        let place = |it: &str| place(it.parse().unwrap());
        assert_eq!(place("2001:db8::1"), place("2001:db8::ffff:1"));
        assert_ne!(place("2001:db8::1"), place("2001:db8:0:1::1"));
        assert_eq!(place("::ffff:10.0.0.1"), place("10.0.0.1"));
        assert_ne!(place("10.0.0.1"), place("10.0.0.2"));
    }
}
