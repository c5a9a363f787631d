//! `files ls` and `files stat`.

use std::{collections::HashMap, os::unix::ffi::OsStrExt};

use tokio_stream::StreamExt;

use super::cut_off;
use crate::{
    base::{
        clock::{self, Zone},
        fault::{Fault, Outcome},
        id::SnapshotId,
        units::human_bytes,
    },
    cli::{
        args::{FilesLsArgs, FilesStatArgs},
        json_files::{FileListView, FileView},
        out, paint, resolve,
        table::{Cell, Table, Tone},
    },
    model::{
        change::{ChangeStatus, DiffPiece, DiffRequest, Subject},
        file::{FileEntry, FileKind, ListPiece, absolute, mode_shown, name_shown, split},
        sandbox::{Sandbox, WorkspaceMode},
    },
    runtime::Runtime,
};

/// What became of an entry or of something below it, by its name.
type Changes = HashMap<Vec<u8>, ChangeStatus>;

pub async fn ls(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    args: &FilesLsArgs,
) -> Outcome<out::Code> {
    let path = args.path.as_bytes();
    let (mut entries, more) = all(runtime, sandbox, path).await?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let since = match &args.since {
        Some(typed) => {
            let kept = runtime.snapshots().await?;
            Some(resolve::snapshot_for(&kept, &sandbox.id, typed)?.id.clone())
        }
        None => None,
    };
    let changes = match args.changes || since.is_some() {
        true => Some(changes(runtime, sandbox, path, since.clone()).await?),
        false => None,
    };
    let of = |it: &FileEntry| changes.as_ref().and_then(|all| all.get(&it.name)).copied();
    if args.json {
        let views = entries.iter().map(|it| FileView::new(it, path, of(it))).collect();
        out::json(&FileListView::new(&sandbox.name, path, since.as_ref(), views, more))?;
        return Ok(out::DONE);
    }
    let zone = Zone::here();
    let mut heading = vec!["MODE", "OWNER", "SIZE", "CHANGED", "NAME"];
    if changes.is_some() {
        heading.insert(4, "");
    }
    let mut table = Table::new(&heading);
    for it in &entries {
        let mut row = columns(it, &zone);
        if changes.is_some() {
            row.insert(4, mark(of(it)));
        }
        table.row(row);
    }
    if entries.is_empty() {
        out::tell("nothing is in it");
    } else {
        out::print(&table.render(paint::wanted()))?;
    }
    if more {
        out::tell(&format!("there are more than {}: these are some of them", entries.len()));
    }
    Ok(out::DONE)
}

/// All of a directory, in no order; whether there is more.
pub async fn all(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    path: &[u8],
) -> Outcome<(Vec<FileEntry>, bool)> {
    let mut pieces = runtime.list_files(&sandbox.id, path).await?;
    let mut entries = Vec::new();
    while let Some(piece) = pieces.next().await {
        match piece? {
            ListPiece::Entries(some) => entries.extend(some),
            ListPiece::End { more } => return Ok((entries, more)),
        }
    }
    Err(cut_off())
}

fn columns(it: &FileEntry, zone: &Zone) -> Vec<Cell> {
    let letter = match it.kind {
        FileKind::File => '-',
        FileKind::Directory => 'd',
        FileKind::Link => 'l',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
        FileKind::Device => 'c',
        FileKind::Other => '?',
    };
    let dash = || "-".to_owned();
    let mode = it.mode.map_or_else(|| "?????????".to_owned(), mode_shown);
    let owner = match (it.owner, it.group) {
        (Some(owner), Some(group)) => format!("{owner}:{group}"),
        _ => dash(),
    };
    let mut name = name_shown(&it.name);
    if let Some(target) = &it.target {
        name.push_str(&format!(" -> {}", name_shown(&target.path)));
    } else if it.kind == FileKind::Directory {
        name.push('/');
    }
    let tone = if it.is_directory() { Tone::Good } else { Tone::Plain };
    vec![
        format!("{letter}{mode}").into(),
        Cell::new(&owner, Tone::Dim),
        it.size_bytes.map_or_else(dash, human_bytes).into(),
        it.modified_at.map_or_else(dash, |at| zone.date_time(at)).into(),
        Cell::new(&name, tone),
    ]
}

