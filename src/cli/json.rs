//! The JSON that scripts rely on: snake_case, RFC 3339 times, null for what is not known. Fields are
//! only ever added.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Serialize;

use crate::{
    base::{
        clock::Timestamp,
        id::{SessionId, SnapshotId},
    },
    config::contexts::ContextName,
    model::{
        ask::{Answer, Ask, Scope, Verdict},
        change::{Applied, FileChange, Node, NodeKind},
        check::Check,
        foreign::Foreign,
        history::Recording,
        sandbox::{Gpus, Sandbox, Workspace},
        session::{Lease, Session},
        snapshot::Snapshot,
        traffic::{Flow, Traffic},
    },
    runtime::{HubStatus, ScreenShot},
    vt::screen::Screen,
};

fn time(at: Timestamp) -> String {
    at.rfc3339()
}

#[derive(Serialize)]
pub struct SandboxView<'a> {
    id: &'a str,
    name: &'a str,
    driver: &'a str,
    context: &'a str,
    state: &'static str,
    raw_state: Option<&'a str>,
    isolation: Option<&'static str>,
    created_at: String,
    labels: &'a BTreeMap<String, String>,
    workspace: WorkspaceView,
    egress: &'static str,
    limits: LimitsView,
    capabilities: BTreeMap<String, bool>,
    sessions: Vec<SessionView<'a>>,
    pending_approvals: usize,
    notes: Vec<String>,
    stop_asked: bool,
    snapshots: u32,
    moment: Option<&'a str>,
    writes: u32,
}

#[derive(Serialize)]
pub struct WorkspaceView {
    path: String,
    mode: &'static str,
}

#[derive(Serialize)]
struct LimitsView {
    cpus: Option<f64>,
    memory_bytes: Option<u64>,
    pids: Option<u64>,
    gpus: Option<GpusView>,
}

/// `"all"`, or a number.
#[derive(Serialize)]
#[serde(untagged)]
enum GpusView {
    All(&'static str),
    Count(u32),
}

#[derive(Serialize)]
struct SessionView<'a> {
    id: &'a str,
    name: String,
    command: &'a [String],
    status: Option<&'static str>,
    status_why: &'a str,
    status_since: Option<String>,
    pid: Option<u32>,
    cols: u16,
    rows: u16,
    title: Option<&'a str>,
    started_at: String,
    exit_code: Option<i32>,
    exited_at: Option<String>,
    lease: Option<LeaseView<'a>>,
    output_bytes: u64,
    last_output_at: Option<String>,
    journal_lost_bytes: u64,
    bells: u64,
    recording: bool,
    /// How its agent asks, where that is known; `notes` of the sandbox say why.
    asks_reach_us: Option<bool>,
}

#[derive(Serialize)]
struct LeaseView<'a> {
    holder: &'a str,
    holder_name: &'a str,
    since: String,
    used_at: String,
}

impl<'a> SandboxView<'a> {
    /// A sandbox of the hub of that name.
    pub fn of(context: &'a ContextName, it: &'a Sandbox) -> Self {
        let snake = |word: &str| word.replace(['.', '-'], "_");
        Self {
            id: it.id.as_str(),
            name: &it.name,
            driver: &it.driver,
            context: context.as_str(),
            state: it.state.word(),
            raw_state: it.raw_state.as_deref(),
            isolation: it.isolation.map(crate::model::sandbox::Isolation::word),
            created_at: time(it.created_at),
            labels: &it.labels,
            workspace: WorkspaceView::from(&it.workspace),
            egress: it.egress.word(),
            limits: LimitsView {
                cpus: it.limits.cpus,
                memory_bytes: it.limits.memory_bytes,
                pids: it.limits.pids,
                gpus: it.limits.gpus.map(|it| match it {
                    Gpus::All => GpusView::All("all"),
                    Gpus::Count(number) => GpusView::Count(number),
                }),
            },
            capabilities: it
                .capabilities
                .words()
                .into_iter()
                .map(|(word, on)| (snake(word), on))
                .collect(),
            sessions: it.sessions.iter().map(|session| session_view(session, &it.name)).collect(),
            pending_approvals: it.asks.len(),
            notes: it.told(),
            stop_asked: it.stop_asked,
            snapshots: it.snapshots,
            moment: it.moment.as_ref().map(SnapshotId::as_str),
            writes: it.writes,
        }
    }
}

