//! What the benches share: a headless outer terminal, programs to run inside of panes, the subjects
//! they are compared on, and the arithmetic. Nothing here judges; docs/benchmarks.md does.
#![allow(dead_code, reason = "each bench uses a part of this")]

pub mod inner;
pub mod local;
pub mod outer;
pub mod prototype;
pub mod slow;
pub mod subject;
pub mod tun;
pub mod usage;

use std::{path::Path, time::Duration};

use sandwatch::model::{
    sandbox::{SandboxSpec, Workspace, WorkspaceMode},
    session::SessionSpec,
};

/// One program in a sandbox with nothing asked for, not recorded.
pub fn spec(driver: &str, workspace: &Path, command: &[&str]) -> SandboxSpec {
    let command = command.iter().map(|it| (*it).to_owned()).collect();
    let workspace = Workspace { path: workspace.to_owned(), mode: WorkspaceMode::None };
    let bare = SandboxSpec::bare(driver, workspace);
    SandboxSpec { first: SessionSpec { command, ..bare.first }, ..bare }
}

/// The value of `--name VALUE` on the bench's command line.
pub fn option<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    let mut args = std::env::args().skip_while(|it| it != name).skip(1);
    args.next().and_then(|it| it.parse().ok()).unwrap_or(otherwise)
}

/// Values without `--`, other than those of options, e.g. the subjects to run.
pub fn chosen(all: &[&str]) -> Vec<String> {
    let only: String = option("--only", String::new());
    let wanted = |it: &str| only.is_empty() || only.split(',').any(|word| word == it);
    all.iter().filter(|it| wanted(it)).map(|it| (*it).to_owned()).collect()
}

/// The sample below which `share` of all samples lie.
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// Half of the distance between the lowest and highest round, as a share of the median: the noise.
pub fn spread(samples: &[f64]) -> f64 {
    (quantile(samples, 1.0) - quantile(samples, 0.0)) / 2.0 / median(samples)
}

pub fn millis(it: Duration) -> f64 {
    it.as_secs_f64() * 1e3
}

/// One line of `/proc/loadavg`: other work on the machine is part of every result.
pub fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}
