//! Rules that answer asks without a person: deny before ask before allow, and what no rule knows is asked.

use std::path::{Component, Path, PathBuf};

use super::shell::{self, base, named};
use crate::{
    base::clock::Timestamp,
    model::{
        ask::{AskKind, Request},
        sandbox::words,
    },
};

words! {
    /// What a rule says, the strictest first.
    Ruling {
        Deny = "deny",
        Ask = "ask",
        Allow = "allow",
    }
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// First words of a command; for each place those that it may have.
    Command(Vec<Vec<String>>),
    /// A path in the workspace, or an absolute one: `*` and `?` within a name, `**` for any number of directories.
    Path(String),
    /// A host, `*.` in front for all below it, and a port or `None` for all.
    Host(String, Option<u16>),
    /// The name of a tool, `*` at its end for all that begin so.
    Tool(String),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A word to name it by.
    pub id: String,
    pub ruling: Ruling,
    pub subject: Subject,
    /// For people, and for the agent when it is denied.
    pub why: String,
    /// It holds until then; `None` = for good.
    pub until: Option<Timestamp>,
}

/// What the rules say of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub ruling: Ruling,
    /// Whose word it is, in the order of the rules; none = no rule knows it, or not all of it.
    pub by: Vec<Rule>,
    /// Why it is so, for a person.
    pub because: String,
}

/// What the rules say of a request of a sandbox with this workspace.
pub fn judge(rules: &[Rule], request: &Request, workspace: &Path, now: Timestamp) -> Outcome {
    let rules: Vec<&Rule> = rules.iter().filter(|it| it.until.is_none_or(|it| now < it)).collect();
    match request.kind {
        AskKind::Exec => command(&rules, &request.subject),
        AskKind::File => {
            let cwd = request.details.iter().find(|(key, _)| key == "cwd");
            let cwd = cwd.map_or(workspace, |(_, value)| Path::new(value));
            let path = plain(&workspace.join(cwd).join(&request.subject));
            one(&rules, |it| matches!(it, Subject::Path(glob) if path_fits(glob, &path, workspace)))
        }
        AskKind::Network => {
            let (host, port) = host_and_port(&request.subject);
            one(&rules, |it| {
                matches!(it, Subject::Host(name, of)
                    if host_fits(name, &host) && of.is_none_or(|of| Some(of) == port))
            })
        }
        AskKind::Tool => {
            let fits = |name: &str| match name.strip_suffix('*') {
                Some(start) => request.subject.starts_with(start),
                None => request.subject == name,
            };
            one(&rules, |it| matches!(it, Subject::Tool(name) if fits(name)))
        }
        // Nobody decides these beforehand.
        AskKind::Credential | AskKind::Grant | AskKind::Question => unknown("no rule is about it"),
    }
}

fn unknown(because: &str) -> Outcome {
    Outcome { ruling: Ruling::Ask, by: Vec::new(), because: because.to_owned() }
}

fn said(rule: &Rule) -> Outcome {
    let because = format!("rule {}: {}", rule.id, rule.why);
    Outcome { ruling: rule.ruling, by: vec![rule.clone()], because }
}

/// The strictest of the rules that fit.
fn one(rules: &[&Rule], fits: impl Fn(&Subject) -> bool) -> Outcome {
    let fitting = rules.iter().filter(|it| fits(&it.subject));
    fitting.min_by_key(|it| it.ruling).map_or_else(|| unknown("no rule knows it"), |it| said(it))
}

/// Every command of a line must be allowed, and one that is denied denies all of it.
fn command(rules: &[&Rule], line: &str) -> Outcome {
    let line_read = shell::read(line);
    let begins = |it: &Rule, words: &[String]| matches!(&it.subject, Subject::Command(prefix) if starts_with(words, prefix));
    let meets = |it: &Rule, words: &[String]| matches!(&it.subject, Subject::Command(prefix) if meets(words, prefix, true));
    // What forbids looks through everything, at every place where a command could begin.
    let strict = |ruling: Ruling| {
        rules.iter().filter(move |it| it.ruling == ruling).find(|it| {
            line_read.commands.iter().any(|words| {
                (0..words.len()).any(|at| meets(it, words.get(at..).unwrap_or_default()))
            })
        })
    };
    if let Some(rule) = strict(Ruling::Deny).or_else(|| strict(Ruling::Ask)) {
        return said(rule);
    }
    if line_read.open {
        return unknown("what it does is known only when it runs, or it writes to a file");
    }
    let mut by: Vec<Rule> = Vec::new();
    for words in &line_read.commands {
        // What is in `bash -c` is among the commands by itself.
        if runs_its_words(words) {
            continue;
        }
        let (end, otherwise) = shell::in_the_end(words);
        let allowed = rules.iter().find(|it| {
            it.ruling == Ruling::Allow && (begins(it, words) || (!otherwise && begins(it, end)))
        });
        match allowed {
            Some(rule) if by.iter().any(|it| it.id == rule.id) => {}
            Some(rule) => by.push(Rule::clone(rule)),
            None => return unknown(&format!("no rule knows: {}", words.join(" "))),
        }
    }
    let names: Vec<&str> = by.iter().map(|it| it.id.as_str()).collect();
    match by.first() {
        None => unknown("no rule knows it"),
        Some(_) => {
            let because = format!("every command of it by {}", names.join(", "));
            Outcome { ruling: Ruling::Allow, by, because }
        }
    }
}

