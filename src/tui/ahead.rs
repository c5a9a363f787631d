//! Keys typed while the terminal was being asked, from their bytes. No mode is on then: these are the
//! sequences that every terminal starts with; answers among them, and what is not known, are left out.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

const ESCAPE: u8 = 0x1b;
/// Begin a string that ends with ST, the first of them also with BEL: OSC, DCS, APC, PM, SOS.
const STRINGS: &[u8] = b"]P_^X";

/// The keys in what was heard, in order.
pub fn typed(heard: &[u8]) -> Vec<Event> {
    let (mut keys, mut rest) = (Vec::new(), heard);
    while let Some((key, after)) = next(rest) {
        keys.extend(key.map(Event::Key));
        rest = after;
    }
    keys
}

type Key = Option<KeyEvent>;

fn plain(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

/// The first thing in there, if it is a key, and what comes after it.
fn next(bytes: &[u8]) -> Option<(Key, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first != ESCAPE {
        return character(bytes);
    }
    let Some((&kind, inner)) = rest.split_first() else {
        return Some((Some(plain(KeyCode::Esc)), rest));
    };
    match kind {
        b'[' => Some(control(inner)),
        b'O' => {
            Some(inner.split_first().map_or((None, inner), |(last, rest)| (named(*last), rest)))
        }
        kind if STRINGS.contains(&kind) => Some((None, after_string(inner))),
        ESCAPE => Some((Some(plain(KeyCode::Esc)), rest)),
        _ => character(rest).map(|(key, rest)| {
            let held = |it: KeyEvent| KeyEvent::new(it.code, it.modifiers | KeyModifiers::ALT);
            (key.map(held), rest)
        }),
    }
}

/// Text, or a key that is one byte.
fn character(bytes: &[u8]) -> Option<(Key, &[u8])> {
    const BYTES_MAX: usize = 4; // of one character
    let (&first, rest) = bytes.split_first()?;
    let control =
        |letter: u8| KeyEvent::new(KeyCode::Char(char::from(letter)), KeyModifiers::CONTROL);
    let key = match first {
        // Typed before the terminal was raw, Enter is a line feed.
        b'\r' | b'\n' => plain(KeyCode::Enter),
        b'\t' => plain(KeyCode::Tab),
        0x7f => plain(KeyCode::Backspace),
        0 => control(b' '),
        0x01..=0x1a => control(first - 1 + b'a'),
        0x1c..=0x1f => control(first - 0x1c + b'4'),
        _ => {
            let whole = (1..=BYTES_MAX).find_map(|length| {
                let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
                Some((text.chars().next()?, bytes.get(length..)?))
            });
            return Some(match whole {
                Some((letter, rest)) => {
                    let shift = if letter.is_uppercase() {
                        KeyModifiers::SHIFT
                    } else {
                        KeyModifiers::NONE
                    };
                    (Some(KeyEvent::new(KeyCode::Char(letter), shift)), rest)
                }
                None => (None, rest),
            });
        }
    };
    Some((Some(key), rest))
}

/// After `ESC [`: parameters and a last byte.
fn control(bytes: &[u8]) -> (Key, &[u8]) {
    let Some(end) = bytes.iter().position(|it| (0x40..=0x7e).contains(it)) else {
        return (None, &[]);
    };
    let (parameters, rest) = bytes.split_at(end);
    let (last, rest) = rest.split_first().map_or((0, rest), |(last, rest)| (*last, rest));
    let mut numbers = parameters
        .split(|it| *it == b';')
        .map(|it| std::str::from_utf8(it).ok().and_then(|it| it.parse::<u8>().ok()));
    let (number, held) = (numbers.next().flatten(), numbers.next().flatten());
    let key = match (last, number) {
        (b'~', Some(number)) => numbered(number),
        (b'Z', _) => Some(KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT)),
        // An answer begins with `?`.
        (_, _) if parameters.first().is_some_and(|it| !it.is_ascii_digit()) => None,
        _ => named(last),
    };
    let held = held.map_or(KeyModifiers::NONE, modifiers);
    (key.map(|it| KeyEvent::new(it.code, it.modifiers | held)), rest)
}

