//! What an archive can try, and what comes of it.

use std::{
    collections::BTreeMap,
    fs,
    io::Cursor,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::Path,
    process::Command,
    sync::atomic::AtomicBool,
};

use proptest::prelude::*;

use super::*;
use crate::driver::{
    local::image::blobs::{Packing, Piece, Unpacked},
    tar::{BLOCK, END},
};

/// One entry by hand, as no honest program would write it.
fn entry(letter: u8, path: &[u8], target: &[u8], mode: u32, contents: &[u8]) -> Vec<u8> {
    let long = |letter: u8, text: &[u8]| {
        let text = [text, b"\0"].concat();
        if text.len() > 100 { raw(letter, b"long", b"", 0, &text) } else { Vec::new() }
    };
    [long(b'L', path), long(b'K', target), raw(letter, path, target, mode, contents)].concat()
}

fn raw(letter: u8, path: &[u8], target: &[u8], mode: u32, contents: &[u8]) -> Vec<u8> {
    let mut head = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &path[..path.len().min(100)]);
    put(100, format!("{mode:07o}").as_bytes());
    put(124, format!("{:011o}", contents.len()).as_bytes());
    put(136, b"00000001750");
    put(148, b"        ");
    put(156, &[letter]);
    put(157, &target[..target.len().min(100)]);
    put(257, b"ustar  \0");
    let sum: u64 = head.iter().map(|it| u64::from(*it)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = head.to_vec();
    out.extend_from_slice(contents);
    out.resize(out.len().div_ceil(BLOCK) * BLOCK, 0);
    out
}

fn file(path: &str, text: &str) -> Vec<u8> {
    entry(b'0', path.as_bytes(), b"", 0o644, text.as_bytes())
}

fn link(path: &str, target: &str) -> Vec<u8> {
    entry(b'2', path.as_bytes(), target.as_bytes(), 0o777, b"")
}

fn directory(path: &str) -> Vec<u8> {
    entry(b'5', path.as_bytes(), b"", 0o755, b"")
}

