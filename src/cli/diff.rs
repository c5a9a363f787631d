//! `diff`: what a sandbox changed, as a patch, a table or JSON.

use std::{
    ffi::OsStr,
    io::ErrorKind,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use tokio_stream::StreamExt;

use super::{
    args::{DiffArgs, ShowArgs},
    json::{DiffView, FileChangeView},
    link, out, paint, resolve,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SnapshotId,
        text,
    },
    driver::patch,
    model::{
        change::{
            ChangeStatus, DiffPiece, DiffRequest, FileChange, LineCount, Node, NodeKind, Subject,
        },
        sandbox::{Sandbox, Workspace},
    },
    runtime::Runtime,
};

/// Which changes, and how they are shown.
pub struct Asked<'a> {
    pub of: Subject,
    pub against: Option<SnapshotId>,
    pub workspace: &'a Workspace,
    /// The sandbox's.
    pub name: &'a str,
    pub paths: &'a [PathBuf],
    pub show: &'a ShowArgs,
}

pub async fn diff(runtime: &dyn Runtime, args: DiffArgs) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let sandbox = resolve::sandbox(&all, &args.sandbox)?;
    let against = match &args.from {
        Some(typed) => {
            let kept = runtime.snapshots().await?;
            Some(resolve::snapshot_for(&kept, &sandbox.id, typed)?.id.clone())
        }
        None => None,
    };
    let asked = Asked {
        of: Subject::Sandbox(sandbox.id.clone()),
        against,
        workspace: &sandbox.workspace,
        name: &sandbox.name,
        paths: &args.paths,
        show: &args.show,
    };
    show(runtime, asked).await
}

pub async fn show(runtime: &dyn Runtime, args: Asked<'_>) -> Outcome<out::Code> {
    let root = if args.show.system { Path::new("/") } else { &args.workspace.path };
    let paths = paths(root, args.paths)?;
    let mut missed = Missed::new(&paths);
    let text = !args.show.json && !args.show.stat;
    // What no person reads is written for the program behind the pipe.
    let on_terminal = out::stdout_is_terminal();
    let request = DiffRequest {
        against: args.against.clone(),
        system: args.show.system,
        paths,
        git: args.show.git,
        text,
        binary: text && !on_terminal,
    };
    let mut pieces = runtime.diff(args.of.clone(), request).await?;
    let mut patch = Patch { colour: paint::wanted(), ..Patch::default() };
    let mut files = Vec::new();
    let mut end = None;
    let mut any = false;
    let mut missing = Missing::default();
    while let Some(piece) = pieces.next().await {
        match piece? {
            DiffPiece::File(change) => {
                any = true;
                missed.note(&change);
                if let Some(note) = change.note.as_deref().filter(|_| text && !on_terminal) {
                    missing.tell(&change, note);
                }
                // A patch is shown as it comes; the rest needs all of it.
                if !text {
                    files.push(change);
                }
            }
            DiffPiece::Text(bytes) if on_terminal => out::print(&patch.feed(&bytes))?,
            DiffPiece::Text(bytes) => out::print_bytes(&bytes)?,
            DiffPiece::End { git_left_out } => end = Some(git_left_out),
        }
    }
    let git_left_out = end.ok_or_else(|| Fault::lost("the hub ended in the middle of the diff"))?;
    missing.sum_up();
    // What a system began with may be an image, and lie elsewhere.
    if !args.show.system {
        missed.all_there(root)?;
    }
    if args.show.json {
        let snapshot = match &args.of {
            Subject::Snapshot(id) => Some(id.as_str()),
            Subject::Sandbox(_) => None,
        };
        out::json(&DiffView {
            sandbox: args.name,
            workspace: args.workspace.into(),
            snapshot,
            against: args.against.as_ref().map(SnapshotId::as_str),
            system: args.show.system,
            files: files.iter().map(FileChangeView::from).collect(),
            git_left_out,
        })?;
        return Ok(out::DONE);
    }
    if !files.is_empty() {
        out::print(&stat(&files, paint::wanted()))?;
    }
    if !any {
        out::tell("nothing changed");
    }
    if git_left_out > 0 {
        out::tell("changes in .git are left out; --git shows them");
    }
    Ok(out::DONE)
}

/// Changes told as missing one by one; the rest are counted.
const MISSING_TOLD_MAX: u64 = 8;

/// Changes that a patch can't have: whoever pipes it on should know.
#[derive(Default)]
struct Missing(u64);

impl Missing {
    fn tell(&mut self, change: &FileChange, why: &str) {
        self.0 += 1;
        if self.0 <= MISSING_TOLD_MAX {
            out::tell(&format!("not in the patch: {} ({why})", name(&change.path)));
        }
    }

    fn sum_up(&self) {
        if let Some(more) = self.0.checked_sub(MISSING_TOLD_MAX).filter(|it| *it > 0) {
            out::tell(&format!("{} more are not in the patch", text::count(more, "change")));
        }
    }
}

/// The paths that were asked for, without those of which a change was told.
struct Missed(Vec<Vec<u8>>);

