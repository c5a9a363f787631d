//! Trees of /sys and /proc, read as those of a machine are.

use std::{fs, os::unix::fs::symlink};

use super::*;

const AMD: &str = include_str!("../../../../../tests/corpus/gpu/amd");
const INTEL: &str = include_str!("../../../../../tests/corpus/gpu/intel");
const ODD: &str = include_str!("../../../../../tests/corpus/gpu/odd");

struct Tree {
    home: tempfile::TempDir,
    drm: Drm,
}

impl Tree {
    fn of(text: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = home.path();
        for part in text.split("== ").skip(1) {
            let (head, holds) = part.split_once('\n').unwrap();
            let (path, target) = head.split_once(" -> ").unwrap_or((head, ""));
            let file = at.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            if target.is_empty() {
                fs::write(file, holds).unwrap();
            } else {
                symlink(target, file).unwrap();
            }
        }
        let names = vec![at.join("usr/share/hwdata/pci.ids")];
        let drm = Drm::below(at.join("sys"), at.join("proc"), names);
        Self { home, drm }
    }

    fn write(&self, file: &str, holds: &str) {
        fs::write(self.home.path().join(file), holds).unwrap();
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.home.path().join(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        self.write(file, &text.replace(from, to));
    }

    /// A reading so many seconds after the start.
    fn read(&mut self, seconds: u64) -> Vec<Gpu> {
        let reading = self.drm.read_at(Duration::from_secs(1000 + seconds));
        assert!(reading.amiss.is_empty() && reading.unseen.is_none(), "{reading:?}");
        reading.gpus
    }
}

fn on(gpu: &Gpu) -> Vec<(u32, Option<u64>)> {
    gpu.processes.iter().map(|it| (it.pid, it.memory_bytes)).collect()
}

#[test]
fn an_amd_gpu_is_read_whole() {
    let mut tree = Tree::of(AMD);
    let gpus = tree.read(0);
    assert_eq!(gpus.len(), 1);
    let gpu = &gpus[0];
    assert_eq!(
        (gpu.index, gpu.name.as_str()),
        (0, "AMD Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]")
    );
    assert_eq!((gpu.util_percent, gpu.clock_mhz), (Some(37.0), Some(1725)));
    assert_eq!((gpu.memory_bytes, gpu.memory_total_bytes), (Some(1 << 30), Some(17_163_091_968)));
    assert_eq!((gpu.power_watts, gpu.power_limit_watts), (Some(203.0), Some(255.0)));
    assert_eq!(gpu.temperature_celsius, Some(64.0));
    // The file that 42 has from 41 counts once, and 41 has two.
    assert_eq!(on(gpu), [(41, Some(513 << 20))]);
    tree.write("sys/class/drm/card1/device/hwmon/hwmon4/freq1_input", "2500000000\n");
    tree.write("sys/class/drm/card1/device/gpu_busy_percent", "no number\n");
    tree.change("proc/41/fdinfo/7", "1234567890 ns", "1734567890 ns");
    let gpu = &tree.read(1)[0];
    assert_eq!((gpu.util_percent, gpu.clock_mhz), (Some(50.0), Some(2500)), "by its programs");
    fs::remove_dir_all(tree.home.path().join("sys/class/drm/card1")).unwrap();
    assert!(tree.read(2).is_empty());
}

#[test]
fn intel_gpus_are_busy_by_what_grew() {
    let mut tree = Tree::of(INTEL);
    let gpus = tree.read(0);
    let names: Vec<_> = gpus.iter().map(|it| (it.index, it.name.as_str())).collect();
    assert_eq!(names, [(0, "Intel GPU a7a0"), (1, "Intel GPU 56a0")]);
    assert!(gpus.iter().all(|it| it.util_percent.is_none() && it.power_watts.is_none()));
    assert_eq!((gpus[0].clock_mhz, gpus[1].clock_mhz), (Some(1300), Some(2400)));
    assert_eq!(gpus[0].slowed, ["power limit", "voltage regulator's limit"]);
    assert_eq!(gpus[1].slowed, ["temperature"]);
    assert_eq!(gpus[1].temperature_celsius, Some(56.0));
    assert_eq!(gpus[0].memory_bytes, Some(4000 << 10));
    assert_eq!(gpus[1].memory_bytes, Some(23992 << 10));
    // Of two seconds the one worked for half of one, and two of its kind for 3 together; the other for a quarter.
    tree.change("proc/77/fdinfo/5", "render: 1000000000", "render: 1500000000");
    tree.change("proc/77/fdinfo/5", "video: 5000000000", "video: 8000000000");
    tree.change("proc/78/fdinfo/5", "28257900", "28257925");
    tree.change("proc/78/fdinfo/5", "7655183225", "7655183325");
    let energy = "sys/class/drm/card1/device/hwmon/hwmon3/energy1_input";
    tree.write(energy, "309000000\n");
    let gpus = tree.read(2);
    let busy: Vec<_> = gpus.iter().map(|it| it.util_percent).collect();
    assert_eq!(busy, [Some(75.0), Some(25.0)]);
    assert_eq!((gpus[1].power_watts, gpus[1].power_limit_watts), (Some(150.0), Some(190.0)));
    assert_eq!(
        (on(&gpus[0]), on(&gpus[1])),
        (vec![(77, Some(4000 << 10))], vec![(78, Some(23992 << 10))])
    );
    // Both end; the one counter goes back.
    fs::remove_dir_all(tree.home.path().join("proc/77")).unwrap();
    fs::remove_dir_all(tree.home.path().join("proc/78")).unwrap();
    tree.write(energy, "1\n");
    let gpus = tree.read(3);
    assert_eq!((gpus[0].util_percent, gpus[0].memory_bytes), (Some(0.0), Some(0)));
    assert!(gpus[1].processes.is_empty() && gpus[1].power_watts.is_none());
}

#[test]
fn what_no_driver_should_say_is_not_known_and_safe_to_show() {
    let mut tree = Tree::of(ODD);
    let gpus = tree.read(0);
    let names: Vec<_> = gpus.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["AMD Evil␛[2J<U+202E> card", "AMD GPU"]);
    let odd = Gpu {
        name: gpus[0].name.clone(),
        util_percent: Some(100.0),
        memory_bytes: Some(0),
        ..Gpu::default()
    };
    assert_eq!(gpus[0], odd);
    assert_eq!((gpus[1].util_percent, gpus[1].memory_bytes), (Some(0.0), None), "it sleeps");
    // A file without an end, and one that is no text.
    let busy = "sys/class/drm/card0/device/gpu_busy_percent";
    tree.write(busy, &format!("5\n{}", " ".repeat(1 << 20)));
    tree.write("proc/52/fdinfo/1", &"drm-engine-x: 1 ns\n".repeat(1 << 16));
    fs::write(tree.home.path().join("sys/class/drm/card1/device/uevent"), [0xff, 0xfe]).unwrap();
    let gpus = tree.read(1);
    assert_eq!(gpus.len(), 1);
    assert_eq!(gpus[0].util_percent, Some(0.0), "as its programs do: nothing");
    fs::remove_file(tree.home.path().join(busy)).unwrap();
    symlink("/dev/zero", tree.home.path().join(busy)).unwrap();
    assert_eq!(tree.read(2)[0].util_percent, Some(0.0));
}

