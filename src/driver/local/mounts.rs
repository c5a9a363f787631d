//! Builds the file system of a sandbox from its blueprint, inside its fresh namespaces. Runs in the
//! copy of the shim that will be its init; all paths start at the sandbox's own directory.

use std::{
    ffi::CString,
    fmt, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{lchown, symlink},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
        mount_bind, mount_change, move_mount, open_tree, unmount,
    },
};

use super::{
    blueprint::{Blueprint, Source, WorkspaceMount},
    image::LAYER,
    pieces,
    sys::{self, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY},
};
use crate::{
    base::limits::PIECES_MAX,
    driver::{ASK_PROGRAM, docker},
    model::sandbox::WorkspaceMode,
};

/// Where a sandbox has what its programs ask a person with.
pub const ASKING: &str = "/run/sandwatch";
/// Any directory that every host has: it is hidden, in this namespace only, until the root is changed.
const BORROWED: &str = "/tmp";
/// The new root, below the sandbox's directory while it is built.
const ROOT: &str = "root";
/// Where the root of a container stays, for its runtime.
pub const HELD_ROOT: &str = "/tmp/root";
/// Where the real workspace is mounted while it is layered.
const STAGE: &str = "stage";
/// The snapshot that the sandbox begins with, and files that every sandbox has of its own, in layers that lie over
/// the host's; below the sandbox's directory.
pub const BELOW: &str = "below";
pub const START: &str = "start";
pub const READ_ONLY: u64 = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
/// Directories of the sandbox's own, on disk, with the same places inside.
const OWN: [&str; 3] = ["tmp", "run", "var"];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Parts of /proc that speak of the machine rather than the sandbox: read-only.
pub const PROC_READ_ONLY: [&str; 6] = ["sys", "bus", "fs", "irq", "tty", "acpi"];
/// Parts of /proc that are hidden.
pub const PROC_HIDDEN: [&str; 6] =
    ["kcore", "keys", "timer_list", "sched_debug", "sysrq-trigger", "kallsyms"];
/// Parts of /sys that programs count processors with.
const SYS_SHOWN: [&str; 2] = ["devices/system/cpu", "devices/system/node"];

/// A step that failed: in words, and the system's error.
#[derive(Debug)]
pub struct Broken {
    what: String,
    error: io::Error,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

/// Names the step an error belongs to.
pub trait Step<T> {
    fn step(self, what: impl fmt::Display) -> Result<T, Broken>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, what: impl fmt::Display) -> Result<T, Broken> {
        self.map_err(|error| Broken { what: what.to_string(), error: error.into() })
    }
}

/// Builds everything and makes it the root; gives what a person should know of it.
pub fn build(plan: &Blueprint) -> Result<Vec<String>, Broken> {
    let notes = furnish(plan, || {
        devices()?;
        processes()?;
        machine();
        Ok(())
    })?;
    enter_root()?;
    Ok(notes)
}

/// The root of this process, to be handed to who looks at the sandbox from outside: a place, not to be read.
pub fn own_root() -> io::Result<OwnedFd> {
    place_of("/")
}

/// The root of a container.
pub fn held_root() -> io::Result<OwnedFd> {
    place_of(HELD_ROOT)
}

