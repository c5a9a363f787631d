//! Whether a container lives, as its engine tells it. The engine's events are only a bell: what is so is asked
//! for, each time it rings, after each gap, and now and then. An engine that is away ends nothing.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::AbortHandle, time::sleep};

use super::{
    answer::ContainerState,
    engine::{Engine, escaped},
};
use crate::base::{
    fault::{Fault, Kind, Outcome},
    limits::{
        ENGINE_LOOK_EVERY, ENGINE_LOOK_EVERY_MIN, ENGINE_WORDS_BYTES_MAX, RETRY_AFTER_MAX,
        RETRY_AFTER_MIN,
    },
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
    pace: Pace,
}

/// How long nobody looks while the bell is silent.
#[derive(Clone, Copy)]
struct Pace {
    /// Where all is well: a network that is gone rings no bell.
    usual: Duration,
    /// Where it could not be asked how things stand.
    unheard: Duration,
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
        Self::at_pace(
            engine,
            container,
            Pace { usual: ENGINE_LOOK_EVERY, unheard: RETRY_AFTER_MAX },
        )
    }

    fn at_pace(engine: Arc<Engine>, container: String, pace: Pace) -> (Arc<Self>, Watching) {
        let life = watch::Sender::new(Life::Running);
        let watched = Arc::new(Self { engine, container, life, pace });
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
            tokio::select! {
                rung = bell.next() => if rung.is_none() {
                    return Err(Fault::lost("the docker engine says nothing more"));
                },
                () = self.silence() => {}
            }
            // Several events at once are one look, and an engine that rings for ever costs little.
            sleep(ENGINE_LOOK_EVERY_MIN).await;
        }
    }

    /// Until it is time to look without a bell.
    async fn silence(&self) {
        let mut life = self.life.subscribe();
        let unheard = async {
            // Somebody else asked, and had no answer.
            if life.wait_for(|it| matches!(it, Life::Unheard(_))).await.is_ok() {
                sleep(self.pace.unheard).await;
            }
        };
        tokio::select! {
            () = unheard => {}
            () = sleep(self.pace.usual) => {}
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

    const VERSION: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK";

    /// An engine whose bell never rings, and which answers how its container is as it is told to.
    fn engine(
        listener: tokio::net::UnixListener,
        answer: watch::Receiver<&'static str>,
        looks: watch::Sender<u32>,
    ) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = vec![0; 4096];
                let count = stream.read(&mut asked).await.unwrap_or(0);
                let asked =
                    String::from_utf8_lossy(asked.get(..count).unwrap_or_default()).into_owned();
                let said = if asked.contains("/_ping") {
                    VERSION.to_owned()
                } else if asked.contains("/events") {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()
                } else {
                    looks.send_modify(|it| *it += 1);
                    let state = *answer.borrow();
                    let body = format!(r#"{{"Id":"x","State":{{{state}}}}}"#);
                    let status = if state.is_empty() { "500 No" } else { "200 OK" };
                    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                };
                let _hung_up = stream.write_all(said.as_bytes()).await;
                open.push(stream);
            }
        });
    }

    const RUNS: &str = r#""Status":"running","Running":true"#;

    async fn watched(
        pace: Pace,
    ) -> (tempfile::TempDir, watch::Sender<&'static str>, Arc<Watched>, Watching) {
        let temp = tempfile::tempdir().unwrap();
        let socket = temp.path().join("socket");
        let (told, answer) = watch::channel(RUNS);
        let (looks, mut looked) = watch::channel(0);
        engine(tokio::net::UnixListener::bind(&socket).unwrap(), answer, looks);
        let address = super::super::address::Address::unix(&socket);
        let (watched, watching) =
            Watched::at_pace(Arc::new(Engine::new(address)), "x".to_owned(), pace);
        // From now on it only waits for the bell.
        looked.wait_for(|it| *it > 0).await.unwrap();
        (temp, told, watched, watching)
    }

    async fn comes(watched: &Watched, what: &str, so: impl FnMut(&Life) -> bool) {
        let mut changes = watched.changes();
        let seen = tokio::time::timeout(Duration::from_secs(20), changes.wait_for(so)).await;
        seen.unwrap_or_else(|_| panic!("never: {what}")).unwrap();
    }

    #[tokio::test]
    async fn what_could_not_be_asked_once_is_asked_again_though_nothing_rings() {
        let never = Duration::from_secs(3600);
        let soon = Duration::from_millis(20);
        let (_temp, told, watched, _watching) = watched(Pace { usual: never, unheard: soon }).await;
        assert_eq!(watched.look().await, Life::Running);
        told.send_replace("");
        assert!(matches!(watched.look().await, Life::Unheard(_)));
        told.send_replace(RUNS);
        comes(&watched, "heard again", |it| *it == Life::Running).await;
    }

    #[tokio::test]
    async fn a_bell_that_never_rings_hides_no_end() {
        let (never, soon) = (Duration::from_secs(3600), Duration::from_millis(20));
        let (_temp, told, watched, _watching) = watched(Pace { usual: soon, unheard: never }).await;
        assert_eq!(watched.look().await, Life::Running);
        told.send_replace(r#""Status":"exited","ExitCode":3"#);
        comes(&watched, "over", |it| matches!(it, Life::Over(_))).await;
    }
}
