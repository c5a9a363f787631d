//! Layer `runtime`: everything a console or a verb may ask of a hub. Two implementations, one
//! conformance suite: `engine` in the same process, `client` over gRPC.

pub mod access;
pub mod files;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

pub use crate::session::seat::{BoxStream, ExecOutput};
use crate::{
    base::{
        clock::Timestamp,
        fault::Outcome,
        id::{AskId, ClientId, HubNumber, MemberId, SandboxId, SessionId, SnapshotId},
        limits::ASKS_WANTED_MAX,
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
        member::{Fingerprint, Proof, Refused, Role},
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
};

/// Who is asking; a hub keeps leases and audit by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub client: ClientId,
    /// For people, e.g. `alice@laptop`. The client's own word.
    pub name: String,
    /// Who is there, as the system says; `None` = a part of this process.
    pub peer: Option<Peer>,
}

/// What is behind a connection, as far as it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process on the hub's machine, as the system says.
    Process {
        uid: u32,
        /// Of whoever connected; `None` = the system does not say.
        pid: Option<u32>,
        /// The address from where somebody came by ssh, as a proxy says that runs as this user.
        ssh: Option<String>,
    },
    /// Somebody with a certificate of the hub's or of its team's, or with a token of an issuer that it names.
    Certificate(Bearer),
}

/// Who has a certificate or a token, by the hub's own register or its tables of the team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    pub member: MemberId,
    /// As they were invited, as the table names them, or as their token does.
    pub name: String,
    pub role: Role,
    pub proof: Proof,
    /// Of a token, the hash of that.
    pub certificate: Fingerprint,
    /// Where the connection comes from.
    pub address: String,
    /// What the client calls itself, which proves nothing.
    pub called: Option<String>,
}

impl Identity {
    /// What they may do. Who has this user's account may do anything.
    pub fn role(&self) -> Role {
        match &self.peer {
            Some(Peer::Certificate(bearer)) => bearer.role,
            Some(Peer::Process { .. }) | None => Role::Admin,
        }
    }
}

impl Bearer {
    /// The name that only a hub gives: what clients call themselves has no parentheses.
    pub fn shown(&self) -> String {
        format!("{} ({})", self.name, self.proof.word().replace('_', " "))
    }

    /// What the ids of all their clients begin with, so that no client can pass for one of another.
    pub fn client_prefix(&self) -> String {
        client_prefix(&self.member)
    }
}

/// What the ids of all clients of one who comes from elsewhere begin with.
pub fn client_prefix(member: &MemberId) -> String {
    format!("{member}.")
}

/// Which asks that have ended are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsksWanted {
    /// At most `ASKS_WANTED_MAX`; empty = all.
    pub ids: Vec<AskId>,
    /// How many at most, at least 1.
    pub most: usize,
}

impl AsksWanted {
    /// The newest of all.
    pub fn newest(most: usize) -> Self {
        Self { ids: Vec::new(), most }
    }

    /// These.
    pub fn only(ids: impl IntoIterator<Item = AskId>) -> Self {
        Self { ids: ids.into_iter().take(ASKS_WANTED_MAX).collect(), most: ASKS_WANTED_MAX }
    }
}

/// What a hub says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubStatus {
    pub pid: u32,
    pub version: String,
    pub uptime: Duration,
    /// E.g. `unix:/run/user/1000/sandwatch/hub.sock`; empty for an engine in this process.
    pub listen: Vec<String>,
    pub sandboxes: u32,
    pub sessions: u32,
    pub pending_approvals: u32,
    pub rss_bytes: Option<u64>,
    /// How often somebody was refused since it began, by why; those that never were are left out.
    pub refused: Vec<(Refused, u64)>,
}

/// What to do about the keyboard of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseVerb {
    /// Take it if it is free or mine; `Busy` names the holder otherwise.
    Take,
    /// Take it whoever has it; the other is told by the feed.
    TakeOver,
    /// Give it back; fine if it was not mine.
    Release,
}

