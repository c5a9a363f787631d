//! The place of files: opening it, moving in it, searching, copying and editing.

mod done;
mod read;

use std::path::PathBuf;

use super::Turn;
use crate::{
    app::{
        action::Action,
        effect::{Act, EffectId},
        files::{Files, FilesAct, FilesPending, Found, Half, How},
        layout::ViewArea,
        msg::Mouse,
        snapshots::Snapshots,
        state::{LineKind, Pending},
        view::{Cursor, Left, Pattern, View},
    },
    base::id::{SandboxId, SnapshotId},
    model::{
        event::Level,
        file::{Expected, plain_name, split},
        sandbox::{State as Life, WorkspaceMode},
    },
};

/// Why nothing is marked.
const NOT_COMPARED: &str = "its workspace keeps no changes apart; nothing is marked";

impl Turn<'_> {
    pub(super) fn open_files(&mut self, argument: &str) {
        let Some(id) = self.target(argument) else {
            if argument.is_empty() {
                self.notice(Level::Info, "there is no sandbox here");
            }
            return;
        };
        if self.files().is_some_and(|it| it.sandbox == id) {
            return self.look_at_files_again();
        }
        self.open_files_of(id);
    }

    fn open_files_of(&mut self, id: SandboxId) {
        let Some(row) = self.state.fleet.get(&id) else {
            return self.notice(Level::Info, "the sandbox is no more");
        };
        let (sandbox, mode) = (&row.sandbox, row.sandbox.workspace.mode);
        let workspace = (mode != WorkspaceMode::None).then(|| {
            use std::os::unix::ffi::OsStrExt;
            sandbox.workspace.path.as_os_str().as_bytes().to_vec()
        });
        let compared = mode == WorkspaceMode::Cow && sandbox.capabilities.workspace_diff;
        let mut files = Files::new(id, sandbox.name.clone(), workspace);
        files.is_compared = compared;
        self.open_view(View::Files(Box::new(files)), false);
    }

    pub(super) fn files(&self) -> Option<&Files> {
        match self.state.view() {
            Some(View::Files(it)) => Some(it),
            _ => None,
        }
    }

    fn files_mut(&mut self) -> Option<&mut Files> {
        match self.state.views.last_mut() {
            Some(View::Files(it)) => Some(it),
            _ => None,
        }
    }

    fn act_on_files(&mut self, act: FilesAct, pending: FilesPending) -> Option<EffectId> {
        self.start(Act::Files(Box::new(act)), Some(Pending::Files(pending)))
    }

    /// Actions of the place; `false` when it is none.
    pub(super) fn files_action(&mut self, action: Action) -> bool {
        let now = self.state.now.since_start;
        let Some(it) = self.files_mut() else { return false };
        let moved = match (it.half, &mut it.found) {
            (Half::Text, _) => it.lines.act(action),
            (Half::Tree, Some(found)) => found.cursor.act(action),
            (Half::Tree, None) => it.cursor.act(action),
        };
        if moved {
            match it.half {
                Half::Tree => it.moved(now),
                // Who looks at what came before does not want to be taken to the end.
                Half::Text => it.follows &= it.lines.at() + 1 >= it.lines.count(),
            }
            return true;
        }
        match action {
            Action::Back => self.back_in_files(),
            Action::NextPlace | Action::PreviousPlace => {
                it.half = if it.half == Half::Tree { Half::Text } else { Half::Tree };
            }
            Action::FileOpen => self.open_file(),
            Action::FileClose => self.close_file(),
            Action::FilesSystem => self.turn_files(),
            Action::FileFollow => self.follow_file(),
            Action::FileHex => {
                it.how = if it.how == How::Text { How::Hex } else { How::Text };
                (it.look_again, it.preview) = (true, None);
            }
            Action::FilesSearch => self.open_line(LineKind::FileWords, ""),
            Action::FileGet => self.get_file(),
            Action::FilesSince => self.choose_since(),
            Action::FilesSinceStart => self.mark_since(None),
            Action::FileEdit => self.edit_file(),
            Action::FindNext | Action::FindPrevious => {
                let (title, key) = (action.spec().title, self.state.key_words(Action::Find));
                self.notice(
                    Level::Info,
                    &format!("{title} does nothing here; {key} narrows the list"),
                );
            }
            _ => return false,
        }
        true
    }

    fn back_in_files(&mut self) {
        if self.give_up() {
            return;
        }
        let Some(it) = self.files_mut() else { return };
        if it.half == Half::Text {
            it.half = Half::Tree;
        } else if let Some(found) = it.found.take() {
            it.settle_lines();
            found.asked.into_iter().for_each(|it| self.cancel(it));
        } else if it.pattern.is_some() {
            it.pattern = None;
            it.change(|_| {});
        } else {
            self.close_view();
        }
    }

    fn open_file(&mut self) {
        let Some(it) = self.files_mut() else { return };
        match it.half {
            Half::Text => drop(step(it, true)),
            Half::Tree if it.to_look_at().is_some() => it.half = Half::Text,
            Half::Tree => {
                if let Err(why) = it.toggle() {
                    self.notice(Level::Warning, &why);
                }
            }
        }
    }

    fn close_file(&mut self) {
        let now = self.state.now.since_start;
        let Some(it) = self.files_mut() else { return };
        match it.half {
            Half::Text => {
                if !step(it, false) {
                    it.half = Half::Tree;
                }
            }
            Half::Tree if it.found.is_some() => it.found = None,
            Half::Tree => {
                it.out();
                it.rest.moved(now);
            }
        }
    }

    fn turn_files(&mut self) {
        self.state.notices.leave();
        let Some(it) = self.files_mut() else { return };
        let mut reads: Vec<EffectId> =
            it.tree.dirs_mut().filter_map(|it| it.asked.take()).collect();
        reads.extend(it.found.take().and_then(|it| it.asked));
        reads.extend(it.looking.take().map(|it| it.0));
        it.turn();
        reads.into_iter().for_each(|it| self.cancel(it));
    }

    fn follow_file(&mut self) {
        let Some(it) = self.files_mut() else { return };
        if it.to_look_at().is_none() {
            return self.notice(Level::Info, "only a file can be followed");
        }
        it.follows = !it.follows;
        it.look_again = true;
        if it.follows {
            it.lines.move_to(usize::MAX);
        }
    }

    fn get_file(&mut self) {
        let Some(it) = self.files() else { return };
        let Some(path) = it.to_look_at() else {
            let text =
                "only a file can be copied from here; `sandwatch files get` copies directories";
            return self.notice(Level::Info, text);
        };
        let sandbox = it.sandbox.clone();
        let name = plain_name(split(&path).map_or(&b"file"[..], |it| it.1));
        let to = self.state.directory.join(&name);
        // A directory that can't be written on a line is still the one that names are below.
        let text = to.to_str().or(name.to_str()).unwrap_or_default().to_owned();
        self.open_line(LineKind::FileTo { sandbox, path }, &text);
    }

    /// Copies to a place that was typed: below the directory that the console was started in, if it does not say.
    pub(super) fn get_to(&mut self, sandbox: SandboxId, path: Vec<u8>, typed: &str) {
        if typed.is_empty() {
            return self.notice(Level::Info, "nothing was copied");
        }
        let home = self.state.home.as_deref();
        let below_home = typed.strip_prefix("~/").zip(home).map(|(rest, home)| home.join(rest));
        let to = below_home.unwrap_or_else(|| self.state.directory.join(typed));
        self.copy_to(sandbox, path, to, false);
    }

    pub(super) fn copy_to(&mut self, sandbox: SandboxId, path: Vec<u8>, to: PathBuf, over: bool) {
        let pending = FilesPending::Get { sandbox: sandbox.clone(), path: path.clone() };
        self.act_on_files(FilesAct::Get { sandbox, path, to, over }, pending);
    }

    /// Opens the list of moments, over this place.
    fn choose_since(&mut self) {
        let Some(it) = self.files() else { return };
        if !it.is_compared {
            return self.notice(Level::Info, NOT_COMPARED);
        }
        let moments = Snapshots::new(it.sandbox.clone(), it.name.clone());
        self.open_view(View::Snapshots(Box::new(moments)), true);
    }

    fn mark_since(&mut self, since: Option<(SnapshotId, String)>) {
        let Some(it) = self.files_mut() else { return };
        if !it.is_compared {
            return self.notice(Level::Info, NOT_COMPARED);
        }
        if it.since == since {
            return;
        }
        let asked = it.marks_asked.take();
        it.mark_since(since);
        asked.into_iter().for_each(|it| self.cancel(it));
    }

    /// Shows the files of a sandbox with marks since this snapshot: those that the list of moments lies over, or anew.
    pub(super) fn files_since(&mut self, sandbox: &SandboxId, since: (SnapshotId, String)) {
        let below = self.state.views.iter().rev().nth(1);
        match below {
            Some(View::Files(it)) if it.sandbox == *sandbox => self.close_view(),
            _ => self.open_files_of(sandbox.clone()),
        }
        self.mark_since(Some(since));
    }

    fn edit_file(&mut self) {
        let Some(it) = self.files() else { return };
        let Some(path) = it.to_look_at() else {
            return self.notice(Level::Info, "only a file can be edited");
        };
        let sandbox = it.sandbox.clone();
        let state = self.state.fleet.get(&sandbox).map(|it| it.sandbox.state);
        if let Some(state) = state.filter(|it| !matches!(it, Life::Running | Life::Paused)) {
            let text = format!("nothing can be written to it: it is {}", state.word());
            return self.notice(Level::Info, &text);
        }
        let act = FilesAct::Fetch { sandbox: sandbox.clone(), path: path.clone() };
        self.act_on_files(act, FilesPending::Fetch { sandbox, path });
    }

    /// Writes an edited copy back, over whatever is there by now.
    pub(super) fn send_over(&mut self, sandbox: SandboxId, path: Vec<u8>, copy: PathBuf) {
        self.send_copy(sandbox, path, copy, Expected::Anything);
    }

    fn send_copy(&mut self, sandbox: SandboxId, path: Vec<u8>, copy: PathBuf, expected: Expected) {
        let pending =
            FilesPending::Send { sandbox: sandbox.clone(), path: path.clone(), copy: copy.clone() };
        self.act_on_files(FilesAct::Send { sandbox, path, copy, expected }, pending);
    }

    /// Looks for lines that have these words in them, below the top.
    pub(super) fn search_files(&mut self, words: &str) {
        if words.is_empty() {
            return;
        }
        let Some(it) = self.files() else { return };
        let (sandbox, path) = (it.sandbox.clone(), it.tree.top().to_vec());
        let words = words.to_owned();
        let act = FilesAct::Find { sandbox, path, words: words.clone() };
        let what = format!("looking for {words}");
        let pending = Pending::Files(FilesPending::Find);
        let asked = self.begin(Act::Files(Box::new(act)), pending, what, Left::Ended);
        if let Some(it) = self.files_mut() {
            it.half = Half::Tree;
            it.found = Some(Found {
                words,
                hits: Vec::new(),
                cursor: Cursor::default(),
                more: false,
                wrong: asked.is_none().then(|| "too much is under way".to_owned()),
                asked,
            });
        }
    }

    /// Narrows the tree to names.
    pub(super) fn narrow_files(&mut self, pattern: Option<Pattern>) {
        if let Some(it) = self.files_mut() {
            it.found = None;
            it.pattern = pattern;
            it.change(|_| {});
        }
    }

    pub(super) fn mouse_in_files(&mut self, mouse: Mouse, area: ViewArea, again: bool) {
        let now = self.state.now.since_start;
        let (x, y) = (mouse.column, mouse.row);
        let (in_list, in_side) = (area.list.1.contains(x, y), area.side.1.contains(x, y));
        let Some(rows) = self.state.turned(mouse) else { return };
        let clicked = rows == 0;
        let Some(it) = self.files_mut() else { return };
        if in_list {
            it.half = Half::Tree;
            let cursor = match &mut it.found {
                Some(found) => &mut found.cursor,
                None => &mut it.cursor,
            };
            let row = cursor.top() + usize::from(y - area.list.1.y);
            if !clicked {
                cursor.move_by(rows);
            } else if row < cursor.count() {
                cursor.move_to(row);
            } else {
                return;
            }
            it.moved(now);
            if again && clicked {
                self.open_file();
            }
        } else if in_side {
            it.half = Half::Text;
            if clicked {
                it.lines.move_to(it.lines.top() + usize::from(y - area.side.1.y));
            } else {
                it.lines.move_by(rows);
            }
        }
    }

    /// Calls that only read end with the place.
    pub(super) fn close_files(&mut self, it: &Files) -> Vec<EffectId> {
        self.start(Act::Files(Box::new(FilesAct::Unwatch)), None);
        let found = it.found.as_ref().and_then(|it| it.asked);
        let reads = [it.marks_asked, it.looking.as_ref().map(|it| it.0), found];
        let lists = it.tree.dirs().filter_map(|it| it.asked);
        reads.into_iter().flatten().chain(lists).collect()
    }
}

/// Moves along long lines; `false` when it was at their start already.
fn step(it: &mut Files, right: bool) -> bool {
    const STEP_CELLS: usize = 8;
    let before = it.column;
    it.column = match right {
        true => (before + STEP_CELLS).min(crate::base::limits::CONSOLE_FILE_LINE_BYTES_MAX),
        false => before.saturating_sub(STEP_CELLS),
    };
    before != it.column
}
