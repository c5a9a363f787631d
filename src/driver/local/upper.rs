//! What a sandbox changed in a copy-on-write workspace: its upper layer, read beside the directory it lies
//! over. The upper is written by a hostile program at the same time, so everything goes by descriptors and
//! single names: no link is followed, no mount crossed, nothing but plain files is opened.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat2, statat},
    io::Errno,
};

use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{CHANGES_DEPTH_MAX, CHANGES_MAX, CHANGES_PATH_BYTES_MAX, PATH_BYTES_MAX},
        text::visible,
    },
    model::change::{Node, NodeKind},
};

/// Longest name of a file, in bytes.
const NAME_MAX: usize = 255;
const OPAQUE: &CStr = c"user.overlay.opaque";
/// Below a root: no link is followed on the way, and no other file system entered.
pub const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// A path that may differ; files of the same mode and size still have to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub old: Option<Node>,
    pub new: Option<Node>,
    /// Why a directory could not be looked into.
    pub unread: Option<Errno>,
}

/// Everything that may differ, in the order of paths.
#[derive(Debug, Default)]
pub struct Found {
    pub pairs: BTreeMap<Vec<u8>, Pair>,
    /// `.git`s with changes that were not looked into.
    pub git_left_out: u64,
}

/// How to look.
#[derive(Clone, Debug)]
pub struct Look {
    /// These, and what lies in them; none = everything.
    pub paths: Vec<Vec<u8>>,
    /// Also what lies in a `.git`.
    pub git: bool,
    /// By `clock::monotonic`.
    pub until: Duration,
}

/// How a path stands to those that were asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    No,
    /// Something below it was.
    Above,
    Yes,
}

impl Look {
    fn asked(&self, path: &[u8]) -> Asked {
        let below =
            |it: &[u8], top: &[u8]| it.strip_prefix(top).is_some_and(|it| it.starts_with(b"/"));
        let mut asked = if self.paths.is_empty() { Asked::Yes } else { Asked::No };
        for it in &self.paths {
            if it == path || below(path, it) {
                return Asked::Yes;
            }
            if below(it, path) {
                asked = Asked::Above;
            }
        }
        asked
    }
}

/// Opens a directory that paths may be resolved below; no part of its path may be a link.
pub fn root(path: &Path) -> Outcome<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        .map_err(|error| Fault::io(format!("opening {}", path.display()), &error.into()))
}

/// Walks an upper layer beside the directory below it.
pub fn walk(upper: &OwnedFd, base: &OwnedFd, look: Look) -> Outcome<Found> {
    let mut walk = Walk { found: Found::default(), look, path: Vec::new(), seen: 0, bytes: 0 };
    match walk.directory(upper.as_fd(), Some(base.as_fd()), 0) {
        Ok(()) => Ok(walk.found),
        Err(Stop::Over(fault)) => Err(fault),
        Err(Stop::Here(error)) => {
            Err(Fault::io("looking for changes in the workspace", &io::Error::from(error)))
        }
    }
}

/// Why a look ended.
enum Stop {
    /// This directory can't be looked into; what lies beside it may.
    Here(Errno),
    Over(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Over(fault)
    }
}

struct Walk {
    found: Found,
    look: Look,
    path: Vec<u8>,
    seen: usize,
    bytes: usize,
}

