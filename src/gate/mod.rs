//! Layer `gate`: the one way out of a sandbox whose network asks. All that its programs send arrives here; what a rule
//! or a person lets out is sent on, and nothing else.
//!
//! It keeps no verdict of its own beyond what it was told for longer than once, and in every doubt it lets nothing
//! out: a hub that is away leaves those who ask waiting.
mod asked;
mod client;
mod counted;
mod dns;
mod flow;
mod hello;
mod log;
mod looks;
mod names;
mod noted;
mod owner;
mod proxy;
mod reach;
mod requests;
mod rules;
mod secrets;
mod tls;
mod total;
mod web;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};

pub use self::tls::Authority;
use self::{
    log::Log,
    names::{Meant, Names},
    noted::{Kind, Noted, Word},
    reach::Place,
    rules::{Rules, Snapshot},
    secrets::Secrets,
    total::Total,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::Outcome,
        limits::{
            CONNECTS_BURST, CONNECTS_EVERY, FAREWELL_WITHIN, GATE_FLOWS_MAX, GATE_KEPT_EVERY,
            GATE_LEARNED_MAX, GATE_LOOKS_MAX, GATE_LOOKUPS_MAX, GATE_NOTERS_MAX, GATE_TOLD_EVERY,
            LINE_BYTES_MAX, RULES_LOOKED_AT_EVERY,
        },
        text::shown,
    },
    driver::{Arrivals, Doors, HeldBack, Look, Way, net::NetFile},
    model::{
        ask::{Answer, Request, Verdict},
        rule::Domain,
        secret::{Given, SecretUse},
        traffic::{FlowState, RuledKept, RuledPart, Traffic},
    },
};

/// Whoever asks a person.
#[async_trait]
pub trait Asker: Send + Sync {
    /// What a person says; any fault is a no. Whoever drops this waits no more. `about` is what the host knows of it
    /// beside the request, and `pids` whose it is, nearest first.
    async fn ask(
        &self,
        request: Request,
        about: Vec<(String, String)>,
        pids: &[u32],
    ) -> Outcome<Answer>;

    /// There is something that the hub was not told yet: `Watch::tell`.
    fn has_news(&self);

    /// Leaves what the hub was not told yet where it finds it if this process is killed. Blocks.
    fn keep(&self, kept: &RuledKept);
}

/// On what terms programs get out.
pub struct Terms {
    /// What no rule knows is asked; else it is denied.
    pub ask: bool,
    /// `HOST` and `HOST:PORT`.
    pub allow: Vec<String>,
    /// The same, because the model of the agent is there.
    pub model: Vec<String>,
    /// Files of rules, and for which sandboxes each is; none = there are no rules but those.
    pub rules: Vec<(Domain, PathBuf)>,
    pub workspace: PathBuf,
    /// What is put in on the way, and where; values come later.
    pub secrets: Vec<SecretUse>,
    /// Who opens TLS to their hosts; `None` = nobody need.
    pub authority: Option<Authority>,
    /// Where it is told what came and went, and what that was before; `None` = nowhere.
    pub net: Option<(NetFile, (u64, u64))>,
}

/// A gate, which is open for as long as it is served.
pub struct Gate {
    inner: Arc<Inner>,
    doors: Vec<Door>,
    /// `None` = nobody asks here for names.
    names: Option<UdpSocket>,
    total: Arc<Total>,
    net: Option<NetFile>,
}

/// Where connections come in.
enum Door {
    /// Each says by what it was meant for where it goes.
    Redirected(TcpListener),
    /// In each a program says it.
    Proxy(Box<dyn Arrivals>),
}

impl Door {
    async fn next(&mut self) -> io::Result<TcpStream> {
        match self {
            Self::Redirected(listener) => Ok(listener.accept().await?.0),
            Self::Proxy(arrivals) => arrivals.next().await,
        }
    }
}

