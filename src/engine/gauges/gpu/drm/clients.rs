//! What programs do on GPUs of AMD and Intel, as the kernel tells of each open file: `/proc/PID/fdinfo/N`, with keys
//! that begin with `drm-`. A file that several processes share is one client, and counts once.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::Path,
    time::Duration,
};

use super::super::{figure, files::Files, sum};
use crate::base::limits::{
    GPU_ENGINES_MAX, GPU_FILES_MAX, GPU_FILES_OF_ONE_MAX, GPU_LINKS_MAX, GPU_LINKS_OF_ALL_MAX,
    GPU_LOOKED_EVERY,
};

/// Longest name of a part of a GPU, in bytes.
const NAME_BYTES_MAX: usize = 32;
/// Parts of memory that are told of one client.
const REGIONS_MAX: usize = 32;

/// Where a client is: the slot of its GPU on the PCI bus, and its number there.
type Key = (String, u64);

/// Remembers the last reading, for what is only known as growth.
#[derive(Default)]
pub struct Clients {
    /// Open files on GPUs, by process and number, as last looked for.
    files: Vec<(u32, String)>,
    readings: u32,
    /// Some processes could not be looked at, or not to their end.
    unseen: bool,
    at: Duration,
    before: HashMap<Key, BTreeMap<String, Engine>>,
}

/// What all programs together do on one GPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Use {
    /// Of the time, by the part of it that is busiest; `None` = not known before the next reading.
    pub busy_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    /// Each process once, with its memory.
    pub processes: BTreeMap<u32, Option<u64>>,
}

/// A part of a GPU that works by itself, as one client has used it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Engine {
    busy: Busy,
    /// So many of its kind are counted together.
    capacity: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Busy {
    Nanoseconds(u64),
    /// Of how many, since the same moment.
    Cycles(u64, u64),
}

#[derive(Debug, PartialEq)]
struct Client {
    slot: String,
    number: u64,
    engines: BTreeMap<String, Engine>,
    memory_bytes: Option<u64>,
}

impl Clients {
    /// One reading, by slot.
    pub fn read(&mut self, proc: &Path, now: Duration) -> HashMap<String, Use> {
        if self.readings.is_multiple_of(GPU_LOOKED_EVERY) {
            self.look(proc);
        }
        self.readings = self.readings.wrapping_add(1);
        let apart = now.saturating_sub(self.at).as_nanos() as f64;
        let mut uses: HashMap<String, Use> = HashMap::new();
        let mut loads: HashMap<String, BTreeMap<String, f64>> = HashMap::new();
        let mut seen: HashMap<Key, BTreeMap<String, Engine>> = HashMap::new();
        for (pid, file) in &self.files {
            let files = Files::at(proc.join(pid.to_string()).join("fdinfo"));
            let Some(client) = files.text(file).and_then(|it| client(&it)) else { continue };
            let key = (client.slot, client.number);
            if seen.contains_key(&key) {
                continue;
            }
            let of = uses.entry(key.0.clone()).or_default();
            of.memory_bytes = sum(of.memory_bytes, client.memory_bytes);
            let memory = of.processes.entry(*pid).or_default();
            *memory = sum(*memory, client.memory_bytes);
            let mut engines = client.engines;
            if let Some(before) = self.before.get(&key) {
                let loads = loads.entry(key.0.clone()).or_default();
                for (name, engine) in &mut engines {
                    let Some(before) = before.get(name) else { continue };
                    *loads.entry(name.clone()).or_default() += engine.load(before, apart);
                    engine.catch_up(before);
                }
            }
            seen.insert(key, engines);
        }
        for (slot, of) in &mut uses {
            let busiest = loads.get(slot).and_then(|it| it.values().copied().reduce(f64::max));
            of.busy_percent = busiest.and_then(|it| figure::percent(it * 100.0));
        }
        self.before = seen;
        self.at = now;
        uses
    }

