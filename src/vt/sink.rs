//! Catches the lines that scroll off the top of a grid, for whoever renders history.

use std::fmt;

use super::{
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
        formatted = formatted.chars().filter_map(shown).collect();
    }
    Line { formatted: formatted.into_bytes(), wrapped }
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
