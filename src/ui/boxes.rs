//! Boxes that tell: help, palette, notices, a sandbox described, the doctor, what may follow.

use ratatui::layout::Position;

use super::{
    View,
    chrome::level_role,
    fleet::mark_role,
    paint::{Brush, framed},
    theme::Role,
};
use crate::{
    app::{
        action::Scope,
        dialog::workspace_words,
        fleet::Row,
        help::{Help, HelpLine},
        layout::Area,
        palette::Palette,
    },
    base::{
        id::{HubNumber, SandboxId},
        text::{visible, width, wrap},
        units::human_bytes,
    },
    model::{
        capability::Capabilities,
        check::{Check, CheckStatus},
        sandbox::Egress,
        session::Status,
    },
};

impl View<'_> {
    fn large(&self, brush: &mut Brush<'_>, title: &str) -> Area {
        let whole = brush.area();
        self.boxed(brush, 110, whole.height.saturating_sub(4), title)
    }

    /// The line that narrows a box; answers the cursor and what is below.
    fn search_line(
        &self,
        brush: &mut Brush<'_>,
        inside: Area,
        editor: &crate::app::line::Editor,
        placeholder: &str,
    ) -> (Option<Position>, Area) {
        let (line, rest) = inside.split_top(1);
        let style = self.on_box(Role::Input);
        brush.style(line, style);
        brush.text(line.x, line.y, line.width, editor.text(), style);
        if editor.text().is_empty() {
            let dim = self.theme.style(Role::Placeholder).patch(super::chrome::background(style));
            brush.text(line.x, line.y, line.width, placeholder, dim);
        }
        let column = u16::try_from(width(editor.before())).unwrap_or(0);
        let at = Position::new(line.x + column.min(line.width.saturating_sub(1)), line.y);
        (Some(at), rest)
    }

    pub(super) fn help(&self, brush: &mut Brush<'_>, help: &Help) -> Option<Position> {
        let inside = self.large(brush, &format!("Help — keymap {}", self.state.keymap.name));
        let (cursor, rest) = self.search_line(brush, inside, &help.line, "type to narrow");
        let mut brush = brush.within(rest);
        let lines = help.lines_here(self.state);
        let mut y = rest.y;
        for line in lines.iter().skip(help.top) {
            if y >= rest.y + rest.height {
                break;
            }
            match line {
                HelpLine::Scope(title) => {
                    brush.text(rest.x, y, rest.width, title, self.on_box(Role::Title));
                    y += 1;
                }
                HelpLine::Marks(text) => {
                    brush.text(rest.x + 1, y, rest.width - 1, text, self.on_box(Role::Box));
                    y += 1;
                }
                HelpLine::Action { keys, title, help } => {
                    let keys_width = (rest.width / 3).min(34);
                    let x = rest.x + keys_width + 1;
                    let columns = [
                        (rest.x + 1, keys_width - 1, keys, Role::Accent),
                        (x, 20, title, Role::Box),
                        (x + 21, (rest.x + rest.width).saturating_sub(x + 21), help, Role::Dim),
                    ];
                    // What is longer than its column goes on below.
                    let mut rows = 1;
                    for (x, room, text, role) in columns {
                        let wrapped = wrap(text, usize::from(room));
                        rows = rows.max(u16::try_from(wrapped.len()).unwrap_or(1));
                        for (y, line) in (y..rest.y + rest.height).zip(&wrapped) {
                            brush.text(x, y, room, line, self.on_box(role));
                        }
                    }
                    y = y.saturating_add(rows);
                }
            }
        }
        cursor
    }

    pub(super) fn palette(&self, brush: &mut Brush<'_>, palette: &Palette) -> Option<Position> {
        let rows = brush.area().height.saturating_sub(6).min(18);
        let inside = self.boxed(brush, 72, rows, "Palette");
        let (cursor, rest) = self.search_line(brush, inside, &palette.line, "an action");
        let mut brush = brush.within(rest);
        let matches = palette.matches();
        let top = palette.selected.saturating_sub(usize::from(rest.height).saturating_sub(1));
        let shown = matches.iter().enumerate().skip(top);
        for (y, (index, action)) in (rest.y..rest.y + rest.height).zip(shown) {
            let spec = action.spec();
            let here = index == palette.selected;
            let style = self.on_box(if here { Role::Selection } else { Role::Box });
            if here {
                brush.style(Area::new(rest.x, y, rest.width, 1), style);
            }
            brush.text(rest.x, y, 22, spec.title, style);
            let keys = self.state.keymap.own_keys_of(*action);
            let command = || spec.command.map(|(name, _)| format!(":{name}"));
            let keys = &keys.into_iter().next().or_else(command).unwrap_or_default();
            let look = if here { style } else { self.on_box(Role::Accent) };
            let end = brush.text_right(rest.x + rest.width, y, 14, keys, look);
            let room = end.saturating_sub(rest.x + 24);
            let look = if here { style } else { self.on_box(Role::Dim) };
            let help = match self.state.lacks(*action) {
                Some(lacks) => format!("takes {}", lacks.least.said()),
                None => spec.help.to_owned(),
            };
            brush.text(rest.x + 23, y, room, &help, look);
        }
        if matches.is_empty() {
            brush.text(rest.x, rest.y, rest.width, "no such action", self.on_box(Role::Dim));
        }
        cursor
    }

    pub(super) fn notices(&self, brush: &mut Brush<'_>, top: usize) -> Option<Position> {
        let inside = self.large(brush, "Notices");
        let mut brush = brush.within(inside);
        let room = inside.width.saturating_sub(10);
        let shown = self.state.notices.all().skip(top);
        let mut rows = inside.y..inside.y + inside.height;
        'entries: for entry in shown {
            let at = self.state.zone.time(entry.at);
            let mut time = at.as_str();
            for line in wrap(&entry.words(), usize::from(room)) {
                let Some(y) = rows.next() else { break 'entries };
                brush.text(inside.x, y, 9, time, self.on_box(Role::Dim));
                brush.text(inside.x + 10, y, room, &line, self.on_box(level_role(entry.level)));
                time = "";
            }
        }
        if self.state.notices.is_empty() {
            let text = "nothing was said yet";
            brush.text(inside.x, inside.y, inside.width, text, self.on_box(Role::Dim));
        }
        None
    }

    pub(super) fn doctor(
        &self,
        brush: &mut Brush<'_>,
        hub: HubNumber,
        checks: Option<&[Check]>,
        top: usize,
    ) -> Option<Position> {
        let title = match self.state.hub_name(hub) {
            Some(name) => format!("Doctor — what works on the machine of {}", visible(name)),
            None => "Doctor — what works on the hub's machine".to_owned(),
        };
        let inside = self.large(brush, &title);
        let mut brush = brush.within(inside);
        let Some(checks) = checks else {
            let text = "asking the hub";
            brush.text(inside.x, inside.y, inside.width, text, self.on_box(Role::Dim));
            return None;
        };
        let lines = checks.iter().flat_map(|it| {
            let role = match it.status {
                CheckStatus::Ok => Role::Ok,
                CheckStatus::Degraded => Role::Warning,
                CheckStatus::Missing => Role::Error,
            };
            let first = format!("{:<9} {:<26} {}", it.status.word(), it.check, it.detail);
            let fix = it.fix.as_ref().map(|fix| (format!("{:<9} {fix}", ""), Role::Dim));
            std::iter::once((first, role)).chain(fix)
        });
        let lines = lines.skip(top).flat_map(|(text, role)| {
            let lines = wrap(&visible(&text), usize::from(inside.width));
            lines.into_iter().map(move |it| (it, role))
        });
        for (y, (text, role)) in (inside.y..inside.y + inside.height).zip(lines) {
            brush.text(inside.x, y, inside.width, &text, self.on_box(role));
        }
        None
    }

    pub(super) fn info(
        &self,
        brush: &mut Brush<'_>,
        sandbox: &SandboxId,
        top: usize,
    ) -> Option<Position> {
        let Some(row) = self.state.fleet.get(sandbox) else {
            let inside = self.boxed(brush, 50, 3, "Gone");
            let text = "this sandbox is no more";
            brush.text(inside.x, inside.y, inside.width, text, self.on_box(Role::Dim));
            return None;
        };
        let inside = self.large(brush, &visible(&row.sandbox.name));
        let mut brush = brush.within(inside);
        let room = inside.width.saturating_sub(13);
        let mut rows = inside.y..inside.y + inside.height;
        'lines: for (mut label, text, role) in self.info_lines(row).into_iter().skip(top) {
            for text in wrap(&visible(&text), usize::from(room)) {
                let Some(y) = rows.next() else { break 'lines };
                brush.text(inside.x, y, 12, label, self.on_box(Role::Dim));
                brush.text(inside.x + 13, y, room, &text, self.on_box(role));
                label = "";
            }
        }
        None
    }

    fn info_lines(&self, row: &Row) -> Vec<(&'static str, String, Role)> {
        let it = &row.sandbox;
        let dash = || "—".to_owned();
        let raw = it.raw_state.as_deref().map(|raw| format!(" ({raw})")).unwrap_or_default();
        let limits = &it.limits;
        let memory = limits.memory_bytes.map_or_else(dash, human_bytes);
        let cpus = limits.cpus.map_or_else(dash, |it| it.to_string());
        let pids = limits.pids.map_or_else(dash, |it| it.to_string());
        let network = match it.egress {
            Egress::Ask if !it.capabilities.egress_ask => "ask: acts as deny here".to_owned(),
            egress => egress.means().to_owned(),
        };
        let mut lines = vec![
            ("id", it.id.to_string(), Role::Box),
            ("state", format!("{}{raw}", it.state.word()), mark_role(row.mark())),
            ("driver", it.driver.clone(), Role::Box),
            ("isolation", it.isolation.map_or_else(dash, |it| it.word().to_owned()), Role::Box),
            ("workspace", it.workspace.path.to_string_lossy().into_owned(), Role::Box),
            ("", workspace_words(it.workspace.mode).to_owned(), Role::Dim),
            ("network", network, Role::Box),
            ("limits", format!("cpus {cpus} · memory {memory} · processes {pids}"), Role::Box),
            ("created", self.state.zone.date_time(it.created_at), Role::Box),
        ];
        if !it.asks.is_empty() {
            lines.push(("asks", it.asks.len().to_string(), Role::Warning));
        }
        for (name, value) in &it.labels {
            lines.push(("label", format!("{name}={value}"), Role::Box));
        }
        for note in &it.notes {
            lines.push(("note", note.clone(), Role::Warning));
        }
        for session in &it.sessions {
            let role = if session.asks_elsewhere() { Role::Warning } else { Role::Box };
            lines.extend(session.asking_note(&it.name).map(|note| ("note", note, role)));
        }
        for session in &it.sessions {
            let mark = row.mark_of(session);
            let pid = session.pid.map_or_else(dash, |it| it.to_string());
            let shell = session.command.is_empty();
            let command = if shell { "shell".to_owned() } else { session.command.join(" ") };
            let text = format!("{} {} · {command} · pid {pid}", mark.sign(), word(session.status));
            lines.push(("session", text, mark_role(mark)));
            let since = session.status_since.map(|it| self.state.zone.time(it));
            let since = since.map(|it| format!(", since {it}")).unwrap_or_default();
            lines.push(("", format!("because: {}{since}", session.status_why), Role::Dim));
        }
        let missing = it.capabilities.words().into_iter().zip(Capabilities::MEANINGS);
        let missing = missing.filter(|((_, on), _)| !on);
        for (label, ((word, _), (_, meaning))) in
            std::iter::once("lacks").chain(std::iter::repeat("")).zip(missing)
        {
            let meaning = meaning.trim().trim_end_matches('.');
            lines.push((label, format!("{word} ({meaning})"), Role::Dim));
        }
        lines
    }

    pub(super) fn which_key(&self, brush: &mut Brush<'_>) {
        let state = self.state;
        let scope = state.typed_scope;
        let typed = state.typed.get(usize::from(scope == Scope::Prefix)..).unwrap_or_default();
        let mut items: Vec<(String, String)> = state
            .keymap
            .following(scope, typed)
            .into_iter()
            .map(|(keys, bound)| (keys, bound.title().to_lowercase()))
            .collect();
        // One row per deed, with all its keys.
        items.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
        let mut rows: Vec<(String, String)> = Vec::new();
        for (keys, says) in items {
            match rows.last_mut() {
                Some((all, last)) if *last == says => *all = format!("{all} {keys}"),
                _ => rows.push((keys, says)),
            }
        }
        let whole = brush.area();
        let columns = (whole.width.saturating_sub(4) / 34).max(1);
        let count = u16::try_from(rows.len()).unwrap_or(1).max(1);
        let lines = count.div_ceil(columns).min(whole.height.saturating_sub(4));
        let height = lines + 2;
        let y = (whole.y + whole.height).saturating_sub(height + 1);
        let width = (columns * 34 + 4).min(whole.width);
        let area = Area::new(whole.x + (whole.width - width) / 2, y, width, height);
        let chords: Vec<String> = state.typed.iter().map(ToString::to_string).collect();
        let style = self.theme.style(Role::Base).patch(self.theme.style(Role::Box));
        let border = self.theme.style(Role::BoxBorder);
        let inside = framed(brush, area, &chords.join(" "), border, style);
        let mut brush = brush.within(inside);
        for (index, (keys, says)) in (0_u16..).zip(&rows) {
            let (column, line) = (index / lines.max(1), index % lines.max(1));
            let x = inside.x + column * 34;
            let y = inside.y + line;
            brush.text(x, y, 14, keys, self.on_box(Role::Accent));
            brush.text(x + 15, y, 18, says, self.on_box(Role::Box));
        }
    }
}

/// A dash where nothing is known.
fn word(status: Status) -> &'static str {
    if status == Status::Unknown { "—" } else { status.word() }
}
