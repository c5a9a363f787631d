//! Changes under way: bounded, finished even when the client that asked hangs up, waited for at the
//! end of the hub.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::{
    fault::{Fault, Outcome},
    id::MemberId,
    limits::{
        ANSWER_WITHIN, CREATE_WITHIN, GRACE_MAX, HUB_CALLS_AWAY_MAX, HUB_CALLS_EACH_MAX,
        HUB_CALLS_MAX, URGENT_CALLS_AWAY_MAX, URGENT_CALLS_EACH_MAX, URGENT_CALLS_MAX,
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
    /// What nothing waits for that could not wait.
    common: Pool,
    urgent: Pool,
}

/// So many changes at once, of which a part is for this machine alone.
struct Pool {
    all: u32,
    away: usize,
    each: usize,
    permits: Arc<Semaphore>,
    shares: Shares,
}

/// Of those from elsewhere.
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

impl Pool {
    fn new(all: u32, away: usize, each: usize) -> Self {
        let permits = Arc::new(Semaphore::new(all as usize));
        Self { all, away, each, permits, shares: Shares::default() }
    }

    /// Room for one change.
    fn enter(&self, member: Option<MemberId>) -> Outcome<(Option<Share>, OwnedSemaphorePermit)> {
        let share = member.map(|it| self.share(it)).transpose()?;
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        Ok((share, permit.map_err(|_| busy(format_args!("{} changes", self.all)))?))
    }

    fn share(&self, member: MemberId) -> Outcome<Share> {
        let mut all = self.shares.lock();
        let own = all.get(&member).copied().unwrap_or(0);
        if own >= self.each {
            return Err(busy(format_args!("{} changes of yours", self.each)));
        }
        if all.values().sum::<usize>() >= self.away {
            let away = self.away;
            return Err(busy(format_args!("{away} changes of those who come from elsewhere")));
        }
        all.insert(member.clone(), own + 1);
        drop(all);
        Ok(Share { of: self.shares.clone(), member })
    }
}

fn busy(with: std::fmt::Arguments<'_>) -> Fault {
    Fault::busy(format!("the hub works on {with} already")).hint("some end soon; try again")
}

impl Work {
    pub(super) fn new() -> Self {
        Self {
            common: Pool::new(HUB_CALLS_MAX, HUB_CALLS_AWAY_MAX, HUB_CALLS_EACH_MAX),
            urgent: Pool::new(URGENT_CALLS_MAX, URGENT_CALLS_AWAY_MAX, URGENT_CALLS_EACH_MAX),
        }
    }

    /// Runs a change to its end in a task of its own: half a change is worse than none, and a client
    /// may hang up at any moment.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        change: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        let caller = CALLER.try_with(Clone::clone).unwrap_or_default();
        let pool = if caller.urgent { &self.urgent } else { &self.common };
        let room = pool.enter(caller.member)?;
        let task = tokio::spawn(async move {
            let done =
                tokio::time::timeout(GRACE_MAX + CREATE_WITHIN + ANSWER_WITHIN, change).await;
            drop(room);
            done.unwrap_or_else(|_| Err(Fault::late("the change did not end")))
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a change broke off");
            Err(Fault::bug("the hub failed inside; its log says where"))
        })
    }

    /// Resolves when no change is under way.
    pub(super) async fn finished(&self) {
        for pool in [&self.common, &self.urgent] {
            drop(pool.permits.acquire_many(pool.all).await);
        }
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
        // All of those from elsewhere together hold up no answer, of theirs or of anybody's.
        loop {
            let another = MemberId::random();
            if begin(caller(Some(another.clone()), false)).await.is_some() {
                break;
            }
        }
        assert!(begin(caller(Some(MemberId::random()), true)).await.is_none());
        assert!(begin(caller(None, false)).await.is_none());
        // Neither does all that this machine may have at once.
        while begin(caller(None, false)).await.is_none() {}
        assert!(begin(caller(None, true)).await.is_none());
        assert!(begin(caller(Some(MemberId::random()), true)).await.is_none());
    }
}
