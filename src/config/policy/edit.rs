//! Writes rules into a policy and takes them out, and leaves all else in it as it is: comments, order, blanks.

use super::{Entry, NO_WHY, entries, project};
use crate::{
    base::{
        fault::{Fault, Outcome},
        text::{is_deceptive, is_unseen},
    },
    config::source,
    model::{host, rule::is_id},
    policy::rules::{Rule, Subject},
};

/// How a rule begins.
const HEADER: &str = "[[rule]]";
/// Letters of an id that is made up.
const ID_LETTERS: usize = 32;

/// A rule in the file's own words; what is seen of it is what it means.
pub fn block(entry: &Entry) -> String {
    let keys = keys(entry).into_iter().map(|(key, value)| format!("{key} = {value}\n"));
    format!("{HEADER}\n{}", keys.collect::<String>())
}

/// The same in one line, for a person to edit.
pub fn line(entry: &Entry) -> String {
    let keys = keys(entry).into_iter().map(|(key, value)| format!("{key} = {value}"));
    keys.collect::<Vec<_>>().join(", ")
}

fn keys(Entry { rule, good, bad, .. }: &Entry) -> Vec<(&'static str, String)> {
    let mut keys = vec![("id", quoted(&rule.id)), ("verdict", quoted(rule.ruling.word()))];
    keys.push(match &rule.subject {
        Subject::Command(words) => {
            let word = |it: &Vec<String>| match it.as_slice() {
                [one] => quoted(one),
                all => list(all),
            };
            ("command", format!("[{}]", words.iter().map(word).collect::<Vec<_>>().join(", ")))
        }
        Subject::Path(glob) => ("path", quoted(glob)),
        Subject::Host(name, port) | Subject::Request(name, port, _) => {
            ("host", quoted(&host::written(name, *port)))
        }
        Subject::Tool(name) => ("tool", quoted(name)),
    });
    if let Subject::Request(_, _, requests) = &rule.subject {
        if !requests.methods.is_empty() {
            keys.push(("methods", list(&requests.methods)));
        }
        keys.extend(requests.path.as_ref().map(|it| ("path", quoted(it))));
    }
    if rule.why != NO_WHY {
        keys.push(("why", quoted(&rule.why)));
    }
    keys.extend(rule.until.map(|it| ("until", quoted(&it.rfc3339()))));
    if !good.is_empty() {
        keys.push(("match", list(good)));
    }
    if !bad.is_empty() {
        keys.push(("not_match", list(bad)));
    }
    keys
}

/// A string of TOML in which nothing hides.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for it in text.chars() {
        match it {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            it if it.is_control() || is_deceptive(it) || is_unseen(it) => {
                out.push_str(&format!("\\U{:08X}", u32::from(it)));
            }
            it => out.push(it),
        }
    }
    out.push('"');
    out
}

/// The same of several.
pub fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", "))
}

/// A rule without cases.
pub fn entry_of(rule: Rule) -> Entry {
    Entry { rule, good: Vec::new(), bad: Vec::new(), span: 0..0 }
}

/// Reads rules that somebody wrote: as in a file, or one of them in a line.
pub fn written(text: &str) -> Outcome<Vec<Entry>> {
    let is_line = !text.trim_start().starts_with('[') && !text.trim_start().starts_with('#');
    if is_line {
        let line = text.trim();
        if line.contains('\n') {
            return Err(Fault::invalid("a rule in one line has no line ends in it"));
        }
        return entries("rule", &format!("rule = [{{ {line} }}]")).map_err(|mut flaws| {
            // Where it stands in what was written.
            for it in &mut flaws {
                it.column = it.column.saturating_sub("rule = [{ ".len()).max(1);
            }
            source::all(&flaws)
        });
    }
    entries("rules", text).map_err(|it| source::all(&it))
}

/// The text of a policy with one more rule at its end.
pub fn with(text: &str, block: &str) -> String {
    let mut out = text.to_owned();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(block);
    out
}

/// How the rules of one workspace begin.
pub fn preamble(workspace: &str) -> String {
    format!(
        "# Rules for the sandboxes on this directory alone.\nworkspace = {}\n",
        quoted(workspace)
    )
}

