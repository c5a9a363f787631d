//! Snapshots: a container's files as an image of its engine, under a name that keeps others from taking it for
//! one that nobody needs.

use hyper::{Method, StatusCode};
use serde_json::json;

use super::{
    answer::{Container, Created, Image},
    container::SANDBOX_LABEL,
    engine::{Engine, Payload, escaped},
    look::{self, Touched},
    pull::aside,
    remove,
    trace::Trace,
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::{
            ENGINE_KEEPS_WITHIN, ENGINE_REMOVE_WITHIN, ENGINE_WORDS_BYTES_MAX, SNAPSHOT_WITHIN,
        },
        text,
    },
    driver::{
        Ground, Shelf, Taken,
        local::{agents, pulled},
    },
    model::sandbox::{SandboxSpec, WorkspaceMode},
};

const REPOSITORY: &str = "sandwatch-snapshot";

/// Keeps the files of a container, which is frozen or does not run.
pub async fn take(ground: &Ground, spec: &SandboxSpec, shelf: &Shelf) -> Outcome<Taken> {
    const GONE: &str =
        "its files went with it; an earlier moment lives on in a fork: sandwatch fork SNAPSHOT";
    let Some(Trace { engine: address, container: Some(container), .. }) = Trace::read(&ground.dir)?
    else {
        let fault = Fault::absent(format!("{} has no container any more", ground.name));
        return Err(fault.hint(GONE));
    };
    let engine = Engine::new(address);
    let asked = format!("/containers/{}/json?size=1", escaped(&container));
    let seen = engine.call(Method::GET, &asked, Payload::Nothing, SNAPSHOT_WITHIN).await?;
    let seen: Container = seen.json().map_err(|fault| match fault.kind() {
        Kind::Absent => {
            fault.context(format!("{} has no container any more", ground.name)).hint(GONE)
        }
        _ => fault,
    })?;
    let mut notes = notes(spec, &seen);
    let touched = Touched::of(&engine, &seen, ground, spec).await;
    if let Err(fault) = &touched {
        notes.push(format!("what its system changed can't be told later: {}", fault.message()));
    }
    let (place, begun) = (shelf.dir.clone(), ground.dir.clone());
    aside(move || {
        match touched {
            Ok(touched) => touched.write(&place)?,
            Err(fault) => Touched::write_why_not(&place, fault.message())?,
        }
        agents::pass_on(&begun, &place)
            .map_err(|error| Fault::io("keeping settings of agents with a snapshot", &error))
    })
    .await?;
    // Before there is anything to be let go of.
    Trace::asking(engine.address.clone()).write(&shelf.dir)?;
    let comment = escaped(&format!("sandwatch: a moment of {}", ground.name));
    let (of, tag) = (escaped(&container), escaped(shelf.id.as_str()));
    let path =
        format!("/commit?container={of}&repo={REPOSITORY}&tag={tag}&comment={comment}&pause=1");
    let body = Payload::Json(json!({}));
    let answer = engine.call(Method::POST, &path, body, SNAPSHOT_WITHIN).await?;
    Trace::new(engine.address.clone()).write(&shelf.dir)?;
    let made: Created = answer.json()?;
    if made.id.is_empty() {
        return Err(Fault::failed("the docker engine does not name the image it made"));
    }
    pulled::pass_on(&ground.dir, &shelf.dir)?;
    Ok(Taken { size_bytes: seen.size_rw, reference: Some(made.id), notes })
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

/// The engine that has a snapshot, whichever is used otherwise.
pub fn engine(shelf: &Shelf) -> Outcome<Engine> {
    let trace = Trace::read(&shelf.dir)?.ok_or_else(|| no_image(shelf))?;
    Ok(Engine::new(trace.engine))
}

/// The image of a snapshot, for who begins with it.
pub fn image(shelf: &Shelf) -> Outcome<&str> {
    shelf.reference.as_deref().ok_or_else(|| no_image(shelf))
}

fn no_image(shelf: &Shelf) -> Fault {
    Fault::absent(format!("snapshot {} has no image at a docker engine", shelf.id))
}

/// Lets go of an image, whether its snapshot was finished or not. What others stand on stays until they go; fine
/// when it is not there, and when the shelf is of another driver.
pub async fn forget(shelf: &Shelf) -> Outcome<()> {
    let Some(trace) = Trace::read(&shelf.dir)? else { return Ok(()) };
    look::forget(&trace, &look::of_snapshot(shelf)).await;
    let engine = Engine::new(trace.engine.clone());
    let name = format!("{REPOSITORY}:{}", shelf.id);
    let removed = remove_image(&engine, &name, Named::ByUs).await.map_err(|fault| match fault.kind() {
        Kind::Lost | Kind::Late => fault.hint(format!(
            "start that engine and try again; if it is gone for good, delete {}, then try again: image {name} \
             stays with it",
            Trace::path(&shelf.dir).display()
        )),
        _ => fault,
    })?;
    if removed {
        return Ok(());
    }
    if let Some(id) = &shelf.reference {
        // Somebody took its name away.
        return remove_image(&engine, id, Named::ById).await.map(drop);
    }
    if trace.may_come(ENGINE_KEEPS_WITHIN) {
        return Err(Fault::late(format!(
            "the docker engine did not say whether it makes image {name}"
        )));
    }
    Ok(())
}

/// How an image is named that is to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// By the name it got here: the name goes, and with it what has no other.
    ByUs,
    /// By its id. With a name it is somebody else's now.
    ById,
}

/// Removes an image of ours; tells whether there was one.
async fn remove_image(engine: &Engine, image: &str, named: Named) -> Outcome<bool> {
    let path = format!("/images/{}", escaped(image));
    let seen: Image = match engine.get(&format!("{path}/json")).await {
        Err(fault) if fault.kind() == Kind::Absent => return Ok(false),
        seen => seen?,
    };
    let ours = seen.config.as_ref().and_then(|it| it.label(SANDBOX_LABEL)).is_some();
    let taken = named == Named::ById && seen.repo_tags.is_some_and(|it| !it.is_empty());
    if !ours || taken {
        tracing::warn!(image, "an image that is somebody else's is left alone");
        return Ok(false);
    }
    let path = format!("{path}?force=1");
    let gone = engine.call(Method::DELETE, &path, Payload::Nothing, ENGINE_REMOVE_WITHIN).await?;
    if gone.status != StatusCode::NOT_FOUND {
        gone.done()?;
    }
    Ok(true)
}

/// Removes a container and keeps in mind at which engine it was.
pub async fn vacate(ground: &Ground) -> Outcome<()> {
    let Some(trace) = Trace::read(&ground.dir)? else { return Ok(()) };
    remove::everything(ground).await?;
    Trace::new(trace.engine).write(&ground.dir)
}
