//! Layer `client`: Runtime over gRPC. Three connections to a hub: input never waits behind a list,
//! and neither waits behind output. A lost hub is looked for again, and subscriptions go on.
mod access;
mod calls;
mod dial;
#[cfg(feature = "tls")]
mod entering;
mod enrol;
mod files;
#[cfg(feature = "tls")]
mod https;
#[cfg(not(feature = "tls"))]
#[path = "without_tls.rs"]
mod https;
mod keeper;
mod lane;
pub mod many;
mod resume;
mod ssh;
mod start;
mod sys;
mod timeline;
#[cfg(feature = "tls")]
mod token;
mod trips;
mod way;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use self::{dial::Wires, start::Starter, way::Whose};
pub use self::{
    enrol::{enrol, of_team, of_token},
    ssh::proxy_greeting,
    start::{connect_or_start, connect_or_start_gateway, stream},
    way::{Opening, Tokens, Way},
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::{CERTIFICATE_LOOKED_AT_EVERY, PING_WITHIN},
    },
    runtime::{Identity, Link, Trips},
};

/// Where a hub is, and what to do when it is not.
#[derive(Clone, Debug)]
pub struct Options {
    pub identity: Identity,
    /// How long subscriptions wait for a lost hub before they end as `Lost`; `None` = for ever, as a
    /// console that shows the link does.
    pub patience: Option<Duration>,
    /// Lists and output are asked for compressed; a hub that can't sends them as they are.
    pub compress: bool,
    /// Of a hub that takes tokens.
    pub tokens: Tokens,
}

impl Options {
    /// With nothing asked for beyond these.
    pub fn new(identity: Identity, patience: Option<Duration>) -> Self {
        Self { identity, patience, compress: false, tokens: Tokens::default() }
    }
}

/// A hub that was reached.
pub struct Client {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
    /// Renews what lets us in; `None` where that need not be.
    renewer: Option<JoinHandle<()>>,
}

/// What the calls, the subscriptions and the keeper of the link share.
struct Shared {
    way: Way,
    /// As the hub knows us: over TLS it is another when somebody was invited anew.
    identity: Mutex<Identity>,
    patience: Option<Duration>,
    compress: bool,
    tokens: Tokens,
    /// A hub that died is started again, by the starter or by the way.
    starts: bool,
    /// `None` where the way does it, or nobody.
    starter: Option<Starter>,
    link: watch::Sender<Link>,
    /// Rung when somebody begins to look at the link.
    watched: Arc<Notify>,
    /// How often somebody wanted a lost hub to be looked for at once.
    hurried: watch::Sender<u64>,
    /// The connections, while there are any.
    wires: watch::Sender<Option<Arc<Wires>>>,
}

impl Client {
    /// Connects to a hub that runs; a hub that dies later is looked for, not started.
    pub async fn connect(socket: &Path, options: Options) -> Outcome<Self> {
        let opening = Opening { starts: false, careful: false, asks: false };
        let way = Way::Unix { path: socket.to_owned(), whose: Whose::Own };
        Self::reach(way, options, opening).await
    }

    /// Connects to a hub by a way; one that is lost later is looked for, and started by a way that does.
    pub async fn reach(way: Way, options: Options, opening: Opening) -> Outcome<Self> {
        Self::over(way, options, opening, None).await
    }

    async fn over(
        way: Way,
        options: Options,
        opening: Opening,
        starter: Option<Starter>,
    ) -> Outcome<Self> {
        let shared = Arc::new(Shared {
            starts: starter.is_some() || (way.starts_hubs() && opening.starts),
            identity: Mutex::new(options.identity),
            way,
            patience: options.patience,
            compress: options.compress,
            tokens: options.tokens,
            starter,
            link: watch::Sender::new(Link::Connecting),
            watched: Arc::new(Notify::new()),
            hurried: watch::Sender::new(0),
            wires: watch::Sender::new(None),
        });
        let first = shared.dial(opening).await?;
        // Before the keeper's first turn: a call may come sooner.
        shared.up(&first);
        let keeper = tokio::spawn(keeper::keep(Arc::downgrade(&shared), first));
        let renewer =
            shared.way.renews().then(|| tokio::spawn(renew_in_time(Arc::downgrade(&shared))));
        Ok(Self { shared, keeper, renewer })
    }

