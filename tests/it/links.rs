//! Links that go silent: a hub that stands still, and a network that carries nothing. Nobody is told; it has to be
//! noticed.

use portable_pty::CommandBuilder;
use rustix::process::{Pid, Signal, kill_process};

use crate::{given::PROGRAM, program::Home, pty::Pty, ssh_support::Sshd};

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
