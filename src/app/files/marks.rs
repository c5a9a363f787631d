//! What became of files since their sandbox began, or since a snapshot, by their paths; directories count what is in them.

use std::collections::HashMap;

use crate::model::{
    change::{ChangeStatus, FileChange, LineCount},
    file::{joined, split},
};

/// How many were added, changed and deleted below a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub added: u32,
    pub changed: u32,
    pub deleted: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Marks {
    of: HashMap<Vec<u8>, (ChangeStatus, Option<LineCount>)>,
    below: HashMap<Vec<u8>, Counts>,
}

impl Marks {
    /// Of changes with paths below the workspace.
    pub(in crate::app) fn new(workspace: &[u8], changes: &[FileChange]) -> Self {
        let mut marks = Self::default();
        for it in changes {
            let path = joined(workspace, &it.path);
            let mut above = path.as_slice();
            while let Some((directory, _)) = split(above).filter(|it| it.0.len() > 1) {
                let counts = marks.below.entry(directory.to_vec()).or_default();
                match it.status {
                    ChangeStatus::Added => counts.added += 1,
                    ChangeStatus::Deleted => counts.deleted += 1,
                    ChangeStatus::Modified | ChangeStatus::Renamed => counts.changed += 1,
                }
                above = directory;
            }
            marks.of.insert(path, (it.status, it.lines));
        }
        marks
    }

    pub fn of(&self, path: &[u8]) -> Option<(ChangeStatus, Option<LineCount>)> {
        self.of.get(path).copied()
    }

    pub fn below(&self, path: &[u8]) -> Option<Counts> {
        self.below.get(path).copied()
    }
}

impl Counts {
    /// In short, e.g. `+3 ~2`.
    pub fn words(self) -> String {
        let parts = [('+', self.added), ('~', self.changed), ('-', self.deleted)];
        let parts = parts.into_iter().filter(|it| it.1 > 0);
        parts.map(|(sign, many)| format!("{sign}{many}")).collect::<Vec<_>>().join(" ")
    }
}
