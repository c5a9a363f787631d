//! A stream of the runtime on its way to a client: each value becomes the messages it takes, and the
//! stream ends, with a reason, when the hub does.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio_stream::Stream;
use tonic::Status;

use crate::{
    base::fault::{Fault, Outcome},
    runtime::BoxStream,
    wire::fault::to_status,
};

pub(super) struct Outgoing<Value, Message> {
    values: BoxStream<Outcome<Value>>,
    spread: fn(Value) -> Vec<Message>,
    /// Messages of the last value that are still to be sent.
    ready: VecDeque<Message>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl<Value, Message> Outgoing<Value, Message> {
    pub(super) fn new(
        values: BoxStream<Outcome<Value>>,
        spread: fn(Value) -> Vec<Message>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { values, spread, ready: VecDeque::new(), stop: Box::pin(stop), ended: false }
    }

    fn fail(&mut self, fault: &Fault) -> Poll<Option<Result<Message, Status>>> {
        self.ended = true;
        Poll::Ready(Some(Err(to_status(fault))))
    }
}

impl<Value, Message: Unpin> Stream for Outgoing<Value, Message> {
    type Item = Result<Message, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if this.stop.as_mut().poll(context).is_ready() {
            // Bare, as a broken link is: a client waits for the next hub and goes on.
            this.ended = true;
            return Poll::Ready(Some(Err(Status::unavailable("the hub was stopped"))));
        }
        loop {
            if let Some(message) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(message)));
            }
            match this.values.as_mut().poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(fault))) => return this.fail(&fault),
                Poll::Ready(Some(Ok(value))) => this.ready.extend((this.spread)(value)),
            }
        }
    }
}
