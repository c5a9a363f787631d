//! What the place of files shows is asked for: directories that are open, the file under the cursor, what changed; and
//! what is open is watched.

use super::super::Turn;
use crate::{
    app::{
        effect::Act,
        files::{Body, Files, FilesAct, FilesNews, FilesPending, Preview, Watch},
        layout::ViewArea,
        state::Pending,
        view::{Left, View},
    },
    base::id::SandboxId,
    model::{
        change::{DiffRequest, Subject},
        file::{name_shown, split},
    },
};

impl Turn<'_> {
    /// All that is shown is asked for anew.
    pub(in crate::app::update) fn look_at_files_again(&mut self) {
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

    /// The terminal's cells may be others: what was made for those before is made anew, and is in cells of ours until then.
    pub(in crate::app::update) fn make_pictures_anew(&mut self) {
        for view in &mut self.state.views {
            let View::Files(it) = view else { continue };
            it.looking_is_late = it.looking.is_some();
            it.look_again |= it.looking_is_late;
            if let Some(Ok(preview)) = &mut it.preview {
                preview.graphic = None;
                it.look_again |= matches!(preview.body, Body::Picture(_));
            }
        }
    }

    /// The feed told of the sandbox: it may have been restored.
    pub(in crate::app::update) fn files_seen(&mut self, sandbox: &SandboxId) {
        if self.files().is_some_and(|it| it.sandbox == *sandbox && it.unwatched.is_some()) {
            self.look_at_files_again();
        }
    }

    pub(in crate::app::update) fn files_news(&mut self, news: FilesNews) {
        self.state.dirty = true;
        let mut ended = false;
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
                    ended |= !begins;
                }
            }
        }
        // It may have stopped, or run again: its files are others then, and there still.
        if ended {
            self.look_at_files_again();
        }
    }

    /// The windows have their heights, and what they show is asked for.
    pub(in crate::app::update) fn settle_files(&mut self, area: ViewArea) {
        let Some(it) = self.files_mut() else { return };
        let height = usize::from(area.list.1.height);
        it.cursor.set_height(height);
        if let Some(found) = &mut it.found {
            found.cursor.set_height(height);
        }
        it.settle_lines();
        it.lines.set_height(usize::from(area.side.1.height));
        let room = if area.side.1.is_empty() { area.list.1 } else { area.side.1 };
        let room = (room.width, room.height);
        if let Some(Ok(Preview { body: Body::Picture(_), room: of, .. })) = it.shown() {
            it.look_again |= *of != room;
        }
        self.read_directories();
        self.read_under_cursor(room);
        self.read_marks();
        self.watch_directories();
    }

    fn read_directories(&mut self) {
        let now = self.state.now.since_start;
        let Some(it) = self.files() else { return };
        let due = it.tree.dirs().filter(|dir| {
            // What happens after it is read is to be told: so it is watched first.
            let first = !dir.known && dir.wrong.is_none() && it.is_covered(&dir.path);
            dir.asked.is_none() && (first || (dir.old && now >= Files::again_at(dir)))
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

    fn read_under_cursor(&mut self, room: (u16, u16)) {
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
        let images = self.state.config.ui.images;
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
            room,
            images,
        };
        let what = format!("reading {}", name_shown(&path));
        let pending = Pending::Files(FilesPending::Look(path.clone()));
        let asked = self.begin(Act::Files(Box::new(act)), pending, what, Left::Ended);
        if let Some(it) = self.files_mut() {
            match asked {
                Some(id) => (it.looking, it.looking_is_late) = (Some((id, path)), false),
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
        let against = it.since.as_ref().map(|it| it.0.clone());
        let of = Subject::Sandbox(it.sandbox.clone());
        let act = Act::Diff { of, request: DiffRequest { against, ..DiffRequest::default() } };
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
}
