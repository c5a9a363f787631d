//! Reads archives that anybody may have made, of the kinds that tar, Docker and OCI tools write: ustar, GNU and pax.
//! Everything that takes memory is bounded; what a name means is for the caller to judge.

use std::io::{self, Read};

use super::{BLOCK, padding};
use crate::base::limits::ARCHIVE_HEADER_BYTES_MAX;

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    File,
    /// Another name of an earlier file.
    HardLink,
    Link,
    Directory,
    /// A device, a fifo, or what no file system has.
    Other,
}

/// One entry without its contents. Names are bytes as they are written, without zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub path: Vec<u8>,
    pub kind: MemberKind,
    /// Permissions, with the set-id bits.
    pub mode: u32,
    /// Of a file's contents.
    pub bytes: u64,
    /// Seconds since 1970.
    pub modified: i64,
    /// Where a link leads.
    pub target: Vec<u8>,
    /// Where the contents begin in the archive.
    pub at: u64,
}

/// Passes over so many bytes.
pub type Skip<R> = fn(&mut R, u64) -> io::Result<()>;

/// An archive, entry after entry; reading from it gives the contents of the entry given last.
pub struct Reader<R> {
    inner: R,
    skip: Skip<R>,
    at: u64,
    /// Contents not read yet, and what fills them up to a block.
    left: u64,
    filling: u64,
    ended: bool,
}

/// What an entry in front of another says of it.
#[derive(Default)]
struct Before {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    bytes: Option<u64>,
    modified: Option<i64>,
}

fn bad(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle")
}

/// Reads what is passed over, where nothing else is possible.
pub fn by_reading<R: Read>(inner: &mut R, bytes: u64) -> io::Result<()> {
    let passed = io::copy(&mut inner.take(bytes), &mut io::sink())?;
    if passed < bytes { Err(cut_short()) } else { Ok(()) }
}

impl<R: Read> Reader<R> {
    pub fn new(inner: R) -> Self {
        Self::with(inner, by_reading)
    }

    /// With a faster way to pass over contents.
    pub fn with(inner: R, skip: Skip<R>) -> Self {
        Self { inner, skip, at: 0, left: 0, filling: 0, ended: false }
    }

    /// Whether the mark at the end of an archive was seen.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What it reads from, to be told how; not to be read from.
    pub fn inner_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry; what is left of the last one is passed over.
    pub fn next(&mut self) -> io::Result<Option<Member>> {
        let mut before = Before::default();
        loop {
            self.pass()?;
            if self.ended {
                return Ok(None);
            }
            let Some(head) = self.block()? else { return Ok(None) };
            if head.iter().all(|it| *it == 0) {
                // One such block ends an archive for all who read them; the second may be missing.
                self.ended = true;
                return Ok(None);
            }
            check_sum(&head)?;
            let bytes = number(field(&head, 124, 12)).ok_or_else(|| bad("a size is no number"))?;
            let letter = field(&head, 156, 1).first().copied().unwrap_or_default();
            match letter {
                b'L' => before.path = Some(cut(&self.text(bytes)?).to_vec()),
                b'K' => before.target = Some(cut(&self.text(bytes)?).to_vec()),
                b'x' | b'X' => pax(&self.text(bytes)?, &mut before)?,
                b'S' => return Err(sparse()),
                // What holds for all: nothing that is read here.
                b'g' => self.expect(bytes)?,
                _ => return self.member(&head, letter, bytes, before).map(Some),
            }
        }
    }

    fn member(
        &mut self,
        head: &[u8; BLOCK],
        letter: u8,
        bytes: u64,
        before: Before,
    ) -> io::Result<Member> {
        let path = before.path.unwrap_or_else(|| name(head));
        let kind = match letter {
            b'0' | 0 | b'7' if path.ends_with(b"/") => MemberKind::Directory,
            b'0' | 0 | b'7' => MemberKind::File,
            b'1' => MemberKind::HardLink,
            b'2' => MemberKind::Link,
            b'5' => MemberKind::Directory,
            _ => MemberKind::Other,
        };
        let bytes = before.bytes.unwrap_or(bytes);
        // A link may name the size of what it leads to; its contents are not here.
        let own = if matches!(kind, MemberKind::HardLink | MemberKind::Link) { 0 } else { bytes };
        self.expect(own)?;
        let mode = number(field(head, 100, 8)).unwrap_or(0o644);
        let modified = number(field(head, 136, 12)).and_then(|it| i64::try_from(it).ok());
        Ok(Member {
            path,
            kind,
            mode: (mode & 0o7777) as u32,
            bytes: own,
            modified: before.modified.or(modified).unwrap_or(0),
            target: before.target.unwrap_or_else(|| cut(field(head, 157, 100)).to_vec()),
            at: self.at,
        })
    }

