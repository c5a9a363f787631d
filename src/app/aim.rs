//! What the operator means: the session that the focus or the cursor is on, and its button.

use super::{
    action::Action,
    state::{Place, State},
};
use crate::base::id::SessionId;

/// The clickable way out of a pane, and into it.
pub const LEAVE: &str = "[leave]";
pub const STEP_IN: &str = "[step in]";

impl State {
    /// The session that is meant: in the fleet the one that shows or leads on the row under the
    /// cursor, else the one in the focused pane.
    pub fn aim(&self) -> Option<&SessionId> {
        if self.place == Place::Panes {
            return self.focused_session();
        }
        let row = self.fleet.current()?;
        let follow = self.follow.as_ref();
        let followed = follow.filter(|it| row.sandbox.sessions.iter().any(|of| of.id == **it));
        followed.or_else(|| row.leading().map(|it| &it.id))
    }

    /// The pane on screen that shows what is selected, if one does; the first is the one that follows.
    pub fn pane_of_selected(&self) -> Option<usize> {
        let row = self.fleet.current()?;
        let shows = |slot: usize| {
            let session = self.session_in(slot).and_then(|it| self.fleet.session(it));
            session.is_some_and(|(of, _)| of.sandbox.id == row.sandbox.id)
        };
        self.frame.panes.iter().map(|it| it.slot).find(|it| shows(*it))
    }

    /// What can be clicked in a pane's header.
    pub fn button(&self, slot: usize) -> Option<&'static str> {
        if self.place != Place::Panes || self.grid.tab().focus() != slot {
            return None;
        }
        let (_, session) = self.fleet.session(self.session_in(slot)?)?;
        match &self.grip {
            Some(_) => Some(LEAVE),
            None => {
                let may = session.exit.is_none() && self.lacks(Action::StepIn).is_none();
                may.then_some(STEP_IN)
            }
        }
    }

    /// The fleet has the keys, and is in sight.
    pub(super) fn return_to_fleet(&mut self) {
        self.place = Place::Fleet;
        self.fleet_shown = true;
        self.grid.tab_mut().zoomed = false;
    }
}
