//! Grade `landlock`: for hosts that refuse user namespaces. The programs share the host's processes
//! and network; landlock and the system call filter are all that holds them.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
};

use portable_pty::{PtySize, native_pty_system};
use rustix::{
    process::{Pid, Signal},
    pty::{OpenptFlags, ioctl_tiocgptpeer},
};
use seccompiler::BpfProgram;

use super::{
    blueprint::{self, Network},
    env, gate, init,
    lockdown::{self, ProcessBounds, Rules},
    mark::Mark,
    message::{Word, send},
    namespaces::{BOX, Held, pair, wait_for_go},
    seccomp::{self, Sockets},
    sys, tools, trust, turns,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        units::Size,
    },
    driver::{ASK_DIR, ASK_PROGRAM, Ground, docker::asking},
    model::sandbox::{SandboxSpec, WorkspaceMode},
};

/// What may be read of the host, beside its system.
const READABLE: [&str; 2] = ["/proc", "/sys/devices/system"];
/// No terminals: a rule for them is one for all of the operator's, and to open one is to read what is
/// typed there. A program has its own as its standard streams and as /dev/tty.
const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// What a person should know of a sandbox of this grade.
pub fn notes(network: Network) -> Vec<String> {
    let alone = "landlock grade: programs can't serve each other over the network";
    let alone = (network == Network::Gated).then(|| alone.to_owned());
    let all = [
        "landlock grade: programs see the host's process list and host name",
        "landlock grade: local (unix) sockets are refused; /tmp is $TMPDIR",
        "landlock grade: no new terminals can be opened (tmux, script)",
        "landlock grade: programs can look up and change modes and times of the operator's files whose names \
         they know, not their contents",
    ];
    all.map(str::to_owned).into_iter().chain(alone).collect()
}

pub struct Plan {
    pub home: PathBuf,
    rules: Rules,
    network: Network,
    bounds: ProcessBounds,
    mark: Mark,
}

pub fn plan(
    ground: &Ground,
    spec: &SandboxSpec,
    bounds: ProcessBounds,
    mark: Mark,
) -> Outcome<Plan> {
    if rustix::process::geteuid().is_root() {
        return Err(Fault::unsupported(
            "a sandbox of grade landlock for root: it would run as root",
        )
        .hint("run sandwatch as an ordinary user"));
    }
    let (mode, network) = (spec.workspace.mode, Network::of(spec));
    if mode == WorkspaceMode::Cow {
        let why = Fault::unsupported("grade landlock has no copy-on-write workspace");
        return Err(match spec.isolation {
            Some(_) => {
                why.hint("make the workspace rw, ro or none, or leave the isolation to auto")
            }
            None => why.hint(
                "make the workspace rw, ro or none; `sandwatch doctor` says how to get grade \
                 namespaces, which has one",
            ),
        });
    }
    if sys::landlock_version().is_none() {
        return Err(Fault::unsupported("a sandbox of grade landlock: this kernel has none"));
    }
    let workspace = blueprint::check_workspace(&spec.workspace, &ground.dir)?;
    let home = ground.dir.join(BOX);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home.join("tmp"))
        .map_err(|error| Fault::io(format!("preparing {}", home.display()), &error))?;
    let system = env::SYSTEM.iter().map(|it| Path::new("/").join(it));
    let mut readable: Vec<PathBuf> = system.chain(READABLE.iter().map(PathBuf::from)).collect();
    readable.extend(tools::needed(spec, workspace.as_deref())?);
    let place = ground.dir.join(ASK_DIR);
    if place.is_dir() {
        let program =
            asking::program(&place).map_err(|error| Fault::io("showing this program", &error))?;
        // By a link: in this grade it is run from where it is.
        let link = place.join(ASK_PROGRAM);
        let linked =
            fs::remove_file(&link).and_then(|()| std::os::unix::fs::symlink(&program, &link));
        linked.map_err(|error| Fault::io(format!("making {}", link.display()), &error))?;
        readable.extend([place, program]);
    }
    // The system's own list stays as it is: programs are told of another.
    trust::files(ground, None)
        .map_err(|error| Fault::io(format!("preparing {}", ground.dir.display()), &error))?;
    if network == Network::Host {
        // Where /etc/resolv.conf usually leads.
        readable.push(fs::canonicalize("/etc/resolv.conf").unwrap_or_default());
    }
    let mut writable = vec![home.clone()];
    match (workspace, mode) {
        (Some(path), WorkspaceMode::Ro) => readable.push(path),
        (Some(path), _) => writable.push(path),
        (None, _) => {}
    }
    Ok(Plan {
        home,
        rules: Rules {
            readable,
            writable,
            devices: DEVICES.iter().map(PathBuf::from).collect(),
            // Also where each connection is made for them: they make none.
            no_tcp: network != Network::Host,
        },
        network,
        bounds,
        mark,
    })
}

