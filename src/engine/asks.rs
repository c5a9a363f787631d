//! The broker of asks: what programs wait for becomes what people see, and what they say is written down first and
//! released then. In every doubt nothing is allowed.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use sha2::{Digest, Sha256};

use super::{
    Inner,
    audit::words,
    beforehand,
    fleet::{Entry, Fleet},
    hits::Answered,
    store::AskRow,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Kind, Outcome},
        id::{AskId, SandboxId},
        limits::{
            ASKS_FORGOTTEN_EVERY, ASKS_KEPT, ASKS_KEPT_BYTES, ASKS_KEPT_OF_ONE,
            ASKS_KEPT_OF_ONE_BYTES, ASKS_LISTED_BYTES_MAX, ASKS_WANTED_MAX,
        },
        text::hex,
    },
    model::{
        ask::{Answer, Ask, AskState, Asked, Besides, Choice, Decision, Request, Scope, Verdict},
        audit::Act,
        event::Level,
        traffic::Traffic,
    },
    policy::{
        risk,
        rules::{self, Ruling},
    },
    runtime::{AsksWanted, Identity},
    session::seat::Seat,
    wire::stored,
};

/// Who decides, and from where.
pub(super) enum By<'a> {
    Person(&'a Identity),
    /// The rules of these names.
    Policy(Vec<String>),
    /// An answer of before, which holds this long.
    Standing(Scope),
}

impl Inner {
    /// Those that have ended, newest first.
    pub(super) async fn ended_asks(&self, wanted: &AsksWanted) -> Outcome<Vec<Ask>> {
        let kept = match wanted.ids.is_empty() {
            true => self.store.asks(wanted.most.min(ASKS_KEPT), ASKS_LISTED_BYTES_MAX).await?,
            false => {
                let ids = wanted.ids.iter().take(ASKS_WANTED_MAX);
                self.store.asks_by_id(ids.map(ToString::to_string).collect()).await?
            }
        };
        let read = kept.iter().filter_map(|it| stored::ask(it).ok());
        let mut ended: Vec<Ask> = read.filter(|it| it.state != AskState::Pending).collect();
        ended.truncate(wanted.most);
        Ok(ended)
    }

    /// Writes one down, and forgets the oldest now and then.
    async fn keep_ask(
        &self,
        ask: &Ask,
        act: Option<Act>,
        answered: Option<Answered>,
    ) -> Outcome<()> {
        self.store.put_ask(row(ask), act, answered).await?;
        let count = self.asks_kept.fetch_add(1, Ordering::Relaxed);
        let due =
            count.is_multiple_of(ASKS_FORGOTTEN_EVERY) && self.asks_settled.load(Ordering::Acquire);
        if due && let Err(fault) = self.forget_asks().await {
            tracing::warn!(%fault, "old asks stay where they are");
        }
        Ok(())
    }

    /// What holds on is never forgotten: nobody could take it back.
    async fn forget_asks(&self) -> Outcome<()> {
        let these = self.fleet().standing_ids();
        let these = serde_json::Value::from(these).to_string();
        let each = (ASKS_KEPT_OF_ONE, ASKS_KEPT_OF_ONE_BYTES);
        self.store.forget_asks(each, (ASKS_KEPT, ASKS_KEPT_BYTES), these).await
    }

