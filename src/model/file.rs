//! Files in a sandbox, as somebody outside looks at them. Names and contents are the sandbox's: hostile bytes.

use std::path::PathBuf;

use bytes::Bytes;

use super::sandbox::words;
use crate::base::{
    clock::Timestamp,
    fault::{Fault, Outcome},
    limits::PATH_BYTES_MAX,
    text::shown,
};

words! {
    /// What lies at a path.
    FileKind {
        File = "file",
        Directory = "directory",
        /// A symbolic link.
        Link = "link",
        Fifo = "fifo",
        Socket = "socket",
        /// Of characters or of blocks: never opened.
        Device = "device",
        /// Not told, or of a kind that is not known here.
        Other = "other",
    }
}

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As it is written in the link; cut at `PATH_BYTES_MAX`.
    pub path: Vec<u8>,
    /// What lies there, within the sandbox; `None` = nothing, or it is not known.
    pub kind: Option<FileKind>,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name in its directory, any bytes but `/` and zero; of the root, `/`; of a path that ends so, `..`.
    pub name: Vec<u8>,
    pub kind: FileKind,
    /// Of a file's contents; `None` for what has none, or where it is not known.
    pub size_bytes: Option<u64>,
    /// Permissions with set-id and sticky bits, 12 bits.
    pub mode: Option<u32>,
    pub modified_at: Option<Timestamp>,
    /// User and group, as programs in the sandbox see them.
    pub owner: Option<u32>,
    pub group: Option<u32>,
    /// Only of a link.
    pub target: Option<Target>,
    /// Another number when it was changed or replaced; `None` = can't be told.
    pub version: Option<u64>,
}

impl FileEntry {
    /// One of which only the name is known.
    pub fn bare(name: &[u8], kind: FileKind) -> Self {
        Self {
            name: name.to_vec(),
            kind,
            size_bytes: None,
            mode: None,
            modified_at: None,
            owner: None,
            group: None,
            target: None,
            version: None,
        }
    }

    /// Whether it is a directory, or a link to one.
    pub fn is_directory(&self) -> bool {
        let leads_to = self.target.as_ref().and_then(|it| it.kind);
        self.kind == FileKind::Directory || leads_to == Some(FileKind::Directory)
    }
}

/// A directory, piece by piece, in no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListPiece {
    Entries(Vec<FileEntry>),
    /// Always the last piece; without it the list is not whole.
    End {
        /// There are more than are told.
        more: bool,
    },
}

/// Where to begin to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// So many bytes after the start.
    Start(u64),
    /// So many bytes before the end, or the start where there are fewer.
    End(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    pub path: Vec<u8>,
    pub from: ReadFrom,
    /// How many bytes at most; `None` = to the end.
    pub most: Option<u64>,
}

/// A file, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadPiece {
    /// Always the first piece.
    Begin {
        /// As it is now; a link on the way was followed.
        entry: FileEntry,
        /// Where in the file the data begins.
        offset: u64,
    },
    Data(Bytes),
    /// Always the last piece; without it the data is not whole.
    End,
}

/// What may be at a path that is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A file, or nothing.
    Anything,
    Nothing,
    /// The file that had this version.
    Version(u64),
}

words! {
    /// What is made at a path.
    Made {
        File = "file",
        Directory = "directory",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRequest {
    pub path: Vec<u8>,
    pub make: Made,
    /// Permissions, 9 bits; `None` = those of what is replaced, or 0644 and 0755.
    pub mode: Option<u32>,
    pub expected: Expected,
}

/// What to look for below a directory. With both, files of this name that hold the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindRequest {
    pub path: Vec<u8>,
    /// Part of a name; capital letters count only where there are some in it.
    pub name: Option<String>,
    /// Part of a line of a file, with the same rule.
    pub text: Option<String>,
}

/// One that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Below the directory that was looked through.
    pub path: Vec<u8>,
    pub kind: FileKind,
    /// `None` = it was found by its name.
    pub line: Option<HitLine>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitLine {
    /// From 1.
    pub number: u64,
    /// The part of it that holds the text, cut at `FILE_HIT_BYTES_MAX`.
    pub text: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindPiece {
    Hit(Hit),
    /// Always the last piece; without it not all was looked at.
    End {
        /// There is more: a bound was reached.
        more: bool,
        /// Entries that were looked at.
        looked_at: u64,
        /// Directories and files that could not be read.
        unread: u64,
    },
}

/// Makes a path absolute: one that does not begin at the root is below the workspace, or the root without one.
pub fn absolute(workspace: Option<&[u8]>, path: &[u8]) -> Outcome<Vec<u8>> {
    let whole = match path.first() {
        Some(b'/') => path.to_vec(),
        _ => [workspace.unwrap_or(b"/"), b"/", path].concat(),
    };
    if whole.contains(&0) || whole.len() > PATH_BYTES_MAX {
        return Err(Fault::invalid(format!("not a path: {}", name_shown(path))));
    }
    // No `..` is resolved by its name: what lies before it may be a link.
    let parts = whole.split(|it| *it == b'/').filter(|it| !matches!(*it, b"" | b"."));
    let plain = parts.fold(Vec::new(), |mut all, part| {
        all.push(b'/');
        all.extend_from_slice(part);
        all
    });
    Ok(if plain.is_empty() { b"/".to_vec() } else { plain })
}

/// A name in a directory, as one path.
pub fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"/" | b"" => [b"/", name].concat(),
        directory => [directory, b"/", name].concat(),
    }
}

