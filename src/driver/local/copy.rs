//! Copies one file with what belongs to it: contents with their holes, attributes, times.

use std::{
    ffi::{CStr, CString},
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{FileExt, PermissionsExt},
    },
};

use rustix::{
    fs::{
        Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, copy_file_range, fgetxattr, flistxattr,
        fstat, ftruncate, openat, seek,
    },
    io::Errno,
};

/// One list of attributes, and the value of one, in bytes: what Linux takes at the most.
const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;
/// Copied by one call of the system, and by hand.
const COPY_BYTES: usize = 64 * 1024 * 1024;
const READ_BYTES: usize = 256 * 1024;

/// Opens what its owner may have closed even to itself: opened for that moment, and closed again.
pub fn readable(directory: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
    match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {}
        opened => return Ok(opened?),
    }
    let named = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let named = openat(directory, name, named, Mode::empty())?;
    let mode = fstat(&named)?.st_mode & 0o7777;
    // What is only named can't be changed; /proc takes that name for the thing itself.
    let itself = format!("/proc/self/fd/{}", named.as_raw_fd());
    fs::set_permissions(&itself, fs::Permissions::from_mode(mode | 0o700))?;
    let opened = openat(directory, name, flags, Mode::empty());
    fs::set_permissions(&itself, fs::Permissions::from_mode(mode))?;
    Ok(opened?)
}

pub fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec, tv_nsec: u64| Timespec { tv_sec, tv_nsec: tv_nsec.cast_signed() };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// The attributes that programs and the overlay give, and lists of rights.
pub fn attributes(of: BorrowedFd<'_>) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let mut list = vec![0; 1024];
    let length = loop {
        match flistxattr(of, list.as_mut_slice()) {
            Err(Errno::RANGE) if list.len() < ATTRIBUTES_BYTES_MAX => {
                list.resize(ATTRIBUTES_BYTES_MAX, 0);
            }
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            other => break other?,
        }
    };
    let mut out = Vec::new();
    for name in list.get(..length).unwrap_or_default().split(|it| *it == 0) {
        if !(name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")) {
            continue;
        }
        let Ok(name) = CString::new(name) else { continue };
        let mut value = vec![0; ATTRIBUTES_BYTES_MAX];
        match fgetxattr(of, name.as_c_str(), value.as_mut_slice()) {
            Ok(length) => value.truncate(length),
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(error.into()),
        }
        out.push((name, value));
    }
    Ok(out)
}

/// Copies what a file holds; its holes stay holes.
pub fn contents(from: &OwnedFd, to: &OwnedFd, size: u64) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let data = match seek(from, SeekFrom::Data(at)) {
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => at,
            other => other?,
        };
        let end = match seek(from, SeekFrom::Hole(data)) {
            Err(Errno::INVAL) => size,
            other => other?,
        };
        piece(from, to, data, end.min(size))?;
        at = end;
    }
    Ok(ftruncate(to, size)?)
}

fn piece(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> io::Result<()> {
    let (mut read, mut written) = (start, start);
    while read < end {
        let most = usize::try_from(end - read).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        match copy_file_range(from, Some(&mut read), to, Some(&mut written), most) {
            // Cut off since: what is there is all there is.
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                return by_hand(from, to, read, end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Where the system can't copy by itself.
fn by_hand(from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> io::Result<()> {
    let (from, to) = (File::from(from.try_clone()?), File::from(to.try_clone()?));
    let mut buffer = vec![0; READ_BYTES];
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(READ_BYTES).min(READ_BYTES);
        let count = from.read_at(buffer.get_mut(..most).unwrap_or_default(), at)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all_at(buffer.get(..count).unwrap_or_default(), at)?;
        at += count as u64;
    }
    Ok(())
}
