//! One connection to an engine, whatever the way to it.

use std::{
    io,
    pin::Pin,
    process::Stdio,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::address::{Address, Way};
use crate::base::fault::{Fault, Outcome};

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
            match &address.tls {
                Some(certificates) => super::tls::wrap(stream, &host, certificates).await,
                None => Ok(Box::new(stream)),
            }
        }
        Way::Ssh { user, host, port, socket } => {
            let mut command = Command::new("ssh");
            // Nobody is there to be asked.
            command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=8"]);
            if let Some(user) = user {
                command.args(["-l", &user]);
            }
            if let Some(port) = port {
                command.args(["-p", &port.to_string()]);
            }
            command.args(["--", &host, "docker"]);
            if let Some(socket) = socket {
                command.args(["--host", &format!("unix://{socket}")]);
            }
            command.args(["system", "dial-stdio"]);
            Ok(Box::new(Spoken::start(&mut command).map_err(|error| {
                Fault::io("starting ssh", &error).hint("install it, or use another DOCKER_HOST")
            })?))
        }
    }
}

/// A program that passes on what it is told; it ends with this.
struct Spoken {
    _program: Child,
    /// `None` once it was told that nothing more comes.
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Spoken {
    fn start(command: &mut Command) -> io::Result<Self> {
        let mut program = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = program.stdin.take().zip(program.stdout.take());
        let (input, output) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { _program: program, input: Some(input), output })
    }
}

impl AsyncRead for Spoken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, into)
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
}
