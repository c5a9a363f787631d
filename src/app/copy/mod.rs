//! Scrollback and copy mode: what a session printed before, frozen, with a cursor, a selection and
//! a search. Older lines come page by page from the hub.

use std::collections::VecDeque;

use regex::Regex;

use super::pane::{Watch, first_row};
use crate::{
    base::{id::SessionId, text::width},
    model::history::{HistoryMark, HistoryPage},
};

mod find;
mod line;
mod select;

pub use line::CopyLine;
use line::{history_line, screen_line};
pub use select::Selection;

/// Lines asked for at a time, and kept in all; beyond that the newest go, and are loaded again.
pub const PAGE_LINES: u32 = 400;
const LINES_MAX: usize = 20_000;

/// A place: line and column (in cells).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub line: usize,
    pub column: usize,
}

/// Where a look back was opened, to return there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    Fleet,
    Pane,
    Typing,
}

/// A frozen look back into one session.
#[derive(Debug)]
pub struct Copy {
    pub session: SessionId,
    lines: VecDeque<CopyLine>,
    /// Lines at the end that were the live screen.
    screen_lines: usize,
    /// How far the picture had come when it was frozen, as an offset: what was printed later is no
    /// part of what is looked at. `None` without a picture.
    until: Option<u64>,
    pub at_start: bool,
    /// A page is on its way.
    pub loading: bool,
    /// Lines the wheel went up by that are not loaded yet.
    owed: usize,
    /// The newest lines here are not the newest there are.
    pub detached: bool,
    pub cursor: Spot,
    top: usize,
    height: usize,
    pub selection: Option<Selection>,
    pub pattern: Option<(String, Regex)>,
    /// Entered by the mouse: letting go copies and goes back to live.
    pub by_mouse: bool,
    pub opened: Opened,
    /// Lines that match and are newer than all of `lines`, as far as the search came by them.
    newer: usize,
    /// The matching line that was gone to last, and its number, counted from the newest.
    matched: Option<(usize, usize)>,
    /// Matches that were left for older ones out of reach: where, and their number.
    trail: Vec<(Option<HistoryMark>, usize)>,
}

impl Copy {
    /// Freezes the screen as it shows, in the same rows; without one, `picture` brings it.
    pub fn new(session: SessionId, watch: Option<&Watch>, height: usize) -> Self {
        let mut copy = Self {
            session,
            lines: VecDeque::new(),
            screen_lines: 0,
            until: None,
            at_start: false,
            loading: false,
            owed: 0,
            detached: false,
            cursor: Spot::default(),
            top: 0,
            height: height.max(1),
            selection: None,
            pattern: None,
            by_mouse: false,
            opened: Opened::Pane,
            newer: 0,
            matched: None,
            trail: Vec::new(),
        };
        if let Some(watch) = watch {
            copy.picture(watch);
        }
        copy
    }

    /// Whether there is nothing yet, and the live screen would be the first.
    pub fn lacks_picture(&self) -> bool {
        self.lines.is_empty() && !self.loading
    }

    /// Puts the live screen, as it is now, where nothing was, and shows it.
    pub fn picture(&mut self, watch: &Watch) {
        let Some(screen) = watch.screen().filter(|_| self.lacks_picture()) else { return };
        let rows = screen.size().rows();
        let first = usize::from(first_row(screen, u16::try_from(self.height).unwrap_or(u16::MAX)));
        self.lines.extend((0..rows).map(|row| screen_line(screen, row)));
        (self.screen_lines, self.until) = (usize::from(rows), Some(watch.shown()));
        (self.detached, self.at_start) = (false, false);
        let line = screen.cursor().map_or(first + self.height - 1, |it| it.0.into());
        self.cursor = Spot { line, column: 0 };
        self.top = first;
        self.settle();
    }

    pub fn set_height(&mut self, height: usize) {
        self.height = height.max(1);
        self.settle();
    }

