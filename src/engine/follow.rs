//! Listening to seats: what they report becomes what every client sees.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_stream::StreamExt;

use super::{
    Inner,
    audit::words::{about, by_hub},
    fleet::{end_sessions, has_live_session, make_room},
    record::Durable,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind},
        id::SandboxId,
        limits::{LAST_WORDS_WITHIN, STOP_GRACE},
    },
    model::{
        audit::Action,
        event::Level,
        sandbox::{Sandbox, State},
    },
    runtime::BoxStream,
    session::seat::{SeatEvent, SeatReport},
};

/// What follows from a report, beyond telling it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// Nobody is at work any more.
    Stop,
    /// The same, and it was to be removed then.
    Remove,
}

impl Inner {
    /// Listens to one seat until it ends; the task holds no engine while it waits.
    pub(super) fn follow(self: &Arc<Self>, id: SandboxId, mut events: BoxStream<SeatEvent>) {
        // Its own, so that a word meant for whoever listened before does not reach it.
        let deaf = Arc::new(Notify::new());
        let incarnation = match self.fleet().get_mut(&id) {
            Ok(entry) => {
                (entry.deaf, entry.unheard) = (deaf.clone(), false);
                entry.incarnation
            }
            Err(_) => return,
        };
        let engine = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = deaf.notified() => return,
                };
                let Some(engine) = engine.upgrade() else { return };
                if engine.fleet().get(&id).is_ok_and(|it| it.incarnation != incarnation) {
                    return;
                }
                match event {
                    Some(SeatEvent::Report(report)) => engine.take_report(&id, *report).await,
                    Some(SeatEvent::Said { session, fact }) => engine.fleet().said(session, fact),
                    Some(SeatEvent::Gone { reason }) => {
                        return engine.seat_gone(&id, &reason).await;
                    }
                    Some(SeatEvent::Lost { fault }) => return engine.seat_lost(&id, &fault).await,
                    None => {
                        let fault = Fault::lost("it says nothing more");
                        return engine.seat_lost(&id, &fault).await;
                    }
                }
            }
        });
    }

    /// Takes over what a seat says of its sandbox.
    pub(super) async fn take_report(self: &Arc<Self>, id: &SandboxId, report: SeatReport) {
        let heard = (report.asks.clone(), report.tells);
        let (durable, next) = {
            let mut fleet = self.fleet();
            let Ok(entry) = fleet.get_mut(id) else { return };
            // While it is made or removed, the verb at work speaks; of one whose host is known to be dead,
            // a report is old.
            let creating = entry.sandbox.state == State::Creating && !entry.elsewhere;
            if entry.removing || creating || entry.seat.is_none() {
                return;
            }
            let before = Durable::of(&entry.sandbox);
            apply(entry.sandbox_mut(), report);
            let next = next(entry);
            (before != Durable::of(&entry.sandbox), next)
        };
        self.take_waiting(id, heard).await;
        self.touch(id);
        if durable {
            self.persist_or_notice(id).await;
        }
        if next != Next::Nothing {
            self.begin_end_of_work(id);
        }
    }

    /// Does what follows from the first report of a seat taken over: what ended while nobody listened is
    /// not reported again.
    pub(super) fn catch_up(self: &Arc<Self>, id: &SandboxId) {
        if self.fleet().get(id).is_ok_and(|it| next(it) != Next::Nothing) {
            self.begin_end_of_work(id);
        }
    }

    fn begin_end_of_work(self: &Arc<Self>, id: &SandboxId) {
        let (engine, id) = (self.clone(), id.clone());
        tokio::spawn(async move { engine.end_of_work(&id).await });
    }

    /// Looks again whether a sandbox has nothing left to do, after something in it ended.
    pub(super) async fn end_of_work(self: &Arc<Self>, id: &SandboxId) {
        let Ok(verbs) = self.fleet().get(id).map(|it| it.verbs.clone()) else { return };
        let held = verbs.lock().await;
        let (name, next, seat, watchers) = {
            let fleet = self.fleet();
            let Ok(entry) = fleet.get(id) else { return };
            let name = entry.sandbox.name.clone();
            (name, next(entry), entry.seat.clone(), Arc::downgrade(&entry.watchers))
        };
        match (next, seat) {
            (Next::Stop, Some(seat)) => {
                if let Err(fault) = self.stop_seat(id, seat.as_ref(), STOP_GRACE).await {
                    let words = format!("stopping what was left: {fault}");
                    self.fleet().notice(Level::Warning, Some(id.clone()), &words);
                }
            }
            (Next::Remove, _) => {
                drop(held);
                // Whoever watches shall see the last output and the exit code first.
                let deadline = clock::monotonic() + LAST_WORDS_WITHIN;
                while watchers.strong_count() > 1 && clock::monotonic() < deadline {
                    tokio::time::sleep(LAST_WORDS_WITHIN / 100).await;
                }
                match self.remove(id).await {
                    Ok(()) => {
                        let why = "its program ended, and it was made for that alone";
                        let act = by_hub(Action::SandboxRemoved, &name, why);
                        self.record(about(act, id, &name)).await;
                    }
                    Err(fault) if fault.kind() != Kind::Absent => {
                        let words = format!("removing it after its program ended: {fault}");
                        self.fleet().notice(Level::Error, Some(id.clone()), &words);
                    }
                    Err(_) => {}
                }
            }
            _ => {}
        }
    }

    /// A seat ended by itself: its sandbox has failed, and everybody is told why.
    async fn seat_gone(self: &Arc<Self>, id: &SandboxId, reason: &str) {
        let name = {
            let mut fleet = self.fleet();
            let Ok(entry) = fleet.get_mut(id) else { return };
            if entry.removing || entry.seat.take().is_none() {
                return;
            }
            fail(entry.sandbox_mut(), reason);
            let name = entry.sandbox.name.clone();
            fleet.notice(Level::Error, Some(id.clone()), &format!("{name} failed: {reason}"));
            name
        };
        self.take_asks(id, Vec::new()).await;
        self.touch(id);
        self.reap(id, &name).await;
        self.persist_or_notice(id).await;
    }

    /// A seat can't be heard any more, and may live: nothing is ended, and it is asked until it answers
    /// or is certainly dead.
    pub(super) async fn seat_lost(self: &Arc<Self>, id: &SandboxId, fault: &Fault) {
        let name = {
            let mut fleet = self.fleet();
            let Ok(entry) = fleet.get_mut(id) else { return };
            if entry.removing || entry.seat.is_none() || entry.unheard {
                return;
            }
            entry.unheard = true;
            let sandbox = entry.sandbox_mut();
            sandbox.state = State::Unknown;
            sandbox.notes.push(format!("its shim can't be heard: {fault}"));
            let name = sandbox.name.clone();
            let words = format!("{name} may run on, but its shim can't be heard: {fault}");
            fleet.notice(Level::Warning, Some(id.clone()), &words);
            name
        };
        self.touch(id);
        self.persist_or_notice(id).await;
        self.look_again(id.clone(), self.ground(id, &name), false);
    }

    /// Ends what a dead host left running; its files stay until the sandbox is removed.
    pub(super) async fn reap(&self, id: &SandboxId, name: &str) {
        self.take_ruled_left(id, name).await;
        let driver = match self.fleet().get(id).map(|it| it.sandbox.driver.clone()) {
            Ok(driver) => self.drivers.get(&driver),
            Err(fault) => Err(fault),
        };
        let reaped = match driver {
            Ok(driver) => driver.reap(&self.ground(id, name)).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = reaped {
            let words = format!("ending what {name} left behind: {fault}");
            self.fleet().notice(Level::Warning, Some(id.clone()), &words);
        }
    }
}