    /// There may be programs that were not seen: of other users, or behind too many open files.
    pub fn unseen(&self) -> bool {
        self.unseen
    }

    /// A reading was made before, so that what is not seen is not there.
    pub fn settled(&self) -> bool {
        self.readings > 1
    }

    /// Looks through the open files of all processes.
    fn look(&mut self, proc: &Path) {
        self.files.clear();
        self.unseen = false;
        let all = fs::read_dir(proc).into_iter().flatten().flatten();
        let mut pids: Vec<u32> =
            all.filter_map(|it| it.file_name().to_str().and_then(|it| it.parse().ok())).collect();
        pids.sort_unstable();
        let mut links_left = GPU_LINKS_OF_ALL_MAX;
        for pid in pids {
            let open = match fs::read_dir(proc.join(pid.to_string()).join("fd")) {
                Ok(open) => open,
                Err(error) => {
                    self.unseen |= error.kind() == io::ErrorKind::PermissionDenied;
                    continue;
                }
            };
            let told = Files::at(proc.join(pid.to_string()).join("fdinfo"));
            let (mut of_one, mut looked) = (0, 0);
            for it in open.flatten() {
                let room = self.files.len() < GPU_FILES_MAX && of_one < GPU_FILES_OF_ONE_MAX;
                if links_left == 0 || looked == GPU_LINKS_MAX || !room {
                    // What is behind may be on a GPU as well.
                    self.unseen = true;
                    break;
                }
                (links_left, looked) = (links_left - 1, looked + 1);
                // The path is as that program's own files are laid out, and it may lay them out as it likes: it only
                // saves reading what the kernel tells of all others.
                let target = fs::read_link(it.path()).unwrap_or_default();
                if !target.to_str().is_some_and(|it| it.contains("/dri/")) {
                    continue;
                }
                let Ok(name) = it.file_name().into_string() else { continue };
                if told.text(&name).is_some_and(|it| client(&it).is_some()) {
                    of_one += 1;
                    self.files.push((pid, name));
                }
            }
        }
    }
}

impl Engine {
    /// Which part of the time it worked between two readings, so many nanoseconds apart.
    fn load(&self, before: &Self, apart: f64) -> f64 {
        let part = match (self.busy, before.busy) {
            (Busy::Nanoseconds(now), Busy::Nanoseconds(before)) => {
                now.saturating_sub(before) as f64 / apart
            }
            (Busy::Cycles(now, all), Busy::Cycles(before, all_before)) => {
                now.saturating_sub(before) as f64 / all.saturating_sub(all_before) as f64
            }
            _ => 0.0,
        };
        let part = part / self.capacity.max(1) as f64;
        if part.is_finite() { part.min(1.0) } else { 0.0 }
    }

    /// A counter may be behind for a while: what was seen is not taken back.
    fn catch_up(&mut self, before: &Self) {
        match (&mut self.busy, before.busy) {
            (Busy::Nanoseconds(now), Busy::Nanoseconds(before)) => *now = before.max(*now),
            (Busy::Cycles(now, all), Busy::Cycles(before, all_before)) => {
                (*now, *all) = (before.max(*now), all_before.max(*all));
            }
            _ => {}
        }
    }
}

