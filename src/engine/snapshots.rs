//! Snapshots: taking one, going back to one, branching from one, and letting go of those nobody needs.

use std::{sync::Arc, time::Duration};

use super::{
    Inner,
    adopt::first_report,
    follow::{apply, fail},
    name,
    shelves::{self, Fresh, tolerate_absent},
    verbs::unfit,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{SandboxId, SessionId, SnapshotId},
        limits::{
            SNAPSHOT_BY_ITSELF_AGE_MAX, SNAPSHOT_WITHIN, SNAPSHOTS_BY_THEMSELVES_BYTES_MAX,
            SNAPSHOTS_BY_THEMSELVES_MAX,
        },
    },
    driver::{Driver, Ground, Shelf, Stillness},
    model::{
        change::Subject,
        event::Level,
        sandbox::{Sandbox, SandboxSpec, State, WorkspaceMode},
        snapshot::{Snapshot, SnapshotCause, SnapshotKind},
    },
    runtime::Fork,
    session::seat::{Hold, Seat},
    wire::convert::snapshot::{Stored, snapshot_name},
};

impl Inner {
    pub(super) fn snapshots(&self) -> Vec<Snapshot> {
        let mut all: Vec<_> = self.shelves().listed().map(|it| it.snapshot.clone()).collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    /// Keeps this moment of a sandbox.
    pub(super) async fn snapshot(
        self: &Arc<Self>,
        id: &SandboxId,
        name: Option<String>,
        cause: SnapshotCause,
    ) -> Outcome<Snapshot> {
        if let Some(name) = &name {
            snapshot_name(name)?;
        }
        let verbs = self.verbs(id)?;
        let _held = verbs.lock().await;
        let (taken, hold) = self.take(id, name, cause).await?;
        drop(hold);
        self.prune_shelves(Some(id)).await;
        self.count_snapshots(id).await;
        Ok(taken)
    }

    /// The same for who has the sandbox's turn. Its programs are held still as long as what comes with it lives.
    async fn take(
        self: &Arc<Self>,
        id: &SandboxId,
        name: Option<String>,
        cause: SnapshotCause,
    ) -> Outcome<(Snapshot, Option<Hold>)> {
        let (sandbox, seat) = self.look(id)?;
        if !sandbox.capabilities.snapshot {
            let Sandbox { name, driver, .. } = &*sandbox;
            return Err(Fault::unsupported(format!(
                "sandbox {name} can't be kept as a snapshot: the {driver} driver can't here"
            )));
        }
        self.shelves().has_room(id, name.as_deref())?;
        let live = matches!(sandbox.state, State::Running | State::Paused);
        let seat = match (sandbox.state, seat) {
            (State::Running | State::Paused, Some(seat)) => Some(seat),
            (State::Stopped | State::Failed, _) => None,
            _ => return Err(unfit(&sandbox, "kept as a snapshot")),
        };
        let spec = self.fleet().get(id)?.spec.clone();
        let kept = Snapshot {
            id: SnapshotId::random(),
            sandbox: id.clone(),
            sandbox_name: sandbox.name.clone(),
            driver: sandbox.driver.clone(),
            name,
            created_at: clock::wall(),
            size_bytes: None,
            parent: sandbox.moment.clone(),
            kind: SnapshotKind::Filesystem,
            cause,
            workspace: sandbox.workspace.clone(),
            notes: Vec::new(),
        };
        let like = sandbox.moment.as_ref().and_then(|it| self.shelves().shelf(it).ok());
        let driver = self.drivers.get(&sandbox.driver)?;
        let ground = self.ground(id, &sandbox.name);
        let root = self.shelves().root().to_owned();
        let work = async {
            let hold = match seat {
                Some(seat) => Some(self.hold(id, &seat).await?),
                None => None,
            };
            let stillness = if live { Stillness::Live } else { Stillness::Stopped };
            let fresh = Fresh::make(&root, &kept.id)?;
            let shelf = fresh.shelf();
            let taken = driver.snapshot(&ground, &spec, &shelf, like.as_ref(), stillness).await?;
            Ok::<_, Fault>((fresh, taken, hold))
        };
        let (fresh, taken, hold) =
            tokio::time::timeout(SNAPSHOT_WITHIN, work).await.unwrap_or_else(|_| {
                Err(Fault::late(format!("a snapshot of {} takes too long", sandbox.name)))
            })?;
        let snapshot = Snapshot { size_bytes: taken.size_bytes, notes: taken.notes, ..kept };
        let stored = Stored {
            snapshot,
            spec: SandboxSpec::clone(&spec),
            reference: taken.reference,
            removed: false,
            since: self.line_of(&sandbox, &spec),
            unsynced_since: Some(shelves::system_start()),
        };
        let snapshot = stored.snapshot.clone();
        let stored = blocking(move || fresh.finish(&stored).map(|()| stored)).await?;
        self.shelves().insert(stored);
        self.settle_on_disk(snapshot.id.clone());
        self.fleet().get_mut(id)?.sandbox_mut().moment = Some(snapshot.id.clone());
        self.touch(id);
        self.persist_or_notice(id).await;
        Ok((snapshot, hold))
    }

    /// Holds a sandbox still. One whose host hangs is known as such sooner than a snapshot may take.
    async fn hold(self: &Arc<Self>, id: &SandboxId, seat: &Arc<dyn Seat>) -> Outcome<Hold> {
        self.pulse(id, seat).await?;
        seat.hold().await
    }

    /// When the first sandbox of a line was made.
    pub(super) fn line_of(&self, sandbox: &Sandbox, spec: &SandboxSpec) -> Timestamp {
        let from = spec.from.as_ref().and_then(|it| self.shelves().get(it).ok());
        from.map_or(sandbox.created_at, |it| it.since.min(sandbox.created_at))
    }

    /// Waits, aside, until the files of a snapshot are on the disk, and notes so.
    fn settle_on_disk(self: &Arc<Self>, id: SnapshotId) {
        let engine = self.clone();
        tokio::spawn(async move {
            let Ok(Shelf { dir, .. }) = engine.shelf_of(&id) else { return };
            let settled = async {
                blocking(move || shelves::sync(&dir)).await?;
                engine.rewrite(&id, |it| it.unsynced_since = None).await
            };
            if let Err(fault) = settled.await {
                tracing::warn!(%fault, %id, "a snapshot may not be on the disk");
            }
        });
    }

    /// Changes what is written of a snapshot.
    async fn rewrite(&self, id: &SnapshotId, change: impl FnOnce(&mut Stored)) -> Outcome<()> {
        let turn = self.shelf_turn.lock().await;
        let mut stored = Stored::clone(&*self.shelves().get(id)?);
        change(&mut stored);
        let dir = self.shelf_of(id)?.dir;
        let stored = blocking(move || shelves::write(&dir, &stored).map(|()| stored)).await?;
        self.shelves().insert(stored);
        drop(turn);
        Ok(())
    }

    /// Drops a snapshot; its files stay as long as a sandbox stands on them.
    pub(super) async fn remove_snapshot(self: &Arc<Self>, id: &SnapshotId) -> Outcome<()> {
        let stored = self.shelves().get(id)?;
        if stored.removed {
            return Err(Fault::absent(format!("no such snapshot: {id}")));
        }
        if self.stands_on(id) {
            self.rewrite(id, |it| it.removed = true).await?;
        } else {
            self.let_go(id).await?;
        }
        self.count_snapshots(&stored.snapshot.sandbox).await;
        Ok(())
    }

    /// Whether a sandbox begins with the files of a snapshot.
    fn stands_on(&self, id: &SnapshotId) -> bool {
        self.fleet().entries().any(|it| it.spec.from.as_ref() == Some(id))
    }

    /// Deletes a snapshot that nothing stands on.
    async fn let_go(&self, id: &SnapshotId) -> Outcome<()> {
        let _turn = self.shelf_turn.lock().await;
        let (stored, shelf) = {
            let shelves = self.shelves();
            (shelves.get(id)?, shelves.shelf(id)?)
        };
        if let Ok(driver) = self.drivers.get(&stored.snapshot.driver) {
            tolerate_absent(driver.forget(&shelf).await)?;
        }
        self.shelves().take(id);
        blocking(move || {
            shelves::discard(shelf.dir);
            Ok(())
        })
        .await
    }

    /// Writes into a sandbox how many snapshots of it there are; one that is gone has nobody to tell.
    async fn count_snapshots(self: &Arc<Self>, id: &SandboxId) {
        let count = self.shelves().count(id);
        let known = self.fleet().get_mut(id).map(|it| it.sandbox_mut().snapshots = count).is_ok();
        if known {
            self.touch(id);
            self.persist_or_notice(id).await;
        }
    }

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
        let ground: Ground = self.ground(id, &name);
        if let Some(seat) = seat {
            match seat.vacate().await {
                Err(fault) if fault.kind() != crate::base::fault::Kind::Lost => return Err(fault),
                _ => {}
            }
        }
        driver.reap(&ground).await?;
        driver.vacate(&ground).await?;
        self.write_record(id).await?;
        let seat = self.seat(ground, &spec, driver).await?;
        self.fleet().get_mut(id)?.seat = Some(seat.clone());
        let mut events = seat.events().await?;
        let report = first_report(&mut events).await?;
        let session = seat.open(first.clone(), spec.first.clone()).await?;
        {
            let mut fleet = self.fleet();
            let sandbox = fleet.get_mut(id)?.sandbox_mut();
            apply(sandbox, report);
            sandbox.state = State::Running;
            sandbox.stop_asked = false;
            if !sandbox.sessions.iter().any(|it| it.id == session.id) {
                sandbox.sessions.push(session);
            }
        }
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

    /// Deletes snapshots that nobody sees any more and nothing stands on.
    pub(super) async fn sweep_shelves(&self) {
        let removed: Vec<_> = {
            let shelves = self.shelves();
            let removed = shelves.all().filter(|it| it.removed);
            removed.map(|it| it.snapshot.id.clone()).collect()
        };
        for id in removed.iter().filter(|it| !self.stands_on(it)) {
            if let Err(fault) = self.let_go(id).await {
                tracing::warn!(%fault, %id, "a removed snapshot stays");
            }
        }
    }

    /// Lets the oldest of those that nobody asked for go: of one sandbox, or of all.
    pub(super) async fn prune_shelves(self: &Arc<Self>, of: Option<&SandboxId>) {
        let now = clock::wall();
        let spare = {
            let shelves = self.shelves();
            let mut by_itself: Vec<_> = shelves
                .listed()
                .map(|it| &it.snapshot)
                .filter(|it| it.cause != SnapshotCause::Asked && it.name.is_none())
                .cloned()
                .collect();
            by_itself.sort_by_key(|it| std::cmp::Reverse(it.created_at));
            superfluous(&by_itself, of, now)
        };
        for id in spare {
            if let Err(fault) = self.remove_snapshot(&id).await {
                let words = format!("removing an old snapshot: {fault}");
                self.fleet().notice(Level::Warning, of.cloned(), &words);
            }
        }
    }

    /// Snapshots of a sandbox that is no more: those nobody asked for go with it.
    pub(super) async fn orphan_shelves(self: &Arc<Self>, id: &SandboxId) {
        let own: Vec<_> = {
            let shelves = self.shelves();
            let own = shelves.listed().map(|it| &it.snapshot);
            let own = own.filter(|it| it.sandbox == *id && it.cause != SnapshotCause::Asked);
            own.filter(|it| it.name.is_none()).map(|it| it.id.clone()).collect()
        };
        for kept in own {
            if let Err(fault) = self.remove_snapshot(&kept).await {
                tracing::warn!(%fault, id = %kept, "a snapshot of a removed sandbox stays");
            }
        }
        self.sweep_shelves().await;
    }

    /// Takes the snapshots whose time has come; how long until the next.
    pub(super) fn snapshots_due(self: &Arc<Self>) {
        let now = clock::wall();
        let due: Vec<_> = {
            let mut fleet = self.fleet();
            let due = fleet.entries_mut().filter(|it| it.snapshot_due(now) == Some(Duration::ZERO));
            due.map(|it| {
                it.snapshot_at = Some(now);
                it.sandbox.id.clone()
            })
            .collect()
        };
        for id in due {
            let engine = self.clone();
            tokio::spawn(async move {
                if let Err(fault) = engine.snapshot(&id, None, SnapshotCause::Timer).await {
                    let words = format!("a snapshot by itself: {fault}");
                    engine.fleet().notice(Level::Warning, Some(id), &words);
                }
            });
        }
    }

    /// Where a snapshot lies, for who looks at it.
    pub(super) fn shelf_of(&self, id: &SnapshotId) -> Outcome<Shelf> {
        self.shelves().shelf(id)
    }
}

/// Which of the snapshots that nobody asked for, newest first, are too many, too old or too large.
fn superfluous(
    newest_first: &[Snapshot],
    of: Option<&SandboxId>,
    now: Timestamp,
) -> Vec<SnapshotId> {
    let (mut bytes, mut counts) = (0_u64, std::collections::HashMap::new());
    let mut spare = Vec::new();
    for it in newest_first {
        bytes = bytes.saturating_add(it.size_bytes.unwrap_or(0));
        let count = counts.entry(&it.sandbox).or_insert(0_usize);
        *count += 1;
        let many = *count > SNAPSHOTS_BY_THEMSELVES_MAX;
        let old = now.since(it.created_at) > SNAPSHOT_BY_ITSELF_AGE_MAX;
        // The newest of a sandbox stays however large it is.
        let large = bytes > SNAPSHOTS_BY_THEMSELVES_BYTES_MAX && *count > 1;
        let meant = of.is_none_or(|of| *of == it.sandbox);
        if meant && (many || old || large) {
            spare.push(it.id.clone());
        }
    }
    spare
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::bug(format!("writing a snapshot: {error}")))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sandbox::Workspace;