/// The text of a policy without a rule, and what was taken out. Comments before the rule stay.
pub fn without(text: &str, id: &str, is_project: bool) -> Outcome<(String, String)> {
    let by_hand = |why: &str| {
        Fault::failed(format!("rule {id} can't be taken out of the file: {why}"))
            .hint("take it out with an editor; it is in force as soon as the file is saved")
    };
    let read = |text: &str| match is_project {
        true => project("policy", text).map(|it| it.1),
        false => entries("policy", text),
    };
    let before = read(text).map_err(|_| by_hand("something in the file is wrong"))?;
    let at = before.iter().position(|it| it.rule.id == id);
    let at = at.ok_or_else(|| Fault::absent(format!("there is no rule {id}")))?;
    let span = before.get(at).map(|it| it.span.clone()).unwrap_or_default();
    // Between its header and its first key are comments and blank lines, and nothing else.
    let mut from = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if start >= span.start {
            break;
        }
        if line.trim_start().starts_with(HEADER) {
            from = Some(start);
        }
        start += line.len();
    }
    let from = from.ok_or_else(|| by_hand("it does not begin with [[rule]]"))?;
    let rest = text.get(span.end..).unwrap_or_default();
    let mut to = span.end + rest.find('\n').map_or(rest.len(), |it| it + 1);
    let (head, mut tail) = (text.get(..from), text.get(to..).unwrap_or_default());
    let head = head.unwrap_or_default();
    // The blank line that stood after it goes with it.
    if (head.is_empty() || head.ends_with("\n\n")) && tail.starts_with('\n') {
        tail = tail.get(1..).unwrap_or_default();
        to += 1;
    }
    let mut after = format!("{head}{tail}");
    if tail.is_empty() {
        let kept = after.trim_end_matches('\n').len();
        after.truncate(kept);
        if kept > 0 {
            after.push('\n');
        }
    }
    let taken = text.get(from..to).unwrap_or_default().trim_end().to_owned();
    let left = read(&after).map_err(|_| by_hand("what would be left is wrong"))?;
    let wanted = before.iter().enumerate().filter(|(it, _)| *it != at).map(|(_, it)| &it.rule);
    if !left.iter().map(|it| &it.rule).eq(wanted) {
        return Err(by_hand("something else would change with it"));
    }
    Ok((after, taken))
}

