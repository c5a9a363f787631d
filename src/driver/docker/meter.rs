//! What containers use, as their engines count it: each is asked for by itself, few at once, and an engine that is slow or
//! none at all costs its own readings and no others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use hyper::Method;
use serde::Deserialize;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{timeout, timeout_at},
};

use super::{
    answer::{Config, Container, HostConfig},
    engine::{Engine, Payload, escaped},
    far::{self, Far},
    trace::Trace,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        id::SandboxId,
        limits::{ENGINE_LOOK_EVERY, ENGINE_METER_WITHIN, ENGINE_METERS_MAX, ENGINE_METERS_WITHIN},
    },
    driver::{Ground, Meter, Metered},
    model::gauge::{MeteredBy, Usage},
};

/// Before the time of a reading of what does not run.
const NEVER: &str = "0001-01-01";

/// Knows where each container is, and its limits as they were a minute ago.
#[derive(Default)]
pub struct DockerMeter {
    known: HashMap<SandboxId, Arc<Known>>,
    /// Who is asked first: where there is no time for all, it is others each time.
    turn: usize,
}

struct Known {
    engine: Arc<Engine>,
    container: String,
    /// It was there before its sandbox, and so all its processes are its own.
    adopted: bool,
    /// And when they were asked for, a `clock::monotonic`.
    limits: std::sync::Mutex<Option<(Limits, Duration)>>,
    /// Its GPUs, where they are on another machine.
    far: Far,
}

/// What a container may use at most, and whether it has a network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Limits {
    memory: Option<u64>,
    cpus: Option<f64>,
    pids: Option<u64>,
    alone: bool,
    /// It was given some.
    gpus: bool,
}

#[async_trait]
impl Meter for DockerMeter {
    /// What numbers its processes have on the host an engine need not know: none are told.
    async fn read(&mut self, grounds: &[Ground], _processes: bool) -> Vec<Outcome<Metered>> {
        let until = tokio::time::Instant::now() + ENGINE_METERS_WITHIN;
        self.known.retain(|id, _| grounds.iter().any(|it| it.id == *id));
        let count = grounds.len().max(1);
        self.turn = (self.turn + ENGINE_METERS_MAX) % count;
        let turn = self.turn;
        let late = || Err(Fault::late("other containers took too long to say what they use"));
        let mut read: Vec<Outcome<Metered>> = grounds.iter().map(|_| late()).collect();
        let places = Arc::new(Semaphore::new(ENGINE_METERS_MAX));
        let mut asking = JoinSet::new();
        for at in (0..grounds.len()).map(|it| (it + turn) % count) {
            let known = grounds.get(at).map(|it| self.known(it));
            let (known, place) = match (known, read.get_mut(at)) {
                (Some(Ok(known)), _) => (known, Arc::clone(&places)),
                (Some(Err(fault)), Some(told)) => {
                    *told = Err(fault);
                    continue;
                }
                _ => continue,
            };
            asking.spawn(async move {
                let _place = place.acquire_owned().await;
                let asked = timeout(ENGINE_METER_WITHIN, known.read()).await;
                let limit = ENGINE_METER_WITHIN.as_secs();
                let late = || Fault::late(format!("the engine did not say within {limit} s"));
                (at, asked.unwrap_or_else(|_| Err(late())))
            });
        }
        while let Ok(Some(done)) = timeout_at(until, asking.join_next()).await {
            let Ok((at, outcome)) = done else { continue };
            let (Some(told), Some(ground)) = (read.get_mut(at), grounds.get(at)) else { continue };
            if outcome.as_ref().is_err_and(|it| it.kind() == Kind::Absent) {
                // It may come again as another container.
                self.known.remove(&ground.id);
            }
            *told = outcome;
        }
        read
    }
}

impl DockerMeter {
    fn known(&mut self, ground: &Ground) -> Outcome<Arc<Known>> {
        if let Some(known) = self.known.get(&ground.id) {
            return Ok(Arc::clone(known));
        }
        let Some(Trace { engine, container: Some(container), adopted, .. }) =
            Trace::read(&ground.dir)?
        else {
            return Err(Fault::absent("it has no container"));
        };
        let far = if engine.is_here() { Far::Here } else { Far::default() };
        let (engine, limits) = (Arc::new(Engine::new(engine)), std::sync::Mutex::default());
        let known = Arc::new(Known { engine, container, adopted, limits, far });
        self.known.insert(ground.id.clone(), Arc::clone(&known));
        Ok(known)
    }
}

