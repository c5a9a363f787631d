//! One watched session: its screen as far as it has come, and how true that still is.

use std::time::Duration;

use crate::{
    model::{output::Output, session::ExitStatus},
    vt::{screen::Screen, touched::Touched, view::View},
};

/// A broken subscription is tried again this often, this many times in a row.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
pub const RETRIES_MAX: u32 = 5;

/// How the subscription does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Asked for, nothing came yet.
    Waiting,
    Live,
    /// Nothing will come: the program has ended.
    Over,
    /// It broke; the picture is old.
    Broken {
        why: String,
        retry_at: Option<Duration>,
    },
}

/// The first row that shows of a screen higher than its pane: the cursor's row stays in sight.
pub fn first_row(screen: &Screen, height: u16) -> u16 {
    let spare = screen.size().rows().saturating_sub(height);
    screen.cursor().map_or(0, |(row, _)| (row + 1).saturating_sub(height)).min(spare)
}

/// A subscription and what it showed.
pub struct Watch {
    pub generation: u64,
    /// What it shows; none before the first picture.
    view: Option<View>,
    pub feed: Feed,
    /// Bytes that were printed and never came here.
    pub lost: u64,
    pub exit: Option<ExitStatus>,
    pub retries: u32,
    /// Offset of the next byte; a picture that is held back is behind it.
    pub next: u64,
    /// How far the picture had come that shows while a later keyframe is held back.
    shown_before: u64,
}

impl Watch {
    pub fn new(generation: u64) -> Self {
        Self {
            generation,
            view: None,
            feed: Feed::Waiting,
            lost: 0,
            exit: None,
            retries: 0,
            next: 0,
            shown_before: 0,
        }
    }

    /// What is to be shown; `None` before the first picture.
    pub fn screen(&self) -> Option<&Screen> {
        self.view.as_ref().map(View::screen)
    }

    /// The rows that may look different than when this was last asked.
    pub fn take_touched(&mut self) -> Touched {
        self.view.as_mut().map_or(Touched::Nothing, View::take_touched)
    }

    /// Offset of the first byte that is not part of what is shown.
    pub fn shown(&self) -> u64 {
        match self.view.as_ref().map_or(Some(0), View::behind) {
            Some(bytes) => self.next.saturating_sub(bytes as u64),
            None => self.shown_before,
        }
    }

    /// When a picture that its program holds back is shown at the latest.
    pub fn held_until(&self) -> Option<Duration> {
        self.view.as_ref().and_then(View::held_until)
    }

    /// Shows what was held back for long enough; says whether the picture is to be drawn again.
    pub fn settle(&mut self, now: Duration) -> bool {
        self.view.as_mut().is_some_and(|it| it.settle(now))
    }

    /// Begins again after a lost link, keeping the last picture until a new one comes.
    pub fn restart(&mut self, generation: u64) {
        self.generation = generation;
        self.feed = Feed::Waiting;
        self.release();
    }

    /// The subscription broke.
    pub fn broken(&mut self, why: String, retry_at: Option<Duration>) {
        self.feed = Feed::Broken { why, retry_at };
        self.release();
    }

    /// Takes one message in; says whether the picture is to be drawn again.
    pub fn take(&mut self, output: Output, now: Duration) -> bool {
        let was_live = std::mem::replace(&mut self.feed, Feed::Live) == Feed::Live;
        self.retries = 0;
        let changed = match output {
            Output::Chunk { offset, bytes } => self.chunk(offset, &bytes, now),
            Output::Keyframe { offset, size, state, lost } => {
                self.lost = self.lost.saturating_add(lost);
                self.shown_before = self.shown();
                self.next = offset;
                self.keyframe(Screen::from_keyframe(size, &state), now) || lost > 0
            }
            Output::Resize { size, .. } => {
                if let Some(view) = &mut self.view {
                    view.resize(size);
                }
                true
            }
            Output::Fact { .. } => false,
            Output::Exit { status, .. } => {
                self.exit = Some(status);
                self.feed = Feed::Over;
                self.release();
                true
            }
        };
        changed || !was_live
    }

    fn keyframe(&mut self, screen: Screen, now: Duration) -> bool {
        match &mut self.view {
            Some(view) => view.replace(screen, now),
            // There is nothing older to show meanwhile.
            None => {
                self.view = Some(View::new(screen));
                true
            }
        }
    }

    fn chunk(&mut self, offset: u64, bytes: &[u8], now: Duration) -> bool {
        let Some(view) = &mut self.view else { return false };
        // What came twice is skipped, what never came is counted.
        let known = usize::try_from(self.next.saturating_sub(offset)).unwrap_or(usize::MAX);
        let lost = offset.saturating_sub(self.next);
        self.lost = self.lost.saturating_add(lost);
        let fresh = bytes.get(known..).unwrap_or_default();
        self.next = self.next.max(offset.saturating_add(bytes.len() as u64));
        view.feed(fresh, now) || lost > 0
    }

    fn release(&mut self) {
        if let Some(view) = &mut self.view {
            view.release();
        }
    }
}
