//! What is typed or pasted into the session that is stepped into: it arrives in order and whole, or is
//! refused from the first byte that was lost on.

use bytes::Bytes;

use super::Turn;
use crate::{
    app::{
        effect::Act,
        lost::{Hole, too_long},
        msg::Link,
        pane::Watch,
        predict::Typed,
        state::{Grip, Hold, Pending},
    },
    base::{
        clock::Timestamp,
        fault::{Fault, Kind},
        id::{HubNumber, SessionId},
    },
    config::schema::Predict,
    model::event::Level,
    runtime::LeaseVerb,
    vt::{
        key::{KeyPress, encode, encode_focus, encode_paste},
        screen::{Modes, Screen},
    },
};

/// Inputs of one session under way at once; what is typed meanwhile waits, and goes in one piece.
const INPUTS_MAX: usize = 64;

impl Turn<'_> {
    /// Gives a keyboard back, behind what was typed with it.
    pub(super) fn let_go(&mut self, grip: Grip) {
        self.state.typed.clear();
        let Grip { session, hold, mut ahead, .. } = grip;
        let up = self.state.is_up(session.hub());
        let there = self.state.fleet.session(&session).is_some();
        if !ahead.is_empty() && (hold != Hold::Held || !there) {
            self.notice(Level::Warning, "what you typed meanwhile was not sent");
        }
        // Without a link it is given back once there is one.
        if !up || !there {
            return;
        }
        if hold == Hold::Held {
            while let Some(piece) = ahead.pop() {
                if !self.send(session.clone(), piece) {
                    break;
                }
            }
        }
        self.tell_focus(&session, false);
        let act = Act::Lease { session, verb: LeaseVerb::Release };
        self.start(act, Some(Pending::Quiet("giving the keyboard back".to_owned())));
    }

    /// The keyboard is ours: the session gets our size, and what was typed ahead.
    pub(super) fn gripped(&mut self, session: &SessionId, since: Option<Timestamp>) {
        let Some(grip) = self.state.grip.as_mut().filter(|it| it.session == *session) else {
            return;
        };
        (grip.hold, grip.since) = (Hold::Held, since);
        let mut ahead = std::mem::take(&mut grip.ahead);
        self.resize_typed_into();
        self.tell_focus(session, true);
        if let Some(grip) = &mut self.state.grip {
            while let Some(piece) = ahead.pop() {
                grip.ahead.push(piece);
            }
        }
        self.forward();
    }

    pub(super) fn tell_focus(&mut self, session: &SessionId, gained: bool) {
        let Some(bytes) = encode_focus(gained, &self.modes(session)) else { return };
        match self.state.grip.as_mut().filter(|it| it.session == *session) {
            // Behind what was typed before.
            Some(grip) => {
                if grip.ahead.push(bytes.to_vec()) {
                    self.forward();
                }
            }
            None => drop(self.send(session.clone(), bytes.to_vec())),
        }
    }

    fn modes(&self, session: &SessionId) -> Modes {
        let watch = self.state.watches.get(session);
        watch.and_then(Watch::screen).map(Screen::modes).unwrap_or_default()
    }

    /// A key for the program, as its terminal modes want it.
    pub(super) fn type_key(&mut self, press: KeyPress) {
        let Some(session) = self.state.grip.as_ref().map(|it| it.session.clone()) else { return };
        let bytes = encode(press, &self.modes(&session));
        self.type_bytes(bytes);
    }

    pub(super) fn send_prefix(&mut self) {
        let prefix = self.state.keymap.prefix();
        self.type_key(KeyPress { key: prefix.key, mods: prefix.mods, stroke: <_>::default() });
    }

    pub(super) fn paste(&mut self, text: &str) {
        if self.goes_nowhere(None) {
            return self.notice(Level::Warning, "the keyboard was lost; not pasted");
        }
        if self.state.frame.too_small {
            self.left_out();
            let text = "the terminal was too small to show where it would go; not pasted";
            return self.notice(Level::Warning, text);
        }
        if self.state.overlay.is_some() || self.state.line.is_some() {
            return self.insert(text.lines().next().unwrap_or(""));
        }
        let Some(session) = self.state.grip.as_ref().map(|it| it.session.clone()) else {
            let key = self.state.key_words(crate::app::action::Action::StepIn);
            let text = format!("a paste needs a program to go to; {key} steps in");
            return self.notice(Level::Info, &text);
        };
        self.state.typed.clear();
        let bytes = encode_paste(text, &self.modes(&session));
        if let Some(text) = too_long(&bytes) {
            self.left_out();
            return self.notice(Level::Error, &text);
        }
        self.type_bytes(bytes);
    }

    /// Sends what was typed, or keeps it until the keyboard is ours and what went before is taken.
    pub(super) fn type_bytes(&mut self, bytes: Vec<u8>) {
        let now = self.state.now.since_start;
        let Some(grip) = self.state.grip.as_mut().filter(|_| !bytes.is_empty()) else { return };
        if grip.hold == Hold::Cut {
            self.left_out();
            return self.notice(Level::Warning, "no link to the hub: not typed");
        }
        if grip.hole.as_mut().is_some_and(|it| it.refuses(now)) {
            let text = "what you typed did not all get through; the rest is not sent";
            return self.notice(Level::Error, text);
        }
        grip.hole = None;
        self.predict(&bytes);
        let Some(grip) = &mut self.state.grip else { return };
        if !grip.ahead.push(bytes) {
            self.left_out();
            return self.notice(Level::Error, "what you type does not get through; not sent");
        }
        let (session, hold) = (grip.session.clone(), grip.hold);
        self.warn_of_pause(&session);
        match hold {
            Hold::Lapsed => {
                let verb = LeaseVerb::Take;
                let pending = Pending::Lease { session: session.clone(), verb };
                if self.start(Act::Lease { session, verb }, Some(pending)).is_none() {
                    return self.broke_off();
                }
                if let Some(grip) = &mut self.state.grip {
                    grip.hold = Hold::Asked;
                }
            }
            Hold::Held => self.forward(),
            Hold::Asked | Hold::Cut => {}
        }
    }

    /// Draws what was typed before its echo comes, where that is long in coming.
    fn predict(&mut self, bytes: &[u8]) {
        let now = self.state.now.since_start;
        let Some(grip) = &mut self.state.grip else { return };
        let screen = self.state.watches.get(&grip.session).and_then(Watch::screen);
        let links = self.state.config.links;
        let link = match grip.session.hub() {
            HubNumber::FIRST => Some(&self.state.link),
            hub => self.state.hubs.get(hub).map(|it| &it.link),
        };
        let is_long = match (links.predict, link) {
            (Predict::On, _) => true,
            (Predict::Auto, Some(Link::Up(Some(it)))) => it.rtt >= links.predict_from,
            (Predict::Auto | Predict::Off, _) => false,
        };
        let Some(screen) = screen.filter(|_| is_long && grip.hold == Hold::Held) else {
            return grip.predicted.withdraw();
        };
        if grip.predicted.typed(Typed::of(bytes), screen, now) {
            self.state.drawn_ahead = true;
        }
    }

    /// What is typed into a paused sandbox arrives later, all at once: said as long as it goes on.
    fn warn_of_pause(&mut self, session: &SessionId) {
        let Some((row, known)) = self.state.fleet.session(session) else { return };
        if !self.state.is_paused(known) {
            return;
        }
        let name = &row.sandbox.name;
        let words = format!("{name} is paused: what you type waits until it is resumed");
        if self.state.notices.showing().is_none_or(|it| it.text != words) {
            self.notice(Level::Warning, &words);
        }
    }

    /// Sends what waits, as far as there is room for it on the way.
    pub(super) fn forward(&mut self) {
        while let Some(grip) =
            self.state.grip.as_mut().filter(|it| it.hold == Hold::Held && !it.ahead.is_empty())
        {
            let session = grip.session.clone();
            let inputs = self.state.pending.values();
            let ours =
                |it: &&Pending| matches!(it, Pending::Input { session: of, .. } if *of == session);
            let under_way = inputs.filter(ours);
            if under_way.count() >= INPUTS_MAX {
                return;
            }
            let Some(piece) = grip.ahead.pop() else { return };
            if !self.send(session, piece) {
                return self.broke_off();
            }
        }
    }

    /// Says whether it is on its way; if not, it was said why.
    fn send(&mut self, session: SessionId, bytes: Vec<u8>) -> bool {
        let run = self.state.run;
        let pending = Pending::Input { session: session.clone(), run };
        let act = Act::Input { session, bytes: Bytes::from(bytes), run };
        self.start(act, Some(pending)).is_some()
    }

    /// Something that was typed is lost: what was typed behind it must not arrive without it.
    pub(super) fn broke_off(&mut self) {
        self.state.run += 1;
        self.left_out();
        if let Some(grip) = &mut self.state.grip {
            grip.ahead.clear();
        }
    }

    /// Something that was meant for the program is not sent; what went before it may still arrive.
    pub(super) fn left_out(&mut self) {
        let now = self.state.now.since_start;
        if let Some(grip) = &mut self.state.grip {
            grip.hole = Some(Hole::at(now));
        }
    }

    pub(super) fn input_failed(&mut self, session: &SessionId, run: u64, fault: &Fault) {
        self.fault("typing", fault);
        // What is typed now is no part of what was left or is known to be lost.
        if run != self.state.run || self.state.grip.as_ref().is_none_or(|it| it.session != *session)
        {
            return;
        }
        self.broke_off();
        match (&mut self.state.grip, fault.kind()) {
            (Some(_), Kind::Busy) => {}
            // Whether the link is lost is not known yet; the next key asks for the keyboard again.
            (Some(grip), Kind::Lost | Kind::Late) => grip.hold = Hold::Lapsed,
            _ => self.lose_keyboard(format!("typing failed: {}", fault.message())),
        }
    }

    pub(super) fn focus_changed(&mut self, on: bool) {
        self.state.focused = Some(on);
        if on {
            self.state.last_input = self.state.now.since_start;
            self.look_again_if_old();
        }
        let held = self.state.grip.as_ref().filter(|it| it.hold == Hold::Held);
        if let Some(session) = held.map(|it| it.session.clone()) {
            self.tell_focus(&session, on);
        }
    }
}
