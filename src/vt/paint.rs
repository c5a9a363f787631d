//! Cells written as bytes: for keyframes and reflow (read back by vt100, exactly) and for a real
//! terminal (safe to show).

use super::{
    grid::STAND_IN,
    screen::{Cell, Colour, cell_of},
};
use crate::base::units::Size;

/// The SGR attributes of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) foreground: Colour,
    pub(super) background: Colour,
    /// Bit 0 bold, 1 dim, 2 italic, 3 underline, 4 inverse; the others, from `extra`, mean nothing to vt100.
    pub(super) marks: u8,
}

/// SGR numbers of the bits in `marks`.
const MARKS: [u8; 8] = [1, 2, 3, 4, 7, 9, 5, 8];

fn marks(cell: &Cell<'_>) -> u8 {
    let all =
        [cell.bold, cell.dim, cell.italic, cell.underline, cell.inverse, cell.struck, cell.blink];
    all.iter().enumerate().map(|(bit, on)| u8::from(*on) << bit).sum()
}

impl Style {
    pub(super) fn of(cell: &vt100::Cell) -> Self {
        let it = cell_of(cell);
        Self { foreground: it.foreground, background: it.background, marks: marks(&it) }
    }

    pub(super) fn of_pen(it: &vt100::Screen) -> Self {
        Self {
            foreground: it.fgcolor().into(),
            background: it.bgcolor().into(),
            marks: [it.bold(), it.dim(), it.italic(), it.underline(), it.inverse()]
                .iter()
                .enumerate()
                .map(|(bit, on)| u8::from(*on) << bit)
                .sum(),
        }
    }

    /// Writes the SGR sequence that sets exactly this style, whatever was set before.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[0");
        for (bit, number) in MARKS.into_iter().enumerate() {
            if self.marks >> bit & 1 == 1 {
                out.extend_from_slice(format!(";{number}").as_bytes());
            }
        }
        write_colour(out, self.foreground, Colour::Default, 30);
        write_colour(out, self.background, Colour::Default, 40);
        out.push(b'm');
    }

    /// Writes the SGR sequence from one style to the next, which differs.
    fn write_from(self, out: &mut Vec<u8>, before: Self) {
        if self == Self::default() || self.marks != before.marks {
            return self.write(out);
        }
        let start = out.len() + 2;
        out.extend_from_slice(b"\x1b[");
        write_colour(out, self.foreground, before.foreground, 30);
        write_colour(out, self.background, before.background, 40);
        if out.get(start) == Some(&b';') {
            out.remove(start);
        }
        out.push(b'm');
    }
}

/// Writes a colour's part of an SGR sequence, if it changed.
fn write_colour(out: &mut Vec<u8>, colour: Colour, before: Colour, base: u8) {
    if colour == before {
        return;
    }
    let text = match colour {
        Colour::Default => format!(";{}", base + 9),
        Colour::Indexed(it @ 0..=7) => format!(";{}", base + it),
        Colour::Indexed(it @ 8..=15) => format!(";{}", base + 52 + it),
        Colour::Indexed(it) => format!(";{};5;{it}", base + 8),
        Colour::Rgb(red, green, blue) => format!(";{};2;{red};{green};{blue}", base + 8),
    };
    out.extend_from_slice(text.as_bytes());
}

/// One row of a grid, taken out of it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cells: Vec<vt100::Cell>,
    /// It goes on in the next row.
    pub(super) wrapped: bool,
}

impl Row {
    pub(super) fn of(screen: &vt100::Screen, row: u16, cols: u16) -> Self {
        let cells = (0..cols).filter_map(|col| screen.cell(row, col).cloned()).collect();
        Self { cells, wrapped: screen.row_wrapped(row) }
    }
}

/// A piece of a row to be written at a column.
enum Piece<'a> {
    Text(&'a str, u16),
    Blank(u16),
}

