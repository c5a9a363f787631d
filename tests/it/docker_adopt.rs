//! Containers that sandwatch did not make, on a real engine: listed, taken over, and left as they were.

use serde_json::Value;

use crate::docker_stage::{Docked, Engine, IMAGE, can};

/// A container of the operator's; it ends with this.
struct Own<'a> {
    engine: &'a Engine,
    name: String,
}

impl<'a> Own<'a> {
    fn run(engine: &'a Engine, name: &str, line: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        engine.said(&["run", "-d", "--network", "none", "--name", &name, IMAGE, "sh", "-c", line]);
        Self { engine, name }
    }

    fn state(&self) -> String {
        self.engine.said(&["inspect", "-f", "{{.State.Status}}", &self.name])
    }

    /// What an operator sees of it.
    fn whole(&self) -> Value {
        let seen: Value =
            serde_json::from_str(&self.engine.said(&["inspect", &self.name])).unwrap();
        serde_json::json!([seen[0]["Config"], seen[0]["HostConfig"], seen[0]["State"]["StartedAt"]])
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        drop(self.engine.docker(&["rm", "-f", "-v", &self.name]));
    }
}

fn listed(docked: &Docked) -> Vec<Value> {
    serde_json::from_str(&docked.ok(&["ls", "--foreign", "--json"])).unwrap()
}

