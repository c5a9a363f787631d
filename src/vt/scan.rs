//! Cuts output into whole pieces: text, control characters and sequences, wherever the feeds are
//! cut. What is half read is held here, bounded, and goes into keyframes.

use std::borrow::Cow;

use memchr::memchr3;

use crate::base::limits::{CLIPBOARD_BYTES_MAX, OSC_BYTES_MAX};

/// Longest CSI sequence kept, in bytes: 32 parameters of five digits and their separators.
const CSI_BYTES_MAX: usize = 256;
/// An OSC 52 carries its data in base64, after a few letters.
const CLIPBOARD_OSC_BYTES_MAX: usize = CLIPBOARD_BYTES_MAX.div_ceil(3) * 4 + 32;

/// One whole piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Characters and the controls that act the same everywhere (CR, LF, VT, FF, TAB, NUL ...).
    Text(&'a str),
    /// One character whose bytes came in several feeds.
    Character(char),
    /// Bytes that are no UTF-8: one U+FFFD.
    Invalid,
    /// BEL, BS, SO, SI; within a sequence any control character.
    Control(u8),
    /// ESC, intermediates, final byte.
    Escape(Cow<'a, [u8]>),
    /// What follows `ESC [`, with the final byte.
    Csi(Cow<'a, [u8]>),
    Osc {
        body: Vec<u8>,
        bell: bool,
    },
    Dcs(Vec<u8>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Utf8,
    Escape,
    Csi,
    Osc,
    OscEnd,
    Dcs,
    DcsEnd,
    /// SOS, PM, APC: no one listens.
    Text,
}

const STATES: [State; 9] = [
    State::Ground,
    State::Utf8,
    State::Escape,
    State::Csi,
    State::Osc,
    State::OscEnd,
    State::Dcs,
    State::DcsEnd,
    State::Text,
];

/// A feed being read.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Next byte to read.
    pub(super) at: usize,
    /// No special byte lies between `at` and here.
    clear: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, clear: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Text up to the next special byte. Looks at each byte once, however often it is asked.
    fn run(&mut self) -> &'a [u8] {
        if self.clear <= self.at {
            self.clear = self.at + special(self.rest());
        }
        self.bytes.get(self.at..self.clear).unwrap_or_default()
    }
}

fn is_special(byte: u8) -> bool {
    matches!(byte, 0x07 | 0x08 | 0x0e | 0x0f | 0x1b)
}

/// Length of the part before the first special byte.
fn special(bytes: &[u8]) -> usize {
    // Among sequences text is short: the next one is close.
    let (near, far) = bytes.split_at(bytes.len().min(16));
    if let Some(at) = near.iter().position(|it| is_special(*it)) {
        return at;
    }
    let mut at = near.len();
    for block in far.chunks(64) {
        // Without an early exit within the block this is a few vector instructions.
        if block.iter().fold(false, |found, byte| found | is_special(*byte)) {
            return at + block.iter().position(|it| is_special(*it)).unwrap_or(block.len());
        }
        at += block.len();
    }
    at
}

/// The state between two feeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scanner {
    state: State,
    held: Vec<u8>,
    /// The sequence was longer than any that means something: it is read to its end and dropped.
    overflow: bool,
}

impl Scanner {
    /// Whether what comes next begins a piece of its own.
    pub(super) fn is_at_rest(&self) -> bool {
        self.state == State::Ground
    }

    /// What a keyframe keeps: state number, overflow, held bytes.
    pub(super) fn parts(&self) -> (u8, bool, &[u8]) {
        (self.state as u8, self.overflow, &self.held)
    }

    pub(super) fn from_parts(state: u8, overflow: bool, held: &[u8]) -> Option<Self> {
        let state = *STATES.get(usize::from(state))?;
        let fits = held.len() <= CLIPBOARD_OSC_BYTES_MAX;
        fits.then(|| Self { state, overflow, held: held.to_vec() })
    }

