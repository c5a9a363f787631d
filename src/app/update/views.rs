//! The places over fleet and panes: opening and closing, moving and searching in them, and what is waited for.

use super::Turn;
use crate::{
    app::{
        action::{Action, Scope},
        command::quote,
        copy::Opened,
        diff::Half,
        effect::{Act, EffectId},
        layout::ViewArea,
        msg::Mouse,
        snapshots::{Row, label},
        state::{LineKind, Pending},
        view::{Left, Pattern, VIEWS_MAX, View, Work},
    },
    base::{id::SandboxId, text::visible},
    model::event::Level,
    vt::key::Key,
};

impl Turn<'_> {
    /// Opens a place; over the one that it is asked from, or instead of it.
    pub(super) fn open_view(&mut self, view: View, over: bool) {
        if let Some(grip) = self.state.grip.take() {
            self.let_go(grip);
        }
        // Looking at something else ends looking back.
        if let Some(copy) = self.state.copy.take()
            && copy.opened == Opened::Fleet
        {
            self.state.return_to_fleet();
        }
        if !over {
            self.close_views();
        }
        while self.state.views.len() >= VIEWS_MAX {
            self.close_view();
        }
        self.state.overlay = None;
        self.hint_was_followed();
        self.state.notices.leave();
        let view = match view {
            View::Diff(mut it) if it.is_appliable() => {
                it.remember(self.state.staged.take(&it.sandbox));
                View::Diff(it)
            }
            other => other,
        };
        self.state.views.push(view);
    }

    /// It makes room for the next.
    pub(super) fn hint_was_followed(&mut self) {
        if self.state.notices.showing().is_some_and(|it| it.level == Level::Info) {
            self.state.notices.dismiss();
        }
    }

    /// Closes the one on top; what it asked for is not wanted any more.
    pub(super) fn close_view(&mut self) {
        self.state.notices.leave();
        let reads = match self.state.views.pop() {
            Some(View::Snapshots(it)) => [it.asked, it.telling.map(|(id, _)| id)],
            Some(View::Asks(_)) => [None, None],
            Some(View::Records(it)) => [it.asked, it.reading],
            Some(View::Gauges(it)) => [it.asked.map(|it| it.0), None],
            Some(View::Timeline(it)) => {
                let reads = Self::timeline_reads(*it);
                return reads.into_iter().flatten().for_each(|it| self.cancel(it));
            }
            Some(View::Files(it)) => {
                let reads = self.close_files(&it);
                return reads.into_iter().for_each(|it| self.cancel(it));
            }
            Some(View::Diff(it)) => {
                let reads = [it.asked, it.reading.as_ref().map(|(id, _)| *id)];
                // Of one that is removed nothing is remembered.
                if it.stages() && self.state.fleet.get(&it.sandbox).is_some() {
                    self.state.staged.keep(it.sandbox.clone(), it.marks());
                }
                reads
            }
            None => return,
        };
        reads.into_iter().flatten().for_each(|it| self.cancel(it));
    }

    pub(super) fn close_views(&mut self) {
        while !self.state.views.is_empty() {
            self.close_view();
        }
    }

    /// Ends a call that only reads.
    pub(super) fn cancel(&mut self, id: EffectId) {
        self.state.works.remove(&id);
        if self.state.pending.remove(&id).is_some() {
            self.start(Act::Cancel(id), None);
        }
    }

    /// Starts something that may take a while, and is then told.
    pub(super) fn begin(
        &mut self,
        act: Act,
        pending: Pending,
        what: String,
        left: Left,
    ) -> Option<EffectId> {
        let id = self.start(act, Some(pending))?;
        let since = self.state.now.since_start;
        self.state.works.insert(id, Work { what, since, left });
        Some(id)
    }

    /// esc no longer waits for what the hub finishes anyway; says whether there was something. What only
    /// reads ends with the place that it is read for.
    pub(super) fn give_up(&mut self) -> bool {
        if !matches!(self.state.last_key, Some(Key::Esc)) {
            return false;
        }
        let found = self.state.work().filter(|(_, it, _)| it.left == Left::Finished);
        let Some((id, work, _)) = found else { return false };
        let text = format!("{}: no longer waited for; the hub finishes it", work.what);
        self.state.works.remove(&id);
        self.notice(Level::Info, &text);
        true
    }

    /// Actions of a place, and those that mean it while it is open.
    pub(super) fn view_action(&mut self, action: Action, argument: &str) -> bool {
        let own = match self.state.views.last() {
            None => return self.view_elsewhere(action),
            Some(View::Asks(_)) => self.asks_action(action),
            Some(View::Gauges(_)) => self.gauges_action(action),
            Some(View::Timeline(_)) => self.timeline_action(action),
            Some(View::Records(_)) => self.records_action(action),
            Some(View::Files(_)) => self.files_action(action),
            Some(View::Snapshots(_) | View::Diff(_)) => self.move_in_view(action),
        };
        if own {
            return true;
        }
        let scope = action.spec().scope;
        let is_snapshots = matches!(self.state.view(), Some(View::Snapshots(_)));
        match (action, scope) {
            (Action::Back, _) => self.back_in_view(),
            (Action::NextPlace | Action::PreviousPlace, _) => self.other_half(),
            (Action::Find, _) => self.open_line(LineKind::Find, ""),
            (Action::FindNext, _) => self.find_step(true),
            (Action::FindPrevious, _) => self.find_step(false),
            (Action::Again, _) => self.look_again(),
            (Action::Fork, _) if is_snapshots && argument.is_empty() => self.fork_from_row(),
            (_, Scope::Snapshots) if is_snapshots => self.snapshots_action(action),
            (_, Scope::Diff) if matches!(self.state.view(), Some(View::Diff(_))) => {
                self.diff_action(action);
            }
            (_, scope) if scope.is_of_a_place() => {
                let title = action.spec().title;
                self.notice(Level::Info, &format!("{title} does nothing here"));
            }
            _ => return false,
        }
        true
    }

    /// Says which place an action is for, when none is open; `false` when it is for none.
    fn view_elsewhere(&mut self, action: Action) -> bool {
        let place = match action.spec().scope {
            Scope::Snapshots => Action::Snapshots,
            Scope::Diff | Scope::View => Action::Diff,
            Scope::Asks | Scope::Ask => Action::AsksShow,
            Scope::Records => Action::RulesShow,
            Scope::Gauges => Action::GaugesShow,
            Scope::Files => Action::FilesShow,
            Scope::Timeline => Action::TimelineShow,
            _ => return false,
        };
        let (title, key) = (action.spec().title, self.state.key_words(place));
        self.notice(Level::Info, &format!("{title}: {key} opens where it works"));
        true
    }

    /// Moves in snapshots or in what changed; `false` when the action moves nothing.
    fn move_in_view(&mut self, action: Action) -> bool {
        let now = self.state.now.since_start;
        match self.state.views.last_mut() {
            Some(View::Snapshots(it)) => {
                let moved = it.cursor.act(action);
                if moved {
                    it.rest.moved(now);
                }
                moved
            }
            Some(View::Diff(it)) if it.half == Half::Lines => it.lines.act(action),
            Some(View::Diff(it)) => {
                let moved = it.cursor.act(action);
                if moved {
                    it.show_start();
                    it.rest.moved(now);
                }
                moved
            }
            _ => false,
        }
    }

    fn back_in_view(&mut self) {
        if self.give_up() {
            return;
        }
        if let Some(View::Diff(it)) = self.state.views.last_mut()
            && it.half == Half::Lines
        {
            it.half = Half::Files;
            return;
        }
        self.close_view();
    }

    fn other_half(&mut self) {
        match self.state.views.last_mut() {
            Some(View::Diff(it)) => {
                it.half = if it.half == Half::Files { Half::Lines } else { Half::Files };
            }
            _ => {
                let key = self.state.key_words(Action::Back);
                self.notice(
                    Level::Info,
                    &format!("there is no other place beside; {key} goes back"),
                );
            }
        }
    }

    /// Looks for what was typed; nothing typed = no longer.
    pub(super) fn find_in_view(&mut self, text: &str) {
        let pattern = match Pattern::new(text) {
            Ok(it) => (!text.is_empty()).then_some(it),
            Err(why) => return self.notice_here(Level::Error, &format!("the pattern: {why}")),
        };
        let looks = pattern.is_some();
        match self.state.views.last_mut() {
            Some(View::Snapshots(it)) => it.pattern = pattern,
            Some(View::Diff(it)) => it.pattern = pattern,
            Some(View::Records(it)) => {
                it.filter(pattern);
                return;
            }
            Some(View::Gauges(it)) => {
                it.pattern = pattern;
                return self.list_gauges(true);
            }
            Some(View::Files(_)) => return self.narrow_files(pattern),
            Some(View::Timeline(_)) => return self.find_in_timeline(text),
            Some(View::Asks(_)) | None => return,
        }
        if looks {
            self.find_step(true);
        }
    }

    fn find_step(&mut self, forward: bool) {
        let now = self.state.now.since_start;
        let (found, looks) = match self.state.views.last_mut() {
            Some(View::Snapshots(it)) => {
                let text = |row: usize| it.rows.get(row).map(Row::text).unwrap_or_default();
                let count = it.rows.len();
                let pattern = it.pattern.as_ref();
                let found = pattern.and_then(|of| of.next(it.cursor.at(), count, forward, text));
                if let Some(row) = found {
                    it.cursor.move_to(row);
                    it.rest.moved(now);
                }
                (found.is_some(), it.pattern.is_some())
            }
            Some(View::Diff(it)) => {
                let found = it.find(forward);
                match (found, it.half) {
                    (Some(row), Half::Files) => {
                        it.cursor.move_to(row);
                        it.show_start();
                        it.rest.moved(now);
                    }
                    (Some(row), Half::Lines) => it.lines.move_to(row),
                    (None, _) => {}
                }
                (found.is_some(), it.pattern.is_some())
            }
            _ => return,
        };
        if !looks {
            let key = self.state.key_words(Action::Find);
            self.notice(Level::Info, &format!("nothing was looked for yet; {key} does"));
        } else if !found {
            self.notice(Level::Info, "it is nowhere here");
        }
    }

    fn look_again(&mut self) {
        let reads = match self.state.views.last_mut() {
            Some(View::Snapshots(it)) => {
                it.seen = None;
                it.forget_now();
                [it.asked.take(), it.telling.take().map(|(id, _)| id)]
            }
            Some(View::Diff(it)) => {
                it.wrong = None;
                [it.asked.take(), it.reading.take().map(|(id, _)| id)]
            }
            Some(View::Asks(_)) => return self.list_ended(),
            Some(View::Records(_)) => return self.read_records(),
            Some(View::Gauges(_)) => return self.list_gauges(true),
            Some(View::Files(_)) => return self.look_at_files_again(),
            Some(View::Timeline(_)) => return self.look_at_timeline_again(),
            None => return,
        };
        reads.into_iter().flatten().for_each(|it| self.cancel(it));
        if matches!(self.state.view(), Some(View::Diff(_))) {
            self.ask_changes();
        }
    }

    /// The hub is there again: what it could not be asked is asked now.
    pub(super) fn look_again_after_link(&mut self) {
        let wrong = match self.state.view() {
            Some(View::Snapshots(it)) => it.wrong.is_some(),
            Some(View::Diff(it)) => it.wrong.is_some(),
            Some(View::Asks(_)) => self.state.asks.wrong.is_some(),
            Some(View::Records(it)) => it.wrong.is_some(),
            Some(View::Gauges(_)) => false,
            Some(View::Files(it)) => it.unwatched.is_some(),
            Some(View::Timeline(it)) => {
                it.wrong.is_some() || it.player.as_ref().is_some_and(|it| it.wrong.is_some())
            }
            None => false,
        };
        if wrong {
            self.look_again();
        }
    }

    /// The windows have their heights, and what they show is asked for.
    pub(super) fn settle_views(&mut self) {
        let Some(area) = self.state.frame.view else { return };
        let ViewArea { list: (_, list), side: (_, side), .. } = area;
        let said = self.said_rows();
        match self.state.views.last_mut() {
            Some(View::Snapshots(it)) => it.cursor.set_height(usize::from(list.height)),
            Some(View::Diff(it)) => {
                it.cursor.set_height(usize::from(list.height));
                it.lines.set_height(usize::from(side.height).saturating_sub(said));
            }
            Some(View::Files(_)) => return self.settle_files(area),
            Some(View::Asks(_) | View::Records(_) | View::Gauges(_) | View::Timeline(_)) | None => {
                return;
            }
        }
        match self.state.views.last() {
            Some(View::Snapshots(_)) => self.load_snapshots(),
            Some(View::Diff(_)) => self.load_diff(),
            _ => {}
        }
    }

    /// Rows that what is said of a file takes from its lines.
    fn said_rows(&self) -> usize {
        let side = self.state.frame.view.map_or(0, |it| it.side.1.width);
        match self.state.view() {
            Some(View::Diff(it)) => self.state.said_of_file(it, side).len(),
            _ => 0,
        }
    }

    /// What copying means in a place; `None` when none is open.
    pub(super) fn copied_from_view(&self) -> Option<String> {
        match self.state.view()? {
            View::Snapshots(it) => Some(it.kept().map_or_else(|| it.name.clone(), label)),
            View::Diff(it) => Some(quote(&it.current()?.change.path)),
            View::Asks(it) => {
                let row = || it.current().and_then(|it| self.state.ask(it));
                let ask = it.shown.as_ref().map(|it| &it.ask).or_else(row)?;
                Some(visible(&ask.asked.request.subject))
            }
            View::Records(it) => it.copied(),
            View::Gauges(it) => Some(it.sandbox().map(|it| self.name_of(it))?),
            View::Files(it) => it.path().map(|it| quote(&it)),
            View::Timeline(it) => it.current().map(|it| it.text.clone()),
        }
    }

    /// The name of a sandbox as it is known, for words.
    pub(super) fn name_of(&self, id: &SandboxId) -> String {
        let row = self.state.fleet.get(id);
        row.map_or_else(|| id.to_string(), |it| it.sandbox.name.clone())
    }

    pub(super) fn mouse_in_view(&mut self, mouse: Mouse, area: ViewArea, again: bool) {
        let list = area.list.1;
        let inside = list.contains(mouse.column, mouse.row);
        let row = inside.then(|| usize::from(mouse.row - list.y));
        match self.state.view() {
            Some(View::Asks(_)) => return self.mouse_in_asks(mouse, row, again),
            Some(View::Gauges(_)) => return self.mouse_in_gauges(mouse, row, again),
            Some(View::Records(_)) => return self.mouse_in_records(mouse, row, again),
            Some(View::Timeline(_)) => return self.mouse_in_timeline(mouse, area),
            Some(View::Files(_)) => return self.mouse_in_files(mouse, area, again),
            _ => {}
        }
        let now = self.state.now.since_start;
        let (x, y) = (mouse.column, mouse.row);
        let (in_list, in_side) = (area.list.1.contains(x, y), area.side.1.contains(x, y));
        let Some(rows) = self.state.turned(mouse) else { return };
        let clicked = rows == 0;
        let said = self.said_rows();
        match self.state.views.last_mut() {
            Some(View::Snapshots(it)) if in_list => {
                let row = it.cursor.top() + usize::from(y - area.list.1.y);
                if !clicked {
                    it.cursor.move_by(rows);
                } else if row < it.rows.len() {
                    it.cursor.move_to(row);
                }
                it.rest.moved(now);
            }
            Some(View::Diff(it)) if in_list => {
                it.half = Half::Files;
                let row = it.cursor.top() + usize::from(y - area.list.1.y);
                let before = it.cursor.at();
                if !clicked {
                    it.cursor.move_by(rows);
                } else if row < it.files.len() {
                    it.cursor.move_to(row);
                }
                if before != it.cursor.at() {
                    it.show_start();
                    it.rest.moved(now);
                }
            }
            Some(View::Diff(it)) if in_side => {
                let row = usize::from(y - area.side.1.y).checked_sub(said);
                match row {
                    _ if !clicked => it.lines.move_by(rows),
                    Some(row) => {
                        it.half = Half::Lines;
                        it.lines.move_to(it.lines.top() + row);
                    }
                    None => it.half = Half::Lines,
                }
            }
            _ => return,
        }
        if again && in_list {
            let enter = match self.state.view() {
                Some(View::Snapshots(_)) => Action::DiffBefore,
                _ => Action::DiffEnter,
            };
            self.act(enter);
        }
    }
}

/// Whether an action leaves the places open; all others are about fleet and panes.
pub(super) fn lies_beside(action: Action) -> bool {
    use Action as A;
    matches!(
        action,
        A::Quit
            | A::Back
            | A::Palette
            | A::Command
            | A::Help
            | A::Notices
            | A::Doctor
            | A::Suspend
            | A::Redraw
            | A::Mouse
            | A::Theme
            | A::Keymap
            | A::New
            | A::Run
            | A::Shell
            | A::Pause
            | A::Stop
            | A::Start
            | A::Remove
            | A::Info
            | A::CopyName
            | A::Snapshot
            | A::SnapshotNamed
            | A::Snapshots
            | A::Fork
            | A::Diff
            | A::FilesShow
            | A::TimelineShow
            | A::TimelineAway
            | A::AsksShow
            | A::RulesShow
            | A::EgressShow
            | A::StatusShow
            | A::AuditShow
            | A::Leave
    )
}
