//! One of several hubs: reached in the background, however long that takes, and looked for until it is there.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::mark::Mark;
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        id::ClientId,
        limits::{RETRY_AFTER_MAX, RETRY_AFTER_MIN},
    },
    runtime::{HubSeen, Link, Runtime, Trips},
};

/// A hub, and who we are to it.
pub struct Reached {
    pub runtime: Arc<dyn Runtime>,
    pub client: ClientId,
}

/// Reaches one hub.
#[async_trait]
pub trait Opener: Send + Sync + 'static {
    /// Asked for again after a pause when it fails. What it gives looks for a hub that was lost by itself.
    async fn open(&self) -> Outcome<Reached>;
}

/// Where one of several hubs is, and how it is reached.
#[derive(Clone)]
pub struct Contact {
    /// Of its context.
    pub name: String,
    /// For people, and by which it is known whether it is still the same.
    pub address: String,
    pub opener: Arc<dyn Opener>,
}

/// One of several hubs.
pub(super) struct Member {
    pub mark: Mark,
    pub address: String,
    link: Mutex<Link>,
    left_out: AtomicU64,
    runtime: watch::Sender<Option<Arc<dyn Runtime>>>,
    keeper: Mutex<Option<AbortHandle>>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        keeper.take().inspect(AbortHandle::abort);
    }
}

impl Member {
    /// Begins to reach it; `known` where it is reached already. `bell` is rung whenever something about it is news.
    pub(super) fn new(
        mark: Mark,
        contact: Contact,
        known: Option<Reached>,
        bell: mpsc::Sender<()>,
    ) -> Arc<Self> {
        if let Some(known) = &known {
            mark.reached_as(known.client.clone());
        }
        let it = Arc::new(Self {
            mark,
            address: contact.address,
            link: Mutex::new(Link::Connecting),
            left_out: AtomicU64::new(0),
            runtime: watch::Sender::new(known.map(|it| it.runtime)),
            keeper: Mutex::new(None),
        });
        let keeper = tokio::spawn(keep(Arc::downgrade(&it), contact.opener, bell));
        *it.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper.abort_handle());
        it
    }

    pub(super) fn seen(&self) -> HubSeen {
        HubSeen {
            number: self.mark.hub,
            name: self.mark.name.to_string(),
            address: self.address.clone(),
            link: self.link(),
            left_out: self.left_out.load(Ordering::Relaxed),
        }
    }

    pub(super) fn link(&self) -> Link {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_link(&self, link: Link) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// Tells how many of its sandboxes there was no room for; whether that is news.
    pub(super) fn set_left_out(&self, many: u64) -> bool {
        self.left_out.swap(many, Ordering::Relaxed) != many
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.link(), Link::Up { .. })
    }

    /// The hub, or at once why it can't be asked.
    pub(super) fn runtime(&self) -> Outcome<Arc<dyn Runtime>> {
        if let Some(runtime) = self.runtime.borrow().as_ref() {
            return Ok(runtime.clone());
        }
        let why = match self.link() {
            Link::Down { reason, .. } => reason,
            Link::Connecting | Link::Up { .. } => "not reached yet".to_owned(),
        };
        Err(Fault::lost(format!("no hub: {why}")).hint("it is being looked for; try again"))
    }

    /// The hub, once it was reached; never, if it never is.
    pub(super) fn reached(&self) -> impl Future<Output = Option<Arc<dyn Runtime>>> + Send + use<> {
        let mut runtime = self.runtime.subscribe();
        async move { runtime.wait_for(Option::is_some).await.ok()?.clone() }
    }

    /// What it refused, with whose words these are.
    pub(super) fn fault(&self, fault: Fault) -> Fault {
        // What is there no more, or is wrong, is said of a thing that has its hub in its name.
        match fault.kind() {
            Kind::Lost | Kind::Late | Kind::Denied if !self.mark.is_first() => {
                fault.context(&self.mark.name)
            }
            _ => fault,
        }
    }
}

/// Reaches the hub and tells how it is reached, for as long as it is one of those there are.
async fn keep(it: std::sync::Weak<Member>, opener: Arc<dyn Opener>, bell: mpsc::Sender<()>) {
    let (mut pause, began) = (RETRY_AFTER_MIN, clock::monotonic());
    let known = it.upgrade().and_then(|it| it.runtime.borrow().clone());
    let runtime = match known {
        Some(runtime) => runtime,
        None => loop {
            let fault = match opener.open().await {
                Ok(reached) => {
                    let Some(member) = it.upgrade() else { return };
                    member.mark.reached_as(reached.client);
                    break reached.runtime;
                }
                Err(fault) => fault,
            };
            let wait = super::jittered(pause);
            pause = (pause * 2).min(RETRY_AFTER_MAX);
            let Some(member) = it.upgrade() else { return };
            let (reason, next_try) = (fault.message().to_owned(), clock::monotonic() + wait);
            member.set_link(Link::Down { since: began, reason, next_try });
            drop(member);
            ring(&bell);
            tokio::time::sleep(wait).await;
        },
    };
    let link = runtime.link();
    {
        let Some(member) = it.upgrade() else { return };
        let now = link.as_ref().map(|it| it.borrow().clone());
        member.set_link(now.unwrap_or(Link::Up(Trips::default())));
        member.runtime.send_replace(Some(runtime));
    }
    ring(&bell);
    let Some(mut link) = link else { return };
    while link.changed().await.is_ok() {
        let now = link.borrow_and_update().clone();
        let Some(member) = it.upgrade() else { return };
        member.set_link(now);
        ring(&bell);
    }
}

/// A bell that rings already rings for this as well.
pub(super) fn ring(bell: &mpsc::Sender<()>) {
    let _ = bell.try_send(());
}
