//! The `:` line: words to an action with its argument, and the completion of both.

use super::action::{ACTIONS, Action, Argument};
use crate::{
    base::{limits::ARGS_MAX, text::is_deceptive},
    config::source::unknown,
};

/// Longest command line, in bytes.
pub const COMMAND_BYTES_MAX: usize = 4096;

/// An action with what was typed after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub action: Action,
    /// Trimmed; empty when nothing was given.
    pub argument: String,
}

/// Reads a line; the error says what is wrong and what was perhaps meant.
pub fn parse(line: &str) -> Result<Request, String> {
    if line.len() > COMMAND_BYTES_MAX {
        return Err(format!("a command has at most {COMMAND_BYTES_MAX} bytes"));
    }
    let line = line.trim();
    let (word, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim().to_owned();
    let short = match word {
        "q" | "q!" => "quit",
        "rm" => "remove",
        it => it,
    };
    let Some(action) = Action::from_command(short) else {
        return Err(unknown("a command", word, names()));
    };
    let takes = action.spec().command.map_or(Argument::Nothing, |(_, takes)| takes);
    match takes {
        Argument::Nothing if !argument.is_empty() => {
            Err(format!("`{word}` takes nothing after it"))
        }
        Argument::Layout if !["1", "2", "4", "6"].contains(&argument.as_str()) => {
            Err("a layout is 1, 2, 4 or 6".to_owned())
        }
        Argument::Theme | Argument::Keymap if argument.is_empty() => {
            Err(format!("`{word}` needs a name after it"))
        }
        _ => Ok(Request { action, argument }),
    }
}

/// The short names, in the order of the table.
pub fn names() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().filter_map(|it| it.command.map(|(name, _)| name))
}

/// Words that could stand where the line ends, given the names that exist right now.
pub fn complete(line: &str, known: &dyn Fn(Argument) -> Vec<String>) -> Vec<String> {
    let line = line.trim_start();
    let Some((word, rest)) = line.split_once(char::is_whitespace) else {
        return names().filter(|it| it.starts_with(line)).map(str::to_owned).collect();
    };
    let Some(action) = Action::from_command(word) else { return Vec::new() };
    let takes = action.spec().command.map_or(Argument::Nothing, |(_, takes)| takes);
    let rest = rest.trim_start();
    known(takes)
        .into_iter()
        .filter(|it| it.starts_with(rest))
        .map(|it| format!("{word} {it}"))
        .collect()
}

/// Splits a command line as a shell would, for quotes and backslashes and nothing else.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(it) = rest.next() {
        match (quote, it) {
            (Some(open), it) if it == open => quote = None,
            (Some('\''), it) => word.get_or_insert_default().push(it),
            (_, '\\') => {
                let next = rest.next().ok_or("a backslash at the end stands for nothing")?;
                word.get_or_insert_default().push(next);
            }
            (None, '\'' | '"') => {
                quote = Some(it);
                word.get_or_insert_default();
            }
            (None, it) if it.is_whitespace() => words.extend(word.take()),
            (_, it) => word.get_or_insert_default().push(it),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a {open} is not closed"));
    }
    words.extend(word);
    if words.len() > ARGS_MAX {
        return Err(format!("at most {ARGS_MAX} words"));
    }
    Ok(words)
}

/// A name from outside as one word for a shell: it is that name, does nothing else, and can be looked at. What
/// could act on a terminal or deceive is written as bash, zsh and ksh read it, byte by byte.
pub fn quote(name: &[u8]) -> String {
    // Not an option of the program.
    let here = if name.starts_with(b"-") { "./" } else { "" };
    let plain = |it: &u8| it.is_ascii_alphanumeric() || b"_-+=:,./@%".contains(it);
    let text = std::str::from_utf8(name).ok().filter(|it| !it.contains(is_deceptive));
    match text {
        Some(text) if !name.is_empty() && name.iter().all(plain) => format!("{here}{text}"),
        Some(text) => format!("'{here}{}'", text.replace('\'', r"'\''")),
        None => {
            let bytes: String = name.iter().map(|it| escaped(*it)).collect();
            format!("$'{here}{bytes}'")
        }
    }
}

fn escaped(byte: u8) -> String {
    match byte {
        b'\\' | b'\'' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    }
}
