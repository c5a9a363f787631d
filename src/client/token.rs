//! A token that is shown to a hub: from its file, or as a command prints it, each time anew. It is kept nowhere else and is in
//! no word of this.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process_group},
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
};

use super::{sys, way::Carried};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{LINE_BYTES_MAX, TOKEN_BYTES_MAX, TOKEN_DRAINED_WITHIN, TOKEN_WITHIN},
        secret::{Secret, SecretBytes},
        text::shown,
    },
    config::oidc::TokenFrom,
    wire::token::Token,
};

/// As long as one may be, with blanks around it, and one byte more.
const READ_MAX: usize = TOKEN_BYTES_MAX + 64;

/// Reads it, and who we are by it.
pub(super) async fn carried(from: &TokenFrom) -> Outcome<Arc<Carried>> {
    let (text, whence) = match from {
        TokenFrom::File(path) => {
            let at = path.clone();
            // The disk may be slow, or gone.
            let read = tokio::task::spawn_blocking(move || file(&at));
            let read = tokio::time::timeout(TOKEN_WITHIN, read).await.map_err(|_| {
                let seconds = TOKEN_WITHIN.as_secs();
                Fault::late(format!("no token within {seconds} s: {}", path.display())).standing()
            })?;
            let read = read.map_err(|error| Fault::bug(format!("reading a token: {error}")))?;
            (read?, path.display().to_string())
        }
        TokenFrom::Command(words) => (printed(words, TOKEN_WITHIN).await?, named(words)),
    };
    let token = Secret::new(text.expose().trim().to_owned());
    let read = Token::read(token.expose());
    let until = read.as_ref().and_then(|it| it.claims.time("exp").ok()?);
    let member = read.and_then(|it| it.claims.member()).ok_or_else(|| {
        Fault::invalid(format!("no token of OpenID Connect (a JWT with `iss` and `sub`): {whence}"))
    })?;
    Ok(Arc::new(Carried { token, member, until }))
}

/// The program of a command, for people.
fn named(words: &[String]) -> String {
    shown(words.first().map(String::as_str).unwrap_or_default(), LINE_BYTES_MAX)
}

fn secret(bytes: Vec<u8>, whence: &str) -> Outcome<Secret> {
    let length = bytes.len();
    // Without a copy, and wiped whatever is in it.
    match String::from_utf8(bytes) {
        Ok(text) if length < READ_MAX => Ok(Secret::new(text)),
        Ok(text) => {
            drop(Secret::new(text));
            Err(Fault::invalid(format!("longer than a token of {TOKEN_BYTES_MAX} bytes: {whence}")))
        }
        Err(_) => Err(Fault::invalid(format!("no token, which is text: {whence}"))),
    }
}

fn file(path: &Path) -> Outcome<Secret> {
    let doing = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => Fault::denied(format!("there is no token: {}", path.display()))
            .hint("whatever signs you in writes it there"),
        _ => Fault::io(format_args!("reading {}", path.display()), error),
    };
    // Whatever waits for somebody to write is no file, and is not waited for.
    let mut how = OpenOptions::new();
    how.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = how.open(path).map_err(|error| doing(&error))?;
    if !file.metadata().map_err(|error| doing(&error))?.is_file() {
        return Err(Fault::invalid(format!("not a file: {}", path.display())));
    }
    let mut bytes = SecretBytes::new(Vec::with_capacity(READ_MAX + 64));
    let read = file.take(READ_MAX as u64).read_to_end(&mut bytes);
    read.map_err(|error| doing(&error))?;
    secret(std::mem::take(&mut bytes), &path.display().to_string())
}

/// All programs of a command: they end when it is given up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

/// Runs a command and takes what it prints. What it says beside is for nobody: a console draws where that would go, and there
/// is no terminal to ask on.
async fn printed(words: &[String], within: Duration) -> Outcome<Secret> {
    let (program, arguments) = words.split_first().ok_or_else(|| Fault::bug("no command"))?;
    let name = named(words);
    let by_hand = "run it by hand to see what it says; sandwatch context ls --json has all of it";
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    sys::without_terminal(&mut command);
    sys::ends_with_us(&mut command);
    let started = command.kill_on_drop(true).spawn();
    let mut child = started.map_err(|error| {
        Fault::io(format_args!("starting {name}"), &error).hint(by_hand).standing()
    })?;
    let mut group = Group(child.id().and_then(|it| Pid::from_raw(it.try_into().ok()?)));
    let mut bytes = SecretBytes::new(Vec::with_capacity(READ_MAX + 64));
    let done = tokio::time::timeout(within, heard(&mut child, &mut bytes)).await;
    match done {
        // Whoever waits for a person there asks them anew each time.
        Err(_) => Err(Fault::late(format!("no token within {} s: {name}", within.as_secs()))
            .hint(by_hand)
            .standing()),
        Ok(Err(error)) => Err(Fault::io(format_args!("running {name}"), &error)),
        Ok(Ok(status)) if status.success() => {
            group.0 = None;
            secret(std::mem::take(&mut bytes), &name)
        }
        Ok(Ok(status)) => {
            Err(Fault::denied(format!("no token: {name} ended with {status}")).hint(by_hand))
        }
    }
}

