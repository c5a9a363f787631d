//! What system calls are called with, in words: of the calls that tell most, by one table. It reads names and places out of
//! the memory of the process, bounded; never what is read or written.

use std::{fs, os::unix::fs::FileExt, path::PathBuf};

use super::{
    super::{
        sockets::{End, Networks},
        waits::FUTEX_COMMAND,
    },
    names,
};
use crate::base::{
    limits::{SYSCALL_ARGS_BYTES_MAX, SYSCALL_LIST_MAX, SYSCALL_STRING_BYTES_MAX},
    text,
};

/// How an argument is read.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// It says little, or is given back by the call.
    Skip,
    Fd,
    /// A directory that a path is relative to; nothing where that is where the program is.
    Dir,
    /// Text that ends in a zero.
    Path,
    /// A list of such.
    Words,
    Number,
    Hex,
    /// As modes of files are written.
    Octal,
    OpenFlags,
    Signal,
    /// Where something connects to, with its length in the next argument.
    Address,
    /// What is waited for, and how many of them there are in the next argument.
    Polled,
    Milliseconds,
    /// Seconds and billionths; none = no limit.
    Time,
    /// The same as a point in time, with the clock that it is of.
    Until(&'static str),
    Operation,
}

/// The calls whose arguments are shown; `None` for others.
fn kinds(call: &str) -> Option<&'static [Kind]> {
    use Kind::{
        Address, Dir, Fd, Hex, Milliseconds, Number, Octal, OpenFlags, Path, Polled, Signal, Skip,
        Time, Words,
    };
    Some(match call {
        "read" | "write" | "readv" | "writev" | "pread64" | "pwrite64" => &[Fd, Skip, Number],
        "recvfrom" | "getdents64" => &[Fd, Skip, Number],
        "sendto" => &[Fd, Skip, Number, Skip, Address, Skip],
        "recvmsg" | "sendmsg" | "recvmmsg" | "sendmmsg" | "close" | "fstat" | "fsync"
        | "fdatasync" | "fchdir" | "accept" | "accept4" | "getsockname" | "getpeername" | "dup"
        | "setsockopt" | "getsockopt" => &[Fd],
        "connect" | "bind" => &[Fd, Address, Skip],
        "listen" | "shutdown" | "flock" | "ftruncate" | "fcntl" | "dup2" | "dup3" | "lseek" => {
            &[Fd, Number]
        }
        "ioctl" => &[Fd, Hex],
        "fchmod" => &[Fd, Octal],
        "sendfile" => &[Fd, Fd, Skip, Number],
        "socket" => &[Number, Number, Number],
        "open" => &[Path, OpenFlags],
        "openat" => &[Dir, Path, OpenFlags],
        "stat" | "lstat" | "access" | "readlink" | "unlink" | "rmdir" | "chdir" | "statfs"
        | "truncate" | "mknod" | "chown" | "lchown" | "utime" | "utimes" | "chroot" => &[Path],
        "mkdir" | "chmod" | "creat" => &[Path, Octal],
        "mkdirat" | "fchmodat" => &[Dir, Path, Octal],
        "newfstatat" | "statx" | "faccessat" | "faccessat2" | "readlinkat" | "unlinkat"
        | "utimensat" | "openat2" | "fchownat" | "mknodat" => &[Dir, Path],
        "rename" | "link" | "symlink" | "mount" => &[Path, Path],
        "renameat" | "renameat2" | "linkat" => &[Dir, Path, Dir, Path],
        "symlinkat" => &[Path, Dir, Path],
        "inotify_add_watch" => &[Fd, Path],
        "execve" => &[Path, Words],
        "execveat" => &[Dir, Path, Words],
        "poll" => &[Polled, Skip, Milliseconds],
        "ppoll" => &[Polled, Skip, Time],
        "select" | "getrandom" => &[Number],
        "epoll_wait" | "epoll_pwait" => &[Fd, Skip, Number, Milliseconds],
        "epoll_ctl" => &[Fd, Skip, Fd],
        "wait4" | "waitid" => &[Number],
        "kill" | "tkill" => &[Number, Signal],
        "tgkill" => &[Number, Number, Signal],
        "rt_sigaction" => &[Signal],
        "nanosleep" => &[Time],
        "mmap" => &[Hex, Number, Skip, Skip, Fd, Hex],
        "munmap" | "mprotect" | "madvise" => &[Hex, Number],
        "brk" => &[Hex],
        "exit" | "exit_group" | "setpgid" | "getpgid" | "getsid" | "umask" | "prctl" => &[Number],
        "clone" | "unshare" | "setns" => &[Hex],
        "getpid" | "gettid" | "getppid" | "getuid" | "geteuid" | "getgid" | "getegid"
        | "sched_yield" | "fork" | "vfork" | "setsid" | "pause" | "rt_sigreturn" | "sync" => &[],
        _ => return None,
    })
}

