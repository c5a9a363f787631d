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

use super::{
    super::keeper::{Pauses, rest},
    mark::Mark,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
    },
    model::member::Role,
    runtime::{HubSeen, Link, Runtime, Trips},
};

/// Reaches one hub.
#[async_trait]
pub trait Opener: Send + Sync + 'static {
    /// Asked for again after a pause when it fails. What it gives looks for a hub that was lost by itself.
    async fn open(&self) -> Outcome<Arc<dyn Runtime>>;
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
    /// Why its feed tells nothing.
    silent: Mutex<Option<String>>,
    left_out: AtomicU64,
    runtime: watch::Sender<Option<Arc<dyn Runtime>>>,
    keeper: Mutex<Option<AbortHandle>>,
    /// How often somebody wanted it to be reached at once.
    hurried: watch::Sender<u64>,
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
        known: Option<Arc<dyn Runtime>>,
        bell: mpsc::Sender<()>,
    ) -> Arc<Self> {
        if let Some(known) = &known {
            mark.reached(known);
        }
        let it = Arc::new(Self {
            mark,
            address: contact.address,
            link: Mutex::new(Link::Connecting),
            silent: Mutex::new(None),
            left_out: AtomicU64::new(0),
            runtime: watch::Sender::new(known),
            keeper: Mutex::new(None),
            hurried: watch::Sender::new(0),
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
            role: self.runtime.borrow().as_ref().map_or(Role::Admin, |it| it.role()),
            silent: self.silent.lock().unwrap_or_else(PoisonError::into_inner).clone(),
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

    /// Tells why its feed tells nothing, or that it does; whether that is news.
    pub(super) fn set_silent(&self, why: Option<String>) -> bool {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *silent != why;
        *silent = why;
        news
    }

    /// It is reached at once, where it is not.
    pub(super) fn look_now(&self) {
        self.hurried.send_modify(|it| *it += 1);
        self.runtime.borrow().iter().for_each(|it| it.look_now());
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
}

/// Reaches the hub and tells how it is reached, for as long as it is one of those there are.
async fn keep(it: std::sync::Weak<Member>, opener: Arc<dyn Opener>, bell: mpsc::Sender<()>) {
    let (mut pauses, began) = (Pauses::default(), clock::monotonic());
    let Some(mut hurried) = it.upgrade().map(|it| it.hurried.subscribe()) else { return };
    let known = it.upgrade().and_then(|it| it.runtime.borrow().clone());
    let runtime = match known {
        Some(runtime) => runtime,
        None => loop {
            let fault = match opener.open().await {
                Ok(reached) => {
                    let Some(member) = it.upgrade() else { return };
                    member.mark.reached(&reached);
                    break reached;
                }
                Err(fault) => fault,
            };
            let wait = pauses.after(Some(&fault));
            let Some(member) = it.upgrade() else { return };
            let (reason, next_try) = (fault.message().to_owned(), clock::monotonic() + wait);
            member.set_link(Link::Down { since: began, reason, next_try });
            drop(member);
            ring(&bell);
            if rest(wait, &mut hurried).await {
                pauses = Pauses::default();
            }
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
