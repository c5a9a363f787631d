//! Changes under way: bounded, finished even when the client that asked hangs up, waited for at the
//! end of the hub.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

use crate::base::{
    fault::{Fault, Outcome},
    id::MemberId,
    limits::{
        ANSWER_WITHIN, CREATE_WITHIN, GRACE_MAX, HUB_CALLS_AWAY_MAX, HUB_CALLS_EACH_MAX,
        HUB_CALLS_MAX, HUB_CALLS_URGENT_MAX,
    },
};

/// Of the call that a change is part of.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    /// `None` = somebody on this machine.
    pub member: Option<MemberId>,
    /// It waits for no other change: an answer that a program waits for, or who may come.
    pub urgent: bool,
}

tokio::task_local! {
    static CALLER: Caller;
}

/// Answers a call, whose changes are that caller's.
pub(super) async fn on_behalf_of<T>(caller: Caller, answer: impl Future<Output = T>) -> T {
    CALLER.scope(caller, answer).await
}

pub(super) struct Work {
    permits: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
    /// Of those from elsewhere.
    shares: Shares,
}

#[derive(Clone, Default)]
struct Shares(Arc<Mutex<HashMap<MemberId, usize>>>);

/// One change of somebody from elsewhere, until it has ended.
struct Share {
    of: Shares,
    member: MemberId,
}

impl Shares {
    fn lock(&self) -> MutexGuard<'_, HashMap<MemberId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, member: MemberId) -> Outcome<Share> {
        let mut all = self.lock();
        let own = all.get(&member).copied().unwrap_or(0);
        if own >= HUB_CALLS_EACH_MAX {
            return Err(busy(HUB_CALLS_EACH_MAX, "of yours"));
        }
        if all.values().sum::<usize>() >= HUB_CALLS_AWAY_MAX {
            return Err(busy(HUB_CALLS_AWAY_MAX, "of those who come from elsewhere"));
        }
        all.insert(member.clone(), own + 1);
        drop(all);
        Ok(Share { of: self.clone(), member })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.of.lock();
        if let Some(own) = all.get_mut(&self.member) {
            *own -= 1;
            if *own == 0 {
                all.remove(&self.member);
            }
        }
    }
}

fn busy(many: impl std::fmt::Display, whose: &str) -> Fault {
    let space = if whose.is_empty() { "" } else { " " };
    Fault::busy(format!("the hub works on {many} changes{space}{whose} already"))
        .hint("some end soon; try again")
}

impl Work {
    pub(super) fn new() -> Self {
        let permits = |many: u32| Arc::new(Semaphore::new(many as usize));
        Self {
            permits: permits(HUB_CALLS_MAX),
            urgent: permits(HUB_CALLS_URGENT_MAX),
            shares: Shares::default(),
        }
    }

    /// Runs a change to its end in a task of its own: half a change is worse than none, and a client
    /// may hang up at any moment.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        change: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        let caller = CALLER.try_with(Clone::clone).unwrap_or_default();
        let (permits, many) = match caller.urgent {
            true => (&self.urgent, HUB_CALLS_URGENT_MAX),
            false => (&self.permits, HUB_CALLS_MAX),
        };
        let share = caller.member.map(|it| self.shares.take(it)).transpose()?;
        let permit = Arc::clone(permits).try_acquire_owned().map_err(|_| busy(many, ""))?;
        let task = tokio::spawn(async move {
            let done =
                tokio::time::timeout(GRACE_MAX + CREATE_WITHIN + ANSWER_WITHIN, change).await;
            drop((permit, share));
            done.unwrap_or_else(|_| Err(Fault::late("the change did not end")))
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a change broke off");
            Err(Fault::bug("the hub failed inside; its log says where"))
        })
    }

    /// Resolves when no change is under way.
    pub(super) async fn finished(&self) {
        drop(self.permits.acquire_many(HUB_CALLS_MAX).await);
        drop(self.urgent.acquire_many(HUB_CALLS_URGENT_MAX).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::Kind;

    fn caller(member: Option<MemberId>, urgent: bool) -> Caller {
        Caller { member, urgent }
    }

    #[tokio::test]
    async fn one_from_elsewhere_holds_up_neither_the_machine_nor_answers() {
        let work = Arc::new(Work::new());
        let member = MemberId::random();
        let never = || std::future::pending::<Outcome<()>>();
        let begin = |who: Caller| {
            let work = Arc::clone(&work);
            let mut run = Box::pin(async move { on_behalf_of(who, work.run(never())).await });
            async move {
                let waits = tokio::time::sleep(std::time::Duration::from_millis(20));
                tokio::select! { done = &mut run => Some(done), () = waits => None }
            }
        };
        for _ in 0..HUB_CALLS_EACH_MAX {
            assert!(begin(caller(Some(member.clone()), false)).await.is_none());
        }
        let more = begin(caller(Some(member.clone()), false)).await.unwrap().unwrap_err();
        assert!(more.kind() == Kind::Busy && more.message().contains("of yours"), "{more}");
        // Nobody else is in want.
        assert!(begin(caller(Some(MemberId::random()), false)).await.is_none());
        assert!(begin(caller(None, false)).await.is_none());
        // All that this machine may have at once is in nobody's way who answers.
        while begin(caller(None, false)).await.is_none() {}
        assert!(begin(caller(None, true)).await.is_none());
        assert!(begin(caller(Some(MemberId::random()), true)).await.is_none());
    }
}
