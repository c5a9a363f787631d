//! A sandbox with a root of its own, decided and not made yet: by our launcher, or by an OCI runtime from the same
//! blueprint.

use std::{os::fd::BorrowedFd, path::PathBuf};

use super::{
    blueprint::Blueprint,
    identity::Identity,
    image::Standing,
    lockdown::ProcessBounds,
    namespaces::{self, Held},
    oci,
};
use crate::{
    base::fault::Outcome,
    driver::Ground,
    model::sandbox::{Isolation, SandboxSpec},
};

/// How a sandbox with a root of its own will be made.
pub enum Planned {
    Ours(Blueprint),
    Container(oci::Plan),
}

impl Planned {
    pub fn of(
        grade: Isolation,
        ground: &Ground,
        spec: &SandboxSpec,
        identity: &Identity,
        bounds: ProcessBounds,
        image: Option<&Standing>,
    ) -> Outcome<Self> {
        if oci::Runtime::of(grade).is_some() {
            return oci::plan(grade, ground, spec, identity, bounds, image).map(Self::Container);
        }
        namespaces::plan(ground, spec, identity, bounds, image).map(Self::Ours)
    }

    /// Programs in the operator's home that it will see.
    pub fn tools(&self) -> Vec<PathBuf> {
        let blueprint = match self {
            Self::Ours(it) => it,
            Self::Container(it) => &it.blueprint,
        };
        blueprint.tools.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Which user and group of the host its steward is; `None` = it has none.
    pub fn steward(&self) -> Option<(u32, u32)> {
        match self {
            Self::Ours(_) => None,
            Self::Container(it) => it.steward,
        }
    }

    pub fn launch(&self, door: Option<BorrowedFd<'_>>) -> Outcome<Held> {
        match self {
            Self::Ours(it) => namespaces::launch(it, door),
            Self::Container(it) => oci::launch(it, door),
        }
    }
}
