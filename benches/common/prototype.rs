//! The least a sandbox of this kind can cost: clone3 into new namespaces, one overlay, pivot_root,
//! exec. No checks, no errors told, no limits, no seccomp, no init. It is the floor to compare with.
#![allow(unsafe_code, reason = "the system calls are the point")]

use std::{
    ffi::{CStr, CString},
    fs,
    io::{Read, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

/// Time from before the clone to the first byte of `echo`.
pub fn start(dir: &Path) -> Duration {
    let paths = ["root", "upper", "work"].map(|name| dir.join(name));
    for path in &paths {
        fs::create_dir_all(path).unwrap();
    }
    let [root, upper, work] = paths.map(|it| CString::new(it.to_str().unwrap()).unwrap());
    let (out, theirs) = std::io::pipe().unwrap();
    let (go, gate) = std::io::pipe().unwrap();
    let at = Instant::now();
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWCGROUP;
    // SAFETY: all zero is a valid clone_args: no stack, no thread-local storage, no descriptors.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM this is a fork; this process has one thread, so its child may do
    // anything the parent could.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    assert!(pid >= 0, "clone3: {}", std::io::Error::last_os_error());
    if pid == 0 {
        drop(gate);
        child(go, &theirs, &root, &upper, &work);
    }
    drop((theirs, go));
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    drop(fs::write(format!("/proc/{pid}/setgroups"), "deny"));
    fs::write(format!("/proc/{pid}/uid_map"), format!("0 {uid} 1")).unwrap();
    fs::write(format!("/proc/{pid}/gid_map"), format!("0 {gid} 1")).unwrap();
    drop(gate);
    // SAFETY: the descriptor is moved out of the pipe and owned here alone.
    let mut out = fs::File::from(unsafe { OwnedFd::from_raw_fd(libc::dup(out.as_raw_fd())) });
    let mut byte = [0_u8];
    out.read_exact(&mut byte).expect("the prototype printed nothing");
    let took = at.elapsed();
    // SAFETY: waits for a child of this process; no status is asked for.
    unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), 0) };
    took
}

fn mount(what: &CStr, at: &CStr, kind: &CStr, flags: libc::c_ulong, data: &CStr) {
    // SAFETY: all pointers are to strings that outlive the call.
    let done = unsafe {
        libc::mount(what.as_ptr(), at.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    };
    assert!(done == 0, "mount {at:?}: {}", std::io::Error::last_os_error());
}

fn child(
    mut go: std::io::PipeReader,
    out: &std::io::PipeWriter,
    root: &CStr,
    upper: &CStr,
    work: &CStr,
) -> ! {
    let mut end = Vec::new();
    go.read_to_end(&mut end).unwrap();
    let none = c"";
    mount(none, c"/", none, libc::MS_REC | libc::MS_PRIVATE, none);
    mount(c"tmpfs", root, c"tmpfs", 0, none);
    let below = |name: &str| format!("{}/{name}", root.to_str().unwrap());
    for dir in ["usr", "proc", "old"] {
        fs::create_dir(below(dir)).unwrap();
    }
    for link in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), below(link)).unwrap();
    }
    let options = format!(
        "lowerdir=/usr,upperdir={},workdir={},userxattr",
        upper.to_str().unwrap(),
        work.to_str().unwrap()
    );
    let usr = CString::new(below("usr")).unwrap();
    mount(c"overlay", &usr, c"overlay", 0, &CString::new(options).unwrap());
    mount(c"proc", &CString::new(below("proc")).unwrap(), c"proc", 0, none);
    let old = CString::new(below("old")).unwrap();
    // SAFETY: plain system calls on strings that outlive them; `out` is open until exec.
    unsafe {
        libc::syscall(libc::SYS_pivot_root, root.as_ptr(), old.as_ptr());
        libc::chdir(c"/".as_ptr());
        libc::umount2(c"/old".as_ptr(), libc::MNT_DETACH);
        libc::dup2(out.as_raw_fd(), 1);
        let args = [c"echo".as_ptr(), c"hello".as_ptr(), std::ptr::null()];
        libc::execv(c"/bin/echo".as_ptr(), args.as_ptr());
    }
    drop(std::io::stderr().write_all(b"the prototype found no echo\n"));
    std::process::exit(1);
}
