//! Sandboxes of a gateway through the real binary: what there is, what becomes of it, and what goes wrong on the way.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    gateway_stage::{Faults, GatewayHome, Kind, Running, serve, serve_again},
    given::eventually,
};

fn listed(home: &GatewayHome) -> Vec<serde_json::Value> {
    let ran = home.run(&["ls", "--all", "--json"]);
    // Where it can't be told there is nothing to be seen.
    if ran.code == 0 { serde_json::from_str(&ran.stdout).unwrap() } else { Vec::new() }
}

fn named(home: &GatewayHome, name: &str) -> Option<serde_json::Value> {
    listed(home).into_iter().find(|it| it["name"] == name)
}

fn is(home: &GatewayHome, name: &str, key: &str, value: &str) -> bool {
    named(home, name).is_some_and(|it| it[key] == value)
}

fn notes(home: &GatewayHome, name: &str) -> String {
    named(home, name).map(|it| it["notes"].to_string()).unwrap_or_default()
}

#[test]
fn what_a_gateway_has_is_listed_and_what_comes_and_goes_there_does_so_here() {
    let running = serve(Kind::default());
    let gateway = &running.gateway;
    let one = gateway.make("One_Agent");
    gateway.make_in("stopped", "default", 7);
    gateway.make_in("strange", "default", 42);
    let home = running.home();
    let it = named(&home, "one-agent").unwrap();
    assert_eq!(
        (it["driver"].as_str(), it["state"].as_str(), it["raw_state"].as_str()),
        (Some("openshell"), Some("running"), Some("ready"))
    );
    assert_eq!(it["labels"]["team"], "a");
    assert_eq!(it["context"], Running::CONTEXT);
    assert_eq!(
        (it["capabilities"]["pause"].as_bool(), it["capabilities"]["start"].as_bool()),
        (Some(false), Some(true))
    );
    assert!(is(&home, "stopped", "state", "stopped"));
    assert!(
        is(&home, "strange", "raw_state", "phase 42") && is(&home, "strange", "state", "unknown")
    );
    gateway.make("late");
    eventually("a new one is listed", || named(&home, "late").is_some());
    gateway.lose(&one);
    eventually("one that is gone is not", || named(&home, "one-agent").is_none());
    // One that a list lacks is looked up before it counts as gone.
    gateway.set(Faults {
        leaves_out: Some("late".to_owned()),
        reorders: true,
        ..Faults::default()
    });
    let before = gateway.calls_of("ListSandboxes").len();
    eventually("it was listed again", || gateway.calls_of("ListSandboxes").len() > before + 1);
    assert!(named(&home, "late").is_some());
}

#[test]
fn more_than_a_page_and_names_that_are_given_twice_are_all_there() {
    let running = serve(Kind::default());
    for number in 0..230 {
        running.gateway.make_in(&format!("agent-{number}"), "default", 7);
    }
    running.gateway.make_in("agent-7", "Team B", 7);
    let home = running.home();
    let all: BTreeSet<String> =
        listed(&home).iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(all.len(), 231);
    assert!(all.contains("agent-7") && all.contains("agent-229"));
    assert!(all.contains("agent-7-default") || all.contains("agent-7-team-b"), "{all:?}");
}

#[test]
fn stop_start_and_rm_are_bound_to_the_sandbox_that_was_shown() {
    let running = serve(Kind::default());
    let gateway = &running.gateway;
    let id = gateway.make("one");
    let home = running.home();
    home.ok(&["stop", "one"]);
    assert!(is(&home, "one", "raw_state", "stopped"));
    assert_eq!(gateway.calls_of("StopSandbox"), [format!("StopSandbox {id}")]);
    home.ok(&["resume", "one"]);
    eventually("it runs again", || is(&home, "one", "raw_state", "ready"));
    home.run(&["pause", "one"]).failed(5, &["can't be paused", "openshell"]);
    home.run(&["snapshot", "create", "one"]).failed(5, &["snapshot"]);
    // Another of that name by now, of which nobody here has heard: it is not what is meant.
    gateway.set(Faults { denied: ["ListSandboxes"].into(), ..Faults::default() });
    gateway.lose(&id);
    let other = gateway.make("one");
    let stopped = home.run(&["stop", "one"]);
    let removed = home.run(&["rm", "--yes", "one"]);
    assert!(gateway.calls_of(&format!("StopSandbox {other}")).is_empty(), "{stopped:?}");
    assert!(gateway.calls_of(&format!("DeleteSandbox {other}")).is_empty(), "{removed:?}");
    gateway.set(Faults::default());
    eventually("the other is here", || is(&home, "one", "raw_state", "ready"));
    home.ok(&["rm", "--yes", "one"]);
    assert_eq!(gateway.calls_of("DeleteSandbox"), [format!("DeleteSandbox {other}")]);
    assert!(named(&home, "one").is_none());
    let audited = home.ok(&["audit", "ls", "--json"]);
    assert!(
        audited.contains("sandbox.stopped") && audited.contains("sandbox.removed"),
        "{audited}"
    );
}

