//! Snapshots, restore and fork as a script uses them, through a hub and a shim.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Home, eventually};

/// A sandbox on the workspace, in which a script has run.
fn changed(script: &str) -> Home {
    let home = Home::new();
    fs::write(home.workspace().join("file"), "one\n").unwrap();
    fs::write(home.workspace().join("gone"), "here\n").unwrap();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "echo begun; sleep 1000"]);
    inside(&home, "box", script);
    home
}

fn inside(home: &Home, name: &str, script: &str) -> String {
    home.ok(&["exec", name, "--", "/bin/sh", "-ec", script])
}

/// Directories where snapshots are kept.
fn shelves(home: &Home) -> usize {
    fs::read_dir(home.path().join("state/snapshots")).unwrap().count()
}

const SCRIPT: &str = "echo two >> file; rm gone; mkdir -p deep/er; echo x > deep/er/new; \
                      echo kept > ~/note; echo t > /tmp/t; echo v > /var/lib/v; \
                      mkdir /opt/tool && echo o > /opt/tool/o; ln file hard";
const LOOK: &str = "cat file ~/note /tmp/t /var/lib/v /opt/tool/o deep/er/new; ls; id -u";

#[test]
fn a_moment_is_kept_gone_back_to_and_branched_from() {
    let home = changed(SCRIPT);
    let before = inside(&home, "box", LOOK);
    let id = home.ok(&["snapshot", "create", "box", "--name", "first"]);
    let id = id.trim();
    // It runs on, and what it does now is not in the snapshot.
    inside(&home, "box", "echo three >> file; echo y > later; rm -r deep; echo changed > ~/note");
    let list = home.json(&["snapshot", "ls", "--json"]);
    assert_eq!(list[0]["id"], id);
    assert_eq!((&list[0]["name"], &list[0]["kind"]), (&"first".into(), &"filesystem".into()));
    assert!(list[0]["size_bytes"].as_u64().is_some_and(|it| it > 0), "{list}");
    assert!(list[0]["parent"].is_null(), "{list}");
    let stat = home.ok(&["diff", "box", "--from", "first", "--stat"]);
    for line in ["modified  +1     file", "added     +1     later", "deleted   -1     deep/er/new"]
    {
        assert!(stat.contains(line), "{stat}");
    }
    assert!(home.ok(&["snapshot", "diff", "first"]).contains("+++ b/deep/er/new"));

    let fork = home.json(&["fork", "first", "--json"]);
    assert_eq!((&fork["name"], &fork["moment"]), (&"box-fork".into(), &id.into()));
    assert_eq!(inside(&home, "box-fork", LOOK), before);
    // Each goes its own way, and the real directory none.
    inside(&home, "box-fork", "echo of the fork >> file; echo z > ~/note");
    assert!(!inside(&home, "box", "cat file ~/note").contains("of the fork"));
    assert_eq!(fs::read_to_string(home.workspace().join("file")).unwrap(), "one\n");
    assert!(home.workspace().join("gone").exists());

    let restored = home.json(&["restore", "box", "box/first", "--yes", "--json"]);
    assert_eq!((&restored["state"], &restored["moment"]), (&"running".into(), &id.into()));
    assert_eq!(restored["sessions"].as_array().unwrap().len(), 1);
    home.ok(&["wait", "box", "--for", "text=begun", "--timeout", "20s"]);
    assert_eq!(inside(&home, "box", LOOK), before);
    assert_eq!(home.ok(&["diff", "box", "--from", "first", "--stat"]), "");
    // What it was before is kept too.
    let list = home.json(&["snapshot", "ls", "box", "--json"]);
    let was = list.as_array().unwrap().iter().find(|it| it["cause"] == "restore").unwrap();
    assert_eq!(was["parent"], id);
    home.ok(&["restore", "box", was["id"].as_str().unwrap(), "--yes"]);
    assert_eq!(inside(&home, "box", "cat file later ~/note"), "one\ntwo\nthree\ny\nchanged\n");
}

