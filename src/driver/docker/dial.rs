//! One connection to an engine, whatever the way to it.

use std::{
    io,
    pin::Pin,
    process::Stdio,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::watch,
    time::timeout,
};

use super::address::{Address, Way};
use crate::base::{
    fault::{Fault, Outcome},
    limits::{
        ENGINE_PROBE_AFTER, ENGINE_PROBES_MAX, ENGINE_WAY_WORDS_BYTES_MAX, ENGINE_WAY_WORDS_WITHIN,
    },
    text,
};

/// Bytes in both directions.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

/// Connects; the caller bounds the time.
pub async fn dial(address: &Address) -> Outcome<Box<dyn Wire>> {
    let unreached = |error: &io::Error| {
        Fault::lost(format!("the docker engine can't be reached: {}: {error}", address.shown()))
    };
    match address.way()? {
        Way::Unix(path) => match UnixStream::connect(&path).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(Fault::denied(format!("the docker engine refuses you: {}", path.display()))
                    .hint("its group is as good as root: join it (`docker` in /etc/group), or use a rootless engine"))
            }
            Err(error) => {
                Err(unreached(&error).hint("start it, for example: systemctl start docker"))
            }
        },
        Way::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), port)).await;
            let stream = stream.map_err(|it| {
                unreached(&it).hint("check DOCKER_HOST or the docker context, and that it listens")
            })?;
            // Keys are small and must not wait for each other.
            stream.set_nodelay(true).map_err(|it| unreached(&it))?;
            probe(&stream).map_err(|it| unreached(&it))?;
            match &address.tls {
                Some(certificates) => super::tls::wrap(stream, &host, certificates).await,
                None => Ok(Box::new(stream)),
            }
        }
        Way::Ssh { user, host, port, socket } => {
            let mut command = Command::new("ssh");
            command.args(over_ssh(user.as_deref(), &host, port, socket.as_deref()));
            Ok(Box::new(Spoken::start(&mut command).map_err(|error| {
                Fault::io("starting ssh", &error).hint("install it, or use another DOCKER_HOST")
            })?))
        }
    }
}

/// Has the system notice that the other side is gone, where programs print nothing for hours.
fn probe(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, ENGINE_PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, ENGINE_PROBE_AFTER)?;
    sockopt::set_tcp_keepcnt(stream, ENGINE_PROBES_MAX)?;
    Ok(())
}

/// What `ssh` is told. The last argument is read by a shell over there.
fn over_ssh(
    user: Option<&str>,
    host: &str,
    port: Option<u16>,
    socket: Option<&str>,
) -> Vec<String> {
    let mut all = vec![
        "-T".to_owned(),
        // Nobody is there to be asked.
        "-oBatchMode=yes".to_owned(),
        "-oConnectTimeout=8".to_owned(),
        format!("-oServerAliveInterval={}", ENGINE_PROBE_AFTER.as_secs()),
        format!("-oServerAliveCountMax={ENGINE_PROBES_MAX}"),
    ];
    if let Some(user) = user {
        all.extend(["-l".to_owned(), user.to_owned()]);
    }
    if let Some(port) = port {
        all.extend(["-p".to_owned(), port.to_string()]);
    }
    let socket = socket.map(|it| format!("--host 'unix://{}' ", it.replace('\'', r"'\''")));
    let command = format!("docker {}system dial-stdio", socket.unwrap_or_default());
    all.extend(["--".to_owned(), host.to_owned(), command]);
    all
}

/// A program that passes on what it is told; it ends with this.
struct Spoken {
    _program: Child,
    /// `None` once it was told that nothing more comes.
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Why it ends before it has passed anything on; `None` once it has, or that was told.
    last_words: Option<LastWords>,
}

type LastWords = Pin<Box<dyn Future<Output = String> + Send>>;

/// Reads what a program complains of, so that it is never held up, and keeps the end of it. What it started may
/// keep the pipe open: that is not waited for.
fn listen(mut errors: ChildStderr) -> LastWords {
    let (words, kept) = watch::channel(Vec::new());
    let reading = tokio::spawn(async move {
        let mut buffer = [0; ENGINE_WAY_WORDS_BYTES_MAX];
        while let Ok(count @ 1..) = errors.read(&mut buffer).await {
            words.send_modify(|all| {
                all.extend_from_slice(buffer.get(..count).unwrap_or_default());
                drop(all.drain(..all.len().saturating_sub(ENGINE_WAY_WORDS_BYTES_MAX)));
            });
        }
    });
    Box::pin(async move {
        drop(timeout(ENGINE_WAY_WORDS_WITHIN, reading).await);
        let words = String::from_utf8_lossy(&kept.borrow()).trim().to_owned();
        text::shown(&words, ENGINE_WAY_WORDS_BYTES_MAX)
    })
}

impl Spoken {
    fn start(command: &mut Command) -> io::Result<Self> {
        let mut program = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = program.stdin.take().zip(program.stdout.take());
        let (input, output) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        let last_words = program.stderr.take().map(listen);
        Ok(Self { _program: program, input: Some(input), output, last_words })
    }
}

impl AsyncRead for Spoken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.output).poll_read(context, into))?;
        if into.filled().len() > before {
            if self.last_words.is_some() {
                self.last_words = None;
            }
            return Poll::Ready(Ok(()));
        }
        let Some(last_words) = self.last_words.as_mut() else { return Poll::Ready(Ok(())) };
        let words = ready!(last_words.as_mut().poll(context));
        self.last_words = None;
        Poll::Ready(if words.is_empty() { Ok(()) } else { Err(io::Error::other(words)) })
    }
}

impl AsyncWrite for Spoken {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.input.as_mut() {
            Some(input) => Pin::new(input).poll_write(context, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.input.as_mut() {
            Some(input) => Pin::new(input).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Closing the pipe is the end of the input; the output goes on.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_program_passes_on_what_it_is_told_until_its_input_ends() {
        let mut spoken = Spoken::start(&mut Command::new("cat")).unwrap();
        spoken.write_all(b"hello").await.unwrap();
        spoken.shutdown().await.unwrap();
        let mut heard = String::new();
        spoken.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "hello");
        assert!(spoken.write_all(b"more").await.is_err());
    }

    #[tokio::test]
    async fn a_program_that_leads_nowhere_says_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no route to it >&2; exit 255"]);
        let mut spoken = Spoken::start(&mut command).unwrap();
        let mut heard = String::new();
        let error = spoken.read_to_string(&mut heard).await.unwrap_err();
        assert_eq!(error.to_string(), "no route to it");
    }

    #[test]
    fn a_path_over_there_is_one_word_for_its_shell() {
        let told = over_ssh(Some("me"), "h", Some(7), Some("/run/my $it's/docker.sock"));
        let script = told.last().unwrap().replacen("docker", "printf '%s,'", 1);
        let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said, "--host,unix:///run/my $it's/docker.sock,system,dial-stdio,");
        assert!(told.iter().any(|it| it.starts_with("-oServerAliveInterval=")), "{told:?}");
        assert_eq!(told[told.len() - 3..told.len() - 1], ["--", "h"]);
    }

    #[tokio::test]
    async fn a_connection_is_probed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        probe(&stream).unwrap();
        assert!(rustix::net::sockopt::socket_keepalive(&stream).unwrap());
    }
}
