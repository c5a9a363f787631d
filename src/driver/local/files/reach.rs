//! What a path leads to, and never out of the sandbox: everything is resolved by the kernel below a directory that
//! is open already, as if that were the root.

use std::{
    borrow::Cow,
    fs::File,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2},
    io::Errno,
};

use crate::{
    base::fault::{Fault, Outcome},
    model::{
        change::covers,
        file::{FileKind, name_shown},
    },
};

/// A rename beside it may make the kernel unsure whether `..` still leads where it did: it says so and is asked
/// again.
const TRIES: usize = 16;

/// The whole of a sandbox's view: links in it lead where they do for its programs.
const WHOLE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
/// A part of the host's view: a link in it could lead to what is the operator's.
const PART: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_SYMLINKS);

pub enum Reach {
    Whole(OwnedFd),
    /// Of a sandbox that has no root of its own.
    Parts(Vec<Part>),
}

pub struct Part {
    path: Vec<u8>,
    directory: OwnedFd,
    writable: bool,
}

impl Part {
    pub fn new(path: &Path, directory: OwnedFd, writable: bool) -> Self {
        Self { path: path.as_os_str().as_bytes().to_vec(), directory, writable }
    }
}

impl Reach {
    /// Where to begin, what is left of the path, and how it is to be resolved.
    fn begin<'a>(
        &'a self,
        path: &'a [u8],
    ) -> Outcome<(BorrowedFd<'a>, Cow<'a, [u8]>, ResolveFlags)> {
        let (directory, rest, how) = match self {
            Self::Whole(root) => (root, path, WHOLE),
            Self::Parts(parts) => {
                let part = parts.iter().find(|it| covers(&it.path, path));
                let part = part.ok_or_else(|| elsewhere(path, parts))?;
                let rest = path.get(part.path.len()..).unwrap_or_default();
                (&part.directory, rest, PART)
            }
        };
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let rest = if rest.is_empty() { Cow::Borrowed(&b"."[..]) } else { rest.into() };
        Ok((directory.as_fd(), rest, how))
    }

    pub fn open(&self, path: &[u8], flags: OFlags) -> Outcome<OwnedFd> {
        self.try_open(path, flags)?.map_err(|error| fault(path, error))
    }

    /// An error of the kernel's is told apart.
    pub fn try_open(&self, path: &[u8], flags: OFlags) -> Outcome<Result<OwnedFd, Errno>> {
        let (directory, rest, how) = self.begin(path)?;
        let flags = flags | OFlags::CLOEXEC;
        let mut opened = Err(Errno::AGAIN);
        for _ in 0..TRIES {
            opened = openat2(directory, &*rest, flags, Mode::empty(), how);
            if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        Ok(opened)
    }

    /// A directory, to be read.
    pub fn open_directory(&self, path: &[u8]) -> Outcome<OwnedFd> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)
    }

    /// The contents of a plain file. What else it is is found out before it is opened: to open a device or a fifo
    /// does something already.
    pub fn open_file(&self, path: &[u8]) -> Outcome<File> {
        let found = self.open(path, OFlags::PATH)?;
        let stat = fstat(&found).map_err(|error| fault(path, error))?;
        let kind = kind(FileType::from_raw_mode(stat.st_mode));
        if kind != FileKind::File {
            let shown = name_shown(path);
            let hint = match kind {
                FileKind::Directory => "list it: sandwatch files ls",
                FileKind::Link => "links are not followed in this sandbox; name the file itself",
                _ => "only plain files are opened",
            };
            return Err(Fault::invalid(format!("it is a {}: {shown}", kind.word())).hint(hint));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = openat(CWD, by_number(&found), flags, Mode::empty());
        Ok(File::from(opened.map_err(|error| fault(path, error))?))
    }

    /// Whether anything may be written there, as far as the host knows better than the kernel.
    pub fn writable(&self, path: &[u8]) -> Outcome<()> {
        let Self::Parts(parts) = self else { return Ok(()) };
        match parts.iter().find(|it| covers(&it.path, path)) {
            Some(part) if part.writable => Ok(()),
            Some(_) => Err(Fault::denied(format!("it is read-only: {}", name_shown(path)))),
            None => Err(elsewhere(path, parts)),
        }
    }
}

/// The name of an open file by which this process may open it anew.
pub fn by_number(of: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", of.as_raw_fd())
}

fn elsewhere(path: &[u8], parts: &[Part]) -> Fault {
    let own: Vec<String> = parts.iter().map(|it| name_shown(&it.path)).collect();
    Fault::denied(format!("not a file of the sandbox's own: {}", name_shown(path))).hint(format!(
        "a sandbox of grade landlock has no root of its own; look in {}",
        own.join(" or ")
    ))
}

pub fn kind(of: FileType) -> FileKind {
    match of {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice | FileType::BlockDevice => FileKind::Device,
        FileType::Unknown => FileKind::Other,
    }
}

/// What the kernel says about a path.
pub fn fault(path: &[u8], error: Errno) -> Fault {
    let shown = name_shown(path);
    match error {
        Errno::NOENT => Fault::absent(format!("no such file or directory: {shown}")),
        Errno::NOTDIR => Fault::absent(format!("not a directory: {shown}")),
        Errno::ACCESS | Errno::PERM => {
            Fault::denied(format!("the sandbox's user may not: {shown}"))
        }
        Errno::ROFS => Fault::denied(format!("it is read-only in the sandbox: {shown}")),
        Errno::LOOP | Errno::XDEV => {
            Fault::denied(format!("a link on the way is not followed: {shown}"))
        }
        Errno::NAMETOOLONG => Fault::invalid(format!("the name is too long: {shown}")),
        error => Fault::io(shown, &error.into()),
    }
}
