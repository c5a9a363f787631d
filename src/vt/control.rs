//! Control sequences (CSI): passed on, translated, or answered.

use super::{
    csi::{Csi, Sgr},
    front::Feed,
    grid::Grid,
    screen::{Hints, Screen},
    state::PerScreen,
};
use crate::base::limits::REPEAT_MAX;

impl Screen {
    pub(super) fn csi(&mut self, feed: &mut Feed<'_>, body: &[u8]) {
        if let Some((b'm', params)) = body.split_last()
            && let Some(seen) = Sgr::of(params)
        {
            self.note_sgr(seen);
            return self.pass_csi(feed, body);
        }
        let Some(csi) = Csi::parse(body) else { return };
        match (csi.private, csi.intermediate) {
            (0, 0) => self.ansi(feed, csi, body),
            (b'?', 0) => self.private(feed, csi, body),
            (0, b'!') if csi.last == b'p' => {
                self.flush(feed);
                self.soft_reset();
            }
            (0, b' ') if csi.last == b'q' => {
                self.state.cursor_style = csi.param(0).unwrap_or(0).min(6) as u8;
            }
            (b'>' | b'<' | b'=', 0) if csi.last == b'u' => self.kitty(csi),
            _ => self.answer(feed, csi),
        }
    }

    /// Lets a sequence through; one that was cut by the end of a feed is put together first.
    fn pass_csi(&mut self, feed: &mut Feed<'_>, body: &[u8]) {
        if !feed.piece.is_empty() {
            return self.pass(feed);
        }
        self.flush(feed);
        self.put_csi(body);
    }

    fn put_csi(&mut self, body: &[u8]) {
        let mut bytes = b"\x1b[".to_vec();
        bytes.extend_from_slice(body);
        self.grid_mut().put(&bytes);
    }

    fn ansi(&mut self, feed: &mut Feed<'_>, csi: Csi<'_>, body: &[u8]) {
        if self.within_sides(feed, csi) {
            return;
        }
        match csi.last {
            b'm' => self.sgr(feed, csi),
            b'H' | b'f' if !self.state.origin => self.pass_csi(feed, body),
            b'C' | b'E' | b'F' | b'G' | b'`' => self.pass_csi(feed, body),
            b'J' | b'K' => self.erase(feed, body),
            b'D' => {
                self.flush(feed);
                self.back(csi.at_least(0, 1));
            }
            b'A' | b'B' | b'a' => {
                self.flush(feed);
                self.grid_mut().unwrap_cursor();
                let (count, last) = (
                    csi.at_least(0, 1),
                    match csi.last {
                        b'a' => 'C',
                        it => char::from(it),
                    },
                );
                self.grid_mut().put(format!("\x1b[{count}{last}").as_bytes());
            }
            b'b' => {
                self.flush(feed);
                if let Some(it) = self.state.last {
                    (0..csi.at_least(0, 1).min(REPEAT_MAX)).for_each(|_| self.print(it));
                }
            }
            b'c' | b'n' | b't' => self.answer(feed, csi),
            b'h' | b'l' => self.ansi_modes(csi),
            _ => {
                self.flush(feed);
                self.edit(csi, body);
            }
        }
    }

    fn sgr(&mut self, feed: &mut Feed<'_>, csi: Csi<'_>) {
        let rewritten = csi.sgr_rewritten();
        if rewritten.is_empty() {
            return;
        }
        self.note_sgr(Sgr::of(rewritten.as_bytes()).unwrap_or(Sgr::UNKNOWN));
        self.flush(feed);
        self.grid_mut().put(format!("\x1b[{rewritten}m").as_bytes());
    }

    fn note_sgr(&mut self, seen: Sgr) {
        self.hints.background = seen.background.unwrap_or(self.hints.background);
        self.hints.decorated = seen.decorated.unwrap_or(self.hints.decorated);
        self.state.extra = self.state.extra & seen.extra_kept | seen.extra_set;
    }

    fn erase(&mut self, feed: &mut Feed<'_>, body: &[u8]) {
        if !self.hints.decorated {
            return self.pass_csi(feed, body);
        }
        self.flush(feed);
        let mut bytes = b"\x1b[".to_vec();
        bytes.extend_from_slice(body);
        self.grid_mut().erase(&bytes);
    }

