//! Files of sandboxes: what is asked, and what is told of them in pieces.

use bytes::Bytes;

use super::{blob, list, output::cuts, required, sandbox_id, stamp, text};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{
            FILE_HIT_BYTES_MAX, FILE_PIECE_BYTES, FILES_PIECE_BYTES_MAX, FILES_PIECE_MAX,
            FILES_WATCHED_MAX, FIND_WORDS_BYTES_MAX, PATH_BYTES_MAX,
        },
    },
    model::file::{
        Expected, FileEntry, FileKind, FindPiece, FindRequest, Hit, HitLine, ListPiece, Made,
        ReadFrom, ReadPiece, ReadRequest, Target, WriteRequest, is_below,
    },
    wire::v1::{
        self, find_files_response, read_file_request, read_file_response, write_file_request,
        write_file_start,
    },
};

enums! {
    kind_out, kind_in: FileKind =
        FileKind { File, Directory, Link, Fifo, Socket, Device, Other, }
}

/// Longest name in a directory, in bytes.
const NAME_BYTES_MAX: usize = 255;

fn path_in(field: &str, value: Bytes) -> Outcome<Vec<u8>> {
    let value = blob(field, value, PATH_BYTES_MAX)?;
    if value.contains(&0) {
        return Err(Fault::invalid(format!("{field} has a zero byte")));
    }
    Ok(value.to_vec())
}

/// A name, which nobody is to take for a path that leads elsewhere.
fn name_in(value: Bytes) -> Outcome<Vec<u8>> {
    let name = blob("entry.name", value, NAME_BYTES_MAX)?.to_vec();
    let plain =
        !matches!(&name[..], b"" | b"." | b"..") && !name.iter().any(|it| b"/\0".contains(it));
    if plain || name == b"/" {
        return Ok(name);
    }
    Err(Fault::invalid("entry.name is no name of a file"))
}

/// Where a hit is, below a directory.
fn below_in(value: Bytes) -> Outcome<Vec<u8>> {
    let path = path_in("hit.path", value)?;
    if is_below(&path) {
        return Ok(path);
    }
    Err(Fault::invalid("hit.path is no path below a directory"))
}

impl From<FileEntry> for v1::FileEntry {
    fn from(it: FileEntry) -> Self {
        let target = it.target.map(|it| v1::FileTarget {
            path: it.path.into(),
            kind: it.kind.map(|it| kind_out(it).into()),
        });
        Self {
            name: it.name.into(),
            kind: kind_out(it.kind).into(),
            size_bytes: it.size_bytes,
            mode: it.mode,
            modified_at: it.modified_at.map(|it| it.0),
            owner: it.owner,
            group: it.group,
            target,
            version: it.version,
        }
    }
}

/// What lies at a path that was asked for, which may end in `..`: nobody knows its name there.
pub fn stat_answer_in(wire: v1::FileEntry) -> Outcome<FileEntry> {
    match &wire.name[..] {
        b".." => {
            let unnamed = v1::FileEntry { name: Bytes::from_static(b"/"), ..wire };
            Ok(FileEntry { name: b"..".to_vec(), ..unnamed.try_into()? })
        }
        _ => wire.try_into(),
    }
}

impl TryFrom<v1::FileEntry> for FileEntry {
    type Error = Fault;

    fn try_from(wire: v1::FileEntry) -> Outcome<Self> {
        let target = wire.target.map(|it| {
            Ok::<_, Fault>(Target {
                path: path_in("entry.target", it.path)?,
                kind: it.kind.map(|it| kind_in(it).unwrap_or(FileKind::Other)),
            })
        });
        Ok(Self {
            name: name_in(wire.name)?,
            kind: kind_in(wire.kind).unwrap_or(FileKind::Other),
            size_bytes: wire.size_bytes,
            mode: wire.mode.map(|it| it & 0o7777),
            modified_at: stamp(wire.modified_at),
            owner: wire.owner,
            group: wire.group,
            target: target.transpose()?,
            version: wire.version,
        })
    }
}

pub fn stat_in(wire: v1::StatFileRequest) -> Outcome<(SandboxId, Vec<u8>)> {
    Ok((sandbox_id(&wire.sandbox)?, path_in("path", wire.path)?))
}

pub fn list_in(wire: v1::ListFilesRequest) -> Outcome<(SandboxId, Vec<u8>)> {
    Ok((sandbox_id(&wire.sandbox)?, path_in("path", wire.path)?))
}

