//! What the next engine finds.

use sandwatch::model::{
    event::{Event, Level},
    sandbox::State,
    session::ExitStatus,
};

use crate::engine_support::{Instance, next, rows, whole_output};

#[tokio::test]
async fn the_next_engine_knows_every_sandbox_and_says_what_became_of_it() {
    let mut it = Instance::new().await;
    let done = it.run(&["sh", "-c", "echo kept; exit 4"]).await;
    let mut names = vec![done.name.clone(), it.run(&["idle"]).await.name];
    it.until("stopped", |all| all[0].state == State::Stopped).await;
    it.restart().await;
    let all = it.alice().list().await.unwrap();
    names.sort();
    assert_eq!(all.iter().map(|it| it.name.clone()).collect::<Vec<_>>(), names);
    assert_eq!(all[0].state, State::Stopped);
    assert_eq!(all[0].sessions[0].exit, Some(ExitStatus::Code(4)));
    assert_eq!(all[1].state, State::Failed);
    assert!(all[1].notes[0].contains("ended with the hub"), "{:?}", all[1].notes);
    let id = &done.sessions[0].id;
    assert!(whole_output(it.alice(), id).await.contains("kept"));
    assert_eq!(rows(it.alice(), id).await[0], "kept");
    for sandbox in &all {
        it.alice().remove(&sandbox.id).await.unwrap();
    }
    it.restart().await;
    assert_eq!(it.alice().list().await.unwrap(), []);
}

#[tokio::test]
async fn a_corrupt_registry_is_set_aside_and_rebuilt_from_what_is_there() {
    let mut it = Instance::new().await;
    let sandbox = it.run(&["idle"]).await;
    it.end();
    // Its thread folds the log in and closes the file a little later.
    while it.paths().state().join("registry.db-wal").exists() {
        tokio::task::yield_now().await;
    }
    std::fs::write(it.paths().registry(), vec![0x5a; 40_000]).unwrap();
    it.restart().await;
    let all = it.alice().list().await.unwrap();
    assert_eq!((all.len(), &all[0].id, &all[0].name), (1, &sandbox.id, &sandbox.name));
    let files = std::fs::read_dir(it.paths().state()).unwrap();
    let aside = files.filter_map(|it| it.ok()?.file_name().into_string().ok());
    assert_eq!(aside.filter(|it| it.starts_with("registry.db.corrupt-")).count(), 1);
}

#[tokio::test]
async fn what_happened_before_anybody_listened_is_still_told() {
    let mut it = Instance::new().await;
    it.run(&["idle"]).await;
    it.restart().await;
    let mut events = it.alice().events().await.unwrap();
    loop {
        let event = next(&mut events, "the notice").await.unwrap().unwrap();
        if let Event::Notice { notice, .. } = event {
            assert_eq!(notice.level, Level::Error);
            assert!(notice.text.contains("ended with the hub"), "{}", notice.text);
            break;
        }
    }
}
