//! When an answer counts: what is answered has been on screen, all of it, and for long enough to have been seen.

use std::time::Duration;

use super::lost::DEAF_FOR;

/// After a key that answers none does for this long, and no key is the same as the last one sooner: the first repeat of a key that is
/// held down comes as late as that, and where a terminal does not say that it is one, nobody can tell.
pub const HELD_FOR: Duration = Duration::from_secs(1);

/// What a frame shows of what waits to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// Of the gate that it was drawn for; one that was closed since has another.
    pub mark: u64,
    /// The first row that is drawn, and how many there are.
    pub top: usize,
    pub rows: usize,
}

/// Closed until all rows were drawn, and a while after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    mark: u64,
    /// Rows from the first on that were drawn, with none left out.
    seen: usize,
    total: usize,
    /// When the last of them was.
    whole_at: Option<Duration>,
}

impl Gate {
    /// `mark` is no other gate's.
    pub fn new(mark: u64, total: usize) -> Self {
        Self { mark, seen: 0, total, whole_at: None }
    }

    /// It is to be drawn anew before it opens; what was read needs not be read again.
    pub fn close(&mut self, mark: u64) {
        (self.mark, self.whole_at) = (mark, None);
    }

    /// What a frame that is drawn now would show, if that is wanted.
    pub fn wanted(&self, top: usize, rows: usize) -> Option<Glimpse> {
        self.whole_at.is_none().then_some(Glimpse { mark: self.mark, top, rows })
    }

    /// A frame is on screen; whether that says something new.
    pub fn drawn(&mut self, it: Glimpse, now: Duration) -> bool {
        if it.mark != self.mark || self.whole_at.is_some() {
            return false;
        }
        let before = self.seen;
        if it.top <= self.seen {
            self.seen = self.seen.max(it.top + it.rows);
        }
        let whole = self.seen >= self.total;
        self.whole_at = whole.then_some(now);
        whole || before != self.seen
    }

    /// The first row that was not on screen yet; `None` when all were.
    pub fn unseen(&self) -> Option<usize> {
        (self.seen < self.total).then_some(self.seen)
    }

    /// When it opens, if no key comes; `None` = not before it was drawn. `quiet_at` is when the last key is long
    /// enough ago.
    pub fn opens_at(&self, quiet_at: Duration) -> Option<Duration> {
        self.whole_at.map(|it| quiet_at.max(it + DEAF_FOR))
    }

    /// Whether a key counts.
    pub fn is_open(&self, now: Duration, quiet_at: Duration) -> bool {
        self.opens_at(quiet_at).is_some_and(|it| now >= it)
    }
}
