//! The snapshots of one sandbox as a tree: every moment stands below the one it went on from.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    effect::EffectId,
    view::{Cursor, Pattern, Rest},
};
use crate::{
    base::{
        id::{SandboxId, SnapshotId},
        limits::{CONSOLE_SNAPSHOTS_MAX, CONSOLE_TOLD_KEPT, CONSOLE_TOLD_MAX},
    },
    model::{
        change::{FileChange, Subject},
        sandbox::Sandbox,
        snapshot::Snapshot,
    },
};

/// Branches drawn beside one another; deeper ones stand where the last does.
const DEPTH_MAX: usize = 8;

/// The place.
#[derive(Debug)]
pub struct Snapshots {
    pub sandbox: SandboxId,
    /// As it was called when the place was opened.
    pub name: String,
    pub rows: Vec<Row>,
    pub cursor: Cursor,
    /// Whether the hub has answered once.
    pub known: bool,
    /// Why it did not answer last.
    pub wrong: Option<String>,
    /// Older ones that are not listed.
    pub left_out: usize,
    pub pattern: Option<Pattern>,
    pub(super) rest: Rest,
    pub(super) asked: Option<EffectId>,
    /// What the feed said of the sandbox when the list was asked for.
    pub(super) seen: Option<Seen>,
    pub(super) telling: Option<(EffectId, Key)>,
    told: BTreeMap<Key, Told>,
}

/// How many snapshots there are, and from which it goes on.
pub(super) type Seen = (u32, Option<SnapshotId>);
/// A row; `None` is now.
pub(super) type Key = Option<SnapshotId>;

/// One row of the tree.
#[derive(Clone, Debug)]
pub struct Row {
    /// `None` = the sandbox as it is.
    pub kept: Option<Snapshot>,
    /// The lines of the tree before it.
    pub tree: String,
    /// Of another sandbox, which this one was forked from.
    pub of_another: bool,
    /// The one before it is listed.
    pub before: Option<SnapshotId>,
}

/// What is known of what changed up to a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Asked,
    Known(Summary),
    Not(String),
}

/// Changes in figures, and the first of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub files: usize,
    pub added: u64,
    pub removed: u64,
    pub first: Vec<FileChange>,
    /// There are more than were counted.
    pub more: bool,
}

impl Summary {
    pub(super) fn of(files: Vec<FileChange>, more: bool) -> Self {
        let lines = || files.iter().filter_map(|it| it.lines);
        Self {
            files: files.len(),
            added: lines().map(|it| it.added).sum(),
            removed: lines().map(|it| it.removed).sum(),
            more,
            first: files.into_iter().take(CONSOLE_TOLD_MAX).collect(),
        }
    }
}

impl Snapshots {
    pub fn new(sandbox: SandboxId, name: String) -> Self {
        Self {
            sandbox,
            name,
            rows: Vec::new(),
            cursor: Cursor::default(),
            known: false,
            wrong: None,
            left_out: 0,
            pattern: None,
            rest: Rest::default(),
            asked: None,
            seen: None,
            telling: None,
            told: BTreeMap::new(),
        }
    }

    /// Takes a new list of all snapshots there are; the cursor stays on its row.
    pub fn list(&mut self, all: Vec<Snapshot>, sandbox: Option<&Sandbox>) {
        let here = self.current().map(Row::key);
        let first = !std::mem::replace(&mut self.known, true);
        self.wrong = None;
        let moment = sandbox.and_then(|it| it.moment.clone());
        let (mut mine, others) = related(all, &self.sandbox, moment.as_ref());
        self.left_out = mine.len().saturating_sub(CONSOLE_SNAPSHOTS_MAX);
        mine.drain(..self.left_out);
        mine.extend(others);
        self.rows = tree(mine, &self.sandbox, sandbox.is_some(), moment.as_ref());
        self.cursor.set_count(self.rows.len());
        let place = |wanted: &Key| self.rows.iter().position(|it| it.key() == *wanted);
        let row = match here.filter(|_| !first) {
            Some(here) => place(&here).unwrap_or(self.cursor.at()),
            // What was done last is what one comes for.
            None => place(&None).unwrap_or(usize::MAX),
        };
        self.cursor.move_to(row);
        let rows = &self.rows;
        self.told.retain(|key, it| {
            // What it is now may be something else by now, and what failed may work.
            key.is_some()
                && matches!(it, Told::Known(_))
                && rows.iter().any(|row| row.key() == *key)
        });
        self.telling = None;
    }

