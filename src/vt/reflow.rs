//! A new size. The main screen is wrapped anew, line by line, and the cursor stays on its
//! character; the alternate screen is only cut or extended, as its program redraws it anyway. The
//! outcome depends on nothing but what a keyframe carries, so every copy of a screen agrees on it.

use super::{
    grid::Grid,
    paint::{self, Row, Style},
    screen::Colour,
};
use crate::base::units::Size;

/// A place in the rows: row and column; the column may be one past the last.
type Place = (usize, usize);

/// Rows, and where the cursor is in them.
struct Picture {
    rows: Vec<Row>,
    cursor: Place,
}

/// Gives the main screen another size. Returns rows that no longer fit, oldest first, as a history
/// takes them: already wrapped to the new width.
pub(super) fn rewrap(grid: &mut Grid, size: Size) -> Vec<Row> {
    let (row, col) = grid.cursor();
    let cols = usize::from(size.cols());
    let mut picture = wrap(grid.rows(), (usize::from(row), usize::from(col)), cols);
    let rows = usize::from(size.rows());
    let excess = picture.rows.len().saturating_sub(rows).min(picture.cursor.0);
    let gone: Vec<Row> = picture.rows.drain(..excess).collect();
    picture.cursor.0 -= excess;
    picture.rows.truncate(rows);
    redraw(grid, size, &picture);
    gone
}

/// Gives the alternate screen another size: the top left stays, unless the cursor would be lost.
pub(super) fn crop(grid: &mut Grid, size: Size) {
    let (row, col) = grid.cursor();
    let mut rows = grid.rows();
    let excess = (usize::from(row) + 1).saturating_sub(usize::from(size.rows()));
    rows.drain(..excess.min(rows.len()));
    rows.truncate(usize::from(size.rows()));
    let cols = usize::from(size.cols());
    for row in &mut rows {
        if row.cells.len() > cols {
            row.cells.truncate(cols);
            if row.cells.last().is_some_and(vt100::Cell::is_wide) {
                row.cells.pop();
            }
        }
        row.wrapped = false;
    }
    let col = usize::from(col).min(cols - 1);
    redraw(grid, size, &Picture { rows, cursor: (usize::from(row) - excess, col) });
}

fn redraw(grid: &mut Grid, size: Size, picture: &Picture) {
    let pen = grid.screen().attributes_formatted();
    let mut out = Vec::new();
    paint::rows(&mut out, &picture.rows);
    // What is drawn here has been seen before: it must not go into a history again.
    let lines = grid.sink_mut().lines.take();
    grid.renew(size);
    grid.put(&out);
    let side = |it: usize| u16::try_from(it).unwrap_or(u16::MAX);
    grid.go(side(picture.cursor.0), side(picture.cursor.1));
    grid.put(pen.as_bytes());
    grid.sink_mut().lines = lines;
}

/// Joins rows into lines and wraps the lines to a width. Blank rows below the last text and the
/// cursor are left out.
fn wrap(rows: Vec<Row>, cursor: Place, cols: usize) -> Picture {
    let mut out = Picture { rows: Vec::new(), cursor: (0, 0) };
    let used = rows.iter().rposition(|row| !blank(row)).map_or(0, |it| it + 1).max(cursor.0 + 1);
    let mut line: Vec<vt100::Cell> = Vec::new();
    let mut mark = None;
    for (number, row) in rows.into_iter().take(used).enumerate() {
        if number == cursor.0 {
            mark = Some(line.len() + cursor.1);
        }
        let wrapped = row.wrapped && number + 1 < used;
        line.extend(row.cells);
        if !wrapped {
            // Spaces before the cursor were typed; those behind a line only filled it up, and would
            // make a blank row each where it is narrower.
            let filler = if mark.is_some() { plain_blank } else { shows_nothing };
            let kept = line.iter().rposition(|it| !filler(it)).map_or(0, |it| it + 1);
            line.truncate(kept);
            lay(&mut out, std::mem::take(&mut line), mark.take(), cols);
        }
    }
    out
}

fn plain_blank(cell: &vt100::Cell) -> bool {
    !cell.has_contents() && !cell.is_wide_continuation() && Style::of(cell) == Style::default()
}

fn shows_nothing(cell: &vt100::Cell) -> bool {
    const UNDERLINED_OR_INVERSE: u8 = 0b11000;
    let style = Style::of(cell);
    matches!(cell.contents(), "" | " ")
        && !cell.is_wide_continuation()
        && style.background == Colour::Default
        && style.marks & UNDERLINED_OR_INVERSE == 0
}

fn blank(row: &Row) -> bool {
    row.cells.iter().all(plain_blank)
}

/// Lays one line out; `mark` is the cursor's place in it, which may be behind its end.
fn lay(out: &mut Picture, line: Vec<vt100::Cell>, mark: Option<usize>, cols: usize) {
    let mut row: Vec<vt100::Cell> = Vec::new();
    let length = line.len();
    for (at, cell) in line.into_iter().enumerate() {
        let needed = 1 + usize::from(cell.is_wide());
        if row.len() + needed > cols && !cell.is_wide_continuation() {
            let full = row.len() == cols && row.last().is_some_and(|it| !unmarkable(it));
            out.rows.push(Row { cells: std::mem::take(&mut row), wrapped: full });
        }
        if mark == Some(at) {
            out.cursor = (out.rows.len(), row.len());
        }
        row.push(cell);
    }
    if let Some(behind) = mark.and_then(|it| it.checked_sub(length)) {
        // Behind the text: as far behind as before, within the row; right behind a full row the
        // next character still wraps.
        let col = row.len() + behind;
        out.cursor = (out.rows.len(), col.min(if behind == 0 { cols } else { cols - 1 }));
    }
    out.rows.push(Row { cells: row, wrapped: false });
}

/// vt100 marks a row as wrapped only if something stands in its last cell.
fn unmarkable(cell: &vt100::Cell) -> bool {
    !cell.has_contents() && !cell.is_wide_continuation()
}
