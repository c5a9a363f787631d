//! What a sandbox, or a moment of one, changed in its copy of the workspace: the copy comes as an archive, and what differs is
//! kept as a layer that is read, and applied, as a local sandbox's own is.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use tokio::sync::mpsc;

use super::{
    engine::{Engine, Payload, Pieces, escaped, escaped_bytes},
    trace::Trace,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind as FaultKind, Outcome},
        limits::{COPY_PIECES_AHEAD_MAX, ENGINE_ANSWER_WITHIN},
        text::visible,
    },
    driver::{
        Ground, Shelf,
        local::pulled::{self, Pulling},
    },
    model::sandbox::SandboxSpec,
};

/// Of more names at its top than that, the whole workspace comes.
const SINGLE_NAMES_MAX: usize = 8;

/// Brings the layer of changes up to date: what these paths lie in, if that is little, or all of it.
pub async fn fetch(ground: &Ground, spec: &SandboxSpec, paths: &[Vec<u8>]) -> Outcome<()> {
    let Some(Trace { engine, container: Some(container), .. }) = Trace::read(&ground.dir)? else {
        return Err(Fault::absent(format!("{} has no container any more", ground.name)));
    };
    let workspace = spec.workspace.path.as_os_str().as_bytes().to_vec();
    let fetch = Fetch { engine: &Engine::new(engine), container: &container, workspace };
    fetch.paths(&ground.dir, paths).await
}

/// The same of a snapshot, by a container that has its files.
pub async fn fetch_kept(
    shelf: &Shelf,
    (engine, container): (&Engine, &str),
    spec: &SandboxSpec,
    paths: &[Vec<u8>],
) -> Outcome<()> {
    let (dir, real) = (shelf.dir.clone(), spec.workspace.path.clone());
    aside(move || pulled::hold_against(&dir, &real)).await?;
    let workspace = spec.workspace.path.as_os_str().as_bytes().to_vec();
    Fetch { engine, container, workspace }.paths(&shelf.dir, paths).await
}

/// Does what blocks aside.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::bug(format!("reading an archive: {error}")))?
}

/// Has an archive taken as it comes, by what blocks; `None` = there is none.
pub async fn taking<T: Send + 'static>(
    archive: Option<Pieces>,
    take: impl FnOnce(Option<Taken>) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let (pieces, taken) = mpsc::channel(COPY_PIECES_AHEAD_MAX);
    let is_there = archive.is_some();
    let taking = tokio::spawn(aside(move || take(is_there.then(|| Taken::new(taken)))));
    if let Some(mut archive) = archive {
        while let Some(piece) = archive.next().await {
            if pieces.send(Ok(piece)).await.is_err() {
                // What came so far was wrong: the fault says how.
                break;
            }
        }
    }
    drop(pieces);
    taking.await.map_err(|error| Fault::bug(format!("reading an archive: {error}")))?
}

/// A workspace in a container.
struct Fetch<'a> {
    engine: &'a Engine,
    container: &'a str,
    workspace: Vec<u8>,
}

impl Fetch<'_> {
    /// Brings what these paths lie in into the directory of a sandbox or a snapshot.
    async fn paths(&self, into: &Path, paths: &[Vec<u8>]) -> Outcome<()> {
        let names: BTreeSet<&[u8]> =
            paths.iter().filter_map(|it| it.split(|it| *it == b'/').next()).collect();
        let few = !names.is_empty() && names.len() <= SINGLE_NAMES_MAX;
        if few && pulled::has_layer(into) {
            let names: Vec<Vec<u8>> = names.into_iter().map(<[u8]>::to_vec).collect();
            match self.names(into, Some(names)).await {
                // What is wrong with these may be right with all.
                Err(fault) if fault.kind() == FaultKind::Failed => {}
                done => return done,
            }
        }
        self.names(into, None).await
    }

    /// Brings names at the top of the workspace here, or all of it.
    async fn names(&self, into: &Path, names: Option<Vec<Vec<u8>>>) -> Outcome<()> {
        let (directory, asked) = (into.to_owned(), names.clone());
        let mut pulling = aside(move || Pulling::begin(&directory, asked)).await?;
        for name in names.unwrap_or_else(|| vec![Vec::new()]) {
            pulling = self.one(pulling, name).await?;
        }
        aside(move || pulling.place()).await
    }

    async fn one(&self, mut pulling: Pulling, name: Vec<u8>) -> Outcome<Pulling> {
        let mut whole = self.workspace.clone();
        if !name.is_empty() {
            whole.push(b'/');
            whole.extend_from_slice(&name);
        }
        let archive = match self.engine.listen(&self.archive(&whole)).await {
            Err(fault) if fault.kind() == FaultKind::Absent && !name.is_empty() => {
                self.is_there().await?;
                None
            }
            archive => Some(archive.map_err(|fault| {
                fault.context(format!("looking at {} in the container", self.shown()))
            })?),
        };
        taking(archive, move |archive| {
            pulling.take(&name, archive)?;
            Ok(pulling)
        })
        .await
    }

    /// The question for a path as an archive.
    fn archive(&self, path: &[u8]) -> String {
        let container = escaped(self.container);
        format!("/containers/{container}/archive?path={}", escaped_bytes(path))
    }

    fn shown(&self) -> String {
        visible(&String::from_utf8_lossy(&self.workspace))
    }

    /// What is not found in the workspace is gone only if that is there itself, and its container.
    async fn is_there(&self) -> Outcome<()> {
        self.engine.inspect(self.container).await?;
        let asked = self.archive(&self.workspace);
        let answer = self.engine.call(Method::HEAD, &asked, Payload::Nothing, ENGINE_ANSWER_WITHIN);
        let status = answer.await?.status;
        if status == StatusCode::NOT_FOUND {
            return Err(Fault::absent(format!(
                "{} is not in the container any more",
                self.shown()
            )));
        }
        if !status.is_success() {
            let words =
                format!("looking at {} in the container: the engine says {status}", self.shown());
            return Err(Fault::failed(words).hint("see whether it works: docker version"));
        }
        Ok(())
    }
}

/// An archive on its way, as what a thread reads. An error among the pieces ends it.
pub struct Taken {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    now: Bytes,
    until: Duration,
    wanted: Box<dyn Fn() -> bool + Send>,
}

impl Taken {
    pub fn new(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { pieces, now: Bytes::new(), until: Duration::MAX, wanted: Box::new(|| true) }
    }

    /// Only until then, by `clock::monotonic`: what is read later is an error, `TimedOut`.
    pub fn only_until(&mut self, until: Duration) {
        self.until = until;
    }

    /// Only for as long as that is true: what is read later is the same error.
    pub fn only_while(&mut self, wanted: impl Fn() -> bool + Send + 'static) {
        self.wanted = Box::new(wanted);
    }
}

impl Read for Taken {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            if clock::monotonic() > self.until || !(self.wanted)() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.pieces.blocking_recv() {
                Some(piece) => self.now = piece?,
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
