//! One live screen: bytes in, cells out.

use super::{
    extra,
    front::Stop,
    grid::Grid,
    history::Line,
    paint::{self, Style},
    reflow,
    scan::Scanner,
    sink,
    state::State,
    touched::{Touched, stays_in_row},
};
use crate::{
    base::{limits::SEGMENT_LINES_MAX, units::Size},
    model::fact::Fact,
};

/// What a program asked its terminal for, as far as input and drawing depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl MouseMode {
    pub(super) fn from_number(it: u8) -> Option<Self> {
        let all = [Self::Off, Self::Press, Self::PressRelease, Self::ButtonMotion, Self::AnyMotion];
        all.get(usize::from(it)).copied()
    }
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

impl MouseEncoding {
    pub(super) fn from_number(it: u8) -> Option<Self> {
        [Self::Legacy, Self::Utf8, Self::Sgr].get(usize::from(it)).copied()
    }
}

/// A colour as the program gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    #[default]
    Default,
    Indexed(u8),
    Rgb(u8, u8, u8),
}

impl From<vt100::Color> for Colour {
    fn from(it: vt100::Color) -> Self {
        match it {
            vt100::Color::Default => Self::Default,
            vt100::Color::Idx(index) => Self::Indexed(index),
            vt100::Color::Rgb(red, green, blue) => Self::Rgb(red, green, blue),
        }
    }
}

/// One cell, borrowed from the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell<'a> {
    /// One grapheme cluster; empty = blank. Of hidden text nothing but blanks.
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
    /// Crossed out.
    pub struck: bool,
    pub blink: bool,
}

/// What feeding bytes brought to light besides cells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Facts with the number of bytes of this feed up to and including their sequence.
    pub facts: Vec<(usize, Fact)>,
    /// Answers to the program's queries, to be written to its PTY by whoever hosts it.
    pub replies: Vec<u8>,
}

/// Foreground and background told to programs that ask, unless somebody knows better: light grey
/// on near black.
const COLOURS: ((u8, u8, u8), (u8, u8, u8)) = ((216, 216, 216), (18, 18, 18));

/// What the grid may be set to; `true` when in doubt. Saves looking at the grid, nothing depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hints {
    /// The background may be none of the default.
    pub(super) background: bool,
    /// Underline or inverse may be on.
    pub(super) decorated: bool,
    /// Cells may end in a mark of `extra`.
    pub(super) marked: bool,
    /// Cells that can be printed without scrolling, at the least.
    pub(super) room: usize,
}

impl Hints {
    pub(super) const UNKNOWN: Self =
        Self { background: true, decorated: true, marked: true, room: 0 };
}

/// A terminal screen without scrollback.
pub struct Screen {
    pub(super) size: Size,
    pub(super) main: Grid,
    /// There while the alternate screen is shown, and after ?47 left it.
    pub(super) alternate: Option<Grid>,
    pub(super) state: State,
    pub(super) scanner: Scanner,
    pub(super) hints: Hints,
    pub(super) colours: ((u8, u8, u8), (u8, u8, u8)),
    /// Since it was last asked for.
    pub(super) touched: Touched,
}

impl Screen {
    pub fn new(size: Size) -> Self {
        Self {
            size,
            main: Grid::new(size),
            alternate: None,
            state: State::new(size),
            scanner: Scanner::default(),
            hints: Hints::default(),
            colours: COLOURS,
            touched: Touched::All,
        }
    }

    /// Feeds output, cut anywhere. Never panics, whatever the bytes. Large feeds are cheaper: a flood
    /// of plain lines is skipped up to what can be seen at the end of the feed.
    pub fn feed(&mut self, bytes: &[u8]) -> Found {
        let mut found = Found::default();
        let faults = self.touch(bytes);
        self.read(bytes, &mut found, Stop::Never);
        self.touch_lost(faults);
        found
    }

    /// Feeds output up to and with what begins a synchronised update; gives how much that was, `None`
    /// when none began and all was taken.
    pub fn feed_to_update(&mut self, bytes: &[u8]) -> Option<usize> {
        let faults = self.touch(bytes);
        let taken = self.read(bytes, &mut Found::default(), Stop::AtUpdate);
        self.touch_lost(faults);
        taken
    }

    /// Notes which rows output is going to touch; answers how many pictures were lost before.
    fn touch(&mut self, bytes: &[u8]) -> u64 {
        let (row, column) = self.place();
        // Where margins are set, a row may end before its edge.
        let plain = self.state.sides.is_none() && self.scanner.is_at_rest();
        let stays = plain && stays_in_row(bytes, column, self.size.cols());
        self.touched = self.touched.and(if stays { Touched::Rows(row, row) } else { Touched::All });
        self.faults()
    }

    /// A picture that was lost meanwhile is another one in all rows.
    fn touch_lost(&mut self, faults: u64) {
        if self.faults() != faults {
            self.touched = Touched::All;
        }
    }

