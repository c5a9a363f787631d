//! What a sandbox changed in its workspace: asked of its driver, passed on piece by piece.

use std::sync::Arc;

use super::{Inner, turns::on_demand, verbs::unfit};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
    },
    model::{
        change::{DiffPiece, DiffRequest},
        sandbox::{Sandbox, State, WorkspaceMode},
    },
    runtime::BoxStream,
};

impl Inner {
    pub(super) fn diff(
        &self,
        id: &SandboxId,
        request: DiffRequest,
    ) -> Outcome<BoxStream<Outcome<DiffPiece>>> {
        let sandbox = Arc::clone(&self.fleet().get(id)?.sandbox);
        keeps_apart(&sandbox)?;
        if sandbox.state == State::Creating {
            return Err(unfit(&sandbox, "looked at"));
        }
        let ground = self.ground(id, &sandbox.name);
        let changes = self.drivers.get(&sandbox.driver)?.changes(&ground, request)?;
        Ok(on_demand(&self.lookers, changes))
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
