//! The front before vt100: takes output apart, hands what vt100 does right through as it is, and
//! says the rest in words vt100 does right. It keeps modes, charsets and saved cursors itself, and
//! reads the grid where the answer depends on it.

use std::{borrow::Cow, ops::Range};

use unicode_width::UnicodeWidthChar;

use super::{
    extra, flood,
    grid::{Grid, STAND_IN},
    scan::{Reader, Token},
    screen::{Found, Screen},
    state::Charset,
};

/// Where to stop reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Never,
    /// Behind what begins a synchronised update.
    AtUpdate,
}

/// One feed on its way through.
pub(super) struct Feed<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes to go to the grid as they are; always whole pieces.
    verbatim: Range<usize>,
    /// The piece being looked at, if it lies whole in this feed; else nothing, at its end.
    pub(super) piece: Range<usize>,
    /// Bytes of this feed read so far.
    pub(super) at: usize,
    pub(super) found: &'a mut Found,
}

/// VARIATION SELECTOR-16: the character before it is an emoji, and wide.
const WIDEN: char = '\u{fe0f}';

/// A character that belongs to the cell before it.
fn is_mark(it: char) -> bool {
    it.width() == Some(0)
}

/// Text with characters vt100 must not see, or not everywhere.
fn needs_care(text: &str) -> bool {
    // They begin with these bytes.
    memchr::memchr2(0xef, extra::LEAD_BYTE, text.as_bytes()).is_some()
        && text.contains(|it| matches!(it, '\u{fffd}' | WIDEN) || extra::of_mark(it).is_some())
}

impl Screen {
    /// Gives how much was read when it stopped before the end.
    pub(super) fn read(&mut self, bytes: &[u8], found: &mut Found, stop: Stop) -> Option<usize> {
        let mut stopped = None;
        let mut scanner = std::mem::take(&mut self.scanner);
        let mut reader = Reader::new(bytes);
        let mut feed = Feed { bytes, verbatim: 0..0, piece: 0..0, at: 0, found };
        while let Some(token) = scanner.next(&mut reader) {
            feed.at = reader.at;
            let drawing = self.state.modes.synchronised;
            match token {
                // Nearly all there is.
                Token::Text(text) => {
                    feed.piece = reader.at - text.len()..reader.at;
                    self.text(&mut feed, text);
                }
                Token::Csi(Cow::Borrowed(body)) => {
                    feed.piece = reader.at - body.len() - 2..reader.at;
                    self.whole_csi(&mut feed, body);
                }
                token => {
                    feed.piece = reader.at..reader.at;
                    self.token(&mut feed, token);
                }
            }
            if stop == Stop::AtUpdate && self.state.modes.synchronised && !drawing {
                stopped = Some(feed.at);
                break;
            }
        }
        self.flush(&mut feed);
        self.scanner = scanner;
        stopped
    }

    fn token(&mut self, feed: &mut Feed<'_>, token: Token<'_>) {
        if !matches!(
            token,
            Token::Text(_) | Token::Csi(_) | Token::Control(0x07) | Token::Osc { .. }
        ) {
            self.hints.room = 0;
        }
        match token {
            Token::Text(text) => self.text(feed, text),
            Token::Character(it) => {
                self.flush(feed);
                self.text_carefully(it.encode_utf8(&mut [0; 4]));
            }
            Token::Invalid => {
                self.flush(feed);
                self.text_carefully("\u{fffd}");
            }
            Token::Control(byte) => self.control(feed, byte),
            Token::Escape(body) => {
                self.flush(feed);
                self.escape(&body);
            }
            Token::Csi(body) => self.whole_csi(feed, &body),
            Token::Osc { body, bell } => self.osc(feed, &body, bell),
            Token::Dcs(body) => Self::dcs(feed, &body),
        }
    }

    fn whole_csi(&mut self, feed: &mut Feed<'_>, body: &[u8]) {
        if !matches!(body.last(), Some(b'm' | b'J' | b'K')) {
            self.hints.room = 0;
        }
        self.csi(feed, body);
    }

    /// Lets the piece through to the grid, together with its neighbours.
    pub(super) fn pass(&mut self, feed: &mut Feed<'_>) {
        if feed.verbatim.end != feed.piece.start || feed.verbatim.is_empty() {
            self.flush(feed);
            feed.verbatim = feed.piece.clone();
        } else {
            feed.verbatim.end = feed.piece.end;
        }
    }

