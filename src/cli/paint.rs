//! Colour on the command line: whether it is wanted, and a screen as text with SGR sequences.

use std::fmt::Write;

use crate::{
    config::environment::Variable,
    vt::screen::{Cell, Colour, Screen},
};

/// Colour goes to terminals only, and NO_COLOR is kept.
pub fn wanted() -> bool {
    let refused = Variable::NoColour.raw().is_some();
    super::out::stdout_is_terminal() && !refused
}

/// The look of a cell without its text.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Look {
    foreground: Colour,
    background: Colour,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    inverse: bool,
    struck: bool,
    blink: bool,
}

impl Look {
    fn of(cell: &Cell<'_>) -> Self {
        Self {
            foreground: cell.foreground,
            background: cell.background,
            bold: cell.bold,
            dim: cell.dim,
            italic: cell.italic,
            underline: cell.underline,
            inverse: cell.inverse,
            struck: cell.struck,
            blink: cell.blink,
        }
    }

    fn codes(self) -> String {
        let mut out = "\x1b[0".to_owned();
        let flags = [
            (self.bold, 1),
            (self.dim, 2),
            (self.italic, 3),
            (self.underline, 4),
            (self.inverse, 7),
            (self.struck, 9),
            (self.blink, 5),
        ];
        for (_, code) in flags.iter().filter(|(on, _)| *on) {
            // Writing to a string can't fail.
            let _ = write!(out, ";{code}");
        }
        for (colour, base) in [(self.foreground, 38), (self.background, 48)] {
            let _ = match colour {
                Colour::Default => Ok(()),
                Colour::Indexed(index) => write!(out, ";{base};5;{index}"),
                Colour::Rgb(red, green, blue) => write!(out, ";{base};2;{red};{green};{blue}"),
            };
        }
        out.push('m');
        out
    }
}

/// The rows of a screen with their colours and nothing else: no cursor, no mode, no clearing.
pub fn screen(screen: &Screen) -> String {
    let mut out = String::new();
    let size = screen.size();
    for row in 0..size.rows() {
        let mut line = String::new();
        let mut kept = 0;
        let mut look = Look::default();
        for cell in (0..size.cols()).filter_map(|col| screen.cell(row, col)) {
            if cell.wide_rest {
                continue;
            }
            let next = Look::of(&cell);
            if next != look {
                line.push_str(&next.codes());
                look = next;
            }
            let blank = cell.text.is_empty() || cell.text == " ";
            line.push_str(if cell.text.is_empty() { " " } else { cell.text });
            if !blank || next != Look::default() {
                kept = line.len();
            }
        }
        line.truncate(kept);
        out.push_str(&line);
        if line.contains('\x1b') {
            out.push_str("\x1b[0m");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Size;

    #[test]
    fn a_screen_printed_with_its_colours_reads_back_the_same() {
        let size = Size::clamped(20, 4);
        let mut one = Screen::new(size);
        one.feed("\x1b[1;31mred\x1b[0m plain\r\n\x1b[48;2;1;2;3m日本\x1b[0m \x1b[7mx".as_bytes());
        let mut two = Screen::new(size);
        two.feed(screen(&one).trim_end_matches('\n').replace('\n', "\r\n").as_bytes());
        for (row, col) in (0..4).flat_map(|row| (0..20).map(move |col| (row, col))) {
            let (left, right) = (one.cell(row, col).unwrap(), two.cell(row, col).unwrap());
            assert_eq!(left.text.trim(), right.text.trim(), "{row},{col}");
            assert!(Look::of(&left) == Look::of(&right), "{row},{col}");
        }
    }
}
