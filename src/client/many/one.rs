//! One of several hubs alone. The mark of its things is taken off on the way there, and put on what comes back.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_stream::StreamExt;

use super::{
    mark::{Mark, Marked},
    member::Member,
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::{AskId, HubNumber, SandboxId, SessionId, SnapshotId},
        units::Size,
    },
    model::{
        ask::{Ask, Choice},
        audit::{AuditRequest, Entry, Head},
        change::{Applied, ApplyRequest, DiffPiece, DiffRequest, Subject},
        check::Check,
        event::Event,
        foreign::{Adoption, Foreign},
        gauge::{Gauges, GaugesWanted, Past, PastWanted},
        history::{HistoryPage, HistoryRequest, Recording, SearchPage, SearchRequest},
        output::{Output, OutputRequest},
        replay::{FindPage, FindRequest, Moment, Replay, Span},
        rule::{Domain, KnownRule, Proposal, Question, RuleName, Rulebook},
        sandbox::{Sandbox, SandboxSpec},
        secret::Given,
        session::{Lease, Session, SessionSpec},
        snapshot::{Snapshot, SnapshotKind},
        status::Explained,
        syscall::SyscallPart,
        timeline::{TimelinePage, TimelineRequest},
        traffic::Traffic,
    },
    runtime::{
        AsksWanted, BoxStream, ExecOutput, Fork, HubStatus, LeaseVerb, Link, Nudge, Runtime,
        ScreenShot, WaitFor,
    },
};

/// One of several hubs, for as long as it is one of them: whoever keeps this keeps no connection.
#[derive(Clone)]
pub(super) struct One {
    mark: Mark,
    member: Weak<Member>,
}

impl One {
    pub(super) fn of(member: &Arc<Member>) -> Self {
        Self { mark: member.mark.clone(), member: Arc::downgrade(member) }
    }

    pub(super) fn number(&self) -> HubNumber {
        self.mark.hub
    }

    pub(super) fn mark(&self) -> &Mark {
        &self.mark
    }

    pub(super) fn up(&self) -> Outcome<Arc<dyn Runtime>> {
        let member = self.member.upgrade().ok_or_else(super::gone)?;
        member.runtime().map_err(|it| self.fault(it))
    }

    /// Once it was reached; `None` when it is none of those there are any more.
    pub(super) async fn reached(&self) -> Option<()> {
        let reached = self.member.upgrade()?.reached();
        reached.await.map(drop)
    }

    pub(super) fn fault(&self, fault: Fault) -> Fault {
        self.mark.fault(fault)
    }

    pub(super) fn put<T: Marked>(&self, it: T) -> T {
        self.mark.put(it)
    }

    fn question(&self, question: Question) -> Outcome<Question> {
        Ok(match question {
            Question::Answer { ask, digest, choice } => {
                Question::Answer { ask: self.mark().ask(&ask)?, digest, choice }
            }
            other => other,
        })
    }

    fn asks_wanted(&self, wanted: &AsksWanted) -> Outcome<AsksWanted> {
        let ids: Outcome<Vec<AskId>> = wanted.ids.iter().map(|it| self.mark().ask(it)).collect();
        Ok(AsksWanted { ids: ids?, most: wanted.most })
    }

    fn timeline_wanted(&self, mut request: TimelineRequest) -> Outcome<TimelineRequest> {
        request.sandbox = request.sandbox.map(|it| self.mark().word(&it));
        request.session = request.session.map(|it| self.mark().session(&it)).transpose()?;
        Ok(request)
    }

    /// A stream with the mark put on all that comes.
    fn marked<T: Marked + Send + 'static>(
        &self,
        stream: BoxStream<Outcome<T>>,
    ) -> BoxStream<Outcome<T>> {
        if self.mark().is_first() {
            return stream;
        }
        let mark = self.mark.clone();
        Box::pin(stream.map(move |it| match it {
            Ok(it) => Ok(mark.put(it)),
            Err(fault) => Err(mark.fault(fault)),
        }))
    }
}

#[async_trait]
impl Runtime for One {
    fn link(&self) -> Option<watch::Receiver<Link>> {
        self.up().ok()?.link()
    }

    async fn hub(&self) -> Outcome<HubStatus> {
        self.up()?.hub().await.map_err(|it| self.fault(it))
    }

    async fn shutdown(&self) -> Outcome<()> {
        self.up()?.shutdown().await.map_err(|it| self.fault(it))
    }

    async fn doctor(&self) -> Outcome<Vec<Check>> {
        self.up()?.doctor().await.map_err(|it| self.fault(it))
    }

    async fn events(&self) -> Outcome<BoxStream<Outcome<Event>>> {
        let events = self.up()?.events().await.map_err(|it| self.fault(it))?;
        Ok(self.marked(events))
    }

