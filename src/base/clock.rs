//! The only place that reads a clock. The pure core gets its time in messages.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jiff::tz::TimeZone;

/// A moment of wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Milliseconds from `earlier` to `self`; zero when the clock went backwards.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339 with its offset; `None` when it is none.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|it| Self(it.as_millisecond()))
    }

    /// RFC 3339 in UTC with milliseconds, e.g. `2026-11-20T13:00:00.000Z`.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0)
            .map_or_else(|_| "unknown".to_owned(), |at| format!("{at:.3}"))
    }
}

/// Where the clocks of the operator's walls stand; UTC unless told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// As this machine is set up.
    pub fn here() -> Self {
        Self(TimeZone::system())
    }

    /// For people, e.g. `2026-11-20 14:00:00`.
    pub fn date_time(&self, at: Timestamp) -> String {
        self.shown(at, "%Y-%m-%d %H:%M:%S")
    }

    /// For people, e.g. `14:00:00`.
    pub fn time(&self, at: Timestamp) -> String {
        self.shown(at, "%H:%M:%S")
    }

    fn shown(&self, at: Timestamp, form: &str) -> String {
        jiff::Timestamp::from_millisecond(at.0).map_or_else(
            |_| "unknown".to_owned(),
            |it| it.to_zoned(self.0.clone()).strftime(form).to_string(),
        )
    }
}

/// Wall-clock time now.
#[expect(clippy::disallowed_methods, reason = "this module is the one reader of the clock")]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Time since this process first asked; never goes backwards.
#[expect(clippy::disallowed_methods, reason = "this module is the one reader of the clock")]
pub fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// How long this machine has slept since it was started: time that no timer counts.
pub fn asleep() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    // In this order a pause between the two looks never reads as sleep lost.
    let awake = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(awake)
}
