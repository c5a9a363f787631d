//! Scrollback and search, rendered from the journal when asked for.
//!
//! A segment's history is what scrolls off while its output is fed to the screen it opens with. What
//! is still on the screen at its end scrolls off in a later segment, because that one opens with the
//! same screen: so every line is in exactly one segment.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use regex::{Regex, RegexBuilder};

use super::{
    record::Record,
    segment::{self, Cursor, Segment},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{
            HISTORY_LINE_BYTES_MAX, HISTORY_LINES_MAX, HISTORY_PAGE_BYTES_MAX, PATTERN_BYTES_MAX,
            SEARCH_HITS_MAX, SEARCH_LINE_BYTES_MAX, SEARCH_SEGMENTS_MAX,
        },
    },
    model::history::{
        HistoryLine, HistoryMark, HistoryPage, HistoryRequest, SearchHit, SearchPage, SearchRequest,
    },
    vt::history::{Line, Scrollback},
};

/// Physical lines that one long line may go over and still be searched as one.
const WRAPPED_LINES_MAX: usize = 256;
/// Lines of one segment kept for the next page: some 20 MB at worst.
const LINES_KEPT_MAX: usize = 100_000;
/// Memory a compiled pattern may take, in bytes.
const PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// Lines that scrolled off the main screen, going back in time.
pub fn history(dir: &Path, request: &HistoryRequest) -> Outcome<HistoryPage> {
    let wanted = request.lines.min(HISTORY_LINES_MAX) as usize;
    let segments = older_than(dir, request.before, request.until)?;
    let mut lines = Vec::new(); // newest first
    let (mut bytes, mut left) = (0, segments.len());
    'segments: for segment in segments.iter().rev() {
        let rendered = render(dir, *segment, request.until);
        for (number, line) in upto(&rendered, segment.start, request.before).rev() {
            let mut formatted = line.formatted.clone();
            formatted.truncate(HISTORY_LINE_BYTES_MAX);
            bytes += formatted.len();
            if lines.len() == wanted || (bytes > HISTORY_PAGE_BYTES_MAX && !lines.is_empty()) {
                break 'segments;
            }
            let mark = HistoryMark { segment: segment.start, line: number };
            lines.push(HistoryLine { mark, formatted, wrapped: line.wrapped });
        }
        left -= 1;
    }
    lines.reverse();
    Ok(HistoryPage { lines, at_start: left == 0 })
}

/// Looks for a pattern in the scrollback, newest first. One call looks through a bounded number of
/// segments; `next` says where to go on.
pub fn search(dir: &Path, request: &SearchRequest) -> Outcome<SearchPage> {
    let pattern = compile(&request.pattern)?;
    let wanted = request.hits.min(SEARCH_HITS_MAX) as usize;
    let segments = older_than(dir, request.before, request.until)?;
    let mut hits = Vec::new();
    for (searched, segment) in segments.iter().rev().enumerate() {
        if searched == SEARCH_SEGMENTS_MAX {
            let newer = segments.get(segments.len() - searched).map_or(0, |it| it.start);
            return Ok(SearchPage { hits, next: Some(HistoryMark { segment: newer, line: 0 }) });
        }
        let rendered = render(dir, *segment, request.until);
        for (number, text) in whole_lines(upto(&rendered, segment.start, request.before)) {
            if !pattern.is_match(&text) {
                continue;
            }
            if hits.len() == wanted {
                let next = hits.last().map(|it: &SearchHit| it.mark);
                return Ok(SearchPage { hits, next });
            }
            let mark = HistoryMark { segment: segment.start, line: number };
            hits.push(SearchHit { mark, text });
        }
    }
    Ok(SearchPage { hits, next: None })
}

/// The segments that may have lines older than a mark and an offset, oldest first.
fn older_than(
    dir: &Path,
    before: Option<HistoryMark>,
    until: Option<u64>,
) -> Outcome<Vec<Segment>> {
    let mut segments = segment::list(dir)?;
    segments.retain(|it| until.is_none_or(|until| it.start <= until));
    if let Some(before) = before {
        segments.retain(|it| {
            it.start < before.segment || (it.start == before.segment && before.line > 0)
        });
    }
    Ok(segments)
}

/// The segment rendered last: whoever scrolls asks for the next page of it.
struct Rendered {
    dir: PathBuf,
    /// With its size then.
    segment: Segment,
    extent: Extent,
    lines: Arc<[Line]>,
}

/// How much of a segment was rendered.
#[derive(Clone, Copy)]
enum Extent {
    /// All there was, up to this offset.
    Whole(u64),
    /// As if it ended at this offset; whatever comes behind it changes nothing.
    Until(u64),
}

