//! What sandboxes and this host use, read once a second while there is something to read: a round. What was read is
//! kept for a while, so that whoever comes to look sees what was before.

mod gpu;
mod history;
mod host;
mod limits;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout_at},
};
use tokio_stream::{StreamExt, wrappers::WatchStream};

use self::{history::History, host::HostReader, limits::Told};
use super::Inner;
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{GAUGE_POINTS_MAX, GAUGED_EVERY, GAUGES_AWAITED},
    },
    driver::{Ground, Meter, Metered},
    model::{
        check::Check,
        event::Level,
        gauge::{Gauge, Gauges, GaugesWanted, GpuShare, HostGauge, Past, PastWanted, Rates},
        sandbox::State,
        timeline::Kind,
    },
    runtime::BoxStream,
};

/// The gauges of one hub.
#[derive(Default)]
pub(super) struct Meters {
    state: Mutex<Readings>,
    /// Rounds so far.
    rounds: watch::Sender<u64>,
    /// Rung when there may be something to read, or somebody to read it for.
    wake: Notify,
    gpus: gpu::Gpus,
}

#[derive(Default)]
struct Readings {
    host: HostGauge,
    host_past: History,
    of: BTreeMap<SandboxId, Track>,
    told_of_host: Told,
}

/// One sandbox over time.
struct Track {
    gauge: Gauge,
    /// `clock::monotonic` of the last reading.
    read_at: Duration,
    /// It was read twice at least, so that rates can be known.
    twice: bool,
    past: History,
    told: Told,
    /// GPUs that it tells of itself.
    own: Vec<GpuShare>,
}

impl Meters {
    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There may be something to read.
    pub(super) fn ring(&self) {
        self.wake.notify_one();
    }
}

impl Readings {
    fn round(&self, only: &HashSet<SandboxId>) -> Gauges {
        let wanted = self.of.iter().filter(|(id, _)| only.is_empty() || only.contains(*id));
        let sandboxes = wanted.map(|(_, it)| it.gauge.clone()).collect();
        Gauges { host: self.host.clone(), sandboxes }
    }

    /// Puts what is used of GPUs down to those whose processes do.
    fn put_down(&mut self, owners: &HashMap<u32, SandboxId>) {
        let mut shares = gpu::put_down(&mut self.host.gpus, owners);
        for (id, track) in &mut self.of {
            let shares = shares.remove(id).unwrap_or_default();
            track.gauge.gpus = shares.into_iter().chain(track.own.iter().cloned()).collect();
        }
    }

    /// Takes what a sandbox uses; gives what there is to tell of it.
    fn take(&mut self, id: &SandboxId, name: &str, read: &Metered, now: Duration) -> Vec<String> {
        let usage = &read.usage;
        let at = clock::wall();
        let track = self.of.entry(id.clone()).or_insert_with(|| Track {
            gauge: Gauge {
                sandbox: id.clone(),
                at,
                usage: *usage,
                rates: Rates::default(),
                gpus: Vec::new(),
            },
            read_at: now,
            twice: false,
            past: History::default(),
            told: Told::default(),
            own: Vec::new(),
        });
        track.own = read.gpus.iter().cloned().map(GpuShare::own).collect();
        let apart = now.saturating_sub(track.read_at);
        if !apart.is_zero() {
            track.gauge.rates = Rates::between(&track.gauge.usage, usage, apart);
            track.twice = true;
        }
        let before = track.gauge.usage;
        (track.gauge.usage, track.gauge.at, track.read_at) = (*usage, at, now);
        track.past.add(now, &history::row(&track.gauge));
        track.told.of_sandbox(name, &before, usage)
    }
}

/// A sandbox that is to be read.
struct Wanted {
    driver: String,
    ground: Ground,
}

/// Starts it; it ends with the engine.
pub(super) fn start(engine: &Arc<Inner>) {
    tokio::spawn(keep_reading(Arc::downgrade(engine), engine.meters.clone()));
}

