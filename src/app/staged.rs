//! Which changed files are chosen for applying, or which hunks of them, and what is remembered of that while they
//! are out of sight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::{
    diff::{Diff, File, Read},
    hunks::{Patch, Piece},
};
use crate::{
    base::{
        id::SandboxId,
        limits::{APPLY_HUNKS_BYTES_MAX, CHANGE_PATHS_MAX, CONSOLE_STAGED_KEPT},
        text::{count, width},
        units::human_bytes,
    },
    model::{
        change::{Applied, ApplyRequest, ChangeStatus, FileChange, LineCount, NodeKind, Verdict},
        hunk::Part,
    },
};

/// A longer path is not named in a title.
const NAME_CELLS_MAX: usize = 24;

/// What is staged of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// All of it, as it is by then.
    Whole,
    /// These hunks, as they were shown, in the order of the file; never none.
    Hunks(Vec<Piece>),
}

impl Mark {
    /// Nothing of the change is left out.
    pub fn covers(&self, change: &FileChange) -> bool {
        let Self::Hunks(pieces) = self else { return true };
        let sum = pieces.iter().fold(LineCount::default(), |sum, it| LineCount {
            added: sum.added + it.lines.added,
            removed: sum.removed + it.lines.removed,
        });
        change.lines == Some(sum)
    }

    fn has(&self, piece: &Piece) -> bool {
        match self {
            Self::Whole => true,
            Self::Hunks(pieces) => pieces.iter().any(|it| it.text == piece.text),
        }
    }
}

/// What is staged of one sandbox, by path. Only what apply would write can be staged, so there is one side to each.
pub type Marks = BTreeMap<Vec<u8>, Mark>;

/// Staged hunks that are no longer there as they were shown: of which file, and how many.
pub(super) type Dropped = Vec<(Vec<u8>, usize)>;

/// What is written is no longer staged; what was staged since is.
pub(super) fn written(marks: &mut Marks, request: &ApplyRequest, applied: &Applied) {
    for part in &request.parts {
        if let Some(Mark::Hunks(pieces)) = marks.get_mut(&part.path) {
            let sent = Patch::read(part.hunks.clone(), false).pieces;
            let sent: BTreeSet<&Bytes> = sent.iter().map(|it| &it.text).collect();
            pieces.retain(|it| !sent.contains(&it.text));
        }
    }
    let parts: BTreeSet<&Vec<u8>> = request.parts.iter().map(|it| &it.path).collect();
    let done = applied.paths.iter().filter(|it| it.verdict == Verdict::Applied);
    for path in done.map(|it| &it.path).filter(|it| !parts.contains(it)) {
        if marks.get(path) == Some(&Mark::Whole) {
            marks.remove(path);
        }
    }
    marks.retain(|_, it| !matches!(it, Mark::Hunks(pieces) if pieces.is_empty()));
}

/// How much is written, in words: of so many hunks in these files, and so many other paths.
pub(super) fn amount(hunks: usize, of: &[String], others: (usize, &str)) -> String {
    let (others, noun) = others;
    let hunks = match of {
        [] => return count(others, noun),
        [one] if width(one) <= NAME_CELLS_MAX => format!("{} of {one}", count(hunks, "hunk")),
        many => format!("{} of {}", count(hunks, "hunk"), count(many.len(), "file")),
    };
    if others == 0 { hunks } else { format!("{hunks}, {}", count(others, noun)) }
}

/// What is to be written of one file.
pub(super) struct Chosen<'a> {
    pub file: &'a File,
    /// `None` = all of it.
    pub hunks: Option<&'a [Piece]>,
}

impl File {
    /// Why it is written as a whole or not at all.
    fn indivisible(&self) -> Option<&'static str> {
        let change = &self.change;
        let (old, new) = match (change.status, change.old, change.new) {
            (ChangeStatus::Added, ..) => return Some("it is new"),
            (ChangeStatus::Deleted, ..) => return Some("it was deleted"),
            (ChangeStatus::Modified, Some(old), Some(new)) if change.old_path.is_none() => {
                (old, new)
            }
            _ => return Some("it was moved"),
        };
        let why = [
            (
                old.kind != NodeKind::File || new.kind != NodeKind::File,
                "it is no file on both sides",
            ),
            (old.mode != new.mode, "its mode changed, too"),
            (change.lines.is_none(), "its lines were not compared"),
        ];
        why.into_iter().find_map(|(is_so, why)| is_so.then_some(why))
    }
}

impl Diff {
    /// What is staged of a file.
    pub fn mark(&self, file: &File) -> Option<&Mark> {
        self.marks.get(&file.change.path).filter(|_| self.is_appliable())
    }

    /// Files of which something is staged.
    pub fn staged(&self) -> usize {
        if self.known && self.is_appliable() { self.marks.len() } else { 0 }
    }

    /// Whether the hunk that a row belongs to is staged, of the file under the cursor.
    pub fn is_staged(&self, patch: &Patch, row: usize) -> bool {
        let mark = self.current().and_then(|it| self.mark(it));
        mark.zip(patch.piece_at(row)).is_some_and(|(mark, piece)| mark.has(piece))
    }

