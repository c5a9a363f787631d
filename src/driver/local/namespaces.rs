//! Starts a sandbox of grade `namespaces`: prepares its directory, clones this process into new
//! namespaces, gives the clone its ids, and waits until it is built and locked in.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketFlags, SocketType, socket_with, socketpair},
    process::{Pid, Signal},
};
use seccompiler::BpfProgram;

use super::{
    agents,
    blueprint::{self, Asking, Blueprint, Network, Source, WayOut, WorkspaceMount},
    changes, env, gate,
    identity::{self, Identity},
    image::{self, Standing},
    init,
    lockdown::{self, ProcessBounds, Rules},
    mark::Mark,
    message::{Order, Word, receive, send},
    mounts::{self, BELOW, START, Step},
    seccomp::{self, Sockets},
    shelf, sys, tools, trust, turns,
};
use crate::{
    base::fault::{Fault, Kind, Outcome},
    driver::{ASK_DIR, Ground, Shelf, docker::asking},
    model::sandbox::{SandboxSpec, WorkspaceMode},
};

/// Name of the part of a ground that the sandbox itself may see pieces of.
pub const BOX: &str = "box";

const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// A clone that waits for `go`.
pub struct Held {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub control: OwnedFd,
    /// On what it starts, where no namespace takes that along when it ends.
    pub mark: Option<Mark>,
}

impl Held {
    /// Ends it; used when a later step fails.
    pub fn abandon(&self) {
        // It may have ended by itself, which is as good.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let options = rustix::process::WaitIdOptions::EXITED;
        let _ =
            rustix::process::waitid(rustix::process::WaitId::PidFd(self.pidfd.as_fd()), options);
    }
}

/// Decides how the sandbox will look and prepares its directory.
pub fn plan(
    ground: &Ground,
    spec: &SandboxSpec,
    identity: &Identity,
    bounds: ProcessBounds,
    image: Option<&Standing>,
) -> Outcome<Blueprint> {
    let workspace = blueprint::check_workspace(&spec.workspace, &ground.dir)?;
    let hostname = blueprint::hostname(&ground.name);
    let (links, layers) = image.map_or_else(blueprint::system, |_| Default::default());
    let root = prepare(ground, spec, identity, &layers, &hostname, image)
        .map_err(|error| Fault::io(format!("preparing {}", ground.dir.display()), &error))?;
    let below = ground.from.as_ref().map(|it| open_shelf(it, identity)).transpose()?;
    let over = image.map(|it| open_image(it, identity)).transpose()?;
    let workspace = workspace
        .map(|real| {
            if spec.workspace.mode == WorkspaceMode::Cow {
                changes::remember(&ground.dir, &real).map_err(|error| {
                    Fault::io(format!("preparing {}", ground.dir.display()), &error)
                })?;
            }
            let source = open_workspace(&real, identity)?;
            let path = spec.workspace.path.clone();
            Ok::<_, Fault>(WorkspaceMount { path, mode: spec.workspace.mode, source })
        })
        .transpose()?;
    let asking = open_asking(ground, identity, image.is_some())?;
    let mut tools = Vec::new();
    // It is the image that has them, or not.
    let needed = match image {
        Some(_) => Vec::new(),
        None => tools::needed(spec, workspace.as_ref().map(|it| it.path.as_path()))?,
    };
    for path in needed {
        let covered = workspace.as_ref().is_some_and(|it| path.starts_with(&it.path));
        if !covered {
            // Shown under the name it was asked for by, wherever that leads.
            let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            let source = reach(&real, identity)?;
            tools.push((path, source));
        }
    }
    Ok(Blueprint {
        hostname,
        identity: identity.clone(),
        ground: root,
        below,
        image: over,
        links,
        layers,
        asking,
        tools,
        workspace,
        network: Network::of(spec),
        way: env::way_out()?,
        bounds,
        still: false,
    })
}

