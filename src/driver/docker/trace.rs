//! What is written down of a container, in the sandbox's own directory, so that whoever comes later finds the
//! same engine and the same container. Written before there is one.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::address::Address;
use crate::base::{
    clock,
    fault::{Fault, Outcome},
    limits::ENGINE_FILE_BYTES_MAX,
};

const FILE: &str = "docker.json";

/// One container or image, on its way or there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    pub engine: Address,
    /// The engine's id of it; `None` = it may or may not be made yet.
    pub container: Option<String>,
    /// When the engine was asked to make it, in milliseconds since 1970; `None` once it has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<i64>,
    /// It was there before its sandbox, and stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

impl Trace {
    /// Of nothing yet.
    pub fn new(engine: Address) -> Self {
        Self { engine, container: None, asked_at: None, adopted: false }
    }

    /// Of what the engine is just going to be asked for.
    pub fn asking(engine: Address) -> Self {
        Self { asked_at: Some(clock::wall().0), ..Self::new(engine) }
    }

    /// The engine did not answer, and what it was asked for may still come. A clock that was set must not make
    /// that last for ever.
    pub fn may_come(&self, most: Duration) -> bool {
        self.asked_at.is_some_and(|it| u128::from(clock::wall().0.abs_diff(it)) < most.as_millis())
    }

    /// Where it is in a directory, for a person.
    pub fn path(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    /// Reads it; `None` = nothing was ever made.
    pub fn read(directory: &Path) -> Outcome<Option<Self>> {
        use std::io::Read;
        let path = Self::path(directory);
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
        let (path, next) = (Self::path(directory), directory.join("docker.json.new"));
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Fault::bug(format!("writing {}: {error}", path.display())))?;
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)
            .and_then(|mut it| it.write_all(&bytes).and_then(|()| it.sync_all()))
            .and_then(|()| fs::rename(&next, &path));
        written.map_err(|error| Fault::io(format!("writing {}", path.display()), &error))
    }

    /// Nothing is left of it.
    pub fn forget(directory: &Path) -> Outcome<()> {
        let path = Self::path(directory);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_may_come_until_its_time_is_over() {
        let most = Duration::from_secs(60);
        let asked = Trace::asking(Address::unix(Path::new("/x")));
        assert!(asked.may_come(most));
        assert!(!Trace::new(asked.engine.clone()).may_come(most));
        let at = |it: i64| Trace { asked_at: Some(it), ..asked.clone() };
        let now = clock::wall().0;
        assert!(!at(now - 61_000).may_come(most));
        assert!(!at(now + 3_600_000).may_come(most), "the clock was set back");
    }

    #[test]
    fn a_trace_without_what_is_new_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let text = r#"{"engine":{"url":"unix:///x","tls":null},"container":"abc"}"#;
        fs::write(Trace::path(temp.path()), text).unwrap();
        let read = Trace::read(temp.path()).unwrap().unwrap();
        assert_eq!((read.container.as_deref(), read.asked_at), (Some("abc"), None));
        read.write(temp.path()).unwrap();
        assert_eq!(fs::read_to_string(Trace::path(temp.path())).unwrap(), text);
    }
}
