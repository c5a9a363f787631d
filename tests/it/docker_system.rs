//! What changed in all of a container's system, since its start and since a moment: what its engine only hints at is looked at
//! on both sides, and nothing that was made for that stays.

use std::fs;

use serde_json::Value;

use crate::{
    docker_stage::{Docked, Engine, can},
    program::eventually,
};

/// Paths and what became of them.
fn told(docked: &Docked, args: &[&str]) -> Vec<(String, String)> {
    let all: Value = serde_json::from_str(&docked.ok(&[args, &["--json"]].concat())).unwrap();
    let word = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
    let files = all["files"].as_array().unwrap().iter();
    files.map(|it| (word(it, "path"), word(it, "status"))).collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect()
}

/// No container and no file is left of a look.
fn nothing_is_left(engine: &Engine, docked: &Docked) {
    // Others, which look too, have the same engine.
    let ids = |args: &[&str]| -> Vec<String> {
        let all: Value = serde_json::from_str(&docked.ok(args)).unwrap();
        all.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    let own = [ids(&["ls", "--all", "--json"]), ids(&["snapshot", "ls", "--json"])].concat();
    let format = "{{.Label \"sandwatch.sandbox\"}}";
    let looks = ["ps", "--all", "--format", format, "--filter", "label=sandwatch.look"];
    eventually("no container is left", || {
        !engine.said(&looks).lines().any(|it| own.iter().any(|of| of == it))
    });
    let left = || {
        let mut found = Vec::new();
        let mut next = vec![docked.home.path().clone()];
        while let Some(at) = next.pop() {
            let items = fs::read_dir(&at).into_iter().flatten().flatten();
            for path in items.map(|it| it.path()).filter(|it| it.is_dir() && !it.is_symlink()) {
                let is_look = path.parent().is_some_and(|it| it.ends_with("looks"));
                if is_look { found.push(path) } else { next.push(path) }
            }
        }
        found
    };
    eventually("no look is left", || left().is_empty());
}

const SCRIPT: &str = "
    cd /; echo 'agent:x:2:2::/:/bin/sh' >> etc/passwd
    mkdir -p opt/x/y; echo z > opt/x/y/z; ln -s z opt/x/y/link; chmod 755 opt/x/y/z
    rm bin/yes; rm bin/tac; mkdir bin/tac; echo q > bin/tac/q
    chmod 700 root; mv tmp/moved opt/moved; touch tmp/f; rm tmp/f
    for it in tmp etc; do printf x > $it/\"$(printf 'a\\377b')\"; done; mkfifo tmp/pipe; ln etc/passwd etc/second
    cp bin/busybox bin/copy; echo y >> bin/copy
";

#[test]
fn every_kind_of_change_in_the_system_is_told_since_the_start() {
    if !can() {
        return;
    }
    let engine = Engine::shared();
    let docked = Docked::new(engine);
    fs::write(docked.home.workspace().join("file"), "one\n").unwrap();
    docked.start("box", &[], "exec sleep 1000");
    assert_eq!(told(&docked, &["diff", "box", "--system"]), []);
    docked.ok(&[
        "exec",
        "box",
        "--",
        "sh",
        "-ec",
        &format!(
            "echo two >> file; {}",
            SCRIPT.replace("mv tmp/moved", "echo m > tmp/moved; mv tmp/moved")
        ),
    ]);
    let place = docked.home.workspace();
    let place = place.strip_prefix("/").unwrap().join("file").display().to_string();
    let mut expected = pairs(&[
        ("bin/copy", "added"),
        ("bin/tac", "modified"),
        ("bin/tac/q", "added"),
        ("bin/yes", "deleted"),
        ("etc/a\u{fffd}b", "added"),
        ("etc/passwd", "modified"),
        ("etc/second", "added"),
        ("opt/moved", "added"),
        ("opt/x/y/link", "added"),
        ("opt/x/y/z", "added"),
        ("root", "modified"),
        ("tmp/a\u{fffd}b", "modified"),
        ("tmp/pipe", "modified"),
        (place.as_str(), "modified"),
    ]);
    expected.sort();
    let sorted = |mut it: Vec<(String, String)>| {
        it.sort();
        it
    };
    assert_eq!(sorted(told(&docked, &["diff", "box", "--system"])), expected);
    // Lines of what was asked for, and nothing else.
    let diff = docked.ok(&["diff", "box", "--system", "/etc/passwd", "/root", "/opt/x/y/z"]);
    assert!(diff.contains("\n+agent:x:2:2::/:/bin/sh\n") && diff.contains("\n+z\n"), "{diff}");
    assert!(diff.contains("mode was 755, is 700") && !diff.contains("bin/tac"), "{diff}");
    assert_eq!(told(&docked, &["diff", "box", "--system", "/opt/x/y/link"]).len(), 1);
    // Also of what is in the image alone, and as it was.
    assert_eq!(told(&docked, &["diff", "box", "--system", "/bin/tee", "/nowhere"]), []);
    // A stopped one too.
    docked.ok(&["stop", "box"]);
    assert_eq!(sorted(told(&docked, &["diff", "box", "--system"])), expected);
    nothing_is_left(engine, &docked);
}

#[test]
fn moments_are_held_against_the_start_against_each_other_and_against_now() {
    if !can() {
        return;
    }
    let engine = Engine::shared();
    let docked = Docked::new(engine);
    let workspace = docked.home.workspace();
    fs::write(workspace.join("file"), "one\n").unwrap();
    docked.start("box", &[], "exec sleep 1000");
    let inside = |name: &str, line: &str| docked.ok(&["exec", name, "--", "sh", "-ec", line]);
    let place = workspace.strip_prefix("/").unwrap().display().to_string();
    inside("box", "echo first > /opt-first; echo two >> file; rm /bin/yes");
    docked.ok(&["snapshot", "create", "box", "--name", "first"]);
    inside("box", "echo second > /opt-second; rm /opt-first; echo three >> file; echo n > new");
    docked.ok(&["snapshot", "create", "box", "--name", "second"]);
    let first = docked.ok(&["snapshot", "diff", "first"]);
    assert!(first.contains("+two\n") && !first.contains("three"), "{first}");
    let both = docked.ok(&["snapshot", "diff", "first", "second"]);
    assert!(both.contains(" two\n+three\n") && both.contains("+n\n"), "{both}");
    let now = docked.ok(&["diff", "box", "--from", "first"]);
    assert_eq!(now, both);
    // The whole system.
    let file = format!("{place}/file");
    assert_eq!(
        told(&docked, &["snapshot", "diff", "first", "--system"]),
        pairs(&[("bin/yes", "deleted"), ("opt-first", "added"), (file.as_str(), "modified")])
    );
    let since = told(&docked, &["diff", "box", "--from", "first", "--system"]);
    let new = format!("{place}/new");
    assert_eq!(
        since,
        pairs(&[
            ("opt-first", "deleted"),
            ("opt-second", "added"),
            (file.as_str(), "modified"),
            (new.as_str(), "added")
        ])
    );
    assert_eq!(told(&docked, &["diff", "box", "--from", "second", "--system"]), []);
    // What goes on from a moment has had all that was before it.
    docked.ok(&["fork", "first", "--name", "other", "-d"]);
    inside("other", "echo own > /own");
    let own = told(&docked, &["diff", "other", "--system"]);
    let names: Vec<&str> = own.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(names, ["bin/yes", "opt-first", "own", &file]);
    assert_eq!(
        told(&docked, &["diff", "other", "--from", "first", "--system"]),
        pairs(&[("own", "added")])
    );
    assert_eq!(
        told(&docked, &["diff", "other", "--from", "second", "--system", "/own", "/opt-second"]),
        pairs(&[("opt-second", "deleted"), ("own", "added")])
    );
    // Also by way of a restore, and of another moment.
    docked.ok(&["restore", "box", "first", "--yes"]);
    assert_eq!(told(&docked, &["diff", "box", "--from", "first", "--system"]), []);
    docked.ok(&["snapshot", "create", "other", "--name", "third"]);
    let third = told(&docked, &["snapshot", "diff", "third", "--system"]);
    assert_eq!(third, own);
    // The operator's own changes since are nobody's here.
    fs::write(workspace.join("by-hand"), "x\n").unwrap();
    assert!(!docked.ok(&["snapshot", "diff", "second"]).contains("by-hand"));
    // Whose image somebody took away can't be looked at, and that is said.
    nothing_is_left(engine, &docked);
    docked.ok(&["rm", "--yes", "box", "other"]);
    for name in ["first", "second", "third"] {
        docked.ok(&["snapshot", "rm", "--yes", name]);
    }
}

#[test]
fn a_hostile_container_hides_nothing_and_is_looked_at_all_the_same() {
    if !can() {
        return;
    }
    let engine = Engine::shared();
    let docked = Docked::new(engine);
    docked.start("box", &[], "exec sleep 1000");
    let inside = |line: &str| docked.ok(&["exec", "box", "--", "sh", "-ec", line]);
    let has = |all: &[(String, String)], path: &str, status: &str| {
        assert!(all.contains(&(path.to_owned(), status.to_owned())), "{path} {status}: {all:?}");
    };
    // Of the same size, at the same time as before.
    inside(
        "cp -p /etc/passwd /bin/ref; printf R | dd of=/etc/passwd conv=notrunc 2>/dev/null
         touch -r /bin/ref /etc/passwd; rm /bin/ref",
    );
    has(&told(&docked, &["diff", "box", "--system"]), "etc/passwd", "modified");
    // Links that lead nowhere, which an engine follows.
    inside("ln -s loop /etc/loop; ln -s /etc/passwd/x /etc/through; ln -s loop /loop; echo x > /x");
    let all = told(&docked, &["diff", "box", "--system"]);
    has(&all, "etc/loop", "added");
    has(&all, "etc/through", "added");
    has(&all, "loop", "modified");
    has(&all, "x", "added");
    assert_eq!(told(&docked, &["diff", "box", "--system", "/etc/passwd/below"]), []);
    // What was asked for lies below what became a link to another place.
    inside("mkdir /home /srv; echo s > /srv/y");
    docked.ok(&["snapshot", "create", "box", "--name", "before"]);
    inside("mv /srv /srv2; ln -s home /srv; echo secret > /home/y");
    let below = ["diff", "box", "--from", "before", "--system", "/srv/y"];
    has(&told(&docked, &below), "srv/y", "deleted");
    // So deep, by names that an engine does not tell, that a walk would end there: the rest is told.
    inside(
        "n=0; d=/$(printf '\\377'); while [ $n -lt 140 ]; do d=$d/a; n=$((n+1)); done; mkdir -p $d",
    );
    has(&told(&docked, &["diff", "box", "--system"]), "etc/passwd", "modified");
    // More in one place than is asked for one by one, with other names of what did not change.
    inside(
        "mkdir /root/many; cd /root/many; for i in $(seq 40); do echo $i > $i; done
         echo same > a1; ln a1 a2; echo stays > b",
    );
    docked.ok(&["snapshot", "create", "box", "--name", "many"]);
    inside("cd /root/many; for i in $(seq 40); do echo $i $i > $i; done; rm a2; echo other > a2");
    let many = told(&docked, &["diff", "box", "--from", "many", "--system"]);
    assert_eq!(many.iter().filter(|it| it.0 == "root/many/a2").count(), 1, "{many:?}");
    has(&many, "root/many/a2", "modified");
    // Beside what can't be asked for at the top.
    assert_eq!(many.iter().filter(|it| it.0.starts_with("root/")).count(), 41, "{many:?}");
    // So many at the top that all of it is read.
    inside("cd /; for i in $(seq 200); do : > f$i; done");
    let all = told(&docked, &["diff", "box", "--system"]);
    assert_eq!(all.iter().filter(|it| it.0.starts_with('f')).count(), 200, "{all:?}");
    has(&all, "etc/passwd", "modified");
    // The way to its workspace leads elsewhere.
    inside("mv /tmp /elsewhere; ln -s elsewhere /tmp");
    let all = told(&docked, &["diff", "box", "--system"]);
    assert!(all.iter().any(|it| it.0 == "tmp"), "{all:?}");
    nothing_is_left(engine, &docked);
    // What was removed does not come again by a look.
    docked.ok(&["rm", "--yes", "box"]);
    docked.ok(&["snapshot", "rm", "--yes", "many", "before"]);
}
