//! The timeline: the screen of a session as it was, its clock with what happened on it, and the list of that.

use ratatui::style::{Modifier, Style};

use super::{
    View,
    chrome::level_role,
    gauges::{block, eighths},
    paint::Brush,
    theme::Role,
};
use crate::{
    app::{
        layout::{Area, ViewArea, timeline_areas, timeline_detail_rows},
        pane::first_row,
        timeline::{Player, TimelinePlace},
        view::Pattern,
    },
    base::{
        clock::Timestamp,
        text::{visible, width, wrap},
        units::human_duration,
    },
    model::{
        event::Level,
        gauge::Series,
        timeline::{Happening, Kind},
    },
    vt::screen::Screen,
};

/// Cells of a time, with the blank behind it.
const TIME: u16 = 9;
const SIGN: u16 = 2;
/// Most cells of the name of a sandbox in a list of the whole fleet: so many, or one in so many of the list.
const NAME: u16 = 14;
const NAME_PART: u16 = 6;
/// In place of a name.
const HUB: &str = "(hub)";

/// A sign that differs in shape.
fn sign(kind: Kind) -> &'static str {
    match kind {
        Kind::Ask => "!",
        Kind::Status => "~",
        Kind::Session => "+",
        Kind::Sandbox => "=",
        Kind::Snapshot => "@",
        Kind::Keyboard => "k",
        Kind::Egress => ">",
        Kind::Files => "f",
        Kind::Policy => "p",
        Kind::Notice => "i",
        Kind::Gauge => "%",
        Kind::Hub => "h",
    }
}

/// What counts more where two fall into one column.
fn weight(it: &Happening) -> (Level, bool, bool) {
    (it.level, it.kind == Kind::Ask, !matches!(it.kind, Kind::Files | Kind::Status))
}

fn role(it: &Happening) -> Role {
    match (it.level, it.kind) {
        (Level::Info, Kind::Ask) => Role::Asks,
        (Level::Info, _) => Role::Base,
        (level, _) => level_role(level),
    }
}

