//! Bounds of the way out of a sandbox.

use std::time::Duration;

/// Connections out of one sandbox at once; what comes then is closed unseen, and counted.
pub const GATE_FLOWS_MAX: usize = 256;
/// Connections and questions for names that one sandbox may begin in a second, and at once. The kernel keeps an account
/// of each for up to two minutes after its end, outside of any bound on memory: so it has some tens of thousands at
/// most, or 10 MiB. What is more is dropped and counted, and programs try again a second later.
pub const GATE_TRACKED_PER_SECOND: u64 = 250;
pub const GATE_TRACKED_BURST: u32 = 1000;
/// Connections that are remembered, of one sandbox.
pub const GATE_FLOWS_KEPT: usize = 512;
/// Names that an address stands for, in one sandbox.
pub const GATE_NAMES_MAX: usize = 4096;
/// Answers that hold for longer than once, in one sandbox.
pub const GATE_LEARNED_MAX: usize = 1024;
/// Kinds of what is decided at the way out without a person that one gate knows at once, those that are told at once, how
/// often one kind is, and how often any is.
pub const GATE_NOTED_MAX: usize = 512;
pub const GATE_TOLD_MAX: usize = 64;
pub const GATE_NOTED_EVERY: Duration = Duration::from_secs(600);
pub const GATE_TOLD_EVERY: Duration = Duration::from_secs(1);
/// How often what was not told is left where a hub finds it after the death of who would tell it: so often for each 64 kinds
/// (`GATE_TOLD_MAX`), so that a program that makes many has no more than some 200 KiB a second written. What came since is lost
/// with a process that is killed. And what a hub reads of that, in bytes: more than all kinds take.
pub const GATE_KEPT_EVERY: Duration = Duration::from_secs(1);
pub const RULED_KEPT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Connections of which it is looked for which program they are, for nothing but the record; of more it is not known.
pub const GATE_NOTERS_MAX: usize = 64;
/// That, and looking whose service on this machine a secret is for, takes a quarter of a processor at most each: after each look
/// there is a pause of so many times what it took.
pub const GATE_LOOK_PAUSES: u32 = 3;
/// How long a connection waits for its turn to be looked at whose service it is for; then it is nobody's known.
pub const GATE_TURN_WITHIN: Duration = Duration::from_secs(30);
/// Rules that are named for one kind.
pub const RULES_NAMED_MAX: usize = 16;
/// How long somebody who wants the sandbox gone waits for what is still to be told.
pub const RULED_AT_LAST_WITHIN: Duration = Duration::from_secs(2);
/// How many look at a sandbox's processes at once, and for how long one does.
pub const GATE_LOOKS_MAX: usize = 2;
/// Sockets at one port of this machine of which it is looked for whose they are: all that listen there, and both ends of one
/// connection. A service has one or two; what has more is not known.
pub const SOCKETS_AT_A_PORT_MAX: usize = 256;
/// Names of one sandbox that are looked up at once.
pub const GATE_LOOKUPS_MAX: usize = 8;
pub const GATE_LOOK_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of a request's path that rules are held against; a longer one is not clear to any of them.
pub const REQUEST_PATH_BYTES_MAX: usize = 2048;
/// What of a program's first words is looked at, in bytes: more than any greeting has.
pub const GATE_WORDS_BYTES_MAX: usize = 32 * 1024;
/// For how long they are waited for before somebody is asked, who is told what they say. Some programs wait to be
/// spoken to.
pub const GATE_LISTEN_WITHIN: Duration = Duration::from_millis(150);
/// And when it was let out: then nothing is passed on before they are understood.
pub const FIRST_WORDS_WITHIN: Duration = Duration::from_secs(30);
/// For each step of reaching a place.
pub const GATE_DIAL_WITHIN: Duration = Duration::from_secs(10);

/// Calls to connect, of a sandbox that shares the host's network, that are looked into at once: each has a thread, for as
/// long as its memory takes to be read.
pub const CONNECTS_AT_ONCE_MAX: usize = 8;
/// And how many may come at once, and then how often another one: the rest waits. The kernel remembers
/// most connections for a minute, with a port of the host's loopback: so 1400 of its 28,000 are a sandbox's at most, and a program
/// that connects without end keeps no processor busy but its own.
pub const CONNECTS_BURST: u32 = 200;
pub const CONNECTS_EVERY: Duration = Duration::from_millis(50);

/// For how long somebody waits for ways out that are opened in the network of something else, by a copy of this process: that
/// is some ten messages to the kernel, which may have others to serve.
pub const ENTERED_WITHIN: Duration = Duration::from_secs(20);
