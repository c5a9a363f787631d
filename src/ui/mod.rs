//! Layer `ui`: pure drawing of the state. Never asks, never waits, never panics; colours are roles.
mod asks;
mod boxes;
pub mod cell;
mod chrome;
pub mod colour;
mod diff;
mod files;
mod fleet;
mod form;
mod gauges;
mod paint;
mod pane;
mod records;
mod snapshots;
pub mod theme;
mod timeline;
mod write;

use std::sync::Arc;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::{
    app::{
        self, State,
        files::Graphic,
        layout::{COLUMNS_MIN, ROWS_MIN},
        state::Overlay,
    },
    base::text::{count, visible, wrap},
};
use paint::Brush;
use theme::{Role, Theme};

/// What a part of the picture is drawn with.
struct View<'a> {
    state: &'a State,
    theme: &'a Theme,
}

/// Which rows of a list show, unless all do: `3-9 of 20`.
fn shown_of(top: usize, rows: usize, count: usize) -> Option<String> {
    (rows < count).then(|| format!("{}-{} of {count}", top + 1, (top + rows).min(count)))
}

/// Draws the whole console into `area`; answers where the terminal's cursor belongs, if it shows. Of a buffer
/// that has only some rows of it, those are drawn, if `State::take_touched` said that they are enough.
/// A part of the state that does not fit into `area` is cut; nothing is written outside of it.
pub fn draw(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let mut brush = Brush::new(buf, area);
    if brush.area().is_empty() {
        return None;
    }
    let view = View { state, theme };
    brush.fill(theme.style(Role::Base));
    let frame = state.frame();
    if frame.too_small {
        view.too_small(&mut brush);
        return None;
    }
    view.header(&mut brush);
    let mut cursor = None;
    if let (Some(area), Some(place)) = (&frame.view, state.view()) {
        match place {
            app::view::View::Snapshots(it) => view.snapshots(&mut brush, it, area),
            app::view::View::Diff(it) => view.diff(&mut brush, it, area),
            app::view::View::Asks(it) => view.asks(&mut brush, it, area),
            app::view::View::Records(it) => view.records(&mut brush, it, area),
            app::view::View::Gauges(it) => view.gauges(&mut brush, it, area),
            app::view::View::Files(it) => view.files_place(&mut brush, it, area),
            app::view::View::Timeline(it) => view.timeline(&mut brush, it, area),
        }
        if let Some(divider) = area.divider {
            brush.line(divider, "│", theme.style(Role::Border));
        }
    } else if state.is_first_run() {
        view.first_run(&mut brush);
    } else {
        view.fleet(&mut brush);
        view.gauge_strip(&mut brush);
        for pane in &frame.panes {
            cursor = view.pane(&mut brush, pane).or(cursor);
        }
        for divider in frame.dividers.iter().chain(&frame.divider) {
            brush.line(*divider, "│", theme.style(Role::Border));
        }
    }
    view.ask_bar(&mut brush);
    if let Some(at) = view.bottom(&mut brush) {
        cursor = Some(at);
    }
    if state.overlay.is_some() {
        cursor = view.overlay(&mut brush);
    }
    if state.shows_which_key() {
        view.which_key(&mut brush);
    }
    cursor.filter(|it| area.contains(*it))
}

/// A picture that the terminal itself shows, and where: `draw` leaves these cells empty. Nothing lies over it: where a box is
/// open, or something is typed, it is drawn in cells like all else.
pub fn graphic(state: &State) -> Option<(Rect, &Arc<Graphic>)> {
    let frame = state.frame();
    let covered = state.overlay.is_some() || state.line.is_some() || state.shows_which_key();
    let (Some(area), Some(app::view::View::Files(it))) = (&frame.view, state.view()) else {
        return None;
    };
    if frame.too_small || covered || it.found.is_some() && area.side.1.is_empty() {
        return None;
    }
    let Ok(preview) = it.shown()? else { return None };
    let graphic = preview.graphic.as_ref()?;
    let body = area.side.1;
    let (columns, rows) = graphic.cells;
    let fits = columns > 0 && rows > 0 && columns <= body.width && rows <= body.height;
    let here = fits && it.lines.top() == 0 && preview.room == (body.width, body.height);
    here.then(|| (Rect::new(body.x, body.y, columns, rows), graphic))
}

impl View<'_> {
    fn too_small(&self, brush: &mut Brush<'_>) {
        let area = brush.area();
        let (columns, rows) = self.state.size;
        let text = format!("needs {COLUMNS_MIN}x{ROWS_MIN}, this is {columns}x{rows}");
        let asks = self.state.fleet.tally().asks;
        let base = self.theme.style(Role::Base);
        let mut lines = wrap(&text, usize::from(area.width));
        lines.extend(wrap(&self.state.unseen_hint(), usize::from(area.width)));
        let mut rows = area.y..area.y.saturating_add(area.height);
        if asks > 0 {
            let (y, style) = (rows.next().unwrap_or(area.y), self.theme.style(Role::Asks));
            brush.text(area.x, y, area.width, &self.asks_in_short(asks), style);
        }
        for (y, line) in rows.zip(&lines) {
            brush.text(area.x, y, area.width, line, base);
        }
    }

    /// That something asks, and what first, where there is room for nothing else.
    fn asks_in_short(&self, asks: u32) -> String {
        let first = self.state.asks.waiting().first().and_then(|it| self.state.ask(it));
        let what = first.map_or_else(String::new, |it| {
            let request = &it.asked.request;
            let subject = visible(&request.subject);
            format!(" · {} · {} {subject}", request.kind.word(), visible(&it.sandbox_name))
        });
        format!("! {}{what}", count(asks as usize, "ask"))
    }

    fn overlay(&self, brush: &mut Brush<'_>) -> Option<Position> {
        match self.state.overlay.as_ref()? {
            Overlay::Help(help) => self.help(brush, help),
            Overlay::Palette(palette) => self.palette(brush, palette),
            Overlay::Notices { top } => self.notices(brush, *top),
            Overlay::Info { sandbox, top } => self.info(brush, sandbox, *top),
            Overlay::Doctor { hub, checks, top } => {
                self.doctor(brush, *hub, checks.as_deref(), *top)
            }
            Overlay::New(dialog) => self.new_sandbox(brush, dialog),
            Overlay::Confirm(confirm) => self.confirm(brush, confirm),
            Overlay::Allow(it) => Some(self.allow_box(brush, it)),
            Overlay::Write(it) => self.write_box(brush, it),
            Overlay::TakeOver { session, holder, free, .. } => {
                self.ask_take_over(brush, session, (holder, *free))
            }
        }
    }
}
