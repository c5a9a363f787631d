//! The place of files: the tree with what changed, and the file under the cursor with its colours.

use ratatui::style::{Color, Style};

use super::{
    View,
    chrome::{clip_start, skip_cells},
    colour, graphic,
    paint::Brush,
    snapshots::change_mark,
    theme::{Depth, Role},
};
use crate::{
    app::{
        action::Action,
        files::{Body, Class, Counts, Dir, Files, Found, Half, How, Preview, ShownLine},
        layout::{Area, ViewArea},
    },
    base::{
        text::{clip, count, visible, width, wrap},
        units::human_bytes,
    },
    model::{
        file::{FileEntry, FileKind, Hit, mode_shown, name_shown},
        sandbox::State as Life,
    },
};

/// Cells that one level of the tree goes in.
const INDENT: u16 = 2;
/// With fewer cells lines have no numbers.
const NUMBERS_CELLS_MIN: u16 = 40;

impl View<'_> {
    pub(super) fn files_place(&self, brush: &mut Brush<'_>, it: &Files, area: &ViewArea) {
        match &it.found {
            Some(found) => self.found_lines(brush, it, found, area.list),
            None => self.file_tree(brush, it, area.list),
        }
        self.file_shown(brush, it, area.side);
    }

    /// The title of the left half, and what is said at its right end.
    fn files_title(&self, brush: &mut Brush<'_>, it: &Files, header: Area, text: &str) {
        let focused = it.half == Half::Tree && self.state.overlay.is_none();
        let what = if it.is_system() { "SYSTEM" } else { "FILES" };
        let end = self.view_title(brush, header, focused, what, "");
        let right = header.x + header.width;
        let role = match (focused, &it.unwatched) {
            (_, Some(_)) => Role::Warning,
            (true, None) => Role::BorderFocus,
            (false, None) => Role::BorderTitle,
        };
        let style = self.on_bar(role, focused);
        brush.text_right(right, header.y, right.saturating_sub(end + 1), text, style);
    }

    fn file_tree(&self, brush: &mut Brush<'_>, it: &Files, (header, list): (Area, Area)) {
        if header.is_empty() {
            return;
        }
        let rows = it.tree.rows();
        let top = it.tree.dir(it.tree.top());
        let more = it.tree.dirs().any(|it| it.more);
        let many = format!("{}{}", rows.len(), if more { "+" } else { "" });
        let text = match (&it.pattern(), &it.unwatched) {
            (Some(pattern), _) => format!(" /{} · {many} ", visible(&pattern.text)),
            (None, Some(_)) => format!(" {many} · not watched "),
            (None, None) if top.is_some_and(|it| it.known) => {
                format!(" {} ", self.files_says(it, &many, header.width))
            }
            (None, None) => String::new(),
        };
        self.files_title(brush, it, header, &text);
        let mut inside = brush.within(list);
        let (text, role) = self.instead_of_tree(it, top);
        let room = usize::from(list.width.saturating_sub(2));
        for (y, line) in (list.y..list.y + list.height).zip(wrap(&text, room)) {
            inside.text(list.x + 1, y, list.width, &line, self.theme.style(role));
        }
        let shown = rows.iter().enumerate().skip(it.cursor.top());
        for (y, (at, row)) in (list.y..list.y + list.height).zip(shown) {
            let Some(entry) = it.tree.entry(*row) else { continue };
            let Some(path) = it.tree.path(*row) else { continue };
            self.tree_row(&mut inside, y, it, (entry, &path, row.depth), at == it.cursor.at());
        }
    }

    /// How many there are, what they are of, and since when changes are marked; the last as far as there is room.
    fn files_says(&self, it: &Files, many: &str, room: u16) -> String {
        /// The title, with what lies around it.
        const TITLE_CELLS: usize = 12;
        let sandbox = self.state.fleet.get(&it.sandbox).map(|it| &it.sandbox);
        let runs = sandbox.is_none_or(|it| matches!(it.state, Life::Running | Life::Paused));
        let stopped = sandbox.filter(|_| !runs).map(|it| it.state.word());
        let said = std::iter::once(many).chain(stopped).collect::<Vec<_>>().join(" · ");
        let left = usize::from(room).saturating_sub(TITLE_CELLS + width(&said));
        match it.since_words().map(|it| clip(&visible(&it), left.saturating_sub(3))) {
            Some(since) if left > 10 => format!("{said} · {since}"),
            _ => said,
        }
    }

    fn instead_of_tree(&self, it: &Files, top: Option<&Dir>) -> (String, Role) {
        let again = self.state.key_words(Action::Again);
        let wrong = top.and_then(|it| it.wrong.as_ref());
        match wrong {
            _ if !it.tree.rows().is_empty() => (String::new(), Role::Dim),
            Some(why) => {
                (format!("not known: {}; {again} asks again", visible(why)), Role::Warning)
            }
            None if !top.is_some_and(|it| it.known) => ("reading".to_owned(), Role::Dim),
            None if it.pattern().is_some() => {
                ("no name that is open here has that in it".to_owned(), Role::Dim)
            }
            None => ("nothing is in it".to_owned(), Role::Dim),
        }
    }

    fn tree_row(
        &self,
        brush: &mut Brush<'_>,
        y: u16,
        it: &Files,
        (entry, path, depth): (&FileEntry, &[u8], u16),
        here: bool,
    ) {
        let area = brush.area();
        let focused = it.half == Half::Tree && self.state.overlay.is_none();
        let cursor = if here { ">" } else { " " };
        brush.text(area.x, y, 1, cursor, self.theme.style(Role::Accent));
        let dir = it.tree.dir(path);
        let sign = match (entry.is_directory(), dir) {
            (true, Some(dir)) if dir.wrong.is_some() => "! ",
            (true, Some(dir)) if !dir.known => "… ",
            (true, Some(_)) => "▾ ",
            (true, None) => "▸ ",
            (false, _) => "  ",
        };
        // What lies deep is not pushed out of sight.
        let indent = (depth * INDENT).min(area.width / 2);
        let mark = it.marks.of(path);
        let (letter, role) = mark.map_or((' ', Role::Base), |it| change_mark(it.0));
        let mut at = brush.text(area.x + 1, y, 2, &format!("{letter} "), self.theme.style(role));
        at = brush.text(at + indent, y, 2, sign, self.theme.style(Role::Dim));
        let right = (area.x + area.width).saturating_sub(1);
        let below = it.marks.below(path).map(Counts::words);
        let size = entry.size_bytes.map(human_bytes);
        let (text, role) = match (below, mark.and_then(|it| it.1), size) {
            (Some(words), _, _) => (words, Role::Warning),
            (None, Some(lines), _) => (format!("+{} -{}", lines.added, lines.removed), Role::Dim),
            (None, None, Some(size)) => (size, Role::Dim),
            (None, None, None) => (String::new(), Role::Dim),
        };
        let end = brush.text_right(right, y, area.width / 3, &text, self.theme.style(role));
        let mut name = name_shown(&entry.name);
        match &entry.target {
            Some(target) => name.push_str(&format!(" → {}", name_shown(&target.path))),
            None if entry.kind == FileKind::Directory => name.push('/'),
            None => {}
        }
        let role = match entry.kind {
            FileKind::Directory => Role::Title,
            FileKind::File => Role::Base,
            FileKind::Link => Role::Accent,
            _ => Role::Dim,
        };
        let room = end.saturating_sub(at + 1);
        let text = clip(&name, usize::from(room));
        self.with_matches(brush, (at, y, room), &text, self.theme.style(role), it.pattern());
        self.row_under_cursor(brush, y, here, focused);
    }

    fn row_under_cursor(&self, brush: &mut Brush<'_>, y: u16, here: bool, focused: bool) {
        if here {
            let area = brush.area();
            let role = if focused { Role::Selection } else { Role::SelectionAside };
            let style = Style { fg: None, ..self.theme.style(role) };
            brush.style(Area::new(area.x, y, area.width, 1), style);
        }
    }

    fn found_lines(
        &self,
        brush: &mut Brush<'_>,
        it: &Files,
        found: &Found,
        (header, list): (Area, Area),
    ) {
        if header.is_empty() {
            return;
        }
        let words = clip(&visible(&found.words), usize::from(header.width / 3));
        let many = format!("{}{}", found.hits.len(), if found.more { "+" } else { "" });
        let asks = found.asked();
        let text = if asks { format!(" {words} · … ") } else { format!(" {words} · {many} ") };
        self.files_title(brush, it, header, &text);
        let mut inside = brush.within(list);
        let (text, role) = match &found.wrong {
            Some(why) => (format!("not known: {}", visible(why)), Role::Warning),
            None if asks => ("looking through all files".to_owned(), Role::Dim),
            None if found.hits.is_empty() => ("no line has that in it".to_owned(), Role::Dim),
            None => (String::new(), Role::Dim),
        };
        let room = usize::from(list.width.saturating_sub(2));
        for (y, line) in (list.y..list.y + list.height).zip(wrap(&text, room)) {
            inside.text(list.x + 1, y, list.width, &line, self.theme.style(role));
        }
        let hits = found.hits.iter().enumerate().skip(found.cursor.top());
        for (y, (at, hit)) in (list.y..list.y + list.height).zip(hits) {
            self.hit_row(&mut inside, y, it, hit, at == found.cursor.at());
        }
    }

    fn hit_row(&self, brush: &mut Brush<'_>, y: u16, it: &Files, hit: &Hit, here: bool) {
        let area = brush.area();
        let focused = it.half == Half::Tree && self.state.overlay.is_none();
        let cursor = if here { ">" } else { " " };
        let mut at = brush.text(area.x, y, 2, cursor, self.theme.style(Role::Accent)) + 1;
        let number = hit.line.as_ref().map_or(0, |it| it.number);
        let place = format!("{}:{number}", name_shown(&hit.path));
        let room = area.width / 2;
        let place = clip_start(&place, usize::from(room));
        at = brush.text(at, y, room, &place, self.theme.style(Role::Title)) + 1;
        let line = hit.line.as_ref().map(|it| name_shown(&it.text)).unwrap_or_default();
        let room = (area.x + area.width).saturating_sub(at);
        brush.text(at, y, room, line.trim_start(), self.theme.style(Role::Base));
        self.row_under_cursor(brush, y, here, focused);
    }

    fn file_shown(&self, brush: &mut Brush<'_>, it: &Files, (header, body): (Area, Area)) {
        if header.is_empty() {
            return;
        }
        let focused = it.half == Half::Text && self.state.overlay.is_none();
        let path = it.path().map(|it| name_shown(&it)).unwrap_or_default();
        let room = usize::from(header.width.saturating_sub(4));
        let title = clip_start(&path, room);
        let end = self.view_title(brush, header, focused, &title, "");
        let right = header.x + header.width;
        let mut says = Vec::new();
        if let Some(Ok(preview)) = it.shown() {
            says.extend(preview.note.clone());
        }
        if it.follows {
            says.push("following".to_owned());
        }
        if it.how == How::Hex {
            says.push("bytes".to_owned());
        }
        let text = format!(" {} ", says.join(" · "));
        if !says.is_empty() && width(&text) + 1 < usize::from(right.saturating_sub(end)) {
            let style = self.on_bar(Role::Dim, focused);
            brush.text_right(right, header.y, right.saturating_sub(end + 1), &text, style);
        }
        let mut inside = brush.within(body);
        match it.shown() {
            Some(Ok(preview)) => self.preview(&mut inside, it, preview, focused),
            Some(Err((_, why))) => {
                self.said(&mut inside, &format!("not shown: {}", visible(why)), Role::Warning);
            }
            None => self.entry_told(&mut inside, it),
        }
    }

    fn said(&self, brush: &mut Brush<'_>, text: &str, role: Role) {
        let area = brush.area();
        let room = usize::from(area.width.saturating_sub(2));
        for (y, line) in (area.y..area.y + area.height).zip(wrap(text, room)) {
            brush.text(area.x + 1, y, area.width, &line, self.theme.style(role));
        }
    }

    /// What is known of an entry that is not read.
    fn entry_told(&self, brush: &mut Brush<'_>, it: &Files) {
        let Some(entry) = it.entry() else { return };
        let dash = || "—".to_owned();
        let zone = &self.state.zone;
        let mut rows = vec![
            ("kind", entry.kind.word().to_owned()),
            ("mode", entry.mode.map_or_else(dash, |it| format!("{} {it:04o}", mode_shown(it)))),
            (
                "owner",
                match (entry.owner, entry.group) {
                    (Some(owner), Some(group)) => format!("{owner}:{group}"),
                    _ => dash(),
                },
            ),
            ("changed", entry.modified_at.map_or_else(dash, |at| zone.date_time(at))),
        ];
        if let Some(target) = &entry.target {
            let kind = target.kind.map_or("nothing that is there", FileKind::word);
            rows.push(("leads to", format!("{} ({kind})", name_shown(&target.path))));
        }
        let path = it.path().unwrap_or_default();
        if let Some(dir) = it.tree.dir(&path) {
            rows.push(("has", count(dir.entries.len(), "entry")));
            rows.extend(dir.wrong.as_ref().map(|it| ("wrong", visible(it))));
        }
        if let Some(counts) = it.marks.below(&path) {
            rows.push(("changes", counts.words()));
        }
        let area = brush.area();
        for (y, (label, text)) in (area.y..area.y + area.height).zip(rows) {
            brush.text(area.x + 1, y, 9, label, self.theme.style(Role::Dim));
            brush.text(area.x + 11, y, area.width, &text, self.theme.style(Role::Base));
        }
    }

    fn preview(&self, brush: &mut Brush<'_>, it: &Files, preview: &Preview, focused: bool) {
        let area = brush.area();
        let ys = area.y..area.y + area.height;
        match &preview.body {
            Body::Text(lines) if lines.is_empty() => {
                self.said(brush, "nothing is in it", Role::Dim);
            }
            Body::Text(lines) => {
                let digits = lines.len().to_string().len() as u16;
                // Where the beginning is not known, lines have no numbers.
                let numbered = area.width >= NUMBERS_CELLS_MIN && preview.offset == 0;
                let shown = lines.iter().enumerate().skip(it.lines.top());
                for (y, (at, line)) in ys.zip(shown) {
                    let mut x = area.x;
                    if numbered {
                        let number = (at + 1).to_string();
                        let style = self.theme.style(Role::Dim);
                        brush.text_right(x + digits, y, digits, &number, style);
                        x += digits + 1;
                    }
                    self.text_line(brush, (x, y), line, it.column);
                    self.row_under_cursor(brush, y, at == it.lines.at() && focused, true);
                }
            }
            Body::Hex(rows) => {
                let shown = rows.iter().enumerate().skip(it.lines.top());
                for (y, (at, row)) in ys.zip(shown) {
                    let text = skip_cells(row, it.column);
                    brush.text(area.x, y, area.width, text, self.theme.style(Role::Base));
                    self.row_under_cursor(brush, y, at == it.lines.at() && focused, true);
                }
            }
            // The terminal has it there.
            Body::Picture(_) if graphic(self.state).is_some() => {}
            Body::Picture(rows) => {
                for (y, row) in ys.zip(rows.iter().skip(it.lines.top())) {
                    for (x, (upper, lower)) in (area.x..area.x + area.width).zip(row) {
                        let colour = |it: &[u8; 3]| self.picture_colour(*it);
                        let style = Style::default().fg(colour(upper)).bg(colour(lower));
                        brush.text(x, y, 1, "▀", style);
                    }
                }
            }
        }
    }

    /// A colour of a picture, as far as the terminal has it.
    fn picture_colour(&self, [red, green, blue]: [u8; 3]) -> Color {
        match self.theme.depth {
            Depth::True => Color::Rgb(red, green, blue),
            depth => colour::lower(Color::Rgb(red, green, blue), depth),
        }
    }

    fn text_line(
        &self,
        brush: &mut Brush<'_>,
        (x, y): (u16, u16),
        line: &ShownLine,
        column: usize,
    ) {
        let area = brush.area();
        let right = area.x + area.width;
        let base = self.theme.style(Role::Base);
        // What is left of the window is skipped, in whatever piece it is.
        let mut skipped = line.text.len() - skip_cells(&line.text, column).len();
        let begins = skipped;
        let mut at = x;
        let mut pieces = line.spans.iter().peekable();
        while skipped < line.text.len() && at < right {
            let (end, style) = match pieces.peek() {
                Some(span) if span.end <= skipped => {
                    pieces.next();
                    continue;
                }
                Some(span) if span.start <= skipped => {
                    (span.end, self.theme.style(class_role(span.class)))
                }
                Some(span) => (span.start, base),
                None => (line.text.len(), base),
            };
            let text = line.text.get(skipped..end).unwrap_or_default();
            at = brush.text(at, y, right.saturating_sub(at), text, style);
            skipped = end.max(skipped + 1);
        }
        if begins > 0 && x < right {
            brush.text(x, y, 1, "‹", self.theme.style(Role::Dim));
        }
    }
}

fn class_role(class: Class) -> Role {
    match class {
        Class::Comment => Role::Dim,
        Class::Quoted => Role::Added,
        Class::Number => Role::Hunk,
        Class::Word => Role::Accent,
        Class::Name => Role::Title,
    }
}
