//! The services: who asks, the call to the runtime, and the answer or the fault. No decision is made
//! here.
mod about;
mod asks;
mod attendance;
mod audit;
mod gauges;
mod files;
mod policy;
mod recordings;
mod sandboxes;
mod sessions;
mod timeline;

use std::{future::Future, sync::Arc};

use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, metadata::MetadataMap};

pub(super) use self::attendance::Attendance;
use super::{Shared, outgoing::Outgoing, stopped};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::ClientId,
        limits::LABEL_BYTES_MAX,
        text::shown,
    },
    runtime::{BoxStream, Identity, Peer, Runtime},
    wire::{CLIENT_ID_KEY, CLIENT_NAME_KEY, convert::client_id, fault::to_status},
};

/// A stream of messages to a client.
type Sending<Message> = BoxStream<Result<Message, Status>>;
type Answer<Message> = Result<Response<Message>, Status>;

/// All services; cloned for each.
#[derive(Clone)]
pub(super) struct Service {
    shared: Arc<Shared>,
}

impl Service {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The runtime as the one who asks sees it.
    fn runtime<T>(&self, request: &Request<T>) -> Result<Arc<dyn Runtime>, Status> {
        let mut who = identity(request.metadata()).map_err(|fault| to_status(&fault))?;
        who.peer = request.extensions().get::<Peer>().cloned();
        Ok(self.shared.directory.client(who))
    }

    /// Answers a change, which is finished even when the client hangs up.
    async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Result<T, Status> {
        self.shared.work.run(change).await.map_err(|fault| to_status(&fault))
    }

    /// Answers a stream, until its end or the hub's.
    fn sending<Value: Send + 'static, Message: Unpin + Send + 'static>(
        &self,
        values: BoxStream<Outcome<Value>>,
        spread: fn(Value) -> Vec<Message>,
    ) -> Response<Sending<Message>> {
        let stop = stopped(self.shared.stop.subscribe());
        Response::new(Box::pin(Outgoing::new(values, spread, stop)))
    }
}

fn identity(metadata: &MetadataMap) -> Outcome<Identity> {
    let client: ClientId = metadata
        .get(CLIENT_ID_KEY)
        .and_then(|it| it.to_str().ok())
        .ok_or_else(|| Fault::invalid(format!("the call does not say who asks: {CLIENT_ID_KEY}")))
        .and_then(client_id)?;
    let name = metadata
        .get_bin(CLIENT_NAME_KEY)
        .and_then(|it| it.to_bytes().ok())
        .map(|it| shown(&String::from_utf8_lossy(&it), LABEL_BYTES_MAX))
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| client.to_string());
    Ok(Identity { client, name, peer: None })
}

/// Values that are there already, as a stream.
fn ready<T: Send + 'static>(values: Vec<T>) -> Sending<T> {
    Box::pin(tokio_stream::iter(values).map(Ok))
}
