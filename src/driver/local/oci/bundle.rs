//! What an OCI runtime is told of a container and of a program in one, in its own words. Pure texts.

use rustix::process::Rlimit;
use serde_json::{Value, json};

use super::{ROOT, Runtime, calls};
use crate::{
    base::{descriptors, units::Size},
    driver::{
        docker::first,
        local::{
            blueprint::{Blueprint, Network},
            identity::Identity,
            lockdown::ProcessBounds,
            message::Description,
            mounts::{PROC_HIDDEN, PROC_READ_ONLY},
        },
    },
};

/// The version of the specification whose words are used; runtimes of 2021 and later know it.
const VERSION: &str = "1.0.2";

pub struct Container<'a> {
    pub runtime: Runtime,
    pub blueprint: &'a Blueprint,
    /// The host's id of who is root inside.
    pub inner_root: u32,
    pub bounds: ProcessBounds,
    /// How its steward is started, where it is to have one.
    pub steward: Option<Vec<String>>,
}

/// What a steward, which is root, needs to give each program its user and its terminal, and to end it.
const OF_STEWARD: [&str; 5] = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP"];

impl Container<'_> {
    /// Its config.json.
    pub fn text(&self) -> Vec<u8> {
        let identity = &self.blueprint.identity;
        let first = Description {
            cwd: "/".to_owned(),
            command: self.steward.clone().unwrap_or_else(|| vec![first::PATH.to_owned()]),
            env: Vec::new(),
        };
        let below_proc = |names: &[&str]| -> Vec<String> {
            names.iter().map(|it| format!("/proc/{it}")).collect()
        };
        let linux = json!({
            "namespaces": self.namespaces(),
            "uidMappings": mappings(self.inner_root, identity.inside_uid, identity.host_uid),
            "gidMappings": mappings(self.inner_root, identity.inside_gid, identity.host_gid),
            "maskedPaths": below_proc(&PROC_HIDDEN),
            "readonlyPaths": below_proc(&PROC_READ_ONLY),
            "seccomp": calls::profile(std::env::consts::ARCH),
        });
        let mut process = process(&first, identity, self.bounds, None);
        // Another than the programs' user, without any right: they can't signal it, whatever the kernel allows.
        let (mut uid, mut gid) = (second(identity.inside_uid), second(identity.inside_gid));
        if let Some(process) = process.as_object_mut() {
            if self.steward.is_some() {
                // Nobody else keeps rights when a program is begun, as its own first one is: gVisor knows no other way.
                (uid, gid) = (0, 0);
                let none: [&str; 0] = [];
                let sets = json!({
                    "bounding": OF_STEWARD, "effective": OF_STEWARD, "permitted": OF_STEWARD,
                    "inheritable": none, "ambient": none,
                });
                process.insert("capabilities".to_owned(), sets);
            }
            process.insert("user".to_owned(), json!({ "uid": uid, "gid": gid }));
        }
        let container = json!({
            "ociVersion": VERSION,
            "process": process,
            // Read-only already, but for what lies in it.
            "root": { "path": ROOT, "readonly": false },
            "hostname": self.blueprint.hostname,
            "mounts": self.mounts(),
            "linux": linux,
        });
        container.to_string().into_bytes()
    }

    fn namespaces(&self) -> Vec<Value> {
        // Else it is the keeper's.
        let own = (self.blueprint.network == Network::None).then_some("network");
        let kinds = ["user", "mount", "pid", "ipc", "uts", "cgroup"].into_iter().chain(own);
        kinds.map(|it| json!({ "type": it })).collect()
    }

    fn mounts(&self) -> Vec<Value> {
        let one = |at: &str, kind: &str, options: &[&str]| json!({ "destination": at, "type": kind, "source": kind, "options": options });
        let mut all = vec![
            one("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            one("/dev", "tmpfs", &["nosuid", "mode=755", "size=1m"]),
            one(
                "/dev/pts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            ),
            one("/dev/shm", "tmpfs", &["nosuid", "nodev", "mode=1777", "size=256m"]),
        ];
        if self.runtime == Runtime::Runsc {
            // It would have one in memory, where this is not said.
            let own = format!("{ROOT}/tmp");
            all.push(json!({
                "destination": "/tmp", "type": "bind", "source": own, "options": ["rbind", "rw", "nosuid", "nodev"],
            }));
        }
        all
    }
}

/// The other user or group of a container, beside that of its programs. The runtime needs a root: where programs are
/// that, as those of many images, it does with theirs.
fn second(inside: u32) -> u32 {
    const NOBODY: u32 = 65_534;
    if inside == 0 { NOBODY } else { 0 }
}

fn mappings(inner_root: u32, inside: u32, host: u32) -> Value {
    json!([
        { "containerID": second(inside), "hostID": inner_root, "size": 1 },
        { "containerID": inside, "hostID": host, "size": 1 },
    ])
}

/// A program, on a terminal of that size if there is one.
pub fn process(
    what: &Description,
    identity: &Identity,
    bounds: ProcessBounds,
    terminal: Option<Size>,
) -> Value {
    let variables: Vec<String> =
        what.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let none: [&str; 0] = [];
    let mut process = json!({
        "terminal": terminal.is_some(),
        "user": { "uid": identity.inside_uid, "gid": identity.inside_gid, "umask": 0o022 },
        "args": what.command,
        "env": variables,
        "cwd": what.cwd,
        "capabilities": {
            "bounding": none, "effective": none, "inheritable": none, "permitted": none, "ambient": none,
        },
        "noNewPrivileges": true,
        "oomScoreAdj": 200,
        "rlimits": limits(bounds),
    });
    if let (Some(size), Some(process)) = (terminal, process.as_object_mut()) {
        let size = json!({ "width": size.cols(), "height": size.rows() });
        process.insert("consoleSize".to_owned(), size);
    }
    process
}

fn limits(bounds: ProcessBounds) -> Vec<Value> {
    let both = |kind: &str, value: u64| json!({ "type": kind, "soft": value, "hard": value });
    let Rlimit { current, maximum } = descriptors::of_program();
    let files = json!({
        "type": "RLIMIT_NOFILE", "soft": current.unwrap_or(u64::MAX), "hard": maximum.unwrap_or(u64::MAX),
    });
    let mut all = vec![both("RLIMIT_CORE", 0), files];
    all.extend(bounds.data_bytes.map(|it| both("RLIMIT_DATA", it)));
    all.extend(bounds.processes.map(|it| both("RLIMIT_NPROC", it)));
    all
}