#[test]
fn a_program_that_comes_is_found_and_one_with_many_files_hides_no_other() {
    let mut tree = Tree::of(INTEL);
    let at = tree.home.path().join("proc");
    let client = |pid: &str, file: u32, number: u32| {
        let of = at.join(pid);
        fs::create_dir_all(of.join("fd")).unwrap();
        fs::create_dir_all(of.join("fdinfo")).unwrap();
        symlink("/dev/dri/card0", of.join("fd").join(file.to_string())).unwrap();
        let text =
            format!("drm-pdev: 0000:00:02.0\ndrm-client-id: {number}\ndrm-engine-copy: 5 ns\n");
        fs::write(of.join("fdinfo").join(file.to_string()), text).unwrap();
    };
    (0..500).for_each(|it| client("12", it, 1000 + it));
    // Not all of those are read, which is said.
    let mut pids = |second: u64| {
        let reading = tree.drm.read_at(Duration::from_secs(1000 + second));
        assert!(reading.unseen.is_some());
        on(&reading.gpus[0]).iter().map(|it| it.0).collect::<Vec<_>>()
    };
    assert_eq!(pids(0), [12, 77]);
    client("99", 3, 1);
    for second in 1..5 {
        assert_eq!(pids(second), [12, 77]);
    }
    assert_eq!(pids(5), [12, 77, 99]);
}
