//! Where each call goes: what is about a thing to the hub whose mark that bears, a list to all of them, and what names
//! nothing to the first; `one` gives another of them for that.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::{Many, one::One};
use crate::{
    base::{
        clock::Timestamp,
        fault::Outcome,
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
        AsksWanted, BoxStream, ExecOutput, Fork, HubSeen, HubStatus, LeaseVerb, Link, Nudge,
        Runtime, ScreenShot, WaitFor,
    },
};

fn of(subject: &Subject) -> HubNumber {
    match subject {
        Subject::Sandbox(id) => id.hub(),
        Subject::Snapshot(id) => id.hub(),
    }
}

impl Many {
    /// The hub that a text names a thing of by the mark before an id; `None` = it bears none.
    fn named(&self, word: Option<&String>) -> Outcome<Option<One>> {
        let mark = word.and_then(|it| it.split_once('@')).and_then(|it| it.0.parse().ok());
        mark.map(|it| self.hub_of(HubNumber(it))).transpose()
    }
}

#[async_trait]
impl Runtime for Many {
    fn link(&self) -> Option<watch::Receiver<Link>> {
        self.first().ok()?.link()
    }

    fn hubs(&self) -> Option<watch::Receiver<Arc<Vec<HubSeen>>>> {
        Some(self.seen.subscribe())
    }

    fn look_now(&self) {
        self.members.borrow().iter().for_each(|it| it.look_now());
    }

    fn one(&self, hub: HubNumber) -> Option<Arc<dyn Runtime>> {
        Some(Arc::new(self.hub_of(hub).ok()?))
    }

    async fn hub(&self) -> Outcome<HubStatus> {
        self.first()?.hub().await
    }

    async fn shutdown(&self) -> Outcome<()> {
        self.first()?.shutdown().await
    }

    async fn doctor(&self) -> Outcome<Vec<Check>> {
        self.first()?.doctor().await
    }

    async fn events(&self) -> Outcome<BoxStream<Outcome<Event>>> {
        Ok(self.merged_events())
    }

    async fn list(&self) -> Outcome<Vec<Sandbox>> {
        self.all_sandboxes().await
    }

    async fn create(&self, spec: SandboxSpec) -> Outcome<Sandbox> {
        let hub = spec.from.as_ref().map_or(HubNumber::FIRST, SnapshotId::hub);
        self.hub_of(hub)?.create(spec).await
    }

    async fn others(&self) -> Outcome<Vec<Foreign>> {
        self.all_others().await
    }

    async fn adopt(&self, adoption: Adoption) -> Outcome<Sandbox> {
        self.first()?.adopt(adoption).await
    }

    async fn asks(&self, wanted: &AsksWanted) -> Outcome<Vec<Ask>> {
        self.all_asks(wanted).await
    }

    async fn standing(&self) -> Outcome<Vec<Ask>> {
        self.all_standing().await
    }

    async fn rules(&self) -> Outcome<Rulebook> {
        self.first()?.rules().await
    }

    async fn propose(&self, question: Question) -> Outcome<Proposal> {
        let hub = match &question {
            Question::Answer { ask, .. } => ask.hub(),
            Question::Rules { .. } | Question::Rule(_) => HubNumber::FIRST,
        };
        self.hub_of(hub)?.propose(question).await
    }

    async fn add_rules(&self, text: &str, domain: Domain) -> Outcome<Vec<KnownRule>> {
        self.first()?.add_rules(text, domain).await
    }

    async fn remove_rule(&self, name: &RuleName) -> Outcome<KnownRule> {
        self.first()?.remove_rule(name).await
    }

    async fn audit(&self, request: AuditRequest) -> Outcome<BoxStream<Outcome<Vec<Entry>>>> {
        self.first()?.audit(request).await
    }

    async fn audit_head(&self) -> Outcome<Head> {
        self.first()?.audit_head().await
    }

    async fn timeline(&self, request: TimelineRequest) -> Outcome<TimelinePage> {
        let session = request.session.as_ref().map(|it| self.hub_of(it.hub())).transpose()?;
        match session.map_or_else(|| self.named(request.sandbox.as_ref()), |it| Ok(Some(it)))? {
            Some(one) => one.timeline(request).await,
            None if request.sandbox.is_some() => self.first()?.timeline(request).await,
            None => self.all_happenings(request).await,
        }
    }

    async fn follow_timeline(
        &self,
        request: TimelineRequest,
    ) -> Outcome<BoxStream<Outcome<TimelinePage>>> {
        let session = request.session.as_ref().map(|it| self.hub_of(it.hub())).transpose()?;
        let of = session.map_or_else(|| self.named(request.sandbox.as_ref()), |it| Ok(Some(it)))?;
        of.map_or_else(|| self.first(), Ok)?.follow_timeline(request).await
    }

    async fn sign(&self, now: Option<Timestamp>) -> Outcome<Option<Timestamp>> {
        self.sign_all(now).await
    }

    async fn gauges(&self, wanted: GaugesWanted) -> Outcome<BoxStream<Outcome<Gauges>>> {
        self.all_gauges(wanted).await
    }

    async fn past(&self, wanted: PastWanted) -> Outcome<Past> {
        let hub = wanted.sandbox.as_ref().map_or(HubNumber::FIRST, SandboxId::hub);
        self.hub_of(hub)?.past(wanted).await
    }

    async fn snapshots(&self) -> Outcome<Vec<Snapshot>> {
        self.all_snapshots().await
    }

