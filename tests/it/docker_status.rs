//! What is said of the sessions of a container, on a real engine: the same words as of a local one.

use serde_json::Value;

use crate::{
    docker_stage::{Docked, Engine, can},
    program::eventually,
};

fn explained(docked: &Docked, name: &str) -> Value {
    serde_json::from_str(&docked.ok(&["explain", name, "--json"])).unwrap()
}

/// Waits until it is said to be so, and why.
fn becomes(docked: &Docked, name: &str, status: &str, why: &str) -> Value {
    let mut told = Value::Null;
    eventually(&format!("{name} is {status}: {why}"), || {
        told = explained(docked, name);
        told["status"] == status && told["status_why"].as_str().is_some_and(|it| it.contains(why))
    });
    told
}

#[test]
fn a_session_of_a_container_is_said_to_do_what_it_does() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    let start = |name: &str, command: &[&str]| {
        let run = ["run", "-d", "--driver", "docker", "--egress", "deny", "--name", name, "--"];
        docked.ok(&[&run[..], command].concat());
    };
    start("shell", &["sh"]);
    start("asks", &["sh", "-c", "echo name; read it; exit 3"]);
    start("sleeps", &["sleep", "1000"]);
    start("busy", &["sh", "-c", "while :; do :; done"]);
    start("held", &["sleep", "1000"]);
    docked.ok(&["exec", "held", "--", "sh", "-c", "kill -STOP $(pidof sleep)"]);

    let told = becomes(&docked, "shell", "idle", "sh waits at its prompt");
    assert_eq!(told["evidence"][0]["source"], "runtime", "{told}");
    let all = told["processes"].as_array().unwrap();
    assert_eq!((all.len(), &all[0]["state"]), (1, &"terminal".into()), "{told}");
    assert_eq!(all[0]["pid"], docked.sandbox("shell")["sessions"][0]["pid"], "{told}");
    becomes(&docked, "asks", "waiting", "sh waits for a line");
    becomes(&docked, "sleeps", "idle", "sleep sleeps until a time it set");
    becomes(&docked, "busy", "working", "sh runs on a processor");
    let told = becomes(&docked, "held", "stuck", "a signal holds sleep still");
    assert_eq!(told["causes"][0]["cause"], "stopped", "{told}");

    // A program that the shell runs has the terminal instead of it.
    docked.ok(&["send", "shell", "sleep 1000", "<Enter>"]);
    let told = becomes(&docked, "shell", "idle", "sleep sleeps until a time it set");
    assert_eq!(told["processes"].as_array().unwrap().len(), 2, "{told}");
    docked.ok(&["exec", "held", "--", "sh", "-c", "kill -CONT $(pidof sleep)"]);
    becomes(&docked, "held", "idle", "sleep sleeps until a time it set");
    docked.ok(&["send", "asks", "me", "<Enter>"]);
    becomes(&docked, "asks", "exited", "it returned 3");

    // What it calls is seen from here, too.
    let calls = docked.ok(&["explain", "busy", "--syscalls", "--for", "1s", "--json"]);
    let last: Value = serde_json::from_str(calls.lines().last().unwrap()).unwrap();
    assert!(last["made"].is_u64() && last["over"].is_null(), "{calls}");
    let calls = docked.ok(&["explain", "sleeps", "--syscalls", "--for", "1s"]);
    // Also of what it was in before somebody looked.
    assert!(calls.contains("nanosleep("), "{calls}");
}
