//! What waits for an answer over the whole fleet, what became of what waited, and the place that shows both.

use std::{collections::BTreeSet, time::Duration};

use super::{
    action::{Action, Scope},
    ask::{brief, end_words},
    chord::Chord,
    effect::EffectId,
    fleet::Fleet,
    gate::{Gate, Glimpse, HELD_FOR},
    keymap::{Bound, Step},
    layout::Area,
    line::Editor,
    lost::DEAF_FOR,
    state::{Overlay, State},
    view::{Cursor, Page, View},
    write::Room,
};
use crate::{
    base::{
        clock::Timestamp,
        id::{AskId, SandboxId, SessionId},
        limits::CONSOLE_ASKS_MAX,
    },
    model::ask::{Ask, AskState, Choice},
    vt::key::Mods,
};

/// The word that allows what is risky.
pub const ALLOW_WORD: &str = "allow";
/// What answers.
const ANSWERS: [Action; 9] = [
    Action::AskAllow,
    Action::AskAllowSession,
    Action::AskAllowHour,
    Action::AskAllowAlways,
    Action::AskAllowProject,
    Action::AskEdit,
    Action::AskSnapshot,
    Action::AskDeny,
    Action::AskDenySay,
];
/// With fewer columns the keys of an ask take two rows, and three.
const KEYS_COLUMNS: u16 = 123;
const KEYS_COLUMNS_TWO: u16 = 70;
/// Cells of a subject in a notice.
const NOTICE_CELLS: usize = 60;

/// One that waits, without what only its own picture needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    pub id: AskId,
    pub sandbox: SandboxId,
    pub created_at: Timestamp,
    pub deadline_at: Timestamp,
    digest: String,
    /// In a few words, for when it is over.
    pub says: String,
}

impl Waits {
    fn of(ask: &Ask) -> Self {
        Self {
            id: ask.asked.id.clone(),
            sandbox: ask.sandbox.clone(),
            created_at: ask.asked.created_at,
            deadline_at: ask.asked.deadline_at,
            digest: ask.digest.clone(),
            says: in_words(ask),
        }
    }
}

/// An ask in a few words, for a notice.
pub(super) fn in_words(ask: &Ask) -> String {
    let request = &ask.asked.request;
    let subject = brief(&request.subject, NOTICE_CELLS);
    format!("{} of {}: {subject}", request.kind.word(), ask.sandbox_name)
}

/// What the console knows of all asks.
#[derive(Debug, Default)]
pub struct Asks {
    /// Oldest first.
    pub(super) waiting: Vec<Waits>,
    /// Up to which change of the fleet.
    pub(super) seen: u64,
    /// Newest first.
    pub ended: Vec<Ask>,
    /// Whether the hub was asked for those once, and why it did not answer last.
    pub known: bool,
    pub wrong: Option<String>,
    pub(super) asked: Option<EffectId>,
    /// More has ended since.
    pub(super) again: bool,
    /// The whole list is to be read the next time.
    pub(super) list_wanted: bool,
    /// Over, and what became of them is not told; with how often the hub was asked.
    pub(super) over: Vec<(Waits, u8)>,
    /// Answered here; the first ones are not confirmed.
    pub(super) deciding: BTreeSet<AskId>,
    pub(super) decided: BTreeSet<AskId>,
    /// Counts the gates.
    pub(super) marks: u64,
}

impl Asks {
    /// Those that wait, oldest first.
    pub fn waiting(&self) -> &[Waits] {
        &self.waiting
    }

    pub(super) fn mark(&mut self) -> u64 {
        self.marks += 1;
        self.marks
    }

    /// Takes note of those that wait now: which do not any more, and which are new. Those of the first list are not:
    /// who opens a console sees them.
    pub(super) fn renew(&mut self, fleet: &Fleet) -> (Vec<Waits>, Vec<AskId>) {
        let first = std::mem::replace(&mut self.seen, fleet.asks_changed()) == 0;
        let mut fresh: Vec<Waits> = fleet.asks().map(Waits::of).collect();
        fresh.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let there: BTreeSet<&AskId> = fresh.iter().map(|it| &it.id).collect();
        let mut over = std::mem::take(&mut self.waiting);
        let known: BTreeSet<AskId> = over.iter().map(|it| it.id.clone()).collect();
        let new = fresh.iter().map(|it| &it.id).filter(|it| !first && !known.contains(*it));
        let new = new.cloned().collect();
        over.retain(|it| !there.contains(&it.id));
        self.waiting = fresh;
        (over, new)
    }