fn place_of(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Builds everything for a container at `HELD_ROOT`, but what its runtime mounts itself.
pub fn build_for_container(plan: &Blueprint) -> Result<Vec<String>, Broken> {
    furnish(plan, || {
        // What is a link there, which only a program of a sandbox over an image can have made, the runtime would
        // follow out of the container.
        for name in ["dev", "proc", "sys", "tmp"] {
            make_directory(&inside(name))?;
        }
        machine();
        first_place(plan).step("making a first process")
    })
}

/// Something to show a first process on. Over an image a program may have taken it away, or put something there.
fn first_place(plan: &Blueprint) -> io::Result<()> {
    let place = inside(docker::first::PATH);
    match std::fs::File::create_new(&place) {
        Ok(_) => lchown(&place, Some(plan.identity.host_uid), Some(plan.identity.host_gid)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Shows the first process of a container at its place, over whatever lies there: a link is not followed.
pub fn show_first(program: &Path, at: &str) -> Result<(), Broken> {
    let place = Path::new(HELD_ROOT).join(at.trim_start_matches('/'));
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, program, flags)
        .map_err(io::Error::from)
        .and_then(|it| show(&Source::Tree(it), &place, true))
        .step("showing the first process")
}

/// Builds what a sandbox has that has stopped, for who looks at its files: a tree that is read-only, and that goes with the
/// last descriptor of it.
pub fn build_still(plan: &Blueprint) -> Result<OwnedFd, Broken> {
    furnish(plan, || Ok(()))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, ROOT, flags).step("keeping what was built")?;
    sys::restrict_mount(tree.as_fd(), READ_ONLY, true).step("making it read-only")?;
    Ok(tree)
}

/// Builds the new root, with what only this kind of it has.
fn furnish(
    plan: &Blueprint,
    own: impl FnOnce() -> Result<(), Broken>,
) -> Result<Vec<String>, Broken> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).step("keeping mounts to itself")?;
    enter_ground(&plan.ground).step("entering its directory")?;
    if let Some(below) = &plan.below {
        place(below, BELOW).step("opening the snapshot")?;
    }
    let mut notes = match &plan.image {
        Some(image) => {
            over_image(image, plan.still)?;
            Vec::new()
        }
        None => over_host(plan)?,
    };
    own()?;
    for (path, source) in &plan.tools {
        let place = inside(path);
        make_directory(&place)?;
        show(source, &place, true).step(format!("showing {}", path.display()))?;
    }
    if let Some(asking) = &plan.asking {
        let place = inside(ASKING);
        make_directory(&place)?;
        show(&asking.directory, &place, true).step(format!("showing {ASKING}"))?;
        let program = show(&asking.program, &place.join(ASK_PROGRAM), true);
        if let Err(error) = program {
            notes.push(format!("its programs have no sandwatch to ask with: {error}"));
        }
        for (library, name) in &asking.libraries {
            show(library, &place.join(name), true).step(format!("showing {}", name.display()))?;
        }
    }
    if let Some(workspace) = &plan.workspace {
        or_left_out(show_workspace(workspace, plan.still), plan.still)?;
    }
    if plan.image.is_none() {
        restrict(Path::new(ROOT), READ_ONLY)?;
    } else {
        ["dev", "sys"].iter().try_for_each(|it| restrict(&inside(it), READ_ONLY))?;
    }
    Ok(notes)
}

/// A root of the host's directories, each with writes kept apart, and of the sandbox's own.
fn over_host(plan: &Blueprint) -> Result<Vec<String>, Broken> {
    // An inode for each piece, and for the rest of the way to what is shown.
    memory(Path::new(ROOT), &format!("size=1m,nr_inodes={},mode=755", PIECES_MAX + 4096))?;
    for (name, target) in &plan.links {
        symlink(target, inside(name)).step(format!("linking /{name}"))?;
    }
    let mut notes = Vec::new();
    for name in &plan.layers {
        notes.extend(system_layer(name, plan.still)?);
    }
    for name in OWN {
        own_directory(name, &inside(name), plan.still)?;
    }
    // It may lie in one of those.
    let home = own_directory("home", &inside(&plan.identity.home), plan.still);
    or_left_out(home, plan.still)?;
    Ok(notes)
}

/// A place below what is the sandbox's own may have been taken away by its programs, or something else been put there:
/// of what has stopped that place is left out, and all the rest is shown.
fn or_left_out(shown: Result<(), Broken>, still: bool) -> Result<(), Broken> {
    if still { Ok(()) } else { shown }
}

/// What the sandbox's own directories, which are writable, are mounted with. In one that is still nothing is made either, not
/// even a place to mount on: so from the beginning.
fn own_attributes(still: bool) -> u64 {
    if still { READ_ONLY } else { MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV }
}

/// A root that is an image as a whole, with writes kept apart.
fn over_image(image: &Source, still: bool) -> Result<(), Broken> {
    place(image, LAYER).step("opening the image")?;
    layer(LAYER, Path::new(LAYER), Path::new(ROOT), still)
        .step("layering changes over the image")?;
    let run = inside("run");
    make_directory(&run)?;
    let lower = Path::new(LAYER).join("run");
    // A link there would lead to the host's.
    if std::fs::symlink_metadata(&lower).is_ok_and(|it| it.is_dir()) {
        overlay(&[&lower], Path::new("run"), "run", &run, still).step("layering /run")?;
    } else {
        mount_bind("run", &run).step("mounting /run")?;
        restrict(&run, own_attributes(still))?;
    }
    for name in ["dev", "sys"] {
        make_directory(&inside(name))?;
        memory(&inside(name), "size=64k,mode=755")?;
    }
    Ok(())
}

/// Mounts a place in memory.
fn memory(at: &Path, options: &str) -> Result<(), Broken> {
    let plain = MountFlags::NOSUID | MountFlags::NODEV;
    CString::new(options)
        .map_err(io::Error::from)
        .and_then(|it| Ok(mount("tmpfs", at, "tmpfs", plain, it.as_c_str())?))
        .step(format!("making {}", at.display()))
}

