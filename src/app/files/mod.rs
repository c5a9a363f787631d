//! The place of files: the tree of a sandbox as it is now, beside what is under the cursor.

mod act;
mod marks;
mod preview;
mod tree;

use std::time::Duration;

pub use self::{
    act::{FilesAct, FilesNews, FilesPending, FilesReply, How},
    marks::{Counts, Marks},
    preview::{Body, Class, Graphic, Preview, ShownLine, Span},
    tree::{Dir, Row, Tree},
};
use super::{
    effect::EffectId,
    view::{Cursor, Pattern, Rest},
};
use crate::{
    base::{
        id::{SandboxId, SnapshotId},
        limits::{CONSOLE_FILES_AGAIN_EACH, CONSOLE_FILES_AGAIN_MIN},
    },
    model::file::{FileEntry, Hit, joined, split},
};

/// Which half has the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    Tree,
    Text,
}

/// Lines that were found, in place of the tree.
#[derive(Clone, Debug)]
pub struct Found {
    pub words: String,
    pub hits: Vec<Hit>,
    pub cursor: Cursor,
    /// There is more.
    pub more: bool,
    pub wrong: Option<String>,
    pub(in crate::app) asked: Option<EffectId>,
}

impl Found {
    /// Whether the hub still looks.
    pub fn asked(&self) -> bool {
        self.asked.is_some()
    }
}

/// Directories that are watched together.
#[derive(Clone, Debug)]
pub(in crate::app) struct Watch {
    pub generation: u64,
    pub paths: Vec<Vec<u8>>,
    pub begun: bool,
}

/// The place.
#[derive(Debug)]
pub struct Files {
    pub sandbox: SandboxId,
    /// As it was called when the place was opened.
    pub name: String,
    /// Where its workspace is, if it has one.
    pub workspace: Option<Vec<u8>>,
    pub tree: Tree,
    pub cursor: Cursor,
    pub half: Half,
    pub found: Option<Found>,
    /// What is read of the file under the cursor, or why it is not.
    pub preview: Option<Result<Preview, (Vec<u8>, String)>>,
    /// The cursor in its lines.
    pub lines: Cursor,
    /// Cells of them that are out of sight at the left.
    pub column: usize,
    pub how: How,
    /// The end of the file stays in sight while it grows.
    pub follows: bool,
    pub marks: Marks,
    /// What they tell changes since, and what that is called; `None` = the sandbox's beginning.
    pub since: Option<(SnapshotId, String)>,
    /// Why they are not known.
    pub marks_wrong: Option<String>,
    /// Why nothing tells of changes.
    pub unwatched: Option<String>,
    pub(in crate::app) pattern: Option<Pattern>,
    pub(in crate::app) rest: Rest,
    pub(in crate::app) looking: Option<(EffectId, Vec<u8>)>,
    /// It was begun when the terminal's cells may have been others.
    pub(in crate::app) looking_is_late: bool,
    /// It may be another by now.
    pub(in crate::app) look_again: bool,
    /// What is watched, the newest last; an older one goes on until the next has begun.
    pub(in crate::app) watches: Vec<Watch>,
    pub(in crate::app) marks_asked: Option<EffectId>,
    pub(in crate::app) marks_at: Option<Duration>,
    pub(in crate::app) marks_old: bool,
    /// The workspace is copy-on-write, and its driver tells what changed.
    pub(in crate::app) is_compared: bool,
    /// The top that is not shown, and where the cursor was there.
    elsewhere: Option<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Files {
    pub fn new(sandbox: SandboxId, name: String, workspace: Option<Vec<u8>>) -> Self {
        let top = workspace.clone().unwrap_or_else(|| b"/".to_vec());
        Self {
            sandbox,
            name,
            workspace,
            tree: Tree::new(top),
            cursor: Cursor::default(),
            half: Half::Tree,
            found: None,
            preview: None,
            lines: Cursor::default(),
            column: 0,
            how: How::Text,
            follows: false,
            marks: Marks::default(),
            since: None,
            marks_wrong: None,
            unwatched: None,
            pattern: None,
            rest: Rest::default(),
            looking: None,
            looking_is_late: false,
            look_again: false,
            watches: Vec::new(),
            marks_asked: None,
            marks_at: None,
            marks_old: true,
            is_compared: false,
            elsewhere: None,
        }
    }

    /// What is looked for in names.
    pub fn pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref()
    }

