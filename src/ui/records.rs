//! Lists of rules, of what went out, and of the audit record; and all of one row.

use super::{View, asks::tone_role, paint::Brush, theme::Role};
use crate::{
    app::{
        action::Action,
        ask::{LABEL_CELLS, Line},
        layout::{Area, ViewArea},
        records::{Of, Record, Records, lines},
    },
    base::text::{clip, count, visible, wrap},
};
use ratatui::style::Style;

/// How many rows there are, and which of them show, unless all do.
fn position(it: &Records, height: u16) -> String {
    let (listed, all) = it.counts();
    let rows = usize::from(height).saturating_sub(1 + it.head_rows(height));
    super::shown_of(it.cursor.top(), rows, listed).unwrap_or_else(|| all.to_string())
}

impl View<'_> {
    /// What it is, and whose where there is more than one hub.
    fn records_title(&self, it: &Records) -> String {
        match self.state.hub_name(it.hub).filter(|_| matches!(it.of, Of::Rules | Of::Audit)) {
            Some(name) => format!("{} OF {}", it.of.title(), visible(name)),
            None => it.of.title().to_owned(),
        }
    }

    pub(super) fn records(&self, brush: &mut Brush<'_>, it: &Records, area: &ViewArea) {
        let focused = self.state.overlay.is_none();
        if let Some(open) = &it.open {
            let (header, body) = area.side;
            self.view_title(brush, header, focused, &self.records_title(it), "");
            let below = open.page.below(usize::from(body.height));
            if below > 0 {
                let text = format!(" {} below ", count(below, "row"));
                let style = self.theme.style(Role::BorderFocus);
                brush.text_right(header.x + header.width, header.y, header.width / 2, &text, style);
            }
            return self.record_whole(&mut brush.within(body), &open.page.lines, open.page.top);
        }
        let (header, list) = area.list;
        let end = self.view_title(brush, header, focused, &self.records_title(it), "");
        let right = header.x + header.width;
        let (listed, all) = it.counts();
        let text = match &it.pattern {
            Some(pattern) => format!(" /{} · {listed} of {all} ", visible(&pattern.text)),
            None if it.known => format!(" {} ", position(it, list.height)),
            None => String::new(),
        };
        let style = self.theme.style(Role::BorderFocus);
        brush.text_right(right, header.y, right.saturating_sub(end + 1), &text, style);
        let mut inside = brush.within(list);
        let mut y = list.y;
        for (text, tone) in it.head.iter().take(it.head_rows(list.height)) {
            inside.text(list.x + 1, y, list.width, text, self.theme.style(tone_role(*tone)));
            y += 1;
        }
        let dim = self.theme.style(Role::Dim);
        if let Some(text) = self.instead_of_records(it) {
            for line in wrap(&text, usize::from(list.width.saturating_sub(2))) {
                inside.text(list.x + 1, y, list.width, &line, dim);
                y += 1;
            }
        }
        if all > 0 {
            let headings: Vec<_> =
                it.of.columns().iter().map(|(name, _)| ((*name).to_owned(), dim)).collect();
            self.record_row(&mut inside, y, it, &headings, false);
            y += 1;
        }
        for (at, row) in it.listed(it.cursor.top()) {
            if y >= list.y + list.height {
                break;
            }
            let cells = row.cells.iter();
            let cells: Vec<_> =
                cells.map(|it| (it.0.clone(), self.theme.style(tone_role(it.1)))).collect();
            self.record_row(&mut inside, y, it, &cells, at == it.cursor.at());
            y += 1;
        }
        self.record_side(brush, it.current(), area.side);
    }

    fn instead_of_records(&self, it: &Records) -> Option<String> {
        let (listed, all) = it.counts();
        match &it.wrong {
            Some(why) => {
                let again = self.state.key_words(Action::Again);
                Some(format!("not known: {}; {again} asks again", visible(why)))
            }
            None if !it.known => Some("asking the hub".to_owned()),
            None if all == 0 => Some(it.of.when_empty().to_owned()),
            None if listed == 0 => Some("nothing here has that in it".to_owned()),
            None => None,
        }
    }

    fn record_row(
        &self,
        brush: &mut Brush<'_>,
        y: u16,
        it: &Records,
        cells: &[(String, Style)],
        here: bool,
    ) {
        let area = brush.area();
        let cursor = if here { ">" } else { " " };
        brush.text(area.x, y, 1, cursor, self.theme.style(Role::Accent));
        let mut x = area.x + 2;
        let right = area.x + area.width;
        for ((text, style), (_, wide)) in cells.iter().zip(it.of.columns()) {
            let room = match wide {
                0 => right.saturating_sub(x + 1),
                // What is narrow shows the first letters of all.
                wide => (*wide).min(area.width / 4).max(3),
            };
            brush.text(x, y, room, &clip(text, usize::from(room)), *style);
            x += room + 1;
        }
        if here {
            let style = Style { fg: None, ..self.theme.style(Role::Selection) };
            brush.style(Area::new(area.x, y, area.width, 1), style);
        }
    }

    /// The row under the cursor, as far as there is room.
    fn record_side(
        &self,
        brush: &mut Brush<'_>,
        row: Option<&Record>,
        (header, body): (Area, Area),
    ) {
        if header.is_empty() {
            return;
        }
        self.bar(brush, header, Role::BorderTitle);
        let Some(row) = row else { return };
        self.record_whole(&mut brush.within(body), &lines(row, body.width), 0);
    }

    fn record_whole(&self, brush: &mut Brush<'_>, lines: &[Line], top: usize) {
        let area = brush.area();
        let labels = self.theme.style(Role::Dim);
        let rows = area.y..area.y + area.height;
        for (y, line) in rows.zip(lines.iter().skip(top)) {
            let x = area.x + 1;
            brush.text(x, y, LABEL_CELLS - 1, &line.label, labels);
            let style = self.theme.style(tone_role(line.tone));
            brush.text(x + LABEL_CELLS, y, area.width, &line.text, style);
        }
    }
}
