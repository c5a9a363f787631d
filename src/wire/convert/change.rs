//! What a sandbox changed: the question, and the diff in pieces.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{blob, list, output::cuts, required, sandbox_id, snapshot_id, text};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{
            APPLY_HUNKS_BYTES_MAX, CHANGE_PATHS_MAX, CHANGE_PIECE_BYTES, LINE_BYTES_MAX,
            PATH_BYTES_MAX,
        },
        text::{cut, shown},
    },
    model::{
        change::{
            AppliedPath, ApplyRequest, ChangeStatus, DiffPiece, DiffRequest, FileChange, LineCount,
            Node, NodeKind, Subject, Verdict, covers, is_inside,
        },
        hunk::{self, Part},
    },
    wire::v1::{self, diff_response::Kind},
};

enums! {
    status_out, status_in: ChangeStatus = ChangeStatus { Added, Modified, Deleted, Renamed, }
    verdict_out, verdict_in: Verdict = Verdict { Applied, Conflict, LeftOut, }
    kind_out, kind_in: NodeKind = NodeKind { File, Link, Directory, Special, }
}

/// Takes a path below the workspace.
fn path(field: &str, value: Bytes) -> Outcome<Vec<u8>> {
    let value = blob(field, value, PATH_BYTES_MAX)?;
    if is_inside(&value) {
        return Ok(value.to_vec());
    }
    let value = shown(&String::from_utf8_lossy(&value), LINE_BYTES_MAX);
    Err(Fault::invalid(format!("{field} is not a path below the workspace: {value:?}")))
}

/// Takes the paths that were asked for.
fn asked(paths: Vec<Bytes>) -> Outcome<Vec<Vec<u8>>> {
    let paths = list("paths", paths, CHANGE_PATHS_MAX)?;
    paths.into_iter().map(|it| path("paths", it)).collect()
}

pub fn diff_out(of: &Subject, request: DiffRequest) -> v1::DiffRequest {
    let (sandbox, snapshot) = match of {
        Subject::Sandbox(id) => (id.to_string(), None),
        Subject::Snapshot(id) => (String::new(), Some(id.to_string())),
    };
    v1::DiffRequest {
        sandbox,
        snapshot,
        against: request.against.map(|it| it.to_string()),
        system: request.system,
        paths: request.paths.into_iter().map(Bytes::from).collect(),
        git: request.git,
        text: request.text,
        binary: request.binary,
    }
}

pub fn diff_in(wire: v1::DiffRequest) -> Outcome<(Subject, DiffRequest)> {
    let request = DiffRequest {
        against: wire.against.as_deref().map(snapshot_id).transpose()?,
        system: wire.system,
        paths: asked(wire.paths)?,
        git: wire.git,
        text: wire.text,
        binary: wire.binary,
    };
    let of = match wire.snapshot {
        Some(id) => Subject::Snapshot(snapshot_id(&id)?),
        None => Subject::Sandbox(sandbox_id(&wire.sandbox)?),
    };
    Ok((of, request))
}

impl From<Node> for v1::Node {
    fn from(node: Node) -> Self {
        Self { kind: kind_out(node.kind).into(), mode: node.mode, size_bytes: node.bytes }
    }
}

impl From<v1::Node> for Node {
    fn from(wire: v1::Node) -> Self {
        let kind = kind_in(wire.kind).unwrap_or(NodeKind::Special);
        Self { kind, mode: wire.mode & 0o777, bytes: wire.size_bytes }
    }
}

impl From<FileChange> for v1::FileChange {
    fn from(change: FileChange) -> Self {
        let lines = change.lines.map(|it| v1::LineCount { added: it.added, removed: it.removed });
        Self {
            path: change.path.into(),
            old_path: change.old_path.map(Bytes::from),
            status: status_out(change.status).into(),
            old: change.old.map(Into::into),
            new: change.new.map(Into::into),
            lines,
            note: change.note.map(|it| cut(&it, LINE_BYTES_MAX).to_owned()),
        }
    }
}

impl TryFrom<v1::FileChange> for FileChange {
    type Error = Fault;

    fn try_from(wire: v1::FileChange) -> Outcome<Self> {
        let lines = wire.lines.map(|it| LineCount { added: it.added, removed: it.removed });
        let note = wire.note.map(|it| text("change.note", it, LINE_BYTES_MAX)).transpose()?;
        Ok(Self {
            path: path("change.path", wire.path)?,
            old_path: wire.old_path.map(|it| path("change.old_path", it)).transpose()?,
            status: status_in(wire.status).unwrap_or(ChangeStatus::Modified),
            old: wire.old.map(Into::into),
            new: wire.new.map(Into::into),
            lines,
            note: note.map(|it| shown(&it, LINE_BYTES_MAX)),
        })
    }
}

