//! Everything a screen knows besides its two grids: modes, charsets, tab stops, saved cursors, the
//! kitty flags, the title. All of it goes into keyframes.

use super::{
    margins::Sides,
    paint::Style,
    screen::{Modes, MouseEncoding, MouseMode},
};
use crate::base::{limits::KITTY_STACK_MAX, units::Size};

/// A character set a program may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Charset {
    #[default]
    Ascii,
    /// DEC special graphics: lines and corners.
    Graphics,
    British,
}

impl Charset {
    pub(super) fn map(self, it: char) -> char {
        const GRAPHICS: [char; 31] = [
            '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻',
            '─', '⎼', '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
        ];
        match (self, it) {
            (Self::Graphics, '`'..='~') => {
                let index = u32::from(it) - u32::from('`');
                GRAPHICS.get(index as usize).copied().unwrap_or(it)
            }
            (Self::Graphics, '_') => ' ',
            (Self::British, '#') => '£',
            _ => it,
        }
    }
}

/// G0 and G1, and which of them is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Charsets {
    pub(super) sets: [Charset; 2],
    /// SO chose G1.
    pub(super) shifted: bool,
}

impl Charsets {
    pub(super) fn current(self) -> Charset {
        let [first, second] = self.sets;
        if self.shifted { second } else { first }
    }
}

/// What DECSC keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) row: u16,
    /// One past the last column for a pending wrap.
    pub(super) col: u16,
    /// The wrap is pending at a margin, one before that column.
    pub(super) pending: bool,
    pub(super) style: Style,
    pub(super) origin: bool,
    pub(super) charsets: Charsets,
}

/// What each of the two screens has for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PerScreen {
    pub(super) saved: Saved,
    /// Kitty keyboard flags, the last one in force.
    pub(super) kitty: Vec<u8>,
}

impl PerScreen {
    pub(super) fn flags(&self) -> u8 {
        self.kitty.last().copied().unwrap_or(0)
    }

    pub(super) fn push(&mut self, flags: u8) {
        if self.kitty.len() >= KITTY_STACK_MAX {
            self.kitty.remove(0);
        }
        // The bottom of the stack is what was in force before the first push.
        if self.kitty.is_empty() {
            self.kitty.push(0);
        }
        self.kitty.push(flags);
    }

    pub(super) fn pop(&mut self, count: usize) {
        self.kitty.truncate(self.kitty.len().saturating_sub(count));
    }

    pub(super) fn set(&mut self, flags: u8) {
        match self.kitty.last_mut() {
            Some(it) => *it = flags,
            None => self.kitty.push(flags),
        }
    }
}

/// The modes, charsets, tab stops and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) modes: Modes,
    pub(super) cursor_hidden: bool,
    /// DECSCUSR as given, 0 to 6.
    pub(super) cursor_style: u8,
    /// DECAWM
    pub(super) autowrap: bool,
    /// ?45: backspace goes back over a wrapped line.
    pub(super) reverse_wrap: bool,
    /// IRM
    pub(super) insert: bool,
    /// LNM: a new line also returns.
    pub(super) newline: bool,
    /// DECOM
    pub(super) origin: bool,
    pub(super) charsets: Charsets,
    /// Attributes of the next character that vt100 knows nothing of.
    pub(super) extra: u8,
    /// Scroll region, both rows included.
    pub(super) top: u16,
    pub(super) bottom: u16,
    /// DECLRMM: left and right margins can be set.
    pub(super) side_mode: bool,
    /// `None` = the screen's edges.
    pub(super) sides: Option<Sides>,
    /// `None` = every eighth column.
    pub(super) tabs: Option<Vec<bool>>,
    pub(super) main: PerScreen,
    pub(super) alternate: PerScreen,
    pub(super) title: Option<String>,
    /// Last character printed, for REP.
    pub(super) last: Option<char>,
}

impl State {
    pub(super) fn new(size: Size) -> Self {
        Self {
            modes: Modes { alternate_scroll: true, ..Modes::default() },
            cursor_hidden: false,
            cursor_style: 0,
            autowrap: true,
            reverse_wrap: false,
            insert: false,
            newline: false,
            origin: false,
            charsets: Charsets::default(),
            extra: 0,
            top: 0,
            bottom: size.rows() - 1,
            side_mode: false,
            sides: None,
            tabs: None,
            main: PerScreen::default(),
            alternate: PerScreen::default(),
            title: None,
            last: None,
        }
    }

    pub(super) fn current(&self) -> &PerScreen {
        if self.modes.alternate_screen { &self.alternate } else { &self.main }
    }

    pub(super) fn current_mut(&mut self) -> &mut PerScreen {
        if self.modes.alternate_screen { &mut self.alternate } else { &mut self.main }
    }

    /// The flags in force follow the screen shown.
    pub(super) fn refresh(&mut self) {
        self.modes.kitty_flags = self.current().flags();
    }

    /// Text can go to the grid in one piece, if need be in another charset.
    pub(super) fn is_plain(&self) -> bool {
        self.autowrap
            && !self.insert
            && !self.newline
            && self.tabs.is_none()
            && self.sides.is_none()
            && self.extra == 0
    }

