//! Sandboxes that are kept with their running programs: `snapshot create --memory` and what is made from it.

use std::{fs, path::PathBuf};

use sandwatch::model::sandbox::Isolation;
use serde_json::Value;

use crate::{
    bad_input_disk::on_a_small_disk,
    crash_support::{Home, eventually, kill},
    given::PROGRAM,
    image_forms, runtimes,
};

/// Counts what it is told, on its terminal.
const COUNTS: &str =
    "n=0; echo up; while read -r word; do n=$((n+1)); echo $word-$n; eval \"$word\"; done";

fn gvisor(scenario: impl Fn(&Home)) {
    on(Home::new(), scenario);
}

fn on(it: Home, scenario: impl Fn(&Home)) {
    if let Some(skip) = runtimes::reason(Isolation::Gvisor) {
        return skip();
    }
    scenario(&it);
    it.end();
}

fn run(it: &Home, name: &str, more: &[&str], script: &str) {
    let words = ["run", "-d", "--name", name, "--isolation", "gvisor", "--workspace"];
    let project = format!("{}:cow", it.project().display());
    it.ok(&[&words[..], &[&project], more, &["--", "sh", "-c", script]].concat());
}

/// One that counts, and was told something.
fn counting(it: &Home, name: &str, more: &[&str]) {
    run(it, name, &[&["--egress", "deny"], more].concat(), COUNTS);
    it.printed(name, "up");
    told(it, name, "one", 1);
}

fn told(it: &Home, name: &str, word: &str, count: u32) {
    it.ok(&["send", name, word, "<Enter>"]);
    it.printed(name, &format!("{word}-{count}"));
}

fn keep(it: &Home, name: &str, called: &str) -> Value {
    it.ok(&["snapshot", "create", name, "--memory", "--name", called]);
    let all = it.json(&["snapshot", "ls", "--json"]);
    all.as_array().unwrap().iter().find(|it| it["name"] == called).unwrap().clone()
}

fn refused(it: &Home, words: &[&str], code: i32, said: &str) {
    let seen = it.say(words);
    assert_eq!(seen.code, code, "{seen:?}");
    assert!(seen.err.contains(said), "{said}: {seen:?}");
}

#[test]
fn what_ran_goes_on_from_there_by_restore_and_by_fork() {
    gvisor(|it| {
        counting(it, "first", &[]);
        let kept = keep(it, "first", "moment");
        assert_eq!(kept["kind"], "memory", "{kept}");
        assert!(kept["size_bytes"].as_u64().unwrap() > 100_000, "{kept}");
        told(it, "first", "two", 2);
        it.ok(&["fork", "-d", "moment", "--name", "second"]);
        assert!(!it.ok(&["screen", "second"]).contains("two"), "what came later is not of it");
        it.printed("second", "one-1");
        told(it, "second", "other", 2);
        // What is typed interrupts, and how it ends is told.
        it.ok(&["send", "second", "sleep 1000", "<Enter>"]);
        it.printed("second", "sleep 1000-3");
        it.ok(&["send", "second", "<C-c>"]);
        eventually("it was interrupted", || it.session("second")["status"] == "exited");
        assert_eq!(it.session("second")["exit_code"], 130);
        it.ok(&["restore", "first", "moment", "--yes"]);
        told(it, "first", "again", 2);
        // A moment of what goes on from a moment.
        assert_eq!(keep(it, "first", "later")["parent"], kept["id"]);
        it.ok(&["stop", "first"]);
        it.ok(&["restore", "first", "later", "--yes"]);
        told(it, "first", "third", 3);
        // With a command of its own it has the files alone.
        it.ok(&["fork", "-d", "later", "--name", "anew", "--", "sh", "-c", COUNTS]);
        it.printed("anew", "up");
        told(it, "anew", "one", 1);
        it.ok(&["snapshot", "rm", "--yes", "moment", "later"]);
        told(it, "first", "fourth", 4);
        it.ok(&["rm", "--yes", "first", "second", "anew"]);
        let left: Vec<_> = fs::read_dir(it.state().join("snapshots")).unwrap().flatten().collect();
        assert!(
            left.iter().all(|it| it.file_name().to_string_lossy().starts_with('.')),
            "{left:?}"
        );
    });
}

