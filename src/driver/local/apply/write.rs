//! Writes to the real directory: all that is new is staged first, then each path changes in one step.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    fs::{
        AtFlags, Dir, Gid, Mode, OFlags, RenameFlags, Uid, chownat, fchmod, fchown, mkdirat,
        openat2, renameat, renameat_with, statat, symlinkat, unlinkat,
    },
    io::Errno,
    process::geteuid,
};

use super::seen::{Seen, look, parent};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::APPLY_BYTES_MAX,
        text::visible,
    },
    driver::local::{
        side,
        upper::{BENEATH, View},
    },
    model::change::ChangeStatus,
};

/// In the workspace while changes are applied; what a killed process left there is nobody's.
pub const STAGE: &str = ".sandwatch-apply";

/// What a path is to become.
#[derive(Clone, Debug)]
pub enum New {
    Absent,
    Directory { mode: u32 },
    File { mode: u32, from: From },
    Link { target: Vec<u8> },
}

/// Where contents come from.
#[derive(Clone, Debug)]
pub enum From {
    /// The same path in a layer of the new view.
    Layer(usize),
    /// A file that was kept.
    Kept(PathBuf),
    /// The real file with some hunks put in.
    Merged(Vec<u8>),
}

/// One path, as it is now and as it is to be.
#[derive(Clone, Debug)]
pub struct Op {
    pub path: Vec<u8>,
    pub old: Option<Seen>,
    pub new: New,
    pub owner: (u32, u32),
    /// Somebody else's changes are in what is there.
    pub foreign: bool,
    /// They will be in what it becomes too: it is not the sandbox's to overwrite the next time.
    pub shared: bool,
}

impl Op {
    pub fn status(&self) -> ChangeStatus {
        match (&self.old, &self.new) {
            (None, _) => ChangeStatus::Added,
            (_, New::Absent) => ChangeStatus::Deleted,
            _ => ChangeStatus::Modified,
        }
    }

    fn was_directory(&self) -> bool {
        self.old.is_some_and(|it| it.is_directory())
    }

    fn placed(&self) -> bool {
        matches!(self.new, New::File { .. } | New::Link { .. })
    }
}

/// Steps in which paths change: whatever is in the way goes first, and what lies in a directory is there
/// before it may become read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Lets its owner write to a directory in which something changes.
    Unlock,
    Unlink,
    RemoveDirectory,
    MakeDirectory,
    Place,
    SetMode,
}

const STEPS: [Step; 6] = [
    Step::Unlock,
    Step::Unlink,
    Step::RemoveDirectory,
    Step::MakeDirectory,
    Step::Place,
    Step::SetMode,
];

/// Told before every path that changes; tests end there.
pub type Before<'a> = &'a mut dyn FnMut(Step, &[u8]);

/// The directory that holds what is to be placed.
pub struct Stage<'a> {
    base: BorrowedFd<'a>,
    held: OwnedFd,
}