    async fn list(&self) -> Outcome<Vec<Sandbox>> {
        self.up()?.list().await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn create(&self, mut spec: SandboxSpec) -> Outcome<Sandbox> {
        let hub = self.up()?;
        spec.from = spec.from.map(|it| self.mark().snapshot(&it)).transpose()?;
        hub.create(spec).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn others(&self) -> Outcome<Vec<Foreign>> {
        self.up()?.others().await.map_err(|it| self.fault(it))
    }

    async fn adopt(&self, adoption: Adoption) -> Outcome<Sandbox> {
        let made = self.up()?.adopt(adoption).await;
        made.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn asks(&self, wanted: &AsksWanted) -> Outcome<Vec<Ask>> {
        let (hub, wanted) = (self.up()?, self.asks_wanted(wanted)?);
        hub.asks(&wanted).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn standing(&self) -> Outcome<Vec<Ask>> {
        self.up()?.standing().await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn rules(&self) -> Outcome<Rulebook> {
        self.up()?.rules().await.map_err(|it| self.fault(it))
    }

    async fn propose(&self, question: Question) -> Outcome<Proposal> {
        let (hub, question) = (self.up()?, self.question(question)?);
        hub.propose(question).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn add_rules(&self, text: &str, domain: Domain) -> Outcome<Vec<KnownRule>> {
        self.up()?.add_rules(text, domain).await.map_err(|it| self.fault(it))
    }

    async fn remove_rule(&self, name: &RuleName) -> Outcome<KnownRule> {
        self.up()?.remove_rule(name).await.map_err(|it| self.fault(it))
    }

    async fn audit(&self, mut request: AuditRequest) -> Outcome<BoxStream<Outcome<Vec<Entry>>>> {
        request.sandbox = request.sandbox.map(|it| self.mark().word(&it));
        self.up()?.audit(request).await.map_err(|it| self.fault(it))
    }

    async fn audit_head(&self) -> Outcome<Head> {
        self.up()?.audit_head().await.map_err(|it| self.fault(it))
    }

    async fn timeline(&self, request: TimelineRequest) -> Outcome<TimelinePage> {
        let (hub, request) = (self.up()?, self.timeline_wanted(request)?);
        hub.timeline(request).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn follow_timeline(
        &self,
        request: TimelineRequest,
    ) -> Outcome<BoxStream<Outcome<TimelinePage>>> {
        let (hub, request) = (self.up()?, self.timeline_wanted(request)?);
        let pages = hub.follow_timeline(request).await.map_err(|it| self.fault(it))?;
        Ok(self.marked(pages))
    }

    async fn sign(&self, now: Option<Timestamp>) -> Outcome<Option<Timestamp>> {
        self.up()?.sign(now).await.map_err(|it| self.fault(it))
    }

    async fn gauges(&self, mut wanted: GaugesWanted) -> Outcome<BoxStream<Outcome<Gauges>>> {
        let only: Outcome<_> = wanted.only.iter().map(|it| self.mark().sandbox(it)).collect();
        wanted.only = only?;
        let rounds = self.up()?.gauges(wanted).await.map_err(|it| self.fault(it))?;
        Ok(self.marked(rounds))
    }

    async fn past(&self, mut wanted: PastWanted) -> Outcome<Past> {
        wanted.sandbox = wanted.sandbox.map(|it| self.mark().sandbox(&it)).transpose()?;
        self.up()?.past(wanted).await.map_err(|it| self.fault(it))
    }

    async fn snapshots(&self) -> Outcome<Vec<Snapshot>> {
        self.up()?.snapshots().await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn restore(&self, id: &SandboxId, to: Option<&SnapshotId>) -> Outcome<Sandbox> {
        let (hub, id) = (self.up()?, self.mark().sandbox(id)?);
        let to = to.map(|it| self.mark().snapshot(it)).transpose()?;
        hub.restore(&id, to.as_ref()).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn fork(&self, from: Subject, how: Fork) -> Outcome<Sandbox> {
        let (hub, from) = (self.up()?, self.mark().subject(from)?);
        hub.fork(from, how).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn diff(
        &self,
        of: Subject,
        mut request: DiffRequest,
    ) -> Outcome<BoxStream<Outcome<DiffPiece>>> {
        let (hub, of) = (self.up()?, self.mark().subject(of)?);
        request.against = request.against.map(|it| self.mark().snapshot(&it)).transpose()?;
        hub.diff(of, request).await.map_err(|it| self.fault(it))
    }

    async fn recordings(&self) -> Outcome<Vec<Recording>> {
        self.up()?.recordings().await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn pause(&self, id: &SandboxId) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.pause(&id).await.map_err(|it| self.fault(it))
    }

    async fn resume(&self, id: &SandboxId) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.resume(&id).await.map_err(|it| self.fault(it))
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.stop(&id, grace).await.map_err(|it| self.fault(it))
    }

    async fn remove(&self, id: &SandboxId) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.remove(&id).await.map_err(|it| self.fault(it))
    }

    async fn give(&self, id: &SandboxId, given: Vec<Given>) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.give(&id, given).await.map_err(|it| self.fault(it))
    }

    async fn traffic(&self, id: &SandboxId) -> Outcome<Traffic> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.traffic(&id).await.map_err(|it| self.fault(it))
    }

    async fn decide(&self, id: &AskId, digest: &str, choice: Choice) -> Outcome<Ask> {
        let (hub, id) = (self.up()?, self.mark.ask(id)?);
        hub.decide(&id, digest, choice).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn revoke(&self, id: &AskId) -> Outcome<Ask> {
        let (hub, id) = (self.up()?, self.mark.ask(id)?);
        hub.revoke(&id).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn snapshot(
        &self,
        id: &SandboxId,
        name: Option<String>,
        kind: SnapshotKind,
    ) -> Outcome<Snapshot> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.snapshot(&id, name, kind).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn remove_snapshot(&self, id: &SnapshotId) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.snapshot(id)?);
        hub.remove_snapshot(&id).await.map_err(|it| self.fault(it))
    }

    async fn apply(&self, id: &SandboxId, request: ApplyRequest) -> Outcome<Applied> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.apply(&id, request).await.map_err(|it| self.fault(it))
    }

    async fn take_back(&self, id: &SandboxId, overwrite: bool) -> Outcome<Applied> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.take_back(&id, overwrite).await.map_err(|it| self.fault(it))
    }

    async fn open(&self, id: &SandboxId, spec: SessionSpec) -> Outcome<Session> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.open(&id, spec).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn exec(
        &self,
        id: &SandboxId,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
        let (hub, id) = (self.up()?, self.mark.sandbox(id)?);
        hub.exec(&id, spec, stdin).await.map_err(|it| self.fault(it))
    }

    async fn output(
        &self,
        id: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.output(&id, request).await.map_err(|it| self.fault(it))
    }

    async fn screen(&self, id: &SessionId) -> Outcome<ScreenShot> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.screen(&id).await.map_err(|it| self.fault(it))
    }

    async fn input(&self, id: &SessionId, bytes: Bytes) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.input(&id, bytes).await.map_err(|it| self.fault(it))
    }

    async fn nudge(&self, id: &SessionId, what: Nudge) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.nudge(&id, what).await.map_err(|it| self.fault(it))
    }

    async fn resize(&self, id: &SessionId, size: Size) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.resize(&id, size).await.map_err(|it| self.fault(it))
    }

