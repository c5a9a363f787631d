//! The hint bar: what the most useful keys do where the focus is, from the action table.

use super::{
    action::{Action, Scope},
    state::{Overlay, State},
};

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
            (_, Some(_)) | (Some(Overlay::Palette(_) | Overlay::Help(_)), _) => "LINE",
            (Some(_), _) => "BOX",
            _ if !self.typed.is_empty() => "PREFIX",
            _ if self.grip.is_some() => "TYPING",
            _ if self.copy.is_some() => "SCROLL",
            _ => "NORMAL",
        }
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
            (Some(Overlay::New(_)), _) => &[
                Action::DialogAccept,
                Action::DialogNext,
                Action::DialogRight,
                Action::DialogCancel,
            ],
            (Some(_), _) => &[Action::DialogAccept, Action::DialogCancel],
            _ if self.copy.is_some() => &[
                Action::ScrollLive,
                Action::ScrollSearch,
                Action::ScrollOlder,
                Action::Select,
                Action::Copy,
            ],
            _ if self.is_first_run() => {
                &[Action::StepIn, Action::New, Action::Palette, Action::Help, Action::Back]
            }
            _ => &[
                Action::StepIn,
                Action::New,
                Action::Pause,
                Action::Shell,
                Action::PaneAdd,
                Action::Filter,
                Action::Scrollback,
                Action::NextPlace,
                Action::PaneZoom,
                Action::Palette,
                Action::Help,
                Action::Back,
            ],
        };
        wanted
            .iter()
            .filter_map(|action| {
                let says = match action {
                    Action::StepIn if self.is_first_run() => "start".to_owned(),
                    action => action.spec().title.to_lowercase(),
                };
                self.key_for(*action).map(|key| Hint { key, says })
            })
            .collect()
    }

    /// How to leave the pane that is typed into.
    pub fn way_out(&self) -> String {
        match self.keymap.key_of(Scope::Prefix, Action::Leave) {
            Some(key) => format!("{key} leave"),
            None => format!("{} prefix", self.keymap.prefix()),
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
