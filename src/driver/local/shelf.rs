//! Keeps the files of a sandbox on a shelf: its own directories and upper layers, merged with those of the
//! snapshot it stands on, so that every snapshot is one layer over the host and the real workspace, however long
//! its line. What lies on a shelf is never written to again, so files that did not change are shared by hard links.
//!
//! The files are a hostile program's: everything goes by descriptors and single names, and no link is followed.
//! Its programs are held still meanwhile.

use std::{
    collections::{HashMap, HashSet},
    ffi::{CStr, CString},
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, chown},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, StatxFlags, Uid, XattrFlags, chmodat,
        chownat, fchmod, fchown, fsetxattr, fstat, futimens, ioctl_ficlone, linkat, mkdirat,
        mknodat, openat, readlinkat, statat, statx, symlinkat, utimensat,
    },
    io::Errno,
};

use super::{
    copy::{attributes, contents, readable, times},
    namespaces::BOX,
    upper::{OPAQUE, is_opaque, is_whiteout},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{SNAPSHOT_DEPTH_MAX, SNAPSHOT_FILES_MAX, SNAPSHOT_LINKS_MAX},
        text::visible,
    },
    driver::{Shelf, Taken},
};

/// Directories of a sandbox's own that are kept; `/run` is of its running programs.
pub const KEPT: [&str; 3] = ["home", "var", "tmp"];
/// The layers over directories of the host, and over the workspace.
pub const UPPER: &str = "upper";

const ITSELF: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const LISTED: OFlags = OFlags::RDONLY.union(ITSELF);
/// What to do with the files of the sandbox itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// They will be written to again.
    Copies,
    /// Nothing writes to them any more.
    Links,
}

/// Whose files on a shelf are, where that is not who writes them.
pub type Owner = Option<(u32, u32)>;

/// Keeps what lies in the sandbox's directory `ground`, which stands on `below`, on an empty shelf; `like` is an
/// earlier shelf of the same line.
pub fn keep(
    ground: &Path,
    below: Option<&Shelf>,
    shelf: &Shelf,
    like: Option<&Shelf>,
    take: Take,
    owner: Owner,
) -> Outcome<Taken> {
    let since = like
        .map(|it| born(&it.dir.join(BOX)))
        .transpose()
        .map_err(|error| Fault::io("looking at the snapshot before", &error))?;
    let mut keeper = Keeper {
        take,
        owner,
        unchanged_before: since.flatten(),
        path: Vec::new(),
        bytes: 0,
        files: 0,
        links: HashMap::new(),
        left_out: 0,
    };
    let place = shelf.dir.join(BOX);
    let made = [place.clone(), place.join(UPPER)].into_iter().try_for_each(|directory| {
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        owner.map_or(Ok(()), |(user, group)| chown(&directory, Some(user), Some(group)))
    });
    made.map_err(|error| Fault::io(format!("making {}", place.display()), &error))?;
    let roots = [Some(ground), below.map(|it| it.dir.as_path())];
    let roots: Vec<_> = roots.into_iter().flatten().map(|it| it.join(BOX)).collect();
    let like = like.map(|it| it.dir.join(BOX));
    keeper.volumes(&roots, &place, like.as_deref()).map_err(|error| {
        let at = visible(&String::from_utf8_lossy(&keeper.path));
        match error.raw_os_error() {
            Some(libc::ENAMETOOLONG) => Fault::failed(format!("keeping {at}: it lies too deep")),
            Some(libc::E2BIG) => {
                Fault::failed(format!("a sandbox of more than {SNAPSHOT_FILES_MAX} changed files"))
            }
            _ => Fault::io(format!("keeping {at}"), &error),
        }
    })?;
    let notes = (keeper.left_out > 0).then(|| format!("sockets are not kept: {}", keeper.left_out));
    Ok(Taken {
        size_bytes: Some(keeper.bytes),
        reference: None,
        notes: notes.into_iter().collect(),
    })
}

struct Keeper {
    take: Take,
    owner: Owner,
    /// When the earlier shelf was begun, its programs held still already: what did not change since is on it.
    unchanged_before: Option<(i64, i64)>,
    /// Where it is, for who reads of a failure.
    path: Vec<u8>,
    /// On disk, beside what was there before.
    bytes: u64,
    files: usize,
    /// Of files with several names: where the first one lies now.
    links: HashMap<(u64, u64), First>,
    left_out: u64,
}

/// The first name of a file, in an open directory of the shelf.
struct First {
    directory: OwnedFd,
    name: CString,
}

/// One directory in the layers that show it, top first, and where it goes.
struct Level<'a> {
    /// Whether the first of `layers` is the sandbox's own and not a shelf's.
    own: bool,
    layers: &'a [OwnedFd],
    to: BorrowedFd<'a>,
    like: Option<BorrowedFd<'a>>,
}

