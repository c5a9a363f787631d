//! What one sandbox changed: the files, the lines of the one under the cursor, and what came of applying them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
};

use super::{
    effect::EffectId,
    hunks::Patch,
    staged::{Dropped, Marks},
    view::{Cursor, Pattern, Rest},
};
use crate::{
    base::{
        id::{SandboxId, SessionId, SnapshotId},
        limits::{CONSOLE_CHANGES_MAX, CONSOLE_PATCHES_KEPT},
        text::visible,
    },
    model::change::{Applied, ApplyRequest, DiffRequest, FileChange, NodeKind, Subject, Verdict},
};

/// Cells that one step along a long line goes.
const STEP_CELLS: usize = 8;
/// Further along no line goes.
const COLUMN_MAX: usize = 4096;

/// What tells that changes may be others than those shown: its first program, which every restore starts anew, and
/// how often it was applied. A snapshot taken of it changes nothing that is shown.
pub(super) type Stand = (Option<SessionId>, u32);

/// Which half has the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    Files,
    Lines,
}

/// The two sides that are held against one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    pub of: Subject,
    pub against: Option<SnapshotId>,
    /// What the old side is called; `None` = what is really there, whoever the sandbox was forked from.
    pub from: Option<String>,
    /// What the new side is called; `None` = the sandbox as it is now.
    pub to: Option<String>,
}

impl Sides {
    /// What apply would write.
    pub fn of_apply(sandbox: SandboxId) -> Self {
        Self { of: Subject::Sandbox(sandbox), against: None, from: None, to: None }
    }

    pub fn words(&self, system: bool) -> String {
        let real = if system { "what it began with" } else { "the real directory" };
        let from = self.from.as_deref();
        match (from, &self.to) {
            (None, None) => format!("against {real}"),
            (from, Some(to)) => format!("from {} to {to}", from.unwrap_or(real)),
            (Some(from), None) => format!("from {from} to now"),
        }
    }

    /// Neither side ever changes.
    fn are_kept(&self) -> bool {
        matches!(self.of, Subject::Snapshot(_)) && self.against.is_some()
    }
}

/// The place.
#[derive(Debug)]
pub struct Diff {
    pub sandbox: SandboxId,
    /// As it was called when the place was opened.
    pub name: String,
    /// The real directory.
    pub directory: PathBuf,
    pub sides: Sides,
    pub system: bool,
    pub files: Vec<File>,
    pub cursor: Cursor,
    pub half: Half,
    /// The cursor in the lines of the file.
    pub lines: Cursor,
    /// Cells of them that are out of sight at the left.
    pub column: usize,
    /// Whether the hub has answered once.
    pub known: bool,
    /// Why it did not answer last.
    pub wrong: Option<String>,
    /// There are more files than are listed.
    pub more: bool,
    pub git_left_out: u64,
    pub pattern: Option<Pattern>,
    pub(super) rest: Rest,
    pub(super) asked: Option<EffectId>,
    pub(super) reading: Option<(EffectId, Vec<u8>)>,
    /// Newest first.
    pub(super) patches: VecDeque<(Vec<u8>, Read)>,
    /// The file under the cursor when the workspace, or the system, was last in sight.
    elsewhere: Option<Vec<u8>>,
    /// The one to go to when the list is there.
    wanted: Option<Vec<u8>>,
    /// Where the cursor was in the lines of a file that are read anew, and the row on top.
    place: Option<(Vec<u8>, usize, usize)>,
    pub(super) marks: Marks,
    /// Where the sandbox stood when the list was asked for.
    pub(super) stand: Option<Stand>,
    /// What came of each path when it was last applied.
    verdicts: BTreeMap<Vec<u8>, Came>,
}

/// What came of a path when it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    pub verdict: Verdict,
    pub note: Option<String>,
    /// Only some hunks of it were meant.
    pub hunks: bool,
}

/// A file's diff as it was read, or why it was not.
pub type Read = Result<Patch, String>;

/// One changed file.
#[derive(Clone, Debug)]
pub struct File {
    pub change: FileChange,
}

impl File {
    /// Its path as it is shown: safe, a directory with a slash.
    pub fn path(&self) -> String {
        let kind = self.change.new.or(self.change.old).map(|it| it.kind);
        let slash = if kind == Some(NodeKind::Directory) { "/" } else { "" };
        format!("{}{slash}", shown(&self.change.path))
    }

    /// Both names, where it was moved.
    pub fn paths(&self) -> String {
        match &self.change.old_path {
            Some(old) => format!("{} -> {}", shown(old), self.path()),
            None => self.path(),
        }
    }

