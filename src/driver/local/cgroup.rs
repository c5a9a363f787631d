//! Control groups of one sandbox, in whatever layout this host has.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{hierarchy::Layout, pace::Pace, turns};
use crate::base::{
    clock,
    fault::{Fault, Outcome},
    id::SandboxId,
};

/// Every group of ours starts with this, so that a sweep can't touch another's.
const PREFIX: &str = "sandwatch-";
/// How long the kernel may take to confirm a freeze or to let an emptied group go.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// Limits that groups are to enforce.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wanted {
    pub cpus: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub pids: Option<u64>,
}

/// Names of files and what is to be written to them, in order.
type Files = Vec<(&'static str, String)>;

impl Wanted {
    /// By controller: what enforces it in version 2, and in version 1.
    fn files(&self) -> Vec<(&'static str, Files, Files)> {
        let mut all = Vec::new();
        if let Some(cpus) = self.cpus {
            const PERIOD_US: u64 = 100_000;
            const QUOTA_US_MIN: u64 = 1000; // the kernel's own least
            let quota = ((cpus * PERIOD_US as f64) as u64).max(QUOTA_US_MIN);
            let period = ("cpu.cfs_period_us", PERIOD_US.to_string());
            let shares = ("cpu.shares", turns::LEGACY_GROUP.to_owned());
            let legacy = vec![period, ("cpu.cfs_quota_us", quota.to_string()), shares];
            let weight = ("cpu.weight", turns::GROUP.to_owned());
            let unified = vec![("cpu.max", format!("{quota} {PERIOD_US}")), weight];
            all.push(("cpu", unified, legacy));
        }
        if let Some(bytes) = self.memory_bytes.map(|it| it.to_string()) {
            let unified = vec![("memory.max", bytes.clone()), (SWAP, "0".to_owned())];
            let legacy = vec![("memory.limit_in_bytes", bytes.clone()), (LEGACY_SWAP, bytes)];
            all.push(("memory", unified, legacy));
        }
        if let Some(pids) = self.pids {
            // Init is one of them, and not the operator's to count.
            let files = vec![("pids.max", pids.saturating_add(1).to_string())];
            all.push(("pids", files.clone(), files));
        }
        all
    }
}

/// Not there where the kernel does not count swap.
const SWAP: &str = "memory.swap.max";
const LEGACY_SWAP: &str = "memory.memsw.limit_in_bytes";

/// The groups of one sandbox.
#[derive(Debug, Default)]
pub struct Groups {
    unified: Option<PathBuf>,
    freezer: Option<PathBuf>,
    /// All of them, in the order they are made.
    all: Vec<PathBuf>,
    /// Files and what is to be written to them, in order.
    settings: Vec<(PathBuf, String)>,
}

impl Groups {
    /// Names the groups a sandbox is to have; nothing is made yet. A fresh name every time: a group
    /// that once had its processes killed is not to be entered again.
    pub fn name(layout: &Layout, id: &SandboxId, wanted: &Wanted) -> Self {
        let name = format!("{PREFIX}{id}-{}", SandboxId::random());
        let unified = layout.unified().map(|(at, has)| (at.join(&name), has));
        let legacy = |controller: &str| layout.legacy(controller).map(|it| it.join(&name));
        let mut groups = Self::default();
        if let Some((at, _)) = &unified {
            groups.unified = Some(at.clone());
            groups.all.push(at.clone());
        }
        for (controller, of_unified, of_legacy) in wanted.files() {
            let has = unified.as_ref().filter(|(_, has)| has.contains(controller));
            let found = match has {
                Some((at, _)) => Some((at.clone(), of_unified)),
                None => legacy(controller).map(|at| (at, of_legacy)),
            };
            if let Some((at, files)) = found {
                let files = files.into_iter().map(|(file, value)| (at.join(file), value));
                groups.settings.extend(files);
                groups.add(at);
            }
        }
        if unified.is_none() {
            groups.freezer = legacy("freezer");
            groups.freezer.clone().into_iter().for_each(|it| groups.add(it));
        }
        groups
    }

    /// One hierarchy may have several controllers.
    fn add(&mut self, group: PathBuf) {
        if !self.all.contains(&group) {
            self.all.push(group);
        }
    }

    pub fn paths(&self) -> &[PathBuf] {
        &self.all
    }

    /// Makes the groups, sets their limits.
    pub fn make(&self) -> Outcome<()> {
        for path in &self.all {
            fs::create_dir(path).map_err(|error| {
                Fault::io(format!("making the group {}", path.display()), &error)
            })?;
        }
        for (file, value) in &self.settings {
            let swap = file.ends_with(SWAP) || file.ends_with(LEGACY_SWAP);
            if swap && !file.exists() {
                continue;
            }
            fs::write(file, value).map_err(|error| {
                Fault::io(format!("setting {} to {value}", file.display()), &error)
            })?;
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
        confirm(CONFIRM_WITHIN, || fs::read_to_string(&proof).is_ok_and(|it| it.contains(expected)))
            .await
            .map_err(|()| Fault::late(format!("waiting for {expected} in {}", proof.display())))
    }

    /// How many processes the kernel ended in it because its memory was used up; `None` = it does not count them.
    pub fn starved(&self) -> Option<u64> {
        const COUNTS: [&str; 2] = ["memory.events", "memory.oom_control"];
        let all = self.all.iter().flat_map(|at| COUNTS.map(|file| at.join(file)));
        let mut told = all.filter_map(|it| fs::read_to_string(it).ok());
        told.find_map(|it| {
            it.lines().find_map(|it| it.strip_prefix("oom_kill ")?.trim().parse().ok())
        })
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

/// Ends what is in the groups of a dead sandbox and removes them; only ever ours. One that does not go
/// keeps no other; the first fault is the one to tell.
pub async fn remove(paths: &[PathBuf]) -> Outcome<()> {
    remove_within(paths, CONFIRM_WITHIN).await
}

async fn remove_within(paths: &[PathBuf], within: Duration) -> Outcome<()> {
    let mut outcome = Ok(());
    for path in paths {
        let Some(name) = path.file_name().and_then(|it| it.to_str()) else { continue };
        if !name.starts_with(PREFIX) {
            continue;
        }
        let gone = confirm(within, || match fs::remove_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                end_members(path, name);
                false
            }
            _ => true,
        });
        let gone = gone.await;
        outcome = outcome
            .and(gone.map_err(|()| Fault::late(format!("removing the group {}", path.display()))));
    }
    outcome
}

fn end_members(group: &Path, name: &str) {
    let state = group.join("freezer.state");
    if state.exists() {
        // Without the thaw the kill waits for ever.
        drop(fs::write(state, "THAWED"));
    }
    // Version 2 kills them all itself. Its name is never used again: what is born in such a group later
    // may be killed too.
    let kill = group.join("cgroup.kill");
    if kill.exists() && fs::write(kill, "1").is_ok() {
        return;
    }
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|it| Pid::from_raw(it.parse().ok()?)) {
        let Ok(itself) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // Its number may be another's since it was listed.
        if is_member(pid, name) {
            let _ = pidfd_send_signal(&itself, Signal::KILL);
        }
    }
}

fn is_member(pid: Pid, name: &str) -> bool {
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()));
    groups.unwrap_or_default().lines().any(|it| it.rsplit('/').next() == Some(name))
}

