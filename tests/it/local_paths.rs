//! Hosts that differ from the one the tests run on, and what the local driver makes of them: control
//! groups of other kinds, no user namespaces, mounts that fail.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sandwatch::{
    base::fault::Kind,
    driver::{Driver, Ground, local::Local},
    model::{
        check::CheckStatus,
        sandbox::{Isolation, WorkspaceMode},
    },
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use crate::{
    given::alive,
    local_life::{groups_of, nothing_is_left},
    local_stage::{Before, Stage, exists, on_changed_stage, session, sh, soon, type_in, until},
    skip::not_on_this_host,
};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where this kind of file system is mounted, with this option.
fn mounted(kind: &str, option: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let fits = fields[2] == kind && fields[3].split(',').any(|it| it == option);
        fits.then(|| PathBuf::from(fields[1]))
    })
}

/// The groups of a sandbox below a directory.
fn groups_below(directory: &Path, ground: &Ground) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = item.path();
        if item.file_name().to_string_lossy().starts_with(&format!("sandwatch-{}", ground.id)) {
            found.push(path);
        } else if path.is_dir() {
            found.extend(groups_below(&path, ground));
        }
    }
    found
}

/// A shell that counts, paused and resumed: the group's file says so, and no line is lost. Then all
/// ways to end it while it is frozen.
async fn freezes(stage: &Stage, tree: &Path, file: &str, frozen: &str, thawed: &str) {
    for end in ["stop", "remove", "sweep"] {
        let ground = stage.ground();
        let place = stage.try_place(&ground, &stage.spec(WorkspaceMode::Cow)).await.unwrap();
        let groups = groups_below(tree, &ground);
        let [group] = &groups[..] else { panic!("{groups:?}") };
        let state = || fs::read_to_string(group.join(file)).unwrap().trim().to_owned();
        let mut shell = place.spawn(&session(&["/bin/bash", "--norc"])).await.unwrap();
        type_in(&mut shell.io, "for i in $(seq 1 200); do echo n$i; sleep 0.001; done\n").await;
        until(&mut shell.io, "n20\r").await;
        let members = fs::read_to_string(group.join("cgroup.procs")).unwrap();
        assert!(members.lines().any(|it| it.parse() == Ok(shell.pid.unwrap())), "{members}");
        place.pause().await.unwrap();
        assert_eq!(state(), frozen);
        place.resume().await.unwrap();
        assert_eq!(state(), thawed);
        until(&mut shell.io, "n200\r").await;
        place.pause().await.unwrap();
        match end {
            "stop" => {
                place.stop(Duration::from_millis(100)).await.unwrap();
                soon("its end", || !alive(shell.pid.unwrap())).await;
                place.remove().await.unwrap();
            }
            "remove" => place.remove().await.unwrap(),
            _ => Local.sweep(&ground).await.unwrap(),
        }
        soon("its end", || !alive(shell.pid.unwrap())).await;
        nothing_is_left(stage, &ground).await;
        assert_eq!(groups_below(tree, &ground), Vec::<PathBuf>::new());
    }
}

/// Control groups given to the user of the stage, as a service manager gives them; gone at the end.
struct Delegated(PathBuf);

impl Delegated {
    const HUB: &str = "hub";

    fn below(root: &Path) -> Self {
        let name = format!("sandwatch-test-{}", std::process::id());
        let it = Self(root.join(name));
        for group in [it.0.clone(), it.0.join(Self::HUB)] {
            fs::create_dir(&group).unwrap();
            for item in fs::read_dir(&group).unwrap() {
                let name = item.unwrap().file_name();
                let files = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"];
                if files.iter().any(|it| name == **it) {
                    Self::give(&group.join(name));
                }
            }
            Self::give(&group);
        }
        it
    }

    fn give(path: &Path) {
        let user = Some(crate::local_stage::USER);
        std::os::unix::fs::chown(path, user, user).unwrap();
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        drop(fs::remove_dir(self.0.join(Self::HUB)));
        drop(fs::remove_dir(&self.0));
    }
}