/// What is typed into a session by somebody who does not step in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// Enter comes behind it: together at most `INPUT_BYTES_MAX`.
    Line(String),
    /// ctrl-c.
    Interrupt,
}

impl Nudge {
    /// What is typed by it, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Line(text) => text.len() + 1,
            Self::Interrupt => 1,
        }
    }
}

/// What the screen of a session shows now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScreenShot {
    pub offset: u64,
    pub size: Size,
    /// A keyframe for `vt::Screen::from_keyframe`.
    pub state: Bytes,
    pub title: Option<String>,
}

/// How a fork differs from what it is forked from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fork {
    /// `None` = a name derived from that of the other.
    pub name: Option<String>,
    /// `None` = the other's first command.
    pub first: Option<SessionSpec>,
    /// Values of its secrets, where the hub has none any more or another is wanted.
    pub given: Vec<Given>,
}

/// What to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitFor {
    Exit,
    /// It does nothing as far as can be told, and has printed nothing for a while.
    Idle,
    /// This regular expression in the output so far or to come, escape sequences taken out.
    Text(String),
}

/// How a hub is reached right now. Times are `clock::monotonic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not reached yet.
    Connecting,
    Up(Trips),
    /// Calls fail as `Lost`; subscriptions stay open and go on once the hub is back.
    Down {
        since: Duration,
        reason: String,
        next_try: Duration,
    },
}

/// What round trips to a hub tell of the way there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trips {
    /// The last one that differed enough to tell.
    pub rtt: Duration,
    /// Of the newest, those that took so much longer than the quickest that something was lost on the way and sent again,
    /// or had to wait. At most `of`.
    pub late: u32,
    /// How many the newest are, at most `TRIPS_KEPT`; 0 while none was late.
    pub of: u32,
    /// Since when an answer is waited for that is late; `None` = none is.
    pub silent_since: Option<Duration>,
}

impl Trips {
    /// One round trip, and nothing else known.
    pub fn first(rtt: Duration) -> Self {
        Self { rtt, ..Self::default() }
    }
}

/// One of several hubs, as whoever speaks to all of them sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSeen {
    pub number: HubNumber,
    /// Of its context; safe to show.
    pub name: String,
    /// Where it is; safe to show.
    pub address: String,
    pub link: Link,
    /// What we may do there, as it says; `Admin` until it has.
    pub role: Role,
    /// Why its feed tells nothing though it is reached, with what mends that; safe to show. `None` = it tells.
    pub silent: Option<String>,
    /// Sandboxes of it that are not told of: there were more than fit beside those of others.
    pub left_out: u64,
}

/// Gives every client its own view of one hub; the hub's services stand on it.
pub trait Directory: Send + Sync + 'static {
    fn client(&self, who: Identity) -> Arc<dyn Runtime>;

    /// The last connection of a client has ended; what it held is free again.
    fn client_gone(&self, client: &ClientId);

    /// Who may come from elsewhere; `None` = nobody.
    fn register(&self) -> Option<Arc<dyn access::Register>> {
        None
    }
}

/// A hub, here or far away.
#[async_trait]
pub trait Runtime: files::Files + access::Access {
    /// How the hub is reached, as it changes; `None` for an engine in this process, which can't be
    /// out of reach. The round trip is measured only while somebody holds a receiver.
    fn link(&self) -> Option<watch::Receiver<Link>> {
        None
    }

    /// A hub that is being looked for is looked for at once, and not when its pause is over.
    fn look_now(&self) {}

    /// The hubs behind this, as they come, change and go, the first one first; `None` = it is one hub.
    fn hubs(&self) -> Option<watch::Receiver<Arc<Vec<HubSeen>>>> {
        None
    }

    /// One of those alone; `None` = there is none of that number, or it is one hub.
    fn one(&self, _hub: HubNumber) -> Option<Arc<dyn Runtime>> {
        None
    }

    async fn hub(&self) -> Outcome<HubStatus>;
    /// Ends the hub; sandboxes live on. `Unsupported` for an engine in this process.
    async fn shutdown(&self) -> Outcome<()>;
    async fn doctor(&self) -> Outcome<Vec<Check>>;

