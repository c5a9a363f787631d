//! What may be asked of a sandbox, as the trait `Seat` has it.

use std::{os::fd::OwnedFd, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{House, Inner};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::{AskId, SessionId},
        limits::{AGENT_FILES_WITHIN, AGENT_HEARD_WITHIN},
        units::Size,
    },
    config::environment::SESSION_VARIABLE,
    driver::NO_SYSCALLS,
    model::{
        ask::{Answer, Request},
        output::{Output, OutputRequest},
        sandbox::State,
        secret::Given,
        session::{Lease, Session, SessionSpec},
        status::Explained,
        syscall::SyscallPart,
        traffic::{RuledPart, Traffic},
    },
    session::{
        exec,
        handed::hand_in,
        host::{Tell, Told},
        journal,
        seat::{
            BoxStream, ExecOutput, Hold, NO_GATE, NO_GATE_FOR_SECRETS, NO_GATE_HINT, Seat,
            SeatEvent,
        },
        status::look,
    },
};

/// Passes on what a host tells.
pub(super) fn tell(inner: &Arc<Inner>, id: SessionId) -> Tell {
    let feed = Arc::clone(&inner.feed);
    Box::new(move |told| match told {
        Told::Changed => feed.changed(),
        Told::Said(fact) => feed.said(id.clone(), fact),
    })
}

/// Reports once more when an agent should have told that it runs.
fn tell_late(inner: &Arc<Inner>) {
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        tokio::time::sleep(AGENT_HEARD_WITHIN).await;
        if let Some(inner) = inner.upgrade() {
            inner.feed.changed();
        }
    });
}

/// Lets programs go on that were held, unless somebody paused or stopped them meanwhile.
struct Held {
    inner: Arc<Inner>,
    still: Option<tokio::sync::OwnedRwLockWriteGuard<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (inner, still) = (Arc::clone(&self.inner), self.still.take());
        let resume = async move {
            let _still = still;
            if inner.rooms().state != State::Running {
                return;
            }
            if let Err(fault) = inner.place.resume().await {
                inner.rooms().notes.push(format!("its programs were held and stay so: {fault}"));
                inner.set_state(State::Paused);
            }
        };
        // Without a runtime the process is at its end, and what holds them with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(resume);
        }
    }
}

#[async_trait]
impl Seat for House {
    async fn events(&self) -> Outcome<BoxStream<SeatEvent>> {
        let inner = Arc::clone(&self.inner);
        Ok(self.inner.feed.subscribe(Box::new(move || inner.report())))
    }

    async fn forget(&self, request: &Request) -> Outcome<()> {
        if let Some(gate) = self.inner.gate.get() {
            gate.forget(request);
        }
        self.inner.take_back(request).await
    }

    async fn give(&self, given: Vec<Given>) -> Outcome<()> {
        let gate = self
            .inner
            .gate
            .get()
            .ok_or_else(|| Fault::unsupported(NO_GATE_FOR_SECRETS).hint(NO_GATE_HINT))?;
        gate.give(given);
        Ok(())
    }

    async fn root(&self) -> Outcome<OwnedFd> {
        let root = self.inner.place.root();
        root.ok_or_else(|| Fault::unsupported("it has no root directory of its own"))
    }

    async fn traffic(&self) -> Outcome<Traffic> {
        let gate =
            self.inner.gate.get().ok_or_else(|| Fault::unsupported(NO_GATE).hint(NO_GATE_HINT))?;
        Ok(gate.traffic())
    }

    async fn explain(&self, session: &SessionId) -> Outcome<Explained> {
        let inner = &self.inner;
        let host = inner.host(session)?;
        let processes = look::twice(&host, &inner.around()).await;
        let (state, asks) = (inner.place.facts().state, inner.asks.pending());
        let rooms = inner.rooms();
        let asked = (asks.as_slice(), Inner::whose(&rooms, &asks));
        let beside = Inner::beside(&rooms, rooms.state_by(state), asked, session);
        drop(rooms);
        let told = host.session_beside(&beside);
        Ok(Explained {
            session: session.clone(),
            status: told.status,
            since: told.status_since,
            why: told.status_why,
            evidence: host.evidence(&beside),
            processes,
            at: clock::wall(),
        })
    }

    async fn syscalls(&self, session: &SessionId, pid: u32) -> Outcome<BoxStream<SyscallPart>> {
        let host = self.inner.host(session)?;
        let leader = host.pid().ok_or_else(|| match host.has_ended() {
            true => Fault::absent("its program has ended"),
            false => Fault::unsupported(NO_SYSCALLS),
        })?;
        self.inner.place.syscalls(leader, pid).await
    }

    async fn ruled(&self, have: (u64, u64), all: bool) -> Outcome<RuledPart> {
        match self.inner.gate.get() {
            Some(gate) => Ok(gate.tell(have, all).await),
            None => Ok(RuledPart::default()),
        }
    }

