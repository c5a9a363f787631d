//! The keeper of the link: notices when the hub is gone, says so, and looks for it again.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::{Notify, watch};
use tonic::Streaming;

use super::{
    Opening, Shared,
    dial::{Dialled, Wires},
    trips::Measured,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{
            AWAKE_LOOKED_AT_EVERY, HUB_RESTS, HURRIED_AFTER, LINE_BYTES_MAX, PING_EVERY,
            PING_TRIPS, PING_WITHIN, PING_WITHIN_AWAKE, PING_WITHIN_MAX, REFUSED_AFTER_MAX,
            REFUSED_AFTER_MIN, RETRY_AFTER_MAX, RETRY_AFTER_MIN, SLEPT_MIN, TOKEN_LEEWAY,
        },
        text::shown,
    },
    runtime::{Link, Trips},
    wire::v1::{AttendResponse, attend_response::Kind},
};

/// How an attendance ended.
struct Parting {
    reason: String,
    /// The hub was asked to end: a console waits before it starts another, a verb starts none.
    wanted: bool,
}

/// Keeps the link, which is up already, for as long as its client lives.
pub(super) async fn keep(shared: Weak<Shared>, first: Dialled) {
    let mut dialled = first;
    loop {
        let mut parting = {
            let Some(shared) = shared.upgrade() else { return };
            let (link, watched) = (shared.link.clone(), shared.watched.clone());
            drop(shared);
            attend(&link, &watched, &dialled.wires, dialled.attendance, dialled.rtt).await
        };
        let leeway = TOKEN_LEEWAY.as_millis() as i64;
        let until = dialled.until.map(|it| it.0.saturating_add(leeway));
        if !parting.wanted && until.is_some_and(|it| it <= clock::wall().0) {
            let reason = "the token that let this in has ended".to_owned();
            parting = Parting { reason, ..parting };
        }
        tracing::warn!(reason = parting.reason, "the link to the hub is down");
        let Some(again) = search(&shared, parting).await else { return };
        let Some(shared) = shared.upgrade() else { return };
        shared.up(&again);
        dialled = again;
    }
}

/// Stays until the hub is gone, and says how it went.
async fn attend(
    link: &watch::Sender<Link>,
    watched: &Notify,
    wires: &Arc<Wires>,
    mut attendance: Streaming<AttendResponse>,
    first: Duration,
) -> Parting {
    let mut bulk = std::pin::pin!(wires.bulk_breaks());
    let mut trips = Measured::new(first);
    loop {
        let message = tokio::select! {
            message = attendance.message() => message,
            fault = &mut bulk => {
                return Parting { reason: fault.message().to_owned(), wanted: false };
            }
            measured = pulse(link, watched, wires, &trips) => match measured {
                Ok(trip) => {
                    trips.took(trip);
                    let now = Link::Up(trips.told());
                    link.send_if_modified(|it| std::mem::replace(it, now.clone()) != now);
                    continue;
                }
                Err(fault) => return Parting { reason: fault.message().to_owned(), wanted: false },
            },
        };
        match message {
            Ok(Some(AttendResponse { kind: Some(Kind::Goodbye(goodbye)) })) => {
                let reason = shown(&goodbye.reason, LINE_BYTES_MAX);
                return Parting { reason, wanted: true };
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                return Parting { reason: "the hub is gone".to_owned(), wanted: false };
            }
        }
    }
}

/// Measures once, after a pause, while somebody looks; nothing is sent while nobody does. That no answer comes is told
/// before it is said that there is no hub.
async fn pulse(
    link: &watch::Sender<Link>,
    watched: &Notify,
    wires: &Arc<Wires>,
    trips: &Measured,
) -> Outcome<Duration> {
    while link.receiver_count() == 0 {
        watched.notified().await;
    }
    let slept = clock::asleep();
    tokio::time::sleep(PING_EVERY).await;
    let told = trips.told();
    let within = match slept_since(slept) {
        true => PING_WITHIN_AWAKE.max(patience(told.rtt) / 4),
        false => patience(told.rtt),
    };
    let asked = clock::monotonic();
    let mut ping = std::pin::pin!(wires.ping(within));
    if let Ok(done) = tokio::time::timeout(trips.silent_from(), &mut ping).await {
        return done;
    }
    link.send_replace(Link::Up(Trips { silent_since: Some(asked), ..told }));
    ping.await
}

/// How long a hub may take to answer whose round trip was this.
fn patience(rtt: Duration) -> Duration {
    rtt.saturating_mul(PING_TRIPS).clamp(PING_WITHIN, PING_WITHIN_MAX)
}

fn slept_since(slept: Duration) -> bool {
    clock::asleep() > slept + SLEPT_MIN
}

