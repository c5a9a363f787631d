//! Sandboxes of the driver `docker` on a real engine, through the real program: the operator's verbs, what is
//! kept apart, and what other hands and a crash do to them.

use std::{fs, os::unix::fs::MetadataExt, process::Stdio};

use serde_json::Value;

use crate::{
    docker_stage::{AGENT_IMAGE, AGENT_UID, Docked, Engine, can},
    program::{alive, eventually},
};

/// The shape of a document: its keys and the kinds of what they name.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, it)| (key.clone(), shape(it)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(all) => Value::Array(all.iter().take(1).map(shape).collect()),
        // Known or not is no difference in shape.
        _ => Value::Null,
    }
}

#[test]
fn the_verbs_of_an_operator_do_the_same_as_on_a_local_sandbox() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    let mut shapes = Vec::new();
    for driver in ["docker", "local"] {
        let line = "echo ready; read it; echo got $it; exec sh";
        let run = ["run", "-d", "--driver", driver, "--egress", "deny", "--name", driver];
        assert_eq!(
            docked.ok(&[&run[..], &["--", "sh", "-c", line]].concat()),
            format!("{driver}\n")
        );
        docked.ok(&["wait", driver, "--for", "text=ready", "--timeout", "20s"]);
        docked.ok(&["send", driver, "this", "<Enter>"]);
        docked.ok(&["wait", driver, "--for", "text=got this", "--timeout", "20s"]);
        let screen: Value =
            serde_json::from_str(&docked.ok(&["screen", driver, "--json"])).unwrap();
        let ran =
            docked.run(&["exec", driver, "--", "sh", "-c", "echo out; echo oops >&2; exit 4"]);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (4, "out\n", "oops\n"));
        assert_eq!(docked.ok(&["shell", "-d", driver, "--", "sh"]), format!("{driver}/2\n"));
        // Each says of itself what it does otherwise.
        let without_notes = |mut it: Value| {
            it["notes"] = Value::Null;
            it
        };
        let listed = without_notes(docked.sandbox(driver));
        docked.ok(&["pause", driver]);
        assert_eq!(docked.sandbox(driver)["state"], "paused");
        docked.ok(&["resume", driver]);
        assert_eq!(docked.sandbox(driver)["state"], "running");
        docked.ok(&["stop", driver, "--grace", "0s"]);
        let stopped = without_notes(docked.sandbox(driver));
        assert_eq!(stopped["state"], "stopped");
        let found = docked.ok(&["screen", driver]);
        assert!(found.contains("got this"), "{found}");
        shapes.push([shape(&screen), shape(&listed), shape(&stopped)]);
        docked.ok(&["rm", "--yes", driver]);
    }
    assert_eq!(shapes[0], shapes[1]);
    assert_eq!(Engine::shared().containers("docker"), Vec::<String>::new());
}

#[test]
fn a_container_has_no_more_than_it_needs() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    let more = ["--cpus", "0.5", "--memory", "64M", "--pids", "50", "--label", "team=a"];
    docked.start("bare", &more, "sleep 1000");
    let ids = Engine::shared().containers("bare");
    assert_eq!(ids.len(), 1);
    let seen = Engine::shared().said(&["inspect", &ids[0]]);
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let host = &seen[0]["HostConfig"];
    assert_eq!(host["NetworkMode"], "none");
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
    assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges"]));
    assert_eq!((&host["CgroupnsMode"], &host["IpcMode"]), (&"private".into(), &"private".into()));
    assert_eq!((&host["Memory"], &host["NanoCpus"]), (&(64 << 20).into(), &500_000_000.into()));
    assert_eq!(host["PidsLimit"], 51);
    assert_eq!(seen[0]["Config"]["Labels"]["team"], "a");
    let inside = docked.ok(&[
        "exec", "bare", "--", "sh", "-c",
        "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; ls /sys/class/net; (sleep 0.05 &) ; sleep 0.2; ps",
    ]);
    assert!(inside.contains("CapEff:\t0000000000000000"), "{inside}");
    assert!(inside.contains("CapBnd:\t0000000000000000"), "{inside}");
    assert!(inside.contains("NoNewPrivs:\t1"), "{inside}");
    assert!(inside.contains("\nlo\n") && !inside.contains("eth0"), "{inside}");
    assert!(
        inside.contains("/.sandwatch-init") && !inside.contains('Z'),
        "an orphan stays: {inside}"
    );
}

