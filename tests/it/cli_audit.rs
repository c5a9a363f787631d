//! The audit record through the real hub: what it says, that it is whole whatever becomes of the hub, and that
//! whoever changes it is found out.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::program::{Home, eventually};

fn with_box() -> Home {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);
    home
}

fn record(home: &Home) -> Vec<Value> {
    serde_json::from_value(home.json(&["audit", "ls", "--json", "-n", "10000"])).unwrap()
}

fn actions(home: &Home) -> Vec<String> {
    record(home).iter().map(|it| it["action"].as_str().unwrap().to_owned()).collect()
}

/// The newest entry of this action.
fn last(home: &Home, action: &str) -> Value {
    record(home).into_iter().rfind(|it| it["action"] == action).unwrap_or(Value::Null)
}

fn asking(home: &Home, words: &[&str]) -> Child {
    let words = [&["exec", "box", "--", "sandwatch", "ask"][..], words].concat();
    let mut command = home.command(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> i32 {
    child.wait_with_output().unwrap().status.code().unwrap()
}

fn one_waits(home: &Home, subject: &str) -> String {
    let mut found = None;
    eventually(&format!("{subject} is asked"), || {
        let all = home.json(&["approvals", "ls", "--json"]);
        let all = all.as_array().unwrap();
        found = all.iter().find(|it| it["subject"] == subject).map(|it| it["id"].clone());
        found.is_some()
    });
    found.unwrap().as_str().unwrap().to_owned()
}

fn hub_pid(home: &Home) -> i32 {
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    pid.try_into().unwrap()
}

fn kill_hub(home: &Home) {
    kill_process(Pid::from_raw(hub_pid(home)).unwrap(), Signal::KILL).unwrap();
}

fn sound(home: &Home) {
    let said = home.ok(&["audit", "verify"]);
    assert!(said.contains("sound"), "{said}");
}

fn database(home: &Home) -> Connection {
    let connection = Connection::open(home.path().join("state/registry.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    connection
}

#[test]
fn what_is_done_and_decided_is_in_the_record_with_who_and_from_where() {
    let home = with_box();
    let began = &record(&home)[..2];
    assert_eq!((&began[0]["seq"], &began[0]["action"]), (&1.into(), &"hub.started".into()));
    assert_eq!(began[0]["prev"], "0".repeat(64));
    assert_eq!(began[1]["prev"], began[0]["hash"]);
    let made = &began[1];
    assert_eq!((&made["action"], &made["subject"]), (&"sandbox.created".into(), &"box".into()));
    assert!(made["actor"].as_str().unwrap().contains('@'), "{made}");
    let details = &made["details"];
    assert_eq!(details["from"], "unix");
    assert_eq!(details["uid"], rustix::process::geteuid().as_raw());
    assert!(details["pid"].as_u64().is_some_and(|it| it > 1), "{made}");
    assert_eq!(details["command"], json!(["/bin/sh", "-c", "sleep 1000"]));

    let words = ["--kind", "exec", "--subject", "make all", "--reason", "because"];
    let asker = asking(&home, &words);
    let id = one_waits(&home, "make all");
    let shown = home.json(&["approvals", "show", &id, "--json"]);
    home.ok(&["approvals", "allow", &id, "--scope", "session", "--message", "go on"]);
    assert_eq!(ended(asker), 0);
    let asked = last(&home, "ask.asked");
    assert_eq!((&asked["actor"], &asked["details"]["from"]), (&"box".into(), &"sandbox".into()));
    let decided = last(&home, "ask.allowed");
    assert_eq!(decided["subject"], "make all");
    let details = &decided["details"];
    for (key, value) in [
        ("from", "unix"),
        ("ask", &id),
        ("kind", "exec"),
        ("scope", "session"),
        ("message", "go on"),
        ("risk", "low"),
        ("sandbox", "box"),
        ("digest", shown["digest"].as_str().unwrap()),
    ] {
        assert_eq!(details[key], value, "{key}");
    }
    let after = home.json(&["approvals", "show", &id, "--json"]);
    assert_eq!(details["waited_ms"], after["decision"]["waited_ms"]);
    assert_eq!(
        (&decided["at"], &decided["actor"]),
        (&after["decision"]["at"], &after["decision"]["by"])
    );
    // The answer stands, and that is said.
    assert_eq!(ended(asking(&home, &words)), 0);
    let standing = last(&home, "ask.allowed");
    let details = &standing["details"];
    assert_eq!((&details["from"], &details["stands"]), (&"standing".into(), &"session".into()));
    // Nobody answered, and somebody went away.
    assert_eq!(ended(asking(&home, &["--subject", "late", "--timeout", "1s"])), 7);
    eventually("it expired", || last(&home, "ask.expired")["subject"] == "late");
    let asker = asking(&home, &["--subject", "gone"]);
    one_waits(&home, "gone");
    kill_process(Pid::from_child(&asker), Signal::KILL).unwrap();
    drop(asker.wait_with_output());
    eventually("it was withdrawn", || last(&home, "ask.withdrawn")["subject"] == "gone");
    assert_eq!(last(&home, "ask.withdrawn")["details"]["from"], "sandbox");

    let exec = ["exec", "box", "--env", "TOKEN=canary", "--", "/bin/sh", "-c", "exit 3"];
    assert_eq!(home.run(&exec).code, 3);
    let run = last(&home, "program.run");
    assert_eq!(run["details"]["command"], json!(["/bin/sh", "-c", "exit 3"]));
    assert_eq!(run["details"]["program_env_names"], json!(["TOKEN"]));
    home.ok(&["send", "box", "canary", "<Enter>"]);
    eventually("the keyboard came back", || !last(&home, "keyboard.given_back").is_null());
    assert_eq!(last(&home, "keyboard.taken")["subject"], "box");
    home.ok(&["pause", "box"]);
    home.ok(&["resume", "box"]);
    home.ok(&["snapshot", "create", "box", "--name", "green"]);
    home.ok(&["restore", "--yes", "box", "green"]);
    home.ok(&["fork", "-d", "box", "--name", "other"]);
    home.ok(&["stop", "other"]);
    home.ok(&["rm", "--yes", "other"]);
    home.ok(&["exec", "box", "--", "/bin/sh", "-c", "echo more > made"]);
    home.ok(&["apply", "box"]);
    home.ok(&["apply", "box", "--undo"]);
    assert_eq!(last(&home, "workspace.applied")["details"]["paths"], json!(["made"]));
    let done: Vec<_> = actions(&home).into_iter().filter(|it| !it.starts_with("ask.")).collect();
    let done: Vec<_> = done.iter().filter(|it| !it.starts_with("program.")).collect();
    assert_eq!(
        done,
        [
            "hub.started",
            "sandbox.created",
            "keyboard.taken",
            "keyboard.given_back",
            "sandbox.paused",
            "sandbox.resumed",
            "snapshot.taken",
            "sandbox.restored",
            "sandbox.forked",
            "sandbox.stopped",
            "sandbox.removed",
            "workspace.applied",
            "workspace.taken_back",
        ]
    );
    let all = home.ok(&["audit", "export"]);
    assert!(!all.contains("canary"), "{all}");
    sound(&home);

    // By sandbox, also one that is no more; by number and by time.
    let of_other = home.json(&["audit", "ls", "--json", "--sandbox", "other"]);
    let of_other: Vec<_> = of_other.as_array().unwrap().iter().map(|it| &it["action"]).collect();
    assert_eq!(of_other, ["sandbox.forked", "sandbox.stopped", "sandbox.removed"]);
    let newest = home.json(&["audit", "ls", "--json", "-n", "2"]);
    assert_eq!(
        (newest.as_array().unwrap().len(), &newest[1]["action"]),
        (2, &"workspace.taken_back".into())
    );
    assert_eq!(home.json(&["audit", "ls", "--json", "--since", "2100-01-01T00:00:00Z"]), json!([]));
    assert!(!home.json(&["audit", "ls", "--json", "--since", "1h"]).as_array().unwrap().is_empty());
    let table = home.ok(&["audit", "ls"]);
    assert!(table.contains("keyboard.taken") && table.contains("scope=session"), "{table}");
    let doctor = home.ok(&["doctor"]);
    assert!(doctor.contains("state.audit"), "{doctor}");
}

const RULES: &str = r#"
[[rule]]
id = "tests"
verdict = "allow"
command = ["make", ["test", "check"]]
[[rule]]
id = "no-push"
verdict = "deny"
command = ["git", "push"]
"#;

#[test]
fn rules_and_what_they_decide_are_in_the_record() {
    let home = with_box();
    std::fs::create_dir_all(home.config()).unwrap();
    let file = home.config().join("policy.toml");
    let ask = |subject: &str| {
        let words = ["exec", "box", "--", "sandwatch", "ask", "--kind", "exec"];
        home.run(&[&words[..], &["--timeout", "1s", "--subject", subject]].concat()).code
    };
    std::fs::write(&file, RULES).unwrap();
    assert_eq!((ask("make test"), ask("git push")), (0, 4));
    let allowed = last(&home, "ask.allowed");
    assert_eq!(allowed["actor"], "policy: tests");
    assert_eq!(
        (&allowed["details"]["from"], &allowed["details"]["rules"]),
        (&"policy".into(), &json!(["tests"]))
    );
    assert_eq!(last(&home, "ask.denied")["details"]["rules"], json!(["no-push"]));
    let policies = |home: &Home| -> Vec<(String, Value)> {
        let all = record(home)
            .into_iter()
            .filter(|it| it["action"].as_str().unwrap().starts_with("policy."));
        all.map(|it| (it["action"].as_str().unwrap().to_owned(), it["details"]["sha256"].clone()))
            .collect()
    };
    let one = policies(&home);
    assert_eq!((one.len(), one[0].0.as_str()), (1, "policy.changed"));
    // The same file is no news, for the next hub neither.
    kill_hub(&home);
    assert_eq!(ask("make test"), 0);
    assert_eq!(policies(&home), one);
    // One that is broken is told once, and then that it is as before.
    std::fs::write(&file, RULES.replace("\"deny\"", "\"dany\"")).unwrap();
    assert_eq!((ask("git push"), ask("git push")), (4, 4));
    let refused = last(&home, "policy.refused");
    assert!(refused["details"]["why"].as_str().unwrap().contains("policy.toml:"), "{refused}");
    // What allows is not in force while the file can't be read.
    assert_eq!(refused["details"]["rules_in_force"], 1);
    std::fs::write(&file, RULES).unwrap();
    assert_eq!(ask("git push"), 4);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ask("git push"), 7);
    let all = policies(&home);
    let words: Vec<_> = all.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(words, ["policy.changed", "policy.refused", "policy.changed", "policy.changed"]);
    assert!(all[0].1 == all[2].1 && all[0].1 != all[1].1 && all[3].1.is_null(), "{all:?}");
    sound(&home);
}

/// Verbs one after the other, until the hub is killed under them.
fn busy(home: &Home) -> Child {
    let script = "while :; do for verb in pause resume; do \"$0\" $verb box; done; \
                  \"$0\" exec box -- /bin/true; done";
    let mut command = Command::new("/bin/sh");
    let own = home.command(&[]);
    command
        .args(["-c", script, own.get_program().to_str().unwrap()])
        .env("SANDWATCH_HOME", home.path());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_hub_killed_in_the_midst_leaves_a_record_that_is_whole() {
    let home = with_box();
    for round in 0..4 {
        let subject = format!("round {round}");
        let script = format!("sandwatch ask --subject '{subject}'; echo answered $?; sleep 1000");
        home.ok(&["shell", "-d", "box", "--", "/bin/sh", "-c", &script]);
        let id = one_waits(&home, &subject);
        let pin = home.ok(&["audit", "head"]);
        let pin = pin.trim();
        let mut others = busy(&home);
        let before = record(&home).len();
        eventually("something was done", || record(&home).len() > before + round);
        let mut answer = home.command(&["approvals", "allow", &id]);
        let answer = answer.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        kill_hub(&home);
        others.kill().unwrap();
        others.wait().unwrap();
        let allowed = ended(answer) == 0;
        // The next hub goes on where this one was, and all that was noted is still there.
        let said = home.ok(&["audit", "verify", "--head", pin]);
        assert!(said.contains("sound"), "{said}");
        let asks = home.json(&["approvals", "ls", "--all", "--json"]);
        let decided = asks.as_array().unwrap().iter().find(|it| it["id"] == *id).unwrap();
        let noted: Vec<_> = record(&home)
            .into_iter()
            .filter(|it| it["action"] == "ask.allowed" && it["details"]["ask"] == *id)
            .collect();
        // Both or neither, and the first question once.
        assert_eq!(noted.len(), usize::from(decided["state"] == "allowed"), "{decided}");
        assert!(!allowed || noted.len() == 1);
        let asked = record(&home);
        let asked =
            asked.iter().filter(|it| it["action"] == "ask.asked" && it["details"]["ask"] == *id);
        assert_eq!(asked.count(), 1);
        if noted.is_empty() {
            home.ok(&["approvals", "allow", &one_waits(&home, &subject)]);
        }
        home.run(&["resume", "box"]);
        let session = format!("box/{}", round + 2);
        home.ok(&["wait", &session, "--for", "text=answered 0", "--timeout", "20s"]);
        let begun = actions(&home).iter().filter(|it| *it == "hub.started").count();
        assert!(begun >= round + 2, "{begun}");
    }
    sound(&home);
}

#[test]
fn a_decision_that_can_not_be_recorded_is_none_and_other_acts_are_told() {
    let home = with_box();
    let asker = asking(&home, &["--subject", "may I?"]);
    let id = one_waits(&home, "may I?");
    let full =
        "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'no room'); END";
    database(&home).execute_batch(full).unwrap();
    for verdict in ["allow", "deny"] {
        home.run(&["approvals", verdict, &id]).failed(1, &["no room"]);
    }
    // It waits on, with nothing decided.
    assert_eq!(home.json(&["approvals", "ls", "--json"])[0]["state"], "pending");
    // Rules allow nothing either, and nobody can be asked: what can't be written down is denied.
    std::fs::create_dir_all(home.config()).unwrap();
    std::fs::write(home.config().join("policy.toml"), RULES).unwrap();
    let unseen = ["--kind", "exec", "--subject", "make test", "--timeout", "1s"];
    assert_eq!(ended(asking(&home, &unseen)), 7);
    // What needs nobody's consent is done and said.
    home.ok(&["pause", "box"]);
    home.ok(&["resume", "box"]);
    let log = std::fs::read_to_string(home.path().join("state/logs/hub.log")).unwrap();
    assert!(log.contains("sandbox.paused box is not in the audit record"), "{log}");
    database(&home).execute_batch("DROP TRIGGER full").unwrap();
    home.ok(&["approvals", "allow", &id]);
    assert_eq!(ended(asker), 0);
    let done = actions(&home);
    assert!(!done.iter().any(|it| it == "sandbox.paused"), "{done:?}");
    sound(&home);
}

#[test]
fn whoever_changes_the_record_on_disk_is_found_and_named() {
    let home = with_box();
    for _ in 0..3 {
        home.ok(&["pause", "box"]);
        home.ok(&["resume", "box"]);
    }
    let pin = home.ok(&["audit", "head"]);
    let pin = pin.trim();
    let seq: i64 = pin.split(':').next().unwrap().parse().unwrap();
    assert_eq!(seq, 8);
    let refused = database(&home).execute_batch("DELETE FROM audit").unwrap_err();
    assert!(refused.to_string().contains("only added to"), "{refused}");
    let tampering = [
        ("UPDATE audit SET actor = 'root' WHERE seq = 4", Some(4)),
        ("DELETE FROM audit WHERE seq = 4", Some(4)),
        ("DELETE FROM audit WHERE seq = 1", Some(1)),
        (
            "DELETE FROM audit WHERE seq = 4; UPDATE audit SET seq = seq - 1 WHERE seq = 5; \
             UPDATE audit SET seq = seq - 1 WHERE seq = 6; UPDATE audit SET seq = seq - 1 WHERE seq = 7; \
             UPDATE audit SET seq = seq - 1 WHERE seq = 8",
            Some(4),
        ),
        (
            "UPDATE audit SET seq = 100 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5; \
             UPDATE audit SET seq = 5 WHERE seq = 100",
            Some(4),
        ),
        (
            "INSERT INTO audit SELECT seq + 1, at, actor, action, subject, details, prev, hash FROM audit WHERE seq = 8",
            Some(9),
        ),
        (
            "INSERT INTO audit SELECT 0, at, actor, action, subject, details, prev, hash FROM audit WHERE seq = 8",
            Some(0),
        ),
        // Found by what was noted alone.
        ("DELETE FROM audit WHERE seq > 6", None),
        ("DELETE FROM audit", None),
    ];
    let open = database(&home);
    open.execute_batch("DROP TRIGGER audit_stays; DROP TRIGGER audit_is_whole; CREATE TABLE kept AS SELECT * FROM audit")
        .unwrap();
    for (text, bad) in tampering {
        open.execute_batch(text).unwrap();
        let plain = home.run(&["audit", "verify"]);
        let pinned = home.run(&["audit", "verify", "--head", pin]);
        match bad {
            Some(bad) => {
                plain.failed(1, &[&format!("entry {bad}:")]);
                pinned.failed(1, &[&format!("entry {bad}:")]);
                let said = home.run(&["audit", "verify", "--json"]);
                let json: Value = serde_json::from_str(&said.stdout).unwrap();
                assert_eq!(
                    (&json["sound"], &json["bad_seq"]),
                    (&false.into(), &bad.into()),
                    "{text}"
                );
            }
            None => {
                assert_eq!(plain.code, 0, "{text}");
                pinned.failed(1, &["entry 8:", "noted"]);
            }
        }
        // It can be listed all the same, and a hostile text does not get to a terminal's state.
        home.ok(&["audit", "ls"]);
        open.execute_batch("DELETE FROM audit; INSERT INTO audit SELECT * FROM kept").unwrap();
    }
    home.ok(&["audit", "verify", "--head", pin]);
    home.run(&["audit", "verify", "--head", &format!("3:{}", &pin[2..])]).failed(1, &["entry 3:"]);
    let nonsense = home.run(&["audit", "verify", "--head", "nonsense"]);
    assert!(nonsense.code == 2 && nonsense.stderr.contains("SEQ:HASH"), "{nonsense:?}");
}

/// The program in docs/audit.md.
fn python() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/audit.md")).unwrap();
    let (_, rest) = text.split_once("```python\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

fn by_python(file: &Path) -> Output {
    Command::new("python3").args(["-c", &python()]).arg(file).output().unwrap()
}

#[test]
fn an_export_is_verified_without_a_hub_and_without_this_program() {
    let home = with_box();
    let odd = "a\u{1b}[2J\u{202e}\u{7f}\"\\é日😀\u{e0041}";
    assert_eq!(ended(asking(&home, &["--subject", odd, "--timeout", "1s"])), 7);
    home.ok(&["exec", "box", "--", "/bin/echo", odd]);
    eventually("it expired", || last(&home, "ask.expired")["subject"] == odd);
    let file = home.workspace().join("record.jsonl");
    let name = file.to_str().unwrap();
    home.ok(&["audit", "export", name]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, home.ok(&["audit", "export"]));
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7f}', '\u{e0041}']), "{text}");
    let lines: Vec<Value> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(lines, record(&home));
    let pin = home.ok(&["audit", "head"]);
    let pin = pin.trim();
    home.ok(&["hub", "stop"]);
    let said = home.ok(&["audit", "verify", "--file", name, "--head", pin]);
    assert!(said.contains("sound") && said.contains(pin), "{said}");
    assert_eq!(home.json(&["audit", "verify", "--file", name, "--json"])["sound"], true);
    assert!(home.run(&["hub", "status"]).code == 6, "a hub was started for that");
    let ran = by_python(&file);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), pin);

    let line = |at: usize| text.lines().nth(at).unwrap().to_owned() + "\n";
    let changed = [
        text.replacen("box", "bax", 1),
        text.replacen("\"from\":\"sandbox\"", "\"from\":\"unix\"", 1),
        text.replace(&line(2), ""),
        text.replace(&line(2), &(line(2) + &line(2))),
        text.replace(&(line(1) + &line(2)), &(line(2) + &line(1))),
        text.lines().skip(1).map(|it| it.to_owned() + "\n").collect(),
        text[..text.len() - 9].to_owned(),
        text.replacen("\"seq\":3", "\"seq\":3,\"more\":1", 1),
    ];
    for (at, it) in changed.iter().enumerate() {
        assert_ne!(*it, text, "{at}");
        std::fs::write(&file, it).unwrap();
        home.run(&["audit", "verify", "--file", name]).failed(1, &["entry"]);
        assert!(!by_python(&file).status.success(), "{at}");
    }
    std::fs::write(&file, line(0) + &line(1)).unwrap();
    home.ok(&["audit", "verify", "--file", name]);
    home.run(&["audit", "verify", "--file", name, "--head", pin]).failed(1, &["noted"]);
    home.run(&["audit", "verify", "--file", "/nowhere"]).failed(1, &["/nowhere"]);
}
