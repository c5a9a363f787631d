//! `prefix_rule(...)` of Codex's .rules files. They are programs in their own language; here only calls with plain texts
//! and lists of them are read, and whatever else stands there is left out.

use super::{Import, Meant, Names, sayable};
use crate::{
    base::text::cut,
    policy::{
        rules::{Ruling, Subject},
        shell::quoted,
    },
};

/// Lists in lists are read so deep.
const DEPTH_MAX: usize = 4;
/// Bytes of what is named of a statement.
const NAMED_BYTES: usize = 200;

pub(super) fn read(text: &str, import: &mut Import, names: Names<'_>) {
    let Some(statements) = statements(text) else {
        // A rule that is written in a text there is none.
        return import.leave_out("the whole file", "a quote or a bracket in it has no other end");
    };
    for statement in statements {
        let line = named(statement);
        match call(statement) {
            Ok(Call { name, arguments }) if name == "prefix_rule" => match meant(arguments) {
                Ok(meant) => import.take(&line, meant, names),
                Err(why) => import.leave_out(&line, why),
            },
            Ok(Call { name, .. }) => {
                import.leave_out(&line, format!("{name} is no rule that is known here"));
            }
            Err(why) => import.leave_out(&line, why),
        }
    }
}

/// What a statement is called in words: its first line that says something.
fn named(statement: &str) -> String {
    let one: Vec<&str> = statement.split_whitespace().collect();
    cut(&one.join(" "), NAMED_BYTES).to_owned()
}

