//! Whether those who hold sandboxes still answer. Asked are, every so often, those that somebody watches
//! or runs a program in, and now and then all of them while somebody follows or lists the fleet. It sleeps until
//! the next of these is due; without anybody it has no timer.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::{Notify, Semaphore};

use super::Inner;
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        id::SandboxId,
        limits::{ADOPTIONS_AT_ONCE, PULSE_ALL_EVERY, PULSE_EVERY, PULSE_LISTED_EVERY},
    },
    session::seat::Seat,
};

/// Starts it; it ends with the engine.
pub(super) fn start(engine: &Arc<Inner>) {
    tokio::spawn(look(Arc::downgrade(engine), engine.attention.clone()));
}

async fn look(engine: Weak<Inner>, bell: Arc<Notify>) {
    let turns = Arc::new(Semaphore::new(ADOPTIONS_AT_ONCE));
    let mut all_at: Option<Duration> = None;
    let mut rung = false;
    loop {
        let Some(strong) = engine.upgrade() else { return };
        let now = clock::monotonic();
        let followed = strong.fleet().is_followed();
        let every = if rung { PULSE_LISTED_EVERY } else { PULSE_ALL_EVERY };
        let due = all_at.is_none_or(|at| now.saturating_sub(at) >= every);
        let all = due && (followed || rung);
        if all {
            all_at = Some(now);
        }
        let watched = strong.pulse_some(all, &turns);
        // Asleep it holds no engine; the end of the engine rings the bell too.
        drop(strong);
        let since = all_at.map_or(Duration::ZERO, |at| now.saturating_sub(at));
        let pause = pause(watched, followed.then(|| PULSE_ALL_EVERY.saturating_sub(since)));
        let wait = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        rung = tokio::select! {
            () = wait => false,
            () = bell.notified() => true,
        };
    }
}

/// How long nothing is asked: `all_in` until all of them are. `None` = until the bell rings, as it does for
/// whoever comes to watch, to follow or to list.
fn pause(watched: bool, all_in: Option<Duration>) -> Option<Duration> {
    if watched { Some(PULSE_EVERY) } else { all_in }
}

/// Whether this says that nobody answers, rather than what.
pub(super) fn is_silence(fault: &Fault) -> bool {
    // A shim that takes no more calls is as good as one that answers none.
    matches!(fault.kind(), Kind::Late | Kind::Busy)
}

impl Inner {
    /// Asks those that somebody attends to, or all; tells whether there is one of the former.
    fn pulse_some(self: &Arc<Self>, all: bool, turns: &Arc<Semaphore>) -> bool {
        let (mut attended, mut asked) = (false, Vec::new());
        for entry in self.fleet().entries_mut() {
            let watched =
                Arc::strong_count(&entry.watchers) > 1 || Arc::strong_count(&entry.execs) > 1;
            attended |= watched;
            let Some(seat) = entry.seat.clone() else { continue };
            let at_rest = !entry.removing && !entry.unheard && !entry.pulsing;
            if at_rest && (watched || all) {
                entry.pulsing = true;
                asked.push((entry.sandbox.id.clone(), seat));
            }
        }
        for (id, seat) in asked {
            let (engine, turns) = (self.clone(), turns.clone());
            tokio::spawn(async move {
                let _turn = turns.acquire_owned().await;
                // What it finds is told by it.
                drop(engine.pulse(&id, &seat).await);
                if let Ok(entry) = engine.fleet().get_mut(&id) {
                    entry.pulsing = false;
                }
            });
        }
        attended
    }

    /// Asks whether a seat answers, before a call that may have no answer for long; silence is told to everybody.
    pub(super) async fn pulse(
        self: &Arc<Self>,
        id: &SandboxId,
        seat: &Arc<dyn Seat>,
    ) -> Outcome<()> {
        let answered = seat.pulse().await;
        if let Err(fault) = &answered
            && is_silence(fault)
        {
            self.seat_silent(id, seat, fault).await;
        }
        answered
    }

    /// A seat that is connected and does not answer: as one that can't be heard.
    async fn seat_silent(self: &Arc<Self>, id: &SandboxId, seat: &Arc<dyn Seat>, fault: &Fault) {
        {
            let fleet = self.fleet();
            let Ok(entry) = fleet.get(id) else { return };
            if !entry.seat.as_ref().is_some_and(|it| Arc::ptr_eq(it, seat)) {
                return;
            }
            // Its reports come again with the next adoption.
            entry.deaf.notify_one();
        }
        self.seat_lost(id, fault).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_is_only_followed_is_left_alone_until_all_are_asked() {
        let left = PULSE_ALL_EVERY / 2;
        assert_eq!(pause(false, Some(left)), Some(left));
        assert_eq!(pause(false, None), None);
        assert_eq!(pause(true, Some(left)), Some(PULSE_EVERY));
    }
}
