//! What is decided at the way out of a sandbox without a person, taken over into the audit record and the counts of rules:
//! each part once, whichever side dies meanwhile.

use std::sync::Arc;

use rusqlite::{OptionalExtension, TransactionBehavior, params};

use super::{
    Inner,
    audit::{budget::Budget, table as audit, words},
    hits::{self, Answered},
    store::Store,
};
use crate::{
    base::{
        clock,
        fault::{Kind, Outcome},
        id::SandboxId,
        limits::{GATE_NOTED_MAX, GATE_TOLD_MAX, RULED_AT_LAST_WITHIN},
    },
    model::{
        ask::{Asked, Verdict},
        audit::Act,
        event::Level,
        traffic::{RuledKept, RuledPart},
    },
    wire::kept,
};

pub(super) const TABLE: &str = "
    -- Up to which number of which gate what was decided there is in the audit record.
    CREATE TABLE ruled (
        sandbox TEXT PRIMARY KEY REFERENCES sandbox (id) ON DELETE CASCADE,
        gate INTEGER NOT NULL,
        number INTEGER NOT NULL
    ) STRICT;
";

/// Parts that are taken over at once: all that one gate knows.
const PARTS_MAX: usize = 2 * GATE_NOTED_MAX / GATE_TOLD_MAX;