    /// A snapshot, then every change; a gap (also in the link) is a new snapshot that says so.
    async fn events(&self) -> Outcome<BoxStream<Outcome<Event>>>;
    async fn list(&self) -> Outcome<Vec<Sandbox>>;

    /// Makes a sandbox and starts its first session. `spec.given` has a value for each of its secrets.
    async fn create(&self, spec: SandboxSpec) -> Outcome<Sandbox>;
    /// What sandwatch did not make, where drivers are.
    async fn others(&self) -> Outcome<Vec<Foreign>>;
    /// Takes one of them over as a sandbox, with no program of its own yet.
    async fn adopt(&self, adoption: Adoption) -> Outcome<Sandbox>;
    async fn pause(&self, id: &SandboxId) -> Outcome<()>;
    async fn resume(&self, id: &SandboxId) -> Outcome<()>;
    async fn stop(&self, id: &SandboxId, grace: Duration) -> Outcome<()>;
    async fn remove(&self, id: &SandboxId) -> Outcome<()>;

    /// Gives values of a sandbox's secrets once more, or others instead: they are put in from now on.
    async fn give(&self, id: &SandboxId, given: Vec<Given>) -> Outcome<()>;

    /// What went out of a sandbox, or was kept from it; `Unsupported` where its network does not ask.
    async fn traffic(&self, id: &SandboxId) -> Outcome<Traffic>;
    /// Asks that have ended, newest first; those that wait are in their sandboxes.
    async fn asks(&self, wanted: &AsksWanted) -> Outcome<Vec<Ask>>;
    /// Answers an ask that waits: the first answer counts, and only if the digest is that of what was shown.
    /// What goes along with it is done first, and nothing is answered when that fails.
    async fn decide(&self, id: &AskId, digest: &str, choice: Choice) -> Outcome<Ask>;
    /// Asks whose answer holds for the very same request, newest first.
    async fn standing(&self) -> Outcome<Vec<Ask>>;
    /// Takes such an answer back, or takes out the rule that was made of one; the very same is asked again. Absent
    /// when it holds no more.
    async fn revoke(&self, id: &AskId) -> Outcome<Ask>;

    /// The rules there are, and what they did.
    async fn rules(&self) -> Outcome<Rulebook>;
    /// What would be done, before it is.
    async fn propose(&self, question: Question) -> Outcome<Proposal>;
    /// Makes the rules of a text: all or none. `Invalid` says why one can't be made.
    async fn add_rules(&self, text: &str, domain: Domain) -> Outcome<Vec<KnownRule>>;
    /// Takes a rule out of its file; gives what it was.
    async fn remove_rule(&self, name: &RuleName) -> Outcome<KnownRule>;

    /// Entries of the audit record as they were written, oldest first, in pieces. They are as the hub reads them:
    /// who wants to know whether they are what they were looks through them.
    async fn audit(&self, request: AuditRequest) -> Outcome<BoxStream<Outcome<Vec<Entry>>>>;
    async fn audit_head(&self) -> Outcome<Head>;

    /// What happened, a page at a time: also to what is no more.
    async fn timeline(&self, request: TimelineRequest) -> Outcome<TimelinePage>;
    /// The same as it is written, from now on or from a mark on; goes on after a gap in the link.
    async fn follow_timeline(
        &self,
        request: TimelineRequest,
    ) -> Outcome<BoxStream<Outcome<TimelinePage>>>;
    /// When whoever asks last gave a sign of being there, here or at another console of the same name; notes that one is
    /// given now, if that is so. `None` = never yet.
    async fn sign(&self, now: Option<Timestamp>) -> Outcome<Option<Timestamp>>;

    /// Rounds of readings, one a second; goes on after a gap in the link.
    async fn gauges(&self, wanted: GaugesWanted) -> Outcome<BoxStream<Outcome<Gauges>>>;
    /// What was read before; `Absent` where nothing is known of it.
    async fn past(&self, wanted: PastWanted) -> Outcome<Past>;

