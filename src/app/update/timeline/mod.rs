//! What happened: the place with the screen of the past and the list beside it.

mod row;

use std::time::Duration;

use super::Turn;
use crate::{
    app::{
        action::Action,
        effect::{Act, EffectId},
        layout::{ViewArea, timeline_areas, timeline_detail_rows},
        msg::{Mouse, Reply},
        records::Of,
        state::{LineKind, Pending},
        timeline::{GAUGE_POINTS, GaugeLine, LONG_STEP, Player, STEP, TimelinePlace, Took},
        view::{Left, Pattern, View},
    },
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::SandboxId,
        text::visible,
    },
    model::{
        event::Level,
        gauge::PastWanted,
        replay::{FindRequest, Span},
    },
};

/// What is read of a gauge goes no further back than the hub keeps it.
const GAUGE_BACK_MAX: Duration = Duration::from_secs(24 * 3600);
/// Read anew when what shows is longer by this part.
const GAUGE_ANEW_PART: u32 = 20;

impl Turn<'_> {
    /// Opens it on the session that is meant, or on the whole fleet where none is.
    pub(super) fn open_timeline(&mut self, name: &str) {
        if self.state.timeline().is_some() && name.is_empty() {
            return self.look_at_timeline_again();
        }
        let nobody = self.state.fleet.counts().1 == 0 && name.is_empty();
        // From the inspector, on the session that it explains.
        let explained = self.state.records().and_then(|it| match &it.of {
            Of::Status(sandbox, session) if name.is_empty() => {
                Some((sandbox.clone(), session.clone()))
            }
            _ => None,
        });
        let found = match (nobody, explained) {
            (true, _) => None,
            (false, Some(it)) => Some(it),
            (false, None) => self.inspected(name),
        };
        if found.is_none() && !nobody {
            return;
        }
        let player = found.as_ref().map(|(_, session)| self.player_of(session, None, None));
        let sandbox = found.map(|it| it.0);
        let name = sandbox.as_ref().map(|it| self.name_of(it)).unwrap_or_default();
        let over = !self.state.views.is_empty();
        let hub = sandbox.as_ref().map_or_else(|| self.state.hub_here(), SandboxId::hub);
        let mut place = TimelinePlace::new(sandbox, name, player);
        place.hub = hub;
        self.open_view(View::Timeline(Box::new(place)), over);
    }

    /// What happened in the whole fleet since somebody was last here.
    pub(super) fn open_away(&mut self) {
        let wall = self.state.now.wall;
        let day = Timestamp(wall.0.saturating_sub(24 * 3600 * 1000));
        let since = self.state.away_since.unwrap_or(day);
        self.state.notices.dismiss();
        let over = !self.state.views.is_empty();
        let hub = self.state.hub_here();
        let mut place = TimelinePlace::new(None, String::new(), None);
        place.hub = hub;
        (place.first_since, place.since) = (Some(since), Some(since));
        self.open_view(View::Timeline(Box::new(place)), over);
    }

    pub(super) fn timeline_mut(&mut self) -> Option<&mut TimelinePlace> {
        match self.state.views.last_mut() {
            Some(View::Timeline(it)) => Some(it),
            _ => None,
        }
    }

    fn player_mut(&mut self) -> Option<&mut Player> {
        self.timeline_mut()?.player.as_mut()
    }

    /// Actions of the place; `false` when it is none.
    pub(super) fn timeline_action(&mut self, action: Action) -> bool {
        let now = self.state.now;
        let Some(it) = self.timeline_mut() else { return false };
        if it.cursor.act(action) {
            self.go_to_row();
            return true;
        }
        match action {
            Action::Back => self.leave_timeline(),
            Action::TimelineBack => self.step_clock(STEP, false),
            Action::TimelineOn => self.step_clock(STEP, true),
            Action::TimelineFarBack => self.step_clock(LONG_STEP, false),
            Action::TimelineFarOn => self.step_clock(LONG_STEP, true),
            Action::TimelineNext => self.step_event(true),
            Action::TimelinePrevious => self.step_event(false),
            Action::TimelinePlay => self.turn_play(),
            Action::TimelineFaster | Action::TimelineSlower => {
                let faster = action == Action::TimelineFaster;
                if let Some(player) = &mut it.player {
                    player.change_speed(faster, now.since_start);
                    let words = format!("plays at {}", player.speed().1);
                    self.notice_here(Level::Info, &words);
                }
            }
            Action::TimelineLive => {
                if let Some(player) = &mut it.player {
                    player.go_live(now.since_start, now.wall);
                }
                self.follow_clock();
            }
            Action::TimelineKind => {
                it.next_kind();
                let words = it.kind.map_or_else(
                    || "every kind".to_owned(),
                    |kind| format!("only of the kind {}", kind.word()),
                );
                self.notice_here(Level::Info, &words);
            }
            Action::TimelineFleet => self.turn_whole_fleet(),
            Action::TimelineWhole => it.whole = !it.whole,
            Action::TimelineOpen => self.open_row(),
            Action::TimelineExport => self.export_part(),
            Action::NextPlace | Action::PreviousPlace => {
                self.other_recording(action == Action::NextPlace);
            }
            Action::Again => self.look_at_timeline_again(),
            Action::Find => self.open_line(LineKind::Find, ""),
            Action::FindNext | Action::FindPrevious => {
                self.find_in_time(action == Action::FindNext);
            }
            _ => return false,
        }
        true
    }

    fn leave_timeline(&mut self) {
        let Some(it) = self.timeline_mut() else { return };
        if let Some((id, _)) = it.finding.take() {
            self.cancel(id);
            return self.notice_here(Level::Info, "no longer looked for");
        }
        if it.range_from.take().is_some() {
            return self.notice_here(Level::Info, "nothing is exported");
        }
        if !std::mem::take(&mut it.whole) && !self.give_up() {
            self.close_view();
        }
    }

    /// What it asked for, for when it is closed.
    pub(super) fn timeline_reads(it: TimelinePlace) -> [Option<EffectId>; 4] {
        let replay = it.player.and_then(|it| it.asked).map(|it| it.0);
        let gauge = it.gauge_asked.map(|it| it.0);
        [it.asked.map(|it| it.0), it.finding.map(|it| it.0), replay, gauge]
    }

    fn step_clock(&mut self, by: Duration, forward: bool) {
        let now = self.state.now.since_start;
        let Some(player) = self.player_mut() else { return self.no_recording() };
        player.seek_by(by, forward, now);
        self.follow_clock();
    }

    fn no_recording(&mut self) {
        self.notice_here(Level::Info, "no recording is open: go to a row of a session first");
    }

    /// The clock follows the list.
    fn go_to_row(&mut self) {
        let now = self.state.now.since_start;
        let Some(it) = self.timeline_mut() else { return };
        let Some(at) = it.current().map(|it| it.place.at) else { return };
        if let Some(player) = &mut it.player {
            player.seek(at, now);
        }
    }

    fn step_event(&mut self, forward: bool) {
        let Some(it) = self.timeline_mut() else { return };
        let here = it.current().map(|it| it.place.at);
        let at = match (&it.player, here) {
            // Beyond the ends of the recording only the list goes on.
            (Some(player), Some(here)) if player.is_beyond(here) => here,
            (Some(player), _) => player.at,
            (None, here) => here.unwrap_or(Timestamp(0)),
        };
        match it.step_from(at, forward) {
            Some(row) => {
                it.cursor.move_to(row);
                self.go_to_row();
            }
            None => {
                let words = if forward {
                    "nothing happened after that"
                } else {
                    "nothing is known of before"
                };
                self.notice_here(Level::Info, words);
            }
        }
    }

    fn turn_play(&mut self) {
        let now = self.state.now;
        let Some(player) = self.player_mut() else { return self.no_recording() };
        if !player.is_playing() && player.is_at_end() {
            // There is nothing to play: from the beginning, as with a tape.
            if player.live {
                player.go_live(now.since_start, now.wall);
                return self.notice_here(Level::Info, "this is the live end; it follows");
            }
            let begin = player.begins_at;
            player.seek(begin, now.since_start);
        }
        player.turn_play(now.since_start);
    }

    /// Looks for a text from where its clock stands; nothing typed = no longer.
    pub(super) fn find_in_timeline(&mut self, text: &str) {
        let pattern = match Pattern::new(text) {
            Ok(it) => (!text.is_empty()).then_some(it),
            Err(why) => return self.notice_here(Level::Error, &format!("the pattern: {why}")),
        };
        let Some(it) = self.timeline_mut() else { return };
        (it.pattern, it.hit) = (pattern, None);
        // From the end there is only the way back.
        let at_end = it.player.as_ref().is_some_and(|it| it.follow || it.is_at_end());
        if it.pattern.is_some() {
            self.find_in_time(!at_end);
        }
    }

    fn find_in_time(&mut self, forward: bool) {
        let Some(it) = self.timeline_mut() else { return };
        if it.pattern.is_none() {
            let key = self.state.key_words(Action::Find);
            return self
                .notice_here(Level::Info, &format!("nothing was looked for yet; {key} does"));
        }
        let Some(player) = &it.player else { return self.no_recording() };
        let from = player.offset();
        self.ask_for_text(from, forward);
    }

    fn ask_for_text(&mut self, from: u64, forward: bool) {
        let Some(it) = self.timeline_mut() else { return };
        let before = it.finding.take();
        let pattern = it.pattern.as_ref().map(|it| it.text.clone());
        let (Some(pattern), Some(session)) = (pattern, it.session().cloned()) else {
            return;
        };
        before.into_iter().for_each(|(id, _)| self.cancel(id));
        let request = FindRequest { pattern: pattern.clone(), from, backwards: !forward };
        let act = Act::FindInTime { session, request };
        let what = format!("looking for {}", visible(&pattern));
        let id = self.begin(act, Pending::FindInTime, what, Left::Ended);
        if let (Some(id), Some(it)) = (id, self.timeline_mut()) {
            it.finding = Some((id, forward));
        }
    }

    /// The part begins here; once more, and it is written to a file.
    fn export_part(&mut self) {
        let zone = self.state.zone.clone();
        let export = self.state.key_words(Action::TimelineExport);
        let back = self.state.key_words(Action::Back);
        let Some(it) = self.timeline_mut() else { return };
        let Some(player) = &it.player else { return self.no_recording() };
        let (at, session, name) = (player.at, player.session.clone(), player.name.clone());
        let Some(from) = it.range_from.take() else {
            it.range_from = Some(at);
            let time = zone.time(at);
            let words = format!(
                "a part begins at {time}; {export} where it ends writes it, {back} does not"
            );
            return self.notice_here(Level::Info, &words);
        };
        let (from, until) = (from.min(at), from.max(at));
        let plain: String = name
            .chars()
            .map(|it| if it.is_alphanumeric() || "-_.".contains(it) { it } else { '-' })
            .collect();
        let file = format!(
            "{}-{}.cast",
            plain.trim_start_matches('.'),
            zone.date_time(from).replace([' ', ':'], "-")
        );
        let words = format!(
            "sandwatch recordings export {session} --from {} --until {} -o {file}",
            from.rfc3339(),
            until.rfc3339()
        );
        let span = Span { from: Some(from), until: Some(until) };
        let path = self.state.directory.join(&file);
        let act = Act::Export { session, span, path: path.clone() };
        let pending = Pending::Export { path, words };
        self.begin(act, pending, format!("writing {file}"), Left::Finished);
    }

    pub(super) fn look_at_timeline_again(&mut self) {
        let Some(it) = self.timeline_mut() else { return };
        it.forget();
        it.gauge = None;
        if let Some(player) = &mut it.player {
            player.wrong = None;
        }
        self.step_clock(Duration::ZERO, true);
    }

    /// A sandbox changed: there may be news.
    pub(super) fn stir_timeline(&mut self, sandbox: &SandboxId) {
        let now = self.state.now.since_start;
        if let Some(it) = self.timeline_mut()
            && it.sandbox.as_ref().is_none_or(|it| it == sandbox)
        {
            it.stir(now);
        }
    }

    /// The clock goes on, the windows have their sizes, and what is missing is asked for.
    pub(super) fn settle_timeline(&mut self) {
        let Some(area) = self.state.frame.view else { return };
        let now = self.state.now;
        let up = self.state.timeline().is_some_and(|it| self.state.is_up(it.hub));
        self.row_decides();
        let Some(it) = self.timeline_mut() else { return };
        let list = area.list.1;
        it.cursor.set_height(usize::from(list.height - timeline_detail_rows(it, list)));
        if let Some(player) = &mut it.player {
            let took = player.turn(now.since_start, now.wall);
            let playing = player.is_playing() || player.follow;
            it.columns = it.columns.max(player.screen().map_or(0, |it| it.size().cols()));
            let lags = playing && it.cursor.at() + 1 < it.cursor.count();
            if took != Took::Nothing {
                if lags || took == Took::Ended {
                    self.follow_clock();
                }
                self.state.dirty = true;
            }
        }
        if !up {
            return;
        }
        self.ask_for_happenings();
        self.ask_for_replay();
        self.ask_for_gauge();
    }

    fn ask_for_happenings(&mut self) {
        let now = self.state.now.since_start;
        let Some(it) = self.timeline_mut() else { return };
        let hub = it.hub;
        let Some((reading, request)) = it.wanted(now) else { return };
        let id = self.start_of(hub, Act::Timeline(Box::new(request)), Some(Pending::Timeline));
        if let (Some(id), Some(it)) = (id, self.timeline_mut()) {
            it.asked = Some((id, reading));
        }
    }

    fn ask_for_replay(&mut self) {
        let now = self.state.now.since_start;
        let Some(player) = self.player_mut() else { return };
        let session = player.session.clone();
        let Some(wanted) = player.wants(now) else { return };
        let moment = match wanted {
            crate::app::timeline::Wanted::Seek(it) | crate::app::timeline::Wanted::More(it) => it,
        };
        let id = self.start(Act::Replay { session, moment }, Some(Pending::Replay));
        if let (Some(id), Some(player)) = (id, self.player_mut()) {
            player.asked = Some((id, wanted));
        }
    }

    fn ask_for_gauge(&mut self) {
        let wall = self.state.now.wall;
        let Some(it) = self.state.timeline() else { return };
        let of = it.session().and_then(|it| self.state.fleet.session(it));
        let sandbox = of.map(|(row, _)| row.sandbox.id.clone()).or_else(|| it.sandbox.clone());
        let (Some(sandbox), Some(player)) = (sandbox, &it.player) else { return };
        if it.gauge_asked.is_some() || player.screen().is_none() {
            return;
        }
        let back = wall.since(player.begins_at).clamp(Duration::from_secs(60), GAUGE_BACK_MAX);
        let enough = |it: &GaugeLine| wall.since(it.until) < back / GAUGE_ANEW_PART;
        if it.gauge.as_ref().is_some_and(enough) {
            return;
        }
        let points = GAUGE_POINTS.min(u32::try_from(back.as_secs()).unwrap_or(u32::MAX));
        let wanted = PastWanted { sandbox: Some(sandbox), back, points };
        let id = self.start(Act::GaugePast(wanted), Some(Pending::TimelineGauge));
        if let (Some(id), Some(it)) = (id, self.timeline_mut()) {
            it.gauge_asked = Some((id, wall, back));
        }
    }

    /// Answers for the place; those for one that was closed are not wanted.
    pub(super) fn timeline_done(&mut self, id: EffectId, pending: Pending, result: Outcome<Reply>) {
        self.state.dirty = true;
        let other = || Fault::bug("the hub answered something else");
        match (pending, result) {
            (Pending::Timeline, result) => {
                let Some(it) = self.timeline_mut() else { return };
                let Some((_, reading)) = it.asked.take_if(|it| it.0 == id) else { return };
                match result {
                    Ok(Reply::Timeline(page)) => it.take(reading, *page),
                    Ok(_) => it.wrong = Some(other().message().to_owned()),
                    Err(fault) => it.wrong = Some(fault.message().to_owned()),
                }
            }
            (Pending::Replay, result) => {
                let Some(player) = self.player_mut() else { return };
                let came = match result {
                    Ok(Reply::Replay(it)) => Ok(*it),
                    Ok(_) => Err(other().message().to_owned()),
                    Err(fault) => Err(fault.message().to_owned()),
                };
                player.take(id, came);
            }
            (Pending::FindInTime, result) => self.found_in_time(id, result),
            (Pending::TimelineGauge, result) => {
                let Some(it) = self.timeline_mut() else { return };
                let Some((_, until, back)) = it.gauge_asked.take_if(|it| it.0 == id) else {
                    return;
                };
                let past = match result {
                    Ok(Reply::GaugePast(past)) => Some(*past),
                    // Nothing is known of it.
                    _ => None,
                };
                it.gauge = Some(GaugeLine { past, until, back });
            }
            (Pending::Export { path, words }, Ok(_)) => {
                let says = format!("written: {} · the same again: {words}", path.display());
                self.notice(Level::Info, &says);
            }
            (Pending::Export { path, .. }, Err(fault)) => {
                self.fault(&format!("writing {}", path.display()), &fault);
            }
            (Pending::Sign, result) => self.seen_last(result),
            (Pending::Away(since), result) => self.away_told(since, result),
            _ => {}
        }
    }

    fn found_in_time(&mut self, id: EffectId, result: Outcome<Reply>) {
        let now = self.state.now.since_start;
        let Some(it) = self.timeline_mut() else { return };
        let Some((_, forward)) = it.finding.take_if(|it| it.0 == id) else { return };
        let page = match result {
            Ok(Reply::Found(page)) => *page,
            Ok(_) => return self.notice(Level::Error, "the hub answered something else"),
            Err(fault) => return self.fault("looking in the recording", &fault),
        };
        match (page.hit, page.next) {
            (Some(hit), _) => {
                let zone = self.state.zone.clone();
                let Some(it) = self.timeline_mut() else { return };
                let line = hit.line.trim().to_owned();
                it.hit = Some(line.clone());
                if let Some(player) = &mut it.player {
                    player.go_to(hit.at, hit.end, now);
                }
                self.follow_clock();
                self.notice_here(Level::Info, &format!("{}  {line}", zone.time(hit.at)));
            }
            (None, Some(next)) => self.ask_for_text(next, forward),
            (None, None) => {
                let words = match forward {
                    true => "it was not printed after that",
                    false => "it was not printed before that",
                };
                self.notice_here(Level::Info, words);
            }
        }
    }

    pub(super) fn mouse_in_timeline(&mut self, mouse: Mouse, area: ViewArea) {
        let (x, y) = (mouse.column, mouse.row);
        let list = area.list.1;
        let row = list.contains(x, y).then(|| usize::from(y - list.y));
        let (_, clock) = timeline_areas(area.side.1);
        let share = f64::from(x.saturating_sub(clock.x)) / f64::from(clock.width.max(1));
        let bar = clock.contains(x, y).then_some(share);
        let now = self.state.now.since_start;
        let Some(rows) = self.state.turned(mouse) else { return };
        let Some(it) = self.timeline_mut() else { return };
        match (bar, row) {
            (Some(share), _) if rows == 0 => {
                let Some(player) = &mut it.player else { return };
                let (begin, end) = (player.begins_at.0, player.ends_at.0.max(player.begins_at.0));
                let at = begin.saturating_add((end.saturating_sub(begin) as f64 * share) as i64);
                player.seek(Timestamp(at), now);
                self.follow_clock();
            }
            (_, Some(_)) if rows != 0 => {
                it.cursor.move_by(rows);
                self.go_to_row();
            }
            (_, Some(row)) => {
                let row = it.cursor.top() + row;
                if row < it.cursor.count() {
                    it.cursor.move_to(row);
                    self.go_to_row();
                }
            }
            _ => {}
        }
    }
}
