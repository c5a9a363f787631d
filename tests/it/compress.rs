//! Lists and output that come compressed, for who asks for it: the same, in fewer bytes; and what a hub packs into little
//! to fill somebody's memory is refused.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io::Write,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http_body_util::Full;
use sandwatch::{
    base::limits::WIRE_MESSAGE_BYTES_MAX,
    client::{Client, Options},
    model::output::{Fidelity, From, Output},
    runtime::Runtime,
    wire::{
        PROTOCOL,
        v1::{
            AttendRequest, AttendResponse, DoctorRequest, DoctorResponse, PingRequest,
            PingResponse, ShutdownRequest, ShutdownResponse, StatusRequest, StatusResponse,
            Welcome,
            attend_response::Kind,
            hub_server::{Hub as HubCalls, HubServer},
        },
    },
};
use tokio_stream::{StreamExt, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, body::Body, codegen::http, server::NamedService};

use crate::{
    given::watch,
    hub_support::{Hub, engine, next, options, session, spec},
    relay::Relay,
};

const SANDBOXES: usize = 100;

async fn client(relay: &Relay, compress: bool) -> Client {
    let options = Options { compress, ..options("alice") };
    Client::connect(&relay.socket(), options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_and_output_are_the_same_in_fewer_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    std::fs::create_dir(temp.path().join("project")).unwrap();
    let hub = Hub::start(&home, Arc::new(engine(&home).await)).await;
    let own = hub.client("alice").await;
    for number in 0..SANDBOXES {
        let mut wanted = spec(&temp.path().join("project"), &["idle"]);
        wanted.name = Some(format!("agent-{number:03}"));
        own.create(wanted).await.unwrap();
    }
    let first = own.list().await.unwrap().remove(0);
    let flood = own.open(&first.id, session(&["sh", "-c", "flood 500000"])).await.unwrap();
    own.wait(&flood.id, sandwatch::runtime::WaitFor::Exit, None).await.unwrap();
    let all = own.list().await.unwrap();
    let relay = Relay::to(&hub.paths.hub_socket());
    let (mut lists, mut outputs, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for compress in [false, true] {
        let client = client(&relay, compress).await;
        let before = relay.came();
        assert_eq!(client.list().await.unwrap(), all);
        lists.push(relay.came() - before);
        let before = relay.came();
        let request = watch(From::Start, Fidelity::Full);
        let mut prints = client.output(&flood.id, request).await.unwrap();
        let mut text = Vec::new();
        while let Some(output) = next(&mut prints, "output").await {
            match output.unwrap() {
                Output::Chunk { bytes, .. } => text.extend_from_slice(&bytes),
                Output::Exit { .. } => break,
                _ => {}
            }
        }
        outputs.push(relay.came() - before);
        texts.push(text);
    }
    assert!(texts[0] == texts[1], "other bytes");
    println!("a list of {SANDBOXES}: {lists:?} bytes; {} of output: {outputs:?}", texts[0].len());
    assert!(lists[1] * 3 < lists[0], "{lists:?}");
    assert!(outputs[1] * 2 < outputs[0], "{outputs:?}");
    hub.stop().await;
}

/// Greets as a hub does.
struct Greets;

type Later<T> = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = T> + Send>>;

#[tonic::async_trait]
impl HubCalls for Greets {
    type AttendStream = Later<Result<AttendResponse, Status>>;

    async fn attend(
        &self,
        _: Request<AttendRequest>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let welcome = Kind::Welcome(Welcome { protocol: PROTOCOL, ..Welcome::default() });
        let first = tokio_stream::once(Ok(AttendResponse { kind: Some(welcome) }));
        Ok(Response::new(Box::pin(first.chain(tokio_stream::pending()))))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        Ok(Response::new(PingResponse {}))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn shutdown(
        &self,
        _: Request<ShutdownRequest>,
    ) -> Result<Response<ShutdownResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn doctor(&self, _: Request<DoctorRequest>) -> Result<Response<DoctorResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Answers every question about sandboxes with many zeros in few bytes.
#[derive(Clone)]
struct Bomb;

impl NamedService for Bomb {
    const NAME: &'static str = "sandwatch.v1.Sandboxes";
}

impl tower::Service<http::Request<Body>> for Bomb {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&vec![0; 2 * WIRE_MESSAGE_BYTES_MAX]).unwrap();
        let packed = packed.finish().unwrap();
        assert!(packed.len() < WIRE_MESSAGE_BYTES_MAX / 8);
        let mut message = BytesMut::new();
        message.put_u8(1);
        message.put_u32(u32::try_from(packed.len()).unwrap());
        message.put_slice(&packed);
        let answer = http::Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-encoding", "gzip")
            .body(Body::new(Full::<Bytes>::new(message.freeze())))
            .unwrap();
        ready(Ok(answer))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_packed_beyond_what_a_message_may_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("hub.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let serving = tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(HubServer::new(Greets))
            .add_service(Bomb)
            .serve_with_incoming(UnixListenerStream::new(listener)),
    );
    let options = |compress| Options { compress, ..options("alice") };
    let asking = Client::connect(&socket, options(true)).await.unwrap();
    let fault = asking.list().await.unwrap_err();
    let most = WIRE_MESSAGE_BYTES_MAX.to_string();
    assert!(fault.message().contains(&most), "{fault}");
    // Nobody who did not ask for it unpacks anything.
    let plain = Client::connect(&socket, options(false)).await.unwrap();
    let fault = plain.list().await.unwrap_err();
    assert!(!fault.message().contains(&most), "{fault}");
    serving.abort();
}