    /// How many hunks of the file under the cursor are staged singly, and how many it has.
    pub fn staged_hunks(&self) -> Option<(usize, usize)> {
        match self.current().and_then(|it| self.mark(it))? {
            Mark::Whole => None,
            Mark::Hunks(pieces) => Some((pieces.len(), self.read_lines()?.pieces.len())),
        }
    }

    /// Stages all of the file under the cursor, or nothing of it.
    pub(super) fn stage_file(&mut self) {
        let Some(path) = self.current().map(|it| it.change.path.clone()) else { return };
        if self.marks.get(&path) == Some(&Mark::Whole) {
            self.marks.remove(&path);
        } else {
            self.marks.insert(path, Mark::Whole);
        }
    }

    /// Stages the hunk under the cursor, or no longer; `Err` says why it can't be.
    pub(super) fn stage_hunk(&mut self) -> Result<(), String> {
        let file = self.current().ok_or("nothing changed that could be staged")?;
        let mark = self.mark(file);
        let says = |it: &str| format!("hunks of {} can't be staged singly: {it}", file.path());
        if let Some(why) = file.indivisible() {
            return Err(says(why));
        }
        let patch = match self.patch() {
            Some(Ok(patch)) => patch,
            Some(Err(_)) => return Err(says("its lines could not be read")),
            None => return Err(says("its lines are not read yet")),
        };
        let here = patch.piece_at(self.lines.at()).ok_or("there is no hunk under the cursor")?;
        let is_on = mark.is_some_and(|it| it.has(here));
        if patch.cut && (!is_on || mark == Some(&Mark::Whole)) {
            return Err(says("only a part of its lines was read"));
        }
        let staged: BTreeSet<&Bytes> = match mark {
            None => BTreeSet::new(),
            Some(Mark::Whole) => patch.pieces.iter().map(|it| &it.text).collect(),
            Some(Mark::Hunks(pieces)) => pieces.iter().map(|it| &it.text).collect(),
        };
        let wanted = patch.pieces.iter().filter(|it| staged.contains(&it.text) != (*it == here));
        // A copy of its own: it holds no whole diff in memory.
        let own = |it: &Piece| Piece { text: Bytes::copy_from_slice(&it.text), ..it.clone() };
        let pieces: Vec<Piece> = wanted.map(own).collect();
        let path = file.change.path.clone();
        let bytes = |it: &Mark| match it {
            Mark::Whole => 0,
            Mark::Hunks(pieces) => pieces.iter().map(|it| it.text.len()).sum::<usize>(),
        };
        let mark = Mark::Hunks(pieces);
        let others = self.marks.iter().filter(|it| *it.0 != path).map(|it| bytes(it.1));
        if others.sum::<usize>() + bytes(&mark) > APPLY_HUNKS_BYTES_MAX {
            let most = human_bytes(APPLY_HUNKS_BYTES_MAX as u64);
            return Err(says(&format!("more than {most} of hunks would be staged")));
        }
        if bytes(&mark) == 0 {
            self.marks.remove(&path);
        } else {
            self.marks.insert(path, mark);
        }
        Ok(())
    }

    /// Stages every file, or nothing.
    pub(super) fn stage_all(&mut self, on: bool) {
        self.marks.clear();
        if on {
            let paths = self.files.iter().map(|it| it.change.path.clone());
            self.marks = paths.map(|it| (it, Mark::Whole)).collect();
        }
    }

    /// What was staged when the place was left; it counts when the list is there.
    pub(super) fn remember(&mut self, marks: Marks) {
        self.marks = marks;
    }

    pub(super) fn marks(self) -> Marks {
        self.marks
    }

    /// By a new list: what no longer differs is not staged, nor are hunks of what has no hunks any more.
    pub(super) fn keep_marks(&mut self) -> Dropped {
        if !self.is_appliable() {
            return Dropped::new();
        }
        let there: BTreeMap<&Vec<u8>, &File> =
            self.files.iter().map(|it| (&it.change.path, it)).collect();
        let mut dropped = Dropped::new();
        self.marks.retain(|path, mark| match (mark, there.get(path)) {
            (Mark::Whole, file) => file.is_some(),
            (Mark::Hunks(_), Some(file)) if file.indivisible().is_none() => true,
            (Mark::Hunks(pieces), _) => {
                dropped.push((path.clone(), pieces.len()));
                false
            }
        });
        dropped
    }

    /// By a file's lines as they were read anew: hunks stay staged that are there byte for byte.
    pub(super) fn keep_pieces(&mut self, path: &[u8], read: &Read) -> Dropped {
        if !self.is_appliable() {
            return Dropped::new();
        }
        let (Ok(patch), Some(Mark::Hunks(pieces))) = (read, self.marks.get_mut(path)) else {
            return Dropped::new();
        };
        let there: BTreeSet<&Bytes> = patch.pieces.iter().map(|it| &it.text).collect();
        let before = pieces.len();
        pieces.retain(|it| there.contains(&it.text));
        let lost = before - pieces.len();
        if pieces.is_empty() {
            self.marks.remove(path);
        }
        if lost == 0 { Dropped::new() } else { vec![(path.to_vec(), lost)] }
    }

