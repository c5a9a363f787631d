//! The driver `local`: sandboxes on this machine by our own launcher (namespaces, overlay,
//! pivot_root, landlock, seccomp, control groups), rootless or as root; or by an OCI runtime.
//!
//! A place is made by the process that will hold it (the shim, single-threaded), which clones itself:
//! the clone builds the sandbox around itself, locks itself in, and serves as its first process.

pub mod agents;
mod apply;
mod blueprint;
mod cgroup;
mod changes;
mod connects;
mod copy;
mod desk;
mod diag;
pub mod doing;
pub(super) mod entered;
mod env;
mod files;
mod full;
mod gate;
mod hierarchy;
mod identity;
mod image;
mod init;
mod link;
mod lockdown;
mod mark;
mod memory;
mod message;
mod meter;
pub mod mounts;
mod namespaces;
mod netlink;
mod oci;
mod pace;
mod pieces;
mod pipe;
mod place;
mod planned;
mod probe;
mod processes;
mod ptrace;
pub(super) mod pulled;
pub(super) mod remove;
mod room;
mod seccomp;
pub mod service;
mod shelf;
mod shelf_size;
mod side;
mod sockets;
pub mod steward;
mod still;
mod sys;
mod syscalls;
mod terminal;
mod terms;
mod tools;
mod touched;
mod traces;
mod trees;
pub(super) mod trust;
mod turns;
pub(super) mod upper;
mod waits;
mod weak;

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

pub(super) use self::blueprint::{check_workspace, hostname};
use self::{
    blueprint::Network,
    cgroup::Groups,
    changes::LocalChanges,
    files::LocalFiles,
    hierarchy::Layout,
    identity::Identity,
    link::Link,
    mark::{Hunt, Mark, Orphans},
    memory::Sleeper,
    namespaces::Held,
    place::LocalPlace,
    planned::Planned,
    terms::{Limits, capabilities, egress_note, limits},
    traces::{First, Traces},
};
pub use self::{env::way_out_is_known, terms::at_best};
use super::{
    ASK_DIR, Changes, Driver, Ground, Hosting, Kept, Meter, PROXY, Place, PlaceFacts, Shelf,
    Stillness, Taken, Touches,
    files::{Files, Way},
};
use crate::{
    base::{
        clock::Timestamp,
        descriptors,
        fault::{Fault, Outcome},
        limits::{ANSWER_WITHIN, DEATH_WITHIN, WAKES_WITHIN},
    },
    model::{
        capability::Capabilities,
        change::{Applied, ApplyRequest, DiffRequest},
        check::Check,
        sandbox::{Egress, Isolation, SandboxSpec, WorkspaceMode},
        secret,
    },
};
use async_trait::async_trait;

/// Closes every descriptor but the standard three: for a daemon at its very start, so that a lock or
/// pipe of whoever started it does not live as long as it does. Nothing may have been opened yet.
pub fn close_inherited() {
    sys::close_all_but(&[]);
}

/// Deletes a directory of a sandbox's, whatever a program left in it; one that is not there is fine.
pub fn delete(directory: &Path) -> Outcome<()> {
    remove::whole(directory)
}

/// Deletes a directory that a sandbox's files lie in, on a thread that blocks nobody.
pub fn delete_in_background(directory: PathBuf) {
    remove::in_background(directory);
}

/// Steps back behind hub and console, as the process that hosts a sandbox; in a runtime, before anything is
/// started.
pub fn step_back() {
    turns::host();
}

/// The word in `--driver`.
pub const NAME: &str = "local";

/// The adapter; holds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

/// A sandbox on its way: what must be undone if it does not get there.
struct Started {
    held: Held,
    /// What goes out is to come by us; and if nothing can, there is to be no sandbox.
    gated: bool,
    must: bool,
    facts: PlaceFacts,
    home: PathBuf,
    env: Vec<(String, String)>,
    first: Vec<String>,
    shell: String,
    /// What starts and keeps its programs where those can be written down.
    sleeper: Option<Sleeper>,
}

impl Local {
    /// Makes a sandbox of this grade, or undoes what it did.
    async fn attempt(
        ground: &Ground,
        spec: &SandboxSpec,
        grade: Isolation,
        note: Option<String>,
    ) -> Outcome<Arc<dyn Place>> {
        if let Err(error) = descriptors::raise(None) {
            tracing::warn!(%error, "the bound on open files stays as it is");
        }
        let layout = Layout::here();
        oci::check(grade, spec, &layout)?;
        let mut limits = limits(spec.limits, &layout, grade)?;
        limits.notes.extend(note);
        let groups = Groups::name(&layout, &ground.id, &limits.wanted);
        let paths = groups.paths().to_vec();
        let mark = (grade == Isolation::Landlock).then(Mark::fresh);
        let started = Self::enclose(ground, &groups, mark)
            .and_then(|door| Self::start(ground, spec, grade, mark, limits, &layout, door));
        let made = match started {
            Ok(started) => Self::finish(ground, started, groups).await,
            Err(fault) => Err(fault),
        };
        match made {
            Ok(place) => Ok(Arc::new(place)),
            Err(fault) => {
                // The first fault is the one to tell; what can't be undone now, a sweep finds.
                drop(cgroup::remove(&paths).await);
                drop(remove::at_once(&ground.dir.join(namespaces::BOX)));
                Err(fault)
            }
        }
    }

