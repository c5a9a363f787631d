//! The short way through a flood: of a run of plain lines longer than two screens only the end can
//! be seen, so only the end is drawn.
//!
//! Why it is exact: the part left out has at least as many line feeds as the screen has rows, so
//! after it the cursor is on the bottom row; it ends in CR LF, so the cursor is in the first column
//! and the bottom row is blank. The part drawn has at least as many line feeds again, so every row
//! there was before it is gone at its end. That holds with the whole screen as scroll region,
//! wrapping on, inserting off, the default background, and no scrollback to fill.

/// The end of `text` to draw in place of all of it; `None` when it is no flood.
pub(super) fn tail(text: &str, rows: u16) -> Option<&str> {
    let rows = usize::from(rows);
    if text.len() < 3 * rows {
        return None;
    }
    let bytes = text.as_bytes();
    let mut ends = memchr::memrchr_iter(b'\n', bytes);
    let kept = ends.nth(rows)?;
    // Where to cut: after the nearest CR LF with enough lines behind it.
    let cut = std::iter::once(kept)
        .chain(ends)
        .take(8)
        .find(|at| at.checked_sub(1).and_then(|it| bytes.get(it)) == Some(&b'\r'))?;
    memchr::memchr_iter(b'\n', bytes.get(..cut)?).nth(rows)?;
    text.get(cut + 1..)
}