    /// What depends on where the cursor is, or leaves blanks in the background colour.
    fn edit(&mut self, csi: Csi<'_>, body: &[u8]) {
        let count = csi.at_least(0, 1);
        let cols = self.size.cols();
        let side_mode = self.state.side_mode;
        let bottom = if self.state.origin { self.state.bottom } else { u16::MAX };
        let grid = self.grid_mut();
        match csi.last {
            b'H' | b'f' => self.position(csi.at_least(0, 1), Some(csi.at_least(1, 1))),
            b'd' => self.position(count, None),
            // VPR, unlike CUD, stops at the end of a region in origin mode only.
            b'e' => {
                let (row, col) = grid.cursor();
                grid.go(row.saturating_add(count).min(bottom), col.min(cols - 1));
            }
            b'X' => {
                grid.unwrap_cursor();
                grid.erase(format!("\x1b[{count}X").as_bytes());
            }
            b'@' => {
                grid.unwrap_cursor();
                self.put_csi(body);
                self.blank(|grid| grid.erase(format!("\x1b[{count}X").as_bytes()));
            }
            b'P' => {
                grid.unwrap_cursor();
                self.put_csi(body);
                self.blank(|grid| {
                    let from = cols - count.min(cols - grid.cursor().1.min(cols)) + 1;
                    grid.put(format!("\x1b7\x1b[{from}G").as_bytes());
                    grid.erase(b"\x1b[K");
                    grid.put(b"\x1b8");
                });
            }
            b'L' | b'M' | b'S' | b'T' => self.scroll(csi, body),
            b'r' => self.region(csi),
            b's' if side_mode => self.set_sides(csi),
            b's' if !csi.has_params() => self.save_cursor(),
            b'u' if !csi.has_params() => self.restore_cursor(),
            b'I' => self.tab_forward(count),
            b'Z' => {
                let mut col = self.place().1;
                for _ in 0..count.min(cols) {
                    col = self.state.tab_before(col);
                }
                let first = self.state.sides.filter(|_| self.state.origin);
                col = col.max(first.map_or(0, |it| it.left));
                self.grid_mut().put(format!("\x1b[{}G", col + 1).as_bytes());
            }
            b'g' => self.clear_tabs(csi),
            _ => {}
        }
    }

    /// Runs `erase` when blanks must get another background than the default.
    fn blank(&mut self, erase: impl FnOnce(&mut Grid)) {
        if self.hints.background && self.grid().pen().background != super::screen::Colour::Default {
            erase(self.grid_mut());
        }
    }

    /// CUP and VPA, within the region if the program said so. Row and column count from 1.
    pub(super) fn position(&mut self, row: u16, col: Option<u16>) {
        let (top, bottom) =
            if self.state.origin { (self.state.top, self.state.bottom) } else { (0, u16::MAX) };
        let row = row.saturating_sub(1).saturating_add(top).min(bottom);
        let sides = self.state.sides.filter(|_| self.state.origin);
        let (left, right) = sides.map_or((0, self.size.cols() - 1), |it| (it.left, it.right));
        let from_left = |it: u16| it.saturating_sub(1).saturating_add(left).min(right);
        self.settle();
        let col = col.map_or(self.place().1, from_left);
        self.grid_mut().go(row, col);
    }

    fn scroll(&mut self, csi: Csi<'_>, body: &[u8]) {
        let (top, bottom) = (self.state.top, self.state.bottom);
        let row = self.grid().cursor().0;
        let lines = matches!(csi.last, b'L' | b'M');
        if lines && !(top..=bottom).contains(&row) {
            return;
        }
        // Five parameters with T are xterm's mouse tracking.
        if csi.last == b'T' && csi.param(1).is_some() {
            return;
        }
        self.put_csi(body);
        let first = if lines { row } else { top };
        let count = csi.at_least(0, 1).min(bottom - first + 1);
        let blank = match csi.last {
            b'L' | b'T' => first..first + count,
            _ => bottom + 1 - count..bottom + 1,
        };
        self.blank(|grid| {
            grid.put(b"\x1b7");
            for row in blank {
                grid.put(format!("\x1b[{}H", row + 1).as_bytes());
                grid.erase(b"\x1b[2K");
            }
            grid.put(b"\x1b8");
        });
    }

    /// DECSTBM; one that makes no sense changes nothing.
    fn region(&mut self, csi: Csi<'_>) {
        let rows = self.size.rows();
        let (top, bottom) = (csi.at_least(0, 1), csi.at_least(1, rows).min(rows));
        if top >= bottom {
            return;
        }
        (self.state.top, self.state.bottom) = (top - 1, bottom - 1);
        self.grid_mut().put(format!("\x1b[{top};{bottom}r").as_bytes());
        self.position(1, Some(1));
    }

