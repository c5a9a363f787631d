//! Several hubs as one: what is asked of a thing goes to the hub whose mark it bears and nowhere else, lists are put together,
//! and a hub that is slow, away or lies holds up none of the others. They come and go meanwhile.

mod feed;
mod files;
mod gauges;
mod lists;
mod mark;
mod member;
mod one;
mod routes;
mod shares;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{broadcast, mpsc, watch},
    task::AbortHandle,
};

pub use self::member::{Contact, Opener};
use self::{mark::Mark, member::Member, one::One};
use super::keeper::jittered;
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::{ClientId, HubNumber},
        limits::{HUBS_MAX, MISSING_WORDS_MAX},
    },
    model::event::Notice,
    runtime::{HubSeen, Runtime},
};

type Members = Arc<Vec<Arc<Member>>>;

/// Several hubs.
pub struct Many {
    us: ClientId,
    members: watch::Sender<Members>,
    seen: watch::Sender<Arc<Vec<HubSeen>>>,
    bell: mpsc::Sender<()>,
    next: Mutex<u32>,
    /// What lists lack of which hub, as it was told last, and where that is told.
    known_missing: Mutex<BTreeSet<(HubNumber, &'static str)>>,
    missing: broadcast::Sender<Notice>,
    teller: AbortHandle,
}

impl Drop for Many {
    fn drop(&mut self) {
        self.teller.abort();
    }
}

impl Many {
    /// Begins with one hub, whose things bear no mark and to which we are `us`; `reached` where it is reached already.
    pub fn new(us: ClientId, first: Contact, reached: Option<Arc<dyn Runtime>>) -> Self {
        let (bell, mut rung) = mpsc::channel(1);
        let mark = Mark::new(HubNumber::FIRST, &first.name, us.clone());
        let member = Member::new(mark, first, reached, bell.clone());
        let members = watch::Sender::new(Arc::new(vec![member]));
        let seen = watch::Sender::new(seen(&members.borrow()));
        let (told, to_tell) = (seen.clone(), members.subscribe());
        let teller = tokio::spawn(async move {
            while rung.recv().await.is_some() {
                let now = seen_now(&to_tell);
                told.send_if_modified(|before| {
                    let differs = *before != now;
                    *before = now;
                    differs
                });
            }
        });
        Self {
            us,
            members,
            seen,
            bell,
            next: Mutex::new(1),
            known_missing: Mutex::default(),
            missing: broadcast::Sender::new(MISSING_WORDS_MAX),
            teller: teller.abort_handle(),
        }
    }

    /// From now on these are there beside the first. Those that are the same go on; one at another address is another. Beyond
    /// `HUBS_MAX` none is taken, which is an error; all before it are.
    pub fn keep(&self, contacts: Vec<Contact>) -> Outcome<()> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let over = contacts.len().saturating_sub(HUBS_MAX - 1);
        let before = self.members.borrow().clone();
        let mut members: Vec<Arc<Member>> = before.iter().take(1).cloned().collect();
        for contact in contacts.into_iter().take(HUBS_MAX - 1) {
            let same = before
                .iter()
                .skip(1)
                .find(|it| *it.mark.name == *contact.name && it.address == contact.address);
            members.push(same.cloned().unwrap_or_else(|| {
                let mark = Mark::new(HubNumber(*next), &contact.name, self.us.clone());
                *next += 1;
                Member::new(mark, contact, None, self.bell.clone())
            }));
        }
        // In the order in which they came: where one stands does not change.
        members.sort_by_key(|it| it.mark.hub);
        let same = members.len() == before.len()
            && members.iter().zip(before.iter()).all(|(one, other)| Arc::ptr_eq(one, other));
        if !same {
            let mut known = self.known_missing.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|it| members.iter().any(|of| of.mark.hub == it.0));
            drop(known);
            self.members.send_replace(Arc::new(members));
            member::ring(&self.bell);
        }
        if over > 0 {
            let text =
                format!("{over} of the contexts are left out: a console has {HUBS_MAX} hubs");
            return Err(Fault::invalid(text).hint("--context NAME opens one of them alone"));
        }
        Ok(())
    }

    /// The hub of a thing.
    fn hub_of(&self, hub: HubNumber) -> Outcome<One> {
        let members = self.members.borrow();
        let member = members.iter().find(|it| it.mark.hub == hub);
        Ok(One::of(member.ok_or_else(gone)?))
    }

    fn first(&self) -> Outcome<One> {
        self.hub_of(HubNumber::FIRST)
    }

    /// All that can be asked now.
    fn all_up(&self) -> Vec<One> {
        let members = self.members.borrow().clone();
        members.iter().filter(|it| it.is_up()).map(One::of).collect()
    }
}

/// Of something whose hub was taken out since.
fn gone() -> Fault {
    Fault::absent("its hub is not in this console any more").hint("sandwatch context ls")
}

fn seen(members: &Members) -> Arc<Vec<HubSeen>> {
    Arc::new(members.iter().map(|it| it.seen()).collect())
}

fn seen_now(members: &watch::Receiver<Members>) -> Arc<Vec<HubSeen>> {
    let members = members.borrow().clone();
    seen(&members)
}
