//! Bounds of what the hub tells those who collect figures.

use std::time::Duration;

/// Who may read metrics at once, and how long one may take to ask or a page to be made.
pub const METRICS_READERS_MAX: usize = 8;
pub const METRICS_WITHIN: Duration = Duration::from_secs(5);

/// How often a collector is told figures unless the environment says otherwise, and how often at most.
pub const COLLECTED_EVERY: Duration = Duration::from_secs(60);
pub const COLLECTED_EVERY_MIN: Duration = Duration::from_secs(1);
/// How often it is told of what happened, how much at once, and of how many of one sandbox.
pub const SPANS_EVERY: Duration = Duration::from_secs(5);
pub const SPANS_MAX: usize = 2048;
pub const SPANS_PER_SANDBOX_MAX: u32 = 64;
/// Longest name of one, in bytes, as a collector is told it.
pub const SPAN_NAME_BYTES_MAX: usize = 256;
/// How long the last of it may take when the hub ends, and all that goes to a collector.
pub const SPANS_AT_LAST_WITHIN: Duration = Duration::from_secs(2);
pub const COLLECTED_AT_LAST_WITHIN: Duration = Duration::from_secs(3);
