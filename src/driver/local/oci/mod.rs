//! Grades `oci` and `gvisor`: the same sandbox, from the same files, run by `runc` or `runsc`.
//!
//! A keeper is cloned from the shim, as process 1 of namespaces of its own. It builds the sandbox's root,
//! has the runtime make a container of it and, later, start programs in it. The runtime, its state and the
//! container are all below the keeper, and the kernel ends them with it.

mod bundle;
mod calls;
mod keeper;
mod probe;
mod start;

use std::{
    fs,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

use seccompiler::BpfProgram;

use self::bundle::Container;
pub use self::probe::checks;
use super::{
    blueprint::Blueprint,
    env,
    hierarchy::Layout,
    identity::Identity,
    image::{self, Standing},
    lockdown::ProcessBounds,
    mounts,
    mounts::ASKING,
    namespaces::{self, Held},
    seccomp, steward, sys,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
    },
    driver::{
        ASK_PROGRAM, Ground,
        docker::{asking, first},
    },
    model::sandbox::{Egress, Isolation, SandboxSpec},
};

/// Which program makes the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    Runc,
    Runsc,
}

/// Where administrators put what only root runs, beside the operator's own search path.
const USUAL: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Hidden from the keeper by what it mounts there.
const HIDDEN: [&str; 2] = ["/tmp", "/run"];

impl Runtime {
    /// The one that gives a grade.
    pub fn of(grade: Isolation) -> Option<Self> {
        match grade {
            Isolation::Oci => Some(Self::Runc),
            Isolation::Gvisor => Some(Self::Runsc),
            _ => None,
        }
    }

    fn grade(self) -> Isolation {
        match self {
            Self::Runc => Isolation::Oci,
            Self::Runsc => Isolation::Gvisor,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Runsc => "runsc",
        }
    }

    fn how_to_install(self) -> &'static str {
        match self {
            Self::Runc => "install runc (Debian, Ubuntu, Fedora: the package `runc`)",
            Self::Runsc => {
                "install gVisor, a release of 2024 or later: gvisor.dev/docs/user_guide/install, or the package \
                 `runsc` of Debian 13"
            }
        }
    }

    /// Where it is installed.
    fn find(self, search: &[PathBuf]) -> Outcome<PathBuf> {
        let places = search.iter().cloned().chain(USUAL.map(PathBuf::from));
        let found = places.map(|it| it.join(self.program())).find(|it| {
            fs::metadata(it).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        });
        let found = found.ok_or_else(|| {
            let what = format!("isolation {}: no {} here", self.grade().word(), self.program());
            Fault::unsupported(what).hint(self.how_to_install())
        })?;
        let real = fs::canonicalize(&found)
            .map_err(|error| Fault::io(format!("looking at {}", found.display()), &error))?;
        if HIDDEN.iter().any(|it| real.starts_with(it)) {
            let what = format!(
                "isolation {}: can't be run from there: {}",
                self.grade().word(),
                real.display()
            );
            return Err(Fault::unsupported(what).hint("install it in /usr/local/bin"));
        }
        Ok(real)
    }
}

/// What is asked of a container of this grade that it can't give.
pub fn check(grade: Isolation, spec: &SandboxSpec, layout: &Layout) -> Outcome<()> {
    let Some(runtime) = Runtime::of(grade) else { return Ok(()) };
    let no = |what: &str| Fault::unsupported(format!("isolation {}: {what}", grade.word()));
    if !rustix::process::geteuid().is_root() {
        return Err(no("not for an ordinary user").hint(
            "leave the isolation to auto, or use driver docker; sandboxes of root may have it",
        ));
    }
    if runtime == Runtime::Runsc && spec.limits.pids.is_some() {
        return Err(no("no limit on processes: gVisor's are none of this kernel's")
            .hint("leave --pids away; --memory bounds them too"));
    }
    if runtime == Runtime::Runsc && spec.limits.memory_bytes.is_some() && !layout.has("memory") {
        return Err(no("no limit on memory: no memory control group can be made here"));
    }
    Ok(())
}

/// A container to be.
pub struct Plan {
    pub blueprint: Blueprint,
    runtime: Runtime,
    program: PathBuf,
    container: Vec<u8>,
    first: Vec<u8>,
    bounds: ProcessBounds,
    filters: Vec<BpfProgram>,
    /// The container's first process is a steward, which this user and group of the host are.
    pub steward: Option<(u32, u32)>,
    /// What it begins with instead of nothing: where a container was written down with its programs.
    memory: Option<OwnedFd>,
}

/// In a ground or on a shelf: a container written down with its programs.
pub const MEMORY: &str = "memory";

/// Why a container made like this can't be written down with its programs.
pub fn why_no_memory(runtime: Runtime, egress: Egress) -> Option<&'static str> {
    match (runtime, egress) {
        (Runtime::Runsc, Egress::Deny) => None,
        (Runtime::Runsc, _) => Some(
            "gVisor writes down no container that shares a network of the host's kernel, as all do here that get out \
             (--egress deny makes one that does not)",
        ),
        (Runtime::Runc, _) => Some("runc leaves that to CRIU, which is not used"),
    }
}