    /// The rows that may look different than when this was last asked.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::replace(&mut self.touched, Touched::Nothing)
    }

    /// Changes the size: the main screen is wrapped anew, the alternate screen cut or extended.
    pub fn resize(&mut self, size: Size) {
        if size == self.size {
            return;
        }
        self.settle();
        let gone = reflow::rewrap(&mut self.main, size);
        if let Some(lines) = &mut self.main.sink_mut().lines {
            let room = SEGMENT_LINES_MAX.saturating_sub(lines.len());
            lines.extend(gone.iter().take(room).map(sink::line_of_row));
        }
        if let Some(grid) = &mut self.alternate {
            reflow::crop(grid, size);
        }
        self.size = size;
        self.touched = Touched::All;
        self.state.resize(size);
        self.hints.room = 0;
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// Everything needed to rebuild this screen: cells of both screens, cursor, modes, title, and a
    /// half-read sequence. Only for `from_keyframe`; never to be written to a terminal.
    pub fn keyframe(&self) -> Vec<u8> {
        self.to_keyframe()
    }

    /// Rebuilds a screen; a damaged keyframe gives some screen of this size, never a panic. Bytes that
    /// are no keyframe are taken as output.
    pub fn from_keyframe(size: Size, state: &[u8]) -> Self {
        let mut screen = Self::of_keyframe(state).unwrap_or_else(|| {
            let mut screen = Self::new(size);
            screen.feed(state);
            screen
        });
        screen.resize(size);
        screen
    }

    /// `None` outside of the screen.
    pub fn cell(&self, row: u16, col: u16) -> Option<Cell<'_>> {
        self.grid().screen().cell(row, col).map(cell_of)
    }

    /// Row and column; `None` while the program hides the cursor.
    pub fn cursor(&self) -> Option<(u16, u16)> {
        (!self.state.cursor_hidden).then(|| self.place())
    }

    /// The cursor's shape as the program asked for it by DECSCUSR: 0 none asked, 1 and 2 block, 3 and 4
    /// underline, 5 and 6 bar; odd ones blink.
    pub fn cursor_style(&self) -> u8 {
        self.state.cursor_style
    }

    pub fn modes(&self) -> Modes {
        self.state.modes
    }

    /// Last title set, made safe to show and cut to `limits::TITLE_BYTES_MAX`.
    pub fn title(&self) -> Option<&str> {
        self.state.title.as_deref()
    }

    /// The rows as text, without trailing blanks.
    pub fn lines(&self) -> Vec<String> {
        (0..self.size.rows()).map(|row| self.line(row)).collect()
    }

    fn line(&self, row: u16) -> String {
        let mut out = String::with_capacity(usize::from(self.size.cols()));
        for cell in self.cells(row).filter(|it| !it.wide_rest) {
            out.push_str(if cell.text.is_empty() { " " } else { cell.text });
        }
        out.truncate(out.trim_end_matches(' ').len());
        out
    }

    fn cells(&self, row: u16) -> impl Iterator<Item = Cell<'_>> {
        (0..self.size.cols()).filter_map(move |col| self.cell(row, col))
    }

    /// The row goes on in the next one.
    pub fn row_wrapped(&self, row: u16) -> bool {
        self.grid().screen().row_wrapped(row)
    }

    /// One row as text and SGR sequences, safe for a real terminal; ends with default attributes.
    pub fn row_formatted(&self, row: u16) -> Vec<u8> {
        let mut out = Vec::new();
        paint::row_for_terminal(&mut out, self.cells(row));
        out
    }

    /// The whole screen for a real terminal: erase, text and SGR, and the cursor at its place.
    /// Nothing in it changes a mode but the cursor's visibility.
    pub fn contents_formatted(&self) -> Vec<u8> {
        let mut out = b"\x1b[?25l\x1b[m\x1b[H\x1b[2J".to_vec();
        for row in 0..self.size.rows() {
            let formatted = self.row_formatted(row);
            if !formatted.is_empty() {
                out.extend_from_slice(format!("\x1b[{}H", row + 1).as_bytes());
                out.extend_from_slice(&formatted);
            }
        }
        let (row, col) = self.place();
        out.extend_from_slice(format!("\x1b[{};{}H", row + 1, col + 1).as_bytes());
        let mut pen = Vec::new();
        let style = self.grid().pen();
        Style { marks: style.marks | self.state.extra, ..style }.write(&mut pen);
        out.extend_from_slice(&pen);
        if !self.state.cursor_hidden {
            out.extend_from_slice(b"\x1b[?25h");
        }
        out
    }

    /// Sets what programs are told when they ask for the default colours (OSC 10 and 11).
    pub fn set_colours(&mut self, foreground: (u8, u8, u8), background: (u8, u8, u8)) {
        self.colours = (foreground, background);
    }

    /// Panics of vt100 that were caught; each cost one picture.
    pub fn faults(&self) -> u64 {
        self.main.faults() + self.alternate.as_ref().map_or(0, Grid::faults)
    }

    /// Keeps the lines that scroll off the main screen from now on.
    pub(super) fn keep_lines(&mut self) {
        self.main.sink_mut().lines = Some(Vec::new());
    }

    pub(super) fn kept_lines(&self) -> &[Line] {
        self.main.sink().lines.as_deref().unwrap_or_default()
    }

    pub(super) fn keeps_lines(&self) -> bool {
        self.main.sink().lines.is_some()
    }
}

pub(super) fn cell_of(cell: &vt100::Cell) -> Cell<'_> {
    let (text, extra) = extra::split(cell.contents());
    let hidden = extra & extra::HIDDEN != 0;
    Cell {
        text: match (hidden, cell.is_wide()) {
            (false, _) => paint::shown(text),
            (true, false) => " ",
            (true, true) => "  ",
        },
        wide: cell.is_wide(),
        wide_rest: cell.is_wide_continuation(),
        foreground: cell.fgcolor().into(),
        background: cell.bgcolor().into(),
        bold: cell.bold(),
        dim: cell.dim(),
        italic: cell.italic(),
        underline: cell.underline() && !hidden,
        inverse: cell.inverse(),
        struck: extra & extra::STRUCK != 0 && !hidden,
        blink: extra & extra::BLINK != 0 && !hidden,
    }
}
