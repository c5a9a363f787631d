//! The operator's own `ssh`, as it is started for one attachment, and what it says.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    sync::watch,
    time::timeout,
};

use super::terminal::Terminal;
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::GATEWAY_WORDS_BYTES_MAX,
        text::shown,
    },
    model::check::{Check, CheckStatus},
};

/// What `ssh` ends with when it is at fault itself, or can't know better.
pub const LOST: i32 = 255;
/// Of the words with which a supervisor says that somebody else types.
const OWNED: &str = "already has an input owner";
/// How long one that hung up may take to end, and what it said last to be read.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// How one is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Watches,
    Types,
}

/// What it said on its standard error.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The last of it.
    pub last: String,
    /// Somebody else types there.
    pub owned: bool,
}

/// How one that hung up ended, and all that it said, also what came last.
pub async fn ended(ssh: &mut Child, said: &mut watch::Receiver<Said>) -> (i32, Said) {
    let status = timeout(ENDS_WITHIN, ssh.wait()).await;
    let code = match status {
        Ok(Ok(status)) => status.code().unwrap_or(LOST),
        _ => LOST,
    };
    let all_said = async { while said.changed().await.is_ok() {} };
    drop(timeout(ENDS_WITHIN, all_said).await);
    (code, said.borrow().clone())
}

/// Keeps the last that is said on standard error, and whether somebody else was said to type.
pub async fn listen(errors: ChildStderr, words: watch::Sender<Said>) {
    let mut lines = BufReader::new(errors);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without an end is taken in pieces.
        let mut piece = (&mut lines).take(GATEWAY_WORDS_BYTES_MAX as u64);
        match piece.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let said = shown(String::from_utf8_lossy(&line).trim(), GATEWAY_WORDS_BYTES_MAX);
        if !said.is_empty() {
            words.send_modify(|it| {
                it.owned |= said.contains(OWNED);
                it.last = said;
            });
        }
    }
}

/// What `ssh` is told. Nothing of the operator's own is offered to a sandbox: no key, no agent, no configuration.
pub fn start(proxy: &str, part: Part, terminal: Option<&mut Terminal>) -> Outcome<Child> {
    let mut command = Command::new("ssh");
    command.args(["-F", "/dev/null", "-a", "-x", "-e", "none", "-l", "sandbox"]);
    for option in [
        "BatchMode=yes",
        "PreferredAuthentications=none",
        "IdentityFile=none",
        "IdentityAgent=none",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "ControlPath=none",
        "ClearAllForwardings=yes",
        "LogLevel=ERROR",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "ProxyUseFdpass=yes",
    ] {
        command.args(["-o", option]);
    }
    command.args(["-o", &format!("ProxyCommand={proxy}")]);
    if part == Part::Watches {
        command.args(["-o", "SetEnv=OPENSHELL_MAIN_READ_ONLY=1"]);
    }
    // Without a word of a terminal where none is known: that would resize it for everybody.
    command.arg(if terminal.is_some() { "-tt" } else { "-T" });
    let input = match terminal.and_then(|it| it.theirs.take()) {
        Some(theirs) => Stdio::from(theirs),
        None => Stdio::piped(),
    };
    command
        .args(["-s", "--", "sandbox", "openshell-main"])
        .env("TERM", "xterm-256color")
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Fault::io("starting ssh", &error).hint("install an OpenSSH client"))
}

/// Whether there is an `ssh` at all, for `doctor`.
pub async fn check() -> Check {
    let asked = Command::new("ssh").arg("-V").stdin(Stdio::null()).output();
    let asked = timeout(Duration::from_secs(5), asked).await;
    let (status, detail, fix) = match asked {
        Ok(Ok(output)) => {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            (CheckStatus::Ok, shown(&words, GATEWAY_WORDS_BYTES_MAX), None)
        }
        _ => (
            CheckStatus::Degraded,
            "there is no ssh: main terminals are not seen, shells and logs are".to_owned(),
            Some("install an OpenSSH client".to_owned()),
        ),
    };
    Check { check: "openshell.ssh".to_owned(), status, detail, fix }
}
