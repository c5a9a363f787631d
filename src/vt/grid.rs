//! One vt100 grid: the only place where output reaches vt100, and the guard around it. It is fed
//! whole sequences only, so that vt100's own parser is never left in the middle of one. Modes,
//! saved cursors and charsets are not its business: see `state`.

use std::num::NonZeroU16;

use super::{
    guard::guarded,
    paint::{self, Row, Style},
    sink::Sink,
};
use crate::base::units::Size;

/// Stands in a grid for U+FFFD, which vt100 refuses to print. A noncharacter: a program that prints
/// it gets U+FFFD, as it should.
pub(super) const STAND_IN: char = '\u{fffe}';

/// One vt100 parser, guarded.
pub(super) struct Grid {
    parser: vt100::Parser<Sink>,
    size: Size,
    faults: u64,
}

impl Grid {
    pub(super) fn new(size: Size) -> Self {
        Self { parser: parser(size, Sink::default()), size, faults: 0 }
    }

    /// Feeds whole sequences and text. A panic inside vt100 costs the grid's content, nothing else.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let parser = &mut self.parser;
        if guarded(|| parser.process(bytes)).is_none() {
            self.renew(self.size);
            self.faults = self.faults.saturating_add(1);
        }
    }

    /// Makes the grid empty and of this size.
    pub(super) fn renew(&mut self, size: Size) {
        let sink = std::mem::take(self.parser.callbacks_mut());
        self.parser = parser(size, sink);
        self.size = size;
    }

    pub(super) fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    pub(super) fn sink(&self) -> &Sink {
        self.parser.callbacks()
    }

    pub(super) fn sink_mut(&mut self) -> &mut Sink {
        self.parser.callbacks_mut()
    }

    /// Panics caught in vt100 so far.
    pub(super) fn faults(&self) -> u64 {
        self.faults
    }

    /// Row and column; the column is one past the last when the next character wraps first.
    pub(super) fn cursor(&self) -> (u16, u16) {
        self.screen().cursor_position()
    }

    /// The next character wraps to the next line first.
    pub(super) fn wrap_pending(&self) -> bool {
        self.cursor().1 >= self.size.cols()
    }

    /// Takes a pending wrap back: the cursor stands on the last column.
    pub(super) fn unwrap_cursor(&mut self) {
        if self.wrap_pending() {
            let last = self.size.cols();
            self.put(format!("\x1b[{last}G").as_bytes());
        }
    }

    /// Puts the cursor anywhere, with a pending wrap if the column is past the last one.
    pub(super) fn go(&mut self, row: u16, col: u16) {
        let row = row.min(self.size.rows() - 1);
        if col < self.size.cols() {
            self.put(format!("\x1b[{};{}H", row + 1, col + 1).as_bytes());
        } else {
            let mut out = Vec::new();
            paint::pending(&mut out, self.screen(), self.size, row);
            let pen = self.screen().attributes_formatted();
            out.extend_from_slice(pen.as_bytes());
            self.put(&out);
        }
    }

    /// The style of the next character.
    pub(super) fn pen(&self) -> Style {
        Style::of_pen(self.screen())
    }

    /// Erases with the background colour only, as terminals do; vt100 would underline the blanks.
    pub(super) fn erase(&mut self, sequence: &[u8]) {
        let (underline, inverse) = (self.screen().underline(), self.screen().inverse());
        if !underline && !inverse {
            return self.put(sequence);
        }
        let mut out = b"\x1b[24;27m".to_vec();
        out.extend_from_slice(sequence);
        out.extend_from_slice(if underline { b"\x1b[4m" } else { b"" });
        out.extend_from_slice(if inverse { b"\x1b[7m" } else { b"" });
        self.put(&out);
    }

    /// Every row with its cells.
    pub(super) fn rows(&self) -> Vec<Row> {
        (0..self.size.rows()).map(|row| Row::of(self.screen(), row, self.size.cols())).collect()
    }

    /// The bytes that make an empty grid of this size equal to this one, cursor and pen included.
    pub(super) fn painted(&self) -> Vec<u8> {
        let mut out = Vec::new();
        paint::rows(&mut out, &self.rows());
        let (row, col) = self.cursor();
        if col < self.size.cols() {
            out.extend_from_slice(format!("\x1b[{};{}H", row + 1, col + 1).as_bytes());
        } else {
            paint::pending(&mut out, self.screen(), self.size, row);
        }
        out.extend_from_slice(self.screen().attributes_formatted().as_bytes());
        out
    }
}

fn parser(size: Size, sink: Sink) -> vt100::Parser<Sink> {
    let side = |it| NonZeroU16::new(it).unwrap_or(NonZeroU16::MIN);
    vt100::Parser::new_with_callbacks(side(size.rows()), side(size.cols()), 0, sink)
}
