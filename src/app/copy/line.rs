//! One line of scrollback: from the history or from the frozen screen.

use std::borrow::Cow;

use crate::{
    model::history::{HistoryLine, HistoryMark},
    vt::{plain, row, row::StyledCell, screen::Screen},
};

/// One line, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyLine {
    /// `None` for a line of the live screen.
    pub mark: Option<HistoryMark>,
    body: Body,
    pub text: String,
    /// It goes on in the next one.
    pub wrapped: bool,
}

/// How a line looks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    /// Text with its SGR attributes: read when it is drawn, a tenth of the memory.
    Formatted(Vec<u8>),
    Cells(Vec<StyledCell>),
}

impl CopyLine {
    fn new(mark: Option<HistoryMark>, body: Body, wrapped: bool) -> Self {
        let text: String = match &body {
            Body::Formatted(bytes) => plain(bytes),
            Body::Cells(cells) => cells
                .iter()
                .filter(|it| !it.wide_rest)
                .map(|it| if it.text.is_empty() { " " } else { it.text.as_str() })
                .collect(),
        };
        // Blanks at the end of a row that goes on are part of the text.
        let text = if wrapped { text } else { text.trim_end().to_owned() };
        Self { mark, body, text, wrapped }
    }

    pub fn cells(&self) -> Cow<'_, [StyledCell]> {
        match &self.body {
            Body::Formatted(bytes) => Cow::Owned(row::parse(bytes)),
            Body::Cells(cells) => Cow::Borrowed(cells),
        }
    }
}

pub(super) fn history_line(it: HistoryLine) -> CopyLine {
    CopyLine::new(Some(it.mark), Body::Formatted(it.formatted), it.wrapped)
}

pub(super) fn screen_line(screen: &Screen, row: u16) -> CopyLine {
    let cells = (0..screen.size().cols()).filter_map(|col| screen.cell(row, col));
    CopyLine::new(None, Body::Cells(cells.map(Into::into).collect()), screen.row_wrapped(row))
}
