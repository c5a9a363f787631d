//! Which scripted program a command stands for.

use std::sync::LazyLock;

use super::{
    editor,
    script::Script,
    shell,
    terminal::{Ended, Flow, Terminal},
};
use crate::model::session::ExitStatus;

const NOT_FOUND: i32 = 127;
const FLOOD_BYTES: u64 = 200 * 1024 * 1024;

macro_rules! scripts {
    ($($name:literal: $($alias:literal)*;)*) => {
        /// Name, commands that mean it, and text of every script.
        const SCRIPTS: &[(&str, &[&str], &str)] = &[
            $(($name, &[$($alias),*], include_str!(concat!("scripts/", $name, ".script"))),)*
        ];
    };
}

scripts! {
    "agent": "claude" "codex" "opencode" "gemini";
    "build": "cargo" "make" "npm";
    "log": "crawler" "tail";
    "chat": "aider" "python3";
    "idle": "sleep" "less";
    "done": "report";
    "failure": "migrate";
    "count": "counter";
}

static PARSED: LazyLock<Vec<Option<Script>>> =
    LazyLock::new(|| SCRIPTS.iter().map(|(_, _, text)| Script::parse(text).ok()).collect());

/// Runs what `command` stands for: `fake:NAME`, or a program name that means one.
pub(super) async fn run(command: &[String], terminal: &mut Terminal) -> ExitStatus {
    match choose(command, terminal).await {
        Ok(()) => ExitStatus::Code(0),
        Err(Ended(status)) => status,
    }
}

async fn choose(command: &[String], terminal: &mut Terminal) -> Flow {
    let program = command.first().map_or("sh", String::as_str);
    let base = program.rsplit('/').next().unwrap_or(program);
    match base.strip_prefix("fake:").unwrap_or(base) {
        "sh" | "bash" | "zsh" | "shell" => {
            let text = command.iter().position(|it| it == "-c").and_then(|at| command.get(at + 1));
            shell::shell(terminal, text.map(String::as_str)).await
        }
        "vim" | "nano" | "editor" => editor::editor(terminal).await,
        "flood" => shell::flood(terminal, FLOOD_BYTES).await,
        name => {
            let found = SCRIPTS
                .iter()
                .position(|(script, aliases, _)| *script == name || aliases.contains(&name));
            match found.and_then(|at| PARSED.get(at)).and_then(Option::as_ref) {
                Some(script) => script.run(terminal).await,
                None => {
                    terminal.error_line(&format!("{name}: not found")).await?;
                    Err(Ended(ExitStatus::Code(NOT_FOUND)))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_reads_well() {
        for (name, _, text) in SCRIPTS {
            Script::parse(text).unwrap_or_else(|what| panic!("{name}: {what}"));
        }
    }
}
