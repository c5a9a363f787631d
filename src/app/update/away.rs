//! Who was away: the hub is told that somebody is here, and whoever comes back reads what happened in one line.

use super::Turn;
use crate::{
    app::{action::Action, effect::Act, msg::Reply, state::Pending},
    base::{
        clock::Timestamp,
        fault::Outcome,
        id::HubNumber,
        limits::{AWAY_AFTER, SIGN_EVERY, TIMELINE_PAGE_MAX},
        text::{count, visible},
        units::human_duration,
    },
    model::{
        event::Level,
        timeline::{Happening, Kind, TimelinePage, TimelineRequest, away},
    },
};

impl Turn<'_> {
    /// Somebody is there: the hub is told now and then, and asked what happened when that was not so for long.
    pub(super) fn give_sign(&mut self) {
        if !self.state.is_up(HubNumber::FIRST) {
            return;
        }
        let now = self.state.now;
        let before = self.state.signed_at;
        let passed = before.map(|it| now.since_start.saturating_sub(it));
        if passed.is_some_and(|it| it < SIGN_EVERY) {
            return;
        }
        self.state.signed_at = Some(now.since_start);
        // The console was open all the time: what the hub knows may be another's doing.
        let was_away = passed.filter(|it| *it >= AWAY_AFTER);
        let own = was_away.map(|it| {
            Timestamp(now.wall.0.saturating_sub(i64::try_from(it.as_millis()).unwrap_or(0)))
        });
        let first = before.is_none();
        let pending = match (first, own) {
            (true, _) => Pending::Sign,
            _ => Pending::Quiet("telling the hub that you are there".to_owned()),
        };
        self.start(Act::Sign(now.wall), Some(pending));
        if let Some(since) = own {
            self.ask_for_away(since);
        }
    }

    pub(super) fn seen_last(&mut self, result: Outcome<Reply>) {
        let now = self.state.now.wall;
        if let Ok(Reply::Sign(Some(before))) = result
            && now.since(before) >= AWAY_AFTER
        {
            self.ask_for_away(before);
        }
    }

    fn ask_for_away(&mut self, since: Timestamp) {
        // However many files were written: they are in nothing else's way.
        let kinds = Kind::ALL.iter().copied().filter(|it| *it != Kind::Files).collect();
        let request = TimelineRequest {
            since: Some(since),
            kinds,
            most: TIMELINE_PAGE_MAX,
            ..TimelineRequest::default()
        };
        self.start(Act::Timeline(Box::new(request)), Some(Pending::Away(since)));
    }

    /// One line, not in the way, that says what to read.
    pub(super) fn away_told(&mut self, since: Timestamp, result: Outcome<Reply>) {
        let Ok(Reply::Timeline(page)) = result else { return };
        let Some(words) = away_words(&page) else { return };
        let ago = human_duration(self.state.now.wall.since(since));
        self.state.away_since = Some(since);
        let key = self.state.key_words(Action::TimelineAway);
        self.notice(Level::Info, &format!("while you were away ({ago}): {words} · {key} shows it"));
    }
}

/// What happened, in a few words; `None` = nothing that anybody needs to know.
fn away_words(page: &TimelinePage) -> Option<String> {
    let own = |it: &&Happening| !matches!(it.kind, Kind::Keyboard | Kind::Hub | Kind::Policy);
    let all: Vec<_> = page.happenings.iter().filter(own).collect();
    let groups = away(all.iter().copied());
    let first = groups.first()?;
    let many = |kind: Kind| all.iter().filter(|it| it.kind == kind).count();
    let mut words: Vec<String> =
        [(Kind::Ask, "ask"), (Kind::Session, "program"), (Kind::Snapshot, "snapshot")]
            .iter()
            .map(|(kind, word)| (many(*kind), word))
            .filter(|it| it.0 > 0)
            .map(|(many, word)| count(many, word))
            .collect();
    if words.is_empty() {
        words.push(count(all.len(), "change"));
    }
    let more = if page.more { "more than " } else { "" };
    let of = first.name.as_deref().filter(|it| !first.last.starts_with(*it));
    let of = of.map(|it| format!("{it}: ")).unwrap_or_default();
    let last = visible(&format!("{of}{}", first.last));
    Some(format!("{more}{} in {}; {last}", words.join(", "), count(groups.len(), "sandbox")))
}
