//! The operator's side of a copy: what comes out of a sandbox or a hub is written beside what is there, through no link, and is
//! at its place when all of it is.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use crate::base::{
    fault::{Fault, Outcome},
    id::SandboxId,
};

fn fault(path: &Path, error: &io::Error) -> Fault {
    Fault::io(format!("writing {}", path.display()), error)
}

/// A file on its way to its place.
pub struct Arriving {
    file: BufWriter<File>,
    fresh: PathBuf,
    path: PathBuf,
    over: bool,
    /// What it replaces, as that was at the beginning.
    old: Option<Metadata>,
    /// `None` = as what it replaces.
    runs: Option<bool>,
}

impl Arriving {
    /// What is there already is replaced only when that is wanted, and only a plain file: whose it is and who may read and
    /// write it stays so. Of permissions, only whether it runs is taken; where nothing is there, the umask counts.
    pub fn begin(path: &Path, mode: Option<u32>, over: bool) -> Outcome<Self> {
        let old = check(path, over)?;
        let above = path.parent().filter(|it| !it.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let fresh = above.join(format!(".sandwatch-{}", SandboxId::random()));
        let runs = mode.map(|it| it & 0o100 != 0);
        let mode = match (&old, runs) {
            // Nobody else's, until it has the permissions of what it replaces.
            (Some(_), _) => 0o600,
            (None, Some(true)) => 0o777,
            (None, _) => 0o666,
        };
        // Nothing is there, so no link is followed.
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh);
        let file = file.map_err(|error| fault(path, &error))?;
        Ok(Self { file: BufWriter::new(file), fresh, path: path.to_owned(), over, old, runs })
    }

    pub fn add(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.file.write_all(bytes).map_err(|error| fault(&self.path, &error))
    }

    pub fn finish(mut self) -> Outcome<()> {
        self.file.flush().map_err(|error| fault(&self.path, &error))?;
        let fault = |error| fault(&self.path, &error);
        let found = check(&self.path, self.over)?;
        if self.over {
            if let Some(old) = found.as_ref().or(self.old.as_ref()) {
                keep(self.file.get_ref(), old, self.runs).map_err(fault)?;
            }
            return fs::rename(&self.fresh, &self.path).map_err(fault);
        }
        // Replaces nothing, whatever came there meanwhile.
        match renameat_with(CWD, &self.fresh, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(taken(&self.path)),
            // A file system that knows no such rename may know links.
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::hard_link(&self.fresh, &self.path).map_err(fault)
            }
            Err(error) => Err(fault(error.into())),
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Gone where it has its name.
        drop(fs::remove_file(&self.fresh));
    }
}

/// Makes a fresh file one of the same owner, that the same may read and write, as the one that it replaces.
fn keep(fresh: &File, old: &Metadata, runs: Option<bool>) -> io::Result<()> {
    let now = fresh.metadata()?;
    // Not what makes a program somebody else's: its contents are others.
    let mut mode = old.mode() & 0o777;
    if let Some(runs) = runs {
        let may_run = if runs { (mode & 0o444) >> 2 } else { 0 };
        mode = (mode & 0o666) | may_run;
    }
    let is_same = (now.uid(), now.gid()) == (old.uid(), old.gid());
    // Root alone gives files away; of the groups, one's own will do.
    if !is_same
        && fchown(fresh, Some(old.uid()), Some(old.gid())).is_err()
        && fchown(fresh, None, Some(old.gid())).is_err()
    {
        // Who is in another group may do no more than all.
        mode &= 0o707 | ((mode & 0o007) << 3);
    }
    // Not every file system knows permissions.
    if now.mode() & 0o7777 == mode {
        return Ok(());
    }
    fresh.set_permissions(Permissions::from_mode(mode))
}

/// Why a file was not put there where another was in its way, be that gone again or not.
fn taken(path: &Path) -> Fault {
    check(path, false).err().unwrap_or_else(|| {
        Fault::failed(format!("another file was there for a moment: {}", path.display()))
            .hint("copy it again")
    })
}

/// What is there, if it may be replaced; `None` where nothing is.
fn check(path: &Path, over: bool) -> Outcome<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(path, &error)),
        Ok(found) if found.is_file() && over => Ok(Some(found)),
        Ok(found) if found.is_file() => {
            let words = format!("there is a file already: {}", path.display());
            Err(Fault::failed(words).hint("name another place, or add --force"))
        }
        Ok(_) => {
            let words = format!("what is there is no plain file: {}", path.display());
            Err(Fault::failed(words).hint("name another place"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn who_may_read_what_is_replaced_may_read_what_replaces_it_and_nobody_else_meanwhile() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("kept");
        for (old, from, then) in [
            (0o600, None, 0o600),
            (0o640, None, 0o640),
            (0o755, None, 0o755),
            (0o666, None, 0o666),
            // Whether it runs is the new one's.
            (0o600, Some(0o755), 0o700),
            (0o644, Some(0o755), 0o755),
            (0o755, Some(0o644), 0o644),
            (0o600, Some(0o666), 0o600),
            // And whose rights it runs with is nobody else's.
            (0o4711, None, 0o711),
        ] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(old)).unwrap();
            let owner = fs::metadata(&path).unwrap();
            let mut arriving = Arriving::begin(&path, from, true).unwrap();
            arriving.add(b"new").unwrap();
            assert_eq!(mode(&arriving.fresh), 0o600, "{old:o} {from:?}");
            arriving.finish().unwrap();
            assert_eq!(mode(&path), then, "{old:o} {from:?}");
            let now = fs::metadata(&path).unwrap();
            assert_eq!((now.uid(), now.gid()), (owner.uid(), owner.gid()));
            assert_eq!(fs::read(&path).unwrap(), b"new");
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_made_private_while_a_copy_arrives_stays_private_and_so_does_what_goes_away() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("kept");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let arriving = Arriving::begin(&path, None, true).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        arriving.finish().unwrap();
        assert_eq!(mode(&path), 0o600);
        let arriving = Arriving::begin(&path, None, true).unwrap();
        fs::remove_file(&path).unwrap();
        arriving.finish().unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn nothing_is_replaced_unasked_and_what_was_in_the_way_is_never_a_success() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("kept");
        let mut arriving = Arriving::begin(&path, None, false).unwrap();
        arriving.add(b"new").unwrap();
        // It came meanwhile.
        fs::write(&path, "old").unwrap();
        assert!(arriving.finish().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(taken(&path).message().contains("already"));
        // It went again.
        fs::remove_file(&path).unwrap();
        assert!(taken(&path).message().contains("for a moment"));
        let mut arriving = Arriving::begin(&path, None, false).unwrap();
        arriving.add(b"new").unwrap();
        arriving.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
