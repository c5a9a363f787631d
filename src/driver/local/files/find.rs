//! Looks for names and for lines below a directory: a while at a time, no link followed, nothing opened but plain
//! files and directories, and not what the kernel only makes up.

use std::{
    fs::File,
    io::Read,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use memchr::{memchr, memchr_iter, memmem, memrchr};
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fstat, fstatfs, openat2,
        statat,
    },
    io::Errno,
};

use super::reach::{Reach, kind};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{
            FILE_HIT_BYTES_MAX, FIND_DEPTH_MAX, FIND_ENTRIES_MAX, FIND_FILE_BYTES_MAX,
            FIND_HITS_MAX, FIND_STEP, FIND_WAITING_MAX, FIND_WITHIN, FIND_WORDS_BYTES_MAX,
        },
    },
    model::file::{FileKind, FindPiece, FindRequest, Hit, HitLine},
};

/// Below the directory that is looked through, whatever lies there meanwhile.
const BELOW: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
const PAGE_BYTES: usize = 16 * 1024;
/// A file that has a zero byte among so many is no text.
const LOOKED_AT_FOR_ZEROS: usize = 8 * 1024;
/// File systems that the kernel makes up: /proc, /sys, control groups, terminals, what it tells of itself.
const MADE_UP: [u64; 7] =
    [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x1cd1, 0x6462_6720, 0x7472_6163];

/// What is looked for.
struct Words {
    words: Vec<u8>,
    /// Capital letters count.
    exact: bool,
}

impl Words {
    fn new(text: &str) -> Self {
        let exact = text.bytes().any(|it| it.is_ascii_uppercase());
        Self { words: text.as_bytes().to_vec(), exact }
    }

    /// Where it is in lower-cased or plain bytes.
    fn finder(&self) -> memmem::Finder<'_> {
        memmem::Finder::new(&self.words)
    }

    fn is_in(&self, name: &[u8]) -> bool {
        if self.exact {
            return self.finder().find(name).is_some();
        }
        self.finder().find(&name.to_ascii_lowercase()).is_some()
    }
}

/// A search that goes on where it was.
pub struct Search {
    top: OwnedFd,
    name: Option<Words>,
    text: Option<Words>,
    /// Directories that are still to be looked into, below the top, the next one last.
    waiting: Vec<(Vec<u8>, usize)>,
    /// Files of the directory that was looked into last.
    files: Vec<Vec<u8>>,
    until: Duration,
    looked_at: u64,
    unread: u64,
    hits: usize,
    buffer: Vec<u8>,
    /// A bound was reached.
    more: bool,
}

impl Search {
    pub fn begin(reach: &Reach, request: FindRequest) -> Outcome<Self> {
        let FindRequest { path, name, text } = request;
        let long =
            |it: &Option<String>| it.as_ref().is_some_and(|it| it.len() > FIND_WORDS_BYTES_MAX);
        if long(&name) || long(&text) {
            let words = format!("more than {FIND_WORDS_BYTES_MAX} bytes to look for");
            return Err(Fault::invalid(words));
        }
        let some = |it: Option<String>| it.filter(|it| !it.is_empty()).map(|it| Words::new(&it));
        let top = reach.open_directory(&path)?;
        Ok(Self {
            top,
            name: some(name),
            text: some(text),
            waiting: vec![(Vec::new(), 0)],
            files: Vec::new(),
            until: clock::monotonic() + FIND_WITHIN,
            looked_at: 0,
            unread: 0,
            hits: 0,
            buffer: Vec::new(),
            more: false,
        })
    }

    /// What was found in a while; whether that is all.
    pub fn next(&mut self) -> (Vec<FindPiece>, bool) {
        let mut found = Vec::new();
        let pause = clock::monotonic() + FIND_STEP;
        while !self.is_over() {
            let now = clock::monotonic();
            if now >= self.until {
                self.more = true;
                break;
            }
            if now >= pause || found.len() >= FIND_HITS_MAX {
                return (found, false);
            }
            if let Some(path) = self.files.pop() {
                self.lines(&path, &mut found);
            } else if let Some((path, depth)) = self.waiting.pop() {
                self.directory(&path, depth, &mut found);
            } else {
                break;
            }
        }
        let Self { more, looked_at, unread, .. } = *self;
        found.push(FindPiece::End { more, looked_at, unread });
        (found, true)
    }

    fn is_over(&mut self) -> bool {
        let over = self.hits >= FIND_HITS_MAX || self.looked_at >= FIND_ENTRIES_MAX;
        self.more |= over;
        over
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        openat2(&self.top, path, flags | OFlags::CLOEXEC, Mode::empty(), BELOW)
    }

