//! The box in which a rule, or what is allowed in place of what was asked for, is written.

use ratatui::layout::Position;

use super::{View, asks::tone_role, paint::Brush, theme::Role};
use crate::{
    app::{
        action::Action,
        ask::{fold, scope_words},
        layout::Area,
        write::{WriteBox, Writing},
    },
    base::text::{count, visible, width, wrap},
};

impl View<'_> {
    pub(super) fn write_box(&self, brush: &mut Brush<'_>, it: &WriteBox) -> Position {
        let whole = brush.area();
        let columns = whole.width.saturating_sub(4).min(100);
        let room = usize::from(columns.saturating_sub(4)).max(10);
        let text = rows(it.editor.text(), room);
        let mut lines: Vec<(String, Role)> = Vec::new();
        if let Some(ask) = it.ask() {
            let request = &ask.asked.request;
            let asked = format!(
                "{} of {}: {}",
                request.kind.word(),
                visible(&ask.sandbox_name),
                visible(&request.subject)
            );
            lines.extend(fold(&asked, room).into_iter().take(2).map(|it| (it.0, Role::Dim)));
        }
        let most = usize::from(whole.height.saturating_sub(6)).max(4);
        let shown = text.len().min(most.saturating_sub(lines.len() + 3).max(1));
        let from = text.len() - shown;
        let above = lines.len();
        lines.extend(text.iter().skip(from).map(|it| (it.clone(), Role::Input)));
        if let Writing::Rule { choice, .. } = &it.what {
            lines.push((scope_words(choice.answer.scope).to_owned(), Role::Dim));
        }
        for (text, tone) in it.says() {
            lines.extend(wrap(&text, room).into_iter().map(|it| (it, tone_role(tone))));
        }
        if lines.len() > most {
            let more = count(lines.len() + 1 - most, "more row");
            lines.truncate(most - 1);
            lines.push((format!("… and {more}"), Role::Warning));
        }
        let height = u16::try_from(lines.len()).unwrap_or(4) + 3;
        let inside = self.boxed(brush, columns, height, it.title());
        let mut brush = brush.within(inside);
        let last = (inside.y + inside.height).saturating_sub(1);
        for (y, (text, role)) in (inside.y..last).zip(&lines) {
            if *role == Role::Input {
                brush.style(Area::new(inside.x, y, inside.width, 1), self.on_box(*role));
            }
            brush.text(inside.x, y, inside.width, text, self.on_box(*role));
        }
        let does = match (&it.what, it.proposal().is_some()) {
            (_, false) => "looks at it",
            (Writing::New, true) => "makes it",
            (Writing::Rule { .. }, true) => "makes it and allows",
            (Writing::Edit { .. }, true) => "allows that",
        };
        let (text, role) = match &it.wrong {
            Some(why) => (visible(why), Role::Error),
            None => {
                let keys = [(Action::LineAccept, does), (Action::LineCancel, "leaves it")];
                (self.keys(&keys), Role::Dim)
            }
        };
        brush.text(inside.x, last, inside.width, &text, self.on_box(role));
        // Where the cursor is in the rows of the text.
        let before = rows(it.editor.before(), room);
        let row = before.len().saturating_sub(1).saturating_sub(from) + above;
        let column = before.last().map_or(0, |it| width(it));
        let x = inside.x + u16::try_from(column).unwrap_or(0).min(inside.width.saturating_sub(1));
        let y = inside.y + u16::try_from(row).unwrap_or(0);
        Position::new(x, y.min(last))
    }
}

/// A line in rows; what is typed next to a full one begins another.
fn rows(text: &str, room: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for it in text.chars() {
        let wide = width(it.encode_utf8(&mut [0; 4]));
        if used + wide > room {
            rows.push(String::new());
            used = 0;
        }
        if let Some(row) = rows.last_mut() {
            row.push(it);
        }
        used += wide;
    }
    if used >= room {
        rows.push(String::new());
    }
    rows
}