    /// The next to be looked at after one that was answered.
    pub(super) fn next_after(&self, at: Timestamp, id: &AskId) -> Option<&Waits> {
        let open = |it: &&Waits| !self.deciding.contains(&it.id) && it.id != *id;
        let later = self.waiting.iter().filter(open).find(|it| (it.created_at, &it.id) > (at, id));
        later.or_else(|| self.waiting.iter().find(open))
    }

    /// Takes in what is known of some that have ended.
    pub(super) fn learn(&mut self, some: Vec<Ask>) {
        let ids: BTreeSet<&AskId> = some.iter().map(|it| &it.asked.id).collect();
        self.ended.retain(|it| !ids.contains(&it.asked.id));
        self.ended.extend(some);
        self.ended.sort_by(|a, b| {
            let key = |it: &Ask| (std::cmp::Reverse(it.asked.created_at), it.asked.id.clone());
            key(a).cmp(&key(b))
        });
        self.ended.truncate(CONSOLE_ASKS_MAX);
    }

    pub(super) fn keep_ended(&mut self, mut ended: Vec<Ask>) {
        ended.truncate(CONSOLE_ASKS_MAX);
        (self.ended, self.known, self.wrong) = (ended, true, None);
    }
}

/// Which list of the place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    #[default]
    Waiting,
    Ended,
}

/// The place.
#[derive(Debug, Default)]
pub struct Inbox {
    pub tab: Listed,
    /// Those that wait; the one under the cursor stays when it waits no more, until the cursor leaves it.
    pub rows: Vec<Waits>,
    pub cursor: Cursor,
    pub ended: Cursor,
    /// The one that is read.
    pub shown: Option<Shown>,
    /// The session that was typed into when the place was opened.
    pub typed_into: Option<SessionId>,
}

/// An ask that is read, and perhaps answered.
#[derive(Debug)]
pub struct Shown {
    /// As it is drawn.
    pub ask: Ask,
    /// It waits no more, as far as is known by now.
    pub over: Option<String>,
    pub page: Page,
    pub gate: Gate,
    pub(super) covered: bool,
    /// Whether keys answer, as it was drawn last.
    pub lit: bool,
}

impl Shown {
    pub(super) fn new(ask: Ask, mark: u64) -> Self {
        let over = (ask.state != AskState::Pending).then(|| end_words(&ask));
        Self {
            ask,
            over,
            page: Page::default(),
            gate: Gate::new(mark, usize::MAX),
            covered: false,
            lit: false,
        }
    }

    /// It is over, and how is not known yet.
    pub(super) fn is_unexplained(&self) -> bool {
        self.over.is_some() && self.ask.state == AskState::Pending
    }
}

/// The box in which a word allows what is risky.
#[derive(Clone, Debug)]
pub struct AllowBox {
    pub ask: Ask,
    pub choice: Choice,
    pub editor: Editor,
    pub wrong: Option<String>,
    pub gate: Gate,
}

impl Inbox {
    /// The row under the cursor.
    pub fn current(&self) -> Option<&Waits> {
        self.rows.get(self.cursor.at())
    }

    /// Takes what waits now; what is under the cursor stays under it, and where it is on screen.
    pub(super) fn list(&mut self, waiting: &[Waits]) {
        let (at, above) = (self.cursor.at(), self.cursor.at().saturating_sub(self.cursor.top()));
        let here = self.current().cloned();
        self.rows = waiting.to_vec();
        let found = here.as_ref().and_then(|it| self.rows.iter().position(|row| row.id == it.id));
        let row = match (found, here) {
            (Some(row), _) => row,
            (None, Some(gone)) => {
                let key = (gone.created_at, gone.id.clone());
                let row = self.rows.partition_point(|it| (it.created_at, it.id.clone()) < key);
                self.rows.insert(row, gone);
                row
            }
            (None, None) => at,
        };
        self.cursor.set_count(self.rows.len());
        self.cursor.show_from(row, above);
    }

