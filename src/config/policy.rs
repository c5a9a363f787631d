//! Reads policy.toml: rules that answer asks, each with the cases that show what it means.

pub mod domain;
pub mod edit;

use std::{ops::Range, path::PathBuf};

use super::{
    load::{string, wanted},
    source::{Flaw, Item, Node, Source, Table},
};
use crate::{
    base::{
        clock::Timestamp,
        limits::{PATH_BYTES_MAX, RULE_WORDS_MAX, RULES_MAX},
    },
    model::{
        ask::{AskKind, Request},
        host,
        rule::is_id,
    },
    policy::{
        http::{METHOD, Requests},
        rules::{Rule, Ruling, Subject, judge},
    },
};

const KEYS: &[&str] = &[
    "id",
    "verdict",
    "command",
    "path",
    "host",
    "methods",
    "tool",
    "why",
    "until",
    "match",
    "not_match",
];
/// Why, where nobody says.
const NO_WHY: &str = "policy.toml";
/// Stands for the workspace in cases.
const WORKSPACE: &str = "/workspace";

/// A rule with what the file says of it besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub rule: Rule,
    /// What it must match, and must not.
    pub good: Vec<String>,
    pub bad: Vec<String>,
    /// The bytes of the text from its first key to its last value.
    span: Range<usize>,
}

/// Reads the rules; `file` is what flaws call it.
pub fn rules(file: &str, text: &str) -> Result<Vec<Rule>, Vec<Flaw>> {
    Ok(entries(file, text)?.into_iter().map(|it| it.rule).collect())
}

/// The same with all that is said of each.
pub fn entries(file: &str, text: &str) -> Result<Vec<Entry>, Vec<Flaw>> {
    Ok(read(file, text, false)?.1)
}

/// Reads the rules for one workspace: which that is stands at the beginning.
pub fn project(file: &str, text: &str) -> Result<(PathBuf, Vec<Entry>), Vec<Flaw>> {
    let (workspace, entries) = read(file, text, true)?;
    Ok((workspace.unwrap_or_default(), entries))
}

fn read(
    file: &str,
    text: &str,
    is_project: bool,
) -> Result<(Option<PathBuf>, Vec<Entry>), Vec<Flaw>> {
    let mut source = Source::new(file, text);
    let keys: &[&str] = if is_project { &["rule", "workspace"] } else { &["rule"] };
    let mut all: Vec<Entry> = Vec::new();
    let mut workspace = None;
    for (name, item) in source.parse().unwrap_or_default().0 {
        source.reads(name.text.as_str());
        if name.text == "workspace" && is_project {
            workspace = string(&mut source, &item).map(PathBuf::from);
            continue;
        }
        let Node::List(items) = &item.node else {
            match name.text.as_str() {
                "rule" => wanted(&mut source, &item, "a list of tables, as [[rule]] begins one"),
                _ => source.unknown("in a policy", &name, keys.iter().copied()),
            }
            continue;
        };
        if name.text != "rule" {
            source.unknown("in a policy", &name, keys.iter().copied());
            continue;
        }
        if items.len() > RULES_MAX {
            source.flaw(item.span.clone(), format!("more than {RULES_MAX} rules"));
        }
        for item in items.iter().take(RULES_MAX) {
            let Some(entry) = entry(&mut source, item) else { continue };
            if all.iter().any(|it| it.rule.id == entry.rule.id) {
                source.flaw(item.span.clone(), format!("two rules are called `{}`", entry.rule.id));
            }
            all.push(entry);
        }
    }
    if is_project && workspace.is_none() {
        source.flaw(0..0, "it lacks `workspace`, the directory that its rules are for");
    }
    source.finish((workspace, all))
}

