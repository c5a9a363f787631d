//! The fleet: every sandbox in an order that never changes under the cursor, a filter, marks.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    filter::Query,
    groups::{Heads, Named},
};
pub use super::{
    groups::Line,
    row::{Mark, Row},
    tally::Tally,
};
use crate::{
    base::{
        id::{ClientId, HubNumber, SandboxId, SessionId},
        limits::SANDBOXES_MAX,
    },
    model::{
        ask::Ask,
        sandbox::{Sandbox, State},
        session::Session,
    },
};

/// What a hub is called; nothing where there is only one.
fn name_in(hubs: &Named, hub: HubNumber) -> Option<Arc<str>> {
    let at = hubs.binary_search_by_key(&hub, |it| it.0).ok()?;
    hubs.get(at).map(|it| it.1.clone())
}

/// What a row keeps when its sandbox is told anew.
fn kept_of(row: Option<&Row>) -> (bool, Option<SessionId>) {
    row.map_or((false, None), |it| (it.marked, it.called().cloned()))
}

/// The list. A row keeps its slot for as long as it lives, so rows never change order.
#[derive(Debug, Default)]
pub struct Fleet {
    slots: Vec<Option<Row>>,
    index: HashMap<SandboxId, usize>,
    sessions: HashMap<SessionId, usize>,
    // Invariant: slots that pass the filter, and `stays`, with their hubs, ascending.
    shown: Vec<(HubNumber, usize)>,
    /// Where there is more than one hub: which they are.
    hubs: Named,
    /// The row under the cursor when it no longer passes the filter: it goes when the cursor does.
    stays: Option<usize>,
    text: String,
    query: Query,
    /// Position in `shown`.
    cursor: usize,
    /// First line on screen. A line is a row, or the heading of a hub.
    top: usize,
    height: usize,
    tally: Tally,
    /// Slots of those that ask, and how often what they ask may have changed.
    asking: BTreeSet<usize>,
    asks_changed: u64,
    /// Whether a first snapshot has come: an empty list is news, an unknown one is not.
    pub known: bool,
}

impl Fleet {
    /// Takes a whole new list; what stays keeps its place and its mark.
    pub fn snapshot(&mut self, mut sandboxes: Vec<Arc<Sandbox>>) {
        sandboxes.truncate(SANDBOXES_MAX);
        self.known = true;
        let at = self.here();
        let old = std::mem::take(&mut self.slots);
        let old_index = std::mem::take(&mut self.index);
        (self.tally, self.sessions) = <_>::default();
        self.asking.clear();
        self.asks_changed += 1;
        // What stays comes first and in the order it had, then what is new by age. Numbers are sorted, for
        // moving ten thousand sandboxes about costs a frame.
        let mut order: Vec<_> = sandboxes
            .iter()
            .enumerate()
            .map(|(number, it)| {
                let place = old_index.get(&it.id).copied().unwrap_or(usize::MAX);
                (place, it.created_at, &it.id, number)
            })
            .collect();
        order.sort_unstable();
        let order: Vec<usize> = order.into_iter().map(|it| it.3).collect();
        let mut sandboxes: Vec<_> = sandboxes.into_iter().map(Some).collect();
        self.slots.reserve(sandboxes.len());
        self.index.reserve(sandboxes.len());
        self.sessions.reserve(sandboxes.len());
        for number in order {
            let Some(sandbox) = sandboxes.get_mut(number).and_then(Option::take) else { continue };
            // A list that names one twice is the hub's fault; the first counts.
            if !self.index.contains_key(&sandbox.id) {
                let slot = old_index.get(&sandbox.id).and_then(|it| old.get(*it));
                let old = slot.and_then(Option::as_ref);
                let (marked, called) = kept_of(old);
                self.put(Row::new(sandbox, marked, called), None);
            }
        }
        self.refilter();
        self.keep_under_cursor(at.1.as_ref());
        self.return_to(at);
    }

