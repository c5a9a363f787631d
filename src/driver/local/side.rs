//! Reads one side of a change: a file or a link below a root, which a hostile program may be swapping for
//! something else.

use std::{
    fs::File,
    hash::{DefaultHasher, Hasher},
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{FileType, Mode, OFlags, fstat, openat2, readlinkat},
    io::Errno,
};

use super::upper::BENEATH;
use crate::{
    base::limits::{CHANGE_COMPARED_BYTES_MAX, CHANGE_TEXT_BYTES_MAX},
    model::change::{Node, NodeKind},
};

pub const PIECE_BYTES: usize = 64 * 1024;

/// Opens a plain file for reading; waits for nothing, whatever lies there by now.
pub fn open(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = openat2(root, path, flags, Mode::empty(), BENEATH)?;
    if FileType::from_raw_mode(fstat(&opened)?.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL.into());
    }
    Ok(File::from(opened))
}

/// What lies there: a file's contents or a link's target; `None` when it is too large to be shown.
pub fn contents(root: BorrowedFd<'_>, path: &[u8], node: Node) -> io::Result<Option<Vec<u8>>> {
    match node.kind {
        NodeKind::Directory | NodeKind::Special => Ok(Some(Vec::new())),
        NodeKind::Link => target(root, path).map(Some),
        NodeKind::File => {
            // Files may be endless, whatever size they say they have.
            let mut bytes = Vec::new();
            let most = CHANGE_TEXT_BYTES_MAX + 1;
            open(root, path)?.take(most).read_to_end(&mut bytes)?;
            Ok((bytes.len() as u64 != most).then_some(bytes))
        }
    }
}

/// Where a link leads, which nobody follows.
pub fn target(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let link = openat2(root, path, flags, Mode::empty(), BENEATH)?;
    Ok(readlinkat(&link, "", Vec::new())?.into_bytes())
}

/// Tells whether two files hold the same, reading no more than it must. `None` when that takes too long.
pub fn same(
    one: (BorrowedFd<'_>, &[u8]),
    two: (BorrowedFd<'_>, &[u8]),
) -> io::Result<Option<bool>> {
    let (mut one, mut two) = (open(one.0, one.1)?, open(two.0, two.1)?);
    let size = one.metadata()?.len();
    if size != two.metadata()?.len() {
        return Ok(Some(false));
    }
    if size > CHANGE_COMPARED_BYTES_MAX {
        return Ok(None);
    }
    let (mut left, mut right) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut seen = 0;
    while seen <= CHANGE_COMPARED_BYTES_MAX {
        let count = fill(&mut one, &mut left)?;
        if count != fill(&mut two, &mut right)? || left.get(..count) != right.get(..count) {
            return Ok(Some(false));
        }
        if count < PIECE_BYTES {
            return Ok(Some(true));
        }
        seen += count as u64;
    }
    Ok(None)
}

/// Reads until the piece is full or there is no more.
pub fn fill(from: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = piece.get_mut(filled..).filter(|it| !it.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A number that files of the same contents share. Others may, too: a match has to be looked at.
pub fn sum(root: impl AsFd, path: &[u8], most: u64) -> io::Result<u64> {
    let mut file = open(root.as_fd(), path)?.take(most);
    let mut hasher = DefaultHasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.write(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
