//! Where the parts of an image come from: a file, a part of a file, a directory; packed or not. What is read is
//! somebody else's, and is bounded.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::{
    base::{
        limits::{
            IMAGE_BLOBS_MAX, IMAGE_LINKS_MAX, IMAGE_TEXT_BYTES_MAX, IMAGE_UNPACKED_BYTES_MAX,
            IMAGE_WINDOW_BYTES_MAX, PATH_BYTES_MAX,
        },
        units::human_bytes,
    },
    driver::tar::read::{MemberKind, Reader},
};

const READ_BYTES: usize = 256 * 1024;

/// A part of a file, read from its start.
#[derive(Clone, Debug)]
pub struct Piece {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Piece {
    /// All of a plain file.
    pub fn whole(file: File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), at: 0, end })
    }

    pub fn len(&self) -> u64 {
        self.end - self.at
    }

    fn part(&self, at: u64, bytes: u64) -> io::Result<Self> {
        let start = self.at.checked_add(at);
        let end = start.and_then(|it| it.checked_add(bytes)).filter(|it| *it <= self.end);
        match start.zip(end) {
            Some((at, end)) => Ok(Self { file: Arc::clone(&self.file), at, end }),
            None => Err(bad("it ends in the middle")),
        }
    }

    /// Goes on further behind.
    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        *self = self.part(bytes, self.len().saturating_sub(bytes))?;
        Ok(())
    }
}

impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.len()).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was cut off meanwhile"));
        }
        self.at += count as u64;
        Ok(count)
    }
}

pub fn bad(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words.into())
}

/// How contents are packed, by how they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    pub fn of(piece: &Piece) -> io::Result<Self> {
        let mut start = Vec::new();
        piece.clone().take(6).read_to_end(&mut start)?;
        let other = |name: &str, unpack: &str| {
            Err(bad(format!(
                "it is packed by {name}, which is not read here: unpack it by {unpack}"
            )))
        };
        match start.as_slice() {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => other("xz", "`xz -d`"),
            [b'B', b'Z', b'h', ..] => other("bzip2", "`bzip2 -d`"),
            [0x04, 0x22, 0x4d, 0x18, ..] => other("lz4", "`lz4 -d`"),
            _ => Ok(Self::Plain),
        }
    }
}

/// What somebody packed, unpacked while it is read, as long as it is wanted and stays within bounds.
pub struct Unpacked<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
    given_up: &'a AtomicBool,
}

impl<'a> Unpacked<'a> {
    pub fn new(raw: impl Read + 'a, packing: Packing, given_up: &'a AtomicBool) -> Self {
        let raw = BufReader::with_capacity(READ_BYTES, raw);
        let inner: Box<dyn Read + 'a> = match packing {
            Packing::Plain => Box::new(raw),
            Packing::Gzip => {
                Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(raw)))
            }
            Packing::Zstd => Box::new(BufReader::with_capacity(READ_BYTES, Frames::new(raw))),
        };
        Self { inner, left: IMAGE_UNPACKED_BYTES_MAX, given_up }
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            bad(format!("unpacked it has more than {}", human_bytes(IMAGE_UNPACKED_BYTES_MAX)))
        })?;
        Ok(count)
    }
}

/// The frames of a zstd stream, one after the other.
struct Frames<R: Read> {
    now: State<R>,
}

enum State<R: Read> {
    Between(R),
    Within(Box<StreamingDecoder<R, FrameDecoder>>),
    Over,
}

impl<R: io::BufRead> Frames<R> {
    fn new(inner: R) -> Self {
        Self { now: State::Between(inner) }
    }
}

impl<R: io::BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.now, State::Over) {
                State::Over => return Ok(0),
                State::Between(mut inner) => {
                    if inner.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let mut decoder = FrameDecoder::new();
                    decoder.set_max_window_size(IMAGE_WINDOW_BYTES_MAX);
                    let stream = StreamingDecoder::new_with_decoder(inner, decoder);
                    let stream = stream.map_err(|error| bad(format!("zstd: {error}")))?;
                    self.now = State::Within(Box::new(stream));
                }
                State::Within(mut stream) => {
                    let count = stream.read(buffer)?;
                    if count > 0 || buffer.is_empty() {
                        self.now = State::Within(stream);
                        return Ok(count);
                    }
                    self.now = State::Between(stream.into_inner());
                }
            }
        }
    }
}

