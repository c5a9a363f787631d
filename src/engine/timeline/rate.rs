//! How much of what a sandbox's programs bring about goes into the record of what happened: a burst, then a little.

use std::time::Duration;

use crate::base::limits::{TIMELINE_BURST, TIMELINE_EVERY};

/// Of one sandbox, for one kind of thing.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Rate {
    left: u32,
    /// `clock::monotonic` up to which what comes in was counted.
    counted: Duration,
    left_out: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { left: TIMELINE_BURST, counted: Duration::ZERO, left_out: 0 }
    }
}

impl Rate {
    /// Room for one, and how many were left out before it.
    pub fn take(&mut self, now: Duration) -> Option<u64> {
        let came = now.saturating_sub(self.counted).as_millis() / TIMELINE_EVERY.as_millis();
        let came = u32::try_from(came).unwrap_or(u32::MAX);
        self.counted = self.counted.saturating_add(TIMELINE_EVERY.saturating_mul(came));
        self.left = self.left.saturating_add(came).min(TIMELINE_BURST);
        self.left = self.left.checked_sub(1)?;
        Some(std::mem::take(&mut self.left_out))
    }

    /// One more is left out.
    pub fn miss(&mut self) {
        self.left_out = self.left_out.saturating_add(1);
    }
}