/// Marks a sandbox as failed, with the reason among its notes.
pub(super) fn fail(sandbox: &mut Sandbox, reason: &str) {
    let now = clock::wall();
    sandbox.state = State::Failed;
    sandbox.notes.push(reason.to_owned());
    end_sessions(sandbox, reason, now);
}

/// Writes a report into a sandbox. Who may type is the engine's own knowledge, not the seat's.
pub(super) fn apply(sandbox: &mut Sandbox, report: SeatReport) {
    let mut sessions = report.sessions;
    for session in &mut sessions {
        let known = sandbox.sessions.iter().find(|it| it.id == session.id);
        if let Some(known) = known {
            session.lease.clone_from(&known.lease);
        }
        if session.exit.is_some() {
            session.lease = None;
        }
    }
    // A report from just before a session was started does not know it yet. An older one that it does
    // not know has ended and made room.
    let newest = sessions.iter().map(|it| it.ordinal).max();
    let known = std::mem::take(&mut sandbox.sessions).into_iter();
    sessions.extend(known.filter(|it| newest.is_none_or(|newest| it.ordinal > newest)));
    make_room(&mut sessions);
    sandbox.sessions = sessions;
    sandbox.state = report.state;
    sandbox.raw_state = report.facts.raw_state;
    sandbox.isolation = report.facts.isolation;
    sandbox.capabilities = report.facts.capabilities;
    sandbox.notes = report.facts.notes;
}

fn next(entry: &super::fleet::Entry) -> Next {
    let sandbox = &entry.sandbox;
    let first_ended = sandbox.sessions.first().is_some_and(|it| it.exit.is_some());
    if entry.removing || entry.elsewhere {
        return Next::Nothing;
    }
    if entry.spec.remove_on_exit && first_ended {
        return Next::Remove;
    }
    let busy = has_live_session(sandbox) || Arc::strong_count(&entry.execs) > 1;
    if first_ended && !busy && sandbox.state == State::Running && sandbox.capabilities.stop {
        return Next::Stop;
    }
    Next::Nothing
}
