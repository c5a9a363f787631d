//! Those from elsewhere who are slow to read, and those whose link is cut.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use sandwatch::wire::v1::{Output, OutputRequest, output::Kind};

use crate::remote_support::{Far, call, channel, credentials};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_holds_up_nobody_and_gets_the_screen_as_it_is() {
    let (far, session, clients) = tokio::task::spawn_blocking(|| {
        let far = Far::new();
        let line = "read it; seq 1 3000000; echo and-done; sleep 1000";
        far.hub.ok(&["run", "-d", "--name", "flood", "--", "/bin/sh", "-c", line]);
        let session =
            far.hub.json(&["ls", "--json"])[0]["sessions"][0]["id"].as_str().unwrap().to_owned();
        let clients: Vec<_> = (0..8).map(|it| far.client(&format!("v{it}"), "viewer")).collect();
        (far, session, clients)
    })
    .await
    .unwrap();
    let mut watching = Vec::new();
    for client in &clients {
        let it = credentials(client);
        let channel = channel(&far.address, &it).await.unwrap();
        let asked = OutputRequest { session: session.clone(), ..OutputRequest::default() };
        let asked: Bytes = asked.encode_to_vec().into();
        let own = format!("{}.x", it.member);
        let mut stream =
            call(&channel, "/sandwatch.v1.Sessions/Output", &own, asked).await.unwrap();
        // The screen as it was before all that.
        assert!(stream.message().await.unwrap().is_some());
        watching.push(stream);
    }
    // Nobody reads, and the program prints all of it.
    let far = tokio::task::spawn_blocking(move || {
        far.hub.ok(&["send", "flood", "<Enter>"]);
        far.hub.ok(&["wait", "flood", "--for", "text=and-done", "--timeout", "120s"]);
        far
    })
    .await
    .unwrap();
    for mut stream in watching {
        let (mut read, mut lost) = (0, 0);
        let done = async {
            while let Ok(Some(message)) = stream.message().await {
                read += message.len();
                match Output::decode(message).unwrap().kind {
                    Some(Kind::Keyframe(it)) => {
                        lost += it.lost;
                        if it.state.windows(8).any(|it| it == b"and-done") {
                            return;
                        }
                    }
                    Some(Kind::Chunk(it)) if it.windows(8).any(|it| it == b"and-done") => return,
                    _ => {}
                }
            }
            panic!("the stream ended");
        };
        tokio::time::timeout(Duration::from_secs(60), done).await.unwrap();
        // 23 MB were printed.
        assert!(lost > 10_000_000 && read < 8_000_000, "{lost} lost, {read} read");
    }
    drop(tokio::task::spawn_blocking(move || drop((far, clients))).await);
}