    /// Every snapshot, oldest first, also of sandboxes that are no more.
    async fn snapshots(&self) -> Outcome<Vec<Snapshot>>;
    /// Keeps this moment of a sandbox, running or not: its files, or with its running programs.
    async fn snapshot(
        &self,
        id: &SandboxId,
        name: Option<String>,
        kind: SnapshotKind,
    ) -> Outcome<Snapshot>;
    /// Drops a snapshot for good. Sandboxes that began with it go on.
    async fn remove_snapshot(&self, id: &SnapshotId) -> Outcome<()>;
    /// Ends the programs of a sandbox, keeps what it is now as a snapshot, gives it the files of another moment
    /// and starts its first command again.
    async fn restore(&self, id: &SandboxId, to: Option<&SnapshotId>) -> Outcome<Sandbox>;
    /// Makes a sandbox from a moment of another and starts its first command.
    async fn fork(&self, from: Subject, how: Fork) -> Outcome<Sandbox>;

    /// What was changed in a copy-on-write workspace; `Unsupported` where there is none.
    async fn diff(
        &self,
        of: Subject,
        request: DiffRequest,
    ) -> Outcome<BoxStream<Outcome<DiffPiece>>>;

    /// Writes changes to the real directory; with conflicts none, and the answer says so.
    async fn apply(&self, id: &SandboxId, request: ApplyRequest) -> Outcome<Applied>;
    /// Takes back what was applied last.
    async fn take_back(&self, id: &SandboxId, overwrite: bool) -> Outcome<Applied>;

    async fn open(&self, id: &SandboxId, spec: SessionSpec) -> Outcome<Session>;
    async fn exec(
        &self,
        id: &SandboxId,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>>;

    /// Goes on where it was after a gap in the link.
    async fn output(
        &self,
        id: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>>;
    async fn screen(&self, id: &SessionId) -> Outcome<ScreenShot>;
    /// `Busy` when somebody else holds the lease (taken for this call if it is free) or when the
    /// program does not read; nothing is taken then.
    async fn input(&self, id: &SessionId, bytes: Bytes) -> Outcome<()>;
    /// Arrives whole or not at all, and no keyboard changes hands; `Busy` as `input`, and while the sandbox is paused.
    async fn nudge(&self, id: &SessionId, what: Nudge) -> Outcome<()>;
    /// Ignored (and Ok) while somebody else holds the lease: observers never resize.
    async fn resize(&self, id: &SessionId, size: Size) -> Outcome<()>;
    async fn lease(&self, id: &SessionId, verb: LeaseVerb) -> Outcome<Option<Lease>>;
    /// Resolves when it happened; `Late` after `within` (`None` = wait for ever).
    async fn wait(&self, id: &SessionId, what: WaitFor, within: Option<Duration>) -> Outcome<()>;

    /// What a session does, and what that stands on. Its processes are looked at, twice within a second.
    async fn explain(&self, id: &SessionId) -> Outcome<Explained>;

    /// What one of its processes calls from now on, which is slower for as long as this is held. It is in the audit record.
    async fn syscalls(&self, id: &SessionId, pid: u32) -> Outcome<BoxStream<Outcome<SyscallPart>>>;

    async fn history(&self, id: &SessionId, request: HistoryRequest) -> Outcome<HistoryPage>;
    async fn search(&self, id: &SessionId, request: SearchRequest) -> Outcome<SearchPage>;
    async fn recordings(&self) -> Outcome<Vec<Recording>>;
    /// The screen of a session as it was at a moment, and some of what came then. Also of one that is no more.
    async fn replay(&self, id: &SessionId, moment: Moment) -> Outcome<Replay>;
    /// Where a text was printed; one call looks through a bounded part.
    async fn find(&self, id: &SessionId, request: FindRequest) -> Outcome<FindPage>;
    /// The recording or a part of it as asciicast v3, in pieces.
    async fn export(&self, id: &SessionId, span: Span) -> Outcome<BoxStream<Outcome<Bytes>>>;
    /// Deletes a recording for good; `Busy` while its sandbox runs.
    async fn remove_recording(&self, id: &SessionId) -> Outcome<()>;
}
