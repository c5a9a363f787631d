//! Looks for agent programs on PATH, for the first-run page. Blocking; called beside the loop.

use std::os::unix::fs::PermissionsExt;

use crate::config::environment::Variable;

/// Agent command lines, the more widely used first.
const KNOWN: &[&str] = &[
    "claude",
    "codex",
    "gemini",
    "opencode",
    "aider",
    "cursor-agent",
    "copilot",
    "amp",
    "goose",
    "crush",
    "qwen",
    "droid",
    "kiro-cli",
    "auggie",
    "vibe",
    "pi",
];

/// The known agents that are there, best first.
pub fn on_path() -> Vec<String> {
    let found = KNOWN.iter().filter(|name| is_on_path(name));
    found.map(|name| (*name).to_owned()).collect()
}

/// Whether a program of this name can be run.
pub fn is_on_path(name: &str) -> bool {
    let path = Variable::Path.raw().unwrap_or_default();
    std::env::split_paths(&path).any(|dir| {
        let seen = std::fs::metadata(dir.join(name));
        seen.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    })
}
