//! `files put` and `files get`: a file, or a directory with all that is in it.

use std::{
    io::Read,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{cut_off, list::all, print_all, read};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{COPY_DEPTH_MAX, COPY_ENTRIES_MAX, FILE_PIECE_BYTES, PATH_BYTES_MAX},
        text::{count, cut},
        units::human_bytes,
    },
    cli::{
        args::{FilesGetArgs, FilesPutArgs},
        json_files::{CopiedView, FileView},
        out,
        safe::Safe,
    },
    model::{
        file::{
            Expected, FileEntry, FileKind, Made, ReadFrom, ReadPiece, WriteRequest, joined,
            name_shown, plain_name, split,
        },
        sandbox::Sandbox,
    },
    runtime::{BoxStream, Runtime},
    tui::arriving::Arriving,
};

/// What a copy came to.
#[derive(Default)]
struct Copied {
    files: u64,
    directories: u64,
    bytes: u64,
    /// Links, and what is neither file nor directory.
    left_out: u64,
    /// Written under another name than they have.
    renamed: u64,
}

impl Copied {
    fn one_more(&self) -> Outcome<()> {
        if self.files + self.directories + self.left_out < COPY_ENTRIES_MAX {
            return Ok(());
        }
        let words = format!("more than {COPY_ENTRIES_MAX} files and directories in one copy");
        Err(Fault::invalid(words).hint("copy the directories in it one by one"))
    }

    fn tell(&self) {
        let Self { files, bytes, left_out, renamed, .. } = self;
        out::tell(&format!("{}, {}", count(*files, "file"), human_bytes(*bytes)));
        if *left_out > 0 {
            let what = count(*left_out, "entry");
            out::tell(&format!(
                "{what} left out: links, what is no plain file, what can't be read"
            ));
        }
        if *renamed > 0 {
            let what = count(*renamed, "entry");
            out::tell(&format!(
                "{what} written under another name: control characters are named, long names cut"
            ));
        }
    }
}

pub async fn put(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    args: FilesPutArgs,
) -> Outcome<out::Code> {
    let path = args.path.as_bytes();
    let version = args.version.as_deref().map(|it| {
        u64::from_str_radix(it, 16).map_err(|_| Fault::invalid(format!("not a version: {it}")))
    });
    let expected = match version.transpose()? {
        Some(version) => Expected::Version(version),
        None if args.new => Expected::Nothing,
        None => Expected::Anything,
    };
    let from = args.from.filter(|it| it.as_os_str() != "-");
    let found = from.as_deref().map(|it| {
        std::fs::metadata(it)
            .map_err(|error| Fault::io(format!("reading {}", it.display()), &error))
    });
    let found = found.transpose()?;
    if let (Some(from), Some(true)) = (&from, found.as_ref().map(std::fs::Metadata::is_dir)) {
        let copied = put_directory(runtime, sandbox, from, path, expected).await?;
        if args.json {
            out::json(&CopiedView::new(path, copied.files, copied.bytes, copied.left_out))?;
        } else {
            copied.tell();
        }
        return Ok(out::DONE);
    }
    // Into a directory, under its own name.
    let into = runtime.stat_file(&sandbox.id, path).await.is_ok_and(|it| it.is_directory());
    let path = match from.as_deref().and_then(Path::file_name).filter(|_| into) {
        Some(name) => joined(path, name.as_bytes()),
        None => path.to_vec(),
    };
    let mode = found.map(|it| it.mode() & 0o777);
    let entry = put_file(runtime, sandbox, from.as_deref(), &path, mode, expected).await?;
    if args.json {
        let above = split(&path).map_or(&b""[..], |it| it.0);
        out::json(&FileView::new(&entry, above, None))?;
    }
    Ok(out::DONE)
}

async fn put_file(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    from: Option<&Path>,
    path: &[u8],
    mode: Option<u32>,
    expected: Expected,
) -> Outcome<FileEntry> {
    let source: Box<dyn Read + Send> = match from {
        Some(from) => Box::new(
            std::fs::File::open(from)
                .map_err(|error| Fault::io(format!("reading {}", from.display()), &error))?,
        ),
        None => Box::new(std::io::stdin()),
    };
    // What is replaced keeps its permissions, unless there is nothing yet.
    let there = runtime.stat_file(&sandbox.id, path).await.is_ok();
    let mode = mode.filter(|_| !there);
    let request = WriteRequest { path: path.to_vec(), make: Made::File, mode, expected };
    runtime.write_file(&sandbox.id, request, pieces(source)).await
}

