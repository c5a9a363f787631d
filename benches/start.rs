//! Start: from asking to the first byte printed inside, for a bare program, a bare prototype of a
//! sandbox, other launchers that are installed, and `sandwatch run` with its hub up.
//! `cargo bench --bench start [-- --rounds N --only prototype,run]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
    time::Instant,
};

use common::{
    chosen, inner, load, local, median, millis, option, prototype, spread,
    subject::{Home, is_installed},
};

const SUBJECTS: &[&str] = &["exec", "prototype", "driver", "bwrap", "runc", "run"];

fn main() {
    inner::run_if_asked();
    let rounds: usize = option("--rounds", 20);
    let alone: String = option("--alone", String::new());
    if !alone.is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let start = if alone == "driver" { local::start } else { prototype::start };
        println!("{}", millis(start(dir.path())));
        return;
    }
    let mut home = Home::new();
    let subjects: Vec<String> = chosen(SUBJECTS)
        .into_iter()
        .filter(|it| !["bwrap", "runc"].contains(&it.as_str()) || is_installed(it))
        .collect();
    if subjects.iter().any(|it| it == "run") {
        home.verb(&["hub", "start"]);
    }
    println!("start to first output in ms, median of {rounds} interleaved rounds, load {}", load());
    let mut results = vec![Vec::new(); subjects.len()];
    for _ in 0..rounds {
        for (name, samples) in subjects.iter().zip(&mut results) {
            samples.push(one(name, &home));
        }
    }
    for (name, samples) in subjects.iter().zip(&results) {
        println!("  {name:10} {:8.2} ±{:3.0} %", median(samples), spread(samples) * 100.0);
    }
}

fn one(name: &str, home: &Home) -> f64 {
    match name {
        "prototype" | "driver" => {
            // In a process of its own with one thread, that measures itself.
            let out = Command::new(std::env::current_exe().unwrap())
                .args(["--alone", name])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            text.trim()
                .parse()
                .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)))
        }
        "exec" => first_byte(Command::new("/bin/echo").arg("hello")),
        "bwrap" => first_byte(
            Command::new("bwrap")
                .args(["--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"])
                .args(["--tmpfs", "/tmp", "/bin/echo", "hello"]),
        ),
        "runc" => {
            let bundle = bundle(home);
            let id =
                format!("bench-{}-{}", std::process::id(), bundle.file_name().unwrap().display());
            first_byte(Command::new("runc").args(["run", "--bundle"]).arg(&bundle).arg(id))
        }
        "run" => first_byte(
            Command::new(env!("CARGO_BIN_EXE_sandwatch"))
                .args(["run", "--rm", "--egress", "deny", "--workspace", "/:none", "--"])
                .args(["/bin/echo", "hello"])
                .env("SANDWATCH_HOME", home.path()),
        ),
        other => panic!("no such subject: {other}"),
    }
}

fn first_byte(command: &mut Command) -> f64 {
    let at = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut byte = [0_u8];
    let read = child.stdout.as_mut().unwrap().read_exact(&mut byte);
    let took = millis(at.elapsed());
    read.unwrap_or_else(|error| panic!("{command:?} printed nothing: {error}"));
    drop(child.stdout.take());
    child.wait().unwrap();
    took
}

/// A directory with the configuration of one container over the host's /usr, read-only.
fn bundle(home: &Home) -> std::path::PathBuf {
    let dir = tempfile::tempdir_in(home.path()).unwrap().keep();
    assert!(Command::new("runc").arg("spec").current_dir(&dir).status().unwrap().success());
    let file = dir.join("config.json");
    let mut spec: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = serde_json::json!(["/bin/echo", "hello"]);
    let root = dir.join("root");
    fs::create_dir_all(root.join("usr")).unwrap();
    for link in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), root.join(link)).unwrap();
    }
    spec["root"] = serde_json::json!({"path": "root", "readonly": true});
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|it| it["type"] != "cgroup"); // not every machine lets it mount them
    let system = serde_json::json!({
        "destination": "/usr", "source": "/usr", "type": "none", "options": ["rbind", "ro"]
    });
    mounts.insert(0, system);
    fs::write(file, spec.to_string()).unwrap();
    dir
}
