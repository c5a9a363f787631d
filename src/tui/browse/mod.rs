//! What the place of files wants done: reading, searching and writing through the hub, off the loop. Everything that is
//! shown is made ready here, so that drawing takes no time.

mod image;
mod shown;
mod syntax;

use std::{
    io::Read,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::AbortHandle};
use tokio_stream::StreamExt;

use super::{
    arriving::Arriving,
    pictures::{Graphics, Means},
};
use crate::{
    app::{
        Msg,
        files::{FilesAct, FilesNews, FilesReply, How},
    },
    base::{
        fault::{Fault, Kind, Outcome},
        id::SandboxId,
        limits::{
            CONSOLE_EDIT_BYTES_MAX, CONSOLE_FILE_BYTES_MAX, CONSOLE_PICTURE_BYTES_MAX,
            FILE_PIECE_BYTES, FIND_HITS_MAX,
        },
        text::shown as safe,
        units::human_bytes,
    },
    config::paths::scratch,
    model::file::{
        Expected, FileEntry, FindPiece, FindRequest, ListPiece, Made, ReadFrom, ReadPiece,
        ReadRequest, WriteRequest, name_shown, plain_name, split,
    },
    runtime::Runtime,
};

fn cut_off() -> Fault {
    Fault::lost("the hub ended in the middle of it")
}

/// Does one of those that are answered; `None` for those that are not its own.
pub async fn answer(
    runtime: &dyn Runtime,
    act: FilesAct,
    graphics: Graphics,
) -> Outcome<FilesReply> {
    match act {
        FilesAct::List { sandbox, path } => {
            syntax::warm();
            list(runtime, &sandbox, &path).await
        }
        FilesAct::Look { sandbox, path, how, end, room, images } => {
            let means = graphics.means(images);
            look(runtime, &sandbox, path, (how, end), room, means).await
        }
        FilesAct::Find { sandbox, path, words } => find(runtime, &sandbox, path, words).await,
        FilesAct::Get { sandbox, path, to, over } => get(runtime, &sandbox, &path, to, over).await,
        FilesAct::Fetch { sandbox, path } => fetch(runtime, &sandbox, &path).await,
        FilesAct::Send { sandbox, path, copy, expected } => {
            send(runtime, &sandbox, path, copy, expected).await
        }
        FilesAct::Drop(copy) => {
            drop_copy(&copy);
            Ok(FilesReply::Written)
        }
        FilesAct::Watch { .. } | FilesAct::Unwatch | FilesAct::Edit(_) => {
            Err(Fault::bug("an effect of files went astray"))
        }
    }
}

async fn list(runtime: &dyn Runtime, sandbox: &SandboxId, path: &[u8]) -> Outcome<FilesReply> {
    let mut pieces = runtime.list_files(sandbox, path).await?;
    let mut entries: Vec<FileEntry> = Vec::new();
    while let Some(piece) = pieces.next().await {
        match piece? {
            ListPiece::Entries(some) => entries.extend(some),
            ListPiece::End { more } => {
                let sorted = tokio::task::spawn_blocking(move || {
                    entries.sort_by(|a, b| {
                        (!a.is_directory(), &a.name).cmp(&(!b.is_directory(), &b.name))
                    });
                    entries
                });
                let entries = sorted.await.map_err(|it| Fault::bug(format!("sorting: {it}")))?;
                return Ok(FilesReply::Listed { entries, more });
            }
        }
    }
    Err(cut_off())
}

/// A part of a file, in memory: what is told of it, where it begins, and its bytes.
async fn part(
    runtime: &dyn Runtime,
    sandbox: &SandboxId,
    path: &[u8],
    from: ReadFrom,
    most: u64,
) -> Outcome<(FileEntry, u64, Vec<u8>)> {
    let request = ReadRequest { path: path.to_vec(), from, most: Some(most) };
    let mut pieces = runtime.read_file(sandbox, request).await?;
    let Some(ReadPiece::Begin { entry, offset }) = pieces.next().await.transpose()? else {
        return Err(cut_off());
    };
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        match piece? {
            ReadPiece::Data(some) => bytes.extend_from_slice(&some),
            ReadPiece::End => return Ok((entry, offset, bytes)),
            ReadPiece::Begin { .. } => break,
        }
    }
    Err(cut_off())
}