    /// Takes a new list of one hub; what is known of the others stays.
    pub fn part(&mut self, hub: HubNumber, sandboxes: Vec<Arc<Sandbox>>) {
        let others = self.slots.iter().flatten().map(|it| it.sandbox.clone());
        let own = sandboxes.into_iter().filter(|it| it.id.hub() == hub);
        self.snapshot(others.filter(|it| it.id.hub() != hub).chain(own).collect());
    }

    /// Which hubs there are, in the order of their numbers; none where there is one.
    pub(super) fn set_hubs(&mut self, hubs: Named) {
        if hubs == self.hubs {
            return;
        }
        let at = self.here();
        self.hubs = hubs;
        for row in self.slots.iter_mut().flatten() {
            row.set_context(name_in(&self.hubs, row.sandbox.id.hub()));
        }
        self.refilter();
        self.keep_under_cursor(at.1.as_ref());
        self.return_to(at);
    }

    /// Takes one new or changed sandbox.
    pub fn change(&mut self, sandbox: Arc<Sandbox>) {
        let at = self.here();
        let slot = self.index.get(&sandbox.id).copied();
        let new = slot.is_none();
        if new && self.index.len() >= SANDBOXES_MAX {
            return;
        }
        let (marked, called) = kept_of(slot.and_then(|it| self.row(it)));
        let slot = self.put(Row::new(sandbox, marked, called), slot);
        let passes = self.row(slot).is_some_and(|it| self.query.passes(it));
        let key = self.key(slot);
        match (self.shown.binary_search(&key), passes) {
            (Err(place), true) => self.shown.insert(place, key),
            (Ok(_), false) if at.0 == Some(slot) => self.stays = Some(slot),
            (Ok(place), false) => {
                self.shown.remove(place);
            }
            (Ok(_), true) if self.stays == Some(slot) => self.stays = None,
            _ => {}
        }
        self.return_to(at);
    }

    /// A session called, or somebody has looked at the one that did.
    pub fn set_called(&mut self, id: &SandboxId, session: Option<SessionId>) {
        let slot = self.index.get(id).copied();
        let row = slot.and_then(|it| self.slots.get_mut(it)).and_then(Option::as_mut);
        let Some(row) = row.filter(|it| it.called() != session.as_ref()) else { return };
        row.set_called(session);
        let sandbox = row.sandbox.clone();
        self.change(sandbox);
    }

    pub fn remove(&mut self, id: &SandboxId) {
        let Some(slot) = self.index.remove(id) else { return };
        let at = self.here();
        if let Some(row) = self.slots.get_mut(slot).and_then(Option::take) {
            self.tally.add(&row, -1);
            self.asks_changed += u64::from(self.asking.remove(&slot));
            for session in &row.sandbox.sessions {
                self.sessions.remove(&session.id);
            }
        }
        if let Ok(place) = self.shown.binary_search(&(id.hub(), slot)) {
            self.shown.remove(place);
        }
        self.stays.take_if(|it| *it == slot);
        if self.slots.len() > 64 && self.index.len() * 2 < self.slots.len() {
            self.compact();
            self.keep_under_cursor(at.1.as_ref());
        }
        self.return_to(at);
    }

    fn compact(&mut self) {
        let old = std::mem::take(&mut self.slots);
        (self.tally, self.index, self.sessions) = <_>::default();
        self.asking.clear();
        for row in old.into_iter().flatten() {
            self.put(row, None);
        }
        self.refilter();
    }

    fn put(&mut self, mut row: Row, slot: Option<usize>) -> usize {
        row.set_context(name_in(&self.hubs, row.sandbox.id.hub()));
        let slot = slot.unwrap_or(self.slots.len());
        if slot >= self.slots.len() {
            self.slots.push(None);
        }
        if let Some(old) = self.slots.get(slot).and_then(Option::as_ref) {
            for session in &old.sandbox.sessions {
                self.sessions.remove(&session.id);
            }
        }
        self.tally.add(&row, 1);
        let asked = match row.sandbox.asks.is_empty() {
            true => self.asking.remove(&slot),
            false => {
                self.asking.insert(slot);
                true
            }
        };
        self.asks_changed += u64::from(asked);
        self.index.insert(row.sandbox.id.clone(), slot);
        for session in &row.sandbox.sessions {
            self.sessions.insert(session.id.clone(), slot);
        }
        if let Some(old) = self.slots.get_mut(slot).and_then(|it| it.replace(row)) {
            self.tally.add(&old, -1);
        }
        slot
    }