impl View<'_> {
    pub(super) fn timeline(&self, brush: &mut Brush<'_>, it: &TimelinePlace, area: &ViewArea) {
        let focused = self.state.overlay.is_none();
        let (header, side) = area.side;
        if !header.is_empty() {
            self.past_title(brush, it, header);
            let (screen, clock) = timeline_areas(side);
            self.past_screen(&mut brush.within(screen), it, screen);
            self.clock(&mut brush.within(clock), it, clock);
        }
        let (header, list) = area.list;
        if header.is_empty() {
            return;
        }
        let of = match &it.sandbox {
            Some(_) => visible(&it.name),
            None => {
                it.since.map_or_else(|| "the whole fleet".to_owned(), |it| self.fleet_since(it))
            }
        };
        let end = self.view_title(brush, header, focused, "TIMELINE", &of);
        let kind = it.kind.map(|it| format!("only {} · ", it.word())).unwrap_or_default();
        let at = if it.cursor.count() == 0 { 0 } else { it.cursor.at() + 1 };
        let more = if it.more { "+" } else { "" };
        let text = format!(" {kind}{at} of {}{more} ", it.cursor.count());
        let right = header.x + header.width;
        let style = self.theme.style(if focused { Role::BorderFocus } else { Role::BorderTitle });
        brush.text_right(right, header.y, right.saturating_sub(end + 1), &text, style);
        self.happenings(&mut brush.within(list), it);
    }

    /// What is listed for whoever was away, in as few words as fit beside a recording.
    fn fleet_since(&self, at: Timestamp) -> String {
        let (zone, now) = (&self.state.zone, self.state.now.wall);
        let (then, today) = (zone.date_time(at), zone.date_time(now));
        let same_day = then.get(..10) == today.get(..10);
        let time = then.get(if same_day { 11..16 } else { 5..16 }).unwrap_or_default();
        let away = if self.state.away_since == Some(at) { "away since" } else { "since" };
        format!("fleet, {away} {time} ({})", human_duration(now.since(at)))
    }

    /// Whose recording it is, and of when the picture.
    fn past_title(&self, brush: &mut Brush<'_>, it: &TimelinePlace, header: Area) {
        let Some(player) = &it.player else { return };
        let end = self.view_title(brush, header, false, "RECORDING", &visible(&player.name));
        let size = player.screen().map(Screen::size);
        let body = Area { height: u16::MAX, ..header };
        let cut = size.filter(|it| it.cols() > body.width);
        let mut words =
            cut.map(|it| format!("part of {}x{} · ", it.cols(), it.rows())).unwrap_or_default();
        words += &match (&player.exit, player.follow && player.live) {
            (Some(exit), _) => format!("it had ended with {} ", exit.code()),
            (None, true) => "LIVE ".to_owned(),
            (None, false) => "PAST ".to_owned(),
        };
        let style = self.theme.style(Role::BorderTitle);
        let right = header.x + header.width;
        brush.text_right(right, header.y, right.saturating_sub(end + 1), &words, style);
    }

    fn past_screen(&self, brush: &mut Brush<'_>, it: &TimelinePlace, area: Area) {
        let dim = self.theme.style(Role::Dim);
        let say = |brush: &mut Brush<'_>, words: &str| {
            for (y, line) in (area.y..).zip(wrap(words, usize::from(area.width.saturating_sub(2))))
            {
                brush.text(area.x + 1, y, area.width.saturating_sub(1), &line, dim);
            }
        };
        let Some(player) = &it.player else {
            return say(brush, "no recording belongs to this row");
        };
        match (player.screen(), &player.wrong) {
            (_, Some(why)) => say(brush, &format!("no picture: {}", visible(why))),
            (Some(screen), None) => {
                // What shows until the asked-for picture comes is another one.
                self.screen(brush, area, screen, player.is_behind());
                if let Some(pattern) = &it.pattern {
                    self.found(brush, area, screen, pattern);
                }
            }
            (None, None) => say(brush, "asking the hub"),
        }
    }

    /// What is looked for, where it shows.
    fn found(&self, brush: &mut Brush<'_>, area: Area, screen: &Screen, pattern: &Pattern) {
        let first = first_row(screen, area.height);
        let lines = screen.lines();
        let rows = (area.y..area.y + area.height).zip(lines.iter().skip(usize::from(first)));
        for (y, line) in rows {
            for (from, to) in pattern.places(line) {
                let cells = |part: Option<&str>| {
                    u16::try_from(part.map_or(0, width)).unwrap_or(u16::MAX).min(area.width)
                };
                let (x, wide) = (cells(line.get(..from)), cells(line.get(from..to)));
                let part = Area::new(area.x + x, y, wide.min(area.width - x), 1);
                brush.style(part, self.theme.style(Role::Match));
            }
        }
    }

    fn clock(&self, brush: &mut Brush<'_>, it: &TimelinePlace, area: Area) {
        let Some(player) = &it.player else { return };
        let mut rows = area.y..area.y + area.height;
        if area.height >= 2
            && let Some(y) = rows.next()
        {
            self.clock_words(brush, it, player, Area { y, height: 1, ..area });
        }
        if let Some(y) = rows.next() {
            self.clock_bar(brush, it, player, Area { y, height: 1, ..area });
        }
        if let Some(y) = rows.next() {
            self.clock_gauge(brush, it, player, Area { y, height: 1, ..area });
        }
    }

    fn clock_words(&self, brush: &mut Brush<'_>, it: &TimelinePlace, player: &Player, area: Area) {
        let zone = &self.state.zone;
        let strong = self.theme.style(Role::Title);
        let style = self.theme.style(Role::Hint);
        brush.fill(self.theme.style(Role::Base));
        let mut at = brush.text(area.x + 1, area.y, area.width, &zone.date_time(player.at), strong);
        let state = match (player.is_playing(), player.follow && player.live) {
            (true, _) => format!("  ▶ {}", player.speed().1),
            (false, true) => "  ● live".to_owned(),
            (false, false) => format!("  ‖ {}", player.speed().1),
        };
        at = brush.text(at, area.y, area.width, &state, strong);
        let mut said: Vec<String> = Vec::new();
        let back = player.ends_at.since(player.at);
        if back.as_secs() > 0 {
            let end = if player.live { "ago" } else { "before the end" };
            said.push(format!("{} {end}", human_duration(back)));
        }
        if let Some(gap) = player.skipped.filter(|_| player.is_playing()) {
            said.push(format!("{} idle skipped", human_duration(gap)));
        }
        if let Some(from) = it.range_from {
            said.push(format!("part from {}", zone.time(from)));
        }
        if let Some(pattern) = &it.pattern {
            said.push(format!("/{}", visible(&pattern.text)));
        }
        let text = format!("  {}", said.join(" · "));
        let room = (area.x + area.width).saturating_sub(at);
        brush.text(at, area.y, room, &text, style);
    }

    fn clock_bar(&self, brush: &mut Brush<'_>, it: &TimelinePlace, player: &Player, area: Area) {
        let column = |at: Timestamp| column(player, at, area.width);
        let here = column(player.at).unwrap_or(0);
        let from = it.range_from.and_then(column);
        let (dim, base) = (self.theme.style(Role::Dim), self.theme.style(Role::Accent));
        for x in 0..area.width {
            let in_part = from.is_some_and(|from| (from.min(here)..=from.max(here)).contains(&x));
            let (line, style) = match (in_part, x < here) {
                (true, _) => ("═", self.theme.style(Role::Warning)),
                (false, true) => ("━", base),
                (false, false) => ("─", dim),
            };
            brush.cluster(area.x + x, area.y, line, 1, style);
        }
        let mut marks: Vec<Option<&Happening>> = vec![None; usize::from(area.width)];
        for row in it.listed() {
            // In a list of the whole fleet all of it is on the bar.
            let own = row.session.as_ref().is_none_or(|it| *it == player.session);
            let other = it.sandbox.is_some() && !own;
            let Some(x) = column(row.place.at).filter(|_| !other) else { continue };
            let Some(mark) = marks.get_mut(usize::from(x)) else { continue };
            if mark.is_none_or(|it| weight(it) <= weight(row)) {
                *mark = Some(row);
            }
        }
        for (x, row) in (area.x..).zip(&marks) {
            if let Some(row) = row {
                brush.cluster(x, area.y, sign(row.kind), 1, self.theme.style(role(row)));
            }
        }
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        brush.style(Area { x: area.x + here, width: 1, ..area }, reversed);
    }

    /// What it used of the processors, on the same clock; where that is not known, a point.
    fn clock_gauge(&self, brush: &mut Brush<'_>, it: &TimelinePlace, player: &Player, area: Area) {
        let dim = self.theme.style(Role::Dim);
        let past = it.gauge.as_ref().and_then(|it| it.past.as_ref());
        let line = past.and_then(|it| it.lines.iter().find(|it| it.series == Series::Cpu));
        let (Some(past), Some(line)) = (past, line) else {
            let words = match it.gauge {
                Some(_) => " nothing is known of what it used then",
                None => "",
            };
            brush.text(area.x, area.y, area.width, words, dim);
            return;
        };
        let step = i64::try_from(past.step.as_millis()).unwrap_or(1).max(1);
        let most = line.peak.iter().copied().filter(|it| !it.is_nan()).fold(0.0, f32::max);
        let style = self.theme.style(Role::Working);
        let span = span(player);
        for x in 0..area.width {
            let share = f64::from(x) / f64::from(area.width.max(2) - 1);
            let at = player.begins_at.0.saturating_add((span as f64 * share) as i64);
            let back = (past.until.0.saturating_sub(at)).div_euclid(step);
            let figure = usize::try_from(back)
                .ok()
                .and_then(|back| line.mean.get(line.mean.len().checked_sub(back + 1)?).copied());
            let known = figure.filter(|it| !it.is_nan());
            let (text, look) = match known {
                Some(it) if most > 0.0 => (block(eighths(f64::from(it / most), 1)), style),
                Some(_) => (" ", style),
                None => ("·", dim),
            };
            brush.cluster(area.x + x, area.y, text, 1, look);
        }
        let words = format!(" cpu, at most {most:.0}% ");
        if usize::from(area.width) > 3 * width(&words) {
            brush.text(area.x, area.y, area.width, &words, dim);
        }
    }

    fn happenings(&self, brush: &mut Brush<'_>, it: &TimelinePlace) {
        let area = brush.area();
        let dim = self.theme.style(Role::Dim);
        let room = area.width.saturating_sub(1);
        if let Some(why) = &it.wrong {
            let words = format!("not known: {}", visible(why));
            brush.text(area.x + 1, area.y, room, &words, dim);
            return;
        }
        if it.cursor.count() == 0 {
            let words =
                if it.is_known() { "nothing is known to have happened" } else { "asking the hub" };
            brush.text(area.x + 1, area.y, room, words, dim);
            return;
        }
        let details = timeline_detail_rows(it, area);
        let (list, below) = area.split_top(area.height - details);
        let clock = it.player.as_ref().filter(|it| !it.follow).map(|it| it.at);
        // As wide as what stands in it: words have the rest.
        let names = it.listed().map(|it| it.about().map_or(HUB.len(), width)).max().unwrap_or(0);
        let names = u16::try_from(names).unwrap_or(u16::MAX);
        let names = names.min(NAME.max(list.width / NAME_PART));
        let mut before: Option<String> = None;
        for (y, row) in (list.y..list.y + list.height).zip(it.cursor.top()..) {
            let Some(happened) = it.row(row) else { break };
            let here = row == it.cursor.at();
            let future = clock.is_some_and(|clock| happened.place.at > clock);
            // A row of another day than the one above begins with the day.
            let day = self.state.zone.date_time(happened.place.at).get(..10).map(str::to_owned);
            let same_day = before.is_none() || before == day;
            before = day;
            self.happening(
                brush,
                Area { y, height: 1, ..list },
                it,
                happened,
                names,
                (here, future, same_day),
            );
        }
        if let Some(text) = it.detail().filter(|_| details > 0) {
            self.detail(&mut brush.within(below), &text);
        }
    }

    fn happening(
        &self,
        brush: &mut Brush<'_>,
        area: Area,
        it: &TimelinePlace,
        row: &Happening,
        names: u16,
        (here, future, same_day): (bool, bool, bool),
    ) {
        let dim = self.theme.style(Role::Dim);
        let style = if future { dim } else { self.theme.style(role(row)) };
        let zone = &self.state.zone;
        let time = match same_day {
            true => zone.time(row.place.at),
            // The day, in as many cells.
            false => zone.date_time(row.place.at).get(2..10).unwrap_or_default().to_owned(),
        };
        let mut x = area.x + 1;
        brush.text(x, area.y, TIME, &time, dim);
        x += TIME;
        brush.text(x, area.y, 1, sign(row.kind), style);
        x += SIGN;
        let (of, words) = row.parts();
        if it.sandbox.is_none() {
            brush.text(x, area.y, names, &of.map_or_else(|| HUB.to_owned(), visible), dim);
            x += names + 1;
        }
        // One sandbox's list names its further sessions only.
        let further = of.is_some_and(|it| row.sandbox_name.as_deref() != Some(it));
        let words = if it.sandbox.is_some() && further { row.line() } else { words };
        let room = (area.x + area.width).saturating_sub(x);
        brush.text(x, area.y, room, &visible(&words), style);
        if here {
            brush.text(area.x, area.y, 1, ">", self.theme.style(Role::Accent));
            let style = Style { fg: None, ..self.theme.style(Role::Selection) };
            brush.style(area, style);
        }
    }

    /// All of the row under the cursor, as far as it fits.
    fn detail(&self, brush: &mut Brush<'_>, text: &str) {
        let area = brush.area();
        brush.line(Area { height: 1, ..area }, "─", self.theme.style(Role::Border));
        let lines = wrap(text, usize::from(area.width.saturating_sub(2)));
        let style = self.theme.style(Role::Base);
        for (y, line) in (area.y + 1..area.y + area.height).zip(&lines) {
            brush.text(area.x + 1, y, area.width.saturating_sub(1), line, style);
        }
    }
}

fn span(player: &Player) -> i64 {
    player.ends_at.0.saturating_sub(player.begins_at.0).max(1)
}

/// The column of a time; `None` = it is not in the recording.
fn column(player: &Player, at: Timestamp, columns: u16) -> Option<u16> {
    let from = at.0.checked_sub(player.begins_at.0).filter(|it| *it >= 0)?;
    let share = from as f64 / span(player) as f64;
    (share <= 1.0).then(|| (share * f64::from(columns.saturating_sub(1))).round() as u16)
}