#[test]
fn a_refusal_says_why_and_changes_nothing() {
    let running = serve(Kind::default());
    running.gateway.make("one");
    let home = running.home();
    listed(&home);
    let denied = ["StopSandbox", "DeleteSandbox"].into();
    running.gateway.set(Faults { denied, ..Faults::default() });
    let stopped = home.run(&["stop", "one"]);
    stopped.failed(4, &["role", "viewer"]);
    assert!(!stopped.stderr.contains('\u{1b}'), "{stopped:?}");
    home.run(&["rm", "--yes", "one"]).failed(4, &["role"]);
    assert!(is(&home, "one", "state", "running"));
}

#[test]
fn a_gateway_that_stalls_or_is_away_is_said_and_comes_back_by_itself() {
    let running = serve(Kind::default());
    running.gateway.make("one");
    let home = running.home();
    assert!(is(&home, "one", "state", "running"));
    let (at, state) = (running.at, running.gateway.state.clone());
    running.gateway.set(Faults { stalls: true, ..Faults::default() });
    eventually("that it stalls is seen", || is(&home, "one", "state", "unknown"));
    assert!(notes(&home, "one").contains("did not answer within"), "{}", notes(&home, "one"));
    // What is asked of it fails with words, and the hub answers all the while.
    home.run(&["exec", "one", "--", "true"]).failed(6, &["unknown"]);
    running.gateway.set(Faults::default());
    drop(running);
    eventually("that it is away is seen", || notes(&home, "one").contains("reached"));
    let away = home.run(&["rm", "--yes", "one"]);
    assert_ne!(away.code, 0, "{away:?}");
    let again = serve_again(Kind { at: Some(at), ..Kind::default() }, state);
    eventually("it is back", || is(&home, "one", "state", "running"));
    assert!(!notes(&home, "one").contains("reached"));
    // Another hub knows them from before, and whether they are still there from the gateway.
    home.ok(&["hub", "stop"]);
    again.gateway.make("two");
    assert!(is(&home, "one", "state", "running") && named(&home, "two").is_some());
    home.ok(&["hub", "stop"]);
    drop(again);
    assert!(is(&home, "one", "state", "unknown"), "{:?}", listed(&home));
}

#[test]
fn the_log_goes_on_where_it_was_however_often_its_stream_ends() {
    let running = serve(Kind::default());
    let gateway = &running.gateway;
    let id = gateway.make("one");
    for number in 0..300 {
        gateway.say(&id, 1_700_000_000_000 + number / 3, &format!("line {number}."));
    }
    let home = running.home();
    gateway.set(Faults { hangs_up_after: Some(40), repeats: true, ..Faults::default() });
    home.ok(&["wait", "one/2", "--for", "text=line 299\\.", "--timeout", "60s"]);
    gateway.set(Faults { hangs_up_after: Some(3000), repeats: true, ..Faults::default() });
    for number in 300..320 {
        gateway.say(&id, 1_700_000_001_000, &format!("line {number}."));
    }
    home.ok(&["wait", "one/2", "--for", "text=line 319\\.", "--timeout", "60s"]);
    assert!(gateway.calls_of("WatchSandbox").iter().all(|it| !it.contains("tail=0 ")));
    home.ok(&["stop", "one"]);
    let printed = home.ok(&["attach", "one/2"]);
    let seen = |number: usize| printed.matches(&format!("line {number}.")).count();
    for number in 100..320 {
        assert_eq!(seen(number), 1, "line {number}: {printed}");
    }
    assert!(printed.contains("\u{241b}[2Jmind"), "{printed}");
}

