//! The hub goes while somebody types: no call hangs, and what was confirmed has arrived, once and in
//! order.

use bytes::Bytes;
use sandwatch::{
    base::{
        fault::{Kind, Outcome},
        id::SessionId,
    },
    client::{Client, Options},
    runtime::Runtime,
};

use crate::{
    crash_support::{Home, numbers},
    given::{SOON, who},
};

/// Lines on their way at once.
const AT_ONCE: u64 = 4;
/// The hub is ended once this many have arrived.
const SOME: u64 = 50;

/// Types `n1`, `n2` ... until one is not confirmed; gives the number of the last that was.
async fn type_until_lost(client: Client, session: SessionId) -> u64 {
    let mut confirmed = 0;
    loop {
        let line = |n: u64| {
            let bytes = Bytes::from(format!("n{}\n", confirmed + n));
            tokio::time::timeout(SOON, client.input(&session, bytes))
        };
        let (a, b, c, d) = tokio::join!(line(1), line(2), line(3), line(4));
        let receipts: [Outcome<()>; AT_ONCE as usize] =
            [a, b, c, d].map(|it| it.expect("it hangs"));
        for receipt in receipts {
            match receipt {
                Ok(()) => confirmed += 1,
                Err(fault) => {
                    assert_eq!(fault.kind(), Kind::Lost, "{fault}");
                    return confirmed;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_before_the_hub_went_has_arrived() {
    let it = Home::new();
    for name in ["killed", "stopped"] {
        it.run(name, "stty -echo; echo ready; exec cat");
        it.printed(name, "ready");
        let session = it.session(name)["id"].as_str().unwrap().to_owned();
        let options = Options::new(who("typist"), None);
        let client = Client::connect(&it.socket(), options).await.unwrap();
        let session = SessionId::parse(&session).unwrap();
        let typing = tokio::spawn(type_until_lost(client, session));
        it.printed(name, &format!("n{SOME}\n"));
        if name == "killed" {
            it.kill_hub();
        } else {
            it.ok(&["hub", "stop"]);
        }
        let confirmed = typing.await.unwrap();
        assert!(confirmed >= SOME, "{name}: {confirmed}");
        // The next hub finds all of it.
        it.printed(name, &format!("n{confirmed}\n"));
        let found = numbers(&it.recorded(name));
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "{name}");
        let arrived = found.len() as u64;
        assert!((confirmed..=confirmed + AT_ONCE).contains(&arrived), "{name}: {arrived}");
    }
    it.end();
}
