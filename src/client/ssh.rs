//! The way by ssh: the operator's own program, with its configuration, keys, agent and known hosts, and
//! `sandwatch hub proxy` on the other side.

use std::{
    ffi::OsString,
    io,
    pin::Pin,
    process::{ExitStatus, Stdio},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader, ReadBuf},
    net::UnixStream,
    process::{Child, ChildStderr, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::{
    sys,
    way::{Opened, Opening, Tap},
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::{
            NAME_BYTES_MAX, SSH_ALIVE_EVERY, SSH_CONNECTS_WITHIN, SSH_NOISE_BYTES_MAX,
            SSH_SILENT_MAX, SSH_WORD_LINES_MAX, SSH_WORDS_BYTES_MAX, SSH_WORDS_WITHIN,
        },
        text,
    },
    config::{
        address::{Address, Host},
        contexts::ContextName,
        environment::Variable,
    },
};

/// The program, unless SANDWATCH_SSH names another.
const PROGRAM: &str = "ssh";

/// What the proxy over there says before the first byte of the hub: this, a version of what it does, and its own version.
const GREETING: &str = "sandwatch-hub-proxy";
const CARRIES: &str = "1";

/// The line by which a proxy says that all behind it is the hub's. It begins a line of its own, whatever the shell over
/// there printed before.
pub fn proxy_greeting() -> String {
    format!("\n{GREETING} {CARRIES} {}\n", env!("CARGO_PKG_VERSION"))
}

/// What `ssh` says when the same key or host will be refused again. Its exit code is one for all there is.
const REFUSED: &[&str] = &[
    "Permission denied (",
    "Too many authentication failures",
    "Host key verification failed",
    "No more authentication methods",
];

/// What `ssh` says on its way, told to a person at once.
pub type Tell = fn(&str);

/// Somebody's hub on another machine.
#[derive(Clone, Debug)]
pub struct Ssh {
    context: ContextName,
    user: Option<String>,
    host: Host,
    port: Option<u16>,
    /// Set for a verb.
    tell: Option<Tell>,
}

impl Ssh {
    pub(super) fn new(
        context: &ContextName,
        user: Option<&str>,
        host: &Host,
        port: Option<u16>,
    ) -> Self {
        let (context, user) = (context.clone(), user.map(str::to_owned));
        Self { context, user, host: host.clone(), port, tell: None }
    }

    pub(super) fn for_a_verb(self, tell: Tell) -> Self {
        Self { tell: Some(tell), ..self }
    }

    pub(super) fn is_for_a_verb(&self) -> bool {
        self.tell.is_some()
    }

    pub(super) fn context(&self) -> &ContextName {
        &self.context
    }

    pub(super) fn address(&self) -> Address {
        Address::Ssh { user: self.user.clone(), host: self.host.clone(), port: self.port }
    }

    /// Starts `ssh` and waits for the proxy's greeting.
    pub(super) async fn open(&self, opening: Opening) -> Outcome<Opened> {
        let (mut program, mut stream) = self.start(opening)?;
        let tell = self.tell.filter(|_| opening.asks);
        let words = program.stderr.take().map(|it| Words::listen(it, tell));
        let heard = greeting(&mut stream).await;
        if let Some(words) = &words {
            words.keep_to_yourself();
        }
        match heard {
            Ok(()) => {
                let tap = Tap::of(&stream).map_err(|it| Fault::io("sharing a socket", &it))?;
                let stream = Box::new(Spoken { stream, _program: program, _words: words });
                Ok(Opened { stream, tap, entered: None })
            }
            Err(heard) => {
                let ended = timeout(SSH_WORDS_WITHIN, program.wait()).await;
                let ended = ended.ok().and_then(Result::ok);
                let words = match words {
                    Some(words) => words.last().await,
                    None => Vec::new(),
                };
                Err(self.why(ended, &words, &heard, opening))
            }
        }
    }

