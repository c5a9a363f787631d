//! Reaching the hub of this user: who we are to it, and starting it when none runs.

use std::{sync::Arc, time::Duration};

use crate::{
    base::{
        fault::{Fault, Outcome},
        id::ClientId,
    },
    client,
    config::{environment::Variable, paths::Paths},
    runtime::{Identity, Runtime},
};

/// A hub and who we are to it.
pub struct Link {
    pub runtime: Arc<dyn Runtime>,
    pub identity: Identity,
}

/// How long a verb waits for a hub that was lost meanwhile; a console waits for ever, and shows it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The hub, started if none runs, for a verb.
pub async fn hub(paths: &Paths) -> Outcome<Link> {
    started(paths, Some(PATIENCE)).await
}

/// The hub, started if none runs, for what may become a session on this terminal: there the lost hub
/// shows, and who is tired of waiting detaches.
pub async fn hub_to_attach(paths: &Paths) -> Outcome<Link> {
    let patience = (!super::out::on_terminal()).then_some(PATIENCE);
    started(paths, patience).await
}

/// The hub, started if none runs, for a console.
pub async fn hub_for_console(paths: &Paths) -> Outcome<Link> {
    started(paths, None).await
}

async fn started(paths: &Paths, patience: Option<Duration>) -> Outcome<Link> {
    let identity = identity();
    let options = client::Options { identity: identity.clone(), patience };
    let runtime = Arc::new(client::connect_or_start(paths, options).await?);
    Ok(Link { runtime, identity })
}

/// The hub, only if it runs.
pub async fn running_hub(paths: &Paths) -> Outcome<Link> {
    let identity = identity();
    let options = client::Options { identity: identity.clone(), patience: Some(PATIENCE) };
    let runtime = Arc::new(client::Client::connect(&paths.hub_socket(), options).await?);
    Ok(Link { runtime, identity })
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
        // What the hub sees of us.
        peer: None,
    }
}

/// Where the operator stands.
pub fn current_directory() -> Outcome<std::path::PathBuf> {
    std::env::current_dir().map_err(|error| Fault::io("find the current directory", &error))
}