/// How a steward is started in a root that has this.
fn steward(blueprint: &Blueprint) -> Option<Vec<String>> {
    let libraries = blueprint.asking.as_ref()?.libraries.iter();
    let mut names = libraries.filter_map(|(_, it)| it.file_name()?.to_str());
    let program = format!("{ASKING}/{ASK_PROGRAM}");
    let mut command = match names.find(|it| asking::is_loader(it)) {
        Some(loader) => {
            let below = format!("{ASKING}/{}", asking::LIBRARIES);
            vec![format!("{below}/{loader}"), "--library-path".to_owned(), below, program]
        }
        None => vec![program],
    };
    command.push(steward::VERB.to_owned());
    Some(command)
}

impl Plan {
    /// What it holds open for who makes the container.
    fn open(&self) -> Vec<BorrowedFd<'_>> {
        self.blueprint.open().into_iter().chain(self.memory.iter().map(AsFd::as_fd)).collect()
    }
}

/// Decides how it will be and prepares its directory.
pub fn plan(
    grade: Isolation,
    ground: &Ground,
    spec: &SandboxSpec,
    identity: &Identity,
    bounds: ProcessBounds,
    image: Option<&Standing>,
) -> Outcome<Plan> {
    let runtime = Runtime::of(grade)
        .ok_or_else(|| Fault::bug(format!("a container of grade {}", grade.word())))?;
    let program = runtime.find(&env::operator_path(spec))?;
    let first = first::program(std::env::consts::ARCH).ok_or_else(|| {
        Fault::unsupported(format!("containers on this processor: {}", std::env::consts::ARCH))
    })?;
    let inner_root = inner_root(&ground.id);
    // What serves files to gVisor is root inside, and makes each as such first.
    let helper = (runtime == Runtime::Runsc).then_some(inner_root);
    let identity = Identity { helper, ..identity.clone() };
    let blueprint = namespaces::plan(ground, spec, &identity, bounds, image)?;
    if image.is_some() {
        // Something to show its first process on, that counts for no change of the sandbox's.
        let start = ground.dir.join(namespaces::BOX).join(mounts::START).join(image::LAYER);
        let place = start.join(first::PATH.trim_start_matches('/'));
        fs::write(&place, "")
            .map_err(|error| Fault::io(format!("making {}", place.display()), &error))?;
    }
    let steward = match why_no_memory(runtime, spec.egress) {
        None => steward(&blueprint),
        Some(_) => None,
    };
    let memory = match &ground.from {
        Some(shelf) if spec.awake => {
            let place = shelf.dir.join(MEMORY);
            let fault = |error| Fault::io(format!("opening {}", place.display()), &error);
            Some(fs::File::open(&place).map_err(fault)?.into())
        }
        _ => None,
    };
    let identity = &blueprint.identity;
    let root = |inside, host| if inside == 0 { host } else { inner_root };
    let owner = (
        root(identity.inside_uid, identity.host_uid),
        root(identity.inside_gid, identity.host_gid),
    );
    let has_one = steward.is_some().then_some(owner);
    let container = Container { runtime, blueprint: &blueprint, inner_root, bounds, steward };
    let container = container.text();
    Ok(Plan {
        blueprint,
        runtime,
        program,
        container,
        first,
        bounds,
        filters: seccomp::of_keeper()?,
        steward: has_one,
        memory,
    })
}

/// Who is root in a container's user namespace: nobody on the host. The runtime needs one to make it.
fn inner_root(id: &SandboxId) -> u32 {
    super::identity::host_id(&format!("root of {id}"))
}

/// Clones this process into namespaces of its own, as the keeper of a container to be.
pub fn launch(plan: &Plan, group: Option<BorrowedFd<'_>>) -> Outcome<Held> {
    const KEEPERS: libc::c_int = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
    let (ours, theirs) = namespaces::pair()?;
    let clone = sys::clone_into(KEEPERS as u64, group).map_err(|error| {
        Fault::unsupported(format!("making namespaces: {error}")).hint("see `sandwatch doctor`")
    })?;
    match clone {
        sys::Clone::Child => keeper::become_keeper(plan, theirs),
        sys::Clone::Parent { pid, pidfd } => Ok(Held { pid, pidfd, control: ours, mark: None }),
    }
}

/// Makes the control groups read-only, as far as this process and its children see: a runtime then
/// leaves its processes in those it was started in, which are the sandbox's own.
fn keep_groups() -> std::io::Result<()> {
    let place = Path::new("/sys/fs/cgroup");
    if !place.is_dir() {
        return Ok(());
    }
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::open(place, flags, rustix::fs::Mode::empty())?;
    match sys::restrict_mount(opened.as_fd(), sys::MOUNT_ATTR_RDONLY, true) {
        // Nothing is mounted there.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        outcome => outcome,
    }
}

/// Where the root of the container lies, as the keeper sees it.
const ROOT: &str = mounts::HELD_ROOT;
