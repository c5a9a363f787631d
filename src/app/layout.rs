//! Where everything lies on the screen: one computation for drawing, for the mouse, and for the
//! size a session gets.

use super::{
    asks::Listed,
    diff::Half,
    files,
    grid::Tab,
    records::{Of, Records},
    state::{Place, State},
    timeline::TimelinePlace,
    view::View,
};
use crate::base::{text::wrap, units::Size};

/// Below this the console says so instead of drawing.
pub const COLUMNS_MIN: u16 = 60;
pub const ROWS_MIN: u16 = 15;

/// As wide as names, grades and commands make use of.
const FLEET_COLUMNS_MAX: u16 = 96;

/// From so many columns on, the two halves of a place lie side by side; and what they make use of.
const BESIDE_COLUMNS_MIN: u16 = 110;
const SNAPSHOT_COLUMNS_MAX: u16 = 90;
const FILE_COLUMNS_MAX: u16 = 70;
/// With fewer rows only one of them is shown.
const STACKED_ROWS_MIN: u16 = 16;
/// What is left below a list of records is used to read one of them whole if it is so many rows, with a title.
const RECORD_SIDE_ROWS_MIN: u16 = 6;

/// Columns of a recording whose width is not known yet, the usual ones. The list of what happened has the rest: words are
/// long.
const TIMELINE_COLUMNS: u16 = 80;

/// Columns that the list of gauges makes use of.
const GAUGES_COLUMNS_MAX: u16 = 100;
/// From so many rows on the gauges of what is under the cursor stand below the fleet: a header line and rows.
const GAUGES_ROWS_MIN: u16 = 24;
const GAUGES_STRIP_ROWS: u16 = 4;

/// From so many rows on the bar of asks has two.
const ASKS_ROWS_MIN: u16 = 30;
/// Columns that the list of asks makes use of.
const ASKS_COLUMNS_MAX: u16 = 80;

/// What a dragged border leaves to either side.
const FLEET_COLUMNS_MIN: u16 = 20;
const PANES_COLUMNS_MIN: u16 = 30;

/// A rectangle of cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    pub x: u16,
    pub y: u16,
    pub width: u16,
    pub height: u16,
}

impl Area {
    pub fn new(x: u16, y: u16, width: u16, height: u16) -> Self {
        Self { x, y, width, height }
    }

    pub fn contains(self, x: u16, y: u16) -> bool {
        let right = self.x.saturating_add(self.width);
        let bottom = self.y.saturating_add(self.height);
        (self.x..right).contains(&x) && (self.y..bottom).contains(&y)
    }

    pub fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// The first rows, and the rest.
    pub fn split_top(self, rows: u16) -> (Self, Self) {
        let rows = rows.min(self.height);
        let rest = Self { y: self.y + rows, height: self.height - rows, ..self };
        (Self { height: rows, ..self }, rest)
    }

    /// The first columns, and the rest.
    pub fn split_left(self, columns: u16) -> (Self, Self) {
        let columns = columns.min(self.width);
        let rest = Self { x: self.x + columns, width: self.width - columns, ..self };
        (Self { width: columns, ..self }, rest)
    }

    /// A box of at most this size in the middle.
    #[must_use]
    pub fn centred(self, width: u16, height: u16) -> Self {
        let (width, height) = (width.min(self.width), height.min(self.height));
        Self {
            x: self.x + (self.width - width) / 2,
            y: self.y + (self.height - height) / 2,
            width,
            height,
        }
    }
}

/// One pane on screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaneArea {
    /// Index into the slots of the tab.
    pub slot: usize,
    pub header: Area,
    pub body: Area,
}

/// A place over fleet and panes: a list, and beside or below it what is under its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewArea {
    /// Header line and rows; empty where only the other half fits.
    pub list: (Area, Area),
    /// The same.
    pub side: (Area, Area),
    /// The line between them, where they lie side by side.
    pub divider: Option<Area>,
}

