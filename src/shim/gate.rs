//! The gate of a sandbox whose network asks: what no rule knows is asked as anything else is.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::ASK_WITHIN,
    },
    driver::Doors,
    gate::{Asker, Gate, Terms},
    model::{
        ask::{Answer, Request},
        sandbox::{Egress, SandboxSpec},
    },
    session::{asks::Plea, house::House},
};

/// Opens it; it lets out what it is served for.
pub fn open(
    doors: Doors,
    spec: &SandboxSpec,
    policy: Option<PathBuf>,
    house: &Arc<House>,
) -> Outcome<Gate> {
    let terms = Terms {
        ask: spec.egress == Egress::Ask,
        allow: spec.allow.clone(),
        policy,
        workspace: spec.workspace.path.clone(),
    };
    let asker = Arc::new(People { house: Arc::clone(house) });
    let gate = Gate::new(doors, terms, asker)
        .map_err(|error| Fault::io("opening the way out of the sandbox", &error))?;
    house.goes_out_by(gate.watch());
    Ok(gate)
}

/// Whoever is at a hub.
struct People {
    house: Arc<House>,
}

#[async_trait]
impl Asker for People {
    async fn ask(
        &self,
        request: Request,
        about: Vec<(String, String)>,
        pids: &[u32],
    ) -> Outcome<Answer> {
        let session = self.house.session_of(pids);
        let plea = Plea { request, session, about, editable: false };
        Ok(self.house.ask(plea, ASK_WITHIN).await?.0)
    }
}