impl Walk {
    /// One directory that both sides have, or only the upper.
    fn directory(
        &mut self,
        upper: BorrowedFd<'_>,
        base: Option<BorrowedFd<'_>>,
        depth: usize,
    ) -> Result<(), Stop> {
        self.bounded(depth)?;
        let opaque = is_opaque(upper);
        for name in self.names(upper)? {
            self.at(&name, |walk| {
                let Some(stat) = walk.stat(upper, &name)? else { return Ok(()) };
                let old = base.map(|it| walk.stat(it, &name)).transpose()?.flatten();
                let old = old.map(|it| node(&it));
                let new = (!is_whiteout(&stat)).then(|| node(&stat));
                walk.entry(upper, base, &name, Pair { old, new, unread: None }, depth)
            })?;
        }
        if let (true, Some(base)) = (opaque, base) {
            self.hidden(upper, base, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        upper: BorrowedFd<'_>,
        base: Option<BorrowedFd<'_>>,
        name: &CStr,
        pair: Pair,
        depth: usize,
    ) -> Result<(), Stop> {
        self.visit(pair, name, |walk| {
            let below = |from: Option<BorrowedFd<'_>>, side: Option<Node>| match from {
                Some(from) => walk.open_if(is_directory(side), from, name),
                None => Ok(None),
            };
            let (old, new) = (below(base, pair.old)?, below(Some(upper), pair.new)?);
            match (&new, &old) {
                (Some(new), old) => {
                    walk.directory(new.as_fd(), old.as_ref().map(AsFd::as_fd), depth + 1)
                }
                (None, Some(old)) => walk.gone(old.as_fd(), depth + 1),
                (None, None) => Ok(()),
            }
        })
    }

    /// What the base has in a directory whose contents the upper hides.
    fn hidden(
        &mut self,
        upper: BorrowedFd<'_>,
        base: BorrowedFd<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        for name in self.names(base)? {
            if self.stat(upper, &name)?.is_none() {
                self.lost(base, &name, depth)?;
            }
        }
        Ok(())
    }

    /// All of a directory of the base is gone.
    fn gone(&mut self, base: BorrowedFd<'_>, depth: usize) -> Result<(), Stop> {
        self.bounded(depth)?;
        for name in self.names(base)? {
            self.lost(base, &name, depth)?;
        }
        Ok(())
    }

    fn lost(&mut self, base: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Stop> {
        self.at(name, |walk| {
            let Some(stat) = walk.stat(base, name)? else { return Ok(()) };
            let old = Some(node(&stat));
            walk.visit(Pair { old, new: None, unread: None }, name, |walk| {
                match walk.open_if(is_directory(old), base, name)? {
                    Some(inner) => walk.gone(inner.as_fd(), depth + 1),
                    None => Ok(()),
                }
            })
        })
    }

    /// Notes a path, if it was asked for, and looks further down.
    fn visit(
        &mut self,
        pair: Pair,
        name: &CStr,
        further: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let asked = self.look.asked(&self.path);
        if asked == Asked::No || (pair.old.is_none() && pair.new.is_none()) {
            return Ok(());
        }
        // However it is spelt: some file systems take no notice.
        if !self.look.git && name.to_bytes().eq_ignore_ascii_case(b".git") {
            self.found.git_left_out += 1;
            return Ok(());
        }
        let unread = match further(self) {
            Err(Stop::Here(error)) => Some(error),
            outcome => {
                outcome?;
                None
            }
        };
        let same_directory = pair.old == pair.new && is_directory(pair.old);
        if asked == Asked::Yes && (unread.is_some() || !same_directory) {
            self.note(Pair { unread, ..pair })?;
        }
        Ok(())
    }

    fn note(&mut self, pair: Pair) -> Outcome<()> {
        self.bytes += self.path.len();
        if self.found.pairs.len() >= CHANGES_MAX || self.bytes > CHANGES_PATH_BYTES_MAX {
            let words = format!("more changes than can be looked at: {CHANGES_MAX}");
            return Err(Fault::failed(words).hint("name the paths that matter"));
        }
        self.found.pairs.insert(self.path.clone(), pair);
        Ok(())
    }

    /// Does something one name further down.
    fn at<T>(&mut self, name: &CStr, then: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        if before > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.to_bytes());
        let done = then(self);
        self.path.truncate(before);
        done
    }

    fn bounded(&self, depth: usize) -> Result<(), Stop> {
        if clock::monotonic() > self.look.until {
            let fault = Fault::late("looking for changes took too long");
            return Err(fault.hint("name the paths that matter").into());
        }
        // With one name more it is still a path.
        if depth > CHANGES_DEPTH_MAX || self.path.len() + NAME_MAX >= PATH_BYTES_MAX {
            return Err(Stop::Here(Errno::NAMETOOLONG));
        }
        Ok(())
    }

    fn names(&mut self, directory: BorrowedFd<'_>) -> Result<Vec<CString>, Stop> {
        let mut names = Vec::new();
        for item in Dir::read_from(directory).map_err(|error| self.stop(error))? {
            let name = item.map_err(|error| self.stop(error))?.file_name().to_owned();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.seen += 1;
            if self.seen > 4 * CHANGES_MAX {
                let fault = Fault::failed("more files than can be looked at");
                return Err(fault.hint("name the paths that matter").into());
            }
            names.push(name);
        }
        Ok(names)
    }

    fn stat(&self, directory: BorrowedFd<'_>, name: &CStr) -> Result<Option<Stat>, Stop> {
        match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.stop(error)),
        }
    }

    /// `None` when it is no directory, or none any more.
    fn open_if(
        &self,
        wanted: bool,
        directory: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<Option<OwnedFd>, Stop> {
        if !wanted {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat2(directory, name, flags, Mode::empty(), BENEATH) {
            Ok(opened) => Ok(Some(opened)),
            // Swapped since it was listed, or another file system: its contents are not the workspace's.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
            Err(error) => Err(self.stop(error)),
        }
    }

    fn stop(&self, error: Errno) -> Stop {
        if matches!(error, Errno::ACCESS | Errno::PERM) {
            return Stop::Here(error);
        }
        let path = visible(&String::from_utf8_lossy(&self.path));
        Stop::Over(Fault::io(format!("looking for changes in {path}"), &io::Error::from(error)))
    }
}

pub fn node(stat: &Stat) -> Node {
    let (kind, bytes) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => (NodeKind::File, stat.st_size as u64),
        FileType::Symlink => (NodeKind::Link, stat.st_size as u64),
        FileType::Directory => (NodeKind::Directory, 0),
        _ => (NodeKind::Special, 0),
    };
    // Set-id and sticky bits are not a sandbox's to give.
    Node { kind, mode: stat.st_mode & 0o777, bytes }
}

pub fn is_directory(side: Option<Node>) -> bool {
    side.is_some_and(|it| it.kind == NodeKind::Directory)
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0_u8; 4];
    let read = rustix::fs::fgetxattr(directory, OPAQUE, &mut value[..]);
    read.is_ok_and(|it| value.get(..it) == Some(b"y"))
}

#[cfg(test)]
mod tests;
