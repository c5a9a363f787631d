//! What programs in a sandbox ask, and the answers, through the real hub, shim and socket.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Output, Stdio},
};

use portable_pty::CommandBuilder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    program::{Home, PROGRAM, eventually},
    pty::Pty,
};

pub fn with_box() -> Home {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);
    home
}

/// A program in the sandbox that asks, in the background.
pub fn asking(home: &Home, words: &[&str]) -> Child {
    let words = [&["exec", "box", "--", "sandwatch", "ask"][..], words].concat();
    let mut command = home.command(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub fn ended(child: Child) -> (i32, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    (status.code().unwrap(), said.into_owned())
}

fn waiting(home: &Home) -> Vec<Value> {
    serde_json::from_value(home.json(&["approvals", "ls", "--json"])).unwrap()
}

/// Waits until something waits for an answer; gives its id.
pub fn one_waits(home: &Home, subject: &str) -> String {
    let mut found = None;
    eventually(&format!("{subject} is asked"), || {
        let all = waiting(home);
        found = all.iter().find(|it| it["subject"] == subject).map(|it| it["id"].clone());
        found.is_some()
    });
    found.unwrap().as_str().unwrap().to_owned()
}

pub fn show(home: &Home, id: &str) -> Value {
    home.json(&["approvals", "show", id, "--json"])
}

pub fn kill_hub(home: &Home) {
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_program_waits_for_a_person_and_does_what_they_say() {
    let home = with_box();
    let words =
        ["--kind", "exec", "--subject", "make all", "--reason", "because", "--detail", "cwd=/x"];
    let asker = asking(&home, &words);
    let id = one_waits(&home, "make all");
    let ask = show(&home, &id);
    assert_eq!(ask["sandbox_name"], "box");
    assert_eq!((&ask["kind"], &ask["state"]), (&"exec".into(), &"pending".into()));
    assert_eq!((&ask["reason"], &ask["on_timeout"]), (&"because".into(), &"deny".into()));
    assert_eq!(ask["details"], json!([{ "name": "cwd", "value": "/x" }]));
    assert_eq!(ask["risk"], json!({ "level": "low", "findings": [] }));
    assert_eq!((&ask["decision"], ask["digest"].as_str().unwrap().len()), (&Value::Null, 64));
    assert!(ask["deadline_at"].as_str() > ask["created_at"].as_str(), "{ask}");
    assert_eq!(home.json(&["ls", "--json"])[0]["pending_approvals"], 1);
    assert_eq!(home.json(&["hub", "status", "--json"])["pending_approvals"], 1);
    let text = home.ok(&["approvals", "show", &id]);
    assert!(text.contains("subject    make all") && text.contains("because (it says)"), "{text}");

    home.ok(&["approvals", "allow", &id, "--message", "go on"]);
    assert_eq!(ended(asker), (0, "go on\n".to_owned()));
    let ask = show(&home, &id);
    assert_eq!(ask["state"], "allowed");
    let decision = &ask["decision"];
    assert_eq!((&decision["verdict"], &decision["scope"]), (&"allow".into(), &"once".into()));
    assert_eq!(decision["message"], "go on");
    assert!(decision["by"].as_str().is_some_and(|it| it.contains('@')), "{decision}");
    assert!(decision["waited_ms"].is_u64() && decision["at"].is_string(), "{decision}");
    assert!(waiting(&home).is_empty());
    // What is decided is decided.
    let again = home.run(&["approvals", "deny", &id]);
    assert!(again.code == 1 && again.stderr.contains("allowed already, by"), "{again:?}");

    let asker = asking(&home, &["--subject", "may I?"]);
    home.ok(&["approvals", "deny", &one_waits(&home, "may I?")]);
    assert_eq!(ended(asker).0, 4);
    // Once is once.
    let asker = asking(&home, &["--subject", "may I?", "--timeout", "1s"]);
    let id = one_waits(&home, "may I?");
    let (code, said) = ended(asker);
    assert!(code == 7 && said.contains("in time"), "{code}: {said}");
    eventually("it is known as expired", || show(&home, &id)["state"] == "expired");
    let late = home.run(&["approvals", "allow", &id]);
    assert!(late.code == 1 && late.stderr.contains("expired"), "{late:?}");
}

#[test]
fn what_is_grave_is_not_allowed_in_passing_and_only_what_was_shown_is_allowed() {
    let home = with_box();
    let asker = asking(&home, &["--kind", "exec", "--subject", "rm -rf \u{202e}x"]);
    let id = one_waits(&home, "rm -rf \u{202e}x");
    assert_eq!(show(&home, &id)["risk"]["level"], "high");
    let text = home.ok(&["approvals", "show", &id]);
    assert!(!text.contains('\u{202e}') && text.contains("U+202E"), "{text}");
    let refused = home.run(&["approvals", "allow", &id]);
    assert!(refused.code == 2 && refused.stderr.contains("--yes"), "{refused:?}");
    let other = home.run(&["approvals", "allow", &id, "--yes", "--digest", "0123456789ab"]);
    assert!(other.code == 1 && other.stderr.contains("something else"), "{other:?}");
    assert_eq!(waiting(&home).len(), 1);
    let digest = show(&home, &id)["digest"].as_str().unwrap().to_owned();
    home.ok(&["approvals", "allow", &id, "--digest", &digest]);
    assert_eq!(ended(asker).0, 0);
    for (words, code) in [(["show", "nothing"], 3), (["allow", "nothing"], 3)] {
        assert_eq!(home.run(&[&["approvals"][..], &words].concat()).code, code);
    }
}

#[test]
fn an_answer_for_the_session_holds_for_the_very_same_and_nothing_else() {
    let home = with_box();
    let asker = asking(&home, &["--kind", "exec", "--subject", "make"]);
    home.ok(&["approvals", "allow", &one_waits(&home, "make"), "--scope", "session"]);
    assert_eq!(ended(asker).0, 0);
    let same = ["exec", "box", "--", "sandwatch", "ask", "--kind", "exec", "--subject", "make"];
    home.ok(&same);
    // The next hub keeps to it.
    kill_hub(&home);
    home.ok(&[&same[..], &["--timeout", "20s"]].concat());
    let all = home.json(&["approvals", "ls", "--all", "--json"]);
    let by: Vec<_> = all.as_array().unwrap().iter().map(|it| &it["decision"]["by"]).collect();
    assert!(by.len() == 3 && by[2].as_str().is_some_and(|it| it.ends_with(" (session)")), "{by:?}");
    for other in [
        &["--kind", "exec", "--subject", "make all"][..],
        &["--kind", "tool", "--subject", "make"],
        &["--kind", "exec", "--subject", "make", "--detail", "cwd=/elsewhere"],
    ] {
        let asker = asking(&home, other);
        home.ok(&["approvals", "deny", &one_waits(&home, other[3])]);
        assert_eq!(ended(asker).0, 4);
    }
}

#[test]
fn a_hub_that_dies_loses_no_ask_and_allows_none() {
    let home = with_box();
    for subject in ["one", "two", "three", "four"] {
        // In a session, which no hub takes along.
        let script = format!("sandwatch ask --subject {subject}; echo answered $?; sleep 1000");
        home.ok(&["shell", "-d", "box", "--", "/bin/sh", "-c", &script]);
        one_waits(&home, subject);
    }
    for _ in 0..3 {
        kill_hub(&home);
        let all = waiting(&home);
        let subjects: Vec<_> = all.iter().map(|it| it["subject"].as_str().unwrap()).collect();
        assert_eq!(subjects, ["one", "two", "three", "four"]);
    }
    for (session, (subject, verdict, code)) in
        [("one", "allow", 0), ("two", "deny", 4), ("three", "allow", 0)].into_iter().enumerate()
    {
        home.ok(&["approvals", verdict, &one_waits(&home, subject)]);
        let (session, text) = (format!("box/{}", session + 2), format!("text=answered {code}"));
        home.ok(&["wait", &session, "--for", &text, "--timeout", "20s"]);
    }
    // Who waits no more is not shown as waiting, by this hub or the next.
    let id = one_waits(&home, "four");
    home.ok(&["send", "box/5", "<C-c>"]);
    eventually("it is withdrawn", || show(&home, &id)["state"] == "withdrawn");
    kill_hub(&home);
    assert_eq!(show(&home, &id)["state"], "withdrawn");
    // With its sandbox an ask ends too.
    let asker = asking(&home, &["--subject", "five"]);
    let id = one_waits(&home, "five");
    home.ok(&["rm", "--yes", "box"]);
    assert_ne!(ended(asker).0, 0);
    assert_eq!(show(&home, &id)["state"], "withdrawn");
}

#[test]
fn of_two_who_answer_at_once_one_decides_and_the_other_is_told() {
    let home = with_box();
    for round in 0..5 {
        let subject = format!("round {round}");
        let asker = asking(&home, &["--subject", &subject]);
        let id = one_waits(&home, &subject);
        let answers = ["allow", "deny"].map(|verdict| {
            let mut command = home.command(&["approvals", verdict, &id]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        let [allowed, denied] = answers.map(ended);
        let (first, other) = if allowed.0 == 0 { (&allowed, &denied) } else { (&denied, &allowed) };
        assert!(first.0 == 0 && other.0 == 1 && other.1.contains("already, by"), "{other:?}");
        assert_eq!(ended(asker).0, if allowed.0 == 0 { 0 } else { 4 });
    }
}

#[test]
fn a_thousand_asks_are_no_trouble_and_none_is_allowed() {
    let home = with_box();
    let script = "for n in $(seq 120); do sandwatch ask --subject \"n $n\" --timeout 2s & done 2>/dev/null; \
                  fine=0; for job in $(jobs -p); do wait $job && fine=$((fine + 1)); done; echo fine $fine";
    let mut command = home.command(&["exec", "box", "--", "bash", "-c", script]);
    let flood = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    eventually("some wait", || !waiting(&home).is_empty());
    assert!(waiting(&home).len() <= 16);
    assert_eq!(ended(flood).1, "fine 0\n");
    let notes = home.json(&["ls", "--json"])[0]["notes"].to_string();
    assert!(notes.contains("denied unseen"), "{notes}");
    // A person is asked again as soon as there is room.
    let asker = asking(&home, &["--subject", "after"]);
    home.ok(&["approvals", "allow", &one_waits(&home, "after")]);
    assert_eq!(ended(asker).0, 0);
}

/// Speaks garbage on the socket for asks, from inside.
const ROGUE: &str = r#"
import os, socket
path = os.environ["SANDWATCH_ASK"]
for junk in (b"", b"\xff" * 4, b"\x04\0\0\0abcd", b"GET / HTTP/1.1\r\n\r\n", b"\x01\0\0\0", os.urandom(5000)):
    it = socket.socket(socket.AF_UNIX)
    it.connect(path)
    it.settimeout(20)
    try:
        it.sendall(junk)
        it.shutdown(socket.SHUT_WR)
        while it.recv(4096): pass
    except (ConnectionResetError, BrokenPipeError):
        pass
many = []
for _ in range(200):
    it = socket.socket(socket.AF_UNIX)
    it.connect(path)
    many.append(it)
for it in many: it.close()
try:
    open(os.path.dirname(path) + "/mine", "w")
except OSError as error:
    print(error.strerror)
try:
    os.unlink(path)
except OSError as error:
    print(error.strerror)
"#;

#[test]
fn a_hostile_program_gets_nothing_from_the_socket_and_stops_nobody() {
    let home = with_box();
    let said = home.ok(&["exec", "box", "--", "python3", "-c", ROGUE]);
    assert_eq!(said, "Read-only file system\nRead-only file system\n");
    let long = "x".repeat(60_000);
    let refused = home.run(&["exec", "box", "--", "sandwatch", "ask", "--subject", &long]);
    assert!(refused.code == 2 && refused.stderr.contains("nobody can look"), "{}", refused.code);
    let empty = home.run(&["exec", "box", "--", "sandwatch", "ask", "--subject", " "]);
    assert_eq!(empty.code, 2);
    let asker = asking(&home, &["--subject", "still there"]);
    home.ok(&["approvals", "allow", &one_waits(&home, "still there")]);
    assert_eq!(ended(asker).0, 0);
    // Outside of a sandbox there is nobody to be asked.
    let outside = home.run(&["ask", "--subject", "x"]);
    assert!(outside.code == 5 && outside.stderr.contains("no sandbox"), "{outside:?}");
}

/// What an agent gets from its hook for this input.
fn hook(home: &Home, agent: &str, input: &Value) -> Child {
    let mut command = home.command(&["exec", "-i", "box", "--", "sandwatch", "hook", agent]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    child
}

#[test]
fn agents_are_answered_in_their_own_words() {
    let home = with_box();
    let call = |event: &str, command: &str| {
        json!({
            "hook_event_name": event, "tool_name": "Bash", "cwd": "/w",
            "tool_input": { "command": command, "description": "It says so" },
        })
    };
    let asker = hook(&home, "claude", &call("PermissionRequest", "one"));
    let id = one_waits(&home, "one");
    let ask = show(&home, &id);
    assert_eq!((&ask["agent"], &ask["reason"]), (&"claude".into(), &"It says so".into()));
    home.ok(&["approvals", "deny", &id, "--message", "use the other"]);
    let (code, said) = ended(asker);
    let reply: Value = serde_json::from_str(&said).unwrap();
    let decision = json!({ "behavior": "deny", "message": "use the other" });
    assert_eq!((code, &reply["hookSpecificOutput"]["decision"]), (0, &decision));

    let asker = hook(&home, "codex", &call("PreToolUse", "two"));
    home.ok(&["approvals", "allow", &one_waits(&home, "two")]);
    let reply: Value = serde_json::from_str(&ended(asker).1).unwrap();
    assert_eq!(reply["hookSpecificOutput"]["permissionDecision"], "allow");

    let asker = hook(&home, "gemini", &call("BeforeTool", "three"));
    home.ok(&["approvals", "deny", &one_waits(&home, "three")]);
    let reply: Value = serde_json::from_str(&ended(asker).1).unwrap();
    assert_eq!(reply["decision"], "deny");

    // Answered at the agent's own prompt: nobody need answer here any more, and the hook keeps silent.
    let asker = hook(&home, "claude", &call("PermissionRequest", "four"));
    let id = one_waits(&home, "four");
    assert_eq!(ended(hook(&home, "claude", &call("PostToolUse", "four"))), (0, String::new()));
    assert_eq!(ended(asker), (0, String::new()));
    eventually("it is withdrawn", || show(&home, &id)["state"] == "withdrawn");
    // What can't be read is a no, for an agent goes on when its hook fails.
    assert_eq!(ended(hook(&home, "claude", &json!([1]))).0, 2);
    // Not even where the hook can't begin.
    let script = "ulimit -n 4; exec \"$0\" hook claude </dev/null";
    let ran = std::process::Command::new("sh").args(["-c", script, PROGRAM]).output().unwrap();
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
    // The settings that make an agent ask are there without anybody's doing.
    let settings = ["exec", "box", "--", "cat", "/etc/claude-code/managed-settings.json"];
    assert!(home.ok(&settings).contains("hook claude"));
}

#[test]
fn an_ask_names_the_session_that_it_comes_from() {
    let home = Home::new();
    let script = "sandwatch ask --subject mine; echo answered $?; sleep 1000";
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", script]);
    let id = one_waits(&home, "mine");
    let session = home.json(&["ls", "--json"])[0]["sessions"][0]["id"].clone();
    assert_eq!(show(&home, &id)["session"], session);
    home.ok(&["approvals", "allow", &id]);
    home.ok(&["wait", "box", "--for", "text=answered 0", "--timeout", "20s"]);
}

const RULES: &str = r#"
[[rule]]
id = "tests"
verdict = "allow"
command = ["make", ["test", "check"]]
match = ["make test"]
not_match = ["make", "make test > x"]
[[rule]]
id = "no-push"
verdict = "deny"
command = ["git", "push"]
why = "a person pushes"
"#;

#[test]
fn rules_answer_at_once_and_what_they_do_not_know_is_asked() {
    let home = with_box();
    std::fs::create_dir_all(home.config()).unwrap();
    let file = home.config().join("policy.toml");
    let ask = |subject: &str| {
        let words = ["exec", "box", "--", "sandwatch", "ask", "--kind", "exec"];
        home.run(&[&words[..], &["--timeout", "20s", "--subject", subject]].concat())
    };
    std::fs::write(&file, RULES).unwrap();
    assert_eq!(ask("make test && make check").code, 0);
    let denied = ask("bash -c 'make test; git push'");
    assert!(denied.code == 4 && denied.stdout.contains("a person pushes"), "{denied:?}");
    let all = home.json(&["approvals", "ls", "--all", "--json"]);
    assert_eq!(all[0]["decision"]["by"], "policy: tests");
    assert_eq!(
        (&all[1]["state"], &all[1]["decision"]["by"]),
        (&"denied".into(), &"policy: no-push".into())
    );
    let asker = asking(&home, &["--kind", "exec", "--subject", "make install"]);
    home.ok(&["approvals", "allow", &one_waits(&home, "make install"), "--scope", "session"]);
    assert_eq!(ended(asker).0, 0);

    // However a line is made, the hub is soon done with it, and a person is asked.
    let shells = "sh ".repeat(1000);
    let deep = format!("{shells}-c '{shells}-c \"{}\"'", "a;".repeat(8000));
    for subject in [deep, format!("git {}", "-a ".repeat(5000))] {
        let asker = asking(&home, &["--kind", "exec", "--subject", &subject]);
        home.ok(&["approvals", "deny", &one_waits(&home, &subject)]);
        assert_eq!(ended(asker).0, 4);
    }

    // While the file can't be read, what it denied before stays denied, and nothing is allowed by it or by what a
    // person said before: by the next hub too, which never read it.
    let broken = RULES.replace("verdict = \"deny\"", "verdict = \"dany\"");
    std::fs::write(&file, &broken).unwrap();
    assert_eq!(ask("git push").code, 4);
    for restart in [false, true] {
        if restart {
            kill_hub(&home);
        }
        for subject in ["make test", "make install"] {
            let asker = asking(&home, &["--kind", "exec", "--subject", subject]);
            home.ok(&["approvals", "deny", &one_waits(&home, subject)]);
            assert_eq!(ended(asker).0, 4, "{subject}");
        }
    }
    let check = home.run(&["policy", "check"]);
    assert!(check.code == 1 && check.stderr.contains("policy.toml:10:11"), "{check:?}");
    // A rule that denies is above what a person said before.
    let more = format!(
        "{RULES}[[rule]]\nid = \"no-install\"\nverdict = \"deny\"\ncommand = [\"make\", \"install\"]\n"
    );
    std::fs::write(&file, more).unwrap();
    assert_eq!(ask("make install").code, 4);
    let shown = home.json(&["policy", "show", "--json"]);
    assert_eq!(
        (&shown[0]["id"], &shown[0]["subject"]),
        (&"tests".into(), &"command make test|check".into())
    );
    assert_eq!(shown[1]["why"], "a person pushes");
    for (subject, verdict) in [("make test", "allow"), ("git -C x push", "deny"), ("ls", "ask")] {
        let said = home.json(&["policy", "test", "--subject", subject, "--json"]);
        assert_eq!(said["verdict"], verdict, "{said}");
    }
    let test = ["policy", "test", "--subject", "make test", "--workspace", "/w", "--json"];
    for (detail, verdict, because) in [
        ("cwd=/w/sub", "allow", "tests"),
        ("cwd=/elsewhere", "ask", "outside of the workspace"),
        ("directory=vendor", "ask", "`directory`"),
    ] {
        let said = home.json(&[&test[..], &["--detail", detail]].concat());
        assert_eq!(said["verdict"], verdict, "{said}");
        assert!(said["because"].as_str().is_some_and(|it| it.contains(because)), "{said}");
    }
    std::fs::remove_file(&file).unwrap();
    assert!(home.ok(&["policy", "check"]).is_empty());
    assert_eq!(home.json(&["policy", "show", "--json"]), json!([]));
}

/// Asks and is answered for the session; gives the id.
fn held(home: &Home, subject: &str) -> String {
    let asker = asking(home, &["--kind", "exec", "--subject", subject]);
    let id = one_waits(home, subject);
    home.ok(&["approvals", "allow", &id, "--scope", "session"]);
    assert_eq!(ended(asker).0, 0);
    id
}

#[test]
fn an_answer_that_holds_on_is_listed_with_its_uses_and_can_be_taken_back() {
    let home = with_box();
    assert_eq!(home.json(&["approvals", "standing", "--json"]), json!([]));
    let (id, other) = (held(&home, "make"), held(&home, "make check"));
    let same = ["exec", "box", "--", "sandwatch", "ask", "--kind", "exec", "--subject", "make"];
    home.ok(&same);
    home.ok(&same);
    eventually("both uses are counted", || {
        let all = home.json(&["approvals", "standing", "--json"]);
        let all = all.as_array().unwrap().clone();
        let of = all.iter().find(|it| it["id"] == id.as_str()).unwrap();
        all.len() == 2 && of["decision"]["uses"] == 2 && of["decision"]["holds"] == true
    });
    assert!(home.ok(&["approvals", "standing"]).contains("allow session"));
    let revoked = home.json(&["approvals", "revoke", &id, "--json"]);
    assert_eq!(
        (&revoked["decision"]["holds"], &revoked["state"]),
        (&false.into(), &"allowed".into())
    );
    assert!(revoked["decision"]["revoked"]["by"].as_str().unwrap().contains('@'), "{revoked}");
    assert_eq!(home.run(&["approvals", "revoke", &id]).code, 3);
    assert_eq!(home.run(&["approvals", "revoke", "nothing"]).code, 3);
    // The next hub keeps to both.
    for _ in 0..2 {
        let asker = asking(&home, &["--kind", "exec", "--subject", "make"]);
        home.ok(&["approvals", "deny", &one_waits(&home, "make")]);
        assert_eq!(ended(asker).0, 4);
        kill_hub(&home);
    }
    let all = home.json(&["approvals", "standing", "--json"]);
    assert_eq!((all.as_array().unwrap().len(), &all[0]["id"]), (1, &other.as_str().into()));
}

#[test]
fn a_beginning_of_a_digest_is_long_and_what_a_list_cuts_is_not_allowed_unseen() {
    let home = with_box();
    let long = format!("echo {}; rm x", "a".repeat(200));
    let asker = asking(&home, &["--subject", "lines", "--detail", "x=1\r\n2 "]);
    let id = one_waits(&home, "lines");
    let text = home.ok(&["approvals", "show", &id]);
    assert!(text.contains("detail     x:\n           1␍␊\n           2␠\n"), "{text}");
    home.ok(&["approvals", "deny", &id]);
    assert_eq!(ended(asker).0, 4);
    let asker = asking(&home, &["--kind", "exec", "--subject", &long]);
    let id = one_waits(&home, &long);
    let listed = home.ok(&["approvals", "ls"]);
    assert!(listed.contains("… (+111 bytes)"), "{listed}");
    let digest = show(&home, &id)["digest"].as_str().unwrap().to_owned();
    for short in ["", "0", &digest[..11], &digest.to_uppercase(), &format!("{digest}0")] {
        let refused = home.run(&["approvals", "allow", &id, "--yes", "--digest", short]);
        assert_eq!((refused.code, waiting(&home).len()), (2, 1), "{short}: {refused:?}");
    }
    let refused = home.run(&["approvals", "allow", &id]);
    assert!(refused.code == 2 && refused.stderr.contains("only a part"), "{refused:?}");
    home.ok(&["approvals", "allow", &id, "--digest", &digest[..12]]);
    assert_eq!(ended(asker).0, 0);
}

#[test]
fn on_a_terminal_a_word_allows_what_is_risky_and_nothing_typed_ahead_does() {
    let home = with_box();
    let asker = asking(&home, &["--kind", "exec", "--subject", "rm -rf all"]);
    let id = one_waits(&home, "rm -rf all");
    for typed in ["y\r", "yes\r", "\r", "allowed\r"] {
        let pty = Pty::start(&home, &["approvals", "allow", &id], (100, 30));
        pty.wait_for("Type `allow`:");
        assert!(pty.look(|it| it.has("rm -rf all") && it.has("deletes whole directories")));
        pty.send(typed);
        pty.wait_for("nothing was allowed");
    }
    // Typed before the question was there.
    let held = home.path().join("held");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &held,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let mut command = CommandBuilder::new("/bin/sh");
    let script = "echo ready; cat \"$1\"; exec \"$2\" approvals allow \"$3\"";
    command.args(["-c", script, "sh", held.to_str().unwrap(), PROGRAM, &id]);
    let pty = Pty::run(command, &home, (100, 30), ("", ""));
    pty.wait_for("ready");
    pty.send("allow\r");
    pty.wait_for("allow");
    drop(std::fs::File::options().write(true).open(&held).unwrap());
    pty.wait_for("Type `allow`:");
    assert_eq!(waiting(&home).len(), 1);
    pty.send("allow\r");
    assert_eq!(ended(asker).0, 0);
    drop(pty);
    // What scripts read is JSON and nothing else.
    let asker = asking(&home, &["--kind", "exec", "--subject", "rm -rf all"]);
    let id = one_waits(&home, "rm -rf all");
    let decided = home.json(&["approvals", "allow", &id, "--yes", "--json"]);
    assert_eq!(decided["state"], "allowed");
    assert_eq!(ended(asker).0, 0);
}

#[test]
fn a_watcher_is_told_of_each_that_comes_and_of_each_that_ends() {
    let home = with_box();
    home.ok(&["run", "-d", "--name", "other", "--", "/bin/sh", "-c", "sleep 1000"]);
    let first = asking(&home, &["--subject", "first"]);
    let id = one_waits(&home, "first");
    let mut command = home.command(&["approvals", "watch", "--json"]);
    let mut watcher = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let mut next = || -> (String, String) {
        let it: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let text = |key: &str| it[key].as_str().unwrap().to_owned();
        (text("subject"), text("state"))
    };
    let told = |subject: &str, state: &str| (subject.to_owned(), state.to_owned());
    assert_eq!(next(), told("first", "pending"));
    // Another sandbox changes meanwhile: nothing of the first has ended by that.
    let words = ["exec", "other", "--", "sandwatch", "ask", "--subject", "second"];
    let second = home.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(next(), told("second", "pending"));
    home.ok(&["approvals", "deny", &one_waits(&home, "second")]);
    assert_eq!(next(), told("second", "denied"));
    home.ok(&["approvals", "allow", &id]);
    assert_eq!(next(), told("first", "allowed"));
    assert_eq!((ended(first).0, ended(second).0), (0, 4));
    // With its sandbox an ask ends too.
    let third = asking(&home, &["--subject", "third"]);
    assert_eq!(next(), told("third", "pending"));
    home.ok(&["rm", "--yes", "box"]);
    assert_eq!(next(), told("third", "withdrawn"));
    assert_ne!(ended(third).0, 0);
    watcher.kill().unwrap();
    watcher.wait().unwrap();
}
