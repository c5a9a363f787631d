//! A session's screen as cells of ours.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Color, Style},
};

use crate::{ui::cell, vt::screen::Screen};

/// Draws the top left of a screen; answers where its cursor is, if it shows and is inside.
pub fn draw(screen: &Screen, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let (rows, cols) =
        (screen.size().rows().min(area.height), screen.size().cols().min(area.width));
    let plain = Style::new().fg(Color::Reset).bg(Color::Reset);
    // Looking a cell up costs more than drawing it: only those the buffer has.
    let drawn = area.intersection(buffer.area);
    let drawn = drawn.top().saturating_sub(area.y)..drawn.bottom().saturating_sub(area.y);
    for row in drawn.start..drawn.end.min(rows) {
        for col in 0..cols {
            let Some(cell) = screen.cell(row, col).filter(|it| !it.wide_rest) else { continue };
            // Half of a wide character at the edge is nothing.
            let cut = cell.wide && col + 1 >= cols;
            let Some(target) = buffer.cell_mut((area.x + col, area.y + row)) else { continue };
            target.set_symbol(if cut { " " } else { cell::printable(&cell) });
            target.set_style(cell::style(&cell, plain, |it| it));
        }
    }
    let (row, col) = screen.cursor().filter(|(row, col)| *row < rows && *col < cols)?;
    Some(Position::new(area.x + col, area.y + row))
}
