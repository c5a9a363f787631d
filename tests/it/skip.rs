//! Skipping a test aloud, where this machine lacks what it needs.

use std::io::Write;

/// Says why a test does not run here, for want of something that can be installed. With
/// SANDWATCH_NO_SKIP=1 (CI sets it) it fails instead, so that nothing is left out unseen.
pub fn skipped(why: &str) {
    assert!(
        std::env::var_os("SANDWATCH_NO_SKIP").is_none_or(|it| it != "1"),
        "skipped although SANDWATCH_NO_SKIP=1: {why}"
    );
    aloud(why);
}

/// Says why a test does not run here, for want of something that a host has or has not: its kernel,
/// how that was set up, or root.
pub fn not_on_this_host(why: &str) {
    aloud(&format!("this host has none: {why}"));
}

/// Says why a test does not run here, for want of a program of somebody else's that a registry has: an agent's.
/// `.ci/run` installs what it can.
pub fn not_to_be_had(why: &str) {
    aloud(&format!("not here: {why}"));
}

/// Not by `eprintln!`, which the test harness keeps to itself unless a test fails.
fn aloud(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {name}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