#[test]
fn a_workspace_comes_in_as_it_was_asked_for() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    let workspace = docked.home.workspace();
    fs::write(workspace.join("file"), "real").unwrap();
    std::os::unix::fs::symlink("file", workspace.join("link")).unwrap();
    std::os::unix::fs::chown(&workspace, Some(AGENT_UID), Some(AGENT_UID)).unwrap();
    std::os::unix::fs::chown(workspace.join("file"), Some(AGENT_UID), Some(AGENT_UID)).unwrap();
    let text = |name: &str| fs::read_to_string(workspace.join(name)).unwrap_or_default();
    let line = "pwd; cat file; readlink link; echo new > file; id -u; echo $?; exec sleep 1000";
    let cases = [
        (".:cow", "real", "0\n", "real"),
        (".:ro", "real", "1234\n", "real"),
        (".:rw", "real", "1234\n", "new\n"),
    ];
    for (at, (mode, read, user, after)) in cases.into_iter().enumerate() {
        let name = format!("work{at}");
        docked.start(&name, &["--workspace", mode], line);
        docked.ok(&["wait", &name, "--for", "text=\\n0", "--timeout", "20s"]);
        let screen = docked.ok(&["screen", &name]);
        for word in [workspace.to_str().unwrap(), read, "file", user] {
            assert!(screen.contains(word), "{mode}: no {word} in {screen}");
        }
        assert_eq!(text("file"), after, "{mode}");
        assert_eq!(docked.notes(&name).contains("is a copy"), mode == ".:cow");
    }
    // What a mounted one makes is its owner's, as everything in it.
    docked.ok(&["exec", "work2", "--", "sh", "-c", "touch made; echo $HOME; touch ~/own"]);
    assert_eq!(fs::metadata(workspace.join("made")).unwrap().uid(), AGENT_UID);
    // A copy is the programs' own, whoever they are.
    docked.start(
        "agent",
        &["--image", AGENT_IMAGE],
        "touch made; stat -c %U file; exec sleep 1000",
    );
    docked.ok(&["wait", "agent", "--for", "text=agent", "--timeout", "20s"]);
    docked.start("none", &["--workspace", ".:none"], "pwd; exec sleep 1000");
    docked.ok(&["wait", "none", "--for", "text=/", "--timeout", "20s"]);
    let there = workspace.display().to_string();
    assert_ne!(docked.run(&["exec", "none", "--", "ls", &there]).code, 0);
    for refused in
        [["--workspace", "/:rw"], ["--workspace", "/etc:ro"], ["--workspace", "/var/run:rw"]]
    {
        let args = ["run", "-d", "--driver", "docker", refused[0], refused[1], "--", "sh"];
        let ran = docked.run(&args);
        assert!(ran.code != 0 && ran.stderr.contains("workspace"), "{ran:?}");
    }
}

#[test]
fn what_is_not_there_is_said_with_the_way_to_get_it() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    let run = |more: &[&str]| {
        docked.run(&[&["run", "-d", "--driver", "docker"], more, &["--", "sh"]].concat())
    };
    run(&["--image", "no-such:1"]).failed(3, &["no-such:1", "docker pull no-such:1"]);
    run(&["--isolation", "landlock"]).failed(5, &["landlock", "oci"]);
    run(&["--isolation", "gvisor"]).failed(5, &["runsc"]);
    let ran = docked.run(&["run", "--driver", "local", "--image", "x", "--", "sh"]);
    ran.failed(3, &["no image at this path: x", "docker save"]);
    assert_eq!(docked.ok(&["ls", "--all", "--json"]).trim(), "[]");
    docked.start("here", &[], "sleep 1000");
    docked.run(&["exec", "here", "--", "surely-not-there"]).failed(1, &["surely-not-there"]);
    let doctor = docked.ok(&["doctor", "--json"]);
    assert!(doctor.contains("docker.engine") && doctor.contains("API 1."), "{doctor}");
}

