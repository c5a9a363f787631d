//! A shell that runs nothing: enough of `sh` for demos and for the suite every driver passes.

use std::time::Duration;

use super::terminal::{Ended, Flow, Terminal};
use crate::model::session::ExitStatus;

const FLOOD_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const SEQ_BATCH: usize = 100;

/// Runs `sh`, or `sh -c TEXT` when there is text.
pub(super) async fn shell(terminal: &mut Terminal, text: Option<&str>) -> Flow {
    let mut last = 0;
    if let Some(text) = text {
        last = Box::pin(list(terminal, text)).await?;
        return Err(Ended(ExitStatus::Code(last)));
    }
    if terminal.is_tty() {
        terminal.line("\x1b[2mfake shell: type help\x1b[0m").await?;
    }
    loop {
        if terminal.is_tty() {
            terminal.write("\x1b]133;A\x07\x1b[32m~/project\x1b[0m $ \x1b]133;B\x07").await?;
        }
        let Some(line) = terminal.read_line().await? else {
            return Err(Ended(ExitStatus::Code(last)));
        };
        if terminal.is_tty() {
            terminal.write("\x1b]133;C\x07").await?;
        }
        last = Box::pin(list(terminal, &line)).await?;
        if terminal.is_tty() {
            terminal.write(format!("\x1b]133;D;{last}\x07")).await?;
        }
    }
}

/// Runs commands separated by `;`, and `for NAME in $(seq A B); do ...; done`.
async fn list(terminal: &mut Terminal, text: &str) -> Flow<i32> {
    let text = text.trim().trim_start_matches(';').trim();
    if text.is_empty() {
        return Ok(0);
    }
    if let Some((round, rest)) = Round::parse(text) {
        for number in round.from..=round.to {
            let body = round.body.replace(&format!("${}", round.name), &number.to_string());
            Box::pin(list(terminal, &body)).await?;
        }
        return Box::pin(list(terminal, rest)).await;
    }
    let (first, rest) = text.split_once(';').unwrap_or((text, ""));
    let code = command(terminal, first.trim()).await?;
    if rest.trim().is_empty() { Ok(code) } else { Box::pin(list(terminal, rest)).await }
}

/// A counting loop.
struct Round<'a> {
    name: &'a str,
    from: u64,
    to: u64,
    body: &'a str,
}

impl<'a> Round<'a> {
    fn parse(text: &'a str) -> Option<(Self, &'a str)> {
        let (name, rest) = text.strip_prefix("for ")?.split_once(" in $(seq ")?;
        let (bounds, rest) = rest.split_once(')')?;
        let (from, to) = bounds.trim().split_once(' ').unwrap_or(("1", bounds.trim()));
        let (_, rest) = rest.split_once("do ")?;
        let (body, rest) = rest.split_once("done")?;
        Some((Self { name, from: from.parse().ok()?, to: to.trim().parse().ok()?, body }, rest))
    }
}

async fn command(terminal: &mut Terminal, text: &str) -> Flow<i32> {
    let (text, to_errors) = match text.strip_suffix(">&2") {
        Some(text) => (text.trim_end(), true),
        None => (text, false),
    };
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    match word {
        "" | "true" | ":" | "trap" => {}
        "false" => return Ok(1),
        "echo" if to_errors => terminal.error_line(&unquote(rest)).await?,
        "echo" => match rest.strip_prefix("-n ") {
            Some(rest) => terminal.write(unquote(rest)).await?,
            None => terminal.line(&unquote(rest)).await?,
        },
        "exit" => return Err(Ended(ExitStatus::Code(rest.parse().unwrap_or(0)))),
        "kill" => {
            let signal = rest.strip_suffix("$$").unwrap_or_default().trim().trim_start_matches('-');
            return Err(Ended(ExitStatus::Signal(signal.parse().unwrap_or(15))));
        }
        "sleep" => {
            let seconds = rest.parse().unwrap_or(0.0);
            terminal.sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default()).await;
        }
        "stty" if rest == "size" => {
            let size = terminal.size();
            terminal.line(&format!("{} {}", size.rows(), size.cols())).await?;
        }
        "stty" => {}
        "seq" => seq(terminal, rest).await?,
        "flood" => flood(terminal, rest.parse().unwrap_or(1_000_000)).await?,
        "cat" => {
            while let Some(bytes) = terminal.read().await {
                terminal.write(bytes).await?;
            }
        }
        "wc" => {
            let count = drain(terminal, u64::MAX).await;
            terminal.line(&count.to_string()).await?;
        }
        "head" => {
            let wanted = rest.trim_start_matches("-c").trim().split(' ').next().unwrap_or("");
            let count = drain(terminal, wanted.parse().unwrap_or(0)).await;
            terminal.line(&count.to_string()).await?;
        }
        "title" => terminal.write(format!("\x1b]2;{rest}\x07")).await?,
        "bell" => terminal.write("\x07").await?,
        "clear" => terminal.write("\x1b[H\x1b[2J").await?,
        "pwd" => terminal.line("/home/you/project").await?,
        "ls" => {
            terminal
                .line("Cargo.toml  README.md  \x1b[34msrc\x1b[0m  \x1b[34mtests\x1b[0m")
                .await?;
        }
        "help" => terminal.line("echo ls pwd seq sleep flood title bell clear stty exit").await?,
        word => {
            terminal.error_line(&format!("sh: {word}: not found")).await?;
            return Ok(127);
        }
    }
    Ok(0)
}

fn unquote(text: &str) -> String {
    text.trim_matches(['\'', '"']).to_owned()
}

async fn drain(terminal: &mut Terminal, wanted: u64) -> u64 {
    let mut count = 0;
    while count < wanted {
        let Some(bytes) = terminal.read().await else { break };
        count += bytes.len() as u64;
    }
    count.min(wanted)
}

async fn seq(terminal: &mut Terminal, bounds: &str) -> Flow {
    let (from, to) = bounds.split_once(' ').unwrap_or(("1", bounds));
    let (from, to): (u64, u64) = (from.parse().unwrap_or(1), to.trim().parse().unwrap_or(0));
    let end = if terminal.is_tty() { "\r\n" } else { "\n" };
    let mut batch = String::new();
    for (index, number) in (from..=to).enumerate() {
        batch.push_str(&format!("{number}{end}"));
        if (index + 1) % SEQ_BATCH == 0 {
            terminal.write(std::mem::take(&mut batch)).await?;
        }
    }
    terminal.write(batch).await
}

/// Prints so many bytes of coloured lines as fast as they are taken.
pub(super) async fn flood(terminal: &mut Terminal, bytes: u64) -> Flow {
    let mut left = bytes.min(FLOOD_BYTES_MAX);
    let mut number = 0_u64;
    while left > 0 {
        let mut batch = String::new();
        while batch.len() < 4000 {
            number += 1;
            let colour = 31 + number % 6;
            batch.push_str(&format!(
                "\x1b[{colour}m{number:08}\x1b[0m the quick brown fox 漢字\r\n"
            ));
        }
        left = left.saturating_sub(batch.len() as u64);
        terminal.write(batch).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}
