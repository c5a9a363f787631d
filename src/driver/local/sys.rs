//! The system calls that no safe crate offers, each as one small safe function. The only `unsafe`
//! of this driver; no policy here.
#![allow(unsafe_code, reason = "thin wrappers over system calls, each with its argument")]

use std::{
    ffi::CStr,
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Which side of a clone this is.
pub enum Clone {
    Parent { pid: Pid, pidfd: OwnedFd },
    Child,
}

/// `mount_setattr` attributes (linux/mount.h).
pub const MOUNT_ATTR_RDONLY: u64 = 0x1;
pub const MOUNT_ATTR_NOSUID: u64 = 0x2;
pub const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
/// Flag of `clone3` (linux/sched.h).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_int(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a copy of this process in new namespaces and, if one is given, in a control group of version
/// 2: moving it there later would wait for every processor. The caller must have one thread only: the
/// child goes on to allocate, and another thread's lock on the heap would never be released in it.
pub fn clone_into(namespaces: u64, group: Option<BorrowedFd<'_>>) -> io::Result<Clone> {
    let mut pidfd: RawFd = -1;
    let grouped = if group.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let args = libc::clone_args {
        flags: namespaces | grouped | libc::CLONE_PIDFD as u64,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: group.map_or(0, |it| it.as_raw_fd() as u64),
    };
    // SAFETY: without CLONE_VM and with no stack given this is a fork: the child runs on its own copy
    // of this stack; `args` and `pidfd` outlive the call and the size is that of the structure.
    let cloned = check(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>())
    });
    let (pid, outside) = match cloned {
        Ok(pid) => (pid, None),
        // The filters of containers can't look into its arguments, and want the older call instead.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            (older_clone(namespaces, &mut pidfd)?, group)
        }
        Err(error) => return Err(error),
    };
    let Some(pid) = Pid::from_raw(pid as i32) else { return Ok(Clone::Child) };
    // SAFETY: CLONE_PIDFD stored a fresh descriptor that nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    if let Err(error) = outside.map_or(Ok(()), |it| enter_group(it, pid)) {
        // It has done nothing yet, and may have ended by itself.
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        return Err(error);
    }
    Ok(Clone::Parent { pid, pidfd })
}

fn older_clone(namespaces: u64, pidfd: &mut RawFd) -> io::Result<libc::c_long> {
    let flags = namespaces | (libc::CLONE_PIDFD | libc::SIGCHLD) as u64;
    let (no_stack, nothing) = (0_usize, 0_usize);
    // SAFETY: as above: a fork, whose only pointer is to a descriptor that outlives the call.
    check(unsafe {
        libc::syscall(libc::SYS_clone, flags, no_stack, std::ptr::from_mut(pidfd), nothing, nothing)
    })
}

/// Moves a process into a control group.
fn enter_group(group: BorrowedFd<'_>, pid: Pid) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let members = rustix::fs::openat(group, c"cgroup.procs", flags, Mode::empty())?;
    let number = pid.as_raw_nonzero().to_string();
    rustix::io::write(&members, number.as_bytes())?;
    Ok(())
}

/// Forks through the C library, which makes its heap usable in the child even when the parent has
/// threads. `None` in the child.
pub fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the child only runs code that ends in `exit_now` or an exec, on its own copy of memory.
    let pid = check_int(unsafe { libc::fork() })?;
    Ok(Pid::from_raw(pid))
}

/// Ends this process at once: no destructor, no exit handler, no flush.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Replaces the arguments this process was started with by a name, and wipes the environment: both
/// stay in its memory, and /proc shows the first to everybody.
pub fn forget_start(name: &CStr) -> io::Result<()> {
    // Numbers of the fields in /proc/self/stat, counted from the one after the name in brackets.
    const ARGUMENTS: usize = 45;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?;
    let mut places = rest.split_whitespace().skip(ARGUMENTS).map(str::parse::<usize>);
    let mut next = || places.next().and_then(Result::ok).ok_or(io::ErrorKind::InvalidData);
    let (arguments, arguments_end) = (next()?, next()?);
    let (environment, environment_end) = (next()?, next()?);
    let wipe = |from: usize, to: usize| {
        // SAFETY: the kernel laid these strings out on the stack of this process when it started, and
        // says where; they stay mapped and writable. Zeros leave what points there valid, empty text.
        unsafe { std::ptr::write_bytes(from as *mut u8, 0, to.saturating_sub(from)) };
    };
    wipe(arguments, arguments_end);
    wipe(environment, environment_end);
    let room = arguments_end.saturating_sub(arguments).saturating_sub(1);
    let length = name.count_bytes().min(room);
    // SAFETY: as above, and no longer than the arguments were.
    unsafe { std::ptr::copy_nonoverlapping(name.as_ptr().cast(), arguments as *mut u8, length) };
    Ok(())
}

