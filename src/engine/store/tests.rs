//! Tests of the registry on disk.

use super::*;
use crate::base::fault::Kind;

fn row(id: &str, name: &str, version: i64) -> Row {
    Row {
        id: id.to_owned(),
        name: name.to_owned(),
        driver: "fake".to_owned(),
        state: "running",
        created_at: 1,
        version,
        removing: false,
        spec: vec![1],
        record: vec![u8::try_from(version).unwrap()],
        sessions: vec![SessionRow {
            id: format!("{id}-s"),
            ordinal: 1,
            lease_holder: None,
            exit_code: None,
            record: vec![2],
        }],
    }
}

#[tokio::test]
async fn whoever_looks_much_holds_up_no_change() {
    let store = Store::open(None).await.unwrap().store;
    let done = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let done = std::sync::Arc::clone(&done);
        move |_: &mut Connection| {
            done.lock().unwrap().push(what);
            Ok(())
        }
    };
    // The thread is busy while all of them are queued.
    let (go, held) = std::sync::mpsc::sync_channel::<()>(1);
    let first = store.look("holding", move |_| {
        held.recv().ok();
        Ok(())
    });
    let looks =
        async { tokio::join!(store.look("x", note("look")), store.look("x", note("look"))) };
    let change = async {
        tokio::task::yield_now().await;
        let change = store.run("x", note("change"));
        let (changed, ()) = tokio::join!(change, async {
            go.send(()).ok();
        });
        changed
    };
    let _all = tokio::join!(first, looks, change);
    assert_eq!(*done.lock().unwrap(), ["change", "look", "look"]);
}

#[tokio::test]
async fn rows_come_back_newest_version_only() {
    let store = Store::open(None).await.unwrap().store;
    store.insert(row("a", "one", 1)).await.unwrap();
    store.update(row("a", "one", 3)).await.unwrap();
    store.update(row("a", "one", 2)).await.unwrap();
    store.update(row("b", "never", 9)).await.unwrap();
    let kept = store.load().await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].version, &kept[0].record), (3, &vec![3]));
    assert_eq!(kept[0].sessions, [vec![2]]);
    assert_eq!(store.insert(row("c", "one", 1)).await.unwrap_err().kind(), Kind::Busy);
    let mut fewer = row("a", "one", 4);
    fewer.sessions[0].id = "another".to_owned();
    store.update(fewer).await.unwrap();
    assert_eq!(store.load().await.unwrap()[0].sessions.len(), 1);
    store.delete("a".to_owned()).await.unwrap();
    assert_eq!(store.load().await.unwrap(), []);
}

fn ask(id: &str, sandbox: &str, at: i64, state: &'static str, bytes: usize) -> AskRow {
    let (id, sandbox) = (id.to_owned(), sandbox.to_owned());
    AskRow { record: id.clone().into_bytes().repeat(bytes), id, sandbox, created_at: at, state }
}

