//! A line or an interrupt for the session that the inspector is about, without stepping in.

use bytes::Bytes;

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
    vt::key::Stroke,
};

const INTERRUPT: &[u8] = b"\x03";
const ENTER: &str = "\r";

impl Turn<'_> {
    /// Asks for the line, or whether it shall be interrupted; `false` in another list.
    pub(super) fn steer(&mut self, action: Action) -> bool {
        let Some(Of::Status(_, session)) = self.state.records().map(|it| it.of.clone()) else {
            return false;
        };
        if self.press.is_some_and(|it| it.stroke == Stroke::Repeat) {
            return true;
        }
        let Some(name) = self.runs_as(&session) else { return true };
        if action == Action::Nudge {
            self.open_line(LineKind::Nudge(session), "");
            return true;
        }
        let lines = vec![format!("ctrl-c is typed into {name}, as from its keyboard.")];
        let title = (format!("Interrupt {name}?"), "interrupt");
        self.ask_first(Deed::Interrupt(session), title, Says::from(lines));
        true
    }

    /// What a session is called, if it still runs; else it is said that it does not.
    fn runs_as(&mut self, session: &SessionId) -> Option<String> {
        let known = self.state.fleet.session(session);
        let name = known.map(|(row, it)| (visible(&it.name(&row.sandbox.name)), it.exit.is_none()));
        match name {
            Some((name, true)) => return Some(name),
            Some((name, false)) => self.notice(Level::Info, &format!("{name} has ended")),
            None => self.notice(Level::Info, "it is not there any more"),
        }
        None
    }

    pub(super) fn nudged(&mut self, session: SessionId, text: &str) {
        if text.is_empty() {
            return self.notice(Level::Info, "nothing was sent");
        }
        self.deliver(session, "the line", format!("{text}{ENTER}").into_bytes());
    }

    pub(super) fn interrupted(&mut self, session: SessionId) {
        self.deliver(session, "ctrl-c", INTERRUPT.to_vec());
    }

    pub(super) fn delivered(&mut self, what: &str, to: &str, result: Outcome<Reply>) {
        match result {
            Ok(_) => self.notice(Level::Info, &format!("{what} was sent to {to}")),
            Err(fault) => self.fault(&format!("sending {what} to {to}"), &fault),
        }
    }

    fn deliver(&mut self, session: SessionId, what: &'static str, bytes: Vec<u8>) {
        // It may have ended while the line was written.
        let Some(to) = self.runs_as(&session) else { return };
        self.warn_of_pause(&session);
        let act = Act::Input { session, bytes: Bytes::from(bytes), run: self.state.run };
        self.start(act, Some(Pending::Sent { what, to }));
    }
}
