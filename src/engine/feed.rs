//! One client's feed: a snapshot, then every change; after a gap a new snapshot that says so.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use tokio_stream::{
    Stream,
    wrappers::{BroadcastStream, errors::BroadcastStreamRecvError},
};

use super::{Inner, fleet};
use crate::{
    base::fault::Outcome,
    model::event::{Event, SnapshotReason},
};

/// The stream behind `Runtime::events`; ends when the engine does.
pub(super) struct Feed {
    engine: Weak<Inner>,
    first: Option<Event>,
    /// Changes up to this one are in the last snapshot.
    floor: u64,
    changes: BroadcastStream<Arc<Event>>,
}

impl Feed {
    pub(super) fn open(engine: &Arc<Inner>) -> Self {
        // Number and place are taken under one lock, so that nothing falls between them.
        let (floor, changes, shared) = {
            let mut fleet = engine.fleet();
            let (seq, changes) = fleet.subscribe();
            fleet.tell_unheard();
            (seq, changes, fleet.shared())
        };
        let first = Event::Snapshot {
            seq: floor,
            reason: SnapshotReason::First,
            sandboxes: fleet::sorted(shared),
        };
        let changes = BroadcastStream::new(changes);
        Self { engine: Arc::downgrade(engine), first: Some(first), floor, changes }
    }

    /// A new snapshot; what is still queued from before it is skipped by its number.
    fn resync(&mut self) -> Option<Event> {
        let engine = self.engine.upgrade()?;
        let (seq, shared) = {
            let fleet = engine.fleet();
            (fleet.seq(), fleet.shared())
        };
        self.floor = seq;
        Some(Event::Snapshot { seq, reason: SnapshotReason::Gap, sandboxes: fleet::sorted(shared) })
    }
}

fn number(event: &Event) -> u64 {
    match event {
        Event::Snapshot { seq, .. }
        | Event::Changed { seq, .. }
        | Event::Removed { seq, .. }
        | Event::Notice { seq, .. }
        | Event::Said { seq, .. } => *seq,
        Event::Part { .. } => 0,
    }
}

impl Stream for Feed {
    type Item = Outcome<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        loop {
            match ready!(Pin::new(&mut self.changes).poll_next(context)) {
                Some(Ok(event)) if number(&event) <= self.floor => {}
                Some(Ok(event)) => {
                    return Poll::Ready(Some(Ok(Arc::unwrap_or_clone(event))));
                }
                Some(Err(BroadcastStreamRecvError::Lagged(_))) => {
                    return Poll::Ready(self.resync().map(Ok));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}
