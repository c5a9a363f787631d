//! Verbs against a hub and local sandboxes, as a script uses them: off a terminal.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::Stdio,
};

use serde_json::Value;

use crate::program::{Home, Ran, alive, eventually};

/// Starts a detached sandbox that runs a line of shell.
fn start(home: &Home, name: &str, line: &str) {
    let printed = home.ok(&["run", "-d", "--name", name, "--", "/bin/sh", "-c", line]);
    assert_eq!(printed, format!("{name}\n"));
}

fn sandbox(home: &Home, name: &str) -> Value {
    let all = home.json(&["ls", "--all", "--json"]);
    let all = all.as_array().unwrap();
    all.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{all:?}")).clone()
}

#[test]
fn run_off_a_terminal_passes_output_and_exit_code() {
    let home = Home::new();
    let ran = home.run(&["run", "--", "/bin/sh", "-c", "echo hello; exit 7"]);
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.stdout.contains("hello\r\n"), "{ran:?}");
}

#[test]
fn a_signal_is_told_as_128_and_its_number() {
    let home = Home::new();
    let ran = home.run(&["run", "--", "/bin/sh", "-c", "kill -TERM $$"]);
    assert_eq!(ran.code, 128 + 15, "{ran:?}");
}

#[test]
fn every_byte_of_a_long_output_arrives_off_a_terminal() {
    let home = Home::new();
    let ran = home.run(&["run", "--", "/bin/sh", "-c", "seq 1 200000"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 200_000);
    assert!(lines.iter().zip(1..).all(|(line, number)| *line == number.to_string()));
}

#[test]
fn attach_off_a_terminal_prints_text_and_says_what_is_no_longer_kept() {
    let home = Home::new();
    let line = "seq 1 3000000; read it; exit 7";
    home.ok(&["run", "-d", "--name", "long", "--no-record", "--", "/bin/sh", "-c", line]);
    home.ok(&["wait", "long", "--for", "text=3000000", "--timeout", "60s"]);
    let mut attach = home.command(&["attach", "long"]);
    let mut attach = attach.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = String::new();
    let mut stdout = BufReader::new(attach.stdout.take().unwrap());
    while !printed.ends_with("3000000\r\n") {
        assert_ne!(stdout.read_line(&mut printed).unwrap(), 0, "{printed:?}");
    }
    home.ok(&["send", "long", "<Enter>"]);
    stdout.read_to_string(&mut printed).unwrap();
    let ran = Ran::from(attach.wait_with_output().unwrap(), &["attach"]);
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.stderr.contains("bytes of output are no longer kept"), "{}", ran.stderr);
    assert!(printed.contains("\r\n2999999\r\n3000000\r\n"), "{printed:?}");
    let plain = |it: char| it.is_ascii_digit() || it == '\r' || it == '\n';
    assert!(printed.chars().all(plain), "{printed:?}");
}

#[test]
fn a_removal_does_not_wait_for_the_grace_of_a_stop() {
    let home = Home::new();
    let deaf = "trap 'echo heard' TERM HUP; echo up; while :; do sleep 0.01; done";
    start(&home, "deaf", deaf);
    home.ok(&["wait", "deaf", "--for", "text=up", "--timeout", "20s"]);
    let mut stop = home.command(&["stop", "deaf", "--grace", "30m"]);
    let stop = stop.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    home.ok(&["wait", "deaf", "--for", "text=heard", "--timeout", "20s"]);
    home.ok(&["rm", "--yes", "deaf"]);
    let ran = Ran::from(stop.wait_with_output().unwrap(), &["stop"]);
    assert!(ran.code != 0 && ran.stderr.contains("being removed"), "{ran:?}");
    assert_eq!(home.json(&["ls", "--all", "--json"]), serde_json::json!([]));
}

