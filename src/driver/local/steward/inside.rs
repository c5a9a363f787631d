//! The first process of a container: starts an attendant for each program that the shim names, and buries what lost its
//! parent. Dials the shim, and dials again for as long as it lives: another may answer.

use std::{
    ffi::CStr,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use rustix::event::Timespec;

use super::{DOWN_BYTES_MAX, Down, Inlet, SOCKET, Up, attendant};
use crate::driver::local::{mounts::ASKING, sys};

const NAME: &CStr = c"sandwatch-first";
/// Between two attempts to reach the shim.
pub const DIALS_EVERY: Duration = Duration::from_millis(20);

/// Serves until the container ends.
pub fn serve() -> ! {
    // What it has in memory is none of its programs' business.
    let hidden =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    if hidden.and_then(|()| rustix::thread::set_name(NAME)).is_err() {
        sys::exit_now(1);
    }
    sys::close_all_but(&[]);
    sys::ignore_signals();
    sys::leave_children_to_the_kernel();
    loop {
        // Hung up, or nobody there.
        drop(converse());
        rest();
    }
}

/// Waits as long as between two attempts.
pub fn rest() {
    let time = Timespec { tv_sec: 0, tv_nsec: DIALS_EVERY.subsec_nanos().into() };
    // Shorter is no harm.
    let _ = rustix::thread::nanosleep(&time);
}

pub fn dial() -> io::Result<UnixStream> {
    UnixStream::connect(Path::new(ASKING).join(SOCKET))
}

fn converse() -> io::Result<()> {
    let mut line = dial()?;
    line.write_all(&Up::Steward.bytes())?;
    let (mut inlet, mut bytes) = (Inlet::of(DOWN_BYTES_MAX), [0_u8; 4096]);
    loop {
        let count = line.read(&mut bytes)?;
        inlet.feed(bytes.get(..count).unwrap_or_default());
        while let Some((tag, said)) = inlet.next().map_err(|_| io::ErrorKind::InvalidData)? {
            match Down::parse(tag, &said) {
                Some(Down::Start(start)) => {
                    // Of one that can't be made the shim hears nothing, and says so in time.
                    if let Ok(None) = sys::fork() {
                        drop(line);
                        attendant::serve(*start);
                    }
                }
                Some(Down::Part) => return Ok(()),
                _ => {}
            }
        }
        if count == 0 {
            return Ok(());
        }
    }
}
