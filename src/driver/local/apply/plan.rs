//! What applying would do to each path, and what speaks against it. Reads both sides, writes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CStr,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{AtFlags, StatxFlags, fgetxattr, statx},
    io::Errno,
};

use super::{
    seen::{Seen, stat},
    store::Ledger,
    write::{From, New, Op, STAGE, fault},
};
use crate::{
    base::{clock::Timestamp, fault::Outcome},
    driver::local::{
        side,
        upper::{self, Found, Pair, View},
    },
    model::{
        change::{AppliedPath, ApplyRequest, ChangeStatus, Node, NodeKind, Verdict, covers},
        hunk::{self, Hunk, Misfit, Part},
    },
};

/// On what the overlay copied up: it was there before, and was edited in place.
const ORIGIN: &CStr = c"user.overlay.origin";

/// What is to be done, and what is not.
#[derive(Default)]
pub struct Plan {
    pub ops: Vec<Op>,
    /// Conflicts, and what is left out.
    pub told: Vec<AppliedPath>,
}

pub struct Planner<'a> {
    pub new: &'a View,
    pub base: BorrowedFd<'a>,
    pub request: &'a ApplyRequest,
    pub ledger: &'a Ledger,
    /// When the sandbox was made.
    pub since: Timestamp,
    /// Whose new files will be.
    pub owner: (u32, u32),
}

/// What becomes of one path.
enum Fate {
    Same,
    Do(Op),
    Not(Op, Verdict, &'static str),
}

impl Planner<'_> {
    pub fn plan(&self, found: &Found) -> Outcome<Plan> {
        let mut plan = Plan::default();
        let mut there = BTreeSet::new();
        let mut parts: BTreeMap<&[u8], &Part> =
            self.request.parts.iter().map(|it| (it.path.as_slice(), it)).collect();
        for (path, pair) in &found.pairs {
            let fate = match parts.remove(path.as_slice()) {
                Some(part) => self.part(part, *pair)?,
                None if self.is_asked(path) => self.fate(path, *pair),
                None => continue,
            };
            match fate.map_err(|error| fault("reading", path, error))? {
                Fate::Same => {}
                Fate::Do(op) => {
                    if !matches!(op.new, New::Absent) {
                        self.above(path, &mut there, &mut plan)?;
                        there.insert(path.clone());
                    }
                    plan.ops.push(op);
                }
                Fate::Not(op, verdict, why) => {
                    let (status, note) = (op.status(), Some(why.to_owned()));
                    plan.told.push(AppliedPath { path: op.path, status, verdict, note });
                }
            }
        }
        for path in parts.into_keys() {
            let (status, verdict) = (ChangeStatus::Modified, Verdict::Conflict);
            let note = Some("the sandbox has no change of it any more".to_owned());
            plan.told.push(AppliedPath { path: path.to_vec(), status, verdict, note });
        }
        plan.ops.sort_by(|one, two| one.path.cmp(&two.path));
        Ok(plan)
    }

    /// All of a path is meant, and not only what is beside a part of one.
    fn is_asked(&self, path: &[u8]) -> bool {
        let ApplyRequest { paths, parts, .. } = self.request;
        (paths.is_empty() && parts.is_empty()) || paths.iter().any(|it| covers(it, path))
    }

    /// What becomes of a file of which some hunks are meant.
    fn part(&self, part: &Part, pair: Pair) -> Outcome<io::Result<Fate>> {
        let hunks = hunk::all(&part.hunks)?;
        Ok(self.merge(&part.path, &hunks, pair))
    }

    fn merge(&self, path: &[u8], hunks: &[Hunk], pair: Pair) -> io::Result<Fate> {
        let found = stat(self.base, path)?;
        let old = found.as_ref().map(Seen::of);
        let conflict = |why| {
            let (path, new, owner) = (path.to_vec(), New::Absent, self.owner);
            let op = Op { path, old, new, owner, foreign: true, shared: true };
            Ok(Fate::Not(op, Verdict::Conflict, why))
        };
        let Some(seen) = old.filter(|it| it.node.kind == NodeKind::File) else {
            return conflict("there is no such file in the workspace");
        };
        let Some(text) = side::contents(self.base, path, seen.node)? else {
            return conflict("too large for a part of it");
        };
        let merged = match hunk::merge(&text, hunks) {
            Ok(merged) if merged == text => return Ok(Fate::Same),
            Ok(merged) => merged,
            Err(Misfit::Gone) => return conflict("its lines are others by now"),
            Err(Misfit::Unclear) => {
                return conflict("its lines moved, and are there more than once");
            }
        };
        let foreign = self.changed(path, old, found.as_ref(), pair)?;
        let new = New::File { mode: seen.node.mode, from: From::Merged(merged) };
        let (path, owner) = (path.to_vec(), seen.owner);
        Ok(Fate::Do(Op { path, old, new, owner, foreign, shared: foreign }))
    }

    /// Directories that a path needs and that were not asked for.
    fn above(&self, path: &[u8], there: &mut BTreeSet<Vec<u8>>, plan: &mut Plan) -> Outcome<()> {
        for (at, _) in path.iter().enumerate().filter(|(_, it)| **it == b'/') {
            let above = path.get(..at).unwrap_or_default();
            if !there.insert(above.to_vec()) {
                continue;
            }
            let missing = |root| stat(root, above).map_err(|error| fault("reading", above, error));
            if missing(self.base)?.is_none() {
                let mut mode = 0o755;
                for layer in self.new.layers() {
                    if let Some(it) = missing(layer)? {
                        mode = upper::node(&it).mode;
                        break;
                    }
                }
                let new = New::Directory { mode };
                let (path, owner) = (above.to_vec(), self.owner);
                plan.ops.push(Op { path, old: None, new, owner, foreign: false, shared: false });
            }
        }
        Ok(())
    }

