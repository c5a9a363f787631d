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
    driver::Touched,
};

/// The newest changes of files in a workspace that is kept apart, in no order; nothing was written before `began`.
pub fn touched(ground: &Path, began: Timestamp) -> Outcome<Vec<Touched>> {
    let path = ground.join(BOX).join("upper/workspace");
    let root = upper::root(&path)?;
    let mut walk = Walk { began, looked: 0, bytes: 0, newest: BinaryHeap::new() };
    // Directories that are to be read, by their paths below the root: one descriptor at a time.
    let mut open: Vec<Vec<u8>> = vec![Vec::new()];
    while let Some(directory) = open.pop() {
        if walk.looked >= TOUCHED_LOOKED_MAX || walk.bytes > CHANGES_PATH_BYTES_MAX {
            break;
        }
        match walk.read(&root, &directory) {
            Ok(below) => open.extend(below),
            // One that is gone, or not to be read, costs itself.
            Err(Errno::NOENT | Errno::ACCESS | Errno::PERM | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => {
                return Err(Fault::io(format!("reading {}", path.display()), &error.into()));
            }
        }
    }
    Ok(walk
        .newest
        .into_iter()
        .map(|Reverse((at, path, gone))| Touched { at, path, gone })
        .collect())
}

struct Walk {
    began: Timestamp,
    looked: usize,
    /// Of the paths of directories.
    bytes: usize,
    /// The oldest of them on top, to make room.
    newest: BinaryHeap<Reverse<(Timestamp, Vec<u8>, bool)>>,
}

impl Walk {
    /// Reads one directory; gives those in it.
    fn read(&mut self, root: &OwnedFd, directory: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        let mut below = Vec::new();
        let name = match directory.is_empty() {
            true => CString::from(c"."),
            false => CString::new(directory).map_err(|_| Errno::INVAL)?,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat2(root, &*name, flags, Mode::empty(), BENEATH)?;
        let depth = directory.split(|it| *it == b'/').count();
        for item in Dir::read_from(opened.as_fd())? {
            let item = item?;
            let name = item.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.looked += 1;
            if self.looked >= TOUCHED_LOOKED_MAX {
                break;
            }
            let Ok(stat) = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let mut path = directory.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            if path.len() > PATH_BYTES_MAX {
                continue;
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                if depth < CHANGES_DEPTH_MAX {
                    self.bytes += path.len();
                    below.push(path);
                }
                continue;
            }
            self.take(changed_at(&stat, self.began), path, is_whiteout(&stat));
        }
        Ok(below)
    }

    fn take(&mut self, at: Timestamp, path: Vec<u8>, gone: bool) {
        self.newest.push(Reverse((at, path, gone)));
        if self.newest.len() > TOUCHED_TOLD_MAX {
            self.newest.pop();
        }
    }
}

/// When a file was written last: as it says, where that can be. What it says is its program's to choose (an unpacked archive
/// says years ago), and when anything about it changed is the kernel's word.
fn changed_at(stat: &Stat, began: Timestamp) -> Timestamp {
    let millis = |seconds: i64, nanos: u64| {
        let nanos = i64::try_from(nanos / 1_000_000).unwrap_or(0);
        Timestamp(seconds.saturating_mul(1000).saturating_add(nanos))
    };
    let said = millis(stat.st_mtime, stat.st_mtime_nsec);
    let kernel = millis(stat.st_ctime, stat.st_ctime_nsec);
    if (began..=kernel).contains(&said) { said } else { kernel }
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
        let mut all = touched(temp.path(), began).unwrap();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: Vec<_> = all.iter().map(|it| String::from_utf8_lossy(&it.path)).collect();
        assert_eq!(paths, ["a/b/deep", "link", "old"]);
        // File systems count in coarse ticks.
        let (least, now) = (Timestamp(began.0 - 1000), clock::wall());
        assert!(all.iter().all(|it| it.at >= least && it.at <= now && !it.gone), "{all:?}");
    }

    #[test]
    fn however_many_there_are_the_newest_are_told() {
        let mut walk = Walk { began: Timestamp(0), looked: 0, bytes: 0, newest: BinaryHeap::new() };
        for at in 0..2000 {
            walk.take(Timestamp(at), at.to_string().into_bytes(), false);
        }
        assert_eq!(walk.newest.len(), TOUCHED_TOLD_MAX);
        let oldest = walk.newest.peek().unwrap();
        assert_eq!(oldest.0.0, Timestamp(2000 - i64::try_from(TOUCHED_TOLD_MAX).unwrap()));
    }
}
