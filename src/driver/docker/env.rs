//! What the operator's environment says of the Docker engine. The only reader of it in this driver.

use std::{ffi::OsString, path::PathBuf};

/// The variables of the docker command line that name an engine, as they were found; empty is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    pub host: Option<String>,
    pub context: Option<String>,
    /// Where the docker command line keeps its contexts; `None` = `.docker` in the home.
    pub config: Option<PathBuf>,
    /// With which certificates; it may be no absolute path, as `config` may.
    pub certificates: Option<PathBuf>,
    /// Whether a `tcp` engine is spoken to by TLS.
    pub tls: bool,
    pub home: Option<PathBuf>,
    pub runtime: Option<PathBuf>,
}

fn raw(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|it| !it.is_empty())
}

/// What can't be read is no address, and must not be taken for none.
fn text(name: &str) -> Option<String> {
    raw(name).map(|it| it.to_string_lossy().into_owned())
}

fn path(name: &str) -> Option<PathBuf> {
    raw(name).map(PathBuf::from)
}

fn directory(name: &str) -> Option<PathBuf> {
    path(name).filter(|it| it.is_absolute())
}

impl Environment {
    pub fn read() -> Self {
        Self {
            host: text("DOCKER_HOST"),
            context: text("DOCKER_CONTEXT"),
            config: path("DOCKER_CONFIG"),
            certificates: path("DOCKER_CERT_PATH"),
            tls: raw("DOCKER_TLS_VERIFY").or_else(|| raw("DOCKER_TLS")).is_some(),
            home: directory("HOME"),
            runtime: directory("XDG_RUNTIME_DIR"),
        }
    }

    /// The docker command line's own directory.
    pub fn own(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| Some(self.home.as_ref()?.join(".docker")))
    }
}
