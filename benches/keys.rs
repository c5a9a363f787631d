//! Key to frame: from a key of the console's own, one row down or up, to the picture that shows it, with
//! 100 sandboxes: on the link as it is, on one with a round trip of 200 ms, and with a hub that does not
//! answer any more. `cargo bench --bench keys [-- --sandboxes N --keys N]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::time::Duration;

use common::{inner, load, millis, option, outer::Outer, quantile, slow, subject};
use rustix::process::{Signal, kill_process};

const ROUND_TRIP: Duration = Duration::from_millis(200);
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Rows to move before turning round: fewer than are on screen, so that nothing scrolls.
const ROWS: usize = 30;

fn main() {
    inner::run_if_asked();
    let sandboxes: usize = option("--sandboxes", 100);
    let keys: usize = option("--keys", 300);
    println!("key to frame in ms with {sandboxes} sandboxes, {keys} keys, load {}", load());
    let mut home = subject::Home::new();
    for number in 0..sandboxes {
        home.sandbox(&format!("idle-{number:03}"), &["idle"]);
    }
    let hub = home.hub();
    {
        let outer = console(&home, "rtt");
        report("as it is", &outer, keys);
        kill_process(hub, Signal::STOP).unwrap();
        outer.wait_for("NO HUB", Duration::from_secs(30));
        report("dead hub", &outer, keys);
        kill_process(hub, Signal::CONT).unwrap();
    }
    let _link = slow::link(&home.path().join("run/hub.sock"), ROUND_TRIP / 2);
    report("200 ms away", &console(&home, "rtt 2"), keys);
}

fn console(home: &subject::Home, link: &str) -> Outer {
    let outer = home.outer(&[env!("CARGO_BIN_EXE_sandwatch")]);
    outer.wait_for(link, Duration::from_secs(60));
    outer.settle(Duration::from_millis(500), Duration::from_secs(5));
    outer
}

fn report(link: &str, outer: &Outer, keys: usize) {
    let (mut samples, mut lost) = (Vec::new(), 0);
    for number in 0..keys {
        let key: &[u8] = if (number / ROWS).is_multiple_of(2) { b"j" } else { b"k" };
        let before = cursor(&outer.text());
        match outer.press(key, |text| cursor(text) != before, SEEN_WITHIN) {
            Some(after) => samples.push(millis(after)),
            None => lost += 1,
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    let at = |share| quantile(&samples, share);
    println!(
        "  {link:12} p50 {:7.2}   p99 {:7.2}   most {:7.2}   lost {lost}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// The row of the fleet that the cursor is on.
fn cursor(text: &str) -> Option<usize> {
    text.lines().position(|it| it.starts_with('>'))
}