impl From<&Workspace> for WorkspaceView {
    fn from(it: &Workspace) -> Self {
        Self { path: it.path.to_string_lossy().into_owned(), mode: it.mode.word() }
    }
}

fn session_view<'a>(it: &'a Session, sandbox_name: &str) -> SessionView<'a> {
    SessionView {
        id: it.id.as_str(),
        name: it.name(sandbox_name),
        command: &it.command,
        status: super::explain::status_word(it.status),
        status_why: &it.status_why,
        status_since: it.status_since.map(time),
        pid: it.pid,
        cols: it.size.cols(),
        rows: it.size.rows(),
        title: it.title.as_deref(),
        started_at: time(it.started_at),
        exit_code: it.exit.map(crate::model::session::ExitStatus::code),
        exited_at: it.exited_at.map(time),
        lease: it.lease.as_ref().map(LeaseView::from),
        output_bytes: it.output_bytes,
        last_output_at: it.last_output_at.map(time),
        journal_lost_bytes: it.journal_lost_bytes,
        bells: it.bells,
        recording: it.recording,
        asks_reach_us: it.asks_now().map(|it| it.reaches),
    }
}

impl<'a> From<&'a Lease> for LeaseView<'a> {
    fn from(it: &'a Lease) -> Self {
        Self {
            holder: it.holder.as_str(),
            holder_name: &it.holder_name,
            since: time(it.since),
            used_at: time(it.used_at),
        }
    }
}

#[derive(Serialize)]
pub struct HubView<'a> {
    pid: u32,
    version: &'a str,
    uptime_ms: u64,
    listen: &'a [String],
    sandboxes: u32,
    sessions: u32,
    pending_approvals: u32,
    rss_bytes: Option<u64>,
}

impl<'a> From<&'a HubStatus> for HubView<'a> {
    fn from(it: &'a HubStatus) -> Self {
        Self {
            pid: it.pid,
            version: &it.version,
            uptime_ms: u64::try_from(it.uptime.as_millis()).unwrap_or(u64::MAX),
            listen: &it.listen,
            sandboxes: it.sandboxes,
            sessions: it.sessions,
            pending_approvals: it.pending_approvals,
            rss_bytes: it.rss_bytes,
        }
    }
}

#[derive(Serialize)]
pub struct CheckView<'a> {
    check: &'a str,
    status: &'static str,
    detail: &'a str,
    fix: Option<&'a str>,
}

impl<'a> From<&'a Check> for CheckView<'a> {
    fn from(it: &'a Check) -> Self {
        Self {
            check: &it.check,
            status: it.status.word(),
            detail: &it.detail,
            fix: it.fix.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub struct RecordingView<'a> {
    session: &'a str,
    sandbox: &'a str,
    name: &'a str,
    command: &'a [String],
    started_at: String,
    ended_at: Option<String>,
    exit_code: Option<i32>,
    cols: u16,
    rows: u16,
    size_bytes: u64,
    dropped_bytes: u64,
    lost_bytes: u64,
}

impl<'a> From<&'a Recording> for RecordingView<'a> {
    fn from(it: &'a Recording) -> Self {
        Self {
            session: it.session.as_str(),
            sandbox: &it.sandbox_name,
            name: &it.session_name,
            command: &it.command,
            started_at: time(it.started_at),
            ended_at: it.ended_at.map(time),
            exit_code: it.exit.map(crate::model::session::ExitStatus::code),
            cols: it.size.cols(),
            rows: it.size.rows(),
            size_bytes: it.size_bytes,
            dropped_bytes: it.dropped_bytes,
            lost_bytes: it.lost_bytes,
        }
    }
}

