//! Key presses, pastes and focus changes as the bytes a program expects by its modes: xterm's
//! legacy encoding, and the kitty keyboard protocol where the program asked for it.

use super::{Key, KeyPress, Mods, Stroke};
use crate::vt::screen::Modes;

const DISAMBIGUATE: u8 = 1;
const EVENT_TYPES: u8 = 2;
const ALTERNATES: u8 = 4;
const ALL_KEYS: u8 = 8;
const TEXT: u8 = 16;

/// Writes one key event. Empty when this program hears nothing of it (a release, mostly).
pub fn encode(press: KeyPress, modes: &Modes) -> Vec<u8> {
    let flags = modes.kitty_flags;
    if flags & (DISAMBIGUATE | EVENT_TYPES | ALL_KEYS) != 0 {
        return kitty(press, flags);
    }
    if press.stroke == Stroke::Release {
        return Vec::new();
    }
    legacy(press.key, press.mods, modes)
}

/// Writes a paste. Bracketed, it cannot end its own brackets or act as keys; unbracketed, a new
/// line is the Enter key.
pub fn encode_paste(text: &str, modes: &Modes) -> Vec<u8> {
    let text = text.replace("\r\n", "\n");
    let safe = text.chars().filter(|it| !it.is_control() || matches!(it, '\t' | '\r' | '\n'));
    if modes.bracketed_paste {
        // Without ESC no end marker can be left, however the paste is cut up.
        let mut out = b"\x1b[200~".to_vec();
        out.extend_from_slice(safe.collect::<String>().as_bytes());
        out.extend_from_slice(b"\x1b[201~");
        return out;
    }
    safe.map(|it| if it == '\n' { '\r' } else { it }).collect::<String>().into_bytes()
}

/// Writes a change of focus, if the program asked to hear of it.
pub fn encode_focus(gained: bool, modes: &Modes) -> Option<&'static [u8]> {
    let bytes: &[u8] = if gained { b"\x1b[I" } else { b"\x1b[O" };
    modes.focus_events.then_some(bytes)
}

/// xterm's number for a set of modifiers: 1 = none.
fn number(mods: Mods) -> u8 {
    1 + u8::from(mods.shift)
        + 2 * u8::from(mods.alt)
        + 4 * u8::from(mods.ctrl)
        + 8 * u8::from(mods.cmd)
}

/// How a key that is no character is written: `CSI 1;m LETTER` or `CSI n;m ~`.
enum Form {
    Letter(char),
    Tilde(u8),
}

fn form(key: Key) -> Option<Form> {
    Some(match key {
        Key::Up => Form::Letter('A'),
        Key::Down => Form::Letter('B'),
        Key::Right => Form::Letter('C'),
        Key::Left => Form::Letter('D'),
        Key::Home => Form::Letter('H'),
        Key::End => Form::Letter('F'),
        Key::Insert => Form::Tilde(2),
        Key::Delete => Form::Tilde(3),
        Key::PageUp => Form::Tilde(5),
        Key::PageDown => Form::Tilde(6),
        Key::F(1) => Form::Letter('P'),
        Key::F(2) => Form::Letter('Q'),
        Key::F(3) => Form::Letter('R'),
        Key::F(4) => Form::Letter('S'),
        Key::F(5) => Form::Tilde(15),
        Key::F(it @ 6..=10) => Form::Tilde(it + 11),
        Key::F(it @ 11..=14) => Form::Tilde(it + 12),
        Key::F(it @ 15..=16) => Form::Tilde(it + 13),
        Key::F(it @ 17..=20) => Form::Tilde(it + 14),
        _ => return None,
    })
}

fn legacy(key: Key, mods: Mods, modes: &Modes) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(form) = form(key) {
        let number = number(mods);
        match form {
            Form::Letter(it) if number > 1 => out.extend(format!("\x1b[1;{number}{it}").bytes()),
            Form::Letter(it) => {
                let keypad = matches!(it, 'P'..='S') || modes.application_cursor;
                out.extend([0x1b, if keypad { b'O' } else { b'[' }, it as u8]);
            }
            Form::Tilde(it) if number > 1 => out.extend(format!("\x1b[{it};{number}~").bytes()),
            Form::Tilde(it) => out.extend(format!("\x1b[{it}~").bytes()),
        }
        return out;
    }
    if mods.alt {
        out.push(0x1b);
    }
    match key {
        Key::Enter => out.push(b'\r'),
        Key::Esc => out.push(0x1b),
        Key::Tab if !mods.shift => out.push(b'\t'),
        Key::Tab | Key::BackTab => out.extend(b"\x1b[Z"),
        Key::Backspace => out.push(if mods.ctrl { 0x08 } else { 0x7f }),
        Key::Char(it) => match control(it).filter(|_| mods.ctrl) {
            Some(byte) => out.push(byte),
            None => out.extend(it.encode_utf8(&mut [0; 4]).bytes()),
        },
        _ => out.clear(),
    }
    out
}