pub(in crate::gate) struct Inner {
    asker: Arc<dyn Asker>,
    ask: bool,
    /// `None` = nobody counts it.
    held_back: Option<Box<HeldBack>>,
    /// Connections that waited for their turn; `None` = none has to.
    waited: Option<Arc<AtomicU64>>,
    sender: Arc<Look>,
    held: Arc<dyn Fn(SocketAddr, SocketAddr) -> bool + Send + Sync>,
    /// For looking at all processes of a sandbox, at the list of its connections, and for looking up names.
    looks: Arc<Semaphore>,
    glances: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    names: Mutex<Names>,
    rules: Arc<Rules>,
    log: Mutex<Log>,
    learned: Mutex<HashMap<Learned, Lesson>>,
    /// Told when some of it is let go of.
    forgotten: watch::Sender<()>,
    secrets: Secrets,
    authority: Option<Authority>,
    /// What was decided without a person, rung for when there is more of it; and who looks for whose that is.
    noted: Mutex<Noted>,
    more_noted: Notify,
    /// The same for leaving it where the hub finds it, which is done by one at a time.
    more_kept: Notify,
    keeping: tokio::sync::Mutex<()>,
    noters: Arc<Semaphore>,
    noting: Arc<Semaphore>,
    /// For looking whose service it is that a secret is for.
    owners: Arc<Semaphore>,
    /// Connections that are open now.
    open: watch::Sender<usize>,
}

/// One open connection, as long as this lives.
struct Open<'a>(&'a Inner);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.send_modify(|it| *it = it.saturating_sub(1));
    }
}

/// What an answer was about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::gate) struct Learned {
    pub place: Place,
    pub program: Option<String>,
}

