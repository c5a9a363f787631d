//! What an operator does with a local sandbox is done with a container in the same words, and answered in the same
//! form; and the changes in a container's copy of a workspace are those of a local one.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{
    docker_stage::{Docked, Engine, can},
    program::eventually,
};

/// Two documents with the same names and kinds of values; what is not known may be null, and notes are each one's own.
fn alike(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Object(one), Value::Object(two)) => {
            one.keys().eq(two.keys())
                && one.iter().all(|(name, it)| name == "notes" || alike(it, &two[name]))
        }
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| alike(one, two))
        }
        (Value::Null, _) | (_, Value::Null) => true,
        (one, two) => std::mem::discriminant(one) == std::mem::discriminant(two),
    }
}

/// Everything that an operator does, on one driver; the answers by what was asked.
fn verbs(docked: &Docked, driver: &str) -> BTreeMap<&'static str, Value> {
    let workspace = docked.home.workspace();
    fs::create_dir_all(workspace.join("sub")).unwrap();
    for (path, text) in [("file", "one\ntwo\n"), ("gone", "x\n"), ("sub/kept", "k\n")] {
        fs::write(workspace.join(path), text).unwrap();
    }
    let mut answers = BTreeMap::new();
    let json = |args: &[&str]| -> Value { serde_json::from_str(&docked.ok(args)).unwrap() };
    let start = "echo begun; exec sleep 1000";
    docked.ok(&["run", "-d", "--driver", driver, "--name", "box", "--", "sh", "-c", start]);
    docked.ok(&["wait", "box", "--for", "text=begun", "--timeout", "30s"]);
    let script =
        "echo three >> file; rm gone; mkdir new; echo n > new/n; ln -s file link; chmod 755 file";
    docked.ok(&["exec", "box", "--", "sh", "-ec", script]);
    answers.insert("screen", json(&["screen", "box", "--json"]));
    docked.ok(&["pause", "box"]);
    answers.insert("ls, paused", json(&["ls", "--json"]));
    docked.ok(&["resume", "box"]);
    docked.ok(&["snapshot", "create", "box", "--name", "kept"]);
    answers.insert("snapshot ls", json(&["snapshot", "ls", "--json"]));
    answers.insert("fork", json(&["fork", "kept", "--name", "other", "--json"]));
    answers.insert("diff of a fork", json(&["diff", "other", "--json"]));
    answers.insert("diff", json(&["diff", "box", "--json"]));
    answers.insert("diff of a path", json(&["diff", "box", "--json", "new"]));
    answers.insert("apply", json(&["apply", "box", "--json"]));
    answers.insert("nothing left", json(&["diff", "box", "--json"]));
    answers.insert("take back", json(&["apply", "box", "--undo", "--json"]));
    docked.ok(&["exec", "box", "--", "sh", "-c", "echo later > later"]);
    answers.insert("restore", json(&["restore", "box", "kept", "--yes", "--json"]));
    answers.insert("diff after it", json(&["diff", "box", "--json"]));
    docked.ok(&["stop", "box"]);
    answers.insert("ls, stopped", json(&["ls", "--all", "--json"]));
    docked.ok(&["rm", "--yes", "box", "other"]);
    docked.ok(&["snapshot", "rm", "--yes", "kept"]);
    eventually("nothing is left", || docked.ok(&["ls", "--all", "--json"]).trim() == "[]");
    answers
}

#[test]
fn an_operators_verbs_are_answered_alike() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    let local = verbs(&docked, "local");
    let docker = verbs(&docked, "docker");
    for (verb, local) in &local {
        let docker = &docker[verb];
        if verb.contains("diff") || matches!(*verb, "apply" | "take back" | "nothing left") {
            assert_eq!(paths(docker), paths(local), "{verb}");
        }
        assert!(alike(docker, local), "{verb}: {docker}\n{local}");
    }
}

/// What is said of paths, but for sizes: those of directories are the file system's.
fn paths(value: &Value) -> Vec<Value> {
    let all = value["paths"].as_array().or(value["files"].as_array()).unwrap();
    let plain = |it: &Value| {
        let mut it = it.clone();
        let fields = it.as_object_mut().unwrap();
        fields.retain(|name, _| !matches!(name.as_str(), "old" | "new"));
        it
    };
    all.iter().map(plain).collect()
}

