//! Keys as the console knows them, free of any terminal library, and the bytes a program expects
//! for them, for pastes, for the mouse and for focus.

mod encode;
mod mouse;
mod parse;

pub use encode::{encode, encode_focus, encode_paste};
pub use mouse::{MouseButton, MouseEvent, MouseKind, encode_mouse};
pub use parse::{KEY_NAMES, parse_keys, parse_text, unknown_key};

/// A key without its modifiers. A character is as typed (`A` for shift-a).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    Char(char),
    Enter,
    Esc,
    Tab,
    BackTab,
    Backspace,
    Delete,
    Insert,
    Home,
    End,
    PageUp,
    PageDown,
    Up,
    Down,
    Left,
    Right,
    F(u8),
}

/// Modifiers held down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mods {
    pub ctrl: bool,
    pub alt: bool,
    pub shift: bool,
    pub cmd: bool,
}

/// What happened to the key; terminals without the kitty protocol only ever say `Press`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stroke {
    #[default]
    Press,
    Repeat,
    Release,
}

/// One key event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyPress {
    pub key: Key,
    pub mods: Mods,
    pub stroke: Stroke,
}

impl KeyPress {
    /// A press without modifiers.
    pub const fn plain(key: Key) -> Self {
        Self {
            key,
            mods: Mods { ctrl: false, alt: false, shift: false, cmd: false },
            stroke: Stroke::Press,
        }
    }
}
