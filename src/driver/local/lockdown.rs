//! The last step before a sandbox runs anything: no capabilities, no new privileges, landlock,
//! system call filter. Runs in the sandbox's first process; everything it starts inherits it all.

use std::{io, path::PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::{
    fs::{Gid, Uid},
    thread::{CapabilitySet, CapabilitySets},
};
use seccompiler::BpfProgram;

/// Newest landlock version this code was written against; older kernels give what they have.
const ABI_USED: ABI = ABI::V6;
/// Highest capability number a kernel may have; asking beyond its own ends the loop.
const CAPABILITIES_MAX: u32 = 63;

/// What the file system rules grant; everything else is denied.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub readable: Vec<PathBuf>,
    pub writable: Vec<PathBuf>,
    /// Files and directories of devices: readable, writable, with their controls.
    pub devices: Vec<PathBuf>,
    /// Refuse TCP as well (where there is no network namespace to do it).
    pub no_tcp: bool,
}

/// Gives up every capability for good.
pub fn drop_capabilities() -> io::Result<()> {
    never_gain_any()?;
    lose_all()
}

/// Becomes another user without any capability, from one who may.
pub fn become_user(user: Uid, group: Gid) -> io::Result<()> {
    never_gain_any()?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    lose_all()
}

fn never_gain_any() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    for number in 0..=CAPABILITIES_MAX {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Beyond the last one the kernel knows; or there were none to give up.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn lose_all() -> io::Result<()> {
    match rustix::thread::clear_ambient_capability_set() {
        // A kernel without such a set, as gVisor's is.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(())
}

/// Applies the file system rules, and keeps signals and abstract sockets inside.
pub fn restrict_files(rules: &Rules) -> Result<(), RulesetError> {
    let all = AccessFs::from_all(ABI_USED);
    let controls = BitFlags::from(AccessFs::IoctlDev);
    let special = AccessFs::MakeChar | AccessFs::MakeBlock;
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let ruleset = ruleset.handle_access(all)?.scope(Scope::from_all(ABI_USED))?;
    let ruleset =
        if rules.no_tcp { ruleset.handle_access(AccessNet::from_all(ABI_USED))? } else { ruleset };
    let mut created = ruleset.create()?;
    let writable = all & !(controls | special);
    let groups = [
        (&rules.readable, AccessFs::from_read(ABI_USED)),
        (&rules.writable, writable),
        (&rules.devices, writable | controls),
    ];
    for (paths, access) in groups {
        for path in paths {
            // What is not there needs no rule.
            let Ok(place) = PathFd::new(path) else { continue };
            let access =
                if path.is_dir() { access } else { access & AccessFs::from_file(ABI_USED) };
            created = created.add_rule(PathBeneath::new(place, access))?;
        }
    }
    created.restrict_self()?;
    Ok(())
}

/// Keeps signals and abstract sockets inside, of this process and all it starts, and nothing else.
pub fn keep_to_itself() -> Result<(), RulesetError> {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let created = ruleset.scope(Scope::from_all(ABI_USED))?.create()?;
    // Whoever has this right needs no promise, and a runtime starts no program that could gain one.
    created.no_new_privs(false).restrict_self()?;
    Ok(())
}

/// Installs the system call filters, the last thing of all.
pub fn filter_calls(filters: &[BpfProgram]) -> io::Result<()> {
    for filter in filters {
        seccompiler::apply_filter(filter).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Bounds every process: no core dumps, and what cgroups can't hold here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessBounds {
    /// Writable private memory of one process, in bytes.
    pub data_bytes: Option<u64>,
    /// Processes and threads of this user (in this user namespace).
    pub processes: Option<u64>,
}

impl ProcessBounds {
    pub fn apply(self) -> io::Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let bound = |resource, value: u64| {
            // What is bounded more tightly already can't be loosened, and need not be.
            let value = getrlimit(resource).maximum.map_or(value, |it| it.min(value));
            setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
        };
        bound(Resource::Core, 0)?;
        if let Some(bytes) = self.data_bytes {
            bound(Resource::Data, bytes)?;
        }
        if let Some(count) = self.processes {
            bound(Resource::Nproc, count)?;
        }
        Ok(())
    }
}
