//! Rules of agents, read as rules of ours. The files are data: nothing in them is run. What can't be said exactly is left
//! out where it allows, and may be said wider where it forbids or asks.

mod claude;
mod codex;

use super::policy::{
    Entry,
    edit::{block, entry_of, written},
};
use crate::{
    base::{fault::Outcome, limits::RULES_MAX, text::visible},
    model::sandbox::words,
    policy::rules::{Rule, Ruling, Subject},
};

words! {
    /// Whose rules they are.
    Dialect {
        /// `permissions` in settings.json.
        Claude = "claude",
        /// `prefix_rule` in a .rules file.
        Codex = "codex",
    }
}

/// What became of a file.
#[derive(Debug, Default)]
pub struct Import {
    pub found: Vec<Found>,
    /// What was left out, and why.
    pub left_out: Vec<(String, String)>,
}

/// A rule, and what it was.
#[derive(Debug)]
pub struct Found {
    /// As the agent's file has it.
    pub line: String,
    pub entry: Entry,
    /// How it differs.
    pub note: Option<String>,
}

/// Makes up ids.
type Names<'a> = &'a mut dyn FnMut(&Subject) -> String;

/// Reads a file of an agent's. It fails only where nothing in it can be read.
pub fn read(dialect: Dialect, text: &str, names: Names<'_>) -> Outcome<Import> {
    let mut import = Import::default();
    match dialect {
        Dialect::Claude => claude::read(text, &mut import, names)?,
        Dialect::Codex => codex::read(text, &mut import, names),
    }
    Ok(import)
}

/// What a rule is to say.
struct Meant {
    ruling: Ruling,
    subject: Subject,
    why: String,
    good: Vec<String>,
    bad: Vec<String>,
    note: Option<String>,
}

impl Import {
    fn leave_out(&mut self, line: &str, why: impl Into<String>) {
        if self.left_out.len() < 4 * RULES_MAX {
            self.left_out.push((line.to_owned(), why.into()));
        }
    }

    /// Takes a rule in, if the file of rules would take it.
    fn take(&mut self, line: &str, meant: Meant, names: Names<'_>) {
        if self.found.len() >= RULES_MAX {
            return self.leave_out(line, format!("more than {RULES_MAX} rules"));
        }
        let Meant { ruling, subject, why, good, bad, note } = meant;
        let id = names(&subject);
        let rule = Rule { id, ruling, subject, why: visible(&why), until: None };
        let mut entry = entry_of(rule);
        (entry.good, entry.bad) = (good, bad);
        match written(&block(&entry)) {
            Ok(mut all) if all.len() == 1 => {
                let entry = all.pop().unwrap_or(entry);
                self.found.push(Found { line: line.to_owned(), entry, note });
            }
            Ok(_) => self.leave_out(line, "it is not one rule"),
            Err(fault) => self.leave_out(line, fault.message().replace('\n', "; ")),
        }
    }
}