#[test]
fn what_other_hands_do_to_a_container_is_seen() {
    if !can() {
        return;
    }
    let (docked, engine) = (Docked::new(Engine::shared()), Engine::shared());
    for name in ["killed", "removed", "frozen", "bystander"] {
        docked.start(name, &[], "echo up; sleep 1000");
    }
    let id = |name: &str| engine.containers(name).remove(0);
    engine.said(&["kill", &id("killed")]);
    docked.comes_to("killed", "failed");
    assert!(docked.notes("killed").contains("ended with code 137"), "{}", docked.notes("killed"));
    engine.said(&["rm", "-f", &id("removed")]);
    docked.comes_to("removed", "failed");
    assert!(docked.notes("removed").contains("container"), "{}", docked.notes("removed"));
    engine.said(&["pause", &id("frozen")]);
    docked.comes_to("frozen", "paused");
    engine.said(&["unpause", &id("frozen")]);
    docked.comes_to("frozen", "running");
    docked.ok(&["exec", "frozen", "--", "true"]);
    let bystander = docked.sandbox("bystander");
    assert_eq!(
        (&bystander["state"], &bystander["sessions"][0]["exit_code"]),
        (&"running".into(), &Value::Null)
    );
    docked.ok(&["rm", "--yes", "killed", "removed", "frozen"]);
    for name in ["killed", "removed", "frozen"] {
        assert_eq!(engine.containers(name), Vec::<String>::new());
    }
}

#[test]
fn a_program_that_nobody_waits_for_any_more_is_ended_with_its_jobs() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    docked.start("left", &[], "sleep 1000");
    let count = || {
        let seen =
            docked.ok(&["exec", "left", "--", "sh", "-c", "ps | grep -c '[s]leep 12345' || :"]);
        seen.trim().parse::<u32>().unwrap()
    };
    let line = "sleep 12345 & (sleep 12345; :) & sleep 12345; :";
    let mut exec = docked.home.command(&["exec", "left", "--", "sh", "-c", line]);
    let mut exec = exec.stdout(Stdio::null()).spawn().unwrap();
    eventually("the programs run", || count() >= 3);
    exec.kill().unwrap();
    exec.wait().unwrap();
    eventually("the programs are ended", || count() == 0);
    assert_eq!(docked.sandbox("left")["state"], "running");
}

#[test]
fn a_moment_is_kept_gone_back_to_and_branched_from() {
    if !can() {
        return;
    }
    let (docked, engine) = (Docked::new(Engine::shared()), Engine::shared());
    fs::write(docked.home.workspace().join("file"), "real").unwrap();
    docked.start("trunk", &[], "echo up; exec sleep 1000");
    let inside = |name: &str, line: &str| docked.ok(&["exec", name, "--", "sh", "-c", line]);
    inside("trunk", "echo then > file");
    docked.ok(&["snapshot", "create", "trunk", "--name", "then"]);
    assert_eq!(docked.sandbox("trunk")["state"], "running");
    inside("trunk", "echo now > file");
    let kept: Value = serde_json::from_str(&docked.ok(&["snapshot", "ls", "--json"])).unwrap();
    let id = kept[0]["id"].as_str().unwrap().to_owned();
    assert!(kept[0]["size_bytes"].as_u64().is_some_and(|it| it > 0), "{kept:#}");
    docked.ok(&["fork", "trunk", "-d", "--name", "branch"]);
    docked.ok(&["restore", "trunk", &id, "--yes"]);
    assert_eq!(inside("trunk", "cat file"), "then\n");
    assert_eq!(inside("branch", "cat file"), "now\n");
    let real = fs::read_to_string(docked.home.workspace().join("file")).unwrap();
    assert_eq!(real, "real");
    docked.ok(&["stop", "branch", "--grace", "0s"]);
    docked.ok(&["snapshot", "create", "branch", "--name", "stopped"]);
    docked.ok(&["rm", "--yes", "trunk", "branch"]);
    docked.ok(&["snapshot", "rm", "--yes", "then"]);
    docked.ok(&["snapshot", "rm", "--yes", "stopped"]);
    let left = format!("sandwatch-snapshot:{id}");
    assert!(!engine.said(&["images"]).contains(&id), "{left} is left");
}

