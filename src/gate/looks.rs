//! Looks at what a sandbox has and can make long: each on a thread of its own, few at once, in a bounded time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::Inner;
use crate::{
    base::{
        clock,
        limits::{GATE_LISTEN_WITHIN, GATE_LOOK_PAUSES, GATE_LOOK_WITHIN},
    },
    driver::Sender,
};

/// Which program it is, where that can be told in time.
pub(in crate::gate) async fn look(
    gate: &Inner,
    from: SocketAddr,
    to: SocketAddr,
) -> Option<Sender> {
    let sender = Arc::clone(&gate.sender);
    let until = clock::monotonic() + GATE_LOOK_WITHIN;
    aside(&gate.looks, move || sender(from, to, until)).await.flatten()
}

/// Waits for the end of a look, not for long.
pub async fn over_soon(look: Option<oneshot::Receiver<()>>) {
    if let Some(look) = look {
        drop(timeout(GATE_LISTEN_WITHIN, look).await);
    }
}

/// The same for nothing but the record: one look at a time, with a pause after it.
pub(in crate::gate) async fn whose(
    gate: &Inner,
    turn: Option<OwnedSemaphorePermit>,
    (from, to): (SocketAddr, SocketAddr),
) -> Option<String> {
    let sender = Arc::clone(&gate.sender);
    paced(&gate.noting, turn, move |until| sender(from, to, until)).await.flatten()?.program
}

/// Whether a program has its end of a connection still open. In doubt it has.
pub(in crate::gate) async fn waits(gate: &Inner, from: SocketAddr, to: SocketAddr) -> bool {
    let held = Arc::clone(&gate.held);
    aside(&gate.glances, move || held(from, to)).await.unwrap_or(true)
}

/// A look through all processes, which a sandbox can have made as often as it likes: with a pause after it, before which the
/// place is not free again. Whoever has no turn yet waits for it.
pub(in crate::gate) async fn paced<T: Send + 'static>(
    places: &Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
    look: impl FnOnce(Duration) -> T + Send + 'static,
) -> Option<T> {
    let looking = async {
        let place = match turn {
            Some(turn) => turn,
            None => Arc::clone(places).acquire_owned().await.ok()?,
        };
        let looked = tokio::task::spawn_blocking(move || {
            let began = clock::monotonic();
            let found = look(began + GATE_LOOK_WITHIN);
            (found, clock::monotonic().saturating_sub(began), place)
        });
        let (found, took, place) = looked.await.ok()?;
        tokio::spawn(async move {
            tokio::time::sleep(took * GATE_LOOK_PAUSES).await;
            drop(place);
        });
        Some(found)
    };
    timeout(GATE_LOOK_WITHIN, looking).await.ok().flatten()
}

/// Looks at what the sandbox can make long, on a thread of its own, as long as it takes; there are few of them.
pub async fn aside<T: Send + 'static>(
    places: &Arc<Semaphore>,
    look: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let looking = async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        let looked = tokio::task::spawn_blocking(move || {
            let found = look();
            drop(place);
            found
        });
        looked.await.ok()
    };
    timeout(GATE_LOOK_WITHIN, looking).await.ok().flatten()
}
