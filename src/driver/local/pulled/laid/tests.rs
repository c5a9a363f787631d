//! What is laid down of two systems, and what becomes of the place.

use super::{super::tests::eventually, *};
use crate::{
    driver::tar::{self, Entry, Kind},
    model::{
        change::{ChangeStatus, DiffPiece, DiffRequest},
        sandbox::{SandboxSpec, Workspace, WorkspaceMode},
    },
};

/// An archive of a path: its last name with what is in it; directories end with a slash.
fn archive(of: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, mode, text) in of {
        let kind = if path.ends_with('/') { Kind::Directory } else { Kind::File };
        let (owner, bytes, target) = ((0, 0), text.len() as u64, &b""[..]);
        let path = path.as_bytes();
        let entry = Entry { path, kind, mode: *mode, owner, bytes, modified: 1, target };
        out.extend(tar::header(&entry));
        out.extend(text.as_bytes());
        out.resize(out.len().next_multiple_of(tar::BLOCK), 0);
    }
    out.extend(tar::END);
    out
}

fn wanted(whole: &[&str], apart: &[&str]) -> Arc<Wanted> {
    let paths = |of: &[&str]| of.iter().map(|it| it.as_bytes().to_vec()).collect::<Vec<_>>();
    Arc::new(Wanted { whole: paths(whole).into_iter().collect(), apart: paths(apart) })
}

fn place() -> (tempfile::TempDir, Laid) {
    let temp = tempfile::tempdir().unwrap();
    let laid = Laid::begin(temp.path()).unwrap();
    (temp, laid)
}

fn told(temp: &Path, laid: &Laid) -> Vec<(String, ChangeStatus)> {
    let workspace = Workspace { path: PathBuf::new(), mode: WorkspaceMode::None };
    let spec = SandboxSpec::bare("docker", workspace);
    let id = SandboxId::random();
    let ground = crate::driver::Ground { id, name: "box".into(), dir: temp.into(), from: None };
    let of = crate::driver::Kept::Ground(ground, Box::new(spec));
    let request = DiffRequest { system: true, ..DiffRequest::default() };
    let trees = Some((laid.tree(Which::New), laid.tree(Which::Old)));
    let changes = super::super::LocalChanges::new(&of, None, request).over(trees);
    let files = changes.filter_map(|it| match it.unwrap() {
        DiffPiece::File(it) => Some((String::from_utf8(it.path).unwrap(), it.status)),
        _ => None,
    });
    files.collect()
}

#[test]
fn only_what_is_wanted_of_an_archive_is_compared_and_what_is_gone_is_told() {
    use ChangeStatus::{Added, Deleted, Modified};
    let (temp, laid) = place();
    let only = wanted(
        &["usr/share/a", "usr/share/gone", "usr/share/dir", "etc/x"],
        &["usr/share/dir/apart"],
    );
    let mut old = laid.lay(Which::Old, Arc::clone(&only)).unwrap();
    let was = archive(&[
        ("share/", 0o755, ""),
        ("share/a", 0o644, "one\n"),
        ("share/other", 0o644, "not looked at\n"),
        ("share/gone", 0o600, "was here\n"),
        ("share/dir/", 0o755, ""),
        ("share/dir/in", 0o644, "same\n"),
        ("share/dir/apart/", 0o755, ""),
    ]);
    old.take(b"usr/share", Some(was.as_slice())).unwrap();
    old.take(b"etc/x", None::<&[u8]>).unwrap();
    old.directory(b"root", 0o755).unwrap();
    old.finish().unwrap();
    let mut new = laid.lay(Which::New, only).unwrap();
    let is = archive(&[
        ("share/", 0o755, ""),
        ("share/a", 0o644, "two\n"),
        ("share/dir/", 0o755, ""),
        ("share/dir/in", 0o644, "same\n"),
        ("share/dir/apart/", 0o700, ""),
        ("share/dir/apart/b", 0o644, "mounted\n"),
        ("share/dir/new", 0o644, "n\n"),
    ]);
    new.take(b"usr/share", Some(is.as_slice())).unwrap();
    new.take(b"etc/x", Some(archive(&[("x", 0o644, "x\n")]).as_slice())).unwrap();
    new.directory(b"root", 0o700).unwrap();
    new.finish().unwrap();
    let expected = [
        ("etc/x", Added),
        ("root", Modified),
        ("usr/share/a", Modified),
        ("usr/share/dir/new", Added),
        ("usr/share/gone", Deleted),
    ];
    assert_eq!(told(temp.path(), &laid), expected.map(|it| (it.0.to_owned(), it.1)));
}

#[test]
fn a_file_in_the_place_of_a_directory_and_one_of_a_file_are_told() {
    let (temp, laid) = place();
    let only = wanted(&["a", "b"], &[]);
    let mut old = laid.lay(Which::Old, Arc::clone(&only)).unwrap();
    let tree = archive(&[("a/", 0o755, ""), ("a/in", 0o644, "1")]);
    old.take(b"a", Some(tree.as_slice())).unwrap();
    old.take(b"b", Some(archive(&[("b", 0o644, "2")]).as_slice())).unwrap();
    old.finish().unwrap();
    let mut new = laid.lay(Which::New, only).unwrap();
    new.take(b"a", Some(archive(&[("a", 0o644, "3")]).as_slice())).unwrap();
    let tree = archive(&[("b/", 0o755, ""), ("b/in", 0o644, "4")]);
    new.take(b"b", Some(tree.as_slice())).unwrap();
    new.finish().unwrap();
    let told = told(temp.path(), &laid);
    let has = |path: &str| told.iter().any(|it| it.0 == path);
    assert!(has("a") && has("a/in") && has("b") && has("b/in"), "{told:?}");
}

#[test]
fn an_archive_that_leads_out_or_ends_early_is_refused() {
    let (_temp, laid) = place();
    let only = wanted(&["a"], &[]);
    for hostile in [
        archive(&[("a/", 0o755, ""), ("a/../../x", 0o644, "x")]),
        archive(&[("a", 0o644, "x")])[..700].to_vec(),
    ] {
        let mut old = laid.lay(Which::Old, Arc::clone(&only)).unwrap();
        assert!(old.take(b"a", Some(hostile.as_slice())).is_err());
    }
}

#[test]
fn a_look_takes_its_place_along_and_what_a_killed_one_left_goes_with_the_next() {
    let (temp, laid) = place();
    let looks = temp.path().join(LOOKS);
    let left = looks.join(SandboxId::random().as_str());
    fs::create_dir_all(left.join("old")).unwrap();
    let other = Laid::begin(temp.path()).unwrap();
    assert!(!left.exists() && laid.tree(Which::Old).exists() && other.tree(Which::New).exists());
    let (one, two) = (laid.at.clone(), other.at.clone());
    drop(laid);
    assert!(!one.exists() && two.exists());
    drop(other);
    let rest = || fs::read_dir(&looks).unwrap().flatten().filter(|it| it.path().is_dir()).count();
    eventually("something is left", || rest() == 0);
}
