//! Looks at a session's processes and screen whenever it printed or was typed into, and after that as long as something may
//! change by itself, ever more rarely. Of one that waits for a person nothing is looked at until something happens.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::{Notify, RwLock};

use super::{
    Says,
    assess::{Assessed, assess, moved},
    rules::Rules,
};
use crate::{
    base::{
        clock,
        fault::Kind,
        limits::{
            DEADLOCK_AFTER, LOOK_AGAIN_MAX, LOOK_AGAIN_MIN, LOOK_EVERY_MIN, LOOK_SETTLES,
            READINGS_APART,
        },
    },
    driver::{Place, TerminalUse},
    model::{
        process::{Processes, Reading},
        session::Status,
    },
    session::host::Host,
};

/// What is remembered between two looks.
#[derive(Default)]
pub(in crate::session) struct Looks {
    last: Option<Reading>,
    /// Since when nothing has moved, as of `clock::monotonic`.
    still_since: Option<Duration>,
    /// Why nobody can look at its processes.
    blind: Option<String>,
    /// What is remembered is of after so many turns of its host.
    turns: u64,
}

/// What a look needs beside its session.
pub(in crate::session) struct Around {
    pub place: Arc<dyn Place>,
    pub rules: Arc<Rules>,
    /// Held to write while all is held still for a moment.
    pub still: Arc<RwLock<()>>,
    /// Whether its sandbox is paused: where nothing can be frozen, a signal holds all of it then.
    pub paused: Box<dyn Fn() -> bool + Send + Sync>,
}

/// A reading with what followed from it.
pub(in crate::session) struct Seen {
    pub processes: Processes,
    pub assessed: Assessed,
}

impl Looks {
    /// What was seen says nothing of what is seen from now on.
    fn forget(&mut self) {
        (self.last, self.still_since) = (None, None);
    }

    /// Takes a reading; `printed` is when the session printed last.
    fn take(&mut self, now: Reading, printed: Option<Duration>, terminal: TerminalUse) -> Assessed {
        let moves = self.last.as_ref().is_none_or(|before| moved(before, &now));
        let before = self.last.as_ref().map(|it| it.at);
        let since = match (self.still_since, before) {
            (Some(since), _) if !moves => since,
            (None, Some(before)) if !moves => before,
            _ => now.at,
        };
        let since = since.max(printed.unwrap_or_default());
        self.still_since = Some(since).filter(|_| !moves);
        let still_for = if moves { Duration::ZERO } else { now.at.saturating_sub(since) };
        let assessed = assess(&now, self.last.as_ref(), still_for, terminal);
        self.last = Some(now);
        assessed
    }
}

/// Looks once. Where processes can't be seen, what the terminal tells counts alone.
pub(in crate::session) async fn look(host: &Host, place: &dyn Place, looks: &mut Looks) -> Seen {
    let terminal = host.terminal();
    let turns = host.turns();
    if std::mem::replace(&mut looks.turns, turns) != turns {
        looks.forget();
    }
    let read = match host.pid() {
        Some(pid) if looks.blind.is_none() => Some(place.processes(pid).await),
        _ => None,
    };
    match read {
        Some(Ok(reading)) => {
            let processes = Processes {
                at: Some(clock::wall()),
                all: reading.processes.clone(),
                more: reading.more,
                notes: reading.notes.clone(),
                apart: looks.last.as_ref().map(|it| reading.at.saturating_sub(it.at)),
            };
            if host.turns() != turns {
                // It is of two times.
                looks.forget();
                return Seen { processes, assessed: Assessed::default() };
            }
            let assessed = looks.take(reading, host.printed(), terminal);
            Seen { processes, assessed }
        }
        other => {
            let why = match other {
                Some(Err(fault)) => {
                    if fault.kind() == Kind::Unsupported {
                        looks.blind = Some(fault.message().to_owned());
                    }
                    fault.message().to_owned()
                }
                _ => looks
                    .blind
                    .clone()
                    .unwrap_or_else(|| "its processes are not of this machine".to_owned()),
            };
            looks.forget();
            let processes = Processes { notes: vec![why], ..Processes::default() };
            Seen {
                processes,
                assessed: Assessed { front: of_terminal(terminal), ..Assessed::default() },
            }
        }
    }
}

