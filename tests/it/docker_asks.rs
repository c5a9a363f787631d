//! What programs of containers ask a person, of an engine on this machine.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{
    docker_stage::{AGENT_IMAGE, Docked, Engine, can},
    program::eventually,
};

fn begin(it: &Docked, line: &str) -> Child {
    let mut command = it.home.command(&["exec", "box", "--", "sh", "-c", line]);
    command.env("DOCKER_HOST", &it.url);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn waits(it: &Docked, subject: &str) -> Value {
    let mut found = None;
    eventually(&format!("{subject} is asked"), || {
        let all: Vec<Value> = serde_json::from_str(&it.ok(&["approvals", "ls", "--json"])).unwrap();
        found = all.into_iter().find(|it| it["subject"] == subject);
        found.is_some()
    });
    found.unwrap()
}

fn answer(it: &Docked, ask: &Value, words: &[&str]) {
    it.ok(&[&["approvals", words[0], ask["id"].as_str().unwrap()][..], &words[1..]].concat());
}

#[test]
fn programs_of_a_container_ask_a_person() {
    if !can() {
        return;
    }
    let it = Docked::new(Engine::shared());
    // Also one that is not root's.
    it.start(
        "box",
        &["--workspace", ".:none", "--egress", "deny", "--image", AGENT_IMAGE],
        "sleep 1000",
    );
    assert!(!it.notes("box").contains("can't ask"), "{}", it.notes("box"));
    let asks = |subject: &str| {
        format!("sandwatch ask --kind exec --subject '{subject}' --timeout 60s; echo code $?")
    };
    let held = begin(&it, &asks("rm one"));
    answer(&it, &waits(&it, "rm one"), &["allow"]);
    let said = ended(held);
    assert!(said.contains("code 0"), "{said}");
    let held = begin(&it, &asks("rm two"));
    answer(&it, &waits(&it, "rm two"), &["deny", "--message", "keep it"]);
    let said = ended(held);
    assert!(said.contains("code 4") && said.contains("keep it"), "{said}");
    // Whose it is is seen from outside, whatever it says itself.
    let line = format!("SANDWATCH_SESSION=another; export SANDWATCH_SESSION; {}", asks("rm three"));
    it.ok(&["shell", "-d", "box", "--", "sh", "-c", &line]);
    let ask = waits(&it, "rm three");
    assert_eq!(ask["session"], it.sandbox("box")["sessions"][1]["id"], "{ask}");
    answer(&it, &ask, &["deny"]);
    // Nothing of it can be changed in there.
    for what in
        ["touch /run/sandwatch/x", "rm /run/sandwatch/sandwatch", "echo > /run/sandwatch/program"]
    {
        let said = ended(begin(&it, &format!("{what}; echo code $?")));
        assert!(said.contains("Read-only") || said.contains("denied"), "{what}: {said}");
    }
    // What waits when its hub ends is held on, and denied by the next one.
    it.ok(&["shell", "-d", "box", "--", "sh", "-c", &asks("rm four")]);
    let before = waits(&it, "rm four");
    it.ok(&["hub", "stop"]);
    let after = waits(&it, "rm four");
    assert_eq!(before["id"], after["id"]);
    answer(&it, &after, &["deny"]);
    it.ok(&["wait", "box/3", "--for", "text=code 4", "--timeout", "60s"]);
    it.ok(&["rm", "--yes", "box"]);
}

#[test]
fn an_agent_in_a_container_is_told_to_ask_here_and_says_whether_it_does() {
    if !can() {
        return;
    }
    let it = Docked::new(Engine::shared());
    it.start("box", &["--workspace", ".:cow", "--egress", "deny"], "sleep 1000");
    // Its settings, in place of which an image may have none.
    let settings = it.ok(&["exec", "box", "--", "cat", "/etc/claude-code/managed-settings.json"]);
    assert!(settings.contains("/run/sandwatch/sandwatch hook claude"), "{settings}");
    let agent = it.ok(&["exec", "box", "--", "cat", "/etc/codex/config.toml"]);
    assert!(agent.contains("approval_policy"), "{agent}");
    let event = json!({ "hook_event_name": "SessionStart", "permission_mode": "default" });
    let claude = format!(
        "#!/bin/sh\necho started \"$@\"\nprintf %s '{event}' | /run/sandwatch/sandwatch hook claude\nsleep 1000\n"
    );
    let put = format!("cat > /bin/claude <<'END'\n{claude}END\nchmod 755 /bin/claude");
    it.ok(&["exec", "box", "--", "sh", "-c", &put]);
    it.ok(&["shell", "-d", "box", "--", "claude", "fix it"]);
    // What makes it ask is added.
    it.ok(&["wait", "box/2", "--for", "text=started --permission-mode default fix it"]);
    eventually("it is known that it asks", || {
        it.notes("box").contains("asks reach us: box/2: Claude Code told so, in its mode default")
    });
    it.ok(&["rm", "--yes", "box"]);
}

#[test]
fn where_programs_of_a_container_cant_ask_that_is_said() {
    if !can() {
        return;
    }
    let engine = Engine::shared();
    let place = tempfile::tempdir().unwrap();
    let copied = Command::new("sh")
        .args(["-c", "cp $(command -v busybox) \"$0\""])
        .arg(place.path())
        .status();
    assert!(copied.unwrap().success());
    let mut tar = Command::new("tar")
        .arg("-C")
        .arg(place.path())
        .args(["-c", "busybox"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut import = Command::new("docker");
    import.arg("-H").arg(engine.url()).args(["import", "-", "sandwatch-test-bare:latest"]);
    import.stdin(tar.stdout.take().unwrap()).stdout(Stdio::null());
    assert!(import.status().unwrap().success() && tar.wait().unwrap().success());
    let it = Docked::new(engine);
    let bare =
        ["--driver", "docker", "--image", "sandwatch-test-bare:latest", "--workspace", ".:none"];
    it.ok(&[
        &["run", "-d", "--name", "box", "--egress", "deny"][..],
        &bare,
        &["--", "/busybox", "sleep", "1000"],
    ]
    .concat());
    let notes = it.notes("box");
    assert!(notes.contains("its programs can't ask here: "), "{notes}");
    it.ok(&["rm", "--yes", "box"]);
}
