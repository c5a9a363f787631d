//! Changes of a real sandbox, written to the real directory and taken back.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

use sandwatch::{
    base::clock,
    driver::{Driver, local::Local},
    model::{
        change::{Applied, ApplyRequest, DiffRequest, Verdict},
        sandbox::WorkspaceMode,
    },
};

use crate::local_stage::{changes, on_stage, python, sh};

/// Every path with its mode and contents.
fn tree(directory: &Path) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let mut next = vec![directory.to_owned()];
    while let Some(at) = next.pop() {
        for item in fs::read_dir(at).unwrap() {
            let path = item.unwrap().path();
            let facts = fs::symlink_metadata(&path).unwrap();
            let what = if facts.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if facts.is_dir() {
                next.push(path.clone());
                format!("{:o}/", facts.mode() & 0o777)
            } else {
                format!("{:o} {:?}", facts.mode() & 0o777, fs::read(&path).unwrap())
            };
            tree.insert(path.strip_prefix(directory).unwrap().display().to_string(), what);
        }
    }
    tree
}

fn conflicts(applied: &Applied) -> Vec<&[u8]> {
    let of = applied.paths.iter().filter(|it| it.verdict == Verdict::Conflict);
    of.map(|it| it.path.as_slice()).collect()
}

#[test]
fn what_is_applied_is_what_the_sandbox_sees_and_goes_back() {
    on_stage(
        "local_apply::what_is_applied_is_what_the_sandbox_sees_and_goes_back",
        |stage| async move {
            for (path, text) in [
                ("edited", "one\n"),
                ("gone", "x\n"),
                ("dir/deep/a", "a\n"),
                ("dir/b", "b\n"),
                ("moved", "is elsewhere soon\n"),
                ("retyped", "x\n"),
                ("script", "x\n"),
            ] {
                let path = stage.workspace.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let before = tree(&stage.workspace);
            let ground = stage.ground();
            let place = stage.try_place(&ground, &stage.spec(WorkspaceMode::Cow)).await.unwrap();
            let since = clock::wall();
            let script = "set -e; echo two >> edited; rm gone; rm -r dir; mkdir dir; echo c > dir/c; mv moved else
                      rm retyped; mkdir retyped; echo x > retyped/x; ln -s kept link; chmod 755 script
                      mkdir -p empty/deep; printf 'a\\0b' > 'bin\\ary'; chmod 500 empty";
            assert_eq!(sh(&place, script).await, "");
            let applied = Local.apply(&ground, since, &ApplyRequest::default()).unwrap();
            assert!(applied.paths.iter().all(|it| it.verdict == Verdict::Applied), "{applied:?}");
            let list = "import os\nfor at, _, files in os.walk('.'):\n for it in files:\n  p = os.path.join(at, it)\n  \
                    print(p, oct(os.lstat(p).st_mode), os.path.islink(p) or open(p, 'rb').read())";
            let inside = python(&place, list).await;
            let mut outside = std::process::Command::new("/usr/bin/python3");
            let outside =
                outside.args(["-c", list]).current_dir(&stage.workspace).output().unwrap();
            let sorted = |it: &str| {
                let mut lines: Vec<_> = it.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&inside), sorted(&String::from_utf8(outside.stdout).unwrap()));
            // All of it is the workspace owner's, and nothing is different any more.
            let owner = fs::metadata(&stage.workspace).unwrap().uid();
            assert_eq!(fs::metadata(stage.workspace.join("dir/c")).unwrap().uid(), owner);
            assert_eq!(
                changes(&ground, stage.spec(WorkspaceMode::Cow), DiffRequest::default())
                    .unwrap()
                    .count(),
                1
            );
            // The sandbox goes on from there, over files that are younger than its own.
            assert_eq!(sh(&place, "echo three >> edited; rm script").await, "");
            let more = Local.apply(&ground, since, &ApplyRequest::default()).unwrap();
            assert_eq!((more.paths.len(), conflicts(&more).len()), (2, 0), "{more:?}");
            for _ in 0..2 {
                assert!(!Local.take_back(&ground, false).unwrap().refused());
            }
            assert_eq!(tree(&stage.workspace), before);
            place.remove().await.unwrap();
        },
    );
}

#[test]
fn what_both_sides_changed_is_a_conflict() {
    on_stage("local_apply::what_both_sides_changed_is_a_conflict", |stage| async move {
        for name in ["in_place", "replaced", "deleted", "seen", "untouched"] {
            fs::write(stage.workspace.join(name), "as it was\n").unwrap();
        }
        let ground = stage.ground();
        let place = stage.try_place(&ground, &stage.spec(WorkspaceMode::Cow)).await.unwrap();
        let since = clock::wall();
        // Changed by the operator before the sandbox edits it: it edits what the operator wrote.
        fs::write(stage.workspace.join("seen"), "by hand\n").unwrap();
        sh(
            &place,
            "sleep 0.05; echo x >> seen; echo x >> in_place; echo x > t; mv t replaced; rm deleted",
        )
        .await;
        sh(&place, "sleep 0.05; echo x > new").await;
        for name in ["in_place", "replaced", "deleted", "untouched", "new"] {
            fs::write(stage.workspace.join(name), "by hand\n").unwrap();
        }
        let before = tree(&stage.workspace);
        let applied = Local.apply(&ground, since, &ApplyRequest::default()).unwrap();
        assert_eq!(conflicts(&applied), [&b"deleted"[..], b"in_place", b"new", b"replaced"]);
        assert_eq!(tree(&stage.workspace), before);
        let overwrite = ApplyRequest { overwrite: true, ..ApplyRequest::default() };
        assert!(!Local.apply(&ground, since, &overwrite).unwrap().refused());
        assert_eq!(fs::read_to_string(stage.workspace.join("seen")).unwrap(), "by hand\nx\n");
        assert!(!stage.workspace.join("deleted").exists());
        assert!(!Local.take_back(&ground, false).unwrap().refused());
        assert_eq!(tree(&stage.workspace), before);
        place.remove().await.unwrap();
    });
}
