//! Shelves of layers that were made by hand, held against plain trees: what a shelf over the host's directory shows
//! is what the sandbox's layers over it showed.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
    },
};

use proptest::prelude::*;
use rustix::fs::{Access, CWD, Timespec, Timestamps, accessat};

use super::*;
use crate::base::id::SnapshotId;

/// What a path shows: its kind, mode, contents or target, and attributes.
type Picture = BTreeMap<Vec<u8>, String>;

struct World {
    home: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        // On a disk: in memory there may be no attributes.
        let home = tempfile::tempdir().unwrap();
        for place in ["ground/box/upper/workspace", "ground/box/home", "base", "first", "second"] {
            fs::create_dir_all(home.path().join(place)).unwrap();
        }
        Self { home }
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.home.path().join(path)
    }

    fn upper(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path("ground/box/upper/workspace").join(path)
    }

    fn shelf(&self, name: &str) -> Shelf {
        Shelf { id: SnapshotId::parse(name).unwrap(), dir: self.path(name), reference: None }
    }

    fn keep(&self, below: Option<&str>, name: &str, like: Option<&str>, take: Take) -> Taken {
        let (below, like) = (below.map(|it| self.shelf(it)), like.map(|it| self.shelf(it)));
        let ground = self.path("ground");
        let (below, like) = (below.as_ref(), like.as_ref());
        keep(&ground, below, &self.shelf(name), like, take, None, &AtomicBool::new(false)).unwrap()
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.path(name).join("box/upper/workspace")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.upper(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn whiteout(path: &Path) {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

fn opaque(path: &Path) {
    rustix::fs::setxattr(path, OPAQUE, b"y", XattrFlags::empty()).unwrap();
}

/// Everything in a tree, by the layers' own rules: top first.
fn shown(layers: &[PathBuf]) -> Picture {
    let mut out = Picture::new();
    show(layers, b"", &mut out);
    out
}

fn show(layers: &[PathBuf], at: &[u8], out: &mut Picture) {
    let mut hidden: HashSet<CString> = HashSet::new();
    for (number, layer) in layers.iter().enumerate() {
        let Ok(directory) = rustix::fs::open(layer, LISTED, Mode::empty()) else { continue };
        for name in names(directory.as_fd()).unwrap() {
            if !hidden.insert(name.clone()) {
                continue;
            }
            let stat = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let mut path = at.to_vec();
            path.push(b'/');
            path.extend(name.to_bytes());
            let place = layer.join(OsStr::from_bytes(name.to_bytes()));
            let kind = FileType::from_raw_mode(stat.st_mode);
            if is_whiteout(&stat) {
                continue;
            }
            let held = match kind {
                FileType::RegularFile => format!("{:?}", fs::read(&place).unwrap()),
                FileType::Symlink => format!("{:?}", fs::read_link(&place).unwrap()),
                _ => String::new(),
            };
            let times = (stat.st_mtime, stat.st_mtime_nsec);
            let times = (kind != FileType::Directory).then_some(times);
            out.insert(path.clone(), format!("{kind:?} {:o} {held} {times:?}", stat.st_mode));
            if kind == FileType::Directory {
                let mut inner = Vec::new();
                for below in layers.iter().skip(number) {
                    let below = below.join(OsStr::from_bytes(name.to_bytes()));
                    match fs::symlink_metadata(&below) {
                        Err(_) => continue,
                        Ok(it) if !it.is_dir() => break,
                        Ok(_) => {}
                    }
                    let opened = rustix::fs::open(&below, LISTED, Mode::empty()).unwrap();
                    let end = is_opaque(opened.as_fd());
                    inner.push(below);
                    if end {
                        break;
                    }
                }
                show(&inner, &path, out);
            }
        }
    }
}

#[test]
fn a_shelf_holds_every_kind_of_thing_as_it_was() {
    let world = World::new();
    world.write("plain", "text");
    world.write("dir/with\nline\tbreak", "x");
    let bytes = world.upper(OsStr::from_bytes(b"\xff\xfe"));
    fs::write(&bytes, "no text").unwrap();
    fs::set_permissions(world.upper("plain"), fs::Permissions::from_mode(0o640)).unwrap();
    rustix::fs::setxattr(world.upper("plain"), c"user.note", b"kept", XattrFlags::empty()).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", world.upper("link")).unwrap();
    fs::hard_link(world.upper("plain"), world.upper("dir/second name")).unwrap();
    mknodat(CWD, world.upper("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.upper("socket")).unwrap();
    whiteout(&world.upper("gone"));
    fs::create_dir(world.upper("only own")).unwrap();
    opaque(&world.upper("only own"));
    fs::create_dir(world.upper("closed")).unwrap();
    fs::write(world.upper("closed/inside"), "x").unwrap();
    fs::set_permissions(world.upper("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    // A gigabyte of nothing with one byte at its end.
    let sparse = File::create(world.upper("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"x", 1 << 30).unwrap();
    let taken = world.keep(None, "first", None, Take::Copies);
    assert_eq!(taken.notes, ["sockets are not kept: 1"]);
    assert!(taken.size_bytes.unwrap() < 1 << 20, "{taken:?}");
    let kept = world.kept("first");
    assert_eq!(fs::metadata(kept.join("sparse")).unwrap().len(), (1 << 30) + 1);
    fs::remove_file(world.upper("sparse")).unwrap();
    fs::remove_file(kept.join("sparse")).unwrap();
    fs::remove_file(world.upper("socket")).unwrap();
    let is_root = accessat(CWD, "/etc/shadow", Access::READ_OK, AtFlags::EACCESS).is_ok();
    if !is_root {
        for closed in [world.upper("closed"), kept.join("closed")] {
            assert_eq!(fs::metadata(&closed).unwrap().permissions().mode() & 0o777, 0);
            fs::set_permissions(closed, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
    assert_eq!(shown(&[world.upper("")]), shown(std::slice::from_ref(&kept)));
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(kept.join("plain"), c"user.note", &mut value[..]).unwrap();
    assert_eq!(value.get(..length), Some(&b"kept"[..]));
    let number = |path: &str| fstat(File::open(kept.join(path)).unwrap()).unwrap().st_ino;
    assert_eq!(number("plain"), number("dir/second name"));
    assert!(is_whiteout(&statat(CWD, kept.join("gone"), AtFlags::SYMLINK_NOFOLLOW).unwrap()));
    // What is written on is not what was kept.
    fs::write(world.upper("plain"), "later").unwrap();
    assert_eq!(fs::read_to_string(kept.join("plain")).unwrap(), "text");
}

impl World {
    fn number(&self, shelf: &str, path: &str) -> u64 {
        fstat(File::open(self.kept(shelf).join(path)).unwrap()).unwrap().st_ino
    }

    fn reads(&self, shelf: &str, path: &str) -> String {
        fs::read_to_string(self.kept(shelf).join(path)).unwrap()
    }

    /// As if a copy had been made when its file was long at rest.
    fn long_at_rest(&self, shelf: &str, path: &str) {
        let kept = File::open(self.kept(shelf).join(path)).unwrap();
        let mut text = [0_u8; source::SOURCE_BYTES_MAX];
        let length = rustix::fs::fgetxattr(&kept, source::SOURCE, text.as_mut_slice()).unwrap();
        let mut noted = source::Source::parse(&text[..length]).unwrap();
        noted.copied_at += source::AT_REST_AFTER + 1;
        fsetxattr(&kept, source::SOURCE, noted.text().as_bytes(), XattrFlags::empty()).unwrap();
    }
}

#[test]
fn what_did_not_change_is_shared_with_the_shelf_before_and_what_did_is_not() {
    let world = World::new();
    for name in ["same", "edited", "chmod"] {
        world.write(name, "as it was");
    }
    world.keep(None, "first", None, Take::Copies);
    world.write("edited", "as it is.");
    fs::set_permissions(world.upper("chmod"), fs::Permissions::from_mode(0o600)).unwrap();
    // Hides that it was edited, as far as a program can.
    let before = fstat(File::open(world.kept("first").join("edited")).unwrap()).unwrap();
    let edited = File::options().write(true).open(world.upper("edited")).unwrap();
    futimens(&edited, &times(&before)).unwrap();
    world.keep(None, "second", Some("first"), Take::Copies);
    assert_eq!(world.number("first", "same"), world.number("second", "same"));
    for name in ["edited", "chmod"] {
        assert_ne!(world.number("first", name), world.number("second", name), "{name}");
    }
    assert_eq!(world.reads("second", "edited"), "as it is.");
    assert_eq!(world.reads("first", "edited"), "as it was");
}

#[test]
fn a_directory_that_takes_anothers_place_brings_its_own_files() {
    let world = World::new();
    for (path, text) in [("r1/version", "1"), ("r2/version", "2")] {
        world.write(path, text);
        let file = File::options().write(true).open(world.upper(path)).unwrap();
        let one = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
        futimens(&file, &Timestamps { last_access: one, last_modification: one }).unwrap();
    }
    world.keep(None, "first", None, Take::Copies);
    for path in ["r1/version", "r2/version"] {
        world.long_at_rest("first", path);
    }
    for (from, to) in [("r1", "r"), ("r2", "r1"), ("r", "r2")] {
        fs::rename(world.upper(from), world.upper(to)).unwrap();
    }
    world.keep(None, "second", Some("first"), Take::Copies);
    assert_eq!(
        (world.reads("second", "r1/version"), world.reads("second", "r2/version")),
        ("2".into(), "1".into())
    );
}

#[test]
fn what_a_program_says_that_its_file_is_a_copy_of_counts_for_nothing() {
    let world = World::new();
    let own = world.path("ground/box/home/file");
    fs::write(&own, "x").unwrap();
    rustix::fs::setxattr(&own, source::SOURCE, b"1 2 3 4 5", XattrFlags::empty()).unwrap();
    world.keep(None, "first", None, Take::Copies);
    let mut text = [0; 128];
    let kept = world.path("first/box/home/file");
    let length = rustix::fs::getxattr(&kept, source::SOURCE, &mut text[..]).unwrap();
    assert!(text[..length].starts_with(format!("{} ", own.metadata().unwrap().ino()).as_bytes()));
}

#[test]
fn what_was_written_to_just_before_is_compared_for_memory_leaves_no_trace() {
    let world = World::new();
    for name in ["fresh", "old"] {
        world.write(name, "1");
    }
    world.keep(None, "first", None, Take::Copies);
    world.long_at_rest("first", "old");
    // As a page that was dirty already is written to: no time changes. Here it is the copy that is another.
    for name in ["fresh", "old"] {
        fs::write(world.kept("first").join(name), "2").unwrap();
    }
    world.keep(None, "second", Some("first"), Take::Copies);
    assert_eq!(world.reads("second", "fresh"), "1");
    // The test of the test: what was long at rest is believed without being read.
    assert_eq!(world.reads("second", "old"), "2");
}

#[test]
fn files_of_a_stopped_sandbox_are_taken_and_not_copied() {
    let world = World::new();
    world.write("large", &"x".repeat(1 << 20));
    let taken = world.keep(None, "first", None, Take::Links);
    // It is all that is left of it once the sandbox is gone, and counts as such.
    assert_eq!(taken.size_bytes, Some(1 << 20));
    assert_eq!(shown(&[world.upper("")]), shown(&[world.kept("first")]));
    let number = fstat(File::open(world.upper("large")).unwrap()).unwrap().st_ino;
    assert_eq!(world.number("first", "large"), number);
}

#[test]
fn what_has_no_room_for_another_name_is_made_anew() {
    let world = World::new();
    world.write("plain", "x");
    whiteout(&world.upper("gone"));
    std::os::unix::fs::symlink("target", world.upper("soft")).unwrap();
    // Until the file system counts no further.
    for name in ["plain", "gone", "soft"] {
        for number in 0.. {
            let other = world.path(format!("base/{name}-{number}"));
            let from = world.upper(name);
            if linkat(CWD, &from, CWD, &other, AtFlags::empty()) == Err(Errno::MLINK) {
                break;
            }
            assert!(number < 200_000, "a file system without such a bound");
        }
    }
    world.keep(None, "first", None, Take::Links);
    assert_eq!(shown(&[world.upper("")]), shown(&[world.kept("first")]));
    assert!(is_whiteout(
        &statat(CWD, world.kept("first").join("gone"), AtFlags::SYMLINK_NOFOLLOW).unwrap()
    ));
}

#[test]
fn a_tree_that_lies_too_deep_is_refused_in_words() {
    let world = World::new();
    let mut deep = world.upper("");
    for _ in 0..=SNAPSHOT_DEPTH_MAX {
        deep.push("d");
    }
    fs::create_dir_all(deep).unwrap();
    let (ground, shelf, going) =
        (world.path("ground"), world.shelf("first"), AtomicBool::new(false));
    let fault = keep(&ground, None, &shelf, None, Take::Copies, None, &going).unwrap_err();
    assert!(fault.to_string().contains("too deep"), "{fault}");
}

#[test]
fn work_that_nobody_waits_for_any_more_ends() {
    let world = World::new();
    world.write("file", "x");
    let (ground, shelf, given_up) =
        (world.path("ground"), world.shelf("first"), AtomicBool::new(true));
    let fault = keep(&ground, None, &shelf, None, Take::Copies, None, &given_up).unwrap_err();
    assert!(fault.to_string().contains("nobody waits"), "{fault}");
    assert!(!world.kept("first").join("file").exists());
}

/// A step of what two programs one after the other do, as the kernel's overlay would note it.
#[derive(Clone, Debug)]
enum Deed {
    File(u8, u8, String),
    Whiteout(u8, u8),
    Opaque(u8),
    Link(u8, u8),
    /// In the place of the directory itself.
    WhiteoutOf(u8),
    FileOf(u8, String),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let one = prop_oneof![
        (0_u8..4, 0_u8..5, "[a-z]{0,6}").prop_map(|(a, b, text)| Deed::File(a, b, text)),
        (0_u8..4, 0_u8..5).prop_map(|(a, b)| Deed::Whiteout(a, b)),
        (0_u8..4).prop_map(Deed::Opaque),
        (0_u8..4, 0_u8..5).prop_map(|(a, b)| Deed::Link(a, b)),
        (0_u8..4).prop_map(Deed::WhiteoutOf),
        (0_u8..4, "[a-z]{0,6}").prop_map(|(a, text)| Deed::FileOf(a, text)),
    ];
    prop::collection::vec(one, 0..14)
}

fn make(layer: &Path, deeds: &[Deed]) {
    let at = |a: u8| layer.join(format!("d{a}"));
    let clear = |place: &Path| {
        drop(fs::remove_file(place));
        drop(fs::remove_dir_all(place));
    };
    // What was no directory in this layer hid what is below, and so does what comes in its place.
    let directory = |a: u8| {
        let place = at(a);
        if !place.is_dir() {
            let hid = fs::symlink_metadata(&place).is_ok();
            clear(&place);
            fs::create_dir(&place).unwrap();
            if hid {
                opaque(&place);
            }
        }
        place
    };
    for deed in deeds {
        match deed {
            Deed::File(a, b, text) => {
                let place = directory(*a).join(format!("f{b}"));
                drop(fs::remove_file(&place));
                drop(fs::write(place, text));
            }
            Deed::Whiteout(a, b) => {
                let place = directory(*a).join(format!("f{b}"));
                drop(fs::remove_file(&place));
                whiteout(&place);
            }
            Deed::Opaque(a) => opaque(&directory(*a)),
            Deed::WhiteoutOf(a) => {
                clear(&at(*a));
                whiteout(&at(*a));
            }
            Deed::FileOf(a, text) => {
                clear(&at(*a));
                fs::write(at(*a), text).unwrap();
            }
            Deed::Link(a, b) => {
                let place = directory(*a).join(format!("f{b}"));
                drop(fs::remove_file(&place));
                std::os::unix::fs::symlink("target", place).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_line_of_snapshots_shows_what_its_layers_show(
        base in deeds(), below in deeds(), upper in deeds(), links in any::<bool>(),
    ) {
        let world = World::new();
        make(&world.path("base"), &base);
        make(&world.upper(""), &below);
        world.keep(None, "first", None, Take::Copies);
        let base = world.path("base");
        let layers = [world.upper(""), base.clone()];
        prop_assert_eq!(shown(&layers), shown(&[world.kept("first"), base.clone()]));
        // Another sandbox stands on it.
        fs::remove_dir_all(world.upper("")).unwrap();
        fs::create_dir_all(world.upper("")).unwrap();
        make(&world.upper(""), &upper);
        let take = if links { Take::Links } else { Take::Copies };
        world.keep(Some("first"), "second", Some("first"), take);
        let layers = [world.upper(""), world.kept("first"), base.clone()];
        prop_assert_eq!(shown(&layers), shown(&[world.kept("second"), base]));
    }
}
