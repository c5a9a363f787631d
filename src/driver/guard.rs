//! What wraps around every driver once: the capability check, deadlines and a trace. A driver
//! itself only translates.

use std::{future::Future, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    Changes, Doors, Driver, Elsewhere, Enlisted, Ground, Hosting, Kept, Memory, Meter, PipeIo,
    Place, PlaceFacts, Program, PtyIo, Roster, Shelf, Stillness, Syscalls, Taken, Touches, files,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{
            ANSWER_WITHIN, CREATE_WITHIN, FETCH_WITHIN, IMAGE_WITHIN, LOOK_WITHIN, SNAPSHOT_WITHIN,
        },
    },
    model::{
        capability::Capabilities,
        change::{Applied, ApplyRequest, DiffRequest},
        check::Check,
        foreign::{Adoption, Foreign},
        process::Reading,
        sandbox::{Egress, Isolation, SandboxSpec},
        session::SessionSpec,
    },
};

/// A container that was written down is let go on by its runtime.
const RESUME_WITHIN: Duration = Duration::from_secs(3 * ANSWER_WITHIN.as_secs());

/// A driver behind its guard.
pub struct Guarded {
    inner: Arc<dyn Driver>,
}

impl Guarded {
    pub fn new(inner: Arc<dyn Driver>) -> Self {
        Self { inner }
    }
}

/// Runs one call of a driver: late is a fault, and every call leaves a trace.
async fn within<T>(
    driver: &'static str,
    verb: &'static str,
    time: Duration,
    call: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let began = clock::monotonic();
    let outcome = tokio::time::timeout(time, call).await.unwrap_or_else(|_| {
        Err(Fault::late(format!("driver {driver} did not {verb} within {} s", time.as_secs())))
    });
    let took_ms = clock::monotonic().saturating_sub(began).as_millis();
    match &outcome {
        Ok(_) => tracing::debug!(driver, verb, took_ms, "driver call"),
        Err(fault) => tracing::warn!(driver, verb, took_ms, %fault, "driver call failed"),
    }
    outcome
}

#[async_trait]
impl Driver for Guarded {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn hosting(&self) -> Hosting {
        self.inner.hosting()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn probe(&self) -> Vec<Check> {
        self.inner.probe().await
    }

    async fn ready(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<()> {
        within(self.inner.name(), "get the image", IMAGE_WITHIN, self.inner.ready(ground, spec))
            .await
    }

    async fn others(&self) -> Outcome<Vec<Foreign>> {
        within(self.inner.name(), "list what is there", ANSWER_WITHIN, self.inner.others()).await
    }

    async fn take_over(&self, ground: &Ground, adoption: &Adoption) -> Outcome<()> {
        let noted = self.inner.take_over(ground, adoption);
        within(self.inner.name(), "look at what is there", ANSWER_WITHIN, noted).await
    }

    fn taken_over(&self, ground: &Ground) -> Outcome<Option<String>> {
        self.inner.taken_over(ground)
    }

    async fn create(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<Arc<dyn Place>> {
        let driver = self.inner.name();
        let made = within(driver, "create", CREATE_WITHIN, self.inner.create(ground, spec)).await;
        match made {
            Ok(inner) => Ok(Arc::new(GuardedPlace { driver, inner })),
            Err(fault) => {
                if fault.kind() == crate::base::fault::Kind::Late {
                    // Cut off in the middle: what it had made so far is nobody's.
                    drop(within(driver, "sweep", ANSWER_WITHIN, self.inner.sweep(ground)).await);
                }
                Err(fault)
            }
        }
    }

    async fn reap(&self, ground: &Ground) -> Outcome<()> {
        within(self.inner.name(), "reap", ANSWER_WITHIN, self.inner.reap(ground)).await
    }

    async fn sweep(&self, ground: &Ground) -> Outcome<()> {
        within(self.inner.name(), "sweep", CREATE_WITHIN, self.inner.sweep(ground)).await
    }

    async fn snapshot(
        &self,
        ground: &Ground,
        spec: &SandboxSpec,
        shelf: &Shelf,
        like: Option<&Shelf>,
        stillness: Stillness,
    ) -> Outcome<Taken> {
        let taken = self.inner.snapshot(ground, spec, shelf, like, stillness);
        within(self.inner.name(), "take a snapshot", SNAPSHOT_WITHIN, taken).await
    }

    fn why_no_memory(&self, isolation: Option<Isolation>, egress: Egress) -> &'static str {
        self.inner.why_no_memory(isolation, egress)
    }

    async fn forget(&self, shelf: &Shelf) -> Outcome<()> {
        within(self.inner.name(), "forget", CREATE_WITHIN, self.inner.forget(shelf)).await
    }

    async fn vacate(&self, ground: &Ground) -> Outcome<()> {
        within(self.inner.name(), "vacate", CREATE_WITHIN, self.inner.vacate(ground)).await
    }

    async fn fetch(
        &self,
        of: &Kept,
        against: Option<&Shelf>,
        request: &DiffRequest,
    ) -> Outcome<()> {
        let fetched = self.inner.fetch(of, against, request);
        within(self.inner.name(), "get the files", FETCH_WITHIN, fetched).await
    }

    fn touched(&self, ground: &Ground, began: Timestamp) -> Outcome<Touches> {
        self.inner.touched(ground, began)
    }

    async fn changes(
        &self,
        of: &Kept,
        against: Option<&Shelf>,
        request: DiffRequest,
    ) -> Outcome<Changes> {
        let changes = self.inner.changes(of, against, request);
        within(self.inner.name(), "get the files", FETCH_WITHIN, changes).await
    }

    fn apply(&self, ground: &Ground, since: Timestamp, request: &ApplyRequest) -> Outcome<Applied> {
        self.inner.apply(ground, since, request)
    }

    fn take_back(&self, ground: &Ground, overwrite: bool) -> Outcome<Applied> {
        self.inner.take_back(ground, overwrite)
    }

    fn files(
        &self,
        ground: &Ground,
        spec: &SandboxSpec,
        way: files::Way,
    ) -> Outcome<Arc<dyn files::Files>> {
        self.inner.files(ground, spec, way)
    }

    fn alone(&self, shelf: &Shelf) -> Option<u64> {
        self.inner.alone(shelf)
    }

    fn meter(&self) -> Option<Box<dyn Meter>> {
        self.inner.meter()
    }

    fn roster(&self) -> Option<Box<dyn Roster>> {
        let (driver, inner) = (self.inner.name(), self.inner.roster()?);
        Some(Box::new(GuardedRoster { driver, inner }))
    }

    fn prune(&self, sandboxes: &Path, snapshots: &Path) -> Outcome<()> {
        self.inner.prune(sandboxes, snapshots)
    }

    fn tidy(&self, sandboxes: &Path) {
        self.inner.tidy(sandboxes);
    }
}

/// A roster whose places are behind their guard. It waits as long as it likes for news.
struct GuardedRoster {
    driver: &'static str,
    inner: Box<dyn Roster>,
}

#[async_trait]
impl Roster for GuardedRoster {
    async fn next(&mut self) -> Outcome<Vec<Enlisted>> {
        self.inner.next().await
    }

