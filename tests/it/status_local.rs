//! What sessions are said to do, on real programs in real sandboxes: the word, what it stands on, and that no claim of a
//! program's own is believed over a fact.

use std::fs;

use serde_json::Value;

use crate::{
    program::{Home, eventually},
    skip::not_to_be_had,
};

const PYTHON: &str = "/usr/bin/python3";
/// Two threads that wait for one another for good.
const DEAD: &str = r"
import threading, time
one, other = threading.Lock(), threading.Lock()
def take(first, then):
    with first:
        time.sleep(0.2)
        with then: pass
threads = [threading.Thread(target=take, args=it) for it in ((one, other), (other, one))]
[it.start() for it in threads]
[it.join() for it in threads]
";
/// Says in every way there is that it works, and waits for a line.
const SAYS_IT_WORKS: &str = r#"
import sys
sys.stdout.write("\x1b]7501;state=working\x1b\\\x1b]2;\u2807 hard at work\x07\x1b]9;4;1;40\x07"); sys.stdout.flush()
input("name: ")
"#;
/// Says that it is done, and computes.
const SAYS_IT_IS_DONE: &str = r#"
import sys
sys.stdout.write("\x1b]7501;state=done\x1b\\"); sys.stdout.flush()
while True: pass
"#;
const EATS: &str = "
all = []
while True: all.append(bytearray(8 << 20))
";

fn start(home: &Home, name: &str, options: &[&str], command: &[&str]) {
    let mut args = vec!["run", "-d", "--name", name];
    args.extend(options);
    args.push("--");
    args.extend(command);
    home.ok(&args);
}

fn explain(home: &Home, name: &str) -> Value {
    home.json(&["explain", name, "--json"])
}

/// Waits until it is said to be so, and gives what that stands on.
fn becomes(home: &Home, name: &str, status: &str) -> Value {
    let mut told = Value::Null;
    eventually(&format!("{name} is {status}"), || {
        told = explain(home, name);
        told["status"] == status
    });
    told
}

/// The one piece of evidence that decided.
fn decided(told: &Value) -> &Value {
    let all = told["evidence"].as_array().unwrap();
    let mut decide = all.iter().filter(|it| it["counts"] == "decides");
    let one = decide.next().unwrap_or_else(|| panic!("{told}"));
    assert_eq!(decide.next(), None, "{told}");
    assert_eq!((&one["says"], &one["words"]), (&told["status"], &told["status_why"]), "{told}");
    one
}

fn causes(told: &Value) -> Vec<&str> {
    told["causes"].as_array().unwrap().iter().map(|it| it["cause"].as_str().unwrap()).collect()
}

fn has_python() -> bool {
    let has = fs::exists(PYTHON).unwrap();
    if !has {
        not_to_be_had("there is no python3 in /usr/bin");
    }
    has
}

