//! Keyframes: a whole screen as bytes, exact. The format is private to this program and versioned;
//! no terminal ever sees it. A keyframe may come over a wire, so reading one trusts nothing.

use super::{
    extra,
    grid::Grid,
    margins::Sides,
    paint::Style,
    scan::Scanner,
    screen::{Colour, Hints, Modes, MouseEncoding, MouseMode, Screen},
    state::{Charset, Charsets, PerScreen, Saved, State},
};
use crate::base::{
    limits::{KEYFRAME_BYTES_MAX, KITTY_STACK_MAX, TITLE_BYTES_MAX},
    units::Size,
};

const MAGIC: &[u8; 5] = b"\x00SWK\x02";

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, it: u8) {
        self.0.push(it);
    }
    fn number(&mut self, it: u16) {
        self.0.extend_from_slice(&it.to_le_bytes());
    }
    fn bytes(&mut self, it: &[u8]) {
        let length = u32::try_from(it.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(it);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
    fn number(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }
    fn long(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
    fn bytes(&mut self, max: usize) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        self.take(Some(length).filter(|it| *it <= max)?)
    }
}

impl Screen {
    pub(super) fn to_keyframe(&self) -> Vec<u8> {
        let mut out = Writer(MAGIC.to_vec());
        out.number(self.size.cols());
        out.number(self.size.rows());
        write_state(&mut out, &self.state);
        let (state, overflow, held) = self.scanner.parts();
        out.byte(state);
        out.byte(u8::from(overflow));
        out.bytes(held);
        out.bytes(&self.main.painted());
        out.byte(u8::from(self.alternate.is_some()));
        if let Some(grid) = &self.alternate {
            out.bytes(&grid.painted());
        }
        out.0
    }

    /// `None` when these bytes are no keyframe.
    pub(super) fn of_keyframe(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes.strip_prefix(MAGIC)?);
        let (cols, rows) = (input.number()?, input.number()?);
        let size = Size::clamped(cols, rows);
        let mut screen = Self::new(size);
        screen.state = read_state(&mut input, size)?;
        let (state, overflow) = (input.byte()?, input.byte()? != 0);
        screen.scanner = Scanner::from_parts(state, overflow, input.bytes(KEYFRAME_BYTES_MAX)?)?;
        screen.hints = Hints::UNKNOWN;
        restore(&mut screen.main, input.bytes(KEYFRAME_BYTES_MAX)?, &screen.state);
        if input.byte()? != 0 {
            let mut grid = Grid::new(size);
            restore(&mut grid, input.bytes(KEYFRAME_BYTES_MAX)?, &screen.state);
            screen.alternate = Some(grid);
        }
        if screen.state.modes.alternate_screen && screen.alternate.is_none() {
            return None;
        }
        Some(screen)
    }
}

fn restore(grid: &mut Grid, painted: &[u8], state: &State) {
    // CAN ends whatever a damaged keyframe left open in vt100's parser.
    grid.put(painted);
    grid.put(b"\x18");
    let (row, col) = grid.cursor();
    let pen = grid.screen().attributes_formatted();
    grid.put(format!("\x1b[{};{}r", state.top + 1, state.bottom + 1).as_bytes());
    grid.go(row, col);
    grid.put(pen.as_bytes());
}

fn write_state(out: &mut Writer, state: &State) {
    let modes = &state.modes;
    let flags = [
        modes.application_cursor,
        modes.application_keypad,
        modes.bracketed_paste,
        modes.focus_events,
        modes.alternate_scroll,
        modes.alternate_screen,
        modes.synchronised,
        state.cursor_hidden,
        state.autowrap,
        state.insert,
        state.newline,
        state.origin,
        state.reverse_wrap,
        state.side_mode,
    ];
    out.number(flags.iter().enumerate().map(|(bit, on)| u16::from(*on) << bit).sum());
    out.byte(modes.mouse as u8);
    out.byte(modes.mouse_encoding as u8);
    out.byte(state.cursor_style);
    write_charsets(out, state.charsets);
    out.byte(state.extra);
    out.number(state.top);
    out.number(state.bottom);
    out.byte(state.sides.map_or(0, |it| 1 + u8::from(it.pending)));
    if let Some(sides) = state.sides {
        out.number(sides.left);
        out.number(sides.right);
    }
    out.byte(u8::from(state.tabs.is_some()));
    let tabs: Vec<u8> = state.tabs.iter().flatten().map(|it| u8::from(*it)).collect();
    out.bytes(&tabs);
    for screen in [&state.main, &state.alternate] {
        let saved = &screen.saved;
        out.number(saved.row);
        out.number(saved.col);
        out.byte(u8::from(saved.pending));
        write_style(out, saved.style);
        out.byte(u8::from(saved.origin));
        write_charsets(out, saved.charsets);
        out.bytes(&screen.kitty);
    }
    out.byte(u8::from(state.title.is_some()));
    out.bytes(state.title.as_deref().unwrap_or_default().as_bytes());
    out.0.extend_from_slice(&state.last.map_or(0, u32::from).to_le_bytes());
}

