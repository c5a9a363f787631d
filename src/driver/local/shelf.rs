//! Keeps the files of a sandbox on a shelf: its own directories and upper layers, merged with those of the
//! snapshot it stands on, so that every snapshot is one layer over the host and the real workspace, however long
//! its line. What lies on a shelf is never written to again, so files that did not change are shared by hard links.
//!
//! The files are a hostile program's: everything goes by descriptors and single names, and no link is followed.
//! Its programs are held still meanwhile.

mod source;

use std::{
    collections::{HashMap, HashSet},
    ffi::{CStr, CString},
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, chown},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags, chmodat, chownat, fchmod,
        fchown, fsetxattr, fstat, futimens, ioctl_ficlone, linkat, mkdirat, mknodat, openat,
        readlinkat, statat, symlinkat, utimensat,
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
        clock,
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
    given_up: &AtomicBool,
) -> Outcome<Taken> {
    let mut keeper = Keeper {
        take,
        owner,
        given_up,
        now: clock::wall().0.div_euclid(1000),
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
    // One that has gone meanwhile shares nothing.
    let like = like.map(|it| it.dir.join(BOX));
    keeper.volumes(&roots, &place, like.as_deref()).map_err(|error| {
        let at = visible(&String::from_utf8_lossy(&keeper.path));
        match error.raw_os_error() {
            Some(libc::ENAMETOOLONG) => Fault::failed(format!("keeping {at}: it lies too deep")),
            Some(libc::ECANCELED) => Fault::failed("nobody waits for the snapshot any more"),
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

struct Keeper<'a> {
    take: Take,
    owner: Owner,
    /// Set when nobody waits for it any more.
    given_up: &'a AtomicBool,
    /// When it began, in seconds since 1970.
    now: i64,
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

/// One directory of a level, and the first layer that has it.
struct Spot<'a> {
    number: usize,
    own: bool,
    name: &'a CStr,
    depth: usize,
    stat: &'a Stat,
}

impl Keeper<'_> {
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
            let last = number + 1 == level.layers.len();
            for name in names(layer.as_fd())? {
                self.files += 1;
                if self.given_up.load(Ordering::Relaxed) {
                    return Err(Errno::CANCELED.into());
                }
                if self.files > SNAPSHOT_FILES_MAX {
                    return Err(Errno::TOOBIG.into());
                }
                if seen.contains(&name) {
                    continue;
                }
                let before = self.path.len();
                self.path.push(b'/');
                self.path.extend_from_slice(name.to_bytes());
                self.entry(level, number, &name, depth)?;
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
        name: &CStr,
        depth: usize,
    ) -> io::Result<()> {
        let Some(layer) = level.layers.get(number) else { return Ok(()) };
        let own = level.own && number == 0;
        let stat = statat(layer, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let at_rest = !own || self.take == Take::Links;
        if at_rest
            && !matches!(kind, FileType::Directory | FileType::Socket)
            && self.link(layer.as_fd(), name, level.to)?
        {
            if own && kind == FileType::RegularFile && stat.st_nlink == 1 {
                // Its only one, once the sandbox is gone.
                self.bytes += stat.st_blocks as u64 * 512;
            }
            return Ok(());
        }
        match kind {
            FileType::Directory => {
                self.subdirectory(level, &Spot { number, own, name, depth, stat: &stat })
            }
            FileType::Socket => {
                self.left_out += 1;
                Ok(())
            }
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

    /// Goes into a directory, which those below may show through.
    fn subdirectory(&mut self, level: &Level<'_>, spot: &Spot<'_>) -> io::Result<()> {
        let Spot { number, own, name, depth, stat } = *spot;
        mkdirat(level.to, name, Mode::from_raw_mode(0o700))?;
        let to = openat(level.to, name, LISTED, Mode::empty())?;
        let (mut layers, mut hides) = (Vec::new(), false);
        for layer in level.layers.iter().skip(number) {
            match statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(it) if FileType::from_raw_mode(it.st_mode) == FileType::Directory => {
                    layers.push(listed(layer.as_fd(), name)?);
                }
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
                // A file, or a whiteout: what lies below it is not seen.
                Ok(_) => hides = true,
            }
            hides |= layers.last().is_some_and(|it| is_opaque(it.as_fd()));
            if hides {
                break;
            }
        }
        let like = level.like.and_then(|it| openat(it, name, LISTED, Mode::empty()).ok());
        let inner =
            Level { own, layers: &layers, to: to.as_fd(), like: like.as_ref().map(AsFd::as_fd) };
        self.directory(&inner, depth + 1)?;
        // What hid something below it in a line of layers hides it in the one layer too.
        if hides {
            fsetxattr(&to, OPAQUE, b"y", XattrFlags::empty())?;
        }
        match layers.first() {
            Some(top) => self.dress(top.as_fd(), to.as_fd(), stat),
            None => Ok(()),
        }
    }

    /// Shares what nobody writes to any more; `false` where the file system counts no further names of it, or
    /// it lies on another one.
    fn link(&self, from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>) -> io::Result<bool> {
        match linkat(from, name, to, name, AtFlags::empty()) {
            Err(Errno::MLINK | Errno::XDEV) => Ok(false),
            linked => {
                linked?;
                self.own(to, name)?;
                Ok(true)
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
            Some(like) if source::is_on(like, from, name, stat) => {
                linkat(like, name, level.to, name, AtFlags::empty()).is_ok()
            }
            _ => false,
        };
        if !shared {
            self.bytes += self.copy(from, name, stat, level.to)?;
        }
        let known = self.links.contains_key(&number);
        if stat.st_nlink > 1 && (known || self.links.len() < SNAPSHOT_LINKS_MAX) {
            let directory = level.to.try_clone_to_owned()?;
            self.links.insert(number, First { directory, name: name.to_owned() });
        }
        Ok(())
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
        source::note(&copy, stat, self.now);
        self.dress(source.as_fd(), copy.as_fd(), stat)?;
        Ok(if cloned { 0 } else { fstat(&copy)?.st_blocks as u64 * 512 })
    }

    /// Gives a copy the owner, mode, attributes and times of what it is a copy of.
    fn dress(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
        for (name, value) in attributes(from)? {
            if name.as_c_str() == source::SOURCE {
                continue;
            }
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

#[cfg(test)]
mod tests;