#[test]
fn the_doctor_tries_it() {
    gvisor(|it| {
        let checks = it.json(&["doctor", "--json"]);
        let of_it = |it: &&Value| it["check"] == "snapshot.memory";
        let check = checks.as_array().unwrap().iter().find(of_it).unwrap();
        assert_eq!(check["status"], "ok", "{check}");
    });
}

#[test]
fn what_a_flood_had_printed_is_on_the_screen_that_goes_on() {
    gvisor(|it| {
        run(it, "flood", &["--egress", "deny"], "n=0; while n=$((n+1)); do echo l$n; done");
        it.printed("flood", "l1000");
        for turn in ["one", "two", "three"] {
            keep(it, "flood", turn);
            it.ok(&["fork", "-d", turn, "--name", &format!("of-{turn}")]);
            it.ok(&["pause", &format!("of-{turn}")]);
            let session = format!("of-{turn}");
            let cast = it.recorded(&session);
            let lines = cast.split(['\r', '\n']).filter_map(|it| it.strip_prefix('l'));
            // The oldest may be half a line, as the screen had it; so may be the newest.
            let numbers: Vec<u64> = lines.filter_map(|it| it.parse().ok()).collect();
            let whole = &numbers[1..numbers.len() - 1];
            let gaps: Vec<_> = whole.windows(2).filter(|it| it[1] != it[0] + 1).collect();
            assert!(whole.len() > 20 && gaps.is_empty(), "{gaps:?} of {}", whole.len());
            it.ok(&["rm", "--yes", &session]);
        }
    });
}

#[test]
fn what_a_program_leaves_behind_it_is_not_ended_with_it() {
    gvisor(|it| {
        let script = "trap '' HUP; sleep 4321 & echo up; sleep 1; exit 3";
        run(it, "left", &["--egress", "deny"], script);
        it.printed("left", "up");
        // Else all ends with it.
        let mut shell = it.begin(&["shell", "left"], &it.temp().join("out"));
        let sessions = || it.sandbox("left")["sessions"].as_array().unwrap().len();
        eventually("it has a shell", || sessions() == 2);
        let count = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep [4]321 ' || true";
        let runs = || it.ok(&["exec", "left", "--", "sh", "-c", count]);
        eventually("it has ended", || it.session("left")["status"] == "exited");
        assert_eq!(it.session("left")["exit_code"], 3);
        assert_eq!(runs(), "1\n");
        shell.kill().unwrap();
        shell.wait().unwrap();
    });
}

#[test]
fn root_over_an_image_is_kept_as_well() {
    if !image_forms::can() {
        return;
    }
    gvisor(|it| {
        let image = image_forms::root(it.temp());
        counting(it, "over", &["--image", image.to_str().unwrap()]);
        let rights = "grep CapEff /proc/self/status";
        let seen = it.ok(&["exec", "over", "--", "sh", "-c", rights]);
        assert!(seen.contains("0000000000000000"), "{seen}");
        it.ok(&["send", "over", "grep CapEff /proc/$$/status; id -u", "<Enter>"]);
        it.printed("over", "CapEff:\\s0000000000000000\\s+0");
        keep(it, "over", "moment");
        it.ok(&["fork", "-d", "moment", "--name", "second"]);
        told(it, "second", "two", 3);
        // Root may signal those who attend to it, which mind only what ends anything.
        it.ok(&["exec", "second", "--", "sh", "-c", "kill -TERM 1 2; kill -HUP 2; kill -INT 2"]);
        told(it, "second", "three", 4);
        it.ok(&["exec", "second", "--", "sh", "-c", "kill -9 2"]);
        eventually("it has ended", || it.session("second")["status"] == "exited");
        it.ok(&["send", "over", "trap 'echo bye; exit 5' TERM", "<Enter>"]);
        it.printed("over", "TERM-3");
        it.ok(&["stop", "over"]);
        assert_eq!(it.session("over")["exit_code"], 5);
    });
}

