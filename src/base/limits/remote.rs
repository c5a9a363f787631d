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
/// How long `ssh` may take to connect, how often it looks whether the other side is there, and how many times that may
/// say nothing: within a minute it ends by itself. Who looks at the link knows sooner.
pub const SSH_CONNECTS_WITHIN: Duration = Duration::from_secs(10);
pub const SSH_ALIVE_EVERY: Duration = Duration::from_secs(15);
pub const SSH_SILENT_MAX: u32 = 3;
/// Pause before a hub is looked for again where only a person can mend what was in the way, a key that is refused say;
/// doubled each time up to the larger: what bans addresses counts five refusals in ten minutes.
pub const REFUSED_AFTER_MIN: Duration = Duration::from_secs(10);
pub const REFUSED_AFTER_MAX: Duration = Duration::from_secs(120);
/// Pause before a hub is looked for again for whoever does not want to wait.
pub const HURRIED_AFTER: Duration = Duration::from_secs(1);
/// What is kept of the words of `ssh`, in bytes and lines, and how long they are waited for once it has ended.
pub const SSH_WORDS_BYTES_MAX: usize = 512;
pub const SSH_WORD_LINES_MAX: usize = 3;
pub const SSH_WORDS_WITHIN: Duration = Duration::from_millis(500);
/// What a shell over there may print before the proxy begins, in bytes: a long message of the day.
pub const SSH_NOISE_BYTES_MAX: usize = 16 * 1024;
/// The line by which a proxy tells a hub who is behind it, in bytes.
pub const VIA_BYTES_MAX: usize = 128;
/// What a proxy passes on at once, in bytes.
pub const PROXY_PIECE_BYTES: usize = 64 * 1024;

/// Time between two measurements of the round trip, while somebody looks, and how long one may take: a hub that hangs or
/// can't be reached any more is known as such within the sum, three seconds.
pub const PING_EVERY: Duration = Duration::from_secs(1);
pub const PING_WITHIN: Duration = Duration::from_secs(2);
const _: () = assert!(PING_EVERY.as_millis() + PING_WITHIN.as_millis() <= 3000);
/// On a way whose round trips take long, so many of them; and no longer than this.
pub const PING_TRIPS: u32 = 8;
pub const PING_WITHIN_MAX: Duration = Duration::from_secs(10);
/// Round trips that are looked at together: those of a minute.
pub const TRIPS_KEPT: usize = 60;
/// A round trip was late when it took twice the quickest of those and this: less than the 200 ms after which the system sends
/// again what was lost, more than a busy machine makes others wait.
pub const TRIP_LATE_BEYOND: Duration = Duration::from_millis(100);
/// From how long on an answer that is late is told to be waited for: a shorter silence is over before it is read.
pub const TRIP_SILENT_FROM: Duration = Duration::from_secs(1);
const _: () = assert!(TRIP_SILENT_FROM.as_millis() < PING_WITHIN.as_millis());
/// Once this machine has slept for longer than the first, its connections are most likely gone: what is not answered
/// within the second is made anew.
pub const SLEPT_MIN: Duration = Duration::from_secs(2);
pub const PING_WITHIN_AWAKE: Duration = Duration::from_millis(700);
/// How often somebody who waits looks whether this machine slept meanwhile.
pub const AWAKE_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// On a way over a network, how often the other side is asked whether it is there, whoever looks, and how long it may
/// take to say so.
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
pub const KEEPALIVE_WITHIN: Duration = Duration::from_secs(15);
/// The same from the hub's side, for what its machine does not notice: one that vanished behind another machine, which
/// confirms what it never carries on. Within the sum its keyboard is free and its streams have ended; longer than a client
/// waits for a hub, so that a link which is bad in both directions is made anew by who looks at it.
pub const CLIENT_ASKED_EVERY: Duration = Duration::from_secs(15);
pub const CLIENT_ANSWERS_WITHIN: Duration = Duration::from_secs(20);
