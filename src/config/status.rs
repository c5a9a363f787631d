//! Rules about screens: what is to be read off the terminal of a program that tells its status in no other way. They are
//! data, in `assets/status` and in the operator's `status/`, because every release of an agent may draw itself anew.

use std::path::{Path, PathBuf};

use regex::{Error, Regex, RegexBuilder};

use super::{
    load::{is_plain_name, string, wanted},
    source::{self, Flaw, Item, Node, Source, Table},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{
            SCREEN_PATTERN_BYTES_MAX, SCREEN_ROWS_READ_MAX, SCREEN_RULE_FILES_MAX, SCREEN_RULES_MAX,
        },
        text,
    },
    model::session::Status,
};

/// The files that are built in. What counts for every program comes last.
const BUILT_IN: &[(&str, &str)] = &[
    ("claude", include_str!("../../assets/status/claude.toml")),
    ("codex", include_str!("../../assets/status/codex.toml")),
    ("gemini", include_str!("../../assets/status/gemini.toml")),
    ("opencode", include_str!("../../assets/status/opencode.toml")),
    ("aider", include_str!("../../assets/status/aider.toml")),
    ("any", include_str!("../../assets/status/any.toml")),
];
/// The directory of the operator's own, in that of the configuration. Its files have plain names.
pub const DIRECTORY: &str = "status";
/// The form of these files; raised when an older program could not read them rightly.
const VERSION: i64 = 1;
const NAMED: &str = "the name of a file of screen rules is 1 to 40 letters, digits, `-` or `_`";
/// In `programs`: whatever runs.
pub const ANY: &str = "*";
const KEYS: &[&str] = &["version", "programs", "rule"];
const RULE_KEYS: &[&str] = &["says", "match", "unless", "rows", "words"];
/// Rows that are looked at where a rule does not say.
const ROWS: u16 = 12;
/// What a pattern becomes may take this much, in bytes.
const PATTERN_MEMORY_MAX: usize = 1 << 20;

/// One rule.
#[derive(Clone, Debug)]
pub struct ScreenRule {
    /// One of working, waiting, idle and stuck.
    pub says: Status,
    /// One of the rows has to match it. It is of a kind that costs time by the length of a row alone.
    pub pattern: Regex,
    /// None of them may match it; `None` = there is none.
    pub unless: Option<Regex>,
    /// The last rows with text on them, this many.
    pub rows: u16,
    /// What a person is told.
    pub words: String,
}

/// The rules of one file, in its order: the first that fits counts.
#[derive(Clone, Debug)]
pub struct ScreenRules {
    /// The name of the file.
    pub name: String,
    /// Names of programs, or `*`.
    pub programs: Vec<String>,
    pub rules: Vec<ScreenRule>,
}

/// Those that are built in. That all of them can be read is for a test to see.
pub fn built_in() -> Vec<ScreenRules> {
    let read = |(name, text): &(&str, &str)| rules(&format!("{name}.toml (built in)"), name, text);
    BUILT_IN.iter().filter_map(|it| read(it).ok()).collect()
}

/// With those of a configuration directory, which come first: a file of the same name takes the place of a built-in one. A
/// flaw is a fault that names file, line and column.
pub fn of(config: &Path) -> Outcome<Vec<ScreenRules>> {
    let mut own = Vec::new();
    for (name, path) in files(&config.join(DIRECTORY))? {
        let Some(text) = source::read(&path)? else { continue };
        let file = text::visible(&path.display().to_string());
        own.push(rules(&file, &name, &text).map_err(|flaws| fault(&flaws))?);
    }
    let others = built_in();
    let is_own = |it: &ScreenRules| own.iter().any(|mine: &ScreenRules| mine.name == it.name);
    let others: Vec<_> = others.into_iter().filter(|it| !is_own(it)).collect();
    own.extend(others);
    Ok(own)
}

/// What is wrong with a file of the operator's, as a new sandbox would find it.
pub fn check(path: &Path, text: &str) -> Result<(), Vec<Flaw>> {
    let file = text::visible(&path.display().to_string());
    let name = path.file_stem().and_then(|it| it.to_str()).filter(|it| is_plain_name(it));
    let Some(name) = name else {
        return Err(vec![Flaw { file, line: 1, column: 1, message: NAMED.to_owned() }]);
    };
    rules(&file, name, text).map(drop)
}

