//! What the files of sandboxes take on disk. A tree has to be walked for that, so it is done seldom, one at a time, on a
//! thread of its own that rests a hundred times as long as it worked.
//!
//! Programs write there at the same time, and are hostile: everything goes by descriptors and single names, no link is
//! followed and no mount crossed. What can't be looked at, or lies too deep, is not in the sum: it is what it takes at least.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, statat,
};

use crate::{
    base::{
        clock,
        id::SandboxId,
        limits::{
            SPACE_DEPTH_MAX, SPACE_ENTRIES_MAX, SPACE_EVERY, SPACE_LINKS_MAX, SPACE_REST,
            SPACE_WITHIN,
        },
    },
    driver::Ground,
};

/// Of all sandboxes of the meter.
#[derive(Default)]
pub struct Space {
    shared: Arc<Mutex<Shared>>,
    /// To the thread that walks. It stays: a thread more each second would make the kernel's count of what was started good
    /// for nothing.
    walker: Option<mpsc::SyncSender<Walk>>,
}

/// Whose tree is to be walked, and where that is.
type Walk = (SandboxId, PathBuf);

#[derive(Default)]
struct Shared {
    known: HashMap<SandboxId, Known>,
    /// Somebody walks.
    walks: bool,
    /// Nobody does before that; `clock::monotonic`.
    rests_until: Duration,
}

#[derive(Clone, Copy)]
struct Known {
    /// `None` = it could not be told yet.
    bytes: Option<u64>,
    /// When it was looked at last, by `clock::monotonic`.
    at: Duration,
}

impl Space {
    /// What each takes, as far as it was looked at; begins to look again where that is long ago.
    pub fn read(&mut self, grounds: &[Ground]) -> Vec<Option<u64>> {
        let now = clock::monotonic();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            grounds.iter().map(|it| shared.known.get(&it.id).and_then(|it| it.bytes)).collect();
        if shared.walks || now < shared.rests_until {
            return known;
        }
        let seen = |it: &&Ground| shared.known.get(&it.id).map(|it| it.at);
        let Some(next) = grounds.iter().min_by_key(seen) else { return known };
        if seen(&next).is_some_and(|it| now < it + SPACE_EVERY) {
            return known;
        }
        let ids: HashSet<_> = grounds.iter().map(|it| &it.id).collect();
        shared.known.retain(|id, _| ids.contains(id));
        let walk = (next.id.clone(), next.dir.clone());
        // Before it may be over.
        shared.walks = true;
        drop(shared);
        if let Err(error) = self.send(walk) {
            tracing::debug!(%error, "looking at what sandboxes take on disk");
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            (shared.walks, shared.rests_until) = (false, now + SPACE_EVERY);
        }
        known
    }

    fn send(&mut self, walk: Walk) -> io::Result<()> {
        let walk = match &self.walker {
            Some(walker) => match walker.send(walk) {
                Ok(()) => return Ok(()),
                Err(mpsc::SendError(walk)) => walk,
            },
            None => walk,
        };
        // The next is sent when the one before is over.
        let (walker, walks_wanted) = mpsc::sync_channel(1);
        let of = Arc::clone(&self.shared);
        thread::Builder::new().name("space".to_owned()).spawn(move || {
            for (id, dir) in walks_wanted {
                walks(&of, id, dir);
            }
        })?;
        // Its end is held by the thread, which was just made.
        walker.send(walk).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.walker = Some(walker);
        Ok(())
    }
}

fn walks(of: &Mutex<Shared>, id: SandboxId, dir: PathBuf) {
    let began = clock::monotonic();
    let bytes = taken(&dir, began + SPACE_WITHIN);
    let ended = clock::monotonic();
    let mut shared = of.lock().unwrap_or_else(PoisonError::into_inner);
    shared.walks = false;
    shared.rests_until = ended + ended.saturating_sub(began) * SPACE_REST;
    if let Err(error) = &bytes {
        tracing::debug!(%error, sandbox = %id, "what it takes on disk can't be told");
    }
    // Whatever came of it, all others have their turn first.
    let before = shared.known.get(&id).and_then(|it| it.bytes);
    shared.known.insert(id, Known { bytes: bytes.ok().or(before), at: ended });
}

/// A directory that is looked at, and the descriptor that what is in it is found below.
struct Level {
    entries: Dir,
    at: OwnedFd,
}