/// The calls whose other arguments say whether a time is a length, a point or none; `None` for others.
fn timed(call: &str, args: [u64; 6]) -> Option<&'static [Kind]> {
    use Kind::{Hex, Number, Operation, Skip, Time, Until};
    const ABSOLUTE: u64 = 1;
    const OF_WALL_CLOCK: u64 = 256;
    let [first, second, ..] = args;
    Some(match call {
        "clock_nanosleep" if second & ABSOLUTE == 0 => &[Skip, Skip, Time],
        "clock_nanosleep" => match first as i32 {
            libc::CLOCK_REALTIME => &[Skip, Skip, Until(WALL)],
            libc::CLOCK_MONOTONIC => &[Skip, Skip, Until(MONOTONIC)],
            _ => &[Skip, Skip, Until("another clock")],
        },
        "futex" => match second & FUTEX_COMMAND {
            0 => &[Hex, Operation, Number, Time],
            6 => &[Hex, Operation, Number, Until(WALL)],
            9 | 11 | 13 if second & OF_WALL_CLOCK != 0 => &[Hex, Operation, Number, Until(WALL)],
            9 | 11 | 13 => &[Hex, Operation, Number, Until(MONOTONIC)],
            _ => &[Hex, Operation, Number],
        },
        _ => return None,
    })
}

/// Clocks, as they are called here.
const WALL: &str = "the wall clock";
const MONOTONIC: &str = "the monotonic clock";

/// Reads the arguments of calls of one process.
pub struct Reader {
    pid: i32,
    /// The one whose call is read.
    thread: i32,
    memory: Option<fs::File>,
    networks: Networks,
}

impl Reader {
    pub fn new(pid: i32) -> Self {
        Self { pid, thread: pid, memory: None, networks: Networks::default() }
    }

    /// The process is another program now: what was opened of it is of the one before.
    pub fn forget(&mut self) {
        self.memory = None;
    }

    /// The lists of connections are read anew when they are needed next.
    pub fn look_anew(&mut self) {
        self.networks = Networks::default();
    }

    /// All of them, bounded and safe to show. `thread` is the one that calls: the first may have ended, and each may have
    /// descriptors of its own.
    pub fn words(&mut self, thread: i32, call: &str, args: [u64; 6]) -> String {
        let Some(kinds) = timed(call, args).or_else(|| kinds(call)) else {
            return "…".to_owned();
        };
        self.thread = thread;
        let mut out = String::new();
        for (at, kind) in kinds.iter().enumerate() {
            let next = args.get(at + 1).copied().unwrap_or_default();
            let Some(words) = args.get(at).and_then(|it| self.word(*kind, *it, next)) else {
                continue;
            };
            if !out.is_empty() {
                out.push_str(", ");
            }
            out.push_str(&words);
        }
        text::shown(&out, SYSCALL_ARGS_BYTES_MAX)
    }

    fn word(&mut self, kind: Kind, value: u64, next: u64) -> Option<String> {
        // Numbers are `int` as a rule: what is above is not theirs.
        let number = value as i32;
        Some(match kind {
            Kind::Skip => return None,
            Kind::Fd => self.fd(number),
            Kind::Dir if number == libc::AT_FDCWD => return None,
            Kind::Dir => self.fd(number),
            Kind::Path => self.text(value),
            Kind::Words => self.list(value),
            Kind::Number if value >> 32 == 0 => number.to_string(),
            Kind::Number => value.cast_signed().to_string(),
            Kind::Hex => format!("{value:#x}"),
            Kind::Octal => format!("{:#o}", value as u32),
            Kind::OpenFlags => open_flags(number),
            Kind::Signal => names::signal(number),
            Kind::Address => self.address(value, next)?,
            Kind::Polled => self.polled(value, next),
            Kind::Milliseconds if number < 0 => "no limit".to_owned(),
            Kind::Milliseconds => format!("{number} ms"),
            Kind::Time => self.time(value).unwrap_or_else(|| no_time(value)),
            Kind::Until(clock) => match self.time(value) {
                Some(time) => format!("until {time} of {clock}"),
                None => no_time(value),
            },
            Kind::Operation => operation(value),
        })
    }

