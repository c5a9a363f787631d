//! Tabs and their panes: what is shown where. Nothing here knows how a session looks.

use crate::base::id::SessionId;

/// How many tabs there may be: what fits in the header.
pub const TABS_MAX: usize = 9;

/// Numbers of panes that a tab can show.
pub const LAYOUTS: &[usize] = &[1, 2, 4, 6];

/// What one pane shows. The first follows, and no other does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Whatever the fleet's cursor is on.
    Follow,
    Kept(SessionId),
    Empty,
}

/// Which pane is there as long as there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    First,
    /// Whoever works in a pane keeps it.
    Focus,
}

/// One tab. Invariant: the number of slots is one of `LAYOUTS`, the focus is one of them, and the first
/// follows, alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab {
    slots: Vec<Slot>,
    focus: usize,
    pub zoomed: bool,
}

impl Default for Tab {
    fn default() -> Self {
        Self { slots: vec![Slot::Follow], focus: 0, zoomed: false }
    }
}

impl Tab {
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub fn focus(&self) -> usize {
        self.focus
    }

    pub fn focused(&self) -> &Slot {
        self.slots.get(self.focus).unwrap_or(&Slot::Empty)
    }

    pub fn set_focus(&mut self, slot: usize) {
        self.focus = slot.min(self.slots.len() - 1);
    }

    /// Moves the focus by panes, around the ends.
    pub fn step(&mut self, forward: bool) {
        let count = self.slots.len();
        self.focus = (self.focus + if forward { 1 } else { count - 1 }) % count;
    }

    pub fn put(&mut self, slot: usize, what: Slot) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = what;
        }
    }

    /// Shows that many panes; empty ones are dropped first, then the last that need not stay. Where only
    /// the following pane is left of a focused one, that one's session is answered: it is to be followed.
    #[must_use]
    pub fn set_layout(&mut self, count: usize, stays: Stays) -> Option<SessionId> {
        if !LAYOUTS.contains(&count) {
            return None;
        }
        let mut led = None;
        while self.slots.len() > count {
            let last = self.slots.len() - 1;
            let empty = self.slots.iter().rposition(|it| *it == Slot::Empty);
            let goes = match stays {
                Stays::Focus if self.focus == last && last > 1 => last - 1,
                Stays::Focus | Stays::First => last,
            };
            let goes = empty.unwrap_or(goes);
            let gone = self.slots.remove(goes);
            if let (Slot::Kept(id), Stays::Focus, true) = (gone, stays, self.focus == goes) {
                led = Some(id);
            }
            if self.focus > goes {
                self.focus -= 1;
            }
        }
        self.slots.resize(count, Slot::Empty);
        self.focus = self.focus.min(count - 1);
        self.zoomed = false;
        led
    }

    /// Gives a session a pane: where it already is, else an empty one, else a new one, else the
    /// focused one, or the last where that follows. Answers which.
    pub fn keep(&mut self, session: &SessionId) -> usize {
        let kept = Slot::Kept(session.clone());
        if let Some(slot) = self.slots.iter().position(|it| *it == kept) {
            return slot;
        }
        let mut empty = self.slots.iter().position(|it| *it == Slot::Empty);
        let more = LAYOUTS.iter().find(|it| **it > self.slots.len());
        if let (None, Some(more)) = (empty, more) {
            empty = Some(self.slots.len());
            self.slots.resize(*more, Slot::Empty);
            self.zoomed = false;
        }
        let focus = if self.focus == 0 { self.slots.len() - 1 } else { self.focus };
        let slot = empty.unwrap_or(focus);
        self.put(slot, kept);
        slot
    }

    /// Empties a pane and shrinks to the smallest layout that holds the rest. The following one can't be
    /// empty: the next takes its place, and its session is answered, to be followed.
    #[must_use]
    pub fn close(&mut self, slot: usize) -> Option<SessionId> {
        let next = self.slots.iter().position(|it| matches!(it, Slot::Kept(_)));
        let (closed, led) = match (slot, next.and_then(|it| self.slots.get(it))) {
            (0, Some(Slot::Kept(id))) => (next.unwrap_or(0), Some(id.clone())),
            _ => (slot, None),
        };
        if closed > 0 {
            self.put(closed, Slot::Empty);
        }
        let used = self.slots.iter().filter(|it| **it != Slot::Empty).count();
        let fits = LAYOUTS.iter().find(|it| **it >= used).copied().unwrap_or(1);
        // Nothing but empty ones goes here.
        drop(self.set_layout(fits, Stays::First));
        led
    }

    /// Takes sessions away that are no more.
    pub fn retain(&mut self, alive: impl Fn(&SessionId) -> bool) {
        for slot in &mut self.slots {
            if matches!(slot, Slot::Kept(id) if !alive(id)) {
                *slot = Slot::Empty;
            }
        }
    }

    fn is_sound(&self) -> bool {
        let follows = self.slots.iter().position(|it| *it == Slot::Follow);
        let alone = self.slots.iter().filter(|it| **it == Slot::Follow).count() == 1;
        LAYOUTS.contains(&self.slots.len())
            && self.focus < self.slots.len()
            && follows == Some(0)
            && alone
    }
}

/// All tabs. Invariant: at least one, and the current one is one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    tabs: Vec<Tab>,
    current: usize,
}

impl Default for Grid {
    fn default() -> Self {
        Self { tabs: vec![Tab::default()], current: 0 }
    }
}

impl Grid {
    #[expect(clippy::indexing_slicing, reason = "the invariant above")]
    pub fn tab(&self) -> &Tab {
        &self.tabs[self.current]
    }

    #[expect(clippy::indexing_slicing, reason = "the invariant above")]
    pub fn tab_mut(&mut self) -> &mut Tab {
        &mut self.tabs[self.current]
    }

    /// One tab with so many panes.
    pub fn with_panes(count: usize) -> Self {
        let mut grid = Self::default();
        drop(grid.tab_mut().set_layout(count, Stays::First));
        grid
    }

    pub fn tabs_mut(&mut self) -> impl Iterator<Item = &mut Tab> {
        self.tabs.iter_mut()
    }

    /// Which tab is shown, and how many there are.
    pub fn position(&self) -> (usize, usize) {
        (self.current, self.tabs.len())
    }

    /// Opens a tab after this one; `false` when there are too many.
    pub fn open(&mut self) -> bool {
        if self.tabs.len() >= TABS_MAX {
            return false;
        }
        self.tabs.insert(self.current + 1, Tab::default());
        self.current += 1;
        true
    }

    /// Closes this tab; the last one stays.
    pub fn close(&mut self) -> bool {
        if self.tabs.len() <= 1 {
            return false;
        }
        self.tabs.remove(self.current);
        self.current = self.current.min(self.tabs.len() - 1);
        true
    }

    pub fn step(&mut self, forward: bool) {
        let count = self.tabs.len();
        self.current = (self.current + if forward { 1 } else { count - 1 }) % count;
    }

    pub fn go(&mut self, tab: usize) {
        self.current = tab.min(self.tabs.len() - 1);
    }

    pub fn is_sound(&self) -> bool {
        self.current < self.tabs.len()
            && self.tabs.len() <= TABS_MAX
            && self.tabs.iter().all(Tab::is_sound)
    }
}
