//! Snapshots: what is known of one, and one at rest.

use prost::Message;

use super::{
    list, required, sandbox_id,
    secret::{given_in, given_out},
    snapshot_id, text,
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{IMAGE_BYTES_MAX, LINE_BYTES_MAX, NAME_BYTES_MAX, NOTES_MAX},
        text::{cut, shown},
    },
    model::{
        change::Subject,
        sandbox::SandboxSpec,
        snapshot::{Snapshot, SnapshotCause, SnapshotKind, is_name},
    },
    runtime::Fork,
    wire::v1::{self, fork_request::From as Wire},
};

enums! {
    kind_out, kind_in: SnapshotKind = SnapshotKind { Filesystem, Memory, }
    cause_out, cause_in: SnapshotCause = SnapshotCause { Asked, Restore, Fork, Timer, }
}

/// What a snapshot is to hold, for a request.
pub fn wanted_kind_out(kind: SnapshotKind) -> i32 {
    kind_out(kind).into()
}

/// What a request asks for. Files where it says nothing; a kind of a newer version is `Unsupported`.
pub fn wanted_kind_in(wire: i32) -> Outcome<SnapshotKind> {
    if wire == i32::from(v1::SnapshotKind::Unspecified) {
        return Ok(SnapshotKind::Filesystem);
    }
    kind_in(wire).ok_or_else(|| Fault::unsupported("this hub does not know that kind of snapshot"))
}

/// Takes a snapshot's name.
pub fn snapshot_name(name: &str) -> Outcome<String> {
    if is_name(name) {
        return Ok(name.to_owned());
    }
    let shown = shown(name, NAME_BYTES_MAX);
    Err(Fault::invalid(format!("not a name for a snapshot: {shown:?}")).hint(format!(
        "use 1 to {NAME_BYTES_MAX} letters, digits, -, _ and ., starting with a letter or digit"
    )))
}

impl From<&Snapshot> for v1::KeptSnapshot {
    fn from(it: &Snapshot) -> Self {
        let notes = it.notes.iter().take(NOTES_MAX);
        Self {
            id: it.id.to_string(),
            sandbox: it.sandbox.to_string(),
            sandbox_name: it.sandbox_name.clone(),
            driver: it.driver.clone(),
            name: it.name.clone(),
            created_at_ms: it.created_at.0,
            size_bytes: it.size_bytes,
            parent: it.parent.as_ref().map(ToString::to_string),
            kind: kind_out(it.kind).into(),
            cause: cause_out(it.cause).into(),
            workspace: Some((&it.workspace).into()),
            notes: notes.map(|it| cut(it, LINE_BYTES_MAX).to_owned()).collect(),
        }
    }
}

impl TryFrom<v1::KeptSnapshot> for Snapshot {
    type Error = Fault;

    fn try_from(wire: v1::KeptSnapshot) -> Outcome<Self> {
        let notes = list("snapshot.notes", wire.notes, NOTES_MAX)?;
        Ok(Self {
            id: snapshot_id(&wire.id)?,
            sandbox: sandbox_id(&wire.sandbox)?,
            sandbox_name: super::sandbox::sandbox_name(&wire.sandbox_name)?,
            driver: super::sandbox::driver_name(&wire.driver)?,
            name: wire.name.as_deref().map(snapshot_name).transpose()?,
            created_at: Timestamp(wire.created_at_ms),
            size_bytes: wire.size_bytes,
            parent: wire.parent.as_deref().map(snapshot_id).transpose()?,
            kind: kind_in(wire.kind).unwrap_or(SnapshotKind::Filesystem),
            cause: cause_in(wire.cause).unwrap_or(SnapshotCause::Asked),
            workspace: super::sandbox::workspace_in(wire.workspace)?,
            notes: notes.iter().map(|it| shown(it, LINE_BYTES_MAX)).collect(),
        })
    }
}

/// Takes what a driver calls a snapshot.
pub(in crate::wire) fn reference(value: String) -> Outcome<String> {
    text("reference", value, IMAGE_BYTES_MAX)
}

/// One at rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub snapshot: Snapshot,
    pub spec: SandboxSpec,
    pub reference: Option<String>,
    /// Nobody is to see it any more; it goes with the last sandbox that began with it.
    pub removed: bool,
    /// When the first sandbox of its line was made: what became of the real workspace since then was not looked at.
    pub since: Timestamp,
}

impl Stored {
    pub fn encode(&self) -> Vec<u8> {
        v1::StoredSnapshot {
            snapshot: Some((&self.snapshot).into()),
            spec: Some((&self.spec).into()),
            reference: self.reference.clone(),
            removed: self.removed,
            since_ms: self.since.0,
        }
        .encode_to_vec()
    }

    /// Reads it back; damaged bytes are a fault, never a guess.
    pub fn decode(bytes: &[u8]) -> Outcome<Self> {
        let wire = v1::StoredSnapshot::decode(bytes).map_err(|error| {
            Fault::failed(format!("damaged record: {}", shown(&error.to_string(), 200)))
        })?;
        Ok(Self {
            snapshot: required("snapshot", wire.snapshot)?.try_into()?,
            spec: required("spec", wire.spec)?.try_into()?,
            reference: wire.reference.map(reference).transpose()?,
            removed: wire.removed,
            since: Timestamp(wire.since_ms),
        })
    }
}

pub fn fork_out(from: &Subject, how: &Fork) -> v1::ForkRequest {
    let from = match from {
        Subject::Sandbox(id) => Wire::Sandbox(id.to_string()),
        Subject::Snapshot(id) => Wire::Snapshot(id.to_string()),
    };
    let first = how.first.as_ref().map(Into::into);
    let given = given_out(&how.given);
    v1::ForkRequest { from: Some(from), name: how.name.clone(), first, given }
}

pub fn fork_in(wire: v1::ForkRequest) -> Outcome<(Subject, Fork)> {
    let from = match required("from", wire.from)? {
        Wire::Sandbox(id) => Subject::Sandbox(sandbox_id(&id)?),
        Wire::Snapshot(id) => Subject::Snapshot(snapshot_id(&id)?),
    };
    let name = wire.name.as_deref().map(super::sandbox::sandbox_name).transpose()?;
    let first = wire.first.map(TryInto::try_into).transpose()?;
    Ok((from, Fork { name, first, given: given_in(wire.given)? }))
}
