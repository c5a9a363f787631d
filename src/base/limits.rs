//! Every bound in the program, with its unit and its reason.

mod access;
mod files;
mod gate;
mod gateway;
mod gauges;
mod gpus;
mod hubs;
mod metrics;
mod remote;
mod space;
mod status;
mod timeline;

use std::time::Duration;

pub use access::*;
pub use files::*;
pub use gate::*;
pub use gateway::*;
pub use gauges::*;
pub use gpus::*;
pub use hubs::*;
pub use metrics::*;
pub use remote::*;
pub use space::*;
pub use status::*;
pub use timeline::*;

/// Largest PTY chunk in one message, in bytes: eight 4 KiB reads; more would hold a key press back
/// behind output.
pub const PTY_CHUNK_BYTES_MAX: usize = 32 * 1024;

/// A program that twice in a row has this much ready, in bytes, floods: it fills what a terminal holds.
pub const FLOOD_FILL_BYTES: usize = 4 * 1024;
/// How long output of a flood is gathered before it is parsed, up to one chunk: it costs a flood nothing, and
/// nobody else is held up.
pub const FLOOD_GATHERED_WITHIN: Duration = Duration::from_millis(1);

/// Bytes of output a console parses before a waiting key or frame may go first.
pub const PARSE_SLICE_BYTES: usize = 8 * 1024;

/// Output kept in memory per session, in bytes: a watcher that lags further gets a keyframe.
pub const RING_BYTES: usize = 1024 * 1024;

/// A watcher of the screen who is further behind than this gets a keyframe instead of chunks: a
/// keyframe is 2 to 20 KB, so more bytes than this cost more than they tell.
pub const LAG_BYTES_MAX: u64 = 64 * 1024;

/// Shortest time between two keyframes to one watcher: nobody draws more than 60 frames a second.
pub const KEYFRAME_EVERY_MIN: Duration = Duration::from_millis(16);

/// Largest wire message in bytes, both ways. A dense true-colour screen of 300x100 is 0.9 MB.
pub const WIRE_MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
const _: () = assert!(PTY_CHUNK_BYTES_MAX * 2 <= WIRE_MESSAGE_BYTES_MAX);

/// One piece of a screen on the wire, in bytes: small enough that other panes get their turn between
/// two pieces, and the whole screen: both of its grids, every cell with colours, attributes and accents
/// of its own.
pub const KEYFRAME_PIECE_BYTES: usize = 256 * 1024;
pub const KEYFRAME_BYTES_MAX: usize = 48 * 1024 * 1024;
/// The most that one cell takes of it: its place 12, all of its attributes 50, its text 22.
pub const KEYFRAME_CELL_BYTES_MAX: usize = 84;
const _: () = assert!(
    2 * SCREEN_CELLS_MAX as usize * KEYFRAME_CELL_BYTES_MAX + 2 * CLIPBOARD_BYTES_MAX
        <= KEYFRAME_BYTES_MAX
);

/// One message of a listing or snapshot is closed above this many bytes.
pub const LISTING_PIECE_BYTES: usize = 512 * 1024;

/// Largest and smallest screen, in cells. vt100 is only safe from 2x2 on.
pub const SCREEN_COLS_MAX: u16 = 1000;
pub const SCREEN_ROWS_MAX: u16 = 1000;
/// Most cells of a screen: twice what a wall of small print has, and few enough for a keyframe.
pub const SCREEN_CELLS_MAX: u32 = 256 * 1024;
pub const SCREEN_SIDE_MIN: u16 = 2;

/// Input waiting for a program that does not read, in bytes; beyond it typing is refused, aloud.
pub const INPUT_QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Largest single piece of input (a paste), in bytes.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// What is asked for, in bytes: all that a person is shown of it, whole or not at all.
pub const ASK_BYTES_MAX: usize = 48 * 1024;
/// Names and values of one ask beside its subject.
pub const ASK_DETAILS_MAX: usize = 16;
/// Asks of one sandbox that wait at once, and all of them together, in bytes: more than a person reads. What comes
/// then is denied unseen, and counted.
pub const ASKS_PENDING_MAX: usize = 16;
pub const ASKS_BYTES_MAX: usize = 192 * 1024;
/// Asks of one sandbox in a burst, and how soon there may be another after it.
pub const ASKS_BURST: u32 = 8;
pub const ASK_EVERY_MIN: Duration = Duration::from_millis(100);
/// How long an ask waits for an answer unless it says so, and at most.
pub const ASK_WITHIN: Duration = Duration::from_secs(300);
pub const ASK_WITHIN_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a container has to show that its programs can ask, and what is heard of why they can't, in bytes.
pub const ASK_PROBE_WITHIN: Duration = Duration::from_secs(20);
pub const ASK_PROBE_BYTES_MAX: u64 = 512;
/// What a person says to an agent with an answer, in bytes.
pub const ANSWER_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Connections of a sandbox's programs that ask, at once.
pub const ASKERS_MAX: usize = 64;
/// Of askers who wait for one answer, how many are shown beside the first; the rest are counted.
pub const ALSO_SHOWN_MAX: usize = 4;
/// Processes that are named of who asks: itself, and those it comes from.
pub const ASK_PROCESSES_MAX: usize = 16;

