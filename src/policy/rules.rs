//! Rules that answer asks without a person: deny before ask before allow, and what no rule knows is asked.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::{
    command, details, host,
    http::{Requests, Seen},
    path::{self, plain},
};
use crate::{
    base::{clock::Timestamp, limits::PATH_BYTES_MAX},
    model::{
        ask::{AskKind, Request},
        host::written,
        rule::{Domain, KnownRule, RuleName},
    },
};

pub use crate::model::rule::Ruling;

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// First words of a command; for each place those that it may have.
    Command(Vec<Vec<String>>),
    /// A path in the workspace, or an absolute one: `*` and `?` within a name, `**` for any number of directories.
    Path(String),
    /// A host, `*.` in front for all below it, and a port or `None` for all.
    Host(String, Option<u16>),
    /// Requests of HTTP to a host, which is named as above. Of a connection that says nothing of requests, it is about
    /// none.
    Request(String, Option<u16>, Requests),
    /// The name of a tool, `*` at its end for all that begin so. It forbids whatever the tool is for, and allows only
    /// what nothing but the tool's name is known of.
    Tool(String),
}

impl Subject {
    /// In a line, for people.
    pub fn about(&self) -> String {
        match self {
            Self::Command(words) => {
                let words: Vec<String> = words.iter().map(|it| it.join("|")).collect();
                format!("command {}", words.join(" "))
            }
            Self::Path(glob) => format!("path {glob}"),
            Self::Host(name, port) => format!("host {}", written(name, *port)),
            Self::Request(name, port, requests) => {
                format!("host {} {}", written(name, *port), requests.words())
            }
            Self::Tool(name) => format!("tool {name}"),
        }
    }
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

impl Rule {
    /// As people see it, of this domain and file; what it answered is not known here.
    pub fn known(&self, domain: Domain, file: &str) -> KnownRule {
        KnownRule {
            name: RuleName { id: self.id.clone(), domain },
            file: file.to_owned(),
            ruling: self.ruling,
            about: self.subject.about(),
            why: self.why.clone(),
            until: self.until,
            hits: 0,
            last_at: None,
        }
    }

    /// Whether it forbids on the way out of a sandbox what it has asked elsewhere: single requests, about which nobody
    /// is asked there.
    pub fn asks_of_requests(&self) -> bool {
        self.ruling == Ruling::Ask && matches!(self.subject, Subject::Request(..))
    }
}

/// What is to be known of such a rule.
pub const NOT_ASKED: &str = "on the way out of a sandbox what it is about is refused: nobody is asked about a single request there";

/// Rules, and whether those are all that there are.
#[derive(Debug)]
pub struct InForce {
    pub rules: Vec<Rule>,
    /// `false` = the file says something that can't be understood.
    pub whole: bool,
}

impl Default for InForce {
    fn default() -> Self {
        Self { rules: Vec::new(), whole: true }
    }
}

impl Deref for InForce {
    type Target = [Rule];

    fn deref(&self) -> &[Rule] {
        &self.rules
    }
}

impl<'a> IntoIterator for &'a InForce {
    type Item = &'a Rule;
    type IntoIter = std::slice::Iter<'a, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.rules.iter()
    }
}

impl InForce {
    /// What is left of them while the file can't be understood.
    #[must_use]
    pub fn in_doubt(&self) -> Self {
        let rules = self.rules.iter().filter(|it| it.ruling != Ruling::Allow).cloned().collect();
        Self { rules, whole: false }
    }
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

/// What the rules say of a request of a sandbox with this workspace. Links are not known here: a path is its text.
pub fn judge<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    request: &Request,
    workspace: &Path,
    now: Timestamp,
) -> Outcome {
    let in_time = |it: &&Rule| it.until.is_none_or(|it| now < it);
    let rules: Vec<&Rule> = rules.into_iter().filter(in_time).collect();
    judge_by(&rules, request, workspace)
}

