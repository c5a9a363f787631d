//! Directories that are open, and the rows that they make. Only what is open is read, and a row is two numbers: what
//! is drawn of it is worked out when it is in sight.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    app::{effect::EffectId, view::Pattern},
    base::limits::{FILES_WATCHED_MAX, FIND_DEPTH_MAX},
    model::file::{FileEntry, joined, name_shown, split},
};

/// A directory that is open.
#[derive(Debug, Default)]
pub struct Dir {
    pub path: Vec<u8>,
    /// Directories first, in the order of names.
    pub entries: Vec<FileEntry>,
    /// Whether it was read once, and why it was not last.
    pub known: bool,
    pub wrong: Option<String>,
    /// There are more entries than are told.
    pub more: bool,
    /// Names of those in it that are open.
    open: BTreeSet<Vec<u8>>,
    pub(in crate::app) asked: Option<EffectId>,
    /// It changed since.
    pub(in crate::app) old: bool,
    pub(in crate::app) listed_at: Duration,
}

/// One row: an entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which of the directories, in the order in which they were laid out.
    dir: u32,
    at: u32,
    pub depth: u16,
}

#[derive(Debug)]
pub struct Tree {
    top: Vec<u8>,
    dirs: BTreeMap<Vec<u8>, Dir>,
    rows: Vec<Row>,
    /// The directories that rows are in.
    order: Vec<Vec<u8>>,
    /// The row to go to once it is there.
    pub(in crate::app) wanted: Option<Vec<u8>>,
}

impl Tree {
    /// With its top open.
    pub fn new(top: Vec<u8>) -> Self {
        let dir = Dir { path: top.clone(), ..Dir::default() };
        let dirs = BTreeMap::from([(top.clone(), dir)]);
        Self { top, dirs, rows: Vec::new(), order: Vec::new(), wanted: None }
    }

