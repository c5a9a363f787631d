//! What happened, through the real hub and real sandboxes: listed, followed, and of what is no more.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::{Home, eventually};

fn with_box(script: &str) -> Home {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", script]);
    home
}

fn all(home: &Home, more: &[&str]) -> Vec<Value> {
    let args = [&["timeline", "--json", "-n", "10000"][..], more].concat();
    serde_json::from_value(home.json(&args)).unwrap()
}

fn whats(all: &[Value]) -> Vec<&str> {
    all.iter().map(|it| it["what"].as_str().unwrap()).collect()
}

fn has(home: &Home, what: &str) {
    eventually(&format!("{what} is written"), || {
        all(home, &["box"]).iter().any(|it| it["what"] == what)
    });
}

fn asking(home: &Home, subject: &str) -> Child {
    let words = ["exec", "box", "--", "sandwatch", "ask", "--kind", "exec", "--subject", subject];
    home.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn waits(home: &Home) -> String {
    let mut found = None;
    eventually("it is asked", || {
        found = home.json(&["approvals", "ls", "--json"])[0]["id"].as_str().map(str::to_owned);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn asks_statuses_snapshots_and_ends_are_one_list_in_order_and_survive_the_hub() {
    let home = with_box("read -r line; exit 3");
    let asker = asking(&home, "make all");
    let id = waits(&home);
    home.ok(&["approvals", "allow", &id]);
    asker.wait_with_output().unwrap();
    home.ok(&["snapshot", "create", "box", "--name", "then"]);
    let before = all(&home, &["box"]);
    // Killed in the middle, it knows all of it again, and none of it twice.
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    home.ok(&["send", "box", "x", "<Enter>"]);
    has(&home, "session.ended");
    let after = all(&home, &["box"]);
    let known: Vec<&Value> = before.iter().filter(|it| it["kind"] != "status").collect();
    for it in known {
        assert_eq!(after.iter().filter(|other| *other == it).count(), 1, "{it}");
    }
    let whats = whats(&after);
    let at = |what: &str| {
        let found = whats.iter().position(|it| *it == what);
        found.unwrap_or_else(|| panic!("{what} is not in {whats:?}"))
    };
    let order = ["sandbox.created", "ask.asked", "ask.allowed", "snapshot.taken", "session.ended"];
    let places: Vec<usize> = order.iter().map(|it| at(it)).collect();
    assert!(places.is_sorted(), "{whats:?}");
    assert!(whats.contains(&"status.changed"), "{whats:?}");
    assert!(after.is_sorted_by_key(|it| it["at"].as_str().unwrap().to_owned()));
    let ended = &after[at("session.ended")];
    assert_eq!((&ended["status"], &ended["level"]), (&"exited".into(), &"warning".into()));
    assert!(ended["text"].as_str().unwrap().contains("exit code 3"), "{ended}");
    let allowed = &after[at("ask.allowed")];
    assert_eq!(allowed["ask"], id.as_str());
    assert!(allowed["actor"].as_str().unwrap().contains('@'));
    // What a file's last change was is read off its layer.
    let only = |kinds: &str| {
        let found = all(&home, &["box", "--kind", kinds]);
        found.iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(only("snapshot"), ["snapshot"]);
    assert!(only("ask,session").iter().all(|it| it == "ask" || it == "session"));
    // Gone, it is still known by its name.
    home.ok(&["rm", "--yes", "box"]);
    let gone = all(&home, &["box"]);
    assert!(gone.iter().any(|it| it["what"] == "sandbox.removed"), "{gone:?}");
    assert!(gone.iter().any(|it| it["what"] == "session.ended"));
    let text = home.ok(&["timeline", "box", "--kind", "ask"]);
    assert!(text.contains("asks, exec: make all") && text.contains("allowed by"), "{text}");
}

#[test]
fn files_that_programs_wrote_are_told_where_they_are_kept_apart_and_else_that_it_is_not_known() {
    let home = with_box("echo x > new-file; sleep 1000");
    eventually("the file is told", || {
        let found = all(&home, &["box", "--kind", "files"]);
        found.iter().any(|it| it["text"] == "wrote new-file" && it["source"] == "files")
    });
    home.ok(&["run", "-d", "--name", "plain", "--workspace", ".:none", "--", "/bin/sleep", "1000"]);
    let ran = home.run(&["timeline", "plain"]);
    assert!(ran.stderr.contains("not known: no changes are kept apart"), "{}", ran.stderr);
}

#[test]
fn screens_of_the_past_texts_and_parts_are_read_from_a_recording_also_of_one_that_is_gone() {
    let home = with_box("echo first; sleep 1; echo second needle; sleep 1; echo third");
    home.ok(&["wait", "box", "--for", "exit"]);
    let session =
        home.json(&["recordings", "ls", "--json"])[0]["session"].as_str().unwrap().to_owned();
    home.ok(&["rm", "--yes", "box"]);
    let hits = home.json(&["recordings", "search", "box", "needle", "--json"]);
    let at = hits[0]["at"].as_str().unwrap();
    assert_eq!(hits[0]["line"], "second needle");
    let then = home.json(&["screen", "box", "--at", at, "--json"]);
    let lines = then["lines"].to_string();
    assert!(lines.contains("second needle") && !lines.contains("third"), "{lines}");
    assert_eq!(then["at"], *at);
    let ended =
        home.json(&["recordings", "ls", "--json"])[0]["ended_at"].as_str().unwrap().to_owned();
    assert!(home.ok(&["screen", &session, "--at", &ended]).contains("third"));
    let part = home.ok(&["recordings", "export", "box", "--from", at]);
    assert!(part.lines().nth(1).is_some_and(|it| it.contains("second needle")), "{part}");
    home.run(&["recordings", "search", "box", "haystack"]).failed(3, &["never printed"]);
    home.run(&["recordings", "search", "box", "("]).failed(2, &["not a regular expression"]);
    home.run(&["screen", "nowhere", "--at", "1m"]).failed(3, &["nowhere"]);
}

#[test]
fn a_time_of_which_nothing_is_recorded_is_refused_with_from_when_to_when_there_is_something() {
    let home = with_box("echo first; sleep 1000");
    home.ok(&["wait", "box", "--for", "text=first"]);
    let began =
        home.json(&["recordings", "ls", "--json"])[0]["started_at"].as_str().unwrap().to_owned();
    let known = format!("the recording goes from {began} to 20");
    let out = home.path().join("part.cast");
    let file = out.to_str().unwrap();
    let export = ["recordings", "export", "box", "-o", file];
    for args in [
        &["screen", "box", "--at", "5h"][..],
        &["screen", "box", "--at", "2099-01-01T00:00:00Z"],
        &[&export[..], &["--from", "5h", "--until", "4h"]].concat(),
        &[&export[..], &["--until", "4h"]].concat(),
        &[&export[..], &["--from", "2099-01-01T00:00:00Z"]].concat(),
        &[&export[..], &["--from", "5h", "--until", &began]].concat(),
    ] {
        home.run(args).failed(3, &["box: nothing is recorded of that time", &known]);
    }
    assert!(!out.exists(), "nothing is written of nothing");
    // Both ends are in it.
    home.ok(&["screen", "box", "--at", &began]);
    assert!(home.ok(&["screen", "box", "--at", "0s"]).contains("first"));
    assert!(home.ok(&["recordings", "export", "box", "--from", "5h"]).contains("first"));
    // A list of a time before anything is known has nothing in it, and says since when something is.
    for verb in [
        &["timeline", "--since", "9h", "--until", "8h"][..],
        &["audit", "ls", "--since", "2099-01-01T00:00:00Z"],
    ] {
        let ran = home.run(verb);
        assert!(ran.code == 0 && ran.stderr.contains("what is known goes from 20"), "{ran:?}");
    }
}

#[test]
fn what_programs_wrote_is_in_the_list_of_the_fleet_and_comes_when_it_is_followed() {
    let home = with_box("echo x > first-file; sleep 1000");
    home.ok(&["run", "-d", "--name", "plain", "--workspace", ".:none", "--", "/bin/sleep", "1000"]);
    let files = |more: &[&str]| -> Vec<String> {
        let files = all(&home, more).into_iter().filter(|it| it["source"] == "files");
        files
            .map(|it| {
                format!("{} {}", it["sandbox"].as_str().unwrap(), it["text"].as_str().unwrap())
            })
            .collect()
    };
    eventually("the file is told", || files(&["--kind", "files"]) == ["box wrote first-file"]);
    eventually("beside others too", || files(&[]) == ["box wrote first-file"]);
    let told = home.run(&["timeline", "--kind", "files"]);
    assert!(told.stderr.contains("of 1 of 2 sandboxes nothing can be known"), "{}", told.stderr);
    let mut follow = home
        .command(&["timeline", "--follow", "--json", "--kind", "files"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["text"], "wrote first-file");
    home.ok(&[
        "exec",
        "box",
        "--",
        "/bin/sh",
        "-c",
        "echo y > second-file; ln -s x $(printf 'odd\\033[2Jname')",
    ]);
    let mut came = [next(), next()].map(|it| it["text"].as_str().unwrap().to_owned());
    came.sort();
    assert_eq!(came, ["wrote odd␛[2Jname", "wrote second-file"]);
    // A hub that begins anew tells what is new, and nothing twice.
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    home.ok(&["exec", "box", "--", "/bin/sh", "-c", "echo z > third-file"]);
    assert_eq!(next()["text"], "wrote third-file");
    follow.kill().unwrap();
    follow.wait().unwrap();
    // Many at once are in nothing's way.
    home.ok(&[
        "exec",
        "box",
        "--",
        "/bin/sh",
        "-c",
        "for i in $(seq 300); do echo > many-$i; done",
    ]);
    eventually("they are counted", || {
        let found = all(&home, &["box"]);
        found.iter().any(|it| it["left_out"].as_u64().unwrap() > 100)
            && found.iter().any(|it| it["what"] == "sandbox.created")
    });
    assert_eq!(files(&["box", "--kind", "files"]).len(), 304);
    let away = home.json(&["timeline", "--away", "--json"]);
    let of =
        away["sandboxes"].as_array().unwrap().iter().find(|it| it["sandbox"] == "box").unwrap();
    assert!(of["counts"]["files"].as_u64() >= Some(304), "{of}");
    assert!(away["files_missing"].is_null(), "{away}");
    // More than are told: that is said.
    let many = "for i in $(seq 600); do echo > more-$i; done";
    home.ok(&["exec", "box", "--", "/bin/sh", "-c", many]);
    let told = home.run(&["timeline", "box", "--kind", "files", "-n", "2000"]);
    let lacks = "not all changes of files are known: box: left out 404 older changes";
    assert!(told.stderr.contains(lacks), "{}", told.stderr);
    eventually("whoever comes back is told", || {
        home.run(&["timeline", "--away"]).stderr.contains(lacks)
    });
}

#[test]
fn it_goes_on_with_what_happens_across_the_death_of_the_hub() {
    let home = with_box("sleep 1000");
    has(&home, "sandbox.created");
    let mut follow = home
        .command(&["timeline", "box", "--follow", "--json", "--kind", "snapshot"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    home.ok(&["snapshot", "create", "box", "--name", "one"]);
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let first = next();
    assert!(first["text"].as_str().unwrap().contains("one"), "{first}");
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    home.ok(&["snapshot", "create", "box", "--name", "two"]);
    let second = next();
    assert!(second["text"].as_str().unwrap().contains("two"), "{second}");
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn who_was_away_reads_what_waits_first_and_nothing_is_noted_by_reading() {
    let home = with_box("sleep 1000");
    let asker = asking(&home, "make all");
    let id = waits(&home);
    for _ in 0..2 {
        let away = home.json(&["timeline", "--away", "--json"]);
        assert_eq!(away["last_seen_at"], Value::Null);
        assert_eq!(
            (&away["waiting"][0]["ask"], &away["waiting"][0]["what"]),
            (&id.as_str().into(), &"exec".into())
        );
        let of = away["sandboxes"].as_array().unwrap();
        let of = of.iter().find(|it| it["sandbox"] == "box").unwrap();
        assert!(of["counts"]["ask"].as_u64() >= Some(1), "{of}");
    }
    let text = home.ok(&["timeline", "--away"]);
    assert!(text.find("waits for you") < text.find("happened"), "{text}");
    home.ok(&["approvals", "deny", &id]);
    asker.wait_with_output().unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_with_words() {
    let home = Home::new();
    // What the parser refuses.
    let usage = |args: &[&str], words: &str| {
        let ran = home.run(args);
        assert!(ran.code == 2 && ran.stderr.contains(words), "{ran:?}");
    };
    usage(&["timeline", "--since", "yesterday"], "duration such as 2h");
    usage(&["timeline", "--kind", "nonsense"], "ask, status");
    usage(&["timeline", "-n", "0"], "1..=20000");
    usage(&["timeline", "--away", "box"], "--away");
    home.run(&["timeline", "--since", "1h", "--until", "2h"]).failed(2, &["--until is before"]);
    home.run(&["timeline", "nowhere"]).failed(3, &["nowhere"]);
}
