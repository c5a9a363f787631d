//! The bounds on hubs elsewhere; a part of `limits`.

use std::time::Duration;

use super::{ANSWER_WITHIN, HUB_START_WITHIN};

/// Contexts that are known, and what one is called, in bytes: a name becomes that of a directory.
pub const CONTEXTS_MAX: usize = 64;
pub const CONTEXT_NAME_BYTES_MAX: usize = 63;
/// The address of a hub, in bytes: a path as long as the system takes them, and its scheme.
pub const ADDRESS_BYTES_MAX: usize = 4096 + 16;
/// The name of somebody on a host, in bytes.
pub const HOST_USER_BYTES_MAX: usize = 128;
/// How long a hub elsewhere may take to be reached: names, handshakes and keys over a slow line, and its start.
pub const REACH_WITHIN: Duration =
    Duration::from_secs(2 * ANSWER_WITHIN.as_secs() + HUB_START_WITHIN.as_secs());
/// ... when a person may be asked for a passphrase on the way.
pub const REACH_ASKING_WITHIN: Duration = Duration::from_secs(180);
