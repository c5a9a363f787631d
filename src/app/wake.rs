//! When the console wants to be woken though nothing happens.

use std::time::Duration;

use super::{
    msg::Link,
    pane::{Feed, Watch},
    state::{AGES_LIVE_FOR, State, WHICH_KEY_AFTER},
    view::View,
    voice::RING_EVERY,
};
use crate::base::clock::Timestamp;

/// All ages on screen are looked at together, so often.
const AGES_EVERY: i64 = 5_000;

/// When the ages that are shown at that time were looked at.
pub fn ages_at(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(now.0.rem_euclid(AGES_EVERY)))
}

/// An age as it is shown, and how long until it reads differently: in steps of five seconds, then in the
/// unit that it is written in.
pub fn age(since: Timestamp, now: Timestamp) -> (Duration, Duration) {
    let millis = |it: i64| Duration::from_millis(u64::try_from(it).unwrap_or(0));
    let exact = millis(ages_at(now).0.saturating_sub(since.0));
    let step = match exact.as_secs() {
        0..60 => 5,
        60..3600 => 60,
        3600..86_400 => 3600,
        _ => 86_400,
    };
    let shown = Duration::from_secs(exact.as_secs() / step * step);
    let older = i64::try_from((shown + Duration::from_secs(step)).as_millis()).unwrap_or(i64::MAX);
    // The first common look that finds it older.
    let next = ages_at(Timestamp(since.0.saturating_add(older).saturating_add(AGES_EVERY - 1)));
    (shown, millis(next.0.saturating_sub(now.0)))
}

impl State {
    /// When `Msg::Tick` is next wanted, on the clock of `Moment::since_start`; `None` = not until
    /// something else happens.
    pub fn wake_at(&self) -> Option<Duration> {
        let which_key = (!self.typed.is_empty() && !self.shows_which_key())
            .then(|| self.typed_at + WHICH_KEY_AFTER);
        let held = self.watches.values().filter_map(Watch::held_until);
        let retries = self.watches.values().filter_map(|it| match &it.feed {
            Feed::Broken { retry_at, .. } => *retry_at,
            _ => None,
        });
        let soonest = held.chain(retries).chain(which_key).chain(self.notices.until());
        let soonest =
            soonest.chain(self.rest.at()).chain(self.hears_at()).chain(self.ask_hears_at());
        let soonest = soonest.chain(self.work_reads_anew_at());
        let rests_at = self.views.last().and_then(View::rests_at);
        // Nobody looks: nothing is asked anew.
        let unseen = self.records().is_some() && !self.ages_are_live();
        let soonest = soonest.chain(rests_at.filter(|_| !unseen));
        soonest
            .chain(self.ages_read_anew_at())
            .chain(self.link_reads_anew_at())
            .chain(self.asks_ring_at())
            .chain(self.gauges_stale_at())
            .chain(self.timeline_wakes_at())
            .chain(self.grip.as_ref().and_then(|it| it.predicted.until()))
            .min()
    }

    /// When the operator is next called for asks.
    pub(super) fn asks_ring_at(&self) -> Option<Duration> {
        let voices = &self.voices;
        let soonest = voices.rang_for_asks_at.map_or(Duration::ZERO, |it| it + RING_EVERY);
        (!voices.owed.is_empty()).then_some(soonest)
    }

    /// When the time without a hub next reads differently.
    fn link_reads_anew_at(&self) -> Option<Duration> {
        if !self.ages_are_live() {
            return None;
        }
        let others = self.hubs.iter().map(|it| &it.link).filter(|_| self.hubs.are_many());
        std::iter::once(&self.link).chain(others).filter_map(|it| self.reads_anew_at(it)).min()
    }

    fn reads_anew_at(&self, link: &Link) -> Option<Duration> {
        let since = since_when(link)?;
        let down = self.now.since_start.saturating_sub(since).as_secs();
        let step = if down < 60 { 1 } else { 60 };
        Some(since + Duration::from_secs((down / step + 1) * step))
    }

    /// Whether the age of a link shows that is down or says nothing.
    pub(super) fn link_ages(&self) -> bool {
        let others = self.hubs.iter().filter(|_| self.hubs.are_many()).map(|it| &it.link);
        std::iter::once(&self.link).chain(others).any(|it| since_when(it).is_some())
    }

    /// When the ages on screen next read differently. After a while without the operator they are
    /// only lower bounds, shown as such, and an idle console writes nothing at all.
    fn ages_read_anew_at(&self) -> Option<Duration> {
        if !self.ages_are_live() {
            return None;
        }
        let looks = || {
            let next = ages_at(self.now.wall).0.saturating_add(AGES_EVERY);
            let left = next.saturating_sub(self.now.wall.0).max(0);
            Duration::from_millis(left.cast_unsigned())
        };
        let asks = (!self.ask_signs().is_empty()).then(looks);
        let ages = self.signs().map(|since| age(since, self.now.wall).1);
        let next = ages.chain(asks).min()?;
        Some((self.now.since_start + next).min(self.last_input + AGES_LIVE_FOR))
    }

    /// What the ages on screen are counted from.
    fn signs(&self) -> impl Iterator<Item = Timestamp> {
        let rows = self.frame.fleet.map_or(0, |(_, list)| usize::from(list.height));
        self.fleet.window(self.fleet.top(), rows).filter_map(|(_, row)| row.last_sign())
    }

    /// Whether an age on screen reads differently than when this was last asked.
    pub(super) fn ages_read_anew(&mut self) -> bool {
        let (at, live) = (ages_at(self.now.wall), self.ages_are_live());
        let (before, was_live) = std::mem::replace(&mut self.aged, (at, live));
        if live != was_live {
            return self.frame.fleet.is_some() || !self.ask_signs().is_empty();
        }
        let asks = || {
            let times = |(created, deadline), at| self.ask_times_at(created, deadline, at, live);
            self.ask_signs().into_iter().any(|it| times(it, at) != times(it, before))
        };
        let ages = || self.signs().any(|it| age(it, at).0 != age(it, before).0);
        live && at != before && (ages() || asks())
    }

    /// Whether the ages on screen are kept up to date.
    pub fn ages_are_live(&self) -> bool {
        self.focused != Some(false) && self.now.since_start < self.last_input + AGES_LIVE_FOR
    }

    /// Whether the box with what can follow is up.
    pub fn shows_which_key(&self) -> bool {
        !self.typed.is_empty() && self.now.since_start >= self.typed_at + WHICH_KEY_AFTER
    }
}

/// Since when a hub is away, or says nothing.
fn since_when(link: &Link) -> Option<Duration> {
    match link {
        Link::Down { since, .. } => Some(*since),
        Link::Up(Some(trips)) => trips.silent_since,
        Link::Up(None) | Link::Connecting => None,
    }
}
