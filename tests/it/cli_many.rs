//! Verbs for several sandboxes at once, and what a person is told who aimed beside the mark.

use serde_json::Value;

use crate::program::Home;

fn start(home: &Home, name: &str) {
    home.ok(&["run", "-d", "--name", name, "--", "/bin/sh", "-c", "exec cat"]);
}

fn names(home: &Home, args: &[&str]) -> Vec<String> {
    let all: Value = home.json(&[&["ls", "--json"], args].concat());
    all.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_sandboxes_are_stopped_and_removed_only_when_that_is_meant() {
    let home = Home::new();
    assert_eq!(home.run(&["rm", "--all", "x"]).code, 2);
    for name in ["one", "two", "three"] {
        start(&home, name);
    }
    home.ok(&["stop", "one"]);
    assert_eq!(names(&home, &["one"]), ["one"]);
    home.run(&["ls", "four"]).failed(3, &["no such sandbox", "four"]);
    home.run(&["rm", "--stopped"]).failed(2, &["nobody is there to ask", "--yes"]);
    home.ok(&["rm", "--stopped", "--yes"]);
    assert_eq!(names(&home, &["-a"]), ["two", "three"]);
    home.run(&["stop", "--all"]).failed(2, &["nobody is there to ask", "--yes"]);
    assert_eq!(names(&home, &[]), ["two", "three"]);
    home.ok(&["stop", "--all", "--yes"]);
    assert!(names(&home, &[]).is_empty());
    start(&home, "four");
    home.ok(&["rm", "--all", "--yes"]);
    assert!(names(&home, &["--all"]).is_empty());
    assert!(home.run(&["rm", "--all", "--yes"]).stderr.contains("nothing was removed"));
}

#[test]
fn a_paused_sandbox_takes_no_typing() {
    let home = Home::new();
    start(&home, "still");
    home.ok(&["pause", "still"]);
    home.run(&["send", "still", "late", "<Enter>"]).failed(1, &["paused", "resume still"]);
    home.ok(&["resume", "still"]);
    home.ok(&["send", "still", "heard", "<Enter>"]);
    home.ok(&["wait", "still", "--for", "text=heard", "--timeout", "20s"]);
    assert!(!home.ok(&["screen", "still"]).contains("late"));
}

#[test]
fn what_stays_of_a_run_is_named_and_what_was_missed_is_said() {
    let home = Home::new();
    let ran = home.run(&["run", "--name", "stays", "--", "/bin/sh", "-c", "exit 7"]);
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.stderr.contains("sandwatch rm stays"), "{ran:?}");
    let ran = home.run(&["run", "--rm", "--", "/bin/sh", "-c", "exit 7"]);
    assert!(ran.code == 7 && !ran.stderr.contains("sandwatch rm"), "{ran:?}");
    home.run(&["diff", "stays/2"]).failed(3, &["its sandbox is stays"]);
    home.run(&["diff", "stays", "nope"]).failed(3, &["nope"]);
    home.run(&["exec", "stays", "ls", "-l"]).failed(2, &["sandwatch exec stays -- ls -l"]);
    std::fs::write(home.workspace().join("there"), "").unwrap();
    assert!(home.run(&["diff", "stays", "there"]).stderr.contains("nothing changed"));
}

#[test]
fn a_variable_of_the_operator_is_passed_on_when_it_is_named() {
    let home = Home::new();
    let args =
        ["run", "--env", "A_KEY", "--rm", "--", "/bin/sh", "-c", "echo it is $A_KEY $B_KEY."];
    let ran = home.command(&args).env("A_KEY", "one = 1").env("B_KEY", "kept").output().unwrap();
    let printed = String::from_utf8(ran.stdout).unwrap();
    assert!(printed.contains("it is one = 1 ."), "{printed}");
    home.run(&args).failed(2, &["no such variable", "A_KEY"]);
}