/// Goes to the sandbox's directory by this namespace's own mounts; others can't be mounted on.
fn enter_ground(ground: &Source) -> io::Result<()> {
    match ground {
        Source::Path(path) => rustix::process::chdir(path)?,
        Source::Tree(tree) => {
            move_mount(tree, c"", CWD, BORROWED, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            rustix::process::chdir(BORROWED)?;
        }
    }
    Ok(())
}

/// A place in the new root.
fn inside(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    Path::new(ROOT).join(path.strip_prefix("/").unwrap_or(path))
}

/// Makes a place to mount on, with all on the way to it. A link there may be a program's or an image's, and would
/// lead to the host's files: it is an error.
fn make_directory(path: &Path) -> Result<(), Broken> {
    const ITSELF: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
    let way = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let open = |at: &OwnedFd, name: &std::ffi::OsStr| openat2(at, name, ITSELF, Mode::empty(), way);
    let made = || -> io::Result<()> {
        let mut at = rustix::fs::open(".", ITSELF, Mode::empty())?;
        for part in path {
            at = match open(&at, part) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&at, part, Mode::from_raw_mode(0o755))?;
                    open(&at, part)?
                }
                opened => opened?,
            };
        }
        Ok(())
    };
    let made = made().map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => io::Error::other("a link is in the way, which is not followed"),
        Some(Errno::NOTDIR) => io::Error::other("something in the way is no directory"),
        _ => error,
    });
    made.step(format!("making {}", path.display()))
}

/// Adds attributes (`MOUNT_ATTR_*`) to what is mounted at a path.
pub fn restrict(path: &Path, attributes: u64) -> Result<(), Broken> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|it| sys::restrict_mount(it.as_fd(), attributes, false))
        .step(format!("restricting {}", path.display()))
}

/// Mounts a directory of the sandbox's own, over what a snapshot and every sandbox has of it.
fn own_directory(name: &str, at: &Path, still: bool) -> Result<(), Broken> {
    make_directory(at)?;
    let (below, start) = (Path::new(BELOW).join(name), Path::new(START).join(name));
    let lower: Vec<&Path> =
        [&below, &start].into_iter().map(PathBuf::as_path).filter(|it| it.is_dir()).collect();
    if !lower.is_empty() {
        let made = overlay(&lower, Path::new(name), name, at, still);
        return made.step(format!("layering /{name}"));
    }
    mount_bind(name, at).step(format!("mounting /{name}"))?;
    restrict(at, own_attributes(still))
}

/// Mounts what the sandbox wrote over a directory of the host, with the layers between them.
fn layer(name: &str, host: &Path, at: &Path, still: bool) -> io::Result<()> {
    let below = Path::new(BELOW).join("upper").join(name);
    let start = Path::new(START).join(name);
    let between = [below, start].into_iter().filter(|it| it.is_dir());
    let lower: Vec<PathBuf> = between.chain([host.to_owned()]).collect();
    let lower: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
    overlay(&lower, &Path::new("upper").join(name), name, at, still)
}

/// Shows a top-level directory of the host with writes kept apart. Where something is mounted
/// inside it the kernel refuses to layer it as one; what should be known of it then is given.
fn system_layer(name: &str, still: bool) -> Result<Vec<String>, Broken> {
    let place = inside(name);
    make_directory(&place)?;
    let source = Path::new("/").join(name);
    if layer(name, &source, &place, still).is_ok() {
        return Ok(Vec::new());
    }
    pieces::show(name, &place, still)
}

/// Mounts an overlay of the directories `lower`, top first, whose names have no commas and colons. What nothing will be
/// written to has no layer for it: `upper` is the top one of those that are read.
fn overlay(lower: &[&Path], upper: &Path, work: &str, place: &Path, still: bool) -> io::Result<()> {
    let mut options = b"userxattr,lowerdir=".to_vec();
    for (number, lower) in still.then_some(&upper).into_iter().chain(lower).enumerate() {
        if number > 0 {
            options.push(b':');
        }
        options.extend(lower.as_os_str().as_bytes());
    }
    if !still {
        options.extend(b",upperdir=");
        options.extend(upper.as_os_str().as_bytes());
        options.extend(format!(",workdir=work/{work}").as_bytes());
    }
    let options = CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("overlay", place, "overlay", flags, options.as_c_str()).map_err(io::Error::from)
}

