//! Bounds of the record of what happened and of looking into recordings, each with its unit and its reason.

use std::time::Duration;

/// Happenings in one page, and those of one that says nothing else: what a person reads in one go.
pub const TIMELINE_PAGE_MAX: u32 = 500;
pub const TIMELINE_PAGE: u32 = 100;
/// Happenings in one listing of the command line: a page is asked for after the other.
pub const TIMELINE_LISTED_MAX: u32 = 20_000;
/// The line that tells of one, in bytes. What is longer is cut.
pub const TIMELINE_TEXT_BYTES_MAX: usize = 1024;
/// Happenings that wait to be written: nobody who reports waits for a disk. What comes then is counted.
pub const TIMELINE_QUEUED_MAX: usize = 4096;
/// Changes of status of one sandbox that are kept, in a burst, and how often after it: a program that flickers all day makes
/// the record grow by some 2 MB. What is left out is counted in the next one. Notices have the same for themselves.
pub const TIMELINE_BURST: u32 = 256;
pub const TIMELINE_EVERY: Duration = Duration::from_secs(10);
/// Happenings that are kept: of one sandbox, of all (some 60 MB), and for so long, as recordings are.
pub const TIMELINE_OF_ONE_MAX: u64 = 20_000;
pub const TIMELINE_OF_ALL_MAX: u64 = 200_000;
pub const TIMELINE_AGE_MAX: Duration = super::RECORDING_AGE_MAX;
/// Shortest time between two looks for whoever follows it.
pub const TIMELINE_FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// Operators whose last sign is kept; the oldest go first. A name, in bytes.
pub const OPERATORS_MAX: i64 = 256;
/// Without a key for so long, somebody was away.
pub const AWAY_AFTER: Duration = Duration::from_secs(600);
/// Shortest time between two signs of an operator that a console passes on.
pub const SIGN_EVERY: Duration = Duration::from_secs(30);
/// Happenings that are looked through for whoever comes back, and sandboxes that are named then.
pub const AWAY_LOOKED_MAX: u32 = 5000;
pub const AWAY_NAMED_MAX: usize = 12;
/// Output that comes along with a screen of the past, in bytes and pieces: some seconds of a busy program, a message that is
/// not large, and a console that plays does not ask for every frame.
pub const REPLAY_BYTES_MAX: usize = 256 * 1024;
pub const REPLAY_PIECES_MAX: usize = 4096;
/// Segments (about as many MiB of output) that one search in time looks through; the answer says where to go on.
pub const FIND_SEGMENTS_MAX: usize = 32;
/// Bytes before a piece of output in which a match that ends in it may begin: a long line that comes letter by letter is not
/// read anew for each of them.
pub const FIND_BACK_BYTES_MAX: usize = 1024;
/// Files of an upper layer that are looked at for when they changed, and those that are told, the newest.
pub const TOUCHED_LOOKED_MAX: usize = 20_000;
pub const TOUCHED_TOLD_MAX: usize = 500;
/// Changes of files that the hub remembers for lists of the whole fleet and for whoever follows: some 20 MB, or 110 MB where
/// every path is as long as can be. Past it the sandbox with the most of them forgets its oldest.
pub const TIMELINE_FILES_MAX: usize = 100_000;
/// Of a path that is remembered, in bytes: the line that tells of it has room for no more.
pub const TIMELINE_FILE_BYTES_MAX: usize = TIMELINE_TEXT_BYTES_MAX;
/// Sandboxes whose files are looked through at once: one that takes long leaves a turn for the others.
pub const TIMELINE_WALKS_AT_ONCE: usize = 2;
/// How long a list waits for files that are being looked through; what takes longer comes later.
pub const TIMELINE_FILES_WAIT: Duration = Duration::from_millis(500);
/// Shortest time between two looks at the files of a sandbox, for whoever follows; and they take no more of the time than one
/// part in so many. It goes by what its own looks cost: one with very many files makes no other wait.
pub const TIMELINE_FILES_EVERY: Duration = Duration::from_secs(2);
pub const TIMELINE_FILES_PART: u32 = 20;
/// Of changes of files of one sandbox in one stretch of time the newest so many are listed beside other things, and the rest
/// counted: who unpacks an archive hides nothing.
pub const TIMELINE_FILES_IN_A_ROW: usize = 5;
pub const TIMELINE_FILES_STRETCH: Duration = Duration::from_secs(10);
/// A list that stands on a look of this age says so.
pub const TIMELINE_FILES_OLD: Duration = Duration::from_secs(10);
/// Things that a list says are lacking in it; more of them are counted: together they are one line.
pub const TIMELINE_FILES_MISSING_MAX: usize = 4;
/// Times that a verb asks for the same list again, each waiting for what is still being looked through.
pub const TIMELINE_FILES_TRIES: usize = 10;
/// Happenings that the console lists: older ones are asked for by who scrolls to them.
pub const CONSOLE_TIMELINE_MAX: usize = 5000;
