//! What is decided at the way out without a person: it is in the audit record and counted of rules, also what came while no
//! hub was there; and rules for one directory count there.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};
use sandwatch::wire::kept;
use serde_json::{Value, json};

use crate::{
    beyond::{Beyond, ended},
    program::{Home, eventually},
};

const CURL: &str = "curl -sS -m 30";
const GREET: &str = "python3 -c 'import socket; s = socket.create_connection((\"files.example\", 2222)); print(s.recv(100))'";

/// Entries about what was decided there, oldest first.
fn ruled(home: &Home) -> Vec<Value> {
    let all = home.json(&["audit", "ls", "--json", "-n", "10000"]);
    let all = all.as_array().unwrap().iter();
    all.filter(|it| it["action"].as_str().unwrap().starts_with("egress.")).cloned().collect()
}

/// What they say of a place and program: action, actor, from, and how often.
fn of(home: &Home, place: &str, program: &str) -> Vec<(String, String, String, u64)> {
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let here = |it: &Value| {
        let of = it["details"]["program"].as_str().unwrap_or_default();
        it["subject"] == place && of.contains(program)
    };
    let all = ruled(home).into_iter().filter(here);
    all.map(|it| {
        let count = it["details"]["count"].as_u64().unwrap();
        (text(&it["action"]), text(&it["actor"]), text(&it["details"]["from"]), count)
    })
    .collect()
}

fn hits(home: &Home, id: &str) -> u64 {
    let all = home.json(&["policy", "show", "--json"]);
    let it = all.as_array().unwrap().iter().find(|it| it["id"] == id).cloned();
    it.unwrap()["hits"].as_u64().unwrap()
}

fn kill_hub(home: &Home) {
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn what_rules_decide_at_the_way_out_is_in_the_record_also_what_came_without_a_hub() {
    let Some(it) = Beyond::new() else { return };
    let policy = it.home.config().join("policy.toml");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    let rule = |id: &str, verdict: &str, host: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\nverdict = \"{verdict}\"\nhost = \"{host}\"\nwhy = \"so it is\"\n"
        )
    };
    let rules = rule("yes", "allow", "files.example:80") + &rule("no", "deny", "other.example");
    fs::write(&policy, rules).unwrap();
    it.start(&["--allow", "files.example:2222"]);
    let get = format!("{CURL} http://files.example/");
    for _ in 0..3 {
        assert_eq!(it.inside(&get).0, 0);
    }
    assert!(it.inside(&format!("{CURL} http://other.example/")).1.contains("rule no"));
    let entry = |action: &str, actor: &str, from: &str, count| {
        (action.to_owned(), actor.to_owned(), from.to_owned(), count)
    };
    let yes = |count| entry("egress.allowed", "policy: yes", "policy", count);
    let no = |count| entry("egress.denied", "policy: no", "policy", count);
    eventually("both are in the record", || {
        !of(&it.home, "files.example:80", "").is_empty()
            && of(&it.home, "other.example:80", "") == [no(1)]
    });
    let said = ruled(&it.home);
    let one = said.iter().find(|it| it["subject"] == "files.example:80").unwrap();
    let details = &one["details"];
    assert_eq!((&details["rules"], &details["sandbox"]), (&json!(["yes"]), &json!("box")));
    assert_eq!(details["why"], "rule yes: so it is");
    // Each program is another entry. One that is over before it was looked at is nobody's.
    let mut gets = 3;
    for (program, get) in
        [("/curl", get.as_str()), ("busybox", "busybox wget -q -O - http://files.example/")]
    {
        eventually(&format!("{program} is named"), || {
            assert_eq!(it.inside(get).0, 0);
            gets += 1;
            !of(&it.home, "files.example:80", program).is_empty()
        });
    }
    // No hub, and more goes out and does not.
    let later = format!(
        "until test -e go; do sleep 0.1; done; {CURL} http://other.example:81/; {GREET}; \
         {CURL} http://files.example/later"
    );
    it.home.ok(&["shell", "box", "-d", "--", "sh", "-c", &later]);
    it.inside("(sleep 1; touch go) >/dev/null 2>&1 &");
    kill_hub(&it.home);
    it.heard("web GET /later");
    // The next hub, which this starts.
    let allowed = [entry("egress.allowed", "sandwatch", "gate", 1)];
    eventually("the rest is in the record", || {
        of(&it.home, "other.example:81", "") == [no(1)]
            && of(&it.home, "files.example:2222", "") == allowed
    });
    // And one that is killed in between writes nothing twice.
    kill_hub(&it.home);
    assert_eq!(of(&it.home, "other.example:81", ""), [no(1)]);
    // What would be told later is told before it goes.
    it.home.ok(&["rm", "--yes", "box"]);
    let all = of(&it.home, "files.example:80", "");
    assert_eq!(all.iter().map(|it| it.3).sum::<u64>(), gets + 1, "{all:?}");
    assert!(all.iter().all(|it| *it == yes(it.3)), "{all:?}");
    assert_eq!((hits(&it.home, "yes"), hits(&it.home, "no")), (gets + 1, 2));
    it.home.ok(&["audit", "verify"]);
}

