//! One session on the whole terminal: `run`, `attach` and the console over a real hub and real
//! local sandboxes.

use crate::{
    program::{Home, eventually},
    pty::Pty,
};

const SIZE: (u16, u16) = (100, 30);

#[test]
fn run_on_a_terminal_becomes_the_program_and_exits_with_its_code() {
    let home = Home::new();
    let line = "stty size; read line; echo \"got:$line\"; exit 9";
    let mut pty = Pty::start(&home, &["run", "--", "/bin/sh", "-c", line], SIZE);
    pty.wait_for("30 100");
    pty.send("hello\r");
    assert_eq!(pty.ended(), 9);
    pty.assert_restored();
    assert!(pty.look(|it| String::from_utf8_lossy(&it.raw).contains("got:hello")));
}

#[test]
fn detached_the_program_goes_on_and_attached_again_it_is_there() {
    let home = Home::new();
    let mut pty = Pty::start(&home, &["run", "--name", "one", "--", "/bin/bash", "--norc"], SIZE);
    pty.wait_for("bash");
    pty.send("echo before$((1+1))\r");
    pty.wait_for("before2");
    pty.send("\x02d");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
    let mut again = Pty::start(&home, &["attach", "one"], (90, 20));
    again.wait_for("before2");
    again.send("stty size\r");
    again.wait_for("20 90");
    again.resize((70, 18));
    eventually("the session follows the size", || {
        home.json(&["screen", "one", "--json"])["cols"] == 70
    });
    again.send("exit 5\r");
    assert_eq!(again.ended(), 5);
    again.assert_restored();
}

#[test]
fn no_escape_of_a_program_reaches_the_terminal_as_it_is() {
    let home = Home::new();
    let line = "printf '\\033]52;c;c2VjcmV0\\007\\033]0;evil\\007\\033[?1003h\\033P+q544e\\033\\\\\\033[5;5Hdone'; sleep 1000";
    let mut pty = Pty::start(&home, &["run", "--", "/bin/sh", "-c", line], SIZE);
    pty.wait_for("done");
    pty.look(|it| {
        let raw = String::from_utf8_lossy(&it.raw);
        for hostile in ["\x1b]52", "evil", "\x1bP", "\x1b[?1003h"] {
            assert!(!raw.contains(hostile), "{hostile:?}");
        }
    });
    pty.send("\x02d");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
}

#[test]
fn a_read_only_watcher_types_nothing_and_resizes_nothing() {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "one", "--size", "60x15", "--", "/bin/cat"]);
    let mut pty = Pty::start(&home, &["attach", "--read-only", "one"], SIZE);
    pty.wait_until("it is drawn", |it| it.is_on("\x1b[?1049h", "\x1b[?1049l"));
    pty.send("x");
    pty.wait_for("watching only");
    home.ok(&["send", "one", "typed<Enter>"]);
    pty.wait_for("typed");
    assert_eq!(home.json(&["screen", "one", "--json"])["cols"], 60);
    pty.send("\x02q");
    assert_eq!(pty.ended(), 0);
}

#[test]
fn a_signal_detaches_and_gives_the_terminal_back() {
    let home = Home::new();
    let mut pty = Pty::start(&home, &["run", "--name", "one", "--", "/bin/cat"], SIZE);
    pty.wait_until("it is drawn", |it| it.is_on("\x1b[?2026l", "\x1b[?2026h"));
    pty.send("echoed\r");
    pty.wait_for("echoed");
    pty.signal(rustix::process::Signal::TERM);
    assert_eq!(pty.ended(), 128 + 15);
    pty.assert_restored();
    assert_ne!(home.json(&["ls", "--json"])[0]["sessions"][0]["status"], "exited");
}

#[test]
fn a_session_of_the_console_is_still_there_when_it_comes_back() {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "one", "--", "/bin/bash", "--norc"]);
    for turn in ["first", "second"] {
        let mut pty = Pty::start(&home, &[], (120, 36));
        pty.wait_for("FLEET");
        pty.wait_for("one");
        pty.send("\r");
        pty.send(&format!("echo {turn}$((40+2))\r"));
        pty.wait_for(&format!("{turn}42"));
        if turn == "second" {
            pty.wait_for("first42");
        }
        pty.send("\x02d");
        pty.send(":quit\r");
        assert_eq!(pty.ended(), 0);
        pty.assert_restored();
    }
}

/// Opens the list of notices, where what was said stays to be read.
fn open_notices(pty: &Pty) {
    pty.send("\x0e");
    pty.wait_for("Notices");
}

/// Closes it once the link is there again, and the sandbox is known to run.
fn wait_for_link(home: &Home, pty: &Pty) {
    pty.wait_for("reconnected");
    pty.send("q");
    pty.wait_until("the list is closed", |it| !it.has("Notices") && !it.has("NO HUB"));
    eventually("it runs", || home.json(&["ls", "--json"])[0]["state"] == "running");
}

#[test]
fn a_killed_hub_is_found_again_and_the_console_goes_on() {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "one", "--", "/bin/bash", "--norc"]);
    let mut pty = Pty::start(&home, &[], (120, 36));
    pty.wait_for("one");
    pty.wait_for("rtt");
    open_notices(&pty);
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_u64().unwrap();
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_for_link(&home, &pty);
    assert_eq!(home.run(&["hub", "status"]).code, 0);
    pty.send("\r");
    pty.send("echo after$((1+1))\r");
    pty.wait_for("after2");
    pty.send("\x02d:quit\r");
    assert_eq!(pty.ended(), 0);
}

#[test]
fn after_hub_stop_an_open_console_says_so_and_starts_another() {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "one", "--", "/bin/bash", "--norc"]);
    let mut pty = Pty::start(&home, &[], (160, 36));
    pty.wait_for("one");
    pty.wait_for("rtt");
    open_notices(&pty);
    // Beside it: it waits for the end, and another is there soon after.
    let mut stop = home.command(&["hub", "stop"]).spawn().unwrap();
    pty.wait_for("another is started in a moment");
    wait_for_link(&home, &pty);
    assert!(stop.wait().unwrap().success());
    assert_eq!(home.run(&["hub", "status"]).code, 0);
    pty.send("\recho after$((1+1))\r");
    pty.wait_for("after2");
    pty.send("\x02d:quit\r");
    assert_eq!(pty.ended(), 0);
}