/// Writes one piece as the messages it takes.
pub fn list_piece_out(piece: ListPiece) -> Vec<v1::ListFilesResponse> {
    let entries = match piece {
        ListPiece::End { more } => {
            let end = Some(v1::ListFilesEnd { more });
            return vec![v1::ListFilesResponse { entries: Vec::new(), end }];
        }
        ListPiece::Entries(entries) => entries,
    };
    let (mut messages, mut bytes) = (Vec::new(), 0);
    let mut message = v1::ListFilesResponse::default();
    for entry in entries {
        bytes += entry.name.len() + entry.target.as_ref().map_or(0, |it| it.path.len());
        message.entries.push(entry.into());
        if message.entries.len() >= FILES_PIECE_MAX || bytes >= FILES_PIECE_BYTES_MAX {
            messages.push(std::mem::take(&mut message));
            bytes = 0;
        }
    }
    if !message.entries.is_empty() {
        messages.push(message);
    }
    messages
}

pub fn list_piece_in(wire: v1::ListFilesResponse) -> Outcome<Vec<ListPiece>> {
    let entries = list("entries", wire.entries, FILES_PIECE_MAX)?;
    let entries: Vec<FileEntry> = entries.into_iter().filter_map(super::entry_in).collect();
    let end = wire.end.map(|it| ListPiece::End { more: it.more });
    let some = (!entries.is_empty()).then_some(ListPiece::Entries(entries));
    Ok(some.into_iter().chain(end).collect())
}

pub fn read_out(sandbox: &SandboxId, request: ReadRequest) -> v1::ReadFileRequest {
    let from = match request.from {
        ReadFrom::Start(bytes) => read_file_request::From::Start(bytes),
        ReadFrom::End(bytes) => read_file_request::From::End(bytes),
    };
    v1::ReadFileRequest {
        sandbox: sandbox.to_string(),
        path: request.path.into(),
        from: Some(from),
        most: request.most,
    }
}

pub fn read_in(wire: v1::ReadFileRequest) -> Outcome<(SandboxId, ReadRequest)> {
    let from = match wire.from {
        Some(read_file_request::From::Start(bytes)) => ReadFrom::Start(bytes),
        Some(read_file_request::From::End(bytes)) => ReadFrom::End(bytes),
        None => ReadFrom::Start(0),
    };
    let request = ReadRequest { path: path_in("path", wire.path)?, from, most: wire.most };
    Ok((sandbox_id(&wire.sandbox)?, request))
}

pub fn read_piece_out(piece: ReadPiece) -> Vec<v1::ReadFileResponse> {
    use read_file_response::Kind;
    let kinds = match piece {
        ReadPiece::Begin { entry, offset } => {
            vec![Kind::Begin(v1::ReadFileBegin { entry: Some(entry.into()), offset })]
        }
        ReadPiece::Data(bytes) => {
            cuts(bytes, FILE_PIECE_BYTES).into_iter().map(Kind::Data).collect()
        }
        ReadPiece::End => vec![Kind::End(v1::ReadFileEnd {})],
    };
    kinds.into_iter().map(|kind| v1::ReadFileResponse { kind: Some(kind) }).collect()
}

pub fn read_piece_in(wire: v1::ReadFileResponse) -> Outcome<ReadPiece> {
    use read_file_response::Kind;
    Ok(match required("read.kind", wire.kind)? {
        Kind::Begin(it) => ReadPiece::Begin {
            entry: required("read.entry", it.entry)?.try_into()?,
            offset: it.offset,
        },
        Kind::Data(bytes) => ReadPiece::Data(blob("read.data", bytes, FILE_PIECE_BYTES)?),
        Kind::End(_) => ReadPiece::End,
    })
}

pub fn write_out(sandbox: &SandboxId, request: WriteRequest) -> v1::WriteFileStart {
    let expected = match request.expected {
        Expected::Anything => None,
        Expected::Nothing => Some(write_file_start::Expected::Nothing(v1::NothingThere {})),
        Expected::Version(version) => Some(write_file_start::Expected::Version(version)),
    };
    v1::WriteFileStart {
        sandbox: sandbox.to_string(),
        path: request.path.into(),
        directory: request.make == Made::Directory,
        mode: request.mode,
        expected,
    }
}

