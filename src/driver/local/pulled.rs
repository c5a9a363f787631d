//! The workspace of a sandbox that has its files elsewhere, and had a copy of the real directory: what it changed in
//! it is brought here as a layer, as an overlay would have it, so that it can be looked at and applied like any
//! other. What was sent is written down at the start: without that, what the operator did meanwhile to the real
//! directory would look like the sandbox's work. Blocks on files.

mod laid;
mod members;
mod placing;
mod sent;
mod unread;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

pub use self::{
    laid::{Laid, Laying, Wanted, Which},
    sent::Sending,
};
use self::{
    members::Members,
    placing::{ABOVE, Fresh, WORKSPACE, root, settled},
    sent::{SENT, Sent, noting},
    unread::Unread,
};
use super::{
    apply::seen::stat,
    changes::{LocalChanges, workspace_of},
    namespaces::BOX,
    upper,
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::CHANGE_PIECE_BYTES,
    },
    driver::{Changes, Ground, Kept, Shelf, patch, tar::read::Reader},
    model::{
        change::{
            Applied, AppliedPath, ApplyRequest, ChangeStatus, DiffPiece, DiffRequest, FileChange,
            Verdict, covers,
        },
        sandbox::WorkspaceMode,
    },
};

/// Notes, in the directory of a sandbox that has just begun, which directory its changes will be held against.
pub fn begin(ground: &Path, workspace: &Path) -> Outcome<()> {
    super::changes::remember(ground, workspace).map_err(noting)
}

/// The same of a snapshot, when its changes are first looked at.
pub fn hold_against(shelf: &Path, workspace: &Path) -> Outcome<()> {
    if shelf.join(super::changes::WORKSPACE).exists() {
        return Ok(());
    }
    let real = fs::canonicalize(workspace).map_err(|error| {
        Fault::io(format!("opening {}", workspace.display()), &error)
            .hint("the workspace has to be where it was")
    })?;
    begin(shelf, &real)
}

