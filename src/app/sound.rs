//! What always holds of the console's state.

use super::state::{HISTORY_MAX, Overlay, PENDING_MAX, Place, State};
use crate::base::limits::TYPED_BYTES_MAX;

impl State {
    /// The invariants; `Err` says which one broke.
    pub fn check(&self) -> Result<(), String> {
        self.fleet.check()?;
        let fail = |what: &str| Err(what.to_owned());
        if !self.grid.is_sound() {
            return fail("the grid is unsound");
        }
        if self.pending.len() > PENDING_MAX {
            return fail("too many effects under way");
        }
        if !self.notices.is_sound() || self.history.len() > HISTORY_MAX {
            return fail("too many notices or lines of history");
        }
        if self.grip.as_ref().is_some_and(|it| it.ahead.bytes() > TYPED_BYTES_MAX) {
            return fail("too much typed ahead");
        }
        if self.grip.is_some() && self.lost.is_some() {
            return fail("typing with a keyboard that is lost");
        }
        let typed_into = self.grip.as_ref().map(|it| &it.session);
        if typed_into.is_some() && self.focused_session() != typed_into {
            return fail("typing into a session that is not in the focused pane");
        }
        let looked_into = self.copy.as_ref().map(|it| &it.session);
        if looked_into.is_some() && self.focused_session() != looked_into {
            return fail("looking back into a session that is not in the focused pane");
        }
        if looked_into.is_some() && self.place != Place::Panes {
            return fail("looking back while the fleet has the focus");
        }
        if self.copy.as_ref().is_some_and(|it| !it.is_sound()) {
            return fail("scrollback is unsound");
        }
        if self.line.as_ref().is_some_and(|it| !it.editor.is_sound()) {
            return fail("the line is unsound");
        }
        if self.watches.len() > 6 {
            return fail("more sessions are watched than are on screen");
        }
        if self.fleet.known && self.watches.keys().any(|it| self.fleet.session(it).is_none()) {
            return fail("a session is watched that is no more");
        }
        if matches!(&self.overlay, Some(Overlay::New(it)) if !it.is_sound()) {
            return fail("the dialog is unsound");
        }
        if self.place == Place::Fleet && !self.fleet_shown {
            return fail("the keys go to a fleet that is hidden");
        }
        if self.is_typing() && self.place != Place::Panes {
            return fail("typing while the fleet has the focus");
        }
        if self.views.len() > super::view::VIEWS_MAX {
            return fail("too many places lie over one another");
        }
        for view in &self.views {
            view.check(self.asks.ended.len())?;
        }
        if !self.views.is_empty() && (self.grip.is_some() || self.copy.is_some()) {
            return fail("a place lies over a pane that has the keys");
        }
        if self.works.keys().any(|it| !self.pending.contains_key(it)) {
            return fail("something is waited for that is not under way");
        }
        Ok(())
    }
}
