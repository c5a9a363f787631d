//! What sandboxes and their host use. `None` = not known here, which is never 0.

use std::time::Duration;

use super::sandbox::words;
use crate::base::{clock::Timestamp, id::SandboxId};

words! {
    /// How the figures of a sandbox were come by.
    MeteredBy {
        /// The kernel counts for the whole sandbox.
        Groups = "control groups",
        /// Added up from its processes; what lived only between two readings is in the sum when its parent waited for it.
        Processes = "processes",
        /// Whoever provides the sandbox says so.
        Driver = "driver",
    }
}

/// What one sandbox uses at a moment. Counters began with the sandbox or with its last start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub by: Option<MeteredBy>,
    /// Time on processors, of all its processes.
    pub cpu_time: Option<Duration>,
    /// Processors that it may use at most; `None` = no limit.
    pub cpu_limit: Option<f64>,
    /// Time it would have run and was held back by that limit, summed over its threads.
    pub throttled_time: Option<Duration>,
    /// Without what the kernel only keeps in case it is read again.
    pub memory_bytes: Option<u64>,
    /// `None` = no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Files that the kernel keeps in memory for it.
    pub cache_bytes: Option<u64>,
    /// Processes of it that the kernel killed for lack of memory.
    pub oom_kills: Option<u64>,
    /// Processes, without the first one, which is not the sandbox's own.
    pub pids: Option<u64>,
    pub pids_limit: Option<u64>,
    /// From and to disks, by its programs.
    pub read_bytes: Option<u64>,
    pub write_bytes: Option<u64>,
    /// What its files take on disk, at least: what can't be looked at is not in it, and it may be minutes old.
    pub space_bytes: Option<u64>,
    /// To and from its programs over the network.
    pub rx_bytes: Option<u64>,
    pub tx_bytes: Option<u64>,
    pub pressure: Pressure,
}

/// The share of the last 10 seconds in which something waited for this, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
    pub io: Option<f64>,
}

impl Pressure {
    /// One of these, from the text in which the kernel tells it.
    pub fn told(text: &str) -> Option<f64> {
        let line = text.lines().find_map(|it| it.strip_prefix("some "))?;
        line.split_whitespace().find_map(|it| it.strip_prefix("avg10=")?.parse().ok())
    }
}

/// How fast its counters grew between the last two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Of one processor: 200 = two are busy.
    pub cpu_percent: Option<f64>,
    /// Time held back, of one processor's.
    pub throttled_percent: Option<f64>,
    /// Bytes a second.
    pub read: Option<f64>,
    pub write: Option<f64>,
    pub rx: Option<f64>,
    pub tx: Option<f64>,
}

impl Rates {
    /// From one reading to a later one. A counter that went back has begun anew, and tells nothing yet.
    pub fn between(before: &Usage, after: &Usage, apart: Duration) -> Self {
        let seconds = apart.as_secs_f64();
        if seconds <= 0.0 {
            return Self::default();
        }
        let time = |of: fn(&Usage) -> Option<Duration>| {
            let grown = of(after)?.checked_sub(of(before)?)?;
            Some(grown.as_secs_f64() / seconds * 100.0)
        };
        let bytes = |of: fn(&Usage) -> Option<u64>| {
            Some(of(after)?.checked_sub(of(before)?)? as f64 / seconds)
        };
        Self {
            cpu_percent: time(|it| it.cpu_time),
            throttled_percent: time(|it| it.throttled_time),
            read: bytes(|it| it.read_bytes),
            write: bytes(|it| it.write_bytes),
            rx: bytes(|it| it.rx_bytes),
            tx: bytes(|it| it.tx_bytes),
        }
    }
}

/// What a sandbox uses of one GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuShare {
    pub index: u32,
    pub memory_bytes: Option<u64>,
    /// Of the sandbox on it; 0 where `own` tells, for that does not tell of processes.
    pub processes: u32,
    /// The GPU itself where it is on another machine than the hub: by the word of the sandbox, in which it is all there is to
    /// see of it. `None` = it is one of the host's.
    pub own: Option<Box<Gpu>>,
}

impl GpuShare {
    /// Of a GPU that a sandbox tells of.
    pub fn own(gpu: Gpu) -> Self {
        let (index, memory_bytes) = (gpu.index, gpu.memory_bytes);
        Self { index, memory_bytes, processes: 0, own: Some(Box::new(gpu)) }
    }

    /// Bytes of all of these, as far as they are known.
    pub fn memory_of(all: &[Self]) -> u64 {
        all.iter().filter_map(|it| it.memory_bytes).fold(0, u64::saturating_add)
    }

    /// All that is known of the GPU; `None` = nothing.
    pub fn whole<'a>(&'a self, of_host: &'a [Gpu]) -> Option<&'a Gpu> {
        self.own.as_deref().or_else(|| of_host.iter().find(|it| it.index == self.index))
    }
}

/// One sandbox's gauge.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    pub sandbox: SandboxId,
    pub at: Timestamp,
    pub usage: Usage,
    pub rates: Rates,
    /// Those that it uses; empty = none, or not known.
    pub gpus: Vec<GpuShare>,
}

