//! Making a sandbox: registered first, then made; whatever fails, everything before it is undone.

use std::{
    path::Path,
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{
    Inner,
    adopt::first_report,
    fleet::Entry,
    follow::{apply, fail},
    name, record, secrets,
    shim_link::ShimLink,
    verbs::delete_dir,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::{SandboxId, SessionId},
        limits::TTL_MAX,
    },
    driver::{Driver, Ground, Hosting},
    model::{
        capability::Capabilities,
        event::Level,
        foreign::Adoption,
        rule::Domain,
        sandbox::{Egress, Sandbox, SandboxSpec, State, WorkspaceMode},
    },
    runtime::BoxStream,
    session::{
        house::House,
        seat::{Seat, SeatEvent},
    },
    wire::convert::sandbox::sandbox_name,
};

/// How a sandbox comes to be.
#[derive(Clone, Copy)]
pub(super) enum Begin<'a> {
    Anew,
    /// From what is there already.
    Over(&'a Adoption),
}

/// Smallest memory bound that lets a program start, in bytes.
const MEMORY_BYTES_MIN: u64 = 1024 * 1024;

impl Inner {
    /// Makes a sandbox and starts its first session.
    pub(super) async fn create(self: &Arc<Self>, spec: SandboxSpec) -> Outcome<Sandbox> {
        self.create_with(spec, Begin::Anew).await
    }

    pub(super) async fn create_with(
        self: &Arc<Self>,
        mut spec: SandboxSpec,
        begin: Begin<'_>,
    ) -> Outcome<Sandbox> {
        let driver = self.drivers.get(&spec.driver)?;
        check(&spec, &driver.capabilities(), driver.name())?;
        secrets::check(&spec)?;
        secrets::prepare(&mut spec.secrets);
        self.check_workspace(&spec).await?;
        let _pin = self.check_from(&spec)?;
        let id = self.reserve(spec, driver.as_ref())?;
        let first = SessionId::random();
        // Whoever removes it meanwhile waits until there is something to remove.
        let verbs = self.fleet().get(&id)?.verbs.clone();
        let _held = verbs.lock().await;
        match self.make(&id, &first, driver.as_ref(), begin).await {
            Ok(()) => Ok(Sandbox::clone(&self.fleet().get(&id)?.sandbox)),
            Err(fault) => {
                self.undo(&id, &first, driver.as_ref()).await;
                Err(fault)
            }
        }
    }

    /// Chooses id and name and takes both.
    fn reserve(&self, spec: SandboxSpec, driver: &dyn Driver) -> Outcome<SandboxId> {
        let mut fleet = self.fleet();
        let has_workspace = spec.workspace.mode != WorkspaceMode::None;
        let wanted = spec.name.clone().unwrap_or_else(|| {
            let workspace = has_workspace.then_some(spec.workspace.path.as_path());
            name::derive(workspace, &spec.first.command, |it| fleet.has_name(it))
        });
        let id = SandboxId::random();
        let sandbox = Sandbox {
            id: id.clone(),
            name: wanted,
            driver: driver.name().to_owned(),
            state: State::Creating,
            raw_state: None,
            isolation: None,
            created_at: clock::wall(),
            labels: spec.labels.clone(),
            workspace: spec.workspace.clone(),
            egress: spec.egress,
            limits: spec.limits,
            capabilities: driver.capabilities(),
            sessions: Vec::new(),
            asks: Vec::new(),
            notes: Vec::new(),
            stop_asked: false,
            snapshots: 0,
            moment: spec.from.clone(),
            writes: 0,
        };
        fleet.add(Entry::new(sandbox, spec))?;
        Ok(id)
    }

    /// Every step that can fail; the caller undoes.
    async fn make(
        self: &Arc<Self>,
        id: &SandboxId,
        first: &SessionId,
        driver: &dyn Driver,
        begin: Begin<'_>,
    ) -> Outcome<()> {
        let (row, spec, name) = {
            let fleet = self.fleet();
            let entry = fleet.get(id)?;
            let name = entry.sandbox.name.clone();
            (record::row(entry), entry.spec.clone(), name)
        };
        self.strike_leftovers().await?;
        self.store.insert(row).await?;
        let ground = self.whole_ground(id, &name)?;
        make_private(&ground.dir).await?;
        self.write_record(id).await?;
        let first = match begin {
            Begin::Anew => Some(first),
            Begin::Over(adoption) => {
                self.take_over_once(&ground, driver, adoption).await?;
                None
            }
        };
        let events = self.settle_in(ground, &spec, driver, first).await?;
        self.touch(id);
        self.persist(id).await?;
        self.follow(id.clone(), events);
        self.deadlines.notify_one();
        Ok(())
    }

