//! Sandboxes: what is asked for, and what is known of one.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    ask::entries_in,
    blob, duration, list, milliseconds, pairs_out, required,
    session::{environment, sessions_in, sessions_out},
    text,
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{
            ALLOW_MAX, ASKS_PENDING_MAX, CAPABILITIES_MAX, HOST_BYTES_MAX, IMAGE_BYTES_MAX,
            LABEL_BYTES_MAX, LABELS_MAX, LINE_BYTES_MAX, NAME_BYTES_MAX, NOTES_MAX, PATH_BYTES_MAX,
            SEARCH_PATH_MAX, SNAPSHOT_EVERY_MIN, TTL_MAX,
        },
        text::{cut, is_deceptive, shown},
    },
    model::{
        capability::Capabilities,
        host,
        sandbox::{
            Egress, Gpus, Isolation, ResourceLimits, Sandbox, SandboxSpec, State, Workspace,
            WorkspaceMode, is_name,
        },
    },
    wire::v1,
};

/// More cores than any machine has.
const CPUS_MAX: f64 = 65_536.0;

enums! {
    state_out, state_in: State = SandboxState {
        Creating, Running, Paused, Stopped, Failed, Gone, Unknown,
    }
    mode_out, mode_in: WorkspaceMode = WorkspaceMode { Cow, Rw, Ro, None, }
    egress_out, egress_in: Egress = Egress { Ask, Deny, Allow, }
    isolation_out, isolation_in: Isolation = Isolation { None, Landlock, Namespaces, Gvisor, Oci, }
}

/// Refuses a value that is unset or of a newer version.
fn known<T>(field: &str, value: Option<T>, wire: i32) -> Outcome<T> {
    value.ok_or_else(|| Fault::invalid(format!("{field} has no value known here: {wire}")))
}

impl From<&Workspace> for v1::Workspace {
    fn from(workspace: &Workspace) -> Self {
        Self { path: path_out(&workspace.path), mode: mode_out(workspace.mode).into() }
    }
}

/// Takes the path of a workspace; only a workspace that is none may lack one.
fn path_out(path: &Path) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(path.as_os_str().as_bytes())
}

fn workspace_path(path: bytes::Bytes, mode: WorkspaceMode) -> Outcome<PathBuf> {
    match path.is_empty() && mode == WorkspaceMode::None {
        true => Ok(PathBuf::new()),
        false => absolute("workspace.path", path),
    }
}

/// Takes a workspace whose mode must be known.
pub(super) fn workspace_in(wire: Option<v1::Workspace>) -> Outcome<Workspace> {
    let workspace = required("workspace", wire)?;
    let mode = known("workspace.mode", mode_in(workspace.mode), workspace.mode)?;
    Ok(Workspace { path: workspace_path(workspace.path, mode)?, mode })
}

fn absolute(field: &str, path: bytes::Bytes) -> Outcome<PathBuf> {
    let path = blob(field, path, PATH_BYTES_MAX)?;
    if !path.starts_with(b"/") || path.contains(&0) {
        let path = shown(&String::from_utf8_lossy(&path), LINE_BYTES_MAX);
        return Err(Fault::invalid(format!("{field} is not an absolute path: {path}")));
    }
    Ok(OsString::from_vec(path.to_vec()).into())
}

impl From<&ResourceLimits> for v1::ResourceLimits {
    fn from(limits: &ResourceLimits) -> Self {
        let gpus = limits.gpus.map(|it| match it {
            Gpus::All => 0,
            Gpus::Count(number) => number,
        });
        Self { cpus: limits.cpus, memory_bytes: limits.memory_bytes, pids: limits.pids, gpus }
    }
}

impl TryFrom<v1::ResourceLimits> for ResourceLimits {
    type Error = Fault;

    fn try_from(wire: v1::ResourceLimits) -> Outcome<Self> {
        if let Some(cpus) = wire.cpus.filter(|it| !(*it > 0.0 && *it <= CPUS_MAX)) {
            return Err(Fault::invalid(format!("limits.cpus is no number of cores: {cpus}")));
        }
        for (field, value) in [("memory_bytes", wire.memory_bytes), ("pids", wire.pids)] {
            if value == Some(0) {
                return Err(Fault::invalid(format!("limits.{field} leaves nothing: 0")));
            }
        }
        let gpus = match wire.gpus {
            None => None,
            Some(0) => Some(Gpus::All),
            Some(number) => Some(Gpus::count(number).ok_or_else(|| {
                Fault::invalid(format!("limits.gpus is more than any machine has: {number}"))
            })?),
        };
        Ok(Self { cpus: wire.cpus, memory_bytes: wire.memory_bytes, pids: wire.pids, gpus })
    }
}

