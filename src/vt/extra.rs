//! Attributes that vt100 does not keep: struck out, blinking, hidden. A cell with one of them ends in
//! a mark of ours, a character without width, so that it goes wherever its cell goes: no plane beside
//! the grid has to follow insertions, scrolling and reflow. No mark comes in with output, and none
//! leaves a screen but within a keyframe.

use super::{paint::Style, screen::Screen};

/// First of the marks, one for each combination of the attributes. Unassigned and ignorable.
const FIRST: u32 = 0xe0200;
/// What all of them begin with in UTF-8, and others too.
pub(super) const LEAD_BYTE: u8 = 0xf3;
/// The attributes' place in `Style::marks`.
const SHIFT: u8 = 5;
/// vt100 adds nothing to a cell of this many bytes.
const CELL_BYTES_MAX: usize = 18;

pub(super) const STRUCK: u8 = 1 << SHIFT;
pub(super) const BLINK: u8 = 2 << SHIFT;
pub(super) const HIDDEN: u8 = 4 << SHIFT;
pub(super) const ALL: u8 = STRUCK | BLINK | HIDDEN;

/// The mark for a set of attributes; `None` when it is empty.
pub(super) fn mark(extra: u8) -> Option<char> {
    let number = u32::from((extra & ALL) >> SHIFT);
    char::from_u32(FIRST + number).filter(|_| number > 0)
}

/// The attributes a character stands for, if it is a mark.
pub(super) fn of_mark(it: char) -> Option<u8> {
    let number = u32::from(it).checked_sub(FIRST)?;
    u8::try_from(number).ok().filter(|it| (1..=ALL >> SHIFT).contains(it)).map(|it| it << SHIFT)
}

/// A cell's text, and its attributes.
pub(super) fn split(text: &str) -> (&str, u8) {
    if text.len() < 5 {
        return (text, 0);
    }
    match text.char_indices().find_map(|(at, it)| Some((at, of_mark(it)?))) {
        Some((at, extra)) => (text.get(..at).unwrap_or_default(), extra),
        None => (text, 0),
    }
}

impl Screen {
    /// Adds a character without width to the cell before the cursor, where that ends in a mark;
    /// `false` when it does not. The cell is written anew, so that the mark stays its end and
    /// what decides on its width comes before it.
    pub(super) fn extend_marked(&mut self, it: char) -> bool {
        let grid = self.grid_mut();
        let screen = grid.screen();
        let (row, mut col) = grid.cursor();
        let before = |col: u16| screen.cell(row, col.checked_sub(1)?);
        if before(col).is_some_and(vt100::Cell::is_wide_continuation) {
            col -= 1;
        }
        let Some(cell) = before(col) else { return false };
        let (text, extra) = split(cell.contents());
        let Some(mark) = mark(extra) else { return false };
        if text.len() + it.len_utf8() >= CELL_BYTES_MAX {
            return true;
        }
        let mut out = format!("\x1b[{};{col}H", row + 1).into_bytes();
        Style::of(cell).write(&mut out);
        out.extend_from_slice(format!("{text}{it}{mark}").as_bytes());
        grid.pen().write(&mut out);
        grid.put(&out);
        true
    }
}
