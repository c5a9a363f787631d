//! Lays the files of archives that nobody has looked at over one another in an empty directory. Every step goes by a
//! descriptor, below that directory as if it were the root: a link in the way is followed as a program inside
//! would follow it, and never out. No device is made, no set-id bit given, no attribute taken.

use std::{
    collections::HashSet,
    collections::hash_map::RandomState,
    fs::File,
    hash::BuildHasher,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
        chownat, fchmod, fchown, futimens, linkat, mkdirat, openat, openat2, statat, symlinkat,
        unlinkat,
    },
    io::Errno,
};

use super::blobs::bad;
use crate::{
    base::{
        limits::{
            IMAGE_DEPTH_MAX, IMAGE_FILES_MAX, IMAGE_UNPACKED_BYTES_MAX, PATH_BYTES_MAX,
            UNPACKED_FILE_BYTES,
        },
        text::{shown, visible},
    },
    driver::{
        local::{room::Room, shelf::Owner},
        tar::read::{Member, MemberKind, Reader},
    },
};

/// In front of a name: it is deleted, in the layers below. The second: all that is below in a directory.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..opq";
/// Longest name of a file, in bytes.
const NAME_MAX: usize = 255;
const WRITE_BYTES: usize = 128 * 1024;
/// Within the directory, as if it were the root.
pub const WITHIN: ResolveFlags =
    ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);
const LISTED: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A whole tree: every name is just a name.
    Tree,
    /// A layer: some names delete what lies below.
    Layer,
}

/// One tree that grows.
pub struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    owner: Owner,
    files: usize,
    room: Room,
    /// Paths of the layer that is being unpacked, by their sums.
    fresh: HashSet<u64>,
    sums: RandomState,
    /// The directory that was used last.
    here: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Devices and the like.
    left_out: u64,
}

/// The parts of a path within.
type Parts<'a> = [&'a [u8]];

impl<'a> Unpacker<'a> {
    pub fn new(root: BorrowedFd<'a>, owner: Owner) -> io::Result<Self> {
        Ok(Self {
            root,
            owner,
            files: 0,
            room: Room::of(root, IMAGE_UNPACKED_BYTES_MAX)?,
            fresh: HashSet::new(),
            sums: RandomState::new(),
            here: None,
            left_out: 0,
        })
    }

    /// One more file or directory, also one that is only on the way to another; it takes room whatever is in it.
    fn count(&mut self) -> io::Result<()> {
        self.files += 1;
        if self.files > IMAGE_FILES_MAX {
            return Err(bad(format!("it has more than {IMAGE_FILES_MAX} files")));
        }
        self.room.take(UNPACKED_FILE_BYTES)
    }

