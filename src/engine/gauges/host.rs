//! What this machine uses, as /proc tells.

use std::{fs, path::Path, path::PathBuf};

use crate::{
    base::{clock, limits::CORES_SHOWN_MAX},
    model::gauge::{HostGauge, Pressure},
};

/// Remembers the last reading, for what is only known as growth.
#[derive(Default)]
pub struct HostReader {
    /// Of all processors together, and of each: ticks that were busy, and all of them.
    before: Vec<(u64, u64)>,
}

impl HostReader {
    /// Reads on a thread that blocks nobody: a disk may hang.
    pub async fn read(&mut self, state: PathBuf) -> HostGauge {
        let before = std::mem::take(&mut self.before);
        let read = tokio::task::spawn_blocking(move || {
            let ticks = fs::read_to_string("/proc/stat").map(|it| ticks(&it)).unwrap_or_default();
            let mut gauge = read(&state);
            let busy = |at: usize| percent(*before.get(at)?, *ticks.get(at)?);
            let cores = ticks.len().saturating_sub(1);
            gauge.cpu_percent = busy(0).map(|it| it * cores as f64);
            gauge.processors = u32::try_from(cores).ok().filter(|it| *it > 0);
            let cores = 1..ticks.len().min(CORES_SHOWN_MAX + 1);
            gauge.cores = cores.map_while(busy).collect();
            (ticks, gauge)
        });
        let (ticks, gauge) = read.await.unwrap_or_default();
        self.before = ticks;
        gauge
    }
}

/// Lines `cpu`, `cpu0` and so on: ticks that were busy, and all of them.
fn ticks(text: &str) -> Vec<(u64, u64)> {
    let lines = text.lines().take_while(|it| it.starts_with("cpu"));
    let numbers = lines.map(|line| {
        // user nice system idle iowait irq softirq steal; the rest is counted in those.
        let fields = line.split_whitespace().skip(1).take(8);
        let fields: Vec<u64> = fields.map_while(|it| it.parse().ok()).collect();
        let all: u64 = fields.iter().sum();
        let idle: u64 = fields.iter().skip(3).take(2).sum();
        (all - idle, all)
    });
    numbers.collect()
}

fn percent(before: (u64, u64), now: (u64, u64)) -> Option<f64> {
    let all = now.1.checked_sub(before.1).filter(|it| *it > 0)?;
    Some(now.0.saturating_sub(before.0) as f64 / all as f64 * 100.0)
}

fn read(state: &Path) -> HostGauge {
    let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let memory = text("/proc/meminfo");
    let of = |name: &str| {
        let line = memory.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let total = of("MemTotal");
    let load = text("/proc/loadavg");
    let mut load = load.split_whitespace().map(|it| it.parse::<f64>().ok());
    let mut next = || load.next().flatten();
    let load = next().zip(next()).zip(next()).map(|((one, five), fifteen)| [one, five, fifteen]);
    let waited = |what: &str| Pressure::told(&text(&format!("/proc/pressure/{what}")));
    let disk = rustix::fs::statvfs(state).ok();
    HostGauge {
        at: Some(clock::wall()),
        load,
        memory_total_bytes: total,
        memory_bytes: total.zip(of("MemAvailable")).map(|(all, free)| all.saturating_sub(free)),
        swap_bytes: of("SwapTotal").zip(of("SwapFree")).map(|(all, free)| all.saturating_sub(free)),
        // What is kept for root alone is not free.
        disk_free_bytes: disk.as_ref().map(|it| it.f_bavail.saturating_mul(it.f_frsize)),
        disk_total_bytes: disk.as_ref().map(|it| {
            let kept = it.f_bfree.saturating_sub(it.f_bavail);
            it.f_blocks.saturating_sub(kept).saturating_mul(it.f_frsize)
        }),
        pressure: Pressure { cpu: waited("cpu"), memory: waited("memory"), io: waited("io") },
        ..HostGauge::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_busy_by_what_grew() {
        let before = ticks("cpu  10 0 10 70 10 0 0 0 99 99\ncpu0 10 0 10 70 10 0 0 0\nintr 5\n");
        assert_eq!(before, [(20, 100), (20, 100)]);
        let now = ticks("cpu  60 0 10 120 10 0 0 0\ncpu0 60 0 10 120 10 0 0 0\n");
        assert_eq!(percent(before[0], now[0]), Some(50.0));
        assert_eq!(percent(before[0], before[0]), None, "no time has passed");
        assert_eq!(ticks("cpu x\n"), [(0, 0)]);
    }

    #[test]
    fn this_machine_has_memory_and_a_disk() {
        let gauge = read(Path::new("/"));
        assert!(gauge.memory_total_bytes > gauge.memory_bytes && gauge.memory_bytes > Some(0));
        assert!(gauge.disk_total_bytes > Some(0) && gauge.load.is_some());
    }
}
