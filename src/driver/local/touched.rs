//! When files of a sandbox changed, by its upper layer: what lies there was written by a hostile program, so everything goes
//! by descriptors and single names, no link is followed and nothing but directories is opened. Blocks on files.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat2, statat},
    io::Errno,
};

use super::{
    changes::real_path,
    namespaces::BOX,
    upper::{self, BENEATH, is_whiteout},
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{
            CHANGES_DEPTH_MAX, CHANGES_PATH_BYTES_MAX, PATH_BYTES_MAX, TOUCHED_LOOKED_MAX,
            TOUCHED_TOLD_MAX,
        },
    },
    driver::{Touched, Touches},
};

/// Changes of files in a workspace that is kept apart; nothing was written before `began`.
pub fn touched(ground: &Path, began: Timestamp) -> Outcome<Touches> {
    let below = Path::new(BOX).join("upper/workspace");
    if !ground.join(&below).try_exists().unwrap_or(true) {
        // It was never begun.
        return Ok(Touches::default());
    }
    let path = real_path(ground)?.join(below);
    let root = upper::root(&path)?;
    let mut walk = Walk::new(began);
    walk.open.push(Vec::new());
    while let Some(directory) = walk.open.pop() {
        if walk.looked >= TOUCHED_LOOKED_MAX {
            walk.unread += 1 + walk.open.len() as u64;
            break;
        }
        match walk.read(&root, &directory) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) if directory.is_empty() => {
                return Err(Fault::io(format!("reading {}", path.display()), &error.into()));
            }
            // Whatever is wrong with one costs itself.
            Err(_) => walk.unread += 1,
        }
    }
    let told = |Reverse((by_kernel, at, path, gone))| Touched { at, by_kernel, path, gone };
    Ok(Touches {
        newest: walk.newest.into_iter().map(told).collect(),
        older: walk.older,
        unread: walk.unread,
    })
}

struct Walk {
    began: Timestamp,
    /// Directories that are to be read, by their paths below the root: one descriptor at a time.
    open: Vec<Vec<u8>>,
    looked: usize,
    /// Of the paths of directories.
    bytes: usize,
    /// The oldest of them on top, to make room.
    newest: BinaryHeap<Reverse<(Timestamp, Timestamp, Vec<u8>, bool)>>,
    older: u64,
    unread: u64,
}

impl Walk {
    fn new(began: Timestamp) -> Self {
        Self {
            began,
            open: Vec::new(),
            looked: 0,
            bytes: 0,
            newest: BinaryHeap::new(),
            older: 0,
            unread: 0,
        }
    }

    /// Reads one directory.
    fn read(&mut self, root: &OwnedFd, directory: &[u8]) -> Result<(), Errno> {
        let name = match directory.is_empty() {
            true => CString::from(c"."),
            false => CString::new(directory).map_err(|_| Errno::INVAL)?,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat2(root, &*name, flags, Mode::empty(), BENEATH)?;
        let depth = directory.split(|it| *it == b'/').count();
        let mut is_whole = true;
        for item in Dir::read_from(opened.as_fd())? {
            let item = item?;
            let name = item.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if self.looked >= TOUCHED_LOOKED_MAX {
                is_whole = false;
                break;
            }
            self.looked += 1;
            let stat = match statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(_) => {
                    is_whole = false;
                    continue;
                }
            };
            let mut path = directory.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => self.further(path, depth),
                _ => self.found(&stat, path),
            }
        }
        self.unread += u64::from(!is_whole);
        Ok(())
    }

    /// A directory, unless its path is too long to be opened or too deep.
    fn further(&mut self, path: Vec<u8>, depth: usize) {
        let bytes = self.bytes + path.len();
        // The kernel counts the zero at the end of a path too.
        if path.len() >= PATH_BYTES_MAX
            || depth >= CHANGES_DEPTH_MAX
            || bytes > CHANGES_PATH_BYTES_MAX
        {
            self.unread += 1;
            return;
        }
        self.bytes = bytes;
        self.open.push(path);
    }

    fn found(&mut self, stat: &Stat, path: Vec<u8>) {
        let (at, by_kernel) = changed_at(stat, self.began);
        let gone = is_whiteout(stat);
        // Those of deleted files may be one file with many names, and no program sets their times.
        self.take(if gone { at } else { by_kernel }, at, path, gone);
    }

    fn take(&mut self, by_kernel: Timestamp, at: Timestamp, path: Vec<u8>, gone: bool) {
        self.newest.push(Reverse((by_kernel, at, path, gone)));
        if self.newest.len() > TOUCHED_TOLD_MAX {
            self.newest.pop();
            self.older += 1;
        }
    }
}

