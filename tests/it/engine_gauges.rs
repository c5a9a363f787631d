//! Gauges of a hub with a driver that does not answer.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use sandwatch::{
    base::fault::Outcome,
    config::paths::Paths,
    driver::{
        Driver, Ground, Hosting, Meter, Metered, Place, fake::FakeDriver, registry::Registry,
    },
    engine::{Engine, Options},
    model::{capability::Capabilities, check::Check, gauge::GaugesWanted, sandbox::SandboxSpec},
};

use crate::given::{self, next, who};

/// The fake one under another name, whose meter hangs; how often it was asked.
struct Hangs(FakeDriver, Arc<AtomicU32>);

struct Never(Arc<AtomicU32>);

#[async_trait]
impl Meter for Never {
    async fn read(&mut self, _: &[Ground], _: bool) -> Vec<Outcome<Metered>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

#[async_trait]
impl Driver for Hangs {
    fn name(&self) -> &'static str {
        "hangs"
    }
    fn hosting(&self) -> Hosting {
        self.0.hosting()
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    async fn probe(&self) -> Vec<Check> {
        Vec::new()
    }
    async fn create(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<Arc<dyn Place>> {
        self.0.create(ground, spec).await
    }
    async fn sweep(&self, ground: &Ground) -> Outcome<()> {
        self.0.sweep(ground).await
    }
    fn meter(&self) -> Option<Box<dyn Meter>> {
        Some(Box::new(Never(Arc::clone(&self.1))))
    }
}

#[tokio::test]
async fn a_driver_that_does_not_answer_holds_up_no_other_and_is_asked_once() {
    let temp = tempfile::tempdir().unwrap();
    let project = temp.path().join("project");
    std::fs::create_dir(&project).unwrap();
    let asked = Arc::default();
    let hangs = Hangs(FakeDriver::default(), Arc::clone(&asked));
    let engine = Engine::open(Options {
        paths: Paths::under(&temp.path().join("home")),
        drivers: Registry::default().with(FakeDriver::staged()).with(hangs),
        program: given::PROGRAM.into(),
    });
    let client = engine.await.unwrap().client(who("alice"));
    let make = |driver: &str| client.create(given::spec(driver, &project, &["count"]));
    let (answers, silent) = (make("fake").await.unwrap(), make("hangs").await.unwrap());
    let watched = GaugesWanted { only: Vec::new(), watch: true };
    let mut rounds = client.gauges(watched).await.unwrap();
    let mut last = None;
    for _ in 0..3 {
        let round = next(&mut rounds, "a round").await.unwrap().unwrap();
        let at = |id| round.sandboxes.iter().find(|it| it.sandbox == id).map(|it| it.at);
        let now = at(answers.id.clone());
        assert!(now.is_some() && now > last, "{now:?} after {last:?}");
        assert_eq!(at(silent.id.clone()), None);
        last = now;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
