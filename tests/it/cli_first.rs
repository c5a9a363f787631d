//! What somebody meets on the first day: small verbs whose answers must be right and say what to do.

use std::fs;

use crate::{
    program::{Home, eventually},
    pty::Pty,
};

#[test]
fn the_recording_of_a_sandbox_removed_while_it_ran_has_ended_and_goes_by_its_age() {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "q1", "--", "sh", "-c", "echo some; exec sleep 1000"]);
    home.ok(&["wait", "q1", "--for", "text=some", "--timeout", "60s"]);
    let running = home.json(&["recordings", "ls", "--json"]);
    assert!(running[0]["ended_at"].is_null(), "{running}");
    home.ok(&["rm", "--yes", "q1"]);
    let ended = home.json(&["recordings", "ls", "--json"]);
    assert!(ended[0]["ended_at"].is_string(), "{ended}");
    home.ok(&["recordings", "rm", "--older-than", "0s", "--yes"]);
    assert_eq!(home.json(&["recordings", "ls", "--json"]), serde_json::json!([]));
}

#[test]
fn the_verb_after_a_program_has_ended_knows_how() {
    let home = Home::new();
    for turn in 0..3 {
        let name = format!("q{turn}");
        assert_eq!(home.run(&["run", "--name", &name, "--", "sh", "-c", "exit 4"]).code, 4);
        let listed = home.json(&["ls", "--all", &name, "--json"]);
        assert_eq!(listed[0]["sessions"][0]["status"], "exited", "{listed}");
        assert_eq!(listed[0]["sessions"][0]["exit_code"], 4);
        assert_eq!(
            home.run(&["run", "--rm", "--name", "gone", "--", "sh", "-c", "exit 5"]).code,
            5
        );
        assert!(!home.ok(&["ls", "--all"]).contains("gone"));
    }
}

#[test]
fn the_size_of_a_snapshot_that_goes_is_that_of_who_shares_its_files() {
    let home = Home::new();
    let line = "head -c 3000000 /dev/urandom > big; sync; echo done; exec sleep 1000";
    home.ok(&["run", "-d", "--name", "one", "--", "sh", "-c", line]);
    home.ok(&["wait", "one", "--for", "text=done", "--timeout", "60s"]);
    let take =
        |name: &str| home.ok(&["snapshot", "create", "one", "--name", name]).trim().to_owned();
    let (a, b, c) = (take("a"), take("b"), take("c"));
    let sizes = || {
        let all = home.json(&["snapshot", "ls", "--json"]);
        let of = |it: &serde_json::Value| {
            let id = it["id"].as_str().unwrap().to_owned();
            (id, it["size_bytes"].as_u64().unwrap(), it["parent"].as_str().map(str::to_owned))
        };
        all.as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let before = sizes();
    let total: u64 = before.iter().map(|it| it.1).sum();
    assert!((3_000_000..9_000_000).contains(&total), "{before:?}");
    home.ok(&["snapshot", "rm", "--yes", &a]);
    let after = sizes();
    assert_eq!(after.iter().map(|it| it.1).sum::<u64>(), total, "{after:?}");
    assert_eq!((after[0].0.as_str(), after[0].2.as_deref()), (b.as_str(), None));
    home.ok(&["snapshot", "rm", "--yes", &c]);
    // What is taken next comes after what is still there.
    let d = take("d");
    let last = sizes();
    assert_eq!(last.iter().find(|it| it.0 == d).unwrap().2.as_deref(), Some(b.as_str()));
    assert!(!home.ok(&["snapshot", "ls"]).contains(&c));
}

#[test]
fn the_prefix_of_the_configuration_is_that_of_an_attachment_too() {
    let home = Home::new();
    fs::create_dir_all(home.config()).unwrap();
    fs::write(home.config().join("config.toml"), "prefix = \"ctrl-a\"\n").unwrap();
    let mut pty = Pty::start(&home, &["run", "--name", "one", "--", "cat", "-v"], (100, 30));
    pty.wait_until("it is drawn", |it| it.is_on("\x1b[?2026l", "\x1b[?2026h"));
    pty.send("\x02\r");
    pty.wait_for("^B");
    pty.send("\x01x");
    pty.wait_for("ctrl-a: d detach");
    pty.send("\x01\x01\r");
    pty.wait_for("^A");
    pty.send("\x01d");
    assert_eq!(pty.ended(), 0);
}

#[test]
fn what_is_not_there_is_said_with_what_could_be_meant() {
    let home = Home::new();
    fs::write(home.workspace().join("there"), "same").unwrap();
    home.ok(&[
        "run",
        "-d",
        "--name",
        "one",
        "--label",
        "team=x",
        "--",
        "sh",
        "-c",
        "echo new > made; cat",
    ]);
    eventually("it has changed something", || home.ok(&["diff", "one", "--stat"]).contains("made"));
    for verb in ["apply", "diff"] {
        home.run(&[verb, "one", "nope"]).failed(3, &["neither in the workspace nor", "nope"]);
    }
    home.run(&["apply", "one", "made", "nope"]).failed(3, &["nope"]);
    assert!(!home.workspace().join("made").exists());
    assert!(home.run(&["apply", "one", "there"]).stderr.contains("nothing to do"));
    home.ok(&["apply", "one", "made"]);
    assert!(home.workspace().join("made").exists());
    let none = home.run(&["ls", "--label", "team=y"]);
    assert!(none.code == 0 && none.stderr.contains("no sandbox has these labels"), "{none:?}");
    let mode = format!("{}:rx", home.workspace().display());
    let wrong = home.run(&["run", "-d", "--workspace", &mode, "--", "true"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("cow, rw, ro or none"), "{wrong:?}");
    let colon = home.workspace().join("a:b");
    fs::create_dir(&colon).unwrap();
    home.ok(&["run", "-d", "--workspace", colon.to_str().unwrap(), "--", "true"]);
    let image = ["run", "-d", "--image", "foo", "--", "true"];
    home.run(&image).failed(3, &["no image at this path: foo", "--driver docker", "docker save"]);
    let checked = home.run(&["config", "check"]);
    assert!(checked.code == 0 && checked.stderr.contains("of your own"), "{checked:?}");
    home.run(&["config", "check", "nope.toml"]).failed(3, &["nope.toml"]);
}

#[test]
fn a_verb_that_types_leaves_the_keyboard_free() {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "one", "--", "cat"]);
    for turn in 0..3 {
        home.ok(&["send", "one", &format!("line {turn}"), "<Enter>"]);
        let listed = home.json(&["ls", "--json"]);
        assert!(listed[0]["sessions"][0]["lease"].is_null(), "{listed}");
    }
}