    fn again(&mut self) {
        self.inner.again();
    }

    fn place(&self, id: &SandboxId) -> Option<Arc<dyn Place>> {
        let inner = self.inner.place(id)?;
        Some(Arc::new(GuardedPlace { driver: self.driver, inner }))
    }
}

/// A place behind its guard.
struct GuardedPlace {
    driver: &'static str,
    inner: Arc<dyn Place>,
}

impl GuardedPlace {
    fn require(&self, has: impl Fn(&Capabilities) -> bool, verb: &str) -> Outcome<()> {
        if has(&self.inner.facts().capabilities) {
            return Ok(());
        }
        Err(Fault::unsupported(format!("the {} driver can't {verb} here", self.driver)))
    }
}

#[async_trait]
impl Place for GuardedPlace {
    fn facts(&self) -> PlaceFacts {
        self.inner.facts()
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }

    fn can_ask(&self) -> bool {
        self.inner.can_ask()
    }

    fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        self.inner.elsewhere()
    }

    fn memory(&self) -> Option<&dyn Memory> {
        self.inner.memory()
    }

    fn root(&self) -> Option<OwnedFd> {
        self.inner.root()
    }

    fn doors(&self) -> Option<Doors> {
        self.inner.doors()
    }

    async fn spawn(&self, spec: &SessionSpec) -> Outcome<Program<PtyIo>> {
        self.require(|it| it.pty, "start a program on a terminal")?;
        within(self.driver, "spawn", ANSWER_WITHIN, self.inner.spawn(spec)).await
    }

    async fn exec(&self, spec: &SessionSpec) -> Outcome<Program<PipeIo>> {
        self.require(|it| it.exec, "run a program without a terminal")?;
        within(self.driver, "exec", ANSWER_WITHIN, self.inner.exec(spec)).await
    }

    fn starved(&self) -> Option<u64> {
        self.inner.starved()
    }

    async fn processes(&self, leader: u32) -> Outcome<Reading> {
        within(self.driver, "processes", LOOK_WITHIN, self.inner.processes(leader)).await
    }

    async fn syscalls(&self, leader: u32, pid: u32) -> Outcome<Syscalls> {
        within(self.driver, "syscalls", LOOK_WITHIN, self.inner.syscalls(leader, pid)).await
    }

    async fn pause(&self) -> Outcome<()> {
        self.require(|it| it.pause, "pause a sandbox")?;
        within(self.driver, "pause", ANSWER_WITHIN, self.inner.pause()).await
    }

    async fn resume(&self) -> Outcome<()> {
        self.require(|it| it.pause || it.start, "resume a sandbox")?;
        within(self.driver, "resume", RESUME_WITHIN, self.inner.resume()).await
    }

    async fn stop(&self, grace: Duration) -> Outcome<()> {
        self.require(|it| it.stop, "stop a sandbox")?;
        let time = grace.saturating_add(ANSWER_WITHIN);
        within(self.driver, "stop", time, self.inner.stop(grace)).await
    }

    async fn remove(&self) -> Outcome<()> {
        within(self.driver, "remove", CREATE_WITHIN, self.inner.remove()).await
    }

    async fn gone(&self) -> String {
        self.inner.gone().await
    }
}
