//! The brush: writes text and cells into a buffer and never outside of its area.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use unicode_segmentation::UnicodeSegmentation;

use crate::{
    app::layout::Area,
    base::text::{clip, is_deceptive, width},
};

pub fn rect(area: Area) -> Rect {
    Rect::new(area.x, area.y, area.width, area.height)
}

/// Writes into a buffer, inside of one area.
pub struct Brush<'b> {
    pub buf: &'b mut Buffer,
    area: Rect,
}

impl<'b> Brush<'b> {
    pub fn new(buf: &'b mut Buffer, area: Rect) -> Self {
        let area = area.intersection(buf.area);
        Self { buf, area }
    }

    /// A brush for a part of this one's area.
    pub fn within(&mut self, area: Area) -> Brush<'_> {
        let area = rect(area).intersection(self.area);
        Brush { buf: self.buf, area }
    }

    pub fn area(&self) -> Area {
        Area::new(self.area.x, self.area.y, self.area.width, self.area.height)
    }

    /// Blanks the whole area.
    pub fn fill(&mut self, style: Style) {
        for y in self.area.top()..self.area.bottom() {
            for x in self.area.left()..self.area.right() {
                if let Some(cell) = self.buf.cell_mut((x, y)) {
                    cell.reset();
                    cell.set_style(style);
                }
            }
        }
    }

    /// Lays a look over what is there.
    pub fn style(&mut self, area: Area, style: Style) {
        self.buf.set_style(rect(area).intersection(self.area), style);
    }

    /// Writes text from a column on, at most `cells` wide; answers the column after it. What is
    /// cut ends in `…`.
    pub fn text(&mut self, x: u16, y: u16, cells: u16, text: &str, style: Style) -> u16 {
        let room = self.area.right().saturating_sub(x).min(cells);
        if room == 0 || !(self.area.top()..self.area.bottom()).contains(&y) || x < self.area.x {
            return x;
        }
        let mut at = x;
        for cluster in clip(text, usize::from(room)).graphemes(true) {
            let wide = u16::try_from(width(cluster)).unwrap_or(0);
            if wide == 0 || at + wide > x + room {
                continue;
            }
            self.cluster(at, y, cluster, wide, style);
            at += wide;
        }
        at
    }

    /// Writes text that ends before a column; answers where it begins.
    pub fn text_right(&mut self, end: u16, y: u16, cells: u16, text: &str, style: Style) -> u16 {
        let text = clip(text, usize::from(cells));
        let wide = u16::try_from(width(&text)).unwrap_or(cells).min(cells);
        let x = end.saturating_sub(wide).max(self.area.x);
        self.text(x, y, end.saturating_sub(x), &text, style);
        x
    }

    /// Puts one cluster of known width; the cells it covers become blank.
    pub fn cluster(&mut self, x: u16, y: u16, cluster: &str, wide: u16, style: Style) {
        if !self.holds(x, y) {
            return;
        }
        // What is written replaces what was there, bold and dim included.
        let style = Style { sub_modifier: !style.add_modifier, ..style };
        let fits = x + wide <= self.area.right();
        let safe = fits && !cluster.chars().any(|it| is_deceptive(it) && it != '\u{200d}');
        if let Some(cell) = self.buf.cell_mut((x, y)) {
            cell.set_symbol(if safe { cluster } else { " " }).set_style(style);
        }
        for covered in x + 1..(x + wide).min(self.area.right()) {
            if let Some(cell) = self.buf.cell_mut((covered, y)) {
                cell.set_symbol(" ").set_style(style);
            }
        }
    }

    fn holds(&self, x: u16, y: u16) -> bool {
        (self.area.left()..self.area.right()).contains(&x)
            && (self.area.top()..self.area.bottom()).contains(&y)
    }

    /// Draws a vertical or horizontal line over an area.
    pub fn line(&mut self, area: Area, symbol: &str, style: Style) {
        for y in area.y..area.y.saturating_add(area.height) {
            for x in area.x..area.x.saturating_add(area.width) {
                self.cluster(x, y, symbol, 1, style);
            }
        }
    }
}

/// Draws a box with a title and answers what is inside.
pub fn framed(
    brush: &mut Brush<'_>,
    area: Area,
    title: &str,
    border: Style,
    inside: Style,
) -> Area {
    if area.width < 4 || area.height < 3 {
        return Area::default();
    }
    brush.within(area).fill(inside);
    let (right, bottom) = (area.x + area.width - 1, area.y + area.height - 1);
    brush.line(Area { height: 1, ..area }, "─", border);
    brush.line(Area { y: bottom, height: 1, ..area }, "─", border);
    brush.line(Area { width: 1, ..area }, "│", border);
    brush.line(Area { x: right, width: 1, ..area }, "│", border);
    for (x, y, corner) in
        [(area.x, area.y, "┌"), (right, area.y, "┐"), (area.x, bottom, "└"), (right, bottom, "┘")]
    {
        brush.cluster(x, y, corner, 1, border);
    }
    brush.text(area.x + 2, area.y, area.width - 4, &format!(" {title} "), border);
    Area::new(area.x + 2, area.y + 1, area.width - 4, area.height - 2)
}
