//! A copy that is changed beside the real directory, brought back through the system's own `tar`.

mod strange;

use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use proptest::prelude::*;
use rustix::fs::{FlockOperation, lstat};

use super::{super::side::PIECE_BYTES, *};
use crate::{
    base::{clock, id::SandboxId},
    model::{
        change::{ChangeStatus, DiffPiece, Verdict},
        sandbox::{SandboxSpec, Workspace},
    },
};

struct World {
    _home: tempfile::TempDir,
    ground: PathBuf,
    real: PathBuf,
    copy: PathBuf,
}

impl World {
    /// A real directory, and a copy of it that was noted.
    fn new(fill: impl FnOnce(&Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap();
        let (ground, real) = (root.join("ground"), root.join("real"));
        let copy = root.join("inside/real");
        for it in [&ground.join(BOX), &real, &root.join("inside")] {
            fs::create_dir_all(it).unwrap();
        }
        fill(&real);
        let copied = Command::new("cp").arg("-a").args([&real, &copy]).status().unwrap();
        assert!(copied.success());
        begin(&ground, &real).unwrap();
        let mut sending = Sending::begin(&ground).unwrap();
        each(&real, &mut |path, below| sending.add(below, &lstat(path).unwrap()).unwrap());
        sending.finish().unwrap();
        Self { _home: home, ground, real, copy }
    }

    fn pull(&self, path: &str) {
        let of = self.copy.join(path);
        let (above, name) = (of.parent().unwrap(), of.file_name().unwrap());
        let tar = Command::new("tar").arg("-C").arg(above).arg("-c").arg(name).output().unwrap();
        let archive = of.symlink_metadata().is_ok().then_some(tar.stdout.as_slice());
        pull(&self.ground, path.as_bytes(), archive).unwrap();
    }

    fn layers(&self) -> usize {
        fs::read_dir(self.ground.join(BOX)).unwrap().count()
    }

    fn ground(&self) -> Ground {
        let id = SandboxId::random();
        Ground { id, name: "box".to_owned(), dir: self.ground.clone(), from: None }
    }

    fn kept(&self) -> Kept {
        let workspace = Workspace { path: self.real.clone(), mode: WorkspaceMode::Cow };
        Kept::Ground(self.ground(), Box::new(SandboxSpec::bare("docker", workspace)))
    }

    fn changes(&self) -> Vec<(String, ChangeStatus)> {
        let request = DiffRequest::default();
        let pieces = changes(&self.kept(), None, request, None).map(Result::unwrap);
        let files = pieces.filter_map(|it| match it {
            DiffPiece::File(it) => Some((String::from_utf8(it.path).unwrap(), it.status)),
            _ => None,
        });
        files.collect()
    }

    fn apply_pulled(&self) -> Applied {
        self.pull("");
        self.apply()
    }

    fn apply(&self) -> Applied {
        apply(&self.ground(), Timestamp(clock::wall().0 + 60_000), &ApplyRequest::default())
            .unwrap()
    }
}

fn pull(ground: &Path, name: &[u8], archive: Option<&[u8]>) -> Outcome<()> {
    let mut pulling = Pulling::begin(ground, (!name.is_empty()).then(|| vec![name.to_vec()]))?;
    pulling.take(name, archive)?;
    pulling.place()
}

/// Every path below a directory, in any order.
fn each(root: &Path, told: &mut impl FnMut(&Path, &[u8])) {
    let mut next = vec![root.to_owned()];
    while let Some(directory) = next.pop() {
        for item in fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            told(&path, path.strip_prefix(root).unwrap().as_os_str().as_encoded_bytes());
            if path.symlink_metadata().unwrap().is_dir() {
                next.push(path);
            }
        }
    }
}

fn tree(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut tree = BTreeMap::new();
    each(root, &mut |path, below| {
        let facts = path.symlink_metadata().unwrap();
        let mode = facts.permissions().mode() & 0o777;
        let what = if facts.is_symlink() {
            format!("-> {}", fs::read_link(path).unwrap().display())
        } else if facts.is_dir() {
            format!("{mode:o}/")
        } else {
            format!("{mode:o} {:?}", fs::read(path).unwrap())
        };
        tree.insert(below.to_vec(), what);
    });
    tree
}