/// One rule, when nothing in it is wrong.
fn entry(source: &mut Source<'_>, item: &Item) -> Option<Entry> {
    let Node::Table(table) = &item.node else {
        wanted(source, item, "a table");
        return None;
    };
    let Table(entries) = table;
    let (mut id, mut ruling, mut why, mut until) = (None, None, None, None);
    let (mut subjects, mut good, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    let of_host = table.get("host").is_some();
    let mut requests = Requests { methods: Vec::new(), path: None };
    for (name, item) in entries {
        source.reads(format!("rule.{}", name.text));
        match name.text.as_str() {
            "id" => id = word(source, item),
            "verdict" => ruling = verdict(source, item),
            "command" => subjects.extend(command(source, item)),
            "path" if of_host => requests.path = request_path(source, item),
            "path" => subjects.extend(path(source, item)),
            "methods" => requests.methods = methods(source, item),
            "host" => subjects.extend(host(source, item)),
            "tool" => subjects.extend(tool(source, item)),
            "why" => why = string(source, item),
            "until" => until = time(source, item),
            "match" => good = cases(source, item),
            "not_match" => bad = cases(source, item),
            _ => source.unknown("in a rule", name, KEYS.iter().copied()),
        }
    }
    let mut lacks = |what: &str| source.flaw(item.span.clone(), format!("a rule lacks {what}"));
    if table.get("id").is_none() {
        lacks("`id`, a word to name it by");
    }
    if table.get("verdict").is_none() {
        lacks("`verdict`: deny, ask or allow");
    }
    let about = ["command", "path", "host", "tool"];
    let named = about.iter().filter(|it| table.get(it).is_some() && !(of_host && **it == "path"));
    let named = named.count();
    if !of_host && table.get("methods").is_some() {
        lacks("the `host` to which `methods` are asked for");
    }
    match named {
        1 => {}
        0 => lacks("what it is about: `command`, `path`, `host` or `tool`"),
        _ => source.flaw(item.span.clone(), "a rule is about one of command, path, host and tool"),
    }
    let all = requests.methods.is_empty() && requests.path.is_none();
    // One that could not be read makes no wider rule.
    let narrow = table.get("methods").is_some() || of_host && table.get("path").is_some();
    let subject = match subjects.pop()? {
        Subject::Host(..) if narrow && all => return None,
        Subject::Host(name, port) if narrow => Subject::Request(name, port, requests),
        other => other,
    };
    let why = why.unwrap_or_else(|| NO_WHY.to_owned());
    let rule = Rule { id: id?, ruling: ruling?, subject, why, until };
    hold(source, &rule, &good, true);
    hold(source, &rule, &bad, false);
    let from = entries.iter().map(|(name, _)| name.span.start).min()?;
    let to = entries.iter().map(|(_, item)| item.span.end).max()?;
    let texts = |it: Vec<(String, Item)>| it.into_iter().map(|it| it.0).collect();
    Some(Entry { rule, good: texts(good), bad: texts(bad), span: from..to })
}

/// Every case must come out as the rule says.
fn hold(source: &mut Source<'_>, rule: &Rule, cases: &[(String, Item)], wanted: bool) {
    let kind = match rule.subject {
        Subject::Command(_) => AskKind::Exec,
        Subject::Path(_) => AskKind::File,
        Subject::Host(..) | Subject::Request(..) => AskKind::Network,
        Subject::Tool(_) => AskKind::Tool,
    };
    let lasting = [Rule { until: None, ..rule.clone() }];
    for (case, item) in cases {
        let (mut subject, mut details) = (case.clone(), Vec::new());
        if let (Subject::Request(..), Some((method, place))) = (&rule.subject, case.split_once(' '))
        {
            details.push((METHOD.to_owned(), method.to_owned()));
            place.clone_into(&mut subject);
        }
        let request = Request { kind, subject, details, reason: None, agent: None };
        let fits = !judge(&lasting, &request, WORKSPACE.as_ref(), Timestamp(0)).by.is_empty();
        if fits != wanted {
            let does = if fits { "matches" } else { "does not match" };
            let message = format!("rule `{}` {does} its own case: {case}", rule.id);
            source.flaw(item.span.clone(), crate::base::text::visible(&message));
        }
    }
}

fn word(source: &mut Source<'_>, item: &Item) -> Option<String> {
    let text = string(source, item)?;
    if is_id(&text) {
        return Some(text);
    }
    source.flaw(item.span.clone(), "an id is 1 to 40 letters, digits, `-` or `_`");
    None
}

fn verdict(source: &mut Source<'_>, item: &Item) -> Option<Ruling> {
    let text = string(source, item)?;
    let found = Ruling::from_word(&text);
    if found.is_none() {
        source.flaw(item.span.clone(), "a verdict is deny, ask or allow");
    }
    found
}

/// `["git", ["push", "fetch"]]`: first words of a command, some with several that may stand there.
fn command(source: &mut Source<'_>, item: &Item) -> Option<Subject> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of words");
        return None;
    };
    let mut words = Vec::new();
    for item in items {
        let may = match &item.node {
            Node::Text(text) => vec![text.clone()],
            Node::List(all) => all.iter().filter_map(|it| string(source, it)).collect(),
            _ => {
                wanted(source, item, "a word or a list of words");
                return None;
            }
        };
        if may.is_empty() || may.iter().any(|it| it.is_empty() || it.contains(char::is_whitespace))
        {
            source.flaw(item.span.clone(), "each word of a command is one without spaces");
            return None;
        }
        words.push(may);
    }
    if words.len() > RULE_WORDS_MAX || words.iter().any(|it| it.len() > RULE_WORDS_MAX) {
        let words = format!("more than {RULE_WORDS_MAX} words");
        source.flaw(item.span.clone(), words);
        return None;
    }
    if words.is_empty() {
        source.flaw(
            item.span.clone(),
            "a command has at least one word: all commands are not one rule",
        );
        return None;
    }
    Some(Subject::Command(words))
}

