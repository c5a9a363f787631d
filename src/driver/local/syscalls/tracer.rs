//! The thread that traces one process. Each stop is answered at once with the next step, so that none of its threads stands
//! for longer than it takes to note a call. When this ends, by whatever end, the kernel lets all of them go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    sync::Arc,
    time::Duration,
};

use rustix::process::Pid;

use super::{Shared, Traced, args::Reader, names};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{NAME_BYTES_MAX, SYSCALL_THREADS_MAX, SYSCALLS_READ_ANEW_EVERY},
        text::shown,
    },
    driver::local::{
        processes,
        ptrace::{self, Event, Place},
        waits::Call,
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
    /// Its threads that are too many to be looked at.
    unseen: BTreeSet<i32>,
    /// What threads were in when the look began and interrupted them: the kernel has them begin again by a call that does not
    /// tell.
    began_in: BTreeMap<i32, Call>,
    reader: Reader,
    /// When lists of connections were forgotten last, and threads that are not looked at counted.
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
        let mut new = Self {
            pid,
            threads: BTreeMap::new(),
            unseen: BTreeSet::new(),
            began_in: BTreeMap::new(),
            reader: Reader::new(pid),
            anew_at: clock::monotonic(),
            shared,
            traced,
        };
        ptrace::may_be_woken().map_err(|error| Fault::io("preparing to look", &error))?;
        is_below(pid, leader)?;
        // The first thread may have ended before the others, and another may be about to take its place.
        let first = new.seize(pid);
        if let Err(error) = &first
            && !(error.raw_os_error() == Some(libc::EPERM) && first_has_ended(pid))
        {
            return Err(refused(pid, error));
        }
        // Its number may have been given to another in between, which is let go again.
        is_below(pid, leader)?;
        for _ in 0..ROUNDS_MAX {
            if !new.seize_others() && !new.threads.is_empty() {
                break;
            }
        }
        if let Err(error) = first
            && new.threads.is_empty()
        {
            return Err(refused(pid, &error));
        }
        new.tell_unseen();
        for thread in new.threads.keys() {
            new.began_in.extend(Call::of(pid, *thread).ok().flatten().map(|it| (*thread, it)));
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
        if seized.is_ok() && self.is_own(thread) {
            self.threads.insert(thread, None);
            return Ok(());
        }
        self.traced.forget(thread);
        seized?;
        // It ended, and its number is another's by now, which is let go of where it stands first.
        drop(ptrace::interrupt(thread));
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }

    /// Whether it is a thread of the process.
    fn is_own(&self, thread: i32) -> bool {
        fs::exists(format!("/proc/{}/task/{thread}", self.pid)).unwrap_or(false)
    }

    /// Traces the threads it has that are not traced; whether there was one.
    fn seize_others(&mut self) -> bool {
        let mut found = false;
        self.unseen.clear();
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid));
        for task in tasks.into_iter().flatten().filter_map(Result::ok) {
            let thread = task.file_name().to_str().and_then(|it| it.parse().ok());
            let Some(thread) = thread.filter(|it| !self.threads.contains_key(it)) else { continue };
            if self.threads.len() >= SYSCALL_THREADS_MAX {
                self.unseen.insert(thread);
            } else {
                found |= self.seize(thread).is_ok();
            }
        }
        found
    }

    fn tell_unseen(&self) {
        self.shared.unseen(u32::try_from(self.unseen.len()).unwrap_or(u32::MAX));
    }

    /// Of those that are not looked at nobody tells when they end.
    fn count_unseen(&mut self) {
        if self.unseen.is_empty() {
            return;
        }
        let mut all = std::mem::take(&mut self.unseen);
        all.retain(|it| self.is_own(*it));
        self.unseen = all;
        self.tell_unseen();
    }

    /// What is read once in a while only is read anew, if it is time.
    fn refresh(&mut self) {
        let now = clock::monotonic();
        if now.saturating_sub(self.anew_at) >= SYSCALLS_READ_ANEW_EVERY {
            self.anew_at = now;
            self.reader.look_anew();
            self.count_unseen();
        }
    }

    fn take(&mut self, thread: i32, event: Event) {
        if event == Event::Ended {
            self.threads.remove(&thread);
            self.began_in.remove(&thread);
            self.traced.forget(thread);
            return self.shared.gone(thread);
        }
        if !self.is_known(thread) {
            let signal = if let Event::Signalled(signal) = event { signal } else { 0 };
            return drop(ptrace::let_go(thread, signal));
        }
        self.refresh();
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
        let is_own = self.is_own(thread);
        let has_room = self.threads.len() < SYSCALL_THREADS_MAX;
        if is_own && has_room {
            self.traced.note(thread, false);
            self.threads.insert(thread, None);
            self.unseen.remove(&thread);
        } else if is_own {
            self.unseen.insert(thread);
            self.tell_unseen();
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
        self.began_in.clear();
        self.unseen.clear();
        self.tell_unseen();
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

    /// A call that begins. Its arguments are read at once, also where more are made than are shown: this may be the one that
    /// the thread stays in.
    fn entered(&mut self, thread: i32, machine: u32, number: u64, args: [u64; 6]) -> Syscall {
        let known = i64::try_from(number).ok().filter(|_| machine == MACHINE);
        let began_in = self.began_in.remove(&thread);
        let begun_again = began_in.filter(|_| known == Some(libc::SYS_restart_syscall));
        let (known, args) = begun_again.map_or((known, args), |it| (Some(it.number), it.args));
        let name = known.and_then(names::syscall);
        let args = match name {
            Some(name) => self.reader.words(thread, name, args),
            None => "…".to_owned(),
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

/// Whether the first thread of a process has ended; others may run on.
fn first_has_ended(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|it| it.strip_prefix("State:"));
    state.is_some_and(|it| it.trim_start().starts_with(['Z', 'X']))
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
    if first_has_ended(pid) {
        return Fault::absent(format!("process {pid} has ended"));
    }
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let fault = Fault::denied(format!("this kernel does not let you trace process {pid}"));
    match scope.trim() {
        "2" => fault.hint("kernel.yama.ptrace_scope is 2: only root may trace here"),
        "3" => fault.hint("kernel.yama.ptrace_scope is 3: nobody may trace here until the next boot"),
        _ => fault.hint("it may be of another user or have more rights than the hub: a container, as a rule, needs a hub that runs as root"),
    }
}
