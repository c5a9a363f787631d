//! Going back to a moment of a sandbox, and branching from one.

use std::{sync::Arc, time::Duration};

use super::{
    Inner,
    follow::fail,
    name,
    shelves::Pin,
    snapshots::{Taken, Then},
    verbs::unfit,
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::{SandboxId, SessionId, SnapshotId},
    },
    driver::Driver,
    model::{
        change::Subject,
        event::Level,
        sandbox::{Sandbox, SandboxSpec, State, WorkspaceMode},
        snapshot::{Snapshot, SnapshotCause, SnapshotKind},
    },
    runtime::Fork,
    session::seat::{Hold, Seat},
    wire::convert::snapshot::Stored,
};

/// The note of a sandbox between two moments.
const UNDER_WAY: &str = "it is being restored";

/// Tells that a sandbox was just being restored when its hub ended; its note then says what to do.
pub(super) fn cut_short(sandbox: &mut Sandbox) -> bool {
    let Some(note) = sandbox.notes.iter_mut().find(|it| *it == UNDER_WAY) else { return false };
    let to = sandbox.moment.as_ref().map(|it| format!(" {it}")).unwrap_or_default();
    *note = format!("its restore was cut short: sandwatch restore {}{to} goes on", sandbox.name);
    true
}

impl Inner {
    /// Starts the first program of a sandbox whose restore was cut short just before that.
    pub(super) fn begin_at_last(self: &Arc<Self>, id: &SandboxId) {
        let (engine, id) = (self.clone(), id.clone());
        tokio::spawn(async move {
            let Ok(verbs) = engine.verbs(&id) else { return };
            let _held = verbs.lock().await;
            let Ok((sandbox, Some(seat))) = engine.look(&id) else { return };
            if !sandbox.sessions.is_empty() || sandbox.state != State::Running {
                return;
            }
            let Ok(spec) = engine.fleet().get(&id).map(|it| it.spec.clone()) else { return };
            let opened = seat.open(SessionId::random(), spec.first.clone()).await;
            let (level, words) = match opened {
                Ok(_) => {
                    (Level::Info, format!("{} was being restored and runs again", sandbox.name))
                }
                Err(fault) => {
                    (Level::Error, format!("{} was being restored: {fault}", sandbox.name))
                }
            };
            engine.fleet().notice(level, Some(id.clone()), &words);
        });
    }

    /// Gives a sandbox the files of another moment, or with `None` its own, and starts its first command again.
    pub(super) async fn restore(
        self: &Arc<Self>,
        id: &SandboxId,
        to: Option<&SnapshotId>,
    ) -> Outcome<Sandbox> {
        // Who keeps it elsewhere starts it, and goes back to nothing.
        if self.fleet().get(id).is_ok_and(|it| it.elsewhere && it.sandbox.capabilities.start)
            && to.is_none()
        {
            self.resume(id).await?;
            return Ok(Sandbox::clone(&self.fleet().get(id)?.sandbox));
        }
        let verbs = self.verbs(id)?;
        let _held = verbs.lock().await;
        let (sandbox, seat) = self.look(id)?;
        // Before anything ends.
        drop(self.values(id)?);
        // Whoever removes it meanwhile finds that it is needed.
        let pinned = to.map(|it| self.shelves().pin(it)).transpose()?;
        pinned.iter().try_for_each(|(stored, _)| self.fits(&sandbox, stored))?;
        if !matches!(sandbox.state, State::Running | State::Paused | State::Stopped | State::Failed)
        {
            return Err(unfit(&sandbox, "restored"));
        }
        if to.is_none() && !matches!(sandbox.state, State::Stopped | State::Failed) {
            return Err(unfit(&sandbox, "started again"));
        }
        let cause = SnapshotCause::Restore;
        let what = (None, SnapshotKind::Filesystem);
        let taken = self.take(id, what, cause, Then::StayStill).await?;
        // Until the end it is what there is to go back to.
        let Taken { snapshot: before, pin: _pin, hold } = taken;
        let restored = self.go_back(id, seat, hold, &before, to.unwrap_or(&before.id)).await;
        if restored.is_err() {
            // It may be the only one of what it was: it goes when somebody says so.
            let asked = self.rewrite(&before.id, |it| it.snapshot.cause = SnapshotCause::Asked);
            if let Err(fault) = asked.await {
                tracing::warn!(%fault, "what a sandbox was before a restore may be pruned");
            }
        }
        self.touch(id);
        self.persist_or_notice(id).await;
        self.tidy_shelves(Some(id));
        self.count_snapshots(id).await;
        restored?;
        Ok(Sandbox::clone(&self.fleet().get(id)?.sandbox))
    }

