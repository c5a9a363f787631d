//! The services: who asks, the call to the runtime, and the answer or the fault. No decision is made
//! here.
mod about;
mod access;
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
use tonic::{Request, Response, Status};

pub(super) use self::attendance::Attendance;
use super::{Shared, outgoing::Outgoing, stopped};
use crate::{
    base::fault::{Fault, Outcome},
    runtime::{BoxStream, Identity, Runtime},
    wire::fault::to_status,
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
        Ok(self.shared.directory.client(who(request)?.clone()))
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

/// Who asks, as the guard knows them.
fn who<T>(request: &Request<T>) -> Result<&Identity, Status> {
    let who = request.extensions().get::<Identity>();
    who.ok_or_else(|| to_status(&Fault::bug("a call came past the guard")))
}

/// Values that are there already, as a stream.
fn ready<T: Send + 'static>(values: Vec<T>) -> Sending<T> {
    Box::pin(tokio_stream::iter(values).map(Ok))
}
