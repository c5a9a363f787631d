//! What happened between the bytes: resizes, facts and the exit, in order, beside the ring.

use std::collections::VecDeque;

use crate::{
    base::{limits::MARKS_MAX, units::Size},
    model::{fact::Fact, session::ExitStatus},
};

/// One thing that has a place in the output but no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    Resize(Size),
    Fact(Fact),
    Exit(ExitStatus),
}

/// The newest marks, numbered without gaps; old ones fall off the front.
#[derive(Debug, Default)]
pub struct Marks {
    kept: VecDeque<(u64, Mark)>,
    /// Number of the oldest one kept.
    first: u64,
    /// Where the newest one that is not kept any more was.
    dropped: Option<u64>,
}

impl Marks {
    /// Adds a mark at `offset`.
    pub fn push(&mut self, offset: u64, mark: Mark) {
        if self.kept.len() >= MARKS_MAX {
            self.drop_first();
        }
        self.kept.push_back((offset, mark));
    }

    /// Forgets marks that lie before `offset`.
    pub fn forget(&mut self, offset: u64) {
        while self.kept.front().is_some_and(|it| it.0 < offset) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        self.dropped = self.kept.pop_front().map(|it| it.0).or(self.dropped);
        self.first += 1;
    }

    /// Tells whether every mark behind the byte before `offset` is still known.
    pub fn complete_from(&self, offset: u64) -> bool {
        self.dropped.is_none_or(|it| it < offset)
    }

    /// Number of the oldest mark still known, and of the next one to come.
    pub fn range(&self) -> (u64, u64) {
        (self.first, self.first + self.kept.len() as u64)
    }

    pub fn get(&self, number: u64) -> Option<&(u64, Mark)> {
        self.kept.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Number of the first mark a watcher who has all bytes before `offset` should see: facts at
    /// that very place were told with the byte before it, resizes and the exit may not have been.
    pub fn from(&self, offset: u64) -> u64 {
        let skipped = self
            .kept
            .iter()
            .take_while(|(at, mark)| {
                *at < offset || (*at == offset && matches!(mark, Mark::Fact(_)))
            })
            .count();
        self.first + skipped as u64
    }
}
