//! What is decided at the way out of a sandbox without a person, taken over into the audit record and the counts of rules:
//! each part once, whichever side dies meanwhile.

use std::sync::Arc;

use rusqlite::{OptionalExtension, TransactionBehavior, params};

use super::{
    Inner,
    audit::{table as audit, words},
    hits::{self, Answered},
    store::Store,
};
use crate::{
    base::{
        clock,
        fault::{Kind, Outcome},
        id::SandboxId,
        limits::RULED_AT_LAST_WITHIN,
    },
    model::{
        ask::{Asked, Verdict},
        audit::Act,
        event::Level,
        traffic::RuledPart,
    },
};

pub(super) const TABLE: &str = "
    -- Up to which number of which gate what was decided there is in the audit record.
    CREATE TABLE ruled (
        sandbox TEXT PRIMARY KEY REFERENCES sandbox (id) ON DELETE CASCADE,
        gate INTEGER NOT NULL,
        number INTEGER NOT NULL
    ) STRICT;
";

/// Parts that are taken over before somebody waits who wants a sandbox gone: all that one gate knows at once.
const PARTS_AT_LAST: usize = 16;

impl Inner {
    /// Takes over what waits in a seat: asks, and whether it tells what was decided at its way out.
    pub(super) async fn take_waiting(
        self: &Arc<Self>,
        id: &SandboxId,
        (asks, tells): (Vec<Asked>, bool),
    ) {
        self.take_asks(id, asks).await;
        if tells {
            self.take_ruled(id);
        }
    }

    /// Takes over what a seat has to tell, beside whoever calls.
    fn take_ruled(self: &Arc<Self>, id: &SandboxId) {
        match self.fleet().get_mut(id) {
            Ok(entry) if !entry.tells => entry.tells = true,
            // Whoever waits already will take this over too.
            _ => return,
        }
        let (engine, id) = (Arc::clone(self), id.clone());
        tokio::spawn(async move {
            match engine.gather_ruled(&id, false, usize::MAX).await {
                Err(fault) if fault.kind() != Kind::Absent => {
                    let words = format!("what went out of it is not in the audit record: {fault}");
                    engine.fleet().notice(Level::Error, Some(id), &words);
                }
                _ => {}
            }
        });
    }

    /// The same for a sandbox that is about to go, with all that would be told later. Nothing hangs on it.
    pub(super) async fn take_ruled_at_last(&self, id: &SandboxId) {
        let gathered = self.gather_ruled(id, true, PARTS_AT_LAST);
        match tokio::time::timeout(RULED_AT_LAST_WITHIN, gathered).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::debug!(%fault, "what went out of a sandbox that goes"),
            Err(_) => tracing::debug!("what went out of a sandbox that goes is not told in time"),
        }
    }

    async fn gather_ruled(&self, id: &SandboxId, all: bool, parts: usize) -> Outcome<()> {
        let turn = Arc::clone(&self.fleet().get(id)?.telling);
        let _turn = turn.lock().await;
        let seat = {
            let mut fleet = self.fleet();
            let entry = fleet.get_mut(id)?;
            entry.tells = false;
            entry.seat()?
        };
        let mut have = self.store.ruled_up_to(id).await?;
        for _ in 0..parts {
            let told = seat.ruled(have, all).await?;
            if told.ruled.is_empty() {
                break;
            }
            have = (told.gate, told.number);
            let (acts, answered) = self.of_ruled(id, &told)?;
            self.store.keep_ruled(id, have, acts, answered).await?;
        }
        Ok(())
    }

    /// What the record is to say of it, as far as there is room for the sandbox, and what is counted of rules.
    fn of_ruled(&self, id: &SandboxId, told: &RuledPart) -> Outcome<(Vec<Act>, Vec<Answered>)> {
        let answered = told.ruled.iter().filter(|it| !it.rules.is_empty());
        let answered =
            answered.filter_map(|it| self.answered(id, &it.rules, it.last_at, it.count)).collect();
        let mut fleet = self.fleet();
        let entry = fleet.get_mut(id)?;
        let (name, now) = (entry.sandbox.name.clone(), clock::monotonic());
        entry.allowed_noted.miss(told.left_out.0);
        entry.denied_noted.miss(told.left_out.1);
        let acts = told.ruled.iter().filter_map(|it| {
            let before = match it.verdict {
                Verdict::Allow => entry.allowed_noted.take(now)?,
                Verdict::Deny => entry.denied_noted.take(now)?,
            };
            let act = words::ruled(id, &name, it);
            Some(act.with_any("left_out_before", Some(before).filter(|it| *it > 0)))
        });
        Ok((acts.collect(), answered))
    }
}

impl Store {
    /// What is kept of a sandbox's gate: its name, and the number of the last part.
    async fn ruled_up_to(&self, id: &SandboxId) -> Outcome<(u64, u64)> {
        let id = id.to_string();
        self.run("reading what went out", move |connection| {
            let read = "SELECT gate, number FROM ruled WHERE sandbox = ?1";
            let number = |it: i64| it.cast_unsigned();
            let row = connection
                .prepare_cached(read)?
                .query_row([id], |row| Ok((number(row.get(0)?), number(row.get(1)?))));
            Ok(row.optional()?.unwrap_or_default())
        })
        .await
    }

    /// All of it or nothing.
    async fn keep_ruled(
        &self,
        id: &SandboxId,
        (gate, number): (u64, u64),
        acts: Vec<Act>,
        answered: Vec<Answered>,
    ) -> Outcome<()> {
        let id = id.to_string();
        self.run("keeping what went out", move |connection| {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let put = "INSERT INTO ruled (sandbox, gate, number) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (sandbox) DO UPDATE SET gate = ?2, number = ?3";
            change.execute(put, params![id, gate.cast_signed(), number.cast_signed()])?;
            acts.into_iter().try_for_each(|it| audit::append(&change, it))?;
            answered.iter().try_for_each(|it| hits::count(&change, it))?;
            change.commit()
        })
        .await
    }
}
