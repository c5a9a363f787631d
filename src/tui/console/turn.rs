//! One turn of the loop: what began it, and whether it took too long.

use std::time::Duration;

use crossterm::event::Event;

use super::look::Change;
use crate::{
    app::Msg,
    base::{
        clock,
        fault::Outcome,
        limits::{TURN_SLOW, TURN_WITHIN},
    },
    tui::signals::Signal,
};

/// What ended the wait.
pub(super) enum Woken {
    Event(Event),
    /// The terminal is gone.
    Gone,
    Signal(Signal),
    Message(Msg),
    Change(Change),
    Written(Outcome<()>),
    Files,
    Timer,
}

/// One turn, timed.
pub(super) struct Turn {
    began: Duration,
    cause: &'static str,
}

impl Turn {
    pub(super) fn begin(woken: &Woken) -> Self {
        let cause = match woken {
            Woken::Event(_) => "terminal input",
            Woken::Gone => "the terminal went away",
            Woken::Signal(_) => "signal",
            Woken::Message(Msg::Output { .. } | Msg::OutputEnded { .. }) => "output",
            Woken::Message(Msg::Event(_) | Msg::Hubs(_)) => "feed",
            Woken::Message(_) => "answer",
            Woken::Change(_) | Woken::Files => "files",
            Woken::Written(_) => "frame written",
            Woken::Timer => "timer",
        };
        Self { began: clock::monotonic(), cause }
    }

    pub(super) fn over(&self) -> bool {
        clock::monotonic().saturating_sub(self.began) > TURN_WITHIN
    }

    pub(super) fn end(self) {
        let took = clock::monotonic().saturating_sub(self.began);
        if took > TURN_SLOW {
            tracing::warn!(cause = self.cause, ?took, "a turn took longer than a frame");
        }
    }
}
