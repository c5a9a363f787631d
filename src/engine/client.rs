//! The engine as one client sees it: `Runtime` with the client's identity filled in.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_stream::StreamExt;

use super::{
    Inner,
    audit::words::{self, about, by_client},
    feed::Feed,
    fleet,
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::{AskId, SandboxId, SessionId, SnapshotId},
        limits::ANSWER_WITHIN,
        units::Size,
    },
    model::{
        ask::{Ask, Choice},
        audit::{Act, Action, AuditRequest, Entry, Head},
        change::{Applied, ApplyRequest, DiffPiece, DiffRequest, Subject},
        check::Check,
        event::Event,
        foreign::{Adoption, Foreign},
        gauge::{Gauges, GaugesWanted, Past, PastWanted},
        history::{HistoryPage, HistoryRequest, Recording, SearchPage, SearchRequest},
        output::{Fidelity, From, Output, OutputRequest},
        replay::{FindPage, FindRequest, Moment, Replay, Span},
        rule::{Domain, KnownRule, Proposal, Question, RuleName, Rulebook},
        sandbox::{Sandbox, SandboxSpec},
        secret::Given,
        session::{Lease, Session, SessionSpec},
        snapshot::{Snapshot, SnapshotCause, SnapshotKind},
        status::Explained,
        syscall::SyscallPart,
        timeline::{TimelinePage, TimelineRequest},
        traffic::Traffic,
    },
    runtime::{
        AsksWanted, BoxStream, ExecOutput, Fork, HubStatus, Identity, LeaseVerb, Nudge, Runtime,
        ScreenShot, WaitFor,
    },
};

