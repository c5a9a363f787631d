//! A walk over an upper layer that was made by hand.

use std::{fs, os::unix::fs::symlink};

use rustix::fs::{XattrFlags, mknodat, setxattr};

use super::*;

struct Trees {
    home: tempfile::TempDir,
}

impl Trees {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("base")).unwrap();
        fs::create_dir_all(home.path().join("upper")).unwrap();
        Self { home }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn whiteout(&self, path: &str) {
        let path = self.home.path().join("upper").join(path);
        mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    fn walk(&self, git: bool, paths: &[&str]) -> Outcome<Found> {
        let home = self.home.path().canonicalize().unwrap();
        let until = clock::monotonic() + Duration::from_secs(60);
        let new = View::open([home.join("upper"), home.join("base")])?;
        let old = View::open([home.join("base")])?;
        let paths = paths.iter().map(|it| it.as_bytes().to_vec()).collect();
        walk(&new, &old, Look { paths, git, until })
    }

    fn changed(&self, paths: &[&str]) -> Vec<(String, bool, bool)> {
        let found = self.walk(true, paths).unwrap();
        let shown = found.pairs.iter().map(|(path, pair)| {
            let path = String::from_utf8_lossy(path).into_owned();
            (path, pair.old.is_some(), pair.new.is_some())
        });
        shown.collect()
    }
}

#[test]
fn what_came_changed_or_went_is_found() {
    let trees = Trees::new();
    trees.write("base/dir/kept", "x");
    trees.write("base/dir/edited", "x");
    trees.write("base/dir/deep/gone", "x");
    trees.write("upper/dir/edited", "y");
    trees.write("upper/dir/new", "y");
    trees.whiteout("dir/deep");
    let expected = [
        ("dir/deep", true, false),
        ("dir/deep/gone", true, false),
        ("dir/edited", true, true),
        ("dir/new", false, true),
    ];
    assert_eq!(trees.changed(&[]), expected.map(|(path, old, new)| (path.to_owned(), old, new)));
}

#[test]
fn an_opaque_directory_hides_what_lies_below() {
    let trees = Trees::new();
    trees.write("base/dir/gone", "x");
    trees.write("base/dir/again", "x");
    trees.write("upper/dir/again", "y");
    let upper = trees.home.path().join("upper/dir");
    setxattr(&upper, OPAQUE, b"y", XattrFlags::empty()).unwrap();
    let expected = [("dir/again", true, true), ("dir/gone", true, false)];
    assert_eq!(trees.changed(&[]), expected.map(|(path, old, new)| (path.to_owned(), old, new)));
}

#[test]
fn links_lead_nowhere_and_special_files_are_only_named() {
    let trees = Trees::new();
    trees.write("outside/secret", "x");
    symlink(trees.home.path().join("outside"), trees.home.path().join("upper/way")).unwrap();
    mknodat(CWD, trees.home.path().join("upper/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let found = trees.walk(true, &[]).unwrap();
    assert_eq!(found.pairs.len(), 2, "{found:?}");
    assert_eq!(found.pairs[&b"fifo"[..]].new.map(|it| it.kind), Some(NodeKind::Special));
    let way = found.pairs[&b"way"[..]].new.map(|it| it.kind);
    assert_eq!(way, Some(NodeKind::Link));
}

#[test]
fn git_is_left_out_and_counted() {
    let trees = Trees::new();
    trees.write("base/gone/.git/HEAD", "x");
    trees.write("upper/.git/index", "x");
    trees.write("upper/sub/.GIT/HEAD", "x");
    trees.write("upper/.gitignore", "x");
    trees.whiteout("gone");
    let found = trees.walk(false, &[]).unwrap();
    let paths: Vec<_> = found.pairs.keys().map(|it| String::from_utf8_lossy(it)).collect();
    assert_eq!(
        (found.git_left_out, paths),
        (3, vec![".gitignore".into(), "gone".into(), "sub".into()])
    );
    assert_eq!(trees.walk(true, &[]).unwrap().git_left_out, 0);
}

#[test]
fn only_what_was_asked_for_is_looked_at() {
    let trees = Trees::new();
    trees.write("base/dir/gone", "x");
    trees.whiteout("dir");
    trees.write("upper/other/deep/file", "x");
    trees.write("upper/other/deeper", "x");
    let just = |path: &str, old: bool| vec![(path.to_owned(), old, !old)];
    assert_eq!(trees.changed(&["dir/gone"]), just("dir/gone", true));
    assert_eq!(trees.changed(&["other/deep/file", "nothing"]), just("other/deep/file", false));
    assert_eq!(trees.changed(&["other"]).len(), 4);
    assert_eq!(trees.changed(&["othe"]), []);
}

#[test]
fn what_lies_too_deep_is_told_and_hides_nothing_else() {
    let trees = Trees::new();
    let deep = vec!["d"; CHANGES_DEPTH_MAX + 2].join("/");
    trees.write(&format!("upper/{deep}/file"), "x");
    trees.write(&format!("upper/{}/file", vec!["x".repeat(243); 16].join("/")), "x");
    trees.write("upper/file", "x");
    let found = trees.walk(true, &[]).unwrap();
    let unread: Vec<_> = found.pairs.values().filter_map(|it| it.unread).collect();
    assert_eq!(unread, [Errno::NAMETOOLONG; 2]);
    assert!(found.pairs.contains_key(&b"file"[..]));
}
