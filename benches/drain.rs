//! Drain: how fast a flooding program gets rid of its output, in MB/s, and how much of it the outer
//! terminal is sent. `cargo bench --bench drain [-- --rounds N --mb N --kind lines|colours]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::time::{Duration, Instant};

use common::{
    chosen, inner, load, median, option,
    outer::Outer,
    spread,
    subject::{self, Home},
};

const SUBJECTS: &[&str] = &["bare", "tmux", "attach", "console"];

fn main() {
    inner::run_if_asked();
    let rounds: usize = option("--rounds", 5);
    let megabytes: f64 = option("--mb", 200.0);
    let kind: String = option("--kind", "lines".into());
    let subjects = chosen(SUBJECTS);
    println!(
        "drain of {megabytes} MB of {kind} at {}x{}, load {}",
        subject::COLS,
        subject::ROWS,
        load()
    );
    let mut results = vec![(Vec::new(), Vec::new()); subjects.len()];
    for _ in 0..rounds {
        for (name, (rates, shares)) in subjects.iter().zip(&mut results) {
            let (_home, outer) = start(name, megabytes, &kind);
            let (before, at) = (outer.bytes(), Instant::now());
            outer.send(b"g");
            outer.wait_for(inner::DONE, Duration::from_secs(300));
            rates.push(megabytes / at.elapsed().as_secs_f64());
            shares.push((outer.bytes() - before) as f64 / 1e6 / megabytes);
        }
    }
    for (name, (rates, shares)) in subjects.iter().zip(&results) {
        let noise = spread(rates) * 100.0;
        let (rate, share) = (median(rates), median(shares));
        println!("  {name:8} {rate:7.1} MB/s ±{noise:3.0} %   written outside per byte {share:.4}");
    }
}

fn start(name: &str, megabytes: f64, kind: &str) -> (Home, Outer) {
    let mut home = Home::new();
    let megabytes = megabytes.to_string();
    let args = ["flood", "--mb", &megabytes, "--kind", kind];
    let outer = subject::one_pane(&mut home, name, &args);
    outer.wait_for("flood ready", Duration::from_secs(60));
    outer.settle(Duration::from_millis(300), Duration::from_secs(3));
    (home, outer)
}
