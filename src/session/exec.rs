//! A program without a PTY: three pipes and an exit code, passed through at the reader's speed.

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::oneshot,
    task::AbortHandle,
};
use tokio_stream::StreamExt;

use super::{
    seat::{BoxStream, ExecOutput},
    unfold::unfold,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::PTY_CHUNK_BYTES_MAX,
    },
    driver::{PipeIo, Program},
    model::session::ExitStatus,
};

type Reader = Box<dyn AsyncRead + Send + Unpin>;

struct Running {
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    /// Dropped with the stream, which tells the driver to kill the program.
    exit: Option<oneshot::Receiver<ExitStatus>>,
    stdin: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stdin.abort();
    }
}

/// Passes input in and output out; the last message is the exit.
pub fn run(program: Program<PipeIo>, stdin: BoxStream<Bytes>) -> BoxStream<Outcome<ExecOutput>> {
    let PipeIo { stdin: writer, stdout, stderr } = program.io;
    let running = Running {
        stdout: Some(stdout),
        stderr: Some(stderr),
        exit: Some(program.exit),
        stdin: tokio::spawn(feed(stdin, writer)).abort_handle(),
    };
    unfold(running, |mut running| async move {
        let next = running.next().await;
        (running, next)
    })
}

/// Ends, and closes the program's input with it, when the stream does or nobody reads.
async fn feed(mut stdin: BoxStream<Bytes>, mut writer: Box<dyn AsyncWrite + Send + Unpin>) {
    while let Some(bytes) = stdin.next().await {
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    drop(writer.shutdown().await);
}

impl Running {
    async fn next(&mut self) -> Option<Outcome<ExecOutput>> {
        while self.stdout.is_some() || self.stderr.is_some() {
            tokio::select! {
                read = read(&mut self.stdout), if self.stdout.is_some() => match read {
                    Some(bytes) => return Some(Ok(ExecOutput::Stdout(bytes))),
                    None => self.stdout = None,
                },
                read = read(&mut self.stderr), if self.stderr.is_some() => match read {
                    Some(bytes) => return Some(Ok(ExecOutput::Stderr(bytes))),
                    None => self.stderr = None,
                },
            }
        }
        let exit = self.exit.as_mut()?.await;
        self.exit = None;
        Some(match exit {
            Ok(status) => Ok(ExecOutput::Exit(status)),
            Err(_) => Err(Fault::lost("the sandbox went away while the program ran")),
        })
    }
}

/// `None` at the end.
async fn read(from: &mut Option<Reader>) -> Option<Bytes> {
    let mut buffer = BytesMut::with_capacity(PTY_CHUNK_BYTES_MAX);
    match from.as_mut()?.read_buf(&mut buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(buffer.freeze()),
    }
}
