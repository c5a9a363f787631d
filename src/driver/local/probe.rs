//! What works on this machine, found by trying it in a short-lived child; for `doctor`, and for
//! choosing a grade.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::OnceLock,
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    process::{WaitOptions, getegid, geteuid, waitpid},
};

use super::{blueprint::WayOut, env, gate, hierarchy::Layout, mounts, namespaces, sys};
use crate::{
    base::fault::Outcome,
    model::check::{Check, CheckStatus},
};

const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWNET;

/// Steps of the trial, in order; the child answers with the number of the one that failed.
const STEPS: [&str; 7] = [
    "making namespaces",
    "mapping users",
    "mounting a tmpfs",
    "mounting an overlay with user attributes",
    "mounting a devpts",
    "starting loopback",
    "redirecting what goes out",
];
/// All but the last are needed by every sandbox, and that by those whose network asks.
const NEEDED: u8 = STEPS.len() as u8 - 1;

/// How far a child got that tries what a sandbox needs.
struct Trial {
    /// Number of steps that worked.
    passed: u8,
    errno: i32,
}

/// Whether the grade `namespaces` can be made here; tried once per process.
pub fn namespaces_work() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| trial().is_ok_and(|it| it.passed >= NEEDED))
}

fn trial() -> io::Result<Trial> {
    let (mut reader, writer) = io::pipe()?;
    // Ids as seen before; in the new namespace they have no meaning yet.
    let ids = (geteuid().as_raw(), getegid().as_raw());
    match sys::fork()? {
        None => {
            let trial = attempt(ids);
            let [a, b, c, d] = trial.errno.to_le_bytes();
            let _ = rustix::io::write(&writer, &[trial.passed, a, b, c, d]);
            sys::exit_now(0)
        }
        Some(pid) => {
            drop(writer);
            let mut answer = [0_u8; 5];
            let read = reader.read_exact(&mut answer);
            // Reaped whatever it said.
            let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
            read?;
            let [passed, a, b, c, d] = answer;
            Ok(Trial { passed, errno: i32::from_le_bytes([a, b, c, d]) })
        }
    }
}

fn attempt((uid, gid): (u32, u32)) -> Trial {
    type StepFn = dyn Fn() -> io::Result<()>;
    let steps: [Box<StepFn>; 7] = [
        Box::new(|| sys::unshare(NAMESPACES as u64)),
        Box::new(move || {
            // Root maps itself for the trial only.
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
            std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
        }),
        Box::new(|| {
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), c"size=1m")?;
            for name in ["/tmp/upper", "/tmp/work", "/tmp/merged", "/tmp/pts"] {
                std::fs::create_dir(name)?;
            }
            Ok(())
        }),
        Box::new(|| {
            let options = c"userxattr,lowerdir=/usr,upperdir=/tmp/upper,workdir=/tmp/work";
            Ok(mount("overlay", "/tmp/merged", "overlay", MountFlags::empty(), options)?)
        }),
        Box::new(|| {
            Ok(mount("devpts", "/tmp/pts", "devpts", MountFlags::empty(), c"newinstance")?)
        }),
        Box::new(|| {
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
            sys::loopback_up(socket.as_fd())
        }),
        Box::new(|| gate::redirect().map(drop)),
    ];
    for (passed, step) in steps.iter().enumerate() {
        if let Err(error) = step() {
            return Trial {
                passed: passed as u8,
                errno: error.raw_os_error().unwrap_or(libc::EIO),
            };
        }
    }
    Trial { passed: STEPS.len() as u8, errno: 0 }
}

/// Everything, for `doctor`.
pub fn all() -> Vec<Check> {
    let mut checks = vec![namespaces_check(), network_check(), landlock_check(), seccomp_check()];
    checks.extend(mapped_mounts_check());
    checks.extend(cgroup_checks());
    checks
}

fn check(name: &str, status: CheckStatus, detail: impl Into<String>, fix: Option<&str>) -> Check {
    Check { check: name.to_owned(), status, detail: detail.into(), fix: fix.map(str::to_owned) }
}

