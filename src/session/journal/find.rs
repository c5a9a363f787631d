//! Where in a recording a text was printed: looked for in what the program printed with its escape sequences taken out, line
//! by line, forwards or backwards in time.

use std::path::Path;

use regex::Regex;

use super::{
    history::compile,
    record::Record,
    segment::{self, Cursor, Segment},
};
use crate::{
    base::{
        clock::Timestamp,
        fault::Outcome,
        limits::{FIND_BACK_BYTES_MAX, FIND_SEGMENTS_MAX, SEARCH_LINE_BYTES_MAX},
        text,
    },
    model::replay::{FindHit, FindPage, FindRequest},
    vt::Plain,
};

/// The next text of this kind from a place on, or the last one before it. One call looks through a bounded number of segments.
pub fn find(dir: &Path, request: &FindRequest) -> Outcome<FindPage> {
    let pattern = compile(&request.pattern)?;
    let segments = segment::list(dir)?;
    // The one that has the place.
    let holds = segments.iter().rposition(|it| it.start <= request.from).unwrap_or(0);
    match request.backwards {
        false => Ok(forwards(dir, segments.get(holds..).unwrap_or_default(), request, &pattern)),
        true => Ok(backwards(dir, segments.get(..=holds).unwrap_or(&segments), request, &pattern)),
    }
}

fn forwards(dir: &Path, segments: &[Segment], request: &FindRequest, pattern: &Regex) -> FindPage {
    let mut lines = Lines::default();
    for (searched, segment) in segments.iter().enumerate() {
        if searched == FIND_SEGMENTS_MAX {
            return FindPage { hit: None, next: Some(segment.start) };
        }
        let Some(mut cursor) = Cursor::open(dir, segment.start) else { continue };
        while let Some(entry) = cursor.read() {
            let Record::Output(bytes) = entry.record else { continue };
            if lines.end != entry.offset {
                lines = Lines::default();
            }
            let hit = lines.push(entry.at, entry.offset, &bytes, pattern);
            // What was printed before the place is read for where its line begins.
            if let Some(hit) = hit.filter(|it| it.end > request.from) {
                return FindPage { hit: Some(hit), next: None };
            }
        }
    }
    FindPage { hit: None, next: None }
}

fn backwards(dir: &Path, segments: &[Segment], request: &FindRequest, pattern: &Regex) -> FindPage {
    for (searched, segment) in segments.iter().rev().enumerate() {
        if searched == FIND_SEGMENTS_MAX {
            let newer = segments.get(segments.len() - searched).map_or(0, |it| it.start);
            return FindPage { hit: None, next: Some(newer) };
        }
        let Some(mut cursor) = Cursor::open(dir, segment.start) else { continue };
        let (mut lines, mut last) = (Lines::default(), None);
        while let Some(entry) = cursor.read() {
            let Record::Output(bytes) = entry.record else { continue };
            if entry.offset >= request.from {
                break;
            }
            let hit = lines.push(entry.at, entry.offset, &bytes, pattern);
            last = hit.filter(|it| it.end < request.from).or(last);
        }
        if last.is_some() {
            return FindPage { hit: last, next: None };
        }
    }
    FindPage { hit: None, next: None }
}

/// Whether a match ends behind this place, and begins not too far before it: programs print letter by letter.
fn ends_behind(pattern: &Regex, line: &str, place: usize) -> bool {
    let from = place.saturating_sub(FIND_BACK_BYTES_MAX);
    let mut from = (from..=line.len()).find(|it| line.is_char_boundary(*it)).unwrap_or(0);
    while let Some(found) = pattern.find_at(line, from) {
        if found.end() > place {
            return true;
        }
        let next = found.end().max(found.start() + 1);
        let Some(next) = (next..=line.len()).find(|it| line.is_char_boundary(*it)) else { break };
        from = next;
    }
    false
}

/// The line that is being printed.
#[derive(Default)]
struct Lines {
    plain: Plain,
    /// What stands on it so far.
    line: String,
    /// Offset of the next byte.
    end: u64,
}

impl Lines {
    /// Adds a piece of output; gives a match that ends in it.
    fn push(
        &mut self,
        at: Timestamp,
        offset: u64,
        bytes: &[u8],
        pattern: &Regex,
    ) -> Option<FindHit> {
        let fresh = self.plain.feed(bytes);
        self.end = offset + bytes.len() as u64;
        let mut hit = None;
        let mut pieces = fresh.split('\n').peekable();
        while let Some(piece) = pieces.next() {
            let before = self.line.len();
            self.line.push_str(piece);
            if hit.is_none() && ends_behind(pattern, &self.line, before) {
                let line = text::shown(self.line.trim_end(), SEARCH_LINE_BYTES_MAX);
                hit = Some(FindHit { at, offset, end: self.end, line });
            }
            if pieces.peek().is_some() {
                self.line.clear();
            } else if self.line.len() > SEARCH_LINE_BYTES_MAX {
                // A line without end: its newest part may still begin a match.
                let from = self.line.len() - SEARCH_LINE_BYTES_MAX / 2;
                let from = (from..=self.line.len()).find(|it| self.line.is_char_boundary(*it));
                self.line.drain(..from.unwrap_or(0));
            }
        }
        hit
    }
}
