//! What lies at a path, and what is in a directory, a page at a time.

use std::{mem::MaybeUninit, os::fd::BorrowedFd, os::fd::OwnedFd};

use rustix::{
    fs::{AtFlags, FileType, OFlags, RawDir, Stat, fstat, readlinkat, statat},
    io::Errno,
};

use super::{
    Place,
    reach::{self, Reach, fault},
};
use crate::{
    base::{
        clock::Timestamp,
        fault::Outcome,
        limits::{FILES_LISTED_MAX, FILES_PIECE_MAX, PATH_BYTES_MAX},
    },
    driver::local::identity::Identity,
    model::file::{FileEntry, FileKind, ListPiece, Target, joined},
};

/// What the kernel tells of a directory at once, in bytes.
const PAGE_BYTES: usize = 16 * 1024;
/// Whoever is not known in a sandbox, as its programs see them.
const NOBODY: u32 = 65534;

/// Who owns what, as programs of the sandbox see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners {
    host: (u32, u32),
    inside: (u32, u32),
}

impl Owners {
    /// By the users of its first process, where they can be read; `map` is `uid_map` of /proc.
    pub fn new(identity: &Identity, map: Option<&[u8]>) -> Self {
        let mut inside = (identity.inside_uid, identity.inside_gid);
        let line = map.and_then(|it| str::from_utf8(it).ok()).and_then(|it| {
            let numbers: Option<Vec<u32>> =
                it.split_whitespace().map(|it| it.parse().ok()).collect();
            numbers.filter(|it| it.len() == 3)
        });
        // An image says who its user is.
        if let Some([first, outside, 1]) = line.as_deref()
            && *outside == identity.host_uid
        {
            inside.0 = *first;
            inside.1 = if *first == identity.inside_uid { identity.inside_gid } else { *first };
        }
        Self { host: (identity.host_uid, identity.host_gid), inside }
    }

    fn of(&self, stat: &Stat) -> (u32, u32) {
        let one = |id, host, inside| if id == host { inside } else { NOBODY };
        (one(stat.st_uid, self.host.0, self.inside.0), one(stat.st_gid, self.host.1, self.inside.1))
    }
}

impl Place {
    /// What is open.
    pub fn entry_of(&self, open: BorrowedFd<'_>, path: &[u8], name: &[u8]) -> Outcome<FileEntry> {
        let stat = fstat(open).map_err(|error| fault(path, error))?;
        Ok(self.entry(&stat, path, name, || readlinkat(open, "", Vec::new())))
    }

    fn entry(
        &self,
        stat: &Stat,
        path: &[u8],
        name: &[u8],
        link: impl FnOnce() -> Result<std::ffi::CString, Errno>,
    ) -> FileEntry {
        let kind = reach::kind(FileType::from_raw_mode(stat.st_mode));
        let (owner, group) = self.owners.of(stat);
        let target = (kind == FileKind::Link).then(|| link().ok()).flatten().map(|to| {
            let mut to = to.into_bytes();
            to.truncate(PATH_BYTES_MAX);
            Target { path: to, kind: self.leads_to(path) }
        });
        FileEntry {
            name: name.to_vec(),
            kind,
            size_bytes: (kind == FileKind::File).then(|| stat.st_size.try_into().unwrap_or(0)),
            mode: Some(stat.st_mode & 0o7777),
            modified_at: Some(Timestamp(
                stat.st_mtime
                    .saturating_mul(1000)
                    .saturating_add(stat.st_mtime_nsec.cast_signed() / 1_000_000),
            )),
            owner: Some(owner),
            group: Some(group),
            target,
            version: Some(version(stat)),
        }
    }

    /// What a link leads to, nothing of which is opened.
    fn leads_to(&self, path: &[u8]) -> Option<FileKind> {
        let found = self.reach().ok()?.try_open(path, OFlags::PATH).ok()?.ok()?;
        let stat = fstat(&found).ok()?;
        Some(reach::kind(FileType::from_raw_mode(stat.st_mode)))
    }
}

/// A number that a file of other contents does not have.
pub fn version(stat: &Stat) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    let times = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
    (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mode, times).hash(&mut hasher);
    hasher.finish()
}

/// A directory that is being read. The kernel keeps the place.
pub struct Listing {
    directory: OwnedFd,
    path: Vec<u8>,
    told: usize,
}

impl Listing {
    pub fn open(reach: &Reach, path: Vec<u8>) -> Outcome<Self> {
        Ok(Self { directory: reach.open_directory(&path)?, path, told: 0 })
    }

    /// The next page; whether it was the last.
    pub fn next(&mut self, place: &Place) -> Outcome<(Vec<ListPiece>, bool)> {
        let mut entries = Vec::new();
        let mut page = [MaybeUninit::uninit(); PAGE_BYTES];
        let mut names = RawDir::new(&self.directory, &mut page);
        let mut last = true;
        while let Some(item) = names.next() {
            let item = item.map_err(|error| fault(&self.path, error))?;
            let name = item.file_name().to_bytes();
            let kind = item.file_type();
            if !matches!(name, b"." | b"..") {
                entries.extend(self.one(place, name, kind));
            }
            // Only there no entry is lost.
            if names.is_buffer_empty() && !entries.is_empty() {
                last = false;
                break;
            }
        }
        self.told += entries.len();
        let more = !last && self.told >= FILES_LISTED_MAX;
        let mut pieces: Vec<ListPiece> = Vec::new();
        let mut rest = entries.into_iter().peekable();
        while rest.peek().is_some() {
            pieces.push(ListPiece::Entries(rest.by_ref().take(FILES_PIECE_MAX).collect()));
        }
        if last || more {
            pieces.push(ListPiece::End { more });
        }
        Ok((pieces, last || more))
    }

    /// `None` when it has gone since it was listed.
    fn one(&self, place: &Place, name: &[u8], kind: FileType) -> Option<FileEntry> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let path = joined(&self.path, name);
        match statat(&self.directory, name, flags) {
            Ok(stat) => Some(
                place.entry(&stat, &path, name, || readlinkat(&self.directory, name, Vec::new())),
            ),
            Err(Errno::NOENT) => None,
            // It is there, and that is all that may be known of it.
            Err(_) => Some(FileEntry::bare(name, reach::kind(kind))),
        }
    }
}