    fn snapshot(sandbox: &str, at: i64, bytes: u64) -> Snapshot {
        Snapshot {
            id: SnapshotId::parse(&format!("{sandbox}-{at}")).unwrap(),
            sandbox: SandboxId::parse(sandbox).unwrap(),
            sandbox_name: sandbox.to_owned(),
            driver: "local".to_owned(),
            name: None,
            created_at: Timestamp(at),
            size_bytes: Some(bytes),
            parent: None,
            kind: SnapshotKind::Filesystem,
            cause: SnapshotCause::Timer,
            workspace: Workspace { path: "/w".into(), mode: WorkspaceMode::Cow },
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_the_many_and_the_large_go_and_a_sandbox_keeps_its_newest() {
        let now = Timestamp(SNAPSHOT_BY_ITSELF_AGE_MAX.as_millis() as i64 + 100);
        let names = |it: Vec<SnapshotId>| it.iter().map(ToString::to_string).collect::<Vec<_>>();
        let many: Vec<_> = (0..20).rev().map(|it| snapshot("a", now.0 - 20 + it, 1)).collect();
        assert_eq!(superfluous(&many, None, now).len(), 20 - SNAPSHOTS_BY_THEMSELVES_MAX);
        let old = [snapshot("a", now.0, 1), snapshot("a", 5, 1)];
        assert_eq!(names(superfluous(&old, None, now)), ["a-5"]);
        let large = SNAPSHOTS_BY_THEMSELVES_BYTES_MAX;
        let three =
            [snapshot("a", now.0, large), snapshot("b", now.0 - 1, 9), snapshot("a", now.0 - 2, 9)];
        assert_eq!(names(superfluous(&three, None, now)), [format!("a-{}", now.0 - 2)]);
        assert!(superfluous(&three, three.get(1).map(|it| &it.sandbox), now).is_empty());
    }
}