/// Words of a command, as far as they can be said, and whether those are all.
fn sayable<'a>(words: impl Iterator<Item = &'a str>) -> (Vec<Vec<String>>, bool) {
    let mut said = Vec::new();
    for word in words {
        let plain = !word.is_empty()
            && !word.contains(char::is_whitespace)
            && !word.contains(['*', '"', '\'', '`', '$', '|', '&', ';', '<', '>', '(', ')', '\\']);
        if !plain {
            return (said, false);
        }
        said.push(vec![word.to_owned()]);
    }
    (said, true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::policy::edit::id_for;

    fn import(dialect: Dialect, text: &str) -> Import {
        let mut taken: Vec<String> = Vec::new();
        let mut names = |subject: &Subject| {
            let id = id_for(subject, |it| taken.iter().any(|id| id == it));
            taken.push(id.clone());
            id
        };
        read(dialect, text, &mut names).unwrap()
    }

    fn told(it: &Import) -> Vec<String> {
        let rule = |it: &Found| {
            let wide = if it.note.is_some() { " ~" } else { "" };
            format!("{} {}{wide}", it.entry.rule.ruling.word(), it.entry.rule.subject.about())
        };
        it.found.iter().map(rule).collect()
    }

    #[test]
    fn rules_of_claude_are_never_wider_where_they_allow() {
        let text = r#"{ "permissions": { "defaultMode": "acceptEdits",
            "allow": ["Bash(npm run test:*)", "Bash(git diff *)", "Bash(npm install)", "Bash(npm run*)",
                "Bash", "Bash(*)", "Bash(git * main)", "Bash(ls > x:*)", "Edit(src/**)", "Edit(*.rs)",
                "Edit(//tmp/a/**)", "Edit(~/x)", "Edit(/docs/**)", "Read(src/**)", "Write(src/**)",
                "WebFetch(domain:docs.example)", "mcp__docs__search", "mcp__docs", "WebSearch", "Agent(x)", 7],
            "ask": ["Bash(git push:*)"],
            "deny": ["Bash(curl *)", "Bash(rm -rf /)", "Bash(rm*)", "WebFetch(domain:evil.example)",
                "Edit(secrets)", "Read(.env)", "WebFetch", "Bash(git * --force)"] } }"#;
        let it = import(Dialect::Claude, text);
        assert_eq!(
            told(&it),
            [
                "deny command curl",
                "deny command rm -rf / ~",
                "deny host evil.example ~",
                "deny path **/secrets",
                "deny path **/secrets/**",
                "deny tool WebFetch",
                "deny command git ~",
                "ask command git push",
                "allow command npm run test",
                "allow command git diff",
                "allow path src/**",
                "allow path **/*.rs",
                "allow path /tmp/a/**",
                "allow tool mcp__docs__search",
                "allow tool mcp__docs__*",
                "allow tool WebSearch",
            ]
        );
        let left: Vec<&str> = it.left_out.iter().map(|it| it.0.as_str()).collect();
        for line in [
            "deny: Bash(rm*)",
            "deny: Read(.env)",
            "allow: Bash(npm install)",
            "allow: Bash(npm run*)",
            "allow: Bash",
            "allow: Bash(*)",
            "allow: Bash(git * main)",
            "allow: Edit(~/x)",
            "allow: Edit(/docs/**)",
            "allow: Read(src/**)",
            "allow: Write(src/**)",
            "allow: WebFetch(domain:docs.example)",
            "allow: Agent(x)",
            "allow: 7",
            "defaultMode",
        ] {
            assert!(left.contains(&line), "{line}: {left:?}");
        }
        for bad in ["", "[]", "{", "{\"permissions\": 1}"] {
            assert!(read(Dialect::Claude, bad, &mut |_| "x".to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn rules_of_codex_are_read_with_their_cases_and_nothing_is_run() {
        let text = r#"
# mine
prefix_rule(pattern=["git", ["status", "log"]], match=[["git", "status", "-s"], "git log -1"], not_match=["git push"])
prefix_rule(
    pattern = ["git", "push"],  # a person does
    decision = "forbidden",
    justification = 'ask "me"',
)
prefix_rule(pattern = ["make"], decision = "prompt")
prefix_rule(pattern = ["echo", "a b"])
prefix_rule(pattern = ["echo", "a b"], decision = "forbidden")
prefix_rule(pattern = ["ls"], match = ["rm x"])
prefix_rule(pattern = ["ls"], decision = "maybe")
prefix_rule(pattern = [])
prefix_rule(pattern = ["a"] + ["b"])
prefix_rule(pattern = PATTERN)
host_executable(name = "git", paths = ["/usr/bin/git"])
network_rule(host = "x.example", decision = "allow")
load("//x", "y")
[prefix_rule(pattern = [x]) for x in all]
prefix_rule(pattern = ["pwd"])
"#;
        let it = import(Dialect::Codex, text);
        assert_eq!(
            told(&it),
            [
                "allow command git status|log",
                "deny command git push",
                "ask command make",
                "deny command echo ~",
                "allow command pwd",
            ]
        );
        assert_eq!(it.found[0].entry.good, ["git status -s", "git log -1"]);
        assert_eq!(it.found[1].entry.rule.why, "ask \"me\"");
        assert_eq!(it.left_out.len(), 10, "{:?}", it.left_out);
        assert!(it.left_out.iter().any(|it| it.1.contains("own case")), "{:?}", it.left_out);
    }

    #[test]
    fn a_rule_of_codex_that_stands_in_a_text_or_in_brackets_is_none() {
        let rule = "prefix_rule(pattern = [\"rm\"])\n";
        // `true` = what comes behind it is read.
        for (before, after, sound) in [
            ("\"\"\"\n", "\"\"\"\n", true),
            ("x = '''\n", "'''\n", true),
            ("\"\"\" a \\\"\"\"\n", "\"\"\"\n", true),
            ("x = \"a \\\n", "\"\n", false),
            ("x = False and \\\n", "", true),
            ("f(\n", ")\n", true),
            // Nobody can tell.
            ("\"\"\"\n", "", false),
            ("x = \"\n", "", false),
            ("x = (\n", "", false),
            ("x = )\n", "", false),
        ] {
            let text = format!("{before}{rule}{after}prefix_rule(pattern = [\"pwd\"])\n");
            let it = import(Dialect::Codex, &text);
            let read: &[&str] = if sound { &["allow command pwd"] } else { &[] };
            assert_eq!(told(&it), read, "{text}");
            assert!(!it.left_out.is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in r#"(prefix_rule|pattern|decision|[=\[\](),"'#\\\n {}:]|allow|git|é|\*|permissions){0,80}"#) {
            let mut names = |subject: &Subject| id_for(subject, |_| false);
            for dialect in Dialect::ALL {
                drop(read(*dialect, &text, &mut names));
            }
        }

        #[test]
        fn what_a_list_of_claude_says_is_a_rule_or_left_out(lines in proptest::collection::vec(r"(Bash|Edit|Read|WebFetch|mcp__a|\(|\)|:|\*| |/|~|git|domain|\.){0,9}", 0..20)) {
            for list in ["allow", "ask", "deny"] {
                let text = serde_json::json!({ "permissions": { list: &lines } }).to_string();
                let it = import(Dialect::Claude, &text);
                for line in &lines {
                    let line = format!("{list}: {line}");
                    let found = it.found.iter().any(|it| it.line == line);
                    prop_assert!(found || it.left_out.iter().any(|it| it.0 == line), "{}", line);
                }
            }
        }
    }
}