impl Missed {
    fn new(paths: &[Vec<u8>]) -> Self {
        Self(paths.to_vec())
    }

    fn note(&mut self, change: &FileChange) {
        let below = |path: &[u8], of: &[u8]| {
            path.strip_prefix(of).is_some_and(|it| it.is_empty() || it.starts_with(b"/"))
        };
        let old = change.old_path.as_deref();
        self.0.retain(|of| !below(&change.path, of) && !old.is_some_and(|it| below(it, of)));
    }

    /// What has not changed is in the real directory, or it is a mistake. Nobody can tell where that is on another machine.
    fn all_there(&self, root: &Path) -> Outcome<()> {
        for path in self.0.iter().filter(|_| root.is_dir()) {
            let real = root.join(OsStr::from_bytes(path));
            if is_absent(&real) {
                let path = name(path);
                let what = format!("neither in the workspace nor in the sandbox: {path}");
                return Err(Fault::absent(what));
            }
        }
        Ok(())
    }
}

/// Refuses paths that are neither in the real directory nor among what a sandbox changed.
pub(super) async fn are_there(
    runtime: &dyn Runtime,
    sandbox: &Sandbox,
    paths: &[Vec<u8>],
    git: bool,
) -> Outcome<()> {
    let root = &sandbox.workspace.path;
    let mut missed = Missed::new(paths);
    missed.0.retain(|it| is_absent(&root.join(OsStr::from_bytes(it))));
    if missed.0.is_empty() {
        return Ok(());
    }
    let paths = missed.0.clone();
    let request =
        DiffRequest { against: None, system: false, paths, git, text: false, binary: false };
    let mut pieces = runtime.diff(Subject::Sandbox(sandbox.id.clone()), request).await?;
    while let Some(piece) = pieces.next().await {
        if let DiffPiece::File(change) = piece? {
            missed.note(&change);
        }
    }
    missed.all_there(root)
}

