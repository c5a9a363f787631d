//! Archives as no honest engine writes them of an honest sandbox.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::base::{fault::Kind, limits::COPY_DEPTH_MAX};

/// One entry for each: a path, a letter for what it is, and contents or where it leads.
fn archive(lines: &[(&str, u8, &str)]) -> Vec<u8> {
    fn raw(path: &str, letter: u8, text: &str) -> Vec<u8> {
        let mut head = [0_u8; 512];
        let shown = &path.as_bytes()[..path.len().min(100)];
        head[..shown.len()].copy_from_slice(shown);
        head[100..107].copy_from_slice(b"0000755");
        head[156] = letter;
        let link = matches!(letter, b'1' | b'2');
        let bytes = if link { 0 } else { text.len() };
        head[124..135].copy_from_slice(format!("{bytes:011o}").as_bytes());
        if link {
            head[157..157 + text.len()].copy_from_slice(text.as_bytes());
        }
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|it| u32::from(*it)).sum();
        head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut out = head.to_vec();
        if bytes > 0 {
            out.extend(text.as_bytes());
            out.resize(out.len().next_multiple_of(512), 0);
        }
        out
    }
    let mut out = Vec::new();
    for (path, letter, text) in lines {
        if path.len() > 100 {
            out.extend(raw("long", b'L', path));
        }
        out.extend(raw(path, *letter, text));
    }
    out.extend([0; 1024]);
    out
}

