//! The workspace of a sandbox that has its files elsewhere, and had a copy of the real directory: what it changed in
//! it is brought here as a layer, as an overlay would have it, so that it can be looked at and applied like any
//! other. What was sent is written down at the start: without that, what the operator did meanwhile to the real
//! directory would look like the sandbox's work. Blocks on files.

mod sent;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        CWD, Dir, FileType, Mode, OFlags, fchmod, mkdirat, mknodat, openat2, renameat, symlinkat,
    },
    io::Errno,
};

pub use self::sent::Sending;
use self::sent::{SENT, Sent, noting};
use super::{
    apply::seen::{parent, stat},
    changes::{LocalChanges, workspace_of},
    namespaces::BOX,
    remove, side,
    upper::{self, BENEATH},
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{COPY_BYTES_MAX, COPY_DEPTH_MAX, COPY_ENTRIES_MAX, PATH_BYTES_MAX},
        text::visible,
        units::human_bytes,
    },
    driver::{
        Changes, Ground, Kept,
        tar::read::{Member, MemberKind, Reader},
    },
    model::change::{Applied, ApplyRequest, DiffRequest},
};

/// Where the layer lies among the sandbox's files, as one of an overlay does.
const LAYER: &str = "upper/workspace";
const ABOVE: &str = "upper";
const WORKSPACE: &str = "workspace";
const PIECE_BYTES: usize = 64 * 1024;

/// Notes, in the directory of a sandbox that has just begun, which directory its changes will be held against.
pub fn begin(ground: &Path, workspace: &Path) -> Outcome<()> {
    super::changes::remember(ground, workspace).map_err(noting)
}

/// What was sent to a sandbox is what every one has that goes on from a moment of it.
pub fn pass_on(from: &Path, to: &Path) -> Outcome<()> {
    match fs::copy(from.join(SENT), to.join(SENT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(noting(error)),
        _ => Ok(()),
    }
}

/// Alone: what it began with is in its own files.
fn alone(ground: &Ground) -> Ground {
    Ground { from: None, ..ground.clone() }
}

/// The changes that were brought here last.
pub fn changes(ground: &Ground, request: DiffRequest) -> Changes {
    Box::new(LocalChanges::new(&Kept::Ground(alone(ground)), None, request))
}

/// Writes the changes that were brought here last to the real directory.
pub fn apply(ground: &Ground, since: Timestamp, request: &ApplyRequest) -> Outcome<Applied> {
    super::apply::apply(&alone(ground), since, request)
}

/// Takes back what was written last.
pub fn take_back(ground: &Ground, overwrite: bool) -> Outcome<Applied> {
    super::apply::undo(&alone(ground), overwrite)
}

/// Whether the layer was made before.
pub fn has_layer(ground: &Path) -> bool {
    ground.join(BOX).join(LAYER).exists()
}

/// Brings a path of the workspace up to date in the layer, by an archive whose first entry is that path; `None` = it
/// is not there. With an empty path, the layer is made anew.
pub fn pull(ground: &Path, path: &[u8], archive: Option<impl Read>) -> Outcome<()> {
    let root = fs::canonicalize(ground)
        .map_err(|error| Fault::io(format!("opening {}", ground.display()), &error))?
        .join(BOX);
    let (fresh, place) = (root.join("pulling"), root.join(ABOVE));
    let layer = if path.is_empty() { fresh.join(WORKSPACE) } else { root.join(LAYER) };
    if path.is_empty() {
        remove::discard(&fresh)?;
        fs::create_dir_all(&layer)
            .map_err(|error| Fault::io(format!("making {}", layer.display()), &error))?;
    }
    let mut pull = Pull {
        upper: upper::root(&layer)?,
        base: upper::root(&workspace_of(ground)?)?,
        sent: sent::read(ground)?,
        prefix: path.to_vec(),
        seen: HashMap::new(),
        modes: Vec::new(),
        bytes: 0,
        now: path.to_vec(),
    };
    if !path.is_empty() {
        put_aside(&pull.upper, path, &root.join("replaced"))?;
    }
    let pulled = pull.all(archive.map(Reader::new));
    pulled.map_err(|it| it.context("looking at the sandbox's files"))?;
    if path.is_empty() {
        remove::discard(&place)?;
        fs::rename(&fresh, &place)
            .map_err(|error| Fault::io(format!("placing {}", place.display()), &error))?;
        // What was there before may still be read: that ends with a word, and not with half of it.
        drop(remove::empty_trash(&place));
    }
    Ok(())
}

/// Takes what was there before out of the layer. Links in it are the sandbox's: none is followed.
fn put_aside(upper: &OwnedFd, path: &[u8], aside: &Path) -> Outcome<()> {
    let fault = |error| Fault::io("making room for what the sandbox has now", &error);
    let (parent, name) = match parent(upper.as_fd(), path) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => return Ok(()),
        found => found.map_err(fault)?,
    };
    remove::discard(aside)?;
    fs::create_dir(aside).map_err(fault)?;
    match renameat(parent, name, CWD, aside.join("it")) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(fault(error.into())),
    }
    remove::discard(aside)?;
    drop(remove::empty_trash(aside));
    Ok(())
}