    /// What is to be applied: what is staged, else the file under the cursor.
    pub(super) fn chosen(&self) -> Vec<Chosen<'_>> {
        let staged = self.files.iter().filter_map(|file| match self.mark(file)? {
            Mark::Whole => Some(Chosen { file, hunks: None }),
            Mark::Hunks(pieces) => Some(Chosen { file, hunks: Some(pieces) }),
        });
        let staged: Vec<Chosen<'_>> = staged.collect();
        if staged.is_empty() {
            return self.current().map(|file| Chosen { file, hunks: None }).into_iter().collect();
        }
        staged
    }

    /// How much that is, in words.
    pub(super) fn amount(&self) -> String {
        let chosen = self.chosen();
        let parts = chosen.iter().filter_map(|it| Some((it.file.path(), it.hunks?.len())));
        let (of, hunks): (Vec<String>, Vec<usize>) = parts.unzip();
        let wholes = chosen.iter().filter(|it| it.hunks.is_none());
        let is_file = |it: &&Chosen<'_>| {
            let change = &it.file.change;
            change.new.or(change.old).is_some_and(|it| it.kind == NodeKind::File)
        };
        let files = wholes.clone().filter(is_file).count();
        let wholes = wholes.count();
        let noun = if !of.is_empty() && files == wholes { "file" } else { "path" };
        amount(hunks.iter().sum(), &of, (wholes, noun))
    }

    /// The request for that; `Err` says why there can't be one.
    pub(super) fn apply(&self, overwrite: bool) -> Result<ApplyRequest, String> {
        let chosen = self.chosen();
        let parts = chosen.iter().filter_map(|it| {
            let texts = it.hunks?.iter().flat_map(|it| it.text.iter().copied());
            Some(Part { path: it.file.change.path.clone(), hunks: texts.collect() })
        });
        let parts: Vec<Part> = parts.collect();
        let wholes = chosen.iter().filter(|it| it.hunks.is_none());
        let paths: Vec<Vec<u8>> = wholes.flat_map(|it| it.file.asked()).collect();
        let all = parts.is_empty() && chosen.len() == self.files.len() && !self.more;
        let (named, some) = (paths.len(), parts.len());
        // A request names only so many; all of them need not be named.
        let paths = match named {
            _ if some > CHANGE_PATHS_MAX => {
                return Err(format!(
                    "hunks of {some} files are staged; at most of {CHANGE_PATHS_MAX} at a time"
                ));
            }
            ..=CHANGE_PATHS_MAX => paths,
            _ if all => Vec::new(),
            _ => {
                return Err(format!(
                    "{named} paths are staged; at most {CHANGE_PATHS_MAX} at a time, or all"
                ));
            }
        };
        Ok(ApplyRequest { paths, parts, overwrite, ..ApplyRequest::default() })
    }

    /// What is staged is there, as far as that is known.
    pub(super) fn marks_are_sound(&self) -> bool {
        let empty = |it: &Mark| matches!(it, Mark::Hunks(pieces) if pieces.is_empty());
        let unlisted = !self.known || !self.is_appliable();
        let is_listed = |path: &Vec<u8>| {
            self.files.binary_search_by(|it| it.change.path.cmp(path)).is_ok() || unlisted
        };
        self.marks.iter().all(|(path, mark)| is_listed(path) && !empty(mark))
    }

    /// Those whose whole is known to be in conflict.
    pub(super) fn conflicts(&self) -> usize {
        let whole = |it: &&File| self.verdict(it).is_some_and(|it| !it.hunks);
        self.files.iter().filter(|it| self.is_conflict(it)).filter(whole).count()
    }
}

/// Those of sandboxes that are not looked at, the latest first.
#[derive(Debug, Default)]
pub struct Staged(VecDeque<(SandboxId, Marks)>);

impl Staged {
    pub fn keep(&mut self, sandbox: SandboxId, marks: Marks) {
        self.forget(&sandbox);
        if !marks.is_empty() {
            self.0.push_front((sandbox, marks));
            self.0.truncate(CONSOLE_STAGED_KEPT);
        }
    }

    pub fn take(&mut self, sandbox: &SandboxId) -> Marks {
        let at = self.0.iter().position(|it| it.0 == *sandbox);
        at.and_then(|it| self.0.remove(it)).map(|it| it.1).unwrap_or_default()
    }

    pub fn of(&mut self, sandbox: &SandboxId) -> Option<&mut Marks> {
        self.0.iter_mut().find(|it| it.0 == *sandbox).map(|it| &mut it.1)
    }

    /// The sandbox is no more.
    pub fn forget(&mut self, sandbox: &SandboxId) {
        self.0.retain(|it| it.0 != *sandbox);
    }
}
