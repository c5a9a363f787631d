//! What one thread waits on: the system call it is in, and what its descriptors are. Where the kernel does not tell the
//! call, where in the kernel it sleeps says a little.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::{
    doing::{Look, Stat, read},
    sockets::End,
    syscalls,
};
use crate::model::process::{Doing, KEYS};

/// Descriptors of one wait that are looked at, and of those the ones that are named.
const FDS_MAX: usize = 64;
const NAMED_MAX: usize = 4;
/// Descriptors of a process that are looked through for the other end of a pipe.
const OWN_FDS_MAX: usize = 512;
/// `FUTEX_WAIT`, `FUTEX_LOCK_PI` and others, without their flags; and the flag that only threads of the same process can
/// wake who waits.
pub const FUTEX_COMMAND: u64 = 0x7f;
const FUTEX_PRIVATE: u64 = 0x80;

/// What a thread does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub doing: Doing,
    pub endless: bool,
    pub keys: bool,
    pub linked: bool,
    pub on: Option<String>,
    pub call: Option<String>,
}

impl Default for Wait {
    fn default() -> Self {
        Self::new(Doing::Unknown, false)
    }
}

impl Wait {
    fn new(doing: Doing, endless: bool) -> Self {
        Self { doing, endless, keys: false, linked: false, on: None, call: None }
    }

    /// How much of what a process does is told by this thread of it: a lock is what the idle ones of most programs wait for.
    pub fn tells(&self) -> u8 {
        match self.doing {
            Doing::Runs => 13,
            Doing::Disk => 12,
            Doing::Terminal => 11,
            Doing::Socket => 10,
            Doing::Pipe => 9,
            Doing::Events if self.on.is_some() => 8,
            Doing::Listens => 7,
            Doing::Unknown => 6,
            Doing::Timer => 5,
            // Only others of its own process wake it, as a rule.
            Doing::Events => 4,
            Doing::Child => 3,
            Doing::Lock => 2,
            Doing::Stopped => 1,
            Doing::Zombie => 0,
        }
    }
}

/// What a thread of a process does; `None` when it is gone, or the look is over.
pub fn of_thread(here: &mut Here<'_, '_>, tid: i32) -> Option<Wait> {
    if !here.look.goes_on() {
        return None;
    }
    here.turn_to(tid);
    let at = here.at();
    let stat = Stat::parse(&read(&format!("{at}/stat"), 4096).ok()?)?;
    match stat.state {
        b'R' => return Some(Wait::new(Doing::Runs, false)),
        b't' if here.look.traced.steps(tid) => return Some(Wait::new(Doing::Runs, false)),
        b'T' | b't' => return Some(Wait::new(Doing::Stopped, true)),
        b'Z' | b'X' => return Some(Wait::new(Doing::Zombie, true)),
        _ => {}
    }
    let place = read(&format!("{at}/wchan"), 128).unwrap_or_default();
    let place = String::from_utf8_lossy(&place).trim().to_owned();
    let place = Some(place).filter(|it| !it.is_empty() && it != "0");
    let call = match Call::of(here.pid, tid) {
        Ok(call) => call,
        Err(error) => {
            here.look.hidden |= error.kind() == io::ErrorKind::PermissionDenied;
            None
        }
    };
    let mut wait = match &call {
        Some(call) if call.number == libc::SYS_restart_syscall => restarted(place.as_deref()),
        Some(call) => call.wait(here),
        None => by_place(place.as_deref()),
    };
    wait.call = call.map(|it| it.words()).or(place);
    // Who started a child waits like this until that has its own program.
    if stat.state == b'D' && !matches!(wait.doing, Doing::Terminal | Doing::Child) {
        wait.doing = Doing::Disk;
    }
    Some(wait)
}

/// Where in the kernel it sleeps, by names that have been there for long.
fn by_place(place: Option<&str>) -> Wait {
    let Some(place) = place else { return Wait::default() };
    let known = [
        ("n_tty_read", Doing::Terminal),
        ("futex", Doing::Lock),
        ("do_wait", Doing::Child),
        ("nanosleep", Doing::Timer),
        ("pipe_", Doing::Pipe),
        ("fifo_", Doing::Pipe),
        ("unix_stream", Doing::Socket),
        ("tcp_", Doing::Socket),
        ("sk_wait", Doing::Socket),
        ("inet_csk_accept", Doing::Listens),
        ("ep_poll", Doing::Events),
        ("poll_schedule", Doing::Events),
        ("do_sys_poll", Doing::Events),
    ];
    let found = known.iter().find(|(name, _)| place.contains(name));
    // Whether there is a limit to it is not known, so nothing is made of that.
    found.map_or_else(Wait::default, |(_, doing)| Wait::new(*doing, *doing == Doing::Terminal))
}

