//! GPUs of NVIDIA by a library that stands in for the driver's: loaded, asked and let go of as the real one is.

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::{
    program::{Home, eventually},
    skip::skipped,
};

const WHOLE: &str = "init 0\ncount 1\n0.name NVIDIA H100 80GB HBM3\n0.busy 37\n0.total 85899345920\n\
     0.used 1073741824\n0.power 123500\n0.limit 700000\n0.temperature 61\n0.clock 1980\n0.slowed 36\n\
     0.corrected 4\n0.uncorrected 0\n0.mig 0\n0.computing \n0.drawing \n";

/// A home whose hub finds that library.
struct Stage {
    home: Home,
    directory: PathBuf,
}

impl Stage {
    fn new(state: &str) -> Option<Self> {
        let home = Home::new();
        let directory = home.workspace().with_file_name("nvml");
        fs::create_dir(&directory).unwrap();
        let source = directory.join("nvml.c");
        fs::write(&source, include_str!("fake_nvml.c")).unwrap();
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(directory.join("libnvidia-ml.so.1"))
            .arg(format!("-DDIRECTORY=\"{}\"", directory.display()))
            .arg(&source)
            .status();
        match compiler {
            Ok(status) => assert!(status.success(), "{status}"),
            Err(error) => {
                skipped(&format!("no C compiler: {error}"));
                return None;
            }
        }
        let stage = Self { home, directory };
        stage.says(state);
        let path = stage.directory.to_str().unwrap();
        let started = stage.home.run_with(&["hub", "start"], &[("LD_LIBRARY_PATH", path)]);
        assert_eq!(started.code, 0, "{started:?}");
        Some(stage)
    }

    /// From now on the driver says this, at once for whoever asks.
    fn says(&self, state: &str) {
        let new = self.directory.join("new");
        fs::write(&new, state).unwrap();
        fs::rename(&new, self.directory.join("state")).unwrap();
    }

    fn host(&self) -> Value {
        self.home.json(&["stats", "--host", "--json"])
    }

    fn check(&self) -> Value {
        let checks = self.home.json(&["doctor", "--json"]);
        let check = checks.as_array().unwrap().iter().find(|it| it["check"] == "gpu");
        check.unwrap_or_else(|| panic!("{checks}")).clone()
    }

    /// GPUs of NVIDIA once they are as wanted, whatever else this machine has.
    fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let mut host = Value::Null;
        eventually(what, || {
            host = self.host();
            so(&host)
        });
        host
    }
}

fn without(state: &str, keys: &[&str]) -> String {
    let is = |line: &&str| !keys.iter().any(|it| line.split(' ').next() == Some(it));
    state.lines().filter(is).map(|it| format!("{it}\n")).collect()
}

#[test]
fn an_nvidia_gpu_is_read_whole_and_each_figure_may_be_missing() {
    let Some(stage) = Stage::new(WHOLE) else { return };
    let host = stage.until("a reading", |it| it["gpus"][0]["util_percent"] == 37.0);
    let gpu = &host["gpus"][0];
    let whole = json!({
        "index": 0, "name": "NVIDIA H100 80GB HBM3", "util_percent": 37.0,
        "memory_used_bytes": 1_u64 << 30, "memory_total_bytes": 80_u64 << 30,
        "power_watts": 123.5, "power_limit_watts": 700.0, "temperature_celsius": 61.0,
        "clock_mhz": 1980, "slowed": ["temperature", "power limit"],
        "ecc_corrected": 4, "ecc_uncorrected": 0, "instances": [], "processes": 0,
    });
    assert_eq!(gpu, &whole);
    assert_eq!(host["gpus_missing"], Value::Null);
    let text = stage.home.ok(&["stats", "--host"]);
    assert!(text.contains("gpu 0 NVIDIA H100 80GB HBM3: 37%, memory 1.0 G of 80 G"), "{text}");
    assert!(text.contains("61 °C, 124 W, slowed: temperature, power limit"), "{text}");
    assert_eq!(stage.check()["status"], "ok");
    // One figure after the other is not told, or can't be.
    let keys = ["busy", "used", "power", "limit", "temperature", "clock", "slowed", "corrected"];
    let errors = ["0.mig !999", "0.computing !4", "0.drawing !13"];
    let keys = keys.map(|it| format!("0.{it}"));
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let few =
        without(WHOLE, &keys) + &keys.iter().map(|it| format!("{it} !999\n")).collect::<String>();
    stage.says(&(without(&few, &["0.mig", "0.computing", "0.drawing"]) + &errors.join("\n")));
    let host = stage.until("fewer figures", |it| it["gpus"][0]["util_percent"].is_null());
    let gpu = &host["gpus"][0];
    for it in
        ["memory_used_bytes", "power_watts", "power_limit_watts", "clock_mhz", "ecc_corrected"]
    {
        assert!(gpu[it].is_null(), "{it}: {gpu}");
    }
    assert_eq!((&gpu["ecc_uncorrected"], &gpu["slowed"]), (&json!(0), &json!([])));
    let missing = host["gpus_missing"].as_str().unwrap();
    assert!(missing.contains("what programs are on GPU 0 is not told"), "{missing}");
    // What no GPU can be is not believed.
    let odd = "init 0\ncount 1\n0.name \u{1b}[2Jx\u{202e}\n0.busy 4000000000\n0.used 9\n0.total 3\n0.power 4294967295\n\
               0.temperature 4000000000\n0.clock 4000000000\n0.computing 4294967295:18446744073709551615\n";
    stage.says(odd);
    let host = stage.until("odd figures", |it| it["gpus"][0]["util_percent"] == 100.0);
    let gpu = &host["gpus"][0];
    for it in ["memory_used_bytes", "power_watts", "temperature_celsius", "clock_mhz"] {
        assert!(gpu[it].is_null(), "{it}: {gpu}");
    }
}