/// The whole screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub whole: Area,
    /// Too small for anything but saying so.
    pub too_small: bool,
    pub header: Area,
    pub hint: Area,
    /// What tells, in every place but its own, that something asks; `None` while nothing does.
    pub asks: Option<Area>,
    /// Header line of the fleet, then its rows; `None` while hidden.
    pub fleet: Option<(Area, Area)>,
    /// Header line of the gauges below it, then their rows.
    pub gauges: Option<(Area, Area)>,
    /// The line between fleet and panes.
    pub divider: Option<Area>,
    pub panes: Vec<PaneArea>,
    /// What lies over fleet and panes; these are not on screen then.
    pub view: Option<ViewArea>,
    /// The lines between panes.
    pub dividers: Vec<Area>,
}

/// Computes the screen for a state.
pub fn frame(state: &State) -> Frame {
    let (columns, rows) = state.size;
    let whole = Area::new(0, 0, columns, rows);
    if columns < COLUMNS_MIN || rows < ROWS_MIN {
        return Frame { whole, too_small: true, ..Frame::default() };
    }
    let (header, rest) = whole.split_top(1);
    let (middle, hint) = rest.split_top(rest.height - 1);
    let mut frame = Frame { whole, header, hint, ..Frame::default() };
    let bar = ask_rows(state, rows);
    let (middle, asks) = middle.split_top(middle.height - bar);
    frame.asks = (bar > 0).then_some(asks);
    if let Some(view) = state.view() {
        frame.view = Some(place_view(view, middle));
        return frame;
    }
    let tab = state.grid.tab();
    let fleet_alone = state.fleet.known && state.fleet.counts().1 == 0;
    let fleet_width = match columns {
        80.. if !tab.zoomed && state.fleet_shown && state.fleet_columns.is_some() => {
            let most = columns.saturating_sub(PANES_COLUMNS_MIN + 1);
            state.fleet_columns.unwrap_or_default().clamp(FLEET_COLUMNS_MIN, most)
        }
        _ if tab.zoomed || !state.fleet_shown => 0,
        // Too narrow for both: the one in focus gets it all.
        ..80 if state.place == Place::Fleet => columns,
        ..80 => 0,
        80..110 => 28,
        110..150 => 34,
        _ => (columns / 4).min(FLEET_COLUMNS_MAX),
    };
    if fleet_alone || fleet_width == columns {
        frame.fleet = Some(middle.split_top(1));
        return frame;
    }
    let mut right = middle;
    if fleet_width > 0 {
        let (left, rest) = middle.split_left(fleet_width);
        let (divider, rest) = rest.split_left(1);
        (frame.fleet, frame.divider) = (Some(left.split_top(1)), Some(divider));
        if left.height >= GAUGES_ROWS_MIN {
            let (above, below) = left.split_top(left.height - GAUGES_STRIP_ROWS);
            (frame.fleet, frame.gauges) = (Some(above.split_top(1)), Some(below.split_top(1)));
        }
        right = rest;
    }
    place_panes(&mut frame, tab, right);
    frame
}

/// Rows of the bar of asks. Below the place of asks there is none: there they are.
fn ask_rows(state: &State, rows: u16) -> u16 {
    match rows {
        _ if state.asks.waiting().is_empty() || state.inbox().is_some() => 0,
        ASKS_ROWS_MIN.. => 2,
        _ => 1,
    }
}

/// Rows of the place of gauges that are of the host; none where there are few.
pub fn host_rows(height: u16) -> u16 {
    if height < 8 { 0 } else { 4 }
}