/// Profiles of agents that an operator has, and what one says: entries of a list, bytes of a word, files that it puts into
/// a sandbox, and their bytes.
pub const AGENTS_MAX: usize = 64;
pub const AGENT_WORDS_MAX: usize = 32;
pub const AGENT_WORD_BYTES_MAX: usize = 512;
/// What is said of how an agent asks: a few words of its profile, and ours.
pub const ASKING_BYTES_MAX: usize = 2 * AGENT_WORD_BYTES_MAX;
pub const AGENT_FILES_MAX: usize = 8;
pub const AGENT_FILE_BYTES_MAX: usize = 64 * 1024;
/// How long putting its files into the home in a sandbox may hold up an agent's start, all of them together: less than
/// whoever asked for the start waits for an answer.
pub const AGENT_FILES_WITHIN: Duration = Duration::from_secs(5);
const _: () = assert!(AGENT_FILES_WITHIN.as_secs() < ANSWER_WITHIN.as_secs());
/// How long an agent may take until its hook tells that it runs: a slow start, a login behind it, and no more.
pub const AGENT_HEARD_WITHIN: Duration = Duration::from_secs(30);
/// Agents of one sandbox of which is known whether they ask here; of more it is not told.
pub const AGENTS_KNOWN_MAX: usize = 64;

/// Hosts that secrets of one sandbox go to; each has a certificate of its own.
pub const SECRETS_MAX: usize = 16;
/// A value, in bytes: more than any header that servers take. All of them fit in one message.
pub const SECRET_VALUE_BYTES_MAX: usize = 8 * 1024;
/// And at least: a shorter one would be found in what has nothing to do with it.
pub const SECRET_VALUE_BYTES_MIN: usize = 8;
/// Certificate authorities of one list: several times what systems have.
pub const ROOTS_MAX: usize = 1000;
/// How often the rules are looked at while a connection is open: for so long one goes on that they deny now.
pub const RULES_LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// Rules in one policy: more than a person keeps in mind.
pub const RULES_MAX: usize = 1000;
/// Words at which one rule about commands looks: more than a person tells apart.
pub const RULE_WORDS_MAX: usize = 64;
/// What rules look through of a command line and all scripts in it, in bytes and words. What is longer is asked:
/// several times the longest line that can be asked for, and a moment's work for the most rules.
pub const COMMAND_BYTES_MAX: usize = 256 * 1024;
pub const COMMAND_WORDS_MAX: usize = 8192;
/// How long rules may take to answer; later than that, a person is asked.
pub const RULES_WITHIN: Duration = Duration::from_secs(2);
/// How long somebody waits for a change of rules, which goes on after that: longer than the registry waits for another
/// program, and less than a client waits for a hub.
pub const RULES_CHANGE_WITHIN: Duration = Duration::from_secs(8);
/// How long all files of rules may take to be listed; the rest is named as not looked at. Somebody waits for it on a screen.
pub const RULEBOOK_WITHIN: Duration = Duration::from_secs(10);
/// Directories with rules of their own: more than anybody works in.
pub const PROJECTS_MAX: usize = 256;
/// Rules whose answers are counted, those that answered last: what is taken out of a file is forgotten in time.
pub const RULE_HITS_KEPT: usize = 4 * RULES_MAX;
/// Asks that have ended at which a rule is held before it is made, the newest, and those of them that are named.
pub const REACH_ASKS_MAX: usize = 500;
pub const REACH_NAMED_MAX: usize = 50;
/// What somebody writes as rules at once, in bytes.
pub const RULES_WRITTEN_BYTES_MAX: usize = 256 * 1024;
/// How long an answer waits for the snapshot that is to be taken first.
pub const SNAPSHOT_FIRST_WITHIN: Duration = Duration::from_secs(60);
/// What is told of the risk of one ask: more is read by nobody.
pub const RISK_FINDINGS_MAX: usize = 16;
/// Asks that are kept after their end, over all sandboxes; the oldest go.
pub const ASKS_KEPT: usize = 10_000;
/// ... and their bytes, which a hub that starts reads; and of one sandbox, so that none drives out what was decided
/// for another.
pub const ASKS_KEPT_BYTES: usize = 64 * 1024 * 1024;
pub const ASKS_KEPT_OF_ONE: usize = 500;
pub const ASKS_KEPT_OF_ONE_BYTES: usize = 4 * 1024 * 1024;
/// After so many changes the oldest go: to look for them at each would cost more than it frees.
pub const ASKS_FORGOTTEN_EVERY: u32 = 64;
/// Bytes of those that have ended in one list: as many as a console keeps.
pub const ASKS_LISTED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Ids in one question for asks: a fleet's that end at once.
pub const ASKS_WANTED_MAX: usize = 256;
/// Answers of one sandbox that hold on: each is a person's.
pub const ASKS_STANDING_MAX: usize = 256;

