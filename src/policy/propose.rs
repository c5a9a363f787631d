//! The narrowest rule that would have answered a request: the very words, path, host and port, or tool.

use std::path::Path;

use super::{
    command, host,
    rules::{Rule, Ruling, Subject, judge, paths},
};
use crate::{
    base::{clock::Timestamp, limits::RULE_WORDS_MAX},
    model::ask::{AskKind, Request},
};

/// Why no rule can answer the like of it, in words.
type Why = String;

/// What such a rule is about. What it gives does answer the request so, for it was tried. `below` = the rule is for this
/// workspace alone, so that a path may be named from there.
pub fn subject(
    request: &Request,
    workspace: &Path,
    ruling: Ruling,
    below: bool,
) -> Result<Subject, Why> {
    let subject = match request.kind {
        AskKind::Exec => words(&request.subject)?,
        AskKind::File => path(request, workspace, below)?,
        AskKind::Network => {
            let target = host::read(&request.subject);
            let name = target.names.first().filter(|_| target.clear);
            let name = name.ok_or("its host is not plainly written, so no rule allows it")?;
            if target.port.is_none() {
                return Err("it does not say which port, and a rule for all of them would be wide"
                    .to_owned());
            }
            Subject::Host(name.clone(), target.port)
        }
        AskKind::Tool => {
            if request.subject.contains('*') || request.subject.trim() != request.subject {
                return Err("a rule can't name this tool exactly".to_owned());
            }
            Subject::Tool(request.subject.clone())
        }
        AskKind::Credential | AskKind::Grant | AskKind::Question => {
            return Err(format!(
                "no rule is about a {}: it is asked each time",
                request.kind.word()
            ));
        }
    };
    let (id, why) = (String::new(), String::new());
    let rule = Rule { id, ruling, subject, why, until: None };
    let outcome = judge(std::slice::from_ref(&rule), request, workspace, Timestamp(0));
    match outcome.by.is_empty() || outcome.ruling != ruling {
        true => Err(format!("no rule may answer it: {}", outcome.because)),
        false => Ok(rule.subject),
    }
}

fn words(line: &str) -> Result<Subject, Why> {
    let words = command::argv(line)?;
    if words.len() > RULE_WORDS_MAX {
        return Err(format!("it has more words than a rule: {}", words.len()));
    }
    if words.iter().any(|it| it.is_empty() || it.contains(char::is_whitespace)) {
        return Err(
            "one of its words has a blank in it or is empty, and those of a rule have none"
                .to_owned(),
        );
    }
    Ok(Subject::Command(words.into_iter().map(|it| vec![it]).collect()))
}

fn path(request: &Request, workspace: &Path, below: bool) -> Result<Subject, Why> {
    let paths = paths(request, workspace);
    let [path] = paths.as_slice() else {
        return Err("it is not clear where it is asked".to_owned());
    };
    // In every workspace there may be one that is called so from there.
    let from_there = path.strip_prefix(workspace).ok().filter(|_| below);
    let text = from_there.unwrap_or(path).to_str();
    let text = text.filter(|it| !it.is_empty() && !it.contains(['*', '?', '{', '~', '$']));
    let text =
        text.ok_or("a rule can't name its path exactly: it has signs in it that mean more there")?;
    Ok(Subject::Path(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: AskKind, subject: &str, ruling: Ruling) -> Result<String, String> {
        let subject = subject.to_owned();
        let request = Request { kind, subject, details: Vec::new(), reason: None, agent: None };
        let all = super::subject(&request, Path::new("/w"), ruling, false);
        let below = super::subject(&request, Path::new("/w"), ruling, true).map(|it| it.about());
        // For every workspace a path is whole.
        let all = all.map(|it| it.about().replace("path /w/", "path "));
        assert_eq!(all, below);
        below
    }

    #[test]
    fn a_rule_for_every_workspace_names_the_whole_path() {
        let subject = "Makefile".to_owned();
        let (details, reason, agent) = (Vec::new(), None, None);
        let request = Request { kind: AskKind::File, subject, details, reason, agent };
        let of = |below| super::subject(&request, Path::new("/w"), Ruling::Allow, below);
        assert_eq!(of(false).map(|it| it.about()).as_deref(), Ok("path /w/Makefile"));
        assert_eq!(of(true).map(|it| it.about()).as_deref(), Ok("path Makefile"));
    }

    #[test]
    fn what_is_proposed_is_the_very_same_and_nothing_that_no_rule_may_allow() {
        use AskKind::{Exec, File, Grant, Network, Question, Tool};
        let allowed = |kind, subject| of(kind, subject, Ruling::Allow);
        for (kind, subject, about) in [
            (Exec, "cargo test --workspace", "command cargo test --workspace"),
            (Exec, "bash -lc 'cargo check'", "command cargo check"),
            (Exec, "timeout 5 make it", "command timeout 5 make it"),
            (File, "src/a.rs", "path src/a.rs"),
            (File, "/w/src/a.rs", "path src/a.rs"),
            (File, "/tmp/a", "path /tmp/a"),
            (Network, "pkg.example:443", "host pkg.example:443"),
            (Network, "https://Pkg.example/x", "host pkg.example:443"),
            (Tool, "mcp__a__b", "tool mcp__a__b"),
        ] {
            assert_eq!(allowed(kind, subject).as_deref(), Ok(about), "{subject}");
        }
        for (kind, subject, words) in [
            (Exec, "ls > x", "writes to a file"),
            (Exec, "ls $(cat x)", "known only when it runs"),
            (Exec, "ls && make", "several commands"),
            (Exec, "git commit -m 'a b'", "blank"),
            (Exec, "./run", ""),
            (File, "src/*.rs", "can't name"),
            (File, "../x", "no rule may answer it"),
            (Network, "pkg.example", "port"),
            (Network, "https://a@b.example/", "plainly"),
            (Tool, "mcp__*", "exactly"),
            (Grant, "all", "asked each time"),
            (Question, "may I?", "asked each time"),
        ] {
            match allowed(kind, subject) {
                Err(why) => assert!(why.contains(words), "{subject}: {why}"),
                Ok(about) => {
                    assert!(words.is_empty() && about == "command ./run", "{subject}: {about}");
                }
            }
        }
        assert_eq!(of(Exec, "rm -rf x", Ruling::Deny).as_deref(), Ok("command rm -rf x"));
    }
}