#[test]
fn a_line_of_forks_is_one_layer_and_its_changes_are_diffed_and_applied_as_one() {
    let home = changed("echo 1 > a; rm gone");
    home.ok(&["fork", "box", "--name", "two", "--json"]);
    inside(&home, "two", "echo 2 > b; echo more >> file");
    home.ok(&["fork", "two", "--name", "three", "--json"]);
    inside(&home, "three", "echo 3 > c; rm a; echo back > gone");
    home.ok(&["rm", "--yes", "box", "two"]);
    // What nobody asked for went with them, and is still under the last.
    assert_eq!(home.json(&["snapshot", "ls", "--json"]).as_array().unwrap().len(), 0);
    assert_eq!(inside(&home, "three", "cat b c gone file"), "2\n3\nback\none\nmore\n");
    let stat = home.ok(&["diff", "three", "--stat"]);
    assert!(stat.contains("4 paths changed"), "{stat}");
    home.ok(&["apply", "three"]);
    let read = |name: &str| fs::read_to_string(home.workspace().join(name)).unwrap();
    assert_eq!((read("b"), read("c"), read("gone")), ("2\n".into(), "3\n".into(), "back\n".into()));
    assert!(!home.workspace().join("a").exists());
    home.ok(&["rm", "--yes", "three"]);
    eventually("nothing is left of it", || shelves(&home) == 0);
}

#[test]
fn the_whole_system_is_diffed_without_what_every_sandbox_has() {
    let home = changed("true");
    assert_eq!(home.ok(&["diff", "box", "--system", "--stat"]), "");
    inside(&home, "box", SCRIPT);
    inside(&home, "box", "echo 10.0.0.1 me >> /etc/hosts; rm /etc/debian_version || true");
    let stat = home.ok(&["diff", "box", "--system", "--stat"]);
    for path in ["etc/hosts", "opt/tool/o", "tmp/t", "var/lib/v", "/note", "/deep/er/new"] {
        assert!(stat.contains(path), "{path}: {stat}");
    }
    let one = home.ok(&["diff", "box", "--system", "/etc"]);
    assert!(one.contains("+10.0.0.1 me") && !one.contains("opt/tool"), "{one}");
}

#[test]
fn what_is_wrong_with_a_snapshot_is_said() {
    let home = changed("echo x > a");
    home.ok(&["snapshot", "create", "box", "--name", "one"]);
    home.run(&["snapshot", "create", "box", "--name", "one"]).failed(1, &["of that name: one"]);
    home.run(&["snapshot", "create", "box", "--name", "a/b"]).failed(2, &["not a name"]);
    home.run(&["snapshot", "create", "none"]).failed(3, &["no such sandbox"]);
    home.run(&["restore", "box", "none", "--yes"]).failed(3, &["no such snapshot", "ls"]);
    home.run(&["restore", "box", "one"]).failed(2, &["--yes"]);
    home.run(&["snapshot", "rm", "one"]).failed(2, &["--yes"]);
    home.run(&["fork", "none"]).failed(3, &["neither a sandbox nor a snapshot"]);
    home.run(&["fork", "one", "--name", "box"]).failed(1, &["name in use: box"]);
    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    let place = other.display().to_string();
    let sleep = ["--", "/bin/sh", "-c", "sleep 1000"];
    home.ok(&[&["run", "-d", "--name", "other", "--workspace", &place], &sleep[..]].concat());
    home.run(&["restore", "other", "one", "--yes"]).failed(2, &["another workspace", "fork"]);
    // Removed, it stays under the one that stands on it and goes with it.
    home.ok(&["fork", "one", "--name", "f", "--json"]);
    home.ok(&["snapshot", "rm", "one", "--yes"]);
    home.run(&["fork", "one"]).failed(3, &[]);
    assert_eq!(inside(&home, "f", "cat a"), "x\n");
    home.ok(&["rm", "--yes", "f"]);
    eventually("nothing is left of it", || shelves(&home) == 0);
}

#[test]
fn of_a_name_that_several_have_the_one_of_the_sandbox_that_is_named_is_meant() {
    let home = changed("echo x > a");
    home.ok(&["snapshot", "create", "box", "--name", "one"]);
    home.ok(&["fork", "-d", "box", "--name", "other"]);
    home.ok(&["snapshot", "create", "other", "--name", "one"]);
    home.ok(&["restore", "box", "one", "--yes"]);
    home.ok(&["diff", "box", "--from", "one"]);
    home.run(&["fork", "-d", "one"]).failed(2, &["ambiguous", "other/one"]);
}

#[test]
fn a_stopped_sandbox_is_kept_restored_and_runs_again() {
    let home = changed("echo x > a");
    home.ok(&["snapshot", "create", "box", "--name", "one"]);
    inside(&home, "box", "echo y > a");
    home.ok(&["stop", "box"]);
    home.ok(&["snapshot", "create", "box", "--name", "two"]);
    home.ok(&["restore", "box", "one"]);
    assert_eq!(inside(&home, "box", "cat a"), "x\n");
    home.ok(&["restore", "box", "two", "--yes"]);
    assert_eq!(inside(&home, "box", "cat a"), "y\n");
}