/// What is known where whoever keeps the terminal knows what is done with it.
fn of_terminal(terminal: TerminalUse) -> Option<Says> {
    Some(match terminal.read? {
        true => Says::new("terminal", Status::Idle, "it waits for what is typed"),
        false => Says::new(
            "terminal",
            Status::Working,
            "it goes on, and waits for nothing that is typed",
        ),
    })
}

/// Looks, unless all is held still.
async fn moving(host: &Host, around: &Around, looks: &mut Looks) -> Option<Seen> {
    let _moving = around.still.try_read().ok().filter(|_| !(around.paused)())?;
    Some(look(host, &*around.place, looks).await)
}

/// Looks for somebody who asks: twice, where it may be stuck or the last look was long ago. What is held still is shown, and
/// nothing is made of it.
pub(in crate::session) async fn twice(host: &Host, around: &Around) -> Processes {
    if host.has_ended() {
        return Processes {
            notes: vec!["its program has ended".to_owned()],
            ..Processes::default()
        };
    }
    let mut looks = host.looks().await;
    // An old reading says what there was in all that time, and not what there is now.
    let old = clock::monotonic().saturating_sub(LOOK_AGAIN_MIN);
    if looks.last.as_ref().is_some_and(|it| it.at < old) && looks.still_since.is_none() {
        looks.last = None;
    }
    let Some(first) = moving(host, around, &mut looks).await else {
        return look(host, &*around.place, &mut Looks::default()).await.processes;
    };
    let seen = match first.processes.at {
        Some(_) => {
            tokio::time::sleep(READINGS_APART).await;
            moving(host, around, &mut looks).await.unwrap_or(first)
        }
        None => first,
    };
    host.looked(&seen.assessed, &seen.processes, &around.rules);
    seen.processes
}

/// Looks at a session until it ends or nobody holds it any more. Nobody looks while all is held still: what is, is not stuck.
pub(in crate::session) fn start(host: &Arc<Host>, around: Around) {
    let (host, bell) = (Arc::downgrade(host), host.bell());
    tokio::spawn(watch((host, bell), around));
}

async fn watch((host, bell): (Weak<Host>, Arc<Notify>), around: Around) {
    let mut looked: Option<Duration> = None;
    let mut pause = LOOK_AGAIN_MIN;
    let mut next = Some(LOOK_SETTLES);
    let mut unchanged = 0_u32;
    loop {
        let rung = match next {
            Some(time) => tokio::time::timeout(time, bell.notified()).await.is_ok(),
            None => {
                bell.notified().await;
                true
            }
        };
        if rung {
            // What it is about to do is done by then; who prints without an end is looked at less and less often.
            let every = LOOK_EVERY_MIN * unchanged.clamp(1, 4);
            let since = looked.map(|it| clock::monotonic().saturating_sub(it));
            let rest = since.map(|it| every.saturating_sub(it)).unwrap_or_default();
            tokio::time::sleep(rest.max(LOOK_SETTLES)).await;
            pause = LOOK_AGAIN_MIN;
        }
        let moving = around.still.read().await;
        let Some(strong) = host.upgrade() else { return };
        if strong.has_ended() {
            return;
        }
        let before = strong.status();
        let mut looks = strong.looks().await;
        if (around.paused)() {
            // Whoever lets it go on rings, unless that is done by other hands.
            looks.forget();
            next = Some(LOOK_AGAIN_MAX);
            continue;
        }
        let seen = look(&strong, &*around.place, &mut looks).await;
        drop(looks);
        strong.looked(&seen.assessed, &seen.processes, &around.rules);
        drop(moving);
        looked = Some(clock::monotonic());
        let status = strong.status();
        unchanged = if status == before { unchanged.saturating_add(1) } else { 0 };
        next = if seen.assessed.suspect && status != Status::Stuck {
            Some(READINGS_APART.max(DEADLOCK_AFTER / 4))
        } else if strong.rests() {
            None
        } else {
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
            Some(pause)
        };
        // What was said may be stale by then.
        let stale = strong.changes_in().map(|it| it + Duration::from_millis(10));
        next = match (next, stale) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}
