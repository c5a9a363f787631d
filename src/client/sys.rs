//! What no safe crate offers: marking descriptors, and a child without a terminal.
#![allow(unsafe_code, reason = "this is where it is argued")]

/// First descriptor after stdin, stdout and stderr.
const FIRST: libc::c_uint = 3;

/// Marks every open descriptor to be closed in programs started from now on. A hub outlives who
/// started it: a lock or a pipe that the starter's own parent handed down must not live on in it.
///
/// Kernels before 5.11 can't; then the hub inherits what is not marked already.
pub(super) fn keep_descriptors_from_children() {
    // SAFETY: the call takes three integers and no pointer. With CLOSE_RANGE_CLOEXEC it closes
    // nothing: descriptors stay open and valid in this process, so no owner of one is affected.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        )
    };
    if result != 0 {
        tracing::debug!("open descriptors could not be kept from the hub");
    }
}

/// Has a program end when this process does, however that ends; what it has started itself is not meant.
#[cfg(feature = "tls")]
pub(super) fn ends_with_us(command: &mut tokio::process::Command) {
    // SAFETY: between fork and exec the closure makes one system call with a number, which allocates nothing and is safe to
    // be made there.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        });
    }
}

/// Has a program run in a session of its own: nothing of it or of what it starts can write on this terminal or ask
/// there, and no signal of a key reaches it.
pub(super) fn without_terminal(command: &mut tokio::process::Command) {
    // SAFETY: between fork and exec the closure makes one system call, which takes nothing, allocates nothing and is
    // safe to be made there. A fresh child leads no group of processes, so it does not fail; if it did, no program
    // would be started.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}
