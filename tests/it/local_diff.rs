//! What a local sandbox changed in its copy-on-write workspace.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::Write,
    mem::MaybeUninit,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rustix::fs::inotify;
use sandwatch::{
    base::{fault::Outcome, limits::CHANGE_COMPARED_BYTES_MAX},
    driver::{Ground, Place},
    model::{
        change::{ChangeStatus, DiffPiece, DiffRequest, FileChange, LineCount, NodeKind},
        sandbox::WorkspaceMode,
    },
};

use crate::{
    given::spec,
    local_stage::{Stage, changes, on_stage, python, sh},
};

#[derive(Debug, Default)]
struct Diff {
    files: Vec<FileChange>,
    text: String,
    git_left_out: u64,
}

impl Diff {
    fn told(&self) -> Vec<(String, ChangeStatus)> {
        let path = |it: &FileChange| String::from_utf8_lossy(&it.path).into_owned();
        self.files.iter().map(|it| (path(it), it.status)).collect()
    }

    fn file(&self, path: &str) -> &FileChange {
        let found = self.files.iter().find(|it| it.path == path.as_bytes());
        found.unwrap_or_else(|| panic!("no {path} in {self:?}"))
    }
}

fn try_diff(ground: &Ground, request: DiffRequest) -> Outcome<Diff> {
    let mut diff = Diff::default();
    let mut text = Vec::new();
    let mut ended = false;
    // Of a sandbox as it lies there, it makes no difference what it was made from.
    let spec = spec("local", Path::new("/"), &[]);
    for piece in changes(ground, spec, request)? {
        assert!(!ended, "a piece after the end");
        match piece? {
            DiffPiece::File(change) => diff.files.push(change),
            DiffPiece::Text(bytes) => text.extend_from_slice(&bytes),
            DiffPiece::End { git_left_out } => (diff.git_left_out, ended) = (git_left_out, true),
        }
    }
    assert!(ended);
    diff.text = String::from_utf8(text).unwrap();
    Ok(diff)
}

fn all() -> DiffRequest {
    DiffRequest { text: true, ..DiffRequest::default() }
}

fn diff(ground: &Ground) -> Diff {
    try_diff(ground, all()).unwrap_or_else(|fault| panic!("{fault}"))
}