    async fn restore(&self, id: &SandboxId, to: Option<&SnapshotId>) -> Outcome<Sandbox> {
        self.hub_of(id.hub())?.restore(id, to).await
    }

    async fn fork(&self, from: Subject, how: Fork) -> Outcome<Sandbox> {
        self.hub_of(of(&from))?.fork(from, how).await
    }

    async fn diff(
        &self,
        subject: Subject,
        request: DiffRequest,
    ) -> Outcome<BoxStream<Outcome<DiffPiece>>> {
        self.hub_of(of(&subject))?.diff(subject, request).await
    }

    async fn recordings(&self) -> Outcome<Vec<Recording>> {
        self.all_recordings().await
    }

    async fn pause(&self, id: &SandboxId) -> Outcome<()> {
        self.hub_of(id.hub())?.pause(id).await
    }

    async fn resume(&self, id: &SandboxId) -> Outcome<()> {
        self.hub_of(id.hub())?.resume(id).await
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Outcome<()> {
        self.hub_of(id.hub())?.stop(id, grace).await
    }

    async fn remove(&self, id: &SandboxId) -> Outcome<()> {
        self.hub_of(id.hub())?.remove(id).await
    }

    async fn give(&self, id: &SandboxId, given: Vec<Given>) -> Outcome<()> {
        self.hub_of(id.hub())?.give(id, given).await
    }

    async fn traffic(&self, id: &SandboxId) -> Outcome<Traffic> {
        self.hub_of(id.hub())?.traffic(id).await
    }

    async fn decide(&self, id: &AskId, digest: &str, choice: Choice) -> Outcome<Ask> {
        self.hub_of(id.hub())?.decide(id, digest, choice).await
    }

    async fn revoke(&self, id: &AskId) -> Outcome<Ask> {
        self.hub_of(id.hub())?.revoke(id).await
    }

    async fn snapshot(
        &self,
        id: &SandboxId,
        name: Option<String>,
        kind: SnapshotKind,
    ) -> Outcome<Snapshot> {
        self.hub_of(id.hub())?.snapshot(id, name, kind).await
    }

    async fn remove_snapshot(&self, id: &SnapshotId) -> Outcome<()> {
        self.hub_of(id.hub())?.remove_snapshot(id).await
    }

    async fn apply(&self, id: &SandboxId, request: ApplyRequest) -> Outcome<Applied> {
        self.hub_of(id.hub())?.apply(id, request).await
    }

    async fn take_back(&self, id: &SandboxId, overwrite: bool) -> Outcome<Applied> {
        self.hub_of(id.hub())?.take_back(id, overwrite).await
    }

    async fn open(&self, id: &SandboxId, spec: SessionSpec) -> Outcome<Session> {
        self.hub_of(id.hub())?.open(id, spec).await
    }

    async fn exec(
        &self,
        id: &SandboxId,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
        self.hub_of(id.hub())?.exec(id, spec, stdin).await
    }

    async fn output(
        &self,
        id: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        self.hub_of(id.hub())?.output(id, request).await
    }

    async fn screen(&self, id: &SessionId) -> Outcome<ScreenShot> {
        self.hub_of(id.hub())?.screen(id).await
    }

    async fn input(&self, id: &SessionId, bytes: Bytes) -> Outcome<()> {
        self.hub_of(id.hub())?.input(id, bytes).await
    }

    async fn nudge(&self, id: &SessionId, what: Nudge) -> Outcome<()> {
        self.hub_of(id.hub())?.nudge(id, what).await
    }

    async fn resize(&self, id: &SessionId, size: Size) -> Outcome<()> {
        self.hub_of(id.hub())?.resize(id, size).await
    }

    async fn lease(&self, id: &SessionId, verb: LeaseVerb) -> Outcome<Option<Lease>> {
        self.hub_of(id.hub())?.lease(id, verb).await
    }

    async fn wait(&self, id: &SessionId, what: WaitFor, within: Option<Duration>) -> Outcome<()> {
        self.hub_of(id.hub())?.wait(id, what, within).await
    }

    async fn explain(&self, id: &SessionId) -> Outcome<Explained> {
        self.hub_of(id.hub())?.explain(id).await
    }

    async fn syscalls(&self, id: &SessionId, pid: u32) -> Outcome<BoxStream<Outcome<SyscallPart>>> {
        self.hub_of(id.hub())?.syscalls(id, pid).await
    }

    async fn history(&self, id: &SessionId, request: HistoryRequest) -> Outcome<HistoryPage> {
        self.hub_of(id.hub())?.history(id, request).await
    }

    async fn search(&self, id: &SessionId, request: SearchRequest) -> Outcome<SearchPage> {
        self.hub_of(id.hub())?.search(id, request).await
    }

    async fn replay(&self, id: &SessionId, moment: Moment) -> Outcome<Replay> {
        self.hub_of(id.hub())?.replay(id, moment).await
    }

    async fn find(&self, id: &SessionId, request: FindRequest) -> Outcome<FindPage> {
        self.hub_of(id.hub())?.find(id, request).await
    }

    async fn export(&self, id: &SessionId, span: Span) -> Outcome<BoxStream<Outcome<Bytes>>> {
        self.hub_of(id.hub())?.export(id, span).await
    }

    async fn remove_recording(&self, id: &SessionId) -> Outcome<()> {
        self.hub_of(id.hub())?.remove_recording(id).await
    }
}
