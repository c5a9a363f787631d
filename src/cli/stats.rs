//! `stats`: what sandboxes and this machine use.

use std::{collections::BTreeMap, io::IsTerminal};

use serde::Serialize;
use tokio_stream::StreamExt;

use super::{
    args::StatsArgs,
    out, paint, resolve,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::SandboxId,
        units::human_bytes,
    },
    model::gauge::{Gauge, Gauges, GaugesWanted, Gpu, GpuShare, HostGauge, MeteredBy, Pressure},
    runtime::Runtime,
};

/// What is near its limit stands out from here on, in percent.
const NEAR: f64 = 90.0;

pub async fn stats(runtime: &dyn Runtime, args: StatsArgs) -> Outcome<out::Code> {
    let mut names = names(runtime).await?;
    let sandboxes = runtime.list().await?;
    let only = args.sandboxes.iter().map(|it| Ok(resolve::sandbox(&sandboxes, it)?.id.clone()));
    let only = only.collect::<Outcome<Vec<SandboxId>>>()?;
    let wanted = GaugesWanted { only: only.clone(), watch: args.watch };
    let mut rounds = runtime.gauges(wanted).await?;
    let redrawn = args.watch && !args.json && std::io::stdout().is_terminal();
    while let Some(round) = rounds.next().await {
        let round = round?;
        if round.sandboxes.iter().any(|it| !names.contains_key(&it.sandbox)) {
            names = self::names(runtime).await?;
        }
        if args.json {
            print_json(&round, &names, &args)?;
        } else {
            let text = text(&round, &names, args.host);
            // From the top, and nothing of the last round below it.
            let text = if redrawn { format!("\x1b[H\x1b[J{text}") } else { text };
            out::print(&text)?;
        }
        if !args.watch {
            let lacking =
                only.iter().find(|id| round.sandboxes.iter().all(|it| it.sandbox != **id));
            return match lacking {
                Some(id) => {
                    let name = names.get(id).cloned().unwrap_or_else(|| id.to_string());
                    Err(Fault::absent(format!("nothing is known of what {name} uses"))
                        .hint("only a sandbox that runs is metered"))
                }
                None => Ok(out::DONE),
            };
        }
    }
    Err(Fault::lost("the hub ended the readings"))
}

async fn names(runtime: &dyn Runtime) -> Outcome<BTreeMap<SandboxId, String>> {
    Ok(runtime.list().await?.into_iter().map(|it| (it.id, it.name)).collect())
}

fn print_json(
    round: &Gauges,
    names: &BTreeMap<SandboxId, String>,
    args: &StatsArgs,
) -> Outcome<()> {
    let views = round.sandboxes.iter().map(|it| GaugeView::new(it, names, &round.host.gpus));
    match (args.host, args.watch) {
        (true, true) => out::json_line(&HostView::from(&round.host)),
        (true, false) => out::json(&HostView::from(&round.host)),
        (false, true) => {
            for view in views {
                out::json_line(&view)?;
            }
            Ok(())
        }
        (false, false) => out::json(&views.collect::<Vec<_>>()),
    }
}

fn percent(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |it| format!("{it:.0}%"))
}

fn bytes(figure: Option<u64>) -> String {
    figure.map_or_else(|| "-".to_owned(), human_bytes)
}

fn rate(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |it| format!("{}/s", human_bytes(it as u64)))
}

/// A figure and its limit, which stands out when it is near.
fn of_limit(used: Option<f64>, limit: Option<f64>, shown: String, limit_shown: String) -> Cell {
    let near = used.zip(limit).is_some_and(|(used, limit)| used >= limit * NEAR / 100.0);
    let text = if limit.is_some() { format!("{shown} of {limit_shown}") } else { shown };
    Cell::new(&text, if near { Tone::Warn } else { Tone::Plain })
}

fn text(round: &Gauges, names: &BTreeMap<SandboxId, String>, only_host: bool) -> String {
    let mut text = String::new();
    if !only_host {
        let heading =
            ["NAME", "CPU", "MEMORY", "PIDS", "DISK", "READ", "WRITE", "RECEIVED", "SENT", "GPU"];
        let mut table = Table::new(&heading);
        let mut gauges: Vec<_> = round.sandboxes.iter().collect();
        gauges.sort_by_key(|it| names.get(&it.sandbox));
        for it in gauges {
            table.row(row(it, names));
        }
        if round.sandboxes.is_empty() {
            text += "no sandbox runs\n";
        } else {
            text += &table.render(paint::wanted());
        }
        text += "\n";
    }
    text += &host_text(&round.host);
    text
}

