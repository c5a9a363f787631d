//! `approvals watch`: a line for each ask that begins to wait, and for each that ends.

use std::collections::{HashMap, HashSet};

use tokio_stream::StreamExt;

use super::{approvals::SUBJECT_SHOWN, args::WatchAsksArgs, json::AskView, out};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::Outcome,
        id::{AskId, SandboxId},
        limits::{ASKS_KEPT, ASKS_WANTED_MAX},
        text,
    },
    model::{
        ask::Ask,
        event::{Event, SnapshotReason},
    },
    runtime::{AsksWanted, Runtime},
};

/// How often it is looked for what became of one that waits no more: the hub may not have written it down yet.
const LOOKS_MAX: u8 = 16;

/// What was told, and what became of it is not.
#[derive(Default)]
struct Told {
    waiting: HashMap<SandboxId, HashSet<AskId>>,
    /// With how often it was looked for.
    over: HashMap<AskId, u8>,
}

impl Told {
    /// What waits in a sandbox now; those that are new.
    fn wait<'a>(&mut self, sandbox: &SandboxId, asks: &'a [Ask]) -> Vec<&'a Ask> {
        let here: HashSet<AskId> = asks.iter().map(|it| it.asked.id.clone()).collect();
        let before = self.waiting.remove(sandbox).unwrap_or_default();
        self.over.extend(before.difference(&here).map(|it| (it.clone(), 0)));
        let new = asks.iter().filter(|it| !before.contains(&it.asked.id)).collect();
        if !here.is_empty() {
            self.waiting.insert(sandbox.clone(), here);
        }
        new
    }

    fn knows(&self, id: &AskId) -> bool {
        self.over.contains_key(id) || self.waiting.values().any(|it| it.contains(id))
    }
}

/// Prints each ask when it begins to wait and when it waits no more.
pub async fn watch(runtime: &dyn Runtime, args: &WatchAsksArgs) -> Outcome<out::Code> {
    let mut events = runtime.events().await?;
    let mut known = Told::default();
    let mut heard_at = clock::wall();
    while let Some(event) = events.next().await {
        match event? {
            Event::Snapshot { reason, sandboxes, .. } => {
                let ids: HashSet<&SandboxId> = sandboxes.iter().map(|it| &it.id).collect();
                let gone: Vec<SandboxId> =
                    known.waiting.keys().filter(|it| !ids.contains(it)).cloned().collect();
                gone.iter().for_each(|it| drop(known.wait(it, &[])));
                for it in &sandboxes {
                    tell_all(known.wait(&it.id, &it.asks), args.json)?;
                }
                if reason != SnapshotReason::First {
                    missed(runtime, &known, heard_at, args.json).await?;
                }
            }
            Event::Changed { sandbox, .. } => {
                tell_all(known.wait(&sandbox.id, &sandbox.asks), args.json)?;
            }
            Event::Removed { id, .. } => drop(known.wait(&id, &[])),
            _ => {}
        }
        ended(runtime, &mut known, args.json).await?;
        heard_at = clock::wall();
    }
    Ok(out::DONE)
}

/// Tells what became of those that wait no more.
async fn ended(runtime: &dyn Runtime, known: &mut Told, json: bool) -> Outcome<()> {
    let ids: Vec<AskId> = known.over.keys().take(ASKS_WANTED_MAX).cloned().collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut found = runtime.asks(&AsksWanted::only(ids.iter().cloned())).await?;
    found.sort_by_key(|it| it.asked.created_at);
    for ask in found {
        if known.over.remove(&ask.asked.id).is_some() {
            told(&ask, json)?;
        }
    }
    for id in ids {
        if let Some(looks) = known.over.get_mut(&id) {
            *looks += 1;
            if *looks >= LOOKS_MAX {
                known.over.remove(&id);
            }
        }
    }
    Ok(())
}

/// Tells of those that began and ended while nothing was heard.
async fn missed(runtime: &dyn Runtime, known: &Told, since: Timestamp, json: bool) -> Outcome<()> {
    let all = runtime.asks(&AsksWanted::newest(ASKS_KEPT)).await?;
    tell_all(unheard(&all, known, since), json)
}

/// Oldest first, of those that are listed newest first.
fn unheard<'a>(all: &'a [Ask], known: &Told, since: Timestamp) -> Vec<&'a Ask> {
    let new = all.iter().rev().filter(|it| it.asked.created_at >= since);
    new.filter(|it| !known.knows(&it.asked.id)).collect()
}

fn tell_all(asks: Vec<&Ask>, json: bool) -> Outcome<()> {
    asks.into_iter().try_for_each(|it| told(it, json))
}

fn told(ask: &Ask, json: bool) -> Outcome<()> {
    if json {
        return out::json_line(&AskView::from(ask));
    }
    let request = &ask.asked.request;
    let subject = text::shown_part(&request.subject, SUBJECT_SHOWN);
    let by = ask.decision.as_ref().map(|it| format!(" by {}", it.by)).unwrap_or_default();
    let by = text::visible(&by);
    out::print(&format!(
        "{}  {:<9} {}  {} {subject}{by}\n",
        ask.asked.id,
        ask.state.word(),
        ask.sandbox_name,
        request.kind.word(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ask::{AskKind, AskState, Asked, Request, Risk, RiskLevel};

    fn ask(id: &str, sandbox: &str, at: i64) -> Ask {
        let subject = id.to_owned();
        let kind = AskKind::Exec;
        Ask {
            asked: Asked {
                id: AskId::parse(id).unwrap(),
                request: Request { kind, subject, details: Vec::new(), reason: None, agent: None },
                session: None,
                created_at: Timestamp(at),
                deadline_at: Timestamp(at + 1),
                askers: 1,
                about: Vec::new(),
                editable: false,
            },
            sandbox: SandboxId::parse(sandbox).unwrap(),
            sandbox_name: sandbox.to_owned(),
            digest: "0".repeat(64),
            risk: Risk { level: RiskLevel::Low, findings: Vec::new() },
            state: AskState::Pending,
            decision: None,
        }
    }

    #[test]
    fn a_change_of_one_sandbox_ends_nothing_of_another_and_a_gap_hides_nothing() {
        let (one, two) = (ask("one", "a", 1), ask("two", "b", 2));
        let mut told = Told::default();
        assert_eq!(told.wait(&one.sandbox, std::slice::from_ref(&one)).len(), 1);
        assert_eq!(told.wait(&two.sandbox, std::slice::from_ref(&two)).len(), 1);
        assert!(told.wait(&one.sandbox, std::slice::from_ref(&one)).is_empty());
        assert!(told.over.is_empty(), "nothing is looked for");
        told.wait(&two.sandbox, &[]);
        assert_eq!(told.over.keys().collect::<Vec<_>>(), [&two.asked.id]);
        // Newest first, as the hub lists them; what was told or is old is none of them.
        let all = [ask("five", "a", 9), ask("four", "a", 8), two, ask("old", "a", 1)];
        let new: Vec<_> = unheard(&all, &told, Timestamp(2)).into_iter().collect();
        assert_eq!(new, [&all[1], &all[0]]);
    }
}