#[test]
fn doctor_says_who_the_gateway_is_and_who_we_are_to_it() {
    let running = serve(Kind { token: Some("s3cret".to_owned()), ..Kind::default() });
    running.gateway.make("one");
    let home = running.home();
    let refused = home.json(&["doctor", "--json"]).to_string();
    assert!(refused.contains("does not know you") && refused.contains("token"), "{refused}");
    // Nobody takes that for an empty list.
    home.run(&["ls"]).failed(4, &["does not know you"]);
    home.ok(&["hub", "stop"]);
    let home = running.home_over(false, &[("token", "s3cret\n")]);
    assert!(named(&home, "one").is_some());
    let greeted = home.json(&["doctor", "--json"]).to_string();
    assert!(greeted.contains("you are alice (admin)") && greeted.contains("0.0.111"), "{greeted}");
    // It is told nobody else.
    let logs = home.path().join("state/gateways/lab/logs");
    for file in std::fs::read_dir(logs).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn a_gateway_on_another_machine_is_not_spoken_to_in_the_clear() {
    let home = GatewayHome::of(crate::program::Home::new());
    home.ok(&["context", "add", "far", "openshell+http://192.0.2.1:17670", "--use"]);
    home.run(&["ls"]).failed(1, &["without TLS"]);
}

#[test]
fn its_hub_ends_with_its_context() {
    let running = serve(Kind::default());
    running.gateway.make("one");
    let home = running.home();
    listed(&home);
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_u64().unwrap() as u32;
    home.ok(&["context", "rm", Running::CONTEXT, "--yes"]);
    eventually("its hub is gone", || !crate::given::alive(pid));
    assert!(running.gateway.lock().sandboxes.len() == 1);
}

#[test]
fn a_slow_gateway_makes_nobody_wait_for_what_is_known() {
    let running = serve(Kind::default());
    running.gateway.make("one");
    let home = running.home();
    listed(&home);
    running.gateway.set(Faults { delay: Duration::from_secs(3600), ..Faults::default() });
    let calls = running.gateway.lock().calls.len();
    eventually("it was asked again", || running.gateway.lock().calls.len() > calls);
    // Known all the while, from the hub.
    assert!(named(&home, "one").is_some());
}

#[test]
fn a_verb_that_waits_gives_way_to_the_end_of_its_sandbox_and_holds_up_no_other() {
    let running = serve(Kind::default());
    let gateway = &running.gateway;
    gateway.make("one");
    let id = gateway.make("three");
    let home = running.home();
    listed(&home);
    gateway.set(Faults { never_done: true, ..Faults::default() });
    let mut stopping = home.command(&["stop", "three", "--grace", "5m"]);
    let mut stopping = stopping.stderr(std::process::Stdio::null()).spawn().unwrap();
    eventually("it is being stopped", || !gateway.calls_of("StopSandbox").is_empty());
    gateway.lose(&id);
    gateway.make("four");
    eventually("the new one is listed", || named(&home, "four").is_some());
    eventually("the other is not", || named(&home, "three").is_none());
    assert!(!stopping.wait().unwrap().success());
}

#[test]
fn what_was_removed_does_not_come_back_while_its_gateway_is_at_it() {
    let running = serve(Kind::default());
    let gateway = &running.gateway;
    gateway.make("one");
    let id = gateway.make("two");
    let home = running.home();
    listed(&home);
    gateway.set(Faults { never_done: true, ..Faults::default() });
    home.ok(&["rm", "--yes", "two"]);
    gateway.make("three");
    eventually("another one is listed", || named(&home, "three").is_some());
    assert!(named(&home, "two").is_none());
    gateway.lose(&id);
    gateway.make("four");
    eventually("and one more", || named(&home, "four").is_some());
    let audited = home.ok(&["audit", "ls", "--json"]);
    assert_eq!(audited.matches("sandbox.removed").count(), 1, "{audited}");
}

#[test]
fn one_that_could_not_be_taken_up_is_taken_up_as_soon_as_that_can_be() {
    let running = serve(Kind::default());
    let gateway = &running.gateway;
    gateway.make("one");
    let home = running.home();
    listed(&home);
    let registry = home.path().join("state/gateways/lab/registry.db");
    let registry = rusqlite::Connection::open(registry).unwrap();
    registry.execute_batch("BEGIN IMMEDIATE").unwrap();
    gateway.make("two");
    // The list that has it first, and the next one, which is asked for once that could not be taken up.
    let asked = gateway.calls_of("ListSandboxes").len();
    eventually("it is asked again", || gateway.calls_of("ListSandboxes").len() > asked + 1);
    registry.execute_batch("ROLLBACK").unwrap();
    eventually("it is listed", || named(&home, "two").is_some());
}
