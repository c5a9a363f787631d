//! Scrollback and copy mode: what a session printed before, frozen, with a cursor, a selection and
//! a search. Older lines come page by page from the hub.

use std::{borrow::Cow, collections::VecDeque};

use regex::{Regex, RegexBuilder};
use unicode_segmentation::UnicodeSegmentation;

use super::pane::first_row;
use crate::{
    base::{
        id::SessionId,
        limits::{CLIPBOARD_BYTES_MAX, PATTERN_BYTES_MAX},
        text::width,
    },
    model::history::{HistoryLine, HistoryMark, HistoryPage},
    vt::{plain, row, row::StyledCell, screen::Screen},
};

/// Lines asked for at a time, and kept in all; beyond that the newest go, and are loaded again.
pub const PAGE_LINES: u32 = 400;
const LINES_MAX: usize = 20_000;
/// Matches remembered on the way back; beyond it the way towards the present ends there.
const TRAIL_MAX: usize = 1000;
/// A pattern's automaton may take this much, in bytes.
const PATTERN_MEMORY_MAX: usize = 1 << 20;

/// One line, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyLine {
    /// `None` for a line of the live screen.
    pub mark: Option<HistoryMark>,
    body: Body,
    pub text: String,
    pub wrapped: bool,
}

/// How a line looks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    /// Text with its SGR attributes: read when it is drawn, a tenth of the memory.
    Formatted(Vec<u8>),
    Cells(Vec<StyledCell>),
}

impl CopyLine {
    fn new(mark: Option<HistoryMark>, body: Body, wrapped: bool) -> Self {
        let text: String = match &body {
            Body::Formatted(bytes) => plain(bytes),
            Body::Cells(cells) => cells
                .iter()
                .filter(|it| !it.wide_rest)
                .map(|it| if it.text.is_empty() { " " } else { it.text.as_str() })
                .collect(),
        };
        Self { mark, body, text: text.trim_end().to_owned(), wrapped }
    }

    pub fn cells(&self) -> Cow<'_, [StyledCell]> {
        match &self.body {
            Body::Formatted(bytes) => Cow::Owned(row::parse(bytes)),
            Body::Cells(cells) => Cow::Borrowed(cells),
        }
    }
}

/// A place: line and column (in cells).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub line: usize,
    pub column: usize,
}

