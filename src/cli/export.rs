//! Where an export goes: to standard output, or to a file that is there when all of it is.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use super::out;
use crate::{
    base::fault::{Fault, Outcome},
    tui::arriving::Arriving,
};

pub enum Export {
    Stdout,
    /// Written beside its place, and put there by one rename.
    Whole(Box<Arriving>),
    /// A device, a pipe or the like: it takes what comes.
    Through(PathBuf, File),
}

impl Export {
    /// `None` = standard output. A file that is there is replaced only with `force`.
    pub fn to(path: Option<&Path>, force: bool) -> Outcome<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        match std::fs::metadata(path) {
            Ok(found) if !found.is_file() && !found.is_dir() => {
                let file = File::options().write(true).open(path);
                let file = file.map_err(|error| fault(path, &error))?;
                Ok(Self::Through(path.to_owned(), file))
            }
            _ => Arriving::begin(path, None, force).map(|it| Self::Whole(Box::new(it))),
        }
    }

    pub fn add(&mut self, bytes: &[u8]) -> Outcome<()> {
        match self {
            Self::Stdout => out::print_bytes(bytes),
            Self::Whole(arriving) => arriving.add(bytes),
            Self::Through(path, file) => file.write_all(bytes).map_err(|error| fault(path, &error)),
        }
    }

    pub fn finish(self) -> Outcome<()> {
        match self {
            Self::Whole(arriving) => arriving.finish(),
            Self::Stdout | Self::Through(..) => Ok(()),
        }
    }
}

fn fault(path: &Path, error: &std::io::Error) -> Fault {
    Fault::io(format_args!("write {}", path.display()), error)
}