#[test]
fn a_program_that_puts_something_in_the_way_keeps_nobody_from_going_back() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    docked.start("trap", &[], "echo up; exec sleep 1000");
    let line = "rm /.sandwatch-init; mkdir -p /.sandwatch-init/full; touch /.sandwatch-init/full/x";
    docked.ok(&["exec", "trap", "--", "sh", "-c", line]);
    docked.ok(&["snapshot", "create", "trap", "--name", "set"]);
    docked.ok(&["fork", "set", "-d", "--name", "out"]);
    docked.ok(&["restore", "trap", "set", "--yes"]);
    for name in ["trap", "out"] {
        let seen = docked.ok(&["exec", name, "--", "stat", "-c", "%F %s", "/.sandwatch-init"]);
        assert!(seen.starts_with("regular file"), "{seen}");
    }
}

#[test]
fn a_moment_is_gone_back_to_where_it_is_kept() {
    if !can() {
        return;
    }
    let mut docked = Docked::new(Engine::shared());
    docked.start("kept", &[], "echo up; exec sleep 1000");
    docked.ok(&["exec", "kept", "--", "sh", "-c", "echo then > file"]);
    docked.ok(&["snapshot", "create", "kept", "--name", "then"]);
    docked.ok(&["hub", "stop"]);
    docked.url = "unix:///nowhere/docker.sock".to_owned();
    docked.ok(&["fork", "then", "-d", "--name", "again"]);
    assert_eq!(docked.ok(&["exec", "again", "--", "cat", "file"]), "then\n");
    docked.ok(&["restore", "kept", "then", "--yes"]);
    assert_eq!(docked.ok(&["exec", "kept", "--", "cat", "file"]), "then\n");
    let ran = docked.run(&["run", "-d", "--driver", "docker", "--", "sh"]);
    ran.failed(6, &["/nowhere/docker.sock"]);
    // What nobody has any more can't be gone back from, and that is said with a way on.
    Engine::shared().said(&["rm", "-f", &Engine::shared().containers("kept")[0]]);
    docked.comes_to("kept", "failed");
    docked.run(&["restore", "kept", "then", "--yes"]).failed(3, &["container", "sandwatch fork"]);
}

#[test]
fn a_secret_is_in_the_programs_and_in_nothing_that_is_kept() {
    if !can() {
        return;
    }
    let (docked, engine) = (Docked::new(Engine::shared()), Engine::shared());
    docked.start("sworn", &["--env", "KEY=tell-nobody"], "echo up; exec sleep 1000");
    let said = |name: &str| docked.ok(&["exec", name, "--", "sh", "-c", "echo $KEY"]);
    assert_eq!(said("sworn"), "tell-nobody\n");
    docked.ok(&["snapshot", "create", "sworn", "--name", "sealed"]);
    docked.ok(&["fork", "sealed", "-d", "--name", "heir"]);
    assert_eq!(said("heir"), "tell-nobody\n");
    let kept: Value = serde_json::from_str(&docked.ok(&["snapshot", "ls", "--json"])).unwrap();
    let image = format!("sandwatch-snapshot:{}", kept[0]["id"].as_str().unwrap());
    for it in [&image, &engine.containers("sworn")[0], &engine.containers("heir")[0]] {
        let seen = engine.said(&["inspect", it]);
        assert!(seen.contains("sandwatch.sandbox") && !seen.contains("tell-nobody"), "{seen}");
    }
    assert!(!engine.said(&["history", "--no-trunc", &image]).contains("tell-nobody"));
}

#[test]
fn a_workspace_that_would_hand_over_the_engine_is_refused() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    let beside = Engine::shared().socket();
    let beside = beside.parent().unwrap().display();
    for mode in ["rw", "ro"] {
        let workspace = format!("{beside}:{mode}");
        let ran =
            docked.run(&["run", "-d", "--driver", "docker", "--workspace", &workspace, "--", "sh"]);
        ran.failed(2, &["socket of the docker engine", "docker.sock"]);
    }
    let own = docked.home.workspace().join("login");
    std::fs::create_dir(&own).unwrap();
    let mut command = docked.home.command(&[
        "run",
        "-d",
        "--driver",
        "docker",
        "--workspace",
        ".:rw",
        "--",
        "sh",
    ]);
    docked.ok(&["hub", "stop"]);
    let command = command.env("DOCKER_HOST", Engine::shared().url()).env("DOCKER_CONFIG", &own);
    let ran = crate::program::Ran::from(command.output().unwrap(), &["run"]);
    ran.failed(2, &["shows what docker logs in with", "login"]);
}

