//! A session's output on disk, as segments that each open with a keyframe: scrollback, search and
//! recording all come from here. `dir` is always one session's directory, `root` holds them all.
//!
//! Everything here blocks on files: call it from `spawn_blocking` in a hub.
use std::path::Path;

use bytes::Bytes;

use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
    },
    model::history::{HistoryPage, HistoryRequest, Recording, SearchPage, SearchRequest},
};

/// Lines that scrolled off the main screen, going back in time.
pub fn history(dir: &Path, _request: &HistoryRequest) -> Outcome<HistoryPage> {
    Err(Fault::absent(format!("no journal in {}", dir.display())))
}

/// Looks for a pattern in the scrollback, newest first.
pub fn search(dir: &Path, _request: &SearchRequest) -> Outcome<SearchPage> {
    Err(Fault::absent(format!("no journal in {}", dir.display())))
}

/// The recording as asciicast v3, in pieces of bounded size.
pub fn export(dir: &Path) -> Outcome<Box<dyn Iterator<Item = Outcome<Bytes>> + Send>> {
    Err(Fault::absent(format!("no journal in {}", dir.display())))
}

/// Every recording under `root`, oldest first; scrollback-only journals are not listed.
pub fn recordings(_root: &Path) -> Outcome<Vec<Recording>> {
    Ok(Vec::new())
}

/// Removes the oldest recordings beyond the bounds of size and age and what scrollback-only
/// journals left; never a live one. Gives the number removed.
pub fn prune(_root: &Path, _now: Timestamp) -> Outcome<usize> {
    Ok(0)
}