#[test]
fn a_tree_of_version_2_that_was_delegated_is_used_by_an_ordinary_user() {
    const NAME: &str =
        "local_paths::a_tree_of_version_2_that_was_delegated_is_used_by_an_ordinary_user";
    const TREE: &str = "SANDWATCH_TEST_TREE";
    let mut enter = String::new();
    let mut tree = None;
    if std::env::var_os(TREE).is_none() {
        let Some(root) = mounted("cgroup2", "rw").filter(|_| is_root()) else {
            return not_on_this_host("delegating control groups takes root and cgroup2");
        };
        let delegated = Delegated::below(&root);
        // What this host has of controllers; a group with processes of its own can't hand on any.
        let has = fs::read_to_string(delegated.0.join("cgroup.controllers")).unwrap();
        for controller in has.split_whitespace().filter(|it| ["cpu", "memory", "pids"].contains(it))
        {
            let control = delegated.0.join("cgroup.subtree_control");
            fs::write(control, format!("+{controller}")).unwrap();
        }
        let shown = delegated.0.display();
        enter = format!("echo $$ > {shown}/hub/cgroup.procs; export {TREE}={shown}");
        tree = Some(delegated);
    }
    on_changed_stage(NAME, Before::Root(&enter), |stage| async move {
        let tree = PathBuf::from(std::env::var(TREE).unwrap());
        let checks = Local.probe().await;
        let pause = checks.iter().find(|it| it.check == "pause").unwrap();
        assert_eq!(pause.status, CheckStatus::Ok, "{pause:?}");
        assert!(pause.detail.contains("cgroup v2"), "{pause:?}");
        freezes(&stage, &tree, "cgroup.freeze", "1", "0").await;
        let handed = fs::read_to_string(tree.join("cgroup.subtree_control")).unwrap();
        if handed.contains("memory") {
            let mut spec = stage.spec(WorkspaceMode::Cow);
            spec.limits.memory_bytes = Some(64 << 20);
            let ground = stage.ground();
            let place = stage.try_place(&ground, &spec).await.unwrap();
            assert_eq!(place.facts().notes, Vec::<String>::new());
            let groups = groups_below(&tree, &ground);
            assert_eq!(fs::read_to_string(groups[0].join("memory.max")).unwrap(), "67108864\n");
            place.remove().await.unwrap();
        }
    });
    drop(tree);
}

#[test]
fn where_there_is_only_version_1_its_freezer_pauses() {
    const NAME: &str = "local_paths::where_there_is_only_version_1_its_freezer_pauses";
    const TREE: &str = "SANDWATCH_TEST_TREE";
    let mut text = String::new();
    let mut tree = None;
    if std::env::var_os(TREE).is_none() {
        let Some(root) = mounted("cgroup", "freezer").filter(|_| is_root()) else {
            return not_on_this_host("the freezer of cgroup v1 takes root and its hierarchy");
        };
        let delegated = Delegated::below(&root);
        let shown = delegated.0.display();
        text = format!(
            "echo $$ > {shown}/hub/cgroup.procs; export {TREE}={shown}\n\
             grep ' cgroup2 ' /proc/mounts | cut -d ' ' -f 2 | while read at; do umount -l $at; done"
        );
        tree = Some(delegated);
    }
    on_changed_stage(NAME, Before::Root(&text), |stage| async move {
        let tree = PathBuf::from(std::env::var(TREE).unwrap());
        let checks = Local.probe().await;
        let pause = checks.iter().find(|it| it.check == "pause").unwrap();
        assert!(pause.detail.contains("v1 freezer"), "{pause:?}");
        freezes(&stage, &tree, "freezer.state", "FROZEN", "THAWED").await;
    });
    drop(tree);
}

