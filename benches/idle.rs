//! Idle: what fifty silent panes cost over a minute, in bytes written outside, CPU, wake-ups and
//! memory by process. Nobody has touched anything for a while when it begins: sessions are idle, and the
//! console counts no minutes any more. `cargo bench --bench idle [-- --panes N --seconds N --rest N --only tmux,console]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::time::Duration;

use common::{chosen, inner, load, option, subject, usage};

const SUBJECTS: &[&str] = &["tmux", "console"];

fn main() {
    inner::run_if_asked();
    let panes: usize = option("--panes", 50);
    let seconds: u64 = option("--seconds", 60);
    let rest: u64 = option("--rest", 75);
    println!("{panes} idle panes over {seconds} s after {rest} s of rest, load {}", load());
    for name in chosen(SUBJECTS) {
        let (home, outer) = subject::many_idle(&name, panes);
        std::thread::sleep(Duration::from_secs(rest));
        let (bytes, before) = (outer.bytes(), usage::of(&home.mark()));
        std::thread::sleep(Duration::from_secs(seconds));
        let after = usage::of(&home.mark());
        println!("{name}: {} bytes written outside", outer.bytes() - bytes);
        for (process, now) in &after {
            let was = before.get(process).copied().unwrap_or_default();
            println!(
                "  {process:18} x{:<3} cpu {:6.3} %   wake-ups {:6.2}/s   private {:8.2} MB   with shared {:8.2} MB",
                now.processes,
                (now.cpu_seconds - was.cpu_seconds) / seconds as f64 * 100.0,
                now.wakeups.saturating_sub(was.wakeups) as f64 / seconds as f64,
                now.private_kb as f64 / 1024.0,
                now.shared_fair_kb as f64 / 1024.0,
            );
        }
    }
}
