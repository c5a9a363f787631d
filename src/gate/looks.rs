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
/// place is not free again, also when nobody waited for its end. Whoever has no turn yet waits for it, as long as for a look.
pub(in crate::gate) async fn paced<T: Send + 'static>(
    places: &Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
    look: impl FnOnce(Duration) -> T + Send + 'static,
) -> Option<T> {
    let place = match turn {
        Some(turn) => turn,
        None => {
            let turn = Arc::clone(places).acquire_owned();
            timeout(GATE_LOOK_WITHIN, turn).await.ok()?.ok()?
        }
    };
    let (tell, told) = oneshot::channel();
    // Look and pause are one: whoever waits no more for the look shortens neither.
    tokio::spawn(async move {
        let looked = tokio::task::spawn_blocking(move || {
            let began = clock::monotonic();
            let found = look(began + GATE_LOOK_WITHIN);
            (found, clock::monotonic().saturating_sub(began))
        });
        if let Ok((found, took)) = looked.await {
            let _nobody_waits = tell.send(found);
            tokio::time::sleep(took * GATE_LOOK_PAUSES).await;
        }
        drop(place);
    });
    timeout(GATE_LOOK_WITHIN, told).await.ok()?.ok()
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A look that nobody waits for any more: it ends when it is told to, and says when.
    #[test]
    fn there_is_a_pause_also_after_a_look_that_took_longer_than_anybody_waited() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let places = Arc::new(Semaphore::new(1));
            let (end, ends) = mpsc::sync_channel::<()>(1);
            let (told, ended) = oneshot::channel();
            let looked = paced(&places, None, move |_| {
                let began = clock::monotonic();
                let _ = ends.recv();
                let _ = told.send((began, clock::monotonic()));
            });
            assert_eq!(looked.await, None);
            drop(end);
            let (began, ended) = ended.await.unwrap();
            // However long that takes, the next one begins after the pause.
            let next = loop {
                let turn = Arc::clone(&places).acquire_owned().await.unwrap();
                if let Some(at) = paced(&places, Some(turn), |_| clock::monotonic()).await {
                    break at;
                }
            };
            let pause = next.saturating_sub(ended);
            assert!(pause >= ended.saturating_sub(began) * GATE_LOOK_PAUSES, "{pause:?}");
        });
    }
}