    /// The row under the cursor.
    pub fn current(&self) -> Option<&Row> {
        self.rows.get(self.cursor.at())
    }

    /// The snapshot under the cursor.
    pub fn kept(&self) -> Option<&Snapshot> {
        self.current()?.kept.as_ref()
    }

    /// Snapshots of this sandbox.
    pub fn count(&self) -> usize {
        self.rows.iter().filter(|it| it.kept.is_some() && !it.of_another).count() + self.left_out
    }

    /// What is known of what changed up to a row.
    pub fn told(&self, row: &Row) -> Option<&Told> {
        self.told.get(&row.key())
    }

    /// The row whose changes are to be asked for, if that is one.
    pub(super) fn untold(&self) -> Option<&Row> {
        self.current().filter(|it| !self.told.contains_key(&it.key()))
    }

    pub(super) fn tell(&mut self, key: Key, told: Told) {
        if self.told.len() >= CONSOLE_TOLD_KEPT {
            self.told.clear();
        }
        self.told.insert(key, told);
    }

    /// It is not asked for any more.
    pub(super) fn untell(&mut self, key: &Key) {
        self.told.remove(key);
    }

    /// What changed up to now is asked anew.
    pub(super) fn forget_now(&mut self) {
        self.told.retain(|key, it| key.is_some() && matches!(it, Told::Known(_)));
    }

    /// Those that came right after a snapshot.
    pub fn after(&self, id: &SnapshotId) -> usize {
        self.rows.iter().filter(|it| it.before.as_ref() == Some(id) && it.kept.is_some()).count()
    }

    pub fn check(&self) -> Result<(), String> {
        if !self.cursor.is_sound(self.rows.len()) {
            return Err("the cursor of the snapshots is unsound".to_owned());
        }
        if self.told.len() > CONSOLE_TOLD_KEPT {
            return Err("too much is known of snapshots".to_owned());
        }
        Ok(())
    }
}

impl Row {
    pub(super) fn key(&self) -> Key {
        self.kept.as_ref().map(|it| it.id.clone())
    }

    /// Whose changes up to it are meant.
    pub fn subject(&self, sandbox: &SandboxId) -> Subject {
        match &self.kept {
            Some(it) => Subject::Snapshot(it.id.clone()),
            None => Subject::Sandbox(sandbox.clone()),
        }
    }

    /// What a search looks into.
    pub fn text(&self) -> String {
        match &self.kept {
            None => "now".to_owned(),
            Some(it) => format!("{} {} {}", label(it), it.id.at_home(), it.cause.word()),
        }
    }
}

/// What a snapshot is called: its name, else its id.
pub fn label(it: &Snapshot) -> String {
    it.name.clone().unwrap_or_else(|| it.id.at_home().as_str().to_owned())
}