    pub fn top(&self) -> &[u8] {
        &self.top
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn dirs(&self) -> impl Iterator<Item = &Dir> {
        self.dirs.values()
    }

    pub fn dir(&self, path: &[u8]) -> Option<&Dir> {
        self.dirs.get(path)
    }

    pub(in crate::app) fn dir_mut(&mut self, path: &[u8]) -> Option<&mut Dir> {
        self.dirs.get_mut(path)
    }

    pub(in crate::app) fn dirs_mut(&mut self) -> impl Iterator<Item = &mut Dir> {
        self.dirs.values_mut()
    }

    pub fn is_open(&self, path: &[u8]) -> bool {
        self.dirs.contains_key(path)
    }

    pub fn entry(&self, row: Row) -> Option<&FileEntry> {
        let dir = self.dirs.get(self.order.get(row.dir as usize)?)?;
        dir.entries.get(row.at as usize)
    }

    pub fn path(&self, row: Row) -> Option<Vec<u8>> {
        let dir = self.order.get(row.dir as usize)?;
        Some(joined(dir, &self.entry(row)?.name))
    }

    /// The row of a path, if it has one.
    pub fn row_of(&self, path: &[u8]) -> Option<usize> {
        let (above, name) = split(path)?;
        let dir = self.order.iter().position(|it| it == above)?;
        let entries = &self.dirs.get(above)?.entries;
        let at = entries.iter().position(|it| it.name == name)?;
        let is_it = |it: &Row| it.dir as usize == dir && it.at as usize == at;
        self.rows.iter().position(is_it)
    }

    /// Opens a directory; it is read when it is asked for.
    pub(in crate::app) fn open(&mut self, path: Vec<u8>) -> Result<(), String> {
        if self.dirs.len() >= FILES_WATCHED_MAX {
            return Err(format!("{FILES_WATCHED_MAX} directories are open; close some first"));
        }
        if let Some((above, name)) = split(&path)
            && let Some(dir) = self.dirs.get_mut(above)
        {
            dir.open.insert(name.to_vec());
        }
        let dir = Dir { path: path.clone(), ..Dir::default() };
        self.dirs.entry(path).or_insert(dir);
        Ok(())
    }

    /// Closes a directory with all that is in it.
    pub(in crate::app) fn close(&mut self, path: &[u8]) {
        if path == self.top {
            return;
        }
        if let Some((above, name)) = split(path)
            && let Some(dir) = self.dirs.get_mut(above)
        {
            dir.open.remove(name);
        }
        self.dirs.retain(|it, _| !crate::model::change::covers(path, it));
    }

    /// Takes what is in a directory. What is open in it and no directory any more is closed.
    pub(in crate::app) fn list(&mut self, path: &[u8], entries: Vec<FileEntry>, more: bool) {
        let Some(dir) = self.dirs.get_mut(path) else { return };
        (dir.entries, dir.more, dir.known, dir.wrong) = (entries, more, true, None);
        let open = dir.open.clone();
        if open.is_empty() {
            return;
        }
        let there: BTreeSet<&[u8]> = dir
            .entries
            .iter()
            .filter(|it| it.is_directory())
            .map(|it| it.name.as_slice())
            .collect();
        let gone: Vec<Vec<u8>> =
            open.iter().filter(|it| !there.contains(it.as_slice())).cloned().collect();
        for name in gone {
            self.close(&joined(path, &name));
        }
    }

    /// Makes the rows anew. With a pattern, only of names that have it, and of directories that those are in.
    pub(in crate::app) fn lay_out(&mut self, pattern: Option<&Pattern>) {
        self.rows.clear();
        self.order.clear();
        self.lay_out_in(self.top.clone(), 0);
        let Some(pattern) = pattern else { return };
        // From the last to the first: what is kept below a directory is known before it.
        let (mut kept, mut needed) = (Vec::new(), None);
        for row in self.rows.iter().rev() {
            let above = needed.is_some_and(|depth| row.depth < depth);
            let name = self.entry(*row).map(|it| name_shown(&it.name)).unwrap_or_default();
            if above || pattern.is_in(&name) {
                kept.push(*row);
                needed = (row.depth > 0).then_some(row.depth);
            }
        }
        kept.reverse();
        self.rows = kept;
    }

    fn lay_out_in(&mut self, path: Vec<u8>, depth: u16) {
        let Some(dir) = self.dirs.get(&path) else { return };
        let number = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        let row = |at: usize| Row { dir: number, at: u32::try_from(at).unwrap_or(u32::MAX), depth };
        let count = dir.entries.len();
        let is_open = |it: &FileEntry| dir.open.contains(&it.name);
        let open: Vec<usize> = match dir.open.is_empty() {
            true => Vec::new(),
            false => (0..count).filter(|at| dir.entries.get(*at).is_some_and(is_open)).collect(),
        };
        let inner: Vec<(usize, Vec<u8>)> = open
            .into_iter()
            .filter_map(|at| Some((at, joined(&path, &dir.entries.get(at)?.name))))
            .collect();
        self.order.push(path);
        let mut from = 0;
        for (at, below) in inner {
            self.rows.extend((from..=at).map(row));
            from = at + 1;
            if usize::from(depth) < FIND_DEPTH_MAX {
                self.lay_out_in(below, depth + 1);
            }
        }
        self.rows.extend((from..count).map(row));
    }

    pub fn check(&self) -> Result<(), String> {
        if self.dirs.len() > FILES_WATCHED_MAX || !self.dirs.contains_key(&self.top) {
            return Err("the open directories are unsound".to_owned());
        }
        match self.rows.iter().all(|it| self.entry(*it).is_some()) {
            true => Ok(()),
            false => Err("a row of the files has no entry".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::file::FileKind;

    fn entries(names: &[&str]) -> Vec<FileEntry> {
        let entry = |it: &&str| match it.strip_suffix('/') {
            Some(name) => FileEntry::bare(name.as_bytes(), FileKind::Directory),
            None => FileEntry::bare(it.as_bytes(), FileKind::File),
        };
        names.iter().map(entry).collect()
    }

    fn shown(tree: &Tree) -> Vec<String> {
        let path = |it: &Row| String::from_utf8(tree.path(*it).unwrap()).unwrap();
        tree.rows().iter().map(path).collect()
    }

    fn grown() -> Tree {
        let mut tree = Tree::new(b"/w".to_vec());
        tree.list(b"/w", entries(&["a/", "b/", "f", "g"]), false);
        tree.open(b"/w/a".to_vec()).unwrap();
        tree.list(b"/w/a", entries(&["in/", "x.rs"]), false);
        tree.open(b"/w/a/in".to_vec()).unwrap();
        tree.list(b"/w/a/in", entries(&["deep.rs"]), false);
        tree.lay_out(None);
        tree
    }

    #[test]
    fn rows_are_the_open_directories_in_their_places() {
        let mut tree = grown();
        let all = ["/w/a", "/w/a/in", "/w/a/in/deep.rs", "/w/a/x.rs", "/w/b", "/w/f", "/w/g"];
        assert_eq!(shown(&tree), all);
        assert_eq!(
            tree.rows().iter().map(|it| it.depth).collect::<Vec<_>>(),
            [0, 1, 2, 1, 0, 0, 0]
        );
        for (row, path) in all.iter().enumerate() {
            assert_eq!(tree.row_of(path.as_bytes()), Some(row));
        }
        tree.close(b"/w/a");
        tree.lay_out(None);
        assert_eq!(shown(&tree), ["/w/a", "/w/b", "/w/f", "/w/g"]);
        tree.check().unwrap();
    }

    #[test]
    fn what_is_no_directory_any_more_is_closed() {
        let mut tree = grown();
        tree.list(b"/w", entries(&["a", "b/"]), false);
        tree.lay_out(None);
        assert_eq!(shown(&tree), ["/w/a", "/w/b"]);
        assert!(!tree.is_open(b"/w/a/in"));
        tree.check().unwrap();
    }

    #[test]
    fn a_pattern_keeps_the_way_to_what_has_it() {
        let mut tree = grown();
        tree.lay_out(Some(&Pattern::new("deep").unwrap()));
        assert_eq!(shown(&tree), ["/w/a", "/w/a/in", "/w/a/in/deep.rs"]);
        tree.lay_out(Some(&Pattern::new("^(x|g)").unwrap()));
        assert_eq!(shown(&tree), ["/w/a", "/w/a/x.rs", "/w/g"]);
    }
}
