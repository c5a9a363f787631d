//! Keys: sequences through the keymap; what is unbound while typing goes to the program.

use super::Turn;
use crate::{
    app::{
        action::{Action, Scope},
        chord::Chord,
        command,
        dialog::TAKE_OVER_KEY,
        keymap::{Bound, Step},
        msg::Moment,
        state::{Overlay, State},
    },
    model::event::Level,
    vt::key::{Key, KeyPress, Stroke},
};

impl Turn<'_> {
    pub(super) fn key(&mut self, press: KeyPress) {
        if press.stroke == Stroke::Release {
            // Programs that asked for releases get them, but never of a key that was ours.
            if self.state.grip.is_some() && self.state.typed.is_empty() {
                self.type_key(press);
            }
            return;
        }
        if self.goes_nowhere(Some(press)) {
            return;
        }
        let chord = Chord::of(&press);
        if !self.state.typed.is_empty() {
            return self.continue_sequence(chord, press);
        }
        if let Some(Overlay::Confirm(confirm)) = &self.state.overlay
            && is_bare(press, confirm.key)
        {
            match self.state.hears() {
                true => self.confirmed(),
                false => self.too_early(press),
            }
            return;
        }
        if matches!(self.state.overlay, Some(Overlay::TakeOver { .. }))
            && is_bare(press, TAKE_OVER_KEY)
        {
            match self.state.hears() {
                true => self.take_over(),
                false => self.too_early(press),
            }
            return;
        }
        for scope in self.state.scopes() {
            // A letter is text where a line takes it, whatever a key file says of boxes.
            if *scope == Scope::Dialog && self.state.takes_text() && is_text(press) {
                continue;
            }
            match self.state.keymap.step(*scope, &[chord]) {
                Step::Run(bound) => {
                    let bound = bound.clone();
                    self.state.last_key = Some(press.key);
                    self.run(&bound);
                    self.state.last_key = None;
                    return;
                }
                Step::More => return self.begin_sequence(*scope, chord),
                Step::Nothing => {}
            }
        }
        let reachable = self.state.line.is_none() && self.state.overlay.is_none();
        if reachable && chord == self.state.keymap.prefix() {
            return self.begin_prefix();
        }
        self.unbound(press);
    }

    /// A box takes no answer before it can have been read.
    fn too_early(&mut self, press: KeyPress) {
        let key = Chord::of(&press);
        self.notice(Level::Info, &format!("that was too early to have been read: {key} again"));
    }

    /// A key while the terminal is too small to show what it would do: only what leaves a pane or the
    /// console acts, and what draws.
    pub(super) fn key_unseen(&mut self, press: KeyPress) {
        if press.stroke == Stroke::Release || self.goes_nowhere(Some(press)) {
            return;
        }
        let chord = Chord::of(&press);
        let begun = !self.state.typed.is_empty();
        let mut typed = std::mem::take(&mut self.state.typed);
        typed.push(chord);
        let scope = match self.state.grip {
            _ if begun => self.state.typed_scope,
            Some(_) => Scope::Pane,
            None => Scope::Global,
        };
        let from = usize::from(begun && scope == Scope::Prefix);
        let found = step(self.state, scope, typed.get(from..).unwrap_or_default());
        match found {
            Step::Run(bound) if acts_unseen(bound, self.state.grip.is_some()) => {
                let bound = bound.clone();
                self.run(&bound);
            }
            Step::More if begun => self.state.typed = typed,
            Step::More => self.begin_sequence(scope, chord),
            Step::Nothing if !begun && chord == self.state.keymap.prefix() => self.begin_prefix(),
            // Meant for the program, perhaps: what is typed behind it does not go without it.
            Step::Run(_) | Step::Nothing => self.left_out(),
        }
    }

    fn begin_sequence(&mut self, scope: Scope, chord: Chord) {
        let Moment { since_start, .. } = self.state.now;
        (self.state.typed_scope, self.state.typed_at) = (scope, since_start);
        self.state.typed = vec![chord];
    }

    fn begin_prefix(&mut self) {
        let prefix = self.state.keymap.prefix();
        self.begin_sequence(Scope::Prefix, prefix);
    }

    fn continue_sequence(&mut self, chord: Chord, press: KeyPress) {
        let scope = self.state.typed_scope;
        let mut typed = self.state.typed.clone();
        typed.push(chord);
        // The prefix itself is typed first but is no part of the sequence behind it.
        let sequence = typed.get(usize::from(scope == Scope::Prefix)..).unwrap_or_default();
        match step(self.state, scope, sequence) {
            Step::Run(bound) => {
                let bound = bound.clone();
                self.state.typed.clear();
                self.state.last_key = Some(press.key);
                self.run(&bound);
                self.state.last_key = None;
            }
            Step::More => self.state.typed = typed,
            Step::Nothing => {
                self.state.typed.clear();
                if chord.key != Key::Esc {
                    let keys: Vec<String> = typed.iter().map(ToString::to_string).collect();
                    let text = format!("`{}` does nothing", keys.join(" "));
                    self.notice(Level::Info, &text);
                }
            }
        }
    }

    /// A key that no scope knows: text for a line, or input for the program.
    fn unbound(&mut self, press: KeyPress) {
        if self.state.grip.is_some() && self.state.overlay.is_none() && self.state.line.is_none() {
            return self.type_key(press);
        }
        if !self.state.takes_text() {
            let text = self.state.means_nothing(Chord::of(&press));
            return self.notice(Level::Info, &text);
        }
        let Key::Char(it) = press.key else { return };
        if !is_text(press) {
            return;
        }
        self.insert(it.encode_utf8(&mut [0; 4]));
    }

    pub(super) fn run(&mut self, bound: &Bound) {
        match bound {
            Bound::Action(action) => self.act(*action),
            Bound::Command(line) => self.command(line),
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        self.act_on(action, "");
    }
}

/// What needs no picture.
fn acts_unseen(bound: &Bound, typing: bool) -> bool {
    let action = match bound {
        Bound::Action(action) => Some(*action),
        Bound::Command(line) => command::parse(line).ok().map(|it| it.action),
    };
    match action {
        Some(Action::Quit | Action::Redraw) => true,
        Some(Action::Leave) => typing,
        _ => false,
    }
}

/// A sequence behind the prefix may name the prefix itself.
fn step<'s>(state: &'s State, scope: Scope, typed: &[Chord]) -> Step<'s> {
    let keymap = &state.keymap;
    let swapped: Vec<Chord> = typed
        .iter()
        .map(|it| if *it == keymap.prefix() { crate::app::keymap::PREFIX } else { *it })
        .collect();
    match keymap.step(scope, &swapped) {
        Step::Nothing => keymap.step(scope, typed),
        found => found,
    }
}

fn is_text(press: KeyPress) -> bool {
    let bare = !press.mods.ctrl && !press.mods.alt && !press.mods.cmd;
    bare && matches!(press.key, Key::Char(_))
}

fn is_bare(press: KeyPress, key: char) -> bool {
    is_text(press) && press.stroke == Stroke::Press && press.key == Key::Char(key)
}