    /// All is there; how much could not be unpacked.
    pub fn finish(&mut self) -> io::Result<u64> {
        if let Some((user, group)) = self.owner {
            fchown(self.root, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        Ok(self.left_out)
    }

    /// Adds all of an archive.
    pub fn add<R: Read>(&mut self, archive: &mut Reader<R>, means: Means) -> io::Result<()> {
        self.fresh.clear();
        while let Some(member) = archive.next()? {
            self.entry(&member, archive, means).map_err(|error| named(&member.path, &error))?;
        }
        Ok(())
    }

    fn entry(&mut self, member: &Member, contents: &mut impl Read, means: Means) -> io::Result<()> {
        let parts = parts(&member.path)?;
        // The root itself is there.
        let Some((name, up)) = parts.split_last() else { return Ok(()) };
        self.count()?;
        if means == Means::Layer
            && let Some(hidden) = name.strip_prefix(WHITEOUT)
        {
            return self.whiteout(up, hidden);
        }
        if member.kind == MemberKind::Other {
            // Sandboxes have a /dev of their own.
            self.left_out += u64::from(parts.first() != Some(&b"dev".as_slice()));
            return Ok(());
        }
        let parent = self.directory(up)?;
        let parent = parent.as_fd();
        match member.kind {
            MemberKind::Directory => self.make_directory(parent, name, member.mode)?,
            MemberKind::File => {
                self.remove(parent, name, 0)?;
                self.file(parent, name, member, contents)?;
            }
            MemberKind::Link => {
                let target = member.target.as_slice();
                if target.is_empty() || target.len() >= PATH_BYTES_MAX {
                    return Err(bad("it is a link to nothing that could be there"));
                }
                self.remove(parent, name, 0)?;
                symlinkat(target, parent, *name)?;
                self.own(parent, name)?;
            }
            MemberKind::HardLink => self.hard_link(parent, name, &member.target)?,
            MemberKind::Other => {}
        }
        if means == Means::Layer {
            // With what it lies in.
            for end in 1..=parts.len() {
                self.fresh.insert(self.sums.hash_one(parts.get(..end).unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// A directory, made with all on the way to it where it is missing.
    fn directory(&mut self, path: &Parts<'_>) -> io::Result<Rc<OwnedFd>> {
        let joined = path.join(&b'/');
        if let Some((_, opened)) = self.here.as_ref().filter(|it| it.0 == joined) {
            return Ok(Rc::clone(opened));
        }
        let opened = match self.open(path) {
            Err(Errno::NOENT) => {
                let Some((name, up)) = path.split_last() else { return Err(Errno::NOENT.into()) };
                let parent = self.directory(up)?;
                self.count()?;
                match mkdirat(&parent, *name, Mode::from_raw_mode(0o755)) {
                    Err(Errno::EXIST) => return Err(bad("a link on the way leads nowhere")),
                    made => made?,
                }
                self.own(parent.as_fd(), name)?;
                self.open(path)?
            }
            Err(Errno::NOTDIR) => return Err(bad("something on the way is no directory")),
            Err(Errno::LOOP) => return Err(bad("links on the way lead in a circle")),
            opened => opened?,
        };
        let opened = Rc::new(opened);
        self.here = Some((joined, Rc::clone(&opened)));
        Ok(opened)
    }

    fn open(&self, path: &Parts<'_>) -> Result<OwnedFd, Errno> {
        let joined = path.join(&b'/');
        let path = if joined.is_empty() { b"." } else { joined.as_slice() };
        openat2(self.root, path, LISTED, Mode::empty(), WITHIN)
    }

    fn make_directory(&mut self, parent: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<()> {
        if kind(look(parent, name)?.as_ref()) != Some(FileType::Directory) {
            self.remove(parent, name, 0)?;
            mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
            self.own(parent, name)?;
        }
        let made = openat(parent, name, LISTED | OFlags::NOFOLLOW, Mode::empty())?;
        // Programs of a sandbox are everybody's owner and have no capability to pass over its mode.
        Ok(fchmod(&made, Mode::from_raw_mode(mode & 0o1777 | 0o700))?)
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        member: &Member,
        contents: &mut impl Read,
    ) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(made);
        let mut buffer = vec![0; WRITE_BYTES.min(member.bytes as usize + 1)];
        let mut left = member.bytes;
        while left > 0 {
            let count = contents.read(&mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.room.take(count as u64)?;
            file.write_all(buffer.get(..count).unwrap_or_default())?;
            left = left.saturating_sub(count as u64);
        }
        if let Some((user, group)) = self.owner {
            fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        fchmod(&file, Mode::from_raw_mode(member.mode & 0o777 | 0o400))?;
        let time = Timespec { tv_sec: member.modified, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        match futimens(&file, &times) {
            // A time that this file system does not know.
            Err(Errno::INVAL | Errno::OVERFLOW) => Ok(()),
            set => Ok(set?),
        }
    }

    /// A second name of a file that is in the image.
    fn hard_link(&mut self, parent: BorrowedFd<'_>, name: &[u8], to: &[u8]) -> io::Result<()> {
        let missing = || bad(format!("it is another name of what is not there: {}", words(to)));
        let target = parts(to)?;
        let (first, up) = target.split_last().ok_or_else(missing)?;
        let directory = self.open(up).map_err(|_| missing())?;
        let stat = look(directory.as_fd(), first)?.ok_or_else(missing)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(bad(format!("it is another name of a directory: {}", words(to))));
        }
        let there = look(parent, name)?;
        if there.is_some_and(|it| (it.st_dev, it.st_ino) == (stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        self.remove(parent, name, 0)?;
        Ok(linkat(&directory, *first, parent, name, AtFlags::empty())?)
    }

    fn whiteout(&mut self, up: &Parts<'_>, hidden: &[u8]) -> io::Result<()> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(bad("it deletes what is no name"));
        }
        let directory = match self.open(up) {
            // Nothing below, so nothing to hide.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            opened => opened?,
        };
        if hidden == OPAQUE {
            return self.clear(&directory, up, 0);
        }
        if hidden.starts_with(WHITEOUT) {
            // Of another kind of layers, and nothing to us.
            return Ok(());
        }
        let mut path = up.to_vec();
        path.push(hidden);
        if !self.fresh.contains(&self.sums.hash_one(path.as_slice())) {
            return self.remove(directory.as_fd(), hidden, 0);
        }
        // It hides only what lies below its own layer.
        match kind(look(directory.as_fd(), hidden)?.as_ref()) {
            Some(FileType::Directory) => {
                let inner = openat(&directory, hidden, LISTED | OFlags::NOFOLLOW, Mode::empty())?;
                self.clear(&inner, &path, 0)
            }
            _ => Ok(()),
        }
    }

    /// Deletes what the layers below have in a directory.
    fn clear(&mut self, directory: &OwnedFd, path: &Parts<'_>, depth: usize) -> io::Result<()> {
        for name in names(directory.as_fd(), depth)? {
            let mut path = path.to_vec();
            path.push(&name);
            if !self.fresh.contains(&self.sums.hash_one(path.as_slice())) {
                self.remove(directory.as_fd(), &name, depth + 1)?;
            } else if kind(look(directory.as_fd(), &name)?.as_ref()) == Some(FileType::Directory) {
                let inner = openat(directory, &*name, LISTED | OFlags::NOFOLLOW, Mode::empty())?;
                self.clear(&inner, &path, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Deletes what is at a name, if anything is.
    fn remove(&mut self, parent: BorrowedFd<'_>, name: &[u8], depth: usize) -> io::Result<()> {
        let found = look(parent, name)?;
        match kind(found.as_ref()) {
            None => return Ok(()),
            Some(FileType::Directory) => {
                let inner = openat(parent, name, LISTED | OFlags::NOFOLLOW, Mode::empty())?;
                for name in names(inner.as_fd(), depth)? {
                    self.remove(inner.as_fd(), &name, depth + 1)?;
                }
                unlinkat(parent, name, AtFlags::REMOVEDIR)?;
            }
            Some(_) => unlinkat(parent, name, AtFlags::empty())?,
        }
        if kind(found.as_ref()) != Some(FileType::RegularFile) {
            // A way that was known may lead elsewhere now.
            self.here = None;
        }
        Ok(())
    }

    fn own(&self, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        if let Some((user, group)) = self.owner {
            let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
            chownat(directory, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }
}

fn look(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Stat>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn kind(stat: Option<&Stat>) -> Option<FileType> {
    stat.map(|it| FileType::from_raw_mode(it.st_mode))
}

fn names(directory: BorrowedFd<'_>, depth: usize) -> io::Result<Vec<Vec<u8>>> {
    if depth > IMAGE_DEPTH_MAX {
        return Err(bad("it lies too deep"));
    }
    let mut names = Vec::new();
    for item in Dir::read_from(directory)? {
        let name = item?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// A path of an archive, below the root however it is written.
fn parts(path: &[u8]) -> io::Result<Vec<&[u8]>> {
    let long = || bad("its path is too long or lies too deep");
    if path.len() > PATH_BYTES_MAX {
        return Err(long());
    }
    let parts: Vec<&[u8]> =
        path.split(|it| *it == b'/').filter(|it| !matches!(*it, b"" | b".")).collect();
    if parts.contains(&b"..".as_slice()) {
        return Err(bad("its path leads out of the image"));
    }
    if parts.iter().any(|it| it.len() > NAME_MAX) || parts.len() > IMAGE_DEPTH_MAX {
        return Err(long());
    }
    Ok(parts)
}

/// A name for a person.
fn words(path: &[u8]) -> String {
    shown(&visible(&String::from_utf8_lossy(path)), 256)
}

/// The same error, of this entry.
fn named(path: &[u8], error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", words(path)))
}

#[cfg(test)]
mod tests;
