//! The thread that traces one process. Each stop is answered at once with the next step, so that none of its threads stands
//! for longer than it takes to note a call. When this ends, by whatever end, the kernel lets all of them go.

use std::{collections::BTreeMap, fs, io, sync::Arc, time::Duration};

use rustix::process::Pid;

use super::{Shared, Traced, args::Reader, names};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{NAME_BYTES_MAX, SOCKETS_READ_EVERY, SYSCALL_THREADS_MAX},
        text::shown,
    },
    driver::local::{
        processes,
        ptrace::{self, Event, Place},
    },
    model::syscall::{Syscall, SyscallEnd},
};

/// Looks for threads that were started while others were taken; a few find all of any program that does something else, too.
const ROUNDS_MAX: usize = 16;
/// Parents between a process and the one that leads its session.
const PARENTS_MAX: usize = 1024;
/// The kind of processor this is built for, as auditing numbers it; the kernel knows programs for others, too.
#[cfg(target_arch = "x86_64")]
const MACHINE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const MACHINE: u32 = 0xc000_00b7;

/// Traces one process, and belongs to the thread that made it.
pub struct Tracer {
    pid: i32,
    /// Each with since when it is in a call, as of `clock::monotonic`.
    threads: BTreeMap<i32, Option<Duration>>,
    reader: Reader,
    /// When lists of connections were forgotten last.
    anew_at: Duration,
    shared: Arc<Shared>,
    traced: Traced,
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.threads.keys().for_each(|it| self.traced.forget(*it));
    }
}

impl Tracer {
    /// Traces a process that is one of those below `leader`, by the calling thread.
    pub fn begin(pid: i32, leader: i32, shared: Arc<Shared>, traced: Traced) -> Outcome<Self> {
        let (threads, reader, anew_at) = (BTreeMap::new(), Reader::new(pid), clock::monotonic());
        let mut new = Self { pid, threads, reader, anew_at, shared, traced };
        ptrace::may_be_woken().map_err(|error| Fault::io("preparing to look", &error))?;
        is_below(pid, leader)?;
        new.seize(pid).map_err(|error| refused(pid, &error))?;
        // Its number may have been given to another in between, which is let go again.
        is_below(pid, leader)?;
        let mut unseen = 0;
        for _ in 0..ROUNDS_MAX {
            let (found, beyond) = new.seize_others();
            unseen = beyond;
            if !found {
                break;
            }
        }
        new.shared.unseen(unseen);
        for thread in new.threads.keys() {
            // One that has ended meanwhile is told of by the kernel.
            drop(ptrace::interrupt(*thread));
        }
        Ok(new)
    }

