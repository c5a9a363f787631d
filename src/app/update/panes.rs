//! Panes: stepping in and out, and the lease.

use super::Turn;
use crate::{
    app::{
        action::Action,
        effect::Act,
        grid::Slot,
        state::{Awaited, Grip, Hold, Holder, Overlay, Pending, Place},
    },
    base::id::SessionId,
    model::event::Level,
    runtime::LeaseVerb,
};

impl Turn<'_> {
    pub(super) fn pane_action(&mut self, action: Action, argument: &str) -> bool {
        let typing = self.state.grip.is_some();
        let tab = self.state.grid.tab_mut();
        match action {
            Action::StepIn => self.step_in_named(argument),
            Action::Leave if typing => self.leave(),
            Action::Leave => self.act(Action::Back),
            Action::TakeOver => self.take_over(),
            Action::SendPrefix => self.send_prefix(),
            Action::PaneNext | Action::PanePrevious => {
                tab.step(action == Action::PaneNext);
                self.state.place = Place::Panes;
            }
            Action::PaneAdd => self.keep_pane(),
            Action::PaneClose => {
                let led = tab.close(tab.focus());
                self.lead(led);
            }
            Action::PaneZoom if tab.zoomed => tab.zoomed = false,
            Action::PaneZoom => {
                self.look_at_aim();
                self.state.grid.tab_mut().zoomed = true;
                self.state.place = Place::Panes;
            }
            Action::Layout => self.set_layout(argument.parse().unwrap_or(1)),
            Action::LayoutOne => self.set_layout(1),
            Action::LayoutTwo => self.set_layout(2),
            Action::LayoutFour => self.set_layout(4),
            Action::LayoutSix => self.set_layout(6),
            Action::SessionNext => self.step_session(true),
            Action::SessionPrevious => self.step_session(false),
            Action::TabNew => {
                if !self.state.grid.open() {
                    self.notice(Level::Warning, "there are as many tabs as there can be");
                }
            }
            Action::TabNext => self.state.grid.step(true),
            Action::TabPrevious => self.state.grid.step(false),
            Action::TabClose => {
                if !self.state.grid.close() {
                    self.notice(Level::Info, "the last tab stays");
                }
            }
            _ => return false,
        }
        true
    }

    fn keep_pane(&mut self) {
        let leading = self.state.fleet.current().and_then(|it| it.leading());
        let Some(session) = leading.map(|it| it.id.clone()) else { return };
        self.state.grid.tab_mut().keep(&session);
    }

    /// Shows the next session of the same sandbox in the focused pane.
    fn step_session(&mut self, forward: bool) {
        let place = self.state.place;
        let Some(now) = self.look_at_aim() else { return };
        self.state.place = place;
        let Some((row, _)) = self.state.fleet.session(&now) else { return };
        let sessions = &row.sandbox.sessions;
        let count = sessions.len();
        let at = sessions.iter().position(|it| it.id == now).unwrap_or(0);
        let next = sessions.get((at + if forward { 1 } else { count - 1 }) % count.max(1));
        let Some(next) = next.map(|it| it.id.clone()) else { return };
        if count == 1 {
            return self.notice(Level::Info, "this sandbox has one session");
        }
        self.show_in_focus(&next);
    }

    /// The session that keys mean, in sight and in focus.
    fn look_at_aim(&mut self) -> Option<SessionId> {
        let session = self.state.aim().cloned()?;
        if self.state.place == Place::Fleet {
            self.show(&session);
        }
        Some(session)
    }

    /// Shows a session in the focused pane, or goes to the pane that has it.
    fn show_in_focus(&mut self, session: &SessionId) {
        let slots = 0..self.state.grid.tab().slots().len();
        let has = slots.into_iter().find(|it| self.state.session_in(*it) == Some(session));
        let tab = self.state.grid.tab_mut();
        let slot = tab.focus();
        match (has, tab.focused()) {
            (Some(has), _) => {
                tab.set_focus(has);
                self.state.place = Place::Panes;
            }
            (None, Slot::Follow) => self.state.follow = Some(session.clone()),
            (None, _) => tab.put(slot, Slot::Kept(session.clone())),
        }
    }

    fn step_in_named(&mut self, name: &str) {
        if name.is_empty() {
            return self.step_in();
        }
        if let Some(session) = self.session_named(name) {
            self.arrive(&session);
        }
    }

    /// Shows a session and focuses it; `false` when there is none of that name, which is said.
    pub(super) fn show_named(&mut self, name: &str) -> bool {
        let session = self.session_named(name);
        if let Some(session) = &session {
            self.show(session);
        }
        session.is_some()
    }

    /// The session that a person means by `SANDBOX` or `SANDBOX/NUMBER`; says so when there is none.
    fn session_named(&mut self, name: &str) -> Option<SessionId> {
        let (sandbox, ordinal) = match name.rsplit_once('/') {
            Some((sandbox, ordinal)) => (sandbox, ordinal.parse::<u32>().ok()),
            None => (name, None),
        };
        let row = self.state.fleet.named(sandbox);
        let session = row.and_then(|row| match ordinal {
            Some(it) => row.sandbox.sessions.iter().find(|of| of.ordinal == it),
            None => row.leading(),
        });
        let found = session.map(|it| it.id.clone());
        if found.is_none() {
            self.notice(Level::Error, &format!("there is no session `{name}`"));
        }
        found
    }

    /// Shows a session, focuses it, and steps in; one that has ended moves nothing.
    fn arrive(&mut self, session: &SessionId) {
        if self.has_ended(session) {
            return;
        }
        let from = self.state.place;
        self.show(session);
        self.step_in();
        self.state.came_from = from;
    }

    /// A session just made here: it is in sight, and has the keyboard if it was asked for to be typed into. Who has
    /// pressed a key since then is not here: see `expect`.
    pub(super) fn welcome(&mut self, Awaited { session, to_type }: &Awaited) {
        let runs = self.state.fleet.session(session).is_some_and(|(_, it)| it.exit.is_none());
        if *to_type && runs && self.state.views.is_empty() {
            return self.arrive(session);
        }
        let place = self.state.place;
        self.show(session);
        self.state.place = place;
        let name = self.state.fleet.session(session).map(|(row, it)| it.name(&row.sandbox.name));
        let name = name.unwrap_or_default();
        let text = if self.state.views.is_empty() {
            format!("{name} is there; {} steps in", self.state.key_words(Action::StepIn))
        } else {
            format!("{name} is there, selected in the fleet")
        };
        self.notice(Level::Info, &text);
    }

    /// Says so when there is nothing left to type into.
    fn has_ended(&mut self, session: &SessionId) -> bool {
        let known = self.state.fleet.session(session);
        let Some((row, _)) = known.filter(|(_, it)| it.exit.is_some()) else { return false };
        let key = self.state.key_words(Action::Scrollback);
        let mut text = format!("this program has ended; {key} shows what it printed");
        if row.is_startable() {
            let key = self.state.key_words(Action::Start);
            text.push_str(&format!("; {key} starts it again"));
        }
        self.notice(Level::Info, &text);
        true
    }

    /// Shows a session in a pane of its own or the following one, and focuses it.
    pub(super) fn show(&mut self, session: &SessionId) {
        if !self.select_row_of(session) {
            return;
        }
        let slots = self.state.grid.tab().slots();
        let kept = slots.iter().position(|it| *it == Slot::Kept(session.clone()));
        self.state.grid.tab_mut().set_focus(kept.unwrap_or(0));
        if kept.is_none() {
            self.state.follow = Some(session.clone());
        }
        self.state.place = Place::Panes;
    }

    /// Puts the cursor of the fleet on the row of a session, which the filter may have hidden.
    fn select_row_of(&mut self, session: &SessionId) -> bool {
        let Some((row, _)) = self.state.fleet.session(session) else { return false };
        let id = row.sandbox.id.clone();
        if !self.state.fleet.select(&id) {
            self.state.fleet.filter("");
            self.state.fleet.select(&id);
        }
        true
    }

    /// A pane went and the following one took its place: it shows what that had, and so does the fleet.
    pub(super) fn lead(&mut self, session: Option<SessionId>) {
        if let Some(session) = session.filter(|it| self.select_row_of(it)) {
            self.state.follow = Some(session);
        }
    }

    /// Takes the keyboard of the session that is looked at.
    pub(super) fn step_in(&mut self) {
        if self.state.place == Place::Fleet {
            if self.state.fleet.current().is_none() {
                return;
            }
            let Some(session) = self.state.aim().cloned() else {
                let key = self.state.key_words(Action::Shell);
                let text = format!("this sandbox has no session; {key} opens a shell");
                return self.notice(Level::Info, &text);
            };
            return self.arrive(&session);
        }
        let Some(session) = self.state.focused_session().cloned() else {
            return self.notice(Level::Info, "this pane is empty");
        };
        (self.state.copy, self.state.came_from) = (None, Place::Panes);
        if self.has_ended(&session) {
            return;
        }
        let Some((_, known)) = self.state.fleet.session(&session) else { return };
        if let Some(lacks) = self.state.lacks(Action::StepIn) {
            return self.notice(Level::Info, &format!("you watch: typing {}", lacks.words));
        }
        if let Holder::Other(holder) = self.state.holder(known) {
            let holder = holder.to_owned();
            let opened = self.state.now.since_start;
            self.state.overlay = Some(Overlay::TakeOver { session, holder, free: false, opened });
            return;
        }
        self.grip(session, LeaseVerb::Take);
    }

    /// Back from looking back: the keyboard of that session again, or none, which is a loss.
    pub(super) fn type_again(&mut self, session: &SessionId) {
        let from = self.state.came_from;
        if self.state.place == Place::Panes && self.state.focused_session() == Some(session) {
            self.step_in();
        }
        self.state.came_from = from;
        if self.state.grip.is_none() {
            let why = self.why_not(session);
            // The box that asks about another holder came just now: no key was meant for it.
            let asks = self.state.overlay.take();
            self.lose_keyboard(why);
            self.state.overlay = asks;
        }
    }

    /// Why a session can't be typed into.
    fn why_not(&self, session: &SessionId) -> String {
        let Some((row, known)) = self.state.fleet.session(session) else {
            return "the session that you typed into is gone".to_owned();
        };
        match (known.exit, self.state.holder(known)) {
            (Some(exit), _) => {
                let name = known.name(&row.sandbox.name);
                format!("{name} ended with exit code {}", exit.code())
            }
            (None, Holder::Other(holder)) => format!("{holder} holds the keyboard"),
            (None, _) => "the keyboard could not be asked for".to_owned(),
        }
    }

    fn grip(&mut self, session: SessionId, verb: LeaseVerb) {
        let pending = Pending::Lease { session: session.clone(), verb };
        if self.start(Act::Lease { session: session.clone(), verb }, Some(pending)).is_some() {
            let before = match self.state.grip.take() {
                Some(other) if other.session != session => {
                    self.let_go(other);
                    None
                }
                same => same,
            };
            self.state.copy = None;
            self.state.place = Place::Panes;
            self.state.lost = None;
            // A hint that was followed makes room for the next.
            if self.state.notices.showing().is_some_and(|it| it.level == Level::Info) {
                self.state.notices.dismiss();
            }
            if before.is_none() {
                // What failed of what was typed earlier is no part of what is typed from now on.
                self.state.run += 1;
            }
            let (ahead, hole) = before.map_or_else(Default::default, |it| (it.ahead, it.hole));
            let hold = Hold::Asked;
            self.state.grip =
                Some(Grip { session, hold, since: None, ahead, hole, predicted: <_>::default() });
        }
    }

    pub(super) fn take_over(&mut self) {
        let focused = self.look_at_aim();
        let asked = match self.state.overlay.take() {
            Some(Overlay::TakeOver { session, .. }) => Some(session),
            other => {
                self.state.overlay = other;
                None
            }
        };
        let known = focused.as_ref().and_then(|it| self.state.fleet.session(it));
        let held = known.is_some_and(|(_, it)| matches!(self.state.holder(it), Holder::Other(_)));
        match (focused, asked) {
            // What was asked about may have moved out of the focus meanwhile.
            (Some(session), Some(asked)) if session == asked => {
                self.grip(session, LeaseVerb::TakeOver);
            }
            (Some(session), None) if held => self.grip(session, LeaseVerb::TakeOver),
            (Some(_), None) => {
                let key = self.state.key_words(Action::StepIn);
                let text = format!("nobody else holds this keyboard; {key} steps in");
                self.notice(Level::Info, &text);
            }
            _ => self.notice(Level::Info, "there is no session to take over"),
        }
    }

    /// Gives the keyboard back and returns to where it was taken from.
    pub(super) fn leave(&mut self) {
        if let Some(grip) = self.state.grip.take() {
            self.let_go(grip);
        }
        if self.state.came_from == Place::Fleet {
            self.state.return_to_fleet();
        }
    }

    /// The size of a session follows the pane it is typed into; observers never resize.
    pub(super) fn resize_typed_into(&mut self) {
        let slot = self.state.grid.tab().focus();
        let Some(grip) = &self.state.grip else { return };
        let Some(pane) = self.state.frame.pane(slot).filter(|it| !it.body.is_empty()) else {
            return;
        };
        let (session, size) = (grip.session.clone(), pane.session_size());
        let known = self.state.fleet.session(&session).map(|(_, it)| it.size);
        let held = grip.hold == Hold::Held;
        if held && known != Some(size) {
            let pending = Pending::Quiet("fitting the session into its pane".to_owned());
            self.start(Act::Resize { session, size }, Some(pending));
        }
    }
}
