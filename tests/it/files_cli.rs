//! `files` as a script uses it, through a hub and a shim.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    program::{Home, eventually},
    pty::Pty,
};

fn begun(script: &str) -> Home {
    let home = Home::new();
    fs::write(home.workspace().join("file"), "one\n").unwrap();
    let script = format!("{script}; echo begun; sleep 1000");
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-ec", &script]);
    home.ok(&["wait", "box", "--for", "text=begun", "--timeout", "20s"]);
    home
}

fn inside(home: &Home, script: &str) -> String {
    home.ok(&["exec", "box", "--", "/bin/sh", "-ec", script])
}

#[test]
fn a_directory_is_listed_with_what_changed_in_it() {
    let home = begun("echo two >> file; mkdir -p d/deep; echo x > d/deep/new; ln -s d l");
    let list = home.json(&["files", "ls", "box", "--changes", "--json"]);
    assert_eq!((&list["path"], &list["more"]), (&".".into(), &false.into()));
    let of = |name: &str| {
        let entries = list["entries"].as_array().unwrap();
        entries.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}: {list}"))
    };
    assert_eq!((&of("d")["kind"], &of("d")["change"]), (&"directory".into(), &"modified".into()));
    assert_eq!((&of("file")["size_bytes"], &of("file")["change"]), (&8.into(), &"modified".into()));
    assert_eq!((&of("l")["target"], &of("l")["target_kind"]), (&"d".into(), &"directory".into()));
    assert_eq!(of("file")["mode"], "0644");
    assert!(of("d")["size_bytes"].is_null() && of("file")["name_base64"].is_null());
    let text = home.ok(&["files", "ls", "box", "d/deep", "--changes"]);
    assert!(text.contains("+  new"), "{text}");
    let text = home.ok(&["files", "ls", "box", "/"]);
    assert!(text.contains("usr/") && text.contains("etc/"), "{text}");
    let stat = home.json(&["files", "stat", "box", "d/deep/new", "--json"]);
    assert_eq!((&stat["name"], &stat["path"]), (&"new".into(), &"d/deep/new".into()));
    // One whose name nobody knows.
    let above = home.json(&["files", "stat", "box", "d/..", "--json"]);
    assert_eq!((&above["name"], &above["kind"]), (&"..".into(), &"directory".into()));
    home.run(&["files", "ls", "box", "none"]).failed(3, &["no such file", "none"]);
    home.run(&["files", "ls", "none"]).failed(3, &["no such sandbox"]);
    home.run(&["files", "cat", "box", "d"]).failed(2, &["it is a directory", "files ls"]);
    home.run(&["files", "ls", "box", "/etc", "--changes"]).failed(2, &["not in the workspace"]);
}

