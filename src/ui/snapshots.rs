//! The place of snapshots: the tree, and what is known of the one under the cursor.

use super::{View, chrome::background, paint::Brush, theme::Role};
use crate::{
    app::{
        action::Action,
        diff::shown,
        layout::{Area, ViewArea},
        snapshots::{Row, Snapshots, Summary, Told, label},
        view::Pattern,
    },
    base::{
        text::{count, visible, width, wrap},
        units::human_bytes,
    },
    model::{
        change::{ChangeStatus, FileChange},
        snapshot::{Snapshot, SnapshotCause, SnapshotKind},
    },
};

/// Cells of a date with its time.
const TIME_CELLS: u16 = 19;

impl View<'_> {
    pub(super) fn snapshots(&self, brush: &mut Brush<'_>, it: &Snapshots, area: &ViewArea) {
        let (header, list) = area.list;
        let size: u64 = it.rows.iter().filter_map(|it| it.kept.as_ref()?.size_bytes).sum();
        let kept = match it.count() {
            0 if it.known => "none kept".to_owned(),
            0 => "—".to_owned(),
            many => format!("{many} kept · {}", human_bytes(size)),
        };
        let end = self.view_title(brush, header, true, "SNAPSHOTS", "");
        let dim = self.theme.style(Role::BorderFocus);
        let right = header.x + header.width;
        let room = right.saturating_sub(end + 2);
        let pattern = it.pattern.as_ref().map(|it| format!("/{} · ", visible(&it.text)));
        let text = format!(" {}{kept} ", pattern.unwrap_or_default());
        brush.text_right(right, header.y, room, &text, dim);
        let mut inside = brush.within(list);
        if let Some(text) = self.instead_of_snapshots(it) {
            for (y, line) in (list.y..list.y + list.height)
                .zip(wrap(&text, usize::from(list.width.saturating_sub(2))))
            {
                inside.text(list.x + 1, y, list.width, &line, self.theme.style(Role::Dim));
            }
        }
        // Where it did not answer last, what is there is older than it looks.
        let stale = it.wrong.is_some() || !self.state.is_up(it.sandbox.hub());
        let rows = it.rows.iter().enumerate().skip(it.cursor.top());
        for (y, (at, row)) in (list.y..list.y + list.height).zip(rows) {
            self.snapshot_row(&mut inside, y, row, at == it.cursor.at(), (stale, it));
        }
        self.snapshot_side(brush, it, area.side);
    }

    /// What is said where there is no row.
    fn instead_of_snapshots(&self, it: &Snapshots) -> Option<String> {
        match &it.wrong {
            Some(why) if it.rows.is_empty() => {
                let again = self.state.key_words(Action::Again);
                Some(format!("no list: {}; {again} asks again", visible(why)))
            }
            _ if !it.known => Some("asking the hub".to_owned()),
            _ if it.rows.is_empty() => Some("nothing is kept of it, and it is no more".to_owned()),
            _ => None,
        }
    }

    /// The bar over one half of a place; answers where its words end.
    pub(super) fn view_title(
        &self,
        brush: &mut Brush<'_>,
        header: Area,
        focused: bool,
        title: &str,
        words: &str,
    ) -> u16 {
        let role = if focused { Role::BorderFocus } else { Role::BorderTitle };
        let style = self.theme.style(role);
        self.bar(brush, header, role);
        let room = header.width.saturating_sub(1);
        let text =
            if words.is_empty() { format!(" {title} ") } else { format!(" {title}  {words} ") };
        brush.text(header.x, header.y, room, &text, style)
    }

    fn snapshot_row(
        &self,
        brush: &mut Brush<'_>,
        y: u16,
        row: &Row,
        here: bool,
        (stale, it): (bool, &Snapshots),
    ) {
        let area = brush.area();
        let look = |role| self.theme.style(if stale { Role::Stale } else { role });
        let (plain, dim) = (look(Role::Base), look(Role::Dim));
        let cursor = if here { ">" } else { " " };
        let mut at =
            brush.text(area.x, y, 2, cursor, self.theme.style(Role::Accent)).max(area.x + 2);
        let right = (area.x + area.width).saturating_sub(1);
        let tree = if row.tree.is_empty() { String::new() } else { format!("{} ", row.tree) };
        at = brush.text(at, y, right.saturating_sub(at), &tree, self.theme.style(Role::Border));
        match &row.kept {
            None => {
                let asked = matches!(it.told(row), Some(Told::Known(told)) if told.files > 0);
                let text = if asked { "now, changed since" } else { "now" };
                brush.text(at, y, right.saturating_sub(at), text, look(Role::Accent));
            }
            Some(kept) => {
                let by_hand = kept.cause == SnapshotCause::Asked;
                let mut end = right;
                end = brush
                    .text_right(end, y, 8, kept.cause.word(), dim)
                    .min(right.saturating_sub(8));
                let size = kept.size_bytes.map_or_else(|| "—".to_owned(), human_bytes);
                end = brush.text_right(end - 1, y, 7, &size, dim).min(right.saturating_sub(16));
                let time = self.state.zone.date_time(kept.created_at);
                end = brush.text_right(end - 1, y, TIME_CELLS, &time, dim).min(right);
                let name = if row.of_another {
                    format!("{} of {}", visible(&label(kept)), visible(&kept.sandbox_name))
                } else {
                    visible(&label(kept))
                };
                let style = if by_hand && !row.of_another { plain } else { dim };
                let room = end.saturating_sub(at + 1);
                self.with_matches(brush, (at, y, room), &name, style, it.pattern.as_ref());
            }
        }
        if here {
            let style = ratatui::style::Style { fg: None, ..self.theme.style(Role::Selection) };
            brush.style(Area::new(area.x, y, area.width, 1), style);
        }
    }

    /// Text with what was looked for set off.
    pub(super) fn with_matches(
        &self,
        brush: &mut Brush<'_>,
        (x, y, room): (u16, u16, u16),
        text: &str,
        style: ratatui::style::Style,
        pattern: Option<&Pattern>,
    ) {
        brush.text(x, y, room, text, style);
        let Some(pattern) = pattern else { return };
        for (from, to) in pattern.places(text) {
            let cells = |end: usize| {
                let cells = text.get(..end).map_or(0, width);
                u16::try_from(cells).unwrap_or(u16::MAX).min(room)
            };
            let (from, to) = (cells(from), cells(to));
            let part = Area::new(x + from, y, to - from, 1);
            brush.style(part, self.theme.style(Role::Match));
        }
    }

    /// What is known of the row under the cursor.
    fn snapshot_side(&self, brush: &mut Brush<'_>, it: &Snapshots, (header, body): (Area, Area)) {
        if header.is_empty() {
            return;
        }
        let Some(row) = it.current() else {
            self.bar(brush, header, Role::BorderTitle);
            return;
        };
        let title = row.kept.as_ref().map_or_else(|| "now".to_owned(), |it| visible(&label(it)));
        self.view_title(brush, header, false, &title, "");
        let mut brush = brush.within(body);
        let mut rows = body.y..body.y + body.height;
        let room = body.width.saturating_sub(2);
        for (text, role) in self.about_row(it, row) {
            for line in wrap(&text, usize::from(room)) {
                let Some(y) = rows.next() else { return };
                brush.text(body.x + 1, y, room, &line, self.theme.style(role));
            }
        }
        let Some(Told::Known(told)) = it.told(row) else { return };
        for change in &told.first {
            let Some(y) = rows.next() else { return };
            self.change_row(&mut brush, (body.x + 1, y, room), change);
        }
    }

    fn about_row(&self, it: &Snapshots, row: &Row) -> Vec<(String, Role)> {
        let mut lines = Vec::new();
        if let Some(why) = &it.wrong {
            let again = self.state.key_words(Action::Again);
            lines.push((format!("old list: {}; {again} asks again", visible(why)), Role::Warning));
        }
        if let Some(kept) = &row.kept {
            lines.push((about(kept), Role::Dim));
            for note in &kept.notes {
                lines.push((visible(note), Role::Warning));
            }
        } else if it.count() == 0 {
            let key = self.state.key_words(Action::Snapshot);
            lines.push((
                format!("{key} keeps this moment, to go back to it or to branch from it"),
                Role::Dim,
            ));
        }
        let before = match &row.before {
            // Of a fork, too: what apply would write.
            None => "against the real directory".to_owned(),
            Some(before) => {
                let found = it.rows.iter().filter_map(|it| it.kept.as_ref());
                let found = found.into_iter().find(|it| it.id == *before);
                format!("since {}", found.map_or_else(String::new, |it| visible(&label(it))))
            }
        };
        let told = match it.told(row) {
            None | Some(Told::Asked) => ("looking for what changed".to_owned(), Role::Dim),
            Some(Told::Not(why)) => {
                (format!("what changed is not known: {}", visible(why)), Role::Warning)
            }
            Some(Told::Known(told)) => (told_words(told, &before), Role::Base),
        };
        lines.push(told);
        if it.left_out > 0 {
            let text = format!("{} are not listed", count(it.left_out, "older one"));
            lines.push((text, Role::Dim));
        }
        lines
    }

    /// One changed path: its mark, its lines, its name.
    pub(super) fn change_row(
        &self,
        brush: &mut Brush<'_>,
        (x, y, room): (u16, u16, u16),
        change: &FileChange,
    ) {
        let (mark, role) = change_mark(change.status);
        let end = x + room;
        let at = brush.text(x, y, 2, &format!("{mark} "), self.theme.style(role));
        let from = self.line_counts(brush, (at, y, end), change);
        brush.text(
            at,
            y,
            from.saturating_sub(at + 1),
            &shown(&change.path),
            self.theme.style(Role::Base),
        );
    }

    /// Lines added and removed, at the right end; answers where they begin.
    pub(super) fn line_counts(
        &self,
        brush: &mut Brush<'_>,
        (x, y, end): (u16, u16, u16),
        change: &FileChange,
    ) -> u16 {
        let Some(lines) = change.lines else { return end };
        let room = end.saturating_sub(x) / 2;
        let mut at = end;
        if lines.removed > 0 {
            let text = format!("-{}", lines.removed);
            at = brush.text_right(at, y, room, &text, self.theme.style(Role::Removed));
        }
        if lines.added > 0 {
            let end = if at < end { at.saturating_sub(1) } else { at };
            let text = format!("+{}", lines.added);
            at = brush.text_right(end, y, room, &text, self.theme.style(Role::Added));
        }
        at
    }

    /// The background of a bar, for words of another role on it.
    pub(super) fn on_bar(&self, role: Role, focused: bool) -> ratatui::style::Style {
        let bar = if focused { Role::BorderFocus } else { Role::BorderTitle };
        self.theme.style(role).patch(background(self.theme.style(bar)))
    }
}

/// A mark that differs in shape, and its colour.
pub(super) fn change_mark(status: ChangeStatus) -> (char, Role) {
    match status {
        ChangeStatus::Added => ('+', Role::Added),
        ChangeStatus::Modified => ('~', Role::Warning),
        ChangeStatus::Deleted => ('-', Role::Removed),
        ChangeStatus::Renamed => ('r', Role::Accent),
    }
}

fn about(it: &Snapshot) -> String {
    let cause = match it.cause {
        SnapshotCause::Asked => "asked for",
        SnapshotCause::Restore => "kept before it was restored",
        SnapshotCause::Fork => "kept when it was forked",
        SnapshotCause::Timer => "taken by time",
    };
    let what = match it.kind {
        SnapshotKind::Filesystem => "files",
        SnapshotKind::Memory => "files and running programs",
    };
    format!("{} · {cause} · {what}", it.id.as_str())
}

fn told_words(told: &Summary, since: &str) -> String {
    if told.files == 0 {
        return format!("nothing changed {since}");
    }
    let more = if told.more { "more than " } else { "" };
    let files = count(told.files, "path");
    format!("{since}: {more}{files} changed, +{} -{}", told.added, told.removed)
}
