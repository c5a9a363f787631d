//! Pause, resume, stop and remove: one at a time per sandbox, each fine when it is already so.

use std::{path::Path, sync::Arc, time::Duration};

use super::{
    Inner,
    audit::words::{about, by_hub},
    fleet::{end_sessions, has_live_session},
    follow::fail,
    pulse::is_silence,
    shim_link::ShimLink,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        id::SandboxId,
        limits::{
            ANSWER_WITHIN, FOREIGN_ID_SHOWN_BYTES, GRACE_MAX, LAST_WORDS_WITHIN, LINE_BYTES_MAX,
        },
        text::shown,
    },
    driver::{self, Ground, Hosting},
    model::{
        audit::Action,
        event::Level,
        sandbox::{Sandbox, State},
    },
    session::seat::Seat,
};

/// How long a verb that was done waits for the seat to report it.
const REPORT_WITHIN: Duration = Duration::from_secs(2);

impl Inner {
    pub(super) fn verbs(&self, id: &SandboxId) -> Outcome<Arc<tokio::sync::Mutex<()>>> {
        Ok(self.fleet().get(id)?.verbs.clone())
    }

    /// State and seat as a verb finds them.
    pub(super) fn look(&self, id: &SandboxId) -> Outcome<(Arc<Sandbox>, Option<Arc<dyn Seat>>)> {
        let fleet = self.fleet();
        let entry = fleet.get(id)?;
        Ok((entry.sandbox.clone(), entry.seat.clone()))
    }

    pub(super) async fn pause(self: &Arc<Self>, id: &SandboxId) -> Outcome<()> {
        let verbs = self.verbs(id)?;
        let _held = verbs.lock().await;
        let (sandbox, seat) = self.look(id)?;
        match (sandbox.state, seat) {
            (State::Paused, _) => Ok(()),
            (State::Running, Some(seat)) => {
                require(&sandbox, sandbox.capabilities.pause, "paused")?;
                seat.pause().await?;
                self.settle(id, State::Paused).await
            }
            _ => Err(unfit(&sandbox, "paused")),
        }
    }

    pub(super) async fn resume(self: &Arc<Self>, id: &SandboxId) -> Outcome<()> {
        let verbs = self.verbs(id)?;
        let _held = verbs.lock().await;
        let (sandbox, seat) = self.look(id)?;
        match (sandbox.state, seat) {
            (State::Running, _) => Ok(()),
            (State::Paused, Some(seat)) => {
                require(&sandbox, sandbox.capabilities.pause, "resumed")?;
                seat.resume().await?;
                self.settle(id, State::Running).await
            }
            // Only who keeps it elsewhere has anything left to start.
            (State::Stopped, Some(seat)) if sandbox.capabilities.start => {
                seat.resume().await?;
                self.fleet().get_mut(id)?.sandbox_mut().stop_asked = false;
                self.persist(id).await
            }
            _ => Err(unfit(&sandbox, "resumed")),
        }
    }

    pub(super) async fn stop(self: &Arc<Self>, id: &SandboxId, grace: Duration) -> Outcome<()> {
        let verbs = self.verbs(id)?;
        let _held = verbs.lock().await;
        let (sandbox, seat) = self.look(id)?;
        match (sandbox.state, seat) {
            (State::Running | State::Paused | State::Unknown, Some(seat)) => {
                self.may_stop(&sandbox).await?;
                // Before it ends, so that its end is never taken for a failure.
                self.fleet().get_mut(id)?.sandbox_mut().stop_asked = true;
                let stopped = self.stop_seat(id, seat.as_ref(), grace.min(GRACE_MAX)).await;
                if stopped.is_err() {
                    self.fleet().get_mut(id)?.sandbox_mut().stop_asked = false;
                    self.touch(id);
                    self.persist_or_notice(id).await;
                }
                stopped
            }
            // Its programs ended by themselves; whoever stops it now has seen how.
            (State::Stopped, _) => {
                self.fleet().get_mut(id)?.sandbox_mut().stop_asked = true;
                self.touch(id);
                self.persist(id).await
            }
            (State::Failed | State::Gone, _) => Ok(()),
            _ => Err(unfit(&sandbox, "stopped")),
        }
    }