/// When a file was written last: as it says, where that can be. What it says is its program's to choose (an unpacked archive
/// says years ago), and when anything about it changed is the kernel's word, which is the second.
fn changed_at(stat: &Stat, began: Timestamp) -> (Timestamp, Timestamp) {
    let millis = |seconds: i64, nanos: u64| {
        let nanos = i64::try_from(nanos / 1_000_000).unwrap_or(0);
        Timestamp(seconds.saturating_mul(1000).saturating_add(nanos))
    };
    let said = millis(stat.st_mtime, stat.st_mtime_nsec);
    let kernel = millis(stat.st_ctime, stat.st_ctime_nsec);
    (if (began..=kernel).contains(&said) { said } else { kernel }, kernel)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::SystemTime};

    use super::*;
    use crate::base::clock;

    #[test]
    fn files_are_told_with_their_times_and_no_lie_and_no_link_leads_anywhere() {
        let temp = tempfile::tempdir().unwrap();
        let began = clock::wall();
        assert_eq!(touched(temp.path(), began).unwrap(), Touches::default(), "never begun");
        let upper = temp.path().join(BOX).join("upper/workspace");
        fs::create_dir_all(upper.join("a/b")).unwrap();
        fs::write(upper.join("a/b/deep"), "x").unwrap();
        fs::write(upper.join("old"), "x").unwrap();
        let long_ago = SystemTime::UNIX_EPOCH;
        fs::File::options()
            .write(true)
            .open(upper.join("old"))
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        fs::create_dir(temp.path().join("outside")).unwrap();
        fs::write(temp.path().join("outside/secret"), "x").unwrap();
        std::os::unix::fs::symlink(temp.path().join("outside"), upper.join("link")).unwrap();
        let found = touched(temp.path(), began).unwrap();
        assert_eq!((found.older, found.unread), (0, 0));
        let mut all = found.newest;
        all.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: Vec<_> = all.iter().map(|it| String::from_utf8_lossy(&it.path)).collect();
        assert_eq!(paths, ["a/b/deep", "link", "old"]);
        // File systems count in coarse ticks.
        let (least, now) = (Timestamp(began.0 - 1000), clock::wall());
        assert!(all.iter().all(|it| it.at >= least && it.at <= now && !it.gone), "{all:?}");
    }

    #[test]
    fn however_many_there_are_the_newest_are_told() {
        let mut walk = Walk::new(Timestamp(0));
        let told = i64::try_from(TOUCHED_TOLD_MAX).unwrap();
        // Whatever time a program says.
        for at in 0..2000 {
            walk.take(Timestamp(at), Timestamp(-at), at.to_string().into_bytes(), false);
        }
        assert_eq!((walk.newest.len(), walk.older), (TOUCHED_TOLD_MAX, 1500));
        let oldest = walk.newest.peek().unwrap();
        assert_eq!(oldest.0.0, Timestamp(2000 - told));
        // And so it is said where not all were looked at.
        let temp = tempfile::tempdir().unwrap();
        ["a", "b", "c"].iter().for_each(|it| fs::write(temp.path().join(it), "x").unwrap());
        let root = upper::root(temp.path()).unwrap();
        walk.looked = TOUCHED_LOOKED_MAX - 2;
        walk.read(&root, b"").unwrap();
        assert_eq!((walk.looked, walk.unread), (TOUCHED_LOOKED_MAX, 1));
    }

    #[test]
    fn a_directory_that_can_not_be_opened_hides_nothing_but_itself() {
        let temp = tempfile::tempdir().unwrap();
        let upper = temp.path().join(BOX).join("upper/workspace");
        fs::create_dir_all(upper.join("d")).unwrap();
        fs::write(upper.join("d/file"), "x").unwrap();
        // As long as a path can be, and with a zero behind it longer.
        let mut at = upper::root(&upper).unwrap();
        let names: Vec<usize> = [[255; 15].as_slice(), &[200, 55]].concat();
        assert_eq!(names.iter().sum::<usize>() + names.len() - 1, PATH_BYTES_MAX);
        for bytes in names {
            let name = "n".repeat(bytes);
            rustix::fs::mkdirat(&at, name.as_str(), Mode::RWXU).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            at = rustix::fs::openat(&at, name.as_str(), flags, Mode::empty()).unwrap();
        }
        let found = touched(temp.path(), Timestamp(0)).unwrap();
        let paths: Vec<_> = found.newest.iter().map(|it| it.path.as_slice()).collect();
        assert_eq!((paths, found.unread), (vec![b"d/file".as_slice()], 1));
    }
}
