//! Taking over from the hub before: every registered sandbox, and what lives without being
//! registered. Nothing is ever dropped in silence.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_stream::StreamExt;

use super::{
    Inner,
    audit::words::{about, by_hub},
    fleet::Entry,
    follow::{apply, fail},
    record, restore,
    shim_link::ShimLink,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{
            ADOPT_AGAIN_AFTER, ADOPT_AT_LEAST, ADOPT_WITHIN, ADOPTIONS_AT_ONCE, ANSWER_WITHIN,
            RECORD_BYTES_MAX,
        },
        units::exact_duration,
    },
    driver::{Ground, Hosting},
    model::{
        audit::Action,
        event::Level,
        sandbox::{Sandbox, SandboxSpec, State},
    },
    runtime::BoxStream,
    session::seat::{Seat, SeatEvent, SeatReport},
};

/// A shim that answered.
struct Adopted {
    seat: Arc<dyn Seat>,
    report: SeatReport,
    events: BoxStream<SeatEvent>,
}

impl Inner {
    /// Takes over everything there is; returns when each shim has answered or its time is over.
    pub(super) async fn adopt_all(self: &Arc<Self>) -> Outcome<()> {
        let mut known = HashSet::new();
        let turns = Arc::new(Semaphore::new(ADOPTIONS_AT_ONCE));
        let mut all = JoinSet::new();
        let mut entries = Vec::new();
        for kept in self.store.load().await? {
            match record::read(&kept) {
                Ok((sandbox, spec)) => {
                    known.insert(kept.id.clone());
                    entries.push((sandbox, spec, kept.version, kept.removing));
                }
                Err(fault) => {
                    let words = format!("the registry's entry {} can't be read: {fault}", kept.id);
                    self.fleet().notice(Level::Error, None, &words);
                    // Its name is free again, for the sandbox itself if its directory tells of it.
                    if let Err(fault) = self.store.delete(kept.id.clone()).await {
                        tracing::warn!(%fault, id = kept.id, "an unreadable entry stays");
                    }
                }
            }
        }
        for (mut sandbox, spec) in self.unregistered(&known).await {
            // The file is from its creation: what became of it since, its shim says, or nobody.
            sandbox.state = State::Unknown;
            let words = format!("{} was not in the registry and is again", sandbox.name);
            self.fleet().notice(Level::Warning, Some(sandbox.id.clone()), &words);
            let entry = Entry::new(sandbox.clone(), spec.clone());
            if let Err(fault) = self.store.insert(record::row(&entry)).await {
                let words = format!("{} can't be registered: {fault}", sandbox.name);
                self.fleet().notice(Level::Error, Some(sandbox.id.clone()), &words);
            }
            entries.push((sandbox, spec, 0, false));
        }
        let began = clock::monotonic();
        for (sandbox, spec, version, removing) in entries {
            let (engine, turns) = (self.clone(), turns.clone());
            all.spawn(async move {
                let _turn = turns.acquire_owned().await;
                let within = patience(clock::monotonic().saturating_sub(began));
                engine.take_over(sandbox, spec, version, removing, within).await;
            });
        }
        while let Some(done) = all.join_next().await {
            if let Err(error) = done {
                let words = format!("taking over a sandbox ended unexpectedly: {error}");
                self.fleet().notice(Level::Error, None, &words);
            }
        }
        Ok(())
    }

    /// Takes over one sandbox: its living shim, or what is known of it.
    async fn take_over(
        self: &Arc<Self>,
        sandbox: Sandbox,
        spec: SandboxSpec,
        version: i64,
        removing: bool,
        within: Duration,
    ) {
        let (id, name, was) = (sandbox.id.clone(), sandbox.name.clone(), sandbox.state);
        let hosting = self.drivers.get(&sandbox.driver).map(|it| it.hosting());
        let ground = self.ground(&id, &name);
        let adopted = match &hosting {
            Ok(Hosting::Shim) => adopt(&ground, within).await,
            Ok(Hosting::Hub) => Err(Fault::lost("it ended with the hub that held it")),
            Ok(Hosting::Elsewhere) => return self.await_roster(sandbox, spec, version),
            Err(fault) => Err(fault.clone()),
        };
        // No answer is no death: one that is stopped or overwhelmed keeps its sandbox alive.
        let silent = adopted.is_err()
            && matches!(hosting, Ok(Hosting::Shim))
            && !matches!(was, State::Failed | State::Gone)
            && !ShimLink::is_dead(&ground).await;
        let began = State::Creating == was;
        let mut entry = Entry::new(sandbox, spec);
        entry.sandbox_mut().snapshots = self.shelves().count(&id);
        entry.snapshot_at = self.last_by_time(&id);
        entry.version = version;
        let restoring = restore::cut_short(entry.sandbox_mut());
        let finish = removing || (began && !silent && !had_session(&adopted));
        let (mut events, mut died) = (None, false);
        match adopted {
            Ok(it) => {
                entry.seat = Some(it.seat);
                keep_leases(&it.report, entry.sandbox_mut());
                let heard = (it.report.asks.clone(), it.report.tells);
                apply(entry.sandbox_mut(), it.report);
                events = Some((it.events, heard));
            }
            Err(fault) if silent => {
                entry.unheard = true;
                let sandbox = entry.sandbox_mut();
                sandbox.state = State::Unknown;
                sandbox.notes.push(fault.to_string());
            }
            Err(fault) if !matches!(was, State::Failed | State::Gone) => {
                died = was != State::Stopped;
                note_death(entry.sandbox_mut(), &fault);
            }
            Err(_) => {}
        }
        let added = self.fleet().add(entry);
        if let Err(fault) = added {
            let words = format!("{name} can't be taken over: {fault}");
            self.fleet().notice(Level::Error, Some(id), &words);
            return;
        }
        if finish {
            self.finish_removal(&id, &name).await;
            return;
        }
        if died {
            self.tell_death(&id, &name).await;
        }
        self.touch(&id);
        self.persist_or_notice(&id).await;
        match events {
            Some((events, heard)) => {
                self.take_waiting(&id, heard).await;
                self.follow(id.clone(), events);
                self.catch_up(&id);
                if restoring {
                    self.begin_at_last(&id);
                }
            }
            None if silent => self.look_again(id, ground, began),
            None => {}
        }
    }

