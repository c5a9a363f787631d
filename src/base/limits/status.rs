//! Bounds of how a session's status is found, each with its unit and its reason.

use std::time::Duration;

/// How long whoever holds a sandbox still by signals waits for one process to stand before its children are told.
pub const STOP_TAKEN_WITHIN: Duration = Duration::from_millis(200);

/// A session that was started and says nothing by any sign is called starting so long.
pub const STARTING_WITHIN: Duration = Duration::from_secs(10);
/// A program's own word that it works counts so long after it printed last: longer than the pauses of agents, whose screens
/// move while they wait; one that was interrupted or killed does not take it back.
pub const CLAIM_HOLDS: Duration = Duration::from_secs(30);
/// Before a look at a session's processes what it is about to do is let be done; then two looks are so far apart at least,
/// and the pause between them doubles to so much while nothing happens.
pub const LOOK_SETTLES: Duration = Duration::from_millis(150);
pub const LOOK_EVERY_MIN: Duration = Duration::from_secs(1);
pub const LOOK_AGAIN_MIN: Duration = Duration::from_secs(1);
pub const LOOK_AGAIN_MAX: Duration = Duration::from_secs(30);
/// Shortest time between two looks for a console that shows them.
pub const INSPECT_EVERY: Duration = Duration::from_secs(2);
/// How long one look may take, and how many are taken at the same time in one sandbox.
pub const LOOK_WITHIN: Duration = Duration::from_secs(2);
pub const LOOKS_AT_ONCE: usize = 2;
/// How far two readings are apart before anybody says that something is stuck.
pub const READINGS_APART: Duration = Duration::from_millis(500);
/// For so long nothing must have moved before it is called a deadlock (a start has such moments), a disk that hangs, a
/// network that does not answer (a model may think for long).
pub const DEADLOCK_AFTER: Duration = Duration::from_secs(5);
pub const DISK_STUCK_AFTER: Duration = Duration::from_secs(30);
pub const NETWORK_STUCK_AFTER: Duration = Duration::from_secs(180);
/// For so long what stands where no room is left on a disk must have stood before that is said to be why: by then a step of a
/// build that fails has been told of, and what a program clears away by itself is away.
pub const FULL_STUCK_AFTER: Duration = Duration::from_secs(10);
/// A file system that is asked how much room it has is waited for so long: one that hangs is another matter.
pub const DISK_ANSWERS_WITHIN: Duration = Duration::from_millis(100);
/// Processes of a session that are shown, threads of one that are looked at, and what is shown of its command, in bytes.
pub const PROCESSES_SHOWN_MAX: usize = 128;
pub const PROCESS_THREADS_MAX: usize = 64;
pub const PROCESS_COMMAND_BYTES_MAX: usize = 512;
/// Calls of a process that are looked at: how often what was noted is told, calls in one part (2560 a second, more than
/// anybody reads; those beyond are counted), bytes of what one was called with and of one text in it, entries of a list.
pub const SYSCALLS_PART_EVERY: Duration = Duration::from_millis(100);
pub const SYSCALLS_PART_MAX: usize = 256;
pub const SYSCALL_ARGS_BYTES_MAX: usize = 512;
pub const SYSCALL_STRING_BYTES_MAX: usize = 160;
pub const SYSCALL_LIST_MAX: usize = 8;
const _: () = assert!(SYSCALL_STRING_BYTES_MAX < 4096, "a text lies in two pages at most");
/// Threads of a process whose calls are looked at, processes of a sandbox at the same time, and how long at most: what is
/// looked at is slower.
pub const SYSCALL_THREADS_MAX: usize = 256;
pub const SYSCALLS_WATCHES_MAX: usize = 4;
pub const SYSCALLS_WATCHED_MAX: Duration = Duration::from_secs(600);
/// Lists of connections are read at most so often for what calls are made on, and threads that are not looked at counted:
/// both may be many.
pub const SYSCALLS_READ_ANEW_EVERY: Duration = Duration::from_secs(1);
/// Calls that a console keeps of the process it looks at: each part makes all of their rows anew.
pub const CONSOLE_SYSCALLS_MAX: usize = 1000;
/// Pieces of evidence for one session's status.
pub const EVIDENCE_MAX: usize = 32;
/// Calls of a tool with the same arguments in a row that lead nowhere; for how long the same screens come in turn, or a sign
/// turns while nothing else moves, before that is said; screens that are remembered.
pub const CALLS_REPEATED: u32 = 5;
pub const SCREENS_LOOP_FOR: Duration = Duration::from_secs(120);
pub const SPINS_FOR: Duration = Duration::from_secs(600);
pub const SCREENS_SEEN_MAX: usize = 256;
/// Files of screen rules that an operator has, rules in one, bytes of a pattern, rows that one looks at.
pub const SCREEN_RULE_FILES_MAX: usize = 64;
pub const SCREEN_RULES_MAX: usize = 64;
pub const SCREEN_PATTERN_BYTES_MAX: usize = 512;
pub const SCREEN_ROWS_READ_MAX: u16 = 60;