/// Asks again, ever more slowly, until it is so or too late.
async fn confirm(within: Duration, mut is_so: impl FnMut() -> bool) -> Result<(), ()> {
    let from = clock::monotonic();
    let mut pace = Pace::default();
    while !is_so() {
        if clock::monotonic().saturating_sub(from) > within {
            return Err(());
        }
        tokio::time::sleep(pace.next()).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like the control groups of a host, as far as files go.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// A group with these files.
        fn group(&self, path: &str, files: &[(&str, &str)]) -> PathBuf {
            let at = self.0.path().join(path);
            fs::create_dir_all(&at).unwrap();
            for (name, text) in files {
                fs::write(at.join(name), text).unwrap();
            }
            at
        }

        /// `kind options` of what is mounted at each place, and the groups of this process.
        fn layout(&self, mounts: &[(&str, &str)], groups: &str) -> Layout {
            let line = |(at, what): &(&str, &str)| {
                let (kind, options) = what.split_once(' ').unwrap();
                let at = self.0.path().join(at);
                format!("30 1 0:26 / {} rw - {kind} {kind} {options}\n", at.display())
            };
            Layout::read(&mounts.iter().map(line).collect::<String>(), groups)
        }
    }

    const ALL: Wanted = Wanted { cpus: Some(1.5), memory_bytes: Some(1 << 26), pids: Some(20) };

    fn read(group: &Path, file: &str) -> String {
        fs::read_to_string(group.join(file)).unwrap_or_default()
    }

    #[test]
    fn a_delegated_tree_of_version_2_limits_everything() {
        let host = Host::new();
        // Controllers are given to the groups beside the hub's own: that one may have none below.
        host.group("user", &[("cgroup.procs", ""), ("cgroup.subtree_control", "cpu memory pids")]);
        host.group("user/hub", &[("cgroup.procs", "1"), ("cgroup.subtree_control", "")]);
        let layout = host.layout(&[("", "cgroup2 rw")], "0::/user/hub\n");
        assert!(["cpu", "memory", "pids"].iter().all(|it| layout.has(it)));
        assert_eq!(layout.can_freeze(), Some("cgroup v2"));
        let groups = Groups::name(&layout, &SandboxId::random(), &ALL);
        let [group] = groups.paths() else { panic!("{groups:?}") };
        assert_eq!(group.parent(), Some(&*host.0.path().join("user")));
        groups.make().unwrap();
        assert_eq!(read(group, "cpu.max"), "150000 100000");
        assert_eq!(read(group, "cpu.weight"), "11");
        assert_eq!(read(group, "memory.max"), "67108864");
        assert_eq!(read(group, "pids.max"), "21");
        assert!(groups.door().unwrap().is_some());
    }

    #[test]
    fn what_version_2_lacks_version_1_limits() {
        let host = Host::new();
        host.group("v2", &[("cgroup.procs", ""), ("cgroup.subtree_control", "hugetlb")]);
        host.group("cpu,cpuacct/a", &[]);
        host.group("memory", &[]);
        let mounts = [
            ("v2", "cgroup2 rw"),
            ("cpu,cpuacct", "cgroup rw,cpu,cpuacct"),
            ("memory", "cgroup rw,memory"),
        ];
        let layout = host.layout(&mounts, "4:memory:/\n3:cpu,cpuacct:/a\n2:pids:/\n0::/\n");
        assert!(layout.has("cpu") && layout.has("memory") && !layout.has("pids"));
        let wanted = Wanted { pids: None, ..ALL };
        let groups = Groups::name(&layout, &SandboxId::random(), &wanted);
        let [_, cpu, memory] = groups.paths() else { panic!("{groups:?}") };
        groups.make().unwrap();
        assert!(cpu.starts_with(host.0.path().join("cpu,cpuacct/a")), "{cpu:?}");
        assert_eq!(read(cpu, "cpu.cfs_quota_us"), "150000");
        assert_eq!(read(cpu, "cpu.shares"), "112");
        assert_eq!(read(memory, "memory.limit_in_bytes"), "67108864");
    }

    #[tokio::test]
    async fn version_1_alone_freezes_by_its_freezer() {
        let host = Host::new();
        host.group("freezer", &[]);
        let layout = host.layout(&[("freezer", "cgroup rw,freezer")], "6:freezer:/\n");
        assert_eq!(layout.can_freeze(), Some("cgroup v1 freezer"));
        let groups = Groups::name(&layout, &SandboxId::random(), &Wanted::default());
        groups.make().unwrap();
        assert!(groups.door().unwrap().is_none());
        let [group] = groups.paths() else { panic!("{groups:?}") };
        groups.freeze(true).await.unwrap();
        assert_eq!(read(group, "freezer.state"), "FROZEN");
        groups.let_die();
        assert_eq!(read(group, "freezer.state"), "THAWED");
    }

    #[test]
    fn a_tree_that_is_not_ours_offers_nothing() {
        let host = Host::new();
        // As in a container whose groups are read-only: there is no file to move processes by.
        host.group("v2", &[("cgroup.subtree_control", "cpu memory pids")]);
        let layout = host.layout(&[("v2", "cgroup2 rw")], "0::/\n");
        assert_eq!(layout, Layout::default());
        assert_eq!(layout.describe("pids"), "by none");
        assert!(Groups::name(&layout, &SandboxId::random(), &ALL).paths().is_empty());
    }

    #[test]
    fn only_members_are_ended() {
        let host = Host::new();
        let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        // As when a number on the list has gone to another since.
        let group = host.group("sandwatch-a-b", &[("cgroup.procs", &format!("{}\n", other.id()))]);
        end_members(&group, "sandwatch-a-b");
        assert_eq!(other.try_wait().unwrap(), None);
        let pid = Pid::from_child(&other);
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", other.id())).unwrap();
        let own = groups.lines().next().and_then(|it| it.rsplit('/').next()).unwrap();
        assert!(is_member(pid, own) && !is_member(pid, "sandwatch-a-b"));
        end_members(&group, own);
        assert!(!other.wait().unwrap().success());
        host.group("sandwatch-a-b", &[("cgroup.kill", "")]);
        end_members(&group, "sandwatch-a-b");
        assert_eq!(read(&group, "cgroup.kill"), "1");
    }

    #[tokio::test]
    async fn a_group_that_stays_keeps_no_other() {
        let host = Host::new();
        let stays = host.group("sandwatch-a", &[("cgroup.procs", "")]);
        let goes = host.group("sandwatch-b", &[]);
        remove_within(&[stays.clone(), goes.clone()], Duration::ZERO).await.unwrap_err();
        assert!(stays.exists() && !goes.exists());
    }
}
