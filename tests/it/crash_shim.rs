//! A shim is killed, loses its directory or does not answer: only its own sandbox notices.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::crash_support::{Home, PROGRAM, alive, eventually, kill, tree};

/// Control groups of a sandbox, in every hierarchy.
fn groups(id: &str) -> Vec<String> {
    fn walk(dir: &Path, id: &str, depth: u32, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let is_dir = entry.file_type().is_ok_and(|it| it.is_dir());
            if is_dir && entry.file_name().to_string_lossy().contains(id) {
                found.push(entry.path().display().to_string());
            } else if is_dir && depth > 0 {
                walk(&entry.path(), id, depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), id, 3, &mut found);
    found
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

const FAMILY: &str = "sleep 1000 & (sleep 1000; true) & setsid sleep 1000 & echo up; wait";

#[test]
fn a_killed_shim_takes_its_own_sandbox_along_and_nothing_stays() {
    let it = Home::new();
    it.run("doomed", FAMILY);
    it.run("other", "echo up; cat");
    it.printed("doomed", "up");
    it.printed("other", "up");
    let id = it.sandbox("doomed")["id"].as_str().unwrap().to_owned();
    let shim = it.shim_of("doomed");
    let family = tree(shim);
    assert!(family.len() >= 6, "shim, init, bash and its children: {family:?}");
    kill(shim);
    eventually("it has failed", || it.sandbox("doomed")["state"] == "failed");
    let doomed = it.sandbox("doomed");
    assert!(doomed["notes"].to_string().contains("killed by signal 9"), "{doomed:#}");
    assert_eq!(doomed["sessions"][0]["status"], "exited");
    eventually("its processes are gone", || !family.iter().any(|pid| alive(*pid)));
    eventually("its control groups are gone", || groups(&id).is_empty());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&id), "{mounts}");
    assert!(it.recorded("doomed").contains("up"));
    assert_eq!(it.sandbox("other")["state"], "running");
    it.ok(&["send", "other", "still here", "<Enter>"]);
    it.printed("other", "still here");
    it.kill_hub();
    let again = it.sandbox("doomed");
    assert_eq!(again["state"], "failed");
    assert!(again["notes"].to_string().contains("killed by signal 9"), "{again:#}");
    assert_eq!(it.sandbox("other")["state"], "running");
    it.end();
}

#[test]
fn a_shim_killed_while_no_hub_lives_is_found_dead_by_the_next() {
    let it = Home::new();
    it.run("doomed", FAMILY);
    it.printed("doomed", "up");
    let id = it.sandbox("doomed")["id"].as_str().unwrap().to_owned();
    let shim = it.shim_of("doomed");
    let family = tree(shim);
    it.kill_hub();
    kill(shim);
    let doomed = it.sandbox("doomed");
    assert_eq!(doomed["state"], "failed");
    assert!(doomed["notes"].to_string().contains("shim"), "{doomed:#}");
    eventually("its processes are gone", || !family.iter().any(|pid| alive(*pid)));
    eventually("its control groups are gone", || groups(&id).is_empty());
    it.end();
}

#[test]
fn a_shim_whose_directory_is_deleted_ends_itself_and_all_it_held() {
    let it = Home::new();
    it.run("one", FAMILY);
    it.run("two", FAMILY);
    it.printed("one", "up");
    it.printed("two", "up");
    let ids = ["one", "two"].map(|name| it.sandbox(name)["id"].as_str().unwrap().to_owned());
    let trees = ["one", "two"].map(|name| tree(it.shim_of(name)));
    let dir = it.state().join("sandboxes").join(&ids[0]);
    // Nobody is there to care.
    it.kill_hub();
    eventually("its directory is deleted", || {
        drop(fs::remove_dir_all(&dir));
        !dir.exists()
    });
    eventually("it has ended", || !trees[0].iter().any(|pid| alive(*pid)));
    eventually("the hub knows", || it.sandbox("one")["state"] != "running");
    assert_eq!(it.sandbox("two")["state"], "running");
    // The whole state, and the hub's with it. The shim deletes as well.
    eventually("the state is deleted", || {
        drop(fs::remove_dir_all(it.state()));
        !it.state().exists()
    });
    eventually("the other has ended too", || !trees[1].iter().any(|pid| alive(*pid)));
    eventually("no group stays", || ids.iter().all(|id| groups(id).is_empty()));
    eventually("no process stays", || it.processes().is_empty());
}

#[test]
fn a_shim_that_does_not_answer_is_waited_for_and_not_given_up() {
    let it = Home::new();
    it.run("slow", "echo up; cat");
    it.printed("slow", "up");
    let shim = it.shim_of("slow");
    let pid = it.session("slow")["pid"].clone();
    signal(shim, rustix::process::Signal::STOP);
    it.kill_hub();
    let slow = it.sandbox("slow");
    assert_eq!(slow["state"], "unknown", "{slow:#}");
    assert!(slow["notes"].to_string().contains("did not answer"), "{slow:#}");
    signal(shim, rustix::process::Signal::CONT);
    eventually("it is back", || it.sandbox("slow")["state"] == "running");
    assert_eq!(it.session("slow")["pid"], pid);
    it.ok(&["send", "slow", "and on", "<Enter>"]);
    it.printed("slow", "and on");
    it.end();
}

