//! What the hub tells of the session beside its output: who has the keyboard, and whether it is paused.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_stream::StreamExt;

use crate::{
    base::{
        clock::Timestamp,
        id::{ClientId, SandboxId, SessionId},
    },
    model::{event::Event, sandbox::State, session::Session},
    runtime::Runtime,
};

/// How it stands with the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) holder: Option<Holder>,
    pub(super) paused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) client: ClientId,
    pub(super) name: String,
    /// By the hub's clock, as in the answer to who asked for it.
    pub(super) since: Timestamp,
}

impl Seen {
    fn of(session: &Session, state: State) -> Self {
        let holder = session.lease.as_ref().map(|it| Holder {
            client: it.holder.clone(),
            name: it.holder_name.clone(),
            since: it.since,
        });
        Self { holder, paused: state == State::Paused }
    }
}

/// Follows the hub's feed until the attachment ends. Without it, the next key tells.
pub(super) async fn follow(
    runtime: Arc<dyn Runtime>,
    (sandbox, session): (SandboxId, SessionId),
    seen: watch::Sender<Seen>,
) {
    let mut events = match runtime.events().await {
        Ok(events) => events,
        Err(fault) => return tracing::warn!(%fault, "following the feed"),
    };
    while let Some(event) = events.next().await {
        let now = match event {
            Ok(Event::Snapshot { sandboxes, .. }) => {
                sandboxes.into_iter().find(|it| it.id == sandbox)
            }
            Ok(Event::Changed { sandbox: it, .. }) if it.id == sandbox => Some(it),
            Ok(_) => None,
            Err(fault) => return tracing::warn!(%fault, "following the feed"),
        };
        let Some(now) = now else { continue };
        let Some(it) = now.sessions.iter().find(|it| it.id == session) else { continue };
        let it = Seen::of(it, now.state);
        seen.send_if_modified(|last| {
            let differs = *last != it;
            *last = it;
            differs
        });
    }
}