fn devices() -> Result<(), Broken> {
    let dev = inside("dev");
    make_directory(&dev.join("pts"))?;
    make_directory(&dev.join("shm"))?;
    for name in DEVICES {
        let place = dev.join(name);
        std::fs::File::create(&place).step(format!("making /dev/{name}"))?;
        mount_bind(Path::new("/dev").join(name), &place).step(format!("mounting /dev/{name}"))?;
    }
    for (name, target) in DEVICE_LINKS {
        symlink(target, dev.join(name)).step(format!("linking /dev/{name}"))?;
    }
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let terminals = c"newinstance,ptmxmode=0666,mode=0620";
    mount("devpts", dev.join("pts"), "devpts", flags, terminals).step("mounting /dev/pts")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", dev.join("shm"), "tmpfs", flags, c"size=256m,mode=1777")
        .step("mounting /dev/shm")
}

fn processes() -> Result<(), Broken> {
    let proc = inside("proc");
    make_directory(&proc)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", &proc, "proc", flags, c"").step("mounting /proc")?;
    for name in PROC_READ_ONLY {
        let place = proc.join(name);
        if place.is_dir() {
            mount_bind(&place, &place).step(format!("protecting /proc/{name}"))?;
            restrict(&place, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)?;
        }
    }
    for name in PROC_HIDDEN {
        let place = proc.join(name);
        if place.exists() {
            mount_bind("/dev/null", &place).step(format!("hiding /proc/{name}"))?;
        }
    }
    Ok(())
}

/// Shows the little of /sys that programs size themselves by; none of it is needed to run.
fn machine() {
    for part in SYS_SHOWN {
        let place = inside("sys").join(part);
        let source = Path::new("/sys").join(part);
        let shown = source.is_dir() && std::fs::create_dir_all(&place).is_ok();
        if shown && mount_bind(&source, &place).is_ok() {
            let attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
            if restrict(&place, attributes).is_err() {
                // Not to be left writable.
                let _ = unmount(&place, UnmountFlags::DETACH);
            }
        }
    }
}

/// Shows a directory with everything mounted inside it.
fn show(source: &Source, place: &Path, read_only: bool) -> io::Result<()> {
    let opened;
    let tree = match source {
        Source::Tree(tree) => tree,
        Source::Path(path) => {
            opened = detach(path, true)?;
            &opened
        }
    };
    let mut attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    if read_only {
        attributes |= MOUNT_ATTR_RDONLY;
    }
    sys::restrict_mount(tree.as_fd(), attributes, true)?;
    move_mount(tree, c"", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

fn show_workspace(workspace: &WorkspaceMount, still: bool) -> Result<(), Broken> {
    let place = inside(&workspace.path);
    make_directory(&place)?;
    let shown = workspace.path.display();
    match workspace.mode {
        WorkspaceMode::Rw => {
            show(&workspace.source, &place, still).step(format!("showing {shown}"))
        }
        WorkspaceMode::Ro => show(&workspace.source, &place, true).step(format!("showing {shown}")),
        WorkspaceMode::None => Ok(()),
        WorkspaceMode::Cow => {
            // Through a place of a fixed name: the workspace's own may have commas and colons.
            self::place(&workspace.source, STAGE).step(format!("opening {shown}"))?;
            layer("workspace", Path::new(STAGE), &place, still)
                .step(format!("layering changes over {shown}"))
        }
    }
}

/// Mounts a directory at one of the sandbox's own.
fn place(source: &Source, at: &str) -> io::Result<()> {
    let opened;
    let tree = match source {
        Source::Tree(tree) => tree,
        Source::Path(path) => {
            opened = detach(path, false)?;
            &opened
        }
    };
    move_mount(tree, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

/// Makes the new root the root and lets go of the old one.
fn enter_root() -> Result<(), Broken> {
    rustix::process::chdir(ROOT).step("entering the new root")?;
    rustix::process::pivot_root(".", ".").step("changing the root")?;
    unmount(".", UnmountFlags::DETACH).step("letting go of the old root")?;
    rustix::process::chdir("/").step("entering /")
}

/// Opens a directory or file as a detached copy of its mount, and of those below it if asked. By its real path
/// only: a link that has come into it since it was checked, from a sandbox that may write there, is
/// an error.
pub fn detach(path: &Path, below: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if below {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(place, c"", flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_way_to_a_directory_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        std::fs::create_dir_all(home.join("secret/inner")).unwrap();
        symlink(home.join("secret"), home.join("project")).unwrap();
        for path in ["project", "project/inner"] {
            let error = detach(&home.join(path), false).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{path}");
        }
    }
}