    /// Takes over what a seat tells of the asks in its sandbox: all that wait now.
    pub(super) async fn take_asks(self: &Arc<Self>, id: &SandboxId, told: Vec<Asked>) {
        let (fresh, over) = {
            let mut fleet = self.fleet();
            let Ok(entry) = fleet.get_mut(id) else { return };
            let there: HashSet<&AskId> = told.iter().map(|it| &it.id).collect();
            let known: HashSet<AskId> =
                entry.sandbox.asks.iter().map(|it| it.asked.id.clone()).collect();
            let over: Vec<Ask> = {
                let asks = entry.sandbox.asks.iter();
                asks.filter(|it| !there.contains(&it.asked.id)).cloned().collect()
            };
            if !over.is_empty() {
                let asks = &mut entry.sandbox_mut().asks;
                asks.retain(|it| there.contains(&it.asked.id));
            }
            for it in &told {
                let mut shown = entry.sandbox.asks.iter().enumerate();
                let shown = shown.find(|(_, ask)| ask.asked.id == it.id);
                let other = shown.and_then(|(at, ask)| Some((at, renewed(&ask.asked, it)?)));
                if let Some((at, asked)) = other
                    && let Some(ask) = entry.sandbox_mut().asks.get_mut(at)
                {
                    ask.asked = asked;
                }
            }
            let fresh = told.into_iter().filter(|it| !known.contains(&it.id)).collect::<Vec<_>>();
            (fresh, over)
        };
        if fresh.is_empty() && over.is_empty() {
            return;
        }
        for ask in over {
            self.end(ask).await;
        }
        let waited_for = !fresh.is_empty();
        for asked in fresh {
            if let Err(fault) = self.begin_ask(id, asked).await {
                // It waits on where it is, and is denied there when its time is over.
                let words = format!("an ask can't be kept, so it can't be answered: {fault}");
                self.fleet().notice(Level::Error, Some(id.clone()), &words);
            }
        }
        self.touch(id);
        if waited_for {
            self.asked.notify_one();
            // Programs wait for it, and there are only so many: it is told without a wait for other changes.
            self.fleet().tell_late(id);
        }
    }

    /// Nobody waits for it any more.
    async fn end(&self, ask: Ask) {
        let late = clock::wall() >= ask.asked.deadline_at;
        let state = if late { AskState::Expired } else { AskState::Withdrawn };
        let ask = Ask { state, ..ask };
        let act = self.if_room(&ask.sandbox, words::ended(&ask));
        if let Err(fault) = self.keep_ask(&ask, act, None).await {
            let words = format!("the end of an ask is not kept: {fault}");
            self.fleet().notice(Level::Error, Some(ask.sandbox), &words);
        }
    }

    /// An entry of the audit record that a program brought about, unless its sandbox has had its share.
    fn if_room(&self, id: &SandboxId, act: Act) -> Option<Act> {
        let mut fleet = self.fleet();
        let Ok(entry) = fleet.get_mut(id) else { return Some(act) };
        let before = entry.asks_noted.take(clock::monotonic())?;
        Some(act.with_any("left_out_before", Some(before).filter(|it| *it > 0)))
    }

    /// Puts a new one before people, unless it was answered already.
    async fn begin_ask(self: &Arc<Self>, id: &SandboxId, asked: Asked) -> Outcome<()> {
        let kept = self.store.ask(asked.id.to_string()).await?;
        let kept = kept.and_then(|it| stored::ask(&it).ok()).filter(|it| it.sandbox == *id);
        // A hub before wrote down that it is asked.
        let known = kept.is_some();
        if let Some(decision) = kept.and_then(|it| it.decision) {
            // Decided, and then the hub died before it was released; or it was told just before it was.
            let released = self.release(id, &asked.id, &decision).await;
            if let Err(fault) = released {
                tracing::debug!(%fault, "an answer finds nobody who waits");
            }
            return Ok(());
        }
        let sandbox = self.fleet().get(id)?.sandbox.clone();
        let digest = digest(id, &asked.request);
        let by_hand =
            self.fleet().get(id)?.seat.as_ref().is_some_and(|it| it.was_answered(&asked.id));
        let mut ask = Ask {
            risk: risk::look(&asked.request, &sandbox.workspace.path),
            asked,
            sandbox: id.clone(),
            sandbox_name: sandbox.name.clone(),
            digest,
            state: AskState::Pending,
            decision: None,
        };
        let now = clock::wall();
        let (judged, whole) = self.judged(&mut ask, &sandbox.workspace, now).await;
        // Whoever keeps it did not take an answer, or asks once more: the same answer again and again would be no better.
        let ruled = if by_hand { None } else { by_rule(&judged, &ask, now) };
        if let Some((decision, by)) = ruled {
            return self.settle_ask(id, ask, decision, &by).await;
        }
        let standing = match by_hand {
            true => None,
            false => self.fleet().get(id)?.standing_for(&ask.digest, now).cloned(),
        };
        if let Some(standing) = standing.filter(|it| beforehand::may_answer(&it.decision, whole)) {
            let was = &standing.decision;
            let answer = Answer { scope: Scope::Once, ..was.answer.clone() };
            let by = format!("{} ({})", was.by, was.answer.scope.word());
            let decision = Decision::new(answer, by, now, waited(&ask, now));
            let by = By::Standing(was.answer.scope);
            self.settle_ask(id, ask, decision, &by).await?;
            return self.count_use(id, &standing.ask).await;
        }
        let act = if known { None } else { self.if_room(id, words::asked(&ask)) };
        self.keep_ask(&ask, act, None).await?;
        self.fleet().get_mut(id)?.sandbox_mut().asks.push(ask);
        Ok(())
    }

