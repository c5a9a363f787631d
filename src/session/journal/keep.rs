//! Which recordings there are, and which have to go.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{lock, meta::Meta, segment};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{RECORDING_AGE_MAX, RECORDINGS_BYTES_KEPT, RECORDINGS_BYTES_MAX},
    },
    model::history::Recording,
};

/// Times that a directory is emptied again, into which something was written meanwhile.
const TRIES_AGAIN_MAX: usize = 8;

/// Every recording under `root`, oldest first; scrollback-only journals are not listed, a damaged
/// one is left out.
pub fn recordings(root: &Path) -> Outcome<Vec<Recording>> {
    let mut found: Vec<_> = every(root)?
        .into_iter()
        .filter(|it| it.1.record)
        .map(|(id, mut meta, size)| {
            let dir = root.join(id.as_str());
            if meta.ended_at.is_none() && !lock::is_live(&dir) {
                // Its writer was ended with its sandbox, or killed: it wrote last when that printed last.
                meta.ended_at = last_change(&dir).map(|it| it.max(meta.started_at));
            }
            describe(meta, size)
        })
        .collect();
    found.sort_by(|a, b| (a.started_at, &a.session).cmp(&(b.started_at, &b.session)));
    Ok(found)
}

/// Bytes of a recording's files, and the offset of its oldest byte.
struct Extent {
    bytes: u64,
    start: u64,
}

fn describe(meta: Meta, extent: Extent) -> Recording {
    Recording {
        session: meta.session,
        sandbox_name: meta.sandbox_name,
        session_name: meta.session_name,
        command: meta.command,
        started_at: meta.started_at,
        ended_at: meta.ended_at,
        exit: meta.exit,
        size: meta.size,
        size_bytes: extent.bytes,
        dropped_bytes: extent.start,
        lost_bytes: meta.lost_bytes,
    }
}

fn every(root: &Path) -> Outcome<Vec<(SessionId, Meta, Extent)>> {
    let mut found = Vec::new();
    for id in ids(root)? {
        let dir = root.join(id.as_str());
        let (Ok(meta), Ok(segments)) = (Meta::load(&dir), segment::list(&dir)) else { continue };
        let bytes = segments.iter().map(|it| it.bytes).sum();
        let start = segments.first().map_or(0, |it| it.start);
        found.push((id, meta, Extent { bytes, start }));
    }
    Ok(found)
}

fn ids(root: &Path) -> Outcome<Vec<SessionId>> {
    let fault = |it: std::io::Error| Fault::io(format!("reading {}", root.display()), &it);
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        ids.extend(entry.map_err(fault)?.file_name().to_str().and_then(SessionId::parse));
    }
    Ok(ids)
}

/// A journal nobody writes any more, whatever state it is in.
struct Finished {
    dir: PathBuf,
    at: Timestamp,
    bytes: u64,
    /// Scrollback of a sandbox that is gone.
    scrap: bool,
}

/// What one round of pruning came to.
#[derive(Debug, Default)]
pub struct Pruned {
    pub removed: usize,
    /// Bytes of the live ones, where they leave the finished ones less than these should have.
    pub crowded: Option<u64>,
    /// What could not be removed: the first of it.
    pub fault: Option<Fault>,
}

/// Removes the oldest recordings beyond the bounds of size and age, damaged ones like others, and what
/// scrollback-only journals left; never a live one. One that can't be removed keeps no other.
pub fn prune(root: &Path, now: Timestamp) -> Outcome<Pruned> {
    let mut pruned = Pruned::default();
    let (mut finished, mut live) = (Vec::new(), 0);
    for id in ids(root)? {
        let dir = root.join(id.as_str());
        let segments = segment::list(&dir).unwrap_or_default();
        let bytes: u64 = segments.iter().map(|it| it.bytes).sum();
        if lock::is_live(&dir) {
            live += bytes;
            continue;
        }
        let meta = Meta::load(&dir).ok();
        let scrap = meta.as_ref().is_some_and(|it| !it.record);
        // One whose writer was killed does not say when it ended.
        let at = meta.and_then(|it| it.ended_at).or_else(|| last_change(&dir)).unwrap_or(now);
        finished.push(Finished { dir, at, bytes, scrap });
    }
    let room = RECORDINGS_BYTES_MAX.saturating_sub(live).max(RECORDINGS_BYTES_KEPT);
    pruned.crowded = (live > RECORDINGS_BYTES_MAX - RECORDINGS_BYTES_KEPT).then_some(live);
    finished.sort_by_key(|it| it.at);
    let mut total: u64 = finished.iter().map(|it| it.bytes).sum();
    for Finished { dir, at, bytes, scrap } in finished {
        if scrap || total > room || now.since(at) > RECORDING_AGE_MAX {
            match remove(&dir) {
                Ok(()) => {
                    total -= bytes;
                    pruned.removed += 1;
                }
                Err(fault) => drop(pruned.fault.get_or_insert(fault)),
            }
        }
    }
    Ok(pruned)
}

/// When anything in a directory was last written.
pub(super) fn last_change(dir: &Path) -> Option<Timestamp> {
    let own = fs::metadata(dir).ok();
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let all = own.into_iter().chain(files.filter_map(|it| it.metadata().ok()));
    let written = |it: fs::Metadata| {
        Timestamp(it.mtime().saturating_mul(1000).saturating_add(it.mtime_nsec() / 1_000_000))
    };
    all.map(written).max()
}

/// Removes a recording that nobody writes any more.
pub fn remove_finished(dir: &Path) -> Outcome<()> {
    if lock::is_live(dir) {
        return Err(Fault::busy("its sandbox still runs, and has the recording open")
            .hint("stop or remove the sandbox first"));
    }
    remove(dir)
}

/// Removes one session's journal; fine if there is none.
pub fn remove(dir: &Path) -> Outcome<()> {
    // Its writer may just be noting the end of the program; it does that once.
    let mut removed = fs::remove_dir_all(dir);
    for _ in 0..TRIES_AGAIN_MAX {
        if !removed.as_ref().is_err_and(|it| it.kind() == std::io::ErrorKind::DirectoryNotEmpty) {
            break;
        }
        removed = fs::remove_dir_all(dir);
    }
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Fault::io(format!("removing {}", dir.display()), &error))
        }
        _ => Ok(()),
    }
}
