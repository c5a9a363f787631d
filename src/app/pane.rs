//! One watched session: its screen as far as it has come, and how true that still is.

use std::time::Duration;

use crate::{
    model::{output::Output, session::ExitStatus},
    vt::screen::Screen,
};

/// How long a program may hold its picture back with a synchronised update.
pub const SYNCHRONISED_WITHIN: Duration = Duration::from_millis(150);
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
    pub screen: Option<Screen>,
    pub feed: Feed,
    /// Bytes that were printed and never came here.
    pub lost: u64,
    pub exit: Option<ExitStatus>,
    pub retries: u32,
    /// Offset of the next byte: how far the picture has come.
    pub next: u64,
    /// A synchronised update is open until then at the latest.
    pub held_until: Option<Duration>,
}

impl Watch {
    pub fn new(generation: u64) -> Self {
        Self {
            generation,
            screen: None,
            feed: Feed::Waiting,
            lost: 0,
            exit: None,
            retries: 0,
            next: 0,
            held_until: None,
        }
    }

    /// Begins again after a lost link, keeping the last picture until a new one comes.
    pub fn restart(&mut self, generation: u64) {
        self.generation = generation;
        self.feed = Feed::Waiting;
        self.held_until = None;
    }

    /// Takes one message in; says whether the picture is to be drawn again.
    pub fn take(&mut self, output: Output, now: Duration) -> bool {
        let was_live = std::mem::replace(&mut self.feed, Feed::Live) == Feed::Live;
        self.retries = 0;
        match output {
            Output::Chunk { offset, bytes } => {
                self.chunk(offset, &bytes);
                return self.may_show(now) || !was_live;
            }
            Output::Keyframe { offset, size, state, lost } => {
                self.screen = Some(Screen::from_keyframe(size, &state));
                self.lost = self.lost.saturating_add(lost);
                self.next = offset;
                self.held_until = None;
            }
            Output::Resize { size, .. } => {
                if let Some(screen) = &mut self.screen {
                    screen.resize(size);
                }
            }
            Output::Fact { .. } => return !was_live,
            Output::Exit { status, .. } => {
                self.exit = Some(status);
                self.feed = Feed::Over;
                self.held_until = None;
            }
        }
        true
    }

    fn chunk(&mut self, offset: u64, bytes: &[u8]) {
        let Some(screen) = &mut self.screen else { return };
        // What came twice is skipped, what never came is counted.
        let known = usize::try_from(self.next.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.lost = self.lost.saturating_add(offset.saturating_sub(self.next));
        let fresh = bytes.get(known..).unwrap_or_default();
        self.next = self.next.max(offset.saturating_add(bytes.len() as u64));
        screen.feed(fresh);
    }

    fn may_show(&mut self, now: Duration) -> bool {
        let held = self.screen.as_ref().is_some_and(|it| it.modes().synchronised);
        match (held, self.held_until) {
            (false, _) => {
                self.held_until = None;
                true
            }
            (true, None) => {
                self.held_until = Some(now + SYNCHRONISED_WITHIN);
                false
            }
            (true, Some(until)) => now >= until,
        }
    }
}
