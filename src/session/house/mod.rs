//! One sandbox's sessions over a driver's place.

mod asleep;
mod elsewhere;
mod rooms;
mod verbs;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use tokio::task::AbortHandle;

use super::{
    agents::{Agents, News},
    asks::{Asks, Plea, Said},
    feed::Feed,
    host::Host,
    seat::SeatReport,
    status::{Beside, HookWord, look, rules::Rules},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::SessionId,
    },
    driver::{Ground, Place, Resident},
    gate,
    model::{
        ask::{Asked, Request},
        sandbox::{Isolation, State},
        session::Session,
    },
};

/// Holds the sessions of one place. Made inside a tokio runtime, of either flavour; dropping it
/// hangs up on every program.
pub struct House {
    inner: Arc<Inner>,
    watching: AbortHandle,
}

struct Inner {
    ground: Ground,
    place: Arc<dyn Place>,
    recordings: PathBuf,
    record: bool,
    feed: Arc<Feed>,
    asks: Arc<Asks>,
    /// What all that goes out passes, where it is asked for.
    gate: OnceLock<gate::Watch>,
    /// What is known of agents, where somebody looked.
    agents: OnceLock<Agents>,
    /// Rules about screens; those that are built in, where nobody gave others.
    rules: OnceLock<Arc<Rules>>,
    rooms: Mutex<Rooms>,
    /// One start at a time: ordinals are given in order.
    opening: tokio::sync::Mutex<()>,
    /// Held by whoever takes part in what runs elsewhere.
    joining: tokio::sync::Mutex<()>,
    /// Held to write while all is held still, which who starts something waits for.
    still: Arc<tokio::sync::RwLock<()>>,
}

struct Rooms {
    /// Whoever keeps it knows better, always.
    elsewhere: bool,
    state: State,
    /// Since when.
    since: Timestamp,
    hosts: Vec<(SessionId, Arc<Host>)>,
    next_ordinal: u32,
    /// Sessions of programs that were there already.
    residents: Vec<(SessionId, Resident)>,
    /// Sessions of programs that came back with their sandbox, each with what it was called before.
    came_back: Vec<(SessionId, String)>,
    /// What a person should know, beside what the place says.
    notes: Vec<String>,
}

impl Rooms {
    /// While it lives, a place may know better what happened to it by other hands.
    fn state_by(&self, seen: Option<State>) -> State {
        match self.state {
            state if self.elsewhere => seen.unwrap_or(state),
            State::Running | State::Paused => seen.unwrap_or(self.state),
            state => state,
        }
    }

    /// What a session's program knows it by: its id, or that of the session which it was before.
    fn key_of<'a>(&'a self, id: &'a SessionId) -> &'a str {
        let before = self.came_back.iter().find(|it| it.0 == *id);
        before.map_or_else(|| id.as_str(), |it| it.1.as_str())
    }

    /// Never the first, which has the sandbox's name.
    fn oldest_ended(&self) -> Option<usize> {
        let ended = |it: &(SessionId, Arc<Host>)| it.1.has_ended();
        self.hosts.iter().skip(1).position(ended).map(|it| it + 1)
    }
}

impl House {
    /// `recordings` is the directory of all recordings; with `record` they outlive the sandbox.
    pub fn new(ground: Ground, place: Arc<dyn Place>, recordings: PathBuf, record: bool) -> Self {
        let elsewhere = place.elsewhere().is_some();
        let inner = Arc::new(Inner {
            ground,
            place,
            recordings,
            record,
            feed: Arc::default(),
            asks: Arc::default(),
            gate: OnceLock::new(),
            agents: OnceLock::new(),
            rules: OnceLock::new(),
            rooms: Mutex::new(Rooms {
                elsewhere,
                state: State::Running,
                since: clock::wall(),
                hosts: Vec::new(),
                next_ordinal: 1,
                residents: Vec::new(),
                came_back: Vec::new(),
                notes: Vec::new(),
            }),
            opening: tokio::sync::Mutex::new(()),
            joining: tokio::sync::Mutex::new(()),
            still: Arc::default(),
        });
        inner.join_residents();
        let (place, weak) = (Arc::clone(&inner.place), Arc::downgrade(&inner));
        let watching = tokio::spawn(async move {
            let reason = loop {
                tokio::select! {
                    biased;
                    reason = place.gone() => break reason,
                    () = place.changed() => {}
                }
                let Some(inner) = weak.upgrade() else { return };
                inner.feed.changed();
                inner.join_residents();
            };
            if let Some(inner) = weak.upgrade() {
                inner.gone(reason);
            }
        });
        Self { inner, watching: watching.abort_handle() }
    }

    /// Asks whoever is at a hub for one of its programs; whoever drops this waits no more.
    pub async fn ask(&self, plea: Plea, within: Duration) -> Outcome<Said> {
        self.inner.asks.ask(&self.inner.feed, plea, within).await
    }

    /// What all that goes out passes from now on; the first one counts.
    pub fn goes_out_by(&self, gate: gate::Watch) {
        drop(self.inner.gate.set(gate));
    }

    /// There is something to tell.
    pub fn has_news(&self) {
        self.inner.feed.changed();
    }

    /// What is known of agents from now on; the first counts. `notes` say what a person should know of that.
    pub fn knows(&self, agents: Agents, notes: Vec<String>) {
        if self.inner.agents.set(agents).is_ok() {
            self.inner.rooms().notes.extend(notes);
        }
    }

    /// An agent told of itself.
    pub fn heard(&self, session: Option<&SessionId>, news: &News) {
        if self.inner.agents.get().is_some_and(|it| it.heard(session, news)) {
            self.inner.feed.changed();
        }
    }