fn row(it: &Gauge, names: &BTreeMap<SandboxId, String>) -> Vec<Cell> {
    let (usage, rates) = (&it.usage, &it.rates);
    let name = names.get(&it.sandbox).cloned().unwrap_or_else(|| it.sandbox.to_string());
    let cpu_limit = usage.cpu_limit.map(|it| it * 100.0);
    let float = |it: Option<u64>| it.map(|it| it as f64);
    let gpu = GpuShare::memory_of(&it.gpus);
    let gpu = if it.gpus.is_empty() { "-".to_owned() } else { human_bytes(gpu) };
    vec![
        name.into(),
        of_limit(rates.cpu_percent, cpu_limit, percent(rates.cpu_percent), percent(cpu_limit)),
        of_limit(
            float(usage.memory_bytes),
            float(usage.memory_limit_bytes),
            bytes(usage.memory_bytes),
            bytes(usage.memory_limit_bytes),
        ),
        of_limit(
            float(usage.pids),
            float(usage.pids_limit),
            usage.pids.map_or_else(|| "-".to_owned(), |it| it.to_string()),
            usage.pids_limit.unwrap_or_default().to_string(),
        ),
        bytes(usage.space_bytes).into(),
        rate(rates.read).into(),
        rate(rates.write).into(),
        rate(rates.rx).into(),
        rate(rates.tx).into(),
        gpu.into(),
    ]
}

fn host_text(host: &HostGauge) -> String {
    let processors = host.processors.map_or(String::new(), |it| format!(" of {}%", it * 100));
    let load = host.load.map_or(String::new(), |[one, five, fifteen]| {
        format!(", load {one:.2} {five:.2} {fifteen:.2}")
    });
    let mut text = format!(
        "this machine: cpu {}{processors}{load}, memory {} of {}, disk {} free of {}\n",
        percent(host.cpu_percent),
        bytes(host.memory_bytes),
        bytes(host.memory_total_bytes),
        bytes(host.disk_free_bytes),
        bytes(host.disk_total_bytes),
    );
    for it in &host.gpus {
        let degrees = it.temperature_celsius.map_or(String::new(), |it| format!(", {it:.0} °C"));
        let watts = it.power_watts.map_or(String::new(), |it| format!(", {it:.0} W"));
        let (busy, used) = (percent(it.util_percent), bytes(it.memory_bytes));
        let total = bytes(it.memory_total_bytes);
        let (index, name) = (it.index, &it.name);
        let slowed = match it.slowed.join(", ") {
            none if none.is_empty() => none,
            why => format!(", slowed: {why}"),
        };
        text += &format!(
            "gpu {index} {name}: {busy}, memory {used} of {total}{degrees}{watts}{slowed}\n"
        );
    }
    if let Some(why) = &host.gpus_missing {
        text += &format!("gpus: {why}\n");
    }
    text
}

#[derive(Serialize)]
struct GaugeView<'a> {
    sandbox: &'a str,
    id: &'a str,
    at: String,
    metered_by: Option<&'static str>,
    cpu: CpuView,
    memory: MemoryView,
    pids: PidsView,
    disk: DiskView,
    net: NetView,
    pressure: PressureView,
    gpus: Vec<GpuView<'a>>,
}

#[derive(Serialize)]
struct CpuView {
    /// Of one core.
    percent: Option<f64>,
    limit_percent: Option<f64>,
    time_ms: Option<u64>,
    throttled_percent: Option<f64>,
    throttled_ms: Option<u64>,
}

#[derive(Serialize)]
struct MemoryView {
    used_bytes: Option<u64>,
    limit_bytes: Option<u64>,
    cache_bytes: Option<u64>,
    oom_kills: Option<u64>,
}

#[derive(Serialize)]
struct PidsView {
    count: Option<u64>,
    limit: Option<u64>,
}

#[derive(Serialize)]
struct DiskView {
    used_bytes: Option<u64>,
    read_bytes: Option<u64>,
    write_bytes: Option<u64>,
    read_bytes_per_second: Option<f64>,
    write_bytes_per_second: Option<f64>,
}

#[derive(Serialize)]
struct NetView {
    rx_bytes: Option<u64>,
    tx_bytes: Option<u64>,
    rx_bytes_per_second: Option<f64>,
    tx_bytes_per_second: Option<f64>,
}

#[derive(Serialize)]
struct PressureView {
    cpu_percent: Option<f64>,
    memory_percent: Option<f64>,
    io_percent: Option<f64>,
}

#[derive(Serialize)]
struct GpuView<'a> {
    index: u32,
    name: Option<&'a str>,
    util_percent: Option<f64>,
    /// Of a sandbox its share; of the machine all.
    memory_used_bytes: Option<u64>,
    memory_total_bytes: Option<u64>,
    power_watts: Option<f64>,
    power_limit_watts: Option<f64>,
    temperature_celsius: Option<f64>,
    clock_mhz: Option<u32>,
    slowed: &'a [String],
    ecc_corrected: Option<u64>,
    ecc_uncorrected: Option<u64>,
    instances: &'a [String],
    processes: Option<u32>,
}

