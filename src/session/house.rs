//! One sandbox's sessions over a driver's place.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::seat::{BoxStream, ExecOutput, Seat, SeatEvent};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        units::Size,
    },
    driver::{Ground, Place},
    model::{
        output::{Output, OutputRequest},
        session::{Lease, Session, SessionSpec},
    },
};

/// Holds the sessions of one place. Made inside a tokio runtime, of either flavour.
pub struct House {
    place: Arc<dyn Place>,
}

impl House {
    /// `recordings` is the directory of all recordings; with `record` they outlive the sandbox.
    pub fn new(ground: Ground, place: Arc<dyn Place>, recordings: PathBuf, record: bool) -> Self {
        let _ = (ground, recordings, record);
        Self { place }
    }
}

#[async_trait]
impl Seat for House {
    async fn events(&self) -> Outcome<BoxStream<SeatEvent>> {
        Err(Fault::unsupported("not yet"))
    }
    async fn open(&self, _id: SessionId, _spec: SessionSpec) -> Outcome<Session> {
        Err(Fault::unsupported("not yet"))
    }
    async fn exec(
        &self,
        _spec: SessionSpec,
        _stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
        Err(Fault::unsupported("not yet"))
    }
    async fn output(
        &self,
        _session: &SessionId,
        _request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        Err(Fault::unsupported("not yet"))
    }
    async fn input(&self, _session: &SessionId, _bytes: Bytes) -> Outcome<()> {
        Err(Fault::unsupported("not yet"))
    }
    async fn resize(&self, _session: &SessionId, _size: Size) -> Outcome<()> {
        Err(Fault::unsupported("not yet"))
    }
    async fn set_lease(&self, _session: &SessionId, _lease: Option<Lease>) -> Outcome<()> {
        Err(Fault::unsupported("not yet"))
    }
    async fn pause(&self) -> Outcome<()> {
        self.place.pause().await
    }
    async fn resume(&self) -> Outcome<()> {
        self.place.resume().await
    }
    async fn stop(&self, grace: std::time::Duration) -> Outcome<()> {
        self.place.stop(grace).await
    }
    async fn remove(&self) -> Outcome<()> {
        self.place.remove().await
    }
}
