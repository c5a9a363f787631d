//! Looks at a session's processes and screen whenever it printed or was typed into, and after that as long as something may
//! change by itself, ever more rarely. Of one that waits for a person nothing is looked at until something happens.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::{Notify, RwLock};

use super::{
    Says,
    assess::{Assessed, assess, moved, ran},
    rules::Rules,
};
use crate::{
    base::{
        clock,
        fault::Kind,
        limits::{
            DEADLOCK_AFTER, LOOK_AGAIN_MAX, LOOK_AGAIN_MIN, LOOK_EVERY_MIN, LOOK_SETTLES,
            PROCESS_COMMAND_BYTES_MAX, READINGS_APART,
        },
        text::shown,
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
    /// The name of the host that a connection is meant for, where its address only stands for one.
    pub called: Box<dyn Fn(SocketAddr) -> Option<String> + Send + Sync>,
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
        let before = self.last.as_ref();
        let moves = before.is_none_or(|before| moved(before, &now));
        let since = match (self.still_since, before.map(|it| it.at)) {
            (Some(since), _) if !moves => since,
            (None, Some(before)) if !moves => before,
            _ => now.at,
        };
        // What comes while nobody has run is the terminal's echo of what is typed, and moves nothing.
        let printed = printed.filter(|printed| {
            before.is_none_or(|before| *printed > before.at && ran(before, &now))
        });
        let since = since.max(printed.unwrap_or_default());
        self.still_since = Some(since).filter(|_| !moves);
        let still_for = if moves { Duration::ZERO } else { now.at.saturating_sub(since) };
        let assessed = assess(&now, before, still_for, terminal);
        self.last = Some(now);
        assessed
    }
}

/// Looks once. Where processes can't be seen, what the terminal tells counts alone.
pub(in crate::session) async fn look(host: &Host, around: &Around, looks: &mut Looks) -> Seen {
    let terminal = host.terminal();
    let turns = host.turns();
    if std::mem::replace(&mut looks.turns, turns) != turns {
        looks.forget();
    }
    let read = match host.pid() {
        Some(pid) if looks.blind.is_none() => Some(around.place.processes(pid).await),
        _ => None,
    };
    match read {
        Some(Ok(mut reading)) => {
            for it in reading.processes.iter_mut().filter_map(|it| it.on.as_mut()) {
                *it = by_name(it, &around.called);
            }
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

/// What somebody waits on, with the names of hosts in place of addresses that stand for them.
fn by_name(on: &str, called: &dyn Fn(SocketAddr) -> Option<String>) -> String {
    let name = |it: &str| it.parse().ok().and_then(called);
    let words: Vec<String> =
        on.split(", ").map(|it| name(it).unwrap_or_else(|| it.to_owned())).collect();
    shown(&words.join(", "), PROCESS_COMMAND_BYTES_MAX)
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
    Some(look(host, around, looks).await)
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
        return look(host, around, &mut Looks::default()).await.processes;
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
        let seen = look(&strong, &around, &mut looks).await;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{process::Doing, status::Cause};

    const TERMINAL: TerminalUse = TerminalUse { lines: Some(true), read: None };

    fn reading(seconds: u64, doing: Doing, slept: u64) -> Reading {
        let process = crate::model::process::Process {
            pid: 7,
            parent: 1,
            name: "python3".to_owned(),
            command: "python3".to_owned(),
            foreground: true,
            threads: 3,
            cpu: Duration::ZERO,
            doing,
            endless: true,
            keys: false,
            linked: false,
            on: None,
            call: None,
        };
        let (at, slept) = (Duration::from_secs(seconds), [(7, slept)].into());
        Reading { at, processes: vec![process], slept, ..Reading::default() }
    }

    #[test]
    fn what_is_printed_while_nobody_runs_ends_no_proof_and_what_a_program_prints_does() {
        let long = Duration::from_secs(600);
        for (doing, cause) in [
            (Doing::Lock, Cause::Deadlock),
            (Doing::Stopped, Cause::Stopped),
            (Doing::Disk, Cause::Disk),
        ] {
            let mut looks = Looks::default();
            let mut take = |seconds: u64, slept: u64, printed: u64| {
                let printed = Some(Duration::from_secs(printed));
                looks.take(reading(seconds, doing, slept), printed, TERMINAL).front
            };
            take(10, 5, 3);
            let proven = |it: Option<Says>| it.is_some_and(|it| it.cause == Some(cause));
            let at = 10 + long.as_secs();
            assert!(proven(take(at, 5, 3)), "{cause:?}");
            // An echo, seen by the next look and by the one after it.
            assert!(proven(take(at + 1, 5, at + 1)), "{cause:?}");
            assert!(proven(take(at + 2, 5, at + 1)), "{cause:?}");
            // Who ran, and printed nothing since, printed nothing.
            assert!(proven(take(at + 3, 6, at + 1)), "{cause:?}");
            if doing != Doing::Stopped {
                let told = take(at + 5, 7, at + 4);
                assert!(told.is_none_or(|it| it.status != Some(Status::Stuck)), "{cause:?}");
            }
        }
    }

    #[test]
    fn an_address_that_stands_for_a_name_is_shown_by_it() {
        let called = |it: SocketAddr| (it.port() == 443).then(|| "a.example:443".to_owned());
        let on = by_name("198.18.0.1:443, 10.0.0.1:80, what is typed", &called);
        assert_eq!(on, "a.example:443, 10.0.0.1:80, what is typed");
    }

    #[test]
    fn where_nobody_counts_who_ran_what_is_printed_is_the_programs() {
        let mut looks = Looks::default();
        let mut take = |seconds: u64, printed: u64| {
            let unknown = Reading { slept: BTreeMap::new(), ..reading(seconds, Doing::Lock, 0) };
            looks.take(unknown, Some(Duration::from_secs(printed)), TERMINAL).front
        };
        take(10, 3);
        assert!(take(100, 3).is_some());
        assert_eq!(take(101, 101), None);
    }
}
