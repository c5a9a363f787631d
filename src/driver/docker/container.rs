//! What an engine is told to make: a sandbox's spec in the engine's words, and nothing else of it.

use serde_json::{Value, json};

use super::{
    answer::{Image, Information},
    first,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::SANDBOX_TASKS_MAX,
    },
    driver::Ground,
    model::{
        capability::Capabilities,
        sandbox::{Egress, Isolation, SandboxSpec, WorkspaceMode},
    },
};

/// Labels by which a container of ours is known.
pub const SANDBOX_LABEL: &str = "sandwatch.sandbox";
pub const HOME_LABEL: &str = "sandwatch.home";
const NAME_LABEL: &str = "sandwatch.name";

/// A home for a user whom the image does not know.
pub const HOME: &str = "/home/sandwatch";

/// As whom programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// As the image has it.
    Image,
    /// The owner of a workspace that is mounted, so that its files stay theirs.
    Owner { uid: u32, gid: u32 },
    /// Root inside, who is the operator outside: a rootless engine.
    Root,
}

/// Everything that makes a container what it is.
pub struct Plan<'a> {
    pub ground: &'a Ground,
    pub spec: &'a SandboxSpec,
    pub home: &'a str,
    pub image: &'a Image,
    pub information: &'a Information,
    pub user: User,
    /// The engine's own command for a first process that does nothing, where there is none of ours.
    pub own_first: bool,
}

/// What this engine can do with a sandbox.
pub fn capabilities(information: &Information) -> Capabilities {
    Capabilities {
        limits_cpu: information.cpu_cfs_quota,
        limits_memory: information.memory_limit,
        limits_pids: information.pids_limit,
        ..usual()
    }
}

/// What an engine can do unless it says otherwise.
pub fn usual() -> Capabilities {
    Capabilities {
        pty: true,
        exec: true,
        pause: true,
        stop: true,
        reattach: true,
        image: true,
        workspace_cow: true,
        workspace_rw: true,
        snapshot: true,
        egress_deny: true,
        limits_cpu: true,
        limits_memory: true,
        limits_pids: true,
        ..Capabilities::default()
    }
}

/// Refuses a bound that the engine would drop with a warning.
pub fn check_limits(spec: &SandboxSpec, information: &Information) -> Outcome<()> {
    let asked = [
        (spec.limits.cpus.is_some(), information.cpu_cfs_quota, "cpus"),
        (spec.limits.memory_bytes.is_some(), information.memory_limit, "memory"),
        (spec.limits.pids.is_some(), information.pids_limit, "processes"),
    ];
    match asked.iter().find(|(asked, can, _)| *asked && !can) {
        Some((.., what)) => Err(Fault::unsupported(format!(
            "limiting {what}: this docker engine has no control group for it"
        ))
        .hint("see the warnings of `docker info`")),
        None => Ok(()),
    }
}

/// The runtime that gives a grade of isolation; `None` = the engine's own.
pub fn runtime(spec: &SandboxSpec, information: &Information) -> Outcome<Option<&'static str>> {
    const GVISOR: &str = "runsc";
    match spec.isolation {
        None | Some(Isolation::Oci) => Ok(None),
        Some(Isolation::Gvisor) if information.has_runtime(GVISOR) => Ok(Some(GVISOR)),
        Some(Isolation::Gvisor) => {
            Err(Fault::unsupported("isolation gvisor: this docker engine has no runtime runsc")
                .hint("install gVisor and add runsc to the engine's daemon.json"))
        }
        Some(other) => {
            Err(Fault::unsupported(format!("isolation {}: not with driver docker", other.word()))
                .hint("driver docker has `oci` and, with runsc, `gvisor`"))
        }
    }
}

/// The name in `docker ps`: of the sandbox, and unlike that of any other hub.
pub fn name(ground: &Ground) -> String {
    let id: String = ground.id.as_str().chars().take(8).collect();
    format!("sandwatch-{}-{id}", ground.name)
}

