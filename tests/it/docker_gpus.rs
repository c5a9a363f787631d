//! `--gpus` on a real engine: one that has none to give says so, and nothing of the sandbox is left.

use std::path::Path;

use crate::docker_stage::{Docked, Engine, can};

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
