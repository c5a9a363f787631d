//! Losing the keyboard without having asked for it, and what is typed into nothing after that.

use super::Turn;
use crate::{
    app::lost::{DEAF_FOR, LOST_FOR, Lost, Until},
    vt::key::{Key, KeyPress},
};

impl Turn<'_> {
    /// Ends typing where the operator did not ask for it.
    pub(super) fn lose_keyboard(&mut self, why: String) {
        self.state.grip = None;
        self.state.typed.clear();
        // In a box or a line the keys went to the console before, and still do.
        if self.state.overlay.is_none() && self.state.line.is_none() {
            self.deafen(why, Until::Seen);
        }
        self.state.dirty = true;
    }

    /// What is typed from now on was meant for something else.
    pub(super) fn deafen(&mut self, why: String, until: Until) {
        self.state.lost = Some(Lost { why, at: self.state.now.since_start, until });
        self.state.dirty = true;
    }

    /// Whether what was typed goes nowhere. After a pause it counts again; esc or enter after a short
    /// one says that the operator has seen it.
    pub(super) fn goes_nowhere(&mut self, press: Option<KeyPress>) -> bool {
        self.keys_count_again();
        let lost = self.state.lost.as_ref();
        let Some((at, until)) = lost.map(|it| (it.at, it.until)) else { return false };
        let seen = press.is_some_and(|it| matches!(it.key, Key::Esc | Key::Enter));
        if seen && until == Until::Seen && self.state.was_quiet(at, DEAF_FOR) {
            self.state.lost = None;
        }
        true
    }

    /// After a pause the operator is at the console again; says whether that was now.
    pub(super) fn keys_count_again(&mut self) -> bool {
        let at = self.state.lost.as_ref().map(|it| it.at);
        let over = at.is_some_and(|it| self.state.was_quiet(it, LOST_FOR));
        if over {
            self.state.lost = None;
        }
        over
    }
}
