//! The driver `docker` where an engine answers too late, never again, or has something of somebody else's: what it
//! was asked for is not left behind, and what it has of others is not touched.

use std::{sync::Arc, time::Duration};

use sandwatch::{
    base::{
        fault::Kind,
        id::{SandboxId, SnapshotId},
    },
    config::paths::Paths,
    driver::{ASK_DIR, Driver, Ground, Place, Shelf, Stillness, docker::Docker},
    model::sandbox::SandboxSpec,
};

use crate::{
    docker_between::Between,
    docker_stage::{Engine, IMAGE, can, name_engine_at},
    given::{SOON, session, soon, spec},
};

/// A sandbox that is not made yet, at an engine with somebody in between.
struct Stage {
    temp: tempfile::TempDir,
    between: Between,
    ground: Ground,
    spec: SandboxSpec,
}

impl Stage {
    fn new(name: &str) -> Option<Self> {
        if !can() {
            return None;
        }
        let temp = tempfile::tempdir().unwrap();
        let paths = Paths::under(&temp.path().join("home"));
        paths.prepare().unwrap();
        let project = temp.path().join("project");
        std::fs::create_dir(&project).unwrap();
        let id = SandboxId::random();
        let ground = Ground { dir: paths.sandbox(&id), id, name: name.to_owned(), from: None };
        std::fs::create_dir(&ground.dir).unwrap();
        let between = Between::new(Engine::shared().socket());
        let mut spec = spec("docker", &project, &["sh"]);
        name_engine_at(&ground, &mut spec, &between.url());
        Some(Self { temp, between, ground, spec })
    }

    async fn make(&self) -> Arc<dyn Place> {
        Docker.create(&self.ground, &self.spec).await.unwrap()
    }

    fn containers(&self) -> Vec<String> {
        Engine::shared().containers(&self.ground.name)
    }

    /// Gives a call up as soon as a request of it is held back.
    async fn cut_off<T>(&self, held: &'static [&'static str], call: impl Future<Output = T>) {
        self.between.hold(held);
        tokio::select! {
            _ = call => panic!("done without {held:?}"),
            () = soon("a request is held back", || self.between.holds()) => {}
        }
    }
}

#[tokio::test]
async fn a_container_that_is_made_too_late_is_removed_all_the_same() {
    let Some(stage) = Stage::new("too-late") else { return };
    let making = Docker.create(&stage.ground, &stage.spec);
    stage.cut_off(&["POST", "/containers/create"], making).await;
    let fault = Docker.sweep(&stage.ground).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Late, "{fault}");
    assert!(stage.ground.dir.exists(), "nobody would know of it any more");
    stage.between.release();
    soon("it is made", || !stage.containers().is_empty()).await;
    Docker.sweep(&stage.ground).await.unwrap();
    assert_eq!(stage.containers(), Vec::<String>::new());
    assert!(!stage.ground.dir.exists());
}

