//! What the row under the cursor leads to. In the list of one sandbox it leads there when it is opened; in the list of the whole
//! fleet it decides at once whose recording shows.

use crate::{
    app::{
        timeline::{Player, TimelinePlace},
        update::Turn,
    },
    base::{
        clock::Timestamp,
        id::{AskId, SessionId},
    },
    model::{event::Level, timeline::Happening},
};

impl Turn<'_> {
    /// A recording at a moment, `None` = at its end. `of` is the sandbox's name, for one that is no more.
    pub(super) fn player_of(
        &self,
        session: &SessionId,
        at: Option<Timestamp>,
        of: Option<&str>,
    ) -> Player {
        let known = self.state.fleet.session(session);
        let name = match (known, of) {
            (Some((row, it)), _) => it.name(&row.sandbox.name),
            (None, Some(of)) => of.to_owned(),
            (None, None) => session.to_string(),
        };
        Player::new(session.clone(), name, at, self.state.now.wall)
    }

    /// Shows another recording, or none.
    fn show_recording(&mut self, player: Option<Player>) {
        let Some(it) = self.timeline_mut() else { return };
        let before = std::mem::replace(&mut it.player, player);
        let gauge = it.gauge_asked.take().map(|it| it.0);
        let finding = it.finding.take().map(|it| it.0);
        (it.gauge, it.range_from, it.hit) = (None, None, None);
        let replay = before.and_then(|it| it.asked).map(|it| it.0);
        replay.into_iter().chain(gauge).chain(finding).for_each(|it| self.cancel(it));
        self.state.dirty = true;
    }

    /// The session that a row is about, or the first of its sandbox.
    fn session_of(&self, row: &Happening) -> Option<SessionId> {
        let first = || {
            let of = self.state.fleet.get(row.sandbox.as_ref()?)?;
            of.sandbox.sessions.first().map(|it| it.id.clone())
        };
        row.session.clone().or_else(first)
    }

    /// In the list of the whole fleet what shows is of the row, whatever moved the cursor there.
    pub(super) fn row_decides(&mut self) {
        let Some(it) = self.state.timeline().filter(|it| it.sandbox.is_none()) else { return };
        let Some(row) = it.current() else { return };
        let session = self.session_of(row);
        if session.as_ref() == it.session() {
            return;
        }
        let (at, of) = (row.place.at, row.sandbox_name.clone());
        let player = session.map(|it| self.player_of(&it, Some(at), of.as_deref()));
        self.show_recording(player);
    }

    /// The list follows the clock: to the last row that had happened by then, in a list of the whole fleet to the last that
    /// is about what shows.
    pub(super) fn follow_clock(&mut self) {
        let Some(it) = self.state.timeline() else { return };
        let (Some(player), fleet) = (&it.player, it.sandbox.is_none()) else { return };
        let at = player.at;
        let row = match fleet {
            false => Some(it.row_at(at)),
            true => {
                let own = |it: &Happening| self.session_of(it).as_ref() == Some(&player.session);
                let by_then = it.listed().enumerate().take_while(|(_, it)| it.place.at <= at);
                by_then.filter(|(_, it)| own(it)).last().map(|it| it.0)
            }
        };
        if let (Some(row), Some(it)) = (row, self.timeline_mut()) {
            it.cursor.move_to(row);
        }
    }

    /// The whole fleet in place of one sandbox; and back to that of the row under the cursor.
    pub(super) fn turn_whole_fleet(&mut self) {
        let Some(it) = self.timeline_mut() else { return };
        let row = it.current().cloned();
        match it.sandbox.take() {
            Some(_) => {}
            None => {
                let row = row.as_ref();
                it.sandbox = row.and_then(|it| it.sandbox.clone());
                it.name = row.and_then(|it| it.sandbox_name.clone()).unwrap_or_default();
            }
        }
        let words = match it.sandbox {
            Some(_) => format!("only {}", it.name),
            None => "the whole fleet".to_owned(),
        };
        it.since = None;
        it.forget();
        // What is under the cursor stays there.
        it.keeps = row.map(|it| it.place);
        self.notice_here(Level::Info, &words);
    }

    /// What the row under the cursor leads to: an ask that waits, or the recording of its session at that time.
    pub(super) fn open_row(&mut self) {
        let Some(row) = self.state.timeline().and_then(TimelinePlace::current).cloned() else {
            return;
        };
        if let Some(ask) = row.ask.as_ref().filter(|it| self.waits(it)) {
            let ask = ask.clone();
            self.open_asks();
            let row = self.inbox_mut().and_then(|it| it.rows.iter().position(|it| it.id == ask));
            if let (Some(row), Some(inbox)) = (row, self.inbox_mut()) {
                inbox.cursor.move_to(row);
                self.read_ask();
            }
            return;
        }
        let at = row.place.at;
        let Some(session) = self.session_of(&row) else {
            return self.notice_here(Level::Info, "no session is known of it");
        };
        let now = self.state.now.since_start;
        if self.state.timeline().and_then(TimelinePlace::session) != Some(&session) {
            let player = self.player_of(&session, Some(at), row.sandbox_name.as_deref());
            return self.show_recording(Some(player));
        }
        if let Some(player) = self.timeline_mut().and_then(|it| it.player.as_mut()) {
            player.seek(at, now);
        }
    }

    fn waits(&self, ask: &AskId) -> bool {
        self.state.asks.waiting().iter().any(|it| it.id == *ask)
    }

    /// The next session of the sandbox, at the same time.
    pub(super) fn other_recording(&mut self, forward: bool) {
        let Some(it) = self.state.timeline() else { return };
        let player = it.player.as_ref();
        let here = player.map(|it| it.session.clone());
        let at = player.filter(|it| !it.follow).map(|it| it.at);
        let row = it.sandbox.as_ref().and_then(|it| self.state.fleet.get(it));
        let all: Vec<SessionId> = row
            .map(|it| it.sandbox.sessions.iter().map(|it| it.id.clone()).collect())
            .unwrap_or_default();
        let from = here.as_ref().and_then(|here| all.iter().position(|it| it == here));
        let step = if forward { 1 } else { all.len().saturating_sub(1) };
        let next = from.map_or(0, |from| (from + step) % all.len().max(1));
        let Some(session) = all.get(next).filter(|it| Some(*it) != here.as_ref()).cloned() else {
            let words = match it.sandbox {
                Some(_) => "it has no other session",
                None => "in the whole fleet the row decides which recording shows",
            };
            return self.notice_here(Level::Info, words);
        };
        let player = self.player_of(&session, at, None);
        self.show_recording(Some(player));
    }
}