    /// What was there before its sandbox is not ended from here.
    async fn may_stop(&self, sandbox: &Sandbox) -> Outcome<()> {
        let Sandbox { id, name, driver, .. } = sandbox;
        if sandbox.capabilities.stop {
            return Ok(());
        }
        let Some(taken) = self.taken_over(driver, id).await? else {
            return require(sandbox, false, "stopped");
        };
        let taken = shown(&taken, FOREIGN_ID_SHOWN_BYTES);
        Err(Fault::unsupported(format!(
            "sandbox {name} is not stopped: it was adopted, and what runs in {taken} is not sandwatch's to end"
        ))
        .hint(format!(
            "{driver} stop {taken} ends it; sandwatch rm {name} ends what was started from here and lets go of it"
        )))
    }

    /// Stops a seat and waits until all its programs are reported as ended.
    pub(super) async fn stop_seat(
        self: &Arc<Self>,
        id: &SandboxId,
        seat: &dyn Seat,
        grace: Duration,
    ) -> Outcome<()> {
        let mut leaving = self.fleet().get(id)?.leaving.subscribe();
        tokio::select! {
            stopped = seat.stop(grace) => stopped?,
            // A removal ends everything at once, and waits for nobody's grace.
            _ = leaving.wait_for(|it| *it) => return Err(Fault::failed("it is being removed")),
        }
        self.settle(id, State::Stopped).await
    }

    /// Waits until the seat's own report shows a state; without one, the verb's success is enough.
    async fn settle(self: &Arc<Self>, id: &SandboxId, wanted: State) -> Outcome<()> {
        let there = |sandbox: &Sandbox| {
            sandbox.state == wanted && (wanted != State::Stopped || !has_live_session(sandbox))
        };
        let mut changed = self.fleet().get(id)?.changed.subscribe();
        let seen = tokio::time::timeout(REPORT_WITHIN, async {
            loop {
                changed.mark_unchanged();
                if self.fleet().get(id).map_or(true, |it| there(&it.sandbox)) {
                    return;
                }
                if changed.changed().await.is_err() {
                    return;
                }
            }
        });
        if seen.await.is_err() {
            self.fleet().get_mut(id)?.sandbox_mut().state = wanted;
            self.touch(id);
        }
        self.persist(id).await
    }

    /// Removes a sandbox in whatever state; its recordings stay.
    pub(super) async fn remove(self: &Arc<Self>, id: &SandboxId) -> Outcome<()> {
        let verbs = self.verbs(id)?;
        // A stop under way is cut short, so that this need not wait for its grace.
        self.fleet().get(id)?.leaving.send_replace(true);
        let _held = verbs.lock().await;
        let (name, driver, seat) = {
            let mut fleet = self.fleet();
            let entry = fleet.get_mut(id)?;
            entry.removing = true;
            entry.version += 1;
            (entry.sandbox.name.clone(), entry.sandbox.driver.clone(), entry.seat.clone())
        };
        // From here on the removal is finished by the next hub, should this one end now. On a full
        // disk that can't be noted, but a removal is what makes room.
        if let Err(fault) = self.persist(id).await {
            tracing::warn!(%fault, name, "a removal begins without a note of it");
        }
        self.take_ruled_at_last(id).await;
        let mut removed = self.clear(id, &name, &driver, seat).await;
        if removed.is_ok() {
            self.scrap(id).await;
            removed = self.strike_off(id).await;
        }
        if let Err(fault) = removed {
            self.keep_for_another_try(id, &fault).await;
            return Err(fault.context(format_args!("removing {name}")));
        }
        self.take_asks(id, Vec::new()).await;
        self.fleet().remove(id);
        self.orphan_shelves(id).await;
        self.deadlines.notify_one();
        Ok(())
    }

