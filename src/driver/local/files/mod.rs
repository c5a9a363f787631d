//! The files of a local sandbox, seen from the hub: below the descriptor of its root that its first process handed
//! out, or, in grade `landlock`, below the few directories that are its own. What blocks is done on threads aside,
//! with the rights of the sandbox's programs and none of root's.

mod aside;
mod entry;
mod find;
mod reach;
mod watch;
mod write;

use std::{
    io::Read,
    os::{fd::AsFd, unix::fs::FileExt},
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::{fs::OFlags, process::geteuid};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

use self::{
    aside::{Aside, Shoes},
    entry::{Listing, Owners},
    find::Search,
    reach::{Part, Reach},
    write::Writing,
};
use super::{identity::Identity, namespaces, processes, still, traces::Traces, upper};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{FILE_PIECE_BYTES, FILES_WATCHED_MAX},
    },
    driver::{
        Ground,
        files::{Files, Pieces, Way, has_stopped, told_by, watched_by_looking},
    },
    model::{
        file::{
            FileEntry, FindPiece, FindRequest, ListPiece, ReadFrom, ReadPiece, ReadRequest,
            WriteRequest, name_shown, split,
        },
        sandbox::{SandboxSpec, WorkspaceMode},
    },
};

/// What every step needs.
pub struct Place {
    reach: OnceLock<Reach>,
    /// Of a sandbox without a root of its own: what is opened of the host's, and whether it may be written to.
    parts: Vec<(PathBuf, bool)>,
    owners: Owners,
    stopped: bool,
}

impl Place {
    /// Opened by the first step that needs it: what is the operator's may hang as well.
    fn reach(&self) -> Outcome<&Reach> {
        if let Some(reach) = self.reach.get() {
            return Ok(reach);
        }
        let open = |(path, writable): &(PathBuf, bool)| {
            let real = std::fs::canonicalize(path);
            let real = real.map_err(|it| Fault::io(format!("opening {}", path.display()), &it))?;
            Ok(Part::new(path, upper::root(&real)?, *writable))
        };
        let parts = self.parts.iter().map(open).collect::<Outcome<_>>()?;
        Ok(self.reach.get_or_init(|| Reach::Parts(parts)))
    }
}

/// Of a sandbox that has stopped: what its root is built from, by whoever first needs it. It goes with the look, for it keeps
/// mounted what lies below.
struct Still {
    ground: Ground,
    spec: SandboxSpec,
    /// Steps with the hub's own rights.
    aside: Aside,
}

#[derive(Clone)]
pub struct LocalFiles {
    place: Arc<Place>,
    aside: Aside,
    still: Option<Arc<Still>>,
}

impl LocalFiles {
    pub fn open(ground: &Ground, spec: &SandboxSpec, way: Way) -> Outcome<Self> {
        let read = Traces::read(&ground.dir);
        let traces = read.map_err(|error| Fault::io("reading what a sandbox has", &error))?;
        let mut identity = Identity::of(&ground.id)?;
        let mut still = None;
        let (reach, parts) = match (way.root, traces.mark) {
            (Some(root), _) => (OnceLock::from(Reach::Whole(root)), Vec::new()),
            (None, Some(_)) => (OnceLock::new(), own_parts(ground, spec)),
            (None, None) if way.stopped => {
                identity = still::identity(ground)?.1;
                let (ground, spec) = (ground.clone(), spec.clone());
                let aside = Aside::new(way.turns.clone(), None);
                still = Some(Arc::new(Still { ground, spec, aside }));
                (OnceLock::new(), Vec::new())
            }
            (None, None) => return Err(Fault::unsupported("its root is not known")),
        };
        let first = traces.first.and_then(|it| it.alive().ok().flatten());
        let map = first.and_then(|it| processes::read(it, "uid_map").ok().flatten());
        let owners = Owners::new(&identity, map.as_deref());
        // The hub may do more than its sandboxes where it is root.
        let shoes =
            geteuid().is_root().then_some(Shoes { uid: identity.host_uid, gid: identity.host_gid });
        Ok(Self {
            place: Arc::new(Place { reach, parts, owners, stopped: way.stopped }),
            aside: Aside::new(way.turns, shoes),
            still,
        })
    }

    async fn step<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let place = Arc::clone(&self.place);
        if let Some(still) = self.still.as_ref().filter(|_| place.reach.get().is_none()) {
            let of = Arc::clone(still);
            let root = still.aside.run(move || still::root(&of.ground, &of.spec)).await?;
            // Whoever was quicker has the same.
            drop(place.reach.set(Reach::Whole(root)));
        }
        self.aside.run(move || work(&place)).await
    }

    /// Goes on with one state, step by step, until a step says that it was the last.
    fn steps<S: Send + 'static, T: Send + 'static>(
        &self,
        begun: (Vec<T>, bool),
        state: S,
        step: fn(&mut S, &Place) -> Outcome<(Vec<T>, bool)>,
    ) -> Pieces<T> {
        let this = self.clone();
        told_by(move |told: mpsc::Sender<Outcome<T>>| async move {
            let (mut state, mut ready) = (state, begun);
            loop {
                for piece in ready.0 {
                    if told.send(Ok(piece)).await.is_err() {
                        return;
                    }
                }
                if ready.1 || told.is_closed() {
                    return;
                }
                let mut mine = state;
                let done = this.step(move |place| {
                    let pieces = step(&mut mine, place)?;
                    Ok((mine, pieces))
                });
                match done.await {
                    Ok(done) => (state, ready) = done,
                    Err(fault) => return drop(told.send(Err(fault)).await),
                }
            }
        })
    }
}

