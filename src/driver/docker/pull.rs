//! What a sandbox changed in its copy of the workspace: the copy comes as an archive, and what differs is kept as a
//! layer that is read, and applied, as a local sandbox's own is.

use std::{
    io::{self, Read},
    os::unix::ffi::OsStrExt,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    engine::{Engine, escaped, escaped_bytes},
    trace::Trace,
};
use crate::{
    base::{
        fault::{Fault, Kind as FaultKind, Outcome},
        limits::COPY_PIECES_AHEAD_MAX,
    },
    driver::{Changes, Ground, Kept, Shelf, local::pulled},
    model::{change::DiffRequest, sandbox::SandboxSpec},
};

/// Of more paths than that, the whole workspace comes.
const SINGLE_PATHS_MAX: usize = 8;

/// Brings the layer of changes up to date: these paths, if there are few, or all of it.
pub async fn fetch(ground: &Ground, spec: &SandboxSpec, paths: &[Vec<u8>]) -> Outcome<()> {
    let Some(Trace { engine, container: Some(container), .. }) = Trace::read(&ground.dir)? else {
        return Err(Fault::absent(format!("{} has no container any more", ground.name)));
    };
    let engine = Engine::new(engine);
    let few =
        !paths.is_empty() && paths.len() <= SINGLE_PATHS_MAX && pulled::has_layer(&ground.dir);
    if few && some(&engine, &container, ground, spec, paths).await.is_ok() {
        return Ok(());
    }
    one(&engine, &container, ground, spec, b"").await
}

async fn some(
    engine: &Engine,
    container: &str,
    ground: &Ground,
    spec: &SandboxSpec,
    paths: &[Vec<u8>],
) -> Outcome<()> {
    for path in paths {
        one(engine, container, ground, spec, path).await?;
    }
    Ok(())
}

/// Brings one path of the workspace here, or with an empty one all of it.
async fn one(
    engine: &Engine,
    container: &str,
    ground: &Ground,
    spec: &SandboxSpec,
    path: &[u8],
) -> Outcome<()> {
    let mut whole = spec.workspace.path.as_os_str().as_bytes().to_vec();
    if !path.is_empty() {
        whole.push(b'/');
        whole.extend_from_slice(path);
    }
    let asked =
        format!("/containers/{}/archive?path={}", escaped(container), escaped_bytes(&whole));
    let archive = match engine.listen(&asked).await {
        Err(fault) if fault.kind() == FaultKind::Absent && !path.is_empty() => None,
        archive => Some(archive.map_err(|fault| {
            fault.context(format!("looking at {} in the container", spec.workspace.path.display()))
        })?),
    };
    let (pieces, taken) = mpsc::channel(COPY_PIECES_AHEAD_MAX);
    let (directory, path) = (ground.dir.clone(), path.to_vec());
    let is_there = archive.is_some();
    let pulling = tokio::task::spawn_blocking(move || {
        let archive = Taken { pieces: taken, now: Bytes::new() };
        pulled::pull(&directory, &path, is_there.then_some(archive))
    });
    if let Some(mut archive) = archive {
        while let Some(piece) = archive.next().await {
            if pieces.send(piece).await.is_err() {
                // What came so far was wrong: the fault says how.
                break;
            }
        }
    }
    drop(pieces);
    pulling.await.map_err(|error| Fault::bug(format!("reading an archive: {error}")))?
}

/// An archive on its way, as what a thread reads.
struct Taken {
    pieces: mpsc::Receiver<Bytes>,
    now: Bytes,
}

impl Read for Taken {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.now = piece,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.now.len());
        let piece = self.now.split_to(count);
        for (into, byte) in into.iter_mut().zip(piece) {
            *into = byte;
        }
        Ok(count)
    }
}

/// The copy alone: an engine tells of the rest of a container only what has another time.
pub fn changes(of: &Kept, against: Option<&Shelf>, request: DiffRequest) -> Outcome<Changes> {
    let Kept::Ground(ground) = of else { return Err(unable("in a snapshot")) };
    if against.is_some() {
        return Err(unable("since a snapshot"));
    }
    if request.system {
        return Err(unable("in the whole system"));
    }
    Ok(pulled::changes(ground, request))
}

fn unable(what: &str) -> Fault {
    Fault::unsupported(format!("the docker driver can't tell what changed {what}"))
        .hint("make a fork of the snapshot, and look at its workspace: sandwatch fork SNAPSHOT")
}
