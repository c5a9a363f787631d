//! What containers use: as an engine's own command line says, and from engines that say odd things.

use std::{fs, io::Write, path::Path, time::Duration};

use sandwatch::{
    base::{
        fault::{Fault, Kind},
        id::SandboxId,
    },
    driver::{Driver, Ground, Metered, docker::Docker},
};

use crate::{
    docker_stage::{Docked, Engine, can},
    docker_strange::{VERSION, engine},
    program::eventually,
};

/// A number with a unit, as the command line has it: `12.5MiB`.
fn bytes(text: &str) -> f64 {
    let at = text.find(|it: char| it.is_ascii_alphabetic()).unwrap();
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        other => panic!("{other}"),
    };
    number.parse::<f64>().unwrap() * factor
}

#[test]
fn figures_of_a_container_are_those_of_its_engine() {
    if !can() {
        return;
    }
    let engine = Engine::shared();
    let docked = Docked::new(engine);
    // 64 MiB in one line, which `tail` holds until there is another.
    let script = "(head -c 67108864 /dev/zero; sleep 1000) | tail -n 1 & \
                  i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 1000";
    docked.start("busy", &["--egress", "deny", "--memory", "256M", "--pids", "50"], script);
    let stats = || docked.home.json(&["stats", "busy", "--json"])[0].clone();
    let mut told = serde_json::Value::Null;
    eventually("it holds all of it", || {
        told = stats();
        told["memory"]["used_bytes"].as_u64().is_some_and(|it| it > 64 << 20)
    });
    let id = engine.containers("busy").remove(0);
    // What the program does between the two readings is no difference of theirs.
    let mut last = String::new();
    eventually("both say the same", || {
        let line = engine.said(&["stats", "--no-stream", "--format", "{{json .}}", &id]);
        let theirs: serde_json::Value = serde_json::from_str(&line).unwrap();
        told = stats();
        let used = theirs["MemUsage"].as_str().unwrap().split_once(" / ").unwrap().0;
        let (theirs_used, ours) = (bytes(used), told["memory"]["used_bytes"].as_f64().unwrap());
        last = format!("{theirs} {told}");
        // Theirs counts the process that only keeps the container.
        let pids = theirs["PIDs"].as_str().unwrap().parse::<u64>().unwrap() - 1;
        (ours - theirs_used).abs() <= theirs_used * 0.05 && told["pids"]["count"] == pids
    });
    assert!(told["cpu"]["time_ms"].as_u64() > Some(0), "{last}");
    assert_eq!(told["memory"]["limit_bytes"], 256 << 20, "{last}");
    assert_eq!(told["pids"]["limit"], 50, "{last}");
    assert_eq!((&told["net"]["rx_bytes"], &told["net"]["tx_bytes"]), (&0.into(), &0.into()));
    assert_eq!(told["metered_by"], "driver", "{last}");
    // One that ends is not metered any more, and is no fault.
    docked.ok(&["stop", "busy"]);
    docked.run(&["stats", "busy"]).failed(3, &["only a sandbox that runs"]);
}

fn ground(dir: &Path, name: &str, socket: &Path) -> Ground {
    let dir = dir.join(name);
    fs::create_dir(&dir).unwrap();
    let url = format!("unix://{}", socket.display());
    let trace = serde_json::json!({ "engine": { "url": url, "tls": null }, "container": name });
    fs::write(dir.join("docker.json"), trace.to_string()).unwrap();
    Ground { id: SandboxId::random(), name: name.to_owned(), dir, from: None }
}

#[test]
fn an_engine_that_says_odd_things_costs_a_fault_and_no_other_reading() {
    const GOOD: &str = r#"{"read":"2026-01-02T03:04:05Z","memory_stats":{"usage":900,"stats":{"inactive_file":100}},
        "cpu_stats":{"cpu_usage":{"total_usage":5000000}},"pids_stats":{"current":2}}"#;
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("docker.sock");
    engine(&socket, |asked, mut stream| {
        let mut say = |status: &str, text: &str| {
            let length = text.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{text}");
            drop(stream.write_all(answer.as_bytes()));
        };
        let path = asked.split(' ').nth(1).unwrap_or_default();
        if path.contains("/_ping") {
            drop(stream.write_all(VERSION.as_bytes()));
        } else if path.ends_with("/json") {
            say("200 OK", r#"{"Id":"x","HostConfig":{"Memory":0}}"#);
        } else if path.contains("/good/") {
            assert!(path.ends_with("stats?stream=false&one-shot=true"), "{path}");
            say("200 OK", GOOD);
        } else if path.contains("/gone/") {
            say("404 Not Found", r#"{"message":"no such container"}"#);
        } else if path.contains("/stopped/") {
            say("200 OK", r#"{"read":"0001-01-01T00:00:00Z","memory_stats":{}}"#);
        } else if path.contains("/empty/") {
            say("200 OK", "{}");
        } else if path.contains("/odd/") {
            say("200 OK", r#"{"read":"2026","memory_stats":{"usage":-1}}"#);
        } else if path.contains("/page/") {
            say("500 No", "<html>");
        } else if path.contains("/endless/") {
            drop(
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n{\"a\":\""),
            );
            while stream.write_all(&[b'x'; 8192]).is_ok() {}
        } else {
            std::thread::sleep(Duration::from_secs(60));
        }
    });
    let names = ["silent", "gone", "stopped", "empty", "odd", "page", "endless", "good"];
    let mut grounds: Vec<Ground> =
        names.iter().map(|it| ground(temp.path(), it, &socket)).collect();
    // More that say nothing than are asked at once, and one that was never made.
    grounds.extend((0..8).map(|it| ground(temp.path(), &format!("silent{it}"), &socket)));
    let dir = temp.path().join("none");
    grounds.push(Ground { id: SandboxId::random(), name: "none".to_owned(), dir, from: None });
    let mut meter = Docker.meter().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut read = || runtime.block_on(meter.read(&grounds, false));
    let told = read();
    let kind = |at: usize| told[at].as_ref().map(|_| ()).map_err(Fault::kind);
    let kinds: Vec<_> = (0..7).map(kind).collect();
    let (late, absent, failed) = (Err(Kind::Late), Err(Kind::Absent), Err(Kind::Failed));
    assert_eq!(kinds, [late, absent, absent, failed, failed, failed, failed], "{told:?}");
    assert_eq!((kind(8), kind(16)), (late, absent), "{told:?}");
    let good = |it: &Metered| (it.usage.memory_bytes, it.usage.pids, it.usage.memory_limit_bytes);
    let now = (Some(800), Some(1), None);
    assert_eq!(told[7].as_ref().map(good), Ok(now), "{told:?}");
    // Whoever is slow does not come first each time.
    assert_eq!(read()[7].as_ref().map(good), Ok(now));
}
