//! Going back to a moment of a sandbox, and branching from one.

use std::{sync::Arc, time::Duration};

use super::{Inner, follow::fail, name, verbs::unfit};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::{SandboxId, SessionId, SnapshotId},
    },
    driver::Driver,
    model::{
        change::Subject,
        sandbox::{Sandbox, SandboxSpec, State, WorkspaceMode},
        snapshot::{Snapshot, SnapshotCause},
    },
    runtime::Fork,
    session::seat::Seat,
    wire::convert::snapshot::Stored,
};

impl Inner {
    /// Gives a sandbox the files of another moment and starts its first command again.
    pub(super) async fn restore(
        self: &Arc<Self>,
        id: &SandboxId,
        to: &SnapshotId,
    ) -> Outcome<Sandbox> {
        let verbs = self.verbs(id)?;
        let _held = verbs.lock().await;
        let (sandbox, seat) = self.look(id)?;
        let stored = self.shelves().get(to)?;
        fits(&sandbox, &stored)?;
        if !matches!(sandbox.state, State::Running | State::Paused | State::Stopped | State::Failed)
        {
            return Err(unfit(&sandbox, "restored"));
        }
        let (before, hold) = self.take(id, None, SnapshotCause::Restore).await?;
        if let Some(seat) = seat.as_ref().filter(|_| hold.is_some()) {
            // Before anything else goes on in it, and so that its recordings have their end.
            self.stop_seat(id, seat.as_ref(), Duration::ZERO).await?;
        }
        drop(hold);
        let driver = self.drivers.get(&sandbox.driver)?;
        let was = self.fleet().get(id)?.spec.clone();
        let spec = SandboxSpec { from: Some(to.clone()), ..SandboxSpec::clone(&was) };
        self.begin_again(id, spec);
        let first = SessionId::random();
        let mut made = self.make_again(id, seat, &*driver, &first).await;
        if let Err(fault) = &made {
            // What it was before is kept: that it can be again.
            tracing::warn!(%fault, "a restore failed; the sandbox is made as it was");
            let spec = SandboxSpec { from: Some(before.id.clone()), ..SandboxSpec::clone(&was) };
            self.begin_again(id, spec);
            let seat = self.fleet().get_mut(id)?.seat.take();
            let again = self.make_again(id, seat, &*driver, &SessionId::random()).await;
            made = Err(match again {
                Ok(()) => fault.clone().context(format!(
                    "restoring {}, which was started again as it was",
                    sandbox.name
                )),
                Err(second) => {
                    let words =
                        format!("restoring it failed: {fault}; so did going back: {second}");
                    if let Ok(entry) = self.fleet().get_mut(id) {
                        fail(entry.sandbox_mut(), &words);
                    }
                    Fault::failed(words)
                        .hint(format!("its files are in snapshot {}: sandwatch fork it", before.id))
                }
            });
        }
        if made.is_ok() {
            self.fleet().get_mut(id)?.sandbox_mut().moment = Some(to.clone());
        }
        self.touch(id);
        self.persist_or_notice(id).await;
        self.sweep_shelves().await;
        self.prune_shelves(Some(id)).await;
        self.count_snapshots(id).await;
        made?;
        Ok(Sandbox::clone(&self.fleet().get(id)?.sandbox))
    }

    /// What a sandbox is between two moments: a hub that comes meanwhile finds it stopped, on its new files.
    fn begin_again(&self, id: &SandboxId, spec: SandboxSpec) {
        if let Ok(entry) = self.fleet().get_mut(id) {
            entry.seat = None;
            entry.incarnation += 1;
            entry.version += 1;
            entry.spec = Arc::new(spec);
            let sandbox = entry.sandbox_mut();
            sandbox.state = State::Stopped;
            sandbox.stop_asked = true;
            sandbox.sessions.clear();
            sandbox.notes = vec!["it is being restored".to_owned()];
        }
    }

    /// Ends what holds a sandbox and makes it anew in the same place, from what its spec says now.
    async fn make_again(
        self: &Arc<Self>,
        id: &SandboxId,
        seat: Option<Arc<dyn Seat>>,
        driver: &dyn Driver,
        first: &SessionId,
    ) -> Outcome<()> {
        self.persist(id).await?;
        let (spec, name) = {
            let fleet = self.fleet();
            let entry = fleet.get(id)?;
            (entry.spec.clone(), entry.sandbox.name.clone())
        };
        let ground = self.ground(id, &name);
        if let Some(seat) = seat {
            match seat.vacate().await {
                Err(fault) if fault.kind() != Kind::Lost => return Err(fault),
                _ => {}
            }
        }
        driver.reap(&ground).await?;
        driver.vacate(&ground).await?;
        self.write_record(id).await?;
        let events = self.settle_in(ground, &spec, driver, first).await?;
        self.follow(id.clone(), events);
        Ok(())
    }

    /// Makes a sandbox from a moment of another.
    pub(super) async fn fork(self: &Arc<Self>, from: Subject, how: Fork) -> Outcome<Sandbox> {
        let (kept, by_itself) = match from {
            Subject::Snapshot(id) => (id, false),
            Subject::Sandbox(id) => (self.snapshot(&id, None, SnapshotCause::Fork).await?.id, true),
        };
        let stored = self.shelves().get(&kept)?;
        let name = how.name.unwrap_or_else(|| {
            let fleet = self.fleet();
            name::after(&stored.snapshot.sandbox_name, |it| fleet.has_name(it))
        });
        let spec = SandboxSpec {
            name: Some(name),
            from: Some(kept.clone()),
            first: how.first.unwrap_or_else(|| stored.spec.first.clone()),
            ..stored.spec.clone()
        };
        let made = self.create(spec).await;
        if made.is_err() && by_itself {
            // Nobody asked for the snapshot alone.
            if let Err(fault) = self.remove_snapshot(&kept).await {
                tracing::warn!(%fault, "a snapshot for a fork that failed stays");
            }
        }
        made
    }

    /// Refuses a snapshot that a sandbox can't begin with.
    pub(super) fn check_from(&self, spec: &SandboxSpec) -> Outcome<()> {
        let Some(from) = &spec.from else { return Ok(()) };
        let stored = self.shelves().get(from)?;
        if stored.snapshot.driver != spec.driver {
            return Err(Fault::invalid(format!(
                "snapshot {from} is of driver {}, not {}",
                stored.snapshot.driver, spec.driver
            )));
        }
        if stored.snapshot.workspace != spec.workspace {
            return Err(Fault::invalid(format!("snapshot {from} is of another workspace")));
        }
        Ok(())
    }
}

/// Refuses a moment that a sandbox can't go back to.
fn fits(sandbox: &Sandbox, stored: &Stored) -> Outcome<()> {
    let Snapshot { id, driver, workspace, sandbox_name, .. } = &stored.snapshot;
    let name = &sandbox.name;
    let hint = format!("sandwatch fork {id} makes a sandbox of its own from it");
    if *driver != sandbox.driver {
        let words = format!("sandbox {name} can't be restored to a snapshot of driver {driver}");
        return Err(Fault::invalid(words).hint(hint));
    }
    let other =
        workspace.path != sandbox.workspace.path || workspace.mode != sandbox.workspace.mode;
    if other && sandbox.workspace.mode != WorkspaceMode::None {
        let words = format!("snapshot {id} of {sandbox_name} has another workspace than {name}");
        return Err(Fault::invalid(words).hint(hint));
    }
    Ok(())
}
