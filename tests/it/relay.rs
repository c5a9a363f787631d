//! A relay in front of a hub's socket: it counts what it carries, and can stop carrying without a word, as a machine in
//! between does: both sides stay connected to it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sandwatch::wire::via_ssh;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

pub(crate) struct Relay {
    dir: tempfile::TempDir,
    carries: watch::Sender<bool>,
    came: Arc<AtomicU64>,
    taking: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.taking.abort();
    }
}

impl Relay {
    pub(crate) fn to(hub: &Path) -> Self {
        Self::saying(hub, String::new())
    }

    /// The hub is told that a proxy carries for another machine.
    pub(crate) fn from_elsewhere(hub: &Path) -> Self {
        Self::saying(hub, via_ssh([192, 0, 2, 1].into()))
    }

    fn saying(hub: &Path, first: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("hub.sock")).unwrap();
        let (carries, came) = (watch::Sender::new(true), Arc::new(AtomicU64::new(0)));
        let (hub, gate, counter) = (hub.to_owned(), carries.subscribe(), came.clone());
        let taking = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut far = UnixStream::connect(&hub).await.unwrap();
                far.write_all(first.as_bytes()).await.unwrap();
                let ((from_near, to_near), (from_far, to_far)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(carry(from_near, to_far, gate.clone(), Arc::default()));
                tokio::spawn(carry(from_far, to_near, gate.clone(), counter.clone()));
            }
        });
        Self { dir, carries, came, taking }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("hub.sock")
    }

    pub(crate) fn black_hole(&self, holds: bool) {
        self.carries.send_replace(!holds);
    }

    /// Bytes that the hub sent so far.
    pub(crate) fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut gate: watch::Receiver<bool>,
    counter: Arc<AtomicU64>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if gate.wait_for(|it| *it).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
    // Nor is it told of an end.
    if gate.wait_for(|it| *it).await.is_ok() {
        drop(to.shutdown().await);
    }
}
