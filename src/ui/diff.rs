//! The place of changes: the files, and the lines of the one under the cursor with their numbers.

use super::{
    View,
    chrome::{clip_start, skip_cells},
    paint::Brush,
    snapshots::change_mark,
    theme::Role,
};
use crate::{
    app::{
        action::Action,
        diff::{Diff, File, Half},
        hunks::{Kind, Line},
        layout::{Area, ViewArea},
        said::Tone,
    },
    base::text::{clip, count, visible, width, wrap},
    model::change::Verdict,
};

/// With fewer cells only the new side has its numbers.
const BOTH_NUMBERS_CELLS_MIN: u16 = 60;
/// With fewer cells there are none.
const NUMBERS_CELLS_MIN: u16 = 40;
/// Before what is staged, and before a file of which only some hunks are.
const STAGED: &str = "▌";
const STAGED_IN_PART: &str = "▖";

impl View<'_> {
    pub(super) fn diff(&self, brush: &mut Brush<'_>, it: &Diff, area: &ViewArea) {
        self.files(brush, it, area.list);
        self.lines(brush, it, area.side);
    }

    fn files(&self, brush: &mut Brush<'_>, it: &Diff, (header, list): (Area, Area)) {
        if header.is_empty() {
            return;
        }
        let focused = it.half == Half::Files && self.state.overlay.is_none();
        let what = if it.system { "SYSTEM" } else { "CHANGED" };
        let end = self.view_title(brush, header, focused, what, "");
        let right = header.x + header.width;
        let (all, staged) = (it.files.len(), it.staged());
        let text = match (it.known, staged) {
            (false, _) => "—".to_owned(),
            (_, 0) if it.more => format!("{all}+ paths"),
            (_, 0) => count(all, "path"),
            (_, many) => format!("{many} of {all} staged"),
        };
        // How many there are is whole, whatever is looked for.
        let room = usize::from(right.saturating_sub(end + 1)).saturating_sub(width(&text) + 5);
        let pattern = it.pattern.as_ref().filter(|_| room > 1);
        let pattern =
            pattern.map(|it| format!("{} · ", clip(&format!("/{}", visible(&it.text)), room)));
        let text = format!(" {}{text} ", pattern.unwrap_or_default());
        let style =
            self.on_bar(if focused { Role::BorderFocus } else { Role::BorderTitle }, focused);
        brush.text_right(right, header.y, right.saturating_sub(end + 1), &text, style);
        let mut inside = brush.within(list);
        let (text, role) = self.instead_of_files(it);
        let room = usize::from(list.width.saturating_sub(2));
        for (y, line) in (list.y..list.y + list.height).zip(wrap(&text, room)) {
            inside.text(list.x + 1, y, list.width, &line, self.theme.style(role));
        }
        let rows = it.files.iter().enumerate().skip(it.cursor.top());
        for (y, (at, file)) in (list.y..list.y + list.height).zip(rows) {
            self.file_row(&mut inside, y, it, file, at == it.cursor.at(), focused);
        }
    }

    /// What is said where there is no file.
    fn instead_of_files(&self, it: &Diff) -> (String, Role) {
        let again = self.state.key_words(Action::Again);
        match &it.wrong {
            _ if !it.files.is_empty() => (String::new(), Role::Dim),
            Some(why) => {
                (format!("not known: {}; {again} asks again", visible(why)), Role::Warning)
            }
            None if !it.known => ("looking for what changed".to_owned(), Role::Dim),
            None => {
                let git = git_words(it.git_left_out);
                (format!("nothing changed {}{git}", visible(&it.words())), Role::Dim)
            }
        }
    }

    fn file_row(
        &self,
        brush: &mut Brush<'_>,
        y: u16,
        it: &Diff,
        file: &File,
        here: bool,
        focused: bool,
    ) {
        let area = brush.area();
        let stale = it.wrong.is_some();
        let plain = self.theme.style(if stale { Role::Stale } else { Role::Base });
        let cursor = if here { ">" } else { " " };
        let mut at = brush.text(area.x, y, 1, cursor, self.theme.style(Role::Accent));
        let marked = self.theme.style(Role::Marked);
        let staged = it.mark(file);
        let sign = match staged {
            None => " ",
            Some(mark) if mark.covers(&file.change) => STAGED,
            Some(_) => STAGED_IN_PART,
        };
        at = brush.text(at, y, 1, sign, marked);
        let (mark, role) = match it.verdict(file).map(|it| it.verdict) {
            Some(Verdict::Conflict) => ('!', Role::Error),
            Some(Verdict::LeftOut) => ('x', Role::Warning),
            _ => change_mark(file.change.status),
        };
        at = brush.text(at, y, 2, &format!("{mark} "), self.theme.style(role));
        let right = (area.x + area.width).saturating_sub(1);
        let end = self.line_counts(brush, (at, y, right), &file.change);
        let room = end.saturating_sub(at + 1);
        let style = if staged.is_some() { marked } else { plain };
        // Of a path that is too long its end tells most.
        let path = clip_start(&file.paths(), usize::from(room));
        self.with_matches(brush, (at, y, room), &path, style, it.pattern.as_ref());
        if here {
            let role = if focused { Role::Selection } else { Role::SelectionAside };
            let style = ratatui::style::Style { fg: None, ..self.theme.style(role) };
            brush.style(Area::new(area.x, y, area.width, 1), style);
        }
    }

    fn lines(&self, brush: &mut Brush<'_>, it: &Diff, (header, body): (Area, Area)) {
        if header.is_empty() {
            return;
        }
        let focused = it.half == Half::Lines && self.state.overlay.is_none();
        let words = visible(&it.words());
        let title = it.current().map_or_else(|| words.clone(), File::paths);
        let end = self.view_title(brush, header, focused, &title, "");
        let right = header.x + header.width;
        let room = right.saturating_sub(end + 1);
        let staged = it.staged_hunks();
        let staged = staged.map(|(some, all)| format!("{some} of {} staged", count(all, "hunk")));
        let both = staged.iter().map(|it| format!("{it} · {words}"));
        let texts = both.chain(staged.clone()).chain([words.clone()]);
        let text = texts.filter(|_| it.current().is_some());
        if let Some(text) = { text }.find(|it| width(it) + 2 <= usize::from(room)) {
            let style = self.on_bar(Role::Dim, focused);
            brush.text_right(right, header.y, room, &format!(" {text} "), style);
        }
        let mut rows = body;
        for (text, tone) in self.state.said_of_file(it, body.width) {
            let role = match tone {
                Tone::Plain => Role::Dim,
                Tone::Warning => Role::Warning,
                Tone::Error => Role::Error,
            };
            brush.within(rows).text(rows.x + 1, rows.y, rows.width, &text, self.theme.style(role));
            (_, rows) = rows.split_top(1);
        }
        let Some(Ok(patch)) = it.patch() else { return };
        let digits = u16::try_from(patch.digits()).unwrap_or(4);
        let mut inside = brush.within(rows);
        let shown = patch.lines.iter().enumerate().skip(it.lines.top());
        for (y, (at, line)) in (rows.y..rows.y + rows.height).zip(shown) {
            let here = at == it.lines.at() && focused;
            let staged = it.is_staged(patch, at);
            self.line_row(&mut inside, y, (it, digits), (line, staged), here);
        }
    }

    fn line_row(
        &self,
        brush: &mut Brush<'_>,
        y: u16,
        (it, digits): (&Diff, u16),
        (line, staged): (&Line, bool),
        here: bool,
    ) {
        let area = brush.area();
        let (sign, role) = match line.kind {
            Kind::About => ("", Role::Dim),
            Kind::Hunk => ("", Role::Hunk),
            Kind::Same => (" ", Role::Base),
            Kind::Added => ("+", Role::Added),
            Kind::Removed => ("-", Role::Removed),
        };
        let marked = self.theme.style(Role::Marked);
        let is_head = line.kind == Kind::Hunk;
        let style = if staged && is_head { marked } else { self.theme.style(role) };
        let mut at = area.x;
        if it.is_appliable() {
            at = brush.text(at, y, 1, if staged { STAGED } else { " " }, marked);
        }
        let number = |it: Option<u64>| it.map_or_else(String::new, |it| it.to_string());
        let dim = self.theme.style(Role::Dim);
        let sides = match area.width {
            BOTH_NUMBERS_CELLS_MIN.. => vec![line.old, line.new],
            NUMBERS_CELLS_MIN.. => vec![line.new],
            _ => Vec::new(),
        };
        if matches!(line.kind, Kind::Same | Kind::Added | Kind::Removed) {
            for side in sides {
                brush.text_right(at + digits, y, digits, &number(side), dim);
                at += digits + 1;
            }
        }
        at = brush.text(at, y, 1, sign, style);
        let mut right = area.x + area.width;
        if staged && is_head {
            brush.text_right(right, y, area.width, " staged ", marked);
            right = right.saturating_sub(8);
        }
        let room = right.saturating_sub(at);
        let moves = !matches!(line.kind, Kind::About | Kind::Hunk);
        let text = skip_cells(&line.text, if moves { it.column } else { 0 });
        let pattern = it.pattern.as_ref().filter(|_| it.half == Half::Lines);
        self.with_matches(brush, (at, y, room), text, style, pattern);
        if here {
            let style = ratatui::style::Style { fg: None, ..self.theme.style(Role::Selection) };
            brush.style(Area::new(area.x, y, area.width, 1), style);
        }
    }
}

fn git_words(left_out: u64) -> String {
    match left_out {
        0 => String::new(),
        _ => "; changes in .git are left out".to_owned(),
    }
}
