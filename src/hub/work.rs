//! Changes under way: bounded, finished even when the client that asked hangs up, waited for at the
//! end of the hub.

use std::{future::Future, sync::Arc};

use tokio::sync::Semaphore;

use crate::base::{
    fault::{Fault, Outcome},
    limits::{ANSWER_WITHIN, CREATE_WITHIN, GRACE_MAX, HUB_CALLS_MAX},
};

pub(super) struct Work {
    permits: Arc<Semaphore>,
}

impl Work {
    pub(super) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(HUB_CALLS_MAX as usize)) }
    }

    /// Runs a change to its end in a task of its own: half a change is worse than none, and a client
    /// may hang up at any moment.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        change: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            Fault::busy(format!("the hub works on {HUB_CALLS_MAX} changes already"))
        })?;
        let task = tokio::spawn(async move {
            let done =
                tokio::time::timeout(GRACE_MAX + CREATE_WITHIN + ANSWER_WITHIN, change).await;
            drop(permit);
            done.unwrap_or_else(|_| Err(Fault::late("the change did not end")))
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a change broke off");
            Err(Fault::bug("the hub failed inside; its log says where"))
        })
    }

    /// Resolves when no change is under way.
    pub(super) async fn finished(&self) {
        drop(self.permits.acquire_many(HUB_CALLS_MAX).await);
    }
}