/// Unpacks layers and leaves the place to be looked at; beside `root` lies what must stay as it is.
fn unpack(layers: &[Vec<Vec<u8>>], means: Means) -> (tempfile::TempDir, io::Result<u64>) {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(temp.path().join("outside"), "untouched").unwrap();
    fs::create_dir(temp.path().join("out")).unwrap();
    let opened = super::super::blobs::open_directory(&root).unwrap();
    let mut unpacker = Unpacker::new(opened.as_fd(), None).unwrap();
    let mut outcome = Ok(());
    for layer in layers {
        let archive = [layer.concat(), END.to_vec()].concat();
        outcome =
            outcome.and_then(|()| unpacker.add(&mut Reader::new(Cursor::new(archive)), means));
    }
    let outcome = outcome.and_then(|()| unpacker.finish());
    assert_eq!(fs::read_to_string(temp.path().join("outside")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(temp.path().join("out")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 3);
    (temp, outcome)
}

fn refused(layer: Vec<Vec<u8>>, words: &str) {
    let (_, outcome) = unpack(&[layer], Means::Tree);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn a_path_that_leads_out_is_refused() {
    for path in ["../outside", "a/../../outside", "..", "/../x", "a/.."] {
        refused(vec![file(path, "x")], "leads out");
        refused(vec![directory(path)], "leads out");
        refused(vec![file("a", "x"), entry(b'1', b"b", path.as_bytes(), 0, b"")], "leads out");
    }
    refused(vec![file(&"d/".repeat(200), "x")], "too deep");
    refused(vec![file(&"n".repeat(300), "x")], "too long");
    refused(vec![file(&format!("{}x", "long/".repeat(900)), "x")], "too long");
    refused(vec![file("bad\nname/../..", "x")], "leads out");
}

#[test]
fn what_is_only_on_the_way_to_a_file_counts_too() {
    let temp = tempfile::tempdir().unwrap();
    let opened = super::super::blobs::open_directory(&temp.path().canonicalize().unwrap()).unwrap();
    let mut unpacker = Unpacker::new(opened.as_fd(), None).unwrap();
    let archive =
        [file(&format!("{}x", "d/".repeat(99)), ""), file("d/y", ""), END.to_vec()].concat();
    unpacker.add(&mut Reader::new(Cursor::new(archive.as_slice())), Means::Tree).unwrap();
    assert_eq!(unpacker.files, 101);
    // Every one of them takes room, whatever is in it.
    let room = Room::of(opened.as_fd(), 100 * UNPACKED_FILE_BYTES).unwrap();
    let mut unpacker = Unpacker { room, ..Unpacker::new(opened.as_fd(), None).unwrap() };
    let again = [file(&format!("{}x", "e/".repeat(100)), ""), END.to_vec()].concat();
    let error = unpacker.add(&mut Reader::new(Cursor::new(again)), Means::Tree).unwrap_err();
    assert!(error.to_string().contains("when unpacked"), "{error}");
    unpacker.files = IMAGE_FILES_MAX - 1;
    unpacker.room = Room::of(opened.as_fd(), IMAGE_UNPACKED_BYTES_MAX).unwrap();
    let way = [file("new/way/x", ""), END.to_vec()].concat();
    let error = unpacker.add(&mut Reader::new(Cursor::new(way)), Means::Tree).unwrap_err();
    assert!(error.to_string().contains("files"), "{error}");
}

#[test]
fn a_name_that_no_file_can_have_is_refused_before_others_are_kept() {
    let long = "l".repeat(PATH_BYTES_MAX + 1);
    for entry in [file(&long, ""), link("a", &long), entry(b'1', b"a", long.as_bytes(), 0, b"")] {
        let mut archive = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut archive, &[file("manifest.json", "[]"), entry].concat()).unwrap();
        let listed = super::super::blobs::Blobs::list(&Piece::whole(archive).unwrap());
        let error = listed.err().unwrap();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}

#[test]
fn links_lead_nowhere_but_into_the_image() {
    // An absolute link is one of the image, and so is what is written through it.
    let (temp, outcome) = unpack(
        &[vec![
            directory("etc"),
            link("a", "/etc"),
            file("a/passwd", "the image's"),
            link("up", "../../../../out"),
            directory("out"),
            file("up/x", "within"),
        ]],
        Means::Tree,
    );
    outcome.unwrap();
    let read = |path: &str| fs::read_to_string(temp.path().join("root").join(path)).unwrap();
    assert_eq!((read("etc/passwd"), read("out/x")), ("the image's".into(), "within".into()));

    let outside = unpack(&[Vec::new()], Means::Tree).0;
    let there = outside.path().join("out").display().to_string();
    refused(vec![link("a", &there), file("a/x", "x")], "leads nowhere");
    refused(vec![link("a", "a"), file("a/x", "x")], "circle");
    refused(vec![file("a", ""), file("a/x", "x")], "no directory");
    refused(vec![link("a", "/proc/self/root"), file("a/x", "x")], "leads nowhere");
    // A link as the last name is replaced, not followed.
    let (temp, outcome) = unpack(
        &[vec![link("a", "../outside"), file("a", "new"), link("b", "../out"), directory("b")]],
        Means::Tree,
    );
    outcome.unwrap();
    assert_eq!(fs::read_to_string(temp.path().join("root/a")).unwrap(), "new");
    assert!(fs::symlink_metadata(temp.path().join("root/b")).unwrap().is_dir());
}

#[test]
fn a_hard_link_is_another_name_of_a_file_of_the_image() {
    let hard = |to: &str| entry(b'1', b"h", to.as_bytes(), 0o644, b"");
    refused(vec![hard("/etc/passwd")], "not there");
    refused(vec![hard("../outside")], "leads out");
    refused(vec![link("l", "../"), hard("l/outside")], "not there");
    refused(vec![directory("d"), hard("d")], "of a directory");
    refused(vec![hard("h")], "not there");
    refused(vec![hard("")], "not there");
    // Of a link it is the link, never what that leads to.
    let (temp, outcome) =
        unpack(&[vec![link("l", "../outside"), hard("l"), file("h", "new")]], Means::Tree);
    outcome.unwrap();
    assert_eq!(fs::read_to_string(temp.path().join("root/h")).unwrap(), "new");
    let (temp, outcome) = unpack(&[vec![file("f", "x"), hard("./f"), hard("/f")]], Means::Tree);
    outcome.unwrap();
    assert_eq!(fs::metadata(temp.path().join("root/h")).unwrap().nlink(), 2);
}

#[test]
fn devices_are_left_out_and_no_bit_gives_rights() {
    let (temp, outcome) = unpack(
        &[vec![
            entry(b'3', b"c", b"", 0o666, b""),
            entry(b'4', b"b", b"", 0o666, b""),
            entry(b'6', b"p", b"", 0o666, b""),
            entry(b'V', b"volume", b"", 0o666, b""),
            entry(b'3', b"dev/null", b"", 0o666, b""),
            entry(b'0', b"s", b"", 0o6755, b"x"),
            entry(b'0', b"none", b"", 0, b"x"),
            entry(b'5', b"d", b"", 0o7511, b""),
        ]],
        Means::Tree,
    );
    assert_eq!(outcome.unwrap(), 4);
    let mode = |path: &str| {
        fs::metadata(temp.path().join("root").join(path)).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!((mode("s"), mode("none"), mode("d")), (0o755, 0o400, 0o1711));
    assert_eq!(fs::read_dir(temp.path().join("root")).unwrap().count(), 3);
}

#[test]
fn the_last_of_several_counts_and_names_may_be_any_bytes() {
    let (temp, outcome) = unpack(
        &[vec![
            file("twice", "one"),
            file("twice", "two"),
            directory("dir/in/it"),
            file("dir", "a file now"),
            entry(b'0', b"in\xffvalid\n", b"", 0o644, b"x"),
            file("///abs//./olute", "x"),
            directory("."),
        ]],
        Means::Tree,
    );
    outcome.unwrap();
    let root = temp.path().join("root");
    assert_eq!(fs::read_to_string(root.join("twice")).unwrap(), "two");
    assert_eq!(fs::read_to_string(root.join("dir")).unwrap(), "a file now");
    assert!(root.join(std::ffi::OsStr::from_bytes(b"in\xffvalid\n")).exists());
    assert!(root.join("abs/olute").exists());
}

#[test]
fn layers_hide_what_lies_below_and_not_what_they_bring() {
    let below = vec![
        directory("d"),
        file("d/old", "1"),
        file("d/sub/old", "1"),
        file("gone", "1"),
        file("tree/a/b", "1"),
        file("kept", "1"),
        file("both/old", "1"),
    ];
    let above = vec![
        file("d/new", "2"),
        file("d/sub/new", "2"),
        file("both/new", "2"),
        // In any order.
        file("d/.wh..wh..opq", ""),
        file(".wh.gone", ""),
        file(".wh.tree", ""),
        file(".wh..wh.plnk", ""),
        file("kept", "2"),
        file(".wh.kept", ""),
        file(".wh.both", ""),
        file("missing/.wh.x", ""),
    ];
    let (temp, outcome) = unpack(&[below.clone(), above.clone()], Means::Layer);
    outcome.unwrap();
    assert_eq!(
        tree(&temp.path().join("root")).into_keys().collect::<Vec<_>>(),
        [&b"both"[..], b"both/new", b"d", b"d/new", b"d/sub", b"d/sub/new", b"kept"]
            .map(<[u8]>::to_vec)
    );
    // In a tree of its own these are names like others.
    let (temp, outcome) = unpack(&[below, above], Means::Tree);
    outcome.unwrap();
    assert!(temp.path().join("root/.wh.gone").exists() && temp.path().join("root/gone").exists());
    let outcome = unpack(&[vec![file("a/.wh...", "")]], Means::Layer).1;
    assert!(outcome.unwrap_err().to_string().contains("no name"));
    // A link in the way of a deletion leads nowhere else either.
    let layers = [vec![link("l", "../out"), file("x", "")], vec![file("l/.wh..wh..opq", "")]];
    unpack(&layers, Means::Layer).1.unwrap();
}

#[test]
fn what_is_packed_beyond_its_bounds_or_cut_short_is_told() {
    use flate2::{Compression, write::GzEncoder};
    let never = AtomicBool::new(false);
    let temp = tempfile::tempdir().unwrap();
    let piece = |bytes: &[u8]| {
        let path = temp.path().join("packed");
        fs::write(&path, bytes).unwrap();
        Piece::whole(File::open(path).unwrap()).unwrap()
    };
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&[file("a", &"x".repeat(100_000)), END.to_vec()].concat()).unwrap();
    let packed = packed.finish().unwrap();
    for end in [20, packed.len() / 2, packed.len() - 1] {
        let piece = piece(&packed[..end]);
        let unpacked = Unpacked::new(piece, Packing::Gzip, &never);
        assert!(io::copy(&mut { unpacked }, &mut io::sink()).is_err(), "{end}");
    }
    // Members of a gzip file count as one, as in layers that can be read from the middle.
    let twice = piece(&[packed.clone(), packed.clone()].concat());
    assert_eq!(Packing::of(&twice).unwrap(), Packing::Gzip);
    let mut all = Vec::new();
    Unpacked::new(twice, Packing::Gzip, &never).read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 2 * (512 + 100_352 + 1024));
    let given_up = AtomicBool::new(true);
    let error = Unpacked::new(piece(&packed), Packing::Gzip, &given_up).read(&mut [0; 9]);
    assert!(error.unwrap_err().to_string().contains("nobody waits"));
    for (start, word) in [(&b"\xfd7zXZ\0"[..], "xz -d"), (b"BZh9", "bzip2 -d")] {
        let error = Packing::of(&piece(start)).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let out = Command::new("zstd").arg("-c").arg(temp.path().join("packed")).output();
    if let Some(out) = out.ok().filter(|it| it.status.success()) {
        let piece = piece(&[out.stdout.clone(), out.stdout.clone()].concat());
        assert_eq!(Packing::of(&piece).unwrap(), Packing::Zstd);
        let mut all = Vec::new();
        Unpacked::new(piece, Packing::Zstd, &never).read_to_end(&mut all).unwrap();
        assert_eq!(all, b"BZh9BZh9");
    }
}

/// Everything in a directory: kind, mode and contents by path.
fn tree(root: &Path) -> BTreeMap<Vec<u8>, (char, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for item in fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            let facts = fs::symlink_metadata(&path).unwrap();
            let mode = facts.permissions().mode() & 0o777;
            let what = if facts.is_dir() {
                left.push(path.clone());
                ('d', mode, Vec::new())
            } else if facts.is_symlink() {
                ('l', 0, fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else {
                ('f', mode, fs::read(&path).unwrap())
            };
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            found.insert(name, what);
        }
    }
    found
}

#[derive(Clone, Debug)]
enum Thing {
    File(Vec<u8>, u32),
    Link(String),
    Directory(u32),
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..3000), 0_u32..0o1000)
            .prop_map(|(bytes, mode)| Thing::File(bytes, mode | 0o600)),
        "[a-z./]{1,120}".prop_map(Thing::Link),
        (0_u32..0o1000).prop_map(|mode| Thing::Directory(mode | 0o700)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_tree_comes_back_as_the_systems_own_program_packed_it(
        things in prop::collection::btree_map("[a-z\u{e9} ]{1,60}(/[a-z\n]{1,60}){0,2}", thing(), 0..12),
        form in 0_usize..2,
    ) {
        let temp = tempfile::tempdir().unwrap();
        let from = temp.path().join("from");
        fs::create_dir(&from).unwrap();
        for (path, thing) in &things {
            let path = from.join(path);
            // A name may be a file's already.
            if fs::create_dir_all(path.parent().unwrap()).is_err() || fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match thing {
                Thing::File(bytes, mode) => { fs::write(&path, bytes).unwrap(); set(*mode); }
                Thing::Link(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
                Thing::Directory(mode) => { fs::create_dir(&path).unwrap(); set(*mode); }
            }
        }
        let out = Command::new("tar").arg("-C").arg(&from).args(["-c", "."])
            .arg(["--format=gnu", "--format=pax"][form]).output().unwrap();
        prop_assert!(out.status.success());
        let root = temp.path().canonicalize().unwrap().join("root");
        fs::create_dir(&root).unwrap();
        let opened = super::super::blobs::open_directory(&root).unwrap();
        let mut unpacker = Unpacker::new(opened.as_fd(), None).unwrap();
        unpacker.add(&mut Reader::new(Cursor::new(out.stdout)), Means::Tree).unwrap();
        prop_assert_eq!(unpacker.finish().unwrap(), 0);
        prop_assert_eq!(tree(&root), tree(&from));
    }

    #[test]
    fn no_damage_leads_out(at in 0_usize..6000, bytes in prop::collection::vec(any::<u8>(), 1..4)) {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap().join("root");
        fs::create_dir(&root).unwrap();
        let mut archive = [
            directory("d"), file("d/f", "x"), link("l", "d"), file("l/g", "y"),
            entry(b'1', b"h", b"d/f", 0o644, b""), file(&"n".repeat(150), "z"), END.to_vec(),
        ].concat();
        for (number, byte) in bytes.into_iter().enumerate() {
            if let Some(it) = archive.get_mut(at + number) { *it = byte; }
        }
        let opened = super::super::blobs::open_directory(&root).unwrap();
        let mut unpacker = Unpacker::new(opened.as_fd(), None).unwrap();
        drop(unpacker.add(&mut Reader::new(Cursor::new(archive)), Means::Layer));
        prop_assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
