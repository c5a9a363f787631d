//! Processes of a session as their host sees them: what each does, and what it waits on.

use std::{collections::BTreeMap, time::Duration};

use super::sandbox::words;
use crate::base::{clock::Timestamp, units::human_bytes};

words! {
    /// What a process does, as far as the kernel tells.
    Doing {
        /// It has a processor, or could have one.
        Runs = "runs",
        /// It waits for what is typed.
        Terminal = "terminal",
        /// It waits for a child to end.
        Child = "child",
        /// It waits for another thread or process to let go of something.
        Lock = "lock",
        Timer = "timer",
        /// It waits for the other end of a connection.
        Socket = "socket",
        /// It waits for somebody to connect.
        Listens = "listens",
        Pipe = "pipe",
        /// It waits for the first of several things.
        Events = "events",
        /// It is in the kernel, and no signal gets it out: a disk, as a rule.
        Disk = "disk",
        /// A signal holds it still.
        Stopped = "stopped",
        /// It has ended, and its parent has not asked how.
        Zombie = "zombie",
        Unknown = "unknown",
    }
}

/// Said of what is typed, among what somebody waits for.
pub const KEYS: &str = "what is typed";

/// One process. Its words are its own, and safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// As the host has it.
    pub pid: u32,
    pub parent: u32,
    /// What it is called: at most 15 bytes of its own choice.
    pub name: String,
    /// Its arguments, bounded; empty = it has none any more.
    pub command: String,
    /// It is of those that have the terminal now.
    pub foreground: bool,
    pub threads: u32,
    /// Time on processors since it began.
    pub cpu: Duration,
    pub doing: Doing,
    /// Its wait ends only by what it waits for: it set no time limit. `false` also where not all of it was seen, and where
    /// others than a session's own processes may let go of what it waits for.
    pub endless: bool,
    /// What is typed is among what one of its threads waits for.
    pub keys: bool,
    /// So is the other end of a connection or of a pipe.
    pub linked: bool,
    /// What it waits on, in words: a file, a connection and its other end; `None` = not known, or nothing.
    pub on: Option<String>,
    /// The system call it is in, or where in the kernel; `None` = the kernel does not tell.
    pub call: Option<String>,
}

/// All of a session's processes at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// `clock::monotonic`, to tell how far two are apart.
    pub at: Duration,
    /// Its first process first, each behind the one it comes from; bounded.
    pub processes: Vec<Process>,
    /// How often each that lives went to sleep by itself so far; one that is not here was not counted.
    pub slept: BTreeMap<u32, u64>,
    /// Those beyond the bound.
    pub more: u32,
    /// What could not be seen, in words for a person.
    pub notes: Vec<String>,
    /// File systems that they write to, and that have no room left.
    pub full: Vec<Full>,
}

/// A file system without room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// A place on it, as the programs see it; safe to show.
    pub place: String,
    pub size_bytes: u64,
    /// What is left for who is not root.
    pub free_bytes: u64,
    /// It can have no more files than these, and has them; `None` = that is not it.
    pub files: Option<u64>,
}

impl Full {
    pub fn in_words(&self) -> String {
        let (place, size) = (&self.place, human_bytes(self.size_bytes));
        let free = human_bytes(self.free_bytes);
        match self.files {
            Some(files) => format!(
                "the disk of {place} is full: it has all {files} files that it can have, and {free} of {size} free"
            ),
            None => format!("the disk of {place} is full: {free} of {size} free"),
        }
    }
}

/// The same, as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// `None` = nobody can look at them; `notes` say why.
    pub at: Option<Timestamp>,
    pub all: Vec<Process>,
    pub more: u32,
    pub notes: Vec<String>,
    /// How far apart the two readings were that what is said of them stands on; `None` = it was one.
    pub apart: Option<Duration>,
}

impl Processes {
    /// The one that says most of what all do: of those that have the terminal the first that does not wait for a child.
    pub fn leading(&self) -> Option<&Process> {
        let alive = || self.all.iter().filter(|it| it.is_alive());
        let front = || alive().filter(|it| it.foreground);
        let leads = front().find(|it| it.doing != Doing::Child);
        leads.or_else(|| front().next()).or_else(|| alive().next())
    }

    /// Each with how far below the first it is, at most 16.
    pub fn tree(&self) -> impl Iterator<Item = (&Process, usize)> {
        let mut depths: BTreeMap<u32, usize> = BTreeMap::new();
        self.all.iter().map(move |it| {
            let depth = depths.get(&it.parent).map_or(0, |it| it + 1).min(16);
            depths.insert(it.pid, depth);
            (it, depth)
        })
    }
}

impl Process {
    /// What it does, in words.
    pub fn in_words(&self) -> String {
        let on = |what: &str| match &self.on {
            Some(on) => format!("{what} {on}"),
            None => what.to_owned(),
        };
        match self.doing {
            Doing::Runs => "runs".to_owned(),
            Doing::Terminal => format!("waits for {KEYS}"),
            Doing::Child => "waits for a child to end".to_owned(),
            Doing::Lock => match self.threads {
                many if many > 1 && self.endless => {
                    format!("waits for locks, in all of its {many} threads")
                }
                _ => "waits for a lock".to_owned(),
            },
            Doing::Timer => "sleeps until a time it set".to_owned(),
            Doing::Socket => on("waits for the other end of"),
            Doing::Listens => on("waits for connections to"),
            Doing::Pipe => on("waits for the other end of"),
            Doing::Events if self.on.as_deref() == Some(KEYS) => format!("waits for {KEYS}"),
            Doing::Events if self.on.is_none() => "waits for an event".to_owned(),
            Doing::Events => on("waits for the first of"),
            Doing::Disk => on("hangs in the kernel"),
            Doing::Stopped => "is held still by a signal".to_owned(),
            Doing::Zombie => "has ended; its parent does not ask how".to_owned(),
            Doing::Unknown => "waits, nobody can say on what".to_owned(),
        }
    }

    pub fn is_alive(&self) -> bool {
        self.doing != Doing::Zombie
    }
}