struct Pull {
    upper: OwnedFd,
    base: OwnedFd,
    sent: HashMap<Vec<u8>, Sent>,
    /// The path that the archive is of; empty = all.
    prefix: Vec<u8>,
    /// What the archive has, and whether that is a directory.
    seen: HashMap<Vec<u8>, bool>,
    /// Of directories in the layer, which their owner has to fill first.
    modes: Vec<(Vec<u8>, u32)>,
    bytes: u64,
    /// What is just looked at.
    now: Vec<u8>,
}

impl Pull {
    fn all<R: Read>(&mut self, archive: Option<Reader<R>>) -> Outcome<()> {
        let done = match archive {
            Some(mut archive) => self.members(&mut archive),
            None => Ok(None),
        };
        let done = done.and_then(|fault| match fault {
            None => self.finish().map(|()| None),
            fault => Ok(fault),
        });
        let named =
            |error: io::Error| Fault::io(visible(&String::from_utf8_lossy(&self.now)), &error);
        done.map_err(named)?.map_or(Ok(()), Err)
    }

    /// A fault of its own, or one of the file that is just looked at.
    fn members<R: Read>(&mut self, archive: &mut Reader<R>) -> io::Result<Option<Fault>> {
        while let Some(member) = archive.next()? {
            if self.seen.len() as u64 >= COPY_ENTRIES_MAX {
                return Ok(Some(Fault::failed(format!("more than {COPY_ENTRIES_MAX} files"))));
            }
            let Some(path) = self.place(&member.path) else {
                return Ok(Some(Fault::failed("the archive has a path that leads out of it")));
            };
            if path.is_empty() {
                continue;
            }
            self.now.clone_from(&path);
            self.bytes = self.bytes.saturating_add(member.bytes);
            if self.bytes > COPY_BYTES_MAX {
                let most = human_bytes(COPY_BYTES_MAX);
                return Ok(Some(Fault::failed(format!("more than {most}"))));
            }
            self.member(&path, &member, archive)?;
            self.seen.insert(path, member.kind == MemberKind::Directory);
        }
        if !archive.has_ended() {
            return Ok(Some(Fault::lost("the archive ends in the middle")));
        }
        Ok(None)
    }

    /// Where a name of the archive lies below the workspace.
    fn place(&self, name: &[u8]) -> Option<Vec<u8>> {
        let path = below(name)?;
        let parts = [self.prefix.as_slice(), path.as_slice()];
        Some(parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(&b'/'))
    }

