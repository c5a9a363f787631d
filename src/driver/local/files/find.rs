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
            FIND_HITS_MAX, FIND_STEP, FIND_WAITING_BYTES_MAX, FIND_WAITING_MAX, FIND_WITHIN,
            FIND_WORDS_BYTES_MAX, PATH_BYTES_MAX,
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

/// The directory that is looked through. What it holds comes a page at a time, and the kernel keeps the place.
struct Here {
    directory: OwnedFd,
    stat: Stat,
    /// Below the top.
    path: Vec<u8>,
    depth: usize,
    /// Names of files that came with the last page and are still to be looked into.
    files: Vec<Vec<u8>>,
}

impl Here {
    /// Where a name of it is, below the top; `None` for what is too far down to be named.
    fn below(&self, name: &[u8]) -> Option<Vec<u8>> {
        let path = match &self.path[..] {
            b"" => name.to_vec(),
            above => [above, b"/", name].concat(),
        };
        (path.len() <= PATH_BYTES_MAX).then_some(path)
    }
}

/// A search that goes on where it was.
pub struct Search {
    top: OwnedFd,
    name: Option<Words>,
    text: Option<Words>,
    here: Option<Here>,
    /// Directories that are still to be looked into, below the top, the next one last; and what their paths take.
    waiting: Vec<(Vec<u8>, usize)>,
    waiting_bytes: usize,
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
            here: None,
            waiting: vec![(Vec::new(), 0)],
            waiting_bytes: 0,
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
            if let Some(mut here) = self.here.take() {
                let goes_on = match here.files.pop() {
                    Some(name) => {
                        self.lines(&here, &name, &mut found);
                        true
                    }
                    None => self.page(&mut here, &mut found),
                };
                self.here = Some(here).filter(|_| goes_on);
            } else if let Some((path, depth)) = self.waiting.pop() {
                self.waiting_bytes -= path.len();
                self.enter(path, depth);
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

    fn enter(&mut self, path: Vec<u8>, depth: usize) {
        let below = if path.is_empty() { b"." } else { path.as_slice() };
        let opened = open(&self.top, below, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK);
        match opened.and_then(|it| Ok((fstat(&it)?, it))) {
            Ok((stat, directory)) => {
                self.here = Some(Here { directory, stat, path, depth, files: Vec::new() });
            }
            Err(_) => self.unread += 1,
        }
    }

    /// Looks at one page of a directory; whether there may be another.
    fn page(&mut self, here: &mut Here, found: &mut Vec<FindPiece>) -> bool {
        let mut page = [MaybeUninit::uninit(); PAGE_BYTES];
        let mut names = RawDir::new(&here.directory, &mut page);
        let mut files = Vec::new();
        while let Some(item) = names.next() {
            let Ok(item) = item else {
                self.unread += 1;
                return false;
            };
            let name = item.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                self.looked_at += 1;
                if self.is_over() {
                    return false;
                }
                if self.one(here, name, item.file_type(), found) {
                    files.push(name.to_vec());
                }
            }
            // Only there no entry is lost.
            if names.is_buffer_empty() {
                here.files = files;
                return true;
            }
        }
        false
    }

    /// Looks at one entry; whether it is a file that is to be looked into.
    fn one(
        &mut self,
        here: &Here,
        name: &[u8],
        told: FileType,
        found: &mut Vec<FindPiece>,
    ) -> bool {
        let is = match told {
            FileType::Unknown => statat(&here.directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileKind::Other, |it| kind(FileType::from_raw_mode(it.st_mode))),
            told => kind(told),
        };
        let named = self.name.as_ref().is_none_or(|it| it.is_in(name));
        let is_hit = named && self.text.is_none();
        let is_read = named && self.text.is_some() && is == FileKind::File;
        let is_entered = is == FileKind::Directory;
        if !(is_hit || is_read || is_entered) {
            return false;
        }
        let Some(path) = here.below(name) else {
            self.unread += 1;
            return false;
        };
        if is_hit {
            self.hit(Hit { path: path.clone(), kind: is, line: None }, found);
        }
        if is_entered && !made_up(&here.directory, &here.stat, name) {
            self.wait(path, here.depth + 1);
        }
        is_read
    }

    /// Has a directory looked into later.
    fn wait(&mut self, path: Vec<u8>, depth: usize) {
        let bytes = self.waiting_bytes + path.len();
        let full = self.waiting.len() >= FIND_WAITING_MAX || bytes > FIND_WAITING_BYTES_MAX;
        if depth > FIND_DEPTH_MAX || full {
            self.unread += 1;
            self.more = true;
            return;
        }
        self.waiting_bytes = bytes;
        self.waiting.push((path, depth));
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
    fn lines(&mut self, here: &Here, name: &[u8], found: &mut Vec<FindPiece>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        match (contents(&here.directory, name, &mut buffer), here.below(name)) {
            (Ok(true), Some(path)) => self.look_through(&path, &buffer, found),
            (Ok(false), Some(_)) => {}
            (Err(_), _) | (_, None) => self.unread += 1,
        }
        self.buffer = buffer;
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

fn open(above: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    openat2(above, path, flags | OFlags::CLOEXEC, Mode::empty(), BELOW)
}

/// Reads a file; `false` for what is no text.
fn contents(above: &OwnedFd, name: &[u8], into: &mut Vec<u8>) -> Result<bool, std::io::Error> {
    // Another may lie there by now, and a fifo is not to be opened.
    let found = open(above, name, OFlags::PATH)?;
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
