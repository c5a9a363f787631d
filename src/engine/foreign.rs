//! What sandwatch did not make: the list of it, and one of it taken over as a sandbox.

use std::{path::PathBuf, sync::Arc};

use super::{Inner, create::Begin};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::FOREIGN_ID_SHOWN_BYTES,
        text::shown,
    },
    driver::{Driver, Ground},
    model::{
        foreign::{Adoption, Foreign},
        sandbox::{Egress, Sandbox, SandboxSpec, Workspace, WorkspaceMode},
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

    /// Notes what a ground is to hold, unless another sandbox of this hub holds it. One at a time: each finds the notes
    /// of those before.
    pub(super) async fn take_over_once(
        &self,
        ground: &Ground,
        driver: &dyn Driver,
        adoption: &Adoption,
    ) -> Outcome<()> {
        let _turn = self.adoptions.lock().await;
        driver.take_over(ground, adoption).await?;
        let Some(taken) = self.taken_over(&adoption.driver, &ground.id).await? else {
            return Ok(());
        };
        let others: Vec<_> = {
            let fleet = self.fleet();
            let of = fleet.entries().map(|it| &it.sandbox);
            let of = of.filter(|it| it.driver == adoption.driver && it.id != ground.id);
            of.map(|it| (it.id.clone(), it.name.clone())).collect()
        };
        for (id, name) in others {
            let held = self.taken_over(&adoption.driver, &id).await;
            // One whose note can't be read holds up nobody.
            if held.is_ok_and(|it| it.as_ref() == Some(&taken)) {
                let taken = shown(&taken, FOREIGN_ID_SHOWN_BYTES);
                let words = format!("{taken} is adopted already, as sandbox {name}");
                return Err(Fault::busy(words).hint(format!(
                    "sandwatch shell {name} runs in it; sandwatch rm {name} lets go of it"
                )));
            }
        }
        Ok(())
    }

    /// What a sandbox holds that was there before it.
    pub(super) async fn taken_over(&self, driver: &str, id: &SandboxId) -> Outcome<Option<String>> {
        let (driver, ground) = (self.drivers.get(driver)?, self.ground(id, ""));
        let reading = tokio::task::spawn_blocking(move || driver.taken_over(&ground)).await;
        reading.map_err(|error| Fault::bug(format!("looking at what was adopted: {error}")))?
    }
}

/// It says nothing of what the container is: that was decided by who made it, its network too.
fn spec(adoption: &Adoption) -> SandboxSpec {
    let workspace = Workspace { path: PathBuf::new(), mode: WorkspaceMode::None };
    SandboxSpec {
        name: adoption.name.clone(),
        egress: Egress::Allow,
        record: true,
        ..SandboxSpec::bare(&adoption.driver, workspace)
    }
}
