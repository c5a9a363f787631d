//! Reaching the hub of this user: who we are to it, and starting it when none runs.

use std::sync::Arc;

use crate::{
    base::{
        fault::{Fault, Outcome},
        id::ClientId,
    },
    config::{environment::Variable, paths::Paths},
    runtime::{Identity, Runtime},
};

/// A hub and who we are to it.
pub struct Link {
    pub runtime: Arc<dyn Runtime>,
    pub identity: Identity,
}

/// The hub; started if none runs.
#[expect(clippy::unused_async, reason = "x")]
pub async fn hub(paths: &Paths) -> Outcome<Link> {
    let identity = identity();
    Err(Fault::lost(format!("no hub for {} in {}", identity.name, paths.run().display())))
}

/// The hub, only if it runs.
#[expect(clippy::unused_async, reason = "x")]
pub async fn running_hub(paths: &Paths) -> Outcome<Link> {
    let identity = identity();
    Err(Fault::lost(format!("no hub for {} in {}", identity.name, paths.run().display())))
}

/// A new client of that hub, called `user@host` by people.
pub fn identity() -> Identity {
    let user = Variable::User.text().or_else(|| Variable::LogName.text());
    let user = user.unwrap_or_else(|| format!("uid{}", rustix::process::geteuid().as_raw()));
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    Identity {
        client: ClientId::random(),
        name: crate::base::text::clip(&crate::base::text::visible(&format!("{user}@{host}")), 63),
    }
}

/// Where the operator stands.
pub fn current_directory() -> Outcome<std::path::PathBuf> {
    std::env::current_dir().map_err(|error| Fault::io("find the current directory", &error))
}
