//! Takes a command line apart as a shell would, as far as that can be told without running it, and the scripts in it.

use std::collections::VecDeque;

use crate::base::limits::{COMMAND_BYTES_MAX, COMMAND_WORDS_MAX};

/// A command line in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The words of each simple command, without quotes; of all together no more than `COMMAND_WORDS_MAX`.
    pub commands: Vec<Vec<String>>,
    /// What it does is not all in its words: something in it decides only when it runs, it writes to a file, or it
    /// is too long to be looked through.
    pub open: bool,
}

/// Shells whose grammar is read here.
pub const SHELLS: [&str; 5] = ["sh", "bash", "dash", "zsh", "ksh"];
/// Others that run the text behind `-c`.
const RUN_TEXT: [&str; 12] = [
    "ash", "csh", "fish", "mksh", "rbash", "runuser", "script", "su", "tcsh", "yash", "flock", "sg",
];
/// Those that run the words behind them as one text.
const RUN_ALL: [&str; 5] = ["eval", "parallel", "ssh", "trap", "watch"];
const SYSTEM: [&str; 6] =
    ["/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin", "/usr/local/sbin"];
/// Scripts in scripts are followed so deep.
const DEPTH_MAX: usize = 8;

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&it);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// The name of a program without the way to it.
pub fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// The name of a program that is found where programs are: by its name alone, or in a directory of the system. What
/// lies elsewhere may be anything by that name.
pub fn named(word: &str) -> Option<&str> {
    let Some((directory, name)) = word.rsplit_once('/') else { return Some(word) };
    SYSTEM.contains(&directory).then_some(name)
}

/// Takes a line apart; what a shell in it would run is part of it. Its work is bounded, whatever the line says.
pub fn read(text: &str) -> Line {
    let mut line = Line::default();
    let (mut bytes, mut words_left) = (0, COMMAND_WORDS_MAX);
    // What stands outside comes first: when there is too much, it is the innermost that is not read.
    let mut due = VecDeque::from([(Inner::Text(text.to_owned()), 0)]);
    while let Some((inner, depth)) = due.pop_front() {
        bytes += inner.bytes();
        if depth > DEPTH_MAX || bytes > COMMAND_BYTES_MAX {
            line.open = true;
            break;
        }
        let split = match inner {
            Inner::Text(text) => split(&text),
            Inner::Words(words) => Split { commands: vec![words], ..Split::default() },
        };
        line.open |= split.open;
        due.extend(split.inner.into_iter().map(|it| (Inner::Text(it), depth + 1)));
        for mut words in split.commands {
            if words.len() > words_left {
                words.truncate(words_left);
                line.open = true;
            }
            if words.is_empty() {
                break;
            }
            words_left -= words.len();
            let inner = scripts(&words, &mut line.open);
            due.extend(inner.into_iter().map(|it| (it, depth + 1)));
            line.commands.push(words);
        }
    }
    line
}

/// What is run inside of a command.
enum Inner {
    Text(String),
    Words(Vec<String>),
}

impl Inner {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 1,
            Self::Words(words) => words.iter().map(|it| it.len() + 1).sum(),
        }
    }
}

/// What of a command's words is run by something in it. No word is taken twice for the same reason.
fn scripts(words: &[String], open: &mut bool) -> Vec<Inner> {
    let mut found = Vec::new();
    let behind = |at: usize| words.get(at + 1..).unwrap_or_default();
    let first = |names: &[&str]| words.iter().position(|it| names.contains(&base(it)));
    let shell = [first(&SHELLS), first(&RUN_TEXT)].into_iter().flatten().min();
    let script = shell.and_then(|at| {
        let flag = behind(at).iter().position(|it| is_script_flag(it))?;
        behind(at).get(flag..)?.split_first()
    });
    if let Some((flag, behind)) = script {
        // Options may stand between, and some of them have values: so any of these may be the script.
        let attached = attached(flag).map(str::to_owned);
        found.extend(attached.into_iter().chain(behind.iter().cloned()).map(Inner::Text));
    }
    let runs = words
        .iter()
        .enumerate()
        .any(|(at, it)| SHELLS.contains(&base(it)) && (at == 0 || it.contains('/')));
    // A shell without a text runs a file, or what it is given.
    *open |= runs && !words.iter().any(|it| is_script_flag(it));
    if let Some(at) = first(&RUN_ALL) {
        found.push(Inner::Text(behind(at).join(" ")));
    }
    if let Some(at) = first(&["env"])
        && let Some(flag) = behind(at).iter().position(|it| env_text(it).is_some())
    {
        *open = true;
        let text = behind(at).get(flag).and_then(|it| env_text(it)).unwrap_or_default();
        let rest = behind(at + 1 + flag);
        let (text, rest) = match rest.split_first().filter(|_| text.is_empty()) {
            Some((text, rest)) => (text.as_str(), rest),
            None => (text, rest),
        };
        let taken: Vec<String> = split(text).commands.concat();
        found.push(Inner::Words(taken.into_iter().chain(rest.iter().cloned()).collect()));
    }
    found
}

