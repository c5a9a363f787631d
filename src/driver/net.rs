//! What came and went over a sandbox's network: whoever carries it leaves the sums in the ground, and whoever meters the
//! sandbox finds them there.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// In a ground: `RX TX` in a line, in bytes; RX = what came to its programs.
pub const NET_FILE: &str = "net";

/// The longest line of two counters, in bytes.
const BYTES_MAX: usize = 64;

/// Such a file, for the one who carries. It is written in place and as a whole: a line has always the same length, and a
/// ground that is on its way to be removed gets no new files.
#[derive(Debug)]
pub struct NetFile {
    file: File,
}

impl NetFile {
    /// Makes it, or goes on with the one that is there. Gives what was counted before too.
    pub fn open(ground: &Path) -> io::Result<(Self, (u64, u64))> {
        let before = read(ground).unwrap_or_default();
        let mut how = OpenOptions::new();
        how.write(true).create(true).truncate(false).mode(0o600);
        how.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let it = Self { file: how.open(ground.join(NET_FILE))? };
        it.write(before)?;
        Ok((it, before))
    }

    /// Both in bytes: what came, and what went.
    pub fn write(&self, (rx, tx): (u64, u64)) -> io::Result<()> {
        self.file.write_all_at(format!("{rx:020} {tx:020}\n").as_bytes(), 0)
    }
}

/// That file, to be read again and again; `None` where nobody counts.
pub fn open(ground: &Path) -> Option<File> {
    // That it was read is written down nowhere: nobody asks, and it costs more than the reading.
    let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = ground.join(NET_FILE);
    let opened = match rustix::fs::open(&path, how | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::open(&path, how, Mode::empty()),
        other => other,
    };
    let file = File::from(opened.ok()?);
    file.metadata().is_ok_and(|it| it.is_file()).then_some(file)
}

/// What is told in it.
pub fn told(file: &File) -> Option<(u64, u64)> {
    let mut bytes = [0; BYTES_MAX + 1];
    let count = file.read_at(&mut bytes, 0).ok().filter(|it| *it <= BYTES_MAX)?;
    let text = str::from_utf8(bytes.get(..count)?).ok()?;
    let (rx, tx) = text.trim().split_once(' ')?;
    Some((rx.parse().ok()?, tx.parse().ok()?))
}

/// What is told of a ground; `None` where nobody counts.
pub fn read(ground: &Path) -> Option<(u64, u64)> {
    told(&open(ground)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sums_go_on_where_they_were_and_are_never_half_a_line() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), None);
        let (file, before) = NetFile::open(dir.path()).unwrap();
        assert_eq!((before, read(dir.path())), ((0, 0), Some((0, 0))));
        let held = open(dir.path()).unwrap();
        for sums in [(u64::MAX, 7), (12, u64::MAX), (3, 4)] {
            file.write(sums).unwrap();
            assert_eq!((read(dir.path()), told(&held)), (Some(sums), Some(sums)));
        }
        assert_eq!(NetFile::open(dir.path()).unwrap().1, (3, 4));
        fs::write(dir.path().join(NET_FILE), "12 x\n").unwrap();
        assert_eq!(read(dir.path()), None);
    }
}