fn files(directory: &Path) -> Outcome<Vec<(String, PathBuf)>> {
    let shown = || text::visible(&directory.display().to_string());
    let failed = |error: &std::io::Error| Fault::io(format!("reading {}", shown()), error);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(&error))?;
        let file = entry.file_name();
        let Some(name) = file.to_str().and_then(|it| it.strip_suffix(".toml")) else { continue };
        if !is_plain_name(name) {
            let name = text::visible(&text::clip(name, 60));
            return Err(Fault::invalid(format!("{}/{name}.toml: {NAMED}", shown())));
        }
        found.push((name.to_owned(), entry.path()));
        if found.len() > SCREEN_RULE_FILES_MAX {
            let words = format!("more than {SCREEN_RULE_FILES_MAX} files of screen rules");
            return Err(Fault::invalid(format!("{}: {words}", shown())));
        }
    }
    found.sort();
    Ok(found)
}

fn fault(flaws: &[Flaw]) -> Fault {
    let first = flaws.first().map_or_else(|| "unknown flaw".to_owned(), ToString::to_string);
    match flaws.len() {
        0 | 1 => Fault::invalid(first),
        count => Fault::invalid(format!("{first} (and {} more)", count - 1)),
    }
}

/// Reads one file; `file` is what flaws call it.
fn rules(file: &str, name: &str, text: &str) -> Result<ScreenRules, Vec<Flaw>> {
    let mut source = Source::new(file, text);
    let mut read =
        ScreenRules { name: name.to_owned(), programs: vec![name.to_owned()], rules: Vec::new() };
    let mut version = None;
    for (key, item) in source.parse().unwrap_or_default().0 {
        source.reads(key.text.as_str());
        let (source, item) = (&mut source, &item);
        match key.text.as_str() {
            "version" => {
                version = Some(());
                if !matches!(item.node, Node::Integer(VERSION)) {
                    let message =
                        format!("this version of sandwatch reads files of version {VERSION}");
                    source.flaw(item.span.clone(), message);
                }
            }
            "programs" => read.programs = programs(source, item),
            "rule" => read.rules = list(source, item),
            _ => source.unknown("in a file of screen rules", &key, KEYS.iter().copied()),
        }
    }
    if version.is_none() {
        source.flaw(0..0, format!("a file of screen rules begins with `version = {VERSION}`"));
    }
    source.finish(read)
}

fn programs(source: &mut Source<'_>, item: &Item) -> Vec<String> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of strings");
        return Vec::new();
    };
    let mut out = Vec::new();
    for item in items.iter().take(SCREEN_RULES_MAX) {
        let Some(name) = string(source, item) else { continue };
        if name.is_empty() || name.contains('/') {
            source.flaw(item.span.clone(), "the name of a program has no `/`");
            continue;
        }
        out.push(name);
    }
    out
}

fn list(source: &mut Source<'_>, item: &Item) -> Vec<ScreenRule> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of tables: [[rule]]");
        return Vec::new();
    };
    if items.len() > SCREEN_RULES_MAX {
        source.flaw(item.span.clone(), format!("at most {SCREEN_RULES_MAX} rules"));
        return Vec::new();
    }
    items.iter().filter_map(|it| rule(source, it)).collect()
}

fn rule(source: &mut Source<'_>, whole: &Item) -> Option<ScreenRule> {
    let Node::Table(Table(entries)) = &whole.node else {
        wanted(source, whole, "a table");
        return None;
    };
    let (mut says, mut pattern, mut unless, mut words) = (None, None, None, None);
    let mut rows = ROWS;
    for (key, item) in entries {
        source.reads(key.text.as_str());
        match key.text.as_str() {
            "says" => says = status(source, item),
            "match" => pattern = compiled(source, item),
            "unless" => unless = compiled(source, item),
            "words" => words = bounded(source, item),
            "rows" => match item.node {
                Node::Integer(it) if (1..=i64::from(SCREEN_ROWS_READ_MAX)).contains(&it) => {
                    rows = u16::try_from(it).unwrap_or(ROWS);
                }
                _ => {
                    let message = format!("rows are 1 to {SCREEN_ROWS_READ_MAX}");
                    source.flaw(item.span.clone(), message);
                }
            },
            _ => source.unknown("in a rule", key, RULE_KEYS.iter().copied()),
        }
    }
    let has = |key: &str| entries.iter().any(|it| it.0.text == key);
    if let Some(lacks) = ["says", "match", "words"].into_iter().find(|it| !has(it)) {
        source.flaw(whole.span.clone(), format!("a rule lacks `{lacks}`"));
        return None;
    }
    // What is there and could not be read is a flaw of its own.
    Some(ScreenRule { says: says?, pattern: pattern?, unless, rows, words: words? })
}