/// The parts of an image by their names.
pub enum Blobs {
    Archive { piece: Piece, members: HashMap<Vec<u8>, Spot> },
    Directory(OwnedFd),
}

/// Where a name lies in an archive, or what other name it stands for.
pub enum Spot {
    At { at: u64, bytes: u64 },
    Link(Vec<u8>),
}

impl Blobs {
    /// Lists an archive; `None` when that is a root file system and not an image.
    pub fn list(piece: &Piece) -> io::Result<Option<Self>> {
        const SYSTEM: [&[u8]; 4] = [b"usr", b"bin", b"etc", b"sbin"];
        let mut reader = Reader::with(piece.clone(), Piece::pass);
        let mut members = HashMap::new();
        let mut names = 0;
        while let Some(member) = reader.next()? {
            // Of many such names, nothing is to be kept.
            if member.path.len().max(member.target.len()) > PATH_BYTES_MAX {
                return Err(bad("a path in it is too long"));
            }
            let Some(path) = plain(&member.path) else { return Ok(None) };
            let top = path.split(|it| *it == b'/').next().unwrap_or_default();
            names += (member.path.len() + member.target.len()) as u64;
            let many = members.len() >= IMAGE_BLOBS_MAX || names > IMAGE_TEXT_BYTES_MAX;
            if many || SYSTEM.contains(&top) {
                return Ok(None);
            }
            let spot = match member.kind {
                MemberKind::File => Spot::At { at: member.at, bytes: member.bytes },
                MemberKind::HardLink => Spot::Link(member.target),
                MemberKind::Link => {
                    let up = path.rsplitn(2, |it| *it == b'/').nth(1).unwrap_or_default();
                    Spot::Link([up, b"/", member.target.as_slice()].concat())
                }
                MemberKind::Directory | MemberKind::Other => continue,
            };
            members.insert(path, spot);
        }
        let is_image = members.contains_key(b"manifest.json".as_slice())
            || members.contains_key(b"index.json".as_slice());
        Ok(is_image.then(|| Self::Archive { piece: piece.clone(), members }))
    }

    pub fn has(&self, name: &str) -> bool {
        self.open(name).is_ok()
    }

    pub fn open(&self, name: &str) -> io::Result<Piece> {
        let missing = || bad(format!("it has no {}", crate::base::text::shown(name, 128)));
        match self {
            Self::Directory(directory) => open_in(directory, name).map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound { missing() } else { error }
            }),
            Self::Archive { piece, members } => {
                let mut name = plain(name.as_bytes()).ok_or_else(missing)?;
                for _ in 0..IMAGE_LINKS_MAX {
                    match members.get(&name).ok_or_else(missing)? {
                        Spot::At { at, bytes } => return piece.part(*at, *bytes),
                        Spot::Link(target) => name = plain(target).ok_or_else(missing)?,
                    }
                }
                Err(missing())
            }
        }
    }

    /// A small part as a whole.
    pub fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let piece = self.open(name)?;
        if piece.len() > most {
            return Err(bad(format!("{name} has more than {}", human_bytes(most))));
        }
        let mut bytes = Vec::new();
        piece.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// A plain file of a directory that somebody else filled.
fn open_in(directory: &OwnedFd, name: &str) -> io::Result<Piece> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let way = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = openat2(directory, name, flags, Mode::empty(), way)?;
    if FileType::from_raw_mode(fstat(&opened)?.st_mode) != FileType::RegularFile {
        return Err(bad(format!("not a file: {name}")));
    }
    Piece::whole(File::from(opened))
}

/// Opens a directory that an image or a root file system may be.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?)
}

/// A name without what means nothing; `None` where it leads out.
fn plain(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|it| *it == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}
