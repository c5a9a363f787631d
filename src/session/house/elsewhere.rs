//! Sandboxes that others keep: what runs in them becomes sessions without being started from here.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{House, Inner};
use crate::{
    base::{
        fault::Outcome,
        id::SessionId,
        limits::{RETRY_AFTER_MAX, RETRY_AFTER_MIN},
    },
    driver::{Elsewhere, Resident},
    model::{ask::Request, session::Lease},
};

impl House {
    /// Takes part in what runs there now; what can't be joined at once is later.
    pub async fn joined(&self) {
        let _one = self.inner.joining.lock().await;
        if let Err(fault) = self.inner.join_all().await {
            tracing::warn!(%fault, sandbox = %self.inner.ground.id, "a program can't be joined yet");
        }
    }
}

impl Inner {
    pub(super) fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        self.place.elsewhere()
    }

    /// Which of those a session is.
    fn resident(&self, session: &SessionId) -> Option<Resident> {
        let rooms = self.rooms();
        rooms.residents.iter().find(|it| it.0 == *session).map(|it| it.1.clone())
    }

    /// Takes part in all that runs there, one after the other, so that the first is the first.
    pub(super) fn join_residents(self: &Arc<Self>) {
        if self.elsewhere().is_none() {
            return;
        }
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut pause = RETRY_AFTER_MIN;
            loop {
                let Some(inner) = weak.upgrade() else { return };
                // Somebody does it already, and looks again at the end.
                let Ok(turn) = inner.joining.try_lock() else { return };
                let done = inner.join_all().await;
                drop(turn);
                match done {
                    Ok(()) if inner.missing().is_none() => return,
                    Ok(()) => pause = Duration::ZERO,
                    Err(fault) => {
                        tracing::warn!(%fault, sandbox = %inner.ground.id, "a program can't be joined");
                        pause = (pause * 2).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
                    }
                }
                drop(inner);
                sleep(pause).await;
            }
        });
    }

    fn missing(&self) -> Option<Resident> {
        let there = self.elsewhere()?.residents();
        let rooms = self.rooms();
        there.into_iter().find(|it| !rooms.residents.iter().any(|(_, known)| known.key == it.key))
    }

    async fn join_all(self: &Arc<Self>) -> Outcome<()> {
        while let Some(resident) = self.missing() {
            let Some(elsewhere) = self.elsewhere() else { return Ok(()) };
            self.has_room()?;
            let program = elsewhere.join(&resident).await?;
            let _one = self.opening.lock().await;
            let id = SessionId::random();
            {
                let mut rooms = self.rooms();
                let hosts: Vec<_> = rooms.hosts.iter().map(|it| it.0.clone()).collect();
                rooms.residents.retain(|it| hosts.contains(&it.0));
                rooms.residents.push((id.clone(), resident.clone()));
            }
            self.seat_in(id, &resident.spec, program, None);
        }
        Ok(())
    }

    /// Whether what is typed into a session arrives.
    pub(super) fn may_type(&self, session: &SessionId) -> Outcome<()> {
        match (self.elsewhere(), self.resident(session)) {
            (Some(elsewhere), Some(resident)) => elsewhere.may_type(&resident),
            _ => Ok(()),
        }
    }

    pub(super) fn keyboard(&self, session: &SessionId, lease: Option<&Lease>) {
        if let (Some(elsewhere), Some(resident)) = (self.elsewhere(), self.resident(session)) {
            elsewhere.keyboard(&resident, lease.is_some());
        }
    }

    pub(super) async fn take_back(&self, request: &Request) -> Outcome<()> {
        match self.elsewhere() {
            Some(elsewhere) => elsewhere.take_back(request).await,
            None => Ok(()),
        }
    }
}
