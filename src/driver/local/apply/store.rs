//! What is kept of applied changes in a sandbox's directory: for each time, what the real directory held
//! before; and, of every path that was ever written, how it was left.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::seen::Seen;
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{APPLIES_KEPT, LEFT_KEPT, STORE_BYTES_MAX},
    },
    model::change::NodeKind,
};

const DIRECTORY: &str = "applied";
const MANIFEST: &str = "manifest";
const LEDGER: &str = "ledger";

/// One path of one time: how it was, and how it was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: Vec<u8>,
    pub old: Option<Seen>,
    /// Of a link that was there.
    pub target: Vec<u8>,
    pub left: Left,
    /// Somebody else's changes were in what was there.
    pub foreign: bool,
}

/// How a path was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Absent,
    /// Known by being one: its times change with what lies in it.
    Directory,
    Placed(Seen),
}

impl Left {
    fn text(self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Directory => NodeKind::Directory.word().to_owned(),
            Self::Placed(seen) => seen.text(),
        }
    }

    fn from_text(text: &[u8]) -> Option<Self> {
        match text {
            b"" => Some(Self::Absent),
            text if text == NodeKind::Directory.word().as_bytes() => Some(Self::Directory),
            text => seen(text).map(Self::Placed),
        }
    }
}

/// What was written to a path at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub seen: Seen,
    /// What it was first, when it was put back: the same contents had another number then.
    pub again: Option<Seen>,
    /// Somebody else's changes are in it.
    pub foreign: bool,
}

/// How each path was left, by whatever time; the newest last.
#[derive(Debug, Default)]
pub struct Ledger(HashMap<Vec<u8>, Vec<Written>>);

impl Ledger {
    /// What lies there was written by applying, and nobody else's changes are in it.
    pub fn owns(&self, path: &[u8], seen: &Seen) -> bool {
        self.find(path, seen).is_some_and(|it| !it.foreign)
    }

    /// What lies there, as it was when it was first there.
    pub fn first(&self, path: &[u8], seen: Seen) -> Seen {
        self.find(path, &seen).and_then(|it| it.again).unwrap_or(seen)
    }

    fn find(&self, path: &[u8], seen: &Seen) -> Option<&Written> {
        self.0.get(path)?.iter().rfind(|it| it.seen == *seen)
    }

    pub fn add(&mut self, path: &[u8], written: Written) {
        let all = self.0.entry(path.to_vec()).or_default();
        all.push(written);
        if all.len() > LEFT_KEPT {
            all.remove(0);
        }
    }
}

pub struct Store {
    home: PathBuf,
}