    /// Notes calls until nobody looks any more or the process ends; says which.
    pub fn run(&mut self) -> String {
        loop {
            if self.shared.is_over() {
                return "nobody looks any more".to_owned();
            }
            match ptrace::next() {
                Ok((thread, event)) => self.take(thread, event),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
                    return "the process has ended".to_owned();
                }
                Err(error) => return format!("the kernel does not go on: {error}"),
            }
        }
    }

    fn seize(&mut self, thread: i32) -> io::Result<()> {
        self.traced.note(thread, false);
        let seized = ptrace::seize(thread);
        match seized {
            Ok(()) => drop(self.threads.insert(thread, None)),
            Err(_) => self.traced.forget(thread),
        }
        seized
    }

    /// Traces the threads it has that are not traced; whether there was one, and how many are too many.
    fn seize_others(&mut self) -> (bool, u32) {
        let mut found = false;
        let mut unseen = 0;
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid));
        for task in tasks.into_iter().flatten().filter_map(Result::ok) {
            let thread = task.file_name().to_str().and_then(|it| it.parse().ok());
            let Some(thread) = thread.filter(|it| !self.threads.contains_key(it)) else { continue };
            if self.threads.len() >= SYSCALL_THREADS_MAX {
                unseen += 1;
            } else {
                found |= self.seize(thread).is_ok();
            }
        }
        (found, unseen)
    }

    fn take(&mut self, thread: i32, event: Event) {
        if event == Event::Ended {
            self.threads.remove(&thread);
            self.traced.forget(thread);
            return self.shared.gone(thread);
        }
        if !self.is_known(thread) {
            return drop(ptrace::let_go(thread));
        }
        let step = match event {
            Event::Stopped => {
                self.traced.note(thread, true);
                ptrace::leave_still(thread)
            }
            Event::Signalled(signal) => ptrace::go_on(thread, signal),
            _ => {
                match event {
                    Event::AtCall => self.at_call(thread),
                    Event::Became => self.became(thread),
                    _ => self.traced.note(thread, false),
                }
                ptrace::go_on(thread, 0)
            }
        };
        // One that was killed meanwhile is told of next.
        drop(step);
    }

    /// Whether it is looked at: a thread that was started since is, as far as there is room, and a process is not.
    fn is_known(&mut self, thread: i32) -> bool {
        if self.threads.contains_key(&thread) {
            return true;
        }
        let is_own = fs::exists(format!("/proc/{}/task/{thread}", self.pid)).unwrap_or(false);
        let has_room = self.threads.len() < SYSCALL_THREADS_MAX;
        if is_own && has_room {
            self.traced.note(thread, false);
            self.threads.insert(thread, None);
        } else if is_own {
            self.shared.unseen(1);
        }
        is_own && has_room
    }

    /// All other threads have ended, and the one that goes on has the number of the first.
    fn became(&mut self, thread: i32) {
        let was = ptrace::message(thread).ok().and_then(|it| i32::try_from(it).ok());
        let since = was.and_then(|it| self.threads.get(&it).copied()).flatten();
        for other in std::mem::take(&mut self.threads).into_keys().filter(|it| *it != thread) {
            self.traced.forget(other);
        }
        self.threads.insert(thread, since);
        self.shared.became(was.unwrap_or(thread), thread);
        self.reader.forget();
    }

    fn at_call(&mut self, thread: i32) {
        match ptrace::place(thread) {
            Ok(Place::Enters { machine, number, args }) => {
                let now = clock::monotonic();
                let call = self.entered(thread, machine, number, args);
                self.threads.insert(thread, Some(now));
                self.shared.enters(thread, call);
            }
            Ok(Place::Leaves { value, failed }) => {
                let since = self.threads.get_mut(&thread).and_then(Option::take);
                let Some(since) = since else { return };
                let error = if failed { names::error(value) } else { None };
                let took = clock::monotonic().saturating_sub(since);
                self.shared.leaves(thread, SyscallEnd { value, error, took });
            }
            Ok(Place::Elsewhere) | Err(_) => {}
        }
    }

    /// A call that begins; where there are too many to be shown, its arguments are not read.
    fn entered(&mut self, thread: i32, machine: u32, number: u64, args: [u64; 6]) -> Syscall {
        let known = i64::try_from(number).ok().filter(|_| machine == MACHINE);
        let name = known.and_then(names::syscall);
        let args = match name {
            Some(name) if self.shared.has_room() => {
                let now = clock::monotonic();
                if now.saturating_sub(self.anew_at) >= SOCKETS_READ_EVERY {
                    self.anew_at = now;
                    self.reader.look_anew();
                }
                self.reader.words(name, args)
            }
            _ => "…".to_owned(),
        };
        let name = match name {
            Some(name) => name.to_owned(),
            None if machine == MACHINE => format!("call {number}"),
            None => format!("call {number} of another machine"),
        };
        Syscall {
            thread: thread.cast_unsigned(),
            at: clock::wall(),
            name: shown(&name, NAME_BYTES_MAX),
            args,
            end: None,
        }
    }
}

/// Whether a process is the one that leads a session, or comes from it.
fn is_below(pid: i32, leader: i32) -> Outcome<()> {
    let absent = || Fault::absent(format!("no process of this session: {pid}"));
    let mut at = Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(absent)?;
    for _ in 0..PARENTS_MAX {
        if at.as_raw_nonzero().get() == leader {
            return Ok(());
        }
        at = processes::parent(at).ok_or_else(absent)?;
    }
    Err(absent())
}

/// Why a process can't be traced, as far as that is to be known.
fn refused(pid: i32, error: &io::Error) -> Fault {
    if error.raw_os_error() == Some(libc::ESRCH) {
        return Fault::absent(format!("no process of this session: {pid}"));
    }
    if error.kind() != io::ErrorKind::PermissionDenied {
        return Fault::io(format!("looking at the system calls of {pid}"), error);
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|it| it.strip_prefix("TracerPid:")).map(str::trim);
    if let Some(by) = tracer.filter(|it| *it != "0") {
        return Fault::busy(format!("process {pid} is traced already, by {by}")).hint(
            "a process has one tracer at a time: a debugger, strace, or whoever looks already",
        );
    }
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let fault = Fault::denied(format!("this kernel does not let you trace process {pid}"));
    match scope.trim() {
        "2" => fault.hint("kernel.yama.ptrace_scope is 2: only root may trace here"),
        "3" => fault.hint("kernel.yama.ptrace_scope is 3: nobody may trace here until the next boot"),
        _ => fault.hint("it may be of another user or have more rights than the hub: a container, as a rule, needs a hub that runs as root"),
    }
}
