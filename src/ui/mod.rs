//! Layer `ui`: pure drawing. Never asks, never waits, never panics.
pub mod theme;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::app::State;
use theme::Theme;

/// Draws the whole console into `area`; answers where the terminal's cursor belongs, if it shows.
pub fn draw(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let _ = (state, theme, area.intersection(*buf.area()));
    None
}