    /// Who we are to this hub.
    pub fn identity(&self) -> Identity {
        self.shared.identity().clone()
    }
}

/// For as long as its client lives: a console may stay for weeks.
async fn renew_in_time(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(CERTIFICATE_LOOKED_AT_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        if let Ok(wires) = shared.wires() {
            shared.renew(&wires).await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.keeper.abort();
        self.renewer.iter().for_each(JoinHandle::abort);
        self.shared.wires.send_replace(None);
    }
}

impl Shared {
    fn watch_link(&self) -> watch::Receiver<Link> {
        let link = self.link.subscribe();
        self.watched.notify_one();
        link
    }

    fn identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who we are on this way as it is now.
    fn introduced(&self, way: &Way) -> Identity {
        let mut identity = self.identity();
        *identity = way.introduce(identity.clone());
        identity.clone()
    }

    /// Opens the connections and learns who is there, within a deadline.
    async fn dial(&self, opening: Opening) -> Outcome<dial::Dialled> {
        let way = self.way.ready(&self.tokens).await?;
        let dialled = async {
            let identity = self.introduced(&way);
            let dialled = dial::dial(&way, opening, &identity, self.compress).await?;
            self.renew(&dialled.wires).await;
            Ok(dialled)
        };
        let dialled = tokio::time::timeout(self.way.within(opening), dialled).await;
        let dialled = dialled.unwrap_or_else(|_| {
            Err(Fault::late(format!("the hub does not answer: {}", self.way.shown())))
        });
        if dialled.as_ref().is_err_and(Fault::is_standing) {
            self.tokens.forget();
        }
        dialled
    }

    /// What lets us in may be renewed; that it can't be is told when it is needed.
    async fn renew(&self, wires: &Wires) {
        if let Err(fault) = self.way.renew(wires).await {
            tracing::warn!(%fault, "the certificate for a hub was not renewed");
        }
    }

    /// From now on calls go to this hub.
    fn up(&self, dialled: &dial::Dialled) {
        self.wires.send_replace(Some(dialled.wires.clone()));
        self.link.send_replace(Link::Up(Trips::first(dialled.rtt)));
    }

    /// Asks for something that changes nothing: of the next hub, should this one die over it. A
    /// console is told at once instead, and shows it.
    async fn again<T, Asked>(&self, ask: impl Fn(Arc<Wires>) -> Asked) -> Outcome<T>
    where
        Asked: Future<Output = Outcome<T>>,
    {
        let mut wires = match self.wires() {
            Err(_) if self.patience.is_some() => self.next(None).await?,
            wires => wires?,
        };
        loop {
            wires.same_protocol()?;
            match ask(wires.clone()).await {
                Err(fault)
                    if fault.kind() == Kind::Lost
                        && self.patience.is_some()
                        && wires.ping(PING_WITHIN).await.is_err() =>
                {
                    wires = self.next(Some(wires)).await?;
                }
                done => return done,
            }
        }
    }

    /// Waits, as long as is wanted, for other connections than the broken ones.
    fn next(
        &self,
        broken: Option<Arc<Wires>>,
    ) -> impl Future<Output = Outcome<Arc<Wires>>> + Send + use<> {
        let mut next = self.wires.subscribe();
        let patience = self.patience.unwrap_or(Duration::MAX);
        let hint = self.way.mends("start");
        async move {
            let fresh = |it: &Option<Arc<Wires>>| {
                let broken = broken.as_ref();
                it.as_ref().is_some_and(|it| !broken.is_some_and(|broken| Arc::ptr_eq(it, broken)))
            };
            let found = match tokio::time::timeout(patience, next.wait_for(fresh)).await {
                Ok(found) => found.ok().and_then(|it| it.clone()),
                Err(_) => None,
            };
            found.ok_or_else(|| Fault::lost("the hub is gone").hint(hint))
        }
    }

    /// The connections, or why there are none.
    fn wires(&self) -> Outcome<Arc<Wires>> {
        if let Some(wires) = self.wires.borrow().as_ref() {
            return Ok(wires.clone());
        }
        let reason = match &*self.link.borrow() {
            Link::Down { reason, .. } => reason.clone(),
            Link::Connecting | Link::Up { .. } => "not connected yet".to_owned(),
        };
        Err(Fault::lost(format!("no hub: {reason}")).hint("it is being looked for; try again"))
    }
}
