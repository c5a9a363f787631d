//! The changes of a sandbox or a snapshot, one after the other: what the walk found is compared, read only where it
//! must be, and written as git does. Blocks on files.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ffi::OsString,
    fs, io,
    os::{
        fd::BorrowedFd,
        unix::{ffi::OsStringExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use bytes::Bytes;
use rustix::io::Errno;

use super::{
    namespaces::BOX,
    side,
    trees::{self, Tree},
    upper::{self, Look, Pair, View, is_directory},
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{CHANGE_PIECE_BYTES, CHANGE_TEXT_BYTES_MAX, CHANGES_WITHIN, RENAMES_BYTES_MAX},
    },
    driver::{
        Ground, Kept, Shelf,
        patch::{self, Binary, Patch, Side, patch},
    },
    model::change::{ChangeStatus, DiffPiece, DiffRequest, FileChange, LineCount, Node, NodeKind},
};

/// In a sandbox's directory: the real path of its workspace, as it was when the sandbox was made.
pub const WORKSPACE: &str = "workspace";

/// In it: what it keeps apart, from the system's directories and from the workspace.
const UPPER: &str = "box/upper";

/// Notes which directory the changes are to be held against.
pub fn remember(ground: &Path, workspace: &Path) -> io::Result<()> {
    fs::write(ground.join(WORKSPACE), workspace.as_os_str().as_encoded_bytes())
}

/// Both sides of a tree.
pub struct Sides {
    pub new: View,
    pub old: View,
}

/// The real path of a workspace that a sandbox has as copy-on-write.
pub fn workspace_of(ground: &Path) -> Outcome<PathBuf> {
    let note = ground.join(WORKSPACE);
    let path = fs::read(&note)
        .map_err(|error| Fault::io(format!("reading {}", note.display()), &error))?;
    Ok(PathBuf::from(OsString::from_vec(path)))
}

impl Sides {
    /// A sandbox's workspace beside the real directory.
    pub fn open(ground: &Ground) -> Outcome<Self> {
        let real = workspace_of(&ground.dir)?;
        let mut layers = vec![real_path(&ground.dir)?.join(BOX).join("upper/workspace")];
        if ground.from.is_none() {
            upper::root(layers.first().unwrap_or(&real))?;
        }
        if let Some(shelf) = &ground.from {
            layers.push(real_path(&shelf.dir)?.join(BOX).join("upper/workspace"));
        }
        layers.push(real.clone());
        let old = upper::root(&real);
        old.map_err(|fault| fault.hint("the workspace has to be where it was"))?;
        Ok(Self { new: View::open(layers)?, old: View::open([real])? })
    }

    /// The real directory.
    pub fn base(&self) -> Outcome<BorrowedFd<'_>> {
        let base = self.old.layer(0);
        base.map_err(|error| Fault::io("opening the workspace", &error.into()))
    }
}

pub(super) fn real_path(directory: &Path) -> Outcome<PathBuf> {
    fs::canonicalize(directory)
        .map_err(|error| Fault::io(format!("opening {}", directory.display()), &error))
}

/// A path to look at, and where its contents were before.
struct Candidate {
    path: Vec<u8>,
    old_path: Option<Vec<u8>>,
    pair: Pair,
}

/// The changes of one sandbox or snapshot; nothing is looked at before the first is asked for.
pub struct LocalChanges {
    of: Kept,
    against: Option<Shelf>,
    /// How the system is, over how it was, where that was laid down.
    system: Option<(PathBuf, PathBuf)>,
    request: DiffRequest,
    at: At,
}

enum At {
    Start,
    Under(Box<Under>),
    End,
}

struct Under {
    /// What is still to be looked at, the next one last.
    trees: Vec<Tree>,
    now: Option<Tree>,
    candidates: VecDeque<Candidate>,
    ready: VecDeque<DiffPiece>,
    git_left_out: u64,
    /// As they were at the start.
    places: Vec<Option<(u64, u64)>>,
}

impl LocalChanges {
    pub fn new(of: &Kept, against: Option<&Shelf>, request: DiffRequest) -> Self {
        let (of, against) = (of.clone(), against.cloned());
        Self { of, against, system: None, request, at: At::Start }
    }

    /// The system lies elsewhere, and what is to be compared of it was laid down there: how it is over how it was.
    pub fn over(self, system: Option<(PathBuf, PathBuf)>) -> Self {
        Self { system, ..self }
    }