    fn clear_tabs(&mut self, csi: Csi<'_>) {
        let cols = self.size.cols();
        let col = usize::from(self.place().1);
        let tabs = self.state.tabs_mut(cols);
        match csi.param(0).unwrap_or(0) {
            0 => {
                if let Some(stop) = tabs.get_mut(col) {
                    *stop = false;
                }
            }
            3 => tabs.fill(false),
            _ => {}
        }
    }

    fn ansi_modes(&mut self, csi: Csi<'_>) {
        let on = csi.last == b'h';
        for mode in csi.params() {
            match mode.first().copied().flatten() {
                Some(4) => self.state.insert = on,
                Some(20) => self.state.newline = on,
                _ => {}
            }
        }
    }

    fn private(&mut self, feed: &mut Feed<'_>, csi: Csi<'_>, body: &[u8]) {
        match csi.last {
            b'h' | b'l' => {
                for mode in csi.params() {
                    if let Some(mode) = mode.first().copied().flatten() {
                        self.private_mode(feed, mode, csi.last == b'h');
                    }
                }
            }
            // Selective erase: nothing is protected here.
            b'J' | b'K' => {
                self.flush(feed);
                let plain = body.get(1..).unwrap_or_default();
                let mut bytes = b"\x1b[".to_vec();
                bytes.extend_from_slice(plain);
                self.grid_mut().erase(&bytes);
            }
            // DECST8C: tab stops on every eighth column again.
            b'W' if csi.param(0) == Some(5) => self.state.tabs = None,
            _ => self.answer(feed, csi),
        }
    }

    fn private_mode(&mut self, feed: &mut Feed<'_>, mode: u16, on: bool) {
        if self.state.set_private(mode, on) {
            return;
        }
        self.flush(feed);
        match (mode, on) {
            (6, _) => {
                self.state.origin = on;
                self.position(1, Some(1));
            }
            (69, _) => self.side_mode(on),
            (47 | 1047, true) => self.show_alternate(),
            (47, false) => self.show_main(),
            (1047, false) => self.leave_alternate(),
            (1048, true) => self.save_cursor(),
            (1048, false) => self.restore_cursor(),
            (1049, true) if !self.state.modes.alternate_screen => {
                self.save_cursor();
                self.alternate = None;
                self.show_alternate();
            }
            (1049, false) if self.state.modes.alternate_screen => {
                self.leave_alternate();
                self.restore_cursor();
            }
            _ => {}
        }
    }

    /// Shows the alternate screen: empty, unless ?47 left something on it.
    fn show_alternate(&mut self) {
        if self.state.modes.alternate_screen {
            return;
        }
        self.alternate.get_or_insert_with(|| Grid::new(self.size));
        self.switch(true);
    }

    fn show_main(&mut self) {
        if self.state.modes.alternate_screen {
            self.switch(false);
            self.state.alternate = PerScreen::default();
        }
    }

    /// Goes back to the main screen; the alternate one is empty the next time.
    fn leave_alternate(&mut self) {
        self.show_main();
        self.alternate = None;
    }

    /// The cursor, the pen and the region belong to the terminal, not to one of its screens.
    fn switch(&mut self, alternate: bool) {
        self.settle();
        let (row, col) = self.place();
        let pen = self.grid().screen().attributes_formatted();
        self.state.modes.alternate_screen = alternate;
        self.state.refresh();
        let (top, bottom) = (self.state.top + 1, self.state.bottom + 1);
        let grid = self.grid_mut();
        grid.put(format!("\x1b[{top};{bottom}r").as_bytes());
        grid.go(row, col);
        grid.put(pen.as_bytes());
        self.hints = Hints::UNKNOWN;
    }

    fn kitty(&mut self, csi: Csi<'_>) {
        let flags = csi.param(0).unwrap_or(0).min(31) as u8;
        let screen = self.state.current_mut();
        match (csi.private, csi.param(1).unwrap_or(1)) {
            (b'>', _) => screen.push(flags),
            (b'<', _) => screen.pop(usize::from(csi.at_least(0, 1))),
            (_, 1) => screen.set(flags),
            (_, 2) => screen.set(screen.flags() | flags),
            (_, 3) => screen.set(screen.flags() & !flags),
            _ => {}
        }
        self.state.refresh();
    }
}
