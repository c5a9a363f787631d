//! Looking into a recording: the screen of a session as it was at a moment, what it printed from then on, and where a text
//! was printed.

use bytes::Bytes;

use super::session::ExitStatus;
use crate::base::{clock::Timestamp, fault::Fault, units::Size};

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
    /// What is kept of the recording begins then, and ends then: now, of one that is being written.
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
    /// How the program had ended by then.
    pub exit: Option<ExitStatus>,
    /// What came then, as far as it fits. At least one, if there was any.
    pub steps: Vec<Stepped>,
    /// Nothing came after those.
    pub at_end: bool,
}

impl Replay {
    /// Fails where a moment is not in the recording: what is shown then is its beginning or its end.
    pub fn holds(&self, moment: Timestamp) -> Result<(), Fault> {
        match (self.begins_at..=self.ends_at).contains(&moment) {
            true => Ok(()),
            false => Err(not_recorded(self.begins_at, self.ends_at)),
        }
    }
}

/// Nothing was recorded at the time that is meant; this is when something was.
pub fn not_recorded(begins_at: Timestamp, ends_at: Timestamp) -> Fault {
    let (from, to) = (begins_at.rfc3339(), ends_at.rfc3339());
    Fault::absent(format!(
        "nothing is recorded of that time: the recording goes from {from} to {to}"
    ))
    .hint("sandwatch recordings ls shows all that there are, also older ones of the same name")
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
