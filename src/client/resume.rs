//! Subscriptions that outlive a link: when it breaks they wait, and go on with the next hub.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio_stream::Stream;
use tonic::{Response, Status, Streaming};

use super::{Shared, dial::Wires};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::HUB_ANSWER_WITHIN,
    },
    model::{
        event::{Event, SnapshotReason},
        gauge::{Gauges, GaugesWanted},
        output::{From as Start, Output, OutputRequest},
    },
    wire::{
        convert::{
            event::EventReader,
            gauge::{RoundReader, wanted_out},
            output::{OutputReader, request_out},
        },
        fault::link_broke,
        v1,
    },
};

/// The answer to a subscription.
pub(super) type Answer<Wire> = Result<Response<Streaming<Wire>>, Status>;
pub(super) type Asking<Wire> = Pin<Box<dyn Future<Output = Answer<Wire>> + Send>>;
/// Connections, and a stream on them; or whether it is worth another try, and why not.
type Opening<Wire> =
    Pin<Box<dyn Future<Output = Result<(Arc<Wires>, Streaming<Wire>), Refusal>> + Send>>;

enum Refusal {
    /// These connections broke as well.
    Broke(Arc<Wires>),
    Fault(Fault),
}

/// What is subscribed to, and how far it has come.
pub(super) trait Source: Clone + Unpin + Send + 'static {
    type Wire: Send + 'static;
    type Item;

    /// Asks for what follows the last item.
    fn ask(self, wires: Arc<Wires>) -> Asking<Self::Wire>;

    /// Takes a message; `None` when it completes no item.
    fn take(&mut self, wire: Self::Wire) -> Outcome<Option<Self::Item>>;

    /// The link broke: pieces of an item that is not complete are void.
    fn broken(&mut self);
}

enum Stage<Wire> {
    Opening(Opening<Wire>),
    Open(Arc<Wires>, Box<Streaming<Wire>>),
    Ended,
}

/// A subscription that goes on after a gap in the link.
pub(super) struct Resuming<S: Source> {
    shared: Arc<Shared>,
    source: S,
    stage: Stage<S::Wire>,
}

impl<S: Source> Resuming<S> {
    /// Subscribes; a first refusal is the caller's answer.
    pub(super) async fn start(shared: Arc<Shared>, source: S) -> Outcome<Self> {
        let ask = |wires: Arc<Wires>| {
            let asked = source.clone().ask(wires.clone());
            async move { Ok((wires.answer(HUB_ANSWER_WITHIN, asked).await?, wires)) }
        };
        let (stream, wires) = shared.again(ask).await?;
        Ok(Self { shared, source, stage: Stage::Open(wires, Box::new(stream)) })
    }

    /// Waits for other connections than the broken ones and asks again.
    fn reopen(&mut self, broken: Arc<Wires>) {
        self.source.broken();
        let source = self.source.clone();
        let next = self.shared.next(Some(broken));
        self.stage = Stage::Opening(Box::pin(async move {
            let wires = next.await.map_err(Refusal::Fault)?;
            wires.same_protocol().map_err(Refusal::Fault)?;
            match tokio::time::timeout(HUB_ANSWER_WITHIN, source.ask(wires.clone())).await {
                Ok(Ok(response)) => Ok((wires, response.into_inner())),
                Ok(Err(status)) if link_broke(&status) => Err(Refusal::Broke(wires)),
                Ok(Err(status)) => Err(Refusal::Fault(wires.fault(&status))),
                Err(_) => Err(Refusal::Fault(Fault::late("the hub did not answer in time"))),
            }
        }));
    }

    fn end(&mut self, last: Option<Outcome<S::Item>>) -> Poll<Option<Outcome<S::Item>>> {
        self.stage = Stage::Ended;
        Poll::Ready(last)
    }
}