/// What is being selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    pub anchor: Spot,
    pub whole_lines: bool,
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
    pub at_start: bool,
    /// A page is on its way.
    pub loading: bool,
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
    pub fn new(session: SessionId, screen: Option<&Screen>, height: usize) -> Self {
        let mut copy = Self {
            session,
            lines: VecDeque::new(),
            screen_lines: 0,
            at_start: false,
            loading: false,
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
        if let Some(screen) = screen {
            copy.picture(screen);
        }
        copy
    }

    /// Whether the live screen is missing below what is loaded.
    pub fn lacks_picture(&self) -> bool {
        self.screen_lines == 0 && !self.detached
    }

    /// Puts the live screen, as it is now, below what is loaded, and shows it.
    pub fn picture(&mut self, screen: &Screen) {
        let above = self.lines.len();
        let rows = screen.size().rows();
        let first = first_row(screen, u16::try_from(self.height).unwrap_or(u16::MAX));
        let shown = (0..rows).map(|row| screen_row(screen, row));
        self.lines.extend(shown.map(|cells| CopyLine::new(None, Body::Cells(cells), false)));
        self.screen_lines = usize::from(rows);
        let row = screen.cursor().map_or(usize::from(first) + self.height - 1, |it| it.0.into());
        self.cursor = Spot { line: above + row, column: 0 };
        self.top = above + usize::from(first);
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
        while self.lines.len() > LINES_MAX {
            let gone = self.lines.pop_back();
            self.newer += usize::from(gone.is_some_and(|it| self.is_match(&it)));
            self.detached = true;
            self.screen_lines = 0;
        }
        self.settle();
    }

    fn is_match(&self, line: &CopyLine) -> bool {
        self.pattern.as_ref().is_some_and(|(_, pattern)| pattern.is_match(&line.text))
    }

    fn matches_from(&self, line: usize) -> usize {
        self.lines.iter().skip(line).filter(|it| self.is_match(it)).count()
    }

    /// The number of the match under the cursor, counted from the newest, and how many there are
    /// if that is known.
    pub fn match_position(&self) -> Option<(usize, Option<usize>)> {
        let (_, number) = self.matched.filter(|(line, _)| *line == self.cursor.line)?;
        let total = self.at_start.then(|| self.newer + self.matches_from(0));
        Some((number, total))
    }

    /// Leaves a match for an older one that is not loaded: its number there.
    pub fn leave_match(&mut self) -> usize {
        let number = self.newer + self.matches_from(self.cursor.line);
        if self.trail.len() < TRAIL_MAX && number > 0 {
            self.trail.push((self.mark_at_cursor(), number));
        }
        number + 1
    }

    /// The match that was left last.
    pub fn last_left(&mut self) -> Option<(Option<HistoryMark>, usize)> {
        self.trail.pop()
    }

    /// Shows a page around a hit instead of what was loaded; `number` counts it from the newest.
    pub fn jump(&mut self, page: HistoryPage, hit: HistoryMark, number: usize) {
        self.loading = false;
        if page.lines.is_empty() {
            return;
        }
        self.at_start = page.at_start;
        self.detached = true;
        self.screen_lines = 0;
        self.selection = None;
        self.lines = page.lines.into_iter().map(history_line).collect();
        let at = self.lines.iter().position(|it| it.mark.is_some_and(|it| it >= hit));
        self.newer = 0;
        self.cursor.line = at.unwrap_or(0);
        self.newer = number.saturating_sub(self.matches_from(self.cursor.line));
        self.top = self.cursor.line.saturating_sub(self.height / 2);
        self.go_to_match(self.cursor.line);
    }

    /// Puts the cursor on the match of a line.
    fn go_to_match(&mut self, line: usize) {
        let text = self.lines.get(line).map_or("", |it| it.text.as_str());
        let found = self.pattern.as_ref().and_then(|(_, pattern)| pattern.find(text));
        let column = found.and_then(|it| text.get(..it.start())).map_or(0, width);
        self.cursor = Spot { line, column };
        self.matched = Some((line, self.newer + self.matches_from(line)));
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

    pub fn toggle_selection(&mut self, whole_lines: bool) {
        self.selection = match self.selection {
            Some(it) if it.whole_lines == whole_lines => None,
            Some(it) => Some(Selection { whole_lines, ..it }),
            None => Some(Selection { anchor: self.cursor, whole_lines }),
        };
    }

    /// The selected cells of a line, from..to; `None` when none are.
    pub fn selected(&self, number: usize) -> Option<(usize, usize)> {
        let selection = self.selection?;
        let (from, to) = if selection.anchor <= self.cursor {
            (selection.anchor, self.cursor)
        } else {
            (self.cursor, selection.anchor)
        };
        if !(from.line..=to.line).contains(&number) {
            return None;
        }
        let start = if number == from.line && !selection.whole_lines { from.column } else { 0 };
        let ends_here = number == to.line && !selection.whole_lines;
        Some((start, if ends_here { to.column + 1 } else { usize::MAX }))
    }

    /// The selected text, or the line under the cursor; `Err` says how large it is when too large.
    pub fn selected_text(&self) -> Result<String, usize> {
        let mut out = String::new();
        let range = match self.selection {
            Some(it) => it.anchor.line.min(self.cursor.line)..=it.anchor.line.max(self.cursor.line),
            None => self.cursor.line..=self.cursor.line,
        };
        let last = *range.end();
        for number in range {
            let Some(line) = self.lines.get(number) else { break };
            let (from, to) = self.selected(number).unwrap_or((0, usize::MAX));
            let piece = slice_cells(&line.text, from, to);
            let whole = to == usize::MAX;
            out.push_str(if whole { piece.trim_end() } else { piece });
            if number != last && !(line.wrapped && whole) {
                out.push('\n');
            }
        }
        if out.len() > CLIPBOARD_BYTES_MAX { Err(out.len()) } else { Ok(out) }
    }

    /// Sets what to look for; `Err` says what is wrong with it.
    pub fn look_for(&mut self, pattern: &str) -> Result<(), String> {
        (self.matched, self.newer) = (None, 0);
        self.trail.clear();
        if pattern.is_empty() {
            self.pattern = None;
            return Ok(());
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
        }
        let built = RegexBuilder::new(pattern)
            .case_insensitive(!pattern.chars().any(char::is_uppercase))
            .size_limit(PATTERN_MEMORY_MAX)
            .build();
        match built {
            Ok(it) => {
                self.pattern = Some((pattern.to_owned(), it));
                Ok(())
            }
            Err(error) => {
                let text = error.to_string();
                Err(text.lines().last().unwrap_or("not a pattern").trim().to_owned())
            }
        }
    }

    /// Goes to the next match among the loaded lines; `false` when there is none.
    pub fn find(&mut self, older: bool) -> bool {
        let matches = |number: &usize| self.lines.get(*number).is_some_and(|it| self.is_match(it));
        let from = self.cursor.line;
        let found = if older {
            (0..from).rev().find(matches)
        } else {
            (from + 1..self.lines.len()).find(matches)
        };
        let Some(number) = found else { return false };
        self.go_to_match(number);
        true
    }

    /// Cells of a line that match, as from..to.
    pub fn hits(&self, text: &str) -> Vec<(usize, usize)> {
        let Some((_, pattern)) = &self.pattern else { return Vec::new() };
        pattern
            .find_iter(text)
            .take(64)
            .filter(|it| !it.is_empty())
            .map(|it| {
                let from = text.get(..it.start()).map_or(0, width);
                (from, from + width(it.as_str()))
            })
            .collect()
    }

    pub fn is_sound(&self) -> bool {
        let count = self.lines.len();
        count <= LINES_MAX
            && (count == 0 || self.cursor.line < count)
            && self.top <= count
            && self.selection.is_none_or(|it| count == 0 || it.anchor.line < count)
    }
}

fn history_line(it: HistoryLine) -> CopyLine {
    CopyLine::new(Some(it.mark), Body::Formatted(it.formatted), it.wrapped)
}

fn screen_row(screen: &Screen, row: u16) -> Vec<StyledCell> {
    (0..screen.size().cols()).filter_map(|col| screen.cell(row, col)).map(Into::into).collect()
}

/// The clusters of a text that lie in the cells from..to.
fn slice_cells(text: &str, from: usize, to: usize) -> &str {
    let (mut at, mut start, mut end) = (0, text.len(), text.len());
    for (offset, cluster) in text.grapheme_indices(true) {
        if at >= from && start == text.len() {
            start = offset;
        }
        if at >= to {
            end = offset;
            break;
        }
        at += width(cluster);
    }
    text.get(start..end.max(start)).unwrap_or("")
}