    /// What a request names for it.
    pub(super) fn asked(&self) -> impl Iterator<Item = Vec<u8>> {
        [Some(&self.change.path), self.change.old_path.as_ref()].into_iter().flatten().cloned()
    }
}

/// A path, safe to show.
pub fn shown(path: &[u8]) -> String {
    visible(&String::from_utf8_lossy(path))
}

impl Diff {
    pub fn new(sandbox: SandboxId, name: String, directory: PathBuf, sides: Sides) -> Self {
        Self {
            sandbox,
            name,
            directory,
            sides,
            system: false,
            files: Vec::new(),
            cursor: Cursor::default(),
            half: Half::Files,
            lines: Cursor::default(),
            column: 0,
            known: false,
            wrong: None,
            more: false,
            git_left_out: 0,
            pattern: None,
            rest: Rest::default(),
            asked: None,
            reading: None,
            patches: VecDeque::new(),
            elsewhere: None,
            wanted: None,
            place: None,
            marks: Marks::new(),
            stand: None,
            verdicts: BTreeMap::new(),
        }
    }

    /// Asks for the list.
    pub(super) fn request(&self) -> DiffRequest {
        DiffRequest {
            against: self.sides.against.clone(),
            system: self.system,
            ..DiffRequest::default()
        }
    }

    /// Asks for the lines of one file.
    pub(super) fn request_of(&self, file: &File) -> DiffRequest {
        DiffRequest { paths: file.asked().collect(), text: true, ..self.request() }
    }

    /// Takes a new list; the cursor stays on its file, and what is staged and still differs stays so.
    pub(super) fn list(
        &mut self,
        files: Vec<FileChange>,
        more: bool,
        git_left_out: u64,
    ) -> Dropped {
        let wanted = self.wanted.take();
        let here = self.current().map(|it| it.change.path.clone()).or(wanted);
        let files = files.into_iter().take(CONSOLE_CHANGES_MAX);
        self.files = files.map(|change| File { change }).collect();
        self.files.sort_by(|a, b| a.change.path.cmp(&b.change.path));
        let dropped = self.keep_marks();
        (self.known, self.wrong) = (true, None);
        (self.more, self.git_left_out) = (more, git_left_out);
        self.forget_lines();
        self.reading = None;
        self.cursor.set_count(self.files.len());
        let place = here.and_then(|here| self.files.iter().position(|it| it.change.path == here));
        match place {
            Some(row) => self.cursor.move_to(row),
            None => self.show_start(),
        }
        self.settle();
        dropped
    }

    /// The workspace instead of the system, or the other way round; what is staged is remembered.
    pub(super) fn turn(&mut self) {
        self.system = !self.system;
        let here = self.current().map(|it| it.change.path.clone());
        self.wanted = std::mem::replace(&mut self.elsewhere, here);
        self.files.clear();
        self.cursor.set_count(0);
        (self.known, self.wrong, self.half) = (false, None, Half::Files);
        (self.more, self.git_left_out) = (false, 0);
        self.patches.clear();
        self.place = None;
        self.show_start();
    }

    /// What was read of files is not so any more.
    pub(super) fn forget_lines(&mut self) {
        if let (Some(Ok(_)), Some(file)) = (self.patch(), self.current()) {
            let path = file.change.path.clone();
            self.place = Some((path, self.lines.at(), self.lines.top()));
        }
        self.patches.clear();
        self.settle();
    }

    /// Both sides, in words.
    pub fn words(&self) -> String {
        self.sides.words(self.system)
    }

    /// The file under the cursor.
    pub fn current(&self) -> Option<&File> {
        self.files.get(self.cursor.at())
    }

    /// Its lines, as far as they were read.
    pub fn patch(&self) -> Option<&Read> {
        let path = &self.current()?.change.path;
        self.patches.iter().find(|(of, _)| of == path).map(|(_, it)| it)
    }

    pub fn read_lines(&self) -> Option<&Patch> {
        self.patch().and_then(|it| it.as_ref().ok())
    }

    /// Takes what was read of a file.
    pub(super) fn read(&mut self, path: Vec<u8>, read: Read) -> Dropped {
        let dropped = self.keep_pieces(&path, &read);
        let here = self.current().is_some_and(|it| it.change.path == path);
        self.patches.retain(|(of, _)| *of != path);
        self.patches.push_front((path, read));
        self.patches.truncate(CONSOLE_PATCHES_KEPT);
        if !here {
            return dropped;
        }
        let again = |(of, ..): &mut (Vec<u8>, usize, usize)| {
            self.patches.front().is_some_and(|(path, _)| path == of)
        };
        match self.place.take_if(again) {
            Some((_, at, top)) => {
                self.settle();
                self.lines.show_from(at, at.saturating_sub(top));
            }
            None => self.show_start(),
        }
        dropped
    }

