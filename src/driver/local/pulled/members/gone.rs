//! What was sent to a sandbox and is not in its workspace any more. What the operator made meanwhile was never sent,
//! and stays.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{Dir, FileType, Mode, OFlags, mknodat, openat2},
    io::Errno,
};

use super::{
    super::super::{apply::seen::stat, upper::BENEATH},
    Lies, Members,
};
use crate::base::limits::COPY_DEPTH_MAX;

impl Members {
    /// Hides what was sent and is not there any more.
    pub(super) fn hide_what_is_gone(&mut self) -> io::Result<()> {
        let prefix = self.prefix.clone();
        let mut gone = Vec::new();
        let base = self.base.try_clone()?;
        if prefix.is_empty() {
            self.look_for_gone(&base, &mut Vec::new(), 0, &mut gone)?;
        } else {
            self.look_at(&base, &prefix, &mut prefix.clone(), 0, &mut gone)?;
        }
        for path in gone {
            self.now.clone_from(&path);
            let hidden = self.parent(&path).and_then(|(parent, name)| {
                Ok(mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0)?)
            });
            if let Err(error) = hidden {
                self.leave(&path, error)?;
            }
        }
        Ok(())
    }

    /// Notes what is gone of a directory. Tells whether that is all that is in it.
    fn look_for_gone(
        &mut self,
        directory: &OwnedFd,
        path: &mut Vec<u8>,
        depth: usize,
        gone: &mut Vec<Vec<u8>>,
    ) -> io::Result<bool> {
        if depth >= COPY_DEPTH_MAX {
            return Ok(false);
        }
        let mut all = true;
        for item in Dir::read_from(directory)? {
            let item = item?;
            let name = item.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let before = path.len();
            if before > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            all &= self.look_at(directory, name, path, depth, gone)?;
            path.truncate(before);
        }
        Ok(all)
    }

    /// The same of one name of the real directory, which has been noted then.
    fn look_at(
        &mut self,
        directory: &OwnedFd,
        name: &[u8],
        path: &mut Vec<u8>,
        depth: usize,
        gone: &mut Vec<Vec<u8>>,
    ) -> io::Result<bool> {
        let lies = self.seen(path);
        let is_gone = lies.is_none() && self.sent.contains_key(path);
        // What is no directory any more hides all that was in it; what was never sent is the operator's.
        if !is_gone && lies != Some(Lies::Directory) {
            return Ok(false);
        }
        self.now.clone_from(path);
        let noted = gone.len();
        let all = match listed(directory, name)? {
            Some(inner) => self.look_for_gone(&inner, path, depth + 1, gone)?,
            None => stat(directory.as_fd(), name)?
                .is_some_and(|it| FileType::from_raw_mode(it.st_mode) != FileType::Directory),
        };
        if is_gone && all {
            gone.truncate(noted);
            gone.push(path.clone());
        }
        Ok(is_gone && all)
    }
}

fn listed(directory: &OwnedFd, name: &[u8]) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(directory, name, flags, Mode::empty(), BENEATH) {
        Ok(inner) => Ok(Some(inner)),
        Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT | Errno::ACCESS | Errno::XDEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
