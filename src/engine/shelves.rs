//! The snapshots that are kept, each in a directory of its own that describes itself. A directory gets its name
//! when all of it is there, so that what was cut short is known by its name and deleted.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::{SandboxId, SnapshotId},
        limits::{RECORD_BYTES_MAX, SNAPSHOTS_MAX},
    },
    driver::Shelf,
    model::snapshot::Snapshot,
    wire::convert::snapshot::Stored,
};

/// In front of the id as long as not all is there.
const UNFINISHED: &str = ".making-";
/// In front of it while it is deleted.
const DOOMED: &str = ".trash-";
const RECORD: &str = "record";

/// All snapshots of this hub.
pub(super) struct Shelves {
    root: PathBuf,
    kept: HashMap<SnapshotId, Arc<Stored>>,
}

pub(super) struct Loaded {
    pub shelves: Shelves,
    /// What could not be read, in words.
    pub damaged: Vec<String>,
}

impl Shelves {
    /// Reads what is there and deletes what was cut short.
    pub(super) async fn load(root: PathBuf) -> Outcome<Loaded> {
        let loaded = tokio::task::spawn_blocking(move || Self::read_all(root));
        loaded.await.map_err(|error| Fault::bug(format!("reading snapshots: {error}")))?
    }

    fn read_all(root: PathBuf) -> Outcome<Loaded> {
        let (mut kept, mut damaged) = (HashMap::new(), Vec::new());
        let listed = match fs::read_dir(&root) {
            // An engine in memory has none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Loaded { shelves: Self { root, kept }, damaged });
            }
            listed => listed.map_err(|error| reading(&root, &error))?,
        };
        for item in listed {
            let item = item.map_err(|error| reading(&root, &error))?;
            let name = item.file_name().to_string_lossy().into_owned();
            if name.starts_with(UNFINISHED) || name.starts_with(DOOMED) {
                discard(item.path());
                continue;
            }
            let Some(id) = SnapshotId::parse(&name) else { continue };
            match read(&item.path().join(RECORD)) {
                Ok(it) if it.snapshot.id != id => {
                    damaged.push(left_alone(&item.path(), "it describes another snapshot"));
                }
                Ok(it) if it.unsynced_since.as_ref().is_some_and(|it| *it != system_start()) => {
                    let Snapshot { sandbox_name, .. } = &it.snapshot;
                    let words = "the system stopped before its files were on the disk";
                    damaged.push(format!("snapshot {id} of {sandbox_name} is lost: {words}"));
                    discard(item.path());
                }
                Ok(stored) => drop(kept.insert(id, Arc::new(stored))),
                Err(fault) => damaged.push(left_alone(&item.path(), fault.message())),
            }
        }
        Ok(Loaded { shelves: Self { root, kept }, damaged })
    }

    pub(super) fn get(&self, id: &SnapshotId) -> Outcome<Arc<Stored>> {
        let found = self.kept.get(id).cloned();
        found.ok_or_else(|| {
            Fault::absent(format!("no such snapshot: {id}")).hint("see `sandwatch snapshot ls`")
        })
    }

    /// Where one lies; `Absent` when there is none.
    pub(super) fn shelf(&self, id: &SnapshotId) -> Outcome<Shelf> {
        let stored = self.get(id)?;
        let reference = stored.reference.clone();
        Ok(Shelf { id: id.clone(), dir: self.root.join(id.as_str()), reference })
    }

    /// Those that people see, in no order.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.kept.values().filter(|it| !it.removed)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.kept.values()
    }

    /// How many people see of a sandbox.
    pub(super) fn count(&self, sandbox: &SandboxId) -> u32 {
        let count = self.listed().filter(|it| it.snapshot.sandbox == *sandbox).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Refuses a name that is taken, and one snapshot more than there may be.
    pub(super) fn has_room(&self, sandbox: &SandboxId, name: Option<&str>) -> Outcome<()> {
        if self.kept.len() >= SNAPSHOTS_MAX {
            return Err(Fault::busy(format!("this hub keeps {SNAPSHOTS_MAX} snapshots already"))
                .hint("remove some: sandwatch snapshot rm SNAPSHOT"));
        }
        let taken = self.listed().map(|it| &it.snapshot).any(|it: &Snapshot| {
            it.sandbox == *sandbox && it.name.is_some() && it.name.as_deref() == name
        });
        match name.filter(|_| taken) {
            Some(name) => {
                Err(Fault::busy(format!("the sandbox has a snapshot of that name: {name}"))
                    .hint("choose another name, or remove that snapshot"))
            }
            None => Ok(()),
        }
    }

    pub(super) fn insert(&mut self, stored: Stored) {
        self.kept.insert(stored.snapshot.id.clone(), Arc::new(stored));
    }

    pub(super) fn take(&mut self, id: &SnapshotId) -> Option<Arc<Stored>> {
        self.kept.remove(id)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }
}

