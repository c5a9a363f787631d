//! Files through an engine: what is written is in the record, whoever hangs up.

use bytes::Bytes;
use sandwatch::{
    base::fault::{Fault, Outcome},
    model::{
        audit::{Action, AuditRequest},
        file::{Expected, Made, WriteRequest},
    },
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{engine_support::Instance, given::found};

fn request(path: &str) -> WriteRequest {
    let path = path.as_bytes().to_vec();
    WriteRequest { path, make: Made::File, mode: None, expected: Expected::Anything }
}

async fn written(instance: &Instance) -> usize {
    let mut pieces = instance.alice().audit(AuditRequest::default()).await.unwrap();
    let mut count = 0;
    while let Some(entries) = pieces.next().await {
        let entries = entries.unwrap();
        count += entries.iter().filter(|it| it.act.action == Action::FileWritten.word()).count();
    }
    count
}

#[tokio::test]
async fn what_is_written_is_in_the_record_though_who_wrote_it_hung_up() {
    let instance = Instance::new().await;
    let sandbox = instance.run(&["idle"]).await;
    for (whole, path) in [(true, "whole"), (false, "half")] {
        let (pieces, taken) = tokio::sync::mpsc::channel::<Outcome<Bytes>>(1);
        let (client, id) = (instance.client("bob"), sandbox.id.clone());
        let writes = tokio::spawn(async move {
            client.write_file(&id, request(path), Box::pin(ReceiverStream::new(taken))).await
        });
        for _ in 0..3 {
            pieces.send(Ok(Bytes::from_static(b"piece"))).await.unwrap();
        }
        // Nobody waits for its end any more, which comes, or does not.
        writes.abort();
        assert!(writes.await.unwrap_err().is_cancelled());
        if !whole {
            pieces.send(Err(Fault::lost("hung up"))).await.unwrap();
        }
        drop(pieces);
        found("the entry", async || (written(&instance).await == 1).then_some(())).await;
        let there = instance.alice().stat_file(&sandbox.id, path.as_bytes()).await;
        assert_eq!(there.is_ok(), whole, "{path}: {there:?}");
    }
}