/// What a sandbox that has stopped shows of its files, as it lies in its directory: nothing is made there, and nothing is
/// shown that is not of its files.
pub fn plan_still(
    ground: &Ground,
    spec: &SandboxSpec,
    identity: &Identity,
    image: Option<&Standing>,
) -> Outcome<Blueprint> {
    let own = fs::canonicalize(ground.dir.join(BOX));
    let own = own.map_err(|error| {
        Fault::absent(format!("nothing is kept of sandbox {}: {error}", ground.name))
    })?;
    let (links, mut layers) = image.map_or_else(blueprint::system, |_| Default::default());
    // The host may have others by now.
    layers.retain(|it| own.join("upper").join(it).is_dir());
    Ok(Blueprint {
        hostname: blueprint::hostname(&ground.name),
        identity: identity.clone(),
        ground: reach(&own, identity)?,
        below: ground.from.as_ref().map(|it| open_shelf(it, identity)).transpose()?,
        image: image.map(|it| open_image(it, identity)).transpose()?,
        links,
        layers,
        asking: None,
        tools: Vec::new(),
        // It may have been removed or moved on the host: the rest is there all the same.
        workspace: still_workspace(ground, spec, identity).unwrap_or_default(),
        network: Network::None,
        way: WayOut::Any,
        bounds: ProcessBounds::default(),
        still: true,
    })
}

fn still_workspace(
    ground: &Ground,
    spec: &SandboxSpec,
    identity: &Identity,
) -> Outcome<Option<WorkspaceMount>> {
    let (path, mode) = (spec.workspace.path.clone(), spec.workspace.mode);
    let Some(real) = blueprint::check_workspace(&spec.workspace, &ground.dir)? else {
        return Ok(None);
    };
    let real = match mode {
        WorkspaceMode::Cow => changes::workspace_of(&ground.dir)?,
        _ => real,
    };
    Ok(Some(WorkspaceMount { path, mode, source: open_workspace(&real, identity)? }))
}

/// Makes the directories of a sandbox, owned by who it will be.
fn prepare(
    ground: &Ground,
    spec: &SandboxSpec,
    identity: &Identity,
    layers: &[String],
    hostname: &str,
    image: Option<&Standing>,
) -> io::Result<Source> {
    let root = ground.dir.join(BOX);
    let own = |path: &Path| {
        if identity.by_root {
            chown(path, Some(identity.host_uid), Some(identity.host_gid))?;
        }
        Ok::<_, io::Error>(())
    };
    let make = |path: PathBuf, mode: u32| {
        fs::DirBuilder::new().mode(mode).create(&path)?;
        own(&path)
    };
    make(root.clone(), 0o700)?;
    for name in ["root", "stage", BELOW, START, "upper", "work", "run", "var", "home"] {
        make(root.join(name), 0o755)?;
    }
    make(root.join(START).join("etc"), 0o755)?;
    make(root.join("tmp"), 0o700)?;
    // Not by the umask's leave.
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    make(root.join(START).join("var"), 0o755)?;
    for name in ["cache", "lib", "log", "spool", "tmp"] {
        make(root.join(START).join("var").join(name), 0o755)?;
    }
    std::os::unix::fs::symlink("/run", root.join(START).join("var/run"))?;
    for name in shelf::KEPT {
        make(root.join("work").join(name), 0o755)?;
    }
    let workspace = (spec.workspace.mode == WorkspaceMode::Cow).then_some("workspace");
    for name in layers.iter().map(String::as_str).chain(workspace) {
        make(root.join("upper").join(name), 0o755)?;
        make(root.join("work").join(name), 0o755)?;
    }
    let mut start = root.join(START);
    if let Some(image) = image {
        start.push(image::LAYER);
        for part in [START, "upper", "work"] {
            make(root.join(part).join(image::LAYER), 0o755)?;
        }
        make(root.join(image::LAYER), 0o755)?;
        make(root.join("work/run"), 0o755)?;
        image.furnish(&start, identity)?;
    }
    let write = |name: &Path, text: &[u8]| {
        let path = start.join("etc").join(name);
        let above: Vec<&Path> = path.ancestors().skip(1).take_while(|it| !it.is_dir()).collect();
        above.into_iter().rev().try_for_each(|it| make(it.to_owned(), 0o755))?;
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        own(&path)
    };
    for (name, text) in blueprint::etc_files(identity, hostname, Network::of(spec), image) {
        write(name.as_ref(), text.as_bytes())?;
    }
    if ground.dir.join(ASK_DIR).is_dir() {
        let files = agents::files(&ground.dir, image.is_some())?;
        files.iter().try_for_each(|(name, text)| write(name, text))?;
    }
    trust::files(ground, image)?
        .iter()
        .try_for_each(|(name, text)| write(name.as_ref(), text.as_bytes()))?;
    if !identity.by_root {
        return Ok(Source::Path(root));
    }
    mounts::detach(&fs::canonicalize(&root)?, false).map(Source::Tree)
}