    /// Where the kernel tells of the thread.
    fn at(&self) -> String {
        format!("/proc/{}/task/{}", self.pid, self.thread)
    }

    fn bytes(&mut self, at: u64, most: usize) -> Option<Vec<u8>> {
        if at == 0 {
            return None;
        }
        if self.memory.is_none() {
            self.memory = fs::File::open(format!("{}/mem", self.at())).ok();
        }
        let mut read = vec![0; most];
        // What is behind it may be nobody's.
        let count = self.memory.as_ref()?.read_at(&mut read, at).ok()?;
        read.truncate(count);
        Some(read)
    }

    fn exactly<const N: usize>(&mut self, at: u64) -> Option<[u8; N]> {
        self.bytes(at, N)?.first_chunk().copied()
    }

    fn text(&mut self, at: u64) -> String {
        // Of two pages the second may be missing, which costs the whole of a read at once.
        let to_page = usize::try_from(4096 - at % 4096).unwrap_or(1);
        let mut bytes = self.bytes(at, to_page.min(SYSCALL_STRING_BYTES_MAX)).unwrap_or_default();
        if !bytes.contains(&0) && bytes.len() < SYSCALL_STRING_BYTES_MAX && !bytes.is_empty() {
            let (from, rest) = (at + bytes.len() as u64, SYSCALL_STRING_BYTES_MAX - bytes.len());
            bytes.extend(self.bytes(from, rest).unwrap_or_default());
        }
        if bytes.is_empty() {
            return format!("{at:#x}");
        }
        let end = bytes.iter().position(|it| *it == 0);
        let known = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let more = if end.is_none() { "…" } else { "" };
        format!("\"{}\"{more}", String::from_utf8_lossy(known))
    }

    fn list(&mut self, at: u64) -> String {
        let mut words = Vec::new();
        for index in 0..=SYSCALL_LIST_MAX as u64 {
            match self.exactly(at.wrapping_add(index * 8)).map(u64::from_ne_bytes) {
                None | Some(0) => return format!("[{}]", words.join(", ")),
                Some(text) if words.len() < SYSCALL_LIST_MAX => words.push(self.text(text)),
                Some(_) => {}
            }
        }
        format!("[{}, …]", words.join(", "))
    }

    /// A descriptor with what it is open on.
    fn fd(&mut self, fd: i32) -> String {
        let Ok(link) = fs::read_link(format!("{}/fd/{fd}", self.at())) else {
            return fd.to_string();
        };
        let link: PathBuf = link;
        let link = link.to_string_lossy();
        let socket = link.strip_prefix("socket:[").and_then(|it| it.strip_suffix(']'));
        let to = match socket.and_then(|it| it.parse().ok()) {
            Some(number) => match self.networks.end(self.thread, number) {
                End::Linked(to) => to,
                End::Listens(at) => format!("listens at {at}"),
            },
            None => text::cut(&link, SYSCALL_STRING_BYTES_MAX).to_owned(),
        };
        format!("{fd}<{to}>")
    }

    fn address(&mut self, at: u64, bytes: u64) -> Option<String> {
        const LONGEST: usize = 128;
        let most = usize::try_from(bytes).unwrap_or(LONGEST).min(LONGEST);
        let it = self.bytes(at, most)?;
        let family = i32::from(u16::from_ne_bytes(*it.first_chunk()?));
        let port = || it.get(2..)?.first_chunk().map(|it| u16::from_be_bytes(*it));
        Some(match family {
            libc::AF_INET => {
                let ip: [u8; 4] = *it.get(4..)?.first_chunk()?;
                format!("{}:{}", std::net::Ipv4Addr::from(ip), port()?)
            }
            libc::AF_INET6 => {
                let ip: [u8; 16] = *it.get(8..)?.first_chunk()?;
                format!("[{}]:{}", std::net::Ipv6Addr::from(ip), port()?)
            }
            libc::AF_UNIX => {
                let path = it.get(2..)?;
                // One that begins with a zero is a name and no path.
                let (at, path) = match path.split_first() {
                    Some((0, name)) if !name.is_empty() => ("@", name),
                    _ => ("", path),
                };
                let path = path.split(|it| *it == 0).next().unwrap_or_default();
                format!("\"{at}{}\"", String::from_utf8_lossy(path))
            }
            other => format!("an address of family {other}"),
        })
    }

