//! Takes a command line apart as a shell would, as far as that can be told without running it.

/// A command line in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The words of each simple command, without quotes.
    pub commands: Vec<Vec<String>>,
    /// Something in it decides only when it runs, or writes to a file: what it does is not all in its words.
    pub open: bool,
}

/// Programs that run the words behind them, and how many words of their own come first.
const RUNNERS: [&str; 10] =
    ["nice", "nohup", "time", "timeout", "command", "exec", "stdbuf", "setsid", "ionice", "env"];
/// Those that run them as somebody else.
const RUNNERS_AS: [&str; 4] = ["sudo", "doas", "pkexec", "runuser"];
pub const SHELLS: [&str; 5] = ["sh", "bash", "dash", "zsh", "ksh"];
const SYSTEM: [&str; 6] =
    ["/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin", "/usr/local/sbin"];
/// Commands in commands are followed so deep.
const DEPTH_MAX: usize = 8;

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

/// Takes a line apart; what a shell in it would run is part of it.
pub fn read(text: &str) -> Line {
    read_at(text, 0)
}

fn read_at(text: &str, depth: usize) -> Line {
    let mut line = split(text);
    if depth >= DEPTH_MAX {
        line.open = true;
        return line;
    }
    let mut inner = Vec::new();
    for words in &line.commands {
        for (at, word) in words.iter().enumerate().filter(|(_, it)| SHELLS.contains(&base(it))) {
            // `bash -c TEXT` anywhere, for it may come behind something that runs it.
            let script = words.iter().skip(at + 1).position(|it| is_script_flag(it));
            let script = script.and_then(|it| words.get(at + it + 2));
            match script {
                Some(script) => inner.push(read_at(script, depth + 1)),
                // It runs a file, or what it is given.
                None if at == 0 || word.contains('/') => line.open = true,
                None => {}
            }
        }
    }
    for it in inner {
        line.open |= it.open;
        line.commands.extend(it.commands);
    }
    line
}

/// `-c`, alone or among others as in `-lc`.
fn is_script_flag(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|it| !it.starts_with('-') && it.ends_with('c'))
}

/// The words that are run in the end: behind what only runs them. Whether that is as somebody else, or with other
/// variables, is told too.
pub fn in_the_end(words: &[String]) -> (&[String], bool) {
    let (mut rest, mut otherwise) = (words, false);
    for _ in 0..DEPTH_MAX {
        let Some((first, behind)) = rest.split_first() else { break };
        let name = named(first).unwrap_or_default();
        let assigns = first.split_once('=').is_some_and(|(key, _)| is_variable(key));
        let as_other = RUNNERS_AS.contains(&name);
        if !assigns && !as_other && !RUNNERS.contains(&name) {
            break;
        }
        otherwise |= assigns || as_other;
        rest = behind;
        if assigns {
            continue;
        }
        // Its own flags, a time or a number, and variables.
        while let Some((word, behind)) = rest.split_first() {
            let sets = word.split_once('=').is_some_and(|(key, _)| is_variable(key));
            let own = word.starts_with('-') || word.starts_with(|it: char| it.is_ascii_digit());
            if !sets && !own {
                break;
            }
            otherwise |= sets || as_other;
            rest = behind;
        }
    }
    (rest, otherwise)
}

fn is_variable(text: &str) -> bool {
    text.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
        && text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}

/// Words and separators, as the grammar of a shell has them.
fn split(text: &str) -> Line {
    let mut line = Line::default();
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
            '"' => line.open |= !quoted(&mut rest, word.get_or_insert_default()),
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

fn end(line: &mut Line, words: &mut Vec<String>) {
    if !words.is_empty() {
        line.commands.push(std::mem::take(words));
    }
}

/// The rest of what is in double quotes; `false` when not all of it is known.
fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut String) -> bool {
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
            ("a \"$(rm x)\"", &["a_$(rm x)"], true),
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

    #[test]
    fn what_only_runs_other_words_is_looked_through() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (text, end, otherwise) in [
            ("make all", "make all", false),
            ("nice -n 5 timeout 10 make", "make", false),
            ("sudo -u x rm y", "x rm y", true),
            ("env A=1 make", "make", true),
            ("A=1 make", "make", true),
            ("/usr/bin/time make", "make", false),
        ] {
            let all = words(text);
            let (rest, other) = in_the_end(&all);
            assert_eq!((rest.join(" ").as_str(), other), (end, otherwise), "{text}");
        }
    }
}