    /// Makes the sandbox itself and starts its first session, if it is to have one; what its seat tells from then on.
    pub(super) async fn settle_in(
        self: &Arc<Self>,
        ground: Ground,
        spec: &SandboxSpec,
        driver: &dyn Driver,
        first: Option<&SessionId>,
    ) -> Outcome<BoxStream<SeatEvent>> {
        let id = ground.id.clone();
        let given = self.values(&id)?;
        let lived = clock::wall().since(self.fleet().get(&id)?.sandbox.created_at);
        // Its host counts from now on, and may be the second one.
        let left = spec.ttl.map(|it| it.saturating_sub(lived).max(Duration::from_millis(1)));
        let spec = &SandboxSpec { ttl: left, ..spec.clone() };
        let seat = self.seat(ground, spec, driver).await?;
        self.fleet().get_mut(&id)?.seat = Some(seat.clone());
        if !given.is_empty() {
            seat.give(given).await?;
        }
        let mut events = seat.events().await?;
        let report = first_report(&mut events).await?;
        let session = match first {
            // Its programs came along.
            Some(_) if spec.awake && !report.sessions.is_empty() => None,
            Some(first) => Some(seat.open(first.clone(), spec.first.clone()).await?),
            None => None,
        };
        let mut fleet = self.fleet();
        let sandbox = fleet.get_mut(&id)?.sandbox_mut();
        apply(sandbox, report);
        sandbox.stop_asked = false;
        if let Some(session) = session {
            sandbox.state = State::Running;
            if !sandbox.sessions.iter().any(|it| it.id == session.id) {
                sandbox.sessions.push(session);
            }
        }
        Ok(events)
    }

    /// Writes down in its own directory what a sandbox is, for a hub that lost its registry.
    pub(super) async fn write_record(&self, id: &SandboxId) -> Outcome<()> {
        let (file, fresh) =
            (self.paths.sandbox_record(id), self.paths.sandbox(id).join("record.new"));
        let kept = record::file(self.fleet().get(id)?);
        let written = async {
            tokio::fs::write(&fresh, kept).await?;
            tokio::fs::rename(&fresh, &file).await
        };
        written.await.map_err(|error| Fault::io(format_args!("writing {}", file.display()), &error))
    }

    /// Deletes what a full disk kept in the registry: its name is free, and would not be there.
    async fn strike_leftovers(&self) -> Outcome<()> {
        loop {
            let next = self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(id) = next else { return Ok(()) };
            if let Err(fault) = self.store.delete(id.to_string()).await {
                self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                return Err(fault);
            }
        }
    }

    /// The sandbox itself, where its driver is hosted.
    async fn seat(
        &self,
        ground: Ground,
        spec: &SandboxSpec,
        driver: &dyn Driver,
    ) -> Outcome<Arc<dyn Seat>> {
        let recordings = self.paths.recordings();
        driver.ready(&ground, spec).await?;
        Ok(match driver.hosting() {
            Hosting::Hub => {
                let place = driver.create(&ground, spec).await?;
                Arc::new(House::new(ground, place, recordings, spec.record))
            }
            Hosting::Elsewhere => {
                return Err(Fault::unsupported("such a sandbox is made where it is kept"));
            }
            Hosting::Shim => {
                let policy = self.paths.policy();
                let workspace = &spec.workspace;
                let project = (workspace.mode != WorkspaceMode::None)
                    .then(|| self.rule_file(&Domain::Project(workspace.path.clone())));
                let rules = (Some(policy.as_path()), project.as_deref());
                let made = ShimLink::launch(&self.program, &ground, &recordings, rules, spec);
                made.await?.into()
            }
        })
    }

    /// Takes back whatever `make` did, last step first; what can't be taken back is told.
    async fn undo(self: &Arc<Self>, id: &SandboxId, first: &SessionId, driver: &dyn Driver) {
        let (seat, name) = {
            let mut fleet = self.fleet();
            let Ok(entry) = fleet.get_mut(id) else { return };
            entry.removing = true;
            (entry.seat.take(), entry.sandbox.name.clone())
        };
        let mut left = Vec::new();
        if let Some(seat) = seat {
            left.extend(seat.remove().await.err());
        }
        let ground = self.ground(id, &name);
        let swept = driver.sweep(&ground).await;
        if let Err(fault) = swept {
            return self.doom(id, &name, &fault).await;
        }
        left.extend(delete_dir(&ground.dir).await.err());
        left.extend(delete_dir(&self.paths.recording(first)).await.err());
        if let Err(fault) = self.store.delete(id.to_string()).await {
            left.push(fault);
            self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
        }
        let mut fleet = self.fleet();
        fleet.remove(id);
        for fault in left {
            let words = format!("undoing the creation of {name}: {fault}");
            fleet.notice(Level::Error, None, &words);
        }
    }

