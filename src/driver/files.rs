//! How somebody outside looks at the files of one sandbox: the trait, and what a driver is given for it.
//!
//! Everything that is found is the sandbox's: names, contents and shape are hostile. Whoever implements this
//! follows no link out of the sandbox, opens nothing but plain files and directories, and bounds every step in
//! size and time.

use std::{os::fd::OwnedFd, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{FILES_LOOK_ENTRIES_MAX, FILES_LOOK_EVERY, FILES_STEP_WITHIN},
    },
    model::{
        file::{
            FileEntry, FindPiece, FindRequest, ListPiece, ReadPiece, ReadRequest, WriteRequest,
        },
        session::ExitStatus,
    },
};

/// Values one after the other, made as they are taken.
pub type Pieces<T> = Pin<Box<dyn Stream<Item = Outcome<T>> + Send>>;

/// The files of one sandbox. Paths are absolute, as programs in it see them.
#[async_trait]
pub trait Files: Send + Sync {
    /// What lies at a path itself: a link is not followed.
    async fn stat(&self, path: &[u8]) -> Outcome<FileEntry>;

    /// What is in a directory, in no order.
    async fn list(&self, path: &[u8]) -> Outcome<Pieces<ListPiece>>;

    /// The contents of a plain file, or of one that a link leads to.
    async fn read(&self, request: ReadRequest) -> Outcome<Pieces<ReadPiece>>;

    /// Writes a whole file, or makes a directory; killed anywhere, what was there is there. An error in the data
    /// changes nothing. A link is not written through.
    async fn write(&self, request: WriteRequest, data: Pieces<Bytes>) -> Outcome<FileEntry>;

    async fn find(&self, request: FindRequest) -> Outcome<Pieces<FindPiece>>;

    /// Tells which of these directories changed, by their place in the list: something in them came, went or was
    /// written. Many changes are one piece.
    async fn watch(&self, paths: Vec<Vec<u8>>) -> Outcome<Pieces<Vec<usize>>>;
}

/// One message of a program that was run to look at files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Output(Bytes),
    Error(Bytes),
    /// Last message.
    End(ExitStatus),
}

/// Runs programs in a sandbox, for drivers that reach its files by nothing else.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Dropping the stream ends the program.
    async fn run(
        &self,
        command: Vec<String>,
        input: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    ) -> Outcome<Pieces<Said>>;
}

/// What a driver is given to reach the files of a sandbox, beside its ground.
pub struct Way {
    /// Its root directory, where its host has that open. Everything is to be resolved below it.
    pub root: Option<OwnedFd>,
    pub programs: Option<Arc<dyn Runs>>,
    /// Nothing runs in it: what it kept is looked at, and nothing of it is written.
    pub stopped: bool,
    pub turns: Turns,
}

/// Bounds the steps that block on a sandbox's files, of one sandbox and of all. A step that hangs keeps its place.
#[derive(Clone)]
pub struct Turns {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// The places of one step.
pub struct Turn {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Turns {
    /// Those of one sandbox, beside all others.
    pub fn new(all: &Arc<Semaphore>, own: &Arc<Semaphore>) -> Self {
        Self { all: Arc::clone(all), own: Arc::clone(own) }
    }

    pub async fn take(&self) -> Outcome<Turn> {
        let places = async {
            // Its own first: what hangs of one sandbox is not to keep the others waiting.
            let own = Arc::clone(&self.own).acquire_owned().await;
            let all = Arc::clone(&self.all).acquire_owned().await;
            Ok::<_, tokio::sync::AcquireError>(Turn { _own: own?, _all: all? })
        };
        match tokio::time::timeout(FILES_STEP_WITHIN, places).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(Fault::bug("nobody's turn to look at files")),
            Err(_) => Err(Fault::busy("so much looks at files already that there is no turn left")
                .hint(
                    "a file system in the sandbox may hang; what waits for it goes on by itself",
                )),
        }
    }
}

/// What stops nobody from looking, and everybody from writing.
pub fn has_stopped() -> Fault {
    Fault::failed("nothing is written to a sandbox that has stopped")
        .hint("a fork of it can be written to: sandwatch fork")
}

/// A stream of what a task sends; it ends with the task, which ends when nobody takes any more, whatever it waits for.
pub fn told_by<T, F>(task: impl FnOnce(mpsc::Sender<Outcome<T>>) -> F) -> Pieces<T>
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, pieces) = mpsc::channel(1);
    let taken = sender.clone();
    let task = task(sender);
    tokio::spawn(async move {
        tokio::select! {
            () = taken.closed() => {}
            () = task => {}
        }
    });
    Box::pin(ReceiverStream::new(pieces))
}

/// Watches where nothing tells of changes: the directories are looked at again and again. Those that can't be
/// read change when they can.
pub fn watched_by_looking(files: Arc<dyn Files>, paths: Vec<Vec<u8>>) -> Pieces<Vec<usize>> {
    told_by(move |news| async move {
        let mut before = Vec::new();
        for path in &paths {
            before.push(sum(&*files, path).await);
        }
        loop {
            tokio::select! {
                () = news.closed() => return,
                () = tokio::time::sleep(FILES_LOOK_EVERY) => {}
            }
            let mut changed = Vec::new();
            for (at, (path, before)) in paths.iter().zip(&mut before).enumerate() {
                let now = sum(&*files, path).await;
                if std::mem::replace(before, now) != now {
                    changed.push(at);
                }
            }
            if !changed.is_empty() && news.send(Ok(changed)).await.is_err() {
                return;
            }
        }
    })
}

/// A number that changes with what a directory shows; `None` when it can't be read.
async fn sum(files: &dyn Files, path: &[u8]) -> Option<u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use tokio_stream::StreamExt;
    let (mut pieces, mut sum, mut seen) = (files.list(path).await.ok()?, 0_u64, 0);
    while let Some(ListPiece::Entries(entries)) = pieces.next().await.transpose().ok()? {
        for it in &entries {
            let mut hasher = DefaultHasher::new();
            (&it.name, it.size_bytes, it.modified_at, it.version).hash(&mut hasher);
            // They come in no order.
            sum = sum.wrapping_add(hasher.finish());
        }
        seen += entries.len();
        if seen >= FILES_LOOK_ENTRIES_MAX {
            break;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_tells_ends_with_who_listens_whatever_it_waits_for() {
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let pieces = told_by::<u8, _>(|told| async move {
            std::future::pending::<()>().await;
            drop((told, alive));
        });
        drop(pieces);
        // It is dropped, not answered.
        assert!(ended.await.is_err());
    }
}