pub fn write_in(wire: v1::WriteFileStart) -> Outcome<(SandboxId, WriteRequest)> {
    if let Some(mode) = wire.mode.filter(|it| it & !0o777 != 0) {
        return Err(Fault::invalid(format!("mode has more than permissions: {mode:o}")));
    }
    let expected = match wire.expected {
        None => Expected::Anything,
        Some(write_file_start::Expected::Nothing(_)) => Expected::Nothing,
        Some(write_file_start::Expected::Version(version)) => Expected::Version(version),
    };
    let request = WriteRequest {
        path: path_in("path", wire.path)?,
        make: if wire.directory { Made::Directory } else { Made::File },
        mode: wire.mode,
        expected,
    };
    Ok((sandbox_id(&wire.sandbox)?, request))
}

/// The data of a file that is written, until its end; `None` = that was it.
pub fn write_piece_in(wire: v1::WriteFileRequest) -> Outcome<Option<Bytes>> {
    use write_file_request::Kind;
    match required("write.kind", wire.kind)? {
        Kind::Data(bytes) => blob("write.data", bytes, FILE_PIECE_BYTES).map(Some),
        Kind::End(_) => Ok(None),
        Kind::Start(_) => Err(Fault::invalid("write.start comes once, and first")),
    }
}

pub fn find_out(sandbox: &SandboxId, request: FindRequest) -> v1::FindFilesRequest {
    let FindRequest { path, name, text } = request;
    v1::FindFilesRequest { sandbox: sandbox.to_string(), path: path.into(), name, text }
}

pub fn find_in(wire: v1::FindFilesRequest) -> Outcome<(SandboxId, FindRequest)> {
    let words = |field: &str, it: Option<String>| {
        it.map(|it| text(field, it, FIND_WORDS_BYTES_MAX)).transpose()
    };
    let request = FindRequest {
        path: path_in("path", wire.path)?,
        name: words("name", wire.name)?,
        text: words("text", wire.text)?,
    };
    Ok((sandbox_id(&wire.sandbox)?, request))
}

pub fn find_piece_out(piece: FindPiece) -> v1::FindFilesResponse {
    use find_files_response::Kind;
    let kind = match piece {
        FindPiece::Hit(hit) => Kind::Hit(v1::FileHit {
            path: hit.path.into(),
            kind: kind_out(hit.kind).into(),
            line: hit.line.map(|mut it| {
                it.text.truncate(FILE_HIT_BYTES_MAX);
                v1::FileHitLine { number: it.number, text: it.text.into() }
            }),
        }),
        FindPiece::End { more, looked_at, unread } => {
            Kind::End(v1::FindFilesEnd { more, looked_at, unread })
        }
    };
    v1::FindFilesResponse { kind: Some(kind) }
}

pub fn find_piece_in(wire: v1::FindFilesResponse) -> Outcome<FindPiece> {
    use find_files_response::Kind;
    Ok(match required("find.kind", wire.kind)? {
        Kind::Hit(it) => {
            let line = it.line.map(|it| {
                let text = blob("hit.text", it.text, FILE_HIT_BYTES_MAX)?.to_vec();
                Ok::<_, Fault>(HitLine { number: it.number, text })
            });
            FindPiece::Hit(Hit {
                path: below_in(it.path)?,
                kind: kind_in(it.kind).unwrap_or(FileKind::Other),
                line: line.transpose()?,
            })
        }
        Kind::End(it) => {
            FindPiece::End { more: it.more, looked_at: it.looked_at, unread: it.unread }
        }
    })
}

pub fn watch_out(sandbox: &SandboxId, paths: Vec<Vec<u8>>) -> v1::WatchFilesRequest {
    let paths = paths.into_iter().map(Bytes::from).collect();
    v1::WatchFilesRequest { sandbox: sandbox.to_string(), paths }
}

pub fn watch_in(wire: v1::WatchFilesRequest) -> Outcome<(SandboxId, Vec<Vec<u8>>)> {
    let paths = list("paths", wire.paths, FILES_WATCHED_MAX)?;
    let paths = paths.into_iter().map(|it| path_in("paths", it)).collect::<Outcome<_>>()?;
    Ok((sandbox_id(&wire.sandbox)?, paths))
}

pub fn news_out(changed: Vec<usize>) -> v1::WatchFilesResponse {
    v1::WatchFilesResponse { changed: changed.into_iter().map(|it| it as u32).collect() }
}

/// Which of so many changed.
pub fn news_in(wire: v1::WatchFilesResponse, of: usize) -> Outcome<Vec<usize>> {
    let changed = list("changed", wire.changed, FILES_WATCHED_MAX)?;
    let changed: Vec<usize> = changed.into_iter().map(|it| it as usize).collect();
    if changed.iter().any(|it| *it >= of) {
        return Err(Fault::invalid("changed: not one that was asked about"));
    }
    Ok(changed)
}