#[tokio::test]
async fn a_container_that_may_have_been_made_is_not_made_once_more() {
    let Some(stage) = Stage::new("unheard") else { return };
    // Its programs are to ask: where an engine refuses that, it is asked once more without.
    std::fs::create_dir(stage.ground.dir.join(ASK_DIR)).unwrap();
    stage.between.keep_answers(&["POST", "/containers/create"]);
    let Err(fault) = Docker.create(&stage.ground, &stage.spec).await else { panic!("made") };
    assert_eq!(fault.kind(), Kind::Lost, "{fault}");
    // What it made is found, and nothing is left of it.
    assert_eq!(stage.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn an_image_that_is_made_too_late_is_let_go_of_all_the_same() {
    let Some(stage) = Stage::new("late-image") else { return };
    let place = stage.make().await;
    let id = SnapshotId::random();
    let shelf = Shelf { dir: stage.temp.path().join("shelf"), id, reference: None };
    std::fs::create_dir(&shelf.dir).unwrap();
    let taking = Docker.snapshot(&stage.ground, &stage.spec, &shelf, None, Stillness::Stopped);
    stage.cut_off(&["POST", "/commit"], taking).await;
    let fault = Docker.forget(&shelf).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Late, "{fault}");
    stage.between.release();
    let there = || {
        !Engine::shared()
            .said(&["images", "-q", &format!("sandwatch-snapshot:{}", shelf.id)])
            .is_empty()
    };
    soon("it is made", there).await;
    Docker.forget(&shelf).await.unwrap();
    assert!(!there());
    Docker.forget(&Shelf { dir: stage.temp.path().join("project"), ..shelf }).await.unwrap();
    place.remove().await.unwrap();
}

#[tokio::test]
async fn a_program_whose_start_was_given_up_is_ended() {
    let Some(stage) = Stage::new("given-up") else { return };
    let place = stage.make().await;
    let container = stage.containers().remove(0);
    let running = || {
        let line = "ps | grep -c '[s]leep 54321' || :";
        Engine::shared().said(&["exec", &container, "sh", "-c", line]) != "0"
    };
    let program = session(&["sh", "-c", "sleep 54321 & sleep 54321"]);
    stage.cut_off(&["GET", "/exec/", "/json"], place.exec(&program)).await;
    soon("it runs", running).await;
    stage.between.release();
    soon("it is ended", || !running()).await;
    place.remove().await.unwrap();
}

#[tokio::test]
async fn a_stop_that_was_given_up_hides_no_end() {
    let Some(stage) = Stage::new("half-stopped") else { return };
    let place = stage.make().await;
    stage.cut_off(&["POST", "/kill"], place.stop(Duration::ZERO)).await;
    stage.between.release();
    let reason = tokio::time::timeout(SOON, place.gone()).await.expect("nobody is told");
    assert!(reason.contains("137"), "{reason}");
    place.remove().await.unwrap();
}

#[tokio::test]
async fn what_an_engine_has_that_never_comes_back_can_be_given_up() {
    let Some(stage) = Stage::new("given-away") else { return };
    let place = stage.make().await;
    let container = stage.containers().remove(0);
    stage.between.gone();
    let trace = stage.ground.dir.join("docker.json");
    for fault in [place.remove().await.unwrap_err(), Docker.sweep(&stage.ground).await.unwrap_err()]
    {
        assert_eq!(fault.kind(), Kind::Lost, "{fault}");
        let hint = fault.hint_text().unwrap();
        for word in [trace.to_str().unwrap(), "sandwatch-given-away-"] {
            assert!(hint.contains(word), "no {word} in {hint}");
        }
    }
    std::fs::remove_file(trace).unwrap();
    place.remove().await.unwrap();
    Docker.sweep(&stage.ground).await.unwrap();
    assert!(!stage.ground.dir.exists());
    Engine::shared().said(&["rm", "-f", &container]);
}

#[tokio::test]
async fn a_container_of_somebody_else_is_left_alone() {
    let Some(stage) = Stage::new("not-mine") else { return };
    let id: String = stage.ground.id.as_str().chars().take(8).collect();
    let name = format!("sandwatch-not-mine-{id}");
    let label = format!("sandwatch.sandbox={}", stage.ground.id);
    let engine = Engine::shared();
    let theirs = engine.said(&["create", "--name", &name, "--label", &label, IMAGE, "true"]);
    let Err(fault) = Docker.create(&stage.ground, &stage.spec).await else { panic!("made") };
    assert_eq!(fault.kind(), Kind::Busy, "{fault}");
    // Not even where it is taken for the sandbox's own.
    let trace = serde_json::json!({
        "engine": { "url": stage.between.url(), "tls": null }, "container": theirs,
    });
    std::fs::write(stage.ground.dir.join("docker.json"), trace.to_string()).unwrap();
    Docker.reap(&stage.ground).await.unwrap();
    Docker.sweep(&stage.ground).await.unwrap();
    assert_eq!(engine.said(&["inspect", "-f", "{{.State.Status}}", &theirs]), "created");
    engine.said(&["rm", &theirs]);
}
