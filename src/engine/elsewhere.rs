//! Sandboxes that others made and keep: who asks those others tells which there are, and each of them is a sandbox here for as
//! long as it is one there. Nothing is made by that, and what is gone there is only struck off here.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError},
};

use tokio::{sync::oneshot, task::JoinSet, time::timeout};

use super::{
    Inner,
    adopt::first_report,
    audit::words::{about, by_hub},
    fleet::{Entry, end_sessions},
    follow::apply,
    record,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{GATEWAY_FIRST_WITHIN, GATEWAY_STRUCK_WITHIN, NAME_BYTES_MAX},
        text,
    },
    driver::{Enlisted, Place, Roster},
    model::{
        audit::Action,
        capability::Capabilities,
        event::Level,
        sandbox::{Egress, Sandbox, SandboxSpec, State, Workspace, WorkspaceMode, is_name},
        session::SessionSpec,
    },
    session::{house::House, seat::Seat},
};

/// What a sandbox is called whose own name has nothing in it that a name may have.
const NAMELESS: &str = "sandbox";
/// How often another name is tried where one is taken.
const NAMES_TRIED: u32 = 1000;

/// Begins to ask; it ends with the engine. Whoever started the hub finds what there is, where that is told soon.
pub(super) async fn start(engine: &Arc<Inner>) {
    for driver in engine.drivers.all() {
        let Some(roster) = driver.roster() else { continue };
        let (weak, name) = (Arc::downgrade(engine), driver.name());
        let (told, first) = oneshot::channel();
        let task = tokio::spawn(follow(weak, name, roster, told)).abort_handle();
        engine.rosters.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        drop(timeout(GATEWAY_FIRST_WITHIN, first).await);
    }
}

async fn follow(
    engine: std::sync::Weak<Inner>,
    driver: &'static str,
    mut roster: Box<dyn Roster>,
    first: oneshot::Sender<()>,
) {
    let (mut lost, mut first) = (false, Some(first));
    let mut not_shown = HashMap::new();
    loop {
        let told = roster.next().await;
        let Some(engine) = engine.upgrade() else { return };
        *engine.unlisted.lock().unwrap_or_else(PoisonError::into_inner) =
            told.as_ref().err().cloned();
        match told {
            Ok(all) => {
                if std::mem::take(&mut lost) {
                    engine.fleet().notice(Level::Info, None, "the gateway answers again");
                }
                if !engine.take_roster(driver, &all, &*roster, &mut not_shown).await {
                    roster.again();
                }
            }
            Err(fault) => {
                lost = true;
                let hint = fault.hint_text().map(|it| format!(" ({it})")).unwrap_or_default();
                engine.fleet().notice(Level::Warning, None, &format!("{fault}{hint}"));
            }
        }
        // The hub has long begun, if that took long.
        if let Some(first) = first.take() {
            let _nobody_waits = first.send(());
        }
    }
}