/// Top-level statements: each begins in the first column of a line that nothing before is open in, and ends where the next
/// one begins. `None` = what is code and what is text in it can't be told.
fn statements(text: &str) -> Option<Vec<&str>> {
    let mut starts = Vec::new();
    let (mut rest, mut open) = (text, 0_usize);
    // Whether a line begins here, and none that goes on.
    let mut begins = true;
    while let Some(first) = rest.chars().next() {
        let fresh = std::mem::take(&mut begins) && open == 0;
        if fresh && !first.is_whitespace() && first != '#' {
            starts.push(text.len() - rest.len());
        }
        rest = match first {
            '"' | '\'' => past_text(rest, first)?,
            '#' => rest.split_at(rest.find('\n').unwrap_or(rest.len())).1,
            // It takes the end of a line with it.
            '\\' => {
                let rest = rest.strip_prefix('\\')?;
                rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'))?
            }
            _ => rest.get(first.len_utf8()..)?,
        };
        match first {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.checked_sub(1)?,
            '\n' => begins = true,
            _ => {}
        }
    }
    if open != 0 {
        return None;
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let all = starts.iter().zip(ends).map(|(from, to)| text.get(*from..to).unwrap_or_default());
    Some(all.map(str::trim_end).collect())
}

/// What follows a text in quotes, in one of them or in three.
fn past_text(rest: &str, quote: char) -> Option<&str> {
    let three = quote.to_string().repeat(3);
    let mut inside = rest.strip_prefix(&three);
    let is_long = inside.is_some();
    inside = inside.or_else(|| rest.strip_prefix(quote));
    let mut rest = inside?;
    loop {
        if is_long && let Some(rest) = rest.strip_prefix(&three) {
            return Some(rest);
        }
        let first = rest.chars().next()?;
        rest = rest.get(first.len_utf8()..)?;
        match first {
            '\\' => rest = rest.get(rest.chars().next()?.len_utf8()..)?,
            '\n' if !is_long => return None,
            it if it == quote && !is_long => return Some(rest),
            _ => {}
        }
    }
}

struct Call {
    name: String,
    arguments: Vec<(String, Item)>,
}

#[derive(Debug)]
enum Item {
    Text(String),
    List(Vec<Item>),
}

fn meant(arguments: Vec<(String, Item)>) -> Result<Meant, String> {
    let (mut pattern, mut ruling, mut why) = (None, Ruling::Allow, None);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (name, item) in arguments {
        match (name.as_str(), item) {
            ("pattern", Item::List(items)) => pattern = Some(items),
            ("decision", Item::Text(word)) => {
                ruling = match word.as_str() {
                    "allow" => Ruling::Allow,
                    "prompt" => Ruling::Ask,
                    "forbidden" => Ruling::Deny,
                    _ => return Err("its decision is not known here".to_owned()),
                }
            }
            ("justification", Item::Text(text)) => why = Some(text),
            ("match", Item::List(items)) => good = cases(items)?,
            ("not_match", Item::List(items)) => bad = cases(items)?,
            (other, _) => return Err(format!("its argument {other} can't be read here")),
        }
    }
    let pattern = pattern.ok_or("it has no pattern")?;
    let mut words = Vec::new();
    let mut whole = true;
    for item in pattern {
        let may = match item {
            Item::Text(word) => vec![word],
            Item::List(all) => texts(all)?,
        };
        let (said, all) = sayable(may.iter().map(String::as_str));
        if !all || said.is_empty() {
            whole = false;
            break;
        }
        words.push(may);
    }
    if !whole && (ruling == Ruling::Allow || words.is_empty()) {
        return Err(
            "one of its words has a blank or a sign in it that a rule here can't say".to_owned()
        );
    }
    if words.is_empty() {
        return Err("its pattern is empty".to_owned());
    }
    let note =
        (!whole).then(|| "wider than it was: all that begins with its first words".to_owned());
    if note.is_some() {
        // They were of the narrower one.
        bad.clear();
    }
    let why = why.unwrap_or_else(|| "from Codex".to_owned());
    Ok(Meant { ruling, subject: Subject::Command(words), why, good, bad, note })
}

fn texts(items: Vec<Item>) -> Result<Vec<String>, String> {
    let text = |it| match it {
        Item::Text(text) => Ok(text),
        Item::List(_) => Err("there is a list too many in it".to_owned()),
    };
    items.into_iter().map(text).collect()
}

/// Examples, each a line or its words.
fn cases(items: Vec<Item>) -> Result<Vec<String>, String> {
    let case = |it| match it {
        Item::Text(line) => Ok(line),
        Item::List(words) => {
            let words = texts(words)?;
            Ok(words.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(" "))
        }
    };
    items.into_iter().map(case).collect()
}

/// `NAME(NAME = VALUE, ...)` and nothing else.
fn call(statement: &str) -> Result<Call, String> {
    let mut reader = Reader { rest: statement };
    let name = reader.name().ok_or("it is no call of a rule")?;
    reader.sign('(').ok_or("it is no call of a rule")?;
    let mut arguments = Vec::new();
    loop {
        if reader.sign(')').is_some() {
            break;
        }
        let name = reader.name().ok_or("an argument has no name")?;
        reader.sign('=').ok_or("an argument has no value")?;
        let item = reader
            .item(0)
            .ok_or_else(|| format!("its argument {} is no plain text or list", cut(&name, 40)))?;
        arguments.push((name, item));
        if reader.sign(',').is_none() {
            reader.sign(')').ok_or("something in it is more than plain texts and lists")?;
            break;
        }
    }
    reader.blank();
    match reader.rest.is_empty() {
        true => Ok(Call { name, arguments }),
        false => Err("something stands behind it".to_owned()),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Blanks and comments.
    fn blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix('#') {
                Some(rest) => self.rest = rest.split_once('\n').map_or("", |it| it.1),
                None => return,
            }
        }
    }

    fn sign(&mut self, sign: char) -> Option<()> {
        self.blank();
        self.rest = self.rest.strip_prefix(sign)?;
        Some(())
    }

    fn name(&mut self) -> Option<String> {
        self.blank();
        let end = self.rest.find(|it: char| !(it.is_ascii_alphanumeric() || it == '_'));
        let (name, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        let begins = name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_');
        self.rest = if begins { rest } else { self.rest };
        begins.then(|| name.to_owned())
    }

    fn item(&mut self, depth: usize) -> Option<Item> {
        self.blank();
        if self.rest.starts_with(['"', '\'']) {
            return self.text().map(Item::Text);
        }
        self.sign('[').filter(|()| depth < DEPTH_MAX)?;
        let mut items = Vec::new();
        loop {
            if self.sign(']').is_some() {
                return Some(Item::List(items));
            }
            items.push(self.item(depth + 1)?);
            if self.sign(',').is_none() {
                self.sign(']')?;
                return Some(Item::List(items));
            }
        }
    }

    /// A text in quotes, in one line; with escapes that say what they are.
    fn text(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let mut chars = self.rest.get(1..)?.char_indices();
        let mut text = String::new();
        while let Some((at, it)) = chars.next() {
            match it {
                it if it == quote => {
                    // Three of them begin another kind of text.
                    self.rest = self.rest.get(at + 2..)?;
                    return (!self.rest.starts_with(quote)).then_some(text);
                }
                '\n' => return None,
                '\\' => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    it @ ('\\' | '"' | '\'') => it,
                    _ => return None,
                }),
                it => text.push(it),
            }
        }
        None
    }
}
