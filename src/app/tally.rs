//! How many rows of the fleet stand how.

use super::row::{Mark, Row};

/// How many rows there are of each mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: [u32; Mark::ALL.len()],
    /// Asks the hub holds, over all sandboxes.
    pub asks: u32,
}

impl Tally {
    pub fn of(&self, mark: Mark) -> u32 {
        self.counts.get(mark as usize).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, row: &Row, sign: i64) {
        let step = |count: &mut u32, by: i64| {
            *count = u32::try_from(i64::from(*count) + by).unwrap_or(0);
        };
        if let Some(count) = self.counts.get_mut(row.mark() as usize) {
            step(count, sign);
        }
        let asks = i64::try_from(row.sandbox.asks.len()).unwrap_or(i64::MAX);
        step(&mut self.asks, sign.saturating_mul(asks));
    }
}