/// What programs get before what their specs add; the image's own variables are below it.
pub fn environment(plan: &Plan<'_>) -> Vec<String> {
    let mut own = vec![
        "TERM=xterm-256color".to_owned(),
        "COLORTERM=truecolor".to_owned(),
        "TERM_PROGRAM=sandwatch".to_owned(),
        format!("SANDWATCH_SANDBOX={}", plan.ground.name),
    ];
    if matches!(plan.user, User::Owner { .. }) {
        own.push(format!("HOME={HOME}"));
    }
    own.extend(plan.spec.env.iter().map(|(key, value)| format!("{key}={value}")));
    own
}

/// The body of the call that makes it.
pub fn body(plan: &Plan<'_>) -> Outcome<Value> {
    let Plan { ground, spec, .. } = plan;
    let mut labels = spec.labels.clone();
    labels.insert(SANDBOX_LABEL.to_owned(), ground.id.to_string());
    labels.insert(HOME_LABEL.to_owned(), plan.home.to_owned());
    labels.insert(NAME_LABEL.to_owned(), ground.name.clone());
    let first: &[&str] = if plan.own_first { &["sleep", "infinity"] } else { &[first::PATH] };
    let user = match plan.user {
        User::Image => None,
        User::Owner { uid, gid } => Some(format!("{uid}:{gid}")),
        User::Root => Some("0:0".to_owned()),
    };
    let mut body = json!({
        "Image": plan.image.id,
        "Hostname": crate::driver::local::hostname(&ground.name),
        "Labels": labels,
        "Env": environment(plan),
        "Entrypoint": first,
        "Cmd": [],
        "Tty": false,
        "OpenStdin": false,
        "StopSignal": "SIGTERM",
        "Healthcheck": { "Test": ["NONE"] },
        "HostConfig": host(plan)?,
    });
    if let (Some(user), Some(body)) = (user, body.as_object_mut()) {
        body.insert("User".to_owned(), user.into());
    }
    Ok(body)
}

fn host(plan: &Plan<'_>) -> Outcome<Value> {
    let Plan { spec, information, .. } = plan;
    let limits = &spec.limits;
    let network = match spec.egress.in_force() {
        Egress::Allow => "bridge",
        Egress::Deny | Egress::Ask => "none",
    };
    let mut host = json!({
        "NetworkMode": network,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": false,
        "AutoRemove": false,
        "RestartPolicy": { "Name": "no" },
        // Its first process prints nothing.
        "LogConfig": { "Type": "none" },
        "Init": plan.own_first,
        "Mounts": mounts(spec),
    });
    let Some(fields) = host.as_object_mut() else { return Ok(host) };
    if information.pids_limit {
        let most = limits.pids.map_or(SANDBOX_TASKS_MAX, |it| it.saturating_add(1));
        fields.insert("PidsLimit".to_owned(), most.into());
    }
    if let Some(bytes) = limits.memory_bytes {
        fields.insert("Memory".to_owned(), bytes.into());
        if information.swap_limit {
            fields.insert("MemorySwap".to_owned(), bytes.into());
        }
    }
    if let Some(cpus) = limits.cpus {
        fields.insert("NanoCpus".to_owned(), ((cpus * 1e9) as u64).into());
    }
    if let Some(runtime) = runtime(spec, information)? {
        fields.insert("Runtime".to_owned(), runtime.into());
    }
    // Where users are mapped, the owner of a mounted directory would be somebody else.
    if information.maps_users() && !matches!(plan.user, User::Image) {
        fields.insert("UsernsMode".to_owned(), "host".into());
    }
    Ok(host)
}

/// The workspace, where it is mounted and not copied.
fn mounts(spec: &SandboxSpec) -> Value {
    let read_only = match spec.workspace.mode {
        WorkspaceMode::Rw => false,
        WorkspaceMode::Ro => true,
        WorkspaceMode::Cow | WorkspaceMode::None => return json!([]),
    };
    let path = spec.workspace.path.to_string_lossy();
    json!([{
        "Type": "bind",
        "Source": path,
        "Target": path,
        "ReadOnly": read_only,
        // What is mounted below would stay writable: it is not shown.
        "BindOptions": { "Propagation": "rprivate", "NonRecursive": read_only },
    }])
}
