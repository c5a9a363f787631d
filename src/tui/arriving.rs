//! The operator's side of a copy: what comes out of a sandbox or a hub is written beside what is there, through no link, and is
//! at its place when all of it is.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
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
}

impl Arriving {
    /// What is there already is replaced only when that is wanted, and only a plain file. Of permissions, only
    /// whether it runs is taken; the umask counts.
    pub fn begin(path: &Path, mode: Option<u32>, over: bool) -> Outcome<Self> {
        check(path, over)?;
        let above = path.parent().filter(|it| !it.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let fresh = above.join(format!(".sandwatch-{}", SandboxId::random()));
        // Nothing is there, so no link is followed.
        let mode = if mode.is_some_and(|it| it & 0o100 != 0) { 0o777 } else { 0o666 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh);
        let file = file.map_err(|error| fault(path, &error))?;
        Ok(Self { file: BufWriter::new(file), fresh, path: path.to_owned(), over })
    }

    pub fn add(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.file.write_all(bytes).map_err(|error| fault(&self.path, &error))
    }

    pub fn finish(mut self) -> Outcome<()> {
        self.file.flush().map_err(|error| fault(&self.path, &error))?;
        let fault = |error| fault(&self.path, &error);
        check(&self.path, self.over)?;
        if self.over {
            return fs::rename(&self.fresh, &self.path).map_err(fault);
        }
        // Replaces nothing, whatever came there meanwhile.
        match renameat_with(CWD, &self.fresh, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => check(&self.path, false),
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

fn check(path: &Path, over: bool) -> Outcome<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fault(path, &error)),
        Ok(found) if found.is_file() && over => Ok(()),
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