/// An empty shelf that goes with this value unless it is finished.
pub(super) struct Fresh {
    id: SnapshotId,
    root: PathBuf,
    dir: PathBuf,
    finished: bool,
}

impl Fresh {
    /// Blocks on files.
    pub(super) fn make(root: &Path, id: &SnapshotId) -> Outcome<Self> {
        let dir = root.join(format!("{UNFINISHED}{id}"));
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| Fault::io(format!("making {}", dir.display()), &error))?;
        Ok(Self { id: id.clone(), root: root.to_owned(), dir, finished: false })
    }

    pub(super) fn shelf(&self) -> Shelf {
        Shelf { id: self.id.clone(), dir: self.dir.clone(), reference: None }
    }

    /// Everything is on it: from here on the snapshot is there, whatever is killed. Blocks on files.
    pub(super) fn finish(mut self, stored: &Stored) -> Outcome<()> {
        write(&self.dir, stored)?;
        let place = self.root.join(self.id.as_str());
        let placed =
            fs::rename(&self.dir, &place).and_then(|()| File::open(&self.root)?.sync_all());
        placed.map_err(|error| Fault::io(format!("placing {}", place.display()), &error))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.finished {
            discard(self.dir.clone());
        }
    }
}

/// Writes the description of a snapshot in one step.
pub(super) fn write(dir: &Path, stored: &Stored) -> Outcome<()> {
    let (path, fresh) = (dir.join(RECORD), dir.join("record.new"));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&fresh).and_then(|mut file| {
        file.write_all(&stored.encode())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)
    });
    written.map_err(|error| Fault::io(format!("writing {}", path.display()), &error))
}

/// Deletes the directory of a snapshot, or of what was to be one: out of sight at once, gone in the background.
pub(super) fn discard(dir: PathBuf) {
    let Some((parent, name)) = dir.parent().zip(dir.file_name()) else { return };
    let name = name.to_string_lossy();
    let away = parent.join(format!("{DOOMED}{}", name.trim_start_matches(DOOMED)));
    match fs::rename(&dir, &away) {
        Ok(()) => crate::driver::local::delete_in_background(away),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(dir = %dir.display(), %error, "a snapshot's files stay"),
    }
}

fn read(path: &Path) -> Outcome<Stored> {
    let size = fs::metadata(path).map_err(|error| reading(path, &error))?.len();
    if size > RECORD_BYTES_MAX {
        return Err(Fault::failed(format!("{} is too large", path.display())));
    }
    Stored::decode(&fs::read(path).map_err(|error| reading(path, &error))?)
}

fn reading(path: &Path, error: &std::io::Error) -> Fault {
    Fault::io(format!("reading {}", path.display()), error)
}

fn left_alone(dir: &Path, why: &str) -> String {
    format!("left alone, not a snapshot that can be read: {}: {why}", dir.display())
}

/// Which start of the system this is; the same all the time where that can't be told.
pub(super) fn system_start() -> String {
    let read = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map(|it| it.trim().to_owned()).unwrap_or_default()
}

/// Waits until everything on the file system of a directory is on the disk.
pub(super) fn sync(dir: &Path) -> Outcome<()> {
    let synced = File::open(dir).and_then(|it| Ok(rustix::fs::syncfs(it)?));
    synced.map_err(|error| Fault::io(format!("syncing {}", dir.display()), &error))
}

/// Not there is as good as removed.
pub(super) fn tolerate_absent(outcome: Outcome<()>) -> Outcome<()> {
    match outcome {
        Err(fault) if fault.kind() == Kind::Absent => Ok(()),
        other => other,
    }
}