    /// The entry under the cursor of the tree.
    pub fn entry(&self) -> Option<&FileEntry> {
        if self.found.is_some() {
            return None;
        }
        self.tree.entry(*self.tree.rows().get(self.cursor.at())?)
    }

    /// The path under the cursor.
    pub fn path(&self) -> Option<Vec<u8>> {
        match &self.found {
            Some(found) => {
                let hit = found.hits.get(found.cursor.at())?;
                Some(joined(self.tree.top(), &hit.path))
            }
            None => self.tree.path(*self.tree.rows().get(self.cursor.at())?),
        }
    }

    /// The path of what is to be read: a file, or nothing.
    pub(in crate::app) fn to_look_at(&self) -> Option<Vec<u8>> {
        let is_read = self.found.is_some() || self.entry().is_some_and(|it| !it.is_directory());
        self.path().filter(|_| is_read)
    }

    /// What is shown of it, if that is what is under the cursor.
    pub fn shown(&self) -> Option<&Result<Preview, (Vec<u8>, String)>> {
        let path = self.to_look_at()?;
        let of = |it: &&Result<Preview, (Vec<u8>, String)>| match it {
            Ok(preview) => preview.path == path,
            Err((of, _)) => *of == path,
        };
        self.preview.as_ref().filter(of)
    }

    /// Does something to the tree; the cursor stays with its entry, and the entry where it is on screen.
    pub(in crate::app) fn change(&mut self, change: impl FnOnce(&mut Tree)) {
        let here = self.tree.rows().get(self.cursor.at()).and_then(|it| self.tree.path(*it));
        let above = self.cursor.at() - self.cursor.top();
        change(&mut self.tree);
        self.tree.lay_out(self.pattern.as_ref());
        self.cursor.set_count(self.tree.rows().len());
        if let Some(row) = here.and_then(|it| self.tree.row_of(&it)) {
            self.cursor.show_from(row, above);
        }
    }

    /// Opens the directory under the cursor, or closes it. `Err` says why not.
    pub(in crate::app) fn toggle(&mut self) -> Result<(), String> {
        let Some(path) = self.path() else { return Ok(()) };
        if self.tree.is_open(&path) {
            self.change(|it| it.close(&path));
            return Ok(());
        }
        let mut opened = Ok(());
        self.change(|it| opened = it.open(path));
        opened
    }

    /// Closes the directory under the cursor; else goes to the one it is in.
    pub(in crate::app) fn out(&mut self) {
        let Some(path) = self.path() else { return };
        if self.tree.is_open(&path) {
            self.change(|it| it.close(&path));
        } else if let Some(row) = split(&path).and_then(|it| self.tree.row_of(it.0)) {
            self.cursor.move_to(row);
        }
    }

    /// The whole system instead of the workspace, or the other way round.
    pub(in crate::app) fn turn(&mut self) {
        let here = self.path();
        let (top, back) = match self.elsewhere.take() {
            Some(it) => it,
            None => match self.tree.top() {
                b"/" => (self.workspace.clone().unwrap_or_else(|| b"/".to_vec()), None),
                _ => (b"/".to_vec(), None),
            },
        };
        self.elsewhere = Some((self.tree.top().to_vec(), here));
        self.found = None;
        self.half = Half::Tree;
        self.tree = Tree::new(top);
        self.tree.wanted = back;
        self.cursor.set_count(0);
    }

    pub fn is_system(&self) -> bool {
        self.tree.top() == b"/" && self.workspace.as_deref() != Some(b"/")
    }

