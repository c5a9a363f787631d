//! A program's output on its way to an operator's terminal: text and colours pass, everything that
//! could act on the terminal is made visible or dropped.

/// Longest SGR sequence let through, in bytes; a longer one is no honest colour.
const SGR_BYTES_MAX: usize = 64;

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    Escape,
    /// After `ESC [`: the parameters so far.
    Control(Vec<u8>),
    /// In a string (OSC, DCS, APC, PM, SOS): dropped up to BEL or ST.
    Str,
    /// In a string, after ESC.
    StrEscape,
}

/// A filter that keeps its state between pieces.
#[derive(Debug, Default)]
pub struct Safe {
    state: State,
    /// Start of a UTF-8 character whose rest has not come yet.
    partial: Vec<u8>,
}

impl Safe {
    /// Takes the next piece and gives what may be shown.
    pub fn feed(&mut self, bytes: &[u8]) -> String {
        let mut input = std::mem::take(&mut self.partial);
        input.extend_from_slice(bytes);
        let mut out = String::with_capacity(input.len());
        let mut rest: &[u8] = &input;
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.text(text, &mut out);
                    break;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    self.text(std::str::from_utf8(good).unwrap_or_default(), &mut out);
                    let Some(skip) = error.error_len() else {
                        self.partial = bad.to_vec();
                        break;
                    };
                    self.text("\u{fffd}", &mut out);
                    rest = bad.get(skip..).unwrap_or_default();
                }
            }
        }
        out
    }

    fn text(&mut self, text: &str, out: &mut String) {
        for it in text.chars() {
            self.step(it, out);
        }
    }

    fn step(&mut self, it: char, out: &mut String) {
        self.state = match (std::mem::take(&mut self.state), it) {
            (State::Str, it) => in_string(it, false),
            (State::StrEscape, it) => in_string(it, true),
            (State::Escape, it) => after_escape(it, out),
            (State::Control(mut so_far), '0'..='?' | ' '..='/') => {
                if so_far.len() < SGR_BYTES_MAX {
                    so_far.push(it as u8);
                }
                State::Control(so_far)
            }
            (State::Control(so_far), '@'..='~') => {
                // Private forms (`CSI > 4 m`) set modes, not colours.
                let plain = so_far.iter().all(|it| it.is_ascii_digit() || b";:".contains(it));
                if it == 'm' && plain && so_far.len() < SGR_BYTES_MAX {
                    out.push_str("\x1b[");
                    out.push_str(&String::from_utf8_lossy(&so_far));
                    out.push('m');
                }
                State::Text
            }
            (State::Text | State::Control(_), it) => in_text(it, out),
        };
    }
}

/// In an OSC, DCS or the like everything is dropped, up to BEL or ST.
fn in_string(it: char, after_escape: bool) -> State {
    match it {
        '\u{7}' | '\u{9c}' => State::Text,
        it if it == '\\' && after_escape => State::Text,
        '\u{1b}' => State::StrEscape,
        _ => State::Str,
    }
}

fn after_escape(it: char, out: &mut String) -> State {
    match it {
        '[' => State::Control(Vec::new()),
        ']' | 'P' | '_' | '^' | 'X' => State::Str,
        // Intermediates (`ESC ( 0`) lead to one more character; both are dropped.
        ' '..='/' => State::Escape,
        '0'..='~' => State::Text,
        it => in_text(it, out),
    }
}

fn in_text(it: char, out: &mut String) -> State {
    match it {
        '\u{1b}' => State::Escape,
        '\u{9b}' => State::Control(Vec::new()),
        '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => State::Str,
        it => {
            show(it, out);
            State::Text
        }
    }
}

fn show(it: char, out: &mut String) {
    match it {
        // A joiner may be part of an emoji; alone it shows nothing and does nothing.
        '\n' | '\t' | '\r' | '\u{200d}' => out.push(it),
        '\u{8}' | '\u{7}' | '\u{0}' | '\u{e}' | '\u{f}' => {}
        it => out.push_str(&crate::base::text::visible(it.encode_utf8(&mut [0; 4]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut safe = Safe::default();
        pieces.iter().map(|it| safe.feed(it)).collect()
    }

    #[test]
    fn text_and_colours_pass_whole() {
        assert_eq!(shown(&[b"\x1b[1;31mred\x1b[0m\r\n\tx"]), "\x1b[1;31mred\x1b[0m\r\n\tx");
        assert_eq!(shown(&["é日".as_bytes()]), "é日");
    }

    #[test]
    fn what_acts_on_a_terminal_does_not_pass() {
        let hostile: &[u8] =
            b"a\x1b]52;c;aGk=\x07b\x1b[2Jc\x1b[?1049hd\x1bcE\x1b(0f\x1bP+q\x1b\\g\x1b[>4;1mh\x07";
        assert_eq!(shown(&[hostile]), "abcdEfgh");
        assert_eq!(shown(&["\u{9b}2Jx\u{202e}y".as_bytes()]), "x<U+202E>y");
    }

    #[test]
    fn a_sequence_cut_in_two_is_still_one() {
        assert_eq!(
            shown(&[b"a\x1b", b"]0;t", b"\x1b", b"\\b", "日".as_bytes().split_at(1).0]),
            "ab"
        );
        let (head, tail) = "日".as_bytes().split_at(2);
        assert_eq!(shown(&[head, tail]), "日");
        assert_eq!(shown(&[b"\xff\xfex"]), "\u{fffd}\u{fffd}x");
    }
}
