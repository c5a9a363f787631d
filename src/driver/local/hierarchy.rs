//! Which control groups this host offers to this process: version 2 where it is delegated to the
//! operator or the operator is root, version 1 for root, or both at once.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::sys;

/// A version 1 hierarchy, mounted, at this process's own place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Legacy {
    controllers: BTreeSet<String>,
    own: PathBuf,
}

/// What this host offers to this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    unified: Option<(PathBuf, BTreeSet<String>)>,
    legacy: Vec<Legacy>,
}

impl Layout {
    pub fn here() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::read(&mounts, &groups)
    }

    /// From the texts of `mountinfo` and `cgroup` in a process's /proc.
    pub fn read(mounts: &str, groups: &str) -> Self {
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

    /// Where a version 2 group can be made, and the controllers it would have.
    pub fn unified(&self) -> Option<(&Path, &BTreeSet<String>)> {
        self.unified.as_ref().map(|(at, controllers)| (at.as_path(), controllers))
    }

    /// Where a version 1 group with this controller can be made.
    pub fn legacy(&self, controller: &str) -> Option<&Path> {
        let found = self.legacy.iter().find(|it| it.controllers.contains(controller));
        found.map(|it| it.own.as_path())
    }

    pub fn can_freeze(&self) -> Option<&'static str> {
        match (&self.unified, self.legacy("freezer")) {
            (Some(_), _) => Some("cgroup v2"),
            (None, Some(_)) => Some("cgroup v1 freezer"),
            (None, None) => None,
        }
    }

    /// What holds a limit of this kind, in words, for `doctor`.
    pub fn describe(&self, controller: &str) -> String {
        let unified = self.unified.as_ref().filter(|(_, it)| it.contains(controller));
        let v2 = unified.map(|(at, _)| format!("by cgroup v2 at {}", at.display()));
        let v1 = self.legacy(controller).map(|at| format!("by cgroup v1 at {}", at.display()));
        v2.or(v1).unwrap_or_else(|| "by none".to_owned())
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
