//! Unpacked images, each in a directory named by what it is the sum of. A directory gets that name when all of it is
//! there; whoever unpacks one meanwhile holds a lock on it, so that two do not do the same work, and what somebody
//! left who was killed is known by its free lock.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, Timestamps, flock, futimens, syncfs},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{digest::Digest, manifest::Config};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::{IMAGE_TEXT_BYTES_MAX, IMAGE_UNUSED_AGE_MAX, IMAGES_UNUSED_MAX, RECORD_BYTES_MAX},
    },
    driver::local::remove,
};

/// Beside the sandboxes' directories; can't be an id, which never starts with a dot.
const IMAGES: &str = ".images";
/// In front of a key as long as not all is there.
const UNFINISHED: &str = ".making-";
/// What a file was the last time: keys by the sums of its size and times.
const KNOWN: &str = ".known";
const ROOT: &str = "root";
const ABOUT: &str = "about.json";
/// A file that was at rest for so long shows by its times when it is written to again, in milliseconds: clocks of
/// file systems are coarse.
const AT_REST_AFTER: i64 = 2_000;

/// What is kept beside the files of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub config: Config,
    /// Devices and the like.
    pub left_out: u64,
}

/// All unpacked images of one hub.
pub struct Cache {
    dir: PathBuf,
    /// Shared: while this lives, nothing is pruned.
    _held: OwnedFd,
}