/// One text of an entry of the audit record, in bytes: a line that a person reads. What is longer is cut.
pub const AUDIT_TEXT_BYTES_MAX: usize = LINE_BYTES_MAX;
/// Details of one entry: twice what the longest of ours has; and one list among them, in bytes: a command.
pub const AUDIT_DETAILS_MAX: usize = 24;
pub const AUDIT_LIST_BYTES_MAX: usize = COMMAND_SHOWN_BYTES_MAX;
/// Entries read in one go, so that nobody who decides waits behind one who reads.
pub const AUDIT_PAGE: usize = 128;
/// Entries in one listing, and those of one that says nothing else. An export has no bound: it is never held whole.
pub const AUDIT_LISTED_MAX: u32 = 10_000;
pub const AUDIT_LISTED: u32 = 100;
/// One line of an export, in bytes: an entry whose every character takes six.
pub const AUDIT_LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Steps into panes that wait to be written down: nobody who types waits for a disk. What comes then is counted, and told.
pub const AUDIT_NOTES_QUEUED_MAX: usize = 1024;
/// Entries of one sandbox on asks that nobody decides, in a burst, and how often after it: a program that asks all
/// day makes the record grow by some 5 MB. What is left out is counted in the next one.
pub const AUDIT_ASKS_BURST: u32 = 256;
pub const AUDIT_ASK_EVERY: Duration = Duration::from_secs(10);

/// Sandboxes one hub keeps, and sessions in one sandbox: above what one person or host can hold.
pub const SANDBOXES_MAX: usize = 20_000;
pub const SESSIONS_PER_SANDBOX_MAX: usize = 64;

/// Processes and threads in a sandbox that was given no limit of its own: far above what building
/// software takes, far below what a host has numbers for.
pub const SANDBOX_TASKS_MAX: u64 = 8192;

/// Graphics processors that a sandbox can be given by number: more than any one machine has.
pub const GPUS_MAX: u32 = 64;

/// Files and directories of the system that are shown one by one in a sandbox, where something is mounted
/// between them: a large /usr/bin or library directory twice over, and each costs an inode and a mount.
pub const PIECES_MAX: usize = 16 * 1024;

/// Longest sandbox name, title, label and environment entry, in bytes.
pub const NAME_BYTES_MAX: usize = 63;
pub const TITLE_BYTES_MAX: usize = 256;
pub const LABEL_BYTES_MAX: usize = 256;
pub const LABELS_MAX: usize = 64;
pub const SEARCH_PATH_MAX: usize = 256;
pub const ENV_ENTRY_BYTES_MAX: usize = 32 * 1024;
pub const ENV_ENTRIES_MAX: usize = 512;
/// Environment entries together, in bytes: Linux takes 2 MiB with the arguments.
pub const ENV_BYTES_MAX: usize = 1024 * 1024;
/// A command as it is listed, in bytes: for show, so a generated one of 100 KB need not travel.
pub const COMMAND_SHOWN_BYTES_MAX: usize = 4096;
/// Text for people: one line of a note, notice or reason, and a fault's message and hint (both travel
/// in response headers, which HTTP/2 peers bound to 16 KiB).
pub const LINE_BYTES_MAX: usize = 1024;
pub const FAULT_MESSAGE_BYTES_MAX: usize = 2048;
pub const FAULT_HINT_BYTES_MAX: usize = 1024;
/// Notes on one sandbox, and abilities of one.
pub const NOTES_MAX: usize = 32;
pub const CAPABILITIES_MAX: usize = 64;
/// Hosts allowed out, and the longest: a DNS name with a port.
pub const ALLOW_MAX: usize = 256;
pub const HOST_BYTES_MAX: usize = 261;
/// Longest reference of an image, in bytes: for the driver `local` it is a path.
pub const IMAGE_BYTES_MAX: usize = PATH_BYTES_MAX;
/// Lines of one `doctor`.
pub const CHECKS_MAX: usize = 256;
/// Recordings in one listing.
pub const RECORDINGS_MAX: usize = 100_000;
/// Longest time to live or wait that is taken: ten years; and longest grace of a stop.
pub const TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
pub const GRACE_MAX: Duration = Duration::from_secs(3600);
/// Arguments of one command, and their bytes together (Linux's own bound is 2 MiB).
pub const ARGS_MAX: usize = 4096;
pub const ARGS_BYTES_MAX: usize = 128 * 1024;
/// Longest path, in bytes: Linux's PATH_MAX.
pub const PATH_BYTES_MAX: usize = 4096;

/// Changes kept for a slow client of the event feed; beyond it the client is resynced, visibly.
pub const EVENTS_QUEUED_MAX: usize = 1024;

