//! Writes a sandbox's changes to the real directory, and takes them back. Nothing is written when there
//! is a conflict; each path changes in one step; and what was there before is kept first, so that an
//! apply that was killed anywhere leaves every path old or new and can be finished or taken back.

mod plan;
pub(super) mod seen;
mod store;
#[cfg(test)]
mod tests;
mod write;

use std::{
    collections::HashMap,
    fs::{self, File},
    os::{fd::BorrowedFd, unix::fs::OpenOptionsExt},
    path::PathBuf,
};

use rustix::{
    fs::{FlockOperation, flock, fstat},
    io::Errno,
};

use self::{
    plan::{Plan, Planner},
    seen::{Seen, look},
    store::{Entry, Ledger, Left, Store, Written},
    write::{Before, From, New, Op, Stage, copy, fault, shown},
};
use super::{
    changes::Sides,
    side,
    upper::{self, Look},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::{APPLY_BYTES_MAX, CHANGES_WITHIN},
    },
    driver::Ground,
    model::change::{Applied, AppliedPath, ApplyRequest, NodeKind, Verdict},
};

/// Applies the changes of the sandbox in this directory, which was made at that time.
pub fn apply(ground: &Ground, since: Timestamp, request: &ApplyRequest) -> Outcome<Applied> {
    apply_until(ground, since, request, &mut |_, _| {})
}

fn apply_until(
    ground: &Ground,
    since: Timestamp,
    request: &ApplyRequest,
    before: Before<'_>,
) -> Outcome<Applied> {
    let sides = Sides::open(ground)?;
    let base = sides.base()?;
    let _alone = alone(base)?;
    let parts = request.parts.iter().map(|it| it.path.clone());
    let look = Look {
        paths: request.paths.iter().cloned().chain(parts).collect(),
        git: request.git,
        until: clock::monotonic() + CHANGES_WITHIN,
    };
    let found = upper::walk(&sides.new, &sides.old, look)?;
    let store = Store::open(&ground.dir)?;
    let mut ledger = store.ledger()?;
    let root = fstat(base).map_err(|error| fault("reading", b".", error.into()))?;
    let owner = (root.st_uid, root.st_gid);
    let planner = Planner { new: &sides.new, base, request, ledger: &ledger, since, owner };
    let Plan { ops, told } = planner.plan(&found)?;
    let mut applied = Applied { paths: told, git_left_out: found.git_left_out };
    if applied.refused() || ops.is_empty() {
        Stage::tidy(base)?;
        return Ok(applied);
    }
    let stage = Stage::open(base)?;
    let number = store.begin()?;
    let mut prepare = || {
        let left = stage.fill(&ops, &sides.new)?;
        let entries = entries(&ops, &left, base, |index| store.saved(number, index))?;
        remember(&mut ledger, &ops, &left, |_| None);
        store.write_ledger(&ledger)?;
        store.write(number, &entries)?;
        store.sync()?;
        Ok(())
    };
    if let Err(fault) = prepare() {
        // The first fault is the one to tell; what can't be cleaned now, the next time does.
        drop(store.forget(number));
        drop(stage.close());
        return Err(fault);
    }
    match stage.place(&ops, before) {
        Ok(kept) => {
            stage.close()?;
            applied.paths.extend(told_of(&ops, &kept));
            applied.paths.sort_by(|one, two| one.path.cmp(&two.path));
            Ok(applied)
        }
        Err(fault) => {
            drop(stage);
            match take_back(&store, number, &sides, Changed::Keep, &mut |_, _| {}) {
                Ok(_) => Err(fault.context("nothing was applied")),
                Err(second) => Err(fault
                    .context(format!("applied in part, and could not be taken back ({second})"))
                    .hint("sandwatch apply --undo tries again")),
            }
        }
    }
}

/// Takes back what was applied last, but for paths that were changed since.
pub fn undo(ground: &Ground, overwrite: bool) -> Outcome<Applied> {
    undo_until(ground, overwrite, &mut |_, _| {})
}

fn undo_until(ground: &Ground, overwrite: bool, before: Before<'_>) -> Outcome<Applied> {
    let sides = Sides::open(ground)?;
    let _alone = alone(sides.base()?)?;
    let store = Store::open(&ground.dir)?;
    let Some(number) = store.last()? else {
        return Err(Fault::absent("nothing was applied that could be taken back"));
    };
    let changed = if overwrite { Changed::Overwrite } else { Changed::Refuse };
    take_back(&store, number, &sides, changed, before)
}

/// What to do with paths that somebody else changed since.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changed {
    Refuse,
    Keep,
    Overwrite,
}