impl<S: Source> Stream for Resuming<S> {
    type Item = Outcome<S::Item>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match &mut this.stage {
                Stage::Ended => return Poll::Ready(None),
                Stage::Opening(opening) => match opening.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok((wires, stream))) => {
                        this.stage = Stage::Open(wires, Box::new(stream));
                    }
                    Poll::Ready(Err(Refusal::Broke(wires))) => this.reopen(wires),
                    Poll::Ready(Err(Refusal::Fault(fault))) => return this.end(Some(Err(fault))),
                },
                Stage::Open(wires, stream) => match Pin::new(stream.as_mut()).poll_next(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return this.end(None),
                    Poll::Ready(Some(Ok(message))) => match this.source.take(message) {
                        Ok(Some(item)) => return Poll::Ready(Some(Ok(item))),
                        Ok(None) => {}
                        Err(fault) => return this.end(Some(Err(fault))),
                    },
                    Poll::Ready(Some(Err(status))) => {
                        let wires = wires.clone();
                        if !link_broke(&status) {
                            return this.end(Some(Err(wires.fault(&status))));
                        }
                        this.reopen(wires);
                    }
                },
            }
        }
    }
}

/// The feed of changes. After a gap in the link comes a snapshot that says so.
#[derive(Clone, Default)]
pub(super) struct Changes {
    reader: Option<EventReader>,
    gap: bool,
}

impl Source for Changes {
    type Wire = v1::EventsResponse;
    type Item = Event;

    fn ask(self, wires: Arc<Wires>) -> Asking<Self::Wire> {
        Box::pin(async move {
            let mut client = wires.sandboxes();
            client.events(wires.request(v1::EventsRequest {})).await
        })
    }

    fn take(&mut self, wire: Self::Wire) -> Outcome<Option<Event>> {
        let event = self.reader.get_or_insert_default().take(wire)?;
        Ok(event.map(|event| match event {
            Event::Snapshot { seq, sandboxes, .. } if std::mem::take(&mut self.gap) => {
                Event::Snapshot { seq, reason: SnapshotReason::Gap, sandboxes }
            }
            other => other,
        }))
    }

    fn broken(&mut self) {
        self.reader = None;
        self.gap = true;
    }
}

/// What a session prints, and the offset up to which it was seen.
#[derive(Clone)]
pub(super) struct Prints {
    session: SessionId,
    request: OutputRequest,
    reader: OutputReader,
}

impl Prints {
    pub(super) fn new(session: SessionId, request: OutputRequest) -> Self {
        Self { session, request, reader: OutputReader::default() }
    }
}

impl Source for Prints {
    type Wire = v1::Output;
    type Item = Output;

    fn ask(self, wires: Arc<Wires>) -> Asking<Self::Wire> {
        Box::pin(async move {
            let mut client = wires.streams();
            client.output(wires.request(request_out(&self.session, &self.request))).await
        })
    }

    fn take(&mut self, wire: Self::Wire) -> Outcome<Option<Output>> {
        let output = self.reader.take(wire)?;
        // Only what was handed on counts as seen.
        match &output {
            Some(Output::Chunk { offset, bytes }) => {
                self.request.from = Start::Offset(offset + bytes.len() as u64);
            }
            Some(Output::Keyframe { offset, .. }) => self.request.from = Start::Offset(*offset),
            _ => {}
        }
        Ok(output)
    }

    fn broken(&mut self) {
        self.reader = OutputReader::default();
    }
}

/// What sandboxes use, round after round.
#[derive(Clone)]
pub(super) struct Rounds {
    wanted: GaugesWanted,
    reader: RoundReader,
}

impl Rounds {
    pub(super) fn new(wanted: GaugesWanted) -> Self {
        Self { wanted, reader: RoundReader::default() }
    }
}

impl Source for Rounds {
    type Wire = v1::ReadGaugesResponse;
    type Item = Gauges;

    fn ask(self, wires: Arc<Wires>) -> Asking<Self::Wire> {
        Box::pin(async move {
            let mut client = wires.gauges();
            client.read(wires.request(wanted_out(&self.wanted))).await
        })
    }

    fn take(&mut self, wire: Self::Wire) -> Outcome<Option<Gauges>> {
        self.reader.take(wire)
    }

    fn broken(&mut self) {
        self.reader = RoundReader::default();
    }
}