fn fault(doing: &str, path: &Path, error: &io::Error) -> Fault {
    Fault::io(format!("{doing} {}", path.display()), error)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn make(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

impl Cache {
    /// The one for sandboxes in this directory.
    pub fn of(sandboxes: &Path) -> Outcome<Self> {
        let dir = sandboxes.join(IMAGES);
        let held = fs::canonicalize(sandboxes).and_then(|real| {
            let dir = real.join(IMAGES);
            make(&dir)?;
            make(&dir.join(KNOWN))?;
            let held = open(&dir)?;
            flock(&held, FlockOperation::LockShared)?;
            Ok((dir, held))
        });
        let (dir, held) = held.map_err(|error| fault("opening", &dir, &error))?;
        Ok(Self { dir, _held: held })
    }

    /// The files of an image and what is known of it, if it is there; it counts as used from now on.
    pub fn find(&self, key: &str) -> Option<(PathBuf, About)> {
        let place = self.dir.join(key);
        let text = fs::read(place.join(ABOUT)).ok()?;
        let about = serde_json::from_slice(&text).ok()?;
        let used = open(&place).and_then(|it| Ok(futimens(&it, &now())?));
        if let Err(error) = used {
            tracing::warn!(key, %error, "when an image was used is not noted");
        }
        Some((place.join(ROOT), about))
    }

    /// Makes an image by filling an empty directory, unless another has done so first.
    pub fn make(
        &self,
        key: &str,
        fill: impl FnOnce(&OwnedFd) -> Outcome<About>,
    ) -> Outcome<(PathBuf, About)> {
        let (making, place) = (self.dir.join(format!("{UNFINISHED}{key}")), self.dir.join(key));
        let broken = |error: io::Error| fault("unpacking to", &place, &error);
        let lock = loop {
            if let Some(found) = self.find(key) {
                return Ok(found);
            }
            // None = another has just finished or given up, or somebody was killed here.
            if let Some(lock) = begin(&making).map_err(broken)? {
                break lock;
            }
        };
        let filled = Self::fill(&making, fill);
        let placed = filled.and_then(|about| {
            if place.exists() {
                // One whose description can't be read.
                remove::at_once(&place)?;
            }
            fs::rename(&making, &place).map_err(broken)?;
            Ok(about)
        });
        if placed.is_err() {
            // The first fault is the one to tell; what can't be deleted now, a prune finds.
            drop(remove::at_once(&making));
        }
        drop(lock);
        Ok((place.join(ROOT), placed?))
    }

    fn fill(making: &Path, fill: impl FnOnce(&OwnedFd) -> Outcome<About>) -> Outcome<About> {
        let broken = |error: io::Error| fault("unpacking to", making, &error);
        let root = making.join(ROOT);
        let opened = fs::DirBuilder::new().mode(0o755).create(&root).and_then(|()| open(&root));
        let about = fill(&opened.map_err(broken)?)?;
        let written = serde_json::to_vec(&about).map_err(io::Error::other).and_then(|text| {
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create_new(true).mode(0o600);
            io::Write::write_all(&mut options.open(making.join(ABOUT))?, &text)?;
            // Its name tells that all is there, also after a power cut.
            Ok(syncfs(File::open(making)?)?)
        });
        written.map_err(broken)?;
        Ok(about)
    }

    /// A file of its own that nobody can name.
    pub fn nameless(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::open(&self.dir, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => Ok(file.into()),
            // Some file systems have no such files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                let name = format!(".packed-{}", crate::base::id::SandboxId::random());
                let path = self.dir.join(name);
                let mut options = fs::OpenOptions::new();
                let file = options.read(true).write(true).create_new(true).mode(0o600);
                let file = file.open(&path)?;
                fs::remove_file(path)?;
                Ok(file)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The key of a file that is as it was when it was remembered.
    pub fn known(&self, file: &File) -> Option<String> {
        let text = fs::read(self.mark(&file.metadata().ok()?)).ok()?;
        String::from_utf8(text).ok()
    }

    /// Remembers the key of a file, unless a change that comes now might leave no trace.
    pub fn remember(&self, file: &File, was: &fs::Metadata, key: &str) {
        let same = |it: &fs::Metadata| self.mark(it) == self.mark(was);
        let changed = was.ctime().saturating_mul(1000) + was.ctime_nsec() / 1_000_000;
        let at_rest = clock::wall().0.saturating_sub(changed) >= AT_REST_AFTER;
        if at_rest && file.metadata().is_ok_and(|it| same(&it)) {
            let fresh = self
                .dir
                .join(KNOWN)
                .join(format!(".fresh-{}", crate::base::id::SandboxId::random()));
            let kept = fs::write(&fresh, key).and_then(|()| fs::rename(fresh, self.mark(was)));
            if let Err(error) = kept {
                tracing::warn!(%error, "an image is read again the next time");
            }
        }
    }

    fn mark(&self, of: &fs::Metadata) -> PathBuf {
        let times = (of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec());
        let text = format!("{} {} {} {times:?}", of.dev(), of.ino(), of.size());
        self.dir.join(KNOWN).join(Digest::of(text.as_bytes()).hex())
    }
}

/// Makes the directory to unpack in and locks it; `None` when it is not to be used after all.
fn begin(making: &Path) -> io::Result<Option<OwnedFd>> {
    make(making)?;
    let lock = match open(making) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    flock(&lock, FlockOperation::LockExclusive)?;
    let itself = rustix::fs::fstat(&lock)?;
    if fs::metadata(making).map_or(true, |it| it.ino() != itself.st_ino) {
        return Ok(None);
    }
    if fs::read_dir(making)?.next().is_some() {
        // By the lock it is ours to delete, and nobody else's.
        remove::at_once(making).map_err(io::Error::other)?;
        return Ok(None);
    }
    Ok(Some(lock))
}

fn now() -> Timestamps {
    let Timestamp(now) = clock::wall();
    let time = rustix::fs::Timespec {
        tv_sec: now.div_euclid(1000),
        tv_nsec: now.rem_euclid(1000) * 1_000_000,
    };
    Timestamps { last_access: time, last_modification: time }
}

/// Lets go of images that nothing stands on: the ones used last stay for a while. `in_use` gives the keys of
/// the others.
pub fn prune(sandboxes: &Path, in_use: impl FnOnce() -> Outcome<HashSet<String>>) -> Outcome<()> {
    let dir = sandboxes.join(IMAGES);
    let broken = |error: io::Error| fault("looking through", &dir, &error);
    let lock = match open(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(broken)?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        // Somebody is using one of them: another time.
        Err(Errno::AGAIN) => return Ok(()),
        locked => locked.map_err(|error| broken(error.into()))?,
    }
    let in_use = in_use()?;
    let (mut unused, mut kept) = (Vec::new(), in_use);
    for item in fs::read_dir(&dir).map_err(broken)? {
        let item = item.map_err(broken)?;
        let name = item.file_name().to_string_lossy().into_owned();
        if name.starts_with(UNFINISHED) {
            // Nobody is at it: they would hold the lock.
            remove::discard(&item.path())?;
        } else if !name.starts_with('.') && !kept.contains(&name) {
            let used = item.metadata().map_err(broken)?.mtime().saturating_mul(1000);
            unused.push((Timestamp(used), name));
        }
    }
    unused.sort_by(|one, two| two.cmp(one));
    for (number, (used, name)) in unused.into_iter().enumerate() {
        let old = clock::wall().since(used) > IMAGE_UNUSED_AGE_MAX;
        if number >= IMAGES_UNUSED_MAX || old {
            remove::discard(&dir.join(&name))?;
        } else {
            kept.insert(name);
        }
    }
    for item in fs::read_dir(dir.join(KNOWN)).into_iter().flatten().flatten() {
        let key = fs::read_to_string(item.path()).unwrap_or_default();
        let noted = item.metadata().map_or(0, |it| it.mtime().saturating_mul(1000));
        let old = clock::wall().since(Timestamp(noted)) > IMAGE_UNUSED_AGE_MAX;
        if old || !kept.contains(&key) {
            drop(fs::remove_file(item.path()));
        }
    }
    drop(remove::empty_trash(&dir.join(ROOT)));
    Ok(())
}

/// A small file of ours, if it is there.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Outcome<Option<T>> {
    let text = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(it) if it.len() > RECORD_BYTES_MAX.max(IMAGE_TEXT_BYTES_MAX) => {
            Err(io::Error::from(io::ErrorKind::FileTooLarge))
        }
        Ok(_) => fs::read(path),
        Err(error) => Err(error),
    };
    let value = text.and_then(|it| serde_json::from_slice(&it).map_err(io::Error::other));
    value.map(Some).map_err(|error| fault("reading", path, &error))
}

/// Writes one, in one step.
pub fn write(path: &Path, value: &impl Serialize) -> Outcome<()> {
    let fresh = path.with_extension("new");
    let written = serde_json::to_vec(value).map_err(io::Error::other).and_then(|text| {
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh)?;
        io::Write::write_all(&mut file, &text)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    });
    written.map_err(|error| fault("writing", path, &error))
}

#[cfg(test)]
mod tests;