    fn start(&self) -> Outcome<Under> {
        let places = self.places();
        let against = self.against.as_ref();
        let trees = match &self.system {
            Some(laid) => trees::laid(&self.of, against, laid)?,
            None => trees::of(&self.of, against, self.request.system)?,
        };
        let (candidates, ready) = (VecDeque::new(), VecDeque::new());
        Ok(Under { trees, now: None, candidates, ready, git_left_out: 0, places })
    }

    /// Where what is looked at lies. What was read is whole only if it is the same at the end: what is removed or
    /// restored empties by and by.
    fn places(&self) -> Vec<Option<(u64, u64)>> {
        let of = match &self.of {
            Kept::Ground(ground, _) => &ground.dir,
            Kept::Shelf(shelf, _) => &shelf.dir,
        };
        let against = self.against.as_ref().map(|it| &it.dir);
        let itself = |it: &PathBuf| fs::metadata(it).ok().map(|it| (it.dev(), it.ino()));
        let dirs = [Some(of), against].into_iter().flatten();
        dirs.flat_map(|it| [itself(it), itself(&it.join(BOX)), itself(&it.join(UPPER))]).collect()
    }

    fn step(&mut self) -> Outcome<Option<DiffPiece>> {
        if matches!(self.at, At::Start) {
            self.at = At::Under(Box::new(self.start()?));
        }
        let At::Under(under) = &mut self.at else { return Ok(None) };
        loop {
            if let Some(piece) = under.ready.pop_front() {
                return Ok(Some(piece));
            }
            if let Some(candidate) = under.candidates.pop_front()
                && let Some(tree) = &under.now
            {
                under.ready.extend(tree.examine(candidate, &self.request));
                continue;
            }
            let Some(tree) = under.trees.pop() else { break };
            under.look_into(tree, &self.request)?;
        }
        let git_left_out = under.git_left_out;
        let places = std::mem::take(&mut under.places);
        self.at = At::End;
        if self.places() != places {
            return Err(Fault::absent("it was removed, restored or looked at anew meanwhile"));
        }
        Ok(Some(DiffPiece::End { git_left_out }))
    }
}

impl Under {
    fn look_into(&mut self, tree: Tree, request: &DiffRequest) -> Outcome<()> {
        if let Some(paths) = tree.asked(&request.paths) {
            let until = clock::monotonic() + CHANGES_WITHIN;
            let look = Look { paths, git: request.git, until };
            let mut found = upper::walk(&tree.sides.new, &tree.sides.old, look)?;
            tree.without_mounts(&mut found);
            let renames = tree.sides.renames(&found.pairs);
            self.git_left_out += found.git_left_out;
            self.candidates = candidates(found.pairs, renames);
            self.now = Some(tree);
        }
        Ok(())
    }
}

impl Iterator for LocalChanges {
    type Item = Outcome<DiffPiece>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.at = At::End;
        }
        step.transpose()
    }
}

/// What is to be looked at, in the order of paths. A directory that came or went is told by what lies in
/// it, if anything does.
fn candidates(
    pairs: BTreeMap<Vec<u8>, Pair>,
    mut renames: HashMap<Vec<u8>, Vec<u8>>,
) -> VecDeque<Candidate> {
    let told = |path: &[u8], pair: &Pair| {
        let only = is_directory(pair.old.or(pair.new)) && pair.old.is_none() != pair.new.is_none();
        let inside = [path, b"/"].concat();
        let next = pairs.range(inside.clone()..).next();
        only && pair.unread.is_none() && next.is_some_and(|(it, _)| it.starts_with(&inside))
    };
    let gone: HashSet<Vec<u8>> = renames.values().cloned().collect();
    let kept = pairs.iter().filter(|(path, pair)| !told(path, pair) && !gone.contains(*path));
    let mut out = VecDeque::new();
    for (path, pair) in kept {
        let old_path = renames.remove(path);
        let mut pair = *pair;
        if let Some(old) = old_path.as_ref().and_then(|it| pairs.get(it)) {
            pair.old = old.old;
            pair.old_at = old.old_at;
        }
        out.push_back(Candidate { path: path.clone(), old_path, pair });
    }
    out
}

