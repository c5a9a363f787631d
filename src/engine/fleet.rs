//! Every sandbox of this hub in memory, and the feed of its changes. All under one lock that is
//! held for moments only; nothing here waits or does I/O.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{Notify, Semaphore, broadcast, watch};

use super::{
    audit::budget::Budget,
    standing::Standing,
    timeline::noted::{Noted, Rates},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{SandboxId, SessionId},
        limits::{
            CHANGE_EVERY_MIN, EVENTS_QUEUED_MAX, FILES_STEPS_PER_SANDBOX_MAX, GATE_TOLD_EVERY,
            NOTICES_UNHEARD_MAX, REMOVE_AGAIN_MAX, REMOVE_AGAIN_MIN, SANDBOXES_MAX,
            SESSIONS_PER_SANDBOX_MAX,
        },
        text,
    },
    model::{
        event::{Event, Level, Notice},
        fact::Fact,
        sandbox::{Sandbox, SandboxSpec, State},
        secret::Given,
        session::Session,
        timeline::Kind,
    },
    session::seat::Seat,
};

/// Longest notice, in cells: one line of a wide terminal.
const NOTICE_CELLS: usize = 300;

/// One sandbox with what the engine needs to run it.
pub(super) struct Entry {
    pub sandbox: Arc<Sandbox>,
    pub spec: Arc<SandboxSpec>,
    /// Values of its secrets, as far as this hub was told them.
    pub given: Vec<Given>,
    /// `None` while it is being made, and when its host died.
    pub seat: Option<Arc<dyn Seat>>,
    /// Which of its seats one after the other this is: what an earlier one says is old.
    pub incarnation: u64,
    /// When a snapshot was last taken by time, or failed to be; `None` = not yet.
    pub snapshot_at: Option<Timestamp>,
    /// One is being taken by itself.
    pub snapshot_under_way: bool,
    /// Held by the verb at work; one at a time per sandbox.
    pub verbs: Arc<tokio::sync::Mutex<()>>,
    /// Held while files of it are brought here.
    pub fetching: Arc<tokio::sync::Mutex<()>>,
    /// Held by whoever tells the seat of a lease.
    pub lease_turn: Arc<tokio::sync::Mutex<()>>,
    /// Sessions whose lease somebody waits to tell the seat of.
    pub lease_news: HashSet<SessionId>,
    /// Held by whoever answers an ask: the first one counts, and the next one learns of it.
    pub answering: Arc<tokio::sync::Mutex<()>>,
    /// Answers that hold on.
    pub standing: Vec<Standing>,
    /// Its share of the audit record for what its programs bring about.
    pub asks_noted: Budget,
    /// The same for what gets out of it without a person, and for what does not.
    pub allowed_noted: Budget,
    pub denied_noted: Budget,
    /// Its share of the record of what happened.
    rates: Rates,
    /// Held by whoever takes that over; and somebody waits to do so.
    pub telling: Arc<tokio::sync::Mutex<()>>,
    pub tells: bool,
    /// `clock::monotonic` when that was begun last, beside whoever calls; `None` = never.
    pub told_at: Option<Duration>,
    /// Why it is not taken over, as it was told.
    untold: Option<String>,
    /// Held by whoever changes what is kept of one of those.
    pub standing_turn: Arc<tokio::sync::Mutex<()>>,
    /// Bumped with every change, for those who wait for one.
    pub changed: watch::Sender<u64>,
    /// Its seat can't be heard, and is asked again until it is or its host is dead.
    pub unheard: bool,
    /// It is being asked whether its seat answers.
    pub pulsing: bool,
    /// Rung for whoever listens to the seat, who then stops.
    pub deaf: Arc<Notify>,
    /// Others keep it, and say in all what becomes of it.
    pub elsewhere: bool,
    /// They do not have it any more, and it is struck off as soon as nothing is done to it.
    pub struck: bool,
    /// A removal has begun: the end of its seat is no news.
    pub removing: bool,
    /// A removal wants to begin: a stop under way gives way to it.
    pub leaving: watch::Sender<bool>,
    /// One clone for every program without a PTY that runs now.
    pub execs: Arc<()>,
    /// Steps at once that look at its files.
    pub file_steps: Arc<Semaphore>,
    /// One clone for every stream of output that is open.
    pub watchers: Arc<()>,
    /// It is to be removed, by this hub or the next, and nobody waits for it.
    pub doomed: bool,
    /// When its removal is tried by itself.
    pub removal: Removal,
    /// Changes so far; the registry keeps the newest.
    pub version: i64,
    /// The sessions by which this sandbox is found.
    listed: Vec<SessionId>,
    published_at: Option<Duration>,
    /// A later publication is already arranged.
    due: bool,
}

