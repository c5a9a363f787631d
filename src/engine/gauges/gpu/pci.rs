//! What the PCI bus tells of GPUs without any driver: whether there are some of a maker, and what they are called.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use super::files::Files;
use crate::base::limits::{PCI_DEVICES_MAX, PCI_NAMES_BYTES_MAX};

/// Where systems keep the list of names.
pub const NAMES: [&str; 2] = ["/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids"];

const NVIDIA: &str = "0x10de";
/// What a device is for: its display, in any of several ways.
const DISPLAY: &str = "0x03";
/// It was given to a virtual machine: what it does there is not this machine's.
const GIVEN_AWAY: &str = "vfio-pci";

/// Whether a GPU of NVIDIA's is here.
pub fn has_nvidia(sys: &Path) -> bool {
    let devices = fs::read_dir(sys.join("bus/pci/devices")).into_iter().flatten().flatten();
    devices.take(PCI_DEVICES_MAX).any(|it| {
        let files = Files::at(it.path());
        files.line("vendor").is_some_and(|it| it == NVIDIA)
            && files.line("class").is_some_and(|it| it.starts_with(DISPLAY))
            && !fs::read_link(it.path().join("driver")).is_ok_and(|it| it.ends_with(GIVEN_AWAY))
    })
}

/// The name of a device, of both numbers in small hexadecimal digits, by the first list that is there.
pub fn name(lists: &[PathBuf], vendor: &str, device: &str) -> Option<String> {
    let file = lists.iter().find_map(|it| File::open(it).ok())?;
    let mut lines = BufReader::new(file.take(PCI_NAMES_BYTES_MAX));
    let (mut line, mut of_vendor) = (Vec::new(), false);
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&line);
        match text.strip_prefix('\t') {
            Some(text) if of_vendor => {
                if let Some(name) = text.strip_prefix(device).and_then(|it| it.strip_prefix("  ")) {
                    return Some(name.trim().to_owned());
                }
            }
            Some(_) => {}
            // A list is sorted: behind this vendor there is nothing more of it.
            None if text.starts_with('#') => {}
            None if of_vendor => return None,
            None => of_vendor = text.starts_with(vendor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_called_as_the_list_says() {
        let home = tempfile::tempdir().unwrap();
        let list = home.path().join("pci.ids");
        let text = "# names\n1002  Advanced\n\t73bf  Navi 21 [Radeon RX 6800]\n\t\t1002 0e3a  A board\n\
                    # more\n\t73ff  Navi \u{1b}23\n8086  Intel\n\t73bf  Not this\n";
        fs::write(&list, text).unwrap();
        let lists = [home.path().join("none"), list];
        assert_eq!(name(&lists, "1002", "73bf").as_deref(), Some("Navi 21 [Radeon RX 6800]"));
        assert_eq!(name(&lists, "1002", "73ff").as_deref(), Some("Navi \u{1b}23"));
        assert_eq!(name(&lists, "1002", "73b"), None);
        assert_eq!(name(&lists, "8086", "73ff"), None);
        assert_eq!(name(&lists[..1], "1002", "73bf"), None);
    }

    #[test]
    fn a_gpu_is_here_unless_it_was_given_away() {
        let home = tempfile::tempdir().unwrap();
        let sys = home.path();
        let device = |slot: &str, vendor: &str, class: &str, driver: &str| {
            let at = sys.join("bus/pci/devices").join(slot);
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join("vendor"), vendor).unwrap();
            fs::write(at.join("class"), class).unwrap();
            std::os::unix::fs::symlink(Path::new("../drivers").join(driver), at.join("driver"))
                .unwrap();
        };
        assert!(!has_nvidia(sys));
        device("0000:01:00.0", "0x10de\n", "0x030000\n", "vfio-pci");
        device("0000:01:00.1", "0x10de\n", "0x040300\n", "snd_hda_intel");
        device("0000:02:00.0", "0x8086\n", "0x030000\n", "i915");
        assert!(!has_nvidia(sys));
        device("0000:03:00.0", "0x10de\n", "0x030200\n", "nouveau");
        assert!(has_nvidia(sys));
    }
}