    /// Everything of a sandbox but what is known of it.
    async fn clear(
        &self,
        id: &SandboxId,
        name: &str,
        driver: &str,
        seat: Option<Arc<dyn Seat>>,
    ) -> Outcome<()> {
        let ground = self.ground(id, name);
        let driver = self.drivers.get(driver)?;
        let removed = match &seat {
            // One that hangs is not waited for as long as a removal may take.
            Some(seat) => match seat.pulse().await {
                Ok(()) => seat.remove().await,
                Err(fault) if is_silence(&fault) && driver.hosting() == Hosting::Shim => {
                    self.end_shim(&ground).await
                }
                Err(fault) => Err(fault),
            },
            // It could not be heard since the hub began, or it is dead.
            None if driver.hosting() == Hosting::Shim => self.end_shim(&ground).await,
            None if driver.hosting() == Hosting::Elsewhere => {
                return Err(Fault::failed("who keeps it can't be reached, so it is not removed"));
            }
            None => Ok(()),
        };
        match removed {
            // It has nothing more to say, whatever becomes of what it leaves.
            Ok(()) => self.fleet().get_mut(id)?.seat = None,
            // Nothing dies there because it can't be reached.
            Err(fault) if driver.hosting() == Hosting::Elsewhere => return Err(fault),
            // Its host is dead: the driver's sweep does the rest.
            Err(fault) if matches!(fault.kind(), Kind::Lost | Kind::Absent) => {}
            Err(fault) => return Err(fault),
        }
        driver.sweep(&ground).await?;
        delete_dir(&ground.dir).await
    }

    /// Ends a shim that does not answer, and tells; one that is dead is fine.
    async fn end_shim(&self, ground: &Ground) -> Outcome<()> {
        if ShimLink::is_dead(ground).await {
            return Ok(());
        }
        ShimLink::end(ground).await?;
        let words = format!("the shim of {} did not answer and was ended", ground.name);
        self.fleet().notice(Level::Warning, Some(ground.id.clone()), &words);
        Ok(())
    }

    /// Deletes scrollback that is no recording, where the sandbox's own host could not.
    async fn scrap(&self, id: &SandboxId) {
        let scraps: Vec<_> = match self.fleet().get(id) {
            Ok(entry) if !entry.spec.record => {
                entry.sandbox.sessions.iter().map(|it| self.paths.recording(&it.id)).collect()
            }
            _ => return,
        };
        for dir in scraps {
            if let Err(fault) = delete_dir(&dir).await {
                tracing::warn!(%fault, "scrollback stays until recordings are pruned");
            }
        }
    }

    /// Takes a sandbox that is no more off the registry; until that succeeds it is shown as gone.
    async fn strike_off(&self, id: &SandboxId) -> Outcome<()> {
        let mut struck = self.store.delete(id.to_string()).await;
        // On a full disk the files being deleted beside this are what makes room for it.
        let deadline = clock::monotonic() + LAST_WORDS_WITHIN;
        while struck.is_err() && clock::monotonic() < deadline {
            tokio::time::sleep(LAST_WORDS_WITHIN / 100).await;
            struck = self.store.delete(id.to_string()).await;
        }
        if struck.is_err()
            && let Ok(entry) = self.fleet().get_mut(id)
        {
            entry.seat = None;
            let sandbox = entry.sandbox_mut();
            sandbox.state = State::Gone;
            end_sessions(sandbox, "it was removed", clock::wall());
        }
        struck
    }

    pub(super) async fn keep_for_another_try(self: &Arc<Self>, id: &SandboxId, fault: &Fault) {
        let Ok((sandbox, seat)) = self.look(id) else { return };
        let dead = match seat {
            Some(_) => self.has_lost_its_shim(&sandbox).await,
            // Its seat was removed; one that is not known to be dead is in an unknown state.
            None => matches!(sandbox.state, State::Running | State::Paused | State::Stopped),
        };
        {
            let mut fleet = self.fleet();
            let Ok(entry) = fleet.get_mut(id) else { return };
            entry.removing = false;
            entry.leaving.send_replace(false);
            if dead {
                entry.seat = None;
                fail(entry.sandbox_mut(), "what held it has ended");
            }
            let note = format!("it could not be removed: {fault}");
            let sandbox = entry.sandbox_mut();
            if !sandbox.notes.contains(&note) {
                sandbox.notes.push(note);
            }
        }
        self.touch(id);
        self.persist_or_notice(id).await;
        self.deadlines.notify_one();
    }