/// The tries to remove a sandbox that nobody waits for: one at a time, further and further apart.
#[derive(Default)]
pub(super) struct Removal {
    /// A try is under way.
    pub under_way: bool,
    /// `clock::monotonic` before which there is no other.
    pub not_before: Duration,
    pause: Duration,
    /// The last fault that was told; the same is not told again.
    told: String,
}

impl Removal {
    /// Takes note of a try that failed; `true` when that is news.
    pub(super) fn failed(&mut self, fault: &Fault) -> bool {
        self.under_way = false;
        self.pause = (self.pause * 2).clamp(REMOVE_AGAIN_MIN, REMOVE_AGAIN_MAX);
        self.not_before = clock::monotonic() + self.pause;
        let words = fault.to_string();
        let news = words != self.told;
        self.told = words;
        news
    }
}

impl Entry {
    /// How long until it is to be removed without being asked; `None` = never, or it is at work.
    pub(super) fn removal_due(&self, now: Timestamp) -> Option<Duration> {
        if self.removing || self.removal.under_way {
            return None;
        }
        let lived = now.since(self.sandbox.created_at);
        let left = self.spec.ttl.map(|ttl| ttl.saturating_sub(lived));
        let left = if self.doomed { Some(Duration::ZERO) } else { left }?;
        Some(left.max(self.removal.not_before.saturating_sub(clock::monotonic())))
    }

    /// How long until a snapshot is to be taken by itself; `None` = never, or not in this state.
    pub(super) fn snapshot_due(&self, now: Timestamp) -> Option<Duration> {
        let every = self.spec.snapshot_every?;
        let at_work = self.sandbox.state == State::Running && !self.removing;
        if !at_work || self.snapshot_under_way {
            return None;
        }
        let last = self.snapshot_at.unwrap_or(self.sandbox.created_at);
        Some(every.saturating_sub(now.since(last)))
    }

    pub(super) fn new(sandbox: Sandbox, mut spec: SandboxSpec) -> Self {
        Self {
            sandbox: Arc::new(sandbox),
            given: std::mem::take(&mut spec.given),
            spec: Arc::new(spec),
            seat: None,
            incarnation: 0,
            snapshot_at: None,
            snapshot_under_way: false,
            verbs: Arc::default(),
            fetching: Arc::default(),
            lease_turn: Arc::default(),
            lease_news: HashSet::new(),
            answering: Arc::default(),
            standing: Vec::new(),
            asks_noted: Budget::default(),
            allowed_noted: Budget::default(),
            denied_noted: Budget::default(),
            rates: Rates::default(),
            telling: Arc::default(),
            tells: false,
            told_at: None,
            untold: None,
            standing_turn: Arc::default(),
            changed: watch::Sender::new(0),
            unheard: false,
            pulsing: false,
            deaf: Arc::default(),
            elsewhere: false,
            struck: false,
            removing: false,
            leaving: watch::Sender::new(false),
            execs: Arc::default(),
            file_steps: Arc::new(Semaphore::new(FILES_STEPS_PER_SANDBOX_MAX)),
            watchers: Arc::default(),
            doomed: false,
            removal: Removal::default(),
            version: 0,
            listed: Vec::new(),
            published_at: None,
            due: false,
        }
    }

    /// How long whoever takes over what was decided at its way out waits before that: a program that makes more and more
    /// of it is not asked without end.
    pub(super) fn telling_pause(&self, now: Duration) -> Duration {
        let next = self.told_at.map_or(Duration::ZERO, |it| it + GATE_TOLD_EVERY);
        next.saturating_sub(now)
    }

    /// Takes note why that is not taken over, `None` = it is; gives the words when they are news.
    pub(super) fn untold(&mut self, words: Option<String>) -> Option<String> {
        let news = words.clone().filter(|_| self.untold != words);
        self.untold = words;
        news
    }

    /// The sandbox, to be changed.
    pub(super) fn sandbox_mut(&mut self) -> &mut Sandbox {
        Arc::make_mut(&mut self.sandbox)
    }

    pub(super) fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sandbox.sessions.iter().find(|it| it.id == *id)
    }

    pub(super) fn session_mut(&mut self, id: &SessionId) -> Option<&mut Session> {
        self.sandbox_mut().sessions.iter_mut().find(|it| it.id == *id)
    }

    /// The seat, or why there is none.
    pub(super) fn seat(&self) -> Outcome<Arc<dyn Seat>> {
        self.seat.clone().ok_or_else(|| {
            let Sandbox { name, state, .. } = &*self.sandbox;
            Fault::failed(format!("sandbox {name} is {}", state.word()))
        })
    }

    /// `true` = publish now; otherwise a publication was or is arranged for later.
    fn may_publish(&self, now: Duration) -> bool {
        self.published_at.is_none_or(|at| now.saturating_sub(at) >= CHANGE_EVERY_MIN)
    }
}

