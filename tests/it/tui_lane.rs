//! What carries typing to the hub: nothing of a run goes behind what failed of it, and long input is one.

use bytes::Bytes;
use sandwatch::{
    app::{EffectId, Msg},
    base::{
        fault::{Fault, Kind},
        id::SessionId,
        limits::{INPUT_BYTES_MAX, TYPED_BYTES_MAX},
    },
    tui::lane::Lane,
};
use tokio::sync::mpsc;

use crate::engine_support::{Instance, shows};

async fn answer(answers: &mut mpsc::Receiver<Msg>) -> (u64, Option<Fault>) {
    match answers.recv().await.unwrap() {
        Msg::Done { id, result } => (id.0, result.err()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn of_a_run_that_failed_nothing_more_is_taken_and_the_next_one_is() {
    let it = Instance::new().await;
    let (sender, mut answers) = mpsc::channel(16);
    let lane = Lane::open(it.client("alice"), SessionId::random(), sender);
    // Longer than one piece, it is answered once.
    let long = Bytes::from(vec![b'x'; 3 * INPUT_BYTES_MAX]);
    lane.input(EffectId(1), 1, long).unwrap();
    let (id, fault) = answer(&mut answers).await;
    assert_eq!((id, fault.unwrap().kind()), (1, Kind::Absent));
    let fault = lane.input(EffectId(2), 1, "behind it".into()).unwrap_err();
    assert_eq!(fault.kind(), Kind::Absent);
    lane.input(EffectId(3), 2, "anew".into()).unwrap();
    assert_eq!(answer(&mut answers).await.0, 3);
}

#[tokio::test]
async fn what_is_too_long_is_refused_whole_and_what_fits_arrives() {
    let it = Instance::new().await;
    let sandbox = it.run(&["sh"]).await;
    let id = &sandbox.sessions[0].id;
    let (sender, mut answers) = mpsc::channel(16);
    let lane = Lane::open(it.client("alice"), id.clone(), sender);
    let long = Bytes::from(vec![b'x'; TYPED_BYTES_MAX + 1]);
    assert_eq!(lane.input(EffectId(1), 1, long).unwrap_err().kind(), Kind::Busy);
    lane.input(EffectId(2), 1, "echo it-fits\r".into()).unwrap();
    let (id_of, fault) = answer(&mut answers).await;
    assert!(id_of == 2 && fault.is_none(), "{fault:?}");
    shows(it.alice(), id, "it-fits").await;
}
