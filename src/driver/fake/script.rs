//! A small language for scripted programs: one step a line, read from the files in `scripts/`.
//!
//! `print TEXT` · `write TEXT` · `type MS TEXT` · `wait MS` · `title TEXT` · `bell` · `read` ·
//! `key` · `progress MS TEXT` · `repeat N` ... `end` · `forever` ... `end` · `exit CODE`.
//! Text knows `\e \n \r \\`, and `{n}` (round of the loop), `{answer}` (last line read),
//! `{cols}`, `{rows}`, `{rule}` (a line as wide as the screen).

use std::time::Duration;

use super::terminal::{Ended, Flow, Terminal};
use crate::model::session::ExitStatus;

const PROGRESS_STEPS: u32 = 20;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Write(String),
    Type { pause: Duration, text: String },
    Wait(Duration),
    Read,
    Key,
    Progress { time: Duration, text: String },
    Loop { rounds: Option<u32>, steps: Vec<Step> },
    Exit(i32),
}

/// A program as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script(Vec<Step>);

/// What text may refer to.
#[derive(Default)]
struct Memory {
    answer: String,
    rounds: Vec<u32>,
}

impl Script {
    /// Reads a script; the error names the line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut open = vec![(None, Vec::new())];
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            step(line, &mut open).map_err(|what| format!("line {}: {what}", index + 1))?;
        }
        match (open.pop(), open.is_empty()) {
            (Some((_, steps)), true) => Ok(Self(steps)),
            _ => Err("a loop has no end".to_owned()),
        }
    }

    pub(super) async fn run(&self, terminal: &mut Terminal) -> Flow {
        run(&self.0, terminal, &mut Memory::default()).await
    }
}

type Open = Vec<(Option<u32>, Vec<Step>)>;

fn step(line: &str, open: &mut Open) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let step = match word {
        "print" => Step::Write(unescape(rest) + "\r\n"),
        "write" => Step::Write(unescape(rest)),
        "title" => Step::Write(format!("\x1b]2;{}\x07", unescape(rest))),
        "bell" => Step::Write("\x07".to_owned()),
        "type" => {
            let (pause, text) = timed(rest)?;
            Step::Type { pause, text }
        }
        "progress" => {
            let (time, text) = timed(rest)?;
            Step::Progress { time, text }
        }
        "wait" => Step::Wait(timed(rest)?.0),
        "read" => Step::Read,
        "key" => Step::Key,
        "exit" => Step::Exit(number(rest)?),
        "repeat" => {
            open.push((Some(number(rest)?), Vec::new()));
            return Ok(());
        }
        "forever" => {
            open.push((None, Vec::new()));
            return Ok(());
        }
        "end" if open.len() > 1 => {
            let (rounds, steps) = open.pop().unwrap_or_default();
            Step::Loop { rounds, steps }
        }
        word => return Err(format!("no such step: {word}")),
    };
    if let Some((_, steps)) = open.last_mut() {
        steps.push(step);
    }
    Ok(())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("not a number: {text}"))
}

fn timed(text: &str) -> Result<(Duration, String), String> {
    let (time, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok((Duration::from_millis(number(time)?), unescape(rest)))
}

fn unescape(text: &str) -> String {
    text.replace("\\\\", "\0")
        .replace("\\e", "\x1b")
        .replace("\\n", "\r\n")
        .replace("\\r", "\r")
        .replace('\0', "\\")
}

fn fill(text: &str, terminal: &Terminal, memory: &Memory) -> String {
    if !text.contains('{') {
        return text.to_owned();
    }
    let size = terminal.size();
    text.replace("{n}", &memory.rounds.last().copied().unwrap_or(1).to_string())
        .replace("{answer}", &memory.answer)
        .replace("{cols}", &size.cols().to_string())
        .replace("{rows}", &size.rows().to_string())
        .replace("{rule}", &"─".repeat(usize::from(size.cols())))
}

async fn run(steps: &[Step], terminal: &mut Terminal, memory: &mut Memory) -> Flow {
    for step in steps {
        match step {
            Step::Write(text) => terminal.write(fill(text, terminal, memory)).await?,
            Step::Type { pause, text } => {
                for it in fill(text, terminal, memory).chars() {
                    terminal.write(it.to_string()).await?;
                    terminal.sleep(*pause).await;
                }
            }
            Step::Wait(time) => terminal.sleep(*time).await,
            Step::Read => match terminal.read_line().await? {
                Some(line) => memory.answer = line,
                None => return Err(Ended(ExitStatus::Code(0))),
            },
            Step::Key => {
                if terminal.read().await.is_none() {
                    return Err(Ended(ExitStatus::Code(0)));
                }
            }
            Step::Progress { time, text } => progress(terminal, *time, text).await?,
            Step::Exit(code) => return Err(Ended(ExitStatus::Code(*code))),
            Step::Loop { rounds, steps } => {
                let mut round = 1;
                while rounds.is_none_or(|most| round <= most) {
                    memory.rounds.push(round);
                    let flow = Box::pin(run(steps, terminal, memory)).await;
                    memory.rounds.pop();
                    flow?;
                    round = round.wrapping_add(1);
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    Ok(())
}

async fn progress(terminal: &mut Terminal, time: Duration, text: &str) -> Flow {
    for done in 0..=PROGRESS_STEPS {
        let bar = "█".repeat(done as usize) + &"░".repeat((PROGRESS_STEPS - done) as usize);
        let percent = done * 100 / PROGRESS_STEPS;
        terminal.write(format!("\r\x1b[K\x1b[36m{bar}\x1b[0m {percent:3}% {text}")).await?;
        terminal.sleep(time / PROGRESS_STEPS).await;
    }
    terminal.write("\r\n").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_step_is_named_with_its_line() {
        assert_eq!(Script::parse("bell\nbel\n"), Err("line 2: no such step: bel".to_owned()));
        assert!(Script::parse("forever\nbell\n").is_err());
        assert!(Script::parse("end\n").is_err());
        assert!(Script::parse("wait soon\n").is_err());
    }
}
