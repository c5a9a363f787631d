//! Which file a copy on a shelf was made of, and so whether that is still as it was then.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::fs::{Mode, OFlags, Stat, XattrFlags, fgetxattr, fsetxattr, fstat, fstatfs, openat};

use crate::driver::local::side;

/// On a copy: which file it is a copy of, as it was then. What a program put there of a file of its own is not kept.
pub const SOURCE: &CStr = c"user.overlay.kept";
pub const SOURCE_BYTES_MAX: usize = 128;
/// A file that was at rest for so long when it was copied shows by its change time when it is written to again.
/// Before that, memory that a program maps may be written to without a trace until it is on the disk, which the
/// system puts off for some half a minute.
pub const AT_REST_AFTER: i64 = 60;
/// `f_type` of file systems in memory, which leave no trace of that ever (linux/magic.h).
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Notes on a copy what it is a copy of. Where that can't be, it is copied again the next time.
pub fn note(copy: impl AsFd, of: &Stat, now: i64) {
    let _ = fsetxattr(copy, SOURCE, Source::of(of, now).text().as_bytes(), XattrFlags::empty());
}

/// Whether the earlier shelf has a file as it is. Its times prove nothing by themselves: a program sets them, and
/// a directory that takes another's place brings its own.
pub fn is_on(like: BorrowedFd<'_>, from: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let look = || -> io::Result<bool> {
        let kept = openat(like, name, flags, Mode::empty())?;
        let mut text = [0_u8; SOURCE_BYTES_MAX];
        let length = fgetxattr(&kept, SOURCE, text.as_mut_slice())?;
        let source = text.get(..length).and_then(Source::parse);
        let Some(source) =
            source.filter(|it| *it == Source { copied_at: it.copied_at, ..Source::of(stat, 0) })
        else {
            return Ok(false);
        };
        if fstat(&kept)?.st_mode & 0o777 != stat.st_mode & 0o777 {
            return Ok(false);
        }
        let in_memory = IN_MEMORY.contains(&fstatfs(from)?.f_type);
        if !in_memory && source.copied_at - stat.st_ctime >= AT_REST_AFTER {
            return Ok(true);
        }
        let name = name.to_bytes();
        Ok(side::same((from, name), (like, name))? == Some(true))
    };
    look().unwrap_or(false)
}

/// Which file a copy was made of, as it was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    number: u64,
    /// Its change time, which no program can set; seconds and nanoseconds.
    changed: (i64, i64),
    bytes: i64,
    /// In seconds since 1970.
    pub(super) copied_at: i64,
}

impl Source {
    pub(super) fn of(stat: &Stat, copied_at: i64) -> Self {
        let changed = (stat.st_ctime, stat.st_ctime_nsec.cast_signed());
        Self { number: stat.st_ino, changed, bytes: stat.st_size, copied_at }
    }

    pub(super) fn text(self) -> String {
        let Self { number, changed: (seconds, nanoseconds), bytes, copied_at } = self;
        format!("{number} {seconds} {nanoseconds} {bytes} {copied_at}")
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(text).ok()?.split(' ');
        let number = fields.next()?.parse().ok()?;
        let mut next = || fields.next()?.parse::<i64>().ok();
        let (seconds, nanoseconds) = (next()?, next()?);
        let (bytes, copied_at) = (next()?, next()?);
        Some(Self { number, changed: (seconds, nanoseconds), bytes, copied_at })
    }
}
