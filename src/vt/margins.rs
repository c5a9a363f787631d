//! Left and right margins (DECLRMM, DECSLRM): a scroll region with sides. vt100 knows none, so while
//! they are narrower than the screen every sequence that minds them is done here, and what moves
//! within them is taken out of the grid and drawn again at its new place.
//!
//! A wrap that is pending at the right margin is told by `pending`; the grid's cursor then stands one
//! column further, as it does at the edge of the screen, so that combining marks find their cell.

use super::{
    csi::Csi,
    front::Feed,
    paint,
    screen::{Colour, Screen},
};

/// Margins narrower than the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sides {
    /// First and last column, from 0.
    pub(super) left: u16,
    pub(super) right: u16,
    /// The next character goes to the next line first.
    pub(super) pending: bool,
}

impl Sides {
    fn holds(self, col: u16) -> bool {
        (self.left..=self.right).contains(&col)
    }
}

/// Where cells go when a part of the screen moves.
#[derive(Clone, Copy)]
enum Move {
    Up(u16),
    Down(u16),
}

impl Screen {
    /// Row and column of the cursor as a program counts, which knows no column past the last.
    pub(super) fn place(&self) -> (u16, u16) {
        let (row, col) = self.grid().cursor();
        let last = self.size.cols() - 1;
        (row, col.min(self.state.sides.filter(|it| it.pending).map_or(last, |it| it.right)))
    }

    /// Takes a wrap back that is pending at the right margin.
    pub(super) fn settle(&mut self) {
        if let Some(sides) = self.state.sides.as_mut().filter(|it| it.pending) {
            sides.pending = false;
            let right = sides.right;
            self.grid_mut().put(format!("\x1b[{}G", right + 1).as_bytes());
        }
    }

    /// DECLRMM; the margins are the screen's edges at first.
    pub(super) fn side_mode(&mut self, on: bool) {
        self.settle();
        self.state.side_mode = on;
        self.state.sides = None;
    }

    /// DECSLRM; margins that make no sense change nothing.
    pub(super) fn set_sides(&mut self, csi: Csi<'_>) {
        let cols = self.size.cols();
        let (left, right) = (csi.at_least(0, 1), csi.at_least(1, cols).min(cols));
        if left >= right {
            return;
        }
        self.settle();
        let sides = Sides { left: left - 1, right: right - 1, pending: false };
        self.state.sides = (left > 1 || right < cols).then_some(sides);
        self.position(1, Some(1));
    }

    /// Does a sequence that minds the margins; `false` when it is one of the others.
    pub(super) fn within_sides(&mut self, feed: &mut Feed<'_>, csi: Csi<'_>) -> bool {
        let Some(sides) = self.state.sides else { return false };
        if b"mbcnthlrgsu".contains(&csi.last) {
            return false;
        }
        self.flush(feed);
        // Where lines move the cursor stays, and with it a pending wrap.
        if !b"LMST".contains(&csi.last) {
            self.settle();
            self.grid_mut().unwrap_cursor();
        }
        let count = csi.at_least(0, 1);
        let (row, col) = self.place();
        let (top, bottom) = (self.state.top, self.state.bottom);
        match csi.last {
            b'A' | b'B' => self.up_or_down(count, csi.last),
            b'C' => {
                let last = if col <= sides.right { sides.right } else { self.size.cols() - 1 };
                self.grid_mut().go(row, col.saturating_add(count).min(last));
            }
            // HPR knows margins in origin mode only.
            b'a' => {
                let last = if self.state.origin { sides.right } else { self.size.cols() - 1 };
                self.grid_mut().go(row, col.saturating_add(count).min(last));
            }
            b'D' => self.back(count),
            b'E' | b'F' => {
                self.up_or_down(count, if csi.last == b'E' { b'B' } else { b'A' });
                self.carriage_return();
            }
            b'G' | b'`' => {
                let above = if self.state.origin { top } else { 0 };
                self.position((row + 1).saturating_sub(above), Some(count));
            }
            b'@' | b'P' if sides.holds(col) => self.shift(count, csi.last == b'@'),
            b'L' | b'M' if sides.holds(col) && (top..=bottom).contains(&row) => {
                let how = if csi.last == b'L' { Move::Down(count) } else { Move::Up(count) };
                self.move_rows(row, how);
            }
            // Five parameters with T are xterm's mouse tracking.
            b'S' => self.move_rows(top, Move::Up(count)),
            b'T' if csi.param(1).is_none() => self.move_rows(top, Move::Down(count)),
            b'@' | b'P' | b'L' | b'M' | b'T' => {}
            _ => return false,
        }
        true
    }

    fn up_or_down(&mut self, count: u16, last: u8) {
        self.grid_mut().put(format!("\x1b[{count}{}", char::from(last)).as_bytes());
    }

    /// CR: to the left margin, or the first column from the left of it.
    pub(super) fn carriage_return(&mut self) {
        self.settle();
        let (row, col) = self.place();
        let left = self.state.sides.map_or(0, |it| it.left);
        let to = if col >= left || self.state.origin { left } else { 0 };
        self.grid_mut().go(row, to);
    }

