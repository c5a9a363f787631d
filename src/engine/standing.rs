//! Answers that hold for the very same request of the same sandbox: which there are, how often they answered, and how
//! one is taken back.

use std::sync::Arc;

use super::{
    Inner,
    asks::row,
    audit::words,
    fleet::{Entry, Fleet},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{AskId, SandboxId},
        limits::ASKS_STANDING_MAX,
    },
    model::ask::{Ask, Decision, Revoked, Scope, Verdict},
    runtime::Identity,
    wire::stored,
};

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The ask that was answered.
    pub ask: AskId,
    pub digest: String,
    pub decision: Decision,
}

impl Inner {
    /// Asks whose answer holds on, newest first.
    pub(super) async fn standing_asks(&self) -> Outcome<Vec<Ask>> {
        let ids = self.fleet().standing_ids();
        let kept = self.store.asks_by_id(ids).await?;
        let now = clock::wall();
        let mut all: Vec<Ask> = kept.iter().filter_map(|it| stored::ask(it).ok()).collect();
        all.retain(|it| it.decision.as_ref().is_some_and(|it| it.holds(now)));
        all.sort_by_key(|it| std::cmp::Reverse(it.decision.as_ref().map(|it| it.at)));
        Ok(all)
    }

    /// It has answered once more.
    pub(super) async fn count_use(self: &Arc<Self>, id: &SandboxId, ask: &AskId) -> Outcome<()> {
        let turn = Arc::clone(&self.fleet().get(id)?.standing_turn);
        let _turn = turn.lock().await;
        let uses = {
            let mut fleet = self.fleet();
            let of = fleet.get_mut(id)?.standing.iter_mut().find(|it| it.ask == *ask);
            // Taken back meanwhile: that is written down, and stays so.
            let Some(standing) = of else { return Ok(()) };
            standing.decision.uses = standing.decision.uses.saturating_add(1);
            standing.decision.uses
        };
        self.amend(ask, |it| it.uses = uses, None).await.map(drop)
    }

    /// Takes an answer back. Here that is written down first, and then it holds no more; what others keep is taken back there
    /// first, and as long as they did not, it stands.
    pub(super) async fn revoke(self: &Arc<Self>, who: &Identity, id: &AskId) -> Outcome<Ask> {
        let absent = || {
            Fault::absent(format!("no answer to that ask holds on: {id}"))
                .hint("see `sandwatch approvals standing`")
        };
        let found = {
            let fleet = self.fleet();
            let of = fleet.entries().find(|it| it.standing.iter().any(|it| it.ask == *id));
            of.map(|it| (it.sandbox.id.clone(), Arc::clone(&it.standing_turn)))
        };
        let Some((sandbox, turn)) = found else {
            return self.revoke_rule(who, id).await?.ok_or_else(absent);
        };
        let _turn = turn.lock().await;
        let now = clock::wall();
        let holds = |it: &&Standing| it.ask == *id && it.decision.holds(now);
        let (elsewhere, verdict) = {
            let fleet = self.fleet();
            let entry = fleet.get(&sandbox)?;
            let it = entry.standing.iter().find(holds).ok_or_else(absent)?;
            (entry.elsewhere, it.decision.answer.verdict)
        };
        // What was denied there is kept here alone.
        if elsewhere && verdict == Verdict::Allow {
            self.forget_elsewhere(&sandbox, id).await?;
        }
        let revoked = Revoked { by: who.name.clone(), at: now };
        let ask = self.amend(id, |it| it.revoked = Some(revoked), Some(who)).await?;
        if let Ok(entry) = self.fleet().get_mut(&sandbox) {
            entry.standing.retain(|it| it.ask != *id);
        }
        if elsewhere {
            return Ok(ask);
        }
        // What holds at the way out of the sandbox is let go of there.
        let seat = self.fleet().get(&sandbox).and_then(Entry::seat);
        match seat {
            Ok(seat) => seat.forget(&ask.asked.request).await?,
            Err(fault) => tracing::debug!(%fault, "nobody is there who could remember it"),
        }
        Ok(ask)
    }

    /// Has those who keep a sandbox take back what they were told to allow.
    async fn forget_elsewhere(&self, sandbox: &SandboxId, id: &AskId) -> Outcome<()> {
        let still = "it is in force still";
        let seat = self.fleet().get(sandbox)?.seat().map_err(|fault| {
            fault.context(still).hint("try again when its gateway answers: sandwatch ls")
        })?;
        let kept = self.store.ask(id.to_string()).await?;
        let kept = kept.ok_or_else(|| Fault::failed("the answer can't be read back"))?;
        let request = stored::ask(&kept)?.asked.request;
        seat.forget(&request).await.map_err(|fault| fault.context(still))
    }

    /// Changes what is kept of an answer; with who takes it back, it is told to the audit record too.
    pub(super) async fn amend(
        &self,
        id: &AskId,
        change: impl FnOnce(&mut Decision) + Send,
        by: Option<&Identity>,
    ) -> Outcome<Ask> {
        let kept = self.store.ask(id.to_string()).await?;
        let kept = kept.ok_or_else(|| Fault::failed("the answer can't be read back"))?;
        let mut ask = stored::ask(&kept)?;
        let Some(decision) = &mut ask.decision else {
            return Err(Fault::failed("what is kept of the ask has no answer"));
        };
        change(decision);
        let act = by.map(|who| words::revoked(&ask, who));
        self.store.amend_ask(row(&ask), act).await?;
        Ok(ask)
    }
}

impl Fleet {
    /// Ids of all asks whose answers hold on.
    pub(super) fn standing_ids(&self) -> Vec<String> {
        self.entries().flat_map(|it| &it.standing).map(|it| it.ask.to_string()).collect()
    }
}

impl Entry {
    /// The answer that answers it as well, if there is one. What others keep is allowed by nothing but an answer to what was
    /// shown: there may be more to the next one than can be seen here.
    pub(super) fn standing_for(&self, digest: &str, now: Timestamp) -> Option<&Standing> {
        let allows = |it: &&Standing| it.decision.answer.verdict == Verdict::Allow;
        let holds = |it: &&Standing| it.digest == digest && it.decision.holds(now);
        self.standing.iter().find(holds).filter(|it| !(self.elsewhere && allows(it)))
    }

    /// An answer, which may hold on; told of one after the other, the newest last. One that was taken back took those
    /// before it along.
    pub(super) fn stand(&mut self, ask: &Ask, decision: &Decision) {
        // What a rule answers holds as long as that is there.
        if decision.answer.scope == Scope::Once || decision.answer.scope.is_rule() {
            return;
        }
        let now = clock::wall();
        self.standing.retain(|it| it.digest != ask.digest && it.decision.holds(now));
        if !decision.holds(now) {
            return;
        }
        if self.standing.len() >= ASKS_STANDING_MAX {
            self.standing.remove(0);
        }
        let (id, digest) = (ask.asked.id.clone(), ask.digest.clone());
        self.standing.push(Standing { ask: id, digest, decision: decision.clone() });
    }
}
