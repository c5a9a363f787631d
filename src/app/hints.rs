//! The hint bar: what the most useful keys do where the focus is, from the action table.

use super::{
    action::{Action, Scope},
    asks::Listed,
    chord::Chord,
    diff::Half,
    files,
    keymap::{Bound, Step},
    records::{Of, Records},
    state::{Overlay, Place, State},
    view::View,
};
use crate::{base::text::width, model::sandbox::State as Life};

/// A key and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub key: String,
    pub says: String,
}

impl State {
    /// The word for where the keys go.
    pub fn mode(&self) -> &'static str {
        match (&self.overlay, &self.line) {
            _ if self.lost.is_some() => "LOST",
            (_, Some(_)) | (Some(Overlay::Palette(_) | Overlay::Help(_)), _) => "LINE",
            (Some(Overlay::Allow(_) | Overlay::Write(_)), _) => "LINE",
            (Some(_), _) => "BOX",
            _ if !self.typed.is_empty() => "PREFIX",
            _ if self.grip.is_some() => "TYPING",
            _ if matches!(self.view(), Some(View::Snapshots(_))) => "SNAPSHOTS",
            _ if self.shown_ask().is_some() => "ASK",
            _ if self.inbox().is_some() => "ASKS",
            _ if self.records().is_some() => "LIST",
            _ if self.gauges_place().is_some() => "GAUGES",
            _ if self.timeline().is_some() => "TIMELINE",
            _ if matches!(self.view(), Some(View::Files(_))) => "FILES",
            _ if self.view().is_some() => "DIFF",
            _ if self.copy.as_ref().is_some_and(|it| it.selection.is_some()) => "SELECT",
            _ if self.copy.is_some() => "SCROLL",
            _ => "NORMAL",
        }
    }

    /// The shortest key that does something where the focus is.
    pub fn key_for(&self, action: Action) -> Option<String> {
        let scopes = self.scopes();
        // A key of a later scope counts only where no earlier one takes it.
        let free = |at: usize, first: Chord| {
            let before = scopes.iter().take(at);
            let steps = before.map(|it| self.keymap.step(*it, &[first]));
            steps.into_iter().all(|it| it == Step::Nothing)
        };
        let found = self.keymap.bindings().filter(|(scope, keys, bound)| {
            let at = scopes.iter().position(|it| it == scope);
            **bound == Bound::Action(action)
                && at.zip(keys.0.first()).is_some_and(|(at, first)| free(at, *first))
        });
        let keys = found.map(|(_, keys, _)| self.keymap.show(keys));
        keys.min_by_key(|it| it.chars().count())
    }

    /// How an action is asked for from here, in words: by key, else by its name after `:`.
    pub fn key_words(&self, action: Action) -> String {
        let spec = action.spec();
        self.key_for(action)
            .or_else(|| self.keymap.keys_of(action).into_iter().next().map(|(_, keys)| keys))
            .unwrap_or_else(|| format!(":{}", spec.command.map_or(spec.id, |(name, _)| name)))
    }

    /// The hints for the focus, most useful first.
    pub fn hints(&self) -> Vec<Hint> {
        if self.grip.is_some() && self.overlay.is_none() && self.line.is_none() {
            return self.typing_hints();
        }
        let wanted: &[Action] = match (&self.overlay, &self.line) {
            (_, Some(_)) => &[Action::LineAccept, Action::LineComplete, Action::LineCancel],
            (Some(Overlay::Palette(_) | Overlay::Help(_)), _) => {
                &[Action::LineAccept, Action::LineUp, Action::LineDown, Action::LineCancel]
            }
            (Some(Overlay::Confirm(_) | Overlay::TakeOver { .. }), _) => &[Action::DialogCancel],
            (Some(Overlay::Allow(_) | Overlay::Write(_)), _) => {
                &[Action::LineAccept, Action::LineCancel]
            }
            (Some(Overlay::New(_)), _) => {
                &[Action::LineAccept, Action::LineComplete, Action::LineRight, Action::LineCancel]
            }
            (Some(_), _) => &[
                Action::DialogNext,
                Action::DialogPrevious,
                Action::DialogPageDown,
                Action::DialogCancel,
            ],
            _ => self.place_hints(),
        };
        let known = wanted.iter().filter(|it| **it != Action::Start || self.can_start());
        let known = known.filter(|it| {
            **it == Action::StepIn && !self.is_first_run() || self.lacks(**it).is_none()
        });
        let hint =
            |it: &Action| self.key_for(*it).map(|key| Hint { key, says: self.hint_says(*it) });
        known.filter_map(hint).collect()
    }

    /// What a hint says its key does: shorter than the title where the place makes it clear.
    fn hint_says(&self, action: Action) -> String {
        let dialog = matches!(self.overlay, Some(Overlay::New(_)));
        let read = self.scopes().contains(&Scope::Read);
        match action {
            Action::StepIn if self.is_first_run() => "start".to_owned(),
            Action::StepIn if self.lacks(action).is_some() => "watch".to_owned(),
            // In the dialog a line's keys mean the dialog.
            Action::LineAccept if dialog => "start".to_owned(),
            Action::LineComplete if dialog => "next field".to_owned(),
            Action::LineRight if dialog => "next choice".to_owned(),
            Action::DialogNext if read => "down".to_owned(),
            Action::DialogPrevious if read => "up".to_owned(),
            Action::DialogCancel if read => "close".to_owned(),
            Action::DiffBefore | Action::Diff => "changes".to_owned(),
            Action::DiffNow => "since".to_owned(),
            Action::SnapshotRemove => "remove".to_owned(),
            Action::DiffLeft => "files".to_owned(),
            Action::HunkNext => "next".to_owned(),
            Action::Stage if self.in_lines() => "stage hunk".to_owned(),
            Action::StageFile => "file".to_owned(),
            Action::DiffSystem if self.shows_system() => "workspace".to_owned(),
            Action::DiffSystem => "whole system".to_owned(),
            Action::Select if self.mode() == "SELECT" => "end selecting".to_owned(),
            Action::LineUp => "previous".to_owned(),
            Action::LineDown => "next".to_owned(),
            Action::NextPlace if self.shown_ask().is_some() => "next ask".to_owned(),
            Action::NextPlace if self.inbox().is_some() => match self.inbox().map(|it| it.tab) {
                Some(Listed::Waiting) => "ended".to_owned(),
                _ => "waiting".to_owned(),
            },
            Action::ListHalfDown => "further".to_owned(),
            Action::ListDown => "down".to_owned(),
            action => action.spec().title.to_lowercase(),
        }
    }

    /// The hints where no box and no line has the keys.
    fn place_hints(&self) -> &'static [Action] {
        match &self.copy {
            _ if self.view().is_some() => self.view_hints(),
            Some(it) if it.selection.is_some() => {
                &[Action::Copy, Action::Select, Action::SelectLines, Action::ScrollLive]
            }
            Some(_) => &[
                Action::ScrollLive,
                Action::ScrollSearch,
                Action::ScrollOlder,
                Action::Select,
                Action::Copy,
            ],
            None if self.is_first_run() => &[Action::StepIn, Action::New],
            None if self.means_stopped() => &[
                Action::Scrollback,
                Action::Start,
                Action::Diff,
                Action::Snapshots,
                Action::Remove,
                Action::New,
                Action::Filter,
                Action::NextPlace,
            ],
            None => &[
                Action::StepIn,
                Action::New,
                Action::Pause,
                Action::Snapshot,
                Action::Diff,
                Action::Shell,
                Action::PaneAdd,
                Action::Filter,
                Action::Scrollback,
                Action::NextPlace,
                Action::PaneZoom,
            ],
        }
    }

    /// The hints that fit into so many cells. The last ones are help, palette and quit, for who
    /// knows these finds the rest.
    pub fn hints_within(&self, cells: usize) -> Vec<Hint> {
        let cost = |it: &Hint| width(&it.key) + width(&it.says) + 3;
        // The gap behind the last is not needed.
        let cells = cells + 2;
        let mut last = self.last_hints();
        while last.iter().map(cost).sum::<usize>() > cells * 3 / 5 && last.len() > 1 {
            last.pop();
        }
        let mut left = cells.saturating_sub(last.iter().map(cost).sum());
        let mut hints = self.hints();
        let fits = hints.iter().take_while(|it| {
            let fits = cost(it) <= left;
            left = left.saturating_sub(cost(it));
            fits
        });
        let fits = fits.count();
        hints.truncate(fits);
        hints.extend(last);
        hints
    }

    fn last_hints(&self) -> Vec<Hint> {
        if self.overlay.is_some() || self.line.is_some() || self.grip.is_some() {
            return Vec::new();
        }
        let hint = |action: Action| {
            let says = action.spec().title.to_lowercase();
            self.key_for(action).map(|key| Hint { key, says })
        };
        if !self.views.is_empty() {
            return [hint(Action::Help), hint(Action::Back)].into_iter().flatten().collect();
        }
        let quit = Hint { key: self.quit_key(), says: Action::Quit.spec().title.to_lowercase() };
        [hint(Action::Help), hint(Action::Palette), Some(quit)].into_iter().flatten().collect()
    }

    /// Whether letters go into a line or a field.
    pub fn takes_text(&self) -> bool {
        let boxed = matches!(
            self.overlay,
            Some(
                Overlay::Palette(_)
                    | Overlay::Help(_)
                    | Overlay::New(_)
                    | Overlay::Allow(_)
                    | Overlay::Write(_)
            )
        );
        self.line.is_some() || boxed
    }

    /// What is said of a key that has no meaning where the focus is: where it has one, else where
    /// all keys are told.
    pub fn means_nothing(&self, chord: Chord) -> String {
        let here = self.scopes();
        if self.overlay.is_some() {
            let close = self.key_words(Action::DialogCancel);
            return format!("{chord} does nothing here; {close} closes the box");
        }
        // In the list of asks, what answers one is nearest.
        let near = here.contains(&Scope::Asks).then_some(Scope::Ask);
        let elsewhere = near.into_iter().chain([
            Scope::List,
            Scope::Panes,
            Scope::Scroll,
            Scope::Snapshots,
            Scope::Diff,
            Scope::Files,
        ]);
        let found = elsewhere.filter(|it| !here.contains(it)).find_map(|scope| {
            match self.keymap.step(scope, &[chord]) {
                Step::Run(bound) => Some((scope, bound.title().to_lowercase())),
                Step::More | Step::Nothing => None,
            }
        });
        match found {
            Some((scope, title)) => {
                format!("{chord} does nothing here; {} it is: {title}", scope.title())
            }
            None => {
                format!("{chord} does nothing; {} shows all keys", self.key_words(Action::Help))
            }
        }
    }

    fn can_start(&self) -> bool {
        let named = |it: &super::fleet::Row| it.is_startable();
        match self.place {
            Place::Fleet => self.fleet.current().is_some_and(named),
            Place::Panes => {
                let session = self.focused_session().and_then(|it| self.fleet.session(it));
                session.is_some_and(|(row, _)| named(row))
            }
        }
    }

    /// Whether what keys mean has no program left that runs.
    fn means_stopped(&self) -> bool {
        let row = match self.place {
            Place::Fleet => self.fleet.current(),
            Place::Panes => {
                self.focused_session().and_then(|it| self.fleet.session(it)).map(|it| it.0)
            }
        };
        row.is_some_and(|it| matches!(it.sandbox.state, Life::Stopped | Life::Failed | Life::Gone))
    }

    /// The key that quits from here.
    pub fn quit_key(&self) -> String {
        // Going back leaves only where nothing is open.
        let at_rest = self.place == Place::Fleet
            && self.views.is_empty()
            && self.copy.is_none()
            && !self.grid.tab().zoomed
            && self.fleet.filter_text().is_empty()
            && self.fleet.marked().is_empty();
        let back = self.keymap.keys_of(Action::Back).into_iter().map(|(_, keys)| keys);
        let leaves = back.filter(|it| it != "esc").find(|_| at_rest);
        leaves.unwrap_or_else(|| self.key_words(Action::Quit))
    }

    fn shows_system(&self) -> bool {
        matches!(self.view(), Some(View::Diff(it)) if it.system)
    }

    fn in_lines(&self) -> bool {
        matches!(self.view(), Some(View::Diff(it)) if it.half == Half::Lines)
    }

    fn view_hints(&self) -> &'static [Action] {
        match self.view() {
            Some(View::Asks(it)) if it.shown.is_some() => {
                &[Action::ListHalfDown, Action::ListDown, Action::NextPlace]
            }
            Some(View::Asks(it)) if it.tab == Listed::Ended => {
                &[Action::AskOpen, Action::AskRevoke, Action::NextPlace, Action::ListDown]
            }
            Some(View::Asks(_)) => &[Action::AskOpen, Action::NextPlace, Action::ListDown],
            Some(View::Gauges(_)) => &[
                Action::GaugesWhole,
                Action::GaugesSort,
                Action::GaugesSpan,
                Action::Find,
                Action::ListDown,
            ],
            Some(View::Timeline(_)) => &[
                Action::TimelinePlay,
                Action::TimelineBack,
                Action::TimelineOn,
                Action::TimelineNext,
                Action::TimelinePrevious,
                Action::Find,
                Action::TimelineKind,
                Action::TimelineLive,
                Action::TimelineOpen,
                Action::TimelineExport,
            ],
            Some(View::Records(it)) => record_hints(it),
            Some(View::Files(it)) => file_hints(it.half),
            Some(View::Snapshots(_)) => &[
                Action::DiffBefore,
                Action::DiffNow,
                Action::Restore,
                Action::Fork,
                Action::Snapshot,
                Action::SnapshotRemove,
                Action::Find,
            ],
            Some(View::Diff(it)) if !it.is_appliable() => match it.half {
                Half::Files => &[Action::DiffEnter, Action::DiffSystem, Action::Find],
                Half::Lines => {
                    &[Action::DiffLeft, Action::HunkNext, Action::DiffSystem, Action::Find]
                }
            },
            Some(View::Diff(it)) if it.half == Half::Lines => &[
                Action::DiffLeft,
                Action::HunkNext,
                Action::Stage,
                Action::StageFile,
                Action::Apply,
                Action::Find,
            ],
            _ => &[
                Action::DiffEnter,
                Action::Stage,
                Action::Apply,
                Action::DiffSystem,
                Action::TakeBack,
                Action::Find,
            ],
        }
    }

    /// How to leave the pane that is typed into.
    pub fn way_out(&self) -> String {
        match self.keymap.key_of(Scope::Prefix, Action::Leave) {
            Some(key) => format!("{key} leave"),
            None => format!("{} prefix", self.keymap.prefix()),
        }
    }

    /// What keys do while the terminal is too small to show anything.
    pub fn unseen_hint(&self) -> String {
        if self.grip.is_some() {
            return format!("keys go nowhere; {}", self.way_out());
        }
        match self.keymap.key_of(Scope::Global, Action::Quit) {
            Some(quit) => format!("keys do nothing here; {quit} quits"),
            None => "keys do nothing here".to_owned(),
        }
    }

    fn typing_hints(&self) -> Vec<Hint> {
        let prefix = self.keymap.prefix().to_string();
        let mut hints = vec![Hint { key: prefix, says: "prefix".to_owned() }];
        if let Some(key) = self.keymap.key_of(Scope::Pane, Action::Leave) {
            hints.push(Hint { key, says: "leave".to_owned() });
        }
        let behind = [Action::Scrollback, Action::PaneZoom, Action::Palette, Action::Help];
        for action in behind {
            if let Some(key) = self.keymap.key_of(Scope::Prefix, action) {
                let says = action.spec().title.to_lowercase();
                hints.push(Hint { key, says });
            }
        }
        hints
    }
}

fn record_hints(it: &Records) -> &'static [Action] {
    match &it.of {
        _ if it.open.is_some() => &[Action::ListHalfDown, Action::ListDown],
        Of::Rules => {
            &[Action::RecordOpen, Action::RuleAdd, Action::RuleRemove, Action::Find, Action::Again]
        }
        Of::Status(..) => &[
            Action::RecordOpen,
            Action::SyscallsShow,
            Action::Nudge,
            Action::Interrupt,
            Action::Pause,
            Action::Snapshot,
            Action::Shell,
            Action::AsksShow,
            Action::Find,
            Action::Again,
        ],
        Of::Egress(_) | Of::Audit | Of::Syscalls(..) => {
            &[Action::RecordOpen, Action::Find, Action::Again]
        }
    }
}

fn file_hints(half: files::Half) -> &'static [Action] {
    match half {
        files::Half::Text => &[
            Action::FileClose,
            Action::FileFollow,
            Action::FileHex,
            Action::FileEdit,
            Action::FileGet,
        ],
        files::Half::Tree => &[
            Action::FileOpen,
            Action::Find,
            Action::FilesSearch,
            Action::FileEdit,
            Action::FileGet,
            Action::FilesSystem,
            Action::FilesSince,
        ],
    }
}
