//! What a sandbox changed in a copy-on-write workspace, against the real directory.

use std::collections::HashSet;

use bytes::Bytes;

use super::{hunk::Part, sandbox::words};
use crate::base::id::{SandboxId, SnapshotId};

words! {
    /// What became of a path.
    ChangeStatus {
        Added = "added",
        /// Its contents, its mode or its kind.
        Modified = "modified",
        Deleted = "deleted",
        /// Moved as it was; `old_path` says from where.
        Renamed = "renamed",
    }
}

words! {
    /// What lies at a path.
    NodeKind {
        File = "file",
        /// A symbolic link.
        Link = "link",
        Directory = "directory",
        /// A device, fifo or socket: never opened.
        Special = "special",
    }
}

/// One side of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: NodeKind,
    /// Permissions, 9 bits.
    pub mode: u32,
    /// Of a file's contents or a link's target, else 0.
    pub bytes: u64,
}

/// One path that changed. Paths are bytes, relative to the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    pub path: Vec<u8>,
    pub old_path: Option<Vec<u8>>,
    pub status: ChangeStatus,
    pub old: Option<Node>,
    pub new: Option<Node>,
    /// `None` = the lines were not compared.
    pub lines: Option<LineCount>,
    /// What a person should know: why the contents are not shown.
    pub note: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCount {
    pub added: u64,
    pub removed: u64,
}

/// Whose changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A sandbox as it is now.
    Sandbox(SandboxId),
    /// A moment of one.
    Snapshot(SnapshotId),
}

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffRequest {
    /// What it is held against; `None` = how it was at its start: the real directory.
    pub against: Option<SnapshotId>,
    /// The whole system instead of the workspace; paths are then relative to `/`.
    pub system: bool,
    /// Files and directories, relative to the workspace, without `.` and `..`; none = everything.
    pub paths: Vec<Vec<u8>>,
    /// Also what lies in a `.git`.
    pub git: bool,
    /// Also the change itself, as a unified diff.
    pub text: bool,
    /// In it, bytes that are no text as git's binary patches; else they are only named.
    pub binary: bool,
}

/// A diff, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiffPiece {
    File(FileChange),
    /// A part of the last file's diff.
    Text(Bytes),
    /// Always the last piece; without it the diff is not whole.
    End {
        /// Changed `.git`s that were not looked into.
        git_left_out: u64,
    },
}

words! {
    /// What came of a path when changes were to be applied, or taken back.
    Verdict {
        Applied = "applied",
        /// The real directory has something else there by now. Nothing was written, of any path.
        Conflict = "conflict",
        /// Not this one; the others were applied.
        LeftOut = "left_out",
    }
}

/// Which changes to write to the real directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyRequest {
    /// As in `DiffRequest`; but with `parts`, none = nothing more.
    pub paths: Vec<Vec<u8>>,
    /// Of these files only some hunks, as they were shown: they go where their lines are now.
    pub parts: Vec<Part>,
    pub git: bool,
    /// Also links that lead out of the workspace.
    pub links: bool,
    /// Also where the real directory changed meanwhile.
    pub overwrite: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedPath {
    pub path: Vec<u8>,
    /// What becomes of it in the real directory.
    pub status: ChangeStatus,
    pub verdict: Verdict,
    /// Why it was not applied.
    pub note: Option<String>,
}

/// What was written to the real directory, in the order of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub paths: Vec<AppliedPath>,
    /// Changed `.git`s that were not looked into.
    pub git_left_out: u64,
}

impl Applied {
    /// Paths that were written, without the directories that others of them lie in.
    pub fn written(&self) -> usize {
        let done = || self.paths.iter().filter(|it| it.verdict == Verdict::Applied);
        let above = |it: &'_ AppliedPath| {
            let slashes = it.path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            slashes.map(|(at, _)| at).collect::<Vec<_>>()
        };
        let holders: HashSet<&[u8]> = done()
            .flat_map(|it| above(it).into_iter().filter_map(|at| it.path.get(..at)))
            .collect();
        done().filter(|it| !holders.contains(it.path.as_slice())).count()
    }

    /// There were conflicts, and so nothing was written.
    pub fn refused(&self) -> bool {
        self.paths.iter().any(|it| it.verdict == Verdict::Conflict)
    }
}

/// Tells whether a path is another one or lies in it.
pub fn covers(top: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(top).is_some_and(|it| matches!(it.first(), None | Some(b'/')))
}

/// Tells whether a path names something below the workspace and nothing else.
pub fn is_inside(path: &[u8]) -> bool {
    let plain = |it: &[u8]| !matches!(it, b"" | b"." | b"..") && !it.contains(&0);
    path.split(|it| *it == b'/').all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_made_for_what_lies_in_it_is_not_counted() {
        let path = |path: &str, verdict| AppliedPath {
            path: path.into(),
            status: ChangeStatus::Added,
            verdict,
            note: None,
        };
        let paths = [
            path("d", Verdict::Applied),
            path("d!", Verdict::Applied),
            path("d/in", Verdict::Applied),
            path("d/in/long", Verdict::Applied),
            path("d/no", Verdict::LeftOut),
            path("empty", Verdict::Applied),
        ];
        let applied = Applied { paths: paths.into(), git_left_out: 0 };
        assert_eq!(applied.written(), 3);
    }
}