/// What the record is to say of a part, what is counted of rules, and what is left of the sandbox's room then, for what got
/// out and for what did not.
type Part = (Vec<Act>, Vec<Answered>, (Budget, Budget));

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

    /// Takes over what a seat has to tell, beside whoever calls, and not all the time.
    fn take_ruled(self: &Arc<Self>, id: &SandboxId) {
        let pause = match self.fleet().get_mut(id) {
            Ok(entry) if !entry.tells => {
                entry.tells = true;
                entry.telling_pause(clock::monotonic())
            }
            // Whoever waits already will take this over too.
            _ => return,
        };
        let (engine, id) = (Arc::downgrade(self), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let Some(engine) = engine.upgrade() else { return };
            let gathered = engine.gather_ruled(&id, false).await;
            let fault = gathered.err().filter(|it| it.kind() != Kind::Absent);
            let words =
                fault.map(|it| format!("what went out of it is not in the audit record yet: {it}"));
            let mut fleet = engine.fleet();
            // It is tried again about once a second.
            let news = fleet.get_mut(&id).ok().and_then(|it| it.untold(words));
            if let Some(words) = news {
                fleet.notice(Level::Error, Some(id), &words);
            }
        });
    }

    /// The same for a sandbox that is about to go, with all that would be told later. Nothing hangs on it.
    pub(super) async fn take_ruled_at_last(&self, id: &SandboxId) {
        let gathered = self.gather_ruled(id, true);
        match tokio::time::timeout(RULED_AT_LAST_WITHIN, gathered).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::debug!(%fault, "what went out of a sandbox that goes"),
            Err(_) => tracing::debug!("what went out of a sandbox that goes is not told in time"),
        }
    }

    /// The same of one whose shim is dead, as far as it has left it where it is found.
    pub(super) async fn take_ruled_left(&self, id: &SandboxId, name: &str) {
        let dir = self.ground(id, name).dir;
        let Ok(Some(kept)) = tokio::task::spawn_blocking(move || kept::read(&dir)).await else {
            return;
        };
        if let Err(fault) = self.gather_left(id, kept).await {
            let words =
                format!("what went out of {name} at last is not in the audit record: {fault}");
            self.fleet().notice(Level::Error, Some(id.clone()), &words);
        }
    }

    async fn gather_left(&self, id: &SandboxId, kept: RuledKept) -> Outcome<()> {
        let turn = Arc::clone(&self.fleet().get(id)?.telling);
        let _turn = turn.lock().await;
        let have = self.store.ruled_up_to(id).await?;
        let Some(new) = kept.new_to(have) else { return Ok(()) };
        let (acts, answered, left) = self.of_ruled(id, &new)?;
        self.store.keep_ruled(id, (new.gate, new.number), acts, answered).await?;
        if let Ok(entry) = self.fleet().get_mut(id) {
            (entry.allowed_noted, entry.denied_noted) = left;
        }
        Ok(())
    }

    async fn gather_ruled(&self, id: &SandboxId, all: bool) -> Outcome<()> {
        let turn = Arc::clone(&self.fleet().get(id)?.telling);
        let _turn = turn.lock().await;
        let seat = {
            let mut fleet = self.fleet();
            let entry = fleet.get_mut(id)?;
            entry.tells = false;
            entry.told_at = Some(clock::monotonic());
            entry.seat()?
        };
        let mut have = self.store.ruled_up_to(id).await?;
        for _ in 0..PARTS_MAX {
            let told = seat.ruled(have, all).await?;
            if told.ruled.is_empty() {
                break;
            }
            have = (told.gate, told.number);
            let (acts, answered, left) = self.of_ruled(id, &told)?;
            self.store.keep_ruled(id, have, acts, answered).await?;
            if let Ok(entry) = self.fleet().get_mut(id) {
                (entry.allowed_noted, entry.denied_noted) = left;
            }
            // The way out rings again until it knows that this arrived, and while it has more.
            if !all && told.ruled.len() < GATE_TOLD_MAX {
                break;
            }
        }
        Ok(())
    }

    /// What the record is to say of it, as far as there is room for the sandbox, and what is counted of rules. Nothing is
    /// taken of that room before the record says it.
    fn of_ruled(&self, id: &SandboxId, told: &RuledPart) -> Outcome<Part> {
        let answered = told.ruled.iter().filter(|it| !it.rules.is_empty());
        let answered =
            answered.filter_map(|it| self.answered(id, &it.rules, it.last_at, it.count)).collect();
        let (name, mut allowed, mut denied) = {
            let fleet = self.fleet();
            let entry = fleet.get(id)?;
            let room = (entry.allowed_noted.clone(), entry.denied_noted.clone());
            (entry.sandbox.name.clone(), room.0, room.1)
        };
        let now = clock::monotonic();
        allowed.miss(told.left_out.0);
        denied.miss(told.left_out.1);
        let acts = told.ruled.iter().filter_map(|it| {
            let before = match it.verdict {
                Verdict::Allow => allowed.take(now)?,
                Verdict::Deny => denied.take(now)?,
            };
            let act = words::ruled(id, &name, it);
            Some(act.with_any("left_out_before", Some(before).filter(|it| *it > 0)))
        });
        Ok((acts.collect(), answered, (allowed, denied)))
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

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use async_trait::async_trait;
    use bytes::Bytes;
    use tokio_stream::StreamExt;

    use super::*;
    use crate::{
        base::{
            clock::Timestamp,
            fault::Fault,
            id::{AskId, SessionId},
            limits::GATE_TOLD_EVERY,
            units::Size,
        },
        engine::{Engine, demo},
        model::{
            ask::Answer,
            audit::{AuditRequest, Value},
            output::{Output, OutputRequest},
            session::{Lease, Session, SessionSpec},
            status::Explained,
            traffic::Ruled,
        },
        session::seat::{BoxStream, ExecOutput, Hold, Seat, SeatEvent},
    };

    /// A seat that tells of so many kinds in each of so many parts, and nothing else.
    struct Tells {
        kinds: usize,
        parts: u64,
        asked: AtomicUsize,
    }

    fn no<T>() -> Outcome<T> {
        Err(Fault::unsupported("it only tells"))
    }

    #[async_trait]
    impl Seat for Tells {
        async fn ruled(&self, (_, number): (u64, u64), _: bool) -> Outcome<RuledPart> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if number >= self.parts {
                return Ok(RuledPart { gate: 7, number, ..RuledPart::default() });
            }
            let one = |kind| Ruled {
                place: format!("x{number}.example:{kind}"),
                program: None,
                verdict: Verdict::Allow,
                standing: false,
                rules: vec!["yes".to_owned()],
                why: "rule yes: so".to_owned(),
                count: 2,
                first_at: Timestamp(1),
                last_at: Timestamp(2),
            };
            let ruled = (1..=self.kinds).map(one).collect();
            Ok(RuledPart { gate: 7, number: number + 1, ruled, left_out: (5, 0) })
        }
        async fn events(&self) -> Outcome<BoxStream<SeatEvent>> {
            no()
        }
        async fn open(&self, _: SessionId, _: SessionSpec) -> Outcome<Session> {
            no()
        }
        async fn exec(
            &self,
            _: SessionSpec,
            _: BoxStream<Bytes>,
        ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
            no()
        }
        async fn output(
            &self,
            _: &SessionId,
            _: OutputRequest,
        ) -> Outcome<BoxStream<Outcome<Output>>> {
            no()
        }
        async fn input(&self, _: &SessionId, _: Bytes) -> Outcome<()> {
            no()
        }
        async fn resize(&self, _: &SessionId, _: Size) -> Outcome<()> {
            no()
        }
        async fn set_lease(&self, _: &SessionId, _: Option<Lease>) -> Outcome<()> {
            no()
        }
        async fn explain(&self, _: &SessionId) -> Outcome<Explained> {
            no()
        }
        async fn answer(&self, _: &AskId, _: Answer, _: Option<String>) -> Outcome<()> {
            no()
        }
        async fn pause(&self) -> Outcome<()> {
            no()
        }
        async fn resume(&self) -> Outcome<()> {
            no()
        }
        async fn hold(&self, _memory: bool) -> Outcome<Hold> {
            no()
        }
        async fn stop(&self, _: Duration) -> Outcome<()> {
            no()
        }
        async fn vacate(&self) -> Outcome<()> {
            no()
        }
        async fn remove(&self) -> Outcome<()> {
            no()
        }
    }

    /// An engine with one sandbox, whose seat this is.
    async fn told_by(
        kinds: usize,
        parts: u64,
    ) -> (tempfile::TempDir, Engine, SandboxId, Arc<Tells>) {
        let home = tempfile::tempdir().unwrap();
        let engine = demo(home.path().to_owned(), 1).await.unwrap();
        let seat = Arc::new(Tells { kinds, parts, asked: AtomicUsize::new(0) });
        let id = {
            let mut fleet = engine.inner.fleet();
            let entry = fleet.entries_mut().next().unwrap();
            entry.seat = Some(Arc::clone(&seat) as Arc<dyn Seat>);
            entry.sandbox.id.clone()
        };
        let (row, put) = (id.to_string(), "INSERT OR IGNORE INTO sandbox VALUES");
        let put = format!("{put} (?1, 'x', 'fake', 'running', 1, 1, 0, x'', x'')");
        let known = move |it: &mut rusqlite::Connection| it.execute(&put, [row]).map(drop);
        engine.inner.store.run("making a row", known).await.unwrap();
        (home, engine, id, seat)
    }

    async fn of_egress(engine: &Engine) -> Vec<Act> {
        let mut pages = engine.inner.audit(AuditRequest::default()).await.unwrap();
        let mut acts = Vec::new();
        while let Some(page) = pages.next().await {
            acts.extend(page.unwrap().into_iter().map(|it| it.act));
        }
        acts.retain(|it: &Act| it.action.starts_with("egress."));
        acts
    }

    #[tokio::test]
    async fn a_registry_that_takes_nothing_for_a_while_costs_no_entry_and_counts_nothing_twice() {
        let (_home, engine, id, _) = told_by(3, 1).await;
        let read_only = |on: bool| {
            let set = move |it: &mut rusqlite::Connection| it.pragma_update(None, "query_only", on);
            engine.inner.store.run("closing it", set)
        };
        read_only(true).await.unwrap();
        // Each of which would take three of 256 places.
        for _ in 0..100 {
            assert!(engine.inner.gather_ruled(&id, false).await.is_err());
        }
        read_only(false).await.unwrap();
        engine.inner.gather_ruled(&id, false).await.unwrap();
        let acts = of_egress(&engine).await;
        let places: Vec<&str> = acts.iter().map(|it| it.subject.as_str()).collect();
        assert_eq!(places, ["x0.example:1", "x0.example:2", "x0.example:3"]);
        let before: Vec<_> = acts.iter().map(|it| it.details.get("left_out_before")).collect();
        assert_eq!(before, [Some(&Value::Number(5)), None, None]);
        let hits = engine.inner.store.rule_hits().await.unwrap();
        assert_eq!(hits.iter().map(|it| it.hits).sum::<u64>(), 6);
        // What was taken over is spent; one more may have come in meanwhile.
        let mut left = engine.inner.fleet().get(&id).unwrap().allowed_noted.clone();
        let now = clock::monotonic();
        let left = (0..300).filter(|_| left.take(now).is_some()).count();
        assert!((253..256).contains(&left), "{left}");
    }

    #[tokio::test]
    async fn a_program_that_makes_more_and_more_kinds_is_not_asked_without_end() {
        // All that there is at once, but not what comes meanwhile.
        let (_home, engine, id, seat) = told_by(GATE_TOLD_MAX - 1, u64::MAX).await;
        engine.inner.gather_ruled(&id, false).await.unwrap();
        assert_eq!(seat.asked.load(Ordering::Relaxed), 1);
        let (_home, engine, id, seat) = told_by(GATE_TOLD_MAX, u64::MAX).await;
        engine.inner.gather_ruled(&id, false).await.unwrap();
        assert_eq!(seat.asked.load(Ordering::Relaxed), PARTS_MAX);
        // Whoever is rung for meanwhile waits a while.
        let mut fleet = engine.inner.fleet();
        let entry = fleet.get_mut(&id).unwrap();
        let at = entry.told_at.unwrap();
        assert_eq!(entry.telling_pause(at), GATE_TOLD_EVERY);
        assert_eq!(entry.telling_pause(at + GATE_TOLD_EVERY), Duration::ZERO);
    }

    #[tokio::test]
    async fn all_of_it_is_taken_over_from_a_sandbox_that_goes() {
        let (_home, engine, id, seat) = told_by(3, 5).await;
        engine.inner.take_ruled_at_last(&id).await;
        assert_eq!(seat.asked.load(Ordering::Relaxed), 6);
        assert_eq!(of_egress(&engine).await.len(), 15);
    }

    #[tokio::test]
    async fn why_it_is_not_taken_over_is_said_once_until_it_changes() {
        let (_home, engine, id, _) = told_by(1, 1).await;
        let mut fleet = engine.inner.fleet();
        let entry = fleet.get_mut(&id).unwrap();
        let mut said = |words: Option<&str>| entry.untold(words.map(str::to_owned)).is_some();
        let all = [Some("full"), Some("full"), Some("read-only"), None, Some("read-only")];
        assert_eq!(all.map(&mut said), [true, false, true, false, true]);
    }
}