    fn row(&self, slot: usize) -> Option<&Row> {
        self.slots.get(slot).and_then(Option::as_ref)
    }

    /// What it is found by among those that are shown.
    fn key(&self, slot: usize) -> (HubNumber, usize) {
        (self.row(slot).map_or(HubNumber::FIRST, |it| it.sandbox.id.hub()), slot)
    }

    fn heads(&self) -> Heads {
        Heads::of(&self.hubs, &self.shown, self.query.is_empty())
    }

    /// Slot under the cursor and its distance from the top of the screen.
    fn here(&self) -> (Option<usize>, Option<SandboxId>, usize) {
        let slot = self.shown.get(self.cursor).map(|it| it.1);
        let id = slot.and_then(|it| self.row(it)).map(|it| it.sandbox.id.clone());
        (slot, id, self.heads().line_of(self.cursor).saturating_sub(self.top))
    }

    /// Puts the cursor back on the same row at the same height, whatever changed around it.
    fn return_to(&mut self, (slot, id, above): (Option<usize>, Option<SandboxId>, usize)) {
        let slot = id.and_then(|id| self.index.get(&id).copied()).or(slot);
        if let Some(slot) = slot {
            let key = self.key(slot);
            self.cursor = self.shown.binary_search(&key).unwrap_or_else(|next| next);
        }
        self.cursor = self.cursor.min(self.shown.len().saturating_sub(1));
        self.top = self.heads().line_of(self.cursor).saturating_sub(above);
        self.settle();
    }

    /// What is under the cursor stays in sight, whether it passes the filter or not.
    fn keep_under_cursor(&mut self, id: Option<&SandboxId>) {
        let Some(slot) = id.and_then(|it| self.index.get(it)).copied() else { return };
        let key = self.key(slot);
        if let Err(place) = self.shown.binary_search(&key) {
            self.shown.insert(place, key);
            self.stays = Some(slot);
        }
    }

    /// The cursor has moved: what it left goes, if it does not pass the filter.
    fn let_stayed_go(&mut self) {
        let here = self.shown.get(self.cursor).map(|it| it.1);
        let Some(gone) = self.stays.take_if(|it| here != Some(*it)) else { return };
        if let Ok(place) = self.shown.binary_search(&self.key(gone)) {
            self.shown.remove(place);
            self.cursor -= usize::from(place < self.cursor);
        }
    }

    fn refilter(&mut self) {
        let query = &self.query;
        self.stays = None;
        self.shown.clear();
        let rows = self.slots.iter().enumerate();
        let rows = rows.filter_map(|(slot, row)| Some((slot, row.as_ref()?)));
        let passing = rows.filter(|(_, row)| query.passes(row));
        self.shown.extend(passing.map(|(slot, row)| (row.sandbox.id.hub(), slot)));
        // Of one hub they are in order already.
        self.shown.sort_unstable();
    }

    /// Narrows the list; an empty text shows all.
    pub fn filter(&mut self, text: &str) {
        let text = crate::base::text::clip(text, super::filter::FILTER_BYTES_MAX);
        let query = Query::parse(&text);
        self.text = text;
        if query != self.query {
            let at = self.here();
            self.query = query;
            self.refilter();
            self.return_to(at);
        }
    }

    pub fn filter_text(&self) -> &str {
        &self.text
    }

    /// Rows that fit on screen; told by the layout before each drawing.
    pub fn set_height(&mut self, height: usize) {
        self.height = height;
        self.settle();
    }

    fn settle(&mut self) {
        let (height, heads) = (self.height.max(1), self.heads());
        // The headings above a row are in sight with it, where there is room.
        let line = heads.line_of(self.cursor);
        let first = heads.top_of(self.cursor).max((line + 1).saturating_sub(height));
        self.top = self.top.min(first);
        if line >= self.top + height {
            self.top = line + 1 - height;
        }
        self.top = self.top.min((self.shown.len() + heads.count()).saturating_sub(height));
    }

