//! What rules say of a command line: each command of it must be allowed, and one that is denied denies all of it.

use super::{
    rules::{Outcome, Rule, Ruling, Subject, said, unknown},
    runners::in_the_end,
    shell::{self, base, named},
};
use crate::base::text;

/// What is repeated of a command that no rule knows, in bytes.
const SHOWN_BYTES: usize = 200;

pub fn judge(rules: &[&Rule], line: &str) -> Outcome {
    let line = shell::read(line);
    // What forbids looks through everything, at every place where a command could begin.
    let strict = |ruling: Ruling| {
        rules.iter().filter(move |it| it.ruling == ruling).find(|it| {
            let Subject::Command(prefix) = &it.subject else { return false };
            line.commands.iter().any(|words| meets(words, prefix))
        })
    };
    if let Some(rule) = strict(Ruling::Deny).or_else(|| strict(Ruling::Ask)) {
        return said(rule);
    }
    if line.open {
        return unknown(
            "what it does is known only when it runs, or it writes to a file, or it is too long",
        );
    }
    let mut by: Vec<Rule> = Vec::new();
    for words in &line.commands {
        let end = in_the_end(words);
        // What is in `bash -c` is among the commands by itself.
        if runs_its_words(end) {
            continue;
        }
        let allowed = rules.iter().filter(|it| it.ruling == Ruling::Allow).find(|it| {
            let Subject::Command(prefix) = &it.subject else { return false };
            starts_with(words, prefix) || starts_with(end, prefix)
        });
        match allowed {
            Some(rule) if by.iter().any(|it| it.id == rule.id) => {}
            Some(rule) => by.push(Rule::clone(rule)),
            None => {
                let command = text::shown(&words.join(" "), SHOWN_BYTES);
                return unknown(&format!("no rule knows: {command}"));
            }
        }
    }
    let names: Vec<&str> = by.iter().map(|it| it.id.as_str()).collect();
    if by.is_empty() {
        return unknown("no rule knows it");
    }
    let because = format!("every command of it by {}", names.join(", "));
    Outcome { ruling: Ruling::Allow, by, because }
}

/// The words of the one command that a line is; `Err` says why it is none that a rule could name.
pub fn argv(line: &str) -> Result<Vec<String>, &'static str> {
    let line = shell::read(line);
    if line.open {
        return Err(
            "what it does is not all in its words: it writes to a file, or is known only when it runs",
        );
    }
    let mut own: Vec<Vec<String>> =
        line.commands.into_iter().filter(|it| !runs_its_words(in_the_end(it))).collect();
    own.dedup();
    match (own.pop(), own.is_empty()) {
        (Some(words), true) => Ok(words),
        (None, _) => Err("it has no command that a rule could name"),
        _ => Err("it is several commands, and a rule is about one"),
    }
}

/// A shell that runs the text behind `-c` and nothing of its own.
fn runs_its_words(words: &[String]) -> bool {
    let [program, flag, _, ..] = words else { return false };
    let shell = named(program).is_some_and(|it| shell::SHELLS.contains(&it));
    shell && matches!(flag.as_str(), "-c" | "-lc")
}

/// The first words are these and no others. A program may be named with the way to it, if that is the system's.
fn starts_with(words: &[String], prefix: &[Vec<String>]) -> bool {
    let fits = |(at, (word, may)): (usize, (&String, &Vec<String>))| {
        let name = named(word).filter(|_| at == 0);
        may.iter().any(|it| it == word || name == Some(it.as_str()))
    };
    words.len() >= prefix.len() && words.iter().zip(prefix).enumerate().all(fits)
}

/// Some words are these, wherever the program lies, and whatever options with or without a value stand between them.
/// All ways to read them are followed at once, so that each word is looked at once for each of the prefix.
fn meets(words: &[String], prefix: &[Vec<String>]) -> bool {
    // For each place in the prefix: whether the next word may stand there, and whether it may be the value of an
    // option before it.
    let mut due = vec![(false, false); prefix.len()];
    for word in words {
        if let Some(first) = due.first_mut() {
            first.0 = true;
        }
        let mut met = false;
        for (at, (place, may)) in due.iter_mut().zip(prefix).enumerate() {
            let (here, value) = std::mem::take(place);
            // What the place before has just met is looked at with the next word.
            place.0 = met || value;
            met = here && may.iter().any(|it| is_word(word, it, at == 0));
            if here && at > 0 && word.starts_with('-') {
                *place = (true, true);
            }
        }
        if met {
            return true;
        }
    }
    false
}

fn is_word(word: &str, may: &str, program: bool) -> bool {
    word == may || (program && base(word) == base(may))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::limits::COMMAND_WORDS_MAX;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').filter(|it| !it.is_empty()).map(str::to_owned).collect()
    }

    fn prefix(text: &str) -> Vec<Vec<String>> {
        words(text).iter().map(|it| it.split('|').map(str::to_owned).collect()).collect()
    }

    /// The same, as one would define it.
    fn defined(words: &[String], prefix: &[Vec<String>], program: bool) -> bool {
        let Some((may, after)) = prefix.split_first() else { return true };
        let Some((word, behind)) = words.split_first() else { return false };
        if may.iter().any(|it| is_word(word, it, program)) && defined(behind, after, false) {
            return true;
        }
        !program
            && word.starts_with('-')
            && (defined(behind, prefix, false)
                || defined(behind.get(1..).unwrap_or_default(), prefix, false))
    }

    proptest! {
        #[test]
        fn words_are_met_as_is_defined(
            line in "((a|b|c|-x|-a|/y/a) ){0,10}", wanted in "((a|b|a\\|c|-x) ){1,4}",
        ) {
            let (words, prefix) = (words(&line), prefix(&wanted));
            let by_definition = (0..words.len()).any(|at| defined(&words[at..], &prefix, true));
            prop_assert_eq!(meets(&words, &prefix), by_definition);
        }
    }

    #[test]
    fn any_number_of_options_is_looked_through() {
        let options = vec!["-a".to_owned(); COMMAND_WORDS_MAX];
        let line = [&["git".to_owned()], &options[..]].concat();
        assert!(!meets(&line, &prefix("git push")));
        assert!(meets(&[line, vec!["push".to_owned()]].concat(), &prefix("git push")));
        assert!(meets(&words("x git -C push push"), &prefix("/usr/bin/git push")));
    }
}
