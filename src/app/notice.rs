//! Notices: short lines a person should read once, newest shown, all kept for a while.

use std::{
    collections::VecDeque,
    mem::{Discriminant, discriminant},
    time::Duration,
};

use super::{
    msg::Moment,
    state::{Overlay, Place, State},
};
use crate::{
    base::{
        clock::Timestamp,
        fault::Fault,
        text::{clip, visible},
    },
    model::event::Level,
};

/// Notices kept; the oldest go first.
const KEPT_MAX: usize = 200;
/// Longest notice, in cells.
const CELLS_MAX: usize = 400;

/// One notice, safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    pub level: Level,
    pub text: String,
    /// The same was said this many times in a row.
    pub times: u32,
}

impl Entry {
    /// The text, and how often it was said.
    pub fn words(&self) -> String {
        match self.times {
            0 | 1 => self.text.clone(),
            times => format!("{} (x{times})", self.text),
        }
    }
}

/// Where the operator is: what is said of what they do there is over when they leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    mode: &'static str,
    place: Place,
    pane: usize,
    views: usize,
    /// Boxes differ too.
    boxed: Option<Discriminant<Overlay>>,
}

impl State {
    pub(super) fn whereabouts(&self) -> Whereabouts {
        let mode = match self.mode() {
            // A key of a sequence, or a mark set, leads nowhere else.
            "PREFIX" if self.grip.is_some() => "TYPING",
            "PREFIX" => "NORMAL",
            "SELECT" => "SCROLL",
            other => other,
        };
        let boxed = self.overlay.as_ref().map(discriminant);
        let pane = self.grid.tab().focus();
        Whereabouts { mode, place: self.place, pane, views: self.views.len(), boxed }
    }
}

#[derive(Debug, Default)]
pub struct Notices {
    entries: VecDeque<Entry>,
    until: Option<Duration>,
    /// Where the newest was called forth, if it is about what was done there.
    place: Option<Whereabouts>,
}

impl Notices {
    pub fn push(&mut self, now: Moment, level: Level, text: &str) {
        let text = clip(&visible(text), CELLS_MAX);
        let stays = match level {
            Level::Info => 5,
            Level::Warning => 10,
            Level::Error => 20,
        };
        self.until = Some(now.since_start + Duration::from_secs(stays));
        self.place = None;
        match self.entries.front_mut() {
            Some(last) if last.text == text && last.level == level => {
                last.times = last.times.saturating_add(1);
                last.at = now.wall;
            }
            _ => self.entries.push_front(Entry { at: now.wall, level, text, times: 1 }),
        }
        self.entries.truncate(KEPT_MAX);
    }

    /// A place is left: what spoke of it goes off the bar.
    pub fn leave(&mut self) {
        if self.place.is_some() {
            self.dismiss();
        }
    }

    /// A failure in one line, with its way out.
    pub fn fault(&mut self, now: Moment, what: &str, fault: &Fault) {
        let hint = fault.hint_text().map(|it| format!(" ({it})")).unwrap_or_default();
        self.push(now, Level::Error, &format!("{what}: {}{hint}", fault.message()));
    }

    /// The newest, as long as it is to be shown.
    pub fn showing(&self) -> Option<&Entry> {
        self.until.and_then(|_| self.entries.front())
    }

    /// When the newest is to go.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// Takes the newest off the bar once its time is over; says whether something changed.
    pub fn expire(&mut self, now: Duration) -> bool {
        let over = self.until.is_some_and(|it| now >= it);
        if over {
            self.until = None;
        }
        over
    }

    /// Takes the newest off the bar.
    pub fn dismiss(&mut self) {
        self.until = None;
    }

    /// The newest belongs to a place.
    pub(super) fn belongs(&mut self, place: Whereabouts) {
        self.place = Some(place);
    }

    /// Takes the newest off the bar if its place was left; says whether it was.
    pub(super) fn left_for(&mut self, place: Whereabouts) -> bool {
        let left = self.until.is_some() && self.place.is_some_and(|it| it != place);
        if left {
            self.until = None;
        }
        left
    }

    /// Newest first.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn is_sound(&self) -> bool {
        self.entries.len() <= KEPT_MAX
    }
}