    /// Brings the grid up to date.
    pub(super) fn flush(&mut self, feed: &mut Feed<'_>) {
        if !feed.verbatim.is_empty() {
            let bytes = feed.bytes.get(feed.verbatim.clone()).unwrap_or_default();
            feed.verbatim = 0..0;
            self.grid_mut().put(bytes);
        }
    }

    pub(super) fn grid(&self) -> &Grid {
        match &self.alternate {
            Some(grid) if self.state.modes.alternate_screen => grid,
            _ => &self.main,
        }
    }

    pub(super) fn grid_mut(&mut self) -> &mut Grid {
        match &mut self.alternate {
            Some(grid) if self.state.modes.alternate_screen => grid,
            _ => &mut self.main,
        }
    }

    fn text(&mut self, feed: &mut Feed<'_>, text: &str) {
        let ascii = text.is_ascii();
        let extends = !ascii && self.hints.marked && text.chars().any(is_mark);
        if extends || !self.state.is_plain() || !ascii && needs_care(text) {
            self.flush(feed);
            return self.text_carefully(text);
        }
        let charset = self.state.charsets.current();
        if charset != Charset::Ascii {
            self.flush(feed);
            if self.has_background() {
                return self.text_carefully(text);
            }
            let mapped: String = text.chars().map(|it| charset.map(it)).collect();
            self.note_last(&mapped);
            return self.grid_mut().put(mapped.as_bytes());
        }
        self.note_last(text);
        if self.hints.background {
            if !self.fits(feed, text) {
                return self.text_carefully(text);
            }
        } else if !self.keeps_lines()
            && self.state.whole_region(self.size)
            && let Some(tail) = flood::tail(text, self.size.rows())
        {
            // What came before in this feed only matters for what it set, not for what it drew.
            self.flush(feed);
            let bottom = self.size.rows();
            self.grid_mut().put(format!("\x1b[{bottom}H\r\n").as_bytes());
            feed.verbatim = feed.piece.end - tail.len()..feed.piece.end;
            return;
        }
        self.pass(feed);
    }

    /// Remembers the last character for REP.
    fn note_last(&mut self, text: &str) {
        let prints = |it: &char| match it {
            ' '..='~' => true,
            it => it.width().is_some_and(|width| width > 0),
        };
        let printed = text.chars().rev().find(prints);
        self.state.last = printed.or(self.state.last);
    }

    /// Tells whether text surely scrolls nothing that would need the background colour. Looks at the
    /// grid only when the room known of is used up.
    fn fits(&mut self, feed: &mut Feed<'_>, text: &str) -> bool {
        let cols = usize::from(self.size.cols());
        // No character is wider than its bytes are many, but for a tab.
        let takes = |it: u8| match it {
            // From the first column of the last row a line feed scrolls as well.
            0x0a..=0x0c => cols + 1,
            b'\t' => 8,
            _ => 1,
        };
        let needed: usize = text.bytes().map(takes).sum();
        if needed > self.hints.room {
            self.flush(feed);
            if !self.has_background() {
                return true;
            }
            let (row, col) = self.grid().cursor();
            // Below the region nothing scrolls, but the cursor may get into it.
            let rows = usize::from(self.state.bottom.saturating_sub(row));
            self.hints.room = (rows * cols + cols).saturating_sub(usize::from(col));
            if row > self.state.bottom || needed > self.hints.room {
                self.hints.room = 0;
                return row > self.state.bottom;
            }
        }
        self.hints.room -= needed;
        true
    }

    /// Writes text where a charset, a mode or the background colour has a say in every character.
    fn text_carefully(&mut self, text: &str) {
        self.hints.room = 0;
        for it in text.chars() {
            match it {
                '\n' | '\u{b}' | '\u{c}' => self.line_feed(),
                '\r' => self.carriage_return(),
                '\t' => self.tab_forward(1),
                '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {}
                it => self.print(self.state.charsets.current().map(it)),
            }
        }
    }