    fn polled(&mut self, at: u64, many: u64) -> String {
        const ENTRY: usize = 8;
        let shown = usize::try_from(many).unwrap_or(SYSCALL_LIST_MAX).min(SYSCALL_LIST_MAX);
        let list = self.bytes(at, shown * ENTRY).unwrap_or_default();
        let fds = list.chunks_exact(ENTRY).filter_map(|it| it.first_chunk());
        let fds: Vec<i32> = fds.map(|it| i32::from_ne_bytes(*it)).filter(|it| *it >= 0).collect();
        let mut words: Vec<String> = fds.into_iter().map(|it| self.fd(it)).collect();
        if many > shown as u64 {
            words.push("…".to_owned());
        }
        format!("[{}]", words.join(", "))
    }

    fn time(&mut self, at: u64) -> Option<String> {
        let it = self.exactly::<16>(at)?;
        let word = |from: usize| it.get(from..).and_then(|it| it.first_chunk().copied());
        let seconds = word(0).map(i64::from_ne_bytes).unwrap_or_default();
        let nanoseconds = word(8).map(i64::from_ne_bytes).unwrap_or_default();
        Some(format!("{seconds}.{:03} s", nanoseconds.clamp(0, 999_999_999) / 1_000_000))
    }
}

/// What stands where a time would, if none is there.
fn no_time(at: u64) -> String {
    if at == 0 { "no limit".to_owned() } else { format!("{at:#x}") }
}

fn open_flags(flags: i32) -> String {
    let known = [
        (libc::O_CREAT, "create"),
        (libc::O_EXCL, "new"),
        (libc::O_TRUNC, "truncate"),
        (libc::O_APPEND, "append"),
        (libc::O_DIRECTORY, "directory"),
        (libc::O_NONBLOCK, "nonblock"),
        (libc::O_PATH, "path"),
    ];
    let access = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => "read",
        libc::O_WRONLY => "write",
        _ => "read+write",
    };
    let more = known.iter().filter(|it| flags & it.0 == it.0).map(|it| it.1);
    std::iter::once(access).chain(more).collect::<Vec<_>>().join("|")
}