impl Rendered {
    fn serves(&self, dir: &Path, segment: Segment, until: Option<u64>) -> bool {
        let extends = match self.extent {
            Extent::Whole(end) => self.segment == segment && until.is_none_or(|it| it >= end),
            Extent::Until(end) => self.segment.start == segment.start && until == Some(end),
        };
        extends && self.dir == dir
    }
}

static LAST: Mutex<Option<Rendered>> = Mutex::new(None);

/// What scrolled off in one segment before an offset; nothing if it is gone.
fn render(dir: &Path, segment: Segment, until: Option<u64>) -> Arc<[Line]> {
    let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = last().as_ref().filter(|it| it.serves(dir, segment, until)) {
        return Arc::clone(&same.lines);
    }
    let (lines, extent) = render_anew(dir, segment.start, until);
    let lines: Arc<[Line]> = lines.into();
    if lines.len() <= LINES_KEPT_MAX {
        let lines = Arc::clone(&lines);
        *last() = Some(Rendered { dir: dir.to_owned(), segment, extent, lines });
    }
    lines
}

fn render_anew(dir: &Path, start: u64, until: Option<u64>) -> (Vec<Line>, Extent) {
    let mut extent = Extent::Whole(start);
    let Some(mut cursor) = Cursor::open(dir, start) else { return (Vec::new(), extent) };
    let mut scrollback = None;
    while let Some(entry) = cursor.read() {
        extent = Extent::Whole(cursor.place().0);
        match (entry.record, &mut scrollback) {
            (Record::Keyframe { size, state }, None) => {
                scrollback = Some(Scrollback::from_keyframe(size, &state));
            }
            (Record::Output(bytes), Some(scrollback)) => {
                let wanted = until.map_or(u64::MAX, |it| it.saturating_sub(entry.offset));
                let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
                let fed = bytes.get(..wanted).unwrap_or(&bytes);
                scrollback.feed(fed);
                if let Some(until) = until.filter(|_| fed.len() < bytes.len()) {
                    extent = Extent::Until(until);
                    break;
                }
            }
            (Record::Resize(size), Some(scrollback)) => scrollback.resize(size),
            _ => {}
        }
    }
    (scrollback.map(|it| it.lines().to_vec()).unwrap_or_default(), extent)
}

/// A segment's lines older than a mark, with their numbers.
fn upto(
    lines: &[Line],
    segment: u64,
    before: Option<HistoryMark>,
) -> impl DoubleEndedIterator<Item = (u32, &Line)> {
    let end = match before {
        Some(before) if before.segment == segment => before.line as usize,
        _ => lines.len(),
    };
    let lines = lines.get(..end.min(lines.len())).unwrap_or_default();
    lines.iter().enumerate().map(|(number, line)| (u32::try_from(number).unwrap_or(u32::MAX), line))
}

/// Text line by line, newest first, what was wrapped put together under the number of its first.
fn whole_lines<'a>(lines: impl Iterator<Item = (u32, &'a Line)>) -> Vec<(u32, String)> {
    let mut whole: Vec<(u32, String)> = Vec::new();
    let mut joined = 0;
    for (number, line) in lines {
        let goes_on = joined > 0 && joined < WRAPPED_LINES_MAX;
        if let Some((_, text)) = whole.last_mut().filter(|_| goes_on) {
            text.push_str(&line.text());
        } else {
            whole.push((number, line.text()));
            joined = 0;
        }
        joined = if line.wrapped { joined + 1 } else { 0 };
    }
    for (_, text) in &mut whole {
        if text.len() > SEARCH_LINE_BYTES_MAX {
            let fits = (0..=SEARCH_LINE_BYTES_MAX).rev().find(|it| text.is_char_boundary(*it));
            text.truncate(fits.unwrap_or(0));
        }
    }
    whole.reverse();
    whole
}

/// Case matters only when the pattern has an upper-case letter.
pub(super) fn compile(pattern: &str) -> Outcome<Regex> {
    if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
        return Err(Fault::invalid(format!("a pattern has 1 to {PATTERN_BYTES_MAX} bytes")));
    }
    RegexBuilder::new(pattern)
        .case_insensitive(!pattern.chars().any(char::is_uppercase))
        .size_limit(PATTERN_COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| {
            let reason = error.to_string();
            let last = reason.lines().last().unwrap_or_default().trim();
            Fault::invalid(format!("not a regular expression: {last}"))
                .hint("put a backslash before characters like ( [ * to mean them literally")
        })
}
