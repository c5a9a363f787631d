//! The driver `docker`: a sandbox is a container of a Docker engine (20.10 and newer), reached as the docker
//! command line reaches it. Each is held by a shim, as a local one is: the shim keeps the connections on which
//! programs speak, and so they go on while the hub is down. Nothing here connects before a sandbox of this
//! driver is made, adopted or removed, or `doctor` asks.

mod address;
mod adopt;
mod answer;
pub mod asking;
mod container;
mod copy;
mod danger;
mod dial;
mod end;
mod engine;
mod env;
mod far;
pub(super) mod first;
mod frames;
mod gate;
mod kept;
mod life;
mod look;
mod make;
mod meter;
mod place;
mod probe;
mod program;
mod pull;
mod remove;
mod snapshot;
mod soname;
mod tls;
mod trace;
mod trust;

use std::sync::Arc;

use async_trait::async_trait;

use self::{
    engine::Engine, env::Environment, kept::KeptFiles, place::DockerPlace, program::Programs,
    trace::Trace,
};
use super::{
    Changes, Driver, Ground, Hosting, Kept, Meter, Place, Shelf, Stillness, Taken,
    by_programs::ByPrograms,
    files,
    local::{self, pulled},
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
    },
    model::{
        capability::Capabilities,
        change::{Applied, ApplyRequest, DiffRequest},
        check::Check,
        foreign::{Adoption, Foreign},
        sandbox::{Egress, Isolation, SandboxSpec},
    },
};

/// The adapter; holds nothing: where an engine is, is written down beside what it has.
#[derive(Clone, Copy, Debug)]
pub struct Docker;

/// The engine that the operator's environment names.
fn named() -> Outcome<Engine> {
    Ok(Engine::new(address::find(&Environment::read())?))
}

async fn attempt(ground: &Ground, spec: &SandboxSpec) -> Outcome<DockerPlace> {
    let engine = match (&ground.from, Trace::read(&ground.dir)?) {
        // Only there can it be begun with.
        (Some(shelf), _) => snapshot::engine(shelf)?,
        // Decided by who noted it first.
        (None, Some(Trace { engine, container: Some(id), adopted: true, .. })) => {
            return adopt::hold(Arc::new(Engine::new(engine)), ground, spec, id).await;
        }
        (None, Some(trace)) => Engine::new(trace.engine),
        (None, None) => named()?,
    };
    make::make(Arc::new(engine), ground, spec).await
}

/// What this driver is called.
pub const NAME: &str = "docker";

#[async_trait]
impl Driver for Docker {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hosting(&self) -> Hosting {
        Hosting::Shim
    }

    /// As an engine usually has it: asking would be a connection, and `create` does.
    fn capabilities(&self) -> Capabilities {
        container::usual()
    }

    async fn probe(&self) -> Vec<Check> {
        probe::all(named()).await
    }

    async fn others(&self) -> Outcome<Vec<Foreign>> {
        adopt::others(&named()?).await
    }

    async fn take_over(&self, ground: &Ground, adoption: &Adoption) -> Outcome<()> {
        adopt::note(named()?, ground, adoption).await
    }

    fn taken_over(&self, ground: &Ground) -> Outcome<Option<String>> {
        Ok(Trace::read(&ground.dir)?.filter(|it| it.adopted).and_then(|it| it.container))
    }

    async fn create(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<Arc<dyn Place>> {
        match attempt(ground, spec).await {
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
        // One that may only come yet has nothing that runs: it is started by who made it.
        let Some(Trace { engine, container: Some(id), .. }) = Trace::read(&ground.dir)? else {
            return Ok(());
        };
        let engine = Engine::new(engine);
        if remove::is_ours(&engine, &id, ground).await? {
            Programs::kill_all(&engine, &id).await?;
        }
        Ok(())
    }

    async fn sweep(&self, ground: &Ground) -> Outcome<()> {
        remove::everything(ground).await?;
        local::remove::away(&ground.dir)
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

    fn why_no_memory(&self, _isolation: Option<Isolation>, _egress: Egress) -> &'static str {
        "an image, which a snapshot is here, has files alone"
    }

    async fn forget(&self, shelf: &Shelf) -> Outcome<()> {
        snapshot::forget(shelf).await
    }

    async fn vacate(&self, ground: &Ground) -> Outcome<()> {
        snapshot::vacate(ground).await
    }

    async fn fetch(
        &self,
        of: &Kept,
        against: Option<&Shelf>,
        request: &DiffRequest,
    ) -> Outcome<()> {
        look::fetch(of, against, request).await
    }

    fn meter(&self) -> Option<Box<dyn Meter>> {
        Some(Box::new(meter::DockerMeter::default()))
    }

    async fn changes(
        &self,
        of: &Kept,
        against: Option<&Shelf>,
        request: DiffRequest,
    ) -> Outcome<Changes> {
        look::changes(of, against, request).await
    }

    /// By programs in it: an engine shows no directory without all that is below it. Once it has stopped there is no other way.
    fn files(
        &self,
        ground: &Ground,
        _: &SandboxSpec,
        way: files::Way,
    ) -> Outcome<Arc<dyn files::Files>> {
        if way.stopped {
            return Ok(Arc::new(KeptFiles::open(ground, way.turns)?));
        }
        let programs =
            way.programs.ok_or_else(|| Fault::unsupported("no program can be run in it"))?;
        Ok(Arc::new(ByPrograms::new(programs)))
    }

    fn apply(&self, ground: &Ground, since: Timestamp, request: &ApplyRequest) -> Outcome<Applied> {
        pulled::apply(ground, since, request)
    }

    fn take_back(&self, ground: &Ground, overwrite: bool) -> Outcome<Applied> {
        pulled::take_back(ground, overwrite)
    }
}
