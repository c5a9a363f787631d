//! The snapshots that are kept, each in a directory of its own that describes itself. A directory gets its name
//! when all of it is there, so that what was cut short is known by its name and deleted.

use std::{
    collections::{HashMap, HashSet},
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
    kept: HashMap<SnapshotId, Kept>,
}

struct Kept {
    stored: Arc<Stored>,
    pins: Arc<()>,
}

impl Kept {
    fn new(stored: Stored) -> Self {
        Self { stored: Arc::new(stored), pins: Arc::default() }
    }

    fn pin(&self) -> Pin {
        Pin { _counted: Arc::clone(&self.pins) }
    }
}

/// As long as this lives, a snapshot is not deleted.
pub(super) struct Pin {
    _counted: Arc<()>,
}

pub(super) struct Loaded {
    pub shelves: Shelves,
    /// What could not be read, in words.
    pub damaged: Vec<String>,
    /// Of snapshots that were cut short, or of which something was left.
    pub unfinished: Vec<PathBuf>,
}

impl Shelves {
    /// Reads what is there.
    pub(super) async fn load(root: PathBuf) -> Outcome<Loaded> {
        let loaded = tokio::task::spawn_blocking(move || Self::read_all(root));
        loaded.await.map_err(|error| Fault::bug(format!("reading snapshots: {error}")))?
    }

    fn read_all(root: PathBuf) -> Outcome<Loaded> {
        let (mut kept, mut damaged, mut unfinished) = (HashMap::new(), Vec::new(), Vec::new());
        let listed = match fs::read_dir(&root) {
            // An engine in memory has none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Loaded { shelves: Self { root, kept }, damaged, unfinished });
            }
            listed => listed.map_err(|error| reading(&root, &error))?,
        };
        for item in listed {
            let item = item.map_err(|error| reading(&root, &error))?;
            let name = item.file_name().to_string_lossy().into_owned();
            if name.starts_with(UNFINISHED) || name.starts_with(DOOMED) {
                unfinished.push(item.path());
                continue;
            }
            let Some(id) = SnapshotId::parse(&name) else { continue };
            match read(&item.path().join(RECORD)) {
                Ok(it) if it.snapshot.id != id => {
                    damaged.push(left_alone(&item.path(), "it describes another snapshot"));
                }
                Ok(stored) => drop(kept.insert(id, Kept::new(stored))),
                Err(fault) => damaged.push(left_alone(&item.path(), fault.message())),
            }
        }
        forget_lost_parents(&mut kept);
        Ok(Loaded { shelves: Self { root, kept }, damaged, unfinished })
    }

    pub(super) fn get(&self, id: &SnapshotId) -> Outcome<Arc<Stored>> {
        let found = self.kept.get(id).map(|it| Arc::clone(&it.stored));
        found.ok_or_else(|| absent(id))
    }

    /// Where one lies; `Absent` when there is none.
    pub(super) fn shelf(&self, id: &SnapshotId) -> Outcome<Shelf> {
        let stored = self.get(id)?;
        let reference = stored.reference.clone();
        Ok(Shelf { id: id.clone(), dir: self.root.join(id.as_str()), reference })
    }

    /// Those that people see, in no order.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.all().filter(|it| !it.removed)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.kept.values().map(|it| &it.stored)
    }

    /// One that people see, kept from being deleted while something is made of it.
    pub(super) fn pin(&self, id: &SnapshotId) -> Outcome<(Arc<Stored>, Pin)> {
        self.pin_kept(id).and_then(|it| if it.0.removed { Err(absent(id)) } else { Ok(it) })
    }

    /// The same of one that somebody removed, who found that it was needed.
    pub(super) fn pin_kept(&self, id: &SnapshotId) -> Outcome<(Arc<Stored>, Pin)> {
        let kept = self.kept.get(id).ok_or_else(|| absent(id))?;
        Ok((Arc::clone(&kept.stored), kept.pin()))
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

    /// Adds one, pinned before anybody else can see it.
    pub(super) fn add(&mut self, mut stored: Stored) -> Pin {
        stored.snapshot.parent = stored.snapshot.parent.filter(|it| self.kept.contains_key(it));
        let (id, kept) = (stored.snapshot.id.clone(), Kept::new(stored));
        let pin = kept.pin();
        self.kept.insert(id, kept);
        pin
    }

    /// Changes one that is listed; one that was taken off stays away.
    pub(super) fn set(&mut self, stored: Stored) {
        if let Some(kept) = self.kept.get_mut(&stored.snapshot.id) {
            kept.stored = Arc::new(stored);
        }
    }

    /// Takes one off, so that nothing can be made of it any more; `None` when somebody is just doing so.
    pub(super) fn take(&mut self, id: &SnapshotId) -> Option<Arc<Stored>> {
        let free = self.kept.get(id).is_some_and(|it| Arc::strong_count(&it.pins) == 1);
        free.then(|| self.kept.remove(id)).flatten().map(|it| it.stored)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }
}

