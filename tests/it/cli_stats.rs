//! What sandboxes use, against what the kernel says of their processes.

use std::{
    fs,
    io::{Read, Write},
};

use crate::{
    program::{Home, eventually},
    pty::Pty,
    skip::not_on_this_host,
};

fn one(home: &Home, name: &str) -> serde_json::Value {
    home.json(&["stats", name, "--json"])[0].clone()
}

#[test]
fn figures_are_those_of_the_kernel_within_five_percent() {
    let home = Home::new();
    // 100 MiB in one line, which `tail` holds until there is another, and a sum that takes so long that the hundredths of a
    // second to which the kernel rounds each process's times are few of it.
    let script = "(head -c 104857600 /dev/zero; sleep 1000) | tail -n 1 & \
                  i=0; while [ $i -lt 2000000 ]; do i=$((i+1)); done; echo done; sleep 1000";
    home.ok(&["run", "-d", "--name", "busy", "--", "sh", "-c", script]);
    home.ok(&["wait", "busy", "--for", "text=done", "--timeout", "120s"]);
    let pid = home.json(&["ls", "busy", "--json"])[0]["sessions"][0]["pid"].as_u64().unwrap();
    let mut told = serde_json::Value::Null;
    eventually("it holds all of it", || {
        told = one(&home, "busy");
        told["memory"]["used_bytes"].as_u64().is_some_and(|it| it > 100 << 20)
    });
    let memory = told["memory"]["used_bytes"].as_u64().unwrap() as f64;
    let most = f64::from(105 << 20) * 1.05;
    assert!(memory <= most, "{memory} of {most}: {told}");
    // Of all that comes from the shell, and of what it waited for.
    let children = |pid: u64| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        text.split_whitespace().map(|it| it.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let (mut next, mut ticks) = (vec![pid], 0);
    while let Some(pid) = next.pop() {
        next.extend(children(pid));
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        ticks += fields[11..15].iter().map(|it| it.parse::<u64>().unwrap()).sum::<u64>();
    }
    // And what the sandbox's first process waited for: whatever began all this.
    let id = told["id"].as_str().unwrap();
    let traces = home.path().join(format!("state/sandboxes/{id}/traces"));
    let traces = fs::read_to_string(traces).unwrap();
    let first = traces.lines().find_map(|it| it.strip_prefix("first ")).unwrap();
    let first = first.split_whitespace().next().unwrap();
    let stat = fs::read_to_string(format!("/proc/{first}/stat")).unwrap();
    let first: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    ticks += first[13..15].iter().map(|it| it.parse::<u64>().unwrap()).sum::<u64>();
    let truth = ticks as f64 * 1000.0 / rustix::param::clock_ticks_per_second() as f64;
    let time = told["cpu"]["time_ms"].as_u64().unwrap() as f64;
    assert!((truth * 0.95..=truth * 1.05).contains(&time), "{time} of {truth}: {told}");
    assert!(truth > 100.0, "{truth}");
    // Once it has ended, what it did is still in the sum.
    home.ok(&[
        "exec",
        "busy",
        "--",
        "sh",
        "-c",
        "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done",
    ]);
    let mut later = serde_json::Value::Null;
    eventually("a later reading", || {
        later = one(&home, "busy");
        later["at"].as_str() > told["at"].as_str()
            && later["cpu"]["time_ms"].as_u64().unwrap() as f64 > truth + 100.0
    });
    // Two of `sleep`, `tail`, and shells that did not become one of these.
    assert!((3..=5).contains(&told["pids"]["count"].as_u64().unwrap()), "{told}");
    assert!(told["cpu"]["percent"].is_number() && told["disk"]["read_bytes"].is_number(), "{told}");
    assert!(told["at"].is_string() && told["metered_by"].is_string());
    assert_eq!(told["sandbox"], "busy");
}

#[test]
fn what_came_and_went_and_what_does_not_run_is_said() {
    let home = Home::new();
    let nothing = home.ok(&["stats"]);
    assert!(
        nothing.contains("no sandbox runs") && nothing.contains("this machine: cpu"),
        "{nothing}"
    );
    home.ok(&["run", "-d", "--name", "one", "--", "sleep", "1000"]);
    home.ok(&["run", "-d", "--name", "two", "--", "sleep", "1000"]);
    let all = home.json(&["stats", "--json"]);
    let names: Vec<_> = all.as_array().unwrap().iter().map(|it| it["sandbox"].clone()).collect();
    assert!(names.len() == 2 && names.contains(&"one".into()), "{all}");
    home.ok(&["pause", "one"]);
    assert_eq!(one(&home, "one")["sandbox"], "one", "what is paused still has its memory");
    home.ok(&["resume", "one"]);
    home.ok(&["stop", "one"]);
    let stopped = home.run(&["stats", "one"]);
    assert_eq!(stopped.code, 3, "{stopped:?}");
    assert!(stopped.stderr.contains("only a sandbox that runs is metered"), "{stopped:?}");
    assert_eq!(home.run(&["stats", "three"]).code, 3);
    let host = home.json(&["stats", "--host", "--json"]);
    assert!(host["memory"]["total_bytes"].as_u64() > Some(0), "{host}");
    assert!(host["cpu"]["cores_percent"].as_array().is_some_and(|it| !it.is_empty()), "{host}");
}

#[test]
fn readings_go_on_while_they_are_watched_and_over_a_new_hub() {
    let home = Home::new();
    home.ok(&["run", "-d", "--name", "one", "--", "sleep", "1000"]);
    let pty = Pty::start(&home, &["stats", "--watch"], (100, 24));
    pty.wait_until("a round", |it| it.has("this machine: cpu") && it.has("one"));
    home.ok(&["run", "-d", "--name", "second", "--", "sleep", "1000"]);
    pty.wait_until("the new one", |it| it.has("second"));
    home.ok(&["hub", "stop"]);
    home.ok(&["run", "-d", "--name", "third", "--", "sleep", "1000"]);
    pty.wait_until("the next hub", |it| it.has("third"));
}

#[test]
fn a_sandbox_that_runs_out_of_memory_is_told_of() {
    let home = Home::new();
    let limited = home.run(&[
        "run",
        "-d",
        "--name",
        "leak",
        "--memory",
        "48M",
        "--",
        "sh",
        "-c",
        "tail /dev/zero; echo over; sleep 1000",
    ]);
    if limited.stderr.contains("memory") && limited.code != 0 {
        return not_on_this_host("memory can't be bound");
    }
    assert_eq!(limited.code, 0, "{limited:?}");
    home.ok(&["wait", "leak", "--for", "text=over", "--timeout", "120s"]);
    if one(&home, "leak")["memory"]["limit_bytes"].is_null() {
        return not_on_this_host("memory can't be bound");
    }
    eventually("the kill is counted", || {
        one(&home, "leak")["memory"]["oom_kills"].as_u64() >= Some(1)
    });
    let log = fs::read_to_string(home.path().join("state/logs/hub.log")).unwrap_or_default();
    assert!(log.contains("leak ran out of memory: the kernel killed"), "{log}");
}

#[test]
fn metrics_are_served_where_the_configuration_says_and_to_nobody_who_calls_it_otherwise() {
    let home = Home::new();
    // A free port, as far as that can be known.
    let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fs::create_dir_all(home.config()).unwrap();
    fs::write(home.config().join("config.toml"), format!("[hub]\nmetrics = \"{at}\"\n")).unwrap();
    home.ok(&["run", "-d", "--name", "one", "--", "sleep", "1000"]);
    let ask = |request: String| {
        let mut stream = std::net::TcpStream::connect(at).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    let page = |host: &str, path: &str| {
        ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    let mut told = String::new();
    eventually("the hub serves it", || {
        told = page(&at.to_string(), "/metrics").unwrap_or_default();
        told.contains("sandwatch_sandbox_memory_bytes")
    });
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    assert!(told.contains("sandwatch_sandboxes{state=\"running\"} 1"), "{told}");
    assert!(told.contains("sandwatch_sandbox_processes{sandbox=\"one\""), "{told}");
    assert!(page("evil.example", "/metrics").unwrap().starts_with("HTTP/1.1 421"));
    assert!(page(&at.to_string(), "/").unwrap().starts_with("HTTP/1.1 404"));
    let posted = ask(format!("POST /metrics HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"));
    assert!(posted.unwrap().starts_with("HTTP/1.1 405"));
    assert!(home.ok(&["metrics"]).contains("# TYPE sandwatch_sandbox_cpu_seconds_total counter"));
    fs::write(home.config().join("config.toml"), "[hub]\nmetrics = \"0.0.0.0:9464\"\n").unwrap();
    let refused = home.run(&["config", "check"]);
    assert!(
        refused.code != 0 && refused.stderr.contains("an address of this machine alone"),
        "{refused:?}"
    );
}

#[test]
fn what_files_take_on_disk_is_told() {
    let home = Home::new();
    let script = "dd if=/dev/zero of=large bs=1048576 count=6; dd if=/dev/zero of=/tmp/more bs=1048576 count=3; \
                  echo written; sleep 1000";
    home.ok(&["run", "-d", "--name", "disk", "--", "sh", "-c", script]);
    home.ok(&["wait", "disk", "--for", "text=written"]);
    let mut used = 0;
    eventually("it was looked at", || {
        used = one(&home, "disk")["disk"]["used_bytes"].as_u64().unwrap_or_default();
        used >= 9 << 20
    });
    assert!(used < 12 << 20, "{used}");
    assert!(home.ok(&["stats"]).contains("DISK"));
    home.ok(&["rm", "-y", "disk"]);
}
