//! Boxes that ask: a new sandbox, what will be lost, taking a keyboard over.

use ratatui::layout::Position;

use super::{
    View,
    chrome::{background, clip_start},
    paint::{Brush, framed},
    theme::Role,
};
use crate::{
    app::{
        action::Action,
        dialog::{Confirm, NewDialog, Says, TAKE_OVER_KEY},
        layout::Area,
    },
    base::{
        id::SessionId,
        text::{visible, width, wrap},
    },
};

/// With fewer rows a box that asks may take them all.
const ROWS_FOR_AROUND: u16 = 20;

impl View<'_> {
    pub(super) fn boxed(
        &self,
        brush: &mut Brush<'_>,
        columns: u16,
        rows: u16,
        title: &str,
    ) -> Area {
        let whole = brush.area();
        let area = whole.centred(columns.min(whole.width.saturating_sub(4)), rows);
        if area.height + 2 > whole.height {
            // It lies over the lines at the top and the bottom, of which nothing may stick out.
            brush.fill(self.theme.style(Role::Base));
        }
        let border = self.theme.style(Role::BoxBorder);
        framed(
            brush,
            area,
            title,
            border,
            self.theme.style(Role::Base).patch(self.theme.style(Role::Box)),
        )
    }

    pub(super) fn on_box(&self, role: Role) -> ratatui::style::Style {
        let style = self.theme.style(role);
        if style.bg.is_some() {
            style
        } else {
            style.patch(background(self.theme.style(Role::Box)))
        }
    }

    pub(super) fn new_sandbox(
        &self,
        brush: &mut Brush<'_>,
        dialog: &NewDialog,
    ) -> Option<Position> {
        let fields = u16::try_from(dialog.fields().len()).unwrap_or(10);
        let columns = 78.min(brush.area().width.saturating_sub(4));
        let (below, role) = self.below_fields(dialog, columns.saturating_sub(4));
        let rows = fields + 3 + u16::try_from(below.len()).unwrap_or(1);
        // Where rows are few, what must be read takes the place of the blank ones.
        let fits = rows.min(brush.area().height);
        let inside = self.boxed(brush, columns, fits, "New sandbox");
        let mut brush = brush.within(inside);
        let mut cursor = None;
        // What stands below is always there; the field that is at hand is, too.
        let room =
            inside.height.saturating_sub(u16::try_from(below.len()).unwrap_or(1)).min(fields);
        let at = dialog.fields().iter().position(|it| *it == dialog.focus()).unwrap_or(0);
        let hidden = (at + 1).saturating_sub(usize::from(room));
        let (top, bottom) = (inside.y, inside.y + room);
        for (y, field) in (top..bottom).zip(dialog.fields().iter().skip(hidden)) {
            let here = dialog.focus() == *field;
            let label = self.on_box(if here { Role::Accent } else { Role::Dim });
            let at = brush.text(inside.x, y, 12, if here { "> " } else { "  " }, label);
            brush.text(at, y, 10, field.label(), label);
            let x = inside.x + 13;
            let room = inside.width.saturating_sub(13);
            let text = dialog.text(*field);
            let says = dialog.says(*field);
            let style = self.on_box(if here { Role::Input } else { Role::Box });
            if here {
                brush.style(Area::new(x, y, room, 1), style);
            }
            if let Some(editor) = dialog.editor().filter(|_| here) {
                let before = width(editor.before());
                let skip = (before + 1).saturating_sub(usize::from(room));
                let shown = super::chrome::skip_cells(text, skip);
                brush.text(x, y, room, shown, style);
                let column = u16::try_from(before - skip.min(before)).unwrap_or(0);
                cursor = Some(Position::new(x + column.min(room.saturating_sub(1)), y));
            } else {
                brush.text(x, y, room, text, style);
            }
            if !says.is_empty() {
                let after = u16::try_from(width(text) + usize::from(!text.is_empty())).unwrap_or(0);
                let is_choice = dialog.editor().is_none() && here;
                let role =
                    if text.is_empty() && is_choice { Role::Input } else { Role::Placeholder };
                let look = if here {
                    self.theme.style(role).patch(background(style))
                } else {
                    self.on_box(Role::Dim)
                };
                let says = if is_choice { format!("< {says} >") } else { says };
                brush.text(x + after, y, room.saturating_sub(after), &says, look);
            }
        }
        let first = bottom + u16::from(fits == rows);
        for (y, text) in (first..inside.y + inside.height).zip(&below) {
            brush.text(inside.x, y, inside.width, text, self.on_box(role));
        }
        cursor
    }

    /// What stands under the fields: what is wrong, that the hub is at work, or the keys.
    fn below_fields(&self, dialog: &NewDialog, room: u16) -> (Vec<String>, Role) {
        let room = usize::from(room);
        let text = match &dialog.wrong {
            Some((Some(field), why)) => format!("{}: {why}", field.label()),
            Some((None, why)) => why.clone(),
            None if dialog.asked.is_some() => {
                let keys = self.keys(&[(Action::LineCancel, "does not wait for it")]);
                return (wrap(&format!("starting   {keys}"), room), Role::Accent);
            }
            None => {
                let keys = self.keys(&[
                    (Action::LineAccept, "start"),
                    (Action::LineComplete, "next field"),
                    (Action::LineRight, "choose"),
                    (Action::LineCancel, "cancel"),
                ]);
                return (wrap(&keys, room), Role::Dim);
            }
        };
        (wrap(&visible(&text), room), Role::Error)
    }

    /// Keys and what they do here, from the keymap.
    pub(super) fn keys(&self, wanted: &[(Action, &str)]) -> String {
        let found = wanted.iter().filter_map(|(action, says)| {
            self.state.key_for(*action).map(|key| format!("{key} {says}"))
        });
        found.collect::<Vec<_>>().join("   ")
    }

    /// The keys of a box that asks; the one that does it only once it would be heard.
    fn answers(&self, does: &str, cancel: &str) -> String {
        let shown = if self.state.hears() { does.to_owned() } else { " ".repeat(width(does)) };
        format!("{shown}   {cancel}")
    }

    pub(super) fn confirm(&self, brush: &mut Brush<'_>, confirm: &Confirm) -> Option<Position> {
        let room = usize::from(brush.area().width.saturating_sub(8).min(66));
        let says = &confirm.says;
        let mut lines: Vec<String> =
            says.lines.iter().flat_map(|it| wrap(&visible(it), room)).collect();
        // The sentences are whole; of the names there are as many as fit. Four rows are the box's own; those
        // around it, where there are enough, show where one is.
        let around = if brush.area().height < ROWS_FOR_AROUND { 0 } else { 4 };
        let most = usize::from(brush.area().height).saturating_sub(lines.len() + 4 + around);
        lines.extend(name_rows(says, most, room));
        let rows = u16::try_from(lines.len()).unwrap_or(4) + 4;
        let inside = self.boxed(brush, 70, rows, &visible(&confirm.title));
        let mut brush = brush.within(inside);
        let y = (inside.y + inside.height).saturating_sub(1);
        for (y, line) in (inside.y..y).zip(&lines) {
            brush.text(inside.x, y, inside.width, line, self.on_box(Role::Box));
        }
        let cancel = self.keys(&[(Action::DialogCancel, "leave it")]);
        let text = self.answers(&format!("{} {}", confirm.key, confirm.word), &cancel);
        brush.text(inside.x, y, inside.width, &text, self.on_box(Role::Warning));
        None
    }

    pub(super) fn ask_take_over(
        &self,
        brush: &mut Brush<'_>,
        session: &SessionId,
        (holder, free): (&str, bool),
    ) -> Option<Position> {
        let known = self.state.fleet.session(session);
        let name = known.map_or_else(String::new, |(row, it)| visible(&it.name(&row.sandbox.name)));
        let (title, lines, does) = if free {
            let gave = format!("{} gave the keyboard back.", visible(holder));
            ("the keyboard is free", [gave, "Nobody holds it now.".to_owned()], "take it")
        } else {
            let holds = format!("{} holds the keyboard.", visible(holder));
            let ends = "Taking it over ends their typing; they are told.".to_owned();
            ("the keyboard is taken", [holds, ends], "take over")
        };
        let inside = self.boxed(brush, 66, 6, &format!("{name}: {title}"));
        let mut brush = brush.within(inside);
        for (y, line) in (inside.y..).zip(&lines) {
            brush.text(inside.x, y, inside.width, line, self.on_box(Role::Box));
        }
        let cancel = self.keys(&[(Action::DialogCancel, "keep watching")]);
        let keys = self.answers(&format!("{TAKE_OVER_KEY} {does}"), &cancel);
        brush.text(inside.x, inside.y + 3, inside.width, &keys, self.on_box(Role::Warning));
        None
    }
}

/// The rows of the names, the last of them a count where there is no room for all.
fn name_rows(says: &Says, most: usize, room: usize) -> Vec<String> {
    let all = says.names.len() + says.more;
    let shown = match all {
        _ if all <= most && says.more == 0 => all,
        _ => says.names.len().min(most.saturating_sub(1)),
    };
    let words = says.names.iter().take(shown).map(|it| width(&it.0)).max().unwrap_or(0);
    let row = |(word, name): &(String, String)| {
        let name = clip_start(&visible(name), room.saturating_sub(words + 1));
        format!("{word:words$} {name}")
    };
    let mut rows: Vec<String> = says.names.iter().take(shown).map(row).collect();
    if all > shown && most > 0 {
        rows.push(format!("and {} more", all - shown));
    }
    rows
}
