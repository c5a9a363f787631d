//! Bytes nobody asked for: on the sockets, from programs, from a hub of another version.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::FileTypeExt, net::UnixStream},
    time::Duration,
};

use sandwatch::{
    config::paths::SocketPath,
    wire::v1::{
        AttendRequest, AttendResponse, DoctorRequest, DoctorResponse, PingRequest, PingResponse,
        ShutdownRequest, ShutdownResponse, StatusRequest, StatusResponse, Welcome,
        attend_response::Kind,
        hub_server::{Hub, HubServer},
    },
};
use tonic::{Request, Response, Status};

use crate::crash_support::{Home, eventually};

/// What is thrown at a socket; the last is a frame or message of an absurd length.
fn rubbish() -> Vec<Vec<u8>> {
    let noise: Vec<u8> =
        (0_u32..200_000).map(|it| (it.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![
        Vec::new(),
        b"\0".to_vec(),
        noise,
        b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".repeat(1000),
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xFF; 10_000]].concat(),
        [&[0xFF; 4][..], &[b'x'; 1000]].concat(),
        [&[0x7F, 0xFF, 0xFF, 0xFF][..], &[b'x'; 100_000]].concat(),
        [&[0, 0, 0, 9][..], &[0xFF; 9]].concat(),
        [&[9, 0, 0, 0][..], &[0xFF; 9]].concat(),
    ]
}

/// Throws it all, some of it staying connected; gives what stays.
fn throw(socket: &std::path::Path) -> Vec<UnixStream> {
    let mut open = Vec::new();
    for bytes in rubbish() {
        for stays in [false, true] {
            let short = SocketPath::open(socket).unwrap();
            let mut stream = UnixStream::connect(short.path()).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            // It may be hung up on at any time.
            drop(stream.write_all(&bytes));
            let mut answer = [0; 1024];
            drop(stream.read(&mut answer));
            if stays {
                open.push(stream);
            }
        }
    }
    open
}

#[test]
fn garbage_on_the_sockets_harms_nobody() {
    let it = Home::new();
    it.run("calm", "echo up; cat");
    it.printed("calm", "up");
    let (hub, shim) = (it.hub_pid(), it.shim_of("calm"));
    let id = it.sandbox("calm")["id"].as_str().unwrap().to_owned();
    let at_hub = throw(&it.socket());
    let at_shim = throw(&it.state().join("sandboxes").join(&id).join("shim.sock"));
    it.ok(&["send", "calm", "unmoved", "<Enter>"]);
    it.printed("calm", "unmoved");
    assert_eq!((it.hub_pid(), it.shim_of("calm")), (hub, shim));
    it.kill_hub();
    assert_eq!(it.sandbox("calm")["state"], "running", "adopted, whoever else is connected");
    drop((at_hub, at_shim));
    it.end();
}

#[test]
fn more_connections_to_a_shim_than_it_takes_do_not_end_it() {
    let it = Home::new();
    it.run("calm", "echo up; cat");
    it.printed("calm", "up");
    let id = it.sandbox("calm")["id"].as_str().unwrap().to_owned();
    let socket = it.state().join("sandboxes").join(&id).join("shim.sock");
    let short = SocketPath::open(&socket).unwrap();
    let crowd: Vec<UnixStream> =
        (0..400).map_while(|_| UnixStream::connect(short.path()).ok()).collect();
    it.kill_hub();
    let state = it.sandbox("calm")["state"].clone();
    assert!(state == "unknown" || state == "running", "{state}");
    drop(crowd);
    eventually("it is back", || it.sandbox("calm")["state"] == "running");
    it.ok(&["send", "calm", "unmoved", "<Enter>"]);
    it.printed("calm", "unmoved");
    it.end();
}

/// All that a hostile program may print; ends with a full reset and a word.
fn hostile() -> Vec<u8> {
    let mut out = Vec::new();
    for piece in [
        &b"\x1b[999999999999999999999C\x1b[99999;99999H\x1b[-1;-1H\x1b[99999999b"[..],
        b"\x1b[8;30000;30000t\x1b[18t\x1b[c\x1b[6n\x1b]10;?\x07\x1b[>q\x05",
        b"\x1b[99999L\x1b[99999M\x1b[99999P\x1b[99999@\x1b[99999S\x1b[99999T\x1b[99999X",
        b"\x1b[?1049h\x1b[?1049h\x1b[?2004h\x1b[?1003h\x1b[5;2r\x1b[?6h\x1b[>31u\x1b[?7l",
        b"\xff\xfe\xc0\x80\xf8\x88\x80\x80\x80\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82",
        b"\x9b31m\x9d0;t\x9c\x90q\x9c\x84\x85\x88\x8d\x8e\x8f",
        b"\x1b]52;c;/////////\x07\x1b]8;;file:///etc/passwd\x07\x1b]7;file://evil/\x07",
        b"\x1b]0;a title\x1b[31m with \x1b]0;\xe2\x80\xaeevil\x07",
    ] {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b"\x1b]0;");
    out.extend(std::iter::repeat_n(b'T', 300_000));
    out.extend_from_slice(b"\x07\x1bP");
    out.extend(std::iter::repeat_n(b'q', 300_000));
    out.extend_from_slice(b"\x1b\\\x1b[");
    out.extend(b"1;".repeat(50_000));
    out.extend_from_slice(b"m");
    out.extend_from_slice("a".as_bytes());
    out.extend("\u{301}\u{200d}\u{fe0f}".repeat(20_000).bytes());
    out.extend((0..=255_u8).cycle().take(65_536));
    out.extend_from_slice(b"\x18\x1b\\\x07\x1bc\x1b[2J\x1b[Hstill here\r\n");
    out
}

