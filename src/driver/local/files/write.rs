//! Writes a file of a sandbox whole: beside it under another name, which takes its place by one rename. A link is
//! not written through, and nothing that is not a plain file is replaced.

use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, fchmod, mkdirat, openat2,
        renameat, renameat_with, statat, unlinkat,
    },
    io::Errno,
};

use super::{
    Place,
    aside::Aside,
    entry::version,
    reach::{fault, kind},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::FILE_WRITTEN_BYTES_MAX,
        units::human_bytes,
    },
    model::file::{Expected, FileEntry, FileKind, Made, WriteRequest, name_shown, split},
};

/// What a file is called until it is whole.
const UNFINISHED: &str = ".sandwatch-";

/// In the directory that is open, and no link. A directory that is there may have a file system mounted on it: the
/// workspace is one.
const HERE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// One that is being written.
pub struct Writing {
    request: WriteRequest,
    directory: OwnedFd,
    name: Vec<u8>,
    fresh: String,
    /// `None` for a directory.
    file: Option<File>,
    mode: u32,
    bytes: u64,
    /// It has its name.
    is_placed: bool,
    /// Where it is taken away again.
    aside: Aside,
}

impl Writing {
    pub fn begin(place: &Place, aside: Aside, request: WriteRequest) -> Outcome<Self> {
        let path = &request.path;
        let (above, name) = split(path)
            .filter(|it| !matches!(it.1, b"." | b".."))
            .ok_or_else(|| Fault::invalid(format!("not a file: {}", name_shown(path))))?;
        place.reach()?.writable(path)?;
        let directory = place.reach()?.open(above, OFlags::PATH | OFlags::DIRECTORY)?;
        let there = there(&directory, name).map_err(|error| fault(path, error))?;
        let kept = check(&request, there.as_ref())?;
        let usual = match request.make {
            Made::File => 0o644,
            Made::Directory => 0o755,
        };
        let mode = request.mode.or(kept).unwrap_or(usual) & 0o777;
        let fresh = format!("{UNFINISHED}{}", SandboxId::random());
        let file = match request.make {
            Made::Directory => None,
            Made::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let made = openat2(&directory, &*fresh, flags, Mode::RUSR | Mode::WUSR, HERE);
                Some(File::from(made.map_err(|error| fault(path, error))?))
            }
        };
        let name = name.to_vec();
        let (bytes, is_placed) = (0, false);
        Ok(Self { request, directory, name, fresh, file, mode, bytes, is_placed, aside })
    }

    pub fn add(&mut self, piece: &[u8]) -> Outcome<()> {
        let shown = || name_shown(&self.request.path);
        self.bytes += piece.len() as u64;
        if self.bytes > FILE_WRITTEN_BYTES_MAX {
            let most = human_bytes(FILE_WRITTEN_BYTES_MAX);
            return Err(Fault::invalid(format!("more than {most} for one file: {}", shown())));
        }
        match &mut self.file {
            Some(file) => file
                .write_all(piece)
                .map_err(|error| Fault::io(format!("writing {}", shown()), &error)),
            None => Err(Fault::invalid(format!("a directory has no contents: {}", shown()))),
        }
    }

    /// Puts it in its place.
    pub fn finish(mut self, place: &Place) -> Outcome<FileEntry> {
        let path = &self.request.path;
        let fault = |error| fault(path, error);
        let there = there(&self.directory, &self.name).map_err(fault)?;
        check(&self.request, there.as_ref())?;
        let mode = Mode::from_raw_mode(self.mode);
        if let Some(file) = &self.file {
            fchmod(file, mode).map_err(fault)?;
            let (fresh, name) = (self.fresh.as_bytes(), self.name.as_slice());
            let from = self.directory.as_fd();
            let moved = match there {
                Some(_) => renameat(from, fresh, from, name),
                // What came since is not replaced.
                None => renameat_with(from, fresh, from, name, RenameFlags::NOREPLACE),
            };
            moved.map_err(|error| match error {
                Errno::EXIST => changed(path),
                error => fault(error),
            })?;
            self.is_placed = true;
        } else if there.is_none() {
            mkdirat(&self.directory, self.name.as_slice(), mode).map_err(fault)?;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat2(&self.directory, self.name.as_slice(), flags, Mode::empty(), HERE);
        place.entry_of(made.map_err(fault)?.as_fd(), path, &self.name)
    }
}

/// What lies at a name itself.
fn there(directory: &OwnedFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether what is there may be replaced; its permissions.
fn check(request: &WriteRequest, there: Option<&Stat>) -> Outcome<Option<u32>> {
    let path = &request.path;
    let Some(stat) = there else {
        return match request.expected {
            Expected::Version(_) => Err(changed(path)),
            Expected::Anything | Expected::Nothing => Ok(None),
        };
    };
    let found = kind(FileType::from_raw_mode(stat.st_mode));
    let fits = match request.make {
        Made::File => found == FileKind::File,
        Made::Directory => found == FileKind::Directory,
    };
    let shown = || name_shown(path);
    if request.expected == Expected::Nothing {
        return Err(Fault::busy(format!("there is a {} already: {}", found.word(), shown())));
    }
    if !fits {
        let hint = match found {
            FileKind::Directory => "name the file in it",
            FileKind::Link => "nothing is written through a link: name what it leads to",
            _ => "choose another name",
        };
        return Err(Fault::invalid(format!("it is a {}: {}", found.word(), shown())).hint(hint));
    }
    match request.expected {
        Expected::Version(seen) if seen != version(stat) => Err(changed(path)),
        // Set-id bits are the sandbox's own doing.
        _ => Ok(Some(stat.st_mode & 0o777)),
    }
}

fn changed(path: &[u8]) -> Fault {
    Fault::busy(format!("it was changed meanwhile: {}", name_shown(path)))
        .hint("look at it again before you write")
}

impl Drop for Writing {
    /// What has not got its name is taken away, also when a step that took too long made it for nobody.
    fn drop(&mut self) {
        if self.file.is_none() || self.is_placed {
            return;
        }
        // It may be gone with its directory.
        if let Ok(directory) = self.directory.try_clone() {
            let fresh = std::mem::take(&mut self.fresh);
            self.aside.last(move || {
                let _ = unlinkat(directory, fresh, AtFlags::empty());
            });
        }
    }
}
