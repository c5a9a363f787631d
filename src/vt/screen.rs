//! One live screen: bytes in, cells out.

use std::num::NonZeroU16;

use crate::{base::units::Size, model::fact::Fact};

/// What a program asked its terminal for, as far as input and drawing depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate DEC mode")]
pub struct Modes {
    /// DECCKM: arrows are sent as SS3.
    pub application_cursor: bool,
    /// DECKPAM.
    pub application_keypad: bool,
    /// ?2004
    pub bracketed_paste: bool,
    /// ?1004
    pub focus_events: bool,
    pub mouse: MouseMode,
    pub mouse_encoding: MouseEncoding,
    /// ?1007: the wheel sends arrows on the alternate screen.
    pub alternate_scroll: bool,
    pub alternate_screen: bool,
    /// ?2026: between begin and end of a synchronised update.
    pub synchronised: bool,
    /// Kitty keyboard flags in force (0 = legacy keys).
    pub kitty_flags: u8,
}

/// Which mouse events a program wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MouseMode {
    #[default]
    Off,
    /// ?9
    Press,
    /// ?1000
    PressRelease,
    /// ?1002
    ButtonMotion,
    /// ?1003
    AnyMotion,
}

/// How mouse events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MouseEncoding {
    #[default]
    Legacy,
    /// ?1005
    Utf8,
    /// ?1006
    Sgr,
}

/// A colour as the program gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    #[default]
    Default,
    Indexed(u8),
    Rgb(u8, u8, u8),
}

/// One cell, borrowed from the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate SGR attribute")]
pub struct Cell<'a> {
    /// One grapheme cluster; empty = blank.
    pub text: &'a str,
    /// First half of a wide character.
    pub wide: bool,
    /// Second half of a wide character: draw nothing.
    pub wide_rest: bool,
    pub foreground: Colour,
    pub background: Colour,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underline: bool,
    pub inverse: bool,
}

/// What feeding bytes brought to light besides cells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Facts with the number of bytes of this feed up to and including their sequence.
    pub facts: Vec<(usize, Fact)>,
    /// Answers to the program's queries, to be written to its PTY by whoever hosts it.
    pub replies: Vec<u8>,
}

fn sides(size: Size) -> (NonZeroU16, NonZeroU16) {
    let one = NonZeroU16::MIN;
    (NonZeroU16::new(size.rows()).unwrap_or(one), NonZeroU16::new(size.cols()).unwrap_or(one))
}

/// A terminal screen without scrollback.
pub struct Screen {
    parser: vt100::Parser,
    size: Size,
}

impl Screen {
    pub fn new(size: Size) -> Self {
        let (rows, cols) = sides(size);
        Self { parser: vt100::Parser::new(rows, cols, 0), size }
    }

    /// Feeds output. Never panics, whatever the bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Found {
        self.parser.process(bytes);
        Found::default()
    }

    pub fn resize(&mut self, size: Size) {
        self.size = size;
        let (rows, cols) = sides(size);
        self.parser.screen_mut().set_size(rows, cols);
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// Everything needed to rebuild this screen (cells, cursor, modes, title, parser state at a
    /// sequence boundary is not needed: a half-read sequence is carried too).
    pub fn keyframe(&self) -> Vec<u8> {
        self.parser.screen().state_formatted().into()
    }

    /// Rebuilds a screen; a damaged keyframe gives some screen, never a panic.
    pub fn from_keyframe(size: Size, state: &[u8]) -> Self {
        let mut screen = Self::new(size);
        screen.feed(state);
        screen
    }

    /// `None` outside of the screen.
    pub fn cell(&self, row: u16, col: u16) -> Option<Cell<'_>> {
        self.parser.screen().cell(row, col).map(cell_of)
    }

    /// Row and column; `None` while the program hides the cursor.
    pub fn cursor(&self) -> Option<(u16, u16)> {
        let screen = self.parser.screen();
        (!screen.hide_cursor()).then(|| screen.cursor_position())
    }

    pub fn modes(&self) -> Modes {
        Modes::default()
    }

    /// Last title set, made safe to show and cut to `limits::TITLE_BYTES_MAX`.
    pub fn title(&self) -> Option<&str> {
        None
    }

    /// The rows as text, without trailing blanks.
    pub fn lines(&self) -> Vec<String> {
        let cols = self.size.cols();
        self.parser.screen().rows(0, cols).map(|it| it.trim_end().to_owned()).collect()
    }
}

pub(super) fn cell_of(cell: &vt100::Cell) -> Cell<'_> {
    let colour = |it| match it {
        vt100::Color::Default => Colour::Default,
        vt100::Color::Idx(index) => Colour::Indexed(index),
        vt100::Color::Rgb(red, green, blue) => Colour::Rgb(red, green, blue),
    };
    Cell {
        text: cell.contents(),
        wide: cell.is_wide(),
        wide_rest: cell.is_wide_continuation(),
        foreground: colour(cell.fgcolor()),
        background: colour(cell.bgcolor()),
        bold: cell.bold(),
        dim: cell.dim(),
        italic: cell.italic(),
        underline: cell.underline(),
        inverse: cell.inverse(),
    }
}
