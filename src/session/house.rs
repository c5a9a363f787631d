//! One sandbox's sessions over a driver's place.

use std::{
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::AbortHandle;

use super::{
    agents::{Agents, News},
    asks::{Asks, Plea, Said},
    exec,
    feed::Feed,
    handed::hand_in,
    host::{Host, Tell, Told},
    journal::{self, Meta, Writer},
    seat::{
        BoxStream, ExecOutput, Hold, NO_GATE, NO_GATE_FOR_SECRETS, NO_GATE_HINT, Seat, SeatEvent,
        SeatReport,
    },
    status::{Beside, HookWord, look, rules::Rules},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{AskId, SessionId},
        limits::{
            AGENT_FILES_WITHIN, AGENT_HEARD_WITHIN, RECORDING_BYTES_MAX, SCROLLBACK_BYTES_MAX,
            SESSIONS_PER_SANDBOX_MAX,
        },
        units::Size,
    },
    driver::{Ground, Place},
    gate,
    model::{
        ask::{Answer, Asked, Request},
        output::{Output, OutputRequest},
        sandbox::State,
        secret::Given,
        session::{Lease, Session, SessionSpec, Status},
        status::Explained,
        traffic::{RuledPart, Traffic},
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
    /// Held to write while all is held still, which who starts something waits for.
    still: Arc<tokio::sync::RwLock<()>>,
}

struct Rooms {
    state: State,
    /// Since when.
    since: Timestamp,
    hosts: Vec<(SessionId, Arc<Host>)>,
    next_ordinal: u32,
    /// What a person should know, beside what the place says.
    notes: Vec<String>,
}

impl Rooms {
    /// While it lives, a place may know better what happened to it by other hands.
    fn state_by(&self, seen: Option<State>) -> State {
        match self.state {
            State::Running | State::Paused => seen.unwrap_or(self.state),
            state => state,
        }
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
                state: State::Running,
                since: clock::wall(),
                hosts: Vec::new(),
                next_ordinal: 1,
                notes: Vec::new(),
            }),
            opening: tokio::sync::Mutex::new(()),
            still: Arc::default(),
        });
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

    /// The session whose program this is, or which started it; as long as it runs.
    pub fn session_of(&self, parents: &[u32]) -> Option<SessionId> {
        let rooms = self.inner.rooms();
        let leads =
            |it: &&(SessionId, Arc<Host>)| it.1.pid().is_some_and(|it| parents.contains(&it));
        rooms.hosts.iter().find(leads).map(|it| it.0.clone())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Inner {
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
        let is_paused = |it: Arc<Self>| {
            let seen = it.place.facts().state;
            it.rooms().state_by(seen) == State::Paused
        };
        look::Around {
            place: Arc::clone(&self.place),
            rules: self.rules(),
            still: Arc::clone(&self.still),
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
        let asks = self.asks.pending();
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

    /// Refuses what a sandbox in this state can't do.
    fn ready_to_start(&self) -> Outcome<()> {
        let name = &self.ground.name;
        let seen = self.place.facts().state;
        match self.rooms().state_by(seen) {
            // What can't be asked whether it runs says itself what is the matter.
            State::Running | State::Unknown => {}
            State::Paused => {
                return Err(Fault::failed(format!("the sandbox is paused: {name}"))
                    .hint(format!("sandwatch resume {name}")));
            }
            state => {
                return Err(Fault::failed(format!("the sandbox is {}: {name}", state.word()))
                    .hint("make a new one with `sandwatch run`"));
            }
        }
        Ok(())
    }

    /// Refuses one session more than there may be.
    fn has_room(&self) -> Outcome<()> {
        let rooms = self.rooms();
        if rooms.hosts.len() < SESSIONS_PER_SANDBOX_MAX || rooms.oldest_ended().is_some() {
            return Ok(());
        }
        let name = &self.ground.name;
        Err(Fault::busy(format!(
            "the sandbox has {SESSIONS_PER_SANDBOX_MAX} sessions already: {name}"
        ))
        .hint("end one of them first"))
    }

    /// Adds a session; when there are too many, the oldest that has ended goes. Its recording stays.
    fn add(&self, id: SessionId, host: Arc<Host>) {
        let mut rooms = self.rooms();
        rooms.hosts.push((id, host));
        if rooms.hosts.len() > SESSIONS_PER_SANDBOX_MAX
            && let Some(index) = rooms.oldest_ended()
        {
            let (id, host) = rooms.hosts.remove(index);
            drop(rooms);
            drop(host);
            if !self.record
                && let Err(fault) = journal::remove(&self.recordings.join(id.as_str()))
            {
                tracing::warn!(%fault, session = %id, "its scrollback stays until recordings are pruned");
            }
        }
    }

    fn new_session(&self, id: SessionId, spec: &SessionSpec, pid: Option<u32>) -> Session {
        let mut rooms = self.rooms();
        let ordinal = rooms.next_ordinal;
        rooms.next_ordinal += 1;
        Session {
            id,
            sandbox: self.ground.id.clone(),
            ordinal,
            command: spec.command.clone(),
            status: Status::Starting,
            status_why: String::new(),
            status_since: None,
            pid,
            size: spec.size,
            title: None,
            started_at: clock::wall(),
            exit: None,
            exited_at: None,
            lease: None,
            output_bytes: 0,
            last_output_at: None,
            journal_lost_bytes: 0,
            bells: 0,
            recording: self.record,
            asking: None,
        }
    }

    /// Makes the journal; without one the session still runs, and a note says so.
    fn journal(&self, session: &Session) -> Option<(Writer, Meta)> {
        let dir = self.recordings.join(session.id.as_str());
        let bytes_max = if self.record { RECORDING_BYTES_MAX } else { SCROLLBACK_BYTES_MAX };
        let meta = Meta {
            session: session.id.clone(),
            sandbox: self.ground.id.clone(),
            sandbox_name: self.ground.name.clone(),
            session_name: session.name(&self.ground.name),
            command: session.command.clone(),
            started_at: session.started_at,
            size: session.size,
            record: self.record,
            ended_at: None,
            exit: None,
            lost_bytes: 0,
        };
        let made = Writer::create(&dir, bytes_max).and_then(|it| meta.save(&dir).map(|()| it));
        match made {
            Ok(writer) => Some((writer, meta)),
            Err(fault) => {
                let note =
                    format!("{} has no scrollback and no recording: {fault}", meta.session_name);
                self.rooms().notes.push(note);
                None
            }
        }
    }
}

/// Passes on what a host tells.
fn tell(inner: &Arc<Inner>, id: SessionId) -> Tell {
    let feed = Arc::clone(&inner.feed);
    Box::new(move |told| match told {
        Told::Changed => feed.changed(),
        Told::Said(fact) => feed.said(id.clone(), fact),
    })
}

/// Reports once more when an agent should have told that it runs.
fn tell_late(inner: &Arc<Inner>) {
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        tokio::time::sleep(AGENT_HEARD_WITHIN).await;
        if let Some(inner) = inner.upgrade() {
            inner.feed.changed();
        }
    });
}

