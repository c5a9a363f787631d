//! Which system calls a sandbox may not make. Refusal is an error to the caller, not a kill: programs
//! probe for features and cope.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

use super::{blueprint::Network, mark};
use crate::base::fault::{Fault, Outcome};

/// How much of the network a filter leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Local and internet sockets: a network namespace decides what they reach.
    Usual,
    /// No socket that leads outside the program: for a place with no namespaces of its own.
    None,
    /// Internet sockets only: local ones would reach the operator's services.
    InternetOnly,
    /// Streams of IPv4 only, which connect to what they are given and nothing else: each `connect` is asked about.
    Asked,
}

impl Sockets {
    /// What is left to sandboxes that share the host's namespaces.
    pub fn without_namespaces(network: Network) -> Self {
        match network {
            Network::Host => Self::InternetOnly,
            Network::None => Self::None,
            Network::Gated => Self::Asked,
        }
    }
}

/// Calls refused whatever their arguments: their numbers, and what OCI runtimes call them.
macro_rules! refused {
    ($($(#[$only:meta])* $call:ident,)*) => {
        const REFUSED: &[libc::c_long] = {
            #[allow(clippy::wildcard_imports, reason = "the list names some hundred of them")]
            use libc::*;
            &[$($(#[$only])* $call,)*]
        };
        /// With `SYS_` in front.
        pub const REFUSED_NAMES: &[&str] = &[$($(#[$only])* stringify!($call),)*];
    };
}

refused! {
    // Mounting and roots.
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_open_tree_attr,
    SYS_setns,
    // The kernel itself.
    SYS_bpf,
    SYS_perf_event_open,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_syslog,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_vhangup,
    SYS_nfsservctl,
    SYS_lookup_dcookie,
    SYS_lsm_set_self_attr,
    // Keys are shared by all processes of a user, in or out of a sandbox.
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    // Other processes.
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_move_pages,
    SYS_migrate_pages,
    // Ways around other checks, and favourite roads of exploits.
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_userfaultfd,
    SYS_fanotify_init,
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    // One architecture only.
    #[cfg(target_arch = "x86_64")]
    SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    SYS__sysctl,
}

/// Memory and messages that all processes of a user share; refused where the host's are not hidden.
const SHARED: &[libc::c_long] = &[
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

// Numbers that are the same everywhere and younger than the C library's headers.
const FCHMODAT2: libc::c_long = 452;
#[allow(non_upper_case_globals, reason = "named as the C library will")]
const SYS_lsm_set_self_attr: libc::c_long = 460;
#[allow(non_upper_case_globals, reason = "named as the C library will")]
const SYS_open_tree_attr: libc::c_long = 467;
const IOPRIO_WHO_USER: u64 = 3; // linux/ioprio.h
/// The last call this list was checked against (Linux 6.17); younger ones "do not exist".
const LAST_KNOWN: u32 = 469;

/// Every namespace flag of `clone` and `unshare`. `CLONE_NEWTIME` lies in `clone`'s signal bits, so
/// it is one of `unshare` only.
pub const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWCGROUP,
];
pub const CLONE_NEWTIME: u64 = 0x80;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;
type Made<T> = Result<T, seccompiler::BackendError>;

fn is(argument: u8, operator: SeccompCmpOp, value: u64) -> Made<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn has_bits(argument: u8, mask: u64, value: u64) -> Made<SeccompRule> {
    SeccompRule::new(vec![is(argument, SeccompCmpOp::MaskedEq(mask), value)?])
}

fn none_of(argument: u8, values: &[u64]) -> Made<SeccompRule> {
    let conditions: Made<Vec<_>> =
        values.iter().map(|it| is(argument, SeccompCmpOp::Ne, *it)).collect();
    SeccompRule::new(conditions?)
}

fn socket_rules(sockets: Sockets) -> Made<Vec<SeccompRule>> {
    const TYPE_MASK: u64 = 0xf;
    const SOCK_PACKET: u64 = 10; // of old; raw frames
    let families: &[libc::c_int] = match sockets {
        Sockets::Usual => &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6],
        Sockets::InternetOnly => &[libc::AF_INET, libc::AF_INET6],
        Sockets::None => return Ok(Vec::new()),
        Sockets::Asked => return asked_sockets(),
    };
    let families: Vec<u64> = families.iter().map(|it| *it as u64).collect();
    Ok(vec![
        none_of(0, &families)?,
        has_bits(1, TYPE_MASK, libc::SOCK_RAW as u64)?,
        has_bits(1, TYPE_MASK, SOCK_PACKET)?,
    ])
}

/// All but streams of TCP: what else is a stream would go past who is asked.
fn asked_sockets() -> Made<Vec<SeccompRule>> {
    const TYPE_MASK: u64 = 0xf;
    let others = (0..=TYPE_MASK).filter(|it| *it != libc::SOCK_STREAM as u64);
    let mut rules: Vec<SeccompRule> =
        others.map(|it| has_bits(1, TYPE_MASK, it)).collect::<Made<_>>()?;
    rules.push(none_of(0, &[libc::AF_INET as u64])?);
    rules.push(none_of(2, &[0, libc::IPPROTO_TCP as u64])?);
    Ok(rules)
}

/// Pairs of sockets that carry nothing but what the one sends to the other: a datagram may be sent from its end to any
/// socket that has a path, whatever files are out of reach.
fn pair_rules() -> Made<Vec<SeccompRule>> {
    const TYPE_MASK: u64 = 0xf;
    let within = [libc::SOCK_STREAM as u64, libc::SOCK_SEQPACKET as u64];
    let others = (0..=TYPE_MASK).filter(|it| !within.contains(it));
    others.map(|it| has_bits(1, TYPE_MASK, it)).collect()
}

/// What would make a connection without `connect`: its first words, and waiting for others to make one.
fn connecting_otherwise(rules: &mut Rules) -> Made<()> {
    let fast = libc::MSG_FASTOPEN as u64;
    for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
        rules.insert(call, vec![has_bits(flags, fast, fast)?]);
    }
    for call in [libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4] {
        rules.insert(call, Vec::new());
    }
    Ok(())
}

/// Meddling with other processes of the user by number, where the host's are not hidden; what holds for
/// signals does not hold for these. Asking is allowed, and so is a program's own (number 0).
fn other_processes(rules: &mut Rules) -> Made<()> {
    let another = |argument| SeccompRule::new(vec![is(argument, SeccompCmpOp::Ne, 0)?]);
    let numbered = [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ];
    for call in numbered {
        rules.insert(call, vec![another(0)?]);
    }
    // The call, and which kind of target is everything of a user.
    let by_kind = [
        (libc::SYS_setpriority, u64::from(libc::PRIO_USER)),
        (libc::SYS_ioprio_set, IOPRIO_WHO_USER),
    ];
    for (call, user) in by_kind {
        let all = SeccompRule::new(vec![is(0, SeccompCmpOp::Eq, user)?])?;
        rules.insert(call, vec![all, another(1)?]);
    }
    let setting = || SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0);
    // The bound that marks a sandbox's processes stays as it is.
    let bound = |argument| is(argument, SeccompCmpOp::Eq, mark::BOUND_NUMBER);
    let limits = vec![
        SeccompRule::new(vec![is(0, SeccompCmpOp::Ne, 0)?, setting()?])?,
        SeccompRule::new(vec![bound(1)?, setting()?])?,
    ];
    rules.insert(libc::SYS_prlimit64, limits);
    rules.insert(libc::SYS_setrlimit, vec![SeccompRule::new(vec![bound(0)?])?]);
    Ok(())
}

/// Making files that run as their owner: in a workspace that is the real one they would be a way for
/// another user of the host to become its owner, who may be root.
fn set_id_rules(rules: &mut Rules) -> Made<()> {
    const BITS: [libc::mode_t; 2] = [libc::S_ISUID, libc::S_ISGID];
    /// Flags of an open that heeds its mode.
    const MAKING: [libc::c_int; 2] = [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY];
    // The call, and which argument is the mode.
    let named = [
        (libc::SYS_fchmod, 1),
        (libc::SYS_fchmodat, 2),
        (FCHMODAT2, 2),
        (libc::SYS_mknodat, 2),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_chmod, 1),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_creat, 1),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mknod, 1),
    ];
    for (call, mode) in named {
        for bit in BITS.map(u64::from) {
            rules.entry(call).or_default().push(has_bits(mode, bit, bit)?);
        }
    }
    // The call, and where its flags are; the mode comes after them.
    let opening = [
        (libc::SYS_openat, 2),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, 1),
    ];
    for (call, flags) in opening {
        for (flag, bit) in MAKING.iter().flat_map(|flag| BITS.map(|bit| (*flag as u64, bit))) {
            let bit = u64::from(bit);
            let making = is(flags, SeccompCmpOp::MaskedEq(flag), flag)?;
            let set_id = is(flags + 1, SeccompCmpOp::MaskedEq(bit), bit)?;
            rules.entry(call).or_default().push(SeccompRule::new(vec![making, set_id])?);
        }
    }
    Ok(())
}

fn refused(sockets: Sockets) -> Made<Rules> {
    const PER_LINUX: u64 = 0;
    const ADDR_NO_RANDOMIZE: u64 = 0x0004_0000;
    const ASK: u64 = 0xffff_ffff;
    let mut rules: Rules = REFUSED.iter().map(|it| (*it, Vec::new())).collect();
    let mut namespaces = Vec::new();
    for flag in NAMESPACES {
        namespaces.push(has_bits(0, flag as u64, flag as u64)?);
    }
    rules.insert(libc::SYS_clone, namespaces.clone());
    namespaces.push(has_bits(0, CLONE_NEWTIME, CLONE_NEWTIME)?);
    rules.insert(libc::SYS_unshare, namespaces);
    // Typing into a terminal as if from its keyboard, which outlives the program that does it.
    rules.insert(
        libc::SYS_ioctl,
        vec![
            SeccompRule::new(vec![is(1, SeccompCmpOp::Eq, libc::TIOCSTI)?])?,
            SeccompRule::new(vec![is(1, SeccompCmpOp::Eq, libc::TIOCLINUX)?])?,
            // Protocols of modems and radios on a terminal: drivers nobody here needs.
            SeccompRule::new(vec![is(1, SeccompCmpOp::Eq, libc::TIOCSETD)?])?,
        ],
    );
    // Asking, the plain one, and the one debuggers use; no emulation of old systems.
    rules.insert(libc::SYS_personality, vec![none_of(0, &[PER_LINUX, ADDR_NO_RANDOMIZE, ASK])?]);
    rules.insert(libc::SYS_socket, socket_rules(sockets)?);
    if sockets != Sockets::Usual {
        rules.insert(libc::SYS_socketpair, pair_rules()?);
        rules.extend(SHARED.iter().map(|it| (*it, Vec::new())));
        other_processes(&mut rules)?;
    }
    if sockets == Sockets::Asked {
        connecting_otherwise(&mut rules)?;
    }
    set_id_rules(&mut rules)?;
    Ok(rules)
}

/// A second, tiny program for what the first can't say: calls that "do not exist", so that the C
/// library takes its older road (`clone3` and `openat2`, whose flags no filter can read), and
/// everything beyond the numbers known here, which includes x32.
fn unknown() -> BpfProgram {
    const LOAD_NUMBER: sock_filter = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    let (clone3, openat2) = (libc::SYS_clone3 as u32, libc::SYS_openat2 as u32);
    vec![
        LOAD_NUMBER,
        sock_filter { code: 0x15, jt: 3, jf: 0, k: clone3 }, // equal: to the refusal
        sock_filter { code: 0x15, jt: 2, jf: 0, k: openat2 }, // equal: to the refusal
        sock_filter { code: 0x25, jt: 1, jf: 0, k: LAST_KNOWN }, // greater: to the refusal
        sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
        sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32 },
    ]
}

