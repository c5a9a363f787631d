//! Applying an upper layer that was made by hand, cut short at every step.

use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt, symlink},
    panic::{AssertUnwindSafe, catch_unwind},
};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

use super::{
    write::{STAGE, Step},
    *,
};
use crate::{
    driver::local::changes,
    model::{change::ChangeStatus, hunk::Part},
};

/// In memory where that can hold what an overlay writes: every apply waits for its disk.
fn quick() -> tempfile::TempDir {
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let fits = setxattr(home.path(), c"user.overlay.opaque", b"y", XattrFlags::empty());
    if fits.is_ok() { home } else { tempfile::tempdir().unwrap() }
}

type Tree = BTreeMap<String, String>;

struct World {
    home: tempfile::TempDir,
    since: Timestamp,
}

impl World {
    /// A workspace with one of everything, and an upper layer that changes all of it.
    fn new() -> Self {
        let home = quick();
        let home_path = home.path().canonicalize().unwrap();
        fs::create_dir_all(home_path.join("base/dir/deep")).unwrap();
        fs::create_dir_all(home_path.join("ground/box/upper/workspace")).unwrap();
        changes::remember(&home_path.join("ground"), &home_path.join("base")).unwrap();
        let world = Self { home, since: Timestamp(0) };
        for name in ["edited", "gone", "kept", "retyped", "dir/deep/a", "dir/b"] {
            world.write(&format!("base/{name}"), &format!("{name} as it was\n"));
        }
        symlink("kept", world.path("base/link")).unwrap();
        // Everything was there before the sandbox was.
        let now = clock::wall();
        Self { since: Timestamp(now.0 + 1000), ..world }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.home.path().canonicalize().unwrap().join(path)
    }

