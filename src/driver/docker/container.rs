//! What an engine is told to make: a sandbox's spec in the engine's words, and nothing else of it.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    answer::{Image, Information},
    asking::Shown,
    first, gate,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::SANDBOX_TASKS_MAX,
    },
    driver::Ground,
    model::{
        capability::Capabilities,
        sandbox::{Egress, Gpus, Isolation, SandboxSpec, WorkspaceMode},
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
    /// Where the workspace really is; `None` = there is none.
    pub workspace: Option<&'a Path>,
    pub user: User,
    /// The engine's own command for a first process that does nothing, where there is none of ours.
    pub own_first: bool,
    /// What its programs ask by; `None` = they can't.
    pub asking: Option<Shown>,
}

/// What this engine can do with a sandbox.
pub fn capabilities(information: &Information) -> Capabilities {
    Capabilities {
        limits_cpu: information.cpu_cfs_quota,
        limits_memory: information.memory_limit,
        limits_pids: information.pids_limit,
        gpu: information.has_gpus(),
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
        workspace_diff: true,
        workspace_apply: true,
        snapshot: true,
        egress_deny: true,
        egress_ask: true,
        limits_cpu: true,
        limits_memory: true,
        limits_pids: true,
        gpu: true,
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

/// What programs get before what their specs add; the image's own variables are below it. It goes with each
/// program and not into the container, whose variables end in every image that is made of it.
pub fn environment(plan: &Plan<'_>) -> Vec<String> {
    let mut own = own_environment(&plan.ground.name);
    if matches!(plan.user, User::Owner { .. }) {
        own.push(format!("HOME={HOME}"));
    }
    own.extend(plan.spec.env.iter().map(|(key, value)| format!("{key}={value}")));
    own
}

/// What the programs of a sandbox get in every container.
pub fn own_environment(name: &str) -> Vec<String> {
    vec![
        "TERM=xterm-256color".to_owned(),
        "COLORTERM=truecolor".to_owned(),
        "TERM_PROGRAM=sandwatch".to_owned(),
        format!("SANDWATCH_SANDBOX={name}"),
    ]
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
    let network = match spec.egress {
        Egress::Allow => "bridge",
        Egress::Deny | Egress::Ask => "none",
    };
    let mut host = json!({
        "NetworkMode": network,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": false,
        "IpcMode": "private",
        "AutoRemove": false,
        "RestartPolicy": { "Name": "no" },
        // Its first process prints nothing.
        "LogConfig": { "Type": "none" },
        "Init": plan.own_first,
        "Mounts": mounts(plan),
    });
    let Some(fields) = host.as_object_mut() else { return Ok(host) };
    if gate::is_wanted(spec) {
        // Questions for names are answered where its programs are.
        fields.insert("Dns".to_owned(), json!(["127.0.0.1"]));
    }
    if information.has_group_namespaces() {
        fields.insert("CgroupnsMode".to_owned(), "private".into());
    }
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
    if let Some(gpus) = limits.gpus {
        // As the command line of docker asks: whichever driver of the engine has them.
        let count = match gpus {
            Gpus::All => -1,
            Gpus::Count(number) => i64::from(number),
        };
        let request = json!([{ "Driver": "", "Count": count, "Capabilities": [["gpu"]] }]);
        fields.insert("DeviceRequests".to_owned(), request);
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

/// What of this machine a container is shown.
fn mounts(plan: &Plan<'_>) -> Value {
    let asking = plan.asking.iter().flat_map(Shown::mounts);
    workspace(plan).into_iter().chain(asking).collect()
}

/// The workspace, where it is mounted and not copied: the directory that was looked at, by the name it was
/// asked for.
fn workspace(plan: &Plan<'_>) -> Option<Value> {
    let (directory, spec) = (plan.workspace?, plan.spec);
    let read_only = match spec.workspace.mode {
        WorkspaceMode::Rw => false,
        WorkspaceMode::Ro => true,
        WorkspaceMode::Cow | WorkspaceMode::None => return None,
    };
    Some(json!({
        "Type": "bind",
        "Source": directory.to_string_lossy(),
        "Target": spec.workspace.path.to_string_lossy(),
        "ReadOnly": read_only,
        // What is mounted below would stay writable: it is not shown.
        "BindOptions": { "Propagation": "rprivate", "NonRecursive": read_only },
    }))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use super::*;
    use crate::{
        base::id::SandboxId,
        model::sandbox::{ResourceLimits, Workspace},
    };

    fn spec(mode: WorkspaceMode) -> SandboxSpec {
        let workspace = Workspace { path: PathBuf::from("/asked"), mode };
        SandboxSpec {
            env: vec![("KEY".to_owned(), "secret".to_owned())],
            labels: BTreeMap::from([(SANDBOX_LABEL.to_owned(), "forged".to_owned())]),
            ..SandboxSpec::bare("docker", workspace)
        }
    }

    fn made(spec: &SandboxSpec, user: User, information: &Information) -> (Value, Vec<String>) {
        let ground = Ground {
            id: SandboxId::random(),
            name: "box".to_owned(),
            dir: PathBuf::from("/state/box"),
            from: None,
        };
        let plan = Plan {
            ground: &ground,
            spec,
            home: "hash",
            image: &Image { id: "sha256:1".to_owned(), ..Image::default() },
            information,
            workspace: Some(Path::new("/real")),
            user,
            own_first: false,
            asking: None,
        };
        let body = body(&plan).unwrap();
        assert_eq!(body["Labels"][SANDBOX_LABEL], ground.id.as_str());
        (body, environment(&plan))
    }

    #[test]
    fn a_container_is_told_what_it_may_and_no_secret() {
        let (body, env) = made(
            &spec(WorkspaceMode::Cow),
            User::Image,
            &Information { kernel_version: "3.10.0-1160.el7".to_owned(), ..Information::default() },
        );
        assert!(!body.to_string().contains("secret"), "{body:#}");
        assert!(
            env.contains(&"KEY=secret".to_owned()) && !env.iter().any(|it| it.starts_with("HOME="))
        );
        let host = &body["HostConfig"];
        assert_eq!(host["NetworkMode"], "none");
        assert_eq!((&host["CapDrop"], &host["Privileged"]), (&json!(["ALL"]), &false.into()));
        assert_eq!((&host["IpcMode"], &host["Mounts"]), (&"private".into(), &json!([])));
        // An engine that has none of it is not asked for it.
        for field in [
            "CgroupnsMode",
            "PidsLimit",
            "Memory",
            "NanoCpus",
            "Runtime",
            "UsernsMode",
            "DeviceRequests",
        ] {
            assert_eq!(host[field], Value::Null, "{field}");
        }
        assert_eq!(body["User"], Value::Null);
    }

    #[test]
    fn a_mounted_workspace_is_the_one_that_was_looked_at() {
        let information = Information {
            kernel_version: "4.6".to_owned(),
            pids_limit: true,
            swap_limit: true,
            security_options: Some(vec!["name=userns".to_owned()]),
            ..Information::default()
        };
        let mut spec = spec(WorkspaceMode::Ro);
        spec.limits = ResourceLimits {
            cpus: Some(0.5),
            memory_bytes: Some(7),
            pids: Some(9),
            gpus: Some(Gpus::Count(2)),
        };
        spec.egress = Egress::Allow;
        let (body, env) = made(&spec, User::Owner { uid: 5, gid: 6 }, &information);
        let host = &body["HostConfig"];
        let mount = &host["Mounts"][0];
        assert_eq!((&mount["Source"], &mount["Target"]), (&"/real".into(), &"/asked".into()));
        assert_eq!((&mount["ReadOnly"], &body["User"]), (&true.into(), &"5:6".into()));
        assert_eq!(
            (&host["CgroupnsMode"], &host["UsernsMode"]),
            (&"private".into(), &"host".into())
        );
        assert_eq!((&host["PidsLimit"], &host["NanoCpus"]), (&10.into(), &500_000_000.into()));
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&7.into(), &7.into()));
        assert_eq!(host["NetworkMode"], "bridge");
        let asked = json!([{ "Driver": "", "Count": 2, "Capabilities": [["gpu"]] }]);
        assert_eq!(host["DeviceRequests"], asked);
        spec.limits.gpus = Some(Gpus::All);
        let (body, _) = made(&spec, User::Image, &information);
        assert_eq!(body["HostConfig"]["DeviceRequests"][0]["Count"], -1);
        assert!(env.contains(&format!("HOME={HOME}")));
    }
}
