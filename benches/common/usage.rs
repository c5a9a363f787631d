//! What a subject's processes use, read from /proc. They are found by a mark in their environment,
//! daemons included; what runs inside of the panes is told apart by its arguments.

use std::{collections::BTreeMap, fs};

/// Sums over the processes of one name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub processes: u32,
    pub cpu_seconds: f64,
    pub private_kb: u64,
    pub shared_fair_kb: u64,
    pub wakeups: u64,
}

/// By process name; programs inside of panes are `(inside)`.
pub fn of(mark: &str) -> BTreeMap<String, Usage> {
    let mut sums: BTreeMap<String, Usage> = BTreeMap::new();
    let own = std::process::id().to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|it| it.is_ascii_digit()) {
            continue;
        }
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        if !holds(&read("environ"), mark) && !holds(&read("cmdline"), mark) {
            continue;
        }
        let name = name_of(&String::from_utf8_lossy(&read("cmdline")));
        let sum = sums.entry(name).or_default();
        sum.processes += 1;
        let memory = String::from_utf8_lossy(&read("smaps_rollup")).into_owned();
        sum.private_kb += field(&memory, "Private_Clean:") + field(&memory, "Private_Dirty:");
        sum.shared_fair_kb += field(&memory, "Pss:");
        for task in fs::read_dir(entry.path().join("task")).into_iter().flatten().flatten() {
            let times = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanos: f64 =
                times.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default();
            sum.cpu_seconds += nanos / 1e9;
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            sum.wakeups += field(&status, "voluntary_ctxt_switches:");
        }
    }
    sums
}

fn holds(bytes: &[u8], mark: &str) -> bool {
    bytes.windows(mark.len()).any(|it| it == mark.as_bytes())
}

/// `sandwatch shim`, `tmux`, `(inside)`: the program, and for our own its first argument.
fn name_of(cmdline: &str) -> String {
    let args: Vec<&str> = cmdline.split('\0').filter(|it| !it.is_empty()).collect();
    let program = args.first().and_then(|it| it.rsplit('/').next()).unwrap_or_default();
    match (program, args.get(1)) {
        _ if args.contains(&"--inner") => "(inside)".to_owned(),
        ("sandwatch", Some(verb)) => format!("sandwatch {verb}"),
        _ => program.trim_end_matches(':').to_owned(),
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|it| it.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