fn place_view(view: &View, area: Area) -> ViewArea {
    let split = |(list, side): (Area, Area), divider| ViewArea {
        list: list.split_top(1),
        side: side.split_top(1),
        divider,
    };
    // Its words are long, and what is below its rows is where one of them is read whole.
    let is_stacked = matches!(view, View::Records(it) if matches!(it.of, Of::Status(..)));
    if area.width >= BESIDE_COLUMNS_MIN && !is_stacked {
        let columns = match view {
            View::Snapshots(_) => (area.width / 2).min(SNAPSHOT_COLUMNS_MAX),
            View::Diff(_) => (area.width * 3 / 10).clamp(34, FILE_COLUMNS_MAX),
            View::Asks(it) if it.shown.is_some() => 0,
            View::Asks(_) => (area.width / 2).min(ASKS_COLUMNS_MAX),
            View::Records(it) if it.open.is_some() => 0,
            // Its words are long.
            View::Records(it) if matches!(it.of, Of::Syscalls(..)) => area.width,
            View::Records(_) => area.width * 3 / 5,
            View::Gauges(it) if it.whole => 0,
            View::Gauges(_) => (area.width / 2).min(GAUGES_COLUMNS_MAX),
            View::Files(_) => (area.width * 2 / 5).min(FILE_COLUMNS_MAX),
            View::Timeline(it) => return place_timeline(it, area),
        };
        let (list, rest) = area.split_left(columns);
        if columns == 0 {
            return split((list, rest), None);
        }
        let (divider, side) = rest.split_left(1);
        return split((list, side), Some(divider));
    }
    let rows = match view {
        View::Asks(it) if it.shown.is_some() => 0,
        View::Asks(_) if area.height < STACKED_ROWS_MIN => area.height,
        View::Asks(it) => {
            let count = if it.tab == Listed::Waiting { it.rows.len() } else { it.ended.count() };
            let wanted = u16::try_from(count).unwrap_or(u16::MAX).saturating_add(1);
            wanted.clamp(4, area.height / 2)
        }
        View::Records(it) if it.open.is_some() => 0,
        View::Records(it) => record_rows(it, area.height),
        View::Gauges(it) if it.whole => 0,
        View::Gauges(_) if area.height < STACKED_ROWS_MIN => area.height,
        View::Gauges(it) => {
            let wanted = u16::try_from(it.rows.len()).unwrap_or(u16::MAX).saturating_add(6);
            wanted.clamp(7, area.height / 2)
        }
        View::Timeline(it) => return place_timeline(it, area),
        // Both are read by the screen: the one with the keys has it all.
        View::Files(it) if it.half == files::Half::Text => 0,
        View::Files(_) => area.height,
        View::Snapshots(_) if area.height < 20 => area.height - area.height / 3,
        View::Snapshots(_) => area.height.saturating_sub(9),
        // Where both would be too short to read, the one with the keys has it all.
        View::Diff(it) if area.height < STACKED_ROWS_MIN => match it.half {
            Half::Files => area.height,
            Half::Lines => 0,
        },
        View::Diff(it) => {
            let wanted = u16::try_from(it.files.len()).unwrap_or(u16::MAX).saturating_add(1);
            wanted.clamp(3, (area.height * 2 / 5).max(3))
        }
    };
    split(area.split_top(rows), None)
}

/// Rows of a list of records: as many as it has, where what is left is enough to read one row whole.
fn record_rows(it: &Records, height: u16) -> u16 {
    let (listed, _) = it.counts();
    let list = it.head.len().min(usize::from(height / 3)).saturating_add(listed);
    // Its title, and the headings.
    let wanted = u16::try_from(list).unwrap_or(u16::MAX).saturating_add(2);
    let is_enough = wanted.saturating_add(RECORD_SIDE_ROWS_MIN) <= height;
    // What grows while it is read keeps its place.
    let grows = matches!(it.of, Of::Syscalls(..));
    if is_enough && listed > 0 && !grows { wanted } else { height }
}

