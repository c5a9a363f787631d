//! The hub of an OpenShell gateway: this user's, on this machine, with all that the gateway has and nothing else.

use super::link::{self, Target};
use crate::{
    base::fault::{Fault, Outcome},
    client,
    config::{address::Address, contexts::Context, paths::Paths},
    driver::{
        openshell::{At, OpenShell},
        registry::Registry,
    },
    hub,
    runtime::Runtime,
};

/// What such a hub has for drivers. `target` is the context of the gateway, with the paths of its hub.
pub fn drivers(target: &Target) -> Outcome<Registry> {
    let name = target.name();
    let Address::OpenShell { tls, host, port } = &target.context.address else {
        let words = format!("{name} is no gateway of OpenShell: {}", target.context.address);
        return Err(Fault::invalid(words).hint("sandwatch context ls shows what is one"));
    };
    // Its own files lie apart; the keys to it are the operator's, as those of every context.
    let own = Paths::from_environment()?.context(name);
    let credentials = std::iter::once(own).chain(Paths::of_openshell(name)).collect();
    let at = At {
        name: name.to_string(),
        tls: *tls,
        host: host.as_str().to_owned(),
        port: *port,
        credentials,
    };
    // As whoever is started by others sees it: what lies there by now may be another program.
    let program = format!("/proc/{}/exe", std::process::id()).into();
    let driver = OpenShell::new(at, program, target.paths.run().to_owned())?;
    Ok(Registry::default().with(driver))
}

/// Whether a hub is that of a gateway.
pub fn is_one(target: &Target) -> bool {
    matches!(target.context.address, Address::OpenShell { .. })
}

/// Ends the hub of a gateway that is no context any more; one that does not run is fine.
pub async fn end(paths: &Paths, context: &Context) -> Outcome<()> {
    if !matches!(context.address, Address::OpenShell { .. }) {
        return Ok(());
    }
    let paths = paths.of_gateway(&context.name);
    let options = client::Options::new(link::identity(), None);
    match client::Client::connect(&paths.hub_socket(), options).await {
        Ok(running) => {
            running.shutdown().await?;
            hub::ended(&paths).await
        }
        Err(_) => Ok(()),
    }
}
