//! What is written of what happened: noticed where everything that changes passes, under the fleet's lock and without waiting,
//! and written by a task of its own.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use super::{rate::Rate, words};
use crate::{
    base::{
        clock::{self, Timestamp},
        id::SessionId,
        limits::TIMELINE_QUEUED_MAX,
    },
    engine::store::Store,
    model::{
        event::Level,
        sandbox::Sandbox,
        session::{Session, Status},
        timeline::{Happening, Kind},
    },
};

/// Written in one go.
const AT_ONCE: usize = 64;

/// What is known of a session's status.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// As the record has it.
    written: Status,
    /// Since then; what is written later is not before it.
    at: Timestamp,
    /// As it was seen last: another one that finds no room is counted once.
    seen: Status,
}

/// The rates of one sandbox.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Rates {
    statuses: Rate,
    notices: Rate,
}

/// The way to whoever writes.
pub(in crate::engine) struct Noted {
    queue: mpsc::Sender<Happening>,
    lost: Arc<AtomicU64>,
    known: HashMap<SessionId, Known>,
    /// Of what is about no sandbox.
    own: Rates,
    /// What is seen to change after that changes when it is seen.
    looks_since: Timestamp,
}

/// The other end, until somebody begins to write.
pub(in crate::engine) struct Writer {
    queue: mpsc::Receiver<Happening>,
    lost: Arc<AtomicU64>,
}

impl Noted {
    pub fn new() -> (Self, Writer) {
        let (queue, taken) = mpsc::channel(TIMELINE_QUEUED_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer { queue: taken, lost: Arc::clone(&lost) };
        let noted = Self {
            queue,
            lost,
            known: HashMap::new(),
            own: Rates::default(),
            looks_since: clock::wall(),
        };
        (noted, writer)
    }

    /// Takes up where the hub before left off: what has not changed since is not written again.
    pub fn take_up(&mut self, all: Vec<(SessionId, Status, Timestamp)>) {
        let known = |(id, status, at)| (id, Known { written: status, at, seen: status });
        self.known.extend(all.into_iter().map(known));
    }

    /// Looks through a sandbox that has changed.
    pub fn look(&mut self, sandbox: &Sandbox, rates: &mut Rates, now: Duration) {
        let wall = clock::wall();
        for it in &sandbox.sessions {
            let known = self.known.get_mut(&it.id);
            let ended = it.status == Status::Exited;
            let room = match known {
                Some(known) if known.written == it.status => {
                    // Back to what is written: there and back are left out.
                    if known.seen != it.status {
                        rates.statuses.miss();
                    }
                    known.seen = it.status;
                    continue;
                }
                // Programs can't end without end: who opens them is an operator.
                _ if ended => Some(0),
                Some(known) => {
                    let counted = known.seen == it.status;
                    let room = rates.statuses.take(now);
                    if room.is_none() && !counted {
                        rates.statuses.miss();
                    }
                    known.seen = it.status;
                    // What was counted when there was no room is written now.
                    room.map(|it| it.saturating_sub(u64::from(counted)))
                }
                None => rates.statuses.take(now),
            };
            let Some(left_out) = room else { continue };
            let before = self.known.get(&it.id).copied();
            let at = placed(it, before, wall, self.looks_since);
            let happened = match ended {
                true => words::ended(at, it, sandbox),
                false => words::status(at, before.map(|it| it.written), it, sandbox),
            };
            self.known.insert(it.id.clone(), Known { written: it.status, at, seen: it.status });
            self.send(Happening { left_out, ..happened });
        }
    }

    /// A notice, within the rate of its sandbox or of the hub.
    pub fn notice(
        &mut self,
        kind: Kind,
        level: Level,
        of: Option<(&Sandbox, &mut Rates)>,
        text: &str,
    ) {
        let (sandbox, rates) = match of {
            Some((sandbox, rates)) => (Some(sandbox), rates),
            None => (None, &mut self.own),
        };
        match rates.notices.take(clock::monotonic()) {
            Some(left_out) => {
                let it = words::notice(clock::wall(), kind, level, sandbox, text);
                self.send(Happening { left_out, ..it });
            }
            None => rates.notices.miss(),
        }
    }

    /// These sessions are no more.
    pub fn forget<'a>(&mut self, sessions: impl Iterator<Item = &'a SessionId>) {
        for it in sessions {
            self.known.remove(it);
        }
    }

