//! What an archive of a sandbox's workspace has, held against the real directory: what differs goes into a layer. Who
//! made the archive may be hostile: all goes by descriptors below the layer, and everything has a bound.

mod file;
mod gone;

use std::{
    collections::HashMap,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, Stat, fchmod, linkat, mkdirat, openat2, symlinkat,
        unlinkat,
    },
    io::Errno,
};

use self::file::times;
use super::{
    super::{
        apply::seen::{parent, stat},
        room::Room,
        side,
        upper::BENEATH,
    },
    laid::Wanted,
    sent::Sent,
    unread::{Unread, of_one},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{
            CHANGES_PATH_BYTES_MAX, COPY_BYTES_MAX, COPY_DEPTH_MAX, COPY_ENTRIES_MAX,
            PATH_BYTES_MAX, UNPACKED_FILE_BYTES,
        },
        text::visible,
        units::human_bytes,
    },
    driver::tar::read::{Member, MemberKind, Reader},
};

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lies {
    Directory,
    /// A file as the real directory has it.
    There,
    /// A file of the layer.
    Layer,
    /// Nothing that could have another name.
    Nowhere,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    lies: Lies,
    bytes: u64,
}

pub struct Members {
    layer: OwnedFd,
    base: OwnedFd,
    sent: HashMap<Vec<u8>, Sent>,
    /// Which paths count, where not all do.
    wanted: Option<Arc<Wanted>>,
    /// Other names of what did not count.
    again: Vec<Vec<u8>>,
    /// The name that the archive is of; empty = all.
    prefix: Vec<u8>,
    /// What the archives have, by sums of paths: those themselves would be as long as a sandbox likes.
    seen: HashMap<u64, Entry>,
    sums: RandomState,
    /// Of directories in the layer, which their owner has to fill first.
    modes: Vec<(Vec<u8>, u32)>,
    modes_bytes: usize,
    entries: u64,
    bytes: u64,
    room: Room,
    unread: Unread,
    /// What is just looked at.
    now: Vec<u8>,
}

impl Members {
    pub fn new(layer: OwnedFd, base: OwnedFd, sent: HashMap<Vec<u8>, Sent>) -> Outcome<Self> {
        let most = COPY_BYTES_MAX + COPY_ENTRIES_MAX * UNPACKED_FILE_BYTES;
        let room = Room::of(layer.as_fd(), most);
        let room = room.map_err(|error| Fault::io("looking at the disk", &error))?;
        Ok(Self {
            layer,
            base,
            sent,
            wanted: None,
            again: Vec::new(),
            prefix: Vec::new(),
            seen: HashMap::new(),
            sums: RandomState::new(),
            modes: Vec::new(),
            modes_bytes: 0,
            entries: 0,
            bytes: 0,
            room,
            unread: Unread::default(),
            now: Vec::new(),
        })
    }

    /// Of archives of more than is wanted, the rest is passed over.
    pub fn only(self, wanted: Arc<Wanted>) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    /// Takes away the file that was taken for a path; `false` = that is none.
    pub fn clear(&mut self, path: &[u8]) -> bool {
        let cleared = parent(self.layer.as_fd(), path)
            .and_then(|(parent, name)| Ok(unlinkat(parent, name, AtFlags::empty())?));
        cleared.map_or_else(|error| Errno::from_io_error(&error) == Some(Errno::NOENT), |()| true)
    }

    /// Takes a directory without what is in it.
    pub fn directory_alone(&mut self, path: &[u8], mode: u32) -> Outcome<()> {
        self.directory(path, mode)
            .map_err(|error| Fault::io(visible(&String::from_utf8_lossy(path)), &error))
    }

