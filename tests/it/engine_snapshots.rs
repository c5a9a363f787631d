//! Snapshots as an engine keeps them: by themselves, pruned, and found again by the next.

use std::{fs, path::Path, sync::Arc, time::Duration};

use sandwatch::{
    config::paths::Paths,
    driver::{local::Local, registry::Registry},
    engine::{Engine, Options},
    model::{
        event::Event,
        sandbox::{SandboxSpec, WorkspaceMode},
        snapshot::SnapshotCause,
    },
    runtime::Runtime,
    wire::convert::snapshot::Stored,
};

use crate::given::{PROGRAM, found, next, spec, who};

async fn open(home: &Path) -> (Engine, Arc<dyn Runtime>) {
    let drivers = Registry::default().with(Local);
    let options = Options { paths: Paths::under(home), drivers, program: PROGRAM.into() };
    let engine = Engine::open(options).await.unwrap();
    let alice = engine.client(who("alice"));
    (engine, alice)
}

fn wanted(temp: &Path) -> SandboxSpec {
    let project = temp.join("project");
    fs::create_dir_all(&project).unwrap();
    let mut spec = spec("local", &project, &["/bin/sh", "-c", "sleep 1000"]);
    spec.workspace.mode = WorkspaceMode::Cow;
    spec
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_taken_by_themselves_go_with_their_sandbox_and_those_asked_for_stay() {
    let temp = tempfile::tempdir().unwrap();
    let (_engine, alice) = open(&temp.path().join("home")).await;
    let spec = SandboxSpec { snapshot_every: Some(Duration::from_secs(1)), ..wanted(temp.path()) };
    let sandbox = alice.create(spec).await.unwrap();
    let asked = alice.snapshot(&sandbox.id, None).await.unwrap();
    let newest = found("some were taken", async || {
        let all = alice.snapshots().await.unwrap();
        let by_itself = all.iter().filter(|it| it.cause == SnapshotCause::Timer).count();
        (by_itself >= 2).then(|| all.last().unwrap().clone())
    })
    .await;
    assert!(newest.parent.is_some());
    alice.remove(&sandbox.id).await.unwrap();
    let left = alice.snapshots().await.unwrap();
    assert_eq!(left.iter().map(|it| &it.id).collect::<Vec<_>>(), [&asked.id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_a_power_cut_may_have_torn_is_dropped_and_said() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let (engine, alice) = open(&home).await;
    let sandbox = alice.create(wanted(temp.path())).await.unwrap();
    let kept = alice.snapshot(&sandbox.id, Some("whole".to_owned())).await.unwrap();
    let torn = alice.snapshot(&sandbox.id, Some("torn".to_owned())).await.unwrap();
    let record = |id: &str| home.join("state/snapshots").join(id).join("record");
    found("both are on the disk", async || {
        let read = |id| Stored::decode(&fs::read(record(id)).unwrap()).unwrap();
        let synced = |id| read(id).unsynced_since.is_none().then_some(());
        synced(kept.id.as_str()).and(synced(torn.id.as_str()))
    })
    .await;
    drop((engine, alice));
    // As it was before that, and then the system started again.
    let path = record(torn.id.as_str());
    let mut stored = Stored::decode(&fs::read(&path).unwrap()).unwrap();
    stored.unsynced_since = Some("another start".to_owned());
    fs::write(&path, stored.encode()).unwrap();
    fs::create_dir(home.join("state/snapshots/.making-half")).unwrap();
    let (_engine, alice) = open(&home).await;
    let left = alice.snapshots().await.unwrap();
    assert_eq!(left.iter().map(|it| &it.id).collect::<Vec<_>>(), [&kept.id]);
    assert_eq!(alice.list().await.unwrap()[0].snapshots, 1);
    let mut events = alice.events().await.unwrap();
    loop {
        if let Event::Notice { notice, .. } = next(&mut events, "a notice").await.unwrap().unwrap()
            && notice.text.contains("is lost")
        {
            break;
        }
    }
    found("nothing of either is left", async || {
        let entries = fs::read_dir(home.join("state/snapshots")).unwrap().count();
        (entries == 1).then_some(())
    })
    .await;
    alice.remove(&sandbox.id).await.unwrap();
}
