//! Every call of `Runtime`, each with its deadline and its connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt};

use super::{
    Client,
    dial::Wires,
    lane::Lanes,
    resume::{Changes, Prints, Resuming, Rounds},
    timeline::Happenings,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{AskId, SandboxId, SessionId, SnapshotId},
        limits::{
            APPLIED_MAX, APPLY_WITHIN, ASKS_KEPT, CREATE_WITHIN, FOREIGN_MAX, HUB_ANSWER_WITHIN,
            IMAGE_WITHIN, KEYFRAME_PIECE_BYTES, PATH_BYTES_MAX, PROJECTS_MAX, PTY_CHUNK_BYTES_MAX,
            RECORDINGS_MAX, RULES_MAX, SANDBOXES_MAX, SNAPSHOT_FIRST_WITHIN, SNAPSHOT_WITHIN,
            SNAPSHOTS_MAX, TTL_MAX,
        },
        text::shown,
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
    wire::{
        convert::{
            ask::{decide_out, wanted_out},
            audit::entries_in,
            change::{apply_out, diff_out, piece_in},
            entry_in, fits,
            gauge::past_wanted_out,
            history::{history_out, search_out},
            hub::{lease_out, nudge_out, wait_out},
            milliseconds,
            output::{ScreenReader, cuts},
            required,
            rule::{question_out, rules_out},
            secret::given_out,
            snapshot::{fork_out, wanted_kind_out},
        },
        v1,
    },
};

impl Client {
    /// Connections to a hub of our own protocol.
    pub(super) fn wires(&self) -> Outcome<Arc<Wires>> {
        let wires = self.shared.wires()?;
        wires.same_protocol()?;
        Ok(wires)
    }
}

async fn screen(wires: Arc<Wires>, id: &SessionId) -> Outcome<ScreenShot> {
    let mut streams = wires.streams();
    let request = v1::ScreenRequest { session: id.to_string() };
    let call = streams.screen(wires.request(request));
    let mut pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
    let mut reader = ScreenReader::default();
    let shot = async {
        while let Some(piece) = pieces.message().await.map_err(|it| wires.fault(&it))? {
            if let Some(shot) = reader.take(piece)? {
                return Ok(shot);
            }
        }
        Err(Fault::failed("the hub sent half a screen"))
    };
    within(HUB_ANSWER_WITHIN, shot).await
}

#[async_trait]
impl Runtime for Client {
    fn link(&self) -> Option<watch::Receiver<Link>> {
        Some(self.shared.watch_link())
    }

    fn look_now(&self) {
        self.shared.hurried.send_modify(|it| *it += 1);
    }

    async fn hub(&self) -> Outcome<HubStatus> {
        let wires = self.shared.wires()?;
        let mut hub = wires.hub();
        let call = hub.status(wires.request(v1::StatusRequest {}));
        wires.answer(HUB_ANSWER_WITHIN, call).await?.try_into()
    }

    async fn shutdown(&self) -> Outcome<()> {
        let wires = self.shared.wires()?;
        let mut hub = wires.hub();
        let call = hub.shutdown(wires.request(v1::ShutdownRequest {}));
        wires.answer(HUB_ANSWER_WITHIN, call).await?;
        Ok(())
    }

    async fn doctor(&self) -> Outcome<Vec<Check>> {
        let wires = self.wires()?;
        let mut hub = wires.hub();
        let call = hub.doctor(wires.request(v1::DoctorRequest {}));
        wires.answer(CREATE_WITHIN, call).await?.try_into()
    }

    async fn events(&self) -> Outcome<BoxStream<Outcome<Event>>> {
        Ok(Box::pin(Resuming::start(self.shared.clone(), Changes::default()).await?))
    }

    async fn list(&self) -> Outcome<Vec<Sandbox>> {
        let listing = self.shared.again(|wires| async move {
            let mut sandboxes = wires.sandboxes();
            let call = sandboxes.list(wires.request(v1::ListRequest {}));
            let pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
            gather(&wires, pieces, SANDBOXES_MAX, |it: v1::ListResponse| it.sandboxes).await
        });
        listing.await
    }

