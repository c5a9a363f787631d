//! Which system calls a container of `runc` may not make: what `seccomp` refuses to sandboxes with
//! namespaces, in the words of OCI runtimes. They can't say two things of one argument at once, nor "every
//! number beyond": what is said in one line there takes several here.

use serde_json::{Value, json};

use crate::driver::local::seccomp::{CLONE_NEWTIME, NAMESPACES, REFUSED_NAMES};

const EQUAL: &str = "SCMP_CMP_EQ";
const MORE: &str = "SCMP_CMP_GT";
const MASKED: &str = "SCMP_CMP_MASKED_EQ";

fn refuse(names: &[&str], arguments: Value, error: i32) -> Value {
    json!({
        "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": error, "args": arguments,
    })
}

fn is(index: u32, operator: &str, value: u64) -> Value {
    json!({ "index": index, "op": operator, "value": value })
}

fn masked(index: u32, mask: u64, value: u64) -> Value {
    json!({ "index": index, "op": MASKED, "value": mask, "valueTwo": value })
}

/// Refused where one condition holds.
fn when(names: &[&str], condition: Value) -> Value {
    refuse(names, json!([condition]), libc::EPERM)
}

/// The profile for a processor, as Rust names it.
pub fn profile(architecture: &str) -> Value {
    let mut rules = Vec::new();
    let names: Vec<&str> =
        REFUSED_NAMES.iter().map(|it| it.strip_prefix("SYS_").unwrap_or(it)).collect();
    rules.push(refuse(&names, json!([]), libc::EPERM));
    // The C library takes its older road, whose flags can be read.
    rules.push(refuse(&["clone3", "openat2"], json!([]), libc::ENOSYS));
    for flag in NAMESPACES.map(|it| it as u64) {
        rules.push(when(&["clone", "unshare"], masked(0, flag, flag)));
    }
    rules.push(when(&["unshare"], masked(0, CLONE_NEWTIME, CLONE_NEWTIME)));
    for request in [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD] {
        // Only the lower half is looked at by the kernel.
        rules.push(when(&["ioctl"], masked(1, 0xffff_ffff, request)));
    }
    rules.extend(sockets());
    rules.extend(personalities());
    rules.extend(set_id());
    let architectures: &[&str] = match architecture {
        "x86_64" => &["SCMP_ARCH_X86_64"],
        "aarch64" => &["SCMP_ARCH_AARCH64"],
        _ => &[],
    };
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": rules })
}

/// Local and internet sockets only, and none that sees raw frames.
fn sockets() -> Vec<Value> {
    const TYPE_MASK: u64 = 0xf;
    const SOCK_PACKET: u64 = 10;
    let known = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(|it| it as u64);
    let last = libc::AF_INET6 as u64;
    let others = (0..last).filter(|it| !known.contains(it)).map(|it| is(0, EQUAL, it));
    let kinds = [libc::SOCK_RAW as u64, SOCK_PACKET].map(|it| masked(1, TYPE_MASK, it));
    let all = others.chain([is(0, MORE, last)]).chain(kinds);
    all.map(|it| when(&["socket"], it)).collect()
}

/// The plain one, with or without `ADDR_NO_RANDOMIZE`, and asking, which is all ones. Of the other 31 bits all
/// are alike in these: in every other number there is one that is set beside one that is not.
fn personalities() -> Vec<Value> {
    const FREE_BIT: u32 = 18;
    let bits: Vec<u64> = (0..32).filter(|it| *it != FREE_BIT).map(|it| 1 << it).collect();
    let next = bits.iter().cycle().skip(1);
    let unlike = bits.iter().zip(next).map(|(set, clear)| masked(0, set | clear, *set));
    let all_but_free = masked(0, 0xffff_ffff, 0xffff_ffff & !(1 << FREE_BIT));
    unlike.chain([all_but_free]).map(|it| when(&["personality"], it)).collect()
}

/// Making files that run as their owner.
fn set_id() -> Vec<Value> {
    let bits = [libc::S_ISUID, libc::S_ISGID].map(u64::from);
    let making = [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY].map(|it| it as u64);
    let mut rules = Vec::new();
    for bit in bits {
        rules.push(when(&["fchmod", "chmod", "creat"], masked(1, bit, bit)));
        rules.push(when(&["fchmodat", "fchmodat2", "mknodat"], masked(2, bit, bit)));
        rules.push(when(&["mknod"], masked(1, bit, bit)));
        for flag in making {
            for (call, at) in [("open", 1), ("openat", 2)] {
                let both = json!([masked(at, flag, flag), masked(at + 1, bit, bit)]);
                rules.push(refuse(&[call], both, libc::EPERM));
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the profile refuses a call with these arguments, as libseccomp would.
    fn refused(name: &str, arguments: &[u64]) -> bool {
        let profile = profile("x86_64");
        let holds = |it: &Value| {
            let index = it["index"].as_u64().unwrap() as usize;
            let given = arguments.get(index).copied().unwrap_or(0);
            let value = it["value"].as_u64().unwrap();
            match it["op"].as_str().unwrap() {
                EQUAL => given == value,
                MORE => given > value,
                _ => given & value == it["valueTwo"].as_u64().unwrap(),
            }
        };
        profile["syscalls"].as_array().unwrap().iter().any(|rule| {
            let names = rule["names"].as_array().unwrap();
            names.iter().any(|it| it == name) && rule["args"].as_array().unwrap().iter().all(holds)
        })
    }

    #[test]
    fn the_profile_refuses_what_the_filter_does() {
        assert!(refused("mount", &[]) && refused("ptrace", &[]) && refused("clone3", &[]));
        assert!(!refused("read", &[]) && !refused("execve", &[]));
        assert!(refused("clone", &[libc::CLONE_NEWUSER as u64]) && !refused("clone", &[17]));
        for family in 0..50 {
            let fine = [1, 2, 10].contains(&family);
            assert_eq!(refused("socket", &[family, 1]), !fine, "{family}");
        }
        assert!(refused("socket", &[2, 3 | libc::SOCK_CLOEXEC as u64]));
        for fine in [0, 0x0004_0000, 0xffff_ffff] {
            assert!(!refused("personality", &[fine]), "{fine:x}");
        }
        for bad in [1, 8, 0x0040_0000, 0x0044_0000, 0xfffb_ffff, 0x8000_0000, 0x7fff_ffff] {
            assert!(refused("personality", &[bad]), "{bad:x}");
        }
        assert!(refused("chmod", &[0, 0o4755]) && !refused("chmod", &[0, 0o1777]));
        assert!(refused("openat", &[0, 0, libc::O_CREAT as u64, 0o2644]));
        assert!(!refused("openat", &[0, 0, 0, 0o2644]));
    }

    #[test]
    fn no_rule_says_two_things_of_one_argument() {
        let profile = profile("aarch64");
        for rule in profile["syscalls"].as_array().unwrap() {
            let indexes: Vec<_> =
                rule["args"].as_array().unwrap().iter().map(|it| it["index"].as_u64()).collect();
            let mut once = indexes.clone();
            once.dedup();
            assert_eq!(indexes, once, "{rule}");
        }
    }
}
