//! What the next engine finds.

use sandwatch::{
    base::{id::SessionId, limits::SESSIONS_PER_SANDBOX_MAX},
    model::{
        event::{Event, Level},
        sandbox::{Sandbox, State},
        session::ExitStatus,
    },
    runtime::WaitFor,
};

use crate::engine_support::{Instance, SOON, next, rows, session, whole_output};

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
async fn of_many_sessions_the_oldest_ended_make_room_and_are_still_read_back() {
    let mut it = Instance::new().await;
    let sandbox = it.run(&["sh"]).await;
    let mut ids = vec![sandbox.sessions[0].id.clone()];
    for number in 2..=SESSIONS_PER_SANDBOX_MAX + 9 {
        let text = format!("echo printed $(({number})); exit 0");
        let opened = it.alice().open(&sandbox.id, session(&["sh", "-c", &text])).await.unwrap();
        it.alice().wait(&opened.id, WaitFor::Exit, Some(SOON)).await.unwrap();
        ids.push(opened.id);
        let listed = &it.alice().list().await.unwrap()[0].sessions;
        assert!(listed.len() <= SESSIONS_PER_SANDBOX_MAX, "{} after {number}", listed.len());
    }
    let kept = [&ids[..1], &ids[10..]].concat();
    let listed = |all: &[Sandbox]| -> Vec<SessionId> {
        all[0].sessions.iter().map(|it| it.id.clone()).collect()
    };
    assert_eq!(listed(&it.alice().list().await.unwrap()), kept);
    assert_eq!(it.alice().hub().await.unwrap().sessions as usize, kept.len());
    assert!(whole_output(it.alice(), &ids[1]).await.contains("printed"));
    it.restart().await;
    assert_eq!(listed(&it.alice().list().await.unwrap()), kept);
    assert!(whole_output(it.alice(), &ids[1]).await.contains("printed"));
    it.alice().remove(&sandbox.id).await.unwrap();
}

#[tokio::test]
async fn scrollback_that_is_no_recording_goes_with_its_session() {
    let it = Instance::new().await;
    let mut spec = it.spec(&["sh"]);
    spec.record = false;
    let sandbox = it.alice().create(spec).await.unwrap();
    for _ in 0..SESSIONS_PER_SANDBOX_MAX + 3 {
        let opened = it.alice().open(&sandbox.id, session(&["sh", "-c", "exit 0"])).await.unwrap();
        it.alice().wait(&opened.id, WaitFor::Exit, Some(SOON)).await.unwrap();
    }
    let kept = || std::fs::read_dir(it.paths().recordings()).unwrap().count();
    assert_eq!(kept(), SESSIONS_PER_SANDBOX_MAX);
    it.alice().remove(&sandbox.id).await.unwrap();
    assert_eq!(kept(), 0);
}

#[tokio::test]
async fn an_entry_of_the_registry_that_cannot_be_read_is_rebuilt_or_frees_its_name() {
    let mut it = Instance::new().await;
    let (told, lost) = (it.run(&["idle"]).await, it.run(&["idle"]).await);
    it.end();
    let registry = rusqlite::Connection::open(it.paths().registry()).unwrap();
    registry.busy_timeout(SOON).unwrap();
    registry.execute("UPDATE sandbox SET record = x'ff'", []).unwrap();
    drop(registry);
    std::fs::write(it.paths().sandbox_record(&lost.id), b"torn").unwrap();
    it.restart().await;
    let all = it.alice().list().await.unwrap();
    assert_eq!((all.len(), &all[0].id, &all[0].name), (1, &told.id, &told.name));
    assert_eq!(it.run(&["idle"]).await.name, lost.name);
    it.restart().await;
    assert_eq!(it.alice().list().await.unwrap().len(), 2);
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