/// Notices kept while no console listens; the oldest go first.
pub const NOTICES_UNHEARD_MAX: usize = 64;
/// Changes of the registry waiting for the disk; beyond it the verbs wait their turn.
pub const STORE_QUEUED_MAX: usize = 256;
/// How long the registry waits for another program that has it open.
pub const STORE_BUSY_WITHIN: Duration = Duration::from_secs(5);
/// Shims adopted at the same time when a hub starts: each is one connection and one snapshot.
pub const ADOPTIONS_AT_ONCE: usize = 50;
/// How long one shim may take to answer a new hub; and when others that hang have used up that time, for a
/// hub has to be up in HUB_START_WITHIN.
pub const ADOPT_WITHIN: Duration = Duration::from_secs(5);
pub const ADOPT_AT_LEAST: Duration = Duration::from_millis(250);
/// Pause before a shim that lives but did not answer is asked again.
pub const ADOPT_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Readers of journals at the same time: each renders up to a segment (1 MiB) on one thread.
pub const JOURNAL_READERS_MAX: usize = 4;
/// An operator who is away is called for asks that have waited at least this long.
pub const CALL_AFTER_MIN: Duration = Duration::from_secs(1);
pub const CALL_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Words of the command that calls.
pub const CALL_WORDS_MAX: usize = 64;
/// Shortest time between two calls; what comes meanwhile is in the next.
pub const CALL_EVERY: Duration = Duration::from_secs(60);
/// Longest that the command which calls may take.
pub const CALL_WITHIN: Duration = Duration::from_secs(20);
/// Shortest time between two changes of one sandbox in the feed.
pub const CHANGE_EVERY_MIN: Duration = Duration::from_millis(100);
/// Plain text kept by `wait` for a match that spans chunks, in bytes: two of the largest chunks, some
/// hundred lines. Looked through again with every chunk.
pub const WAIT_TEXT_BYTES_MAX: usize = 64 * 1024;
/// How long `--rm` waits for watchers to have read the last output.
pub const LAST_WORDS_WITHIN: Duration = Duration::from_secs(5);
/// Free space under which `doctor` warns, in bytes: one recording at its bound.
pub const DISK_FREE_BYTES_MIN: u64 = RECORDING_BYTES_MAX;
/// Pause between two looks for recordings that are too many or too old.
pub const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// Pause before a removal that failed is tried again by itself; doubled each time up to the larger.
pub const REMOVE_AGAIN_MIN: Duration = Duration::from_secs(1);
pub const REMOVE_AGAIN_MAX: Duration = Duration::from_secs(3600);
/// Pieces of an export or of a past session's output read at once, ahead of a slow client.
pub const PIECES_AHEAD_MAX: usize = 8;
/// Largest file that describes a sandbox, in bytes: arguments and environment at their bounds.
pub const RECORD_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Longest OSC payload the side-parser collects, in bytes; clipboard writes get their own bound.
pub const OSC_BYTES_MAX: usize = 4096;
/// Largest clipboard write taken from a program, in decoded bytes (74,994 once base64-encoded
/// is what terminals are known to take).
pub const CLIPBOARD_BYTES_MAX: usize = 56_244;

/// Facts taken from one feed, and bytes of answers to a program's queries in one feed: a program that
/// asks for more in 32 KiB of output is no terminal program.
pub const FACTS_PER_FEED_MAX: usize = 256;
pub const REPLY_BYTES_MAX: usize = 4096;
/// Pairs taken from one program status.
pub const STATUS_FIELDS_MAX: usize = 16;
/// Kitty keyboard flags a program may stack on one screen.
pub const KITTY_STACK_MAX: usize = 8;
/// Times a character is repeated by one REP sequence: one widest row.
pub const REPEAT_MAX: u16 = SCREEN_COLS_MAX;

/// Lines that one journal segment may scroll off: a segment full of line feeds has twice as many,
/// and nobody misses them.
pub const SEGMENT_LINES_MAX: usize = 500_000;

/// One segment of a journal, in bytes; each opens with a keyframe, so this bounds a seek.
pub const JOURNAL_SEGMENT_BYTES: u64 = 1024 * 1024;
/// Recording kept per session, in bytes; the oldest segments go first.
pub const RECORDING_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Journal kept for scrollback when recording is off, in bytes.
pub const SCROLLBACK_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// All recordings of one state directory, in bytes, and the age at which one goes.
pub const RECORDINGS_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
pub const RECORDING_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// What finished ones may always have of that, however much the live ones take.
pub const RECORDINGS_BYTES_KEPT: u64 = RECORDINGS_BYTES_MAX / 4;

/// Lines in one page of history, and hits in one page of search.
pub const HISTORY_LINES_MAX: u32 = 1000;
pub const SEARCH_HITS_MAX: u32 = 200;
/// One line of history with its colours, one line without, and one page, in bytes.
pub const HISTORY_LINE_BYTES_MAX: usize = 64 * 1024;
pub const SEARCH_LINE_BYTES_MAX: usize = 8 * 1024;
pub const HISTORY_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest search pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// How long a hub or shim may take to answer an ordinary request.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a client waits for a hub that may have to wait for a shim first: longer, so that it is the hub's
/// words that arrive.
pub const HUB_ANSWER_WITHIN: Duration = Duration::from_secs(ANSWER_WITHIN.as_secs() + 5);
/// A shim that does not answer the shortest of questions for so long hangs; less than an answer may take, so
/// that whoever waits for one is told.
pub const SHIM_SILENT_AFTER: Duration = Duration::from_secs(5);
const _: () = assert!(SHIM_SILENT_AFTER.as_secs() < ANSWER_WITHIN.as_secs());
/// Pause between two such questions to a shim that somebody watches or runs a program in, and to every one
/// while somebody follows the fleet, or just lists it: each is one connection and wakes the shim. One that dies
/// is noticed at once without them.
pub const PULSE_EVERY: Duration = Duration::from_secs(2);
pub const PULSE_ALL_EVERY: Duration = Duration::from_secs(30);
pub const PULSE_LISTED_EVERY: Duration = Duration::from_secs(10);
/// How long the processes of a sandbox may take to die once they are killed: less than an answer may, so
/// that it can say what still runs.
pub const DEATH_WITHIN: Duration = Duration::from_secs(8);
const _: () = assert!(DEATH_WITHIN.as_secs() < ANSWER_WITHIN.as_secs());
/// How long a sandbox may take to start.
pub const CREATE_WITHIN: Duration = Duration::from_secs(60);
/// How long a hub may take to come up.
pub const HUB_START_WITHIN: Duration = Duration::from_secs(10);
/// How long a program gets between SIGTERM and SIGKILL.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// An input lease returns by itself after this long without a key.
pub const LEASE_IDLE: Duration = Duration::from_secs(120);

