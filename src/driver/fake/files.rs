//! Files of the demo's sandboxes: a few texts in memory, which can be read and written like others.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_stream::StreamExt;

use super::{changes::scenes, lock};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::{FILES_PIECE_MAX, FIND_HITS_MAX},
    },
    driver::files::{Files, Pieces, told_by},
    model::file::{
        Expected, FileEntry, FileKind, FindPiece, FindRequest, Hit, HitLine, ListPiece, Made,
        ReadFrom, ReadPiece, ReadRequest, WriteRequest, joined, name_shown, split,
    },
};

/// What else lies beside what changed, below the workspace.
const BESIDE: [(&str, &str); 4] = [
    ("README.md", "# api\n\nA client that tries again.\n\n    cargo run\n"),
    ("Cargo.toml", "[package]\nname = \"api\"\nversion = \"0.3.1\"\nedition = \"2024\"\n"),
    (
        "src/main.rs",
        "fn main() {\n    // One request, three tries.\n    println!(\"{:?}\", api::get(\"/\"));\n}\n",
    ),
    ("src/http/mod.rs", "pub mod client;\npub mod retry;\n"),
];

/// A file with its contents; a directory has none.
struct Node {
    contents: Option<Vec<u8>>,
    modified_at: Timestamp,
}

/// One sandbox's.
pub(super) struct Tree {
    nodes: Mutex<BTreeMap<Vec<u8>, Node>>,
    changes: watch::Sender<u64>,
}

impl Tree {
    pub(super) fn new(workspace: &[u8]) -> Self {
        let tree = Self { nodes: Mutex::default(), changes: watch::Sender::new(0) };
        tree.make(b"/tmp", None);
        for (path, text) in BESIDE.into_iter().chain(scenes()) {
            tree.make(&joined(workspace, path.as_bytes()), Some(text.as_bytes().to_vec()));
        }
        tree
    }

    /// With the directories that it lies in.
    fn make(&self, path: &[u8], contents: Option<Vec<u8>>) {
        let (modified_at, mut nodes) = (clock::wall(), lock(&self.nodes));
        let mut above = path;
        while let Some((directory, _)) = split(above) {
            let node = || Node { contents: None, modified_at };
            nodes.entry(directory.to_vec()).or_insert_with(node);
            above = directory;
        }
        nodes.insert(path.to_vec(), Node { contents, modified_at });
        drop(nodes);
        self.changes.send_modify(|it| *it += 1);
    }

    fn entry(&self, path: &[u8]) -> Outcome<FileEntry> {
        let nodes = lock(&self.nodes);
        nodes.get(path).map(|it| entry(path, it)).ok_or_else(|| absent(path))
    }

    fn contents(&self, path: &[u8]) -> Outcome<Vec<u8>> {
        let nodes = lock(&self.nodes);
        let node = nodes.get(path).ok_or_else(|| absent(path))?;
        let directory = || Fault::invalid(format!("it is a directory: {}", name_shown(path)));
        node.contents.clone().ok_or_else(directory)
    }
}

fn absent(path: &[u8]) -> Fault {
    Fault::absent(format!("no such file or directory: {}", name_shown(path)))
}

fn entry(path: &[u8], node: &Node) -> FileEntry {
    let mut version = DefaultHasher::new();
    (&node.contents, node.modified_at).hash(&mut version);
    let (kind, mode) = match node.contents {
        Some(_) => (FileKind::File, 0o644),
        None => (FileKind::Directory, 0o755),
    };
    FileEntry {
        size_bytes: node.contents.as_ref().map(|it| it.len() as u64),
        mode: Some(mode),
        modified_at: Some(node.modified_at),
        owner: Some(1000),
        group: Some(1000),
        version: Some(version.finish()),
        ..FileEntry::bare(split(path).map_or(b"/", |it| it.1), kind)
    }
}

#[async_trait]
impl Files for Arc<Tree> {
    async fn stat(&self, path: &[u8]) -> Outcome<FileEntry> {
        self.entry(path)
    }

    async fn list(&self, path: &[u8]) -> Outcome<Pieces<ListPiece>> {
        if self.entry(path)?.kind != FileKind::Directory {
            return Err(Fault::absent(format!("not a directory: {}", name_shown(path))));
        }
        let nodes = lock(&self.nodes);
        let inside = nodes.iter().filter(|it| split(it.0).is_some_and(|it| it.0 == path));
        let entries: Vec<FileEntry> = inside.map(|(path, it)| entry(path, it)).collect();
        let mut pieces: Vec<ListPiece> =
            entries.chunks(FILES_PIECE_MAX).map(|it| ListPiece::Entries(it.to_vec())).collect();
        pieces.push(ListPiece::End { more: false });
        Ok(Box::pin(tokio_stream::iter(pieces.into_iter().map(Ok))))
    }

