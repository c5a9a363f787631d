//! One pane: its header (who, and who holds the keyboard) and the screen of its session.

use ratatui::{
    layout::Position,
    style::{Color, Modifier, Style},
};

use super::{View, cell, chrome::background, fleet::mark_role, paint::Brush, theme::Role};
use crate::{
    app::{
        copy::Copy,
        layout::{Area, PaneArea},
        pane::{Feed, Watch, first_row},
        predict::Predicted,
        state::{Hold, Holder, Place},
    },
    base::{
        id::{HubNumber, SessionId},
        text::{visible, width},
        units::human_bytes,
    },
    model::session::Session,
    vt::{
        row::StyledCell,
        screen::{Cell, Screen},
    },
};

/// What the header says of a pane that nobody types into.
const WATCHING: &str = "watching";

impl View<'_> {
    /// Draws a pane; answers where the program's cursor is, if this pane is typed into.
    pub(super) fn pane(&self, brush: &mut Brush<'_>, pane: &PaneArea) -> Option<Position> {
        let state = self.state;
        let focused = state.place == Place::Panes && state.grid.tab().focus() == pane.slot;
        let Some(id) = state.session_in(pane.slot) else {
            self.empty(brush, pane, focused);
            return None;
        };
        let watch = state.watches.get(id);
        self.pane_header(brush, pane, id, watch, focused);
        let mut body = brush.within(pane.body);
        if let Some(copy) = state.copy_of(id).filter(|_| focused) {
            return self.copy(&mut body, copy);
        }
        let Some((watch, screen)) = watch.and_then(|it| Some((it, it.screen()?))) else {
            let text = match watch.map(|it| &it.feed) {
                Some(Feed::Broken { why, .. }) => format!("no picture: {}", visible(why)),
                _ => "waiting for a picture".to_owned(),
            };
            body.text(
                pane.body.x,
                pane.body.y,
                pane.body.width,
                &text,
                self.theme.style(Role::Dim),
            );
            return None;
        };
        let unheard = state.fleet.session(id).is_some_and(|it| state.is_unheard(it.1));
        let live =
            matches!(watch.feed, Feed::Live | Feed::Over) && !unheard && state.is_up(id.hub());
        self.screen(&mut body, pane.body, screen, !live);
        let grip = state.grip.as_ref().filter(|it| focused && it.session == *id)?;
        self.predicted(&mut body, pane.body, screen, &grip.predicted);
        let (row, col) = grip.predicted.cursor().or(screen.cursor())?;
        let row = row.checked_sub(first_row(screen, pane.body.height))?;
        let at = Position::new(pane.body.x + col, pane.body.y + row);
        (row < pane.body.height && col < pane.body.width).then_some(at)
    }

    /// The bar on top of a pane or a list.
    pub(super) fn bar(&self, brush: &mut Brush<'_>, area: Area, role: Role) {
        let style = self.theme.style(role);
        brush.within(area).fill(self.theme.style(Role::Base).patch(background(style)));
        // Without a background of its own it is told from text by a line.
        let plain = style.bg.is_none_or(|it| it == Color::Reset);
        let line = if plain { "─" } else { " " };
        brush.line(area, line, self.theme.style(Role::Border).patch(background(style)));
    }

    fn empty(&self, brush: &mut Brush<'_>, pane: &PaneArea, focused: bool) {
        let role = if focused { Role::BorderFocus } else { Role::BorderTitle };
        let Area { x, y, width, .. } = pane.header;
        self.bar(brush, pane.header, role);
        brush.text(x + 1, y, width.saturating_sub(1), " empty ", self.theme.style(role));
        let add = self
            .state
            .keymap
            .key_of(crate::app::action::Scope::List, crate::app::action::Action::PaneAdd);
        if let Some(key) = add {
            let text = format!("{key} in the fleet puts a session here");
            let dim = self.theme.style(Role::Dim);
            let mut body = brush.within(pane.body);
            body.text(pane.body.x + 1, pane.body.y, pane.body.width.saturating_sub(2), &text, dim);
        }
    }

    fn pane_header(
        &self,
        brush: &mut Brush<'_>,
        pane: &PaneArea,
        id: &SessionId,
        watch: Option<&Watch>,
        focused: bool,
    ) {
        let state = self.state;
        let typing = focused && state.grip.as_ref().is_some_and(|it| it.session == *id);
        let role = match (typing, focused) {
            (true, _) => Role::BorderTyping,
            (_, true) => Role::BorderFocus,
            _ => Role::BorderTitle,
        };
        let style = self.theme.style(role);
        let over = background(style);
        let Area { x, y, width: cells, .. } = pane.header;
        let mut header = brush.within(pane.header);
        self.bar(&mut header, pane.header, role);
        let right = x + cells;
        let mut end = right;
        if let Some(word) = state.button(pane.slot) {
            let look = if typing {
                style.add_modifier(Modifier::UNDERLINED)
            } else {
                self.theme.style(Role::Button).patch(over)
            };
            end = header.text_right(right, y, cells, word, look).saturating_sub(1);
        }
        let known = state.fleet.session(id);
        let name = known.map_or_else(String::new, |(row, session)| {
            let program = super::chrome::program(&session.command);
            format!("{program} — {}/{} ", visible(&row.sandbox.name), session.ordinal)
        });
        let room = end.saturating_sub(x);
        let mut said = self.pane_state(known.map(|(_, it)| it), watch, typing, pane.body);
        // Where not all fits, that it is only watched goes without saying.
        let left = usize::from(room).saturating_sub(width(&name) + 6);
        if width(&said) > left {
            said = said.strip_suffix(WATCHING).unwrap_or(&said).trim_end_matches(" · ").to_owned();
        }
        let needed = u16::try_from(width(&said) + 2).unwrap_or(room);
        if !said.is_empty() && needed + 12 <= room {
            end = header.text_right(end, y, needed, &format!(" {said} "), style);
        }
        let mut at = x + 1;
        let aimed = state.place == Place::Fleet && state.aim() == Some(id);
        if aimed && state.frame().panes.len() > 1 {
            header.text(x, y, 1, ">", self.theme.style(Role::Accent).patch(over));
        }
        if let Some((row, session)) = known {
            let mark = row.mark_of(session);
            let sign_style = self.theme.style(mark_role(mark)).patch(over);
            let sign_style = if typing { style } else { sign_style };
            at = header.text(at, y, 3, &format!(" {} ", mark.sign()), sign_style);
            at = header.text(at, y, end.saturating_sub(at), &name, style);
            if let Some(title) = session.title.as_deref().filter(|it| !it.is_empty()) {
                let text = format!("“{}” ", visible(title));
                let look = if typing { style } else { self.theme.style(Role::Dim).patch(over) };
                header.text(at, y, end.saturating_sub(at + 1), &text, look);
            }
        }
    }

    /// What the header says about the picture and the keyboard.
    fn pane_state(
        &self,
        session: Option<&Session>,
        watch: Option<&Watch>,
        typing: bool,
        body: Area,
    ) -> String {
        let mut parts = Vec::new();
        let size = watch.and_then(Watch::screen).map(Screen::size);
        if let Some(it) = size.filter(|it| it.cols() > body.width || it.rows() > body.height) {
            parts.push(format!("part of {}x{}", it.cols(), it.rows()));
        }
        if let Some(lost) = watch.map(|it| it.lost).filter(|it| *it > 0) {
            parts.push(format!("{} skipped", human_bytes(lost)));
        }
        match watch.map(|it| &it.feed) {
            Some(Feed::Broken { .. }) => parts.push("OLD PICTURE".to_owned()),
            _ if session.is_some_and(|it| self.state.is_stale(it))
                || session.is_none() && !self.state.is_up(HubNumber::FIRST) =>
            {
                parts.push("OLD PICTURE".to_owned());
            }
            _ if session.is_some_and(|it| self.state.is_unheard(it)) => {
                parts.push("OLD PICTURE".to_owned());
            }
            _ => {}
        }
        let Some(session) = session else { return parts.join(" · ") };
        if let Some(exit) = session.exit {
            parts.push(format!("ended with {}", exit.code()));
            return parts.join(" · ");
        }
        if self.state.is_paused(session) {
            parts.push("PAUSED".to_owned());
        }
        let hold = self.state.grip.as_ref().map(|it| it.hold);
        let keyboard = match (typing, self.state.holder(session)) {
            (true, _) if hold == Some(Hold::Cut) => "no link: nothing is typed".to_owned(),
            (true, _) if hold == Some(Hold::Asked) => "asking for the keyboard".to_owned(),
            (true, _) if hold == Some(Hold::Lapsed) => "type to take the keyboard again".to_owned(),
            (true, _) => "you hold the keyboard".to_owned(),
            (false, Holder::Other(name)) => {
                format!("watching · {} holds the keyboard", visible(name))
            }
            (false, _) => WATCHING.to_owned(),
        };
        parts.push(keyboard);
        parts.join(" · ")
    }

    pub(super) fn screen(&self, brush: &mut Brush<'_>, area: Area, screen: &Screen, stale: bool) {
        let base = self.theme.style(Role::Base);
        let rows = screen.size().rows().min(area.height);
        let cols = screen.size().cols().min(area.width);
        let first = first_row(screen, area.height);
        // Looking a cell up costs more than drawing it: only those that can be drawn.
        let drawn = brush.area();
        let drawn = drawn.y.saturating_sub(area.y)
            ..drawn.y.saturating_add(drawn.height).saturating_sub(area.y);
        for row in drawn.start..drawn.end.min(rows) {
            for col in 0..cols {
                let Some(cell) = screen.cell(first + row, col) else { break };
                if !cell.wide_rest {
                    self.cell(brush, (area.x + col, area.y + row), &cell, base, stale);
                }
            }
        }
    }

    /// What was typed and is not echoed yet, underlined.
    fn predicted(&self, brush: &mut Brush<'_>, area: Area, screen: &Screen, it: &Predicted) {
        let first = first_row(screen, area.height);
        let style = self.theme.style(Role::Base).add_modifier(Modifier::UNDERLINED);
        for (row, col, letter) in it.shown() {
            let Some(row) = row.checked_sub(first) else { continue };
            if row < area.height && col < area.width {
                brush.text(area.x + col, area.y + row, 1, letter.encode_utf8(&mut [0; 4]), style);
            }
        }
    }

    fn cell(
        &self,
        brush: &mut Brush<'_>,
        (x, y): (u16, u16),
        cell: &Cell<'_>,
        base: Style,
        stale: bool,
    ) {
        let mut style = cell::style(cell, base, |it| self.theme.lower(it));
        if stale {
            style = style.add_modifier(Modifier::DIM);
        }
        let wide = if cell.wide { 2 } else { 1 };
        brush.cluster(x, y, cell::printable(cell), wide, style);
    }

    fn copy(&self, brush: &mut Brush<'_>, copy: &Copy) -> Option<Position> {
        let area = brush.area();
        let base = self.theme.style(Role::Base);
        for (y, (number, line)) in (area.y..area.y + area.height).zip(copy.window()) {
            for (col, cell) in (0..area.width).zip(line.cells().iter()) {
                if !cell.wide_rest {
                    self.cell(brush, (area.x + col, y), &borrowed(cell), base, false);
                }
            }
            let mut over = |from: usize, to: usize, role: Role| {
                let from = u16::try_from(from).unwrap_or(u16::MAX).min(area.width);
                let to = u16::try_from(to).unwrap_or(u16::MAX).min(area.width);
                let part = Area::new(area.x + from, y, to.saturating_sub(from), 1);
                brush.style(part, self.theme.style(role));
            };
            for (from, to) in copy.hits(&line.text) {
                over(from, to, Role::Match);
            }
            if let Some((from, to)) = copy.selected(number) {
                over(from, to, Role::Copy);
            }
        }
        if copy.top() == 0 && copy.loading {
            let text = " loading what is older ";
            brush.text_right(area.x + area.width, area.y, 30, text, self.theme.style(Role::Hint));
        }
        let row = u16::try_from(copy.cursor.line.checked_sub(copy.top())?).ok()?;
        let column = u16::try_from(copy.cursor.column).ok()?.min(area.width.checked_sub(1)?);
        (row < area.height).then(|| Position::new(area.x + column, area.y + row))
    }
}

fn borrowed(cell: &StyledCell) -> Cell<'_> {
    Cell {
        text: &cell.text,
        wide: cell.wide,
        wide_rest: cell.wide_rest,
        foreground: cell.foreground,
        background: cell.background,
        bold: cell.bold,
        dim: cell.dim,
        italic: cell.italic,
        underline: cell.underline,
        inverse: cell.inverse,
        struck: cell.struck,
        blink: cell.blink,
    }
}
