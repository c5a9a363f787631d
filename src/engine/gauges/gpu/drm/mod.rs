//! GPUs of AMD and Intel, as the kernel's drivers tell in /sys, and in /proc of each program on them. Nothing is loaded
//! and nothing is started for it.

mod clients;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use self::clients::{Clients, Use};
use super::{Reading, Source, figure, files::Files, pci, word};
use crate::{
    base::{
        clock,
        fault::Outcome,
        limits::{GPU_PROCESSES_MAX, GPU_WORDS_MAX, GPUS_SHOWN_MAX},
    },
    model::gauge::{Gpu, GpuProcess},
};

const UNSEEN: &str = "not all that programs do on AMD or Intel GPUs is seen: only a hub of root sees those of other users, and nobody all of one that has very many files open";

/// Files of the kernel that say why a GPU of Intel's is slow, by the end of their names, and what they mean.
const SLOWED: [(&str, &str); 8] = [
    ("pl1", "power limit"),
    ("pl2", "power limit for short"),
    ("pl4", "peak power limit"),
    ("thermal", "temperature"),
    ("prochot", "the processor is too hot"),
    ("ratl", "average temperature"),
    ("vr_thermalert", "voltage regulator is too hot"),
    ("vr_tdc", "voltage regulator's limit"),
];

/// Reads cards below these roots.
pub struct Drm {
    sys: PathBuf,
    proc: PathBuf,
    /// Lists of names of devices, the first that is there counts.
    names: Vec<PathBuf>,
    /// By slot, in the order in which they were first seen.
    cards: Vec<Card>,
    clients: Clients,
}

