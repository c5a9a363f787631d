//! The palette: every action, narrowed by letters in order. It opens with what is most useful for
//! what is selected, then what was run from it lately.

use super::{
    action::{ACTIONS, Action, Scope},
    line::Editor,
    state::{Place, State},
    view::View,
};
use crate::model::sandbox;

/// Actions remembered for the next time.
pub const RECENT_MAX: usize = 5;

/// Rows a page moves by.
pub const PAGE: isize = 10;

/// An open palette.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Palette {
    pub line: Editor,
    pub selected: usize,
    // Invariant: every action offered, once.
    order: Vec<Action>,
}

impl Palette {
    pub fn new(state: &State) -> Self {
        let mut order: Vec<Action> = Vec::with_capacity(ACTIONS.len());
        let all = ACTIONS.iter().map(|it| it.action).filter(|it| *it != Action::Quit);
        let first = std::iter::once(most_useful(state));
        let here = state.scopes();
        for action in first.chain(state.recent.iter().copied()).chain(all).chain([Action::Quit]) {
            let scope = action.spec().scope;
            let offered = match scope {
                // An ask is answered by a key, with nothing over it.
                Scope::Line | Scope::Dialog | Scope::Scroll | Scope::Ask => false,
                // These do something only where they are.
                Scope::Snapshots | Scope::Diff | Scope::Asks | Scope::View => here.contains(&scope),
                _ => true,
            };
            if offered && action != Action::Palette && !order.contains(&action) {
                order.push(action);
            }
        }
        Self { line: Editor::new("", 128), selected: 0, order }
    }

    /// What the line leaves, best first.
    pub fn matches(&self) -> Vec<Action> {
        let wanted = self.line.text().trim().to_lowercase();
        let offered = self.order.iter().map(|it| it.spec());
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

/// What is done first with what is selected.
fn most_useful(state: &State) -> Action {
    if state.grip.is_some() {
        return Action::Leave;
    }
    match state.view() {
        Some(View::Snapshots(_)) => return Action::DiffBefore,
        Some(View::Diff(it)) if it.is_appliable() => return Action::Apply,
        Some(View::Diff(_)) => return Action::DiffEnter,
        Some(View::Asks(_)) => return Action::AsksShow,
        Some(View::Records(_)) => return Action::RecordOpen,
        Some(View::Gauges(_)) => return Action::GaugesWhole,
        Some(View::Files(_)) => return Action::FileOpen,
        Some(View::Timeline(_)) => return Action::TimelinePlay,
        None => {}
    }
    let row = match state.place {
        Place::Fleet => state.fleet.current(),
        Place::Panes => {
            state.focused_session().and_then(|it| state.fleet.session(it)).map(|(row, _)| row)
        }
    };
    let Some(row) = row else { return Action::New };
    let session = state.aim().and_then(|it| state.fleet.session(it));
    match row.sandbox.state {
        sandbox::State::Paused => Action::Pause,
        _ if session.is_some_and(|(_, it)| it.exit.is_none()) => Action::StepIn,
        _ if session.is_some() => Action::Scrollback,
        _ => Action::Info,
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
