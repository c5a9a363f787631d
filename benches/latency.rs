//! Echo latency: from a key typed into the outer terminal to the cell that shows it, idle and beside
//! flooding panes. `cargo bench --bench latency [-- --rounds N --keys N --floods N --only tmux,console]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::time::Duration;

use common::{
    chosen, inner, load, median, millis, option, outer::Outer, quantile, spread, subject,
};

const SUBJECTS: &[&str] = &["bare", "tmux", "zellij", "attach", "console"];
const KEYS: &[char] = &['Q', 'W', 'Y', 'V'];

fn main() {
    inner::run_if_asked();
    let rounds: usize = option("--rounds", 5);
    let keys: usize = option("--keys", 200);
    let subjects = chosen(SUBJECTS);
    println!("echo latency in ms at {}x{}, load {}", subject::COLS, subject::ROWS, load());
    println!("median of {rounds} interleaved rounds of {keys} keys; ± is the spread of rounds");
    let only: Option<usize> = option("--floods", String::new()).parse().ok();
    for floods in [0, 1, 8].into_iter().filter(|it| only.is_none_or(|only| only == *it)) {
        println!("beside {floods} flooding panes:");
        let mut results = vec![(Vec::new(), Vec::new(), 0); subjects.len()];
        for _ in 0..rounds {
            for (name, (p50, p99, lost)) in subjects.iter().zip(&mut results) {
                let Some((_home, outer)) = subject::echo_beside(name, floods) else { continue };
                let (samples, missing) = type_keys(&outer, keys);
                p50.push(quantile(&samples, 0.5));
                p99.push(quantile(&samples, 0.99));
                *lost += missing;
            }
        }
        for (name, (p50, p99, lost)) in subjects.iter().zip(&results) {
            if !p50.is_empty() {
                let (half, most) = (median(p50), median(p99));
                let noise = (spread(p50) * 100.0, spread(p99) * 100.0);
                println!(
                    "  {name:8} p50 {half:8.3} ±{:3.0} %   p99 {most:8.3} ±{:3.0} %   lost {lost}",
                    noise.0, noise.1
                );
            }
        }
    }
}

/// Types at human-like, uneven distances; the latencies in ms and the keys never seen.
fn type_keys(outer: &Outer, keys: usize) -> (Vec<f64>, usize) {
    let (mut samples, mut lost, mut seed) = (Vec::new(), 0, 12345_u64);
    for number in 0..keys {
        if number % 20 == 0 {
            outer.send(b"\r");
            std::thread::sleep(Duration::from_millis(60));
        }
        match outer.echo(KEYS[number % KEYS.len()], Duration::from_secs(3)) {
            Some(after) => samples.push(millis(after)),
            None => lost += 1,
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros(15_000 + (seed >> 33) % 17_000));
    }
    (samples, lost)
}
