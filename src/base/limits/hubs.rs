//! Bounds of a console over several hubs, each with its unit and its reason.

use std::time::Duration;

use super::CONTEXTS_MAX;

/// Hubs in one console: the own one and all that may be in contexts.toml. Each costs three connections.
pub const HUBS_MAX: usize = 1 + CONTEXTS_MAX;
/// Changes of one hub that wait for the console: one that tells more waits, and is told to read its list anew by its own
/// hub, while all others go on.
pub const HUB_FEED_QUEUED_MAX: usize = 32;
/// How long a list of all hubs waits for one of them: less than a person wonders. That one is missing is said.
pub const MERGE_WITHIN: Duration = Duration::from_secs(2);
/// Words about hubs that are missing in lists and wait for the console: one for each hub. The oldest go first.
pub const MISSING_WORDS_MAX: usize = HUBS_MAX;
/// Calls to one of several hubs in flight from one console: one that answers none leaves the others theirs.
pub const CALLS_PER_HUB_MAX: usize = 64;
/// Letters that are drawn before their echo came: more than a person is ahead of a slow link.
pub const PREDICTED_MAX: usize = 64;
/// Round trips from which on they are, unless told otherwise: less is not felt as slow.
pub const PREDICT_FROM: Duration = Duration::from_millis(60);