    /// Ends what runs, which is kept, and begins with the other moment; else with what was kept.
    async fn go_back(
        self: &Arc<Self>,
        id: &SandboxId,
        seat: Option<Arc<dyn Seat>>,
        hold: Option<Hold>,
        before: &Snapshot,
        to: &SnapshotId,
    ) -> Outcome<()> {
        let name = &before.sandbox_name;
        if let Some(seat) = seat.as_ref().filter(|_| hold.is_some()) {
            // Before anything else goes on in it, and so that its recordings have their end.
            self.stop_seat(id, seat.as_ref(), Duration::ZERO).await?;
        }
        drop(hold);
        let driver = self.drivers.get(&before.driver)?;
        let Err(fault) = self.begin_with(id, &*driver, &before.id, to).await else {
            return Ok(());
        };
        tracing::warn!(%fault, name, "a restore failed; the sandbox is made as it was");
        let Err(second) = self.begin_with(id, &*driver, &before.id, &before.id).await else {
            let words = format!("restoring {name}, which was started again as it was");
            return Err(fault.context(words));
        };
        let words = format!("restoring it failed: {fault}; so did going back: {second}");
        if let Ok(entry) = self.fleet().get_mut(id) {
            fail(entry.sandbox_mut(), &words);
        }
        let hint = format!("its files are in snapshot {0}: sandwatch fork {0}", before.id);
        Err(Fault::failed(words).hint(hint))
    }

    /// Makes a sandbox anew in the same place from another moment. `before` has all that it was, so that its own
    /// layer over it shows the same: killed anywhere, it is what it was or what it is to be.
    async fn begin_with(
        self: &Arc<Self>,
        id: &SandboxId,
        driver: &dyn Driver,
        before: &SnapshotId,
        moment: &SnapshotId,
    ) -> Outcome<()> {
        self.stand_on(id, before).await?;
        let (seat, name) = {
            let fleet = self.fleet();
            let entry = fleet.get(id)?;
            (entry.seat.clone(), entry.sandbox.name.clone())
        };
        if let Some(seat) = seat {
            self.take_ruled_at_last(id).await;
            match seat.vacate().await {
                Err(fault) if fault.kind() != Kind::Lost => return Err(fault),
                _ => self.fleet().get_mut(id)?.seat = None,
            }
        }
        let ground = self.whole_ground(id, &name)?;
        driver.reap(&ground).await?;
        driver.vacate(&ground).await?;
        self.stand_on(id, moment).await?;
        let spec = self.fleet().get(id)?.spec.clone();
        let ground = self.whole_ground(id, &name)?;
        let events = self.settle_in(ground, &spec, driver, Some(&SessionId::random())).await?;
        self.follow(id.clone(), events);
        Ok(())
    }

    /// Writes down which moment a sandbox stands on, whose programs have ended: a hub that comes meanwhile finds it
    /// stopped.
    async fn stand_on(self: &Arc<Self>, id: &SandboxId, moment: &SnapshotId) -> Outcome<()> {
        let awake = has_programs(&*self.shelves().get(moment)?);
        {
            let mut fleet = self.fleet();
            let entry = fleet.get_mut(id)?;
            entry.incarnation += 1;
            entry.version += 1;
            entry.spec = Arc::new(SandboxSpec {
                from: Some(moment.clone()),
                awake,
                ..SandboxSpec::clone(&entry.spec)
            });
            let sandbox = entry.sandbox_mut();
            sandbox.state = State::Stopped;
            sandbox.stop_asked = true;
            sandbox.moment = Some(moment.clone());
            sandbox.sessions.clear();
            sandbox.notes = vec![UNDER_WAY.to_owned()];
        }
        self.persist(id).await?;
        self.write_record(id).await
    }

