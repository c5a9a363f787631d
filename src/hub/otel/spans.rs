//! What became of sessions and asks, as spans: pure. A session is a trace; in it are its statuses, one after the other, and
//! what it asked. Their numbers follow from the session's id, so that a hub that comes after another goes on with the same trace.

use std::{
    collections::{HashMap, HashSet},
    mem,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status as SpanStatus, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use sha2::{Digest, Sha256};

use crate::{
    base::{
        clock::Timestamp,
        id::{AskId, SandboxId, SessionId},
        limits::{SPAN_NAME_BYTES_MAX, SPANS_MAX, SPANS_PER_SANDBOX_MAX},
        text::shown,
    },
    model::{
        ask::Ask,
        event::Event,
        sandbox::Sandbox,
        session::{ExitStatus, Session, Status},
    },
};

/// What spans are of: the first word of their names.
const SESSION: &str = "session";
const ASK: &str = "ask";
const STATUS: &str = "status";

/// What is going on, and what is over and was not told yet.
#[derive(Default)]
pub(super) struct Spans {
    sessions: HashMap<SessionId, Open>,
    /// Which wait, of which sandbox.
    asks: HashMap<AskId, SandboxId>,
    over: Vec<SpanData>,
    /// How many of each sandbox are among those.
    of: HashMap<SandboxId, u32>,
    left_out: u64,
}

/// A session that runs.
struct Open {
    session: Session,
    sandbox: Whose,
    /// Its status began then.
    since: Timestamp,
}

/// Whose a span is, as it is told.
#[derive(Clone)]
struct Whose {
    id: SandboxId,
    name: String,
    driver: String,
}

impl Whose {
    fn of(sandbox: &Sandbox) -> Self {
        let name = shown(&sandbox.name, SPAN_NAME_BYTES_MAX);
        Self { id: sandbox.id.clone(), name, driver: sandbox.driver.clone() }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        vec![
            KeyValue::new("sandwatch.sandbox.id", self.id.to_string()),
            KeyValue::new("sandwatch.sandbox.name", self.name.clone()),
            KeyValue::new("sandwatch.sandbox.driver", self.driver.clone()),
        ]
    }
}

impl Spans {
    /// Takes note of what is so now; gives the asks that wait no more, whose ends are to be told by `asked`.
    pub(super) fn take(&mut self, event: &Event, now: Timestamp) -> Vec<AskId> {
        let mut ended = Vec::new();
        match event {
            Event::Snapshot { sandboxes, .. } => {
                let there: HashSet<_> = sandboxes.iter().map(|it| &it.id).collect();
                let gone =
                    self.sessions.values().map(|it| &it.sandbox.id).chain(self.asks.values());
                let gone = gone.filter(|it| !there.contains(it));
                let gone: HashSet<SandboxId> = gone.cloned().collect();
                gone.iter().for_each(|it| self.removed(it, now, &mut ended));
                sandboxes.iter().for_each(|it| self.changed(it, now, &mut ended));
            }
            Event::Changed { sandbox, .. } => self.changed(sandbox, now, &mut ended),
            Event::Removed { id, .. } => self.removed(id, now, &mut ended),
            Event::Part { .. } | Event::Notice { .. } | Event::Said { .. } => {}
        }
        ended
    }

    fn changed(&mut self, sandbox: &Sandbox, now: Timestamp, ended: &mut Vec<AskId>) {
        let whose = Whose::of(sandbox);
        for session in &sandbox.sessions {
            match self.sessions.remove(&session.id) {
                // It was over before anybody looked, and told by who was there then.
                None if session.exit.is_some() => {}
                None => {
                    let since = session.status_since.unwrap_or(session.started_at);
                    let open = Open { session: session.clone(), sandbox: whose.clone(), since };
                    self.sessions.insert(session.id.clone(), open);
                }
                Some(open) if session.exit.is_some() => {
                    let end = session.exited_at.unwrap_or(now);
                    self.status_ended(&open, end);
                    self.session_ended(session, &whose, end);
                }
                Some(mut open) => {
                    if session.status != open.session.status {
                        // What it is now may stand on something older, which was not what counted.
                        self.status_ended(&open, now);
                        open.since = now;
                    }
                    open.session = session.clone();
                    self.sessions.insert(session.id.clone(), open);
                }
            }
        }
        let waits: HashSet<_> = sandbox.asks.iter().map(|it| &it.asked.id).collect();
        let over = self.asks.extract_if(|id, of| *of == sandbox.id && !waits.contains(id));
        ended.extend(over.map(|it| it.0));
        let waits = sandbox.asks.iter().map(|it| (it.asked.id.clone(), sandbox.id.clone()));
        self.asks.extend(waits);
    }

    fn removed(&mut self, id: &SandboxId, now: Timestamp, ended: &mut Vec<AskId>) {
        let gone: Vec<_> = self.sessions.extract_if(|_, it| it.sandbox.id == *id).collect();
        for (_, open) in gone {
            self.status_ended(&open, now);
            self.session_ended(&open.session, &open.sandbox, now);
        }
        ended.extend(self.asks.extract_if(|_, of| of == id).map(|it| it.0));
    }

    fn status_ended(&mut self, open: &Open, end: Timestamp) {
        let status = open.session.status;
        if matches!(status, Status::Unknown | Status::Exited) {
            return;
        }
        let session = &open.session.id;
        let number = number(&[STATUS, session.as_str(), &open.since.0.to_string()]);
        let mut attributes = open.sandbox.attributes();
        attributes.push(KeyValue::new("sandwatch.session.id", session.to_string()));
        attributes.push(KeyValue::new("sandwatch.status", status.word()));
        let span = Span {
            trace: trace(Some(session), &open.sandbox.id),
            parent: root(session),
            number,
            name: format!("{} {}", STATUS, status.word()),
            from: open.since,
            to: end,
            attributes,
            status: SpanStatus::Unset,
        };
        self.over(&open.sandbox.id, span);
    }

    fn session_ended(&mut self, session: &Session, whose: &Whose, end: Timestamp) {
        let mut attributes = whose.attributes();
        attributes.push(KeyValue::new("sandwatch.session.id", session.id.to_string()));
        attributes.push(KeyValue::new("sandwatch.session.ordinal", i64::from(session.ordinal)));
        attributes.push(KeyValue::new(
            "sandwatch.session.output_bytes",
            i64::try_from(session.output_bytes).unwrap_or(i64::MAX),
        ));
        if let Some(program) = session.program() {
            let program = shown(&program, SPAN_NAME_BYTES_MAX);
            attributes.push(KeyValue::new("process.executable.name", program));
        }
        let status = match &session.exit {
            Some(ExitStatus::Code(code)) => {
                attributes.push(KeyValue::new("process.exit.code", i64::from(*code)));
                match code {
                    0 => SpanStatus::Ok,
                    code => SpanStatus::error(format!("exit code {code}")),
                }
            }
            Some(ExitStatus::Signal(signal)) => SpanStatus::error(format!("signal {signal}")),
            None => SpanStatus::error("its sandbox was removed"),
        };
        let span = Span {
            trace: trace(Some(&session.id), &whose.id),
            parent: SpanId::INVALID,
            number: root(&session.id),
            name: SESSION.to_owned(),
            from: session.started_at,
            to: end,
            attributes,
            status,
        };
        self.over(&whose.id, span);
    }

    /// Takes note of how asks ended.
    pub(super) fn asked(&mut self, asks: &[Ask], now: Timestamp) {
        for ask in asks {
            let asked = &ask.asked;
            let mut attributes = vec![
                KeyValue::new("sandwatch.sandbox.id", ask.sandbox.to_string()),
                KeyValue::new(
                    "sandwatch.sandbox.name",
                    shown(&ask.sandbox_name, SPAN_NAME_BYTES_MAX),
                ),
                KeyValue::new("sandwatch.ask.id", asked.id.to_string()),
                KeyValue::new("sandwatch.ask.kind", asked.request.kind.word()),
                KeyValue::new("sandwatch.ask.state", ask.state.word()),
                KeyValue::new("sandwatch.ask.askers", i64::from(asked.askers)),
            ];
            if let Some(session) = &asked.session {
                attributes.push(KeyValue::new("sandwatch.session.id", session.to_string()));
            }
            let mut end = now;
            if let Some(decision) = &ask.decision {
                end = decision.at;
                let scope = decision.answer.scope.word();
                attributes.push(KeyValue::new("sandwatch.ask.scope", scope));
            }
            let span = Span {
                trace: trace(asked.session.as_ref(), &ask.sandbox),
                parent: asked.session.as_ref().map_or(SpanId::INVALID, root),
                number: number(&[ASK, asked.id.as_str()]),
                name: format!("{} {}", ASK, asked.request.kind.word()),
                from: asked.created_at,
                to: end,
                attributes,
                status: SpanStatus::Unset,
            };
            self.over(&ask.sandbox, span);
        }
    }

    fn over(&mut self, sandbox: &SandboxId, span: Span) {
        let of = self.of.entry(sandbox.clone()).or_default();
        if *of >= SPANS_PER_SANDBOX_MAX || self.over.len() >= SPANS_MAX {
            self.left_out += 1;
            return;
        }
        *of += 1;
        self.over.push(span.into());
    }

    /// What is over and was not told, which counts as told from now on.
    pub(super) fn batch(&mut self) -> Vec<SpanData> {
        self.of.clear();
        let left_out = mem::take(&mut self.left_out);
        if left_out > 0 {
            tracing::warn!(left_out, "more happened than a collector is told at once");
        }
        mem::take(&mut self.over)
    }
}

struct Span {
    trace: TraceId,
    parent: SpanId,
    number: SpanId,
    name: String,
    from: Timestamp,
    to: Timestamp,
    attributes: Vec<KeyValue>,
    status: SpanStatus,
}

impl From<Span> for SpanData {
    fn from(it: Span) -> Self {
        let of = (it.trace, it.number);
        Self {
            span_context: SpanContext::new(
                of.0,
                of.1,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: it.parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: it.name.into(),
            start_time: time(it.from),
            // A clock that was set back.
            end_time: time(it.to.max(it.from)),
            attributes: it.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: it.status,
            instrumentation_scope: InstrumentationScope::builder(super::SCOPE)
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
}

/// Sixteen bytes that follow from these.
fn numbers(of: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in of {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut all = [0; 16];
    for (to, from) in all.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    all
}

fn number(of: &[&str]) -> SpanId {
    let mut half = [0; 8];
    for (to, from) in half.iter_mut().zip(numbers(of)) {
        *to = from;
    }
    SpanId::from_bytes(half)
}

/// The trace of a session, or of what comes from no session's program.
fn trace(session: Option<&SessionId>, sandbox: &SandboxId) -> TraceId {
    let of = session.map_or(sandbox.as_str(), SessionId::as_str);
    TraceId::from_bytes(numbers(&["trace", of]))
}

fn root(session: &SessionId) -> SpanId {
    number(&[SESSION, session.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(number: u64) -> Span {
        Span {
            trace: TraceId::from_bytes(numbers(&["a"])),
            parent: SpanId::INVALID,
            number: SpanId::from_bytes(number.to_be_bytes()),
            name: STATUS.to_owned(),
            from: Timestamp(5),
            to: Timestamp(3),
            attributes: Vec::new(),
            status: SpanStatus::Unset,
        }
    }

    #[test]
    fn one_that_changes_all_the_time_leaves_room_for_others() {
        let (noisy, other) = (SandboxId::random(), SandboxId::random());
        let mut spans = Spans::default();
        (0..1000).for_each(|it| spans.over(&noisy, span(it)));
        spans.over(&other, span(7));
        assert_eq!(spans.batch().len(), SPANS_PER_SANDBOX_MAX as usize + 1);
        assert!(spans.batch().is_empty());
        spans.over(&noisy, span(7));
        assert_eq!(spans.batch().len(), 1);
    }

    #[test]
    fn no_span_ends_before_it_began() {
        let data = SpanData::from(span(1));
        assert_eq!(data.start_time, data.end_time);
        assert_eq!(data.start_time, SystemTime::UNIX_EPOCH + Duration::from_millis(5));
    }

    #[test]
    fn a_session_has_the_same_trace_whichever_hub_tells_it() {
        let (session, sandbox) = (SessionId::random(), SandboxId::random());
        assert_eq!(trace(Some(&session), &sandbox), trace(Some(&session), &SandboxId::random()));
        assert_ne!(trace(Some(&session), &sandbox), trace(None, &sandbox));
        assert_ne!(trace(Some(&session), &sandbox), trace(Some(&SessionId::random()), &sandbox));
        assert_ne!(root(&session), SpanId::INVALID);
    }
}
