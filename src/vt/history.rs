//! Lines that scrolled off the main screen, rendered from a keyframe and the output after it.

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