/// Its environment, where it differs.
pub fn env(home: &Path) -> [(String, String); 2] {
    let shown = |it: PathBuf| it.display().to_string();
    [("HOME".into(), shown(home.to_owned())), ("TMPDIR".into(), shown(home.join("tmp")))]
}

pub fn launch(plan: &Plan, group: Option<BorrowedFd<'_>>) -> Outcome<Held> {
    let filters = seccomp::filters(Sockets::without_namespaces(plan.network))?;
    let (ours, theirs) = pair()?;
    // What a program leaves behind that ends its first process comes to this one.
    rustix::process::set_child_subreaper(Some(Pid::INIT))
        .map_err(|error| Fault::io("taking in a sandbox's orphans", &error.into()))?;
    let clone = sys::clone_into(0, group);
    match clone.map_err(|error| Fault::io("starting a first process", &error))? {
        sys::Clone::Child => become_init(plan, &filters, theirs),
        sys::Clone::Parent { pid, pidfd } => {
            Ok(Held { pid, pidfd, control: ours, mark: Some(plan.mark) })
        }
    }
}

fn become_init(plan: &Plan, filters: &[BpfProgram], control: OwnedFd) -> ! {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        if let Err(error) = set_up(plan, filters, control.as_fd()) {
            drop(send(control.as_fd(), &Word::Failed(error.to_string()).bytes(), &[]));
            sys::exit_now(1);
        }
    }));
    if outcome.is_err() {
        sys::exit_now(70);
    }
    init::serve(control, Some(plan.mark))
}

fn set_up(plan: &Plan, filters: &[BpfProgram], control: BorrowedFd<'_>) -> io::Result<()> {
    sys::reset_signals();
    turns::sandbox();
    init::shed(&[control])?;
    sys::forget_start(init::NAME)?;
    if !wait_for_go(control) {
        sys::exit_now(0);
    }
    rustix::process::setsid()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // It has work to do when the shim dies, even if a program has stopped it.
    rustix::process::set_parent_process_death_signal(Some(Signal::CONT))?;
    // Orphans come back here, so that the tree below this process is the whole sandbox.
    rustix::process::set_child_subreaper(Some(Pid::INIT))?;
    rustix::process::chdir("/")?;
    fs::write("/proc/self/oom_score_adj", "200")?;
    plan.bounds.apply()?;
    plan.mark.put()?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    lockdown::drop_capabilities()?;
    lockdown::restrict_files(&plan.rules).map_err(io::Error::other)?;
    lockdown::filter_calls(filters)?;
    let (mut asked, mut note) = (None, String::new());
    if plan.network == Network::Gated {
        match sys::filter_by_asking(&seccomp::asking()) {
            Ok(it) => (asked, note) = (Some(it), gate::BY_PROXY.to_owned()),
            // By landlock and the filter there is nothing that gets out.
            Err(error) => {
                note = format!("{}: asking the kernel to hold calls: {error}", gate::CLOSED);
            }
        }
    }
    let opened: Vec<_> = asked.iter().map(AsFd::as_fd).collect();
    send(control, &Word::Ready(note).bytes(), &opened)
}

/// Opens a terminal on the host's side: the controlling side, and the program's.
pub fn terminal(size: Size) -> Outcome<(OwnedFd, OwnedFd)> {
    let fault =
        |error: &dyn std::fmt::Display| Fault::failed(format!("opening a terminal: {error}"));
    let cells = PtySize { rows: size.rows(), cols: size.cols(), pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(cells).map_err(|error| fault(&error))?;
    let raw = pair.master.as_raw_fd().ok_or_else(|| fault(&"it has no descriptor"))?;
    let outer = sys::duplicate(raw).map_err(|error| fault(&error))?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let inner = ioctl_tiocgptpeer(&outer, flags).map_err(|error| fault(&error))?;
    init::prepare_terminal(inner.as_fd(), size.cols(), size.rows())
        .map_err(|error| fault(&error))?;
    Ok((outer, inner))
}
