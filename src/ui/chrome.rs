//! The top line (where am I, how is everything) and the bottom line (what do keys do, what is new).

use std::time::Duration;

use ratatui::layout::Position;

use super::{View, paint::Brush, theme::Role};
use crate::{
    app::{
        self, Link,
        action::Action,
        copy::Copy,
        fleet::Mark,
        hubs::way_words,
        layout::Area,
        state::{LineKind, LineMode},
        view::{Left, Work},
    },
    base::text::{count, visible, width, wrap},
    model::{event::Level, member},
};

/// Rows of a notice that does not fit into the bottom line.
const NOTICE_ROWS_MAX: usize = 6;
/// What the bottom line says while scrollback is open.
const LOOKING_BACK: &str = "LOOKING BACK";

impl View<'_> {
    pub(super) fn header(&self, brush: &mut Brush<'_>) {
        let area = self.state.frame().header;
        let style = self.theme.style(Role::Header);
        brush.within(area).fill(style);
        let right = self.header_right(brush, area);
        let room = right.saturating_sub(area.x + 1).saturating_sub(3);
        let strong = self.theme.style(Role::Title).patch(background(style));
        let end = area.x + 1 + room;
        let mut at = brush.text(area.x + 1, area.y, room, "sandwatch", strong);
        for (index, crumb) in self.breadcrumb().iter().enumerate() {
            let sign = if index == 0 { " ─ " } else { " ▸ " };
            at = brush.text(at, area.y, end.saturating_sub(at), sign, style);
            at = brush.text(at, area.y, end.saturating_sub(at), crumb, style);
        }
        let (tab, tabs) = self.state.grid.position();
        if tabs > 1 {
            at = brush.text(at, area.y, end.saturating_sub(at), "  ", style);
            for number in 0..tabs {
                let text = if number == tab {
                    format!("[{}]", number + 1)
                } else {
                    format!(" {} ", number + 1)
                };
                let look = if number == tab { strong } else { style };
                at = brush.text(at, area.y, end.saturating_sub(at), &text, look);
            }
        }
    }

    fn breadcrumb(&self) -> Vec<String> {
        let state = self.state;
        let hub = state.hub_name(state.hub_here()).unwrap_or(&state.hub);
        let mut crumbs = vec![match state.role_of(state.hub_here()) {
            member::Role::Admin => visible(hub),
            // Who may not do everything there sees as what they are there.
            role => format!("{} ({})", visible(hub), role.word()),
        }];
        if state.is_first_run() {
            return crumbs;
        }
        if let Some(view) = state.view() {
            let row = view.sandbox().and_then(|it| state.fleet.get(it));
            crumbs.extend(row.map(|it| visible(&it.sandbox.name)));
            crumbs.push(match view {
                app::view::View::Snapshots(_) => "snapshots".to_owned(),
                app::view::View::Diff(_) => "what changed".to_owned(),
                app::view::View::Asks(_) => "asks".to_owned(),
                app::view::View::Gauges(_) => "gauges".to_owned(),
                app::view::View::Records(it) => it.of.title().to_lowercase(),
                app::view::View::Files(_) => "files".to_owned(),
                app::view::View::Timeline(_) => "timeline".to_owned(),
            });
            return crumbs;
        }
        let session = state.focused_session().and_then(|it| state.fleet.session(it));
        match (state.place, session) {
            (crate::app::state::Place::Panes, Some((row, session))) => {
                crumbs.push(visible(&session.name(&row.sandbox.name)));
                crumbs.push(program(&session.command));
            }
            _ => crumbs.extend(state.fleet.current().map(|it| visible(&it.sandbox.name))),
        }
        crumbs
    }

    /// Counts and the link, from the right; answers where they begin.
    fn header_right(&self, brush: &mut Brush<'_>, area: Area) -> u16 {
        let header = self.theme.style(Role::Header);
        let on_header = |role| self.theme.style(role).patch(background(header));
        let down = self.state.hubs.down();
        let (text, role) = match self.state.link_of(self.state.hub_here()) {
            // Of those that nobody is at, that some are away is worth more than how far this one is.
            Link::Up { .. } if self.state.hubs.are_many() && down > 0 => {
                (format!("{} down ", count(down, "hub")), Role::Error)
            }
            Link::Connecting => ("connecting ".to_owned(), Role::Warning),
            Link::Up(Some(trips)) => {
                let role = trips.silent_since.map_or(Role::Header, |_| Role::Warning);
                (format!("{} ", way_words(trips, self.state.now.since_start)), role)
            }
            Link::Up(None) => ("up ".to_owned(), Role::Header),
            Link::Down { since, .. } => {
                let down = self.state.now.since_start.saturating_sub(*since);
                (format!("NO HUB {} ", crate::base::units::human_duration(down)), Role::Error)
            }
        };
        let room = area.width / 2;
        let mut at = brush.text_right(area.x + area.width, area.y, room, &text, on_header(role));
        let tally = self.state.fleet.tally();
        let alive = [Mark::Working, Mark::Idle, Mark::Asks, Mark::Calls, Mark::Stuck];
        let calls = tally.of(Mark::Calls);
        let counts = [
            (alive.into_iter().map(|it| tally.of(it)).sum(), "running", Role::Header),
            (tally.of(Mark::Failed), "failed", Role::Failed),
            (tally.of(Mark::Stuck), "stuck", Role::Stuck),
            (calls, if calls == 1 { "call" } else { "calls" }, Role::Asks),
            (tally.asks, if tally.asks == 1 { "ask" } else { "asks" }, Role::Asks),
        ];
        let mut first = true;
        for (count, word, role) in counts {
            if count == 0 && word != "running" || at < area.x + area.width / 3 {
                continue;
            }
            let gap = if first { " ── " } else { " · " };
            at = brush.text_right(at, area.y, room, gap, header);
            at = brush.text_right(at, area.y, room, &format!("{count} {word}"), on_header(role));
            first = false;
        }
        at
    }

    /// The bottom line; answers the cursor when a line is being edited there.
    pub(super) fn bottom(&self, brush: &mut Brush<'_>) -> Option<Position> {
        let area = self.state.frame().hint;
        let style = self.theme.style(Role::Hint);
        brush.within(area).fill(style);
        if let Some(line) = &self.state.line {
            // What is wrong with it stands above it.
            if let Some(notice) = self.state.notices.showing().filter(|it| it.level == Level::Error)
            {
                self.tall_notice(brush, &notice.words(), level_role(notice.level));
            }
            return Some(self.line(brush, area, line));
        }
        let mode = format!(" {} ", self.state.mode());
        let mut at = brush.text(area.x, area.y, area.width, &mode, self.theme.style(Role::Mode));
        at += 1;
        let right = self.bottom_right(brush, area);
        let room = right.saturating_sub(at + 1);
        if let Some(lost) = &self.state.lost {
            let look = self.theme.style(Role::Warning).patch(background(style));
            let text = format!("keys go nowhere until you pause · {}", visible(&lost.why));
            brush.text(at, area.y, room, &text, look);
            return None;
        }
        if let Some(notice) = self.state.notices.showing() {
            let role = level_role(notice.level);
            let text = notice.words();
            // A program that is typed into keeps its last rows: there is where its cursor is.
            if width(&text) > usize::from(room) && !self.state.is_typing()
                // Nothing lies over an ask that is read.
                && self.state.shown_ask().is_none()
            {
                self.tall_notice(brush, &text, role);
            } else {
                let look = self.theme.style(role).patch(background(style));
                brush.text(at, area.y, room, &text, look);
                return None;
            }
        }
        let key_style = self.theme.style(Role::HintKey);
        for hint in self.state.hints_within(usize::from(room)) {
            at = brush.text(at, area.y, area.width, &hint.key, key_style);
            at = brush.text(at, area.y, area.width, &format!(" {}", hint.says), style) + 2;
        }
        None
    }

    /// A notice that the bottom line is too short for, whole, in rows above it.
    fn tall_notice(&self, brush: &mut Brush<'_>, text: &str, role: Role) {
        let area = self.state.frame().hint;
        let mut lines = wrap(text, usize::from(area.width.saturating_sub(2)));
        lines.truncate(NOTICE_ROWS_MAX);
        let rows = u16::try_from(lines.len()).unwrap_or(1).min(area.y);
        let strip = Area { y: area.y - rows, height: rows, ..area };
        brush.within(strip).fill(self.on_box(Role::Box));
        for (y, line) in (strip.y..area.y).zip(&lines) {
            brush.text(area.x + 1, y, area.width.saturating_sub(2), line, self.on_box(role));
        }
    }

    fn bottom_right(&self, brush: &mut Brush<'_>, area: Area) -> u16 {
        if let Some((_, work, waited)) = self.state.work() {
            return self.work(brush, area, work, waited);
        }
        let here = self.state.link_of(self.state.hub_here());
        let text = match &self.state.copy {
            _ if self.state.view().is_some() => match here {
                Link::Down { .. } => "OLD PICTURE ".to_owned(),
                _ => String::new(),
            },
            Some(copy) => looking_back(copy),
            None if self.state.is_first_run() => String::new(),
            // The way out is in sight whatever else is said here.
            None if self.state.is_typing() => format!("{} ", self.state.way_out()),
            None if matches!(here, Link::Down { .. }) => "OLD PICTURE ".to_owned(),
            None => match self.state.pane_of_selected() {
                Some(0) => "FOLLOWING ".to_owned(),
                Some(slot) => format!("IN PANE {} ", slot + 1),
                None => String::new(),
            },
        };
        let role = match (&self.state.copy, here) {
            (None, _) if self.state.is_typing() => Role::HintKey,
            (Some(_), _) | (None, Link::Down { .. }) => Role::Warning,
            (None, _) => Role::Hint,
        };
        let style = self.theme.style(role);
        let style = style.patch(background(self.theme.style(Role::Hint)));
        brush.text_right(area.x + area.width, area.y, area.width / 2, &text, style)
    }

    /// What is waited for, how long by now, and how not to.
    fn work(&self, brush: &mut Brush<'_>, area: Area, work: &Work, waited: Duration) -> u16 {
        let style = self.theme.style(Role::Warning);
        let style = style.patch(background(self.theme.style(Role::Hint)));
        let waited = crate::base::units::human_duration(waited);
        let most = area.width * 3 / 5;
        // The time and the way out are whole, whatever it is called.
        let way_out = match work.left {
            Left::Finished if self.state.esc_gives_up() => " · esc stops waiting".to_owned(),
            _ if self.state.is_typing() => format!(" · {}", self.state.way_out()),
            Left::Ended if self.state.searches() => " · esc stops it".to_owned(),
            Left::Finished | Left::Ended => String::new(),
        };
        let tail = format!(" {waited}{way_out} ");
        let tail_width = u16::try_from(width(&tail)).unwrap_or(most);
        let at = brush.text_right(area.x + area.width, area.y, most, &tail, style);
        let room = most.saturating_sub(tail_width);
        brush.text_right(at, area.y, room, &visible(&work.what), style)
    }

    fn line(&self, brush: &mut Brush<'_>, area: Area, mode: &LineMode) -> Position {
        let style = self.theme.style(Role::Input);
        brush.within(area).fill(style);
        let sign = match mode.kind {
            LineKind::Command => ":",
            LineKind::Filter { .. } | LineKind::Search | LineKind::Find => "/",
            LineKind::FileWords => "in files: ",
            LineKind::FileTo { .. } => "copy to: ",
            LineKind::SnapshotName(_) => "snapshot: ",
            LineKind::Nudge(_) => "send a line: ",
            LineKind::DenySay { .. } => "deny, and say: ",
        };
        let at = brush.text(
            area.x,
            area.y,
            15,
            sign,
            self.theme.style(Role::Accent).patch(background(style)),
        );
        let room = (area.x + area.width).saturating_sub(at + 1);
        // A long line shows the part around its cursor.
        let before = mode.editor.before();
        let skip = width(before).saturating_sub(usize::from(room).saturating_sub(1));
        let shown = skip_cells(mode.editor.text(), skip);
        let end = brush.text(at, area.y, room, shown, style);
        if mode.editor.text().is_empty() {
            let text = match mode.kind {
                LineKind::Filter { .. } => {
                    "words, status:failed, driver:local, label:team=web, !turned-around"
                }
                LineKind::Command => {
                    &format!("a command; {} completes", self.state.key_words(Action::LineComplete))
                }
                LineKind::Find => "a regular expression",
                LineKind::FileWords => "words in a line; capitals count where there are some",
                LineKind::FileTo { .. } => "a file or directory of yours",
                LineKind::Nudge(_) => &format!(
                    "what is typed into it; {} sends it, with enter behind it",
                    self.state.key_words(Action::LineAccept)
                ),
                LineKind::DenySay { .. } => &format!(
                    "what the agent is told, or nothing; {} denies",
                    self.state.key_words(Action::LineAccept)
                ),
                LineKind::SnapshotName(_) => &format!(
                    "a name for this moment, or none; {} keeps it",
                    self.state.key_words(Action::LineAccept)
                ),
                LineKind::Search => &format!(
                    "a regular expression; {} looks back from here",
                    self.state.key_words(Action::LineAccept)
                ),
            };
            brush.text(
                at,
                area.y,
                room,
                text,
                self.theme.style(Role::Placeholder).patch(background(style)),
            );
        } else if mode.kind == LineKind::Command && !mode.offers.is_empty() {
            let offers = mode.offers.join("  ");
            let dim = self.theme.style(Role::Placeholder).patch(background(style));
            let left = (area.x + area.width).saturating_sub(end + 3);
            brush.text(end + 3, area.y, left, &offers, dim);
        }
        let column = u16::try_from(width(before) - skip.min(width(before))).unwrap_or(0);
        Position::new((at + column).min(area.x + area.width - 1), area.y)
    }
}