/// Moves this process into new namespaces.
pub fn unshare(namespaces: u64) -> io::Result<()> {
    // SAFETY: takes an integer only.
    check_int(unsafe { libc::unshare(namespaces as libc::c_int) }).map(drop)
}

/// Puts every signal back to its default action and unblocks all, so that neither handlers of the
/// process this is a copy of nor dispositions it inherited reach a program.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: installs no handler; refused numbers (KILL, STOP, the C library's own) are left be.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: a zeroed set is a valid one to pass to `sigemptyset`, which initialises it.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Has what may end or stop a process by the way pass it by: programs may be allowed to signal it.
pub fn ignore_signals() {
    for signal in 1..=64 {
        if signal != libc::SIGCHLD {
            // SAFETY: installs no handler; refused numbers are left be.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

/// Has the kernel bury children that end; they are told to nobody.
pub fn leave_children_to_the_kernel() {
    // SAFETY: installs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Blocks `SIGCHLD` and gives a descriptor that is readable when one is pending.
pub fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by `sigemptyset` before use; the new descriptor is owned here.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check_int(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        let fd =
            check_int(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// A child that has ended and is not reaped yet; it is left so.
pub fn ended_child() -> io::Result<Option<Pid>> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: a zeroed structure is a valid one to fill; it outlives the call. Where nothing has ended the kernel
    // leaves the number in it zero, and else it is one that a child's end fills.
    let number = unsafe {
        let mut about: libc::siginfo_t = std::mem::zeroed();
        check_int(libc::waitid(libc::P_ALL, 0, &raw mut about, options))?;
        about.si_pid()
    };
    Ok(Pid::from_raw(number))
}

/// Closes every descriptor above 2 except those in `keep`. Owners of the closed ones must never be
/// dropped or used again: the caller is a fresh copy of a process that leaves by `exit_now` or exec.
pub fn close_all_but(keep: &[RawFd]) {
    let mut keep = keep.to_vec();
    keep.sort_unstable();
    let mut from: RawFd = 3;
    for fd in keep {
        if fd > from {
            // SAFETY: see above; closing is what was asked.
            unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) };
        }
        from = from.max(fd + 1);
    }
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, from, RawFd::MAX, 0) };
}

fn set_attributes(mount: BorrowedFd<'_>, flags: u32, attributes: &MountAttr) -> io::Result<()> {
    // SAFETY: an empty path with AT_EMPTY_PATH means the descriptor itself; the structure outlives
    // the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags | libc::AT_EMPTY_PATH as u32,
            std::ptr::from_ref(attributes),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Adds attributes (`MOUNT_ATTR_*`) to a mount and, if asked, to all below it.
pub fn restrict_mount(mount: BorrowedFd<'_>, attributes: u64, below: bool) -> io::Result<()> {
    let wanted = MountAttr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = if below { libc::AT_RECURSIVE as u32 } else { 0 };
    set_attributes(mount, flags, &wanted)
}

/// Shows a detached mount's files with the ids of a user namespace.
pub fn map_ids(mount: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    let wanted = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: users.as_raw_fd() as u64,
    };
    set_attributes(mount, 0, &wanted)
}

/// Brings up the loopback interface of this network namespace.
pub fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request is zeroed (a valid value), named `lo`, and outlives both calls.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        let name = c"lo";
        for (at, slot) in request.ifr_name.iter_mut().take(name.count_bytes()).enumerate() {
            *slot = *name.as_ptr().add(at);
        }
        check_int(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check_int(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request))?;
    }
    Ok(())
}

/// The landlock version of the running kernel; `None` where there is none or it is off.
pub fn landlock_version() -> Option<u32> {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with the version flag the call takes no structure.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION)
    };
    u32::try_from(version).ok().filter(|it| *it > 0)
}

/// Whether the kernel knows seccomp's action of returning an error, without installing anything.
pub fn seccomp_can_refuse() -> bool {
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: asks about the action at the pointer, which outlives the call.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
    };
    answer == 0
}

/// Drops every supplementary group; the C library's own call would ask other threads too.
pub fn drop_groups() -> io::Result<()> {
    // SAFETY: a length of zero reads nothing.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0_usize, std::ptr::null::<u32>()) }).map(drop)
}