    /// Makes the groups, written down first.
    fn enclose(ground: &Ground, groups: &Groups, mark: Option<Mark>) -> Outcome<Option<OwnedFd>> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&ground.dir);
        made.map_err(|error| Fault::io(format!("making {}", ground.dir.display()), &error))?;
        note(ground, groups, mark, None)?;
        groups.make()?;
        groups.door()
    }

    fn start(
        ground: &Ground,
        spec: &SandboxSpec,
        grade: Isolation,
        mark: Option<Mark>,
        limits: Limits,
        layout: &Layout,
        door: Option<OwnedFd>,
    ) -> Outcome<Started> {
        let door = door.as_ref().map(AsFd::as_fd);
        let mut facts = PlaceFacts {
            isolation: Some(grade),
            raw_state: None,
            state: None,
            capabilities: capabilities(grade, layout),
            notes: limits.notes,
        };
        facts.notes.extend(egress_note(spec, grade));
        let workspace =
            (spec.workspace.mode != WorkspaceMode::None).then(|| spec.workspace.path.clone());
        let identity = Identity::of(&ground.id)?;
        let shell = env::shell();
        if !image::can_be_under(grade) {
            image::refuse(ground, spec, grade)?;
        }
        let gated = Network::of(spec) == Network::Gated;
        let must = gated && (!spec.allow.is_empty() || !spec.secrets.is_empty());
        if let Some(mark) = mark {
            let plan = weak::plan(ground, spec, limits.bounds, mark)?;
            facts.notes.extend(weak::notes(Network::of(spec)));
            let mut env = env::base(&ground.name, spec, &identity, &[]);
            let mut own: Vec<_> = weak::env(&plan.home).into();
            own.extend(trust::variables(ground, &ground.dir.join(ASK_DIR)));
            own.extend(secret::variables(&spec.secrets));
            env = env::merged([&env, &own, &spec.env]);
            let home = workspace.unwrap_or_else(|| plan.home.clone());
            let (held, first) = (weak::launch(&plan, door)?, Vec::new());
            let sleeper = None;
            return Ok(Started { held, gated, must, facts, home, env, first, shell, sleeper });
        }
        let image = image::ready(ground, spec, &AtomicBool::new(false))?;
        let identity = image.as_ref().map_or(Ok(identity.clone()), |it| it.identity(&identity))?;
        if image.is_none() && ground.dir.join(ASK_DIR).is_dir() {
            facts.notes.extend(agents::notes(&ground.dir));
        }
        let plan = Planned::of(grade, ground, spec, &identity, limits.bounds, image.as_ref())?;
        let (env, home, first, shell) = match &image {
            Some(image) => {
                facts.notes.extend(image.notes());
                let home = image.directory(&identity.home);
                (image.env(&ground.name, &identity)?, home, image.command(), image.shell()?)
            }
            None => {
                let env = env::base(&ground.name, spec, &identity, &plan.tools());
                (env, identity.home, Vec::new(), shell)
            }
        };
        let mut own = trust::variables(ground, Path::new(mounts::ASKING));
        own.extend(secret::variables(&spec.secrets));
        let env = env::merged([&env, &own, &spec.env]);
        let user = (identity.inside_uid, identity.inside_gid);
        let sleeper = plan.steward().map(|it| Sleeper::open(ground, spec, it, user)).transpose()?;
        facts.capabilities.snapshot_memory = sleeper.is_some();
        let (home, held) = (workspace.unwrap_or(home), plan.launch(door)?);
        Ok(Started { held, gated, must, facts, home, env, first, shell, sleeper })
    }

    async fn finish(ground: &Ground, started: Started, groups: Groups) -> Outcome<LocalPlace> {
        let Started { held, gated, must, mut facts, home, mut env, first: command, .. } = started;
        let (shell, sleeper) = (started.shell, started.sleeper);
        let grade = facts.isolation.unwrap_or(Isolation::None);
        env::ask_by(&mut env, ground, facts.isolation);
        let entered = First::of(held.pid)
            .map_err(|error| Fault::io("looking at a first process", &error))
            .and_then(|first| note(ground, &groups, held.mark, Some(first)))
            .and_then(|()| groups.admit(held.pid));
        if let Err(fault) = entered {
            held.abandon();
            return Err(fault);
        }
        let has_a_root = held.mark.is_none();
        let wakes = sleeper.as_ref().is_some_and(Sleeper::wakes);
        let within = if wakes { WAKES_WITHIN } else { ANSWER_WITHIN };
        let (link, ready) = Link::open(held, within).await?;
        facts.notes.extend(ready.notes);
        let mut opened = ready.opened.into_iter();
        let root = if has_a_root { opened.next() } else { None };
        let family = match grade {
            Isolation::Gvisor => gate::Family::Unknown,
            _ => gate::Family::Below(link.pid),
        };
        let doors = match grade {
            Isolation::Landlock => gate::asked(opened.next(), link.pid),
            _ => gate::doors(opened.collect(), link.pid, family),
        };
        if doors.as_ref().is_some_and(|it| matches!(it.way, super::Way::Proxy(_))) {
            env::get_out_by(&mut env, PROXY);
        }
        if doors.is_none() && must {
            link.kill();
            let why = facts.notes.iter().find(|it| it.starts_with(gate::CLOSED));
            let why = why.map_or(gate::CLOSED, String::as_str);
            return Err(Fault::unsupported(format!("--allow and --secret: {why}"))
                .hint("see `sandwatch doctor`"));
        }
        facts.capabilities.egress_ask &= doors.is_some() || !gated;
        if let Some(sleeper) = &sleeper {
            sleeper.ends_with(&link);
        }
        Ok(LocalPlace {
            link,
            groups,
            facts,
            root,
            doors: Mutex::new(doors),
            directory: ground.dir.clone(),
            home,
            env,
            first: Mutex::new(command),
            shell,
            paused: AtomicBool::new(false),
            asleep: Mutex::default(),
            stopping: AtomicBool::new(false),
            emptying: Mutex::new(None),
            looker: doing::Looker::default(),
            sleeper,
        })
    }
}