impl Keeper {
    fn volumes(&mut self, roots: &[PathBuf], to: &Path, like: Option<&Path>) -> io::Result<()> {
        let mut names: Vec<String> = KEPT.iter().map(ToString::to_string).collect();
        let mut layered = HashSet::new();
        for root in roots {
            match fs::read_dir(root.join(UPPER)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                listed => {
                    for item in listed? {
                        layered.insert(item?.file_name().to_string_lossy().into_owned());
                    }
                }
            }
        }
        names.extend(layered.into_iter().map(|it| format!("{UPPER}/{it}")));
        for name in names {
            name.as_bytes().clone_into(&mut self.path);
            let mut layers = Vec::new();
            let mut own = false;
            for (number, root) in roots.iter().enumerate() {
                match rustix::fs::open(root.join(&name), LISTED, Mode::empty()) {
                    Ok(layer) => {
                        own |= number == 0;
                        layers.push(layer);
                    }
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let Some(top) = layers.first() else { continue };
            let stat = fstat(top)?;
            let place = to.join(&name);
            fs::DirBuilder::new().mode(0o700).create(&place)?;
            let place = rustix::fs::open(&place, LISTED, Mode::empty())?;
            let like =
                like.and_then(|it| rustix::fs::open(it.join(&name), LISTED, Mode::empty()).ok());
            let level = Level {
                own,
                layers: &layers,
                to: place.as_fd(),
                like: like.as_ref().map(AsFd::as_fd),
            };
            self.directory(&level, 0)?;
            self.dress(top.as_fd(), place.as_fd(), &stat)?;
        }
        Ok(())
    }

    fn directory(&mut self, level: &Level<'_>, depth: usize) -> io::Result<()> {
        if depth >= SNAPSHOT_DEPTH_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        let mut seen: HashSet<CString> = HashSet::new();
        for (number, layer) in level.layers.iter().enumerate() {
            let own = level.own && number == 0;
            let last = number + 1 == level.layers.len();
            for name in names(layer.as_fd())? {
                self.files += 1;
                if self.files > SNAPSHOT_FILES_MAX {
                    return Err(Errno::TOOBIG.into());
                }
                if seen.contains(&name) {
                    continue;
                }
                let before = self.path.len();
                self.path.push(b'/');
                self.path.extend_from_slice(name.to_bytes());
                self.entry(level, number, own, &name, depth)?;
                self.path.truncate(before);
                if !last {
                    seen.insert(name);
                }
            }
            if is_opaque(layer.as_fd()) {
                break;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        level: &Level<'_>,
        number: usize,
        own: bool,
        name: &CStr,
        depth: usize,
    ) -> io::Result<()> {
        let Some(layer) = level.layers.get(number) else { return Ok(()) };
        let stat = statat(layer, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                mkdirat(level.to, name, Mode::from_raw_mode(0o700))?;
                let to = openat(level.to, name, LISTED, Mode::empty())?;
                let mut layers = Vec::new();
                for layer in level.layers.iter().skip(number) {
                    match statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(it) if FileType::from_raw_mode(it.st_mode) == FileType::Directory => {
                            layers.push(listed(layer.as_fd(), name)?);
                        }
                        Err(Errno::NOENT) => continue,
                        Err(error) => return Err(error.into()),
                        // A file, or a whiteout: what lies below it is not seen.
                        Ok(_) => break,
                    }
                    if layers.last().is_some_and(|it| is_opaque(it.as_fd())) {
                        break;
                    }
                }
                let like = level.like.and_then(|it| openat(it, name, LISTED, Mode::empty()).ok());
                let inner = Level {
                    own,
                    layers: &layers,
                    to: to.as_fd(),
                    like: like.as_ref().map(AsFd::as_fd),
                };
                self.directory(&inner, depth + 1)?;
                // Opaque below is opaque here: the merged one hides as much.
                if layers.iter().any(|it| is_opaque(it.as_fd())) {
                    fsetxattr(&to, OPAQUE, b"y", XattrFlags::empty())?;
                }
                match layers.first() {
                    Some(top) => self.dress(top.as_fd(), to.as_fd(), &stat),
                    None => Ok(()),
                }
            }
            FileType::Socket => {
                self.left_out += 1;
                Ok(())
            }
            _ if !own || self.take == Take::Links => self.link(layer.as_fd(), name, level.to),
            FileType::RegularFile => self.file(layer.as_fd(), name, &stat, level),
            FileType::Symlink => {
                let target = readlinkat(layer, name, Vec::new())?;
                symlinkat(target, level.to, name)?;
                self.own(level.to, name)?;
                Ok(utimensat(level.to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            FileType::CharacterDevice if is_whiteout(&stat) => {
                mknodat(level.to, name, FileType::CharacterDevice, Mode::empty(), 0)?;
                self.own(level.to, name)
            }
            FileType::Fifo => {
                mknodat(level.to, name, FileType::Fifo, Mode::empty(), 0)?;
                self.own(level.to, name)?;
                // Not by the umask's leave; on a shelf nobody puts a link in the way.
                let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
                chmodat(level.to, name, mode, AtFlags::empty())?;
                Ok(utimensat(level.to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            _ => {
                self.left_out += 1;
                Ok(())
            }
        }
    }

    /// A file that nobody writes to any more.
    fn link(&self, from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>) -> io::Result<()> {
        match linkat(from, name, to, name, AtFlags::empty()) {
            // So many snapshots share it that the file system counts no further.
            Err(Errno::MLINK) => {
                let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
                self.copy(from, name, &stat, to).map(drop)
            }
            linked => {
                linked?;
                self.own(to, name)
            }
        }
    }

    /// A file of a sandbox that goes on.
    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        level: &Level<'_>,
    ) -> io::Result<()> {
        let number = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.links.get(&number)
            && linkat(&first.directory, first.name.as_c_str(), level.to, name, AtFlags::empty())
                .is_ok()
        {
            return Ok(());
        }
        let shared = match level.like {
            Some(like) if self.is_on(like, name, stat) => {
                linkat(like, name, level.to, name, AtFlags::empty()).is_ok()
            }
            _ => false,
        };
        if !shared {
            self.bytes += self.copy(from, name, stat, level.to)?;
        }
        if stat.st_nlink > 1 && self.links.len() < SNAPSHOT_LINKS_MAX {
            let directory = level.to.try_clone_to_owned()?;
            self.links.insert(number, First { directory, name: name.to_owned() });
        }
        Ok(())
    }

    /// Whether the earlier shelf has a file as it is.
    fn is_on(&self, like: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> bool {
        // The one time that a program can't set as it likes; the rest is for a clock that was set back.
        let changed = (stat.st_ctime, stat.st_ctime_nsec.cast_signed());
        if self.unchanged_before.is_none_or(|since| changed >= since) {
            return false;
        }
        let facts = |it: &Stat| (it.st_mode & !0o7000, it.st_size, it.st_mtime, it.st_mtime_nsec);
        let kept = statat(like, name, AtFlags::SYMLINK_NOFOLLOW);
        kept.is_ok_and(|it| facts(&it) == facts(stat))
    }

    /// Copies a file with all it has; how much it takes on disk.
    fn copy(
        &self,
        from: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        to: BorrowedFd<'_>,
    ) -> io::Result<u64> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = readable(from, name, flags)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let copy = openat(to, name, flags, Mode::from_raw_mode(0o600))?;
        let cloned = stat.st_size > 0 && ioctl_ficlone(&copy, &source).is_ok();
        if !cloned {
            contents(&source, &copy, stat.st_size as u64)?;
        }
        self.dress(source.as_fd(), copy.as_fd(), stat)?;
        Ok(if cloned { 0 } else { fstat(&copy)?.st_blocks as u64 * 512 })
    }

    /// Gives a copy the owner, mode, attributes and times of what it is a copy of.
    fn dress(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
        for (name, value) in attributes(from)? {
            match fsetxattr(to, name.as_c_str(), &value, XattrFlags::empty()) {
                // Lists of rights name users that the shelf does not know.
                Err(Errno::INVAL | Errno::OPNOTSUPP) if !name.to_bytes().starts_with(b"user.") => {}
                set => set?,
            }
        }
        if let Some((user, group)) = self.owner {
            fchown(to, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o1777))?;
        Ok(futimens(to, &times(stat))?)
    }

    fn own(&self, directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        if let Some((user, group)) = self.owner {
            let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
            chownat(directory, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }
}

fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for item in Dir::read_from(directory)? {
        let name = item?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
        if names.len() > SNAPSHOT_FILES_MAX {
            return Err(Errno::TOOBIG.into());
        }
    }
    Ok(names)
}

fn listed(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    readable(directory, name, LISTED)
}

/// When a directory was made; `None` where the file system does not know.
fn born(directory: &Path) -> io::Result<Option<(i64, i64)>> {
    let opened = rustix::fs::open(directory, LISTED, Mode::empty())?;
    let facts = statx(&opened, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME)?;
    let known = facts.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(known.then(|| (facts.stx_btime.tv_sec, i64::from(facts.stx_btime.tv_nsec))))
}

#[cfg(test)]
mod tests;
