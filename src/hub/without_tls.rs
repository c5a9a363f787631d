//! In place of listening for those from elsewhere, where this was built without TLS.

use std::{convert::Infallible, io, net::SocketAddr, path::Path, sync::Arc};

use tokio::{sync::mpsc, task::JoinHandle};

use super::accept::Peer;
use crate::{
    base::fault::{Fault, Outcome},
    model::member::{Certificate, Fingerprint},
    runtime::access::Register,
};

/// There is none.
pub enum Door {}
#[derive(Clone)]
pub(super) struct Taken(Infallible);
pub(super) struct Authority(Infallible);
pub(super) struct Issued {
    pub(super) der: Vec<u8>,
    pub(super) noted: Certificate,
}

impl Door {
    #[expect(clippy::unused_async, reason = "stands for what waits")]
    pub async fn open(
        _: &Path,
        _: &Path,
        _: &[SocketAddr],
        _: Vec<std::net::TcpListener>,
    ) -> Outcome<Self> {
        Err(Fault::unsupported(
            "this sandwatch was built without TLS, and listens for nobody elsewhere",
        )
        .hint("build it with the feature `tls`, or reach it by an ssh:// context"))
    }

    /// The same.
    pub async fn open_in_time(
        authority: &Path,
        config: &Path,
        at: &[SocketAddr],
        handed: Vec<std::net::TcpListener>,
    ) -> Outcome<(Self, Vec<Fault>)> {
        Self::open(authority, config, at, handed).await.map(|it| (it, Vec::new()))
    }

    pub fn follow<Tell: Fn(&str) + Send + 'static>(
        &self,
        _: Tell,
    ) -> impl Future<Output = ()> + Send + use<Tell> {
        // There is no door: this only has the type.
        std::future::ready(())
    }

    pub(super) fn taken(&self) -> Taken {
        match *self {}
    }

    pub(super) fn authority(&self) -> Arc<Authority> {
        match *self {}
    }

    pub(super) fn accept(
        self,
        _: Arc<dyn Register>,
        _: &mpsc::Sender<io::Result<Peer>>,
    ) -> Outcome<Vec<JoinHandle<()>>> {
        match self {}
    }
}

impl Taken {
    pub(super) fn all(&self) -> Vec<SocketAddr> {
        match self.0 {}
    }
}

impl Authority {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        match self.0 {}
    }

    pub(super) fn client(&self, _: &[u8]) -> Outcome<Issued> {
        match self.0 {}
    }
}