impl Known {
    async fn read(&self) -> Outcome<Metered> {
        let container = escaped(&self.container);
        let path = format!("/containers/{container}/stats?stream=false&one-shot=true");
        let call = self.engine.call(Method::GET, &path, Payload::Nothing, ENGINE_METER_WITHIN);
        let stats: Stats = call.await?.json()?;
        if stats.read.starts_with(NEVER) {
            return Err(Fault::absent("its container does not run"));
        }
        let limits = self.limits().await?;
        let gpus =
            if limits.gpus { self.far.gpus(&self.engine, &self.container) } else { Vec::new() };
        let usage = usage(&stats, limits, self.adopted);
        if usage.cpu_time.is_none() && usage.memory_bytes.is_none() && usage.pids.is_none() {
            return Err(Fault::failed("the engine does not say what a container uses"));
        }
        Ok(Metered { usage, processes: Vec::new(), gpus })
    }

    /// They are rarely changed, and asked for as rarely.
    async fn limits(&self) -> Outcome<Limits> {
        let locked = || self.limits.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (before, now) = (*locked(), clock::monotonic());
        if let Some((limits, _)) = before.filter(|it| now < it.1 + ENGINE_LOOK_EVERY) {
            return Ok(limits);
        }
        let container: Container = self.engine.inspect(&self.container).await?;
        let config = container.config.unwrap_or_default();
        let limits = Limits::of(&container.host_config.unwrap_or_default(), &config);
        *locked() = Some((limits, now));
        Ok(limits)
    }
}

impl Limits {
    fn of(host: &HostConfig, config: &Config) -> Self {
        let above_zero = |it: i64| u64::try_from(it).ok().filter(|it| *it > 0);
        let period = above_zero(host.cpu_period).unwrap_or(100_000) as f64;
        let quota = above_zero(host.cpu_quota).map(|it| it as f64 / period);
        Self {
            memory: above_zero(host.memory),
            cpus: above_zero(host.nano_cpus).map(|it| it as f64 / 1e9).or(quota),
            pids: host.pids_limit.and_then(above_zero),
            alone: host.network_mode == "none",
            gpus: far::has_gpus(host, config),
        }
    }
}

/// What an engine says of one container. Everything is optional, as in its other answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stats {
    read: String,
    cpu_stats: Cpu,
    memory_stats: Memory,
    pids_stats: Pids,
    blkio_stats: Blocks,
    networks: Option<HashMap<String, Network>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    cpu_usage: CpuUsage,
    throttling_data: Option<Throttling>,
}

/// In nanoseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Throttling {
    throttled_time: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    usage: Option<u64>,
    stats: Option<MemoryStats>,
}

