//! What differs between two views of a tree, each of layers that lie over one another: a sandbox's upper layer, a
//! snapshot, the directory of the host. An upper is written by a hostile program at the same time, so everything
//! goes by descriptors and single names: no link is followed, no mount crossed, nothing but plain files is opened.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
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
pub const OPAQUE: &CStr = c"user.overlay.opaque";
/// Below a root: no link is followed on the way, and no other file system entered.
pub const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// A path that may differ; files of the same mode and size still have to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub old: Option<Node>,
    /// The layer of the old view that has it.
    pub old_at: usize,
    pub new: Option<Node>,
    pub new_at: usize,
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
    open_root(path).map_err(|error| Fault::io(format!("opening {}", path.display()), &error.into()))
}

fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// Directories that lie over one another and show one tree, top first. What a sandbox may still be writing comes
/// first, the directory of the host or nothing last.
#[derive(Debug)]
pub struct View {
    layers: Vec<OwnedFd>,
}

impl View {
    /// Opens those that are there.
    pub fn open(paths: impl IntoIterator<Item = PathBuf>) -> Outcome<Self> {
        let mut layers = Vec::new();
        for path in paths {
            match open_root(&path) {
                Ok(layer) => layers.push(layer),
                Err(Errno::NOENT) => {}
                Err(error) => {
                    return Err(Fault::io(format!("opening {}", path.display()), &error.into()));
                }
            }
        }
        Ok(Self { layers })
    }

    /// What a path of this layer may be resolved below.
    pub fn layer(&self, at: usize) -> Result<BorrowedFd<'_>, Errno> {
        self.layers.get(at).map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    pub fn layers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.layers.iter().map(AsFd::as_fd)
    }

    pub fn len(&self) -> usize {
        self.layers.len()
    }
}

/// Walks two views beside each other; where they lie over the same directories, those are not read.
pub fn walk(new: &View, old: &View, look: Look) -> Outcome<Found> {
    let mut walk = Walk { found: Found::default(), look, path: Vec::new(), seen: 0, bytes: 0 };
    let level = |view: &View| -> Result<Vec<Here>, Stop> {
        let layers = view.layers().enumerate();
        layers.map(|(at, it)| Here::of(at, it.try_clone_to_owned()?)).collect()
    };
    let mut walked = || {
        let (new, old) = (level(new)?, level(old)?);
        walk.directory(&new, &old, 0)
    };
    match walked() {
        Ok(()) => Ok(walk.found),
        Err(Stop::Over(fault)) => Err(fault),
        Err(Stop::Here(error)) => Err(Fault::io("looking for changes", &io::Error::from(error))),
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

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Over(Fault::io("looking for changes", &error))
    }
}

/// One directory in one layer of a view.
struct Here {
    /// Which layer.
    at: usize,
    directory: OwnedFd,
    /// The same directory in both views is one.
    itself: (u64, u64),
}

impl Here {
    fn of(at: usize, directory: OwnedFd) -> Result<Self, Stop> {
        let stat = rustix::fs::fstat(&directory).map_err(io::Error::from)?;
        Ok(Self { at, directory, itself: (stat.st_dev, stat.st_ino) })
    }
}

/// What a view shows at a name.
struct Shown {
    node: Node,
    at: usize,
    /// How far down in the list of layers it was found.
    depth: usize,
}

struct Walk {
    found: Found,
    look: Look,
    path: Vec<u8>,
    seen: usize,
    bytes: usize,
}

impl Walk {
    /// One directory, in the layers of both views that show it.
    fn directory(&mut self, new: &[Here], old: &[Here], depth: usize) -> Result<(), Stop> {
        self.bounded(depth)?;
        let shared = new.iter().rev().zip(old.iter().rev());
        let shared = shared.take_while(|(one, two)| one.itself == two.itself).count();
        let mut names = BTreeSet::new();
        for side in [new, old] {
            for here in side.iter().take(side.len() - shared) {
                names.extend(self.names(here.directory.as_fd())?);
            }
        }
        for name in names {
            self.at(&name, |walk| {
                let (now, before) = (walk.shown(new, &name)?, walk.shown(old, &name)?);
                walk.entry(new, old, &name, (now, before), depth)
            })?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        new: &[Here],
        old: &[Here],
        name: &CStr,
        (now, before): (Option<Shown>, Option<Shown>),
        depth: usize,
    ) -> Result<(), Stop> {
        let pair = Pair {
            old: before.as_ref().map(|it| it.node),
            old_at: before.as_ref().map_or(0, |it| it.at),
            new: now.as_ref().map(|it| it.node),
            new_at: now.as_ref().map_or(0, |it| it.at),
            unread: None,
        };
        self.visit(pair, name, |walk| {
            let now = walk.below(new, name, now.as_ref())?;
            let before = walk.below(old, name, before.as_ref())?;
            if now.is_empty() && before.is_empty() {
                return Ok(());
            }
            walk.directory(&now, &before, depth + 1)
        })
    }

    /// What a view shows at a name: the first that has it decides.
    fn shown(&self, view: &[Here], name: &CStr) -> Result<Option<Shown>, Stop> {
        for (depth, here) in view.iter().enumerate() {
            if let Some(stat) = self.stat(here.directory.as_fd(), name)? {
                let shown = Shown { node: node(&stat), at: here.at, depth };
                return Ok((!is_whiteout(&stat)).then_some(shown));
            }
        }
        Ok(None)
    }

    /// The layers that show what lies in a directory: down to one that hides those below it.
    fn below(&self, view: &[Here], name: &CStr, shown: Option<&Shown>) -> Result<Vec<Here>, Stop> {
        let mut inner = Vec::new();
        let Some(first) = shown.filter(|it| is_directory(Some(it.node))) else { return Ok(inner) };
        for here in view.iter().skip(first.depth) {
            match self.stat(here.directory.as_fd(), name)? {
                None => continue,
                Some(it) if is_directory(Some(node(&it))) => {}
                Some(_) => break,
            }
            let Some(opened) = self.open(here.directory.as_fd(), name)? else { break };
            let opaque = is_opaque(opened.as_fd());
            inner.push(Here::of(here.at, opened)?);
            if opaque {
                break;
            }
        }
        Ok(inner)
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

    /// `None` when it is no directory any more.
    fn open(&self, directory: BorrowedFd<'_>, name: &CStr) -> Result<Option<OwnedFd>, Stop> {
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

pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0_u8; 4];
    let read = rustix::fs::fgetxattr(directory, OPAQUE, &mut value[..]);
    read.is_ok_and(|it| value.get(..it) == Some(b"y"))
}

#[cfg(test)]
mod tests;