    async fn create(&self, spec: SandboxSpec) -> Outcome<Sandbox> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let given = given_out(&spec.given);
        let request = v1::CreateRequest { spec: Some((&spec).into()), given };
        let request = fits("the request", request)?;
        let call = sandboxes.create(wires.request(request));
        // It may have to be unpacked first.
        let image = spec.image.map_or(Duration::ZERO, |_| IMAGE_WITHIN);
        let within = CREATE_WITHIN + 2 * HUB_ANSWER_WITHIN + image;
        let response = wires.answer(within, call).await?;
        required("sandbox", response.sandbox)?.try_into()
    }

    async fn others(&self) -> Outcome<Vec<Foreign>> {
        let listing = self.shared.again(|wires| async move {
            let mut sandboxes = wires.sandboxes();
            let call = sandboxes.list_foreign(wires.request(v1::ListForeignRequest {}));
            let pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
            let list = |it: v1::ListForeignResponse| it.containers;
            gather(&wires, pieces, FOREIGN_MAX, list).await
        });
        listing.await
    }

    async fn adopt(&self, adoption: Adoption) -> Outcome<Sandbox> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let call = sandboxes.adopt(wires.request(v1::AdoptRequest::from(&adoption)));
        let response = wires.answer(CREATE_WITHIN + 2 * HUB_ANSWER_WITHIN, call).await?;
        required("sandbox", response.sandbox)?.try_into()
    }

    async fn pause(&self, id: &SandboxId) -> Outcome<()> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let call = sandboxes.pause(wires.request(v1::PauseRequest { sandbox: id.to_string() }));
        wires.answer(CREATE_WITHIN, call).await?;
        Ok(())
    }

    async fn resume(&self, id: &SandboxId) -> Outcome<()> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let call = sandboxes.resume(wires.request(v1::ResumeRequest { sandbox: id.to_string() }));
        wires.answer(CREATE_WITHIN, call).await?;
        Ok(())
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Outcome<()> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let request = v1::StopRequest { sandbox: id.to_string(), grace_ms: milliseconds(grace) };
        let call = sandboxes.stop(wires.request(request));
        wires.answer(grace.saturating_add(CREATE_WITHIN), call).await?;
        Ok(())
    }

    async fn remove(&self, id: &SandboxId) -> Outcome<()> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let call = sandboxes.remove(wires.request(v1::RemoveRequest { sandbox: id.to_string() }));
        // A shim may take as long as that, and then there are its files.
        wires.answer(2 * CREATE_WITHIN + HUB_ANSWER_WITHIN, call).await?;
        Ok(())
    }

    async fn asks(&self, wanted: &AsksWanted) -> Outcome<Vec<Ask>> {
        let wanted = wanted_out(wanted);
        let listing = self.shared.again(|wires| {
            let wanted = wanted.clone();
            async move {
                let mut asks = wires.asks();
                let call = asks.list(wires.request(wanted));
                let pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
                gather(&wires, pieces, ASKS_KEPT, |it: v1::ListAsksResponse| it.asks).await
            }
        });
        listing.await
    }

    async fn traffic(&self, id: &SandboxId) -> Outcome<Traffic> {
        let telling = self.shared.again(|wires| async move {
            let mut sandboxes = wires.sandboxes();
            let request = v1::TrafficRequest { sandbox: id.to_string() };
            let call = sandboxes.traffic(wires.request(request));
            let response = wires.answer(HUB_ANSWER_WITHIN, call).await?;
            Ok(required("traffic", response.traffic)?.into())
        });
        telling.await
    }

    async fn standing(&self) -> Outcome<Vec<Ask>> {
        let listing = self.shared.again(|wires| async move {
            let mut asks = wires.asks();
            let call = asks.standing(wires.request(v1::StandingRequest {}));
            let pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
            gather(&wires, pieces, ASKS_KEPT, |it: v1::StandingResponse| it.asks).await
        });
        listing.await
    }

    async fn revoke(&self, id: &AskId) -> Outcome<Ask> {
        let wires = self.wires()?;
        let mut asks = wires.asks();
        let call = asks.revoke(wires.request(v1::RevokeRequest { ask: id.to_string() }));
        required("ask", wires.answer(HUB_ANSWER_WITHIN, call).await?.ask)?.try_into()
    }

    async fn decide(&self, id: &AskId, digest: &str, choice: Choice) -> Outcome<Ask> {
        let wires = self.wires()?;
        let mut asks = wires.asks();
        let call = asks.decide(wires.request(decide_out(id, digest, &choice)));
        let first = if choice.snapshot { SNAPSHOT_FIRST_WITHIN } else { Duration::ZERO };
        required("ask", wires.answer(HUB_ANSWER_WITHIN + first, call).await?.ask)?.try_into()
    }

    async fn rules(&self) -> Outcome<Rulebook> {
        let reading = self.shared.again(|wires| async move {
            let mut policy = wires.policy();
            let call = policy.list(wires.request(v1::ListRulesRequest {}));
            let pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
            let mut wrong = Vec::new();
            let most = RULES_MAX * (PROJECTS_MAX + 1);
            let rules = gather(&wires, pieces, most, |it: v1::ListRulesResponse| {
                wrong
                    .extend(it.wrong.iter().take(PROJECTS_MAX).map(|it| shown(it, PATH_BYTES_MAX)));
                it.rules
            });
            let rules = rules.await?;
            Ok(Rulebook { rules, wrong })
        });
        reading.await
    }

    async fn propose(&self, question: Question) -> Outcome<Proposal> {
        let wires = self.wires()?;
        let mut policy = wires.policy();
        let call = policy.propose(wires.request(question_out(&question)));
        wires.answer(HUB_ANSWER_WITHIN, call).await?.try_into()
    }

    async fn add_rules(&self, text: &str, domain: Domain) -> Outcome<Vec<KnownRule>> {
        let wires = self.wires()?;
        let mut policy = wires.policy();
        let request = v1::AddRulesRequest { rules: Some(rules_out(text, &domain)) };
        let answer = wires.answer(HUB_ANSWER_WITHIN, policy.add(wires.request(request))).await?;
        answer.rules.into_iter().take(RULES_MAX).map(TryInto::try_into).collect()
    }

    async fn remove_rule(&self, name: &RuleName) -> Outcome<KnownRule> {
        let wires = self.wires()?;
        let mut policy = wires.policy();
        let request = v1::RemoveRuleRequest { rule: Some(name.into()) };
        let answer = wires.answer(HUB_ANSWER_WITHIN, policy.remove(wires.request(request))).await?;
        required("rule", answer.rule)?.try_into()
    }

    async fn audit(&self, request: AuditRequest) -> Outcome<BoxStream<Outcome<Vec<Entry>>>> {
        let wires = self.wires()?;
        let mut audit = wires.audit();
        let call = audit.read(wires.request(v1::ReadAuditRequest::from(&request)));
        let pages = wires.answer(HUB_ANSWER_WITHIN, call).await?;
        Ok(Box::pin(pages.map(move |page| match page {
            Ok(page) => entries_in(page),
            Err(status) => Err(wires.fault(&status)),
        })))
    }

    async fn audit_head(&self) -> Outcome<Head> {
        let reading = self.shared.again(|wires| async move {
            let mut audit = wires.audit();
            let call = audit.head(wires.request(v1::AuditHeadRequest {}));
            wires.answer(HUB_ANSWER_WITHIN, call).await?.try_into()
        });
        reading.await
    }

    async fn gauges(&self, wanted: GaugesWanted) -> Outcome<BoxStream<Outcome<Gauges>>> {
        Ok(Box::pin(Resuming::start(self.shared.clone(), Rounds::new(wanted)).await?))
    }

    async fn past(&self, wanted: PastWanted) -> Outcome<Past> {
        let telling = self.shared.again(|wires| {
            let wanted = past_wanted_out(&wanted);
            async move {
                let mut gauges = wires.gauges();
                let call = gauges.past(wires.request(wanted));
                Ok(wires.answer(HUB_ANSWER_WITHIN, call).await?.into())
            }
        });
        telling.await
    }

    async fn snapshots(&self) -> Outcome<Vec<Snapshot>> {
        let listing = self.shared.again(|wires| async move {
            let mut sandboxes = wires.sandboxes();
            let call = sandboxes.list_snapshots(wires.request(v1::ListSnapshotsRequest {}));
            let pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
            let list = |it: v1::ListSnapshotsResponse| it.snapshots;
            gather(&wires, pieces, SNAPSHOTS_MAX, list).await
        });
        listing.await
    }

    async fn snapshot(
        &self,
        id: &SandboxId,
        name: Option<String>,
        kind: SnapshotKind,
    ) -> Outcome<Snapshot> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let request =
            v1::TakeSnapshotRequest { sandbox: id.to_string(), name, kind: wanted_kind_out(kind) };
        let call = sandboxes.take_snapshot(wires.request(request));
        let response = wires.answer(SNAPSHOT_WITHIN + HUB_ANSWER_WITHIN, call).await?;
        required("snapshot", response.snapshot)?.try_into()
    }

    async fn remove_snapshot(&self, id: &SnapshotId) -> Outcome<()> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let request = v1::RemoveSnapshotRequest { snapshot: id.to_string() };
        wires.answer(CREATE_WITHIN, sandboxes.remove_snapshot(wires.request(request))).await?;
        Ok(())
    }

    async fn give(&self, id: &SandboxId, given: Vec<Given>) -> Outcome<()> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let request = v1::GiveSecretsRequest { sandbox: id.to_string(), given: given_out(&given) };
        let call = sandboxes.give_secrets(wires.request(fits("the request", request)?));
        wires.answer(2 * HUB_ANSWER_WITHIN, call).await?;
        Ok(())
    }

    async fn restore(&self, id: &SandboxId, to: Option<&SnapshotId>) -> Outcome<Sandbox> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let snapshot = to.map(ToString::to_string);
        let request = v1::RestoreRequest { sandbox: id.to_string(), snapshot };
        let call = sandboxes.restore(wires.request(request));
        let response = wires.answer(SNAPSHOT_WITHIN + CREATE_WITHIN, call).await?;
        required("sandbox", response.sandbox)?.try_into()
    }

    async fn fork(&self, from: Subject, how: Fork) -> Outcome<Sandbox> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let request = fits("the request", fork_out(&from, &how))?;
        let call = sandboxes.fork(wires.request(request));
        let response = wires.answer(SNAPSHOT_WITHIN + CREATE_WITHIN, call).await?;
        required("sandbox", response.sandbox)?.try_into()
    }

    async fn diff(
        &self,
        of: Subject,
        request: DiffRequest,
    ) -> Outcome<BoxStream<Outcome<DiffPiece>>> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let call = sandboxes.diff(wires.request(fits("the request", diff_out(&of, request))?));
        let pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
        Ok(Box::pin(pieces.map(move |piece| match piece {
            Ok(piece) => piece_in(piece),
            Err(status) => Err(wires.fault(&status)),
        })))
    }

    async fn apply(&self, id: &SandboxId, request: ApplyRequest) -> Outcome<Applied> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let request = fits("the request", apply_out(id, request))?;
        let pieces = wires.answer(APPLY_WITHIN, sandboxes.apply(wires.request(request))).await?;
        let mut git_left_out = 0;
        let list = |it: v1::ApplyResponse| {
            git_left_out = it.git_left_out;
            it.paths
        };
        let paths = gather(&wires, pieces, APPLIED_MAX, list).await?;
        Ok(Applied { paths, git_left_out })
    }

    async fn take_back(&self, id: &SandboxId, overwrite: bool) -> Outcome<Applied> {
        let wires = self.wires()?;
        let mut sandboxes = wires.sandboxes();
        let request = v1::TakeBackRequest { sandbox: id.to_string(), overwrite };
        let call = sandboxes.take_back(wires.request(request));
        let pieces = wires.answer(APPLY_WITHIN, call).await?;
        let list = |it: v1::TakeBackResponse| it.paths;
        let paths = gather(&wires, pieces, APPLIED_MAX, list).await?;
        Ok(Applied { paths, git_left_out: 0 })
    }

    async fn open(&self, id: &SandboxId, spec: SessionSpec) -> Outcome<Session> {
        let wires = self.wires()?;
        let mut sessions = wires.sessions();
        let request = v1::OpenRequest { sandbox: id.to_string(), spec: Some((&spec).into()) };
        let call = sessions.open(wires.request(fits("the request", request)?));
        let response = wires.answer(CREATE_WITHIN, call).await?;
        required("session", response.session)?.try_into()
    }

    async fn exec(
        &self,
        id: &SandboxId,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
        let wires = self.wires()?;
        let mut streams = wires.streams();
        let start = v1::ExecStart { sandbox: id.to_string(), spec: Some((&spec).into()) };
        let start = fits("the request", start)?;
        let message = |kind| v1::ExecRequest { kind: Some(kind) };
        let pieces = Spread { bytes: stdin, ready: Vec::new() };
        let stdin = pieces.map(v1::exec_request::Kind::Stdin);
        let start = tokio_stream::once(v1::exec_request::Kind::Start(start));
        let call = streams.exec(wires.request(start.chain(stdin).map(message)));
        let messages = wires.answer(CREATE_WITHIN, call).await?;
        Ok(Box::pin(messages.map(move |message| match message {
            Ok(message) => message.try_into(),
            Err(status) => Err(wires.fault(&status)),
        })))
    }

    async fn output(
        &self,
        id: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        let prints = Prints::new(id.clone(), request);
        Ok(Box::pin(Resuming::start(self.shared.clone(), prints).await?))
    }

    async fn screen(&self, id: &SessionId) -> Outcome<ScreenShot> {
        self.shared.again(|wires| screen(wires, id)).await
    }

    async fn input(&self, id: &SessionId, bytes: Bytes) -> Outcome<()> {
        Lanes::send(&self.wires()?, id, bytes).await
    }

    async fn nudge(&self, id: &SessionId, what: Nudge) -> Outcome<()> {
        let wires = self.wires()?;
        let mut typing = wires.typing();
        let call = typing.nudge(wires.request(nudge_out(id, what)));
        wires.answer(HUB_ANSWER_WITHIN, call).await?;
        Ok(())
    }

    async fn resize(&self, id: &SessionId, size: Size) -> Outcome<()> {
        let wires = self.wires()?;
        let mut typing = wires.typing();
        let request = v1::ResizeRequest { session: id.to_string(), size: Some(size.into()) };
        let call = typing.resize(wires.request(request));
        wires.answer(HUB_ANSWER_WITHIN, call).await?;
        Ok(())
    }

    async fn lease(&self, id: &SessionId, verb: LeaseVerb) -> Outcome<Option<Lease>> {
        let wires = self.wires()?;
        let mut typing = wires.typing();
        let call = typing.lease(wires.request(lease_out(id, verb)));
        let response = wires.answer(HUB_ANSWER_WITHIN, call).await?;
        response.lease.map(TryInto::try_into).transpose()
    }

    async fn wait(&self, id: &SessionId, what: WaitFor, within: Option<Duration>) -> Outcome<()> {
        let end = within.map(|it| clock::monotonic() + it);
        let asked = AtomicBool::new(false);
        let waiting = self.shared.again(|wires| {
            // The first hub is told what was said, a later one what is left of it.
            let left = match asked.swap(true, Ordering::Relaxed) {
                false => within,
                true => end.map(|it| it.saturating_sub(clock::monotonic())),
            };
            let request = wires.request(wait_out(id, what.clone(), left));
            // The hub keeps the time; ours only ends what a dead hub leaves.
            let deadline = left.map_or(TTL_MAX, |it| it.saturating_add(HUB_ANSWER_WITHIN));
            async move {
                let mut streams = wires.streams();
                wires.answer(deadline, streams.wait(request)).await.map(drop)
            }
        });
        waiting.await
    }

    async fn history(&self, id: &SessionId, request: HistoryRequest) -> Outcome<HistoryPage> {
        let wires = self.wires()?;
        let mut streams = wires.streams();
        let call = streams.history(wires.request(history_out(id, request)));
        wires.answer(HUB_ANSWER_WITHIN, call).await?.try_into()
    }

    async fn explain(&self, id: &SessionId) -> Outcome<Explained> {
        let telling = self.shared.again(|wires| async move {
            let mut streams = wires.streams();
            let request = v1::ExplainRequest { session: id.to_string() };
            let call = streams.explain(wires.request(request));
            let response = wires.answer(HUB_ANSWER_WITHIN, call).await?;
            required("explained", response.explained)?.try_into()
        });
        telling.await
    }

    async fn syscalls(&self, id: &SessionId, pid: u32) -> Outcome<BoxStream<Outcome<SyscallPart>>> {
        let wires = self.wires()?;
        let mut streams = wires.streams();
        let request = v1::SyscallsRequest { session: id.to_string(), pid };
        let call = streams.syscalls(wires.request(request));
        let parts = wires.answer(HUB_ANSWER_WITHIN, call).await?;
        // Whoever looks does so at one moment: what comes after a gap is another.
        Ok(Box::pin(parts.map(move |part| match part {
            Ok(part) => Ok(part.into()),
            Err(status) => Err(wires.fault(&status)),
        })))
    }

    async fn search(&self, id: &SessionId, request: SearchRequest) -> Outcome<SearchPage> {
        let wires = self.wires()?;
        let mut streams = wires.streams();
        let call = streams.search(wires.request(search_out(id, request)));
        wires.answer(HUB_ANSWER_WITHIN, call).await?.try_into()
    }

    async fn replay(&self, id: &SessionId, moment: Moment) -> Outcome<Replay> {
        self.replay_of(id, moment).await
    }

    async fn find(&self, id: &SessionId, request: FindRequest) -> Outcome<FindPage> {
        self.find_in(id, &request).await
    }

    async fn timeline(&self, request: TimelineRequest) -> Outcome<TimelinePage> {
        self.read_timeline(&request).await
    }

    async fn follow_timeline(
        &self,
        request: TimelineRequest,
    ) -> Outcome<BoxStream<Outcome<TimelinePage>>> {
        Ok(Box::pin(Resuming::start(self.shared.clone(), Happenings::new(request)).await?))
    }

    async fn sign(&self, now: Option<Timestamp>) -> Outcome<Option<Timestamp>> {
        self.give_sign(now).await
    }

    async fn recordings(&self) -> Outcome<Vec<Recording>> {
        let wires = self.wires()?;
        let mut recordings = wires.recordings();
        let call = recordings.list(wires.request(v1::ListRecordingsRequest {}));
        let pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
        let list = |it: v1::ListRecordingsResponse| it.recordings;
        gather(&wires, pieces, RECORDINGS_MAX, list).await
    }

    async fn remove_recording(&self, id: &SessionId) -> Outcome<()> {
        let wires = self.wires()?;
        wires.same_protocol()?;
        let mut recordings = wires.recordings();
        let request = v1::RemoveRecordingRequest { session: id.to_string() };
        let call = recordings.remove(wires.request(request));
        wires.answer(CREATE_WITHIN, call).await.map(drop)
    }

    async fn export(&self, id: &SessionId, span: Span) -> Outcome<BoxStream<Outcome<Bytes>>> {
        let wires = self.wires()?;
        let mut recordings = wires.recordings();
        let (from_ms, until_ms) = (span.from.map(|it| it.0), span.until.map(|it| it.0));
        let request = v1::ExportRequest { session: id.to_string(), from_ms, until_ms };
        let call = recordings.export(wires.request(request));
        let pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
        Ok(Box::pin(pieces.map(move |piece| match piece {
            Ok(piece) if piece.data.len() <= KEYFRAME_PIECE_BYTES => Ok(piece.data),
            Ok(piece) => Err(Fault::invalid(format!("a piece is too long: {}", piece.data.len()))),
            Err(status) => Err(wires.fault(&status)),
        })))
    }
}

