//! What a house tells its hub without being asked: reports, merged when they come fast, and facts,
//! bounded in number and bytes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    seat::{BoxStream, SeatEvent, SeatReport},
    unfold::unfold,
};
use crate::{
    base::{
        clock,
        id::SessionId,
        limits::{FACTS_QUEUED_BYTES_MAX, FACTS_QUEUED_MAX, REPORT_EVERY_MIN},
    },
    model::fact::Fact,
};

/// Makes the report as of now.
pub type MakeReport = Box<dyn Fn() -> SeatReport + Send + Sync>;

/// The feed's memory. Subscribers read it at their own speed; nobody waits for them.
#[derive(Default)]
pub struct Feed {
    state: Mutex<FeedState>,
    woken: Notify,
}

#[derive(Default)]
struct FeedState {
    /// Grows with every change that is worth a report.
    version: u64,
    facts: VecDeque<(SessionId, Fact)>,
    facts_bytes: usize,
    /// Number of the oldest fact kept.
    first_fact: u64,
    gone: Option<String>,
    /// The version that is not to wait for others.
    urgent: u64,
}

impl Feed {
    /// Something in it is different that somebody waits for: it is told without a wait for more. Whoever calls this
    /// bounds how often that is.
    pub fn changed_now(&self) {
        let mut state = self.lock();
        state.version += 1;
        state.urgent = state.version;
        drop(state);
        self.woken.notify_waiters();
    }

    /// Something in the report is different.
    pub fn changed(&self) {
        self.lock().version += 1;
        self.woken.notify_waiters();
    }

    /// Adds a fact; the oldest go when a hub does not listen.
    pub fn said(&self, session: SessionId, fact: Fact) {
        let mut state = self.lock();
        state.facts_bytes += weight(&fact);
        state.facts.push_back((session, fact));
        while state.facts.len() > FACTS_QUEUED_MAX || state.facts_bytes > FACTS_QUEUED_BYTES_MAX {
            let Some((_, fact)) = state.facts.pop_front() else { break };
            state.facts_bytes -= weight(&fact);
            state.first_fact += 1;
        }
        drop(state);
        self.woken.notify_waiters();
    }

    /// The sandbox is gone; every feed ends with the first reason given.
    pub fn gone(&self, reason: String) {
        self.lock().gone.get_or_insert(reason);
        self.woken.notify_waiters();
    }

    /// Starts with a report, then tells what happens from now on.
    pub fn subscribe(self: &Arc<Self>, report: MakeReport) -> BoxStream<SeatEvent> {
        let state = self.lock();
        let next_fact = state.first_fact + state.facts.len() as u64;
        drop(state);
        let subscriber = Subscriber {
            feed: Arc::clone(self),
            report,
            sent: None,
            sent_at: Duration::ZERO,
            next_fact,
            ended: false,
        };
        unfold(subscriber, |mut subscriber| async move {
            let next = subscriber.next().await;
            (subscriber, next)
        })
    }

    fn lock(&self) -> MutexGuard<'_, FeedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Subscriber {
    feed: Arc<Feed>,
    report: MakeReport,
    /// Version of the last report sent, and when.
    sent: Option<u64>,
    sent_at: Duration,
    next_fact: u64,
    ended: bool,
}

enum Next {
    Event(SeatEvent),
    Report,
    Wait(Option<Duration>),
    End,
}

impl Subscriber {
    async fn next(&mut self) -> Option<SeatEvent> {
        let feed = Arc::clone(&self.feed);
        loop {
            let mut woken = std::pin::pin!(feed.woken.notified());
            woken.as_mut().enable();
            match self.decide() {
                Next::Event(event) => return Some(event),
                Next::Report => return Some(SeatEvent::Report(Box::new((self.report)()))),
                Next::Wait(None) => woken.await,
                Next::Wait(Some(time)) => {
                    let _ = tokio::time::timeout(time, woken).await;
                }
                Next::End => return None,
            }
        }
    }

    fn decide(&mut self) -> Next {
        let state = self.feed.lock();
        if self.ended {
            return Next::End;
        }
        let now = clock::monotonic();
        let stale = self.sent != Some(state.version);
        let wait = (self.sent_at + REPORT_EVERY_MIN).saturating_sub(now);
        let urgent = self.sent.is_some_and(|it| it < state.urgent);
        let due = self.sent.is_none() || wait.is_zero() || state.gone.is_some();
        if stale && (due || urgent) {
            self.sent = Some(state.version);
            self.sent_at = now;
            return Next::Report;
        }
        let index = usize::try_from(self.next_fact.saturating_sub(state.first_fact));
        if let Some((session, fact)) = index.ok().and_then(|it| state.facts.get(it)) {
            self.next_fact = self.next_fact.max(state.first_fact) + 1;
            return Next::Event(SeatEvent::Said { session: session.clone(), fact: fact.clone() });
        }
        if let Some(reason) = &state.gone {
            self.ended = true;
            return Next::Event(SeatEvent::Gone { reason: reason.clone() });
        }
        Next::Wait(stale.then_some(wait))
    }
}

fn weight(fact: &Fact) -> usize {
    let bytes = match fact {
        Fact::Title(it) | Fact::Cwd(it) | Fact::Link { uri: it } => it.len(),
        Fact::Clipboard(it) => it.len(),
        Fact::Notify { title, body } => title.as_ref().map_or(0, String::len) + body.len(),
        Fact::Program { state, fields } => {
            state.len() + fields.iter().map(|it| it.0.len() + it.1.len()).sum::<usize>()
        }
        Fact::Bell | Fact::Progress { .. } | Fact::Prompt { .. } => 0,
    };
    bytes + 64
}