/// Contents on both sides; `None` = too large, or not to be read.
#[derive(Default)]
struct Contents {
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
    /// The same on both sides, also where they were too large to be kept.
    same: bool,
    note: Option<String>,
}

impl Sides {
    /// Files that lie elsewhere as they were: new path to old. A guess that `examine` checks.
    fn renames(&self, pairs: &BTreeMap<Vec<u8>, Pair>) -> HashMap<Vec<u8>, Vec<u8>> {
        type Places<'a> = Vec<(&'a [u8], usize)>;
        let mut sizes: BTreeMap<u64, (Places<'_>, Places<'_>)> = BTreeMap::new();
        for (path, pair) in pairs {
            let file = pair.old.or(pair.new).filter(|it| it.kind == NodeKind::File && it.bytes > 0);
            match (file, pair.old, pair.new) {
                (Some(file), Some(_), None) => {
                    sizes.entry(file.bytes).or_default().0.push((path, pair.old_at));
                }
                (Some(file), None, Some(_)) => {
                    sizes.entry(file.bytes).or_default().1.push((path, pair.new_at));
                }
                _ => {}
            }
        }
        let mut left = RENAMES_BYTES_MAX;
        let mut renames = HashMap::new();
        for (bytes, (gone, come)) in sizes {
            let cost = bytes.saturating_mul((gone.len() + come.len()) as u64);
            if gone.is_empty() || come.is_empty() || cost > left {
                continue;
            }
            left -= cost;
            let mut by_sum: HashMap<u64, Vec<&[u8]>> = HashMap::new();
            let sum =
                |view: &View, (path, at): (&[u8], usize)| side::sum(view.layer(at)?, path, bytes);
            for (path, at) in gone {
                if let Ok(sum) = sum(&self.old, (path, at)) {
                    by_sum.entry(sum).or_default().push(path);
                }
            }
            for (path, at) in come {
                let sum = sum(&self.new, (path, at)).ok();
                let from = sum.and_then(|it| by_sum.get_mut(&it)).filter(|it| !it.is_empty());
                if let Some(from) = from {
                    let alike = from.iter().position(|it| file_name(it) == file_name(path));
                    renames.insert(path.to_vec(), from.remove(alike.unwrap_or(0)).to_vec());
                }
            }
        }
        renames
    }

    fn read(&self, path: &[u8], old_path: &[u8], pair: Pair) -> io::Result<Contents> {
        let file = |it: Option<Node>| it.is_some_and(|it| it.kind == NodeKind::File);
        let large = |it: Option<Node>| it.is_some_and(|it| it.bytes > CHANGE_TEXT_BYTES_MAX);
        let mut read = Contents::default();
        if !large(pair.old) && !large(pair.new) {
            let get = |view: &View, at, path, node: Option<Node>| match node {
                None => Ok(Some(Vec::new())),
                Some(node) => side::contents(view.layer(at)?, path, node),
            };
            read.old = get(&self.old, pair.old_at, old_path, pair.old)?;
            read.new = get(&self.new, pair.new_at, path, pair.new)?;
        }
        if let (Some(old), Some(new)) = (&read.old, &read.new) {
            read.same = old == new && kind(pair.old) == kind(pair.new);
            return Ok(read);
        }
        let same = if file(pair.old) && file(pair.new) {
            let old = (self.old.layer(pair.old_at)?, old_path);
            side::same(old, (self.new.layer(pair.new_at)?, path))?
        } else {
            Some(false)
        };
        read.same = same == Some(true);
        read.note = match same {
            Some(true) => None,
            Some(false) => Some("too large to be shown".to_owned()),
            None => Some("too large to be compared".to_owned()),
        };
        Ok(read)
    }
}