    fn send(&self, it: Happening) {
        if self.queue.try_send(it).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// When a change of status was: now, for what it stands on may be older and was not what counted. What changed before
/// anybody looked changed since when it is so, as far as that fits between what is written and now.
fn placed(
    it: &Session,
    before: Option<Known>,
    now: Timestamp,
    looks_since: Timestamp,
) -> Timestamp {
    let ended = it.exited_at.filter(|_| it.status == Status::Exited);
    let since = ended.or(it.status_since.filter(|it| *it < looks_since));
    let least = before.map_or(it.started_at, |it| it.at);
    since.unwrap_or(now).max(least).min(now)
}

impl Writer {
    /// Writes what comes, until nothing can come any more. What can't be written is lost, and counted in what comes next.
    pub fn start(mut self, store: Store) {
        tokio::spawn(async move {
            let mut all = Vec::new();
            while self.queue.recv_many(&mut all, AT_ONCE).await > 0 {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if let Some(first) = all.first_mut() {
                    first.left_out = first.left_out.saturating_add(lost);
                }
                let batch = std::mem::take(&mut all);
                let count = batch.iter().map(|it| 1 + it.left_out).sum();
                if let Err(fault) = store.put_happenings(batch).await {
                    self.lost.fetch_add(count, Ordering::Relaxed);
                    tracing::warn!(%fault, count, "what happened is not written");
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::limits::TIMELINE_BURST,
        engine::{Engine, demo, fleet::Entry, record},
        model::timeline::TimelineRequest,
    };

    async fn a_sandbox() -> (tempfile::TempDir, Engine, Sandbox) {
        let home = tempfile::tempdir().unwrap();
        let engine = demo(home.path().to_owned(), 1).await.unwrap();
        let sandbox = Sandbox::clone(&engine.inner.fleet().entries().next().unwrap().sandbox);
        (home, engine, sandbox)
    }

    fn all(writer: &mut Writer) -> Vec<Happening> {
        std::iter::from_fn(|| writer.queue.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn each_change_of_status_is_written_once_and_a_flicker_is_counted() {
        let (_home, _engine, mut sandbox) = a_sandbox().await;
        let (mut noted, mut writer) = Noted::new();
        let mut rates = Rates::default();
        let (now, session) = (Duration::ZERO, sandbox.sessions[0].id.clone());
        let set = |sandbox: &mut Sandbox, status| {
            sandbox.sessions.truncate(1);
            sandbox.sessions[0].status = status;
            "so".clone_into(&mut sandbox.sessions[0].status_why);
        };
        for status in [Status::Working, Status::Working, Status::Idle, Status::Idle] {
            set(&mut sandbox, status);
            noted.look(&sandbox, &mut rates, now);
        }
        let written = all(&mut writer);
        let words: Vec<_> = written.iter().map(|it| it.text.as_str()).collect();
        let name = &sandbox.name;
        assert_eq!(words, [format!("{name} working: so"), format!("{name} working → idle: so")]);
        assert!(written.iter().all(|it| it.session == Some(session.clone())));
        // A program that flickers.
        for round in 0..1000 {
            set(&mut sandbox, [Status::Working, Status::Idle][round % 2]);
            noted.look(&sandbox, &mut rates, now);
        }
        let flicker = all(&mut writer);
        assert_eq!(flicker.len() + written.len(), TIMELINE_BURST as usize);
        set(&mut sandbox, Status::Stuck);
        noted.look(&sandbox, &mut rates, now);
        noted.look(&sandbox, &mut rates, now);
        assert!(all(&mut writer).is_empty());
        // Where it came to rest is written once there is room, and what was left out is counted; the end always is.
        noted.look(&sandbox, &mut rates, Duration::from_secs(11));
        let rest = all(&mut writer);
        let last_written = flicker.last().unwrap().status.unwrap();
        let missed = 1000 - flicker.len() as u64;
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].status, Some(Status::Stuck));
        assert_eq!(rest[0].left_out, missed);
        assert!(rest[0].text.contains(last_written.word()));
        set(&mut sandbox, Status::Exited);
        noted.look(&sandbox, &mut rates, Duration::from_secs(11));
        assert_eq!(all(&mut writer)[0].what, "session.ended");
    }

    #[tokio::test]
    async fn what_a_hub_before_wrote_is_not_written_again() {
        let (_home, engine, sandbox) = a_sandbox().await;
        let store = Store::open(None).await.unwrap().store;
        let (mut noted, mut writer) = Noted::new();
        let mut rates = Rates::default();
        noted.look(&sandbox, &mut rates, Duration::ZERO);
        store.put_happenings(all(&mut writer)).await.unwrap();
        assert!(store.last_statuses().await.unwrap().is_empty(), "of what is not registered");
        let spec = Arc::clone(&engine.inner.fleet().entries().next().unwrap().spec);
        let row = record::row(&Entry::new(sandbox.clone(), (*spec).clone()));
        store.insert(row).await.unwrap();
        let (mut next, mut writer) = Noted::new();
        next.take_up(store.last_statuses().await.unwrap());
        next.look(&sandbox, &mut rates, Duration::ZERO);
        assert!(all(&mut writer).is_empty());
        let (found, mark) = store.happenings(TimelineRequest::default(), None).await.unwrap();
        assert_eq!(found.len(), sandbox.sessions.len());
        assert_eq!(mark.hub, i64::try_from(found.len()).unwrap());
    }
}