    async fn open(&self, id: SessionId, spec: SessionSpec) -> Outcome<Session> {
        let inner = &self.inner;
        let _moving = inner.still.read().await;
        let _one = inner.opening.lock().await;
        if let Ok(host) = inner.host(&id) {
            return Ok(host.session());
        }
        inner.ready_to_start()?;
        inner.has_room()?;
        let mut spec = match inner.agents.get() {
            Some(agents) => {
                let files = agents.home_files(&spec.command);
                let in_place = hand_in(&*inner.place, &files, AGENT_FILES_WITHIN).await;
                agents.dressed(spec, in_place)
            }
            None => spec,
        };
        spec.env.retain(|(name, _)| name != SESSION_VARIABLE);
        spec.env.push((SESSION_VARIABLE.to_owned(), id.to_string()));
        let program = inner.place.spawn(&spec).await?;
        let session = inner.seat_in(id.clone(), &spec, program, None);
        if inner.agents.get().is_some_and(|it| it.started(&id, &spec.command)) {
            tell_late(inner);
            inner.feed.changed();
        }
        Ok(session)
    }

    async fn exec(
        &self,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
        let _moving = self.inner.still.read().await;
        self.inner.ready_to_start()?;
        Ok(exec::run(self.inner.place.exec(&spec).await?, stdin))
    }

    async fn output(
        &self,
        session: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        Ok(self.inner.host(session)?.output(request))
    }

    async fn input(&self, session: &SessionId, bytes: Bytes) -> Outcome<()> {
        self.inner.may_type(session)?;
        self.inner.host(session)?.input(bytes)
    }

    async fn resize(&self, session: &SessionId, size: Size) -> Outcome<()> {
        self.inner.host(session)?.resize(size)
    }

    async fn set_lease(&self, session: &SessionId, lease: Option<Lease>) -> Outcome<()> {
        let host = self.inner.host(session)?;
        self.inner.keyboard(session, lease.as_ref());
        host.set_lease(lease);
        Ok(())
    }

    fn was_answered(&self, ask: &AskId) -> bool {
        self.inner.elsewhere().is_some_and(|it| it.was_answered(ask))
    }

    async fn answer(&self, ask: &AskId, answer: Answer, edit: Option<String>) -> Outcome<()> {
        if let Some(elsewhere) = self.inner.elsewhere()
            && elsewhere.asks().iter().any(|it| it.id == *ask)
        {
            return elsewhere.answer(ask, &answer).await;
        }
        let session = self.inner.asks.answer(ask, answer, edit)?;
        if let Some(host) = session.and_then(|it| self.inner.host(&it).ok()) {
            host.answered();
        }
        Ok(())
    }

    async fn pause(&self) -> Outcome<()> {
        // Whoever looks just now sees some of them as they were, and some held still.
        self.inner.turned();
        self.inner.place.pause().await?;
        self.inner.set_state(State::Paused);
        self.inner.turned();
        Ok(())
    }

    async fn resume(&self) -> Outcome<()> {
        self.inner.place.resume().await?;
        self.inner.set_state(State::Running);
        self.inner.turned();
        Ok(())
    }

    async fn hold(&self, memory: bool) -> Outcome<Hold> {
        let inner = Arc::clone(&self.inner);
        let still = Some(Arc::clone(&inner.still).write_owned().await);
        if memory {
            inner.write_down().await?;
        } else if inner.rooms().state != State::Running {
            // Nothing moves anyway.
            return Ok(Box::new(still));
        }
        let held = Box::new(Held { inner: Arc::clone(&inner), still });
        inner.place.pause().await?;
        Ok(held)
    }

    async fn vacate(&self) -> Outcome<()> {
        let inner = &self.inner;
        let _one = inner.opening.lock().await;
        if inner.rooms().state == State::Gone {
            return Ok(());
        }
        inner.place.stop(std::time::Duration::ZERO).await?;
        inner.gone("it makes room for another moment of its sandbox".to_owned());
        Ok(())
    }

    async fn stop(&self, grace: std::time::Duration) -> Outcome<()> {
        self.inner.place.stop(grace).await?;
        self.inner.set_state(State::Stopped);
        Ok(())
    }

    async fn remove(&self) -> Outcome<()> {
        let inner = &self.inner;
        let _one = inner.opening.lock().await;
        if inner.rooms().state == State::Gone {
            return Ok(());
        }
        inner.place.remove().await?;
        if !inner.record {
            let ids: Vec<_> = inner.rooms().hosts.iter().map(|it| it.0.clone()).collect();
            for id in ids {
                journal::remove(&inner.recordings.join(id.as_str()))?;
            }
        }
        // Only now: who asks again after a fault must still find what is left.
        drop(std::mem::take(&mut inner.rooms().hosts));
        inner.gone("it was removed".to_owned());
        Ok(())
    }
}