/// What a futex is told to do.
fn operation(value: u64) -> String {
    match value & FUTEX_COMMAND {
        0 | 9 => "wait".to_owned(),
        1 | 10 => "wake".to_owned(),
        3 | 4 => "requeue".to_owned(),
        6 | 13 => "lock".to_owned(),
        7 => "unlock".to_owned(),
        11 => "wait to requeue".to_owned(),
        other => format!("operation {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn reader() -> Reader {
        Reader::new(std::process::id().cast_signed())
    }

    fn own() -> i32 {
        crate::driver::local::ptrace::own()
    }

    fn at<T: ?Sized>(it: &T) -> u64 {
        std::ptr::from_ref(it).cast::<u8>().addr() as u64
    }

    #[test]
    fn paths_descriptors_and_flags_are_read_out_of_the_process() {
        let mut reader = reader();
        let path = c"/tmp/a\x1b[31m\u{202e}b";
        let cwd = libc::AT_FDCWD as u64;
        let flags = (libc::O_WRONLY | libc::O_CREAT) as u64;
        let words = reader.words(own(), "openat", [cwd, at(path), flags, 0, 0, 0]);
        assert_eq!(words, "\"/tmp/a␛[31m<U+202E>b\", write|create");
        let file = fs::File::open("/dev/null").unwrap();
        let fd = file.as_raw_fd();
        let words = reader.words(own(), "read", [fd as u64, 0, 4096, 0, 0, 0]);
        assert_eq!(words, format!("{fd}</dev/null>, 4096"));
        assert_eq!(reader.words(own(), "close", [987_654, 0, 0, 0, 0, 0]), "987654");
        assert_eq!(reader.words(own(), "kill", [u64::MAX, 9, 0, 0, 0, 0]), "-1, SIGKILL");
        assert_eq!(reader.words(own(), "getpid", [9; 6]), "");
        assert_eq!(reader.words(own(), "something_new", [9; 6]), "…");
    }

    #[test]
    fn addresses_lists_and_times_are_read_and_nonsense_is_shown_as_it_is() {
        let mut reader = reader();
        let mut inet = [0_u8; 16];
        inet[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        inet[2..8].copy_from_slice(&[1, 187, 10, 0, 0, 7]);
        let words = reader.words(own(), "connect", [987_654, at(&inet), 16, 0, 0, 0]);
        assert_eq!(words, "987654, 10.0.0.7:443");
        let argv = [at(c"sh"), at(c"-c"), 0];
        let words = reader.words(own(), "execve", [at(c"/bin/sh"), at(&argv), 0, 0, 0, 0]);
        assert_eq!(words, "\"/bin/sh\", [\"sh\", \"-c\"]");
        let time = [2_i64, 500_000_000];
        assert_eq!(reader.words(own(), "nanosleep", [at(&time), 0, 0, 0, 0, 0]), "2.500 s");
        let polled = [987_654_i32, 1, -1, 1];
        let words = reader.words(own(), "poll", [at(&polled), 2, u64::MAX, 0, 0, 0]);
        assert_eq!(words, "[987654], no limit");
        assert_eq!(
            reader.words(own(), "futex", [0x10, 128, 2, 0, 0, 0]),
            "0x10, wait, 2, no limit"
        );
        for nonsense in [8, u64::MAX - 8, 1 << 63] {
            for call in ["openat", "execve", "connect", "ppoll", "nanosleep", "clock_nanosleep"] {
                let words = reader.words(own(), call, [nonsense; 6]);
                assert!(words.len() <= SYSCALL_ARGS_BYTES_MAX, "{call}: {words}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut reader = reader();
        let long = std::ffi::CString::new("x".repeat(9000)).unwrap();
        let words = reader.words(own(), "chdir", [long.as_ptr().addr() as u64, 0, 0, 0, 0, 0]);
        assert!(words.ends_with("x\"…") && words.len() < 200, "{words}");
        let many: Vec<u64> = std::iter::repeat_n(at(c"a"), 1000).collect();
        let words = reader.words(own(), "execve", [0, at(many.as_slice()), 0, 0, 0, 0]);
        assert!(words.ends_with("\"a\", …]"), "{words}");
        assert_eq!(words.matches("\"a\"").count(), SYSCALL_LIST_MAX);
    }

    #[test]
    fn a_point_in_time_is_told_apart_from_a_length_and_who_wakes_has_none() {
        let mut reader = reader();
        let time = [86_400_i64, 250_000_000];
        let mut words = |call, args| reader.words(own(), call, args);
        let absolute = libc::TIMER_ABSTIME as u64;
        let mut sleeps =
            |clock: i32, flags| words("clock_nanosleep", [clock as u64, flags, at(&time), 0, 0, 0]);
        assert_eq!(sleeps(libc::CLOCK_REALTIME, 0), "86400.250 s");
        for (clock, of) in [
            (libc::CLOCK_REALTIME, "the wall clock"),
            (libc::CLOCK_MONOTONIC, "the monotonic clock"),
            (libc::CLOCK_BOOTTIME, "another clock"),
        ] {
            assert_eq!(sleeps(clock, absolute), format!("until 86400.250 s of {of}"));
        }
        // 256 = by the wall clock.
        let mut futex = |operation: u64, at| words("futex", [0x10, operation | 128, 2, at, 0, 0]);
        assert_eq!(futex(0, at(&time)), "0x10, wait, 2, 86400.250 s");
        let until = "until 86400.250 s of";
        for (operation, is) in [
            (9, format!("wait, 2, {until} the monotonic clock")),
            (265, format!("wait, 2, {until} the wall clock")),
            (11, format!("wait to requeue, 2, {until} the monotonic clock")),
            (269, format!("lock, 2, {until} the wall clock")),
            (6, format!("lock, 2, {until} the wall clock")),
            (1, "wake, 2".to_owned()),
            (3, "requeue, 2".to_owned()),
        ] {
            assert_eq!(futex(operation, at(&time)), format!("0x10, {is}"));
        }
        assert_eq!(futex(9, 0), "0x10, wait, 2, no limit");
    }
}
