//! Output without its escape sequences, as a stream: for matching text in what a program printed.
//! It knows no screen: what was overwritten or erased stays in.

/// Takes escape sequences out of a stream that may be cut anywhere.
#[derive(Debug, Default)]
pub struct Plain {
    state: State,
    /// Start of a character whose rest has not come yet.
    tail: Vec<u8>,
    /// A carriage return is pending: with a new line after it, it is one line end.
    returned: bool,
    /// Something stands on the current line.
    written: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
    /// OSC, DCS, APC, PM or SOS; only the first may end with BEL.
    Text {
        osc: bool,
    },
}

/// Takes escape sequences out of bytes that are whole.
pub fn plain(bytes: &[u8]) -> String {
    let mut stripper = Plain::default();
    let mut out = stripper.feed(bytes);
    out.push_str(&stripper.finish());
    out
}

impl Plain {
    /// Returns the text in `bytes`: lines end in `\n`; a carriage return that goes back over a line
    /// (a progress bar) becomes a line end too, so that each of its states can be matched; cursor
    /// movement is taken out.
    pub fn feed(&mut self, bytes: &[u8]) -> String {
        let mut kept = std::mem::take(&mut self.tail);
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if let State::Ground = self.state {
                let end = rest.iter().position(|it| *it < 0x20 || *it == 0x7f);
                let (text, other) = rest.split_at(end.unwrap_or(rest.len()));
                if text.is_empty() {
                    self.control(byte, &mut kept);
                    rest = after;
                } else {
                    self.settle(&mut kept);
                    self.written = true;
                    kept.extend_from_slice(text);
                    rest = other;
                }
            } else {
                self.sequence(byte);
                rest = after;
            }
        }
        let whole = whole_characters(&kept);
        self.tail = kept.split_off(whole);
        String::from_utf8_lossy(&kept).into_owned()
    }

    /// Returns what was still held back at the end of the stream.
    pub fn finish(&mut self) -> String {
        let mut kept = std::mem::take(&mut self.tail);
        self.settle(&mut kept);
        String::from_utf8_lossy(&kept).into_owned()
    }

    fn settle(&mut self, kept: &mut Vec<u8>) {
        if std::mem::take(&mut self.returned) && std::mem::take(&mut self.written) {
            kept.push(b'\n');
        }
    }

    fn control(&mut self, byte: u8, kept: &mut Vec<u8>) {
        match byte {
            b'\n' | 0x0b | 0x0c => {
                self.returned = false;
                self.written = false;
                kept.push(b'\n');
            }
            b'\r' => self.returned = true,
            b'\t' => {
                self.settle(kept);
                kept.push(b'\t');
            }
            0x1b => self.state = State::Escape,
            _ => {}
        }
    }

    fn sequence(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (_, 0x18 | 0x1a) => State::Ground,
            (_, 0x1b) | (State::Escape, 0x20..=0x2f) => State::Escape,
            (State::Escape, b'[') => State::Csi,
            (State::Escape, b']') => State::Text { osc: true },
            (State::Escape, b'P' | b'X' | b'^' | b'_') => State::Text { osc: false },
            (State::Escape, _) | (State::Csi, 0x40..=0x7e) | (State::Text { osc: true }, 0x07) => {
                State::Ground
            }
            (state, _) => state,
        };
    }
}

/// Length of the part that does not end inside a character.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let Some(&byte) = bytes.get(at) else { break };
        let needs = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if needs > back { at } else { bytes.len() };
    }
    bytes.len()
}