/// `-c`, alone or among others as in `-lc`, or in full.
fn is_script_flag(word: &str) -> bool {
    match word.strip_prefix('-') {
        Some(long) if long.starts_with('-') => long.starts_with("-c"),
        Some(short) => short.contains('c'),
        None => false,
    }
}

/// The text in the very word that says there is one.
fn attached(flag: &str) -> Option<&str> {
    let text = if flag.starts_with("--") { flag.split_once('=') } else { flag.split_once('c') };
    text.map(|it| it.1).filter(|it| !it.is_empty())
}

/// The text in an option by which `env` takes a line apart; empty when it comes behind it.
fn env_text(word: &str) -> Option<&str> {
    if word.starts_with("--s") {
        return Some(word.split_once('=').map_or("", |it| it.1));
    }
    let short = word.strip_prefix('-').filter(|it| !it.starts_with('-'))?;
    short.split_once('S').map(|it| it.1)
}

/// One text, taken apart.
#[derive(Default)]
struct Split {
    commands: Vec<Vec<String>>,
    open: bool,
    /// What is in double quotes and has commands of its own.
    inner: Vec<String>,
}

/// Words and separators, as the grammar of a shell has them.
fn split(text: &str) -> Split {
    let mut line = Split::default();
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars().peekable();
    while let Some(it) = rest.next() {
        match it {
            '\'' => {
                let word = word.get_or_insert_default();
                let mut closed = false;
                for it in rest.by_ref() {
                    if it == '\'' {
                        closed = true;
                        break;
                    }
                    word.push(it);
                }
                line.open |= !closed;
            }
            '"' => {
                let word = word.get_or_insert_default();
                let from = word.len();
                line.open |= !in_quotes(&mut rest, word);
                let quoted = word.get(from..).unwrap_or_default();
                if quoted.contains("$(") || quoted.contains('`') {
                    line.inner.push(quoted.to_owned());
                }
            }
            '\\' => match rest.next() {
                // A line goes on.
                Some('\n') => {}
                Some(it) => word.get_or_insert_default().push(it),
                None => line.open = true,
            },
            ' ' | '\t' => words.extend(word.take()),
            ';' | '\n' | '|' | '&' => {
                words.extend(word.take());
                // `2>&1` and `&>` are about files.
                end(&mut line, &mut words);
            }
            '#' if word.is_none() => while rest.next_if(|it| *it != '\n').is_some() {},
            '>' | '<' => {
                line.open = true;
                words.extend(word.take());
            }
            // Only known when it runs.
            '$' | '`' | '(' | ')' | '{' | '}' | '*' | '?' | '[' | ']' | '~' | '!' => {
                line.open = true;
                if matches!(it, '`' | '(' | ')') || (it == '{' && word.is_none()) {
                    words.extend(word.take());
                    end(&mut line, &mut words);
                } else {
                    word.get_or_insert_default().push(it);
                }
            }
            it => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word);
    end(&mut line, &mut words);
    line
}

fn end(line: &mut Split, words: &mut Vec<String>) {
    if !words.is_empty() {
        line.commands.push(std::mem::take(words));
    }
}

/// The rest of what is in double quotes; `false` when not all of it is known.
fn in_quotes(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut String) -> bool {
    let mut known = true;
    while let Some(it) = rest.next() {
        match it {
            '"' => return known,
            '\\' => match rest.next() {
                Some('\n') => {}
                Some(it @ ('"' | '\\' | '$' | '`')) => word.push(it),
                Some(it) => word.extend(['\\', it]),
                None => return false,
            },
            '$' | '`' => {
                known = false;
                word.push(it);
            }
            it => word.push(it),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(text: &str) -> (Vec<String>, bool) {
        let line = read(text);
        (line.commands.iter().map(|it| it.join("_")).collect(), line.open)
    }

    #[test]
    fn a_line_is_taken_apart_as_a_shell_does() {
        for (text, commands, open) in [
            ("make all", &["make_all"][..], false),
            ("a 'b c' \"d e\" f\\ g", &["a_b c_d e_f g"], false),
            ("a && b;c|d||e & f\ng", &["a", "b", "c", "d", "e", "f", "g"], false),
            ("a # b\nc", &["a", "c"], false),
            ("a > f", &["a_f"], true),
            ("a $(b c)", &["a_$", "b_c"], true),
            ("a `b`", &["a", "b"], true),
            ("a \"$(rm x)\"", &["a_$(rm x)", "$", "rm_x"], true),
            ("a \"open", &["a_open"], true),
            ("bash -c 'a && rm x'", &["bash_-c_a && rm x", "a", "rm_x"], false),
            ("env X=1 sh -lc \"rm x\"", &["env_X=1_sh_-lc_rm x", "rm_x"], false),
            ("sh script", &["sh_script"], true),
            ("rm *.c", &["rm_*.c"], true),
            ("", &[], false),
        ] {
            let commands: Vec<String> = commands.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(told(text), (commands, open), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_within_bounds(
            parts in proptest::collection::vec(
                "sh |bash -c |env -S|eval |-c|'|\"|\\\\|\\$\\(|`|;|\\||a|git push|  |\n|[^a]{1,3}", 0..60,
            ),
        ) {
            let line = read(&parts.concat());
            prop_assert!(line.commands.iter().map(Vec::len).sum::<usize>() <= COMMAND_WORDS_MAX);
            prop_assert!(line.commands.iter().all(|it| !it.is_empty()));
        }
    }

    #[test]
    fn no_line_is_more_work_than_may_be() {
        let mut nested = "a;".repeat(1000);
        for _ in 0..6 {
            nested = format!("{}-c '{}'", "sh ".repeat(300), nested.replace('\'', "'\\''"));
        }
        let twice = format!("{0}-c '{0}-c \"{1}\"'", "sh ".repeat(1000), "a;".repeat(8000));
        let env = "env '-Senv -Seval' ".repeat(1000);
        let all = "eval ".repeat(8000);
        for text in [nested, twice, env, all, "a ".repeat(20_000), "a;".repeat(200_000)] {
            let line = read(&text);
            let words: usize = line.commands.iter().map(Vec::len).sum();
            assert!(words <= COMMAND_WORDS_MAX, "{words}");
        }
        let many = read(&"a;".repeat(COMMAND_WORDS_MAX + 1));
        assert!(many.open && many.commands.len() == COMMAND_WORDS_MAX);
        assert!(read(&"a".repeat(COMMAND_BYTES_MAX + 1)).open);
        assert!(read(&("eval ".repeat(20) + "x")).open);
    }

    #[test]
    fn what_is_run_inside_of_a_command_is_found() {
        for text in [
            "bash -ce 'x y'",
            "bash -c -x -o errexit 'x y'",
            "su me -c'x y'",
            "su --command='x y'",
            "script -qc 'x y' f",
            "find . -exec sh -c a ';' -exec sh -c 'x y' ';'",
            "env '-Ssh -c \"x y\"' a",
            "env -iS 'x' y",
            "env --split-string='x y'",
            "env --split 'x y'",
            "eval 'x' y",
            "trap 'x y' EXIT",
            "watch -n 1 'a; x y'",
            "a \"$(x y)\"",
            "a \"`x y`\"",
        ] {
            let line = read(text);
            let found = line.commands.iter().any(|it| it.join(" ").starts_with("x y"));
            assert!(found, "{text}: {line:?}");
        }
    }
}