#[test]
fn a_hub_whose_program_was_replaced_starts_sandboxes_all_the_same() {
    let it = Home::new();
    let program = it.temp().join("installed");
    fs::copy(PROGRAM, &program).unwrap();
    let mut start = std::process::Command::new(&program);
    start.args(["hub", "start"]).env("SANDWATCH_HOME", it.home());
    assert!(start.stdin(std::process::Stdio::null()).status().unwrap().success());
    // As an upgrade does it, here to something that is no sandwatch.
    fs::remove_file(&program).unwrap();
    fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    it.run("one", "sandwatch ask --help; cat");
    it.printed("one", "ask a person");
    it.end();
}

/// Private memory of a process, in bytes: what would be free if it ended.
fn private_bytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |line: &str| line.split_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok());
    let private = rollup.lines().filter(|it| it.starts_with("Private_"));
    private.filter_map(field).sum::<u64>() * 1024
}

/// Time on a processor, in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn an_idle_shim_is_small_and_asleep() {
    let it = Home::new();
    it.run("idle", "exec bash --norc -i");
    it.ok(&["wait", "idle", "--for", "idle", "--timeout", "20s"]);
    let shim = it.shim_of("idle");
    let before = ticks(shim);
    std::thread::sleep(std::time::Duration::from_secs(5));
    let (bytes, spent) = (private_bytes(shim), ticks(shim) - before);
    println!("idle shim: {} KiB private, {spent} ticks in 5 s", bytes / 1024);
    // An unoptimized build carries more; the bound is the one of a release build.
    let bound = if cfg!(debug_assertions) { 16 } else { 3 };
    assert!(bytes < bound * 1024 * 1024, "{bytes}");
    assert!(spent <= 1, "an idle shim worked for {spent} ticks");
    it.end();
}

#[test]
fn a_shim_that_hangs_while_the_hub_lives_is_told_of_and_can_be_removed() {
    let it = Home::new();
    it.run("hung", "echo up; cat");
    it.run("fine", "echo up; cat");
    it.printed("hung", "up");
    it.printed("fine", "up");
    let shim = it.shim_of("hung");
    let family = tree(shim);
    signal(shim, rustix::process::Signal::STOP);
    for verb in [
        &["exec", "hung", "--", "true"][..],
        &["attach", "hung"],
        &["screen", "hung"],
        &["send", "hung", "words", "<Enter>"],
    ] {
        let said = it.say(verb);
        assert!([1, 7].contains(&said.code), "{verb:?}: {said:?}");
        let words = said.err.contains("the shim of hung") || said.err.contains("unknown");
        assert!(words && !said.err.contains("the hub did not"), "{verb:?}: {said:?}");
    }
    let hung = it.sandbox("hung");
    assert_eq!(hung["state"], "unknown", "{hung:#}");
    assert!(hung["notes"].to_string().contains("did not answer"), "{hung:#}");
    assert_eq!(it.sandbox("fine")["state"], "running");
    it.ok(&["exec", "fine", "--", "true"]);
    // It may come back, and is as before.
    signal(shim, rustix::process::Signal::CONT);
    eventually("it is back", || it.sandbox("hung")["state"] == "running");
    it.ok(&["send", "hung", "and on", "<Enter>"]);
    it.printed("hung", "and on");
    signal(shim, rustix::process::Signal::STOP);
    it.ok(&["rm", "--yes", "hung"]);
    eventually("nothing of it is left", || !family.iter().any(|pid| alive(*pid)));
    assert_eq!(it.sandbox("fine")["state"], "running");
    it.end();
}

#[test]
fn a_shim_that_hangs_is_noticed_by_who_only_lists_or_watches() {
    let it = Home::new();
    for name in ["listed", "watched"] {
        it.run(name, "echo up; cat");
        it.printed(name, "up");
    }
    let (listed, watched) = (it.shim_of("listed"), it.shim_of("watched"));
    let seen = it.temp().join("seen");
    let mut watching = it.begin(&["attach", "watched"], &seen);
    eventually("it is watched", || fs::read(&seen).is_ok_and(|it| !it.is_empty()));
    for shim in [listed, watched] {
        signal(shim, rustix::process::Signal::STOP);
    }
    for name in ["listed", "watched"] {
        eventually("it is not known", || it.sandbox(name)["state"] == "unknown");
    }
    for shim in [listed, watched] {
        signal(shim, rustix::process::Signal::CONT);
    }
    for name in ["listed", "watched"] {
        eventually("it is back", || it.sandbox(name)["state"] == "running");
    }
    // Whoever watched goes on with what was printed since.
    it.ok(&["send", "watched", "and on", "<Enter>"]);
    eventually("the rest came", || fs::read_to_string(&seen).is_ok_and(|it| it.contains("and on")));
    watching.kill().unwrap();
    watching.wait().unwrap();
    it.end();
}

#[test]
fn a_sandbox_whose_shim_hung_before_the_hub_began_can_be_removed() {
    let it = Home::new();
    it.run("hung", "echo up; cat");
    it.printed("hung", "up");
    let shim = it.shim_of("hung");
    let family = tree(shim);
    signal(shim, rustix::process::Signal::STOP);
    it.kill_hub();
    it.ok(&["rm", "--yes", "hung"]);
    eventually("nothing of it is left", || !family.iter().any(|pid| alive(*pid)));
    it.end();
}
