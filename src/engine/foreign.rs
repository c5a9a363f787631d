//! What sandwatch did not make: the list of it, and one of it taken over as a sandbox.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use super::{Inner, create::Begin};
use crate::{
    base::{fault::Outcome, units::Size},
    model::{
        foreign::{Adoption, Foreign},
        sandbox::{Egress, ResourceLimits, Sandbox, SandboxSpec, Workspace, WorkspaceMode},
        session::SessionSpec,
    },
};

impl Inner {
    /// Of all drivers; one that can't tell is told.
    pub(super) async fn others(&self) -> Outcome<Vec<Foreign>> {
        let mut all = Vec::new();
        for driver in self.drivers.all() {
            all.extend(driver.others().await?);
        }
        Ok(all)
    }

    /// Makes a sandbox of what is there already, with no program of its own yet.
    pub(super) async fn take_in(self: &Arc<Self>, adoption: Adoption) -> Outcome<Sandbox> {
        self.create_with(spec(&adoption), Begin::Over(&adoption)).await
    }
}

/// It says nothing of what the container is: that was decided by who made it, its network too.
fn spec(adoption: &Adoption) -> SandboxSpec {
    SandboxSpec {
        name: adoption.name.clone(),
        driver: adoption.driver.clone(),
        isolation: None,
        image: None,
        workspace: Workspace { path: PathBuf::new(), mode: WorkspaceMode::None },
        egress: Egress::Allow,
        allow: Vec::new(),
        limits: ResourceLimits::default(),
        env: Vec::new(),
        ttl: None,
        labels: BTreeMap::new(),
        record: true,
        remove_on_exit: false,
        first: SessionSpec { command: Vec::new(), cwd: None, env: Vec::new(), size: Size::DEFAULT },
        search_path: Vec::new(),
        from: None,
        snapshot_every: None,
        secrets: Vec::new(),
        given: Vec::new(),
    }
}
