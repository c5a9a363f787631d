//! What sandboxes and their host use.

use std::time::Duration;

use super::{duration, entry_in, milliseconds, sandbox_id, stamp};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{
            CORES_SHOWN_MAX, GAUGE_MINUTES_KEPT, GAUGE_POINTS_MAX, GAUGES_PER_MESSAGE,
            GPU_PROCESSES_MAX, GPU_WORD_BYTES_MAX, GPU_WORDS_MAX, GPUS_SHOWN_MAX, LINE_BYTES_MAX,
            SANDBOXES_MAX,
        },
        text::{cut, shown},
    },
    model::gauge::{
        Gauge, Gauges, GaugesWanted, Gpu, GpuProcess, GpuShare, HostGauge, MeteredBy, Past,
        PastLine, PastWanted, Pressure, Rates, Series, Usage,
    },
    wire::v1,
};

const PAST_MAX: Duration = Duration::from_secs(60 * GAUGE_MINUTES_KEPT as u64);

enums! {
    metered_out, metered_in: MeteredBy = MeteredBy { Groups, Processes, Driver, }
    series_out, series_in: Series = Series { Cpu, Memory, Pids, Read, Write, Rx, Tx, Gpu, Space, }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A figure that is one: what is not a number, or below nothing, is not known.
fn figure(wire: Option<f64>) -> Option<f64> {
    wire.filter(|it| it.is_finite() && *it >= 0.0)
}

impl From<&Pressure> for v1::Pressure {
    fn from(it: &Pressure) -> Self {
        Self { cpu: it.cpu, memory: it.memory, io: it.io }
    }
}

fn pressure_in(wire: Option<v1::Pressure>) -> Pressure {
    let wire = wire.unwrap_or_default();
    Pressure { cpu: figure(wire.cpu), memory: figure(wire.memory), io: figure(wire.io) }
}

impl From<&Gauge> for v1::Gauge {
    fn from(it: &Gauge) -> Self {
        let Usage { pressure, .. } = &it.usage;
        Self {
            sandbox: it.sandbox.to_string(),
            at_ms: it.at.0,
            metered_by: it.usage.by.map_or(0, |it| metered_out(it).into()),
            cpu_us: it.usage.cpu_time.map(micros),
            cpu_limit: it.usage.cpu_limit,
            throttled_us: it.usage.throttled_time.map(micros),
            memory_bytes: it.usage.memory_bytes,
            memory_limit_bytes: it.usage.memory_limit_bytes,
            cache_bytes: it.usage.cache_bytes,
            oom_kills: it.usage.oom_kills,
            pids: it.usage.pids,
            pids_limit: it.usage.pids_limit,
            read_bytes: it.usage.read_bytes,
            write_bytes: it.usage.write_bytes,
            space_bytes: it.usage.space_bytes,
            rx_bytes: it.usage.rx_bytes,
            tx_bytes: it.usage.tx_bytes,
            pressure: (*pressure != Pressure::default()).then(|| pressure.into()),
            cpu_percent: it.rates.cpu_percent,
            throttled_percent: it.rates.throttled_percent,
            read_rate: it.rates.read,
            write_rate: it.rates.write,
            rx_rate: it.rates.rx,
            tx_rate: it.rates.tx,
            gpus: it.gpus.iter().take(GPUS_SHOWN_MAX).map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Gauge> for Gauge {
    type Error = Fault;

    fn try_from(wire: v1::Gauge) -> Outcome<Self> {
        Ok(Self {
            sandbox: sandbox_id(&wire.sandbox)?,
            at: Timestamp(wire.at_ms),
            usage: Usage {
                by: metered_in(wire.metered_by),
                cpu_time: wire.cpu_us.map(Duration::from_micros),
                cpu_limit: figure(wire.cpu_limit),
                throttled_time: wire.throttled_us.map(Duration::from_micros),
                memory_bytes: wire.memory_bytes,
                memory_limit_bytes: wire.memory_limit_bytes,
                cache_bytes: wire.cache_bytes,
                oom_kills: wire.oom_kills,
                pids: wire.pids,
                pids_limit: wire.pids_limit,
                read_bytes: wire.read_bytes,
                write_bytes: wire.write_bytes,
                space_bytes: wire.space_bytes,
                rx_bytes: wire.rx_bytes,
                tx_bytes: wire.tx_bytes,
                pressure: pressure_in(wire.pressure),
            },
            rates: Rates {
                cpu_percent: figure(wire.cpu_percent),
                throttled_percent: figure(wire.throttled_percent),
                read: figure(wire.read_rate),
                write: figure(wire.write_rate),
                rx: figure(wire.rx_rate),
                tx: figure(wire.tx_rate),
            },
            gpus: wire.gpus.into_iter().take(GPUS_SHOWN_MAX).map(Into::into).collect(),
        })
    }
}

impl From<&GpuShare> for v1::GpuShare {
    fn from(it: &GpuShare) -> Self {
        let own = it.own.as_deref().map(Into::into);
        Self { index: it.index, memory_bytes: it.memory_bytes, processes: it.processes, own }
    }
}

impl From<v1::GpuShare> for GpuShare {
    fn from(it: v1::GpuShare) -> Self {
        let own = it.own.map(|it| Box::new(it.into()));
        Self { index: it.index, memory_bytes: it.memory_bytes, processes: it.processes, own }
    }
}

impl From<&HostGauge> for v1::HostGauge {
    fn from(it: &HostGauge) -> Self {
        Self {
            at_ms: it.at.map(|it| it.0),
            cpu_percent: it.cpu_percent,
            cores: it.cores.iter().take(CORES_SHOWN_MAX).copied().collect(),
            processors: it.processors,
            load: it.load.map(Vec::from).unwrap_or_default(),
            memory_bytes: it.memory_bytes,
            memory_total_bytes: it.memory_total_bytes,
            swap_bytes: it.swap_bytes,
            disk_free_bytes: it.disk_free_bytes,
            disk_total_bytes: it.disk_total_bytes,
            pressure: Some((&it.pressure).into()),
            gpus: it.gpus.iter().take(GPUS_SHOWN_MAX).map(Into::into).collect(),
            gpus_missing: it.gpus_missing.as_deref().map(|it| cut(it, LINE_BYTES_MAX).to_owned()),
        }
    }
}

impl From<v1::HostGauge> for HostGauge {
    fn from(wire: v1::HostGauge) -> Self {
        let cores = wire.cores.into_iter().take(CORES_SHOWN_MAX);
        let load: Vec<f64> = wire.load.into_iter().filter_map(|it| figure(Some(it))).collect();
        Self {
            at: stamp(wire.at_ms),
            cpu_percent: figure(wire.cpu_percent),
            cores: cores.map(|it| figure(Some(it)).unwrap_or(0.0)).collect(),
            processors: wire.processors,
            load: load.try_into().ok(),
            memory_bytes: wire.memory_bytes,
            memory_total_bytes: wire.memory_total_bytes,
            swap_bytes: wire.swap_bytes,
            disk_free_bytes: wire.disk_free_bytes,
            disk_total_bytes: wire.disk_total_bytes,
            pressure: pressure_in(wire.pressure),
            gpus: wire.gpus.into_iter().take(GPUS_SHOWN_MAX).map(Into::into).collect(),
            gpus_missing: wire.gpus_missing.map(|it| shown(&it, LINE_BYTES_MAX)),
        }
    }
}

impl From<&Gpu> for v1::Gpu {
    fn from(it: &Gpu) -> Self {
        let words = |words: &[String]| {
            let words = words.iter().take(GPU_WORDS_MAX);
            words.map(|it| cut(it, GPU_WORD_BYTES_MAX).to_owned()).collect()
        };
        Self {
            index: it.index,
            name: cut(&it.name, GPU_WORD_BYTES_MAX).to_owned(),
            util_percent: it.util_percent,
            memory_bytes: it.memory_bytes,
            memory_total_bytes: it.memory_total_bytes,
            power_watts: it.power_watts,
            power_limit_watts: it.power_limit_watts,
            temperature_celsius: it.temperature_celsius,
            clock_mhz: it.clock_mhz,
            slowed: words(&it.slowed),
            ecc_corrected: it.ecc_corrected,
            ecc_uncorrected: it.ecc_uncorrected,
            instances: words(&it.instances),
            processes: it.processes.iter().take(GPU_PROCESSES_MAX).map(Into::into).collect(),
        }
    }
}

impl From<v1::Gpu> for Gpu {
    fn from(wire: v1::Gpu) -> Self {
        let words = |words: Vec<String>| {
            let words = words.into_iter().take(GPU_WORDS_MAX);
            words.map(|it| shown(&it, GPU_WORD_BYTES_MAX)).collect()
        };
        let processes = wire.processes.into_iter().take(GPU_PROCESSES_MAX);
        Self {
            index: wire.index,
            name: shown(&wire.name, GPU_WORD_BYTES_MAX),
            util_percent: figure(wire.util_percent),
            memory_bytes: wire.memory_bytes,
            memory_total_bytes: wire.memory_total_bytes,
            power_watts: figure(wire.power_watts),
            power_limit_watts: figure(wire.power_limit_watts),
            // Below nothing is cold, and no error.
            temperature_celsius: wire.temperature_celsius.filter(|it| it.is_finite()),
            clock_mhz: wire.clock_mhz,
            slowed: words(wire.slowed),
            ecc_corrected: wire.ecc_corrected,
            ecc_uncorrected: wire.ecc_uncorrected,
            instances: words(wire.instances),
            processes: processes.filter_map(entry_in).collect(),
        }
    }
}

impl From<&GpuProcess> for v1::GpuProcess {
    fn from(it: &GpuProcess) -> Self {
        let sandbox = it.sandbox.as_ref().map(ToString::to_string);
        Self { pid: it.pid, memory_bytes: it.memory_bytes, sandbox }
    }
}

impl TryFrom<v1::GpuProcess> for GpuProcess {
    type Error = Fault;

    fn try_from(wire: v1::GpuProcess) -> Outcome<Self> {
        let sandbox = wire.sandbox.as_deref().map(sandbox_id).transpose()?;
        Ok(Self { pid: wire.pid, memory_bytes: wire.memory_bytes, sandbox })
    }
}

pub fn wanted_out(wanted: &GaugesWanted) -> v1::ReadGaugesRequest {
    let sandboxes = wanted.only.iter().map(ToString::to_string).collect();
    v1::ReadGaugesRequest { sandboxes, watch: wanted.watch }
}

pub fn wanted_in(wire: v1::ReadGaugesRequest) -> Outcome<GaugesWanted> {
    let only = super::list("gauges.sandboxes", wire.sandboxes, SANDBOXES_MAX)?;
    let only = only.iter().map(|it| sandbox_id(it)).collect::<Outcome<_>>()?;
    Ok(GaugesWanted { only, watch: wire.watch })
}

/// A round, in as many messages as it takes.
pub fn round_out(round: Gauges) -> Vec<v1::ReadGaugesResponse> {
    let mut pieces: Vec<_> = round
        .sandboxes
        .chunks(GAUGES_PER_MESSAGE)
        .map(|some| v1::ReadGaugesResponse {
            sandboxes: some.iter().map(Into::into).collect(),
            ..Default::default()
        })
        .collect();
    if pieces.is_empty() {
        pieces.push(v1::ReadGaugesResponse::default());
    }
    if let Some(first) = pieces.first_mut() {
        first.host = Some((&round.host).into());
    }
    if let Some(last) = pieces.last_mut() {
        last.last = true;
    }
    pieces
}

/// Puts rounds together again.
#[derive(Clone, Debug, Default)]
pub struct RoundReader {
    round: Gauges,
}

impl RoundReader {
    pub fn take(&mut self, wire: v1::ReadGaugesResponse) -> Outcome<Option<Gauges>> {
        if let Some(host) = wire.host {
            self.round.host = host.into();
        }
        if self.round.sandboxes.len() + wire.sandboxes.len() > SANDBOXES_MAX {
            return Err(Fault::invalid("a round of gauges has more sandboxes than there can be"));
        }
        self.round.sandboxes.extend(wire.sandboxes.into_iter().filter_map(entry_in));
        Ok(wire.last.then(|| std::mem::take(&mut self.round)))
    }
}

pub fn past_wanted_out(wanted: &PastWanted) -> v1::GaugePastRequest {
    v1::GaugePastRequest {
        sandbox: wanted.sandbox.as_ref().map(ToString::to_string),
        back_ms: milliseconds(wanted.back),
        points: wanted.points,
    }
}

pub fn past_wanted_in(wire: v1::GaugePastRequest) -> Outcome<PastWanted> {
    let back = duration("past.back", wire.back_ms, PAST_MAX)?;
    if !(1..=GAUGE_POINTS_MAX).contains(&wire.points) {
        let words = format!("past.points: {} is not 1 to {GAUGE_POINTS_MAX}", wire.points);
        return Err(Fault::invalid(words));
    }
    let sandbox = wire.sandbox.as_deref().map(sandbox_id).transpose()?;
    Ok(PastWanted { sandbox, back, points: wire.points })
}

impl From<Past> for v1::GaugePastResponse {
    fn from(past: Past) -> Self {
        let line = |it: PastLine| v1::PastLine {
            series: series_out(it.series).into(),
            mean: it.mean,
            peak: it.peak,
        };
        Self {
            until_ms: past.until.0,
            step_ms: milliseconds(past.step),
            lines: past.lines.into_iter().map(line).collect(),
        }
    }
}

impl From<v1::GaugePastResponse> for Past {
    fn from(wire: v1::GaugePastResponse) -> Self {
        let clean = |figures: Vec<f32>| {
            let figures = figures.into_iter().take(GAUGE_POINTS_MAX as usize);
            figures.map(|it| if it.is_finite() { it.max(0.0) } else { f32::NAN }).collect()
        };
        let line = |it: v1::PastLine| {
            // One of a newer version is left out.
            let series = series_in(it.series)?;
            Some(PastLine { series, mean: clean(it.mean), peak: clean(it.peak) })
        };
        Self {
            until: Timestamp(wire.until_ms),
            step: Duration::from_millis(wire.step_ms),
            lines: wire.lines.into_iter().take(Series::ALL.len()).filter_map(line).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::SandboxId;

    fn gauge() -> Gauge {
        Gauge {
            sandbox: SandboxId::random(),
            at: Timestamp(5),
            usage: Usage {
                by: Some(MeteredBy::Processes),
                cpu_time: Some(Duration::from_micros(7)),
                memory_bytes: Some(8),
                pressure: Pressure { io: Some(1.5), ..Pressure::default() },
                ..Usage::default()
            },
            rates: Rates { cpu_percent: Some(12.5), ..Rates::default() },
            gpus: vec![
                GpuShare { index: 1, memory_bytes: None, processes: 2, own: None },
                GpuShare::own(Gpu { name: "far".to_owned(), ..Gpu::default() }),
            ],
        }
    }

    #[test]
    fn rounds_arrive_whole_however_many_sandboxes() {
        for count in [0, 1, GAUGES_PER_MESSAGE, 2 * GAUGES_PER_MESSAGE + 3] {
            let host = HostGauge {
                at: Some(Timestamp(9)),
                load: Some([1.0, 2.0, 3.0]),
                cores: vec![1.0, 2.0],
                gpus: vec![Gpu { name: "g".to_owned(), ..Gpu::default() }],
                ..HostGauge::default()
            };
            let round = Gauges { host, sandboxes: (0..count).map(|_| gauge()).collect() };
            let mut reader = RoundReader::default();
            for _ in 0..2 {
                let mut read = Vec::new();
                for piece in round_out(round.clone()) {
                    read.extend(reader.take(piece).unwrap());
                }
                assert_eq!(read, std::slice::from_ref(&round));
            }
        }
    }

    #[test]
    fn what_is_no_figure_is_not_known() {
        let mut wire = v1::Gauge::from(&gauge());
        (wire.cpu_percent, wire.read_rate, wire.metered_by) = (Some(f64::NAN), Some(-1.0), 99);
        let read = Gauge::try_from(wire).unwrap();
        assert_eq!((read.rates.cpu_percent, read.rates.read, read.usage.by), (None, None, None));
        let wire = v1::Gauge { sandbox: "no id".to_owned(), ..v1::Gauge::from(&gauge()) };
        assert!(Gauge::try_from(wire).is_err());
    }

    #[test]
    fn the_past_is_bounded_both_ways() {
        let request = |back_ms, points| v1::GaugePastRequest { sandbox: None, back_ms, points };
        assert!(past_wanted_in(request(1000, 1)).is_ok());
        assert!(past_wanted_in(request(1000, 0)).is_err());
        assert!(past_wanted_in(request(1000, GAUGE_POINTS_MAX + 1)).is_err());
        assert!(past_wanted_in(request(u64::MAX, 1)).is_err());
        let line = |series| v1::PastLine { series, mean: vec![-1.0, f32::INFINITY], peak: vec![] };
        let lines = vec![line(1), line(77)];
        let past = Past::from(v1::GaugePastResponse { until_ms: 0, step_ms: 1, lines });
        assert_eq!(past.lines.len(), 1);
        let mean = &past.lines.first().unwrap().mean;
        assert!(mean.first() == Some(&0.0) && mean.last().unwrap().is_nan());
    }
}
