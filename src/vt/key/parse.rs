//! Keys written as text: `ls<Enter>`, `<C-c>`, `<A-x>`, `<S-Tab>`, `<F5>`, `<lt>`.

use super::{Key, KeyPress, Mods};

/// The names that keys have in angle brackets, for people who look for one.
pub const KEY_NAMES: &str = "Enter Esc Tab BackTab BS Del Insert Home End PageUp PageDown Up Down \
                             Left Right Space lt gt bar F1 to F24, with C- A- S- D- before";
/// A word in angle brackets longer than this is no key that was mistyped.
const NAME_BYTES_MAX: usize = 20;

/// What in a text looks like the name of a key and is none: a word in angle brackets.
pub fn unknown_key(text: &str) -> Option<&str> {
    let named = text.split('<').skip(1).filter_map(|it| it.split_once('>')).map(|it| it.0);
    let wordlike = |it: &&str| {
        (1..=NAME_BYTES_MAX).contains(&it.len())
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
    };
    named.filter(wordlike).find(|it| parse_key(it).is_none())
}

/// Reads text as it is: only line ends, tabs and the like are keys of their own.
pub fn parse_text(text: &str) -> Vec<KeyPress> {
    text.chars().map(typed).collect()
}

fn typed(it: char) -> KeyPress {
    KeyPress::plain(match it {
        '\n' | '\r' => Key::Enter,
        '\t' => Key::Tab,
        '\u{1b}' => Key::Esc,
        '\u{7f}' => Key::Backspace,
        it => Key::Char(it),
    })
}

/// Reads text mixed with named keys. What is in angle brackets but names no key is typed as it is.
pub fn parse_keys(text: &str) -> Vec<KeyPress> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        let named = (first == '<')
            .then(|| after.split_once('>'))
            .flatten()
            .and_then(|(name, tail)| Some((parse_key(name)?, tail)));
        if let Some((press, tail)) = named {
            out.push(press);
            rest = tail;
        } else {
            out.push(typed(first));
            rest = after;
        }
    }
    out
}

/// Reads what stands between the brackets: modifiers `C- A- M- S- D-`, then a name or a character.
fn parse_key(name: &str) -> Option<KeyPress> {
    let mut mods = Mods::default();
    let mut rest = name;
    while let Some((modifier, tail)) = rest.split_once('-').filter(|(_, tail)| !tail.is_empty()) {
        match modifier {
            "C" | "c" => mods.ctrl = true,
            "A" | "a" | "M" | "m" => mods.alt = true,
            "S" | "s" => mods.shift = true,
            "D" | "d" => mods.cmd = true,
            _ => break,
        }
        rest = tail;
    }
    let mut chars = rest.chars();
    let key = match (chars.next()?, chars.next()) {
        (it, None) if mods != Mods::default() => {
            Key::Char(if mods.shift { it.to_uppercase().next().unwrap_or(it) } else { it })
        }
        _ => key_named(rest)?,
    };
    let key = if key == Key::Tab && mods.shift { Key::BackTab } else { key };
    Some(KeyPress { mods, ..KeyPress::plain(key) })
}

fn key_named(name: &str) -> Option<Key> {
    Some(match name.to_ascii_lowercase().as_str() {
        "enter" | "cr" | "return" => Key::Enter,
        "esc" | "escape" => Key::Esc,
        "tab" => Key::Tab,
        "backtab" => Key::BackTab,
        "bs" | "backspace" => Key::Backspace,
        "del" | "delete" => Key::Delete,
        "insert" | "ins" => Key::Insert,
        "home" => Key::Home,
        "end" => Key::End,
        "pageup" | "pgup" => Key::PageUp,
        "pagedown" | "pgdn" => Key::PageDown,
        "up" => Key::Up,
        "down" => Key::Down,
        "left" => Key::Left,
        "right" => Key::Right,
        "space" => Key::Char(' '),
        "lt" => Key::Char('<'),
        "gt" => Key::Char('>'),
        "bar" => Key::Char('|'),
        name => {
            let number = name.strip_prefix('f')?.parse().ok()?;
            Key::F(Some(number).filter(|it| (1..=24).contains(it))?)
        }
    })
}