    /// Both of its streams are one socket, so that what is hung up is hung up at once.
    fn start(&self, opening: Opening) -> Outcome<(Child, UnixStream)> {
        let paired = UnixStream::pair().and_then(|(ours, theirs)| {
            let theirs = theirs.into_std()?;
            theirs.set_nonblocking(false)?;
            Ok((ours, theirs.try_clone()?, theirs))
        });
        let (stream, input, output) =
            paired.map_err(|error| Fault::io("making a socket for ssh", &error))?;
        let program = Variable::Ssh.raw().unwrap_or_else(|| OsString::from(PROGRAM));
        let mut command = Command::new(&program);
        command
            .args(self.arguments(opening))
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(input)))
            .stdout(Stdio::from(std::os::fd::OwnedFd::from(output)))
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if !opening.asks {
            // Nothing of what it starts, a jump host's ssh say, finds a terminal to ask on.
            sys::without_terminal(&mut command);
        }
        let program_shown = text::shown(&program.to_string_lossy(), NAME_BYTES_MAX);
        let started = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::lost(format!("there is no {program_shown} here"))
                .hint("install an ssh client, or name one in SANDWATCH_SSH"),
            _ => Fault::io(format_args!("starting {program_shown}"), &error),
        })?;
        Ok((started, stream))
    }

    /// What `ssh` is told. Keys, users, jump hosts and known hosts are as the operator's configuration has them; behind
    /// the host come words that every shell reads as they are.
    fn arguments(&self, opening: Opening) -> Vec<String> {
        let option = |it: String| ["-o".to_owned(), it];
        let mut all: Vec<String> = ["-T", "-a", "-x", "-e", "none"].map(str::to_owned).into();
        let mut options = vec![
            "ClearAllForwardings=yes".to_owned(),
            "PermitLocalCommand=no".to_owned(),
            "RemoteCommand=none".to_owned(),
            // A connection of its own, unless somebody is asked anyway: then one that is there already is as good.
            "ControlMaster=no".to_owned(),
            format!("ConnectTimeout={}", SSH_CONNECTS_WITHIN.as_secs()),
            format!("ServerAliveInterval={}", SSH_ALIVE_EVERY.as_secs()),
            format!("ServerAliveCountMax={SSH_SILENT_MAX}"),
        ];
        if !opening.asks {
            options.extend(["BatchMode=yes".to_owned(), "ControlPath=none".to_owned()]);
        }
        all.extend(options.into_iter().flat_map(option));
        if let Some(user) = &self.user {
            all.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            all.extend(["-p".to_owned(), port.to_string()]);
        }
        all.extend(["--".to_owned(), self.host.as_str().to_owned()]);
        all.extend(["sandwatch", "hub", "proxy"].map(str::to_owned));
        if !opening.starts {
            all.push("--running".to_owned());
        }
        all
    }

    /// Why there is no hub, and what mends it.
    fn why(
        &self,
        ended: Option<ExitStatus>,
        lines: &[String],
        heard: &Heard,
        opening: Opening,
    ) -> Fault {
        let (place, context) = (self.address(), &self.context);
        let words = end_of(&lines.join("; "));
        let told = |what: String| match words.as_str() {
            "" => what,
            words => format!("{what}: {words}"),
        };
        let plain = self.plainly();
        if let Heard::Other(version) = heard {
            return Fault::unsupported(format!(
                "the proxy of sandwatch {version} is another: {place}"
            ))
            .hint("install the same version there and here");
        }
        match ended.and_then(|it| it.code()) {
            Some(127) => Fault::lost(told(format!("there is no sandwatch at {place}"))).standing().hint(format!(
                "install it there, where `{plain} sandwatch --version` finds it: in a directory of the PATH of shells \
                 that are no login"
            )),
            Some(2) => Fault::unsupported(told(format!(
                "the sandwatch at {place} is older and has no `hub proxy`"
            )))
            .hint(format!("install a newer one there; `{plain} sandwatch --version` says which it is")),
            // Its own failures, whatever they are.
            Some(255) => {
                let what = match words.as_str() {
                    "" => format!("ssh does not get to {place}"),
                    words => format!("ssh: {words} (on the way to {place})"),
                };
                let refused = |it: &String| REFUSED.iter().any(|of| it.contains(of));
                let fault = match lines.iter().any(refused) {
                    true => Fault::lost(what).standing(),
                    false => Fault::lost(what),
                };
                fault.hint(match opening.asks {
                    true => format!("`{plain} sandwatch --version` goes the same way"),
                    false => format!(
                        "nobody is asked here; `sandwatch --context {context} ls` on a terminal asks what ssh does"
                    ),
                })
            }
            code => match heard {
                Heard::Noise(noise) => Fault::lost(told(format!(
                    "the shell at {place} prints something before the proxy, and there is none: {noise}"
                )))
                .hint(format!("`{plain} sandwatch --version` is to print a version and nothing else")),
                _ => self.over_there(code.map_or(Kind::Lost, kind_of), lines, told, opening),
            },
        }
    }

    /// What sandwatch itself said over there, in its words.
    fn over_there(
        &self,
        kind: Kind,
        lines: &[String],
        told: impl Fn(String) -> String,
        opening: Opening,
    ) -> Fault {
        let after = |mark: &str| lines.iter().rev().find_map(|it| it.strip_prefix(mark));
        let place = self.address();
        let fault = match after("sandwatch: ") {
            Some(what) => Fault::new(kind, format!("{what} (at {place})")),
            None => Fault::new(kind, told(format!("no hub at {place}"))),
        };
        match after("hint: ") {
            _ if !opening.starts && kind == Kind::Lost => {
                fault.hint(format!("sandwatch --context {} hub start", self.context))
            }
            Some(hint) => fault.hint(format!("over there: {hint}")),
            None => fault,
        }
    }

    /// What a person types to get there without sandwatch.
    fn plainly(&self) -> String {
        let user = self.user.as_ref().map(|it| format!("-l {it} ")).unwrap_or_default();
        let port = self.port.map(|it| format!("-p {it} ")).unwrap_or_default();
        format!("ssh {user}{port}{}", self.host.as_str())
    }
}