    fn ground(&self) -> Ground {
        let id = crate::base::id::SandboxId::random();
        Ground { id, name: "world".to_owned(), dir: self.path("ground"), from: None }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn upper(&self, path: &str, text: &str) {
        self.write(&format!("ground/box/upper/workspace/{path}"), text);
    }

    fn whiteout(&self, path: &str) {
        let path = self.path("ground/box/upper/workspace").join(path);
        mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    fn change(&self) {
        self.upper("edited", "edited anew\n");
        self.upper("new/file", "new\n");
        self.upper("dir/c", "c\n");
        self.upper("retyped/file", "now in a directory\n");
        let upper = self.path("ground/box/upper/workspace");
        setxattr(upper.join("dir"), c"user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        symlink("edited", upper.join("link")).unwrap();
        fs::set_permissions(upper.join("dir/c"), fs::Permissions::from_mode(0o750)).unwrap();
        self.whiteout("gone");
    }

    /// The real directory: paths with what is there.
    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        let base = self.path("base");
        let mut next = vec![base.clone()];
        while let Some(directory) = next.pop() {
            for item in fs::read_dir(directory).unwrap() {
                let path = item.unwrap().path();
                let facts = fs::symlink_metadata(&path).unwrap();
                let mode = facts.permissions().mode() & 0o777;
                let what = if facts.is_symlink() {
                    format!("-> {}", fs::read_link(&path).unwrap().display())
                } else if facts.is_dir() {
                    next.push(path.clone());
                    format!("{mode:o}/")
                } else {
                    format!("{mode:o} {}", fs::read_to_string(&path).unwrap())
                };
                tree.insert(path.strip_prefix(&base).unwrap().display().to_string(), what);
            }
        }
        tree
    }

    fn apply(&self, request: &ApplyRequest) -> Outcome<Applied> {
        apply(&self.ground(), self.since, request)
    }

    fn undo(&self) -> Outcome<Applied> {
        undo(&self.ground(), false)
    }
}

fn all() -> ApplyRequest {
    ApplyRequest::default()
}

fn verdicts(applied: &Applied) -> Vec<(String, Verdict)> {
    let path = |it: &AppliedPath| String::from_utf8_lossy(&it.path).into_owned();
    applied.paths.iter().map(|it| (path(it), it.verdict)).collect()
}

#[test]
fn everything_is_applied_and_can_be_taken_back() {
    let world = World::new();
    let before = world.tree();
    world.change();
    let applied = world.apply(&all()).unwrap();
    assert!(applied.paths.iter().all(|it| it.verdict == Verdict::Applied), "{applied:?}");
    let after = world.tree();
    let expected = [
        ("dir", "755/"),
        ("dir/c", "750 c\n"),
        ("edited", "644 edited anew\n"),
        ("kept", "644 kept as it was\n"),
        ("link", "-> edited"),
        ("new", "755/"),
        ("new/file", "644 new\n"),
        ("retyped", "755/"),
        ("retyped/file", "644 now in a directory\n"),
    ];
    assert_eq!(after, expected.map(|(path, what)| (path.to_owned(), what.to_owned())).into());
    // What is there already is not written again, and so nothing more can be taken back.
    assert_eq!(world.apply(&all()).unwrap(), Applied::default());
    let undone = world.undo().unwrap();
    assert!(!undone.refused());
    assert_eq!(world.tree(), before);
    assert!(world.undo().is_err());
    // And once more, though all that was restored is younger than the changes.
    assert!(!world.apply(&all()).unwrap().refused());
    assert_eq!(world.tree(), after);
}

#[test]
fn several_times_are_taken_back_one_after_the_other() {
    let world = World::new();
    let mut before = Vec::new();
    for text in ["one\n", "two\n", "three\n"] {
        before.push(world.tree());
        world.upper("edited", text);
        world.upper(text.trim(), text);
        assert!(!world.apply(&all()).unwrap().refused());
    }
    while let Some(before) = before.pop() {
        assert!(!world.undo().unwrap().refused());
        assert_eq!(world.tree(), before);
    }
}

#[test]
fn what_changed_meanwhile_is_refused_and_nothing_is_written() {
    let world = World { since: Timestamp(clock::wall().0 - 60_000), ..World::new() };
    world.change();
    let before = world.tree();
    let applied = world.apply(&all()).unwrap();
    assert!(applied.refused());
    let conflicts: Vec<_> = applied.paths.iter().map(|it| it.path.as_slice()).collect();
    let expected = [&b"dir/b"[..], b"dir/deep/a", b"edited", b"gone", b"link", b"retyped"];
    assert_eq!(conflicts, expected);
    assert_eq!(world.tree(), before);
    let one = ApplyRequest { paths: vec![b"new".to_vec()], ..all() };
    assert_eq!(verdicts(&world.apply(&one).unwrap()).len(), 2);
    let overwrite = ApplyRequest { overwrite: true, ..all() };
    assert!(!world.apply(&overwrite).unwrap().refused());
    // Edited after it was applied: neither side is lost.
    world.write("base/edited", "by hand\n");
    let refused = world.undo().unwrap();
    assert_eq!(verdicts(&refused), [("edited".to_owned(), Verdict::Conflict)]);
    world.upper("edited", "by the sandbox again\n");
    assert_eq!(verdicts(&world.apply(&all()).unwrap()), [("edited".to_owned(), Verdict::Conflict)]);
    assert_eq!(world.tree()["edited"], "644 by hand\n");
}

fn part(path: &str, hunks: &'static str) -> ApplyRequest {
    let part = Part { path: path.into(), hunks: hunks.into() };
    ApplyRequest { parts: vec![part], ..all() }
}

const FIRST: &str = "@@ -1,3 +1,3 @@\n-a\n+A\n b\n c\n";

#[test]
fn some_hunks_are_applied_the_others_later_and_taken_back_one_by_one() {
    let world = World::new();
    world.write("base/edited", "a\nb\nc\nd\ne\n");
    // There before the sandbox was.
    let world = World { since: Timestamp(clock::wall().0 + 1000), ..world };
    world.upper("edited", "A\nb\nc\nd\nE\n");
    world.upper("other", "x");
    let before = world.tree();
    let applied = world.apply(&part("edited", FIRST)).unwrap();
    assert_eq!(verdicts(&applied), [("edited".to_owned(), Verdict::Applied)]);
    assert_eq!(world.tree()["edited"], "644 A\nb\nc\nd\ne\n");
    assert!(!world.tree().contains_key("other"));
    // Again is nothing to do; and what was left by it is no conflict for the rest.
    assert!(world.apply(&part("edited", FIRST)).unwrap().paths.is_empty());
    assert!(!world.apply(&all()).unwrap().refused());
    assert_eq!(world.tree()["edited"], "644 A\nb\nc\nd\nE\n");
    world.undo().unwrap();
    assert_eq!(world.tree()["edited"], "644 A\nb\nc\nd\ne\n");
    world.undo().unwrap();
    assert_eq!(world.tree(), before);
}

const SECOND: &str = "@@ -3,3 +3,3 @@\n c\n d\n-e\n+E\n";

#[test]
fn what_others_wrote_stays_theirs_when_it_is_taken_back() {
    let by_hand = "by hand\na\nb\nc\nd\ne\n";
    let conflict = [("edited".to_owned(), Verdict::Conflict)];
    let whole = ApplyRequest { paths: vec![b"edited".to_vec()], ..all() };
    let overwrite = ApplyRequest { overwrite: true, ..whole.clone() };
    let first_ways: [&[ApplyRequest]; 4] = [
        &[part("edited", FIRST)],
        std::slice::from_ref(&overwrite),
        &[part("edited", FIRST), part("edited", SECOND)],
        &[part("edited", SECOND), overwrite.clone()],
    ];
    for ways in first_ways {
        let world = World { since: Timestamp(clock::wall().0 - 60_000), ..World::new() };
        world.upper("edited", "A\nb\nc\nd\nE\n");
        world.write("base/edited", by_hand);
        for way in ways {
            assert!(!world.apply(way).unwrap().refused(), "{way:?}");
        }
        for _ in ways {
            assert!(!world.undo().unwrap().refused(), "{ways:?}");
        }
        assert_eq!(world.tree()["edited"], format!("644 {by_hand}"));
        assert_eq!(verdicts(&world.apply(&whole).unwrap()), conflict, "{ways:?}");
        // Again, and over what was put back: what is taken back then is it once more.
        assert!(!world.apply(&overwrite).unwrap().refused());
        assert!(!world.undo().unwrap().refused());
        assert_eq!(verdicts(&world.apply(&whole).unwrap()), conflict);
        assert_eq!(world.tree()["edited"], format!("644 {by_hand}"));
    }
}

#[test]
fn what_others_wrote_between_two_times_is_not_taken_back() {
    let world = World { since: Timestamp(clock::wall().0 - 60_000), ..World::new() };
    world.write("base/edited", "a\nb\nc\nd\ne\n");
    world.upper("edited", "A\nb\nc\nd\nE\n");
    assert!(!world.apply(&part("edited", FIRST)).unwrap().refused());
    world.write("base/edited", "by hand\nA\nb\nc\nd\ne\n");
    assert!(!world.apply(&part("edited", SECOND)).unwrap().refused());
    assert!(!world.undo().unwrap().refused());
    // It was put there by taking back, but is not what the first time left.
    assert!(world.undo().unwrap().refused());
    assert_eq!(world.tree()["edited"], "644 by hand\nA\nb\nc\nd\ne\n");
}

#[test]
fn hunks_go_into_a_file_that_changed_elsewhere_and_its_changes_stay_safe() {
    let world = World { since: Timestamp(clock::wall().0 - 60_000), ..World::new() };
    world.upper("edited", "A\nb\nc\nd\ne\n");
    world.write("base/edited", "by hand\na\nb\nc\nd\ne\n");
    assert!(!world.apply(&part("edited", FIRST)).unwrap().refused());
    assert_eq!(world.tree()["edited"], "644 by hand\nA\nb\nc\nd\ne\n");
    // The whole file would lose what was written by hand.
    let whole = ApplyRequest { paths: vec![b"edited".to_vec()], ..all() };
    assert!(world.apply(&whole).unwrap().refused());
    for (text, why) in [("a\nb\nX\n", "are others"), ("x\na\nb\nc\na\nb\nc\n", "more than once")] {
        world.write("base/edited", text);
        let refused = world.apply(&part("edited", FIRST)).unwrap();
        assert!(refused.paths[0].note.as_ref().unwrap().contains(why), "{refused:?}");
        assert_eq!(world.tree()["edited"], format!("644 {text}"));
    }
    for (path, why) in [("gone", "no change"), ("nowhere", "no change"), ("link", "no such file")] {
        if path == "link" {
            world.upper("link", "A\nb\nc\n");
        }
        let refused = world.apply(&part(path, FIRST)).unwrap();
        assert!(refused.paths[0].note.as_ref().unwrap().contains(why), "{refused:?}");
    }
}

#[test]
fn links_that_lead_out_and_special_files_are_left_out() {
    let world = World::new();
    let upper = world.path("ground/box/upper/workspace");
    symlink("/etc/passwd", upper.join("out")).unwrap();
    mknodat(CWD, upper.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    world.upper(".git/hooks/post-checkout", "evil");
    world.upper(&format!("{STAGE}/x"), "x");
    world.upper("fine", "x");
    let applied = world.apply(&all()).unwrap();
    let left = |it: &str| (it.to_owned(), Verdict::LeftOut);
    let stage = format!("{STAGE}/x");
    let mut verdicts = verdicts(&applied);
    verdicts.retain(|it| it.1 == Verdict::LeftOut);
    assert_eq!(verdicts, [left(STAGE), left(&stage), left("fifo"), left("out")]);
    assert_eq!(applied.git_left_out, 1);
    assert_eq!(world.tree()["fine"], "644 x");
    let links = ApplyRequest { links: true, ..all() };
    assert!(!world.apply(&links).unwrap().refused());
    assert_eq!(world.tree()["out"], "-> /etc/passwd");
    assert!(!world.path("base/.git").exists());
}

#[test]
fn a_path_below_new_directories_brings_them_along() {
    let world = World::new();
    world.upper("a/b/c/file", "x");
    world.upper("a/other", "x");
    let before = world.tree();
    let one = ApplyRequest { paths: vec![b"a/b/c/file".to_vec()], ..all() };
    assert_eq!(verdicts(&world.apply(&one).unwrap()).len(), 4);
    assert!(world.tree().contains_key("a/b/c/file") && !world.tree().contains_key("a/other"));
    world.undo().unwrap();
    assert_eq!(world.tree(), before);
}

/// Ends at the `count`th change, as a kill would: nothing is cleaned up.
fn cut_short(count: usize, run: impl FnOnce(Before<'_>)) -> bool {
    let mut left = count;
    let mut before = |_: Step, _: &[u8]| {
        assert!(left > 0, "cut short");
        left -= 1;
    };
    catch_unwind(AssertUnwindSafe(|| run(&mut before))).is_err()
}

#[test]
fn an_apply_that_was_killed_leaves_old_or_new_and_is_finished_or_taken_back() {
    for finish in [false, true] {
        let mut count = 0;
        loop {
            let world = World::new();
            let before = world.tree();
            world.change();
            let cut = cut_short(count, |hook| {
                apply_until(&world.ground(), world.since, &all(), hook).unwrap();
            });
            let between = world.tree();
            for (path, what) in &between {
                let known = before.get(path).is_some_and(|it| it == what)
                    || what.contains("new")
                    || what.contains("c\n")
                    || what.ends_with('/')
                    || ["retyped/file", "link"].contains(&path.as_str())
                    || path.starts_with(STAGE);
                assert!(known, "{count}: {path}: {what}");
            }
            if finish {
                assert!(!world.apply(&all()).unwrap().refused(), "{count}");
                let whole = World::new();
                whole.change();
                whole.apply(&all()).unwrap();
                assert_eq!(world.tree(), whole.tree(), "{count}");
                while let Ok(undone) = world.undo() {
                    assert!(!undone.refused(), "{count}: {undone:?}");
                }
            } else {
                assert!(!world.undo().unwrap().refused(), "{count}");
            }
            assert_eq!(world.tree(), before, "{count}");
            if !cut {
                break;
            }
            count += 1;
        }
        assert!(count > 8, "{count}");
    }
}

#[test]
fn taking_back_that_was_killed_is_finished() {
    let mut count = 0;
    loop {
        let world = World::new();
        let before = world.tree();
        world.change();
        world.apply(&all()).unwrap();
        let cut = cut_short(count, |hook| {
            undo_until(&world.ground(), false, hook).unwrap();
        });
        if !cut {
            break;
        }
        assert!(!world.undo().unwrap().refused(), "{count}");
        assert_eq!(world.tree(), before, "{count}");
        count += 1;
    }
    assert!(count > 8, "{count}");
}

#[test]
fn a_change_at_the_last_moment_stops_it_and_is_not_lost() {
    let world = World::new();
    world.change();
    let before = world.tree();
    let mut hook = |_: Step, path: &[u8]| {
        if path == b"edited" {
            world.write("base/edited", "by hand\n");
        }
    };
    let fault = apply_until(&world.ground(), world.since, &all(), &mut hook).unwrap_err();
    assert!(
        fault.message().contains("edited") && fault.message().contains("nothing was applied"),
        "{fault}"
    );
    let mut expected = before;
    expected.insert("edited".to_owned(), "644 by hand\n".to_owned());
    assert_eq!(world.tree(), expected);
}

#[test]
fn one_at_a_time() {
    let world = World::new();
    world.change();
    let mut hook = |_: Step, _: &[u8]| {
        let fault = world.apply(&all()).unwrap_err();
        assert_eq!(fault.kind(), crate::base::fault::Kind::Busy);
    };
    let applied = apply_until(&world.ground(), world.since, &all(), &mut hook).unwrap();
    assert!(applied.paths.iter().any(|it| it.status == ChangeStatus::Deleted));
}
