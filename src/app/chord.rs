//! Chords: one key with its modifiers, as written in key files (`ctrl-b`, `alt-enter`, `G`).

use std::fmt;

use crate::vt::key::{Key, KeyPress, Mods};

/// One key with its modifiers, brought to one form so that two spellings compare equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chord {
    pub key: Key,
    pub mods: Mods,
}

/// Named keys, as written.
const NAMES: &[(&str, Key)] = &[
    ("enter", Key::Enter),
    ("esc", Key::Esc),
    ("tab", Key::Tab),
    ("backtab", Key::BackTab),
    ("space", Key::Char(' ')),
    ("backspace", Key::Backspace),
    ("delete", Key::Delete),
    ("insert", Key::Insert),
    ("home", Key::Home),
    ("end", Key::End),
    ("pageup", Key::PageUp),
    ("pagedown", Key::PageDown),
    ("up", Key::Up),
    ("down", Key::Down),
    ("left", Key::Left),
    ("right", Key::Right),
];

impl Chord {
    /// Brings a key to the one form: shift is part of a character, and of `backtab`.
    pub fn new(key: Key, mods: Mods) -> Self {
        let mut chord = Self { key, mods };
        match key {
            Key::Tab if mods.shift => (chord.key, chord.mods.shift) = (Key::BackTab, false),
            Key::BackTab => chord.mods.shift = false,
            Key::Char(it) => {
                // A terminal says ctrl-B and ctrl-b alike; only the kitty protocol tells them apart.
                if mods.shift && it.is_lowercase() {
                    chord.key = Key::Char(it.to_uppercase().next().unwrap_or(it));
                }
                chord.mods.shift = false;
            }
            _ => {}
        }
        chord
    }

    pub fn of(press: &KeyPress) -> Self {
        Self::new(press.key, press.mods)
    }

    /// Reads one chord; the error says in words what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut mods = Mods::default();
        let mut rest = text;
        // `-` alone and `ctrl--` name the minus key.
        while let Some((head, tail)) = rest.split_once('-').filter(|(_, it)| !it.is_empty()) {
            let flag = match head {
                "ctrl" | "c" | "C" => &mut mods.ctrl,
                "alt" | "a" | "meta" | "M" => &mut mods.alt,
                "shift" => &mut mods.shift,
                "cmd" | "super" => &mut mods.cmd,
                "" => break,
                _ => return Err(format!("`{head}` is not a modifier (ctrl, alt, shift, cmd)")),
            };
            if std::mem::replace(flag, true) {
                return Err(format!("`{head}` is there twice"));
            }
            rest = tail;
        }
        let key = key(rest).ok_or_else(|| {
            let names = NAMES.iter().map(|(name, _)| *name);
            let near = crate::config::source::nearest(rest, names);
            match near {
                Some(near) => format!("`{rest}` is not a key; did you mean `{near}`?"),
                None => format!("`{rest}` is not a key"),
            }
        })?;
        Ok(Self::new(key, mods))
    }
}

fn key(text: &str) -> Option<Key> {
    let mut chars = text.chars();
    if let (Some(only), None) = (chars.next(), chars.next()) {
        return (!only.is_control()).then_some(Key::Char(only));
    }
    let lower = text.to_ascii_lowercase();
    if let Some(number) = lower.strip_prefix('f').and_then(|it| it.parse::<u8>().ok()) {
        return (1..=24).contains(&number).then_some(Key::F(number));
    }
    NAMES.iter().find(|(name, _)| *name == lower).map(|(_, key)| *key)
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (on, name) in [
            (self.mods.ctrl, "ctrl-"),
            (self.mods.alt, "alt-"),
            (self.mods.shift, "shift-"),
            (self.mods.cmd, "cmd-"),
        ] {
            if on {
                f.write_str(name)?;
            }
        }
        match self.key {
            Key::F(number) => write!(f, "f{number}"),
            Key::Char(it) if it != ' ' => write!(f, "{it}"),
            key => {
                let name = NAMES.iter().find(|(_, it)| *it == key).map_or("?", |(name, _)| *name);
                f.write_str(name)
            }
        }
    }
}