fn pid(home: &Home) -> Pid {
    let status = home.json(&["hub", "status", "--json"]);
    Pid::from_raw(i32::try_from(status["pid"].as_i64().unwrap()).unwrap()).unwrap()
}

#[test]
fn a_hub_that_is_killed_while_it_keeps_or_restores_leaves_the_old_or_the_new() {
    let write = |what: &str| format!("for i in $(seq 400); do echo {what} > n$i; done");
    let home = changed(&format!("{}; head -c 8000000 /dev/zero > big", write("whole")));
    home.ok(&["snapshot", "create", "box", "--name", "whole"]);
    let list = || home.json(&["snapshot", "ls", "--json"]).as_array().unwrap().clone();
    for round in 0..8_u64 {
        let now = format!("round-{round}");
        inside(&home, "box", &write(&now));
        let hub = pid(&home);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(3 + 9 * round));
            kill_process(hub, Signal::KILL)
        });
        let verb: &[&str] = if round % 2 == 0 {
            &["snapshot", "create", "box"]
        } else {
            &["restore", "box", "whole", "--yes"]
        };
        home.run(verb);
        killer.join().unwrap().unwrap();
        // The next hub knows every snapshot as whole or not at all.
        for it in list() {
            let id = it["id"].as_str().unwrap();
            let stat = home.ok(&["snapshot", "diff", id, "--stat"]);
            assert!(stat.contains("401 paths changed"), "round {round}, {id}: {stat}");
        }
        // The sandbox goes on by itself, or by one more verb.
        eventually("the sandbox is there", || {
            let all = home.json(&["ls", "--all", "--json"]);
            let state = all[0]["state"].as_str().unwrap().to_owned();
            matches!(state.as_str(), "running" | "stopped" | "failed")
        });
        let all = home.json(&["ls", "--all", "--json"]);
        if all[0]["state"] != "running" {
            home.ok(&["restore", "box", "whole", "--yes"]);
        }
        // All of it is of one moment, and the other one is kept.
        let found = inside(&home, "box", "cat n* | sort -u; ls | wc -l");
        if found == "whole\n403\n" {
            let has_it = |it: &serde_json::Value| {
                let id = it["id"].as_str().unwrap();
                home.ok(&["snapshot", "diff", id, "--", "n1", "n400"]).matches(&now).count() == 2
            };
            assert!(list().iter().any(has_it), "round {round} is lost");
        } else {
            assert_eq!(found, format!("{now}\n403\n"));
        }
    }
    let known = list().len();
    eventually("nothing half made is left", || shelves(&home) == known);
}

#[test]
fn what_a_line_of_moments_deleted_and_made_anew_stays_deleted() {
    let home = Home::new();
    let project = home.workspace();
    for path in ["d/old", "d/in/old", "f"] {
        fs::create_dir_all(project.join(path).parent().unwrap()).unwrap();
        fs::write(project.join(path), "host\n").unwrap();
    }
    home.ok(&["run", "-d", "--name", "one", "--", "/bin/sh", "-c", "sleep 1000"]);
    inside(&home, "one", "echo a > d/one; rm -r d/in");
    home.ok(&["fork", "one", "--name", "two", "--json"]);
    inside(&home, "two", "rm -r d; mkdir d; echo b > d/two; rm f; mkdir f");
    home.ok(&["fork", "two", "--name", "three", "--json"]);
    let look = "find . | sort; cat d/two";
    assert_eq!(inside(&home, "three", look), ".\n./d\n./d/two\n./f\nb\n");
    inside(&home, "three", "mkdir d/in; rm -r f; echo c > f");
    home.ok(&["fork", "three", "--name", "four", "--json"]);
    assert_eq!(inside(&home, "four", "find . | sort"), ".\n./d\n./d/in\n./d/two\n./f\n");
    // Also when it was the stopped one that was kept.
    home.ok(&["stop", "four"]);
    home.ok(&["snapshot", "create", "four", "--name", "last"]);
    home.ok(&["fork", "last", "--name", "five", "--json"]);
    assert_eq!(inside(&home, "five", "find . | sort; cat f"), ".\n./d\n./d/in\n./d/two\n./f\nc\n");
    home.ok(&["rm", "--yes", "one", "two", "three", "four", "five"]);
}

#[test]
fn running_programs_are_not_kept_and_it_is_said_why() {
    let home = changed("true");
    let words = ["running programs of box can't be kept", "CRIU", "without --memory"];
    home.run(&["snapshot", "create", "box", "--memory"]).failed(5, &words);
    assert_eq!(home.json(&["snapshot", "ls", "--json"]), serde_json::json!([]));
    home.run(&["snapshot", "create", "no-such", "--memory"]).failed(3, &["no-such"]);
}
