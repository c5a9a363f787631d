//! Bounds of what is said to a gateway of OpenShell and heard from it.

use std::time::Duration;

/// How long the way to it may take, and one answer: less than whoever asked waits for ours.
pub const GATEWAY_CONNECT_WITHIN: Duration = Duration::from_secs(5);
pub const GATEWAY_ANSWER_WITHIN: Duration = Duration::from_secs(8);
const _: () = assert!(GATEWAY_ANSWER_WITHIN.as_secs() < super::ANSWER_WITHIN.as_secs());
/// How often a silent connection is probed, and how long that may take.
pub const GATEWAY_PROBED_EVERY: Duration = Duration::from_secs(10);
pub const GATEWAY_PROBE_WITHIN: Duration = Duration::from_secs(10);
/// Largest message of it, in bytes: a draft brings two whole policies along.
pub const GATEWAY_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Connections over which news come: servers of gRPC take some 200 calls at once on one.
pub const GATEWAY_NEWS_WAYS: usize = 4;
/// Longest word of it that is told, in bytes.
pub const GATEWAY_WORDS_BYTES_MAX: usize = 512;
/// Sandboxes asked for in one page, which is as many as it gives, and pages of one list.
pub const GATEWAY_PAGE: u32 = 100;
pub const GATEWAY_PAGES_MAX: u32 = 100;
/// How often it is asked which sandboxes there are: what happens to each of them it tells by itself.
pub const GATEWAY_LISTED_EVERY: Duration = Duration::from_secs(3);
/// How long a hub that begins waits for the first list, so that whoever started it finds what there is.
pub const GATEWAY_FIRST_WITHIN: Duration = Duration::from_secs(4);
const _: () = assert!(GATEWAY_FIRST_WITHIN.as_secs() < super::HUB_START_WITHIN.as_secs());
/// How long a list waits until what it lacks is struck off here, so that the names of those are free for others in it; what is
/// done to one of them just then may hold that up.
pub const GATEWAY_STRUCK_WITHIN: Duration = Duration::from_secs(1);
/// Labels of a sandbox that are shown, and the bytes of each part of one.
pub const GATEWAY_LABELS_MAX: usize = 32;
pub const GATEWAY_LABEL_BYTES_MAX: usize = 128;
/// Words of a command that are shown, and the bytes of each.
pub const GATEWAY_COMMAND_MAX: usize = 64;
pub const GATEWAY_COMMAND_BYTES_MAX: usize = 1024;
/// Lines of its log that are asked for at first, and after a gap; it keeps 2000.
pub const GATEWAY_LOG_LINES: u32 = 200;
pub const GATEWAY_LOG_LINES_AFTER_GAP: u32 = 2000;
/// Longest line of its log, in bytes, and fields of one.
pub const GATEWAY_LOG_LINE_BYTES_MAX: usize = 2048;
pub const GATEWAY_LOG_FIELDS_MAX: usize = 16;
/// Lines of a log that wait for who draws them; what does not fit is counted and said.
pub const GATEWAY_LOG_QUEUED_MAX: usize = 4096;
pub const GATEWAY_LOG_BYTES_MAX: usize = 512 * 1024;
/// Lines of the newest millisecond of a log that are known again when it is told once more.
pub const GATEWAY_LOG_KNOWN_MAX: usize = 1024;
/// How often drafts are fetched though nothing was told of them.
pub const GATEWAY_DRAFTS_EVERY: Duration = Duration::from_secs(30);
/// How soon they are fetched again, however often something is told.
pub const GATEWAY_DRAFTS_PAUSE: Duration = Duration::from_millis(100);
/// Drafts that are shown of one sandbox at once; more wait until those are answered, and that is said.
pub const GATEWAY_DRAFTS_SHOWN_MAX: usize = super::ASKS_PENDING_MAX;
/// Drafts of one sandbox of which is known that they were answered.
pub const GATEWAY_TRIES_MAX: usize = 1024;
/// How far the first look for what differs between two policies goes: rules of each.
pub const GATEWAY_RULES_MAX: usize = 512;
/// Longest value that is shown of a draft, in bytes, and how many lines there are of a list of such.
pub const GATEWAY_VALUE_BYTES_MAX: usize = 2048;
pub const GATEWAY_VALUES_MAX: usize = 64;
/// How long an approved rule may take until the sandbox has it: it asks every ten seconds.
pub const GATEWAY_LOADED_WITHIN: Duration = Duration::from_secs(60);
/// How often that is looked at.
pub const GATEWAY_LOADED_EVERY: Duration = Duration::from_secs(2);
/// A piece that is typed, in bytes, and the pause between two: the other side keeps 64 pieces, and hangs up on more.
pub const GATEWAY_TYPED_BYTES_MAX: usize = 1024;
pub const GATEWAY_TYPED_PAUSE: Duration = Duration::from_millis(2);
/// Main programs of sandboxes whose terminals are watched at once: a process of `ssh` each.
pub const GATEWAY_ATTACHED_MAX: usize = 100;
/// What is sent again of a main terminal when it is attached to once more, in bytes.
pub const GATEWAY_REPLAY_BYTES_MAX: usize = 1024 * 1024;
/// So many of the last bytes are looked for in it, to go on behind them.
pub const GATEWAY_REPLAY_MARK_BYTES: usize = 4096;
/// How long the first of it may take, and a pause in it, until it counts as all; and how long all of it may, from its first
/// byte, for a program that prints without a pause would make it endless.
pub const GATEWAY_REPLAY_FIRST_WITHIN: Duration = Duration::from_secs(2);
pub const GATEWAY_REPLAY_QUIET: Duration = Duration::from_millis(300);
pub const GATEWAY_REPLAY_WITHIN: Duration = Duration::from_secs(2);
/// Largest secret in a file, in bytes.
pub const GATEWAY_TOKEN_BYTES_MAX: u64 = 64 * 1024;
