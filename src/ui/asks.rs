//! Asks: the bar that says that something waits, the list, one of them whole, and the box that wants a word.

use ratatui::{layout::Position, style::Style};

use super::{View, chrome::background, paint::Brush, theme::Role};
use crate::{
    app::{
        action::Action,
        ask::{LABEL_CELLS, Line, Tone, askers_words, brief, fold, scope_words},
        asks::{ALLOW_WORD, AllowBox, Inbox, Listed, Shown, Waits, with_foot},
        layout::{Area, ViewArea},
    },
    base::text::{count, visible, width, wrap},
    model::ask::{Ask, AskState, RiskLevel},
};

/// Cells of the kind of an ask, of the name of its sandbox, and of its times.
const KIND_CELLS: u16 = 10;
const NAME_CELLS: u16 = 16;
const TIMES_CELLS: u16 = 18;
/// With fewer columns the key of the bar stands alone.
const SHOWS_COLUMNS: u16 = 80;
/// With fewer columns a row says only how long it waits yet.
const TIMES_COLUMNS: u16 = 76;

fn risk_role(level: RiskLevel) -> Role {
    match level {
        RiskLevel::Low => Role::Dim,
        RiskLevel::Medium => Role::Warning,
        RiskLevel::High => Role::Error,
    }
}

pub(super) fn tone_role(tone: Tone) -> Role {
    match tone {
        Tone::Plain => Role::Base,
        Tone::Subject => Role::Title,
        Tone::Dim => Role::Dim,
        Tone::Good => Role::Ok,
        Tone::Warning => Role::Warning,
        Tone::Error => Role::Error,
        Tone::Hunk => Role::Hunk,
        Tone::Added => Role::Added,
        Tone::Removed => Role::Removed,
    }
}

