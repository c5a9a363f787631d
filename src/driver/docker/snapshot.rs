//! Snapshots: a container's files as an image of its engine, under a name that keeps others from taking it for
//! one that nobody needs.

use hyper::{Method, StatusCode};
use serde_json::json;

use super::{
    answer::{Container, Created},
    engine::{Engine, Payload, escaped},
    remove,
    trace::Trace,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{ENGINE_REMOVE_WITHIN, ENGINE_WORDS_BYTES_MAX, SNAPSHOT_WITHIN},
        text,
    },
    driver::{Ground, Shelf, Taken},
    model::sandbox::{SandboxSpec, WorkspaceMode},
};

const REPOSITORY: &str = "sandwatch-snapshot";

/// Keeps the files of a container, which is frozen or does not run.
pub async fn take(ground: &Ground, spec: &SandboxSpec, shelf: &Shelf) -> Outcome<Taken> {
    let Some(Trace { engine: address, container: Some(container) }) = Trace::read(&ground.dir)?
    else {
        return Err(Fault::absent(format!("{} has no container any more", ground.name)));
    };
    let engine = Engine::new(address);
    let asked = format!("/containers/{}/json?size=1", escaped(&container));
    let seen = engine.call(Method::GET, &asked, Payload::Nothing, SNAPSHOT_WITHIN).await?;
    let seen: Container = seen.json()?;
    // Before there is anything to be let go of.
    Trace { engine: engine.address.clone(), container: None }.write(&shelf.dir)?;
    let comment = escaped(&format!("sandwatch: a moment of {}", ground.name));
    let (of, tag) = (escaped(&container), escaped(shelf.id.as_str()));
    let path =
        format!("/commit?container={of}&repo={REPOSITORY}&tag={tag}&comment={comment}&pause=1");
    let body = Payload::Json(json!({}));
    let made: Created = engine.call(Method::POST, &path, body, SNAPSHOT_WITHIN).await?.json()?;
    if made.id.is_empty() {
        return Err(Fault::failed("the docker engine does not name the image it made"));
    }
    Ok(Taken { size_bytes: seen.size_rw, reference: Some(made.id), notes: notes(spec, &seen) })
}

/// What an image does not hold.
fn notes(spec: &SandboxSpec, container: &Container) -> Vec<String> {
    let mut notes = Vec::new();
    if matches!(spec.workspace.mode, WorkspaceMode::Rw | WorkspaceMode::Ro) {
        notes.push("the workspace is the real directory, which is not kept".to_owned());
    }
    for mount in container.mounts.iter().flatten().filter(|it| it.kind == "volume") {
        let place = text::shown(&mount.destination, ENGINE_WORDS_BYTES_MAX);
        notes.push(format!("a volume of the image is not kept: {place}"));
    }
    notes
}

/// The image of a snapshot, for who begins with it.
pub fn image(shelf: &Shelf) -> Outcome<&str> {
    shelf.reference.as_deref().ok_or_else(|| {
        Fault::absent(format!("snapshot {} has no image at a docker engine", shelf.id))
    })
}

/// Lets go of an image. What others stand on stays until they go; fine when it is not there.
pub async fn forget(shelf: &Shelf) -> Outcome<()> {
    let Some(trace) = Trace::read(&shelf.dir)? else { return Ok(()) };
    let engine = Engine::new(trace.engine);
    let path = format!("/images/{REPOSITORY}:{}?force=1", escaped(shelf.id.as_str()));
    let gone = engine.call(Method::DELETE, &path, Payload::Nothing, ENGINE_REMOVE_WITHIN).await?;
    match gone.status {
        StatusCode::NOT_FOUND => Ok(()),
        _ => gone.done(),
    }
}

/// Removes a container and keeps in mind at which engine it was.
pub async fn vacate(ground: &Ground) -> Outcome<()> {
    let Some(trace) = Trace::read(&ground.dir)? else { return Ok(()) };
    remove::everything(ground).await?;
    Trace { container: None, ..trace }.write(&ground.dir)
}
