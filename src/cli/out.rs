//! What the command line prints, and the exit codes. The only module that writes to stdout and stderr.

use std::io::{self, IsTerminal, Write};

use crate::base::{
    fault::{Fault, Kind, Outcome},
    text,
};

/// How a verb ended when nothing went wrong: 0, or a program's own exit code.
pub type Code = u8;
pub const DONE: Code = 0;

/// The exit code of a failure, as scripts rely on it.
pub fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::Invalid => 2,
        Kind::Absent => 3,
        Kind::Denied => 4,
        Kind::Unsupported => 5,
        Kind::Lost => 6,
        Kind::Late => 7,
        Kind::Busy | Kind::Failed | Kind::Bug => 1,
    }
}

/// Writes to stdout. A reader that has gone away (`| head`) ends the verb without a word.
pub fn print(text: &str) -> Outcome<()> {
    print_bytes(text.as_bytes())
}

pub fn print_bytes(bytes: &[u8]) -> Outcome<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| written(&error))
}

pub fn print_error_bytes(bytes: &[u8]) -> Outcome<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(bytes).and_then(|()| stderr.flush()).map_err(|error| written(&error))
}

const READER_GONE: &str = "stdout: nobody reads it any more";

fn written(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Fault::failed(READER_GONE),
        _ => Fault::io("write the output", error),
    }
}

/// One line for a person, on stderr, so that stdout stays what scripts expect.
pub fn tell(line: &str) {
    // Nobody can be told that telling failed.
    drop(writeln!(io::stderr(), "{}", text::visible(line)));
}

/// Says what failed and what to do, on stderr, in at most two lines; returns the exit code.
pub fn report(fault: &Fault) -> Code {
    if fault.message() != READER_GONE {
        tell(&format!("sandwatch: {}", fault.message()));
        if let Some(hint) = fault.hint_text() {
            tell(&format!("hint: {hint}"));
        }
    }
    code_of(fault.kind())
}

/// Prints a value as one JSON document.
pub fn json<T: serde::Serialize>(value: &T) -> Outcome<()> {
    let mut document = serde_json::to_string_pretty(value)
        .map_err(|error| Fault::bug(format!("write JSON: {error}")))?;
    document.push('\n');
    print(&escaped(&document))
}

/// Prints a value as one line of JSON.
pub fn json_line<T: serde::Serialize>(value: &T) -> Outcome<()> {
    let line = serde_json::to_string(value);
    let line = line.map_err(|error| Fault::bug(format!("write JSON: {error}")))?;
    print(&escaped(&format!("{line}\n")))
}

/// The same JSON, in which no character acts on a terminal or goes unseen: only texts in it have such.
fn escaped(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for it in document.chars() {
        if it != '\n' && (text::is_deceptive(it) || text::is_unseen(it)) {
            let units = it.encode_utf16(&mut [0; 2]).to_vec();
            out.extend(units.iter().map(|it| format!("\\u{it:04x}")));
        } else {
            out.push(it);
        }
    }
    out
}

/// This process talks to a person: both ends are a terminal.
pub fn on_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Asks for a word on the terminal: anything else is no. What was typed before the question is no answer to it.
pub fn confirm_by_word(question: &str, word: &str) -> Outcome<bool> {
    let asked = format!("{question} Type `{word}`: ");
    Ok(typed_after(&asked)?.trim() == word)
}

/// A line that is typed once this is asked: what was typed until then is dropped first, so that nothing which answers what
/// is on screen is dropped with it.
fn typed_after(question: &str) -> Outcome<String> {
    let stdin = io::stdin();
    rustix::termios::tcflush(&stdin, rustix::termios::QueueSelector::IFlush)
        .map_err(|error| Fault::io("ask", &error.into()))?;
    {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{}", text::visible(question))
            .and_then(|()| stderr.flush())
            .map_err(|error| Fault::io("ask", &error))?;
    }
    let mut line = String::new();
    stdin.read_line(&mut line).map_err(|error| Fault::io("read the answer", &error))?;
    Ok(line)
}

/// Asks a yes-or-no question on the terminal; anything but a clear yes is no.
pub fn confirm(question: &str) -> Outcome<bool> {
    {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{} [y/N] ", text::visible(question))
            .and_then(|()| stderr.flush())
            .map_err(|error| Fault::io("ask", &error))?;
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|error| Fault::io("read the answer", &error))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_acts_on_no_terminal_and_says_the_same() {
        let text = "a\u{9b}2J\u{85}\u{7f}\u{1b}\n\u{202e}\u{200b}\u{e0041}\u{fe0f}\u{a0}ä日👩";
        let document = serde_json::to_string_pretty(&[text]).unwrap();
        let safe = escaped(&document);
        assert!(safe.chars().all(|it| it == '\n' || !text::is_deceptive(it)), "{safe}");
        assert!(safe.contains("\\u009b2J") && safe.contains("\\udb40\\udc41"), "{safe}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&safe).unwrap(), [text]);
    }
}
