//! The palette: every action, narrowed by letters in order.

use super::{
    action::{ACTIONS, Action, Scope},
    line::Editor,
};

/// Rows a page moves by.
pub const PAGE: isize = 10;

/// An open palette.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Palette {
    pub line: Editor,
    pub selected: usize,
}

impl Default for Palette {
    fn default() -> Self {
        Self { line: Editor::new("", 128), selected: 0 }
    }
}

impl Palette {
    /// What the line leaves, best first.
    pub fn matches(&self) -> Vec<Action> {
        let wanted = self.line.text().trim().to_lowercase();
        let offered = ACTIONS.iter().filter(|it| {
            !matches!(it.scope, Scope::Line | Scope::Dialog | Scope::Scroll)
                && it.action != Action::Palette
        });
        let mut found: Vec<(u32, Action)> = offered
            .filter_map(|it| {
                let title = score(&it.title.to_lowercase(), &wanted);
                let id = score(it.id, &wanted).map(|it| it + 20);
                let best = match (title, id) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                best.map(|cost| (cost, it.action))
            })
            .collect();
        found.sort_by_key(|(cost, _)| *cost);
        found.into_iter().map(|(_, it)| it).collect()
    }

    pub fn chosen(&self) -> Option<Action> {
        self.matches().get(self.selected).copied()
    }

    pub fn step(&mut self, rows: isize) {
        let last = self.matches().len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }
}

/// How far a text is from having these letters together at its start; `None` = it lacks them.
pub fn score(text: &str, wanted: &str) -> Option<u32> {
    let mut cost = 0;
    let mut rest = text.chars().enumerate();
    let mut last = None;
    for letter in wanted.chars().filter(|it| !it.is_whitespace()) {
        let (at, _) = rest.find(|(_, it)| *it == letter)?;
        let gap = last.map_or(at, |last: usize| at - last - 1);
        cost += u32::try_from(gap).unwrap_or(u32::MAX / 64).min(64) + u32::from(gap > 0);
        last = Some(at);
    }
    Some(cost)
}