impl View<'_> {
    fn on_hint(&self, role: Role) -> Style {
        self.theme.style(role).patch(background(self.theme.style(Role::Hint)))
    }

    /// The bar over the bottom line: how many, and the oldest of them.
    pub(super) fn ask_bar(&self, brush: &mut Brush<'_>) {
        let Some(area) = self.state.frame().asks else { return };
        let waiting = self.state.asks.waiting();
        let Some(first) = waiting.first() else { return };
        brush.within(area).fill(self.theme.style(Role::Hint));
        let Some(ask) = self.state.ask(first) else { return };
        let right = area.x + area.width;
        let dim = self.on_hint(Role::Hint);
        let head = format!("! {} · ", count(waiting.len(), "ask"));
        let mut at = brush.text(area.x + 1, area.y, area.width, &head, self.on_hint(Role::Asks));
        let times = self.state.ask_times(first.created_at, first.deadline_at);
        // How it is come to is whole, and so is the time.
        let key = if self.state.is_typing() {
            let prefix = self.state.keymap.prefix();
            let keys =
                self.state.keymap.key_of(crate::app::action::Scope::Prefix, Action::AsksShow);
            keys.unwrap_or_else(|| prefix.to_string())
        } else {
            self.state.key_words(Action::AsksShow)
        };
        let end = right.saturating_sub(1);
        let end = match area.width {
            SHOWS_COLUMNS.. => brush.text_right(end, area.y, 6, " shows", dim),
            _ => end,
        };
        let mut end = brush.text_right(end, area.y, 16, &key, self.on_hint(Role::HintKey));
        end = brush.text_right(end - 1, area.y, area.width / 3, &format!(" {times}"), dim);
        let risk = match ask.risk.level {
            RiskLevel::High => " · HIGH RISK",
            RiskLevel::Medium | RiskLevel::Low => "",
        };
        let kind = ask.asked.request.kind.word();
        let text = format!("{kind} · {}{risk} ", visible(&ask.sandbox_name));
        let role = if risk.is_empty() { Role::HintKey } else { Role::Error };
        at = brush.text(at, area.y, end.saturating_sub(at + 1), &text, self.on_hint(role));
        let subject = &ask.asked.request.subject;
        if area.height == 1 {
            let room = end.saturating_sub(at + 1);
            let text = brief(subject, usize::from(room));
            brush.text(at, area.y, room, &text, dim);
            return;
        }
        let room = area.width.saturating_sub(4);
        let text = brief(subject, usize::from(room));
        brush.text(area.x + 3, area.y + 1, room, &text, self.on_hint(Role::HintKey));
    }

    pub(super) fn asks(&self, brush: &mut Brush<'_>, it: &Inbox, area: &ViewArea) {
        if let Some(shown) = &it.shown {
            return self.ask_whole(brush, shown, area.side);
        }
        let (header, list) = area.list;
        let waiting = self.state.asks.waiting().len();
        let ended = self.state.asks.ended.len();
        let title = if it.tab == Listed::Waiting { "ASKS" } else { "ASKS ENDED" };
        let end = self.view_title(brush, header, true, title, "");
        let right = header.x + header.width;
        let other = self.state.key_words(Action::NextPlace);
        let text = match (it.tab, self.state.asks.known) {
            (Listed::Waiting, false) => format!(" {waiting} waiting "),
            (Listed::Waiting, true) => format!(" {waiting} waiting · {other} {ended} ended "),
            (Listed::Ended, _) => format!(" {ended} ended · {other} {waiting} waiting "),
        };
        let style = self.theme.style(Role::BorderFocus);
        brush.text_right(right, header.y, right.saturating_sub(end + 1), &text, style);
        let mut inside = brush.within(list);
        if let Some(text) = self.instead_of_asks(it) {
            let lines = wrap(&text, usize::from(list.width.saturating_sub(2)));
            for (y, line) in (list.y..list.y + list.height).zip(lines) {
                inside.text(list.x + 1, y, list.width, &line, self.theme.style(Role::Dim));
            }
        }
        let rows = list.y..list.y + list.height;
        match it.tab {
            Listed::Waiting => {
                let shown = it.rows.iter().enumerate().skip(it.cursor.top());
                for (y, (at, row)) in rows.zip(shown) {
                    self.waiting_row(&mut inside, y, row, at == it.cursor.at());
                }
            }
            Listed::Ended => {
                let all = self.state.asks.ended.iter().enumerate();
                for (y, (at, ask)) in rows.zip(all.skip(it.ended.top())) {
                    self.ended_row(&mut inside, y, ask, at == it.ended.at());
                }
            }
        }
        self.ask_side(brush, it, area.side);
    }

    fn instead_of_asks(&self, it: &Inbox) -> Option<String> {
        let asks = &self.state.asks;
        match it.tab {
            Listed::Waiting => it.rows.is_empty().then(|| "nothing waits for an answer".to_owned()),
            Listed::Ended if !asks.ended.is_empty() => None,
            Listed::Ended => Some(match &asks.wrong {
                Some(why) => {
                    let again = self.state.key_words(Action::Again);
                    format!("not known: {}; {again} asks again", visible(why))
                }
                None if asks.known => "nothing was asked yet".to_owned(),
                None => "asking the hub".to_owned(),
            }),
        }
    }

    fn waiting_row(&self, brush: &mut Brush<'_>, y: u16, row: &Waits, here: bool) {
        let ask = self.state.ask(row);
        let times = match ask {
            Some(_) if brush.area().width < TIMES_COLUMNS => self.state.ask_left(row.deadline_at),
            Some(_) => self.state.ask_times(row.created_at, row.deadline_at),
            None => "over".to_owned(),
        };
        match ask {
            Some(ask) => self.ask_row(brush, y, ask, (&times, Role::Dim), here),
            None => {
                let area = brush.area();
                let dim = self.theme.style(Role::Stale);
                brush.text(area.x, y, 2, if here { ">" } else { " " }, dim);
                let end = brush.text_right(area.x + area.width - 1, y, TIMES_CELLS, &times, dim);
                let room = end.saturating_sub(area.x + 5);
                brush.text(area.x + 4, y, room, &visible(&row.says), dim);
                self.cursor_row(brush, y, here);
            }
        }
    }

    fn ended_row(&self, brush: &mut Brush<'_>, y: u16, ask: &Ask, here: bool) {
        let by = ask.decision.as_ref().map(|it| visible(&it.by)).unwrap_or_default();
        let now = self.state.now.wall;
        let holds = ask.decision.as_ref().filter(|it| it.holds(now));
        let by = match holds {
            Some(it) => format!("{} ×{}", it.answer.scope.word(), it.uses),
            None => format!("by {by}"),
        };
        let (word, role) = match ask.state {
            AskState::Allowed => (format!("allowed {by}"), Role::Ok),
            AskState::Denied => (format!("denied {by}"), Role::Warning),
            other => (other.word().to_owned(), Role::Dim),
        };
        self.ask_row(brush, y, ask, (&word, role), here);
    }

    fn ask_row(
        &self,
        brush: &mut Brush<'_>,
        y: u16,
        ask: &Ask,
        (right, role): (&str, Role),
        here: bool,
    ) {
        let area = brush.area();
        let (base, dim) = (self.theme.style(Role::Base), self.theme.style(Role::Dim));
        let cursor = if here { ">" } else { " " };
        brush.text(area.x, y, 2, cursor, self.theme.style(Role::Accent));
        // A mark that differs in shape as well.
        let mark = match ask.risk.level {
            RiskLevel::Low => "·",
            RiskLevel::Medium => "~",
            RiskLevel::High => "!",
        };
        brush.text(area.x + 1, y, 1, mark, self.theme.style(risk_role(ask.risk.level)));
        let kind = ask.asked.request.kind.word();
        brush.text(area.x + 3, y, KIND_CELLS, kind, self.theme.style(Role::Accent));
        let mut at = area.x + 4 + KIND_CELLS;
        brush.text(at, y, NAME_CELLS, &visible(&ask.sandbox_name), dim);
        at += NAME_CELLS + 1;
        let end = area.x + area.width - 1;
        let look = self.theme.style(role);
        let end = brush.text_right(end, y, TIMES_CELLS.max(area.width / 4), right, look);
        let room = end.saturating_sub(at + 1);
        let text = brief(&ask.asked.request.subject, usize::from(room));
        brush.text(at, y, room, &text, base);
        self.cursor_row(brush, y, here);
    }

    fn cursor_row(&self, brush: &mut Brush<'_>, y: u16, here: bool) {
        let area = brush.area();
        if here {
            let style = Style { fg: None, ..self.theme.style(Role::Selection) };
            brush.style(Area::new(area.x, y, area.width, 1), style);
        }
    }

    /// The ask under the cursor, as far as there is room: it is answered where it is read whole.
    fn ask_side(&self, brush: &mut Brush<'_>, it: &Inbox, (header, body): (Area, Area)) {
        if header.is_empty() {
            return;
        }
        let ask = match it.tab {
            Listed::Waiting => it.current().and_then(|it| self.state.ask(it)),
            Listed::Ended => self.state.asks.ended.get(it.ended.at()),
        };
        let Some(ask) = ask else {
            self.bar(brush, header, Role::BorderTitle);
            return;
        };
        self.view_title(brush, header, false, ask.asked.request.kind.word(), "");
        let lines = self.state.ask_lines(ask, body.width);
        let height = usize::from(body.height);
        let shown = if lines.len() > height { height.saturating_sub(1) } else { height };
        self.ask_text(&mut brush.within(body), &lines, 0, shown);
        if lines.len() > height {
            let key = self.state.key_words(Action::AskOpen);
            let more = count(lines.len() - shown, "more row");
            let y = body.y + body.height.saturating_sub(1);
            let text = format!("… {more}; {key} reads it");
            brush.within(body).text(body.x + 1, y, body.width, &text, self.theme.style(Role::Dim));
        }
    }

    fn ask_text(&self, brush: &mut Brush<'_>, lines: &[Line], top: usize, rows: usize) {
        let area = brush.area();
        let labels = self.theme.style(Role::Dim);
        let shown = lines.iter().skip(top).take(rows);
        for (y, line) in (area.y..area.y + area.height).zip(shown) {
            let x = area.x + 1;
            brush.text(x, y, LABEL_CELLS - 1, &line.label, labels);
            let style = self.theme.style(tone_role(line.tone));
            brush.text(x + LABEL_CELLS, y, area.width, &line.text, style);
        }
    }

    fn ask_whole(&self, brush: &mut Brush<'_>, it: &Shown, (header, side): (Area, Area)) {
        let focused = self.state.overlay.is_none();
        let waiting = self.state.asks.waiting();
        let at = waiting.iter().position(|row| row.id == it.ask.asked.id);
        let title = match at {
            Some(at) => format!("ASK {} of {}", at + 1, waiting.len()),
            None => "ASK".to_owned(),
        };
        let end = self.view_title(brush, header, focused, &title, "");
        let asked = &it.ask.asked;
        let times = match it.over {
            None => self.state.ask_times(asked.created_at, asked.deadline_at),
            Some(_) => String::new(),
        };
        let askers = askers_words(&it.ask).filter(|_| it.over.is_none());
        let parts: Vec<String> =
            askers.into_iter().chain((!times.is_empty()).then_some(times)).collect();
        let right = header.x + header.width;
        let room = right.saturating_sub(end + 1);
        let style = self.on_bar(Role::BorderFocus, focused);
        brush.text_right(right, header.y, room, &format!(" {} ", parts.join(" · ")), style);
        let (body, foot) = with_foot(side);
        let rows = usize::from(body.height);
        self.ask_text(&mut brush.within(body), &it.page.lines, it.page.top, rows);
        self.ask_foot(&mut brush.within(foot), it, rows);
    }

    /// What keys do, or why they do nothing yet.
    fn ask_foot(&self, brush: &mut Brush<'_>, it: &Shown, rows: usize) {
        let area = brush.area();
        let below = it.page.below(rows);
        let further = self.state.key_words(Action::ListHalfDown);
        let lacks = self.state.lacks(Action::AskDeny);
        let (text, role) = match (&it.over, it.gate.unseen()) {
            (Some(over), _) => (over.clone(), Role::Warning),
            (None, _) if lacks.is_some() => {
                let words = lacks.map(|it| it.words).unwrap_or_default();
                (format!("answering {words}"), Role::Warning)
            }
            (None, Some(row)) if it.page.lines.len() > rows => {
                let left = count(it.page.lines.len().saturating_sub(row.max(rows)), "row");
                let text = format!("{left} not read yet; {further} goes on, then keys answer");
                (text, Role::Warning)
            }
            _ if !it.lit => {
                ("keys answer when it was on screen for a moment".to_owned(), Role::Dim)
            }
            _ if it.ask.risk.level == RiskLevel::High => {
                (format!("high risk: allowing wants the word `{ALLOW_WORD}` typed"), Role::Error)
            }
            _ => ("keys answer this ask, and no other".to_owned(), Role::Dim),
        };
        let text = match below {
            0 => text,
            below if it.over.is_some() || it.gate.unseen().is_none() => {
                format!("{text} · {} below", count(below, "row"))
            }
            _ => text,
        };
        let style = self.theme.style(role);
        brush.text(area.x + 1, area.y, area.width.saturating_sub(2), &text, style);
        if it.over.is_some() {
            let keys =
                self.keys(&[(Action::AskFocused, "goes on"), (Action::Back, "back to the list")]);
            brush.text(area.x + 1, area.y + 1, area.width, &keys, self.theme.style(Role::Accent));
            return;
        }
        self.answer_keys(brush, it);
    }

    fn answer_keys(&self, brush: &mut Brush<'_>, it: &Shown) {
        let area = brush.area();
        let high = it.ask.risk.level == RiskLevel::High;
        let mut all = vec![
            (Action::AskAllow, "allow once"),
            (Action::AskAllowSession, "session"),
            (Action::AskAllowHour, "1 h"),
            (Action::AskAllowAlways, "always"),
            (Action::AskAllowProject, "project"),
            (Action::AskSnapshot, "snapshot, allow"),
        ];
        if it.ask.asked.editable {
            all.push((Action::AskEdit, "edit"));
        }
        let allows = all.len();
        all.push((Action::AskDeny, "deny"));
        all.push((Action::AskDenySay, "deny and say"));
        if high {
            all.rotate_left(allows);
        }
        let right = (area.x + area.width).saturating_sub(1);
        let (mut at, mut y) = (area.x + 1, area.y + 1);
        for (action, says) in all {
            let Some(key) = self.state.key_for(action) else { continue };
            if self.state.lacks(action).is_some() {
                continue;
            }
            let text = format!("[{key}] {says}");
            let wide = u16::try_from(width(&text)).unwrap_or(u16::MAX);
            if at > area.x + 1 && at.saturating_add(wide) > right {
                (at, y) = (area.x + 1, y + 1);
            }
            let focused = high && action == Action::AskDeny;
            let role = match (it.lit, focused) {
                (false, _) => Role::Dim,
                (true, true) => Role::Selection,
                (true, false) => Role::Accent,
            };
            at = brush.text(at, y, right.saturating_sub(at), &text, self.theme.style(role)) + 2;
        }
    }

    /// The box that names what is allowed and wants a word for it.
    pub(super) fn allow_box(&self, brush: &mut Brush<'_>, it: &AllowBox) -> Position {
        let columns = brush.area().width.saturating_sub(4).min(90);
        let room = usize::from(columns.saturating_sub(4));
        let request = &it.ask.asked.request;
        let subject = fold(&request.subject, room);
        let whole = brush.area().height;
        let most = usize::from(whole.saturating_sub(10)).max(2);
        let mut lines: Vec<(String, Role)> = Vec::new();
        let name = visible(&it.ask.sandbox_name);
        lines.push((format!("{} of {name}:", request.kind.word()), Role::Dim));
        let cut = subject.len() > most;
        let shown = if cut { most.saturating_sub(1) } else { subject.len() };
        lines.extend(subject.iter().take(shown).map(|it| (it.0.clone(), Role::Box)));
        if cut {
            let more = count(subject.len() - shown, "more row");
            lines.push((format!("… and {more}, which you have read"), Role::Warning));
        }
        let findings = it.ask.risk.findings.iter().take(2);
        lines.extend(findings.map(|it| (format!("! {}", brief(it, room - 2)), Role::Error)));
        lines.push((format!("allowed: {}", scope_words(it.choice.answer.scope)), Role::Box));
        let rows = u16::try_from(lines.len()).unwrap_or(4) + 4;
        let inside = self.boxed(brush, columns, rows, "Allow what is risky?");
        let mut brush = brush.within(inside);
        for (y, (text, role)) in (inside.y..inside.y + inside.height).zip(&lines) {
            brush.text(inside.x, y, inside.width, text, self.on_box(*role));
        }
        let y = inside.y + inside.height.saturating_sub(2);
        let ask = format!("type {ALLOW_WORD}: ");
        let at = brush.text(inside.x, y, inside.width, &ask, self.on_box(Role::Accent));
        let style = self.on_box(Role::Input);
        brush.style(Area::new(at, y, 12, 1), style);
        let end = brush.text(at, y, 12, it.editor.text(), style);
        let (text, role) = match &it.wrong {
            Some(why) => (why.clone(), Role::Error),
            None => {
                let keys = [(Action::LineAccept, "allows it"), (Action::LineCancel, "does not")];
                (self.keys(&keys), Role::Dim)
            }
        };
        brush.text(inside.x, y + 1, inside.width, &text, self.on_box(role));
        Position::new(end.min(inside.x + inside.width.saturating_sub(1)), y)
    }
}
