//! Parts of two systems that lie elsewhere, laid down beside each other so that they can be compared as local ones are:
//! how it was, and over it, as a layer, how it is. Each look has its own, which goes with it; what one left that was
//! killed, the next one in the same place removes. Blocks on files.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{Dir, FileType, FlockOperation, Mode, OFlags, openat2},
    io::Errno,
};

use super::{
    super::{apply::seen::stat, remove, upper},
    members::Members,
    placing::{Held, hold},
    sent::Sent,
    unread::Unread,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::COPY_DEPTH_MAX,
    },
    driver::tar::read::Reader,
    model::change::covers,
};

/// In the directory of a sandbox or a snapshot: one directory for each look that is under way.
const LOOKS: &str = "looks";
/// In it, of each side: its files, and beside them what could not be had.
const TREE: &str = "tree";

/// Which paths are compared, relative to the root of the system.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// These and all that lies in them.
    pub whole: BTreeSet<Vec<u8>>,
    /// What is mounted there, or looked at otherwise: never.
    pub apart: Vec<Vec<u8>>,
}

impl Wanted {
    pub fn has(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, it)| **it == b'/').map(|it| it.0);
        let mut above = ends.chain([path.len()]).filter_map(|end| path.get(..end));
        above.any(|it| self.whole.contains(it)) && !self.is_apart(path)
    }

    pub fn is_apart(&self, path: &[u8]) -> bool {
        self.apart.iter().any(|it| covers(it, path))
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// How it was, which comes first.
    Old,
    New,
}

impl Which {
    fn word(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// The place of one look, until this is dropped.
#[derive(Debug)]
pub struct Laid {
    at: PathBuf,
    _held: Held,
}

impl Laid {
    /// In the directory of what is looked at.
    pub fn begin(of: &Path) -> Outcome<Self> {
        let looks = of.join(LOOKS);
        let fault = |error: io::Error| Fault::io(format!("making {}", looks.display()), &error);
        // Of what was removed meanwhile nothing comes again.
        match fs::create_dir(&looks) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fault(error)),
            _ => {}
        }
        let _alone = hold(&looks, FlockOperation::LockExclusive)?;
        sweep(&looks);
        let looks = fs::canonicalize(&looks).map_err(fault)?;
        let at = looks.join(SandboxId::random().as_str());
        fs::create_dir(&at).map_err(fault)?;
        let laid = Self { _held: hold(&at, FlockOperation::LockExclusive)?, at };
        for which in [Which::Old, Which::New] {
            fs::create_dir_all(laid.tree(which)).map_err(fault)?;
        }
        Ok(laid)
    }

    pub fn tree(&self, which: Which) -> PathBuf {
        self.side(which).join(TREE)
    }

    fn side(&self, which: Which) -> PathBuf {
        self.at.join(which.word())
    }

    /// What could not be had of either side.
    pub fn unread(&self) -> impl Iterator<Item = (Vec<u8>, String)> {
        let all = [Which::Old, Which::New].into_iter();
        all.map(|it| Unread::of(&self.side(it))).collect::<Vec<_>>().into_iter().flatten()
    }

    /// Begins to fill one side; the new one when the old one is whole.
    pub fn lay(&self, which: Which, wanted: Arc<Wanted>) -> Outcome<Laying> {
        let layer = upper::root(&self.tree(which))?;
        let (base, sent) = match which {
            // Over nothing: the other side is still empty.
            Which::Old => (upper::root(&self.tree(Which::New))?, HashMap::new()),
            Which::New => {
                let base = upper::root(&self.tree(Which::Old))?;
                let mut all = HashMap::new();
                let noted = note(base.as_fd(), &mut Vec::new(), 0, &mut all);
                noted.map_err(|error| Fault::io("looking at what was laid down", &error))?;
                (base, all)
            }
        };
        let members = Members::new(layer, base, sent)?.only(wanted);
        Ok(Laying { members, side: self.side(which) })
    }
}

impl Drop for Laid {
    fn drop(&mut self) {
        if let Err(fault) = remove::discard(&self.at) {
            tracing::warn!(%fault, "what was laid down for a look stays until the next");
        }
        drop(remove::empty_trash(&self.at));
    }
}

/// Removes what those left that were killed: nobody holds it any more.
fn sweep(looks: &Path) {
    let listed = fs::read_dir(looks).into_iter().flatten().flatten();
    let ours = listed
        .filter(|it| it.file_name().to_str().is_some_and(|it| SandboxId::parse(it).is_some()));
    for look in ours.map(|it| it.path()) {
        let swept = hold(&look, FlockOperation::NonBlockingLockExclusive)
            .and_then(|_held| remove::discard(&look));
        if let Err(fault) = swept {
            tracing::debug!(%fault, "a look is under way");
        }
    }
    drop(remove::empty(looks.join(remove::TRASH)));
}

/// Notes everything in a tree that nobody changes, so that what the other side lacks is known to be gone.
fn note(
    directory: impl AsFd,
    path: &mut Vec<u8>,
    depth: usize,
    all: &mut HashMap<Vec<u8>, Sent>,
) -> io::Result<()> {
    for item in Dir::read_from(&directory)? {
        let item = item?;
        let name = item.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let before = path.len();
        if before > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        if let Some(facts) = stat(directory.as_fd(), name)? {
            all.insert(path.clone(), Sent::of(&facts));
            let is_directory = FileType::from_raw_mode(facts.st_mode) == FileType::Directory;
            if is_directory && depth < COPY_DEPTH_MAX {
                match listed(&directory, name) {
                    Ok(inner) => note(inner, path, depth + 1, all)?,
                    // What is in it is told as what may not be read.
                    Err(Errno::ACCESS) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        path.truncate(before);
    }
    Ok(())
}

fn listed(directory: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(directory, name, flags, Mode::empty(), upper::BENEATH)
}

/// One side on its way.
pub struct Laying {
    members: Members,
    side: PathBuf,
}

impl Laying {
    /// Takes what is wanted of a path by an archive whose first entry it is; `None` = it is not there.
    pub fn take(&mut self, path: &[u8], archive: Option<impl Read>) -> Outcome<()> {
        let taken = self.members.take(path, archive.map(Reader::new));
        taken.map_err(|it| it.context("looking at the system"))
    }

    /// Takes a file in place of what lies there; what is a directory stays.
    pub fn take_instead(&mut self, path: &[u8], archive: &[u8]) -> Outcome<()> {
        match self.members.clear(path) {
            true => self.take(path, Some(archive)),
            false => Ok(()),
        }
    }

    /// Takes a directory for its permissions alone.
    pub fn directory(&mut self, path: &[u8], mode: u32) -> Outcome<()> {
        self.members.directory_alone(path, mode)
    }

    /// Other names of what was passed over: to be asked for by themselves.
    pub fn again(&mut self) -> Vec<Vec<u8>> {
        self.members.again()
    }

    /// Notes a path that can't be had.
    pub fn lacks(&mut self, path: &[u8], why: &str) {
        self.members.lacks(path, why);
    }

    pub fn finish(self) -> Outcome<()> {
        self.members.finish()?.write(&self.side)
    }
}

#[cfg(test)]
mod tests;
