//! A layer that takes the place of another: filled aside and put there by a rename, so that whoever is killed leaves the
//! old one or the new one. What of the old one was not asked for anew is moved over; a note says what that is, and who
//! comes next finishes it.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, FlockOperation, RenameFlags, flock, renameat_with};

use super::{
    super::{apply::seen::stat, namespaces::BOX, remove, upper},
    sent::noting,
    unread::Unread,
};
use crate::{
    base::fault::{Fault, Outcome},
    model::change::covers,
};

/// Among the sandbox's files: what lies over others, as overlays have it; one that is being filled; one that is whole.
pub const ABOVE: &str = "upper";
const FRESH: &str = "pulling";
const READY: &str = "placing";
pub const WORKSPACE: &str = "workspace";
/// In a whole one: what was asked for anew, and modes that moving the rest takes away.
const NOTE: &str = "names";
const LOCK: &str = "pulling.lock";

/// The right to put a layer into a sandbox's directory, or to read it while it stays; it ends with this, or with the
/// process.
#[derive(Debug)]
pub struct Held(File);

/// Waits for who is at it.
pub fn hold(ground: &Path, operation: FlockOperation) -> Outcome<Held> {
    let path = ground.join(LOCK);
    let mut options = File::options();
    let opened = options.write(true).create(true).truncate(false).open(&path);
    let held = opened.and_then(|it| {
        flock(&it, operation)?;
        Ok(Held(it))
    });
    held.map_err(|error| Fault::io(format!("locking {}", path.display()), &error))
}

/// Waits until the layer is whole and nobody replaces it.
pub fn settled(ground: &Path) -> Outcome<Held> {
    let held = hold(ground, FlockOperation::LockExclusive)?;
    settle(&root(ground)?)?;
    drop(held);
    hold(ground, FlockOperation::LockShared)
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing would not do: a process that is just being started may hold a copy. It can't fail.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

pub fn root(ground: &Path) -> Outcome<PathBuf> {
    let real = fs::canonicalize(ground);
    let real = real.map_err(|error| Fault::io(format!("opening {}", ground.display()), &error))?;
    Ok(real.join(BOX))
}

/// A layer that is being filled. Without being placed it leaves nothing.
pub struct Fresh {
    root: PathBuf,
    at: PathBuf,
    /// Names at its top that are asked for anew; `None` = all.
    names: Option<Vec<Vec<u8>>>,
    _alone: Held,
}

impl Fresh {
    /// Waits until nobody else is at it.
    pub fn begin(ground: &Path, names: Option<Vec<Vec<u8>>>) -> Outcome<Self> {
        let alone = hold(ground, FlockOperation::LockExclusive)?;
        let root = root(ground)?;
        settle(&root)?;
        let at = root.join(FRESH);
        remove::discard(&at)?;
        let fresh = Self { root, at, names, _alone: alone };
        let layer = fresh.layer();
        fs::create_dir_all(&layer)
            .map_err(|error| Fault::io(format!("making {}", layer.display()), &error))?;
        Ok(fresh)
    }

    pub fn layer(&self) -> PathBuf {
        self.at.join(WORKSPACE)
    }

    /// Makes it the layer, with what could not be brought into it.
    pub fn place(&self, mut unread: Unread) -> Outcome<()> {
        if let Some(names) = &self.names {
            let old = self.root.join(ABOVE);
            for (path, why) in Unread::of(&old) {
                if !names.iter().any(|it| covers(it, &path)) {
                    unread.add(&path, &why);
                }
            }
            let note = note(names, &old.join(WORKSPACE)).map_err(noting)?;
            fs::write(self.at.join(NOTE), note).map_err(noting)?;
        }
        unread.write(&self.at)?;
        let ready = self.root.join(READY);
        fs::rename(&self.at, &ready).map_err(|error| placing(&ready, error))?;
        settle(&self.root)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Err(fault) = remove::discard(&self.at) {
            tracing::warn!(%fault, "a layer that was not finished stays until the next");
        }
        // Whoever still reads what was there before is told so, and does not take half of it for all.
        drop(remove::empty_trash(&self.at));
    }
}

fn placing(path: &Path, error: impl Into<io::Error>) -> Fault {
    Fault::io(format!("placing {}", path.display()), &error.into())
}

/// Names as they are, and modes of directories that can't be moved with them.
fn note(names: &[Vec<u8>], old: &Path) -> io::Result<Vec<u8>> {
    let mut note = Vec::new();
    for name in names {
        note.extend([b"n ", name.as_slice(), &[0]].concat());
    }
    for item in listed(old)? {
        let (facts, name) = (item.metadata()?, item.file_name());
        let mode = facts.permissions().mode() & 0o777;
        if facts.is_dir() && mode & 0o700 != 0o700 && !names.iter().any(|it| it == name.as_bytes())
        {
            note.extend(format!("{mode:o} ").bytes());
            note.extend([name.as_bytes(), &[0]].concat());
        }
    }
    Ok(note)
}

fn listed(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed?.collect(),
    }
}

/// Finishes what somebody began to place. The lock is held.
fn settle(root: &Path) -> Outcome<()> {
    let (ready, place) = (root.join(READY), root.join(ABOVE));
    if !ready.exists() {
        return Ok(());
    }
    if let Some(note) = read(&ready.join(NOTE))? {
        move_over(&note, &place.join(WORKSPACE), &ready.join(WORKSPACE))?;
    }
    remove::discard(&place)?;
    fs::rename(&ready, &place).map_err(|error| placing(&place, error))?;
    drop(remove::empty_trash(&place));
    Ok(())
}

fn read(note: &Path) -> Outcome<Option<Vec<u8>>> {
    match fs::read(note) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::io(format!("reading {}", note.display()), &error)),
        Ok(text) => Ok(Some(text)),
    }
}

/// Moves what was not asked for anew from one layer to the next. Names only: no link is followed.
fn move_over(note: &[u8], from: &Path, to: &Path) -> Outcome<()> {
    let (mut fetched, mut modes) = (Vec::new(), Vec::new());
    for line in note.split(|it| *it == 0) {
        let Some(at) = line.iter().position(|it| *it == b' ') else { continue };
        let (word, name) =
            (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default());
        match std::str::from_utf8(word).ok().and_then(|it| u32::from_str_radix(it, 8).ok()) {
            Some(mode) => modes.push((name, mode)),
            None => fetched.push(name),
        }
    }
    let moved = || -> io::Result<()> {
        let items = listed(from)?;
        if !items.is_empty() {
            let (old, new) = (open(from)?, open(to)?);
            for item in items {
                let name = item.file_name();
                if fetched.contains(&name.as_bytes()) {
                    continue;
                }
                let kind = stat(old.as_fd(), name.as_bytes())?;
                if kind.is_some_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Directory)
                {
                    // Its owner may have to be allowed to move it.
                    let mode = item.metadata()?.permissions().mode() | 0o700;
                    fs::set_permissions(item.path(), Permissions::from_mode(mode))?;
                }
                renameat_with(&old, &name, &new, &name, RenameFlags::NOREPLACE)?;
            }
        }
        for (name, mode) in modes {
            let path = to.join(std::ffi::OsStr::from_bytes(name));
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        Ok(())
    };
    moved().map_err(|error| placing(to, error))
}

fn open(directory: &Path) -> io::Result<std::os::fd::OwnedFd> {
    upper::root(directory).map_err(|fault| io::Error::other(fault.to_string()))
}