    /// Hides what is not there any more, and closes what its owner had to fill.
    fn finish(&mut self) -> io::Result<()> {
        let prefix = self.prefix.clone();
        if prefix.is_empty() {
            let base = self.base.try_clone()?;
            self.deleted(&base, &mut Vec::new(), 0)?;
        } else if !self.seen.contains_key(&prefix) {
            if self.sent.contains_key(&prefix) && stat(self.base.as_fd(), &prefix)?.is_some() {
                self.hide(&prefix)?;
            }
        } else if self.seen.get(&prefix) == Some(&true)
            && let Some(base) = listed(self.base.as_fd(), &prefix)?
        {
            self.deleted(&base, &mut prefix.clone(), 0)?;
        }
        for (path, mode) in self.modes.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = openat2(&self.upper, path.as_slice(), flags, Mode::empty(), BENEATH)?;
            fchmod(directory, Mode::from_raw_mode(*mode))?;
        }
        Ok(())
    }

    fn member(&mut self, path: &[u8], member: &Member, contents: &mut impl Read) -> io::Result<()> {
        let real = stat(self.base.as_fd(), path)?;
        let sent = self.sent.get(path).copied();
        // The operator changed it meanwhile: then only what the sandbox changed too is its work.
        let moved_on = sent.is_some_and(|it| real.as_ref().map(Sent::of) != Some(it));
        if moved_on && sent.is_some_and(|it| it.is(member)) {
            return Ok(());
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
                Ok(())
            }
            MemberKind::Link => {
                let old = (kind == Some(FileType::Symlink))
                    .then(|| side::target(self.base.as_fd(), path))
                    .transpose()?;
                if old.as_deref() == Some(&member.target) {
                    return Ok(());
                }
                let (parent, name) = self.parent(path)?;
                Ok(symlinkat(member.target.as_slice(), &parent, name)?)
            }
            MemberKind::File => {
                let mode = member.mode & 0o777;
                let old = real.filter(|it| {
                    kind == Some(FileType::RegularFile)
                        && it.st_mode & 0o777 == mode
                        && u64::try_from(it.st_size) == Ok(member.bytes)
                });
                let old = match old {
                    Some(_) => Some(side::open(self.base.as_fd(), path)?),
                    None => None,
                };
                self.file(path, mode, old, contents)
            }
            MemberKind::HardLink => {
                let Some(first) =
                    self.place(&member.target).filter(|it| self.seen.contains_key(it))
                else {
                    return Err(io::Error::other("a hard link to nothing"));
                };
                let (mut from, facts) = match side::open(self.upper.as_fd(), &first) {
                    Ok(file) => (file, stat(self.upper.as_fd(), &first)?),
                    Err(_) => {
                        (side::open(self.base.as_fd(), &first)?, stat(self.base.as_fd(), &first)?)
                    }
                };
                let mode = facts.map_or(0o644, |it| it.st_mode & 0o777);
                let same = kind == Some(FileType::RegularFile)
                    && real.is_some_and(|it| it.st_mode & 0o777 == mode);
                let old = same.then(|| side::open(self.base.as_fd(), path)).transpose()?;
                self.file(path, mode, old, &mut from)
            }
            // Nobody opens one; it is as if it were not there.
            MemberKind::Other => Ok(()),
        }
    }

    /// Takes a file over unless the old one holds the same; nothing is written as long as it does.
    fn file(
        &mut self,
        path: &[u8],
        mode: u32,
        old: Option<File>,
        contents: &mut impl Read,
    ) -> io::Result<()> {
        let (mut piece, mut other) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
        let mut alike = 0_u64;
        let mut old = old;
        let mut new: Option<File> = None;
        loop {
            let count = fill(contents, &mut piece)?;
            let read = piece.get(..count).unwrap_or_default();
            if let Some(file) = &mut old {
                let there = fill(file, &mut other)?;
                if other.get(..there) == Some(read) {
                    if count < PIECE_BYTES {
                        return Ok(());
                    }
                    alike += count as u64;
                    continue;
                }
                old = None;
            }
            let file = match &mut new {
                Some(file) => file,
                None => new.insert(self.begin(path, mode, alike)?),
            };
            file.write_all(read)?;
            if count < PIECE_BYTES {
                return Ok(());
            }
        }
    }

    /// A new file that begins as the real one does.
    fn begin(&mut self, path: &[u8], mode: u32, alike: u64) -> io::Result<File> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat2(&parent, name, flags, Mode::RWXU, BENEATH)?);
        fchmod(&file, Mode::from_raw_mode(mode))?;
        if alike > 0 {
            let start = side::open(self.base.as_fd(), path)?;
            if io::copy(&mut start.take(alike), &mut file)? != alike {
                return Err(io::Error::other("it changes in the real directory"));
            }
        }
        Ok(file)
    }

    /// The directory in the layer that a path lies in, made with what is above it.
    fn parent<'a>(&mut self, path: &'a [u8]) -> io::Result<(OwnedFd, &'a [u8])> {
        match parent(self.upper.as_fd(), path) {
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
        parent(self.upper.as_fd(), path)
    }

    fn directory(&mut self, path: &[u8], mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match mkdirat(&parent, name, Mode::RWXU) {
            // On the way to something before its own entry came.
            Err(Errno::EXIST) => self.modes.retain(|it| it.0 != path),
            made => made?,
        }
        self.modes.push((path.to_vec(), mode));
        Ok(())
    }

    /// Hides what was sent and is not there any more.
    fn deleted(&mut self, directory: &OwnedFd, path: &mut Vec<u8>, depth: usize) -> io::Result<()> {
        if depth >= COPY_DEPTH_MAX {
            return Ok(());
        }
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
            self.now.clone_from(path);
            if let Some(is_directory) = self.seen.get(path) {
                // What is no directory any more hides all that was in it.
                if *is_directory && let Some(inner) = listed(directory.as_fd(), name)? {
                    self.deleted(&inner, path, depth + 1)?;
                }
            } else if self.sent.contains_key(path) {
                self.hide(&path.clone())?;
            }
            path.truncate(before);
        }
        Ok(())
    }

    fn hide(&mut self, path: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0)?)
    }
}

fn listed(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(directory, name, flags, Mode::empty(), BENEATH) {
        Ok(inner) => Ok(Some(inner)),
        Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT | Errno::ACCESS | Errno::XDEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A path without the workspace's own name in front; `None` = it leads out.
fn below(path: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> =
        path.split(|it| *it == b'/').filter(|it| !matches!(*it, b"" | b".")).collect();
    let sound = !parts.contains(&&b".."[..])
        && !path.contains(&0)
        && path.len() <= PATH_BYTES_MAX
        && parts.len() <= COPY_DEPTH_MAX;
    sound.then(|| parts.get(1..).unwrap_or_default().join(&b'/'))
}

/// Reads until the piece is full or there is no more.
fn fill(from: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = piece.get_mut(filled..).filter(|it| !it.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
