//! What goes along with an answer, before it is given: a moment that is kept, other words, a rule. When one of them
//! fails nothing is answered, and the ask waits on.

use std::sync::Arc;

use super::{
    Inner,
    asks::by_rule,
    audit::words::{by_client, of_snapshot},
    fleet::Entry,
    rules::hash,
};
use crate::{
    base::{
        clock::wall,
        fault::{Fault, Outcome},
        id::{AskId, SandboxId, SnapshotId},
        limits::SNAPSHOT_FIRST_WITHIN,
    },
    model::{
        ask::{Ask, Besides, Choice, Made, Revoked, Scope, Verdict},
        audit::Action,
        event::Level,
        rule::KnownRule,
        snapshot::{SnapshotCause, SnapshotKind},
    },
    runtime::Identity,
    wire::stored,
};

impl Inner {
    /// Keeps the moment before something is allowed, if that is wanted. Nobody else's answer waits for it.
    pub(super) async fn kept_first(
        self: &Arc<Self>,
        who: &Identity,
        id: &AskId,
        digest: &str,
        choice: &Choice,
    ) -> Outcome<Option<SnapshotId>> {
        if !choice.snapshot {
            return Ok(None);
        }
        if choice.answer.verdict == Verdict::Deny {
            return Err(Fault::invalid("a snapshot is for what is allowed"));
        }
        let found = self.fleet().shown_ask(id, digest);
        let ask = match found {
            Some(ask) => ask?,
            None => return Err(self.why_not(id).await),
        };
        let (engine, who, id) = (Arc::clone(self), who.clone(), id.clone());
        // It is taken to its end and written down, whoever waits for it.
        let taking = Self::detached(async move {
            let taken = engine
                .snapshot(&ask.sandbox, None, SnapshotKind::Filesystem, SnapshotCause::Asked)
                .await?;
            let act = by_client(&who, Action::SnapshotTaken, taken.0.id.as_str());
            engine.record(of_snapshot(act, &taken.0).with("before_ask", id.as_str())).await;
            Ok(taken)
        });
        let taken = tokio::time::timeout(SNAPSHOT_FIRST_WITHIN, taking).await;
        let taken = taken.unwrap_or_else(|_| Err(Fault::late("it is not taken in time")));
        let (taken, _pin) =
            taken.map_err(|it| it.context("there is no snapshot, so nothing is allowed"))?;
        Ok(Some(taken.id))
    }

    /// Other words are looked through, and a rule is made.
    pub(super) async fn besides(
        self: &Arc<Self>,
        who: &Identity,
        ask: &Ask,
        choice: &Choice,
    ) -> Outcome<Besides> {
        let answer = &choice.answer;
        let mut besides = Besides::default();
        if choice.rule.is_some() && !answer.scope.is_rule() {
            return Err(Fault::invalid(
                "a rule is made only by an answer for always or for the project",
            ));
        }
        if let Some(edit) = &choice.edit {
            if answer.verdict == Verdict::Deny || answer.scope != Scope::Once {
                return Err(Fault::invalid("other words are allowed once, and never denied"));
            }
            let workspace = self.fleet().get(&ask.sandbox)?.sandbox.workspace.clone();
            self.edited(ask, edit, &workspace).await?;
            besides.edit = Some(edit.clone());
        }
        if answer.scope.is_rule() {
            let workspace = self.fleet().get(&ask.sandbox)?.sandbox.workspace.clone();
            let (entry, draft) = self.rule_of(ask, choice, &workspace).await?;
            if let Some(why) = draft.refused {
                return Err(Fault::invalid(format!("rule {} can't be made: {why}", draft.name.id))
                    .hint("nothing was answered"));
            }
            self.put_rules(who, &draft.name.domain, vec![entry]).await?;
            besides.rule = Some(Made { name: draft.name, sha256: Some(hash(&draft.text)) });
        }
        Ok(besides)
    }

    /// What waits and is known to rules that were just made is answered by those. Nobody waits for that.
    pub(super) fn answer_waiting(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            let waiting: Vec<(SandboxId, AskId)> = {
                let fleet = engine.fleet();
                let of = |it: &Entry| {
                    let id = it.sandbox.id.clone();
                    let asks = it.sandbox.asks.iter().map(|it| it.asked.id.clone());
                    asks.map(move |ask| (id.clone(), ask)).collect::<Vec<_>>()
                };
                fleet.entries().flat_map(of).collect()
            };
            for (sandbox, ask) in waiting {
                if let Err(fault) = engine.answer_by_rule(&sandbox, &ask).await {
                    tracing::debug!(%fault, "an ask that waits is left to people");
                }
            }
        });
    }

    async fn answer_by_rule(self: &Arc<Self>, id: &SandboxId, ask: &AskId) -> Outcome<()> {
        let answering = Arc::clone(&self.fleet().get(id)?.answering);
        let _first = answering.lock().await;
        let (ask, workspace) = {
            let fleet = self.fleet();
            let sandbox = &fleet.get(id)?.sandbox;
            let Some(ask) = sandbox.asks.iter().find(|it| it.asked.id == *ask) else {
                return Ok(());
            };
            (ask.clone(), sandbox.workspace.clone())
        };
        let now = wall();
        let (judged, _) = self.judged(&mut ask.clone(), &workspace, now).await;
        let Some((decision, by)) = by_rule(&judged, &ask, now) else { return Ok(()) };
        let (settled, kept) = self.settle_shown(id, ask, decision, &by).await;
        settled.and(kept.map(drop))
    }

    /// A rule that was made for an answer goes again when nothing came of the answer.
    pub(super) async fn or_no_rule(
        self: &Arc<Self>,
        who: &Identity,
        made: &Made,
        settled: Outcome<()>,
    ) -> Outcome<()> {
        if settled.is_err()
            && let Err(fault) = self.remove_made(who, made).await
        {
            let words =
                format!("rule {} stays, though nothing came of the answer: {fault}", made.name.id);
            self.fleet().notice(Level::Error, None, &words);
        }
        settled
    }

    /// Takes out a rule that was made, and no other one by its id.
    async fn remove_made(self: &Arc<Self>, who: &Identity, made: &Made) -> Outcome<KnownRule> {
        // With no hash none is known again.
        let sha256 = made.sha256.as_deref().unwrap_or_default();
        self.remove_rule(who, &made.name, Some(sha256)).await
    }

    /// Takes out the rule that was made of an answer; `None` when none was, or no more. Another rule by its id stays.
    pub(super) async fn revoke_rule(
        self: &Arc<Self>,
        who: &Identity,
        id: &AskId,
    ) -> Outcome<Option<Ask>> {
        let kept = self.store.ask(id.to_string()).await?;
        let ask = kept.and_then(|it| stored::ask(&it).ok());
        let decision = ask.and_then(|it| it.decision).filter(|it| it.revoked.is_none());
        let Some(made) = decision.and_then(|it| it.besides.rule) else { return Ok(None) };
        let gone = self.remove_made(who, &made).await?;
        let revoked = Revoked { by: who.name.clone(), at: wall() };
        let change = move |it: &mut crate::model::ask::Decision| {
            (it.uses, it.revoked) = (gone.hits, Some(revoked));
        };
        self.amend(id, change, Some(who)).await.map(Some)
    }
}