/// Lets programs go on that were held, unless somebody paused or stopped them meanwhile.
struct Held {
    inner: Arc<Inner>,
    still: Option<tokio::sync::OwnedRwLockWriteGuard<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (inner, still) = (Arc::clone(&self.inner), self.still.take());
        let resume = async move {
            let _still = still;
            if inner.rooms().state != State::Running {
                return;
            }
            if let Err(fault) = inner.place.resume().await {
                inner.rooms().notes.push(format!("its programs were held and stay so: {fault}"));
                inner.set_state(State::Paused);
            }
        };
        // Without a runtime the process is at its end, and what holds them with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(resume);
        }
    }
}

#[async_trait]
impl Seat for House {
    async fn events(&self) -> Outcome<BoxStream<SeatEvent>> {
        let inner = Arc::clone(&self.inner);
        Ok(self.inner.feed.subscribe(Box::new(move || inner.report())))
    }

    async fn forget(&self, request: &Request) -> Outcome<()> {
        if let Some(gate) = self.inner.gate.get() {
            gate.forget(request);
        }
        Ok(())
    }

    async fn give(&self, given: Vec<Given>) -> Outcome<()> {
        let gate = self
            .inner
            .gate
            .get()
            .ok_or_else(|| Fault::unsupported(NO_GATE_FOR_SECRETS).hint(NO_GATE_HINT))?;
        gate.give(given);
        Ok(())
    }

    async fn root(&self) -> Outcome<OwnedFd> {
        let root = self.inner.place.root();
        root.ok_or_else(|| Fault::unsupported("it has no root directory of its own"))
    }

    async fn traffic(&self) -> Outcome<Traffic> {
        let gate =
            self.inner.gate.get().ok_or_else(|| Fault::unsupported(NO_GATE).hint(NO_GATE_HINT))?;
        Ok(gate.traffic())
    }

    async fn explain(&self, session: &SessionId) -> Outcome<Explained> {
        let inner = &self.inner;
        let host = inner.host(session)?;
        let processes = look::twice(&host, &inner.around()).await;
        let (state, asks) = (inner.place.facts().state, inner.asks.pending());
        let rooms = inner.rooms();
        let asked = (asks.as_slice(), Inner::whose(&rooms, &asks));
        let beside = Inner::beside(&rooms, rooms.state_by(state), asked, session);
        drop(rooms);
        let told = host.session_beside(&beside);
        Ok(Explained {
            session: session.clone(),
            status: told.status,
            since: told.status_since,
            why: told.status_why,
            evidence: host.evidence(&beside),
            processes,
            at: clock::wall(),
        })
    }