/// What changed in a sandbox, or up to a snapshot.
#[derive(Serialize)]
pub struct DiffView<'a> {
    pub sandbox: &'a str,
    pub workspace: WorkspaceView,
    /// Whose changes, when it is a snapshot and not the sandbox as it is.
    pub snapshot: Option<&'a str>,
    /// What it is held against, when that is a snapshot and not the start.
    pub against: Option<&'a str>,
    /// Paths are relative to `/` instead of the workspace.
    pub system: bool,
    pub files: Vec<FileChangeView>,
    /// Changed `.git`s that were not looked into.
    pub git_left_out: u64,
}

#[derive(Serialize)]
pub struct ForeignView<'a> {
    driver: &'a str,
    id: &'a str,
    name: &'a str,
    image: &'a str,
    state: &'a str,
    created_at: String,
}

impl<'a> From<&'a Foreign> for ForeignView<'a> {
    fn from(it: &'a Foreign) -> Self {
        Self {
            driver: &it.driver,
            id: &it.id,
            name: &it.name,
            image: &it.image,
            state: &it.state,
            created_at: time(it.created_at),
        }
    }
}

#[derive(Serialize)]
pub struct SnapshotView<'a> {
    id: &'a str,
    sandbox: &'a str,
    sandbox_name: &'a str,
    driver: &'a str,
    name: Option<&'a str>,
    created_at: String,
    size_bytes: Option<u64>,
    parent: Option<&'a str>,
    kind: &'static str,
    cause: &'static str,
    workspace: WorkspaceView,
    notes: &'a [String],
}

impl<'a> From<&'a Snapshot> for SnapshotView<'a> {
    fn from(it: &'a Snapshot) -> Self {
        Self {
            id: it.id.as_str(),
            sandbox: it.sandbox.as_str(),
            sandbox_name: &it.sandbox_name,
            driver: &it.driver,
            name: it.name.as_deref(),
            created_at: time(it.created_at),
            size_bytes: it.size_bytes,
            parent: it.parent.as_ref().map(SnapshotId::as_str),
            kind: it.kind.word(),
            cause: it.cause.word(),
            workspace: WorkspaceView::from(&it.workspace),
            notes: &it.notes,
        }
    }
}

#[derive(Serialize)]
pub struct AskView<'a> {
    id: &'a str,
    sandbox: &'a str,
    sandbox_name: &'a str,
    session: Option<&'a str>,
    kind: &'static str,
    subject: &'a str,
    details: Vec<DetailView<'a>>,
    reason: Option<&'a str>,
    agent: Option<&'a str>,
    risk: RiskView<'a>,
    digest: &'a str,
    state: &'static str,
    created_at: String,
    deadline_at: String,
    /// What happens when nobody answers.
    on_timeout: &'static str,
    askers: u32,
    /// What the host knows of it beside the request.
    about: Vec<DetailView<'a>>,
    /// Who asks can do what is allowed in other words.
    editable: bool,
    decision: Option<DecisionView<'a>>,
}

#[derive(Serialize)]
struct DetailView<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct RiskView<'a> {
    level: &'static str,
    findings: &'a [String],
}

#[derive(Serialize)]
struct DecisionView<'a> {
    verdict: &'static str,
    scope: &'static str,
    by: &'a str,
    at: String,
    message: Option<&'a str>,
    waited_ms: u64,
    /// Whether it answers the very same now, as far as its own time goes.
    holds: bool,
    /// `None` = it has no end of its own, or holds for one ask alone.
    until: Option<String>,
    /// How often it has answered since.
    uses: u64,
    revoked: Option<RevokedView<'a>>,
    /// What was allowed in place of what was asked for.
    edit: Option<&'a str>,
    /// Id of the rule that was made of it.
    rule: Option<&'a str>,
    /// Id of the snapshot that was taken first.
    snapshot: Option<&'a str>,
}

