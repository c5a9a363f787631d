//! What a sandbox changed in its workspace: asked of its driver, passed on piece by piece.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{
    Inner,
    turns::{on_demand, once_begun, taking_turns},
    verbs::unfit,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
    },
    driver::{Driver, Ground, Kept},
    model::{
        change::{Applied, ApplyRequest, DiffPiece, DiffRequest, Subject},
        sandbox::{Sandbox, SandboxSpec, State, WorkspaceMode},
    },
    runtime::BoxStream,
};

impl Inner {
    pub(super) fn diff(
        self: &Arc<Self>,
        of: Subject,
        request: DiffRequest,
    ) -> Outcome<BoxStream<Outcome<DiffPiece>>> {
        let against = request.against.as_ref().map(|it| self.shelf_of(it)).transpose()?;
        let (kept, driver, fetching) = match of {
            Subject::Sandbox(id) => {
                let sandbox = Arc::clone(&self.fleet().get(&id)?.sandbox);
                if !request.system {
                    keeps_apart(&sandbox)?;
                }
                if sandbox.state == State::Creating {
                    return Err(unfit(&sandbox, "looked at"));
                }
                let ground = self.whole_ground(&id, &sandbox.name)?;
                let (fetching, spec) = self.fetching(&id)?;
                let kept = Kept::Ground(ground, Box::new(spec.as_ref().clone()));
                (kept, sandbox.driver.clone(), Some(fetching))
            }
            Subject::Snapshot(id) => {
                let stored = self.shelves().get(&id)?;
                let shelf = self.shelf_of(&id)?;
                let driver = stored.snapshot.driver.clone();
                (Kept::Shelf(shelf, Box::new(stored.spec.clone())), driver, None)
            }
        };
        let (driver, lookers) = (self.drivers.get(&driver)?, Arc::clone(&self.lookers));
        // Files that lie elsewhere may be long on their way.
        Ok(once_begun(async move {
            let alone = match &fetching {
                Some(it) => Some(it.lock().await),
                None => None,
            };
            driver.fetch(&kept, against.as_ref(), &request).await?;
            drop(alone);
            let changes = driver.changes(&kept, against.as_ref(), request).await?;
            Ok(on_demand(&lookers, changes))
        }))
    }
}

impl Inner {
    pub(super) async fn apply(
        self: &Arc<Self>,
        id: &SandboxId,
        request: ApplyRequest,
    ) -> Outcome<Applied> {
        let since = {
            let fleet = self.fleet();
            let entry = fleet.get(id)?;
            self.line_of(&entry.sandbox, &entry.spec)
        };
        let parts = request.parts.iter().map(|it| it.path.clone());
        let paths = request.paths.iter().cloned().chain(parts).collect();
        self.writing(id, Some(paths), move |driver, ground| driver.apply(ground, since, &request))
            .await
    }

    pub(super) async fn take_back(
        self: &Arc<Self>,
        id: &SandboxId,
        overwrite: bool,
    ) -> Outcome<Applied> {
        self.writing(id, None, move |driver, ground| driver.take_back(ground, overwrite)).await
    }

    /// Brings the files here that are to be applied, where they lie elsewhere.
    async fn fetch(
        &self,
        id: &SandboxId,
        driver: &str,
        ground: &Ground,
        paths: &[Vec<u8>],
    ) -> Outcome<()> {
        let (fetching, spec) = self.fetching(id)?;
        let of = Kept::Ground(ground.clone(), Box::new(spec.as_ref().clone()));
        let request = DiffRequest { paths: paths.to_vec(), ..DiffRequest::default() };
        let _alone = fetching.lock().await;
        self.drivers.get(driver)?.fetch(&of, None, &request).await
    }

    /// What is held by who brings files of a sandbox here, and what it was made from.
    fn fetching(&self, id: &SandboxId) -> Outcome<(Arc<Mutex<()>>, Arc<SandboxSpec>)> {
        let fleet = self.fleet();
        let entry = fleet.get(id)?;
        Ok((Arc::clone(&entry.fetching), Arc::clone(&entry.spec)))
    }

    /// Does something to the real directory, beside which no other verb touches the sandbox, with the newest state of
    /// these paths of it.
    async fn writing(
        self: &Arc<Self>,
        id: &SandboxId,
        newest: Option<Vec<Vec<u8>>>,
        work: impl FnOnce(&dyn Driver, &Ground) -> Outcome<Applied> + Send + 'static,
    ) -> Outcome<Applied> {
        let verbs = self.verbs(id)?;
        let _held = verbs.lock().await;
        let sandbox = Arc::clone(&self.fleet().get(id)?.sandbox);
        keeps_apart(&sandbox)?;
        if !sandbox.capabilities.workspace_apply {
            let Sandbox { name, driver, .. } = &*sandbox;
            return Err(Fault::unsupported(format!(
                "the changes of sandbox {name} can't be applied: the {driver} driver can't here"
            )));
        }
        let ground = self.whole_ground(id, &sandbox.name)?;
        if let Some(paths) = newest {
            self.fetch(id, &sandbox.driver, &ground, &paths).await?;
        }
        let driver = self.drivers.get(&sandbox.driver)?;
        let applied =
            taking_turns(Arc::clone(&self.lookers), move || work(&*driver, &ground)).await?;
        if !applied.refused() && !applied.paths.is_empty() {
            // Who looks at the same changes elsewhere is to know.
            if let Ok(entry) = self.fleet().get_mut(id) {
                entry.sandbox_mut().writes += 1;
            }
            self.touch(id);
            self.persist_or_notice(id).await;
        }
        Ok(applied)
    }
}

/// Only a workspace that keeps changes apart has any to show.
fn keeps_apart(sandbox: &Sandbox) -> Outcome<()> {
    let Sandbox { name, driver, .. } = sandbox;
    match sandbox.workspace.mode {
        WorkspaceMode::Cow if sandbox.capabilities.workspace_diff => Ok(()),
        WorkspaceMode::Cow => Err(Fault::unsupported(format!(
            "the changes of sandbox {name} can't be shown: the {driver} driver can't here"
        ))),
        mode => Err(Fault::unsupported(format!(
            "sandbox {name} keeps no changes apart: its workspace is {}",
            mode.word()
        ))),
    }
}
