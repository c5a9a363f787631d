//! Files of a container, which its own programs look at.

use std::{io::Write, process::Stdio};

use crate::docker_stage::{Docked, Engine, can};

#[test]
fn files_of_a_container_are_listed_read_written_and_found_by_its_programs() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    docked.start("box", &[], "sleep 1000");
    let sh = |script: &str| docked.ok(&["exec", "box", "--", "sh", "-c", script]);
    sh(
        "mkdir -p /tmp/d/sub; cd /tmp/d; printf 'one\ntwo\n' > f; chmod 640 f; ln -s sub l; mkfifo p; \
        : > \"$(printf 'a\\nb')\"; : > \"$(printf '\\033[2J')\"",
    );
    let list = docked.ok(&["files", "ls", "box", "/tmp/d", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let names: Vec<_> =
        list["entries"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["\x1b[2J", "a\nb", "f", "l", "p", "sub"]);
    let f = &list["entries"][2];
    assert_eq!((&f["mode"], &f["size_bytes"]), (&"0640".into(), &8.into()));
    let link = docked.ok(&["files", "stat", "box", "/tmp/d/l", "--json"]);
    let link: serde_json::Value = serde_json::from_str(&link).unwrap();
    assert_eq!((&link["target"], &link["target_kind"]), (&"sub".into(), &"directory".into()));
    assert_eq!(docked.ok(&["files", "cat", "box", "/tmp/d/f"]), "one\ntwo\n");
    assert_eq!(docked.ok(&["files", "cat", "box", "/tmp/d/f", "--tail", "3"]), "wo\n");
    for (args, code) in [
        (["cat", "box", "/tmp/d/p"], 2),
        (["cat", "box", "/tmp/d/none"], 3),
        (["ls", "box", "/tmp/d/f"], 2),
    ] {
        assert_eq!(docked.run(&[&["files"], &args[..]].concat()).code, code, "{args:?}");
    }
    let put = |args: &[&str], data: &[u8]| {
        let mut command = docked.home.command(&[&["files", "put", "box"], args].concat());
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(data).unwrap();
        child.wait().unwrap().code().unwrap()
    };
    let data = vec![b'x'; 300_000];
    assert_eq!(put(&["/tmp/d/f"], &data), 0);
    assert_eq!(
        sh("stat -c '%a %s' /tmp/d/f; ls -A /tmp/d | grep -c sandwatch || true"),
        "640 300000\n0\n"
    );
    assert_eq!(put(&["/tmp/d/f", "--new"], b"y"), 1);
    assert_eq!(put(&["/tmp/d/l"], b"y"), 2);
    assert_eq!(put(&["/tmp/none/x"], b"y"), 3);
    assert_eq!(docked.ok(&["files", "find", "box", "/tmp/d", "--name", "SUB"]), "");
    assert_eq!(docked.ok(&["files", "find", "box", "/tmp/d", "--name", "sub"]), "sub\n");
    // Of one that has stopped the engine's archives are read.
    sh("cd /tmp/d; echo deep > sub/deep; ln -s /tmp/d/sub/deep link; ln -s loop loop; ln -s / out");
    docked.ok(&["stop", "box"]);
    let names = |path: &str| -> Vec<String> {
        let list = docked.ok(&["files", "ls", "box", path, "--json"]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let entries = list["entries"].as_array().unwrap().iter();
        entries.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let kept = ["\x1b[2J", "a\nb", "f", "l", "link", "loop", "out", "p", "sub"];
    assert_eq!(names("/tmp/d"), kept);
    assert_eq!(names("/tmp/d/l"), ["deep"]);
    assert!(names("/").contains(&"tmp".to_owned()));
    let f = docked.ok(&["files", "stat", "box", "/tmp/d/f", "--json"]);
    let f: serde_json::Value = serde_json::from_str(&f).unwrap();
    assert_eq!((&f["mode"], &f["size_bytes"]), (&"0640".into(), &300_000.into()));
    assert_eq!(docked.ok(&["files", "cat", "box", "/tmp/d/link"]), "deep\n");
    assert_eq!(docked.ok(&["files", "cat", "box", "/tmp/d/l/deep", "--tail", "3"]), "ep\n");
    assert_eq!(docked.ok(&["files", "cat", "box", "/tmp/d/f"]).len(), 300_000);
    assert_eq!(docked.ok(&["files", "find", "box", "/tmp/d", "--name", "dee"]), "sub/deep\n");
    for (args, code) in [(["cat", "box", "/tmp/d/p"], 2), (["cat", "box", "/tmp/d/none"], 3)] {
        assert_eq!(docked.run(&[&["files"], &args[..]].concat()).code, code, "{args:?}");
    }
    // In the engine's words, which differ.
    for args in [["cat", "box", "/tmp/d/loop"], ["ls", "box", "/tmp/d/f"]] {
        assert_ne!(docked.run(&[&["files"], &args[..]].concat()).code, 0, "{args:?}");
    }
    // Links lead nowhere but within the container.
    let outside = docked.home.path().display().to_string();
    assert_eq!(docked.run(&["files", "ls", "box", &format!("/tmp/d/out{outside}")]).code, 3);
    assert_eq!(put(&["/tmp/d/f"], b"y"), 1);
    docked.ok(&["rm", "--yes", "box"]);
}