/// A path as paths are compared: what could match nothing, or something else than it seems, is a flaw.
fn path(source: &mut Source<'_>, item: &Item) -> Option<Subject> {
    let text = string(source, item)?;
    let parts: Vec<&str> = text.split('/').filter(|it| !matches!(*it, "" | ".")).collect();
    let is_choice =
        |it: &str| it.split_once('{').is_some_and(|(_, it)| it.contains(',') && it.contains('}'));
    let flaw = if text.trim() != text || text.contains(char::is_control) {
        "a path has no blanks around it and no control characters"
    } else if text.starts_with(['~', '$']) {
        "`~` and `$` mean nothing here: a path is of the workspace, or begins with `/`"
    } else if parts.is_empty() {
        "a path names something in the workspace, or begins with `/` and names something"
    } else if parts.contains(&"..") {
        "paths are compared without `..`, so none matches this"
    } else if parts.iter().any(|it| it.contains("**") && *it != "**") {
        "`**` stands alone between two `/`; within a name it is `*`"
    } else if text.ends_with('/') {
        "no file's path ends with `/`; with `/**` it is all that lies in there"
    } else if parts.iter().any(|it| is_choice(it)) {
        "`{` and `,` mean nothing here: it is one rule for each of them"
    } else if text.len() > PATH_BYTES_MAX {
        "it is longer than a path may be"
    } else {
        let root = if text.starts_with('/') { "/" } else { "" };
        return Some(Subject::Path(format!("{root}{}", parts.join("/"))));
    };
    source.flaw(item.span.clone(), flaw);
    None
}

/// `["GET", "HEAD"]`: what requests do.
fn methods(source: &mut Source<'_>, item: &Item) -> Vec<String> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of methods, like [\"GET\"]");
        return Vec::new();
    };
    if items.is_empty() || items.len() > RULE_WORDS_MAX {
        let words = format!("at least one method, and at most {RULE_WORDS_MAX}");
        source.flaw(item.span.clone(), words);
        return Vec::new();
    }
    let mut methods = Vec::new();
    for item in items {
        let Some(text) = string(source, item) else { return Vec::new() };
        if text.is_empty() || !text.bytes().all(|it| it.is_ascii_uppercase() || it == b'-') {
            source.flaw(item.span.clone(), "a method is in capital letters, like GET");
            return Vec::new();
        }
        methods.push(text);
    }
    methods
}