    /// Makes a sandbox from a moment of another.
    pub(super) async fn fork(self: &Arc<Self>, from: Subject, how: Fork) -> Outcome<Sandbox> {
        let (stored, pin, by_itself) = match from {
            Subject::Snapshot(id) => {
                let (stored, pin) = self.shelves().pin(&id)?;
                (stored, pin, false)
            }
            Subject::Sandbox(id) => {
                let kind = SnapshotKind::Filesystem;
                let (taken, pin) = self.snapshot(&id, None, kind, SnapshotCause::Fork).await?;
                (self.shelves().get(&taken.id)?, pin, true)
            }
        };
        let kept = stored.snapshot.id.clone();
        let name = how.name.unwrap_or_else(|| {
            let fleet = self.fleet();
            name::after(&stored.snapshot.sandbox_name, |it| fleet.has_name(it))
        });
        let awake = has_programs(&stored) && how.first.is_none();
        let spec = SandboxSpec {
            name: Some(name),
            from: Some(kept.clone()),
            awake,
            first: how.first.unwrap_or_else(|| stored.spec.first.clone()),
            ..stored.spec.clone()
        };
        // Its files may have the placeholders in them: they stay.
        let made = match self.values_after(&stored.snapshot.sandbox, &spec, how.given) {
            Ok(given) => self.create(SandboxSpec { given, ..spec }).await,
            Err(fault) => Err(fault),
        };
        drop(pin);
        if made.is_err() && by_itself {
            // Nobody asked for the snapshot alone.
            if let Err(fault) = self.remove_snapshot(&kept).await {
                tracing::warn!(%fault, "a snapshot for a fork that failed stays");
            }
        }
        made
    }

    /// Refuses a snapshot that a sandbox can't begin with, and keeps the one that it can until it does.
    pub(super) fn check_from(&self, spec: &SandboxSpec) -> Outcome<Option<Pin>> {
        let Some(from) = &spec.from else { return Ok(None) };
        let (stored, pin) = self.shelves().pin_kept(from)?;
        if stored.snapshot.driver != spec.driver {
            return Err(Fault::invalid(format!(
                "snapshot {from} is of driver {}, not {}",
                stored.snapshot.driver, spec.driver
            )));
        }
        if stored.snapshot.workspace != spec.workspace {
            return Err(Fault::invalid(format!("snapshot {from} is of another workspace")));
        }
        Ok(Some(pin))
    }

    /// Refuses a moment that a sandbox can't go back to.
    fn fits(&self, sandbox: &Sandbox, stored: &Stored) -> Outcome<()> {
        let Snapshot { id, driver, workspace, sandbox_name, .. } = &stored.snapshot;
        let name = &sandbox.name;
        let hint = format!("sandwatch fork {id} makes a sandbox of its own from it");
        if *driver != sandbox.driver {
            let words =
                format!("sandbox {name} can't be restored to a snapshot of driver {driver}");
            return Err(Fault::invalid(words).hint(hint));
        }
        let other =
            workspace.path != sandbox.workspace.path || workspace.mode != sandbox.workspace.mode;
        if other && sandbox.workspace.mode != WorkspaceMode::None {
            let words =
                format!("snapshot {id} of {sandbox_name} has another workspace than {name}");
            return Err(Fault::invalid(words).hint(hint));
        }
        if has_programs(stored) && !sandbox.capabilities.snapshot_memory {
            let driver = self.drivers.get(&sandbox.driver)?;
            let why = driver.why_no_memory(sandbox.isolation, sandbox.egress);
            let words = format!("the programs of snapshot {id} can't go on in {name}: {why}");
            return Err(Fault::unsupported(words).hint(hint));
        }
        Ok(())
    }
}

fn has_programs(stored: &Stored) -> bool {
    stored.snapshot.kind == SnapshotKind::Memory
}
