//! What was let out and what was kept in, as far back as there is room.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    base::{
        clock,
        limits::{GATE_FLOWS_KEPT, LINE_BYTES_MAX},
    },
    model::traffic::{Flow, FlowState, Traffic},
};

/// Bytes of one connection, counted while it goes on.
#[derive(Debug, Default)]
pub struct Bytes {
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

#[derive(Debug, Default)]
pub struct Log {
    flows: VecDeque<(Flow, Arc<Bytes>)>,
    last: u64,
    allowed: u64,
    denied: u64,
    unseen: u64,
    pub names_refused: u64,
}

impl Log {
    /// A connection begins; it is known by its number from now on.
    pub fn begin(&mut self, place: String) -> (u64, Arc<Bytes>) {
        self.last += 1;
        let bytes = Arc::<Bytes>::default();
        let flow = Flow {
            number: self.last,
            started_at: clock::wall(),
            ended_at: None,
            place,
            program: None,
            state: FlowState::Asked,
            why: String::new(),
            sent_bytes: 0,
            received_bytes: 0,
        };
        self.flows.push_back((flow, Arc::clone(&bytes)));
        if self.flows.len() > GATE_FLOWS_KEPT {
            // Of those that have ended, if any has.
            let ended = self.flows.iter().position(|it| it.0.ended_at.is_some()).unwrap_or(0);
            drop(self.flows.remove(ended));
        }
        (self.last, bytes)
    }

    pub fn program(&mut self, number: u64, program: Option<String>) {
        if let Some(it) = self.find(number) {
            it.program = program;
        }
    }

    /// It goes on, or has ended.
    pub fn becomes(&mut self, number: u64, state: FlowState, why: Option<String>) {
        match state {
            FlowState::Open => self.allowed += 1,
            FlowState::Denied => self.denied += 1,
            FlowState::Asked | FlowState::Over | FlowState::Failed => {}
        }
        let Some(it) = self.find(number) else { return };
        it.state = state;
        if let Some(why) = why {
            it.why = why;
        }
        if !matches!(state, FlowState::Asked | FlowState::Open) {
            it.ended_at = Some(clock::wall());
        }
    }

    /// What a person should know of it beside what let it out; each is said once.
    pub fn note(&mut self, number: u64, words: &str) {
        let Some(it) = self.find(number) else { return };
        if it.why.len() < LINE_BYTES_MAX && !it.why.contains(words) {
            let between = if it.why.is_empty() { "" } else { "; " };
            it.why.push_str(&format!("{between}{words}"));
        }
    }

    /// Something that did not get out, and was no connection of its own.
    pub fn refused(&mut self, place: String, why: String) {
        let (number, _) = self.begin(place);
        self.becomes(number, FlowState::Denied, Some(why));
    }

    /// One that was closed at once, for there were too many.
    pub fn unseen(&mut self) {
        self.denied += 1;
        self.unseen += 1;
    }

    fn find(&mut self, number: u64) -> Option<&mut Flow> {
        self.flows.iter_mut().rev().map(|it| &mut it.0).find(|it| it.number == number)
    }

    pub fn traffic(&self, dropped: Option<(u64, u64)>) -> Traffic {
        let flows = self.flows.iter().rev().map(|(flow, bytes)| Flow {
            sent_bytes: bytes.sent.load(Ordering::Relaxed),
            received_bytes: bytes.received.load(Ordering::Relaxed),
            ..flow.clone()
        });
        Traffic {
            flows: flows.collect(),
            allowed: self.allowed,
            denied: self.denied,
            unseen: self.unseen,
            names_refused: self.names_refused,
            dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_those_that_go_on_before_all() {
        let mut log = Log::default();
        let (first, bytes) = log.begin("first:1".into());
        log.becomes(first, FlowState::Open, Some("so".into()));
        for number in 0..2 * GATE_FLOWS_KEPT {
            let (it, _) = log.begin(format!("x:{number}"));
            log.becomes(it, FlowState::Denied, None);
        }
        bytes.sent.fetch_add(5, Ordering::Relaxed);
        let told = log.traffic(None);
        assert_eq!(told.flows.len(), GATE_FLOWS_KEPT);
        let oldest = told.flows.last().unwrap();
        assert_eq!((oldest.number, oldest.sent_bytes, oldest.ended_at), (first, 5, None));
        assert_eq!((told.allowed, told.denied), (1, 2 * GATE_FLOWS_KEPT as u64));
        assert!(told.flows[0].number > told.flows[1].number);
    }
}