/// The bound on a process that it can't raise itself.
pub fn hard_limit(pid: Pid, resource: libc::__rlimit_resource_t) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: no new limit is given, and the structure for the old one outlives the call.
    check_int(unsafe {
        libc::prlimit(pid.as_raw_nonzero().get(), resource, std::ptr::null(), &raw mut limit)
    })?;
    Ok(limit.rlim_max)
}

/// Whether the operator may do `mode` with a path, by the effective ids.
pub fn may(path: &CStr, mode: libc::c_int) -> bool {
    // SAFETY: the string is terminated and outlives the call.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) == 0 }
}

/// Duplicates a descriptor known by number only, closed on exec.
pub fn duplicate(raw: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a number that is no open descriptor makes the call fail; a new one is owned here.
    unsafe {
        let copy = check_int(libc::fcntl(raw, libc::F_DUPFD_CLOEXEC, 3))?;
        Ok(OwnedFd::from_raw_fd(copy))
    }
}

/// Registers a descriptor with the runtime.
pub fn watched(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives, and what is
    // registered owns it until it is taken out again.
    unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(io::Error::from)
}

/// The same for one that several threads use.
pub fn watched_shared(
    descriptor: std::sync::Arc<OwnedFd>,
    interest: Interest,
) -> io::Result<AsyncFd<std::sync::Arc<OwnedFd>>> {
    // SAFETY: as above: what is registered keeps it open.
    unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(io::Error::from)
}

/// A system call that the kernel holds until it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    id: u64,
    /// The thread that calls.
    pub pid: u32,
    pub arguments: [u64; 6],
}

/// Installs a filter for system calls some of which are to be asked about; gives where that is asked. A call that somebody
/// looks into is interrupted by nothing but the death of who calls, where the kernel knows how (5.19): so a descriptor and the
/// answer that comes behind it are one step. The kernel's own way to give both at once would have the call return the number
/// of the descriptor, which `connect` never does.
pub fn filter_by_asking(filter: &[seccompiler::sock_filter]) -> io::Result<OwnedFd> {
    let asking = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    match filter_with(filter, asking | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => filter_with(filter, asking),
        installed => installed,
    }
}

fn filter_with(filter: &[seccompiler::sock_filter], flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        // The kernel only reads it.
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // SAFETY: both structures of instructions are the kernel's, and outlive the call.
    let asked = check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })?;
    // SAFETY: the call gave a fresh descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(asked as RawFd) })
}

/// Takes a question, and waits for one where there is none.
pub fn question(asked: BorrowedFd<'_>) -> io::Result<Question> {
    // SAFETY: a zeroed structure is what the kernel wants to fill; it outlives the call.
    let taken = unsafe {
        let mut taken: libc::seccomp_notif = std::mem::zeroed();
        check_int(libc::ioctl(asked.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut taken))?;
        taken
    };
    Ok(Question { id: taken.id, pid: taken.pid, arguments: taken.data.args })
}

/// Whether who asked waits still: until then its number is nobody else's.
pub fn still_asks(asked: BorrowedFd<'_>, question: &Question) -> io::Result<()> {
    let id = question.id;
    // SAFETY: the number outlives the call, which only reads it.
    check_int(unsafe {
        libc::ioctl(asked.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id)
    })
    .map(drop)
}

/// Gives a descriptor to who asked, in place of that which its call is about.
pub fn put_in_place(
    asked: BorrowedFd<'_>,
    question: &Question,
    descriptor: BorrowedFd<'_>,
    close_on_exec: bool,
) -> io::Result<()> {
    let [theirs, ..] = question.arguments;
    let given = libc::seccomp_notif_addfd {
        id: question.id,
        flags: libc::SECCOMP_ADDFD_FLAG_SETFD as u32,
        srcfd: descriptor.as_raw_fd() as u32,
        newfd: theirs as u32,
        newfd_flags: if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    // SAFETY: the structure outlives the call, which only reads it.
    check_int(unsafe {
        libc::ioctl(asked.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const given)
    })
    .map(drop)
}

/// Ends a call: with 0 it has worked, else it fails with that error.
pub fn answer(asked: BorrowedFd<'_>, question: &Question, error: i32) -> io::Result<()> {
    let said = libc::seccomp_notif_resp { id: question.id, val: 0, error: -error, flags: 0 };
    // SAFETY: the structure outlives the call, which only reads it.
    check_int(unsafe {
        libc::ioctl(asked.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const said)
    })
    .map(drop)
}