/// Waits for what a thread does meanwhile.
pub fn eventually(what: &str, is: impl Fn() -> bool) {
    let deadline = clock::monotonic() + Duration::from_secs(60);
    while !is() {
        assert!(clock::monotonic() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn files(root: &Path) {
    fs::create_dir_all(root.join("dir/deep")).unwrap();
    for it in ["edited", "gone", "kept", "dir/a", "dir/deep/b", "retyped"] {
        fs::write(root.join(it), format!("{it}\n")).unwrap();
    }
    fs::write(root.join("long"), vec![b'x'; 3 * PIECE_BYTES]).unwrap();
    symlink("kept", root.join("link")).unwrap();
}

#[test]
fn what_was_changed_in_a_copy_is_found_and_applied() {
    let world = World::new(files);
    let at = |it: &str| world.copy.join(it);
    world.pull("");
    assert_eq!(world.changes(), []);
    fs::write(at("edited"), "anew\n").unwrap();
    fs::remove_file(at("gone")).unwrap();
    fs::remove_dir_all(at("dir/deep")).unwrap();
    let mut long = vec![b'x'; 3 * PIECE_BYTES];
    long[2 * PIECE_BYTES + 5] = b'y';
    fs::write(at("long"), &long).unwrap();
    fs::set_permissions(at("kept"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(at("link")).unwrap();
    symlink("dir", at("link")).unwrap();
    fs::remove_file(at("retyped")).unwrap();
    fs::create_dir_all(at("retyped/in")).unwrap();
    fs::write(at("retyped/in/file"), "x").unwrap();
    fs::hard_link(at("retyped/in/file"), at("other")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    world.pull("");
    let paths: Vec<_> = world.changes().into_iter().map(|it| it.0).collect();
    let expected = [
        "dir/deep/b",
        "edited",
        "empty",
        "gone",
        "kept",
        "link",
        "long",
        "other",
        "retyped",
        "retyped/in/file",
    ];
    assert_eq!(paths, expected);
    let applied = world.apply();
    assert!(applied.paths.iter().all(|it| it.verdict == Verdict::Applied), "{applied:?}");
    assert_eq!(tree(&world.real), tree(&world.copy));
    world.pull("");
    assert_eq!(world.changes(), []);
}

#[test]
fn what_the_operator_did_meanwhile_is_not_the_sandboxs_work() {
    let world = World::new(files);
    // Another size, so that no clock has to have gone on.
    fs::write(world.real.join("kept"), "by the operator\n").unwrap();
    fs::write(world.real.join("new"), "x").unwrap();
    fs::remove_file(world.real.join("gone")).unwrap();
    fs::remove_dir_all(world.real.join("dir/deep")).unwrap();
    fs::write(world.copy.join("edited"), "by the sandbox\n").unwrap();
    world.pull("");
    assert_eq!(world.changes(), [("edited".to_owned(), ChangeStatus::Modified)]);
    // Both did something: it is the sandbox's, and a conflict when applied.
    fs::write(world.copy.join("kept"), "by the sandbox too\n").unwrap();
    world.pull("");
    assert_eq!(world.changes().len(), 2);
    let since = Timestamp(clock::wall().0 - 60_000);
    assert!(apply(&world.ground(), since, &ApplyRequest::default()).unwrap().refused());
}

#[test]
fn one_path_is_brought_up_to_date() {
    let world = World::new(files);
    let at = |it: &str| world.copy.join(it);
    world.pull("");
    for (path, text) in [("edited", "1"), ("dir/deep/b", "2"), ("fresh", "3")] {
        fs::write(at(path), text).unwrap();
        world.pull(path.split('/').next().unwrap());
    }
    assert_eq!(world.changes().len(), 3);
    fs::write(at("edited"), "edited\n").unwrap();
    fs::remove_file(at("fresh")).unwrap();
    fs::remove_file(at("gone")).unwrap();
    fs::remove_dir_all(at("dir")).unwrap();
    for path in ["edited", "fresh", "gone", "dir"] {
        world.pull(path);
    }
    let paths: Vec<_> = world.changes().into_iter().map(|it| it.0).collect();
    assert_eq!(paths, ["dir/a", "dir/deep/b", "gone"]);
}

#[test]
fn what_was_applied_is_what_is_gone_on_from() {
    let world = World::new(files);
    let (at, real) = (|it: &str| world.copy.join(it), |it: &str| world.real.join(it));
    fs::write(at("edited"), "by the sandbox\n").unwrap();
    fs::write(at("new"), "new\n").unwrap();
    fs::remove_file(at("gone")).unwrap();
    world.pull("");
    world.apply();
    // From here on the operator goes on alone: nothing of that is the sandbox's.
    fs::write(real("edited"), "by the operator, after that\n").unwrap();
    fs::write(real("gone"), "there again\n").unwrap();
    world.pull("");
    assert_eq!(world.changes(), []);
    // What is removed that came with an apply is removed.
    fs::remove_file(at("new")).unwrap();
    world.pull("");
    assert_eq!(world.changes(), [("new".to_owned(), ChangeStatus::Deleted)]);
}

#[test]
fn what_was_taken_back_is_the_sandboxs_change_again() {
    let world = World::new(files);
    let (at, real) = (|it: &str| world.copy.join(it), |it: &str| world.real.join(it));
    fs::write(at("edited"), "by the sandbox\n").unwrap();
    fs::write(at("new"), "new\n").unwrap();
    fs::remove_file(at("gone")).unwrap();
    world.pull("");
    let changes = world.changes();
    assert_eq!(changes.len(), 3);
    world.apply();
    take_back(&world.ground(), false).unwrap();
    world.pull("");
    assert_eq!(world.changes(), changes);
    fs::write(real("kept"), "by the operator\n").unwrap();
    world.pull("");
    assert_eq!(world.changes(), changes);
}

#[test]
fn what_the_operator_made_in_a_directory_that_is_gone_inside_stays() {
    let world = World::new(files);
    fs::write(world.real.join("dir/deep/mine"), "by the operator\n").unwrap();
    fs::remove_dir_all(world.copy.join("dir")).unwrap();
    for path in ["", "dir"] {
        world.pull(path);
        let gone = ["dir/a", "dir/deep/b"].map(|it| (it.to_owned(), ChangeStatus::Deleted));
        assert_eq!(world.changes(), gone);
    }
    let applied = world.apply();
    assert!(applied.paths.iter().all(|it| it.verdict == Verdict::Applied), "{applied:?}");
    assert_eq!(fs::read(world.real.join("dir/deep/mine")).unwrap(), b"by the operator\n");
    assert!(!world.real.join("dir/a").exists());
}

#[test]
fn one_at_a_time_and_whoever_is_killed_leaves_the_old_or_the_new() {
    let world = World::new(files);
    let free = |how| placing::hold(&world.ground, how).is_ok();
    fs::write(world.copy.join("dir/a"), "1").unwrap();
    fs::set_permissions(world.copy.join("dir"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::write(world.copy.join("edited"), "2").unwrap();
    world.pull("");
    let before = world.changes();
    // Ended before it was placed.
    let mut pulling = Pulling::begin(&world.ground, Some(vec![b"edited".to_vec()])).unwrap();
    assert!(!free(FlockOperation::NonBlockingLockShared));
    pulling.take(b"edited", None::<&[u8]>).unwrap();
    drop(pulling);
    assert!(free(FlockOperation::NonBlockingLockShared));
    assert_eq!(world.changes(), before);
    {
        let _applying = settled(&world.ground).unwrap();
        assert!(free(FlockOperation::NonBlockingLockShared));
        assert!(!free(FlockOperation::NonBlockingLockExclusive));
    }
    // Ended while it was placed, with one name still to be moved over.
    pull(&world.ground, b"edited", None).unwrap();
    let after = world.changes();
    assert_ne!(after, before);
    let (above, ready) =
        (world.ground.join(BOX).join(ABOVE), world.ground.join(BOX).join("placing"));
    let (old, new) = (above.join(WORKSPACE), ready.join(WORKSPACE));
    fs::rename(&above, &ready).unwrap();
    fs::create_dir_all(&old).unwrap();
    fs::set_permissions(new.join("dir"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(new.join("dir"), old.join("dir")).unwrap();
    fs::write(old.join("edited"), "old").unwrap();
    drop(settled(&world.ground).unwrap());
    assert_eq!(world.changes(), after);
    eventually("the trash is emptied", || world.layers() == 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_changes_come_back_as_they_are(
        edits in prop::collection::vec((0_u8..6, prop::sample::select(
            vec!["edited", "gone", "kept", "dir", "dir/a", "dir/deep", "dir/deep/b", "new", "new/x", "link"],
        )), 1..12),
    ) {
        let world = World::new(files);
        for (what, path) in edits {
            let at = world.copy.join(path);
            let clear = |at: &Path| {
                drop(fs::remove_file(at).or_else(|_| fs::remove_dir_all(at)));
            };
            // Where something else is in the way, nothing happens.
            match what {
                0 => clear(&at),
                1 => drop(fs::write(&at, path)),
                2 => drop(fs::create_dir(&at)),
                3 => {
                    clear(&at);
                    drop(symlink("kept", &at));
                }
                4 => drop(fs::set_permissions(&at, fs::Permissions::from_mode(0o700))),
                _ => {
                    clear(&at);
                    drop(fs::create_dir(&at).and_then(|()| fs::write(at.join("x"), "y")));
                }
            }
        }
        world.pull("");
        let applied = world.apply();
        prop_assert!(applied.paths.iter().all(|it| it.verdict == Verdict::Applied), "{:?}", applied);
        prop_assert_eq!(tree(&world.real), tree(&world.copy));
    }

    #[test]
    fn through_all_rounds_only_the_sandboxs_work_is_shown(
        steps in prop::collection::vec((0_u8..9, 0_usize..4), 1..14),
    ) {
        const NAMES: [&str; 4] = ["edited", "kept", "dir/a", "fresh"];
        let world = World::new(files);
        // Of no two files the size is the same: times are told in seconds.
        let mut size = 100;
        let mut write = |at: PathBuf| {
            size += 1;
            fs::write(at, vec![b'x'; size]).unwrap();
        };
        // Whose newest state nobody has applied; and what was applied just now.
        let mut dirty = [false; 4];
        // What both had once: only of that it is work to remove it.
        let mut known = [true, true, true, false];
        let mut last: Vec<usize> = Vec::new();
        for (what, which) in steps {
            let name = NAMES[which];
            match what {
                0 | 1 => {
                    write(world.copy.join(name));
                    dirty[which] = true;
                }
                2 if fs::remove_file(world.copy.join(name)).is_ok() => dirty[which] = known[which],
                2 => {}
                3 | 4 => write(world.real.join(name)),
                5 => drop(fs::remove_file(world.real.join(name))),
                6 | 7 => {
                    let applied = world.apply_pulled();
                    let is_applied = |it: &usize| {
                        let name = NAMES[*it].as_bytes();
                        applied.paths.iter().any(|it| it.path == name && it.verdict == Verdict::Applied)
                    };
                    last = (0..4).filter(is_applied).collect();
                    for it in &last {
                        (dirty[*it], known[*it]) = (false, world.real.join(NAMES[*it]).exists());
                    }
                }
                _ => {
                    if !last.is_empty() {
                        prop_assert!(!take_back(&world.ground(), false).unwrap().refused());
                    }
                    for it in last.drain(..) {
                        let there = |root: &Path| root.join(NAMES[it]).exists();
                        // What neither has any more is nobody's work.
                        let real = there(&world.real);
                        (dirty[it], known[it]) = (real || there(&world.copy), real);
                    }
                }
            }
            if matches!(what, 3..=5) {
                last.clear();
            }
            world.pull("");
            let shown: Vec<String> = world.changes().into_iter().map(|it| it.0).collect();
            let differs = |it: &usize| {
                let read = |root: &Path| fs::read(root.join(NAMES[*it])).ok();
                dirty[*it] && read(&world.copy) != read(&world.real)
            };
            let mut expected: Vec<&str> = (0..4).filter(differs).map(|it| NAMES[it]).collect();
            expected.sort_unstable();
            prop_assert_eq!(shown, expected);
        }
    }
}