    /// Writes a decision down, in the audit record too and where rules are counted, and only then releases who waits.
    pub(super) async fn settle_ask(
        self: &Arc<Self>,
        id: &SandboxId,
        ask: Ask,
        decision: Decision,
        by: &By<'_>,
    ) -> Outcome<()> {
        let state = match decision.answer.verdict {
            Verdict::Allow => AskState::Allowed,
            Verdict::Deny => AskState::Denied,
        };
        let told = decision.clone();
        let ask = Ask { state, decision: Some(decision), ..ask };
        let answered = match by {
            By::Policy(names) => self.answered(id, names, told.at, 1),
            By::Person(_) | By::Standing(_) => None,
        };
        self.keep_ask(&ask, Some(words::decided(&ask, by)), answered).await?;
        let released = self.release(id, &ask.asked.id, &told).await;
        // Elsewhere somebody else has the last word, and may say no; of silence nobody knows what it means.
        let elsewhere = self.fleet().get(id).is_ok_and(|it| it.elsewhere);
        let refused = |it: &Fault| match it.kind() {
            Kind::Absent => true,
            Kind::Lost | Kind::Late => false,
            _ => elsewhere,
        };
        if released.as_ref().is_err_and(refused) {
            // Nothing was allowed by it: the record says so.
            let ask = Ask { state: AskState::Withdrawn, ..ask };
            self.store.amend_ask(row(&ask), Some(words::fruitless(&ask))).await?;
        }
        released
    }

    /// The same for one that people see: it is taken off what waits, and its answer may hold on. What was not written
    /// down is not decided, and waits on. Gives whether who waits was released, and what is kept of it.
    pub(super) async fn settle_shown(
        self: &Arc<Self>,
        id: &SandboxId,
        ask: Ask,
        decision: Decision,
        by: &By<'_>,
    ) -> (Outcome<()>, Outcome<Ask>) {
        let gone = ask.asked.id.clone();
        let settled = self.settle_ask(id, ask, decision, by).await;
        let kept = self.store.ask(gone.to_string()).await.and_then(|it| {
            let it = it.ok_or_else(|| Fault::failed("the answer can't be read back"))?;
            stored::ask(&it)
        });
        if let Ok(kept) = &kept
            && let (Some(decision), Ok(entry)) = (&kept.decision, self.fleet().get_mut(id))
        {
            entry.sandbox_mut().asks.retain(|it| it.asked.id != gone);
            if settled.is_ok() {
                entry.stand(kept, decision);
            }
        }
        self.touch(id);
        (settled, kept)
    }

