//! Skipping a test aloud, where this machine lacks what it needs; in CI that is a failure.

/// Says why a test does not run here. With SANDWATCH_NO_SKIP=1 (CI sets it) it fails instead, so
/// that nothing is left out unseen.
pub fn skipped(why: &str) {
    assert!(
        std::env::var_os("SANDWATCH_NO_SKIP").is_none_or(|it| it != "1"),
        "skipped although SANDWATCH_NO_SKIP=1: {why}"
    );
    eprintln!("skipped: {why}");
}