#[test]
fn what_a_shim_did_not_tell_before_it_was_killed_is_in_the_record_once() {
    let Some(it) = Beyond::new() else { return };
    it.start(&["--egress", "deny", "--allow", "files.example"]);
    let get = format!("{CURL} http://files.example/");
    assert_eq!(it.inside(&get).0, 0);
    eventually("the first is in the record", || !of(&it.home, "files.example:80", "").is_empty());
    // Which are told when ten minutes are over.
    let script = format!("for number in 1 2 3 4 5; do {get}; done; {CURL} http://other.example/");
    it.inside(&script);
    let places = fs::read_dir(it.home.path().join("state/sandboxes")).unwrap();
    let mut places = places.map(|it| it.unwrap().path());
    let dir = places.find(|it| it.join("spec").exists()).unwrap();
    let told = |place: &str| of(&it.home, place, "").iter().map(|it| it.3).sum::<u64>();
    let known = |place: &str| {
        let kept = kept::read(&dir).unwrap_or_default();
        let parts = kept.later.iter().chain([&kept.told]);
        let of_it = parts.flat_map(|it| &it.ruled).filter(|it| it.place == place);
        told(place) + of_it.map(|it| it.count).sum::<u64>()
    };
    eventually("the rest is left for a hub", || {
        known("files.example:80") >= 6 && known("other.example:80") >= 1
    });
    kill_process(shim_of(&dir), Signal::KILL).unwrap();
    eventually("all is in the record", || {
        (told("files.example:80"), told("other.example:80")) == (6, 1)
    });
    kill_hub(&it.home);
    it.home.ok(&["ls"]);
    assert_eq!((told("files.example:80"), told("other.example:80")), (6, 1));
    it.home.ok(&["rm", "--yes", "box"]);
    assert_eq!((told("files.example:80"), told("other.example:80")), (6, 1));
    it.home.ok(&["audit", "verify"]);
}

/// The shim that has this directory.
fn shim_of(dir: &Path) -> Pid {
    let all = fs::read_dir("/proc").unwrap();
    let mut all = all.filter_map(|it| it.ok()?.file_name().into_string().ok()?.parse::<i32>().ok());
    let found = all.find(|it| {
        let line = fs::read(format!("/proc/{it}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|it| *it == 0).collect();
        words.get(1..3) == Some(&[b"shim", dir.as_os_str().as_encoded_bytes()])
    });
    Pid::from_raw(found.unwrap()).unwrap()
}

#[test]
fn a_rule_for_a_directory_counts_at_the_way_out_and_what_it_let_out_ends_with_it() {
    let Some(it) = Beyond::new() else { return };
    it.start(&[]);
    let stays = "python3 -c 'import socket; s = socket.create_connection((\"files.example\", 2222)); \
                 s.recv(100); open(\"in\", \"w\").close(); print(s.recv(100))'";
    let held = it.begin(stays);
    it.answer("files.example:2222", &["allow", "--scope", "project", "--yes"]);
    eventually("it is through", || it.inside("test -e in").0 == 0);
    let why = it.flows()["flows"][0]["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("rule project:"), "{why}");
    // Others are let out by it without a person.
    let (code, said) = it.inside(GREET);
    assert!(code == 0 && said.contains("hello from beyond"), "{said}");
    let id = {
        let all = it.home.json(&["approvals", "ls", "--all", "--json"]);
        all[0]["id"].as_str().unwrap().to_owned()
    };
    it.home.ok(&["approvals", "revoke", &id]);
    let (_, said) = ended(held);
    assert!(said.contains("b''") || said.contains("reset"), "{said}");
    eventually("it is said why", || {
        it.flows().to_string().contains("cut: no rule lets it out any more")
    });
    // One that denies counts too, and is named as elsewhere.
    let workspace = it.home.workspace().canonicalize().unwrap();
    let words = ["policy", "add", "--verdict", "deny", "--host", "files.example", "--project"];
    it.home.ok(&[&words[..], &[workspace.to_str().unwrap()]].concat());
    let (_, said) = it.inside(&format!("{CURL} http://files.example/"));
    assert!(said.contains("out of reach") && said.contains("rule project:"), "{said}");
    assert_eq!(it.heard_of("web"), 0);
}

#[test]
fn a_connection_and_each_of_its_requests_count_for_the_rule_that_let_them_out_and_their_program_is_known()
 {
    let Some(it) = Beyond::new() else { return };
    let policy = it.home.config().join("policy.toml");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    let rule = |id: &str, verdict: &str, host: &str, more: &str| {
        format!("[[rule]]\nid = \"{id}\"\nverdict = \"{verdict}\"\nhost = \"{host}\"\n{more}\n")
    };
    let rules = rule("host", "allow", "other.example:80", "")
        + &rule("post", "deny", "other.example:80", "methods = [\"POST\"]")
        + &rule("get", "allow", "files.example:80", "methods = [\"GET\"]");
    fs::write(&policy, rules).unwrap();
    it.start(&[]);
    // Two requests in one connection, which a rule about all of the host let out.
    let get = |host: &str| format!("{CURL} http://{host}/one http://{host}/two");
    assert_eq!(it.inside(&get("other.example")).0, 0);
    assert_eq!(it.heard_of("other.example"), 2);
    // And requests that a rule about those lets out, one by one.
    let mut gets = 0;
    eventually("it is known who makes them", || {
        assert_eq!(it.inside(&get("files.example")).0, 0);
        gets += 2;
        !of(&it.home, "files.example:80", "/curl").is_empty()
    });
    it.home.ok(&["rm", "--yes", "box"]);
    let times = |place: &str| of(&it.home, place, "").iter().map(|it| it.3).sum::<u64>();
    assert_eq!((times("other.example:80"), times("files.example:80")), (1, gets));
    let hits = ["host", "get", "post"].map(|id| hits(&it.home, id));
    assert_eq!(hits, [1, gets, 0]);
}