/// Takes a sandbox's name.
pub fn sandbox_name(name: &str) -> Outcome<String> {
    if is_name(name) {
        return Ok(name.to_owned());
    }
    let shown = shown(name, NAME_BYTES_MAX);
    Err(Fault::invalid(format!("not a name for a sandbox: {shown:?}"))
        .hint(format!("use 1 to {NAME_BYTES_MAX} of a-z, 0-9 and -, not starting with -")))
}

pub(super) fn driver_name(name: &str) -> Outcome<String> {
    let plain = name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
    if plain && !name.is_empty() && name.len() <= NAME_BYTES_MAX {
        return Ok(name.to_owned());
    }
    Err(Fault::invalid(format!("not the name of a driver: {}", shown(name, NAME_BYTES_MAX))))
}

fn labels(value: Vec<v1::Pair>) -> Outcome<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for pair in list("labels", value, LABELS_MAX)? {
        let key = text("labels.key", pair.key, LABEL_BYTES_MAX)?;
        let value = text("labels.value", pair.value, LABEL_BYTES_MAX)?;
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            return Err(Fault::invalid(format!("not a label: {}", shown(&key, 64))));
        }
        if out.insert(key.clone(), value).is_some() {
            return Err(Fault::invalid(format!("a label is given twice: {}", shown(&key, 64))));
        }
    }
    Ok(out)
}

fn allowed_hosts(value: Vec<String>) -> Outcome<Vec<String>> {
    let value = list("allow", value, ALLOW_MAX)?;
    let fits = |it: &&String| it.len() <= HOST_BYTES_MAX && host::pattern(it).is_some();
    match value.iter().find(|it| !fits(it)) {
        Some(bad) => Err(Fault::invalid(format!("allow has no HOST[:PORT]: {}", shown(bad, 64)))),
        None => Ok(value),
    }
}

fn image(value: String) -> Outcome<String> {
    let value = text("image", value, IMAGE_BYTES_MAX)?;
    // A path may have any character that shows itself as what it is.
    if value.is_empty() || value.chars().any(is_deceptive) {
        return Err(Fault::invalid(format!("not a reference of an image: {}", shown(&value, 64))));
    }
    Ok(value)
}

