//! Archives of tar: written as an engine takes them, with headers of the GNU format; read in `read`.

pub mod read;

use std::io::Cursor;

use self::read::{MemberKind, Reader};

/// One block; everything is padded to it.
pub const BLOCK: usize = 512;
const NAME: usize = 100;

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Link,
    Directory,
}

/// One entry without its contents. Paths are bytes, relative to where the archive is unpacked.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub path: &'a [u8],
    pub kind: Kind,
    /// Permissions.
    pub mode: u32,
    pub owner: (u32, u32),
    pub bytes: u64,
    /// Seconds since 1970.
    pub modified: u64,
    /// Where a link leads.
    pub target: &'a [u8],
}

/// A number in octal digits, or in binary where it does not fit.
fn number(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    if text.len() <= digits {
        for (into, digit) in field.iter_mut().zip(text.bytes()) {
            *into = digit;
        }
        return;
    }
    let bytes = value.to_be_bytes();
    let skipped = field.len().saturating_sub(bytes.len());
    for (at, into) in field.iter_mut().enumerate() {
        *into = match at {
            0 => 0x80,
            at if at < skipped => 0,
            at => bytes.get(at - skipped).copied().unwrap_or_default(),
        };
    }
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    for (into, byte) in block.iter_mut().skip(at).zip(bytes) {
        *into = *byte;
    }
}

fn put_number(block: &mut [u8; BLOCK], at: usize, length: usize, value: u64) {
    if let Some(field) = block.get_mut(at..at + length) {
        number(field, value);
    }
}

fn block(letter: u8, entry: &Entry<'_>) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    put(&mut out, 0, entry.path.get(..NAME).unwrap_or(entry.path));
    put_number(&mut out, 100, 8, u64::from(entry.mode));
    put_number(&mut out, 108, 8, u64::from(entry.owner.0));
    put_number(&mut out, 116, 8, u64::from(entry.owner.1));
    put_number(&mut out, 124, 12, entry.bytes);
    put_number(&mut out, 136, 12, entry.modified);
    put(&mut out, 148, b"        ");
    put(&mut out, 156, &[letter]);
    put(&mut out, 157, entry.target.get(..NAME).unwrap_or(entry.target));
    put(&mut out, 257, b"ustar  \0");
    let sum: u64 = out.iter().map(|it| u64::from(*it)).sum();
    put(&mut out, 148, format!("{sum:06o}\0 ").as_bytes());
    out
}

/// What is missing to a whole number of blocks.
pub fn padding(bytes: u64) -> usize {
    let over = (bytes % BLOCK as u64) as usize;
    (BLOCK - over) % BLOCK
}

/// A text that is too long for a header, as an entry in front of it.
fn long(out: &mut Vec<u8>, letter: u8, text: &[u8]) {
    if text.len() <= NAME {
        return;
    }
    let bytes = text.len() as u64 + 1;
    let entry = Entry {
        path: b"././@LongLink",
        kind: Kind::File,
        mode: 0,
        owner: (0, 0),
        bytes,
        modified: 0,
        target: b"",
    };
    out.extend(block(letter, &entry));
    out.extend_from_slice(text);
    out.resize(out.len() + 1 + padding(bytes), 0);
}

/// The header of an entry; a file's contents come after it, padded.
pub fn header(entry: &Entry<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK);
    long(&mut out, b'K', entry.target);
    long(&mut out, b'L', entry.path);
    let letter = match entry.kind {
        Kind::File => b'0',
        Kind::Link => b'2',
        Kind::Directory => b'5',
    };
    out.extend(block(letter, entry));
    out
}

/// A small file as a whole.
pub fn file(out: &mut Vec<u8>, path: &str, mode: u32, contents: &[u8]) {
    let bytes = contents.len() as u64;
    let entry = Entry {
        path: path.as_bytes(),
        kind: Kind::File,
        mode,
        owner: (0, 0),
        bytes,
        modified: 0,
        target: b"",
    };
    out.extend(header(&entry));
    out.extend_from_slice(contents);
    out.resize(out.len() + padding(bytes), 0);
}

