//! The first process of a container: it does nothing, lets the kernel bury every orphan, and ends when it is
//! told to. It is a program of its own, some 200 bytes, put into every container, so that any image will do.

/// Where it lies in a container.
pub const PATH: &str = "/.sandwatch-init";

/// Where the program is loaded; any place that is free in an empty address space will do.
const BASE: u64 = 0x40_0000;
const ELF_BYTES: u64 = 64;
const HEADER_BYTES: u64 = 56;
const ENTRY: u64 = BASE + ELF_BYTES + HEADER_BYTES;

/// The machine code, the same on every processor: block SIGTERM and SIGINT, so that the kernel keeps them for
/// a first process too (`rt_sigprocmask`); ignore SIGCHLD, so that no orphan stays as a corpse
/// (`rt_sigaction`); wait for either (`rt_sigtimedwait`), again when interrupted; `exit_group(0)`.
///
/// ```text
/// push 0x4002;  mov rsi, rsp;  xor edi, edi;  xor edx, edx;  push 8;  pop r10;  push 14;  pop rax;  syscall
/// push 0;  push 0;  push 0;  push 1;  mov rsi, rsp;  push 17;  pop rdi;  push 13;  pop rax;  syscall
/// again: lea rdi, [rsp+32];  xor esi, esi;  xor edx, edx;  push 8;  pop r10
/// push 127;  pop rax;  inc eax;  syscall;  test eax, eax;  js again
/// xor edi, edi;  mov eax, 231;  syscall
/// ```
const X86_64: [u8; 73] = [
    0x68, 0x02, 0x40, 0x00, 0x00, 0x48, 0x89, 0xe6, 0x31, 0xff, 0x31, 0xd2, 0x6a, 0x08, 0x41, 0x5a,
    0x6a, 0x0e, 0x58, 0x0f, 0x05, 0x6a, 0x00, 0x6a, 0x00, 0x6a, 0x00, 0x6a, 0x01, 0x48, 0x89, 0xe6,
    0x6a, 0x11, 0x5f, 0x6a, 0x0d, 0x58, 0x0f, 0x05, 0x48, 0x8d, 0x7c, 0x24, 0x20, 0x31, 0xf6, 0x31,
    0xd2, 0x6a, 0x08, 0x41, 0x5a, 0x6a, 0x7f, 0x58, 0xff, 0xc0, 0x0f, 0x05, 0x85, 0xc0, 0x78, 0xe8,
    0x31, 0xff, 0xb8, 0xe7, 0x00, 0x00, 0x00, 0x0f, 0x05,
];

/// ```text
/// mov x9, #0x4002;  str x9, [sp, #-16]!;  mov x0, #0;  mov x1, sp;  mov x2, #0;  mov x3, #8;  mov x8, #135;  svc #0
/// mov x9, #1;  stp x9, xzr, [sp, #-32]!;  stp xzr, xzr, [sp, #16]
/// mov x0, #17;  mov x1, sp;  mov x2, #0;  mov x3, #8;  mov x8, #134;  svc #0
/// again: add x0, sp, #32;  mov x1, #0;  mov x2, #0;  mov x3, #8;  mov x8, #137;  svc #0;  tbnz w0, #31, again
/// mov x0, #0;  mov x8, #94;  svc #0
/// ```
const AARCH64: [u32; 27] = [
    0xd288_0049,
    0xf81f_0fe9,
    0xd280_0000,
    0x9100_03e1,
    0xd280_0002,
    0xd280_0103,
    0xd280_10e8,
    0xd400_0001,
    0xd280_0029,
    0xa9be_7fe9,
    0xa901_7fff,
    0xd280_0220,
    0x9100_03e1,
    0xd280_0002,
    0xd280_0103,
    0xd280_10c8,
    0xd400_0001,
    0x9100_83e0,
    0xd280_0001,
    0xd280_0002,
    0xd280_0103,
    0xd280_1128,
    0xd400_0001,
    0x37ff_ff40,
    0xd280_0000,
    0xd280_0bc8,
    0xd400_0001,
];

/// The program for a processor as image and engine name it; `None` where there is none.
pub fn program(architecture: &str) -> Option<Vec<u8>> {
    const X86_64_MACHINE: u16 = 62;
    const AARCH64_MACHINE: u16 = 183;
    match architecture {
        "amd64" | "x86_64" => Some(elf(X86_64_MACHINE, &X86_64)),
        "arm64" | "aarch64" => {
            let code: Vec<u8> = AARCH64.iter().flat_map(|it| it.to_le_bytes()).collect();
            Some(elf(AARCH64_MACHINE, &code))
        }
        _ => None,
    }
}

/// The smallest executable there may be: one header, one segment.
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    const EXECUTABLE: u16 = 2;
    const VERSION: u32 = 1;
    const LOAD: u32 = 1;
    const READ_AND_EXECUTE: u32 = 5;
    const ALIGNED: u64 = 0x1_0000;
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend(EXECUTABLE.to_le_bytes());
    out.extend(machine.to_le_bytes());
    out.extend(VERSION.to_le_bytes());
    // Where it begins, where its segments are described, and that it has no sections.
    for place in [ENTRY, ELF_BYTES, 0] {
        out.extend(place.to_le_bytes());
    }
    out.extend(0_u32.to_le_bytes());
    for number in [ELF_BYTES as u16, HEADER_BYTES as u16, 1, 0, 0, 0] {
        out.extend(number.to_le_bytes());
    }
    let size = ELF_BYTES + HEADER_BYTES + code.len() as u64;
    out.extend(LOAD.to_le_bytes());
    out.extend(READ_AND_EXECUTE.to_le_bytes());
    for number in [0, BASE, BASE, size, size, ALIGNED] {
        out.extend(number.to_le_bytes());
    }
    out.extend_from_slice(code);
    out
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        os::unix::{fs::OpenOptionsExt, process::ExitStatusExt},
        process::{Command, Stdio},
    };

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::base::clock;

    /// Runs it here and sends it a signal.
    fn ended_by(signal: Signal) -> std::process::ExitStatus {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("first");
        let mut file =
            std::fs::File::options().write(true).create_new(true).mode(0o755).open(&path).unwrap();
        file.write_all(&program(std::env::consts::ARCH).unwrap()).unwrap();
        drop(file);
        // By a shell: another thread of these tests may just be starting a program and hold the file open.
        let shell = format!("until [ -x {0} ] && exec {0}; do :; done", path.display());
        let mut child =
            Command::new("sh").args(["-c", &shell]).stderr(Stdio::null()).spawn().unwrap();
        let stat = format!("/proc/{}/wchan", child.id());
        let exe = format!("/proc/{}/exe", child.id());
        let asleep = || {
            std::fs::read_link(&exe).is_ok_and(|it| it == path)
                && std::fs::read_to_string(&stat).is_ok_and(|it| it.contains("sigtimedwait"))
        };
        let deadline = clock::monotonic() + std::time::Duration::from_secs(2);
        while !asleep() && clock::monotonic() < deadline {
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap()
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn the_first_process_waits_until_it_is_told_to_end() {
        assert_eq!(ended_by(Signal::TERM).code(), Some(0));
        assert_eq!(ended_by(Signal::INT).code(), Some(0));
        assert_eq!(ended_by(Signal::KILL).signal(), Some(9));
    }

    #[test]
    fn a_processor_that_is_not_known_has_none() {
        assert!(program("s390x").is_none());
        assert_eq!(program("arm64").unwrap().len(), 120 + 108);
        assert_eq!(program("amd64").unwrap().len(), 120 + 73);
    }
}