/// Reads what the kernel tells of one open file; `None` = it is none of a GPU, or an old kernel's.
fn client(text: &str) -> Option<Client> {
    let (mut slot, mut number) = (None, None);
    let mut times: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut cycles, mut all_cycles, mut capacities) =
        (times.clone(), times.clone(), times.clone());
    let (mut resident, mut held) = (times.clone(), times.clone());
    for line in text.lines() {
        let Some((key, value)) = line.strip_prefix("drm-").and_then(|it| it.split_once(':')) else {
            continue;
        };
        let value = value.trim();
        match key {
            "pdev" => slot = slot.or(Some(value)),
            "client-id" => number = number.or(value.parse::<u64>().ok()),
            _ => {
                // Longer keys come before those that begin like them.
                let of = [
                    ("engine-capacity-", &mut capacities, GPU_ENGINES_MAX),
                    ("engine-", &mut times, GPU_ENGINES_MAX),
                    ("total-cycles-", &mut all_cycles, GPU_ENGINES_MAX),
                    ("cycles-", &mut cycles, GPU_ENGINES_MAX),
                    ("resident-", &mut resident, REGIONS_MAX),
                    ("memory-", &mut held, REGIONS_MAX),
                ];
                let of = of
                    .into_iter()
                    .find_map(|(begins, map, most)| Some((key.strip_prefix(begins)?, map, most)));
                let Some((name, map, most)) = of else { continue };
                let known = amount(value).filter(|_| name.len() <= NAME_BYTES_MAX);
                if let Some(amount) = known.filter(|_| map.len() < most) {
                    // The first of its name counts.
                    map.entry(name).or_insert(amount);
                }
            }
        }
    }
    let engine = |name: &str, busy| {
        let capacity = capacities.get(name).copied().unwrap_or(1).max(1);
        (name.to_owned(), Engine { busy, capacity })
    };
    let by_cycles = cycles
        .iter()
        .filter_map(|(name, it)| Some(engine(name, Busy::Cycles(*it, *all_cycles.get(name)?))));
    let mut engines: BTreeMap<_, _> = by_cycles.collect();
    engines.extend(times.iter().map(|(name, it)| engine(name, Busy::Nanoseconds(*it))));
    for (name, it) in held {
        resident.entry(name).or_insert(it);
    }
    Some(Client {
        slot: slot?.to_owned(),
        number: number?,
        engines,
        memory_bytes: memory(&resident),
    })
}

/// Of a GPU with memory of its own what is there; else what it has of the machine's.
fn memory(regions: &BTreeMap<&str, u64>) -> Option<u64> {
    let of = |begin: &[&str]| {
        let some = regions.iter().filter(|it| begin.iter().any(|begin| it.0.starts_with(begin)));
        some.fold(None, |all, (_, it)| sum(all, Some(*it)))
    };
    of(&["vram", "local"]).or_else(|| of(&["system", "gtt", "stolen"]))
}

