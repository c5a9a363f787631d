//! A sandbox of a gateway as a place: verbs are calls, bound to its id by a look at its name just before.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Mutex, sync::watch, time::timeout};

use super::{
    capabilities, log, main_terminal,
    remote::{Phase, Remote, Seen},
    shell,
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::AskId,
        limits::GATEWAY_ANSWER_WITHIN,
        units::Size,
    },
    driver::{Elsewhere, PipeIo, Place, PlaceFacts, Program, PtyIo, Resident},
    model::{
        ask::{Answer, Asked, Request},
        sandbox::{Isolation, State},
        session::SessionSpec,
    },
};

const MAIN: &str = "main";
const LOG: &str = "log";

pub struct RemotePlace {
    remote: Arc<Remote>,
    main: Arc<main_terminal::Wanted>,
    changes: Mutex<watch::Receiver<u64>>,
}

impl RemotePlace {
    pub fn new(remote: Arc<Remote>) -> Self {
        let changes = Mutex::new(remote.changes());
        Self { remote, main: Arc::default(), changes }
    }

    fn runs(&self) -> Outcome<()> {
        match self.remote.seen().phase {
            Phase::Ready | Phase::Unknown(_) => Ok(()),
            phase => Err(Fault::failed(format!("the sandbox is {} there", phase.word()))),
        }
    }
}

#[async_trait]
impl Place for RemotePlace {
    fn facts(&self) -> PlaceFacts {
        let seen = self.remote.seen();
        let mut notes = seen.conditions;
        let state = match &seen.unheard {
            None => seen.phase.state(),
            Some(_) => State::Unknown,
        };
        notes.extend(seen.unheard.clone());
        // That nothing is told follows from that nobody answers.
        notes.extend(seen.untold.filter(|_| seen.unheard.is_none()));
        notes.extend(seen.terminal);
        notes.extend(self.remote.drafts.notes());
        PlaceFacts {
            // What its gateway does is not known from here.
            isolation: None::<Isolation>,
            raw_state: Some(seen.phase.word()),
            state: Some(state),
            capabilities: capabilities(),
            notes,
        }
    }

    async fn changed(&self) {
        if self.changes.lock().await.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        Some(self)
    }

    async fn spawn(&self, spec: &SessionSpec) -> Outcome<Program<PtyIo>> {
        self.runs()?;
        shell::on_terminal(&self.remote, spec).await
    }

    async fn exec(&self, spec: &SessionSpec) -> Outcome<Program<PipeIo>> {
        self.runs()?;
        shell::on_pipes(&self.remote, spec).await
    }

    async fn pause(&self) -> Outcome<()> {
        Err(Fault::unsupported("a gateway of OpenShell has no call to pause a sandbox")
            .hint("stop ends its programs and keeps its files; resume starts it again"))
    }

    /// Starts again what was stopped.
    async fn resume(&self) -> Outcome<()> {
        let remote = &self.remote;
        let request = remote.client.request(remote.named())?;
        let mut calls = remote.client.calls();
        let told = remote.verb("starting it", calls.start_sandbox(request)).await?;
        if let Some(told) = told.sandbox {
            remote.take(&told);
        }
        Ok(())
    }

    async fn stop(&self, grace: Duration) -> Outcome<()> {
        let remote = &self.remote;
        let request = remote.client.request(remote.named())?;
        let mut calls = remote.client.calls();
        let told = remote.verb("stopping it", calls.stop_sandbox(request)).await?;
        if let Some(told) = told.sandbox {
            remote.take(&told);
        }
        let stopped = |it: &Seen| matches!(it.phase, Phase::Stopped | Phase::Error);
        let stopping = self.remote.until(stopped);
        if timeout(grace.max(GATEWAY_ANSWER_WITHIN), stopping).await.is_ok() {
            return Ok(());
        }
        Err(Fault::late("the gateway is still stopping it").hint("look again: sandwatch ls"))
    }

    async fn remove(&self) -> Outcome<()> {
        let remote = &self.remote;
        let request = remote.client.request(remote.named())?;
        let mut calls = remote.client.calls();
        match remote.verb("deleting it", calls.delete_sandbox(request)).await {
            Ok(it) if !it.deleted => {
                Err(Fault::failed("the gateway did not delete it, and does not say why"))
            }
            Ok(_) => {
                remote.deleted();
                Ok(())
            }
            Err(fault) if fault.kind() == Kind::Absent => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// That it is gone, the list of its gateway tells.
    async fn gone(&self) -> String {
        std::future::pending().await
    }
}

#[async_trait]
impl Elsewhere for RemotePlace {
    fn residents(&self) -> Vec<Resident> {
        let seen = self.remote.seen();
        // Of one that never ran only the log tells why.
        if seen.starts == 0 && seen.phase != Phase::Error {
            return Vec::new();
        }
        let spec =
            |command| SessionSpec { command, cwd: None, env: Vec::new(), size: Size::DEFAULT };
        let key = |of: &str| format!("{of} {}", seen.starts);
        let mut all = Vec::new();
        let main = match self.remote.command.is_empty() {
            true => vec!["openshell-main".to_owned()],
            false => self.remote.command.clone(),
        };
        if seen.phase == Phase::Ready {
            all.push(Resident { key: key(MAIN), spec: spec(main) });
        }
        if seen.phase != Phase::Stopped {
            all.push(Resident { key: key(LOG), spec: spec(vec!["openshell-log".to_owned()]) });
        }
        all
    }

    async fn join(&self, resident: &Resident) -> Outcome<Program<PtyIo>> {
        match resident.key.split(' ').next() {
            Some(LOG) => Ok(log::program(&self.remote)),
            _ => Ok(main_terminal::program(&self.remote, &self.main)),
        }
    }

    fn may_type(&self, resident: &Resident) -> Outcome<()> {
        match resident.key.split(' ').next() {
            Some(LOG) => Err(Fault::unsupported("nobody reads what is typed into a log")),
            _ => self.main.may_type(),
        }
    }

    fn keyboard(&self, resident: &Resident, held: bool) {
        if resident.key.split(' ').next() == Some(MAIN) {
            self.main.keyboard(held);
        }
    }

    fn asks(&self) -> Vec<Asked> {
        self.remote.drafts.asks()
    }

    fn was_answered(&self, ask: &AskId) -> bool {
        self.remote.drafts.was_answered(ask)
    }

    async fn answer(&self, ask: &AskId, answer: &Answer) -> Outcome<()> {
        self.remote.drafts.answer(&self.remote, ask, answer).await
    }
    async fn take_back(&self, request: &Request) -> Outcome<()> {
        self.remote.drafts.take_back(&self.remote, request).await
    }
}
