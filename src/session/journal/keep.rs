//! Which recordings there are, and which have to go.

use std::{fs, path::Path};

use super::{lock, meta::Meta, segment};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{RECORDING_AGE_MAX, RECORDINGS_BYTES_MAX},
    },
    model::history::Recording,
};

/// Every recording under `root`, oldest first; scrollback-only journals are not listed, a damaged
/// one is left out.
pub fn recordings(root: &Path) -> Outcome<Vec<Recording>> {
    let mut found: Vec<_> = every(root)?
        .into_iter()
        .filter(|it| it.1.record)
        .map(|(_, meta, size)| describe(meta, size))
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
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Fault::io(format!("reading {}", root.display()), &error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|it| Fault::io(format!("reading {}", root.display()), &it))?;
        let Some(id) = entry.file_name().to_str().and_then(SessionId::parse) else { continue };
        let dir = entry.path();
        let (Ok(meta), Ok(segments)) = (Meta::load(&dir), segment::list(&dir)) else { continue };
        let bytes = segments.iter().map(|it| it.bytes).sum();
        let start = segments.first().map_or(0, |it| it.start);
        found.push((id, meta, Extent { bytes, start }));
    }
    Ok(found)
}

/// Removes the oldest recordings beyond the bounds of size and age, and what scrollback-only
/// journals left; never a live one. Gives the number removed.
pub fn prune(root: &Path, now: Timestamp) -> Outcome<usize> {
    let mut found = every(root)?;
    found.sort_by_key(|it| it.1.started_at);
    let mut total: u64 = found.iter().map(|it| it.2.bytes).sum();
    let mut removed = 0;
    for (id, meta, extent) in found {
        let ended = meta.ended_at.unwrap_or(meta.started_at);
        let old = now.since(ended) > RECORDING_AGE_MAX;
        let dir = root.join(id.as_str());
        if (old || !meta.record || total > RECORDINGS_BYTES_MAX) && !lock::is_live(&dir) {
            remove(&dir)?;
            total -= extent.bytes;
            removed += 1;
        }
    }
    Ok(removed)
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
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Fault::io(format!("removing {}", dir.display()), &error))
        }
        _ => Ok(()),
    }
}
