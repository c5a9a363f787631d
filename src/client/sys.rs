//! The one system call of this layer that no safe crate offers.
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
