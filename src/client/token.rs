//! A token that is shown to a hub: from its file, or as a command prints it, each time anew. It is kept nowhere else and is in
//! no word of this.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    process::Stdio,
    sync::Arc,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncReadExt, process::Command};

use super::way::Carried;
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{LINE_BYTES_MAX, TOKEN_BYTES_MAX, TOKEN_COMMAND_WITHIN},
        secret::Secret,
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
            // The disk may be slow.
            let read = tokio::task::spawn_blocking(move || file(&at)).await;
            let read = read.map_err(|error| Fault::bug(format!("reading a token: {error}")))?;
            (read?, path.display().to_string())
        }
        TokenFrom::Command(words) => (printed(words).await?, named(words)),
    };
    let token = Secret::new(text.expose().trim().to_owned());
    let member = Token::read(token.expose()).and_then(|it| it.claims.member());
    let member = member.ok_or_else(|| {
        Fault::invalid(format!("no token of OpenID Connect (a JWT with `iss` and `sub`): {whence}"))
    })?;
    Ok(Arc::new(Carried { token, member }))
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
    // Whatever waits for somebody to write is no file.
    let seen = std::fs::metadata(path).map_err(|error| doing(&error))?;
    if !seen.is_file() {
        return Err(Fault::invalid(format!("not a file: {}", path.display())));
    }
    let mut bytes = Vec::with_capacity(READ_MAX + 64);
    let file = File::open(path).map_err(|error| doing(&error))?;
    let read = file.take(READ_MAX as u64).read_to_end(&mut bytes);
    read.map_err(|error| doing(&error))?;
    secret(bytes, &path.display().to_string())
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

/// Runs a command and takes what it prints. What it says beside is for nobody: a console draws where that would go.
async fn printed(words: &[String]) -> Outcome<Secret> {
    let (program, arguments) = words.split_first().ok_or_else(|| Fault::bug("no command"))?;
    let name = named(words);
    let by_hand = "run it by hand to see what it says; sandwatch context ls --json has all of it";
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Fault::io(format_args!("starting {name}"), &error).hint(by_hand))?;
    let mut group = Group(child.id().and_then(|it| Pid::from_raw(it.try_into().ok()?)));
    let done = async {
        let mut bytes = Vec::with_capacity(READ_MAX + 64);
        if let Some(output) = child.stdout.take() {
            output.take(READ_MAX as u64).read_to_end(&mut bytes).await?;
        }
        let text = secret(bytes, &name);
        let status = child.wait().await?;
        group.0 = None;
        io::Result::Ok((text, status))
    };
    match tokio::time::timeout(TOKEN_COMMAND_WITHIN, done).await {
        Err(_) => {
            let seconds = TOKEN_COMMAND_WITHIN.as_secs();
            Err(Fault::late(format!("no token within {seconds} s: {name}")).hint(by_hand))
        }
        Ok(Err(error)) => Err(Fault::io(format_args!("running {name}"), &error)),
        Ok(Ok((text, status))) if status.success() => text,
        Ok(Ok((_, status))) => {
            Err(Fault::denied(format!("no token: {name} ended with {status}")).hint(by_hand))
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
        assert!(carried(&none).await.unwrap_err().to_string().contains("starting"));
    }
}
