//! Removing a container so that nothing of it is left, by whoever comes: its host, or a hub that finds traces.

use hyper::{Method, StatusCode};
use tokio::time::{sleep, timeout};

use super::{
    answer::{Container, Listed},
    container::{self as made, HOME_LABEL, SANDBOX_LABEL},
    engine::{Engine, Payload, escaped},
    trace::{self, Trace},
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::{ENGINE_LOOK_AGAIN_MIN, ENGINE_MAKES_WITHIN, ENGINE_REMOVE_WITHIN},
    },
    driver::Ground,
};

/// Whether this is a container of this sandbox of this hub, before anything is done to it; `false` when there is
/// none. An engine may be another one than it was, and a name may be anybody's.
pub async fn is_ours(engine: &Engine, container: &str, ground: &Ground) -> Outcome<bool> {
    let seen = match engine.inspect(container).await {
        Err(fault) if fault.kind() == Kind::Absent => return Ok(false),
        seen => seen?,
    };
    let ours = bears_mark(&seen, ground);
    if !ours {
        tracing::warn!(container, "a container that is not this sandbox's is left alone");
    }
    Ok(ours)
}

fn bears_mark(container: &Container, ground: &Ground) -> bool {
    let label = |name| container.config.as_ref().and_then(|it| it.label(name));
    label(SANDBOX_LABEL) == Some(ground.id.as_str())
        && label(HOME_LABEL) == Some(trace::home(&ground.dir).as_str())
}

/// Removes a container of this sandbox, running or not, with its anonymous volumes; tells whether there was one.
async fn container(engine: &Engine, id: &str, ground: &Ground) -> Outcome<bool> {
    if !is_ours(engine, id, ground).await? {
        return Ok(false);
    }
    let path = format!("/containers/{}?force=1&v=1", escaped(id));
    let removed =
        engine.call(Method::DELETE, &path, Payload::Nothing, ENGINE_REMOVE_WITHIN).await?;
    match removed.status {
        StatusCode::NOT_FOUND => {}
        // Somebody else is at it.
        StatusCode::CONFLICT => vanished(engine, id).await?,
        _ => removed.done()?,
    }
    Ok(true)
}

async fn vanished(engine: &Engine, id: &str) -> Outcome<()> {
    let waiting = async {
        loop {
            match engine.inspect(id).await {
                Err(fault) if fault.kind() == Kind::Absent => return Ok(()),
                Err(fault) => return Err(fault),
                Ok(_) => sleep(ENGINE_LOOK_AGAIN_MIN).await,
            }
        }
    };
    timeout(ENGINE_REMOVE_WITHIN, waiting).await.unwrap_or_else(|_| {
        Err(Fault::late("removing the container: it does not go").hint("see `docker ps --all`"))
    })
}

/// Removes whatever a sandbox has at its engine. Without a trace there is nothing: so is given up what an engine
/// has that never comes back.
pub async fn everything(ground: &Ground) -> Outcome<()> {
    let Some(found) = Trace::read(&ground.dir)? else { return Ok(()) };
    if found.adopted {
        // It is let go of, and stays as it is.
        return Trace::forget(&ground.dir);
    }
    let removed = all(&found, ground).await.map_err(|fault| match fault.kind() {
        Kind::Lost | Kind::Late => fault.hint(format!(
            "start that engine and try again; if it is gone for good, delete {}, then try again: container {} \
             stays with it",
            Trace::path(&ground.dir).display(),
            made::name(ground)
        )),
        _ => fault,
    })?;
    if !removed && found.container.is_none() && found.may_come(ENGINE_MAKES_WITHIN) {
        return Err(Fault::late(format!(
            "the docker engine did not say whether it makes container {}",
            made::name(ground)
        ))
        .hint(format!("try again in {} s", ENGINE_MAKES_WITHIN.as_secs())));
    }
    Trace::forget(&ground.dir)
}

/// Tells whether there was anything.
async fn all(found: &Trace, ground: &Ground) -> Outcome<bool> {
    let engine = Engine::new(found.engine.clone());
    let mut ids: Vec<String> = found.container.iter().cloned().collect();
    // One whose making was cut short before it was written down.
    ids.extend(named(&engine, ground).await?);
    ids.push(made::name(ground));
    let mut removed = false;
    for id in ids {
        removed |= container(&engine, &id, ground).await?;
    }
    Ok(removed)
}

/// The containers that bear a sandbox's mark.
async fn named(engine: &Engine, ground: &Ground) -> Outcome<Vec<String>> {
    let home = trace::home(&ground.dir);
    let labels = [format!("{SANDBOX_LABEL}={}", ground.id), format!("{HOME_LABEL}={home}")];
    let filters = serde_json::json!({ "label": labels }).to_string();
    let path = format!("/containers/json?all=1&filters={}", escaped(&filters));
    let found: Vec<Listed> = engine.get(&path).await?;
    Ok(found.into_iter().map(|it| it.id).filter(|it| !it.is_empty()).collect())
}
