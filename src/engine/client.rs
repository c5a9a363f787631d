//! The engine as one client sees it: `Runtime` with the client's identity filled in.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_stream::StreamExt;

use super::{Inner, feed::Feed, fleet};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::{AskId, SandboxId, SessionId, SnapshotId},
        limits::ANSWER_WITHIN,
        units::Size,
    },
    model::{
        ask::{Answer, Ask},
        change::{Applied, ApplyRequest, DiffPiece, DiffRequest, Subject},
        check::Check,
        event::Event,
        foreign::{Adoption, Foreign},
        history::{HistoryPage, HistoryRequest, Recording, SearchPage, SearchRequest},
        output::{Fidelity, From, Output, OutputRequest},
        sandbox::{Sandbox, SandboxSpec},
        session::{Lease, Session, SessionSpec},
        snapshot::{Snapshot, SnapshotCause},
    },
    runtime::{
        AsksWanted, BoxStream, ExecOutput, Fork, HubStatus, Identity, LeaseVerb, Runtime,
        ScreenShot, WaitFor,
    },
};

/// One client of an engine.
pub(super) struct Client {
    engine: Arc<Inner>,
    who: Identity,
}

impl Client {
    pub(super) fn new(engine: Arc<Inner>, who: Identity) -> Self {
        Self { engine, who }
    }
}

/// Runs a verb of the engine to its end, whatever becomes of the client.
macro_rules! to_its_end {
    ($self:ident, $engine:ident, $id:ident => $verb:expr) => {{
        let ($engine, $id) = ($self.engine.clone(), $id.clone());
        Inner::detached(async move { $verb.await }).await
    }};
}

#[async_trait]
impl Runtime for Client {
    async fn hub(&self) -> Outcome<HubStatus> {
        Ok(self.engine.status())
    }

    async fn shutdown(&self) -> Outcome<()> {
        Err(Fault::unsupported("this engine is part of its client and ends with it"))
    }

    async fn doctor(&self) -> Outcome<Vec<Check>> {
        Ok(self.engine.doctor().await)
    }

    async fn events(&self) -> Outcome<BoxStream<Outcome<Event>>> {
        let feed = Feed::open(&self.engine);
        self.engine.attention.notify_one();
        Ok(Box::pin(feed))
    }

    async fn list(&self) -> Outcome<Vec<Sandbox>> {
        let shared = self.engine.fleet().shared();
        self.engine.attention.notify_one();
        Ok(fleet::sorted(shared))
    }

    async fn create(&self, spec: SandboxSpec) -> Outcome<Sandbox> {
        let engine = self.engine.clone();
        Inner::detached(async move { engine.create(spec).await }).await
    }

    async fn others(&self) -> Outcome<Vec<Foreign>> {
        self.engine.others().await
    }

    async fn adopt(&self, adoption: Adoption) -> Outcome<Sandbox> {
        let engine = self.engine.clone();
        Inner::detached(async move { engine.take_in(adoption).await }).await
    }

    async fn pause(&self, id: &SandboxId) -> Outcome<()> {
        to_its_end!(self, engine, id => engine.pause(&id))
    }

