//! The hub is killed, again and again, and nothing is lost.

use std::{fs, os::unix::fs::PermissionsExt};

use sandwatch::{
    base::{
        id::{ClientId, SessionId},
        units::Size,
    },
    client::{Client, Options},
    runtime::{Identity, LeaseVerb, Runtime},
};
use serde_json::Value;

use crate::crash_support::{Home, alive, eventually, numbers};

/// Prints numbered lines until it is told to end, then its last number.
const COUNTS: &str = "i=0; until [ -e stop ]; do i=$((i+1)); echo n$i; sleep 0.02; done; \
                      echo end $i; exit CODE";
const KILLS: usize = 100;
const SANDBOXES: usize = 5;

fn watcher() -> Options {
    let client = ClientId::parse("watcher1").unwrap();
    Options::new(Identity { client, name: "a watcher".to_owned(), peer: None }, None)
}

/// What must be the same before and after: ids, pids, states, leases, ends.
fn essence(all: &Value) -> Vec<Value> {
    let of = |it: &Value| {
        let session = &it["sessions"][0];
        serde_json::json!([
            it["id"],
            it["name"],
            it["state"],
            session["id"],
            session["pid"],
            session["exit_code"],
            session["lease"],
        ])
    };
    all.as_array().unwrap().iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_of_the_hub_lose_no_session_and_no_line() {
    let it = Home::new();
    let names: Vec<String> = (0..SANDBOXES).map(|at| format!("count-{at}")).collect();
    for (at, name) in names.iter().enumerate() {
        it.run(name, &COUNTS.replace("CODE", &format!("{}", 10 + at)));
    }
    it.run("over", "echo gone by; exit 9");
    it.run("held", "cat");
    it.ok(&["wait", "over", "--for", "exit", "--timeout", "20s"]);
    eventually("it has stopped", || {
        let all = it.json(&["ls", "--all", "--json"]);
        all.as_array().unwrap().iter().any(|it| it["name"] == "over" && it["state"] == "stopped")
    });
    let held = it.session("held")["id"].as_str().unwrap().to_owned();
    let client = Client::connect(&it.socket(), watcher()).await.unwrap();
    client.lease(&SessionId::parse(&held).unwrap(), LeaseVerb::Take).await.unwrap();
    let seen = it.temp().join("seen");
    let mut watching = it.begin_long(&["attach", "count-0"], &seen);
    let before = essence(&it.json(&["ls", "--all", "--json"]));
    assert_eq!(before.len(), SANDBOXES + 2);
    let verbs: [&[&str]; 4] = [
        &["ls", "--json"],
        &["screen", "count-1"],
        &["hub", "start"],
        &["wait", "count-2", "--for", "text=n1"],
    ];
    let mut hubs = Vec::new();
    for round in 0..KILLS {
        hubs.push(it.kill_hub());
        it.ok(verbs[round % verbs.len()]);
        assert_eq!(essence(&it.json(&["ls", "--all", "--json"])), before, "after kill {round}");
    }
    hubs.dedup();
    assert_eq!(hubs.len(), KILLS, "each time another hub");
    fs::write(it.project().join("stop"), "").unwrap();
    for (at, name) in names.iter().enumerate() {
        it.ok(&["wait", name, "--for", "exit", "--timeout", "20s"]);
        assert_eq!(it.session(name)["exit_code"], 10 + at);
        let text = it.recorded(name);
        let found = numbers(&text);
        assert!(found.len() > KILLS, "{name} went on: {found:?}");
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "{name}");
        assert!(text.contains(&format!("end {}\r\n", found.len())), "{name}: {text}");
        let screen = it.ok(&["screen", name]);
        let shown = numbers(&screen);
        let rows = usize::from(Size::DEFAULT.rows()) - 2;
        assert_eq!(shown, found[found.len() - rows.min(found.len())..], "{name}");
        assert!(screen.contains(&format!("end {}", found.len())), "{screen}");
        assert_eq!(it.session(name)["journal_lost_bytes"], 0);
    }
    eventually("the watcher ends", || watching.try_wait().unwrap().is_some());
    let mut words = String::new();
    std::io::Read::read_to_string(&mut watching.stderr.take().unwrap(), &mut words).unwrap();
    assert_eq!(watching.wait().unwrap().code(), Some(10), "with the program's code: {words}");
    assert_eq!(
        fs::read_to_string(&seen).unwrap(),
        it.recorded("count-0"),
        "not a byte more or less"
    );
    assert_eq!(it.session("over")["exit_code"], 9);
    assert!(it.recorded("over").contains("gone by"));
    drop(client);
    it.end();
}

