//! Lines that scrolled off the main screen, rendered from a keyframe and the output after it.

use super::screen::Screen;
use crate::base::units::Size;

/// One line that scrolled off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Text with SGR attributes and nothing else; starts from default attributes.
    pub formatted: Vec<u8>,
    /// The line goes on in the next one (it was wrapped).
    pub wrapped: bool,
}

impl Line {
    /// The line without attributes and trailing blanks.
    pub fn text(&self) -> String {
        super::plain(&self.formatted).trim_end().to_owned()
    }
}

/// Renders one segment of a journal: feed it what follows the keyframe, in order, then take the
/// lines. At most `limits::SEGMENT_LINES_MAX` of them.
pub struct Scrollback {
    screen: Screen,
}

impl Scrollback {
    pub fn from_keyframe(size: Size, state: &[u8]) -> Self {
        let mut screen = Screen::from_keyframe(size, state);
        screen.keep_lines();
        Self { screen }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.screen.feed(bytes);
    }

    pub fn resize(&mut self, size: Size) {
        self.screen.resize(size);
    }

    /// What scrolled off since the keyframe, oldest first.
    pub fn lines(&self) -> &[Line] {
        self.screen.kept_lines()
    }

    /// The screen as it is after all that was fed.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }
}
