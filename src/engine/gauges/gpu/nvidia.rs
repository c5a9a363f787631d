//! GPUs of NVIDIA, as the library of its driver tells (NVML). The library is looked for and loaded when it is first
//! asked; without one that costs nothing more. Each figure may be missing by itself: drivers, GPUs and instances differ
//! in what they tell.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    path::PathBuf,
};

use nvml_wrapper::{
    Device, Nvml,
    bitmasks::device::ThrottleReasons,
    enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor},
    enums::device::UsedGpuMemory,
    error::NvmlError,
    struct_wrappers::device::ProcessInfo,
};

use super::{Reading, Source, figure, pci, sum, word};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{GPU_INSTANCES_MAX, GPU_PROCESSES_MAX, GPU_WORDS_MAX, GPUS_SHOWN_MAX},
        units::human_bytes,
    },
    model::gauge::{Gpu, GpuProcess},
};

/// Its name, as the system finds libraries, and where some systems keep it that are not searched.
const LIBRARIES: [&str; 3] = [
    "libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/run/opengl-driver/lib/libnvidia-ml.so.1",
];

/// Why clocks are lower than they could be, the plainest first. That a GPU has nothing to do is no reason.
const SLOWED: [(ThrottleReasons, &str); 8] = [
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, "temperature, by hardware"),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, "temperature"),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "power brake"),
    (ThrottleReasons::SW_POWER_CAP, "power limit"),
    (ThrottleReasons::HW_SLOWDOWN, "hardware slowdown"),
    (ThrottleReasons::SYNC_BOOST, "in step with another GPU"),
    (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, "clocks as set"),
    (ThrottleReasons::DISPLAY_CLOCK_SETTING, "clocks of its display"),
];

pub struct Nvidia {
    sys: PathBuf,
    libraries: Vec<OsString>,
    library: Option<Nvml>,
    /// By number: they do not change while the library is there.
    names: HashMap<u32, String>,
}

impl Nvidia {
    pub fn here() -> Self {
        let libraries = LIBRARIES.map(OsString::from).to_vec();
        Self { sys: "/sys".into(), libraries, library: None, names: HashMap::new() }
    }

    /// `None` = there is no such GPU, so that nothing is amiss.
    fn open(&self) -> Outcome<Option<Nvml>> {
        let mut why = None;
        for path in &self.libraries {
            match Nvml::builder().lib_path(path).init() {
                Ok(library) => return Ok(Some(library)),
                // It is not there; another one may be.
                Err(NvmlError::LibloadingError(_)) => {}
                Err(error) => why = why.or(Some(error)),
            }
        }
        match why {
            None | Some(NvmlError::DriverNotLoaded) if !pci::has_nvidia(&self.sys) => Ok(None),
            None => Err(Fault::absent(
                "an NVIDIA GPU is here, and no library of its driver (libnvidia-ml.so.1) to read it by",
            )
            .hint("install the NVIDIA driver, or of it the package that has nvidia-smi")),
            Some(error) => Err(fault(&error)),
        }
    }
}

impl Source for Nvidia {
    fn read(&mut self) -> Outcome<Reading> {
        let library = match self.library.take() {
            Some(library) => library,
            None => match self.open()? {
                Some(library) => library,
                None => return Ok(Reading::default()),
            },
        };
        // What fails as a whole is let go of: the driver may be another one next time.
        let many = library.device_count().map_err(|it| fault(&it))?;
        let mut reading = Reading::default();
        for index in 0..many.min(u32::try_from(GPUS_SHOWN_MAX).unwrap_or(u32::MAX)) {
            let device = library.device_by_index(index);
            let read = device.and_then(|it| gpu(&it, index, &mut self.names, &mut reading.unseen));
            match read {
                Ok(gpu) => reading.gpus.push(gpu),
                Err(error) => reading.amiss.push(format!("GPU {index}: {}", words(&error))),
            }
        }
        match reading.gpus.is_empty() && !reading.amiss.is_empty() {
            true => Err(Fault::lost(reading.amiss.join("; ")).hint("see what `dmesg` says of it")),
            false => {
                self.library = Some(library);
                Ok(reading)
            }
        }
    }
}

