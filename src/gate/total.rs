//! What came and went over all connections of a sandbox, told to whoever meters it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{sync::Notify, time::sleep};

use crate::{base::limits::GAUGED_EVERY, driver::net::NetFile};

/// Bytes, counted while they pass.
#[derive(Debug, Default)]
pub struct Total {
    received: AtomicU64,
    sent: AtomicU64,
    more: Notify,
}

impl Total {
    /// Goes on from what was counted before: what came, and what went.
    pub fn since((received, sent): (u64, u64)) -> Self {
        Self { received: received.into(), sent: sent.into(), more: Notify::new() }
    }

    pub fn add(&self, received: usize, sent: usize) {
        self.received.fetch_add(received as u64, Ordering::Relaxed);
        self.sent.fetch_add(sent as u64, Ordering::Relaxed);
        self.more.notify_one();
    }

    fn now(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }
}

/// Writes the sums down while they grow, as often as they are read and no more.
pub async fn tell(total: Arc<Total>, net: NetFile) {
    let net = Arc::new(net);
    loop {
        total.more.notified().await;
        let (net, sums) = (Arc::clone(&net), total.now());
        // A disk may be slow.
        match tokio::task::spawn_blocking(move || net.write(sums)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "traffic is not told"),
            Err(error) => tracing::debug!(%error, "traffic is not told"),
        }
        sleep(GAUGED_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::net::read;

    #[test]
    fn sums_are_told_when_they_grow_and_go_on_from_before() {
        let dir = tempfile::tempdir().unwrap();
        let (net, _) = NetFile::open(dir.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let total = Arc::new(Total::since((100, 10)));
            let telling = tokio::spawn(tell(Arc::clone(&total), net));
            total.add(5, 0);
            total.add(0, 7);
            while read(dir.path()) != Some((105, 17)) {
                tokio::task::yield_now().await;
            }
            telling.abort();
        });
    }
}