/// What a reader gives, read by a thread of its own.
fn pieces(mut source: Box<dyn Read + Send>) -> BoxStream<Outcome<Bytes>> {
    let (sender, taken) = tokio::sync::mpsc::channel(2);
    std::thread::spawn(move || {
        let mut buffer = vec![0; FILE_PIECE_BYTES];
        loop {
            let piece = match source.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default())),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(Fault::io("reading what is to be written", &error)),
            };
            let over = piece.is_err();
            if sender.blocking_send(piece).is_err() || over {
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(taken))
}

async fn put_directory(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    from: &Path,
    to: &[u8],
    expected: Expected,
) -> Outcome<Copied> {
    if matches!(expected, Expected::Version(_)) {
        return Err(Fault::invalid("--version is for one file, not for a directory"));
    }
    let fault = |path: &Path, error| Fault::io(format!("reading {}", path.display()), &error);
    let make = |path: Vec<u8>, expected| WriteRequest {
        path,
        make: Made::Directory,
        mode: None,
        expected,
    };
    let nothing = || Box::pin(tokio_stream::empty()) as BoxStream<Outcome<Bytes>>;
    runtime.write_file(&sandbox.id, make(to.to_vec(), expected), nothing()).await?;
    let mut copied = Copied::default();
    let mut waiting = vec![(from.to_owned(), to.to_vec(), 0)];
    while let Some((from, to, depth)) = waiting.pop() {
        for item in std::fs::read_dir(&from).map_err(|error| fault(&from, error))? {
            copied.one_more()?;
            let item = item.map_err(|error| fault(&from, error))?;
            let (source, below) = (item.path(), joined(&to, item.file_name().as_bytes()));
            let found = std::fs::symlink_metadata(&source).map_err(|it| fault(&source, it))?;
            if found.is_dir() && depth < COPY_DEPTH_MAX {
                let request = make(below.clone(), Expected::Anything);
                runtime.write_file(&sandbox.id, request, nothing()).await?;
                copied.directories += 1;
                waiting.push((source, below, depth + 1));
            } else if found.is_file() {
                let mode = Some(found.mode() & 0o777);
                let source = Some(source.as_path());
                put_file(runtime, sandbox, source, &below, mode, Expected::Anything).await?;
                copied.files += 1;
                copied.bytes += found.len();
            } else {
                copied.left_out += 1;
            }
        }
    }
    Ok(copied)
}

pub async fn get(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    args: FilesGetArgs,
) -> Outcome<out::Code> {
    let path = args.path.as_bytes();
    let entry = runtime.stat_file(&sandbox.id, path).await?;
    if args.to.as_deref() == Some(Path::new("-")) {
        let mut data = read(runtime, &sandbox.id, path, ReadFrom::Start(0), None).await?;
        // As `cat` does: a terminal is shown what it would obey.
        print_all(&mut data, &mut out::stdout_is_terminal().then(Safe::default)).await?;
        return Ok(out::DONE);
    }
    let name = if path.is_empty() { b"workspace" } else { entry.name.as_slice() };
    let to = match args.to {
        Some(to) if to.is_dir() => to.join(plain_name(name)),
        Some(to) => to,
        None => plain_name(name),
    };
    let mut copied = Copied::default();
    if entry.kind == FileKind::Directory {
        get_directory(runtime, sandbox, path, &to, &mut copied).await?;
    } else {
        copied.bytes = get_file(runtime, sandbox, path, &to, args.force).await?;
        copied.files = 1;
    }
    if args.json {
        let to = to.as_os_str().as_bytes();
        out::json(&CopiedView::new(to, copied.files, copied.bytes, copied.left_out))?;
    } else {
        out::print(&format!("{}\n", name_shown(to.as_os_str().as_bytes())))?;
        copied.tell();
    }
    Ok(out::DONE)
}

async fn get_file(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    path: &[u8],
    to: &Path,
    over: bool,
) -> Outcome<u64> {
    let mut data = read(runtime, &sandbox.id, path, ReadFrom::Start(0), None).await?;
    let Some(ReadPiece::Begin { entry, .. }) = data.next().await.transpose()? else {
        return Err(cut_off());
    };
    let mut arriving = Arriving::begin(to, entry.mode, over)?;
    let mut bytes = 0;
    loop {
        match data.next().await.transpose()? {
            Some(ReadPiece::Data(piece)) => {
                bytes += piece.len() as u64;
                arriving.add(&piece)?;
            }
            Some(ReadPiece::End) => break,
            Some(ReadPiece::Begin { .. }) | None => return Err(cut_off()),
        }
    }
    arriving.finish()?;
    Ok(bytes)
}