/// One GPU; an error is one that it does not work with.
fn gpu(
    device: &Device<'_>,
    index: u32,
    names: &mut HashMap<u32, String>,
    unseen: &mut Option<String>,
) -> Result<Gpu, NvmlError> {
    let name = match names.get(&index) {
        Some(name) => name.clone(),
        None => {
            let name = known(device.name())?.map(|it| word(&it)).filter(|it| !it.is_empty());
            let name = name.unwrap_or_else(|| "NVIDIA GPU".to_owned());
            names.entry(index).insert_entry(name).get().clone()
        }
    };
    let memory = known(device.memory_info())?.filter(|it| it.total > 0 && it.used <= it.total);
    let reasons = known(device.current_throttle_reasons())?;
    let watts = |it: u32| figure::watts(f64::from(it) / 1e3);
    let errors = |kind| known(device.total_ecc_errors(kind, EccCounter::Volatile));
    let parts = instances(device)?;
    Ok(Gpu {
        index,
        name,
        util_percent: known(device.utilization_rates())?
            .and_then(|it| figure::percent(f64::from(it.gpu))),
        memory_bytes: memory.as_ref().map(|it| it.used),
        memory_total_bytes: memory.as_ref().map(|it| it.total),
        power_watts: known(device.power_usage())?.and_then(watts),
        power_limit_watts: known(device.enforced_power_limit())?.and_then(watts),
        temperature_celsius: known(device.temperature(TemperatureSensor::Gpu))?
            .and_then(|it| figure::celsius(f64::from(it))),
        clock_mhz: known(device.clock_info(Clock::SM))?.and_then(|it| figure::mhz(it.into())),
        slowed: reasons.map(slowed).unwrap_or_default(),
        ecc_corrected: errors(MemoryError::Corrected)?,
        ecc_uncorrected: errors(MemoryError::Uncorrected)?,
        instances: parts.iter().map(instance).collect(),
        processes: match programs(device, &parts) {
            Ok(programs) => programs,
            Err(error) if is_lost(&error) => return Err(error),
            Err(error) => {
                let words = words(&error);
                unseen.get_or_insert(format!(
                    "what programs are on GPU {index} is not told: {words}"
                ));
                Vec::new()
            }
        },
    })
}

fn is_lost(error: &NvmlError) -> bool {
    matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired)
}

/// A figure, if the driver tells it.
fn known<T>(read: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match read {
        Ok(figure) => Ok(Some(figure)),
        Err(error) if is_lost(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn slowed(reasons: ThrottleReasons) -> Vec<String> {
    // Those say more of the same.
    let plainer = ThrottleReasons::HW_THERMAL_SLOWDOWN | ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN;
    let plain = reasons.intersects(plainer);
    let why = SLOWED.iter().filter(|it| reasons.contains(it.0));
    let why = why.filter(|it| !(plain && it.0 == ThrottleReasons::HW_SLOWDOWN));
    why.map(|it| it.1.to_owned()).collect()
}

/// The parts that it is cut into; none if it is whole.
fn instances<'a>(device: &Device<'a>) -> Result<Vec<Device<'a>>, NvmlError> {
    if known(device.mig_mode())?.is_none_or(|it| it.current != 1) {
        return Ok(Vec::new());
    }
    let most = known(device.mig_device_count())?.unwrap_or(0).min(GPU_INSTANCES_MAX);
    // Places may be empty.
    Ok((0..most).filter_map(|it| device.mig_device_by_index(it).ok()).take(GPU_WORDS_MAX).collect())
}

/// A part in words: `1g.10gb: 512 M of 9.8 G`.
fn instance(part: &Device<'_>) -> String {
    let name = part.name().unwrap_or_default();
    let name = name.rsplit_once("MIG ").map_or("instance", |it| it.1);
    let memory = part.memory_info().ok().filter(|it| it.total > 0 && it.used <= it.total);
    let memory = memory.map_or(String::new(), |it| {
        format!(": {} of {}", human_bytes(it.used), human_bytes(it.total))
    });
    word(&format!("{name}{memory}"))
}

/// Programs on it, each once. Of one that is cut its parts tell; what it tells itself may be for root.
fn programs(device: &Device<'_>, parts: &[Device<'_>]) -> Result<Vec<GpuProcess>, NvmlError> {
    let mut all: BTreeMap<(u32, usize), Option<u64>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        for it in on(part).unwrap_or_default() {
            all.insert((it.0, at), it.1);
        }
    }
    if all.is_empty() {
        all.extend(on(device)?.into_iter().map(|(pid, memory)| ((pid, 0), memory)));
    }
    let mut processes: Vec<GpuProcess> = Vec::new();
    for ((pid, _), memory_bytes) in all {
        match processes.last_mut().filter(|it| it.pid == pid) {
            Some(it) => it.memory_bytes = sum(it.memory_bytes, memory_bytes),
            None => processes.push(GpuProcess { pid, memory_bytes, sandbox: None }),
        }
    }
    processes.truncate(GPU_PROCESSES_MAX);
    Ok(processes)
}

