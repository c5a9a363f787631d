//! One formatted line (text with SGR sequences and nothing else) as cells, for drawing.

use unicode_width::UnicodeWidthStr;

use super::screen::{Cell, Colour, Screen};
use crate::base::{limits::SCREEN_COLS_MAX, units::Size};

/// A cell that owns its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StyledCell {
    pub text: String,
    pub wide: bool,
    pub wide_rest: bool,
    pub foreground: Colour,
    pub background: Colour,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underline: bool,
    pub inverse: bool,
    pub struck: bool,
    pub blink: bool,
}

impl From<Cell<'_>> for StyledCell {
    fn from(it: Cell<'_>) -> Self {
        Self {
            text: it.text.to_owned(),
            wide: it.wide,
            wide_rest: it.wide_rest,
            foreground: it.foreground,
            background: it.background,
            bold: it.bold,
            dim: it.dim,
            italic: it.italic,
            underline: it.underline,
            inverse: it.inverse,
            struck: it.struck,
            blink: it.blink,
        }
    }
}

/// Reads a formatted line into cells; anything that is no text or SGR has no say. At most
/// `limits::SCREEN_COLS_MAX` cells.
pub fn parse(formatted: &[u8]) -> Vec<StyledCell> {
    let text = super::plain(formatted);
    // Emoji sequences can take more cells than their width says; nothing takes more than two a character.
    let needed = text.width().max(text.chars().count().saturating_mul(2));
    let cols = u16::try_from(needed).unwrap_or(SCREEN_COLS_MAX).clamp(2, SCREEN_COLS_MAX);
    let mut screen = Screen::new(Size::clamped(cols, 2));
    screen.feed(&sgr_only(formatted));
    let mut cells: Vec<StyledCell> =
        (0..cols).map_while(|col| screen.cell(0, col)).map(StyledCell::from).collect();
    let blank = StyledCell::default();
    while cells.last() == Some(&blank) {
        cells.pop();
    }
    cells
}

/// A formatted line without anything but text and SGR.
fn sgr_only(formatted: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(formatted.len());
    let mut rest = formatted;
    while let Some(at) = memchr::memchr(0x1b, rest) {
        let (text, sequence) = rest.split_at(at);
        out.extend(text.iter().filter(|it| **it >= 0x20));
        let Some(body) = sequence.strip_prefix(b"\x1b[") else {
            rest = sequence.get(1..).unwrap_or_default();
            continue;
        };
        let end = body.iter().position(|it| !matches!(it, b'0'..=b'9' | b';' | b':'));
        let end = end.unwrap_or(body.len());
        if body.get(end) == Some(&b'm') {
            out.extend_from_slice(sequence.get(..end + 3).unwrap_or_default());
        }
        rest = body.get(end + 1..).unwrap_or_default();
    }
    out.extend(rest.iter().filter(|it| **it >= 0x20));
    out
}
