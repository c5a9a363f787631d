//! The hub's socket and the link to it: garbage, large messages, hubs that die, stop or never answer.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    sync::Arc,
};

use bytes::Bytes;
use sandwatch::{
    base::{
        fault::Kind,
        limits::{HUB_CONNECTIONS_MAX, INPUT_BYTES_MAX},
    },
    client::Client,
    config::paths::Paths,
    hub,
    model::{
        event::{Event, SnapshotReason},
        output::{Fidelity, From, Output},
    },
    runtime::{Link, Runtime},
};

use crate::hub_support::{Hub, engine, next, options, session, spec, watch};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_private_and_goes_with_its_hub() {
    let temp = tempfile::tempdir().unwrap();
    let hub = Hub::start(temp.path(), Arc::new(engine(temp.path()).await)).await;
    let socket = hub.paths.hub_socket();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&socket) & 0o777, 0o600);
    assert_eq!(mode(socket.parent().unwrap()) & 0o777, 0o700);
    hub.stop().await;
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_hub_is_told_of_the_first_and_a_dead_ones_socket_is_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let paths = Paths::under(temp.path());
    paths.prepare().unwrap();
    drop(std::os::unix::net::UnixListener::bind(paths.hub_socket()).unwrap());
    let hub = Hub::start(temp.path(), Arc::new(engine(temp.path()).await)).await;
    let fault = hub::claim(&paths).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Busy);
    assert!(fault.message().contains(&std::process::id().to_string()), "{fault}");
    hub.client("alice").await.hub().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_whose_home_was_deleted_leaves_the_next_ones_socket_alone() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let first = Hub::start(&home, Arc::new(engine(&home).await)).await;
    std::fs::remove_dir_all(&home).unwrap();
    let second = Hub::start(&home, Arc::new(engine(&home).await)).await;
    first.stop().await;
    second.client("alice").await.hub().await.unwrap();
    second.stop().await;
    // Moved away, it still holds its lock, and another hub is at its place.
    let third = Hub::start(&home, Arc::new(engine(&home).await)).await;
    std::fs::rename(&home, temp.path().join("away")).unwrap();
    let fourth = Hub::start(&home, Arc::new(engine(&home).await)).await;
    third.stop().await;
    fourth.client("alice").await.hub().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_socket_is_hung_up_on_and_disturbs_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let hub = Hub::start(temp.path(), Arc::new(engine(temp.path()).await)).await;
    let socket = hub.paths.hub_socket();
    let client = hub.client("alice").await;
    // Held open and silent, or in the middle of a greeting.
    let mut held: Vec<_> = (0..20).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    held[0].write_all(b"PRI * HT").unwrap();
    drop(held.pop());
    let mut half = UnixStream::connect(&socket).unwrap();
    half.write_all(b"PRI * HTTP/2").unwrap();
    drop(half);
    let endless = [&b"SANDWATCH-VIA ssh "[..], &[b'1'; 500]].concat();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 100],
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"SANDWATCH-VIA ssh nowhere\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SANDWATCH-VIA ssh 192.0.2.1\nGET / HTTP/1.1\r\n\r\n",
        &endless,
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(garbage).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap_or(0), 0, "hung up");
    }
    let mut frames = UnixStream::connect(&socket).unwrap();
    frames.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    drop(frames.write_all(&[0xff; 4096]));
    client.list().await.unwrap();
    hub.client("bob").await.list().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_and_free_again_when_closed() {
    let temp = tempfile::tempdir().unwrap();
    let hub = Hub::start(temp.path(), Arc::new(engine(temp.path()).await)).await;
    let socket = hub.paths.hub_socket();
    let client = hub.client("alice").await;
    let held: Vec<_> =
        (0..HUB_CONNECTIONS_MAX).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
    client.list().await.unwrap();
    drop(held);
    let deadline = tokio::time::Instant::now() + crate::hub_support::SOON;
    while Client::connect(&socket, options("bob")).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "connections were not given back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_with_words() {
    let temp = tempfile::tempdir().unwrap();
    let hub =
        Hub::start(&temp.path().join("home"), Arc::new(engine(&temp.path().join("home")).await))
            .await;
    let client = hub.client("alice").await;
    let mut wanted = spec(temp.path(), &["idle"]);
    wanted.env = vec![("A".to_owned(), "x".repeat(5 * 1024 * 1024))];
    let fault = client.create(wanted.clone()).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Invalid, "{fault}");
    wanted.env = vec![("A".to_owned(), "x".repeat(40 * 1024))];
    let fault = client.create(wanted).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Invalid, "{fault}");
    let id = sandwatch::base::id::SessionId::parse("x").unwrap();
    let fault = client.input(&id, vec![0; INPUT_BYTES_MAX + 1].into()).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Invalid, "{fault}");
    client.list().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_go_on_with_the_next_hub_and_the_gap_is_said() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    std::fs::create_dir(temp.path().join("project")).unwrap();
    let engine = engine(&home).await;
    let hub = Hub::start(&home, Arc::new(engine.clone())).await;
    let client = hub.client("alice").await;
    let made =
        client.create(spec(&temp.path().join("project"), &["sh", "-c", "cat"])).await.unwrap();
    let id = &made.sessions[0].id;
    let mut feed = client.events().await.unwrap();
    next(&mut feed, "a snapshot").await.unwrap().unwrap();
    let mut prints = client.output(id, watch(From::Start, Fidelity::Full)).await.unwrap();
    client.input(id, Bytes::from_static(b"before\r")).await.unwrap();
    let mut link = client.link().unwrap();
    hub.stop().await;
    link.wait_for(|it| matches!(it, Link::Down { .. })).await.unwrap();
    let fault = client.list().await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Lost, "{fault}");
    let hub = Hub::start(&home, Arc::new(engine)).await;
    link.wait_for(|it| matches!(it, Link::Up { .. })).await.unwrap();
    client.input(id, Bytes::from_static(b"after\r")).await.unwrap();
    let (mut text, mut at) = (Vec::new(), 0);
    while !text.windows(5).any(|it| it == b"after") {
        if let Output::Chunk { offset, bytes } = next(&mut prints, "output").await.unwrap().unwrap()
        {
            assert_eq!(offset, at, "bytes were skipped or told twice");
            at += bytes.len() as u64;
            text.extend_from_slice(&bytes);
        }
    }
    loop {
        let event = next(&mut feed, "a snapshot after the gap").await.unwrap().unwrap();
        if let Event::Snapshot { reason: SnapshotReason::Gap, sandboxes, .. } = event {
            assert_eq!(sandboxes.len(), 1);
            break;
        }
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_asks_the_hub_to_end_and_others_hear_why() {
    let temp = tempfile::tempdir().unwrap();
    let hub = Hub::start(temp.path(), Arc::new(engine(temp.path()).await)).await;
    let (alice, bob) = (hub.client("alice").await, hub.client("bob").await);
    let mut link = bob.link().unwrap();
    alice.shutdown().await.unwrap();
    let down = link.wait_for(|it| matches!(it, Link::Down { .. })).await.unwrap().clone();
    let Link::Down { reason, .. } = down else { panic!("{down:?}") };
    assert!(reason.contains("alice") || reason.contains("no hub"), "{reason}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyboard_is_free_again_when_its_holder_is_gone() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    std::fs::create_dir(temp.path().join("project")).unwrap();
    let hub = Hub::start(&home, Arc::new(engine(&home).await)).await;
    let alice = hub.client("alice").await;
    let bob = hub.client("bob").await;
    let made = bob.create(spec(&temp.path().join("project"), &["sh", "-c", "cat"])).await.unwrap();
    let id = &made.sessions[0].id;
    alice.input(id, Bytes::from_static(b"a")).await.unwrap();
    assert_eq!(bob.input(id, Bytes::from_static(b"b")).await.unwrap_err().kind(), Kind::Busy);
    drop(alice);
    let deadline = tokio::time::Instant::now() + crate::hub_support::SOON;
    while bob.input(id, Bytes::from_static(b"b")).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the keyboard stayed with a dead client");
        tokio::task::yield_now().await;
    }
    bob.open(&made.id, session(&["idle"])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_deep_down_is_served_and_reached() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("d".repeat(100)).join("e".repeat(60));
    std::fs::create_dir_all(&home).unwrap();
    let hub = Hub::start(&home, Arc::new(engine(&home).await)).await;
    hub.client("alice").await.hub().await.unwrap();
    hub.stop().await;
}

#[tokio::test]
async fn no_hub_is_said_in_words() {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("hub.sock");
    let fault = Client::connect(&socket, options("alice")).await.err().unwrap();
    assert_eq!(fault.kind(), Kind::Lost);
    assert!(fault.message().contains("no hub runs"), "{fault}");
}

async fn grpc(socket: std::path::PathBuf) -> tonic::transport::Channel {
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move {
            let stream = tokio::net::UnixStream::connect(socket).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://hub");
    endpoint.connect_with_connector(connect).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_grpc_tool_can_ask_whether_the_hub_is_well_and_what_it_offers() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    const OURS: [&str; 4] = [
        "sandwatch.v1.Hub",
        "sandwatch.v1.Recordings",
        "sandwatch.v1.Sandboxes",
        "sandwatch.v1.Sessions",
    ];
    let temp = tempfile::tempdir().unwrap();
    let hub = Hub::start(temp.path(), Arc::new(engine(temp.path()).await)).await;
    let channel = grpc(hub.paths.hub_socket()).await;
    let mut health = HealthClient::new(channel.clone());
    for service in OURS.into_iter().chain([""]) {
        let asked = health.check(HealthCheckRequest { service: service.to_owned() }).await;
        assert_eq!(asked.unwrap().into_inner().status(), ServingStatus::Serving, "{service}");
    }
    let asked = health.check(HealthCheckRequest { service: "nothing.Here".to_owned() }).await;
    assert_eq!(asked.unwrap_err().code(), tonic::Code::NotFound);
    let mut reflection = ServerReflectionClient::new(channel);
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let answers = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list.service.into_iter().map(|it| it.name).collect();
    assert!(OURS.iter().all(|it| names.iter().any(|name| name == it)), "{names:?}");
    hub.stop().await;
}
