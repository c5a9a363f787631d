//! Containers that sandwatch did not make: which there are, and one of them as a sandbox. Nothing in one is changed,
//! and it is never removed.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use super::{
    answer::{Container, Listed},
    container::{self, SANDBOX_LABEL},
    engine::{Engine, escaped},
    life::{Life, Watched},
    make,
    place::DockerPlace,
    program::Programs,
    trace::Trace,
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Kind, Outcome},
        limits::{ENGINE_WORDS_BYTES_MAX, FOREIGN_MAX, FOREIGN_NAME_BYTES_MAX, IMAGE_BYTES_MAX},
        text,
    },
    driver::{Ground, PlaceFacts, local::doing::Looker},
    model::{
        capability::Capabilities,
        foreign::{Adoption, Foreign},
        sandbox::{Isolation, SandboxSpec},
    },
};

/// Told of every sandbox whose container was there before it.
const NOTE: &str = "adopted: it was not made by sandwatch, and stays when it is removed here";

/// Containers of the engine, running or not, that no hub of anybody's has made.
pub async fn others(engine: &Engine) -> Outcome<Vec<Foreign>> {
    let found: Vec<Listed> =
        engine.get(&format!("/containers/json?all=1&limit={FOREIGN_MAX}")).await?;
    let ours = |it: &Listed| it.labels.as_ref().is_some_and(|all| all.contains_key(SANDBOX_LABEL));
    let others = found.iter().filter(|it| !it.id.is_empty() && !ours(it)).take(FOREIGN_MAX);
    Ok(others.map(foreign).collect())
}

fn foreign(it: &Listed) -> Foreign {
    let shown = |text: &str| text::shown(text, FOREIGN_NAME_BYTES_MAX);
    // Other names are those by which containers of old are linked.
    let name = it.names.iter().flatten().min_by_key(|it| it.matches('/').count());
    Foreign {
        driver: "docker".to_owned(),
        id: shown(&it.id),
        name: shown(name.map(|it| it.trim_start_matches('/')).unwrap_or_default()),
        image: text::shown(&it.image, IMAGE_BYTES_MAX),
        state: shown(&it.state),
        created_at: Timestamp(it.created.saturating_mul(1000)),
    }
}

/// Notes which container a sandbox is to be.
pub async fn note(engine: Engine, ground: &Ground, adoption: &Adoption) -> Outcome<()> {
    let name = text::shown(&adoption.container, FOREIGN_NAME_BYTES_MAX);
    let found = engine.inspect(&adoption.container).await.map_err(|fault| match fault.kind() {
        Kind::Absent => Fault::absent(format!("the docker engine has no container {name}"))
            .hint("sandwatch ls --foreign lists them"),
        _ => fault,
    })?;
    check(&found, &name)?;
    let trace = Trace { container: Some(found.id), adopted: true, ..Trace::new(engine.address) };
    trace.write(&ground.dir)
}

/// One that runs, and is nobody's sandbox.
fn check(found: &Container, name: &str) -> Outcome<()> {
    if found.id.is_empty() {
        return Err(Fault::failed("the docker engine does not say what its container is"));
    }
    if found.config.as_ref().is_some_and(|it| it.label(SANDBOX_LABEL).is_some()) {
        let words = format!("container {name} is a sandbox already, of this hub or another");
        return Err(Fault::invalid(words).hint("sandwatch ls --all lists those of this hub"));
    }
    if !found.state.running {
        let state = text::shown(&found.state.status, ENGINE_WORDS_BYTES_MAX);
        return Err(Fault::invalid(format!("container {name} does not run: {state}"))
            .hint(format!("docker start {name}, then adopt it")));
    }
    Ok(())
}

/// Holds a container that was noted.
pub async fn hold(
    engine: Arc<Engine>,
    ground: &Ground,
    spec: &SandboxSpec,
    id: String,
) -> Outcome<DockerPlace> {
    let found: Container = engine.get(&format!("/containers/{}/json", escaped(&id))).await?;
    check(&found, &ground.name)?;
    let isolation = match found.host_config.as_ref().map(|it| it.runtime.as_str()) {
        Some("runc") => Some(Isolation::Oci),
        Some("runsc") => Some(Isolation::Gvisor),
        _ => None,
    };
    let shell = make::shell(&engine, &id).await?;
    let (life, watching) = Watched::start(Arc::clone(&engine), id.clone());
    let changes = Mutex::new(life.changes());
    if found.state.paused {
        // Not only once somebody looks.
        let _as_it_is: Life = life.look().await;
    }
    let mut env = container::own_environment(&ground.name);
    env.extend(spec.env.iter().map(|(key, value)| format!("{key}={value}")));
    let programs = Programs {
        // Those of other runtimes may have numbers of their own.
        sees_processes: engine.address.is_here() && isolation == Some(Isolation::Oci),
        engine,
        container: id,
        life,
        env,
        directory: None,
        shell,
        live: watch::Sender::new(0),
        ours: std::sync::Mutex::default(),
    };
    Ok(DockerPlace {
        looker: Looker::default(),
        doors: std::sync::Mutex::default(),
        programs: Arc::new(programs),
        facts: PlaceFacts {
            isolation,
            capabilities: capabilities(),
            notes: vec![NOTE.to_owned()],
            ..PlaceFacts::default()
        },
        ground: ground.clone(),
        adopted: true,
        asks: false,
        changes,
        stopping: watch::Sender::new(false),
        _watching: watching,
    })
}

/// Nothing that would end the container, or make others of it.
fn capabilities() -> Capabilities {
    Capabilities { pty: true, exec: true, pause: true, reattach: true, ..Capabilities::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_lists_is_made_safe() {
        let listed = Listed {
            id: "abc".to_owned(),
            names: Some(vec!["/other/alias".to_owned(), "/web\u{1b}[2J".to_owned()]),
            image: "nginx:\u{202e}1".to_owned(),
            state: "running\n".to_owned(),
            created: i64::MAX,
            labels: None,
        };
        let seen = foreign(&listed);
        assert!(seen.name.starts_with("web") && !seen.name.contains('\u{1b}'), "{seen:?}");
        assert!(!seen.state.contains('\n') && !seen.image.contains('\u{202e}'), "{seen:?}");
        assert_eq!(foreign(&Listed::default()).name, "");
    }

    #[test]
    fn what_does_not_run_or_is_a_sandbox_is_refused() {
        let mut found = Container { id: "abc".to_owned(), ..Container::default() };
        assert!(check(&found, "web").unwrap_err().message().contains("does not run"));
        found.state.running = true;
        check(&found, "web").unwrap();
        let labels = [(SANDBOX_LABEL.to_owned(), "x".to_owned())].into();
        found.config =
            Some(super::super::answer::Config { labels: Some(labels), ..<_>::default() });
        assert!(check(&found, "web").unwrap_err().message().contains("sandbox already"));
    }
}