#[test]
fn what_happens_while_the_hub_is_dead_is_known_to_the_next() {
    let it = Home::new();
    let wait = "until [ -e go ]; do sleep 0.02; done";
    it.run("prints", &format!("{wait}; seq -f n%g 1 3000; touch did-print; cat"));
    it.run("ends", &format!("{wait}; echo last words; touch did-end; exit 5"));
    let pid = u32::try_from(it.session("ends")["pid"].as_u64().unwrap()).unwrap();
    it.kill_hub();
    fs::write(it.project().join("go"), "").unwrap();
    eventually("both are done", || {
        ["did-print", "did-end"].iter().all(|name| it.project().join(name).exists())
    });
    eventually("the program has ended", || !alive(pid));
    assert!(it.say(&["hub", "status"]).code == 6, "no verb so far has started a hub");
    it.ok(&["wait", "ends", "--for", "exit", "--timeout", "20s"]);
    it.printed("prints", "n3000");
    assert_eq!(numbers(&it.recorded("prints")), (1..=3000).collect::<Vec<_>>());
    let ended = it.session("ends");
    assert_eq!((&ended["exit_code"], &ended["status"]), (&5.into(), &"exited".into()));
    assert!(it.ok(&["screen", "ends"]).contains("last words"));
    assert!(it.recorded("ends").contains("last words"));
    assert_eq!(it.say(&["attach", "ends"]).code, 5);
    it.end();
}

#[test]
fn programs_that_end_while_the_hub_is_dead_stop_or_remove_their_sandbox() {
    let it = Home::new();
    let wait = "until [ -e go ]; do sleep 0.02; done";
    let project = format!("{}:rw", it.project().display());
    for (name, more) in [("leaves", &["--rm"][..]), ("stays", &[])] {
        let words = ["run", "-d", "--name", name, "--workspace", &project, "--egress", "deny"];
        it.ok(&[&words[..], more, &["--", "bash", "-c", wait]].concat());
    }
    let pids = ["leaves", "stays"].map(|name| it.session(name)["pid"].as_u64().unwrap());
    let shim = it.shim_of("leaves");
    it.kill_hub();
    fs::write(it.project().join("go"), "").unwrap();
    eventually("both have ended", || !pids.iter().any(|pid| alive(u32::try_from(*pid).unwrap())));
    let shown = || it.json(&["ls", "--all", "--json"]);
    let named = |all: &Value, name: &str| {
        all.as_array().unwrap().iter().find(|it| it["name"] == name).cloned()
    };
    eventually("the one is removed", || named(&shown(), "leaves").is_none());
    eventually("its shim has ended", || !alive(shim));
    eventually("the other has stopped", || {
        named(&shown(), "stays").is_some_and(|it| it["state"] == "stopped")
    });
    it.end();
}

#[test]
fn a_verb_that_waits_goes_on_with_the_next_hub() {
    let it = Home::new();
    it.run("slow", "until [ -e go ]; do sleep 0.02; done; echo it is done; exit 3");
    let out = it.temp().join("out");
    let mut waits = [
        it.begin(&["wait", "slow", "--for", "exit"], &out),
        it.begin(&["wait", "slow", "--for", "text=it is done"], &out),
        it.begin(&["wait", "slow", "--for", "exit", "--timeout", "20s"], &out),
    ];
    eventually("all three wait", || it.processes().len() >= 2 + 3);
    for _ in 0..3 {
        it.kill_hub();
        it.ok(&["ls"]);
    }
    fs::write(it.project().join("go"), "").unwrap();
    for wait in &mut waits {
        eventually("the wait ends", || wait.try_wait().unwrap().is_some());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut wait.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(wait.wait().unwrap().code(), Some(0), "{said}");
    }
    it.end();
}

#[test]
fn twenty_verbs_at_once_on_a_fresh_home_make_one_hub() {
    let it = Home::new();
    let out = it.temp().join("out");
    let mut verbs: Vec<_> = (0..20).map(|_| it.begin(&["ls"], &out)).collect();
    for verb in &mut verbs {
        eventually("the verb ends", || verb.try_wait().unwrap().is_some());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut verb.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(verb.wait().unwrap().code(), Some(0), "{said}");
    }
    eventually("the losers have ended", || it.processes().len() == 1);
    assert_eq!(it.processes().into_iter().collect::<Vec<_>>(), [it.hub_pid()]);
    it.end();
}

#[test]
fn a_removal_that_was_cut_short_is_finished_by_the_next_hub() {
    let it = Home::new();
    it.ok(&["hub", "start"]);
    it.kill_hub();
    let trash = it.state().join("sandboxes/.trash");
    let deep = trash.join("of-an-earlier-one/upper/usr/work");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("large"), vec![b'x'; 1 << 16]).unwrap();
    // As an overlay leaves it.
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o000)).unwrap();
    it.ok(&["ls"]);
    eventually("nothing is left of it", || !trash.exists());
    assert_eq!(fs::read_dir(it.state().join("sandboxes")).unwrap().count(), 0);
    it.end();
}
