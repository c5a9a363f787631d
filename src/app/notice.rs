//! Notices: short lines a person should read once, newest shown, all kept for a while.

use std::{collections::VecDeque, time::Duration};

use super::msg::Moment;
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

#[derive(Debug, Default)]
pub struct Notices {
    entries: VecDeque<Entry>,
    until: Option<Duration>,
    /// The newest speaks of the place that is open.
    of_place: bool,
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
        self.of_place = false;
        match self.entries.front_mut() {
            Some(last) if last.text == text && last.level == level => {
                last.times = last.times.saturating_add(1);
                last.at = now.wall;
            }
            _ => self.entries.push_front(Entry { at: now.wall, level, text, times: 1 }),
        }
        self.entries.truncate(KEPT_MAX);
    }

    /// One that means something only in the place that is open.
    pub fn push_here(&mut self, now: Moment, level: Level, text: &str) {
        self.push(now, level, text);
        self.of_place = true;
    }

    /// A place is left: what spoke of it goes off the bar.
    pub fn leave(&mut self) {
        if self.of_place {
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