fn read_state(input: &mut Reader<'_>, size: Size) -> Option<State> {
    let flags = input.number()?;
    let on = |bit: u16| flags >> bit & 1 == 1;
    let mut state = State::new(size);
    state.modes = Modes {
        application_cursor: on(0),
        application_keypad: on(1),
        bracketed_paste: on(2),
        focus_events: on(3),
        alternate_scroll: on(4),
        alternate_screen: on(5),
        synchronised: on(6),
        mouse: MouseMode::from_number(input.byte()?)?,
        mouse_encoding: MouseEncoding::from_number(input.byte()?)?,
        kitty_flags: 0,
    };
    (state.cursor_hidden, state.autowrap) = (on(7), on(8));
    (state.insert, state.newline, state.origin) = (on(9), on(10), on(11));
    (state.reverse_wrap, state.side_mode) = (on(12), on(13));
    state.cursor_style = input.byte()?.min(6);
    state.charsets = read_charsets(input)?;
    state.extra = input.byte()? & extra::ALL;
    (state.top, state.bottom) = (input.number()?, input.number()?);
    if state.top >= state.bottom || state.bottom >= size.rows() {
        return None;
    }
    let sides = input.byte()?;
    if sides != 0 {
        state.sides = Some(read_sides(input, size, sides == 2)?);
    }
    let custom = input.byte()? != 0;
    let tabs = input.bytes(usize::from(size.cols()))?;
    state.tabs = custom.then(|| tabs.iter().map(|it| *it != 0).collect());
    state.main = read_screen(input, size)?;
    state.alternate = read_screen(input, size)?;
    let titled = input.byte()? != 0;
    let title = input.bytes(TITLE_BYTES_MAX)?;
    let title = crate::base::text::visible(&String::from_utf8_lossy(title));
    state.title = titled.then_some(title);
    state.last = char::from_u32(input.long()?).filter(|it| *it != '\0');
    state.refresh();
    Some(state)
}

/// `None` when they are none that this screen can have.
fn read_sides(input: &mut Reader<'_>, size: Size, pending: bool) -> Option<Sides> {
    let sides = Sides { left: input.number()?, right: input.number()?, pending };
    let fits = sides.left < sides.right && sides.right < size.cols();
    (fits && (!pending || sides.right + 1 < size.cols())).then_some(sides)
}

fn read_screen(input: &mut Reader<'_>, size: Size) -> Option<PerScreen> {
    let saved = Saved {
        row: input.number()?.min(size.rows() - 1),
        col: input.number()?.min(size.cols()),
        pending: input.byte()? != 0,
        style: read_style(input)?,
        origin: input.byte()? != 0,
        charsets: read_charsets(input)?,
    };
    let kitty = input.bytes(KITTY_STACK_MAX)?.iter().map(|it| it & 31).collect();
    Some(PerScreen { saved, kitty })
}

fn write_charsets(out: &mut Writer, charsets: Charsets) {
    for set in charsets.sets {
        out.byte(set as u8);
    }
    out.byte(u8::from(charsets.shifted));
}

fn read_charsets(input: &mut Reader<'_>) -> Option<Charsets> {
    let mut set = || {
        Some(match input.byte()? {
            1 => Charset::Graphics,
            2 => Charset::British,
            _ => Charset::Ascii,
        })
    };
    let sets = [set()?, set()?];
    Some(Charsets { sets, shifted: input.byte()? != 0 })
}

fn write_style(out: &mut Writer, style: Style) {
    for colour in [style.foreground, style.background] {
        let bytes = match colour {
            Colour::Default => [0, 0, 0, 0],
            Colour::Indexed(index) => [1, index, 0, 0],
            Colour::Rgb(red, green, blue) => [2, red, green, blue],
        };
        out.0.extend_from_slice(&bytes);
    }
    out.byte(style.marks);
}

fn read_style(input: &mut Reader<'_>) -> Option<Style> {
    let mut colour = || {
        Some(match input.take(4)? {
            [1, index, ..] => Colour::Indexed(*index),
            [2, red, green, blue] => Colour::Rgb(*red, *green, *blue),
            _ => Colour::Default,
        })
    };
    Some(Style { foreground: colour()?, background: colour()?, marks: input.byte()? })
}
