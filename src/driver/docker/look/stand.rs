//! A container that is looked at: one that is there, or one that is made of an image for the look alone and never started.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::super::{
    answer::{Created, Listed},
    container::{HOME_LABEL, SANDBOX_LABEL},
    engine::{Engine, Payload, escaped, escaped_bytes},
    trace::Trace,
};
use crate::base::{
    clock,
    fault::{Fault, Kind, Outcome},
    id::SandboxId,
    limits::{ENGINE_ANSWER_WITHIN, ENGINE_REMOVE_WITHIN, ENGINE_START_WITHIN, FETCH_WITHIN},
};

/// On those that are made for a look.
const LOOK_LABEL: &str = "sandwatch.look";
/// What an engine says of a path, in base64.
const FACTS: &str = "x-docker-container-path-stat";

/// Whose looks they are: who removes those that are left knows them by that.
#[derive(Clone, Debug)]
pub struct Whose {
    /// Of the sandbox or the snapshot.
    pub id: String,
    /// Of its hub.
    pub home: String,
}

/// One that is looked at. One that was made for it goes with it.
pub struct Stand {
    pub engine: Arc<Engine>,
    pub container: String,
    made: bool,
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// A directory, with its permissions.
    Directory(u32),
    Other,
    /// It can't be asked for by itself: an engine follows links, also those that lead nowhere.
    Unasked,
}

/// As Go has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Facts {
    mode: u32,
}

impl Facts {
    fn found(&self) -> Found {
        const DIRECTORY: u32 = 1 << 31;
        match self.mode & DIRECTORY {
            0 => Found::Other,
            _ => Found::Directory(self.mode & 0o777),
        }
    }
}

impl Stand {
    /// One that is there, and stays.
    pub fn there(engine: Engine, container: String) -> Self {
        Self { engine: Arc::new(engine), container, made: false }
    }

    /// Makes one of an image. What an earlier look left that was cut short is removed.
    pub async fn of_image(engine: Engine, image: &str, whose: &Whose) -> Outcome<Self> {
        sweep(&engine, whose, Some(FETCH_WITHIN.as_secs())).await?;
        let name = format!("sandwatch-look-{}", SandboxId::random());
        let body = json!({
            "Image": image,
            // Nobody runs it.
            "Entrypoint": ["/"],
            "Cmd": [],
            "NetworkDisabled": true,
            "Labels": { SANDBOX_LABEL: whose.id, HOME_LABEL: whose.home, LOOK_LABEL: "1" },
            "HostConfig": { "NetworkMode": "none" },
        });
        let path = format!("/containers/create?name={name}");
        let answer = engine.call(Method::POST, &path, Payload::Json(body), ENGINE_START_WITHIN);
        let made: Created = answer.await?.json().map_err(|fault| match fault.kind() {
            Kind::Absent => fault.context("what it began with is not there any more"),
            _ => fault,
        })?;
        if made.id.is_empty() {
            return Err(Fault::failed("the docker engine does not name the container it made"));
        }
        Ok(Self { engine: Arc::new(engine), container: made.id, made: true })
    }

    /// Removes it, if it was made.
    pub async fn end(mut self) {
        if std::mem::take(&mut self.made) {
            remove(&self.engine, &self.container).await;
        }
    }

    /// The question for a path as an archive.
    pub fn archive(&self, path: &[u8]) -> String {
        let container = escaped(&self.container);
        format!("/containers/{container}/archive?path=/{}", escaped_bytes(path))
    }

    /// What lies at a path. A link is none of what it leads to.
    pub fn find(&self, path: &[u8]) -> impl Future<Output = Outcome<Found>> + Send + use<> {
        find(Arc::clone(&self.engine), self.archive(path))
    }

    /// Whether it is still there: of one that is gone, nothing lies at any path.
    pub async fn is_there(&self) -> Outcome<()> {
        self.engine.inspect(&self.container).await.map(drop)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Whoever asked has left in the middle.
        if self.made
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let engine = Arc::clone(&self.engine);
            let container = std::mem::take(&mut self.container);
            runtime.spawn(async move { remove(&engine, &container).await });
        }
    }
}

async fn find(engine: Arc<Engine>, asked: String) -> Outcome<Found> {
    let answer = engine.call(Method::HEAD, &asked, Payload::Nothing, ENGINE_ANSWER_WITHIN);
    let answer = answer.await?;
    match answer.status {
        StatusCode::NOT_FOUND => return Ok(Found::Nothing),
        status if status.is_success() => {}
        status if status.is_server_error() => return Ok(Found::Unasked),
        status => {
            let words = format!("looking at a path of a container: the engine says {status}");
            return Err(Fault::failed(words).hint("see whether it works: docker version"));
        }
    }
    let said = answer.header(FACTS).and_then(|it| BASE64_STANDARD.decode(it).ok());
    let facts = said.and_then(|it| serde_json::from_slice::<Facts>(&it).ok());
    let facts = facts.ok_or_else(|| {
        Fault::failed("the docker engine does not say what lies at a path of a container")
    })?;
    Ok(facts.found())
}

async fn remove(engine: &Engine, container: &str) {
    let path = format!("/containers/{}?force=1&v=1", escaped(container));
    let removed = engine.call(Method::DELETE, &path, Payload::Nothing, ENGINE_REMOVE_WITHIN).await;
    if let Err(fault) = removed {
        tracing::warn!(%fault, "a container that was made for a look is left for the next one");
    }
}

/// Removes what is left of looks that were cut short: those that are older than any look is, or all.
async fn sweep(engine: &Engine, whose: &Whose, older: Option<u64>) -> Outcome<()> {
    let Whose { id, home } = whose;
    let labels = [
        format!("{LOOK_LABEL}=1"),
        format!("{SANDBOX_LABEL}={id}"),
        format!("{HOME_LABEL}={home}"),
    ];
    let filters = json!({ "label": labels }).to_string();
    let path = format!("/containers/json?all=1&filters={}", escaped(&filters));
    let found: Vec<Listed> = engine.get(&path).await?;
    let now = clock::wall().0 / 1000;
    let is_old = |it: &Listed| {
        older.is_none_or(|most| i128::from(now) - i128::from(it.created) > i128::from(most))
    };
    for left in found.iter().filter(|it| is_old(it) && !it.id.is_empty()) {
        remove(engine, &left.id).await;
    }
    Ok(())
}

/// All that is left of looks at a snapshot, which goes. An engine that is gone takes them along.
pub async fn forget(trace: &Trace, whose: &Whose) {
    if let Err(fault) = sweep(&Engine::new(trace.engine.clone()), whose, None).await {
        tracing::debug!(%fault, "what looks left is not looked for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_of_a_path_is_read() {
        let found = |text: &str| serde_json::from_str::<Facts>(text).unwrap().found();
        assert_eq!(found(r#"{"name":"d","mode":2147484141}"#), Found::Directory(0o755));
        assert_eq!(found(r#"{"name":"f","mode":420}"#), Found::Other);
        // A link that leads to a directory, and a directory that all may write into.
        assert_eq!(found(r#"{"mode":134218239}"#), Found::Other);
        assert_eq!(found(r#"{"mode":2148532735}"#), Found::Directory(0o777));
    }
}
