//! Places that take the whole middle of the screen for one sandbox: its snapshots, what it changed. They lie
//! over fleet and panes, one over the other, and closing them leads back to where one was.

use std::time::Duration;

use regex::{Regex, RegexBuilder};

use super::{
    action::Action,
    ask::Line,
    asks::{Inbox, Listed},
    chord::Chord,
    diff::Diff,
    effect::EffectId,
    files::Files,
    gauges::GaugesPlace,
    keymap::{Bound, Step},
    records::Records,
    snapshots::Snapshots,
    state::{RESTS_AFTER, State},
    timeline::TimelinePlace,
};
use crate::base::{
    id::SandboxId,
    limits::{CONSOLE_WORK_SHOWN_AFTER, PATTERN_BYTES_MAX},
};
use crate::vt::key::{Key, Mods};

/// How many lie over one another: the asks, over what changed, over the snapshots it was asked from.
pub const VIEWS_MAX: usize = 3;
/// A pattern's automaton may take this much, in bytes.
const PATTERN_MEMORY_MAX: usize = 1 << 20;

/// One such place.
#[derive(Debug)]
pub enum View {
    Snapshots(Box<Snapshots>),
    Diff(Box<Diff>),
    Asks(Box<Inbox>),
    Records(Box<Records>),
    Gauges(Box<GaugesPlace>),
    Files(Box<Files>),
    Timeline(Box<TimelinePlace>),
}

impl View {
    /// The sandbox that it is about, or what is under its cursor.
    pub fn sandbox(&self) -> Option<&SandboxId> {
        match self {
            Self::Snapshots(it) => Some(&it.sandbox),
            Self::Diff(it) => Some(&it.sandbox),
            Self::Asks(it) => match &it.shown {
                Some(it) => Some(&it.ask.sandbox),
                None if it.tab == Listed::Waiting => it.current().map(|it| &it.sandbox),
                None => None,
            },
            Self::Records(it) => it.sandbox(),
            Self::Gauges(it) => it.sandbox(),
            Self::Files(it) => Some(&it.sandbox),
            // In the list of the whole fleet that of the row.
            Self::Timeline(it) => it.sandbox.as_ref().or_else(|| it.current()?.sandbox.as_ref()),
        }
    }

    /// When its cursor will have come to rest, if what it is on is to be asked for then.
    pub(super) fn rests_at(&self) -> Option<Duration> {
        match self {
            Self::Snapshots(it) => it.rest.at(),
            Self::Diff(it) => it.rest.at(),
            Self::Records(it) => it.anew_at,
            Self::Files(it) => it.rests_at(),
            Self::Asks(_) | Self::Gauges(_) | Self::Timeline(_) => None,
        }
    }

    /// The invariants; `Err` says which one broke.
    pub fn check(&self, ended: usize) -> Result<(), String> {
        match self {
            Self::Snapshots(it) => it.check(),
            Self::Diff(it) => it.check(),
            Self::Asks(it) => it.check(ended),
            Self::Records(it) => it.check(),
            Self::Gauges(it) => it.check(),
            Self::Files(it) => it.check(),
            Self::Timeline(it) => it.check(),
        }
    }
}

/// A cursor in a list, and the window around it. Invariant: both lie in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    at: usize,
    top: usize,
    height: usize,
    count: usize,
}

impl Cursor {
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn top(&self) -> usize {
        self.top
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn set_count(&mut self, count: usize) {
        self.count = count;
        self.settle();
    }

    pub fn set_height(&mut self, height: usize) {
        self.height = height;
        self.settle();
    }

    pub fn move_by(&mut self, rows: isize) {
        self.at = self.at.saturating_add_signed(rows);
        self.settle();
    }

    pub fn move_to(&mut self, row: usize) {
        self.at = row;
        self.settle();
    }

    /// Puts the cursor on a row and shows what is below it.
    pub fn show_from(&mut self, row: usize, above: usize) {
        self.at = row;
        self.top = row.saturating_sub(above);
        self.settle();
    }

    /// Does what an action of lists says; `false` when it is none.
    pub fn act(&mut self, action: Action) -> bool {
        let half = isize::try_from((self.height / 2).max(1)).unwrap_or(1);
        match action {
            Action::ListDown => self.move_by(1),
            Action::ListUp => self.move_by(-1),
            Action::ListTop => self.move_to(0),
            Action::ListBottom => self.move_to(usize::MAX),
            Action::ListHalfDown => self.move_by(half),
            Action::ListHalfUp => self.move_by(-half),
            _ => return false,
        }
        true
    }

    fn settle(&mut self) {
        let height = self.height.max(1);
        self.at = self.at.min(self.count.saturating_sub(1));
        self.top = self.top.min(self.at);
        if self.at >= self.top + height {
            self.top = self.at + 1 - height;
        }
        self.top = self.top.min(self.count.saturating_sub(height));
    }

    pub fn is_sound(&self, count: usize) -> bool {
        self.count == count && (self.at < count || self.at == 0) && self.top <= self.at
    }
}

/// A text that is read, in rows, and the window on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub lines: Vec<Line>,
    /// The first row on screen.
    pub top: usize,
    pub(super) height: usize,
    /// What it was broken into lines for.
    pub(super) cells: u16,
}

