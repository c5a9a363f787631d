//! A keyboard that went away by itself. Whoever was typing does not know it yet: what comes next was
//! meant for the program and must not become commands of the console.

use std::time::Duration;

use super::state::{Overlay, Place, State};
use crate::base::limits::INPUT_BYTES_MAX;

/// A box takes no answer, and no key brings the console back, before this long without a key: what
/// comes sooner was typed at something else.
pub const DEAF_FOR: Duration = Duration::from_millis(400);
/// Keys count again after this long without one. Longer than a typist's pause between two words.
pub const LOST_FOR: Duration = Duration::from_secs(1);

/// Keys and pastes go nowhere until the operator has noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub why: String,
    pub at: Duration,
    pub until: Until,
}

/// What makes keys count again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// A pause, or esc or enter after a short one.
    Seen,
    /// A pause alone: one of those may be the very key that was pressed twice, or is held down.
    Quiet,
}

/// What is still to come of a link that was lost. Either comes first: they are told by different tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// That it is there again, which is said.
    pub link: bool,
    /// The list that comes with it, which is no news.
    pub list: bool,
}

/// Something typed was lost. What follows is refused until the operator has paused: the end of a line
/// must not arrive without its middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// When something was typed last.
    typed_at: Duration,
}

impl Hole {
    pub fn at(now: Duration) -> Self {
        Self { typed_at: now }
    }

    /// Whether what is typed now is refused.
    pub fn refuses(&mut self, now: Duration) -> bool {
        let refuses = !self.is_over(now);
        self.typed_at = now;
        refuses
    }

    pub fn is_over(&self, now: Duration) -> bool {
        now >= self.typed_at + LOST_FOR
    }
}

/// Why a paste can't go whole, and so goes not at all.
pub fn too_long(pasted: &[u8]) -> Option<String> {
    let bytes = pasted.len();
    (bytes > INPUT_BYTES_MAX)
        .then(|| format!("the paste has {bytes} bytes, more than {INPUT_BYTES_MAX}; not pasted"))
}

impl State {
    /// Since when no key has come, counted from a moment at the earliest.
    fn quiet_from(&self, at: Duration) -> Duration {
        at.max(self.key_at)
    }

    /// Whether no key has come for that long since then.
    pub(super) fn was_quiet(&self, at: Duration, long: Duration) -> bool {
        self.now.since_start >= self.quiet_from(at) + long
    }

    /// Whether another row came under the cursor too short a while ago to have been seen.
    pub(super) fn row_is_news(&self) -> bool {
        self.place == Place::Fleet
            && self.views.is_empty()
            && self.swapped_at.is_some_and(|it| !self.was_quiet(it, DEAF_FOR))
    }

    /// When the box on screen was opened, if it asks before it does something.
    pub(super) fn asked_at(&self) -> Option<Duration> {
        match &self.overlay {
            Some(Overlay::Confirm(confirm)) => Some(confirm.opened),
            Some(Overlay::TakeOver { opened, .. }) => Some(*opened),
            _ => None,
        }
    }

    /// Whether the box on screen takes an answer by now.
    pub fn hears(&self) -> bool {
        self.lost.is_none() && self.asked_at().is_none_or(|it| self.was_quiet(it, DEAF_FOR))
    }

    /// When a box begins to hear or keys begin to count again.
    pub(super) fn hears_at(&self) -> Option<Duration> {
        let lost = self.lost.as_ref().map(|it| self.quiet_from(it.at) + LOST_FOR);
        let asked = self.asked_at().filter(|_| !self.hears());
        lost.or_else(|| asked.map(|it| self.quiet_from(it) + DEAF_FOR))
    }
}
