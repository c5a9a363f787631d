//! Layer `engine`: `Runtime` over drivers. The one truth of a hub: which sandboxes there are, who
//! may type, what changed. It holds no screen and parses no output: that is a seat's business.
mod adopt;
mod asks;
pub mod audit;
mod away;
mod beforehand;
mod besides;
mod changes;
mod client;
mod create;
mod demo;
mod doctor;
mod elsewhere;
mod explain;
mod feed;
mod files;
mod fleet;
mod follow;
mod foreign;
mod gauges;
mod hits;
mod keeper;
mod lease;
mod members;
mod name;
mod past;
mod prune;
mod pulse;
mod reach;
mod record;
mod restore;
mod rulebook;
mod ruled;
mod rules;
mod secrets;
mod sessions;
mod shelves;
pub mod shim_link;
mod snapshots;
mod standing;
mod store;
mod timeline;
mod turns;
mod verbs;
mod wait;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    task::{AbortHandle, JoinHandle},
};

pub use demo::demo;
pub use rules::{named, rules_for};

use crate::{
    base::{
        clock, descriptors,
        fault::{Fault, Kind, Outcome},
        id::{ClientId, SandboxId},
        limits::{CHANGES_AT_ONCE, FILES_STEPS_MAX, JOURNAL_READERS_MAX, SNAPSHOTS_AT_ONCE},
    },
    config::paths::Paths,
    driver::{Ground, registry::Registry},
    model::{audit::Action, event::Level},
    runtime::{Directory, Identity, Runtime, access::Register},
};
use audit::{notes::Notes, words};
use fleet::{Fleet, Telling};
use shelves::{Loaded, Shelves};
use store::Store;
use timeline::noted::Noted;

/// What an engine is made of.
pub struct Options {
    pub paths: Paths,
    pub drivers: Registry,
    /// The program that is started as a shim, with `shim` as its first argument. `OWN_PROGRAM` is this process's.
    pub program: PathBuf,
}

/// The program of this process, whatever lies by now where it was started from: an upgrade may have replaced it.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// A hub's engine; clones are the same one. It ends with its last clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What all parts of the engine share.
struct Inner {
    paths: Paths,
    drivers: Registry,
    program: PathBuf,
    store: Store,
    fleet: Mutex<Fleet>,
    /// Where both are locked, `fleet` is first.
    shelves: Mutex<Shelves>,
    /// One at a time changes or deletes the description of a snapshot.
    shelf_turn: tokio::sync::Mutex<()>,
    /// Who notes what a sandbox is to take over, and sees whether another has.
    adoptions: tokio::sync::Mutex<()>,
    /// Registered ids of what is no more, that could not be struck off when the disk was full.
    leftovers: Mutex<Vec<SandboxId>>,
    /// Rung when the next deadline (ttl, lease) may have come nearer.
    deadlines: Arc<Notify>,
    /// Rung when somebody begins to look at a sandbox or at all.
    attention: Arc<Notify>,
    /// Rung when something begins to wait for an answer.
    asked: Arc<Notify>,
    /// Calls who is away.
    caller: Mutex<Option<JoinHandle<()>>>,
    rules: rules::Rules,
    meters: Arc<gauges::Meters>,
    notes: Notes,
    members: Arc<members::Members>,
    /// Counts what is written of asks.
    asks_kept: AtomicU32,
    /// It is known which answers hold on: before, none is forgotten.
    asks_settled: AtomicBool,
    readers: Arc<Semaphore>,
    /// For changes of workspaces, which take longer: journals don't wait for them.
    lookers: Arc<Semaphore>,
    /// For steps that look at files of sandboxes; each of those has a bound of its own, too.
    file_steps: Arc<Semaphore>,
    /// For snapshots that are taken by time: many may be due at once.
    timers: Semaphore,
    /// Those who ask others which sandboxes they keep.
    rosters: Mutex<Vec<AbortHandle>>,
    /// Why they can't tell.
    unlisted: Mutex<Option<Fault>>,
    /// What programs changed in files, for lists of what happened.
    files: timeline::files::Files,
    started: Duration,
}

impl Engine {
    /// Opens the state directory and takes over every sandbox that lives on from a hub before.
    pub async fn open(options: Options) -> Outcome<Self> {
        options.paths.prepare()?;
        // A few for every sandbox.
        if let Err(error) = descriptors::raise(None) {
            tracing::warn!(%error, "the bound on open files stays as it is");
        }
        let registry = options.paths.registry();
        let engine = Self::over(options, Some(registry)).await?;
        Ok(engine)
    }