async fn look(
    runtime: &dyn Runtime,
    sandbox: &SandboxId,
    path: Vec<u8>,
    (how, end): (How, bool),
    room: (u16, u16),
    means: Means,
) -> Outcome<FilesReply> {
    let most = CONSOLE_FILE_BYTES_MAX;
    let from = if end { ReadFrom::End(most) } else { ReadFrom::Start(0) };
    let (entry, offset, bytes) = part(runtime, sandbox, &path, from, most + 1).await?;
    let wanted = how == How::Text && offset == 0 && means != Means::Off;
    let is_picture = wanted && image::is_one(&bytes);
    if is_picture && entry.size_bytes.is_some_and(|it| it <= CONSOLE_PICTURE_BYTES_MAX) {
        let (from, most) = (ReadFrom::Start(0), CONSOLE_PICTURE_BYTES_MAX);
        let (entry, _, whole) = part(runtime, sandbox, &path, from, most).await?;
        if let Some(shown) = shown::picture(&path, entry, whole, room, means).await {
            return Ok(FilesReply::Looked(shown));
        }
    }
    Ok(FilesReply::Looked(shown::preview(path, entry, offset, bytes, how).await?))
}

async fn find(
    runtime: &dyn Runtime,
    sandbox: &SandboxId,
    path: Vec<u8>,
    words: String,
) -> Outcome<FilesReply> {
    let request = FindRequest { path, name: None, text: Some(words) };
    let mut pieces = runtime.find_files(sandbox, request).await?;
    let mut hits = Vec::new();
    while let Some(piece) = pieces.next().await {
        match piece? {
            FindPiece::Hit(hit) if hits.len() < FIND_HITS_MAX => hits.push(hit),
            FindPiece::Hit(_) => {}
            FindPiece::End { more, .. } => {
                hits.sort_by(|a, b| {
                    let line = |it: &crate::model::file::Hit| it.line.as_ref().map(|it| it.number);
                    (&a.path, line(a)).cmp(&(&b.path, line(b)))
                });
                return Ok(FilesReply::Found { hits, more });
            }
        }
    }
    Err(cut_off())
}

async fn get(
    runtime: &dyn Runtime,
    sandbox: &SandboxId,
    path: &[u8],
    to: PathBuf,
    over: bool,
) -> Outcome<FilesReply> {
    let name = split(path).map_or(&b"file"[..], |it| it.1);
    let to = if to.is_dir() { to.join(plain_name(name)) } else { to };
    if !over && std::fs::symlink_metadata(&to).is_ok_and(|it| it.is_file()) {
        return Ok(FilesReply::Exists(to));
    }
    let request = ReadRequest { path: path.to_vec(), from: ReadFrom::Start(0), most: None };
    let mut pieces = runtime.read_file(sandbox, request).await?;
    let Some(ReadPiece::Begin { entry, .. }) = pieces.next().await.transpose()? else {
        return Err(cut_off());
    };
    let mut arriving = Arriving::begin(&to, entry.mode, over)?;
    while let Some(piece) = pieces.next().await {
        match piece? {
            ReadPiece::Data(some) => arriving.add(&some)?,
            ReadPiece::End => {
                arriving.finish()?;
                return Ok(FilesReply::Copied(safe(&to.to_string_lossy(), FILE_PIECE_BYTES)));
            }
            ReadPiece::Begin { .. } => break,
        }
    }
    Err(cut_off())
}