#[test]
fn sessions_live_on_while_the_hub_is_down() {
    if !can() {
        return;
    }
    let docked = Docked::new(Engine::shared());
    docked.start("lives", &[], "echo up; read it; echo got $it; exec sleep 1000");
    docked.ok(&["wait", "lives", "--for", "text=up", "--timeout", "20s"]);
    let before = docked.sandbox("lives");
    let status: Value = serde_json::from_str(&docked.ok(&["hub", "status", "--json"])).unwrap();
    let pid = i32::try_from(status["pid"].as_i64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("the hub is dead", || !alive(pid.as_raw_nonzero().get().cast_unsigned()));
    docked.ok(&["send", "lives", "more", "<Enter>"]);
    docked.ok(&["wait", "lives", "--for", "text=got more", "--timeout", "20s"]);
    let after = docked.sandbox("lives");
    assert_eq!(before["sessions"][0]["pid"], after["sessions"][0]["pid"]);
    assert!(before["sessions"][0]["pid"].is_u64(), "{before}");
    assert_eq!(after["capabilities"]["reattach"], true);
}

#[test]
fn a_container_whose_shim_died_is_ended_and_can_be_removed() {
    if !can() {
        return;
    }
    let (docked, engine) = (Docked::new(Engine::shared()), Engine::shared());
    docked.start("orphan", &[], "sleep 1000");
    let container = engine.containers("orphan").remove(0);
    let id = docked.sandbox("orphan")["id"].as_str().unwrap().to_owned();
    let shim = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        (line.contains("\0shim\0") && line.contains(&id)).then_some(pid)
    });
    let shim = rustix::process::Pid::from_raw(shim.unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    docked.comes_to("orphan", "failed");
    eventually("the container is ended", || {
        engine.said(&["inspect", "-f", "{{.State.Running}}", &container]) == "false"
    });
    docked.ok(&["rm", "--yes", "orphan"]);
    assert_eq!(engine.containers("orphan"), Vec::<String>::new());
}

/// An engine that ends in the middle, one way or the other, and comes back.
fn an_engine_goes_and_comes_back(end: fn(&mut Engine)) {
    if !can() {
        return;
    }
    let mut engine = Engine::new();
    let docked = Docked::new(&engine);
    docked.start("in-it", &[], "echo up; while :; do sleep 0.1; done");
    docked.ok(&[
        "run",
        "-d",
        "--name",
        "beside",
        "--",
        "sh",
        "-c",
        "echo up; read it; echo got $it; read it",
    ]);
    docked.ok(&["wait", "in-it", "--for", "text=up", "--timeout", "20s"]);
    end(&mut engine);
    docked.ok(&["wait", "in-it", "--for", "exit", "--timeout", "30s"]);
    // The fleet goes on, and so does everything else.
    docked.ok(&["send", "beside", "this", "<Enter>"]);
    docked.ok(&["wait", "beside", "--for", "text=got this", "--timeout", "20s"]);
    let lost = docked.sandbox("in-it");
    assert!(["unknown", "failed"].contains(&lost["state"].as_str().unwrap()), "{lost:#}");
    assert!(
        lost["notes"].to_string().contains("docker")
            || lost["notes"].to_string().contains("container")
    );
    let ran = docked.run(&["exec", "in-it", "--", "true"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    let ran = docked.run(&["run", "-d", "--driver", "docker", "--name", "new", "--", "sh"]);
    ran.failed(6, &["docker engine"]);
    docked.run(&["rm", "--yes", "in-it"]).failed(6, &["docker engine", "docker.json"]);
    engine.start();
    docked.start("new", &[], "sleep 1000");
    docked.ok(&["rm", "--yes", "in-it"]);
    assert_eq!(engine.containers("in-it"), Vec::<String>::new());
    assert_eq!(docked.sandbox("beside")["state"], "running");
    docked.ok(&["rm", "--yes", "new"]);
}

#[test]
fn an_engine_that_is_killed_costs_only_its_own_sandboxes() {
    an_engine_goes_and_comes_back(Engine::crash);
}

#[test]
fn an_engine_that_is_stopped_costs_only_its_own_sandboxes() {
    an_engine_goes_and_comes_back(Engine::stop);
}
