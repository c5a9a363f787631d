//! A line or an interrupt for the session that the inspector is about, without stepping in.

use super::Turn;
use crate::{
    app::{
        action::Action,
        dialog::{Deed, Says},
        effect::Act,
        msg::Reply,
        records::Of,
        state::{LineKind, Pending},
    },
    base::{fault::Outcome, id::SessionId, text::visible},
    model::event::Level,
    runtime::Nudge,
    vt::key::Stroke,
};

impl Turn<'_> {
    /// Asks for the line, or whether it shall be interrupted; `false` in another list.
    pub(super) fn steer(&mut self, action: Action) -> bool {
        let Some(Of::Status(_, session)) = self.state.records().map(|it| it.of.clone()) else {
            return false;
        };
        if self.press.is_some_and(|it| it.stroke == Stroke::Repeat) {
            return true;
        }
        let Some(name) = self.takes_lines(&session) else { return true };
        if action == Action::Nudge {
            self.open_line(LineKind::Nudge(session), "");
            return true;
        }
        let lines = vec![format!("ctrl-c is typed into {name}, as from its keyboard.")];
        let title = (format!("Interrupt {name}?"), "interrupt");
        self.ask_first(Deed::Interrupt(session), title, Says::from(lines));
        true
    }

    /// What a session is called, if what is typed arrives there now; else it is said why it does not.
    fn takes_lines(&mut self, session: &SessionId) -> Option<String> {
        let Some((row, it)) = self.state.fleet.session(session) else {
            self.notice(Level::Info, "it is not there any more");
            return None;
        };
        let name = visible(&it.name(&row.sandbox.name));
        let why = match (it.exit.is_some(), self.state.is_paused(it)) {
            (true, _) => format!("{name} has ended"),
            (_, true) => {
                let key = self.state.key_words(Action::Pause);
                format!("{name} is paused: nothing is sent; {key} lets it run on")
            }
            _ => return Some(name),
        };
        self.notice(Level::Info, &why);
        None
    }

    pub(super) fn nudged(&mut self, session: SessionId, text: &str) {
        if text.is_empty() {
            return self.notice(Level::Info, "nothing was sent");
        }
        self.deliver(session, "the line", Nudge::Line(text.to_owned()));
    }

    pub(super) fn interrupted(&mut self, session: SessionId) {
        self.deliver(session, "ctrl-c", Nudge::Interrupt);
    }

    fn deliver(&mut self, session: SessionId, called: &'static str, what: Nudge) {
        // It may have ended while the line was written.
        let Some(to) = self.takes_lines(&session) else { return };
        self.start(Act::Nudge { session, what }, Some(Pending::Sent { what: called, to }));
    }

    pub(super) fn delivered(&mut self, what: &str, to: &str, result: Outcome<Reply>) {
        match result {
            Ok(_) => self.notice(Level::Info, &format!("{what} was sent to {to}")),
            Err(fault) => self.fault(&format!("sending {what} to {to}"), &fault),
        }
    }
}