/// What programs ask with; `None` where nobody serves it.
fn open_asking(ground: &Ground, identity: &Identity, over_image: bool) -> Outcome<Option<Asking>> {
    let Ok(directory) = fs::canonicalize(ground.dir.join(ASK_DIR)) else { return Ok(None) };
    let fault = |error: io::Error| Fault::io("showing what this program runs by", &error);
    let program = asking::program(&directory).map_err(fault)?;
    let mut libraries = Vec::new();
    if over_image {
        let below = directory.join(asking::LIBRARIES);
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&below).map_err(fault)?;
        for (library, name) in asking::libraries().map_err(fault)? {
            fs::write(below.join(&name), "").map_err(fault)?;
            let name = Path::new(asking::LIBRARIES).join(name);
            libraries.push((reach(&library, identity)?, name));
        }
    }
    let program = reach(&program, identity)?;
    Ok(Some(Asking { directory: reach(&directory, identity)?, program, libraries }))
}

/// The files of a snapshot, shown as the sandbox's own.
fn open_shelf(shelf: &Shelf, identity: &Identity) -> Outcome<Source> {
    let place = shelf.dir.join(BOX);
    let real = fs::canonicalize(&place).map_err(|error| {
        Fault::io(format!("opening snapshot {}", shelf.id), &error)
            .hint("see `sandwatch snapshot ls`")
    })?;
    let source = reach(&real, identity)?;
    if let Source::Tree(tree) = &source {
        show_as(tree, identity::SHELVES, identity, &real)?;
    }
    Ok(source)
}

/// The files of an image, shown as the sandbox's own.
fn open_image(image: &Standing, identity: &Identity) -> Outcome<Source> {
    if !image.is_unpacked() {
        return open_workspace(&image.root, identity);
    }
    let source = reach(&image.root, identity)?;
    if let Source::Tree(tree) = &source {
        show_as(tree, identity::SHELVES, identity, &image.root)?;
    }
    Ok(source)
}

/// A directory as the child can reach it: by name, or opened by root.
fn reach(path: &Path, identity: &Identity) -> Outcome<Source> {
    if !identity.by_root {
        return Ok(Source::Path(path.to_owned()));
    }
    mounts::detach(path, false)
        .map(Source::Tree)
        .map_err(|error| Fault::io(format!("opening {}", path.display()), &error))
}

/// The workspace; to a sandbox made by root, its owner's files are shown as the sandbox's own.
fn open_workspace(path: &Path, identity: &Identity) -> Outcome<Source> {
    let source = reach(path, identity)?;
    let Source::Tree(tree) = &source else { return Ok(source) };
    let facts = rustix::fs::fstat(tree)
        .map_err(|error| Fault::io(format!("opening {}", path.display()), &error.into()))?;
    show_as(tree, (facts.st_uid, facts.st_gid), identity, path)?;
    Ok(source)
}

/// Shows a tree of one owner as the sandbox's.
fn show_as(tree: &OwnedFd, owner: (u32, u32), identity: &Identity, path: &Path) -> Outcome<()> {
    let helper = identity.helper;
    let ids = Ids { uid: (owner.0, identity.host_uid), gid: (owner.1, identity.host_gid), helper };
    let users = mapping(&ids)
        .map_err(|error| Fault::io("making a user namespace for what is shown", &error))?;
    sys::map_ids(tree.as_fd(), users.as_fd()).map_err(|error| {
        let what = format!("showing {} under another user: {error}", path.display());
        Fault::unsupported(what).hint(
            "this file system can't map ids; run sandwatch as the owner of the directory, not as root",
        )
    })
}

