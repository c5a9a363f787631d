//! Control groups of one sandbox, in whatever layout this host has: version 2 where it is delegated
//! to the operator or the operator is root, version 1 for root, or both at once.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    process::Pid,
};

use super::sys;
use crate::base::{
    clock,
    fault::{Fault, Outcome},
    id::SandboxId,
};

/// Every group of ours starts with this, so that a sweep can't touch another's.
const PREFIX: &str = "sandwatch-";
/// How long the kernel may take to confirm a freeze or to let an emptied group go.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// A version 1 hierarchy, mounted, at this process's own place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Legacy {
    controllers: BTreeSet<String>,
    own: PathBuf,
}

/// What this host offers to this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Where a version 2 group can be made, and the controllers it would have.
    unified: Option<(PathBuf, BTreeSet<String>)>,
    legacy: Vec<Legacy>,
}

impl Layout {
    pub fn here() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::read(&mounts, &groups)
    }

    fn read(mounts: &str, groups: &str) -> Self {
        let mut layout = Self::default();
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(names), Some(own)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if names.is_empty() {
                layout.unified = mount_point(mounts, "cgroup2", None)
                    .and_then(|(mount, root)| place(&mount, &root, own).map(|it| (mount, it)))
                    .and_then(|(mount, own)| best_unified(&mount, &own));
                continue;
            }
            let controllers: BTreeSet<String> = names.split(',').map(str::to_owned).collect();
            let Some(first) = controllers.first().filter(|it| !it.starts_with("name=")) else {
                continue;
            };
            let own = mount_point(mounts, "cgroup", Some(first))
                .and_then(|(mount, root)| place(&mount, &root, own));
            if let Some(own) = own.filter(|it| writable(it)) {
                layout.legacy.push(Legacy { controllers, own });
            }
        }
        layout
    }

    /// Whether a limit of this kind can be enforced for the whole sandbox.
    pub fn has(&self, controller: &str) -> bool {
        self.unified.as_ref().is_some_and(|(_, it)| it.contains(controller))
            || self.legacy(controller).is_some()
    }

    fn legacy(&self, controller: &str) -> Option<&Legacy> {
        self.legacy.iter().find(|it| it.controllers.contains(controller))
    }

    pub fn can_freeze(&self) -> Option<&'static str> {
        match (&self.unified, self.legacy("freezer")) {
            (Some(_), _) => Some("cgroup v2"),
            (None, Some(_)) => Some("cgroup v1 freezer"),
            (None, None) => None,
        }
    }

    /// In words, for `doctor`.
    pub fn describe(&self) -> String {
        let unified = self.unified.as_ref().map(|(at, controllers)| {
            let list: Vec<&str> = controllers.iter().map(String::as_str).collect();
            let with = if list.is_empty() { "none".to_owned() } else { list.join(" ") };
            format!("v2 at {} (controllers: {with})", at.display())
        });
        let legacy: Vec<&str> =
            self.legacy.iter().flat_map(|it| it.controllers.iter().map(String::as_str)).collect();
        let legacy = (!legacy.is_empty()).then(|| format!("v1: {}", legacy.join(" ")));
        let parts: Vec<String> = unified.into_iter().chain(legacy).collect();
        if parts.is_empty() { "none is writable".to_owned() } else { parts.join("; ") }
    }
}

/// Where a hierarchy is mounted, and which part of it.
fn mount_point(mounts: &str, kind: &str, controller: Option<&str>) -> Option<(PathBuf, String)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let fits = right.next()? == kind
            && controller.is_none_or(|wanted| {
                right.nth(1).is_some_and(|options| options.split(',').any(|it| it == wanted))
            });
        fits.then(|| (PathBuf::from(point), root.to_owned()))
    })
}

fn place(mount: &Path, root: &str, own: &str) -> Option<PathBuf> {
    let inner = if root == "/" { own } else { own.strip_prefix(root)? };
    let inner = inner.trim_start_matches('/');
    (!inner.starts_with("..")).then(|| mount.join(inner))
}

fn writable(directory: &Path) -> bool {
    let Ok(path) = CString::new(directory.as_os_str().as_bytes()) else { return false };
    sys::may(&path, libc::W_OK)
}

