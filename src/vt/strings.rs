//! Strings (OSC, DCS) and queries: facts about the program for whoever watches, answers for the
//! program itself. No answer carries anything the program chose.

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};

use super::{csi::Csi, front::Feed, screen::Screen};
use crate::{
    base::{
        limits::{
            CLIPBOARD_BYTES_MAX, FACTS_PER_FEED_MAX, OSC_BYTES_MAX, PATH_BYTES_MAX,
            REPLY_BYTES_MAX, STATUS_FIELDS_MAX, TITLE_BYTES_MAX,
        },
        text,
    },
    model::fact::Fact,
};

/// Schemes a link may have: those that show something and start nothing.
const SCHEMES: [&str; 4] = ["http://", "https://", "file://", "mailto:"];

impl Feed<'_> {
    pub(super) fn fact(&mut self, fact: Fact) {
        if self.found.facts.len() < FACTS_PER_FEED_MAX {
            self.found.facts.push((self.at, fact));
        }
    }

    fn reply(&mut self, reply: &str) {
        if self.found.replies.len() + reply.len() <= REPLY_BYTES_MAX {
            self.found.replies.extend_from_slice(reply.as_bytes());
        }
    }
}

/// Text from a program, safe to show and cut to a number of bytes.
fn safe(bytes: &[u8], max: usize) -> String {
    text::shown(&String::from_utf8_lossy(bytes), max)
}

fn base64(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = bytes.iter().rposition(|it| *it != b'=').map_or(0, |it| it + 1);
    BASE64_STANDARD_NO_PAD.decode(bytes.get(..end)?).ok()
}

fn split(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, bytes) {
        Some(end) => bytes
            .split_at_checked(end)
            .map_or((bytes, &[]), |(head, tail)| (head, tail.get(1..).unwrap_or_default())),
        None => (bytes, &[]),
    }
}

impl Screen {
    pub(super) fn osc(&mut self, feed: &mut Feed<'_>, body: &[u8], bell: bool) {
        let (number, rest) = split(body, b';');
        let end = if bell { "\x07" } else { "\x1b\\" };
        let fact = match number {
            b"0" | b"2" => {
                let title = safe(rest, TITLE_BYTES_MAX);
                self.state.title = Some(title.clone());
                Some(Fact::Title(title))
            }
            b"4" => return Self::palette(feed, rest, end),
            b"10" | b"11" | b"12" if rest == b"?" => {
                let colour = if number == b"11" { self.colours.1 } else { self.colours.0 };
                let number = String::from_utf8_lossy(number);
                return feed.reply(&format!("\x1b]{number};{}{end}", rgb(colour)));
            }
            b"7" => cwd(rest),
            b"8" => link(rest),
            b"9" => notify_or_progress(rest),
            b"52" => clipboard(rest),
            b"99" => kitty_notification(rest),
            b"133" => prompt(rest),
            b"777" => rxvt_notification(rest),
            b"7501" if rest == b"?" => return feed.reply("\x1b]7501;?\x1b\\"),
            b"7501" => status(rest),
            _ => None,
        };
        if let Some(fact) = fact {
            feed.fact(fact);
        }
    }

    /// OSC 4: what colour has number N? Asked in pairs; setting one is not taken.
    fn palette(feed: &mut Feed<'_>, rest: &[u8], end: &str) {
        let mut parts = rest.split(|it| *it == b';').take(64);
        while let (Some(index), Some(asked)) = (parts.next(), parts.next()) {
            let index = std::str::from_utf8(index).ok().and_then(|it| it.parse::<u8>().ok());
            if let Some(index) = index.filter(|_| asked == b"?") {
                feed.reply(&format!("\x1b]4;{index};{}{end}", rgb(colour(index))));
            }
        }
    }

    /// DCS: XTGETTCAP and DECRQSS get short answers, the rest none.
    pub(super) fn dcs(feed: &mut Feed<'_>, body: &[u8]) {
        if let Some(names) = body.strip_prefix(b"+q") {
            for name in names.split(|it| *it == b';').take(16) {
                let known = match name.to_ascii_uppercase().as_slice() {
                    b"544E" => Some("544E=787465726D2D323536636F6C6F72"),
                    b"436F" => Some("436F=323536"),
                    b"636F6C6F7273" => Some("636F6C6F7273=323536"),
                    b"524742" => Some("524742=38"),
                    _ => None,
                };
                match known {
                    Some(it) => feed.reply(&format!("\x1bP1+r{it}\x1b\\")),
                    None => feed.reply("\x1bP0+r\x1b\\"),
                }
            }
        } else if body.starts_with(b"$q") {
            feed.reply("\x1bP0$r\x1b\\");
        }
    }

