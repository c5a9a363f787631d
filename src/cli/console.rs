//! The console: over the hubs of all contexts, or over one that was named.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;

use super::{
    context,
    link::{self, Target},
    out,
};
use crate::{
    base::fault::{Fault, Outcome},
    client::{
        Tokens,
        many::{Contact, Many, Opener},
    },
    config::{
        contexts::{Context, Contexts},
        environment::Variable,
        paths::Paths,
    },
    runtime::{Identity, Runtime},
    tui,
};

/// Opens the console. `named`: over the hub of that context alone.
pub async fn console(target: &Target, named: bool) -> Outcome<out::Code> {
    let start = if named || Variable::Context.raw().is_some() {
        let link = link::hub_for_console(target).await?;
        tui::console::Start {
            hub: target.name().to_string(),
            runtime: link.runtime,
            identity: link.identity,
            directory: link::current_directory()?,
            driver: "local".to_owned(),
            elsewhere: !target.is_local(),
            said: None,
            files: tui::files::Files::new(&target.paths),
            reread: None,
            contexts: None,
        }
    } else {
        over_all(&target.paths).await?
    };
    let end = tui::console::run(start).await?;
    match end.running {
        None | Some(0) => {}
        Some(1) => out::print("1 sandbox goes on; `sandwatch` comes back to it\n")?,
        Some(many) => {
            out::print(&format!("{many} sandboxes go on; `sandwatch` comes back to them\n"))?;
        }
    }
    Ok(end.code)
}

async fn over_all(paths: &Paths) -> Outcome<tui::console::Start> {
    let all = Contexts::load(paths)?.all().to_vec();
    let identity = link::identity();
    let contact = {
        let (paths, identity) = (paths.clone(), identity.clone());
        move |context: Context| Contact {
            name: context.name.to_string(),
            address: context.address.to_string(),
            opener: Arc::new(Reach {
                paths: paths.clone(),
                context,
                identity: identity.clone(),
                tokens: Tokens::default(),
                again: AtomicBool::new(false),
            }),
        }
    };
    let (own, others) = match all.as_slice() {
        [own, others @ ..] => (contact(own.clone()), others.to_vec()),
        [] => return Err(Fault::bug("there is no context at all")),
    };
    // Alone, it is reached before anything is drawn, and what is in the way of that is said. Of several, each comes when
    // it comes.
    let reached = if others.is_empty() { Some(own.opener.open().await?) } else { None };
    let many = Arc::new(Many::new(identity.client.clone(), own, reached));
    let said = many.keep(others.into_iter().map(&contact).collect()).err();
    let reread = {
        let (many, paths) = (Arc::downgrade(&many), paths.clone());
        move || {
            let Some(many) = many.upgrade() else { return Ok(()) };
            let all = Contexts::load(&paths)?;
            many.keep(all.all().iter().skip(1).cloned().map(&contact).collect())
        }
    };
    let contexts = {
        let paths = paths.clone();
        move |change| -> Pin<Box<dyn Future<Output = Outcome<()>> + Send>> {
            let paths = paths.clone();
            Box::pin(async move { context::change(&paths, change).await })
        }
    };
    Ok(tui::console::Start {
        runtime: many,
        identity,
        hub: "local".to_owned(),
        directory: link::current_directory()?,
        driver: "local".to_owned(),
        elsewhere: false,
        said,
        files: tui::files::Files::new(paths),
        reread: Some(Arc::new(reread)),
        contexts: Some(Arc::new(contexts)),
    })
}

/// The hub of one context.
struct Reach {
    paths: Paths,
    context: Context,
    identity: Identity,
    tokens: Tokens,
    /// It was not reached before.
    again: AtomicBool,
}

#[async_trait]
impl Opener for Reach {
    async fn open(&self) -> Outcome<Arc<dyn Runtime>> {
        let target = Target { paths: self.paths.clone(), context: self.context.clone() };
        let again = self.again.swap(true, Ordering::Relaxed);
        let identity = self.identity.clone();
        Ok(link::for_console_of(&target, identity, self.tokens.clone(), again).await?.runtime)
    }
}