/// How far what a shim remembers of a lease may lag behind the keys: little of that time, and few messages.
pub const LEASE_TOLD_EVERY: Duration = Duration::from_secs(20);
const _: () = assert!(LEASE_TOLD_EVERY.as_secs() * 4 <= LEASE_IDLE.as_secs());

/// How often a shim looks whether its directory is still there. It does so too whenever somebody comes or has
/// gone, and so without being woken for it while its hub asks how it is; a hub ends soon after its state is gone.
/// Each look of its own wakes the machine three times.
pub const HOME_LOOKED_AT_EVERY: Duration = Duration::from_secs(60);
const _: () = assert!(PULSE_ALL_EVERY.as_secs() < HOME_LOOKED_AT_EVERY.as_secs());
/// The same while nobody has a connection to it: an orphan ends this soon.
pub const HOME_LOOKED_AT_ALONE_EVERY: Duration = Duration::from_secs(15);

/// A session without output for this long prints no more: longer than the pauses of a compiler and than
/// the 1 to 3 s between two pictures of a monitor, or its status would flicker; short enough to be
/// told while it still matters.
pub const QUIET_AFTER: Duration = Duration::from_secs(5);
/// Shortest time between two reports of one sandbox, and between two that only bring new counters.
pub const REPORT_EVERY_MIN: Duration = Duration::from_millis(100);
pub const COUNTERS_EVERY_MIN: Duration = Duration::from_secs(1);
/// After its program ended, a PTY that background processes keep open is drained until it has
/// been silent for this long.
pub const EXIT_SILENCE: Duration = Duration::from_millis(250);
/// ... but for no longer than this.
pub const EXIT_DRAIN_MAX: Duration = Duration::from_secs(3);
/// Pause before a journal that could not be written is tried again.
pub const JOURNAL_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Output sent raw right after a keyframe before the next frame is due: an echo, not a flood.
pub const AFTER_KEYFRAME_BYTES_MAX: u64 = 4 * 1024;
/// Resizes and facts remembered beside the ring, per session.
pub const MARKS_MAX: usize = 1024;
/// Facts told per session and second, and those kept for a slow hub, in number and in bytes.
pub const FACTS_PER_SECOND_MAX: u32 = 100;
pub const FACTS_QUEUED_MAX: usize = 256;
pub const FACTS_QUEUED_BYTES_MAX: usize = 512 * 1024;
/// Segments one search request looks through (about as many MiB of output); the answer says where
/// to go on.
pub const SEARCH_SEGMENTS_MAX: usize = 32;
/// Largest description file of a recording, in bytes: a command line of ARGS_BYTES_MAX, escaped.
pub const META_BYTES_MAX: u64 = 1024 * 1024;
/// Messages one turn of the console takes before it draws, and the time it may take for them.
pub const TURN_MESSAGES_MAX: usize = 256;
pub const TURN_WITHIN: Duration = Duration::from_millis(4);
/// A turn of the console longer than this is logged with its cause: it cost a frame.
pub const TURN_SLOW: Duration = Duration::from_millis(16);
/// Shortest time between two frames; shorter for what answers somebody who types, so that an echo beside a
/// flood does not wait for the flood's next frame, nor behind one that nobody waits for.
pub const FRAME_EVERY_MIN: Duration = Duration::from_micros(16_667);
pub const FRAME_EVERY_MIN_TYPING: Duration = Duration::from_millis(4);
/// How long after a key the shorter one holds.
pub const TYPING_FOR: Duration = Duration::from_millis(100);
/// Answers and events waiting for the console, and pieces of output: few, for what waits is stale
/// by the time it is drawn, and a stream that waits is sent a keyframe instead.
pub const CONSOLE_ANSWERS_MAX: usize = 1024;
pub const CONSOLE_OUTPUTS_MAX: usize = 64;
/// Calls to the hub in flight from one console; more are refused, aloud.
pub const CONSOLE_CALLS_MAX: usize = 256;
/// Questions for the keyboard of one session waiting for the hub.
pub const CONSOLE_LEASES_MAX: usize = 64;
/// How long a verb whose program has ended waits for the hub to know of it, and for `--rm` to be done.
pub const END_KNOWN_WITHIN: Duration = Duration::from_secs(5);
/// How long tasks have to end, and to end programs that they started, when this one does: less than anybody sees.
pub const TASKS_END_WITHIN: Duration = Duration::from_millis(50);
/// What is typed or pasted as keys into one session and not taken yet, in bytes: a terminal that knows no
/// paste sends a whole file as keys. Beyond it typing is refused, aloud.
pub const TYPED_BYTES_MAX: usize = 1024 * 1024;
/// Asks that have ended that the console lists, the newest.
pub const CONSOLE_ASKS_MAX: usize = 1000;
/// Entries of the audit record that the console lists, the newest, and how long it may take to look through all of it.
pub const CONSOLE_AUDIT_MAX: usize = 2000;
pub const AUDIT_READ_WITHIN: Duration = Duration::from_secs(120);
/// Snapshots of one sandbox that the console lists, the newest; and changed paths, in number and in bytes: more
/// than anybody goes through by hand. The rest are counted, and the verbs have them.
pub const CONSOLE_SNAPSHOTS_MAX: usize = 2000;
pub const CONSOLE_CHANGES_MAX: usize = 10_000;
pub const CONSOLE_CHANGES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Changed paths that the console names beside a snapshot; they fill a tall screen.
pub const CONSOLE_TOLD_MAX: usize = 100;
/// What the console knows of what changed before each snapshot, for so many of them.
pub const CONSOLE_TOLD_KEPT: usize = 64;
/// One file's diff as the console shows it, in bytes, in lines, and one line of it; cut with words.
pub const CONSOLE_PATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
pub const CONSOLE_PATCH_LINES_MAX: usize = 20_000;
pub const CONSOLE_PATCH_LINE_BYTES_MAX: usize = 4096;
/// Files whose diff the console keeps, to go back and forth without asking again.
pub const CONSOLE_PATCHES_KEPT: usize = 4;
/// Sandboxes of which it remembers what is staged while their changes are out of sight.
pub const CONSOLE_STAGED_KEPT: usize = 16;
/// Paths named in a box that asks; no screen has more rows. The rest are counted.
pub const CONSOLE_NAMED_MAX: usize = 100;
/// What the console waits for is told from then on.
pub const CONSOLE_WORK_SHOWN_AFTER: Duration = Duration::from_secs(1);
/// How long a program may hold its next picture back with a synchronised update, and how much of it
/// waits, in bytes: a dense true-colour screen of 300x100.
pub const SYNCHRONISED_WITHIN: Duration = Duration::from_millis(150);
pub const SYNCHRONISED_BYTES_MAX: usize = 1024 * 1024;
/// Size of one log file, in bytes; one older file is kept beside it.
pub const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Log of one shim, in bytes.
pub const SHIM_LOG_BYTES_MAX: u64 = 256 * 1024;
/// Connections one shim serves at the same time: a few per console that looks at it.
pub const SHIM_CONNECTIONS_MAX: usize = 256;
/// Pieces of standard input waiting for a program without a PTY.
pub const STDIN_QUEUED_MAX: usize = 8;
/// How long a shim waits for its hub to take the last words.
pub const FAREWELL_WITHIN: Duration = Duration::from_secs(1);