    /// What is read off screens from now on; the first counts.
    /// `notes` say what a person should know of that.
    pub fn reads(&self, rules: Rules, notes: Vec<String>) {
        if self.inner.rules.set(Arc::new(rules)).is_ok() {
            self.inner.rooms().notes.extend(notes);
        }
    }

    /// An agent's hook was run in a session.
    pub fn told(&self, session: Option<&SessionId>, word: &HookWord) {
        let host = session.and_then(|it| self.inner.host(it).ok());
        if let Some(host) = host {
            host.told(word);
        }
    }

    /// What a session asked for was answered elsewhere; `None` = all of it.
    pub fn over(&self, session: Option<&SessionId>, request: Option<&Request>) {
        self.inner.asks.over(session, request);
    }

    /// The session whose program this is, or which started it; as long as it runs. Where programs have another kernel than
    /// this, it is that which they claim.
    pub async fn session_of(&self, parents: &[u32], claimed: Option<&str>) -> Option<SessionId> {
        if let Some(found) = self.inner.session_of(parents, claimed) {
            return Some(found);
        }
        // A program may be quicker than what starts it.
        drop(self.inner.opening.lock().await);
        self.inner.session_of(parents, claimed)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Inner {
    fn session_of(&self, parents: &[u32], claimed: Option<&str>) -> Option<SessionId> {
        let claimed = claimed.filter(|_| self.place.facts().isolation == Some(Isolation::Gvisor));
        let rooms = self.rooms();
        let is_meant = |(id, host): &&(SessionId, Arc<Host>)| match claimed {
            Some(claimed) => rooms.key_of(id) == claimed,
            None => host.pid().is_some_and(|it| parents.contains(&it)),
        };
        rooms.hosts.iter().find(is_meant).map(|it| it.0.clone())
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn host(&self, id: &SessionId) -> Outcome<Arc<Host>> {
        let rooms = self.rooms();
        let found = rooms.hosts.iter().find(|it| it.0 == *id);
        found.map(|it| Arc::clone(&it.1)).ok_or_else(|| {
            Fault::absent(format!("no such session: {id}")).hint("see `sandwatch ls`")
        })
    }

    fn set_state(&self, state: State) {
        let mut rooms = self.rooms();
        (rooms.state, rooms.since) = (state, clock::wall());
        drop(rooms);
        self.feed.changed();
    }

    /// Whose an ask is of which that is not known: there may be only one session that it can be of.
    fn whose<'a>(rooms: &'a Rooms, asks: &[Asked]) -> Option<&'a SessionId> {
        if asks.iter().all(|it| it.session.is_some()) {
            return None;
        }
        let mut alive = rooms.hosts.iter().filter(|it| !it.1.has_ended());
        let first = alive.next()?;
        alive.next().is_none().then_some(&first.0)
    }

    /// What is known beside a session of what it does; `unknown` is whose asks are of which that is not known.
    fn beside(
        rooms: &Rooms,
        state: State,
        (asks, unknown): (&[Asked], Option<&SessionId>),
        id: &SessionId,
    ) -> Beside {
        let is_of = |it: &&Asked| it.session.as_ref().or(unknown) == Some(id);
        let of_it: Vec<&Asked> = asks.iter().filter(is_of).collect();
        Beside {
            paused: (state == State::Paused).then(|| Beside::paused(rooms.since)),
            asks: of_it.first().map(|it| Beside::asks(it, of_it.len())),
        }
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(self.rules.get_or_init(Arc::default))
    }

    /// What those need who look at its sessions.
    fn around(self: &Arc<Self>) -> look::Around {
        let inner = Arc::downgrade(self);
        let named = Weak::clone(&inner);
        let is_paused = |it: Arc<Self>| {
            let seen = it.place.facts().state;
            it.rooms().state_by(seen) == State::Paused
        };
        look::Around {
            place: Arc::clone(&self.place),
            rules: self.rules(),
            still: Arc::clone(&self.still),
            called: Box::new(move |it| named.upgrade()?.gate.get()?.called(it)),
            paused: Box::new(move || inner.upgrade().is_some_and(is_paused)),
        }
    }

    /// All programs are held still, or go on.
    fn turned(&self) {
        let hosts: Vec<_> = self.rooms().hosts.iter().map(|it| Arc::clone(&it.1)).collect();
        hosts.iter().for_each(|it| it.turned());
    }

    fn gone(&self, reason: String) {
        self.set_state(State::Gone);
        self.feed.gone(reason);
    }

    fn report(&self) -> SeatReport {
        let mut facts = self.place.facts();
        // Held still for a moment is not paused.
        let held = self.still.try_read().is_err();
        let seen = facts.state.filter(|it| !(held && *it == State::Paused));
        let rooms = self.rooms();
        let state = rooms.state_by(seen);
        let of_gate = self.gate.get().and_then(gate::Watch::note);
        facts.notes.extend(rooms.notes.iter().cloned().chain(self.asks.note()).chain(of_gate));
        let mut asks = self.asks.pending();
        if let Some(elsewhere) = self.elsewhere() {
            asks.extend(elsewhere.asks());
        }
        let asked = (asks.as_slice(), Self::whose(&rooms, &asks));
        let as_known = |(id, host): &(SessionId, Arc<Host>)| {
            host.session_beside(&Self::beside(&rooms, state, asked, id))
        };
        let mut sessions: Vec<Session> = rooms.hosts.iter().map(as_known).collect();
        if let Some(agents) = self.agents.get() {
            agents.look(&mut sessions);
        }
        SeatReport {
            sandbox: self.ground.id.clone(),
            state,
            facts,
            sessions,
            asks,
            tells: self.gate.get().is_some_and(gate::Watch::has_news),
        }
    }
}
