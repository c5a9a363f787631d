//! `files`: the files of a sandbox, listed, read, written, searched and watched.

mod copy;
mod list;

use std::os::unix::ffi::OsStrExt;

use tokio_stream::StreamExt;

use super::{
    args::{FilesCatArgs, FilesFindArgs, FilesVerb, FilesWatchArgs},
    json_files::{FileDataView, FindView, HitView, WatchView},
    out, resolve,
    safe::Safe,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{ANSWER_WITHIN, FILE_SHOWN_BYTES_MAX, FILES_NEWS_EVERY_MIN, LINKS_FOLLOWED_MAX},
        text::count,
    },
    model::{
        file::{
            FindPiece, FindRequest, Hit, ReadFrom, ReadPiece, ReadRequest, joined, name_shown,
            split,
        },
        sandbox::Sandbox,
    },
    runtime::{BoxStream, Runtime},
};

pub async fn files(runtime: &dyn Runtime, verb: FilesVerb) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let of = |typed: &str| resolve::sandbox(&all, typed);
    match verb {
        FilesVerb::Ls(args) => list::ls(runtime, of(&args.sandbox)?, &args).await,
        FilesVerb::Stat(args) => list::stat(runtime, of(&args.sandbox)?, &args).await,
        FilesVerb::Cat(args) => cat(runtime, of(&args.sandbox)?, args).await,
        FilesVerb::Put(args) => copy::put(runtime, of(&args.sandbox)?, args).await,
        FilesVerb::Get(args) => copy::get(runtime, of(&args.sandbox)?, args).await,
        FilesVerb::Find(args) => find(runtime, of(&args.sandbox)?, args).await,
        FilesVerb::Watch(args) => watch(runtime, of(&args.sandbox)?, args).await,
    }
}

/// The rest of a stream that was to end with a last piece.
fn cut_off() -> Fault {
    Fault::lost("the hub ended in the middle of it").hint("try again")
}

type Data = BoxStream<Outcome<ReadPiece>>;

async fn read(
    runtime: &dyn Runtime,
    id: &SandboxId,
    path: &[u8],
    from: ReadFrom,
    most: Option<u64>,
) -> Outcome<Data> {
    runtime.read_file(id, ReadRequest { path: path.to_vec(), from, most }).await
}

async fn cat(runtime: &dyn Runtime, sandbox: &Sandbox, args: FilesCatArgs) -> Outcome<out::Code> {
    let path = args.path.as_bytes();
    let from = args.tail.map_or(ReadFrom::Start(0), ReadFrom::End);
    if args.json {
        return whole(runtime, sandbox, path, from).await;
    }
    let mut safe = out::stdout_is_terminal().then(Safe::default);
    if !args.follow {
        let mut data = read(runtime, &sandbox.id, path, from, None).await?;
        print_all(&mut data, &mut safe).await?;
        return Ok(out::DONE);
    }
    // Watched first, so that nothing is missed in between.
    let above = directories_of(runtime, &sandbox.id, path).await?;
    let mut news = runtime.watch_files(&sandbox.id, above).await?;
    let mut data = read(runtime, &sandbox.id, path, from, None).await?;
    let mut end = print_all(&mut data, &mut safe).await?;
    while let Some(some) = news.next().await {
        some?;
        // Of one that became shorter, all is new.
        let mut data = match read(runtime, &sandbox.id, path, ReadFrom::Start(end), None).await {
            // Files that are no more may be gone with their sandbox, which is the better reason.
            Err(fault) => {
                let next = tokio::time::timeout(ANSWER_WITHIN / 5, news.next()).await;
                let why = next.ok().flatten().and_then(Result::err);
                return Err(why.unwrap_or(fault));
            }
            Ok(data) => data,
        };
        let size = match data.next().await.transpose()? {
            Some(ReadPiece::Begin { entry, .. }) => entry.size_bytes,
            _ => return Err(cut_off()),
        };
        if size.is_some_and(|it| it < end) {
            out::tell("it became shorter; from its start again:");
            data = read(runtime, &sandbox.id, path, ReadFrom::Start(0), None).await?;
            end = print_all(&mut data, &mut safe).await?;
        } else {
            end += print_rest(&mut data, &mut safe).await?;
        }
    }
    Err(cut_off())
}

/// The directories in which something happens when a file changes: its own, and those of what links lead to.
async fn directories_of(
    runtime: &dyn Runtime,
    id: &SandboxId,
    path: &[u8],
) -> Outcome<Vec<Vec<u8>>> {
    let (mut path, mut all) = (path.to_vec(), Vec::new());
    while all.len() < LINKS_FOLLOWED_MAX {
        let above = split(&path).map_or(&b""[..], |it| it.0).to_vec();
        all.push(above.clone());
        let Some(target) = runtime.stat_file(id, &path).await?.target else { break };
        path = match (target.path.first(), above.is_empty()) {
            (Some(b'/'), _) | (_, true) => target.path,
            _ => joined(&above, &target.path),
        };
    }
    Ok(all)
}

/// Prints a file; gives where it ended.
async fn print_all(data: &mut Data, safe: &mut Option<Safe>) -> Outcome<u64> {
    match data.next().await.transpose()? {
        Some(ReadPiece::Begin { offset, .. }) => Ok(offset + print_rest(data, safe).await?),
        _ => Err(cut_off()),
    }
}