/// Connections to one hub: a client takes three, so some 170 consoles and verbs at once.
pub const HUB_CONNECTIONS_MAX: usize = 512;
/// Calls and subscriptions on one connection: a console watches each of its panes by one.
pub const HUB_STREAMS_MAX: u32 = 1024;
/// Changes that one hub works on at the same time.
pub const HUB_CALLS_MAX: u32 = 256;
/// The same of one client from elsewhere, and of all of them: the rest is for this machine.
pub const HUB_CALLS_EACH_MAX: usize = 32;
pub const HUB_CALLS_AWAY_MAX: usize = 192;
/// Answers, and changes to who may come, beside those, with the same parts: no other change is in their way.
pub const URGENT_CALLS_MAX: u32 = 64;
pub const URGENT_CALLS_EACH_MAX: usize = 8;
pub const URGENT_CALLS_AWAY_MAX: usize = 48;
/// How long a new connection may take to say that it speaks HTTP/2.
pub const HUB_GREETING_WITHIN: Duration = Duration::from_secs(5);
/// How long calls under way may take to end when the hub stops.
pub const HUB_DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// An open console lets a hub that was told to end rest for so long before it starts another: longer
/// than its end may take, so that who ended it sees the end and may start one of their own.
pub const HUB_RESTS: Duration = Duration::from_secs(6);
/// Time between two looks of a hub for its own state directory: one system call each.
pub const HUB_LOOKS_FOR_ITS_HOME_EVERY: Duration = Duration::from_secs(5);
/// Flow control: output under way to one subscriber that does not read, in bytes, and on one
/// connection; so that 256 stalled subscribers don't hold up the others.
pub const WIRE_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
pub const WIRE_CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;
/// Pieces of input of one session whose receipt is not confirmed yet.
pub const INPUT_UNDER_WAY_MAX: usize = 64;
/// A stream for input that carried nothing for this long is closed.
pub const INPUT_STREAM_IDLE: Duration = Duration::from_secs(60);
/// Pause before a lost hub is looked for again; doubled each time up to the larger.
pub const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// How much of the end of the hub's log is read for the reason it did not start, in bytes.
pub const LOG_TAIL_BYTES: u64 = 8 * 1024;

