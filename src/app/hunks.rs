//! One file's diff as lines to look at: made safe, numbered on both sides, bounded. Its hunks are kept as they came.

use bytes::Bytes;

use crate::{
    base::{
        limits::{CONSOLE_PATCH_LINE_BYTES_MAX, CONSOLE_PATCH_LINES_MAX},
        text::{cut, visible},
    },
    model::change::LineCount,
};

/// Cells from one tab stop to the next.
const TAB_CELLS: usize = 4;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something about the file: its mode, that it is binary.
    About,
    /// Where a hunk begins.
    Hunk,
    Same,
    Added,
    Removed,
}

/// One line, safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub kind: Kind,
    /// Its number on the old and on the new side.
    pub old: Option<u64>,
    pub new: Option<u64>,
    pub text: String,
}

/// One hunk, byte for byte as the hub sent it: what is staged and applied is this, not what is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The row of its first line.
    pub row: usize,
    pub text: Bytes,
    pub lines: LineCount,
}

/// A file's diff, or as much of it as is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    pub lines: Vec<Line>,
    pub pieces: Vec<Piece>,
    /// It goes on, and is not shown.
    pub cut: bool,
    digits: usize,
}

impl Patch {
    /// Reads what `diff` wrote of one file; `cut` when that is not all of it.
    pub fn read(text: impl Into<Bytes>, cut: bool) -> Self {
        let text = text.into();
        let mut reader = Reader::default();
        let mut patch = Self { cut, ..Self::default() };
        let end = if cut { text.iter().rposition(|it| *it == b'\n') } else { None };
        // The last line of what was cut is not whole.
        let whole = text.slice(..end.map_or(text.len(), |it| it + 1));
        // Where the next line begins, and the hunk that it may belong to.
        let (mut next, mut hunk) = (0, None);
        for raw in whole.split_inclusive(|it| *it == b'\n') {
            let start = next;
            next += raw.len();
            let Some(line) = reader.line(raw.strip_suffix(b"\n").unwrap_or(raw)) else {
                hunk = None;
                continue;
            };
            if patch.lines.len() >= CONSOLE_PATCH_LINES_MAX {
                patch.cut = true;
                break;
            }
            match line.kind {
                Kind::Hunk => {
                    hunk = Some(start);
                    let row = patch.lines.len();
                    let (text, lines) = (Bytes::new(), LineCount::default());
                    patch.pieces.push(Piece { row, text, lines });
                }
                Kind::About if !raw.starts_with(b"\\") => hunk = None,
                _ => {}
            }
            if let (Some(from), Some(piece)) = (hunk, patch.pieces.last_mut()) {
                piece.text = whole.slice(from..next);
                piece.lines.added += u64::from(line.kind == Kind::Added);
                piece.lines.removed += u64::from(line.kind == Kind::Removed);
            }
            patch.lines.push(line);
        }
        let largest = patch.lines.iter().filter_map(|it| it.old.max(it.new)).max();
        patch.digits = largest.map_or(1, |it| it.to_string().len());
        patch
    }

    /// The hunk that a row belongs to.
    pub fn piece_at(&self, row: usize) -> Option<&Piece> {
        let after = self.pieces.partition_point(|it| it.row <= row);
        self.pieces.get(after.checked_sub(1)?)
    }

    /// Where the next hunk begins, or the one before.
    pub fn hunk(&self, from: usize, forward: bool) -> Option<usize> {
        let is_hunk = |at: &usize| self.lines.get(*at).is_some_and(|it| it.kind == Kind::Hunk);
        if forward {
            (from + 1..self.lines.len()).find(is_hunk)
        } else {
            (0..from).rev().find(is_hunk)
        }
    }

    /// The first line that is worth reading.
    pub fn start(&self) -> usize {
        self.lines.iter().position(|it| it.kind == Kind::Hunk).unwrap_or(0)
    }

    /// Cells that the largest line number takes.
    pub fn digits(&self) -> usize {
        self.digits
    }
}

/// Follows hunks by the counts in their heads, so that no content is taken for a head.
#[derive(Default)]
struct Reader {
    /// Lines of the hunk still to come, and the number of the next, of either side.
    left: (u64, u64),
    next: (u64, u64),
}

impl Reader {
    /// A line as it is shown; `None` for one that says what the place says already.
    fn line(&mut self, line: &[u8]) -> Option<Line> {
        if self.left == (0, 0) {
            return self.between(line);
        }
        let (sign, rest) = line.split_first().map_or((b' ', line), |(sign, rest)| (*sign, rest));
        let (kind, old, new) = match sign {
            b'+' => (Kind::Added, false, true),
            b'-' => (Kind::Removed, true, false),
            b'\\' => return Some(about(line)),
            _ => (Kind::Same, true, true),
        };
        let number = |here: bool, left: &mut u64, next: &mut u64| {
            here.then(|| {
                *left = left.saturating_sub(1);
                *next = next.saturating_add(1);
                next.saturating_sub(1)
            })
        };
        let old = number(old, &mut self.left.0, &mut self.next.0);
        let new = number(new, &mut self.left.1, &mut self.next.1);
        Some(Line { kind, old, new, text: safe(rest) })
    }