/// One more than a sum of flags.
fn modifiers(number: u8) -> KeyModifiers {
    let flags = number.saturating_sub(1);
    let all = [KeyModifiers::SHIFT, KeyModifiers::ALT, KeyModifiers::CONTROL];
    let set = all.into_iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
    set.fold(KeyModifiers::NONE, |held, (_, it)| held | it)
}

fn named(last: u8) -> Key {
    Some(plain(match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        b'P'..=b'S' => KeyCode::F(last - b'P' + 1),
        _ => return None,
    }))
}

fn numbered(number: u8) -> Key {
    Some(plain(match number {
        1 | 7 => KeyCode::Home,
        2 => KeyCode::Insert,
        3 => KeyCode::Delete,
        4 | 8 => KeyCode::End,
        5 => KeyCode::PageUp,
        6 => KeyCode::PageDown,
        11..=15 => KeyCode::F(number - 10),
        17..=21 => KeyCode::F(number - 11),
        23..=24 => KeyCode::F(number - 12),
        _ => return None,
    }))
}

fn after_string(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|it| matches!(*it, ESCAPE | 0x07));
    let rest = end.and_then(|it| bytes.get(it..)).unwrap_or_default();
    rest.strip_prefix(b"\x1b\\").or(rest.strip_prefix(b"\x07")).unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(heard: &[u8]) -> Vec<String> {
        let word = |it: Event| match it {
            Event::Key(KeyEvent { code, modifiers, .. }) => format!("{modifiers}+{code}"),
            other => panic!("{other:?}"),
        };
        typed(heard).into_iter().map(word).collect()
    }

    #[test]
    fn keys_between_and_around_answers_are_kept_in_order() {
        let heard = b"/\x1b[?1uni\x1b]11;rgb:1a1a/1b1b/2626\x1b\\g\x1b[?62;22cht\r";
        let expected = ["/", "n", "i", "g", "h", "t"].map(|it| format!("+{it}"));
        let found = words(heard);
        assert_eq!(found[..6], expected);
        assert_eq!(found.len(), 7, "{found:?}");
    }

    #[test]
    fn every_key_that_a_plain_terminal_sends_is_known() {
        for (bytes, expected) in [
            ("\x1b[A", KeyEvent::new(KeyCode::Up, KeyModifiers::NONE)),
            ("\x1bOD", KeyEvent::new(KeyCode::Left, KeyModifiers::NONE)),
            ("\x1b[1;5C", KeyEvent::new(KeyCode::Right, KeyModifiers::CONTROL)),
            ("\x1b[3~", KeyEvent::new(KeyCode::Delete, KeyModifiers::NONE)),
            ("\x1b[24~", KeyEvent::new(KeyCode::F(12), KeyModifiers::NONE)),
            ("\x1bOQ", KeyEvent::new(KeyCode::F(2), KeyModifiers::NONE)),
            ("\x1b[Z", KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT)),
            ("\x1bx", KeyEvent::new(KeyCode::Char('x'), KeyModifiers::ALT)),
            ("\x1b", KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)),
            ("\x03", KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)),
            ("\x7f", KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE)),
            ("\u{e9}", KeyEvent::new(KeyCode::Char('\u{e9}'), KeyModifiers::NONE)),
            ("\u{1f980}", KeyEvent::new(KeyCode::Char('\u{1f980}'), KeyModifiers::NONE)),
            ("Q", KeyEvent::new(KeyCode::Char('Q'), KeyModifiers::SHIFT)),
        ] {
            assert_eq!(typed(bytes.as_bytes()), [Event::Key(expected)], "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_or_grow(heard in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            proptest::prop_assert!(typed(&heard).len() <= heard.len());
        }
    }
}
