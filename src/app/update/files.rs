//! The place of files: opening and reading directories, reading what is under the cursor, searching, copying and
//! editing.

use super::Turn;
use crate::{
    app::{
        action::Action,
        dialog::{Deed, Says},
        effect::{Act, EffectId},
        files::{
            Files, FilesAct, FilesNews, FilesPending, FilesReply, Found, Half, How, Marks, Watch,
        },
        layout::ViewArea,
        msg::{Mouse, Reply},
        state::{LineKind, Pending},
        view::{Cursor, Left, Pattern, View},
    },
    base::{
        fault::{Fault, Kind, Outcome},
        id::SandboxId,
    },
    model::{
        change::{DiffRequest, Subject},
        event::Level,
        file::{Expected, name_shown, split},
        sandbox::WorkspaceMode,
    },
};

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
        let Some(row) = self.state.fleet.get(&id) else { return };
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
                Half::Tree => {
                    it.rest.moved(now);
                    it.settle_lines();
                }
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
        let directory = self.state.directory.clone();
        let Some(it) = self.files() else { return };
        let Some(path) = it.to_look_at() else {
            let text =
                "only a file can be copied from here; `sandwatch files get` copies directories";
            return self.notice(Level::Info, text);
        };
        let act = FilesAct::Get { sandbox: it.sandbox.clone(), path: path.clone(), directory };
        self.act_on_files(act, FilesPending::Get(path));
    }

    fn edit_file(&mut self) {
        let Some(it) = self.files() else { return };
        let Some(path) = it.to_look_at() else {
            return self.notice(Level::Info, "only a file can be edited");
        };
        let sandbox = it.sandbox.clone();
        let act = FilesAct::Fetch { sandbox: sandbox.clone(), path: path.clone() };
        self.act_on_files(act, FilesPending::Fetch { sandbox, path });
    }

    /// Writes an edited copy back, over whatever is there by now.
    pub(super) fn send_over(
        &mut self,
        sandbox: SandboxId,
        path: Vec<u8>,
        copy: std::path::PathBuf,
    ) {
        self.send_copy(sandbox, path, copy, Expected::Anything);
    }

    fn send_copy(
        &mut self,
        sandbox: SandboxId,
        path: Vec<u8>,
        copy: std::path::PathBuf,
        expected: Expected,
    ) {
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

    /// All that is shown is asked for anew.
    pub(super) fn look_at_files_again(&mut self) {
        let Some(it) = self.files_mut() else { return };
        for dir in it.tree.dirs_mut() {
            (dir.old, dir.wrong) = (true, None);
            dir.listed_at = std::time::Duration::ZERO;
        }
        (it.look_again, it.marks_old, it.marks_at) = (true, true, None);
        it.watches.clear();
        it.unwatched = None;
        if matches!(it.preview, Some(Err(_))) {
            it.preview = None;
        }
    }

    /// The feed told of the sandbox: it may have been restored.
    pub(super) fn files_seen(&mut self, sandbox: &SandboxId) {
        if self.files().is_some_and(|it| it.sandbox == *sandbox && it.unwatched.is_some()) {
            self.look_at_files_again();
        }
    }

    pub(super) fn files_news(&mut self, news: FilesNews) {
        self.state.dirty = true;
        for view in &mut self.state.views {
            let View::Files(it) = view else { continue };
            let at = it.watches.iter().position(|it| it.generation == news.generation);
            let Some(watch) = at.and_then(|at| it.watches.get_mut(at)) else { continue };
            let (paths, begins) = (watch.paths.clone(), !watch.begun);
            watch.begun = true;
            match &news.changed {
                Ok(_) if begins => it.watches.retain(|it| it.generation >= news.generation),
                Ok(changed) => {
                    let paths: Vec<Vec<u8>> =
                        changed.iter().filter_map(|at| paths.get(*at)).cloned().collect();
                    let shown = it.to_look_at();
                    for path in paths {
                        it.look_again |=
                            shown.as_deref().and_then(split).is_some_and(|it| it.0 == path);
                        if let Some(dir) = it.tree.dir_mut(&path) {
                            dir.old = true;
                        }
                    }
                    it.marks_old = true;
                }
                Err(why) => {
                    it.watches.clear();
                    it.unwatched = Some(why.clone());
                }
            }
        }
    }

    /// The windows have their heights, and what they show is asked for.
    pub(super) fn settle_files(&mut self, area: ViewArea) {
        let Some(it) = self.files_mut() else { return };
        let height = usize::from(area.list.1.height);
        it.cursor.set_height(height);
        if let Some(found) = &mut it.found {
            found.cursor.set_height(height);
        }
        it.settle_lines();
        it.lines.set_height(usize::from(area.side.1.height));
        self.read_directories();
        self.read_under_cursor();
        self.read_marks();
        self.watch_directories();
    }

    fn read_directories(&mut self) {
        let now = self.state.now.since_start;
        let Some(it) = self.files() else { return };
        let due = it.tree.dirs().filter(|dir| {
            // What happens after it is read is to be told: so it is watched first.
            let first = !dir.known && dir.wrong.is_none() && it.is_covered(&dir.path);
            dir.asked.is_none() && (first || (dir.old && now >= it.again_at(dir)))
        });
        let due: Vec<Vec<u8>> = due.map(|it| it.path.clone()).collect();
        let sandbox = it.sandbox.clone();
        for path in due {
            let act = FilesAct::List { sandbox: sandbox.clone(), path: path.clone() };
            let what = format!("reading {}", name_shown(&path));
            let pending = Pending::Files(FilesPending::List(path.clone()));
            let asked = self.begin(Act::Files(Box::new(act)), pending, what, Left::Ended);
            let Some(dir) = self.files_mut().and_then(|it| it.tree.dir_mut(&path)) else { return };
            (dir.asked, dir.old, dir.listed_at) = (asked, false, now);
            if asked.is_none() {
                dir.wrong = Some("too much is under way".to_owned());
            }
        }
    }

    fn read_under_cursor(&mut self) {
        let now = self.state.now.since_start;
        let Some(it) = self.files_mut() else { return };
        if !it.rest.has_come(now) {
            return;
        }
        let Some(path) = it.to_look_at() else { return };
        let shown = it.shown().is_some();
        if shown && !it.look_again {
            return;
        }
        match it.looking.take() {
            Some((id, of)) if of == path => {
                it.looking = Some((id, of));
                return;
            }
            // The cursor went on.
            Some((id, _)) => self.cancel(id),
            None => {}
        }
        let Some(it) = self.files_mut() else { return };
        if !shown {
            it.follows = false;
        }
        it.look_again = false;
        let act = FilesAct::Look {
            sandbox: it.sandbox.clone(),
            path: path.clone(),
            how: it.how,
            end: it.follows,
        };
        let what = format!("reading {}", name_shown(&path));
        let pending = Pending::Files(FilesPending::Look(path.clone()));
        let asked = self.begin(Act::Files(Box::new(act)), pending, what, Left::Ended);
        if let Some(it) = self.files_mut() {
            match asked {
                Some(id) => it.looking = Some((id, path)),
                None => it.preview = Some(Err((path, "too much is under way".to_owned()))),
            }
        }
    }

    fn read_marks(&mut self) {
        let now = self.state.now.since_start;
        let Some(it) = self.files() else { return };
        let due = it.marks_due().is_none_or(|it| now >= it);
        if !it.is_compared || !it.marks_old || it.marks_asked.is_some() || !due {
            return;
        }
        let act =
            Act::Diff { of: Subject::Sandbox(it.sandbox.clone()), request: DiffRequest::default() };
        let asked = self.start(act, Some(Pending::Files(FilesPending::Marks)));
        if let Some(it) = self.files_mut() {
            (it.marks_asked, it.marks_old, it.marks_at) = (asked, false, Some(now));
        }
    }

    /// What is open is watched, and where the file that is read lies.
    fn watch_directories(&mut self) {
        let Some(it) = self.files() else { return };
        if it.unwatched.is_some() {
            return;
        }
        let mut wanted: Vec<Vec<u8>> = it.tree.dirs().map(|it| it.path.clone()).collect();
        if let Some(Ok(preview)) = it.shown()
            && let Some((above, _)) = split(&preview.path)
            && !it.tree.is_open(above)
        {
            wanted.push(above.to_vec());
        }
        wanted.truncate(crate::base::limits::FILES_WATCHED_MAX);
        if it.watches.last().is_some_and(|it| it.paths == wanted) {
            return;
        }
        let (generation, sandbox) = (self.state.next_id, it.sandbox.clone());
        let act = FilesAct::Watch { sandbox, paths: wanted.clone(), generation };
        self.start(Act::Files(Box::new(act)), None);
        if let Some(it) = self.files_mut() {
            it.watches.push(Watch { generation, paths: wanted, begun: false });
        }
    }

    pub(super) fn files_done(
        &mut self,
        id: EffectId,
        pending: FilesPending,
        result: Outcome<Reply>,
    ) {
        self.state.dirty = true;
        let reply = match result {
            Ok(Reply::Files(reply)) => Ok(*reply),
            Ok(Reply::Diff(read)) if pending == FilesPending::Marks => {
                return self.marks_read(id, &read.files);
            }
            Ok(_) => Err(Fault::failed("the hub answered something else")),
            Err(fault) => Err(fault),
        };
        match pending {
            FilesPending::List(path) => self.dir_listed(id, &path, reply),
            FilesPending::Look(path) => self.looked(id, path, reply),
            FilesPending::Find => self.found(id, reply),
            FilesPending::Marks => {
                if let Some(it) = self.files_mut() {
                    it.marks_asked.take_if(|it| *it == id);
                }
            }
            FilesPending::Get(path) => match reply {
                Ok(FilesReply::Copied(to)) => self.notice(Level::Info, &format!("copied to {to}")),
                Ok(_) => {}
                Err(fault) => self.fault(&format!("copying {}", name_shown(&path)), &fault),
            },
            FilesPending::Fetch { sandbox, path } => match reply {
                Ok(FilesReply::Fetched { copy, version }) => {
                    let pending = FilesPending::Edit { sandbox, path, copy: copy.clone(), version };
                    self.act_on_files(FilesAct::Edit(copy), pending);
                }
                Ok(_) => {}
                Err(fault) => self.fault(&format!("reading {}", name_shown(&path)), &fault),
            },
            FilesPending::Edit { sandbox, path, copy, version } => match reply {
                Ok(FilesReply::Edited(true)) => {
                    let expected = version.map_or(Expected::Anything, Expected::Version);
                    self.send_copy(sandbox, path, copy, expected);
                }
                Ok(_) => {
                    self.start(Act::Files(Box::new(FilesAct::Drop(copy))), None);
                    self.notice(Level::Info, "nothing was changed in it");
                }
                Err(fault) => {
                    self.start(Act::Files(Box::new(FilesAct::Drop(copy))), None);
                    self.fault("editing", &fault);
                }
            },
            FilesPending::Send { sandbox, path, copy } => self.sent(sandbox, path, copy, reply),
        }
    }

    fn dir_listed(&mut self, id: EffectId, path: &[u8], reply: Outcome<FilesReply>) {
        for view in &mut self.state.views {
            let View::Files(it) = view else { continue };
            let asked =
                |it: &mut crate::app::files::Dir| it.asked.take_if(|it| *it == id).is_some();
            if !it.tree.dir_mut(path).is_some_and(asked) {
                continue;
            }
            match reply {
                Ok(FilesReply::Listed { entries, more }) => {
                    it.change(|it| it.list(path, entries, more));
                    let wanted = it.tree.wanted.take();
                    if let Some(row) = wanted.as_ref().and_then(|it_| it.tree.row_of(it_)) {
                        it.cursor.move_to(row);
                    } else {
                        it.tree.wanted = wanted;
                    }
                }
                Ok(_) => {}
                Err(fault) => {
                    let why = fault.message().to_owned();
                    let gone = fault.kind() == Kind::Absent && path != it.tree.top();
                    if gone {
                        it.change(|it| it.close(path));
                    } else if let Some(dir) = it.tree.dir_mut(path) {
                        dir.wrong = Some(why);
                    }
                }
            }
            return;
        }
    }

    fn looked(&mut self, id: EffectId, path: Vec<u8>, reply: Outcome<FilesReply>) {
        for view in &mut self.state.views {
            let View::Files(it) = view else { continue };
            if it.looking.take_if(|it| it.0 == id).is_none() {
                continue;
            }
            match reply {
                Ok(FilesReply::Looked(preview)) => it.look(preview),
                Ok(_) => {}
                Err(fault) => {
                    it.preview = Some(Err((path, fault.message().to_owned())));
                    it.settle_lines();
                }
            }
            return;
        }
    }

    fn found(&mut self, id: EffectId, reply: Outcome<FilesReply>) {
        let Some(it) = self.files_mut() else { return };
        let Some(found) = it.found.as_mut().filter(|it| it.asked == Some(id)) else { return };
        found.asked = None;
        match reply {
            Ok(FilesReply::Found { hits, more }) => {
                (found.hits, found.more) = (hits, more);
                found.cursor.set_count(found.hits.len());
            }
            Ok(_) => {}
            Err(fault) => found.wrong = Some(fault.message().to_owned()),
        }
        it.settle_lines();
    }

    fn marks_read(&mut self, id: EffectId, changes: &[crate::model::change::FileChange]) {
        for view in &mut self.state.views {
            let View::Files(it) = view else { continue };
            if it.marks_asked.take_if(|it| *it == id).is_some() {
                it.marks = Marks::new(it.workspace.as_deref().unwrap_or_default(), changes);
            }
        }
    }

    fn sent(
        &mut self,
        sandbox: SandboxId,
        path: Vec<u8>,
        copy: std::path::PathBuf,
        reply: Outcome<FilesReply>,
    ) {
        let shown = name_shown(&path);
        match reply {
            Ok(_) => {
                self.start(Act::Files(Box::new(FilesAct::Drop(copy))), None);
                self.notice(Level::Info, &format!("{shown} is written"));
            }
            Err(fault) if fault.kind() == Kind::Busy => {
                let lines = vec![
                    "It was changed in the sandbox while you edited it.".to_owned(),
                    "What it has there now is lost.".to_owned(),
                    format!("Your copy stays at {} if not.", copy.display()),
                ];
                let title = (format!("Write over {shown}?"), "write over it");
                self.ask_first(Deed::WriteOver { sandbox, path, copy }, title, Says::from(lines));
            }
            Err(fault) => {
                self.fault(&format!("writing {shown}"), &fault);
                let text = format!("your copy stays at {}", copy.display());
                self.notice(Level::Warning, &text);
            }
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
            it.rest.moved(now);
            it.settle_lines();
            if again && clicked {
                self.open_file();
            }
        } else if in_side {
            it.half = Half::Text;
            if !clicked {
                it.lines.move_by(rows);
            } else {
                it.lines.move_to(it.lines.top() + usize::from(y - area.side.1.y));
            }
        }
    }

    /// What copying means in the place.
    pub(super) fn copied_from_files(&self, it: &Files) -> Option<String> {
        it.path().map(|it| crate::app::command::quote(&it))
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
