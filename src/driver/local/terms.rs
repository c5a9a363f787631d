//! What a sandbox of a grade can do on this machine, and what bounds it.

use super::{cgroup::Wanted, hierarchy::Layout, image, lockdown::ProcessBounds, oci};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{RUNTIME_TASKS, SANDBOX_TASKS_MAX},
    },
    model::{
        capability::Capabilities,
        sandbox::{Egress, Isolation, ResourceLimits, SandboxSpec},
    },
};

/// What will enforce the limits: groups for the whole sandbox where there are any, else bounds on
/// each process, else nothing and a refusal.
pub struct Limits {
    pub wanted: Wanted,
    pub bounds: ProcessBounds,
    pub notes: Vec<String>,
}

pub fn limits(asked: ResourceLimits, layout: &Layout, grade: Isolation) -> Outcome<Limits> {
    let own_users = matches!(grade, Isolation::Namespaces | Isolation::Oci);
    // Those of a runtime are counted with the sandbox's.
    let more = if grade == Isolation::Oci { RUNTIME_TASKS } else { 0 };
    let mut wanted = Wanted::default();
    let mut bounds = ProcessBounds::default();
    let mut notes = Vec::new();
    let hint = "start sandwatch where control groups are delegated \
                (systemd-run --user --scope -p Delegate=yes sandwatch hub serve), or as root";
    if let Some(cpus) = asked.cpus {
        if !(cpus.is_finite() && cpus > 0.0) {
            return Err(Fault::invalid(format!("limiting cpus: not a positive number: {cpus}")));
        }
        if !layout.has("cpu") {
            return Err(Fault::unsupported("limiting cpus: no cpu control group can be made here")
                .hint(hint));
        }
        wanted.cpus = Some(cpus);
    }
    if let Some(bytes) = asked.memory_bytes {
        if layout.has("memory") {
            wanted.memory_bytes = Some(bytes);
        } else {
            bounds.data_bytes = Some(bytes);
            notes.push(
                "the memory limit holds for each process, not for all together: no memory \
                        control group can be made here"
                    .to_owned(),
            );
        }
    }
    if let Some(count) = asked.pids {
        if layout.has("pids") {
            wanted.pids = Some(count.saturating_add(more));
        } else if own_users {
            bounds.processes = Some(count.saturating_add(1 + more));
        } else {
            return Err(Fault::unsupported(
                "limiting processes: no pids control group can be made here",
            )
            .hint(hint));
        }
    } else if own_users {
        bounds.processes = Some(SANDBOX_TASKS_MAX);
    }
    if asked.pids.is_some() && more > 0 {
        notes.push(format!(
            "the limit on processes counts the runtime's own while it starts a program: it has room for {more} more"
        ));
    }
    Ok(Limits { wanted, bounds, notes })
}

pub fn egress_note(spec: &SandboxSpec, grade: Isolation) -> Option<String> {
    match (spec.egress, grade) {
        (Egress::Allow, Isolation::Namespaces | Isolation::Oci | Isolation::Gvisor) => Some(
            "egress allow shares the host's network: services on the host's loopback can be reached"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Why programs of such a sandbox can't be written down and go on later; decision 0046.
pub fn why_no_memory(grade: Option<Isolation>, egress: Egress) -> &'static str {
    let of_container = grade.and_then(oci::Runtime::of).map(|it| oci::why_no_memory(it, egress));
    match of_container {
        Some(Some(why)) => why,
        Some(None) => "it was made by another version",
        None => "the memory of programs of this kernel is only read by CRIU, which is not used",
    }
}

pub fn capabilities(grade: Isolation, layout: &Layout) -> Capabilities {
    let container = oci::Runtime::of(grade).is_some();
    let namespaces = grade == Isolation::Namespaces || container;
    Capabilities {
        pty: true,
        exec: true,
        pause: !container || layout.can_freeze().is_some(),
        stop: true,
        start: false,
        reattach: true,
        image: image::can_be_under(grade),
        workspace_cow: namespaces,
        workspace_diff: namespaces,
        workspace_apply: namespaces,
        snapshot: namespaces,
        snapshot_memory: false,
        workspace_rw: true,
        egress_deny: true,
        egress_ask: true,
        limits_cpu: layout.has("cpu"),
        limits_memory: grade != Isolation::Gvisor || layout.has("memory"),
        limits_pids: match grade {
            Isolation::Gvisor => false,
            _ => namespaces || layout.has("pids"),
        },
        gpu: false,
    }
}

/// What sandboxes of this driver can do where everything works, and in the grade for it, for the reference.
pub fn at_best() -> Capabilities {
    let here = capabilities(Isolation::Namespaces, &Layout::here());
    Capabilities { limits_cpu: true, limits_pids: true, snapshot_memory: true, ..here }
}