#[test]
fn a_status_is_what_a_program_does_and_not_what_it_says() {
    if !has_python() {
        return;
    }
    let home = Home::new();
    start(&home, "shell", &[], &["/bin/bash"]);
    start(&home, "question", &[], &["/bin/bash", "-c", "read -p 'Name? ' name"]);
    start(&home, "dead", &[], &[PYTHON, "-c", DEAD]);
    start(&home, "busy", &[], &["/bin/sh", "-c", "while :; do :; done"]);
    start(&home, "sleeps", &[], &["/bin/sleep", "1000"]);
    start(&home, "ended", &[], &["/bin/sh", "-c", "exit 3"]);
    start(&home, "claims", &[], &[PYTHON, "-c", SAYS_IT_WORKS]);
    start(&home, "denies", &[], &[PYTHON, "-c", SAYS_IT_IS_DONE]);
    start(&home, "held", &[], &["/bin/sleep", "1000"]);
    home.ok(&["pause", "held"]);

    let told = becomes(&home, "shell", "idle");
    assert_eq!(decided(&told)["words"], "bash waits at its prompt");
    assert_eq!(told["processes"][0]["state"], "terminal", "{told}");

    let told = becomes(&home, "question", "waiting");
    assert_eq!(decided(&told)["words"], "bash waits for a line to be typed");

    let told = becomes(&home, "busy", "working");
    assert_eq!(decided(&told)["source"], "runtime");

    let told = becomes(&home, "sleeps", "idle");
    assert_eq!((&decided(&told)["source"], causes(&told)), (&"process".into(), vec![]));

    let told = becomes(&home, "ended", "exited");
    assert_eq!(decided(&told)["words"], "it returned 3");

    let told = becomes(&home, "claims", "waiting");
    assert_eq!(decided(&told)["source"], "runtime");
    let claims: Vec<&Value> = told["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["says"] == "working" && it["source"] != "output")
        .collect();
    assert!(claims.len() >= 2, "{told}");
    assert!(
        claims.iter().all(|it| it["counts"] != "decides" && it["counts"] != "agrees"),
        "{told}"
    );

    let told = becomes(&home, "denies", "working");
    assert_eq!(decided(&told)["source"], "runtime");
    let claim = told["evidence"].as_array().unwrap().iter().find(|it| it["source"] == "program");
    assert_eq!(claim.unwrap()["counts"], "outranked", "{told}");

    let told = explain(&home, "held");
    assert_eq!((&told["status"], causes(&told)), (&"idle".into(), vec!["paused"]), "{told}");
    assert!(told["offers"].as_array().unwrap().contains(&"resume".into()), "{told}");

    let told = becomes(&home, "dead", "stuck");
    assert_eq!((&decided(&told)["source"], causes(&told)), (&"runtime".into(), vec!["deadlock"]));
    assert!(told["status_why"].as_str().unwrap().contains("waits for locks"), "{told}");
    assert_eq!(told["processes"][0]["state"], "lock");
    assert!(told["readings_apart_ms"].as_u64().unwrap() >= 500, "{told}");
    for offer in ["peek", "interrupt", "snapshot", "shell"] {
        assert!(told["offers"].as_array().unwrap().contains(&offer.into()), "{told}");
    }
    // It is only said: nothing was done about it.
    assert_eq!(explain(&home, "dead")["status"], "stuck");
    // What is typed at it comes back from its terminal, and moves nothing of it.
    home.ok(&["send", "dead", "typed at it"]);
    home.ok(&["wait", "dead", "--for", "text=typed at it"]);
    let typed = explain(&home, "dead");
    assert_eq!((&typed["status"], causes(&typed)), (&"stuck".into(), vec!["deadlock"]), "{typed}");
    let for_people = home.ok(&["explain", "dead"]);
    for words in ["dead: stuck", "runtime", "futex", "sandwatch send dead '<C-c>'"] {
        assert!(for_people.contains(words), "{words}: {for_people}");
    }
    let listed = home.json(&["ls", "dead", "--json"]);
    let session = &listed[0]["sessions"][0];
    assert_eq!(
        (&session["status"], &session["status_why"]),
        (&"stuck".into(), &told["status_why"])
    );
    assert!(session["status_since"].is_string(), "{session}");

    // What is typed makes it go on, and the word goes on with it.
    home.ok(&["send", "question", "me", "<Enter>"]);
    becomes(&home, "question", "exited");
    home.ok(&["send", "shell", "sleep 1000", "<Enter>"]);
    let told = becomes(&home, "shell", "idle");
    let is_asleep =
        |told: &Value| told["status_why"].as_str().is_some_and(|it| it.starts_with("sleep"));
    let mut last = told;
    eventually("the shell waits for what it started", || {
        last = explain(&home, "shell");
        is_asleep(&last)
    });
    assert_eq!(decided(&last)["source"], "process");
}

#[test]
fn who_stands_where_no_room_is_left_is_said_to_and_goes_on_when_there_is_some() {
    let home = Home::new();
    let fills =
        "mkfifo /tmp/go; head -c 400M /dev/zero > /dev/shm/all; read go < /tmp/go; sleep 1000";
    start(&home, "full", &[], &["/bin/sh", "-c", fills]);
    let told = becomes(&home, "full", "stuck");
    assert_eq!((&decided(&told)["source"], causes(&told)), (&"process".into(), vec!["disk full"]));
    let why = told["status_why"].as_str().unwrap();
    assert_eq!(why, "the disk of /dev/shm is full: 0 B of 256 M free", "{told}");
    assert!(told["offers"].as_array().unwrap().contains(&"shell".into()), "{told}");
    // Who sleeps goes on by itself: that there is no room is said all the same, and decides nothing.
    home.ok(&["exec", "full", "--", "/bin/sh", "-c", "echo go > /tmp/go"]);
    let is_asleep =
        |told: &Value| told["status_why"].as_str().is_some_and(|it| it.starts_with("sleep"));
    let mut last = told;
    eventually("it sleeps, and there is no room", || {
        last = explain(&home, "full");
        is_asleep(&last) && causes(&last) == ["disk full"]
    });
    assert_eq!(last["status"], "idle", "{last}");
    home.ok(&["exec", "full", "--", "/bin/sh", "-c", "truncate -s 0 /dev/shm/all"]);
    eventually("there is room again", || {
        last = explain(&home, "full");
        causes(&last).is_empty()
    });
    assert_eq!(last["status"], "idle", "{last}");
}

#[test]
fn who_ran_out_of_memory_is_said_to_have() {
    if !has_python() {
        return;
    }
    let home = Home::new();
    let checks = home.json(&["doctor", "--json"]);
    let limits = |it: &Value| it["check"] == "limits.memory" && it["status"] == "ok";
    if !checks.as_array().unwrap().iter().any(limits) {
        return not_to_be_had("memory can't be limited here");
    }
    start(&home, "eats", &["--memory", "200M"], &[PYTHON, "-c", EATS]);
    becomes(&home, "eats", "exited");
    let told = explain(&home, "eats");
    assert_eq!(told["status_why"], "signal 9 ended it: its sandbox ran out of memory", "{told}");
}

#[test]
fn who_is_held_at_an_ask_waits_for_the_answer() {
    let home = Home::new();
    let command = "/run/sandwatch/sandwatch ask --kind exec --subject 'make it so'";
    start(&home, "asks", &[], &["/bin/sh", "-c", command]);
    let told = becomes(&home, "asks", "waiting");
    let it = decided(&told);
    assert_eq!((&it["source"], &it["cause"]), (&"runtime".into(), &"ask".into()), "{told}");
    assert!(it["words"].as_str().unwrap().contains("make it so"), "{told}");
    assert_eq!(told["offers"][0], "answer", "{told}");
    let id = home.json(&["approvals", "ls", "--json"])[0]["id"].as_str().unwrap().to_owned();
    home.ok(&["approvals", "allow", &id]);
    becomes(&home, "asks", "exited");
}

/// A session in which an agent's hook is run with each of these, and which then sleeps.
fn hooked(home: &Home, name: &str, events: &[&str]) {
    let runs =
        events.iter().map(|it| format!("echo '{it}' | /run/sandwatch/sandwatch hook claude; "));
    let command = format!("{}sleep 1000", runs.collect::<String>());
    start(home, name, &[], &["/bin/sh", "-c", &command]);
}

#[test]
fn what_an_agents_hook_tells_counts_before_what_is_guessed() {
    let home = Home::new();
    let begins = r#"{"hook_event_name":"UserPromptSubmit"}"#;
    let done =
        r#"{"hook_event_name":"PostToolUse","tool_name":"Bash","tool_input":{"command":"make"}}"#;
    let other =
        r#"{"hook_event_name":"PostToolUse","tool_name":"Bash","tool_input":{"command":"ls"}}"#;
    hooked(&home, "works", &[begins, done]);
    hooked(&home, "over", &[begins, done, r#"{"hook_event_name":"Stop"}"#]);
    let asks = r#"{"hook_event_name":"Notification","notification_type":"permission_prompt","message":"May I?"}"#;
    hooked(&home, "asks", &[begins, asks]);
    hooked(&home, "circles", &[begins, other, done, done, done, done, done]);

    let told = becomes(&home, "works", "working");
    assert_eq!(decided(&told)["words"], "claude goes on: Bash is done");
    let told = becomes(&home, "over", "idle");
    let is_hook = |told: &Value| decided(told)["source"] == "hook";
    let mut last = told;
    eventually("its hook said that its turn is over", || {
        last = explain(&home, "over");
        last["status"] == "idle" && is_hook(&last)
    });
    assert_eq!(last["status_why"], "claude has ended its turn");
    let told = becomes(&home, "asks", "waiting");
    assert!(is_hook(&told) && told["status_why"].as_str().unwrap().ends_with(": May I?"), "{told}");
    // Who typed has answered it, as far as can be told from here.
    home.ok(&["send", "asks", "y"]);
    eventually("it waits no more by its hook", || {
        let told = explain(&home, "asks");
        told["status"] != "waiting" && !told["evidence"].to_string().contains("May I?")
    });
    let told = becomes(&home, "circles", "stuck");
    assert_eq!((causes(&told), is_hook(&told)), (vec!["repeats"], true), "{told}");
    assert!(told["status_why"].as_str().unwrap().contains("5 times in a row"), "{told}");
}

#[test]
fn rules_about_screens_are_read_and_can_be_the_operators_own() {
    let home = Home::new();
    let dir = home.config().join("status");
    fs::create_dir_all(&dir).unwrap();
    let rule = "version = 1\nprograms = [\"sleep\"]\n[[rule]]\nsays = \"waiting\"\nmatch = 'Shall I'\nwords = \"it asks in its way\"\n";
    fs::write(dir.join("mine.toml"), rule).unwrap();
    start(&home, "own", &[], &["/bin/sh", "-c", "printf 'Shall I? '; exec sleep 1000"]);
    start(&home, "known", &[], &["/bin/sh", "-c", "printf 'Go on? [y/N] '; exec sleep 1000"]);
    let told = becomes(&home, "own", "waiting");
    let it = decided(&told);
    assert_eq!(
        (&it["source"], &it["words"]),
        (&"screen".into(), &"it asks in its way (rule mine)".into())
    );
    let told = becomes(&home, "known", "waiting");
    assert!(told["status_why"].as_str().unwrap().contains("a yes or a no"), "{told}");
    // A flaw costs the operator's own, not those that are built in, and is told with its place.
    fs::write(dir.join("mine.toml"), rule.replace("says", "sais")).unwrap();
    start(&home, "flawed", &[], &["/bin/sh", "-c", "printf 'Go on? [y/N] '; exec sleep 1000"]);
    becomes(&home, "flawed", "waiting");
    let listed = home.json(&["ls", "flawed", "--json"]);
    assert!(listed[0]["notes"].to_string().contains("mine.toml:4:1"), "{listed}");
}

#[test]
fn of_one_that_nobody_knows_absent_is_said() {
    let home = Home::new();
    home.run(&["explain", "nobody"]).failed(3, &["no such session: nobody"]);
}