    /// Whether the shim that held a sandbox is certainly no more.
    async fn has_lost_its_shim(&self, sandbox: &Sandbox) -> bool {
        let hosting = self.drivers.get(&sandbox.driver).map(|it| it.hosting());
        let ground = self.ground(&sandbox.id, &sandbox.name);
        matches!(hosting, Ok(Hosting::Shim)) && ShimLink::is_dead(&ground).await
    }

    /// Removes every sandbox whose time is over or whose creation could not be undone, and tells.
    pub(super) fn remove_expired(self: &Arc<Self>) {
        let now = clock::wall();
        let mut expired = Vec::new();
        for entry in self.fleet().entries_mut() {
            if entry.removal_due(now).is_some_and(|left| left.is_zero()) {
                entry.removal.under_way = true;
                let why =
                    if entry.doomed { "its creation had failed" } else { "its time was over" };
                expired.push((entry.sandbox.id.clone(), entry.sandbox.name.clone(), why));
            }
        }
        for (id, name, why) in expired {
            let engine = self.clone();
            tokio::spawn(async move {
                let fault = match engine.remove(&id).await {
                    Ok(()) => {
                        let act = by_hub(Action::SandboxRemoved, &name, why);
                        engine.record(about(act, &id, &name)).await;
                        let words = format!("{name} was removed: {why}");
                        return engine.fleet().notice(Level::Info, Some(id), &words);
                    }
                    Err(fault) => fault,
                };
                let mut fleet = engine.fleet();
                let Ok(entry) = fleet.get_mut(&id) else { return };
                if entry.removal.failed(&fault) {
                    fleet.notice(Level::Error, Some(id), &fault.to_string());
                }
                engine.deadlines.notify_one();
            });
        }
    }
}

fn require(sandbox: &Sandbox, can: bool, done: &str) -> Outcome<()> {
    if can {
        return Ok(());
    }
    let Sandbox { name, driver, .. } = sandbox;
    Err(Fault::unsupported(format!(
        "sandbox {name} can't be {done}: the {driver} driver can't here"
    )))
}

/// Why a sandbox in its state can't have that done to it.
pub(super) fn unfit(sandbox: &Sandbox, done: &str) -> Fault {
    let Sandbox { name, state, .. } = sandbox;
    let fault = format!("sandbox {name} can't be {done}: it is {}", state.word());
    match state {
        State::Creating => Fault::busy(fault),
        State::Running | State::Paused => Fault::failed(fault),
        // Whoever holds it does not answer; why, its notes say.
        State::Unknown => {
            let why = [fault].into_iter().chain(sandbox.notes.iter().cloned());
            Fault::lost(shown(&why.collect::<Vec<_>>().join("; "), LINE_BYTES_MAX))
        }
        _ => Fault::failed(fault).hint("start a new one: sandwatch run"),
    }
}

/// Deletes a directory and all that is in it; one that is not there is fine.
pub(super) async fn delete_dir(dir: &Path) -> Outcome<()> {
    let path = dir.to_owned();
    let deleting = tokio::task::spawn_blocking(move || driver::local::delete(&path));
    match tokio::time::timeout(ANSWER_WITHIN * 6, deleting).await {
        Ok(deleted) => {
            let unfinished = |error| Fault::bug(format!("deleting {}: {error}", dir.display()));
            deleted.map_err(unfinished)?
        }
        Err(_) => Err(Fault::late(format!("deleting {} takes too long", dir.display()))),
    }
}