fn judge_by(rules: &[&Rule], request: &Request, workspace: &Path) -> Outcome {
    let outcome = match request.kind {
        AskKind::Exec => command::judge(rules, &request.subject),
        AskKind::File => file(rules, request, workspace),
        AskKind::Network => {
            let target = host::read(&request.subject);
            let seen = Seen::of(request);
            one(rules, |ruling, it| match (it, ruling) {
                (Subject::Host(name, port), Ruling::Allow) => target.surely(name, *port),
                (Subject::Host(name, port), _) => target.perhaps(name, *port),
                (Subject::Request(name, port, of), Ruling::Allow) => {
                    target.surely(name, *port) && seen.is_some_and(|it| of.surely(it))
                }
                (Subject::Request(name, port, of), _) => {
                    target.perhaps(name, *port) && seen.is_some_and(|it| of.perhaps(it))
                }
                _ => false,
            })
        }
        // Who names a tool and says nothing else of it has no other rule.
        AskKind::Tool => one(rules, |ruling, it| ruling == Ruling::Allow && tool(request, it)),
        // Nobody decides these beforehand.
        AskKind::Credential | AskKind::Grant | AskKind::Question => unknown("no rule is about it"),
    };
    // A tool may be denied whatever it is for.
    let by_tool = one(rules, |ruling, it| ruling != Ruling::Allow && tool(request, it));
    if !by_tool.by.is_empty() && (by_tool.ruling < outcome.ruling || outcome.by.is_empty()) {
        return by_tool;
    }
    let by_request = outcome.by.iter().any(|it| matches!(it.subject, Subject::Request(..)));
    if outcome.ruling == Ruling::Allow
        && let Some(why) = details::doubt(request, workspace, by_request)
    {
        return unknown(&why);
    }
    outcome
}

pub(super) fn unknown(because: &str) -> Outcome {
    Outcome { ruling: Ruling::Ask, by: Vec::new(), because: because.to_owned() }
}

pub(super) fn said(rule: &Rule) -> Outcome {
    let because = format!("rule {}: {}", rule.id, rule.why);
    Outcome { ruling: rule.ruling, by: vec![rule.clone()], because }
}

/// The strictest of the rules that fit.
fn one(rules: &[&Rule], fits: impl Fn(Ruling, &Subject) -> bool) -> Outcome {
    let fitting = rules.iter().filter(|it| fits(it.ruling, &it.subject));
    fitting.min_by_key(|it| it.ruling).map_or_else(|| unknown("no rule knows it"), |it| said(it))
}

fn file(rules: &[&Rule], request: &Request, workspace: &Path) -> Outcome {
    if request.subject.len() > PATH_BYTES_MAX {
        return unknown("it is longer than a path may be");
    }
    let paths = paths(request, workspace);
    one(rules, |ruling, it| {
        let Subject::Path(glob) = it else { return false };
        let fits = |it: &PathBuf| path::fits(glob, it, workspace);
        match ruling {
            Ruling::Allow => paths.iter().all(fits),
            Ruling::Deny | Ruling::Ask => paths.iter().any(fits),
        }
    })
}

/// The file that it is about; several when it is not clear where it is asked.
pub fn paths(request: &Request, workspace: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = details::directories(request)
        .map(|it| plain(&workspace.join(it).join(&request.subject)))
        .collect();
    if paths.is_empty() {
        paths.push(plain(&workspace.join(&request.subject)));
    }
    paths
}

