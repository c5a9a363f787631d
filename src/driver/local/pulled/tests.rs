//! A copy that is changed beside the real directory, brought back through the system's own `tar`.

use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
};

use proptest::prelude::*;
use rustix::fs::lstat;

use super::{super::side::PIECE_BYTES, *};
use crate::{
    base::clock,
    base::id::SandboxId,
    model::change::{ChangeStatus, DiffPiece, Verdict},
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

    fn changes(&self) -> Vec<(String, ChangeStatus)> {
        let pieces = changes(&self.ground(), DiffRequest::default()).map(Result::unwrap);
        let files = pieces.filter_map(|it| match it {
            DiffPiece::File(it) => Some((String::from_utf8(it.path).unwrap(), it.status)),
            _ => None,
        });
        files.collect()
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
fn a_hostile_archive_writes_nowhere_else() {
    let world = World::new(files);
    let outside = world.ground.join("../outside");
    fs::create_dir(&outside).unwrap();
    let archive = |lines: &[(&str, u8, &str)]| {
        let mut out = Vec::new();
        for (path, letter, text) in lines {
            let mut head = [0_u8; 512];
            head[..path.len()].copy_from_slice(path.as_bytes());
            head[100..107].copy_from_slice(b"0000755");
            head[156] = *letter;
            let link = matches!(letter, b'1' | b'2');
            let bytes = if link { 0 } else { text.len() };
            head[124..135].copy_from_slice(format!("{bytes:011o}").as_bytes());
            if link {
                head[157..157 + text.len()].copy_from_slice(text.as_bytes());
            }
            head[148..156].fill(b' ');
            let sum: u32 = head.iter().map(|it| u32::from(*it)).sum();
            head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            out.extend(head);
            if bytes > 0 {
                out.extend(text.as_bytes());
                out.resize(out.len().next_multiple_of(512), 0);
            }
        }
        out.extend([0; 1024]);
        out
    };
    let away = outside.display().to_string();
    for lines in [
        vec![("real/../../x", b'0', "x")],
        vec![("real/way", b'2', away.as_str()), ("real/way/x", b'0', "x")],
        vec![("real/hard", b'1', "real/../../ground/sent")],
        vec![("real/hard", b'1', "real/nothing")],
    ] {
        let whole = archive(&lines);
        assert!(pull(&world.ground, b"", Some(whole.as_slice())).is_err(), "{lines:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
    let half = archive(&[("real/a", b'0', "x")]);
    assert!(pull(&world.ground, b"", Some(&half[..600])).is_err());
    assert!(pull(&world.ground, b"", Some(&half[..1024])).is_err());
    // What is there after all that is what was there before.
    world.pull("");
    let before = world.changes();
    assert!(pull(&world.ground, b"", Some(&half[..600])).is_err());
    assert_eq!(world.changes(), before);
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
}
