//! A workspace as an archive, made while the engine takes it. The directory is the operator's, but others may
//! write in it meanwhile: it is walked by descriptors, no link is followed, no device or fifo opened.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use bytes::Bytes;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat, statat},
    io::Errno,
};
use tokio::sync::mpsc;

use crate::base::{
    fault::{Fault, Outcome},
    limits::{COPY_BYTES_MAX, COPY_DEPTH_MAX, COPY_ENTRIES_MAX, COPY_PIECE_BYTES},
    units::human_bytes,
};
use crate::driver::tar::{self, Entry, Kind};

/// Where pieces of an archive go.
pub type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// What became of a workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub entries: u64,
    pub bytes: u64,
    /// Devices, sockets, and what may not be read.
    pub left_out: u64,
}

/// Writes `directory` with all that is in it, under its own path, as files of `owner`. Blocks on files and on
/// whoever takes the pieces. A fault also ends the archive, so that nobody takes half of it for the whole.
pub fn send(directory: &Path, owner: (u32, u32), pieces: &Pieces) -> Outcome<Copied> {
    let mut copy = Copy { owner, pieces, pending: Vec::new(), copied: Copied::default() };
    let done = copy.whole(directory);
    if let Err(fault) = &done {
        let _nobody_takes_it = pieces.blocking_send(Err(io::Error::other(fault.to_string())));
    }
    done.map(|()| copy.copied)
}

struct Copy<'a> {
    owner: (u32, u32),
    pieces: &'a Pieces,
    pending: Vec<u8>,
    copied: Copied,
}

/// What a name stands for.
struct Found<'a> {
    path: &'a [u8],
    stat: &'a Stat,
    kind: Kind,
    bytes: u64,
    target: &'a [u8],
}

fn fault(path: &[u8], error: Errno) -> Fault {
    let path = String::from_utf8_lossy(path);
    Fault::io(format!("copying /{path} into a container"), &error.into())
}