#[test]
fn a_hostile_archive_writes_nowhere_else() {
    let world = World::new(files);
    let outside = world.ground.join("../outside");
    fs::create_dir(&outside).unwrap();
    let away = outside.display().to_string();
    for lines in [
        vec![("real/../../x", b'0', "x")],
        vec![("real/way", b'2', away.as_str()), ("real/way/x", b'0', "x")],
        vec![("real/hard", b'1', "real/../../ground/sent")],
        vec![("real/hard", b'1', "real/nothing")],
    ] {
        let whole = archive(&[&[("real/", b'5', "")], lines.as_slice()].concat());
        assert!(pull(&world.ground, b"", Some(whole.as_slice())).is_err(), "{lines:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
    let half = archive(&[("real/", b'5', ""), ("real/a", b'0', "x")]);
    for end in [600, 1100, 1536] {
        assert!(pull(&world.ground, b"", Some(&half[..end])).is_err());
    }
    // Whatever came to nothing leaves nothing.
    eventually("the trash is emptied", || world.layers() == 0);
    // A link where the workspace was has nothing to say of what was in it.
    let link = archive(&[("real", b'2', "/etc")]);
    assert_eq!(pull(&world.ground, b"", Some(&link)).unwrap_err().kind(), Kind::Absent);
    // What is there after all that is what was there before.
    world.pull("");
    let before = world.changes();
    assert!(pull(&world.ground, b"", Some(&half[..600])).is_err());
    assert_eq!(world.changes(), before);
}

#[test]
fn one_path_that_can_not_be_had_costs_the_others_nothing() {
    let world = World::new(files);
    let deep = format!("real/{}x", "d/".repeat(200));
    let long = format!("real/{}", "n".repeat(300));
    let lines = [
        ("real/", b'5', ""),
        (deep.as_str(), b'0', "x"),
        (long.as_str(), b'0', "x"),
        ("real/new", b'0', "x"),
        ("real/pipe", b'6', ""),
    ];
    pull(&world.ground, b"", Some(&archive(&lines))).unwrap();
    let request = || DiffRequest { text: true, ..DiffRequest::default() };
    let pieces: Vec<DiffPiece> =
        changes(&world.kept(), None, request(), None).map(Result::unwrap).collect();
    let noted: Vec<(&[u8], &str)> = pieces
        .iter()
        .filter_map(|it| match it {
            DiffPiece::File(it) => Some((it.path.as_slice(), it.note.as_deref()?)),
            _ => None,
        })
        .collect();
    let start = "d/".repeat(COPY_DEPTH_MAX);
    assert!(noted.iter().any(|(path, _)| start.trim_end_matches('/').as_bytes() == *path));
    let (named, pipe): (Vec<_>, Vec<_>) = noted.iter().partition(|it| it.1.contains("too long"));
    assert_eq!((named.len(), pipe), (2, vec![&(&b"pipe"[..], "a device, fifo or socket")]));
    assert!(matches!(pieces.last(), Some(DiffPiece::End { .. })));
    assert!(world.changes().contains(&("new".to_owned(), ChangeStatus::Added)));
    let request = ApplyRequest { paths: vec![b"new".to_vec(), b"pipe".to_vec()], ..<_>::default() };
    let since = Timestamp(clock::wall().0 + 60_000);
    let applied = apply(&world.ground(), since, &request).unwrap();
    let told: Vec<_> = applied.paths.iter().map(|it| it.verdict).collect();
    assert_eq!(told, [Verdict::Applied, Verdict::LeftOut]);
    let applied = apply(&world.ground(), since, &ApplyRequest::default()).unwrap();
    let left_out = applied.paths.iter().filter(|it| it.verdict == Verdict::LeftOut).count();
    assert_eq!((left_out, applied.refused()), (3, false));
    // What is asked for anew is told anew, and the rest stays known.
    pull(&world.ground, b"new", Some(&archive(&[("new", b'0', "y")]))).unwrap();
    assert_eq!(Unread::of(&world.ground.join(BOX).join(ABOVE)).len(), 3);
    pull(&world.ground, b"d", None).unwrap();
    assert_eq!(Unread::of(&world.ground.join(BOX).join(ABOVE)).len(), 2);
}

#[test]
fn another_name_of_a_file_takes_no_room_and_holes_stay_holes() {
    let world = World::new(files);
    let holes = "\0".repeat(16 * PIECE_BYTES) + "end";
    let lines = [
        ("real/", b'5', ""),
        ("real/first", b'0', holes.as_str()),
        ("real/second", b'1', "real/first"),
        ("real/kept", b'0', "kept\n"),
        ("real/third", b'1', "real/kept"),
        ("real/link", b'2', "kept"),
        ("real/fourth", b'1', "real/link"),
        ("real/pipe", b'6', ""),
        ("real/fifth", b'1', "real/pipe"),
        ("real/sixth", b'1', "real/"),
    ];
    // Of the workspace itself there is none at all.
    assert!(pull(&world.ground, b"", Some(&archive(&lines))).is_err());
    pull(&world.ground, b"", Some(&archive(&lines[..lines.len() - 1]))).unwrap();
    let layer = world.ground.join(BOX).join(ABOVE).join(WORKSPACE);
    let facts = |it: &str| layer.join(it).symlink_metadata().unwrap();
    assert_eq!((facts("first").nlink(), facts("first").ino()), (2, facts("second").ino()));
    assert_eq!(fs::read(layer.join("first")).unwrap(), holes.as_bytes());
    assert!(facts("first").blocks() * 512 < 2 * PIECE_BYTES as u64);
    assert_eq!(fs::read(layer.join("third")).unwrap(), b"kept\n");
    // Of anything else there is none; that is told.
    let told: Vec<_> = Unread::of(&world.ground.join(BOX).join(ABOVE)).into_keys().collect();
    assert_eq!(told, [&b"fifth"[..], b"fourth", b"pipe"]);
    assert!(["pipe", "fourth", "fifth"].iter().all(|it| !layer.join(it).exists()));
}

#[test]
fn many_names_of_a_large_file_count_as_many_files() {
    let world = World::new(files);
    let large = "\0".repeat(64 << 20);
    let names: Vec<String> = (0..128).map(|it| format!("real/{it}")).collect();
    let mut lines = vec![("real/", b'5', ""), ("real/first", b'0', large.as_str())];
    lines.extend(names.iter().map(|it| (it.as_str(), b'1', "real/first")));
    let fault = pull(&world.ground, b"", Some(&archive(&lines))).unwrap_err();
    assert!(fault.message().contains("more than"), "{fault}");
}