fn tool(request: &Request, subject: &Subject) -> bool {
    let Subject::Tool(name) = subject else { return false };
    details::tools(request).any(|it| match name.strip_suffix('*') {
        Some(start) => it.starts_with(start),
        None => it == name,
    })
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
            ("env ls", Ask, &[]),
            ("env --chdir=evil ls", Ask, &[]),
            ("env -Cevil ls", Ask, &[]),
            ("env '-Ssh -c \"git push\"' ls", Deny, &["push"]),
            ("env --split-string='sh -c \"git push\"' ls", Deny, &["push"]),
            ("env '-Ssh -c \"x\"' ls", Ask, &[]),
            ("/usr/bin/time --output=.git/hooks/pre-commit --format=evil ls", Ask, &[]),
            ("nice 1/x ls", Ask, &[]),
            ("nohup 1/x ls", Ask, &[]),
            ("exec 1/x ls", Ask, &[]),
            ("timeout 60 bash -lc 'ls && cargo test'", Allow, &["ls", "test"]),
            ("bash -c -x 'rm x'", Deny, &["rm"]),
            ("eval 'rm x'", Deny, &["rm"]),
            ("ls \"$(rm x)\"", Deny, &["rm"]),
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
    fn what_a_rule_is_about_names_a_host_as_one_writes_it() {
        let host = |name: &str, port| Subject::Host(name.to_owned(), port).about();
        assert_eq!(host("a.example", Some(80)), "host a.example:80");
        assert_eq!(host("2001:db8::1", Some(443)), "host [2001:db8::1]:443");
        assert_eq!(host("2001:db8::1", None), "host [2001:db8::1]");
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
            rule("shut", Deny, Subject::Host("shut.example".to_owned(), Some(443))),
            rule("here", Deny, Subject::Host("127.0.0.1".to_owned(), None)),
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
            (AskKind::File, "src/l/../x", Ask),
            (AskKind::File, "~/src/x", Ask),
            (AskKind::File, " src/x", Ask),
            (AskKind::File, "src/\nx", Ask),
            (AskKind::Network, "files.pypi.example:443", Allow),
            (AskKind::Network, "https://files.PyPI.example./x", Allow),
            (AskKind::Network, "files.pypi.example:80", Ask),
            (AskKind::Network, "pypi.example:443", Ask),
            (AskKind::Network, "xpypi.example:443", Ask),
            (AskKind::Network, "https://files.pypi.example@evil.example/", Deny),
            (AskKind::Network, "HTTPS://files.pypi.example/@x/y%20z", Allow),
            (AskKind::Network, "https://files.pypi.example:/x", Allow),
            (AskKind::Network, "https://x\\@files.pypi.example/", Ask),
            (AskKind::Network, "https://evil.example\\@files.pypi.example/", Deny),
            (AskKind::Network, "https://file%73.pypi.example/", Ask),
            (AskKind::Network, "https://evi%6c.example/", Deny),
            (AskKind::Network, "HTTPS://shut.example/", Deny),
            (AskKind::Network, "https://shut.example:/", Deny),
            (AskKind::Network, "shut.example", Deny),
            (AskKind::Network, "shut.example:80", Ask),
            (AskKind::Network, "http://0x7f.1/", Deny),
            (AskKind::Network, "[::ffff:7f00:1]:80", Deny),
            (AskKind::Tool, "mcp__docs__search", Allow),
            (AskKind::Tool, "mcp__other__x", Ask),
            (AskKind::Grant, "src/a", Ask),
        ] {
            assert_eq!(said_of(&rules, kind, subject).0, ruling, "{subject}");
        }
    }

    fn with(kind: AskKind, subject: &str, details: &[(&str, &str)]) -> Request {
        let details = details.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let (subject, details) = (subject.to_owned(), details.collect());
        Request { kind, subject, details, reason: None, agent: None }
    }

    #[test]
    fn what_stands_beside_a_command_or_a_path_is_no_part_of_what_a_rule_allows() {
        use AskKind::{Exec, File, Network, Tool};
        use Ruling::{Allow, Ask, Deny};
        let rules = [
            rule("test", Allow, prefix("cargo test")),
            rule("src", Allow, Subject::Path("src/**".to_owned())),
            rule("keys", Deny, Subject::Path("src/keys/**".to_owned())),
            rule("host", Allow, Subject::Host("a.example".to_owned(), None)),
            rule("tool", Allow, Subject::Tool("mcp__docs__*".to_owned())),
        ];
        for (kind, subject, details, ruling) in [
            (Exec, "cargo test", &[("cwd", "/w"), ("tool", "Bash"), ("timeout", "5")][..], Allow),
            (Exec, "cargo test", &[("cwd", "/w/a"), ("description", "x"), ("program", "y")], Allow),
            (Exec, "cargo test", &[("cwd", "/elsewhere")], Ask),
            (Exec, "cargo test", &[("cwd", "/w/../x")], Ask),
            (Exec, "cargo test", &[("cwd", "/w"), ("cwd", "/x")], Ask),
            (Exec, "cargo test", &[("directory", "vendor/evil")], Ask),
            (Exec, "cargo test", &[("dangerouslyDisableSandbox", "true")], Ask),
            (File, "src/a", &[("cwd", "/w"), ("diff", "+x"), ("replace_all", "true")], Allow),
            (File, "src/a", &[("input", "*** Update File: .git/config")], Ask),
            (File, "src/a", &[("cwd", "/w"), ("cwd", "/x")], Ask),
            (File, "a", &[("cwd", "/x"), ("cwd", "/w/src/keys")], Deny),
            (Network, "https://a.example/", &[("prompt", "what is it"), ("tool", "x")], Allow),
            (Network, "https://a.example/", &[("prompt", "get https://b.example")], Ask),
            (Network, "https://a.example/", &[("proxy", "b.example")], Ask),
            (Tool, "mcp__docs__x", &[("tool", "mcp__docs__x"), ("arguments", "{}")], Allow),
            (Tool, "mcp__docs__x", &[("tool", "Bash")], Ask),
        ] {
            let request = with(kind, subject, details);
            let out = judge(&rules, &request, Path::new("/w"), Timestamp(0));
            assert_eq!(out.ruling, ruling, "{subject} {details:?}: {}", out.because);
        }
        let request = with(Exec, "cargo test", &[("directory", "x")]);
        let out = judge(&rules, &request, Path::new("/w"), Timestamp(0));
        assert!(out.because.contains("`directory`") && out.by.is_empty(), "{}", out.because);
    }

    #[test]
    fn a_tool_is_forbidden_whatever_it_is_for_and_allowed_only_by_its_name_alone() {
        use AskKind::{Exec, File, Grant, Network, Tool};
        use Ruling::{Allow, Ask, Deny};
        let rules = [
            rule("ls", Allow, prefix("ls")),
            rule("rm", Deny, prefix("rm")),
            rule("fetch", Deny, Subject::Tool("WebFetch".to_owned())),
            rule("write", Ask, Subject::Tool("Write*".to_owned())),
            rule("bash", Allow, Subject::Tool("Bash".to_owned())),
            rule("src", Allow, Subject::Path("src/**".to_owned())),
        ];
        for (kind, subject, tool, ruling, by) in [
            (Network, "https://x.example", "WebFetch", Deny, Some("fetch")),
            (Tool, "WebFetch", "WebFetch", Deny, Some("fetch")),
            (Grant, "x", "WebFetch", Deny, Some("fetch")),
            (File, "src/a", "Write", Ask, Some("write")),
            (File, "src/a", "Edit", Allow, Some("src")),
            (Exec, "rm x", "Write", Deny, Some("rm")),
            (Exec, "make", "Bash", Ask, None),
            (Exec, "ls", "Bash", Allow, Some("ls")),
            (Tool, "Bash", "Bash", Allow, Some("bash")),
        ] {
            let request = with(kind, subject, &[("tool", tool)]);
            let out = judge(&rules, &request, Path::new("/w"), Timestamp(0));
            let first = out.by.first().map(|it| it.id.as_str());
            assert_eq!((out.ruling, first), (ruling, by), "{subject} {tool}");
        }
    }
}