#[derive(Serialize)]
struct RevokedView<'a> {
    by: &'a str,
    at: String,
}

impl<'a> From<&'a Ask> for AskView<'a> {
    fn from(it: &'a Ask) -> Self {
        let request = &it.asked.request;
        let details = request.details.iter();
        Self {
            id: it.asked.id.as_str(),
            sandbox: it.sandbox.as_str(),
            sandbox_name: &it.sandbox_name,
            session: it.asked.session.as_ref().map(SessionId::as_str),
            kind: request.kind.word(),
            subject: &request.subject,
            details: details.map(|(name, value)| DetailView { name, value }).collect(),
            reason: request.reason.as_deref(),
            agent: request.agent.as_deref(),
            risk: RiskView { level: it.risk.level.word(), findings: &it.risk.findings },
            digest: &it.digest,
            state: it.state.word(),
            created_at: time(it.asked.created_at),
            deadline_at: time(it.asked.deadline_at),
            on_timeout: Verdict::Deny.word(),
            askers: it.asked.askers,
            about: it.asked.about.iter().map(|(name, value)| DetailView { name, value }).collect(),
            editable: it.asked.editable,
            decision: it.decision.as_ref().map(|it| DecisionView {
                verdict: it.answer.verdict.word(),
                scope: it.answer.scope.word(),
                by: &it.by,
                at: time(it.at),
                message: it.answer.message.as_deref(),
                waited_ms: it.waited_ms,
                holds: it.holds(crate::base::clock::wall()),
                until: it
                    .answer
                    .scope
                    .until(it.at)
                    .filter(|_| it.answer.scope != Scope::Once)
                    .map(time),
                uses: it.uses,
                edit: it.besides.edit.as_deref(),
                rule: it.besides.rule.as_ref().map(|it| it.name.id.as_str()),
                snapshot: it.besides.snapshot.as_ref().map(SnapshotId::as_str),
                revoked: it.revoked.as_ref().map(|it| RevokedView { by: &it.by, at: time(it.at) }),
            }),
        }
    }
}

/// What went out of a sandbox, or was kept in.
#[derive(Serialize)]
pub struct TrafficView<'a> {
    flows: Vec<FlowView<'a>>,
    allowed: u64,
    denied: u64,
    unseen: u64,
    names_refused: u64,
    waited: u64,
    dropped_udp: Option<u64>,
    dropped_other: Option<u64>,
}

#[derive(Serialize)]
struct FlowView<'a> {
    number: u64,
    started_at: String,
    ended_at: Option<String>,
    place: &'a str,
    program: Option<&'a str>,
    state: &'static str,
    why: &'a str,
    sent_bytes: u64,
    received_bytes: u64,
}

impl<'a> From<&'a Traffic> for TrafficView<'a> {
    fn from(it: &'a Traffic) -> Self {
        Self {
            flows: it.flows.iter().map(FlowView::from).collect(),
            allowed: it.allowed,
            denied: it.denied,
            unseen: it.unseen,
            names_refused: it.names_refused,
            waited: it.waited,
            dropped_udp: it.dropped.map(|it| it.0),
            dropped_other: it.dropped.map(|it| it.1),
        }
    }
}

impl<'a> From<&'a Flow> for FlowView<'a> {
    fn from(it: &'a Flow) -> Self {
        Self {
            number: it.number,
            started_at: time(it.started_at),
            ended_at: it.ended_at.map(time),
            place: &it.place,
            program: it.program.as_deref(),
            state: it.state.word(),
            why: &it.why,
            sent_bytes: it.sent_bytes,
            received_bytes: it.received_bytes,
        }
    }
}

/// What a program in a sandbox is answered.
#[derive(Serialize)]
pub struct AnswerView<'a> {
    verdict: &'static str,
    scope: &'static str,
    message: Option<&'a str>,
    /// What is allowed in place of what was asked for.
    edit: Option<&'a str>,
}

