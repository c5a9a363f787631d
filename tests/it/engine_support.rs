//! An engine over the fake driver in a directory of its own, and helpers to watch it.

use std::{path::PathBuf, sync::Arc};

use sandwatch::{
    base::{fault::Outcome, id::SessionId},
    config::paths::Paths,
    driver::{fake::FakeDriver, registry::Registry},
    engine::{Engine, Options},
    model::sandbox::{Sandbox, SandboxSpec},
    runtime::Runtime,
    vt::Screen,
};

use crate::given;
pub(crate) use crate::given::{SOON, next, session, who};

/// One instance: a home, a workspace, an engine, and the fake driver under it.
pub(crate) struct Instance {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) fake: FakeDriver,
    pub(crate) engine: Option<Engine>,
    client: Option<Arc<dyn Runtime>>,
}

impl Instance {
    pub(crate) async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("project")).unwrap();
        let fake = FakeDriver::default();
        let engine = open(&temp.path().join("home"), &fake).await.unwrap();
        let client = Some(engine.client(who("alice")));
        Self { temp, fake, engine: Some(engine), client }
    }

    /// Drops the engine and everything that holds it.
    pub(crate) fn end(&mut self) {
        (self.engine, self.client) = (None, None);
        self.fake = FakeDriver::default();
    }

    /// Ends the engine as a crash would, and starts the next one on the same directories.
    pub(crate) async fn restart(&mut self) {
        self.end();
        let engine = open(&self.home(), &self.fake).await.unwrap();
        self.client = Some(engine.client(who("alice")));
        self.engine = Some(engine);
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.temp.path().join("home")
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths::under(&self.home())
    }

    /// The first client.
    pub(crate) fn alice(&self) -> &dyn Runtime {
        self.client.as_deref().unwrap()
    }

    pub(crate) fn client(&self, name: &str) -> Arc<dyn Runtime> {
        self.engine.as_ref().unwrap().client(who(name))
    }

    pub(crate) fn spec(&self, command: &[&str]) -> SandboxSpec {
        given::spec("fake", &self.temp.path().join("project"), command)
    }

    pub(crate) async fn run(&self, command: &[&str]) -> Sandbox {
        self.alice().create(self.spec(command)).await.unwrap()
    }

    /// The newest picture of a sandbox once it is as wanted.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&[Sandbox]) -> bool) -> Vec<Sandbox> {
        given::found(what, async || {
            let all = self.alice().list().await.unwrap();
            so(&all).then_some(all)
        })
        .await
    }
}

pub(crate) async fn open(home: &std::path::Path, fake: &FakeDriver) -> Outcome<Engine> {
    Engine::open(Options {
        paths: Paths::under(home),
        drivers: Registry::default().with(fake.clone()),
        program: given::PROGRAM.into(),
    })
    .await
}

/// All bytes a session prints until its end, from the start.
pub(crate) async fn whole_output(runtime: &dyn Runtime, id: &SessionId) -> String {
    String::from_utf8_lossy(&given::printed(runtime, id).await).into_owned()
}

/// The rows a session shows now.
pub(crate) async fn rows(runtime: &dyn Runtime, id: &SessionId) -> Vec<String> {
    let shot = runtime.screen(id).await.unwrap();
    Screen::from_keyframe(shot.size, &shot.state).lines()
}

/// Waits until the screen shows a text.
pub(crate) async fn shows(runtime: &dyn Runtime, id: &SessionId, text: &str) {
    given::found(&format!("{text:?} on the screen"), async || {
        rows(runtime, id).await.iter().any(|it| it.contains(text)).then_some(())
    })
    .await;
}