    async fn read(&self, request: ReadRequest) -> Outcome<Pieces<ReadPiece>> {
        let (entry, contents) = (self.entry(&request.path)?, self.contents(&request.path)?);
        let at = match request.from {
            ReadFrom::Start(bytes) => bytes as usize,
            ReadFrom::End(bytes) => contents.len().saturating_sub(bytes as usize),
        };
        let most = request.most.map_or(usize::MAX, |it| it as usize);
        let data: Vec<u8> = contents.into_iter().skip(at).take(most).collect();
        let begin = ReadPiece::Begin { entry, offset: at as u64 };
        let data = (!data.is_empty()).then(|| ReadPiece::Data(Bytes::from(data)));
        let pieces = std::iter::once(begin).chain(data).chain([ReadPiece::End]);
        Ok(Box::pin(tokio_stream::iter(pieces.map(Ok).collect::<Vec<_>>())))
    }

    async fn write(&self, request: WriteRequest, mut data: Pieces<Bytes>) -> Outcome<FileEntry> {
        let mut contents = Vec::new();
        while let Some(piece) = data.next().await {
            contents.extend_from_slice(&piece?);
        }
        let path = &request.path;
        let above = split(path).ok_or_else(|| absent(path))?.0;
        self.entry(above)?;
        let there = self.entry(path).ok();
        let shown = || name_shown(path);
        match (request.expected, &there) {
            (Expected::Nothing, Some(_)) => {
                return Err(Fault::busy(format!("there is a file already: {}", shown())));
            }
            (Expected::Version(seen), it)
                if it.as_ref().and_then(|it| it.version) != Some(seen) =>
            {
                return Err(Fault::busy(format!("it was changed meanwhile: {}", shown())));
            }
            _ => {}
        }
        let made = request.make == Made::File;
        if there.is_some_and(|it| (it.kind == FileKind::File) != made) {
            return Err(Fault::invalid(format!("it is of another kind: {}", shown())));
        }
        self.make(path, made.then_some(contents));
        self.entry(path)
    }

    async fn find(&self, request: FindRequest) -> Outcome<Pieces<FindPiece>> {
        self.entry(&request.path)?;
        let (mut found, mut looked_at) = (Vec::new(), 0);
        for (path, node) in &*lock(&self.nodes) {
            let below = path.strip_prefix(request.path.as_slice());
            let Some(below) = below.and_then(|it| it.strip_prefix(b"/")) else { continue };
            looked_at += 1;
            let name = String::from_utf8_lossy(split(path).map_or(b"", |it| it.1)).into_owned();
            if request.name.as_ref().is_some_and(|it| !name.contains(it.as_str())) {
                continue;
            }
            let hit = |line| Hit { path: below.to_vec(), kind: entry(path, node).kind, line };
            match (&request.text, &node.contents) {
                (None, _) => found.push(hit(None)),
                (Some(text), Some(contents)) => {
                    let contents = String::from_utf8_lossy(contents).into_owned();
                    let lines = contents.lines().enumerate();
                    for (at, line) in lines.filter(|it| it.1.contains(text.as_str())) {
                        let text = line.as_bytes().to_vec();
                        found.push(hit(Some(HitLine { number: at as u64 + 1, text })));
                    }
                }
                (Some(_), None) => {}
            }
        }
        let more = found.len() > FIND_HITS_MAX;
        found.truncate(FIND_HITS_MAX);
        let end = FindPiece::End { more, looked_at, unread: 0 };
        let pieces: Vec<_> = found.into_iter().map(FindPiece::Hit).chain([end]).map(Ok).collect();
        Ok(Box::pin(tokio_stream::iter(pieces)))
    }

    /// Any change may be in any of them.
    async fn watch(&self, paths: Vec<Vec<u8>>) -> Outcome<Pieces<Vec<usize>>> {
        let mut changes = self.changes.subscribe();
        Ok(told_by(move |told| async move {
            loop {
                tokio::select! {
                    () = told.closed() => return,
                    changed = changes.changed() => {
                        let all = (0..paths.len()).collect();
                        if changed.is_err() || told.send(Ok(all)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }))
    }
}
