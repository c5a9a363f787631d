//! One cell of a program's screen, in the words of ratatui.

use ratatui::style::{Color, Modifier, Style};

use crate::{
    base::text::width,
    vt::screen::{Cell, Colour},
};

/// Its look over `base`, which stands where the program chose no colour; `lower` brings its colours
/// down to what the terminal shows.
pub fn style(cell: &Cell<'_>, base: Style, lower: impl Fn(Color) -> Color) -> Style {
    let colour = |it| match it {
        Colour::Default => None,
        Colour::Indexed(index) => Some(lower(Color::Indexed(index))),
        Colour::Rgb(red, green, blue) => Some(lower(Color::Rgb(red, green, blue))),
    };
    let flags = [
        (cell.bold, Modifier::BOLD),
        (cell.dim, Modifier::DIM),
        (cell.italic, Modifier::ITALIC),
        (cell.underline, Modifier::UNDERLINED),
        (cell.inverse, Modifier::REVERSED),
        (cell.struck, Modifier::CROSSED_OUT),
        (cell.blink, Modifier::SLOW_BLINK),
    ];
    let set = flags.iter().filter(|(on, _)| *on).map(|(_, it)| *it);
    let style = Style {
        fg: colour(cell.foreground).or(base.fg),
        bg: colour(cell.background).or(base.bg),
        ..base
    };
    style.add_modifier(set.fold(Modifier::empty(), Modifier::union))
}

/// Its text as far as every terminal agrees on its width.
pub fn printable<'a>(cell: &Cell<'a>) -> &'a str {
    let (text, wide) = (cell.text, if cell.wide { 2 } else { 1 });
    if text.len() == 1 {
        return text;
    }
    if text.is_empty() {
        return " ";
    }
    if width(text) == wide {
        return text;
    }
    // A variation or joiner made it wider or narrower than the cells it has: its base alone.
    let base = text.chars().next().map_or(0, char::len_utf8);
    let base = text.get(..base).unwrap_or(" ");
    if width(base) <= wide { base } else { " " }
}