/// Waits; not on when this machine slept meanwhile or somebody was in a hurry, also before, and tells that. Whoever keeps the
/// key down makes no more tries than one after each `HURRIED_AFTER`.
pub(super) async fn rest(pause: Duration, hurried: &mut watch::Receiver<u64>) -> bool {
    let (slept, mut left) = (clock::asleep(), pause);
    let mut hurry = std::pin::pin!(async {
        tokio::time::sleep(HURRIED_AFTER).await;
        if hurried.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    while !left.is_zero() {
        let step = left.min(AWAKE_LOOKED_AT_EVERY);
        tokio::select! {
            () = &mut hurry => return true,
            () = tokio::time::sleep(step) => {}
        }
        if slept_since(slept) {
            return true;
        }
        left -= step;
    }
    false
}

/// Looks for a hub until there is one; `None` when the client is gone.
async fn search(shared: &Weak<Shared>, parting: Parting) -> Option<Dialled> {
    let since = clock::monotonic();
    let mut reason = parting.reason;
    let (mut pauses, mut last) = (Pauses::default(), None);
    let mut hurried = shared.upgrade()?.hurried.subscribe();
    let starts_after = {
        let shared = shared.upgrade()?;
        let broken = shared.wires.send_replace(None);
        // A hub that was asked to end finishes what it was told before.
        if let Some(broken) = broken.filter(|_| !parting.wanted) {
            broken.hang_up();
        }
        let console = shared.patience.is_none();
        let starts_after = match (shared.starts, parting.wanted) {
            (true, false) => Some(since),
            (true, true) if console => Some(since + HUB_RESTS),
            _ => None,
        };
        match starts_after {
            Some(at) if at > since => reason.push_str("; another is started in a moment"),
            // Of one elsewhere nobody knows whether it is the hub or the link.
            Some(_) if shared.starter.is_some() => reason.push_str("; another is being started"),
            _ => {}
        }
        starts_after
    };
    loop {
        let wait = pauses.after(last.as_ref());
        {
            let next_try = clock::monotonic() + wait;
            let down = Link::Down { since, reason: reason.clone(), next_try };
            shared.upgrade()?.link.send_replace(down);
        }
        if rest(wait, &mut hurried).await {
            pauses = Pauses::default();
        }
        let shared = shared.upgrade()?;
        let starts = starts_after.is_some_and(|it| clock::monotonic() >= it);
        // Something may be drawn by now: nobody is asked.
        let opening = Opening { starts, careful: true, asks: false };
        let mut dialled = shared.dial(opening).await;
        if let (Err(_), Some(starter), true) = (&dialled, &shared.starter, starts) {
            dialled = match starter.start().await {
                Ok(()) => shared.dial(opening).await,
                Err(fault) => Err(fault),
            };
        }
        let fault = match dialled {
            Ok(dialled) => return Some(dialled),
            Err(fault) => fault,
        };
        // Until it is time to start one, that there is none is no news.
        if starts || starts_after.is_none() {
            reason = told(&fault, shared.starter.is_none());
        }
        last = Some(fault);
    }
}

/// How long to wait before one try after the other.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(RETRY_AFTER_MIN)
    }
}

impl Pauses {
    /// The pause after the failure of the last try, if there was one: twice the one before, within bounds, which are
    /// others where only a person can mend it. Tries of many clients are spread.
    pub(super) fn after(&mut self, last: Option<&Fault>) -> Duration {
        let (least, most) = match last {
            Some(fault) if fault.is_standing() => (REFUSED_AFTER_MIN, REFUSED_AFTER_MAX),
            _ => (RETRY_AFTER_MIN, RETRY_AFTER_MAX),
        };
        let pause = self.0.clamp(least, most);
        self.0 = (pause * 2).min(most);
        jittered(pause)
    }
}

/// Why there is no hub; of one elsewhere also what mends it, for nothing here does.
fn told(fault: &Fault, elsewhere: bool) -> String {
    if elsewhere { fault.with_hint() } else { fault.message().to_owned() }
}

/// Spreads tries of many clients: between half of `pause` and all of it.
pub(super) fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 512;
    pause / 2 + pause.saturating_mul(u32::try_from(random).unwrap_or(0)) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_far_away_may_take_longer_and_nobody_for_ever() {
        assert_eq!(patience(Duration::ZERO), PING_WITHIN);
        assert_eq!(patience(Duration::from_millis(200)), PING_WITHIN);
        assert_eq!(patience(Duration::from_millis(500)), Duration::from_secs(4));
        assert_eq!(patience(Duration::MAX), PING_WITHIN_MAX);
        // This machine does not sleep over a test.
        assert!(!slept_since(clock::asleep()));
    }

    #[test]
    fn what_only_a_person_mends_is_tried_seldom_and_anything_else_soon() {
        let refused = Fault::lost("Permission denied (publickey)").standing();
        let tries = |why: Option<&Fault>| {
            let (mut pauses, mut spent, mut tries) = (Pauses::default(), Duration::ZERO, 0);
            while spent < Duration::from_secs(600) {
                spent += pauses.after(why);
                tries += 1;
            }
            (tries, pauses)
        };
        let (seldom, mut pauses) = tries(Some(&refused));
        assert!(seldom <= 16, "{seldom}");
        // Once it is mended, and something else is in the way, it is looked for as ever.
        assert!(pauses.after(Some(&Fault::lost("no route"))) <= RETRY_AFTER_MAX);
        assert!(tries(None).0 >= 120);
    }

    #[tokio::test]
    async fn whoever_is_in_a_hurry_ends_a_pause() {
        let (hurries, mut hurried) = watch::channel(0);
        let hurry = async {
            tokio::task::yield_now().await;
            hurries.send_modify(|it| *it += 1);
        };
        assert!(tokio::join!(rest(Duration::MAX, &mut hurried), hurry).0);
        // Also whoever was while it was tried.
        hurries.send_modify(|it| *it += 1);
        assert!(rest(Duration::MAX, &mut hurried).await);
        assert!(!rest(Duration::ZERO, &mut hurried).await);
    }

    #[test]
    fn a_pause_is_spread_but_never_short_and_never_long() {
        for _ in 0..1000 {
            let pause = jittered(RETRY_AFTER_MIN);
            assert!(pause >= RETRY_AFTER_MIN / 2 && pause <= RETRY_AFTER_MIN, "{pause:?}");
        }
    }
}
