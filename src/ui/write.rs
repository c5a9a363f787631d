//! The box in which a rule, or what is allowed in place of what was asked for, is written.

use ratatui::layout::Position;

use super::{View, asks::tone_role, paint::Brush, theme::Role};
use crate::{
    app::{
        action::Action,
        layout::Area,
        write::{Room, WriteBox, Writing},
    },
    base::text::{count, visible},
};

impl View<'_> {
    /// Draws it; says where the cursor is, if that row is on screen.
    pub(super) fn write_box(&self, brush: &mut Brush<'_>, it: &WriteBox) -> Option<Position> {
        let room = Room::of(self.state.size);
        let lines = it.rows(room.cells);
        let columns = u16::try_from(room.cells + 4).unwrap_or(u16::MAX);
        let height = u16::try_from(lines.len().min(room.rows)).unwrap_or(4) + 3;
        let inside = self.boxed(brush, columns, height, it.title());
        let mut brush = brush.within(inside);
        let last = (inside.y + inside.height).saturating_sub(1);
        for (y, line) in (inside.y..last).zip(lines.iter().skip(it.top)) {
            let role = if line.edited { Role::Input } else { tone_role(line.tone) };
            if line.edited {
                brush.style(Area::new(inside.x, y, inside.width, 1), self.on_box(role));
            }
            brush.text(inside.x, y, inside.width, &line.text, self.on_box(role));
        }
        let (text, role) = self.write_foot(it, lines.len(), room);
        brush.text(inside.x, last, inside.width, &text, self.on_box(role));
        let (row, cell) = it.cursor(room.cells);
        let row = row.checked_sub(it.top).filter(|it| *it < room.rows)?;
        let x = inside.x + u16::try_from(cell).unwrap_or(0).min(inside.width.saturating_sub(1));
        let y = inside.y + u16::try_from(row).unwrap_or(0);
        Some(Position::new(x, y.min(last)))
    }

    /// What keys do, or why they do nothing yet.
    fn write_foot(&self, it: &WriteBox, lines: usize, room: Room) -> (String, Role) {
        if let Some(why) = &it.wrong {
            return (visible(why), Role::Error);
        }
        let unread = it.gate.unseen().filter(|_| it.proposal().is_some() && lines > room.rows);
        if let Some(row) = unread {
            let left = count(lines.saturating_sub(row.max(it.top + room.rows)), "row");
            let text =
                self.keys(&[(Action::LineDown, "goes on"), (Action::LineCancel, "leaves it")]);
            return (format!("{left} not read yet · {text}"), Role::Warning);
        }
        let does = match (&it.what, it.proposal().is_some()) {
            (_, false) => "looks at it",
            (Writing::New { .. }, true) => "makes it",
            (Writing::Rule { .. }, true) => "makes it and allows",
            (Writing::Edit { .. }, true) => "allows that",
        };
        let keys = self.keys(&[(Action::LineAccept, does), (Action::LineCancel, "leaves it")]);
        match lines.saturating_sub(it.top + room.rows) {
            0 => (keys, Role::Dim),
            below => (format!("{keys} · {} below", count(below, "row")), Role::Dim),
        }
    }
}
