//! GPUs of an engine on another machine: `nvidia-smi` in the container is asked for them, now and then and beside
//! everything else.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::Method;
use serde_json::json;

use super::{
    answer::{Config, Created, Exec, HostConfig},
    engine::{Engine, Payload, escaped},
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{ENGINE_LOOK_EVERY, GPU_FAR_EVERY, GPU_FAR_WITHIN},
    },
    driver::nvidia_smi,
    model::gauge::Gpu,
};

/// By which an image or whoever makes a container asks for GPUs where the engine has a runtime that gives them.
const ASKS_FOR: &str = "NVIDIA_VISIBLE_DEVICES=";
/// Its values that mean none.
const NONE: [&str; 3] = ["", "void", "none"];

/// Whether a container was given GPUs of NVIDIA's, as far as its engine tells.
pub fn has_gpus(host: &HostConfig, config: &Config) -> bool {
    let requests = host.device_requests.iter().flatten();
    let mut requests = requests.map(|it| {
        let able = it.capabilities.iter().flatten().flatten();
        it.driver == "nvidia" || able.into_iter().any(|it| it == "gpu")
    });
    let mut values = config.env.iter().flatten().filter_map(|it| it.strip_prefix(ASKS_FOR));
    requests.any(|it| it) || values.any(|it| !NONE.contains(&it))
}

/// What is known of the GPUs of one container.
pub enum Far {
    /// They are of this machine, where others look.
    Here,
    Elsewhere(Arc<Mutex<State>>),
}

impl Default for Far {
    fn default() -> Self {
        Self::Elsewhere(Arc::default())
    }
}

#[derive(Default)]
pub struct State {
    gpus: Vec<Gpu>,
    /// Somebody asks.
    asks: bool,
    /// Nobody does before that, by `clock::monotonic`.
    rests_until: Duration,
    /// The program that was not done in time: there is no other before it has ended.
    late: Option<String>,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Far {
    /// What was told last; begins to ask again where that is some time ago.
    pub fn gpus(&self, engine: &Arc<Engine>, container: &str) -> Vec<Gpu> {
        let Self::Elsewhere(of) = self else { return Vec::new() };
        let mut state = locked(of);
        if !state.asks && clock::monotonic() >= state.rests_until {
            state.asks = true;
            let (of, engine, container) =
                (Arc::clone(of), Arc::clone(engine), container.to_owned());
            tokio::spawn(async move {
                let late = locked(&of).late.take();
                let (told, late) = ask(&engine, &container, late).await;
                let mut state = locked(&of);
                // Where there is no such program there will hardly be one soon.
                let rests = if told.is_ok() { GPU_FAR_EVERY } else { ENGINE_LOOK_EVERY };
                state.gpus = told.unwrap_or_else(|fault| {
                    tracing::debug!(%fault, container, "its GPUs are not known");
                    Vec::new()
                });
                (state.asks, state.late) = (false, late);
                state.rests_until = clock::monotonic() + rests;
            });
        }
        state.gpus.clone()
    }
}

/// The GPUs that it tells of, and the program that was started for that and may run still.
async fn ask(
    engine: &Engine,
    container: &str,
    late: Option<String>,
) -> (Outcome<Vec<Gpu>>, Option<String>) {
    if let Some(exec) = late {
        let seen = engine.get::<Exec>(&format!("/exec/{}/json", escaped(&exec))).await;
        if seen.is_ok_and(|it| it.running) {
            return (Err(Fault::late("its nvidia-smi hangs")), Some(exec));
        }
    }
    match run(engine, container).await {
        Ok((_, Ok(printed))) => match nvidia_smi::gpus(&printed) {
            gpus if gpus.is_empty() => (Err(Fault::absent("it tells of no GPU")), None),
            gpus => (Ok(gpus), None),
        },
        Ok((exec, Err(fault))) => (Err(fault), Some(exec)),
        Err(fault) => (Err(fault), None),
    }
}

/// The program's number, and what it printed by its end.
async fn run(engine: &Engine, container: &str) -> Outcome<(String, Outcome<Vec<u8>>)> {
    // On a terminal, for then what it prints comes as it is.
    let asked = json!({ "AttachStdout": true, "Tty": true, "Cmd": nvidia_smi::COMMAND });
    let path = format!("/containers/{}/exec", escaped(container));
    let made: Created = engine.post(&path, Payload::Json(asked)).await?.json()?;
    let path = format!("/exec/{}/start", escaped(&made.id));
    let start = Payload::Json(json!({ "Detach": false, "Tty": true }));
    let answer = engine.call(Method::POST, &path, start, GPU_FAR_WITHIN).await;
    let printed = answer.and_then(|it| {
        it.done()?;
        Ok(it.bytes.to_vec())
    });
    Ok((made.id, printed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_that_were_given_gpus_are_known_by_what_gave_them() {
        let given = |host: &str, config: &str| {
            has_gpus(&serde_json::from_str(host).unwrap(), &serde_json::from_str(config).unwrap())
        };
        assert!(!given("{}", "{}"));
        assert!(given(r#"{"DeviceRequests":[{"Capabilities":[["gpu"]]}]}"#, "{}"));
        assert!(given(r#"{"DeviceRequests":[{"Driver":"nvidia"}]}"#, "{}"));
        assert!(!given(r#"{"DeviceRequests":[{"Driver":"other","Capabilities":null}]}"#, "{}"));
        assert!(given("{}", r#"{"Env":["A=b","NVIDIA_VISIBLE_DEVICES=all"]}"#));
        assert!(!given("{}", r#"{"Env":["NVIDIA_VISIBLE_DEVICES=void"]}"#));
    }
}