async fn keep_reading(engine: Weak<Inner>, meters: Arc<Meters>) {
    let mut reader = Reader::default();
    let mut ticks = interval_at(Instant::now(), GAUGED_EVERY);
    // What is late is late: rounds are not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(strong) = engine.upgrade() else { return };
        let wanted = strong.to_be_metered();
        let idle = wanted.is_empty() && meters.rounds.receiver_count() == 0;
        if idle {
            *meters.readings() = Readings::default();
            reader = Reader::default();
            meters.gpus.rest();
            // Asleep it holds no engine; the end of the engine rings too.
            drop((strong, wanted));
            meters.wake.notified().await;
            ticks.reset_immediately();
            continue;
        }
        reader.round(&strong, wanted).await;
        meters.rounds.send_modify(|it| *it += 1);
    }
}

/// What reads, and remembers what it needs for that.
#[derive(Default)]
struct Reader {
    host: HostReader,
    meters: HashMap<String, Box<dyn Meter>>,
    /// Drivers that have not answered yet are not asked again, and hold up nobody.
    under_way: JoinSet<Read>,
    busy: HashSet<String>,
    /// Whose processes are whose, by driver, as far as that was wanted.
    owners: HashMap<String, Vec<(u32, SandboxId)>>,
    /// In the round before there were some.
    programs_on_gpus: bool,
}

/// What a driver said of its sandboxes.
struct Read {
    driver: String,
    meter: Box<dyn Meter>,
    grounds: Vec<Ground>,
    read: Vec<Outcome<Metered>>,
    /// `clock::monotonic` when it was asked.
    at: Duration,
}

impl Reader {
    async fn round(&mut self, engine: &Arc<Inner>, wanted: Vec<Wanted>) {
        let mut by_driver: BTreeMap<String, Vec<Ground>> = BTreeMap::new();
        for it in wanted {
            by_driver.entry(it.driver).or_default().push(it.ground);
        }
        let alive: HashSet<SandboxId> =
            by_driver.values().flatten().map(|it| it.id.clone()).collect();
        self.meters.retain(|name, _| by_driver.contains_key(name));
        self.owners.retain(|name, _| by_driver.contains_key(name));
        let gpus_asked = engine.meters.gpus.ask();
        // Which processes are whose matters only to GPUs, and is dear.
        let processes = self.programs_on_gpus;
        for (driver, grounds) in by_driver {
            if self.busy.contains(&driver) {
                continue;
            }
            let kept = self.meters.remove(&driver);
            let made = || engine.drivers.get(&driver).ok().and_then(|it| it.meter());
            let Some(mut meter) = kept.or_else(made) else { continue };
            self.busy.insert(driver.clone());
            self.under_way.spawn(async move {
                let at = clock::monotonic();
                let read = meter.read(&grounds, processes).await;
                Read { driver, meter, grounds, read, at }
            });
        }
        let mut host = self.host.read(engine.paths.state().to_owned()).await;
        let gpus = engine.meters.gpus.seen(gpus_asked).await;
        self.programs_on_gpus = gpus.gpus.iter().any(|it| !it.processes.is_empty());
        (host.gpus, host.gpus_missing) = (gpus.gpus, gpus.missing);
        let now = clock::monotonic();
        let told = {
            let mut readings = engine.meters.readings();
            readings.of.retain(|id, _| alive.contains(id));
            readings.host_past.add(now, &history::host_row(&host));
            readings.host = host;
            let Readings { host, told_of_host, .. } = &mut *readings;
            told_of_host.of_host(host)
        };
        engine.tell_limits(None, told);
        for (level, words) in gpus.news {
            engine.fleet().notice_of(Kind::Gauge, level, None, &words);
        }
        let by = Instant::now() + GAUGES_AWAITED;
        while let Ok(Some(done)) = timeout_at(by, self.under_way.join_next()).await {
            match done {
                Ok(read) => {
                    self.busy.remove(&read.driver);
                    self.take(engine, read);
                }
                Err(error) => tracing::warn!(%error, "a meter failed unexpectedly"),
            }
        }
        if self.under_way.is_empty() {
            // Also of one that failed.
            self.busy.clear();
        }
        let owners = self.owners.values().flatten().cloned().collect();
        engine.meters.readings().put_down(&owners);
    }