/// A shell that runs the text behind `-c` and nothing of its own.
fn runs_its_words(words: &[String]) -> bool {
    let [program, flag, _, ..] = words else { return false };
    let shell = named(program).is_some_and(|it| shell::SHELLS.contains(&it));
    shell && matches!(flag.as_str(), "-c" | "-lc")
}

/// Whether a word may stand there.
fn word_fits(word: &str, may: &[String], name: Option<&str>) -> bool {
    may.iter().any(|it| it == word || name == Some(it.as_str()))
}

/// The first words are these and no others. A program may be named with the way to it, if that is the system's.
fn starts_with(words: &[String], prefix: &[Vec<String>]) -> bool {
    let fits = |(at, (word, may)): (usize, (&String, &Vec<String>))| {
        word_fits(word, may, if at == 0 { named(word) } else { None })
    };
    words.len() >= prefix.len() && words.iter().zip(prefix).enumerate().all(fits)
}

/// The same wherever the program lies, and whatever options with or without a value stand between them.
fn meets(words: &[String], prefix: &[Vec<String>], program: bool) -> bool {
    let Some((may, after)) = prefix.split_first() else { return true };
    let Some((word, behind)) = words.split_first() else { return false };
    if word_fits(word, may, program.then(|| base(word))) && meets(behind, after, false) {
        return true;
    }
    !program
        && word.starts_with('-')
        && (meets(behind, prefix, false)
            || meets(behind.get(1..).unwrap_or_default(), prefix, false))
}

/// A path without `.` and `..`, by its text.
pub fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

fn path_fits(glob: &str, path: &Path, workspace: &Path) -> bool {
    let path = if glob.starts_with('/') {
        path
    } else {
        match path.strip_prefix(workspace) {
            Ok(inside) => inside,
            Err(_) => return false,
        }
    };
    let Some(path) = path.to_str() else { return false };
    let split = |it: &str| -> Vec<String> {
        it.split('/').filter(|it| !it.is_empty()).map(str::to_owned).collect()
    };
    way_fits(&split(glob), &split(path))
}

fn way_fits(glob: &[String], path: &[String]) -> bool {
    match (glob.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            (0..=path.len()).any(|at| way_fits(rest, path.get(at..).unwrap_or_default()))
        }
        (Some((first, rest)), Some((name, below))) => {
            let (first, name): (Vec<char>, Vec<char>) =
                (first.chars().collect(), name.chars().collect());
            name_fits(&first, &name) && way_fits(rest, below)
        }
        _ => false,
    }
}

fn name_fits(glob: &[char], name: &[char]) -> bool {
    match (glob.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => {
            (0..=name.len()).any(|at| name_fits(rest, name.get(at..).unwrap_or_default()))
        }
        (Some(('?', rest)), Some((_, behind))) => name_fits(rest, behind),
        (Some((one, rest)), Some((other, behind))) => one == other && name_fits(rest, behind),
        _ => false,
    }
}