#[test]
fn changes_in_a_copy_are_read_from_the_container_each_time() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    let workspace = docked.home.workspace();
    let read = |path: &str| fs::read_to_string(workspace.join(path)).unwrap();
    let mut by_hand: Vec<String> = (1..=30).map(|it| format!("{it}\n")).collect();
    fs::write(workspace.join("file"), by_hand.concat()).unwrap();
    docked.start("box", &[], "exec sleep 1000");
    let inside = |line: &str| docked.ok(&["exec", "box", "--", "sh", "-ec", line]);
    inside("sed -i 's/^3$/three/; s/^25$/twenty/' file; mkfifo fifo");
    let whole = docked.ok(&["diff", "box"]);
    assert!(whole.contains("-3\n+three\n") && whole.contains("+twenty\n"), "{whole}");
    // One path, which changed since; and one that is gone.
    inside("sed -i 's/^three$/drei/' file; echo x > new");
    assert!(docked.ok(&["diff", "box", "file"]).contains("+drei\n"));
    assert!(docked.ok(&["diff", "box", "new"]).contains("+x\n"));
    inside("rm new");
    docked.run(&["diff", "box", "new"]);
    assert!(!docked.ok(&["diff", "box"]).contains("new"));
    // Only the first hunk, as it was shown, beside what the operator does.
    let diff = docked.ok(&["diff", "box"]);
    let patch = docked.home.path().join("first.patch");
    fs::write(&patch, &diff[..diff.rfind("@@ -").unwrap()]).unwrap();
    by_hand[14] = "by hand\n".to_owned();
    fs::write(workspace.join("file"), by_hand.concat()).unwrap();
    let ran = docked.run(&["apply", "box"]);
    ran.failed(1, &["conflicts: 1"]);
    docked.ok(&["apply", "box", "--patch", patch.to_str().unwrap()]);
    assert!(read("file").contains("drei\n") && read("file").contains("by hand\n"));
    // A stopped one too; what is not kept apart has nothing to show.
    docked.ok(&["stop", "box"]);
    assert!(docked.ok(&["diff", "box"]).contains("+twenty\n"));

    assert!(!Path::new(&workspace).join("fifo").exists());
    docked.start("open", &["--workspace", ".:ro"], "exec sleep 1000");
    docked.run(&["diff", "open"]).failed(5, &["keeps no changes apart"]);
}

#[test]
fn what_is_not_found_is_gone_only_where_the_workspace_is_there() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    let workspace = docked.home.workspace();
    fs::write(workspace.join("file"), "as it was\n").unwrap();
    fs::create_dir(workspace.join("dir")).unwrap();
    fs::write(workspace.join("dir/one"), "1\n").unwrap();
    docked.start("box", &[], "exec sleep 1000");
    let inside = |line: &str| docked.ok(&["exec", "box", "--", "sh", "-ec", line]);
    docked.ok(&["diff", "box"]);
    inside("rm file; ln dir/one dir/two; echo 2 > dir/one");
    assert!(docked.ok(&["diff", "box", "file"]).contains("-as it was\n"));
    // Two names of one file are two files here.
    let applied = docked.ok(&["apply", "box", "dir"]);
    assert!(applied.contains("dir/two"), "{applied}");
    for name in ["dir/one", "dir/two"] {
        assert_eq!(fs::read_to_string(workspace.join(name)).unwrap(), "2\n");
    }
    // What the operator does with them next is not the sandbox's.
    fs::write(workspace.join("dir/one"), "by hand\n").unwrap();
    assert_eq!(docked.ok(&["diff", "box", "dir"]), "");
    inside(&format!("cd /; mv {0} {0}.away", workspace.display()));
    for path in ["file", "dir"] {
        let ran = docked.run(&["diff", "box", path]);
        assert!(ran.code != 0 && ran.stderr.contains("not in the container any more"), "{ran:?}");
    }
    assert!(docked.run(&["diff", "box"]).code != 0);
    assert!(workspace.join("file").exists());
}