/// What ends an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// What an archive of one path begins with.
pub enum First<'a> {
    File(&'a [u8]),
    /// Where it leads.
    Link(Vec<u8>),
}

/// The first plain file or link of an archive, which an engine made.
pub fn first(archive: &[u8]) -> Option<First<'_>> {
    first_of(archive, |it| matches!(it, MemberKind::File | MemberKind::Link))
}

/// The contents of the first plain file of an archive, which an engine made.
pub fn first_file(archive: &[u8]) -> Option<&[u8]> {
    match first_of(archive, |it| *it == MemberKind::File)? {
        First::File(contents) => Some(contents),
        First::Link(_) => None,
    }
}

fn first_of(archive: &[u8], wanted: fn(&MemberKind) -> bool) -> Option<First<'_>> {
    let mut reader = Reader::new(Cursor::new(archive));
    while let Ok(Some(member)) = reader.next() {
        if !wanted(&member.kind) {
            continue;
        }
        if member.kind == MemberKind::Link {
            return Some(First::Link(member.target));
        }
        let start = usize::try_from(member.at).ok()?;
        let end = start.checked_add(usize::try_from(member.bytes).ok()?)?;
        return archive.get(start..end).map(First::File);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use proptest::prelude::*;

    use super::*;

    fn entry<'a>(path: &'a [u8], kind: Kind, target: &'a [u8]) -> Entry<'a> {
        Entry { path, kind, mode: 0o644, owner: (7, 8), bytes: 0, modified: 1_000, target }
    }

    /// What the system's own program makes of an archive.
    fn listed(archive: &[u8]) -> String {
        let mut child = Command::new("tar")
            .args(["-tvf", "-", "--numeric-owner", "--quoting-style=literal"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(archive).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn others_read_what_is_written() {
        let long = vec![b'x'; 300];
        let mut archive = header(&entry(b"a/directory", Kind::Directory, b""));
        archive.extend(header(&entry(b"a/link", Kind::Link, &long)));
        archive.extend(header(&entry(&long, Kind::File, b"")));
        file(&mut archive, "small", 0o755, b"hello");
        archive.extend(END);
        let seen = listed(&archive);
        let lines: Vec<&str> = seen.lines().collect();
        assert!(lines[0].starts_with("drw-r--r-- 7/8"), "{seen}");
        assert!(lines[1].ends_with(&"x".repeat(300)) && lines[1].starts_with('l'), "{seen}");
        assert!(lines[2].ends_with(&"x".repeat(300)), "{seen}");
        assert!(lines[3].starts_with("-rwxr-xr-x") && lines[3].contains(" 5 "), "{seen}");
        assert_eq!(first_file(&archive), Some(&b""[..]));
        assert!(matches!(first(&archive), Some(First::Link(target)) if target == long));
        let mut one = Vec::new();
        file(&mut one, "passwd", 0o644, b"root:x:0:0");
        assert_eq!(first_file(&one), Some(&b"root:x:0:0"[..]));
    }

    #[test]
    fn a_number_that_does_not_fit_is_binary() {
        let mut field = [0; 12];
        number(&mut field, 0o777);
        assert_eq!(&field, b"00000000777\0");
        number(&mut field, 1 << 40);
        assert_eq!(field[0], 0x80);
        assert_eq!(u64::from_be_bytes(field[4..].try_into().unwrap()), 1 << 40);
        number(&mut field[..8], 3_000_000_000);
        assert_eq!(field[0], 0x80);
    }

    proptest! {
        #[test]
        fn no_archive_from_outside_makes_it_fail(
            bytes in prop::collection::vec(any::<u8>(), 0..2048),
        ) {
            let _ = first_file(&bytes);
        }
    }
}