    /// Answers a query; what is none of those known is ignored.
    pub(super) fn answer(&mut self, feed: &mut Feed<'_>, csi: Csi<'_>) {
        let (rows, cols) = (self.size.rows(), self.size.cols());
        let first = csi.param(0).unwrap_or(0);
        match (csi.private, csi.intermediate, csi.last, first) {
            (0, 0, b'c', 0) => feed.reply("\x1b[?62;22;52c"),
            (b'>', 0, b'c', 0) => feed.reply("\x1b[>1;1;0c"),
            (0, 0, b'n', 5) => feed.reply("\x1b[0n"),
            (0 | b'?', 0, b'n', 6) => {
                self.flush(feed);
                let (mut row, mut col) = self.place();
                if self.state.origin {
                    row = row.saturating_sub(self.state.top);
                    col = col.saturating_sub(self.state.sides.map_or(0, |it| it.left));
                }
                let mark = if csi.private == b'?' { "?" } else { "" };
                feed.reply(&format!("\x1b[{mark}{};{}R", row + 1, col + 1));
            }
            (b'?', 0, b'u', _) => feed.reply(&format!("\x1b[?{}u", self.state.current().flags())),
            (b'>', 0, b'q', 0) => {
                feed.reply(concat!("\x1bP>|sandwatch(", env!("CARGO_PKG_VERSION"), ")\x1b\\"));
            }
            (b'?', b'$', b'p', mode) => {
                let known = self.state.private(mode).map_or(0, |on| if on { 1 } else { 2 });
                feed.reply(&format!("\x1b[?{mode};{known}$y"));
            }
            (0, b'$', b'p', mode) => {
                let known = match mode {
                    4 => 2 - u8::from(self.state.insert),
                    20 => 2 - u8::from(self.state.newline),
                    _ => 0,
                };
                feed.reply(&format!("\x1b[{mode};{known}$y"));
            }
            (0, 0, b't', 18) => feed.reply(&format!("\x1b[8;{rows};{cols}t")),
            (0, 0, b't', 19) => feed.reply(&format!("\x1b[9;{rows};{cols}t")),
            _ => {}
        }
    }
}

fn rgb((red, green, blue): (u8, u8, u8)) -> String {
    format!("rgb:{red:02x}{red:02x}/{green:02x}{green:02x}/{blue:02x}{blue:02x}")
}

/// xterm's 256 colours.
fn colour(index: u8) -> (u8, u8, u8) {
    const BASE: [(u8, u8, u8); 16] = [
        (0, 0, 0),
        (205, 0, 0),
        (0, 205, 0),
        (205, 205, 0),
        (0, 0, 238),
        (205, 0, 205),
        (0, 205, 205),
        (229, 229, 229),
        (127, 127, 127),
        (255, 0, 0),
        (0, 255, 0),
        (255, 255, 0),
        (92, 92, 255),
        (255, 0, 255),
        (0, 255, 255),
        (255, 255, 255),
    ];
    let level = |it: u8| if it == 0 { 0 } else { 55 + 40 * it };
    match (BASE.get(usize::from(index)), index) {
        (Some(it), _) => *it,
        (None, 232..) => {
            let grey = 8 + 10 * (index - 232);
            (grey, grey, grey)
        }
        (None, _) => {
            let cube = index - 16;
            (level(cube / 36), level(cube / 6 % 6), level(cube % 6))
        }
    }
}

/// OSC 7: `file://HOST/PATH`, percent-encoded.
fn cwd(rest: &[u8]) -> Option<Fact> {
    let path = match rest.strip_prefix(b"file://") {
        Some(address) => address.get(memchr::memchr(b'/', address)?..)?,
        None => rest.starts_with(b"/").then_some(rest)?,
    };
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let hex = |it: Option<u8>| char::from(it?).to_digit(16);
        match (byte, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    Some(Fact::Cwd(safe(&out, PATH_BYTES_MAX)))
}

/// OSC 8: `PARAMETERS;URI`, an empty one ends the link. One that can't be shown as it is, or only cut, is
/// none: it would lead elsewhere.
fn link(rest: &[u8]) -> Option<Fact> {
    let uri = std::str::from_utf8(split(rest, b';').1).ok()?;
    let has =
        |scheme: &&str| uri.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme));
    let as_it_is = text::shown(uri, OSC_BYTES_MAX) == uri;
    (as_it_is && SCHEMES.iter().any(has)).then(|| Fact::Link { uri: uri.to_owned() })
}

