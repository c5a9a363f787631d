//! Contents that differ from those of the real directory, written into a layer.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, fchmod, openat2, utimensat},
    io::Errno,
};

use super::{
    super::super::{
        apply::seen::parent,
        room::Room,
        side::{self, PIECE_BYTES, fill},
        upper::BENEATH,
    },
    Lies, Members, changed,
};
use crate::driver::tar::read::Member;

impl Members {
    /// Takes a file over unless the old one holds the same; nothing is written as long as it does.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        member: &Member,
        mut old: Option<File>,
        contents: &mut impl Read,
    ) -> io::Result<Lies> {
        let (mut piece, mut other) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
        let mut alike = 0_u64;
        let mut new: Option<Writing> = None;
        loop {
            let count = fill(contents, &mut piece)?;
            let read = piece.get(..count).unwrap_or_default();
            if let Some(file) = &mut old {
                let there = fill(file, &mut other)?;
                if other.get(..there) == Some(read) {
                    if count < PIECE_BYTES {
                        return Ok(Lies::There);
                    }
                    alike += count as u64;
                    continue;
                }
                old = None;
            }
            let file = match &mut new {
                Some(file) => file,
                None => new.insert(self.begin(path, member.mode & 0o777, alike)?),
            };
            file.put(read, &mut self.room)?;
            if count < PIECE_BYTES {
                file.file.set_len(file.at)?;
                let (parent, name) = parent(self.layer.as_fd(), path)?;
                times(&parent, name, member.modified)?;
                return Ok(Lies::Layer);
            }
        }
    }

    /// A new file that begins as the real one does.
    fn begin(&mut self, path: &[u8], mode: u32, alike: u64) -> io::Result<Writing> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = File::from(openat2(&parent, name, flags, Mode::RWXU, BENEATH)?);
        fchmod(&file, Mode::from_raw_mode(mode))?;
        let mut new = Writing { file, at: 0 };
        if alike > 0 {
            let mut start = side::open(self.base.as_fd(), path)?.take(alike);
            let mut piece = vec![0; PIECE_BYTES];
            while new.at < alike {
                let count = fill(&mut start, &mut piece)?;
                if count == 0 {
                    return Err(changed());
                }
                new.put(piece.get(..count).unwrap_or_default(), &mut self.room)?;
            }
        }
        Ok(new)
    }
}

/// A file that grows, with its holes.
struct Writing {
    file: File,
    at: u64,
}

impl Writing {
    fn put(&mut self, piece: &[u8], room: &mut Room) -> io::Result<()> {
        if piece.iter().any(|it| *it != 0) {
            room.take(piece.len() as u64)?;
            self.file.write_all_at(piece, self.at)?;
        }
        self.at += piece.len() as u64;
        Ok(())
    }
}

/// Gives a file the time that it has in the sandbox: by that it is known again.
pub fn times(parent: &OwnedFd, name: &[u8], seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    match utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW) {
        // A time that this file system does not know.
        Err(Errno::INVAL | Errno::OVERFLOW) => Ok(()),
        set => Ok(set?),
    }
}
