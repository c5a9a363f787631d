//! `explain --syscalls` and the console's list of calls, on real programs in real sandboxes.

use std::process::{Child, Stdio};

use serde_json::Value;

use crate::{
    program::{Home, eventually},
    skip::not_to_be_had,
};

const LOOP: &str =
    "while :; do read x < /etc/hostname; read x < /no/such/file; read -t 0.05 x; done 2>/dev/null";

fn start(home: &Home, name: &str, options: &[&str], command: &[&str]) {
    let mut args = vec!["run", "-d", "--name", name];
    args.extend(options);
    args.push("--");
    args.extend(command);
    home.ok(&args);
}

fn pid(home: &Home, name: &str) -> u64 {
    home.json(&["ls", name, "--json"])[0]["sessions"][0]["pid"].as_u64().unwrap()
}

fn tracer(pid: u64) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("TracerPid:"))?;
    Some(line.trim().to_owned())
}

#[test]
fn what_a_process_calls_is_told_line_by_line_and_is_in_the_record() {
    let home = Home::new();
    start(&home, "loop", &[], &["/bin/bash", "-c", LOOP]);
    let pid = pid(&home, "loop");
    let told = home.ok(&["explain", "loop", &format!("--syscalls={pid}"), "--for", "2s", "--json"]);
    let lines: Vec<Value> = told.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let (last, calls) = lines.split_last().unwrap();
    assert!(last["made"].as_u64().unwrap() >= calls.len() as u64 - 1, "{last}");
    let opens = |it: &&Value| it["args"].as_str().is_some_and(|it| it.contains("/etc/hostname"));
    let opened = calls.iter().find(opens).unwrap_or_else(|| panic!("{told}"));
    assert!(opened["result"].as_i64().unwrap() >= 0 && opened["error"].is_null(), "{opened}");
    assert!(opened["took_us"].is_u64() && opened["at"].is_string(), "{opened}");
    assert_eq!(opened["thread"], pid);
    let for_people = home.ok(&["explain", "loop", "--syscalls", "--for", "1s"]);
    assert!(for_people.lines().all(|it| it.contains(" = ")), "{for_people}");
    // What it was is what it is.
    eventually("nobody looks any more", || tracer(pid).as_deref() == Some("0"));
    let record = home.json(&["audit", "ls", "--json"]);
    let looked = record.as_array().unwrap().iter().filter(|it| it["action"] == "syscalls.watched");
    let looked: Vec<&Value> = looked.collect();
    assert_eq!(looked.len(), 2, "{record}");
    assert_eq!(looked[0]["subject"], "loop");
    assert_eq!(looked[0]["details"]["process"], pid, "{record}");
    assert!(looked[0]["details"]["session"].is_string() && looked[0]["actor"].is_string());
    home.ok(&["audit", "verify"]);
}

#[test]
fn who_is_no_process_of_the_session_is_not_looked_at() {
    let home = Home::new();
    start(&home, "one", &[], &["/bin/sleep", "1000"]);
    start(&home, "other", &[], &["/bin/sleep", "1000"]);
    let other = pid(&home, "other");
    let of = format!("--syscalls={other}");
    home.run(&["explain", "one", &of]).failed(3, &["no process of this session"]);
    home.run(&["explain", "one", "--syscalls=1"]).failed(3, &["no process of this session: 1"]);
    home.run(&["explain", "one", "--syscalls", "--for", "2h"]).failed(2, &["10m"]);
    let ran = home.run(&["explain", "one", "--for", "2s"]);
    assert!(ran.code == 2 && ran.stderr.contains("--syscalls"), "{ran:?}");
    start(&home, "ended", &[], &["/bin/true"]);
    home.ok(&["wait", "ended", "--for", "exit"]);
    let ran = home.run(&["explain", "ended", "--syscalls"]);
    assert!(ran.code != 0 && ran.stderr.contains("has ended"), "{ran:?}");
}

#[test]
fn where_the_kernel_is_not_this_one_that_is_said() {
    let home = Home::new();
    let checks = home.json(&["doctor", "--json"]);
    let has = |it: &Value| it["check"] == "isolation.gvisor" && it["status"] == "ok";
    if !checks.as_array().unwrap().iter().any(has) {
        return not_to_be_had("gVisor does not work here");
    }
    start(&home, "inside", &["--isolation", "gvisor"], &["/bin/sleep", "1000"]);
    home.run(&["explain", "inside", "--syscalls=7"]).failed(5, &["a kernel of their own"]);
}

/// A look that goes on until it is ended; it has begun.
fn looks(home: &Home, name: &str, pid: u64) -> Child {
    let mut command = home.command(&["explain", name, "--syscalls", "--for", "10m"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("it is looked at", || tracer(pid).is_some_and(|it| it != "0"));
    child
}

#[test]
fn the_look_ends_with_whoever_looks_and_with_the_hub() {
    let home = Home::new();
    start(
        &home,
        "loop",
        &[],
        &["/bin/bash", "-c", "while read -t 0.05 x; [ $? -gt 128 ]; do :; done"],
    );
    let pid = pid(&home, "loop");
    for kills_hub in [false, true] {
        let mut child = looks(&home, "loop", pid);
        if kills_hub {
            let hub = home.json(&["hub", "status", "--json"])["pid"].as_u64().unwrap();
            let hub = rustix::process::Pid::from_raw(i32::try_from(hub).unwrap()).unwrap();
            rustix::process::kill_process(hub, rustix::process::Signal::KILL).unwrap();
        } else {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        eventually("nobody looks any more", || tracer(pid).as_deref() == Some("0"));
        assert_eq!(home.json(&["ls", "loop", "--json"])[0]["sessions"][0]["pid"], pid);
    }
    // What it is told reaches it as ever.
    home.ok(&["send", "loop", "<Enter>"]);
    home.ok(&["wait", "loop", "--for", "exit"]);
}