impl From<&SandboxSpec> for v1::SandboxSpec {
    fn from(spec: &SandboxSpec) -> Self {
        Self {
            name: spec.name.clone(),
            driver: spec.driver.clone(),
            isolation: spec.isolation.map(|it| isolation_out(it).into()),
            image: spec.image.clone(),
            workspace: Some((&spec.workspace).into()),
            egress: egress_out(spec.egress).into(),
            allow: spec.allow.clone(),
            limits: Some((&spec.limits).into()),
            env: pairs_out(spec.env.iter().map(|(key, value)| (key, value))),
            ttl_ms: spec.ttl.map(milliseconds),
            labels: pairs_out(&spec.labels),
            record: spec.record,
            remove_on_exit: spec.remove_on_exit,
            first: Some((&spec.first).into()),
            search_path: spec.search_path.iter().map(|it| path_out(it)).collect(),
            begins_with: spec.from.as_ref().map(ToString::to_string),
            awake: spec.awake,
            snapshot_every_ms: spec.snapshot_every.map(milliseconds),
            secrets: spec.secrets.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::SandboxSpec> for SandboxSpec {
    type Error = Fault;

    fn try_from(wire: v1::SandboxSpec) -> Outcome<Self> {
        let isolation = wire.isolation.map(|it| known("isolation", isolation_in(it), it));
        let ttl = wire.ttl_ms.map(|it| duration("ttl_ms", it, TTL_MAX)).transpose()?;
        if ttl.is_some_and(|it| it.is_zero()) {
            return Err(Fault::invalid("ttl_ms leaves no time: 0"));
        }
        let every = wire.snapshot_every_ms.map(|it| duration("snapshot_every_ms", it, TTL_MAX));
        let every = every.transpose()?;
        if every.is_some_and(|it| it < SNAPSHOT_EVERY_MIN) {
            return Err(Fault::invalid(format!(
                "a snapshot oftener than every {} s",
                SNAPSHOT_EVERY_MIN.as_secs()
            )));
        }
        Ok(Self {
            name: wire.name.as_deref().map(sandbox_name).transpose()?,
            driver: driver_name(&wire.driver)?,
            isolation: isolation.transpose()?,
            image: wire.image.map(image).transpose()?,
            workspace: workspace_in(wire.workspace)?,
            egress: known("egress", egress_in(wire.egress), wire.egress)?,
            allow: allowed_hosts(wire.allow)?,
            limits: wire.limits.unwrap_or_default().try_into()?,
            env: environment("env", wire.env)?,
            ttl,
            labels: labels(wire.labels)?,
            record: wire.record,
            remove_on_exit: wire.remove_on_exit,
            first: required("first", wire.first)?.try_into()?,
            search_path: list("search_path", wire.search_path, SEARCH_PATH_MAX)?
                .into_iter()
                .map(|it| absolute("search_path", it))
                .collect::<Outcome<_>>()?,
            from: wire.begins_with.as_deref().map(super::snapshot_id).transpose()?,
            awake: wire.awake,
            snapshot_every: every,
            secrets: super::secret::uses_in(wire.secrets)?,
            given: Vec::new(),
        })
    }
}

pub(in crate::wire) fn capabilities_out(capabilities: &Capabilities) -> Vec<String> {
    let on = capabilities.words().into_iter().filter(|(_, on)| *on);
    on.map(|(word, _)| word.to_owned()).collect()
}

/// Words of a newer version change nothing; what an older one does not say stays off.
pub(in crate::wire) fn capabilities_in(words: Vec<String>) -> Outcome<Capabilities> {
    let mut out = Capabilities::default();
    for word in list("capabilities", words, CAPABILITIES_MAX)? {
        out.set(&word, true);
    }
    Ok(out)
}

impl From<&Sandbox> for v1::Sandbox {
    fn from(sandbox: &Sandbox) -> Self {
        let notes = sandbox.notes.iter().take(NOTES_MAX);
        Self {
            id: sandbox.id.to_string(),
            name: sandbox.name.clone(),
            driver: sandbox.driver.clone(),
            state: state_out(sandbox.state).into(),
            raw_state: sandbox.raw_state.as_deref().map(|it| cut(it, LABEL_BYTES_MAX).to_owned()),
            isolation: sandbox.isolation.map(|it| isolation_out(it).into()),
            created_at_ms: sandbox.created_at.0,
            labels: pairs_out(&sandbox.labels),
            workspace: Some((&sandbox.workspace).into()),
            egress: egress_out(sandbox.egress).into(),
            limits: Some((&sandbox.limits).into()),
            capabilities: capabilities_out(&sandbox.capabilities),
            sessions: sessions_out(&sandbox.sessions),
            pending_approvals: u32::try_from(sandbox.asks.len()).unwrap_or(u32::MAX),
            asks: sandbox.asks.iter().take(ASKS_PENDING_MAX).map(Into::into).collect(),
            notes: notes.map(|it| cut(it, LINE_BYTES_MAX).to_owned()).collect(),
            stop_asked: sandbox.stop_asked,
            snapshots: sandbox.snapshots,
            moment: sandbox.moment.as_ref().map(ToString::to_string),
            writes: sandbox.writes,
        }
    }
}

impl TryFrom<v1::Sandbox> for Sandbox {
    type Error = Fault;

    fn try_from(wire: v1::Sandbox) -> Outcome<Self> {
        let workspace = required("workspace", wire.workspace)?;
        let notes = list("notes", wire.notes, NOTES_MAX)?;
        let mut notes: Vec<_> = notes.iter().map(|it| shown(it, LINE_BYTES_MAX)).collect();
        // What can't be read is shown as the weaker promise, and said.
        let egress = egress_in(wire.egress).unwrap_or_else(|| {
            notes.push(format!("this version does not know its egress: {}", wire.egress));
            Egress::Deny
        });
        let mode = mode_in(workspace.mode).unwrap_or_else(|| {
            notes
                .push(format!("this version does not know its workspace mode: {}", workspace.mode));
            WorkspaceMode::Rw
        });
        let sessions = sessions_in(wire.sessions, &mut notes);
        Ok(Self {
            id: super::sandbox_id(&wire.id)?,
            name: sandbox_name(&wire.name)?,
            driver: driver_name(&wire.driver)?,
            state: state_in(wire.state).unwrap_or(State::Unknown),
            raw_state: wire.raw_state.map(|it| shown(&it, LABEL_BYTES_MAX)),
            isolation: wire.isolation.and_then(isolation_in),
            created_at: Timestamp(wire.created_at_ms),
            labels: labels(wire.labels)?,
            workspace: Workspace { path: workspace_path(workspace.path, mode)?, mode },
            egress,
            limits: wire.limits.unwrap_or_default().try_into()?,
            capabilities: capabilities_in(wire.capabilities)?,
            sessions,
            asks: entries_in(wire.asks),
            notes,
            stop_asked: wire.stop_asked,
            snapshots: wire.snapshots,
            moment: wire.moment.as_deref().map(super::snapshot_id).transpose()?,
            writes: wire.writes,
        })
    }
}

/// Takes the grace of a stop.
pub fn grace(milliseconds: u64) -> Outcome<Duration> {
    duration("grace_ms", milliseconds, crate::base::limits::GRACE_MAX)
}
