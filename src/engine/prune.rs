//! Snapshots that come and go by themselves: taken by time, and let go of when they are many, old, large or nobody's.

use std::{sync::Arc, time::Duration};

use super::{Inner, shelves::tolerate_absent};
use crate::{
    base::{
        clock::{self, Timestamp},
        id::{SandboxId, SnapshotId},
        limits::{
            SNAPSHOT_BY_ITSELF_AGE_MAX, SNAPSHOTS_BY_THEMSELVES_BYTES_MAX,
            SNAPSHOTS_BY_THEMSELVES_MAX,
        },
    },
    model::{
        event::Level,
        snapshot::{Snapshot, SnapshotCause},
    },
};

impl Inner {
    /// Lets go of all that nobody needs any more, of one sandbox or of all, in the background: a driver may take
    /// its time.
    pub(super) fn tidy_shelves(self: &Arc<Self>, of: Option<&SandboxId>) {
        let (engine, of) = (Arc::clone(self), of.cloned());
        tokio::spawn(async move {
            engine.sweep_shelves().await;
            engine.prune_shelves(of.as_ref()).await;
        });
    }

    /// Deletes snapshots that nobody sees any more and nothing stands on.
    async fn sweep_shelves(self: &Arc<Self>) {
        let removed: Vec<_> = {
            let shelves = self.shelves();
            let removed = shelves.all().filter(|it| it.removed);
            removed.map(|it| it.snapshot.id.clone()).collect()
        };
        for id in removed {
            // What something stands on stays.
            if let Err(fault) = tolerate_absent(self.let_go(&id).await.map(drop)) {
                tracing::warn!(%fault, %id, "a removed snapshot stays");
            }
        }
    }

    /// Lets the oldest of those that nobody asked for go: of one sandbox, or of all.
    async fn prune_shelves(self: &Arc<Self>, of: Option<&SandboxId>) {
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
            // Somebody else may have been faster.
            if let Err(fault) = tolerate_absent(self.remove_snapshot(&id).await) {
                let words = format!("removing an old snapshot: {fault}");
                self.fleet().notice(Level::Warning, of.cloned(), &words);
            }
        }
    }

    /// Lets the drivers let go of what they keep and nothing stands on.
    pub(super) async fn prune_drivers(&self) {
        for driver in self.drivers.all() {
            let (driver, paths) = (Arc::clone(driver), self.paths.clone());
            let prune = move || driver.prune(&paths.sandboxes(), &paths.snapshots());
            let pruned = tokio::task::spawn_blocking(prune).await;
            if let Ok(Err(fault)) = pruned {
                tracing::warn!(%fault, "what nothing stands on stays");
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

    /// When a snapshot of a sandbox was last taken by time.
    pub(super) fn last_by_time(&self, id: &SandboxId) -> Option<Timestamp> {
        let shelves = self.shelves();
        let own = shelves.all().map(|it| &it.snapshot).filter(|it| it.sandbox == *id);
        own.filter(|it| it.cause == SnapshotCause::Timer).map(|it| it.created_at).max()
    }

    /// Takes the snapshots whose time has come, a few at a time.
    pub(super) fn snapshots_due(self: &Arc<Self>) {
        let now = clock::wall();
        let due: Vec<_> = {
            let mut fleet = self.fleet();
            let due = fleet.entries_mut().filter(|it| it.snapshot_due(now) == Some(Duration::ZERO));
            due.map(|it| {
                it.snapshot_under_way = true;
                it.sandbox.id.clone()
            })
            .collect()
        };
        for id in due {
            let engine = self.clone();
            tokio::spawn(async move {
                let taken = engine.snapshot_by_time(&id).await;
                let mut fleet = engine.fleet();
                let Ok(entry) = fleet.get_mut(&id) else { return };
                entry.snapshot_under_way = false;
                entry.snapshot_at = Some(clock::wall());
                engine.deadlines.notify_one();
                if let Err(fault) = taken {
                    let words = format!("a snapshot by itself: {fault}");
                    fleet.notice(Level::Warning, Some(id), &words);
                }
            });
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        sandbox::{Workspace, WorkspaceMode},
        snapshot::SnapshotKind,
    };

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
