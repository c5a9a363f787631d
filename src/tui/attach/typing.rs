//! What the operator does: keys, pastes and the mouse go to the program, behind the question for the
//! keyboard where it is not ours; the prefix is for the attachment itself.

use std::time::Duration;

use bytes::Bytes;
use crossterm::event::Event;

use super::{Attached, Ending, feed::Holder};
use crate::{
    app::{
        EffectId, Msg,
        chord::Chord,
        lost::{self, Hole},
        msg,
    },
    base::{
        clock,
        fault::{Kind, Outcome},
    },
    runtime::LeaseVerb,
    tui::{convert, terminal},
    vt::key::{self, Key, KeyPress, MouseButton, MouseEvent, MouseKind, Stroke},
};

/// What an answer is to; what is typed has the number of its run, which is another.
pub(super) const LEASE: EffectId = EffectId(0);

/// Who types here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyboard {
    Ours,
    /// Only watching was asked for.
    Unwanted,
    /// Asked for; what is typed meanwhile goes behind the question.
    Asked,
    /// Somebody else has it, or it could not be had.
    Refused,
}

/// What was typed so far, and what it is for.
#[derive(Debug)]
pub(super) struct Typing {
    /// The key in front of those that are for us.
    leader: Chord,
    /// It was typed; the next key is for us.
    prefix: bool,
    /// When something was typed for the program.
    pub(super) at: Option<Duration>,
    /// Counts what was typed in one go, without anything lost in between.
    run: u64,
    /// Something was lost a moment ago.
    hole: Option<Hole>,
}

impl Typing {
    pub(super) fn behind(leader: Chord) -> Self {
        Self { leader, prefix: false, at: None, run: 1, hole: None }
    }
}

impl Attached {
    pub(super) fn ask_for_keyboard(&mut self, verb: LeaseVerb) -> Outcome<()> {
        self.lane.lease(LEASE, verb)?;
        self.keyboard = Keyboard::Asked;
        Ok(())
    }

    /// The hub is there again, perhaps another one, which knows of no holder.
    pub(super) fn take_again(&mut self) {
        if self.keyboard == Keyboard::Ours
            && let Err(fault) = self.ask_for_keyboard(LeaseVerb::Take)
        {
            self.say(fault.to_string());
        }
    }

    pub(super) fn answer(&mut self, message: Msg) {
        let Msg::Done { id, result } = message else { return };
        match result {
            Ok(msg::Reply::Lease(Some(lease))) => {
                self.keyboard = Keyboard::Ours;
                self.held = Some((lease.holder, lease.since));
                self.follow_size();
            }
            Ok(_) => {}
            Err(fault) if id == LEASE => {
                self.keyboard = Keyboard::Refused;
                let hint = match fault.kind() {
                    Kind::Busy => {
                        format!("; {0} t takes it over, {0} d detaches", self.typing.leader)
                    }
                    _ => String::new(),
                };
                self.say(format!("{fault}{hint}"));
            }
            // Typed before what is lost and known to be.
            Err(_) if id != EffectId(self.typing.run) => {}
            // Perhaps somebody took it over: the next key asks. What was typed behind a question that
            // was refused has been answered with it.
            Err(fault) if fault.kind() == Kind::Busy => {
                self.broke_off();
                if self.keyboard == Keyboard::Ours {
                    self.keyboard = Keyboard::Refused;
                    self.say(fault.to_string());
                }
            }
            Err(fault) => {
                self.broke_off();
                self.say(fault.to_string());
            }
        }
    }

    /// Something that was typed is lost: what was typed behind it must not arrive without it.
    fn broke_off(&mut self) {
        self.typing.run += 1;
        self.typing.hole = Some(Hole::at(clock::monotonic()));
    }

    /// Something typed is not sent, and what went before it may still arrive.
    fn left_out(&mut self, why: String) {
        self.typing.hole = Some(Hole::at(clock::monotonic()));
        self.say(why);
    }

    /// Says at once that somebody took it over: what is typed until then is lost.
    pub(super) fn lost_to(&mut self, holder: &Holder) {
        let taken = self
            .held
            .as_ref()
            .is_some_and(|(me, since)| holder.client != *me && holder.since >= *since);
        if taken && self.keyboard == Keyboard::Ours {
            self.keyboard = Keyboard::Refused;
            let leader = self.typing.leader;
            self.say(format!(
                "{} took the keyboard; {leader} t takes it back, {leader} d detaches",
                holder.name
            ));
        }
    }

    /// The session takes this terminal's size; observers never resize.
    pub(super) fn follow_size(&mut self) {
        let (Some(size), Keyboard::Ours) = (terminal::size(), self.keyboard) else { return };
        let (runtime, session) = (self.runtime.clone(), self.session.clone());
        tokio::spawn(async move {
            if let Err(fault) = runtime.resize(&session, size).await {
                tracing::warn!(%fault, "resize");
            }
        });
    }