impl<'a> AnswerView<'a> {
    pub fn new(it: &'a Answer, edit: Option<&'a str>) -> Self {
        let (verdict, scope) = (it.verdict.word(), it.scope.word());
        Self { verdict, scope, message: it.message.as_deref(), edit }
    }
}

#[derive(Serialize)]
pub struct FileChangeView {
    path: String,
    /// Only where the path is no UTF-8, and `path` so not all of it.
    path_base64: Option<String>,
    old_path: Option<String>,
    old_path_base64: Option<String>,
    status: &'static str,
    old: Option<NodeView>,
    new: Option<NodeView>,
    added_lines: Option<u64>,
    removed_lines: Option<u64>,
    note: Option<String>,
}

#[derive(Serialize)]
struct NodeView {
    kind: &'static str,
    /// Permissions in octal, as `chmod` takes them.
    mode: String,
    size_bytes: Option<u64>,
}

impl From<Node> for NodeView {
    fn from(it: Node) -> Self {
        let sized = matches!(it.kind, NodeKind::File | NodeKind::Link);
        let size_bytes = sized.then_some(it.bytes);
        Self { kind: it.kind.word(), mode: format!("{:04o}", it.mode), size_bytes }
    }
}

impl From<&FileChange> for FileChangeView {
    fn from(it: &FileChange) -> Self {
        Self {
            path: text(&it.path),
            path_base64: raw(&it.path),
            old_path: it.old_path.as_deref().map(text),
            old_path_base64: it.old_path.as_deref().and_then(raw),
            status: it.status.word(),
            old: it.old.map(Into::into),
            new: it.new.map(Into::into),
            added_lines: it.lines.map(|it| it.added),
            removed_lines: it.lines.map(|it| it.removed),
            note: it.note.clone(),
        }
    }
}

/// What came of an `apply`.
#[derive(Serialize)]
pub struct AppliedView<'a> {
    sandbox: &'a str,
    workspace: WorkspaceView,
    paths: Vec<AppliedPathView>,
    git_left_out: u64,
}

#[derive(Serialize)]
struct AppliedPathView {
    path: String,
    path_base64: Option<String>,
    status: &'static str,
    verdict: &'static str,
    note: Option<String>,
}

impl<'a> AppliedView<'a> {
    pub fn new(sandbox: &'a Sandbox, applied: &Applied) -> Self {
        let paths = applied.paths.iter().map(|it| AppliedPathView {
            path: text(&it.path),
            path_base64: raw(&it.path),
            status: it.status.word(),
            verdict: it.verdict.word(),
            note: it.note.clone(),
        });
        let workspace = WorkspaceView::from(&sandbox.workspace);
        let git_left_out = applied.git_left_out;
        Self { sandbox: &sandbox.name, workspace, paths: paths.collect(), git_left_out }
    }
}

pub(super) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

pub(super) fn raw(path: &[u8]) -> Option<String> {
    std::str::from_utf8(path).is_err().then(|| BASE64.encode(path))
}

#[derive(Serialize)]
pub struct ScreenView<'a> {
    session: &'a str,
    rows: u16,
    cols: u16,
    /// Absent while the program hides it.
    cursor: Option<CursorView>,
    title: Option<&'a str>,
    alternate_screen: bool,
    lines: Vec<String>,
    /// When the newest of it was printed, of one of the past.
    at: Option<String>,
}

#[derive(Serialize)]
struct CursorView {
    row: u16,
    col: u16,
}

impl<'a> ScreenView<'a> {
    pub fn new(
        session: &'a SessionId,
        shot: &'a ScreenShot,
        screen: &'a Screen,
        at: Option<Timestamp>,
    ) -> Self {
        Self {
            session: session.as_str(),
            rows: shot.size.rows(),
            cols: shot.size.cols(),
            cursor: screen.cursor().map(|(row, col)| CursorView { row, col }),
            title: shot.title.as_deref().or_else(|| screen.title()),
            alternate_screen: screen.modes().alternate_screen,
            lines: screen.lines(),
            at: at.map(time),
        }
    }
}