/// Changes of one workspace that are looked at, their paths together in bytes, and how deep they may lie:
/// each level takes up to five descriptors.
pub const CHANGES_MAX: usize = 100_000;
pub const CHANGES_PATH_BYTES_MAX: usize = 16 * 1024 * 1024;
pub const CHANGES_DEPTH_MAX: usize = 128;
/// How long looking for them may take; and how many are looked at, of all sandboxes, at the same time.
pub const CHANGES_WITHIN: Duration = Duration::from_secs(60);
pub const CHANGES_AT_ONCE: usize = 2;
/// Largest file whose lines are compared, in bytes: above it nobody reads them, and comparing takes several
/// times as much memory.
pub const CHANGE_TEXT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Largest file that is read at all to see whether it changed, in bytes.
pub const CHANGE_COMPARED_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Contents read in one diff to find files that were moved, in bytes.
pub const RENAMES_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// One piece of a diff's text, in bytes.
pub const CHANGE_PIECE_BYTES: usize = 256 * 1024;
/// Paths named in one request for a diff.
pub const CHANGE_PATHS_MAX: usize = 1024;
/// Hunks in one request to apply, in bytes.
pub const APPLY_HUNKS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What one `apply` may copy, in bytes: above it, paths have to be named.
pub const APPLY_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// How long a client waits for one; it is finished even so.
pub const APPLY_WITHIN: Duration = Duration::from_secs(600);
/// Times that can be taken back, for one sandbox.
pub const APPLIES_KEPT: usize = 16;
/// States in which one path was left that are known again.
pub const LEFT_KEPT: usize = 4;
/// Largest list of what was applied, in bytes: every path several times.
pub const STORE_BYTES_MAX: u64 = 8 * CHANGES_PATH_BYTES_MAX as u64;
/// Paths in the answer to one: those that changed, and directories on the way to them.
pub const APPLIED_MAX: usize = 4 * CHANGES_MAX;

/// Shortest time between two snapshots that are taken by themselves: each holds the programs still for a moment.
pub const SNAPSHOT_EVERY_MIN: Duration = Duration::from_secs(1);
/// Snapshots taken by themselves at the same time: each writes to the disk as fast as it can.
pub const SNAPSHOTS_AT_ONCE: usize = 2;
/// Snapshots one hub keeps.
pub const SNAPSHOTS_MAX: usize = 20_000;
/// Those that nobody asked for and nobody named: how many of one sandbox stay, how long, and what they all may
/// take on disk, in bytes; the oldest go first.
pub const SNAPSHOTS_BY_THEMSELVES_MAX: usize = 16;
pub const SNAPSHOT_BY_ITSELF_AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
pub const SNAPSHOTS_BY_THEMSELVES_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// How long taking one may take, and so how long a sandbox may be held still for it: a slow disk writes some
/// 30 GB in that time.
pub const SNAPSHOT_WITHIN: Duration = Duration::from_secs(600);
/// How deep the files of a snapshot may lie, each level taking four descriptors; how many they may be, each taking
/// some hundred bytes of memory while its directory is listed; and how many files with several names stay one.
pub const SNAPSHOT_DEPTH_MAX: usize = 200;
pub const SNAPSHOT_FILES_MAX: usize = 4_000_000;
pub const SNAPSHOT_LINKS_MAX: usize = 1024;

/// One answer of a Docker engine, in bytes: what it says of a container is some 10 KB, of a hundred 1 MB.
pub const ENGINE_ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Head of one, in bytes and in lines: hyper's own smallest buffer and what servers send at most.
pub const ENGINE_HEAD_BYTES_MAX: usize = 16 * 1024;
pub const ENGINE_HEADERS_MAX: usize = 64;
/// What is shown of one sentence of an engine, in bytes.
pub const ENGINE_WORDS_BYTES_MAX: usize = 512;
/// What it tells of the changes in one container, in bytes: one line for each path.
pub const ENGINE_CHANGES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an engine may take for an ordinary answer: less than who waits for it does, so that it can
/// be said.
pub const ENGINE_ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// ... to make or start a container, and to remove one: several of its own deadlines are 10 s.
pub const ENGINE_START_WITHIN: Duration = Duration::from_secs(20);
pub const ENGINE_REMOVE_WITHIN: Duration = Duration::from_secs(30);
const _: () = assert!(ENGINE_ANSWER_WITHIN.as_secs() < ANSWER_WITHIN.as_secs());

