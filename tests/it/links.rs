//! Links that go silent: a hub that stands still, and a network that carries nothing. Nobody is told; it has to be
//! noticed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use portable_pty::CommandBuilder;
use rustix::process::{Pid, Signal, kill_process};
use sandwatch::{
    base::fault::Kind,
    client::Client,
    model::event::Event,
    runtime::{Link, Runtime},
};
use tokio_stream::StreamExt;

use crate::{
    given::PROGRAM,
    hub_support::{Hub, engine, options, spec},
    program::Home,
    pty::Pty,
    relay::Relay,
    ssh_support::Sshd,
};

fn hub_of(home: &Home) -> Pid {
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

#[test]
fn a_console_marks_a_hub_that_stands_still_answers_keys_meanwhile_and_goes_on_with_it() {
    let home = Home::new();
    let ticks = "n=0; while :; do n=$((n+1)); echo tick$n; sleep 0.2; done";
    home.ok(&["run", "-d", "--name", "one", "--", "/bin/sh", "-c", ticks]);
    let mut pty = Pty::start(&home, &[], (100, 30));
    pty.wait_for("one");
    pty.wait_for("rtt");
    let hub = hub_of(&home);
    kill_process(hub, Signal::STOP).unwrap();
    pty.wait_for("NO HUB");
    pty.send("?");
    pty.wait_for("Help");
    pty.send("\x1b");
    pty.wait_until("the help is closed", |it| !it.has("Help"));
    kill_process(hub, Signal::CONT).unwrap();
    pty.wait_until("the hub is there again", |it| it.has("rtt") && !it.has("NO HUB"));
    assert_eq!(hub_of(&home), hub, "another hub was started beside it");
    pty.signal(Signal::TERM);
    pty.ended();
    pty.assert_restored();
}

fn attach(it: &Sshd, args: &[&str]) -> Pty {
    let mut command = CommandBuilder::new(PROGRAM);
    command.args([&["--context", "lab"], args].concat());
    command.cwd(it.near.workspace());
    command.env("SANDWATCH_SSH", it.ssh());
    Pty::run(command, &it.near, (100, 30), ("", ""))
}

#[test]
fn a_network_that_carries_nothing_is_noticed_and_what_was_missed_comes_as_it_is_now() {
    let Some(it) = Sshd::start() else { return };
    let ticks = "stty -echo; (n=0; while sleep 0.2; do n=$((n+1)); printf '\\rtick%d ' $n; done) & exec cat";
    it.ok(&["run", "-d", "--name", "one", "--", "/bin/sh", "-c", ticks]);
    let mut pty = attach(&it, &["attach", "one"]);
    pty.wait_for("tick");
    pty.send("before\r");
    pty.wait_for("before");
    it.black_hole(true);
    pty.wait_for("NO HUB");
    // Typed into nothing: it is said, and it is not sent later.
    pty.send("unsent\r");
    pty.wait_until("it is said", |it| it.has("not sent"));
    let now = it.far.ok(&["screen", "one"]);
    let tick = now.split_whitespace().find(|it| it.starts_with("tick")).unwrap().to_owned();
    let number = |text: &str| text.strip_prefix("tick").and_then(|it| it.parse::<u64>().ok());
    let missed = number(&tick).unwrap();
    it.black_hole(false);
    pty.wait_until("it is there again", |it| {
        let text = it.text();
        !it.has("NO HUB") && text.split_whitespace().filter_map(number).any(|it| it > missed)
    });
    assert!(!it.far.ok(&["screen", "one"]).contains("unsent"));
    pty.send("\x02d");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_said_to_be_silent_before_there_is_no_hub() {
    let temp = tempfile::tempdir().unwrap();
    let hub = Hub::start(temp.path(), Arc::new(engine(temp.path()).await)).await;
    let relay = Relay::to(&hub.paths.hub_socket());
    let client = Client::connect(&relay.socket(), options("alice")).await.unwrap();
    let mut link = client.link().unwrap();
    let silent = |it: &Link| matches!(it, Link::Up(trips) if trips.silent_since.is_some());
    assert!(matches!(&*link.borrow(), Link::Up(trips) if trips.late == 0));
    relay.black_hole(true);
    link.wait_for(silent).await.unwrap();
    link.wait_for(|it| matches!(it, Link::Down { .. })).await.unwrap();
    relay.black_hole(false);
    let there = |it: &Link| matches!(it, Link::Up(trips) if trips.silent_since.is_none());
    link.wait_for(there).await.unwrap();
    hub.stop().await;
}

/// What is waited for takes as long as a hub waits for somebody elsewhere.
const LET_GO_WITHIN: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_vanished_without_a_word_is_let_go_and_the_keyboard_is_free() {
    let temp = tempfile::tempdir().unwrap();
    let (home, project) = (temp.path().join("home"), temp.path().join("project"));
    std::fs::create_dir(&project).unwrap();
    let hub = Hub::start(&home, Arc::new(engine(&home).await)).await;
    let relay = Relay::from_elsewhere(&hub.paths.hub_socket());
    let away = Client::connect(&relay.socket(), options("alice")).await.unwrap();
    let here = hub.client("bob").await;
    let made = here.create(spec(&project, &["sh", "-c", "cat"])).await.unwrap();
    let id = &made.sessions[0].id;
    away.input(id, Bytes::from_static(b"a")).await.unwrap();
    let mut feed = here.events().await.unwrap();
    let taken = here.input(id, Bytes::from_static(b"b")).await.unwrap_err();
    assert_eq!(taken.kind(), Kind::Busy);
    relay.black_hole(true);
    let free = async {
        while let Some(event) = feed.next().await {
            if let Event::Changed { sandbox, .. } = event.unwrap()
                && sandbox.sessions[0].lease.is_none()
            {
                return;
            }
        }
        panic!("the feed ended");
    };
    tokio::time::timeout(LET_GO_WITHIN, free).await.expect("the keyboard stays with who is gone");
    here.input(id, Bytes::from_static(b"b")).await.unwrap();
    hub.stop().await;
}
