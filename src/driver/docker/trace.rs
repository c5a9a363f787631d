//! What is written down of a container, in the sandbox's own directory, so that whoever comes later finds the
//! same engine and the same container. Written before there is one.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::address::Address;
use crate::base::{
    fault::{Fault, Outcome},
    limits::ENGINE_FILE_BYTES_MAX,
};

const FILE: &str = "docker.json";

/// One container, on its way or there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    pub engine: Address,
    /// The engine's id of it; `None` = it may or may not be made yet.
    pub container: Option<String>,
}

impl Trace {
    /// Reads it; `None` = nothing was ever made.
    pub fn read(directory: &Path) -> Outcome<Option<Self>> {
        use std::io::Read;
        let path = directory.join(FILE);
        let mut bytes = Vec::new();
        let read = fs::File::open(&path)
            .and_then(|it| it.take(ENGINE_FILE_BYTES_MAX).read_to_end(&mut bytes));
        match read {
            Ok(_) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| Fault::failed(format!("reading {}: {error}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Fault::io(format!("reading {}", path.display()), &error)),
        }
    }

    /// Writes it as a whole, or leaves the one before.
    pub fn write(&self, directory: &Path) -> Outcome<()> {
        let (path, next) = (directory.join(FILE), directory.join("docker.json.new"));
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Fault::bug(format!("writing {}: {error}", path.display())))?;
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)
            .and_then(|mut it| it.write_all(&bytes))
            .and_then(|()| fs::rename(&next, &path));
        written.map_err(|error| Fault::io(format!("writing {}", path.display()), &error))
    }

    /// Nothing is left of it.
    pub fn forget(directory: &Path) -> Outcome<()> {
        let path = directory.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Fault::io(format!("deleting {}", path.display()), &error))
            }
            _ => Ok(()),
        }
    }
}

/// A name for the state directory that a sandbox's directory lies in: a mark on its containers that tells
/// them from those of another hub, without telling where it is.
pub fn home(directory: &Path) -> String {
    let all = directory.parent().unwrap_or(directory);
    let all = fs::canonicalize(all).unwrap_or_else(|_| all.to_owned());
    let mut hash = sha1_smol::Sha1::new();
    hash.update(all.as_os_str().as_encoded_bytes());
    hash.digest().to_string().chars().take(16).collect()
}
