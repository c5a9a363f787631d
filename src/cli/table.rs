//! Aligned tables for people: columns as wide as their widest cell, colour only where asked for.

use crate::base::text;

/// How a cell stands out; shape first, colour only on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Dim,
    Good,
    Warn,
    Bad,
}

impl Tone {
    fn codes(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// One cell: text made safe to show, and its tone.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub fn new(text: &str, tone: Tone) -> Self {
        Self { text: text::visible(text), tone }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// No cell but the last of a row is wider than this; a hostile name can't push the rest away.
const CELL_WIDTH_MAX: usize = 40;
const GAP: &str = "  ";

/// Rows under a heading.
pub struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as text, one line per row; `colour` says whether escape sequences may be used.
    pub fn render(&self, colour: bool) -> String {
        let heading: Vec<Cell> = self.heading.iter().map(|it| Cell::new(it, Tone::Dim)).collect();
        let lines = || std::iter::once(&heading).chain(&self.rows);
        let columns = self.heading.len();
        let wide = |at: usize| {
            let cells = lines().filter_map(|row| row.get(at));
            cells.map(|cell| text::width(&cell.text)).max().unwrap_or(0).min(CELL_WIDTH_MAX)
        };
        let widths: Vec<usize> = (0..columns).map(wide).collect();
        let mut out = String::new();
        for row in lines() {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                let last = at + 1 == row.len();
                let width = widths.get(at).copied().unwrap_or(0);
                let shown = if last { cell.text.clone() } else { text::clip(&cell.text, width) };
                let codes = if colour { cell.tone.codes() } else { "" };
                line.push_str(codes);
                line.push_str(&shown);
                if !codes.is_empty() {
                    line.push_str("\x1b[0m");
                }
                if !last {
                    line.push_str(&" ".repeat(width.saturating_sub(text::width(&shown))));
                    line.push_str(GAP);
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_width_of_the_characters() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(vec!["日本".into(), "running".into()]);
        table.row(vec!["ab\x1b[2J".into(), Cell::new("x", Tone::Bad)]);
        assert_eq!(table.render(false), "NAME    STATE\n日本    running\nab␛[2J  x\n");
        assert!(table.render(true).contains("\x1b[31mx\x1b[0m"));
    }
}