/// What a program says, and how it ends. Something that it leaves behind may have its end of the pipe for longer.
async fn heard(child: &mut Child, bytes: &mut Vec<u8>) -> io::Result<ExitStatus> {
    let Some(output) = child.stdout.take() else { return child.wait().await };
    let mut reading = Box::pin(async move {
        let mut output = output.take(READ_MAX as u64);
        while output.read_buf(bytes).await? > 0 {}
        io::Result::Ok(())
    });
    let status = tokio::select! {
        read = &mut reading => read.map(|()| None)?,
        status = child.wait() => Some(status?),
    };
    match status {
        Some(status) => {
            // What it said itself is there by now.
            if let Ok(read) = tokio::time::timeout(TOKEN_DRAINED_WITHIN, reading).await {
                read?;
            }
            Ok(status)
        }
        None => {
            // It is ended by what nobody reads any more.
            drop(reading);
            child.wait().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"alg":"ES256"}`, `{"iss":"https://a","sub":"7"}`, and no signature.
    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EiLCJzdWIiOiI3In0.AAAA";

    fn command(script: &str) -> TokenFrom {
        TokenFrom::Command(["/bin/sh", "-c", script].map(str::to_owned).into())
    }

    #[tokio::test]
    async fn a_token_is_read_anew_without_what_is_around_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("token");
        let from = TokenFrom::File(path.clone());
        let told = carried(&from).await.unwrap_err();
        assert!(told.message().contains("there is no token"), "{told}");
        std::fs::write(&path, format!("\n {TOKEN}\r\n")).unwrap();
        let it = carried(&from).await.unwrap();
        assert_eq!(it.token.expose(), TOKEN);
        assert!(it.member.as_str().starts_with("token-"));
        assert!(!format!("{it:?}").contains("AAAA"));
        for bad in [String::new(), "hunter2".to_owned(), "x".repeat(READ_MAX * 2)] {
            std::fs::write(&path, &bad).unwrap();
            let told = carried(&from).await.unwrap_err().to_string();
            assert!(told.contains("token") && !told.contains("hunter2"), "{told}");
        }
        assert!(carried(&TokenFrom::File(temp.path().to_owned())).await.is_err());
        let it = carried(&command(&format!("echo ' {TOKEN}'"))).await.unwrap();
        assert_eq!(it.token.expose(), TOKEN);
    }

    #[tokio::test]
    async fn a_command_that_fails_or_never_stops_is_told() {
        let told = carried(&command("echo hunter2; exit 3")).await.unwrap_err().to_string();
        assert!(told.contains("ended with") && !told.contains("hunter2"), "{told}");
        // It is ended by what nobody reads any more.
        let told = carried(&command("while echo hunter2hunter2hunter2; do :; done")).await;
        assert!(told.unwrap_err().to_string().contains("no token"));
        let none = TokenFrom::Command(vec!["/nonexistent/program".to_owned()]);
        let told = carried(&none).await.unwrap_err();
        assert!(told.to_string().contains("starting") && told.is_standing());
    }

    #[tokio::test]
    async fn a_command_that_waits_is_ended_with_all_it_started_and_not_begun_again_at_once() {
        let words =
            |script: &str| -> Vec<String> { ["/bin/sh", "-c", script].map(str::to_owned).into() };
        let told = printed(&words("sleep 1000"), Duration::from_secs(1)).await.unwrap_err();
        assert!(told.to_string().contains("no token within 1 s") && told.is_standing(), "{told}");
        let temp = tempfile::tempdir().unwrap();
        let at = temp.path().join("pids");
        let script = words(&format!("sleep 1000 & echo $! $$ > {}; wait", at.display()));
        let running = tokio::spawn(async move { printed(&script, Duration::MAX).await });
        let pids = loop {
            let told = std::fs::read_to_string(&at).unwrap_or_default();
            let pids: Vec<String> = told.split_whitespace().map(str::to_owned).collect();
            if told.ends_with('\n') && pids.len() == 2 {
                break pids;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        running.abort();
        for pid in pids {
            let ended = || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z ")
            };
            while !ended() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    #[tokio::test]
    async fn what_a_command_leaves_behind_holds_nothing_up_and_has_no_terminal() {
        let temp = tempfile::tempdir().unwrap();
        let at = temp.path().display();
        let script = format!(
            "sleep 1000 & echo $! > {at}/pid; (: > /dev/tty) || echo none > {at}/tty; echo {TOKEN}"
        );
        let it = carried(&command(&script)).await.unwrap();
        assert_eq!(it.token.expose(), TOKEN);
        assert_eq!(std::fs::read_to_string(temp.path().join("tty")).unwrap(), "none\n");
        let pid = std::fs::read_to_string(temp.path().join("pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        // It runs on, as it was meant to.
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn what_waits_for_a_writer_is_no_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        let told = carried(&TokenFrom::File(path)).await.unwrap_err();
        assert!(told.message().contains("not a file"), "{told}");
    }
}