    /// Prints one character.
    pub(super) fn print(&mut self, it: char) {
        if extra::of_mark(it).is_some() {
            return;
        }
        let it = if it == '\u{fffd}' { STAND_IN } else { it };
        let width = u16::try_from(it.width().unwrap_or(1)).unwrap_or(1).min(2);
        let mut text = String::from(it);
        // At the edge a character cannot become wide; vt100 would tear it when that scrolls.
        let at_edge = self.grid().wrap_pending() || self.state.sides.is_some_and(|it| it.pending);
        if it == WIDEN && at_edge {
            return;
        }
        if width > 0 {
            self.state.last = Some(it);
            text.extend(extra::mark(self.state.extra));
            self.hints.marked |= self.state.extra != 0;
        } else if self.extend_marked(it) {
            return;
        }
        let bytes = text.as_bytes();
        if let Some(sides) = self.state.sides {
            return self.print_within(sides, bytes, width);
        }
        if width == 0 {
            return self.grid_mut().put(bytes);
        }
        let (cols, (row, col)) = (self.size.cols(), self.grid().cursor());
        let wraps = col + width > cols;
        if wraps && !self.state.autowrap {
            self.grid_mut().put(format!("\x1b[{}G", cols - width + 1).as_bytes());
            return self.grid_mut().put(bytes);
        }
        let scrolls = wraps && row == self.state.bottom;
        if self.state.insert && !scrolls {
            self.make_room(width, wraps, row);
        }
        self.grid_mut().put(bytes);
        if scrolls && self.has_background() {
            self.grid_mut().erase(b"\x1b[K");
        }
    }

    /// IRM: moves what stands where the next character goes to the right.
    fn make_room(&mut self, width: u16, wraps: bool, row: u16) {
        if !wraps {
            return self.grid_mut().put(format!("\x1b[{width}@").as_bytes());
        }
        let next = (row + 1).min(self.size.rows() - 1) + 1;
        self.grid_mut().put(format!("\x1b7\x1b[{next}H\x1b[{width}@\x1b8").as_bytes());
    }

    fn has_background(&self) -> bool {
        self.grid().pen().background != super::screen::Colour::Default
    }

    pub(super) fn line_feed(&mut self) {
        if let Some(sides) = self.state.sides {
            if self.state.newline {
                self.carriage_return();
            }
            return self.index_within(sides);
        }
        let scrolls = self.grid().cursor().0 == self.state.bottom;
        let bytes: &[u8] = if self.state.newline { b"\r\n" } else { b"\n" };
        self.grid_mut().put(bytes);
        if scrolls && self.has_background() {
            self.grid_mut().erase(b"\x1b[2K");
        }
    }

    fn control(&mut self, feed: &mut Feed<'_>, byte: u8) {
        match byte {
            0x07 => feed.fact(crate::model::fact::Fact::Bell),
            0x0e => self.state.charsets.shifted = true,
            0x0f => self.state.charsets.shifted = false,
            0x08 => {
                self.flush(feed);
                self.back(1);
            }
            byte => {
                self.flush(feed);
                self.text_carefully(char::from(byte).encode_utf8(&mut [0; 4]));
            }
        }
    }

    /// ESC and what follows, other than the beginning of a longer sequence.
    fn escape(&mut self, body: &[u8]) {
        match body {
            b"7" => self.save_cursor(),
            b"8" => self.restore_cursor(),
            b"D" => self.line_feed(),
            b"E" => {
                self.carriage_return();
                self.line_feed();
            }
            b"H" => self.set_tab(),
            b"M" => self.reverse_index(),
            b"=" => self.state.modes.application_keypad = true,
            b">" => self.state.modes.application_keypad = false,
            b"c" => self.reset(),
            b"#8" => self.align(),
            [slot @ (b'(' | b')'), set] => {
                let set = match set {
                    b'0' => Charset::Graphics,
                    b'A' => Charset::British,
                    _ => Charset::Ascii,
                };
                let [first, second] = &mut self.state.charsets.sets;
                *if *slot == b'(' { first } else { second } = set;
            }
            _ => {}
        }
    }

    fn set_tab(&mut self) {
        let (cols, col) = (self.size.cols(), self.place().1);
        if let Some(stop) = self.state.tabs_mut(cols).get_mut(usize::from(col)) {
            *stop = true;
        }
    }

    pub(super) fn tab_forward(&mut self, count: u16) {
        let cols = self.size.cols();
        self.settle();
        let mut col = self.place().1;
        let right = self.state.sides.map(|it| it.right).filter(|it| col <= *it);
        for _ in 0..count.min(cols) {
            col = self.state.tab_after(col, cols);
        }
        col = col.min(right.unwrap_or(cols - 1));
        self.grid_mut().put(format!("\x1b[{}G", col + 1).as_bytes());
    }

    fn reverse_index(&mut self) {
        if let Some(sides) = self.state.sides {
            return self.reverse_index_within(sides);
        }
        let row = self.grid().cursor().0;
        if row == self.state.top {
            self.grid_mut().put(b"\x1bM");
            if self.has_background() {
                self.grid_mut().erase(b"\x1b[2K");
            }
        } else if row > 0 {
            self.grid_mut().put(b"\x1b[A");
        }
    }
}
