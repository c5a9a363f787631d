//! `apply` as a script uses it, and a hub that is killed in the middle of it.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Home, eventually};

fn changed(script: &str) -> Home {
    let home = Home::new();
    fs::write(home.workspace().join("file"), "one\n").unwrap();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);
    home.ok(&["exec", "box", "--", "/bin/sh", "-ec", script]);
    home
}

fn read(home: &Home, path: &str) -> String {
    fs::read_to_string(home.workspace().join(path)).unwrap()
}

#[test]
fn changes_are_applied_by_path_told_and_taken_back() {
    let home = changed(
        "echo two >> file; mkdir sub; echo x > sub/new; ln -s /etc way; mkdir .git; echo x > .git/x",
    );
    let ran = home.run(&["apply", "box", "sub"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("applied  added   sub/new\n"), "{ran:?}");
    assert!(ran.stderr.contains("--undo"), "{ran:?}");
    assert_eq!((read(&home, "sub/new").as_str(), read(&home, "file").as_str()), ("x\n", "one\n"));
    let json = home.json(&["apply", "box", "--json"]);
    let all: Vec<_> = json["paths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["path"].as_str().unwrap(),
                it["status"].as_str().unwrap(),
                it["verdict"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(all, [("file", "modified", "applied"), ("way", "added", "left_out")]);
    assert_eq!(json["git_left_out"], 1);
    assert!(!home.workspace().join("way").exists() && !home.workspace().join(".git").exists());
    let writes = || home.json(&["ls", "--json"])[0]["writes"].as_u64().unwrap();
    assert_eq!(writes(), 2);
    home.ok(&["apply", "box", "--undo"]);
    assert_eq!(writes(), 3);
    assert_eq!((read(&home, "sub/new").as_str(), read(&home, "file").as_str()), ("x\n", "one\n"));
    home.ok(&["apply", "box", "--undo"]);
    assert!(!home.workspace().join("sub").exists());
    home.run(&["apply", "box", "--undo"]).failed(3, &["nothing was applied"]);
}

#[test]
fn hunks_that_were_left_in_a_diff_are_applied_though_the_file_changed_meanwhile() {
    let home = Home::new();
    let lines = |change: &dyn Fn(u32) -> String| (1..=30).map(change).collect::<String>();
    fs::write(home.workspace().join("file"), lines(&|it| format!("{it}\n"))).unwrap();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);
    home.ok(&["exec", "box", "--", "sed", "-i", "s/^3$/three/; s/^25$/twenty/", "file"]);
    let diff = home.ok(&["diff", "box"]);
    let second = diff.rfind("@@ -").unwrap();
    let patch = home.path().join("some.patch");
    fs::write(&patch, &diff[..second]).unwrap();
    let by_hand = |it: u32| if it == 15 { "by hand\n".to_owned() } else { format!("{it}\n") };
    fs::write(home.workspace().join("file"), lines(&by_hand)).unwrap();
    home.run(&["apply", "box"]).failed(1, &["conflicts: 1"]);
    home.ok(&["apply", "box", "--patch", patch.to_str().unwrap()]);
    let expected = lines(&|it| if it == 3 { "three\n".to_owned() } else { by_hand(it) });
    assert_eq!(read(&home, "file"), expected);
    home.ok(&["apply", "box", "--undo"]);
    assert_eq!(read(&home, "file"), lines(&by_hand));
    for (text, words) in [
        ("", "no hunk in it"),
        ("@@ -1 +1 @@\n", "no part of a diff"),
        ("--- a/file\n+++ b/file\n@@ -3,2 +3 @@\n-3\n+x\n", "it ends too soon"),
        ("--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n", "added or deleted"),
        ("--- a/../up\n+++ b/../up\n@@ -1 +1 @@\n-x\n+y\n", "not a path below"),
    ] {
        fs::write(&patch, text).unwrap();
        home.run(&["apply", "box", "--patch", patch.to_str().unwrap()]).failed(2, &[words]);
    }
    home.run(&["apply", "box", "--patch", "/nowhere"]).failed(1, &["/nowhere"]);
}

#[test]
fn a_conflict_writes_nothing_and_has_its_exit_code() {
    let home = changed("echo two >> file; echo x > new");
    fs::write(home.workspace().join("file"), "by hand\n").unwrap();
    let ran = home.run(&["apply", "box"]);
    ran.failed(1, &["conflicts: 1", "sandwatch diff box"]);
    assert!(ran.stdout.contains("conflict  modified  file"), "{ran:?}");
    assert!(!home.workspace().join("new").exists());
    home.ok(&["apply", "box", "--overwrite"]);
    assert_eq!(read(&home, "file"), "one\ntwo\n");
    home.ok(&["apply", "box", "--undo"]);
    assert_eq!(read(&home, "file"), "by hand\n");
    assert_eq!(home.run(&["apply", "box", "file", "--undo"]).code, 2);
    let project = format!("{}:rw", home.workspace().display());
    home.ok(&[
        "run",
        "-d",
        "--name",
        "rw",
        "--workspace",
        &project,
        "--",
        "/bin/sh",
        "-c",
        "sleep 1000",
    ]);
    home.run(&["apply", "rw"]).failed(5, &["keeps no changes apart"]);
}

#[test]
fn a_hub_killed_in_the_middle_leaves_old_or_new() {
    const FILES: usize = 2000;
    let home = Home::new();
    for at in 0..FILES {
        fs::write(home.workspace().join(format!("f{at}")), "old\n").unwrap();
    }
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);
    let script = format!("for it in $(seq 0 {}); do echo anew > f$it; done", FILES - 1);
    home.ok(&["exec", "box", "--", "/bin/sh", "-ec", &script]);
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    let mut apply = home.command(&["apply", "box"]);
    let mut apply = apply
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Of a killed hub's changes the first lands soon after the stage is made.
    eventually("a stage", || home.workspace().join(".sandwatch-apply").exists());
    eventually("a file that landed", || read(&home, "f0") == "anew\n");
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    drop(apply.wait());
    for at in 0..FILES {
        let text = read(&home, &format!("f{at}"));
        assert!(text == "old\n" || text == "anew\n", "f{at}: {text:?}");
    }
    home.ok(&["apply", "box"]);
    assert!((0..FILES).all(|at| read(&home, &format!("f{at}")) == "anew\n"));
    assert!(!home.workspace().join(".sandwatch-apply").exists());
    while home.run(&["apply", "box", "--undo"]).code == 0 {}
    assert!((0..FILES).all(|at| read(&home, &format!("f{at}")) == "old\n"));
}