/// The first of each are those of control groups of version 2.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemoryStats {
    inactive_file: Option<u64>,
    total_inactive_file: Option<u64>,
    file: Option<u64>,
    total_cache: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pids {
    current: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Blocks {
    /// `None` = it counts none, or there was nothing yet: which of both, it does not say.
    io_service_bytes_recursive: Option<Vec<Block>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Block {
    op: String,
    value: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    rx_bytes: u64,
    tx_bytes: u64,
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

fn usage(stats: &Stats, limits: Limits, adopted: bool) -> Usage {
    let memory = stats.memory_stats.stats.as_ref();
    // As `docker stats` has it: the host's groups are of one version.
    let idle = memory.and_then(|it| it.total_inactive_file.or(it.inactive_file)).unwrap_or(0);
    let blocks = stats.blkio_stats.io_service_bytes_recursive.as_ref();
    let of = |op: &str| {
        let blocks = blocks?.iter().filter(|it| it.op.eq_ignore_ascii_case(op));
        Some(sum(blocks.map(|it| it.value)))
    };
    let over = |counter: fn(&Network) -> u64| match &stats.networks {
        Some(all) => Some(sum(all.values().map(counter))),
        None => limits.alone.then_some(0),
    };
    let firsts = u64::from(!adopted);
    let throttled = stats.cpu_stats.throttling_data.as_ref().and_then(|it| it.throttled_time);
    Usage {
        by: Some(MeteredBy::Driver),
        cpu_time: stats.cpu_stats.cpu_usage.total_usage.map(Duration::from_nanos),
        cpu_limit: limits.cpus,
        throttled_time: throttled.map(Duration::from_nanos),
        memory_bytes: stats.memory_stats.usage.map(|it| it.saturating_sub(idle)),
        memory_limit_bytes: limits.memory,
        cache_bytes: memory.and_then(|it| it.total_cache.or(it.file)),
        pids: stats.pids_stats.current.map(|it| it.saturating_sub(firsts)),
        pids_limit: limits.pids.map(|it| it.saturating_sub(firsts)),
        read_bytes: of("read"),
        write_bytes: of("write"),
        rx_bytes: over(|it| it.rx_bytes),
        tx_bytes: over(|it| it.tx_bytes),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, limits: Limits, adopted: bool) -> Usage {
        usage(&serde_json::from_str(text).unwrap(), limits, adopted)
    }

    #[test]
    fn what_engines_say_of_groups_of_both_versions_is_read() {
        let second = r#"{"read":"2026-01-02T03:04:05Z","pids_stats":{"current":3,"limit":18446744073709551615},
            "blkio_stats":{"io_service_bytes_recursive":[{"major":8,"minor":0,"op":"read","value":4096},
            {"major":8,"minor":0,"op":"write","value":1},{"major":9,"minor":0,"op":"write","value":2}]},
            "cpu_stats":{"cpu_usage":{"total_usage":1500000000},"throttling_data":{"throttled_time":7000}},
            "memory_stats":{"usage":1000,"stats":{"inactive_file":300,"file":400},"limit":8000000},
            "networks":{"eth0":{"rx_bytes":5,"tx_bytes":6},"eth1":{"rx_bytes":50,"tx_bytes":60}}}"#;
        let limits = Limits { pids: Some(10), cpus: Some(1.5), ..Limits::default() };
        let told = read(second, limits, false);
        assert_eq!(told.by, Some(MeteredBy::Driver));
        assert_eq!(told.cpu_time, Some(Duration::from_millis(1500)));
        assert_eq!(told.throttled_time, Some(Duration::from_micros(7)));
        assert_eq!((told.memory_bytes, told.cache_bytes), (Some(700), Some(400)));
        // The host's memory is no limit of a container.
        assert_eq!((told.memory_limit_bytes, told.cpu_limit), (None, Some(1.5)));
        assert_eq!((told.pids, told.pids_limit), (Some(2), Some(9)));
        assert_eq!((told.read_bytes, told.write_bytes), (Some(4096), Some(3)));
        assert_eq!((told.rx_bytes, told.tx_bytes), (Some(55), Some(66)));
        let first = r#"{"memory_stats":{"usage":1000,"stats":{"inactive_file":1,"total_inactive_file":100,
            "total_cache":9}},"pids_stats":{"current":3},"blkio_stats":{"io_service_bytes_recursive":null}}"#;
        let told = read(first, Limits { alone: true, ..Limits::default() }, true);
        assert_eq!((told.memory_bytes, told.cache_bytes), (Some(900), Some(9)));
        assert_eq!((told.pids, told.read_bytes, told.cpu_time), (Some(3), None, None));
        assert_eq!((told.rx_bytes, told.tx_bytes), (Some(0), Some(0)));
        assert_eq!(read("{}", Limits::default(), false).rx_bytes, None);
    }

    #[test]
    fn limits_are_those_that_were_set() {
        let of = |text: &str| Limits::of(&serde_json::from_str(text).unwrap(), &Config::default());
        assert_eq!(of("{}"), Limits::default());
        let set = of(r#"{"Memory":7,"NanoCpus":500000000,"PidsLimit":4,"NetworkMode":"none"}"#);
        let all =
            Limits { memory: Some(7), cpus: Some(0.5), pids: Some(4), alone: true, gpus: false };
        assert_eq!(set, all);
        let quota = of(r#"{"Memory":0,"CpuQuota":150000,"CpuPeriod":100000,"PidsLimit":-1}"#);
        assert_eq!(quota, Limits { cpus: Some(1.5), ..Limits::default() });
    }
}
