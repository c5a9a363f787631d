//! What is selected, and its text.

use unicode_segmentation::UnicodeSegmentation;

use super::{Copy, Spot};
use crate::base::{limits::CLIPBOARD_BYTES_MAX, text::width};

/// What is being selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    pub anchor: Spot,
    pub whole_lines: bool,
}

impl Copy {
    pub fn toggle_selection(&mut self, whole_lines: bool) {
        self.selection = match self.selection {
            Some(it) if it.whole_lines == whole_lines => None,
            Some(it) => Some(Selection { whole_lines, ..it }),
            None => Some(Selection { anchor: self.cursor, whole_lines }),
        };
    }

    /// The selected cells of a line, from..to; `None` when none are.
    pub fn selected(&self, number: usize) -> Option<(usize, usize)> {
        let selection = self.selection?;
        let (from, to) = if selection.anchor <= self.cursor {
            (selection.anchor, self.cursor)
        } else {
            (self.cursor, selection.anchor)
        };
        if !(from.line..=to.line).contains(&number) {
            return None;
        }
        let start = if number == from.line && !selection.whole_lines { from.column } else { 0 };
        let ends_here = number == to.line && !selection.whole_lines;
        Some((start, if ends_here { to.column + 1 } else { usize::MAX }))
    }

    /// The selected text, or the line under the cursor; `Err` says how large it is when too large.
    pub fn selected_text(&self) -> Result<String, usize> {
        let mut out = String::new();
        let range = match self.selection {
            Some(it) => it.anchor.line.min(self.cursor.line)..=it.anchor.line.max(self.cursor.line),
            None => self.cursor.line..=self.cursor.line,
        };
        let last = *range.end();
        for number in range {
            let Some(line) = self.lines.get(number) else { break };
            let (from, to) = self.selected(number).unwrap_or((0, usize::MAX));
            let piece = slice_cells(&line.text, from, to);
            let whole = to == usize::MAX;
            let goes_on = line.wrapped && whole;
            out.push_str(if whole && !goes_on { piece.trim_end() } else { piece });
            if number != last && !goes_on {
                out.push('\n');
            }
        }
        if out.len() > CLIPBOARD_BYTES_MAX { Err(out.len()) } else { Ok(out) }
    }
}

/// The clusters of a text that lie in the cells from..to.
fn slice_cells(text: &str, from: usize, to: usize) -> &str {
    let (mut at, mut start, mut end) = (0, text.len(), text.len());
    for (offset, cluster) in text.grapheme_indices(true) {
        if at >= from && start == text.len() {
            start = offset;
        }
        if at >= to {
            end = offset;
            break;
        }
        at += width(cluster);
    }
    text.get(start..end.max(start)).unwrap_or("")
}
