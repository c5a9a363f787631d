//! Engines that are none: what answers nonsense, without end or not at all costs a fault within bounds.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use crate::docker_stage::Docked;

/// Answers every connection in its own way, each on a thread, until the test ends.
pub(crate) fn engine(socket: &Path, answer: impl Fn(&str, UnixStream) + Send + Sync + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), answer) = (stream, answer.clone()) else { return };
            std::thread::spawn(move || {
                let mut asked = vec![0; 4096];
                let count = stream.read(&mut asked).unwrap_or(0);
                answer(&String::from_utf8_lossy(&asked[..count]), stream);
            });
        }
    });
}

pub(crate) const VERSION: &str =
    "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK";

/// An engine that says its version, and then this.
fn after_version(
    then: impl Fn(UnixStream) + Send + Sync + 'static,
) -> impl Fn(&str, UnixStream) + Send + Sync + 'static {
    move |asked, mut stream| {
        if asked.contains("/_ping") {
            let _hung_up = stream.write_all(VERSION.as_bytes());
        } else {
            then(stream);
        }
    }
}

#[track_caller]
fn refused(answer: impl Fn(&str, UnixStream) + Send + Sync + 'static, code: i32, words: &[&str]) {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("docker.sock");
    engine(&socket, answer);
    let docked = Docked::at(format!("unix://{}", socket.display()));
    let began = Instant::now();
    let ran = docked.run(&["run", "-d", "--driver", "docker", "--", "sh"]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    ran.failed(code, words);
    // Nothing of it is left, and the hub is as it was.
    assert_eq!(docked.ok(&["ls", "--all", "--json"]).trim(), "[]");
    docked.ok(&["run", "-d", "--name", "beside", "--", "sh", "-c", "sleep 1000"]);
}

#[test]
fn an_engine_that_says_nothing_is_late() {
    refused(|_, _stays| std::thread::sleep(Duration::from_secs(60)), 7, &["did not", "within"]);
}

#[test]
fn an_engine_that_hangs_up_is_lost() {
    refused(|_, hung_up| drop(hung_up), 6, &["hung up"]);
}

#[test]
fn an_engine_that_speaks_something_else_is_none() {
    let ssh =
        |_: &str, mut stream: UnixStream| drop(stream.write_all(b"SSH-2.0-OpenSSH_9\r\n\r\n"));
    refused(ssh, 1, &["does not speak HTTP"]);
    let page = |_: &str, mut stream: UnixStream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<ok>"));
    };
    refused(page, 1, &["does not say its version"]);
    let old = |_: &str, mut stream: UnixStream| {
        drop(stream.write_all(VERSION.replace("1.41", "1.24").as_bytes()));
    };
    refused(old, 5, &["too old"]);
}

#[test]
fn an_engine_whose_answers_can_not_be_read_is_none() {
    for text in ["{\"OSType\":7}", "[[[[", "\u{1b}[31m"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        let nonsense = after_version(move |mut stream| drop(stream.write_all(answer.as_bytes())));
        refused(nonsense, 1, &["can't be read"]);
    }
    let broken = after_version(|mut stream| {
        drop(stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"));
    });
    refused(broken, 1, &["500"]);
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let endless = |head: &'static str, piece: &'static [u8]| {
        after_version(move |mut stream| {
            let _heads = stream.write_all(head.as_bytes());
            while stream.write_all(piece).is_ok() {}
        })
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n{\"a\":\"";
    refused(endless(head, &[b'x'; 8192]), 1, &["more than"]);
    refused(endless("HTTP/1.1 200 OK\r\nX: ", &[b'x'; 8192]), 1, &["HTTP"]);
}

#[test]
fn a_socket_that_is_not_there_is_said_with_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    let docked = Docked::at(format!("unix://{}", temp.path().join("none.sock").display()));
    let ran = docked.run(&["run", "-d", "--driver", "docker", "--", "sh"]);
    ran.failed(6, &["none.sock", "hint"]);
    let wrong = Docked::at("npipe://x".to_owned());
    let ran = wrong.run(&["run", "-d", "--driver", "docker", "--", "sh"]);
    ran.failed(2, &["npipe", "DOCKER_HOST"]);
}