    async fn release(&self, id: &SandboxId, ask: &AskId, decision: &Decision) -> Outcome<()> {
        let seat: Arc<dyn Seat> = self.fleet().get(id)?.seat()?;
        let mut answer = decision.answer.clone();
        if answer.scope.is_rule() {
            // The next time the rule answers, and only as long as it is there.
            answer.scope = Scope::Once;
        }
        let answered = seat.answer(ask, answer, decision.besides.edit.clone()).await;
        let elsewhere = self.fleet().get(id).is_ok_and(|it| it.elsewhere);
        answered.map_err(|fault| match fault.kind() {
            Kind::Absent if !elsewhere => {
                Fault::absent("it was withdrawn just before, so nothing came of the answer")
            }
            _ => fault,
        })
    }

    /// What went out of a sandbox, or was kept from it.
    pub(super) async fn traffic(&self, id: &SandboxId) -> Outcome<Traffic> {
        let seat: Arc<dyn Seat> = self.fleet().get(id)?.seat()?;
        seat.traffic().await
    }

    /// A person's answer to what they were shown. The first one counts.
    pub(super) async fn decide(
        self: &Arc<Self>,
        who: &Identity,
        id: &AskId,
        digest: &str,
        choice: Choice,
    ) -> Outcome<Ask> {
        let snapshot = self.kept_first(who, id, digest, &choice).await?;
        let answering = {
            let fleet = self.fleet();
            let of = fleet.entries().find(|it| it.ask(id).is_some());
            of.map(|it| Arc::clone(&it.answering))
        };
        let Some(answering) = answering else { return Err(self.why_not(id).await) };
        let _first = answering.lock().await;
        let Some(found) = self.fleet().shown_ask(id, digest) else {
            return Err(self.why_not(id).await);
        };
        let ask = found?;
        let sandbox = ask.sandbox.clone();
        let besides = Besides { snapshot, ..self.besides(who, &ask, &choice).await? };
        let (now, made) = (clock::wall(), besides.rule.clone());
        let waited_ms = waited(&ask, now);
        let decision = Decision::new(choice.answer, who.name.clone(), now, waited_ms);
        let decision = Decision { besides, ..decision };
        let by = By::Person(who);
        let (settled, kept) = self.settle_shown(&sandbox, ask, decision, &by).await;
        let settled = match made {
            Some(made) => self.or_no_rule(who, &made, settled).await,
            None => settled,
        };
        let decided = kept?;
        settled?;
        Ok(decided)
    }

    /// Why an ask can't be answered.
    pub(super) async fn why_not(&self, id: &AskId) -> Fault {
        let kept = self.store.ask(id.to_string()).await.ok().flatten();
        let Some(ask) = kept.and_then(|it| stored::ask(&it).ok()) else {
            return Fault::absent(format!("no such ask: {id}"))
                .hint("see `sandwatch approvals ls`");
        };
        let word = ask.state.word();
        match ask.decision {
            Some(it) => Fault::failed(format!("it was {word} already, by {}", it.by)),
            None => Fault::failed(format!("it is {word}")),
        }
    }

    /// Takes up the answers that hold on. Ends what was pending when the hub before ended and nobody waits for any more; forgets the oldest.
    pub(super) async fn settle_asks(&self) -> Outcome<()> {
        for kept in self.store.pending_asks().await? {
            let Ok(ask) = stored::ask(&kept) else { continue };
            let waits = self.fleet().get(&ask.sandbox).is_ok_and(|it| {
                // One that can't be heard may tell of it yet.
                it.unheard || it.sandbox.asks.iter().any(|it| it.asked.id == ask.asked.id)
            });
            if !waits {
                self.end(ask).await;
            }
        }
        // The newest answer to the same holds.
        let kept = self.store.asks(usize::MAX, usize::MAX).await?;
        let kept = kept.iter().filter_map(|it| stored::ask(it).ok()).collect();
        for (ask, decision) in beforehand::decided(kept) {
            if let Ok(entry) = self.fleet().get_mut(&ask.sandbox) {
                entry.stand(&ask, &decision);
            }
        }
        self.asks_settled.store(true, Ordering::Release);
        self.forget_asks().await
    }
}

