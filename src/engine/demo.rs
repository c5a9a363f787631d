//! A fleet of scripted sandboxes for `sandwatch demo`, tests and benchmarks: no process, no
//! registry on disk.

mod asks;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{Engine, Options, adopt::first_report, fleet::Entry, follow, record};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{ClientId, SandboxId, SessionId},
        units::Size,
    },
    config::paths::Paths,
    driver::{Driver, fake::FakeDriver, registry::Registry},
    model::sandbox::{Isolation, Sandbox, SandboxSpec, State, Workspace, WorkspaceMode},
    model::session::{ExitStatus, Session, SessionSpec, Status},
    model::snapshot::SnapshotKind,
    runtime::{Identity, Runtime},
    session::{house::House, seat::Seat},
};

/// Name, command, team, and what is done to it after it started.
const CAST: [(&str, &str, &str, Fate); 14] = [
    ("api-refactor", "claude", "api", Fate::Works),
    ("docs-site", "codex", "docs", Fate::Works),
    ("crawler", "crawler", "data", Fate::Works),
    ("web-shop", "cargo", "web", Fate::Works),
    ("pair", "aider", "api", Fate::Works),
    ("scratch", "bash", "", Fate::Works),
    ("editor", "vim", "web", Fate::Works),
    ("nightly", "opencode", "ci", Fate::Paused),
    ("reviewer", "gemini", "ci", Fate::Works),
    ("watchdog", "counter", "ci", Fate::Works),
    ("standby", "less", "", Fate::Works),
    ("report", "report", "data", Fate::Works),
    ("migration", "migrate", "data", Fate::Works),
    ("old-branch", "bash", "web", Fate::Stopped),
];

/// What becomes of a member of the cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Works,
    Paused,
    Stopped,
}

/// Makes an engine with about 14 living sandboxes, and as many at rest as are missing to `fleet`.
/// Recordings and the like go under `home`, which the caller makes and deletes.
pub async fn demo(home: PathBuf, fleet: usize) -> Outcome<Engine> {
    let paths = Paths::under(&home);
    paths.prepare()?;
    // There has to be one; nothing here looks into it.
    let project = home.join("project");
    std::fs::create_dir_all(&project)
        .map_err(|error| Fault::io(format_args!("make {}", project.display()), &error))?;
    let fake = FakeDriver::staged();
    let options = Options {
        paths,
        drivers: Registry::default().with(fake.clone()),
        // Never started: no driver here has shims.
        program: PathBuf::new(),
    };
    let engine = Engine::over(options, None).await?;
    let director = Identity { client: ClientId::random(), name: "demo".to_owned(), peer: None };
    let runtime = engine.client(director);
    for member in CAST.iter().take(fleet) {
        stage(&engine, &fake, runtime.as_ref(), member, &project).await?;
    }
    for number in CAST.len()..fleet {
        engine.rest(number, &fake, &project)?;
    }
    Ok(engine)
}

async fn stage(
    engine: &Engine,
    fake: &FakeDriver,
    runtime: &dyn Runtime,
    member: &(&str, &str, &str, Fate),
    project: &Path,
) -> Outcome<()> {
    let (name, command, team, fate) = *member;
    let spec = spec(name, command, team, project);
    let sandbox = match asks::ASKING.contains(&name) {
        true => engine.ask(fake, spec).await?,
        false => runtime.create(spec).await?,
    };
    if name == "api-refactor" {
        for kept in ["green", "retries"] {
            runtime.snapshot(&sandbox.id, Some(kept.to_owned()), SnapshotKind::Filesystem).await?;
        }
        let shell = SessionSpec { command: vec!["bash".to_owned()], ..first("bash") };
        runtime.open(&sandbox.id, shell).await?;
    }
    match fate {
        Fate::Works => Ok(()),
        Fate::Paused => runtime.pause(&sandbox.id).await,
        Fate::Stopped => runtime.stop(&sandbox.id, Duration::ZERO).await,
    }
}

fn first(command: &str) -> SessionSpec {
    SessionSpec {
        command: vec![command.to_owned()],
        cwd: None,
        env: Vec::new(),
        size: Size::DEFAULT,
    }
}

fn spec(name: &str, command: &str, team: &str, project: &Path) -> SandboxSpec {
    let labels = BTreeMap::from([("team".to_owned(), team.to_owned())]);
    let workspace = Workspace { path: project.to_owned(), mode: WorkspaceMode::Cow };
    SandboxSpec {
        name: Some(name.to_owned()),
        labels: if team.is_empty() { BTreeMap::new() } else { labels },
        record: true,
        first: first(command),
        ..SandboxSpec::bare("fake", workspace)
    }
}

