//! How much of what a sandbox's programs do by themselves goes into the audit record: a burst, then a little.

use std::time::Duration;

use crate::base::limits::{AUDIT_ASK_EVERY, AUDIT_ASKS_BURST};

/// Of one sandbox.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Budget {
    burst: u32,
    left: u32,
    /// `clock::monotonic` up to which what comes in was counted.
    counted: Duration,
    left_out: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(AUDIT_ASKS_BURST)
    }
}

impl Budget {
    /// With room for so many at once.
    pub fn of(burst: u32) -> Self {
        Self { burst, left: burst, counted: Duration::ZERO, left_out: 0 }
    }

    /// Room for one entry, and how many were left out before it; `None` = it is left out and counted.
    pub fn take(&mut self, now: Duration) -> Option<u64> {
        let came = now.saturating_sub(self.counted).as_millis() / AUDIT_ASK_EVERY.as_millis();
        let came = u32::try_from(came).unwrap_or(u32::MAX);
        self.counted = self.counted.saturating_add(AUDIT_ASK_EVERY.saturating_mul(came));
        self.left = self.left.saturating_add(came).min(self.burst);
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }

    /// So many more are left out.
    pub fn miss(&mut self, count: u64) {
        self.left_out = self.left_out.saturating_add(count);
    }

    /// How many were left out since the last that was not.
    pub fn left_out(&self) -> Option<u64> {
        (self.left_out > 0).then_some(self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_costs_a_burst_and_then_a_little_and_none_is_lost_uncounted() {
        let mut budget = Budget::default();
        let (mut written, mut counted) = (0_u64, 0);
        for tenth in 0..36_000_u64 {
            if let Some(before) = budget.take(Duration::from_millis(tenth * 100)) {
                written += 1;
                counted += before;
            }
        }
        assert!((256..=256 + 360).contains(&written), "{written}");
        assert_eq!(written + counted + budget.left_out().unwrap_or(0), 36_000);
        // Whoever was quiet has the whole burst again, and no more.
        let later = Duration::from_secs(100_000);
        let burst = (0..1000).filter(|_| budget.take(later).is_some()).count();
        assert_eq!(burst, 256);
    }
}
