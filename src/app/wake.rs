//! When the console wants to be woken though nothing happens.

use std::time::Duration;

use super::{
    msg::Link,
    pane::{Feed, Watch},
    state::{AGES_LIVE_FOR, State, WHICH_KEY_AFTER},
    view::View,
};
use crate::base::clock::Timestamp;

/// An age as it is shown, and how long until it reads differently: in steps of five seconds, then in the
/// unit that it is written in.
pub fn age(since: Timestamp, now: Timestamp) -> (Duration, Duration) {
    let exact = Duration::from_millis(u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0));
    let step = match exact.as_secs() {
        0..60 => 5,
        60..3600 => 60,
        3600..86_400 => 3600,
        _ => 86_400,
    };
    let shown = Duration::from_secs(exact.as_secs() / step * step);
    (shown, (shown + Duration::from_secs(step)).saturating_sub(exact))
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
        let soonest = soonest.chain(self.rest.at()).chain(self.hears_at());
        let soonest = soonest.chain(self.work_reads_anew_at());
        let soonest = soonest.chain(self.views.last().and_then(View::rests_at));
        soonest.chain(self.ages_read_anew_at()).chain(self.link_reads_anew_at()).min()
    }

    /// When the time without a hub next reads differently.
    fn link_reads_anew_at(&self) -> Option<Duration> {
        let Link::Down { since, .. } = self.link else { return None };
        let down = self.now.since_start.saturating_sub(since).as_secs();
        let step = if down < 60 { 1 } else { 60 };
        self.ages_are_live().then(|| since + Duration::from_secs((down / step + 1) * step))
    }

    /// When the ages on screen next read differently. After a while without the operator they are
    /// only lower bounds, shown as such, and an idle console writes nothing at all.
    fn ages_read_anew_at(&self) -> Option<Duration> {
        let (_, list) = self.frame.fleet.filter(|_| self.ages_are_live())?;
        let rows = self.fleet.window(self.fleet.top(), usize::from(list.height));
        let signs = rows.filter_map(|(_, row)| row.last_sign());
        let next = signs.map(|since| age(since, self.now.wall).1).min()?;
        Some((self.now.since_start + next).min(self.last_input + AGES_LIVE_FOR))
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