fn sandbox(
    id: SandboxId,
    spec: &SandboxSpec,
    driver: &FakeDriver,
    state: State,
    created_at: Timestamp,
) -> Sandbox {
    Sandbox {
        id,
        name: spec.name.clone().unwrap_or_default(),
        driver: spec.driver.clone(),
        state,
        raw_state: None,
        isolation: Some(Isolation::None),
        created_at,
        labels: spec.labels.clone(),
        workspace: spec.workspace.clone(),
        egress: spec.egress,
        limits: spec.limits,
        capabilities: driver.capabilities(),
        sessions: Vec::new(),
        asks: Vec::new(),
        notes: Vec::new(),
        stop_asked: false,
        snapshots: 0,
        moment: None,
        writes: 0,
    }
}

impl Engine {
    /// Adds a sandbox that has done its work: listed like any other, at the cost of its facts.
    fn rest(&self, number: usize, driver: &FakeDriver, project: &Path) -> Outcome<()> {
        const COMMANDS: [&str; 4] = ["claude", "codex", "aider", "bash"];
        const TEAMS: [&str; 5] = ["api", "web", "data", "docs", "ci"];
        let pick = |list: &[&'static str]| list.get(number % list.len()).copied().unwrap_or("sh");
        let (command, team) = (pick(&COMMANDS), pick(&TEAMS));
        let spec = spec(&format!("agent-{number:05}"), command, team, project);
        let failed = number.is_multiple_of(7);
        let id = SandboxId::random();
        let began = Timestamp(clock::wall().0 - i64::try_from(number).unwrap_or(0) * 1000);
        let session = Session {
            id: SessionId::random(),
            sandbox: id.clone(),
            ordinal: 1,
            command: vec![command.to_owned()],
            status: Status::Exited,
            status_why: if failed { "exited with code 1" } else { "exited with code 0" }.to_owned(),
            status_since: None,
            pid: None,
            size: Size::DEFAULT,
            title: Some(format!("{command}: task {number}")),
            started_at: began,
            exit: Some(ExitStatus::Code(i32::from(failed))),
            exited_at: Some(Timestamp(began.0 + 60_000)),
            lease: None,
            output_bytes: 10_000,
            last_output_at: Some(Timestamp(began.0 + 60_000)),
            journal_lost_bytes: 0,
            bells: 0,
            recording: false,
            asking: None,
        };
        let state = if failed { State::Failed } else { State::Stopped };
        let mut sandbox = sandbox(id, &spec, driver, state, began);
        sandbox.sessions.push(session);
        self.inner.fleet().add(Entry::new(sandbox, spec))
    }

    /// Makes one whose programs ask: like any other, but for a hand on its house.
    async fn ask(&self, driver: &FakeDriver, spec: SandboxSpec) -> Outcome<Sandbox> {
        let inner = &self.inner;
        let id = SandboxId::random();
        let made = sandbox(id.clone(), &spec, driver, State::Creating, clock::wall());
        let name = made.name.clone();
        inner.fleet().add(Entry::new(made, spec.clone()))?;
        let row = record::row(inner.fleet().get(&id)?);
        inner.store.insert(row).await?;
        let ground = inner.ground(&id, &name);
        tokio::fs::create_dir_all(&ground.dir)
            .await
            .map_err(|error| Fault::io(format_args!("make {}", ground.dir.display()), &error))?;
        inner.write_record(&id).await?;
        let place = driver.create(&ground, &spec).await?;
        let house = House::new(ground, place, inner.paths.recordings(), spec.record);
        let house = Arc::new(house);
        inner.fleet().get_mut(&id)?.seat = Some(house.clone());
        let mut events = house.events().await?;
        let report = first_report(&mut events).await?;
        let session = house.open(SessionId::random(), spec.first.clone()).await?;
        asks::ask(&name, &house, &session.id);
        {
            let mut fleet = inner.fleet();
            let sandbox = fleet.get_mut(&id)?.sandbox_mut();
            follow::apply(sandbox, report);
            sandbox.state = State::Running;
            sandbox.sessions.push(session);
        }
        inner.touch(&id);
        inner.persist(&id).await?;
        inner.follow(id.clone(), events);
        Ok(inner.fleet().get(&id)?.sandbox.as_ref().clone())
    }
}