impl Page {
    pub(super) fn scroll_to(&mut self, row: usize) {
        self.top = row.min(self.lines.len().saturating_sub(self.height));
    }

    pub(super) fn scroll_by(&mut self, rows: isize) {
        self.scroll_to(self.top.saturating_add_signed(rows));
    }

    /// Does what an action of lists says; `false` when it is none.
    pub(super) fn act(&mut self, action: Action) -> bool {
        let half = (self.height / 2).max(1);
        let row = match action {
            Action::ListDown => self.top.saturating_add(1),
            Action::ListUp => self.top.saturating_sub(1),
            Action::ListTop => 0,
            Action::ListBottom => usize::MAX,
            Action::ListHalfDown => self.top.saturating_add(half),
            Action::ListHalfUp => self.top.saturating_sub(half),
            _ => return false,
        };
        self.scroll_to(row);
        true
    }

    /// Rows below the window.
    pub fn below(&self, rows: usize) -> usize {
        self.lines.len().saturating_sub(self.top + rows)
    }

    pub(super) fn is_sound(&self) -> bool {
        self.top <= self.lines.len()
    }
}

/// What the cursor passes is not asked for: the first step is, then what it comes to rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    moved_at: Option<Duration>,
    rests_at: Option<Duration>,
}

impl Rest {
    pub fn moved(&mut self, now: Duration) {
        let running = self.moved_at.is_some_and(|it| now < it + RESTS_AFTER);
        self.moved_at = Some(now);
        self.rests_at = running.then_some(now + RESTS_AFTER);
    }

    /// Whether it rests by now.
    pub fn has_come(&mut self, now: Duration) -> bool {
        self.rests_at.take_if(|it| now >= *it);
        self.rests_at.is_none()
    }

    /// It counts as resting at once.
    pub fn come(&mut self) {
        self.rests_at = None;
    }

    pub fn at(self) -> Option<Duration> {
        self.rests_at
    }
}

/// What is looked for, in the lists of a place. In capitals only what is typed so.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub text: String,
    built: Regex,
}

impl Pattern {
    /// `Err` says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
        }
        let built = RegexBuilder::new(text)
            .case_insensitive(!text.chars().any(char::is_uppercase))
            .size_limit(PATTERN_MEMORY_MAX)
            .build();
        match built {
            Ok(built) => Ok(Self { text: text.to_owned(), built }),
            Err(error) => {
                let text = error.to_string();
                Err(text.lines().last().unwrap_or("not a pattern").trim().to_owned())
            }
        }
    }

    pub fn is_in(&self, text: &str) -> bool {
        self.built.is_match(text)
    }

    /// Where it is, as from..to in bytes; a bounded number of times.
    pub fn places(&self, text: &str) -> Vec<(usize, usize)> {
        let found = self.built.find_iter(text).take(64).filter(|it| !it.is_empty());
        found.map(|it| (it.start(), it.end())).collect()
    }

    /// The next row that has it, around the end.
    pub fn next(
        &self,
        from: usize,
        count: usize,
        forward: bool,
        text: impl Fn(usize) -> String,
    ) -> Option<usize> {
        let count = count.max(1);
        (1..=count)
            .map(|step| (from + if forward { step } else { count - step }) % count)
            .find(|row| self.is_in(&text(*row)))
    }
}

/// What becomes of work that is not waited for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It only reads: it ends with the place that it is read for.
    Ended,
    /// The hub finishes it, and its end is said.
    Finished,
}

/// Something the hub was asked for and is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// What is done, e.g. `restoring api`.
    pub what: String,
    pub since: Duration,
    pub left: Left,
}

impl State {
    /// The place over the others, if there is one.
    pub fn view(&self) -> Option<&View> {
        self.views.last()
    }

    /// What is waited for long enough to be told, and for how long; the newest.
    pub fn work(&self) -> Option<(EffectId, &Work, Duration)> {
        let now = self.now.since_start;
        let waited = |it: &Work| now.saturating_sub(it.since);
        let all = self.works.iter().map(|(id, it)| (*id, it, waited(it)));
        let long = all.filter(|(_, _, waited)| *waited >= CONSOLE_WORK_SHOWN_AFTER);
        // What changes something counts more than what only reads.
        long.max_by_key(|(id, it, _)| (it.left == Left::Finished, *id))
    }

    /// Whether esc, where the keys go now, ends the waiting and nothing else.
    pub fn esc_gives_up(&self) -> bool {
        let esc = Chord { key: Key::Esc, mods: Mods::default() };
        let boxed = self.overlay.is_some() || self.lost.is_some();
        if boxed || !self.typed.is_empty() {
            return false;
        }
        let steps = self.scopes().iter().map(|it| self.keymap.step(*it, &[esc]));
        let first = steps.into_iter().find(|it| *it != Step::Nothing);
        first == Some(Step::Run(&Bound::Action(Action::Back)))
    }

    /// When that next reads differently.
    pub(super) fn work_reads_anew_at(&self) -> Option<Duration> {
        let next = |it: &Work| {
            let waited = self.now.since_start.saturating_sub(it.since);
            it.since + Duration::from_secs(waited.as_secs() + 1)
        };
        self.works.values().map(next).min()
    }
}