impl Fleet {
    /// An ask that waits, for one who answers what was shown; `None` when it does not wait.
    pub(super) fn shown_ask(&self, id: &AskId, digest: &str) -> Option<Outcome<Ask>> {
        let (entry, ask) =
            self.entries().find_map(|entry| entry.ask(id).map(|ask| (entry, ask)))?;
        if ask.digest != digest {
            let fault = Fault::failed("it is another request than the one that was shown");
            return Some(Err(fault.hint("look at it again: sandwatch approvals show")));
        }
        if entry.seat.is_none() {
            return Some(Err(Fault::failed("who asked is not there any more")));
        }
        Some(Ok(ask.clone()))
    }
}

impl Entry {
    fn ask(&self, id: &AskId) -> Option<&Ask> {
        self.sandbox.asks.iter().find(|it| it.asked.id == *id)
    }
}

/// What rules decide without a person.
pub(super) fn by_rule<'a>(
    judged: &rules::Outcome,
    ask: &Ask,
    now: Timestamp,
) -> Option<(Decision, By<'a>)> {
    let names: Vec<String> = judged.by.iter().map(|it| it.id.clone()).collect();
    let by = format!("policy: {}", names.join(", "));
    let (verdict, message) = match judged.ruling {
        Ruling::Deny => (Verdict::Deny, judged.by.first().map(|it| it.why.clone())),
        Ruling::Allow => (Verdict::Allow, None),
        Ruling::Ask => return None,
    };
    let answer = Answer { verdict, scope: Scope::Once, message };
    Some((Decision::new(answer, by, now, waited(ask, now)), By::Policy(names)))
}

/// An ask that is known, as it is told now: how many ask for it, and what else is known of those, is all that may change.
/// `None` = that is as it was.
fn renewed(known: &Asked, told: &Asked) -> Option<Asked> {
    let now = Asked { askers: told.askers, about: told.about.clone(), ..known.clone() };
    (now != *known).then_some(now)
}

fn waited(ask: &Ask, now: Timestamp) -> u64 {
    now.0.saturating_sub(ask.asked.created_at.0).max(0).cast_unsigned()
}

pub(super) fn row(ask: &Ask) -> AskRow {
    AskRow {
        id: ask.asked.id.to_string(),
        sandbox: ask.sandbox.to_string(),
        created_at: ask.asked.created_at.0,
        state: ask.state.word(),
        record: stored::ask_bytes(ask),
    }
}

/// Of all that is asked for, and by whom: each part with its length in front, so that no two requests are alike by
/// how they are put together. The agent's reason is no part of it: it changes nothing.
pub(super) fn digest(sandbox: &SandboxId, request: &Request) -> String {
    let mut hash = Sha256::new();
    let mut part = |it: &str| {
        hash.update((it.len() as u64).to_be_bytes());
        hash.update(it.as_bytes());
    };
    part(sandbox.as_str());
    part(request.kind.word());
    part(&request.subject);
    for (key, value) in &request.details {
        part(key);
        part(value);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ask::AskKind;

    #[test]
    fn what_one_more_asker_wants_is_taken_over_and_the_request_is_not() {
        let request = |subject: &str| Request {
            kind: AskKind::Network,
            subject: subject.to_owned(),
            details: Vec::new(),
            reason: None,
            agent: None,
        };
        let known = Asked {
            id: AskId::random(),
            request: request("a.example:80"),
            session: None,
            created_at: Timestamp(1),
            deadline_at: Timestamp(2),
            askers: 1,
            about: vec![("it says".to_owned(), "GET /one".to_owned())],
            editable: false,
        };
        assert_eq!(renewed(&known, &known), None);
        let mut told = Asked { askers: 2, request: request("b.example:80"), ..known.clone() };
        told.about.push(("also".to_owned(), "POST /two".to_owned()));
        let now = renewed(&known, &told).unwrap();
        assert_eq!((now.askers, &now.about, &now.request), (2, &told.about, &known.request));
        // No more of them, but another word.
        let told = Asked { askers: 1, ..told };
        assert_eq!(renewed(&known, &told).map(|it| it.about), Some(told.about));
    }
}
