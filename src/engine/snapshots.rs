//! Snapshots: taking one, listing them, and letting go of one.

use std::sync::Arc;

use super::{
    Inner,
    shelves::{self, Fresh, tolerate_absent},
    verbs::unfit,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{SandboxId, SnapshotId},
        limits::SNAPSHOT_WITHIN,
    },
    driver::{Shelf, Stillness},
    model::{
        sandbox::{Sandbox, SandboxSpec, State},
        snapshot::{Snapshot, SnapshotCause, SnapshotKind},
    },
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
    pub(super) async fn take(
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
    pub(super) fn stands_on(&self, id: &SnapshotId) -> bool {
        self.fleet().entries().any(|it| it.spec.from.as_ref() == Some(id))
    }

    /// Deletes a snapshot that nothing stands on.
    pub(super) async fn let_go(&self, id: &SnapshotId) -> Outcome<()> {
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
    pub(super) async fn count_snapshots(self: &Arc<Self>, id: &SandboxId) {
        let count = self.shelves().count(id);
        let known = self.fleet().get_mut(id).map(|it| it.sandbox_mut().snapshots = count).is_ok();
        if known {
            self.touch(id);
            self.persist_or_notice(id).await;
        }
    }

    /// Where a snapshot lies, for who looks at it.
    pub(super) fn shelf_of(&self, id: &SnapshotId) -> Outcome<Shelf> {
        self.shelves().shelf(id)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::bug(format!("writing a snapshot: {error}")))?
}
