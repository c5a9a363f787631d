//! Who may type, through the engine.

use sandwatch::{
    base::{fault::Kind, units::Size},
    model::{audit::AuditRequest, timeline::TimelineRequest},
    runtime::{LeaseVerb, Nudge},
};
use tokio_stream::StreamExt;

use crate::engine_support::{Instance, shows, who};

#[tokio::test]
async fn typing_takes_a_free_keyboard_and_others_are_refused_by_name() {
    let it = Instance::new().await;
    let sandbox = it.run(&["sh"]).await;
    let id = &sandbox.sessions[0].id;
    let bob = it.client("bob");
    it.alice().input(id, "echo from-alice\r".into()).await.unwrap();
    shows(it.alice(), id, "from-alice").await;
    let fault = bob.input(id, "echo from-bob\r".into()).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Busy);
    assert!(fault.message().contains("alice"), "{fault}");
    let seen = it.until("the lease", |all| all[0].sessions[0].lease.is_some()).await;
    assert_eq!(seen[0].sessions[0].lease.as_ref().unwrap().holder_name, "alice");
    bob.lease(id, LeaseVerb::TakeOver).await.unwrap();
    assert_eq!(it.alice().input(id, "x".into()).await.unwrap_err().kind(), Kind::Busy);
    bob.input(id, "echo from-bob\r".into()).await.unwrap();
    shows(bob.as_ref(), id, "from-bob").await;
}

#[tokio::test]
async fn a_client_that_is_gone_holds_nothing() {
    let it = Instance::new().await;
    let sandbox = it.run(&["sh"]).await;
    let id = &sandbox.sessions[0].id;
    let bob = it.client("bob");
    bob.lease(id, LeaseVerb::Take).await.unwrap();
    assert!(it.alice().lease(id, LeaseVerb::Take).await.is_err());
    it.engine.as_ref().unwrap().client_gone(&who("bob").client);
    assert!(it.alice().lease(id, LeaseVerb::Take).await.unwrap().is_some());
    assert_eq!(it.alice().lease(id, LeaseVerb::Release).await.unwrap(), None);
}

#[tokio::test]
async fn an_observer_never_resizes() {
    let it = Instance::new().await;
    let sandbox = it.run(&["sh"]).await;
    let id = &sandbox.sessions[0].id;
    it.alice().lease(id, LeaseVerb::Take).await.unwrap();
    it.client("bob").resize(id, Size::clamped(30, 10)).await.unwrap();
    assert_eq!(it.alice().screen(id).await.unwrap().size, Size::DEFAULT);
    it.alice().resize(id, Size::clamped(100, 30)).await.unwrap();
    it.alice().input(id, "stty size\r".into()).await.unwrap();
    shows(it.alice(), id, "30 100").await;
    it.until("the new size", |all| all[0].sessions[0].size == Size::clamped(100, 30)).await;
}

#[tokio::test]
async fn the_last_of_two_sizes_is_the_one_even_before_the_first_is_reported() {
    let it = Instance::new().await;
    let sandbox = it.run(&["sh"]).await;
    let id = &sandbox.sessions[0].id;
    it.alice().resize(id, Size::clamped(100, 30)).await.unwrap();
    it.alice().resize(id, Size::DEFAULT).await.unwrap();
    assert_eq!(it.alice().screen(id).await.unwrap().size, Size::DEFAULT);
}

#[tokio::test]
async fn an_ended_session_takes_no_input() {
    let it = Instance::new().await;
    let sandbox = it.run(&["sh", "-c", "exit 0"]).await;
    let id = &sandbox.sessions[0].id;
    it.until("its end", |all| all[0].sessions[0].exit.is_some()).await;
    let fault = it.alice().input(id, "x".into()).await.unwrap_err();
    assert!(fault.message().contains("has ended"), "{fault}");
    assert!(it.alice().lease(id, LeaseVerb::Take).await.is_err());
}

#[tokio::test]
async fn a_line_and_an_interrupt_from_outside_are_told_as_what_they_are_and_move_no_keyboard() {
    let it = Instance::new().await;
    let sandbox = it.run(&["sh"]).await;
    let id = &sandbox.sessions[0].id;
    let line = || Nudge::Line("echo a-line".to_owned());
    it.alice().nudge(id, line()).await.unwrap();
    shows(it.alice(), id, "a-line").await;
    it.alice().nudge(id, Nudge::Interrupt).await.unwrap();
    let lease = it.alice().list().await.unwrap()[0].sessions[0].lease.clone();
    assert_eq!(lease, None, "nobody stepped in");
    // Somebody else's keyboard is theirs.
    let bob = it.client("bob");
    bob.lease(id, LeaseVerb::Take).await.unwrap();
    let fault = it.alice().nudge(id, line()).await.unwrap_err();
    assert!(fault.kind() == Kind::Busy && fault.message().contains("bob"), "{fault}");
    bob.nudge(id, Nudge::Interrupt).await.unwrap();
    bob.lease(id, LeaseVerb::Release).await.unwrap();
    let lines = crate::given::found("both acts in the timeline", async || {
        let page = it.alice().timeline(TimelineRequest::default()).await.unwrap();
        let of = page.happenings.iter().filter(|it| it.what.starts_with("keyboard."));
        let lines: Vec<_> = of.map(|it| it.text.clone()).collect();
        (lines.len() == 5).then_some(lines)
    });
    let name = &sandbox.name;
    let wanted = [
        format!("{name}: alice sent a line of 11 bytes"),
        format!("{name}: alice interrupted it (ctrl-c)"),
        format!("{name}: bob stepped in"),
        format!("{name}: bob interrupted it (ctrl-c)"),
        format!("{name}: bob left"),
    ];
    assert_eq!(lines.await, wanted);
    let mut pages = it.alice().audit(AuditRequest::default()).await.unwrap();
    while let Some(page) = pages.next().await {
        let page = format!("{:?}", page.unwrap());
        assert!(!page.contains("a-line"), "what was typed is not in the record: {page}");
    }
    it.alice().pause(&sandbox.id).await.unwrap();
    assert_eq!(it.alice().nudge(id, line()).await.unwrap_err().kind(), Kind::Busy);
}