#[derive(Clone, Debug)]
struct Lesson {
    answer: Answer,
    at: Timestamp,
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn names(&self) -> MutexGuard<'_, Names> {
        locked(&self.names)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        locked(&self.log)
    }

    fn refused_name(&self) {
        self.log().names_refused += 1;
    }

    fn traffic(&self) -> Traffic {
        let dropped = self.held_back.as_ref().map(|it| it());
        let dropped = dropped.and_then(|it| {
            it.inspect_err(|error| tracing::debug!(%error, "what was held back")).ok()
        });
        Traffic { waited: self.waited(), ..self.log().traffic(dropped) }
    }

    fn waited(&self) -> u64 {
        self.waited.as_ref().map_or(0, |it| it.load(Ordering::Relaxed))
    }

    /// What was said of it before, for longer than once.
    fn remembered(&self, what: &Learned) -> Option<Answer> {
        let lessons = locked(&self.learned);
        let found = lessons.get(what)?;
        found.answer.scope.holds(found.at, clock::wall()).then(|| found.answer.clone())
    }

    fn remember(&self, what: Learned, answer: &Answer) {
        let mut lessons = locked(&self.learned);
        if lessons.len() >= GATE_LEARNED_MAX && !lessons.contains_key(&what) {
            // It is asked again, which is no harm.
            let oldest = lessons.iter().min_by_key(|it| it.1.at).map(|it| it.0.clone());
            oldest.map(|it| lessons.remove(&it));
        }
        lessons.insert(what, Lesson { answer: answer.clone(), at: clock::wall() });
    }

    /// Resolves when what was said of it was taken back.
    async fn taken_back(&self, what: &Learned) {
        let mut forgotten = self.forgotten.subscribe();
        while locked(&self.learned).contains_key(what) {
            if forgotten.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes note of what was decided in a connection without a person; about itself, or about another place that was named
    /// within.
    fn noted(&self, number: u64, place: Option<String>, allowed: bool, word: Word) {
        let Some((own, program)) = self.log().whose(number) else { return };
        self.note(Kind { place: place.unwrap_or(own), program, allowed, standing: false, word });
    }

    fn note(&self, kind: Kind) {
        let kind = Kind {
            word: Word { words: shown(&kind.word.words, LINE_BYTES_MAX), ..kind.word },
            ..kind
        };
        locked(&self.noted).note(kind, clock::wall());
        self.more_noted.notify_one();
        self.more_kept.notify_one();
    }

    /// Leaves what is not told where the hub finds it; gives how many parts that is.
    async fn keep(&self) -> usize {
        let _turn = self.keeping.lock().await;
        let kept = locked(&self.noted).kept();
        let (asker, parts) = (Arc::clone(&self.asker), kept.later.len());
        // A disk may be slow.
        drop(tokio::task::spawn_blocking(move || asker.keep(&kept)).await);
        parts
    }

    /// Does that while there is more: the first at once, then now and then, the more seldom the more there is.
    async fn keep_on(self: Arc<Self>) {
        loop {
            self.more_kept.notified().await;
            let parts = u32::try_from(self.keep().await).unwrap_or(u32::MAX);
            tokio::time::sleep(GATE_KEPT_EVERY.saturating_mul(parts.max(1))).await;
        }
    }

    /// Says that there is something to tell, when there is, and not all the time.
    async fn keep_telling(self: Arc<Self>) {
        loop {
            let due = locked(&self.noted).due();
            let wait = due.map(|it| it.saturating_sub(clock::monotonic()));
            match wait {
                Some(Duration::ZERO) => {
                    self.asker.has_news();
                    tokio::time::sleep(GATE_TOLD_EVERY).await;
                    self.more_noted.notified().await;
                }
                Some(wait) => {
                    drop(tokio::time::timeout(wait, self.more_noted.notified()).await);
                }
                None => self.more_noted.notified().await,
            }
        }
    }

    /// A connection ends before either side has enough.
    fn cut(&self, number: u64, why: &Word) {
        self.noted(number, None, false, Word { words: format!("cut: {why}"), ..why.clone() });
        self.log().becomes(number, FlowState::Over, Some(format!("cut: {why}")));
    }

    fn opened(&self) -> Open<'_> {
        self.open.send_modify(|it| *it += 1);
        Open(self)
    }

    /// Resolves with what is found in the rules, once there is something: now, or when they have become others.
    async fn once<T>(&self, find: impl Fn(&Snapshot) -> Option<T>) -> T {
        let mut changes = self.rules.changes();
        let mut rules = self.rules.now().await;
        loop {
            if let Some(found) = find(&rules) {
                return found;
            }
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
            rules = self.rules.last();
        }
    }

    /// Looks at the rules now and then, while something is open that they may come to deny.
    async fn keep_looking(self: Arc<Self>) {
        let mut open = self.open.subscribe();
        while open.wait_for(|it| *it > 0).await.is_ok() {
            tokio::time::sleep(RULES_LOOKED_AT_EVERY).await;
            drop(self.rules.now().await);
        }
    }

    /// Lets go of what was said of a request; it is asked again, and what it let out is cut.
    fn forget(&self, request: &Request) {
        let program = request.details.iter().find(|it| it.0 == "program").map(|it| &it.1);
        locked(&self.learned).retain(|it, _| {
            it.place.to_string() != request.subject || it.program.as_ref() != program
        });
        self.forgotten.send_replace(());
    }
}

