//! What round trips tell of the way to a hub. The quickest of the newest is how far it is; one that took much longer lost
//! something on the way, which was sent again, or had to wait: over TCP nothing else is ever seen of a loss.

use std::{collections::VecDeque, time::Duration};

use crate::{
    base::limits::{TRIP_LATE_BEYOND, TRIP_SILENT_FROM, TRIPS_KEPT},
    runtime::Trips,
};

/// A round trip is told again when it differs by more than half, and by more than this.
const RTT_STEP: Duration = Duration::from_millis(5);

/// The newest round trips of one set of connections.
pub(super) struct Measured {
    /// Each with whether it was late, the oldest first.
    newest: VecDeque<(Duration, bool)>,
    told: Trips,
}

impl Measured {
    pub(super) fn new(first: Duration) -> Self {
        Self { newest: [(first, false)].into(), told: Trips::first(first) }
    }

    /// What is known of the way.
    pub(super) fn told(&self) -> Trips {
        self.told
    }

    /// From how long on an answer is late: before that, nothing that is lost on a way like this can have come again.
    fn late_from(&self) -> Duration {
        let quickest = self.newest.iter().map(|it| it.0).min().unwrap_or_default();
        quickest.saturating_mul(2).saturating_add(TRIP_LATE_BEYOND)
    }

    /// From how long on it is told that an answer is waited for.
    pub(super) fn silent_from(&self) -> Duration {
        self.late_from().max(TRIP_SILENT_FROM)
    }

    /// Takes one.
    pub(super) fn took(&mut self, trip: Duration) {
        let late = trip >= self.late_from();
        let late_again = late && self.newest.back().is_some_and(|it| it.1);
        if self.newest.len() >= TRIPS_KEPT {
            self.newest.pop_front();
        }
        self.newest.push_back((trip, late));
        // What was late once says nothing of how far it is.
        if (!late || late_again) && trip.abs_diff(self.told.rtt) > RTT_STEP.max(self.told.rtt / 2) {
            self.told.rtt = trip;
        }
        let many = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        self.told.late = many(self.newest.iter().filter(|it| it.1).count());
        self.told.of = if self.told.late > 0 { many(self.newest.len()) } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAY: Duration = Duration::from_millis(50);
    const LATE: Duration = Duration::from_millis(350);

    #[test]
    fn what_was_late_is_counted_and_does_not_move_the_way() {
        let mut it = Measured::new(WAY);
        it.took(WAY + Duration::from_millis(9));
        assert_eq!(it.told(), Trips::first(WAY));
        it.took(LATE);
        let told = Trips { rtt: WAY, late: 1, of: 3, silent_since: None };
        assert_eq!(it.told(), told);
        // How many they are is told as long as one of them was late.
        it.took(WAY);
        assert_eq!(it.told(), Trips { of: 4, ..told });
        for _ in 0..TRIPS_KEPT {
            it.took(WAY);
        }
        assert_eq!(it.told(), Trips::first(WAY));
    }

    #[test]
    fn a_way_that_is_longer_from_now_on_is_told_and_in_time_is_not_late_any_more() {
        let mut it = Measured::new(WAY);
        it.took(LATE);
        it.took(LATE);
        assert_eq!(it.told().rtt, LATE);
        for _ in 0..2 * TRIPS_KEPT {
            it.took(LATE);
        }
        assert_eq!(it.told(), Trips::first(LATE));
    }

    #[test]
    fn a_short_silence_is_none() {
        let far = Duration::from_secs(2);
        assert_eq!(Measured::new(WAY).silent_from(), TRIP_SILENT_FROM);
        assert_eq!(Measured::new(far).silent_from(), 2 * far + TRIP_LATE_BEYOND);
        assert_eq!(Measured::new(Duration::MAX).silent_from(), Duration::MAX);
    }
}