    /// What a creation left may still run: its name and directory, by which alone it can be ended, are
    /// kept until it is.
    async fn doom(self: &Arc<Self>, id: &SandboxId, name: &str, fault: &Fault) {
        let words = format!("undoing the creation of {name}: {fault}");
        if let Ok(entry) = self.fleet().get_mut(id) {
            entry.doomed = true;
            entry.removal.failed(fault);
            fail(entry.sandbox_mut(), &words);
        }
        self.fleet().notice(Level::Error, Some(id.clone()), &words);
        self.keep_for_another_try(id, fault).await;
    }

    /// The workspace is a directory, and not one that would hand the hub itself to a sandbox.
    async fn check_workspace(&self, spec: &SandboxSpec) -> Outcome<()> {
        if spec.workspace.mode == WorkspaceMode::None {
            return Ok(());
        }
        let path = &spec.workspace.path;
        if !path.is_absolute() {
            return Err(Fault::invalid(format!(
                "workspace is no absolute path: {}",
                path.display()
            )));
        }
        let hint = "choose a directory that exists, or the workspace none";
        let real = tokio::fs::canonicalize(path).await.map_err(|error| {
            Fault::invalid(format!("workspace {}: {error}", path.display())).hint(hint)
        })?;
        let is_dir = tokio::fs::metadata(&real).await.is_ok_and(|it| it.is_dir());
        if !is_dir {
            let words = format!("workspace is not a directory: {}", path.display());
            return Err(Fault::invalid(words).hint(hint));
        }
        for own in [self.paths.state(), self.paths.run()] {
            let own = tokio::fs::canonicalize(own).await.unwrap_or_else(|_| own.to_owned());
            if own.starts_with(&real) || real.starts_with(&own) {
                return Err(Fault::denied(format!(
                    "workspace {} would show sandwatch's own state to the sandbox: {}",
                    path.display(),
                    own.display()
                ))
                .hint("choose a project's directory instead"));
            }
        }
        Ok(())
    }
}

/// What is wrong with a request, whoever made it.
fn check(spec: &SandboxSpec, can: &Capabilities, driver: &str) -> Outcome<()> {
    if let Some(name) = &spec.name {
        sandbox_name(name)?;
    }
    let limits = &spec.limits;
    if limits.cpus.is_some_and(|it| !it.is_finite() || it <= 0.0) {
        return Err(Fault::invalid("--cpus must be more than 0"));
    }
    if limits.memory_bytes.is_some_and(|it| it < MEMORY_BYTES_MIN) {
        return Err(Fault::invalid("--memory must be at least 1m"));
    }
    if limits.pids == Some(0) {
        return Err(Fault::invalid("--pids must be at least 1"));
    }
    if limits.gpus.is_some() && !can.gpu {
        let words = format!("the {driver} driver can't give graphics processors (--gpus)");
        return Err(
            Fault::unsupported(words).hint("driver docker can, with nvidia-container-toolkit")
        );
    }
    if spec.ttl.is_some_and(|it| it.is_zero() || it > TTL_MAX) {
        return Err(Fault::invalid("--ttl must be more than 0 and at most ten years"));
    }
    let mode = spec.workspace.mode;
    let asked = [
        (spec.image.is_some() && !can.image, "begin with an image (--image)"),
        (limits.cpus.is_some() && !can.limits_cpu, "bound the cpu (--cpus)"),
        (limits.memory_bytes.is_some() && !can.limits_memory, "bound the memory (--memory)"),
        (limits.pids.is_some() && !can.limits_pids, "bound the processes (--pids)"),
        (spec.snapshot_every.is_some() && !can.snapshot, "take snapshots (--snapshot-every)"),
        (mode == WorkspaceMode::Cow && !can.workspace_cow, "give a copy-on-write workspace"),
        (mode == WorkspaceMode::Rw && !can.workspace_rw, "give a writable workspace"),
        (spec.egress == Egress::Deny && !can.egress_deny, "cut the network off (--egress deny)"),
        (!spec.allow.is_empty() && !can.egress_ask, "let out some hosts only (--allow)"),
        (!spec.secrets.is_empty() && !can.egress_ask, "put in a secret on the way out (--secret)"),
    ];
    match asked.iter().find(|(missing, _)| *missing) {
        Some((_, what)) => {
            Err(Fault::unsupported(format!("the {driver} driver can't {what} here"))
                .hint("`sandwatch doctor` says what works on this machine and how to get the rest"))
        }
        None => Ok(()),
    }
}

async fn make_private(dir: &Path) -> Outcome<()> {
    tokio::fs::DirBuilder::new().mode(0o700).create(dir).await.map_err(|error| {
        Fault::io(format_args!("making directory {}", dir.display()), &error)
            .hint("make the state directory writable, or set SANDWATCH_HOME to another")
    })
}