    /// Another file is under the cursor: its lines begin at the first hunk.
    pub(super) fn show_start(&mut self) {
        self.place = None;
        let start = self.read_lines().map_or(0, Patch::start);
        self.column = 0;
        self.settle();
        // What is said about the file stays in sight.
        self.lines.show_from(start, start);
    }

    pub(super) fn settle(&mut self) {
        let count = self.read_lines().map_or(0, |it| it.lines.len());
        self.lines.set_count(count);
    }

    /// Moves along long lines; `false` when it was at their start already.
    pub(super) fn step_column(&mut self, right: bool) -> bool {
        let before = self.column;
        self.column = match right {
            true => (before + STEP_CELLS).min(COLUMN_MAX),
            false => before.saturating_sub(STEP_CELLS),
        };
        before != self.column
    }

    pub(super) fn hunk(&mut self, forward: bool) -> bool {
        let from = self.lines.at();
        let found = self.read_lines().and_then(|it| it.hunk(from, forward));
        if let Some(row) = found {
            self.lines.show_from(row, 3);
        }
        found.is_some()
    }

    /// The row of the next match in the half that has the keys.
    pub(super) fn find(&self, forward: bool) -> Option<usize> {
        let pattern = self.pattern.as_ref()?;
        match self.half {
            Half::Files => {
                let text = |row: usize| self.files.get(row).map(File::paths).unwrap_or_default();
                pattern.next(self.cursor.at(), self.files.len(), forward, text)
            }
            Half::Lines => {
                let patch = self.read_lines()?;
                let text =
                    |row: usize| patch.lines.get(row).map(|it| it.text.clone()).unwrap_or_default();
                pattern.next(self.lines.at(), patch.lines.len(), forward, text)
            }
        }
    }

    /// What came of a path when it was applied.
    pub fn verdict(&self, file: &File) -> Option<&Came> {
        // Elsewhere the same words name other files.
        if !self.is_appliable() {
            return None;
        }
        let old = file.change.old_path.as_ref().and_then(|it| self.verdicts.get(it));
        self.verdicts.get(&file.change.path).or(old)
    }

    /// Notes what came of an apply, and goes to the first conflict.
    pub(super) fn applied(&mut self, request: &ApplyRequest, applied: &Applied) {
        let parts: BTreeSet<&Vec<u8>> = request.parts.iter().map(|it| &it.path).collect();
        let told = applied.paths.iter().filter(|it| it.verdict != Verdict::Applied);
        let came = told.take(CONSOLE_CHANGES_MAX).map(|it| {
            let (verdict, note) = (it.verdict, it.note.clone());
            (it.path.clone(), Came { verdict, note, hunks: parts.contains(&it.path) })
        });
        self.verdicts = came.collect();
        if let Some(row) = self.files.iter().position(|it| self.is_conflict(it)) {
            self.cursor.move_to(row);
            self.show_start();
        }
    }

    pub(super) fn is_conflict(&self, file: &File) -> bool {
        self.verdict(file).is_some_and(|it| it.verdict == Verdict::Conflict)
    }

    /// What is shown is what apply would write.
    pub fn is_appliable(&self) -> bool {
        self.stages() && !self.system
    }

    /// So it is, or would be with the workspace in sight.
    pub(super) fn stages(&self) -> bool {
        matches!(self.sides.of, Subject::Sandbox(_)) && self.sides.against.is_none()
    }

    /// Whether what is shown can be out of date without anybody having said so.
    pub(super) fn may_be_old(&self) -> bool {
        self.known && self.asked.is_none() && !self.sides.are_kept()
    }

    pub fn check(&self) -> Result<(), String> {
        let lines = self.read_lines().map_or(0, |it| it.lines.len());
        if !self.cursor.is_sound(self.files.len()) || !self.lines.is_sound(lines) {
            return Err("a cursor of the diff is unsound".to_owned());
        }
        if self.files.len() > CONSOLE_CHANGES_MAX || self.patches.len() > CONSOLE_PATCHES_KEPT {
            return Err("too much is held of the diff".to_owned());
        }
        if !self.marks_are_sound() {
            return Err("what is staged is not there".to_owned());
        }
        Ok(())
    }
}