/// A number with its unit: of memory in bytes, of time in nanoseconds, else as it is.
fn amount(text: &str) -> Option<u64> {
    let mut words = text.split_ascii_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let unit = match words.next() {
        None | Some("ns") => 1,
        Some("KiB") => 1 << 10,
        Some("MiB") => 1 << 20,
        Some("GiB") => 1 << 30,
        Some(_) => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_what_the_kernel_tells_of_its_file() {
        let text = "pos:\t0\nflags:\t02400002\ndrm-driver:\txe\ndrm-client-id:\t3\ndrm-pdev:\t0000:03:00.0\n\
                    drm-total-system:\t0\ndrm-resident-system:\t4096\ndrm-resident-vram0:\t23992 KiB\n\
                    drm-cycles-vcs:\t100\ndrm-total-cycles-vcs:\t9000\ndrm-engine-capacity-vcs:\t2\n\
                    drm-cycles-bcs:\t7\n";
        let it = client(text).unwrap();
        assert_eq!((it.slot.as_str(), it.number), ("0000:03:00.0", 3));
        assert_eq!(it.memory_bytes, Some(23992 << 10), "not what it has of the machine's");
        let vcs = Engine { busy: Busy::Cycles(100, 9000), capacity: 2 };
        assert_eq!(it.engines, BTreeMap::from([("vcs".to_owned(), vcs)]), "bcs of nothing is none");
        let older = "drm-pdev: 0000:03:00.0\ndrm-client-id: 9\ndrm-memory-vram: 2 MiB\n\
                     drm-memory-gtt: 5 MiB\ndrm-engine-gfx: 77 ns\ndrm-engine-gfx: 99 ns\n";
        let it = client(older).unwrap();
        assert_eq!(it.memory_bytes, Some(2 << 20));
        assert_eq!(it.engines["gfx"], Engine { busy: Busy::Nanoseconds(77), capacity: 1 });
        let shared = "drm-pdev: a\ndrm-client-id: 1\ndrm-resident-system0: 1 KiB\ndrm-resident-stolen-system0: 0\n";
        assert_eq!(client(shared).unwrap().memory_bytes, Some(1024));
    }

    #[test]
    fn what_is_odd_is_not_known_and_nothing_worse() {
        assert_eq!(client(""), None);
        assert_eq!(client("drm-client-id: 1\n"), None, "of which GPU?");
        assert_eq!(client("drm-pdev: a\ndrm-client-id: -1\n"), None);
        let many: String = (0..9999).map(|it| format!("drm-engine-e{it}: 1 ns\n")).collect();
        let it = client(&format!("drm-pdev: a\ndrm-client-id: 1\n{many}")).unwrap();
        assert_eq!(it.engines.len(), GPU_ENGINES_MAX);
        let odd = "drm-pdev: a\ndrm-client-id: 1\ndrm-resident-vram: 18446744073709551615 MiB\n\
                   drm-engine-: 5 parsecs\ndrm-engine-capacity-gfx: 0\ndrm-engine-gfx: 1 ns\ndrm-x\n";
        let it = client(odd).unwrap();
        assert_eq!((it.memory_bytes, it.engines["gfx"].capacity), (None, 1));
    }

    #[test]
    fn who_has_files_called_so_hides_nobody() {
        let proc = tempfile::tempdir().unwrap();
        let file = |pid: u32, number: u32, told: &str| {
            let at = proc.path().join(pid.to_string());
            for part in ["fd", "fdinfo"] {
                fs::create_dir_all(at.join(part)).unwrap();
            }
            let link = at.join("fd").join(number.to_string());
            std::os::unix::fs::symlink("/tmp/dri/x", link).unwrap();
            fs::write(at.join("fdinfo").join(number.to_string()), told).unwrap();
        };
        let most = u32::try_from(GPU_FILES_OF_ONE_MAX).unwrap();
        (0..most + 9).for_each(|number| file(1, number, "pos:\t0\n"));
        let real = |number| format!("drm-pdev: a\ndrm-client-id: {number}\n");
        file(2, 5, &real(1));
        let mut clients = Clients::default();
        let uses = clients.read(proc.path(), Duration::from_secs(1));
        assert!(uses["a"].processes.contains_key(&2) && !uses["a"].processes.contains_key(&1));
        assert!(!clients.unseen());
        // Of one that has more of them than are read that is said.
        (0..=most).for_each(|number| file(3, number, &real(number + 2)));
        let mut clients = Clients::default();
        clients.read(proc.path(), Duration::from_secs(1));
        assert!(clients.unseen());
    }

    #[test]
    fn a_counter_that_goes_back_has_not_worked_twice() {
        let percent = |now: &Engine, before: &Engine| (now.load(before, 400.0) * 100.0) as u32;
        let at = |it| Engine { busy: Busy::Nanoseconds(it), capacity: 2 };
        assert_eq!(percent(&at(300), &at(100)), 25);
        let mut behind = at(50);
        assert_eq!(percent(&behind, &at(300)), 0);
        behind.catch_up(&at(300));
        assert_eq!(percent(&at(300), &behind), 0);
        let cycles = |it, all| Engine { busy: Busy::Cycles(it, all), capacity: 1 };
        assert_eq!(percent(&cycles(30, 100), &cycles(10, 60)), 50);
        assert_eq!(percent(&cycles(30, 60), &cycles(10, 60)), 0, "no time has passed");
        assert_eq!(percent(&cycles(10, 60), &cycles(10, 60)), 0);
    }
}