/// One that was stopped and goes on: what it waits on is in no argument any more. Only what has a time limit is taken up like
/// this, and a sleep does not tell where it is.
fn restarted(place: Option<&str>) -> Wait {
    let wait = by_place(place);
    if wait.doing == Doing::Unknown { Wait::new(Doing::Timer, false) } else { wait }
}

/// A system call with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// As this machine's own programs number them.
    pub number: i64,
    pub args: [u64; 6],
}

impl Call {
    /// The one that a thread of a process is in; `None` when it is in none.
    pub fn of(pid: i32, thread: i32) -> io::Result<Option<Self>> {
        let line = read(&format!("/proc/{pid}/task/{thread}/syscall"), 512)?;
        Ok(Self::parse(&String::from_utf8_lossy(&line)))
    }

    /// `None` when it is in none: `running`, or `-1` and where it is.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let number = words.next()?.parse().ok().filter(|it| *it >= 0)?;
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        }
        Some(Self { number, args })
    }

    fn fd(&self) -> i32 {
        i32::try_from(self.args[0] & 0x7fff_ffff).unwrap_or_default()
    }

    fn words(&self) -> String {
        syscalls::name(self.number)
            .map_or_else(|| format!("system call {}", self.number), str::to_owned)
    }

    fn wait(&self, here: &mut Here<'_, '_>) -> Wait {
        let [_, second, third, fourth, fifth, _] = self.args;
        match syscalls::name(self.number).unwrap_or_default() {
            "read" | "readv" | "pread64" | "recvfrom" | "recvmsg" | "recvmmsg" | "write"
            | "writev" | "sendto" | "sendmsg" | "connect" | "accept" | "accept4" => {
                let writes = matches!(self.number, libc::SYS_write | libc::SYS_writev);
                let mut wait = here.one(self.fd());
                if wait.doing == Doing::Terminal && writes {
                    // Its terminal takes no more, which only whoever drains it can do something about.
                    wait = Wait {
                        on: Some("its terminal".to_owned()),
                        ..Wait::new(Doing::Pipe, true)
                    };
                }
                wait
            }
            "poll" => here.of_poll(self.args[0], second, third.cast_signed() as i32 >= 0),
            "ppoll" => here.of_poll(self.args[0], second, third != 0),
            "select" | "pselect6" => here.of_select(self.args[0], second, fifth != 0),
            "epoll_wait" | "epoll_pwait" => {
                here.of_epoll(self.fd(), fourth.cast_signed() as i32 >= 0)
            }
            "epoll_pwait2" => here.of_epoll(self.fd(), fourth != 0),
            "futex" => match second & FUTEX_COMMAND {
                // To wait, by a set or not, or to take a lock that gives its priority on.
                // Whoever shares the memory may let go of one that is not private, and need not be of this session.
                0 | 9 | 6 | 11 | 13 if fourth == 0 => {
                    Wait::new(Doing::Lock, second & FUTEX_PRIVATE != 0)
                }
                _ => Wait::new(Doing::Timer, false),
            },
            "wait4" | "waitid" | "vfork" => Wait::new(Doing::Child, true),
            "nanosleep" | "clock_nanosleep" => Wait::new(Doing::Timer, false),
            // Any process that can reach them may let go of these.
            "flock" | "fcntl" => {
                Wait { on: here.one(self.fd()).on, ..Wait::new(Doing::Lock, false) }
            }
            "semop" | "msgrcv" | "msgsnd" => Wait::new(Doing::Lock, false),
            "open" | "openat" => Wait {
                on: Some("a file that is opened".to_owned()),
                ..Wait::new(Doing::Pipe, true)
            },
            "pause" | "rt_sigsuspend" => {
                Wait { on: Some("a signal".to_owned()), ..Wait::new(Doing::Events, true) }
            }
            "rt_sigtimedwait" => {
                Wait { on: Some("a signal".to_owned()), ..Wait::new(Doing::Events, third == 0) }
            }
            _ => Wait::default(),
        }
    }
}

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// The terminal of its session.
    Keys,
    Linked(String),
    Listens(String),
    Pipe(String),
    Timer,
    /// It only wakes: an event, a signal, a change of files.
    Bell,
    Other(String),
}