fn is_absent(real: &Path) -> bool {
    let found = std::fs::symlink_metadata(real);
    found.is_err_and(|it| matches!(it.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

/// What was typed, as paths below the workspace; none = everything. Where the operator stands in the
/// workspace counts, as it does for git.
pub(super) fn paths(root: &Path, typed: &[PathBuf]) -> Outcome<Vec<Vec<u8>>> {
    if typed.is_empty() {
        return Ok(Vec::new());
    }
    let asked = root.to_owned();
    let real = std::fs::canonicalize(&asked).unwrap_or_else(|_| asked.clone());
    let here = link::current_directory()?;
    let below = |path: &Path| {
        path.strip_prefix(&asked).or_else(|_| path.strip_prefix(&real)).ok().map(Path::to_owned)
    };
    let here = below(&here).unwrap_or_default();
    let mut out = Vec::new();
    for path in typed {
        let inside = if path.is_absolute() { below(path) } else { Some(here.join(path)) };
        let Some(inside) = inside.as_deref().and_then(plain) else {
            let (path, asked) = (path.to_string_lossy(), asked.to_string_lossy());
            let place = if root == Path::new("/") { "" } else { "the workspace " };
            let words = format!("{} is not in {place}{}", shown(&path), shown(&asked));
            return Err(Fault::invalid(words));
        };
        if inside.is_empty() {
            return Ok(Vec::new());
        }
        out.push(inside);
    }
    Ok(out)
}

fn shown(path: &str) -> String {
    text::shown(path, 256)
}

/// A path without `.` and `..`; `None` when it leads out.
fn plain(path: &Path) -> Option<Vec<u8>> {
    let mut names: Vec<&OsStr> = Vec::new();
    for it in path.components() {
        match it {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            Component::ParentDir => drop(names.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    let names: Vec<&[u8]> = names.into_iter().map(OsStr::as_bytes).collect();
    Some(names.join(&b'/'))
}

/// A table of the changes and their sum.
fn stat(files: &[FileChange], colour: bool) -> String {
    let mut table = Table::new(&["CHANGE", "LINES", "PATH"]);
    let mut sum = LineCount::default();
    for it in files {
        let lines = it.lines.unwrap_or_default();
        sum.added += lines.added;
        sum.removed += lines.removed;
        let tone = match it.status {
            ChangeStatus::Added => Tone::Good,
            ChangeStatus::Deleted => Tone::Bad,
            ChangeStatus::Modified | ChangeStatus::Renamed => Tone::Plain,
        };
        table.row(vec![Cell::new(it.status.word(), tone), counted(it).into(), named(it).into()]);
    }
    let many = text::count(files.len(), "path");
    let added = text::count(sum.added, "line");
    let removed = sum.removed;
    format!("{}{many} changed, {added} added, {removed} removed\n", table.render(colour))
}

fn counted(it: &FileChange) -> String {
    let directory = |it: Option<Node>| it.is_some_and(|it| it.kind == NodeKind::Directory);
    match it.lines {
        Some(LineCount { added: 0, removed: 0 }) => "-".to_owned(),
        Some(LineCount { added, removed: 0 }) => format!("+{added}"),
        Some(LineCount { added: 0, removed }) => format!("-{removed}"),
        Some(LineCount { added, removed }) => format!("+{added} -{removed}"),
        None if it.note.is_some() || directory(it.old.or(it.new)) => "-".to_owned(),
        None => "binary".to_owned(),
    }
}

/// A path, safe to show, and what is to be said of it.
fn named(it: &FileChange) -> String {
    let slash = match it.new.or(it.old) {
        Some(node) if node.kind == NodeKind::Directory => "/",
        _ => "",
    };
    let mut out = name(&it.path) + slash;
    if let Some(old) = &it.old_path {
        out = format!("{} -> {out}", name(old));
    }
    let mut said = Vec::new();
    if let (Some(old), Some(new)) = (it.old, it.new) {
        if old.kind != new.kind {
            said.push(format!("{} -> {}", old.kind.word(), new.kind.word()));
        } else if old.mode != new.mode {
            said.push(format!("mode {:03o} -> {:03o}", old.mode, new.mode));
        }
    }
    said.extend(it.note.clone());
    if said.is_empty() { out } else { format!("{out} ({})", said.join(", ")) }
}

/// As git writes it: quoted when it could be misread.
pub(super) fn name(path: &[u8]) -> String {
    String::from_utf8_lossy(&patch::name(b"", path)).into_owned()
}

/// A patch on its way to a terminal: whole lines, nothing in them that acts, colour by what they are.
#[derive(Default)]
struct Patch {
    colour: bool,
    /// Start of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Lines of the hunk still to come, of either side.
    old: u64,
    new: u64,
}

impl Patch {
    fn feed(&mut self, bytes: &[u8]) -> String {
        let mut input = std::mem::take(&mut self.partial);
        input.extend_from_slice(bytes);
        let mut out = String::with_capacity(input.len());
        for line in input.split_inclusive(|it| *it == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => self.line(line, &mut out),
                None => self.partial = line.to_vec(),
            }
        }
        out
    }

    fn line(&mut self, line: &[u8], out: &mut String) {
        let tone = if self.old + self.new > 0 { self.in_hunk(line) } else { self.between(line) };
        let text = String::from_utf8_lossy(line);
        let parts: Vec<String> = text.split('\t').map(text::visible).collect();
        let text = parts.join("\t");
        match tone.filter(|_| self.colour) {
            Some(codes) => out.push_str(&format!("{codes}{text}\x1b[0m\n")),
            None => out.push_str(&format!("{text}\n")),
        }
    }

    fn in_hunk(&mut self, line: &[u8]) -> Option<&'static str> {
        let (old, new, tone) = match line.first() {
            Some(b'-') => (1, 0, Some("\x1b[31m")),
            Some(b'+') => (0, 1, Some("\x1b[32m")),
            Some(b'\\') => (0, 0, None),
            _ => (1, 1, None),
        };
        self.old = self.old.saturating_sub(old);
        self.new = self.new.saturating_sub(new);
        tone
    }

    fn between(&mut self, line: &[u8]) -> Option<&'static str> {
        let Some((old, new)) = std::str::from_utf8(line).ok().and_then(hunk) else {
            return (!line.starts_with(b"\\")).then_some("\x1b[1m");
        };
        (self.old, self.new) = (old, new);
        Some("\x1b[36m")
    }
}

/// How many lines of either side a hunk has, by its head.
fn hunk(line: &str) -> Option<(u64, u64)> {
    let (old, rest) = line.strip_prefix("@@ -")?.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let count = |it: &str| it.split_once(',').map_or(Some(1), |(_, it)| it.parse().ok());
    Some((count(old)?, count(new)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_on_a_terminal_is_coloured_by_its_hunks_and_acts_on_nothing() {
        let text = b"--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n--- a\n+\x1b[8m\tb\n \xff\n# x: y\n";
        let mut patch = Patch { colour: true, ..Patch::default() };
        let (one, two) = text.split_at(30);
        let shown = patch.feed(one) + &patch.feed(two);
        let (bold, end) = ("\x1b[1m", "\x1b[0m");
        let expected = format!(
            "{bold}--- a/x{end}\n{bold}+++ b/x{end}\n\x1b[36m@@ -1,2 +1,2 @@{end}\n\
             \x1b[31m--- a{end}\n\x1b[32m+␛[8m\tb{end}\n \u{fffd}\n{bold}# x: y{end}\n"
        );
        assert_eq!(shown, expected);
        let plain = Patch::default().feed(text);
        assert!(!plain.contains('\x1b') && plain.contains("+␛[8m\tb\n"), "{plain}");
    }

    #[test]
    fn a_path_is_made_plain_and_may_not_lead_out() {
        assert_eq!(plain(Path::new("a/./b/../c")).as_deref(), Some(&b"a/c"[..]));
        assert_eq!(plain(Path::new(".")).as_deref(), Some(&b""[..]));
        assert_eq!(plain(Path::new("a/../..")), None);
    }
}
