//! A session's screen as cells of ours.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Color, Modifier, Style},
};

use crate::vt::screen::{Cell, Colour, Screen};

/// Draws the top left of a screen; answers where its cursor is, if it shows and is inside.
pub fn draw(screen: &Screen, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let area = area.intersection(buffer.area);
    let (rows, cols) =
        (screen.size().rows().min(area.height), screen.size().cols().min(area.width));
    for row in 0..rows {
        for col in 0..cols {
            let Some(cell) = screen.cell(row, col).filter(|it| !it.wide_rest) else { continue };
            // Half of a wide character at the edge is nothing.
            let cut = cell.wide && col + 1 >= cols;
            let Some(target) = buffer.cell_mut((area.x + col, area.y + row)) else { continue };
            target.set_symbol(if cut || cell.text.is_empty() { " " } else { cell.text });
            target.set_style(style(&cell));
        }
    }
    let (row, col) = screen.cursor().filter(|(row, col)| *row < rows && *col < cols)?;
    Some(Position::new(area.x + col, area.y + row))
}

fn style(cell: &Cell<'_>) -> Style {
    let colour = |it| match it {
        Colour::Default => Color::Reset,
        Colour::Indexed(index) => Color::Indexed(index),
        Colour::Rgb(red, green, blue) => Color::Rgb(red, green, blue),
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
    Style::new()
        .fg(colour(cell.foreground))
        .bg(colour(cell.background))
        .add_modifier(set.fold(Modifier::empty(), Modifier::union))
}
