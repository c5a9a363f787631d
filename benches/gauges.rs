//! Gauges: what it costs a hub to read what a hundred sandboxes use once a second, with and without control groups of
//! their own. Five processes each, one of them busy now and then. `cargo bench --bench gauges [-- --sandboxes N --seconds N]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::time::Duration;

use common::{load, option, subject::Home, usage};

/// Four that sleep and one that wakes each second, as a fleet of agents that wait does.
const SCRIPT: &str = "sleep 100000 & sleep 100000 & sleep 100000 & sleep 100000 & \
                      while :; do read -t 1 x <> /dev/tty; done";

fn main() {
    common::inner::run_if_asked();
    let count: usize = option("--sandboxes", 100);
    let seconds: u64 = option("--seconds", 60);
    println!("{count} sandboxes over {seconds} s, load {}", load());
    for limits in [&[][..], &["--memory", "512M", "--pids", "100", "--cpus", "1"]] {
        measure(count, seconds, limits);
    }
}

/// With limits sandboxes have control groups, where this machine gives any.
fn measure(count: usize, seconds: u64, limits: &[&str]) {
    let mut home = Home::new();
    for at in 0..count {
        let name = format!("s{at}");
        let plain =
            ["run", "--detach", "--name", &name, "--workspace", ".:none", "--egress", "deny"];
        home.verb(&[&plain, limits, &["--", "bash", "-c", SCRIPT]].concat());
    }
    // Everything has settled, and the first rounds are over.
    std::thread::sleep(Duration::from_secs(20));
    let before = usage::of(&home.mark());
    std::thread::sleep(Duration::from_secs(seconds));
    let after = usage::of(&home.mark());
    for (process, now) in &after {
        if !process.starts_with("sandwatch hub") {
            continue;
        }
        let was = before.get(process).copied().unwrap_or_default();
        println!(
            "  {process:18} cpu {:6.3} % of a core   wake-ups {:6.2}/s   private {:8.2} MB",
            (now.cpu_seconds - was.cpu_seconds) / seconds as f64 * 100.0,
            now.wakeups.saturating_sub(was.wakeups) as f64 / seconds as f64,
            now.private_kb as f64 / 1024.0,
        );
    }
    let listed: serde_json::Value = serde_json::from_str(&home.verb(&["stats", "--json"])).unwrap();
    let all = listed.as_array().unwrap();
    let known = all.iter().filter(|it| it["memory"]["used_bytes"].is_number()).count();
    println!("  {} metered, memory known of {known}, by {}", all.len(), all[0]["metered_by"]);
}