/// Into a directory that is not there yet: nothing of the operator's is in the way, and no link of anybody's.
async fn get_directory(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    path: &[u8],
    to: &Path,
    copied: &mut Copied,
) -> Outcome<()> {
    let make = |to: &Path| {
        std::fs::create_dir(to).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Fault::failed(format!("there is something already: {}", to.display()))
                    .hint("a directory is copied to where nothing is; name another place")
            }
            _ => Fault::io(format!("making the directory {}", to.display()), &error),
        })
    };
    make(to)?;
    let mut waiting: Vec<(Vec<u8>, PathBuf, usize)> = vec![(path.to_vec(), to.to_owned(), 0)];
    while let Some((path, to, depth)) = waiting.pop() {
        let (entries, more) = match all(runtime, sandbox, &path).await {
            Err(fault) if depth > 0 && is_its_own(&fault) => {
                copied.left_out += 1;
                continue;
            }
            listed => listed?,
        };
        if more {
            let words = format!("more files than can be copied: {}", name_shown(&path));
            return Err(Fault::failed(words));
        }
        for entry in entries {
            copied.one_more()?;
            let below = match path.is_empty() {
                true => entry.name.clone(),
                false => joined(&path, &entry.name),
            };
            let is_copied = match entry.kind {
                FileKind::Directory => depth < COPY_DEPTH_MAX,
                kind => kind == FileKind::File,
            };
            let Some(place) = free_place(&to, &entry.name).filter(|_| is_copied) else {
                copied.left_out += 1;
                continue;
            };
            let renamed = place.file_name().is_none_or(|it| it.as_bytes() != entry.name);
            match entry.kind {
                FileKind::Directory => {
                    make(&place)?;
                    copied.directories += 1;
                    copied.renamed += u64::from(renamed);
                    waiting.push((below, place, depth + 1));
                }
                _ => {
                    match get_file(runtime, sandbox, &below, &place, false).await {
                        Ok(bytes) => {
                            copied.files += 1;
                            copied.bytes += bytes;
                            copied.renamed += u64::from(renamed);
                        }
                        // Gone meanwhile, or not for the sandbox's user.
                        Err(fault) if is_its_own(&fault) => copied.left_out += 1,
                        Err(fault) => return Err(fault),
                    }
                }
            }
        }
    }
    Ok(())
}

/// Where an entry of that name is put in a directory that holds nothing but this copy: two names may be written alike,
/// and one may be longer than a name may be. `None` where too many are alike, and too far down.
fn free_place(directory: &Path, name: &[u8]) -> Option<PathBuf> {
    const NAME_BYTES_MAX: usize = 255;
    const ALIKE_MAX: usize = 100;
    // With a name that long, and the zero byte behind it.
    if directory.as_os_str().len() + NAME_BYTES_MAX + 2 > PATH_BYTES_MAX {
        return None;
    }
    let plain = plain_name(name);
    let plain = plain.to_string_lossy();
    (0..ALIKE_MAX).find_map(|number| {
        let after = if number == 0 { String::new() } else { format!("~{number}") };
        let place = directory.join(format!("{}{after}", cut(&plain, NAME_BYTES_MAX - after.len())));
        std::fs::symlink_metadata(&place).is_err().then_some(place)
    })
}

fn is_its_own(fault: &Fault) -> bool {
    use crate::base::fault::Kind;
    matches!(fault.kind(), Kind::Absent | Kind::Denied | Kind::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_written_alike_get_places_of_their_own() {
        let temp = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        for name in [&b"a\x1b"[..], "a\u{241b}".as_bytes(), &[1; 255], &[1; 254], b".."] {
            let place = free_place(temp.path(), name).unwrap();
            std::fs::write(&place, "").unwrap();
            names.push(place.file_name().unwrap().to_str().unwrap().to_owned());
        }
        assert_eq!((names[0].as_str(), names[1].as_str()), ("a\u{241b}", "a\u{241b}~1"));
        assert!(names[2].len() <= 255 && names[3].ends_with("~1"), "{names:?}");
        assert_eq!(names[4], "unnamed");
        let deep = temp.path().join("d/".repeat(PATH_BYTES_MAX / 2));
        assert_eq!(free_place(&deep, b"a"), None);
    }

    #[test]
    fn directories_are_part_of_what_a_copy_may_be() {
        let copied = Copied { directories: COPY_ENTRIES_MAX, ..Copied::default() };
        assert!(copied.one_more().is_err());
    }
}