    /// When a directory that changed may be read again: a large one not so often.
    pub(in crate::app) fn again_at(dir: &Dir) -> Duration {
        if dir.listed_at.is_zero() {
            return Duration::ZERO;
        }
        let many = u32::try_from(dir.entries.len() / 1000).unwrap_or(u32::MAX);
        dir.listed_at + CONSOLE_FILES_AGAIN_MIN + CONSOLE_FILES_AGAIN_EACH * many
    }

    /// When the place next does something by itself.
    pub(in crate::app) fn rests_at(&self) -> Option<Duration> {
        let old = self.tree.dirs().filter(|it| it.old && it.asked.is_none());
        let again = old.map(Self::again_at);
        let marks = (self.is_compared && self.marks_old && self.marks_asked.is_none())
            .then(|| self.marks_due())
            .flatten();
        self.rest.at().into_iter().chain(again).chain(marks).min()
    }

    /// When what changed since the start may be asked for once more; `None` = at once.
    pub(in crate::app) fn marks_due(&self) -> Option<Duration> {
        self.marks_at.map(|it| it + 4 * CONSOLE_FILES_AGAIN_MIN)
    }

    /// Marks what changed since another moment from now on.
    pub(in crate::app) fn mark_since(&mut self, since: Option<(SnapshotId, String)>) {
        self.since = since;
        // Those of the moment before are none of this one.
        self.marks = Marks::default();
        (self.marks_old, self.marks_at, self.marks_wrong) = (true, None, None);
    }

    /// Since when the marks tell changes, for its title; `None` where nothing is marked.
    pub fn since_words(&self) -> Option<String> {
        let since = self.since.as_ref().map_or("start", |it| it.1.as_str());
        match &self.marks_wrong {
            _ if !self.is_compared => None,
            Some(_) => Some(format!("changes since {since} not known")),
            None => Some(format!("since {since}")),
        }
    }

    /// Whether what happens in a directory from now on is told, or nothing is: it can be read then.
    pub(in crate::app) fn is_covered(&self, path: &Vec<u8>) -> bool {
        let covers = |it: &Watch| it.begun && it.paths.contains(path);
        self.unwatched.is_some() || self.watches.iter().any(covers)
    }

    pub(in crate::app) fn settle_lines(&mut self) {
        let count = match self.shown() {
            Some(Ok(preview)) => preview.rows(),
            _ => 0,
        };
        self.lines.set_count(count);
    }

    /// Takes what was read of a file; the cursor stays on its line, or at the end that is followed.
    pub(in crate::app) fn look(&mut self, mut preview: Preview) {
        if self.looking_is_late {
            preview.graphic = None;
        }
        let same = matches!(&self.preview, Some(Ok(it)) if it.path == preview.path);
        self.preview = Some(Ok(preview));
        self.settle_lines();
        if !same {
            self.column = 0;
            self.lines.show_from(0, 0);
            self.show_hit();
        }
        if self.follows {
            self.lines.move_to(usize::MAX);
        }
    }

    /// The cursor of the tree, or of what was found, was moved: what is beside it follows.
    pub(in crate::app) fn moved(&mut self, now: Duration) {
        self.rest.moved(now);
        self.settle_lines();
        self.show_hit();
    }

    /// Shows the line under the cursor of what was found, if its file is shown already.
    fn show_hit(&mut self) {
        let hit = self.found.as_ref().and_then(|it| it.hits.get(it.cursor.at()));
        let Some(line) = hit.and_then(|it| it.line.as_ref()) else { return };
        if matches!(self.shown(), Some(Ok(Preview { body: Body::Text(_), .. }))) {
            let row = usize::try_from(line.number.saturating_sub(1)).unwrap_or(usize::MAX);
            self.follows = false;
            self.lines.show_from(row, 3);
        }
    }

    pub fn check(&self) -> Result<(), String> {
        let rows = self.tree.rows().len();
        let found = self.found.as_ref().is_none_or(|it| it.cursor.is_sound(it.hits.len()));
        if !self.cursor.is_sound(rows) || !found {
            return Err("a cursor of the files is unsound".to_owned());
        }
        self.tree.check()
    }
}