/// What was sent to a sandbox is what every one has that goes on from a moment of it.
pub fn pass_on(from: &Path, to: &Path) -> Outcome<()> {
    match fs::copy(from.join(SENT), to.join(SENT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(noting(error)),
        _ => Ok(()),
    }
}

/// Alone: what it began with is in its own files.
fn alone(ground: &Ground) -> Ground {
    Ground { from: None, ..ground.clone() }
}

/// What was brought here of the workspace last, and with `laid` of the system; and what could not be.
pub fn changes(
    of: &Kept,
    against: Option<&Shelf>,
    request: DiffRequest,
    laid: Option<Laid>,
) -> Changes {
    let of = match of {
        Kept::Ground(ground, spec) => Kept::Ground(alone(ground), spec.clone()),
        shelf @ Kept::Shelf(..) => shelf.clone(),
    };
    let missing = Missing::new(&of, against, &request);
    let (paths, text) = (request.paths.clone(), request.text);
    let trees = laid.as_ref().map(|it| (it.tree(Which::New), it.tree(Which::Old)));
    let changes = LocalChanges::new(&of, against, request).over(trees);
    Box::new(changes.flat_map(move |piece| {
        let mut pieces = Vec::new();
        if matches!(piece, Ok(DiffPiece::End { .. })) {
            let mut unread = missing.all();
            unread.extend(laid.iter().flat_map(Laid::unread));
            unread.retain(|path, _| is_asked(&paths, path, true));
            for (path, why) in unread {
                pieces.extend(told(path, why, text).into_iter().map(Ok));
            }
        }
        pieces.push(piece);
        pieces
    }))
}

/// Where it is noted what could not be brought here of workspaces, and what is put in front of that.
struct Missing {
    layers: Vec<PathBuf>,
    prefix: Vec<u8>,
}

impl Missing {
    fn new(of: &Kept, against: Option<&Shelf>, request: &DiffRequest) -> Self {
        let (dir, spec) = match of {
            Kept::Ground(ground, spec) => (&ground.dir, spec),
            Kept::Shelf(shelf, spec) => (&shelf.dir, spec),
        };
        let dirs = [Some(dir), against.map(|it| &it.dir)].into_iter().flatten();
        let layers = match spec.workspace.mode {
            WorkspaceMode::Cow => dirs.map(|it| it.join(BOX).join(ABOVE)).collect(),
            _ => Vec::new(),
        };
        let place = spec.workspace.path.as_os_str().as_bytes();
        let place = place.strip_prefix(b"/").unwrap_or(place);
        let prefix = if request.system { [place, b"/"].concat() } else { Vec::new() };
        Self { layers, prefix }
    }

    fn all(&self) -> BTreeMap<Vec<u8>, String> {
        let all = self.layers.iter().flat_map(|it| Unread::of(it));
        all.map(|(path, why)| ([self.prefix.as_slice(), &path].concat(), why)).collect()
    }
}

/// What could not be brought here of these paths; `all` = of everything where none is named.
fn unread(above: &Path, paths: &[Vec<u8>], all: bool) -> BTreeMap<Vec<u8>, String> {
    let mut unread = Unread::of(above);
    unread.retain(|path, _| is_asked(paths, path, all));
    unread
}

fn is_asked(paths: &[Vec<u8>], path: &[u8], all: bool) -> bool {
    (all && paths.is_empty()) || paths.iter().any(|it| covers(it, path) || covers(path, it))
}

fn told(path: Vec<u8>, why: String, text: bool) -> Vec<DiffPiece> {
    let remark = patch::remark(&path, &why);
    let (status, note) = (ChangeStatus::Modified, Some(why));
    let (old_path, old, new, lines) = (None, None, None, None);
    let mut pieces =
        vec![DiffPiece::File(FileChange { path, old_path, status, old, new, lines, note })];
    if text {
        let cuts = remark.chunks(CHANGE_PIECE_BYTES);
        pieces.extend(cuts.map(|it| DiffPiece::Text(it.to_vec().into())));
    }
    pieces
}

/// Writes the changes that were brought here last to the real directory.
pub fn apply(ground: &Ground, since: Timestamp, request: &ApplyRequest) -> Outcome<Applied> {
    let _stays = settled(&ground.dir)?;
    let mut applied = super::apply::apply(&alone(ground), since, request)?;
    let in_part = |path: &[u8]| request.parts.iter().any(|it| it.path == path);
    go_on(&ground.dir, &applied, |path| !in_part(path), true);
    let above = ground.dir.join(BOX).join(ABOVE);
    for (path, why) in unread(&above, &request.paths, request.parts.is_empty()) {
        if !applied.paths.iter().any(|it| it.path == path) {
            let (status, verdict) = (ChangeStatus::Modified, Verdict::LeftOut);
            applied.paths.push(AppliedPath { path, status, verdict, note: Some(why) });
        }
    }
    applied.paths.sort_by(|one, two| one.path.cmp(&two.path));
    Ok(applied)
}

/// Takes back what was written last.
pub fn take_back(ground: &Ground, overwrite: bool) -> Outcome<Applied> {
    let _stays = settled(&ground.dir)?;
    let back = super::apply::undo(&alone(ground), overwrite)?;
    go_on(&ground.dir, &back, |_| true, false);
    Ok(back)
}

/// What was written is what the sandbox's changes are held against from now on; `alike` = the sandbox has the same.
fn go_on(ground: &Path, applied: &Applied, of: impl Fn(&[u8]) -> bool, alike: bool) {
    let written = applied.paths.iter().filter(|it| it.verdict == Verdict::Applied && of(&it.path));
    let written: Vec<&[u8]> = written.map(|it| it.path.as_slice()).collect();
    if applied.refused() || written.is_empty() {
        return;
    }
    let noted = || -> Outcome<()> {
        let real = upper::root(&workspace_of(ground)?)?;
        let layer = root(ground)?.join(ABOVE).join(WORKSPACE);
        let layer = alike.then(|| upper::root(&layer)).transpose()?;
        let now = written.iter().map(|path| {
            let theirs = layer.as_ref().map_or(Ok(None), |it| stat(it.as_fd(), path))?;
            let sent =
                stat(real.as_fd(), path)?.map(|it| Sent::of(&it).with_theirs(theirs.as_ref()));
            Ok((path.to_vec(), sent))
        });
        sent::rewrite(ground, now.collect::<io::Result<_>>().map_err(noting)?)
    };
    // It is done, whatever becomes of the note: without it, what the operator does next looks like the sandbox's.
    if let Err(fault) = noted() {
        tracing::warn!(%fault, "what was applied is not noted");
    }
}

/// Whether the layer was made before.
pub fn has_layer(ground: &Path) -> bool {
    ground.join(BOX).join(ABOVE).join(WORKSPACE).exists()
}

/// A layer on its way.
pub struct Pulling {
    fresh: Fresh,
    members: Members,
}

impl Pulling {
    /// Of these names at the top of the workspace, or of all of it. Waits until nobody else is at it.
    pub fn begin(ground: &Path, names: Option<Vec<Vec<u8>>>) -> Outcome<Self> {
        let fresh = Fresh::begin(ground, names)?;
        let layer = upper::root(&fresh.layer())?;
        let base = upper::root(&workspace_of(ground)?)?;
        let members = Members::new(layer, base, sent::read(ground)?)?;
        Ok(Self { fresh, members })
    }

    /// Takes one of the names by an archive whose first entry it is, or with an empty one all of the workspace; `None` =
    /// it is not there.
    pub fn take(&mut self, name: &[u8], archive: Option<impl Read>) -> Outcome<()> {
        let taken = self.members.take(name, archive.map(Reader::new));
        taken.map_err(|it| it.context("looking at the sandbox's files"))
    }

    /// Puts it where the one before was.
    pub fn place(self) -> Outcome<()> {
        let unread = self.members.finish()?;
        self.fresh.place(unread)
    }
}

#[cfg(test)]
mod tests;