    /// Tells everybody and ends what may be left running.
    async fn tell_death(&self, id: &SandboxId, name: &str) {
        let why = self.fleet().get(id).ok().and_then(|it| it.sandbox.notes.last().cloned());
        let words = format!("{name} failed: {}", why.unwrap_or_default());
        self.fleet().notice(Level::Error, Some(id.clone()), &words);
        self.reap(id, name).await;
    }

    /// Asks a shim that lives but does not answer, until it does, it dies or its sandbox is removed. `began`
    /// is one whose making was not noted to its end.
    pub(super) fn look_again(self: &Arc<Self>, id: SandboxId, ground: Ground, began: bool) {
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(ADOPT_AGAIN_AFTER).await;
                let Some(engine) = weak.upgrade() else { return };
                let entry =
                    engine.fleet().get(&id).map(|it| (it.verbs.clone(), it.changed.subscribe()));
                let Ok((verbs, mut changed)) = entry else { return };
                drop(engine);
                tokio::select! {
                    () = ShimLink::heard(&ground) => {}
                    // Its sandbox is removed, or the engine ends.
                    () = async { while changed.changed().await.is_ok() {} } => return,
                }
                let Some(engine) = weak.upgrade() else { return };
                let _held = verbs.lock().await;
                if engine.fleet().get(&id).is_err() || engine.found(&id, &ground, began).await {
                    return;
                }
            }
        });
    }

    /// One try; `true` when it is known what became of the shim.
    async fn found(self: &Arc<Self>, id: &SandboxId, ground: &Ground, began: bool) -> bool {
        let events = match adopt(ground, ADOPT_WITHIN).await {
            Ok(it) => {
                if began && it.report.sessions.is_empty() {
                    // The hub that was making it is no more.
                    let (engine, id, name) = (self.clone(), id.clone(), ground.name.clone());
                    tokio::spawn(async move { engine.finish_removal(&id, &name).await });
                }
                let heard = (it.report.asks.clone(), it.report.tells);
                if let Ok(entry) = self.fleet().get_mut(id) {
                    entry.seat = Some(it.seat);
                    apply(entry.sandbox_mut(), it.report);
                }
                self.take_waiting(id, heard).await;
                let words = format!("{} answers again", ground.name);
                self.fleet().notice(Level::Info, Some(id.clone()), &words);
                Some(it.events)
            }
            Err(fault) if ShimLink::is_dead(ground).await => {
                if let Ok(entry) = self.fleet().get_mut(id) {
                    entry.seat = None;
                    fail(entry.sandbox_mut(), &fault.to_string());
                }
                self.tell_death(id, &ground.name).await;
                None
            }
            Err(_) => return false,
        };
        self.touch(id);
        self.persist_or_notice(id).await;
        if let Some(events) = events {
            self.follow(id.clone(), events);
            self.catch_up(id);
        }
        true
    }

    /// A removal or a creation that the hub before did not finish is undone to its end.
    async fn finish_removal(self: &Arc<Self>, id: &SandboxId, name: &str) {
        let (level, words) = match self.remove(id).await {
            Ok(()) => {
                let why = "a hub before had left it half made or half removed";
                let act = by_hub(Action::SandboxRemoved, name, why);
                self.record(about(act, id, name)).await;
                (Level::Info, format!("{name}, left half made or half removed, is removed"))
            }
            Err(fault) => (Level::Error, fault.to_string()),
        };
        self.fleet().notice(level, Some(id.clone()), &words);
    }

    /// Sandboxes that have a directory but no entry in the registry.
    async fn unregistered(&self, known: &HashSet<String>) -> Vec<(Sandbox, SandboxSpec)> {
        let mut found = Vec::new();
        let path = self.paths.sandboxes();
        let tell = |error: &std::io::Error| {
            let what =
                format_args!("looking for sandboxes that are not registered: {}", path.display());
            let words = Fault::io(what, error).to_string();
            self.fleet().notice(Level::Error, None, &words);
        };
        let mut dirs = match tokio::fs::read_dir(&path).await {
            Ok(dirs) => dirs,
            Err(error) => {
                tell(&error);
                return found;
            }
        };
        loop {
            let dir = match dirs.next_entry().await {
                Ok(Some(dir)) => dir,
                Ok(None) => break,
                Err(error) => {
                    tell(&error);
                    break;
                }
            };
            let name = dir.file_name();
            let Some(id) = name.to_str().filter(|it| !known.contains(*it)) else { continue };
            let Some(id) = SandboxId::parse(id) else { continue };
            match read_record(&self.paths.sandbox_record(&id)).await {
                Ok((sandbox, spec)) if sandbox.id == id => found.push((sandbox, spec)),
                Ok(_) => self.tell_foreign(&dir.path(), "it describes another sandbox"),
                Err(fault) => self.tell_foreign(&dir.path(), fault.message()),
            }
        }
        found
    }

    fn tell_foreign(&self, dir: &Path, why: &str) {
        let words = format!("left alone, not a sandbox that can be read: {}: {why}", dir.display());
        self.fleet().notice(Level::Warning, None, &words);
    }
}