#[test]
fn a_container_of_the_operators_is_taken_over_and_stays_when_it_is_let_go_of() {
    if !can() {
        return;
    }
    let engine = Engine::shared();
    let docked = Docked::new(engine);
    let own = Own::run(engine, "My_web", "echo own > /own; exec sleep 1000");
    docked.start("made", &[], "sleep 1000");
    let all = listed(&docked);
    let found = all.iter().find(|it| it["name"] == own.name.as_str()).unwrap();
    assert_eq!((&found["driver"], &found["state"]), (&"docker".into(), &"running".into()));
    assert_eq!(found["image"], IMAGE);
    assert!(found["created_at"].as_str().unwrap().ends_with('Z'), "{found}");
    assert!(!all.iter().any(|it| it["name"].as_str().unwrap().contains("made")), "{all:?}");
    let table = docked.ok(&["ls", "--foreign"]);
    assert!(table.contains(&own.name) && table.contains("IMAGE"), "{table}");

    let was = own.whole();
    let name = own.name.to_lowercase().replace('_', "-");
    let id = found["id"].as_str().unwrap();
    assert_eq!(docked.ok(&["adopt", &id[..20]]), format!("{name}\n"));
    let seen = docked.sandbox(&name);
    assert_eq!((&seen["state"], &seen["driver"]), (&"running".into(), &"docker".into()));
    assert_eq!(seen["sessions"], serde_json::json!([]));
    let notes = seen["notes"].to_string();
    assert!(notes.contains("adopted: it was not made by sandwatch, and stays"), "{notes}");
    for (word, can) in [("pty", true), ("exec", true), ("pause", true), ("reattach", true)] {
        assert_eq!(seen["capabilities"][word], can, "{word}");
    }
    for word in ["stop", "snapshot", "workspace_diff", "workspace_apply", "workspace_cow"] {
        assert_eq!(seen["capabilities"][word], false, "{word}");
    }
    let ran = docked.run(&["exec", &name, "--", "sh", "-c", "cat /own; echo oops >&2; exit 3"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (3, "own\n", "oops\n"));
    docked.ok(&[
        "shell",
        "-d",
        &name,
        "--",
        "sh",
        "-c",
        "echo up; read it; echo got $it; exec sleep 4321",
    ]);
    docked.ok(&["wait", &name, "--for", "text=up", "--timeout", "20s"]);

    // It goes on without a hub, and is known to the next.
    docked.ok(&["hub", "stop"]);
    docked.ok(&["send", &name, "this", "<Enter>"]);
    docked.ok(&["wait", &name, "--for", "text=got this", "--timeout", "20s"]);

    docked.ok(&["pause", &name]);
    assert_eq!(
        (docked.sandbox(&name)["state"].clone(), own.state()),
        ("paused".into(), "paused".into())
    );
    docked.ok(&["resume", &name]);
    assert_eq!(own.state(), "running");
    let stop = format!("docker stop {}", &id[..12]);
    let words = ["it was adopted, and what runs in", &stop, "sandwatch rm", "lets go of it"];
    docked.run(&["stop", &name]).failed(5, &words);
    assert_eq!(own.state(), "running");
    docked.run(&["snapshot", "create", &name]).failed(5, &[&name]);
    let diff = docked.run(&["diff", &name]);
    assert_ne!(diff.code, 0, "{diff:?}");
    // What it changed of its image can be told: nothing in it is touched by that.
    let system = docked.ok(&["diff", &name, "--system"]);
    assert!(system.contains("+++ b/own\n") && system.contains("+own\n"), "{system}");
    // When what runs in it has ended, nothing of it is.
    docked.ok(&["exec", &name, "--", "true"]);
    assert_eq!(own.state(), "running");

    docked.ok(&["rm", "--yes", &name]);
    assert_eq!(own.state(), "running");
    assert_eq!(own.whole(), was);
    let left = engine.said(&["exec", &own.name, "sh", "-c", "ps; cat /own"]);
    assert!(left.contains("own") && !left.contains("4321"), "what was started is ended: {left}");
    assert!(listed(&docked).iter().any(|it| it["name"] == own.name.as_str()));
    docked.ok(&["rm", "--yes", "made"]);
}

#[test]
fn what_can_not_be_taken_over_is_refused_and_leaves_nothing() {
    if !can() {
        return;
    }
    let engine = Engine::shared();
    let docked = Docked::new(engine);
    let own = Own::run(engine, "over", "true");
    engine.said(&["wait", &own.name]);
    docked.run(&["adopt", &own.name]).failed(2, &["does not run", "docker start"]);
    docked.run(&["adopt", "no-such"]).failed(3, &["no-such", "ls --foreign"]);
    docked.run(&["adopt", ""]).failed(3, &["ls --foreign"]);
    docked.start("made", &[], "sleep 1000");
    let made = engine.containers("made");
    docked.run(&["adopt", &made[0]]).failed(3, &["ls --foreign"]);
    docked.ok(&["rm", "--yes", "made"]);
    assert_eq!(docked.ok(&["ls", "--all", "--json"]).trim(), "[]");
    let nowhere = Docked::at("unix:///no/such/socket".to_owned());
    nowhere.run(&["ls", "--foreign"]).failed(6, &["docker engine"]);
}

#[test]
fn a_container_is_adopted_once_until_it_is_let_go_of() {
    if !can() {
        return;
    }
    let engine = Engine::shared();
    let docked = Docked::new(engine);
    let own = Own::run(engine, "once", "exec sleep 1000");
    // Of two at the same time, one.
    let both = std::thread::scope(|scope| {
        let (docked, own) = (&docked, &own);
        let one = move |name| docked.run(&["adopt", &own.name, "--name", name]);
        let (first, second) =
            (scope.spawn(move || one("first")), scope.spawn(move || one("second")));
        [("first", first.join().unwrap()), ("second", second.join().unwrap())]
    });
    let held: Vec<_> = both.iter().filter(|it| it.1.code == 0).map(|it| it.0).collect();
    let [held] = held[..] else { panic!("{both:?}") };
    for (name, ran) in both.iter().filter(|it| it.1.code != 0) {
        ran.failed(1, &["is adopted already, as sandbox", &format!("sandwatch rm {held}")]);
        docked.run(&["rm", "--yes", name]).failed(3, &[]);
    }
    docked.run(&["adopt", &own.name]).failed(1, &[&format!("as sandbox {held}")]);
    docked.ok(&["exec", held, "--", "true"]);
    docked.ok(&["rm", "--yes", held]);
    docked.ok(&["adopt", &own.name, "--name", "again"]);
    docked.ok(&["rm", "--yes", "again"]);
    assert_eq!(own.state(), "running");
}

#[test]
fn a_container_that_ends_and_a_session_that_ends_are_told_apart() {
    if !can() {
        return;
    }
    let engine = Engine::shared();
    let docked = Docked::new(engine);
    let own = Own::run(engine, "ends", "exec sleep 1000");
    docked.ok(&["adopt", &own.name, "--name", "held"]);
    docked.ok(&["shell", "-d", "held", "--", "true"]);
    docked.ok(&["wait", "held", "--for", "exit", "--timeout", "20s"]);
    docked.ok(&["exec", "held", "--", "true"]);
    assert_eq!(
        (docked.sandbox("held")["state"].clone(), own.state()),
        ("running".into(), "running".into())
    );
    engine.said(&["kill", &own.name]);
    docked.comes_to("held", "failed");
    let notes = docked.notes("held");
    assert!(notes.contains("its container ended with code 137"), "{notes}");
    docked.ok(&["rm", "--yes", "held"]);
    assert_eq!(own.state(), "exited");
    // One that is paused is taken over as it is.
    engine.said(&["start", &own.name]);
    engine.said(&["pause", &own.name]);
    docked.ok(&["adopt", &own.name, "--name", "held"]);
    assert_eq!(docked.sandbox("held")["state"], "paused");
    docked.ok(&["resume", "held"]);
    docked.ok(&["rm", "--yes", "held"]);
    assert_eq!(own.state(), "running");
    // One that somebody takes away.
    docked.ok(&["adopt", &own.name, "--name", "held"]);
    engine.said(&["rm", "-f", &own.name]);
    docked.comes_to("held", "failed");
    docked.ok(&["rm", "--yes", "held"]);
}

#[test]
fn an_engine_that_goes_away_is_told_and_letting_go_needs_none() {
    if !can() {
        return;
    }
    let mut engine = Engine::new();
    let docked = Docked::new(&engine);
    engine.said(&["run", "-d", "--network", "none", "--name", "far", IMAGE, "sleep", "1000"]);
    docked.ok(&["adopt", "far"]);
    engine.crash();
    docked.run(&["exec", "far", "--", "true"]).failed(6, &["docker engine"]);
    docked.run(&["ls", "--foreign"]).failed(6, &["docker engine"]);
    docked.comes_to("far", "unknown");
    assert!(docked.notes("far").contains("docker engine"), "{}", docked.notes("far"));
    docked.ok(&["rm", "--yes", "far"]);
    assert_eq!(docked.ok(&["ls", "--all", "--json"]).trim(), "[]");
    engine.start();
}
