//! TOML text as values that know where they stand, so that every flaw names file, line and column.

use std::{
    fmt,
    io::Write,
    ops::Range,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use toml::de::{DeTable, DeValue};

use crate::base::fault::{Fault, Outcome};

/// Most flaws told about one file; the rest are counted.
const FLAWS_MAX: usize = 20;

/// Largest configuration file read, in bytes: a hundred times the largest we ship.
pub const FILE_BYTES_MAX: usize = 512 * 1024;

/// One thing wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub file: String,
    /// Both from 1; columns count characters.
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// The first flaw of a file as a fault; the rest are counted.
pub fn fault(flaws: &[Flaw]) -> Fault {
    let first = flaws.first().map_or_else(|| "unknown flaw".to_owned(), ToString::to_string);
    match flaws.len() {
        0 | 1 => Fault::invalid(first),
        count => Fault::invalid(format!("{first} (and {} more)", count - 1)),
    }
}

/// All of them as a fault, each in a line of its own.
pub fn all(flaws: &[Flaw]) -> Fault {
    let flaws: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    Fault::invalid(flaws.join("\n"))
}

/// A value and the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Item {
    pub span: Range<usize>,
    pub node: Node,
}

#[derive(Clone, Debug)]
pub enum Node {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    List(Vec<Item>),
    Table(Table),
    /// A date, or a number out of range.
    Other,
}

impl Node {
    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other => "something else",
        }
    }
}

/// A key of a table and the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Name {
    pub text: String,
    pub span: Range<usize>,
}

/// A table, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Table(pub Vec<(Name, Item)>);

impl Table {
    pub fn get(&self, name: &str) -> Option<&Item> {
        self.0.iter().find(|(it, _)| it.text == name).map(|(_, item)| item)
    }
}

/// The text of a file; `None` when there is none.
pub fn read(path: &Path) -> Outcome<Option<String>> {
    let failed = |error: &std::io::Error| Fault::io(format_args!("read {}", path.display()), error);
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
        Ok(seen) if !seen.is_file() => {
            return Err(Fault::invalid(format!("not a file: {}", path.display())));
        }
        Ok(seen) if seen.len() > FILE_BYTES_MAX as u64 => {
            return Err(Fault::invalid(format!(
                "larger than {FILE_BYTES_MAX} bytes: {}",
                path.display()
            )));
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(|error| failed(&error))
}

/// What a file may say that is written over.
#[derive(Clone, Copy, Debug)]
pub enum Over<'a> {
    Anything,
    /// This alone; `None` = there is no file.
    This(Option<&'a str>),
}

/// Writes a file whole, beside and renamed, so that a full disk leaves it as it was. A new one is for the operator
/// alone. What a link leads to is written, not the link.
pub fn write(path: &Path, over: Over<'_>, text: &str) -> Outcome<()> {
    /// Of one program that writes the same file twice at a time.
    static NTH: AtomicU64 = AtomicU64::new(0);
    let failed =
        |what: &str, error: &std::io::Error| Fault::io(format!("{what} {}", path.display()), error);
    let real = match std::fs::canonicalize(path) {
        Ok(it) => it,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if path.is_symlink() {
                return Err(Fault::failed(format!("{} is a link to nothing", path.display()))
                    .hint("make the file that it is to lead to, or take the link away"));
            }
            path.to_owned()
        }
        Err(error) => return Err(failed("finding", &error)),
    };
    let dir = real.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| failed("making the directory of", &error))?;
    let mode = std::fs::metadata(&real).map_or(0o600, |it| it.permissions().mode() & 0o777);
    let mut beside = real.as_os_str().to_owned();
    let nth = NTH.fetch_add(1, Ordering::Relaxed);
    beside.push(format!(".{}-{nth}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    // What an earlier end left there.
    drop(std::fs::remove_file(&beside));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| failed("writing", &error));
    let moved = written.and_then(|()| {
        if let Over::This(before) = over
            && read(path)?.as_deref() != before
        {
            let words = format!("{} was changed meanwhile", path.display());
            return Err(Fault::failed(words).hint("nothing was written; try again"));
        }
        std::fs::rename(&beside, &real).map_err(|error| failed("writing", &error))
    });
    if moved.is_err() {
        drop(std::fs::remove_file(&beside));
    }
    moved
}

/// A file's text with its name, and the flaws found in it so far.
pub struct Source<'a> {
    name: &'a str,
    text: &'a str,
    flaws: Vec<Flaw>,
    more: usize,
    /// The setting that is being read.
    pub(super) subject: String,
}