/// What the machine that sandboxes are on has and uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostGauge {
    /// `None` = not read yet.
    pub at: Option<Timestamp>,
    /// Of one processor.
    pub cpu_percent: Option<f64>,
    /// Each processor's, of itself; bounded.
    pub cores: Vec<f64>,
    pub processors: Option<u32>,
    /// Over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    pub memory_bytes: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    /// Of the disk that the state directory is on.
    pub disk_free_bytes: Option<u64>,
    pub disk_total_bytes: Option<u64>,
    pub pressure: Pressure,
    pub gpus: Vec<Gpu>,
    /// What is not known of GPUs, and why; `None` = nothing is amiss, or there are none.
    pub gpus_missing: Option<String>,
}

impl HostGauge {
    pub fn disk_used_bytes(&self) -> Option<u64> {
        Some(self.disk_total_bytes?.saturating_sub(self.disk_free_bytes?))
    }
}

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpu {
    pub index: u32,
    /// Safe to show.
    pub name: String,
    /// Busy, in percent of the time.
    pub util_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub power_watts: Option<f64>,
    pub power_limit_watts: Option<f64>,
    pub temperature_celsius: Option<f64>,
    pub clock_mhz: Option<u32>,
    /// Why it is slower than it could be, in words; empty = it is not.
    pub slowed: Vec<String>,
    /// Memory errors since the driver was loaded: mended, and not to be mended.
    pub ecc_corrected: Option<u64>,
    pub ecc_uncorrected: Option<u64>,
    /// Instances it is cut into (MIG); empty = it is whole.
    pub instances: Vec<String>,
    /// Programs on it.
    pub processes: Vec<GpuProcess>,
}

/// A program on a GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuProcess {
    pub pid: u32,
    pub memory_bytes: Option<u64>,
    /// The sandbox that it is in; `None` = in none of ours.
    pub sandbox: Option<SandboxId>,
}

/// One round of readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    pub host: HostGauge,
    /// Of all that run. One that could not be read in this round has an older time.
    pub sandboxes: Vec<Gauge>,
}

/// Which readings are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GaugesWanted {
    /// Empty = of all.
    pub only: Vec<SandboxId>,
    /// Round after round; else one.
    pub watch: bool,
}

words! {
    /// What is kept over time.
    Series {
        /// Percent of one processor.
        Cpu = "cpu",
        /// Bytes.
        Memory = "memory",
        Pids = "pids",
        /// Bytes a second.
        Read = "read",
        Write = "write",
        Rx = "rx",
        Tx = "tx",
        /// Percent of its busiest GPU.
        Gpu = "gpu",
        /// Bytes on disk.
        Space = "files",
    }
}

/// What is wanted of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastWanted {
    /// `None` = of the host.
    pub sandbox: Option<SandboxId>,
    /// How far back it goes.
    pub back: Duration,
    /// Into how many parts of one length it is cut at most, 1 to `limits::GAUGE_POINTS_MAX`.
    pub points: u32,
}

/// The past of one sandbox or of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Where the last part ends.
    pub until: Timestamp,
    pub step: Duration,
    pub lines: Vec<PastLine>,
}

/// One figure over time, oldest first; NaN = not known.
#[derive(Clone, Debug, PartialEq)]
pub struct PastLine {
    pub series: Series,
    /// In each part: on average, and at most.
    pub mean: Vec<f32>,
    pub peak: Vec<f32>,
}

/// Figures that can be: what no GPU has is not known.
pub mod figure {
    /// Of the time, in percent.
    pub fn percent(it: f64) -> Option<f64> {
        (it.is_finite() && it >= 0.0).then_some(it.min(100.0))
    }

    /// Up to 10 kW.
    pub fn watts(it: f64) -> Option<f64> {
        (it.is_finite() && (0.0..=10_000.0).contains(&it)).then_some(it)
    }

    /// Between -100 and 250 degrees.
    pub fn celsius(it: f64) -> Option<f64> {
        (it.is_finite() && (-100.0..=250.0).contains(&it)).then_some(it)
    }

    /// Up to a pebibyte, from mebibytes.
    pub fn mebibytes(it: u64) -> Option<u64> {
        it.checked_mul(1 << 20).filter(|it| *it <= 1 << 50)
    }

    /// Up to 100 GHz.
    pub fn mhz(it: u64) -> Option<u32> {
        u32::try_from(it).ok().filter(|it| *it <= 100_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_a_counter_grew_and_nothing_of_one_that_began_anew() {
        let usage = |seconds: u64, read: Option<u64>| Usage {
            cpu_time: Some(Duration::from_secs(seconds)),
            read_bytes: read,
            ..Usage::default()
        };
        let apart = Duration::from_secs(2);
        let rates = Rates::between(&usage(1, Some(10)), &usage(4, Some(30)), apart);
        assert_eq!((rates.cpu_percent, rates.read, rates.write), (Some(150.0), Some(10.0), None));
        let rates = Rates::between(&usage(4, Some(30)), &usage(1, None), apart);
        assert_eq!((rates.cpu_percent, rates.read), (None, None));
        assert_eq!(
            Rates::between(&usage(1, None), &usage(2, None), Duration::ZERO).cpu_percent,
            None
        );
    }
}
