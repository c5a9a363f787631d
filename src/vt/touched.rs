//! Which rows of a screen may look different: an echo touches one, and drawing one row costs a fiftieth of
//! drawing all. Never too few; anything but a short piece that stays within its row counts as all.

/// Rows that may look different than when this was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Touched {
    Nothing,
    /// From and up to, both included.
    Rows(u16, u16),
    #[default]
    All,
}

impl Touched {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, it) | (it, Self::Nothing) => it,
            (Self::Rows(from, to), Self::Rows(first, last)) => {
                Self::Rows(from.min(first), to.max(last))
            }
            _ => Self::All,
        }
    }
}

/// Longest piece that is looked at, in bytes: an echo with what a line editor sends around it.
const LOOKED_AT_MAX: usize = 256;

/// Whether output, from this column on, changes nothing but its own row, and leaves the cursor there: printable
/// ASCII that does not reach the edge, and controls that edit or move within a row.
pub(super) fn stays_in_row(bytes: &[u8], column: u16, columns: u16) -> bool {
    if bytes.len() > LOOKED_AT_MAX {
        return false;
    }
    let (mut column, columns) = (usize::from(column), usize::from(columns));
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b' '..=b'~' => column += 1,
            b'\r' => column = 0,
            // At the left edge it may go up a row.
            0x08 if column > 0 => column -= 1,
            0x1b => {
                let Some(body) = after.strip_prefix(b"[") else { return false };
                let parameters =
                    body.iter().take_while(|it| matches!(it, b'0'..=b'9' | b';')).count();
                // Colours, erasing, deleting, inserting.
                if !matches!(body.get(parameters), Some(b'm' | b'K' | b'P' | b'X' | b'@')) {
                    return false;
                }
                rest = body.get(parameters + 1..).unwrap_or_default();
            }
            _ => return false,
        }
        // One column before the edge nothing waits to be wrapped.
        if column + 1 >= columns {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_in_its_row_counts_as_one_row() {
        for piece in ["a", "ab\x08 \x08", "\r\x1b[K> ", "\x1b[1;31mx\x1b[m", "\x1b[3P\x1b[@"] {
            assert!(stays_in_row(piece.as_bytes(), 4, 80), "{piece:?}");
        }
        for piece in
            ["\n", "\x1b[A", "\x1b[2J", "\x1bM", "\x1b[", "é", "\t", "\x08\x08\x08\x08\x08", "\x07"]
        {
            assert!(!stays_in_row(piece.as_bytes(), 4, 80), "{piece:?}");
        }
        assert!(stays_in_row(&[b'x'; 74], 4, 80));
        assert!(!stays_in_row(&[b'x'; 75], 4, 80));
        assert!(!stays_in_row(b"x", 79, 80));
    }
}
