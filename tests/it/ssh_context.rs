//! Hubs elsewhere by ssh, through a real server.

use portable_pty::CommandBuilder;
use rustix::process::{Pid, Signal, kill_process};

use crate::{given::PROGRAM, program::eventually, pty::Pty, ssh_support::Sshd};

#[test]
fn verbs_reach_a_hub_over_there_which_is_started_for_them() {
    let Some(it) = Sshd::start() else { return };
    it.lab(&["hub", "status"]).failed(6, &["no hub runs"]);
    it.ok(&["run", "-d", "--name", "one", "--", "/bin/sh", "-c", "echo hello; exec cat"]);
    let all = it.json(&["ls", "--json"]);
    assert_eq!((&all[0]["name"], &all[0]["context"]), (&"one".into(), &"lab".into()));
    assert_eq!(all[0]["workspace"]["mode"], "none");
    // It is that machine's, and not this one's.
    assert_eq!(it.far.json(&["ls", "--json"])[0]["context"], "local");
    assert_eq!(it.near.json(&["ls", "--json"]).as_array().unwrap().len(), 0);
    let ran = it.lab(&["exec", "one", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (7, "out\n", "err\n"));
    it.ok(&["send", "one", "typed<Enter>"]);
    it.ok(&["wait", "one", "--for", "text=typed\\s+typed"]);
    let entries = it.json(&["audit", "ls", "--json"]);
    let from = |it: &serde_json::Value| {
        it["details"]["from"] == "ssh" && it["details"]["ssh_from"] == "127.0.0.1"
    };
    assert!(entries.as_array().unwrap().iter().any(from), "{entries}");
    // A directory here is none over there.
    it.lab(&["run", "-d", "--workspace", ".", "--", "/bin/true"]).failed(2, &["absolute"]);
    it.ok(&["hub", "stop"]);
    it.lab(&["hub", "status"]).failed(6, &["no hub runs"]);
    assert_eq!(it.json(&["ls", "--json"])[0]["name"], "one");
}

#[test]
fn a_context_is_chosen_by_option_variable_and_file_in_this_order() {
    let Some(it) = Sshd::start() else { return };
    it.ok(&["run", "-d", "--name", "far", "--", "/bin/cat"]);
    let ssh = it.ssh();
    let with = |args: &[&str], context: &str| {
        let env = [("SANDWATCH_SSH", ssh.to_str().unwrap()), ("SANDWATCH_CONTEXT", context)];
        it.near.run_with(args, &env)
    };
    assert!(!it.run(&["ls"]).stdout.contains("far"));
    assert!(with(&["ls"], "lab").stdout.contains("far"));
    assert!(!with(&["--context", "local", "ls"], "lab").stdout.contains("far"));
    with(&["ls"], "lap").failed(3, &["`lap` is not a context; did you mean `lab`?", "local, lab"]);
    it.near.ok(&["context", "use", "lab"]);
    assert!(it.run(&["ls"]).stdout.contains("far"));
    assert!(!with(&["ls"], "local").stdout.contains("far"));
    it.near.run(&["--context", "lab", "keys", "ls"]).failed(2, &["these files are this machine's"]);
}

#[test]
fn what_keeps_ssh_from_a_hub_is_said_with_what_mends_it() {
    let Some(it) = Sshd::start() else { return };
    let ls = || it.lab(&["ls"]);
    it.program(None);
    ls().failed(6, &["there is no sandwatch at ssh://127.0.0.1:", "sandwatch --version`"]);
    let old = "#!/bin/sh\necho \"error: unrecognized subcommand 'proxy'\" >&2\nexit 2\n";
    it.program(Some(old));
    ls().failed(
        5,
        &["is older and has no `hub proxy`", "unrecognized", "install a newer one there"],
    );
    it.program(Some("#!/bin/sh\nprintf '\\nsandwatch-hub-proxy 2 9.9.9\\n'\nexec cat\n"));
    ls().failed(5, &["the proxy of sandwatch 9.9.9 is another", "install the same version"]);
    // Nothing of what is printed there acts here.
    it.program(Some("#!/bin/sh\nprintf 'closed\\033[2J for today\\n'\nexit 1\n"));
    ls().failed(6, &["prints something before the proxy, and there is none: closed␛[2J for today"]);
    it.forget_key();
    ls().failed(
        6,
        &[
            "ssh: ",
            "on the way to ssh://127.0.0.1:",
            "Permission denied",
            "`sandwatch --context lab ls` on a terminal",
        ],
    );
    it.know_another();
    ls().failed(6, &["ssh: ", "on the way to ssh://127.0.0.1:", "Host key verification failed"]);
    it.near
        .run_with(&["--context", "lab", "ls"], &[("SANDWATCH_SSH", "/no/ssh")])
        .failed(6, &["there is no /no/ssh here"]);
}

#[test]
fn a_shell_that_prints_before_the_proxy_is_in_nobodys_way() {
    let Some(it) = Sshd::start() else { return };
    it.configure("ForceCommand echo 'Welcome to the lab!'; printf 'no end of line'; eval \"$SSH_ORIGINAL_COMMAND\"\n");
    assert_eq!(it.json(&["ls", "--json"]).as_array().unwrap().len(), 0);
}

fn attach(it: &Sshd, args: &[&str]) -> Pty {
    let mut command = CommandBuilder::new(PROGRAM);
    command.args([&["--context", "lab"], args].concat());
    command.cwd(it.near.workspace());
    command.env("SANDWATCH_SSH", it.ssh());
    Pty::run(command, &it.near, (90, 24), ("", ""))
}

#[test]
fn a_session_over_ssh_comes_back_by_itself_and_nothing_typed_is_doubled() {
    let Some(it) = Sshd::start() else { return };
    it.ok(&[
        "run",
        "-d",
        "--name",
        "one",
        "--",
        "/bin/sh",
        "-c",
        "stty -echo; echo ready; exec cat",
    ]);
    it.ok(&["wait", "one", "--for", "text=ready"]);
    let mut pty = attach(&it, &["attach", "one"]);
    pty.wait_for("ready");
    for (at, end) in ["killed", "cut"].into_iter().enumerate() {
        pty.send(&format!("before-{end}\r"));
        pty.wait_for(&format!("before-{end}"));
        let before = it.pids();
        if at == 0 {
            let pid = Pid::from_raw(*before.last().unwrap()).unwrap();
            kill_process(pid, Signal::KILL).unwrap();
        } else {
            it.cut();
        }
        eventually("it looks for the hub again", || it.pids().len() > before.len());
        pty.wait_until("it is there again", |it| !it.has("NO HUB"));
        eventually("what is typed arrives again", || {
            // What is typed while there is no hub is said to be unsent, and is.
            pty.send("x\r");
            it.ok(&["screen", "one"]).lines().any(|line| line.starts_with('x'))
        });
        pty.send(&format!("after-{end}\r"));
        pty.wait_for(&format!("after-{end}"));
    }
    pty.send("\x02d");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
    let screen = it.ok(&["screen", "one"]);
    for line in ["before-killed", "after-killed", "before-cut", "after-cut"] {
        assert_eq!(screen.lines().filter(|it| *it == line).count(), 1, "{line}: {screen}");
    }
}

#[test]
fn a_console_comes_back_whichever_of_its_connections_breaks() {
    let Some(it) = Sshd::start() else { return };
    let count = "i=0; while :; do i=$((i+1)); echo tick-$i-; sleep 0.2; done";
    it.ok(&["run", "-d", "--name", "one", "--", "/bin/sh", "-c", count]);
    let before = it.pids().len();
    let mut pty = attach(&it, &[]);
    let newest = |it: &crate::pty::View| {
        let text = it.text();
        let ticks = text.split("tick-").skip(1).filter_map(|it| it.split_once('-')?.0.parse().ok());
        ticks.max().unwrap_or(0)
    };
    pty.wait_until("it counts", |it| newest(it) > 0);
    for which in 0..3 {
        let pids = it.pids();
        assert_eq!(pids.len(), before + 3 * (which + 1), "{pids:?}");
        let pid = Pid::from_raw(pids[pids.len() - 3 + which]).unwrap();
        let seen: u32 = pty.look(newest);
        kill_process(pid, Signal::KILL).unwrap();
        eventually("all are opened anew", || it.pids().len() == pids.len() + 3);
        pty.wait_until("it is there again", |it| !it.has("NO HUB") && newest(it) > seen + 3);
    }
    pty.signal(Signal::TERM);
    pty.ended();
}

#[test]
fn a_passphrase_is_asked_for_once_on_a_terminal_and_nowhere_else() {
    let Some(it) = Sshd::start() else { return };
    it.ok(&["run", "-d", "--name", "one", "--", "/bin/cat"]);
    it.lock_key("open sesame");
    it.lab(&["ls"]).failed(6, &["Permission denied", "`sandwatch --context lab ls` on a terminal"]);
    let mut pty = attach(&it, &["ls"]);
    pty.wait_for("Enter passphrase");
    pty.send("open sesame\r");
    pty.wait_for("cat");
    assert_eq!(pty.ended(), 0);
    pty.look(|it| {
        let raw = String::from_utf8_lossy(&it.raw);
        assert_eq!(raw.matches("Enter passphrase").count(), 1, "{raw}");
        assert!(!raw.contains("sesame"), "{raw}");
    });
}

#[test]
fn the_console_says_why_there_is_no_hub_and_what_mends_it() {
    let Some(it) = Sshd::start() else { return };
    it.ok(&["run", "-d", "--name", "one", "--", "/bin/cat"]);
    let mut pty = attach(&it, &[]);
    pty.resize((160, 30));
    pty.wait_for("one");
    // Three connections, so that a flood is in nobody's way.
    assert!(it.pids().len() >= 4, "{:?}", it.pids());
    it.forget_key();
    it.cut();
    pty.wait_for("Permission denied");
    pty.signal(Signal::TERM);
    pty.ended();
    pty.assert_restored();
}

#[test]
fn a_key_that_is_refused_is_refused_once_and_then_seldom() {
    let Some(it) = Sshd::start() else { return };
    it.forget_key();
    let mut command = CommandBuilder::new(PROGRAM);
    command.cwd(it.near.workspace());
    command.env("SANDWATCH_SSH", it.ssh());
    let mut pty = Pty::run(command, &it.near, (160, 30), ("", ""));
    pty.wait_for("1 hub down");
    // Not three at once, and no more of them in the time that this took.
    assert!(it.pids().len() <= 2, "{:?}", it.pids());
    pty.signal(Signal::TERM);
    pty.ended();
}