/// Where a link leads that stands at `path`: links on the way, and `..`, are for whoever opens it.
pub fn led(path: &[u8], target: &[u8]) -> Vec<u8> {
    let above = split(path).map_or(&b"/"[..], |it| it.0);
    if target.starts_with(b"/") { target.to_vec() } else { joined(above, target) }
}

/// Whether it is where something is below a directory: names, and nothing that leads elsewhere.
pub fn is_below(path: &[u8]) -> bool {
    path.split(|it| *it == b'/').all(|it| !matches!(it, b"" | b"." | b"..") && !it.contains(&0))
}

/// The directory a path lies in, and its name there; `None` for the root.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|it| *it == b'/')?;
    let (above, name) = (path.get(..slash)?, path.get(slash + 1..)?);
    let above: &[u8] = if above.is_empty() { b"/" } else { above };
    (!name.is_empty()).then_some((above, name))
}

/// A name or path for a person: control and invisible characters are named, and bytes that are no text.
pub fn name_shown(name: &[u8]) -> String {
    let mut out = String::new();
    for chunk in name.utf8_chunks() {
        out.push_str(&shown(chunk.valid(), PATH_BYTES_MAX));
        chunk.invalid().iter().for_each(|it| out.push_str(&format!("<{it:02X}>")));
    }
    out
}

/// A name that is safe to have in a directory of the operator's: one line of text, no control or invisible characters, not
/// hidden behind another.
pub fn plain_name(name: &[u8]) -> PathBuf {
    let shown = name_shown(name).replace('/', "∕");
    match shown.as_str() {
        "" | "." | ".." => PathBuf::from("unnamed"),
        _ => PathBuf::from(shown),
    }
}

/// Permissions as `ls` writes them, e.g. `rwxr-xr-x`.
pub fn mode_shown(mode: u32) -> String {
    let bit = |at: u32, letter: char| if mode & (1 << at) == 0 { '-' } else { letter };
    let letter = |at: u32| match at % 3 {
        0 => 'x',
        1 => 'w',
        _ => 'r',
    };
    let mut out: Vec<char> = (0..9).rev().map(|at| bit(at, letter(at))).collect();
    let special = [(11, 2, 's', 'S'), (10, 5, 's', 'S'), (9, 8, 't', 'T')];
    for (at, place, runs, only) in special {
        if let Some(letter) = out.get_mut(place).filter(|_| mode & (1 << at) != 0) {
            *letter = if *letter == 'x' { runs } else { only };
        }
    }
    out.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_from_where_they_stand() {
        assert_eq!(led(b"/etc/ssl/cert.pem", b"certs/all.pem"), b"/etc/ssl/certs/all.pem");
        assert_eq!(led(b"/etc/ssl/cert.pem", b"../../all.pem"), b"/etc/ssl/../../all.pem");
        assert_eq!(led(b"/etc/ssl/cert.pem", b"/var/all.pem"), b"/var/all.pem");
        assert_eq!(led(b"/lib", b"usr/lib"), b"/usr/lib");
    }

    #[test]
    fn a_path_begins_at_the_root_or_in_the_workspace() {
        let of = |path: &str| absolute(Some(b"/home/me/p"), path.as_bytes()).unwrap();
        assert_eq!(of("src/main.rs"), b"/home/me/p/src/main.rs");
        assert_eq!(of(""), b"/home/me/p");
        assert_eq!(of("./a//b/"), b"/home/me/p/a/b");
        assert_eq!(of("/etc/./passwd"), b"/etc/passwd");
        assert_eq!(of("../x"), b"/home/me/p/../x");
        assert_eq!(of("/"), b"/");
        assert_eq!(absolute(None, b"x").unwrap(), b"/x");
        assert!(absolute(None, b"a\0b").is_err());
        assert!(absolute(None, &[b'a'; PATH_BYTES_MAX]).is_err());
    }

    #[test]
    fn a_path_is_taken_apart_and_put_together() {
        assert_eq!(split(b"/a/b"), Some((&b"/a"[..], &b"b"[..])));
        assert_eq!(split(b"/a"), Some((&b"/"[..], &b"a"[..])));
        assert_eq!(split(b"/"), None);
        assert_eq!(joined(b"/", b"a"), b"/a");
        assert_eq!(joined(b"/a", b"b"), b"/a/b");
    }

    #[test]
    fn a_name_of_any_bytes_can_be_shown() {
        assert_eq!(name_shown("plain ü".as_bytes()), "plain ü");
        assert_eq!(name_shown(b"a\xffb\x1b[2J"), "a<FF>b\u{241b}[2J");
        assert_eq!(name_shown("x\u{202e}y".as_bytes()), "x<U+202E>y");
    }

    #[test]
    fn permissions_are_written_as_ls_does() {
        assert_eq!(mode_shown(0o755), "rwxr-xr-x");
        assert_eq!(mode_shown(0o4711), "rws--x--x");
        assert_eq!(mode_shown(0o1776), "rwxrwxrwT");
        assert_eq!(mode_shown(0o2640), "rw-r-S---");
    }
}
