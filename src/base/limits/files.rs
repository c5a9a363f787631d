//! The bounds on looking at files of sandboxes; a part of `limits`.

use std::time::Duration;

use super::ANSWER_WITHIN;

/// Files of a sandbox, as somebody looks at them. Entries of one directory that are told: a person finds nothing among
/// more, and they take some 200 bytes each.
pub const FILES_LISTED_MAX: usize = 200_000;
/// Entries in one piece of a listing, and bytes of their names.
pub const FILES_PIECE_MAX: usize = 512;
pub const FILES_PIECE_BYTES_MAX: usize = 256 * 1024;
/// One piece of a file, in bytes.
pub const FILE_PIECE_BYTES: usize = 128 * 1024;
/// What may be written to one file, in bytes.
pub const FILE_WRITTEN_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// How long one step of such a look may take; a file system that hangs costs that and a thread.
pub const FILES_STEP_WITHIN: Duration = Duration::from_secs(8);
const _: () = assert!(FILES_STEP_WITHIN.as_secs() < ANSWER_WITHIN.as_secs());
/// What is held of one file in memory to be shown or told as one document, in bytes.
pub const FILE_SHOWN_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Links that one file is behind, one after the other, where they are not followed by the kernel, which follows as many.
pub const LINKS_FOLLOWED_MAX: usize = 40;
/// Steps at once, of one sandbox and of all: each is a thread for as long as it takes, and hangs with what it looks at.
pub const FILES_STEPS_PER_SANDBOX_MAX: usize = 4;
pub const FILES_STEPS_MAX: usize = 64;
/// A search: entries that are looked at, hits, how deep, directories that wait and bytes of their paths, what is read of
/// one file, and how long all of it may take.
pub const FIND_ENTRIES_MAX: u64 = 2_000_000;
pub const FIND_HITS_MAX: usize = 1000;
pub const FIND_DEPTH_MAX: usize = 128;
pub const FIND_WAITING_MAX: usize = 100_000;
pub const FIND_WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
pub const FIND_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
pub const FIND_WITHIN: Duration = Duration::from_secs(60);
/// How long a search works before it tells what it has, and hears whether it is still wanted.
pub const FIND_STEP: Duration = Duration::from_millis(100);
/// What is looked for, and what is told of a line that holds it, in bytes.
pub const FIND_WORDS_BYTES_MAX: usize = 1024;
pub const FILE_HIT_BYTES_MAX: usize = 512;
/// Directories that one watch is about, and watches of one hub: the kernel has a bound of its own beside it.
pub const FILES_WATCHED_MAX: usize = 256;
pub const FILE_WATCHES_MAX: usize = 4096;
/// News of one watch are told no more often than that: a build writes thousands of files in a second.
pub const FILES_NEWS_EVERY_MIN: Duration = Duration::from_millis(200);
/// Where nothing tells of changes, directories are looked at again after so long; entries that are looked at.
pub const FILES_LOOK_EVERY: Duration = Duration::from_secs(3);
pub const FILES_LOOK_ENTRIES_MAX: usize = 2000;
/// What the console reads of one file to show it, in bytes; lines of it, and bytes of one line that are shown.
pub const CONSOLE_FILE_BYTES_MAX: u64 = 256 * 1024;
pub const CONSOLE_FILE_LINES_MAX: usize = 20_000;
pub const CONSOLE_FILE_LINE_BYTES_MAX: usize = 4096;
/// A picture that is shown: its file in bytes, and its points, which take four bytes each while it is made small.
pub const CONSOLE_PICTURE_BYTES_MAX: u64 = 8 * 1024 * 1024;
pub const CONSOLE_PICTURE_POINTS_MAX: u64 = 16 * 1024 * 1024;
/// The same as a terminal is sent it: points, which fill most of a large window, and bytes, which a slow line takes a while for.
pub const CONSOLE_GRAPHIC_POINTS_MAX: usize = 1 << 20;
pub const CONSOLE_GRAPHIC_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Points of one cell of a terminal, in each direction: what it says beyond that is not believed.
pub const CELL_POINTS_MAX: u16 = 256;
/// A file that is edited on a copy, in bytes.
pub const CONSOLE_EDIT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A directory that changes all the time is read again after so long, and for each thousand of its entries so much later.
pub const CONSOLE_FILES_AGAIN_MIN: Duration = Duration::from_millis(500);
pub const CONSOLE_FILES_AGAIN_EACH: Duration = Duration::from_millis(100);
