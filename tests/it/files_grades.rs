//! Files of sandboxes of every grade that this machine can make as root, while they run and once they have stopped. What one
//! can't is said here; grade `landlock`, which root has none of, is in `files_local`.

use std::{fs, io::Write, process::Stdio};

use sandwatch::model::sandbox::Isolation;

use crate::{
    program::{Home, eventually},
    runtimes,
};

/// Writes what there is to be seen, and says that it has.
const SCRIPT: &str = "mkdir -p d/deep; echo needle > d/deep/new; echo two >> file; rm gone; ln -s d l; \
                      ln -s /etc/shadow out; echo mine > ~/own; echo v > /var/tmp/v; sync; echo begun; sleep 1000";

fn with_each(scenario: impl Fn(&Home, &str)) {
    for grade in [Isolation::Namespaces, Isolation::Oci, Isolation::Gvisor] {
        let skip = (grade != Isolation::Namespaces).then(|| runtimes::reason(grade)).flatten();
        if let Some(skip) = skip {
            skip();
            continue;
        }
        let home = Home::new();
        fs::write(home.workspace().join("file"), "one\n").unwrap();
        fs::write(home.workspace().join("gone"), "").unwrap();
        let words = ["run", "-d", "--name", "box", "--isolation", grade.word(), "--egress", "deny"];
        home.ok(&[&words[..], &["--", "/bin/sh", "-ec", SCRIPT]].concat());
        home.ok(&["wait", "box", "--for", "text=begun", "--timeout", "60s"]);
        scenario(&home, grade.word());
    }
}

fn home_inside(home: &Home) -> String {
    home.ok(&["exec", "box", "--", "/bin/sh", "-c", "echo $HOME"]).trim().to_owned()
}

fn names(home: &Home, path: &str) -> Vec<String> {
    let list = home.json(&["files", "ls", "box", path, "--json"]);
    let entries = list["entries"].as_array().unwrap().iter();
    entries.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

/// What is so of a sandbox that runs and of one that has stopped.
fn look(home: &Home, grade: &str, inside: &str) {
    let cat = |path: &str| home.ok(&["files", "cat", "box", path]);
    // gVisor may keep what was written to itself for a moment.
    eventually("what was written is there", || names(home, "") == ["d", "file", "l", "out"]);
    assert_eq!(names(home, "l/deep"), ["new"], "{grade}");
    assert_eq!(
        (cat("file"), cat("l/deep/new")),
        ("one\ntwo\n".into(), "needle\n".into()),
        "{grade}"
    );
    assert_eq!(cat("/var/tmp/v"), "v\n", "{grade}");
    assert_eq!(cat(&format!("{inside}/own")), "mine\n", "{grade}");
    assert!(names(home, "/").contains(&"usr".to_owned()), "{grade}");
    let stat = home.json(&["files", "stat", "box", "d/deep/new", "--json"]);
    assert_eq!(stat["size_bytes"], 7, "{grade}");
    assert_eq!(home.ok(&["files", "find", "box", "--text", "needle"]), "d/deep/new:1:needle\n");
    assert_eq!(home.ok(&["files", "find", "box", "--name", "deep"]), "d/deep\n");
    // It is the sandbox's rights that count.
    home.run(&["files", "cat", "box", "out"]).failed(4, &["may not"]);
    let to = format!("got-{}", names(home, "").len());
    home.ok(&["files", "get", "box", "d", &to]);
    assert_eq!(
        fs::read_to_string(home.workspace().join(&to).join("deep/new")).unwrap(),
        "needle\n"
    );
    fs::remove_dir_all(home.workspace().join(&to)).unwrap();
}

fn put(home: &Home, path: &str, text: &str) -> i32 {
    let mut command = home.command(&["files", "put", "box", path]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait().unwrap().code().unwrap()
}

#[test]
fn files_are_looked_at_in_every_grade_and_stay_there_when_it_has_stopped() {
    with_each(|home, grade| {
        let inside = home_inside(home);
        look(home, grade, &inside);
        assert_eq!(put(home, "d/put", "from outside\n"), 0, "{grade}");
        let seen = || home.ok(&["exec", "box", "--", "cat", "d/put"]);
        assert_eq!(seen(), "from outside\n", "{grade}");
        home.ok(&["stop", "box"]);
        look(home, grade, &inside);
        assert_eq!(home.ok(&["files", "cat", "box", "d/put"]), "from outside\n", "{grade}");
        home.run(&["files", "put", "box", "d/x", "file"]).failed(1, &["stopped"]);
        // Nothing keeps it: it goes as ever.
        home.ok(&["rm", "--yes", "box"]);
        home.run(&["files", "ls", "box"]).failed(3, &["no such sandbox"]);
    });
}
