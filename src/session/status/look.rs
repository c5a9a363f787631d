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
}

/// A reading with what followed from it.
pub(in crate::session) struct Seen {
    pub processes: Processes,
    pub assessed: Assessed,
}

impl Looks {
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
    let pid = host.session().pid;
    let read = match pid {
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
            looks.last = None;
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

/// Looks for somebody who asks: twice, where it may be stuck or the last look was long ago.
pub(in crate::session) async fn twice(host: &Host, place: &dyn Place, rules: &Rules) -> Processes {
    if host.session().exit.is_some() {
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
    let first = look(host, place, &mut looks).await;
    let seen = match first.processes.at {
        Some(_) => {
            tokio::time::sleep(READINGS_APART).await;
            look(host, place, &mut looks).await
        }
        None => first,
    };
    host.looked(&seen.assessed, &seen.processes, rules);
    seen.processes
}

/// Looks at a session until it ends or nobody holds it any more. Nobody looks while `still` is held to write: what is held
/// still for a moment is not stuck.
pub(in crate::session) fn start(
    host: &Arc<Host>,
    place: Arc<dyn Place>,
    rules: Arc<Rules>,
    still: Arc<RwLock<()>>,
) {
    let (host, bell) = (Arc::downgrade(host), host.bell());
    tokio::spawn(watch((host, bell), place, rules, still));
}

async fn watch(
    (host, bell): (Weak<Host>, Arc<Notify>),
    place: Arc<dyn Place>,
    rules: Arc<Rules>,
    still: Arc<RwLock<()>>,
) {
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
        let moving = still.read().await;
        let Some(strong) = host.upgrade() else { return };
        if strong.session().exit.is_some() {
            return;
        }
        let before = strong.status();
        let seen = {
            let mut looks = strong.looks().await;
            let seen = look(&strong, &*place, &mut looks).await;
            drop(looks);
            strong.looked(&seen.assessed, &seen.processes, &rules);
            seen
        };
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