    /// Moves the cursor by rows.
    pub fn move_by(&mut self, rows: isize) {
        let last = self.shown.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(rows).min(last);
        self.let_stayed_go();
        self.settle();
    }

    pub fn half_page(&self) -> isize {
        isize::try_from((self.height / 2).max(1)).unwrap_or(1)
    }

    /// Puts the cursor on a position of the list as shown.
    pub fn move_to(&mut self, position: usize) {
        self.cursor = position.min(self.shown.len().saturating_sub(1));
        self.let_stayed_go();
        self.settle();
    }

    /// Puts the cursor on a sandbox, if the filter shows it.
    pub fn select(&mut self, id: &SandboxId) -> bool {
        let key = self.index.get(id).map(|slot| (id.hub(), *slot));
        let place = key.and_then(|it| self.shown.binary_search(&it).ok());
        if let Some(place) = place {
            self.move_to(place);
        }
        place.is_some()
    }

    /// Goes to the next row that needs someone, around the end; says whether there is one.
    pub fn next_attention(&mut self) -> bool {
        let count = self.shown.len();
        let next = (1..=count).map(|step| (self.cursor + step) % count.max(1)).find(|place| {
            let slot = self.shown.get(*place).map(|it| it.1);
            slot.and_then(|it| self.row(it)).is_some_and(|it| it.mark().needs_someone())
        });
        if let Some(place) = next {
            self.move_to(place);
        }
        next.is_some()
    }

    /// The row under the cursor.
    pub fn current(&self) -> Option<&Row> {
        self.shown.get(self.cursor).and_then(|it| self.row(it.1))
    }

    pub fn cursor(&self) -> usize {
        self.cursor
    }

    pub fn top(&self) -> usize {
        self.top
    }