    async fn ruled(&self, have: (u64, u64), all: bool) -> Outcome<RuledPart> {
        match self.inner.gate.get() {
            Some(gate) => Ok(gate.tell(have, all).await),
            None => Ok(RuledPart::default()),
        }
    }

    async fn open(&self, id: SessionId, spec: SessionSpec) -> Outcome<Session> {
        let inner = &self.inner;
        let _moving = inner.still.read().await;
        let _one = inner.opening.lock().await;
        if let Ok(host) = inner.host(&id) {
            return Ok(host.session());
        }
        inner.ready_to_start()?;
        inner.has_room()?;
        let spec = match inner.agents.get() {
            Some(agents) => {
                let files = agents.home_files(&spec.command);
                hand_in(&*inner.place, &files, AGENT_FILES_WITHIN).await;
                agents.dressed(spec)
            }
            None => spec,
        };
        let program = inner.place.spawn(&spec).await?;
        let session = inner.new_session(id.clone(), &spec, program.pid);
        let journal = inner.journal(&session);
        let dir = inner.recordings.join(id.as_str());
        let place = Arc::downgrade(&inner.place);
        let starved =
            Box::new(move || place.upgrade().and_then(|it| it.starved()).unwrap_or_default());
        let tell = tell(inner, id.clone());
        let host = Arc::new(Host::start(session, program, dir, journal, starved, tell));
        look::start(&host, inner.around());
        let session = host.session();
        if inner.agents.get().is_some_and(|it| it.started(&id, &spec.command)) {
            tell_late(inner);
        }
        inner.add(id, host);
        inner.feed.changed();
        Ok(session)
    }

    async fn exec(
        &self,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
        let _moving = self.inner.still.read().await;
        self.inner.ready_to_start()?;
        Ok(exec::run(self.inner.place.exec(&spec).await?, stdin))
    }

    async fn output(
        &self,
        session: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        Ok(self.inner.host(session)?.output(request))
    }

    async fn input(&self, session: &SessionId, bytes: Bytes) -> Outcome<()> {
        self.inner.host(session)?.input(bytes)
    }

    async fn resize(&self, session: &SessionId, size: Size) -> Outcome<()> {
        self.inner.host(session)?.resize(size)
    }

    async fn set_lease(&self, session: &SessionId, lease: Option<Lease>) -> Outcome<()> {
        self.inner.host(session)?.set_lease(lease);
        Ok(())
    }

    async fn answer(&self, ask: &AskId, answer: Answer, edit: Option<String>) -> Outcome<()> {
        let session = self.inner.asks.answer(ask, answer, edit)?;
        if let Some(host) = session.and_then(|it| self.inner.host(&it).ok()) {
            host.answered();
        }
        Ok(())
    }

    async fn pause(&self) -> Outcome<()> {
        // Whoever looks just now sees some of them as they were, and some held still.
        self.inner.turned();
        self.inner.place.pause().await?;
        self.inner.set_state(State::Paused);
        self.inner.turned();
        Ok(())
    }

    async fn resume(&self) -> Outcome<()> {
        self.inner.place.resume().await?;
        self.inner.set_state(State::Running);
        self.inner.turned();
        Ok(())
    }

    async fn hold(&self) -> Outcome<Hold> {
        let inner = Arc::clone(&self.inner);
        let still = Some(Arc::clone(&inner.still).write_owned().await);
        if inner.rooms().state != State::Running {
            // Nothing moves anyway.
            return Ok(Box::new(still));
        }
        inner.place.pause().await?;
        Ok(Box::new(Held { inner, still }))
    }

    async fn vacate(&self) -> Outcome<()> {
        let inner = &self.inner;
        let _one = inner.opening.lock().await;
        if inner.rooms().state == State::Gone {
            return Ok(());
        }
        inner.place.stop(std::time::Duration::ZERO).await?;
        inner.gone("it makes room for another moment of its sandbox".to_owned());
        Ok(())
    }

    async fn stop(&self, grace: std::time::Duration) -> Outcome<()> {
        self.inner.place.stop(grace).await?;
        self.inner.set_state(State::Stopped);
        Ok(())
    }

    async fn remove(&self) -> Outcome<()> {
        let inner = &self.inner;
        let _one = inner.opening.lock().await;
        if inner.rooms().state == State::Gone {
            return Ok(());
        }
        inner.place.remove().await?;
        if !inner.record {
            let ids: Vec<_> = inner.rooms().hosts.iter().map(|it| it.0.clone()).collect();
            for id in ids {
                journal::remove(&inner.recordings.join(id.as_str()))?;
            }
        }
        // Only now: who asks again after a fault must still find what is left.
        drop(std::mem::take(&mut inner.rooms().hosts));
        inner.gone("it was removed".to_owned());
        Ok(())
    }
}