/// The byte of ctrl and a character, where there is one.
fn control(it: char) -> Option<u8> {
    Some(match it.to_ascii_lowercase() {
        letter @ 'a'..='z' => letter as u8 - b'a' + 1,
        ' ' | '@' | '2' => 0,
        '[' | '3' => 27,
        '\\' | '4' => 28,
        ']' | '5' => 29,
        '^' | '6' => 30,
        '_' | '7' | '/' => 31,
        '8' | '?' => 127,
        _ => return None,
    })
}

fn kitty(press: KeyPress, flags: u8) -> Vec<u8> {
    let KeyPress { key, mut mods, mut stroke } = press;
    if flags & EVENT_TYPES == 0 {
        if stroke == Stroke::Release {
            return Vec::new();
        }
        stroke = Stroke::Press;
    }
    let all = flags & ALL_KEYS != 0;
    let key = if key == Key::BackTab {
        mods.shift = true;
        Key::Tab
    } else {
        key
    };
    if let Some(form) = form(key) {
        return functional(key, &form, mods, stroke);
    }
    let (code, shifted) = match key {
        Key::Enter => (13, None),
        Key::Esc => (27, None),
        Key::Tab => (9, None),
        Key::Backspace => (127, None),
        Key::F(it @ 21..=35) => (57_376 + u32::from(it) - 13, None),
        Key::Char(it) => code(it, &mut mods),
        _ => return Vec::new(),
    };
    let typed = match key {
        Key::Char(it) if !(mods.ctrl || mods.alt || mods.cmd) => Some(it),
        _ => None,
    };
    let editing = matches!(key, Key::Enter | Key::Tab | Key::Backspace);
    if !all {
        if editing && stroke == Stroke::Release {
            return Vec::new();
        }
        if stroke != Stroke::Release {
            if let Some(it) = typed {
                return it.to_string().into_bytes();
            }
            if editing && mods == Mods::default() {
                return legacy(key, mods, &Modes::default());
            }
        }
        if flags & DISAMBIGUATE == 0 && stroke == Stroke::Press {
            return legacy(key, mods, &Modes::default());
        }
    }
    let mut out = format!("\x1b[{code}");
    if let Some(it) = shifted.filter(|_| flags & ALTERNATES != 0) {
        out.push_str(&format!(":{}", u32::from(it)));
    }
    let text = typed.filter(|_| all && flags & TEXT != 0 && stroke != Stroke::Release);
    let tail = modifiers(mods, stroke);
    match text {
        Some(it) => out.push_str(&format!(";{tail};{}", u32::from(it))),
        None if !tail.is_empty() => out.push_str(&format!(";{tail}")),
        None => {}
    }
    out.push('u');
    out.into_bytes()
}

/// A character as the key that makes it, with what shift makes of it.
fn code(it: char, mods: &mut Mods) -> (u32, Option<char>) {
    let mut lower = it.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(base), None) if base != it => {
            mods.shift = true;
            (u32::from(base), Some(it))
        }
        _ => {
            let mut upper = it.to_uppercase();
            let shifted = upper.next().filter(|big| mods.shift && *big != it);
            (u32::from(it), shifted)
        }
    }
}

/// `modifiers[:event]`, empty when there is nothing to say.
fn modifiers(mods: Mods, stroke: Stroke) -> String {
    match (number(mods), stroke) {
        (1, Stroke::Press) => String::new(),
        (it, Stroke::Press) => it.to_string(),
        (it, Stroke::Repeat) => format!("{it}:2"),
        (it, Stroke::Release) => format!("{it}:3"),
    }
}

fn functional(key: Key, form: &Form, mods: Mods, stroke: Stroke) -> Vec<u8> {
    let tail = modifiers(mods, stroke);
    let number = match (key, form) {
        // `CSI R` is the answer to a cursor position query.
        (Key::F(3), _) => Some(13),
        (Key::F(it @ 13..=20), _) => {
            let code = 57_376 + u32::from(it) - 13;
            let tail = if tail.is_empty() { tail } else { format!(";{tail}") };
            return format!("\x1b[{code}{tail}u").into_bytes();
        }
        (_, Form::Tilde(it)) => Some(*it),
        (_, Form::Letter(_)) => None,
    };
    match (number, form) {
        (Some(it), _) if tail.is_empty() => format!("\x1b[{it}~"),
        (Some(it), _) => format!("\x1b[{it};{tail}~"),
        (None, Form::Letter(it)) if tail.is_empty() => format!("\x1b[{it}"),
        (None, Form::Letter(it)) => format!("\x1b[1;{tail}{it}"),
        (None, Form::Tilde(_)) => String::new(),
    }
    .into_bytes()
}
