//! Removing a container so that nothing of it is left, by whoever comes: its host, or a hub that finds traces.

use std::path::Path;

use hyper::{Method, StatusCode};
use tokio::time::{sleep, timeout};

use super::{
    answer::Listed,
    container::{HOME_LABEL, SANDBOX_LABEL},
    engine::{Engine, Payload, escaped},
    trace::{self, Trace},
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::{ENGINE_LOOK_AGAIN_MIN, ENGINE_REMOVE_WITHIN},
    },
    driver::Ground,
};

/// Removes a container, running or not, with its anonymous volumes; fine when it is not there.
pub async fn container(engine: &Engine, id: &str) -> Outcome<()> {
    let path = format!("/containers/{}?force=1&v=1", escaped(id));
    let removed =
        engine.call(Method::DELETE, &path, Payload::Nothing, ENGINE_REMOVE_WITHIN).await?;
    match removed.status {
        StatusCode::NOT_FOUND => Ok(()),
        // Somebody else is at it.
        StatusCode::CONFLICT => vanished(engine, id).await,
        _ => removed.done(),
    }
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

/// Removes whatever a sandbox has at its engine.
pub async fn everything(ground: &Ground) -> Outcome<()> {
    let Some(found) = Trace::read(&ground.dir)? else { return Ok(()) };
    let engine = Engine::new(found.engine);
    if let Some(id) = &found.container {
        container(&engine, id).await?;
    }
    // One whose making was cut short before it was written down.
    for id in named(&engine, ground).await? {
        container(&engine, &id).await?;
    }
    Trace::forget(&ground.dir)
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

/// Deletes a sandbox's own directory; fine when it is not there.
pub async fn directory(directory: &Path) -> Outcome<()> {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Fault::io(format_args!("deleting {}", directory.display()), &error))
        }
        _ => Ok(()),
    }
}