/// Of this process's group and those above it that may be written: the one whose children get the
/// most controllers, the nearest on a tie.
fn best_unified(mount: &Path, own: &Path) -> Option<(PathBuf, BTreeSet<String>)> {
    let mut best: Option<(PathBuf, BTreeSet<String>)> = None;
    for at in own.ancestors().take_while(|it| it.starts_with(mount)) {
        // To move a process in, the group it leaves and the common parent must be writable too.
        if !writable(at) || !writable(&at.join("cgroup.procs")) {
            break;
        }
        let text = fs::read_to_string(at.join("cgroup.subtree_control")).unwrap_or_default();
        let controllers: BTreeSet<String> = text.split_whitespace().map(str::to_owned).collect();
        let wanted = |it: &BTreeSet<String>| {
            ["cpu", "memory", "pids"].iter().filter(|name| it.contains(**name)).count()
        };
        if best.as_ref().is_none_or(|(_, it)| wanted(&controllers) > wanted(it)) {
            best = Some((at.to_owned(), controllers));
        }
    }
    best
}

/// Limits that groups are to enforce.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wanted {
    pub cpus: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub pids: Option<u64>,
}

/// The groups of one sandbox.
#[derive(Debug, Default)]
pub struct Groups {
    unified: Option<PathBuf>,
    freezer: Option<PathBuf>,
    /// All of them, in the order they were made.
    all: Vec<PathBuf>,
}

impl Groups {
    /// Names the groups a sandbox is to have; nothing is made yet. A fresh name every time: a group
    /// that once had its processes killed is not to be entered again.
    pub fn name(layout: &Layout, id: &SandboxId, wanted: &Wanted) -> Self {
        let name = format!("{PREFIX}{id}-{}", SandboxId::random());
        let mut groups = Self::default();
        if let Some((at, _)) = &layout.unified {
            groups.unified = Some(at.join(&name));
            groups.all.push(at.join(&name));
        }
        let unified = |it: &str| layout.unified.as_ref().is_some_and(|(_, has)| has.contains(it));
        let mut legacy = |controller: &str| {
            let at = layout.legacy(controller).map(|it| it.own.join(&name));
            if let Some(at) = at.clone().filter(|it| !groups.all.contains(it)) {
                groups.all.push(at);
            }
            at
        };
        let limits = [
            ("cpu", wanted.cpus.is_some()),
            ("memory", wanted.memory_bytes.is_some()),
            ("pids", wanted.pids.is_some()),
        ];
        for (controller, _) in limits.iter().filter(|(it, wanted)| *wanted && !unified(it)) {
            legacy(controller);
        }
        let freezer = layout.unified.is_none().then(|| legacy("freezer")).flatten();
        groups.freezer = freezer;
        groups
    }

    pub fn paths(&self) -> &[PathBuf] {
        &self.all
    }

    /// Makes the groups, sets their limits.
    pub fn make(&self, wanted: &Wanted) -> Outcome<()> {
        for path in &self.all {
            fs::create_dir(path).map_err(|error| {
                Fault::io(format!("making the group {}", path.display()), &error)
            })?;
        }
        let limit = |name: &str, value: String| {
            let found = self.all.iter().map(|it| it.join(name)).find(|it| it.exists());
            let Some(file) = found else { return Ok(false) };
            fs::write(&file, &value).map(|()| true).map_err(|error| {
                Fault::io(format!("setting {} to {value}", file.display()), &error)
            })
        };
        if let Some(cpus) = wanted.cpus {
            const PERIOD_US: u64 = 100_000;
            const QUOTA_US_MIN: u64 = 1000; // the kernel's own least
            let quota = ((cpus * PERIOD_US as f64) as u64).max(QUOTA_US_MIN);
            if !limit("cpu.max", format!("{quota} {PERIOD_US}"))? {
                limit("cpu.cfs_period_us", PERIOD_US.to_string())?;
                limit("cpu.cfs_quota_us", quota.to_string())?;
            }
        }
        if let Some(bytes) = wanted.memory_bytes {
            if limit("memory.max", bytes.to_string())? {
                limit("memory.swap.max", "0".to_owned())?;
            } else {
                limit("memory.limit_in_bytes", bytes.to_string())?;
                limit("memory.memsw.limit_in_bytes", bytes.to_string())?;
            }
        }
        if let Some(pids) = wanted.pids {
            // Init is one of them, and not the operator's to count.
            limit("pids.max", (pids + 1).to_string())?;
        }
        Ok(())
    }