fn had_session(adopted: &Outcome<Adopted>) -> bool {
    adopted.as_ref().is_ok_and(|it| !it.report.sessions.is_empty())
}

/// Who may type is what the seat remembers from the hub before.
fn keep_leases(report: &SeatReport, sandbox: &mut Sandbox) {
    sandbox.sessions.clone_from(&report.sessions);
}

fn note_death(sandbox: &mut Sandbox, fault: &Fault) {
    let reason = fault.to_string();
    if sandbox.state == State::Stopped {
        // Nothing ran in it any more: its files and recordings are what they were.
        super::fleet::end_sessions(sandbox, &reason, clock::wall());
        return;
    }
    fail(sandbox, &reason);
}

/// How long one shim may take, so long after the first was asked: whoever started this hub waits for it, and those
/// that do not answer at once are asked again later.
fn patience(since: Duration) -> Duration {
    ADOPT_WITHIN.saturating_sub(since).max(ADOPT_AT_LEAST)
}

/// Connects to a shim and takes its first report.
async fn adopt(ground: &Ground, within: Duration) -> Outcome<Adopted> {
    let answered = tokio::time::timeout(within, async {
        let seat: Arc<dyn Seat> = ShimLink::adopt(ground).await?.into();
        let mut events = seat.events().await?;
        let report = first_report(&mut events).await?;
        Ok(Adopted { seat, report, events })
    });
    answered.await.unwrap_or_else(|_| {
        Err(Fault::late(format!("its shim did not answer within {}", exact_duration(within))))
    })
}

/// What a seat says first, always: how things stand.
pub(super) async fn first_report(events: &mut BoxStream<SeatEvent>) -> Outcome<SeatReport> {
    match tokio::time::timeout(ANSWER_WITHIN, events.next()).await {
        Ok(Some(SeatEvent::Report(report))) => Ok(*report),
        Ok(Some(SeatEvent::Gone { reason })) => Err(Fault::lost(reason)),
        Ok(Some(SeatEvent::Lost { fault })) => Err(fault),
        Ok(_) => Err(Fault::lost("its shim hung up")),
        Err(_) => Err(Fault::late("its shim does not say how things stand")),
    }
}

async fn read_record(path: &Path) -> Outcome<(Sandbox, SandboxSpec)> {
    let fault = |error| Fault::io(format_args!("reading {}", path.display()), &error);
    let size = tokio::fs::metadata(path).await.map_err(fault)?.len();
    if size > RECORD_BYTES_MAX {
        return Err(Fault::failed(format!("{} is too large", path.display())));
    }
    record::read_file(&tokio::fs::read(path).await.map_err(fault)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::HUB_START_WITHIN;

    #[test]
    fn a_hub_is_up_in_time_however_many_shims_hang() {
        const HUNG: usize = 500;
        let mut spent = Duration::ZERO;
        for _ in 0..HUNG.div_ceil(ADOPTIONS_AT_ONCE) {
            spent += patience(spent);
        }
        assert!(spent < HUB_START_WITHIN, "{spent:?}");
        assert_eq!(patience(Duration::ZERO), ADOPT_WITHIN);
    }
}