/// A process that is looked at, in one look.
pub struct Here<'a, 'b> {
    pid: i32,
    /// The thread that is looked at.
    thread: i32,
    terminal: i32,
    look: &'a mut Look<'b>,
    /// The pipes that the thread has, each with the descriptors of it; read when first wanted.
    pipes: Option<HashMap<PathBuf, Vec<i32>>>,
}

impl<'a, 'b> Here<'a, 'b> {
    /// `terminal` is the kernel's number of the one that its session has; 0 = none.
    pub fn new(pid: i32, terminal: i32, look: &'a mut Look<'b>) -> Self {
        Self { pid, thread: pid, terminal, look, pipes: None }
    }

    /// Looks at another thread, which may have descriptors of its own.
    fn turn_to(&mut self, thread: i32) {
        self.thread = thread;
        self.pipes = None;
    }

    /// Where the kernel tells of the thread.
    fn at(&self) -> String {
        format!("/proc/{}/task/{}", self.pid, self.thread)
    }

    /// `None` where it is gone, or the look is over.
    fn target(&mut self, fd: i32) -> Option<Target> {
        if !self.look.goes_on() {
            return None;
        }
        let path = format!("{}/fd/{fd}", self.at());
        let opened = fs::read_link(&path).ok()?;
        let link = opened.to_string_lossy().into_owned();
        let number = |kind: &str| {
            let number = link.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?;
            number.parse::<u64>().ok()
        };
        Some(if let Some(number) = number("socket") {
            match self.look.networks.end(self.pid, number) {
                End::Linked(to) => Target::Linked(to),
                End::Listens(at) => Target::Listens(at),
            }
        } else if number("pipe").is_some() {
            if self.wakes_itself(fd, &opened) { Target::Bell } else { Target::Pipe(link) }
        } else if let Some(kind) = link.strip_prefix("anon_inode:") {
            match kind {
                "[timerfd]" => Target::Timer,
                "[eventfd]" | "[signalfd]" | "inotify" | "[inotify]" | "[pidfd]" => Target::Bell,
                _ => Target::Other(link),
            }
        } else if self.is_terminal(&path) {
            Target::Keys
        } else {
            Target::Other(link)
        })
    }

    /// Whether the other end of a pipe is its own: it is how signals and threads wake who waits.
    fn wakes_itself(&mut self, fd: i32, pipe: &Path) -> bool {
        let (at, look) = (self.at(), &mut *self.look);
        let pipes = self.pipes.get_or_insert_with(|| pipes(&at, look));
        pipes.get(pipe).is_some_and(|all| all.iter().any(|it| *it != fd))
    }

    /// Whether it is the terminal that its session has. Nothing of a file system is asked for that.
    fn is_terminal(&self, path: &str) -> bool {
        const TTY: (u32, u32) = (5, 0);
        let flags = AtFlags::STATX_DONT_SYNC;
        let Ok(seen) = statx(CWD, path, flags, StatxFlags::BASIC_STATS) else { return false };
        let number = (seen.stx_rdev_major, seen.stx_rdev_minor);
        let own = self.terminal.cast_unsigned();
        let own = ((own >> 8) & 0xfff, (own & 0xff) | ((own >> 12) & 0xfff00));
        self.terminal != 0 && (number == own || number == TTY)
    }

    fn one(&mut self, fd: i32) -> Wait {
        Self::all(self.target(fd).into_iter().collect(), true)
    }

    /// What waiting for the first of these is.
    fn all(targets: Vec<Target>, endless: bool) -> Wait {
        let endless = endless && !targets.contains(&Target::Timer);
        let keys = targets.contains(&Target::Keys);
        let linked = targets.iter().any(|it| matches!(it, Target::Linked(_) | Target::Pipe(_)));
        let mut named: Vec<(Doing, String)> = targets.into_iter().filter_map(named).collect();
        named.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        named.dedup();
        let kinds: Vec<Doing> = named.iter().map(|it| it.0).collect();
        let doing = match kinds.first() {
            None if endless => Doing::Events,
            None => Doing::Timer,
            Some(first) if kinds.iter().all(|it| it == first) => *first,
            Some(_) => Doing::Events,
        };
        let more = named.len().saturating_sub(NAMED_MAX);
        let mut words: Vec<String> = named.into_iter().take(NAMED_MAX).map(|it| it.1).collect();
        words.extend((more > 0).then(|| format!("{more} more")));
        let on = (!words.is_empty()).then(|| words.join(", "));
        Wait { keys, linked, on, ..Wait::new(doing, endless) }
    }