/// Asks about each `connect`, and about nothing else. What the other filters refuse is refused.
pub fn asking() -> BpfProgram {
    const LOAD_NUMBER: sock_filter = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    vec![
        LOAD_NUMBER,
        sock_filter { code: 0x15, jt: 0, jf: 1, k: libc::SYS_connect as u32 }, // equal: to the question
        sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_USER_NOTIF },
        sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ]
}

/// The filters of a sandbox, in the order they are to be installed.
pub fn filters(sockets: Sockets) -> Outcome<Vec<BpfProgram>> {
    Ok(vec![compiled(refused(sockets))?, unknown()])
}

/// Of who keeps a container, and so of all that a runtime does for its programs.
pub fn of_keeper() -> Outcome<Vec<BpfProgram>> {
    let mut rules = Rules::new();
    Ok(vec![compiled(set_id_rules(&mut rules).map(|()| rules))?])
}

fn compiled(rules: Made<Rules>) -> Outcome<BpfProgram> {
    let architecture = std::env::consts::ARCH.try_into().map_err(|_| {
        Fault::unsupported(format!(
            "filtering system calls on this processor: {}",
            std::env::consts::ARCH
        ))
    })?;
    let made = rules.and_then(|rules| {
        SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EPERM as u32),
            architecture,
        )
        .and_then(BpfProgram::try_from)
    });
    made.map_err(|error| Fault::bug(format!("making the system call filter: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_filter_compiles_within_the_kernels_bound() {
        for sockets in [Sockets::Usual, Sockets::None, Sockets::InternetOnly, Sockets::Asked] {
            for filter in filters(sockets).unwrap().into_iter().chain(of_keeper().unwrap()) {
                assert!(!filter.is_empty() && filter.len() < 4096);
            }
        }
    }
}