    /// What waits no more goes when the cursor has left it.
    pub(super) fn leave_over(&mut self, waiting: &[Waits]) {
        let here = self.current().map(|it| it.id.clone());
        let there: BTreeSet<&AskId> = waiting.iter().map(|it| &it.id).collect();
        let stays = |it: &Waits| there.contains(&it.id) || Some(&it.id) == here.as_ref();
        if self.rows.iter().all(stays) {
            return;
        }
        let above = self.cursor.at().saturating_sub(self.cursor.top());
        self.rows.retain(stays);
        let row = self.rows.iter().position(|it| Some(&it.id) == here.as_ref()).unwrap_or(0);
        self.cursor.set_count(self.rows.len());
        self.cursor.show_from(row, above);
    }

    pub fn check(&self, ended: usize) -> Result<(), String> {
        if !self.cursor.is_sound(self.rows.len()) || !self.ended.is_sound(ended) {
            return Err("a cursor of the asks is unsound".to_owned());
        }
        match &self.shown {
            Some(it) if !it.page.is_sound() => Err("the window of an ask is unsound".to_owned()),
            _ => Ok(()),
        }
    }
}

/// The rows of an ask, and those with its keys below them.
pub fn with_foot(area: Area) -> (Area, Area) {
    let keys = match area.width {
        KEYS_COLUMNS.. => 2,
        KEYS_COLUMNS_TWO.. => 3,
        _ => 4,
    };
    area.split_top(area.height.saturating_sub(keys))
}

impl State {
    /// The place of asks, if it is open.
    pub fn inbox(&self) -> Option<&Inbox> {
        match self.view() {
            Some(View::Asks(it)) => Some(it),
            _ => None,
        }
    }

    /// The ask that is read, if the place is open on one.
    pub fn shown_ask(&self) -> Option<&Shown> {
        self.inbox()?.shown.as_ref()
    }

    /// One that waits, whole.
    pub fn ask(&self, it: &Waits) -> Option<&Ask> {
        let row = self.fleet.get(&it.sandbox)?;
        row.sandbox.asks.iter().find(|ask| ask.asked.id == it.id)
    }

    /// Whether something lies over an ask that is read, or takes its keys.
    pub(super) fn ask_is_covered(&self) -> bool {
        self.overlay.is_some()
            || self.line.is_some()
            || !self.typed.is_empty()
            || self.lost.is_some()
            || self.frame.too_small
    }

    /// What the next frame shows of what is to be seen before it can be answered. Who drew it says so by
    /// `Msg::Drawn`.
    pub fn glimpse(&self) -> Option<Glimpse> {
        if let Some(Overlay::Allow(it)) = &self.overlay {
            return it.gate.wanted(0, 0).filter(|_| !self.frame.too_small);
        }
        if let Some(Overlay::Write(it)) = &self.overlay {
            let looked_at = it.proposal().is_some() && !self.frame.too_small;
            let rows = Room::of(self.size).rows;
            return it.gate.wanted(it.top, rows).filter(|_| looked_at);
        }
        let it = self.shown_ask().filter(|it| it.over.is_none() && !self.ask_is_covered())?;
        it.gate.wanted(it.page.top, it.page.height)
    }

    /// When the last key is so long ago that the next one is meant for what is on screen.
    pub(super) fn keys_quiet_at(&self) -> Duration {
        let last = self.pressed_last.map(|key| Chord { key, mods: Mods::default() });
        let answers = last.is_some_and(|it| match self.keymap.step(Scope::Ask, &[it]) {
            Step::Run(Bound::Action(action)) => ANSWERS.contains(action),
            _ => false,
        });
        self.key_at + if answers { HELD_FOR } else { DEAF_FOR }
    }

    /// When keys begin to answer.
    pub(super) fn ask_hears_at(&self) -> Option<Duration> {
        let it = self.shown_ask().filter(|it| !it.lit && it.over.is_none())?;
        it.gate.opens_at(self.keys_quiet_at()).filter(|_| !self.ask_is_covered())
    }

    /// Times of asks on screen: when they were asked, and until when they wait.
    pub(super) fn ask_signs(&self) -> Vec<(Timestamp, Timestamp)> {
        let of = |it: &Waits| (it.created_at, it.deadline_at);
        match self.inbox() {
            None => self.asks.waiting.first().map(of).into_iter().collect(),
            Some(Inbox { shown: Some(it), .. }) => {
                let asked = &it.ask.asked;
                vec![(asked.created_at, asked.deadline_at)]
            }
            Some(it) => {
                let rows = self.frame.view.map_or(0, |it| usize::from(it.list.1.height));
                it.rows.iter().skip(it.cursor.top()).take(rows).map(of).collect()
            }
        }
    }
}
