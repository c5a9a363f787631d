//! The box in which a rule is written, or what is allowed in place of what was asked for. What it would do is looked at
//! before it is done: the first `enter` looks, the next one does it.

use super::{
    ask::{Tone, fold, scope_words},
    effect::EffectId,
    gate::Gate,
    line::Editor,
    records::draft_details,
};
use crate::{
    base::{
        id::HubNumber,
        text::{visible, width, wrap},
    },
    model::{
        ask::{Ask, Choice, RiskLevel},
        rule::Proposal,
    },
};

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writing {
    /// The rule that allows an ask and all that are like it.
    Rule { ask: Box<Ask>, choice: Choice },
    /// What is allowed in place of what was asked for.
    Edit { ask: Box<Ask> },
    /// A rule of no ask, for that hub.
    New { hub: HubNumber },
}

/// Rows of what was asked for: it was read whole before the box was opened.
const ASKED_ROWS: usize = 2;

/// How much of the box is on screen at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub cells: usize,
    pub rows: usize,
}

impl Room {
    /// In a console of so many columns and rows.
    pub fn of((columns, rows): (u16, u16)) -> Self {
        let cells = usize::from(columns.saturating_sub(8).min(96)).max(10);
        Self { cells, rows: usize::from(rows.saturating_sub(6)).max(1) }
    }
}

/// A row of the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub text: String,
    pub tone: Tone,
    /// Of the text that is edited.
    pub edited: bool,
}

/// The box.
#[derive(Clone, Debug)]
pub struct WriteBox {
    pub what: Writing,
    pub editor: Editor,
    /// What was looked at, and what it would do; `None` until the hub has answered.
    pub(super) weighed: Option<(String, Proposal)>,
    /// What the hub looks at now, and the text that was sent to it.
    pub(super) asked: Option<(EffectId, String)>,
    pub wrong: Option<String>,
    pub gate: Gate,
    /// The first row that is on screen.
    pub top: usize,
}

impl WriteBox {
    pub(super) fn new(what: Writing, text: &str, bytes_max: usize, mark: u64) -> Self {
        Self {
            what,
            editor: Editor::new(text, bytes_max),
            weighed: None,
            asked: None,
            wrong: None,
            gate: Gate::new(mark, 0),
            top: 0,
        }
    }

    /// All of it in rows.
    pub fn rows(&self, cells: usize) -> Vec<Row> {
        let row = |text, tone| Row { text, tone, edited: false };
        let mut rows: Vec<Row> =
            self.asked(cells).into_iter().map(|it| row(it, Tone::Dim)).collect();
        let edited = cut_in_rows(self.editor.text(), cells).into_iter();
        rows.extend(edited.map(|text| Row { text, tone: Tone::Plain, edited: true }));
        if let Writing::Rule { choice, .. } = &self.what {
            rows.push(row(scope_words(choice.answer.scope).to_owned(), Tone::Dim));
        }
        for (text, tone) in self.says() {
            rows.extend(wrap(&text, cells).into_iter().map(|it| row(it, tone)));
        }
        rows
    }

    fn asked(&self, cells: usize) -> Vec<String> {
        let Some(ask) = self.ask() else { return Vec::new() };
        let request = &ask.asked.request;
        let (kind, name) = (request.kind.word(), visible(&ask.sandbox_name));
        let asked = format!("{kind} of {name}: {}", visible(&request.subject));
        fold(&asked, cells).into_iter().take(ASKED_ROWS).map(|it| it.0).collect()
    }

    /// The row and the cell of the cursor.
    pub fn cursor(&self, cells: usize) -> (usize, usize) {
        let before = cut_in_rows(self.editor.before(), cells);
        let row = self.asked(cells).len() + before.len().saturating_sub(1);
        (row, before.last().map_or(0, |it| width(it)))
    }

    /// Scrolls until the cursor is on screen.
    pub(super) fn show_cursor(&mut self, room: Room) {
        let (row, _) = self.cursor(room.cells);
        self.top = self.top.clamp((row + 1).saturating_sub(room.rows), row);
    }

    pub(super) fn scroll_to(&mut self, top: usize, room: Room) {
        let rows = self.rows(room.cells).len();
        self.top = top.min(rows.saturating_sub(room.rows));
    }

    /// All of it is to be on screen before it counts.
    pub(super) fn look_anew(&mut self, mark: u64, room: Room) {
        self.gate = Gate::new(mark, self.rows(room.cells).len());
        self.scroll_to(self.top, room);
    }

    pub fn ask(&self) -> Option<&Ask> {
        match &self.what {
            Writing::Rule { ask, .. } | Writing::Edit { ask } => Some(ask),
            Writing::New { .. } => None,
        }
    }

    pub fn title(&self) -> &'static str {
        match self.what {
            Writing::Rule { .. } => "Allow by a rule",
            Writing::Edit { .. } => "Allow in other words",
            Writing::New { .. } => "New rule",
        }
    }

    /// What would be done by the text as it is now, if that was looked at.
    pub fn proposal(&self) -> Option<&Proposal> {
        self.weighed.as_ref().filter(|it| it.0 == self.editor.text()).map(|it| &it.1)
    }

    pub fn is_looking(&self) -> bool {
        self.asked.is_some()
    }

    /// What is said of it below the text.
    pub fn says(&self) -> Vec<(String, Tone)> {
        let Some(proposal) = self.proposal() else {
            let text = match (&self.what, self.is_looking()) {
                (_, true) => "the hub looks at it",
                (Writing::New { .. }, false) => {
                    "id = \"…\", verdict = \"allow\", command = [\"make\", \"test\"], why = \"…\" \
                     (or path, host, tool; until, match, not_match)"
                }
                (_, false) => "not looked at yet",
            };
            return vec![(text.to_owned(), Tone::Dim)];
        };
        let mut out = Vec::new();
        for draft in &proposal.drafts {
            // What is to be thought of comes first, and what is the same in other lines last.
            if let Some(why) = &draft.refused {
                out.push((format!("it can't be made: {}", visible(why)), Tone::Error));
            }
            out.extend(draft_details(draft).into_iter().map(|(_, text, tone)| (text, tone)));
            out.push((format!("in {}", visible(&draft.file)), Tone::Dim));
            out.extend(draft.text.lines().map(|it| (format!("  {}", visible(it)), Tone::Subject)));
        }
        if let Some(risk) = &proposal.risk {
            let tone = match risk.level {
                RiskLevel::Low => Tone::Plain,
                RiskLevel::Medium => Tone::Warning,
                RiskLevel::High => Tone::Error,
            };
            let level = risk.level.word().to_uppercase();
            out.push((format!("risk {level}; no rule denies it"), tone));
            out.extend(risk.findings.iter().map(|it| (format!("! {}", visible(it)), tone)));
        }
        out
    }

    /// Whether what was looked at can be done.
    pub fn is_ready(&self) -> bool {
        let refused = |it: &Proposal| it.drafts.iter().any(|it| it.refused.is_some());
        self.proposal().is_some_and(|it| !refused(it))
    }
}

/// A line in rows; what is typed next to a full one begins another.
fn cut_in_rows(text: &str, room: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for it in text.chars() {
        let wide = width(it.encode_utf8(&mut [0; 4]));
        if used + wide > room {
            rows.push(String::new());
            used = 0;
        }
        if let Some(row) = rows.last_mut() {
            row.push(it);
        }
        used += wide;
    }
    if used >= room {
        rows.push(String::new());
    }
    rows
}
