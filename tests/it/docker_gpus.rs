//! GPUs of containers on a real engine: one that has none to give says so, and those of an engine elsewhere are told by
//! `nvidia-smi` in the container.

use std::{
    io,
    net::{Shutdown, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
};

use crate::{
    docker_stage::{Docked, Engine, IMAGE, can},
    program::eventually,
};

#[test]
fn an_engine_without_graphics_processors_says_what_to_install_and_keeps_nothing() {
    if !can() {
        return;
    }
    if Path::new("/usr/bin/nvidia-container-runtime-hook").exists() {
        return crate::skip::not_on_this_host("a machine without nvidia-container-toolkit");
    }
    let docked = Docked::new(Engine::shared());
    for gpus in ["all", "2"] {
        let run = ["run", "-d", "--driver", "docker", "--name", "seer", "--gpus", gpus];
        let ran = docked.run(&[&run[..], &["--", "sh"]].concat());
        ran.failed(5, &["--gpus", "could not select device driver", "nvidia-container-toolkit"]);
        assert_eq!(docked.ok(&["ls", "--all", "--json"]).trim(), "[]");
        assert_eq!(Engine::shared().containers("seer"), Vec::<String>::new());
    }
    // Without them it is made, and says what it has.
    docked.start("blind", &[], "sleep 1000");
    let seen = docked.sandbox("blind");
    assert_eq!(seen["limits"]["gpus"], serde_json::Value::Null);
    assert_eq!(seen["capabilities"]["gpu"], false);
    docked.ok(&["rm", "--yes", "blind"]);
}

/// The engine by a port, as one on another machine is reached. Ends with the test's process.
fn elsewhere(engine: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = UnixStream::connect(&engine).unwrap();
            let (mut asked, mut asks) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            thread::spawn(move || {
                drop(io::copy(&mut asked, &mut asks));
                drop(asks.shutdown(Shutdown::Write));
            });
            let (mut said, mut says) = (engine, client);
            thread::spawn(move || {
                drop(io::copy(&mut said, &mut says));
                drop(says.shutdown(Shutdown::Both));
            });
        }
    });
    url
}

#[test]
fn gpus_on_another_machine_are_told_by_the_program_in_the_container() {
    if !can() {
        return;
    }
    let engine = Engine::shared();
    let name = format!("seer-{}", std::process::id());
    let tells = r#"printf '#!/bin/sh\necho "0, NVIDIA H200, 97, 1024, 2048, 600.50, 700.00, 71, 1980, 0, 2"\n' > /bin/nvidia-smi
        chmod +x /bin/nvidia-smi; exec sleep 1000"#;
    let run = ["run", "-d", "--network", "none", "-e", "NVIDIA_VISIBLE_DEVICES=all", "--name"];
    engine.said(&[&run[..], &[&name, IMAGE, "sh", "-c", tells]].concat());
    // On this machine the host's own driver is asked, whatever a container says.
    let here = Docked::new(engine);
    here.ok(&["adopt", &name, "--name", "near"]);
    let docked = Docked::at(elsewhere(engine.socket()));
    docked.ok(&["adopt", &name, "--name", "far"]);
    docked.start("plain", &["--egress", "deny"], "sleep 1000");
    let of = |name: &str| {
        let all: Vec<serde_json::Value> =
            serde_json::from_value(docked.home.json(&["stats", "--json"])).unwrap();
        all.into_iter().find(|it| it["sandbox"] == name).unwrap_or_default()
    };
    let mut told = serde_json::Value::Null;
    eventually("it tells of its GPU", || {
        told = of("far");
        told["gpus"][0]["name"] == "NVIDIA H200"
    });
    let gpu = &told["gpus"][0];
    assert_eq!((&gpu["index"], &gpu["util_percent"]), (&0.into(), &97.0.into()), "{told}");
    assert_eq!(gpu["memory_used_bytes"], 1 << 30, "{told}");
    assert_eq!(gpu["memory_total_bytes"], 2_u64 << 30, "{told}");
    assert_eq!((&gpu["ecc_uncorrected"], &gpu["processes"]), (&2.into(), &serde_json::Value::Null));
    eventually("the other is read and has none", || of("plain")["gpus"] == serde_json::json!([]));
    assert!(docked.ok(&["stats", "far"]).contains("1.0 G"), "{}", docked.ok(&["stats", "far"]));
    let all = docked.ok(&["metrics"]);
    let mut told = all.lines().filter(|it| it.starts_with("sandwatch_gpu_utilization_ratio{"));
    assert!(
        told.any(|it| it.contains("gpu=\"0\",sandbox=\"far\"") && it.ends_with(" 0.97")),
        "{all}"
    );
    assert_eq!(here.home.json(&["stats", "near", "--json"])[0]["gpus"].to_string(), "[]");
    docked.ok(&["rm", "--yes", "plain", "far"]);
    here.ok(&["rm", "--yes", "near"]);
    engine.said(&["rm", "-f", &name]);
}
