//! Asks the terminal, once and before anything else reads it, what it can do: background colour and
//! kitty keyboard. Every terminal answers the last question (DA1), which ends the wait early.

use std::{os::fd::AsFd, time::Duration};

use crossterm::event::Event;
use rustix::event::{PollFd, PollFlags};

use super::ahead;
use crate::base::{
    clock,
    fault::{Fault, Outcome},
};

/// How long a terminal may take. One that never answers DA1 costs this once per start.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);
/// More than all answers together; the rest is no answer.
const ANSWER_BYTES_MAX: usize = 1024;
/// Kitty flags, background colour, DA1.
const QUESTIONS: &[u8] = b"\x1b[?u\x1b]11;?\x1b\\\x1b[c";

/// What the terminal said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub kitty_keyboard: bool,
    /// `None` when it did not say.
    pub light_background: Option<bool>,
}

/// What came of asking.
pub struct Asked {
    pub answers: Answers,
    /// Typed before or meanwhile.
    pub ahead: Vec<Event>,
    /// Keeps what is typed until the guard is entered as it is: no echo, no line edited, no signal.
    pub raw: Raw,
}

/// A terminal in raw mode, until this is dropped or the guard has it.
pub struct Raw(());

impl Raw {
    /// The guard gives the terminal back from now on.
    pub fn hand_over(self) {
        std::mem::forget(self);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone can't be restored, and there is nobody to tell.
        drop(crossterm::terminal::disable_raw_mode());
    }
}

/// Asks; must be called before the guard is entered.
pub fn ask() -> Outcome<Asked> {
    crossterm::terminal::enable_raw_mode()
        .map_err(|error| Fault::io("switch the terminal to raw mode", &error))?;
    let raw = Raw(());
    let heard = exchange();
    Ok(Asked { answers: read(&heard), ahead: ahead::typed(&heard), raw })
}

fn exchange() -> Vec<u8> {
    let mut heard = Vec::new();
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    if rustix::io::write(stdout.as_fd(), QUESTIONS).is_err() {
        return heard;
    }
    let until = clock::monotonic() + ANSWER_WITHIN;
    while heard.len() < ANSWER_BYTES_MAX && !ends_with_device_attributes(&heard) {
        let left = until.saturating_sub(clock::monotonic());
        let Ok(left) = rustix::event::Timespec::try_from(left) else { break };
        let mut wait = [PollFd::new(&stdin, PollFlags::IN)];
        match rustix::event::poll(&mut wait, Some(&left)) {
            Ok(1..) => {}
            _ => break,
        }
        let mut piece = [0; 256];
        match rustix::io::read(stdin.as_fd(), &mut piece) {
            Ok(count) if count > 0 => heard.extend(piece.iter().take(count)),
            _ => break,
        }
    }
    heard
}

/// `ESC [ ? ... c` has come.
fn ends_with_device_attributes(heard: &[u8]) -> bool {
    find(heard, b"\x1b[?", b"c").is_some()
}

fn read(heard: &[u8]) -> Answers {
    Answers {
        kitty_keyboard: find(heard, b"\x1b[?", b"u").is_some(),
        light_background: background(heard),
    }
}

/// The parameters of the first `start ... end` whose middle is digits and semicolons.
fn find<'a>(heard: &'a [u8], start: &[u8], end: &[u8]) -> Option<&'a [u8]> {
    (0..heard.len()).find_map(|at| {
        let rest = heard.get(at..)?.strip_prefix(start)?;
        let length = rest.iter().position(|it| !it.is_ascii_digit() && *it != b';')?;
        rest.get(length..)?.starts_with(end).then(|| rest.get(..length))?
    })
}

/// `ESC ] 11 ; rgb:RRRR/GGGG/BBBB`: light when its luminance is above the middle.
fn background(heard: &[u8]) -> Option<bool> {
    let text = String::from_utf8_lossy(heard);
    let (_, colour) = text.split_once("]11;rgb:")?;
    let mut parts = colour.split(['/', '\x1b', '\x07']).take(3).map(|part| {
        let digits = u32::try_from(part.len()).ok().filter(|it| (1..=4).contains(it))?;
        let value = u32::from_str_radix(part, 16).ok()?;
        Some(f64::from(value) / f64::from(16_u32.pow(digits) - 1))
    });
    let (red, green, blue) = (parts.next()??, parts.next()??, parts.next()??);
    Some(0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_any_order_and_amid_typed_keys() {
        let dark = b"x\x1b[?1u\x1b]11;rgb:1a1a/1b1b/2626\x1b\\y\x1b[?62;22c";
        assert_eq!(read(dark), Answers { kitty_keyboard: true, light_background: Some(false) });
        let light = b"\x1b]11;rgb:ff/ff/e0\x07\x1b[?6c";
        assert_eq!(read(light), Answers { kitty_keyboard: false, light_background: Some(true) });
        assert!(ends_with_device_attributes(light) && ends_with_device_attributes(dark));
    }

    #[test]
    fn a_terminal_that_says_nothing_or_nonsense_is_taken_as_plain() {
        for heard in [&b""[..], b"\x1b[?", b"]11;rgb:zz/1/1", b"]11;rgb:12345/1/1", b"\x1b[A"] {
            assert_eq!(read(heard), Answers::default(), "{heard:?}");
        }
    }
}