    fn memory(&self, at: u64, bytes: usize) -> Option<Vec<u8>> {
        let mut read = vec![0; bytes];
        let memory = fs::File::open(format!("{}/mem", self.at())).ok()?;
        memory.read_exact_at(&mut read, at).ok()?;
        Some(read)
    }

    fn of_poll(&mut self, list: u64, many: u64, limited: bool) -> Wait {
        const ENTRY: usize = 8;
        let many = usize::try_from(many).unwrap_or(usize::MAX).min(FDS_MAX);
        let Some(list) = self.memory(list, many * ENTRY) else {
            return Wait::new(Doing::Events, !limited);
        };
        let fds = list.chunks_exact(ENTRY).filter_map(|it| it.first_chunk::<4>());
        let fds = fds.map(|it| i32::from_ne_bytes(*it)).filter(|it| *it >= 0);
        Self::all(fds.filter_map(|it| self.target(it)).collect(), !limited)
    }

    fn of_select(&mut self, many: u64, to_read: u64, limited: bool) -> Wait {
        let bits = usize::try_from(many).unwrap_or_default().min(1024);
        let read = match (to_read, bits) {
            (0, _) | (_, 0) => Some(Vec::new()),
            _ => self.memory(to_read, bits.div_ceil(64) * 8),
        };
        let Some(read) = read else { return Wait::new(Doing::Events, !limited) };
        let words = read.chunks_exact(8).filter_map(|it| it.first_chunk::<8>());
        let words: Vec<u64> = words.map(|it| u64::from_ne_bytes(*it)).collect();
        let is_set = |bit: &usize| words.get(bit / 64).is_some_and(|it| it >> (bit % 64) & 1 == 1);
        let fds = (0..bits).filter(is_set).take(FDS_MAX);
        let fds = fds.filter_map(|it| self.target(i32::try_from(it).ok()?));
        Self::all(fds.collect(), !limited)
    }

    fn of_epoll(&mut self, fd: i32, limited: bool) -> Wait {
        let told = read(&format!("{}/fdinfo/{fd}", self.at()), 16 * 1024).unwrap_or_default();
        let told = String::from_utf8_lossy(&told);
        let fds = told.lines().filter_map(|it| it.strip_prefix("tfd:")?.split_whitespace().next());
        let fds = fds.filter_map(|it| it.parse().ok()).take(FDS_MAX);
        let mut wait = Self::all(fds.filter_map(|it| self.target(it)).collect(), !limited);
        if matches!(wait.doing, Doing::Terminal | Doing::Socket) {
            // What else it has to do is in no list of descriptors, and a connection may only be kept for later.
            wait.doing = Doing::Events;
        }
        wait
    }
}

/// What to call it; `None` for what is not worth a name.
fn named(target: Target) -> Option<(Doing, String)> {
    Some(match target {
        Target::Keys => (Doing::Terminal, KEYS.to_owned()),
        Target::Linked(to) => (Doing::Socket, to),
        Target::Listens(at) => (Doing::Listens, at),
        Target::Pipe(name) => (Doing::Pipe, name),
        Target::Other(path) => (Doing::Events, path),
        Target::Timer | Target::Bell => return None,
    })
}

/// The pipes that a thread has; `at` is where the kernel tells of it.
fn pipes(at: &str, look: &mut Look<'_>) -> HashMap<PathBuf, Vec<i32>> {
    let mut out: HashMap<PathBuf, Vec<i32>> = HashMap::new();
    let open = fs::read_dir(format!("{at}/fd")).into_iter().flatten();
    for it in open.filter_map(Result::ok).take(OWN_FDS_MAX) {
        if !look.goes_on() {
            break;
        }
        let fd = it.file_name().to_str().and_then(|it| it.parse().ok());
        let link = fs::read_link(it.path()).ok().filter(|it| is_pipe(it));
        if let (Some(fd), Some(link)) = (fd, link) {
            out.entry(link).or_default().push(fd);
        }
    }
    out
}

