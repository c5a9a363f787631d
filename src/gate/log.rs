//! What was let out and what was kept in, as far back as there is room.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::total::Total;

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
    sent: AtomicU64,
    received: AtomicU64,
    /// Those of all connections.
    all: Arc<Total>,
}

impl Bytes {
    /// Counts what a program sent.
    pub fn sends(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.all.add(0, bytes);
    }

    /// Counts what came for it.
    pub fn receives(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.all.add(bytes, 0);
    }
}

/// Something that did not get out, and was no connection of its own.
pub struct Refusal {
    /// The number of the connection that it came in.
    pub within: u64,
    /// For whom it was.
    pub place: String,
    /// What it was, of which each may be another.
    pub what: String,
    /// Why it was refused. Of one connection, what was refused for one reason is one row.
    pub why: String,
}

/// What a row is that stands for refusals.
#[derive(Debug)]
struct Refused {
    within: u64,
    why: String,
    /// The first of them, in words.
    first: String,
    count: u64,
}

#[derive(Debug)]
struct Row {
    flow: Flow,
    bytes: Arc<Bytes>,
    refused: Option<Refused>,
}

#[derive(Debug, Default)]
pub struct Log {
    flows: VecDeque<Row>,
    last: u64,
    allowed: u64,
    denied: u64,
    unseen: u64,
    pub names_refused: u64,
    total: Arc<Total>,
}

impl Log {
    /// One whose bytes are counted here too.
    pub fn new(total: Arc<Total>) -> Self {
        Self { total, ..Self::default() }
    }

    /// A connection begins; it is known by its number from now on.
    pub fn begin(&mut self, place: String) -> (u64, Arc<Bytes>) {
        self.last += 1;
        let bytes = Arc::new(Bytes { all: Arc::clone(&self.total), ..Bytes::default() });
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
        self.flows.push_back(Row { flow, bytes: Arc::clone(&bytes), refused: None });
        if self.flows.len() > GATE_FLOWS_KEPT {
            // Of those that have ended, if any has.
            let ended = self.flows.iter().position(|it| it.flow.ended_at.is_some()).unwrap_or(0);
            drop(self.flows.remove(ended));
        }
        (self.last, bytes)
    }

    pub fn program(&mut self, number: u64, program: Option<String>) {
        if let Some(it) = self.find(number) {
            it.program = program;
        }
    }

    /// For whom one is, and whose.
    pub fn whose(&self, number: u64) -> Option<(String, Option<String>)> {
        let found = self.flows.iter().rev().find(|it| it.flow.number == number);
        found.map(|it| (it.flow.place.clone(), it.flow.program.clone()))
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

    /// A program can make them without end: they are counted, and the first of each kind is told.
    pub fn refused(&mut self, refusal: Refusal) {
        let Refusal { within, place, what, why } = refusal;
        let same = |it: &&mut Row| {
            it.refused.as_ref().is_some_and(|it| it.within == within && it.why == why)
        };
        if let Some(Row { flow, refused: Some(it), .. }) = self.flows.iter_mut().rev().find(same) {
            it.count += 1;
            flow.why = format!("{}; {} like it in that connection", it.first, it.count);
            flow.ended_at = Some(clock::wall());
            self.denied += 1;
            return;
        }
        let (number, _) = self.begin(place);
        let first = format!("{what}: {why}");
        self.becomes(number, FlowState::Denied, Some(first.clone()));
        if let Some(row) = self.flows.back_mut() {
            row.refused = Some(Refused { within, why, first, count: 1 });
        }
    }

    /// One that was closed at once, for there were too many.
    pub fn unseen(&mut self) {
        self.denied += 1;
        self.unseen += 1;
    }

    fn find(&mut self, number: u64) -> Option<&mut Flow> {
        self.flows.iter_mut().rev().map(|it| &mut it.flow).find(|it| it.number == number)
    }

    pub fn traffic(&self, dropped: Option<(u64, u64)>) -> Traffic {
        let flows = self.flows.iter().rev().map(|Row { flow, bytes, .. }| Flow {
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
            waited: 0,
            dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_without_end_in_one_connection_is_one_row_for_each_reason() {
        let mut log = Log::default();
        let (first, _) = log.begin("a.example:80".into());
        let (second, _) = log.begin("a.example:80".into());
        let mut refuse = |within, what: String, why: &str| {
            let place = "a.example:80".to_owned();
            log.refused(Refusal { within, place, what, why: why.to_owned() });
        };
        for number in 0..2 * GATE_FLOWS_KEPT {
            refuse(first, format!("GET /{number}"), "rule no: so");
        }
        refuse(first, "GET /x".into(), "rule other: so");
        refuse(second, "GET /y".into(), "rule no: so");
        let told = log.traffic(None);
        let rows: Vec<&str> = told.flows.iter().map(|it| it.why.as_str()).collect();
        let many =
            format!("GET /0: rule no: so; {} like it in that connection", 2 * GATE_FLOWS_KEPT);
        assert_eq!(rows, ["GET /y: rule no: so", "GET /x: rule other: so", &many, "", ""]);
        assert_eq!(told.denied, 2 * GATE_FLOWS_KEPT as u64 + 2);
        assert!(told.flows[2].started_at <= told.flows[2].ended_at.unwrap());
    }

    #[test]
    fn the_newest_are_kept_and_those_that_go_on_before_all() {
        let mut log = Log::default();
        let (first, bytes) = log.begin("first:1".into());
        log.becomes(first, FlowState::Open, Some("so".into()));
        for number in 0..2 * GATE_FLOWS_KEPT {
            let (it, _) = log.begin(format!("x:{number}"));
            log.becomes(it, FlowState::Denied, None);
        }
        bytes.sends(5);
        let told = log.traffic(None);
        assert_eq!(told.flows.len(), GATE_FLOWS_KEPT);
        let oldest = told.flows.last().unwrap();
        assert_eq!((oldest.number, oldest.sent_bytes, oldest.ended_at), (first, 5, None));
        assert_eq!((told.allowed, told.denied), (1, 2 * GATE_FLOWS_KEPT as u64));
        assert!(told.flows[0].number > told.flows[1].number);
    }
}
