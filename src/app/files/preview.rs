//! What is shown of a file: lines that are safe to show already, made where nobody waits for them.

use std::sync::Arc;

use crate::model::file::FileEntry;

/// What a piece of a text is, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Comment,
    /// Text in quotes.
    Quoted,
    Number,
    /// A word of the language.
    Word,
    /// What has a name of its own: a type, a section, a key.
    Name,
}

/// A coloured piece of a line, in bytes of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub class: Class,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownLine {
    /// No character in it acts on a terminal.
    pub text: String,
    /// In order, none over another.
    pub spans: Vec<Span>,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Text(Vec<ShownLine>),
    /// Rows of offset, bytes and letters.
    Hex(Vec<String>),
    /// Rows of cells, each of an upper and a lower colour.
    Picture(Vec<Vec<([u8; 3], [u8; 3])>>),
}

/// A picture as a terminal takes it that said it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graphic {
    /// Columns and rows that it covers.
    pub cells: (u16, u16),
    /// What is sent with the cursor at its upper left corner.
    pub bytes: Vec<u8>,
    /// What takes it away again; `None` = what is drawn over it does.
    pub wiped_by: Option<&'static [u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub path: Vec<u8>,
    /// As it was when it was read.
    pub entry: FileEntry,
    pub body: Body,
    /// What is before it, and whether there is more behind.
    pub offset: u64,
    pub more: bool,
    /// What a person should know, e.g. its size as a picture.
    pub note: Option<String>,
    /// The room that it was made for.
    pub room: (u16, u16),
    /// A picture, better than in cells.
    pub graphic: Option<Arc<Graphic>>,
}

impl Preview {
    pub fn rows(&self) -> usize {
        match &self.body {
            Body::Text(lines) => lines.len(),
            Body::Hex(rows) => rows.len(),
            Body::Picture(rows) => rows.len(),
        }
    }
}