fn namespaces_check() -> Check {
    const NAME: &str = "isolation.namespaces";
    let trial = match trial() {
        Ok(trial) => trial,
        Err(error) => {
            return check(NAME, CheckStatus::Missing, format!("could not be tried: {error}"), None);
        }
    };
    let needed = STEPS.get(usize::from(trial.passed)).filter(|_| trial.passed < NEEDED);
    let Some(step) = needed else {
        let how =
            if geteuid().is_root() { "as root, programs get another user" } else { "rootless" };
        return check(NAME, CheckStatus::Ok, format!("all of it works, {how}"), None);
    };
    let error = io::Error::from_raw_os_error(trial.errno);
    check(NAME, CheckStatus::Missing, format!("{step}: {error}"), Some(namespaces_fix()))
}

fn network_check() -> Check {
    let trial = trial()
        .unwrap_or_else(|it| Trial { passed: 0, errno: it.raw_os_error().unwrap_or(libc::EIO) });
    let landlock = sys::landlock_version().is_some() && !geteuid().is_root();
    network_by(env::way_out(), &trial, landlock)
}

/// `landlock` = sandboxes of that grade can be made.
fn network_by(way: Outcome<WayOut>, trial: &Trial, landlock: bool) -> Check {
    const NAME: &str = "egress.ask";
    const BY_PROXY: &str =
        "by a proxy alone, so that programs that don't look for one get nothing out";
    const MODULES: &str =
        "load nf_tables, nft_chain_nat and nft_redir (modprobe), or use a kernel that has them";
    let way = match way {
        Ok(way) => way,
        Err(fault) => {
            let words = format!("no sandbox whose network asks can be made: {fault}");
            return check(NAME, CheckStatus::Missing, words, fault.hint_text());
        }
    };
    if trial.passed < NEEDED {
        let fix = Some("see isolation.namespaces");
        return match landlock {
            true => {
                check(NAME, CheckStatus::Degraded, format!("{BY_PROXY}; in grade landlock"), fix)
            }
            false => check(NAME, CheckStatus::Missing, "it takes sandboxes", fix),
        };
    }
    let redirects = trial.passed > NEEDED;
    let error = io::Error::from_raw_os_error(trial.errno);
    match way {
        WayOut::Proxy => {
            let words = format!("{BY_PROXY}: SANDWATCH_WAY_OUT=proxy says so");
            let fix = "unset SANDWATCH_WAY_OUT, `sandwatch hub stop`, and the next hub redirects";
            check(NAME, CheckStatus::Degraded, words, redirects.then_some(fix))
        }
        WayOut::Any | WayOut::Redirect if redirects => {
            let how = "connections out wait for an answer, whatever program makes them";
            check(NAME, CheckStatus::Ok, how, None)
        }
        WayOut::Redirect => {
            let words = format!(
                "nothing gets out: nftables: {error}, and SANDWATCH_WAY_OUT=redirect takes no proxy"
            );
            check(NAME, CheckStatus::Missing, words, Some(MODULES))
        }
        WayOut::Any => {
            let words = format!("{BY_PROXY}: nftables: {error}");
            check(NAME, CheckStatus::Degraded, words, Some(MODULES))
        }
    }
}

/// The usual reasons, from the switches that cause them.
fn namespaces_fix() -> &'static str {
    let reads =
        |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|it| it.trim() == value);
    if reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor keeps user namespaces from unknown programs: add a profile with `userns,` for \
         sandwatch in /etc/apparmor.d, or set kernel.apparmor_restrict_unprivileged_userns=0"
    } else if reads("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "set kernel.unprivileged_userns_clone=1"
    } else if reads("/proc/sys/user/max_user_namespaces", "0") {
        "set user.max_user_namespaces to a number above zero"
    } else {
        "inside a container, allow it user namespaces; until then sandboxes get grade landlock"
    }
}

fn landlock_check() -> Check {
    const NAME: &str = "isolation.landlock";
    /// From this version on it holds back signals and abstract sockets too.
    const COMPLETE_FROM: u32 = 6;
    match sys::landlock_version() {
        Some(version) if version >= COMPLETE_FROM => {
            check(NAME, CheckStatus::Ok, format!("version {version}"), None)
        }
        Some(version) => check(
            NAME,
            CheckStatus::Degraded,
            format!("version {version}: does not hold back signals and abstract sockets"),
            Some("a kernel from 6.12 on has all of it"),
        ),
        None => check(
            NAME,
            CheckStatus::Missing,
            "the kernel has none, or it is off",
            Some("boot with lsm=landlock,... on a kernel from 5.13 on"),
        ),
    }
}

