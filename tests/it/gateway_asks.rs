//! Drafts of a gateway's rules as asks: shown whole, answered as they were shown, one at a time.

use serde_json::Value;

use crate::{
    gateway_stage::{Faults, GatewayHome, Kind, Running, serve, serve_again},
    given::eventually,
};

fn stage() -> (Running, String, GatewayHome) {
    let running = serve(Kind::default());
    let id = running.gateway.make("one");
    let home = running.home();
    home.ok(&["ls"]);
    (running, id, home)
}

fn waiting(home: &GatewayHome) -> Vec<Value> {
    serde_json::from_value(home.json(&["approvals", "ls", "--json"])).unwrap()
}

fn ask(home: &GatewayHome, subject: &str) -> Value {
    let mut found = None;
    eventually(&format!("{subject} is asked"), || {
        found = waiting(home).into_iter().find(|it| it["subject"] == subject);
        found.is_some()
    });
    found.unwrap()
}

fn id(ask: &Value) -> &str {
    ask["id"].as_str().unwrap()
}

#[test]
fn a_draft_is_asked_shown_whole_and_approved_with_its_own_token() {
    let (running, sandbox, home) = stage();
    let gateway = &running.gateway;
    gateway.draft(&sandbox, "c1", "api.example", "t1");
    gateway.draft(&sandbox, "c2", "other.example", "t2");
    gateway.change(&sandbox, |it| {
        let rule = it.chunks[0].proposed_rule.as_mut().unwrap();
        rule.endpoints[0].allow_uninspected_credentials = true;
        rule.endpoints[0].allowed_ips = vec!["10.1.2.0/24".to_owned()];
    });
    let mut shown = String::new();
    eventually("all of it is shown", || {
        let ask = ask(&home, "api.example:443");
        shown = home.ok(&["approvals", "show", id(&ask)]);
        shown.contains("10.1.2.0/24")
    });
    for words in [
        "allow_api.example",
        "/usr/bin/curl",
        "10.1.2.0/24",
        "nobody looks into",
        "the agent needs it",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let asked = ask(&home, "api.example:443");
    assert_eq!(asked["kind"], "network");
    home.ok(&["approvals", "allow", id(&asked)]);
    assert_eq!(gateway.calls_of("ApproveDraftChunk"), ["ApproveDraftChunk c1 t1"]);
    // Until the sandbox has it, that is said.
    let notes = || home.json(&["ls", "--json"])[0]["notes"].to_string();
    eventually("it is said to be under way", || notes().contains("not in force yet: api.example"));
    gateway
        .change(&sandbox, |it| it.told.status.get_or_insert_default().current_policy_version = 9);
    eventually("it is in force", || !notes().contains("not in force yet"));
    let left: Vec<String> =
        waiting(&home).iter().map(|it| it["subject"].as_str().unwrap().to_owned()).collect();
    assert_eq!(left, ["other.example:443"]);
    let audited = home.ok(&["audit", "ls", "--json"]);
    assert!(audited.contains("api.example:443") && audited.contains("ask.allowed"), "{audited}");
}

#[test]
fn a_rejection_carries_its_reason() {
    let (running, sandbox, home) = stage();
    running.gateway.draft(&sandbox, "c1", "api.example", "t1");
    let asked = ask(&home, "api.example:443");
    home.ok(&["approvals", "deny", id(&asked), "--message", "use the mirror"]);
    assert_eq!(
        running.gateway.calls_of("RejectDraftChunk"),
        ["RejectDraftChunk c1 \"use the mirror\""]
    );
    eventually("nothing waits", || waiting(&home).is_empty());
}

#[test]
fn what_changed_since_it_was_shown_is_asked_again_and_not_approved() {
    let (running, sandbox, home) = stage();
    let gateway = &running.gateway;
    gateway.draft(&sandbox, "c1", "api.example", "t1");
    let asked = ask(&home, "api.example:443");
    // The same draft, and another token: another policy lies under it.
    gateway.draft(&sandbox, "c1", "api.example", "t2");
    eventually("it is another ask", || {
        waiting(&home)
            .iter()
            .any(|it| it["subject"] == "api.example:443" && it["id"] != asked["id"])
    });
    let old = home.run(&["approvals", "allow", id(&asked)]);
    assert_ne!(old.code, 0, "{old:?}");
    assert!(gateway.calls_of("ApproveDraftChunk").is_empty());
    // It changes behind our back: the gateway says so, and it is asked once more.
    gateway.set(Faults { stale: 1, ..Faults::default() });
    let asked = ask(&home, "api.example:443");
    home.run(&["approvals", "allow", id(&asked)]).failed(1, &["the policy changed meanwhile"]);
    eventually("it is asked anew", || {
        waiting(&home)
            .iter()
            .any(|it| it["subject"] == "api.example:443" && it["id"] != asked["id"])
    });
    let told = home.json(&["approvals", "show", id(&asked), "--json"]);
    assert_eq!(told["state"], "withdrawn", "{told}");
    let again = ask(&home, "api.example:443");
    home.ok(&["approvals", "allow", id(&again)]);
    assert_eq!(gateway.chunk(&sandbox, "c1").status, "approved");
}

#[test]
fn a_role_that_may_not_approve_is_told_so_and_nothing_is_allowed() {
    let (running, sandbox, home) = stage();
    running.gateway.draft(&sandbox, "c1", "api.example", "t1");
    let asked = ask(&home, "api.example:443");
    running.gateway.set(Faults { denied: ["ApproveDraftChunk"].into(), ..Faults::default() });
    home.run(&["approvals", "allow", id(&asked)]).failed(4, &["role"]);
    running.gateway.set(Faults::default());
    let again = ask(&home, "api.example:443");
    assert_ne!(again["id"], asked["id"]);
    home.run(&["approvals", "allow", id(&again), "--scope", "1h"]).failed(5, &["for an hour"]);
    assert_eq!(running.gateway.chunk(&sandbox, "c1").status, "pending");
}

#[test]
fn what_was_allowed_for_the_sandbox_is_taken_back_there() {
    let (running, sandbox, home) = stage();
    let gateway = &running.gateway;
    gateway.draft(&sandbox, "c1", "api.example", "t1");
    let asked = ask(&home, "api.example:443");
    home.ok(&["approvals", "allow", id(&asked), "--scope", "session"]);
    home.ok(&["approvals", "revoke", id(&asked)]);
    assert_eq!(gateway.calls_of("UndoDraftChunk"), ["UndoDraftChunk c1"]);
    let again = ask(&home, "api.example:443");
    assert_ne!(again["id"], asked["id"]);
    assert_eq!(gateway.calls_of("ApproveDraftChunk").len(), 1);
}

#[test]
fn what_is_too_large_to_be_shown_can_be_denied_and_not_allowed() {
    let (running, sandbox, home) = stage();
    let gateway = &running.gateway;
    gateway.draft(&sandbox, "c1", "api.example", "t1");
    gateway.change(&sandbox, |it| {
        let rule = it.chunks[0].proposed_rule.as_mut().unwrap();
        rule.endpoints[0].allowed_ips = (0..5000).map(|it| format!("10.0.{it}")).collect();
    });
    let mut asked = Value::Null;
    eventually("it says that it is not all", || {
        asked = ask(&home, "api.example:443");
        asked.to_string().contains("more in it than can be shown")
    });
    home.run(&["approvals", "allow", id(&asked)]).failed(5, &["can't be allowed"]);
    assert!(gateway.calls_of("ApproveDraftChunk").is_empty());
    let again = ask(&home, "api.example:443");
    home.ok(&["approvals", "deny", id(&again)]);
    assert_eq!(gateway.chunk(&sandbox, "c1").status, "rejected");
}

#[test]
fn more_drafts_than_anybody_reads_come_one_after_the_other() {
    let (running, sandbox, home) = stage();
    let gateway = &running.gateway;
    for number in 0..40 {
        gateway.draft(&sandbox, &format!("c{number:02}"), &format!("h{number:02}.example"), "t");
    }
    eventually("some are shown, and that there are more", || {
        let notes = home.json(&["ls", "--json"])[0]["notes"].to_string();
        waiting(&home).len() == 16 && notes.contains("24 drafts more at the gateway")
    });
    for it in waiting(&home) {
        home.ok(&["approvals", "deny", id(&it)]);
    }
    eventually("the next ones are shown", || waiting(&home).len() == 16);
}

#[test]
fn no_answer_of_before_is_given_by_the_next_hub() {
    let (running, sandbox, home) = stage();
    let gateway = &running.gateway;
    gateway.draft(&sandbox, "c1", "api.example", "t1");
    let asked = ask(&home, "api.example:443");
    home.ok(&["approvals", "allow", id(&asked)]);
    gateway.change(&sandbox, |it| it.chunks[0].status = "pending".to_owned());
    home.ok(&["hub", "stop"]);
    home.ok(&["ls"]);
    let again = ask(&home, "api.example:443");
    assert_ne!(again["id"], asked["id"]);
    assert_eq!(gateway.calls_of("ApproveDraftChunk").len(), 1);
}

#[test]
fn what_the_gateway_did_not_take_back_is_in_force_still_and_said_to_be() {
    let (running, sandbox, home) = stage();
    let gateway = &running.gateway;
    gateway.draft(&sandbox, "c1", "api.example", "t1");
    let asked = ask(&home, "api.example:443");
    let revoke = ["approvals", "revoke", id(&asked)];
    home.ok(&["approvals", "allow", id(&asked), "--scope", "session"]);
    let stands = || home.ok(&["approvals", "standing"]).contains("api.example");
    gateway.set(Faults { denied: ["GetDraftPolicy"].into(), ..Faults::default() });
    home.run(&revoke).failed(4, &["in force still", "role"]);
    assert!(stands());
    gateway.set(Faults::default());
    let (at, state) = (running.at, gateway.state.clone());
    home.ok(&["hub", "stop"]);
    drop(running);
    // The next hub knows of it, and can't reach the gateway.
    home.run(&revoke).failed(1, &["in force still", "unknown"]);
    assert!(stands());
    let again = serve_again(Kind { at: Some(at), ..Kind::default() }, state);
    eventually("it is taken back", || home.run(&revoke).code == 0);
    assert_eq!(again.gateway.calls_of("UndoDraftChunk"), ["UndoDraftChunk c1"]);
    assert!(!stands());
    let audited = home.ok(&["audit", "ls", "--json"]);
    assert_eq!(audited.matches("ask.revoked").count(), 1, "{audited}");
}

#[test]
fn no_answer_reaches_another_sandbox_that_has_its_name_by_now() {
    let (running, sandbox, home) = stage();
    let gateway = &running.gateway;
    let draft_all = |sandbox: &str| {
        for (chunk, host) in [("c1", "one.example"), ("c2", "two.example"), ("c3", "three.example")]
        {
            gateway.draft(sandbox, chunk, host, "t");
        }
    };
    draft_all(&sandbox);
    let asks = ["one.example:443", "two.example:443", "three.example:443"];
    let [one, two, three] = asks.map(|it| ask(&home, it));
    home.ok(&["approvals", "allow", id(&three), "--scope", "session"]);
    // Nobody here has heard of it.
    gateway.set(Faults { denied: ["ListSandboxes"].into(), ..Faults::default() });
    gateway.lose(&sandbox);
    let other = gateway.make("one");
    draft_all(&other);
    gateway.change(&other, |it| it.chunks[2].status = "approved".to_owned());
    for (verb, ask) in [("allow", one), ("deny", two), ("revoke", three)] {
        home.run(&["approvals", verb, id(&ask)]).failed(3, &["another one has its name"]);
    }
    assert_eq!(gateway.calls_of("ApproveDraftChunk").len(), 1);
    for call in ["RejectDraftChunk", "UndoDraftChunk"] {
        assert_eq!(gateway.calls_of(call), Vec::<String>::new());
    }
}

#[test]
fn a_draft_alike_is_asked_whatever_was_allowed_and_all_alike_are_taken_back() {
    let (running, sandbox, home) = stage();
    let gateway = &running.gateway;
    gateway.draft(&sandbox, "c1", "api.example", "t1");
    let first = ask(&home, "api.example:443");
    home.ok(&["approvals", "allow", id(&first), "--scope", "session"]);
    home.ok(&["hub", "stop"]);
    gateway.draft(&sandbox, "c2", "api.example", "t2");
    let second = ask(&home, "api.example:443");
    assert_eq!(gateway.calls_of("ApproveDraftChunk"), ["ApproveDraftChunk c1 t1"]);
    home.ok(&["approvals", "allow", id(&second), "--scope", "session"]);
    home.ok(&["approvals", "revoke", id(&second)]);
    assert_eq!(gateway.calls_of("UndoDraftChunk"), ["UndoDraftChunk c1", "UndoDraftChunk c2"]);
}

#[test]
fn an_answer_that_was_refused_is_left_to_people_and_not_given_again_and_again() {
    let (running, sandbox, home) = stage();
    let gateway = &running.gateway;
    gateway.set(Faults { denied: ["RejectDraftChunk"].into(), ..Faults::default() });
    home.ok(&["policy", "add", "--verdict", "deny", "--host", "api.example"]);
    gateway.draft(&sandbox, "c1", "api.example", "t1");
    ask(&home, "api.example:443");
    let fetched = gateway.calls_of("GetDraftPolicy").len();
    eventually("they are fetched again", || {
        gateway.change(&sandbox, |_| {});
        gateway.calls_of("GetDraftPolicy").len() > fetched + 2
    });
    assert_eq!(gateway.calls_of("RejectDraftChunk").len(), 1);
    gateway.set(Faults::default());
    home.ok(&["approvals", "deny", id(&ask(&home, "api.example:443"))]);
    assert_eq!(gateway.chunk(&sandbox, "c1").status, "rejected");
}