impl<'a> Stage<'a> {
    /// Makes it, or takes over what a killed process left. The lock on the workspace is held.
    pub fn open(base: BorrowedFd<'a>) -> Outcome<Self> {
        let fault = |error: io::Error| {
            Fault::io(format!("preparing {STAGE} in the workspace"), &error)
                .hint("remove it if it is in the way")
        };
        match mkdirat(base, STAGE, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(fault(error.into())),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let held = openat2(base, STAGE, flags, Mode::empty(), BENEATH);
        let stage = Self { base, held: held.map_err(|error| fault(error.into()))? };
        stage.empty().map_err(fault)?;
        Ok(stage)
    }

    /// Takes away what a killed process left, if it did.
    pub fn tidy(base: BorrowedFd<'a>) -> Outcome<()> {
        let there = look(base, STAGE.as_bytes());
        match there.map_err(|error| fault("reading", STAGE.as_bytes(), error))? {
            Some(_) => Self::open(base)?.close(),
            None => Ok(()),
        }
    }

    fn empty(&self) -> io::Result<()> {
        let mut names = Vec::new();
        for item in Dir::read_from(&self.held)? {
            let name = item?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        for name in names {
            unlinkat(&self.held, name, AtFlags::empty())?;
        }
        Ok(())
    }

    /// Takes it away. What is still in it was not placed.
    pub fn close(self) -> Outcome<()> {
        let closed =
            self.empty().and_then(|()| Ok(unlinkat(self.base, STAGE, AtFlags::REMOVEDIR)?));
        closed.map_err(|error| Fault::io(format!("removing {STAGE} from the workspace"), &error))
    }

    /// Stages all that is new; tells how each path will be left.
    pub fn fill(&self, ops: &[Op], new: &View) -> Outcome<Vec<Option<Seen>>> {
        let mut room = APPLY_BYTES_MAX;
        let mut left = Vec::with_capacity(ops.len());
        for (index, op) in ops.iter().enumerate() {
            let name = index.to_string();
            match &op.new {
                New::File { mode, from } => self.file(&name, op, *mode, from, new, &mut room)?,
                New::Link { target } => {
                    let made =
                        symlinkat(target.as_slice(), &self.held, &name).and_then(|()| match owner(
                            op,
                        ) {
                            Some((user, group)) => {
                                let flags = AtFlags::SYMLINK_NOFOLLOW;
                                chownat(&self.held, &name, Some(user), Some(group), flags)
                            }
                            None => Ok(()),
                        });
                    made.map_err(|error| fault("staging", &op.path, error.into()))?;
                }
                New::Absent | New::Directory { .. } => {
                    left.push(None);
                    continue;
                }
            }
            let stat = statat(&self.held, &name, AtFlags::SYMLINK_NOFOLLOW);
            let stat = stat.map_err(|error| fault("staging", &op.path, error.into()))?;
            left.push(Some(Seen::of(&stat)));
        }
        rustix::fs::syncfs(&self.held)
            .map_err(|error| Fault::io("writing to the workspace's disk", &error.into()))?;
        Ok(left)
    }

    fn file(
        &self,
        name: &str,
        op: &Op,
        mode: u32,
        from: &From,
        new: &View,
        room: &mut u64,
    ) -> Outcome<()> {
        let staging = |error| fault("staging", &op.path, error);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat2(&self.held, name, flags, Mode::RUSR | Mode::WUSR, BENEATH);
        let mut file = File::from(file.map_err(|error| staging(error.into()))?);
        match from {
            From::Layer(at) => {
                let layer = new.layer(*at).map_err(io::Error::from);
                let mut source = layer.and_then(|it| side::open(it, &op.path)).map_err(staging)?;
                copy(&mut source, &mut file, &op.path, room)?;
            }
            From::Kept(path) => {
                copy(&mut File::open(path).map_err(staging)?, &mut file, &op.path, room)?;
            }
            From::Merged(text) => file.write_all(text).map_err(staging)?,
        }
        let owned = match owner(op) {
            Some((user, group)) => fchown(&file, Some(user), Some(group)),
            None => Ok(()),
        };
        let set = owned.and_then(|()| fchmod(&file, Mode::from_raw_mode(mode)));
        set.map_err(|error| staging(error.into()))
    }

    /// Changes every path. Those that can't go because something else is in them are given back.
    pub fn place(&self, ops: &[Op], before: Before<'_>) -> Outcome<Vec<Vec<u8>>> {
        let mut kept = Vec::new();
        for step in STEPS {
            let deep_first = matches!(step, Step::RemoveDirectory | Step::SetMode);
            let mut order: Vec<(usize, &Op)> =
                ops.iter().enumerate().filter(|(_, op)| takes(step, op)).collect();
            // By path: a directory comes before what lies in it.
            order.sort_by(|one, two| one.1.path.cmp(&two.1.path));
            if deep_first {
                order.reverse();
            }
            for (index, op) in order {
                before(step, &op.path);
                match self.step(step, index, op) {
                    Err(error) if is_full(&error) && matches!(op.new, New::Absent) => {
                        kept.push(op.path.clone());
                        self.lock(op).map_err(|error| fault("changing", &op.path, error))?;
                    }
                    done => done.map_err(|error| fault("changing", &op.path, error))?,
                }
            }
        }
        Ok(kept)
    }

    fn step(&self, step: Step, index: usize, op: &Op) -> io::Result<()> {
        let (parent, name) = parent(self.base, &op.path)?;
        match step {
            Step::Unlock => set_mode(&parent, name, old_mode(op) | Mode::RWXU),
            Step::Unlink => {
                self.as_it_was(op)?;
                Ok(unlinkat(parent, name, AtFlags::empty())?)
            }
            Step::RemoveDirectory => Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?),
            Step::MakeDirectory => {
                let New::Directory { mode } = op.new else { return Ok(()) };
                // Whatever its mode will be: its owner has to fill it first.
                let mode = Mode::from_raw_mode(mode) | Mode::RWXU;
                mkdirat(&parent, name, mode)?;
                if let Some((user, group)) = owner(op) {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    chownat(&parent, name, Some(user), Some(group), flags)?;
                }
                set_mode(&parent, name, mode)
            }
            Step::Place => {
                let there = op.old.is_some_and(|it| !it.is_directory());
                let staged = index.to_string();
                if there {
                    self.as_it_was(op)?;
                } else {
                    let flags = RenameFlags::NOREPLACE;
                    match renameat_with(&self.held, &staged, &parent, name, flags) {
                        // Not every file system can: there a look just before has to do.
                        Err(Errno::INVAL) if look(self.base, &op.path)?.is_none() => {}
                        done => return Ok(done?),
                    }
                }
                Ok(renameat(&self.held, staged, &parent, name)?)
            }
            Step::SetMode => {
                let New::Directory { mode } = op.new else { return Ok(()) };
                set_mode(&parent, name, Mode::from_raw_mode(mode))
            }
        }
    }

    /// A directory that stays, after all, has its mode again.
    fn lock(&self, op: &Op) -> io::Result<()> {
        let (parent, name) = parent(self.base, &op.path)?;
        set_mode(&parent, name, old_mode(op))
    }

    /// Nobody changed it since it was looked at.
    fn as_it_was(&self, op: &Op) -> io::Result<()> {
        if look(self.base, &op.path)? == op.old {
            return Ok(());
        }
        Err(io::Error::other("it changed meanwhile"))
    }
}

fn old_mode(op: &Op) -> Mode {
    Mode::from_raw_mode(op.old.map_or(0, |it| it.node.mode))
}

fn set_mode(parent: &OwnedFd, name: &[u8], mode: Mode) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat2(parent, name, flags, Mode::empty(), BENEATH)?;
    Ok(fchmod(directory, mode)?)
}