/// A sandbox that is asked for without a grade, on a host that has no user namespaces for us.
async fn falls_back(stage: &Stage, why: &str) {
    let ground = stage.ground();
    let place = stage.try_place(&ground, &stage.spec(WorkspaceMode::Rw)).await.unwrap();
    let facts = place.facts();
    assert_eq!(facts.isolation, Some(Isolation::Landlock));
    assert!(!facts.capabilities.workspace_cow);
    let told = facts.notes.iter().any(|it| it.contains("no namespaces here") && it.contains(why));
    assert!(told, "{:?}", facts.notes);
    assert_eq!(sh(&place, "echo w > new && cat new").await, "w");
    let secret = format!("cat {}/secret 2>/dev/null || echo hidden", stage.home.display());
    assert_eq!(sh(&place, &secret).await, "hidden");
    place.remove().await.unwrap();
    nothing_is_left(stage, &ground).await;
    // The usual copy-on-write can't be had, and is not quietly made something else.
    let ground = stage.ground();
    let fault = stage.try_place(&ground, &stage.spec(WorkspaceMode::Cow)).await.err().unwrap();
    assert_eq!(fault.kind(), Kind::Unsupported, "{fault}");
    assert!(
        fault.hint_text().is_some_and(|it| it.contains("workspace rw") && it.contains("doctor"))
    );
    assert!(!exists(&ground.dir.join("box")));
    // Nor is the grade that was asked for by its name.
    let mut spec = stage.spec(WorkspaceMode::Rw);
    spec.isolation = Some(Isolation::Namespaces);
    let fault = stage.try_place(&stage.ground(), &spec).await.err().unwrap();
    assert_eq!(fault.kind(), Kind::Unsupported, "{fault}");
    assert!(fault.hint_text().is_some_and(|it| it.contains("landlock")));
    let checks = Local.probe().await;
    let namespaces = checks.iter().find(|it| it.check == "isolation.namespaces").unwrap();
    assert_eq!(namespaces.status, CheckStatus::Missing, "{namespaces:?}");
    assert!(namespaces.fix.is_some());
}

#[test]
fn where_user_namespaces_are_used_up_landlock_holds_instead() {
    let before = "echo 0 > /proc/sys/user/max_user_namespaces";
    on_changed_stage(
        "local_paths::where_user_namespaces_are_used_up_landlock_holds_instead",
        Before::Owner(before),
        |stage| async move { falls_back(&stage, "No space left").await },
    );
}

/// As the filters of containers do it: the newer call is unknown, the older may make no namespaces.
fn refuse_namespaces() {
    let users = SeccompCmpOp::MaskedEq(libc::CLONE_NEWUSER as u64);
    let with_users =
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, users, libc::CLONE_NEWUSER as u64)
            .unwrap();
    let rule = SeccompRule::new(vec![with_users]).unwrap();
    let refused =
        BTreeMap::from([(libc::SYS_clone, vec![rule.clone()]), (libc::SYS_unshare, vec![rule])]);
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    for (rules, errno) in [(refused, libc::EPERM), (unknown, libc::ENOSYS)] {
        let action = SeccompAction::Errno(errno as u32);
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).unwrap();
        apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
    }
}

#[test]
fn where_a_container_refuses_user_namespaces_landlock_holds_instead() {
    let name = "local_paths::where_a_container_refuses_user_namespaces_landlock_holds_instead";
    on_changed_stage(name, Before::Nothing, |stage| async move {
        refuse_namespaces();
        falls_back(&stage, "not permitted").await;
    });
}

#[test]
fn a_mount_that_fails_last_leaves_nothing_of_those_before_it() {
    // A file system layered twice can't be layered again: found out by the very last mount.
    let text = "cd \"$HOME\"; mkdir a b c d\n\
                mount -t overlay -o userxattr,lowerdir=project,upperdir=a,workdir=b none project\n\
                mount -t overlay -o userxattr,lowerdir=project,upperdir=c,workdir=d none project";
    let name = "local_paths::a_mount_that_fails_last_leaves_nothing_of_those_before_it";
    on_changed_stage(name, Before::Owner(text), |stage| async move {
        let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
        let children = || {
            let this = std::process::id();
            fs::read_to_string(format!("/proc/{this}/task/{this}/children")).unwrap()
        };
        let before = (mounts(), children());
        let ground = stage.ground();
        let fault = stage.try_place(&ground, &stage.spec(WorkspaceMode::Cow)).await.err().unwrap();
        assert!(fault.message().contains("layering changes over"), "{fault}");
        assert!(!exists(&ground.dir.join("box")), "its directory");
        assert!(!exists(&ground.dir.join(".trash")), "its trash");
        assert_eq!(groups_of(&ground), 0);
        assert_eq!((mounts(), children()), before);
        Local.sweep(&ground).await.unwrap();
        assert!(!exists(&ground.dir));
        // The same place as it is can be shown.
        let place = stage.place(&stage.spec(WorkspaceMode::Rw)).await;
        assert_eq!(sh(&place, "cat kept").await, "as it was");
        place.remove().await.unwrap();
    });
}
