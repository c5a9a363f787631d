//! One live container, as the trait `Place` has it.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Mutex, watch},
    time::{sleep, timeout},
};

use super::{
    engine::{Engine, Payload, escaped},
    life::{Life, Watching},
    program::{Programs, ended},
    remove,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{DEATH_WITHIN, ENGINE_LOOK_AGAIN_MIN},
    },
    driver::{
        Doors, Ground, PipeIo, Place, PlaceFacts, Program, PtyIo, Syscalls, local,
        local::doing::Looker,
    },
    model::{process::Reading, sandbox::State, session::SessionSpec},
};

pub struct DockerPlace {
    pub programs: Arc<Programs>,
    pub facts: PlaceFacts,
    pub ground: Ground,
    /// The container is not the sandbox's, and outlives it.
    pub adopted: bool,
    /// Its programs can ask a person.
    pub asks: bool,
    pub changes: Mutex<watch::Receiver<Life>>,
    /// Ended on purpose: its end is no news.
    pub stopping: watch::Sender<bool>,
    pub _watching: Watching,
    pub looker: Looker,
    pub doors: std::sync::Mutex<Option<Doors>>,
}

/// Takes back that a place was to end, unless it did: also where who wanted it is gone.
struct Stopping<'a> {
    place: &'a DockerPlace,
    was: bool,
    done: bool,
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.place.stopping.send_replace(self.was);
        }
    }
}

impl DockerPlace {
    fn stopping(&self) -> Stopping<'_> {
        Stopping { place: self, was: self.stopping.send_replace(true), done: false }
    }

    fn engine(&self) -> &Engine {
        &self.programs.engine
    }

    async fn verb(&self, verb: &str, wanted: &Life) -> Outcome<()> {
        let path = format!("/containers/{}/{verb}", escaped(&self.programs.container));
        let done = self.engine().post(&path, Payload::Nothing).await?.done();
        let now = self.programs.life.look().await;
        // An engine does not like to be told twice, and each version says so in another way.
        if now == *wanted { Ok(()) } else { done }
    }
}

#[async_trait]
impl Place for DockerPlace {
    fn can_ask(&self) -> bool {
        self.asks
    }

    fn facts(&self) -> PlaceFacts {
        let mut facts = self.facts.clone();
        let (raw, state) = match self.programs.life.now() {
            Life::Running => ("running", Some(State::Running)),
            Life::Paused => ("paused", Some(State::Paused)),
            Life::Unheard(why) => {
                facts.notes.push(why);
                ("unreachable", Some(State::Unknown))
            }
            Life::Over(_) => ("exited", None),
        };
        facts.raw_state = Some(raw.to_owned());
        facts.state = state;
        facts
    }

    async fn changed(&self) {
        if self.changes.lock().await.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn doors(&self) -> Option<Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn spawn(&self, spec: &SessionSpec) -> Outcome<Program<PtyIo>> {
        self.programs.on_terminal(spec).await
    }

    async fn processes(&self, leader: u32) -> Outcome<Reading> {
        if !self.programs.sees_processes {
            let words = "its engine is on another machine, where its processes can't be looked at";
            return Err(Fault::unsupported(words));
        }
        self.looker.look(leader).await
    }

    async fn syscalls(&self, leader: u32, pid: u32) -> Outcome<Syscalls> {
        if !self.programs.sees_processes {
            let words = "its engine is on another machine, where system calls can't be looked at";
            return Err(Fault::unsupported(words));
        }
        self.looker.syscalls(leader, pid).await
    }

    async fn exec(&self, spec: &SessionSpec) -> Outcome<Program<PipeIo>> {
        self.programs.on_pipes(spec).await
    }

    async fn pause(&self) -> Outcome<()> {
        self.verb("pause", &Life::Paused).await
    }

    async fn resume(&self) -> Outcome<()> {
        self.verb("unpause", &Life::Running).await
    }

    async fn stop(&self, grace: Duration) -> Outcome<()> {
        if self.adopted {
            let words = "the container was not made by sandwatch, and is not stopped by it";
            return Err(Fault::unsupported(words));
        }
        // Whoever ended it did so before: that is told as the failure it is, and no stop takes it for its own.
        let ours = *self.stopping.borrow();
        if let (false, Life::Over(why)) = (ours, self.programs.life.now()) {
            return Err(Fault::failed(why).hint("sandwatch restore, or sandwatch rm"));
        }
        let mut stopping = self.stopping();
        if !grace.is_zero() && self.programs.life.look().await == Life::Running {
            match self.programs.ask_to_end().await {
                Ok(()) => ended(&self.programs, grace).await,
                Err(fault) => tracing::debug!(%fault, "programs can't be asked to end"),
            }
        }
        Programs::kill_all(self.engine(), &self.programs.container).await?;
        let dead = async {
            while !matches!(self.programs.life.look().await, Life::Over(_)) {
                sleep(ENGINE_LOOK_AGAIN_MIN).await;
            }
        };
        timeout(DEATH_WITHIN, dead).await.map_err(|_| {
            Fault::late("stopping the container: it does not end")
                .hint("try again; see `docker ps`")
        })?;
        stopping.done = true;
        Ok(())
    }

    async fn remove(&self) -> Outcome<()> {
        let mut stopping = self.stopping();
        if self.adopted {
            self.programs.end_ours().await;
        }
        remove::everything(&self.ground).await?;
        local::remove::away(&self.ground.dir)?;
        stopping.done = true;
        Ok(())
    }

    async fn gone(&self) -> String {
        let mut changes = self.programs.life.changes();
        let over = changes.wait_for(|it| matches!(it, Life::Over(_))).await.map(|it| it.clone());
        let reason = match over {
            Ok(Life::Over(reason)) => reason,
            _ => "nobody watches it any more".to_owned(),
        };
        // Ended on purpose: whoever did it knows, unless they gave up.
        let mut stopping = self.stopping.subscribe();
        if stopping.wait_for(|it| !it).await.is_err() {
            std::future::pending::<()>().await;
        }
        reason
    }
}