/// How long an OCI runtime (runc, runsc) may take to start a container or a program in one: less than who
/// waits for it does.
pub const RUNTIME_WITHIN: Duration = Duration::from_secs(8);
const _: () = assert!(RUNTIME_WITHIN.as_secs() < ANSWER_WITHIN.as_secs());
/// ... to write programs down with what they have in memory, and then to have them go on.
pub const WRITES_DOWN_WITHIN: Duration = Duration::from_secs(300);
/// ... to have programs go on that were written down: what they had in memory is read.
pub const WAKES_WITHIN: Duration = Duration::from_secs(40);
const _: () = assert!(WAKES_WITHIN.as_secs() + ANSWER_WITHIN.as_secs() < CREATE_WITHIN.as_secs());
/// What is read of its log, and shown of its last sentence, in bytes.
pub const RUNTIME_LOG_BYTES_MAX: u64 = 64 * 1024;
pub const RUNTIME_WORDS_BYTES_MAX: usize = 512;
/// Processes and threads of its own while it starts a program, on top of those that a sandbox may have.
pub const RUNTIME_TASKS: u64 = 32;
const _: () = assert!(ENGINE_REMOVE_WITHIN.as_secs() < CREATE_WITHIN.as_secs());
/// Shortest time between two looks at one container, however often its engine says that something happened.
pub const ENGINE_LOOK_EVERY_MIN: Duration = Duration::from_millis(50);
/// How long after a program in it was killed a container may take to be reported as ended, too.
pub const ENGINE_END_WITHIN: Duration = Duration::from_millis(500);
/// How long what is typed waits for a change of size that was asked for before it.
pub const ENGINE_SIZE_WITHIN: Duration = Duration::from_secs(1);
/// Pause before a program that has not begun or ended yet is looked at again; doubled up to the larger.
pub const ENGINE_LOOK_AGAIN_MIN: Duration = Duration::from_millis(10);
pub const ENGINE_LOOK_AGAIN_MAX: Duration = Duration::from_secs(1);
/// An engine that tells nothing is looked at all the same, every so often: its network may be gone. What could
/// not be asked once is asked again after the pause of `RETRY_AFTER_MAX`.
pub const ENGINE_LOOK_EVERY: Duration = Duration::from_secs(60);
/// Silence on a connection to an engine elsewhere before it is probed, and between probes; so many without an
/// answer end it.
pub const ENGINE_PROBE_AFTER: Duration = Duration::from_secs(20);
pub const ENGINE_PROBES_MAX: u32 = 3;
/// How long what an engine was asked to make, and did not answer, may still come: several times what who asked
/// waited for. An image takes longer: its files are packed.
pub const ENGINE_MAKES_WITHIN: Duration = Duration::from_secs(120);
pub const ENGINE_KEEPS_WITHIN: Duration = Duration::from_secs(2 * SNAPSHOT_WITHIN.as_secs());
const _: () = assert!(ENGINE_START_WITHIN.as_secs() < ENGINE_MAKES_WITHIN.as_secs());
/// What is kept of the last words of the `ssh` that leads to an engine, and how long they are waited for once it
/// has ended.
pub const ENGINE_WAY_WORDS_BYTES_MAX: usize = 512;
pub const ENGINE_WAY_WORDS_WITHIN: Duration = Duration::from_millis(200);
/// Files that say where an engine is, in bytes; contexts among which one is looked for; certificates in one
/// file.
pub const ENGINE_FILE_BYTES_MAX: u64 = 1024 * 1024;
pub const ENGINE_CONTEXTS_MAX: usize = 256;
/// Containers that sandwatch did not make, in a list: the newest, as many as a person may look through; what one is
/// called, in bytes.
pub const FOREIGN_MAX: usize = 1000;
pub const FOREIGN_NAME_BYTES_MAX: usize = 256;
/// Of an id that nobody typed, in bytes: as many as `docker ps` shows.
pub const FOREIGN_ID_SHOWN_BYTES: usize = 12;
pub const ENGINE_CERTIFICATES_MAX: usize = 256;
/// A workspace that is copied into a container: its contents in bytes, its files, how deep they lie (each level
/// takes two descriptors), and how long that may take, within the time in which a sandbox is made.
pub const COPY_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
pub const COPY_ENTRIES_MAX: u64 = 1_000_000;
pub const COPY_DEPTH_MAX: usize = 128;
pub const COPY_WITHIN: Duration = Duration::from_secs(45);
const _: () = assert!(COPY_WITHIN.as_secs() < CREATE_WITHIN.as_secs());
/// How long one the other way may take.
pub const FETCH_WITHIN: Duration = Duration::from_secs(120);
/// Paths that could not be brought here and are told one by one.
pub const FETCH_TOLD_MAX: usize = 1000;
/// One piece of such a copy, in bytes, and pieces read ahead of a slow engine.
pub const COPY_PIECE_BYTES: usize = 128 * 1024;
pub const COPY_PIECES_AHEAD_MAX: usize = 4;

/// What describes one entry of an archive (long names, attributes), in bytes.
pub const ARCHIVE_HEADER_BYTES_MAX: u64 = 1024 * 1024;
/// Images of the driver `local`: what one may be when unpacked, in bytes, and compressed layers with all they hold; its
/// files; how deep they lie; its layers (Docker takes 127), and what describes it (its history grows with them).
pub const IMAGE_UNPACKED_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
pub const IMAGE_FILES_MAX: usize = 2_000_000;
pub const IMAGE_DEPTH_MAX: usize = 128;
pub const IMAGE_LAYERS_MAX: usize = 512;
pub const IMAGE_TEXT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Entries of an archive that holds an image: four for each layer, and those of others.
pub const IMAGE_BLOBS_MAX: usize = 16 * 1024;
/// Links from one entry of such an archive to the next, and lists of images in lists of images.
pub const IMAGE_LINKS_MAX: usize = 8;
/// What a file takes on disk at least that is unpacked or brought here, directories included.
pub const UNPACKED_FILE_BYTES: u64 = 4096;
/// Free space that unpacking one leaves, or bringing a workspace here, in bytes, and how often that is looked at: a bomb
/// is not to fill the disk.
pub const UNPACKED_DISK_FREE_BYTES_MIN: u64 = 2 * DISK_FREE_BYTES_MIN;
pub const UNPACKED_DISK_LOOKED_AT_EVERY_BYTES: u64 = 64 * 1024 * 1024;
/// Most memory for what a zstd layer refers back to, in bytes: what `zstd` itself takes without being asked.
pub const IMAGE_WINDOW_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// How long reading and unpacking one may take: a slow disk writes some 30 GB in that time.
pub const IMAGE_WITHIN: Duration = Duration::from_secs(600);
/// Unpacked images that nothing stands on: how many stay, and how long after they were used last.
pub const IMAGES_UNUSED_MAX: usize = 8;
pub const IMAGE_UNUSED_AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
/// Lists of users and groups of an image, in bytes.
pub const IMAGE_USERS_BYTES_MAX: u64 = 1024 * 1024;