impl Gate {
    /// Takes over the ways out; inside a runtime.
    pub fn new(doors: Doors, terms: Terms, asker: Arc<dyn Asker>) -> io::Result<Self> {
        let Doors { way, sender, held } = doors;
        let (doors, names, held_back, waited) = match way {
            Way::Redirect { streams, names, held_back } => {
                let doors = streams.into_iter().map(TcpListener::from_std);
                let doors = doors.map(|it| it.map(Door::Redirected)).collect::<Result<_, _>>()?;
                (doors, Some(UdpSocket::from_std(names)?), Some(held_back), None)
            }
            Way::Proxy(arrivals) => {
                let waited = arrivals.waited();
                (vec![Door::Proxy(arrivals)], None, None, waited)
            }
        };
        let (net, before) = terms.net.unzip();
        let total = Arc::new(Total::since(before.unwrap_or_default()));
        let inner = Inner {
            asker,
            ask: terms.ask,
            held_back,
            waited,
            sender: sender.into(),
            held: held.into(),
            looks: Arc::new(Semaphore::new(GATE_LOOKS_MAX)),
            glances: Arc::new(Semaphore::new(GATE_LOOKS_MAX)),
            lookups: Arc::new(Semaphore::new(GATE_LOOKUPS_MAX)),
            names: Mutex::default(),
            rules: Arc::new(Rules::new(terms.rules, terms.workspace, &terms.allow, &terms.model)),
            log: Mutex::new(Log::new(Arc::clone(&total))),
            learned: Mutex::default(),
            forgotten: watch::Sender::default(),
            secrets: Secrets::new(terms.secrets),
            authority: terms.authority,
            noted: Mutex::default(),
            more_noted: Notify::new(),
            more_kept: Notify::new(),
            keeping: tokio::sync::Mutex::default(),
            noters: Arc::new(Semaphore::new(GATE_NOTERS_MAX)),
            noting: Arc::new(Semaphore::new(1)),
            owners: Arc::new(Semaphore::new(1)),
            open: watch::Sender::default(),
        };
        Ok(Self { inner: Arc::new(inner), doors, names, total, net })
    }

    /// What asks it how it stands while it is served.
    pub fn watch(&self) -> Watch {
        Watch { inner: Arc::clone(&self.inner) }
    }

    /// Serves for as long as it is polled.
    pub async fn serve(self) {
        let places = Arc::new(Semaphore::new(GATE_FLOWS_MAX));
        let mut parts = JoinSet::new();
        for door in self.doors {
            parts.spawn(serve_streams(Arc::clone(&self.inner), door, Arc::clone(&places)));
        }
        if let Some(names) = self.names {
            parts.spawn(dns::serve(Arc::clone(&self.inner), names));
        }
        parts.spawn(Arc::clone(&self.inner).keep_looking());
        parts.spawn(Arc::clone(&self.inner).keep_telling());
        parts.spawn(Arc::clone(&self.inner).keep_on());
        if let Some(net) = self.net {
            parts.spawn(total::tell(self.total, net));
        }
        while parts.join_next().await.is_some() {}
    }
}

async fn serve_streams(inner: Arc<Inner>, mut door: Door, places: Arc<Semaphore>) {
    let by_proxy = matches!(door, Door::Proxy(_));
    let mut told = false;
    let mut flows = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = flows.join_next() => {}
            accepted = door.next() => match accepted {
                Ok(stream) => {
                    if !told && inner.waited() > 0 {
                        // Once: the note about it says no number.
                        told = true;
                        inner.asker.has_news();
                    }
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        inner.log().unseen();
                        client::reset(stream);
                        continue;
                    };
                    let inner = Arc::clone(&inner);
                    flows.spawn(async move {
                        match by_proxy {
                            true => Box::pin(proxy::serve(&inner, stream)).await,
                            false => Box::pin(flow::serve(&inner, stream)).await,
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection out was not accepted");
                    tokio::time::sleep(FAREWELL_WITHIN).await;
                }
            },
        }
    }
}

/// Looks at a gate from beside it.
#[derive(Clone)]
pub struct Watch {
    inner: Arc<Inner>,
}