/// One user and one group of a namespace: (inside, outside).
pub struct Ids {
    pub uid: (u32, u32),
    pub gid: (u32, u32),
    /// One more user and group, the same on both sides.
    pub helper: Option<u32>,
}

/// Writes the ids of a process that is alone in a new user namespace.
pub fn write_ids(pid: Pid, ids: &Ids, by_root: bool) -> io::Result<()> {
    let of = |name: &str| format!("/proc/{}/{name}", pid.as_raw_nonzero());
    if !by_root {
        fs::write(of("setgroups"), "deny")?;
    }
    let lines = |(inside, outside): (u32, u32)| {
        let helper = ids.helper.map(|it| format!("{it} {it} 1\n"));
        format!("{inside} {outside} 1\n{}", helper.unwrap_or_default())
    };
    fs::write(of("uid_map"), lines(ids.uid))?;
    fs::write(of("gid_map"), lines(ids.gid))
}

/// A user namespace that only describes a mapping; its one process is gone again at once.
pub fn mapping(ids: &Ids) -> io::Result<OwnedFd> {
    let (ours, theirs) = std::io::pipe()?;
    match sys::clone_into(libc::CLONE_NEWUSER as u64, None)? {
        sys::Clone::Child => {
            // Held by the pipe until the descriptors are closed by the parent or its end.
            let mut byte = [0_u8];
            let _ = rustix::io::retry_on_intr(|| rustix::io::read(&ours, &mut byte[..]));
            sys::exit_now(0)
        }
        sys::Clone::Parent { pid, pidfd } => {
            let held = Held { pid, pidfd, control: theirs.into(), mark: None };
            let made = write_ids(pid, ids, true).and_then(|()| {
                let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
                Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
            });
            held.abandon();
            made
        }
    }
}

/// Clones this process into the sandbox and its group. The clone waits for ids and other groups, then
/// for `go`.
pub fn launch(plan: &Blueprint, group: Option<BorrowedFd<'_>>) -> Outcome<Held> {
    let filters = seccomp::filters(Sockets::Usual)?;
    let (ours, theirs) = pair()?;
    let network = if plan.network == Network::Host { 0 } else { libc::CLONE_NEWNET };
    let clone = sys::clone_into((NAMESPACES | network) as u64, group).map_err(|error| {
        Fault::unsupported(format!("making namespaces: {error}"))
            .hint("see `sandwatch doctor`; --isolation landlock needs no namespaces")
    })?;
    let sys::Clone::Parent { pid, pidfd } = clone else { become_init(plan, &filters, theirs) };
    drop(theirs);
    let held = Held { pid, pidfd, control: ours, mark: None };
    let identity = &plan.identity;
    let ids = Ids {
        uid: (identity.inside_uid, identity.host_uid),
        gid: (identity.inside_gid, identity.host_gid),
        helper: None,
    };
    if let Err(error) = write_ids(pid, &ids, identity.by_root) {
        held.abandon();
        return Err(Fault::new(Kind::Unsupported, format!("mapping users: {error}"))
            .hint("see `sandwatch doctor`; --isolation landlock needs no user namespace"));
    }
    Ok(held)
}

/// The two ends of a control socket; the first is the shim's and never blocks.
pub fn pair() -> Outcome<(OwnedFd, OwnedFd)> {
    let made = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    made.and_then(|(ours, theirs)| {
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok((ours, theirs))
    })
    .map_err(|error| Fault::io("making a socket pair", &error.into()))
}

/// Everything the clone does, from waking up to serving. Never returns into the shim's code.
fn become_init(plan: &Blueprint, filters: &[BpfProgram], control: OwnedFd) -> ! {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let told = set_up(plan, filters, control.as_fd());
        if let Err(text) = told {
            drop(send(control.as_fd(), &Word::Failed(text).bytes(), &[]));
            sys::exit_now(1);
        }
    }));
    if outcome.is_err() {
        sys::exit_now(70);
    }
    init::serve(control, None)
}