impl Inner {
    /// Why it can't be told which there are elsewhere; `None` = it can, or there is no such place.
    pub(super) fn unlisted(&self) -> Option<Fault> {
        self.unlisted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One that was here before, until it is told whether it is still there.
    pub(super) fn await_roster(
        self: &Arc<Self>,
        mut sandbox: Sandbox,
        spec: SandboxSpec,
        version: i64,
    ) {
        end_sessions(&mut sandbox, "the hub that watched it has ended", clock::wall());
        sandbox.state = State::Unknown;
        sandbox.raw_state = None;
        sandbox.notes = vec!["its gateway has not answered yet".to_owned()];
        let (id, name) = (sandbox.id.clone(), sandbox.name.clone());
        let mut entry = Entry::new(sandbox, spec);
        (entry.elsewhere, entry.version) = (true, version);
        let added = self.fleet().add(entry);
        if let Err(fault) = added {
            let words = format!("{name} can't be taken over: {fault}");
            self.fleet().notice(Level::Error, Some(id), &words);
        }
    }

    /// Brings what is here in line with what there is; `false` = not all of it could be taken up. `not_shown` is what was told of
    /// those.
    async fn take_roster(
        self: &Arc<Self>,
        driver: &'static str,
        all: &[Enlisted],
        roster: &dyn Roster,
        not_shown: &mut HashMap<SandboxId, String>,
    ) -> bool {
        let there: HashSet<&SandboxId> = all.iter().map(|it| &it.id).collect();
        let mut striking = JoinSet::new();
        for id in self.begin_to_strike(driver, &there) {
            let engine = Arc::clone(self);
            striking.spawn(async move { engine.strike_gone(&id).await });
        }
        // What is done to one of them just now may take its time to give way, and the others do not wait for that.
        drop(
            timeout(GATEWAY_STRUCK_WITHIN, async { while striking.join_next().await.is_some() {} })
                .await,
        );
        striking.detach_all();
        not_shown.retain(|id, _| there.contains(id));
        for one in all {
            let known = self.fleet().get(&one.id).map(|it| it.seat.is_some() || it.removing);
            // What leaves is not taken up, and what is here stays until it is gone.
            if known.unwrap_or(one.leaving) {
                not_shown.remove(&one.id);
                continue;
            }
            let Some(place) = roster.place(&one.id) else { continue };
            let taken = self.enlist(driver, one, place).await;
            let Err(fault) = taken else {
                not_shown.remove(&one.id);
                continue;
            };
            let words = format!("{} is not shown: {fault}", one.name);
            if not_shown.get(&one.id) != Some(&words) {
                self.fleet().notice(Level::Error, None, &words);
                not_shown.insert(one.id.clone(), words);
            }
        }
        not_shown.is_empty()
    }

    /// Those that are not there any more. Whoever does something to one of them is told to give way.
    fn begin_to_strike(&self, driver: &'static str, there: &HashSet<&SandboxId>) -> Vec<SandboxId> {
        let mut fleet = self.fleet();
        let ours = fleet.entries_mut().filter(|it| it.elsewhere && it.sandbox.driver == driver);
        let gone = ours.filter(|it| !it.struck && !there.contains(&it.sandbox.id));
        let begun = |entry: &mut Entry| {
            entry.struck = true;
            entry.leaving.send_replace(true);
            entry.sandbox.id.clone()
        };
        gone.map(begun).collect()
    }

    /// Takes up one that is there.
    async fn enlist(
        self: &Arc<Self>,
        driver: &'static str,
        one: &Enlisted,
        place: Arc<dyn Place>,
    ) -> Outcome<()> {
        if self.fleet().get(&one.id).is_err() {
            let spec = spec(driver, one);
            let row = {
                let mut fleet = self.fleet();
                let name = free_name(one, |it| fleet.has_name(it))?;
                let sandbox = sandbox(driver, one, name, &spec);
                let mut entry = Entry::new(sandbox, SandboxSpec { name: None, ..spec });
                entry.elsewhere = true;
                let row = record::row(&entry);
                fleet.add(entry)?;
                row
            };
            if let Err(fault) = self.store.insert(row).await {
                self.fleet().remove(&one.id);
                return Err(fault);
            }
        }
        let name = self.fleet().get(&one.id)?.sandbox.name.clone();
        let ground = self.ground(&one.id, &name);
        let house = House::new(ground, place, self.paths.recordings(), true);
        // Whoever looks first sees what runs in it.
        house.joined().await;
        let seat: Arc<dyn Seat> = Arc::new(house);
        let mut events = seat.events().await?;
        let report = first_report(&mut events).await?;
        let heard = (report.asks.clone(), report.tells);
        {
            let mut fleet = self.fleet();
            let entry = fleet.get_mut(&one.id)?;
            entry.seat = Some(seat);
            apply(entry.sandbox_mut(), report);
        }
        self.take_waiting(&one.id, heard).await;
        self.touch(&one.id);
        self.persist_or_notice(&one.id).await;
        self.follow(one.id.clone(), events);
        Ok(())
    }

    /// It is gone there, by whoever's hand; what was recorded of it stays.
    async fn strike_gone(self: &Arc<Self>, id: &SandboxId) {
        let Ok(verbs) = self.verbs(id) else { return };
        let _held = verbs.lock().await;
        let name = {
            let mut fleet = self.fleet();
            // Somebody here removed it meanwhile.
            let Ok(entry) = fleet.get_mut(id) else { return };
            entry.removing = true;
            entry.seat = None;
            entry.sandbox.name.clone()
        };
        self.take_asks(id, Vec::new()).await;
        if let Err(fault) = self.store.delete(id.to_string()).await {
            // The next hub finds out once more.
            tracing::warn!(%fault, name, "it stays in the registry");
        }
        self.fleet().remove(id);
        let act = by_hub(Action::SandboxRemoved, &name, "it is gone where it was kept");
        self.record(about(act, id, &name)).await;
        self.fleet().notice(Level::Info, None, &format!("{name} is gone where it was kept"));
    }
}

fn spec(driver: &'static str, one: &Enlisted) -> SandboxSpec {
    let workspace = Workspace { path: std::path::PathBuf::new(), mode: WorkspaceMode::None };
    let bare = SandboxSpec::bare(driver, workspace);
    SandboxSpec {
        image: one.image.clone(),
        egress: Egress::Allow,
        labels: one.labels.clone(),
        record: true,
        first: SessionSpec { command: one.command.clone(), ..bare.first },
        ..bare
    }
}

fn sandbox(driver: &'static str, one: &Enlisted, name: String, spec: &SandboxSpec) -> Sandbox {
    Sandbox {
        id: one.id.clone(),
        name,
        driver: driver.to_owned(),
        state: State::Unknown,
        raw_state: None,
        isolation: None,
        created_at: one.created_at,
        labels: spec.labels.clone(),
        workspace: spec.workspace.clone(),
        egress: spec.egress,
        limits: spec.limits,
        capabilities: Capabilities::default(),
        sessions: Vec::new(),
        asks: Vec::new(),
        notes: Vec::new(),
        stop_asked: false,
        snapshots: 0,
        moment: None,
        writes: 0,
    }
}

/// Its own name as a name may be here; where that is taken, with what sets it apart, and with a number at last.
fn free_name(one: &Enlisted, taken: impl Fn(&str) -> bool) -> Outcome<String> {
    let plain = |text: &str| -> String {
        let plain =
            |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' };
        text.chars().map(plain).collect::<String>().trim_matches('-').to_owned()
    };
    let own = match plain(&one.name) {
        it if it.is_empty() => NAMELESS.to_owned(),
        it => it,
    };
    let fitted = |end: &str| {
        let room = NAME_BYTES_MAX.saturating_sub(end.len());
        format!("{}{end}", text::cut(&own, room))
    };
    let beside = plain(&one.beside);
    let beside = (!beside.is_empty()).then(|| fitted(&format!("-{}", text::cut(&beside, 16))));
    let numbered = (2..NAMES_TRIED).map(|it| fitted(&format!("-{it}")));
    let mut all = std::iter::once(fitted("")).chain(beside).chain(numbered);
    all.find(|it| is_name(it) && !taken(it))
        .ok_or_else(|| Fault::busy(format!("no name is free for {}", text::shown(&one.name, 64))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;

    fn one(name: &str, beside: &str) -> Enlisted {
        Enlisted {
            id: SandboxId::random(),
            name: name.to_owned(),
            beside: beside.to_owned(),
            created_at: Timestamp(0),
            labels: std::collections::BTreeMap::new(),
            image: None,
            command: Vec::new(),
            leaving: false,
        }
    }

    #[test]
    fn every_name_becomes_one_that_is_free() {
        let free = |name: &str, beside: &str, taken: &[&str]| {
            free_name(&one(name, beside), |it| taken.contains(&it)).unwrap()
        };
        assert_eq!(free("My_Agent.1", "", &[]), "my-agent-1");
        assert_eq!(free("a", "Team A", &["a"]), "a-team-a");
        assert_eq!(free("a", "x", &["a", "a-x"]), "a-2");
        assert_eq!(free("\u{1b}[31m", "", &[]), "31m");
        assert_eq!(free("§§§", "", &[]), NAMELESS);
        let long = free(&"x".repeat(500), "y", &["x"]);
        assert!(is_name(&long), "{long}");
    }
}