    fn directory(&mut self, path: &[u8], depth: usize, found: &mut Vec<FindPiece>) {
        let opened = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK);
        let opened = opened.and_then(|it| Ok((fstat(&it)?, it)));
        let Ok((stat, directory)) = opened else {
            self.unread += 1;
            return;
        };
        let mut page = [MaybeUninit::uninit(); PAGE_BYTES];
        let mut names = RawDir::new(&directory, &mut page);
        while let Some(item) = names.next() {
            let Ok(item) = item else {
                self.unread += 1;
                return;
            };
            let name = item.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            self.looked_at += 1;
            if self.is_over() {
                return;
            }
            let mut below = path.to_vec();
            if !path.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(name);
            self.one(&directory, &stat, name, below, item.file_type(), depth, found);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one entry, where it is and what to do with it")]
    fn one(
        &mut self,
        directory: &OwnedFd,
        above: &Stat,
        name: &[u8],
        path: Vec<u8>,
        told: FileType,
        depth: usize,
        found: &mut Vec<FindPiece>,
    ) {
        let is = match told {
            FileType::Unknown => statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileKind::Other, |it| kind(FileType::from_raw_mode(it.st_mode))),
            told => kind(told),
        };
        let named = self.name.as_ref().is_none_or(|it| it.is_in(name));
        match &self.text {
            None if named => self.hit(Hit { path: path.clone(), kind: is, line: None }, found),
            Some(_) if named && is == FileKind::File => self.files.push(path.clone()),
            _ => {}
        }
        if is != FileKind::Directory || made_up(directory, above, name) {
            return;
        }
        if depth >= FIND_DEPTH_MAX || self.waiting.len() >= FIND_WAITING_MAX {
            self.unread += 1;
            self.more = true;
            return;
        }
        self.waiting.push((path, depth + 1));
    }

    fn hit(&mut self, hit: Hit, found: &mut Vec<FindPiece>) {
        if self.hits < FIND_HITS_MAX {
            self.hits += 1;
            found.push(FindPiece::Hit(hit));
        } else {
            self.more = true;
        }
    }

    /// Every line of a file that holds the text.
    fn lines(&mut self, path: &[u8], found: &mut Vec<FindPiece>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.contents(path, &mut buffer);
        match read {
            Ok(true) => self.look_through(path, &buffer, found),
            Ok(false) => {}
            Err(_) => self.unread += 1,
        }
        self.buffer = buffer;
    }

    /// `false` for what is no text.
    fn contents(&self, path: &[u8], into: &mut Vec<u8>) -> Result<bool, std::io::Error> {
        // Another may lie there by now, and a fifo is not to be opened.
        let found = self.open(path, OFlags::PATH)?;
        let stat = fstat(&found)?;
        if kind(FileType::from_raw_mode(stat.st_mode)) != FileKind::File {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let by_number = super::reach::by_number(&found);
        let file = rustix::fs::openat(rustix::fs::CWD, by_number, flags, Mode::empty())?;
        into.clear();
        let mut file = File::from(file).take(LOOKED_AT_FOR_ZEROS as u64);
        file.read_to_end(into)?;
        if memchr(0, into).is_some() {
            return Ok(false);
        }
        file.set_limit(FIND_FILE_BYTES_MAX - LOOKED_AT_FOR_ZEROS as u64);
        file.read_to_end(into)?;
        Ok(true)
    }

    fn look_through(&mut self, path: &[u8], bytes: &[u8], found: &mut Vec<FindPiece>) {
        let Some(words) = &self.text else { return };
        let lower = (!words.exact).then(|| bytes.to_ascii_lowercase());
        let looked_at = lower.as_deref().unwrap_or(bytes);
        let finder = words.finder();
        let (mut at, mut line, mut counted) = (0, 1_u64, 0);
        let mut lines = Vec::new();
        while let Some(hit) = looked_at.get(at..).and_then(|it| finder.find(it)) {
            let hit = at + hit;
            line += memchr_iter(b'\n', bytes.get(counted..hit).unwrap_or_default()).count() as u64;
            counted = hit;
            let start = bytes.get(..hit).and_then(|it| memrchr(b'\n', it)).map_or(0, |it| it + 1);
            let end = bytes
                .get(hit..)
                .and_then(|it| memchr(b'\n', it))
                .map_or(bytes.len(), |it| hit + it);
            // Of a long line, that part.
            let from = start.max(hit.saturating_sub(FILE_HIT_BYTES_MAX / 4));
            let to = end.min(from + FILE_HIT_BYTES_MAX);
            let text = bytes.get(from..to).unwrap_or_default().to_vec();
            lines.push(HitLine { number: line, text });
            if lines.len() + self.hits >= FIND_HITS_MAX {
                break;
            }
            at = end + 1;
        }
        for line in lines {
            self.hit(Hit { path: path.to_vec(), kind: FileKind::File, line: Some(line) }, found);
        }
    }
}

/// Whether something is mounted there that holds no files.
fn made_up(directory: &OwnedFd, above: &Stat, name: &[u8]) -> bool {
    let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
    else {
        return false;
    };
    if stat.st_dev == above.st_dev {
        return false;
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = rustix::fs::openat(directory.as_fd(), name, flags, Mode::empty());
    let kind = opened.and_then(|it| fstatfs(&it)).map(|it| it.f_type as u64);
    kind.is_ok_and(|it| MADE_UP.contains(&it))
}