fn host_fits(rule: &str, host: &str) -> bool {
    match rule.strip_prefix("*.") {
        Some(above) => host.strip_suffix(above).is_some_and(|it| it.ends_with('.') && it.len() > 1),
        None => rule == host,
    }
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or a URL: the host in small letters, without a last dot, and its port.
pub fn host_and_port(subject: &str) -> (String, Option<u16>) {
    let text = subject.trim();
    let (scheme, rest) = text.split_once("://").map_or((None, text), |(it, rest)| (Some(it), rest));
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // What is before it may look like a host, and is a user.
    let rest = rest.rsplit('@').next().unwrap_or_default();
    let (host, port) = match rest.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':')),
        None => rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let usual = match scheme {
        Some("https" | "wss") => Some(443),
        Some("http" | "ws") => Some(80),
        _ => None,
    };
    let port = port.map_or(usual, |it| it.parse().ok());
    (host.trim_end_matches('.').to_ascii_lowercase(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: &str, ruling: Ruling, subject: Subject) -> Rule {
        Rule { id: id.to_owned(), ruling, subject, why: format!("why {id}"), until: None }
    }

    fn prefix(text: &str) -> Subject {
        let words = text.split(' ');
        Subject::Command(words.map(|it| it.split('|').map(str::to_owned).collect()).collect())
    }

    fn said_of(rules: &[Rule], kind: AskKind, subject: &str) -> (Ruling, Vec<String>) {
        let subject = subject.to_owned();
        let request = Request { kind, subject, details: Vec::new(), reason: None, agent: None };
        let out = judge(rules, &request, Path::new("/w"), Timestamp(1000));
        (out.ruling, out.by.iter().map(|it| it.id.clone()).collect())
    }

    #[test]
    fn a_command_is_allowed_only_when_all_of_it_is_and_denied_when_any_of_it_is() {
        use Ruling::{Allow, Ask, Deny};
        let rules = [
            rule("test", Allow, prefix("cargo test|check")),
            rule("ls", Allow, prefix("ls")),
            rule("git", Allow, prefix("git")),
            rule("push", Deny, prefix("git push")),
            rule("rm", Deny, prefix("rm")),
            rule("commit", Ask, prefix("git commit")),
            rule("old", Allow, prefix("make")),
        ];
        let rules: Vec<Rule> = rules
            .into_iter()
            .map(|it| if it.id == "old" { Rule { until: Some(Timestamp(999)), ..it } } else { it })
            .collect();
        for (line, ruling, by) in [
            ("cargo test --workspace", Allow, &["test"][..]),
            ("cargo check && ls -l", Allow, &["test", "ls"]),
            ("cargo build", Ask, &[]),
            ("cargo testx", Ask, &[]),
            ("ls; rm x", Deny, &["rm"]),
            ("bash -c 'ls && rm x'", Deny, &["rm"]),
            ("bash -lc ls", Allow, &["ls"]),
            ("env A=1 ls", Ask, &[]),
            ("timeout 5 ls", Allow, &["ls"]),
            ("sudo ls", Ask, &[]),
            ("sudo rm x", Deny, &["rm"]),
            ("/usr/bin/ls", Allow, &["ls"]),
            ("git status", Allow, &["git"]),
            ("git push origin", Deny, &["push"]),
            ("git commit -m x", Ask, &["commit"]),
            ("git commit -m push", Ask, &["commit"]),
            ("git -C x --no-pager push", Deny, &["push"]),
            ("git --git-dir=x push", Deny, &["push"]),
            ("git log push", Allow, &["git"]),
            ("ls > /etc/passwd", Ask, &[]),
            ("ls $(cat x)", Ask, &[]),
            ("ls $(rm x)", Deny, &["rm"]),
            ("ls `rm x`", Deny, &["rm"]),
            ("xargs rm", Deny, &["rm"]),
            ("find . -exec rm {} +", Deny, &["rm"]),
            ("./ls", Ask, &[]),
            ("/tmp/x/ls", Ask, &[]),
            ("./timeout 5 ls", Ask, &[]),
            ("./bash -c ls", Ask, &[]),
            ("bash --rcfile x -ic ls", Ask, &[]),
            ("./rm x", Deny, &["rm"]),
            ("if ls; then rm x; fi", Deny, &["rm"]),
            ("make", Ask, &[]),
            ("sh script", Ask, &[]),
            ("", Ask, &[]),
        ] {
            let by: Vec<String> = by.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(said_of(&rules, AskKind::Exec, line), (ruling, by), "{line}");
        }
    }

    #[test]
    fn paths_hosts_and_tools_fit_as_they_read() {
        use Ruling::{Allow, Ask, Deny};
        let rules = [
            rule("src", Allow, Subject::Path("src/**".to_owned())),
            rule("keys", Deny, Subject::Path("**/*.pem".to_owned())),
            rule("tmp", Allow, Subject::Path("/tmp/?.txt".to_owned())),
            rule("pypi", Allow, Subject::Host("*.pypi.example".to_owned(), Some(443))),
            rule("one", Deny, Subject::Host("evil.example".to_owned(), None)),
            rule("tool", Allow, Subject::Tool("mcp__docs__*".to_owned())),
        ];
        for (kind, subject, ruling) in [
            (AskKind::File, "src/a/b.rs", Allow),
            (AskKind::File, "/w/src/b.rs", Allow),
            (AskKind::File, "src/../.git/config", Ask),
            (AskKind::File, "/elsewhere/src/x", Ask),
            (AskKind::File, "src/k.pem", Deny),
            (AskKind::File, "/tmp/a.txt", Allow),
            (AskKind::File, "/tmp/ab.txt", Ask),
            (AskKind::Network, "files.pypi.example:443", Allow),
            (AskKind::Network, "https://files.PyPI.example./x", Allow),
            (AskKind::Network, "files.pypi.example:80", Ask),
            (AskKind::Network, "pypi.example:443", Ask),
            (AskKind::Network, "xpypi.example:443", Ask),
            (AskKind::Network, "https://files.pypi.example@evil.example/", Deny),
            (AskKind::Tool, "mcp__docs__search", Allow),
            (AskKind::Tool, "mcp__other__x", Ask),
            (AskKind::Grant, "src/a", Ask),
        ] {
            assert_eq!(said_of(&rules, kind, subject).0, ruling, "{subject}");
        }
    }
}