fn seccomp_check() -> Check {
    const NAME: &str = "isolation.seccomp";
    if sys::seccomp_can_refuse() {
        check(NAME, CheckStatus::Ok, format!("filters work on {}", std::env::consts::ARCH), None)
    } else {
        check(NAME, CheckStatus::Missing, "the kernel has no system call filters", None)
    }
}

/// Only root needs them: others own the files they show.
fn mapped_mounts_check() -> Option<Check> {
    const NAME: &str = "workspace.mapped_mounts";
    if !geteuid().is_root() {
        return None;
    }
    let tried = (|| -> io::Result<OwnedFd> {
        const SOME: u32 = 65_534;
        let tree = mounts::detach(&std::env::temp_dir().canonicalize()?, false)?;
        let users =
            namespaces::mapping(&namespaces::Ids { uid: (0, SOME), gid: (0, SOME), helper: None })?;
        sys::map_ids(tree.as_fd(), users.as_fd())?;
        Ok(tree)
    })();
    let place = std::env::temp_dir();
    Some(match tried {
        Ok(_) => check(NAME, CheckStatus::Ok, format!("tried on {}", place.display()), None),
        Err(error) => check(
            NAME,
            CheckStatus::Missing,
            format!("{}: {error}", place.display()),
            Some("run sandwatch as the owner of the workspace instead of root"),
        ),
    })
}

fn cgroup_checks() -> Vec<Check> {
    let layout = Layout::here();
    let fix = "run the hub where control groups are its own: `sandwatch hub stop`, then \
               `systemd-run --user --scope -p Delegate=yes sandwatch hub serve`";
    let limits: Vec<Check> = ["cpu", "memory", "pids"]
        .into_iter()
        .map(|name| {
            let check_name = format!("limits.{name}");
            if layout.has(name) {
                return check(&check_name, CheckStatus::Ok, layout.describe(name), None);
            }
            let (status, detail) = match name {
                "cpu" => (CheckStatus::Missing, "refused: no control group can hold it"),
                "memory" => (CheckStatus::Degraded, "holds for each process, not for all together"),
                _ => (CheckStatus::Degraded, "by a limit on the user; refused in grade landlock"),
            };
            check(&check_name, status, detail, Some(fix))
        })
        .collect();
    let pause = match layout.can_freeze() {
        Some(how) => check("pause", CheckStatus::Ok, format!("freezes by {how}"), None),
        None => check(
            "pause",
            CheckStatus::Degraded,
            "by stopping each process: programs can notice, and new ones may slip in",
            Some(fix),
        ),
    };
    limits.into_iter().chain([pause]).chain(terminals_check()).collect()
}

fn terminals_check() -> Option<Check> {
    // Shown only when it is the trouble: the trial above covers the sandbox's own.
    let opened = File::options().read(true).write(true).open(Path::new("/dev/ptmx"));
    opened
        .err()
        .map(|error| check("terminals", CheckStatus::Missing, format!("/dev/ptmx: {error}"), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::Fault;

    #[test]
    fn how_programs_get_out_is_said_as_whoever_started_the_hub_wants_it() {
        use CheckStatus::{Degraded, Missing, Ok as Good};
        let (all, some) = (NEEDED + 1, NEEDED);
        for (way, passed, landlock, status, words) in [
            (Ok(WayOut::Any), all, false, Good, "whatever program makes them"),
            (Ok(WayOut::Redirect), all, false, Good, "whatever program makes them"),
            (Ok(WayOut::Proxy), all, false, Degraded, "SANDWATCH_WAY_OUT=proxy says so"),
            (Ok(WayOut::Proxy), some, false, Degraded, "SANDWATCH_WAY_OUT=proxy says so"),
            (Ok(WayOut::Any), some, false, Degraded, "by a proxy alone"),
            (Ok(WayOut::Redirect), some, false, Missing, "nothing gets out"),
            (Ok(WayOut::Any), 0, true, Degraded, "in grade landlock"),
            (Ok(WayOut::Any), 0, false, Missing, "it takes sandboxes"),
            (Err(Fault::invalid("SANDWATCH_WAY_OUT: so")), all, true, Missing, "_WAY_OUT: so"),
        ] {
            let said = format!("{way:?} {passed}");
            let found = network_by(way, &Trial { passed, errno: libc::ENOENT }, landlock);
            assert_eq!(found.status, status, "{said}");
            assert!(found.detail.contains(words), "{said}: {}", found.detail);
        }
    }
}
