//! What a container wrote over its image, where that lies on this machine and may be read: an engine compares sizes and times,
//! which a program can put back. A hostile program writes in it at the same time: no link is followed, nothing is opened but
//! directories.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, fgetxattr, openat2, statat},
    io::Errno,
};

use super::touched::{Extent, Touched};
use crate::{
    base::limits::{CHANGES_DEPTH_MAX, CHANGES_MAX},
    driver::local::upper::{BENEATH, root},
};

/// Before what lies below a directory in the image.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// How much of it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    All,
    /// There is more than is read.
    Part,
    /// It is not here, or not ours to read.
    Nothing,
}

/// Adds what lies there. Blocks on files.
pub fn add(upper: &Path, touched: &mut Touched, apart: &[Vec<u8>]) -> Read {
    let opened = std::fs::canonicalize(upper).ok().and_then(|it| root(&it).ok());
    let Some(opened) = opened else { return Read::Nothing };
    let mut look = Look { touched, apart, seen: 0 };
    match look.directory(&opened, &mut Vec::new(), 0) {
        Ok(()) => Read::All,
        Err(error) => {
            tracing::warn!(%error, upper = %upper.display(), "not all of a layer is read");
            Read::Part
        }
    }
}

struct Look<'a> {
    touched: &'a mut Touched,
    apart: &'a [Vec<u8>],
    seen: usize,
}

impl Look<'_> {
    fn directory(
        &mut self,
        directory: &OwnedFd,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> io::Result<()> {
        for item in Dir::read_from(directory)? {
            let item = item?;
            let name = item.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            self.seen += 1;
            if self.seen > CHANGES_MAX {
                return Err(Errno::TOOBIG.into());
            }
            let before = path.len();
            if before > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            self.entry(directory, name, path, depth)?;
            path.truncate(before);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: &OwnedFd,
        name: &[u8],
        path: &mut Vec<u8>,
        depth: usize,
    ) -> io::Result<()> {
        let facts = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It went meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            facts => facts?,
        };
        let (mut extent, mut inner) = (Extent::Itself, None);
        match FileType::from_raw_mode(facts.st_mode) {
            // Below that nobody goes: all of it is looked at.
            FileType::Directory if depth >= CHANGES_DEPTH_MAX => extent = Extent::Whole,
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match openat2(directory, name, flags, Mode::empty(), BENEATH) {
                    // Another thing is there by now.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => extent = Extent::Whole,
                    opened => inner = Some(opened?),
                }
            }
            FileType::CharacterDevice if facts.st_rdev == 0 => extent = Extent::Whole,
            _ => {}
        }
        if inner.as_ref().is_some_and(is_opaque) {
            extent = Extent::Whole;
        }
        let is_looked_at = self.touched.add(path, extent, self.apart);
        match inner.filter(|_| is_looked_at && !self.touched.is_whole(path, self.apart)) {
            Some(inner) => self.directory(&inner, path, depth + 1),
            None => Ok(()),
        }
    }
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0_u8; 1];
    OPAQUE.iter().any(|it| fgetxattr(directory, *it, &mut value) == Ok(1) && value == *b"y")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn all_that_was_written_is_found_by_its_own_name_and_no_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let upper = temp.path().join("diff");
        for directory in ["etc/deep", "opt/came/in", "srv/work/in", "run"] {
            fs::create_dir_all(upper.join(directory)).unwrap();
        }
        for file in ["etc/deep/a", "opt/came/in/b", "srv/work/in/c", "srv/d"] {
            fs::write(upper.join(file), "x").unwrap();
        }
        symlink(temp.path(), upper.join("run/link")).unwrap();
        let mut touched = Touched::default();
        let apart = [b"srv/work".to_vec()];
        touched.add(b"opt/came", Extent::Whole, &apart);
        assert_eq!(add(&upper, &mut touched, &apart), Read::All);
        let plan = touched.plan(None, &[], &apart);
        let names = |of: &std::collections::BTreeSet<Vec<u8>>| {
            of.iter().map(|it| String::from_utf8(it.clone()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(&plan.whole), ["opt/came"]);
        let itself = ["etc", "etc/deep", "etc/deep/a", "opt", "run", "run/link", "srv", "srv/d"];
        assert_eq!(names(&plan.itself), itself);
        assert_eq!(add(&upper.join("nowhere"), &mut touched, &apart), Read::Nothing);
    }
}
