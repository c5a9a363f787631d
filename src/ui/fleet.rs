//! The fleet list and the page for when there is no fleet yet.

use super::{
    View,
    chrome::{background, program},
    paint::Brush,
    theme::Role,
};
use crate::{
    app::{
        Link,
        action::Action,
        filter::words_for,
        fleet::{Line, Mark, Row},
        state::{FirstChoice, Place},
        update::FIRST_RUN_TOP,
        wake::age,
    },
    base::{
        id::HubNumber,
        text::{visible, width, wrap},
        units::human_duration,
    },
};

pub(super) fn mark_role(mark: Mark) -> Role {
    match mark {
        Mark::Asks | Mark::Calls => Role::Asks,
        Mark::Stuck => Role::Stuck,
        Mark::Failed => Role::Failed,
        Mark::Working => Role::Working,
        Mark::Idle => Role::Idle,
        Mark::Paused => Role::Paused,
        Mark::Done => Role::Done,
        Mark::Unknown => Role::Unknown,
    }
}

/// Where there is more than one hub, a list of this width has a column for them, of so many cells.
const CONTEXT_FROM_COLUMNS: u16 = 60;
const CONTEXT_COLUMNS: u16 = 10;
/// Widest column of commands.
const COMMAND_COLUMNS_MAX: u16 = 40;