    /// Over a registry in this file; `None` = in memory.
    async fn over(options: Options, registry: Option<PathBuf>) -> Outcome<Self> {
        let opened = Store::open(registry).await?;
        let root = options.paths.snapshots();
        let Loaded { shelves, damaged, unfinished } = Shelves::load(root).await?;
        let (notes, writer) = Notes::new();
        let (mut noted, happenings) = Noted::new();
        noted.take_up(opened.store.last_statuses().await?);
        let rules = rules::Rules::since(&opened.store.last_policies().await?);
        let members = members::Members::open(opened.store.clone(), notes.clone()).await?;
        let inner = Arc::new(Inner {
            paths: options.paths,
            drivers: options.drivers,
            program: options.program,
            store: opened.store,
            fleet: Mutex::new(Fleet::new(noted)),
            shelves: Mutex::new(shelves),
            shelf_turn: tokio::sync::Mutex::default(),
            adoptions: tokio::sync::Mutex::default(),
            leftovers: Mutex::default(),
            deadlines: Arc::default(),
            attention: Arc::default(),
            asked: Arc::default(),
            caller: Mutex::default(),
            rules,
            meters: Arc::default(),
            notes,
            members: Arc::new(members),
            asks_kept: AtomicU32::default(),
            asks_settled: AtomicBool::default(),
            readers: Arc::new(Semaphore::new(JOURNAL_READERS_MAX)),
            lookers: Arc::new(Semaphore::new(CHANGES_AT_ONCE)),
            file_steps: Arc::new(Semaphore::new(FILES_STEPS_MAX)),
            timers: Semaphore::new(SNAPSHOTS_AT_ONCE),
            rosters: Mutex::default(),
            unlisted: Mutex::default(),
            files: timeline::files::Files::default(),
            started: clock::monotonic(),
        });
        writer.start(Arc::downgrade(&inner), inner.store.clone());
        happenings.start(inner.store.clone());
        let began = words::by_hub(Action::HubStarted, "hub", "it was started")
            .with("pid", u64::from(std::process::id()))
            .with("version", env!("CARGO_PKG_VERSION"))
            .with_any("set_aside", opened.set_aside.as_ref().map(|it| it.display().to_string()));
        inner.record(began).await;
        if let Some(aside) = &opened.set_aside {
            let words = format!(
                "the registry was damaged and is now {}; it was rebuilt from what lives",
                aside.display()
            );
            inner.fleet().notice(Level::Warning, None, &words);
        }
        for words in damaged {
            inner.fleet().notice(Level::Warning, None, &words);
        }
        inner.adopt_all().await?;
        inner.settle_asks().await?;
        unfinished.into_iter().for_each(|it| inner.clear_up(it));
        let sandboxes = inner.paths.sandboxes();
        inner.drivers.all().for_each(|it| it.tidy(&sandboxes));
        keeper::start(&inner);
        *inner.caller() = Some(away::start(&inner));
        pulse::start(&inner);
        gauges::start(&inner);
        elsewhere::start(&inner).await;
        Ok(Self { inner })
    }

    /// The engine as one client sees it; leases are kept by this identity.
    pub fn client(&self, who: Identity) -> Arc<dyn Runtime> {
        Arc::new(client::Client::new(self.inner.clone(), who))
    }

    /// Ends what it runs for the operator outside of sandboxes: for the end of the hub, which waits for no task.
    pub async fn close(&self) {
        let caller = self.inner.caller().take();
        if let Some(caller) = caller {
            caller.abort();
            drop(caller.await);
        }
    }

    /// Tells everybody something that a person should know.
    pub fn warn(&self, words: &str) {
        self.inner.fleet().notice(Level::Warning, None, words);
    }

    /// Gives back everything a client held, when its last connection has ended.
    pub fn client_gone(&self, client: &ClientId) {
        self.inner.release_all(client);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(caller) = self.caller().take() {
            caller.abort();
        }
        let rosters = self.rosters.get_mut().unwrap_or_else(PoisonError::into_inner);
        rosters.iter().for_each(AbortHandle::abort);
        self.deadlines.notify_one();
        self.attention.notify_one();
        self.asked.notify_one();
        self.meters.ring();
    }
}

impl Directory for Engine {
    fn client(&self, who: Identity) -> Arc<dyn Runtime> {
        Self::client(self, who)
    }

    fn client_gone(&self, client: &ClientId) {
        Self::client_gone(self, client);
    }

    fn register(&self) -> Option<Arc<dyn Register>> {
        Some(self.inner.members.clone())
    }
}

impl Inner {
    fn caller(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells that a sandbox changed, at once or as soon as the feed's rate allows.
    fn touch(self: &Arc<Self>, id: &SandboxId) {
        let telling = self.fleet().touch(id);
        self.meters.ring();
        if let Telling::After(wait) = telling {
            let (engine, id) = (Arc::downgrade(self), id.clone());
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                if let Some(engine) = engine.upgrade() {
                    engine.fleet().tell_late(&id);
                }
            });
        }
    }

    /// The same with all that it stands on: without that, its files are not what they were.
    fn whole_ground(&self, id: &SandboxId, name: &str) -> Outcome<Ground> {
        let from = self.fleet().get(id)?.spec.from.clone();
        if let Some(from) = from {
            self.shelves().shelf(&from).map_err(|_| {
                Fault::failed(format!("sandbox {name} stands on a snapshot that is lost: {from}"))
                    .hint(format!("fork a snapshot that is there, or: sandwatch rm {name}"))
            })?;
        }
        Ok(self.ground(id, name))
    }

    /// Where a sandbox lies, to end and to delete it. What it stands on may be lost.
    fn ground(&self, id: &SandboxId, name: &str) -> Ground {
        let from = self.fleet().get(id).ok().and_then(|it| it.spec.from.clone());
        let from = from.and_then(|it| self.shelves().shelf(&it).ok());
        Ground { id: id.clone(), name: name.to_owned(), dir: self.paths.sandbox(id), from }
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a sandbox's newest state to the registry.
    async fn persist(&self, id: &SandboxId) -> Outcome<()> {
        let row = record::row(self.fleet().get(id)?);
        self.store.update(row).await
    }

    /// The same where nobody waits for the answer: a failure becomes a notice.
    async fn persist_or_notice(&self, id: &SandboxId) {
        if let Err(fault) = self.persist(id).await
            && fault.kind() != Kind::Absent
        {
            self.fleet().notice(Level::Warning, Some(id.clone()), &fault.to_string());
        }
    }

    /// Runs a verb to its end even when the client that asked hangs up in the middle.
    async fn detached<T: Send + 'static>(
        verb: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        match tokio::spawn(verb).await {
            Ok(outcome) => outcome,
            Err(error) => Err(Fault::bug(format!("a verb ended unexpectedly: {error}"))),
        }
    }
}