impl Watch {
    pub fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }

    /// Whether there is something that the hub was not told yet, or may not have heard.
    /// The name and port that a connection of the sandbox's is meant for; `None` where its address is what it is.
    pub fn called(&self, to: SocketAddr) -> Option<String> {
        match self.inner.names().meant(to.ip()) {
            Meant::Name(name) => Some(format!("{name}:{}", to.port())),
            Meant::Forgotten | Meant::Address(_) => None,
        }
    }

    pub fn has_news(&self) -> bool {
        locked(&self.inner.noted).due().is_some_and(|it| it <= clock::monotonic())
    }

    /// What was decided without a person, to who has all up to this number of this gate; with `all`, also what would be told
    /// later.
    pub async fn tell(&self, (gate, number): (u64, u64), all: bool) -> RuledPart {
        let told = locked(&self.inner.noted).tell(gate, number, all, clock::monotonic());
        // What is told next has its time.
        self.inner.more_noted.notify_one();
        if !told.ruled.is_empty() {
            // Before it is told: what is kept says which number that was.
            self.inner.keep().await;
        }
        told
    }

    /// What a person should know of how it is used; never becomes another.
    pub fn note(&self) -> Option<String> {
        (self.inner.waited() > 0).then(|| {
            let each = CONNECTS_EVERY.as_millis();
            format!("its programs begin connections too fast: after {CONNECTS_BURST} at once, each waits for its turn, one in {each} ms")
        })
    }

    /// Takes values of secrets.
    pub fn give(&self, given: Vec<Given>) {
        self.inner.secrets.give(given);
    }

    /// What was said of a request for longer than once holds no more.
    pub fn forget(&self, request: &Request) {
        self.inner.forget(request);
    }
}

/// Whether an answer lets it out.
fn allows(answer: &Answer) -> bool {
    answer.verdict == Verdict::Allow
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::fault::Fault, model::ask::Scope};

    struct Nobody;

    #[async_trait]
    impl Asker for Nobody {
        async fn ask(&self, _: Request, _: Vec<(String, String)>, _: &[u32]) -> Outcome<Answer> {
            Err(Fault::late("nobody is there"))
        }

        fn has_news(&self) {}

        fn keep(&self, _: &RuledKept) {}
    }

    impl Inner {
        pub(in crate::gate) fn for_tests(allow: &[String]) -> Self {
            Self {
                asker: Arc::new(Nobody),
                ask: true,
                held_back: None,
                waited: None,
                sender: Arc::new(|_, _, _| None),
                held: Arc::new(|_, _| true),
                looks: Arc::new(Semaphore::new(1)),
                glances: Arc::new(Semaphore::new(1)),
                lookups: Arc::new(Semaphore::new(1)),
                names: Mutex::default(),
                rules: Arc::new(Rules::new(Vec::new(), "/w".into(), allow, &[])),
                log: Mutex::default(),
                learned: Mutex::default(),
                forgotten: watch::Sender::default(),
                secrets: Secrets::new(Vec::new()),
                authority: None,
                noted: Mutex::default(),
                more_noted: Notify::new(),
                more_kept: Notify::new(),
                keeping: tokio::sync::Mutex::default(),
                noters: Arc::new(Semaphore::new(1)),
                noting: Arc::new(Semaphore::new(1)),
                owners: Arc::new(Semaphore::new(1)),
                open: watch::Sender::default(),
            }
        }
    }

    #[test]
    fn what_was_said_for_longer_is_remembered_of_that_program_and_place_alone() {
        let gate = Inner::for_tests(&[]);
        let what = |port, program: &str| Learned {
            place: Place { host: reach::Host::Name("a.example".into()), port },
            program: Some(program.to_owned()),
        };
        let answer = |scope| Answer { verdict: Verdict::Allow, scope, message: None };
        gate.remember(what(1, "curl"), &answer(Scope::Once));
        assert_eq!(gate.remembered(&what(1, "curl")), None, "it holds for nothing else");
        gate.remember(what(1, "curl"), &answer(Scope::Session));
        assert!(gate.remembered(&what(1, "curl")).is_some());
        assert_eq!(gate.remembered(&what(2, "curl")), None);
        assert_eq!(gate.remembered(&what(1, "node")), None);
        gate.forget(&rules::request(&what(1, "curl").place, Some("curl")));
        assert_eq!(gate.remembered(&what(1, "curl")), None);
        for port in 0..=u16::try_from(GATE_LEARNED_MAX).unwrap() {
            gate.remember(what(port, "curl"), &answer(Scope::Hour));
        }
        assert_eq!(locked(&gate.learned).len(), GATE_LEARNED_MAX);
    }
}
