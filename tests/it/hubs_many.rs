//! Several hubs as one runtime: real ones behind sockets, of the same names and ids, away, stalled, and coming and going.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sandwatch::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::HubNumber,
        limits::HUBS_MAX,
    },
    client::{
        Client, Options,
        many::{Contact, Many, Opener},
    },
    config::paths::Paths,
    driver::fake::FakeDriver,
    model::{
        event::{Event, SnapshotReason},
        gauge::GaugesWanted,
        sandbox::{Sandbox, State},
    },
    runtime::{BoxStream, HubSeen, Link, Runtime},
    wire::PROTOCOL,
};

use crate::{
    engine_support::open,
    given::{soon, who},
    hub_strange::{Deaf, bare},
    hub_support::{Hub, SOON, engine, next, spec},
};

const WORK: HubNumber = HubNumber(1);

/// A hub behind a socket, whenever it is there.
struct Socket(PathBuf);

#[async_trait]
impl Opener for Socket {
    async fn open(&self) -> Outcome<Arc<dyn Runtime>> {
        let options = Options::new(who("me"), None);
        Ok(Arc::new(Client::connect(&self.0, options).await?))
    }
}

/// The same, of which a test knows whether anybody still holds it.
struct Held(PathBuf, Arc<Mutex<Vec<Weak<Client>>>>);

#[async_trait]
impl Opener for Held {
    async fn open(&self) -> Outcome<Arc<dyn Runtime>> {
        let options = Options::new(who("me"), None);
        let runtime = Arc::new(Client::connect(&self.0, options).await?);
        self.1.lock().unwrap().push(Arc::downgrade(&runtime));
        Ok(runtime)
    }
}

/// One that is reached, and never answers.
struct Mute;

#[async_trait]
impl Opener for Mute {
    async fn open(&self) -> Outcome<Arc<dyn Runtime>> {
        Ok(Arc::new(Deaf))
    }
}

/// One that takes connections and says nothing, or is not there at all.
struct Silent;

#[async_trait]
impl Opener for Silent {
    async fn open(&self) -> Outcome<Arc<dyn Runtime>> {
        std::future::pending().await
    }
}

struct Refusing;

#[async_trait]
impl Opener for Refusing {
    async fn open(&self) -> Outcome<Arc<dyn Runtime>> {
        Err(Fault::lost("it says no"))
    }
}

const LOCKED: u32 = 5;

/// One that only a person can mend, which takes time; it counts how often it was tried.
struct Locked(Arc<AtomicU32>);

#[async_trait]
impl Opener for Locked {
    async fn open(&self) -> Outcome<Arc<dyn Runtime>> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0..LOCKED => Err(Fault::denied("Permission denied (publickey)").standing()),
            _ => Ok(Arc::new(Deaf)),
        }
    }
}

pub(crate) fn contact(name: &str, opener: impl Opener) -> Contact {
    Contact { name: name.to_owned(), address: format!("test:{name}"), opener: Arc::new(opener) }
}

fn at(name: &str, home: &Path) -> Contact {
    contact(name, Socket(Paths::under(home).hub_socket()))
}

fn seen(many: &Many) -> Vec<HubSeen> {
    many.hubs().unwrap().borrow().to_vec()
}

fn is_up(many: &Many, hub: HubNumber) -> bool {
    seen(many).iter().any(|it| it.number == hub && matches!(it.link, Link::Up { .. }))
}

async fn run(hub: &dyn Runtime, dir: &Path, name: &str) -> Sandbox {
    let project = dir.join("project");
    std::fs::create_dir_all(&project).unwrap();
    let mut spec = spec(&project, &["idle"]);
    spec.name = Some(name.to_owned());
    hub.create(spec).await.unwrap()
}