#[test]
fn what_can_not_be_kept_is_refused_and_runs_on() {
    gvisor(|it| {
        counting(it, "box", &[]);
        let create = ["snapshot", "create", "box", "--memory"];
        // Who asks has a connection to outside, and waits for who may never answer a copy of it.
        it.ok(&["send", "box", "sandwatch ask --subject may-i; echo rc $?", "<Enter>"]);
        let asks = || it.json(&["approvals", "ls", "--json"]);
        eventually("it asks", || asks()[0]["subject"].to_string().contains("may-i"));
        refused(it, &create, 1, "waits for an answer");
        it.ok(&["approvals", "allow", asks()[0]["id"].as_str().unwrap()]);
        it.printed("box", "rc 0");
        it.ok(&["pause", "box"]);
        refused(it, &create, 1, "it is paused");
        it.ok(&["resume", "box"]);
        // gVisor falls over a connection to a socket of the host.
        let connects = "python3 -c \"import socket,time; s=socket.socket(socket.AF_UNIX); \
                        s.connect('/run/sandwatch/ask.sock'); print('con'+'nected',flush=True); \
                        time.sleep(1000)\"";
        it.ok(&["send", "-l", "box", connects]);
        it.ok(&["send", "box", "<Enter>"]);
        it.printed("box", "connected");
        refused(it, &create, 1, "runsc");
        it.ok(&["send", "box", "<C-c>"]);
        eventually("it ended", || it.session("box")["status"] == "exited");
        assert_eq!(it.json(&["snapshot", "ls", "--json"]), serde_json::json!([]));
        run(it, "asks", &["--egress", "ask"], COUNTS);
        refused(it, &["snapshot", "create", "asks", "--memory"], 5, "--egress deny");
        // Nor do they go on where they can't.
        counting(it, "kept", &[]);
        keep(it, "kept", "moment");
        refused(it, &["restore", "asks", "moment", "--yes"], 5, "can't go on in asks");
        assert_eq!(it.sandbox("asks")["state"], "running");
    });
}

#[test]
fn a_full_disk_keeps_nothing_and_all_runs_on() {
    if let Some(skip) = runtimes::reason(Isolation::Gvisor) {
        return skip();
    }
    let Some((it, disk)) = on_a_small_disk("64m") else { return };
    let it = &it;
    counting(it, "box", &[]);
    it.ok(&["send", "-l", "box", "big=$(head -c 3000000 /dev/urandom | base64 -w 0)"]);
    it.ok(&["send", "box", "<Enter>"]);
    it.printed("box", "-2");
    disk.fill(200);
    let seen = it.say(&["snapshot", "create", "box", "--memory"]);
    assert!(seen.code != 0 && seen.err.contains("runsc"), "{seen:?}");
    told(it, "box", "three", 3);
    disk.free();
    assert_eq!(it.json(&["snapshot", "ls", "--json"]), serde_json::json!([]));
    keep(it, "box", "moment");
    told(it, "box", "four", 4);
    it.ok(&["rm", "--yes", "box"]);
    it.ok(&["hub", "stop"]);
}

#[test]
fn a_hub_that_dies_meanwhile_leaves_all_of_it_or_nothing() {
    gvisor(|it| {
        counting(it, "box", &[]);
        for turn in 0..6_u64 {
            let out = it.temp().join("out");
            let mut cut = it.begin(&["snapshot", "create", "box", "--memory"], &out);
            std::thread::sleep(std::time::Duration::from_millis(40 * turn));
            it.kill_hub();
            cut.wait().unwrap();
            told(it, "box", "word", 2 + u32::try_from(turn).unwrap());
            let id = it.sandbox("box")["id"].as_str().unwrap().to_owned();
            let written: PathBuf = it.state().join("sandboxes").join(id).join("memory");
            eventually("what nobody took is gone", || !written.exists());
        }
        let all = it.json(&["snapshot", "ls", "--json"]);
        for (number, kept) in all.as_array().unwrap().iter().enumerate() {
            let name = format!("of{number}");
            it.ok(&["fork", "-d", kept["id"].as_str().unwrap(), "--name", &name]);
            it.printed(&name, "one-1");
        }
        // With its shim goes all of it.
        kill(it.shim_of("box"));
        eventually("it has failed", || it.sandbox("box")["state"] == "failed");
    });
}

#[test]
fn a_hub_whose_program_was_replaced_makes_them_all_the_same() {
    gvisor(|it| {
        let program = it.temp().join("installed");
        fs::copy(PROGRAM, &program).unwrap();
        let mut start = std::process::Command::new(&program);
        start.args(["hub", "start"]).env("SANDWATCH_HOME", it.home());
        assert!(start.stdin(std::process::Stdio::null()).status().unwrap().success());
        fs::remove_file(&program).unwrap();
        counting(it, "box", &[]);
        keep(it, "box", "moment");
        it.ok(&["fork", "-d", "moment", "--name", "second"]);
        told(it, "second", "two", 2);
    });
}
