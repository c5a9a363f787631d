//! GPUs of NVIDIA's that are only seen from within a sandbox: what `nvidia-smi` in it prints. It is the sandbox's own
//! program, and so nothing is believed of it but that it says so.

use std::collections::HashSet;

use crate::{
    base::{
        limits::{GPU_WORD_BYTES_MAX, GPUS_SHOWN_MAX},
        text::shown,
    },
    model::gauge::{Gpu, figure},
};

/// Prints a line for each GPU: its number, its name, and `FIGURES` figures.
pub const COMMAND: [&str; 3] = [
    "nvidia-smi",
    "--query-gpu=index,name,utilization.gpu,memory.used,memory.total,power.draw,power.limit,temperature.gpu,\
     clocks.sm,ecc.errors.corrected.volatile.total,ecc.errors.uncorrected.volatile.total",
    "--format=csv,noheader,nounits",
];
/// Behind the name.
const FIGURES: usize = 9;

/// The GPUs that are in what was printed; lines of any other form are passed over.
pub fn gpus(printed: &[u8]) -> Vec<Gpu> {
    let printed = String::from_utf8_lossy(printed);
    let mut all: Vec<Gpu> = printed.lines().filter_map(gpu).take(GPUS_SHOWN_MAX).collect();
    // Each is told once.
    let mut seen = HashSet::new();
    all.retain(|it| seen.insert(it.index));
    all
}

fn gpu(line: &str) -> Option<Gpu> {
    let (index, rest) = line.trim().split_once(',')?;
    // A name may have commas in it.
    let mut figures: Vec<&str> = rest.rsplitn(FIGURES + 1, ',').map(str::trim).collect();
    let name = figures.pop().filter(|_| figures.len() == FIGURES)?;
    figures.reverse();
    let float = |at: usize| figures.get(at)?.parse::<f64>().ok();
    let whole = |at: usize| figures.get(at)?.parse::<u64>().ok();
    let bytes = |at: usize| whole(at).and_then(figure::mebibytes);
    let index = index.trim().parse::<u32>().ok().filter(|it| (*it as usize) < GPUS_SHOWN_MAX)?;
    Some(Gpu {
        index,
        name: shown(name, GPU_WORD_BYTES_MAX),
        util_percent: float(0).and_then(figure::percent),
        memory_bytes: bytes(1),
        memory_total_bytes: bytes(2),
        power_watts: float(3).and_then(figure::watts),
        power_limit_watts: float(4).and_then(figure::watts),
        temperature_celsius: float(5).and_then(figure::celsius),
        clock_mhz: whole(6).and_then(figure::mhz),
        ecc_corrected: whole(7),
        ecc_uncorrected: whole(8),
        ..Gpu::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_it_prints_is_read_and_what_it_does_not_know_is_not_known() {
        let printed = "0, NVIDIA H200, 97, 120034, 143771, 612.44, 700.00, 71, 1980, 0, 2\r\n\
                       1, A, odd name, [N/A], [Not Supported], 15360, [N/A], 70.00, 33, 300, [N/A], [N/A]\n";
        let read = gpus(printed.as_bytes());
        assert_eq!(read.len(), 2);
        let first = Gpu {
            index: 0,
            name: "NVIDIA H200".to_owned(),
            util_percent: Some(97.0),
            memory_bytes: Some(120_034 * MIB),
            memory_total_bytes: Some(143_771 * MIB),
            power_watts: Some(612.44),
            power_limit_watts: Some(700.0),
            temperature_celsius: Some(71.0),
            clock_mhz: Some(1980),
            ecc_corrected: Some(0),
            ecc_uncorrected: Some(2),
            ..Gpu::default()
        };
        assert_eq!(read[0], first);
        assert_eq!((read[1].name.as_str(), read[1].util_percent), ("A, odd name", None));
        assert_eq!((read[1].memory_bytes, read[1].clock_mhz), (None, Some(300)));
    }

    #[test]
    fn a_program_that_says_anything_else_has_no_gpus_and_none_without_bounds() {
        for words in [
            "",
            "No devices were found\n",
            "0, x\n",
            "-1, x, 1,1,1,1,1,1,1,1,1\n",
            "64, x, 1,1,1,1,1,1,1,1,1\n",
            "\u{1b}[2J",
        ] {
            assert_eq!(gpus(words.as_bytes()), [], "{words:?}");
        }
        assert_eq!(gpus(b"0, \xff\x1b[31m\n1,2,3"), []);
        let line =
            "7, \u{202e}x\u{1b}]0;, 1e999, 99999999999999999999, 1, -5, 90000, 999, 1, 1, 1\n";
        let read = gpus(line.repeat(1000).as_bytes());
        assert_eq!(read.len(), 1);
        let many: String = (0..1000).map(|it| line.replacen('7', &it.to_string(), 1)).collect();
        assert_eq!(gpus(many.as_bytes()).len(), GPUS_SHOWN_MAX);
        let huge = gpus(b"0, x, 1, 17592186044415, 1, 1, 1, 1, 1, 1, 1\n");
        assert_eq!(huge[0].memory_bytes, None);
        let Gpu { name, util_percent, memory_bytes, power_watts, power_limit_watts, .. } = &read[0];
        assert!(!name.contains(['\u{202e}', '\u{1b}']), "{name:?}");
        assert_eq!((*util_percent, *memory_bytes), (None, None));
        assert_eq!(
            (*power_watts, *power_limit_watts, read[0].temperature_celsius),
            (None, None, None)
        );
    }
}
