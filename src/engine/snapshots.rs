//! Snapshots: taking one, listing them, and letting go of one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Inner,
    shelves::{self, Fresh, Pin, tolerate_absent},
    verbs::unfit,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{SandboxId, SnapshotId},
        limits::{REMOVE_AGAIN_MAX, REMOVE_AGAIN_MIN, SNAPSHOT_WITHIN},
    },
    driver::{Shelf, Stillness},
    model::{
        sandbox::{Sandbox, SandboxSpec, State},
        snapshot::{Snapshot, SnapshotCause, SnapshotKind},
    },
    session::seat::{Hold, Seat},
    wire::convert::snapshot::{Stored, snapshot_name},
};

/// What becomes of programs that were held still for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    /// They are to end; until then they do nothing that nobody would have.
    StayStill,
}

/// A snapshot that was just taken. Nobody deletes it as long as its pin lives.
pub(super) struct Taken {
    pub snapshot: Snapshot,
    pub pin: Pin,
    /// On programs that stay still.
    pub hold: Option<Hold>,
}

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
        kind: SnapshotKind,
        cause: SnapshotCause,
    ) -> Outcome<(Snapshot, Pin)> {
        if let Some(name) = &name {
            snapshot_name(name)?;
        }
        let verbs = self.verbs(id)?;
        let _held = verbs.lock().await;
        self.take_and_go_on(id, (name, kind), cause).await
    }

    /// The same by itself, at the sandbox's turn and that of those that are taken by time. Who waits for one of
    /// them holds up nobody who needs the other.
    pub(super) async fn snapshot_by_time(self: &Arc<Self>, id: &SandboxId) -> Outcome<()> {
        let verbs = self.verbs(id)?;
        let _turns = loop {
            let among_many = self.timers.acquire().await;
            match verbs.try_lock() {
                Ok(held) => break (among_many, held),
                Err(_) => drop(among_many),
            }
            drop(verbs.lock().await);
        };
        self.take_and_go_on(id, (None, SnapshotKind::Filesystem), SnapshotCause::Timer).await?;
        Ok(())
    }

    async fn take_and_go_on(
        self: &Arc<Self>,
        id: &SandboxId,
        what: (Option<String>, SnapshotKind),
        cause: SnapshotCause,
    ) -> Outcome<(Snapshot, Pin)> {
        let Taken { snapshot, pin, .. } = self.take(id, what, cause, Then::GoOn).await?;
        self.tidy_shelves(Some(id));
        self.count_snapshots(id).await;
        Ok((snapshot, pin))
    }

    /// The same for who has the sandbox's turn.
    pub(super) async fn take(
        self: &Arc<Self>,
        id: &SandboxId,
        (name, kind): (Option<String>, SnapshotKind),
        cause: SnapshotCause,
        then: Then,
    ) -> Outcome<Taken> {
        let memory = kind == SnapshotKind::Memory;
        let (sandbox, seat) = self.fit_for_snapshot(id, name.as_deref())?;
        if memory {
            self.can_keep_memory(&sandbox)?;
        }
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
            kind,
            cause,
            workspace: sandbox.workspace.clone(),
            notes: Vec::new(),
        };
        let like = sandbox.moment.as_ref().and_then(|it| self.shelves().shelf(it).ok());
        let driver = self.drivers.get(&sandbox.driver)?;
        let ground = self.whole_ground(id, &sandbox.name)?;
        let root = self.shelves().root().to_owned();
        let work = async {
            let hold = match seat {
                Some(seat) => Some(self.hold(id, &seat, memory).await?),
                None => None,
            };
            if sandbox.state == State::Failed {
                // What is left of a dead host's programs must not write to what is taken.
                driver.reap(&ground).await?;
            }
            let stillness = match hold {
                Some(_) if memory => Stillness::Written,
                Some(_) => Stillness::Live,
                None => Stillness::Stopped,
            };
            let engine = self.clone();
            let clear_up = Box::new(move |dir| engine.clear_up(dir));
            let (root, fresh) = (root, kept.id.clone());
            let fresh = blocking(move || Fresh::make(&root, &fresh, clear_up)).await?;
            let shelf = fresh.shelf();
            let taken = driver.snapshot(&ground, &spec, &shelf, like.as_ref(), stillness).await?;
            Ok::<_, Fault>((fresh, taken, hold))
        };
        let mut leaving = self.fleet().get(id)?.leaving.subscribe();
        let (fresh, taken, hold) = tokio::select! {
            taken = tokio::time::timeout(SNAPSHOT_WITHIN, work) => taken.unwrap_or_else(|_| {
                Err(Fault::late(format!("a snapshot of {} takes too long", sandbox.name)))
            })?,
            // A removal waits for no picture of what it removes.
            _ = leaving.wait_for(|it| *it) => return Err(Fault::failed("it is being removed")),
        };
        let hold = hold.filter(|_| then == Then::StayStill);
        let snapshot = Snapshot { size_bytes: taken.size_bytes, notes: taken.notes, ..kept };
        let stored = Stored {
            snapshot,
            spec: SandboxSpec::clone(&spec),
            reference: taken.reference,
            removed: false,
            since: self.line_of(&sandbox, &spec),
        };
        let snapshot = stored.snapshot.clone();
        let stored = blocking(move || fresh.finish(&stored).map(|()| stored)).await?;
        let pin = self.shelves().add(stored);
        self.fleet().get_mut(id)?.sandbox_mut().moment = Some(snapshot.id.clone());
        self.touch(id);
        self.persist_or_notice(id).await;
        Ok(Taken { snapshot, pin, hold })
    }

    /// A sandbox that can be kept as a snapshot now, and its host if it has one that runs.
    fn fit_for_snapshot(
        &self,
        id: &SandboxId,
        name: Option<&str>,
    ) -> Outcome<(Arc<Sandbox>, Option<Arc<dyn Seat>>)> {
        let (sandbox, seat) = self.look(id)?;
        if !sandbox.capabilities.snapshot {
            let Sandbox { name, driver, .. } = &*sandbox;
            return Err(Fault::unsupported(format!(
                "sandbox {name} can't be kept as a snapshot: the {driver} driver can't here"
            )));
        }
        self.shelves().has_room(id, name)?;
        match (sandbox.state, seat) {
            (State::Running | State::Paused, Some(seat)) => Ok((sandbox, Some(seat))),
            (State::Stopped | State::Failed, _) => Ok((sandbox, None)),
            _ => Err(unfit(&sandbox, "kept as a snapshot")),
        }
    }

    /// Refuses to keep a sandbox with its running programs where that can't be.
    fn can_keep_memory(&self, sandbox: &Sandbox) -> Outcome<()> {
        let name = &sandbox.name;
        let no = |fault: Fault| {
            Err(fault
                .hint("without --memory its files are kept, and programs start anew from them"))
        };
        if !sandbox.capabilities.snapshot_memory {
            let driver = self.drivers.get(&sandbox.driver)?;
            let why = driver.why_no_memory(sandbox.isolation, sandbox.egress);
            let words = format!("running programs of {name} can't be kept: {why}");
            return no(Fault::unsupported(words));
        }
        if sandbox.state != State::Running {
            let words = format!("no programs of {name} run: it is {}", sandbox.state.word());
            if sandbox.state == State::Paused {
                return Err(Fault::failed(words).hint(format!("sandwatch resume {name}")));
            }
            return no(Fault::failed(words));
        }
        Ok(())
    }

    /// Holds a sandbox still. One whose host hangs is known as such sooner than a snapshot may take.
    async fn hold(
        self: &Arc<Self>,
        id: &SandboxId,
        seat: &Arc<dyn Seat>,
        memory: bool,
    ) -> Outcome<Hold> {
        self.pulse(id, seat).await?;
        seat.hold(memory).await
    }

    /// When the first sandbox of a line was made.
    pub(super) fn line_of(&self, sandbox: &Sandbox, spec: &SandboxSpec) -> Timestamp {
        let from = spec.from.as_ref().and_then(|it| self.shelves().get(it).ok());
        from.map_or(sandbox.created_at, |it| it.since.min(sandbox.created_at))
    }

    /// Changes what is written of a snapshot.
    pub(super) async fn rewrite(
        &self,
        id: &SnapshotId,
        change: impl FnOnce(&mut Stored),
    ) -> Outcome<()> {
        let turn = self.shelf_turn.lock().await;
        let mut stored = Stored::clone(&*self.shelves().get(id)?);
        change(&mut stored);
        let dir = self.shelf_of(id)?.dir;
        let stored = blocking(move || shelves::write(&dir, &stored).map(|()| stored)).await?;
        self.shelves().set(stored);
        drop(turn);
        Ok(())
    }

    /// Drops a snapshot; its files stay as long as a sandbox stands on them.
    pub(super) async fn remove_snapshot(self: &Arc<Self>, id: &SnapshotId) -> Outcome<()> {
        let stored = self.shelves().get(id)?;
        if stored.removed {
            return Err(Fault::absent(format!("no such snapshot: {id}")));
        }
        if !self.let_go(id).await? {
            self.rewrite(id, |it| it.removed = true).await?;
        }
        self.count_snapshots(&stored.snapshot.sandbox).await;
        Ok(())
    }

    /// Deletes what a snapshot left that came to nothing, with all that a driver may keep of it elsewhere.
    pub(super) fn clear_up(self: &Arc<Self>, dir: PathBuf) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let engine = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut pause = REMOVE_AGAIN_MIN;
            while let Some(engine) = engine.upgrade() {
                match engine.forget_shelf(&dir).await {
                    Ok(()) => {
                        shelves::discard(dir);
                        return;
                    }
                    Err(fault) => tracing::warn!(%fault, dir = %dir.display(), "a shelf stays"),
                }
                drop(engine);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(REMOVE_AGAIN_MAX);
            }
        });
    }

    async fn forget_shelf(&self, dir: &Path) -> Outcome<()> {
        let Some(id) = shelves::id_of(dir) else { return Ok(()) };
        let shelf = Shelf { id, dir: dir.to_owned(), reference: None };
        // Which driver it was of may not have been written down yet; one that knows nothing of it says so.
        for driver in self.drivers.all() {
            tolerate_absent(driver.forget(&shelf).await)?;
        }
        Ok(())
    }

    /// Deletes a snapshot; `false` when something stands on it, or is just being made of it.
    pub(super) async fn let_go(self: &Arc<Self>, id: &SnapshotId) -> Outcome<bool> {
        let Some((gone, shared)) = self.delete(id).await? else { return Ok(false) };
        self.hand_on(&gone.snapshot, shared).await;
        self.move_on(&gone.snapshot).await;
        Ok(true)
    }

    /// Those after one that is gone come after the one before it. What it shared with them is the oldest one's now.
    async fn hand_on(&self, gone: &Snapshot, mut shared: u64) {
        let mut after: Vec<Snapshot> = {
            let shelves = self.shelves();
            let after = shelves.all().map(|it| &it.snapshot);
            after.filter(|it| it.parent.as_ref() == Some(&gone.id)).cloned().collect()
        };
        after.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        for Snapshot { id, .. } in after {
            let more = std::mem::take(&mut shared);
            let written = self.rewrite(&id, |it| {
                it.snapshot.parent.clone_from(&gone.parent);
                it.snapshot.size_bytes = it.snapshot.size_bytes.map(|it| it.saturating_add(more));
            });
            if let Err(fault) = written.await {
                tracing::warn!(%fault, %id, "it is listed as after one that is gone");
            }
        }
    }

    /// Sandboxes that came from one that is gone come from the one before it.
    async fn move_on(self: &Arc<Self>, gone: &Snapshot) {
        let there: Vec<SandboxId> = {
            let mut fleet = self.fleet();
            let of = fleet.entries().filter(|it| it.sandbox.moment.as_ref() == Some(&gone.id));
            let there: Vec<_> = of.map(|it| it.sandbox.id.clone()).collect();
            for id in &there {
                if let Ok(entry) = fleet.get_mut(id) {
                    entry.sandbox_mut().moment.clone_from(&gone.parent);
                }
            }
            there
        };
        for id in there {
            self.touch(&id);
            self.persist_or_notice(&id).await;
        }
    }

    /// Takes one off the list and its files out of sight; gives what they shared with others, in bytes.
    async fn delete(&self, id: &SnapshotId) -> Outcome<Option<(Arc<Stored>, u64)>> {
        let Some((stored, shelf, has_next)) = self.take_off(id).await? else { return Ok(None) };
        // From here on nobody finds it, and nobody else waits.
        let driver = self.drivers.get(&stored.snapshot.driver).ok();
        if let Some(driver) = &driver
            && let Err(fault) = tolerate_absent(driver.forget(&shelf).await)
        {
            self.shelves().add(Stored::clone(&stored));
            return Err(fault);
        }
        let driver = driver.filter(|_| has_next);
        blocking(move || {
            let alone = driver.and_then(|it| it.alone(&shelf));
            let shared =
                stored.snapshot.size_bytes.zip(alone).map(|(all, it)| all.saturating_sub(it));
            shelves::discard(shelf.dir);
            Ok(Some((stored, shared.unwrap_or(0))))
        })
        .await
    }

    /// Takes one off the list, and tells whether others come after it; `None` when it is needed.
    async fn take_off(&self, id: &SnapshotId) -> Outcome<Option<(Arc<Stored>, Shelf, bool)>> {
        let _turn = self.shelf_turn.lock().await;
        // Both, so that nothing begins to stand on it in between.
        let fleet = self.fleet();
        let mut shelves = self.shelves();
        let shelf = shelves.shelf(id)?;
        if fleet.entries().any(|it| it.spec.from.as_ref() == Some(id)) {
            return Ok(None);
        }
        let Some(stored) = shelves.take(id) else { return Ok(None) };
        let has_next = shelves.all().any(|it| it.snapshot.parent.as_ref() == Some(id));
        Ok(Some((stored, shelf, has_next)))
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