/// Writes down what a later process would have to clean up.
fn note(ground: &Ground, groups: &Groups, mark: Option<Mark>, first: Option<First>) -> Outcome<()> {
    let fault = |error: io::Error| Fault::io("noting what is made", &error);
    let mut groups = groups.paths().to_vec();
    for before in Traces::read(&ground.dir).map_err(fault)?.groups {
        // Of an attempt before this one, if it would not go.
        if before.exists() && !groups.contains(&before) {
            groups.push(before);
        }
    }
    let traces = Traces { groups, mark, first };
    traces.write(&ground.dir).map_err(fault)
}

/// Tells who works on a thread, when it is dropped, that nobody waits for the work any more.
#[derive(Default)]
struct WaitedFor(Arc<AtomicBool>);

impl Drop for WaitedFor {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Driver for Local {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hosting(&self) -> Hosting {
        Hosting::Shim
    }

    fn capabilities(&self) -> Capabilities {
        let works = probe::namespaces_work();
        let grade = if works { Isolation::Namespaces } else { Isolation::Landlock };
        capabilities(grade, &Layout::here())
    }

    async fn probe(&self) -> Vec<Check> {
        let mut checks = probe::all();
        checks.extend(oci::checks().await);
        checks
    }

    async fn ready(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<()> {
        if let Some(grade) = spec.isolation {
            // What can't be made needs no image.
            oci::check(grade, spec, &Layout::here())?;
        }
        image::before(ground, spec).await
    }

    async fn create(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<Arc<dyn Place>> {
        match spec.isolation {
            Some(Isolation::None) => {
                let what = "isolation none: not with driver local";
                Err(Fault::unsupported(what)
                    .hint("driver local has `namespaces`, `landlock`, `oci` and `gvisor`"))
            }
            Some(it) => Self::attempt(ground, spec, it, None).await,
            None => match Self::attempt(ground, spec, Isolation::Namespaces, None).await {
                // Tried again only when it is this machine that can't, not this request.
                Err(fault) if !probe::namespaces_work() => {
                    let why = format!("no namespaces here, see `sandwatch doctor`: {fault}");
                    Self::attempt(ground, spec, Isolation::Landlock, Some(why)).await
                }
                outcome => outcome,
            },
        }
    }

    async fn reap(&self, ground: &Ground) -> Outcome<()> {
        let read = Traces::read(&ground.dir);
        let traces = read.map_err(|error| Fault::io("reading what a sandbox left", &error))?;
        let mut left = place::FIRST_STAYS.to_owned();
        // Only then is its directory nobody's: the first process is the last of a namespace to go, and
        // without one it is not the only one that may be left.
        let over = async {
            let dying = traces.first.map_or(Ok(None), First::end);
            if let Some(mark) = traces.mark {
                let mut hunt = Hunt::new(mark, Orphans::Others);
                while let Some(words) = hunt.look().await {
                    left = words;
                    hunt.rest().await;
                }
                place::FIRST_STAYS.clone_into(&mut left);
            }
            match dying? {
                Some(first) => first.readable().await.map(drop),
                None => Ok(()),
            }
        };
        // Beside it, for what is frozen can't die before its group is thawed.
        let groups = cgroup::remove(&traces.groups);
        let (groups, over) = tokio::join!(groups, tokio::time::timeout(DEATH_WITHIN, over));
        match over {
            Ok(Ok(())) => groups,
            Ok(Err(error)) => Err(Fault::io("ending what a sandbox left", &error)),
            Err(_) => {
                Err(Fault::late(format!("ending the sandbox: {left}")).hint(place::LATE_HINT))
            }
        }
    }

    async fn sweep(&self, ground: &Ground) -> Outcome<()> {
        self.reap(ground).await?;
        remove::away(&ground.dir)
    }

    fn why_no_memory(&self, isolation: Option<Isolation>, egress: Egress) -> &'static str {
        terms::why_no_memory(isolation, egress)
    }

    async fn snapshot(
        &self,
        ground: &Ground,
        spec: &SandboxSpec,
        shelf: &Shelf,
        like: Option<&Shelf>,
        stillness: Stillness,
    ) -> Outcome<Taken> {
        let owner = Identity::of(&ground.id)?.by_root.then_some(identity::SHELVES);
        image::pass_on(ground, shelf)?;
        let (ground, shelf, like) = (ground.clone(), shelf.clone(), like.cloned());
        let take = match stillness {
            Stillness::Live | Stillness::Written => shelf::Take::Copies,
            Stillness::Stopped => shelf::Take::Links,
        };
        let waited_for = WaitedFor::default();
        let given_up = Arc::clone(&waited_for.0);
        let keep = move || {
            let (below, like) = (ground.from.as_ref(), like.as_ref());
            let mut kept = shelf::keep(&ground.dir, below, &shelf, like, take, owner, &given_up)?;
            if stillness == Stillness::Written {
                let more = memory::pass_on(&ground.dir, &shelf.dir)?;
                kept.size_bytes = kept.size_bytes.map(|it| it.saturating_add(more));
            }
            Outcome::Ok(kept)
        };
        let kept = tokio::task::spawn_blocking(keep).await;
        let mut kept = kept.map_err(|error| Fault::bug(format!("keeping files: {error}")))??;
        if matches!(spec.workspace.mode, WorkspaceMode::Rw | WorkspaceMode::Ro) {
            let words = "the workspace is the real directory, which is not kept";
            kept.notes.push(words.to_owned());
        }
        Ok(kept)
    }

    async fn vacate(&self, ground: &Ground) -> Outcome<()> {
        remove::away(&ground.dir.join(oci::MEMORY))?;
        remove::away(&ground.dir.join(namespaces::BOX))
    }

    async fn changes(
        &self,
        of: &Kept,
        against: Option<&Shelf>,
        request: DiffRequest,
    ) -> Outcome<Changes> {
        Ok(Box::new(LocalChanges::new(of, against, request)))
    }

    fn touched(&self, ground: &Ground, began: Timestamp) -> Outcome<Touches> {
        touched::touched(&ground.dir, began)
    }

    fn apply(&self, ground: &Ground, since: Timestamp, request: &ApplyRequest) -> Outcome<Applied> {
        apply::apply(ground, since, request)
    }

    fn take_back(&self, ground: &Ground, overwrite: bool) -> Outcome<Applied> {
        apply::undo(ground, overwrite)
    }

    fn files(&self, ground: &Ground, spec: &SandboxSpec, way: Way) -> Outcome<Arc<dyn Files>> {
        Ok(Arc::new(LocalFiles::open(ground, spec, way)?))
    }

    fn alone(&self, shelf: &Shelf) -> Option<u64> {
        let found = shelf_size::alone(&shelf.dir.join(namespaces::BOX));
        found.inspect_err(|error| tracing::warn!(%error, id = %shelf.id, "its size")).ok()
    }

    fn meter(&self) -> Option<Box<dyn Meter>> {
        Some(Box::new(meter::LocalMeter::default()))
    }

    fn prune(&self, sandboxes: &Path, snapshots: &Path) -> Outcome<()> {
        image::prune(sandboxes, snapshots)
    }

    fn tidy(&self, sandboxes: &Path) {
        drop(remove::empty(sandboxes.join(remove::TRASH)));
    }
}
