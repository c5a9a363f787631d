//! Reaching the hub that a verb is for: who we are to it, and starting it when none runs.

use std::{sync::Arc, time::Duration};

use crate::{
    base::{
        fault::{Fault, Outcome},
        id::ClientId,
    },
    client,
    config::{
        address::Address,
        contexts::{Context, ContextName, Contexts},
        environment::Variable,
        paths::Paths,
    },
    runtime::{Identity, Runtime},
};

/// A hub and who we are to it.
pub struct Link {
    pub runtime: Arc<dyn Runtime>,
    pub identity: Identity,
}

impl Link {
    fn over(client: client::Client) -> Self {
        // Who we are may be the hub's word.
        let identity = client.identity();
        Self { runtime: Arc::new(client), identity }
    }
}

/// How long a verb waits for a hub that was lost meanwhile; a console waits for ever, and shows it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which hub a verb speaks to, and where everything of this user lies.
pub struct Target {
    pub paths: Paths,
    pub context: Context,
}

impl Target {
    /// The context that is meant: as was said, by the variable, or the current one.
    pub fn chosen(paths: &Paths, said: Option<&ContextName>) -> Outcome<Self> {
        Ok(Self { paths: paths.clone(), context: Contexts::chosen(paths, said)? })
    }

    /// It is this user's own hub, which sees the same files.
    pub fn is_local(&self) -> bool {
        self.context.name.is_local()
    }

    /// The hub may see other files than this process does.
    pub fn is_elsewhere(&self) -> bool {
        !matches!(self.context.address, Address::Unix(_))
    }

    pub fn name(&self) -> &ContextName {
        &self.context.name
    }
}

/// The hub, started if none runs, for a verb.
pub async fn hub(target: &Target) -> Outcome<Link> {
    started(target, Some(PATIENCE), asks()).await
}

/// The hub, started if none runs, for what may become a session on this terminal: there the lost hub
/// shows, and who is tired of waiting detaches.
pub async fn hub_to_attach(target: &Target) -> Outcome<Link> {
    let patience = (!super::out::on_terminal()).then_some(PATIENCE);
    started(target, patience, asks()).await
}

/// The hub, started if none runs, for a console, which draws all over the terminal.
pub async fn hub_for_console(target: &Target) -> Outcome<Link> {
    started(target, None, false).await
}

/// The same, of one hub of several, to all of which we would be the same.
pub async fn for_console_of(
    target: &Target,
    identity: Identity,
    tokens: client::Tokens,
    again: bool,
) -> Outcome<Link> {
    let options = client::Options { tokens, ..options(target, identity, None) };
    started_as(target, options, client::Opening { careful: again, ..BY_ITSELF }).await
}

/// A hub is started, and nobody asked.
const BY_ITSELF: client::Opening = client::Opening { starts: true, careful: false, asks: false };

/// Whether somebody can be asked on the way.
fn asks() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

async fn started(target: &Target, patience: Option<Duration>, asks: bool) -> Outcome<Link> {
    let options = options(target, identity(), patience);
    started_as(target, options, client::Opening { asks, ..BY_ITSELF }).await
}

async fn started_as(
    target: &Target,
    options: client::Options,
    opening: client::Opening,
) -> Outcome<Link> {
    let runtime = match &target.context.address {
        _ if target.is_local() => client::connect_or_start(&target.paths, options).await?,
        Address::OpenShell { .. } => {
            client::connect_or_start_gateway(&target.paths, target.name(), options).await?
        }
        _ => reach(target, options, opening).await?,
    };
    Ok(Link::over(runtime))
}

/// The hub, only if it runs.
pub async fn running_hub(target: &Target) -> Outcome<Link> {
    let options = options(target, identity(), Some(PATIENCE));
    let opening = client::Opening { starts: false, careful: false, asks: asks() };
    Ok(Link::over(reach(target, options, opening).await?))
}

fn options(target: &Target, identity: Identity, patience: Option<Duration>) -> client::Options {
    client::Options {
        compress: target.context.compress,
        ..client::Options::new(identity, patience)
    }
}

async fn reach(
    target: &Target,
    options: client::Options,
    opening: client::Opening,
) -> Outcome<client::Client> {
    let way = client::Way::to(&target.context, &target.paths)?;
    // A console draws for long and has patience for ever.
    let console = options.patience.is_none() && !opening.asks;
    let way = if console { way } else { way.for_a_verb(super::out::tell) };
    client::Client::reach(way, options, opening).await
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

/// A path of the machine where a hub elsewhere runs: nothing here can tell where a relative one leads.
pub fn over_there(path: std::path::PathBuf) -> Outcome<std::path::PathBuf> {
    if path.is_absolute() {
        return Ok(path);
    }
    let shown = crate::base::text::shown(&path.to_string_lossy(), 256);
    Err(Fault::invalid(format!("no absolute path: {shown}"))
        .hint("the hub is on another machine: name the directory there by its whole path"))
}
