//! Actions: what each row of the table does.

use super::{ROWS_TRIED_MAX, Turn, views::lies_beside};
use crate::{
    app::{
        action::Action,
        command,
        effect::Act,
        grid::{Slot, Stays},
        help::Help,
        keymap::Keymap,
        layout,
        palette::Palette,
        state::{LineKind, Overlay, Pending, Place},
    },
    base::{id::SessionId, text},
    model::{event::Level, snapshot::SnapshotKind},
    vt::key::Stroke,
};

impl Turn<'_> {
    /// Runs a line as typed after `:`.
    pub(super) fn command(&mut self, line: &str) {
        match command::parse(line) {
            Ok(request) => self.act_on(request.action, &request.argument),
            Err(why) => self.notice(Level::Error, &why),
        }
    }

    /// Does an action, with what was typed after its name.
    pub(super) fn act_on(&mut self, action: Action, argument: &str) {
        if self.line_action(action) || self.dialog_action(action) {
            return;
        }
        let of_view = action.spec().scope.is_of_a_place();
        if of_view && self.is_refused(action) || self.view_action(action, argument) {
            return;
        }
        let hits = matches!(
            action,
            Action::StepIn
                | Action::TakeOver
                | Action::Shell
                | Action::Snapshot
                | Action::SnapshotNamed
                | Action::SnapshotMemory
                | Action::Fork
                | Action::Pause
                | Action::Stop
                | Action::Start
                | Action::Remove
        );
        // A key that is held down was pressed for something else.
        if hits && self.press.is_some_and(|it| it.stroke == Stroke::Repeat) {
            return;
        }
        if hits && argument.is_empty() && self.state.row_is_news() {
            let text = "another row came under the cursor; press it again if you mean this one";
            return self.notice(Level::Warning, text);
        }
        if argument.is_empty() && self.is_refused(action) {
            return;
        }
        if !lies_beside(action) {
            self.close_views();
        }
        if self.scroll_action(action, argument)
            || self.list_action(action)
            || self.pane_action(action, argument)
        {
            return;
        }
        self.global_action(action, argument);
    }

    /// Whether more is needed for it than we are there, which is said. Who steps in and may only watch watches.
    pub(super) fn is_refused(&mut self, action: Action) -> bool {
        if action == Action::StepIn && !self.state.is_first_run() {
            return false;
        }
        let Some(lacks) = self.state.lacks(action) else { return false };
        let title = action.spec().title.to_lowercase();
        self.notice(Level::Warning, &format!("{title} {}", lacks.words));
        true
    }

    fn open_doctor(&mut self, name: &str) {
        let Some(hub) = self.hub_meant(name) else { return };
        self.state.overlay = Some(Overlay::Doctor { hub, checks: None, top: 0 });
        self.start_of(hub, Act::Doctor, Some(Pending::Doctor));
    }

    fn global_action(&mut self, action: Action, argument: &str) {
        let state = &mut *self.state;
        match action {
            Action::Quit => self.quit(),
            Action::Back => self.back(),
            Action::Palette => {
                let palette = Palette::new(state);
                state.overlay = Some(Overlay::Palette(palette));
            }
            Action::Command => self.open_line(LineKind::Command, ""),
            Action::Help => state.overlay = Some(Overlay::Help(Help::new(state.scopes()))),
            Action::Notices => {
                state.notices.dismiss();
                state.overlay = Some(Overlay::Notices { top: 0 });
            }
            Action::Doctor => self.open_doctor(argument),
            Action::Contexts => self.change_contexts(argument),
            Action::Reconnect => self.reconnect(),
            Action::NextPlace => self.step_place(true),
            Action::PreviousPlace => self.step_place(false),
            Action::Suspend => {
                self.start(Act::Suspend, None);
            }
            Action::Redraw => {
                self.start(Act::Redraw, None);
            }
            Action::Mouse => {
                state.mouse = !state.mouse;
                let on = state.mouse;
                let says =
                    if on { "the console takes the mouse" } else { "the mouse is your terminal's" };
                self.start(Act::CaptureMouse(on), None);
                self.notice(Level::Info, says);
            }
            Action::Theme => self.choose_theme(argument),
            Action::Keymap => self.choose_keymap(argument),
            Action::FleetToggle => {
                state.fleet_shown = !state.fleet_shown;
                // What is out of sight takes no keys.
                if !state.fleet_shown {
                    state.place = Place::Panes;
                }
            }
            Action::Filter if !argument.is_empty() => {
                state.fleet_shown = true;
                state.fleet.filter(argument);
            }
            Action::Filter => {
                state.fleet_shown = true;
                let before = state.fleet.filter_text().to_owned();
                self.state.place = Place::Fleet;
                let at = self.state.fleet.current().map(|it| it.sandbox.id.clone());
                self.open_line(LineKind::Filter { before: before.clone(), at }, &before);
            }
            Action::New => self.open_new(argument),
            Action::Run => self.run_program(argument),
            Action::Shell => self.open_shell(argument),
            Action::Pause => self.pause(argument),
            Action::Stop | Action::Remove => self.ask_loss(action, argument),
            Action::Start => self.ask_start(argument),
            Action::Snapshot => self.take_snapshot(argument, SnapshotKind::Filesystem),
            Action::SnapshotMemory => self.take_snapshot(argument, SnapshotKind::Memory),
            Action::SnapshotNamed => self.name_snapshot(),
            Action::Snapshots => self.open_snapshots(argument),
            Action::Fork => self.fork(argument),
            Action::Diff => self.open_diff(argument),
            Action::FilesShow => self.open_files(argument),
            Action::AsksShow => self.open_asks(),
            Action::Info => self.open_info(argument),
            Action::CopyName => self.copy_name(),
            _ => self.open_list(action, argument),
        }
    }

    fn list_action(&mut self, action: Action) -> bool {
        if self.state.is_first_run() && self.first_run_action(action) {
            return true;
        }
        let fleet = &mut self.state.fleet;
        match action {
            Action::ListDown => fleet.move_by(1),
            Action::ListUp => fleet.move_by(-1),
            Action::ListTop => fleet.move_to(0),
            Action::ListBottom => fleet.move_to(usize::MAX),
            Action::ListHalfDown => fleet.move_by(fleet.half_page()),
            Action::ListHalfUp => fleet.move_by(-fleet.half_page()),
            Action::ListNextAttention => {
                if !fleet.next_attention() {
                    self.notice(Level::Info, "nothing calls or failed");
                }
            }
            Action::Mark => {
                fleet.toggle_mark();
                fleet.move_by(1);
            }
            Action::MarkAll => fleet.mark_shown(),
            Action::MarkNone => fleet.unmark_all(),
            _ => return false,
        }
        // Whoever moves in the fleet sees it.
        self.state.fleet_shown = true;
        true
    }

    fn first_run_action(&mut self, action: Action) -> bool {
        let last = self.state.first_choices().len().saturating_sub(1);
        let choice = &mut self.state.first_choice;
        match action {
            Action::ListDown => *choice = (*choice + 1).min(last),
            Action::ListUp => *choice = choice.saturating_sub(1),
            Action::ListTop => *choice = 0,
            Action::ListBottom => *choice = last,
            Action::StepIn => self.first_run_choice(),
            _ => return false,
        }
        true
    }

    fn quit(&mut self) {
        if let Some(grip) = self.state.grip.take() {
            self.let_go(grip);
        }
        self.start(Act::Quit, None);
    }

    /// Closes the nearest open thing: a filter, the focus on the panes, the console itself.
    fn back(&mut self) {
        if self.give_up() {
            return;
        }
        let state = &mut *self.state;
        if state.grid.tab().zoomed {
            state.grid.tab_mut().zoomed = false;
        } else if state.place == Place::Panes {
            state.return_to_fleet();
        } else if !state.fleet.filter_text().is_empty() {
            state.fleet.filter("");
        } else if !state.fleet.marked().is_empty() {
            state.fleet.unmark_all();
        } else if matches!(state.last_key, Some(crate::vt::key::Key::Esc)) {
            // esc closes what is open; only another key leaves.
            let quit = self.state.quit_key();
            let text = format!("nothing is open; {quit} quits, sandboxes keep running");
            self.notice(Level::Info, &text);
        } else {
            self.quit();
        }
    }

    /// Fleet, then each pane, then the fleet again.
    fn step_place(&mut self, forward: bool) {
        let state = &mut *self.state;
        let count = state.grid.tab().slots().len();
        let focus = state.grid.tab().focus();
        let zoomed = state.grid.tab().zoomed;
        if state.grip.is_some() {
            return;
        }
        match (state.place, forward) {
            (Place::Fleet, _) if state.is_first_run() => {}
            (Place::Fleet, _) => {
                state.place = Place::Panes;
                state.grid.tab_mut().set_focus(if forward { 0 } else { count - 1 });
            }
            (Place::Panes, true) if !zoomed && focus + 1 < count => {
                state.grid.tab_mut().step(true);
            }
            (Place::Panes, false) if !zoomed && focus > 0 => state.grid.tab_mut().step(false),
            (Place::Panes, _) => {
                state.return_to_fleet();
            }
        }
    }

    fn choose_theme(&mut self, name: &str) {
        if name.is_empty() {
            return self.open_line(LineKind::Command, "theme ");
        }
        self.state.asked_theme = Some(name.to_owned());
        self.load_theme(name);
    }

    pub(super) fn load_theme(&mut self, name: &str) {
        let pending = Pending::Quiet(format!("theme {name}"));
        self.start(Act::LoadTheme(name.to_owned()), Some(pending));
    }

    fn choose_keymap(&mut self, name: &str) {
        if name.is_empty() {
            return self.open_line(LineKind::Command, "keymap ");
        }
        self.state.asked_keymap = Some(name.to_owned());
        self.load_keymap(name);
    }

    pub(super) fn load_keymap(&mut self, name: &str) {
        let pending = Pending::Quiet(format!("keymap {name}"));
        self.start(Act::LoadKeymap(name.to_owned()), Some(pending));
    }

    /// Takes a keymap that was read, with the prefix of the configuration over its own.
    pub(super) fn use_keymap(&mut self, keymap: Keymap) {
        let prefix = self.state.config.prefix.as_deref();
        let prefix = prefix.and_then(|it| crate::app::chord::Chord::parse(it).ok());
        self.state.typed.clear();
        self.state.keymap = match prefix {
            Some(prefix) => keymap.with_prefix(prefix),
            None => keymap,
        };
    }

    pub(super) fn save_prefs(&mut self) {
        let prefs = self.state.prefs.clone();
        self.start(Act::SavePrefs(prefs), Some(Pending::Quiet("your choice".to_owned())));
    }

    /// Shows that many panes, filling new ones with sessions that are not on screen yet.
    pub(super) fn set_layout(&mut self, count: usize) {
        self.state.prefs.layout = u8::try_from(count).ok();
        if let Some(layout) = self.state.prefs.layout {
            self.state.config.layout = layout;
        }
        self.save_prefs();
        self.lay_out(count);
    }

    pub(super) fn lay_out(&mut self, count: usize) {
        let stays = match self.state.place {
            Place::Panes => Stays::Focus,
            Place::Fleet => Stays::First,
        };
        let led = self.state.grid.tab_mut().set_layout(count, stays);
        self.lead(led);
        self.fill_panes();
        if layout::frame(self.state).panes.is_empty() {
            let key = self.state.key_words(Action::NextPlace);
            let panes = text::count(count, "pane");
            self.notice(
                Level::Info,
                &format!("{panes}; {key} shows them, there is no room beside"),
            );
        }
    }

    /// Gives empty panes sessions that are not on screen yet.
    pub(super) fn fill_panes(&mut self) {
        let slots = self.state.grid.tab().slots().to_vec();
        let shown = |it: &SessionId| {
            slots.contains(&Slot::Kept(it.clone())) || self.state.follow.as_ref() == Some(it)
        };
        let mut more: Vec<Slot> = Vec::new();
        for row in self.state.fleet.from_cursor().take(ROWS_TRIED_MAX) {
            let sessions = row.sandbox.sessions.iter().filter(|it| it.exit.is_none());
            for id in sessions.map(|it| it.id.clone()) {
                if !shown(&id) {
                    more.push(Slot::Kept(id));
                }
            }
        }
        let mut more = more.into_iter();
        for (at, slot) in slots.iter().enumerate() {
            if *slot == Slot::Empty
                && let Some(next) = more.next()
            {
                self.state.grid.tab_mut().put(at, next);
            }
        }
    }
}