    /// Contents of so many bytes come next.
    fn expect(&mut self, bytes: u64) -> io::Result<()> {
        self.filling = padding(bytes) as u64;
        let end = self.at.checked_add(bytes).and_then(|it| it.checked_add(self.filling));
        end.ok_or_else(|| bad("a size is too large"))?;
        self.left = bytes;
        Ok(())
    }

    fn pass(&mut self) -> io::Result<()> {
        let bytes = self.left + self.filling;
        if bytes > 0 {
            (self.skip)(&mut self.inner, bytes)?;
            self.at += bytes;
        }
        (self.left, self.filling) = (0, 0);
        Ok(())
    }

    /// The next block; `None` where nothing comes any more.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(block.get_mut(filled..).unwrap_or_default()) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(cut_short()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.at += BLOCK as u64;
        Ok(Some(block))
    }

    /// Contents that describe an entry.
    fn text(&mut self, bytes: u64) -> io::Result<Vec<u8>> {
        if bytes > ARCHIVE_HEADER_BYTES_MAX {
            return Err(bad("a name is too long"));
        }
        self.expect(bytes)?;
        let mut text = Vec::new();
        self.read_to_end(&mut text)?;
        Ok(text)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        if count == 0 {
            return Err(cut_short());
        }
        self.left -= count as u64;
        self.at += count as u64;
        Ok(count)
    }
}

fn sparse() -> io::Error {
    bad("it has a file with holes: make it again without --sparse")
}

fn field(head: &[u8; BLOCK], at: usize, length: usize) -> &[u8] {
    head.get(at..at + length).unwrap_or_default()
}

/// Up to the first zero.
fn cut(text: &[u8]) -> &[u8] {
    text.split(|it| *it == 0).next().unwrap_or_default()
}

fn name(head: &[u8; BLOCK]) -> Vec<u8> {
    let name = cut(field(head, 0, 100));
    // The other magic word is GNU's, which has something else there.
    let prefix = if field(head, 257, 6) == b"ustar\0" { cut(field(head, 345, 155)) } else { b"" };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// Octal digits, or binary with the first bit set.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first & 0x80 != 0 {
        // A negative one has the next bit set, too.
        let start = u64::from(first & 0x7f);
        return rest
            .iter()
            .try_fold(start, |sum, byte| sum.checked_mul(256).map(|it| it | u64::from(*byte)));
    }
    let text = std::str::from_utf8(cut(field)).ok()?.trim();
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

fn check_sum(head: &[u8; BLOCK]) -> io::Result<()> {
    const SUM: std::ops::Range<usize> = 148..156;
    let said = number(field(head, SUM.start, SUM.len()));
    let bytes = head.iter().enumerate();
    let bytes = bytes.map(|(at, it)| if SUM.contains(&at) { b' ' } else { *it });
    let (mut plain, mut signed) = (0_u64, 0_i64);
    for byte in bytes {
        plain += u64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    if said == Some(plain) || said.and_then(|it| i64::try_from(it).ok()) == Some(signed) {
        return Ok(());
    }
    Err(bad("not an archive of tar, or a damaged one"))
}

/// Records of the form `length key=value`.
fn pax(mut text: &[u8], before: &mut Before) -> io::Result<()> {
    let broken = || bad("an extended header is damaged");
    while !text.is_empty() {
        let space = text.iter().position(|it| *it == b' ').ok_or_else(broken)?;
        let digits = text.get(..space).and_then(|it| std::str::from_utf8(it).ok());
        let length: usize = digits.and_then(|it| it.parse().ok()).ok_or_else(broken)?;
        let record = text.get(space + 1..length).and_then(|it| it.strip_suffix(b"\n"));
        let record = record.ok_or_else(broken)?;
        text = text.get(length..).ok_or_else(broken)?;
        let equals = record.iter().position(|it| *it == b'=').ok_or_else(broken)?;
        let (key, value) = record.split_at_checked(equals).ok_or_else(broken)?;
        let value = value.get(1..).unwrap_or_default();
        if key.starts_with(b"GNU.sparse.") {
            return Err(sparse());
        }
        let plain = || std::str::from_utf8(value).ok();
        match key {
            b"path" | b"linkpath" if value.contains(&0) => return Err(bad("a name has a zero")),
            b"path" => before.path = Some(value.to_vec()),
            b"linkpath" => before.target = Some(value.to_vec()),
            b"size" => {
                let size = plain().and_then(|it| it.parse().ok());
                before.bytes = Some(size.ok_or_else(|| bad("a size is no number"))?);
            }
            b"mtime" => {
                let whole = plain().and_then(|it| it.split('.').next()?.parse().ok());
                before.modified = whole;
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