/// How far back, and which match.
fn looking_back(copy: &Copy) -> String {
    let found = match copy.match_position() {
        Some((number, Some(total))) => format!("match {number} of {total} · "),
        Some((number, None)) => format!("match {number} · "),
        None => String::new(),
    };
    let far = match copy.lines_up() {
        _ if copy.detached => "far up".to_owned(),
        lines => format!("{} up", count(lines, "line")),
    };
    format!("{found}{LOOKING_BACK} {far} ")
}

/// Only the background of a style.
pub(super) fn background(style: ratatui::style::Style) -> ratatui::style::Style {
    ratatui::style::Style { bg: style.bg, ..ratatui::style::Style::new() }
}

pub(super) fn level_role(level: Level) -> Role {
    match level {
        Level::Info => Role::Accent,
        Level::Warning => Role::Warning,
        Level::Error => Role::Error,
    }
}

/// The program of a command, for people: the last part of its path.
pub(super) fn program(command: &[String]) -> String {
    let first = command.first().map_or("shell", String::as_str);
    visible(first.rsplit('/').next().unwrap_or(first))
}

/// A text cut to so many cells at its start: of a path the end tells most.
pub(super) fn clip_start(text: &str, cells: usize) -> String {
    match width(text).saturating_sub(cells) {
        0 => text.to_owned(),
        over => format!("…{}", skip_cells(text, over + 1)),
    }
}

/// A text without its first cells.
pub(super) fn skip_cells(text: &str, cells: usize) -> &str {
    use unicode_segmentation::UnicodeSegmentation;
    let mut used = 0;
    for (offset, cluster) in text.grapheme_indices(true) {
        if used >= cells {
            return text.get(offset..).unwrap_or("");
        }
        used += width(cluster);
    }
    if used >= cells && cells > 0 { "" } else { text }
}