/// What is remembered of a card.
struct Card {
    slot: String,
    name: String,
    /// When it was read, and its energy then, in microjoules.
    energy: Option<(Duration, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Maker {
    Amd,
    Intel,
}

/// A card as it is there now.
struct Found {
    maker: Maker,
    slot: String,
    /// Vendor and device.
    ids: Option<(String, String)>,
    card: Files,
    device: Files,
}

impl Drm {
    pub fn here() -> Self {
        let names = pci::NAMES.iter().map(PathBuf::from).collect();
        Self::below("/sys".into(), "/proc".into(), names)
    }

    fn below(sys: PathBuf, proc: PathBuf, names: Vec<PathBuf>) -> Self {
        Self { sys, proc, names, cards: Vec::new(), clients: Clients::default() }
    }

    fn read_at(&mut self, now: Duration) -> Reading {
        let found = found(&self.sys);
        if found.is_empty() {
            return Reading::default();
        }
        let mut uses = self.clients.read(&self.proc, now);
        let (unseen, settled) = (self.clients.unseen(), self.clients.settled());
        // Who has not been seen has done nothing, if all can be seen.
        let nobody = Use {
            busy_percent: (settled && !unseen).then_some(0.0),
            memory_bytes: (!unseen).then_some(0),
            ..Use::default()
        };
        let gpus = found.iter().map(|it| {
            let at = self.known(it);
            let used = uses.remove(&it.slot).unwrap_or_else(|| nobody.clone());
            let mut gpu = Gpu { index: u32::try_from(at).unwrap_or(u32::MAX), ..Gpu::default() };
            if let Some(card) = self.cards.get_mut(at) {
                gpu.name.clone_from(&card.name);
                it.read(&mut gpu, card, used, now);
            }
            gpu
        });
        let gpus = gpus.collect();
        Reading { gpus, amiss: Vec::new(), unseen: unseen.then(|| UNSEEN.to_owned()) }
    }

    /// Where a card is among those that are known.
    fn known(&mut self, found: &Found) -> usize {
        let at = self.cards.iter().position(|it| it.slot == found.slot);
        at.unwrap_or_else(|| {
            let name = found.name(&self.names);
            self.cards.push(Card { slot: found.slot.clone(), name, energy: None });
            self.cards.len() - 1
        })
    }
}

impl Source for Drm {
    fn read(&mut self) -> Outcome<Reading> {
        Ok(self.read_at(clock::monotonic()))
    }
}

/// The cards of drivers that are known here, by their numbers.
fn found(sys: &Path) -> Vec<Found> {
    let mut cards = Vec::new();
    // Not `card0-DP-1`, which is a plug of it.
    for card in Files::at(sys.join("class/drm")).numbered("card") {
        let device = card.below("device");
        let text = device.text("uevent").unwrap_or_default();
        let of = |key: &str| text.lines().find_map(|it| it.strip_prefix(key)?.strip_prefix('='));
        let maker = match of("DRIVER") {
            Some("amdgpu") => Maker::Amd,
            Some("i915" | "xe") => Maker::Intel,
            _ => continue,
        };
        let Some(slot) = of("PCI_SLOT_NAME").map(str::to_owned) else { continue };
        let ids = of("PCI_ID").and_then(|it| it.split_once(':'));
        let ids = ids.map(|(vendor, it)| (vendor.to_ascii_lowercase(), it.to_ascii_lowercase()));
        cards.push(Found { maker, slot, ids, card, device });
    }
    cards.truncate(GPUS_SHOWN_MAX);
    cards
}

impl Found {
    fn name(&self, lists: &[PathBuf]) -> String {
        let maker = match self.maker {
            Maker::Amd => "AMD",
            Maker::Intel => "Intel",
        };
        let own = self.device.line("product_name");
        let listed = || self.ids.as_ref().and_then(|(of, it)| pci::name(lists, of, it));
        match (own.or_else(listed), &self.ids) {
            (Some(name), _) if name.starts_with(maker) => word(&name),
            (Some(name), _) => word(&format!("{maker} {name}")),
            (None, Some((_, device))) => word(&format!("{maker} GPU {device}")),
            (None, None) => format!("{maker} GPU"),
        }
    }

    fn read(&self, gpu: &mut Gpu, card: &mut Card, used: Use, now: Duration) {
        let processes = used.processes.into_iter().take(GPU_PROCESSES_MAX);
        let on = |(pid, memory_bytes)| GpuProcess { pid, memory_bytes, sandbox: None };
        gpu.processes = processes.map(on).collect();
        // One that sleeps does nothing, and looking further would wake it.
        if self.device.line("power/runtime_status").is_some_and(|it| it == "suspended") {
            gpu.util_percent = Some(0.0);
            card.energy = None;
            return;
        }
        (gpu.util_percent, gpu.memory_bytes) = (used.busy_percent, used.memory_bytes);
        self.read_sensors(gpu, card, now);
        match self.maker {
            Maker::Amd => self.read_amd(gpu),
            Maker::Intel => self.read_intel(gpu),
        }
    }

    fn read_sensors(&self, gpu: &mut Gpu, card: &mut Card, now: Duration) {
        let Some(sensors) = self.device.below("hwmon").numbered("hwmon").into_iter().next() else {
            return;
        };
        let watts = |it: u64| figure::watts(it as f64 / 1e6);
        gpu.power_watts = sensors.number_of(&["power1_average", "power1_input"]).and_then(watts);
        let limit = sensors.number_of(&["power1_cap", "power1_max"]).filter(|it| *it > 0);
        gpu.power_limit_watts = limit.and_then(watts);
        let temperature = sensors.signed_of(&["temp1_input", "temp2_input"]);
        gpu.temperature_celsius = temperature.and_then(|it| figure::celsius(it as f64 / 1e3));
        gpu.clock_mhz = sensors.number("freq1_input").and_then(|it| figure::mhz(it / 1_000_000));
        // Where no power is told, energy may be.
        let energy = sensors.number("energy1_input").map(|it| (now, it));
        if let (None, Some((before, then)), Some((_, joules))) =
            (gpu.power_watts, card.energy, energy)
        {
            let seconds = now.saturating_sub(before).as_secs_f64();
            let grown = joules.checked_sub(then).map(|it| it as f64 / 1e6 / seconds);
            gpu.power_watts = grown.and_then(figure::watts);
        }
        card.energy = energy;
    }

    fn read_amd(&self, gpu: &mut Gpu) {
        let busy = self.device.number("gpu_busy_percent").and_then(|it| figure::percent(it as f64));
        gpu.util_percent = busy.or(gpu.util_percent);
        gpu.memory_total_bytes = self.device.number("mem_info_vram_total").filter(|it| *it > 0);
        let used = self.device.number("mem_info_vram_used");
        let used = used.filter(|it| gpu.memory_total_bytes.is_none_or(|all| *it <= all));
        gpu.memory_bytes = used.or(gpu.memory_bytes);
        if gpu.clock_mhz.is_none() {
            let text = self.device.text("pp_dpm_sclk").unwrap_or_default();
            let line = text.lines().find(|it| it.trim_end().ends_with('*'));
            let mhz = line.and_then(|it| it.split_once(':')?.1.trim().split_once(['M', 'm']));
            gpu.clock_mhz = mhz.and_then(|it| figure::mhz(it.0.parse().ok()?));
        }
    }

    fn read_intel(&self, gpu: &mut Gpu) {
        let newer = self.device.below("tile0/gt0/freq0");
        let mhz = self.card.number("gt_act_freq_mhz").or_else(|| newer.number("act_freq"));
        gpu.clock_mhz = mhz.and_then(figure::mhz);
        let (older, newer) = (self.card.below("gt/gt0"), newer.below("throttle"));
        let is = |files: &Files, name: String| files.number(&name).is_some_and(|it| it != 0);
        let why = SLOWED.iter().filter(|(end, _)| {
            is(&older, format!("throttle_reason_{end}")) || is(&newer, format!("reason_{end}"))
        });
        gpu.slowed = why.map(|it| it.1.to_owned()).take(GPU_WORDS_MAX).collect();
    }
}

#[cfg(test)]
mod tests;
