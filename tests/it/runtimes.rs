//! Whether sandboxes can be run by OCI runtimes here: what `doctor` says of them, asked once.

use std::sync::OnceLock;

use sandwatch::{
    driver::{Driver, local::Local},
    model::{check::CheckStatus, sandbox::Isolation},
};

/// Why sandboxes of this grade can't be made here, to be said aloud.
pub(crate) fn reason(grade: Isolation) -> Option<fn()> {
    static KNOWN: OnceLock<Vec<(String, bool)>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        // Each test has a runtime of its own, which waits for nobody else.
        let asked = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(Local.probe())
        });
        let checks = asked.join().unwrap().into_iter();
        checks.map(|it| (it.check, it.status == CheckStatus::Ok)).collect()
    });
    let works = known.contains(&(format!("isolation.{}", grade.word()), true));
    let why: fn() = match grade {
        Isolation::Gvisor => || {
            crate::skip::not_on_this_host(
                "a runsc that works (`.ci/run` installs one; `sandwatch doctor`)",
            )
        },
        _ => || crate::skip::not_on_this_host("a runc that works, and root (`sandwatch doctor`)"),
    };
    (!works).then_some(why)
}
