//! A screen as watchers show it: while its program draws the next picture in a synchronised update
//! (DECSET 2026), the last whole one. What comes meanwhile waits as bytes, bounded in size and in time,
//! for programs that never say that they are done. Knows no clock; hosts of programs have no use for it.

use std::time::Duration;

use memchr::memmem;

use super::{screen::Screen, touched::Touched};
use crate::base::{
    limits::{SYNCHRONISED_BYTES_MAX, SYNCHRONISED_WITHIN},
    units::Size,
};

/// What ends an update. Ended in another way it is shown when its time is up.
const END: &[u8] = b"\x1b[?2026l";

/// A screen, and what is not shown of it yet.
pub struct View {
    screen: Screen,
    held: Option<Held>,
}

struct Held {
    /// What the bytes belong to, if it is not the screen that is shown.
    base: Option<Screen>,
    bytes: Vec<u8>,
    until: Duration,
}

impl View {
    pub fn new(screen: Screen) -> Self {
        Self { screen, held: None }
    }

    /// What is to be shown.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// The rows that may look different than when this was last asked.
    pub fn take_touched(&mut self) -> Touched {
        self.screen.take_touched()
    }

    /// Bytes that came and are not shown yet; `None` when they do not go on from what is shown.
    pub fn behind(&self) -> Option<usize> {
        match &self.held {
            None => Some(0),
            Some(held) => held.base.is_none().then_some(held.bytes.len()),
        }
    }

    /// When the rest must be shown at the latest; `None` while all is.
    pub fn held_until(&self) -> Option<Duration> {
        self.held.as_ref().map(|it| it.until)
    }

    /// Takes output in, cut anywhere; tells whether there is something new to show.
    pub fn feed(&mut self, bytes: &[u8], now: Duration) -> bool {
        let mut changed = self.settle(now);
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = if let Some(held) = &mut self.held {
                let end = held.end_in(rest);
                let room = SYNCHRONISED_BYTES_MAX.saturating_sub(held.bytes.len());
                if end.is_none() && rest.len() <= room {
                    held.bytes.extend_from_slice(rest);
                    return changed;
                }
                self.release();
                let taken = end.unwrap_or(rest.len());
                self.screen.feed(rest.get(..taken).unwrap_or_default());
                taken
            } else {
                let taken = self.screen.feed_to_update(rest);
                if taken.is_some() {
                    self.hold(None, now + SYNCHRONISED_WITHIN);
                }
                taken.unwrap_or(rest.len())
            };
            changed = true;
            rest = rest.get(taken..).unwrap_or_default();
        }
        changed
    }

    /// Takes the screen as it stands in place of all that came; tells whether there is something new
    /// to show.
    pub fn replace(&mut self, screen: Screen, now: Duration) -> bool {
        if screen.modes().synchronised {
            let until = self.held_until().unwrap_or(now + SYNCHRONISED_WITHIN);
            self.hold(Some(screen), until);
            return self.settle(now);
        }
        *self = Self::new(screen);
        true
    }

    /// Changes the size; programs draw anew then.
    pub fn resize(&mut self, size: Size) {
        self.release();
        self.screen.resize(size);
    }

    /// Shows all there is once it has waited long enough; tells whether it did.
    pub fn settle(&mut self, now: Duration) -> bool {
        self.held_until().is_some_and(|it| it <= now) && self.release()
    }

    /// Shows all there is: nothing more comes, or not soon. Tells whether there was something.
    pub fn release(&mut self) -> bool {
        let Some(held) = self.held.take() else { return false };
        if let Some(base) = held.base {
            self.screen = base;
        }
        self.screen.feed(&held.bytes);
        true
    }

    fn hold(&mut self, base: Option<Screen>, until: Duration) {
        self.held = Some(Held { base, bytes: Vec::new(), until });
    }
}

impl Held {
    /// How many bytes of what follows belong to the update; `None` = all of them, so far.
    fn end_in(&self, next: &[u8]) -> Option<usize> {
        let before = self.bytes.len().min(END.len() - 1);
        let tail = self.bytes.get(self.bytes.len() - before..).unwrap_or_default();
        let head = next.get(..next.len().min(END.len() - 1)).unwrap_or_default();
        let across = memmem::find(&[tail, head].concat(), END).map(|at| at + END.len() - before);
        across.or_else(|| memmem::find(next, END).map(|at| at + END.len()))
    }
}