/// An empty shelf, which goes back to who clears it up unless it is finished.
pub(super) struct Fresh {
    id: SnapshotId,
    root: PathBuf,
    dir: PathBuf,
    clear_up: Option<ClearUp>,
}

/// Is given the directory of a shelf that came to nothing.
pub(super) type ClearUp = Box<dyn FnOnce(PathBuf) + Send>;

impl Fresh {
    /// Blocks on files.
    pub(super) fn make(root: &Path, id: &SnapshotId, clear_up: ClearUp) -> Outcome<Self> {
        let dir = root.join(format!("{UNFINISHED}{id}"));
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| Fault::io(format!("making {}", dir.display()), &error))?;
        Ok(Self { id: id.clone(), root: root.to_owned(), dir, clear_up: Some(clear_up) })
    }

    pub(super) fn shelf(&self) -> Shelf {
        Shelf { id: self.id.clone(), dir: self.dir.clone(), reference: None }
    }

    /// Everything is on it: from here on the snapshot is there, whatever is killed, and after a power cut. Blocks
    /// on files.
    pub(super) fn finish(mut self, stored: &Stored) -> Outcome<()> {
        sync(&self.dir)?;
        write(&self.dir, stored)?;
        let place = self.root.join(self.id.as_str());
        let placing = |error| Fault::io(format!("placing {}", place.display()), &error);
        fs::rename(&self.dir, &place).map_err(placing)?;
        // What can't be kept for sure is cleared up where it is now.
        self.dir.clone_from(&place);
        let synced = File::open(&self.root).and_then(|it| it.sync_all());
        synced.map_err(placing)?;
        self.clear_up = None;
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(clear_up) = self.clear_up.take() {
            clear_up(self.dir.clone());
        }
    }
}

/// Which snapshot a directory was to be, or was.
pub(super) fn id_of(dir: &Path) -> Option<SnapshotId> {
    let name = dir.file_name()?.to_str()?;
    SnapshotId::parse(name.trim_start_matches(DOOMED).trim_start_matches(UNFINISHED))
}

fn absent(id: &SnapshotId) -> Fault {
    Fault::absent(format!("no such snapshot: {id}")).hint("see `sandwatch snapshot ls`")
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

/// A hub that was killed may have deleted one and not told those after it.
fn forget_lost_parents(kept: &mut HashMap<SnapshotId, Kept>) {
    let there: HashSet<_> = kept.keys().cloned().collect();
    for it in kept.values_mut() {
        let parent = it.stored.snapshot.parent.as_ref();
        if parent.is_some_and(|it| !there.contains(it)) {
            Arc::make_mut(&mut it.stored).snapshot.parent = None;
        }
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

/// Waits until everything on the file system of a directory is on the disk.
fn sync(dir: &Path) -> Outcome<()> {
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