/// The class of a failure by the exit code that a proxy ends with.
fn kind_of(code: i32) -> Kind {
    match code {
        4 => Kind::Denied,
        5 => Kind::Unsupported,
        7 => Kind::Late,
        _ => Kind::Lost,
    }
}

/// What came in place of a proxy's greeting.
#[derive(Debug)]
enum Heard {
    Nothing,
    /// Something printed, safe to show.
    Noise(String),
    /// A proxy that carries otherwise; its version.
    Other(String),
}

/// Reads up to the proxy's greeting, byte by byte: what comes behind it is the hub's. What a shell prints before is
/// passed over, within a bound.
async fn greeting(stream: &mut UnixStream) -> Result<(), Heard> {
    let (mut all, mut begins) = (Vec::new(), 0);
    loop {
        let byte = match stream.read_u8().await {
            Ok(byte) if all.len() < SSH_NOISE_BYTES_MAX => byte,
            _ => break,
        };
        if byte != b'\n' {
            all.push(byte);
            continue;
        }
        let line = String::from_utf8_lossy(all.get(begins..).unwrap_or_default()).into_owned();
        let mut line = line.split(' ');
        if line.next() == Some(GREETING) {
            return match (line.next(), line.next()) {
                (Some(CARRIES), _) => Ok(()),
                (_, version) => {
                    Err(Heard::Other(text::shown(version.unwrap_or_default(), NAME_BYTES_MAX)))
                }
            };
        }
        all.push(byte);
        begins = all.len();
    }
    let noise = text::shown(String::from_utf8_lossy(&all).trim(), SSH_WORDS_BYTES_MAX);
    Err(if noise.is_empty() { Heard::Nothing } else { Heard::Noise(noise) })
}

/// The last lines of what `ssh` complains of, read so that it is never held up.
struct Words {
    lines: watch::Receiver<Vec<String>>,
    quiet: watch::Sender<bool>,
    reading: JoinHandle<()>,
}

impl Words {
    fn listen(errors: ChildStderr, tell: Option<Tell>) -> Self {
        let (keep, lines) = watch::channel(Vec::<String>::new());
        let (quiet, is_quiet) = watch::channel(false);
        let reading = tokio::spawn(async move {
            let mut errors = BufReader::new(errors);
            let mut line = Vec::new();
            loop {
                line.clear();
                // One that never ends is cut.
                let mut bounded = (&mut errors).take(SSH_WORDS_BYTES_MAX as u64);
                match bounded.read_until(b'\n', &mut line).await {
                    Ok(1..) => {}
                    _ => return,
                }
                let line = text::shown(String::from_utf8_lossy(&line).trim(), SSH_WORDS_BYTES_MAX);
                if line.is_empty() {
                    continue;
                }
                tracing::debug!(line, "ssh says");
                if let (Some(tell), false) = (tell, *is_quiet.borrow()) {
                    tell(&line);
                }
                keep.send_modify(|all| {
                    all.push(line);
                    drop(all.drain(..all.len().saturating_sub(SSH_WORD_LINES_MAX)));
                });
            }
        });
        Self { lines, quiet, reading }
    }

    /// From now on something else may be on the terminal.
    fn keep_to_yourself(&self) {
        self.quiet.send_replace(true);
    }

    /// The end of them, once the program has ended. What it started may keep the pipe open: that is not waited for.
    async fn last(mut self) -> Vec<String> {
        drop(timeout(SSH_WORDS_WITHIN, &mut self.reading).await);
        self.lines.borrow().clone()
    }
}

/// The last of some words.
fn end_of(words: &str) -> String {
    let from = words.len().saturating_sub(SSH_WORDS_BYTES_MAX);
    let from = (from..words.len()).find(|it| words.is_char_boundary(*it)).unwrap_or(from);
    words.get(from..).unwrap_or_default().to_owned()
}