fn takes(step: Step, op: &Op) -> bool {
    let directory = matches!(op.new, New::Directory { .. });
    match step {
        Step::Unlock => op.was_directory() && !old_mode(op).contains(Mode::RWXU),
        Step::Unlink => op.old.is_some() && !op.was_directory() && !op.placed(),
        Step::RemoveDirectory => op.was_directory() && !directory,
        Step::MakeDirectory => directory && !op.was_directory(),
        Step::Place => op.placed(),
        Step::SetMode => directory,
    }
}

/// Whose it is to be; only root may give things away.
fn owner(op: &Op) -> Option<(Uid, Gid)> {
    let (user, group) = op.owner;
    geteuid().is_root().then(|| (Uid::from_raw(user), Gid::from_raw(group)))
}

fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTEMPTY | Errno::EXIST))
}

/// Copies a file that stands still meanwhile.
pub fn copy(from: &mut File, to: &mut File, path: &[u8], room: &mut u64) -> Outcome<()> {
    let mut copied = || {
        let before = rustix::fs::fstat(from.as_fd())?;
        let size = before.st_size as u64;
        if size > *room {
            return Ok(None);
        }
        let count = io::copy(&mut io::Read::take(&mut *from, size + 1), to)?;
        let after = rustix::fs::fstat(from.as_fd())?;
        *room -= size;
        let times = |it: &rustix::fs::Stat| (it.st_mtime, it.st_mtime_nsec, it.st_size);
        Ok::<_, io::Error>(Some(count == size && times(&before) == times(&after)))
    };
    match copied() {
        Ok(Some(true)) => Ok(()),
        Ok(Some(false)) => Err(Fault::busy(format!("{} changes while it is copied", shown(path)))
            .hint("pause the sandbox, then apply again")),
        Ok(None) => Err(Fault::failed(format!("more than {APPLY_BYTES_MAX} bytes to be copied"))
            .hint("name the paths that matter")),
        Err(error) => Err(fault("copying", path, error)),
    }
}

pub fn shown(path: &[u8]) -> String {
    visible(&String::from_utf8_lossy(path))
}

pub fn fault(doing: &str, path: &[u8], error: io::Error) -> Fault {
    Fault::io(format!("{doing} {}", shown(path)), &error)
}