fn mark(change: Option<ChangeStatus>) -> Cell {
    match change {
        Some(ChangeStatus::Added) => Cell::new("+", Tone::Good),
        Some(ChangeStatus::Deleted) => Cell::new("-", Tone::Bad),
        Some(ChangeStatus::Modified | ChangeStatus::Renamed) => Cell::new("~", Tone::Warn),
        None => Cell::default(),
    }
}

/// What changed in a directory of the workspace since a snapshot, or since the sandbox began.
async fn changes(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    path: &[u8],
    since: Option<SnapshotId>,
) -> Outcome<Changes> {
    let top = sandbox.workspace.path.as_os_str().as_bytes();
    if sandbox.workspace.mode != WorkspaceMode::Cow {
        let name = &sandbox.name;
        return Err(Fault::unsupported(format!(
            "--changes: sandbox {name} keeps no changes apart: its workspace is {}",
            sandbox.workspace.mode.word()
        )));
    }
    let whole = absolute(Some(top), path)?;
    let below = match whole.strip_prefix(top) {
        Some(b"") => &b""[..],
        Some([b'/', below @ ..]) => below,
        _ => {
            let words = format!("--changes: not in the workspace: {}", name_shown(&whole));
            return Err(Fault::invalid(words).hint("sandwatch diff --system tells of the rest"));
        }
    };
    let paths = if below.is_empty() { Vec::new() } else { vec![below.to_vec()] };
    let request = DiffRequest { paths, git: true, against: since, ..DiffRequest::default() };
    let mut pieces = runtime.diff(Subject::Sandbox(sandbox.id.clone()), request).await?;
    let mut found = Changes::new();
    while let Some(piece) = pieces.next().await {
        match piece? {
            DiffPiece::File(change) => note(&mut found, below, &change.path, change.status),
            DiffPiece::Text(_) => {}
            DiffPiece::End { .. } => return Ok(found),
        }
    }
    Err(cut_off())
}

/// Notes a change on the entry that it is, or that it is in.
fn note(found: &mut Changes, below: &[u8], path: &[u8], status: ChangeStatus) {
    let rest = path.strip_prefix(below).unwrap_or(path);
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let mut parts = rest.splitn(2, |it| *it == b'/');
    let Some(name) = parts.next().filter(|it| !it.is_empty()) else { return };
    match parts.next() {
        // One in it: it was modified, unless more is known.
        Some(_) => found.entry(name.to_vec()).or_insert(ChangeStatus::Modified),
        None => found.entry(name.to_vec()).insert_entry(status).into_mut(),
    };
}

pub async fn stat(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    args: &FilesStatArgs,
) -> Outcome<out::Code> {
    let path = args.path.as_bytes();
    let entry = runtime.stat_file(&sandbox.id, path).await?;
    if args.json {
        let above = split(path).map_or(&b""[..], |it| it.0);
        out::json(&FileView::new(&entry, above, None))?;
        return Ok(out::DONE);
    }
    let dash = || "-".to_owned();
    let mut lines = vec![
        ("name", name_shown(&entry.name)),
        ("kind", entry.kind.word().to_owned()),
        ("size", entry.size_bytes.map_or_else(dash, |it| format!("{it} bytes"))),
        ("mode", entry.mode.map_or_else(dash, |it| format!("{:04o} {}", it, mode_shown(it)))),
        ("owner", entry.owner.map_or_else(dash, |it| it.to_string())),
        ("group", entry.group.map_or_else(dash, |it| it.to_string())),
        ("changed", entry.modified_at.map_or_else(dash, |it| clock::Zone::here().date_time(it))),
    ];
    if let Some(target) = &entry.target {
        let kind = target.kind.map_or("nothing that is there", FileKind::word);
        lines.push(("leads to", format!("{} ({kind})", name_shown(&target.path))));
    }
    for (word, value) in lines {
        out::print(&format!("{word:<9} {value}\n"))?;
    }
    Ok(out::DONE)
}
