//! One line of `doctor`: what works on this machine, what does not, and how to get it.

use super::sandbox::words;

words! {
    /// How a check came out.
    CheckStatus {
        Ok = "ok",
        /// Works, with a stated loss.
        Degraded = "degraded",
        Missing = "missing",
    }
}

/// The result of trying one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable name for scripts, e.g. `isolation.namespaces`.
    pub check: String,
    pub status: CheckStatus,
    /// What was seen.
    pub detail: String,
    /// What to do; `None` when nothing needs doing or nothing can be.
    pub fix: Option<String>,
}