    fn take(&mut self, engine: &Arc<Inner>, it: Read) {
        let Read { driver, meter, grounds, read, at } = it;
        let of = grounds.iter().zip(&read).flat_map(|(ground, read)| {
            let pids = read.iter().flat_map(|it| &it.processes);
            pids.map(|pid| (*pid, ground.id.clone()))
        });
        self.owners.insert(driver.clone(), of.collect());
        self.meters.insert(driver, meter);
        engine.take_readings(&grounds, read, at);
    }
}

impl Inner {
    /// For `doctor`.
    pub(super) async fn check_gpus(&self) -> Check {
        let check = self.meters.gpus.check().await;
        // Whoever reads nothing else lets go of the drivers again.
        self.meters.ring();
        check
    }

    fn to_be_metered(&self) -> Vec<Wanted> {
        let fleet = self.fleet();
        let live = fleet.entries().filter(|it| {
            it.seat.is_some() && matches!(it.sandbox.state, State::Running | State::Paused)
        });
        let wanted = live.map(|it| Wanted {
            driver: it.sandbox.driver.clone(),
            ground: Ground {
                id: it.sandbox.id.clone(),
                name: it.sandbox.name.clone(),
                dir: self.paths.sandbox(&it.sandbox.id),
                from: None,
            },
        });
        wanted.collect()
    }

    fn take_readings(&self, grounds: &[Ground], read: Vec<Outcome<Metered>>, now: Duration) {
        for (ground, read) in grounds.iter().zip(read) {
            match read {
                Ok(read) => {
                    let told = self.meters.readings().take(&ground.id, &ground.name, &read, now);
                    self.tell_limits(Some(&ground.id), told);
                }
                // What was read last stays, with its time.
                Err(fault) => tracing::debug!(%fault, sandbox = %ground.name, "gauge"),
            }
        }
    }

    fn tell_limits(&self, sandbox: Option<&SandboxId>, told: Vec<String>) {
        for words in told {
            let mut fleet = self.fleet();
            fleet.notice_of(Kind::Gauge, Level::Warning, sandbox.cloned(), &words);
        }
    }

    /// Rounds of readings, the first of them with rates.
    pub(super) fn gauges(&self, wanted: GaugesWanted) -> BoxStream<Outcome<Gauges>> {
        let rounds = self.meters.rounds.subscribe();
        self.meters.ring();
        let only: HashSet<SandboxId> = wanted.only.into_iter().collect();
        let meters = Arc::clone(&self.meters);
        // The state before the first round is not one.
        let stream = WatchStream::from_changes(rounds);
        let mut rounds_waited = 0;
        let stream = stream.filter_map(move |_| {
            let readings = meters.readings();
            rounds_waited += 1;
            let wanted = readings.of.iter().filter(|it| only.is_empty() || only.contains(it.0));
            let whole = wanted.fold(true, |all, (_, it)| all && it.twice);
            let whole = whole && readings.host.cpu_percent.is_some();
            // One that comes new with every round would hold up all others.
            (whole || rounds_waited > 1).then(|| Ok(readings.round(&only)))
        });
        if wanted.watch { Box::pin(stream) } else { Box::pin(stream.take(1)) }
    }

    /// What a sandbox or this host used before.
    pub(super) fn gauge_past(&self, wanted: &PastWanted) -> Outcome<Past> {
        let points = wanted.points.clamp(1, GAUGE_POINTS_MAX);
        let readings = self.meters.readings();
        let (now, until) = (clock::monotonic(), clock::wall());
        let of = match &wanted.sandbox {
            None => Some(&readings.host_past),
            Some(id) => readings.of.get(id).map(|it| &it.past),
        };
        let past = of.map(|it| it.told(now, until, wanted.back, points));
        drop(readings);
        match (past, &wanted.sandbox) {
            (Some(past), _) => Ok(past),
            (None, Some(id)) => {
                let name = self.fleet().get(id)?.sandbox.name.clone();
                Err(Fault::absent(format!("nothing is known of what {name} uses")))
            }
            (None, None) => Err(Fault::absent("nothing is known of what this host uses")),
        }
    }
}
