//! The saved cursor, resets, and the alignment pattern.

use super::{
    extra,
    screen::{Hints, Screen},
    state::{Charsets, Saved, State},
};

impl Screen {
    pub(super) fn save_cursor(&mut self) {
        let (row, col) = self.grid().cursor();
        let mut style = self.grid().pen();
        style.marks |= self.state.extra;
        let (origin, charsets) = (self.state.origin, self.state.charsets);
        let pending = self.state.sides.is_some_and(|it| it.pending);
        self.state.current_mut().saved = Saved { row, col, pending, style, origin, charsets };
    }

    pub(super) fn restore_cursor(&mut self) {
        let saved = self.state.current().saved;
        self.state.origin = saved.origin;
        self.state.charsets = saved.charsets;
        self.state.extra = saved.style.marks & extra::ALL;
        let mut pen = Vec::new();
        saved.style.write(&mut pen);
        let col = saved.col.saturating_sub(u16::from(saved.pending));
        self.grid_mut().go(saved.row, col);
        if let Some(sides) = &mut self.state.sides {
            sides.pending = saved.pending && sides.right == col;
            if sides.pending {
                self.grid_mut().go(saved.row, saved.col);
            }
        }
        self.grid_mut().put(&pen);
        self.hints = Hints::UNKNOWN;
    }

    /// RIS
    pub(super) fn reset(&mut self) {
        let title = self.state.title.take();
        self.state = State::new(self.size);
        self.state.title = title;
        self.alternate = None;
        self.main.put(b"\x1bc");
        self.hints = Hints::default();
    }

    /// DECALN
    pub(super) fn align(&mut self) {
        let (rows, cols) = (self.size.rows(), usize::from(self.size.cols()));
        (self.state.top, self.state.bottom) = (0, rows - 1);
        self.state.origin = false;
        self.state.sides = None;
        let mut out = b"\x1b[r\x1b[m".to_vec();
        for row in 1..=rows {
            out.extend_from_slice(format!("\x1b[{row}H{}", "E".repeat(cols)).as_bytes());
        }
        out.extend_from_slice(b"\x1b[H");
        out.extend_from_slice(self.grid().screen().attributes_formatted().as_bytes());
        self.grid_mut().put(&out);
    }

    /// DECSTR: modes and pen, not the picture and not the cursor's place.
    pub(super) fn soft_reset(&mut self) {
        self.settle();
        let (row, col) = self.grid().cursor();
        self.state.soft_reset(self.size);
        self.state.charsets = Charsets::default();
        self.grid_mut().put(b"\x1b[r\x1b[m");
        self.grid_mut().go(row, col);
        self.hints = Hints { marked: true, ..Default::default() };
    }
}