#[test]
fn ls_json_has_the_fields_scripts_rely_on() {
    let home = Home::new();
    assert_eq!(home.json(&["ls", "--json"]), serde_json::json!([]));
    home.ok(&[
        "run",
        "-d",
        "--name",
        "one",
        "--label",
        "team=api",
        "--size",
        "100x30",
        "--",
        "/bin/sh",
        "-c",
        "sleep 1000",
    ]);
    let it = sandbox(&home, "one");
    for field in [
        "id",
        "name",
        "driver",
        "context",
        "state",
        "raw_state",
        "isolation",
        "created_at",
        "labels",
        "workspace",
        "capabilities",
        "sessions",
        "pending_approvals",
    ] {
        assert!(it.get(field).is_some(), "{field} is not in {it}");
    }
    assert_eq!(it["driver"], "local");
    assert_eq!(it["context"], "local");
    assert_eq!(it["state"], "running");
    assert_eq!(it["labels"]["team"], "api");
    assert_eq!(it["workspace"]["mode"], "cow");
    assert_eq!(it["workspace"]["path"], home.workspace().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(it["pending_approvals"], 0);
    assert!(it["capabilities"]["pty"].is_boolean(), "{it}");
    let session = &it["sessions"][0];
    for field in [
        "id",
        "name",
        "command",
        "status",
        "status_why",
        "pid",
        "cols",
        "rows",
        "title",
        "started_at",
        "exit_code",
    ] {
        assert!(session.get(field).is_some(), "{field} is not in {session}");
    }
    assert_eq!(session["name"], "one");
    assert_eq!(session["command"], serde_json::json!(["/bin/sh", "-c", "sleep 1000"]));
    assert_eq!((&session["cols"], &session["rows"]), (&Value::from(100), &Value::from(30)));
    assert_eq!(session["exit_code"], Value::Null);
    assert!(session["started_at"].as_str().unwrap().ends_with('Z'), "{session}");
    let table = home.ok(&["ls"]);
    assert!(table.contains("NAME") && table.contains("one") && !table.contains('\x1b'), "{table}");
    assert_eq!(home.json(&["ls", "--json", "--label", "team=web"]), serde_json::json!([]));
}

#[test]
fn a_name_in_use_is_refused_and_one_that_is_not_there_is_not_found() {
    let home = Home::new();
    start(&home, "one", "sleep 1000");
    let ran = home.run(&["run", "-d", "--name", "one", "--", "/bin/true"]);
    ran.failed(1, &["one"]);
    home.run(&["screen", "two"]).failed(3, &["two", "sandwatch ls"]);
    home.run(&["attach", "one/9"]).failed(3, &["one/9"]);
    home.run(&["pause", "one", "two"]).failed(3, &["two"]);
    assert_eq!(sandbox(&home, "one")["state"], "running", "nothing is done unless all are known");
}

#[test]
fn an_id_or_a_prefix_of_it_names_a_sandbox() {
    let home = Home::new();
    start(&home, "one", "sleep 1000");
    let id = sandbox(&home, "one")["id"].as_str().unwrap().to_owned();
    home.ok(&["screen", &id]);
    home.ok(&["pause", &id[..6]]);
    assert_eq!(sandbox(&home, "one")["state"], "paused");
    home.ok(&["resume", &id[..6]]);
    assert_eq!(sandbox(&home, "one")["state"], "running");
}

#[test]
fn exec_passes_streams_and_exit_code() {
    let home = Home::new();
    start(&home, "one", "sleep 1000");
    let ran = home.run(&["exec", "one", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (3, "out\n", "err\n"));
    let mut child = home
        .command(&["exec", "one", "-i", "--", "/bin/cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let data: Vec<u8> = (0..300_000_u32).map(|it| (it % 251) as u8).collect();
    let mut stdin = child.stdin.take().unwrap();
    let sent = data.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut back = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut back).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(back == data, "{} bytes came back of {}", back.len(), data.len());
    assert_eq!(home.run(&["exec", "one", "--", "/bin/cat"]).code, 0, "stdin is empty without -i");
    assert_ne!(home.run(&["exec", "one", "--", "/no/such/program"]).code, 0);
}

#[test]
fn send_screen_and_wait_steer_a_session() {
    let home = Home::new();
    start(&home, "one", "read line; echo \"got:$line\"; sleep 1000");
    home.ok(&["send", "one", "good", "day", "<Enter>"]);
    home.ok(&["wait", "one", "--for", "text=got:[a-z ]+day", "--timeout", "30s"]);
    assert!(home.ok(&["screen", "one"]).contains("got:good day"));
    let screen = home.json(&["screen", "one", "--json"]);
    assert_eq!((&screen["cols"], &screen["rows"]), (&Value::from(80), &Value::from(24)));
    assert!(screen["lines"].as_array().unwrap().iter().any(|it| it == "got:good day"), "{screen}");
    assert!(screen["cursor"]["row"].is_u64(), "{screen}");
    home.run(&["wait", "one", "--for", "text=never", "--timeout", "100ms"]).failed(7, &["100ms"]);
    home.run(&["send", "one", "<Entr>"]).failed(2, &["<Entr>", "Enter", "--literal"]);
    home.ok(&["send", "one", "<C-c>"]);
    home.ok(&["wait", "one", "--for", "exit", "--timeout", "30s"]);
    assert_eq!(sandbox(&home, "one")["sessions"][0]["exit_code"], 130);
}

#[test]
fn colours_are_printed_only_when_asked_for() {
    let home = Home::new();
    start(&home, "one", "printf '\\033[31mred\\033[0m\\033]0;title\\007\\n'; sleep 1000");
    home.ok(&["wait", "one", "--for", "text=red", "--timeout", "30s"]);
    eventually("the screen shows it", || home.ok(&["screen", "one"]).contains("red"));
    assert!(!home.ok(&["screen", "one", "--text"]).contains('\x1b'));
    let ansi = home.ok(&["screen", "one", "--ansi"]);
    assert!(ansi.contains("\x1b[") && !ansi.contains("\x1b]"), "{ansi:?}");
}

#[test]
fn a_second_session_has_a_name_of_its_own() {
    let home = Home::new();
    start(&home, "one", "sleep 1000");
    let name = home.ok(&["shell", "one", "-d", "--", "/bin/sh", "-c", "echo second; sleep 1000"]);
    assert_eq!(name, "one/2\n");
    home.ok(&["wait", "one/2", "--for", "text=second", "--timeout", "30s"]);
    assert_eq!(sandbox(&home, "one")["sessions"][1]["name"], "one/2");
}

#[test]
fn rm_asks_and_off_a_terminal_wants_yes() {
    let home = Home::new();
    start(&home, "one", "sleep 1000");
    let pid = sandbox(&home, "one")["sessions"][0]["pid"].as_u64().map(|it| it as u32);
    home.run(&["rm", "one"]).failed(2, &["--yes"]);
    home.ok(&["rm", "--yes", "one"]);
    assert_eq!(home.json(&["ls", "--all", "--json"]), serde_json::json!([]));
    if let Some(pid) = pid {
        eventually("its program is gone", || !alive(pid));
    }
    home.run(&["rm", "--yes", "one"]).failed(3, &["one"]);
}

#[test]
fn stop_keeps_the_sandbox_and_ls_hides_it() {
    let home = Home::new();
    start(&home, "one", "sleep 1000");
    home.ok(&["stop", "--grace", "1s", "one"]);
    assert_eq!(sandbox(&home, "one")["state"], "stopped");
    assert_eq!(home.json(&["ls", "--json"]), serde_json::json!([]));
}

#[test]
fn hub_stop_never_kills_a_sandbox() {
    let home = Home::new();
    start(&home, "one", "echo before; sleep 1000");
    let before = home.json(&["hub", "status", "--json"]);
    for field in [
        "pid",
        "version",
        "uptime_ms",
        "listen",
        "sandboxes",
        "sessions",
        "pending_approvals",
        "rss_bytes",
    ] {
        assert!(before.get(field).is_some(), "{field} is not in {before}");
    }
    assert_eq!(before["sandboxes"], 1);
    home.ok(&["hub", "stop"]);
    let pid = before["pid"].as_u64().unwrap() as u32;
    eventually("the hub has ended", || !alive(pid));
    home.run(&["hub", "status"]).failed(6, &["no hub"]);
    assert_eq!(sandbox(&home, "one")["state"], "running");
    let after = home.json(&["hub", "status", "--json"]);
    assert_ne!(before["pid"], after["pid"]);
    assert!(home.ok(&["screen", "one"]).contains("before"));
}

#[test]
fn a_recording_outlives_its_sandbox_and_is_exported() {
    let home = Home::new();
    let ran = home.run(&["run", "--name", "one", "--", "/bin/sh", "-c", "echo kept"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    home.ok(&["rm", "--yes", "one"]);
    let all = home.json(&["recordings", "ls", "--json"]);
    let it = &all[0];
    for field in ["session", "sandbox", "name", "command", "started_at", "ended_at", "size_bytes"] {
        assert!(it.get(field).is_some(), "{field} is not in {it}");
    }
    let cast = home.ok(&["recordings", "export", "one"]);
    let header: Value = serde_json::from_str(cast.lines().next().unwrap()).unwrap();
    assert_eq!(header["version"], 3, "{cast}");
    assert!(cast.contains("kept"), "{cast}");
    let file = home.workspace().join("one.cast");
    home.ok(&["recordings", "export", "one", "-o", file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), cast);
}

#[test]
fn recordings_are_deleted_by_name_and_by_age_and_only_on_purpose() {
    let home = Home::new();
    for name in ["one", "two"] {
        assert_eq!(home.run(&["run", "--name", name, "--", "true"]).code, 0);
    }
    home.ok(&["run", "-d", "--name", "shell"]);
    let table = home.ok(&["recordings", "ls"]);
    let shell = table.lines().find(|it| it.starts_with("shell ")).unwrap();
    assert!(shell.trim_end().ends_with(" shell"), "{table}");
    let left = || home.json(&["recordings", "ls", "--json"]).as_array().unwrap().len();
    assert_eq!(home.run(&["recordings", "rm"]).code, 2);
    home.run(&["recordings", "rm", "one"]).failed(2, &["--yes"]);
    home.run(&["recordings", "rm", "--yes", "one", "nosuch"]).failed(3, &["nosuch"]);
    home.run(&["recordings", "rm", "--yes", "shell"]).failed(1, &["shell", "still runs"]);
    home.ok(&["recordings", "rm", "--yes", "--older-than", "1d"]);
    // By age alone, what a sandbox that runs has open is kept, and that is no failure.
    let kept = home.run(&["recordings", "rm", "--yes", "--older-than", "0s"]);
    assert!(kept.code == 0 && kept.stderr.contains("one is kept"), "{kept:?}");
    assert_eq!(left(), 3);
    home.ok(&["rm", "--yes", "one", "two"]);
    home.ok(&["recordings", "rm", "--yes", "one"]);
    assert_eq!(left(), 2);
    home.ok(&["recordings", "rm", "--yes", "--older-than", "0s"]);
    assert_eq!(left(), 1);
}

#[test]
fn doctor_grades_what_it_tried() {
    let home = Home::new();
    let checks = home.json(&["doctor", "--json"]);
    let checks = checks.as_array().unwrap();
    assert!(checks.iter().any(|it| it["check"] == "hub" && it["status"] == "ok"), "{checks:?}");
    for it in checks {
        let status = it["status"].as_str().unwrap();
        assert!(["ok", "degraded", "missing"].contains(&status), "{it}");
        assert!(it["detail"].is_string() && it.get("fix").is_some(), "{it}");
    }
    assert!(home.ok(&["doctor"]).contains("CHECK"));
}

#[test]
fn a_damaged_database_is_set_aside_and_said() {
    let home = Home::new();
    home.ok(&["hub", "start"]);
    home.ok(&["hub", "stop"]);
    eventually("the hub has ended", || home.run(&["hub", "status"]).code == 6);
    std::fs::write(home.path().join("state/registry.db"), "this is no database").unwrap();
    for beside in ["registry.db-wal", "registry.db-shm"] {
        drop(std::fs::remove_file(home.path().join("state").join(beside)));
    }
    let ran = home.run(&["ls"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn attach_off_a_terminal_streams_from_the_start() {
    let home = Home::new();
    start(&home, "one", "echo first; read line; echo \"last $line\"; exit 4");
    let mut child = home.command(&["attach", "one"]).stdout(Stdio::piped()).spawn().unwrap();
    home.ok(&["wait", "one", "--for", "text=first", "--timeout", "30s"]);
    home.ok(&["send", "one", "x<Enter>"]);
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(text.contains("first") && text.contains("last x"), "{text:?}");
}

/// The bounds on open files of a process: what it has, and what it may give itself.
fn open_files(pid: &str) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|it| it.starts_with("Max open files")).unwrap();
    let mut bounds = line.split_whitespace().skip(3).map(str::to_owned);
    (bounds.next().unwrap(), bounds.next().unwrap())
}

#[test]
fn a_hub_and_its_shims_may_open_many_files_and_programs_half_of_that() {
    let home = Home::new();
    let (soft, hard) = open_files("self");
    let half = hard.parse::<u64>().unwrap() / 2;
    let usual = soft.parse::<u64>().unwrap().min(half);
    let script = "ulimit -Sn; ulimit -Hn; ulimit -Hn 1000000000 || echo no more; sleep 1000";
    start(&home, "one", script);
    home.ok(&["wait", "one", "--for", "text=no more", "--timeout", "30s"]);
    let shown = home.ok(&["screen", "one"]);
    let shown: Vec<&str> = shown.lines().map(str::trim).collect();
    assert_eq!(shown[..2], [usual.to_string(), half.to_string()], "{shown:?}");
    let hub = home.json(&["hub", "status", "--json"])["pid"].as_u64().unwrap().to_string();
    assert_eq!(open_files(&hub), (hard.clone(), hard.clone()));
    let id = sandbox(&home, "one")["id"].as_str().unwrap().to_owned();
    let shim = std::fs::read_dir("/proc").unwrap().find_map(|it| {
        let it = it.ok()?;
        let line = std::fs::read(it.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        (line.contains("\0shim\0") && line.contains(&id)).then(|| it.file_name())
    });
    let shim = shim.unwrap().into_string().unwrap();
    assert_eq!(open_files(&shim), (hard.clone(), hard));
    home.ok(&["rm", "--yes", "one"]);
}

#[test]
fn waited_for_text_may_stretch_over_many_pieces_of_output() {
    let home = Home::new();
    let line = "printf BEGIN; head -c 60000 /dev/zero | tr '\\0' x; printf END; exec cat";
    home.ok(&["run", "-d", "--name", "long", "--", "/bin/sh", "-c", line]);
    home.ok(&["wait", "long", "--for", "text=(?s)BEGIN.*END", "--timeout", "30s"]);
    home.ok(&["wait", "long", "--for", "text=BEGINx{1000}", "--timeout", "30s"]);
}