impl Drop for Words {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A program that carries what it is told; it ends with this.
struct Spoken {
    stream: UnixStream,
    _program: Child,
    _words: Option<Words>,
}

impl AsyncRead for Spoken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Spoken {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn ssh(address: &str) -> Ssh {
        let Ok(Address::Ssh { user, host, port }) = address.parse() else { panic!("{address}") };
        Ssh::new(&"lab".parse().unwrap(), user.as_deref(), &host, port)
    }

    #[test]
    fn what_ssh_is_told_weakens_nothing_and_forwards_nothing() {
        let batch = ssh("ssh://me@[::1]:2222").arguments(Opening {
            starts: true,
            careful: false,
            asks: false,
        });
        let has = |all: &[String], it: &str| all.iter().any(|arg| arg == it);
        for it in ["-T", "-a", "-x", "ClearAllForwardings=yes", "BatchMode=yes", "ControlPath=none"]
        {
            assert!(has(&batch, it), "{it}: {batch:?}");
        }
        assert!(!batch.iter().any(|it| it.contains("HostKey") || it.contains("KnownHosts")));
        let end = ["-l", "me", "-p", "2222", "--", "::1", "sandwatch", "hub", "proxy"];
        assert!(batch.ends_with(&end.map(str::to_owned)), "{batch:?}");
        let asking =
            ssh("ssh://lab").arguments(Opening { starts: false, careful: false, asks: true });
        assert!(!has(&asking, "BatchMode=yes") && !has(&asking, "-l"));
        assert!(asking.ends_with(
            &["--", "lab", "sandwatch", "hub", "proxy", "--running"].map(str::to_owned)
        ));
    }

    async fn hear(bytes: &[u8]) -> (Result<(), Heard>, Vec<u8>) {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        there.write_all(bytes).await.unwrap();
        drop(there);
        let heard = greeting(&mut here).await;
        let mut rest = Vec::new();
        here.read_to_end(&mut rest).await.unwrap();
        (heard, rest)
    }

    #[tokio::test]
    async fn what_comes_behind_the_greeting_is_the_hubs_and_noise_before_it_is_passed_over() {
        let greeting = proxy_greeting();
        for before in ["", "Welcome!", "two\nlines\n", "\x1b[2J\n\n", "sandwatch-hub-proxyx 1\n"] {
            let (heard, rest) = hear(format!("{before}{greeting}\nPRI").as_bytes()).await;
            assert!(heard.is_ok(), "{before:?}: {heard:?}");
            assert_eq!(rest, b"\nPRI");
        }
        assert!(matches!(hear(b"").await.0, Err(Heard::Nothing)));
        let (heard, _) = hear(b"This account\x1b[2J is closed.\n").await;
        assert!(matches!(heard, Err(Heard::Noise(it)) if it == "This account␛[2J is closed."));
        let (heard, _) = hear(b"\nsandwatch-hub-proxy 7 9.0\x07.0\n").await;
        assert!(matches!(heard, Err(Heard::Other(it)) if it == "9.0␇.0"));
        let flood = [&vec![b'x'; 2 * SSH_NOISE_BYTES_MAX][..], greeting.as_bytes()].concat();
        assert!(
            matches!(hear(&flood).await.0, Err(Heard::Noise(it)) if it.len() <= SSH_WORDS_BYTES_MAX)
        );
    }

    #[test]
    fn every_failure_has_a_command_that_mends_it() {
        use std::os::unix::process::ExitStatusExt;
        let ssh = ssh("ssh://me@lab:22");
        let why = |code: i32, asks| {
            let ended = Some(ExitStatus::from_raw(code << 8));
            let lines = ["sandwatch: no".to_owned(), "hint: do".to_owned()];
            ssh.why(ended, &lines, &Heard::Nothing, Opening { starts: true, careful: false, asks })
        };
        let missing = why(127, false);
        assert_eq!(
            missing.message(),
            "there is no sandwatch at ssh://me@lab:22: sandwatch: no; hint: do"
        );
        assert!(missing.hint_text().unwrap().contains("`ssh -l me -p 22 lab sandwatch --version`"));
        assert_eq!(why(2, false).kind(), Kind::Unsupported);
        assert!(why(255, false).hint_text().unwrap().contains("`sandwatch --context lab ls`"));
        assert!(why(255, true).hint_text().unwrap().contains("`ssh -l me"));
        let late = why(7, true);
        assert_eq!((late.kind(), late.message()), (Kind::Late, "no (at ssh://me@lab:22)"));
        assert_eq!(late.hint_text(), Some("over there: do"));
    }
}
