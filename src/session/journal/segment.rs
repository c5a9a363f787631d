//! The files of a journal: their names, their list, and mending a torn one.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::record::{self, Decoded, HEADER_BYTES, MAGIC, Record};
use crate::base::{
    clock::Timestamp,
    fault::{Fault, Outcome},
};

const SUFFIX: &str = ".seg";
/// Read at once; a record of output is at most a parse slice.
const WINDOW_BYTES: usize = 64 * 1024;

/// One file of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset of its first byte of output.
    pub start: u64,
    /// On disk.
    pub bytes: u64,
}

pub fn path(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("{start:020}{SUFFIX}"))
}

/// Every segment, oldest first.
pub fn list(dir: &Path) -> Outcome<Vec<Segment>> {
    let fault = |it: std::io::Error| match it.kind() {
        std::io::ErrorKind::NotFound => Fault::absent(format!("no recording: {}", dir.display())),
        _ => Fault::io(format!("reading {}", dir.display()), &it),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let name = entry.file_name();
        let start = name.to_str().and_then(|it| it.strip_suffix(SUFFIX)?.parse().ok());
        // One that is dropped meanwhile is simply not there.
        if let (Some(start), Ok(metadata)) = (start, entry.metadata()) {
            found.push(Segment { start, bytes: metadata.len() });
        }
    }
    found.sort_unstable_by_key(|it| it.start);
    Ok(found)
}

/// Reads one segment, which may be growing, record by record.
pub struct Cursor {
    file: File,
    /// File position of the next record.
    at: u64,
    /// Offset of the next byte of output.
    offset: u64,
    window: Vec<u8>,
    /// File position of the window's first byte.
    window_at: u64,
}

/// One record with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Offset of its first byte, or of the byte after it if it has none.
    pub offset: u64,
    pub at: Timestamp,
    pub record: Record,
}

impl Cursor {
    /// `None` when the segment is gone or is none.
    pub fn open(dir: &Path, start: u64) -> Option<Self> {
        let file = File::open(path(dir, start)).ok()?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0).ok()?;
        let at = MAGIC.len() as u64;
        (magic == MAGIC).then(|| Self {
            file,
            at,
            offset: start,
            window: Vec::new(),
            window_at: at,
        })
    }

    /// The next good record; `None` where there is none (yet): call again once it has grown.
    pub fn read(&mut self) -> Option<Entry> {
        let mut fresh = false;
        loop {
            let from = usize::try_from(self.at - self.window_at).ok()?;
            let have = self.window.get(from..).unwrap_or_default();
            match record::decode(have) {
                Decoded::Whole(at, record, took) => {
                    self.at += took as u64;
                    let Some(record) = record else { continue };
                    let entry = Entry { offset: self.offset, at, record };
                    if let Record::Output(bytes) = &entry.record {
                        self.offset += bytes.len() as u64;
                    }
                    return Some(entry);
                }
                Decoded::Short(need) => {
                    if !self.fill(need) {
                        return None;
                    }
                }
                // It may have been read while it was being written: look once more.
                Decoded::Damaged if !fresh => {
                    fresh = true;
                    self.window.clear();
                    self.fill(HEADER_BYTES);
                }
                Decoded::Damaged => {
                    self.window.clear();
                    self.window_at = self.at;
                    return None;
                }
            }
        }
    }

    /// Moves the window to the next record with at least `need` bytes; `false` if not there.
    fn fill(&mut self, need: usize) -> bool {
        // A length that is not there is not worth the memory.
        let whole = self.file.metadata().map_or(0, |it| it.len());
        if whole.saturating_sub(self.at) < need as u64 {
            return false;
        }
        self.window.resize(need.max(WINDOW_BYTES), 0);
        self.window_at = self.at;
        let mut filled = 0;
        while let Some(rest) = self.window.get_mut(filled..).filter(|it| !it.is_empty()) {
            match self.file.read_at(rest, self.at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.window.truncate(filled);
        filled >= need
    }

    /// Offset one past the last byte read, and the file position after its record.
    pub fn place(&self) -> (u64, u64) {
        (self.offset, self.at)
    }
}

/// Cuts a torn tail off a segment whose writer died; gives the offset of its end and its size.
pub fn mend(dir: &Path, start: u64) -> Outcome<(u64, u64)> {
    let Some(mut cursor) = Cursor::open(dir, start) else {
        return Ok((start, 0));
    };
    while cursor.read().is_some() {}
    let (end, good) = cursor.place();
    let path = path(dir, start);
    OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(good))
        .map_err(|it| Fault::io(format!("mending {}", path.display()), &it))?;
    Ok((end, good))
}