#[derive(Serialize)]
struct HostView<'a> {
    at: Option<String>,
    cpu: HostCpuView<'a>,
    memory: HostMemoryView,
    disk: HostDiskView,
    pressure: PressureView,
    gpus: Vec<GpuView<'a>>,
    gpus_missing: Option<&'a str>,
}

#[derive(Serialize)]
struct HostCpuView<'a> {
    percent: Option<f64>,
    processors: Option<u32>,
    cores_percent: &'a [f64],
    load: Option<[f64; 3]>,
}

#[derive(Serialize)]
struct HostMemoryView {
    used_bytes: Option<u64>,
    total_bytes: Option<u64>,
    swap_used_bytes: Option<u64>,
}

#[derive(Serialize)]
struct HostDiskView {
    free_bytes: Option<u64>,
    total_bytes: Option<u64>,
}

fn pressure(it: &Pressure) -> PressureView {
    PressureView { cpu_percent: it.cpu, memory_percent: it.memory, io_percent: it.io }
}

fn milliseconds(it: std::time::Duration) -> u64 {
    u64::try_from(it.as_millis()).unwrap_or(u64::MAX)
}

impl<'a> GaugeView<'a> {
    fn new(it: &'a Gauge, names: &'a BTreeMap<SandboxId, String>, gpus: &'a [Gpu]) -> Self {
        let (usage, rates) = (&it.usage, &it.rates);
        let share = |it: &'a GpuShare| GpuView {
            memory_used_bytes: it.memory_bytes,
            processes: it.own.is_none().then_some(it.processes),
            ..GpuView::new(it.index, it.whole(gpus))
        };
        Self {
            sandbox: names.get(&it.sandbox).map_or(it.sandbox.as_str(), String::as_str),
            id: it.sandbox.as_str(),
            at: it.at.rfc3339(),
            metered_by: usage.by.map(MeteredBy::word),
            cpu: CpuView {
                percent: rates.cpu_percent,
                limit_percent: usage.cpu_limit.map(|it| it * 100.0),
                time_ms: usage.cpu_time.map(milliseconds),
                throttled_percent: rates.throttled_percent,
                throttled_ms: usage.throttled_time.map(milliseconds),
            },
            memory: MemoryView {
                used_bytes: usage.memory_bytes,
                limit_bytes: usage.memory_limit_bytes,
                cache_bytes: usage.cache_bytes,
                oom_kills: usage.oom_kills,
            },
            pids: PidsView { count: usage.pids, limit: usage.pids_limit },
            disk: DiskView {
                used_bytes: usage.space_bytes,
                read_bytes: usage.read_bytes,
                write_bytes: usage.write_bytes,
                read_bytes_per_second: rates.read,
                write_bytes_per_second: rates.write,
            },
            net: NetView {
                rx_bytes: usage.rx_bytes,
                tx_bytes: usage.tx_bytes,
                rx_bytes_per_second: rates.rx,
                tx_bytes_per_second: rates.tx,
            },
            pressure: pressure(&usage.pressure),
            gpus: it.gpus.iter().map(share).collect(),
        }
    }
}

impl<'a> GpuView<'a> {
    fn new(index: u32, gpu: Option<&'a Gpu>) -> Self {
        Self {
            index,
            name: gpu.map(|it| it.name.as_str()),
            util_percent: gpu.and_then(|it| it.util_percent),
            memory_used_bytes: gpu.and_then(|it| it.memory_bytes),
            memory_total_bytes: gpu.and_then(|it| it.memory_total_bytes),
            power_watts: gpu.and_then(|it| it.power_watts),
            power_limit_watts: gpu.and_then(|it| it.power_limit_watts),
            temperature_celsius: gpu.and_then(|it| it.temperature_celsius),
            clock_mhz: gpu.and_then(|it| it.clock_mhz),
            slowed: gpu.map_or(&[], |it| &it.slowed),
            ecc_corrected: gpu.and_then(|it| it.ecc_corrected),
            ecc_uncorrected: gpu.and_then(|it| it.ecc_uncorrected),
            instances: gpu.map_or(&[], |it| &it.instances),
            processes: gpu.and_then(|it| u32::try_from(it.processes.len()).ok()),
        }
    }
}

impl<'a> From<&'a HostGauge> for HostView<'a> {
    fn from(it: &'a HostGauge) -> Self {
        Self {
            at: it.at.map(Timestamp::rfc3339),
            cpu: HostCpuView {
                percent: it.cpu_percent,
                processors: it.processors,
                cores_percent: &it.cores,
                load: it.load,
            },
            memory: HostMemoryView {
                used_bytes: it.memory_bytes,
                total_bytes: it.memory_total_bytes,
                swap_used_bytes: it.swap_bytes,
            },
            disk: HostDiskView { free_bytes: it.disk_free_bytes, total_bytes: it.disk_total_bytes },
            pressure: pressure(&it.pressure),
            gpus: it.gpus.iter().map(|it| GpuView::new(it.index, Some(it))).collect(),
            gpus_missing: it.gpus_missing.as_deref(),
        }
    }
}