impl Stage {
    async fn changed(&self, script: &str) -> (Ground, Arc<dyn Place>) {
        let ground = self.ground();
        let place = self.try_place(&ground, &self.spec(WorkspaceMode::Cow)).await.unwrap();
        assert_eq!(sh(&place, script).await, "");
        (ground, place)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.workspace.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn every_kind_of_change_is_told() {
    on_stage("local_diff::every_kind_of_change_is_told", |stage| async move {
        for (path, text) in [
            ("edited", "one\ntwo\n"),
            ("gone", "x\n"),
            ("dir/deep/a", "in a\n"),
            ("dir/b", "b\n"),
            ("moved", "is elsewhere soon\n"),
            ("script", "echo\n"),
            ("private", "x\n"),
            ("retyped", "x\n"),
            ("sub/.git/HEAD", "x\n"),
        ] {
            stage.write(path, text);
        }
        std::os::unix::fs::symlink("kept", stage.workspace.join("link")).unwrap();
        let (ground, place) = stage
            .changed(
                "set -e; echo three >> edited; rm gone; rm -r dir; mkdir dir; echo c > dir/c; mv moved else
                 chmod 755 script; chmod 600 private; ln -sfn edited link; rm retyped; ln -s kept retyped
                 mkfifo pipe; mkdir empty; printf 'a\\0b' > binary; touch kept; : > blank
                 echo file > .git; echo y > sub/.git/HEAD; rm -r sub/.git",
            )
            .await;
        let diff = diff(&ground);
        let expected = [
            ("binary", ChangeStatus::Added),
            ("blank", ChangeStatus::Added),
            ("dir/b", ChangeStatus::Deleted),
            ("dir/c", ChangeStatus::Added),
            ("dir/deep/a", ChangeStatus::Deleted),
            ("edited", ChangeStatus::Modified),
            ("else", ChangeStatus::Renamed),
            ("empty", ChangeStatus::Added),
            ("gone", ChangeStatus::Deleted),
            ("link", ChangeStatus::Modified),
            ("pipe", ChangeStatus::Added),
            ("private", ChangeStatus::Modified),
            ("retyped", ChangeStatus::Modified),
            ("script", ChangeStatus::Modified),
        ];
        assert_eq!(diff.told(), expected.map(|(path, status)| (path.to_owned(), status)));
        assert_eq!(diff.git_left_out, 2);
        assert_eq!(diff.file("edited").lines, Some(LineCount { added: 1, removed: 0 }));
        assert_eq!(diff.file("else").old_path.as_deref(), Some(&b"moved"[..]));
        assert_eq!(diff.file("binary").lines, None);
        assert_eq!(diff.file("pipe").new.unwrap().kind, NodeKind::Special);
        for said in [
            "\n@@ -1,2 +1,3 @@\n one\n two\n+three\n",
            "rename from moved\nrename to else\n",
            "old mode 100644\nnew mode 100755\n",
            "# private: mode was 644, is 600\n",
            "# empty: new directory\n",
            "# pipe: new device, fifo or socket\n",
            "Binary files /dev/null and b/binary differ\n",
        ] {
            assert!(diff.text.contains(said), "{said}{}", diff.text);
        }
        let with_git = DiffRequest { git: true, ..DiffRequest::default() };
        let with_git = try_diff(&ground, with_git).unwrap();
        assert_eq!(with_git.file(".git").status, ChangeStatus::Added);
        assert_eq!(with_git.file("sub/.git/HEAD").status, ChangeStatus::Deleted);
        assert!(with_git.text.is_empty() && with_git.git_left_out == 0);
        let some = DiffRequest { paths: vec![b"dir".to_vec(), b"gone".to_vec()], ..all() };
        let some: Vec<_> = try_diff(&ground, some).unwrap().told();
        let some: Vec<_> = some.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(some, ["dir/b", "dir/c", "dir/deep/a", "gone"]);
        // As it was, but for what a stopped sandbox no longer does.
        place.stop(std::time::Duration::ZERO).await.unwrap();
        assert_eq!(self::diff(&ground).told().len(), expected.len());
        place.remove().await.unwrap();
        assert!(try_diff(&ground, all()).is_err());
    });
}

/// Something that a program may do to a tree of a few names.
fn deed() -> impl Strategy<Value = String> {
    let path = || prop::sample::select(vec!["a", "b", "'c d'", "d", "d/e", "d/f/g", "'h\n\"\\'"]);
    let text =
        || prop::sample::select(vec!["1\\n2\\n3", "1\\n3\\n", "", "x", "2\\n\\n2\\n", "\\r\\n"]);
    let parent = |it: &str| format!("mkdir -p \"$(dirname {it})\"");
    prop_oneof![
        4 => (path(), text())
            .prop_map(move |(it, text)| format!("{}; printf '{text}' > {it}", parent(it))),
        2 => (path(), text()).prop_map(|(it, text)| format!("[ -f {it} ] && printf '{text}' >> {it}")),
        2 => path().prop_map(|it| format!("rm -rf {it}")),
        2 => (path(), path())
            .prop_map(move |(one, two)| format!("{}; mv -T {one} {two}", parent(two))),
        1 => path().prop_map(|it| format!("[ -f {it} ] && chmod +x {it}")),
        1 => (path(), path())
            .prop_map(move |(one, two)| format!("{}; ln -sfn {one} {two}", parent(two))),
    ]
}

/// Files and links of a directory, with what a patch knows of them.
const TREE: &str = r#"
import os
for at, dirs, files in os.walk("."):
    for it in files + [it for it in dirs if os.path.islink(os.path.join(at, it))]:
        path = os.path.join(at, it)
        if os.path.islink(path):
            print(repr(path), "->", os.readlink(path))
        else:
            print(repr(path), os.stat(path).st_mode & 0o100, open(path, "rb").read())
"#;

fn tree(directory: &Path) -> Vec<String> {
    let mut command = Command::new("/usr/bin/python3");
    let out = command.args(["-c", TREE]).current_dir(directory).output().unwrap();
    lines(&String::from_utf8(out.stdout).unwrap())
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn apply(tool: &[&str], directory: &Path, patch: &str) {
    if !patch.contains("diff --git") {
        return;
    }
    let mut command = Command::new(tool[0]);
    command.args(&tool[1..]).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::null());
    command.env("GIT_CEILING_DIRECTORIES", directory.parent().unwrap());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(patch.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{tool:?}\n{patch}");
}

const GIT: &[&str] = &["git", "apply", "--whitespace=nowarn", "-"];
const PATCH: &[&str] = &["patch", "-p1", "--batch"];

#[test]
fn a_copy_to_which_the_diff_is_applied_is_the_same() {
    on_stage("local_diff::a_copy_to_which_the_diff_is_applied_is_the_same", |stage| async move {
        let mut runner = TestRunner::deterministic();
        for round in 0..16 {
            let deeds = || prop::collection::vec(deed(), 1..12);
            let mut draw = || deeds().new_tree(&mut runner).unwrap().current().join("\n");
            let (before, after) = (draw(), draw());
            fs::remove_dir_all(&stage.workspace).unwrap();
            fs::create_dir(&stage.workspace).unwrap();
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &before]).current_dir(&stage.workspace).stderr(Stdio::null());
            shell.status().unwrap();
            let (ground, place) = stage.changed(&format!("{{ {after}\n}} 2>/dev/null")).await;
            let diff = diff(&ground);
            let inside = lines(&python(&place, TREE).await);
            // `patch` puts no directory in the place of a file, whoever wrote the diff.
            let retyped =
                |it: &FileChange| it.old.zip(it.new).is_some_and(|(old, new)| old.kind != new.kind);
            let tools = if diff.files.iter().any(retyped) { &[GIT][..] } else { &[GIT, PATCH] };
            for tool in tools {
                let copy = stage.home.join(format!("{}{round}", tool[0]));
                let copied = Command::new("cp").arg("-a").args([&stage.workspace, &copy]).status();
                assert!(copied.unwrap().success());
                apply(tool, &copy, &diff.text);
                assert_eq!(tree(&copy), inside, "{before}\n--\n{after}\n--\n{}", diff.text);
            }
            place.remove().await.unwrap();
        }
    });
}

#[test]
fn what_did_not_change_is_not_opened() {
    on_stage("local_diff::what_did_not_change_is_not_opened", |stage| async move {
        for at in 0..10_000 {
            stage.write(&format!("d{}/f{at}", at / 100), "as it was\n");
        }
        let script = "echo x >> d7/f701; rm d42/f4242; mv d99/f9999 d0/new";
        let (ground, place) = stage.changed(script).await;
        let watcher = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        for at in 0..100 {
            let directory = stage.workspace.join(format!("d{at}"));
            inotify::add_watch(&watcher, directory, inotify::WatchFlags::OPEN).unwrap();
        }
        assert_eq!(diff(&ground).files.len(), 3);
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut events = inotify::Reader::new(&watcher, &mut buffer);
        let mut opened = BTreeSet::new();
        while let Ok(event) = events.next() {
            assert!(!event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW));
            if !event.events().contains(inotify::ReadFlags::ISDIR) {
                opened.insert(event.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
        let expected = ["f4242", "f701", "f9999"].map(str::to_owned);
        assert_eq!(opened, expected.into(), "these were opened");
        place.remove().await.unwrap();
    });
}

#[test]
fn a_hostile_workspace_shows_nothing_of_the_host_and_ends() {
    on_stage(
        "local_diff::a_hostile_workspace_shows_nothing_of_the_host_and_ends",
        |stage| async move {
            let secret = stage.home.join("secret");
            let (ground, place) = stage
                .changed(&format!(
                    "ln -s {secret} way; ln -s {home} up; truncate -s {huge} huge; mkfifo fifo
                 echo x > \"$(printf 'esc\\033[2J\\377')\"; echo x > shut; chmod 0 shut
                 mkdir closed; echo x > closed/x; chmod 0 closed",
                    secret = secret.display(),
                    home = stage.home.display(),
                    huge = CHANGE_COMPARED_BYTES_MAX + 1,
                ))
                .await;
            let diff = diff(&ground);
            assert!(!diff.text.contains("the operator's"), "{}", diff.text);
            assert!(diff.text.is_ascii() && !diff.text.contains('\x1b'), "{}", diff.text);
            assert!(diff.text.contains(r#""b/esc\033[2J\377""#), "{}", diff.text);
            let note = |path: &str| diff.file(path).note.clone();
            assert_eq!(note("huge").as_deref(), Some("too large to be shown"));
            let shut = (!stage.by_root).then_some("may not be read");
            assert_eq!(note("shut").as_deref(), shut);
            let closed = if stage.by_root { "closed/x" } else { "closed" };
            assert_eq!(note(closed).as_deref(), shut);
            // A directory that another program put a link in place of is not the workspace.
            let aside = stage.home.join("aside");
            fs::rename(&stage.workspace, &aside).unwrap();
            std::os::unix::fs::symlink(&aside, &stage.workspace).unwrap();
            assert!(try_diff(&ground, all()).is_err());
            fs::remove_file(&stage.workspace).unwrap();
            fs::rename(&aside, &stage.workspace).unwrap();
            sh(&place, "chmod 755 closed").await;
            place.remove().await.unwrap();
        },
    );
}

#[test]
fn large_files_are_compared_and_not_shown() {
    on_stage("local_diff::large_files_are_compared_and_not_shown", |stage| async move {
        let large = "x".repeat(9 << 20);
        for name in ["touched", "modes", "edited"] {
            stage.write(name, &large);
            let mode = fs::Permissions::from_mode(0o644);
            fs::set_permissions(stage.workspace.join(name), mode).unwrap();
        }
        stage.write("moved", &format!("{large}y"));
        let script = "touch touched; chmod +x modes; printf y | dd of=edited conv=notrunc bs=1 seek=1000 \
                      status=none; mv moved away";
        let (ground, place) = stage.changed(script).await;
        let diff = diff(&ground);
        let told: Vec<_> =
            diff.files.iter().map(|it| (OsStr::from_bytes(&it.path), it.status)).collect();
        let expected = [
            ("away", ChangeStatus::Renamed),
            ("edited", ChangeStatus::Modified),
            ("modes", ChangeStatus::Modified),
        ];
        assert_eq!(told, expected.map(|(path, status)| (OsStr::new(path), status)));
        assert_eq!(diff.file("edited").note.as_deref(), Some("too large to be shown"));
        assert!(diff.text.len() < 1000 && diff.text.contains("new mode 100755"), "{}", diff.text);
        place.remove().await.unwrap();
    });
}