    /// Rows that the filter shows, and all there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.shown.len(), self.index.len())
    }

    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// All that wait for an answer.
    pub fn asks(&self) -> impl Iterator<Item = &Ask> {
        self.asking.iter().filter_map(|it| self.row(*it)).flat_map(|it| &it.sandbox.asks)
    }

    /// Another number whenever these may be others.
    pub(super) fn asks_changed(&self) -> u64 {
        self.asks_changed
    }

    /// The lines of a window of the list as shown.
    pub fn lines(&self, from: usize, count: usize) -> impl Iterator<Item = Line<'_>> {
        let heads = self.heads();
        let all = self.shown.len() + heads.count();
        (from..all.min(from.saturating_add(count))).filter_map(move |line| match heads.at(line) {
            Ok(hub) => Some(Line::Heading(hub)),
            Err(place) => {
                self.shown.get(place).and_then(|it| self.row(it.1)).map(|it| Line::Row(place, it))
            }
        })
    }

    /// The rows in such a window, with their positions.
    pub fn window(&self, from: usize, count: usize) -> impl Iterator<Item = (usize, &Row)> {
        self.lines(from, count).filter_map(|it| match it {
            Line::Row(place, row) => Some((place, row)),
            Line::Heading(_) => None,
        })
    }

    /// The position of the row on a line of the screen; `None` where no row is.
    pub fn position_at(&self, line: usize) -> Option<usize> {
        let place = self.heads().at(self.top + line).err()?;
        (place < self.shown.len()).then_some(place)
    }

    /// All rows that the filter shows, from the cursor on and around.
    pub fn from_cursor(&self) -> impl Iterator<Item = &Row> {
        let (before, after) = self.shown.split_at(self.cursor.min(self.shown.len()));
        after.iter().chain(before).filter_map(|it| self.row(it.1))
    }

    pub fn get(&self, id: &SandboxId) -> Option<&Row> {
        self.index.get(id).and_then(|slot| self.row(*slot))
    }

    /// A sandbox by the name typed by a person.
    pub fn named(&self, name: &str) -> Option<&Row> {
        self.slots.iter().flatten().find(|it| it.sandbox.name == name)
    }

    pub fn names(&self, most: usize) -> Vec<String> {
        self.slots.iter().flatten().take(most).map(|it| it.sandbox.name.clone()).collect()
    }

    /// A session with its row.
    pub fn session(&self, id: &SessionId) -> Option<(&Row, &Session)> {
        let row = self.sessions.get(id).and_then(|slot| self.row(*slot))?;
        let session = row.sandbox.sessions.iter().find(|it| it.id == *id)?;
        Some((row, session))
    }

    /// How many sandboxes there are with something in them that can go on.
    pub fn running(&self) -> usize {
        let alive = |it: &&Row| {
            matches!(it.sandbox.state, State::Creating | State::Running | State::Paused)
        };
        self.slots.iter().flatten().filter(alive).count()
    }

    /// Sessions whose keyboard a client holds.
    pub fn held_by(&self, client: &ClientId) -> Vec<SessionId> {
        let sessions = self.slots.iter().flatten().flat_map(|it| &it.sandbox.sessions);
        let held = sessions.filter(|it| it.lease.as_ref().is_some_and(|it| it.holder == *client));
        held.map(|it| it.id.clone()).collect()
    }

    pub fn toggle_mark(&mut self) {
        let slot = self.shown.get(self.cursor).map(|it| it.1);
        if let Some(row) = slot.and_then(|it| self.slots.get_mut(it)).and_then(Option::as_mut) {
            row.marked = !row.marked;
        }
    }

    pub fn mark_shown(&mut self) {
        for (_, slot) in &self.shown {
            if let Some(row) = self.slots.get_mut(*slot).and_then(Option::as_mut) {
                row.marked = true;
            }
        }
    }

    pub fn unmark_all(&mut self) {
        self.slots.iter_mut().flatten().for_each(|it| it.marked = false);
    }

    /// Marked rows, shown or not.
    pub fn marked(&self) -> Vec<SandboxId> {
        let marked = self.slots.iter().flatten().filter(|it| it.marked);
        marked.map(|it| it.sandbox.id.clone()).collect()
    }

    /// How many of them the filter hides.
    pub fn hidden_of(&self, wanted: &[SandboxId]) -> usize {
        let hidden = |id: &&SandboxId| {
            let key = self.index.get(*id).map(|slot| (id.hub(), *slot));
            key.is_none_or(|it| self.shown.binary_search(&it).is_err())
        };
        wanted.iter().filter(hidden).count()
    }

    /// What a verb acts on: all marked rows, else the one under the cursor.
    pub fn targets(&self) -> Vec<SandboxId> {
        let marked = self.marked();
        if !marked.is_empty() {
            return marked;
        }
        self.current().map(|it| it.sandbox.id.clone()).into_iter().collect()
    }

    /// The invariants; `Err` says which one broke.
    pub fn check(&self) -> Result<(), String> {
        let alive = self.slots.iter().flatten().count();
        if alive != self.index.len() {
            return Err(format!("{alive} rows but {} in the index", self.index.len()));
        }
        if !self.shown.is_sorted_by(|a, b| a < b) {
            return Err("shown rows out of order".to_owned());
        }
        let passing = self.slots.iter().flatten().filter(|it| self.query.passes(it)).count();
        if self.stays.is_some() && self.stays != self.shown.get(self.cursor).map(|it| it.1) {
            return Err("a row stays that the cursor has left".to_owned());
        }
        if passing + usize::from(self.stays.is_some()) != self.shown.len() {
            return Err(format!("{passing} rows pass the filter, {} are shown", self.shown.len()));
        }
        if self.cursor > 0 && self.cursor >= self.shown.len() {
            return Err(format!("cursor {} of {}", self.cursor, self.shown.len()));
        }
        let mut tally = Tally::default();
        self.slots.iter().flatten().for_each(|it| tally.add(it, 1));
        if usize::try_from(tally.asks).ok() != Some(self.asks().count()) {
            return Err("asks are not found".to_owned());
        }
        if tally != self.tally {
            return Err(format!("tally {:?}, counted {tally:?}", self.tally));
        }
        Ok(())
    }
}
