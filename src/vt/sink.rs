//! Catches the lines that scroll off the top of a grid, for whoever renders history.

use std::{borrow::Cow, fmt};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{
    extra,
    grid::STAND_IN,
    history::Line,
    paint::{self, Row},
    screen::cell_of,
};
use crate::base::{limits::SEGMENT_LINES_MAX, text};

/// Takes the rows that scroll off, where somebody wants them.
#[derive(Default)]
pub(super) struct Sink {
    pub(super) lines: Option<Vec<Line>>,
}

impl vt100::Callbacks for Sink {
    fn on_scroll(&mut self, contents: vt100::capture::RowContents<'_>, _alternate: bool) {
        if let Some(lines) = self.lines.as_mut().filter(|it| it.len() < SEGMENT_LINES_MAX) {
            lines.push(line(&contents));
        }
    }
}

fn line(contents: &vt100::capture::RowContents<'_>) -> Line {
    let mut state = vt100::capture::BasicFormattedCaptureState::new();
    let mut formatted = String::new();
    let written = contents.write_formatted_basic(&mut formatted, &mut state);
    // The state knows whether the row was wrapped and tells by what it writes first the next time.
    let mut first = First(None);
    let told = contents.write_formatted_basic(&mut first, &mut state);
    let wrapped = written.is_ok() && told.map_or(first.0 != Some('\n'), |()| first.0.is_none());
    if !formatted.is_ascii() {
        formatted = marked(&formatted).chars().filter_map(shown).collect();
    }
    Line { formatted: formatted.into_bytes(), wrapped }
}

/// A line with SGR sequences in place of the marks that cells end in, and hidden text left blank.
fn marked(formatted: &str) -> Cow<'_, str> {
    if !formatted.chars().any(|it| extra::of_mark(it).is_some()) {
        return Cow::Borrowed(formatted);
    }
    let mut out = String::with_capacity(formatted.len());
    let (mut cell, mut sequence) = (0, false);
    for it in formatted.chars() {
        if let Some(extra) = extra::of_mark(it) {
            finish(&mut out, cell, extra);
            continue;
        }
        if !sequence && it != '\u{1b}' && it.width() != Some(0) {
            cell = out.len();
        }
        sequence = it == '\u{1b}' || sequence && it != 'm';
        out.push(it);
    }
    Cow::Owned(out)
}

/// Gives the last cell, which begins at `at`, its attributes.
fn finish(out: &mut String, at: usize, extra: u8) {
    let cell = out.split_off(at);
    if extra & extra::HIDDEN != 0 {
        return out.extend(std::iter::repeat_n(' ', cell.width()));
    }
    let (struck, blink) = (extra & extra::STRUCK != 0, extra & extra::BLINK != 0);
    for (on, number) in [(blink, 5), (struck, 9)] {
        let off = format!("\x1b[2{number}m");
        if on && let Some(open) = out.strip_suffix(&off).map(str::len) {
            out.truncate(open);
        } else if on {
            out.push_str(&format!("\x1b[{number}m"));
        }
    }
    out.push_str(&cell);
    out.push_str(if struck { "\x1b[29m" } else { "" });
    out.push_str(if blink { "\x1b[25m" } else { "" });
}

/// A row taken out of a grid, as a line.
pub(super) fn line_of_row(row: &Row) -> Line {
    let mut formatted = Vec::new();
    paint::row_for_terminal(&mut formatted, row.cells.iter().map(cell_of));
    Line { formatted, wrapped: row.wrapped }
}

/// A character of a cell as it may be shown; `None` for one that reorders or hides text.
fn shown(it: char) -> Option<char> {
    match it {
        STAND_IN => Some('\u{fffd}'),
        '\u{1b}' | '\u{200d}' => Some(it),
        it => (!text::is_deceptive(it)).then_some(it),
    }
}

/// Stops after the first character.
struct First(Option<char>);

impl fmt::Write for First {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = text.chars().next();
        if self.0.is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}
