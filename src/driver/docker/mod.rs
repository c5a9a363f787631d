//! The driver `docker`: a sandbox is a container of a Docker engine (20.10 and newer), reached as the docker
//! command line reaches it. Each is held by a shim, as a local one is: the shim keeps the connections on which
//! programs speak, and so they go on while the hub is down. Nothing here connects before a sandbox of this
//! driver is made, adopted or removed, or `doctor` asks.

mod address;
mod answer;
mod container;
mod copy;
mod dial;
mod engine;
mod env;
pub(super) mod first;
mod frames;
mod life;
mod make;
mod place;
mod probe;
mod program;
mod remove;
mod snapshot;
mod tar;
mod tls;
mod trace;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;

use self::{
    address::Address, engine::Engine, env::Environment, place::DockerPlace, program::Programs,
    trace::Trace,
};
use super::{Driver, Ground, Hosting, Place, Shelf, Stillness, Taken};
use crate::{
    base::fault::Outcome,
    model::{capability::Capabilities, check::Check, sandbox::SandboxSpec},
};

/// The adapter; holds nothing but where its engine is.
#[derive(Clone, Debug, Default)]
pub struct Docker {
    /// `None` = as the operator's environment says.
    engine: Option<Address>,
}

impl Docker {
    /// Of the engine that listens on a socket, whatever the environment says.
    pub fn at(socket: &Path) -> Self {
        Self { engine: Some(Address::unix(socket)) }
    }

    fn engine(&self) -> Outcome<Engine> {
        let address = match &self.engine {
            Some(address) => address.clone(),
            None => address::find(&Environment::read())?,
        };
        Ok(Engine::new(address))
    }

    async fn attempt(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<DockerPlace> {
        let engine = match Trace::read(&ground.dir)? {
            // Decided by who noted it first.
            Some(trace) => Engine::new(trace.engine),
            None => self.engine()?,
        };
        make::make(Arc::new(engine), ground, spec).await
    }
}

#[async_trait]
impl Driver for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn hosting(&self) -> Hosting {
        Hosting::Shim
    }

    /// As an engine usually has it: asking would be a connection, and `create` does.
    fn capabilities(&self) -> Capabilities {
        container::usual()
    }

    async fn probe(&self) -> Vec<Check> {
        probe::all(self.engine()).await
    }

    async fn create(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<Arc<dyn Place>> {
        match self.attempt(ground, spec).await {
            Ok(place) => Ok(Arc::new(place)),
            Err(fault) => {
                // The first fault is the one to tell; what can't be undone now, a sweep finds.
                if let Err(fault) = remove::everything(ground).await {
                    tracing::warn!(%fault, "a container that was begun is left for a sweep");
                }
                Err(fault)
            }
        }
    }

    async fn reap(&self, ground: &Ground) -> Outcome<()> {
        let Some(Trace { engine, container: Some(id) }) = Trace::read(&ground.dir)? else {
            return Ok(());
        };
        Programs::kill_all(&Engine::new(engine), &id).await
    }

    async fn sweep(&self, ground: &Ground) -> Outcome<()> {
        remove::everything(ground).await?;
        remove::directory(&ground.dir).await
    }
    /// Frozen by who calls, or by the engine while it looks.
    async fn snapshot(
        &self,
        ground: &Ground,
        spec: &SandboxSpec,
        shelf: &Shelf,
        _like: Option<&Shelf>,
        _stillness: Stillness,
    ) -> Outcome<Taken> {
        snapshot::take(ground, spec, shelf).await
    }

    async fn forget(&self, shelf: &Shelf) -> Outcome<()> {
        snapshot::forget(shelf).await
    }

    async fn vacate(&self, ground: &Ground) -> Outcome<()> {
        snapshot::vacate(ground).await
    }
}
