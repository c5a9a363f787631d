//! The commonest mistake on the command line: a command without `--` before it. Says the line as it
//! should have been.

use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::args::Cli;
use crate::{
    base::{fault::Fault, text},
    policy::shell::quoted,
};

/// Words tried, and bytes of the line that is suggested: longer ones say the rule alone.
const WORDS_MAX: usize = 64;
const LINE_BYTES_MAX: usize = 400;

/// What to say of a mistake that a `--` mends; `typed` has no program's name.
pub fn missing(error: &clap::Error, typed: &[String]) -> Option<Fault> {
    let takes_command = matches!(typed.first().map(String::as_str), Some("run" | "exec" | "shell"));
    if error.kind() != ErrorKind::UnknownArgument
        || !takes_command
        || typed.iter().any(|it| it == "--")
    {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    // As far back as it can be: what comes before it are options, with their values.
    let line = (1..typed.len().min(WORDS_MAX)).rev().map(|at| {
        let mut line = typed.to_vec();
        line.insert(at, "--".to_owned());
        line
    });
    let whole = |line: &Vec<String>| {
        Cli::try_parse_from(std::iter::once(&"sandwatch".to_owned()).chain(line)).is_ok()
    };
    let line = line.into_iter().find(whole)?;
    let at = line.iter().position(|it| it == "--")?;
    let is_option = |at: usize| line.get(at).is_none_or(|it| it.starts_with('-'));
    // No command begins like this, and no agent is named before it: an option that there is not.
    if is_option(at + 1) && (at == 1 || is_option(at - 1)) {
        return None;
    }
    let line: Vec<String> = line.iter().map(|it| quoted(it)).collect();
    let line = format!("sandwatch {}", line.join(" "));
    let what = format!("unexpected argument: {}", text::shown(word, LINE_BYTES_MAX));
    let hint = if line.len() > LINE_BYTES_MAX || text::visible(&line) != line {
        "put -- before the command".to_owned()
    } else {
        format!("put -- before the command: {line}")
    };
    Some(Fault::invalid(what).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &[&str]) -> Option<String> {
        let typed: Vec<String> = line.iter().map(|it| (*it).to_owned()).collect();
        let error = Cli::try_parse_from(std::iter::once("sandwatch").chain(line.iter().copied()));
        let fault = missing(&error.unwrap_err(), &typed)?;
        fault.hint_text().map(str::to_owned)
    }

    #[test]
    fn a_command_without_dashes_is_given_back_with_them() {
        for (typed, meant) in [
            (&["run", "claude", "fix it"][..], "run claude -- 'fix it'"),
            (&["run", "-d", "--name", "x", "echo", "it's"], r"run -d --name x echo -- 'it'\''s'"),
            (&["run", "claude", "--model", "x"], "run claude -- --model x"),
            (&["exec", "box", "ls", "-l"], "exec box -- ls -l"),
            (&["shell", "box", "vim"], "shell box -- vim"),
        ] {
            let meant = format!("put -- before the command: sandwatch {meant}");
            assert_eq!(said(typed), Some(meant), "{typed:?}");
        }
    }

    #[test]
    fn other_mistakes_are_left_as_they_are() {
        for typed in [
            &["rm", "--force", "x"][..],
            &["run", "--", "ls"],
            &["frobnicate", "x"],
            &["run", "--bogus"],
            &["run", "-d", "--bogus", "x"],
        ] {
            let line: Vec<String> = typed.iter().map(|it| (*it).to_owned()).collect();
            let parsed =
                Cli::try_parse_from(std::iter::once("sandwatch").chain(typed.iter().copied()));
            let told = parsed.err().and_then(|it| missing(&it, &line));
            assert!(told.is_none(), "{typed:?}: {told:?}");
        }
        let long = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(said(&["run", "a", &long]).as_deref(), Some("put -- before the command"));
    }
}