fn compiled(source: &mut Source<'_>, item: &Item) -> Option<Regex> {
    let text = bounded(source, item)?;
    let built = RegexBuilder::new(&text).size_limit(PATTERN_MEMORY_MAX).build();
    let why = match built {
        Ok(pattern) => return Some(pattern),
        Err(Error::CompiledTooBig(_)) => "it would take too much memory".to_owned(),
        // Its picture of where it is wrong comes before.
        Err(error) => {
            let words = error.to_string();
            let last = words.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    };
    source.flaw(item.span.clone(), format!("{} is no pattern: {why}", source.subject()));
    None
}

fn status(source: &mut Source<'_>, item: &Item) -> Option<Status> {
    const FIT: [Status; 4] = [Status::Working, Status::Waiting, Status::Idle, Status::Stuck];
    let text = string(source, item)?;
    let found = FIT.into_iter().find(|it| it.word() == text);
    if found.is_none() {
        let words = "one of working, waiting, idle, stuck";
        source.flaw(item.span.clone(), source::unknown(words, &text, FIT.map(Status::word)));
    }
    found
}

fn bounded(source: &mut Source<'_>, item: &Item) -> Option<String> {
    let text = string(source, item)?;
    if text.is_empty() || text.len() > SCREEN_PATTERN_BYTES_MAX || text.contains(char::is_control) {
        let message =
            format!("{} is 1 to {SCREEN_PATTERN_BYTES_MAX} bytes on one line", source.subject());
        source.flaw(item.span.clone(), message);
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_file_is_read() {
        for (name, text) in BUILT_IN {
            let read = rules(name, name, text).unwrap_or_else(|flaws| panic!("{flaws:?}"));
            assert!(!read.rules.is_empty() && !read.programs.is_empty(), "{name}");
        }
        assert_eq!(built_in().last().unwrap().programs, [ANY]);
    }

    #[test]
    fn an_own_file_takes_the_place_of_a_built_in_one_and_a_flaw_has_its_place() {
        let config = tempfile::tempdir().unwrap();
        let own = config.path().join(DIRECTORY);
        std::fs::create_dir(&own).unwrap();
        let mine =
            "version = 1\n[[rule]]\nsays = \"waiting\"\nmatch = 'Sure\\?'\nwords = \"it asks\"\n";
        std::fs::write(own.join("claude.toml"), mine).unwrap();
        std::fs::write(
            own.join("mine.toml"),
            mine.replace("version = 1", "version = 1\nprograms = [\"x\", \"y\"]"),
        )
        .unwrap();
        let all = of(config.path()).unwrap();
        let of_claude: Vec<_> = all.iter().filter(|it| it.name == "claude").collect();
        assert_eq!(of_claude.len(), 1);
        assert_eq!(of_claude[0].rules[0].rows, ROWS);
        assert_eq!(all[1].programs, ["x", "y"]);
        for (bad, says) in [
            (mine.replace("says", "sais"), "3:1: `sais` is not"),
            (mine.replace("version = 1", "version = 2"), "1:11: this version"),
            (mine.replace("version = 1\n", ""), "begins with `version"),
            (mine.replace("waiting", "exited"), "3:8: `exited`"),
            (mine.replace("words = \"it asks\"\n", ""), "lacks `words`"),
            (format!("{mine}rows = 1000\n"), "rows are 1 to"),
            (mine.replace("Sure", "(Sure"), "4:9: `match` is no pattern: unclosed group"),
            (format!("{mine}unless = '(a{{1000}}){{1000}}'\n"), "6:10: `unless` is no pattern"),
        ] {
            std::fs::write(own.join("bad.toml"), bad).unwrap();
            let fault = of(config.path()).unwrap_err();
            assert!(fault.message().contains(says), "{fault}");
            // What could not be read is not said to be missing, too.
            let one = says.contains("`sais`") || !fault.message().contains(" more)");
            assert!(one, "{fault}");
        }
    }
}