/// One client of an engine.
pub(super) struct Client {
    pub(super) engine: Arc<Inner>,
    pub(super) who: Identity,
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

/// The same, with an entry in the audit record before the answer, once it is done.
macro_rules! recorded {
    ($self:ident, $engine:ident, $id:ident, $action:ident => $verb:expr) => {{
        let ($engine, $id, who) = ($self.engine.clone(), $id.clone(), $self.who.clone());
        Inner::detached(async move {
            // What is removed has no name any more.
            let act = $engine.act(&who, Action::$action, &$id);
            let done = $verb.await?;
            $engine.record(words::now(act)).await;
            Ok(done)
        })
        .await
    }};
}

impl crate::runtime::access::Access for Client {}

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
        // Nobody is to take it for an empty list that nobody can be asked.
        if let (true, Some(fault)) = (shared.is_empty(), self.engine.unlisted()) {
            return Err(fault);
        }
        Ok(fleet::sorted(shared).into_iter().map(Arc::unwrap_or_clone).collect())
    }

    async fn create(&self, spec: SandboxSpec) -> Outcome<Sandbox> {
        let (engine, who) = (self.engine.clone(), self.who.clone());
        let work = async move {
            let made = engine.create(spec.clone()).await?;
            let act = by_client(&who, Action::SandboxCreated, &made.name);
            engine.record(words::made(act, &made, &spec)).await;
            Ok(made)
        };
        Inner::detached(work).await
    }

    async fn others(&self) -> Outcome<Vec<Foreign>> {
        self.engine.others().await
    }

    async fn adopt(&self, adoption: Adoption) -> Outcome<Sandbox> {
        let (engine, who) = (self.engine.clone(), self.who.clone());
        let work = async move {
            let container = adoption.container.clone();
            let made = engine.take_in(adoption).await?;
            let act = by_client(&who, Action::SandboxAdopted, &made.name);
            let act = about(act, &made.id, &made.name).with("container", container);
            engine.record(act.with("driver", made.driver.as_str())).await;
            Ok(made)
        };
        Inner::detached(work).await
    }

    async fn pause(&self, id: &SandboxId) -> Outcome<()> {
        recorded!(self, engine, id, SandboxPaused => engine.pause(&id))
    }

    async fn resume(&self, id: &SandboxId) -> Outcome<()> {
        recorded!(self, engine, id, SandboxResumed => engine.resume(&id))
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Outcome<()> {
        recorded!(self, engine, id, SandboxStopped => engine.stop(&id, grace))
    }

    async fn remove(&self, id: &SandboxId) -> Outcome<()> {
        recorded!(self, engine, id, SandboxRemoved => engine.remove(&id))
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

    async fn traffic(&self, id: &SandboxId) -> Outcome<Traffic> {
        self.engine.traffic(id).await
    }

    async fn gauges(&self, wanted: GaugesWanted) -> Outcome<BoxStream<Outcome<Gauges>>> {
        Ok(self.engine.gauges(wanted))
    }

    async fn past(&self, wanted: PastWanted) -> Outcome<Past> {
        self.engine.gauge_past(&wanted)
    }

    async fn decide(&self, id: &AskId, digest: &str, choice: Choice) -> Outcome<Ask> {
        let (who, digest) = (self.who.clone(), digest.to_owned());
        to_its_end!(self, engine, id => engine.decide(&who, &id, &digest, choice))
    }

    async fn rules(&self) -> Outcome<Rulebook> {
        self.engine.rulebook().await
    }

    async fn propose(&self, question: Question) -> Outcome<Proposal> {
        self.engine.propose(question).await
    }

    async fn add_rules(&self, text: &str, domain: Domain) -> Outcome<Vec<KnownRule>> {
        let (engine, who, text) = (self.engine.clone(), self.who.clone(), text.to_owned());
        Inner::detached(async move { engine.add_rules(&who, &text, domain).await }).await
    }

    async fn remove_rule(&self, name: &RuleName) -> Outcome<KnownRule> {
        let who = self.who.clone();
        to_its_end!(self, engine, name => engine.remove_rule(&who, &name, None))
    }

    async fn audit(&self, request: AuditRequest) -> Outcome<BoxStream<Outcome<Vec<Entry>>>> {
        self.engine.audit(request).await
    }

    async fn audit_head(&self) -> Outcome<Head> {
        self.engine.audit_head().await
    }

    async fn snapshots(&self) -> Outcome<Vec<Snapshot>> {
        Ok(self.engine.snapshots())
    }

    async fn snapshot(
        &self,
        id: &SandboxId,
        name: Option<String>,
        kind: SnapshotKind,
    ) -> Outcome<Snapshot> {
        let who = self.who.clone();
        to_its_end!(self, engine, id => async {
            let (taken, _pin) = engine.snapshot(&id, name, kind, SnapshotCause::Asked).await?;
            let act = by_client(&who, Action::SnapshotTaken, taken.id.as_str());
            engine.record(words::of_snapshot(act, &taken)).await;
            Ok(taken)
        })
    }

    async fn remove_snapshot(&self, id: &SnapshotId) -> Outcome<()> {
        let who = self.who.clone();
        to_its_end!(self, engine, id => async {
            let gone = engine.shelves().get(&id)?;
            engine.remove_snapshot(&id).await?;
            let act = by_client(&who, Action::SnapshotRemoved, id.as_str());
            engine.record(words::of_snapshot(act, &gone.snapshot)).await;
            Ok(())
        })
    }

    async fn give(&self, id: &SandboxId, given: Vec<Given>) -> Outcome<()> {
        let who = self.who.clone();
        to_its_end!(self, engine, id => async {
            let names: Vec<String> = given.iter().map(|it| it.name.clone()).collect();
            engine.give(&id, given).await?;
            let act = engine.act(&who, Action::SecretsGiven, &id);
            engine.record(act.with("names", names)).await;
            Ok(())
        })
    }

    async fn restore(&self, id: &SandboxId, to: Option<&SnapshotId>) -> Outcome<Sandbox> {
        let (who, to) = (self.who.clone(), to.cloned());
        to_its_end!(self, engine, id => async {
            let restored = engine.restore(&id, to.as_ref()).await?;
            let act = engine.act(&who, Action::SandboxRestored, &id);
            engine.record(act.with_any("to", to.as_ref().map(SnapshotId::as_str))).await;
            Ok(restored)
        })
    }

    async fn fork(&self, from: Subject, how: Fork) -> Outcome<Sandbox> {
        let who = self.who.clone();
        to_its_end!(self, engine, from => async {
            let origin = match &from {
                Subject::Sandbox(id) => id.to_string(),
                Subject::Snapshot(id) => id.to_string(),
            };
            let made = engine.fork(from, how).await?;
            let act = by_client(&who, Action::SandboxForked, &made.name);
            let spec = engine.fleet().get(&made.id).map(|it| Arc::clone(&it.spec));
            let act = match spec {
                Ok(spec) => words::made(act, &made, &spec),
                // Removed already.
                Err(_) => about(act, &made.id, &made.name),
            };
            engine.record(act.with("of", origin)).await;
            Ok(made)
        })
    }

    async fn diff(
        &self,
        of: Subject,
        request: DiffRequest,
    ) -> Outcome<BoxStream<Outcome<DiffPiece>>> {
        self.engine.diff(of, request)
    }

    async fn apply(&self, id: &SandboxId, request: ApplyRequest) -> Outcome<Applied> {
        let who = self.who.clone();
        to_its_end!(self, engine, id => async {
            let act = engine.act(&who, Action::WorkspaceApplied, &id);
            let act = words::applying(act, &request);
            let applied = engine.apply(&id, request).await?;
            if !applied.refused() {
                engine.record(words::written(words::now(act), &applied)).await;
            }
            Ok(applied)
        })
    }

    async fn take_back(&self, id: &SandboxId, overwrite: bool) -> Outcome<Applied> {
        let who = self.who.clone();
        to_its_end!(self, engine, id => async {
            let act = engine.act(&who, Action::WorkspaceTakenBack, &id);
            let applied = engine.take_back(&id, overwrite).await?;
            if !applied.refused() {
                engine.record(words::written(words::now(act), &applied)).await;
            }
            Ok(applied)
        })
    }

    async fn open(&self, id: &SandboxId, spec: SessionSpec) -> Outcome<Session> {
        let who = self.who.clone();
        to_its_end!(self, engine, id => async {
            let act = words::program(engine.act(&who, Action::SessionOpened, &id), &spec);
            let session = engine.open(&id, spec).await?;
            let act = Act { subject: session.name(&act.subject), ..words::now(act) };
            engine.record(act.with("session", session.id.as_str())).await;
            Ok(session)
        })
    }

    async fn exec(
        &self,
        id: &SandboxId,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
        self.engine.fleet().get(id)?;
        // Before it runs, so that none runs that is not in the record.
        let act = self.engine.act(&self.who, Action::ProgramRun, id);
        self.engine.record(words::program(act, &spec)).await;
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

    async fn nudge(&self, id: &SessionId, what: Nudge) -> Outcome<()> {
        self.engine.nudge(id, &self.who, &what).await
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

    async fn explain(&self, id: &SessionId) -> Outcome<Explained> {
        self.engine.explain(id).await
    }

    async fn syscalls(&self, id: &SessionId, pid: u32) -> Outcome<BoxStream<Outcome<SyscallPart>>> {
        // Before it is looked at, so that nobody looks who is not in the record.
        let act = self.engine.act_on_session(&self.who, Action::SyscallsWatched, id)?;
        self.engine.record(act.with("process", u64::from(pid))).await;
        let parts = self.engine.syscalls(id, pid).await?;
        Ok(Box::pin(parts.map(Ok)))
    }

    async fn search(&self, id: &SessionId, request: SearchRequest) -> Outcome<SearchPage> {
        self.engine.search(id, request).await
    }

    async fn replay(&self, id: &SessionId, moment: Moment) -> Outcome<Replay> {
        self.engine.replay(id, moment).await
    }

    async fn find(&self, id: &SessionId, request: FindRequest) -> Outcome<FindPage> {
        self.engine.find(id, request).await
    }

    async fn timeline(&self, request: TimelineRequest) -> Outcome<TimelinePage> {
        self.engine.timeline(request).await
    }

    async fn follow_timeline(
        &self,
        request: TimelineRequest,
    ) -> Outcome<BoxStream<Outcome<TimelinePage>>> {
        self.engine.follow_timeline(request).await
    }

    async fn sign(&self, now: Option<Timestamp>) -> Outcome<Option<Timestamp>> {
        self.engine.sign(&self.who, now).await
    }

    async fn recordings(&self) -> Outcome<Vec<Recording>> {
        self.engine.recordings().await
    }

    async fn export(&self, id: &SessionId, span: Span) -> Outcome<BoxStream<Outcome<Bytes>>> {
        self.engine.export(id, span).await
    }

    async fn remove_recording(&self, id: &SessionId) -> Outcome<()> {
        self.engine.remove_recording(id).await?;
        let act = by_client(&self.who, Action::RecordingRemoved, id.as_str());
        self.engine.record(act.with("session", id.as_str())).await;
        Ok(())
    }
}