    pub(super) fn whole_region(&self, size: Size) -> bool {
        self.top == 0 && self.bottom == size.rows() - 1
    }

    /// DECSTR: what a program may have left behind, but not the picture.
    pub(super) fn soft_reset(&mut self, size: Size) {
        let kept = self.clone();
        *self = Self::new(size);
        self.modes = Modes {
            application_cursor: false,
            application_keypad: false,
            synchronised: false,
            ..kept.modes
        };
        self.tabs = kept.tabs;
        self.main.kitty = kept.main.kitty;
        self.alternate.kitty = kept.alternate.kitty;
        self.title = kept.title;
        self.last = kept.last;
    }

    /// A new size: the region is whole again, as everywhere; tab stops go on every eighth column.
    pub(super) fn resize(&mut self, size: Size) {
        self.top = 0;
        self.bottom = size.rows() - 1;
        self.sides = None;
        if let Some(tabs) = &mut self.tabs {
            let had = tabs.len();
            tabs.truncate(usize::from(size.cols()));
            tabs.extend((had..usize::from(size.cols())).map(|col| col % 8 == 0));
        }
        for saved in [&mut self.main.saved, &mut self.alternate.saved] {
            saved.col -= u16::from(std::mem::take(&mut saved.pending)).min(saved.col);
            saved.row = saved.row.min(size.rows() - 1);
            saved.col = saved.col.min(size.cols() - 1);
        }
    }

    /// Next tab stop to the right of a column, or the last column.
    pub(super) fn tab_after(&self, col: u16, cols: u16) -> u16 {
        let next = match &self.tabs {
            None => Some((col / 8 + 1).saturating_mul(8)),
            Some(tabs) => {
                let stop = tabs.iter().enumerate().skip(usize::from(col) + 1).find(|it| *it.1);
                stop.and_then(|(it, _)| u16::try_from(it).ok())
            }
        };
        next.unwrap_or(cols).min(cols - 1)
    }

    /// Next tab stop to the left of a column, or the first column.
    pub(super) fn tab_before(&self, col: u16) -> u16 {
        match &self.tabs {
            None => col.saturating_sub(1) / 8 * 8,
            Some(tabs) => {
                let stop = tabs.iter().take(usize::from(col)).rposition(|it| *it);
                stop.and_then(|it| u16::try_from(it).ok()).unwrap_or(0)
            }
        }
    }

    pub(super) fn tabs_mut(&mut self, cols: u16) -> &mut Vec<bool> {
        self.tabs.get_or_insert_with(|| (0..cols).map(|col| col % 8 == 0).collect())
    }

    /// Turns a DEC private mode on or off; `false` when it is none of those kept here.
    pub(super) fn set_private(&mut self, mode: u16, on: bool) -> bool {
        let modes = &mut self.modes;
        let mouse = |it| if on { it } else { MouseMode::Off };
        match mode {
            1 => modes.application_cursor = on,
            7 => self.autowrap = on,
            9 => modes.mouse = mouse(MouseMode::Press),
            25 => self.cursor_hidden = !on,
            45 => self.reverse_wrap = on,
            66 => modes.application_keypad = on,
            1000 => modes.mouse = mouse(MouseMode::PressRelease),
            1002 => modes.mouse = mouse(MouseMode::ButtonMotion),
            1003 => modes.mouse = mouse(MouseMode::AnyMotion),
            1004 => modes.focus_events = on,
            1005 if on => modes.mouse_encoding = MouseEncoding::Utf8,
            1006 if on => modes.mouse_encoding = MouseEncoding::Sgr,
            1005 if modes.mouse_encoding == MouseEncoding::Utf8 => {
                modes.mouse_encoding = MouseEncoding::Legacy;
            }
            1006 if modes.mouse_encoding == MouseEncoding::Sgr => {
                modes.mouse_encoding = MouseEncoding::Legacy;
            }
            1007 => modes.alternate_scroll = on,
            2004 => modes.bracketed_paste = on,
            2026 => modes.synchronised = on,
            _ => return false,
        }
        true
    }

    /// DECRQM: whether a DEC private mode is on; `None` when it is unknown here.
    pub(super) fn private(&self, mode: u16) -> Option<bool> {
        let modes = &self.modes;
        Some(match mode {
            1 => modes.application_cursor,
            6 => self.origin,
            7 => self.autowrap,
            9 => modes.mouse == MouseMode::Press,
            25 => !self.cursor_hidden,
            45 => self.reverse_wrap,
            47 | 1047 | 1049 => modes.alternate_screen,
            66 => modes.application_keypad,
            69 => self.side_mode,
            1000 => modes.mouse == MouseMode::PressRelease,
            1002 => modes.mouse == MouseMode::ButtonMotion,
            1003 => modes.mouse == MouseMode::AnyMotion,
            1004 => modes.focus_events,
            1005 => modes.mouse_encoding == MouseEncoding::Utf8,
            1006 => modes.mouse_encoding == MouseEncoding::Sgr,
            1007 => modes.alternate_scroll,
            2004 => modes.bracketed_paste,
            2026 => modes.synchronised,
            _ => return None,
        })
    }
}
