//! Whether a container lives, as its engine tells it. The engine's events are only a bell: what is so is asked
//! for, each time it rings and after each gap. An engine that is away ends nothing.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::AbortHandle, time::sleep};

use super::{
    answer::ContainerState,
    engine::{Engine, escaped},
};
use crate::base::{
    fault::{Fault, Kind, Outcome},
    limits::{ENGINE_LOOK_EVERY_MIN, ENGINE_WORDS_BYTES_MAX, RETRY_AFTER_MAX, RETRY_AFTER_MIN},
    text,
};

/// What became of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    Running,
    Paused,
    /// Its engine can't be asked; why.
    Unheard(String),
    /// For good; why.
    Over(String),
}

/// One container's life, watched until it is over or this is dropped.
pub struct Watched {
    engine: Arc<Engine>,
    container: String,
    life: watch::Sender<Life>,
}

/// The task that watches; it ends with this.
pub struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watched {
    /// Begins to watch a container that runs.
    pub fn start(engine: Arc<Engine>, container: String) -> (Arc<Self>, Watching) {
        let life = watch::Sender::new(Life::Running);
        let watched = Arc::new(Self { engine, container, life });
        let task = tokio::spawn(Arc::clone(&watched).watch());
        (watched, Watching(task.abort_handle()))
    }

    pub fn now(&self) -> Life {
        self.life.borrow().clone()
    }

    pub fn changes(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Asks now. What can't be asked is `Unheard`.
    pub async fn look(&self) -> Life {
        let seen = self.seen().await;
        let seen = seen.unwrap_or_else(|fault| Life::Unheard(fault.to_string()));
        self.tell(seen);
        self.now()
    }

    fn tell(&self, seen: Life) {
        self.life.send_if_modified(|life| {
            // The end is the end, whatever an answer that was under way says.
            let news = !matches!(life, Life::Over(_)) && *life != seen;
            if news {
                *life = seen;
            }
            news
        });
    }

    async fn seen(&self) -> Outcome<Life> {
        match self.engine.inspect(&self.container).await {
            Ok(container) if container.id.is_empty() => {
                Err(Fault::failed("the docker engine does not say what its container is"))
            }
            Ok(container) => Ok(read(&container.state)),
            Err(fault) if fault.kind() == Kind::Absent => {
                Ok(Life::Over("its container was removed by somebody else".to_owned()))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn watch(self: Arc<Self>) {
        let mut pause = RETRY_AFTER_MIN;
        loop {
            let fault = match self.listen(&mut pause).await {
                Ok(()) => return,
                Err(fault) => fault,
            };
            self.tell(Life::Unheard(fault.to_string()));
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_AFTER_MAX);
        }
    }

    /// Until the container's life is over.
    async fn listen(&self, pause: &mut Duration) -> Outcome<()> {
        let filters = serde_json::json!({
            "type": ["container"],
            "container": [self.container],
            "event": ["die", "destroy", "oom", "pause", "unpause", "restart", "start", "stop"],
        });
        let path = format!("/events?filters={}", escaped(&filters.to_string()));
        let mut bell = self.engine.listen(&path).await?;
        loop {
            let seen = self.seen().await?;
            let over = matches!(seen, Life::Over(_));
            self.tell(seen);
            if over {
                return Ok(());
            }
            *pause = RETRY_AFTER_MIN;
            if bell.next().await.is_none() {
                return Err(Fault::lost("the docker engine says nothing more"));
            }
            // Several events at once are one look, and an engine that rings for ever costs little.
            sleep(ENGINE_LOOK_EVERY_MIN).await;
        }
    }
}

/// A state in our words.
fn read(state: &ContainerState) -> Life {
    if state.paused {
        return Life::Paused;
    }
    if state.running {
        return Life::Running;
    }
    let mut why = match state.status.as_str() {
        "exited" | "dead" if state.out_of_memory => {
            "its container ran out of memory and was killed".to_owned()
        }
        "exited" | "dead" => format!("its container ended with code {}", state.exit_code),
        // It will be gone in a moment.
        "removing" => "its container is being removed by somebody else".to_owned(),
        other => format!("its container is {}", text::shown(other, ENGINE_WORDS_BYTES_MAX)),
    };
    if !state.error.is_empty() {
        why.push_str(&format!(": {}", text::shown(&state.error, ENGINE_WORDS_BYTES_MAX)));
    }
    Life::Over(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_for_what_it_means() {
        let state = |status: &str, running, paused| ContainerState {
            status: status.to_owned(),
            running,
            paused,
            exit_code: 137,
            ..ContainerState::default()
        };
        assert_eq!(read(&state("running", true, false)), Life::Running);
        assert_eq!(read(&state("paused", true, true)), Life::Paused);
        let over = |it: &ContainerState| match read(it) {
            Life::Over(why) => why,
            life => panic!("{life:?}"),
        };
        assert!(over(&state("exited", false, false)).contains("137"));
        let memory = ContainerState { out_of_memory: true, ..state("exited", false, false) };
        assert!(over(&memory).contains("memory"));
        let told = ContainerState { error: "\u{1b}[1m".to_owned(), ..state("dead", false, false) };
        assert!(!over(&told).contains('\u{1b}'));
    }
}
