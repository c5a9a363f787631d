//! The engine's only timer: sandboxes whose time is over, keyboards nobody uses, old recordings.
//! It sleeps until the nearest deadline, and without one until something changes.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::Notify;

use super::Inner;
use crate::{
    base::{
        clock::{self, Timestamp},
        limits::{LEASE_IDLE, PRUNE_EVERY},
    },
    model::event::Level,
    session::journal::{self, Pruned},
};

/// Deadlines closer together than this are met together.
const GRAIN: Duration = Duration::from_millis(200);

/// Starts it; it ends with the engine.
pub(super) fn start(engine: &Arc<Inner>) {
    tokio::spawn(keep(Arc::downgrade(engine), engine.deadlines.clone()));
}

async fn keep(engine: Weak<Inner>, bell: Arc<Notify>) {
    let mut pruned: Option<Duration> = None;
    loop {
        let Some(strong) = engine.upgrade() else { return };
        strong.release_idle();
        strong.remove_expired();
        strong.snapshots_due();
        let now = clock::monotonic();
        if pruned.is_none_or(|at| now.saturating_sub(at) >= PRUNE_EVERY) {
            pruned = Some(now);
            // Deadlines wait for no disk.
            let engine = Arc::clone(&strong);
            tokio::spawn(async move {
                engine.prune().await;
                engine.prune_drivers().await;
                engine.forget_happenings().await;
            });
            strong.tidy_shelves(None);
        }
        let wait = strong.nearest(clock::wall()).min(PRUNE_EVERY).max(GRAIN);
        // Asleep it holds no engine; the end of the engine rings the bell too.
        drop(strong);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = bell.notified() => {}
        }
    }
}

impl Inner {
    /// How long until something is due.
    fn nearest(&self, now: Timestamp) -> Duration {
        let fleet = self.fleet();
        let left = |from: Timestamp, time: Duration| time.saturating_sub(now.since(from));
        let times = fleet.entries().flat_map(|entry| {
            let over = entry.removal_due(now).into_iter().chain(entry.snapshot_due(now));
            let leases = entry.sandbox.sessions.iter().filter_map(|it| it.lease.as_ref());
            over.chain(leases.map(|it| left(it.used_at, LEASE_IDLE)))
        });
        times.min().unwrap_or(Duration::MAX)
    }

    /// Removes recordings beyond their bounds.
    async fn prune(&self) {
        let root = self.paths.recordings();
        let pruned = self.reading(move || journal::prune(&root, clock::wall())).await;
        let fault = match pruned {
            Ok(Pruned { removed, crowded, fault }) => {
                if removed > 0 {
                    tracing::info!(removed, "old recordings removed");
                }
                if let Some(bytes) = crowded {
                    tracing::warn!(
                        bytes,
                        "recordings of running sessions leave little to older ones"
                    );
                }
                fault
            }
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault {
            let words = format!("removing old recordings: {fault}");
            self.fleet().notice(Level::Warning, None, &words);
        }
    }
}