/// An id for a rule, that no other has.
pub fn id_for(subject: &Subject, taken: impl Fn(&str) -> bool) -> String {
    let about = match subject {
        Subject::Command(words) => {
            let words: Vec<&str> =
                words.iter().filter_map(|it| it.first()).map(String::as_str).collect();
            words.join("-")
        }
        Subject::Path(text)
        | Subject::Host(text, _)
        | Subject::Request(text, _, _)
        | Subject::Tool(text) => text.clone(),
    };
    let mut id = String::new();
    for it in about.chars() {
        let it =
            if it.is_ascii_alphanumeric() || it == '_' { it.to_ascii_lowercase() } else { '-' };
        if it != '-' || !(id.is_empty() || id.ends_with('-')) {
            id.push(it);
        }
        if id.len() >= ID_LETTERS {
            break;
        }
    }
    let id = id.trim_matches('-');
    let id = if is_id(id) { id.to_owned() } else { "rule".to_owned() };
    let numbered = (2_u32..).map(|it| format!("{id}-{it}"));
    std::iter::once(id.clone()).chain(numbered).find(|it| !taken(it)).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{base::clock::Timestamp, policy::rules::Ruling};

    const FILE: &str = r#"# My rules.

# harmless
[[rule]]   # here it begins
# a remark
id = "tests"
verdict = "allow"
command = ["cargo", ["test", "check"]] # or so
why = """
[[rule]]
not the beginning of one
"""

# kept
[[rule]]
id = "keys"
verdict = "deny"
path = "**/*.pem"
match = [
  "a/b.pem", # one
]  # behind

[[rule]]
id = "last"
verdict = "ask"
tool = "x"
"#;

    #[test]
    fn a_rule_is_taken_out_and_everything_else_stays() {
        let (after, taken) = without(FILE, "keys", false).unwrap();
        assert!(taken.starts_with("[[rule]]\nid = \"keys\"") && taken.ends_with("# behind"));
        assert_eq!(after, FILE.replace(&format!("{taken}\n"), ""));
        let (after, taken) = without(FILE, "tests", false).unwrap();
        assert!(taken.starts_with("[[rule]]   # here") && taken.contains("# a remark"), "{taken}");
        assert!(
            after.starts_with("# My rules.\n\n# harmless\n\n# kept\n[[rule]]\nid = \"keys\""),
            "{after}"
        );
        let (after, _) = without(FILE, "last", false).unwrap();
        assert!(after.ends_with("]  # behind\n"), "{after}");
        let absent = without(FILE, "none", false).unwrap_err();
        assert_eq!(absent.kind(), crate::base::fault::Kind::Absent);
        let inline = "rule = [{ id = \"a\", verdict = \"deny\", tool = \"x\" }]\n";
        assert!(without(inline, "a", false).unwrap_err().message().contains("[[rule]]"));
        let alone =
            with("", &block(&written(r#"id = "a", verdict = "deny", tool = "x""#).unwrap()[0]));
        assert_eq!(without(&alone, "a", false).unwrap().0, "");
    }

    #[test]
    fn what_is_put_in_can_be_taken_out_again() {
        let entry = &written("id = \"new\", verdict = \"allow\", command = [\"ls\", [\"-l\", \"-a\"]], match = [\"ls -l\"]")
            .unwrap()[0];
        let more = with(FILE, &block(entry));
        assert!(more.starts_with(FILE), "{more}");
        let all = entries("x", &more).unwrap();
        assert_eq!((&all.last().unwrap().rule, all.len()), (&entry.rule, 4));
        assert_eq!(without(&more, "new", false).unwrap().0, FILE);
        let text = with(&preamble("/a/\u{202e}b"), &block(entry));
        assert!(!text.contains('\u{202e}'), "{text}");
        assert_eq!(project("x", &text).unwrap().0, std::path::Path::new("/a/\u{202e}b"));
        assert_eq!(without(&text, "new", true).unwrap().0, preamble("/a/\u{202e}b"));
    }

    #[test]
    fn a_line_says_what_is_wrong_with_it_and_where() {
        for (line, words) in [
            ("id = \"x\"", "lacks"),
            ("id = \"x\", verdict = \"allow\", command = [\"a b\"]", "1:41"),
            ("id = \"x\", verdict = \"allow\", tool = \"x\"\nid = \"y\"", "no line ends"),
            (
                "id = \"x\", verdict = \"allow\", command = [\"ls\"], match = [\"rm\"]",
                "own case: rm",
            ),
        ] {
            let fault = written(line).unwrap_err();
            assert!(fault.message().contains(words), "{line}: {fault}");
        }
        assert_eq!(written(FILE.split_once("# harmless\n").unwrap().1).unwrap().len(), 3);
    }

    #[test]
    fn an_id_is_made_of_what_it_is_about_and_is_no_other_ones() {
        let command =
            |text: &str| Subject::Command(text.split(' ').map(|it| vec![it.to_owned()]).collect());
        for (subject, id) in [
            (command("cargo test --workspace"), "cargo-test-workspace"),
            (command("./é"), "rule"),
            (Subject::Host("*.pkg.example".to_owned(), Some(443)), "pkg-example"),
            (Subject::Path("src/**".to_owned()), "src"),
        ] {
            assert_eq!(id_for(&subject, |_| false), id);
        }
        assert_eq!(id_for(&command("ls"), |it| matches!(it, "ls" | "ls-2")), "ls-3");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(
            words in proptest::collection::vec("[!-~\u{e9}\u{202e}\u{200b}]{1,8}", 1..5),
            why in ".{0,40}", until in proptest::option::of(0_i64..4_000_000_000_000),
        ) {
            let subject = Subject::Command(words.into_iter().map(|it| vec![it]).collect());
            let until = until.map(Timestamp);
            let rule = Rule { id: "x".to_owned(), ruling: Ruling::Deny, subject, why, until };
            let entry = entry_of(rule.clone());
            for text in [block(&entry), line(&entry)] {
                let read = written(&text).unwrap();
                prop_assert_eq!(&read[0].rule, &rule);
                let unseen = text.contains(['\u{202e}', '\u{200b}', '\r']);
                prop_assert!(!unseen);
            }
        }
    }
}