    /// Other names of what was passed over, once.
    pub fn again(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.again)
    }

    /// Notes a path that can't be had.
    pub fn lacks(&mut self, path: &[u8], why: &str) {
        self.unread.add(path, why);
    }

    pub fn take<R: Read>(&mut self, name: &[u8], archive: Option<Reader<R>>) -> Outcome<()> {
        self.prefix = name.to_vec();
        self.now = name.to_vec();
        let done = match archive {
            Some(mut archive) => self.all(&mut archive),
            None => Ok(None),
        };
        let done = done.and_then(|fault| match fault {
            None => self.hide_what_is_gone().map(|()| None),
            fault => Ok(fault),
        });
        let named =
            |error: io::Error| Fault::io(visible(&String::from_utf8_lossy(&self.now)), &error);
        done.map_err(named)?.map_or(Ok(()), Err)
    }

    /// Closes what its owner had to fill; gives what could not be had.
    pub fn finish(self) -> Outcome<Unread> {
        for (path, mode) in self.modes.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat2(&self.layer, path.as_slice(), flags, Mode::empty(), BENEATH)
                .and_then(|it| fchmod(it, Mode::from_raw_mode(*mode)))
                .map_err(|error| {
                    Fault::io(visible(&String::from_utf8_lossy(path)), &error.into())
                })?;
        }
        Ok(self.unread)
    }

    /// A fault of its own, or one of the file that is just looked at.
    fn all<R: Read>(&mut self, archive: &mut Reader<R>) -> io::Result<Option<Fault>> {
        let (mut is_directory, before) = (false, self.entries);
        while let Some(member) = archive.next()? {
            self.entries += 1;
            if self.entries > COPY_ENTRIES_MAX {
                return Ok(Some(Fault::failed(format!("more than {COPY_ENTRIES_MAX} files"))));
            }
            let Some(path) = self.place(&member.path) else {
                return Ok(Some(Fault::failed("the archive has a path that leads out of it")));
            };
            if path.is_empty() {
                is_directory = member.kind == MemberKind::Directory;
                continue;
            }
            self.now.clone_from(&path);
            if !self.wanted.as_ref().is_none_or(|it| it.has(&path)) {
                // It is there: on the way to others, or whatever it is.
                let is_apart = self.wanted.as_ref().is_some_and(|it| it.is_apart(&path));
                let lies = match member.kind {
                    MemberKind::Directory if !is_apart => Some(Lies::Directory),
                    _ => is_apart.then_some(Lies::Nowhere),
                };
                if let Some(lies) = lies {
                    self.seen.insert(self.sum(&path), Entry { lies, bytes: 0 });
                }
                continue;
            }
            if self.wanted.is_some() && self.bytes.saturating_add(member.bytes) > COPY_BYTES_MAX {
                // One that is large, or says so, costs the others nothing.
                self.unread.add(&path, "too large to be looked at");
                self.seen.insert(self.sum(&path), Entry { lies: Lies::Nowhere, bytes: 0 });
                continue;
            }
            if self.count(member.bytes) {
                return Ok(Some(too_much()));
            }
            let parts = path.split(|it| *it == b'/').count();
            let lies = if path.len() >= PATH_BYTES_MAX || parts > COPY_DEPTH_MAX {
                Err(Errno::NAMETOOLONG.into())
            } else {
                self.member(&path, &member, archive)
            };
            let lies = match lies {
                Ok(lies) => lies,
                Err(error) => self.leave(&path, error)?,
            };
            if self.bytes > COPY_BYTES_MAX {
                return Ok(Some(too_much()));
            }
            if self.modes_bytes > CHANGES_PATH_BYTES_MAX {
                return Ok(Some(Fault::failed("more changed directories than can be looked at")));
            }
            self.seen.insert(self.sum(&path), Entry { lies, bytes: self.bytes_of(&member) });
        }
        if !archive.has_ended() {
            return Ok(Some(Fault::lost("the archive ends in the middle")));
        }
        if self.wanted.is_some() && self.entries == before {
            // Archives have no sockets.
            let path = std::mem::take(&mut self.prefix);
            self.unread.add(&path, "the archive has nothing of it: a socket, or it went meanwhile");
            self.seen.insert(self.sum(&path), Entry { lies: Lies::Nowhere, bytes: 0 });
            self.prefix = path;
        }
        if self.prefix.is_empty() && !is_directory {
            return Ok(Some(Fault::absent("the workspace in it is no directory any more")));
        }
        Ok(None)
    }

    /// Goes on without a path that can't be had.
    fn leave(&mut self, path: &[u8], error: io::Error) -> io::Result<Lies> {
        let Some(why) = of_one(&error) else { return Err(error) };
        if let Ok((parent, name)) = parent(self.layer.as_fd(), path) {
            // Nothing of it is there, or half of a file.
            let _ = unlinkat(parent, name, AtFlags::empty());
        }
        self.unread.add(path, why);
        Ok(Lies::Nowhere)
    }

    fn sum(&self, path: &[u8]) -> u64 {
        self.sums.hash_one(path)
    }

    fn seen(&self, path: &[u8]) -> Option<Lies> {
        self.seen.get(&self.sum(path)).map(|it| it.lies)
    }

    /// Of a file, by whatever name.
    fn bytes_of(&self, member: &Member) -> u64 {
        let first = (member.kind == MemberKind::HardLink).then(|| self.place(&member.target));
        let first = first.flatten().and_then(|it| self.seen.get(&self.sum(&it)));
        first.map_or(member.bytes, |it| it.bytes)
    }

    /// Tells whether that is too much.
    fn count(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.bytes > COPY_BYTES_MAX
    }

    /// Where a name of the archive lies below the workspace.
    fn place(&self, name: &[u8]) -> Option<Vec<u8>> {
        let path = below(name)?;
        let parts = [self.prefix.as_slice(), path.as_slice()];
        Some(parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(&b'/'))
    }

    fn member(
        &mut self,
        path: &[u8],
        member: &Member,
        contents: &mut impl Read,
    ) -> io::Result<Lies> {
        let real = stat(self.base.as_fd(), path)?;
        let sent = self.sent.get(path).copied();
        // The operator changed it meanwhile: then only what the sandbox changed too is its work.
        let moved_on = sent.is_some_and(|it| !real.as_ref().is_some_and(|real| it.is_still(real)));
        if moved_on && sent.is_some_and(|it| it.is(member)) {
            return Ok(Lies::Nowhere);
        }
        let kind = real.as_ref().map(|it| FileType::from_raw_mode(it.st_mode));
        match member.kind {
            MemberKind::Directory => {
                let mode = member.mode & 0o777;
                let same = match (sent, &real) {
                    // One that the operator removed meanwhile comes back only with what is new in it.
                    (Some(sent), _) => {
                        FileType::from_raw_mode(sent.mode) == FileType::Directory
                            && sent.permissions() == mode
                    }
                    (None, Some(real)) => real.st_mode & 0o777 == mode,
                    (None, None) => false,
                };
                let hides = kind.is_some_and(|it| it != FileType::Directory);
                if !same || (hides && sent.is_none()) {
                    self.directory(path, mode)?;
                }
                Ok(Lies::Directory)
            }
            MemberKind::Link => {
                let old = (kind == Some(FileType::Symlink))
                    .then(|| side::target(self.base.as_fd(), path))
                    .transpose()?;
                if old.as_deref() != Some(&member.target) {
                    let (parent, name) = self.parent(path)?;
                    symlinkat(member.target.as_slice(), &parent, name)?;
                    times(&parent, name, member.modified)?;
                }
                Ok(Lies::Nowhere)
            }
            MemberKind::File => {
                let like = |it: &Stat| u64::try_from(it.st_size) == Ok(member.bytes);
                let old = self.old(path, member.mode, real.filter(like).as_ref())?;
                self.file(path, member, old, contents)
            }
            MemberKind::HardLink => self.hard_link(path, member, real.as_ref()),
            MemberKind::Other => Ok(self.special(path, kind)),
        }
    }

    /// The real file, where that is of this mode.
    fn old(&self, path: &[u8], mode: u32, real: Option<&Stat>) -> io::Result<Option<File>> {
        let like = real.is_some_and(|it| {
            FileType::from_raw_mode(it.st_mode) == FileType::RegularFile
                && it.st_mode & 0o777 == mode & 0o777
        });
        like.then(|| side::open(self.base.as_fd(), path)).transpose()
    }

    /// Another name of an earlier file.
    fn hard_link(&mut self, path: &[u8], member: &Member, real: Option<&Stat>) -> io::Result<Lies> {
        let first = self.place(&member.target).filter(|it| *it != path);
        let passed_over =
            first.as_ref().is_some_and(|it| !self.wanted.as_ref().is_none_or(|of| of.has(it)));
        let found = first.and_then(|first| Some((self.seen(&first)?, first)));
        let (lies, first) = match found {
            Some(found) => found,
            None if passed_over => {
                self.again.push(path.to_vec());
                return Ok(Lies::Nowhere);
            }
            None => return Err(io::Error::other("a hard link to nothing")),
        };
        let holder = match lies {
            Lies::Layer => &self.layer,
            Lies::There => &self.base,
            Lies::Directory | Lies::Nowhere => {
                let (kind, bytes) = (MemberKind::File, self.bytes_of(member));
                let known = Member { kind, bytes, ..member.clone() };
                if !self.sent.get(path).is_some_and(|it| it.is(&known)) {
                    self.unread.add(path, "another name of what is not brought here");
                }
                return Ok(Lies::Nowhere);
            }
        };
        let facts = stat(holder.as_fd(), &first)?
            .filter(|it| FileType::from_raw_mode(it.st_mode) == FileType::RegularFile)
            .ok_or_else(changed)?;
        let bytes = u64::try_from(facts.st_size).unwrap_or_default();
        let is_free = lies == Lies::Layer && self.wanted.is_some();
        if self.wanted.is_some() && !is_free && self.bytes.saturating_add(bytes) > COPY_BYTES_MAX {
            self.unread.add(path, "too large to be looked at");
            return Ok(Lies::Nowhere);
        }
        if !is_free && self.count(bytes) {
            // Who called looks at that.
            return Ok(Lies::Nowhere);
        }
        if lies == Lies::Layer {
            let (parent, name) = self.parent(path)?;
            let (up, it) = super::super::apply::seen::parent(self.layer.as_fd(), &first)?;
            linkat(up, it, parent, name, AtFlags::empty())?;
            return Ok(Lies::Layer);
        }
        let mode = facts.st_mode & 0o777;
        let mut from = side::open(self.base.as_fd(), &first)?.take(bytes);
        let old = self.old(path, mode, real)?;
        self.file(path, &Member { mode, ..member.clone() }, old, &mut from)
    }

    /// Nobody opens one: that it is there is all there is to tell.
    fn special(&mut self, path: &[u8], real: Option<FileType>) -> Lies {
        use FileType::{Directory, RegularFile, Symlink};
        if real.is_none_or(|it| matches!(it, Directory | RegularFile | Symlink)) {
            self.unread.add(path, "a device, fifo or socket");
        }
        Lies::Nowhere
    }

    /// The directory in the layer that a path is to be made in, made with what is above it.
    fn parent<'a>(&mut self, path: &'a [u8]) -> io::Result<(OwnedFd, &'a [u8])> {
        self.room.take(UNPACKED_FILE_BYTES)?;
        match parent(self.layer.as_fd(), path) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
            found => return found,
        }
        let above = path.iter().rposition(|it| *it == b'/').and_then(|at| path.get(..at));
        if let Some(above) = above {
            let mode = match (self.sent.get(above), stat(self.base.as_fd(), above)?) {
                (_, Some(real)) => real.st_mode & 0o777,
                (Some(sent), None) => sent.permissions(),
                (None, None) => 0o755,
            };
            self.directory(above, mode)?;
        }
        parent(self.layer.as_fd(), path)
    }

    fn directory(&mut self, path: &[u8], mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match mkdirat(&parent, name, Mode::RWXU) {
            // On the way to something before its own entry came.
            Err(Errno::EXIST) => self.modes.retain(|it| it.0 != path),
            made => made?,
        }
        self.modes_bytes += path.len();
        self.modes.push((path.to_vec(), mode));
        Ok(())
    }
}

fn too_much() -> Fault {
    Fault::failed(format!("more than {}", human_bytes(COPY_BYTES_MAX)))
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "it changes in the real directory")
}

/// A path without the workspace's own name in front; `None` = it leads out.
fn below(path: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> =
        path.split(|it| *it == b'/').filter(|it| !matches!(*it, b"" | b".")).collect();
    let sound = !parts.contains(&&b".."[..]) && !path.contains(&0);
    // Of a whole system the root is the first name, which has none.
    let own = usize::from(!path.starts_with(b"/"));
    sound.then(|| parts.get(own..).unwrap_or_default().join(&b'/'))
}
