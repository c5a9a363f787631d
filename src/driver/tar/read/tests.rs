//! Archives of the system's own program, and damaged ones.

use std::{io::Cursor, process::Command};

use proptest::prelude::*;

use super::*;

fn all(archive: &[u8]) -> io::Result<Vec<(Member, Vec<u8>)>> {
    let mut reader = Reader::new(Cursor::new(archive));
    let mut out = Vec::new();
    while let Some(member) = reader.next()? {
        let mut contents = Vec::new();
        reader.read_to_end(&mut contents)?;
        out.push((member, contents));
    }
    Ok(out)
}

#[test]
fn what_the_systems_own_program_writes_is_read_in_every_form() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    let long = "l".repeat(90);
    let deep = root.join(&long).join(&long);
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("file"), "contents").unwrap();
    std::fs::hard_link(deep.join("file"), root.join("other")).unwrap();
    std::os::unix::fs::symlink("t".repeat(300), root.join("link")).unwrap();
    std::fs::write(root.join("new\nline"), vec![b'x'; 1000]).unwrap();
    for form in ["gnu", "pax", "ustar"] {
        if form == "ustar" {
            // It has no room for such targets.
            std::fs::remove_file(root.join("link")).unwrap();
            std::fs::remove_file(root.join("other")).unwrap();
        }
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&root).args(["--sort=name", "-c", "."]);
        let out = tar.arg(format!("--format={form}")).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let read = all(&out.stdout).unwrap();
        let find = |kind: MemberKind, end: &str| {
            let found = read.iter().find(|it| it.0.path.ends_with(end.as_bytes()));
            let found = found.unwrap_or_else(|| panic!("{form}: {end}"));
            assert_eq!(found.0.kind, kind, "{form}: {end}");
            found
        };
        let file = format!("{long}/{long}/file");
        assert_eq!(find(MemberKind::File, &file).1, b"contents");
        assert_eq!(find(MemberKind::File, "new\nline").1.len(), 1000);
        find(MemberKind::Directory, &format!("{long}/"));
        if form != "ustar" {
            let hard = &find(MemberKind::HardLink, "other").0;
            assert_eq!(hard.target, format!("./{file}").as_bytes());
            assert_eq!(find(MemberKind::Link, "link").0.target, "t".repeat(300).as_bytes());
        }
    }
}

#[test]
fn what_is_cut_short_or_damaged_is_told() {
    let mut archive = Vec::new();
    super::super::file(&mut archive, "one", 0o644, &[b'x'; 700]);
    archive.extend(super::super::END);
    assert_eq!(all(&archive).unwrap()[0].1.len(), 700);
    for end in [100, BLOCK + 100, BLOCK + 700] {
        let error = all(&archive[..end]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}");
    }
    let mut reader = Reader::new(Cursor::new(&archive[..BLOCK + 1024]));
    while reader.next().unwrap().is_some() {}
    assert!(!reader.has_ended());
    archive[3] = b'z';
    assert_eq!(all(&archive).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_name_that_would_fill_the_memory_is_refused() {
    let entry = |letter: u8, size: u64| {
        let entry = super::super::Entry {
            path: b"././@LongLink",
            kind: super::super::Kind::File,
            mode: 0,
            owner: (0, 0),
            bytes: size,
            modified: 0,
            target: b"",
        };
        super::super::block(letter, &entry)
    };
    for letter in *b"LKxX" {
        let error = all(&entry(letter, 1 << 40)).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
    assert!(all(&entry(b'S', 0)).unwrap_err().to_string().contains("holes"));
    assert_eq!(all(&entry(b'0', u64::MAX)).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        drop(all(&bytes));
    }

    #[test]
    fn no_damage_makes_it_fail(at in 0_usize..2560, byte: u8, form in 0_usize..3) {
        let mut archive = Vec::new();
        let path = "p".repeat([5, 150, 99][form]);
        super::super::file(&mut archive, &path, 0o644, b"hello");
        archive.extend(super::super::header(&super::super::Entry {
            path: b"l",
            kind: super::super::Kind::Link,
            mode: 0o777,
            owner: (0, 0),
            bytes: 0,
            modified: 5,
            target: path.as_bytes(),
        }));
        archive.extend(super::super::END);
        if let Some(it) = archive.get_mut(at) {
            *it = byte;
        }
        drop(all(&archive));
    }
}
