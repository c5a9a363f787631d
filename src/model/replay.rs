//! Looking into a recording: the screen of a session as it was at a moment, what it printed from then on, and where a text
//! was printed.

use bytes::Bytes;

use super::session::ExitStatus;
use crate::base::{clock::Timestamp, units::Size};

/// Which moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// All that was printed up to then.
    At(Timestamp),
    /// All that was printed before this offset.
    Before(u64),
}

/// A part of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// From the screen of that time on; `None` = from the beginning.
    pub from: Option<Timestamp>,
    /// Up to then; `None` = to the end.
    pub until: Option<Timestamp>,
}

/// What came after a moment, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Output(Bytes),
    Resize(Size),
    /// The whole screen: what came before it is not in the recording.
    Screen {
        size: Size,
        state: Bytes,
    },
    Exit(ExitStatus),
}

/// One of them with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    pub at: Timestamp,
    /// Offset of its first byte, or of the byte after it if it has none.
    pub offset: u64,
    pub step: Step,
}

/// A screen of the past, and some of what came then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The recording begins then, and was last written to then.
    pub begins_at: Timestamp,
    pub ends_at: Timestamp,
    /// It may go on: its writer lives.
    pub live: bool,
    /// When the newest of what is shown was printed; not after the moment, but where that is before the beginning.
    pub at: Timestamp,
    /// All output before this is on the screen.
    pub offset: u64,
    pub size: Size,
    /// A keyframe for `vt::Screen::from_keyframe`.
    pub state: Bytes,
    /// What came then, as far as it fits. At least one, if there was any.
    pub steps: Vec<Stepped>,
    /// Nothing came after those.
    pub at_end: bool,
}

/// Looks for a text in what was printed, from a place on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindRequest {
    /// A regular expression in the syntax of the `regex` crate; case-insensitive unless it has an upper-case letter.
    pub pattern: String,
    /// From this offset on, or before it, going back.
    pub from: u64,
    pub backwards: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindPage {
    pub hit: Option<FindHit>,
    /// Not all was looked through: go on from here.
    pub next: Option<u64>,
}

/// A text that was printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindHit {
    /// When the piece of output was printed that ends it.
    pub at: Timestamp,
    /// Its offset; and that of the byte after it: what is on the screen then shows it.
    pub offset: u64,
    pub end: u64,
    /// The line, without escape sequences, safe to show.
    pub line: String,
}
