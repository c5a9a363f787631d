//! One line of text being edited. The text is made safe to show as it comes in.

use unicode_segmentation::UnicodeSegmentation;

use super::action::Action;
use crate::base::text::is_deceptive;

/// A line with a cursor, bounded in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Editor {
    text: String,
    /// Byte offset; always between two clusters.
    cursor: usize,
    bytes_max: usize,
}

impl Editor {
    pub fn new(text: &str, bytes_max: usize) -> Self {
        let mut editor = Self { text: String::new(), cursor: 0, bytes_max };
        editor.insert(text);
        editor
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn before(&self) -> &str {
        self.text.get(..self.cursor).unwrap_or(&self.text)
    }

    fn after(&self) -> &str {
        self.text.get(self.cursor..).unwrap_or("")
    }

    /// Replaces all of it; the cursor goes to the end.
    pub fn set(&mut self, text: &str) {
        self.text.clear();
        self.cursor = 0;
        self.insert(text);
    }

    /// Puts text in at the cursor; what can't be shown as it is, or is too much, stays out.
    pub fn insert(&mut self, text: &str) {
        for it in text.chars().filter(|it| !is_deceptive(*it)) {
            if self.text.len() + it.len_utf8() > self.bytes_max {
                break;
            }
            self.text.insert(self.cursor, it);
            self.cursor += it.len_utf8();
        }
    }

    /// Does an editing action; says whether it was one.
    pub fn act(&mut self, action: Action) -> bool {
        let back = self.before().graphemes(true).next_back().map_or(0, str::len);
        let forth = self.after().graphemes(true).next().map_or(0, str::len);
        match action {
            Action::LineLeft => self.cursor -= back,
            Action::LineRight => self.cursor += forth,
            Action::LineStart => self.cursor = 0,
            Action::LineEnd => self.cursor = self.text.len(),
            Action::LineErase => self.cut(back, 0),
            Action::LineDelete => self.cut(0, forth),
            Action::LineEraseAll => self.cut(self.cursor, 0),
            Action::LineEraseWord => {
                let before = self.before();
                let kept = before.trim_end().rfind(char::is_whitespace).map_or(0, |it| it + 1);
                self.cut(before.len().saturating_sub(kept), 0);
            }
            _ => return false,
        }
        true
    }

    fn cut(&mut self, before: usize, after: usize) {
        let from = self.cursor.saturating_sub(before);
        self.text.drain(from..(self.cursor + after).min(self.text.len()));
        self.cursor = from;
    }

    /// Whether the cursor stands where it may.
    pub fn is_sound(&self) -> bool {
        self.text.len() <= self.bytes_max && self.text.is_char_boundary(self.cursor)
    }
}
