//! The JSON of files of sandboxes.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Serialize;

use super::json::{raw, text};
use crate::{
    base::{clock::Timestamp, id::SnapshotId},
    model::{
        change::ChangeStatus,
        file::{FileEntry, FileKind, Hit, joined},
    },
};

#[derive(Serialize)]
pub struct FileView {
    name: String,
    /// Only where the name is no UTF-8, and `name` so not all of it.
    name_base64: Option<String>,
    path: String,
    path_base64: Option<String>,
    kind: &'static str,
    size_bytes: Option<u64>,
    /// Permissions in octal, as `chmod` takes them.
    mode: Option<String>,
    modified_at: Option<String>,
    owner: Option<u32>,
    group: Option<u32>,
    target: Option<String>,
    target_base64: Option<String>,
    target_kind: Option<&'static str>,
    version: Option<String>,
    /// What became of it since the sandbox began, or since `since`; null = nothing, or it was not asked for.
    change: Option<&'static str>,
}

impl FileView {
    /// `above` is its directory as it was asked for.
    pub fn new(it: &FileEntry, above: &[u8], change: Option<ChangeStatus>) -> Self {
        let path = match above {
            b"" => it.name.clone(),
            above => joined(above, &it.name),
        };
        let target = it.target.as_ref();
        Self {
            name: text(&it.name),
            name_base64: raw(&it.name),
            path: text(&path),
            path_base64: raw(&path),
            kind: it.kind.word(),
            size_bytes: it.size_bytes,
            mode: it.mode.map(|it| format!("{it:04o}")),
            modified_at: it.modified_at.map(Timestamp::rfc3339),
            owner: it.owner,
            group: it.group,
            target: target.map(|it| text(&it.path)),
            target_base64: target.and_then(|it| raw(&it.path)),
            target_kind: target.and_then(|it| it.kind).map(FileKind::word),
            version: it.version.map(|it| format!("{it:016x}")),
            change: change.map(ChangeStatus::word),
        }
    }
}

#[derive(Serialize)]
pub struct FileListView<'a> {
    sandbox: &'a str,
    path: String,
    path_base64: Option<String>,
    /// The snapshot that `change` is since; null = the sandbox's beginning.
    since: Option<&'a str>,
    entries: Vec<FileView>,
    /// There are more than are told.
    more: bool,
}

impl<'a> FileListView<'a> {
    pub fn new(
        sandbox: &'a str,
        path: &[u8],
        since: Option<&'a SnapshotId>,
        entries: Vec<FileView>,
        more: bool,
    ) -> Self {
        let path = if path.is_empty() { b"." } else { path };
        let since = since.map(SnapshotId::as_str);
        Self { sandbox, path: text(path), path_base64: raw(path), since, entries, more }
    }
}

#[derive(Serialize)]
pub struct FileDataView {
    #[serde(flatten)]
    file: FileView,
    /// Where in the file the data begins.
    offset_bytes: u64,
    data_base64: String,
}

impl FileDataView {
    pub fn new(entry: &FileEntry, path: &[u8], offset: u64, bytes: &[u8]) -> Self {
        let above = crate::model::file::split(path).map_or(&b""[..], |it| it.0);
        let file = FileView::new(entry, above, None);
        Self { file, offset_bytes: offset, data_base64: BASE64.encode(bytes) }
    }
}

#[derive(Serialize)]
pub struct FindView<'a> {
    pub sandbox: &'a str,
    pub hits: Vec<HitView>,
    /// A bound was reached.
    pub more: bool,
    pub looked_at: u64,
    pub unread: u64,
}

#[derive(Serialize)]
pub struct HitView {
    /// Below the directory that was looked through.
    path: String,
    path_base64: Option<String>,
    kind: &'static str,
    line: Option<u64>,
    text: Option<String>,
    text_base64: Option<String>,
}

impl From<&Hit> for HitView {
    fn from(it: &Hit) -> Self {
        let line = it.line.as_ref();
        Self {
            path: text(&it.path),
            path_base64: raw(&it.path),
            kind: it.kind.word(),
            line: line.map(|it| it.number),
            text: line.map(|it| text(&it.text)),
            text_base64: line.and_then(|it| raw(&it.text)),
        }
    }
}

#[derive(Serialize)]
pub struct WatchView<'a> {
    sandbox: &'a str,
    at: String,
    path: String,
    path_base64: Option<String>,
}

impl<'a> WatchView<'a> {
    pub fn new(sandbox: &'a str, path: &[u8], at: Timestamp) -> Self {
        Self { sandbox, at: at.rfc3339(), path: text(path), path_base64: raw(path) }
    }
}

/// What a copy came to.
#[derive(Serialize)]
pub struct CopiedView {
    path: String,
    path_base64: Option<String>,
    files: u64,
    size_bytes: u64,
    left_out: u64,
}

impl CopiedView {
    pub fn new(path: &[u8], files: u64, size_bytes: u64, left_out: u64) -> Self {
        Self { path: text(path), path_base64: raw(path), files, size_bytes, left_out }
    }
}
