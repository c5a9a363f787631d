//! Reads one profile: whole, or every flaw with its place.

use std::path::PathBuf;

use super::{Asks, Placed, Profile, Root};
use crate::{
    base::limits::{AGENT_FILE_BYTES_MAX, AGENT_FILES_MAX, AGENT_WORD_BYTES_MAX, AGENT_WORDS_MAX},
    config::{
        environment,
        load::{string, wanted},
        source::{self, Flaw, Item, Name, Node, Source, Table},
    },
    model::host,
};

const KEYS: &[&str] = &[
    "title",
    "programs",
    "keys",
    "hosts",
    "args",
    "unless",
    "env",
    "asking_env",
    "asks",
    "why",
    "tried",
    "modes",
    "asking",
    "file",
];
const FILE_KEYS: &[&str] = &["path", "text"];
/// What begins every path of a file; nothing of a sandbox is written elsewhere.
const ROOTS: [(&str, Root); 2] = [("/etc/", Root::Etc), ("~/", Root::Home)];
/// Directories below that, and a file.
const PATH_PARTS_MAX: usize = 6;

/// Reads a profile called `name`; `file` is what flaws call it.
pub fn profile(file: &str, name: &str, text: &str) -> Result<Profile, Vec<Flaw>> {
    let mut source = Source::new(file, text);
    let mut profile = Profile {
        name: name.to_owned(),
        title: name.to_owned(),
        programs: vec![name.to_owned()],
        keys: Vec::new(),
        hosts: Vec::new(),
        args: Vec::new(),
        unless: Vec::new(),
        env: Vec::new(),
        asking_env: Vec::new(),
        asks: Asks::None,
        why: String::new(),
        tried: None,
        modes: Vec::new(),
        asking: Vec::new(),
        files: Vec::new(),
    };
    let mut how = None;
    for (name, item) in source.parse().unwrap_or_default().0 {
        source.reads(name.text.as_str());
        let (source, item) = (&mut source, &item);
        match name.text.as_str() {
            "title" => profile.title = word(source, item).unwrap_or_default(),
            "programs" => {
                let fits = |it: &str| !it.contains('/') && !it.starts_with('-');
                profile.programs = words(source, item, "the name of a program has no `/`", fits);
                if profile.programs.is_empty() {
                    source.flaw(item.span.clone(), "an agent has at least one program");
                }
            }
            "keys" => {
                let words_ = "this is not the name of a variable, like API_KEY";
                profile.keys = words(source, item, words_, environment::is_name);
            }
            "hosts" => {
                let words_ = "a host is NAME, *.NAME or an address, and may have :PORT behind it";
                profile.hosts = words(source, item, words_, |it| host::pattern(it).is_some());
            }
            "args" => profile.args = words(source, item, "", |_| true),
            "unless" => profile.unless = words(source, item, "", |_| true),
            "env" => profile.env = pairs(source, item, environment::is_name),
            "asking_env" => profile.asking_env = pairs(source, item, environment::is_name),
            "asks" => how = asks(source, item),
            "why" => profile.why = word(source, item).unwrap_or_default(),
            "tried" => profile.tried = word(source, item),
            "modes" => profile.modes = pairs(source, item, |_| true),
            "asking" => profile.asking = words(source, item, "", |_| true),
            "file" => profile.files = files(source, item),
            _ => source.unknown("in a profile", &name, KEYS.iter().copied()),
        }
    }
    match how {
        Some(how) => profile.asks = how,
        None => source.flaw(0..0, "a profile lacks `asks`: hook, mcp, http or none"),
    }
    if how == Some(Asks::None) && profile.why.is_empty() {
        source.flaw(0..0, "a profile with `asks = \"none\"` says `why`");
    }
    source.finish(profile)
}

fn asks(source: &mut Source<'_>, item: &Item) -> Option<Asks> {
    let text = string(source, item)?;
    let found = Asks::ALL.into_iter().find(|it| it.word() == text);
    if found.is_none() {
        let known = Asks::ALL.map(Asks::word);
        let message = source::unknown("one of hook, mcp, http, none", &text, known);
        source.flaw(item.span.clone(), message);
    }
    found
}

/// One line that can be shown.
fn word(source: &mut Source<'_>, item: &Item) -> Option<String> {
    let text = string(source, item)?;
    if text.is_empty() || text.len() > AGENT_WORD_BYTES_MAX || text.contains(char::is_control) {
        let message =
            format!("{} is 1 to {AGENT_WORD_BYTES_MAX} bytes on one line", source.subject());
        source.flaw(item.span.clone(), message);
        return None;
    }
    Some(text)
}

fn words(
    source: &mut Source<'_>,
    item: &Item,
    otherwise: &str,
    fits: impl Fn(&str) -> bool,
) -> Vec<String> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of strings");
        return Vec::new();
    };
    if too_many(source, item, items.len(), AGENT_WORDS_MAX) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for item in items {
        let Some(text) = word(source, item) else { continue };
        if !fits(&text) {
            source.flaw(item.span.clone(), otherwise);
            continue;
        }
        found.push(text);
    }
    found
}

/// A table of strings.
fn pairs(
    source: &mut Source<'_>,
    item: &Item,
    fits: impl Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let Node::Table(Table(entries)) = &item.node else {
        wanted(source, item, "a table of strings");
        return Vec::new();
    };
    if too_many(source, item, entries.len(), AGENT_WORDS_MAX) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (Name { text: key, span }, item) in entries {
        if !fits(key) || key.len() > AGENT_WORD_BYTES_MAX {
            source.flaw(span.clone(), "this is not the name of a variable, like API_KEY");
        }
        found.extend(word(source, item).map(|it| (key.clone(), it)));
    }
    found
}