/// The snapshots of a sandbox, oldest first, and those of others that they go back to.
fn related(
    mut all: Vec<Snapshot>,
    of: &SandboxId,
    moment: Option<&SnapshotId>,
) -> (Vec<Snapshot>, Vec<Snapshot>) {
    all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    let parents: BTreeMap<&SnapshotId, Option<&SnapshotId>> =
        all.iter().map(|it| (&it.id, it.parent.as_ref())).collect();
    let mut wanted: BTreeSet<SnapshotId> = BTreeSet::new();
    let mine = all.iter().filter(|it| it.sandbox == *of).map(|it| &it.id);
    for id in mine.chain(moment) {
        let mut next = Some(id);
        while let Some(id) = next.filter(|it| parents.contains_key(it)) {
            if !wanted.insert(id.clone()) {
                break;
            }
            next = parents.get(id).copied().flatten();
        }
    }
    let found = all.into_iter().filter(|it| wanted.contains(&it.id));
    let (mine, mut others): (Vec<_>, Vec<_>) = found.partition(|it| it.sandbox == *of);
    // Of a long line only its end is of interest here.
    others.drain(..others.len().saturating_sub(CONSOLE_SNAPSHOTS_MAX));
    (mine, others)
}

/// The rows, parents first. The line that leads to now goes straight down; others branch off to the right.
fn tree(
    all: Vec<Snapshot>,
    of: &SandboxId,
    has_now: bool,
    moment: Option<&SnapshotId>,
) -> Vec<Row> {
    let known: BTreeMap<SnapshotId, Option<SnapshotId>> =
        all.iter().map(|it| (it.id.clone(), it.parent.clone())).collect();
    let listed = |id: Option<&SnapshotId>| id.filter(|it| known.contains_key(*it)).cloned();
    // The line to now, which is drawn as the trunk.
    let mut trunk = BTreeSet::new();
    let mut next = listed(moment);
    while let Some(id) = next.take_if(|it| !trunk.contains(it)) {
        next = listed(known.get(&id).and_then(Option::as_ref));
        trunk.insert(id);
    }
    let mut children: BTreeMap<Key, Vec<Row>> = BTreeMap::new();
    for it in all {
        let before = listed(it.parent.as_ref());
        let of_another = it.sandbox != *of;
        let row = Row { tree: String::new(), of_another, before: before.clone(), kept: Some(it) };
        children.entry(before).or_default().push(row);
    }
    if has_now {
        let before = listed(moment);
        let now =
            Row { kept: None, tree: String::new(), of_another: false, before: before.clone() };
        children.entry(before).or_default().push(now);
    }
    for rows in children.values_mut() {
        let on_trunk = |it: &Row| it.kept.as_ref().is_none_or(|it| trunk.contains(&it.id));
        // The trunk comes last; what comes last goes on straight down.
        rows.sort_by_key(on_trunk);
    }
    walk(children)
}

/// Depth first, with no recursion: a line may be thousands long.
fn walk(mut children: BTreeMap<Key, Vec<Row>>) -> Vec<Row> {
    let mut out = Vec::new();
    // Each with how far to the right it stands, and whether a branch begins with it.
    let mut left: Vec<(Row, usize, bool)> = Vec::new();
    // Every root stands for itself: none branches off from another.
    let roots = children.remove(&None).unwrap_or_default();
    left.extend(roots.into_iter().rev().map(|it| (it, 0, false)));
    loop {
        while let Some((mut row, depth, begins)) = left.pop() {
            row.tree = lines(depth, begins);
            let next = row.kept.as_ref().and_then(|it| children.remove(&Some(it.id.clone())));
            let next = next.unwrap_or_default();
            let last = next.len().saturating_sub(1);
            for (at, row) in next.into_iter().enumerate().rev() {
                left.push((row, if at == last { depth } else { depth + 1 }, at != last));
            }
            out.push(row);
        }
        // A ring has no root; nothing is left out for it.
        match children.pop_first() {
            Some((_, rows)) => left.extend(rows.into_iter().rev().map(|it| (it, 0, false))),
            None => return out,
        }
    }
}

fn lines(depth: usize, begins: bool) -> String {
    let depth = depth.min(DEPTH_MAX);
    match depth.checked_sub(1) {
        Some(before) if begins => format!("{}├─", "│ ".repeat(before)),
        _ => "│ ".repeat(depth),
    }
}