fn is_pipe(link: &Path) -> bool {
    link.to_str().is_some_and(|it| it.starts_with("pipe:["))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_and_what_is_none_is_not() {
        let line = "7 0x7ffd 0x1 0xffffffff 0x0 0x0 0x2 0x7ffe 0x7f1a\n";
        let call = Call::parse(line).unwrap();
        assert_eq!((call.number, call.args[2]), (7, 0xffff_ffff));
        for none in ["running\n", "-1 0x7ffe 0x7f1a\n", "", "7 0x1", "x 0x0 0x0 0x0 0x0 0x0 0x0"] {
            assert_eq!(Call::parse(none), None, "{none}");
        }
    }

    #[test]
    fn who_waits_for_several_things_waits_for_the_first_of_them() {
        let to = || Target::Linked("10.0.0.1:443".to_owned());
        let all = |targets: Vec<Target>, endless| Here::all(targets, endless);
        let keys = all(vec![Target::Keys, Target::Bell], true);
        assert_eq!((keys.doing, keys.endless, keys.keys), (Doing::Terminal, true, true));
        let both = all(vec![Target::Keys, to()], true);
        assert_eq!((both.doing, both.keys, both.linked), (Doing::Events, true, true));
        assert_eq!(both.on.as_deref(), Some("10.0.0.1:443, what is typed"));
        assert_eq!(all(vec![to(), to()], true).doing, Doing::Socket);
        let timed = all(vec![Target::Keys, Target::Timer], true);
        assert_eq!((timed.doing, timed.endless), (Doing::Terminal, false));
        assert_eq!(all(Vec::new(), false).doing, Doing::Timer);
        assert_eq!(all(vec![Target::Bell], true).doing, Doing::Events);
    }

    /// What this thread has read so far, in bytes; `None` where the kernel does not count that.
    fn read_so_far() -> Option<u64> {
        let counts = fs::read_to_string("/proc/thread-self/io").ok()?;
        counts.lines().find_map(|it| it.strip_prefix("rchar: "))?.parse().ok()
    }

    #[test]
    fn the_list_of_sockets_is_read_once_however_many_wait_for_what_is_on_it() {
        const MANY: usize = 40;
        let bound = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets: Vec<_> = (0..MANY).map(|_| bound()).collect();
        let (told, hears) = std::sync::mpsc::sync_channel(MANY);
        let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..MANY {
                let (told, sockets, bell) = (told.clone(), &sockets, &bell);
                scope.spawn(move || {
                    use rustix::event::{PollFd, PollFlags, poll};
                    told.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
                    let mut all: Vec<_> =
                        sockets.iter().map(|it| PollFd::new(it, PollFlags::IN)).collect();
                    all.push(PollFd::new(bell, PollFlags::IN));
                    poll(&mut all, None).unwrap();
                });
            }
            let threads: Vec<i32> = hears.iter().take(MANY).collect();
            let own = std::process::id().cast_signed();
            let wanted = || true;
            let before = read_so_far();
            let mut look = Look::new(&wanted);
            let mut here = Here::new(own, 0, &mut look);
            let seen: Vec<Wait> =
                threads.iter().filter_map(|it| of_thread(&mut here, *it)).collect();
            let after = read_so_far();
            let hidden = look.hidden;
            rustix::io::write(&bell, &1_u64.to_ne_bytes()).unwrap();
            assert!(hidden || seen.iter().any(|it| it.doing == Doing::Listens), "{seen:?}");
            // Each list has more than 40 lines of 150 bytes; read for each of 1600 waits that makes 9 MiB.
            if let (Some(before), Some(after)) = (before, after) {
                assert!(after - before < 4 << 20, "{}", after - before);
            }
        });
    }

    #[test]
    fn a_look_that_nobody_waits_for_any_more_looks_at_no_descriptor() {
        let wanted = || false;
        let mut look = Look::new(&wanted);
        let mut here = Here::new(std::process::id().cast_signed(), 0, &mut look);
        assert_eq!((here.target(0), here.wakes_itself(0, Path::new("pipe:[1]"))), (None, false));
        assert_eq!(here.pipes, Some(HashMap::new()));
    }

    #[test]
    fn a_thread_that_waits_for_a_lock_for_good_is_seen_to() {
        let (held, waits) = (std::sync::Mutex::new(()), std::sync::mpsc::sync_channel(1));
        let guard = held.lock().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                waits.0.send(rustix::thread::gettid()).unwrap();
                drop(held.lock());
            });
            let tid = waits.1.recv().unwrap().as_raw_nonzero().get();
            let own = std::process::id().cast_signed();
            let until = crate::base::clock::monotonic() + std::time::Duration::from_secs(60);
            let wanted = || true;
            let mut look = Look::new(&wanted);
            let seen = loop {
                let seen = of_thread(&mut Here::new(own, 0, &mut look), tid).unwrap();
                if seen.doing != Doing::Runs || crate::base::clock::monotonic() > until {
                    break seen;
                }
                std::thread::yield_now();
            };
            drop(guard);
            assert_eq!(seen.doing, Doing::Lock, "{seen:?}");
            assert!(look.hidden || seen.endless, "{seen:?}");
        });
    }
}