fn files(source: &mut Source<'_>, item: &Item) -> Vec<Placed> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of tables, as [[file]] begins one");
        return Vec::new();
    };
    if too_many(source, item, items.len(), AGENT_FILES_MAX) {
        return Vec::new();
    }
    let mut files: Vec<Placed> = Vec::new();
    for item in items {
        let Some(file) = file(source, item) else { continue };
        if files.iter().any(|it| (it.root, &it.path) == (file.root, &file.path)) {
            source.flaw(item.span.clone(), "two files have the same path");
        }
        files.push(file);
    }
    files
}

fn file(source: &mut Source<'_>, item: &Item) -> Option<Placed> {
    let Node::Table(Table(entries)) = &item.node else {
        wanted(source, item, "a table");
        return None;
    };
    let (mut place, mut text) = (None, None);
    for (name, item) in entries {
        source.reads(format!("file.{}", name.text));
        match name.text.as_str() {
            "path" => place = path(source, item),
            "text" => text = string(source, item),
            _ => source.unknown("in a file", name, FILE_KEYS.iter().copied()),
        }
        if text.as_ref().is_some_and(|it| it.len() > AGENT_FILE_BYTES_MAX) {
            source.flaw(item.span.clone(), format!("more than {AGENT_FILE_BYTES_MAX} bytes"));
            return None;
        }
    }
    for lacks in FILE_KEYS.iter().filter(|key| entries.iter().all(|(it, _)| it.text != **key)) {
        source.flaw(item.span.clone(), format!("a file lacks `{lacks}`"));
    }
    let (root, path) = place?;
    Some(Placed { root, path, text: text? })
}

/// A path in a directory below one of the roots: nothing that every program reads lies there, and no part of it leads elsewhere.
fn path(source: &mut Source<'_>, item: &Item) -> Option<(Root, PathBuf)> {
    let text = string(source, item)?;
    let plain = |it: &str| {
        (1..=64).contains(&it.len())
            && !matches!(it, "." | "..")
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-".contains(&it))
    };
    let found = ROOTS.iter().find_map(|(begin, root)| Some((*root, text.strip_prefix(begin)?)));
    if let Some((root, below)) = found {
        let parts: Vec<&str> = below.split('/').collect();
        if (2..=PATH_PARTS_MAX).contains(&parts.len()) && parts.iter().all(|it| plain(it)) {
            return Some((root, parts.iter().collect()));
        }
    }
    let message = "a file is in a directory below /etc or the home of the sandbox, like /etc/agent/settings.json or \
                   ~/.agent/settings.json, of letters, digits, `.`, `_` and `-`";
    source.flaw(item.span.clone(), message);
    None
}

fn too_many(source: &mut Source<'_>, item: &Item, count: usize, most: usize) -> bool {
    if count > most {
        let message = format!("{} has more than {most} entries", source.subject());
        source.flaw(item.span.clone(), message);
    }
    count > most
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = "programs = [\"x\"]\nasks = \"none\"\nwhy = \"it can't\"\n";

    #[test]
    fn what_is_wrong_in_a_profile_is_told_with_its_place() {
        assert_eq!(profile("x.toml", "x", FINE).unwrap().title, "x");
        let long = format!("title = \"{}\"", "x".repeat(AGENT_WORD_BYTES_MAX + 1));
        let many = format!("keys = [{}]", "\"A\",".repeat(AGENT_WORDS_MAX + 1));
        let file = |path: &str| format!("[[file]]\npath = \"{path}\"\ntext = \"\"");
        let place = "in a directory below /etc";
        for (text, line, words) in [
            ("titel = \"x\"", 4, "did you mean `title`"),
            ("title = \"a\\u001bb\"", 4, "on one line"),
            (&long, 4, "on one line"),
            (&many, 4, "more than"),
            ("keys = [\"a-b\"]", 4, "name of a variable"),
            ("hosts = [\"https://x\"]", 4, "a host is"),
            ("[[file]]\npath = \"/etc/x/y\"", 4, "lacks `text`"),
            (&file("/etc/passwd"), 5, place),
            (&file("/etc/../x"), 5, place),
            (&file("/etc/x/../../y"), 5, place),
            (&file("/etc//y"), 5, place),
            (&file("/usr/x/y"), 5, place),
            (&file("etc/x/y"), 5, place),
            (&file("/etc/a/b/c/d/e/f/g"), 5, place),
            (&file("~/x"), 5, place),
            (&file("~/.ssh/../../x"), 5, place),
            (&file("~root/.ssh/x"), 5, place),
        ] {
            let flaws = profile("x.toml", "x", &format!("{FINE}{text}\n")).unwrap_err();
            let found = flaws.iter().any(|it| it.line == line && it.message.contains(words));
            assert!(found, "{text}: {flaws:?}");
        }
        for text in
            ["programs = [\"/bin/x\"]\nasks = \"hook\"", "asks = \"hok\"", "programs = []", "x"]
        {
            assert!(profile("x.toml", "x", text).is_err(), "{text}");
        }
        assert!(profile("x.toml", "x", "asks = \"none\"").is_err());
    }
}
