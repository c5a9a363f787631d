//! Skipping a test aloud, where this machine lacks what it needs.

/// Says why a test does not run here, for want of something that can be installed. With
/// SANDWATCH_NO_SKIP=1 (CI sets it) it fails instead, so that nothing is left out unseen.
pub fn skipped(why: &str) {
    assert!(
        std::env::var_os("SANDWATCH_NO_SKIP").is_none_or(|it| it != "1"),
        "skipped although SANDWATCH_NO_SKIP=1: {why}"
    );
    eprintln!("skipped: {why}");
}

/// Says why a test does not run here, for want of something that a host has or has not: its kernel,
/// how that was set up, or root.
pub fn not_on_this_host(why: &str) {
    eprintln!("skipped: this host has none: {why}");
}