impl Level {
    fn of(at: OwnedFd) -> io::Result<Self> {
        Ok(Self { entries: Dir::read_from(&at)?, at })
    }
}

/// Bytes on disk of all that lies below, at least.
fn taken(dir: &Path, until: Duration) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat2(CWD, dir, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let device = fstat(&root)?.st_dev;
    let mut links = HashSet::new();
    let (mut bytes, mut looked) = (0_u64, 0);
    let mut levels = vec![Level::of(root)?];
    while let Some(level) = levels.last_mut() {
        let Some(entry) = level.entries.read() else {
            levels.pop();
            continue;
        };
        let Ok(entry) = entry else {
            levels.pop();
            continue;
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        looked += 1;
        if looked > SPACE_ENTRIES_MAX || clock::monotonic() >= until {
            break;
        }
        let Ok(found) = statat(&level.at, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if found.st_dev != device {
            continue;
        }
        let is_dir = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        // What has several names counts once.
        if !is_dir && found.st_nlink > 1 {
            let room = links.len() < SPACE_LINKS_MAX;
            if links.contains(&found.st_ino) || (room && !links.insert(found.st_ino)) {
                continue;
            }
        }
        bytes = bytes.saturating_add((found.st_blocks as u64).saturating_mul(512));
        if is_dir {
            let inner = openat(&level.at, name, flags | OFlags::NOFOLLOW, Mode::empty());
            let inner = inner.map_err(io::Error::from).and_then(Level::of);
            let room = SPACE_DEPTH_MAX.saturating_sub(levels.len());
            levels.extend(inner.into_iter().take(room));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, slice};

    use super::*;

    fn far() -> Duration {
        clock::monotonic() + SPACE_WITHIN
    }

    #[test]
    fn what_lies_there_counts_once_and_nothing_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("large"), vec![1; 8 << 20]).unwrap();
        let empty = taken(dir.path(), far()).unwrap();
        fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        fs::write(dir.path().join("a/b/c/one"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(dir.path().join("a/b/c/one"), dir.path().join("two")).unwrap();
        symlink(elsewhere.path(), dir.path().join("out")).unwrap();
        // A file with a hole is as large as what is written of it.
        fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 40).unwrap();
        let all = taken(dir.path(), far()).unwrap() - empty;
        assert!((1 << 20..2 << 20).contains(&all), "{all}");
    }

    #[test]
    fn what_is_deeper_than_can_be_looked_at_ends_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let deep = "d/".repeat(SPACE_DEPTH_MAX + 20);
        fs::create_dir_all(dir.path().join(&deep)).unwrap();
        fs::write(dir.path().join(&deep).join("hidden"), vec![1; 1 << 20]).unwrap();
        fs::write(dir.path().join("seen"), vec![1; 1 << 20]).unwrap();
        let all = taken(dir.path(), far()).unwrap();
        assert!((1 << 20..2 << 20).contains(&all), "{all}");
        assert!(taken(dir.path(), Duration::ZERO).unwrap() < 1 << 20);
        assert!(taken(&dir.path().join("nowhere"), far()).is_err());
    }

    #[test]
    fn one_that_cannot_be_walked_keeps_no_other_from_its_turn() {
        let dir = tempfile::tempdir().unwrap();
        let ground = |name: &str, dir: PathBuf| Ground {
            id: SandboxId::random(),
            name: name.to_owned(),
            dir,
            from: None,
        };
        let grounds =
            [ground("gone", dir.path().join("gone")), ground("there", dir.path().to_owned())];
        let mut space = Space::default();
        while !matches!(space.read(&grounds)[..], [None, Some(_)]) {
            thread::yield_now();
        }
    }

    #[test]
    fn it_is_looked_at_beside_whoever_reads_and_not_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one"), vec![1; 1 << 20]).unwrap();
        let ground = Ground {
            id: SandboxId::random(),
            name: "a".to_owned(),
            dir: dir.path().to_owned(),
            from: None,
        };
        let mut space = Space::default();
        assert_eq!(space.read(slice::from_ref(&ground)), [None]);
        let first = loop {
            if let [Some(bytes)] = space.read(slice::from_ref(&ground))[..] {
                break bytes;
            }
        };
        assert!(first >= 1 << 20);
        fs::write(dir.path().join("two"), vec![1; 1 << 20]).unwrap();
        assert_eq!(space.read(slice::from_ref(&ground)), [Some(first)]);
        assert!(!space.shared.lock().unwrap().walks);
    }
}
