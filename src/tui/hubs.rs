//! What comes of hubs without being asked for: the feed of changes, and how each of them is reached.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;

use crate::{
    app::{Link, Msg, hubs::Hub},
    base::fault::Fault,
    runtime::{self, HubSeen, Runtime},
};

const RECONNECT_AFTER_MIN: Duration = Duration::from_millis(100);
pub(super) const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(3);

/// The feed of changes, asked for again should it ever end, which is told. Which hubs there are is said before what they have.
pub(super) async fn feed(runtime: Arc<dyn Runtime>, answers: mpsc::Sender<Msg>) {
    let hubs = runtime.hubs().map(|seen| shown_hubs(&seen.borrow()));
    if let Some(hubs) = hubs
        && answers.send(Msg::Hubs(hubs)).await.is_err()
    {
        return;
    }
    let mut pause = RECONNECT_AFTER_MIN;
    loop {
        let why = match runtime.events().await {
            Err(fault) => fault,
            Ok(mut events) => loop {
                match events.next().await {
                    None => break Fault::lost("the hub closed the feed"),
                    Some(Err(fault)) => break fault,
                    Some(Ok(event)) => {
                        pause = RECONNECT_AFTER_MIN;
                        if answers.send(Msg::Event(event)).await.is_err() {
                            return;
                        }
                    }
                }
            },
        };
        tracing::warn!(%why, "the feed ended");
        if answers.send(Msg::Silent(why.with_hint())).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_AFTER_MAX);
    }
}

/// How the hub is reached, as it changes.
pub(super) async fn link(runtime: Arc<dyn Runtime>, answers: mpsc::Sender<Msg>) {
    let Some(mut changes) = runtime.link() else {
        // In this process there is nothing to lose.
        drop(answers.send(Msg::Link(Link::Up(None))).await);
        return;
    };
    loop {
        let now = shown_link(changes.borrow_and_update().clone());
        // It may be another with each connection.
        if answers.send(Msg::Role(runtime.role())).await.is_err() {
            return;
        }
        if answers.send(Msg::Link(now)).await.is_err() || changes.changed().await.is_err() {
            return;
        }
    }
}

fn shown_link(link: runtime::Link) -> Link {
    match link {
        runtime::Link::Connecting => Link::Connecting,
        runtime::Link::Up(trips) => Link::Up(Some(trips)),
        runtime::Link::Down { since, reason, .. } => Link::Down { since, why: reason },
    }
}

fn shown_hubs(seen: &[HubSeen]) -> Vec<Hub> {
    let hub = |it: &HubSeen| Hub {
        number: it.number,
        name: it.name.clone(),
        address: it.address.clone(),
        link: shown_link(it.link.clone()),
        role: it.role,
        again_at: match &it.link {
            runtime::Link::Down { next_try, .. } => Some(*next_try),
            _ => None,
        },
        silent: it.silent.clone(),
        left_out: it.left_out,
    };
    seen.iter().map(hub).collect()
}

/// The hubs there are and how each is reached, as that changes.
pub(super) async fn states(
    mut seen: watch::Receiver<Arc<Vec<HubSeen>>>,
    answers: mpsc::Sender<Msg>,
) {
    loop {
        let now = shown_hubs(&seen.borrow_and_update());
        if answers.send(Msg::Hubs(now)).await.is_err() || seen.changed().await.is_err() {
            return;
        }
    }
}
