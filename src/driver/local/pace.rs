//! How often to look for what nothing tells: at once, then ever more slowly.

use std::time::Duration;

const FIRST: Duration = Duration::from_micros(100);
const SLOWEST: Duration = Duration::from_millis(50);

pub struct Pace(Duration);

impl Default for Pace {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pace {
    /// How long to wait before the next look.
    pub fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(SLOWEST);
        now
    }
}