/// OSC 9: progress as `4;STATE;PERCENT`; other numbers are another terminal's commands; else a
/// notification.
fn notify_or_progress(rest: &[u8]) -> Option<Fact> {
    let (first, tail) = split(rest, b';');
    if first == b"4" {
        let (state, percent) = split(tail, b';');
        let number = |it: &[u8]| std::str::from_utf8(it).ok()?.parse::<u8>().ok();
        let state = number(state).filter(|it| *it <= 4)?;
        let percent = number(split(percent, b';').0).map(|it| it.min(100));
        let percent = if matches!(state, 0 | 3) { None } else { percent };
        return Some(Fact::Progress { state, percent });
    }
    let command = !first.is_empty() && first.len() < rest.len() && first.len() <= 2;
    if command && first.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let body = safe(rest, OSC_BYTES_MAX);
    (!body.is_empty()).then_some(Fact::Notify { title: None, body })
}

/// OSC 777: `notify;TITLE;BODY`.
fn rxvt_notification(rest: &[u8]) -> Option<Fact> {
    let (title, body) = split(rest.strip_prefix(b"notify;")?, b';');
    let title = Some(safe(title, TITLE_BYTES_MAX)).filter(|it| !it.is_empty());
    Some(Fact::Notify { title, body: safe(body, OSC_BYTES_MAX) })
}

/// OSC 99: `METADATA;PAYLOAD`; the last part of a notification given in parts stands for it.
fn kitty_notification(rest: &[u8]) -> Option<Fact> {
    let (metadata, payload) = split(rest, b';');
    let has = |pair: &[u8]| metadata.split(|it| *it == b':').any(|it| it == pair);
    let part = metadata.split(|it| *it == b':').find_map(|it| it.strip_prefix(b"p="));
    if has(b"d=0") || part.is_some_and(|it| it != b"title" && it != b"body") {
        return None;
    }
    let decoded = if has(b"e=1") { base64(payload)? } else { payload.to_vec() };
    let body = safe(&decoded, OSC_BYTES_MAX);
    (!body.is_empty()).then_some(Fact::Notify { title: None, body })
}

/// OSC 52: `WHERE;BASE64`. A read (`?`) is not answered, an empty write erases nothing.
fn clipboard(rest: &[u8]) -> Option<Fact> {
    let data = split(rest, b';').1;
    let decoded = base64(data).filter(|it| !it.is_empty() && it.len() <= CLIPBOARD_BYTES_MAX)?;
    Some(Fact::Clipboard(decoded))
}

/// OSC 133: `A`, `B`, `C` or `D[;EXIT CODE]`.
fn prompt(rest: &[u8]) -> Option<Fact> {
    let (mark, tail) = split(rest, b';');
    let [mark @ (b'A'..=b'D')] = mark else { return None };
    let exit_code = std::str::from_utf8(split(tail, b';').0).ok().and_then(|it| it.parse().ok());
    Some(Fact::Prompt { mark: char::from(*mark), exit_code: exit_code.filter(|_| *mark == b'D') })
}

/// OSC 7501: `state=STATE:KEY=VALUE:...`; title and message are in base64.
fn status(rest: &[u8]) -> Option<Fact> {
    const STATES: [&str; 6] = ["idle", "working", "done", "blocked", "error", "clear"];
    let mut state = None;
    let mut fields = Vec::new();
    for pair in rest.split(|it| *it == b':').take(STATUS_FIELDS_MAX) {
        let (key, value) = split(pair, b'=');
        match key {
            b"state" => state = STATES.iter().find(|it| it.as_bytes() == value),
            b"msg" | b"title" => {
                fields.push((safe(key, 16), safe(&base64(value)?, OSC_BYTES_MAX)));
            }
            b"" => {}
            _ => fields.push((safe(key, 16), safe(value, 128))),
        }
    }
    Some(Fact::Program { state: (*state?).to_owned(), fields })
}