    /// Reads the next piece; `None` at the end of the feed.
    pub(super) fn next<'a>(&mut self, reader: &mut Reader<'a>) -> Option<Token<'a>> {
        loop {
            let byte = *reader.bytes.get(reader.at)?;
            let token = match self.state {
                State::Ground => self.ground(reader, byte),
                State::Utf8 => self.utf8(reader, byte),
                State::Escape => self.escape(reader, byte),
                State::Csi => self.csi(reader, byte),
                State::Osc | State::Dcs | State::Text => self.string(reader),
                State::OscEnd | State::DcsEnd => self.string_end(reader, byte),
            };
            if token.is_some() {
                return token;
            }
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.held.clear();
        self.overflow = false;
    }

    fn hold(&mut self, bytes: &[u8], max: usize) {
        if self.held.len() + bytes.len() > max {
            self.overflow = true;
            self.held = Vec::new();
        }
        if !self.overflow {
            self.held.extend_from_slice(bytes);
        }
    }

    fn ground<'a>(&mut self, reader: &mut Reader<'a>, byte: u8) -> Option<Token<'a>> {
        if byte == 0x1b {
            return self.ground_escape(reader);
        }
        if is_special(byte) {
            reader.at += 1;
            return Some(Token::Control(byte));
        }
        let run = reader.run();
        let error = match std::str::from_utf8(run) {
            Ok(text) => {
                reader.at += run.len();
                return Some(Token::Text(text));
            }
            Err(error) => error,
        };
        let (valid, rest) = run.split_at(error.valid_up_to());
        if !valid.is_empty() {
            reader.at += valid.len();
            return std::str::from_utf8(valid).ok().map(Token::Text);
        }
        if let Some(length) = error.error_len() {
            reader.at += length;
            return Some(Token::Invalid);
        }
        reader.at += rest.len();
        if reader.rest().is_empty() {
            self.enter(State::Utf8);
            self.held.extend_from_slice(rest);
            return None;
        }
        Some(Token::Invalid)
    }

    /// ESC in the open: a sequence that lies whole in this feed is lent, not copied.
    fn ground_escape<'a>(&mut self, reader: &mut Reader<'a>) -> Option<Token<'a>> {
        let rest = reader.rest();
        if rest.get(1) == Some(&b'[') {
            let body = rest.get(2..).unwrap_or_default();
            let end = body.iter().take(CSI_BYTES_MAX).position(|it| !matches!(it, 0x20..=0x3f));
            if let Some(end) = end.filter(|it| matches!(body.get(*it), Some(0x40..=0x7e))) {
                reader.at += end + 3;
                return body.get(..=end).map(|it| Token::Csi(Cow::Borrowed(it)));
            }
        }
        reader.at += 1;
        self.enter(State::Escape);
        None
    }

    fn utf8<'a>(&mut self, reader: &mut Reader<'a>, byte: u8) -> Option<Token<'a>> {
        self.held.push(byte);
        match std::str::from_utf8(&self.held).map(|it| it.chars().next()) {
            Ok(character) => {
                reader.at += 1;
                self.enter(State::Ground);
                character.map(Token::Character)
            }
            Err(error) if error.error_len().is_none() => {
                reader.at += 1;
                None
            }
            // The new byte does not go on with the character: it is looked at afresh.
            Err(_) => {
                self.enter(State::Ground);
                Some(Token::Invalid)
            }
        }
    }

    fn escape<'a>(&mut self, reader: &mut Reader<'a>, byte: u8) -> Option<Token<'a>> {
        if byte >= 0x80 {
            self.enter(State::Ground);
            return None;
        }
        reader.at += 1;
        match byte {
            0x18 | 0x1a => self.enter(State::Ground),
            0x1b => self.enter(State::Escape),
            0x7f => {}
            0x00..=0x1f => return Some(Token::Control(byte)),
            0x20..=0x2f => self.hold(&[byte], 2),
            b'[' if self.held.is_empty() => self.enter(State::Csi),
            b']' if self.held.is_empty() => self.enter(State::Osc),
            b'P' if self.held.is_empty() => self.enter(State::Dcs),
            b'X' | b'^' | b'_' if self.held.is_empty() => self.enter(State::Text),
            _ => {
                let dropped = self.overflow;
                let mut body = std::mem::take(&mut self.held);
                body.push(byte);
                self.enter(State::Ground);
                return (!dropped).then_some(Token::Escape(Cow::Owned(body)));
            }
        }
        None
    }

    fn csi<'a>(&mut self, reader: &mut Reader<'a>, byte: u8) -> Option<Token<'a>> {
        reader.at += 1;
        match byte {
            0x18 | 0x1a => self.enter(State::Ground),
            0x1b => self.enter(State::Escape),
            0x00..=0x1f => return Some(Token::Control(byte)),
            0x20..=0x3f => self.hold(&[byte], CSI_BYTES_MAX),
            0x40..=0x7e => {
                let dropped = self.overflow;
                let mut body = std::mem::take(&mut self.held);
                body.push(byte);
                self.enter(State::Ground);
                return (!dropped).then_some(Token::Csi(Cow::Owned(body)));
            }
            _ => {}
        }
        None
    }

    fn string<'a>(&mut self, reader: &mut Reader<'a>) -> Option<Token<'a>> {
        let rest = reader.rest();
        let cancel = memchr3(0x1b, 0x18, 0x1a, rest);
        let text = rest.get(..cancel.unwrap_or(rest.len())).unwrap_or_default();
        let bell = (self.state == State::Osc).then(|| memchr::memchr(0x07, text)).flatten();
        let end = bell.or(cancel);
        let text = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
        match self.state {
            State::Osc => {
                let clipboard = self.held.iter().chain(text).take(3).eq(b"52;");
                self.hold(text, if clipboard { CLIPBOARD_OSC_BYTES_MAX } else { OSC_BYTES_MAX });
            }
            State::Dcs => self.hold(text, OSC_BYTES_MAX),
            _ => {}
        }
        reader.at += text.len();
        let end = rest.get(end?)?;
        reader.at += 1;
        match (*end, self.state) {
            (0x07, _) => return self.finish(true, State::Ground),
            (0x1b, State::Osc) => self.state = State::OscEnd,
            (0x1b, State::Dcs) => self.state = State::DcsEnd,
            (0x1b, _) => self.enter(State::Escape),
            _ => self.enter(State::Ground),
        }
        None
    }

    /// After the ESC within a string: it ends there, and `\` belongs to the end.
    fn string_end<'a>(&mut self, reader: &mut Reader<'a>, byte: u8) -> Option<Token<'a>> {
        if byte == b'\\' {
            reader.at += 1;
            return self.finish(false, State::Ground);
        }
        self.finish(false, State::Escape)
    }

    fn finish<'a>(&mut self, bell: bool, next: State) -> Option<Token<'a>> {
        let dropped = self.overflow;
        let device = self.state == State::DcsEnd;
        let body = std::mem::take(&mut self.held);
        self.enter(next);
        if dropped {
            return None;
        }
        Some(if device { Token::Dcs(body) } else { Token::Osc { body, bell } })
    }
}