/// When a change is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    Now,
    /// Call `tell_late` after this long.
    After(Duration),
    /// Somebody else will.
    Arranged,
}

/// All sandboxes.
pub(super) struct Fleet {
    entries: HashMap<SandboxId, Entry>,
    names: HashMap<String, SandboxId>,
    sessions: HashMap<SessionId, SandboxId>,
    seq: u64,
    feed: broadcast::Sender<Arc<Event>>,
    /// Notices that came while nobody listened, for whoever listens first.
    unheard: VecDeque<Notice>,
    /// What happened is written from here: everything that changes passes.
    noted: Noted,
}

impl Fleet {
    pub(super) fn new(noted: Noted) -> Self {
        Self {
            entries: HashMap::new(),
            names: HashMap::new(),
            sessions: HashMap::new(),
            seq: 0,
            feed: broadcast::Sender::new(EVENTS_QUEUED_MAX),
            unheard: VecDeque::new(),
            noted,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Adds a sandbox; its name and id must be free.
    pub(super) fn add(&mut self, entry: Entry) -> Outcome<()> {
        if self.entries.len() >= SANDBOXES_MAX {
            return Err(Fault::busy(format!("this hub holds {SANDBOXES_MAX} sandboxes already"))
                .hint("remove some: sandwatch rm SANDBOX"));
        }
        let (id, name) = (entry.sandbox.id.clone(), entry.sandbox.name.clone());
        match self.names.entry(name) {
            hash_map::Entry::Occupied(taken) => {
                return Err(Fault::busy(format!("name in use: {}", taken.key()))
                    .hint("choose another name, or remove that sandbox"));
            }
            hash_map::Entry::Vacant(free) => free.insert(id.clone()),
        };
        self.entries.insert(id.clone(), entry);
        self.touch(&id);
        Ok(())
    }

    /// Takes a sandbox off and tells so.
    pub(super) fn remove(&mut self, id: &SandboxId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.names.remove(&entry.sandbox.name);
        for session in &entry.listed {
            self.sessions.remove(session);
        }
        self.noted.forget(entry.listed.iter());
        entry.changed.send_modify(|it| *it += 1);
        self.send(|seq| Event::Removed { seq, id: id.clone() });
        Some(entry)
    }

    pub(super) fn get(&self, id: &SandboxId) -> Outcome<&Entry> {
        self.entries.get(id).ok_or_else(|| Fault::absent(format!("no such sandbox: {id}")))
    }

    pub(super) fn get_mut(&mut self, id: &SandboxId) -> Outcome<&mut Entry> {
        self.entries.get_mut(id).ok_or_else(|| Fault::absent(format!("no such sandbox: {id}")))
    }

    /// The sandbox that holds a session.
    pub(super) fn of_session(&self, id: &SessionId) -> Outcome<&Entry> {
        let sandbox = self.sessions.get(id);
        sandbox
            .and_then(|it| self.entries.get(it))
            .ok_or_else(|| Fault::absent(format!("no such session: {id}")))
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.values_mut()
    }

    /// Every sandbox as it is now, in no order; the caller copies and sorts outside of the lock.
    pub(super) fn shared(&self) -> Vec<Arc<Sandbox>> {
        self.entries.values().map(|it| it.sandbox.clone()).collect()
    }

    /// Notes that a sandbox changed; the caller arranges for a later telling when told so.
    pub(super) fn touch(&mut self, id: &SandboxId) -> Telling {
        let now = clock::monotonic();
        let Some(entry) = self.entries.get_mut(id) else { return Telling::Arranged };
        entry.version += 1;
        entry.changed.send_modify(|it| *it += 1);
        if !entry.removing {
            self.noted.look(&entry.sandbox, &mut entry.rates, now);
        }
        let now_listed = || entry.sandbox.sessions.iter().map(|it| &it.id);
        if !entry.listed.iter().eq(now_listed()) {
            for session in &entry.listed {
                self.sessions.remove(session);
            }
            let now_listed: Vec<SessionId> = now_listed().cloned().collect();
            self.noted.forget(entry.listed.iter().filter(|it| !now_listed.contains(it)));
            for session in &now_listed {
                self.sessions.insert(session.clone(), id.clone());
            }
            entry.listed = now_listed;
        }
        if entry.due {
            return Telling::Arranged;
        }
        if entry.may_publish(now) {
            self.tell(id, now);
            return Telling::Now;
        }
        entry.due = true;
        let since = now.saturating_sub(entry.published_at.unwrap_or_default());
        Telling::After(CHANGE_EVERY_MIN.saturating_sub(since))
    }

    /// Tells a change that had to wait.
    pub(super) fn tell_late(&mut self, id: &SandboxId) {
        if self.entries.get(id).is_some_and(|it| it.due) {
            self.tell(id, clock::monotonic());
        }
    }

    fn tell(&mut self, id: &SandboxId, now: Duration) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.due = false;
        entry.published_at = Some(now);
        let sandbox = entry.sandbox.clone();
        self.send(|seq| Event::Changed { seq, sandbox });
    }

    pub(super) fn notice(&mut self, level: Level, sandbox: Option<SandboxId>, words: &str) {
        self.notice_of(Kind::Notice, level, sandbox, words);
    }

    /// Tells everybody, and writes it down as something of this kind.
    pub(super) fn notice_of(
        &mut self,
        kind: Kind,
        level: Level,
        sandbox: Option<SandboxId>,
        words: &str,
    ) {
        let text = text::clip(&text::visible(words), NOTICE_CELLS);
        match level {
            Level::Info => tracing::info!(%text, "notice"),
            Level::Warning | Level::Error => tracing::warn!(%text, "notice"),
        }
        let of = sandbox.as_ref().and_then(|it| self.entries.get_mut(it));
        self.noted.notice(kind, level, of.map(|it| (&*it.sandbox, &mut it.rates)), &text);
        let notice = Notice { at: clock::wall(), level, sandbox, text };
        if self.feed.receiver_count() == 0 {
            self.unheard.truncate(NOTICES_UNHEARD_MAX - 1);
            self.unheard.push_front(notice);
            return;
        }
        self.send(|seq| Event::Notice { seq, notice });
    }

    /// Tells a first listener what nobody has heard yet, oldest first.
    pub(super) fn tell_unheard(&mut self) {
        while let Some(notice) = self.unheard.pop_back() {
            self.send(|seq| Event::Notice { seq, notice });
        }
    }

    pub(super) fn said(&mut self, session: SessionId, fact: Fact) {
        self.send(|seq| Event::Said { seq, session, fact });
    }

    /// Numbers an event; it is only built when somebody listens.
    fn send(&mut self, make: impl FnOnce(u64) -> Event) {
        self.seq += 1;
        if self.feed.receiver_count() > 0 {
            // Nobody left between the two lines is fine too.
            drop(self.feed.send(Arc::new(make(self.seq))));
        }
    }

    /// A place in the feed: what is sent from now on, and the number of the last change before.
    pub(super) fn subscribe(&self) -> (u64, broadcast::Receiver<Arc<Event>>) {
        (self.seq, self.feed.subscribe())
    }

    /// Whether anybody listens to the feed.
    pub(super) fn is_followed(&self) -> bool {
        self.feed.receiver_count() > 0
    }

    pub(super) fn seq(&self) -> u64 {
        self.seq
    }
}

/// Copies and sorts a listing: oldest first.
pub(super) fn sorted(mut all: Vec<Arc<Sandbox>>) -> Vec<Arc<Sandbox>> {
    all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    all
}

/// Tells whether a program of this sandbox is still alive.
pub(super) fn has_live_session(sandbox: &Sandbox) -> bool {
    sandbox.sessions.iter().any(|it| it.exited_at.is_none() && it.exit.is_none())
}

/// Keeps a list of sessions, oldest first, within its bound as their host does: the oldest that have ended
/// go, never the first. Their recordings stay.
pub(super) fn make_room(sessions: &mut Vec<Session>) {
    while sessions.len() > SESSIONS_PER_SANDBOX_MAX {
        let ended = |it: &Session| it.exit.is_some() || it.exited_at.is_some();
        let Some(oldest) = sessions.iter().skip(1).position(ended) else { return };
        sessions.remove(oldest + 1);
    }
}

/// Marks every session as ended, with the reason as its evidence.
pub(super) fn end_sessions(sandbox: &mut Sandbox, why: &str, now: Timestamp) {
    for session in &mut sandbox.sessions {
        if session.exit.is_none() && session.exited_at.is_none() {
            session.status = crate::model::session::Status::Exited;
            why.clone_into(&mut session.status_why);
            session.status_since = Some(now);
            session.exited_at = Some(now);
            session.pid = None;
        }
        session.lease = None;
    }
}