/// The screen of the past is what is looked at: it comes first, and the list beside or below it.
fn place_timeline(it: &TimelinePlace, area: Area) -> ViewArea {
    let none = Area { width: 0, height: 0, ..area };
    // A row of the whole fleet that leads to no recording moves nothing: the next one may.
    if it.player.is_none() && (it.sandbox.is_some() || it.cursor.count() == 0) {
        return ViewArea { list: area.split_top(1), side: (none, none), divider: None };
    }
    if it.whole {
        return ViewArea { list: (none, none), side: area.split_top(1), divider: None };
    }
    if area.width >= BESIDE_COLUMNS_MIN {
        let side = it.columns.max(TIMELINE_COLUMNS).min(area.width * 3 / 5 - 1);
        let (side, rest) = area.split_left(side);
        let (divider, list) = rest.split_left(1);
        return ViewArea {
            list: list.split_top(1),
            side: side.split_top(1),
            divider: Some(divider),
        };
    }
    let (side, list) = area.split_top(area.height * 3 / 5);
    ViewArea { list: list.split_top(1), side: side.split_top(1), divider: None }
}

/// The screen, and below it the clock: its line, its bar, and the gauge where there is room.
pub fn timeline_areas(side: Area) -> (Area, Area) {
    let rows = match side.height {
        0..4 => 1,
        4..10 => 2,
        _ => 3,
    };
    side.split_top(side.height.saturating_sub(rows))
}

/// Rows below the list that have all of the row under the cursor: a few that don't come and go with it, and as many as it
/// takes where the list leaves them free. None where the list is short.
pub fn timeline_detail_rows(it: &TimelinePlace, list: Area) -> u16 {
    let few = match list.height {
        0..7 => 0,
        7..24 => 3,
        _ => 5,
    };
    let free = usize::from(list.height).saturating_sub(it.cursor.count());
    let takes = |text: String| wrap(&text, usize::from(list.width.saturating_sub(2))).len() + 1;
    let takes = it.detail().map_or(0, takes).min(free);
    u16::try_from(takes).unwrap_or(u16::MAX).max(few)
}

fn place_panes(frame: &mut Frame, tab: &Tab, area: Area) {
    let count = tab.slots().len();
    if tab.zoomed || count <= 1 {
        let (header, body) = area.split_top(1);
        frame.panes.push(PaneArea { slot: tab.focus(), header, body });
        return;
    }
    // Side by side where that leaves 60 columns each, else stacked.
    let wide = area.width >= 121;
    let columns = match count {
        2 => 1 + u16::from(wide),
        4 => 2,
        _ if area.width >= 182 => 3,
        _ => 2,
    };
    let count = u16::try_from(count).unwrap_or(1);
    let lines = count.div_ceil(columns);
    let mut slot = 0;
    let mut y = area.y;
    for line in 0..lines {
        let height = (area.height - (y - area.y)) / (lines - line);
        let mut x = area.x;
        for column in 0..columns {
            let left = area.width - (x - area.x);
            let last = column + 1 == columns;
            let gaps = columns - column - 1;
            let width = if last { left } else { left.saturating_sub(gaps) / (columns - column) };
            let (header, body) = Area::new(x, y, width, height).split_top(1);
            frame.panes.push(PaneArea { slot, header, body });
            if !last {
                frame.dividers.push(Area::new(x + width, y, 1, height));
            }
            x += width + u16::from(!last);
            slot += 1;
        }
        y += height;
    }
}

impl Frame {
    pub fn pane(&self, slot: usize) -> Option<&PaneArea> {
        self.panes.iter().find(|it| it.slot == slot)
    }
}

impl PaneArea {
    /// The size a session gets that is stepped into here.
    pub fn session_size(&self) -> Size {
        Size::clamped(self.body.width, self.body.height)
    }

    /// The clickable word at the right end of the header.
    pub fn button(&self, word: &str) -> Area {
        let width = u16::try_from(word.len()).unwrap_or(0).min(self.header.width);
        Area { x: self.header.x + self.header.width - width, width, ..self.header }
    }
}
