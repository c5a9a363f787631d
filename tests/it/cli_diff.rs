//! `diff` as a script uses it, through a hub and a shim.

use std::{fs, os::unix::ffi::OsStrExt, path::Path};

use crate::program::Home;

/// A sandbox on the workspace, in which a script has run.
fn changed(script: &str) -> Home {
    let home = Home::new();
    fs::create_dir(home.workspace().join("src")).unwrap();
    fs::write(home.workspace().join("src/main"), "one\ntwo\n").unwrap();
    fs::write(home.workspace().join("old"), "is renamed\n").unwrap();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);
    home.ok(&["exec", "box", "--", "/bin/sh", "-ec", script]);
    home
}

const SCRIPT: &str = "echo three >> src/main; mv old new; mkdir .git; echo x > .git/HEAD
                      echo x > \"$(printf 'esc\\033[2J\\377')\"";

#[test]
fn a_diff_is_a_patch_that_git_takes() {
    let home = changed(SCRIPT);
    let ran = home.run(&["diff", "box"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("--git shows"), "{ran:?}");
    assert!(
        ran.stdout
            .contains("--- a/src/main\n+++ b/src/main\n@@ -1,2 +1,3 @@\n one\n two\n+three\n")
    );
    assert!(!ran.stdout.contains('\x1b') && ran.stdout.contains(r"esc\033[2J\377"), "{ran:?}");
    let copy = home.path().join("copy");
    fs::create_dir_all(copy.join("src")).unwrap();
    for name in ["src/main", "old"] {
        fs::copy(home.workspace().join(name), copy.join(name)).unwrap();
    }
    let patch = home.path().join("patch");
    fs::write(&patch, &ran.stdout).unwrap();
    let mut git = std::process::Command::new("git");
    git.args(["apply", patch.to_str().unwrap()]).current_dir(&copy);
    git.env("GIT_CEILING_DIRECTORIES", home.path());
    assert!(git.status().unwrap().success(), "{ran:?}");
    assert_eq!(fs::read_to_string(copy.join("src/main")).unwrap(), "one\ntwo\nthree\n");
    assert!(copy.join("new").exists() && !copy.join("old").exists());
    assert!(copy.join(std::ffi::OsStr::from_bytes(b"esc\x1b[2J\xff")).exists());
    // The real directory is as it was, and all that was shown outlives the programs.
    assert_eq!(fs::read_to_string(home.workspace().join("src/main")).unwrap(), "one\ntwo\n");
    home.ok(&["stop", "box"]);
    assert_eq!(home.ok(&["diff", "box"]), ran.stdout);
    assert!(home.ok(&["diff", "box", "--git"]).contains("+++ b/.git/HEAD"));
}

#[test]
fn bytes_that_are_no_text_are_in_the_patch_and_what_is_too_large_is_said() {
    let home = changed("printf 'a\\0b' > bytes; printf '\\0' > old; truncate -s 9M large");
    let ran = home.run(&["diff", "box"]);
    assert!(ran.code == 0 && ran.stderr.contains("not in the patch: large (too large"), "{ran:?}");
    let copy = home.path().join("copy");
    fs::create_dir_all(&copy).unwrap();
    fs::copy(home.workspace().join("old"), copy.join("old")).unwrap();
    let patch = home.path().join("patch");
    fs::write(&patch, &ran.stdout).unwrap();
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.arg("apply").args(args).arg(&patch).current_dir(&copy);
        git.env("GIT_CEILING_DIRECTORIES", home.path());
        assert!(git.status().unwrap().success(), "{ran:?}");
    };
    git(&[]);
    assert_eq!(fs::read(copy.join("bytes")).unwrap(), b"a\0b");
    assert_eq!(fs::read(copy.join("old")).unwrap(), b"\0");
    assert!(!copy.join("large").exists());
    git(&["-R"]);
    assert_eq!(fs::read_to_string(copy.join("old")).unwrap(), "is renamed\n");
    assert!(!copy.join("bytes").exists());
}

#[test]
fn a_table_and_json_tell_of_every_path() {
    let home = changed(SCRIPT);
    let table = home.ok(&["diff", "box", "--stat"]);
    for row in [
        "modified  +1     src/main\n",
        "renamed   -      old -> new\n",
        "added     +1     \"esc\\033[2J\\377\"\n",
        "3 paths changed, 2 lines added, 0 removed\n",
    ] {
        assert!(table.contains(row), "{row}{table}");
    }
    let json = home.json(&["diff", "box", "--json"]);
    assert_eq!((&json["sandbox"], &json["git_left_out"]), (&"box".into(), &1.into()));
    let files = json["files"].as_array().unwrap();
    assert_eq!(files.len(), 3, "{json}");
    assert_eq!(files[0]["path_base64"], "ZXNjG1sySv8=");
    assert_eq!(
        (&files[0]["status"], &files[0]["old"]),
        (&"added".into(), &serde_json::Value::Null)
    );
    assert_eq!((&files[1]["old_path"], &files[1]["path"]), (&"old".into(), &"new".into()));
    let main = &files[2];
    assert_eq!(
        (&main["path"], &main["path_base64"]),
        (&"src/main".into(), &serde_json::Value::Null)
    );
    assert_eq!((&main["added_lines"], &main["removed_lines"]), (&1.into(), &0.into()));
    assert_eq!((&main["old"]["size_bytes"], &main["new"]["size_bytes"]), (&8.into(), &14.into()));
    assert_eq!((&main["old"]["kind"], &main["old"]["mode"]), (&"file".into(), &"0644".into()));
}

#[test]
fn paths_are_taken_from_where_the_operator_stands() {
    let home = changed(SCRIPT);
    let only_main = home.ok(&["diff", "box", "src"]);
    assert!(only_main.contains("src/main") && !only_main.contains("rename"), "{only_main}");
    let inside = |args: &[&str], at: &Path| {
        let output = home.command(args).current_dir(at).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let below = home.workspace().join("src");
    assert_eq!(inside(&["diff", "box", "main"], &below), only_main);
    assert!(inside(&["diff", "box", "../new"], &below).contains("+is renamed"));
    let full = home.workspace().canonicalize().unwrap().join("src/main");
    assert_eq!(inside(&["diff", "box", full.to_str().unwrap()], Path::new("/")), only_main);
    home.run(&["diff", "box", "/etc/passwd"]).failed(2, &["/etc/passwd", "not in the workspace"]);
    home.run(&["diff", "box", "../.."]).failed(2, &["not in the workspace"]);
    home.run(&["diff", "box", "nothing"]).failed(3, &["neither in the workspace", "nothing"]);
}

#[test]
fn what_has_no_changes_of_its_own_is_refused_by_its_code() {
    let home = Home::new();
    home.run(&["diff", "nowhere"]).failed(3, &["nowhere"]);
    home.run(&["diff"]).stderr.contains("SANDBOX").then_some(()).unwrap();
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
    home.run(&["diff", "rw"]).failed(5, &["keeps no changes apart", "rw"]);
    assert_eq!(home.run(&["diff", "rw", "--stat", "--json"]).code, 2);
}