/// What a sandbox without a root of its own has: its home, and the workspace.
fn own_parts(ground: &Ground, spec: &SandboxSpec) -> Vec<(PathBuf, bool)> {
    let mut parts = vec![(ground.dir.join(namespaces::BOX), true)];
    match spec.workspace.mode {
        WorkspaceMode::None => {}
        mode => parts.push((PathBuf::from(&spec.workspace.path), mode != WorkspaceMode::Ro)),
    }
    parts
}

/// A file that is being read.
struct Reading {
    file: std::fs::File,
    path: Vec<u8>,
    at: u64,
    left: u64,
}

impl Reading {
    fn next(&mut self) -> Outcome<(Vec<ReadPiece>, bool)> {
        let most = self.left.min(FILE_PIECE_BYTES as u64) as usize;
        let mut piece = vec![0; most];
        let fault = |error| Fault::io(format!("reading {}", name_shown(&self.path)), &error);
        let count = loop {
            match self.file.read_at(&mut piece, self.at) {
                // Files in /proc may be read from where they are only.
                Err(error) if error.raw_os_error() == Some(libc::ESPIPE) => {
                    break self.file.read(&mut piece).map_err(fault)?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(fault)?,
            }
        };
        if count == 0 {
            return Ok((vec![ReadPiece::End], true));
        }
        piece.truncate(count);
        self.at += count as u64;
        self.left -= count as u64;
        Ok((vec![ReadPiece::Data(Bytes::from(piece))], false))
    }
}

#[async_trait]
impl Files for LocalFiles {
    async fn stat(&self, path: &[u8]) -> Outcome<FileEntry> {
        let path = path.to_vec();
        self.step(move |place| {
            let found = place.reach()?.open(&path, OFlags::PATH | OFlags::NOFOLLOW)?;
            let name = split(&path).map_or(&b"/"[..], |it| it.1);
            place.entry_of(found.as_fd(), &path, name)
        })
        .await
    }

    async fn list(&self, path: &[u8]) -> Outcome<Pieces<ListPiece>> {
        let path = path.to_vec();
        let opened = self.step(move |place| {
            let mut listing = Listing::open(place.reach()?, path)?;
            let first = listing.next(place)?;
            Ok((listing, first))
        });
        let (listing, first) = opened.await?;
        Ok(self.steps(first, listing, Listing::next))
    }

    async fn read(&self, request: ReadRequest) -> Outcome<Pieces<ReadPiece>> {
        let opened = self.step(move |place| {
            let ReadRequest { path, from, most } = request;
            let file = place.reach()?.open_file(&path)?;
            let name = split(&path).map_or(&b"/"[..], |it| it.1);
            let entry = place.entry_of(file.as_fd(), &path, name)?;
            let size = entry.size_bytes.unwrap_or_default();
            let at = match from {
                ReadFrom::Start(bytes) => bytes,
                ReadFrom::End(bytes) => size.saturating_sub(bytes),
            };
            let left = most.unwrap_or(u64::MAX);
            Ok((ReadPiece::Begin { entry, offset: at }, Reading { file, path, at, left }))
        });
        let (first, reading) = opened.await?;
        Ok(self.steps((vec![first], false), reading, |reading, _| reading.next()))
    }

    async fn write(&self, request: WriteRequest, mut data: Pieces<Bytes>) -> Outcome<FileEntry> {
        if self.place.stopped {
            return Err(has_stopped());
        }
        let aside = self.aside.clone();
        let mut writing = self.step(move |place| Writing::begin(place, aside, request)).await?;
        while let Some(piece) = data.next().await {
            let piece = piece?;
            let (back, written) = self
                .step(move |_| {
                    let written = writing.add(&piece);
                    Ok((writing, written))
                })
                .await?;
            writing = back;
            written?;
        }
        self.step(move |place| writing.finish(place)).await
    }

    async fn find(&self, request: FindRequest) -> Outcome<Pieces<FindPiece>> {
        let begun = self.step(move |place| {
            let mut search = Search::begin(place.reach()?, request)?;
            let first = search.next();
            Ok((search, first))
        });
        let (search, first) = begun.await?;
        Ok(self.steps(first, search, |search, _| Ok(search.next())))
    }

    async fn watch(&self, paths: Vec<Vec<u8>>) -> Outcome<Pieces<Vec<usize>>> {
        if paths.len() > FILES_WATCHED_MAX {
            return Err(Fault::invalid(format!(
                "more than {FILES_WATCHED_MAX} directories to watch: {}",
                paths.len()
            )));
        }
        let asked = paths.clone();
        match self.step(move |place| watch::begin(place.reach()?, &asked)).await {
            Ok(Some(watch)) => Ok(watch.told()),
            // The kernel's bound is reached, or it can't.
            Ok(None) => Ok(watched_by_looking(Arc::new(self.clone()), paths)),
            Err(fault) => Err(fault),
        }
    }
}