pub(super) async fn within<T>(
    deadline: Duration,
    answer: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let late =
        |_| Err(Fault::late(format!("the hub did not answer within {} s", deadline.as_secs())));
    tokio::time::timeout(deadline, answer).await.unwrap_or_else(late)
}

/// Reads a listing that comes in pieces.
async fn gather<Piece, Wire, Item: TryFrom<Wire, Error = Fault>>(
    wires: &Wires,
    mut pieces: tonic::Streaming<Piece>,
    most: usize,
    mut list: impl FnMut(Piece) -> Vec<Wire>,
) -> Outcome<Vec<Item>> {
    let mut out = Vec::new();
    let all = async {
        while let Some(piece) = pieces.message().await.map_err(|it| wires.fault(&it))? {
            for wire in list(piece) {
                if out.len() >= most {
                    return Err(Fault::invalid(format!("the hub lists more than {most} entries")));
                }
                out.extend(entry_in(wire));
            }
        }
        Ok(())
    };
    within(HUB_ANSWER_WITHIN, all).await?;
    Ok(out)
}

/// Standard input in pieces that one message takes.
struct Spread {
    bytes: BoxStream<Bytes>,
    /// The rest of a long piece, last one first.
    ready: Vec<Bytes>,
}

impl Stream for Spread {
    type Item = Bytes;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Bytes>> {
        if let Some(piece) = self.ready.pop() {
            return std::task::Poll::Ready(Some(piece));
        }
        self.bytes.as_mut().poll_next(context).map(|bytes| {
            let mut pieces = cuts(bytes?, PTY_CHUNK_BYTES_MAX);
            pieces.reverse();
            let first = pieces.pop();
            self.ready = pieces;
            first
        })
    }
}
