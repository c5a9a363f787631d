//! Hubs that are not as they should be: deaf, of another protocol, older than the console.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use sandwatch::{
    base::{
        clock::Timestamp,
        fault::{Kind, Outcome},
        id::{AskId, ClientId, SandboxId, SessionId, SnapshotId},
        units::Size,
    },
    client::Client,
    model::{
        ask::{Ask, Choice},
        audit::{AuditRequest, Entry, Head},
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
        snapshot::{Snapshot, SnapshotKind},
        status::Explained,
        syscall::SyscallPart,
        timeline::{TimelinePage, TimelineRequest},
        traffic::Traffic,
    },
    runtime::{
        AsksWanted, BoxStream, Directory, ExecOutput, Fork, HubStatus, Identity, LeaseVerb, Nudge,
        Runtime, ScreenShot, WaitFor,
    },
    wire::{
        PROTOCOL,
        v1::{
            self, AttendRequest, AttendResponse, Welcome,
            attend_response::Kind as Attend,
            hub_server::{Hub as HubService, HubServer},
        },
    },
};
use tokio::net::UnixListener;
use tokio_stream::{StreamExt, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};

use crate::hub_support::{Hub, options, watch};

/// Never answers anything.
pub(crate) struct Deaf;

impl sandwatch::runtime::access::Access for Deaf {}
impl sandwatch::runtime::files::Files for Deaf {}

macro_rules! deaf {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Runtime for Deaf {
            $(async fn $name(&self, $($argument: $type),*) -> Outcome<$answer> {
                std::future::pending().await
            })*
        }
    };
}
deaf! {
    fn hub() -> HubStatus;
    fn shutdown() -> ();
    fn asks(_wanted: &AsksWanted) -> Vec<Ask>;
    fn give(_id: &SandboxId, _given: Vec<Given>) -> ();
    fn traffic(_id: &SandboxId) -> Traffic;
    fn explain(_id: &SessionId) -> Explained;
    fn syscalls(_id: &SessionId, _pid: u32) -> BoxStream<Outcome<SyscallPart>>;
    fn standing() -> Vec<Ask>;
    fn revoke(_id: &AskId) -> Ask;
    fn decide(_id: &AskId, _digest: &str, _choice: Choice) -> Ask;
    fn rules() -> Rulebook;
    fn propose(_question: Question) -> Proposal;
    fn add_rules(_text: &str, _domain: Domain) -> Vec<KnownRule>;
    fn remove_rule(_name: &RuleName) -> KnownRule;
    fn audit(_request: AuditRequest) -> BoxStream<Outcome<Vec<Entry>>>;
    fn audit_head() -> Head;
    fn doctor() -> Vec<Check>;
    fn events() -> BoxStream<Outcome<Event>>;
    fn list() -> Vec<Sandbox>;
    fn create(_spec: SandboxSpec) -> Sandbox;
    fn others() -> Vec<Foreign>;
    fn adopt(_adoption: Adoption) -> Sandbox;
    fn pause(_id: &SandboxId) -> ();
    fn resume(_id: &SandboxId) -> ();
    fn stop(_id: &SandboxId, _grace: Duration) -> ();
    fn remove(_id: &SandboxId) -> ();
    fn gauges(_wanted: GaugesWanted) -> BoxStream<Outcome<Gauges>>;
    fn past(_wanted: PastWanted) -> Past;
    fn snapshots() -> Vec<Snapshot>;
    fn snapshot(_id: &SandboxId, _name: Option<String>, _kind: SnapshotKind) -> Snapshot;
    fn remove_snapshot(_id: &SnapshotId) -> ();
    fn restore(_id: &SandboxId, _to: Option<&SnapshotId>) -> Sandbox;
    fn fork(_from: Subject, _how: Fork) -> Sandbox;
    fn diff(_of: Subject, _request: DiffRequest) -> BoxStream<Outcome<DiffPiece>>;
    fn apply(_id: &SandboxId, _request: ApplyRequest) -> Applied;
    fn take_back(_id: &SandboxId, _overwrite: bool) -> Applied;
    fn open(_id: &SandboxId, _spec: SessionSpec) -> Session;
    fn exec(_id: &SandboxId, _spec: SessionSpec, _stdin: BoxStream<Bytes>)
        -> BoxStream<Outcome<ExecOutput>>;
    fn output(_id: &SessionId, _request: OutputRequest) -> BoxStream<Outcome<Output>>;
    fn screen(_id: &SessionId) -> ScreenShot;
    fn input(_id: &SessionId, _bytes: Bytes) -> ();
    fn nudge(_id: &SessionId, _what: Nudge) -> ();
    fn resize(_id: &SessionId, _size: Size) -> ();
    fn lease(_id: &SessionId, _verb: LeaseVerb) -> Option<Lease>;
    fn wait(_id: &SessionId, _what: WaitFor, _within: Option<Duration>) -> ();
    fn history(_id: &SessionId, _request: HistoryRequest) -> HistoryPage;
    fn search(_id: &SessionId, _request: SearchRequest) -> SearchPage;
    fn recordings() -> Vec<Recording>;
    fn replay(_id: &SessionId, _moment: Moment) -> Replay;
    fn find(_id: &SessionId, _request: FindRequest) -> FindPage;
    fn timeline(_request: TimelineRequest) -> TimelinePage;
    fn follow_timeline(_request: TimelineRequest) -> BoxStream<Outcome<TimelinePage>>;
    fn sign(_now: Option<Timestamp>) -> Option<Timestamp>;
    fn export(_id: &SessionId, _span: Span) -> BoxStream<Outcome<Bytes>>;
    fn remove_recording(_id: &SessionId) -> ();
}

