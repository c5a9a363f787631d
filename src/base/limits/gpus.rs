//! Bounds of what is read of GPUs.

use std::time::Duration;

/// GPUs that are shown, and programs on each.
pub const GPUS_SHOWN_MAX: usize = 64;
pub const GPU_PROCESSES_MAX: usize = 1024;
/// Longest name of a GPU and longest word about it, in bytes, and how many words there are of a kind.
pub const GPU_WORD_BYTES_MAX: usize = 128;
pub const GPU_WORDS_MAX: usize = 16;
/// A driver that is asked for the first time may have to wake all its GPUs, some seconds each.
pub const GPU_FIRST_WITHIN: Duration = Duration::from_secs(30);
/// Where there is nothing to read, it is tried again this much later: trying costs a look for a library.
pub const GPU_TRIED_AFTER: Duration = Duration::from_secs(60);
/// How long a round waits for what was asked of GPUs in it; what comes later is in the next one.
pub const GPU_AWAITED: Duration = Duration::from_millis(100);
/// What becomes of a driver is told no sooner again, however often it changes.
pub const GPU_TOLD_AFTER: Duration = Duration::from_secs(10 * 60);
/// Programs on GPUs of AMD and Intel are looked for in one of so many readings: it is a look at all open files.
pub const GPU_LOOKED_EVERY: u32 = 5;
/// Of one process: open files that are looked at, and those on a GPU that are read.
pub const GPU_LINKS_MAX: usize = 1024;
pub const GPU_FILES_OF_ONE_MAX: usize = 64;
/// Open files that are looked at of all processes: some 2 us each, where a program may have a million.
pub const GPU_LINKS_OF_ALL_MAX: usize = 64 * 1024;
/// Open files on a GPU that are read, of all processes.
pub const GPU_FILES_MAX: usize = 4096;
/// Engines that one GPU has: render, copy, video and the like.
pub const GPU_ENGINES_MAX: usize = 32;
/// Parts that one GPU is cut into (MIG).
pub const GPU_INSTANCES_MAX: u32 = 16;
/// What is read of one file of the kernel's: they have a line or a page.
pub const GPU_FACT_BYTES_MAX: u64 = 16 * 1024;
/// What is read of the list of names of PCI devices; it has some 1.5 MiB.
pub const PCI_NAMES_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Devices of the PCI bus that are looked at for a GPU.
pub const PCI_DEVICES_MAX: usize = 4096;
/// GPUs on other machines are asked for by a program in the sandbox, which costs some of its time: so seldom, and it has so long.
pub const GPU_FAR_EVERY: Duration = Duration::from_secs(10);
pub const GPU_FAR_WITHIN: Duration = Duration::from_secs(15);