    fn between(&mut self, line: &[u8]) -> Option<Line> {
        if let Some((old, new)) = std::str::from_utf8(line).ok().and_then(head) {
            (self.left, self.next) = ((old.1, new.1), (old.0, new.0));
            return Some(Line { kind: Kind::Hunk, old: None, new: None, text: safe(line) });
        }
        let said = [
            &b"diff --git "[..],
            b"index ",
            b"--- ",
            b"+++ ",
            b"old mode ",
            b"new mode ",
            b"rename ",
        ];
        (!said.iter().any(|it| line.starts_with(it))).then(|| about(line))
    }
}

fn about(line: &[u8]) -> Line {
    Line { kind: Kind::About, old: None, new: None, text: safe(line) }
}

/// First line and count of either side, by the head of a hunk.
fn head(line: &str) -> Option<((u64, u64), (u64, u64))> {
    let (old, rest) = line.strip_prefix("@@ -")?.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let part = |it: &str| match it.split_once(',') {
        Some((first, count)) => Some((first.parse().ok()?, count.parse().ok()?)),
        None => Some((it.parse().ok()?, 1)),
    };
    Some((part(old)?, part(new)?))
}

/// A line with its tabs as blanks and everything else visible, cut to its bound.
fn safe(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let short = cut(&text, CONSOLE_PATCH_LINE_BYTES_MAX);
    let mut out = String::with_capacity(short.len());
    let mut parts = short.split('\t');
    if let Some(first) = parts.next() {
        out.push_str(&visible(first));
    }
    for part in parts {
        let used = crate::base::text::width(&out);
        out.push_str(&" ".repeat(TAB_CELLS - used % TAB_CELLS));
        out.push_str(&visible(part));
    }
    if short.len() < text.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"diff --git a/x b/x\nold mode 100644\nsimilarity index 9%\nindex 1..2\n\
        --- a/x\n+++ b/x\n@@ -3,2 +3,3 @@ fn\n--- gone\n+\x1b[8m\tb\n+@@ -1 +1 @@\n same\r\n\
        \\ No newline at end of file\n@@ -9 +10 @@\n-a\n+b\n";

    #[test]
    fn lines_are_numbered_by_side_and_content_is_never_taken_for_a_head() {
        let patch = Patch::read(TEXT, false);
        let short: Vec<(Kind, Option<u64>, Option<u64>, &str)> =
            patch.lines.iter().map(|it| (it.kind, it.old, it.new, it.text.as_str())).collect();
        assert_eq!(
            short,
            [
                (Kind::About, None, None, "similarity index 9%"),
                (Kind::Hunk, None, None, "@@ -3,2 +3,3 @@ fn"),
                (Kind::Removed, Some(3), None, "-- gone"),
                (Kind::Added, None, Some(3), "␛[8m    b"),
                (Kind::Added, None, Some(4), "@@ -1 +1 @@"),
                (Kind::Same, Some(4), Some(5), "same␍"),
                (Kind::About, None, None, "\\ No newline at end of file"),
                (Kind::Hunk, None, None, "@@ -9 +10 @@"),
                (Kind::Removed, Some(9), None, "a"),
                (Kind::Added, None, Some(10), "b"),
            ]
        );
        assert_eq!(
            (patch.start(), patch.hunk(1, true), patch.hunk(7, false)),
            (1, Some(7), Some(1))
        );
        assert_eq!(patch.digits(), 2);
    }

    #[test]
    fn a_hunk_is_kept_byte_for_byte_and_found_from_each_of_its_rows() {
        let patch = Patch::read(TEXT, false);
        let texts: Vec<&[u8]> = patch.pieces.iter().map(|it| &it.text[..]).collect();
        let place = |of: &[u8; 5]| TEXT.windows(5).position(|it| it == of).unwrap();
        let (first, second) = (place(b"@@ -3"), place(b"@@ -9"));
        assert_eq!(texts, [&TEXT[first..second], &TEXT[second..]]);
        assert_eq!(patch.pieces[0].lines, LineCount { added: 2, removed: 1 });
        let at = |row: usize| patch.piece_at(row).map(|it| it.row);
        assert_eq!([0, 1, 6, 7, 9].map(at), [None, Some(1), Some(1), Some(7), Some(7)]);
        let two = [TEXT, TEXT].concat();
        let patch = Patch::read(two, false);
        assert_eq!(
            &patch.pieces[1].text[..],
            &TEXT[second..],
            "it ends where the next file begins"
        );
    }

    #[test]
    fn what_is_cut_says_so_and_ends_with_a_whole_line() {
        let patch = Patch::read(&TEXT[..TEXT.len() - 4], true);
        assert!(patch.cut);
        assert_eq!(patch.lines.last().unwrap().text, "@@ -9 +10 @@");
        let many = format!("@@ -0,0 +1,30000 @@\n{}", "+x\n".repeat(30_000));
        let patch = Patch::read(many, false);
        assert!(patch.cut && patch.lines.len() == CONSOLE_PATCH_LINES_MAX);
        let long = format!("@@ -0,0 +1 @@\n+{}\n", "界".repeat(10_000));
        let patch = Patch::read(long, false);
        assert!(patch.lines[1].text.ends_with('…'));
        assert!(patch.lines[1].text.len() <= CONSOLE_PATCH_LINE_BYTES_MAX + 4);
    }
}
