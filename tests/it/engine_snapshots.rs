//! Snapshots as an engine keeps them: by themselves, pruned, and found again by the next.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sandwatch::{
    base::{fault::Kind, id::SnapshotId},
    config::paths::Paths,
    driver::{local::Local, registry::Registry},
    engine::{Engine, Options},
    model::{
        change::Subject,
        sandbox::{SandboxSpec, State, WorkspaceMode},
        snapshot::{SnapshotCause, SnapshotKind},
    },
    runtime::{Fork, Runtime},
};

use crate::given::{PROGRAM, found, spec, who};

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
    let asked = alice.snapshot(&sandbox.id, None, SnapshotKind::Filesystem).await.unwrap();
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
async fn what_was_cut_short_is_cleared_up_and_the_whole_ones_are_found_again() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let (engine, alice) = open(&home).await;
    let sandbox = alice.create(wanted(temp.path())).await.unwrap();
    let before = alice.snapshot(&sandbox.id, None, SnapshotKind::Filesystem).await.unwrap();
    let kept = alice
        .snapshot(&sandbox.id, Some("whole".to_owned()), SnapshotKind::Filesystem)
        .await
        .unwrap();
    assert_eq!(kept.parent, Some(before.id.clone()));
    drop((engine, alice));
    let root = home.join("state/snapshots");
    // As if killed before it told the next one of it.
    fs::remove_dir_all(root.join(before.id.as_str())).unwrap();
    for half in [".making-half".to_owned(), format!(".making-{}", SnapshotId::random())] {
        fs::create_dir_all(root.join(half).join("upper/deep")).unwrap();
    }
    fs::create_dir(root.join(format!(".trash-{}", SnapshotId::random()))).unwrap();
    let (_engine, alice) = open(&home).await;
    let left = alice.snapshots().await.unwrap();
    assert_eq!(left.iter().map(|it| (&it.id, &it.parent)).collect::<Vec<_>>(), [(&kept.id, &None)]);
    assert_eq!(alice.list().await.unwrap()[0].snapshots, 1);
    found("nothing of what was cut short is left", async || {
        (fs::read_dir(&root).unwrap().count() == 1).then_some(())
    })
    .await;
    alice.remove(&sandbox.id).await.unwrap();
}

/// Removes every snapshot that it sees, until it is told to end.
async fn remove_all(runtime: Arc<dyn Runtime>, end: Arc<AtomicBool>) {
    while !end.load(Relaxed) {
        for it in runtime.snapshots().await.unwrap() {
            match runtime.remove_snapshot(&it.id).await {
                Err(fault) if fault.kind() != Kind::Absent => panic!("{fault}"),
                _ => {}
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sandbox_goes_back_or_branches_from_stays_whoever_removes_it_meanwhile() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let (_engine, alice) = open(&home).await;
    let sandbox = alice.create(wanted(temp.path())).await.unwrap();
    for _ in 0..5 {
        let kept = alice.snapshot(&sandbox.id, None, SnapshotKind::Filesystem).await.unwrap();
        let end = Arc::<AtomicBool>::default();
        let remover = tokio::spawn(remove_all(Arc::clone(&alice), Arc::clone(&end)));
        let restored = alice.restore(&sandbox.id, Some(&kept.id)).await;
        let forked = alice.fork(Subject::Sandbox(sandbox.id.clone()), Fork::default()).await;
        end.store(true, Relaxed);
        remover.await.unwrap();
        // It may have been gone before; what it is to be made as again never is.
        assert!(restored.is_ok() || restored.is_err_and(|it| it.kind() == Kind::Absent));
        let now = alice.list().await.unwrap().remove(0);
        assert_eq!((now.state, &now.notes), (State::Running, &Vec::new()));
        let forked = forked.unwrap();
        assert_eq!(forked.state, State::Running);
        alice.remove(&forked.id).await.unwrap();
    }
    alice.remove(&sandbox.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moment_that_somebody_removes_while_it_is_gone_back_to_stays_until_that_is_done() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let (_engine, alice) = open(&home).await;
    let sandbox = alice.create(wanted(temp.path())).await.unwrap();
    for _ in 0..5 {
        let kept = alice.snapshot(&sandbox.id, None, SnapshotKind::Filesystem).await.unwrap();
        let (restored, removed) = tokio::join!(
            alice.restore(&sandbox.id, Some(&kept.id)),
            alice.remove_snapshot(&kept.id)
        );
        // Whichever came first: either it is gone and nothing was restored, or it is stood on.
        removed.unwrap();
        let now = alice.list().await.unwrap().remove(0);
        assert_eq!(now.state, State::Running, "{:?}", now.notes);
        match restored {
            Ok(_) => assert_eq!(now.moment, Some(kept.id.clone())),
            Err(fault) => assert_eq!(fault.kind(), Kind::Absent, "{fault}"),
        }
        assert!(alice.snapshots().await.unwrap().iter().all(|it| it.id != kept.id));
    }
    alice.remove(&sandbox.id).await.unwrap();
    found("nothing of them is left", async || {
        (fs::read_dir(home.join("state/snapshots")).unwrap().count() == 0).then_some(())
    })
    .await;
}