/// Copies what a hub kept that has ended, once it has let go of it.
fn copy(from: &Path, to: &Path) {
    let log = from.join("state/registry.db-wal");
    crate::program::eventually("the registry is closed", || !log.exists());
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Two hubs that have a sandbox of the same name and the same id.
struct Twins {
    temp: tempfile::TempDir,
    hubs: Vec<Hub>,
    many: Arc<Many>,
    made: Sandbox,
}

impl Twins {
    async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let (one, other) = (temp.path().join("one"), temp.path().join("other"));
        let hub = Hub::start(&one, Arc::new(engine(&one).await)).await;
        let made = run(&hub.client("me").await, temp.path(), "box").await;
        hub.stop().await;
        copy(&one, &other);
        let mut hubs = Vec::new();
        for home in [&one, &other] {
            hubs.push(Hub::start(home, Arc::new(engine(home).await)).await);
        }
        let many = Arc::new(Many::new(who("me").client, at("local", &one), None));
        many.keep(vec![at("work", &other)]).unwrap();
        soon("both are reached", || is_up(&many, HubNumber::FIRST) && is_up(&many, WORK)).await;
        Self { temp, hubs, many, made }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_to_one_of_two_twins_is_not_done_to_the_other() {
    let twins = Twins::new().await;
    let (own, work) = (twins.made.id.clone(), twins.made.id.clone().of_hub(WORK));
    let listed = twins.many.list().await.unwrap();
    let ids: Vec<_> = listed.iter().map(|it| it.id.clone()).collect();
    assert_eq!(ids, [own.clone(), work.clone()]);
    let names: Vec<_> = listed.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["box", "box@work"]);
    twins.many.remove(&work).await.unwrap();
    let left = twins.many.list().await.unwrap();
    assert!(left.iter().map(|it| &it.id).eq([&own]));
    // By the hub that the mark names, whatever that hub's things are called.
    let alone = twins.many.one(WORK).unwrap();
    assert_eq!(alone.remove(&own).await.unwrap_err().kind(), Kind::Bug);
    let nobody = own.clone().of_hub(HubNumber(9));
    assert_eq!(twins.many.remove(&nobody).await.unwrap_err().kind(), Kind::Absent);
    assert_eq!(twins.many.remove(&work).await.unwrap_err().kind(), Kind::Absent);
    assert_eq!(twins.many.list().await.unwrap().len(), 1);
    // What is made on the other hub is known by both its names there.
    let made = run(&*alone, twins.temp.path(), "new").await;
    assert_eq!((made.name.as_str(), made.id.hub()), ("new@work", WORK));
    assert_eq!(made.sessions[0].id.hub(), WORK);
    twins.many.stop(&made.id, Duration::from_millis(10)).await.unwrap();
    // By itself: of all, one that answers late is left out.
    let listed = alone.list().await.unwrap();
    let stopped = listed.iter().find(|it| it.id == made.id).unwrap();
    assert_eq!(stopped.state, State::Stopped);
}

/// What is known by a feed, as a console would.
struct Known {
    feed: BoxStream<Outcome<Event>>,
    all: Vec<(HubNumber, String)>,
    gaps: Vec<HubNumber>,
    notices: Vec<String>,
}

impl Known {
    async fn of(many: &Many) -> Self {
        let feed = many.events().await.unwrap();
        Self { feed, all: Vec::new(), gaps: Vec::new(), notices: Vec::new() }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Part { hub, reason, sandboxes } => {
                if reason == SnapshotReason::Gap {
                    self.gaps.push(hub);
                }
                self.all.retain(|it| it.0 != hub);
                self.all.extend(sandboxes.iter().map(|it| (it.id.hub(), it.name.clone())));
            }
            Event::Snapshot { .. } => panic!("a list of all, of one of several"),
            Event::Changed { sandbox, .. } => {
                let it = (sandbox.id.hub(), sandbox.name.clone());
                self.all.retain(|of| *of != it);
                self.all.push(it);
            }
            Event::Notice { notice, .. } => self.notices.push(notice.text),
            _ => {}
        }
        self.all.sort();
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let event = next(&mut self.feed, what).await.unwrap().unwrap();
            self.take(event);
        }
    }

    fn names(&self) -> Vec<&str> {
        self.all.iter().map(|it| it.1.as_str()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_dies_is_looked_for_and_its_list_alone_is_read_anew() {
    let mut twins = Twins::new().await;
    let mut known = Known::of(&twins.many).await;
    known.until("both lists", |it| it.names() == ["box", "box@work"]).await;
    twins.hubs.pop().unwrap().stop().await;
    let many = twins.many.clone();
    soon("it is known to be away", || !is_up(&many, WORK)).await;
    let why = seen(&many).pop().unwrap();
    assert!(matches!(&why.link, Link::Down { .. }), "{why:?}");
    // Said at once, and by name.
    let work = twins.made.id.clone().of_hub(WORK);
    let asked = tokio::time::timeout(Duration::from_secs(5), many.pause(&work)).await.unwrap();
    let fault = asked.unwrap_err();
    assert!(fault.kind() == Kind::Lost && fault.message().starts_with("work: "), "{fault}");
    // The other goes on as if nothing were.
    let own = many.one(HubNumber::FIRST).unwrap();
    run(&*own, twins.temp.path(), "more").await;
    known.until("the new one", |it| it.names() == ["box", "more", "box@work"]).await;
    let home = twins.home("other");
    twins.hubs.push(Hub::start(&home, Arc::new(engine(&home).await)).await);
    soon("it is there again", || is_up(&many, WORK)).await;
    known.until("its list", |it| !it.gaps.is_empty()).await;
    assert_eq!(known.gaps, [WORK]);
    assert_eq!(known.names(), ["box", "more", "box@work"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hubs_that_never_answer_or_refuse_hold_up_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let _hub = Hub::start(&home, Arc::new(engine(&home).await)).await;
    let many = Many::new(who("me").client, contact("local", Silent), None);
    many.keep(vec![contact("no", Refusing), at("work", &home), contact("mute", Silent)]).unwrap();
    let work = HubNumber(2);
    soon("the one that is there", || is_up(&many, work)).await;
    let mut known = Known::of(&many).await;
    let made = run(&*many.one(work).unwrap(), temp.path(), "box").await;
    known.until("its sandbox", |it| it.names() == ["box@work"]).await;
    let whole = async {
        assert_eq!(many.list().await.unwrap().len(), 1);
        assert_eq!(many.asks(&sandwatch::runtime::AsksWanted::newest(5)).await.unwrap(), []);
        many.pause(&made.id).await.unwrap();
        many.rules().await.unwrap_err()
    };
    let fault = tokio::time::timeout(SOON, whole).await.unwrap();
    assert_eq!(fault.kind(), Kind::Lost, "{fault}");
    let no = seen(&many).into_iter().find(|it| it.name == "no").unwrap();
    let Link::Down { reason, .. } = no.link else { panic!("{no:?}") };
    assert_eq!(reason, "it says no");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_wait_has_a_hub_looked_for_at_once() {
    let tried = Arc::new(AtomicU32::new(0));
    let many = Many::new(who("me").client, contact("locked", Locked(tried.clone())), None);
    // By itself it would be tried so often within minutes.
    while !is_up(&many, HubNumber::FIRST) {
        many.look_now();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(tried.load(Ordering::Relaxed), 1 + LOCKED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contexts_come_and_go_and_a_number_is_never_another_s() {
    let twins = Twins::new().await;
    let mut known = Known::of(&twins.many).await;
    known.until("both lists", |it| it.names() == ["box", "box@work"]).await;
    twins.many.keep(Vec::new()).unwrap();
    known.until("it goes", |it| it.names() == ["box"]).await;
    let old = twins.made.id.clone().of_hub(WORK);
    twins.many.keep(vec![at("work", &twins.home("other"))]).unwrap();
    known.until("it comes", |it| it.names() == ["box", "box@work"]).await;
    // What was drawn of the one that went is nobody's now.
    let fault = twins.many.remove(&old).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Absent, "{fault}");
    assert_eq!(known.all[1].0, HubNumber(2));
    // What stays the same is not touched.
    let same = || vec![at("work", &twins.home("other")), contact("no", Refusing)];
    twins.many.keep(same()).unwrap();
    let names: Vec<_> = seen_soon(&twins.many, 3).await;
    assert_eq!(names, [(0, "local"), (2, "work"), (3, "no")].map(|it| (it.0, it.1.to_owned())));
    assert!(is_up(&twins.many, HubNumber(2)));
    let many = (0..2 * HUBS_MAX).map(|it| contact(&format!("c{it}"), Refusing)).collect();
    let fault = twins.many.keep(many).unwrap_err();
    assert_eq!(fault.kind(), Kind::Invalid);
    assert_eq!(seen_soon(&twins.many, HUBS_MAX).await.len(), HUBS_MAX);
}

async fn seen_soon(many: &Many, count: usize) -> Vec<(u32, String)> {
    soon("so many hubs", || seen(many).len() == count).await;
    seen(many).into_iter().map(|it| (it.number.0, it.name)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_reached_and_tells_nothing_says_why() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let _hub = Hub::start(&home, Arc::new(engine(&home).await)).await;
    let (old, _client) = bare(PROTOCOL + 1).await;
    let many = Many::new(who("me").client, at("local", &home), None);
    many.keep(vec![contact("old", Socket(old.path().join("hub.sock")))]).unwrap();
    let _known = Known::of(&many).await;
    let silent = |it: HubNumber| seen(&many).into_iter().find(|of| of.number == it)?.silent;
    soon("it says why", || silent(WORK).is_some_and(|it| it.contains("protocol"))).await;
    assert!(is_up(&many, WORK) && silent(HubNumber::FIRST).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_lacks_a_hub_says_so_and_once() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let _hub = Hub::start(&home, Arc::new(engine(&home).await)).await;
    let many = Many::new(who("me").client, at("local", &home), None);
    many.keep(vec![contact("work", Mute)]).unwrap();
    soon("both are reached", || is_up(&many, HubNumber::FIRST) && is_up(&many, WORK)).await;
    let mut known = Known::of(&many).await;
    for _ in 0..2 {
        assert_eq!(many.snapshots().await.unwrap(), []);
    }
    assert_eq!(many.recordings().await.unwrap(), []);
    known.until("both are told", |it| it.notices.len() == 2).await;
    let told =
        |what: &str| format!("{what} of work are not in the list: it did not answer in time");
    assert_eq!(known.notices, [told("snapshots"), told("recordings")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_taken_out_is_let_go_of_and_one_that_comes_has_gauges() {
    let temp = tempfile::tempdir().unwrap();
    let (own, other) = (temp.path().join("own"), temp.path().join("other"));
    let mut hubs = Vec::new();
    for home in [&own, &other] {
        let engine = open(home, &FakeDriver::staged()).await.unwrap();
        hubs.push(Hub::start(home, Arc::new(engine)).await);
    }
    let held: Arc<Mutex<Vec<Weak<Client>>>> = Arc::default();
    let work = || contact("work", Held(Paths::under(&other).hub_socket(), held.clone()));
    let many = Many::new(who("me").client, at("local", &own), None);
    // Looked at before there is another.
    let mut rounds = many.gauges(GaugesWanted { only: Vec::new(), watch: true }).await.unwrap();
    let mut known = Known::of(&many).await;
    let mut lanes = Vec::new();
    for number in [WORK, HubNumber(2)] {
        many.keep(vec![work()]).unwrap();
        soon("it is reached", || is_up(&many, number)).await;
        let one = many.one(number).unwrap();
        if number == WORK {
            run(&*one, temp.path(), "box").await;
        }
        lanes.push(one);
        known.until("it is listed", |it| it.names() == ["box@work"]).await;
        let has = |of: &sandwatch::model::gauge::Gauges| {
            of.sandboxes.iter().any(|it| it.sandbox.hub() == number)
        };
        while !has(&next(&mut rounds, "its gauges").await.unwrap().unwrap()) {}
        many.keep(Vec::new()).unwrap();
        known.until("it goes", |it| it.names().is_empty()).await;
        soon("nobody holds it", || held.lock().unwrap().iter().all(|it| it.upgrade().is_none()))
            .await;
    }
    assert_eq!(held.lock().unwrap().len(), 2);
    assert_eq!(lanes[1].list().await.unwrap_err().kind(), Kind::Absent);
}