    /// The group of version 2, for a process to be cloned into.
    pub fn door(&self) -> Outcome<Option<OwnedFd>> {
        let Some(path) = &self.unified else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map(Some)
            .map_err(|error| Fault::io(format!("opening {}", path.display()), &error.into()))
    }

    /// Moves a process that came through the door into the other groups.
    pub fn admit(&self, pid: Pid) -> Outcome<()> {
        for path in self.all.iter().filter(|it| Some(*it) != self.unified.as_ref()) {
            fs::write(path.join("cgroup.procs"), pid.as_raw_nonzero().to_string()).map_err(
                |error| Fault::io(format!("entering the group {}", path.display()), &error),
            )?;
        }
        Ok(())
    }

    pub fn can_freeze(&self) -> bool {
        self.unified.is_some() || self.freezer.is_some()
    }

    /// Freezes or thaws everything, and waits until it is so.
    pub async fn freeze(&self, frozen: bool) -> Outcome<()> {
        let (file, value, proof, expected) = if let Some(at) = &self.unified {
            let value = if frozen { "1" } else { "0" };
            let expected = if frozen { "frozen 1" } else { "frozen 0" };
            (at.join("cgroup.freeze"), value, at.join("cgroup.events"), expected)
        } else if let Some(at) = &self.freezer {
            let value = if frozen { "FROZEN" } else { "THAWED" };
            (at.join("freezer.state"), value, at.join("freezer.state"), value)
        } else {
            return Err(Fault::bug("freezing a sandbox without a group to freeze"));
        };
        fs::write(&file, value)
            .map_err(|error| Fault::io(format!("writing {value} to {}", file.display()), &error))?;
        confirm(|| fs::read_to_string(&proof).is_ok_and(|it| it.contains(expected)))
            .await
            .map_err(|()| Fault::late(format!("waiting for {expected} in {}", proof.display())))
    }

    /// Version 1 delivers no kill to the frozen.
    pub fn let_die(&self) {
        if let Some(at) = &self.freezer {
            // Gone already is fine.
            drop(fs::write(at.join("freezer.state"), "THAWED"));
        }
    }

    pub async fn remove(&self) -> Outcome<()> {
        remove(&self.all).await
    }
}

/// Ends what is in the groups of a dead sandbox and removes them; only ever ours.
pub async fn remove(paths: &[PathBuf]) -> Outcome<()> {
    let ours = |it: &&PathBuf| {
        it.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
    };
    for path in paths.iter().filter(ours) {
        let gone = confirm(|| match fs::remove_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                end_members(path);
                false
            }
            _ => true,
        });
        gone.await.map_err(|()| Fault::late(format!("removing the group {}", path.display())))?;
    }
    Ok(())
}

fn end_members(group: &Path) {
    let state = group.join("freezer.state");
    if state.exists() {
        // Without the thaw the kill waits for ever.
        drop(fs::write(state, "THAWED"));
    }
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|it| Pid::from_raw(it.parse().ok()?)) {
        // It may be gone between the two lines.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Asks again, ever more slowly, until it is so or too late.
async fn confirm(mut is_so: impl FnMut() -> bool) -> Result<(), ()> {
    let from = clock::monotonic();
    let mut wait = Duration::from_micros(100);
    while !is_so() {
        if clock::monotonic().saturating_sub(from) > CONFIRM_WITHIN {
            return Err(());
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_millis(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hierarchy_is_found_where_it_is_mounted() {
        let mounts = "30 1 0:26 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n\
                      31 1 0:27 /a /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct";
        let (at, root) = mount_point(mounts, "cgroup2", None).unwrap();
        assert_eq!((at.to_str().unwrap(), root.as_str()), ("/sys/fs/cgroup/unified", "/"));
        let (at, root) = mount_point(mounts, "cgroup", Some("cpuacct")).unwrap();
        assert_eq!(place(&at, &root, "/a/b").unwrap(), Path::new("/sys/fs/cgroup/cpu/b"));
        assert_eq!(mount_point(mounts, "cgroup", Some("memory")), None);
        assert_eq!(place(&at, "/other", "/a/b"), None);
    }
}