fn take_back(
    store: &Store,
    number: u64,
    sides: &Sides,
    changed: Changed,
    before: Before<'_>,
) -> Outcome<Applied> {
    let base = sides.base()?;
    let mut ledger = store.ledger()?;
    let mut ops = Vec::new();
    let mut was = HashMap::new();
    let mut undone = Applied::default();
    for (index, entry) in store.read(number)?.into_iter().enumerate() {
        let now = look(base, &entry.path).map_err(|error| fault("reading", &entry.path, error))?;
        let directory = now.is_some_and(|it| it.is_directory());
        let was_directory = entry.old.is_some_and(|it| it.is_directory());
        // What was taken back before, then or now, is the same with another number.
        let first = |it: Option<Seen>| it.map(|it| ledger.first(&entry.path, it));
        let as_it_was = first(now) == first(entry.old) || (directory && was_directory);
        let as_left = match entry.left {
            Left::Absent => now.is_none(),
            // A file made room for it, and then the process was killed.
            Left::Directory => directory || now.is_none(),
            Left::Placed(_) if was_directory && now.is_none() => true,
            Left::Placed(seen) => first(now) == first(Some(seen)),
        };
        let op = back(&entry, now, store.saved(number, index));
        // A directory may be where it was, and have another mode.
        let only_mode = directory && was_directory;
        if as_it_was && !only_mode {
            continue;
        }
        if as_left || only_mode || changed == Changed::Overwrite {
            was.extend(entry.old.map(|it| (entry.path, it)));
            ops.push(op);
        } else if changed == Changed::Refuse {
            let (status, verdict) = (op.status(), Verdict::Conflict);
            let note = Some("changed since it was applied".to_owned());
            undone.paths.push(AppliedPath { path: op.path, status, verdict, note });
        }
    }
    if undone.refused() {
        return Ok(undone);
    }
    let stage = Stage::open(base)?;
    let left = stage.fill(&ops, &sides.new)?;
    remember(&mut ledger, &ops, &left, |path| was.get(path).copied());
    store.write_ledger(&ledger)?;
    store.sync()?;
    let kept = stage.place(&ops, before)?;
    stage.close()?;
    store.forget(number)?;
    undone.paths.extend(told_of(&ops, &kept));
    Ok(undone)
}

/// What makes a path again what it was.
fn back(entry: &Entry, now: Option<Seen>, kept: PathBuf) -> Op {
    let mode = entry.old.map_or(0, |it| it.node.mode);
    let new = match entry.old.map(|it| it.node.kind) {
        None | Some(NodeKind::Special) => New::Absent,
        Some(NodeKind::Directory) => New::Directory { mode },
        Some(NodeKind::Link) => New::Link { target: entry.target.clone() },
        Some(NodeKind::File) => New::File { mode, from: From::Kept(kept) },
    };
    let owner = entry.old.or(now).map_or((0, 0), |it| it.owner);
    let path = entry.path.clone();
    Op { path, old: now, new, owner, foreign: false, shared: entry.foreign }
}

/// Notes how paths will be left, before they are; and what they had been before, where they are that again.
fn remember(
    ledger: &mut Ledger,
    ops: &[Op],
    left: &[Option<Seen>],
    before: impl Fn(&[u8]) -> Option<Seen>,
) {
    for (op, seen) in ops.iter().zip(left) {
        if let Some(seen) = *seen {
            let again = before(&op.path).map(|it| ledger.first(&op.path, it));
            ledger.add(&op.path, Written { seen, again, foreign: op.shared });
        }
    }
}

/// The right to write to a workspace; it ends with this, or with the process.
struct Alone<'a>(BorrowedFd<'a>);

/// One at a time may write to a workspace.
fn alone(base: BorrowedFd<'_>) -> Outcome<Alone<'_>> {
    match flock(base, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Alone(base)),
        Err(Errno::WOULDBLOCK) => Err(Fault::busy("changes are being applied to this workspace")),
        Err(error) => Err(fault("locking", b"the workspace", error.into())),
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        // Closing would not do: a process that is just being started may hold a copy. It can't fail.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}

/// Keeps what is there, and notes how each path will be left.
fn entries(
    ops: &[Op],
    left: &[Option<Seen>],
    base: BorrowedFd<'_>,
    place: impl Fn(usize) -> PathBuf,
) -> Outcome<Vec<Entry>> {
    let mut room = APPLY_BYTES_MAX;
    let mut entries = Vec::with_capacity(ops.len());
    for (index, (op, left)) in ops.iter().zip(left).enumerate() {
        let mut target = Vec::new();
        let reading = |error| fault("keeping", &op.path, error);
        match op.old.map(|it| it.node.kind) {
            Some(NodeKind::File) => {
                let mut from = side::open(base, &op.path).map_err(reading)?;
                let to = place(index);
                let mut options = fs::OpenOptions::new();
                let to = options.write(true).create_new(true).mode(0o600).open(&to);
                let mut to: File = to.map_err(reading)?;
                copy(&mut from, &mut to, &op.path, &mut room)?;
            }
            Some(NodeKind::Link) => target = side::target(base, &op.path).map_err(reading)?,
            Some(NodeKind::Directory | NodeKind::Special) | None => {}
        }
        if look(base, &op.path).map_err(reading)? != op.old {
            return Err(Fault::busy(format!("{} changed just now", shown(&op.path))));
        }
        let left = match (&op.new, left) {
            (New::Directory { .. }, _) => Left::Directory,
            (_, Some(seen)) => Left::Placed(*seen),
            (_, None) => Left::Absent,
        };
        let (path, old, foreign) = (op.path.clone(), op.old, op.foreign);
        entries.push(Entry { path, old, target, left, foreign });
    }
    Ok(entries)
}

fn told_of<'a>(ops: &'a [Op], kept: &'a [Vec<u8>]) -> impl Iterator<Item = AppliedPath> + 'a {
    ops.iter().map(|op| {
        let (verdict, note) = if kept.contains(&op.path) {
            (Verdict::LeftOut, Some("something else is in it".to_owned()))
        } else {
            (Verdict::Applied, None)
        };
        AppliedPath { path: op.path.clone(), status: op.status(), verdict, note }
    })
}