impl Tree {
    /// What changed at a path, as pieces; none when nothing did.
    fn examine(&self, it: Candidate, request: &DiffRequest) -> Vec<DiffPiece> {
        let Candidate { path, old_path, pair } = it;
        let from = old_path.as_deref().unwrap_or(&path);
        let read = match pair.unread {
            Some(error) => Err(error.into()),
            None => self.sides.read(&path, from, pair),
        };
        let read = read.unwrap_or_else(|error| unread(&error));
        if let Some(from) = old_path.as_ref().filter(|_| !read.same) {
            // No rename after all, or none any more.
            let one = Pair { new: None, ..pair };
            let two = Pair { old: None, ..pair };
            let one = Candidate { path: from.clone(), old_path: None, pair: one };
            let two = Candidate { path, old_path: None, pair: two };
            return [self.examine(one, request), self.examine(two, request)].concat();
        }
        if read.same && pair.old == pair.new && old_path.is_none() {
            return Vec::new();
        }
        let Pair { old, new, .. } = pair;
        let (from, path) = (&self.shown(from), self.shown(&path));
        let old_path = old_path.map(|it| self.shown(&it));
        let patch = written(from, &path, pair, &read, request);
        let plain = |it: Option<Node>| it.is_none_or(|it| git_mode(it).is_some());
        let lines = LineCount { added: patch.added_lines, removed: patch.removed_lines };
        let lines = (plain(old) && plain(new) && !patch.binary).then_some(lines);
        let mut shown = patch.text;
        if let Some(words) = read.note.clone().or_else(|| unsaid(pair)) {
            shown.extend(patch::remark(&path, &words));
        }
        let status = match (old, new) {
            _ if old_path.is_some() => ChangeStatus::Renamed,
            (None, _) => ChangeStatus::Added,
            (_, None) => ChangeStatus::Deleted,
            _ => ChangeStatus::Modified,
        };
        let note = read.note;
        let change = FileChange { path, old_path, status, old, new, lines, note };
        let mut pieces = vec![DiffPiece::File(change)];
        if request.text {
            let cuts = shown.chunks(CHANGE_PIECE_BYTES);
            pieces.extend(cuts.map(|it| DiffPiece::Text(Bytes::copy_from_slice(it))));
        }
        pieces
    }
}

fn unread(error: &io::Error) -> Contents {
    let note = match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => "may not be read".to_owned(),
        Some(Errno::NAMETOOLONG) => "lies too deep to be looked at".to_owned(),
        Some(Errno::NOENT | Errno::LOOP | Errno::INVAL) => {
            "changed while it was looked at".to_owned()
        }
        _ => format!("can't be read: {error}"),
    };
    Contents { note: Some(note), ..Contents::default() }
}

/// The change as git writes it, where git has words for it.
fn written(from: &[u8], path: &[u8], pair: Pair, read: &Contents, request: &DiffRequest) -> Patch {
    let mode = |node: Option<Node>| node.and_then(git_mode);
    let (old, new) = (mode(pair.old), mode(pair.new));
    if read.same && old == new && from == path {
        return Patch::default();
    }
    // What is the same need not be looked at again.
    let content = |it: &'_ Option<Vec<u8>>| if read.same { Some(Vec::new()) } else { it.clone() };
    let (before, after) = (content(&read.old), content(&read.new));
    let before = old.map(|mode| Side { path: from, mode, content: before.as_deref() });
    let after = new.map(|mode| Side { path, mode, content: after.as_deref() });
    let binary = if request.binary { Binary::Whole } else { Binary::Named };
    patch(before, after, binary)
}

/// What git has no words for.
fn unsaid(pair: Pair) -> Option<String> {
    let word = |it: Node| match it.kind {
        NodeKind::File => "file",
        NodeKind::Link => "link",
        NodeKind::Directory => "directory",
        NodeKind::Special => "device, fifo or socket",
    };
    match (pair.old, pair.new) {
        (Some(old), Some(new)) if old.kind != new.kind => {
            Some(format!("was a {}, is a {}", word(old), word(new)))
        }
        (Some(old), Some(new)) if old.mode != new.mode && git_mode(old) == git_mode(new) => {
            Some(format!("mode was {:03o}, is {:03o}", old.mode, new.mode))
        }
        (None, Some(it)) if git_mode(it).is_none() => Some(format!("new {}", word(it))),
        (Some(it), None) if git_mode(it).is_none() => Some(format!("deleted {}", word(it))),
        _ => None,
    }
}

/// The mode by which git knows it.
fn git_mode(node: Node) -> Option<u32> {
    match node.kind {
        NodeKind::File if node.mode & 0o100 != 0 => Some(0o100_755),
        NodeKind::File => Some(0o100_644),
        NodeKind::Link => Some(0o120_000),
        NodeKind::Directory | NodeKind::Special => None,
    }
}

fn kind(node: Option<Node>) -> Option<NodeKind> {
    node.map(|it| it.kind)
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|it| *it == b'/').next().unwrap_or(path)
}