impl Directory for Deaf {
    fn client(&self, _: Identity) -> Arc<dyn Runtime> {
        Arc::new(Self)
    }

    fn client_gone(&self, _: &ClientId) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_a_hub_that_never_answers_end_late() {
    let temp = tempfile::tempdir().unwrap();
    let hub = Hub::start(temp.path(), Arc::new(Deaf)).await;
    let client = hub.client("alice").await;
    let id = SessionId::parse("x").unwrap();
    let asked = watch(From::Now, Fidelity::Screen);
    let (list, input, screen, resize, events, output) = tokio::join!(
        client.list(),
        client.input(&id, Bytes::from_static(b"x")),
        client.screen(&id),
        client.resize(&id, Size::DEFAULT),
        client.events(),
        client.output(&id, asked),
    );
    let kinds = [list.err(), input.err(), screen.err(), resize.err(), events.err(), output.err()];
    let kinds: Vec<_> = kinds.into_iter().map(|it| it.map(|it| it.kind())).collect();
    assert_eq!(kinds, vec![Some(Kind::Late); 6]);
    // The wire itself lives, and a deaf engine does not keep its hub from ending.
    client.shutdown().await.unwrap();
    hub.stop().await;
}

/// A hub of its own protocol number that knows nothing but `Hub.Attend` and `Hub.Ping`.
struct Bare {
    protocol: u32,
}

#[async_trait]
impl HubService for Bare {
    type AttendStream = BoxStream<Result<AttendResponse, Status>>;

    async fn attend(
        &self,
        _: Request<AttendRequest>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let welcome = Welcome {
            protocol: self.protocol,
            version: "0.0.7\u{1b}[31m".to_owned(),
            pid: 1,
            ..Welcome::default()
        };
        let first = AttendResponse { kind: Some(Attend::Welcome(welcome)) };
        let open = tokio_stream::once(Ok(first)).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(open)))
    }

    async fn ping(
        &self,
        _: Request<v1::PingRequest>,
    ) -> Result<Response<v1::PingResponse>, Status> {
        Ok(Response::new(v1::PingResponse {}))
    }

    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(v1::StatusResponse { pid: 7, ..v1::StatusResponse::default() }))
    }

    async fn shutdown(
        &self,
        _: Request<v1::ShutdownRequest>,
    ) -> Result<Response<v1::ShutdownResponse>, Status> {
        Ok(Response::new(v1::ShutdownResponse {}))
    }

    async fn doctor(
        &self,
        _: Request<v1::DoctorRequest>,
    ) -> Result<Response<v1::DoctorResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}

/// It, at `hub.sock` of a directory, and a client of its.
pub(crate) async fn bare(protocol: u32) -> (tempfile::TempDir, Client) {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("hub.sock");
    let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let service = HubServer::new(Bare { protocol });
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let client = Client::connect(&socket, options("alice")).await.unwrap();
    (temp, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_of_another_protocol_can_only_be_looked_at_and_stopped() {
    let (_temp, client) = bare(PROTOCOL + 1).await;
    let fault = client.list().await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Unsupported);
    assert!(fault.message().contains("0.0.7") && !fault.message().contains('\u{1b}'), "{fault}");
    assert!(fault.hint_text().unwrap().contains("hub stop"), "{fault:?}");
    let id = SessionId::parse("x").unwrap();
    let fault = client.input(&id, Bytes::new()).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Unsupported);
    assert_eq!(client.hub().await.unwrap().pid, 7);
    client.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_hub_does_not_know_is_said_with_its_version() {
    let (_temp, client) = bare(PROTOCOL).await;
    let faults = [
        client.list().await.err().unwrap(),
        client.events().await.err().unwrap(),
        client.input(&SessionId::parse("x").unwrap(), Bytes::new()).await.err().unwrap(),
    ];
    for fault in faults {
        assert_eq!(fault.kind(), Kind::Unsupported, "{fault}");
        assert!(fault.message().contains("older") && fault.message().contains("0.0.7"), "{fault}");
    }
}
