//! Ten thousand sandboxes, and an engine that ends when it is dropped.

use sandwatch::{engine::demo, model::sandbox::State};

use crate::engine_support::{Instance, who};

#[tokio::test]
async fn ten_thousand_sandboxes_are_listed_in_order() {
    let temp = tempfile::tempdir().unwrap();
    let engine = demo(temp.path().join("home"), 10_000).await.unwrap();
    let client = engine.client(who("alice"));
    let all = client.list().await.unwrap();
    assert_eq!(all.len(), 10_000);
    assert!(all.windows(2).all(|it| it[0].created_at <= it[1].created_at));
    let hub = client.hub().await.unwrap();
    assert_eq!(hub.sandboxes, 10_000);
    assert!(hub.rss_bytes.unwrap() > 0);
}

#[tokio::test]
async fn the_demo_has_sandboxes_in_several_states() {
    let temp = tempfile::tempdir().unwrap();
    let engine = demo(temp.path().join("home"), 14).await.unwrap();
    let all = engine.client(who("alice")).list().await.unwrap();
    assert_eq!(all.len(), 14);
    for state in [State::Running, State::Paused, State::Stopped] {
        assert!(all.iter().any(|it| it.state == state), "{state:?}");
    }
}

#[tokio::test]
async fn every_program_ends_with_the_engine() {
    let mut it = Instance::new().await;
    it.run(&["count"]).await;
    let mut events = it.alice().events().await.unwrap();
    it.end();
    while let Some(event) = crate::engine_support::next(&mut events, "the end of the feed").await {
        event.unwrap();
    }
}