#[test]
fn hostile_output_is_shown_recorded_and_passed_on_without_harm() {
    let it = Home::new();
    let bytes = hostile();
    fs::write(it.project().join("hostile"), &bytes).unwrap();
    it.run("wild", "stty raw -echo; cat hostile; exit 3");
    it.ok(&["wait", "wild", "--for", "exit", "--timeout", "20s"]);
    let session = it.session("wild");
    assert_eq!((&session["exit_code"], &session["journal_lost_bytes"]), (&3.into(), &0.into()));
    assert_eq!(session["output_bytes"], bytes.len());
    assert!(session["title"].as_str().unwrap_or_default().len() < 4096);
    let screen = it.json(&["screen", "wild", "--json"]);
    assert!(screen["lines"].to_string().contains("still here"), "{screen:#}");
    for verb in [&["screen", "wild", "--ansi"][..], &["ls", "--all"], &["recordings", "ls"]] {
        let text = it.ok(verb);
        assert!(!text.contains("\u{1b}]") && !text.contains('\u{202e}'), "{verb:?}: {text:?}");
    }
    let seen = it.say(&["attach", "wild"]);
    assert_eq!((seen.code, seen.out == bytes), (3, true), "a pipe gets the bytes as they are");
    assert!(it.recorded("wild").contains("still here"));
    it.kill_hub();
    assert!(it.ok(&["screen", "wild"]).contains("still here"));
    it.end();
}

#[test]
fn a_hundred_megabytes_without_a_newline_are_a_screen() {
    let it = Home::new();
    // An unoptimized build parses at a fraction of the speed.
    let bytes: u64 = if cfg!(debug_assertions) { 4_000_000 } else { 100_000_000 };
    it.run("flood", &format!("head -c {bytes} /dev/zero | tr '\\0' x; printf ' the end'; cat"));
    it.ok(&["wait", "flood", "--for", "text= the end", "--timeout", "24s"]);
    eventually("it is counted", || it.session("flood")["output_bytes"] == bytes + 8);
    let screen = it.ok(&["screen", "flood"]);
    assert!(screen.contains(" the end") && screen.contains(&"x".repeat(80)), "{screen}");
    it.end();
}

/// A hub that speaks another protocol.
struct Stranger(tokio::sync::watch::Sender<bool>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Hub for Stranger {
    type AttendStream = tokio_stream::wrappers::ReceiverStream<Result<AttendResponse, Status>>;

    async fn attend(&self, _: Request<AttendRequest>) -> Answer<Self::AttendStream> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let welcome = Welcome {
            protocol: 999,
            version: "9.9.9\u{1b}[31m".to_owned(),
            pid: std::process::id(),
            ..Welcome::default()
        };
        let first = AttendResponse { kind: Some(Kind::Welcome(welcome)) };
        sender.try_send(Ok(first)).unwrap();
        tokio::spawn(async move { sender.closed().await });
        Ok(Response::new(receiver.into()))
    }
    async fn ping(&self, _: Request<PingRequest>) -> Answer<PingResponse> {
        Ok(Response::new(PingResponse {}))
    }
    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        Ok(Response::new(StatusResponse {
            pid: std::process::id(),
            version: "9.9.9".to_owned(),
            ..StatusResponse::default()
        }))
    }
    async fn shutdown(&self, _: Request<ShutdownRequest>) -> Answer<ShutdownResponse> {
        self.0.send_replace(true);
        Ok(Response::new(ShutdownResponse {}))
    }
    async fn doctor(&self, _: Request<DoctorRequest>) -> Answer<DoctorResponse> {
        Err(Status::unimplemented("doctor"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_of_another_version_is_told_by_name_and_can_be_stopped() {
    let it = Home::new();
    fs::create_dir_all(it.socket().parent().unwrap()).unwrap();
    let listener = tokio::net::UnixListener::bind(it.socket()).unwrap();
    assert!(fs::symlink_metadata(it.socket()).unwrap().file_type().is_socket());
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
    let serving = tonic::transport::Server::builder()
        .add_service(HubServer::new(Stranger(stop)))
        .serve_with_incoming_shutdown(incoming, async move {
            drop(stopped.wait_for(|it| *it).await);
        });
    let serving = tokio::spawn(serving);
    for words in
        [&["ls"][..], &["run", "-d", "--", "true"], &["screen", "x"], &["rm", "--yes", "x"]]
    {
        let said = it.say(words);
        assert_eq!(said.code, 5, "{words:?}: {said:?}");
        assert!(said.err.contains("9.9.9") && said.err.contains("protocol 999"), "{said:?}");
        assert!(said.err.contains("hub stop") && !said.err.contains('\u{1b}'), "{said:?}");
    }
    assert_eq!(it.json(&["hub", "status", "--json"])["version"], "9.9.9");
    it.ok(&["hub", "stop"]);
    tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
    it.ok(&["ls"]);
    it.end();
}