impl View<'_> {
    pub(super) fn fleet(&self, brush: &mut Brush<'_>) {
        let Some((header, list)) = self.state.frame().fleet else { return };
        let fleet = &self.state.fleet;
        let focused = self.state.place == Place::Fleet && self.state.overlay.is_none();
        let (shown, all) = fleet.counts();
        let role = if focused { Role::BorderFocus } else { Role::BorderTitle };
        let title = self.theme.style(role);
        self.bar(brush, header, role);
        let name = if fleet.known { format!("FLEET {shown}") } else { "FLEET —".to_owned() };
        let name = if shown == all { name } else { format!("{name} of {all}") };
        let marked = fleet.marked();
        let name = match (marked.len(), fleet.hidden_of(&marked)) {
            (0, _) => name,
            // What the next key hits counts more than the title.
            (count, 0) => format!("{} · {count} marked", name.trim_start_matches("FLEET ")),
            (count, hidden) => {
                let name = name.trim_start_matches("FLEET ");
                format!("{name} · {count} marked ({hidden} hidden)")
            }
        };
        let room = header.width - 1;
        let at = brush.text(header.x, header.y, room, &format!(" {name} "), title);
        let filter = fleet.filter_text();
        let (text, role) = if filter.is_empty() {
            (format!("{} filter", self.state.key_words(Action::Filter)), Role::Dim)
        } else {
            (format!("/{filter}"), Role::Accent)
        };
        let right = header.x + header.width;
        let room = right.saturating_sub(at + 2);
        let look = self.theme.style(role).patch(background(title));
        brush.text_right(right.saturating_sub(1), header.y, room, &format!(" {text} "), look);
        let mut inside = brush.within(list);
        for (y, line) in (list.y..).zip(fleet.lines(fleet.top(), usize::from(list.height))) {
            match line {
                Line::Row(place, row) => {
                    self.row(&mut inside, y, row, place == fleet.cursor(), focused);
                }
                Line::Heading(hub) => self.hub_heading(&mut inside, y, hub),
            }
        }
        if let Some(why) = self.state.silent().filter(|_| shown == 0) {
            let room = list.width.saturating_sub(1);
            let lines = wrap(&visible(&format!("no list of sandboxes: {why}")), usize::from(room));
            for (y, line) in (list.y..list.y + list.height).zip(lines) {
                inside.text(list.x + 1, y, room, &line, self.theme.style(Role::Error));
            }
        } else if shown == 0 && fleet.known && (all > 0 || !self.state.hubs.are_many()) {
            let back = if self.state.line.is_some() { Action::LineCancel } else { Action::Back };
            let key = self.state.key_words(back);
            let mut lines = vec![format!("nothing passes the filter; {key} clears it")];
            lines.extend(words_for(filter));
            let room = list.width.saturating_sub(1);
            let lines = lines.iter().flat_map(|it| wrap(it, usize::from(room)));
            for (y, line) in (list.y..list.y + list.height).zip(lines) {
                inside.text(list.x + 1, y, room, &line, self.theme.style(Role::Dim));
            }
        }
    }

    /// What a hub is called, where it is, and how it is reached.
    fn hub_heading(&self, brush: &mut Brush<'_>, y: u16, hub: HubNumber) {
        let Some(hub) = self.state.hubs.get(hub) else { return };
        let area = brush.area();
        let words = visible(&hub.words(self.state.now.since_start));
        let role = match &hub.link {
            Link::Up { .. } if hub.silent.is_some() => Role::Error,
            Link::Up { .. } if hub.left_out > 0 => Role::Warning,
            Link::Up(Some(trips)) if trips.silent_since.is_some() => Role::Warning,
            Link::Up { .. } => Role::Dim,
            Link::Connecting => Role::Warning,
            Link::Down { .. } => Role::Error,
        };
        let room = area.width.saturating_sub(2);
        let title = self.theme.style(Role::Title);
        let at = brush.text(area.x + 1, y, room, &visible(&hub.name), title) + 2;
        let left = (area.x + area.width).saturating_sub(at + 1);
        // How it is counts more than where it is.
        let needed = u16::try_from(width(&words)).unwrap_or(left);
        let address = visible(&hub.address);
        let for_address = left.saturating_sub(needed + 2);
        let at = match for_address {
            0..8 => at,
            room => brush.text(at, y, room, &address, self.theme.style(Role::Dim)) + 2,
        };
        let left = (area.x + area.width).saturating_sub(at + 1);
        brush.text(at, y, left, &words, self.theme.style(role));
    }

    fn row(&self, brush: &mut Brush<'_>, y: u16, row: &Row, here: bool, focused: bool) {
        let area = brush.area();
        let stale = !self.state.is_up(row.sandbox.id.hub());
        let plain = self.theme.style(if stale { Role::Stale } else { Role::Base });
        let dim = self.theme.style(if stale { Role::Stale } else { Role::Dim });
        let mark = if stale { plain } else { self.theme.style(mark_role(row.mark())) };
        let sandbox = &row.sandbox;
        let marked = self.theme.style(Role::Marked);
        let cursor = if here { ">" } else { " " };
        let mut at = brush.text(area.x, y, 1, cursor, self.theme.style(Role::Accent));
        at = brush.text(at, y, 1, &row.mark().sign().to_string(), mark);
        at = brush.text(at, y, 1, if row.marked { "▌" } else { " " }, marked);
        let right = area.x + area.width;
        let mut end = right.saturating_sub(1);
        end = brush.text_right(end, y, 5, &self.age(row), dim).min(right.saturating_sub(5));
        if area.width >= 44 {
            let driver = match sandbox.isolation {
                Some(it) => format!("{}/{}", visible(&sandbox.driver), it.word()),
                None => format!("{}/—", visible(&sandbox.driver)),
            };
            end = end.saturating_sub(17);
            brush.text(end, y, 16, &driver, dim);
        }
        let mut name = sandbox.name.as_str();
        if let Some(context) = row.context().filter(|_| area.width >= CONTEXT_FROM_COLUMNS) {
            end = end.saturating_sub(CONTEXT_COLUMNS + 1);
            brush.text(end, y, CONTEXT_COLUMNS, &visible(context), dim);
            name = row.own_name();
        }
        let room = end.saturating_sub(at + 1);
        let command_cells =
            (if room < 40 { room / 3 } else { room / 2 }).clamp(5, COMMAND_COLUMNS_MAX);
        let name_cells = room.saturating_sub(command_cells + 1);
        let look = if row.marked { marked } else { plain };
        brush.text(at, y, name_cells, &visible(name), look);
        let leading = row.leading();
        let command = leading.map_or_else(
            || "—".to_owned(),
            |it| {
                // With its arguments where there is room for some.
                let rest = it.command.get(1..).filter(|_| command_cells > 12).unwrap_or_default();
                let rest: String = rest.iter().map(|it| format!(" {}", visible(it))).collect();
                program(&it.command) + &rest
            },
        );
        let more = match sandbox.sessions.len() {
            0 | 1 => command,
            count => format!("{command} x{count}"),
        };
        brush.text(at + name_cells + 1, y, command_cells, &more, dim);
        if here {
            let role = if focused { Role::Selection } else { Role::SelectionAside };
            let style = self.theme.style(role);
            // The mark keeps its own colour, for it is what the eye looks for.
            let style = ratatui::style::Style { fg: None, ..style };
            brush.style(crate::app::layout::Area::new(area.x, y, area.width, 1), style);
        }
    }

    /// How long ago it last printed or ended. Without the operator ages stop, and say that they did.
    fn age(&self, row: &Row) -> String {
        if row.prints() {
            // Of one of several that is away, nobody knows what it does by now.
            return match self.state.away_for(row.sandbox.id.hub()) {
                Some(away) => format!("{}+", human_duration(away)),
                None => "now".to_owned(),
            };
        }
        let Some(since) = row.last_sign() else { return "—".to_owned() };
        let text = human_duration(age(since, self.state.now.wall).0);
        if self.state.ages_are_live() { text } else { format!("{text}+") }
    }

    pub(super) fn first_run(&self, brush: &mut Brush<'_>) {
        let Some((header, list)) = self.state.frame().fleet else { return };
        let (base, dim) = (self.theme.style(Role::Base), self.theme.style(Role::Dim));
        let title = self.theme.style(Role::Title);
        let x = list.x + 3;
        let room = list.width.saturating_sub(6);
        brush.text(
            header.x + 1,
            header.y,
            header.width - 1,
            "FLEET 0",
            self.theme.style(Role::BorderFocus),
        );
        brush.text(x, list.y, room, "There is no sandbox yet.", title);
        let directory = visible(&self.state.directory.to_string_lossy());
        let config = &self.state.config.new;
        let what = format!(
            "Start one on {directory} — workspace {}, network {}.",
            config.workspace.word(),
            config.egress.word()
        );
        match self.state.refused_here() {
            // Below it where there is room: it is more than a line.
            Some(why) => {
                let warning = self.theme.style(Role::Warning);
                for (y, line) in
                    (list.y + 1..).zip(wrap(&visible(&why), usize::from(room)).iter().take(2))
                {
                    brush.text(x, y, room, line, warning);
                }
            }
            None => {
                brush.text(x, list.y + 1, room, &what, base);
            }
        }
        let found = match self.state.agents.len() {
            0 => "No agent program was found on your PATH.".to_owned(),
            1 => "One agent program was found on your PATH:".to_owned(),
            it => format!("{it} agent programs were found on your PATH:"),
        };
        if self.state.refused_here().is_none() {
            brush.text(x, list.y + 2, room, &found, dim);
        }
        for (index, choice) in self.state.first_choices().iter().enumerate() {
            let Ok(offset) = u16::try_from(index) else { break };
            let y = list.y + FIRST_RUN_TOP + offset;
            if y >= list.y + list.height {
                break;
            }
            let here = index == self.state.first_choice;
            let (name, says) = match choice {
                FirstChoice::Agent(name) if self.state.first_asks_for_network() => {
                    (visible(name), "opens the form, with the network it needs")
                }
                FirstChoice::Agent(name) => (visible(name), "run this agent in a sandbox"),
                FirstChoice::Shell => ("a shell".to_owned(), "look around in a sandbox yourself"),
                FirstChoice::Other => {
                    ("something else…".to_owned(), "choose program, limits, network")
                }
            };
            let style = if here { self.theme.style(Role::Selection) } else { base };
            if here {
                brush.style(crate::app::layout::Area::new(x - 2, y, room + 2, 1), style);
            }
            brush.text(x - 2, y, 2, if here { "> " } else { "  " }, self.theme.style(Role::Accent));
            brush.text(x, y, 20, &name, style);
            brush.text(x + 22, y, room.saturating_sub(22), says, if here { style } else { dim });
        }
    }
}