    async fn resume(&self, id: &SandboxId) -> Outcome<()> {
        to_its_end!(self, engine, id => engine.resume(&id))
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Outcome<()> {
        to_its_end!(self, engine, id => engine.stop(&id, grace))
    }

    async fn remove(&self, id: &SandboxId) -> Outcome<()> {
        to_its_end!(self, engine, id => engine.remove(&id))
    }

    async fn asks(&self, wanted: &AsksWanted) -> Outcome<Vec<Ask>> {
        self.engine.ended_asks(wanted).await
    }

    async fn standing(&self) -> Outcome<Vec<Ask>> {
        self.engine.standing_asks().await
    }

    async fn revoke(&self, id: &AskId) -> Outcome<Ask> {
        let who = self.who.clone();
        to_its_end!(self, engine, id => engine.revoke(&who, &id))
    }

    async fn decide(&self, id: &AskId, digest: &str, answer: Answer) -> Outcome<Ask> {
        let (who, digest) = (self.who.clone(), digest.to_owned());
        to_its_end!(self, engine, id => engine.decide(&who, &id, &digest, answer))
    }

    async fn snapshots(&self) -> Outcome<Vec<Snapshot>> {
        Ok(self.engine.snapshots())
    }

    async fn snapshot(&self, id: &SandboxId, name: Option<String>) -> Outcome<Snapshot> {
        to_its_end!(self, engine, id => async {
            Ok(engine.snapshot(&id, name, SnapshotCause::Asked).await?.0)
        })
    }

    async fn remove_snapshot(&self, id: &SnapshotId) -> Outcome<()> {
        to_its_end!(self, engine, id => engine.remove_snapshot(&id))
    }

    async fn restore(&self, id: &SandboxId, to: Option<&SnapshotId>) -> Outcome<Sandbox> {
        let to = to.cloned();
        to_its_end!(self, engine, id => engine.restore(&id, to.as_ref()))
    }

    async fn fork(&self, from: Subject, how: Fork) -> Outcome<Sandbox> {
        to_its_end!(self, engine, from => engine.fork(from, how))
    }

    async fn diff(
        &self,
        of: Subject,
        request: DiffRequest,
    ) -> Outcome<BoxStream<Outcome<DiffPiece>>> {
        self.engine.diff(of, request).await
    }

    async fn apply(&self, id: &SandboxId, request: ApplyRequest) -> Outcome<Applied> {
        to_its_end!(self, engine, id => engine.apply(&id, request))
    }

    async fn take_back(&self, id: &SandboxId, overwrite: bool) -> Outcome<Applied> {
        to_its_end!(self, engine, id => engine.take_back(&id, overwrite))
    }

    async fn open(&self, id: &SandboxId, spec: SessionSpec) -> Outcome<Session> {
        to_its_end!(self, engine, id => engine.open(&id, spec))
    }

    async fn exec(
        &self,
        id: &SandboxId,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
        self.engine.exec(id, spec, stdin).await
    }

    async fn output(
        &self,
        id: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        self.engine.output(id, request).await
    }

    async fn screen(&self, id: &SessionId) -> Outcome<ScreenShot> {
        let title = {
            let fleet = self.engine.fleet();
            fleet.of_session(id).ok().and_then(|it| it.session(id)?.title.clone())
        };
        let request =
            OutputRequest { from: From::Now, fidelity: Fidelity::Screen, every_at_least: None };
        let mut output = self.engine.output(id, request).await?;
        let first = tokio::time::timeout(ANSWER_WITHIN, async {
            while let Some(message) = output.next().await {
                if let Output::Keyframe { offset, size, state, .. } = message? {
                    return Ok(ScreenShot { offset, size, state, title });
                }
            }
            Err(Fault::lost("the session's host sent no screen"))
        });
        first
            .await
            .unwrap_or_else(|_| Err(Fault::late("the session's host sent no screen in time")))
    }

    async fn input(&self, id: &SessionId, bytes: Bytes) -> Outcome<()> {
        self.engine.input(id, &self.who, bytes).await
    }

    async fn resize(&self, id: &SessionId, size: Size) -> Outcome<()> {
        self.engine.resize(id, &self.who, size).await
    }

    async fn lease(&self, id: &SessionId, verb: LeaseVerb) -> Outcome<Option<Lease>> {
        self.engine.lease(id, &self.who, verb)
    }

    async fn wait(&self, id: &SessionId, what: WaitFor, within: Option<Duration>) -> Outcome<()> {
        self.engine.wait(id, what, within).await
    }

    async fn history(&self, id: &SessionId, request: HistoryRequest) -> Outcome<HistoryPage> {
        self.engine.history(id, request).await
    }

    async fn search(&self, id: &SessionId, request: SearchRequest) -> Outcome<SearchPage> {
        self.engine.search(id, request).await
    }

    async fn recordings(&self) -> Outcome<Vec<Recording>> {
        self.engine.recordings().await
    }

    async fn export(&self, id: &SessionId) -> Outcome<BoxStream<Outcome<Bytes>>> {
        self.engine.export(id).await
    }

    async fn remove_recording(&self, id: &SessionId) -> Outcome<()> {
        self.engine.remove_recording(id).await
    }
}