/// A copy in a directory that nobody else may look into, under the file's own name, for editors go by that.
async fn fetch(runtime: &dyn Runtime, sandbox: &SandboxId, path: &[u8]) -> Outcome<FilesReply> {
    let most = CONSOLE_EDIT_BYTES_MAX + 1;
    let (entry, _, bytes) = part(runtime, sandbox, path, ReadFrom::Start(0), most).await?;
    if bytes.len() as u64 >= most {
        let words = format!("too large to be edited here: {}", name_shown(path));
        return Err(
            Fault::invalid(words).hint("sandwatch files get and put copy files of any size")
        );
    }
    let directory = scratch().join(format!("sandwatch-{}", SandboxId::random()));
    let fault = |error| Fault::io(format!("making a copy in {}", directory.display()), &error);
    std::fs::DirBuilder::new().mode(0o700).create(&directory).map_err(fault)?;
    let copy = directory.join(plain_name(split(path).map_or(&b"file"[..], |it| it.1)));
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&copy);
    let written = file.and_then(|mut it| std::io::Write::write_all(&mut it, &bytes));
    if let Err(error) = written {
        drop_copy(&copy);
        return Err(fault(error));
    }
    Ok(FilesReply::Fetched { copy, version: entry.version })
}

/// Deletes a copy with what an editor left beside it.
fn drop_copy(copy: &Path) {
    if let Some(directory) = copy.parent() {
        // What can't be deleted stays in a directory that is nobody else's.
        drop(std::fs::remove_dir_all(directory));
    }
}

async fn send(
    runtime: &dyn Runtime,
    sandbox: &SandboxId,
    path: Vec<u8>,
    copy: PathBuf,
    expected: Expected,
) -> Outcome<FilesReply> {
    let fault = |error| Fault::io(format!("reading {}", copy.display()), &error);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&copy).map_err(fault)?;
    let most = 2 * CONSOLE_EDIT_BYTES_MAX;
    file.take(most + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > most {
        let words = format!("more than {} to be written from here", human_bytes(most));
        return Err(Fault::invalid(words).hint("sandwatch files put copies files of any size"));
    }
    let request = WriteRequest { path: path.clone(), make: Made::File, mode: None, expected };
    let bytes = Bytes::from(bytes);
    let pieces: Vec<Outcome<Bytes>> = (0..bytes.len())
        .step_by(FILE_PIECE_BYTES)
        .map(|at| Ok(bytes.slice(at..bytes.len().min(at + FILE_PIECE_BYTES))))
        .collect();
    match runtime.write_file(sandbox, request, Box::pin(tokio_stream::iter(pieces))).await {
        Ok(_) => Ok(FilesReply::Written),
        Err(fault)
            if fault.kind() == Kind::Busy
                && is_changed(runtime, sandbox, &path, expected).await =>
        {
            Ok(FilesReply::Changed)
        }
        Err(fault) => Err(fault),
    }
}

/// Whether what is there is not what was expected. Much else may be busy.
async fn is_changed(
    runtime: &dyn Runtime,
    sandbox: &SandboxId,
    path: &[u8],
    expected: Expected,
) -> bool {
    let Expected::Version(seen) = expected else { return false };
    match runtime.stat_file(sandbox, path).await {
        Ok(entry) => entry.version != Some(seen),
        Err(fault) => fault.kind() == Kind::Absent,
    }
}

/// A watch that ends when this is dropped.
pub struct Older(pub AbortHandle);

impl Drop for Older {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells which directories changed, beginning with none once it has begun; what was watched before is let go of
/// then, so that nothing is missed in between.
pub async fn watch(
    runtime: Arc<dyn Runtime>,
    answers: mpsc::Sender<Msg>,
    sandbox: SandboxId,
    paths: Vec<Vec<u8>>,
    generation: u64,
    before: Option<Older>,
) {
    let tell = |changed| {
        let (answers, news) = (answers.clone(), FilesNews { generation, changed });
        async move { answers.send(Msg::Files(news)).await.is_ok() }
    };
    let begun = runtime.watch_files(&sandbox, paths).await;
    drop(before);
    let why = match begun {
        Err(fault) => fault,
        Ok(mut news) => {
            if !tell(Ok(Vec::new())).await {
                return;
            }
            loop {
                match news.next().await {
                    Some(Ok(changed)) => {
                        if !tell(Ok(changed)).await {
                            return;
                        }
                    }
                    Some(Err(fault)) => break fault,
                    None => break Fault::lost("the hub told no more of it"),
                }
            }
        }
    };
    tell(Err(why.message().to_owned())).await;
}
