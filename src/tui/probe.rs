//! Asks the terminal, once and before anything else reads it, what it can do: background colour, kitty keyboard and pictures.
//! Every terminal answers the last question (DA1), which ends the wait early. About pictures only one is asked that has
//! answered: what it does not know might be written to its screen.

use std::{os::fd::AsFd, time::Duration};

use crossterm::event::Event;
use rustix::event::{PollFd, PollFlags};

use super::{ahead, late::Late, pictures::Graphics};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::CELL_POINTS_MAX,
    },
    config::environment::Variable,
};

/// How long a terminal may take. One that never answers DA1 costs this once per start.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);
/// More than all answers together; the rest is no answer.
const ANSWER_BYTES_MAX: usize = 1024;
/// How long one may take that has answered before: it will.
const ANSWER_AGAIN_WITHIN: Duration = Duration::from_secs(2);
/// Kitty flags, background colour, DA1.
const QUESTIONS: &[u8] = b"\x1b[?u\x1b]11;?\x1b\\\x1b[c";
/// A picture of one point that is only to be looked at: kitty's way. Then the line is emptied, for who wrote it there.
const KITTY_PICTURES: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\r\x1b[K";
/// The size of a cell, DA1.
const CELL_SIZE: &[u8] = b"\x1b[16t\x1b[c";
/// In DA1: it shows sixels.
const SIXEL: &[u8] = b"4";

/// What the terminal said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub kitty_keyboard: bool,
    /// `None` when it did not say.
    pub light_background: Option<bool>,
    pub graphics: Graphics,
}

/// What came of asking.
pub struct Asked {
    pub answers: Answers,
    /// Typed before or meanwhile.
    pub ahead: Vec<Event>,
    /// Of what was not answered in time.
    pub late: Late,
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

/// Asks, also about pictures if there will be any; must be called before the guard is entered.
pub fn ask(pictures: bool) -> Outcome<Asked> {
    crossterm::terminal::enable_raw_mode()
        .map_err(|error| Fault::io("switch the terminal to raw mode", &error))?;
    let raw = Raw(());
    let mut heard = exchange(QUESTIONS, ANSWER_WITHIN);
    let mut answered = ends_with_device_attributes(&heard);
    if pictures && answered {
        // Between it and the terminal there may be one that takes such a question for a title.
        let asked = if is_multiplexed() { &b""[..] } else { KITTY_PICTURES };
        let again = exchange(&[asked, CELL_SIZE].concat(), ANSWER_AGAIN_WITHIN);
        answered = ends_with_device_attributes(&again);
        heard.extend(again);
    }
    let late = if answered { Late::default() } else { Late::after(clock::monotonic()) };
    Ok(Asked { late, answers: read(&heard), ahead: ahead::typed(&heard), raw })
}

/// tmux and screen say so by what they call themselves.
fn is_multiplexed() -> bool {
    let term = Variable::Term.text().unwrap_or_default();
    term.starts_with("tmux") || term.starts_with("screen")
}

fn exchange(questions: &[u8], within: Duration) -> Vec<u8> {
    let mut heard = Vec::new();
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    if rustix::io::write(stdout.as_fd(), questions).is_err() {
        return heard;
    }
    let until = clock::monotonic() + within;
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
        graphics: Graphics {
            kitty: heard.windows(KITTY_CAN.len()).any(|it| it == KITTY_CAN),
            sixel: find(heard, b"\x1b[?", b"c")
                .is_some_and(|it| it.split(|it| *it == b';').skip(1).any(|it| it == SIXEL)),
            cell: find(heard, b"\x1b[6;", b"t").and_then(cell),
        },
    }
}

/// The answer to a picture that was only to be looked at.
const KITTY_CAN: &[u8] = b"\x1b_Gi=31;OK";

/// Height and width, in points: what nobody has is not believed.
fn cell(size: &[u8]) -> Option<(u16, u16)> {
    let (height, width) = std::str::from_utf8(size).ok()?.split_once(';')?;
    let one = |it: &str| it.parse::<u16>().ok().filter(|it| (1..=CELL_POINTS_MAX).contains(it));
    one(width).zip(one(height))
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
        let plain = Answers::default();
        let said = Answers { kitty_keyboard: true, light_background: Some(false), ..plain };
        assert_eq!(read(dark), said);
        let light = b"\x1b]11;rgb:ff/ff/e0\x07\x1b[?6c";
        assert_eq!(read(light), Answers { light_background: Some(true), ..plain });
        assert!(ends_with_device_attributes(light) && ends_with_device_attributes(dark));
    }

    #[test]
    fn what_a_terminal_says_of_pictures_is_read_and_nothing_is_made_of_what_it_does_not() {
        let graphics = |heard: &[u8]| read(heard).graphics;
        let all = b"\x1b[?62;4;22cx\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b[?62;4;22c";
        assert_eq!(graphics(all), Graphics { kitty: true, sixel: true, cell: Some((10, 20)) });
        let not = b"\x1b[?4;14;24c\x1b_Gi=31;ENOTSUPPORTED:no\x1b\\\x1b[6;0;9999t";
        assert_eq!(graphics(not), Graphics::default());
    }

    #[test]
    fn a_terminal_that_says_nothing_or_nonsense_is_taken_as_plain() {
        for heard in [&b""[..], b"\x1b[?", b"]11;rgb:zz/1/1", b"]11;rgb:12345/1/1", b"\x1b[A"] {
            assert_eq!(read(heard), Answers::default(), "{heard:?}");
        }
    }
}