    pub(super) fn event(&mut self, event: Event) -> Outcome<()> {
        let Some(message) = convert::message(event) else { return Ok(()) };
        let modes = self.view.screen().modes();
        match message {
            Msg::Key(press) => self.key(press)?,
            Msg::Paste(text) => {
                let bytes = key::encode_paste(&text, &modes);
                match lost::too_long(&bytes).filter(|_| self.keyboard != Keyboard::Unwanted) {
                    Some(why) => self.left_out(why),
                    None => self.send(bytes),
                }
            }
            Msg::Focus(gained) if self.keyboard == Keyboard::Ours => {
                let bytes = key::encode_focus(gained, &modes);
                self.send(bytes.unwrap_or_default().to_vec());
            }
            Msg::Mouse(mouse) if self.keyboard == Keyboard::Ours => {
                let bytes = key::encode_mouse(mouse_event(mouse), &modes);
                self.send(bytes.unwrap_or_default());
            }
            Msg::Resize(cols, rows) => {
                self.canvas.resize((cols, rows));
                self.dirty = true;
                self.follow_size();
            }
            _ => {}
        }
        Ok(())
    }

    fn key(&mut self, press: KeyPress) -> Outcome<()> {
        let prefix = Chord::of(&press) == self.typing.leader;
        if press.stroke == Stroke::Release && (prefix || self.typing.prefix) {
            return Ok(());
        }
        let encoded = |it: &Self| key::encode(press, &it.view.screen().modes());
        if !std::mem::take(&mut self.typing.prefix) {
            if prefix {
                self.typing.prefix = true;
                self.say_keys();
            } else {
                self.send(encoded(self));
            }
            return Ok(());
        }
        self.status.unsay();
        match press.key {
            _ if prefix => self.send(encoded(self)),
            Key::Char('d' | 'q') => self.ended = Some(Ending::Detached),
            Key::Char('t') if self.keyboard == Keyboard::Unwanted => {
                self.say("attached to watch only");
            }
            Key::Char('t') => self.ask_for_keyboard(LeaseVerb::TakeOver)?,
            _ => self.say_keys(),
        }
        Ok(())
    }

    /// What can follow the prefix.
    fn say_keys(&mut self) {
        let it = self.typing.leader;
        self.say(format!("{it}: d detach · t take the keyboard · {it} send {it}"));
    }

    fn send(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let now = clock::monotonic();
        if self.typing.hole.as_mut().is_some_and(|it| it.refuses(now)) {
            // Who was refused the keyboard has been told how to get it.
            if self.keyboard != Keyboard::Refused {
                self.say("what you typed did not all get through; the rest is not sent");
            }
            return;
        }
        if self.status.is_down() && self.keyboard != Keyboard::Unwanted {
            return self.left_out("there is no hub: what you type is not sent".to_owned());
        }
        self.typing.hole = None;
        let asked = match self.keyboard {
            Keyboard::Unwanted => {
                return self.say(format!("watching only; {} d detaches", self.typing.leader));
            }
            Keyboard::Ours | Keyboard::Asked => Ok(()),
            // The other may have left meanwhile.
            Keyboard::Refused => self.ask_for_keyboard(LeaseVerb::Take),
        };
        self.typing.at = Some(now);
        let run = self.typing.run;
        let sent = asked.and_then(|()| self.lane.input(EffectId(run), run, Bytes::from(bytes)));
        if let Err(fault) = sent {
            self.left_out(fault.to_string());
        }
    }
}

fn mouse_event(mouse: msg::Mouse) -> MouseEvent {
    let button = |it| match it {
        msg::Button::Left => MouseButton::Left,
        msg::Button::Middle => MouseButton::Middle,
        msg::Button::Right => MouseButton::Right,
    };
    let kind = match mouse.kind {
        msg::MouseKind::Down(it) => MouseKind::Press(button(it)),
        msg::MouseKind::Up(it) => MouseKind::Release(button(it)),
        msg::MouseKind::Drag(it) => MouseKind::Motion(Some(button(it))),
        msg::MouseKind::Moved => MouseKind::Motion(None),
        msg::MouseKind::WheelUp => MouseKind::WheelUp,
        msg::MouseKind::WheelDown => MouseKind::WheelDown,
        msg::MouseKind::WheelLeft => MouseKind::WheelLeft,
        msg::MouseKind::WheelRight => MouseKind::WheelRight,
    };
    MouseEvent { kind, row: mouse.row, col: mouse.column, mods: mouse.mods }
}