async fn print_rest(data: &mut Data, safe: &mut Option<Safe>) -> Outcome<u64> {
    let mut bytes = 0;
    loop {
        match data.next().await.transpose()? {
            Some(ReadPiece::Data(piece)) => {
                bytes += piece.len() as u64;
                match safe {
                    Some(safe) => out::print(&safe.feed(&piece))?,
                    None => out::print_bytes(&piece)?,
                }
            }
            Some(ReadPiece::End) => return Ok(bytes),
            Some(ReadPiece::Begin { .. }) | None => return Err(cut_off()),
        }
    }
}

/// One document, which is held in memory.
async fn whole(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    path: &[u8],
    from: ReadFrom,
) -> Outcome<out::Code> {
    let most = Some(FILE_SHOWN_BYTES_MAX + 1);
    let mut data = read(runtime, &sandbox.id, path, from, most).await?;
    let Some(ReadPiece::Begin { entry, offset }) = data.next().await.transpose()? else {
        return Err(cut_off());
    };
    let mut bytes = Vec::new();
    loop {
        match data.next().await.transpose()? {
            Some(ReadPiece::Data(piece)) => bytes.extend_from_slice(&piece),
            Some(ReadPiece::End) => break,
            Some(ReadPiece::Begin { .. }) | None => return Err(cut_off()),
        }
    }
    if bytes.len() as u64 > FILE_SHOWN_BYTES_MAX {
        let words = format!("more than {FILE_SHOWN_BYTES_MAX} bytes: {}", name_shown(path));
        return Err(Fault::invalid(words).hint("without --json it is printed as it is"));
    }
    out::json(&FileDataView::new(&entry, path, offset, &bytes))?;
    Ok(out::DONE)
}

async fn find(runtime: &dyn Runtime, sandbox: &Sandbox, args: FilesFindArgs) -> Outcome<out::Code> {
    let FilesFindArgs { path, name, text, json, .. } = args;
    let request = FindRequest { path: path.as_bytes().to_vec(), name, text };
    let mut found = runtime.find_files(&sandbox.id, request).await?;
    let mut hits = Vec::new();
    while let Some(piece) = found.next().await {
        match piece? {
            FindPiece::Hit(hit) if json => hits.push(hit),
            FindPiece::Hit(hit) => out::print(&format!("{}\n", shown(&hit)))?,
            FindPiece::End { more, looked_at, unread } => {
                if json {
                    let sandbox = &sandbox.name;
                    let hits = hits.iter().map(HitView::from).collect();
                    out::json(&FindView { sandbox, hits, more, looked_at, unread })?;
                    return Ok(out::DONE);
                }
                if more {
                    out::tell("there is more: name a directory further down, or more of the word");
                }
                if unread > 0 {
                    out::tell(&format!("{} could not be read", count(unread, "path")));
                }
                return Ok(out::DONE);
            }
        }
    }
    Err(cut_off())
}

/// A line for a person: it is in one line, whatever is in it.
fn shown(hit: &Hit) -> String {
    let path = name_shown(&hit.path);
    match &hit.line {
        Some(line) => format!("{path}:{}:{}", line.number, name_shown(&line.text)),
        None => path,
    }
}

/// Those that can be watched, with a word about each of the others: one that is not there would never be told of. It is a
/// fault where none is left.
async fn watchable(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    paths: Vec<Vec<u8>>,
) -> Outcome<Vec<Vec<u8>>> {
    let (mut left, mut missing) = (Vec::new(), Vec::new());
    for path in paths {
        match runtime.list_files(&sandbox.id, &path).await {
            Ok(_) => left.push(path),
            Err(fault) => missing.push((path, fault)),
        }
    }
    if left.is_empty() {
        return missing.into_iter().next().map_or(Ok(left), |it| Err(it.1));
    }
    for (path, fault) in missing {
        let of = if path.is_empty() { b"." } else { path.as_slice() };
        out::tell(&format!("not watched: {}: {}", name_shown(of), fault.message()));
    }
    Ok(left)
}

async fn watch(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    args: FilesWatchArgs,
) -> Outcome<out::Code> {
    let paths: Vec<Vec<u8>> = match args.paths.is_empty() {
        true => vec![Vec::new()],
        false => args.paths.iter().map(|it| it.as_bytes().to_vec()).collect(),
    };
    let paths = watchable(runtime, sandbox, paths).await?;
    let mut news = runtime.watch_files(&sandbox.id, paths.clone()).await?;
    if !args.json {
        let each = FILES_NEWS_EVERY_MIN.as_millis();
        out::tell(&format!("watching; many changes within {each} ms are one line"));
    }
    while let Some(changed) = news.next().await {
        for at in changed? {
            let path = paths.get(at).map_or(&b""[..], Vec::as_slice);
            let path = if path.is_empty() { b"." } else { path };
            let now = clock::wall();
            if args.json {
                out::json_line(&WatchView::new(&sandbox.name, path, now))?;
            } else {
                let time = clock::Zone::here().time(now);
                out::print(&format!("{time}  {}\n", name_shown(path)))?;
            }
        }
    }
    Err(Fault::lost("the hub told no more of it"))
}
