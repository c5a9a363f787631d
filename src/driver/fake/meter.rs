//! Made-up figures that move as those of programs do: for the demo, and for tests of what shows them.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    base::{clock, fault::Outcome},
    driver::{Ground, Meter, Metered},
    model::gauge::{MeteredBy, Usage},
};

pub struct FakeMeter;

#[async_trait]
impl Meter for FakeMeter {
    async fn read(&mut self, grounds: &[Ground], _processes: bool) -> Vec<Outcome<Metered>> {
        let now = clock::monotonic().as_secs_f64();
        grounds
            .iter()
            .map(|it| Ok(Metered { usage: usage(&it.name, now), ..Metered::default() }))
            .collect()
    }
}

/// The same at the same time for the same name.
fn usage(name: &str, now: f64) -> Usage {
    let seed = name.bytes().fold(7_u32, |sum, it| sum.wrapping_mul(31).wrapping_add(it.into()));
    let kind = f64::from(seed % 97) / 97.0;
    let (pace, phase) = (3.0 + 9.0 * kind, 6.3 * kind);
    // What it runs on average, and a wave around that.
    let level = 0.1 + 1.2 * kind;
    let cpu = level * (now - 0.9 * pace * (now / pace + phase).cos() + 0.9 * pace);
    let wave = 0.5 + 0.5 * (now / (4.0 * pace) + phase).sin();
    let sum =
        |rate: f64| Some((rate * (now - 0.9 * pace * (now / pace).cos() + 0.9 * pace)) as u64);
    let memory = (180.0 + 1400.0 * kind * (0.6 + 0.4 * wave)) * 1024.0 * 1024.0;
    Usage {
        by: Some(MeteredBy::Driver),
        cpu_time: Some(Duration::from_secs_f64(cpu.max(0.0))),
        cpu_limit: (seed % 3 == 0).then_some(2.0),
        memory_bytes: Some(memory as u64),
        memory_limit_bytes: (seed % 2 == 0).then_some(2 << 30),
        pids: Some(3 + u64::from(seed % 11)),
        pids_limit: (seed % 5 == 0).then_some(64),
        read_bytes: sum(40_000.0 * kind),
        write_bytes: sum(220_000.0 * kind),
        space_bytes: Some((30.0 + 900.0 * kind * (1.0 + 0.2 * wave)) as u64 * 1024 * 1024),
        rx_bytes: sum(90_000.0 * kind),
        tx_bytes: sum(12_000.0 * kind),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_only_grow() {
        for name in ["api", "docs-site", "crawler", ""] {
            let mut before = usage(name, 0.0);
            for second in 1..200 {
                let now = usage(name, f64::from(second));
                assert!(now.cpu_time >= before.cpu_time, "{name} {second}");
                assert!(now.write_bytes >= before.write_bytes && now.rx_bytes >= before.rx_bytes);
                before = now;
            }
        }
    }
}
