//! The feeds of several hubs as one: by turns, so that none has to wait for another however much that one tells, and each
//! list in place of what was known of its own hub alone.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    sync::{broadcast, mpsc, watch},
    task::AbortHandle,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{
    Many, Members,
    member::{self, Member},
    shares::{Place, Shares},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::HubNumber,
        limits::{HUB_FEED_QUEUED_MAX, RETRY_AFTER_MAX, RETRY_AFTER_MIN, SANDBOXES_MAX},
    },
    model::event::{Event, Notice, SnapshotReason},
    runtime::BoxStream,
};

/// The feed of one hub. It ends with this.
struct Feed {
    member: Arc<Member>,
    events: mpsc::Receiver<Event>,
    pump: AbortHandle,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Feed {
    fn of(member: Arc<Member>, bell: mpsc::Sender<()>) -> Self {
        let (sender, events) = mpsc::channel(HUB_FEED_QUEUED_MAX);
        let (reached, mark) = (member.reached(), member.mark.clone());
        let of = Arc::downgrade(&member);
        let tell = move |why: Option<String>| {
            if of.upgrade().is_some_and(|it| it.set_silent(why)) {
                member::ring(&bell);
            }
        };
        let pump = tokio::spawn(async move {
            let Some(runtime) = reached.await else { return };
            let mut pause = RETRY_AFTER_MIN;
            loop {
                let why = match runtime.events().await {
                    Err(fault) => fault,
                    Ok(mut events) => loop {
                        match events.next().await {
                            None => break Fault::lost("the hub closed the feed"),
                            Some(Err(fault)) => break fault,
                            Some(Ok(event)) => {
                                pause = RETRY_AFTER_MIN;
                                tell(None);
                                if sender.send(mark.put(event)).await.is_err() {
                                    return;
                                }
                            }
                        }
                    },
                };
                tracing::warn!(hub = %mark.name, %why, "the feed of a hub ended");
                tell(Some(why.with_hint()));
                tokio::time::sleep(super::jittered(pause)).await;
                pause = (pause * 2).min(RETRY_AFTER_MAX);
            }
        });
        Self { member, events, pump: pump.abort_handle() }
    }
}

/// All of them.
struct Feeds {
    feeds: Vec<Feed>,
    /// Whose turn it is.
    turn: usize,
    shares: Shares,
    /// There was more than one hub once: no list is of all there is.
    parted: bool,
    bell: mpsc::Sender<()>,
}

impl Feeds {
    /// Those that are gone end, and those that came begin; what is told of it.
    fn settle(&mut self, members: &Members) -> Vec<Event> {
        let there = |it: &Feed| members.iter().any(|of| Arc::ptr_eq(of, &it.member));
        let gone: Vec<HubNumber> =
            self.feeds.iter().filter(|it| !there(it)).map(|it| it.member.mark.hub).collect();
        self.feeds.retain(there);
        for member in members.iter() {
            if !self.feeds.iter().any(|it| Arc::ptr_eq(&it.member, member)) {
                self.shares.come(member.mark.hub);
                self.feeds.push(Feed::of(member.clone(), self.bell.clone()));
            }
        }
        self.parted |= members.len() > 1;
        gone.iter().for_each(|it| self.shares.go(*it));
        let empty = |hub| Event::Part { hub, reason: SnapshotReason::First, sandboxes: Vec::new() };
        gone.into_iter().map(empty).collect()
    }

    /// The next event there is, of the hub that is next.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(HubNumber, Event)> {
        let count = self.feeds.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(feed) = self.feeds.get_mut(at) else { continue };
            if let Poll::Ready(Some(event)) = feed.events.poll_recv(context) {
                self.turn = at + 1;
                return Poll::Ready((feed.member.mark.hub, event));
            }
        }
        Poll::Pending
    }

    /// What is told of an event: all of it, as far as there is room beside what others have.
    fn take(&mut self, hub: HubNumber, event: Event) -> Vec<Event> {
        let removed = |id| Event::Removed { seq: 0, id };
        let out = match event {
            Event::Snapshot { seq, reason, sandboxes } => {
                let (sandboxes, gone) = self.shares.list(hub, sandboxes);
                let list = match self.parted {
                    true => Event::Part { hub, reason, sandboxes },
                    false => Event::Snapshot { seq, reason, sandboxes },
                };
                gone.into_iter().map(removed).chain([list]).collect()
            }
            Event::Changed { seq, sandbox } => match self.shares.change(hub, &sandbox.id) {
                Place::Shown => vec![Event::Changed { seq, sandbox }],
                Place::InsteadOf(gone) => vec![removed(gone), Event::Changed { seq, sandbox }],
                Place::LeftOut => Vec::new(),
            },
            Event::Removed { seq, id } => match self.shares.remove(hub, &id) {
                true => vec![Event::Removed { seq, id }],
                false => Vec::new(),
            },
            // No hub sends one.
            Event::Part { .. } => Vec::new(),
            other => vec![other],
        };
        let news = self
            .feeds
            .iter()
            .map(|it| it.member.set_left_out(self.shares.left_out(it.member.mark.hub)))
            .fold(false, |any, it| any | it);
        if news {
            member::ring(&self.bell);
        }
        out
    }
}

/// Puts them together, until nobody listens.
async fn merge(
    mut members: watch::Receiver<Members>,
    mut missing: broadcast::Receiver<Notice>,
    bell: mpsc::Sender<()>,
    out: mpsc::Sender<Outcome<Event>>,
) {
    let mut feeds = Feeds {
        feeds: Vec::new(),
        turn: 0,
        shares: Shares::new(SANDBOXES_MAX),
        parted: false,
        bell,
    };
    // Nothing here keeps one that was taken out.
    let mut events = feeds.settle(&members.borrow_and_update().clone());
    loop {
        for event in events {
            if out.send(Ok(event)).await.is_err() {
                return;
            }
        }
        events = tokio::select! {
            changed = members.changed() => {
                if changed.is_err() {
                    return;
                }
                feeds.settle(&members.borrow_and_update().clone())
            }
            // What was said too fast to be heard is said in the log.
            Ok(notice) = missing.recv() => vec![Event::Notice { seq: 0, notice }],
            (hub, event) = poll_fn(|context| feeds.poll(context)) => feeds.take(hub, event),
            () = out.closed() => return,
        };
    }
}

impl Many {
    pub(super) fn merged_events(&self) -> BoxStream<Outcome<Event>> {
        let (sender, events) = mpsc::channel(1);
        tokio::spawn(merge(
            self.members.subscribe(),
            self.missing.subscribe(),
            self.bell.clone(),
            sender,
        ));
        Box::pin(ReceiverStream::new(events))
    }
}
