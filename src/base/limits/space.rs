//! Bounds of looking at what sandboxes take on disk.

use std::time::Duration;

/// One sandbox is looked at no more often.
pub const SPACE_EVERY: Duration = Duration::from_secs(15);
/// After a look nobody looks for so many times as long: all of them together cost a hundredth of a core at most.
pub const SPACE_REST: u32 = 100;
/// How long one look may take, how much it looks at, and how deep; what is beyond is not in the sum.
pub const SPACE_WITHIN: Duration = Duration::from_secs(20);
pub const SPACE_ENTRIES_MAX: u64 = 2_000_000;
/// Each level is two descriptors.
pub const SPACE_DEPTH_MAX: usize = 64;
/// Files with several names that are known again.
pub const SPACE_LINKS_MAX: usize = 100_000;