impl<'a> Source<'a> {
    pub fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, flaws: Vec::new(), more: 0, subject: String::new() }
    }

    /// Reads the whole text; a syntax error is the one flaw then.
    pub fn parse(&mut self) -> Option<Table> {
        if self.text.len() > FILE_BYTES_MAX {
            self.flaw(0..0, format!("the file is larger than {FILE_BYTES_MAX} bytes"));
            return None;
        }
        match DeTable::parse(self.text) {
            Ok(table) => Some(convert_table(table.get_ref())),
            Err(error) => {
                let first = error.message().lines().next().unwrap_or("not TOML").to_owned();
                self.flaw(error.span().unwrap_or(0..0), first);
                None
            }
        }
    }

    /// Names the setting that is read from now on.
    pub fn reads(&mut self, subject: impl Into<String>) {
        self.subject = subject.into();
    }

    /// The setting that is read, as a flaw names it.
    pub fn subject(&self) -> String {
        format!("`{}`", self.subject)
    }

    /// Line and column.
    fn place(&self, span: &Range<usize>) -> (usize, usize) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        (line, before.rsplit('\n').next().unwrap_or("").chars().count() + 1)
    }

    /// Where a setting has this text, as a flaw says it.
    pub fn place_of(mut self, setting: &str, text: &str) -> Option<String> {
        let whole = self.parse()?;
        let item = whole.get(setting)?;
        let (line, column) = self.place(&item.span);
        let meant = matches!(&item.node, Node::Text(it) if it == text);
        meant.then(|| format!("{}:{line}:{column}", self.name))
    }

    /// Notes a flaw at a place.
    pub fn flaw(&mut self, span: Range<usize>, message: impl Into<String>) {
        if self.flaws.len() >= FLAWS_MAX {
            self.more += 1;
            return;
        }
        let (line, column) = self.place(&span);
        let file = self.name.to_owned();
        self.flaws.push(Flaw { file, line, column, message: message.into() });
    }

    /// Notes a key that nobody knows, with the nearest that somebody does.
    pub fn unknown<'k>(
        &mut self,
        what: &str,
        name: &Name,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        let message = unknown(what, &name.text, known);
        self.flaw(name.span.clone(), message);
    }

    /// The value when there was no flaw, all flaws otherwise.
    pub fn finish<T>(mut self, value: T) -> Result<T, Vec<Flaw>> {
        if self.flaws.is_empty() {
            return Ok(value);
        }
        if let (1.., Some(last)) = (self.more, self.flaws.last_mut()) {
            last.message.push_str(&format!(" (and {} more)", self.more));
        }
        Err(self.flaws)
    }
}

/// Says that a word is unknown and which one may have been meant.
pub fn unknown<'k>(what: &str, word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let word = crate::base::text::visible(&crate::base::text::clip(word, 60));
    match nearest(&word, known) {
        Some(near) => format!("`{word}` is not {what}; did you mean `{near}`?"),
        None => format!("`{word}` is not {what}"),
    }
}

fn convert_table(table: &DeTable<'_>) -> Table {
    let mut entries: Vec<(Name, Item)> = table
        .iter()
        .map(|(name, value)| {
            let name = Name { text: name.get_ref().to_string(), span: name.span() };
            (name, Item { span: value.span(), node: convert(value.get_ref()) })
        })
        .collect();
    entries.sort_by_key(|(name, _)| name.span.start);
    Table(entries)
}

fn convert(value: &DeValue<'_>) -> Node {
    match value {
        DeValue::String(it) => Node::Text(it.to_string()),
        DeValue::Integer(it) => {
            i64::from_str_radix(it.as_str(), it.radix()).map_or(Node::Other, Node::Integer)
        }
        DeValue::Float(it) => it.as_str().parse().map_or(Node::Other, Node::Float),
        DeValue::Boolean(it) => Node::Flag(*it),
        DeValue::Datetime(_) => Node::Other,
        DeValue::Array(items) => Node::List(
            items.iter().map(|it| Item { span: it.span(), node: convert(it.get_ref()) }).collect(),
        ),
        DeValue::Table(it) => Node::Table(convert_table(it)),
    }
}

/// The known word that a mistyped one is nearest to; `None` when none is near enough to be meant.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let most = (word.chars().count() / 2).max(1);
    known
        .into_iter()
        .map(|it| (distance(word, it), it))
        .filter(|(edits, _)| *edits <= most)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, it)| it)
}

/// Edits (insert, delete, replace, swap neighbours) from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(64).collect();
    let to: Vec<char> = to.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, &a) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (col, &b) in to.iter().enumerate() {
            let at = |list: &[usize], index: usize| list.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&above, col) + usize::from(a != b);
            let mut best = replaced.min(at(&above, col + 1) + 1).min(at(&line, col) + 1);
            let swapped =
                row > 0 && col > 0 && from.get(row - 1) == Some(&b) && to.get(col - 1) == Some(&a);
            if swapped {
                best = best.min(at(&before, col - 1) + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flaws_as_a_fault_name_the_first_and_count_the_rest_or_are_all_told() {
        let flaw = |line| Flaw { file: "f".into(), line, column: 2, message: "odd".into() };
        assert_eq!(fault(&[flaw(1)]).message(), "f:1:2: odd");
        assert_eq!(fault(&[flaw(1), flaw(3), flaw(4)]).message(), "f:1:2: odd (and 2 more)");
        assert_eq!(all(&[flaw(1), flaw(3)]).message(), "f:1:2: odd\nf:3:2: odd");
    }
    #[test]
    fn a_file_is_written_where_a_link_leads_and_only_over_what_it_was_taken_for() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("rules.toml"), dir.path().join("link.toml"));
        std::os::unix::fs::symlink("rules.toml", &link).unwrap();
        let refused = write(&link, Over::This(None), "one").unwrap_err();
        assert!(refused.message().contains("a link to nothing"), "{refused}");
        assert!(link.is_symlink() && !file.exists());
        write(&file, Over::This(None), "one").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        write(&link, Over::This(Some("one")), "two").unwrap();
        assert!(link.is_symlink());
        let refused = write(&file, Over::This(Some("one")), "three").unwrap_err();
        assert!(refused.message().contains("changed meanwhile"), "{refused}");
        assert_eq!(read(&file).unwrap().as_deref(), Some("two"));
        write(&file, Over::Anything, "three").unwrap();
        assert_eq!(read(&file).unwrap().as_deref(), Some("three"));
        // Nothing is left beside them.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