pub fn apply_out(sandbox: &SandboxId, request: ApplyRequest) -> v1::ApplyRequest {
    v1::ApplyRequest {
        sandbox: sandbox.to_string(),
        paths: request.paths.into_iter().map(Bytes::from).collect(),
        git: request.git,
        links: request.links,
        overwrite: request.overwrite,
        parts: request.parts.into_iter().map(part_out).collect(),
    }
}

fn part_out(it: Part) -> v1::ApplyPart {
    v1::ApplyPart { path: it.path.into(), hunks: it.hunks }
}

/// Hunks that can be read, of each file once.
fn parts(wire: Vec<v1::ApplyPart>) -> Outcome<Vec<Part>> {
    let wire = list("parts", wire, CHANGE_PATHS_MAX)?;
    let (mut bytes, mut named) = (0, BTreeSet::new());
    let parts = wire.into_iter().map(|v1::ApplyPart { path: named_path, hunks }| {
        bytes += hunks.len();
        if bytes > APPLY_HUNKS_BYTES_MAX {
            return Err(Fault::invalid(format!("parts: more than {APPLY_HUNKS_BYTES_MAX} bytes")));
        }
        hunk::all(&hunks).map_err(|it| it.context("parts"))?;
        let path = path("parts.path", named_path)?;
        if !named.insert(path.clone()) {
            return Err(Fault::invalid("parts: a file is named twice"));
        }
        Ok(Part { path, hunks })
    });
    parts.collect()
}

pub fn apply_in(wire: v1::ApplyRequest) -> Outcome<(SandboxId, ApplyRequest)> {
    let v1::ApplyRequest { sandbox, paths, git, links, overwrite, parts: some } = wire;
    let request = ApplyRequest { paths: asked(paths)?, parts: parts(some)?, git, links, overwrite };
    let whole = |part: &&Part| request.paths.iter().any(|it| covers(it, &part.path));
    if let Some(part) = request.parts.iter().find(whole) {
        let path = shown(&String::from_utf8_lossy(&part.path), LINE_BYTES_MAX);
        let words = format!("{path} is asked for as a whole and in parts");
        return Err(Fault::invalid(words).hint("name a file, or hunks of it, not both"));
    }
    Ok((sandbox_id(&sandbox)?, request))
}

impl From<AppliedPath> for v1::AppliedPath {
    fn from(it: AppliedPath) -> Self {
        Self {
            path: it.path.into(),
            status: status_out(it.status).into(),
            verdict: verdict_out(it.verdict).into(),
            note: it.note.map(|it| cut(&it, LINE_BYTES_MAX).to_owned()),
        }
    }
}

impl TryFrom<v1::AppliedPath> for AppliedPath {
    type Error = Fault;

    fn try_from(wire: v1::AppliedPath) -> Outcome<Self> {
        Ok(Self {
            path: path("applied.path", wire.path)?,
            status: status_in(wire.status).unwrap_or(ChangeStatus::Modified),
            verdict: verdict_in(wire.verdict).unwrap_or(Verdict::Conflict),
            note: wire.note.map(|it| shown(&it, LINE_BYTES_MAX)),
        })
    }
}

/// Writes one piece as the messages it takes.
pub fn piece_out(piece: DiffPiece) -> Vec<v1::DiffResponse> {
    let kinds = match piece {
        DiffPiece::File(change) => vec![Kind::File(change.into())],
        DiffPiece::Text(bytes) => {
            cuts(bytes, CHANGE_PIECE_BYTES).into_iter().map(Kind::Text).collect()
        }
        DiffPiece::End { git_left_out } => vec![Kind::End(v1::DiffEnd { git_left_out })],
    };
    kinds.into_iter().map(|kind| v1::DiffResponse { kind: Some(kind) }).collect()
}

pub fn piece_in(wire: v1::DiffResponse) -> Outcome<DiffPiece> {
    Ok(match required("diff.kind", wire.kind)? {
        Kind::File(change) => DiffPiece::File(change.try_into()?),
        Kind::Text(bytes) => DiffPiece::Text(blob("diff.text", bytes, CHANGE_PIECE_BYTES)?),
        Kind::End(end) => DiffPiece::End { git_left_out: end.git_left_out },
    })
}