    pub fn height(&self) -> usize {
        self.height
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn top(&self) -> usize {
        self.top
    }

    /// Lines on screen, with their number.
    pub fn window(&self) -> impl Iterator<Item = (usize, &CopyLine)> {
        self.lines.iter().enumerate().skip(self.top).take(self.height)
    }

    pub fn line(&self, number: usize) -> Option<&CopyLine> {
        self.lines.get(number)
    }

    /// How far the window is above the live screen, in lines.
    pub fn lines_up(&self) -> usize {
        self.top_at_end().saturating_sub(self.top)
    }

    /// The top of the window at the live end: a screen lower than the window stands at its top, as
    /// it does live.
    fn top_at_end(&self) -> usize {
        let shown = match self.screen_lines {
            0 => self.height,
            rows => rows.min(self.height),
        };
        self.lines.len().saturating_sub(shown)
    }

    /// Whether the next older page should be asked for.
    pub fn wants_older(&self) -> bool {
        !self.loading && !self.at_start && self.top < self.height
    }

    /// How far the picture had come when it was frozen, as an offset.
    pub fn until(&self) -> Option<u64> {
        self.until
    }

    /// Where the next older page ends.
    pub fn oldest(&self) -> Option<HistoryMark> {
        self.lines.front().and_then(|it| it.mark)
    }

    /// The mark of the line under the cursor or the nearest one after it.
    pub fn mark_at_cursor(&self) -> Option<HistoryMark> {
        self.lines.iter().skip(self.cursor.line).find_map(|it| it.mark)
    }

    /// Puts an older page in front; everything stays where it was on screen.
    pub fn older(&mut self, page: HistoryPage) {
        self.loading = false;
        self.at_start = page.at_start || page.lines.is_empty();
        // Loaded without a picture: what lies between this and the present is not known.
        self.detached |= self.screen_lines == 0 && !page.lines.is_empty();
        let oldest = self.oldest();
        for it in page.lines.into_iter().rev() {
            // A page that overlaps or is out of order would show lines twice.
            if oldest.is_some_and(|oldest| it.mark >= oldest) {
                continue;
            }
            self.lines.push_front(history_line(it));
            self.cursor.line += 1;
            self.top += 1;
            if let Some((line, _)) = &mut self.matched {
                *line += 1;
            }
            if let Some(selection) = &mut self.selection {
                selection.anchor.line += 1;
            }
        }
        // What the wheel asked for before it was there.
        let owed = std::mem::take(&mut self.owed);
        if owed > 0 {
            self.scroll(0_isize.saturating_sub_unsigned(owed));
        }
        while self.lines.len() > LINES_MAX {
            let gone = self.lines.pop_back();
            self.newer += usize::from(gone.is_some_and(|it| self.is_match(&it)));
            self.detached = true;
            self.screen_lines = 0;
        }
        self.settle();
    }

    fn settle(&mut self) {
        let last = self.lines.len().saturating_sub(1);
        self.cursor.line = self.cursor.line.min(last);
        if let Some(selection) = &mut self.selection {
            selection.anchor.line = selection.anchor.line.min(last);
        }
        self.top = self.top.min(self.cursor.line);
        if self.cursor.line >= self.top + self.height {
            self.top = self.cursor.line + 1 - self.height;
        }
        self.top = self.top.min(self.top_at_end());
    }

    /// Moves the cursor by lines; says whether it was at the newest line already.
    pub fn move_lines(&mut self, lines: isize) -> bool {
        let last = self.lines.len().saturating_sub(1);
        self.owed = 0;
        let at_end = lines > 0 && self.cursor.line >= last;
        self.cursor.line = self.cursor.line.saturating_add_signed(lines).min(last);
        self.settle();
        at_end
    }

    /// Moves the window by lines and takes the cursor along; says whether it is at the end.
    pub fn scroll(&mut self, lines: isize) -> bool {
        let most = self.top_at_end();
        let at_end = lines > 0 && self.top >= most;
        let before = self.top;
        let short = lines.unsigned_abs().saturating_sub(before);
        self.owed = match self.at_start || lines > 0 {
            true => 0,
            false => (self.owed + short).min(PAGE_LINES as usize),
        };
        self.top = self.top.saturating_add_signed(lines).min(most);
        let moved = isize::try_from(self.top).unwrap_or(0) - isize::try_from(before).unwrap_or(0);
        self.cursor.line = self.cursor.line.saturating_add_signed(moved);
        self.settle();
        at_end
    }

    pub fn move_columns(&mut self, columns: isize) {
        let last = self.width_at(self.cursor.line).saturating_sub(1);
        self.cursor.column = self.cursor.column.min(last).saturating_add_signed(columns).min(last);
    }

    pub fn to_line_edge(&mut self, end: bool) {
        let last = self.width_at(self.cursor.line).saturating_sub(1);
        self.cursor.column = if end { last } else { 0 };
    }

    pub fn to_top(&mut self) {
        self.cursor.line = 0;
        self.settle();
    }

    /// Puts the cursor on a cell of the window.
    pub fn point(&mut self, row: usize, column: usize) {
        let last = self.lines.len().saturating_sub(1);
        self.cursor = Spot { line: (self.top + row).min(last), column };
        self.settle();
    }

    fn width_at(&self, number: usize) -> usize {
        self.lines.get(number).map_or(0, |it| width(&it.text))
    }

    pub fn is_sound(&self) -> bool {
        let count = self.lines.len();
        count <= LINES_MAX
            && (count == 0 || self.cursor.line < count)
            && self.top <= count
            && self.selection.is_none_or(|it| count == 0 || it.anchor.line < count)
    }
}