/// A path of requests, as they are compared.
fn request_path(source: &mut Source<'_>, item: &Item) -> Option<String> {
    let text = string(source, item)?;
    let mut parts = text.split('/').skip(1);
    let flaw = if !text.starts_with('/') || text.contains(char::is_whitespace) {
        "the path of a request begins with `/` and has no blanks"
    } else if text.contains(['%', '#', '\\', ';']) {
        "a path is compared as it reads: without `%`, `#`, `;` and what comes after `?`"
    } else if parts.clone().any(|it| matches!(it, "." | "..")) {
        "paths are compared without `..`, so none matches this"
    } else if parts.any(|it| it.contains("**") && it != "**") {
        "`**` stands alone between two `/`; within a part it is `*`"
    } else if text.len() > PATH_BYTES_MAX {
        "it is longer than a path may be"
    } else {
        return Some(text);
    };
    source.flaw(item.span.clone(), flaw);
    None
}

fn tool(source: &mut Source<'_>, item: &Item) -> Option<Subject> {
    let text = string(source, item)?;
    let name = text.strip_suffix('*').unwrap_or(&text);
    if text.is_empty() || name.contains('*') || text.trim() != text {
        source.flaw(item.span.clone(), "a tool is a name, or how names begin with `*` behind it");
        return None;
    }
    Some(Subject::Tool(text))
}

/// A host as hosts are compared.
fn host(source: &mut Source<'_>, item: &Item) -> Option<Subject> {
    let text = string(source, item)?;
    let Some((name, port)) = host::pattern(&text) else {
        let words =
            "a host is NAME, *.NAME, four numbers or [ADDRESS], and may have :PORT behind it";
        source.flaw(item.span.clone(), words);
        return None;
    };
    Some(Subject::Host(name, port))
}

fn time(source: &mut Source<'_>, item: &Item) -> Option<Timestamp> {
    let text = string(source, item)?;
    let time = Timestamp::from_rfc3339(&text);
    if time.is_none() {
        source.flaw(item.span.clone(), "a time is as in \"2026-11-20T13:00:00Z\"");
    }
    time
}