#[tokio::test]
async fn no_sandbox_drives_out_the_asks_of_another_and_what_holds_on_stays() {
    let store = Store::open(None).await.unwrap().store;
    store.put_ask(ask("o", "other", 1, "allowed", 1), None, None).await.unwrap();
    store.put_ask(ask("s", "flood", 2, "allowed", 1), None, None).await.unwrap();
    store.put_ask(ask("d", "flood", 3, "denied", 1), None, None).await.unwrap();
    store.put_ask(ask("w", "flood", 4, "pending", 1), None, None).await.unwrap();
    for at in 0..50 {
        store
            .put_ask(ask(&format!("{at:02}"), "flood", 10 + at, "expired", 1), None, None)
            .await
            .unwrap();
    }
    let ids = async |store: &Store| -> Vec<String> {
        let all = store.asks(usize::MAX, usize::MAX).await.unwrap();
        all.into_iter().map(|it| String::from_utf8(it).unwrap()).collect()
    };
    store.forget_asks((4, 1000), (1000, 1000), "[]".to_owned()).await.unwrap();
    // What somebody decided stays longer than what nobody did; what waits is no matter of this.
    assert_eq!(ids(&store).await, ["49", "48", "d", "s", "o"]);
    assert_eq!(store.pending_asks().await.unwrap().len(), 1);
    store.forget_asks((1, 1000), (3, 1000), r#"["s"]"#.to_owned()).await.unwrap();
    assert_eq!(ids(&store).await, ["d", "s", "o"]);
    // By their bytes, too.
    store.put_ask(ask("big", "flood", 99, "denied", 100), None, None).await.unwrap();
    store.forget_asks((9, 200), (9, 1000), "[]".to_owned()).await.unwrap();
    assert_eq!(ids(&store).await, ["o"]);
    // A list is cut at its bytes, newest first.
    for at in 0..9 {
        store
            .put_ask(ask(&format!("{at}"), "third", 200 + at, "denied", 10), None, None)
            .await
            .unwrap();
    }
    assert_eq!(store.asks(100, 35).await.unwrap().len(), 3);
    assert_eq!(store.asks(2, 1000).await.unwrap().len(), 2);
    let some = store.asks_by_id(vec!["o".to_owned(), "none".to_owned()]).await.unwrap();
    assert_eq!(some, [b"o".to_vec()]);
}

#[tokio::test]
async fn rules_are_counted_with_the_decision_that_they_made_and_with_no_other() {
    let store = Store::open(None).await.unwrap().store;
    let answered = |at| {
        Some(Answered { rules: vec![("policy.toml".to_owned(), "x".to_owned())], at, times: 1 })
    };
    store.put_ask(ask("a", "box", 1, "denied", 1), None, answered(1)).await.unwrap();
    store.put_ask(ask("b", "box", 2, "allowed", 1), None, answered(2)).await.unwrap();
    // It was decided: nothing is written, and nothing counted.
    store.put_ask(ask("a", "box", 1, "allowed", 1), None, answered(3)).await.unwrap();
    let hits = store.rule_hits().await.unwrap();
    assert_eq!(hits.iter().map(|it| (it.hits, it.last_at)).collect::<Vec<_>>(), [(2, 2)]);
}

#[tokio::test]
async fn a_registry_of_a_newer_version_is_refused_in_words_and_left_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("registry.db");
    drop(Store::open(Some(path.clone())).await.unwrap());
    let newer = i64::try_from(MIGRATIONS.len()).unwrap() + 1;
    let connection = Connection::open(&path).unwrap();
    connection.busy_timeout(STORE_BUSY_WITHIN).unwrap();
    connection.pragma_update(None, "user_version", newer).unwrap();
    let fault = Store::open(Some(path.clone())).await.err().unwrap();
    assert_eq!(fault.kind(), Kind::Unsupported);
    assert!(fault.message().contains("newer version") && fault.hint_text().is_some(), "{fault}");
    let kept: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(kept, newer);
}

#[tokio::test]
async fn a_damaged_database_is_set_aside_whole() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("registry.db");
    std::fs::write(&path, b"this is no database, it is a text of some length. ".repeat(100))
        .unwrap();
    let opened = Store::open(Some(path.clone())).await.unwrap();
    let aside = opened.set_aside.unwrap();
    assert!(std::fs::read(aside).unwrap().starts_with(b"this is no database"));
    opened.store.insert(row("a", "one", 1)).await.unwrap();
    drop(opened.store);
    assert_eq!(Store::open(Some(path)).await.unwrap().set_aside, None);
}

#[tokio::test]
async fn a_page_overwritten_in_the_middle_is_found_at_the_start() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("registry.db");
    let store = Store::open(Some(path.clone())).await.unwrap().store;
    for index in 0..200 {
        let mut row = row(&format!("id{index}"), &format!("name{index}"), 1);
        row.spec = vec![7; 3000];
        store.insert(row).await.unwrap();
    }
    store
        .run("folding the log in", |it| {
            it.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        })
        .await
        .unwrap();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 8192].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    // The thread of the first store may still be closing its file; that changes nothing here.
    assert!(Store::open(Some(path)).await.unwrap().set_aside.is_some());
}