fn set_up(plan: &Blueprint, filters: &[BpfProgram], control: BorrowedFd<'_>) -> Result<(), String> {
    sys::reset_signals();
    turns::sandbox();
    let mut keep = plan.open();
    keep.push(control);
    init::shed(&keep).map_err(|error| format!("closing files: {error}"))?;
    sys::forget_start(init::NAME).map_err(|error| format!("forgetting its start: {error}"))?;
    if !wait_for_go(control) {
        sys::exit_now(0);
    }
    take_identity(&plan.identity).map_err(|it| it.to_string())?;
    let notes = mounts::build(plan).map_err(|it| it.to_string())?;
    finish(plan, filters, control, notes).map_err(|it| it.to_string())
}

/// Waits for the parent's `go`; `false` when it went away instead.
pub fn wait_for_go(control: BorrowedFd<'_>) -> bool {
    receive(control).is_ok_and(|it| Order::parse(&it.bytes) == Some(Order::Go))
}

pub fn take_identity(identity: &Identity) -> Result<(), mounts::Broken> {
    use rustix::process::{Gid, Uid};
    // Under pressure the kernel is to end sandboxes before the operator's own programs.
    fs::write("/proc/self/oom_score_adj", "200")
        .step("volunteering for the kernel's memory killer")?;
    if identity.by_root {
        sys::drop_groups().step("dropping groups")?;
    }
    let (uid, gid) = (Uid::from_raw(identity.inside_uid), Gid::from_raw(identity.inside_gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).step("taking its group")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step("taking its user")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // After the change of user, which clears it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).step("tying its life")
}

fn finish(
    plan: &Blueprint,
    filters: &[BpfProgram],
    control: BorrowedFd<'_>,
    mut notes: Vec<String>,
) -> Result<(), mounts::Broken> {
    // The trees it was built from are mounted; whoever has one open could walk out by it.
    sys::close_all_but(&[control.as_raw_fd()]);
    rustix::system::sethostname(plan.hostname.as_bytes()).step("naming the host")?;
    let doors = network(plan, &mut notes)?;
    let root = mounts::own_root().step("opening its root")?;
    plan.bounds.apply().step("setting limits")?;
    rustix::thread::set_name(init::NAME).step("taking a name")?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .step("closing its memory")?;
    lockdown::drop_capabilities().step("dropping capabilities")?;
    lockdown::restrict_files(&rules(plan)).map_err(io::Error::other).step("applying landlock")?;
    lockdown::filter_calls(filters).step("filtering system calls")?;
    let opened: Vec<_> = std::iter::once(&root).chain(&doors).map(AsFd::as_fd).collect();
    send(control, &Word::Ready(notes.join("\n")).bytes(), &opened).step("reporting")
}

/// Of the network that this process is in.
pub fn start_loopback() -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sys::loopback_up(socket.as_fd())
}

/// Starts the network that this process is in, if it is one of the sandbox's own; gives the ways out of it.
pub fn network(plan: &Blueprint, notes: &mut Vec<String>) -> Result<Vec<OwnedFd>, mounts::Broken> {
    if plan.network == Network::Host {
        return Ok(Vec::new());
    }
    start_loopback().step("starting the loopback network")?;
    if plan.network != Network::Gated {
        return Ok(Vec::new());
    }
    let (doors, note) = gate::open(plan.way);
    notes.extend(note);
    Ok(doors)
}

/// Everything in the view may be read; what is the sandbox's own may be written.
fn rules(plan: &Blueprint) -> Rules {
    let mut writable: Vec<PathBuf> =
        ["/tmp", "/run", "/var", "/proc", "/dev/shm"].iter().map(PathBuf::from).collect();
    writable.push(plan.identity.home.clone());
    writable.extend(plan.layers.iter().map(|it| Path::new("/").join(it)));
    // All of it is the sandbox's own, but what is mounted read-only.
    writable.extend(plan.image.is_some().then(|| PathBuf::from("/")));
    if let Some(it) = plan.workspace.as_ref().filter(|it| it.mode != WorkspaceMode::Ro) {
        writable.push(it.path.clone());
    }
    Rules {
        readable: vec![PathBuf::from("/")],
        writable,
        devices: vec![PathBuf::from("/dev")],
        no_tcp: false,
    }
}
