//! Lines being edited, and the boxes that lie over everything.

use super::Turn;
use crate::{
    app::{
        action::{Action, Argument},
        command,
        dialog::{Field, TAKE_OVER_KEY},
        keymap::{self, Bound},
        line::Editor,
        palette::{PAGE, RECENT_MAX},
        state::{HISTORY_MAX, LineKind, LineMode, Overlay, Place},
    },
    base::{
        id::HubNumber,
        limits::{ANSWER_MESSAGE_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, PATTERN_BYTES_MAX},
    },
    model::{event::Level, invite},
};

/// Names offered by completion.
const OFFERS_MAX: usize = 200;

impl Turn<'_> {
    pub(super) fn open_line(&mut self, kind: LineKind, text: &str) {
        let bytes_max = match kind {
            LineKind::Filter { .. } => crate::app::filter::FILTER_BYTES_MAX,
            LineKind::Command => command::COMMAND_BYTES_MAX,
            LineKind::Search | LineKind::Find | LineKind::FileWords => PATTERN_BYTES_MAX,
            LineKind::FileTo { .. } => PATH_BYTES_MAX,
            LineKind::SnapshotName(_) => NAME_BYTES_MAX,
            LineKind::DenySay { .. } | LineKind::Nudge(_) => ANSWER_MESSAGE_BYTES_MAX,
        };
        let editor = Editor::new(text, bytes_max);
        let mode = LineMode { kind, editor, offers: Vec::new(), offered: None, back: 0 };
        self.state.overlay = None;
        self.state.line = Some(mode);
        self.line_changed();
    }

    /// Text that was typed or pasted, to whatever is being edited.
    pub(super) fn insert(&mut self, text: &str) {
        if self.state.line.is_none() && matches!(self.state.overlay, Some(Overlay::Allow(_))) {
            return self.type_in_allow(text);
        }
        if self.state.line.is_none() && matches!(self.state.overlay, Some(Overlay::Write(_))) {
            return self.type_in_write(text);
        }
        let editor = match (&mut self.state.line, &mut self.state.overlay) {
            (Some(line), _) => Some(&mut line.editor),
            (None, Some(Overlay::Palette(palette))) => {
                palette.selected = 0;
                Some(&mut palette.line)
            }
            (None, Some(Overlay::Help(help))) => {
                help.top = 0;
                Some(&mut help.line)
            }
            (None, Some(Overlay::New(dialog))) => {
                dialog.wrong = None;
                if dialog.editor().is_none() && text == " " {
                    dialog.choose(true);
                }
                dialog.editor_mut()
            }
            _ => None,
        };
        if let Some(editor) = editor {
            editor.insert(text);
            self.line_changed();
        }
        if let Some(Overlay::New(dialog)) = &mut self.state.overlay {
            dialog.propose_network();
        }
    }

    /// What follows from a changed line: a live filter, fresh completions.
    fn line_changed(&mut self) {
        let Some(mode) = &mut self.state.line else { return };
        mode.offered = None;
        match mode.kind {
            LineKind::Filter { .. } => {
                let text = mode.editor.text().to_owned();
                self.state.fleet.filter(&text);
            }
            LineKind::Command => {
                let line = mode.editor.before().to_owned();
                let offers = command::complete(&line, &|takes| self.known(takes));
                if let Some(mode) = &mut self.state.line {
                    mode.offers = offers;
                }
            }
            LineKind::Search
            | LineKind::Find
            | LineKind::FileWords
            | LineKind::FileTo { .. }
            | LineKind::SnapshotName(_)
            | LineKind::Nudge(_)
            | LineKind::DenySay { .. } => {}
        }
    }

    fn known(&self, takes: Argument) -> Vec<String> {
        let presets = |names: &[String], built_in: &[&str]| {
            let mut all: Vec<String> = built_in.iter().map(|it| (*it).to_owned()).collect();
            all.extend(names.iter().filter(|it| !built_in.contains(&it.as_str())).cloned());
            all
        };
        match takes {
            Argument::Layout => ["1", "2", "4", "6"].map(str::to_owned).to_vec(),
            Argument::Theme => self.state.themes.clone(),
            Argument::Keymap => {
                let built_in: Vec<&str> = keymap::PRESETS.iter().map(|(name, _)| *name).collect();
                presets(&self.state.keymaps, &built_in)
            }
            Argument::Filter => {
                crate::app::filter::KEYS.iter().map(|it| format!("{it}:")).collect()
            }
            Argument::Program => self.state.agents.clone(),
            Argument::Sandbox | Argument::SandboxProgram | Argument::SandboxName => {
                self.state.fleet.names(OFFERS_MAX)
            }
            Argument::Context => {
                let others = self.state.hubs.iter().filter(|it| it.number != HubNumber::FIRST);
                let gone = others.map(|it| format!("rm {}", it.name));
                ["add ".to_owned()].into_iter().chain(gone).collect()
            }
            Argument::Hub => self.state.hubs.iter().map(|it| it.name.clone()).collect(),
            Argument::Nothing | Argument::Pattern => Vec::new(),
        }
    }

    /// Actions of a line being edited, in the bar or in a box.
    pub(super) fn line_action(&mut self, action: Action) -> bool {
        if self.state.line.is_some() {
            return self.bar_action(action);
        }
        if matches!(self.state.overlay, Some(Overlay::Allow(_))) {
            return self.allow_action(action);
        }
        if matches!(self.state.overlay, Some(Overlay::Write(_))) {
            return self.write_action(action);
        }
        let keymap = &self.state.keymap;
        let height = usize::from(self.state.size.1);
        match &mut self.state.overlay {
            Some(Overlay::Palette(palette)) => match (action, rows_below_line(action)) {
                (Action::LineAccept | Action::DialogAccept, _) => self.palette_chosen(),
                (Action::LineCancel | Action::DialogCancel, _) => self.close_box(),
                (_, Some(rows)) => {
                    palette.step(rows);
                    true
                }
                _ => {
                    let done = palette.line.act(action);
                    palette.selected = if done { 0 } else { palette.selected };
                    done
                }
            },
            Some(Overlay::Help(help)) => match (action, rows_below_line(action)) {
                (
                    Action::LineAccept
                    | Action::LineCancel
                    | Action::DialogAccept
                    | Action::DialogCancel,
                    _,
                ) => self.close_box(),
                (_, Some(rows)) => {
                    let last = help.lines(keymap).len().saturating_sub(height / 2);
                    help.top = help.top.saturating_add_signed(rows).min(last);
                    true
                }
                _ => {
                    let done = help.line.act(action);
                    help.top = if done { 0 } else { help.top };
                    done
                }
            },
            Some(Overlay::New(dialog)) => {
                // What a line knows of accepting and moving is the dialog's here.
                let instead = match action {
                    Action::LineAccept => Some(Action::DialogAccept),
                    Action::LineCancel => Some(Action::DialogCancel),
                    Action::LineUp => Some(Action::DialogPrevious),
                    Action::LineDown | Action::LineComplete => Some(Action::DialogNext),
                    Action::LineLeft => Some(Action::DialogLeft),
                    Action::LineRight => Some(Action::DialogRight),
                    _ => None,
                };
                if let Some(instead) = instead {
                    return self.dialog_action(instead);
                }
                let Some(editor) = dialog.editor_mut() else { return false };
                let done = editor.act(action);
                if done {
                    dialog.wrong = None;
                    dialog.propose_network();
                }
                done
            }
            _ => false,
        }
    }

    fn close_box(&mut self) -> bool {
        self.state.overlay = None;
        true
    }

    fn bar_action(&mut self, action: Action) -> bool {
        match action {
            Action::LineAccept => self.accept_line(),
            Action::LineCancel => {
                if let Some(LineMode { kind: LineKind::Filter { before, at }, .. }) =
                    self.state.line.take()
                {
                    self.state.fleet.filter(&before);
                    if let Some(at) = at {
                        self.state.fleet.select(&at);
                    }
                }
            }
            Action::LineComplete => self.complete(),
            Action::LineUp => self.recall(true),
            Action::LineDown => self.recall(false),
            _ => {
                let done = self.state.line.as_mut().is_some_and(|it| it.editor.act(action));
                if done {
                    self.line_changed();
                }
                return done;
            }
        }
        true
    }

    fn accept_line(&mut self) {
        let Some(mode) = self.state.line.take() else { return };
        let text = mode.editor.text().trim().to_owned();
        match mode.kind {
            LineKind::Filter { .. } => {}
            LineKind::Search => self.search(&text),
            LineKind::Find => self.find_in_view(&text),
            LineKind::FileWords => self.search_files(&text),
            LineKind::FileTo { sandbox, path } => self.get_to(sandbox, path, &text),
            LineKind::SnapshotName(sandbox) => self.snapshot_named(sandbox, &text),
            LineKind::Nudge(session) => self.nudged(session, &text),
            LineKind::DenySay { ask, digest } => self.deny_said(&ask, &digest, &text),
            LineKind::Command if text.is_empty() => {}
            LineKind::Command => {
                // What lets somebody in is not shown to whoever looks back.
                if !invite::is_in(&text) {
                    self.state.history.retain(|it| *it != text);
                    self.state.history.push_front(text.clone());
                    self.state.history.truncate(HISTORY_MAX);
                }
                self.command(&text);
            }
        }
    }

    /// Takes the next completion; a single one is taken whole.
    fn complete(&mut self) {
        let Some(mode) = &mut self.state.line else { return };
        let count = mode.offers.len();
        if count == 0 {
            return;
        }
        let next = mode.offered.map_or(0, |it| (it + 1) % count);
        let Some(text) = mode.offers.get(next).cloned() else { return };
        if count == 1 {
            mode.editor.set(&format!("{text} "));
            self.line_changed();
        } else {
            mode.editor.set(&text);
            mode.offered = Some(next);
        }
    }

    fn recall(&mut self, older: bool) {
        let Some(mode) = &mut self.state.line else { return };
        match mode.kind {
            LineKind::Command => {}
            // While filtering, the arrows move in the list.
            LineKind::Filter { .. } => {
                return self.state.fleet.move_by(if older { -1 } else { 1 });
            }
            LineKind::Search
            | LineKind::Find
            | LineKind::FileWords
            | LineKind::FileTo { .. }
            | LineKind::SnapshotName(_)
            | LineKind::Nudge(_)
            | LineKind::DenySay { .. } => return,
        }
        let last = self.state.history.len();
        mode.back = if older { (mode.back + 1).min(last) } else { mode.back.saturating_sub(1) };
        let text = mode.back.checked_sub(1).and_then(|it| self.state.history.get(it));
        mode.editor.set(text.map_or("", String::as_str));
        mode.offers.clear();
    }

    fn palette_chosen(&mut self) -> bool {
        let Some(Overlay::Palette(palette)) = &self.state.overlay else { return false };
        let Some(action) = palette.chosen() else { return true };
        self.state.overlay = None;
        let recent = &mut self.state.recent;
        recent.retain(|it| *it != action);
        recent.push_front(action);
        recent.truncate(RECENT_MAX);
        self.run(&Bound::Action(action));
        true
    }

    pub(super) fn dialog_action(&mut self, action: Action) -> bool {
        let rows = match action {
            Action::DialogNext => 1,
            Action::DialogPrevious => -1,
            Action::DialogPageDown => PAGE,
            Action::DialogPageUp => -PAGE,
            Action::DialogAccept | Action::DialogCancel => 0,
            Action::DialogLeft | Action::DialogRight => return self.choose(action),
            _ => return false,
        };
        let (sessions, notices) = (self.info_length(), self.state.notices.len());
        match (&mut self.state.overlay, action) {
            (None, _) => return false,
            (Some(Overlay::New(_)), Action::DialogAccept) => self.start_new(),
            // The key that takes away is another one, on purpose.
            (Some(Overlay::Confirm(confirm)), Action::DialogAccept) => {
                let (go, leave) = (confirm.key, self.state.key_words(Action::DialogCancel));
                self.notice(Level::Info, &format!("press {go} to go on, {leave} to leave it"));
            }
            (Some(Overlay::TakeOver { .. }), Action::DialogAccept) => {
                let leave = self.state.key_words(Action::DialogCancel);
                let text = format!("press {TAKE_OVER_KEY} to take it over, {leave} to leave it");
                self.notice(Level::Info, &text);
            }
            (Some(Overlay::TakeOver { .. }), Action::DialogCancel) => {
                self.state.overlay = None;
                if self.state.came_from == Place::Fleet {
                    self.state.return_to_fleet();
                }
            }
            (Some(_), Action::DialogAccept | Action::DialogCancel) => {
                self.state.overlay = None;
                self.hint_was_followed();
            }
            (Some(Overlay::New(dialog)), _) => dialog.step(rows > 0),
            (Some(Overlay::Notices { top }), _) => scroll(top, rows, notices),
            (Some(Overlay::Info { top, .. }), _) => scroll(top, rows, sessions),
            (Some(Overlay::Doctor { checks, top, .. }), _) => {
                scroll(top, rows, checks.as_ref().map_or(0, Vec::len) * 2);
            }
            (Some(_), _) => {}
        }
        true
    }

    fn info_length(&self) -> usize {
        match &self.state.overlay {
            Some(Overlay::Info { sandbox, .. }) => {
                let row = self.state.fleet.get(sandbox);
                row.map(|it| &it.sandbox).map_or(0, |it| {
                    let missing = it.capabilities.words().iter().filter(|it| !it.1).count();
                    16 + it.labels.len() + missing + it.told().len() + it.sessions.len() * 2
                })
            }
            _ => 0,
        }
    }

    fn choose(&mut self, action: Action) -> bool {
        let forward = action == Action::DialogRight;
        match &mut self.state.overlay {
            Some(Overlay::New(dialog)) => {
                let typed =
                    dialog.focus() == Field::Program && !dialog.text(Field::Program).is_empty();
                if !dialog.choose(forward) || (typed && dialog.editor().is_none()) {
                    let edit = if forward { Action::LineRight } else { Action::LineLeft };
                    if let Some(editor) = dialog.editor_mut() {
                        editor.act(edit);
                    }
                }
                true
            }
            _ => false,
        }
    }
}

/// Rows that an action moves by in what a line on top narrows.
fn rows_below_line(action: Action) -> Option<isize> {
    match action {
        Action::LineUp | Action::DialogPrevious => Some(-1),
        Action::LineDown | Action::LineComplete | Action::DialogNext => Some(1),
        Action::DialogPageUp => Some(-PAGE),
        Action::DialogPageDown => Some(PAGE),
        _ => None,
    }
}

fn scroll(top: &mut usize, rows: isize, count: usize) {
    *top = top.saturating_add_signed(rows).min(count.saturating_sub(1));
}