    fn fate(&self, path: &[u8], pair: Pair) -> io::Result<Fate> {
        let found = stat(self.base, path)?;
        let old = found.as_ref().map(Seen::of);
        let owner = old.map_or(self.owner, |it| it.owner);
        let op = |new| Op { path: path.to_vec(), old, new, owner, foreign: false, shared: false };
        let special = |it: Option<Node>| it.is_some_and(|it| it.kind == NodeKind::Special);
        let left_out = |why| Ok(Fate::Not(op(New::Absent), Verdict::LeftOut, why));
        if path.split(|it| *it == b'/').next() == Some(STAGE.as_bytes()) {
            return left_out("sandwatch needs the name for itself");
        }
        if special(pair.old) || special(pair.new) {
            return left_out("a device, fifo or socket");
        }
        if pair.unread.is_some() {
            let why = "may not be read, or lies too deep";
            return Ok(Fate::Not(op(New::Absent), Verdict::Conflict, why));
        }
        let new = match pair.new {
            None => New::Absent,
            Some(Node { kind: NodeKind::Directory, mode, .. }) => New::Directory { mode },
            Some(Node { kind: NodeKind::Link, .. }) => {
                New::Link { target: side::target(self.new.layer(pair.new_at)?, path)? }
            }
            Some(Node { mode, .. }) => New::File { mode, from: From::Layer(pair.new_at) },
        };
        if let New::Link { target } = &new
            && !self.request.links
            && leads_out(path, target)
        {
            return Ok(Fate::Not(op(new), Verdict::LeftOut, "a link that leads out"));
        }
        if self.same(path, old, pair)? {
            return Ok(Fate::Same);
        }
        let foreign = self.changed(path, old, found.as_ref(), pair)?;
        if self.request.overwrite || !foreign {
            return Ok(Fate::Do(Op { foreign, ..op(new) }));
        }
        Ok(Fate::Not(op(new), Verdict::Conflict, "changed in the workspace and in the sandbox"))
    }

    /// Both sides are alike already.
    fn same(&self, path: &[u8], old: Option<Seen>, pair: Pair) -> io::Result<bool> {
        let (Some(old), Some(new)) = (old.map(|it| it.node), pair.new) else {
            return Ok(old.is_none() && pair.new.is_none());
        };
        if old.kind != new.kind || (old.mode != new.mode && new.kind != NodeKind::Link) {
            return Ok(false);
        }
        let (base, upper) = (self.base, self.new.layer(pair.new_at)?);
        match new.kind {
            NodeKind::Directory | NodeKind::Special => Ok(true),
            NodeKind::Link => Ok(side::target(base, path)? == side::target(upper, path)?),
            NodeKind::File => Ok(side::same((base, path), (upper, path))? == Some(true)),
        }
    }

    /// The real one is another than the one the sandbox worked on.
    fn changed(
        &self,
        path: &[u8],
        old: Option<Seen>,
        found: Option<&rustix::fs::Stat>,
        pair: Pair,
    ) -> io::Result<bool> {
        let (Some(seen), Some(found)) = (old, found) else { return Ok(false) };
        // What comes and goes in a directory is told by itself.
        if seen.is_directory() || self.ledger.owns(path, &seen) {
            return Ok(false);
        }
        if pair.old.is_none() {
            return Ok(true);
        }
        let changed = (found.st_ctime, found.st_ctime_nsec.cast_signed());
        let taken = match pair.new {
            // What lies on a snapshot, or was taken from there, was taken from the real one at some time before.
            Some(Node { kind: NodeKind::File, .. }) if !self.is_on_a_snapshot(path)? => {
                self.taken(path)?
            }
            _ => None,
        };
        let made = (self.since.0.div_euclid(1000), self.since.0.rem_euclid(1000) * 1_000_000);
        Ok(changed >= taken.unwrap_or(made))
    }

    fn is_on_a_snapshot(&self, path: &[u8]) -> io::Result<bool> {
        let between = self.new.layers().take(self.new.len() - 1).skip(1);
        for layer in between {
            if stat(layer, path)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// When the sandbox took a file over to edit it; `None` when it wrote one of its own.
    fn taken(&self, path: &[u8]) -> io::Result<Option<(i64, i64)>> {
        let file = side::open(self.new.layer(0)?, path)?;
        match fgetxattr(&file, ORIGIN, &mut [0_u8; 256][..]) {
            Ok(_) => {}
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let facts = statx(file.as_fd(), "", AtFlags::EMPTY_PATH, StatxFlags::BTIME)?;
        let known = facts.stx_mask & StatxFlags::BTIME.bits() != 0;
        Ok(known.then(|| (facts.stx_btime.tv_sec, i64::from(facts.stx_btime.tv_nsec))))
    }
}

/// Whether a link shows something that is not the workspace's.
fn leads_out(path: &[u8], target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return true;
    }
    let mut depth = path.split(|it| *it == b'/').count() - 1;
    for name in target.split(|it| *it == b'/') {
        match name {
            b"" | b"." => {}
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_out_by_its_start_or_by_too_many_steps_up() {
        for (path, target, out) in [
            (&b"a"[..], &b"b"[..], false),
            (b"a/b", b"../c", false),
            (b"a/b", b"../../c", true),
            (b"a", b"..", true),
            (b"a", b"b/../../c", true),
            (b"a", b"/etc", true),
            (b"a", b"./b//c/..", false),
        ] {
            assert_eq!(leads_out(path, target), out, "{path:?} {target:?}");
        }
    }
}