#[test]
fn files_go_in_and_out_whole() {
    let home = begun("true");
    let data: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(home.path().join("big"), &data).unwrap();
    let big = home.path().join("big").display().to_string();
    home.ok(&["files", "put", "box", "big", &big]);
    home.ok(&["files", "get", "box", "big"]);
    assert_eq!(fs::read(home.workspace().join("big")).unwrap(), data);
    home.run(&["files", "get", "box", "big"]).failed(1, &["already", "--force"]);
    inside(&home, "printf small > big");
    home.ok(&["files", "get", "box", "big", "--force"]);
    assert_eq!(fs::read(home.workspace().join("big")).unwrap(), b"small");
    // What scripts may say already.
    home.ok(&["files", "get", "box", "big", "--overwrite"]);
    // From standard input, and only if nobody was faster.
    let version = home.json(&["files", "stat", "box", "file", "--json"])["version"].clone();
    let version = version.as_str().unwrap();
    let put = |args: &[&str], text: &str| {
        let mut command = home.command(&[&["files", "put", "box", "file"], args].concat());
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait().unwrap().code().unwrap()
    };
    assert_eq!(put(&["--version", version], "three\n"), 0);
    assert_eq!(put(&["--version", version], "four\n"), 1);
    assert_eq!(put(&["--new"], "four\n"), 1);
    assert_eq!(home.ok(&["files", "cat", "box", "file"]), "three\n");
    assert_eq!(home.ok(&["files", "cat", "box", "file", "--tail", "3"]), "ee\n");
    assert_eq!(fs::read_to_string(home.workspace().join("file")).unwrap(), "one\n");
    // A directory with what is in it, and back.
    let tree = home.path().join("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("sub/run"), "#!\n").unwrap();
    fs::set_permissions(tree.join("sub/run"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("link")).unwrap();
    let tree = tree.display().to_string();
    let copied = home.json(&["files", "put", "box", "tree", &tree, "--json"]);
    assert_eq!((&copied["files"], &copied["left_out"]), (&1.into(), &1.into()));
    assert_eq!(inside(&home, "find tree -type f -perm 755"), "tree/sub/run\n");
    inside(&home, "ln -s /etc/passwd tree/l; printf 'x' > \"$(printf 'tree/\\033[2J')\"");
    home.ok(&["files", "get", "box", "tree"]);
    assert!(home.workspace().join("tree/sub/run").is_file());
    assert!(home.workspace().join("tree/\u{241b}[2J").is_file());
    assert!(fs::symlink_metadata(home.workspace().join("tree/l")).is_err());
    // Two whose names are written alike, one that is written too long, one that can't be looked into.
    inside(
        &home,
        "mkdir odd odd/shut; cd odd; : > \"$(printf '\\033')\"; : > \u{241b}; chmod 0 shut; \
         : > \"$(head -c 255 /dev/zero | tr '\\0' '\\001')\"; echo fine > z",
    );
    let copied = home.json(&["files", "get", "box", "odd", "--json"]);
    assert_eq!((&copied["files"], &copied["left_out"]), (&4.into(), &1.into()), "{copied}");
    assert!(home.workspace().join("odd/\u{241b}").is_file());
    assert!(home.workspace().join("odd/\u{241b}~1").is_file());
    assert_eq!(fs::read_to_string(home.workspace().join("odd/z")).unwrap(), "fine\n");
    inside(&home, "chmod 700 odd/shut");
    // Into what is there, and is mounted.
    for (path, seen) in [(".", "sub/run"), ("/tmp", "/tmp/sub/run")] {
        home.ok(&["files", "put", "box", path, &tree]);
        assert_eq!(inside(&home, &format!("ls {seen}")), format!("{seen}\n"));
    }
    // What was written from outside is in the record.
    let audit = home.json(&["audit", "ls", "--json"]);
    let written = audit.as_array().unwrap().iter().filter(|it| it["action"] == "file.written");
    assert!(written.count() >= 4, "{audit}");
}

#[test]
fn a_copy_to_the_terminal_does_nothing_to_it() {
    let home = begun("printf 'a\\033]0;owned\\007b\\033[2Jc\\n' > bad");
    let hostile = "a\x1b]0;owned\x07b\x1b[2Jc\n";
    let mut pty = Pty::start(&home, &["files", "get", "box", "bad", "-"], (80, 24));
    assert_eq!(pty.ended(), 0);
    pty.look(|it| {
        let raw = String::from_utf8_lossy(&it.raw);
        assert!(raw.contains('c') && !raw.contains("owned") && !raw.contains("\x1b[2J"), "{raw:?}");
    });
    // Anywhere else it is what it is.
    assert_eq!(home.ok(&["files", "get", "box", "bad", "-"]), hostile);
}

#[test]
fn nothing_of_the_operators_is_written_through_a_link_of_his_own() {
    let home = begun("true");
    let precious = home.path().join("precious");
    fs::write(&precious, "mine").unwrap();
    std::os::unix::fs::symlink(&precious, home.workspace().join("to")).unwrap();
    home.run(&["files", "get", "box", "file", "to", "--overwrite"]).failed(1, &["no plain file"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
}

#[test]
fn a_file_is_followed_and_directories_are_watched() {
    let home = begun("mkdir d; echo first > log");
    let mut following = home.command(&["files", "cat", "box", "log", "--follow"]);
    let mut following = following.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    inside(&home, "echo second >> log");
    assert_eq!(lines.next().unwrap().unwrap(), "second");
    inside(&home, "echo 3 > log");
    assert_eq!(lines.next().unwrap().unwrap(), "3");
    // Through links, too: what happens, happens where the file is.
    inside(&home, "mkdir real; ln -s d/link via; ln -s ../real/log d/link; echo far > real/log");
    let mut linked = home.command(&["files", "cat", "box", "via", "--follow"]);
    let mut linked = linked.stdout(Stdio::piped()).spawn().unwrap();
    let mut seen = BufReader::new(linked.stdout.take().unwrap()).lines();
    assert_eq!(seen.next().unwrap().unwrap(), "far");
    inside(&home, "echo away >> real/log");
    assert_eq!(seen.next().unwrap().unwrap(), "away");
    kill_process(Pid::from_child(&linked), Signal::TERM).unwrap();
    linked.wait().unwrap();
    let mut watching = home.command(&["files", "watch", "box", ".", "d", "--json"]);
    let mut watching = watching.stdout(Stdio::piped()).spawn().unwrap();
    let mut news = BufReader::new(watching.stdout.take().unwrap()).lines();
    // It may not have begun yet.
    let pid = Pid::from_child(&watching);
    let touched = std::thread::spawn(move || {
        let line = news.next().unwrap().unwrap();
        let _ = kill_process(pid, Signal::TERM);
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    });
    while !touched.is_finished() {
        inside(&home, "echo x > d/new");
    }
    let seen = touched.join().unwrap();
    assert_eq!((&seen["path"], &seen["sandbox"]), (&"d".into(), &"box".into()));
    watching.wait().unwrap();
    // It ends with the sandbox, and says so.
    home.ok(&["stop", "box"]);
    assert_eq!(following.wait().unwrap().code(), Some(6));
}

#[test]
fn files_of_a_stopped_sandbox_and_of_its_fork_are_there_and_are_only_read() {
    let home = begun("mkdir -p d; [ -e d/new ] || { echo needle > d/new; echo two >> file; }");
    home.ok(&["snapshot", "create", "box", "--name", "kept"]);
    home.ok(&["fork", "box/kept", "--name", "other", "--json"]);
    home.ok(&["wait", "other", "--for", "text=begun", "--timeout", "20s"]);
    inside(&home, "echo later > d/later");
    home.ok(&["exec", "other", "--", "/bin/sh", "-c", "rm d/new; echo own > d/own"]);
    home.ok(&["stop", "box", "other"]);
    let names = |of: &str| -> Vec<String> {
        let list = home.json(&["files", "ls", of, "d", "--json"]);
        let entries = list["entries"].as_array().unwrap().iter();
        entries.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names("box"), names("other")),
        (vec!["later".into(), "new".into()], vec!["own".into()])
    );
    assert_eq!(home.ok(&["files", "cat", "other", "file"]), "one\ntwo\n");
    assert_eq!(home.json(&["files", "stat", "box", "d/new", "--json"])["size_bytes"], 7);
    let found = home.ok(&["files", "find", "box", "--text", "needle"]);
    assert_eq!(found, "d/new:1:needle\n");
    home.ok(&["files", "get", "box", "d", "copied"]);
    assert_eq!(fs::read_to_string(home.workspace().join("copied/new")).unwrap(), "needle\n");
    let list = home.json(&["files", "ls", "box", "d", "--since", "kept", "--json"]);
    let change = |at: usize| list["entries"][at]["change"].clone();
    assert_eq!((change(0), change(1)), ("added".into(), serde_json::Value::Null));
    home.run(&["files", "put", "box", "d/x", "-"]).failed(1, &["stopped", "sandwatch fork box"]);
    // Nothing happens there until it is there no more.
    let mut watching = home.command(&["files", "watch", "box", "d"]);
    let mut watching = watching.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(watching.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("watching"));
    home.ok(&["rm", "--yes", "box"]);
    assert_eq!(watching.wait().unwrap().code(), Some(6));
    // As it was is what it goes on from.
    home.ok(&["restore", "other", "--yes"]);
    assert_eq!(home.ok(&["exec", "other", "--", "cat", "d/own"]), "own\n");
}

#[test]
fn changes_are_marked_since_a_snapshot_that_is_named() {
    let home = begun("echo a > a; echo b > b");
    let kept = home.json(&["snapshot", "create", "box", "--name", "green", "--json"]);
    inside(&home, "echo more >> a; echo c > c; rm b");
    let of = |args: &[&str]| {
        let list = home.json(&[&["files", "ls", "box", "--json"], args].concat());
        let entries = list["entries"].as_array().unwrap().clone();
        let marks = entries.iter().map(|it| {
            (it["name"].as_str().unwrap().to_owned(), it["change"].as_str().map(str::to_owned))
        });
        (list["since"].clone(), marks.collect::<Vec<_>>())
    };
    let mark = |name: &str, change: Option<&str>| (name.to_owned(), change.map(str::to_owned));
    let (since, marks) = of(&["--since", "green"]);
    assert_eq!(since, kept["id"]);
    assert_eq!(marks, [mark("a", Some("modified")), mark("c", Some("added")), mark("file", None)]);
    let (since, marks) = of(&["--changes"]);
    assert!(since.is_null());
    assert_eq!(marks, [mark("a", Some("added")), mark("c", Some("added")), mark("file", None)]);
    home.run(&["files", "ls", "box", "--since", "none"]).failed(3, &["no such snapshot"]);
}

#[test]
fn an_export_replaces_a_file_only_when_that_is_said() {
    let home = begun("true");
    let path = home.path().join("kept");
    let file = path.to_str().unwrap();
    fs::write(&path, "mine").unwrap();
    let exports: [&[&str]; 2] =
        [&["recordings", "export", "box", "-o", file], &["audit", "export", file]];
    for export in exports {
        home.run(export).failed(1, &["there is a file already", "--force"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        home.ok(&[export, &["--force"]].concat());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(fs::read_to_string(&path).unwrap().starts_with('{'));
        fs::write(&path, "mine").unwrap();
    }
    // What is no file takes what comes, and nothing half is left beside it.
    home.ok(&["recordings", "export", "box", "-o", "/dev/null"]);
    let beside = fs::read_dir(home.path()).unwrap().map(|it| it.unwrap().file_name());
    assert!(!beside.into_iter().any(|it| it.to_string_lossy().starts_with(".sandwatch-")));
    // Nor is a file replaced by one whose data can't be had.
    home.run(&["recordings", "export", "nobody", "-o", file, "--force"]).failed(3, &["nobody"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn all_names_are_found_where_none_is_asked_for() {
    let home = begun("mkdir d; echo x > d/one; echo y > two");
    let found = home.ok(&["files", "find", "box"]);
    let mut names: Vec<&str> = found.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["d", "d/one", "file", "two"]);
    let help = home.ok(&["files", "find", "--help"]);
    assert!(help.contains("Usage: sandwatch files find [OPTIONS] <SANDBOX>"), "{help}");
}

#[test]
fn one_path_that_is_not_there_does_not_keep_others_from_being_watched() {
    let home = begun("mkdir d");
    let mut watching = home.command(&["files", "watch", "box", "none", "d", "--json"]);
    let mut watching = watching.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(watching.stderr.take().unwrap()).lines();
    let said = said.next().unwrap().unwrap();
    assert!(said.contains("not watched: none") && said.contains("no such file"), "{said}");
    let mut news = BufReader::new(watching.stdout.take().unwrap()).lines();
    let pid = Pid::from_child(&watching);
    let touched = std::thread::spawn(move || {
        let line = news.next().unwrap().unwrap();
        let _ = kill_process(pid, Signal::TERM);
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    });
    while !touched.is_finished() {
        inside(&home, "echo x > d/new");
    }
    assert_eq!(touched.join().unwrap()["path"], "d");
    watching.wait().unwrap();
    // With none that is left it is a fault, and with one it always was.
    home.run(&["files", "watch", "box", "none", "file"]).failed(3, &["none"]);
    home.run(&["files", "watch", "box", "none"]).failed(3, &["no such file", "none"]);
}

#[test]
fn files_are_there_after_the_hub_died() {
    let home = begun("echo kept > new");
    let hub = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    let pid = Pid::from_raw(i32::try_from(hub).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    eventually("the next hub serves", || home.run(&["files", "cat", "box", "new"]).code == 0);
    assert_eq!(home.ok(&["files", "cat", "box", "new"]), "kept\n");
    let found = home.json(&["files", "find", "box", "--text", "kept", "--json"]);
    assert_eq!((&found["hits"][0]["path"], &found["hits"][0]["line"]), (&"new".into(), &1.into()));
}