impl Copy<'_> {
    fn whole(&mut self, directory: &Path) -> Outcome<()> {
        let path = directory.as_os_str().as_bytes();
        let path = path.strip_prefix(b"/").unwrap_or(path).to_vec();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(directory, flags, Mode::empty()).map_err(|it| fault(&path, it))?;
        let stat = fstat(&root).map_err(|it| fault(&path, it))?;
        self.entry(&Found {
            path: &path,
            stat: &stat,
            kind: Kind::Directory,
            bytes: 0,
            target: b"",
        })?;
        self.directory(&root, &path, 0)?;
        self.add(&tar::END)?;
        self.flush()
    }

    fn directory(&mut self, directory: &OwnedFd, path: &[u8], depth: usize) -> Outcome<()> {
        if depth >= COPY_DEPTH_MAX {
            let shown = String::from_utf8_lossy(path);
            return Err(Fault::invalid(format!(
                "copying a workspace: deeper than {COPY_DEPTH_MAX} directories: /{shown}"
            )));
        }
        let names = Dir::read_from(directory).map_err(|it| fault(path, it))?;
        for name in names {
            let name = name.map_err(|it| fault(path, it))?;
            let name = name.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let below = [path, b"/", name].concat();
            match self.name(directory.as_fd(), name, &below, depth) {
                // It went away, or turned into something else, while this was looking.
                Ok(Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR)) => {}
                Ok(Err(Errno::ACCESS | Errno::PERM)) => self.copied.left_out += 1,
                Ok(Err(error)) => return Err(fault(&below, error)),
                Ok(Ok(())) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// One name: a fault ends the copy, an error concerns this name only.
    fn name(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        depth: usize,
    ) -> Outcome<Result<(), Errno>> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => return Ok(Err(error)),
        };
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                match openat(directory, name, read | OFlags::DIRECTORY, Mode::empty()) {
                    Ok(inner) => {
                        let found = Found {
                            path,
                            stat: &stat,
                            kind: Kind::Directory,
                            bytes: 0,
                            target: b"",
                        };
                        self.entry(&found)?;
                        self.directory(&inner, path, depth + 1)?;
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
            FileType::Symlink => match readlinkat(directory, name, Vec::new()) {
                Ok(target) => {
                    let target = target.as_bytes();
                    self.entry(&Found { path, stat: &stat, kind: Kind::Link, bytes: 0, target })?;
                }
                Err(error) => return Ok(Err(error)),
            },
            FileType::RegularFile => {
                match openat(directory, name, read | OFlags::NONBLOCK, Mode::empty()) {
                    Ok(file) => self.file(file, path)?,
                    Err(error) => return Ok(Err(error)),
                }
            }
            _ => self.copied.left_out += 1,
        }
        Ok(Ok(()))
    }

    /// Contents as long as they were when the file was opened: what is cut off meanwhile is zero.
    fn file(&mut self, file: OwnedFd, path: &[u8]) -> Outcome<()> {
        let stat = fstat(&file).map_err(|it| fault(path, it))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.copied.left_out += 1;
            return Ok(());
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or_default();
        self.copied.bytes += bytes;
        if self.copied.bytes > COPY_BYTES_MAX {
            return Err(Fault::invalid(format!(
                "copying a workspace: more than {}",
                human_bytes(COPY_BYTES_MAX)
            ))
            .hint("choose a smaller directory, or --workspace DIR:rw"));
        }
        self.entry(&Found { path, stat: &stat, kind: Kind::File, bytes, target: b"" })?;
        let mut file = std::fs::File::from(file);
        let mut buffer = vec![0; COPY_PIECE_BYTES];
        let mut left = bytes;
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let Some(into) = buffer.get_mut(..most) else { break };
            let count = match file.read(into) {
                Ok(0) => {
                    into.fill(0);
                    into.len()
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let shown = String::from_utf8_lossy(path);
                    return Err(Fault::io(format!("copying /{shown} into a container"), &error));
                }
            };
            self.add(into.get(..count).unwrap_or_default())?;
            left -= count as u64;
        }
        self.pending.resize(self.pending.len() + tar::padding(bytes), 0);
        Ok(())
    }

    fn entry(&mut self, found: &Found<'_>) -> Outcome<()> {
        self.copied.entries += 1;
        if self.copied.entries > COPY_ENTRIES_MAX {
            return Err(Fault::invalid(format!(
                "copying a workspace: more than {COPY_ENTRIES_MAX} files"
            ))
            .hint("choose a smaller directory, or --workspace DIR:rw"));
        }
        // Never the bits by which a program runs as another user.
        let mode = Mode::from_raw_mode(found.stat.st_mode)
            & (Mode::RWXU | Mode::RWXG | Mode::RWXO | Mode::SVTX);
        let header = tar::header(&Entry {
            path: found.path,
            kind: found.kind,
            mode: mode.as_raw_mode(),
            owner: self.owner,
            bytes: found.bytes,
            modified: u64::try_from(found.stat.st_mtime).unwrap_or_default(),
            target: found.target,
        });
        self.add(&header)
    }

    fn add(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= COPY_PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Outcome<()> {
        let piece = Bytes::from(std::mem::take(&mut self.pending));
        self.pieces
            .blocking_send(Ok(piece))
            .map_err(|_| Fault::lost("copying a workspace: the docker engine takes no more of it"))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
        process::{Command, Stdio},
    };

    use super::*;

    /// Copies through the system's own `tar`.
    fn copied(from: &Path, into: &Path) -> Copied {
        let (pieces, mut taken) = mpsc::channel::<io::Result<Bytes>>(4);
        let mut child = Command::new("tar")
            .args(["-xpf", "-", "--no-same-owner", "-C"])
            .arg(into)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let writing = std::thread::spawn(move || {
            while let Some(piece) = taken.blocking_recv() {
                input.write_all(&piece.unwrap()).unwrap();
            }
        });
        let done = send(from, (0, 0), &pieces).unwrap();
        drop(pieces);
        writing.join().unwrap();
        assert!(child.wait().unwrap().success());
        done
    }

    #[test]
    fn a_copy_has_everything_but_what_is_no_file() {
        let temp = tempfile::tempdir().unwrap();
        let (from, into) = (temp.path().join("from"), temp.path().join("into"));
        let deep = from.join("a".repeat(120)).join("b");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir(&into).unwrap();
        fs::write(deep.join("big"), vec![b'x'; 3 * COPY_PIECE_BYTES + 1]).unwrap();
        fs::write(from.join("empty"), "").unwrap();
        fs::write(from.join("run"), "#!").unwrap();
        fs::set_permissions(from.join("run"), fs::Permissions::from_mode(0o4711)).unwrap();
        symlink("/etc/passwd", from.join("out")).unwrap();
        symlink("x".repeat(200), from.join("nowhere")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        let done = copied(&from, &into);
        assert_eq!((done.entries, done.left_out), (8, 1));
        let there = into.join(from.strip_prefix("/").unwrap());
        let big = there.join("a".repeat(120)).join("b/big");
        assert_eq!(fs::metadata(big).unwrap().len(), 3 * COPY_PIECE_BYTES as u64 + 1);
        assert_eq!(fs::metadata(there.join("empty")).unwrap().len(), 0);
        assert_eq!(fs::metadata(there.join("run")).unwrap().mode() & 0o7777, 0o711);
        assert_eq!(fs::read_link(there.join("out")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(fs::read_link(there.join("nowhere")).unwrap().as_os_str().len(), 200);
        assert!(!there.join("socket").exists());
    }

    #[test]
    fn a_copy_that_nobody_takes_ends() {
        let temp = tempfile::tempdir().unwrap();
        let (pieces, taken) = mpsc::channel(1);
        drop(taken);
        assert!(send(temp.path(), (0, 0), &pieces).is_err());
    }
}
