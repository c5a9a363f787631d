//! Scrollback, search and recordings: all read from the journal.

use super::session::ExitStatus;
use crate::base::{clock::Timestamp, id::SessionId, units::Size};

/// A place in a session's history: a line inside a journal segment. Ordered, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryMark {
    /// Offset of the segment's first byte.
    pub segment: u64,
    /// Line within the segment's scrollback, 0 = oldest.
    pub line: u32,
}

/// Asks for lines that have scrolled off the main screen, going back in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Lines older than this; `None` = directly above the live screen.
    pub before: Option<HistoryMark>,
    /// As if nothing had been printed from this offset on; `None` = all that was printed.
    pub until: Option<u64>,
    /// At most `limits::HISTORY_LINES_MAX`.
    pub lines: u32,
}

/// One line of history: text with its SGR attributes and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLine {
    pub mark: HistoryMark,
    pub formatted: Vec<u8>,
    /// The line goes on in the next one (it was wrapped).
    pub wrapped: bool,
}

/// Lines oldest first; ask again `before` the first one for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    pub lines: Vec<HistoryLine>,
    /// Nothing older is kept.
    pub at_start: bool,
}

/// Looks for a pattern in the scrollback, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchRequest {
    /// A regular expression in the syntax of the `regex` crate; case-insensitive unless it has an upper-case letter.
    pub pattern: String,
    /// Only older than this; `None` = from the newest.
    pub before: Option<HistoryMark>,
    /// As if nothing had been printed from this offset on; `None` = all that was printed.
    pub until: Option<u64>,
    pub hits: u32,
}

/// A line that matched, without attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchHit {
    pub mark: HistoryMark,
    pub text: String,
}

/// Hits newest first; `next` continues the search, `None` = all was searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPage {
    pub hits: Vec<SearchHit>,
    pub next: Option<HistoryMark>,
}

/// One session's recording on disk; outlives the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    pub session: SessionId,
    pub sandbox_name: String,
    pub session_name: String,
    pub command: Vec<String>,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub exit: Option<ExitStatus>,
    pub size: Size,
    /// On disk.
    pub size_bytes: u64,
    /// Output bytes dropped from the front to stay within bounds, and lost to a full disk.
    pub dropped_bytes: u64,
    pub lost_bytes: u64,
}