    async fn lease(&self, id: &SessionId, verb: LeaseVerb) -> Outcome<Option<Lease>> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        let lease = hub.lease(&id, verb).await.map_err(|it| self.fault(it))?;
        Ok(lease.map(|it| self.put(it)))
    }

    async fn wait(&self, id: &SessionId, what: WaitFor, within: Option<Duration>) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.wait(&id, what, within).await.map_err(|it| self.fault(it))
    }

    async fn explain(&self, id: &SessionId) -> Outcome<Explained> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.explain(&id).await.map(|it| self.put(it)).map_err(|it| self.fault(it))
    }

    async fn syscalls(&self, id: &SessionId, pid: u32) -> Outcome<BoxStream<Outcome<SyscallPart>>> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.syscalls(&id, pid).await.map_err(|it| self.fault(it))
    }

    async fn history(&self, id: &SessionId, request: HistoryRequest) -> Outcome<HistoryPage> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.history(&id, request).await.map_err(|it| self.fault(it))
    }

    async fn search(&self, id: &SessionId, request: SearchRequest) -> Outcome<SearchPage> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.search(&id, request).await.map_err(|it| self.fault(it))
    }

    async fn replay(&self, id: &SessionId, moment: Moment) -> Outcome<Replay> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.replay(&id, moment).await.map_err(|it| self.fault(it))
    }

    async fn find(&self, id: &SessionId, request: FindRequest) -> Outcome<FindPage> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.find(&id, request).await.map_err(|it| self.fault(it))
    }

    async fn export(&self, id: &SessionId, span: Span) -> Outcome<BoxStream<Outcome<Bytes>>> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.export(&id, span).await.map_err(|it| self.fault(it))
    }

    async fn remove_recording(&self, id: &SessionId) -> Outcome<()> {
        let (hub, id) = (self.up()?, self.mark.session(id)?);
        hub.remove_recording(&id).await.map_err(|it| self.fault(it))
    }
}
