//! Programs that are started in a gateway's sandbox, by calls alone.

use std::{io::Read, process::Stdio};

use crate::{
    gateway_stage::{Faults, Kind, serve},
    given::eventually,
    pty::Pty,
};

#[test]
fn exec_passes_all_three_streams_and_the_exit_code() {
    let running = serve(Kind::default());
    running.gateway.make("one");
    let home = running.home();
    let ran = home.run(&["exec", "one", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    let mut cat = home.command(&["exec", "one", "-i", "--", "wc", "-c"]);
    let input = tempfile::tempfile().unwrap();
    input.set_len(300_000).unwrap();
    let output = cat.stdin(input).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "300000", "{output:?}");
    let audited = home.ok(&["audit", "ls", "--json"]);
    assert!(audited.contains("program.run"), "{audited}");
}

#[test]
fn a_shell_is_a_session_with_a_size_and_a_recording() {
    let running = serve(Kind::default());
    running.gateway.make("one");
    let home = running.home();
    home.ok(&["ls"]);
    let mut pty = Pty::start(&home, &["shell", "one", "--", "sh"], (90, 25));
    pty.send("stty size; printf 'one%s\\n' two\r");
    pty.wait_until("its size", |view| view.has("25 90") && view.has("onetwo"));
    pty.resize((100, 31));
    pty.send("until stty size | grep 31.100; do sleep 0.1; done\r");
    pty.wait_until("its other size", |view| view.has("31 100"));
    pty.send("exit 3\r");
    assert_eq!(pty.ended(), 3);
    let listed = home.json(&["ls", "--json"]);
    let sessions = listed[0]["sessions"].as_array().unwrap();
    let shell = sessions.iter().find(|it| it["exit_code"] == 3).unwrap();
    let recorded = home.json(&["recordings", "ls", "--json"]).to_string();
    assert!(recorded.contains(shell["id"].as_str().unwrap()), "{recorded}");
}

#[test]
fn a_program_that_is_lost_says_why_where_it_printed() {
    let running = serve(Kind::default());
    running.gateway.make("one");
    let home = running.home();
    home.ok(&["ls"]);
    running.gateway.set(Faults { denied: ["ExecSandboxInteractive"].into(), ..Faults::default() });
    home.run(&["exec", "one", "--", "true"]).failed(4, &["role"]);
    running.gateway.set(Faults::default());
    let pty = Pty::start(
        &home,
        &["shell", "one", "--", "sh", "-c", "echo here; exec sleep 1000"],
        (80, 24),
    );
    pty.wait_until("it runs", |view| view.has("here"));
    drop(running);
    pty.wait_until("why", |view| view.has("lost sight of the program") || view.has("255"));
    eventually("it has ended", || {
        let all = home.json(&["ls", "--all", "--json"]).to_string();
        all.contains("\"exit_code\":255")
    });
}

#[test]
fn programs_that_nobody_reads_hold_up_no_other() {
    let running = serve(Kind::default());
    running.gateway.make("one");
    let home = running.home();
    home.ok(&["ls"]);
    let flood = |_| {
        let mut command = home.command(&["exec", "one", "--", "cat", "/dev/zero"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    };
    let floods: Vec<_> = (0..4).map(flood).collect();
    for _ in 0..4 {
        let ran = home.run(&["exec", "one", "--", "head", "-c", "2000000", "/dev/zero"]);
        assert_eq!((ran.code, ran.stdout.len()), (0, 2_000_000));
    }
    for mut flood in floods {
        flood.kill().unwrap();
        flood.wait().unwrap();
    }
}