    /// BS and CUB; with reverse wrap also to the line that goes on in this one.
    pub(super) fn back(&mut self, mut count: u16) {
        let reverse = self.state.reverse_wrap && self.state.autowrap && self.state.sides.is_none();
        if reverse && self.grid().wrap_pending() {
            count -= 1;
        }
        self.settle();
        self.grid_mut().unwrap_cursor();
        let left = self.state.sides.map_or(0, |it| it.left);
        loop {
            let (row, col) = self.place();
            let steps = count.min(col - if col >= left { left } else { 0 });
            self.grid_mut().go(row, col - steps);
            count -= steps;
            let stops = row == 0 || row == self.state.top;
            if count == 0 || !reverse || stops || !self.row_wrapped(row - 1) {
                return;
            }
            let last = self.size.cols() - 1;
            self.grid_mut().go(row - 1, last);
            count -= 1;
        }
    }

    /// LF and IND: down, or the lines between the margins up.
    pub(super) fn index_within(&mut self, sides: Sides) {
        let (row, col) = self.place();
        if row == self.state.bottom && sides.holds(col) {
            self.move_rows(self.state.top, Move::Up(1));
        } else {
            self.up_or_down(1, b'B');
        }
    }

    /// RI
    pub(super) fn reverse_index_within(&mut self, sides: Sides) {
        let (row, col) = self.place();
        if row == self.state.top && sides.holds(col) {
            self.move_rows(row, Move::Down(1));
        } else {
            self.up_or_down(1, b'A');
        }
    }

    /// Prints one character that takes `width` columns, or marks the one before it.
    pub(super) fn print_within(&mut self, sides: Sides, bytes: &[u8], width: u16) {
        let inside = sides.pending || self.place().1 <= sides.right;
        if width > 0 {
            let last = if inside { sides.right } else { self.size.cols() - 1 };
            if self.grid().cursor().1 + width > last + 1 {
                self.settle();
                if self.state.autowrap {
                    self.grid_mut().unwrap_cursor();
                    self.index_within(sides);
                    let row = self.place().0;
                    self.grid_mut().go(row, sides.left);
                } else {
                    let row = self.place().0;
                    self.grid_mut().go(row, last + 1 - width);
                }
            }
            if self.state.insert && sides.holds(self.place().1) {
                self.shift(width, true);
            }
        }
        let before = self.grid().cursor().1;
        self.grid_mut().put(bytes);
        let pending = before <= sides.right && self.grid().cursor().1 > sides.right;
        if let Some(sides) = self.state.sides.as_mut().filter(|_| pending) {
            // At the edge of the screen the grid knows by itself.
            sides.pending = sides.right + 1 < self.size.cols();
        }
    }

    /// Moves the lines from `first` to the end of the region, between the margins.
    fn move_rows(&mut self, first: u16, how: Move) {
        let Some(sides) = self.state.sides else { return };
        let bottom = self.state.bottom;
        let source = |row: u16| match how {
            Move::Up(count) => row.checked_add(count).filter(|it| *it <= bottom),
            Move::Down(count) => row.checked_sub(count).filter(|it| *it >= first),
        };
        let room = sides.right + 1 - sides.left;
        let mut out = Vec::new();
        let screen = self.grid().screen();
        // vt100 reads its rows faster than they can be read from outside.
        let read = screen.rows_formatted(sides.left, room).take(usize::from(bottom) + 1);
        let rows: Vec<String> = read.collect();
        for row in first..=bottom {
            let to = (row, sides.left);
            let from = source(row);
            match from.and_then(|it| rows.get(usize::from(it))) {
                Some(text) if from.is_some_and(|it| self.is_whole(it, sides, text)) => {
                    paint::part(&mut out, to, std::iter::empty(), room, Colour::Default);
                    out.extend_from_slice(text.as_bytes());
                }
                _ => {
                    let count = if from.is_some() { room } else { 0 };
                    self.copy(&mut out, (from.unwrap_or(row), sides.left), count, to, room);
                }
            }
        }
        self.draw(out);
    }

    /// The part of a row between the margins can be drawn elsewhere as vt100 writes it: no wide character
    /// is cut by a margin, and nothing in it erases beyond.
    fn is_whole(&self, row: u16, sides: Sides, text: &str) -> bool {
        let cell = |col| self.grid().screen().cell(row, col);
        !text.ends_with("\x1b[K")
            && cell(sides.left).is_some_and(|it| !it.is_wide_continuation())
            && cell(sides.right).is_some_and(|it| !it.is_wide())
    }

    /// ICH and DCH: moves the rest of the line up to the right margin.
    fn shift(&mut self, count: u16, insert: bool) {
        let Some(sides) = self.state.sides else { return };
        let (row, col) = self.place();
        let room = sides.right + 1 - col;
        let count = count.min(room);
        let kept = room - count;
        let mut out = Vec::new();
        if insert {
            self.copy(&mut out, (row, col), kept, (row, col + count), kept);
            self.copy(&mut out, (row, col), 0, (row, col), count);
        } else {
            self.copy(&mut out, (row, col + count), kept, (row, col), room);
        }
        self.draw(out);
    }

    /// Writes `count` cells of one place to another, and blanks in the background colour up to `room`.
    fn copy(&self, out: &mut Vec<u8>, from: (u16, u16), count: u16, to: (u16, u16), room: u16) {
        let screen = self.grid().screen();
        let cells = (from.1..from.1 + count).map(|col| screen.cell(from.0, col));
        paint::part(out, to, cells, room, self.grid().pen().background);
    }

    /// Lets what was written to `out` reach the grid; cursor and pen stay.
    fn draw(&mut self, mut out: Vec<u8>) {
        let (row, col) = self.grid().cursor();
        out.extend_from_slice(self.grid().screen().attributes_formatted().as_bytes());
        self.grid_mut().put(&out);
        self.grid_mut().go(row, col);
    }
}