/// Goes through a row: every cell with text, and every run of blanks that has a style.
fn pieces(cells: &[vt100::Cell]) -> Vec<(u16, Style, Piece<'_>)> {
    let mut out: Vec<(u16, Style, Piece<'_>)> = Vec::new();
    for (col, cell) in cells.iter().enumerate() {
        let col = u16::try_from(col).unwrap_or(u16::MAX);
        let style = Style::of(cell);
        if cell.has_contents() {
            out.push((col, style, Piece::Text(cell.contents(), 1 + u16::from(cell.is_wide()))));
        } else if cell.is_wide_continuation() || style == Style::default() {
        } else if let Some((from, last, Piece::Blank(count))) = out.last_mut()
            && *last == style
            && *from + *count == col
        {
            *count += 1;
        } else {
            out.push((col, style, Piece::Blank(1)));
        }
    }
    out
}

/// Writes rows so that an empty vt100 grid gets the same cells and the same wrap marks.
pub(super) fn rows(out: &mut Vec<u8>, rows: &[Row]) {
    let mut pen = Style::default();
    out.extend_from_slice(b"\x1b[m");
    let mut continues = false;
    for (number, row) in rows.iter().enumerate() {
        let mut at = continues.then_some(0_u16);
        if continues && row.cells.first().is_some_and(|it| !it.has_contents()) {
            // The mark is set by writing on; what is written for it goes again.
            out.extend_from_slice(b" \x08");
            let style = row.cells.first().map(Style::of).unwrap_or_default();
            set(out, &mut pen, style);
            out.extend_from_slice(b"\x1b[X");
        }
        for (col, style, piece) in pieces(&row.cells) {
            if at != Some(col) {
                out.extend_from_slice(format!("\x1b[{};{}H", number + 1, col + 1).as_bytes());
            }
            set(out, &mut pen, style);
            match piece {
                Piece::Text(text, width) => {
                    out.extend_from_slice(text.as_bytes());
                    at = Some(col + width);
                }
                Piece::Blank(count) => {
                    out.extend_from_slice(format!("\x1b[{count}X").as_bytes());
                    at = Some(col);
                }
            }
        }
        continues = row.wrapped && at.is_some_and(|it| usize::from(it) == row.cells.len());
    }
}

/// Writes cells to a place in a grid that may hold others, and blanks of a background after them, up to
/// `room` columns. Of a wide character that was cut in two nothing is left. Leaves the pen anyhow.
pub(super) fn part<'a>(
    out: &mut Vec<u8>,
    (row, left): (u16, u16),
    cells: impl ExactSizeIterator<Item = Option<&'a vt100::Cell>>,
    room: u16,
    background: Colour,
) {
    if room == 0 {
        return;
    }
    let count = u16::try_from(cells.len()).unwrap_or(u16::MAX);
    let mut pen = Style::default();
    let mut at = None;
    let go = |out: &mut Vec<u8>, col: u16| {
        out.extend_from_slice(format!("\x1b[{};{}H", row + 1, left + col + 1).as_bytes());
    };
    out.extend_from_slice(b"\x1b[m");
    go(out, 0);
    out.extend_from_slice(format!("\x1b[{room}X").as_bytes());
    for (col, cell) in (0..count).zip(cells) {
        let Some(cell) = cell.filter(|it| !it.is_wide_continuation()) else { continue };
        let (style, width) = (Style::of(cell), 1 + u16::from(cell.is_wide()));
        if col + width > count || !cell.has_contents() && style == Style::default() {
            continue;
        }
        if at != Some(col) {
            go(out, col);
        }
        set(out, &mut pen, style);
        out.extend_from_slice(if cell.has_contents() {
            cell.contents().as_bytes()
        } else {
            b"\x1b[X"
        });
        at = cell.has_contents().then_some(col + width);
    }
    if count < room && background != Colour::Default {
        set(out, &mut pen, Style { background, ..Style::default() });
        go(out, count);
        out.extend_from_slice(format!("\x1b[{}X", room - count).as_bytes());
    }
}

fn set(out: &mut Vec<u8>, pen: &mut Style, style: Style) {
    if *pen != style {
        style.write_from(out, *pen);
        *pen = style;
    }
}

/// Writes what puts the cursor past the end of a row, so that the next character wraps: the last
/// cell is written once more. Leaves the pen anyhow.
pub(super) fn pending(out: &mut Vec<u8>, screen: &vt100::Screen, size: Size, row: u16) {
    let last = size.cols() - 1;
    let rest = screen.cell(row, last).is_some_and(vt100::Cell::is_wide_continuation);
    let col = if rest { last - 1 } else { last };
    out.extend_from_slice(format!("\x1b[{};{}H", row + 1, col + 1).as_bytes());
    let Some(cell) = screen.cell(row, col) else { return };
    Style::of(cell).write(out);
    if cell.has_contents() {
        out.extend_from_slice(cell.contents().as_bytes());
    } else {
        out.extend_from_slice(b" \x1b7\x08\x1b[X\x1b8");
    }
}

/// Writes one row of a screen for a real terminal, from wherever the cursor is; trailing blanks
/// are left out. Ends with default attributes.
pub(super) fn row_for_terminal<'a>(out: &mut Vec<u8>, cells: impl Iterator<Item = Cell<'a>>) {
    let mut pen = Style::default();
    let mut blanks = 0_usize;
    for cell in cells {
        if cell.wide_rest {
            continue;
        }
        let style =
            Style { foreground: cell.foreground, background: cell.background, marks: marks(&cell) };
        if cell.text.is_empty() && style == Style::default() {
            blanks += 1;
            continue;
        }
        if blanks > 0 {
            set(out, &mut pen, Style::default());
            out.extend(std::iter::repeat_n(b' ', std::mem::take(&mut blanks)));
        }
        set(out, &mut pen, style);
        out.extend_from_slice(if cell.text.is_empty() { b" " } else { cell.text.as_bytes() });
    }
    set(out, &mut pen, Style::default());
}

/// The text of a cell as it may be shown: never a character that acts on a terminal or reorders
/// what a person reads. What follows such a character in its cell is left out.
pub(super) fn shown(text: &str) -> &str {
    if text.len() <= 1 {
        return text;
    }
    let mut chars = text.char_indices();
    match chars.next() {
        Some((_, first)) if first == STAND_IN || crate::base::text::is_deceptive(first) => {
            "\u{fffd}"
        }
        _ => {
            let bad = chars
                .find(|(_, it)| *it != '\u{200d}' && crate::base::text::is_deceptive(*it))
                .map_or(text.len(), |(at, _)| at);
            text.get(..bad).unwrap_or_default()
        }
    }
}