/// Programs of one handle, with their memory. One that computes and draws is told of twice, with the same memory.
fn on(device: &Device<'_>) -> Result<BTreeMap<u32, Option<u64>>, NvmlError> {
    let computing = again(|| device.running_compute_processes())?;
    let drawing = again(|| device.running_graphics_processes()).unwrap_or_default();
    let mut all: BTreeMap<u32, Option<u64>> = BTreeMap::new();
    for list in [computing, drawing] {
        let mut of_list: BTreeMap<u32, Option<u64>> = BTreeMap::new();
        for it in list {
            let memory = match it.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => Some(bytes),
                UsedGpuMemory::Unavailable => None,
            };
            // A program may be there with several contexts.
            let of = of_list.entry(it.pid).or_default();
            *of = sum(*of, memory);
        }
        for (pid, memory) in of_list {
            let of = all.entry(pid).or_default();
            *of = (*of).max(memory);
        }
    }
    Ok(all)
}

/// Once more, if between the question how many there are and which they are some came.
fn again(
    list: impl Fn() -> Result<Vec<ProcessInfo>, NvmlError>,
) -> Result<Vec<ProcessInfo>, NvmlError> {
    match list() {
        Err(NvmlError::InsufficientSize(_)) => list(),
        other => other,
    }
}

/// What is amiss with the whole of it.
fn fault(error: &NvmlError) -> Fault {
    let fault = Fault::lost(words(error));
    match error {
        NvmlError::DriverNotLoaded => fault.hint("load it: `modprobe nvidia`, as root"),
        NvmlError::LibRmVersionMismatch => fault
            .hint("load the new one: restart the machine, or `modprobe -r` and `modprobe nvidia`"),
        NvmlError::NoPermission => fault.hint("give the hub's user access to /dev/nvidia*"),
        _ => fault.hint("see whether `nvidia-smi` works, and what `dmesg` says"),
    }
}

fn words(error: &NvmlError) -> String {
    match error {
        NvmlError::DriverNotLoaded => "the NVIDIA driver is not loaded".to_owned(),
        NvmlError::LibRmVersionMismatch => {
            "the NVIDIA driver that is loaded and its library are of different versions".to_owned()
        }
        NvmlError::NoPermission => "the NVIDIA driver may not be asked by this user".to_owned(),
        NvmlError::GpuLost => "it does not work any more: it is lost to the driver".to_owned(),
        NvmlError::ResetRequired => "it does not work before it is reset".to_owned(),
        NvmlError::FailedToLoadSymbol(_) => "this driver is too old to tell".to_owned(),
        other => format!("the NVIDIA driver says: {other}"),
    }
}
