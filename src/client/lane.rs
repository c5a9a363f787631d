//! Typing: one long-lived stream per session that is typed into, with a number on every piece and a
//! receipt for each. What was under way when the link broke is `Lost`, never sent twice.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::dial::Wires;
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{HUB_ANSWER_WITHIN, INPUT_BYTES_MAX, INPUT_STREAM_IDLE, INPUT_UNDER_WAY_MAX},
    },
    wire::{
        fault::link_broke,
        v1::{InputRequest, InputResponse},
    },
};

/// The streams of one set of connections.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Mutex<HashMap<SessionId, Lane>>,
}

struct Lane {
    next_seq: u64,
    requests: mpsc::Sender<InputRequest>,
    /// Pieces under way, oldest first.
    pending: VecDeque<(u64, oneshot::Sender<Outcome<()>>)>,
}

fn lost() -> Fault {
    Fault::lost("the link broke while typing; it may or may not have arrived")
}

impl Lanes {
    fn lanes(&self) -> MutexGuard<'_, HashMap<SessionId, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one piece; resolves with its receipt.
    pub(super) async fn send(wires: &Arc<Wires>, session: &SessionId, bytes: Bytes) -> Outcome<()> {
        if bytes.len() > INPUT_BYTES_MAX {
            let message = format!("input is longer than {INPUT_BYTES_MAX} bytes: {}", bytes.len());
            return Err(Fault::invalid(message).hint("send it in pieces"));
        }
        let receipt = queue(wires, session, bytes)?;
        match tokio::time::timeout(HUB_ANSWER_WITHIN, receipt).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(lost()),
            Err(_) => Err(Fault::late("the hub did not confirm what was typed")),
        }
    }

    /// Hands a receipt to the one who waits for it.
    fn confirm(&self, session: &SessionId, response: InputResponse) {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(session) else { return };
        let at = lane.pending.iter().position(|(seq, _)| *seq == response.seq);
        if let Some((_, waiting)) = at.and_then(|at| lane.pending.remove(at)) {
            // Nobody waits any more when the call has timed out.
            drop(waiting.send(response.fault.map_or(Ok(()), |fault| Err(fault.into()))));
        }
    }

    /// Closes a stream with nothing under way; tells whether it is closed.
    fn close_idle(&self, session: &SessionId) -> bool {
        let mut lanes = self.lanes();
        let idle = lanes.get(session).is_none_or(|it| it.pending.is_empty());
        if idle {
            lanes.remove(session);
        }
        idle
    }
}

/// Puts a piece on its session's stream, which is opened first where there is none.
fn queue(
    wires: &Arc<Wires>,
    session: &SessionId,
    data: Bytes,
) -> Outcome<oneshot::Receiver<Outcome<()>>> {
    let mut lanes = wires.lanes.lanes();
    let mut fresh = None;
    let lane = lanes.entry(session.clone()).or_insert_with(|| {
        let (requests, outgoing) = mpsc::channel(INPUT_UNDER_WAY_MAX);
        fresh = Some(outgoing);
        Lane { next_seq: 1, requests, pending: VecDeque::new() }
    });
    // Those who gave up waiting still count: their pieces are under way.
    if lane.pending.len() >= INPUT_UNDER_WAY_MAX {
        return Err(Fault::busy("the hub does not keep up with the typing; nothing was sent"));
    }
    let seq = lane.next_seq;
    let request = InputRequest { seq, session: session.to_string(), data };
    lane.requests.try_send(request).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => {
            Fault::busy("the hub does not keep up with the typing; nothing was sent")
        }
        mpsc::error::TrySendError::Closed(_) => Fault::lost("the link broke; nothing was sent"),
    })?;
    lane.next_seq += 1;
    let (waiting, receipt) = oneshot::channel();
    lane.pending.push_back((seq, waiting));
    // Only now: a stream that is refused at once tells the first piece why.
    if let Some(outgoing) = fresh {
        tokio::spawn(follow(Arc::downgrade(wires), session.clone(), outgoing));
    }
    Ok(receipt)
}

/// Reads the receipts of one stream until it breaks or was idle for long.
async fn follow(wires: Weak<Wires>, session: SessionId, outgoing: mpsc::Receiver<InputRequest>) {
    let opened = match wires.upgrade() {
        Some(wires) => {
            let request = wires.request(ReceiverStream::new(outgoing));
            let mut typing = wires.typing();
            typing.input(request).await.map_err(|status| wires.fault(&status))
        }
        None => return,
    };
    let ended = match opened {
        Ok(receipts) => match receive(&wires, &session, receipts.into_inner()).await {
            Some(fault) => fault,
            None => return,
        },
        Err(fault) => fault,
    };
    // Whoever still waits learns of it; the next key opens a new stream.
    let Some(wires) = wires.upgrade() else { return };
    let lane = wires.lanes.lanes().remove(&session);
    for (_, waiting) in lane.into_iter().flat_map(|it| it.pending) {
        drop(waiting.send(Err(ended.clone())));
    }
}

/// `None` when the stream was closed because nobody typed.
async fn receive(
    wires: &Weak<Wires>,
    session: &SessionId,
    mut receipts: Streaming<InputResponse>,
) -> Option<Fault> {
    loop {
        let Ok(receipt) = tokio::time::timeout(INPUT_STREAM_IDLE, receipts.message()).await else {
            let closed = wires.upgrade().is_none_or(|it| it.lanes.close_idle(session));
            if closed {
                return None;
            }
            continue;
        };
        let wires = wires.upgrade()?;
        match receipt {
            Ok(Some(receipt)) => wires.lanes.confirm(session, receipt),
            Ok(None) => return Some(lost()),
            Err(status) if link_broke(&status) => return Some(lost()),
            Err(status) => return Some(wires.fault(&status)),
        }
    }
}
