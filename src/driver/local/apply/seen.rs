//! What lies at a path of the real directory, known again by more than its contents, and the way to it.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, Stat, openat2, statat},
    io::Errno,
};

use crate::{
    driver::local::upper::{self, BENEATH},
    model::change::{Node, NodeKind},
};

/// A file, link or directory as it was seen. Two that are equal are the same one, unchanged: what is
/// edited has another time, what is replaced another number. A rename keeps all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub node: Node,
    number: u64,
    modified: (i64, u64),
    pub owner: (u32, u32),
}

impl Seen {
    pub fn of(stat: &Stat) -> Self {
        Self {
            node: upper::node(stat),
            number: stat.st_ino,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            owner: (stat.st_uid, stat.st_gid),
        }
    }

    pub fn is_directory(&self) -> bool {
        self.node.kind == NodeKind::Directory
    }

    /// As a line of words.
    pub fn text(&self) -> String {
        let Self { node: Node { kind, mode, bytes }, number, modified, owner } = self;
        let (kind, (seconds, rest), (user, group)) = (kind.word(), modified, owner);
        format!("{kind} {mode:o} {bytes} {number} {seconds} {rest} {user} {group}")
    }

    pub fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let kind = NodeKind::from_word(words.next()?)?;
        let mode = u32::from_str_radix(words.next()?, 8).ok()?;
        let bytes = words.next()?.parse().ok()?;
        let node = Node { kind, mode, bytes };
        let number = words.next()?.parse().ok()?;
        let modified = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let owner = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Self { node, number, modified, owner })
    }
}

/// The directory a path lies in, reached without following a link, and the path's last name.
pub fn parent<'a>(root: BorrowedFd<'_>, path: &'a [u8]) -> io::Result<(OwnedFd, &'a [u8])> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (above, name) = match path.iter().rposition(|it| *it == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (&b"."[..], path),
    };
    Ok((openat2(root, above, flags, Mode::empty(), BENEATH)?, name))
}

/// What lies at a path now; `None` when there is nothing, or no way to it.
pub fn stat(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Option<Stat>> {
    let found = parent(root, path)
        .and_then(|(parent, name)| Ok(statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?));
    match found {
        Ok(stat) => Ok(Some(stat)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            _ => Err(error),
        },
    }
}

pub fn look(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Option<Seen>> {
    Ok(stat(root, path)?.map(|it| Seen::of(&it)))
}