#[test]
fn parts_of_a_gpu_and_one_that_is_lost_are_said() {
    let parts = "init 0\ncount 3\n0.name NVIDIA A100\n0.mig 1\n0.parts 7\n0.computing !4\n\
                 100.name NVIDIA A100 MIG 1g.5gb\n100.total 5368709120\n100.used 1073741824\n\
                 100.computing 11:100 12:50\n102.name NVIDIA A100 MIG 3g.20gb\n102.computing 11:7\n\
                 102.drawing 11:3\n1 !15\n2.name NVIDIA T4\n2.busy 1\n2.computing \n2.power !15\n";
    let Some(stage) = Stage::new(parts) else { return };
    let host = stage.until("a reading", |it| it["gpus"][0]["name"] == "NVIDIA A100");
    let gpu = &host["gpus"][0];
    assert_eq!(gpu["instances"], json!(["1g.5gb: 1.0 G of 5.0 G", "3g.20gb"]));
    assert_eq!((&gpu["processes"], &gpu["util_percent"]), (&json!(2), &Value::Null));
    let missing = host["gpus_missing"].as_str().unwrap();
    assert!(missing.contains("GPU 1: it does not work any more"), "{missing}");
    assert!(missing.contains("GPU 2: it does not work any more"), "lost in the middle: {missing}");
    let check = stage.check();
    assert_eq!(check["status"], "degraded", "{check}");
}

#[test]
fn a_driver_that_hangs_or_vanishes_is_said_and_holds_up_nobody() {
    let Some(stage) = Stage::new(WHOLE) else { return };
    let home = &stage.home;
    home.ok(&["run", "-d", "--name", "one", "--", "sleep", "1000"]);
    stage.until("a reading", |it| it["gpus"][0]["util_percent"] == 37.0);
    stage.says(&format!("{WHOLE}hang 1\n"));
    let late = stage.until("it is given up", |it| it["gpus_missing"].is_string());
    let why = late["gpus_missing"].as_str().unwrap();
    assert!(why.contains("the NVIDIA driver has not answered since"), "{why}");
    assert!(late["cpu"]["percent"].is_number(), "all else is read: {late}");
    assert_eq!(home.json(&["stats", "one", "--json"])[0]["sandbox"], "one");
    let check = stage.check();
    assert_eq!(check["status"], "missing", "{check}");
    assert!(check["detail"].as_str().unwrap().contains("does not answer"), "{check}");
    stage.says(WHOLE);
    let back = stage.until("it is read again", |it| it["gpus"][0]["util_percent"] == 37.0);
    assert_eq!(back["gpus_missing"], Value::Null);
    // The driver is unloaded, and loaded again; `doctor` does not wait for the next try.
    stage.says("init !18\ncount !18\n");
    let gone = stage.until("it is gone", |it| it["gpus_missing"].is_string());
    assert!(gone["gpus_missing"].as_str().unwrap().contains("of different versions"), "{gone}");
    let check = stage.check();
    assert_eq!(check["status"], "missing", "{check}");
    assert!(check["fix"].as_str().unwrap().contains("restart"), "{check}");
    stage.says(WHOLE);
    assert_eq!(stage.check()["status"], "ok");
    stage.until("it is read again", |it| it["gpus"][0]["util_percent"] == 37.0);
    let log = fs::read_dir(home.path().join("state/logs")).unwrap().flatten();
    let log: String = log.filter_map(|it| fs::read_to_string(it.path()).ok()).collect();
    for words in ["has not answered since", "are not read any more"] {
        assert!(log.matches(words).count() <= 1, "told more than once: {words}");
    }
    assert!(log.contains("has not answered since"), "{log}");
}

#[test]
fn programs_on_a_gpu_are_put_down_to_their_sandboxes() {
    let Some(stage) = Stage::new(WHOLE) else { return };
    let home = &stage.home;
    home.ok(&["run", "-d", "--name", "train", "--", "sh", "-c", "sleep 1000 & sleep 1001"]);
    home.ok(&["run", "-d", "--name", "idle", "--", "sleep", "1000"]);
    let pid = home.json(&["ls", "train", "--json"])[0]["sessions"][0]["pid"].as_u64().unwrap();
    let children = || {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    eventually("both sleep", || children().len() == 2);
    let children = children();
    let on = format!(
        "0.computing {}:1000 {}:24 1:5\n0.drawing {}:24\n",
        children[0], children[1], children[1]
    );
    stage.says(&(without(WHOLE, &["0.computing", "0.drawing"]) + &on));
    let mut share = Value::Null;
    eventually("its share is known", || {
        share = home.json(&["stats", "train", "--json"])[0]["gpus"].clone();
        share[0].is_object()
    });
    let figures = ["index", "memory_used_bytes", "memory_total_bytes", "processes", "util_percent"];
    let of: Vec<_> = figures.iter().map(|it| share[0][it].clone()).collect();
    assert_eq!(of, [json!(0), json!(1024), json!(80_u64 << 30), json!(2), json!(37.0)]);
    let idle = home.json(&["stats", "idle", "--json"]);
    assert_eq!(idle[0]["gpus"], json!([]), "{idle}");
    assert!(home.ok(&["stats"]).contains("1.0 K"), "in the table");
    // The programs leave it.
    stage.says(WHOLE);
    eventually("it has none", || home.json(&["stats", "train", "--json"])[0]["gpus"] == json!([]));
}