fn cases(source: &mut Source<'_>, item: &Item) -> Vec<(String, Item)> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of strings");
        return Vec::new();
    };
    items.iter().filter_map(|it| Some((string(source, it)?, it.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_whole_and_its_cases_hold() {
        let text = r#"
            [[rule]]
            id = "tests"
            verdict = "allow"
            command = ["cargo", ["test", "check"]]
            why = "harmless"
            until = "2030-01-01T00:00:00Z"
            match = ["cargo test -p x", "cargo check && cargo test"]
            not_match = ["cargo run", "cargo test > /etc/x", "cargo test; rm x"]
            [[rule]]
            id = "keys"
            verdict = "deny"
            path = "**/*.pem"
            match = ["a/b.pem"]
            [[rule]]
            id = "index"
            verdict = "allow"
            host = "*.pypi.example:443"
            match = ["files.pypi.example:443"]
            not_match = ["pypi.example:443", "files.pypi.example:80"]
            [[rule]]
            id = "read"
            verdict = "allow"
            host = "api.example:80"
            methods = ["GET", "HEAD"]
            path = "/v1/**"
            match = ["GET http://api.example/v1/models", "HEAD http://api.example/v1/x?y=/z"]
            not_match = [
                "POST http://api.example/v1/models", "GET http://api.example/v2",
                "GET http://api.example/v1/../v2", "api.example:80",
            ]
        "#;
        let rules = rules("policy.toml", text).unwrap();
        assert_eq!(
            rules.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
            ["tests", "keys", "index", "read"]
        );
        assert!(matches!(&rules[3].subject, Subject::Request(..)));
        assert_eq!(rules[0].until.map(Timestamp::rfc3339).unwrap(), "2030-01-01T00:00:00.000Z");
    }

    #[test]
    fn what_is_wrong_in_a_policy_is_told_with_its_place() {
        for (text, words) in [
            ("rule = 1", "1:8"),
            ("[[rules]]\nid = \"x\"", "did you mean `rule`"),
            ("[[rule]]\nid = \"x\"\nverdict = \"allow\"", "what it is about"),
            ("[[rule]]\nverdict = \"allow\"\ntool = \"x\"", "lacks `id`"),
            ("[[rule]]\nid = \"x\"\nverdict = \"maybe\"\ntool = \"x\"", "3:11"),
            ("[[rule]]\nid = \"x\"\nverdict = \"deny\"\ncommand = []", "at least one word"),
            ("[[rule]]\nid = \"x\"\nverdict = \"deny\"\ncommand = [\"a b\"]", "without spaces"),
            (
                "[[rule]]\nid = \"x\"\nverdict = \"deny\"\ntool = \"x\"\npath = \"y\"",
                "about one of",
            ),
            ("[[rule]]\nid = \"x\"\nverdict = \"deny\"\nhost = \"a:b\"", "a host is"),
            (
                "[[rule]]\nid = \"x\"\nverdict = \"allow\"\ncommand = [\"ls\"]\nmatch = [\"rm\"]",
                "does not match its own case: rm",
            ),
            (
                "[[rule]]\nid = \"x\"\nverdict = \"allow\"\ncommand = [\"ls\"]\nnot_match = [\"ls\"]",
                "matches its own case",
            ),
        ] {
            let flaws = rules("policy.toml", text).unwrap_err();
            let told: Vec<String> = flaws.iter().map(ToString::to_string).collect();
            assert!(told.iter().any(|it| it.contains(words)), "{text}: {told:?}");
        }
    }

    #[test]
    fn what_a_rule_is_about_is_kept_as_it_is_compared() {
        for (about, case) in [
            ("path = \"./secrets/**\"", "secrets/a/b"),
            ("path = \"a//b/./c\"", "./a/b/c"),
            ("path = \"//etc/**\"", "/etc/passwd"),
            ("host = \"Evil.Example.\"", "https://evil.example/"),
            ("host = \"*.evil.example.:443\"", "a.evil.example:443"),
            ("host = \"[2001:DB8::0001]:443\"", "https://[2001:db8::1]/"),
            ("host = \"[::ffff:127.0.0.1]\"", "127.0.0.1:80"),
            ("host = \"10.0.0.1\"", "http://10.0.0.1:8080/"),
            ("tool = \"WebFetch\"", "WebFetch"),
            ("command = [\"/usr/bin/git\", \"push\"]", "git -C x push"),
        ] {
            let text =
                format!("[[rule]]\nid = \"x\"\nverdict = \"deny\"\n{about}\nmatch = [\"{case}\"]");
            assert_eq!(rules("policy.toml", &text).map(|it| it.len()), Ok(1), "{about}");
        }
    }

    #[test]
    fn a_rule_that_could_never_match_is_a_flaw_with_its_place() {
        let long = format!("command = [{}]", "\"a\",".repeat(RULE_WORDS_MAX + 1));
        for about in [
            "path = \"~/.ssh/**\"",
            "path = \"$HOME/x\"",
            "path = \"../x\"",
            "path = \"a/../b\"",
            "path = \"secrets/\"",
            "path = \"src/**.rs\"",
            "path = \"*.{pem,key}\"",
            "path = \".\"",
            "path = \"\"",
            "path = \" a\"",
            "host = \"\"",
            "host = \".evil.example\"",
            "host = \"evil..example\"",
            "host = \"https://evil.example\"",
            "host = \"evil.example:+80\"",
            "host = \"0x7f.1\"",
            "host = \"127.1\"",
            "host = \"*.10.0.0.1\"",
            "host = \"[::1\"",
            "host = \"*\"",
            "methods = [\"get\"]\nhost = \"a.example\"",
            "path = \"v1\"\nhost = \"a.example\"",
            "path = \"/v1/../x\"\nhost = \"a.example\"",
            "path = \"/%76\"\nhost = \"a.example\"",
            "tool = \"\"",
            "tool = \"mcp__*__x\"",
            "tool = \" x\"",
            &long,
        ] {
            let text = format!("[[rule]]\nid = \"x\"\nverdict = \"deny\"\n{about}");
            let flaws = rules("policy.toml", &text).unwrap_err();
            assert!(flaws.iter().all(|it| it.line == 4 && it.column > 7), "{about}: {flaws:?}");
        }
    }
}
