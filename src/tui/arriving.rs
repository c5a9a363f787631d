//! The operator's side of a copy from a sandbox: files that come out of a sandbox are written under plain names, beside others,
//! through no link.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
    },
    model::file::name_shown,
};

/// A name that is safe to have in a directory: one line of text, no control or invisible characters, not hidden
/// behind another.
pub fn plain_name(name: &[u8]) -> PathBuf {
    let shown = name_shown(name).replace('/', "∕");
    match shown.as_str() {
        "" | "." | ".." => PathBuf::from("unnamed"),
        _ => PathBuf::from(shown),
    }
}

fn fault(path: &Path, error: &io::Error) -> Fault {
    Fault::io(format!("writing {}", path.display()), error)
}

/// A file on its way to its place.
pub struct Arriving {
    file: File,
    fresh: PathBuf,
    path: PathBuf,
    overwrite: bool,
}

impl Arriving {
    /// What is there already is replaced only when that is wanted, and only a plain file. Of permissions, only
    /// whether it runs is taken; the umask counts.
    pub fn begin(path: &Path, mode: Option<u32>, overwrite: bool) -> Outcome<Self> {
        check(path, overwrite)?;
        let above = path.parent().filter(|it| !it.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let fresh = above.join(format!(".sandwatch-{}", SandboxId::random()));
        // Nothing is there, so no link is followed.
        let mode = if mode.is_some_and(|it| it & 0o100 != 0) { 0o777 } else { 0o666 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh);
        let file = file.map_err(|error| fault(path, &error))?;
        Ok(Self { file, fresh, path: path.to_owned(), overwrite })
    }

    pub fn add(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.file.write_all(bytes).map_err(|error| fault(&self.path, &error))
    }

    pub fn finish(self) -> Outcome<()> {
        let fault = |error| fault(&self.path, &error);
        check(&self.path, self.overwrite)?;
        if self.overwrite {
            return fs::rename(&self.fresh, &self.path).map_err(fault);
        }
        // Replaces nothing, whatever came there meanwhile.
        fs::hard_link(&self.fresh, &self.path).map_err(fault)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Gone where it has its name.
        drop(fs::remove_file(&self.fresh));
    }
}

fn check(path: &Path, overwrite: bool) -> Outcome<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fault(path, &error)),
        Ok(found) if found.is_file() && overwrite => Ok(()),
        Ok(found) if found.is_file() => {
            let words = format!("there is a file already: {}", path.display());
            Err(Fault::failed(words).hint("name another place, or add --overwrite"))
        }
        Ok(_) => {
            let words = format!("what is there is no plain file: {}", path.display());
            Err(Fault::failed(words).hint("name another place"))
        }
    }
}