impl Store {
    /// Opens the store of a sandbox; what a killed process did not finish writing is deleted.
    pub fn open(ground: &Path) -> Outcome<Self> {
        let store = Self { home: ground.join(DIRECTORY) };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&store.home);
        made.map_err(|error| store.fault(&error))?;
        for number in store.numbers()? {
            if !store.at(number).join(MANIFEST).exists() {
                store.forget(number)?;
            }
        }
        Ok(store)
    }

    pub fn last(&self) -> Outcome<Option<u64>> {
        Ok(self.numbers()?.last().copied())
    }

    /// Makes room for the next time; the oldest are given up.
    pub fn begin(&self) -> Outcome<u64> {
        let numbers = self.numbers()?;
        let number = numbers.last().map_or(1, |it| it + 1);
        for old in numbers.iter().rev().skip(APPLIES_KEPT - 1) {
            self.forget(*old)?;
        }
        let made = fs::DirBuilder::new().mode(0o700).create(self.at(number));
        made.map_err(|error| self.fault(&error))?;
        Ok(number)
    }

    /// Where the contents of the entry at this index are kept.
    pub fn saved(&self, number: u64, index: usize) -> PathBuf {
        self.at(number).join(index.to_string())
    }

    pub fn forget(&self, number: u64) -> Outcome<()> {
        // Without its manifest it is nothing: a half deleted one is never taken for a whole one.
        let gone = match fs::remove_file(self.at(number).join(MANIFEST)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_dir_all(self.at(number)),
        };
        gone.map_err(|error| self.fault(&error))
    }

    pub fn write(&self, number: u64, entries: &[Entry]) -> Outcome<()> {
        let mut text = Vec::new();
        for it in entries {
            let old = it.old.map(|it| it.text()).unwrap_or_default();
            let left = it.left.text();
            let rest = [&it.target, left.as_bytes(), flag(it.foreign)];
            put_fields(&mut text, [&it.path, old.as_bytes()].into_iter().chain(rest));
        }
        self.put(&self.at(number).join(MANIFEST), &text)
    }

    pub fn read(&self, number: u64) -> Outcome<Vec<Entry>> {
        let path = self.at(number).join(MANIFEST);
        let text = self.get(&path)?;
        let fields: Vec<&[u8]> = fields(&text);
        let entry = |it: &[&[u8]]| {
            let [path, old, target, left, foreign] = it else { return None };
            let old = if old.is_empty() { None } else { Some(seen(old)?) };
            let (left, foreign) = (Left::from_text(left)?, from_flag(foreign)?);
            Some(Entry { path: path.to_vec(), old, target: target.to_vec(), left, foreign })
        };
        let entries: Option<Vec<Entry>> = fields.chunks(5).map(entry).collect();
        entries.ok_or_else(|| damaged(&path))
    }

    pub fn ledger(&self) -> Outcome<Ledger> {
        let path = &self.home.join(LEDGER);
        if !path.exists() {
            return Ok(Ledger::default());
        }
        let text = self.get(path)?;
        let mut ledger = Ledger::default();
        let written = |it: &[&[u8]]| {
            let [path, left, again, foreign] = it else { return None };
            let again = if again.is_empty() { None } else { Some(seen(again)?) };
            let (seen, foreign) = (seen(left)?, from_flag(foreign)?);
            Some((path.to_vec(), Written { seen, again, foreign }))
        };
        for it in fields(&text).chunks(4) {
            let (of, written) = written(it).ok_or_else(|| damaged(path))?;
            ledger.add(&of, written);
        }
        Ok(ledger)
    }

    pub fn write_ledger(&self, ledger: &Ledger) -> Outcome<()> {
        let mut text = Vec::new();
        for (path, all) in &ledger.0 {
            // What is not known again is a conflict more, and no harm.
            let room = text.len() as u64 <= STORE_BYTES_MAX / 2;
            for it in all.iter().filter(|_| room) {
                let (left, again) = (it.seen.text(), it.again.map(|it| it.text()));
                let again = again.as_deref().unwrap_or_default();
                let fields = [path, left.as_bytes(), again.as_bytes(), flag(it.foreign)];
                put_fields(&mut text, fields.into_iter());
            }
        }
        self.put(&self.home.join(LEDGER), &text)
    }

    /// All of it is on disk.
    pub fn sync(&self) -> Outcome<()> {
        let synced = File::open(&self.home).and_then(|it| Ok(rustix::fs::syncfs(it)?));
        synced.map_err(|error| self.fault(&error))
    }

    fn at(&self, number: u64) -> PathBuf {
        self.home.join(number.to_string())
    }

    /// Oldest first.
    fn numbers(&self) -> Outcome<Vec<u64>> {
        let items = fs::read_dir(&self.home).map_err(|error| self.fault(&error))?;
        let names = items.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        let mut numbers: Vec<u64> = names.collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The whole file or none of it.
    fn put(&self, path: &Path, text: &[u8]) -> Outcome<()> {
        let new = path.with_extension("new");
        let written = || {
            let mut options = fs::OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        written().map_err(|error| self.fault(&error))
    }

    fn get(&self, path: &Path) -> Outcome<Vec<u8>> {
        let size = fs::metadata(path).map_err(|error| self.fault(&error))?.len();
        if size > STORE_BYTES_MAX {
            return Err(damaged(path));
        }
        fs::read(path).map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &io::Error) -> Fault {
        Fault::io(format!("keeping what was applied in {}", self.home.display()), error)
    }
}

fn damaged(path: &Path) -> Fault {
    Fault::failed(format!("{} is damaged", path.display()))
}

/// Every field ends with a zero byte, which is in no path.
fn put_fields<'a>(text: &mut Vec<u8>, fields: impl Iterator<Item = &'a [u8]>) {
    for it in fields {
        text.extend_from_slice(it);
        text.push(0);
    }
}

fn fields(text: &[u8]) -> Vec<&[u8]> {
    let mut fields: Vec<&[u8]> = text.split(|it| *it == 0).collect();
    fields.pop();
    fields
}

fn seen(text: &[u8]) -> Option<Seen> {
    std::str::from_utf8(text).ok().and_then(Seen::from_text)
}

fn flag(set: bool) -> &'static [u8] {
    if set { b"foreign" } else { b"" }
}

fn from_flag(text: &[u8]) -> Option<bool> {
    match text {
        b"" => Some(false),
        b"foreign" => Some(true),
        _ => None,
    }
}
