//! `permissions` of Claude Code's settings.json: lists of `Tool` and `Tool(what)`.

use serde_json::Value;

use super::{Import, Meant, Names, sayable};
use crate::{
    base::fault::{Fault, Outcome},
    policy::rules::{Ruling, Subject},
};

/// The strictest first: in an import that is cut at its bound, what forbids is in.
const LISTS: [(&str, Ruling); 3] =
    [("deny", Ruling::Deny), ("ask", Ruling::Ask), ("allow", Ruling::Allow)];
/// Tools of which more is known than their names: none of these is allowed by it.
const KNOWN: [&str; 7] =
    ["Bash", "Edit", "MultiEdit", "Write", "NotebookEdit", "WebFetch", "apply_patch"];

pub(super) fn read(text: &str, import: &mut Import, names: Names<'_>) -> Outcome<()> {
    let settings: Value = serde_json::from_str(text)
        .map_err(|error| Fault::invalid(format!("not JSON as in settings.json: {error}")))?;
    let permissions = settings.get("permissions").and_then(Value::as_object);
    let permissions = permissions.ok_or_else(|| {
        Fault::invalid("there are no `permissions` in it")
            .hint("it is the settings.json of Claude Code, e.g. ~/.claude/settings.json")
    })?;
    for (list, ruling) in LISTS {
        let Some(lines) = permissions.get(list) else { continue };
        let Some(lines) = lines.as_array() else {
            import.leave_out(list, "it is no list");
            continue;
        };
        for line in lines {
            let Some(text) = line.as_str() else {
                import.leave_out(&format!("{list}: {line}"), "it is no text");
                continue;
            };
            let line = format!("{list}: {text}");
            match rules(text, ruling) {
                Ok(all) => {
                    for (subject, note) in all {
                        let why = format!("from Claude Code: {text}");
                        let note = note.map(|it| format!("wider than `{text}`: {it}"));
                        let (good, bad) = (Vec::new(), Vec::new());
                        let meant = Meant { ruling, subject, why, good, bad, note };
                        import.take(&line, meant, names);
                    }
                }
                Err(why) => import.leave_out(&line, why),
            }
        }
    }
    for (key, _) in permissions.iter().filter(|(key, _)| !LISTS.iter().any(|it| it.0 == *key)) {
        import.leave_out(key, "it is no list of rules");
    }
    Ok(())
}

type Rules = Vec<(Subject, Option<&'static str>)>;

/// What a line means: exactly, where it allows.
fn rules(text: &str, ruling: Ruling) -> Result<Rules, &'static str> {
    let allows = ruling == Ruling::Allow;
    let (tool, what) = match text.split_once('(') {
        Some((tool, rest)) => {
            (tool, Some(rest.strip_suffix(')').ok_or("its parenthesis is not closed")?))
        }
        None => (text, None),
    };
    let plain = |it: char| it.is_ascii_alphanumeric() || "_-".contains(it);
    let name = tool.strip_suffix('*').unwrap_or(tool);
    if name.is_empty() || !name.chars().all(plain) {
        return Err("it names no tool");
    }
    // All of it is as good as its name.
    let what = what.filter(|it| !matches!(*it, "" | "*"));
    let Some(what) = what else {
        if allows && KNOWN.contains(&tool) {
            return Err("it allows everything that the tool does, which no rule here can");
        }
        if matches!(tool, "Read" | "Glob" | "Grep" | "LS") && !allows {
            return Err("what a sandbox reads is not asked: keep it out of the workspace");
        }
        let server = tool.starts_with("mcp__") && tool.matches("__").count() == 1;
        let name =
            if server && !tool.ends_with('*') { format!("{tool}__*") } else { tool.to_owned() };
        return Ok(vec![(Subject::Tool(name), None)]);
    };
    match tool {
        "Bash" => command(what, allows),
        "Edit" | "MultiEdit" | "NotebookEdit" => path(what, allows),
        "Write" if allows => Err("Claude Code does not look at paths of Write: use Edit"),
        "Write" => path(what, allows),
        "Read" | "Glob" | "Grep" | "LS" => {
            Err("what a sandbox reads is not asked: keep it out of the workspace")
        }
        "WebFetch" => host(what, allows),
        _ => Err("what it says of the tool beside its name can't be said here"),
    }
}

fn command(what: &str, allows: bool) -> Result<Rules, &'static str> {
    // Both mean: these words, and whatever follows.
    let prefix = what.strip_suffix(":*").or_else(|| what.strip_suffix(" *"));
    let text = prefix.unwrap_or(what);
    let (words, whole) = sayable(text.split_whitespace());
    if words.is_empty() {
        return Err("it does not begin with a whole word");
    }
    let subject = Subject::Command(words);
    match (whole, prefix.is_some()) {
        (true, true) => Ok(vec![(subject, None)]),
        (true, false) if allows => {
            Err("it allows that very line alone, and a rule here allows more words behind it")
        }
        (false, _) if allows => Err("it has signs in it that a rule here can't say"),
        (true, false) => Ok(vec![(subject, Some("with more words behind it as well"))]),
        (false, _) => Ok(vec![(subject, Some("all that begins with its first words"))]),
    }
}

/// A pattern as of gitignore.
fn path(what: &str, allows: bool) -> Result<Rules, &'static str> {
    if what.contains(['!', '[', '\\', '{', '$']) || what.starts_with('~') {
        return Err("its pattern can't be said here");
    }
    let (root, text) = match what.strip_prefix("//") {
        Some(rest) => ("/", rest),
        None if what.starts_with('/') => {
            return Err("it is relative to where its file lies, which is not known here");
        }
        None => ("", what.strip_prefix("./").unwrap_or(what)),
    };
    let is_directory = text.ends_with('/');
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Err("it names nothing");
    }
    // Without a slash it is meant at any depth.
    let glob = match text.contains('/') || !root.is_empty() {
        true => format!("{root}{text}"),
        false if text == "**" => "**".to_owned(),
        false => format!("**/{text}"),
    };
    let all = |glob: String| (Subject::Path(glob), None);
    if glob.ends_with("**") {
        return Ok(vec![all(glob)]);
    }
    let below = format!("{glob}/**");
    Ok(match (allows, is_directory) {
        (_, true) => vec![all(below)],
        // Less than it says: what lies below, if it is a directory, is not allowed.
        (true, false) => vec![all(glob)],
        (false, false) => vec![all(glob), all(below)],
    })
}

fn host(what: &str, allows: bool) -> Result<Rules, &'static str> {
    let name = what.strip_prefix("domain:").ok_or("it names no domain")?;
    if allows {
        return Err("a rule about a host here lets every program out to it, not only this tool");
    }
    let (name, port) = crate::model::host::pattern(name).ok_or("its domain can't be said here")?;
    Ok(vec![(Subject::Host(name, port), Some("for every program, not only this tool"))])
}
